package main

import (
	"fmt"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
)

var each = strings.Split(server, ",")

// patient has a session that outlives an election on a busy machine.
func (r *run) patient(hosts string) *client { return r.connect(hosts, 16*tick) }

func killHome(c *client) { tell(fmt.Sprintf("kill-home %x", c.SessionID())) }

// moved waits until the client has its session again after it was without a connection.
func (r *run) moved(c *client) {
	r.eventually("disconnected", func() bool { return c.saw(zk.StateDisconnected) })
	r.eventually("a session again", func() bool { return c.State() == zk.StateHasSession })
}

func (r *run) owner(c *client, path string) int64 {
	var owner int64
	r.retry(func() error {
		there, stat, err := c.Exists(path)
		if err == nil {
			r.require(there, "%s is gone", path)
			owner = stat.EphemeralOwner
		}
		return err
	})
	return owner
}

func (r *run) sync(c *client) {
	r.retry(func() error { _, err := c.Sync("/"); return err })
}

// ---------------------------------------------------------------- one service

func whatOneServerTakesAllOthersShow(r *run) {
	r.create(r.patient(each[0]), "/basic", "")
	for i, host := range each {
		r.create(r.patient(host), fmt.Sprintf("/basic/%d", i), host)
	}
	for _, host := range each {
		c := r.patient(host)
		r.sync(c)
		names, _, err := c.Children("/basic")
		r.ok(err)
		sort.Strings(names)
		r.equal(names, []string{"0", "1", "2"})
		for i := range each {
			data, _, err := c.Get(fmt.Sprintf("/basic/%d", i))
			r.ok(err)
			r.equal(string(data), each[i])
		}
	}
}

// ---------------------------------------------------------------- servers that are killed

func clientFailsOverWhenItsServerIsKilled(r *run) {
	c, other := r.patient(server), r.patient(server)
	id := c.SessionID()
	_, err := c.Create("/failover", []byte("before"), zk.FlagEphemeral, open)
	r.ok(err)
	_, _, watch, err := c.GetW("/failover")
	r.ok(err)
	killHome(c)
	r.moved(c)
	r.equal(c.SessionID(), id)
	r.equal(r.owner(c, "/failover"), id)
	r.silent(watch)
	r.retry(func() error { _, err := other.Set("/failover", []byte("after"), -1); return err })
	r.fires(watch, zk.EventNodeDataChanged, "/failover")
	r.require(!c.saw(zk.StateExpired), "expired")
}

func sessionsSurviveTheKillOfTheLeader(r *run) {
	var clients []*client
	for i, host := range each {
		c := r.patient(host + "," + server)
		_, err := c.Create(fmt.Sprintf("/led-%d", i), nil, zk.FlagEphemeral, open)
		r.ok(err)
		clients = append(clients, c)
	}
	tell("kill-leader")
	for i, c := range clients {
		r.equal(r.owner(c, fmt.Sprintf("/led-%d", i)), c.SessionID())
		r.retry(func() error { _, err := c.Set(fmt.Sprintf("/led-%d", i), []byte("after"), -1); return err })
	}
	tell("start")
	for i, c := range clients {
		r.sync(c)
		for j, owner := range clients {
			r.equal(r.owner(c, fmt.Sprintf("/led-%d", j)), owner.SessionID())
		}
		r.require(!c.saw(zk.StateExpired), "client %d expired", i)
	}
}

func aWatchTellsWhatWasMissed(r *run) {
	c, other := r.patient(server), r.patient(server)
	r.create(other, "/missed", "")
	r.create(other, "/missed/kid", "")
	r.sync(c)
	_, _, gone, err := c.ExistsW("/missed/kid")
	r.ok(err)
	_, _, kids, err := c.ChildrenW("/missed")
	r.ok(err)
	_, _, born, err := c.ExistsW("/missed/born")
	r.ok(err)
	tell("kill-leader")
	killHome(c)
	tell("start")
	r.retry(func() error {
		if err := other.Delete("/missed/kid", -1); err != zk.ErrNoNode {
			return err
		}
		return nil
	})
	r.retry(func() error {
		if _, err := other.Create("/missed/born", nil, 0, open); err != zk.ErrNodeExists {
			return err
		}
		return nil
	})
	r.fires(gone, zk.EventNodeDeleted, "/missed/kid")
	r.fires(kids, zk.EventNodeChildrenChanged, "/missed")
	r.fires(born, zk.EventNodeCreated, "/missed/born")
}

func noQuorumNoService(r *run) {
	c := r.connect(server, 4*tick)
	id := c.SessionID()
	_, err := c.Create("/quorum", nil, zk.FlagEphemeral, open)
	r.ok(err)
	tell("kill-leader")
	r.equal(r.owner(c, "/quorum"), id)
	tell("start")
	tell("leave 1")
	r.eventually("no session", func() bool { return c.State() != zk.StateHasSession })
	// Longer than it lasts where somebody may end it.
	time.Sleep(5 * tick)
	r.require(c.State() != zk.StateHasSession, "a session without a quorum")
	tell("start")
	r.eventually("the session again", func() bool { return c.State() == zk.StateHasSession })
	r.equal(r.owner(c, "/quorum"), id)
	r.equal(c.SessionID(), id)
	r.require(!c.saw(zk.StateExpired), "expired")
}

func lockIsHeldByOneThroughKills(r *run) {
	var inside, worst, turns int
	var mutex sync.Mutex
	var group sync.WaitGroup
	done := make(chan struct{})
	failures := make(chan error, len(each))
	for range each {
		c := r.patient(server)
		group.Add(1)
		go func() {
			defer group.Done()
			for {
				select {
				case <-done:
					return
				default:
				}
				lock := zk.NewLock(c.Conn, "/lock/through/kills", open)
				if err := lock.Lock(); err != nil {
					if !betweenConnections(err) {
						failures <- err
						return
					}
					// It may have its znode in the queue all the same; nobody else would ever get behind it.
					if err := leaveQueue(c); err != nil {
						failures <- err
						return
					}
					continue
				}
				mutex.Lock()
				inside++
				if inside > worst {
					worst = inside
				}
				turns++
				mutex.Unlock()
				time.Sleep(time.Millisecond)
				mutex.Lock()
				inside--
				mutex.Unlock()
				for err := lock.Unlock(); err != nil && err != zk.ErrNoNode && err != zk.ErrNotLocked; err = lock.Unlock() {
					if !betweenConnections(err) {
						failures <- err
						return
					}
					time.Sleep(10 * time.Millisecond)
				}
			}
		}()
	}
	progress := func(order string) {
		mutex.Lock()
		enough := turns + 10
		mutex.Unlock()
		r.eventually("turns after "+order, func() bool {
			mutex.Lock()
			defer mutex.Unlock()
			return turns >= enough || len(failures) > 0
		})
	}
	progress("the start")
	for _, order := range []string{"kill-leader", "start", "kill-follower", "start"} {
		tell(order)
		progress(order)
	}
	close(done)
	group.Wait()
	select {
	case err := <-failures:
		r.ok(err)
	default:
	}
	r.equal(worst, 1)
}

// leaveQueue removes what this session has in the queue of the lock.
func leaveQueue(c *client) error {
	const queue = "/lock/through/kills"
	for limit := time.Now().Add(eventLimit); ; time.Sleep(10 * time.Millisecond) {
		err := func() error {
			if _, err := c.Sync("/"); err != nil {
				return err
			}
			names, _, err := c.Children(queue)
			if err != nil && err != zk.ErrNoNode {
				return err
			}
			for _, name := range names {
				there, stat, err := c.Exists(queue + "/" + name)
				if err != nil {
					return err
				}
				if !there || stat.EphemeralOwner != c.SessionID() {
					continue
				}
				if err := c.Delete(queue+"/"+name, -1); err != nil && err != zk.ErrNoNode {
					return err
				}
			}
			return nil
		}()
		if err == nil || !betweenConnections(err) || time.Now().After(limit) {
			return err
		}
	}
}

// ---------------------------------------------------------------- members

func membersAreChangedByTheSuperUser(r *run) {
	tell("unseat 3")
	c := r.patient(server)
	_, err := c.IncrementalReconfig(nil, []string{"3"}, -1)
	r.is(err, zk.ErrNoAuth)
	r.ok(c.AddAuth("digest", []byte("super:interop")))
	data, _, watch, err := c.GetW("/zookeeper/config")
	r.ok(err)
	lines := strings.Split(string(data), "\n")
	r.require(len(lines) == 4 && strings.HasPrefix(lines[2], "server.3="), "config %q", data)
	_, err = c.IncrementalReconfig(nil, []string{"3"}, -1)
	r.ok(err)
	r.fires(watch, zk.EventNodeDataChanged, "/zookeeper/config")
	data, _, err = c.Get("/zookeeper/config")
	r.ok(err)
	r.require(!strings.Contains(string(data), "server.3="), "config %q", data)
	r.eventually("three again", func() bool {
		_, err = c.IncrementalReconfig(lines[2:3], nil, -1)
		return err == nil
	})
	_, err = c.Reconfig(lines[:3], -1)
	r.ok(err)
	data, _, err = c.Get("/zookeeper/config")
	r.ok(err)
	r.require(strings.HasPrefix(string(data), strings.Join(lines[:3], "\n")), "config %q", data)
}

func ensembleChecks() {
	check("what-one-server-takes-all-others-show", whatOneServerTakesAllOthersShow)
	check("client-fails-over-when-its-server-is-killed", clientFailsOverWhenItsServerIsKilled)
	check("sessions-survive-the-kill-of-the-leader", sessionsSurviveTheKillOfTheLeader)
	check("a-watch-tells-what-was-missed", aWatchTellsWhatWasMissed)
	check("no-quorum-no-service", noQuorumNoService)
	check("lock-is-held-by-one-through-kills", lockIsHeldByOneThroughKills)
	check("members-are-changed-by-the-super-user", membersAreChangedByTheSuperUser)
}

// Drives github.com/go-zookeeper/zk: through its whole interface on one server, or, with the argument `ensemble`, on three
// that are killed, removed and added.
// Prints what harness/suite.ts reads: PASS, FAIL and INFO lines, last of all DONE.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path"
	"reflect"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
)

const eventLimit = 20 * time.Second

var (
	server  = os.Getenv("ZK_HOST")
	proxied = os.Getenv("PROXY_HOST")
	tick    = milliseconds(os.Getenv("TICK_MS"))
	open    = zk.WorldACL(zk.PermAll)
	// Of a check as a whole.
	checkLimit = seconds(os.Getenv("CHECK_LIMIT_S"), 60)
)

func milliseconds(text string) time.Duration {
	number, _ := strconv.Atoi(text)
	return time.Duration(number) * time.Millisecond
}

func seconds(text string, otherwise int) time.Duration {
	number, err := strconv.Atoi(text)
	if err != nil {
		number = otherwise
	}
	return time.Duration(number) * time.Second
}

// ---------------------------------------------------------------- frame

// run is one check: it ends by a panic of this type when something is not as it has to be.
type run struct{ clients []*client }

type broken string

func (r *run) require(holds bool, format string, args ...any) {
	if !holds {
		panic(broken(fmt.Sprintf(format, args...)))
	}
}

func (r *run) ok(err error) { r.require(err == nil, "unexpected error %v", err) }

func (r *run) is(err, wanted error) {
	r.require(errors.Is(err, wanted), "error %v, wanted %v", err, wanted)
}

func (r *run) equal(found, wanted any) {
	r.require(reflect.DeepEqual(found, wanted), "found %v, wanted %v", found, wanted)
}

func (r *run) eventually(what string, probe func() bool) {
	for end := time.Now().Add(eventLimit); !probe(); time.Sleep(10 * time.Millisecond) {
		r.require(time.Now().Before(end), "%s: not within %v", what, eventLimit)
	}
}

// event waits for the next event of a watch, which may be the end of the session.
func (r *run) event(what string, watch <-chan zk.Event) zk.Event {
	select {
	case event := <-watch:
		return event
	case <-time.After(eventLimit):
		panic(broken(what + ": no event"))
	}
}

func (r *run) fires(watch <-chan zk.Event, kind zk.EventType, path string) {
	event := r.event(path, watch)
	r.require(event.Type == kind && event.Path == path && event.Err == nil, "event %+v, wanted %v %s", event, kind, path)
}

func (r *run) silent(watch <-chan zk.Event) {
	select {
	case event := <-watch:
		panic(broken(fmt.Sprintf("event %+v, wanted none", event)))
	default:
	}
}

func check(name string, body func(*run)) {
	started := time.Now()
	result := make(chan string, 1)
	r := &run{}
	go func() {
		defer func() {
			switch reason := recover().(type) {
			case nil:
				result <- ""
			case broken:
				result <- string(reason)
			default:
				result <- fmt.Sprintf("panic: %v", reason)
			}
		}()
		body(r)
	}()
	reason := ""
	select {
	case reason = <-result:
	case <-time.After(checkLimit):
		reason = fmt.Sprintf("longer than %v", checkLimit)
	}
	tell("open")
	for _, c := range r.clients {
		c.Close()
	}
	if reason != "" {
		fmt.Printf("FAIL %s: %s\n", name, strings.Join(strings.Fields(reason), " "))
		return
	}
	fmt.Printf("PASS %s (%.1f s)\n", name, time.Since(started).Seconds())
}

// tell says `cut`, `block` or `open` to the proxy, or to the run what is to happen to its servers.
func tell(word string) {
	control, err := net.Dial("tcp", "127.0.0.1:"+os.Getenv("PROXY_CONTROL"))
	if err != nil {
		panic(err)
	}
	defer control.Close()
	fmt.Fprintln(control, word)
	answer, err := bufio.NewReader(control).ReadString('\n')
	if err != nil || answer != "ok\n" {
		panic(fmt.Sprintf("the proxy said %q, %v to %s", answer, err, word))
	}
}

type client struct {
	*zk.Conn
	mutex  sync.Mutex
	states []zk.State
}

func (c *client) saw(state zk.State) bool {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	for _, seen := range c.states {
		if seen == state {
			return true
		}
	}
	return false
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}

// connect makes a client of one server, or of several with commas between, and waits until it has a session.
func (r *run) connect(hosts string, timeout time.Duration) *client {
	c := &client{}
	connection, events, err := zk.Connect(strings.Split(hosts, ","), timeout, zk.WithLogger(quiet{}))
	r.ok(err)
	c.Conn = connection
	r.clients = append(r.clients, c)
	go func() {
		for event := range events {
			if event.Type == zk.EventSession {
				c.mutex.Lock()
				c.states = append(c.states, event.State)
				c.mutex.Unlock()
			}
		}
	}()
	r.eventually("a session", func() bool { return connection.State() == zk.StateHasSession })
	return c
}

func (r *run) client() *client { return r.connect(server, 16*tick) }

func (r *run) create(c *client, path, data string) {
	made, err := c.Create(path, []byte(data), zk.FlagPersistent, open)
	r.ok(err)
	r.equal(made, path)
}

func (r *run) set(c *client, path, data string) {
	_, err := c.Set(path, []byte(data), -1)
	r.ok(err)
}

// retry repeats what failed because the session was between two connections.
func (r *run) retry(attempt func() error) {
	var err error
	r.eventually("an answer", func() bool {
		err = attempt()
		return !betweenConnections(err)
	})
	r.ok(err)
}

// betweenConnections tells whether a request failed only because its session had no connection.
func betweenConnections(err error) bool {
	var dropped *net.OpError
	return errors.Is(err, zk.ErrConnectionClosed) || errors.Is(err, zk.ErrNoServer) || errors.As(err, &dropped)
}

// ---------------------------------------------------------------- operations

func createGetSetDelete(r *run) {
	c := r.client()
	r.create(c, "/g", "one")
	data, stat, err := c.Get("/g")
	r.ok(err)
	r.equal(string(data), "one")
	r.equal([]int32{stat.Version, stat.Cversion, stat.Aversion, stat.DataLength}, []int32{0, 0, 0, 3})
	changed, err := c.Set("/g", []byte("three"), 0)
	r.ok(err)
	r.require(changed.Version == 1 && changed.Mzxid > stat.Mzxid && changed.Czxid == stat.Czxid, "stat %+v", changed)
	there, again, err := c.Exists("/g")
	r.ok(err)
	r.require(there && *again == *changed, "exists gave %+v, set gave %+v", again, changed)
	_, err = c.Set("/g", nil, 0)
	r.is(err, zk.ErrBadVersion)
	_, err = c.Create("/g", nil, 0, open)
	r.is(err, zk.ErrNodeExists)
	_, err = c.Create("/g/x/y", nil, 0, open)
	r.is(err, zk.ErrNoNode)
	r.create(c, "/g/kid", "")
	r.is(c.Delete("/g", -1), zk.ErrNotEmpty)
	r.is(c.Delete("/g/kid", 5), zk.ErrBadVersion)
	names, _, err := c.Children("/g")
	r.ok(err)
	r.equal(names, []string{"kid"})
	r.ok(c.Delete("/g/kid", 0))
	r.ok(c.Delete("/g", -1))
	there, _, err = c.Exists("/g")
	r.ok(err)
	r.require(!there, "still there")
	_, _, err = c.Get("/g")
	r.is(err, zk.ErrNoNode)
	_, _, err = c.Children("/g")
	r.is(err, zk.ErrNoNode)
	answer, err := c.Sync("/g")
	r.ok(err)
	r.equal(answer, "/g")
}

func createModes(r *run) {
	c := r.client()
	r.create(c, "/modes", "")
	for number, flags := range []int32{zk.FlagSequence, zk.FlagEphemeral | zk.FlagSequence} {
		made, err := c.Create("/modes/n-", nil, flags, open)
		r.ok(err)
		r.equal(made, fmt.Sprintf("/modes/n-%010d", number))
	}
	_, err := c.Create("/modes/e", nil, zk.FlagEphemeral, open)
	r.ok(err)
	_, stat, err := c.Exists("/modes/e")
	r.ok(err)
	r.equal(stat.EphemeralOwner, c.SessionID())
	_, err = c.Create("/modes/e/x", nil, 0, open)
	r.is(err, zk.ErrNoChildrenForEphemerals)
	_, err = c.CreateProtectedEphemeralSequential("/modes/p-", nil, open)
	r.ok(err)
	_, err = c.CreateTTL("/modes/ttl", nil, zk.FlagTTL, open, time.Hour)
	r.ok(err)
	made, err := c.CreateTTL("/modes/ts-", nil, zk.FlagPersistentSequentialWithTTL, open, time.Hour)
	r.ok(err)
	r.equal(made, "/modes/ts-0000000005")
}

func containersAndTTLNodesGoByThemselves(r *run) {
	c := r.client()
	_, err := c.CreateContainer("/container", nil, zk.FlagContainer, open)
	r.ok(err)
	r.create(c, "/container/kid", "")
	_, err = c.CreateTTL("/short", nil, zk.FlagTTL, open, 500*time.Millisecond)
	r.ok(err)
	_, _, container, err := c.ExistsW("/container")
	r.ok(err)
	_, _, short, err := c.ExistsW("/short")
	r.ok(err)
	r.fires(short, zk.EventNodeDeleted, "/short")
	r.silent(container)
	r.ok(c.Delete("/container/kid", -1))
	r.fires(container, zk.EventNodeDeleted, "/container")
}

func multiSucceedsAsOne(r *run) {
	c := r.client()
	r.create(c, "/multi", "")
	results, err := c.Multi(
		&zk.CreateRequest{Path: "/multi/a", Data: []byte("1"), Acl: open},
		&zk.CreateRequest{Path: "/multi/s-", Acl: open, Flags: zk.FlagEphemeral | zk.FlagSequence},
		&zk.SetDataRequest{Path: "/multi/a", Data: []byte("2"), Version: 0},
		&zk.CheckVersionRequest{Path: "/multi/a", Version: 1},
		&zk.DeleteRequest{Path: "/multi/a", Version: 1},
	)
	r.ok(err)
	r.equal(len(results), 5)
	r.equal(results[1].String, "/multi/s-0000000001")
	r.equal(results[2].Stat.Version, int32(1))
	names, _, err := c.Children("/multi")
	r.ok(err)
	r.equal(names, []string{"s-0000000001"})
}

func multiFailsAsOne(r *run) {
	c := r.client()
	r.create(c, "/multif", "")
	results, err := c.Multi(
		&zk.CreateRequest{Path: "/multif/a", Acl: open},
		&zk.CheckVersionRequest{Path: "/multif", Version: 9},
		&zk.DeleteRequest{Path: "/multif", Version: -1},
	)
	r.is(err, zk.ErrBadVersion)
	r.equal(len(results), 3)
	r.is(results[1].Error, zk.ErrBadVersion)
	names, _, err := c.Children("/multif")
	r.ok(err)
	r.equal(len(names), 0)
}

func bigData(r *run) {
	c := r.client()
	big := bytes.Repeat([]byte("go"), 500_000)
	_, err := c.Create("/big", big, 0, open)
	r.ok(err)
	data, _, err := c.Get("/big")
	r.ok(err)
	r.require(bytes.Equal(data, big), "other bytes came back")
}

func concurrentCallers(r *run) {
	c := r.client()
	r.create(c, "/together", "")
	const workers, turns = 20, 25
	var group sync.WaitGroup
	failures := make(chan error, workers*turns)
	for worker := 0; worker < workers; worker++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for turn := 0; turn < turns; turn++ {
				if _, err := c.Create("/together/n-", nil, zk.FlagSequence, open); err != nil {
					failures <- err
				}
			}
		}()
	}
	group.Wait()
	r.equal(len(failures), 0)
	names, stat, err := c.Children("/together")
	r.ok(err)
	sort.Strings(names)
	r.equal(int(stat.NumChildren), workers*turns)
	r.equal(names[workers*turns-1], fmt.Sprintf("n-%010d", workers*turns-1))
}

// ---------------------------------------------------------------- ACLs

func aclsAndAuth(r *run) {
	owner, other := r.client(), r.client()
	r.ok(owner.AddAuth("digest", []byte("gopher:pw")))
	_, err := owner.Create("/mine", []byte("x"), 0, zk.AuthACL(zk.PermAll))
	r.ok(err)
	_, _, err = other.Get("/mine")
	r.is(err, zk.ErrNoAuth)
	acl, stat, err := owner.GetACL("/mine")
	r.ok(err)
	r.equal(acl, zk.DigestACL(zk.PermAll, "gopher", "pw"))
	r.equal(stat.Aversion, int32(0))
	both := append(zk.WorldACL(zk.PermRead), zk.DigestACL(zk.PermAll, "gopher", "pw")...)
	stat, err = owner.SetACL("/mine", both, 0)
	r.ok(err)
	r.equal(stat.Aversion, int32(1))
	_, err = owner.SetACL("/mine", both, 0)
	r.is(err, zk.ErrBadVersion)
	data, _, err := other.Get("/mine")
	r.ok(err)
	r.equal(string(data), "x")
	_, err = other.Set("/mine", nil, -1)
	r.is(err, zk.ErrNoAuth)
	r.ok(other.AddAuth("digest", []byte("gopher:pw")))
	r.set(other, "/mine", "y")
	_, err = other.Create("/odd", nil, 0, []zk.ACL{{Perms: zk.PermAll, Scheme: "nosuch", ID: "x"}})
	r.is(err, zk.ErrInvalidACL)
	_, err = other.IncrementalReconfig(nil, []string{"3"}, -1)
	r.is(err, zk.ErrReconfigDisabled)
}

func authIsRepeatedAfterACut(r *run) {
	c := r.connect(proxied, 16*tick)
	r.ok(c.AddAuth("digest", []byte("re:con")))
	_, err := c.Create("/re-auth", nil, 0, zk.AuthACL(zk.PermAll))
	r.ok(err)
	tell("cut")
	r.retry(func() error { _, err := c.Set("/re-auth", nil, -1); return err })
}

// ---------------------------------------------------------------- watches

func oneShotWatches(r *run) {
	c, other := r.client(), r.client()
	_, _, exists, err := c.ExistsW("/w")
	r.ok(err)
	r.create(other, "/w", "0")
	r.fires(exists, zk.EventNodeCreated, "/w")
	_, _, data, err := c.GetW("/w")
	r.ok(err)
	_, _, kids, err := c.ChildrenW("/w")
	r.ok(err)
	r.set(other, "/w", "1")
	r.create(other, "/w/kid", "")
	r.fires(data, zk.EventNodeDataChanged, "/w")
	r.fires(kids, zk.EventNodeChildrenChanged, "/w")
	_, _, data, err = c.GetW("/w/kid")
	r.ok(err)
	_, _, kids, err = c.ChildrenW("/w/kid")
	r.ok(err)
	r.ok(other.Delete("/w/kid", -1))
	r.fires(data, zk.EventNodeDeleted, "/w/kid")
	r.fires(kids, zk.EventNodeDeleted, "/w/kid")
}

func watchesAreSetAgainAfterALostConnection(r *run) {
	c, other := r.connect(proxied, 16*tick), r.client()
	r.create(c, "/again", "")
	r.create(c, "/again/kid", "")
	_, _, kept, err := c.GetW("/again")
	r.ok(err)
	_, _, missed, err := c.GetW("/again/kid")
	r.ok(err)
	_, _, later, err := c.ExistsW("/again/later")
	r.ok(err)
	_, _, kids, err := c.ChildrenW("/again")
	r.ok(err)
	tell("block")
	r.eventually("disconnected", func() bool { return c.saw(zk.StateDisconnected) })
	r.set(other, "/again/kid", "while away")
	r.create(other, "/again/later", "")
	tell("open")
	r.fires(missed, zk.EventNodeDataChanged, "/again/kid")
	r.fires(later, zk.EventNodeCreated, "/again/later")
	r.fires(kids, zk.EventNodeChildrenChanged, "/again")
	r.silent(kept)
	r.set(other, "/again", "now")
	r.fires(kept, zk.EventNodeDataChanged, "/again")
}

// ---------------------------------------------------------------- sessions

func ephemeralsEndWithTheirSession(r *run) {
	c, other := r.client(), r.client()
	_, err := c.Create("/closing", nil, zk.FlagEphemeral, open)
	r.ok(err)
	_, _, gone, err := other.ExistsW("/closing")
	r.ok(err)
	c.Close()
	r.fires(gone, zk.EventNodeDeleted, "/closing")
}

func sessionSurvivesCuts(r *run) {
	c := r.connect(proxied, 16*tick)
	id := c.SessionID()
	_, err := c.Create("/cuts", nil, zk.FlagEphemeral, open)
	r.ok(err)
	for i := 0; i < 3; i++ {
		tell("cut")
		r.retry(func() error {
			_, stat, err := c.Exists("/cuts")
			if err == nil {
				r.equal(stat.EphemeralOwner, id)
			}
			return err
		})
	}
	r.equal(c.SessionID(), id)
	r.require(!c.saw(zk.StateExpired), "expired")
}

func expiryDeletesEphemerals(r *run) {
	c, other := r.connect(proxied, 2*tick), r.client()
	id := c.SessionID()
	_, err := c.Create("/expiry", nil, zk.FlagEphemeral, open)
	r.ok(err)
	_, _, gone, err := other.ExistsW("/expiry")
	r.ok(err)
	tell("block")
	r.fires(gone, zk.EventNodeDeleted, "/expiry")
	tell("open")
	r.eventually("expired, then a new session", func() bool {
		return c.saw(zk.StateExpired) && c.State() == zk.StateHasSession && c.SessionID() != id
	})
}

func sessionSurvivesACrashOfTheServer(r *run) {
	c := r.client()
	id := c.SessionID()
	_, err := c.Create("/crash", []byte("before"), zk.FlagEphemeral, open)
	r.ok(err)
	_, before, watch, err := c.GetW("/crash")
	r.ok(err)
	tell("restart")
	r.retry(func() error {
		data, after, err := c.Get("/crash")
		if err == nil {
			r.equal(string(data), "before")
			r.equal(*after, *before)
		}
		return err
	})
	r.equal(c.SessionID(), id)
	r.set(c, "/crash", "after")
	r.fires(watch, zk.EventNodeDataChanged, "/crash")
}

// ---------------------------------------------------------------- recipes and words

func lockIsHeldByOne(r *run) {
	const contenders, turns = 4, 5
	var inside, worst int
	var mutex sync.Mutex
	step := func(by int) {
		mutex.Lock()
		defer mutex.Unlock()
		inside += by
		if inside > worst {
			worst = inside
		}
	}
	var group sync.WaitGroup
	failures := make(chan error, contenders*turns*2)
	for i := 0; i < contenders; i++ {
		lock := zk.NewLock(r.client().Conn, "/lock/of/go", open)
		group.Add(1)
		go func() {
			defer group.Done()
			for turn := 0; turn < turns; turn++ {
				if err := lock.Lock(); err != nil {
					failures <- err
					continue
				}
				step(1)
				step(-1)
				if err := lock.Unlock(); err != nil {
					failures <- err
				}
			}
		}()
	}
	group.Wait()
	r.equal(len(failures), 0)
	r.equal(worst, 1)
}

func lockOfALostSessionIsFree(r *run) {
	holder, waiter := r.connect(proxied, 2*tick), r.client()
	r.ok(zk.NewLock(holder.Conn, "/orphan", open).Lock())
	tell("block")
	got := make(chan error, 1)
	go func() { got <- zk.NewLock(waiter.Conn, "/orphan", open).Lock() }()
	select {
	case err := <-got:
		r.ok(err)
	case <-time.After(eventLimit):
		panic(broken("the lock was never free"))
	}
}

func fourLetterWords(r *run) {
	c := r.client()
	r.equal(zk.FLWRuok([]string{server}, 5*time.Second), []bool{true})
	// The connection that asks is in the answer too, in a form that this client does not know: not `ok` as a whole.
	lists, _ := zk.FLWCons([]string{server}, 5*time.Second)
	r.ok(lists[0].Error)
	found := false
	for _, connection := range lists[0].Clients {
		found = found || connection.SessionID == c.SessionID()
	}
	r.require(found, "this session is not in cons: %d connections", len(lists[0].Clients))
}

func unicodePaths(r *run) {
	c := r.client()
	r.create(c, "/rooted", "")
	r.create(c, path.Join("/rooted", "\u00e4\u4e16"), "u")
	names, _, err := c.Children("/rooted")
	r.ok(err)
	r.equal(names, []string{"\u00e4\u4e16"})
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "ensemble" {
		ensembleChecks()
	} else {
		serverChecks()
	}
	fmt.Println("DONE")
}

func serverChecks() {
	check("create-get-set-delete", createGetSetDelete)
	check("create-modes", createModes)
	check("containers-and-ttl-nodes-go-by-themselves", containersAndTTLNodesGoByThemselves)
	check("multi-succeeds-as-one", multiSucceedsAsOne)
	check("multi-fails-as-one", multiFailsAsOne)
	check("big-data", bigData)
	check("concurrent-callers", concurrentCallers)
	check("unicode-paths", unicodePaths)
	check("acls-and-auth", aclsAndAuth)
	check("auth-is-repeated-after-a-cut", authIsRepeatedAfterACut)
	check("one-shot-watches", oneShotWatches)
	check("watches-are-set-again-after-a-lost-connection", watchesAreSetAgainAfterALostConnection)
	check("ephemerals-end-with-their-session", ephemeralsEndWithTheirSession)
	check("session-survives-cuts", sessionSurvivesCuts)
	check("expiry-deletes-ephemerals", expiryDeletesEphemerals)
	check("lock-is-held-by-one", lockIsHeldByOne)
	check("lock-of-a-lost-session-is-free", lockOfALostSessionIsFree)
	check("four-letter-words", fourLetterWords)
	check("session-survives-a-crash-of-the-server", sessionSurvivesACrashOfTheServer)
}

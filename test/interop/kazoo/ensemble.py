"""What an application sees of an ensemble whose servers are killed and started again."""
import os
import threading
import time

from kazoo.client import KazooState
from kazoo.exceptions import BadArgumentsError, BadVersionError, NewConfigNoQuorumError, NoAuthError
from kazoo.protocol.states import EventType
from kazoo.recipe.watchers import PatientChildrenWatch

from checks import EVENT_LIMIT_S, check, client, equal, eventually, main, proxy, raises

SERVERS = os.environ['ZK_HOST'].split(',')
TICK_S = int(os.environ['TICK_MS']) / 1000
SESSION_S = 16 * TICK_S
SUPER = [('digest', 'super:interop')]


def member(hosts=None, **options):
    """A client of all servers, or of one, whose session outlives an election."""
    return client(hosts, timeout=SESSION_S, **options)


def each():
    """A client of each server."""
    return [member(server) for server in SERVERS]


def kill_home(zk):
    proxy(f'kill-home {zk.client_id[0]:x}')


class States:
    """What a client is told of its connection."""

    def __init__(self, zk):
        self.seen = []
        zk.add_listener(self.seen.append)


def role(zk):
    return zk.command(b'srvr').split('Mode: ')[1].split()[0]


# ------------------------------------------------------------------ one service


@check
def each_server_serves_the_same_tree():
    clients = each()
    equal(sorted(role(zk) for zk in clients), ['follower', 'follower', 'leader'])
    for i, zk in enumerate(clients):
        equal(zk.create(f'/same/{i}', str(i).encode(), makepath=True), f'/same/{i}')
    equal(clients[0].create('/same/e', ephemeral=True), '/same/e')
    equal(clients[1].create('/same/s-', sequence=True), '/same/s-0000000004')
    equal(clients[2].create('/same/s-', sequence=True), '/same/s-0000000005')
    seen = []
    for zk in clients:
        zk.sync('/same')
        names, stat = zk.get_children('/same', include_data=True)
        seen.append((stat, [(name, zk.get(f'/same/{name}')) for name in sorted(names)]))
    equal(seen[1:], seen[:1] * 2)
    owners = {zk.client_id[0] for zk in clients}
    equal(len(owners), 3)
    clients[0].stop()
    for zk in clients[1:]:
        zk.sync('/same')
        equal(zk.exists('/same/e'), None)
    for i, zk in enumerate(clients[1:]):
        zk.delete(f'/same/{i}')


@check
def sync_then_read_sees_the_write_through_another_server():
    clients = each()
    clients[0].create('/synced', b'')
    for i in range(30):
        value = str(i).encode()
        clients[i % 3].set('/synced', value)
        reader = clients[(i + 1) % 3]
        reader.sync('/synced')
        equal(reader.get('/synced')[0], value)


@check
def a_watch_fires_for_a_change_through_another_server():
    clients = each()
    clients[0].create('/watched', b'')
    for reader in clients:
        for i, writer in enumerate(clients):
            events = []
            reader.sync('/watched')
            reader.get('/watched', watch=events.append)
            writer.set('/watched', str(i).encode())
            eventually('the event', lambda: events)
            equal((events[0].type, events[0].path), (EventType.CHANGED, '/watched'))


@check
def writes_of_one_client_stay_in_order_whatever_its_server():
    for i, zk in enumerate(each()):
        path = f'/order-{i}'
        zk.create(path, b'')
        answers = [zk.set_async(path, str(turn).encode()) for turn in range(200)]
        read = zk.get_async(path)
        equal([answer.get(EVENT_LIMIT_S).version for answer in answers], list(range(1, 201)))
        equal(read.get(EVENT_LIMIT_S)[0], b'199')


# ------------------------------------------------------------------ servers that are killed


@check
def session_moves_when_its_server_is_killed():
    zk, other = member(), member()
    states = States(zk)
    session = zk.client_id
    zk.create('/moved', ephemeral=True)
    kill_home(zk)
    equal(zk.retry(zk.exists, '/moved').ephemeralOwner, session[0])
    equal(zk.client_id, session)
    equal(other.retry(other.exists, '/moved').ephemeralOwner, session[0])
    equal(states.seen, [KazooState.SUSPENDED, KazooState.CONNECTED])
    zk.create('/moved-too', ephemeral=True)
    proxy('start')
    for server in SERVERS:
        one = member(server)
        one.sync('/')
        equal([one.exists(path).ephemeralOwner for path in ('/moved', '/moved-too')], [session[0]] * 2)
    zk.stop()
    other.sync('/')
    equal(other.exists('/moved-too'), None)


@check
def sessions_on_all_servers_survive_the_kill_of_the_leader():
    clients = [member(','.join(SERVERS[i:] + SERVERS[:i]), randomize_hosts=False) for i in range(3)]
    states = [States(zk) for zk in clients]
    sessions = [zk.client_id for zk in clients]
    for i, zk in enumerate(clients):
        zk.create(f'/leaderless/{i}', ephemeral=True, makepath=True)
    started = time.monotonic()
    proxy('kill-leader')
    for i, zk in enumerate(clients):
        zk.retry(zk.set, f'/leaderless/{i}', b'after')
    took = time.monotonic() - started
    proxy('start')
    equal([zk.client_id for zk in clients], sessions)
    for zk, state in zip(clients, states):
        assert KazooState.LOST not in state.seen, state.seen
        zk.sync('/')
        owners = [zk.retry(zk.exists, f'/leaderless/{i}').ephemeralOwner for i in range(3)]
        equal(owners, [session[0] for session in sessions])
    return f'writes again after {took:.1f} s'


@check
def conditional_writes_through_kills_happen_at_most_once():
    """Every server is killed once while three clients count up; an unclear answer is cleared up by reading."""
    clients = [member() for _ in range(3)]
    clients[0].create('/count', b'0')
    done, counted, broken = threading.Event(), [0, 0, 0], []

    def count(index, zk):
        try:
            while not done.is_set():
                zk.retry(zk.sync, '/count')
                data, stat = zk.retry(zk.get, '/count')
                value = f'{int(data.split()[0]) + 1} {index}-{counted[index]}'.encode()
                try:
                    zk.set('/count', value, version=stat.version)
                    counted[index] += 1
                except BadVersionError:
                    pass
                except Exception as error:
                    # Did it happen? Only this client writes this value, and nobody else while it may be there.
                    if settled(zk, stat.version, value):
                        counted[index] += 1
                    elif zk.state == KazooState.LOST:
                        raise error
        except Exception as error:
            broken.append(error)

    def settled(zk, version, value):
        zk.retry(zk.sync, '/count')
        data, stat = zk.retry(zk.get, '/count')
        if stat.version == version:
            return False
        history.setdefault(version + 1, set()).add(value)
        return data == value and stat.version == version + 1

    history = {}
    threads = [threading.Thread(target=count, args=pair, daemon=True) for pair in enumerate(clients)]
    for thread in threads:
        thread.start()
    for order in ('kill-leader', 'start', 'kill-follower', 'start', 'kill-leader', 'start'):
        before = sum(counted)
        proxy(order)
        eventually(f'progress after {order}', lambda: sum(counted) > before + 10 or broken)
    done.set()
    for thread in threads:
        thread.join(EVENT_LIMIT_S)
    equal(broken, [])
    data, stat = clients[0].get('/count')
    # Nothing acknowledged is lost, and each write went one up.
    equal(int(data.split()[0]), stat.version)
    unclear = len(history)
    assert sum(counted) <= stat.version <= sum(counted) + unclear, (counted, stat.version, unclear)
    return f'{stat.version} writes, {unclear} of them unclear'


@check
def watch_recipes_go_on_through_kills():
    zk, other = member(), member()
    other.create('/rw', b'0')
    data, children = [], []
    zk.DataWatch('/rw', lambda value, stat: data.append(value))
    zk.ChildrenWatch('/rw', lambda names: children.append(sorted(names)))
    for i, kill in enumerate(('home', 'kill-leader')):
        kill_home(zk) if kill == 'home' else proxy(kill)
        value = f'during {i}'.encode()
        other.retry(other.set, '/rw', value)
        other.retry(other.create, f'/rw/{i}')
        eventually('what changed meanwhile', lambda: data[-1] == value and children[-1][-1:] == [str(i)])
        proxy('start')
        other.retry(other.set, '/rw', b'after')
        eventually('what changed after it', lambda: data[-1] == b'after')
    names, _ = PatientChildrenWatch(zk, '/rw', time_boundary=0.2).start().get(timeout=EVENT_LIMIT_S)
    equal(sorted(names), ['0', '1'])


@check
def no_session_expires_while_there_is_no_quorum():
    zk = client(timeout=2 * TICK_S)
    states = States(zk)
    session = zk.client_id
    zk.create('/patient', ephemeral=True)
    proxy('leave 1')
    eventually('no connection', lambda: KazooState.SUSPENDED in states.seen)
    # Twice what the session lasts when there is somebody who could end it.
    time.sleep(4 * TICK_S)
    proxy('start')
    equal(zk.retry(zk.exists, '/patient').ephemeralOwner, session[0])
    equal(zk.client_id, session)
    assert KazooState.LOST not in states.seen, states.seen


@check
def a_session_that_nobody_keeps_expires_under_a_new_leader():
    silent, other = client(timeout=4 * TICK_S), member()
    silent.create('/silent', ephemeral=True)
    gone = []
    other.exists('/silent', watch=gone.append)
    # kazoo without its thread: nothing is sent any more, not even a farewell.
    silent._connection._socket.shutdown(2)
    silent._stopped.set()
    proxy('kill-leader')
    other.DataWatch('/silent', lambda value, stat: gone.append(stat) if stat is None else None)
    eventually('expired', lambda: None in gone, limit=30)
    proxy('start')


@check
def everything_is_there_after_all_servers_were_killed():
    zk = member()
    session = zk.client_id
    paths = [zk.create('/all/n-', str(i).encode(), sequence=True, makepath=True) for i in range(50)]
    zk.create('/all/e', ephemeral=True)
    proxy('kill-all')
    proxy('start')
    for i, path in enumerate(paths):
        equal(zk.retry(zk.get, path)[0], str(i).encode())
    equal(zk.exists('/all/e').ephemeralOwner, session[0])
    equal(zk.client_id, session)


@check
def a_rolling_restart_is_a_few_short_interruptions():
    zk = member()
    states = States(zk)
    session = zk.client_id
    zk.create('/rolling', b'0', ephemeral=True)
    done, writes = threading.Event(), []

    def write():
        while not done.is_set():
            zk.retry(zk.set, '/rolling', str(len(writes)).encode())
            writes.append(time.monotonic())

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    proxy('roll')
    done.set()
    writer.join(EVENT_LIMIT_S)
    equal(zk.client_id, session)
    assert KazooState.LOST not in states.seen, states.seen
    pause = max(after - before for before, after in zip(writes, writes[1:]))
    return f'{len(writes)} writes, at most {pause:.1f} s between two'


# ------------------------------------------------------------------ recipes


@check
def lock_is_held_by_one_through_kills():
    clients = [member() for _ in range(3)]
    clients[0].create('/guarded', b'0')
    inside, worst, turns, broken = [0], [0], [0, 0, 0], []
    done, guard = threading.Event(), threading.Lock()

    def work(index, zk):
        try:
            lock = zk.Lock('/lock', f'c{index}')
            while not done.is_set():
                assert lock.acquire(timeout=30)
                with guard:
                    inside[0] += 1
                    worst[0] = max(worst[0], inside[0])
                data = zk.retry(zk.get, '/guarded')[0]
                zk.retry(zk.set, '/guarded', str(int(data) + 1).encode())
                turns[index] += 1
                with guard:
                    inside[0] -= 1
                zk.retry(lock.release)
        except Exception as error:
            broken.append(error)

    threads = [threading.Thread(target=work, args=pair, daemon=True) for pair in enumerate(clients)]
    for thread in threads:
        thread.start()
    for order in ('kill-leader', 'start', 'kill-follower', 'start'):
        before = sum(turns)
        proxy(order)
        eventually(f'the lock goes round after {order}', lambda: sum(turns) > before + 6 or broken, limit=30)
    done.set()
    for thread in threads:
        thread.join(30)
    equal(broken, [])
    equal(worst[0], 1)
    # A repeated write may have happened twice; a lost one would show.
    assert int(clients[0].get('/guarded')[0]) >= sum(turns), (clients[0].get('/guarded'), turns)
    return f'{sum(turns)} turns'


@check
def elected_client_leads_on_when_its_server_is_killed():
    a, b = member(), member()
    led, go_on = [], threading.Event()

    def lead(name):
        led.append(name)
        if name == 'a':
            go_on.wait(30)

    elections = a.Election('/elect', 'a'), b.Election('/elect', 'b')
    threads = [threading.Thread(target=elections[0].run, args=(lead, 'a'), daemon=True)]
    threads[0].start()
    eventually('a leads', lambda: led == ['a'])
    threads.append(threading.Thread(target=elections[1].run, args=(lead, 'b'), daemon=True))
    threads[1].start()
    eventually('b stands', lambda: elections[0].contenders() == ['a', 'b'])
    kill_home(a)
    equal(a.retry(elections[0].contenders), ['a', 'b'])
    proxy('start')
    proxy('kill-leader')
    equal(b.retry(elections[1].contenders), ['a', 'b'])
    equal(led, ['a'])
    go_on.set()
    eventually('b leads', lambda: led == ['a', 'b'])
    proxy('start')


@check
def party_and_queue_through_the_kill_of_the_leader():
    a, b = member(), member()
    party, other = a.Party('/party', 'a'), b.Party('/party', 'b')
    party.join()
    other.join()
    queue = a.LockingQueue('/queue')
    queue.put_all([b'one', b'two', b'three'])
    equal(queue.get(5), b'one')
    proxy('kill-leader')
    eventually('both are members', lambda: sorted(b.retry(lambda: list(other))) == ['a', 'b'])
    eventually('the item is still held', lambda: a.retry(queue.holds_lock))
    equal(b.retry(b.LockingQueue('/queue').get, 5), b'two')
    assert a.retry(queue.consume)
    proxy('start')


# ------------------------------------------------------------------ reconfiguration


def config_of(zk):
    """Ids, and the version, of the ensemble as a server knows it."""
    zk.sync('/')
    text = zk.get('/zookeeper/config')[0].decode()
    lines = text.splitlines()
    assert lines[-1].startswith('version='), text
    return sorted(line.split('=')[0] for line in lines[:-1]), int(lines[-1].split('=')[1], 16), lines[:-1]


@check
def reconfig_needs_rights_and_sense():
    zk, root = member(), member(auth_data=SUPER)
    names, version, lines = config_of(zk)
    equal(names, ['server.1', 'server.2', 'server.3'])
    raises(NoAuthError, zk.reconfig, None, '3', None)
    raises(BadVersionError, root.reconfig, None, '3', None, version + 1)
    raises(BadArgumentsError, root.reconfig, 'server.4=nonsense', None, None)
    raises(BadArgumentsError, root.reconfig, None, '1,2,3', None)
    strangers = ','.join(f'server.{i}=127.0.0.1:{i}:1{i}:participant;127.0.0.1:2{i}' for i in range(5, 8))
    raises(NewConfigNoQuorumError, root.reconfig, strangers, None, None)
    equal(config_of(zk), (names, version, lines))


@check
def a_follower_is_removed_and_added():
    zk, root = member(), member(auth_data=SUPER)
    names, version, lines = config_of(zk)
    told = []
    zk.get('/zookeeper/config', watch=told.append)
    gone = next(i for i in (1, 2, 3) if role(member(SERVERS[i - 1])) == 'follower')
    data, stat = root.reconfig(None, str(gone), None, version)
    assert f'server.{gone}=' not in data.decode(), data
    equal(stat, root.exists('/zookeeper/config'))
    eventually('the watch', lambda: told)
    equal((told[0].type, told[0].path), (EventType.CHANGED, '/zookeeper/config'))
    smaller = config_of(zk)
    equal(smaller[0], [name for name in names if name != f'server.{gone}'])
    assert smaller[1] > version, smaller
    zk.create('/with-two')
    raises(BadVersionError, root.reconfig, lines[gone - 1], None, None, version)
    root.reconfig(lines[gone - 1], None, None, smaller[1])
    eventually('three again', lambda: config_of(zk)[0] == names)
    # It counts again: with it and one other there is a quorum.
    home = next(i for i in (1, 2, 3) if i != gone)
    proxy('kill-leader')
    zk.retry(zk.create, '/with-the-one-that-came-back')
    proxy('start')
    for server in SERVERS:
        one = member(server)
        equal(config_of(one)[0], names)
        assert one.exists('/with-two') and one.exists('/with-the-one-that-came-back'), server
    return f'server {gone}, {home} was there all the time'


@check
def the_whole_list_can_be_given():
    zk, root = member(), member(auth_data=SUPER)
    names, version, lines = config_of(zk)
    third = next(i for i in (1, 2, 3) if role(member(SERVERS[i - 1])) == 'follower')
    observing = [line.replace(':participant', ':observer') if i + 1 == third else line for i, line in enumerate(lines)]
    root.reconfig(None, None, ','.join(observing), version)
    eventually('one observes', lambda: role(member(SERVERS[third - 1])) == 'observer')
    watcher = member(SERVERS[third - 1])
    watcher.create('/through-an-observer', b'x')
    equal(watcher.get('/through-an-observer')[0], b'x')
    root.reconfig(None, None, ','.join(lines))
    eventually('and votes again', lambda: role(member(SERVERS[third - 1])) == 'follower')
    equal(config_of(zk)[2], lines)


main()

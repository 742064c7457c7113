"""What an application can do with kazoo over a plain connection."""
import os
import threading
import time

from kazoo.client import KazooState
from kazoo.exceptions import (
    BadArgumentsError,
    BadVersionError,
    ConnectionLoss,
    InvalidACLError,
    LockTimeout,
    NoAuthError,
    NoChildrenForEphemeralsError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    RolledBackError,
    RuntimeInconsistency,
    SessionExpiredError,
)
from kazoo.protocol.states import EventType, WatchedEvent
from kazoo.recipe.cache import TreeCache, TreeEvent
from kazoo.recipe.watchers import PatientChildrenWatch
from kazoo.security import ACL, CREATOR_ALL_ACL, OPEN_ACL_UNSAFE, READ_ACL_UNSAFE, Id, make_acl, make_digest_acl

from checks import EVENT_LIMIT_S, check, client, equal, eventually, main, proxied, proxy, raises

TICK_S = int(os.environ['TICK_MS']) / 1000
MAX_FRAME = 0xFFFFF


class Events:
    """A watch function that keeps what it is called with."""

    def __init__(self):
        self.seen = []

    def __call__(self, event):
        self.seen.append(event)

    def wait(self, count):
        eventually(f'{count} watch events', lambda: len(self.seen) >= count)
        return self.seen


# ------------------------------------------------------------------ single operations


@check
def create_get_set_delete():
    zk = client()
    equal(zk.create('/basic', b'one'), '/basic')
    data, stat = zk.get('/basic')
    equal(data, b'one')
    equal((stat.version, stat.cversion, stat.aversion, stat.ephemeralOwner), (0, 0, 0, 0))
    equal((stat.dataLength, stat.numChildren), (3, 0))
    equal((stat.czxid, stat.pzxid), (stat.mzxid, stat.mzxid))
    equal(stat.ctime, stat.mtime)
    assert abs(stat.ctime / 1000 - time.time()) < 60, stat.ctime
    changed = zk.set('/basic', b'three')
    equal((changed.version, changed.dataLength, changed.czxid), (1, 5, stat.czxid))
    assert changed.mzxid > stat.mzxid
    equal(zk.get('/basic'), (b'three', changed))
    equal(zk.exists('/basic'), changed)
    raises(BadVersionError, zk.set, '/basic', b'x', version=0)
    raises(BadVersionError, zk.delete, '/basic', version=7)
    equal(zk.delete('/basic', version=1), True)
    equal(zk.exists('/basic'), None)
    raises(NoNodeError, zk.get, '/basic')
    raises(NoNodeError, zk.set, '/basic', b'x')
    raises(NoNodeError, zk.delete, '/basic')
    raises(NoNodeError, zk.get_children, '/basic')


@check
def create_refusals():
    zk = client()
    zk.create('/refuse')
    raises(NodeExistsError, zk.create, '/refuse')
    raises(NoNodeError, zk.create, '/refuse/a/b')
    raises(NodeExistsError, zk.create, '/')
    zk.create('/refuse/eph', ephemeral=True)
    raises(NoChildrenForEphemeralsError, zk.create, '/refuse/eph/child')
    raises(NotEmptyError, zk.delete, '/refuse')
    raises(BadArgumentsError, zk.delete, '/zookeeper')
    raises(BadArgumentsError, zk.create, '/refuse/\x01')
    raises(InvalidACLError, zk.create, '/refuse/acl', acl=[ACL(31, Id('nosuch', 'x'))])
    zk.delete('/refuse', recursive=True)
    equal(zk.exists('/refuse'), None)


@check
def create_with_stat():
    zk = client()
    path, stat = zk.create('/with-stat', b'abc', include_data=True)
    equal(path, '/with-stat')
    equal(stat, zk.exists('/with-stat'))
    path, stat = zk.create('/with-stat/n-', b'', ephemeral=True, sequence=True, include_data=True)
    equal(path, '/with-stat/n-0000000000')
    equal(stat.ephemeralOwner, zk.client_id[0])


@check
def empty_and_null_data():
    zk = client()
    zk.create('/null', None)
    equal(zk.get('/null')[0], None)
    equal(zk.get('/null')[1].dataLength, 0)
    zk.set('/null', b'')
    equal(zk.get('/null')[0], b'')
    zk.set('/null', None)
    equal(zk.get('/null')[0], None)


@check
def sequential_nodes():
    zk = client()
    zk.create('/seq')
    equal([zk.create('/seq/n-', sequence=True) for _ in range(3)], [f'/seq/n-{i:010d}' for i in range(3)])
    zk.delete('/seq/n-0000000002')
    equal(zk.create('/seq/other'), '/seq/other')
    equal(zk.create('/seq/', sequence=True), '/seq/0000000004')
    equal(zk.exists('/seq').cversion, 6)


@check
def ephemerals_end_with_their_session():
    zk, other = client(), client()
    zk.create('/eph-parent')
    zk.create('/eph-parent/a', ephemeral=True)
    equal(zk.create('/eph-parent/s-', ephemeral=True, sequence=True), '/eph-parent/s-0000000001')
    equal(other.exists('/eph-parent/a').ephemeralOwner, zk.client_id[0])
    gone, children = Events(), Events()
    other.exists('/eph-parent/a', watch=gone)
    other.get_children('/eph-parent', watch=children)
    zk.stop()
    equal([event.type for event in gone.wait(1)], [EventType.DELETED])
    equal([event.type for event in children.wait(1)], [EventType.CHILD])
    equal(other.get_children('/eph-parent'), [])


@check
def ensure_path_and_makepath():
    zk = client()
    zk.ensure_path('/deep/a/b/c')
    zk.ensure_path('/deep/a/b/c')
    equal(zk.get_children('/deep/a/b'), ['c'])
    equal(zk.create('/deep/x/y', b'v', makepath=True), '/deep/x/y')
    equal(sorted(zk.get_children('/deep')), ['a', 'x'])
    zk.delete('/deep', recursive=True)


@check
def children_with_stat():
    zk = client()
    zk.create('/kids', b'p')
    for i in range(300):
        zk.create(f'/kids/{i:03d}')
    names, stat = zk.get_children('/kids', include_data=True)
    equal(sorted(names), [f'{i:03d}' for i in range(300)])
    equal((stat.numChildren, stat.cversion, stat.dataLength), (300, 300, 1))
    equal(stat, zk.exists('/kids'))
    assert 'zookeeper' in zk.get_children('/')


@check
def sync_then_read_sees_the_write_of_another_client():
    writer, reader = client(), client()
    writer.create('/synced', b'0')
    for i in range(20):
        writer.set('/synced', str(i).encode())
        equal(reader.sync('/synced'), '/synced')
        equal(reader.get('/synced')[0], str(i).encode())


@check
def unicode_paths():
    zk = client()
    root = '/\u00e4\u00f6\u00fc \u4e16\u754c'
    zk.create(root, 'h\u00e9'.encode())
    zk.create(root + '/\u043f\u0440\u0438\u0432\u0435\u0442')
    equal(zk.get(root)[0].decode(), 'h\u00e9')
    equal(zk.get_children(root), ['\u043f\u0440\u0438\u0432\u0435\u0442'])
    seen = Events()
    zk.get(root, watch=seen)
    zk.set(root, b'')
    equal(seen.wait(1)[0].path, root)
    zk.delete(root, recursive=True)


@check
def big_data():
    zk = client()
    body = os.urandom(MAX_FRAME - 1024)
    zk.create('/big', body)
    equal(zk.get('/big')[0], body)
    zk.set('/big', body[::-1])
    equal(zk.get('/big')[0], body[::-1])
    zk.delete('/big')
    return f'{len(body)} bytes'


@check
def too_big_data_ends_the_connection_and_not_the_session():
    zk = client()
    session = zk.client_id[0]
    zk.create('/too-big')
    raises(ConnectionLoss, zk.set, '/too-big', b'x' * (MAX_FRAME + 1))
    eventually('connected again', lambda: zk.connected)
    equal(zk.client_id[0], session)
    equal(zk.retry(zk.get, '/too-big')[0], b'')


@check
def async_pipelining_keeps_the_order():
    zk = client()
    zk.create('/pipe', b'')
    answers, lock = [], threading.Lock()

    def answered(number):
        def callback(result):
            with lock:
                answers.append((number, result.get()))

        return callback

    for i in range(500):
        zk.set_async('/pipe', str(i).encode()).rawlink(answered(2 * i))
        zk.get_async('/pipe').rawlink(answered(2 * i + 1))
    eventually('all answers', lambda: len(answers) == 1000)
    equal([number for number, _ in answers], list(range(1000)))
    for number, result in answers:
        if number % 2:
            equal((result[0], result[1].version), (str(number // 2).encode(), number // 2 + 1))


# ------------------------------------------------------------------ ACLs and authentication


@check
def acl_get_and_set():
    zk = client()
    zk.create('/acl', b'', acl=OPEN_ACL_UNSAFE)
    acls, stat = zk.get_acls('/acl')
    equal(acls, OPEN_ACL_UNSAFE)
    equal(stat.aversion, 0)
    wanted = READ_ACL_UNSAFE + [make_digest_acl('joe', 'secret', all=True)]
    stat = zk.set_acls('/acl', wanted, version=0)
    equal(stat.aversion, 1)
    raises(NoAuthError, zk.set, '/acl', b'x')
    raises(NoAuthError, zk.set_acls, '/acl', OPEN_ACL_UNSAFE)
    equal(zk.get('/acl')[0], b'')
    masked = zk.get_acls('/acl')[0]
    assert [acl.id.id for acl in masked] == ['anyone', 'joe:x'], masked
    joe = client(auth_data=[('digest', 'joe:secret')])
    equal(joe.get_acls('/acl')[0], wanted)
    joe.set('/acl', b'x')
    raises(BadVersionError, joe.set_acls, '/acl', OPEN_ACL_UNSAFE, version=0)
    raises(NoNodeError, joe.get_acls, '/acl/none')


@check
def digest_auth():
    owner, stranger = client(), client()
    owner.add_auth('digest', 'ann:pw')
    owner.create('/mine', b'hidden', acl=CREATOR_ALL_ACL)
    equal(owner.get('/mine')[0], b'hidden')
    raises(NoAuthError, stranger.get, '/mine')
    raises(NoAuthError, stranger.get_children, '/mine')
    raises(NoAuthError, stranger.create, '/mine/child')
    raises(NoAuthError, stranger.get_acls, '/mine')
    raises(InvalidACLError, stranger.create, '/nobody', acl=CREATOR_ALL_ACL)
    stranger.add_auth('digest', 'ann:wrong')
    raises(NoAuthError, stranger.get, '/mine')
    stranger.add_auth('digest', 'ann:pw')
    equal(stranger.get('/mine')[0], b'hidden')


@check
def digest_auth_again_after_reconnect():
    zk = proxied(auth_data=[('digest', 're:con')])
    zk.create('/re-auth', b'1', acl=CREATOR_ALL_ACL)
    proxy('cut')
    equal(zk.retry(zk.get, '/re-auth')[0], b'1')


@check
def each_permission_is_checked():
    joe, other = client(auth_data=[('digest', 'p:p')]), client()
    perms = {'read': True, 'create': True}
    joe.create('/perms', b'', acl=[make_acl('world', 'anyone', **perms), make_digest_acl('p', 'p', all=True)])
    equal(other.get('/perms')[0], b'')
    other.create('/perms/child')
    raises(NoAuthError, other.delete, '/perms/child')
    raises(NoAuthError, other.set, '/perms', b'x')
    raises(NoAuthError, other.set_acls, '/perms', OPEN_ACL_UNSAFE)
    joe.delete('/perms', recursive=True)


@check
def ip_acl():
    zk = client()
    zk.create('/ip', b'', acl=[make_acl('ip', '127.0.0.0/8', all=True)])
    zk.set('/ip', b'1')
    zk.set_acls('/ip', [make_acl('ip', '10.0.0.0/8', all=True)])
    raises(NoAuthError, zk.get, '/ip')
    raises(InvalidACLError, zk.create, '/ip-bad', acl=[make_acl('ip', '1.2.3', all=True)])


@check
def super_user():
    owner = client(auth_data=[('digest', 'o:o')])
    owner.create('/locked', b'x', acl=CREATOR_ALL_ACL)
    root = client(auth_data=[('digest', 'super:interop')])
    equal(root.get('/locked')[0], b'x')
    root.delete('/locked')


# ------------------------------------------------------------------ transactions


@check
def transaction_commits_as_one():
    zk = client()
    zk.create('/tx', b'')
    with_result = zk.transaction()
    with_result.create('/tx/a', b'1')
    with_result.create('/tx/s-', b'', sequence=True)
    with_result.create('/tx/e', b'', ephemeral=True)
    with_result.set_data('/tx/a', b'2')
    with_result.check('/tx/a', 1)
    with_result.delete('/tx/e')
    results = with_result.commit()
    equal(results[:3], ['/tx/a', '/tx/s-0000000001', '/tx/e'])
    equal((results[3].version, results[4], results[5]), (1, True, True))
    a, s = zk.exists('/tx/a'), zk.exists('/tx/s-0000000001')
    equal((a.czxid, a.mzxid), (s.czxid, s.czxid))
    equal(sorted(zk.get_children('/tx')), ['a', 's-0000000001'])


@check
def transaction_fails_as_one():
    zk = client()
    zk.create('/txf', b'')
    seen = Events()
    zk.get_children('/txf', watch=seen)
    attempt = zk.transaction()
    attempt.create('/txf/a')
    attempt.check('/txf', 99)
    attempt.create('/txf/b')
    kinds = [type(result) for result in attempt.commit()]
    equal(kinds, [RolledBackError, BadVersionError, RuntimeInconsistency])
    equal(zk.get_children('/txf'), [])
    equal(seen.seen, [])
    attempt = zk.transaction()
    attempt.delete('/txf/none')
    equal([type(result) for result in attempt.commit()], [NoNodeError])
    equal(zk.transaction().commit(), [])


# ------------------------------------------------------------------ watches


@check
def one_shot_watches():
    zk, other = client(), client()
    data, exists, children = Events(), Events(), Events()
    equal(zk.exists('/w', watch=exists), None)
    other.create('/w', b'0')
    equal(exists.wait(1), [WatchedEvent(EventType.CREATED, 'CONNECTED', '/w')])
    zk.get('/w', watch=data)
    zk.get_children('/w', watch=children)
    other.set('/w', b'1')
    other.set('/w', b'2')
    other.create('/w/c')
    other.create('/w/d')
    equal([event.type for event in data.wait(1)], [EventType.CHANGED])
    equal([event.type for event in children.wait(1)], [EventType.CHILD])
    both = Events()
    zk.get('/w/c', watch=both)
    zk.get_children('/w/c', watch=both)
    other.delete('/w/c')
    both.wait(2)
    equal({event.type for event in both.seen}, {EventType.DELETED})
    # Whatever was still to come would be here before this answer.
    zk.sync('/w')
    equal((len(exists.seen), len(data.seen), len(children.seen)), (1, 1, 1))


@check
def a_watch_event_comes_before_the_read_that_shows_the_change():
    zk, other = client(), client()
    zk.create('/order', b'0')
    for i in range(1, 30):
        order = []
        zk.get_async('/order', watch=lambda event: order.append('event')).get()
        other.set('/order', str(i).encode())
        while zk.get('/order')[0] != str(i).encode():
            pass
        eventually('the event', lambda: order == ['event'], limit=1)


@check
def data_watch_recipe():
    zk, other = client(), client()
    seen = []

    @zk.DataWatch('/dw')
    def changed(data, stat, event):
        seen.append((data, stat.version if stat else None, event.type if event else None))

    other.create('/dw', b'a')
    eventually('created', lambda: len(seen) == 2)
    other.set('/dw', b'b')
    eventually('changed', lambda: len(seen) == 3)
    other.delete('/dw')
    eventually('deleted', lambda: len(seen) == 4)
    equal(seen, [(None, None, None), (b'a', 0, 'CREATED'), (b'b', 1, 'CHANGED'), (None, None, 'DELETED')])


@check
def children_watch_recipe():
    zk, other = client(), client()
    zk.create('/cw')
    seen = []
    zk.ChildrenWatch('/cw', lambda names: seen.append(sorted(names)))
    for count, name in enumerate('abc'):
        other.create(f'/cw/{name}')
        eventually('children', lambda: seen and len(seen[-1]) == count + 1)
    other.delete('/cw/b')
    eventually('one less', lambda: seen[-1] == ['a', 'c'])
    patient = PatientChildrenWatch(zk, '/cw', time_boundary=0.2)
    names, _ = patient.start().get(timeout=EVENT_LIMIT_S)
    equal(sorted(names), ['a', 'c'])


@check
def watch_recipes_go_on_after_a_lost_connection():
    zk, other = proxied(), client()
    zk.create('/rw', b'0')
    session = zk.client_id
    plain, data, children = Events(), [], []
    zk.get('/rw', watch=plain)
    zk.DataWatch('/rw', lambda value, stat: data.append(value))
    zk.ChildrenWatch('/rw', lambda names: children.append(names))
    proxy('block')
    eventually('connection lost', lambda: not zk.connected)
    other.set('/rw', b'while away')
    other.create('/rw/later')
    proxy('open')
    eventually('what was missed', lambda: data[-1] == b'while away' and children[-1] == ['later'])
    equal(zk.client_id, session)
    other.set('/rw', b'now')
    eventually('what is new', lambda: data[-1] == b'now')
    # kazoo tells its plain watches of the loss and forgets them; it never sends setWatches.
    equal([event.type for event in plain.seen], [EventType.NONE])


# ------------------------------------------------------------------ sessions


@check
def session_survives_a_lost_connection():
    zk = proxied()
    states = []
    zk.add_listener(states.append)
    session = zk.client_id
    zk.create('/kept', ephemeral=True)
    for _ in range(3):
        proxy('cut')
        equal(zk.retry(zk.exists, '/kept').ephemeralOwner, session[0])
    equal(zk.client_id, session)
    assert KazooState.LOST not in states, states
    assert KazooState.SUSPENDED in states, states


@check
def session_expires_when_the_client_is_away_too_long():
    zk, other = proxied(timeout=2 * TICK_S), client()
    states = []
    zk.add_listener(states.append)
    first = zk.client_id[0]
    zk.create('/expires', ephemeral=True)
    gone = Events()
    other.exists('/expires', watch=gone)
    proxy('block')
    started = time.monotonic()
    gone.wait(1)
    took = time.monotonic() - started
    proxy('open')
    eventually('the client knows', lambda: KazooState.LOST in states and zk.connected)
    assert zk.client_id[0] != first
    equal(zk.exists('/expires'), None)
    # Pings go out every third of the timeout at the latest; expiry is rounded up to a tick.
    assert took >= 2 * TICK_S / 3 - 0.1, took
    return f'after {took:.2f} s of {2 * TICK_S} s'


@check
def session_taken_over_with_id_and_password():
    zk = client()
    zk.create('/taken', ephemeral=True)
    session = zk.client_id
    second = client(client_id=session)
    equal(second.client_id[0], session[0])
    equal(second.exists('/taken').ephemeralOwner, session[0])
    lost = threading.Event()
    zk.add_listener(lambda state: lost.set() if state == KazooState.LOST else None)
    second.stop()
    eventually('the first one learns that its session was closed', lost.is_set)
    other = client()
    equal(other.exists('/taken'), None)


@check
def wrong_password_is_an_expired_session():
    zk = client()
    zk.create('/guarded', ephemeral=True)
    for claimed in (zk.client_id[0], 0x7777777777):
        other = client(client_id=(claimed, b'0' * 16))
        got = eventually('a session of its own', lambda: other.client_id)
        assert got[0] != claimed, hex(got[0])
    equal(zk.retry(zk.exists, '/guarded').ephemeralOwner, zk.client_id[0])


@check
def chroot():
    plain = client()
    plain.create('/rooted')
    zk = client(os.environ['ZK_HOST'] + '/rooted')
    equal(zk.create('/a', b'x'), '/a')
    equal(zk.create('/n-', sequence=True), '/n-0000000001')
    equal(plain.get('/rooted/a')[0], b'x')
    equal(sorted(zk.get_children('/')), ['a', 'n-0000000001'])
    seen = Events()
    zk.get('/a', watch=seen)
    plain.set('/rooted/a', b'y')
    equal(seen.wait(1)[0].path, '/a')
    change = zk.transaction()
    change.create('/t', b'')
    equal(change.commit(), ['/t'])
    equal(plain.exists('/rooted/t').version, 0)


# ------------------------------------------------------------------ recipes


@check
def lock_recipe():
    a, b = client(), client()
    first, second = a.Lock('/lock', 'first'), b.Lock('/lock', 'second')
    assert first.acquire()
    assert not second.acquire(blocking=False)
    raises(LockTimeout, second.acquire, timeout=0.2)
    got = threading.Event()
    waiter = threading.Thread(target=lambda: second.acquire(timeout=EVENT_LIMIT_S) and got.set(), daemon=True)
    waiter.start()
    eventually('both queue', lambda: first.contenders() == ['first', 'second'])
    assert not got.is_set()
    first.release()
    eventually('the second has it', got.is_set)
    second.release()
    equal(a.get_children('/lock'), [])


@check
def lock_passes_on_when_the_holder_dies():
    holder, waiter = proxied(timeout=2 * TICK_S), client()
    assert holder.Lock('/dead-lock', 'holder').acquire()
    second = waiter.Lock('/dead-lock', 'waiter')
    proxy('block')
    try:
        assert second.acquire(timeout=EVENT_LIMIT_S)
    finally:
        proxy('open')


@check
def read_and_write_lock_recipes():
    a, b, c = client(), client(), client()
    read1, read2, write = a.ReadLock('/rwl', 'r1'), b.ReadLock('/rwl', 'r2'), c.WriteLock('/rwl', 'w')
    assert read1.acquire(timeout=5) and read2.acquire(timeout=5)
    assert not write.acquire(blocking=False)
    read1.release()
    read2.release()
    assert write.acquire(timeout=5)
    assert not read1.acquire(blocking=False)
    write.release()


@check
def semaphore_recipe():
    a, b, c = client(), client(), client()
    one, two, three = (zk.Semaphore('/sem', f's{i}', max_leases=2) for i, zk in enumerate((a, b, c)))
    assert one.acquire() and two.acquire()
    assert not three.acquire(blocking=False)
    equal(sorted(one.lease_holders()), ['s0', 's1'])
    one.release()
    assert three.acquire(timeout=EVENT_LIMIT_S)


@check
def election_recipe():
    a, b = client(), client()
    led, go_on = [], threading.Event()

    def lead(name):
        led.append(name)
        if name == 'a':
            go_on.wait(EVENT_LIMIT_S)

    elections = a.Election('/elect', 'a'), b.Election('/elect', 'b')
    threads = [threading.Thread(target=elections[0].run, args=(lead, 'a'), daemon=True)]
    threads[0].start()
    eventually('a leads', lambda: led == ['a'])
    threads.append(threading.Thread(target=elections[1].run, args=(lead, 'b'), daemon=True))
    threads[1].start()
    eventually('b stands', lambda: elections[0].contenders() == ['a', 'b'])
    go_on.set()
    for thread in threads:
        thread.join(EVENT_LIMIT_S)
    equal(led, ['a', 'b'])


@check
def party_recipes():
    a, b = client(), client()
    for kind, path in (('Party', '/party'), ('ShallowParty', '/shallow')):
        first, second = getattr(a, kind)(path, 'a'), getattr(b, kind)(path, 'b')
        first.join()
        second.join()
        eventually('two members', lambda: sorted(first) == ['a', 'b'])
        equal((len(second), 'x' in path), (2, False))
        second.leave()
        eventually('one member', lambda: list(first) == ['a'])


@check
def barrier_recipes():
    a, b = client(), client()
    a.Barrier('/bar').create()
    equal(b.Barrier('/bar').wait(0.1), False)
    passed = threading.Event()
    threading.Thread(target=lambda: b.Barrier('/bar').wait(EVENT_LIMIT_S) and passed.set(), daemon=True).start()
    equal(a.Barrier('/bar').remove(), True)
    eventually('through the barrier', passed.is_set)
    order = []

    def member(zk, name):
        barrier = zk.DoubleBarrier('/double', 2, name)
        barrier.enter()
        order.append('in')
        barrier.leave()
        order.append('out')

    threads = [threading.Thread(target=member, args=(zk, name), daemon=True) for zk, name in ((a, 'a'), (b, 'b'))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(EVENT_LIMIT_S)
    equal(sorted(order), ['in', 'in', 'out', 'out'])
    equal(order[0], 'in')


@check
def queue_recipes():
    a, b = client(), client()
    queue = a.Queue('/queue')
    for value, priority in ((b'low', 200), (b'high', 1), (b'mid', 100)):
        queue.put(value, priority)
    equal(len(queue), 3)
    equal([b.Queue('/queue').get() for _ in range(4)], [b'high', b'mid', b'low', None])
    locking, other = a.LockingQueue('/locking'), b.LockingQueue('/locking')
    locking.put(b'one')
    locking.put_all([b'two', b'three'])
    equal(locking.get(5), b'one')
    equal(other.get(5), b'two')
    assert locking.holds_lock() and locking.consume() and other.release()
    equal(locking.get(5), b'two')
    assert locking.consume()
    equal(other.get(5), b'three')
    assert other.consume()
    equal(locking.get(0.2), None)


@check
def counter_recipe():
    clients = [client() for _ in range(3)]

    def count(zk):
        counter = zk.Counter('/counter')
        for _ in range(20):
            counter += 2
            counter -= 1

    threads = [threading.Thread(target=count, args=(zk,), daemon=True) for zk in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(40)
    equal(clients[0].Counter('/counter').value, 60)
    curator = clients[0].Counter('/counter-java', support_curator=True)
    curator += 7
    equal(clients[1].get('/counter-java')[0], b'\0\0\0\7')


@check
def lease_recipe():
    from datetime import timedelta

    a, b = client(), client()
    assert a.NonBlockingLease('/lease', timedelta(seconds=30), identifier='a')
    assert not b.NonBlockingLease('/lease', timedelta(seconds=30), identifier='b')


@check
def set_partitioner_recipe():
    clients = [client() for _ in range(2)]
    parts = [
        zk.SetPartitioner('/partitions', tuple(range(6)), identifier=f'p{i}', time_boundary=0.5)
        for i, zk in enumerate(clients)
    ]

    def settled():
        for part in parts:
            if part.release:
                part.release_set()
            elif part.allocating:
                part.wait_for_acquire(1)
        return all(part.acquired for part in parts) and sum(len(list(part)) for part in parts) == 6

    eventually('every number has one owner', settled, limit=40)
    equal(sorted(list(parts[0]) + list(parts[1])), list(range(6)))
    for part in parts:
        part.finish()


@check
def tree_cache_recipe():
    zk, other = client(), client()
    other.create('/tree/a/b', b'deep', makepath=True)
    events = []
    cache = TreeCache(zk, '/tree')
    cache.listen(lambda event: events.append((event.event_type, event.event_data and event.event_data.path)))
    cache.start()
    eventually('filled', lambda: (TreeEvent.INITIALIZED, None) in events)
    equal(cache.get_data('/tree/a/b').data, b'deep')
    other.set('/tree/a/b', b'new')
    eventually('updated', lambda: cache.get_data('/tree/a/b').data == b'new')
    other.create('/tree/a/c', b'')
    eventually('added', lambda: cache.get_children('/tree/a') == {'b', 'c'})
    other.delete('/tree/a', recursive=True)
    eventually('removed', lambda: cache.get_data('/tree/a') is None)
    assert (TreeEvent.NODE_UPDATED, '/tree/a/b') in events, events
    cache.close()


# ------------------------------------------------------------------ words and versions


@check
def four_letter_words():
    zk = client()
    equal(zk.command(b'ruok'), 'imok')
    assert 'Mode: standalone' in zk.command(b'srvr')
    assert f'{zk.client_id[0]:x}' in zk.command(b'cons').lower()
    assert 'zk_znode_count' in zk.command(b'mntr')
    assert 'tickTime=' in zk.command(b'conf')
    equal(zk.command(b'isro').strip(), 'rw')
    version = zk.server_version()
    assert version >= (3, 9), version
    return 'version ' + '.'.join(map(str, version))


@check
def stopped_client_refuses_and_starts_again():
    zk = client()
    zk.stop()
    try:
        zk.get('/')
    except (ConnectionLoss, SessionExpiredError) as error:
        detail = type(error).__name__
    zk.restart()
    zk.get('/')
    return f'stopped: {detail}'


main()

"""Read-only mode: what clients may do at a server that is left without a quorum. Local sessions are on, as the original needs them."""
import os
import time

from kazoo.client import KeeperState
from kazoo.exceptions import NotReadOnlyCallError

from checks import check, client, equal, eventually, main, proxy, raises

SERVERS = os.environ['ZK_HOST'].split(',')
TIMEOUT_S = 4 * int(os.environ['TICK_MS']) / 1000


@check
def a_server_without_a_quorum_serves_reads_to_those_who_ask():
    client().create('/ro', b'there')
    zk = client(SERVERS[0], timeout=TIMEOUT_S, read_only=True)
    zk.sync('/ro')
    equal(zk.command(b'isro').strip(), 'rw')
    proxy('leave 1')
    eventually('read-only', lambda: zk.client_state == KeeperState.CONNECTED_RO, limit=30)
    equal(zk.command(b'isro').strip(), 'ro')
    assert 'Mode: read-only' in zk.command(b'srvr')
    told = []
    equal(zk.get('/ro')[0], b'there')
    equal(zk.get_children('/ro', watch=told.append), [])
    raises(NotReadOnlyCallError, zk.set, '/ro', b'x')
    raises(NotReadOnlyCallError, zk.create, '/ro/x')
    raises(NotReadOnlyCallError, zk.delete, '/ro')
    equal(zk.exists('/ro').version, 0)
    equal(told, [])
    late = client(SERVERS[0], timeout=TIMEOUT_S, read_only=True)
    equal(late.get('/ro')[0], b'there')
    strict = client(SERVERS[0], timeout=TIMEOUT_S, start=False)
    strict.start_async()
    time.sleep(1)
    assert not strict.connected, 'a client that needs to write is let in'
    proxy('start')
    for one in (zk, late, strict):
        eventually('it can write', lambda: one.client_state == KeeperState.CONNECTED)
        one.retry(one.set, '/ro', b'again')
    equal(zk.command(b'isro').strip(), 'rw')


@check
def a_session_with_ephemerals_is_not_given_up_at_a_server_that_only_reads():
    zk = client(SERVERS[0], timeout=TIMEOUT_S, read_only=True)
    zk.create('/mine', ephemeral=True)
    session = zk.client_id
    states = []
    zk.add_listener(states.append)
    proxy('leave 1')
    reader = client(SERVERS[0], timeout=TIMEOUT_S, read_only=True, start=False)
    reader.start_async()
    eventually('read-only', lambda: reader.client_state == KeeperState.CONNECTED_RO, limit=30)
    equal(reader.exists('/mine').ephemeralOwner, session[0])
    # Longer than it lasts where somebody may end it.
    time.sleep(TIMEOUT_S)
    equal((zk.connected, states), (False, ['SUSPENDED']))
    proxy('start')
    equal(zk.retry(zk.exists, '/mine').ephemeralOwner, session[0])
    equal(zk.client_id, session)


main()

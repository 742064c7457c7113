// Read-only mode: a server without a leader serves reads to clients that asked for it, and lets go of them when there is one
// again (semantics.md 60 to 62).
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type Ensemble, type Member, startEnsemble, until } from '../support/ensemble.ts'
import {
  type Answer,
  body,
  ClosedError,
  type ConnectOptions,
  Err,
  Flag,
  multiOp,
  Op,
  ok,
  openAcl,
  RawClient,
} from '../support/raw-client.ts'

const notReadOnly = -119
const settings = { 'readonlymode.enabled': true }
const asks = { readOnly: true, timeout: 60_000 }

/** What a handshake is answered with; undefined: closed without an answer. */
async function handshake(member: Member, options: ConnectOptions) {
  const client = await RawClient.dial(member.port)
  try {
    const { timeout, readOnly } = await client.handshake(options)
    return { client, timeout, readOnly }
  } catch (error) {
    assert.ok(error instanceof ClosedError, String(error))
    return undefined
  }
}

async function readOnlyClient(member: Member, options: ConnectOptions = {}): Promise<RawClient> {
  const opened = await handshake(member, { ...asks, ...options })
  assert.deepEqual([opened?.timeout, opened?.readOnly], [60_000, true])
  return opened?.client as RawClient
}

async function readsOnly(member: Member): Promise<void> {
  await until(`server ${member.id} is read-only`, async () => (await member.word('isro')) === 'ro')
}

/** Stops all servers but one follower, and waits until that serves reads. */
async function cutOff(ensemble: Ensemble): Promise<Member> {
  const [left] = (await ensemble.followers()) as [Member]
  await ensemble.stop(...ensemble.running.filter((member) => member !== left).map(({ id }) => id))
  await readsOnly(left)
  return left
}

// Each of them waits for the mode to begin: they do it together.
describe('read-only mode', { concurrency: true }, () => {
  test('a follower that is left alone', async (t) => {
    const ensemble = await startEnsemble(t, { settings })
    const [member] = (await ensemble.followers()) as [Member]
    assert.equal(await member.word('isro'), 'rw')
    const before = await member.connect({ readOnly: true })
    assert.equal(before.session.readOnly, false)
    await ok(before.create('/data', { data: 'x' }))
    await ok(before.create('/eph', { flags: Flag.ephemeral }))
    const { zxid } = await before.ping()
    await ensemble.stop(...ensemble.running.filter((one) => one !== member).map(({ id }) => id))
    await before.closed()

    await t.test('does not begin at once', async () => {
      assert.equal(await member.word('isro'), 'null')
      assert.equal(await handshake(member, asks), undefined)
      await readsOnly(member)
    })

    await t.test('is shown by the words', async () => {
      const srvr = await member.word('srvr')
      assert.match(srvr, /\nREAD-ONLY mode; serving only read-only clients\nLatency/)
      assert.match(srvr, /\nMode: read-only\n/)
      const mntr = await member.word('mntr')
      assert.match(mntr, /^zk_server_state\tread-only$/m)
      assert.doesNotMatch(mntr, /zk_peer_state|zk_quorum_size/)
    })

    await t.test('closes the connections of clients that did not ask for it', async () => {
      assert.equal(await handshake(member, { ...asks, readOnly: false }), undefined)
      assert.equal(await handshake(member, { ...asks, readOnly: 'absent' }), undefined)
    })

    await t.test('refuses a client that has seen a later state', async () => {
      assert.equal(await handshake(member, { ...asks, lastZxidSeen: zxid + 1n }), undefined)
      await (await readOnlyClient(member, { lastZxidSeen: zxid })).close()
    })

    await t.test('leaves the sessions of the ensemble alone', async () => {
      assert.equal(await handshake(member, { ...asks, ...before.credentials }), undefined)
      const unknown = { ...before.credentials, sessionId: 77n }
      assert.equal((await handshake(member, { ...asks, ...unknown }))?.timeout, 0)
    })

    await t.test('answers reads and keeps watches', async () => {
      const client = await readOnlyClient(member)
      assert.equal((await ok(client.getData('/data', true))).data?.toString(), 'x')
      assert.equal((await ok(client.exists('/eph'))).ephemeralOwner, before.session.sessionId)
      assert.equal(await client.exists('/none', true).then(({ err }) => err), Err.noNode)
      assert.deepEqual((await ok(client.getChildren('/', true))).sort(), ['data', 'eph', 'zookeeper'])
      assert.equal((await ok(client.multiRead([multiOp.getData('/data')]))).length, 1)
      assert.equal(await ok(client.addWatch('/', 1)), 0)
      await ok(client.setWatches(0n, { data: ['/none'] }))
      assert.deepEqual(await client.events(), ['NodeDeleted /none'])
      await ok(client.auth('digest', 'a:b'))
      assert.match(await member.word('wchs'), /1 connections watching/)
      assert.match(await member.word('mntr'), /^zk_local_sessions\t1$/m)
      await client.close()
    })

    await t.test('refuses everything that needs a quorum, and counts no zxid', async () => {
      const client = await readOnlyClient(member)
      const path = '/data'
      const requests: readonly [string, Promise<Answer<unknown>>][] = client.batch(() => [
        ['create', client.create(path)],
        ['ephemeral', client.create(path, { flags: Flag.ephemeral })],
        ['create2', client.create2(path)],
        ['createTtl', client.createTtl(path, 5n)],
        ['createContainer', client.createContainer(path)],
        ['delete', client.delete(path)],
        ['deleteContainer', client.deleteContainer(path)],
        ['setData', client.setData(path, 'y')],
        ['setAcl', client.setAcl(path, openAcl)],
        ['multi', client.multi([multiOp.check(path)])],
        ['sync', client.sync(path)],
        ['reconfig', client.reconfig(null, '3', null)],
      ])
      for (const [name, answer] of requests) {
        const { err, zxid: at } = await answer
        assert.deepEqual([err, at], [notReadOnly, zxid], name)
      }
      assert.equal((await client.request(Op.create, body.path('short'))).err, notReadOnly)
      await client.close()
    })

    await t.test('its sessions can be resumed and closed here', async () => {
      const client = await readOnlyClient(member)
      const again = await readOnlyClient(member, client.credentials)
      await client.closed()
      assert.equal((await again.closeSession()).err, 0)
      await again.closed()
      assert.equal((await handshake(member, { ...asks, ...client.credentials }))?.timeout, 0)
    })

    await t.test('its sessions expire here', async () => {
      const opened = await handshake(member, { ...asks, timeout: 800 })
      await opened?.client.closed()
      assert.match(await member.word('mntr'), /^zk_local_sessions\t0$/m)
    })

    await t.test(
      'ends when there is a quorum: its clients are disconnected, sessions of the ensemble go on',
      async () => {
        const client = await readOnlyClient(member)
        const [stopped] = ensemble.members.filter((one) => !one.running) as [Member]
        await stopped.start()
        await client.closed()
        await ensemble.leader()
        assert.equal(await member.word('isro'), 'rw')
        const resumed = await member.resume(before, zxid)
        assert.equal((await ok(resumed.exists('/eph'))).ephemeralOwner, before.session.sessionId)
        await ok(resumed.setData('/data', 'y'))
        // Its session was that server's, and the mode's.
        assert.equal((await handshake(member, { ...asks, ...client.credentials }))?.timeout, 0)
        assert.match(await member.word('mntr'), /^zk_local_sessions\t0$/m)
      },
    )
  })

  test('a server that has never had a leader has nothing to serve', async (t) => {
    const ensemble = await startEnsemble(t, { settings, start: [1] })
    const member = ensemble.member(1)
    // The other one takes as long to begin, and began later.
    const others = await startEnsemble(t, { settings })
    await cutOff(others)
    assert.equal(await member.word('isro'), 'null')
  })

  test('a server that was not told to does not begin', async (t) => {
    const [plain, enabled] = [await startEnsemble(t), await startEnsemble(t, { settings })]
    const [left] = (await plain.followers()) as [Member]
    await plain.stop(...plain.running.filter((member) => member !== left).map(({ id }) => id))
    await cutOff(enabled)
    assert.equal(await handshake(left, asks), undefined)
    assert.equal(await left.word('srvr'), 'This ZooKeeper instance is not currently serving requests\n')
  })
  test('a server that starts alone serves what it had when it was stopped, and ids of sessions are new ones', async (t) => {
    const ensemble = await startEnsemble(t, { settings })
    const member = await ensemble.leader()
    const client = await member.connect()
    await ok(client.create('/kept', { data: 'x' }))
    await ensemble.stop(1, 2, 3)
    await member.start()
    await readsOnly(member)
    const reader = await readOnlyClient(member)
    assert.equal((await ok(reader.getData('/kept'))).data?.toString(), 'x')
    assert.ok(reader.session.sessionId > client.session.sessionId)
    await reader.close()
  })

  test('with local sessions those of read-only mode go on when there is a quorum', async (t) => {
    const ensemble = await startEnsemble(t, { settings: { ...settings, localSessionsEnabled: true } })
    const member = await cutOff(ensemble)
    const client = await readOnlyClient(member)
    const [other] = ensemble.members.filter((one) => one !== member) as [Member]
    await other.start()
    await client.closed()
    await ensemble.leader()
    const again = await member.resume(client)
    assert.equal(again.session.sessionId, client.session.sessionId)
    await ok(again.create('/written'))
    await again.close()
  })
})

// Ephemeral nodes: ownership, getEphemerals, what ends them and what does not (semantics.md 3, 7; wire.md 5).
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { code, connect, Err, Flag, multiOp, ok } from '../support/raw-client.ts'
import { sharedServer, startServer } from '../support/server.ts'

const zk = sharedServer()
const ephemeral = { flags: Flag.ephemeral }

describe('life', () => {
  test('an ephemeral node goes with the close of its session', async () => {
    const [owner, other] = [await zk.connect(), await zk.connect()]
    await ok(owner.create('/goes', ephemeral))
    const { zxid } = await owner.closeSession()
    assert.equal(await code(other.exists('/goes')), Err.noNode)
    assert.ok((await other.ping()).zxid >= zxid)
  })

  test('all ephemeral nodes of a session go at the zxid of its close', async () => {
    const [owner, other] = [await zk.connect(), await zk.connect()]
    await ok(other.create('/all'))
    for (const name of ['a', 'b', 'c']) await ok(owner.create(`/all/${name}`, ephemeral))
    await ok(other.addWatch('/all', 1))
    const { zxid } = await owner.closeSession()
    await other.ping()
    const events = other.takeEvents()
    assert.deepEqual(events.map((event) => event.text).sort(), [
      'NodeDeleted /all/a',
      'NodeDeleted /all/b',
      'NodeDeleted /all/c',
    ])
    assert.deepEqual(
      events.map((event) => event.zxid),
      [zxid, zxid, zxid],
    )
    assert.equal((await ok(other.exists('/all'))).pzxid, zxid)
    assert.equal((await ok(other.exists('/all'))).cversion, 6)
  })

  test('the close of one session leaves the ephemerals of others', async () => {
    const [a, b] = [await zk.connect(), await zk.connect()]
    await ok(a.create('/of-a', ephemeral))
    await ok(b.create('/of-b', ephemeral))
    await a.close()
    assert.equal(await code(b.exists('/of-a')), Err.noNode)
    assert.equal(await code(b.exists('/of-b')), 0)
  })

  test('persistent nodes survive the close', async () => {
    const [owner, other] = [await zk.connect(), await zk.connect()]
    await ok(owner.create('/stays'))
    await owner.close()
    assert.equal(await code(other.exists('/stays')), 0)
  })

  test('an ephemeral node that was deleted and created by another session belongs to that one', async () => {
    const [a, b] = [await zk.connect(), await zk.connect()]
    await ok(a.create('/handed', ephemeral))
    await ok(b.delete('/handed'))
    await ok(b.create('/handed', ephemeral))
    await a.close()
    assert.equal((await ok(b.exists('/handed'))).ephemeralOwner, b.session.sessionId)
  })

  test('a cut connection leaves the ephemeral until the session ends', async () => {
    const [owner, other] = [await zk.connect(), await zk.connect()]
    await ok(owner.create('/cut', ephemeral))
    await owner.drop()
    assert.equal(await code(other.exists('/cut')), 0)
    const again = await zk.connect(owner.credentials)
    await again.close()
    assert.equal(await code(other.exists('/cut')), Err.noNode)
  })

  test('requests right before the close take effect and then go with the session', async () => {
    const [owner, other] = [await zk.connect(), await zk.connect()]
    await ok(other.addWatch('/chunk-eph', 0))
    const [, , close] = owner.batch(() => [
      owner.create('/chunk-eph', ephemeral),
      owner.setData('/chunk-eph', 'x'),
      owner.closeSession(),
    ])
    await ok(close)
    assert.deepEqual(await other.events(), [
      'NodeCreated /chunk-eph',
      'NodeDataChanged /chunk-eph',
      'NodeDeleted /chunk-eph',
    ])
  })
})

describe('getEphemerals', () => {
  test('lists the paths of this session and of no other', async () => {
    const [mine, theirs] = [await zk.connect(), await zk.connect()]
    await ok(mine.create('/ge-mine', ephemeral))
    await ok(theirs.create('/ge-theirs', ephemeral))
    assert.deepEqual(await ok(mine.getEphemerals('/')), ['/ge-mine'])
  })

  for (const prefix of [null, '', ' ', '/']) {
    test(`with prefix ${JSON.stringify(prefix)} lists all`, async () => {
      const client = await zk.connect()
      await ok(client.create('/ge-a', ephemeral))
      await ok(client.create('/ge-b', ephemeral))
      assert.deepEqual((await ok(client.getEphemerals(prefix))).sort(), ['/ge-a', '/ge-b'])
    })
  }

  test('a prefix is a prefix of the text: /gp matches /gp, /gpx and /gp/x', async () => {
    const client = await zk.connect()
    await client.create('/gpp')
    for (const path of ['/gp', '/gpx', '/gpp/x', '/other-gp']) await ok(client.create(path, ephemeral))
    assert.deepEqual((await ok(client.getEphemerals('/gp'))).sort(), ['/gp', '/gpp/x', '/gpx'])
    assert.deepEqual(await ok(client.getEphemerals('/gp/')), [])
  })

  test('a session without ephemerals has an empty list', async () => {
    const client = await zk.connect()
    assert.deepEqual(await ok(client.getEphemerals('/')), [])
  })

  test('a deleted ephemeral is not listed', async () => {
    const client = await zk.connect()
    await ok(client.create('/ge-del', ephemeral))
    await ok(client.delete('/ge-del'))
    assert.deepEqual(await ok(client.getEphemerals('/')), [])
  })

  test('ephemerals of a multi and sequential ones are listed by their final names', async () => {
    const client = await zk.connect()
    await ok(client.create('/ge-seq'))
    await ok(client.multi([multiOp.create('/ge-seq/m', ephemeral)]))
    await ok(client.create('/ge-seq/s-', { flags: Flag.ephemeralSequential }))
    assert.deepEqual((await ok(client.getEphemerals('/'))).sort(), ['/ge-seq/m', '/ge-seq/s-0000000001'])
  })
})

describe('a restart of the server', () => {
  test('keeps sessions and their ephemerals, after a kill too', async () => {
    const server = await startServer()
    try {
      const owner = await connect(server)
      await ok(owner.create('/kept', { flags: Flag.ephemeral, data: 'x' }))
      await ok(owner.create('/plain', { data: 'y' }))
      const before = [await ok(owner.getData('/kept')), await ok(owner.getData('/plain'))]
      await server.kill()
      await owner.closed()
      await server.restart()
      const again = await connect(server, owner.credentials)
      assert.equal(again.session.sessionId, owner.session.sessionId)
      assert.deepEqual([await ok(again.getData('/kept')), await ok(again.getData('/plain'))], before)
      assert.deepEqual(await ok(again.getEphemerals('/')), ['/kept'])
      await again.close()
      const other = await connect(server)
      assert.equal(await code(other.exists('/kept')), Err.noNode)
      await other.close()
    } finally {
      await server.dispose()
    }
  })

  test('gives a session a full timeout: it expires afterwards, and not before', async () => {
    const timeout = 1200
    const server = await startServer({ tickTime: 200, maxSessionTimeout: 60_000 })
    try {
      const owner = await connect(server, { timeout })
      await ok(owner.create('/expires', { flags: Flag.ephemeral }))
      await server.stop()
      const restarted = performance.now()
      await server.restart()
      const watcher = await connect(server)
      await ok(watcher.exists('/expires', true))
      const event = await watcher.nextEvent(30_000)
      assert.equal(event.text, 'NodeDeleted /expires')
      assert.ok(performance.now() - restarted >= timeout)
      await watcher.close()
    } finally {
      await server.dispose()
    }
  })
})

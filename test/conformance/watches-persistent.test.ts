// addWatch: persistent and persistent recursive watches (semantics.md 9).
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { code, Err, Flag, multiOp, ok, openAcl } from '../support/raw-client.ts'
import { sharedServer } from '../support/server.ts'

const zk = sharedServer()

describe('persistent (mode 0)', () => {
  test('tells creation, data change, child changes and deletion of the node', async () => {
    const client = await zk.connect()
    await ok(client.addWatch('/p', 0))
    await ok(client.create('/p'))
    await ok(client.setData('/p', 'x'))
    await ok(client.create('/p/c'))
    await ok(client.delete('/p/c'))
    await ok(client.delete('/p'))
    assert.deepEqual(await client.events(), [
      'NodeCreated /p',
      'NodeDataChanged /p',
      'NodeChildrenChanged /p',
      'NodeChildrenChanged /p',
      'NodeDeleted /p',
    ])
  })

  test('fires every time', async () => {
    const client = await zk.connect()
    await ok(client.create('/every'))
    await ok(client.addWatch('/every', 0))
    for (let i = 0; i < 5; i++) await ok(client.setData('/every', 'x'))
    assert.deepEqual(
      await client.events(),
      Array.from({ length: 5 }, () => 'NodeDataChanged /every'),
    )
  })

  test('survives deletion and re-creation', async () => {
    const client = await zk.connect()
    await ok(client.create('/survive'))
    await ok(client.addWatch('/survive', 0))
    await ok(client.delete('/survive'))
    await ok(client.create('/survive'))
    await ok(client.setData('/survive', 'x'))
    assert.deepEqual(await client.events(), [
      'NodeDeleted /survive',
      'NodeCreated /survive',
      'NodeDataChanged /survive',
    ])
  })

  test('says nothing about grandchildren, data of children and ACLs', async () => {
    const client = await zk.connect()
    await ok(client.create('/deep'))
    await ok(client.create('/deep/c'))
    await ok(client.addWatch('/deep', 0))
    await ok(client.setData('/deep/c', 'x'))
    await ok(client.create('/deep/c/g'))
    await ok(client.setAcl('/deep', openAcl))
    assert.deepEqual(await client.events(), [])
  })
})

describe('persistent recursive (mode 1)', () => {
  test('tells creation, data change and deletion of the node and every descendant', async () => {
    const client = await zk.connect()
    await ok(client.addWatch('/r', 1))
    await ok(client.create('/r'))
    await ok(client.create('/r/a'))
    await ok(client.create('/r/a/b'))
    await ok(client.setData('/r/a/b', 'x'))
    await ok(client.setData('/r', 'x'))
    await ok(client.delete('/r/a/b'))
    await ok(client.delete('/r/a'))
    await ok(client.delete('/r'))
    assert.deepEqual(await client.events(), [
      'NodeCreated /r',
      'NodeCreated /r/a',
      'NodeCreated /r/a/b',
      'NodeDataChanged /r/a/b',
      'NodeDataChanged /r',
      'NodeDeleted /r/a/b',
      'NodeDeleted /r/a',
      'NodeDeleted /r',
    ])
  })

  test('never tells NodeChildrenChanged', async () => {
    const client = await zk.connect()
    await ok(client.create('/no-children'))
    await ok(client.addWatch('/no-children', 1))
    await ok(client.create('/no-children/c'))
    await ok(client.delete('/no-children/c'))
    assert.deepEqual(await client.events(), ['NodeCreated /no-children/c', 'NodeDeleted /no-children/c'])
  })

  test('says nothing about a node that merely shares a prefix', async () => {
    const client = await zk.connect()
    await ok(client.addWatch('/prefix', 1))
    await ok(client.create('/prefix-2'))
    await ok(client.create('/prefix-2/c'))
    assert.deepEqual(await client.events(), [])
  })

  test('on the root tells of everything', async () => {
    const client = await zk.connect()
    await ok(client.addWatch('/', 1))
    await ok(client.create('/all'))
    await ok(client.create('/all/c'))
    await ok(client.setData('/', 'x'))
    assert.deepEqual(await client.events(), ['NodeCreated /all', 'NodeCreated /all/c', 'NodeDataChanged /'])
  })

  test('tells of sequential and ephemeral nodes by their final names', async () => {
    const client = await zk.connect()
    await ok(client.create('/names'))
    await ok(client.addWatch('/names', 1))
    await ok(client.create('/names/s-', { flags: Flag.sequential }))
    const other = await zk.connect()
    await ok(other.create('/names/e-', { flags: Flag.ephemeralSequential }))
    await other.close()
    assert.deepEqual(await client.events(), [
      'NodeCreated /names/s-0000000000',
      'NodeCreated /names/e-0000000001',
      'NodeDeleted /names/e-0000000001',
    ])
  })
})

describe('several watches of one connection', () => {
  test('two recursive watches, on / and below: one event per change', async () => {
    const client = await zk.connect()
    await ok(client.addWatch('/', 1))
    await ok(client.addWatch('/both', 1))
    await ok(client.create('/both'))
    await ok(client.create('/both/c'))
    assert.deepEqual(await client.events(), ['NodeCreated /both', 'NodeCreated /both/c'])
  })

  test('a data watch and a recursive one: one event per change', async () => {
    const client = await zk.connect()
    await ok(client.create('/mixed'))
    await ok(client.getData('/mixed', true))
    await ok(client.addWatch('/mixed', 1))
    await ok(client.setData('/mixed', 'a'))
    await ok(client.setData('/mixed', 'b'))
    assert.deepEqual(await client.events(), ['NodeDataChanged /mixed', 'NodeDataChanged /mixed'])
  })

  test('a one-shot and a persistent watch: one event, the one-shot is used up', async () => {
    const client = await zk.connect()
    await ok(client.create('/used'))
    await ok(client.getData('/used', true))
    await ok(client.addWatch('/used', 0))
    await ok(client.setData('/used', 'a'))
    assert.deepEqual(await client.events(), ['NodeDataChanged /used'])
    await ok(client.removeWatches('/used', 4))
    await ok(client.setData('/used', 'b'))
    assert.deepEqual(await client.events(), [])
  })

  test('a child watch and a recursive one: NodeCreated of the child, then NodeChildrenChanged', async () => {
    const client = await zk.connect()
    await ok(client.create('/pair'))
    await ok(client.getChildren('/pair', true))
    await ok(client.addWatch('/pair', 1))
    await ok(client.create('/pair/c'))
    assert.deepEqual(await client.events(), ['NodeCreated /pair/c', 'NodeChildrenChanged /pair'])
  })

  test('persistent and recursive on one node: both kinds of events', async () => {
    const client = await zk.connect()
    await ok(client.create('/modes'))
    await ok(client.addWatch('/modes', 0))
    await ok(client.addWatch('/modes', 1))
    await ok(client.setData('/modes', 'x'))
    await ok(client.create('/modes/c'))
    assert.deepEqual(await client.events(), [
      'NodeDataChanged /modes',
      'NodeCreated /modes/c',
      'NodeChildrenChanged /modes',
    ])
  })

  test('removeWatches(4) leaves the recursive watch, removeWatches(5) the persistent one', async () => {
    const client = await zk.connect()
    for (const path of ['/leave4', '/leave5']) {
      await ok(client.create(path))
      await ok(client.addWatch(path, 0))
      await ok(client.addWatch(path, 1))
    }
    await ok(client.removeWatches('/leave4', 4))
    await ok(client.removeWatches('/leave5', 5))
    await ok(client.create('/leave4/c'))
    await ok(client.create('/leave5/c'))
    assert.deepEqual(await client.events(), ['NodeCreated /leave4/c', 'NodeChildrenChanged /leave5'])
  })

  test('the same watch added twice is removed by one removal', async () => {
    const client = await zk.connect()
    await ok(client.create('/double'))
    await ok(client.addWatch('/double', 1))
    await ok(client.addWatch('/double', 1))
    await ok(client.removeWatches('/double', 5))
    await ok(client.setData('/double', 'x'))
    assert.deepEqual(await client.events(), [])
  })

  test('removing a recursive watch leaves the one above it', async () => {
    const client = await zk.connect()
    await ok(client.create('/above'))
    await ok(client.create('/above/c'))
    await ok(client.addWatch('/above', 1))
    await ok(client.addWatch('/above/c', 1))
    await ok(client.removeWatches('/above/c', 5))
    await ok(client.setData('/above/c', 'x'))
    assert.deepEqual(await client.events(), ['NodeDataChanged /above/c'])
  })
})

describe('addWatch', () => {
  test('does not check whether the node exists', async () => {
    const client = await zk.connect()
    assert.equal(await code(client.addWatch('/nowhere/at/all', 0)), 0)
  })

  test('does not check the ACL', async () => {
    const client = await zk.connect()
    await ok(client.create('/closed', { acl: [{ perms: 0, scheme: 'world', id: 'anyone' }] }))
    assert.equal(await code(client.addWatch('/closed', 1)), 0)
  })

  for (const mode of [2, 3, -1, 99]) {
    test(`with mode ${mode}: -5, the connection goes on`, async () => {
      const client = await zk.connect()
      assert.equal(await code(client.addWatch('/', mode)), Err.marshalling)
      assert.equal(await code(client.checkWatches('/', 3)), Err.noWatcher)
    })
  }

  test('answers with an int 0', async () => {
    const client = await zk.connect()
    assert.equal(await ok(client.addWatch('/', 0)), 0)
  })

  test('gives no event for the state it finds', async () => {
    const client = await zk.connect()
    await ok(client.create('/found'))
    await ok(client.addWatch('/found', 0))
    await ok(client.addWatch('/found', 1))
    assert.deepEqual(await client.events(), [])
  })

  test('watches vanish with the connection', async () => {
    const client = await zk.connect()
    await ok(client.create('/vanish'))
    await ok(client.addWatch('/vanish', 1))
    const again = await zk.connect(client.credentials)
    await ok(again.setData('/vanish', 'x'))
    assert.deepEqual(await again.events(), [])
  })

  test('a multi fires per operation', async () => {
    const client = await zk.connect()
    await ok(client.addWatch('/multi', 0))
    await ok(
      client.multi([multiOp.create('/multi'), multiOp.setData('/multi', 'x'), multiOp.delete('/multi')]),
    )
    assert.deepEqual(await client.events(), [
      'NodeCreated /multi',
      'NodeDataChanged /multi',
      'NodeDeleted /multi',
    ])
  })
})

// One-shot watches: what sets them, what fires them, and checkWatches/removeWatches (semantics.md 9).
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  type Acl,
  type Answer,
  code,
  Err,
  Flag,
  multiOp,
  ok,
  openAcl,
  type RawClient,
} from '../support/raw-client.ts'
import { sharedServer } from '../support/server.ts'

const zk = sharedServer()
const closed: readonly Acl[] = [{ perms: 0, scheme: 'world', id: 'anyone' }]

type Step = (client: RawClient, path: string) => Promise<Answer<unknown>>

const watches = {
  getData: (c, p) => c.getData(p, true),
  'exists (node present)': (c, p) => c.exists(p, true),
  getChildren: (c, p) => c.getChildren(p, true),
  getChildren2: (c, p) => c.getChildren2(p, true),
} as const satisfies Record<string, Step>

const changes = {
  setData: (c, p) => c.setData(p, 'new'),
  'setData with the same data': (c, p) => c.setData(p, 'old'),
  delete: (c, p) => c.delete(p),
  setACL: (c, p) => c.setAcl(p, openAcl),
  'create of a child': (c, p) => c.create(`${p}/child`),
  'delete of a child': (c, p) => c.delete(`${p}/c`),
  'setData of a child': (c, p) => c.setData(`${p}/c`, 'x'),
  'create of a grandchild': (c, p) => c.create(`${p}/c/g`),
  'setData that fails': (c, p) => c.setData(p, 'x', 99),
  'create of a child that fails': (c, p) => c.create(`${p}/c`),
} as const satisfies Record<string, Step>

/** Events by change, for a data watch and for a child watch; `%` is the node. */
const expected: Record<keyof typeof changes, readonly [string[], string[]]> = {
  setData: [['NodeDataChanged %'], []],
  'setData with the same data': [['NodeDataChanged %'], []],
  delete: [['NodeDeleted %'], ['NodeDeleted %']],
  setACL: [[], []],
  'create of a child': [[], ['NodeChildrenChanged %']],
  'delete of a child': [[], ['NodeChildrenChanged %']],
  'setData of a child': [[], []],
  'create of a grandchild': [[], []],
  'setData that fails': [[], []],
  'create of a child that fails': [[], []],
}

describe('what fires a watch', () => {
  let serial = 0
  for (const [watch, set] of Object.entries(watches)) {
    for (const [change, make] of Object.entries(changes)) {
      const events = expected[change as keyof typeof changes][watch.startsWith('getChildren') ? 1 : 0]
      test(`a watch of ${watch} and a ${change}: ${events.join(', ') || 'nothing'}`, async () => {
        const client = await zk.connect()
        const path = `/fire${serial++}`
        await ok(client.create(path, { data: 'old' }))
        if (change !== 'delete') await ok(client.create(`${path}/c`))
        await ok<unknown>(set(client, path))
        await make(client, path)
        assert.deepEqual(
          await client.events(),
          events.map((event) => event.replace('%', path)),
        )
      })
    }
  }

  test('a watch of exists on a missing node and its creation: NodeCreated', async () => {
    const client = await zk.connect()
    assert.equal(await code(client.exists('/created', true)), Err.noNode)
    await ok(client.create('/created'))
    assert.deepEqual(await client.events(), ['NodeCreated /created'])
  })

  for (const [what, create] of [
    ['an ephemeral', (c: RawClient) => c.create('/created-e', { flags: Flag.ephemeral })],
    ['a container', (c: RawClient) => c.createContainer('/created-c')],
    ['a TTL node', (c: RawClient) => c.createTtl('/created-t', 1_000_000n)],
    ['a node in a multi', (c: RawClient) => c.multi([multiOp.create('/created-m')])],
  ] as const) {
    test(`the creation of ${what} fires like any other`, async () => {
      const client = await zk.connect()
      const path = `/created-${what === 'an ephemeral' ? 'e' : what === 'a container' ? 'c' : what === 'a TTL node' ? 't' : 'm'}`
      assert.equal(await code(client.exists(path, true)), Err.noNode)
      await ok<unknown>(create(client))
      assert.deepEqual(await client.events(), [`NodeCreated ${path}`])
    })
  }

  test('a child watch on the parent and the creation of a child: NodeChildrenChanged of the parent', async () => {
    const client = await zk.connect()
    await ok(client.create('/family'))
    await ok(client.getChildren('/family', true))
    await ok(client.create('/family/c'))
    assert.deepEqual(await client.events(), ['NodeChildrenChanged /family'])
  })

  test('a child watch on the root works', async () => {
    const client = await zk.connect()
    await ok(client.getChildren('/', true))
    await ok(client.create('/under-root'))
    assert.deepEqual(await client.events(), ['NodeChildrenChanged /'])
  })

  test('a deletion with data and child watch of one connection is one event', async () => {
    const client = await zk.connect()
    await ok(client.create('/one-event'))
    await ok(client.getData('/one-event', true))
    await ok(client.getChildren('/one-event', true))
    await ok(client.delete('/one-event'))
    assert.deepEqual(await client.events(), ['NodeDeleted /one-event'])
  })

  test('a deletion fires the watches of the node before those of its parent', async () => {
    const client = await zk.connect()
    await ok(client.create('/order'))
    await ok(client.create('/order/c'))
    await ok(client.getChildren('/order', true))
    await ok(client.getData('/order/c', true))
    await ok(client.delete('/order/c'))
    assert.deepEqual(await client.events(), ['NodeDeleted /order/c', 'NodeChildrenChanged /order'])
  })

  test('a creation fires the watches of the node before those of its parent', async () => {
    const client = await zk.connect()
    await ok(client.create('/order2'))
    await ok(client.getChildren('/order2', true))
    await client.exists('/order2/c', true)
    await ok(client.create('/order2/c'))
    assert.deepEqual(await client.events(), ['NodeCreated /order2/c', 'NodeChildrenChanged /order2'])
  })

  test('an event carries the zxid of the change and state SyncConnected', async () => {
    const client = await zk.connect()
    await ok(client.create('/zxid'))
    await ok(client.getData('/zxid', true))
    const { zxid } = await client.setData('/zxid', 'x')
    const [event] = client.takeEvents()
    assert.deepEqual([event?.zxid, event?.state], [zxid, 3])
  })

  test('the change may come from another connection', async () => {
    const [watcher, writer] = [await zk.connect(), await zk.connect()]
    await ok(writer.create('/other'))
    await ok(watcher.getData('/other', true))
    const { zxid } = await writer.setData('/other', 'x')
    const event = await watcher.nextEvent()
    assert.deepEqual([event.text, event.zxid], ['NodeDataChanged /other', zxid])
    assert.deepEqual(await writer.events(), [])
  })

  test('every connection that watches is told', async () => {
    const writer = await zk.connect()
    await ok(writer.create('/crowd'))
    const watchers = await Promise.all(Array.from({ length: 20 }, () => zk.connect()))
    for (const watcher of watchers) await ok(watcher.getData('/crowd', true))
    await ok(writer.setData('/crowd', 'x'))
    for (const watcher of watchers) assert.equal((await watcher.nextEvent()).text, 'NodeDataChanged /crowd')
  })
})

describe('one shot', () => {
  test('a watch fires once', async () => {
    const client = await zk.connect()
    await ok(client.create('/once'))
    await ok(client.getData('/once', true))
    await ok(client.setData('/once', 'a'))
    await ok(client.setData('/once', 'b'))
    assert.deepEqual(await client.events(), ['NodeDataChanged /once'])
  })

  test('a watch set twice fires once', async () => {
    const client = await zk.connect()
    await ok(client.create('/twice'))
    await ok(client.getData('/twice', true))
    await ok(client.getData('/twice', true))
    await ok(client.setData('/twice', 'a'))
    assert.deepEqual(await client.events(), ['NodeDataChanged /twice'])
  })

  test('data watches of getData and exists share one slot', async () => {
    const client = await zk.connect()
    await ok(client.create('/slot'))
    await ok(client.getData('/slot', true))
    await ok(client.exists('/slot', true))
    await ok(client.setData('/slot', 'a'))
    await ok(client.setData('/slot', 'b'))
    assert.deepEqual(await client.events(), ['NodeDataChanged /slot'])
  })

  test('data and child watch are two', async () => {
    const client = await zk.connect()
    await ok(client.create('/two'))
    await ok(client.getData('/two', true))
    await ok(client.getChildren('/two', true))
    await ok(client.create('/two/c'))
    await ok(client.setData('/two', 'x'))
    assert.deepEqual(await client.events(), ['NodeChildrenChanged /two', 'NodeDataChanged /two'])
  })

  test('a watch can be set again after it has fired', async () => {
    const client = await zk.connect()
    await ok(client.create('/again'))
    for (const data of ['a', 'b', 'c']) {
      await ok(client.getData('/again', true))
      await ok(client.setData('/again', data))
    }
    assert.equal((await client.events()).length, 3)
  })

  test('a read without the flag neither sets nor removes a watch', async () => {
    const client = await zk.connect()
    await ok(client.create('/flag'))
    await ok(client.getData('/flag', false))
    await ok(client.setData('/flag', 'a'))
    assert.deepEqual(await client.events(), [])
    await ok(client.getData('/flag', true))
    await ok(client.getData('/flag', false))
    await ok(client.setData('/flag', 'b'))
    assert.deepEqual(await client.events(), ['NodeDataChanged /flag'])
  })
})

describe('reads that fail', () => {
  test('exists of a missing node leaves a watch', async () => {
    const client = await zk.connect()
    await client.exists('/miss1', true)
    await ok(client.create('/miss1'))
    assert.deepEqual(await client.events(), ['NodeCreated /miss1'])
  })

  for (const [what, read] of [
    ['getData', (c: RawClient, p: string) => c.getData(p, true)],
    ['getChildren', (c: RawClient, p: string) => c.getChildren(p, true)],
    ['getChildren2', (c: RawClient, p: string) => c.getChildren2(p, true)],
  ] as const) {
    test(`${what} of a missing node leaves none`, async () => {
      const client = await zk.connect()
      const path = `/miss-${what}`
      assert.equal(await code(read(client, path)), Err.noNode)
      await ok(client.create(path))
      await ok(client.create(`${path}/c`))
      assert.deepEqual(await client.events(), [])
    })

    test(`${what} of a node that may not be read leaves none`, async () => {
      const client = await zk.connect()
      const path = `/denied-${what}`
      await ok(client.create(path, { acl: [{ perms: 30, scheme: 'world', id: 'anyone' }] }))
      assert.equal(await code(read(client, path)), Err.noAuth)
      await ok(client.setAcl(path, openAcl))
      await ok(client.setData(path, 'x'))
      await ok(client.create(`${path}/c`))
      assert.deepEqual(await client.events(), [])
    })
  }
})

describe('the life of watches', () => {
  test('watches vanish with their connection', async () => {
    const watcher = await zk.connect()
    const writer = await zk.connect()
    await ok(writer.create('/vanish'))
    await ok(watcher.getData('/vanish', true))
    await watcher.drop()
    const again = await zk.connect(watcher.credentials)
    await ok(writer.setData('/vanish', 'x'))
    assert.deepEqual(await again.events(), [])
  })

  test('a watch on a node outlives nothing but the event: after a re-creation it is gone', async () => {
    const client = await zk.connect()
    await ok(client.create('/reborn'))
    await ok(client.getData('/reborn', true))
    await ok(client.delete('/reborn'))
    await ok(client.create('/reborn'))
    await ok(client.setData('/reborn', 'x'))
    assert.deepEqual(await client.events(), ['NodeDeleted /reborn'])
  })

  test('the end of a session fires the watches on its ephemerals and on their parent', async () => {
    const [owner, watcher] = [await zk.connect(), await zk.connect()]
    await ok(owner.create('/eph'))
    await ok(owner.create('/eph/e', { flags: Flag.ephemeral }))
    await ok(watcher.getData('/eph/e', true))
    await ok(watcher.getChildren('/eph', true))
    await owner.close()
    assert.equal((await watcher.nextEvent()).text, 'NodeDeleted /eph/e')
    assert.equal((await watcher.nextEvent()).text, 'NodeChildrenChanged /eph')
  })
})

/** Which watcher types find a watch of each kind (3 is any). */
const kinds: Record<string, { set: Step; types: readonly number[] }> = {
  child: { set: (c, p) => c.getChildren(p, true), types: [1, 3] },
  data: { set: (c, p) => c.getData(p, true), types: [2, 3] },
  persistent: { set: (c, p) => c.addWatch(p, 0), types: [3, 4] },
  recursive: { set: (c, p) => c.addWatch(p, 1), types: [3, 5] },
}

describe('checkWatches and removeWatches', () => {
  for (const [kind, { set, types }] of Object.entries(kinds)) {
    for (const type of [1, 2, 3, 4, 5]) {
      const found = types.includes(type)
      test(`type ${type} ${found ? 'finds' : 'does not find'} a ${kind} watch`, async () => {
        const client = await zk.connect()
        const path = `/find-${kind}-${type}`
        await ok(client.create(path))
        await ok<unknown>(set(client, path))
        assert.equal(await code(client.checkWatches(path, type)), found ? 0 : Err.noWatcher)
        assert.equal(await code(client.removeWatches(path, type)), found ? 0 : Err.noWatcher)
        assert.equal(await code(client.checkWatches(path, 3)), found ? Err.noWatcher : 0)
      })
    }
  }

  test('a removed watch does not fire, and its removal is no event', async () => {
    const client = await zk.connect()
    await ok(client.create('/removed'))
    await ok(client.getData('/removed', true))
    await ok(client.removeWatches('/removed', 2))
    await ok(client.setData('/removed', 'x'))
    assert.deepEqual(await client.events(), [])
  })

  test('type 3 removes everything of this connection on the path', async () => {
    const client = await zk.connect()
    await ok(client.create('/everything'))
    for (const { set } of Object.values(kinds)) await ok<unknown>(set(client, '/everything'))
    await ok(client.removeWatches('/everything', 3))
    await ok(client.setData('/everything', 'x'))
    await ok(client.create('/everything/c'))
    assert.deepEqual(await client.events(), [])
    assert.equal(await code(client.removeWatches('/everything', 3)), Err.noWatcher)
  })

  test('only this kind is removed', async () => {
    const client = await zk.connect()
    await ok(client.create('/only'))
    await ok(client.getData('/only', true))
    await ok(client.getChildren('/only', true))
    await ok(client.removeWatches('/only', 1))
    await ok(client.create('/only/c'))
    await ok(client.setData('/only', 'x'))
    assert.deepEqual(await client.events(), ['NodeDataChanged /only'])
  })

  test('a watch of another connection is neither found nor removed', async () => {
    const [mine, theirs] = [await zk.connect(), await zk.connect()]
    await ok(mine.create('/theirs'))
    await ok(theirs.getData('/theirs', true))
    assert.equal(await code(mine.checkWatches('/theirs', 2)), Err.noWatcher)
    assert.equal(await code(mine.removeWatches('/theirs', 3)), Err.noWatcher)
    assert.equal(await code(theirs.checkWatches('/theirs', 2)), 0)
  })

  test('a watch left by exists on a missing node is a data watch', async () => {
    const client = await zk.connect()
    await client.exists('/not-yet', true)
    assert.equal(await code(client.checkWatches('/not-yet', 2)), 0)
    assert.equal(await code(client.removeWatches('/not-yet', 2)), 0)
    await ok(client.create('/not-yet'))
    assert.deepEqual(await client.events(), [])
  })

  test('a watch that has fired is not found', async () => {
    const client = await zk.connect()
    await ok(client.create('/fired'))
    await ok(client.getData('/fired', true))
    await ok(client.setData('/fired', 'x'))
    assert.equal(await code(client.checkWatches('/fired', 2)), Err.noWatcher)
  })

  for (const type of [0, 6, -1, 99]) {
    test(`watcher type ${type}: -5, the connection goes on`, async () => {
      const client = await zk.connect()
      assert.equal(await code(client.checkWatches('/', type)), Err.marshalling)
      assert.equal(await code(client.removeWatches('/', type)), Err.marshalling)
    })
  }

  test('no permission is needed', async () => {
    const client = await zk.connect()
    await ok(client.create('/closed'))
    await ok(client.getData('/closed', true))
    await ok(client.setAcl('/closed', closed))
    assert.equal(await code(client.removeWatches('/closed', 2)), 0)
  })
})

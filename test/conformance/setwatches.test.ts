// setWatches and setWatches2: catching up after a reconnect (semantics.md 9, wire.md 4 and 5).
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { code, Err, ok, type RawClient } from '../support/raw-client.ts'
import { sharedServer } from '../support/server.ts'

const zk = sharedServer()

type Lists = { data?: string[]; exist?: string[]; child?: string[] }

/** Both forms behave alike for the three lists they share. */
const forms = {
  setWatches: (c: RawClient, zxid: bigint, lists: Lists) => c.setWatches(zxid, lists),
  setWatches2: (c: RawClient, zxid: bigint, lists: Lists) => c.setWatches2(zxid, lists),
} as const

async function now(client: RawClient): Promise<bigint> {
  return (await client.ping()).zxid
}

for (const [form, set] of Object.entries(forms)) {
  describe(form, () => {
    const base = `/${form}`

    test('data watch: the node is gone: NodeDeleted', async () => {
      const client = await zk.connect()
      await ok(set(client, await now(client), { data: [`${base}-gone`] }))
      assert.deepEqual(await client.events(), [`NodeDeleted ${base}-gone`])
    })

    test('data watch: mzxid above the zxid given: NodeDataChanged, and no watch is left', async () => {
      const client = await zk.connect()
      const path = `${base}-changed`
      const { zxid } = await client.create(path)
      await ok(client.setData(path, 'x'))
      await ok(set(client, zxid, { data: [path] }))
      await ok(client.setData(path, 'y'))
      assert.deepEqual(await client.events(), [`NodeDataChanged ${path}`])
    })

    test('data watch: mzxid not above the zxid given: no event, the watch is set', async () => {
      const client = await zk.connect()
      const path = `${base}-same`
      const { zxid } = await client.create(path)
      await ok(set(client, zxid, { data: [path] }))
      assert.deepEqual(await client.events(), [])
      await ok(client.setData(path, 'x'))
      assert.deepEqual(await client.events(), [`NodeDataChanged ${path}`])
    })

    test('data watch: a node that was deleted and created again: NodeDataChanged', async () => {
      const client = await zk.connect()
      const path = `${base}-reborn`
      const { zxid } = await client.create(path)
      await ok(client.delete(path))
      await ok(client.create(path))
      await ok(set(client, zxid, { data: [path] }))
      assert.deepEqual(await client.events(), [`NodeDataChanged ${path}`])
    })

    test('data watch: a new child is no change', async () => {
      const client = await zk.connect()
      const path = `${base}-child-no`
      const { zxid } = await client.create(path)
      await ok(client.create(`${path}/c`))
      await ok(set(client, zxid, { data: [path] }))
      assert.deepEqual(await client.events(), [])
    })

    test('exist watch: the node is there: NodeCreated, and no watch is left', async () => {
      const client = await zk.connect()
      const path = `${base}-there`
      await ok(client.create(path))
      await ok(set(client, await now(client), { exist: [path] }))
      assert.deepEqual(await client.events(), [`NodeCreated ${path}`])
      assert.equal(await code(client.checkWatches(path, 2)), Err.noWatcher)
    })

    test('exist watch: the node is missing: no event, the watch is set', async () => {
      const client = await zk.connect()
      const path = `${base}-missing`
      await ok(set(client, await now(client), { exist: [path] }))
      assert.deepEqual(await client.events(), [])
      await ok(client.create(path))
      assert.deepEqual(await client.events(), [`NodeCreated ${path}`])
    })

    test('child watch: the node is gone: NodeDeleted', async () => {
      const client = await zk.connect()
      await ok(set(client, await now(client), { child: [`${base}-gone`] }))
      assert.deepEqual(await client.events(), [`NodeDeleted ${base}-gone`])
    })

    test('child watch: pzxid above the zxid given: NodeChildrenChanged, and no watch is left', async () => {
      const client = await zk.connect()
      const path = `${base}-family`
      const { zxid } = await client.create(path)
      await ok(client.create(`${path}/c`))
      await ok(set(client, zxid, { child: [path] }))
      await ok(client.create(`${path}/d`))
      assert.deepEqual(await client.events(), [`NodeChildrenChanged ${path}`])
    })

    test('child watch: a child that was deleted: NodeChildrenChanged', async () => {
      const client = await zk.connect()
      const path = `${base}-orphan`
      await ok(client.create(path))
      const { zxid } = await client.create(`${path}/c`)
      await ok(client.delete(`${path}/c`))
      await ok(set(client, zxid, { child: [path] }))
      assert.deepEqual(await client.events(), [`NodeChildrenChanged ${path}`])
    })

    test('child watch: pzxid not above the zxid given: no event, the watch is set', async () => {
      const client = await zk.connect()
      const path = `${base}-quiet`
      const { zxid } = await client.create(path)
      await ok(client.setData(path, 'x'))
      await ok(set(client, zxid, { child: [path] }))
      assert.deepEqual(await client.events(), [])
      await ok(client.create(`${path}/c`))
      assert.deepEqual(await client.events(), [`NodeChildrenChanged ${path}`])
    })

    test('the events have zxid -1 and come before the reply', async () => {
      const client = await zk.connect()
      const path = `${base}-before`
      await ok(client.create(path))
      const from = client.frames.length
      await ok(set(client, 0n, { data: [path], child: [`${path}-gone`] }))
      const history = client.history(from)
      assert.equal(history.at(-1), 'reply -8')
      assert.equal(history.length, 3)
      assert.deepEqual(
        client.takeEvents().map((event) => event.zxid),
        [-1n, -1n],
      )
    })

    test('empty lists are answered with a bare header', async () => {
      const client = await zk.connect()
      assert.equal((await set(client, 0n, {})).raw.length, 16)
    })

    test('the lists go together, one event each', async () => {
      const client = await zk.connect()
      const path = `${base}-all`
      await ok(client.create(path))
      await ok(set(client, 0n, { data: [path], exist: [path], child: [`${path}-x`] }))
      assert.deepEqual(
        (await client.events()).sort(),
        [`NodeCreated ${path}`, `NodeDataChanged ${path}`, `NodeDeleted ${path}-x`].sort(),
      )
    })

    test('a thousand paths are answered in one reply', async () => {
      const client = await zk.connect()
      const paths = Array.from({ length: 1000 }, (_, i) => `${base}-many-${i}`)
      await ok(set(client, await now(client), { exist: paths }))
      assert.deepEqual(await client.events(), [])
      await ok(client.create(`${base}-many-999`))
      assert.deepEqual(await client.events(), [`NodeCreated ${base}-many-999`])
    })
  })
}

describe('xids', () => {
  for (const xid of [-8, 7, 0]) {
    test(`setWatches with xid ${xid} is answered with it`, async () => {
      const client = await zk.connect()
      assert.equal((await client.setWatches(0n, {}, xid)).xid, xid)
    })

    test(`setWatches2 with xid ${xid} is answered with it`, async () => {
      const client = await zk.connect()
      assert.equal((await client.setWatches2(0n, {}, xid)).xid, xid)
    })
  }
})

describe('persistent lists', () => {
  test('are just set: no event for what was missed', async () => {
    const client = await zk.connect()
    await ok(client.create('/persist'))
    await ok(client.setData('/persist', 'x'))
    await ok(client.setWatches2(0n, { persistent: ['/persist', '/persist-gone'], recursive: ['/persist'] }))
    assert.deepEqual(await client.events(), [])
  })

  test('a persistent watch is in force afterwards', async () => {
    const client = await zk.connect()
    await ok(client.setWatches2(1n << 40n, { persistent: ['/force'] }))
    await ok(client.create('/force'))
    await ok(client.create('/force/c'))
    assert.deepEqual(await client.events(), ['NodeCreated /force', 'NodeChildrenChanged /force'])
    assert.equal(await code(client.checkWatches('/force', 4)), 0)
  })

  test('a recursive watch is in force afterwards', async () => {
    const client = await zk.connect()
    await ok(client.setWatches2(1n << 40n, { recursive: ['/force2'] }))
    await ok(client.create('/force2'))
    await ok(client.create('/force2/c'))
    assert.deepEqual(await client.events(), ['NodeCreated /force2', 'NodeCreated /force2/c'])
    assert.equal(await code(client.checkWatches('/force2', 5)), 0)
  })
})

describe('after a reconnect', () => {
  test('a client that sends its last zxid misses nothing and hears nothing twice', async () => {
    const first = await zk.connect()
    const writer = await zk.connect()
    for (const path of ['/rc-a', '/rc-b', '/rc-c']) await ok(writer.create(path))
    await ok(first.getData('/rc-a', true))
    await ok(first.getData('/rc-b', true))
    const { zxid } = await first.getChildren('/rc-c', true)
    await first.drop()
    await ok(writer.setData('/rc-a', 'x'))
    await ok(writer.create('/rc-c/child'))
    const second = await zk.connect({ ...first.credentials, lastZxidSeen: zxid })
    await ok(second.setWatches(zxid, { data: ['/rc-a', '/rc-b'], child: ['/rc-c'] }))
    assert.deepEqual((await second.events()).sort(), ['NodeChildrenChanged /rc-c', 'NodeDataChanged /rc-a'])
    await ok(writer.setData('/rc-b', 'x'))
    assert.equal((await second.nextEvent()).text, 'NodeDataChanged /rc-b')
  })

  test('setWatches may be pipelined right behind the ConnectRequest', async () => {
    const first = await zk.connect()
    const { zxid } = await first.create('/rc-pipe')
    await ok(first.setData('/rc-pipe', 'x'))
    await first.drop()
    const second = await zk.dial()
    const [, set] = second.batch(() => [
      second.handshake(first.credentials),
      second.setWatches(zxid, { data: ['/rc-pipe'] }),
    ])
    await ok(set)
    assert.deepEqual(second.history(), ['NodeDataChanged /rc-pipe', 'reply -8'])
  })
})

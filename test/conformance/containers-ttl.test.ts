// Containers and TTL nodes: when the server deletes them, and when not (semantics.md 3, rules 16 to 18).
// The check runs every 100 ms here; everything is observed through the events of a recursive watch.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { code, connect, Err, multiOp, ok, type RawClient } from '../support/raw-client.ts'
import { quirk, sharedServer, startServer } from '../support/server.ts'

const zk = sharedServer({ 'znode.container.checkIntervalMs': 100 })
const long = 1_000_000n

/** Waits for the deletion of `path` by the server. */
async function deleted(watcher: RawClient, path: string): Promise<void> {
  for (;;) {
    const event = await watcher.nextEvent(30_000)
    if (event.text === `NodeDeleted ${path}`) return
  }
}

/** Lets the server make two more checks: a container that must go is made, watched and gone, twice. */
async function twoChecks(watcher: RawClient, name: string): Promise<void> {
  for (const round of ['1', '2']) {
    const path = `/check-${name}-${round}`
    await ok(watcher.addWatch(path, 0))
    await ok(watcher.createContainer(path))
    await ok(watcher.create(`${path}/c`))
    await ok(watcher.delete(`${path}/c`))
    await deleted(watcher, path)
  }
}

describe('containers', () => {
  test('a container goes after its last child was deleted', async () => {
    const client = await zk.connect()
    await ok(client.addWatch('/c-last', 0))
    await ok(client.createContainer('/c-last'))
    await ok(client.create('/c-last/a'))
    await ok(client.create('/c-last/b'))
    await ok(client.delete('/c-last/a'))
    await ok(client.delete('/c-last/b'))
    await deleted(client, '/c-last')
    assert.equal(await code(client.exists('/c-last')), Err.noNode)
  })

  test('a container goes after its last ephemeral child went with its session', async () => {
    const [client, owner] = [await zk.connect(), await zk.connect()]
    await ok(client.addWatch('/c-eph', 0))
    await ok(client.createContainer('/c-eph'))
    await ok(owner.create('/c-eph/e', { flags: 1 }))
    await owner.close()
    await deleted(client, '/c-eph')
  })

  quirk('a container made by the plain create is one, too', async () => {
    const client = await zk.connect()
    await ok(client.addWatch('/c-plain', 0))
    await ok(client.create('/c-plain', { flags: 4 }))
    await ok(client.create('/c-plain/a'))
    await ok(client.delete('/c-plain/a'))
    await deleted(client, '/c-plain')
  })

  test('a container with children stays', async () => {
    const client = await zk.connect()
    await ok(client.createContainer('/c-full'))
    await ok(client.create('/c-full/a'))
    await ok(client.create('/c-full/b'))
    await ok(client.delete('/c-full/a'))
    await twoChecks(client, 'full')
    assert.equal(await code(client.exists('/c-full')), 0)
  })

  test('a container that never had a child stays', async () => {
    const client = await zk.connect()
    await ok(client.createContainer('/c-never'))
    await twoChecks(client, 'never')
    assert.equal(await code(client.exists('/c-never')), 0)
  })

  test('a persistent node without children stays', async () => {
    const client = await zk.connect()
    await ok(client.create('/c-plain'))
    await ok(client.create('/c-plain/c'))
    await ok(client.delete('/c-plain/c'))
    await twoChecks(client, 'plain')
    assert.equal(await code(client.exists('/c-plain')), 0)
  })

  test('containers inside containers go from the inside out', async () => {
    const client = await zk.connect()
    await ok(client.addWatch('/c-out', 1))
    await ok(client.createContainer('/c-out'))
    await ok(client.createContainer('/c-out/in'))
    await ok(client.create('/c-out/in/x'))
    await ok(client.delete('/c-out/in/x'))
    await deleted(client, '/c-out/in')
    await deleted(client, '/c-out')
  })

  test('a container made in a multi is one', async () => {
    const client = await zk.connect()
    await ok(client.addWatch('/c-multi', 0))
    await ok(client.multi([multiOp.createContainer('/c-multi'), multiOp.create('/c-multi/c')]))
    await ok(client.delete('/c-multi/c'))
    await deleted(client, '/c-multi')
  })

  test('its deletion is a change like any other: a zxid, and an event for the parent', async () => {
    const client = await zk.connect()
    await ok(client.create('/c-parent'))
    await ok(client.createContainer('/c-parent/c'))
    await ok(client.create('/c-parent/c/x'))
    await ok(client.getChildren('/c-parent', true))
    const { zxid } = await client.delete('/c-parent/c/x')
    const event = await client.nextEvent(30_000)
    assert.equal(event.text, 'NodeChildrenChanged /c-parent')
    assert.ok(event.zxid > zxid)
    assert.equal((await ok(client.exists('/c-parent'))).pzxid, event.zxid)
  })
})

describe('containers that were never used', () => {
  const unused = sharedServer({
    'znode.container.checkIntervalMs': 100,
    'znode.container.maxNeverUsedIntervalMs': 300,
  })

  test('go after maxNeverUsedIntervalMs, and not before', async () => {
    const client = await unused.connect()
    await ok(client.addWatch('/unused', 0))
    const { stat } = await ok(client.createContainer('/unused'))
    await deleted(client, '/unused')
    assert.ok(BigInt(Date.now()) - stat.ctime >= 300n)
  })
})

describe('TTL nodes', () => {
  test('a TTL node goes, and not before its ttl', async () => {
    const client = await zk.connect()
    await ok(client.addWatch('/t-goes', 0))
    const { stat } = await ok(client.createTtl('/t-goes', 400n))
    await deleted(client, '/t-goes')
    assert.ok(BigInt(Date.now()) - stat.mtime >= 400n)
  })

  test('a write starts the ttl anew', async () => {
    const client = await zk.connect()
    await ok(client.addWatch('/t-anew', 0))
    await ok(client.createTtl('/t-anew', 600n))
    await ok(client.addWatch('/t-pace', 0))
    await ok(client.createTtl('/t-pace', 200n))
    await deleted(client, '/t-pace')
    const { mtime } = await ok(client.setData('/t-anew', 'x'))
    await deleted(client, '/t-anew')
    assert.ok(BigInt(Date.now()) - mtime >= 600n)
  })

  test('a TTL node with children stays until they are gone', async () => {
    const client = await zk.connect()
    await ok(client.addWatch('/t-parent', 0))
    await ok(client.createTtl('/t-parent', 1n))
    // The node may be gone before its child is there; then it is made again.
    while ((await code(client.create('/t-parent/c'))) !== 0) await client.createTtl('/t-parent', 1n)
    await twoChecks(client, 'ttl-parent')
    assert.equal(await code(client.exists('/t-parent')), 0)
    client.takeEvents()
    await ok(client.delete('/t-parent/c'))
    await deleted(client, '/t-parent')
  })

  test('a TTL node whose time is not over stays', async () => {
    const client = await zk.connect()
    await ok(client.createTtl('/t-long', long))
    await twoChecks(client, 'ttl-long')
    assert.equal(await code(client.exists('/t-long')), 0)
  })

  test('TTL nodes outlive their session', async () => {
    const [owner, other] = [await zk.connect(), await zk.connect()]
    await ok(owner.createTtl('/t-outlives', long))
    await owner.close()
    assert.equal(await code(other.exists('/t-outlives')), 0)
  })

  test('a TTL node made in a multi is one', async () => {
    const client = await zk.connect()
    await ok(client.addWatch('/t-multi', 0))
    await ok(client.multi([multiOp.createTtl('/t-multi', 1n)]))
    await deleted(client, '/t-multi')
  })

  test('a sequential TTL node goes as well', async () => {
    const client = await zk.connect()
    await ok(client.create('/t-seq'))
    await ok(client.addWatch('/t-seq', 1))
    const { path } = await ok(client.createTtl('/t-seq/n-', 1n, { flags: 6 }))
    await deleted(client, path)
  })

  test('TTL nodes and containers are still what they are after a restart', async () => {
    const server = await startServer({ 'znode.container.checkIntervalMs': 600_000 })
    try {
      const first = await connect(server)
      await ok(first.createContainer('/r-container'))
      await ok(first.create('/r-container/c'))
      await ok(first.delete('/r-container/c'))
      await ok(first.createTtl('/r-ttl', 1n))
      await first.close()
      await server.kill()
      await server.restart({ 'znode.container.checkIntervalMs': 100 })
      const second = await connect(server)
      const waiting = ['/r-container', '/r-ttl']
      for (const path of waiting) {
        if ((await second.exists(path, true)).err === 0) await deleted(second, path)
      }
      for (const path of waiting) assert.equal(await code(second.exists(path)), Err.noNode)
      await second.close()
    } finally {
      await server.dispose()
    }
  })
})

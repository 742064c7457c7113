// Quotas: limits, usage, soft and hard, with and without enforcement (semantics.md 11).
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { code, Err, Flag, multiOp, ok, type RawClient } from '../support/raw-client.ts'
import { quirk, sharedServer } from '../support/server.ts'

const zk = sharedServer({ enforceQuota: true })

type Limits = { count?: number; bytes?: number; countHard?: number; bytesHard?: number }

function limitsText({ count = -1, bytes = -1, countHard = -1, bytesHard = -1 }: Limits): string {
  return `count=${count},bytes=${bytes}=;byteHardLimit=${bytesHard};countHardLimit=${countHard}`
}

/** Sets limits as the quota commands of clients do: the parents, the limits, then the usage node. */
async function setQuota(client: RawClient, path: string, limits: Limits | string): Promise<void> {
  const names = path.split('/').slice(1)
  let at = '/zookeeper/quota'
  for (const name of names) {
    at += `/${name}`
    await client.create(at)
  }
  const data = typeof limits === 'string' ? limits : limitsText(limits)
  await ok(client.create(`${at}/zookeeper_limits`, { data }))
  await ok(client.create(`${at}/zookeeper_stats`, { data: 'count=0,bytes=0' }))
}

/** The usage that the server keeps, as `[count, bytes]`. */
async function usage(client: RawClient, path: string): Promise<[number, number]> {
  const { data } = await ok(client.getData(`/zookeeper/quota${path}/zookeeper_stats`))
  const match = /^count=(-?\d+),bytes=(-?\d+)/.exec(data?.toString() ?? '')
  assert.ok(match !== null, `usage is ${data}`)
  return [Number(match[1]), Number(match[2])]
}

describe('usage', () => {
  test('is counted when the usage node is created: the node itself, its descendants, their data', async () => {
    const client = await zk.connect()
    await ok(client.create('/u1', { data: '12345' }))
    await ok(client.create('/u1/a', { data: '123' }))
    await ok(client.create('/u1/a/b'))
    await setQuota(client, '/u1', { count: 100 })
    assert.deepEqual(await usage(client, '/u1'), [3, 8])
  })

  test('follows create, setData and delete', async () => {
    const client = await zk.connect()
    await ok(client.create('/u2'))
    await setQuota(client, '/u2', { count: 100 })
    const seen: [number, number][] = []
    for (const step of [
      () => client.create('/u2/a', { data: '1234' }),
      () => client.setData('/u2/a', '12'),
      () => client.setData('/u2', '123'),
      () => client.create('/u2/a/b', { data: '1' }),
      () => client.setData('/u2/a', null),
      () => client.delete('/u2/a/b'),
      () => client.delete('/u2/a'),
    ]) {
      assert.equal((await step()).err, 0)
      seen.push(await usage(client, '/u2'))
    }
    assert.deepEqual(seen, [
      [2, 4],
      [2, 2],
      [2, 5],
      [3, 6],
      [3, 4],
      [2, 3],
      [1, 3],
    ])
  })

  test('follows ephemerals, sequential nodes, containers and multi', async () => {
    const [client, owner] = [await zk.connect(), await zk.connect()]
    await ok(client.create('/u3'))
    await setQuota(client, '/u3', { count: 100 })
    await ok(owner.create('/u3/e', { flags: Flag.ephemeral, data: '12' }))
    await ok(client.create('/u3/s-', { flags: Flag.sequential, data: '123' }))
    await ok(client.createContainer('/u3/c'))
    await ok(client.multi([multiOp.create('/u3/m', { data: '1234' }), multiOp.setData('/u3/c', '1')]))
    assert.deepEqual(await usage(client, '/u3'), [5, 10])
    await owner.close()
    assert.deepEqual(await usage(client, '/u3'), [4, 8])
  })

  test('its node keeps version, mzxid and mtime, and fires no watch', async () => {
    const client = await zk.connect()
    await ok(client.create('/u4'))
    await setQuota(client, '/u4', { count: 100 })
    const stats = '/zookeeper/quota/u4/zookeeper_stats'
    const before = (await ok(client.getData(stats, true))).stat
    await ok(client.addWatch(stats, 0))
    await ok(client.create('/u4/a', { data: 'abc' }))
    const after = (await ok(client.getData(stats))).stat
    assert.deepEqual({ ...after, dataLength: before.dataLength }, before)
    assert.deepEqual(await client.events(), [])
  })

  test('is text: count=N,bytes=N', async () => {
    const client = await zk.connect()
    await ok(client.create('/u5', { data: 'abc' }))
    await setQuota(client, '/u5', { count: 100 })
    await ok(client.create('/u5/a'))
    const { data } = await ok(client.getData('/zookeeper/quota/u5/zookeeper_stats'))
    assert.ok(data?.toString().startsWith('count=2,bytes=3'), `${data}`)
  })

  test('of a node elsewhere does not count, nor of one that merely shares a prefix', async () => {
    const client = await zk.connect()
    await ok(client.create('/u6'))
    await setQuota(client, '/u6', { count: 100 })
    await ok(client.create('/u6-other', { data: 'abc' }))
    assert.deepEqual(await usage(client, '/u6'), [1, 0])
  })

  test('of the deepest quota only counts', async () => {
    const client = await zk.connect()
    await ok(client.create('/u7'))
    await setQuota(client, '/u7', { count: 100 })
    await ok(client.create('/u7/in'))
    const outer = await usage(client, '/u7')
    await setQuota(client, '/u7/in', { count: 100 })
    await ok(client.create('/u7/in/a', { data: 'abc' }))
    assert.deepEqual(await usage(client, '/u7/in'), [2, 3])
    assert.deepEqual(await usage(client, '/u7'), outer)
  })

  test('a failed create counts nothing', async () => {
    const client = await zk.connect()
    await ok(client.create('/u8'))
    await ok(client.create('/u8/a'))
    await setQuota(client, '/u8', { count: 100 })
    assert.equal(await code(client.create('/u8/a', { data: 'abc' })), Err.nodeExists)
    await client.multi([multiOp.create('/u8/b', { data: 'abc' }), multiOp.check('/missing')])
    assert.deepEqual(await usage(client, '/u8'), [2, 0])
  })
})

describe('hard limits', () => {
  test('count: a create above it fails with -125, up to it succeeds', async () => {
    const client = await zk.connect()
    await ok(client.create('/h1'))
    await setQuota(client, '/h1', { countHard: 3 })
    assert.equal(await code(client.create('/h1/a')), 0)
    assert.equal(await code(client.create('/h1/b')), 0)
    assert.equal(await code(client.create('/h1/c')), Err.quotaExceeded)
    assert.equal(await code(client.create2('/h1/c')), Err.quotaExceeded)
    assert.equal(await code(client.create('/h1/s-', { flags: Flag.sequential })), Err.quotaExceeded)
    assert.deepEqual(await usage(client, '/h1'), [3, 0])
  })

  test('count: a deletion makes room', async () => {
    const client = await zk.connect()
    await ok(client.create('/h2'))
    await setQuota(client, '/h2', { countHard: 2 })
    await ok(client.create('/h2/a'))
    await ok(client.delete('/h2/a'))
    assert.equal(await code(client.create('/h2/b')), 0)
  })

  test('count: setData is not limited by it', async () => {
    const client = await zk.connect()
    await ok(client.create('/h3'))
    await setQuota(client, '/h3', { countHard: 1 })
    assert.equal(await code(client.setData('/h3', 'abc')), 0)
  })

  test('bytes: a create above it fails with -125, up to it succeeds', async () => {
    const client = await zk.connect()
    await ok(client.create('/h4'))
    await setQuota(client, '/h4', { bytesHard: 10 })
    assert.equal(await code(client.create('/h4/a', { data: '123456' })), 0)
    assert.equal(await code(client.create('/h4/b', { data: '12345' })), Err.quotaExceeded)
    assert.equal(await code(client.create('/h4/b', { data: '1234' })), 0)
    assert.equal(await code(client.create('/h4/c')), 0)
  })

  test('bytes: a setData counts by what it adds', async () => {
    const client = await zk.connect()
    await ok(client.create('/h5', { data: '12345' }))
    await setQuota(client, '/h5', { bytesHard: 10 })
    assert.equal(await code(client.setData('/h5', '1234567890')), 0)
    assert.equal(await code(client.setData('/h5', '12345678901')), Err.quotaExceeded)
    assert.equal(await code(client.setData('/h5', '0987654321')), 0)
    assert.equal(await code(client.setData('/h5', '')), 0)
  })

  test('a hard limit replaces the soft one', async () => {
    const client = await zk.connect()
    await ok(client.create('/h6'))
    await setQuota(client, '/h6', { count: 1, countHard: 3 })
    assert.equal(await code(client.create('/h6/a')), 0)
    assert.equal(await code(client.create('/h6/b')), 0)
    assert.equal(await code(client.create('/h6/c')), Err.quotaExceeded)
  })

  test('soft limits only warn: nothing fails', async () => {
    const client = await zk.connect()
    await ok(client.create('/h7'))
    await setQuota(client, '/h7', { count: 1, bytes: 1 })
    assert.equal(await code(client.create('/h7/a', { data: '12345' })), 0)
    assert.equal(await code(client.setData('/h7/a', '123456')), 0)
    assert.deepEqual(await usage(client, '/h7'), [2, 6])
  })

  test('limits in the old form, without the hard ones, are soft', async () => {
    const client = await zk.connect()
    await ok(client.create('/h8'))
    await setQuota(client, '/h8', 'count=1,bytes=1')
    assert.equal(await code(client.create('/h8/a', { data: '12345' })), 0)
  })

  test('limits hold for containers and TTL nodes too', async () => {
    const client = await zk.connect()
    await ok(client.create('/h9'))
    await setQuota(client, '/h9', { countHard: 1 })
    assert.equal(await code(client.createContainer('/h9/c')), Err.quotaExceeded)
    assert.equal(await code(client.createTtl('/h9/t', 1_000_000n)), Err.quotaExceeded)
  })

  test('new limits are in force at once', async () => {
    const client = await zk.connect()
    await ok(client.create('/h10'))
    await setQuota(client, '/h10', { countHard: 1 })
    assert.equal(await code(client.create('/h10/a')), Err.quotaExceeded)
    await ok(client.setData('/zookeeper/quota/h10/zookeeper_limits', limitsText({ countHard: 2 })))
    assert.equal(await code(client.create('/h10/a')), 0)
  })

  test('without its limits node there is no limit', async () => {
    const client = await zk.connect()
    await ok(client.create('/h11'))
    await setQuota(client, '/h11', { countHard: 1 })
    await ok(client.delete('/zookeeper/quota/h11/zookeeper_limits'))
    await ok(client.delete('/zookeeper/quota/h11/zookeeper_stats'))
    assert.equal(await code(client.create('/h11/a')), 0)
  })

  test('a multi that exceeds one fails with -125 for the operation that does', async () => {
    const client = await zk.connect()
    await ok(client.create('/h12'))
    await setQuota(client, '/h12', { countHard: 1 })
    assert.deepEqual(await ok(client.multi([multiOp.check('/h12'), multiOp.create('/h12/a')])), [
      { type: -1, err: 0 },
      { type: -1, err: Err.quotaExceeded },
    ])
  })

  quirk('a multi is counted with its own changes: it cannot overshoot', async () => {
    const client = await zk.connect()
    await ok(client.create('/h13'))
    await setQuota(client, '/h13', { countHard: 2 })
    const results = await ok(client.multi([multiOp.create('/h13/a'), multiOp.create('/h13/b')]))
    assert.deepEqual(results, [
      { type: -1, err: 0 },
      { type: -1, err: Err.quotaExceeded },
    ])
    assert.deepEqual(await usage(client, '/h13'), [1, 0])
  })

  quirk('a multi may first delete and then create up to the limit', async () => {
    const client = await zk.connect()
    await ok(client.create('/h14'))
    await ok(client.create('/h14/a'))
    await setQuota(client, '/h14', { countHard: 2 })
    const results = await ok(client.multi([multiOp.delete('/h14/a'), multiOp.create('/h14/b')]))
    assert.deepEqual(
      results.map((result) => result.type),
      [2, 1],
    )
  })

  quirk('writes of one chunk cannot overshoot', async () => {
    const client = await zk.connect()
    await ok(client.create('/h15'))
    await setQuota(client, '/h15', { countHard: 3 })
    const replies = client.batch(() => ['a', 'b', 'c', 'd'].map((name) => client.create(`/h15/${name}`)))
    assert.deepEqual(await Promise.all(replies.map(code)), [0, 0, Err.quotaExceeded, Err.quotaExceeded])
  })
})

describe('the order of the checks', () => {
  test('setData: a denied permission wins over the quota, the quota over a bad version', async () => {
    const client = await zk.connect()
    await ok(client.create('/o1'))
    await ok(client.create('/o1/denied', { acl: [{ perms: 29, scheme: 'world', id: 'anyone' }] }))
    await setQuota(client, '/o1', { bytesHard: 1 })
    assert.equal(await code(client.setData('/o1/denied', '12345')), Err.noAuth)
    assert.equal(await code(client.setData('/o1', '12345', 99)), Err.quotaExceeded)
  })
})

describe('enforceQuota off, the default', () => {
  const lax = sharedServer()

  test('hard limits do not fail anything', async () => {
    const client = await lax.connect()
    await ok(client.create('/lax'))
    await setQuota(client, '/lax', { countHard: 1, bytesHard: 1 })
    assert.equal(await code(client.create('/lax/a', { data: '12345' })), 0)
    assert.deepEqual(await usage(client, '/lax'), [2, 5])
  })

  test('usage is counted anew after a restart', async () => {
    const client = await lax.connect()
    await ok(client.create('/recount', { data: '123' }))
    await setQuota(client, '/recount', { count: 10 })
    await ok(client.create('/recount/a', { data: '12' }))
    await client.close()
    await lax.server.kill()
    await lax.server.restart()
    const again = await lax.connect()
    assert.deepEqual(await usage(again, '/recount'), [2, 5])
  })
})

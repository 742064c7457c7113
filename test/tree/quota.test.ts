import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Code } from '../../src/base/errors.ts'
import { Applier } from '../../src/tree/apply.ts'
import { BatchOption } from '../../src/tree/batch.ts'
import { parseQuota } from '../../src/tree/quota.ts'
import { Tree } from '../../src/tree/tree.ts'
import { batchOf, check, create, multi, type Request, remove, setData } from '../support/tree-transactions.ts'

const session = 3

class Server {
  readonly tree = new Tree()
  readonly applier = new Applier(this.tree)

  constructor() {
    this.tree.initialize()
    this.all({ type: 'createSession', timeout: 4000 })
  }

  do(request: Request, options: number = BatchOption.enforceQuota): number {
    const batch = batchOf([{ session, ids: [], request }], 1000, options)
    this.applier.apply(batch, 0, this.tree.zxid + 1, true)
    return this.applier.err
  }

  all(...requests: Request[]): this {
    for (const request of requests) assert.equal(this.do(request), 0, JSON.stringify(request))
    return this
  }

  /** The requests with which ZooKeeper's shell sets a quota. */
  limit(path: string, text: string): this {
    let quota = '/zookeeper/quota'
    for (const name of path.slice(1).split('/')) {
      quota += `/${name}`
      if (this.tree.store.findPath(quota) < 0) this.all(create(quota))
    }
    return this.all(
      create(`${quota}/zookeeper_limits`, text),
      create(`${quota}/zookeeper_stats`, 'count=0,bytes=0'),
    )
  }

  usage(path: string): string | undefined {
    return this.tree.data(this.tree.store.findPath(`/zookeeper/quota${path}/zookeeper_stats`))?.toString()
  }
}

const none = { count: -1, bytes: -1, countHardLimit: -1, byteHardLimit: -1 }

for (const [text, quota] of [
  ['', none],
  ['count=5,bytes=7', { ...none, count: 5, bytes: 7 }],
  [
    'count=-1,bytes=7=;byteHardLimit=20;countHardLimit=10',
    { ...none, bytes: 7, byteHardLimit: 20, countHardLimit: 10 },
  ],
  ['byteHardLimit=1;bytes=2', { ...none, bytes: 2, byteHardLimit: 1 }],
  ['count=,bytes=3', { ...none, bytes: 3 }],
  ['count=x,bytes=3', { ...none, bytes: 3 }],
  ['count=99999999999999999999,bytes=1', { ...none, bytes: 1 }],
  ['count=9007199254740991', { ...none, count: 2 ** 53 - 1 }],
  ['constructor=1,__proto__=2,toString=3,count=4', { ...none, count: 4 }],
  ['garbage', none],
] as const) {
  test(`the quota text ${JSON.stringify(text)}`, () => {
    assert.deepEqual({ ...parseQuota(text) }, quota)
  })
}

test('usage counts the limited znode itself and what is below it, and bytes of data', () => {
  const server = new Server()
    .all(create('/a', '12345'), create('/a/b', null), create('/ab', 'beside'))
    .limit('/a', 'count=9')
  assert.equal(server.usage('/a'), 'count=2,bytes=5')
  server.all(
    create('/a/c', '12'),
    setData('/a', '1'),
    setData('/a/b', '123'),
    remove('/a/c'),
    setData('/ab', '...'),
  )
  assert.equal(server.usage('/a'), 'count=2,bytes=4')
})

test('usage is booked to the deepest quota above a znode only', () => {
  const server = new Server()
    .all(create('/a'), create('/a/b'))
    .limit('/a', 'count=9')
    .limit('/a/b', 'count=9')
  server.all(create('/a/b/c', '123'), create('/a/x', '1'))
  assert.equal(server.usage('/a/b'), 'count=2,bytes=3')
  assert.equal(server.usage('/a'), 'count=3,bytes=1')
  server.all(remove('/zookeeper/quota/a/b/zookeeper_limits'), create('/a/b/d', '1'))
  assert.equal(server.usage('/a/b'), 'count=2,bytes=3')
  assert.equal(server.usage('/a'), 'count=4,bytes=2')
})

test('usage is booked without a trace in the stat and without a change told', () => {
  const server = new Server().all(create('/a')).limit('/a', 'count=9')
  const { tree } = server
  const { store } = tree
  const stats = store.findPath('/zookeeper/quota/a/zookeeper_stats')
  const fields = () => [store.mzxid(stats), store.version(stats), store.mtime(stats), store.czxid(stats)]
  const before = fields()
  tree.watched = true
  server.all(create('/a/b'))
  assert.deepEqual(fields(), before)
  assert.equal(server.usage('/a'), 'count=2,bytes=0')
  assert.deepEqual(tree.changes.paths.slice(0, tree.changes.count), ['/a/b', '/a'])
})

test('ephemerals leave the usage with their session', () => {
  const server = new Server().all(create('/a')).limit('/a', 'count=9')
  server.all(create('/a/e', '123', 1), create('/a/f', '4', 1))
  assert.equal(server.usage('/a'), 'count=3,bytes=4')
  server.all({ type: 'closeSession' })
  assert.equal(server.usage('/a'), 'count=1,bytes=0')
})

test('a hard limit refuses what goes beyond it if quotas are enforced, and only then', () => {
  const server = new Server()
    .all(create('/a', '12'))
    .limit('/a', 'count=1,bytes=1=;byteHardLimit=4;countHardLimit=2')
  server.all(create('/a/b', '34'))
  assert.equal(server.do(create('/a/c', null)), Code.quotaExceeded)
  assert.equal(server.do(setData('/a/b', '345')), Code.quotaExceeded)
  server.all(setData('/a/b', '43'), setData('/a/b', ''), setData('/a', '1234'))
  assert.equal(server.usage('/a'), 'count=2,bytes=4')
  assert.equal(server.do(create('/a/c', 'more'), 0), 0)
  assert.equal(server.usage('/a'), 'count=3,bytes=8')
})

test('what gets smaller is not refused however much is used', () => {
  const server = new Server()
    .all(create('/a', '0123456789'))
    .limit('/a', 'count=0,bytes=0=;byteHardLimit=2;countHardLimit=0')
  server.all(setData('/a', '01234567'), setData('/a', '9'), setData('/a', null))
  assert.equal(server.usage('/a'), 'count=1,bytes=0')
})

test('a soft limit refuses nothing and leaves a notice; a hard one takes its place', () => {
  const server = new Server().all(create('/a')).limit('/a', 'count=1,bytes=3=;countHardLimit=3')
  server.all(create('/a/b'), create('/a/c'))
  assert.deepEqual(server.tree.notices, [])
  server.all(setData('/a', '1234'))
  assert.deepEqual(server.tree.notices, ['quota exceeded: /a has bytes 4, limit 3'])
})

test('a multi is held to the hard limit by its own operations, and one that fails uses nothing', () => {
  const server = new Server().all(create('/a')).limit('/a', 'count=-1,bytes=-1=;countHardLimit=3')
  const tooMany = multi(create('/a/1'), create('/a/2'), create('/a/3'))
  assert.equal(server.do(tooMany), 0)
  assert.equal(server.tree.store.findPath('/a/1'), -1)
  assert.equal(server.usage('/a'), 'count=1,bytes=0')
  server.all(multi(create('/a/1'), create('/a/2'), remove('/a/1'), create('/a/3')))
  assert.equal(server.usage('/a'), 'count=3,bytes=0')
})

test('a quota that a failed multi made or removed is as before', () => {
  const server = new Server().all(create('/a'), create('/b')).limit('/a', 'count=9')
  const { quotas } = server.tree
  const limits = '/zookeeper/quota/a/zookeeper_limits'
  const other = '/zookeeper/quota/b'
  for (const request of [
    multi(remove(limits), create('/a/x'), check('/nowhere')),
    multi(remove(limits), create(limits, 'count=1'), check('/nowhere')),
    multi(create(other), create(`${other}/zookeeper_limits`, 'count=1'), check('/nowhere')),
  ]) {
    assert.equal(server.do(request), 0)
    assert.deepEqual([...quotas.paths], ['/a'])
    assert.equal(server.usage('/a'), 'count=1,bytes=0')
  }
  server.all(create('/a/y', '12'))
  assert.equal(server.usage('/a'), 'count=2,bytes=2')
})

test('usage is counted anew when its znode is made, without a limit as well', () => {
  const server = new Server().all(create('/a', '123'), create('/a/b'))
  for (const path of ['/zookeeper/quota/a', '/zookeeper/quota/missing']) server.all(create(path))
  server.all(create('/zookeeper/quota/a/zookeeper_stats', 'count=77,bytes=77'))
  server.all(create('/zookeeper/quota/missing/zookeeper_stats', ''))
  assert.equal(server.usage('/a'), 'count=2,bytes=3')
  assert.equal(server.usage('/missing'), 'count=0,bytes=0')
})

test('a limit without usage limits nothing', () => {
  const server = new Server().all(create('/a'), create('/zookeeper/quota/a'))
  server.all(
    create('/zookeeper/quota/a/zookeeper_limits', 'count=0,bytes=0=;countHardLimit=0'),
    create('/a/b', 'x'),
  )
})

test('limits on the root are none, and names that only look like limits are none', () => {
  const server = new Server().all(create('/zookeeper/quota/zookeeper_limits', 'count=0=;countHardLimit=0'))
  server.all(create('/zookeeper/quota/a'), create('/zookeeper/quota/a/zookeeper_limits2', 'countHardLimit=0'))
  server.all(
    create('/zookeeper_limits'),
    create('/zookeeper/quotas'),
    create('/zookeeper/quotas/zookeeper_limits'),
  )
  assert.deepEqual([...server.tree.quotas.paths], [])
})

test('a limits znode below its own target is booked whether or not there are other quotas', () => {
  const usages = [false, true].map((others) => {
    const server = new Server()
    if (others) server.all(create('/a')).limit('/a', 'count=1')
    server.all(create('/zookeeper/quota/zookeeper'), create('/zookeeper/quota/zookeeper/zookeeper_stats', ''))
    const before = parseQuota(server.usage('/zookeeper') ?? '')
    server.all(create('/zookeeper/quota/zookeeper/zookeeper_limits', 'count=1'))
    const after = parseQuota(server.usage('/zookeeper') ?? '')
    return [after.count - before.count, after.bytes - before.bytes]
  })
  assert.deepEqual(usages, [
    [1, 7],
    [1, 7],
  ])
})

test('a loaded tree finds its quotas again', () => {
  const server = new Server().all(create('/a'), create('/b')).limit('/a', 'count=9').limit('/a/b', 'count=9')
  const { quotas } = server.tree
  const before = [...quotas.paths].sort()
  assert.deepEqual(before, ['/a', '/a/b'])
  quotas.reload()
  assert.deepEqual([...quotas.paths].sort(), before)
  quotas.reload()
  assert.equal(quotas.prefixOf('/a/b/c'), '/a/b')
  assert.equal(quotas.prefixOf('/a/bc'), '/a')
  assert.equal(quotas.prefixOf('/a'), '/a')
  assert.equal(quotas.prefixOf('/ab'), undefined)
  assert.equal(quotas.prefixOf('/'), undefined)
})

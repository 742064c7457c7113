import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Reaper } from '../../src/node/reaper.ts'
import { Applier } from '../../src/tree/apply.ts'
import { Tree } from '../../src/tree/tree.ts'
import { FakeClock } from '../support/tree-clock.ts'
import {
  batchOf,
  create,
  createContainer,
  createTtl,
  type Request,
  remove,
  setData,
} from '../support/tree-transactions.ts'

const checkIntervalMs = 60_000

type Settings = { checkIntervalMs?: number; maxPerMinute?: number; maxNeverUsedIntervalMs?: number }

class Server {
  readonly tree = new Tree()
  readonly clock = new FakeClock()
  readonly applier = new Applier(this.tree)
  readonly removed: string[] = []
  readonly reaper: Reaper
  ready = true
  /** Proposals are applied at once, unless a test wants to see them only. */
  applies = true

  constructor(settings: Settings = {}) {
    this.tree.initialize()
    this.do({ type: 'createSession', timeout: 4000 })
    this.reaper = new Reaper({
      tree: this.tree,
      clock: this.clock,
      settings: { checkIntervalMs, maxPerMinute: 10_000, maxNeverUsedIntervalMs: 0, ...settings },
      remove: (path) => {
        this.removed.push(path)
        if (this.applies) this.do({ type: 'deleteContainer', path })
      },
      ready: () => this.ready,
    })
    this.reaper.start()
  }

  do(...requests: Request[]): this {
    for (const request of requests) {
      const batch = batchOf([{ session: 9, ids: [], request }], this.clock.wall())
      this.applier.apply(batch, 0, this.tree.zxid + 1, false)
      assert.equal(this.applier.err, 0, JSON.stringify(request))
    }
    return this
  }

  /** What was removed in the meantime. */
  after(ms: number): string[] {
    this.clock.advance(ms)
    return this.removed.splice(0).sort()
  }
}

test('a container goes at the next check after it has lost its last child, and not before it had one', () => {
  const server = new Server().do(createContainer('/c'), createContainer('/unused'))
  assert.deepEqual(server.after(checkIntervalMs), [])
  server.do(create('/c/x'), create('/c/y'), remove('/c/x'))
  assert.deepEqual(server.after(checkIntervalMs), [])
  server.do(remove('/c/y'))
  assert.deepEqual(server.after(checkIntervalMs - 1), [])
  assert.deepEqual(server.after(1), ['/c'])
  assert.equal(server.tree.store.findPath('/c'), -1)
  assert.deepEqual(server.after(10 * checkIntervalMs), [])
})

test('a container that never had a child goes after maxNeverUsedIntervalMs, if that is set', () => {
  const server = new Server({ maxNeverUsedIntervalMs: 100_000 }).do(createContainer('/unused'))
  assert.deepEqual(server.after(checkIntervalMs), [])
  assert.deepEqual(server.after(checkIntervalMs), ['/unused'])
})

test('a TTL znode goes when nobody has written to it for more than its time, and it has no children', () => {
  const server = new Server().do(
    createTtl('/exact', 60_000),
    createTtl('/due', 59_999),
    createTtl('/parent', 1),
  )
  server.do(create('/parent/child'), createTtl('/written', 59_999))
  server.clock.advance(30_000)
  server.do(setData('/written', 'x'))
  assert.deepEqual(server.after(30_000), ['/due'])
  server.do(remove('/parent/child'))
  assert.deepEqual(server.after(checkIntervalMs), ['/exact', '/parent', '/written'])
})

test('ephemerals and plain znodes stay', () => {
  const server = new Server().do(
    create('/plain'),
    create('/e', '', 1),
    create('/plain/x'),
    remove('/plain/x'),
  )
  assert.deepEqual(server.after(10 * checkIntervalMs), [])
})

test('at most maxPerMinute are proposed in a minute, the others at the next checks', () => {
  const server = new Server({ checkIntervalMs: 30_000, maxPerMinute: 4 })
  for (let i = 0; i < 3; i++) server.do(createContainer(`/c${i}`), create(`/c${i}/x`), remove(`/c${i}/x`))
  server.do(createTtl('/t0', 1), createTtl('/t1', 1))
  const counts = [0, 0, 0, 0].map(() => server.after(30_000).length)
  assert.deepEqual(counts, [2, 2, 1, 0])
})

test('at least one is proposed at each check, however low the limit', () => {
  const server = new Server({ checkIntervalMs: 1000, maxPerMinute: 1 }).do(
    createTtl('/t0', 1),
    createTtl('/t1', 1),
  )
  assert.equal(server.after(1000).length, 1)
  assert.equal(server.after(1000).length, 1)
})

test('nothing is proposed while nothing can be, and the checks go on', () => {
  const server = new Server().do(createTtl('/t', 1))
  server.ready = false
  assert.deepEqual(server.after(5 * checkIntervalMs), [])
  server.ready = true
  assert.deepEqual(server.after(checkIntervalMs), ['/t'])
})

test('what was proposed and is not gone at the next check is proposed again', () => {
  const server = new Server().do(createTtl('/t', 1))
  server.applies = false
  assert.deepEqual(server.after(checkIntervalMs), ['/t'])
  assert.deepEqual(server.after(checkIntervalMs), ['/t'])
})

test('started twice it checks once per interval; stopped it checks no more', () => {
  const server = new Server()
  server.applies = false
  server.do(createTtl('/t', 1))
  server.reaper.start()
  assert.equal(server.clock.timers, 1)
  assert.deepEqual(server.after(checkIntervalMs), ['/t'])
  server.reaper.stop()
  assert.equal(server.clock.timers, 0)
  assert.deepEqual(server.after(10 * checkIntervalMs), [])
})

test('stopped by what a removal leads to it stays stopped', () => {
  const tree = new Tree()
  tree.initialize()
  const clock = new FakeClock()
  const reaper: Reaper = new Reaper({
    tree,
    clock,
    settings: { checkIntervalMs, maxPerMinute: 60, maxNeverUsedIntervalMs: 0 },
    remove: () => undefined,
    ready: () => {
      reaper.stop()
      return false
    },
  })
  reaper.start()
  clock.advance(checkIntervalMs)
  assert.equal(clock.timers, 0)
})

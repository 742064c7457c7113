// What is committed is applied, in order and once, from memory or from the log; who waits hears of it, watchers before.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createLogger } from '../../src/base/log.ts'
import { Op } from '../../src/base/opcodes.ts'
import { type Digest, Replica } from '../../src/node/replica.ts'
import type { Origins } from '../../src/node/requests.ts'
import type { Connection } from '../../src/server/connection.ts'
import { ServerStats } from '../../src/server/stats.ts'
import { Watches } from '../../src/server/watches.ts'
import type { Batch } from '../../src/tree/batch.ts'
import { Tree } from '../../src/tree/tree.ts'
import type { Entry } from '../../src/zab/types.ts'
import { memoryLog } from '../support/disk-memory.ts'
import { overriding } from '../support/in-process.ts'
import { type FakeOrigin, fakeOrigin } from '../support/origins.ts'
import { FakeClock, pumped, settled } from '../support/tree-clock.ts'
import { batchOf, create, type Request, setData } from '../support/tree-transactions.ts'

const session = 5

/** A replica on a log in memory, and what it told. */
class Setup {
  readonly tree = new Tree()
  readonly clock = new FakeClock()
  readonly watches = new Watches<Connection>()
  readonly log = memoryLog()
  readonly applied: [transactions: number, bytes: number, time: number][] = []
  readonly digests: Digest[] = []
  compared = true
  readonly special: [kind: number, session: number][] = []
  readonly answered: Origins[] = []
  readonly failures: unknown[] = []
  more = 0
  readable = true
  /** Who waits for transactions of entries of others. */
  origins: Origins | undefined
  breaksReading = false
  readonly replica: Replica

  constructor() {
    this.tree.initialize()
    this.tree.openSession(session, 4000)
    const { log } = this
    this.replica = new Replica({
      tree: this.tree,
      log: overriding(log, {
        read: (after) => {
          if (this.breaksReading) throw new Error('the disk is broken')
          return log.read(after)
        },
      }),
      watches: this.watches,
      stats: new ServerStats(),
      clock: this.clock,
      logger: createLogger({ level: 'error', pretty: false, destination: { write: () => undefined } }),
      skipAcl: false,
      digestEvery: 128,
      isCompared: () => this.compared,
      soleReader: true,
      readable: () => this.readable,
      originsOf: () => this.origins,
      onSpecial: (kind, id) => this.special.push([kind, id]),
      onAnswered: (origins) => this.answered.push(origins),
      onDigest: (digest) => this.digests.push(digest),
      onApplied: (...args) => this.applied.push(args),
      onMore: () => {
        this.more++
      },
      onFailure: (error) => this.failures.push(error),
    })
  }

  /** An entry of these requests behind what is appended so far. */
  async entry(requests: readonly Request[], inMemory = true): Promise<{ entry: Entry; batch: Batch }> {
    const prev = this.log.lastZxid
    const batch = batchOf(
      requests.map((request) => ({ session, ids: [], request })),
      1000 + prev,
    )
    const entry = { prev, first: prev + 1, last: prev + requests.length, bytes: batch.encode() }
    await this.log.append([entry])
    if (inMemory) this.replica.append(entry, undefined, undefined)
    return { entry, batch }
  }

  /** Turns until nothing more is asked for. */
  async drain(): Promise<void> {
    await pumped(
      this.clock,
      (async () => {
        for (let i = 0; i < 50; i++) {
          this.replica.advance()
          await settled()
        }
      })(),
    )
  }
}

function has(tree: Tree, path: string): boolean {
  let found = false
  tree.forEach((node) => {
    if (tree.store.path(node) === path) found = true
  })
  return found
}

function originsFor(waiting: readonly (FakeOrigin | undefined)[]): Origins {
  return {
    connections: waiting.map((one) => one?.connection),
    arrivals: waiting.map((_, i) => i),
    count: waiting.length,
    bytes: 0,
  }
}

test('nothing is applied before it is committed, and then all of it at once, in order', async () => {
  const setup = new Setup()
  const { replica } = setup
  await setup.entry([create('/a'), create('/b')])
  await setup.entry([create('/c')])
  replica.advance()
  assert.deepEqual([setup.tree.zxid, replica.behind, replica.inFlight], [0, false, 2])
  replica.commit(2)
  assert.equal(replica.behind, true)
  replica.advance()
  assert.deepEqual([setup.tree.zxid, replica.behind, replica.inFlight], [2, false, 1])
  assert.deepEqual([has(setup.tree, '/b'), has(setup.tree, '/c')], [true, false])
  replica.commit(3)
  replica.commit(1)
  replica.advance()
  assert.deepEqual([replica.committed, setup.tree.zxid], [3, 3])
  assert.deepEqual(
    setup.applied.map(([transactions, , time]) => [transactions, time]),
    [
      [2, 1000],
      [1, 1002],
    ],
  )
})

test('who waits gets the outcome of its transaction, errors too, and then all of the entry is done', async () => {
  const setup = new Setup()
  const [one, two] = [fakeOrigin(), fakeOrigin()]
  const { entry, batch } = await setup.entry([create('/a'), create('/a'), setData('/a', 'x')], false)
  const origins = originsFor([one, two, undefined])
  setup.replica.append(entry, batch, origins)
  setup.replica.commit(3)
  setup.replica.advance()
  const told = (origin: FakeOrigin) =>
    origin.told.map((line) => line.type === 'completed' && [line.kind, line.zxid, line.err, line.arrived])
  assert.deepEqual([told(one), told(two)], [[[Op.create, 1, 0, 0]], [[Op.create, 2, -110, 1]]])
  assert.deepEqual(setup.answered, [origins])
})

test("who waits for another server's entry is asked for when it is applied", async () => {
  const setup = new Setup()
  const one = fakeOrigin()
  await setup.entry([create('/a'), create('/b')])
  setup.origins = originsFor([undefined, one])
  setup.replica.commit(2)
  setup.replica.advance()
  assert.deepEqual(
    one.told.map((line) => line.type === 'completed' && line.zxid),
    [2],
  )
})

test('a watcher hears of a change before whoever made it gets the answer', async () => {
  const setup = new Setup()
  const origin = fakeOrigin()
  setup.watches.addData('/a', origin.connection)
  const { entry, batch } = await setup.entry([create('/a')], false)
  setup.replica.append(entry, batch, originsFor([origin]))
  setup.replica.commit(1)
  setup.replica.advance()
  assert.deepEqual(
    origin.told.map(({ type }) => type),
    ['notified', 'completed'],
  )
})

test('what only the log has is read from it, up to what is in memory, and nothing is applied twice', async () => {
  const setup = new Setup()
  for (const path of ['/a', '/b', '/c']) await setup.entry([create(path)], false)
  await setup.entry([create('/d')])
  await setup.entry([create('/e')])
  setup.replica.commit(4)
  await setup.drain()
  assert.deepEqual([setup.tree.zxid, has(setup.tree, '/d'), has(setup.tree, '/e')], [4, true, false])
  setup.replica.commit(5)
  await setup.drain()
  assert.equal(setup.tree.zxid, 5)
  assert.deepEqual(
    setup.applied.map(([transactions, , time]) => [transactions, time]),
    [
      [1, 0],
      [1, 0],
      [1, 0],
      [1, 1003],
      [1, 1004],
    ],
  )
})

test('the log is not read while entries are being cut from it', async () => {
  const setup = new Setup()
  await setup.entry([create('/a')], false)
  setup.readable = false
  setup.replica.commit(1)
  await setup.drain()
  assert.equal(setup.tree.zxid, 0)
  setup.readable = true
  await setup.drain()
  assert.equal(setup.tree.zxid, 1)
})

test('a log that can not be read is told of, unless the replica has begun anew meanwhile', async () => {
  const setup = new Setup()
  await setup.entry([create('/a')], false)
  setup.breaksReading = true
  setup.replica.commit(1)
  setup.replica.advance()
  setup.replica.reset()
  await settled()
  assert.deepEqual(setup.failures, [])
  setup.replica.commit(1)
  setup.replica.advance()
  await settled()
  assert.equal(setup.failures.length, 1)
})

test('what was cut is never applied, and what takes its place is', async () => {
  const setup = new Setup()
  await setup.entry([create('/a')])
  await setup.entry([create('/dead')])
  await setup.entry([create('/dead-too')])
  setup.replica.truncate(1)
  await setup.log.truncate(1)
  await setup.entry([create('/b')])
  setup.replica.commit(2)
  await setup.drain()
  assert.deepEqual([setup.tree.zxid, has(setup.tree, '/dead'), has(setup.tree, '/b')], [2, false, true])
})

test('who waited is told of by abandon; what was theirs is applied all the same', async () => {
  const setup = new Setup()
  const one = fakeOrigin()
  const { entry, batch } = await setup.entry([create('/a')], false)
  setup.replica.append(entry, batch, originsFor([one]))
  const waiting = new Set<Connection>()
  setup.replica.abandon(waiting)
  assert.deepEqual([...waiting], [one.connection])
  setup.replica.commit(1)
  setup.replica.advance()
  assert.deepEqual([setup.tree.zxid, one.told.length], [1, 0])
})

test('a long entry is applied in slices, and can be finished at once', async () => {
  const setup = new Setup()
  const many = Array.from({ length: 300 }, (_, i) => create(`/n${i}`))
  await setup.entry(many)
  await setup.entry([create('/after')])
  setup.replica.commit(301)
  // Each look at the clock takes longer than a slice may.
  setup.clock.msPerReading = 100
  setup.replica.advance()
  assert.deepEqual([setup.tree.zxid, setup.more, setup.applied.length], [64, 1, 0])
  setup.replica.advance()
  assert.equal(setup.tree.zxid, 128)
  setup.replica.finishEntry()
  assert.deepEqual([setup.tree.zxid, setup.replica.inFlight], [300, 1])
  setup.clock.msPerReading = 0
  setup.replica.advance()
  assert.equal(setup.tree.zxid, 301)
  setup.replica.finishEntry()
  assert.equal(setup.tree.zxid, 301)
})

test('short entries are applied in slices, too', async () => {
  const setup = new Setup()
  for (let i = 0; i < 100; i++) await setup.entry([create(`/n${i}`)])
  setup.replica.commit(100)
  setup.clock.msPerReading = 100
  setup.replica.advance()
  assert.deepEqual([setup.tree.zxid, setup.more, setup.applied.length], [64, 1, 1])
  setup.replica.advance()
  assert.deepEqual([setup.tree.zxid, setup.more, setup.applied.length], [100, 1, 2])
})

test('digests are taken at every 128th transaction, and the newest 128 are kept', async () => {
  const setup = new Setup()
  await setup.entry([create('/a')])
  for (let i = 0; i < 130; i++) await setup.entry(Array.from({ length: 128 }, () => setData('/a', `${i}`)))
  setup.replica.commit(1 + 130 * 128)
  await setup.drain()
  assert.equal(setup.digests.length, 130)
  assert.deepEqual(
    setup.digests.slice(0, 2).map(({ zxid }) => zxid),
    [128, 256],
  )
  assert.deepEqual(setup.replica.digests, setup.digests.slice(2))
  assert.equal(new Set(setup.digests.map(({ low, high }) => `${high} ${low}`)).size, 130)
})

test('no digest is taken while nobody compares it, and the next one is that of the whole tree', async () => {
  const [all, late] = [new Setup(), new Setup()]
  late.compared = false
  for (const setup of [all, late]) {
    await setup.entry([create('/a')])
    for (let i = 0; i < 3; i++) await setup.entry(Array.from({ length: 128 }, () => setData('/a', `${i}`)))
    setup.replica.commit(1 + 2 * 128)
    await setup.drain()
  }
  assert.deepEqual([all.digests.length, late.digests.length], [2, 0])
  late.compared = true
  for (const setup of [all, late]) {
    setup.replica.commit(1 + 3 * 128)
    await setup.drain()
  }
  assert.deepEqual(late.digests, all.digests.slice(2))
  assert.deepEqual(late.replica.digests, late.digests)
})

test('what concerns more than the tree is told: sessions, but no ordinary write', async () => {
  const setup = new Setup()
  await setup.entry([create('/a'), { type: 'createSession', timeout: 4000 }, { type: 'closeSession' }])
  setup.replica.commit(3)
  setup.replica.advance()
  assert.deepEqual(setup.special, [
    [Op.createSession, session],
    [Op.closeSession, session],
  ])
})

test('after a reset it goes on from the state that the tree has then', async () => {
  const setup = new Setup()
  await setup.entry([create('/a')])
  await setup.entry([create('/b')])
  setup.replica.commit(1)
  setup.replica.advance()
  setup.replica.reset()
  assert.deepEqual([setup.replica.committed, setup.replica.inFlight], [1, 0])
  setup.replica.commit(2)
  await setup.drain()
  assert.equal(setup.tree.zxid, 2)
})

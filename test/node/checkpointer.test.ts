// When checkpoints are made, what they hold while the server goes on, and what a failing disk does to them.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createLogger } from '../../src/base/log.ts'
import { Checkpointer } from '../../src/node/checkpointer.ts'
import type { CheckpointStore } from '../../src/storage/types.ts'
import { Applier } from '../../src/tree/apply.ts'
import { ImageReader, type ImageState } from '../../src/tree/image.ts'
import { Tree } from '../../src/tree/tree.ts'
import { faultyCheckpoint, faultyLog } from '../support/disk.ts'
import { memoryCheckpoint, memoryLog } from '../support/disk-memory.ts'
import { FakeClock, pumped, settled } from '../support/tree-clock.ts'
import { assertSameState, checkTree, stateOfTree } from '../support/tree-state.ts'
import { batchOf, create, type Request, remove, setData } from '../support/tree-transactions.ts'

const retryMs = 5000

/** A server that applies, logs and makes checkpoints. */
class Server {
  readonly tree = new Tree()
  readonly clock = new FakeClock()
  readonly inner = memoryCheckpoint()
  readonly disk = faultyCheckpoint(this.inner)
  readonly logDisk = faultyLog(memoryLog())
  readonly lines: { level: string; msg: string }[] = []
  readonly done: number[] = []
  readonly fatal: unknown[] = []
  /** What the core was told to forget. */
  readonly trimmed: number[] = []
  /** So that checkpoints begin when something is applied, unless a test is about calm. */
  atRest = false
  readonly checkpointer: Checkpointer
  /** Whether each checkpoint begun stood alone. */
  readonly replaced: boolean[] = []
  readonly #applier = new Applier(this.tree)

  constructor(snapCount = 10, random = 0, store?: (inner: CheckpointStore) => CheckpointStore) {
    const watched: CheckpointStore = {
      ...bound(this.disk.checkpoint),
      begin: (options) => {
        const sink = this.disk.checkpoint.begin(options)
        this.replaced.push(options?.replace === true)
        return sink
      },
    }
    const self = this.inner
    Object.defineProperty(watched, 'meta', { get: () => self.meta })
    this.tree.initialize()
    this.checkpointer = new Checkpointer({
      tree: this.tree,
      log: this.logDisk.log,
      store: store === undefined ? watched : store(watched),
      clock: this.clock,
      logger: createLogger({
        level: 'debug',
        pretty: false,
        destination: { write: (line) => this.lines.push(JSON.parse(line)) },
      }),
      snapCount,
      random: () => random,
      isAtRest: () => this.atRest,
      onDone: (ms) => this.done.push(ms),
      onTrim: (zxid) => this.trimmed.push(zxid),
      onFatal: (error) => this.fatal.push(error),
    })
  }

  /** Applies one transaction and tells nobody. */
  async apply(request: Request): Promise<void> {
    const prev = this.tree.zxid
    const batch = batchOf([{ session: 5, ids: [], request }], 1000 + prev)
    await this.logDisk.log.append([{ prev, first: prev + 1, last: prev + 1, bytes: batch.encode() }])
    this.#applier.apply(batch, 0, prev + 1, false)
    assert.equal(this.#applier.err, 0, JSON.stringify(request))
  }

  /** Applies transactions as the node does. */
  async run(...requests: Request[]): Promise<void> {
    for (const request of requests) {
      await this.apply(request)
      this.checkpointer.applied(1)
    }
  }

  /** `count` transactions of no interest, then whatever they set off. */
  async busy(count: number): Promise<void> {
    for (let i = 0; i < count; i++) await this.run({ type: 'createSession', timeout: 1000 + this.tree.zxid })
    await this.quiet()
  }

  /** A second later: as many transactions as make an early checkpoint of a server with a snapCount of a million, of so many bytes. */
  async sixteenth(bytes: number): Promise<void> {
    await this.run(create2())
    this.clock.advance(1000)
    this.checkpointer.applied(62_500, bytes)
    await this.quiet()
  }

  /** Lets a checkpoint under way come to its end. */
  async quiet(): Promise<void> {
    for (let i = 0; i < 200; i++) {
      await settled()
      this.clock.runSoon()
    }
  }

  /** The tree of a server that starts now, before it replays its log. */
  async stored(): Promise<Tree> {
    const { meta } = this.inner
    assert.ok(meta !== undefined)
    const tree = new Tree()
    const reader = new ImageReader(tree)
    await this.inner.load((key, value) => reader.record(key, value))
    reader.finish(meta, meta.state as ImageState, meta.zxid)
    checkTree(tree)
    return tree
  }

  levels(): string[] {
    return this.lines.map(({ level, msg }) => `${level}: ${msg.split(/[,:]/)[0]}`)
  }
}

/** A store's methods as an object that can be spread over. */
function bound(store: CheckpointStore): CheckpointStore {
  return {
    get meta() {
      return store.meta
    },
    get failure() {
      return store.failure
    },
    load: (...to) => store.load(...to),
    reader: () => store.reader(),
    begin: (options) => store.begin(options),
    commit: (meta) => store.commit(meta),
    abort: () => store.abort(),
    reopen: () => store.reopen(),
    close: () => store.close(),
  }
}

for (const [snapCount, random, threshold] of [
  [10, 0, 5],
  [10, 0.99, 9],
  [10, 0.5, 7],
  [1, 0, 1],
  [3, 0.99, 1],
  [100_000, 0, 50_000],
] as const) {
  test(`with snapCount ${snapCount} and a draw of ${random} a checkpoint comes after ${threshold} transactions`, async () => {
    const server = new Server(snapCount, random)
    await server.apply(create2())
    server.checkpointer.applied(threshold - 1)
    await server.quiet()
    assert.equal(server.checkpointer.zxid, 0)
    server.checkpointer.applied(1)
    await server.quiet()
    assert.equal(server.checkpointer.zxid, server.tree.zxid)
    assert.equal(server.done.length, 1)
  })
}

function create2(): Request {
  return { type: 'createSession', timeout: 5000 }
}

test('32 MiB of changed znodes bring a checkpoint however few transactions they were', async () => {
  const server = new Server(1_000_000)
  const big = 'x'.repeat(1 << 20)
  await server.run(create2())
  for (let i = 0; i < 31; i++) await server.run(create(`/n${i}`, big))
  await server.quiet()
  assert.equal(server.checkpointer.zxid, 0)
  await server.run(create('/last', big))
  await server.quiet()
  assert.equal(server.checkpointer.zxid, server.tree.zxid)
})

test('one znode written again and again is only once what a checkpoint has to write', async () => {
  const server = new Server(1_000_000)
  const big = 'x'.repeat(1 << 20)
  await server.run(create2(), create('/a'))
  for (let i = 0; i < 40; i++) await server.run(setData('/a', big))
  await server.quiet()
  assert.equal(server.checkpointer.zxid, 0)
})

test('256 MiB of log bring a checkpoint: a start must not have more to replay', async () => {
  const server = new Server(1_000_000)
  await server.run(create2(), create('/a'))
  server.checkpointer.applied(1, (256 << 20) - 1)
  await server.quiet()
  assert.equal(server.checkpointer.zxid, 0)
  server.checkpointer.applied(1, 1)
  await server.quiet()
  assert.equal(server.checkpointer.zxid, server.tree.zxid)
})

const few = 100_000
const many = 3_000_000
/** A fiftieth of 256 MiB. */
const muchLog = Math.ceil((256 << 20) / 50)
for (const [name, since, dirtyBytes, logBytes, ms, made] of [
  ['a checkpoint with little to write comes after a fiftieth of the transactions', 1000, few, 0, 1000, true],
  ['not after fewer', 999, few, 0, 1000, false],
  ['not within a second', 1000, few, 0, 999, false],
  ['not if it had to write more than 100 KB for each second', 1000, few + 1, 0, 1000, false],
  ['later it may write more', 1000, many, 0, 30_000, true],
  ['at once if it is an eighth of the log', 1000, many, 8 * many, 1000, true],
  ['not if it is more than an eighth of the log', 1000, many, 8 * many - 1, 1000, false],
  ['few transactions are enough if they are large', 10, 600_000, muchLog, 1000, true],
  ['not if they are smaller', 10, 600_000, muchLog - 1, 1000, false],
] as const) {
  test(`${name}: a start has to replay what came since`, async () => {
    const server = new Server(100_000)
    await server.run(create2(), create('/a'))
    const more = dirtyBytes - server.tree.dirtyBytes - 128
    await server.run(create('/b', 'x'.repeat(more)))
    assert.equal(server.tree.dirtyBytes, dirtyBytes)
    server.clock.advance(ms)
    server.checkpointer.applied(since - 3, logBytes)
    await server.quiet()
    assert.equal(server.done.length, made ? 1 : 0)
  })
}

for (const [name, since, windows, made] of [
  ['a server that has nothing to do makes a checkpoint, whatever it has to write', 1000, [0, 0], true],
  ['and one that has next to nothing to do', 1000, [10, 10], true],
  ['not one that goes on working', 1000, [11, 11, 11, 11], false],
  ['not before half a second of calm', 1000, [11, 11, 11], false],
  ['only then', 1000, [11, 11, 11, 0], true],
  ['not within a second of the one before', 1000, [0], false],
  ['not after fewer than a fiftieth of the transactions', 980, [0, 0, 0, 19, 0, 0], false],
  ['when they are that many', 980, [0, 0, 0, 20, 0], true],
] as const) {
  test(`${name}: a start has to replay what came since`, async () => {
    const server = await restingServer()
    await server.run(create('/b', 'x'.repeat(many)))
    server.checkpointer.applied(since - 2)
    for (const transactions of windows) {
      server.checkpointer.applied(transactions)
      server.clock.advance(500)
    }
    await server.quiet()
    assert.equal(server.done.length, made ? 1 : 0)
  })
}

/** One that may make checkpoints in calm. */
async function restingServer(): Promise<Server> {
  const server = new Server(100_000)
  server.atRest = true
  await server.run(create2())
  return server
}

/** Ten seconds in which nothing comes. */
async function calm(server: Server): Promise<void> {
  for (let i = 0; i < 20; i++) {
    server.clock.advance(500)
    await server.quiet()
  }
}

test('in calm few transactions are enough if they are large', async () => {
  for (const [bytes, made] of [
    [muchLog, 1],
    [muchLog - 1, 0],
  ] as const) {
    const server = await restingServer()
    await server.run(create('/b', 'x'.repeat(many)))
    server.checkpointer.applied(1, bytes)
    await calm(server)
    assert.equal(server.done.length, made)
  }
})

test('a server that stays calm has no more to write, and nothing to look for', async () => {
  const server = await restingServer()
  server.checkpointer.applied(1000)
  await calm(server)
  assert.equal(server.done.length, 1)
  assert.equal(server.clock.timers, 0)
})

test('a server that may make no checkpoints, or whose state may be replaced, makes none in calm either', async () => {
  const server = await restingServer()
  await server.checkpointer.pause()
  server.checkpointer.applied(1000)
  await calm(server)
  assert.equal(server.done.length, 0)
  server.checkpointer.resume()
  server.atRest = false
  await calm(server)
  assert.equal(server.done.length, 0)
  server.atRest = true
  await calm(server)
  assert.equal(server.done.length, 1)
})

test('after the last checkpoint none is made in calm', async () => {
  const server = await restingServer()
  server.checkpointer.applied(1000)
  await server.checkpointer.finish()
  await server.apply(create2())
  await calm(server)
  assert.equal(server.done.length, 1)
  assert.equal(server.clock.timers, 0)
})

test('early checkpoints leave the log half of snapCount, so that servers that lag need no snapshot', async () => {
  const server = new Server(80)
  const { log } = server.logDisk
  await server.run(create2(), create('/a'))
  const at: number[] = []
  for (let i = 0; i < 6; i++) {
    server.clock.advance(1000)
    for (let n = 0; n < 9; n++) await server.apply(setData('/a', `${i} ${n}`))
    server.checkpointer.applied(9, 1 << 20)
    await server.quiet()
    at.push(server.checkpointer.zxid)
  }
  assert.deepEqual(at, [11, 20, 29, 38, 47, 56])
  assert.equal(log.trimmedTo, 11)
})

test('of large transactions the log keeps 32 MiB', async () => {
  const server = new Server(1_000_000)
  const { log } = server.logDisk
  await server.sixteenth(20 << 20)
  await server.sixteenth(20 << 20)
  assert.deepEqual([server.done.length, log.trimmedTo], [2, 0])
  await server.sixteenth(20 << 20)
  assert.deepEqual([server.done.length, log.trimmedTo], [3, 1])
})

test('a checkpoint is exactly the state at its beginning while the server goes on', async () => {
  const server = new Server(10_000)
  await server.run(create2())
  for (let i = 0; i < 300; i++) await server.run(create(`/n${i}`, `first ${i}`))
  server.clock.msPerReading = 5
  const expected = stateOfTree(server.tree)
  const zxid = server.tree.zxid
  server.checkpointer.applied(10_000)
  let turns = 0
  for (let i = 0; server.done.length === 0; i++) {
    await settled()
    // Each turn changes znodes that are written already, and ones that are not.
    for (const n of [i, 299 - i]) await server.apply(setData(`/n${n}`, 'changed'))
    await server.apply(i % 2 === 0 ? create(`/late${i}`) : remove(`/n${150 + i}`))
    turns += server.clock.waiting
    server.clock.runSoon()
  }
  assert.ok(turns >= 4, `${turns} slices`)
  assert.equal(server.checkpointer.zxid, zxid)
  assertSameState(stateOfTree(await server.stored()), expected, 'the checkpoint')
  await pumped(server.clock, server.checkpointer.finish())
  assertSameState(stateOfTree(await server.stored()), stateOfTree(server.tree), 'the next checkpoint')
  assert.deepEqual(server.replaced, [false, false])
})

test('only one checkpoint is made at a time', async () => {
  const server = new Server(10)
  await server.run(create2(), create('/a'))
  server.disk.faults.hold()
  server.checkpointer.applied(10)
  await server.quiet()
  await server.run(create('/b'))
  server.checkpointer.applied(100)
  await server.quiet()
  assert.equal(server.replaced.length, 1)
  await server.disk.faults.release()
  await server.quiet()
  assert.equal(server.checkpointer.zxid, 2)
  server.checkpointer.applied(10)
  await server.quiet()
  assert.equal(server.checkpointer.zxid, 3)
})

test('the log is trimmed up to the checkpoint before', async () => {
  const server = new Server(10)
  const { log } = server.logDisk
  await server.busy(5)
  assert.deepEqual([server.checkpointer.zxid, log.trimmedTo], [5, 0])
  await server.busy(5)
  assert.deepEqual([server.checkpointer.zxid, log.trimmedTo], [10, 5])
  await server.busy(5)
  assert.deepEqual([server.checkpointer.zxid, log.trimmedTo], [15, 10])
  assert.deepEqual(server.trimmed, [5, 10])
})

test('the log is trimmed when that is worth the write, and not by every checkpoint', async () => {
  const server = new Server(1_000_000)
  const { log } = server.logDisk
  const at: number[] = []
  for (let i = 0; i < 24; i++) {
    await server.sixteenth(1 << 20)
    at.push(log.trimmedTo)
  }
  assert.equal(server.done.length, 24)
  assert.deepEqual([...new Set(at)], [0, 1, 9])
  assert.deepEqual(server.trimmed, [1, 9])
})

test('after a start the checkpoint that was loaded counts like one that was made', async () => {
  const server = new Server(10)
  await server.busy(5)
  const again = new Checkpointer({
    tree: server.tree,
    log: server.logDisk.log,
    store: server.inner,
    clock: server.clock,
    logger: createLogger({ level: 'silent' }),
    snapCount: 10,
    random: () => 0,
    isAtRest: () => true,
    onDone: () => undefined,
    onTrim: () => undefined,
    onFatal: (error) => assert.fail(String(error)),
  })
  assert.equal(again.zxid, 5)
  await server.apply(create2())
  again.applied(4)
  await pumped(server.clock, again.finish())
  assert.deepEqual([again.zxid, server.logDisk.log.trimmedTo], [6, 0])
  await server.apply(create2())
  again.applied(1)
  await pumped(server.clock, again.finish())
  assert.deepEqual([again.zxid, server.logDisk.log.trimmedTo], [7, 5])
})

test('a log that can not be trimmed is a warning, and the checkpoint stands', async () => {
  const server = new Server(10)
  await server.busy(5)
  await server.apply(create2())
  server.logDisk.faults.failNext('io')
  server.checkpointer.applied(10)
  await server.quiet()
  assert.equal(server.checkpointer.zxid, 6)
  assert.equal(server.logDisk.log.trimmedTo, 0)
  assert.equal(
    server.levels().at(-1),
    'warn: the log could not be trimmed; it keeps growing until the next checkpoint',
  )
  assert.deepEqual(server.fatal, [])
})

test('a checkpoint that fails is told, and tried again on its own after five seconds, standing alone', async () => {
  const server = new Server(1000)
  await server.run(create2(), create('/a', 'first'), create('/gone'))
  server.checkpointer.applied(1000)
  await server.quiet()
  const first = server.checkpointer.zxid
  await server.run(setData('/a', 'second'))
  server.disk.faults.failNext('full')
  server.checkpointer.applied(1000)
  await server.quiet()
  assert.equal(server.checkpointer.zxid, first)
  assert.match(server.lines.at(-1)?.msg ?? '', /^checkpoint failed, will be tried again/)
  assert.equal(server.logDisk.log.trimmedTo, 0)

  // There is room again at once, but the next attempt has its time.
  server.disk.faults.repair()
  server.clock.advance(retryMs - 1)
  await server.run(remove('/gone'))
  await server.quiet()
  assert.equal(server.replaced.length, 2)
  server.clock.advance(1)
  await server.run(create('/new'))
  await server.quiet()
  assert.deepEqual(server.replaced, [false, false, true])
  assert.equal(server.checkpointer.zxid, server.tree.zxid)
  assertSameState(
    stateOfTree(await server.stored()),
    stateOfTree(server.tree),
    'the checkpoint that stands alone',
  )

  await server.run(setData('/a', 'third'))
  await pumped(server.clock, server.checkpointer.finish())
  assert.deepEqual(server.replaced, [false, false, true, false])
  assertSameState(stateOfTree(await server.stored()), stateOfTree(server.tree), 'the one after it')
})

test('in calm a checkpoint that failed is tried again, too', async () => {
  const server = new Server(1000)
  server.atRest = true
  await server.run(create2(), create('/a'))
  server.disk.faults.failNext('full')
  server.checkpointer.applied(1000)
  await server.quiet()
  assert.equal(server.checkpointer.zxid, 0)
  server.disk.faults.repair()
  await calm(server)
  assert.equal(server.checkpointer.zxid, server.tree.zxid)
})

test('while the disk stays full nothing is lost, however many attempts fail', async () => {
  const server = new Server(1000)
  await server.run(create2(), create('/a', 'first'))
  server.checkpointer.applied(1000)
  await server.quiet()
  server.disk.faults.failNext('full')
  for (let i = 0; i < 4; i++) {
    await server.run(create(`/n${i}`), setData('/a', String(i)))
    server.checkpointer.applied(1000)
    await server.quiet()
    server.clock.advance(retryMs)
  }
  assert.equal(server.lines.filter(({ level }) => level === 'error').length, 4)
  assert.equal(server.checkpointer.zxid, 2)
  assertSameState(
    stateOfTree(await server.stored()).slice(0, 1),
    ["/ '' world:anyone:31 persistent 0 0 0 2 0 0 0 1 0 [/a /zookeeper]"],
    'the old checkpoint is still there',
  )
  server.disk.faults.repair()
  await server.run(remove('/n0'))
  await server.quiet()
  assert.equal(server.checkpointer.zxid, server.tree.zxid)
  assertSameState(stateOfTree(await server.stored()), stateOfTree(server.tree), 'after the repair')
})

test('a failure before anything was taken leaves the next checkpoint an incremental one', async () => {
  let refuse = false
  const server = new Server(1000, 0, (inner) => ({
    ...bound(inner),
    get meta() {
      return inner.meta
    },
    reopen: () => {
      if (refuse) server.disk.faults.failNext('io')
      return refuse
        ? server.disk.checkpoint.commit({ zxid: 0, nodes: 0, digestHigh: 0, digestLow: 0, state: null })
        : inner.reopen()
    },
  }))
  await server.run(create2(), create('/a', 'first'))
  server.checkpointer.applied(1000)
  await server.quiet()
  refuse = true
  await server.run(create('/b'))
  server.checkpointer.applied(1000)
  await server.quiet()
  assert.equal(server.lines.at(-1)?.level, 'error')
  refuse = false
  server.disk.faults.repair()
  server.clock.advance(retryMs)
  await server.run(setData('/a', 'second'))
  await server.quiet()
  assert.deepEqual(server.replaced, [false, false])
  assertSameState(stateOfTree(await server.stored()), stateOfTree(server.tree), 'after the repair')
})

test('the last checkpoint waits for the one under way, and is made only if anything has changed', async () => {
  const server = new Server(10)
  await pumped(server.clock, server.checkpointer.finish())
  assert.equal(server.replaced.length, 0, 'nothing was ever applied')
  await server.run(create2(), create('/a'))
  server.disk.faults.hold()
  server.checkpointer.applied(10)
  await server.quiet()
  await server.run(create('/b'))
  const finished = server.checkpointer.finish()
  await server.quiet()
  assert.equal(server.checkpointer.zxid, 0)
  await server.disk.faults.release()
  await pumped(server.clock, finished)
  assert.equal(server.checkpointer.zxid, 3)
  assert.equal(server.replaced.length, 2)
  await pumped(server.clock, server.checkpointer.finish())
  assert.equal(server.replaced.length, 2)
})

test('the last checkpoint of a full disk fails without an error of its own', async () => {
  const server = new Server(10)
  await server.run(create2())
  server.disk.faults.failNext('full')
  await pumped(server.clock, server.checkpointer.finish())
  assert.equal(server.checkpointer.zxid, 0)
  assert.deepEqual(server.fatal, [])
})

test('a broken invariant is fatal and no failure of the disk', async () => {
  const server = new Server(10, 0, (inner) => ({
    ...bound(inner),
    get meta() {
      return inner.meta
    },
    begin: () => {
      throw new TypeError('broken')
    },
  }))
  await server.run(create2())
  await pumped(server.clock, server.checkpointer.finish())
  assert.equal(server.fatal.length, 1)
  assert.ok(server.fatal[0] instanceof TypeError)
})

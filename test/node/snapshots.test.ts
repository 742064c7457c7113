// A checkpoint on its way from one server's disk to another's: complete or not at all, whatever comes in between.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createLogger } from '../../src/base/log.ts'
import { Checkpointer } from '../../src/node/checkpointer.ts'
import { Journal } from '../../src/node/journal.ts'
import { SnapshotReceiver, SnapshotSender } from '../../src/node/snapshots.ts'
import type { PeerMessage, SnapshotEnd, SnapshotPart } from '../../src/peers/messages.ts'
import type { Peers } from '../../src/peers/types.ts'
import { type Storage, StorageError } from '../../src/storage/types.ts'
import { Applier } from '../../src/tree/apply.ts'
import { Tree } from '../../src/tree/tree.ts'
import type { VotingAt } from '../../src/zab/types.ts'
import { memoryStorage } from '../support/disk-memory.ts'
import { overriding } from '../support/in-process.ts'
import { FakeClock, settled } from '../support/tree-clock.ts'
import { assertSameState, checkTree, stateOfTree } from '../support/tree-state.ts'
import { batchOf, create } from '../support/tree-transactions.ts'

const session = 99
const voting: VotingAt = { zxid: 3, voting: { voters: [1, 2, 3], groups: [], weights: [] } }

/** What a server has of the parts of which this is a test. */
class Server {
  readonly clock = new FakeClock()
  readonly storage: Storage
  readonly tree = new Tree()
  readonly lines: string[] = []
  readonly logger = createLogger({
    level: 'debug',
    pretty: false,
    destination: { write: (line) => this.lines.push((JSON.parse(line) as { msg: string }).msg) },
  })
  readonly trimmed: number[] = []
  readonly checkpointer: Checkpointer
  readonly #applier: Applier

  constructor(wrap: (storage: Storage) => Storage = (storage) => storage) {
    this.storage = wrap(memoryStorage())
    this.tree.initialize()
    this.#applier = new Applier(this.tree)
    const { storage, clock, tree, logger } = this
    this.checkpointer = new Checkpointer({
      tree,
      log: storage.log,
      store: storage.checkpoint,
      clock,
      logger,
      snapCount: 1_000_000,
      random: () => 0,
      isAtRest: () => true,
      onDone: () => undefined,
      onTrim: (zxid) => this.trimmed.push(zxid),
      onFatal: (error) => assert.fail(String(error)),
    })
  }

  /** Applies `count` transactions more, logged. */
  async write(count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      const prev = this.tree.zxid
      const request =
        prev === 0
          ? ({ type: 'createSession', timeout: 4000 } as const)
          : create(`/n${prev}`, 'x'.repeat(1000))
      const batch = batchOf([{ session: 5, ids: [], request }], 1000)
      await this.storage.log.append([{ prev, first: prev + 1, last: prev + 1, bytes: batch.encode() }])
      this.#applier.apply(batch, 0, prev + 1, false)
      assert.equal(this.#applier.err, 0)
    }
  }
}

/** A leader that sends to server 2; what it sends is kept. */
class Sending extends Server {
  readonly sent: PeerMessage[] = []
  /** While it is set, nothing drains. */
  jam: Promise<void> | undefined
  readonly sender: SnapshotSender

  constructor(wrap?: (storage: Storage) => Storage) {
    super(wrap)
    const peers: Partial<Peers> = {
      send: (to, message) => {
        assert.equal(to, 2)
        this.sent.push(message)
      },
      flush: () => undefined,
      drained: async () => await this.jam,
    }
    const { storage, checkpointer, clock, logger } = this
    this.sender = new SnapshotSender({
      storage,
      checkpointer,
      peers: peers as Peers,
      clock,
      logger,
      votingAt: (zxid) => (zxid >= voting.zxid ? voting : undefined),
    })
  }
}

class Receiving extends Server {
  readonly journal: Journal
  readonly receiver: SnapshotReceiver
  installed: { tree: Tree; voting: VotingAt | undefined } | undefined
  aborted = 0
  readonly failures: unknown[] = []

  constructor(wrap?: (storage: Storage) => Storage) {
    super(wrap)
    const { storage, clock, checkpointer, logger } = this
    this.journal = new Journal({
      log: storage.log,
      clock,
      onDurable: () => undefined,
      onTruncated: () => undefined,
      onFailure: (error) => this.failures.push(error),
    })
    this.receiver = new SnapshotReceiver({
      storage,
      journal: this.journal,
      checkpointer,
      clock,
      logger,
      onInstalled: (tree, at) => {
        this.installed = { tree, voting: at }
      },
      onAborted: () => {
        this.aborted++
      },
    })
  }

  take(messages: readonly PeerMessage[], from = 1): void {
    for (const message of messages)
      if (message.type === 'snapshotPart' || message.type === 'snapshotEnd')
        this.receiver.received(from, message)
  }
}

/** Turns, with what is to be done soon in between. */
async function quiet(...servers: Server[]): Promise<void> {
  for (let i = 0; i < 100; i++) {
    await settled()
    for (const { clock } of servers) clock.runSoon()
  }
}

/** A leader that has sent a snapshot of 300 transactions. */
async function sentSnapshot(): Promise<{ leader: Sending; parts: SnapshotPart[]; end: SnapshotEnd }> {
  const leader = new Sending()
  await leader.write(300)
  leader.sender.send(2, session, 250)
  await quiet(leader)
  const parts = leader.sent.filter((message) => message.type === 'snapshotPart')
  const end = leader.sent.find((message) => message.type === 'snapshotEnd')
  assert.ok(end !== undefined)
  assert.ok(parts.length > 2)
  return { leader, parts, end }
}

test('what arrives is the state of the sender, on disk and in memory, in the place of what was there', async () => {
  const { leader, end } = await sentSnapshot()
  assert.deepEqual([end.meta.zxid, end.voting], [300, voting])
  const learner = new Receiving()
  await learner.write(20)
  learner.receiver.begin(1, session)
  learner.take(leader.sent)
  await quiet(learner)
  assert.ok(learner.installed !== undefined)
  assertSameState(stateOfTree(learner.installed.tree), stateOfTree(leader.tree), 'installed')
  checkTree(learner.installed.tree)
  assert.deepEqual(learner.installed.voting, voting)
  const { log, checkpoint } = learner.storage
  assert.deepEqual(
    [log.lastZxid, log.trimmedTo, checkpoint.meta?.zxid, learner.checkpointer.zxid],
    [300, 300, 300, 300],
  )
  assert.deepEqual([learner.aborted, learner.failures], [0, []])
})

test('a checkpoint that is new enough is sent as it is, an older one is made anew', async () => {
  const { leader } = await sentSnapshot()
  await leader.write(10)
  leader.sent.length = 0
  leader.sender.send(2, session + 1, 300)
  await quiet(leader)
  const zxids = () =>
    leader.sent.flatMap((message) => (message.type === 'snapshotEnd' ? [message.meta.zxid] : []))
  assert.deepEqual(zxids(), [300])
  leader.sender.send(2, session + 2, 305)
  await quiet(leader)
  assert.deepEqual(zxids(), [300, 310])
})

test('the log is kept while a learner has not installed what it was sent', async () => {
  const { leader } = await sentSnapshot()
  const checkpoint = async () => {
    await leader.write(10)
    // As much as the log keeps for those who lag: what was before the last checkpoint may go.
    leader.checkpointer.applied(10, 32 << 20)
    const made = leader.checkpointer.ensure(leader.tree.zxid)
    await quiet(leader)
    assert.equal(await made, true)
  }
  assert.equal(leader.sender.sends(2), true)
  await checkpoint()
  await checkpoint()
  assert.deepEqual(leader.trimmed, [])
  leader.sender.end(2)
  leader.sender.end(2)
  assert.equal(leader.sender.sends(2), false)
  await checkpoint()
  await checkpoint()
  assert.ok(leader.trimmed.length > 0)
})

test('nothing more is sent to a learner that is gone, or has begun anew', async () => {
  const leader = new Sending()
  await leader.write(300)
  let go = () => {}
  leader.jam = new Promise((resolve) => {
    go = resolve
  })
  leader.sender.send(2, session, 1)
  await quiet(leader)
  assert.equal(leader.sent.length, 1)
  leader.sender.send(2, session + 1, 1)
  await quiet(leader)
  assert.equal(leader.sent.length, 2)
  go()
  leader.jam = undefined
  await quiet(leader)
  const rest = leader.sent.slice(2)
  assert.ok(
    rest.length > 1 && rest.every((message) => 'session' in message && message.session === session + 1),
  )
  assert.equal(leader.sent.at(-1)?.type, 'snapshotEnd')
  leader.sender.send(2, session + 2, 1)
  leader.sender.endAll()
  const before = leader.sent.length
  await quiet(leader)
  assert.equal(leader.sent.length, before)
})

test('a learner is told when its snapshot can not be sent', async () => {
  const leader = new Sending((storage) => ({
    ...storage,
    checkpoint: overriding(storage.checkpoint, {
      reader: () =>
        overriding(storage.checkpoint.reader(), {
          next: () => Promise.reject(new StorageError('io', 'disk', 'broken', 'none')),
        }),
    }),
  }))
  await leader.write(10)
  leader.sender.send(2, session, 1)
  await quiet(leader)
  assert.deepEqual(leader.sent, [{ type: 'snapshotFailed', session }])
  assert.equal(leader.sender.sends(2), false)
})

test('parts of another server or another session are not taken for those awaited', async () => {
  const { parts, end } = await sentSnapshot()
  const learner = new Receiving()
  await learner.write(20)
  learner.take([parts[0]!])
  learner.receiver.begin(1, session)
  learner.take([...parts, end], 3)
  learner.take([...parts, end].map((message) => ({ ...message, session: session + 1 })))
  await quiet(learner)
  assert.deepEqual([learner.installed, learner.aborted], [undefined, 0])
  learner.take([...parts, end])
  await quiet(learner)
  assert.equal(learner.installed?.tree.zxid, 300)
})

for (const [what, change] of [
  ['a part is missing', (parts: SnapshotPart[]) => parts.toSpliced(1, 1)],
  ['a part comes twice', (parts: SnapshotPart[]) => parts.toSpliced(1, 0, parts[1]!)],
  [
    'a byte is another one',
    (parts: SnapshotPart[]) =>
      parts.map((part, i) => {
        const values = part.values.map((value) => Buffer.from(value))
        if (i === 1) values[0]![values[0]!.length - 1]! ^= 1
        return { ...part, values }
      }),
  ],
] as const) {
  test(`when ${what} nothing is installed, and what was there stays`, async () => {
    const { parts, end } = await sentSnapshot()
    const learner = new Receiving()
    await learner.write(20)
    learner.receiver.begin(1, session)
    learner.take([...change(parts), end])
    await quiet(learner)
    assert.deepEqual([learner.installed, learner.aborted], [undefined, 1])
    assert.ok(learner.lines.includes('the snapshot from the leader is no good'))
    assert.deepEqual([learner.storage.log.lastZxid, learner.storage.checkpoint.meta], [20, undefined])
    learner.receiver.begin(1, session + 1)
    learner.take([...parts, end].map((message) => ({ ...message, session: session + 1 })))
    await quiet(learner)
    assert.equal(learner.installed?.tree.zxid, 300)
  })
}

test('it can be given up until it is being installed, and then not any more', async () => {
  const { parts, end } = await sentSnapshot()
  let go = () => {}
  const held = new Promise<void>((resolve) => {
    go = resolve
  })
  const learner = new Receiving((storage) => ({
    ...storage,
    install: async (...args) => {
      await held
      await storage.install(...args)
    },
  }))
  await learner.write(20)
  learner.receiver.begin(1, session)
  learner.take(parts.slice(0, 2))
  await quiet(learner)
  learner.receiver.abort(session + 1)
  assert.equal(learner.aborted, 0)
  learner.receiver.abort()
  learner.receiver.abort()
  await quiet(learner)
  learner.take([...parts, end])
  await quiet(learner)
  assert.deepEqual([learner.aborted, learner.installed], [1, undefined])

  learner.receiver.begin(1, session)
  learner.take([...parts, end])
  await quiet(learner)
  learner.receiver.abort()
  go()
  await quiet(learner)
  assert.deepEqual([learner.aborted, learner.installed?.tree.zxid], [1, 300])
})

test('no checkpoint of its own is made while one comes, and one that is being made is waited for', async () => {
  const { parts, end } = await sentSnapshot()
  const learner = new Receiving()
  await learner.write(20)
  const own = learner.checkpointer.ensure(20)
  await settled()
  learner.receiver.begin(1, session)
  learner.take(parts)
  await quiet(learner)
  assert.equal(await own, true)
  assert.equal(await learner.checkpointer.ensure(21), false)
  learner.take([end])
  await quiet(learner)
  assert.equal(learner.checkpointer.zxid, 300)
})

test('a reset forgets what was on its way, and says whether it may be there', async () => {
  const { parts, end } = await sentSnapshot()
  const learner = new Receiving((storage) => ({
    ...storage,
    install: () => Promise.reject(new StorageError('io', 'disk', 'broken', 'none')),
  }))
  assert.equal(learner.receiver.reset(), false)
  learner.receiver.begin(1, session)
  learner.take(parts)
  await quiet(learner)
  assert.equal(learner.receiver.reset(), false)
  learner.receiver.begin(1, session)
  learner.take([...parts, end])
  await quiet(learner)
  assert.equal(learner.failures.length, 1)
  assert.equal(learner.receiver.reset(), true)
  assert.equal(learner.receiver.reset(), false)
  assert.deepEqual([learner.installed, learner.aborted], [undefined, 0])
})

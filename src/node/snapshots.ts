// Snapshots between servers: the leader streams its newest checkpoint to a learner that the log can not help, and the
// learner puts it in the place of its own checkpoint, log and state, all or nothing. When, and between whom, is the
// consensus core's decision.
import { assert } from '../base/assert.ts'
import type { Logger } from '../base/log.ts'
import { formatZxid } from '../base/zxid.ts'
import type { PeerMessage, SnapshotEnd, SnapshotPart } from '../peers/messages.ts'
import type { Peers } from '../peers/types.ts'
import type { CheckpointSink, Storage } from '../storage/types.ts'
import { ImageReader, type ImageState } from '../tree/image.ts'
import { Tree } from '../tree/tree.ts'
import type { VotingAt } from '../zab/types.ts'
import type { Checkpointer } from './checkpointer.ts'
import type { Clock } from './clock.ts'
import type { Journal } from './journal.ts'

export type SenderOptions = {
  readonly storage: Storage
  readonly checkpointer: Checkpointer
  readonly peers: Peers
  readonly clock: Clock
  readonly logger: Logger
  /** The newest reconfiguration at or before `zxid`. */
  readonly votingAt: (zxid: number) => VotingAt | undefined
}

/** The leader's side. */
export class SnapshotSender {
  readonly #options: SenderOptions
  /** Session of the transfer to each learner. */
  readonly #transfers = new Map<number, number>()

  constructor(options: SenderOptions) {
    this.#options = options
  }

  /** Sends a checkpoint of at least `atLeast`, which must be applied. To be called where an entry ends. */
  send(to: number, session: number, atLeast: number): void {
    const { checkpointer, logger, peers } = this.#options
    this.end(to)
    this.#transfers.set(to, session)
    // The learner goes on from where the checkpoint ends: until it has come so far the log must reach back there.
    checkpointer.hold()
    this.#send(to, session, atLeast).catch((error: unknown) => {
      logger.error({ err: error, server: to }, 'a snapshot could not be sent')
      if (!this.#isCurrent(to, session)) return
      peers.send(to, { type: 'snapshotFailed', session })
      peers.flush()
      this.end(to)
    })
  }

  /** A transfer to this learner is under way, or it installs what it got. */
  sends(to: number): boolean {
    return this.#transfers.has(to)
  }

  /** The learner has installed it, or is gone. */
  end(to: number): void {
    if (this.#transfers.delete(to)) this.#options.checkpointer.release()
  }

  /** Nothing more is sent to anybody. */
  endAll(): void {
    for (const to of [...this.#transfers.keys()]) this.end(to)
  }

  #isCurrent(to: number, session: number): boolean {
    return this.#transfers.get(to) === session
  }

  async #send(to: number, session: number, atLeast: number): Promise<void> {
    const { storage, checkpointer, peers, clock, logger, votingAt } = this.#options
    const began = clock.now()
    if (!(await checkpointer.ensure(atLeast)))
      throw new Error(`there is no checkpoint of ${formatZxid(atLeast)}`)
    if (!this.#isCurrent(to, session)) return
    const reader = storage.checkpoint.reader()
    try {
      let records = 0
      let bytes = 0
      for (;;) {
        const part = await reader.next()
        if (!this.#isCurrent(to, session)) return
        if (part.length === 0) break
        records += part.length
        for (const [key, value] of part) bytes += key.length + value.length
        const message: PeerMessage = {
          type: 'snapshotPart',
          session,
          keys: part.map(([key]) => key),
          values: part.map(([, value]) => value),
        }
        peers.send(to, message)
        peers.flush()
        await peers.drained(to)
        if (!this.#isCurrent(to, session)) return
      }
      const { meta } = reader
      peers.send(to, { type: 'snapshotEnd', session, meta, voting: votingAt(meta.zxid) })
      peers.flush()
      logger.info(
        { server: to, zxid: formatZxid(meta.zxid), records, bytes, ms: Math.round(clock.now() - began) },
        'snapshot sent',
      )
    } finally {
      await reader.close()
    }
  }
}

export type ReceiverOptions = {
  readonly storage: Storage
  readonly journal: Journal
  readonly checkpointer: Checkpointer
  readonly clock: Clock
  readonly logger: Logger
  /** It is durable, and `tree` is its content. */
  readonly onInstalled: (tree: Tree, voting: VotingAt | undefined) => void
  readonly onAborted: () => void
}

/** A snapshot on its way in. */
type Incoming = {
  readonly from: number
  readonly session: number
  readonly began: number
  readonly tree: Tree
  readonly reader: ImageReader
  /** Undefined until no checkpoint of this server's own is being made. */
  sink: CheckpointSink | undefined
  /** Messages that came before, and those that wait for the disk. */
  readonly queue: (SnapshotPart | SnapshotEnd)[]
  working: boolean
  /** From here on it can not be taken back. */
  installing: boolean
  aborted: boolean
}

/** The learner's side. */
export class SnapshotReceiver {
  readonly #options: ReceiverOptions
  #incoming: Incoming | undefined

  constructor(options: ReceiverOptions) {
    this.#options = options
  }

  /** A snapshot comes from this leader. */
  begin(from: number, session: number): void {
    assert(this.#incoming === undefined, 'two snapshots at a time')
    const tree = new Tree()
    const incoming: Incoming = {
      from,
      session,
      began: this.#options.clock.now(),
      tree,
      reader: new ImageReader(tree),
      sink: undefined,
      queue: [],
      working: false,
      installing: false,
      aborted: false,
    }
    this.#incoming = incoming
    this.#options.logger.info({ server: from }, 'receiving a snapshot from the leader')
    this.#work(incoming)
  }

  /** Parts of others than the one awaited are dropped. */
  received(from: number, message: SnapshotPart | SnapshotEnd): void {
    const incoming = this.#incoming
    if (incoming?.from !== from || incoming.session !== message.session || incoming.aborted) return
    incoming.queue.push(message)
    this.#work(incoming)
  }

  /** Gives it up, unless it is being installed already; `onAborted` follows. With `session` only that one. */
  abort(session = this.#incoming?.session): void {
    const incoming = this.#incoming
    if (incoming === undefined || incoming.session !== session || incoming.installing || incoming.aborted)
      return
    incoming.aborted = true
    if (!incoming.working) this.#finishAbort(incoming)
  }

  /** Forgets everything: the stores are opened anew. True if a snapshot was being installed: it may be there or not. */
  reset(): boolean {
    const installing = this.#incoming?.installing === true
    this.#incoming = undefined
    this.#options.storage.checkpoint.abort()
    this.#options.checkpointer.resume()
    return installing
  }

  #work(incoming: Incoming): void {
    if (incoming.working) return
    incoming.working = true
    this.#drain(incoming)
      .catch((error: unknown) => {
        this.#options.logger.error({ err: error }, 'the snapshot from the leader is no good')
        incoming.aborted = true
      })
      .finally(() => {
        incoming.working = false
        if (incoming.aborted) this.#finishAbort(incoming)
      })
  }

  async #drain(incoming: Incoming): Promise<void> {
    const { storage, checkpointer } = this.#options
    if (incoming.sink === undefined) {
      await checkpointer.pause()
      if (incoming.aborted) return
      await storage.checkpoint.reopen()
      incoming.sink = storage.checkpoint.begin({ replace: true })
    }
    for (let message = incoming.queue.shift(); message !== undefined; message = incoming.queue.shift()) {
      if (incoming.aborted) return
      if (message.type === 'snapshotPart') await this.#take(incoming, incoming.sink, message)
      else this.#complete(incoming, message)
    }
  }

  async #take(incoming: Incoming, sink: CheckpointSink, { keys, values }: SnapshotPart): Promise<void> {
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i] as Uint8Array
      const value = values[i] as Uint8Array
      incoming.reader.record(key, value)
      sink.put(key, value)
    }
    await sink.drained()
  }

  /** All of it is there and proven good by its digest: now it replaces what was here. */
  #complete(incoming: Incoming, { meta, voting }: SnapshotEnd): void {
    const { storage, journal, checkpointer, clock, logger, onInstalled } = this.#options
    incoming.reader.finish(meta, meta.state as ImageState, meta.zxid)
    incoming.installing = true
    journal.task(async () => {
      await storage.install(meta, voting)
      if (this.#incoming !== incoming) return
      this.#incoming = undefined
      checkpointer.replaced()
      checkpointer.resume()
      logger.info(
        { zxid: formatZxid(meta.zxid), znodes: meta.nodes, ms: Math.round(clock.now() - incoming.began) },
        'snapshot installed',
      )
      onInstalled(incoming.tree, voting)
    })
  }

  #finishAbort(incoming: Incoming): void {
    if (this.#incoming !== incoming || incoming.installing) return
    this.#incoming = undefined
    if (incoming.sink !== undefined) this.#options.storage.checkpoint.abort()
    this.#options.checkpointer.resume()
    this.#options.onAborted()
  }
}

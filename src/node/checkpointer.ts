// Makes checkpoints beside the work of the server: decides when, encodes in slices between requests, and trims the
// log behind the one before. A failure is told and tried again; it never stops the server, the log holds everything.
import type { Logger } from '../base/log.ts'
import { formatZxid } from '../base/zxid.ts'
import { type CheckpointSink, type CheckpointStore, type LogStore, StorageError } from '../storage/types.ts'
import { type ImageState, ImageWriter } from '../tree/image.ts'
import type { Tree } from '../tree/tree.ts'
import type { Clock } from './clock.ts'

/** Bytes of changes after which a checkpoint is made however few transactions they were: bounds the batch. */
const dirtyBytesMax = 32 << 20
/** Bytes of transactions after which a checkpoint is made: bounds what a start has to replay, and the log. */
const logBytesMax = 256 << 20
/** How long one slice of encoding may keep requests waiting. */
const sliceMs = 1
const sliceNodes = 64
/** After a failure the next attempt comes not before this. */
const retryMs = 5000

export type CheckpointerOptions = {
  readonly tree: Tree
  readonly log: LogStore
  readonly store: CheckpointStore
  readonly clock: Clock
  readonly logger: Logger
  /** snapCount: about so many transactions between two checkpoints. */
  readonly snapCount: number
  /** Draws a number in [0, 1): servers of an ensemble should not all make their checkpoints at once. */
  readonly random: () => number
  /** Told how long a checkpoint took. */
  readonly onDone: (ms: number) => void
  /** The log is about to forget entries up to this zxid. */
  readonly onTrim: (zxid: number) => void
  /** Told of a broken invariant. */
  readonly onFatal: (error: unknown) => void
}

/** See file header. */
export class Checkpointer {
  readonly #options: CheckpointerOptions
  #since = 0
  #logBytes = 0
  #threshold: number
  #running: Promise<void> | undefined
  #notBefore = 0
  #previous: number
  #standalone = false
  #paused = false
  /** Who needs the log as far back as it goes now. */
  #holds = 0

  constructor(options: CheckpointerOptions) {
    this.#options = options
    this.#threshold = this.#nextThreshold()
    this.#previous = options.store.meta?.zxid ?? 0
  }

  /** zxid of the newest checkpoint; 0 if there is none. */
  get zxid(): number {
    return this.#options.store.meta?.zxid ?? 0
  }

  #nextThreshold(): number {
    const half = Math.max(1, Math.floor(this.#options.snapCount / 2))
    return half + Math.floor(this.#options.random() * half)
  }

  /**
   * `count` more transactions, `bytes` of log, are applied: begins a checkpoint if it is time. Only where an entry ends:
   * a checkpoint inside of one could not be told from a hole in the log.
   */
  applied(count: number, bytes = 0): void {
    this.#since += count
    this.#logBytes += bytes
    const due =
      this.#since >= this.#threshold ||
      this.#logBytes >= logBytesMax ||
      this.#options.tree.dirtyBytes >= dirtyBytesMax
    if (!due || this.#running !== undefined || this.#paused || this.#options.clock.now() < this.#notBefore)
      return
    this.#begin()
  }

  /**
   * Sees to a checkpoint of at least `zxid`, which must be applied; resolves with whether there is one. To be called
   * where an entry ends. Never rejects.
   */
  async ensure(zxid: number): Promise<boolean> {
    await this.#running
    if (this.zxid < zxid && !this.#paused) {
      if (this.#running === undefined) this.#begin()
      await this.#running
    }
    return this.zxid >= zxid
  }

  /** Makes no checkpoints until `resume`; resolves when none is under way. */
  async pause(): Promise<void> {
    this.#paused = true
    await this.#running
  }

  resume(): void {
    this.#paused = false
  }

  /** The log is not trimmed until as many calls of `release`. */
  hold(): void {
    this.#holds++
  }

  release(): void {
    this.#holds--
  }

  /** The store has a new checkpoint that was not made here. */
  replaced(): void {
    this.#since = 0
    this.#logBytes = 0
    this.#previous = this.zxid
    this.#standalone = false
  }

  #begin(): void {
    this.#running = this.#make().finally(() => {
      this.#running = undefined
    })
  }

  /** Waits for a checkpoint under way, and makes a last one if anything changed since. Never rejects. */
  async finish(): Promise<void> {
    await this.#running
    if (this.#options.tree.zxid !== this.zxid && this.#options.tree.zxid > 0) await this.#make()
  }

  /** Never rejects. */
  async #make(): Promise<void> {
    const { tree, store, clock, logger, onFatal } = this.#options
    const began = clock.now()
    let image: ImageWriter | undefined
    try {
      await store.reopen()
      // After a failure it is not known what the store has: then this one stands alone, and has all of the tree.
      const sink = store.begin({ replace: this.#standalone })
      const zxid = tree.zxid
      this.#since = 0
      this.#logBytes = 0
      this.#threshold = this.#nextThreshold()
      image = new ImageWriter(tree, sink)
      await this.#encode(image, sink)
      const state: ImageState = image.state
      const bytes = sink.bytes
      await store.commit({ zxid, ...image.totals, state })
      image.done()
      this.#standalone = false
      const ms = clock.now() - began
      this.#options.onDone(ms)
      logger.info({ zxid: formatZxid(zxid), bytes, ms: Math.round(ms) }, 'checkpoint written')
    } catch (error) {
      store.abort()
      if (!(error instanceof StorageError)) {
        onFatal(error)
        return
      }
      if (image !== undefined) {
        image.failed()
        this.#standalone = true
      }
      // Due again at once, not after as many transactions as between two good ones.
      this.#since = this.#threshold
      this.#notBefore = clock.now() + retryMs
      logger.error(
        { err: error, path: error.path },
        `checkpoint failed, will be tried again: ${error.remedy}`,
      )
      return
    }
    await this.#trim()
  }

  /** The log keeps what came after the checkpoint before this one, so that servers that lag can follow from it. */
  async #trim(): Promise<void> {
    if (this.#holds > 0) return
    const upTo = this.#previous
    this.#previous = this.zxid
    if (upTo === 0) return
    this.#options.onTrim(upTo)
    try {
      await this.#options.log.trim(upTo)
    } catch (error) {
      if (!(error instanceof StorageError)) {
        this.#options.onFatal(error)
        return
      }
      this.#options.logger.warn(
        { err: error },
        'the log could not be trimmed; it keeps growing until the next checkpoint',
      )
    }
  }

  /** Slice by slice, with what else there is to do in between. */
  async #encode(image: ImageWriter, sink: CheckpointSink): Promise<void> {
    const { clock } = this.#options
    for (let more = true; more; ) {
      const until = clock.now() + sliceMs
      do more = image.advance(sliceNodes)
      while (more && clock.now() < until)
      await sink.drained()
      if (more) await new Promise<void>((resolve) => clock.soon(resolve))
    }
  }
}

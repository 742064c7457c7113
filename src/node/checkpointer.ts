// Makes checkpoints beside the work of the server: decides when, encodes in slices between requests, and trims the
// log behind the one before. A failure is told and tried again; it never stops the server, the log holds everything.
import type { Logger } from '../base/log.ts'
import { formatZxid } from '../base/zxid.ts'
import { type CheckpointSink, type CheckpointStore, type LogStore, StorageError } from '../storage/types.ts'
import { type ImageState, ImageWriter } from '../tree/image.ts'
import type { Tree } from '../tree/tree.ts'
import type { Clock, Timer } from './clock.ts'

/** Bytes of changes after which a checkpoint is made however few transactions they were: bounds the batch. */
const dirtyBytesMax = 32 << 20
/** Bytes of transactions after which a checkpoint is made: bounds what a start has to replay, and the log. */
const logBytesMax = 256 << 20
/**
 * A start has to replay everything since the newest checkpoint. So one that has little to write for the time since the one before
 * comes sooner, after this part of the transactions or of their bytes, and not more often than every so many ms.
 */
const earlyPart = 1 / 50
const earlyMs = 1000
/** Little is a byte for so many that went into the log: few znodes are written again and again. */
const earlyLogBytes = 8
/** And 100 KB for each second: with 2 MB lone writes waited for checkpoints often enough to be seen in their 99th percentile. */
const earlyBytesPerMs = 100
/** Or there is whatever to write, and hardly anybody waits for it: there were no more than so many transactions in so many ms. */
const calmMs = 500
const calmTransactions = 10
/** So many bytes of log are enough for a server that was away, if transactions are few and large. */
const followBytes = 32 << 20
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
  /** Whether the tree stands where an entry ends, and is not about to be replaced. */
  readonly isAtRest: () => boolean
  /** Told how long a checkpoint took. */
  readonly onDone: (ms: number) => void
  /** The log is about to forget entries up to this zxid. */
  readonly onTrim: (zxid: number) => void
  /** Told of a broken invariant. */
  readonly onFatal: (error: unknown) => void
}

/** A checkpoint, and what this process had applied when it was made. */
type Made = { readonly zxid: number; readonly transactions: number; readonly bytes: number }

/** See file header. */
export class Checkpointer {
  readonly #options: CheckpointerOptions
  #since = 0
  #logBytes = 0
  #threshold: number
  #running: Promise<void> | undefined
  #notBefore = 0
  #beganAt: number
  /** What was applied in all. */
  #transactions = 0
  #bytes = 0
  /** Looks for calm, once enough was applied for an early checkpoint. */
  #look: Timer | undefined
  /** What was applied when it looked before. */
  #lookedAt = 0
  /** Checkpoints from which on the log is there, oldest first. */
  #made: readonly Made[]
  /** Where the log was trimmed to, if it was. */
  #trimmed: Made | undefined
  #standalone = false
  #paused = false
  /** Who needs the log as far back as it goes now. */
  #holds = 0

  constructor(options: CheckpointerOptions) {
    this.#options = options
    this.#threshold = this.#nextThreshold()
    this.#beganAt = options.clock.now()
    this.#made = [this.#madeNow(this.zxid)]
  }

  /** zxid of the newest checkpoint; 0 if there is none. */
  get zxid(): number {
    return this.#options.store.meta?.zxid ?? 0
  }

  #madeNow(zxid: number): Made {
    return { zxid, transactions: this.#transactions, bytes: this.#bytes }
  }

  /** Half of snapCount: the least between two checkpoints that are not early, and what the log keeps. */
  #half(): number {
    return Math.max(1, Math.floor(this.#options.snapCount / 2))
  }

  #nextThreshold(): number {
    return this.#half() + Math.floor(this.#options.random() * this.#half())
  }

  /**
   * `count` more transactions, `bytes` of log, are applied: begins a checkpoint if it is time. Only where an entry ends:
   * a checkpoint inside of one could not be told from a hole in the log.
   */
  applied(count: number, bytes = 0): void {
    this.#since += count
    this.#logBytes += bytes
    this.#transactions += count
    this.#bytes += bytes
    if (this.#isMuchSince()) this.#planLook()
    if (this.#isDue() && this.#mayBegin()) this.#begin()
  }

  #planLook(): void {
    if (this.#look !== undefined) return
    this.#lookedAt = this.#transactions
    this.#look = this.#options.clock.after(calmMs, () => {
      this.#look = undefined
      this.#lookForCalm()
    })
  }

  /** A server that has little to do begins a checkpoint. */
  #lookForCalm(): void {
    if (!this.#isMuchSince()) return
    const isCalm = this.#transactions - this.#lookedAt <= calmTransactions
    const isTime = this.#sinceBeganMs() >= earlyMs && this.#mayBegin()
    if (isCalm && isTime && this.#options.isAtRest()) this.#begin()
    else this.#planLook()
  }

  #mayBegin(): boolean {
    return this.#running === undefined && !this.#paused && this.#options.clock.now() >= this.#notBefore
  }

  #isDue(): boolean {
    const { dirtyBytes } = this.#options.tree
    if (this.#since >= this.#threshold || this.#logBytes >= logBytesMax || dirtyBytes >= dirtyBytesMax)
      return true
    if (!this.#isMuchSince()) return false
    const ms = this.#sinceBeganMs()
    return (
      ms >= earlyMs && (dirtyBytes * earlyLogBytes <= this.#logBytes || dirtyBytes <= ms * earlyBytesPerMs)
    )
  }

  /** There is enough to replay for an early checkpoint. */
  #isMuchSince(): boolean {
    return this.#since >= this.#threshold * earlyPart || this.#logBytes >= logBytesMax * earlyPart
  }

  /** Time since the newest checkpoint was begun, ms. */
  #sinceBeganMs(): number {
    return this.#options.clock.now() - this.#beganAt
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
    this.#made = [this.#madeNow(this.zxid)]
    this.#standalone = false
  }

  #begin(): void {
    this.#running = this.#make().finally(() => {
      this.#running = undefined
    })
  }

  /** Waits for a checkpoint under way, and makes a last one if anything changed since. Never rejects. */
  async finish(): Promise<void> {
    this.#look?.cancel()
    await this.#running
    if (this.#options.tree.zxid !== this.zxid && this.#options.tree.zxid > 0) await this.#make()
  }

  /** Never rejects. */
  async #make(): Promise<void> {
    const { tree, store, clock, logger, onFatal } = this.#options
    const began = clock.now()
    this.#beganAt = began
    let image: ImageWriter | undefined
    try {
      await store.reopen()
      // After a failure it is not known what the store has: then this one stands alone, and has all of the tree.
      const sink = store.begin({ replace: this.#standalone })
      const zxid = tree.zxid
      const made = this.#madeNow(zxid)
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
      this.#made = [...this.#made, made]
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

  /** The log keeps so much before the newest checkpoint that servers that lag can follow from it. */
  async #trim(): Promise<void> {
    if (this.#holds > 0) return
    const { log, onTrim } = this.#options
    const now = this.#madeNow(this.zxid)
    const upTo = this.#made.findLast((made) => this.#isMuch(made, now))
    if (upTo === undefined) return
    this.#made = this.#made.filter(({ zxid }) => zxid >= upTo.zxid)
    // Appends wait while the log notes where it begins: that is for more than one of many early checkpoints.
    if (upTo.zxid <= log.trimmedTo) return
    if (this.#trimmed !== undefined && !this.#isMuch(this.#trimmed, upTo)) return
    onTrim(upTo.zxid)
    try {
      await log.trim(upTo.zxid)
      this.#trimmed = upTo
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

  /** Whether what was applied between the two is as much as the log keeps for others. */
  #isMuch(from: Made, to: Made): boolean {
    return to.transactions - from.transactions >= this.#half() || to.bytes - from.bytes >= followBytes
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

// What a server does about a log that can not be written: it opens it again and again until it takes writes, and sees to it
// that the state in memory is then the one on disk. Knows nothing of roles and clients, which are let go before it begins, and
// takes no part in consensus: that begins anew on what the disk turns out to hold.
import type { Logger } from '../base/log.ts'
import { type Storage, StorageError } from '../storage/types.ts'
import { Tree } from '../tree/tree.ts'
import type { Checkpointer } from './checkpointer.ts'
import type { Clock, Timer } from './clock.ts'
import type { Journal } from './journal.ts'
import { loadTree } from './load.ts'
import type { Replica } from './replica.ts'
import type { SnapshotReceiver } from './snapshots.ts'

/** Between two attempts to get the disk to take writes again. */
const reopenMs = 1000
/** Between two lines about that. */
const diskLineMs = 60_000

export type RecoveryOptions = {
  readonly storage: Storage
  readonly dataDir: string
  readonly tree: Tree
  readonly journal: Pick<Journal, 'settled' | 'clear'>
  readonly replica: Pick<Replica, 'reset'>
  readonly checkpointer: Pick<Checkpointer, 'replaced'>
  readonly receiver: Pick<SnapshotReceiver, 'reset'>
  readonly clock: Clock
  readonly logger: Logger
  /** The tree has become the state on disk, which may be any other than before. */
  readonly onStateReplaced: () => void
  /** Log and state are one: consensus can begin. A StorageError that it rejects with is the disk's next failure. */
  readonly begin: () => Promise<void>
  /** No further attempt can help. */
  readonly onFatal: (error: unknown) => void
}

/** See file header. */
export class Recovery {
  readonly #options: RecoveryOptions
  /** Settles when consensus has begun, or was called off. */
  #recovering: Promise<void> | undefined
  #calledOff = false
  #retry: Timer | undefined
  #retryNow: () => void = () => undefined
  /** From a failure until `worked`. */
  #failing = false
  /** A snapshot was being installed when the disk failed: the state in memory may not be that on disk. */
  #stateInDoubt = false
  /** The state differs from the ensemble's; it is also marked in the log, unless the disk fails at that. */
  #stateIsWrong = false
  #lastReopen = Number.NEGATIVE_INFINITY
  /** The next failed attempt from this time on is worth a line. */
  #tellAt = 0

  constructor(options: RecoveryOptions) {
    this.#options = options
  }

  get underWay(): boolean {
    return this.#recovering !== undefined
  }

  /** A write to the log failed: operators hear of it once, until `worked`. */
  failed(error: StorageError): void {
    if (!this.#failing)
      this.#options.logger.error(
        { err: error, path: error.path },
        `the log can not be written, writes stop: ${error.remedy}`,
      )
    this.#failing = true
  }

  /** Consensus is over, and nobody writes to the log any more. */
  start(): void {
    this.#recovering = this.#recover().finally(() => {
      this.#recovering = undefined
    })
  }

  /** Writes go through. `fields` are those of the line about it, if it is news. */
  worked(fields: object): void {
    if (this.#failing) this.#options.logger.info(fields, 'the log takes writes again')
    this.#failing = false
    this.#tellAt = 0
  }

  /** No more attempts; resolves when none is under way. */
  async callOff(): Promise<void> {
    this.#calledOff = true
    this.#retry?.cancel()
    this.#retryNow()
    await this.#recovering
  }

  /** The state is not that of the ensemble: marks the log, and again if the disk fails at it. Rejects with StorageError. */
  stateIsWrong(): Promise<void> {
    this.#stateIsWrong = true
    return this.#options.storage.log.markDiverged()
  }

  /** A snapshot from the leader has taken the place of the state, in memory and on disk. */
  snapshotInstalled(): void {
    this.#stateIsWrong = false
  }

  /** Opens the log again and again until it works, then begins anew on what it holds. */
  async #recover(): Promise<void> {
    const { clock, onFatal } = this.#options
    for (;;) {
      const wait = this.#lastReopen + reopenMs - clock.now()
      if (wait > 0)
        await new Promise<void>((resolve) => {
          this.#retryNow = resolve
          this.#retry = clock.after(wait, resolve)
        })
      if (this.#calledOff) return
      this.#lastReopen = clock.now()
      try {
        await this.#reopen()
        return
      } catch (error) {
        if (!(error instanceof StorageError) || error.kind === 'corrupt') {
          onFatal(error)
          return
        }
        this.#tellOfAttempt(error)
      }
    }
  }

  async #reopen(): Promise<void> {
    const { storage, journal, replica, receiver, begin } = this.#options
    const { log } = storage
    await journal.settled()
    if (receiver.reset()) this.#stateInDoubt = true
    await log.reopen()
    journal.clear()
    if (this.#stateInDoubt) await this.#loadState()
    if (this.#stateIsWrong && !log.diverged) await log.markDiverged()
    replica.reset()
    await begin()
  }

  /** It failed in the middle of installing a snapshot. Zxids do not tell whose state the disk holds by now. */
  async #loadState(): Promise<void> {
    const { storage, dataDir, tree, checkpointer, clock, logger, onStateReplaced } = this.#options
    const loaded = new Tree()
    await loadTree(loaded, storage.checkpoint, dataDir, logger, clock)
    tree.adopt(loaded)
    checkpointer.replaced()
    onStateReplaced()
    this.#stateInDoubt = false
    if (!storage.log.diverged) this.#stateIsWrong = false
  }

  /** Attempts are many, lines are few. */
  #tellOfAttempt({ message }: StorageError): void {
    const { clock, logger } = this.#options
    const text = `the log still can not be written: ${message}`
    const now = clock.now()
    if (now < this.#tellAt) {
      logger.debug(text)
      return
    }
    this.#tellAt = now + diskLineMs
    logger.warn(text)
  }
}

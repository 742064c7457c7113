// The order of the writes to one place on disk, and its failed state. The first failed write poisons it: LevelDB would
// write on behind a torn record, and drop at the next start what it had acknowledged there.
import { InvariantError } from '../base/assert.ts'
import { toStorageError } from './errors.ts'
import type { StorageError } from './types.ts'

/** See file header. */
export class WriteGate {
  /** For errors. */
  readonly #path: string
  #failure: StorageError | undefined
  /** A write is under way; the next one waits for it, since LevelDB itself may reorder concurrent writes. */
  #writing = false
  readonly #waiting: (() => void)[] = []

  constructor(path: string) {
    this.#path = path
  }

  /** Why writes are refused; undefined while they are not. */
  get failure(): StorageError | undefined {
    return this.#failure
  }

  /**
   * Runs a write when all before it are done: within the call if there is none, so that the disk works while the caller goes
   * on. Rejects with the failure if there is one; becomes failed if it rejects.
   */
  write(doing: string, work: () => Promise<void>): Promise<void> {
    return this.inOrder(() => this.guard(doing, work))
  }

  /** Runs `work` when all writes before it are done, within the call if there is none, and lets no other begin. */
  async inOrder<T>(work: () => Promise<T>): Promise<T> {
    if (!this.enter()) await this.turn()
    try {
      return await work()
    } finally {
      this.leave()
    }
  }

  /** Runs a write out of order. Rejects with the failure if there is one; becomes failed if it rejects. */
  async guard<T>(doing: string, work: () => Promise<T>): Promise<T> {
    this.check()
    try {
      return await work()
    } catch (error) {
      throw this.failed(doing, error)
    }
  }

  // What `write` consists of, for a write that is made so often that its promises and closures would be felt.

  /** Lets no other write begin until `leave`; false if one is under way, and then it is to be waited for (`turn`). */
  enter(): boolean {
    if (this.#writing) return false
    this.#writing = true
    return true
  }

  /** Resolves when all writes before are done, and lets no other begin until `leave`. */
  turn(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  leave(): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#writing = false
    else next()
  }

  /** Throws the failure if there is one. */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure
  }

  /** A write has thrown `error`. Becomes failed, and gives what is to be thrown. */
  failed(doing: string, error: unknown): unknown {
    if (error instanceof InvariantError) return error
    this.#failure ??= toStorageError(error, this.#path, doing)
    return this.#failure
  }

  /** Runs a read; what it throws becomes a StorageError. */
  async read<T>(doing: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      if (error instanceof InvariantError) throw error
      throw toStorageError(error, this.#path, doing)
    }
  }

  /** Ends a failure if `work` succeeds, which sees that writing works again. Does nothing without one. */
  reopen(work: () => Promise<void>): Promise<void> {
    return this.inOrder(async () => {
      if (this.#failure === undefined) return
      try {
        await work()
      } catch (error) {
        if (error instanceof InvariantError) throw error
        this.#failure = toStorageError(error, this.#path, 'opening the database again')
        throw this.#failure
      }
      this.#failure = undefined
    })
  }
}

// The last resort: an error that nobody expected, or can do anything about, ends the node. What it guards does nothing any
// more from then on, as nobody knows what it left half done.
import { PeerFault } from '../peers/types.ts'

/** See file header. */
export class Guard {
  readonly #onFailed: (error: Error) => void
  #failed = false

  /** `onFailed` is told of the first error, once. */
  constructor(onFailed: (error: Error) => void) {
    this.#onFailed = onFailed
  }

  get failed(): boolean {
    return this.#failed
  }

  /** What every write passes through does the same without a closure. */
  run(action: () => void): void {
    if (this.#failed) return
    try {
      action()
    } catch (error) {
      this.caught(error)
    }
  }

  /** An error went up to where nothing else handles it. Throws it if it is another server's fault. */
  caught(error: unknown): void {
    if (error instanceof PeerFault) throw error
    this.fail(error)
  }

  fail(error: unknown): void {
    if (this.#failed) return
    this.#failed = true
    this.#onFailed(error instanceof Error ? error : new Error(String(error)))
  }
}

// The entries that a leader has proposed and that are not committed: how many may be on their way at a time, and how long
// each took.
import type { Clock } from './clock.ts'

/**
 * Entries on their way at a time. As a rule the next one goes when the one before is done: fewer and larger ones cost
 * less, and what waits meanwhile would only wait for the disks. Where the way is long, more of them hide it.
 */
const inFlightMax = 16
/** A way is long if an entry has not come to its end after this time, ms. */
const longWayMs = 5

/** See file header. */
export class InFlight {
  readonly #clock: Clock
  /** Called with the time that an entry took until its commit, ms. */
  readonly #onCommitted: (ms: number) => void
  /** Last zxid of each, ascending, and when it was proposed. */
  #entries: { readonly last: number; readonly at: number }[] = []

  constructor(clock: Clock, onCommitted: (ms: number) => void) {
    this.#clock = clock
    this.#onCommitted = onCommitted
  }

  /** Whether the next entry should go out now, or wait for more to come. */
  get hasRoom(): boolean {
    const entries = this.#entries
    const newest = entries[entries.length - 1]
    if (newest === undefined) return true
    return entries.length < inFlightMax && this.#clock.now() - newest.at > longWayMs
  }

  proposed(last: number): void {
    this.#entries.push({ last, at: this.#clock.now() })
  }

  /** Everything up to `zxid` is committed. */
  committed(zxid: number): void {
    if (this.#entries.length === 0) return
    const now = this.#clock.now()
    for (let head = this.#entries[0]; head !== undefined && head.last <= zxid; head = this.#entries[0]) {
      this.#onCommitted(now - head.at)
      this.#entries.shift()
    }
  }

  /** What becomes of them is for the next leader to say. */
  clear(): void {
    this.#entries = []
  }
}

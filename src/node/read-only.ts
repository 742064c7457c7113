// Read-only mode (readonlymode.enabled): when it begins and when it ends. A server that has found no leader for a while serves
// reads of what it has applied, which may be old, to clients that asked for that. It knows nothing of clients or of consensus.
import type { Clock } from './clock.ts'

/** ZooKeeper's least wait, ms: most elections are over by then. */
const graceMsMin = 2000

export type ReadOnlyOptions = {
  readonly enabled: boolean
  readonly tickMs: number
  readonly clock: Clock
  /** Whether there is a state to serve, and nobody who could give a newer one. */
  readonly mayServe: () => boolean
  /** It has begun: `ms` after the last leader was lost. */
  readonly onBegin: (ms: number) => void
  readonly onEnd: () => void
}

/** See file header. */
export class ReadOnlyMode {
  readonly #options: ReadOnlyOptions
  readonly #graceMs: number
  #since: number
  #on = false

  constructor(options: ReadOnlyOptions) {
    this.#options = options
    this.#graceMs = Math.max(graceMsMin, options.tickMs)
    this.#since = options.clock.now()
  }

  get on(): boolean {
    return this.#on
  }

  /** Begins if it is time for it. To be called every now and then. */
  consider(): void {
    const { enabled, clock, mayServe, onBegin } = this.#options
    if (!enabled || this.#on) return
    const ms = clock.now() - this.#since
    if (ms < this.#graceMs || !mayServe()) return
    this.#on = true
    onBegin(ms)
  }

  /** Ends, or does not begin before a whole wait is over. */
  end(): void {
    this.#since = this.#options.clock.now()
    if (!this.#on) return
    this.#on = false
    this.#options.onEnd()
  }
}

// Clients that come while this server does not serve. Mostly it is about to: it starts, or has just lost its leader. A client
// that is turned away asks others, which may be no further, and comes again after a pause: up to a second with ZooKeeper's
// own client. So it is kept waiting for a moment, and turned away only if that was in vain.
import type { Connection } from '../server/connection.ts'
import type { Clock, Timer } from './clock.ts'

/**
 * Nobody waits longer, ms: a third of what a client allows for a handshake whose session has the shortest timeout (4 s) and
 * whose list has 5 servers.
 */
const waitMsMax = 250

/** See file header. */
export class Anteroom {
  readonly #clock: Clock
  #waiting = new Set<Connection>()
  readonly #onDue: () => void
  #timer: Timer | undefined
  #isOpening = false

  /** `onDue` is called when some have waited long enough: `open` is to follow. */
  constructor(clock: Clock, onDue: () => void) {
    this.#clock = clock
    this.#onDue = onDue
  }

  /** Keeps a connection until `open`, or until it has waited long enough; false if it has, and is to go on as things are. */
  admit(connection: Connection): boolean {
    if (this.#isOpening) return false
    this.#waiting.add(connection)
    this.#timer ??= this.#clock.after(waitMsMax, this.#onDue)
    return true
  }

  /** All go on. */
  open(): void {
    if (this.#timer === undefined) return
    this.#timer.cancel()
    this.#timer = undefined
    const waiting = this.#waiting
    this.#waiting = new Set()
    this.#isOpening = true
    try {
      for (const connection of waiting) connection.waited()
    } finally {
      this.#isOpening = false
    }
  }

  /** It is gone. */
  leave(connection: Connection): void {
    this.#waiting.delete(connection)
  }
}

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
  #timer: Timer | undefined
  #isOpening = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Keeps a connection until `open`, or until it has waited long enough; false if it has, and is to go on as things are. */
  admit(connection: Connection): boolean {
    if (this.#isOpening) return false
    this.#waiting.add(connection)
    this.#timer ??= this.#clock.after(waitMsMax, () => this.open())
    return true
  }

  /** All go on. */
  open(): void {
    if (this.#waiting.size === 0) return
    this.#timer?.cancel()
    this.#timer = undefined
    const waiting = this.#waiting
    this.#waiting = new Set()
    this.#isOpening = true
    for (const connection of waiting) connection.waited()
    this.#isOpening = false
  }

  /** It is gone. */
  leave(connection: Connection): void {
    this.#waiting.delete(connection)
  }
}

// The connections whose output is to go to their sockets at the end of this turn. Those with replies come first; those
// that only hear of a change come after them, and where they are very many, in several turns: thousands of watchers of one
// znode hold up nobody's reply. It decides nothing about what is sent.
import type { Connection } from '../server/connection.ts'
import type { Clock } from './clock.ts'

/** How long events alone may be handed out in a turn, ms; looked at after so many connections. */
const sliceMs = 8
const sliceConnections = 64

/** See file header. */
export class Flushes {
  readonly #clock: Clock
  /** The first `#replyCount` of these have replies. The array keeps its room for the next turn. */
  #replies: (Connection | undefined)[] = []
  #replyCount = 0
  /** The array of the turn before. */
  #spare: (Connection | undefined)[] = []
  #events: Connection[] = []
  /** Of `#events` these are done. */
  #position = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Whether anything is left for a turn. */
  get pending(): boolean {
    return this.#replyCount > 0 || this.#events.length > 0
  }

  /** The connection has replies, and perhaps events. */
  add(connection: Connection): void {
    this.#replies[this.#replyCount++] = connection
  }

  /** The connection has events and nothing else. */
  addEvents(connection: Connection): void {
    this.#events.push(connection)
  }

  /** Flushes all that have replies, and of the others what there is time for. */
  run(): void {
    if (this.#replyCount > 0) this.#runReplies()
    if (this.#events.length > 0) this.#runEvents()
  }

  #runReplies(): void {
    const replies = this.#replies
    const count = this.#replyCount
    // What comes up meanwhile is for the next turn.
    this.#replies = this.#spare
    this.#replyCount = 0
    this.#spare = replies
    for (let i = 0; i < count; i++) {
      replies[i]?.flush()
      replies[i] = undefined
    }
  }

  #runEvents(): void {
    const events = this.#events
    const until = this.#clock.now() + sliceMs
    while (this.#position < events.length) {
      const connection = events[this.#position++] as Connection
      connection.flush()
      if (this.#position % sliceConnections === 0 && this.#clock.now() >= until) return
    }
    this.#events = []
    this.#position = 0
  }
}

// When sessions expire: a deadline for each, rounded up to the tick, pushed back by every sign of life. Time is handed
// in (monotonic ms); what becomes of an expired session is the caller's. It knows nothing of connections or roles.
import { assert } from '../base/assert.ts'

type Deadline = {
  timeoutMs: number
  /** Expires at this time, a multiple of the tick. */
  at: number
  /** In whose bucket the session is to be found; never later than `at`. */
  queuedAt: number
}

/** Outdated places in buckets that are tolerated besides one per session, before all buckets are built anew. */
const staleMax = 1024

/**
 * Deadlines in buckets of one tick (semantics rule 36): a session expires at the first multiple of the tick above
 * its last touch plus its timeout, hence within (timeout, timeout + tick].
 *
 * A touch only writes down the new deadline. The session stays in its old bucket, and moves on when that bucket is
 * due and the deadline is seen to be later: one move per timeout instead of one per touch.
 */
export class ExpiryQueue {
  readonly #tickMs: number
  readonly #sessions = new Map<number, Deadline>()
  // Time to ids. An id counts only where its `queuedAt` says; other mentions are outdated.
  readonly #buckets = new Map<number, number[]>()
  // Ids in all buckets, outdated ones included.
  #queued = 0
  // The earliest key of #buckets, Infinity if there is none.
  #first = Number.POSITIVE_INFINITY
  // The latest time seen: a clock that goes back does not count.
  #nowMs = Number.NEGATIVE_INFINITY
  #paused = false

  /** `tickMs`: the width of a bucket, tickTime. */
  constructor(tickMs: number) {
    assert(tickMs > 0, `tick of ${tickMs} ms`)
    this.#tickMs = tickMs
  }

  /** Number of sessions. */
  get size(): number {
    return this.#sessions.size
  }

  /** True while nothing expires. */
  get paused(): boolean {
    return this.#paused
  }

  has(id: number): boolean {
    return this.#sessions.has(id)
  }

  /** When a session expires unless it is touched, ms; undefined for an unknown one. */
  deadline(id: number): number | undefined {
    return this.#sessions.get(id)?.at
  }

  /** A sign of life: the session, added if it is new, has `timeoutMs` from now. */
  touch(id: number, timeoutMs: number, nowMs: number): void {
    const session = this.#sessions.get(id)
    if (session === undefined) {
      const at = this.#deadlineFrom(nowMs, timeoutMs)
      this.#sessions.set(id, { timeoutMs, at, queuedAt: at })
      this.#enqueue(id, at)
      return
    }
    session.timeoutMs = timeoutMs
    this.#move(id, session, nowMs)
  }

  /** `touch` with the timeout that the session has; false, and nothing done, if it is unknown (closed, expired). */
  refresh(id: number, nowMs: number): boolean {
    const session = this.#sessions.get(id)
    if (session === undefined) return false
    this.#move(id, session, nowMs)
    return true
  }

  /** Forgets a session; false if it was unknown. */
  remove(id: number): boolean {
    return this.#sessions.delete(id)
  }

  /**
   * Takes out the sessions whose time has come and gives their ids, earliest bucket first. After a jump of the clock
   * it gives all that are overdue at once. Nothing while paused.
   */
  expired(nowMs: number): number[] {
    const due: number[] = []
    this.#advance(nowMs)
    while (!this.#paused && this.#first <= this.#nowMs) {
      const time = this.#first
      for (const id of this.#takeFirst()) {
        const session = this.#sessions.get(id)
        if (session === undefined || session.queuedAt !== time) continue
        if (session.at > time) {
          session.queuedAt = session.at
          this.#enqueue(id, session.at)
        } else {
          this.#sessions.delete(id)
          due.push(id)
        }
      }
    }
    return due
  }

  /**
   * When to ask for `expired` next: no session is due before, though after touches there may be none then either.
   * Undefined while there is no session or while paused.
   */
  nextDeadline(): number | undefined {
    return this.#paused || this.#sessions.size === 0 ? undefined : this.#first
  }

  /** Nothing expires until `restartAll`: for a server that does not lead. Touches are still taken. */
  pause(): void {
    this.#paused = true
  }

  /**
   * Gives every session its full timeout from now and lets them expire again: for a new leader (rule 39), and for one
   * that has been stopped for so long that it could not hear its clients. `nowMs` may be of another clock than before.
   */
  restartAll(nowMs: number): void {
    this.#paused = false
    this.#nowMs = nowMs
    for (const session of this.#sessions.values()) session.at = this.#deadlineFrom(nowMs, session.timeoutMs)
    this.#rebuild()
  }

  /** Deadline (ms) to ids, in the order of time: for `dump`. */
  buckets(): Map<number, number[]> {
    const byTime = new Map<number, number[]>()
    for (const [id, { at }] of this.#sessions) {
      const ids = byTime.get(at)
      if (ids === undefined) byTime.set(at, [id])
      else ids.push(id)
    }
    return new Map([...byTime].sort(([a], [b]) => a - b))
  }

  #advance(nowMs: number): void {
    if (nowMs > this.#nowMs) this.#nowMs = nowMs
  }

  #deadlineFrom(nowMs: number, timeoutMs: number): number {
    this.#advance(nowMs)
    return (Math.floor((this.#nowMs + timeoutMs) / this.#tickMs) + 1) * this.#tickMs
  }

  #move(id: number, session: Deadline, nowMs: number): void {
    const at = this.#deadlineFrom(nowMs, session.timeoutMs)
    if (at === session.at) return
    session.at = at
    if (at >= session.queuedAt) return
    // A shorter timeout than before: the bucket it is in would come up too late.
    session.queuedAt = at
    this.#enqueue(id, at)
  }

  #enqueue(id: number, time: number): void {
    const bucket = this.#buckets.get(time)
    if (bucket === undefined) this.#buckets.set(time, [id])
    else bucket.push(id)
    this.#queued++
    if (time < this.#first) this.#first = time
    if (this.#queued > 2 * this.#sessions.size + staleMax) this.#rebuild()
  }

  #takeFirst(): number[] {
    const ids = this.#buckets.get(this.#first) ?? []
    this.#buckets.delete(this.#first)
    this.#queued -= ids.length
    this.#first = Number.POSITIVE_INFINITY
    for (const time of this.#buckets.keys()) if (time < this.#first) this.#first = time
    return ids
  }

  #rebuild(): void {
    this.#buckets.clear()
    this.#queued = 0
    this.#first = Number.POSITIVE_INFINITY
    for (const [id, session] of this.#sessions) {
      session.queuedAt = session.at
      this.#enqueue(id, session.at)
    }
  }
}

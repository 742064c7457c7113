// Sessions that this server keeps to itself (localSessionsEnabled, read-only mode): opened and ended without a transaction,
// unknown to other servers, not on disk. One becomes global by a transaction when its client wants an ephemeral znode.
// Knows nothing of connections and of transactions; what becomes of an expired session is the caller's.
import { ExpiryQueue } from '../server/expiry.ts'
import type { Clock, Timer } from './clock.ts'

export type LocalSessionsOptions = {
  readonly clock: Clock
  /** Width of a deadline, ms. */
  readonly tickMs: number
  /** The session has ended, since nothing was heard of its client. */
  readonly onExpired: (session: number) => void
}

/** See file header. Nothing expires before `resume`. */
export class LocalSessions {
  readonly #options: LocalSessionsOptions
  readonly #expiry: ExpiryQueue
  /** Negotiated, ms, by id. */
  readonly #timeouts = new Map<number, number>()
  /** To become global: the transaction is on its way. Neither local any more nor known to others. */
  readonly #upgrading = new Map<number, number>()
  #timer: Timer | undefined

  constructor(options: LocalSessionsOptions) {
    this.#options = options
    this.#expiry = new ExpiryQueue(options.tickMs)
    this.#expiry.pause()
  }

  get size(): number {
    return this.#timeouts.size
  }

  has(session: number): boolean {
    return this.#timeouts.has(session)
  }

  /** Monotonic ms; undefined for an unknown one. */
  deadline(session: number): number | undefined {
    return this.#expiry.deadline(session)
  }

  /** Deadline (monotonic ms) to ids, in the order of time. */
  deadlines(): Map<number, number[]> {
    return this.#expiry.buckets()
  }

  open(session: number, timeoutMs: number): void {
    this.#timeouts.set(session, timeoutMs)
    this.#expiry.touch(session, timeoutMs, this.#options.clock.now())
    this.#plan()
  }

  /** A sign of life; false if the session is not local. */
  touch(session: number, timeoutMs: number, now: number): boolean {
    if (!this.#timeouts.has(session)) return false
    this.#timeouts.set(session, timeoutMs)
    this.#expiry.touch(session, timeoutMs, now)
    return true
  }

  /** Ends a session; false if it is not local. */
  close(session: number): boolean {
    this.#expiry.remove(session)
    return this.#timeouts.delete(session)
  }

  /** The session is about to become global; gives its timeout, ms. It must be local. */
  upgrade(session: number): number {
    const timeoutMs = this.#timeouts.get(session) as number
    this.close(session)
    this.#upgrading.set(session, timeoutMs)
    return timeoutMs
  }

  /** The session is global, whatever it was here. */
  becameGlobal(session: number): void {
    this.#upgrading.delete(session)
    this.close(session)
  }

  /**
   * What was on its way is lost, as far as one can know: those that were to become global are local again. Should the
   * transaction be committed all the same, `becameGlobal` will say so.
   */
  abandonUpgrades(): void {
    for (const [session, timeoutMs] of this.#upgrading) this.open(session, timeoutMs)
    this.#upgrading.clear()
  }

  /** Forgets those that are global. */
  settle(isGlobal: (session: number) => boolean): void {
    for (const session of [...this.#timeouts.keys()]) if (isGlobal(session)) this.close(session)
  }

  /** Nothing expires until `resume`: for a server that serves nobody. */
  pause(): void {
    this.#expiry.pause()
    this.#timer?.cancel()
    this.#timer = undefined
  }

  /** Every session has its full timeout from now. */
  resume(): void {
    this.#expiry.restartAll(this.#options.clock.now())
    this.#plan()
  }

  /** Forgets all. */
  clear(): void {
    for (const session of [...this.#timeouts.keys()]) this.close(session)
    this.#upgrading.clear()
  }

  /** Looks for expired sessions at every multiple of the tick, as long as there are sessions. */
  #plan(): void {
    if (this.#timer !== undefined || this.#expiry.paused || this.size === 0) return
    const { clock, tickMs } = this.#options
    const now = clock.now()
    const due = (Math.floor(now / tickMs) + 1) * tickMs
    this.#timer = clock.after(due - now, () => {
      this.#timer = undefined
      const late = clock.now() - due
      // After a pause of the whole process the signs of life may lie unread in the sockets: read them first.
      if (late > tickMs / 2) clock.soon(() => clock.soon(() => this.#expire()))
      else this.#expire()
      this.#plan()
    })
  }

  #expire(): void {
    const { clock, onExpired } = this.#options
    for (const session of this.#expiry.expired(clock.now()))
      if (this.#timeouts.delete(session)) onExpired(session)
  }
}

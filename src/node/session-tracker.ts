// Sessions as this server sees them besides the tree: which client is connected here, who is connected elsewhere, what
// is about to be closed, and signs of life: counted towards expiry where this server leads, gathered for the leader where
// it does not. Whether a session exists is the tree's to say.
import type { Connection } from '../server/connection.ts'
import { ExpiryQueue } from '../server/expiry.ts'
import type { Tree } from '../tree/tree.ts'
import { firstSessionId } from './sessions.ts'

/** See file header. */
export class SessionTracker {
  /** Connection of each session that is connected here. */
  readonly attached = new Map<number, Connection>()
  /** Deadlines; counts while this server leads. */
  readonly expiry: ExpiryQueue
  /** Leader: sessions whose end is proposed and not applied. */
  readonly closing = new Set<number>()
  /** Leader: the learner that a session's client is connected to. Those of this server are not in it. */
  readonly owners = new Map<number, number>()
  readonly #tree: Tree
  readonly #serverId: number
  /** Learner: sessions that gave a sign of life since the leader was told, and their timeouts, ms. */
  #touched = new Map<number, number>()
  #leading = false
  #next = 0

  constructor(tree: Tree, serverId: number, tickMs: number) {
    this.#tree = tree
    this.#serverId = serverId
    this.expiry = new ExpiryQueue(tickMs)
  }

  /** This server leads: every session gets a full timeout (semantics.md rule 39). Times: monotonic and wall clock, ms. */
  lead(now: number, wall: number): void {
    this.#leading = true
    for (const [id, timeout] of this.#tree.sessions)
      this.expiry.touch(id, this.attached.get(id)?.timeoutMs ?? timeout, now)
    this.expiry.restartAll(now)
    this.#begin(wall)
  }

  /** This server follows a leader, or has none. */
  follow(wall: number): void {
    this.#leading = false
    this.expiry.pause()
    this.#begin(wall)
  }

  #begin(wall: number): void {
    this.closing.clear()
    this.owners.clear()
    this.#touched.clear()
    const highest = Math.max(this.#next - 1, this.#tree.newestSession(this.#serverId))
    this.#next = firstSessionId(this.#serverId, wall, highest)
  }

  /** The id that `mint` gives next. */
  get next(): number {
    return this.#next
  }

  /** A session id that was never used. */
  mint(): number {
    return this.#next++
  }

  /** Whether a session is open and not about to be closed. */
  isOpen(session: number): boolean {
    return this.#tree.sessions.has(session) && !this.closing.has(session)
  }

  /** A client of this server gave a sign of life. */
  touch(session: number, timeoutMs: number, now: number): void {
    if (!this.#leading) this.#touched.set(session, timeoutMs)
    else if (!this.closing.has(session)) this.expiry.touch(session, timeoutMs, now)
  }

  /**
   * A learner says so of its clients: columns of ids and timeouts. It may not know yet that one is connected elsewhere by
   * now, where another timeout may have been agreed upon.
   */
  touchAll(learner: number, ids: readonly number[], timeouts: readonly number[], now: number): void {
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i] as number
      const owner = this.owners.get(id)
      const isElsewhere = owner === undefined ? this.attached.has(id) : owner !== learner
      if (!isElsewhere && this.isOpen(id)) this.expiry.touch(id, timeouts[i] as number, now)
    }
  }

  /** What the leader is to be told: undefined if nobody gave a sign of life. */
  takeTouches(): { clients: number[]; timeouts: number[] } | undefined {
    if (this.#touched.size === 0) return undefined
    const taken = { clients: [...this.#touched.keys()], timeouts: [...this.#touched.values()] }
    this.#touched.clear()
    return taken
  }

  /** Makes `connection` the one of its session here; another one that had it is closed. */
  attach(connection: Connection): void {
    const before = this.attached.get(connection.session)
    this.attached.set(connection.session, connection)
    if (before !== undefined && before !== connection) before.destroy()
  }

  /** False if another connection has the session. */
  detach(connection: Connection): boolean {
    if (this.attached.get(connection.session) !== connection) return false
    return this.attached.delete(connection.session)
  }

  /** The client of this session is connected to another server: what is left of it here goes. */
  moved(session: number): void {
    this.attached.get(session)?.destroy()
    this.attached.delete(session)
    this.#touched.delete(session)
  }

  /** The end of a session is proposed: it is as good as closed. */
  closeProposed(session: number): void {
    this.closing.add(session)
    this.expiry.remove(session)
  }

  /** A session was opened: the tree has it. */
  opened(session: number, now: number): void {
    if (this.#leading) this.expiry.touch(session, this.#tree.sessions.get(session) as number, now)
  }

  /** A session was closed; its client, unless it is `origin` who asked for it, is disconnected. */
  closed(session: number, origin: Connection | undefined): void {
    this.closing.delete(session)
    this.owners.delete(session)
    this.expiry.remove(session)
    const connection = this.attached.get(session)
    this.attached.delete(session)
    if (connection !== origin) connection?.close()
  }

  /** What was proposed comes to nothing: sessions that were to be closed live on. */
  abandon(now: number): void {
    for (const session of this.closing) {
      const timeout = this.#tree.sessions.get(session)
      if (timeout !== undefined) this.expiry.touch(session, timeout, now)
    }
    this.closing.clear()
  }

  /** Everybody is disconnected, so that clients turn to another server. */
  disconnectAll(): void {
    for (const connection of [...this.attached.values()]) connection.destroy()
  }
}

// What a connection needs of the server around it: the port between client sockets and the node that owns the
// tree, the write path and the sessions. Connections know no more of the node than this.
import type { Logger } from '../base/log.ts'
import type { Id } from '../tree/acl.ts'
import type { Tree } from '../tree/tree.ts'
import type { Authenticator } from './auth.ts'
import type { Connection } from './connection.ts'
import type { ServerStats } from './stats.ts'
import type { Watches } from './watches.ts'
import type { WriteRules } from './writes.ts'

/** Settings that the connections read. */
export type ConnectionLimits = {
  /** jute.maxbuffer: the longest frame that is accepted, bytes. */
  readonly maxFrameBytes: number
  readonly minSessionTimeoutMs: number
  readonly maxSessionTimeoutMs: number
  /** Width of a session deadline. */
  readonly tickMs: number
  readonly skipAcl: boolean
  /** What this server's settings forbid of writes. */
  readonly writeRules: WriteRules
}

/** See file header. All methods are synchronous; answers to writes come back through `Connection.completed`. */
export interface Backend {
  readonly limits: ConnectionLimits
  readonly logger: Logger
  readonly stats: ServerStats
  readonly tree: Tree
  readonly watches: Watches<Connection>
  readonly authenticator: Authenticator
  /** Whether sessions may be opened and requests served at all. */
  readonly serving: boolean
  /**
   * The handshake of `connection` has come while nothing is served. True: `connection.waited` is called in a moment. False: it is
   * to be refused.
   */
  awaitServing(connection: Connection): boolean
  /** False while the disk takes no writes: they are refused, reads go on. */
  readonly writable: boolean
  /** True while there is no quorum and reads are served all the same, to clients that ask for it. */
  readonly readOnly: boolean
  /** True when the server is about to end: what clients send now is not taken any more. */
  readonly stopping: boolean
  /** True while so much waits for its commit that connections with pending requests should not be read. */
  readonly overloaded: boolean
  /** Monotonic clock, ms. */
  now(): number
  /**
   * Proposes a write whose body is `buf[start, end)` (copied). `cxid` is the client's xid, `arrived` the monotonic time.
   * With an origin the outcome is handed to `origin.completed`, in the order of that connection's submissions.
   */
  submit(
    kind: number,
    session: number,
    cxid: number,
    ids: readonly Id[],
    buf: Uint8Array,
    start: number,
    end: number,
    origin: Connection,
    arrived: number,
  ): void
  /** A sync: `origin.completed` is called once everything proposed before is applied and leadership is confirmed. */
  sync(cxid: number, path: string | null, origin: Connection, arrived: number): void
  /** The four-letter word that a connection's first four bytes are, if they are one. */
  wordOf(first4: number): string | undefined
  /** Bytes that belong to a word behind its letters. */
  wordArgumentBytes(word: string): number
  /** Answers a four-letter word. */
  word(word: string, argument: Buffer): string
  /** A session id that was never used. */
  mintSession(): number
  /** Opens a session that only this server knows, where sessions begin so: its id. Undefined: they take a transaction. */
  openLocalSession(timeoutMs: number): number | undefined
  /** Whether only this server knows the session, now. */
  isLocalSession(session: number): boolean
  /** Ends a session that only this server knows; false if it is not one. */
  closeLocalSession(session: number): boolean
  /** The 16 bytes that prove the ownership of a session. */
  passwordOf(session: number): Buffer
  /**
   * The client of `connection` says, with the right password, that it has this session. `connection.claimed` says whether
   * the session is open: at once or, where another server knows it, later.
   */
  claim(session: number, connection: Connection): void
  /** Makes `connection` the one of its session; another one that had it is closed. */
  attach(connection: Connection): void
  /** A frame of the session arrived. */
  touch(session: number, timeoutMs: number, now: number): void
  /** The connection is gone. */
  detach(connection: Connection): void
  /** The connection stopped reading, for `overloaded` or to let others have their turn, and wants to be resumed. */
  stalled(connection: Connection): void
  /** The connection has output that should go out when the turn is over. */
  flushLater(connection: Connection): void
  /** So it has, but of events alone: they come after everybody's replies, and in several turns if there are many. */
  flushEventsLater(connection: Connection): void
}

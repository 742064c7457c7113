// What operators can see of a running server: one plain object, filled by the node on demand, read by the
// four-letter words, the admin commands and metrics. Computed when asked; nothing here costs the request path.
import type { ServerSpec } from '../config/types.ts'
import type { ConnectionStatsSnapshot, StatsSnapshot } from '../server/stats.ts'

export type { Summary } from '../server/stats.ts'

/** One client connection: its counters (`ConnectionStats.snapshot()`) and what else there is to know. */
export type ConnectionInfo = ConnectionStatsSnapshot & {
  readonly remoteAddress: string
  readonly remotePort: number
  readonly secure: boolean
  /** 0 before the handshake is done. */
  readonly sessionId: number
  readonly timeoutMs: number
  /** epoch ms, rounded up to the tick: when the server gives the connection up if nothing more comes. */
  readonly expiresAt: number
  /** Requests received and not answered yet. */
  readonly outstanding: number
  /**
   * Whether reading is on (interest bit 1) and whether a write waits (bit 4), as ZooKeeper prints them. Both are
   * false for the connection that asks with a four-letter word.
   */
  readonly reading: boolean
  readonly writing: boolean
  /** scheme:id pairs. */
  readonly authIds: readonly { readonly scheme: string; readonly id: string }[]
}

export type ServerState = 'standalone' | 'leader' | 'follower' | 'observer' | 'read-only' | 'looking'

/** What only the leader of an ensemble knows. */
export type LeadingInfo = {
  /** Servers connected to it: followers, observers, and those still catching up. */
  readonly learners: number
  /** Followers that are up to date, this server not counted; of them those without a vote. */
  readonly syncedFollowers: number
  readonly syncedNonVotingFollowers: number
  readonly syncedObservers: number
  /** `sync` requests that wait for the quorum. */
  readonly pendingSyncs: number
  readonly uptimeMs: number
}

/** The cheap part: counters (`ServerStats.snapshot()`) and gauges. */
export type Inspection = StatsSnapshot & {
  /** `version()` and `builtAt()` of base/version. */
  readonly version: string
  readonly builtAt: string
  /** False while looking for a leader, starting or stopping; true in read-only mode. */
  readonly serving: boolean
  readonly state: ServerState
  readonly readOnly: boolean
  /** As `zk_peer_state` prints it: `leading - broadcast`, … */
  readonly peerState: string
  readonly serverId: number
  /** The leader's id as far as known. */
  readonly leaderId: number | undefined
  /** The ports really listened on; -1: none. */
  readonly clientPort: number
  readonly secureClientPort: number
  /** Voting members of the current configuration; undefined when standalone. */
  readonly quorumSize: number | undefined
  /** Undefined unless this server leads an ensemble. */
  readonly leading: LeadingInfo | undefined
  readonly lastZxid: number
  readonly epoch: number
  readonly znodes: number
  readonly watches: number
  readonly ephemerals: number
  /** Data and path bytes of all znodes. */
  readonly dataBytes: number
  readonly globalSessions: number
  readonly localSessions: number
  readonly connections: number
  readonly outstanding: number
  readonly uptimeMs: number
  /** Tree digests at each 128th zxid, or 8192nd of a standalone server, oldest first, as decimal text. */
  readonly digests: readonly { readonly zxid: number; readonly digest: string }[]
}

export type WatchSummary = { readonly connections: number; readonly paths: number; readonly watches: number }

/** Everything the admin side may ask or do. All but `inspect` may cost as much as there is to list. */
export interface Inspector {
  inspect(): Inspection
  connections(): ConnectionInfo[]
  /** Data watches (getData and exists; persistent ones too), as ZooKeeper's wchs counts them. */
  watchSummary(): WatchSummary
  watchesBySession(): Map<number, string[]>
  watchesByPath(): Map<string, number[]>
  /**
   * Expiry time (epoch ms, rounded to the tick) to session ids, of the global sessions whose expiry this server
   * decides (standalone, leader), and of its local sessions.
   */
  sessionExpiry(): Map<number, number[]>
  localSessionExpiry(): Map<number, number[]>
  /** All global sessions: id to timeout in ms. */
  sessions(): Map<number, number>
  ephemerals(): Map<number, string[]>
  /** The current configuration as /zookeeper/config holds it: server lines and `version=`; empty when standalone. */
  membership(): string
  /** This server's line in it; undefined when it has none. */
  member(): ServerSpec | undefined
  /** Bytes of files below dataDir and dataLogDir. */
  dataDirBytes(): number
  logDirBytes(): number
  /** ZooKeeper's 64-bit trace mask: kept and given back, without an effect. 306 at start, as there. */
  traceMask(): bigint
  setTraceMask(mask: bigint): void
  resetServerStats(): void
  resetConnectionStats(): void
}

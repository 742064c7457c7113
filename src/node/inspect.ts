// What operators can see of a running server: one plain object, filled by the node on demand, read by the
// four-letter words, the admin commands and metrics. Computed when asked; nothing here costs the request path.

/** Latencies in ms or other samples: count, sum, extremes and quantiles over a recent window. */
export type Summary = {
  readonly count: number
  readonly sum: number
  readonly min: number
  readonly max: number
  readonly p50: number
  readonly p95: number
  readonly p99: number
  readonly p999: number
}

/** One client connection. */
export type ConnectionInfo = {
  readonly remoteAddress: string
  readonly remotePort: number
  readonly secure: boolean
  /** 0 before the handshake is done. */
  readonly sessionId: number
  readonly timeoutMs: number
  /** epoch ms */
  readonly establishedAt: number
  /** Requests received and not answered yet. */
  readonly outstanding: number
  readonly received: number
  readonly sent: number
  /** Short name of the last operation (`PING`, `GETD`, …), `NA` before any. */
  readonly lastOperation: string
  /** xid of the last request. */
  readonly lastXid: number
  /** zxid of the last reply. */
  readonly lastZxid: number
  /** Monotonic ms of the last reply. */
  readonly lastResponseTime: number
  readonly lastLatency: number
  readonly minLatency: number
  readonly avgLatency: number
  readonly maxLatency: number
  /** Whether reading is on (interest bit 1) and whether a write waits (bit 4), as ZooKeeper prints them. */
  readonly reading: boolean
  readonly writing: boolean
  /** scheme:id pairs. */
  readonly authIds: readonly { readonly scheme: string; readonly id: string }[]
}

export type ServerState = 'standalone' | 'leader' | 'follower' | 'observer' | 'read-only' | 'looking'

/** The cheap part: counters and gauges. */
export type Inspection = {
  readonly version: string
  readonly builtAt: string
  /** False while looking for a leader, starting or stopping. */
  readonly serving: boolean
  readonly state: ServerState
  readonly readOnly: boolean
  /** As `zk_peer_state` prints it: `leading - broadcast`, … */
  readonly peerState: string
  readonly serverId: number
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
  readonly received: number
  readonly sent: number
  readonly minLatency: number
  readonly avgLatency: number
  readonly maxLatency: number
  readonly uptimeMs: number
  readonly fsync: Summary
  readonly readLatency: Summary
  readonly updateLatency: Summary
  readonly checkpointTime: Summary
  readonly connectionRejected: number
  readonly sessionsExpired: number
  readonly commits: number
  readonly proposals: number
  /** bytes; -1 before any */
  readonly lastProposalSize: number
  readonly minProposalSize: number
  readonly maxProposalSize: number
  readonly throttledOps: number
  readonly authFailed: number
  readonly digestMismatches: number
  /** Tree digests at each 128th zxid, oldest first, as decimal text. */
  readonly digests: readonly { readonly zxid: number; readonly digest: string }[]
}

export type WatchSummary = { readonly connections: number; readonly paths: number; readonly watches: number }

/** Everything the admin side may ask or do. */
export interface Inspector {
  inspect(): Inspection
  connections(): ConnectionInfo[]
  /** Data watches (getData and exists; persistent ones too), as ZooKeeper's wchs counts them. */
  watchSummary(): WatchSummary
  watchesBySession(): Map<number, string[]>
  watchesByPath(): Map<string, number[]>
  /** Expiry time (epoch ms, rounded to the tick) to session ids, of sessions this server tracks. */
  sessionExpiry(): Map<number, number[]>
  /** All sessions known: id to timeout in ms. */
  sessions(): Map<number, number>
  ephemerals(): Map<number, string[]>
  dataDirBytes(): number
  logDirBytes(): number
  resetServerStats(): void
  resetConnectionStats(): void
}

// Fills what operators ask for from the running node (node/inspect.ts). Costs nothing until somebody asks.
import { builtAt, version } from '../base/version.ts'
import type { Config } from '../config/types.ts'
import type { Connection } from '../server/connection.ts'
import type { BoundAddress, Listener } from '../server/listener.ts'
import type { Clock } from './clock.ts'
import type { ConnectionInfo, Inspection, Inspector, LeadingInfo, WatchSummary } from './inspect.ts'
import type { Node } from './node.ts'

/** ZooKeeper's trace mask at start. */
const initialTraceMask = 306n

export type InspectorParts = {
  readonly node: Node
  readonly config: Config
  readonly clock: Clock
  readonly listener: Listener
  readonly bound: () => readonly BoundAddress[]
  /** Bytes on disk, measured now and then by the server. */
  readonly diskBytes: () => { readonly data: number; readonly log: number }
}

/** The `Inspector` of a running server. */
export function createInspector(parts: InspectorParts): Inspector {
  const { node, config, clock, listener, diskBytes } = parts
  const { tree, watches } = node
  const { expiry } = node.sessions
  let traceMask = initialTraceMask
  const portOf = (secure: boolean) => parts.bound().find((address) => address.secure === secure)?.port ?? -1
  const wallOf = (monotonic: number) => Math.round(clock.wall() + monotonic - clock.now())
  return {
    inspect: (): Inspection => ({
      ...node.stats.snapshot(),
      version: version(),
      builtAt: builtAt(),
      serving: node.serving,
      state: node.state,
      readOnly: node.state === 'read-only',
      peerState: peerState(),
      serverId: config.id,
      leaderId: leaderId(),
      clientPort: portOf(false),
      secureClientPort: portOf(true),
      quorumSize: config.standalone ? undefined : (node.core?.quorum.voters.length ?? 0),
      leading: leading(),
      lastZxid: tree.zxid,
      epoch: node.core?.epochs.current ?? 0,
      // ZooKeeper counts the root twice, under '' and '/'.
      znodes: tree.store.count + 1,
      watches: watches.count,
      ephemerals: tree.ephemeralCount,
      dataBytes: tree.store.dataBytes + tree.store.pathBytes,
      globalSessions: tree.sessions.size,
      localSessions: node.localSessions.size,
      connections: listener.connections.size,
      outstanding: node.outstanding,
      uptimeMs: clock.now() - node.startedAt,
      digests: node.replica.digests.map(({ zxid, high, low }) => ({
        zxid,
        digest: ((BigInt(high) << 32n) | BigInt(low)).toString(),
      })),
    }),
    connections: () => [...listener.connections].map((connection) => connectionInfo(connection)),
    watchSummary: (): WatchSummary => watches.summary(),
    watchesBySession: () => {
      const result = new Map<number, string[]>()
      for (const [connection, paths] of watches.byWatcher()) result.set(connection.session, paths)
      return result
    },
    watchesByPath: () => {
      const result = new Map<string, number[]>()
      for (const [path, connections] of watches.byPath())
        result.set(
          path,
          connections.map((connection) => connection.session),
        )
      return result
    },
    sessionExpiry: () => {
      const result = new Map<number, number[]>()
      for (const [time, ids] of expiry.buckets()) result.set(wallOf(time), ids)
      return result
    },
    localSessionExpiry: () => {
      const result = new Map<number, number[]>()
      for (const [time, ids] of node.localSessions.deadlines()) result.set(wallOf(time), ids)
      return result
    },
    sessions: () => new Map(tree.sessions),
    ephemerals: () => {
      const result = new Map<number, string[]>()
      for (const owner of tree.ephemeralOwners()) {
        const paths: string[] = []
        for (const ref of tree.ephemeralsOf(owner)) paths.push(tree.store.path(ref))
        result.set(owner, paths)
      }
      return result
    },
    membership: () => node.membership,
    member: () => node.members.find(({ id }) => id === config.id),
    dataDirBytes: () => diskBytes().data,
    logDirBytes: () => diskBytes().log,
    traceMask: () => traceMask,
    setTraceMask: (mask) => {
      traceMask = mask
    },
    resetServerStats: () => node.stats.reset(),
    resetConnectionStats: () => {
      for (const connection of listener.connections) connection.stats.reset()
    },
  }

  function leaderId(): number | undefined {
    const role = node.core?.role
    if (role === undefined || role.type === 'looking') return undefined
    return role.type === 'leading' ? config.id : role.leader
  }

  /** As `zk_peer_state` prints it. */
  function peerState(): string {
    const role = node.core?.role
    if (role === undefined || role.type === 'looking') return 'looking'
    const observes = node.core?.quorum.voters.includes(config.id) === false
    const doing = role.type === 'leading' ? 'leading' : observes ? 'observing' : 'following'
    return `${doing} - ${role.phase}`
  }

  function leading(): LeadingInfo | undefined {
    const role = node.core?.role
    if (config.standalone || role?.type !== 'leading') return undefined
    const synced = role.learners.filter((learner) => learner.active)
    const voters = node.core?.quorum.voters ?? []
    const without = synced.filter(({ id }) => !voters.includes(id))
    const observers = without.filter(
      ({ id }) => node.members.find((member) => member.id === id)?.observer === true,
    )
    return {
      learners: role.learners.length,
      syncedFollowers: synced.length - without.length,
      // New servers that no reconfiguration has added yet, and those that one has removed.
      syncedNonVotingFollowers: without.length - observers.length,
      syncedObservers: observers.length,
      pendingSyncs: node.pendingSyncs,
      uptimeMs: clock.now() - role.since,
    }
  }

  /** A learner's connections have none of their own: the leader decides, by what it hears of them. */
  function deadline({ session, timeoutMs, stats }: Connection): number {
    const local = node.localSessions.deadline(session)
    if (local !== undefined) return local
    if (node.leads) return expiry.deadline(session) ?? clock.now()
    if (timeoutMs === 0) return clock.now()
    const { tickTime } = config
    return (Math.floor((stats.snapshot().lastResponseTime + timeoutMs) / tickTime) + 1) * tickTime
  }

  function connectionInfo(connection: Connection): ConnectionInfo {
    const asking = connection.isClosed
    return {
      ...connection.stats.snapshot(),
      remoteAddress: connection.remoteAddress,
      remotePort: connection.remotePort,
      secure: connection.secure,
      sessionId: connection.session,
      timeoutMs: connection.timeoutMs,
      expiresAt: wallOf(deadline(connection)),
      outstanding: connection.outstanding,
      reading: !asking && connection.reading,
      writing: !asking && connection.writing,
      authIds: connection.ids,
    }
  }
}

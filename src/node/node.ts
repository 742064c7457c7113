// The loop that wires a server: requests come in from connections and from other servers, become proposals of the
// consensus core, go to the log, come back as commits, are applied to the tree, and leave as replies and watch events.
// One write path for everybody (DESIGN section 3): a standalone server is an ensemble of one, and sessions, the reaper and
// settings propose like clients do. It decides nothing of its own: consensus is zab/'s, operations are tree/'s, and what
// it keeps of requests, sessions, snapshots and the log is in the files beside it.
import { randomBytes } from 'node:crypto'
import { answer, argumentBytes, fourLetterWord, type Word } from '../admin/words.ts'
import { assert } from '../base/assert.ts'
import type { Logger } from '../base/log.ts'
import { Op } from '../base/opcodes.ts'
import { formatZxid } from '../base/zxid.ts'
import type { Config, ServerSpec } from '../config/types.ts'
import type { PeerHandler, Peers } from '../peers/types.ts'
import { Authenticator } from '../server/auth.ts'
import type { Backend, ConnectionLimits } from '../server/backend.ts'
import { type Connection, formatSession } from '../server/connection.ts'
import { ServerStats } from '../server/stats.ts'
import { Watches } from '../server/watches.ts'
import { makesEphemeral } from '../server/writes.ts'
import { type LogIndex, type Storage, StorageError } from '../storage/types.ts'
import type { Id } from '../tree/acl.ts'
import { BatchOption } from '../tree/batch.ts'
import type { Tree } from '../tree/tree.ts'
import type { Core } from '../zab/core.ts'
import type { Entry } from '../zab/types.ts'
import { Anteroom } from './anteroom.ts'
import { Checkpointer } from './checkpointer.ts'
import type { Clock } from './clock.ts'
import { Consensus, type ConsensusHost } from './consensus.ts'
import { Flushes } from './flushes.ts'
import { FollowingRole } from './following.ts'
import { Guard } from './guard.ts'
import type { Inspector, ServerState } from './inspect.ts'
import { LeadingRole } from './leading.ts'
import { LocalSessions } from './local-sessions.ts'
import type { Membership } from './membership.ts'
import { ReadOnlyMode } from './read-only.ts'
import { Recovery } from './recovery.ts'
import { Replica } from './replica.ts'
import { Requests } from './requests.ts'
import type { Role, RoleHost } from './role.ts'
import { SessionTracker } from './session-tracker.ts'
import { sessionPasswords } from './sessions.ts'
import { Syncs } from './syncs.ts'

/** Bytes of proposals that may wait for their commit before connections are not read any more. */
const outstandingBytesMax = 64 << 20
/** Digests of the tree are compared at each zxid that is a multiple of this, as in ZooKeeper. */
const digestEvery = 128
/** Where there is nobody to compare with: of a znode that has changed many times meanwhile a digest is needed once. */
const digestEveryAlone = 64 * digestEvery
/** So many transactions are applied and answered faster than a message to another server is written. */
const answeredFirstMax = 4

export type NodeParts = {
  readonly config: Config
  readonly logger: Logger
  readonly clock: Clock
  readonly tree: Tree
  readonly storage: Storage
  /** The connections to the other servers; undefined for a standalone server. */
  readonly peers: ((handler: PeerHandler) => Peers) | undefined
  /** Draws a number in [0, 1). */
  readonly random: () => number
  /** For 32 bytes of secret and 16 of ensemble id, once in the life of an ensemble. */
  readonly randomBytes?: (size: number) => Buffer
  /** The server serves clients, for the first time or again. */
  readonly onServing?: () => void
  /** The ensemble has another configuration, as in /zookeeper/config. */
  readonly onConfig?: (membership: Membership) => void
  /** A broken invariant or a failure that can not be handled: the process must end. */
  readonly onFatal: (error: Error) => void
}

/** See file header. */
export class Node implements Backend {
  readonly config: Config
  readonly logger: Logger
  readonly stats = new ServerStats()
  readonly tree: Tree
  readonly watches = new Watches<Connection>()
  readonly authenticator: Authenticator
  readonly limits: ConnectionLimits
  readonly sessions: SessionTracker
  /** Those that no other server knows. */
  readonly localSessions: LocalSessions
  readonly checkpointer: Checkpointer
  readonly replica: Replica
  readonly consensus: Consensus
  readonly startedAt: number
  /** For the four-letter words. */
  inspector: Inspector | undefined

  readonly #clock: Clock
  readonly #parts: NodeParts
  readonly #guard: Guard
  readonly #requests: Requests
  readonly #syncs = new Syncs()
  readonly #readOnly: ReadOnlyMode
  /** The first id of a session that began in read-only mode this time. */
  #firstReadOnlySession = 0
  #turnPlanned = false
  readonly #flushes: Flushes
  /** A turn is under way that ends with a flush: who needs one gets it without another turn. */
  #flushComes = false
  #stalledConnections = new Set<Connection>()
  readonly #anteroom: Anteroom
  /** What makes them, for the secret that the tree has had of late. */
  #passwords: { readonly secret: Uint8Array; readonly of: (session: number) => Buffer } | undefined
  /** While the core's phase is broadcast. Clients are served as soon as it acts. */
  #role: Role | undefined
  #serving = false
  /** Others have got a vote: it may be that this leader takes no clients any more. */
  #votersCame = false
  #writable = false
  #stopping = false
  #notServingSince: number
  readonly #recovery: Recovery
  /** Of `start`, until it has settled. */
  #starting: { resolve: () => void; reject: (error: Error) => void } | undefined
  #resigned: () => void = () => undefined

  constructor(parts: NodeParts) {
    const { config, logger, clock, tree, storage } = parts
    this.#parts = parts
    this.config = config
    this.logger = logger
    this.tree = tree
    this.#clock = clock
    this.#guard = new Guard((error) => this.#failed(error))
    this.startedAt = clock.now()
    this.#notServingSince = this.startedAt
    this.authenticator = new Authenticator({
      superDigest: config.superDigest,
      digestEnabled: config.digestAuthEnabled,
      x509Enabled: config.tls !== undefined,
      x509SuperUser: config.x509SuperUser,
    })
    this.limits = {
      maxFrameBytes: config.maxFrameBytes,
      minSessionTimeoutMs: config.minSessionTimeout,
      maxSessionTimeoutMs: config.maxSessionTimeout,
      tickMs: config.tickTime,
      skipAcl: config.skipAcl,
      writeRules: { schemes: this.authenticator.schemes, reconfigEnabled: config.reconfigEnabled },
    }
    this.sessions = new SessionTracker(tree, config.id, config.tickTime)
    this.localSessions = new LocalSessions({
      clock,
      tickMs: config.tickTime,
      onExpired: (session) => this.#localSessionExpired(session),
    })
    this.#readOnly = new ReadOnlyMode({
      enabled: config.readOnlyModeEnabled && !config.standalone,
      tickMs: config.tickTime,
      clock,
      mayServe: () => this.#mayServeReadOnly(),
      onBegin: (ms) => this.#readOnlyBegins(ms),
      onEnd: () => this.#readOnlyEnds(),
    })
    this.#flushes = new Flushes(clock)
    this.#anteroom = new Anteroom(clock, () => this.#guard.run(() => this.#anteroom.open()))
    this.#requests = new Requests(batchOptions(config))
    this.replica = new Replica({
      tree,
      log: storage.log,
      watches: this.watches,
      stats: this.stats,
      clock,
      logger,
      skipAcl: config.skipAcl,
      digestEvery: config.standalone ? digestEveryAlone : digestEvery,
      // A server that catches up has the next digest when it has done so, and nobody to tell of those before.
      isCompared: () => this.#writable,
      soleReader: config.standalone,
      readable: () => this.consensus.journal.readable,
      originsOf: (batch) => this.#requests.originsOf(batch),
      onSpecial: (kind, session, origin) => this.#specialApplied(kind, session, origin),
      onAnswered: (origins) => this.#requests.answered(origins),
      onDigest: (digest) => this.#role?.digest(digest),
      onApplied: (transactions, bytes, time) => this.#onApplied(transactions, bytes, time),
      onMore: () => this.#planTurn(),
      onFailure: (error) => this.#guard.run(() => this.#diskFailed(error)),
    })
    this.checkpointer = new Checkpointer({
      tree,
      log: storage.log,
      store: storage.checkpoint,
      clock,
      logger,
      snapCount: config.snapCount,
      random: parts.random,
      onDone: (ms) => this.stats.checkpointTime.record(ms),
      // While the disk is out of order, or nobody is followed, the state may be replaced.
      isAtRest: () => this.#writable && !this.replica.behind,
      onTrim: (zxid) => this.consensus.trimmed(zxid),
      onFatal: (error) => this.#guard.fail(error),
    })
    this.consensus = new Consensus({
      config,
      logger,
      clock,
      tree,
      storage,
      stats: this.stats,
      replica: this.replica,
      checkpointer: this.checkpointer,
      guard: this.#guard,
      peers: parts.peers,
      onConfig: parts.onConfig,
      host: this.#consensusHost(),
    })
    this.#recovery = new Recovery({
      storage,
      dataDir: config.dataDir,
      tree,
      journal: this.consensus.journal,
      replica: this.replica,
      checkpointer: this.checkpointer,
      receiver: this.consensus.receiver,
      clock,
      logger,
      onStateReplaced: () => this.consensus.configurationApplied(),
      begin: () => this.consensus.begin(storage.log.index()),
      onFatal: (error) => this.#guard.fail(error),
    })
  }

  // ---------------------------------------------------------------- life

  /**
   * Begins to look for a leader, and resolves when clients can be served for the first time: at once for a standalone
   * server. Rejects with StorageError, also if the first write of all fails. `index` is that of the log, if it is being read
   * already.
   */
  start(index: Promise<LogIndex> = this.#parts.storage.log.index()): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#starting = { resolve, reject }
      // Who connected before there is a core would stay unknown to it.
      this.consensus.suspend('starting')
      this.consensus.begin(index).catch(reject)
    })
  }

  /** Takes no more requests; resolves when those that were taken are answered, or can not be. */
  async drain(): Promise<void> {
    this.#stopping = true
    await this.#recovery.callOff()
    const until = this.#clock.now() + this.config.tickTime
    while (
      !this.#guard.failed &&
      this.#role !== undefined &&
      this.#requests.outstanding + this.#syncs.count > 0
    ) {
      if (this.#clock.now() >= until && !this.consensus.alone) break
      await this.#pause()
    }
    if (this.leads && !this.consensus.alone) await this.#handOver()
    this.#flush()
  }

  /** Lets another server lead before this one ends, so that clients wait for an election only, and for no timeout. */
  async #handOver(): Promise<void> {
    const done = new Promise<void>((resolve) => {
      this.#resigned = resolve
    })
    this.#writable = false
    this.#leadership()?.rest()
    this.consensus.settle({ type: 'resign' })
    const timer = this.#clock.after(this.config.tickTime, () => this.#resigned())
    await done
    timer.cancel()
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      this.#clock.after(1, resolve)
    })
  }

  /** Drains, stops serving, writes a last checkpoint. Storage stays open. Never rejects. */
  async stop(): Promise<void> {
    await this.drain()
    this.#serving = false
    this.#writable = false
    this.#readOnly.end()
    this.localSessions.pause()
    await this.consensus.close()
    if (this.#guard.failed) return
    this.replica.finishEntry()
    await this.checkpointer.finish()
  }

  // ---------------------------------------------------------------- Backend: state

  get serving(): boolean {
    return (
      this.#readOnly.on ||
      (this.#serving && (this.config.leaderServes || !this.leads || this.consensus.alone))
    )
  }

  get readOnly(): boolean {
    return this.#readOnly.on
  }

  get writable(): boolean {
    return this.#writable
  }

  get stopping(): boolean {
    return this.#stopping
  }

  /** The consensus core; undefined while the disk is out of order. For reading. */
  get core(): Core | undefined {
    return this.consensus.core
  }

  /** This server is an established leader. */
  get leads(): boolean {
    return this.consensus.leads
  }

  /** What operators know it as. */
  get state(): ServerState {
    if (this.#readOnly.on) return 'read-only'
    if (this.#role === undefined && !this.#serving) return 'looking'
    if (this.config.standalone) return 'standalone'
    if (this.leads) return 'leader'
    return this.consensus.observes ? 'observer' : 'follower'
  }

  /** Requests received and not answered. */
  get outstanding(): number {
    return this.#requests.outstanding + this.#syncs.count
  }

  get overloaded(): boolean {
    return this.outstanding > this.config.globalOutstandingLimit || this.#requests.bytes > outstandingBytesMax
  }

  /** `sync` requests that wait for the quorum, of this server's clients and of learners'. */
  get pendingSyncs(): number {
    return this.#syncs.count + (this.#leadership()?.pendingSyncs ?? 0)
  }

  /** The ensemble's configuration as /zookeeper/config has it; empty when standalone. */
  get membership(): string {
    return this.config.standalone ? '' : this.consensus.members.text
  }

  /** The servers of it. */
  get members(): readonly ServerSpec[] {
    return this.consensus.members.current.servers
  }

  now(): number {
    return this.#clock.now()
  }

  wordOf(first4: number): string | undefined {
    return fourLetterWord(first4)
  }

  wordArgumentBytes(word: string): number {
    return argumentBytes(word as Word, this.config)
  }

  word(word: string, argument: Buffer): string {
    assert(this.inspector !== undefined, 'a four-letter word before the server is assembled')
    return answer(word as Word, this.inspector, this.config, argument)
  }

  // ---------------------------------------------------------------- Backend: sessions

  mintSession(): number {
    return this.sessions.mint()
  }

  passwordOf(session: number): Buffer {
    assert(this.tree.settings !== undefined, 'a session before there is a secret')
    const { secret } = this.tree.settings
    if (this.#passwords?.secret !== secret) this.#passwords = { secret, of: sessionPasswords(secret) }
    return this.#passwords.of(session)
  }

  openLocalSession(timeoutMs: number): number | undefined {
    const { localSessionsEnabled, standalone } = this.config
    if (!this.#readOnly.on && (!localSessionsEnabled || standalone)) return undefined
    const session = this.sessions.mint()
    this.localSessions.open(session, timeoutMs)
    return session
  }

  isLocalSession(session: number): boolean {
    return this.localSessions.has(session)
  }

  closeLocalSession(session: number): boolean {
    return this.localSessions.close(session)
  }

  #localSessionExpired(session: number): void {
    this.stats.sessionsExpired++
    this.logger.info({ session: formatSession(session) }, 'local session expired')
    this.sessions.attached.get(session)?.close()
  }

  claim(session: number, connection: Connection): void {
    if (this.localSessions.has(session)) connection.claimed(true)
    else if (this.#readOnly.on) this.#claimReadOnly(session, connection)
    // Alone, reads go on while the disk is out of order.
    else if (this.#role === undefined) connection.claimed(this.tree.sessions.has(session))
    else this.#role.claim(session, connection)
  }

  /** A session of the ensemble may be open for all that is known here: its client is not told anything else. */
  #claimReadOnly(session: number, connection: Connection): void {
    if (session >= this.#firstReadOnlySession && session < this.sessions.next) connection.claimed(false)
    else connection.close()
  }

  attach(connection: Connection): void {
    this.sessions.attach(connection)
  }

  detach(connection: Connection): void {
    this.#anteroom.leave(connection)
    this.watches.removeAll(connection)
    const { session } = connection
    const isOpen = this.tree.sessions.has(session) || this.localSessions.has(session)
    if (this.sessions.detach(connection) && isOpen) this.stats.connectionDrops++
  }

  touch(session: number, timeoutMs: number, now: number): void {
    if (!this.localSessions.touch(session, timeoutMs, now)) this.sessions.touch(session, timeoutMs, now)
  }

  // ---------------------------------------------------------------- Backend: requests

  submit(
    kind: number,
    session: number,
    cxid: number,
    ids: readonly Id[],
    buf: Uint8Array,
    start: number,
    end: number,
    origin: Connection | undefined,
    arrived: number,
  ): void {
    assert(this.#writable, 'a proposal while nothing can be written')
    const role = this.#activeRole()
    const proposer = this.#proposer(kind, session, buf, start, end)
    if (kind === Op.reconfig && role.reconfigure !== undefined) {
      const body = Buffer.from(buf.subarray(start, end))
      role.reconfigure({ kind, session: proposer, cxid, ids, body, origin, arrived })
      return
    }
    role.admit(kind, proposer)
    this.#requests.add(kind, proposer, cxid, ids, buf, start, end, origin, arrived)
    role.gathered()
    this.#planTurn()
  }

  /** Others know nothing of a local session: its writes are nobody's, but where it must own a znode and so becomes global. */
  #proposer(kind: number, session: number, buf: Uint8Array, start: number, end: number): number {
    if (!this.localSessions.has(session)) return session
    if (!this.config.localSessionsUpgradingEnabled || !makesEphemeral(kind, buf, start, end)) return 0
    const body = Buffer.alloc(4)
    body.writeInt32BE(this.localSessions.upgrade(session))
    this.logger.debug({ session: formatSession(session) }, 'local session becomes global')
    this.#requests.add(Op.createSession, session, 0, [], body, 0, 4, undefined, 0)
    return session
  }

  sync(cxid: number, path: string | null, origin: Connection, arrived: number): void {
    this.#syncs.add(cxid, path, origin, arrived, this.#writable ? this.#activeRole().proposedUpTo : 0)
    this.#planTurn()
  }

  #leadership(): LeadingRole | undefined {
    return this.#role instanceof LeadingRole ? this.#role : undefined
  }

  #activeRole(): Role {
    assert(this.#role !== undefined, 'there is no role to serve a client in')
    return this.#role
  }

  #planTurn(): void {
    if (this.#turnPlanned) return
    this.#turnPlanned = true
    this.#clock.soon(this.#turn)
  }

  /** Made once, and not for each turn. */
  readonly #turn = () => {
    this.#turnPlanned = false
    this.consensus.handled()
  }

  /** Proposes or forwards what has gathered, applies what is committed, and lets replies out. */
  #advance(): void {
    const { peers } = this.consensus
    // What a learner applies others have already: its acknowledgement can wait for a few replies, and not for many.
    let answersFirst = false
    this.#flushComes = true
    try {
      if (this.#writable) this.#role?.sendRequests()
      answersFirst = this.#role instanceof FollowingRole && this.replica.lag <= answeredFirstMax
      if (!answersFirst) peers.flush()
      this.replica.advance()
      this.#role?.applied()
      if (this.#role !== undefined && !(this.#serving && this.#writable)) this.#takeUp(this.#role)
      if (this.#syncs.count > 0) this.#syncs.complete(this.tree.zxid)
    } finally {
      this.#flushComes = false
    }
    this.#flush()
    if (answersFirst) peers.flush()
    if (this.#votersCame && !this.replica.behind) this.#dismissClients()
    if (this.serving) this.#anteroom.open()
    this.#resumeStalled()
  }

  /** Clients that a leader is not to have (leaderServes) turn to the others. */
  #dismissClients(): void {
    this.#votersCame = false
    if (!this.#serving || this.serving) return
    for (const connection of [...this.sessions.attached.values()]) connection.close()
  }

  // ---------------------------------------------------------------- the role

  /** What comes of the core's decisions here. */
  #consensusHost(): ConsensusHost {
    return {
      advance: () => this.#advance(),
      planTurn: () => this.#planTurn(),
      began: () => this.#readOnly.end(),
      ticked: () => this.#readOnly.consider(),
      roleEnded: (reason) => this.#leave(reason),
      roleBegan: (core) => this.#begin(core),
      received: (from, message) => this.#role?.received(from, message),
      appended: (entry) => this.#countAppended(entry),
      confirmed: (id, zxid) => this.#leadership()?.confirmed(id, zxid),
      resigned: () => this.#resigned(),
      settleVoting: (voting) => this.#leadership()?.proposeVoting(voting),
      votersChanged: () => {
        this.#votersCame = true
      },
      snapshotComes: () => this.#readOnly.end(),
      snapshotInstalled: () => this.#recovery.snapshotInstalled(),
      diverged: () => this.#stateIsWrong(),
      diskFailed: (error) => this.#diskFailed(error),
    }
  }

  /** The leader's own entries are timed up to their commit; a learner counts what its leader proposes. */
  #countAppended({ first, last }: Entry): void {
    if (this.#role instanceof FollowingRole) this.stats.learnerProposals += last - first + 1
    else if (this.#writable) this.consensus.proposed(last)
  }

  #begin(core: Core): void {
    this.#readOnly.end()
    const host = this.#roleHost(core)
    if (core.role.type === 'following') this.#role = new FollowingRole(host, core.role)
    else if (core.role.type === 'leading') this.#role = new LeadingRole(host, core.role)
  }

  #roleHost(core: Core): RoleHost {
    const { config, logger, tree, stats, sessions, consensus } = this
    return {
      config,
      logger,
      clock: this.#clock,
      tree,
      stats,
      core,
      requests: this.#requests,
      syncs: this.#syncs,
      sessions,
      members: consensus.members,
      peers: consensus.peers,
      randomBytes: this.#parts.randomBytes ?? randomBytes,
      handle: (event) => consensus.handle(event),
      planTurn: () => this.#planTurn(),
      hasRoom: () => consensus.hasRoom,
      diverged: (reason) => this.#diverged(reason),
    }
  }

  /** When the role's first commit point is applied this server begins to act in it, and to serve. */
  #takeUp(role: Role): void {
    if (this.tree.zxid < role.from || this.#stopping) return
    if (!this.#writable) this.#act(role)
    if (this.#serving || this.tree.settings === undefined) return
    this.#serving = true
    this.localSessions.resume()
    this.#recordServing()
    if (this.serving) this.#parts.onServing?.()
    this.#starting?.resolve()
    this.#starting = undefined
  }

  #recordServing(): void {
    const { stats } = this
    const ms = this.#clock.now() - this.#notServingSince
    stats.unavailableTime.record(ms)
    if (this.leads) stats.leaderUnavailableTime.record(ms)
    if (this.#starting !== undefined)
      stats.loadTime.record(stats.checkpointLoadTime.sum + stats.replayTime.sum)
  }

  #act(role: Role): void {
    const { standalone, id } = this.config
    // A leader may be established by the others' disks before its own has the epoch as the current one.
    const epoch = this.core?.epochs.accepted
    const { leader } = role
    const ms = Math.round(this.#clock.now() - this.consensus.lookingSince)
    const fields = { role: this.state, leader, epoch, zxid: formatZxid(this.tree.zxid), ms }
    const doing = this.consensus.observes ? 'observes' : 'follows'
    if (!standalone)
      this.logger.info(
        fields,
        leader === id ? `leads epoch ${epoch}` : `${doing} server ${leader} in epoch ${epoch}`,
      )
    this.#writable = true
    this.#recovery.worked(fields)
    if (leader === id) this.stats.resetProposalSizes()
    this.localSessions.settle((session) => this.tree.sessions.has(session))
    role.act()
  }

  /** The role is over. Clients of an ensemble turn to another server; alone there is none, and reads go on. */
  #leave(reason: string): void {
    const role = this.#role
    const waiting = new Set<Connection>()
    this.#role = undefined
    this.#writable = false
    role?.end(waiting)
    this.consensus.abandon()
    this.#requests.abandon(waiting)
    this.replica.abandon(waiting)
    this.#syncs.abandon(waiting)
    this.sessions.abandon(this.#clock.now())
    this.localSessions.abandonUpgrades()
    for (const connection of waiting) connection.destroy()
    if (role !== undefined) {
      this.#readOnly.end()
      this.#tellOfEnd(role, reason)
    }
    if (!this.consensus.alone && this.#serving) {
      this.#serving = false
      this.#notServingSince = this.#clock.now()
      this.localSessions.pause()
      this.sessions.disconnectAll()
    }
    this.#resumeStalled()
  }

  #tellOfEnd({ leader }: Role, reason: string): void {
    const { standalone, id } = this.config
    if (standalone) return
    const done = leader === id ? 'no longer leads' : `no longer follows server ${leader}`
    const next = this.#stopping ? '' : ', looks for a leader'
    this.logger.info({ zxid: formatZxid(this.tree.zxid), reason }, `${done}${next}: ${reason}`)
  }

  // ---------------------------------------------------------------- applied transactions

  #specialApplied(kind: number, session: number, origin: Connection | undefined): void {
    switch (kind) {
      case Op.createSession:
        this.localSessions.becameGlobal(session)
        this.sessions.opened(session, this.#clock.now())
        break
      case Op.closeSession:
        this.sessions.closed(session, origin)
        break
      case Op.reconfig:
        this.consensus.configurationApplied()
    }
  }

  #onApplied(transactions: number, bytes: number, time: number): void {
    if (this.#writable) this.#countApplied(transactions, time)
    this.checkpointer.applied(transactions, bytes)
    if (this.tree.notices.length > 0)
      for (const notice of this.tree.notices.splice(0)) this.logger.warn(notice)
  }

  /** What was applied in this role; what a server reads from its log before it takes it up is not counted. */
  #countApplied(transactions: number, time: number): void {
    const { stats } = this
    if (this.leads) stats.commits += transactions
    else stats.learnerCommits += transactions
    if (time > 0) stats.propagationLatency.record(this.#clock.wall() - time)
  }

  #diverged(reason: string): void {
    this.stats.digestMismatches++
    this.logger.error({ zxid: formatZxid(this.tree.zxid) }, `this server's state is wrong: ${reason}`)
    this.consensus.handle({ type: 'diverged', reason })
  }

  #stateIsWrong(): void {
    this.#recovery.stateIsWrong().catch((error: unknown) => this.#guard.run(() => this.#diskFailed(error)))
  }

  // ---------------------------------------------------------------- read-only mode

  /** Nobody leads, the disk is in order, and what is known to be committed is applied. */
  #mayServeReadOnly(): boolean {
    const { core } = this
    if (core?.role.type !== 'looking' || core.needsSnapshot || this.#serving || this.#stopping) return false
    return this.tree.settings !== undefined && !this.replica.behind
  }

  #readOnlyBegins(ms: number): void {
    const fields = { ms: Math.round(ms), zxid: formatZxid(this.tree.zxid) }
    this.logger.warn(
      fields,
      'no leader for too long: serves reads to clients that ask for it (read-only mode)',
    )
    this.sessions.follow(this.#clock.wall())
    this.#firstReadOnlySession = this.sessions.next
    this.localSessions.resume()
  }

  /** The clients turn to a server that takes writes, which may be this one. */
  #readOnlyEnds(): void {
    this.logger.info('read-only mode ends')
    this.localSessions.pause()
    if (!this.config.localSessionsEnabled) this.localSessions.clear()
    this.sessions.disconnectAll()
  }

  // ---------------------------------------------------------------- output and back-pressure

  flushLater(connection: Connection): void {
    this.#flushes.add(connection)
    if (!this.#flushComes) this.#planTurn()
  }

  flushEventsLater(connection: Connection): void {
    this.#flushes.addEvents(connection)
    if (!this.#flushComes) this.#planTurn()
  }

  #flush(): void {
    this.#flushes.run()
    if (this.#flushes.pending) this.#planTurn()
  }

  awaitServing(connection: Connection): boolean {
    return !this.#serving && !this.#stopping && this.#anteroom.admit(connection)
  }

  stalled(connection: Connection): void {
    if (this.#stalledConnections.has(connection)) return
    this.stats.throttleWaits++
    this.#stalledConnections.add(connection)
  }

  #resumeStalled(): void {
    if (this.#stalledConnections.size === 0 || this.overloaded) return
    const stalled = this.#stalledConnections
    this.#stalledConnections = new Set()
    for (const connection of stalled) connection.resume()
  }

  // ---------------------------------------------------------------- when something fails

  /** Nobody knows what is left half done: the process must end. */
  #failed(error: Error): void {
    this.#writable = false
    this.#serving = false
    void this.#recovery.callOff()
    this.#starting?.reject(error)
    this.#resigned()
    this.#parts.onFatal(error)
  }

  /**
   * A write to the log failed: whether it is there is unknown, so this server takes no part any more until its log works
   * again, and begins anew with what that holds. Clients of an ensemble turn to other servers; those of a standalone
   * server keep their reads.
   */
  #diskFailed(error: unknown): void {
    if (!(error instanceof StorageError)) {
      this.#guard.fail(error)
      return
    }
    if (this.#recovery.underWay) return
    const reason = 'the log can not be written'
    this.#recovery.failed(error)
    this.#readOnly.end()
    this.replica.finishEntry()
    this.#leave(reason)
    this.consensus.suspend(reason)
    if (this.#starting !== undefined) this.#starting.reject(error)
    else this.#recovery.start()
  }
}

/** BatchOption bits: what this server, as leader, lets apply know of its settings. */
function batchOptions({ enforceQuota, skipAcl, ttlEnabled }: Config): number {
  let options = 0
  if (enforceQuota) options |= BatchOption.enforceQuota
  if (skipAcl) options |= BatchOption.skipAcl
  if (!ttlEnabled) options |= BatchOption.ttlDisabled
  return options
}

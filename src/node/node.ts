// The loop that wires a server: requests come in from connections, become proposals of the consensus core, go to the
// log, come back as commits, are applied to the tree, and leave as replies and watch events. One write path for
// everybody (DESIGN section 3): sessions, the reaper and settings propose like clients do. It decides nothing of its
// own: consensus is zab/'s, the rules of operations are tree/'s.
import { randomBytes } from 'node:crypto'
import { answer, argumentBytes, fourLetterWord, type Word } from '../admin/words.ts'
import { assert } from '../base/assert.ts'
import type { Logger } from '../base/log.ts'
import { Op, Perm } from '../base/opcodes.ts'
import { formatZxid } from '../base/zxid.ts'
import type { Config } from '../config/types.ts'
import { Writer } from '../jute/writer.ts'
import { Authenticator } from '../server/auth.ts'
import type { Backend, ConnectionLimits } from '../server/backend.ts'
import { type Connection, formatSession, writeEvent } from '../server/connection.ts'
import { ExpiryQueue } from '../server/expiry.ts'
import { ServerStats } from '../server/stats.ts'
import { Watches } from '../server/watches.ts'
import { type CheckpointStore, type LogStore, StorageError } from '../storage/types.ts'
import { type Acl, type Id, permits } from '../tree/acl.ts'
import { Applier } from '../tree/apply.ts'
import { Batch, BatchOption } from '../tree/batch.ts'
import type { Tree } from '../tree/tree.ts'
import { type Core, createCore, type Effect, type Event, step, zxidAfter } from '../zab/core.ts'
import type { Quorum } from '../zab/quorum.ts'
import { defaultSettings, type Entry } from '../zab/types.ts'
import { Checkpointer } from './checkpointer.ts'
import type { Clock, Timer } from './clock.ts'
import type { Inspector } from './inspect.ts'
import { Reaper } from './reaper.ts'
import { firstSessionId, highestOf, sessionPassword } from './sessions.ts'

/** Bytes of proposals that may wait for their commit before connections are not read any more. */
const outstandingBytesMax = 64 << 20
/** Between two attempts to get the disk to take writes again. */
const reopenMs = 1000
/** Digests are kept at each zxid that is a multiple of this, as in ZooKeeper. */
const digestEvery = 128
const digestsKept = 128
/** Rules version of this release (DESIGN 2.8). */
const rulesVersion = 1

const noIds: readonly Id[] = []
const noBytes = Buffer.alloc(0)

/** An entry on its way to its commit, with who waits for its transactions. */
type InFlight = {
  readonly entry: Entry
  readonly batch: Batch
  readonly origins: readonly (Connection | undefined)[]
  readonly arrivals: readonly number[]
}

type PendingSync = {
  readonly zxid: number
  readonly cxid: number
  readonly path: string | null
  readonly origin: Connection
  readonly arrived: number
}

export type NodeParts = {
  readonly config: Config
  readonly logger: Logger
  readonly clock: Clock
  readonly tree: Tree
  readonly log: LogStore
  readonly checkpoints: CheckpointStore
  readonly quorum: Quorum
  /** Draws a number in [0, 1). */
  readonly random: () => number
  /** For 32 bytes of secret and 16 of ensemble id, once in the life of an ensemble. */
  readonly randomBytes?: (size: number) => Buffer
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
  readonly expiry: ExpiryQueue
  readonly checkpointer: Checkpointer
  /** Connection of each session that is connected here. */
  readonly attached = new Map<number, Connection>()
  readonly startedAt: number
  /** Tree digests at every 128th zxid, newest last. */
  readonly digests: { zxid: number; digest: string }[] = []
  /** For the four-letter words. */
  inspector: Inspector | undefined

  readonly #clock: Clock
  readonly #parts: NodeParts
  readonly #applier: Applier
  #core: Core
  #batch: Batch
  #origins: (Connection | undefined)[] = []
  #arrivals: number[] = []
  readonly #inFlight: InFlight[] = []
  #outstanding = 0
  #outstandingBytes = 0
  #syncs: PendingSync[] = []
  #turnPlanned = false
  #appending: Promise<void> | undefined
  #flushes: Connection[] = []
  #stalledConnections = new Set<Connection>()
  readonly #closing = new Set<number>()
  readonly #syncReply = new Writer(64)
  readonly #eventFrame = new Writer(512)
  #eventIndex = -1
  #changeAcl: readonly Acl[] = []
  #changeIndex = 0
  #serving = false
  #writable = false
  #stopping = false
  /** Why the epoch can take no more proposals. */
  #exhausted: string | undefined
  /** Settles when the log takes writes again, or the server stops. */
  #recovering: Promise<void> | undefined
  #retry: Timer | undefined
  #retryNow: () => void = () => undefined
  #fatal = false
  #nextSession = 0
  #tick: Timer | undefined
  readonly #reaper: Reaper
  /** Of `start`, until it has settled. */
  #starting: { resolve: () => void; reject: (error: Error) => void } | undefined
  readonly #deliver = (watcher: Connection, type: number, path: string) => this.#notify(watcher, type, path)

  constructor(parts: NodeParts) {
    const { config, logger, clock, tree } = parts
    this.#parts = parts
    this.config = config
    this.logger = logger
    this.tree = tree
    this.#clock = clock
    this.startedAt = clock.now()
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
    this.expiry = new ExpiryQueue(config.tickTime)
    this.#applier = new Applier(tree)
    this.#batch = this.#newBatch()
    this.#core = this.#createCore()
    this.checkpointer = new Checkpointer({
      tree,
      log: parts.log,
      store: parts.checkpoints,
      clock,
      logger,
      snapCount: config.snapCount,
      random: parts.random,
      onDone: (ms) => this.stats.checkpointTime.record(ms),
      onTrim: (zxid) => step(this.#core, { type: 'trimmed', zxid }),
      onFatal: (error) => this.#fail(error),
    })
    this.#reaper = new Reaper({
      tree,
      clock,
      settings: config.container,
      remove: (path) => this.#propose(Op.deleteContainer, 0, pathBody(path)),
      ready: () => this.#writable,
    })
  }

  // ---------------------------------------------------------------- life

  /**
   * Elects, replays the log, and resolves when clients can be served. Rejects with StorageError, also if the first
   * write of all, the ensemble's settings, fails.
   */
  start(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#starting = { resolve, reject }
      this.#startCore().catch(reject)
    })
  }

  async #startCore(): Promise<void> {
    this.#core = this.#createCore()
    await this.#handle(step(this.#core, { type: 'start', now: this.#clock.now() }))
  }

  /** As if the log were trimmed to its end: there is no other server that could ask for an entry. */
  #createCore(): Core {
    const { log, quorum } = this.#parts
    const { epochs, lastZxid } = log
    const { id, tickTime: tickMs, initLimit, syncLimit } = this.config
    // Entries are kept in memory for other servers only.
    const settings = { ...defaultSettings, tickMs, initLimit, syncLimit, cacheBytes: 0 }
    const applied = this.tree.zxid
    return createCore({ id, quorum, epochs, trimmedTo: lastZxid, lasts: [], applied, settings })
  }

  /** Effects that need the disk, outside the hot path: epochs, and the initial history. */
  async #handle(effects: readonly Effect[]): Promise<void> {
    for (const effect of effects) {
      switch (effect.type) {
        case 'saveEpochs':
          await this.#parts.log.saveEpochs(effect.epochs)
          await this.#handle(step(this.#core, { type: 'epochsSaved', epochs: effect.epochs }))
          break
        case 'commit':
          await this.#replay(effect.zxid)
          break
        case 'roleChanged':
          if (effect.role === 'leading' && effect.phase === 'broadcast') this.#established(effect.epoch)
          break
        default:
          assert(false, `effect ${effect.type} before broadcast`)
      }
    }
  }

  /** Applies what the log holds beyond the tree, up to `zxid`. */
  async #replay(zxid: number): Promise<void> {
    const { log } = this.#parts
    const began = this.#clock.now()
    let told = began
    let count = 0
    let bytes = 0
    for await (const entry of log.read(this.tree.zxid)) {
      if (entry.last > zxid) break
      assert(entry.first > this.tree.zxid, `entry ${entry.first} overlaps the state at ${this.tree.zxid}`)
      const batch = Batch.decode(entry.bytes)
      for (let i = 0; i < batch.count; i++) this.#apply(batch, i, entry.first + i, undefined, 0)
      count += batch.count
      bytes += entry.bytes.length
      // They were logged when it happened.
      this.tree.notices.length = 0
      const now = this.#clock.now()
      if (now - told > 1000) {
        told = now
        this.logger.info({ transactions: count, zxid: formatZxid(entry.last) }, 'replaying the log')
      }
    }
    assert(this.tree.zxid === zxid || zxid === 0, `the log ends at ${this.tree.zxid}, expected ${zxid}`)
    this.stats.loadTime.record(this.#clock.now() - began)
    if (count > 0)
      this.logger.info({ transactions: count, ms: Math.round(this.#clock.now() - began) }, 'log replayed')
    this.checkpointer.applied(count, bytes)
  }

  /** This server leads: sessions get a full timeout (semantics.md rule 39) and proposals may begin. */
  #established(epoch: number): void {
    const { config, tree } = this
    const now = this.#clock.now()
    for (const [id, timeout] of tree.sessions)
      this.expiry.touch(id, this.attached.get(id)?.timeoutMs ?? timeout, now)
    this.expiry.restartAll(now)
    const highest = Math.max(this.#nextSession - 1, highestOf(config.id, tree.sessions.keys()))
    this.#nextSession = firstSessionId(config.id, this.#clock.wall(), highest)
    this.#writable = true
    this.logger.debug({ epoch, zxid: formatZxid(tree.zxid) }, 'leading')
    if (tree.settings === undefined) this.#proposeSettings()
    else this.#ready()
    if (this.#tick === undefined) this.#planTick()
    this.#reaper.start()
  }

  /** Once in the life of an ensemble its first leader draws its id and its secret. */
  #proposeSettings(): void {
    const draw = this.#parts.randomBytes ?? randomBytes
    const body = new Writer(64)
    body.int(rulesVersion)
    body.buffer(draw(16))
    body.buffer(draw(32))
    this.#propose(Op.settings, 0, body.bytes())
  }

  #ready(): void {
    this.#serving = true
    this.#starting?.resolve()
    this.#starting = undefined
  }

  /** Takes no more requests; resolves when those that were taken are answered, or can not be. */
  async drain(): Promise<void> {
    this.#stopping = true
    this.#tick?.cancel()
    this.#reaper.stop()
    this.#retry?.cancel()
    this.#retryNow()
    await this.#recovering
    while (this.#appending !== undefined || (this.#batch.count > 0 && this.#writable)) {
      if (this.#appending === undefined) this.#turn()
      await this.#appending
    }
    this.#confirmSyncs()
    this.#flushConnections()
  }

  /** Drains, stops serving, writes a last checkpoint. Storage stays open. Never rejects. */
  async stop(): Promise<void> {
    await this.drain()
    this.#serving = false
    this.#writable = false
    if (!this.#fatal) await this.checkpointer.finish()
  }

  // ---------------------------------------------------------------- Backend: state

  get serving(): boolean {
    return this.#serving
  }

  get writable(): boolean {
    return this.#writable
  }

  get stopping(): boolean {
    return this.#stopping
  }

  get core(): Core {
    return this.#core
  }

  /** Requests received and not answered. */
  get outstanding(): number {
    return this.#outstanding + this.#syncs.length
  }

  get overloaded(): boolean {
    return (
      this.outstanding > this.config.globalOutstandingLimit || this.#outstandingBytes > outstandingBytesMax
    )
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
    return this.#nextSession++
  }

  passwordOf(session: number): Buffer {
    assert(this.tree.settings !== undefined, 'a session before there is a secret')
    return sessionPassword(this.tree.settings.secret, session)
  }

  isOpen(session: number): boolean {
    return this.tree.sessions.has(session) && !this.#closing.has(session)
  }

  attach(connection: Connection): void {
    const before = this.attached.get(connection.session)
    this.attached.set(connection.session, connection)
    if (before !== undefined && before !== connection) before.destroy()
  }

  detach(connection: Connection): void {
    this.watches.removeAll(connection)
    if (this.attached.get(connection.session) !== connection) return
    this.attached.delete(connection.session)
    if (this.tree.sessions.has(connection.session)) this.stats.connectionDrops++
  }

  touch(session: number, timeoutMs: number, now: number): void {
    if (!this.#closing.has(session)) this.expiry.touch(session, timeoutMs, now)
  }

  /** Looks for expired sessions at every multiple of the tick. */
  #planTick(): void {
    const { tickTime } = this.config
    const now = this.#clock.now()
    const due = (Math.floor(now / tickTime) + 1) * tickTime
    this.#tick = this.#clock.after(due - now, () => {
      const late = this.#clock.now() - due
      // After a pause of the whole process the clients' pings may lie unread in the sockets: read them first.
      if (late > tickTime / 2) this.#clock.soon(() => this.#clock.soon(() => this.#expire()))
      else this.#expire()
      if (!this.#stopping) this.#planTick()
    })
  }

  #expire(): void {
    if (this.#stopping) return
    const now = this.#clock.now()
    for (const session of this.expiry.expired(now)) {
      if (!this.tree.sessions.has(session) || this.#closing.has(session)) continue
      if (!this.#writable) {
        this.expiry.touch(session, this.config.tickTime, now)
        continue
      }
      this.stats.sessionsExpired++
      this.logger.info({ session: formatSession(session) }, 'session expired')
      this.#propose(Op.closeSession, session, noBytes)
    }
  }

  // ---------------------------------------------------------------- proposing

  #newBatch(): Batch {
    const { enforceQuota, skipAcl, ttlEnabled } = this.config
    let options = 0
    if (enforceQuota) options |= BatchOption.enforceQuota
    if (skipAcl) options |= BatchOption.skipAcl
    if (!ttlEnabled) options |= BatchOption.ttlDisabled
    return new Batch(0, options)
  }

  /** A proposal of the server's own. */
  #propose(kind: number, session: number, body: Buffer): void {
    this.submit(kind, session, 0, noIds, body, 0, body.length, undefined, this.#clock.now())
  }

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
    this.#batch.add(kind, session, cxid, ids, buf, start, end)
    this.#origins.push(origin)
    this.#arrivals.push(arrived)
    this.#outstanding++
    this.#outstandingBytes += end - start
    if (kind === Op.closeSession) {
      this.#closing.add(session)
      this.expiry.remove(session)
    }
    this.#planTurn()
  }

  sync(cxid: number, path: string | null, origin: Connection, arrived: number): void {
    const zxid = this.#writable ? zxidAfter(this.#core, this.#batch.count) : this.tree.zxid
    this.#syncs.push({ zxid, cxid, path, origin, arrived })
    this.#outstandingBytes += path?.length ?? 0
    this.#planTurn()
  }

  #planTurn(): void {
    if (this.#turnPlanned) return
    this.#turnPlanned = true
    this.#clock.soon(() => {
      this.#turnPlanned = false
      try {
        this.#turn()
      } catch (error) {
        this.#fail(error)
      }
    })
  }

  /** Once per turn of the event loop: proposes what has gathered, unless a sync is under way and will do so. */
  #turn(): void {
    if (this.#appending === undefined && this.#batch.count > 0 && this.#writable) this.#flushBatch()
    this.#stepDownIfExhausted()
    this.#confirmSyncs()
    this.#flushConnections()
    this.#resumeStalled()
  }

  #flushBatch(): void {
    const batch = this.#batch
    batch.time = this.#clock.wall()
    const bytes = batch.encode()
    const event: Event = { type: 'propose', count: batch.count, bytes }
    for (const effect of step(this.#core, event)) {
      if (effect.type === 'roleChanged') {
        this.#exhausted = effect.reason
        return
      }
      assert(effect.type === 'append', `effect ${effect.type} of a proposal`)
      const { entry } = effect
      this.#inFlight.push({ entry, batch, origins: this.#origins, arrivals: this.#arrivals })
      this.stats.proposed(bytes.length)
      this.#batch = this.#newBatch()
      this.#origins = []
      this.#arrivals = []
      this.#append(entry)
    }
  }

  #append(entry: Entry): void {
    const began = this.#clock.now()
    this.#appending = this.#parts.log.append([entry]).then(
      () => this.#guard(() => this.#durable(entry, began)),
      (error: unknown) => this.#guard(() => this.#appendFailed(error)),
    )
  }

  #guard(action: () => void): void {
    try {
      action()
    } catch (error) {
      this.#fail(error)
    }
  }

  #fail(error: unknown): void {
    this.#fatal = true
    this.#writable = false
    this.#serving = false
    const reason = error instanceof Error ? error : new Error(String(error))
    this.#starting?.reject(reason)
    this.#parts.onFatal(reason)
  }

  /** The entry is on disk. The next one goes there before this one is applied, so that the disk is never idle. */
  #durable(entry: Entry, began: number): void {
    const took = this.#clock.now() - began
    this.stats.fsync.record(took)
    if (took > this.config.fsyncWarningMs)
      this.logger.warn({ ms: Math.round(took) }, 'a sync of the log took long; it holds up every write')
    this.#appending = undefined
    const effects = step(this.#core, { type: 'durable', zxid: entry.last })
    if (this.#batch.count > 0 && this.#writable) this.#flushBatch()
    for (const effect of effects) {
      assert(effect.type === 'commit', `effect ${effect.type} of a durable entry`)
      this.#commit(effect.zxid)
    }
    this.#stepDownIfExhausted()
  }

  // ---------------------------------------------------------------- applying

  #commit(zxid: number): void {
    let applied = 0
    let bytes = 0
    for (
      let head = this.#inFlight[0];
      head !== undefined && head.entry.last <= zxid;
      head = this.#inFlight[0]
    ) {
      this.#inFlight.shift()
      const { batch, entry, origins, arrivals } = head
      for (let i = 0; i < batch.count; i++) {
        this.#apply(batch, i, entry.first + i, origins[i], arrivals[i] as number)
        // A sync's answer has its place among those of its connection's writes.
        if (this.#syncs.length > 0) this.#confirmSyncs()
      }
      applied += batch.count
      bytes += entry.bytes.length
      this.#outstanding -= batch.count
      this.#outstandingBytes -= batch.size
    }
    this.stats.commits += applied
    this.#confirmSyncs()
    this.#flushConnections()
    this.#resumeStalled()
    this.checkpointer.applied(applied, bytes)
    for (const notice of this.tree.notices.splice(0)) this.logger.warn(notice)
  }

  #apply(batch: Batch, index: number, zxid: number, origin: Connection | undefined, arrived: number): void {
    const { tree } = this
    const applier = this.#applier
    const kind = batch.kinds[index] as number
    tree.watched = this.watches.size > 0
    applier.apply(batch, index, zxid, origin !== undefined)
    if (tree.changes.count > 0) this.#fireWatches()
    if (kind === Op.createSession || kind === Op.closeSession || kind === Op.settings)
      this.#sessionApplied(kind, batch.sessions[index] as number, origin)
    if (zxid % digestEvery === 0) this.#keepDigest(zxid)
    origin?.completed(kind, batch.cxids[index] as number, zxid, applier.err, applier.reply, arrived)
  }

  #sessionApplied(kind: number, session: number, origin: Connection | undefined): void {
    if (kind === Op.createSession) {
      this.expiry.touch(session, this.tree.sessions.get(session) as number, this.#clock.now())
    } else if (kind === Op.closeSession) {
      this.#closing.delete(session)
      this.expiry.remove(session)
      const connection = this.attached.get(session)
      this.attached.delete(session)
      if (connection !== origin) connection?.close()
    } else if (this.#writable && !this.#serving) {
      // Not while replaying: then the state is an old one.
      this.#ready()
    }
  }

  #keepDigest(zxid: number): void {
    const [high, low] = this.tree.digest()
    this.digests.push({ zxid, digest: ((BigInt(high) << 32n) | BigInt(low)).toString() })
    if (this.digests.length > digestsKept) this.digests.shift()
  }

  #fireWatches(): void {
    const { changes } = this.tree
    for (let i = 0; i < changes.count; i++) {
      this.#changeIndex = i
      this.#changeAcl = changes.acls[i] as readonly Acl[]
      this.watches.fire(changes.types[i] as number, changes.paths[i] as string, this.#deliver)
    }
    this.#eventIndex = -1
  }

  /** The frame is built for the first watcher of a change and serves all of them. */
  #notify(watcher: Connection, type: number, path: string): void {
    if (!this.config.skipAcl && !permits(this.#changeAcl, Perm.read, watcher.ids)) return
    const frame = this.#eventFrame
    if (this.#eventIndex !== this.#changeIndex) {
      this.#eventIndex = this.#changeIndex
      frame.clear()
      writeEvent(frame, this.tree.zxid, type, path)
    }
    this.stats.eventSent(frame.pos - 4)
    watcher.notify(frame.bytes())
  }

  #confirmSyncs(): void {
    const syncs = this.#syncs
    let done = 0
    for (let sync = syncs[0]; sync !== undefined && sync.zxid <= this.tree.zxid; sync = syncs[++done]) {
      this.#outstandingBytes -= sync.path?.length ?? 0
      this.#syncReply.clear()
      this.#syncReply.string(sync.path)
      sync.origin.completed(Op.sync, sync.cxid, this.tree.zxid, 0, this.#syncReply, sync.arrived)
    }
    if (done > 0) this.#syncs = done === syncs.length ? [] : syncs.slice(done)
  }

  // ---------------------------------------------------------------- output and back-pressure

  flushLater(connection: Connection): void {
    this.#flushes.push(connection)
    if (this.#flushes.length === 1) this.#planTurn()
  }

  #flushConnections(): void {
    const flushes = this.#flushes
    if (flushes.length === 0) return
    this.#flushes = []
    for (const connection of flushes) connection.flush()
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

  // ---------------------------------------------------------------- when the disk fails

  /**
   * An append failed: whether its entry is on disk is unknown, so its clients are cut off and find out (to them it is
   * a lost connection); nothing of it is answered. Reads go on; writes are refused until the log works again.
   */
  #appendFailed(error: unknown): void {
    if (!(error instanceof StorageError)) {
      this.#fail(error)
      return
    }
    this.#appending = undefined
    this.logger.error(
      { err: error, path: error.path },
      `the log can not be written, writes stop: ${error.remedy}`,
    )
    this.#abandonProposals()
    if (this.#starting === undefined) this.#beginRecovery()
    else this.#starting.reject(error)
  }

  /** Too many transactions for one epoch: a new one begins, once what is committed has been answered. */
  #stepDownIfExhausted(): void {
    if (this.#exhausted === undefined) return
    this.logger.info(`a new epoch begins: ${this.#exhausted}`)
    this.#exhausted = undefined
    this.#abandonProposals()
    this.#beginRecovery()
  }

  #abandonProposals(): void {
    this.#writable = false
    const waiting = new Set<Connection>()
    for (const { origins } of this.#inFlight)
      for (const origin of origins) if (origin !== undefined) waiting.add(origin)
    for (const origin of this.#origins) if (origin !== undefined) waiting.add(origin)
    for (const { origin } of this.#syncs) waiting.add(origin)
    this.#inFlight.length = 0
    this.#batch = this.#newBatch()
    this.#origins = []
    this.#arrivals = []
    this.#syncs = []
    this.#outstanding = 0
    this.#outstandingBytes = 0
    const now = this.#clock.now()
    for (const session of this.#closing) {
      const timeout = this.tree.sessions.get(session)
      if (timeout !== undefined) this.expiry.touch(session, timeout, now)
    }
    this.#closing.clear()
    for (const connection of waiting) connection.destroy()
    this.#resumeStalled()
  }

  #beginRecovery(): void {
    this.#recovering = this.#recover().finally(() => {
      this.#recovering = undefined
    })
  }

  /** Opens the log again and again until it takes writes, then begins a new epoch on what it holds. */
  async #recover(): Promise<void> {
    for (;;) {
      if (this.#stopping || this.#fatal) return
      try {
        await this.#parts.log.reopen()
        await this.#startCore()
        this.logger.info({ zxid: formatZxid(this.tree.zxid) }, 'the log takes writes again')
        return
      } catch (error) {
        if (!(error instanceof StorageError) || error.kind === 'corrupt') {
          this.#fail(error)
          return
        }
        this.logger.warn(`the log still can not be written: ${error.message}`)
      }
      if (this.#stopping) return
      await new Promise<void>((resolve) => {
        this.#retryNow = resolve
        this.#retry = this.#clock.after(reopenMs, resolve)
      })
    }
  }
}

/** Body of a deleteContainer. */
function pathBody(path: string): Buffer {
  const body = new Writer(path.length * 3 + 8)
  body.string(path)
  return body.bytes()
}

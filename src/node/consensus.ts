// Runs the consensus core of zab/: hands it what happens between servers, to the disk and on the clock, and does what it says.
// It has what the core speaks through (connections to other servers, log, snapshots) and decides nothing of its own; what
// comes of it for clients is node.ts's.
import { assert, assertNever } from '../base/assert.ts'
import type { Logger } from '../base/log.ts'
import { formatZxid } from '../base/zxid.ts'
import type { Config } from '../config/types.ts'
import type { PeerMessage } from '../peers/messages.ts'
import type { PeerHandler, Peers } from '../peers/types.ts'
import type { ServerStats } from '../server/stats.ts'
import type { LogIndex, Storage } from '../storage/types.ts'
import type { Tree } from '../tree/tree.ts'
import { type Core, createCore, type Effect, type Event, step, votingAt } from '../zab/core.ts'
import { defaultSettings, type Entry, type Epochs, type VotingAt } from '../zab/types.ts'
import type { Checkpointer } from './checkpointer.ts'
import type { Clock, Timer } from './clock.ts'
import type { Guard } from './guard.ts'
import { InFlight } from './in-flight.ts'
import { Journal } from './journal.ts'
import { Lookout } from './lookout.ts'
import { Members, wasAlone } from './members.ts'
import type { Membership } from './membership.ts'
import type { Replica } from './replica.ts'
import type { Proposed } from './requests.ts'
import { SnapshotReceiver, SnapshotSender } from './snapshots.ts'

/** How often in a tick the core looks at the clock. */
const coreTicks = 8

/** What the node does about it. */
export interface ConsensusHost {
  /** Proposes what has gathered, applies what is committed, answers. */
  advance(): void
  /** Soon there is something to do. */
  planTurn(): void
  /** A core has begun, and looks for a leader. */
  began(): void
  /** The time that a core looks at the clock. */
  ticked(): void
  /** The role is over, if there was one. */
  roleEnded(reason: string): void
  /** The core has come to broadcast: `core.role` is a role to act in. */
  roleBegan(core: Core): void
  /** A message of a node's own from another server; what a role takes goes to it. May throw PeerFault. */
  received(from: number, message: PeerMessage): void
  /** An entry goes to the log. */
  appended(entry: Entry): void
  /** This leader leads, as the quorum has confirmed since it was asked for with this id, and has proposed up to `zxid`. */
  confirmed(id: number, zxid: number): void
  /** This leader has another one in its place. */
  resigned(): void
  /** Leader: this is to be written to the history as who votes. */
  settleVoting(voting: Extract<Effect, { type: 'settle' }>['voting']): void
  /** Others have got a vote, or lost it. */
  votersChanged(): void
  /** A snapshot from the leader will take the place of the state, */
  snapshotComes(): void
  /** or has done so. */
  snapshotInstalled(): void
  /** The state is not that of the ensemble: to be marked in the log. */
  diverged(): void
  /** A write to the log failed; whether it is there is unknown. */
  diskFailed(error: unknown): void
}

export type ConsensusParts = {
  readonly config: Config
  readonly logger: Logger
  readonly clock: Clock
  readonly tree: Tree
  readonly storage: Storage
  readonly stats: ServerStats
  readonly replica: Replica
  readonly checkpointer: Checkpointer
  readonly guard: Guard
  /** The connections to the other servers; undefined for a standalone server. */
  readonly peers: ((handler: PeerHandler) => Peers) | undefined
  /** The ensemble has another configuration, as in /zookeeper/config. */
  readonly onConfig: ((membership: Membership) => void) | undefined
  readonly host: ConsensusHost
}

/** See file header. */
export class Consensus implements PeerHandler {
  readonly members: Members
  readonly peers: Peers
  readonly journal: Journal
  readonly receiver: SnapshotReceiver
  readonly #parts: ConsensusParts
  readonly #sender: SnapshotSender
  readonly #lookout: Lookout
  /** Leader: own entries that are not committed. */
  readonly #inFlight: InFlight
  #core: Core | undefined
  #tick: Timer | undefined
  #lookingSince: number
  /** When the election was over. */
  #foundAt = 0

  constructor(parts: ConsensusParts) {
    const { config, logger, clock, tree, storage, stats, checkpointer, guard, host } = parts
    this.#parts = parts
    this.#lookingSince = clock.now()
    this.members = new Members(config, tree)
    this.#lookout = new Lookout({ logger, tickMs: config.tickTime })
    this.#inFlight = new InFlight(clock, (ms) => stats.quorumAckLatency.record(ms))
    this.journal = new Journal({
      log: storage.log,
      clock,
      onDurable: (zxid, ms, transactions) => this.#durable(zxid, ms, transactions),
      onTruncated: (zxid) => guard.run(() => this.settle({ type: 'truncated', zxid })),
      onFailure: (error) => guard.run(() => host.diskFailed(error)),
    })
    this.peers = parts.peers?.(this) ?? noPeers
    this.#sender = new SnapshotSender({
      storage,
      checkpointer,
      peers: this.peers,
      clock,
      logger,
      votingAt: (zxid) => (this.#core === undefined ? undefined : votingAt(this.#core, zxid)),
    })
    this.receiver = new SnapshotReceiver({
      storage,
      journal: this.journal,
      checkpointer,
      clock,
      logger,
      onInstalled: (installed, voting) => guard.run(() => this.#snapshotInstalled(installed, voting)),
      onAborted: () => guard.run(() => this.settle({ type: 'snapshotAborted' })),
    })
  }

  // ---------------------------------------------------------------- what is known

  /** Undefined while the disk is out of order. For reading. */
  get core(): Core | undefined {
    return this.#core
  }

  /** This server is an established leader. */
  get leads(): boolean {
    const role = this.#core?.role
    return role?.type === 'leading' && role.phase === 'broadcast'
  }

  /** No other server has a say in what is committed. */
  get alone(): boolean {
    const { config } = this.#parts
    const voters = this.#core?.quorum.voters
    return config.standalone || (voters?.length === 1 && voters[0] === config.id)
  }

  /** This server has no vote. */
  get observes(): boolean {
    return this.#core?.quorum.voters.includes(this.#parts.config.id) !== true
  }

  /** Monotonic ms. */
  get lookingSince(): number {
    return this.#lookingSince
  }

  /** Whether the next entry may be proposed, or should wait for more to come. */
  get hasRoom(): boolean {
    return this.alone ? this.journal.idle : this.#inFlight.hasRoom
  }

  // ---------------------------------------------------------------- beginning and end

  /** Begins with what the disk holds: at start, and after the disk has failed. Rejects with StorageError. */
  async begin(index: Promise<LogIndex>): Promise<void> {
    const { config, tree, clock, stats, host } = this.#parts
    const { log } = this.#parts.storage
    const { lasts, votings } = await index
    const { id, tickTime: tickMs, initLimit, syncLimit } = config
    // Entries are kept in memory for other servers only.
    const cacheBytes = config.standalone ? 0 : defaultSettings.cacheBytes
    this.#core = createCore({
      id,
      quorum: this.members.configuredQuorum,
      votings: config.reconfigEnabled ? votings : [],
      epochs: log.epochs,
      trimmedTo: log.trimmedTo,
      lasts,
      applied: tree.zxid,
      settings: { ...defaultSettings, tickMs, initLimit, syncLimit, cacheBytes },
      firstSession: Math.max(clock.wall(), (this.#core?.sessions ?? 0) + 1),
      needsSnapshot: log.diverged,
      alone: config.standalone || (await wasAlone(tree, log)),
    })
    if (!config.standalone) stats.lookings++
    host.began()
    this.settle({ type: 'start', now: clock.now() })
    if (this.#tick === undefined && !config.standalone) this.#planTick()
    this.peers.setMembers(this.members.list)
    this.peers.resume()
  }

  /** Takes no part any more, until `begin`. The role must be over. */
  suspend(reason: string): void {
    this.#core = undefined
    this.peers.suspend(reason)
  }

  /** Takes no part any more, for good; resolves when the log is left alone. */
  async close(): Promise<void> {
    this.#tick?.cancel()
    await this.peers.close()
    await this.journal.settled()
    this.#core = undefined
    this.#sender.endAll()
  }

  /** The role is over: what it had under way is not its own any more. */
  abandon(): void {
    this.#inFlight.clear()
    this.#sender.endAll()
  }

  // ---------------------------------------------------------------- events

  /** Hands an event to the core and does what it says. */
  handle(event: Event): void {
    const core = this.#core
    if (core === undefined) return
    for (const effect of step(core, event)) this.#perform(effect)
    if (this.journal.waits) {
      // The others begin with an entry while it goes to this disk, and not after that was set to work.
      this.peers.flush()
      this.journal.begin()
    }
  }

  /** What happened between servers or to the disk: the core decides, then everything that follows is done. */
  settle(event: Event): void {
    this.handle(event)
    this.#parts.host.advance()
  }

  connected(peer: number): void {
    const { guard, host } = this.#parts
    guard.run(() => this.handle({ type: 'peerConnected', peer }))
    host.planTurn()
  }

  lost(peer: number): void {
    const { guard, host } = this.#parts
    this.#sender.end(peer)
    guard.run(() => this.handle({ type: 'peerLost', peer }))
    host.planTurn()
  }

  received(from: number, message: PeerMessage): void {
    const { guard } = this.#parts
    if (guard.failed) return
    try {
      this.#received(from, message)
    } catch (error) {
      guard.caught(error)
    }
  }

  /** At once, and not in a turn of its own: a lone write waits for several such hops. */
  handled(): void {
    const { guard, host } = this.#parts
    if (guard.failed) return
    try {
      host.advance()
    } catch (error) {
      guard.caught(error)
    }
  }

  #received(from: number, message: PeerMessage): void {
    if (this.#core === undefined) return
    const { host } = this.#parts
    switch (message.type) {
      case 'forward':
      case 'sync':
      case 'claim':
      case 'touches':
      case 'digest':
      case 'synced':
      case 'claimed':
      case 'moved':
      case 'divergence':
        host.received(from, message)
        break
      case 'snapshotPart':
      case 'snapshotEnd':
        this.receiver.received(from, message)
        break
      case 'snapshotFailed':
        this.receiver.abort(message.session)
        break
      default:
        this.handle({ type: 'message', from, message })
        host.received(from, message)
        if (message.type === 'installed') this.#sender.end(from)
    }
  }

  #durable(zxid: number, ms: number, transactions: number): void {
    const { config, logger, stats, guard } = this.#parts
    if (guard.failed) return
    try {
      stats.fsync.record(ms)
      stats.batchSize.record(transactions)
      if (ms > config.fsyncWarningMs)
        logger.warn({ ms: Math.round(ms) }, 'a sync of the log took long; it holds up every write')
      this.settle({ type: 'durable', zxid })
    } catch (error) {
      guard.caught(error)
    }
  }

  /** The log begins behind `zxid`. */
  trimmed(zxid: number): void {
    this.#parts.guard.run(() => this.settle({ type: 'trimmed', zxid }))
  }

  #snapshotInstalled(installed: Tree, voting: VotingAt | undefined): void {
    const { tree, replica, host } = this.#parts
    tree.adopt(installed)
    host.snapshotInstalled()
    replica.reset()
    const { zxid } = tree
    this.configurationApplied()
    this.settle(
      voting === undefined
        ? { type: 'snapshotInstalled', zxid }
        : { type: 'snapshotInstalled', zxid, voting },
    )
  }

  /** The state may have another configuration than before. */
  configurationApplied(): void {
    if (!this.members.refresh()) return
    this.peers.setMembers(this.members.list)
    this.#parts.onConfig?.(this.members.current)
  }

  /** The core has an eye on the clock: signs of life, and time that is up. */
  #planTick(): void {
    const { config, clock, guard, host } = this.#parts
    this.#tick = clock.after(config.tickTime / coreTicks, () => {
      guard.run(() => {
        const now = clock.now()
        this.#lookout.look(now, this.#core)
        this.settle({ type: 'tick', now })
        host.ticked()
      })
      this.#planTick()
    })
  }

  // ---------------------------------------------------------------- effects

  #perform(effect: Effect): void {
    const { logger, stats, replica, host } = this.#parts
    switch (effect.type) {
      case 'send':
        if (effect.message.type === 'diff' && !this.#sender.sends(effect.to)) stats.diffSyncs++
        this.peers.send(effect.to, effect.message)
        break
      case 'append': {
        const proposed = effect.origin as Proposed | undefined
        replica.append(effect.entry, proposed?.batch, proposed?.origins)
        this.journal.append(effect.entry)
        host.appended(effect.entry)
        break
      }
      case 'truncate':
        replica.truncate(effect.zxid)
        this.journal.truncate(effect.zxid)
        break
      case 'saveEpochs':
        this.#saveEpochs(effect.epochs)
        break
      case 'commit':
        replica.commit(effect.zxid)
        this.#inFlight.committed(effect.zxid)
        break
      case 'readEntries':
        this.#readEntries(effect)
        break
      case 'sendSnapshot':
        stats.snapshotSyncs++
        replica.finishEntry()
        this.#sender.send(effect.to, effect.session, effect.atLeast)
        break
      case 'receiveSnapshot':
        host.snapshotComes()
        replica.finishEntry()
        this.receiver.begin(effect.from, effect.session)
        break
      case 'abortSnapshot':
        this.receiver.abort()
        break
      case 'roleChanged':
        this.#roleChanged(effect)
        break
      case 'dropPeer':
        this.#sender.end(effect.peer)
        this.peers.drop(effect.peer, effect.reason)
        break
      case 'confirmed':
        host.confirmed(effect.id, effect.zxid)
        break
      case 'resigned':
        host.resigned()
        break
      case 'diverged':
        logger.error(
          { zxid: formatZxid(effect.zxid) },
          'this state is not that of the ensemble, a snapshot replaces it',
        )
        host.diverged()
        break
      case 'votingChanged':
        if (effect.committed) host.votersChanged()
        this.#tellOfVoting(effect)
        break
      case 'settle':
        host.settleVoting(effect.voting)
        break
      case 'blankVoters':
        logger.warn(
          effect,
          `server ${effect.candidate} can not be elected: the voters ${effect.blanks.join(', ')} have lost their data or have a wrong state, and could hide that others are ahead`,
        )
        break
      default:
        assertNever(effect)
    }
  }

  /** Leader: an entry of its own is timed up to its commit. */
  proposed(last: number): void {
    this.#inFlight.proposed(last)
  }

  /** A reconfiguration has several steps, of which operators need the last. */
  #tellOfVoting({ zxid, voting, committed, settled }: Extract<Effect, { type: 'votingChanged' }>): void {
    const { logger } = this.#parts
    const fields = { zxid: formatZxid(zxid), ...voting, committed, settled }
    const text = `the voters are ${voting.voters.join(', ')}`
    if (settled) logger.info(fields, `${text}; a server that is not among them any more may be stopped`)
    else logger.debug(fields, committed ? text : `${text}, beside the ones before until this is committed`)
  }

  #saveEpochs(epochs: Epochs): void {
    const { storage, guard, host } = this.#parts
    const core = this.#core
    storage.log.saveEpochs(epochs).then(
      () =>
        guard.run(() => {
          if (core === this.#core) this.settle({ type: 'epochsSaved', epochs })
        }),
      (error: unknown) => guard.run(() => host.diskFailed(error)),
    )
  }

  #readEntries({ id, to, after, maxBytes }: Extract<Effect, { type: 'readEntries' }>): void {
    const { logger, guard } = this.#parts
    const core = this.#core
    this.journal
      .readAfter(after, maxBytes)
      .catch((error: unknown) => {
        logger.error({ err: error }, 'the log can not be read for another server')
        return []
      })
      .then((entries) =>
        guard.run(() => {
          if (core === this.#core) this.settle({ type: 'entriesRead', id, to, entries })
        }),
      )
  }

  #roleChanged({ role, phase, leader, epoch, reason }: Extract<Effect, { type: 'roleChanged' }>): void {
    const { logger, clock, stats, host } = this.#parts
    const now = clock.now()
    if (role === 'looking') {
      this.#lookingSince = now
      stats.lookings++
      host.roleEnded(reason)
      return
    }
    if (phase === 'discovery') {
      this.#foundAt = now
      if (!this.observes) stats.electionTime.record(now - this.#lookingSince)
    }
    if (phase !== 'broadcast') {
      logger.debug({ leader, epoch, reason }, `${role}, ${phase}`)
      return
    }
    if (role === 'following') {
      const syncTime = this.observes ? stats.observerSyncTime : stats.followerSyncTime
      syncTime.record(now - this.#foundAt)
    }
    assert(this.#core !== undefined, 'a role without a core')
    host.roleBegan(this.#core)
  }
}

/** A standalone server has nobody to talk to. */
const noPeers: Peers = {
  send: () => undefined,
  flush: () => undefined,
  drained: async () => undefined,
  drop: () => undefined,
  setMembers: () => undefined,
  suspend: () => undefined,
  resume: () => undefined,
  close: async () => undefined,
}

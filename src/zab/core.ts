// The consensus core: a state machine without I/O, clock or randomness. `step(event)` changes the state and gives
// back what is to be done; facts (durable, saved) come back as events. The phases are those of ZAB: election,
// discovery, synchronization, broadcast (reference: Junqueira, Reed, Serafini, "Zab: High-performance broadcast for
// primary-backup systems", section 4), one file each for the leader's side and follow.ts for the learner's.
import { assert, assertNever } from '../base/assert.ts'
import { epochOf } from '../base/zxid.ts'
import { advanceCommit, checkMembership, onAck, onOwnDurable, propose, resign } from './broadcast.ts'
import { onAckEpoch, onFollowerInfo, onOwnPromise, startLeading } from './discovery.ts'
import { decide, quorumOfPeer } from './election.ts'
import type { Effect, Event } from './events.ts'
import {
  adopt,
  diverge,
  onFollowerDurable,
  onFollowerEpochsSaved,
  onLeaderMessage,
  onSnapshotInstalled,
  startFollowing,
} from './follow.ts'
import { checkSupport, confirm, finishConfirming, onPong, tickFollowing, tickLeading } from './heartbeat.ts'
import { becomeDurable, createHistory, endOf, trim, votingUpTo } from './history.ts'
import type { LearnerMessage, Message, Status } from './messages.ts'
import { removeLearner } from './progress.ts'
import type { Quorum } from './quorum.ts'
import {
  atRest,
  type Core,
  createLooking,
  forget,
  hearOfVoting,
  type Leading,
  leave,
  peerOf,
  send,
} from './state.ts'
import { announce, silent } from './status.ts'
import {
  onAckNewLeader,
  onEntriesRead,
  onFound,
  onInstalled,
  onOwnAdoption,
  synchronizeWaiting,
} from './sync.ts'
import { defaultSettings, type Epochs, type Settings, type VotingAt } from './types.ts'
import { inForce } from './voting.ts'

export { canReconfigure, mayPropose, unwrittenVoting, zxidAfter } from './broadcast.ts'
export type { Effect, Event } from './events.ts'
export { type Core, isVoter } from './state.ts'

const none: readonly Effect[] = []

/** What a server's disk says of its past. */
export type CoreOptions = {
  readonly id: number
  /** Of the static configuration. In force while the history has no voting; a server that does not vote is an observer. */
  readonly quorum: Quorum
  /** The log's changes of who votes: all above `trimmedTo`, and the newest one at or below. None if left out. */
  readonly votings?: readonly VotingAt[]
  readonly epochs: Epochs
  /** Entries at or below are not in the log. */
  readonly trimmedTo: number
  /** `last` of each entry in the log above that, ascending. */
  readonly lasts: readonly number[]
  /** Of the checkpoint that the state was loaded from: what is applied already. */
  readonly applied: number
  /** The disk says that this server's state differs from the ensemble's: only a snapshot helps. */
  readonly needsSnapshot?: boolean
  /**
   * The disk says that this server has been an ensemble of one so far. Must not be said any more once the server has been
   * established with others, or has followed (`roleChanged` to a broadcast phase).
   */
  readonly alone?: boolean
  readonly settings?: Settings
  /**
   * Sessions with leaders are numbered from here. Should be above all that an earlier life of this server had (a clock's
   * milliseconds will do), so that an answer to that life is not taken for one to this.
   */
  readonly firstSession?: number
}

/** A server's core as it comes up with what its disk holds. Throws InvariantError if that contradicts itself. */
export function createCore(options: CoreOptions): Core {
  const { id, quorum, epochs, applied, settings = defaultSettings } = options
  const { trimmedTo, lasts, votings = [] } = options
  const history = createHistory(trimmedTo, lasts, settings.cacheBytes, votings)
  const end = endOf(history)
  assert(
    epochs.accepted >= epochs.current,
    `accepted epoch ${epochs.accepted} is below current ${epochs.current}`,
  )
  // Not the current epoch: a crash in the middle of synchronization leaves entries of an epoch not adopted yet.
  assert(
    epochOf(end) <= epochs.accepted,
    `the log is of epoch ${epochOf(end)}, only ${epochs.accepted} was promised`,
  )
  assert(applied <= end, `the checkpoint at ${applied} is beyond the log's end ${end}`)
  const newest = votings.at(-1)
  assert(newest === undefined || newest.zxid <= end, `voting ${newest?.zxid} is beyond the log's end ${end}`)
  const now = inForce(quorum, votings, applied)
  return {
    id,
    configured: quorum,
    quorum: now.quorum,
    inForce: now,
    toldVoting: 0,
    settings,
    now: 0,
    started: false,
    epochs,
    saving: undefined,
    history,
    committed: applied,
    truncating: false,
    installing: false,
    needsSnapshot: options.needsSnapshot ?? false,
    alone: options.alone ?? false,
    abstaining: false,
    peers: [],
    announced: silent,
    draft: { ...silent },
    sessions: options.firstSession ?? 0,
    reads: 0,
    role: createLooking(),
    effects: undefined,
  }
}

/** The newest voting up to `zxid`, which goes with a snapshot at `zxid`. It may not be trimmed (asserted). */
export function votingAt(core: Core, zxid: number): VotingAt | undefined {
  return votingUpTo(core.history, zxid)
}

/** The only entry: runs to completion, throws only on a broken invariant. */
export function step(core: Core, event: Event): readonly Effect[] {
  const { quorum } = core
  handle(core, event)
  recount(core, quorum)
  settle(core)
  const { effects } = core
  core.effects = undefined
  return effects ?? none
}

function handle(core: Core, event: Event): void {
  switch (event.type) {
    case 'start':
      core.now = event.now
      core.started = true
      break
    case 'tick':
      onTick(core, event.now)
      break
    case 'peerConnected':
      onPeerConnected(core, event.peer)
      break
    case 'peerLost':
      onPeerLost(core, event.peer)
      break
    case 'message':
      onMessage(core, event.from, event.message)
      break
    case 'propose':
      propose(core, event)
      break
    case 'confirm':
      assert(core.role.type === 'leading' && core.role.phase === 'broadcast', 'only a leader confirms')
      confirm(core, core.role, event.id)
      break
    case 'resign':
      resign(core)
      break
    case 'diverged':
      diverge(core, event.reason)
      break
    default:
      onFact(core, event)
  }
}

type Fact = Extract<
  Event,
  {
    type:
      | 'durable'
      | 'epochsSaved'
      | 'truncated'
      | 'snapshotInstalled'
      | 'snapshotAborted'
      | 'entriesRead'
      | 'trimmed'
  }
>

/** What the disk has done. */
function onFact(core: Core, event: Fact): void {
  switch (event.type) {
    case 'durable':
      onDurable(core, event.zxid)
      break
    case 'epochsSaved':
      onEpochsSaved(core, event.epochs)
      break
    case 'truncated':
      core.truncating = false
      if (core.role.type === 'following') adopt(core, core.role)
      break
    case 'snapshotInstalled':
      onSnapshotInstalled(core, event.zxid, event.voting)
      break
    case 'snapshotAborted':
      core.installing = false
      if (core.role.type === 'following' && core.role.awaitsSnapshot) leave(core, 'the snapshot did not come')
      break
    case 'entriesRead':
      if (core.role.type === 'leading') onEntriesRead(core, core.role, event.id, event.to, event.entries)
      break
    case 'trimmed':
      trim(core.history, event.zxid)
      break
    default:
      assertNever(event)
  }
}

/** When another quorum counts, what waited for the one before may be there already. */
function recount(core: Core, before: Quorum): void {
  let counted = before
  while (core.role.type === 'leading' && core.role.phase === 'broadcast' && core.quorum !== counted) {
    counted = core.quorum
    const { role } = core
    advanceCommit(core, role)
    if (core.role !== role) return
    finishConfirming(core, role)
    synchronizeWaiting(core, role)
  }
}

/** Ends every step: a leader without its quorum is none, a looking server decides, and the peers hear of any change. */
function settle(core: Core): void {
  if (core.role.type === 'leading') checkSupport(core, core.role)
  if (core.role.type === 'leading') checkMembership(core, core.role)
  // Also if it decides anew at once: whoever followed must hear that this role is over.
  if (core.role.type === 'looking') announce(core)
  while (core.role.type === 'looking' && core.started && atRest(core)) {
    const leader = decide(core, core.role)
    if (leader === undefined) break
    if (leader === core.id) startLeading(core)
    else startFollowing(core, leader)
  }
  announce(core)
}

function onTick(core: Core, now: number): void {
  const late = now - core.now > core.settings.tickMs
  core.now = Math.max(now, core.now)
  const { role } = core
  if (role.type === 'leading') tickLeading(core, role, late)
  else if (role.type === 'following') tickFollowing(core, role, late)
}

function onPeerConnected(core: Core, id: number): void {
  assert(id !== core.id && peerOf(core, id) === undefined, `peer ${id} connected twice`)
  core.peers.push({ id, status: undefined, early: undefined, quorum: undefined })
  core.peers.sort((a, b) => a.id - b.id)
  send(core, id, core.announced)
}

function onPeerLost(core: Core, id: number): void {
  if (!forget(core, id)) return
  const { role } = core
  if (role.type === 'leading') removeLearner(role, id)
  else if (role.type === 'following' && role.leader === id)
    leave(core, `the connection to leader ${id} was lost`)
}

function onMessage(core: Core, from: number, message: Message): void {
  const peer = peerOf(core, from)
  if (peer === undefined) return
  const { role } = core
  switch (message.type) {
    case 'status':
      hearOfVoting(core, message.committedVoting)
      peer.status = message
      peer.quorum = message.candidate ? quorumOfPeer(core, message) : undefined
      if (message.leader !== core.id || message.state !== 'following') peer.early = undefined
      onStatus(core, from, message)
      break
    case 'followerInfo':
      if (role.type === 'leading') onFollowerInfo(core, role, from, message)
      else peer.early = message
      break
    case 'ackEpoch':
    case 'found':
    case 'installed':
    case 'ack':
    case 'ackNewLeader':
    case 'pong':
      if (role.type === 'leading') onLearnerMessage(core, role, from, message)
      break
    default:
      if (role.type === 'following' && role.leader === from && role.session === message.session)
        onLeaderMessage(core, role, message)
  }
}

function onLearnerMessage(core: Core, role: Leading, from: number, message: LearnerMessage): void {
  const learner = role.learners.find((one) => one.id === from)
  if (learner === undefined || learner.session !== message.session) return
  learner.heardAt = core.now
  switch (message.type) {
    case 'ackEpoch':
      onAckEpoch(core, role, learner, message)
      break
    case 'found':
      onFound(core, role, learner, message)
      break
    case 'installed':
      onInstalled(core, role, learner, message)
      break
    case 'ack':
      onAck(core, role, learner, message)
      break
    case 'ackNewLeader':
      onAckNewLeader(core, role, learner)
      break
    case 'pong':
      onPong(core, role, learner, message.seq)
      break
    default:
      assertNever(message)
  }
}

/** A leader that is none any more, a learner that has left, a newer leader: all of it is acted upon at once. */
function onStatus(core: Core, from: number, status: Status): void {
  const { role } = core
  if (role.type === 'looking') return
  if (role.epoch !== -1 && status.epoch > role.epoch && status.state === 'leading') {
    leave(core, `server ${from} leads the newer epoch ${status.epoch}`)
  } else if (role.type === 'leading') {
    if (status.state !== 'following' || status.leader !== core.id) removeLearner(role, from)
  } else if (from === role.leader && status.state !== 'leading') {
    // It may have been slower to see that it is elected; but it must still be for it.
    if (role.answered || status.state === 'following' || status.leader !== from)
      leave(core, `server ${from} does not lead`)
  }
}

function onEpochsSaved(core: Core, epochs: Epochs): void {
  core.epochs = epochs
  core.saving = undefined
  const { role } = core
  if (role.type === 'following') onFollowerEpochsSaved(core, role, epochs)
  else if (role.type === 'leading' && role.phase === 'discovery') onOwnPromise(core, role)
  else if (role.type === 'leading') onOwnAdoption(core, role)
}

function onDurable(core: Core, zxid: number): void {
  const { history, role } = core
  assert(zxid <= endOf(history), () => `durable up to ${zxid}, beyond the history's end ${endOf(history)}`)
  if (zxid <= history.durable) return
  becomeDurable(history, zxid)
  if (role.type === 'leading') {
    onOwnDurable(core, role)
    synchronizeWaiting(core, role)
  } else if (role.type === 'following') onFollowerDurable(core, role)
}

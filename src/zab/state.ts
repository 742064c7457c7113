// The core's state, and the few changes of it that every part needs: giving out an effect, giving up a role.
import { assert } from '../base/assert.ts'
import type { Effect, Phase, Role } from './events.ts'
import { cut, endOf, type History, pushEntry, replace } from './history.ts'
import type { FollowerInfo, Message, Status } from './messages.ts'
import type { Learner } from './progress.ts'
import type { Quorum } from './quorum.ts'
import type { Entry, Epochs, Settings, VotingAt } from './types.ts'
import { type InForce, inForce, isStill } from './voting.ts'

/** A server that is connected. */
export type Peer = {
  readonly id: number
  /** The last that it said of itself on this connection. */
  status: Status | undefined
  /** It follows this server, which did not lead yet when it said so. */
  early: FollowerInfo | undefined
  /** Of the votings in its status. */
  quorum: Quorum | undefined
}

export type Looking = {
  readonly type: 'looking'
  vote: number | undefined
  /** Since when a quorum agrees with the vote. */
  agreedSince: number | undefined
  /** What the last blankVoters effect said. */
  reportedBlanks: string
}

export type Following = {
  readonly type: 'following'
  readonly leader: number
  readonly session: number
  phase: 'discovery' | 'synchronization' | 'broadcast'
  /** -1 until the leader has said it. */
  epoch: number
  /** The leader has spoken in this session: it knows that it leads. */
  answered: boolean
  heardAt: number
  /** This server's history is a prefix of the leader's. Only then commit points mean anything. */
  matched: boolean
  /** The leader has begun to send a snapshot and it is not installed. */
  awaitsSnapshot: boolean
  /** Set by newLeader: what must be durable before the current epoch may be. */
  adoptAt: number | undefined
  /** The current epoch is being saved, or is. */
  adopting: boolean
  /** The leader's commit point, which may be above what is durable here. */
  committed: number
}

export type Leading = {
  readonly type: 'leading'
  phase: 'discovery' | 'synchronization' | 'broadcast'
  readonly since: number
  /** What it was elected with; the same until it is established. */
  readonly credential: { readonly current: number; readonly last: number }
  /** -1 until a quorum has come. */
  epoch: number
  /** The epoch is this server's accepted epoch, on disk. */
  promised: boolean
  /** The epoch is this server's current epoch, on disk. */
  adopted: boolean
  /** Who has promised this epoch, for the first time in its life. */
  readonly promises: Set<number>
  /** Ascending by id. */
  readonly learners: Learner[]
  /** A number of each voter, in their order, for the quorum to judge; made anew each time, in the same place. */
  readonly ofVoters: number[]
  /** Counter of the last transaction proposed in this epoch. */
  counter: number
  /** A quorum has everything up to here; on this server's disk it may not be yet. */
  committed: number
  /** The highest that any learner was told to take for committed once it has it. */
  told: number
  pingedAt: number
  pingSeq: number
  /** Confirmations asked for with ping `seq`, and those that wait for the next round. */
  readonly confirming: { seq: number; ids: number[]; zxid: number }
  readonly confirmNext: number[]
  /** Since when the own disk owes something. */
  owedSince: number | undefined
  /** Since when it hands over. */
  resigning: number | undefined
  /** It was told to, and is not to be elected again. */
  abstains: boolean
  /** zxid of the voting that the node was told to settle. */
  settling: number
}

/** Something that is being made. */
type Draft<T> = { -readonly [key in keyof T]: T[key] }

/** State of the core. Fields are for reading from outside. */
export type Core = {
  readonly id: number
  /** Of the static configuration: in force while the history says nothing else. */
  readonly configured: Quorum
  /** In force. */
  quorum: Quorum
  /** Others said that the voting of this zxid is committed. */
  toldVoting: number
  /** What `quorum` comes from. */
  inForce: InForce
  readonly settings: Settings
  now: number
  started: boolean
  /** As last confirmed to be on disk. */
  epochs: Epochs
  /** Being saved. */
  saving: Epochs | undefined
  readonly history: History
  /** Everything up to here was given out as committed; never above the durable end. */
  committed: number
  truncating: boolean
  /** A snapshot is being received or installed. */
  installing: boolean
  /** The state is no good: this server can not be elected, and only a snapshot helps. */
  needsSnapshot: boolean
  /** It was an ensemble of one by itself: it has everything that was ever committed, whatever others remember. */
  alone: boolean
  /** It has resigned and is not to be elected again. */
  abstaining: boolean
  /** Ascending by id. */
  readonly peers: Peer[]
  /** What the connected peers know of this server. */
  announced: Status
  /** What they should know: made anew in every step, in the same place, and seldom another (status.ts). */
  readonly draft: Draft<Status>
  sessions: number
  reads: number
  role: Looking | Following | Leading
  /** Of this step; undefined before the first. Most steps have one: an array that is pushed to takes room for 17. */
  effects: Effect[] | undefined
}

export function emit(core: Core, effect: Effect): void {
  if (core.effects === undefined) core.effects = [effect]
  else core.effects.push(effect)
}

export function send(core: Core, to: number, message: Message): void {
  emit(core, { type: 'send', to, message })
}

export function isVoter(core: Core, id: number): boolean {
  return core.quorum.voters.includes(id)
}

export function peerOf(core: Core, id: number): Peer | undefined {
  return core.peers.find((peer) => peer.id === id)
}

/** The disk owes nothing: what it holds is what the core knows. A new role begins only then (ZOOKEEPER-4712). */
export function atRest(core: Core): boolean {
  const { history } = core
  return (
    !core.truncating && !core.installing && core.saving === undefined && history.durable === endOf(history)
  )
}

/** One at a time, so that epochs never go back. */
export function saveEpochs(core: Core, epochs: Epochs): void {
  assert(core.saving === undefined, 'epochs are being saved already')
  assert(
    epochs.accepted >= core.epochs.accepted && epochs.current >= core.epochs.current,
    `epochs go back from ${JSON.stringify(core.epochs)} to ${JSON.stringify(epochs)}`,
  )
  core.saving = epochs
  emit(core, { type: 'saveEpochs', epochs })
}

/** Gives out what is committed and durable, once. */
export function commitUpTo(core: Core, zxid: number): void {
  const upTo = Math.min(zxid, core.history.durable)
  if (upTo <= core.committed) return
  core.committed = upTo
  emit(core, { type: 'commit', zxid: upTo })
  updateVoting(core)
}

/** Adds an entry to the history; a voting in it is in force from now on. */
export function appendEntry(core: Core, entry: Entry, origin: unknown): void {
  pushEntry(core.history, entry)
  emit(core, origin === undefined ? { type: 'append', entry } : { type: 'append', entry, origin })
  updateVoting(core)
}

/** Cuts the history, on disk and here; a voting that is cut away was never in force. */
export function truncate(core: Core, zxid: number): void {
  assert(zxid >= core.toldVoting, `a cut to ${zxid} takes away a committed voting`)
  cut(core.history, zxid)
  core.truncating = true
  emit(core, { type: 'truncate', zxid })
  updateVoting(core)
}

/** The history is that of a snapshot, which is committed. */
export function replaceHistory(core: Core, zxid: number, voting: VotingAt | undefined): void {
  replace(core.history, zxid, voting)
  core.committed = zxid
  updateVoting(core)
}

/** Another server knows that a voting is committed. If it is the newest here it is so here, too: a zxid names one entry. */
export function hearOfVoting(core: Core, zxid: number): void {
  if (zxid !== core.inForce.zxid || core.inForce.committed) return
  core.toldVoting = zxid
  updateVoting(core)
}

/** To be called after every change of the history or of what is committed. */
function updateVoting(core: Core): void {
  const { votings } = core.history
  const known = Math.max(core.committed, core.toldVoting)
  if (isStill(core.inForce, votings, known)) return
  const now = inForce(core.configured, votings, known)
  const { zxid, voting, committed, settled } = now
  const before = core.inForce
  if (before.zxid === zxid && before.committed === committed && before.settled === settled) {
    // Only what led to it was trimmed.
    core.inForce = { ...now, quorum: before.quorum }
    return
  }
  core.inForce = now
  core.quorum = now.quorum
  emit(core, { type: 'votingChanged', voting, zxid, committed, settled })
}

export function createLooking(): Looking {
  return { type: 'looking', vote: undefined, agreedSince: undefined, reportedBlanks: '' }
}

/** It has never adopted a leader's history, or has lost all that it knew of it: see voting.ts. */
export function isBlank(core: Core): boolean {
  return core.epochs.current === 0
}

/** Whether a blank voter with a history up to `last` counts for this server's election. */
export function takesBlank(core: Core, last: number): boolean {
  return core.alone || (endOf(core.history) === 0 && last === 0)
}

/** Gives the role up. Nothing of it survives but what the disk still owes. */
export function leave(core: Core, reason: string): void {
  if (core.role.type === 'looking') return
  if (core.role.type === 'following' && core.installing) emit(core, { type: 'abortSnapshot' })
  if (core.role.type === 'leading') forgetFollowers(core)
  core.role = createLooking()
  reportRole(core, 'looking', 'election', undefined, -1, reason)
}

/** Who follows this server will not when it hears that it looks; until they say what they do then, they do not count. */
function forgetFollowers(core: Core): void {
  for (const peer of core.peers) {
    if (peer.status?.leader !== core.id) continue
    peer.status = undefined
    peer.quorum = undefined
  }
}

export function reportRole(
  core: Core,
  role: Role,
  phase: Phase,
  leader: number | undefined,
  epoch: number,
  reason: string,
): void {
  emit(core, { type: 'roleChanged', role, phase, leader, epoch, reason })
}

/** The core is done with this peer until it connects anew. */
export function disconnect(core: Core, id: number, reason: string): void {
  if (!forget(core, id)) return
  emit(core, { type: 'dropPeer', peer: id, reason })
}

/** Removes a peer; false if it was not connected. */
export function forget(core: Core, id: number): boolean {
  const index = core.peers.findIndex((peer) => peer.id === id)
  if (index < 0) return false
  core.peers.splice(index, 1)
  return true
}

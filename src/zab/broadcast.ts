// Broadcast, the leader's side: entries go out as they are proposed; what a quorum has on disk is committed, in order.
// Phase 3 of ZAB.
import { assert } from '../base/assert.ts'
import { makeZxid, maxCounter } from '../base/zxid.ts'
import type { Event } from './events.ts'
import { endOf } from './history.ts'
import type { Ack } from './messages.ts'
import { acknowledge, type Learner, pump } from './progress.ts'
import { isSameVoting, quorumOf } from './quorum.ts'
import { appendEntry, type Core, commitUpTo, emit, type Leading, leave, send } from './state.ts'
import type { Entry, Voting } from './types.ts'

/** The zxid that the last of `count` transactions proposed next will have; the end of the history for none. Leader only. */
export function zxidAfter(core: Core, count: number): number {
  if (count === 0) return endOf(core.history)
  assert(core.role.type === 'leading', 'only a leader knows the next zxid')
  return makeZxid(core.role.epoch, core.role.counter + count)
}

/** Whether this server takes proposals: it leads, is established, and does not hand over. */
export function mayPropose(core: Core): boolean {
  const { role } = core
  return role.type === 'leading' && role.phase === 'broadcast' && role.resigning === undefined
}

/** Appends and sends a new entry, without waiting for the ones before it. */
export function propose(core: Core, event: Extract<Event, { type: 'propose' }>): void {
  const { role, history } = core
  const { count, bytes, origin, voting } = event
  assert(role.type === 'leading' && role.phase === 'broadcast', 'only an established leader proposes')
  assert(role.resigning === undefined, 'a proposal after the leader resigned')
  assert(count > 0, 'an empty proposal')
  if (voting !== undefined) checkVoting(core, voting, count)
  if (role.counter + count > maxCounter) {
    leave(core, `epoch ${role.epoch} has used up its transactions`)
    return
  }
  const first = makeZxid(role.epoch, role.counter + 1)
  const plain: Entry = { prev: endOf(history), first, last: first + count - 1, bytes }
  role.counter += count
  role.owedSince ??= core.now
  appendEntry(core, voting === undefined ? plain : { ...plain, voting }, origin)
  for (const learner of role.learners) pump(core, role, learner)
}

/** The rules that make one voting follow another safely; see voting.ts. */
function checkVoting(core: Core, voting: Voting, count: number): void {
  assert(count === 1, 'a reconfiguration is one transaction')
  assert(!isPending(core), 'a reconfiguration is under way')
  const first = unwrittenVoting(core) ?? voting
  assert(isSameVoting(first, voting), 'the configured voting must be written down before it is replaced')
}

/** The configured voting, if it must be proposed (with a transaction that changes nothing) before the first other one. */
export function unwrittenVoting(core: Core): Voting | undefined {
  return core.history.votings.length === 0 ? core.inForce.voting : undefined
}

/** A voting stands beside the one before it and is not committed. */
function isPending(core: Core): boolean {
  return core.quorum.votings.length > 1
}

/**
 * Why this voting can not be proposed now; undefined if it can. `notLeading`: nor can anything else, here. `pending`: the
 * one before is not committed yet (ZooKeeper's -14). `noQuorum`: of its voters no quorum is connected and has this
 * leader's history, so that it would stop the ensemble (ZooKeeper's -13).
 */
export function canReconfigure(
  core: Core,
  voting: Voting,
): 'notLeading' | 'pending' | 'noQuorum' | undefined {
  const { role } = core
  if (role.type !== 'leading' || !mayPropose(core)) return 'notLeading'
  if (isPending(core)) return 'pending'
  const ready = (id: number) =>
    id === core.id ? role.adopted : role.learners.some((learner) => learner.id === id && learner.active)
  return quorumOf(voting).contains(ready) ? undefined : 'noQuorum'
}

/** Cumulative, from any learner; it opens the window, and counts for commits once the learner is synced. */
export function onAck(core: Core, role: Leading, learner: Learner, { zxid }: Ack): void {
  if (learner.state !== 'streaming') return
  assert(
    zxid <= learner.sent,
    () => `learner ${learner.id} acknowledged ${zxid}, but was sent ${learner.sent}`,
  )
  acknowledge(learner, zxid)
  if (role.phase === 'broadcast' && learner.synced) advanceCommit(core, role)
  pump(core, role, learner)
}

/** The leader's own disk is one of the quorum, like any other. */
export function onOwnDurable(core: Core, role: Leading): void {
  role.owedSince = core.history.durable === endOf(core.history) ? undefined : core.now
  if (role.phase === 'broadcast') advanceCommit(core, role)
}

/** Commits what a quorum has. Before establishment nothing is: an old epoch's entry is not committed by counting it. */
export function advanceCommit(core: Core, role: Leading): void {
  const { learners, ofVoters } = role
  const { voters } = core.quorum
  ofVoters.length = voters.length
  for (let i = 0; i < voters.length; i++) ofVoters[i] = progress(core, role, voters[i] as number)
  role.committed = Math.max(role.committed, core.quorum.reached(ofVoters))
  for (const learner of learners) if (learner.active) tellCommit(core, role, learner)
  commitUpTo(core, role.committed)
  if (role.resigning !== undefined) finishResigning(core, role)
}

/** How far a voter's disk counts for commits; -1: not at all. */
function progress(core: Core, role: Leading, id: number): number {
  // As with a learner: an entry on a disk counts if a later election can not overlook it there, and that takes the
  // current epoch on that disk, too.
  if (id === core.id) return role.adopted ? core.history.durable : -1
  for (const learner of role.learners) if (learner.id === id) return learner.synced ? learner.acked : -1
  return -1
}

/**
 * Tells a learner what is committed as soon as it has it. A learner delivers nothing that is not on its own disk, so its disk
 * counts for what it is told, whether or not it has acknowledged: its clients need not wait for that to go to the leader
 * and back. `role.ofVoters` has how far each voter's disk counts.
 */
function tellCommit(core: Core, role: Leading, learner: Learner): void {
  const { id, session, told } = learner
  if (told === endOf(core.history)) return
  const zxid = Math.max(role.committed, reachedWith(core, role, learner))
  if (zxid <= told) return
  learner.told = zxid
  role.told = Math.max(role.told, zxid)
  send(core, id, { type: 'commit', session, zxid })
}

/** What a quorum has reached if this learner has all that it was sent. */
function reachedWith({ quorum }: Core, { ofVoters }: Leading, { id, sent }: Learner): number {
  const at = quorum.voters.indexOf(id)
  if (at < 0) return quorum.reached(ofVoters)
  const own = ofVoters[at] as number
  ofVoters[at] = sent
  const reached = quorum.reached(ofVoters)
  ofVoters[at] = own
  return reached
}

/** The highest zxid that anybody may have delivered. It is committed at the latest when all acks have come. */
export function takenForCommitted({ committed, told }: Leading): number {
  return Math.max(committed, told)
}

/**
 * After a reconfiguration was committed: a leader that it does not name, or gives no weight, hands over; another has it
 * settled.
 */
export function checkMembership(core: Core, role: Leading): void {
  const { zxid, voting, committed, settled } = core.inForce
  if (role.phase !== 'broadcast' || !committed) return
  if (!core.quorum.mayLead(core.id)) {
    role.resigning ??= core.now
    finishResigning(core, role)
  } else if (zxid > 0 && !settled && role.settling !== zxid && role.resigning === undefined) {
    role.settling = zxid
    emit(core, { type: 'settle', voting })
  }
}

/** Begins to hand over: what was proposed is committed first, so that a follower has all of it. */
export function resign(core: Core): void {
  const { role } = core
  if (role.type === 'leading' && role.phase === 'broadcast') {
    role.resigning ??= core.now
    role.abstains = true
    finishResigning(core, role)
  } else {
    abstain(core)
  }
}

function finishResigning(core: Core, role: Leading): void {
  if (core.role === role && core.committed === endOf(core.history)) abdicate(core, role)
}

/** Everybody hears that this server looks and is no candidate; the next best is elected without any wait. */
export function abdicate(core: Core, role: Leading): void {
  if (role.abstains) abstain(core)
  else leave(core, 'not a voter that may lead any more')
}

function abstain(core: Core): void {
  core.abstaining = true
  if (core.role.type === 'leading') leave(core, 'it hands over')
  emit(core, { type: 'resigned' })
}

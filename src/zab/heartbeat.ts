// Signs of life between leader and learners, and what the leader derives from them: whether it still has a quorum, and
// that it had one at a moment (confirm).
import { abdicate, takenForCommitted } from './broadcast.ts'
import { hasAnswered, type Learner, ping, removeLearner } from './progress.ts'
import {
  type Core,
  disconnect,
  emit,
  type Following,
  type Leading,
  leave,
  peerOf,
  takesBlank,
} from './state.ts'
import { synchronizeWaiting } from './sync.ts'

/** Leader's tick. `late`: this process stood still, so others' silence says nothing yet. */
export function tickLeading(core: Core, role: Leading, late: boolean): void {
  const { tickMs, initLimit, syncLimit } = core.settings
  const { now } = core
  if (now - role.pingedAt >= tickMs / 2) {
    role.pingedAt = now
    ping(core, role)
  }
  if (late) {
    // What they said meanwhile is still to be read, and what they were asked just now to be answered.
    for (const learner of role.learners) learner.heardAt = now
    return
  }
  for (const { id, heardAt } of [...role.learners]) {
    if (now - heardAt <= syncLimit * tickMs) continue
    disconnect(core, id, `nothing heard from learner ${id} for ${now - heardAt} ms`)
    removeLearner(role, id)
  }
  if (role.phase !== 'broadcast' && now - role.since > initLimit * tickMs)
    leave(core, `not established within ${initLimit} ticks`)
  else if (role.owedSince !== undefined && now - role.owedSince > syncLimit * tickMs)
    leave(core, `the disk has not finished a write for ${now - role.owedSince} ms`)
  else if (role.resigning !== undefined && now - role.resigning > syncLimit * tickMs) abdicate(core, role)
}

/** A leader without a quorum steps down at once. Once established only those count whose acks do. */
export function checkSupport(core: Core, role: Leading): void {
  const { ofVoters } = role
  const { voters } = core.quorum
  ofVoters.length = voters.length
  // This is asked in every step, of which some come with each write.
  for (let i = 0; i < voters.length; i++) ofVoters[i] = supports(core, role, voters[i] as number) ? 1 : 0
  if (core.quorum.reached(ofVoters) < 1) leave(core, 'no quorum follows any more')
}

function supports(core: Core, role: Leading, id: number): boolean {
  if (id === core.id) return true
  const learner = role.learners.find((one) => one.id === id)
  if (role.phase === 'broadcast') return learner?.synced === true
  return learner !== undefined || (role.phase === 'discovery' && mayCome(core, id))
}

/**
 * Whether a server is still expected. One that says it looks, but not for whom it votes, may be answering to what this
 * server was before it led: it is on its way to hear the news. Two servers that take such answers for a refusal can
 * chase each other for ever.
 */
function mayCome(core: Core, id: number): boolean {
  const peer = peerOf(core, id)
  if (peer === undefined) return false
  const vote = peer.status?.leader
  if (vote !== undefined) return vote === core.id
  return peer.status?.blank !== true || takesBlank(core, 0)
}

/** Learner's tick. */
export function tickFollowing(core: Core, role: Following, late: boolean): void {
  const { tickMs, syncLimit } = core.settings
  if (late) {
    role.heardAt = core.now
    return
  }
  const silence = core.now - role.heardAt
  // A server that everybody votes for may have stopped in the middle of the election.
  const limit = role.answered ? syncLimit * tickMs : tickMs
  if (silence <= limit) return
  disconnect(core, role.leader, `nothing heard from leader ${role.leader} for ${silence} ms`)
  leave(core, `nothing heard from leader ${role.leader} for ${silence} ms`)
}

/** Asks a quorum whether it still follows. Rounds do not overlap: what is asked meanwhile shares the next one. */
export function confirm(core: Core, role: Leading, id: number): void {
  role.confirmNext.push(id)
  if (role.confirming.ids.length === 0) startConfirming(core, role)
}

function startConfirming(core: Core, role: Leading): void {
  const { confirming, confirmNext } = role
  confirming.ids = confirmNext.splice(0)
  confirming.seq = ping(core, role)
  confirming.zxid = takenForCommitted(role)
  finishConfirming(core, role)
}

export function onPong(core: Core, role: Leading, learner: Learner, seq: number): void {
  learner.pong = seq
  finishConfirming(core, role)
  synchronizeWaiting(core, role)
}

/** To be called when one more has answered, or other votes count. */
export function finishConfirming(core: Core, role: Leading): void {
  const { confirming } = role
  if (confirming.ids.length === 0 || !hasAnswered(core, role, confirming.seq)) return
  for (const id of confirming.ids.splice(0)) emit(core, { type: 'confirmed', id, zxid: confirming.zxid })
  if (role.confirmNext.length > 0) startConfirming(core, role)
}

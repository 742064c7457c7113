// Election. Every server tells its peers its credential and its vote, and votes for the best candidate among itself
// and those it is connected to. A quorum of equal votes decides. This is only a good guess of who should lead: safety
// comes from discovery and synchronization, which check everything again.
//
// It differs from ZooKeeper's fast leader election in two ways. There are no rounds: over a reliable connection the
// last status is the present one, and a lost connection takes the status with it. And votes are not passed on: a
// server votes only for candidates it is itself connected to, so nobody is elected who can not be reached.
import type { Status } from './messages.ts'
import { type Core, isVoter, type Looking, peerOf } from './state.ts'
import { isCandidate, statusOf } from './status.ts'

/** Whom to follow, this server itself if it is to lead, undefined if there is no decision. Votes on the way. */
export function decide(core: Core, role: Looking): number | undefined {
  const running = establishedLeader(core)
  if (running !== undefined || !isVoter(core, core.id)) return running
  const vote = bestCandidate(core)
  if (vote !== role.vote) {
    role.vote = vote
    role.agreedSince = undefined
  }
  if (vote === undefined || !hasQuorum(core, vote)) {
    role.agreedSince = undefined
    return undefined
  }
  role.agreedSince ??= core.now
  if (everyoneAgrees(core, vote)) return vote
  return core.now - role.agreedSince >= core.settings.finalizeWaitMs ? vote : undefined
}

/** A leader that has its quorum is joined whatever one's own credential is (ZOOKEEPER-1732). The newest, if several say so. */
function establishedLeader(core: Core): number | undefined {
  let found: number | undefined
  // An observer's promise is no reason to disturb a leader, as a voter's is (see discovery).
  let newest = isVoter(core, core.id) ? -1 : core.epochs.accepted - 1
  for (const { id, status } of core.peers) {
    if (status?.state !== 'leading' || status.epoch <= newest) continue
    found = id
    newest = status.epoch
  }
  return found
}

function bestCandidate(core: Core): number | undefined {
  let best = isCandidate(core) ? statusOf(core) : undefined
  let found = best === undefined ? undefined : core.id
  for (const { id, status } of core.peers) {
    if (status === undefined || !status.candidate || !core.quorum.mayLead(id)) continue
    if (best !== undefined && !isBetter(status, id, best, found as number)) continue
    best = status
    found = id
  }
  return found
}

/** The order of votes: current epoch, end of the history, id (ZOOKEEPER-335). */
function isBetter(a: Status, aId: number, b: Status, bId: number): boolean {
  if (a.current !== b.current) return a.current > b.current
  if (a.last !== b.last) return a.last > b.last
  return aId > bId
}

/** A quorum is for it, and so is it itself. */
function hasQuorum(core: Core, vote: number): boolean {
  return agrees(core, vote, vote) && core.quorum.contains((id) => agrees(core, id, vote))
}

/** Nobody who could still change the outcome is missing: voters that are not connected can not be waited for. */
function everyoneAgrees(core: Core, vote: number): boolean {
  return core.peers.every(({ id }) => !isVoter(core, id) || agrees(core, id, vote))
}

function agrees(core: Core, id: number, vote: number): boolean {
  return id === core.id || peerOf(core, id)?.status?.leader === vote
}

// Election. Every server tells its peers its credential and its vote, and votes for the best candidate among itself
// and those it is connected to. A quorum of equal votes decides, by the candidate's voting. This is only a good guess of
// who should lead: safety comes from discovery and synchronization, which check everything again.
//
// It differs from ZooKeeper's fast leader election in two ways. There are no rounds: over a reliable connection the
// last status is the present one, and a lost connection takes the status with it. And votes are not passed on: a
// server votes only for candidates it is itself connected to, so nobody is elected who can not be reached.
import { endOf } from './history.ts'
import type { Status } from './messages.ts'
import { type Quorum, quorumOfAll } from './quorum.ts'
import { type Core, emit, isBlank, type Looking, type Peer, peerOf } from './state.ts'
import { isCandidate, statusOf } from './status.ts'

type Candidate = { readonly id: number; readonly status: Status; readonly quorum: Quorum }

/** Whom to follow, this server itself if it is to lead, undefined if there is no decision. Votes on the way. */
export function decide(core: Core, role: Looking): number | undefined {
  const running = establishedLeader(core)
  if (running !== undefined) return running
  // It can help nobody to be established: it gets a snapshot, and counts again, only when somebody is. With its vote a
  // leader would wait for others, who would not come because they are better.
  if (core.needsSnapshot) return undefined
  const best = bestCandidate(core)
  const vote = best !== undefined && mayVoteFor(core, best) ? best.id : undefined
  if (vote !== role.vote) {
    role.vote = vote
    role.agreedSince = undefined
  }
  // It knows best whether it is elected, and who is not connected to all that vote for it would never see it.
  if (vote !== undefined && vote !== core.id && best?.status.state === 'leading') return vote
  if (best === undefined || !hasQuorum(core, best)) {
    role.agreedSince = undefined
    if (best !== undefined) reportBlanks(core, role, best)
    return undefined
  }
  if (vote === undefined) return undefined
  role.agreedSince ??= core.now
  if (everyoneAgrees(core, best)) return vote
  return core.now - role.agreedSince >= core.settings.finalizeWaitMs ? vote : undefined
}

/** A leader that has its quorum is joined whatever one's own credential is (ZOOKEEPER-1732). The newest, if several say so. */
function establishedLeader(core: Core): number | undefined {
  let found: number | undefined
  let newest = -1
  for (const { id, status } of core.peers) {
    if (status?.state !== 'leading' || status.epoch <= newest) continue
    found = id
    newest = status.epoch
  }
  return found
}

function bestCandidate(core: Core): Candidate | undefined {
  let best: Candidate | undefined
  if (isCandidate(core)) best = { id: core.id, status: statusOf(core), quorum: core.quorum }
  for (const peer of core.peers) {
    const { id, status, quorum } = peer
    if (status === undefined || quorum === undefined || !isEligible(core, id, status)) continue
    if (best === undefined || isBetter(status, id, best.status, best.id)) best = { id, status, quorum }
  }
  return best
}

/** A candidate that knows of no reconfiguration must be one by this server's configuration, too: they should be the same. */
function isEligible(core: Core, id: number, status: Status): boolean {
  return status.candidate && (status.reconfigured || core.configured.mayLead(id))
}

/** The quorum that a peer's status names. */
export function quorumOfPeer(core: Core, { votings }: Status): Quorum | undefined {
  return votings === core.quorum.votings ? core.quorum : quorumOfAll(votings)
}

/** The order of votes: current epoch, end of the history, id (ZOOKEEPER-335). */
function isBetter(a: Status, aId: number, b: Status, bId: number): boolean {
  if (a.current !== b.current) return a.current > b.current
  if (a.last !== b.last) return a.last > b.last
  return aId > bId
}

/** Whether this server's vote counts, and may be given: to nobody who is behind it, and blank only where that is safe. */
function mayVoteFor(core: Core, { id, status, quorum }: Candidate): boolean {
  if (id === core.id) return true
  const { current } = core.epochs
  const end = endOf(core.history)
  if (!quorum.voters.includes(core.id)) return false
  if (isBlank(core)) return status.blanks === 'any' || (status.blanks === 'empty' && end === 0)
  return status.current > current || (status.current === current && status.last >= end)
}

/** A quorum is for it, and so is it itself. */
function hasQuorum(core: Core, { id: vote, quorum }: Candidate): boolean {
  return agrees(core, vote, vote) && quorum.contains((id) => agrees(core, id, vote))
}

/** Nobody who could still change the outcome is missing: voters that are not connected can not be waited for. */
function everyoneAgrees(core: Core, { id: vote, status, quorum }: Candidate): boolean {
  return core.peers.every(
    (peer) => !quorum.voters.includes(peer.id) || isLeftOut(peer, status) || agrees(core, peer.id, vote),
  )
}

/** A voter that is blank, or whose state is no good, and does not count for this candidate. */
function isLeftOut(peer: Peer, { blanks }: Status): boolean {
  return peer.status?.blank === true && blanks === 'none'
}

function agrees(core: Core, id: number, vote: number): boolean {
  if (id === core.id) return core.role.type === 'looking' && core.role.vote === vote
  return peerOf(core, id)?.status?.leader === vote
}

/** Says so once if nothing is missing but the votes of servers without a memory. */
function reportBlanks(core: Core, role: Looking, { id: candidate, status, quorum }: Candidate): void {
  const blanks = core.peers.filter((peer) => isLeftOut(peer, status)).map(({ id }) => id)
  if (isBlank(core) && candidate !== core.id && status.blanks === 'none') blanks.push(core.id)
  const missing = blanks.filter((id) => quorum.voters.includes(id))
  const short =
    missing.length > 0 && quorum.contains((id) => missing.includes(id) || agrees(core, id, candidate))
  const report = short ? `${candidate}: ${missing.sort((a, b) => a - b)}` : ''
  if (report === role.reportedBlanks) return
  role.reportedBlanks = report
  if (short) emit(core, { type: 'blankVoters', candidate, blanks: missing })
}

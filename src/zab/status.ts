// A server's status: computed from its state, told to the connected peers whenever it has changed, so that no part of
// the core has to remember to do so.
import { endOf } from './history.ts'
import type { Status } from './messages.ts'
import { isSameVoting } from './quorum.ts'
import { atRest, type Core, isBlank, peerOf, send } from './state.ts'

/** Says nothing of itself but that it looks. */
export const silent: Status = {
  type: 'status',
  state: 'looking',
  leader: undefined,
  candidate: false,
  current: -1,
  last: -1,
  epoch: -1,
  blank: false,
  blanks: 'none',
  votings: [],
  reconfigured: false,
  committedVoting: 0,
}

/**
 * Whether this server may be voted for. It must be connected to a quorum: the others vote only for whom they are
 * connected to, so the best candidate gets the votes of a quorum whatever the shape of the network is.
 */
export function isCandidate(core: Core): boolean {
  return (
    core.quorum.mayLead(core.id) &&
    // Somebody led the server from which its history comes, and nobody remembers how far here.
    !(isBlank(core) && endOf(core.history) > 0) &&
    !core.needsSnapshot &&
    !core.abstaining &&
    atRest(core) &&
    core.quorum.contains((id) => id === core.id || peerOf(core, id) !== undefined)
  )
}

export function statusOf(core: Core): Status {
  return { ...describe(core) }
}

/** The status as the core's draft, which is written over at the next call. */
function describe(core: Core): Status {
  const { role, draft } = core
  silence(draft)
  switch (role.type) {
    case 'looking':
      draft.leader = role.vote
      draft.blank = isBlank(core) || core.needsSnapshot
      draft.committedVoting = knownVoting(core)
      if (isCandidate(core)) candidate(core, core.epochs.current, endOf(core.history))
      break
    case 'following':
      draft.state = 'following'
      draft.leader = role.leader
      break
    case 'leading':
      draft.state = 'leading'
      draft.leader = core.id
      if (role.phase === 'broadcast') draft.epoch = role.epoch
      else candidate(core, role.credential.current, role.credential.last)
  }
  return draft
}

/** Field by field: `Object.assign` takes 270 ns for it, this 13, and it is done at each step of the core. */
function silence(draft: Core['draft']): void {
  draft.state = silent.state
  draft.leader = silent.leader
  draft.candidate = silent.candidate
  draft.current = silent.current
  draft.last = silent.last
  draft.epoch = silent.epoch
  draft.blank = silent.blank
  draft.blanks = silent.blanks
  draft.votings = silent.votings
  draft.reconfigured = silent.reconfigured
  draft.committedVoting = silent.committedVoting
}

/**
 * zxid of the newest voting that is committed for certain: known to be, or followed by another. One that only writes down
 * what is in force anyway may be followed at once.
 */
function knownVoting({ inForce, history, committed }: Core): number {
  if (inForce.committed) return inForce.zxid
  const { votings } = history
  const known = votings.findLastIndex((one, i) => {
    const before = votings[i - 1]?.voting
    const followed = i < votings.length - 1 && before !== undefined && !isSameVoting(before, one.voting)
    return followed || one.zxid <= committed
  })
  return votings[known]?.zxid ?? 0
}

function candidate({ draft, quorum, alone, inForce }: Core, current: number, last: number): void {
  draft.candidate = true
  draft.current = current
  draft.last = last
  draft.blanks = alone ? 'any' : last === 0 ? 'empty' : 'none'
  draft.votings = quorum.votings
  draft.reconfigured = inForce.zxid > 0
}

/** Tells every connected peer if there is news. */
export function announce(core: Core): void {
  const draft = describe(core)
  if (isSame(draft, core.announced)) return
  const status = { ...draft }
  core.announced = status
  for (const peer of core.peers) send(core, peer.id, status)
}

function isSame(a: Status, b: Status): boolean {
  return (
    a.state === b.state &&
    a.leader === b.leader &&
    a.candidate === b.candidate &&
    a.current === b.current &&
    a.last === b.last &&
    a.epoch === b.epoch &&
    a.blank === b.blank &&
    a.blanks === b.blanks &&
    a.votings === b.votings &&
    a.reconfigured === b.reconfigured &&
    a.committedVoting === b.committedVoting
  )
}

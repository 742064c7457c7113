// A server's status: computed from its state, told to the connected peers whenever it has changed, so that no part of
// the core has to remember to do so.
import { endOf } from './history.ts'
import type { Status } from './messages.ts'
import { atRest, type Core, peerOf, send } from './state.ts'

/** Says nothing of itself but that it looks. */
export const silent: Status = {
  type: 'status',
  state: 'looking',
  leader: undefined,
  candidate: false,
  current: -1,
  last: -1,
  epoch: -1,
}

/**
 * Whether this server may be voted for. It must be connected to a quorum: the others vote only for whom they are
 * connected to, so the best candidate gets the votes of a quorum whatever the shape of the network is.
 */
export function isCandidate(core: Core): boolean {
  return (
    core.quorum.mayLead(core.id) &&
    !core.needsSnapshot &&
    !core.abstaining &&
    atRest(core) &&
    core.quorum.contains((id) => id === core.id || peerOf(core, id) !== undefined)
  )
}

export function statusOf(core: Core): Status {
  const { role } = core
  switch (role.type) {
    case 'looking': {
      const candidate = isCandidate(core)
      return {
        type: 'status',
        state: 'looking',
        leader: role.vote,
        candidate,
        current: candidate ? core.epochs.current : -1,
        last: candidate ? endOf(core.history) : -1,
        epoch: -1,
      }
    }
    case 'following':
      return { ...silent, state: 'following', leader: role.leader }
    case 'leading': {
      if (role.phase === 'broadcast')
        return { ...silent, state: 'leading', leader: core.id, epoch: role.epoch }
      const { current, last } = role.credential
      return { ...silent, state: 'leading', leader: core.id, candidate: true, current, last }
    }
  }
}

/** Tells every connected peer if there is news. */
export function announce(core: Core): void {
  const status = statusOf(core)
  if (isSame(status, core.announced)) return
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
    a.epoch === b.epoch
  )
}

// Discovery, the leader's side: a quorum comes, the leader picks an epoch above all that were promised, a quorum
// promises it and shows that its history is not ahead of the leader's. Phase 1 of ZAB.
import { assert } from '../base/assert.ts'
import { formatZxid, maxEpoch } from '../base/zxid.ts'
import { endOf } from './history.ts'
import type { AckEpoch, FollowerInfo } from './messages.ts'
import { createLearner, type Learner, removeLearner } from './progress.ts'
import { type Core, isVoter, type Leading, leave, reportRole, saveEpochs, send, takesBlank } from './state.ts'
import { announce } from './status.ts'
import { beginSynchronization, synchronize } from './sync.ts'

export function startLeading(core: Core): void {
  const role: Leading = {
    type: 'leading',
    phase: 'discovery',
    since: core.now,
    credential: { current: core.epochs.current, last: endOf(core.history) },
    epoch: -1,
    promised: false,
    adopted: false,
    promises: new Set(),
    learners: [],
    ofVoters: [],
    counter: 0,
    committed: core.committed,
    told: 0,
    pingedAt: core.now,
    pingSeq: 0,
    confirming: { seq: 0, ids: [], zxid: 0 },
    confirmNext: [],
    owedSince: undefined,
    resigning: undefined,
    abstains: false,
    settling: 0,
  }
  core.role = role
  reportRole(core, 'leading', 'discovery', core.id, -1, 'elected')
  announce(core)
  for (const peer of core.peers) {
    const { early } = peer
    peer.early = undefined
    if (early !== undefined) onFollowerInfo(core, role, peer.id, early)
  }
  chooseEpoch(core, role)
}

/** A learner comes, or comes again. */
export function onFollowerInfo(core: Core, role: Leading, from: number, info: FollowerInfo): void {
  removeLearner(role, from)
  const learner = createLearner(from, info, core.now)
  role.learners.push(learner)
  role.learners.sort((a, b) => a.id - b.id)
  // The learner knows with this that it is waited for.
  send(core, from, { type: 'ping', session: info.session, seq: role.pingSeq })
  if (isTooLow(core, role, learner)) {
    leave(core, `server ${from} has promised epoch ${info.accepted} already: it takes a newer one`)
    return
  }
  if (role.promised) sendEpoch(core, role, learner)
  else chooseEpoch(core, role)
}

/**
 * A server that promised a later epoch can not follow (an observer has done so if a candidate took it for a voter), and
 * a voter that promised this very epoch before does not count. An election with the highest epoch known helps both,
 * where ZooKeeper would leave the server out for as long as this leader lasts.
 */
function isTooLow(core: Core, role: Leading, { id, accepted }: Learner): boolean {
  if (role.epoch === -1) return false
  return accepted > role.epoch || (accepted === role.epoch && role.phase === 'discovery' && isVoter(core, id))
}

/** With a quorum the epoch is chosen, and promised on disk before anybody hears of it (ZOOKEEPER-1291). */
function chooseEpoch(core: Core, role: Leading): void {
  if (role.epoch !== -1) return
  const { learners } = role
  const came = (id: number) => id === core.id || learners.some((learner) => learner.id === id)
  if (!core.quorum.contains(came)) return
  role.epoch = learners.reduce((max, { accepted }) => Math.max(max, accepted), core.epochs.accepted) + 1
  assert(role.epoch <= maxEpoch, 'the ensemble has used up its epochs')
  saveEpochs(core, { accepted: role.epoch, current: core.epochs.current })
}

/** The leader's own promise is on disk. */
export function onOwnPromise(core: Core, role: Leading): void {
  role.promised = true
  role.promises.add(core.id)
  for (const learner of role.learners) sendEpoch(core, role, learner)
  checkPromises(core, role)
}

function sendEpoch(core: Core, role: Leading, learner: Learner): void {
  send(core, learner.id, { type: 'newEpoch', session: learner.session, epoch: role.epoch })
}

/** A learner has promised the epoch. Until a quorum has, nobody may be ahead of the leader. */
export function onAckEpoch(core: Core, role: Leading, learner: Learner, ack: AckEpoch): void {
  if (learner.state !== 'discovery' || !role.promised) return
  learner.state = 'ready'
  learner.last = ack.last
  learner.needsSnapshot = ack.needsSnapshot
  if (role.phase !== 'discovery') {
    synchronize(core, role, learner)
    return
  }
  if (!isVoter(core, learner.id) || ack.current === -1) return
  if (learner.blank && !takesBlank(core, ack.last)) return
  if (isAhead(core, ack)) {
    // One that is ahead but could not be elected is not counted, and otherwise no hindrance.
    if (ack.needsSnapshot) return
    leave(core, `server ${learner.id} is ahead: epoch ${ack.current}, zxid ${formatZxid(ack.last)}`)
    return
  }
  role.promises.add(learner.id)
  checkPromises(core, role)
}

function isAhead(core: Core, ack: AckEpoch): boolean {
  const { current } = core.epochs
  return ack.current > current || (ack.current === current && ack.last > endOf(core.history))
}

function checkPromises(core: Core, role: Leading): void {
  if (core.quorum.contains((id) => role.promises.has(id))) beginSynchronization(core, role)
}

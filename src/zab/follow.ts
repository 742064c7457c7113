// The learner's side of all phases: follower or observer, which differ only in that the leader does not count the
// latter. The order of the steps at the end of synchronization is what several of ZooKeeper's worst bugs were about:
// history durable, then current epoch durable, then the ack (ZOOKEEPER-3911, 4643, 4646, 4785).
import { assertNever } from '../base/assert.ts'
import { endOf, hasPoint, pointAtOrBelow } from './history.ts'
import type { LeaderMessage } from './messages.ts'
import {
  appendEntry,
  type Core,
  commitUpTo,
  emit,
  type Following,
  isBlank,
  isVoter,
  leave,
  replaceHistory,
  reportRole,
  saveEpochs,
  send,
  truncate,
} from './state.ts'
import { announce } from './status.ts'
import type { Entry, Epochs, VotingAt } from './types.ts'

export function startFollowing(core: Core, leader: number): void {
  const session = ++core.sessions
  core.role = {
    type: 'following',
    leader,
    session,
    phase: 'discovery',
    epoch: -1,
    answered: false,
    heardAt: core.now,
    matched: false,
    awaitsSnapshot: false,
    adoptAt: undefined,
    adopting: false,
    committed: 0,
  }
  reportRole(core, 'following', 'discovery', leader, -1, `server ${leader} leads`)
  announce(core)
  const { accepted } = core.epochs
  const observer = !isVoter(core, core.id)
  send(core, leader, { type: 'followerInfo', session, accepted, observer, blank: isBlank(core) })
}

/** A message of the leader's in the present session. */
export function onLeaderMessage(core: Core, role: Following, message: LeaderMessage): void {
  role.heardAt = core.now
  role.answered = true
  const { leader, session } = role
  switch (message.type) {
    case 'newEpoch':
      onNewEpoch(core, role, message.epoch)
      break
    case 'find': {
      const zxid = pointAtOrBelow(core.history, message.zxid) ?? -1
      send(core, leader, { type: 'found', session, zxid })
      break
    }
    case 'diff':
      onDiff(core, role, message.after)
      break
    case 'snapshot':
      role.awaitsSnapshot = true
      core.installing = true
      emit(core, { type: 'receiveSnapshot', from: leader, session })
      break
    case 'proposal':
      onProposal(core, role, message.entries, message.committed)
      break
    case 'newLeader':
      role.adoptAt = endOf(core.history)
      adopt(core, role)
      break
    case 'upToDate':
      role.phase = 'broadcast'
      onCommit(core, role, message.committed)
      reportRole(core, 'following', 'broadcast', leader, role.epoch, 'up to date')
      break
    case 'commit':
      onCommit(core, role, message.zxid)
      break
    case 'ping':
      send(core, leader, { type: 'pong', session, seq: message.seq })
      break
    default:
      assertNever(message)
  }
}

/** Promises the epoch, on disk first. A promise is given once: to a lower epoch never, to the same it does not count. */
function onNewEpoch(core: Core, role: Following, epoch: number): void {
  const { accepted, current } = core.epochs
  if (role.epoch !== -1) return
  if (epoch < accepted) {
    leave(core, `leader ${role.leader} begins epoch ${epoch}, but ${accepted} was promised`)
    return
  }
  role.epoch = epoch
  if (epoch === accepted) ackEpoch(core, role, -1)
  else saveEpochs(core, { accepted: epoch, current })
}

function ackEpoch(core: Core, role: Following, current: number): void {
  const { leader, session } = role
  const { history, needsSnapshot } = core
  send(core, leader, { type: 'ackEpoch', session, current, last: endOf(history), needsSnapshot })
}

/** What was being saved is the promise, or the adopted epoch. */
export function onFollowerEpochsSaved(core: Core, role: Following, epochs: Epochs): void {
  const { leader, session } = role
  if (role.adopting) send(core, leader, { type: 'ackNewLeader', session })
  else ackEpoch(core, role, epochs.current)
}

/** Histories agree up to `after`. What is cut was never committed: it was not in the history of a quorum's best server. */
function onDiff(core: Core, role: Following, after: number): void {
  const { history } = core
  if (!hasPoint(history, after)) {
    leave(core, `leader ${role.leader} takes for common ${after}, where no entry ends`)
    return
  }
  if (after < core.committed) {
    diverge(core, `zxid ${core.committed} is applied here and not in the leader's history`)
    return
  }
  role.phase = 'synchronization'
  role.matched = true
  if (after !== endOf(history)) truncate(core, after)
}

/** The state is not that of the ensemble; it is replaced as a whole. */
export function diverge(core: Core, reason: string): void {
  core.needsSnapshot = true
  emit(core, { type: 'diverged', zxid: core.committed })
  leave(core, reason)
}

/** Entries are taken only if they follow what is there: a gap must never come to disk (ZOOKEEPER-2355). */
function onProposal(core: Core, role: Following, entries: readonly Entry[], committed: number): void {
  for (const entry of entries) {
    if (!role.matched || entry.prev !== endOf(core.history)) {
      leave(
        core,
        `a gap: entry ${entry.first} follows ${entry.prev}, the history ends at ${endOf(core.history)}`,
      )
      return
    }
    appendEntry(core, entry, undefined)
  }
  onCommit(core, role, committed)
}

function onCommit(core: Core, role: Following, zxid: number): void {
  if (!role.matched) return
  if (zxid > role.committed) role.committed = zxid
  commitUpTo(core, role.committed)
}

/** More of the history is on disk: only now it is acknowledged, adopted, applied. */
export function onFollowerDurable(core: Core, role: Following): void {
  if (!role.matched) return
  const { leader, session } = role
  send(core, leader, { type: 'ack', session, zxid: core.history.durable })
  commitUpTo(core, role.committed)
  adopt(core, role)
}

/** The leader's history is adopted when all of it, and a cut before it, is on disk. */
export function adopt(core: Core, role: Following): void {
  if (role.adoptAt === undefined || role.adopting) return
  if (core.truncating || core.history.durable < role.adoptAt) return
  role.adopting = true
  core.alone = false
  saveEpochs(core, { accepted: core.epochs.accepted, current: role.epoch })
}

/** Checkpoint and log are the snapshot's now, whoever is followed at this time. */
export function onSnapshotInstalled(core: Core, zxid: number, voting: VotingAt | undefined): void {
  core.installing = false
  core.needsSnapshot = false
  replaceHistory(core, zxid, voting)
  const { role } = core
  if (role.type !== 'following' || !role.awaitsSnapshot) return
  role.awaitsSnapshot = false
  send(core, role.leader, { type: 'installed', session: role.session, zxid })
}

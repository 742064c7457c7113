// Synchronization, the leader's side: every learner's history is made equal to the leader's; with a quorum that has
// adopted it the leader is established and all of that history is committed. Phase 2 of ZAB.

import { advanceCommit, takenForCommitted } from './broadcast.ts'
import { endOf, hasPoint } from './history.ts'
import type { Found, Installed } from './messages.ts'
import {
  hasAnswered,
  type Learner,
  ping,
  probe,
  pump,
  sendEntries,
  startSnapshot,
  startStream,
} from './progress.ts'
import {
  type Core,
  commitUpTo,
  disconnect,
  type Leading,
  reportRole,
  saveEpochs,
  send,
  takesBlank,
} from './state.ts'
import type { Entry } from './types.ts'

/** A quorum has promised the epoch: the leader's history, as it is now, becomes that of the epoch. */
export function beginSynchronization(core: Core, role: Leading): void {
  role.phase = 'synchronization'
  reportRole(core, 'leading', 'synchronization', core.id, role.epoch, 'a quorum promised the epoch')
  saveEpochs(core, { accepted: core.epochs.accepted, current: role.epoch })
  synchronizeWaiting(core, role)
}

/** Begins to make a learner's history equal to the leader's. */
export function synchronize(core: Core, role: Leading, learner: Learner): void {
  if (learner.blank && !admitsBlank(core, role, learner)) return
  if (!learner.needsSnapshot) {
    probe(core, role, learner, learner.last)
    return
  }
  // Its log may be one of the quorum that makes an entry durable; a snapshot must not take it back below that. So it
  // waits until this server has applied everything committed that the learner may have.
  if (role.phase !== 'broadcast') return
  const atLeast = Math.max(Math.min(takenForCommitted(role), learner.last), core.history.trimmedTo)
  if (core.committed >= atLeast) startSnapshot(core, learner, atLeast)
}

/** Whether a blank server may become one that counts: if a quorum has said, after it came, that it follows. See voting.ts. */
function admitsBlank(core: Core, role: Leading, learner: Learner): boolean {
  if (takesBlank(core, learner.last)) return true
  if (role.phase !== 'broadcast') return false
  learner.admittedBy ??= ping(core, role)
  return hasAnswered(core, role, learner.admittedBy)
}

/** Learners that had to wait, for a snapshot or as blank servers. */
export function synchronizeWaiting(core: Core, role: Leading): void {
  if (core.role !== role || role.phase === 'discovery') return
  for (const learner of role.learners) if (learner.state === 'ready') synchronize(core, role, learner)
}

/** The answer to a find. */
export function onFound(core: Core, role: Leading, learner: Learner, { zxid }: Found): void {
  if (learner.state !== 'probing') return
  if (zxid < 0) startSnapshot(core, learner, core.history.trimmedTo)
  else probe(core, role, learner, zxid)
}

/** The learner's history is that of a snapshot of this leader's. */
export function onInstalled(core: Core, role: Leading, learner: Learner, { zxid }: Installed): void {
  if (learner.state !== 'snapshot') return
  if (hasPoint(core.history, zxid)) startStream(core, role, learner, zxid)
  else disconnect(core, learner.id, `the log no longer goes back to the snapshot at ${zxid}`)
}

/** Entries that were asked for with readEntries. */
export function onEntriesRead(
  core: Core,
  role: Leading,
  id: number,
  to: number,
  entries: readonly Entry[],
): void {
  const learner = role.learners.find((one) => one.id === to)
  if (learner === undefined || learner.reading !== id) return
  learner.reading = undefined
  if (entries[0]?.prev !== learner.sent) {
    disconnect(core, to, `the log could not be read after ${learner.sent}`)
    return
  }
  sendEntries(core, role, learner, entries)
  pump(core, role, learner)
}

/** The leader's own current epoch is on disk; its history was before it began to lead. */
export function onOwnAdoption(core: Core, role: Leading): void {
  role.adopted = true
  if (role.phase === 'synchronization') establish(core, role)
  else advanceCommit(core, role)
}

/** The learner's history is the leader's, durably, and so is its current epoch. */
export function onAckNewLeader(core: Core, role: Leading, learner: Learner): void {
  if (!learner.newLeaderSent || learner.synced) return
  learner.synced = true
  if (role.phase === 'synchronization') {
    establish(core, role)
  } else {
    activate(core, role, learner)
    advanceCommit(core, role)
  }
}

/** With a quorum that has adopted the initial history all of it is committed, and broadcast begins. */
function establish(core: Core, role: Leading): void {
  const { learners } = role
  const adopted = (id: number) =>
    id === core.id ? role.adopted : learners.some((learner) => learner.id === id && learner.synced)
  if (!core.quorum.contains(adopted)) return
  role.phase = 'broadcast'
  role.committed = endOf(core.history)
  core.alone = false
  commitUpTo(core, role.committed)
  reportRole(core, 'leading', 'broadcast', core.id, role.epoch, 'a quorum has the history')
  for (const learner of learners) if (learner.synced) activate(core, role, learner)
  synchronizeWaiting(core, role)
}

/** A later one hears of every commit since, too: what it is told is the newest commit point. */
function activate(core: Core, role: Leading, learner: Learner): void {
  learner.active = true
  learner.told = role.committed
  send(core, learner.id, { type: 'upToDate', session: learner.session, committed: role.committed })
}

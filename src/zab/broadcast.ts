// Broadcast, the leader's side: entries go out as they are proposed; what a quorum has on disk is committed, in order.
// Phase 3 of ZAB.
import { assert } from '../base/assert.ts'
import { makeZxid, maxCounter } from '../base/zxid.ts'
import { endOf, pushEntry } from './history.ts'
import type { Ack } from './messages.ts'
import { acknowledge, type Learner, pump } from './progress.ts'
import { type Core, commitUpTo, emit, type Leading, leave, send } from './state.ts'
import type { Entry } from './types.ts'

/** The zxid that the last of `count` transactions proposed next will have; the end of the history for none. Leader only. */
export function zxidAfter(core: Core, count: number): number {
  if (count === 0) return endOf(core.history)
  assert(core.role.type === 'leading', 'only a leader knows the next zxid')
  return makeZxid(core.role.epoch, core.role.counter + count)
}

/** Appends and sends a new entry, without waiting for the ones before it. */
export function propose(core: Core, count: number, bytes: Uint8Array, origin: unknown): void {
  const { role, history } = core
  assert(role.type === 'leading' && role.phase === 'broadcast', 'only an established leader proposes')
  assert(role.resigning === undefined, 'a proposal after the leader resigned')
  assert(count > 0, 'an empty proposal')
  if (role.counter + count > maxCounter) {
    leave(core, `epoch ${role.epoch} has used up its transactions`)
    return
  }
  const first = makeZxid(role.epoch, role.counter + 1)
  const entry: Entry = { prev: endOf(history), first, last: first + count - 1, bytes }
  role.counter += count
  pushEntry(history, entry)
  role.owedSince ??= core.now
  emit(core, origin === undefined ? { type: 'append', entry } : { type: 'append', entry, origin })
  for (const learner of role.learners) pump(core, role, learner)
}

/** Cumulative, from any learner; it opens the window, and counts for commits once the learner is synced. */
export function onAck(core: Core, role: Leading, learner: Learner, { zxid }: Ack): void {
  if (learner.state !== 'streaming') return
  assert(zxid <= learner.sent, `learner ${learner.id} acknowledged ${zxid}, but was sent ${learner.sent}`)
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
  const { learners, committed } = role
  const reached = core.quorum.reached((id) => {
    // As with a learner: an entry on a disk counts if a later election can not overlook it there, and that takes the
    // current epoch on that disk, too.
    if (id === core.id) return role.adopted ? core.history.durable : -1
    const learner = learners.find((one) => one.id === id)
    return learner?.synced ? learner.acked : -1
  })
  if (reached > committed) {
    role.committed = reached
    for (const { id, session, active } of learners)
      if (active) send(core, id, { type: 'commit', session, zxid: reached })
  }
  commitUpTo(core, role.committed)
  if (role.resigning !== undefined) finishResigning(core)
}

/** Begins to hand over: what was proposed is committed first, so that a follower has all of it. */
export function resign(core: Core): void {
  const { role } = core
  if (role.type === 'leading' && role.phase === 'broadcast') {
    role.resigning ??= core.now
    finishResigning(core)
  } else {
    abdicate(core)
  }
}

function finishResigning(core: Core): void {
  if (core.committed === endOf(core.history)) abdicate(core)
}

/** Everybody hears that this server looks and is no candidate; the next best is elected without any wait. */
export function abdicate(core: Core): void {
  core.abstaining = true
  if (core.role.type === 'leading') leave(core, 'resigned')
  emit(core, { type: 'resigned' })
}

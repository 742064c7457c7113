// The consensus core: a state machine without I/O, clock or randomness. `step(event)` changes the state and gives
// back what is to be done; facts (durable, saved) come back as events, so effects have no order to respect except
// that of appends among themselves. The phases are those of ZAB: election, discovery, synchronization, broadcast
// (reference: Junqueira, Reed, Serafini, "Zab: High-performance broadcast for primary-backup systems", section 4).
import { assert, assertNever } from '../base/assert.ts'
import { epochOf, makeZxid, maxCounter, maxEpoch } from '../base/zxid.ts'
import type { Quorum } from './quorum.ts'
import type { Entry, Epochs } from './types.ts'

/** Where a leader is on its way to broadcast. */
export type LeaderPhase = 'discovery' | 'synchronization' | 'broadcast'

type Looking = { readonly type: 'looking' }

type Leading = {
  readonly type: 'leading'
  phase: LeaderPhase
  readonly epoch: number
  /** Highest zxid that each voter has acknowledged as durable. */
  readonly acked: Map<number, number>
  /** Counter of the last transaction proposed in this epoch. */
  counter: number
}

/** State of the core. Fields are for reading from outside. */
export type Core = {
  readonly id: number
  readonly quorum: Quorum
  /** As last confirmed to be on disk. */
  epochs: Epochs
  /** End of the history, durable or being made so. */
  lastProposed: number
  /** End of the durable history: the election credential together with the current epoch. */
  lastDurable: number
  /** Everything up to here is committed. */
  committed: number
  role: Looking | Leading
}

export type Event =
  /** Begins the election. */
  | { readonly type: 'start' }
  /** The epochs given by a saveEpochs effect are on disk. */
  | { readonly type: 'epochsSaved'; readonly epochs: Epochs }
  /** Leader in broadcast only: `count` transactions in one entry. */
  | { readonly type: 'propose'; readonly count: number; readonly bytes: Uint8Array }
  /** All entries up to this zxid are durable here. */
  | { readonly type: 'durable'; readonly zxid: number }

export type Effect =
  | { readonly type: 'saveEpochs'; readonly epochs: Epochs }
  | { readonly type: 'append'; readonly entry: Entry }
  /** Everything up to `zxid` is committed. */
  | { readonly type: 'commit'; readonly zxid: number }
  /** The leader may propose: its initial history is committed. */
  | { readonly type: 'established'; readonly epoch: number }
  /** The epoch's counter is used up: the leader steps down and a new epoch must be elected (ZOOKEEPER-1277). */
  | { readonly type: 'stepDown'; readonly reason: string }

/** A server's core as it comes up with what its disk holds. Throws InvariantError if that contradicts itself. */
export function createCore(id: number, quorum: Quorum, epochs: Epochs, lastZxid: number): Core {
  assert(
    epochs.accepted >= epochs.current,
    `accepted epoch ${epochs.accepted} is below current ${epochs.current}`,
  )
  assert(
    epochOf(lastZxid) <= epochs.current,
    `the log is of epoch ${epochOf(lastZxid)}, current is ${epochs.current}`,
  )
  return {
    id,
    quorum,
    epochs,
    lastProposed: lastZxid,
    lastDurable: lastZxid,
    committed: 0,
    role: { type: 'looking' },
  }
}

/** The only entry: runs to completion, throws only on a broken invariant. */
export function step(core: Core, event: Event): Effect[] {
  switch (event.type) {
    case 'start':
      return onStart(core)
    case 'epochsSaved':
      return onEpochsSaved(core, event.epochs)
    case 'propose':
      return onPropose(core, event.count, event.bytes)
    case 'durable':
      return onDurable(core, event.zxid)
    default:
      return assertNever(event)
  }
}

/** The zxid that the last of `count` transactions proposed next will have; `lastProposed` for none. Leader only. */
export function zxidAfter(core: Core, count: number): number {
  if (count === 0) return core.lastProposed
  assert(core.role.type === 'leading', 'only a leader knows the next zxid')
  return makeZxid(core.role.epoch, core.role.counter + count)
}

/** Election: a server whose own vote is a quorum need not hear from anybody. */
function onStart(core: Core): Effect[] {
  core.role = { type: 'looking' }
  return core.quorum.contains((id) => id === core.id) ? becomeLeading(core) : []
}

/** Discovery: the new epoch is promised on disk before anybody hears of it (ZOOKEEPER-1291). */
function becomeLeading(core: Core): Effect[] {
  const epoch = core.epochs.accepted + 1
  assert(epoch <= maxEpoch, 'the ensemble has used up its epochs')
  core.role = { type: 'leading', phase: 'discovery', epoch, acked: new Map(), counter: 0 }
  return [{ type: 'saveEpochs', epochs: { accepted: epoch, current: core.epochs.current } }]
}

function onEpochsSaved(core: Core, epochs: Epochs): Effect[] {
  core.epochs = epochs
  const { role } = core
  if (role.type !== 'leading') return []
  if (role.phase === 'discovery' && epochs.accepted === role.epoch) {
    role.phase = 'synchronization'
    return [{ type: 'saveEpochs', epochs: { accepted: role.epoch, current: role.epoch } }]
  }
  return role.phase === 'synchronization' ? establish(core, role) : []
}

/**
 * With a quorum that has adopted the new epoch and has the initial history on disk all of it is committed, and
 * broadcast begins. What a leader had proposed before it stepped down may still be on its way to the disk.
 */
function establish(core: Core, role: Leading): Effect[] {
  if (core.epochs.current !== role.epoch) return []
  role.acked.set(core.id, core.lastDurable)
  if (!core.quorum.contains((id) => (role.acked.get(id) ?? -1) >= core.lastProposed)) return []
  role.phase = 'broadcast'
  core.committed = core.lastProposed
  return [
    { type: 'commit', zxid: core.committed },
    { type: 'established', epoch: role.epoch },
  ]
}

function onPropose(core: Core, count: number, bytes: Uint8Array): Effect[] {
  const { role } = core
  assert(role.type === 'leading' && role.phase === 'broadcast', 'only an established leader proposes')
  assert(count > 0, 'an empty proposal')
  if (role.counter + count > maxCounter) {
    core.role = { type: 'looking' }
    return [{ type: 'stepDown', reason: `epoch ${role.epoch} has used up its transactions` }]
  }
  const first = makeZxid(role.epoch, role.counter + 1)
  const entry: Entry = { prev: core.lastProposed, first, last: first + count - 1, bytes }
  role.counter += count
  core.lastProposed = entry.last
  return [{ type: 'append', entry }]
}

/** An append that is durable is the leader's own ack; commits follow what a quorum has. */
function onDurable(core: Core, zxid: number): Effect[] {
  assert(zxid <= core.lastProposed, `durable up to ${zxid}, beyond the history's end ${core.lastProposed}`)
  if (zxid > core.lastDurable) core.lastDurable = zxid
  const { role } = core
  if (role.type !== 'leading' || role.phase === 'discovery') return []
  if (role.phase === 'synchronization') return establish(core, role)
  role.acked.set(core.id, core.lastDurable)
  const reached = core.quorum.reached((id) => role.acked.get(id) ?? -1)
  if (reached <= core.committed) return []
  core.committed = reached
  return [{ type: 'commit', zxid: reached }]
}

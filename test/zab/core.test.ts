// The ensemble of one as scenarios: each line is an event and all the effects it has. What the claims rest on:
// Junqueira, Reed, Serafini, "Zab: High-performance broadcast for primary-backup systems", and ZooKeeper's fixes to it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { makeZxid, maxCounter, maxEpoch } from '../../src/base/zxid.ts'
import { type Core, createCore, type Effect, step, zxidAfter } from '../../src/zab/core.ts'
import { majority } from '../../src/zab/quorum.ts'
import type { Epochs } from '../../src/zab/types.ts'

const bytes = Buffer.from('transactions')
const one = majority([1])

function startCore(epochs: Epochs = { accepted: 0, current: 0 }, lastZxid = 0, quorum = one): Core {
  return createCore(1, quorum, epochs, lastZxid)
}

/** A core that has come to broadcast. */
function established(epochs?: Epochs, lastZxid?: number): Core {
  const core = startCore(epochs, lastZxid)
  let effects = step(core, { type: 'start' })
  for (let effect = effects[0]; effect?.type === 'saveEpochs'; effect = effects[0])
    effects = step(core, { type: 'epochsSaved', epochs: effect.epochs })
  assert.equal(effects.at(-1)?.type, 'established')
  return core
}

function phaseOf(core: Core): string {
  return core.role.type === 'leading' ? core.role.phase : core.role.type
}

/** The zxid of an append, to make it durable. */
function proposed(core: Core, count = 1): number {
  const [effect] = step(core, { type: 'propose', count, bytes })
  assert.equal(effect?.type, 'append')
  return effect.type === 'append' ? effect.entry.last : 0
}

test('a fresh server elects itself, saves the accepted epoch, then the current one, then leads', () => {
  const core = startCore()
  assert.equal(phaseOf(core), 'looking')
  assert.deepEqual(step(core, { type: 'start' }), [
    { type: 'saveEpochs', epochs: { accepted: 1, current: 0 } },
  ])
  assert.equal(phaseOf(core), 'discovery')
  assert.deepEqual(core.epochs, { accepted: 0, current: 0 })
  assert.deepEqual(step(core, { type: 'epochsSaved', epochs: { accepted: 1, current: 0 } }), [
    { type: 'saveEpochs', epochs: { accepted: 1, current: 1 } },
  ])
  assert.equal(phaseOf(core), 'synchronization')
  assert.deepEqual(step(core, { type: 'epochsSaved', epochs: { accepted: 1, current: 1 } }), [
    { type: 'commit', zxid: 0 },
    { type: 'established', epoch: 1 },
  ])
  assert.equal(phaseOf(core), 'broadcast')
  assert.deepEqual(core.epochs, { accepted: 1, current: 1 })
})

test('the initial history is committed as a whole when the leader is established, and not before', () => {
  const last = makeZxid(3, 17)
  const core = startCore({ accepted: 5, current: 3 }, last)
  step(core, { type: 'start' })
  assert.equal(core.committed, 0)
  step(core, { type: 'epochsSaved', epochs: { accepted: 6, current: 3 } })
  assert.equal(core.committed, 0)
  assert.deepEqual(step(core, { type: 'epochsSaved', epochs: { accepted: 6, current: 6 } }), [
    { type: 'commit', zxid: last },
    { type: 'established', epoch: 6 },
  ])
})

test('an epoch that is saved late, or is another one, has no effect', () => {
  const core = startCore({ accepted: 4, current: 4 })
  step(core, { type: 'start' })
  assert.deepEqual(step(core, { type: 'epochsSaved', epochs: { accepted: 4, current: 4 } }), [])
  assert.equal(phaseOf(core), 'discovery')
  step(core, { type: 'epochsSaved', epochs: { accepted: 5, current: 4 } })
  assert.deepEqual(step(core, { type: 'epochsSaved', epochs: { accepted: 5, current: 4 } }), [])
  assert.equal(phaseOf(core), 'synchronization')
})

test('a proposal is appended with the next zxids of the epoch, and committed only when it is durable', () => {
  const core = established()
  const first = makeZxid(1, 1)
  assert.deepEqual(step(core, { type: 'propose', count: 3, bytes }), [
    { type: 'append', entry: { prev: 0, first, last: first + 2, bytes } },
  ])
  assert.equal(core.committed, 0)
  assert.equal(core.lastDurable, 0)
  assert.deepEqual(step(core, { type: 'propose', count: 1, bytes }), [
    { type: 'append', entry: { prev: first + 2, first: first + 3, last: first + 3, bytes } },
  ])
  assert.equal(core.committed, 0)
  assert.deepEqual(step(core, { type: 'durable', zxid: first + 2 }), [{ type: 'commit', zxid: first + 2 }])
  assert.deepEqual([core.committed, core.lastDurable, core.lastProposed], [first + 2, first + 2, first + 3])
  assert.deepEqual(step(core, { type: 'durable', zxid: first + 3 }), [{ type: 'commit', zxid: first + 3 }])
})

test('one durable event commits all entries up to it, and the same one again commits nothing', () => {
  const core = established()
  for (let i = 0; i < 3; i++) proposed(core)
  const last = makeZxid(1, 3)
  assert.deepEqual(step(core, { type: 'durable', zxid: last }), [{ type: 'commit', zxid: last }])
  assert.deepEqual(step(core, { type: 'durable', zxid: last }), [])
  assert.deepEqual(step(core, { type: 'durable', zxid: last - 1 }), [])
  assert.equal(core.lastDurable, last)
})

test('the next epoch continues the history of the one before', () => {
  const last = makeZxid(1, 5)
  const core = established({ accepted: 1, current: 1 }, last)
  const first = makeZxid(2, 1)
  assert.deepEqual(step(core, { type: 'propose', count: 1, bytes }), [
    { type: 'append', entry: { prev: last, first, last: first, bytes } },
  ])
})

test('a restart leads in a higher epoch than ever promised, however far the one before had come', () => {
  for (const [epochs, next] of [
    [{ accepted: 0, current: 0 }, 1],
    [{ accepted: 1, current: 0 }, 2],
    [{ accepted: 1, current: 1 }, 2],
    [{ accepted: 9, current: 4 }, 10],
  ] as const) {
    const core = startCore(epochs, makeZxid(epochs.current, 0))
    assert.deepEqual(step(core, { type: 'start' }), [
      { type: 'saveEpochs', epochs: { accepted: next, current: epochs.current } },
    ])
  }
})

test('a vote of its own is no quorum of three or five: the server keeps looking', () => {
  for (const voters of [[1, 2, 3], [1, 2, 3, 4, 5], [2]]) {
    const core = startCore(undefined, 0, majority(voters))
    assert.deepEqual(step(core, { type: 'start' }), [])
    assert.equal(phaseOf(core), 'looking')
  }
})

test('the epoch ends before its counter overflows (ZOOKEEPER-1277)', () => {
  const core = established()
  assert.equal(core.role.type, 'leading')
  if (core.role.type === 'leading') core.role.counter = maxCounter - 2
  core.lastProposed = makeZxid(1, maxCounter - 2)
  const last = proposed(core, 2)
  assert.equal(last, makeZxid(1, maxCounter))
  assert.deepEqual(step(core, { type: 'propose', count: 1, bytes }), [
    { type: 'stepDown', reason: 'epoch 1 has used up its transactions' },
  ])
  assert.equal(phaseOf(core), 'looking')
  assert.equal(core.lastProposed, last)
  assert.throws(() => step(core, { type: 'propose', count: 1, bytes }), { name: 'InvariantError' })
})

test('a proposal of several is refused as a whole when the last of them has no place in the epoch', () => {
  const core = established()
  if (core.role.type === 'leading') core.role.counter = maxCounter - 2
  const [effect] = step(core, { type: 'propose', count: 3, bytes })
  assert.equal(effect?.type, 'stepDown')
})

test('after stepping down, what was on its way becomes durable uncommitted and is history of the next epoch', () => {
  const core = established()
  if (core.role.type === 'leading') core.role.counter = maxCounter - 1
  core.lastProposed = makeZxid(1, maxCounter - 1)
  const last = proposed(core)
  const committed = core.committed
  step(core, { type: 'propose', count: 1, bytes })
  assert.deepEqual(step(core, { type: 'durable', zxid: last }), [])
  assert.equal(core.committed, committed)

  assert.deepEqual(step(core, { type: 'start' }), [
    { type: 'saveEpochs', epochs: { accepted: 2, current: 1 } },
  ])
  step(core, { type: 'epochsSaved', epochs: { accepted: 2, current: 1 } })
  assert.deepEqual(step(core, { type: 'epochsSaved', epochs: { accepted: 2, current: 2 } }), [
    { type: 'commit', zxid: last },
    { type: 'established', epoch: 2 },
  ])
  assert.deepEqual(step(core, { type: 'propose', count: 1, bytes }), [
    { type: 'append', entry: { prev: last, first: makeZxid(2, 1), last: makeZxid(2, 1), bytes } },
  ])
})

test('a leader is established only when the whole initial history is durable', () => {
  const core = established()
  if (core.role.type === 'leading') core.role.counter = maxCounter - 1
  core.lastProposed = makeZxid(1, maxCounter - 1)
  const last = proposed(core)
  step(core, { type: 'propose', count: 1, bytes })
  step(core, { type: 'start' })
  step(core, { type: 'epochsSaved', epochs: { accepted: 2, current: 1 } })
  assert.deepEqual(step(core, { type: 'epochsSaved', epochs: { accepted: 2, current: 2 } }), [])
  assert.equal(phaseOf(core), 'synchronization')
  assert.equal(core.committed, 0)
  assert.deepEqual(step(core, { type: 'durable', zxid: last }), [
    { type: 'commit', zxid: last },
    { type: 'established', epoch: 2 },
  ])
})

test('what becomes durable before the current epoch is saved establishes nobody', () => {
  const core = established()
  if (core.role.type === 'leading') core.role.counter = maxCounter - 1
  core.lastProposed = makeZxid(1, maxCounter - 1)
  const last = proposed(core)
  step(core, { type: 'propose', count: 1, bytes })
  step(core, { type: 'start' })
  step(core, { type: 'epochsSaved', epochs: { accepted: 2, current: 1 } })
  assert.deepEqual(step(core, { type: 'durable', zxid: last }), [])
  const effects: Effect[] = step(core, { type: 'epochsSaved', epochs: { accepted: 2, current: 2 } })
  assert.deepEqual(effects.at(-1), { type: 'established', epoch: 2 })
})

test('the zxid of what is proposed next is known ahead', () => {
  const core = established({ accepted: 1, current: 1 }, makeZxid(1, 5))
  assert.equal(zxidAfter(core, 0), makeZxid(1, 5))
  assert.equal(zxidAfter(core, 1), makeZxid(2, 1))
  assert.equal(zxidAfter(core, 4), makeZxid(2, 4))
  assert.equal(proposed(core, 4), makeZxid(2, 4))
  assert.equal(zxidAfter(core, 0), makeZxid(2, 4))
  assert.equal(zxidAfter(core, 1), makeZxid(2, 5))
  const looking = startCore(undefined, 0)
  assert.equal(zxidAfter(looking, 0), 0)
  assert.throws(() => zxidAfter(looking, 1), { name: 'InvariantError' })
})

test('broken invariants are refused', () => {
  assert.throws(() => startCore({ accepted: 1, current: 2 }), { name: 'InvariantError' })
  assert.throws(() => startCore({ accepted: 2, current: 1 }, makeZxid(2, 1)), { name: 'InvariantError' })
  assert.throws(() => step(startCore(), { type: 'propose', count: 1, bytes }), { name: 'InvariantError' })
  const discovering = startCore()
  step(discovering, { type: 'start' })
  assert.throws(() => step(discovering, { type: 'propose', count: 1, bytes }), { name: 'InvariantError' })
  const core = established()
  assert.throws(() => step(core, { type: 'propose', count: 0, bytes }), { name: 'InvariantError' })
  assert.throws(() => step(core, { type: 'durable', zxid: makeZxid(1, 1) }), { name: 'InvariantError' })
  const atTheEnd = startCore({ accepted: maxEpoch, current: maxEpoch })
  assert.throws(() => step(atTheEnd, { type: 'start' }), {
    name: 'InvariantError',
    message: /used up its epochs/,
  })
})

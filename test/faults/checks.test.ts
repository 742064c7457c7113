import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { checkNotBefore, checkPresence } from './presence.ts'
import { checkReads, checkRegisters, checkWriteOrder, type RegisterOp } from './registers.ts'
import { longestGap } from './scenario.ts'
import { checkAppends, checkLock } from './sequences.ts'

const base = { session: 's1', server: 1, path: '/x', startMs: 0, endMs: 1, zxid: 1 }
const create = (value: string, at: Partial<RegisterOp> = {}): RegisterOp => ({
  ...base,
  call: { type: 'create', value },
  result: { type: 'done' },
  ...at,
})
const set = (value: string, version: number, at: Partial<RegisterOp> = {}): RegisterOp => ({
  ...base,
  call: { type: 'set', value, version: -1 },
  result: { type: 'version', version },
  ...at,
})
const read = (value: string, version: number, mzxid: number, at: Partial<RegisterOp> = {}): RegisterOp => ({
  ...base,
  call: { type: 'read', synced: false },
  result: { type: 'value', value, version, mzxid },
  ...at,
})
const times = (startMs: number, endMs: number) => ({ startMs, endMs })

describe('registers', () => {
  test('plain reads may be old, reads behind a sync may not, if they are said to be strong', () => {
    const write = [create('a', times(0, 1)), set('b', 1, { ...times(2, 3), zxid: 2 })]
    const plain = read('a', 0, 1, times(4, 5))
    const synced: RegisterOp = { ...plain, call: { type: 'read', synced: true } }
    assert.deepEqual(checkRegisters([...write, plain], true), [])
    assert.equal(checkRegisters([...write, synced], true).length, 1)
    assert.deepEqual(checkRegisters([...write, synced], false), [])
  })

  test('registers are judged one by one', () => {
    const lost = [create('a', { path: '/y' }), create('b', { path: '/y', ...times(2, 3) })]
    const problems = checkRegisters([create('a'), ...lost], true)
    assert.equal(problems.length, 1)
    assert.match(problems[0] ?? '', /^\/y is not linearizable/)
  })

  test('zxids follow real time over all znodes, also those of failed writes', () => {
    const first = create('a', { ...times(0, 1), zxid: 5 })
    const failed: RegisterOp = {
      ...create('b', { path: '/y', ...times(2, 3), zxid: 4 }),
      result: { type: 'error', code: -110 },
    }
    assert.equal(checkWriteOrder([first, failed]).length, 1)
    assert.deepEqual(checkWriteOrder([first, { ...failed, startMs: 0.5 }]), [])
    assert.deepEqual(checkWriteOrder([first, { ...failed, zxid: 6 }]), [])
  })

  test('two writes have never the same zxid', () => {
    assert.equal(checkWriteOrder([create('a'), create('b', { path: '/y' })]).length, 1)
  })

  test('a session sees no znode go back, and its own writes', () => {
    const writes = [create('a', { session: 's2', zxid: 1 }), set('b', 1, { session: 's2', zxid: 2 })]
    const newer = read('b', 1, 2, { zxid: 2 })
    const older = read('a', 0, 1, { zxid: 2 })
    assert.deepEqual(checkReads([...writes, older, newer]), [])
    assert.equal(checkReads([...writes, newer, older]).length, 1)
    assert.equal(checkReads([...writes, { ...older, session: 's2' }]).length, 1)
  })

  test('what is read was written, below the reply, and the same for everybody', () => {
    const write = create('a', { zxid: 3 })
    assert.deepEqual(checkReads([write, read('a', 0, 3, { session: 's2', zxid: 3 })]), [])
    assert.equal(checkReads([write, read('z', 0, 3, { session: 's2', zxid: 3 })]).length, 1)
    assert.equal(checkReads([write, read('a', 0, 3, { session: 's2', zxid: 2 })]).length, 1)
    const two = [read('a', 0, 3, { session: 's2', zxid: 3 }), read('a', 1, 3, { session: 's3', zxid: 3 })]
    assert.equal(checkReads([write, ...two]).length, 1)
  })
})

describe('sequential creates', () => {
  const asked = (data: string, number: number | undefined, startMs: number, endMs: number) => ({
    data,
    path: number === undefined ? undefined : `/a-${String(number).padStart(10, '0')}`,
    startMs,
    endMs,
  })
  const found = (...data: readonly string[]) =>
    new Map(data.map((each, index) => [`/a-${String(index).padStart(10, '0')}`, each]))

  test('an unanswered one may be there or not', () => {
    const requests = [asked('x', 0, 0, 1), asked('y', undefined, 2, Number.POSITIVE_INFINITY)]
    assert.deepEqual(checkAppends(requests, found('x')), [])
    assert.deepEqual(checkAppends(requests, found('x', 'y')), [])
  })

  test('one that was acknowledged is not lost, and is where it was said to be', () => {
    const requests = [asked('x', 0, 0, 1), asked('y', 1, 0, 1)]
    assert.equal(checkAppends(requests, found('x')).length, 1)
    assert.equal(checkAppends(requests, found('y', 'x')).length, 2)
  })

  test('none is there twice, or was never asked for', () => {
    const requests = [asked('x', 0, 0, 1)]
    assert.equal(checkAppends(requests, found('x', 'x')).length > 0, true)
    assert.equal(checkAppends(requests, found('x', 'z')).length, 1)
  })

  test('numbers follow real time', () => {
    const inOrder = [asked('x', 0, 0, 1), asked('y', 1, 2, 3)]
    const against = [asked('x', 0, 2, 3), asked('y', 1, 0, 1)]
    assert.deepEqual(checkAppends(inOrder, found('x', 'y')), [])
    assert.equal(checkAppends(against, found('x', 'y')).length, 1)
  })
})

describe('locks', () => {
  const held = (holder: string, zxid: number, startMs: number, endMs: number) => ({
    holder,
    zxid,
    startMs,
    endMs,
  })

  test('one holder after the other is right', () => {
    assert.deepEqual(
      checkLock([held('a', 1, 0, 1), held('a', 2, 2, 3), held('b', 3, 4, 5), held('b', 4, 6, 7)]),
      [],
    )
  })

  test('a holder confirmed between two confirmations of another is found by its zxid', () => {
    const problems = checkLock([held('a', 1, 0, 1), held('b', 2, 0, 9), held('a', 3, 8, 9)])
    assert.equal(problems.length, 1)
    assert.match(problems[0] ?? '', /zxid/)
  })

  test('holders whose certain times overlap are found by the clock', () => {
    const proofs = [held('a', 1, 0, 1), held('a', 2, 8, 9), held('b', 3, 2, 3), held('b', 4, 6, 7)]
    const problems = checkLock(proofs)
    assert.equal(problems.length, 1)
    assert.match(problems[0] ?? '', /ms/)
  })
})

describe('ephemerals', () => {
  const presence = { name: 'e', createdMs: 10, aliveUntilMs: 50, closedMs: 60 }
  const listing = (startMs: number, endMs: number, ...names: readonly string[]) => ({
    startMs,
    endMs,
    names: new Set(names),
  })

  test('one is there while its session lives', () => {
    assert.deepEqual(checkPresence([presence], [listing(5, 15), listing(20, 30, 'e'), listing(45, 55)]), [])
    assert.equal(checkPresence([presence], [listing(20, 30)]).length, 1)
  })

  test('one is gone when its session was closed', () => {
    assert.deepEqual(checkPresence([presence], [listing(59, 70, 'e'), listing(61, 70)]), [])
    assert.equal(checkPresence([presence], [listing(61, 70, 'e')]).length, 1)
  })

  test('one of a silent session stays for its timeout', () => {
    const silent = { name: 'e', createdMs: 105, lastHeardMs: 100, timeoutMs: 50 }
    assert.deepEqual(checkNotBefore([silent], [listing(110, 120, 'e'), listing(145, 160)], 0), [])
    assert.equal(checkNotBefore([silent], [listing(110, 120)], 0).length, 1)
    assert.deepEqual(checkNotBefore([silent], [listing(101, 120)], 0), [])
    assert.deepEqual(checkNotBefore([silent], [listing(110, 120)], 30), [])
  })
})

test('the longest gap counts the edges', () => {
  assert.equal(longestGap([], 0, 10), 10)
  assert.equal(longestGap([3, 4], 0, 10), 6)
  assert.equal(longestGap([1, 2, 9], 0, 10), 7)
  assert.equal(longestGap([5, 6], 0, 8), 5)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Err } from '../support/raw-client.ts'
import { checkLinearizable, type Timed } from './linearizability.ts'
import { type RegisterCall, type RegisterOp, type RegisterResult, registerModel } from './registers.ts'

const never = Number.POSITIVE_INFINITY
const unknown: RegisterResult = { type: 'unknown' }
const done: RegisterResult = { type: 'done' }
const failed = (code: number): RegisterResult => ({ type: 'error', code })
const version = (value: number): RegisterResult => ({ type: 'version', version: value })
const seen = (value: string, at: number): RegisterResult => ({ type: 'value', value, version: at, mzxid: 1 })
const create = (value: string): RegisterCall => ({ type: 'create', value })
const set = (value: string, at = -1): RegisterCall => ({ type: 'set', value, version: at })
const read: RegisterCall = { type: 'read', synced: true }

/** [start, end, call, result] */
type Row = readonly [number, number, RegisterCall, RegisterResult]

function historyOf(rows: readonly Row[]): Timed<RegisterOp>[] {
  return rows.map(([startMs, endMs, call, result]) => {
    const op = { session: 's', server: 1, path: '/x', call, result, zxid: 1, startMs, endMs }
    return { startMs, endMs, op }
  })
}

const verdictOf = (rows: readonly Row[]) => checkLinearizable(registerModel, historyOf(rows)).verdict

const good: readonly (readonly [string, readonly Row[]])[] = [
  ['nothing', []],
  [
    'one after another',
    [
      [0, 1, create('a'), done],
      [2, 3, set('b'), version(1)],
      [4, 5, read, seen('b', 1)],
    ],
  ],
  [
    'a read beside a write sees the old or the new value',
    [
      [0, 1, create('a'), done],
      [2, 9, set('b'), version(1)],
      [3, 4, read, seen('a', 0)],
      [5, 6, read, seen('b', 1)],
    ],
  ],
  [
    'writes at the same time, in the order that their versions tell',
    [
      [0, 1, create('a'), done],
      [2, 9, set('b'), version(2)],
      [2, 9, set('c'), version(1)],
      [10, 11, read, seen('b', 2)],
    ],
  ],
  [
    'a write without an answer that was done much later',
    [
      [0, 1, create('a'), done],
      [2, never, set('b'), unknown],
      [3, 4, read, seen('a', 0)],
      [5, 6, set('c'), version(1)],
      [7, 8, read, seen('b', 2)],
    ],
  ],
  [
    'a write without an answer that was never done',
    [
      [0, 1, create('a'), done],
      [2, never, set('b'), unknown],
      [3, 4, set('c'), version(1)],
    ],
  ],
  [
    'two writes without an answer, told apart by what is read',
    [
      [0, never, create('a'), unknown],
      [0, never, create('b'), unknown],
      [1, 2, read, seen('b', 0)],
      [3, 4, { type: 'delete' }, done],
      [5, 6, read, seen('a', 0)],
    ],
  ],
  [
    'of two conditional writes at the same time one fails',
    [
      [0, 1, create('a'), done],
      [2, 5, set('b', 0), version(1)],
      [2, 5, set('c', 0), failed(Err.badVersion)],
    ],
  ],
  [
    'errors of a znode that is not there',
    [
      [0, 1, read, failed(Err.noNode)],
      [0, 1, set('a'), failed(Err.noNode)],
      [2, 3, create('a'), done],
      [4, 5, create('b'), failed(Err.nodeExists)],
      [6, 7, { type: 'delete' }, done],
      [8, 9, { type: 'delete' }, failed(Err.noNode)],
    ],
  ],
]

for (const [name, rows] of good) {
  test(`linearizable: ${name}`, () => {
    assert.equal(verdictOf(rows), 'linearizable')
  })
}

const bad: readonly (readonly [string, readonly Row[]])[] = [
  [
    'an acknowledged write that a later read does not see',
    [
      [0, 1, create('a'), done],
      [2, 3, set('b'), version(1)],
      [4, 5, read, seen('a', 0)],
    ],
  ],
  [
    'reads that go back while a write is under way',
    [
      [0, 1, create('a'), done],
      [2, 9, set('b'), version(1)],
      [3, 4, read, seen('b', 1)],
      [5, 6, read, seen('a', 0)],
    ],
  ],
  [
    'two conditional writes that both succeed on one version',
    [
      [0, 1, create('a'), done],
      [2, 5, set('b', 0), version(1)],
      [2, 5, set('c', 0), version(1)],
    ],
  ],
  [
    'a version that skips a write nobody made',
    [
      [0, 1, create('a'), done],
      [2, 3, set('b'), version(2)],
    ],
  ],
  [
    'a write without an answer that was done twice',
    [
      [0, 1, create('a'), done],
      [2, never, set('b'), unknown],
      [3, 4, read, seen('b', 1)],
      [5, 6, set('c'), version(2)],
      [7, 8, read, seen('b', 3)],
    ],
  ],
  [
    'a write without an answer that was done before it was sent',
    [
      [0, 1, create('a'), done],
      [2, 3, read, seen('b', 1)],
      [4, never, set('b'), unknown],
    ],
  ],
  [
    'a conditional write without an answer that was done on another version',
    [
      [0, 1, create('a'), done],
      [2, 3, set('b'), version(1)],
      [4, never, set('c', 0), unknown],
      [5, 6, read, seen('c', 2)],
    ],
  ],
  [
    'a conditional write that fails on the right version',
    [
      [0, 1, create('a'), done],
      [2, 3, set('b', 0), failed(Err.badVersion)],
    ],
  ],
  [
    'a create that succeeds on an existing znode',
    [
      [0, 1, create('a'), done],
      [2, 3, create('b'), done],
    ],
  ],
  [
    'a znode that is gone without a delete',
    [
      [0, 1, create('a'), done],
      [2, 3, read, failed(Err.noNode)],
    ],
  ],
]

for (const [name, rows] of bad) {
  test(`not linearizable: ${name}`, () => {
    assert.equal(verdictOf(rows), 'violation')
  })
}

/** The answer of the model at the moment of the call: what a perfect server gives. */
function serve(state: { value: string; version: number } | undefined, call: RegisterCall): RegisterResult {
  if (call.type === 'create') return state === undefined ? done : failed(Err.nodeExists)
  if (state === undefined) return failed(Err.noNode)
  if (call.type === 'delete') return done
  if (call.type === 'read') return seen(state.value, state.version)
  const matches = call.version === -1 || call.version === state.version
  return matches ? version(state.version + 1) : failed(Err.badVersion)
}

function after(
  state: { value: string; version: number } | undefined,
  call: RegisterCall,
  result: RegisterResult,
) {
  if (result.type === 'error' || call.type === 'read') return state
  if (call.type === 'delete') return undefined
  return { value: call.value, version: call.type === 'create' ? 0 : (state?.version ?? 0) + 1 }
}

const calls = fc.array(
  fc.record({
    kind: fc.constantFrom('create', 'set', 'cas', 'delete', 'read'),
    at: fc.integer({ min: 0, max: 3 }),
    before: fc.integer({ min: 0, max: 30 }),
    behind: fc.integer({ min: 0, max: 30 }),
    isAnswered: fc.boolean(),
  }),
  { maxLength: 40 },
)

/** Calls that take effect one after another, at 10, 20, …, each within an interval around its moment. */
function perfectHistory(drawn: typeof calls extends fc.Arbitrary<infer T> ? T : never): Row[] {
  let state: { value: string; version: number } | undefined
  return drawn.map(({ kind, at, before, behind, isAnswered }, index) => {
    const value = `v${index}`
    const call: RegisterCall =
      kind === 'create'
        ? { type: 'create', value }
        : kind === 'delete'
          ? { type: 'delete' }
          : kind === 'read'
            ? read
            : set(value, kind === 'cas' ? at : -1)
    const result = serve(state, call)
    state = after(state, call, result)
    const moment = (index + 1) * 10
    const isKnown = isAnswered || call.type === 'read'
    return isKnown
      ? [moment - before, moment + behind, call, result]
      : [moment - before, never, call, unknown]
  })
}

test('what a perfect register answers is linearizable, however calls overlap and answers are lost', () => {
  fc.assert(
    fc.property(calls, (drawn) => {
      assert.equal(verdictOf(perfectHistory(drawn)), 'linearizable')
    }),
    { numRuns: 300, seed: 7 },
  )
})

test('a read of a value that was overwritten before it began is found in any history', () => {
  fc.assert(
    fc.property(calls, (drawn) => {
      const rows = perfectHistory(drawn)
      const end = Math.max(0, ...rows.map(([startMs, endMs]) => (endMs === never ? startMs : endMs)))
      const stale: Row[] = [
        [end + 1, end + 2, { type: 'delete' }, unknown],
        [end + 3, end + 4, create('last'), done],
        [end + 5, end + 6, set('newer', 0), version(1)],
        [end + 7, end + 8, read, seen('last', 0)],
      ]
      // Without unknown calls, so that nothing may be done later.
      const known = rows.map(([startMs, endMs, call, result]): Row => [startMs, endMs, call, result])
      assert.equal(verdictOf([...known.filter(([, endMs]) => endMs !== never), ...stale]), 'violation')
    }),
    { numRuns: 100, seed: 7 },
  )
})

test('a long history of many clients is decided in few steps', () => {
  const rows: Row[] = [[0, 1, create('v0'), done]]
  for (let i = 1; i <= 2_000; i++) {
    rows.push([i * 10, i * 10 + 45, set(`v${i}`), version(i)])
    if (i % 200 === 0) rows.push([i * 10, never, set(`lost${i}`, -1), unknown])
  }
  const verdict = checkLinearizable(registerModel, historyOf(rows))
  assert.equal(verdict.verdict, 'linearizable')
  assert.ok(verdict.verdict === 'linearizable' && verdict.steps < 100_000)
})

test('a search beyond its limit is undecided, not passed', () => {
  const rows: Row[] = [[0, 1, create('a'), done]]
  for (let i = 0; i < 10; i++) rows.push([2, never, set(`b${i}`), unknown])
  rows.push([100, 101, read, seen('nobody wrote this', 5)])
  const verdict = checkLinearizable(registerModel, historyOf(rows), 1_000)
  assert.equal(verdict.verdict, 'undecided')
})

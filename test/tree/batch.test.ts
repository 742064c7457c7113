import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Packr } from 'msgpackr'
import { Op } from '../../src/base/opcodes.ts'
import type { Id } from '../../src/tree/acl.ts'
import { Batch, BatchOption } from '../../src/tree/batch.ts'
import { checkProperty } from '../support/tree-random.ts'

type Added = {
  readonly kind: number
  readonly session: number
  readonly cxid: number
  readonly ids: readonly Id[]
  readonly body: Buffer
}

function filled(added: readonly Added[], time = 1_700_000_000_000, options = 0): Batch {
  const batch = new Batch(time, options)
  for (const { kind, session, cxid, ids, body } of added) {
    // Bytes around the body must not get in.
    const around = Buffer.concat([Buffer.from('<<'), body, Buffer.from('>>')])
    batch.add(kind, session, cxid, ids, around, 2, 2 + body.length)
  }
  return batch
}

function contentOf(batch: Batch) {
  const transactions: Added[] = []
  for (let i = 0; i < batch.count; i++) {
    transactions.push({
      kind: batch.kinds[i]!,
      session: batch.sessions[i]!,
      cxid: batch.cxids[i]!,
      ids: batch.idLists[batch.auths[i]!]!,
      body: Buffer.from(batch.bodies.subarray(batch.startOf(i), batch.ends[i])),
    })
  }
  return { time: batch.time, options: batch.options, transactions }
}

const idList: fc.Arbitrary<readonly Id[]> = fc.array(
  fc.record({ scheme: fc.constantFrom('ip', 'digest', 'x509', 'super'), id: fc.string({ maxLength: 12 }) }),
  { maxLength: 3 },
)
const added: fc.Arbitrary<Added> = fc
  .record({
    kind: fc.constantFrom(...Object.values(Op)),
    session: fc.oneof(fc.nat(), fc.integer({ min: 0, max: 2 ** 53 - 1 })),
    cxid: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
    ids: idList,
    body: fc.oneof(
      fc.constant(Buffer.alloc(0)),
      fc.uint8Array({ maxLength: 200 }).map((b) => Buffer.from(b)),
    ),
  })
  .map((one) => ({ ...one, ids: one.ids.map((id) => ({ ...id })) }))

test('a batch comes out of its bytes as it went in', (t) => {
  checkProperty(
    (message) => t.diagnostic(message),
    fc.record({
      transactions: fc.array(added, { maxLength: 30 }),
      time: fc.integer({ min: 0, max: 2 ** 45 }),
      options: fc.constantFrom(0, BatchOption.enforceQuota, BatchOption.skipAcl | BatchOption.ttlDisabled),
    }),
    ({ transactions, time, options }) => {
      const batch = filled(transactions, time, options)
      assert.deepEqual(contentOf(batch), { time, options, transactions })
      assert.equal(
        batch.size,
        transactions.reduce((sum, { body }) => sum + body.length, 0),
      )
      assert.deepEqual(contentOf(Batch.decode(batch.encode())), { time, options, transactions })
    },
    { runs: 100, limitMs: 300 },
  )
})

test('an empty batch has no transactions and no bytes', () => {
  const batch = Batch.decode(new Batch(7).encode())
  assert.deepEqual([batch.count, batch.size, batch.time, batch.idLists.length], [0, 0, 7, 0])
})

test('bodies of a megabyte keep their place among small and empty ones', () => {
  const bodies = [0, 63, 64, 1 << 20, 0, 5000, 1].map((length, i) => Buffer.alloc(length, i + 1))
  const transactions = bodies.map((body, i) => ({ kind: Op.setData, session: 1, cxid: i, ids: [], body }))
  const batch = filled(transactions)
  assert.deepEqual(contentOf(Batch.decode(batch.encode())).transactions, transactions)
})

test('equal lists of ids are kept once, whether the same array or not', () => {
  const mine: readonly Id[] = [{ scheme: 'ip', id: '1.2.3.4' }]
  const equal: readonly Id[] = [{ scheme: 'ip', id: '1.2.3.4' }]
  const others = Array.from({ length: 40 }, (_, i): readonly Id[] => [{ scheme: 'ip', id: `10.0.0.${i}` }])
  const body = Buffer.alloc(0)
  const transactions = [mine, equal, ...others, mine, equal, [], others[0]!, []].map((ids, cxid) => {
    return { kind: Op.delete, session: 1, cxid, ids, body }
  })
  const batch = filled(transactions)
  assert.equal(batch.idLists.length, 42)
  assert.deepEqual(contentOf(Batch.decode(batch.encode())).transactions, transactions)
})

test('lists of ids that only look alike are kept apart', () => {
  const lists: (readonly Id[])[] = [
    [{ scheme: 'a', id: 'b,c' }],
    [
      { scheme: 'a', id: 'b' },
      { scheme: 'c', id: '' },
    ],
    [{ scheme: 'a,b', id: 'c' }],
    [{ scheme: '', id: '' }],
    [],
  ]
  const body = Buffer.alloc(0)
  const transactions = lists.map((ids, cxid) => ({ kind: Op.check, session: 2, cxid, ids, body }))
  const batch = filled(transactions)
  assert.equal(batch.idLists.length, lists.length)
  assert.deepEqual(contentOf(Batch.decode(batch.encode())).transactions, transactions)
})

test('the bytes of a batch do not change when the next one is made', () => {
  const one = filled([{ kind: Op.create, session: 1, cxid: 1, ids: [], body: Buffer.from('one') }]).encode()
  const copy = Buffer.from(one)
  for (let i = 0; i < 100; i++) {
    filled([{ kind: Op.create, session: 2, cxid: i, ids: [], body: Buffer.alloc(500, i) }]).encode()
  }
  assert.ok(one.equals(copy))
})

test('what is no batch is refused with an InvariantError', () => {
  const packr = new Packr({ useRecords: false, variableMapSize: true })
  const good: readonly unknown[] = [
    1,
    5,
    0,
    [1, 2],
    [7, 7],
    [1, 2],
    [0, 1],
    [1, 3],
    [['ip', 'x'], []],
    Buffer.from('abc'),
  ]
  Batch.decode(packr.pack(good))
  const refused = (bytes: Uint8Array, what: string) =>
    assert.throws(() => Batch.decode(bytes), { name: 'InvariantError' }, what)
  const withField = (at: number, value: unknown) =>
    refused(packr.pack(good.map((field, i) => (i === at ? value : field))), `${at}: ${JSON.stringify(value)}`)
  withField(0, 2)
  for (const column of [3, 4, 5, 6, 7]) {
    withField(column, 'text')
    withField(column, [1])
    withField(column, [0, 1, 3])
    withField(column, [0, 'a'])
    withField(column, [0.5, 1])
  }
  withField(6, [0, 2])
  withField(6, [-1, 0])
  withField(7, [2, 1])
  withField(7, [1, 2])
  withField(7, [1, 4])
  withField(8, [])
  withField(8, [['ip'], []])
  withField(8, [[1, 2], []])
  withField(9, null)
  withField(9, 'abc')
  refused(packr.pack(good.slice(0, 9)), 'nine fields')
  refused(packr.pack({ a: 1 }), 'no list')
  const bytes = packr.pack(good)
  for (let length = 0; length < bytes.length; length++) refused(bytes.subarray(0, length), `${length} bytes`)
})

test('transactions that learners sent keep who sent them, in runs as long as can be', () => {
  const batch = new Batch(5)
  const put = (server?: number, session = 0) => {
    batch.add(Op.setData, 1, 1, [], Buffer.from('x'), 0, 1)
    if (server !== undefined) batch.forwarded(server, session)
  }
  put()
  put(2, 70)
  put(2, 70)
  put(2, 71)
  put(3, 71)
  put()
  put(2, 70)
  const runs = [
    { from: 1, count: 2, server: 2, session: 70 },
    { from: 3, count: 1, server: 2, session: 71 },
    { from: 4, count: 1, server: 3, session: 71 },
    { from: 6, count: 1, server: 2, session: 70 },
  ]
  assert.deepEqual(batch.runs, runs)
  const again = Batch.decode(batch.encode())
  assert.deepEqual([again.runs, contentOf(again)], [runs, contentOf(batch)])
  assert.deepEqual(Batch.decode(filled([]).encode()).runs, [])
})

test('runs that can not be are refused with an InvariantError', () => {
  const packr = new Packr({ useRecords: false, variableMapSize: true })
  const withRuns = (runs: unknown, version = 2) =>
    packr.pack([
      version,
      5,
      0,
      [1, 2, 3],
      [7, 7, 7],
      [1, 2, 3],
      null,
      [1, 2, 3],
      [[]],
      Buffer.from('abc'),
      runs,
    ])
  assert.deepEqual(Batch.decode(withRuns([0, 1, 2, 70, 1, 2, 3, 70])).runs.length, 2)
  for (const runs of [
    null,
    'x',
    [0, 1, 2],
    [0, 0, 2, 70],
    [0, -1, 2, 70],
    [0, 4, 2, 70],
    [3, 1, 2, 70],
    [-1, 1, 2, 70],
    [0, 2, 2, 70, 1, 1, 2, 70],
    [1, 1, 2, 70, 0, 1, 2, 70],
    [0.5, 1, 2, 70],
  ])
    assert.throws(() => Batch.decode(withRuns(runs)), { name: 'InvariantError' }, JSON.stringify(runs))
  assert.throws(() => Batch.decode(withRuns([0, 1, 2, 70], 1)), { name: 'InvariantError' })
  assert.throws(() => Batch.decode(withRuns([0, 1, 2, 70], 3)), { name: 'InvariantError' })
})

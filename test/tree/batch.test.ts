import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { InvariantError } from '../../src/base/assert.ts'
import { Op } from '../../src/base/opcodes.ts'
import { Writer } from '../../src/jute/writer.ts'
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
      kind: batch.kindOf(i),
      session: batch.sessionOf(i),
      cxid: batch.cxidOf(i),
      ids: batch.idsOf(i),
      body: Buffer.from(batch.buf.subarray(batch.startOf(i), batch.endOf(i))),
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

test('a batch that reads others one after another is what each of them was', (t) => {
  checkProperty(
    (message) => t.diagnostic(message),
    fc.array(fc.array(added, { maxLength: 4 }), { maxLength: 12 }),
    (batches) => {
      const encoded = batches.map((transactions, i) => {
        const batch = filled(transactions)
        if (i % 2 === 1 && batch.count > 0) batch.forwarded(2, i)
        return batch.encode()
      })
      // Behind each other in the same memory, and each in its own.
      let at = 1
      const joined = Buffer.concat([Buffer.alloc(1), ...encoded])
      const reader = new Batch()
      for (const bytes of encoded) {
        const alone = Batch.decode(bytes)
        for (const place of [joined.subarray(at, at + bytes.length), bytes]) {
          reader.read(place)
          assert.deepEqual(
            [contentOf(reader), reader.runs, reader.size],
            [contentOf(alone), alone.runs, alone.size],
          )
          assert.deepEqual(reader.encode(), bytes)
        }
        at += bytes.length
      }
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

test('batches written one behind the other stay as they are, also where the buffer ends in the middle of one', () => {
  const out = new Writer(1000)
  const made: { readonly bytes: Buffer; readonly copy: Buffer; readonly transactions: readonly Added[] }[] =
    []
  for (let i = 0; i < 200; i++) {
    const count = i % 7 === 6 ? 30 : i % 3
    const transactions = Array.from({ length: count }, (_, j): Added => {
      const body = Buffer.alloc((i * 13 + j) % 60, i)
      return { kind: Op.setData, session: i, cxid: j, ids: [{ scheme: 'ip', id: `${j % 2}` }], body }
    })
    const batch = new Batch(i, 0, out)
    for (const { kind, session, cxid, ids, body } of transactions)
      batch.add(kind, session, cxid, ids, body, 0, body.length)
    const bytes = batch.encode()
    assert.deepEqual(contentOf(batch).transactions, transactions)
    made.push({ bytes, copy: Buffer.from(bytes), transactions })
  }
  for (const { bytes, copy, transactions } of made) {
    assert.ok(bytes.equals(copy))
    assert.deepEqual(contentOf(Batch.decode(bytes)).transactions, transactions)
  }
  // Several shared a buffer, and one was not enough.
  const buffers = new Set(made.map(({ bytes }) => bytes.buffer))
  assert.ok(buffers.size > 1 && buffers.size < made.length / 2)
})

test('transactions of a batch can be asked for in any order', () => {
  const transactions = Array.from({ length: 5 }, (_, i): Added => {
    return { kind: Op.setData, session: i, cxid: i, ids: [], body: Buffer.alloc(i * 10) }
  })
  const batch = filled(transactions)
  for (const i of [3, 0, 4, 4, 2, 1])
    assert.deepEqual([batch.cxidOf(i), batch.endOf(i) - batch.startOf(i)], [i, i * 10])
  assert.throws(() => batch.startOf(5), InvariantError)
})

test('what stands in the ids comes out as it went in, surrogates without a partner too', () => {
  const ids: readonly Id[] = [
    { scheme: 'x509', id: 'CN=\ud83d\ude00, O=\u00e9\ufffd\ud800x' },
    { scheme: '', id: '\0' },
  ]
  const transactions = [{ kind: Op.check, session: 1, cxid: 1, ids, body: Buffer.from('x') }]
  assert.deepEqual(contentOf(Batch.decode(filled(transactions).encode())).transactions, transactions)
})

test('a batch is the same before and after it is encoded, and takes nothing more then', () => {
  const transactions = [1, 2, 3].map((cxid) => {
    return {
      kind: Op.multi,
      session: 9,
      cxid,
      ids: [{ scheme: 'ip', id: 'x' }],
      body: Buffer.alloc(700, cxid),
    }
  })
  const batch = filled(transactions)
  const before = contentOf(batch)
  const bytes = Buffer.from(batch.encode())
  assert.deepEqual(contentOf(batch), before)
  assert.deepEqual(batch.encode(), bytes)
  assert.deepEqual(Batch.decode(bytes).encode(), bytes)
  assert.throws(() => batch.add(Op.check, 1, 1, [], bytes, 0, 1), { name: 'InvariantError' })
})

/** What a batch of two transactions and one run consists of, as its bytes. */
type Parts = {
  format?: number
  count?: number
  session?: number
  auth?: number
  length?: number
  idLists?: number
  ids?: number
  textBytes?: number
  runs?: readonly (readonly [from: number, count: number, server: number, session: number])[]
  runCount?: number
}

function bytesOf(parts: Parts): Buffer {
  const {
    format = 3,
    count = 2,
    session = 7,
    auth = 0,
    length = 3,
    idLists = 1,
    ids = 1,
    textBytes = 4,
  } = parts
  const { runs = [[1, 1, 2, 70]], runCount = runs.length } = parts
  const out = new Writer()
  out.int(format)
  out.int(0)
  out.long(1_700_000_000_000)
  out.int(count)
  for (const body of ['abc', 'defg']) {
    out.int((auth << 8) | Op.check)
    out.long(session)
    out.int(-1)
    out.int(body === 'abc' ? length : body.length)
    out.raw(Buffer.from(body), 0, body.length)
  }
  out.int(idLists)
  out.int(ids)
  for (const text of ['ip', 'me']) {
    out.int(textBytes)
    out.raw(Buffer.from(text, 'utf16le'), 0, text.length * 2)
  }
  out.int(runCount)
  for (const [from, count, server, relation] of runs) {
    out.int(from)
    out.int(count)
    out.long(server)
    out.long(relation)
  }
  return Buffer.from(out.bytes())
}

test('what is no batch is refused with an InvariantError', () => {
  const good = bytesOf({})
  const batch = Batch.decode(good)
  assert.deepEqual([batch.count, batch.size, batch.runs.length], [2, 7, 1])
  assert.deepEqual(batch.encode(), good)
  const wrong: readonly Parts[] = [
    ...[0, 1, 2, 4, -1].map((format) => ({ format })),
    ...[-1, 0, 1, 3, 2 ** 31 - 1].map((count) => ({ count })),
    ...[-1, 2 ** 53, -(2 ** 52)].map((session) => ({ session })),
    ...[1, 255, 2 ** 22].map((auth) => ({ auth })),
    ...[-1, -2, 2, 4, 2 ** 31 - 1].map((length) => ({ length })),
    ...[-1, 0, 2, 2 ** 31 - 1].map((idLists) => ({ idLists })),
    ...[-1, 0, 2, 2 ** 31 - 1].map((ids) => ({ ids })),
    ...[-1, 0, 3, 6, 2 ** 31 - 1].map((textBytes) => ({ textBytes })),
    ...[-1, 0, 2, 2 ** 31 - 1].map((runCount) => ({ runCount })),
  ]
  for (const parts of wrong)
    assert.throws(() => Batch.decode(bytesOf(parts)), { name: 'InvariantError' }, JSON.stringify(parts))
  for (let length = 0; length < good.length; length++)
    assert.throws(() => Batch.decode(good.subarray(0, length)), { name: 'InvariantError' }, `${length} bytes`)
  assert.throws(() => Batch.decode(Buffer.concat([good, Buffer.alloc(1)])), { name: 'InvariantError' })
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
  assert.deepEqual(
    Batch.decode(
      bytesOf({
        runs: [
          [0, 1, 2, 70],
          [1, 1, 3, 70],
        ],
      }),
    ).runs.length,
    2,
  )
  for (const runs of [
    [[0, 0, 2, 70]],
    [[0, -1, 2, 70]],
    [[0, 3, 2, 70]],
    [[2, 1, 2, 70]],
    [[-1, 1, 2, 70]],
    [
      [0, 2, 2, 70],
      [1, 1, 2, 70],
    ],
    [
      [1, 1, 2, 70],
      [0, 1, 2, 70],
    ],
    [[0, 1, 2 ** 53, 70]],
    [[0, 1, 2, 2 ** 53]],
  ] as const)
    assert.throws(() => Batch.decode(bytesOf({ runs })), { name: 'InvariantError' }, JSON.stringify(runs))
})

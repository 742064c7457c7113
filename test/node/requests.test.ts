// A learner's requests on their way: the leader may put them together, apart and between those of others, and each finds
// who waits for it, by counting.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Requests } from '../../src/node/requests.ts'
import type { Connection } from '../../src/server/connection.ts'
import { Batch } from '../../src/tree/batch.ts'
import { fakeOrigin } from '../support/origins.ts'
import { checkProperty } from '../support/tree-random.ts'

const body = Buffer.from('abcdef')

function add(requests: Requests, cxid: number, origin: Connection | undefined, bytes = 4): void {
  requests.add(5, 1, cxid, [], body, 0, bytes, origin, cxid * 10)
}

function cxidsOf(batch: Batch): number[] {
  return Array.from({ length: batch.count }, (_, i) => batch.cxidOf(i))
}

test('what gathers is taken with who waits for it, and counts until it is done', () => {
  const requests = new Requests(3)
  const { connection } = fakeOrigin()
  add(requests, 1, connection)
  add(requests, 2, undefined, 6)
  assert.deepEqual([requests.count, requests.size, requests.outstanding, requests.bytes], [2, 10, 2, 10])
  const { batch, origins } = requests.take(1234)
  assert.deepEqual([batch.time, batch.options, cxidsOf(batch)], [1234, 3, [1, 2]])
  assert.deepEqual(origins, { connections: [connection, undefined], arrivals: [10, 20], count: 2, bytes: 10 })
  assert.deepEqual([requests.count, requests.outstanding], [0, 2])
  requests.answered(origins)
  assert.deepEqual([requests.outstanding, requests.bytes], [0, 0])
})

test("a learner finds its own transactions among those of others, and only its present relation's", () => {
  const requests = new Requests(0)
  const [a, b, c] = [fakeOrigin(), fakeOrigin(), fakeOrigin()]
  requests.relation = { server: 2, session: 77 }
  add(requests, 1, a.connection)
  add(requests, 2, b.connection)
  const first = Batch.decode(requests.send())
  add(requests, 3, c.connection)
  requests.send()
  assert.deepEqual([cxidsOf(first), first.runs], [[1, 2], []])
  const proposed = new Batch()
  const put = (cxid: number, server?: number, session = 0) => {
    proposed.add(5, 1, cxid, [], body, 0, 4)
    if (server !== undefined) proposed.forwarded(server, session)
  }
  put(100)
  put(1, 2, 77)
  put(101, 3, 77)
  put(102, 2, 76)
  put(2, 2, 77)
  put(103)
  const origins = requests.originsOf(Batch.decode(proposed.encode()))
  assert.deepEqual(
    [origins?.connections[1], origins?.connections[4], origins?.arrivals[4]],
    [a.connection, b.connection, 20],
  )
  assert.deepEqual(
    [origins?.count, origins?.bytes, Object.keys(origins?.connections ?? [])],
    [2, 8, ['1', '4']],
  )
  const next = new Batch()
  next.add(5, 1, 3, [], body, 0, 4)
  next.forwarded(2, 77)
  assert.equal(requests.originsOf(next)?.connections[0], c.connection)
  assert.throws(() => requests.originsOf(next), { name: 'InvariantError' })
})

test('nothing of others, and nothing without a relation, is anybody’s', () => {
  const requests = new Requests(0)
  const batch = new Batch()
  batch.add(5, 1, 1, [], body, 0, 4)
  batch.forwarded(3, 1)
  assert.equal(requests.originsOf(batch), undefined)
  requests.relation = { server: 2, session: 1 }
  assert.equal(requests.originsOf(batch), undefined)
})

test('who waits is told of by abandon, once, and nothing is outstanding any more', () => {
  const requests = new Requests(0)
  const [a, b, c] = [fakeOrigin(), fakeOrigin(), fakeOrigin()]
  requests.relation = { server: 2, session: 1 }
  add(requests, 1, a.connection)
  add(requests, 2, undefined)
  add(requests, 3, b.connection)
  requests.send()
  add(requests, 4, a.connection)
  add(requests, 5, c.connection)
  const waiting = new Set<Connection>()
  requests.abandon(waiting)
  assert.deepEqual([...waiting].length, 3)
  assert.deepEqual([requests.count, requests.outstanding, requests.bytes], [0, 0, 0])
})

test('however many are sent and however they come back, each finds its own', (t) => {
  const steps = fc.array(
    fc.oneof(
      fc.record({ type: fc.constant('send' as const), count: fc.integer({ min: 1, max: 900 }) }),
      fc.record({
        type: fc.constant('come' as const),
        count: fc.integer({ min: 1, max: 900 }),
        others: fc.nat(3),
      }),
    ),
    { maxLength: 40 },
  )
  checkProperty(
    (message) => t.diagnostic(message),
    steps,
    (list) => {
      const requests = new Requests(0)
      requests.relation = { server: 2, session: 9 }
      const origins = Array.from({ length: 7 }, () => fakeOrigin().connection)
      let sent = 0
      let back = 0
      for (const step of list) {
        if (step.type === 'send') {
          for (let i = 0; i < step.count; i++, sent++) add(requests, sent, origins[sent % 7], 1)
          requests.send()
          continue
        }
        const batch = new Batch()
        const count = Math.min(step.count, sent - back)
        for (let i = 0; i < count; i++) {
          for (let n = 0; n < step.others; n++) batch.add(5, 1, -1, [], body, 0, 1)
          batch.add(5, 1, back + i, [], body, 0, 1)
          batch.forwarded(2, 9)
        }
        const found = requests.originsOf(batch)
        for (let i = 0; i < batch.count; i++) {
          const cxid = batch.cxidOf(i)
          assert.equal(found?.connections[i], cxid < 0 ? undefined : origins[cxid % 7])
        }
        if (found !== undefined) requests.answered(found)
        back += count
        assert.deepEqual([requests.outstanding, requests.bytes], [sent - back, sent - back])
      }
    },
    { runs: 10, limitMs: 300 },
  )
})

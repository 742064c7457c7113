// Output goes out at the end of a turn: replies first, and many events alone in slices.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Clock } from '../../src/node/clock.ts'
import { Flushes } from '../../src/node/flushes.ts'
import type { Connection } from '../../src/server/connection.ts'

/** Connections by name that note when they are flushed; each takes `ms` of the clock. */
function setUp(ms: number) {
  let now = 0
  const clock: Clock = {
    now: () => now,
    wall: () => 0,
    after: () => ({ cancel: () => undefined }),
    soon: () => undefined,
  }
  const flushed: string[] = []
  const flushes = new Flushes(clock)
  const connection = (name: string, onFlush: () => void = () => undefined) => {
    const flush = () => {
      now += ms
      flushed.push(name)
      onFlush()
    }
    // The class has private fields, which no literal can have; only `flush` is used here.
    return { flush } as unknown as Connection
  }
  return { flushes, flushed, connection }
}

test('connections with replies come before those with events alone', () => {
  const { flushes, flushed, connection } = setUp(0)
  flushes.addEvents(connection('a'))
  flushes.add(connection('b'))
  flushes.addEvents(connection('c'))
  flushes.add(connection('d'))
  assert.equal(flushes.pending, true)
  flushes.run()
  assert.deepEqual(flushed, ['b', 'd', 'a', 'c'])
  assert.equal(flushes.pending, false)
  flushes.run()
  assert.equal(flushed.length, 4)
})

test('very many events take several turns, each connection its own once, and replies of later turns overtake them', () => {
  const { flushes, flushed, connection } = setUp(1)
  const names = Array.from({ length: 200 }, (_, i) => `e${i}`)
  for (const name of names) flushes.addEvents(connection(name))
  flushes.run()
  assert.equal(flushed.length, 64)
  assert.equal(flushes.pending, true)
  flushes.add(connection('reply'))
  flushes.addEvents(connection('late'))
  while (flushes.pending) flushes.run()
  assert.equal(flushed[64], 'reply')
  assert.deepEqual(
    flushed.filter((name) => name !== 'reply'),
    [...names, 'late'],
  )
})

test('what comes up while connections are flushed waits for the next turn', () => {
  const { flushes, flushed, connection } = setUp(0)
  flushes.add(connection('first', () => flushes.add(connection('second'))))
  flushes.run()
  assert.deepEqual([flushed, flushes.pending], [['first'], true])
  flushes.run()
  assert.deepEqual([flushed, flushes.pending], [['first', 'second'], false])
})

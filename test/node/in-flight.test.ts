// What a leader has proposed and not committed yet: it waits for one another, unless the way is long.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { InFlight } from '../../src/node/in-flight.ts'
import { FakeClock } from '../support/tree-clock.ts'

function setUp() {
  const clock = new FakeClock()
  const took: number[] = []
  return { clock, took, inFlight: new InFlight(clock, (ms) => took.push(ms)) }
}

test('the next entry waits for the one before it', () => {
  const { inFlight } = setUp()
  assert.equal(inFlight.hasRoom, true)
  inFlight.proposed(7)
  assert.equal(inFlight.hasRoom, false)
  inFlight.committed(6)
  assert.equal(inFlight.hasRoom, false)
  inFlight.committed(7)
  assert.equal(inFlight.hasRoom, true)
})

test('where the way is long the next one goes before, but no more than sixteen are on their way', () => {
  const { clock, inFlight } = setUp()
  for (let last = 1; last <= 16; last++) {
    assert.equal(inFlight.hasRoom, true)
    inFlight.proposed(last)
    clock.advance(5)
    assert.equal(inFlight.hasRoom, false)
    clock.advance(1)
  }
  assert.equal(inFlight.hasRoom, false)
  inFlight.committed(1)
  assert.equal(inFlight.hasRoom, true)
})

test('each is timed up to its commit, several that one commit reaches each for itself', () => {
  const { clock, took, inFlight } = setUp()
  inFlight.proposed(3)
  clock.advance(10)
  inFlight.proposed(5)
  inFlight.proposed(9)
  clock.advance(2)
  inFlight.committed(8)
  clock.advance(1)
  inFlight.committed(9)
  assert.deepEqual(took, [12, 2, 3])
})

test('what is given up is not timed', () => {
  const { took, inFlight } = setUp()
  inFlight.proposed(3)
  inFlight.clear()
  inFlight.committed(3)
  assert.deepEqual([took, inFlight.hasRoom], [[], true])
})

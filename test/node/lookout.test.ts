import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Lookout, type Seen } from '../../src/node/lookout.ts'
import { majority } from '../../src/zab/quorum.ts'
import { memoryLogger } from '../support/in-process.ts'

const quorum = majority([1, 2, 3])
const looking: Seen = { id: 1, quorum, role: { type: 'looking' }, peers: [] }
const serving: Seen = { ...looking, role: { type: 'following', phase: 'broadcast' } }

/** A lookout of ticks of 2 s, and what it says. */
function watching() {
  const { logger, lines } = memoryLogger()
  const lookout = new Lookout({ logger, tickMs: 2000 })
  return {
    /** Looks every quarter of a second, both ends included. */
    look: (from: number, to: number, core: Seen | undefined) => {
      for (let now = from; now <= to; now += 250) lookout.look(now, core)
      return lines.splice(0).map(({ level, msg }) => `${level}: ${msg}`)
    },
  }
}

test('lookout: without a leader for 5 s it names who is missing, and again every minute', () => {
  const { look } = watching()
  const said = 'no quorum of the voters 1, 2, 3 is connected: 2, 3 are missing'
  assert.deepEqual(look(0, 4750, looking), [])
  assert.deepEqual(look(5000, 64_750, looking), [`warn: no leader for 5 s: ${said}`])
  assert.deepEqual(look(65_000, 70_000, looking), [`warn: no leader for 65 s: ${said}`])
})

test('lookout: where a quorum is connected it says so', () => {
  const { look } = watching()
  const text = 'connected, which would be enough; this server is'
  assert.deepEqual(look(0, 5000, { ...looking, peers: [{ id: 3 }] }), [
    `warn: no leader for 5 s: all voters but 2 are ${text} looking`,
  ])
  const discovering: Seen = { ...looking, role: { type: 'following', phase: 'discovery' } }
  assert.deepEqual(look(5250, 65_000, { ...discovering, peers: [{ id: 2 }, { id: 3 }] }), [
    `warn: no leader for 65 s: all voters are ${text} following`,
  ])
})

test('lookout: an observer is not among the voters, and is none of those who are missing', () => {
  const { look } = watching()
  assert.deepEqual(look(0, 5000, { ...looking, id: 4, peers: [{ id: 2 }] }), [
    'warn: no leader for 5 s: no quorum of the voters 1, 2, 3 is connected: 1, 3 are missing',
  ])
})

test('lookout: a leader that others follow, and that this server does not know, is named', () => {
  const { look } = watching()
  const status = { state: 'following', leader: 3 }
  assert.deepEqual(look(0, 5000, { ...looking, peers: [{ id: 2, status }] }), [
    'warn: no leader for 5 s: server 2 follows server 3, to which this server has no connection; is it in the list of servers here?',
  ])
  const both = [{ id: 2, status }, { id: 3 }]
  assert.match(look(5250, 65_000, { ...looking, peers: both })[0] as string, /all voters are connected/)
})

test('lookout: a leader, or a disk that is out of order, ends the count', () => {
  for (const end of [serving, undefined]) {
    const { look } = watching()
    look(0, 4750, looking)
    assert.deepEqual(look(5000, 5000, end), [])
    assert.deepEqual(look(5250, 10_000, looking), [])
    assert.equal(look(10_250, 10_250, looking).length, 1)
  }
})

test('lookout: a process that stood still for more than a tick hears of it', () => {
  const { look } = watching()
  look(0, 1000, serving)
  assert.deepEqual(look(3000, 3000, serving), [])
  assert.deepEqual(look(15_000, 15_000, serving), [
    'warn: this process stood still for 12 s: it was suspended, or its machine is overloaded',
  ])
})

test('lookout: with long ticks it is more patient', () => {
  const { logger, lines } = memoryLogger()
  const lookout = new Lookout({ logger, tickMs: 10_000 })
  for (let now = 0; now < 20_000; now += 1000) lookout.look(now, looking)
  assert.deepEqual(lines, [])
  lookout.look(20_000, looking)
  assert.equal(lines.length, 1)
})

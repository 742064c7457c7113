import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ExpiryQueue } from '../../src/server/expiry.ts'

// Session ids as zabd makes them: too large for 32 bits.
const session = (n: number): number => 2 ** 48 + 77 * 2 ** 20 + n

test('a session expires at the first tick above its timeout, not earlier', () => {
  // From semantics rule 36: with a tick of 1000 ms.
  const cases: [now: number, timeout: number, at: number][] = [
    [0, 500, 1000],
    [0, 1000, 2000],
    [0, 1500, 2000],
    [0, 3000, 4000],
    [999, 1, 2000],
    [999.9, 0.5, 2000],
    [12345.678, 3000, 16000],
  ]
  for (const [now, timeout, at] of cases) {
    const queue = new ExpiryQueue(1000)
    queue.touch(session(1), timeout, now)
    assert.equal(queue.deadline(session(1)), at)
    assert.equal(queue.nextDeadline(), at)
    assert.deepEqual(queue.expired(at - 0.001), [])
    assert.deepEqual(queue.expired(at), [session(1)])
    assert.deepEqual([queue.size, queue.has(session(1)), queue.nextDeadline()], [0, false, undefined])
    assert.deepEqual(queue.expired(at + 10000), [])
  }
})

test('touches keep a session alive, and the last one counts', () => {
  const queue = new ExpiryQueue(1000)
  for (let now = 0; now <= 20000; now += 700) {
    queue.touch(1, 2000, now)
    assert.deepEqual(queue.expired(now), [])
  }
  // The last touch was at 19600.
  assert.equal(queue.deadline(1), 22000)
  assert.deepEqual(queue.expired(21999), [])
  assert.deepEqual(queue.expired(22000), [1])
})

test('sessions come out by bucket, the earliest first', () => {
  const queue = new ExpiryQueue(1000)
  queue.touch(1, 5000, 0)
  queue.touch(2, 1000, 0)
  queue.touch(3, 3000, 0)
  queue.touch(4, 1500, 0)
  assert.deepEqual(
    queue.buckets(),
    new Map([
      [2000, [2, 4]],
      [4000, [3]],
      [6000, [1]],
    ]),
  )
  assert.deepEqual(queue.expired(4000), [2, 4, 3])
  assert.deepEqual(queue.expired(100000), [1])
})

test('a shorter timeout counts at once', () => {
  const queue = new ExpiryQueue(1000)
  queue.touch(1, 40000, 0)
  queue.touch(1, 2000, 500)
  assert.equal(queue.nextDeadline(), 3000)
  assert.deepEqual(queue.expired(3000), [1])
  assert.deepEqual(queue.expired(100000), [])
})

test('a longer timeout counts at once', () => {
  const queue = new ExpiryQueue(1000)
  queue.touch(1, 2000, 0)
  queue.touch(1, 40000, 500)
  assert.deepEqual(queue.expired(40000), [])
  assert.deepEqual(queue.expired(41000), [1])
})

test('refresh touches what is known and adds nothing', () => {
  const queue = new ExpiryQueue(1000)
  queue.touch(1, 2000, 0)
  assert.equal(queue.refresh(1, 1500), true)
  assert.equal(queue.deadline(1), 4000)
  assert.equal(queue.refresh(2, 1500), false)
  assert.equal(queue.size, 1)
})

test('a removed session does not expire; one that comes back has a new deadline', () => {
  const queue = new ExpiryQueue(1000)
  queue.touch(1, 2000, 0)
  assert.equal(queue.remove(1), true)
  assert.equal(queue.remove(1), false)
  assert.equal(queue.nextDeadline(), undefined)
  queue.touch(1, 2000, 100)
  queue.touch(1, 2000, 2500)
  assert.deepEqual(queue.expired(4999), [])
  assert.deepEqual(queue.expired(5000), [1])
  assert.deepEqual(queue.expired(9000), [])
})

test('a clock that goes back neither shortens nor expires anything', () => {
  const queue = new ExpiryQueue(1000)
  queue.touch(1, 2000, 10000)
  queue.touch(1, 2000, 3000)
  assert.equal(queue.deadline(1), 13000)
  assert.deepEqual(queue.expired(2000), [])
  queue.touch(2, 2000, 0)
  assert.equal(queue.deadline(2), 13000)
})

test('a clock that jumps ahead gives all that are overdue at once, in order', () => {
  const queue = new ExpiryQueue(1)
  for (let i = 0; i < 1000; i++) queue.touch(i, 1 + ((i * 37) % 1000), 0)
  const due = queue.expired(1e12)
  assert.equal(due.length, 1000)
  const timeouts = due.map((i) => (i * 37) % 1000)
  assert.deepEqual(
    timeouts,
    timeouts.toSorted((x, y) => x - y),
  )
})

test('while paused nothing expires, and restartAll gives everybody a full timeout', () => {
  const queue = new ExpiryQueue(1000)
  queue.touch(1, 2000, 0)
  queue.touch(2, 10000, 0)
  queue.pause()
  assert.equal(queue.paused, true)
  queue.touch(3, 4000, 0)
  assert.deepEqual(queue.expired(50000), [])
  assert.equal(queue.nextDeadline(), undefined)
  queue.restartAll(60500)
  assert.equal(queue.paused, false)
  assert.deepEqual(
    queue.buckets(),
    new Map([
      [63000, [1]],
      [65000, [3]],
      [71000, [2]],
    ]),
  )
  assert.deepEqual(queue.expired(62999), [])
  assert.deepEqual(queue.expired(71000), [1, 3, 2])
})

test('restartAll takes the time of another clock', () => {
  const queue = new ExpiryQueue(1000)
  queue.touch(1, 2000, 1e9)
  queue.restartAll(0)
  assert.deepEqual(queue.expired(2999), [])
  assert.deepEqual(queue.expired(3000), [1])
})

test('a tick that is no time is refused', () => {
  assert.throws(() => new ExpiryQueue(0), /tick/)
})

test('sessions that come and go do not pile up', () => {
  const queue = new ExpiryQueue(1000)
  queue.touch(0, 1e9, 0)
  for (let i = 1; i <= 50000; i++) {
    queue.touch(i, 1e6 + (i % 7) * 1000, i / 100)
    queue.remove(i)
  }
  assert.equal(queue.size, 1)
  assert.deepEqual([...queue.buckets().values()], [[0]])
  assert.deepEqual(queue.expired(2e6), [])
  assert.deepEqual(queue.expired(2e9), [0])
})

type Entry = { timeout: number; at: number }

const step = fc.record({
  op: fc.constantFrom(
    'touch',
    'touch',
    'touch',
    'refresh',
    'remove',
    'expired',
    'expired',
    'restart',
    'pause',
  ),
  id: fc.nat(12),
  timeout: fc.constantFrom(1, 500, 1000, 2000, 2500, 9000),
  pass: fc.constantFrom(0, 1, 333.3, 1000, 4000, -700),
})

test('any sequence of touches expires the sessions that a plain list of deadlines does', () => {
  const tick = 1000
  fc.assert(
    fc.property(fc.array(step, { minLength: 10, maxLength: 150, size: 'max' }), (steps) => {
      const queue = new ExpiryQueue(tick)
      const model = new Map<number, Entry>()
      let clock = 5000
      let latest = 0
      let paused = false
      const deadline = (timeout: number): number => (Math.floor((latest + timeout) / tick) + 1) * tick
      for (const { op, id, timeout, pass } of steps) {
        clock += pass
        if (op === 'restart') {
          latest = clock
          paused = false
          queue.restartAll(clock)
          for (const entry of model.values()) entry.at = deadline(entry.timeout)
        } else if (op === 'pause') {
          paused = true
          queue.pause()
        } else if (op === 'remove') assert.equal(queue.remove(id), model.delete(id))
        else if (op === 'touch') {
          latest = Math.max(latest, clock)
          queue.touch(id, timeout, clock)
          model.set(id, { timeout, at: deadline(timeout) })
        } else if (op === 'refresh') {
          const entry = model.get(id)
          assert.equal(queue.refresh(id, clock), entry !== undefined)
          if (entry !== undefined) {
            latest = Math.max(latest, clock)
            entry.at = deadline(entry.timeout)
          }
        } else {
          latest = Math.max(latest, clock)
          const due: [number, Entry][] = paused ? [] : [...model].filter(([, entry]) => entry.at <= latest)
          const found = queue.expired(clock)
          assert.deepEqual(
            found.map((one) => model.get(one)?.at),
            due.map(([, entry]) => entry.at).sort((x, y) => x - y),
          )
          assert.deepEqual(new Set(found), new Set(due.map(([one]) => one)))
          for (const [one] of due) model.delete(one)
        }
        const earliest = Math.min(...[...model.values()].map((entry) => entry.at))
        const next: number | undefined = queue.nextDeadline()
        if (paused || model.size === 0) assert.equal(next, undefined)
        else assert.ok(next !== undefined && next <= earliest, `next ${next}, earliest ${earliest}`)
        assert.equal(queue.size, model.size)
        for (const [one, entry] of model) assert.equal(queue.deadline(one), entry.at)
        const times = [...queue.buckets().keys()]
        assert.deepEqual(
          times,
          [...new Set([...model.values()].map((entry) => entry.at))].sort((x, y) => x - y),
        )
      }
    }),
    { numRuns: 300 },
  )
})

// Sessions of one server: what opens, prolongs, ends and upgrades them.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LocalSessions } from '../../src/node/local-sessions.ts'
import { manualClock } from '../support/in-process.ts'

const tickMs = 100

function make() {
  const clock = manualClock()
  const expired: number[] = []
  const sessions = new LocalSessions({ clock, tickMs, onExpired: (session) => expired.push(session) })
  sessions.resume()
  return { clock, sessions, expired }
}

test('a session expires after its timeout and at most a tick', async () => {
  const { clock, sessions, expired } = make()
  sessions.open(1, 250)
  await clock.advance(250)
  assert.deepEqual(expired, [])
  await clock.advance(tickMs)
  assert.deepEqual([expired, sessions.has(1), sessions.size], [[1], false, 0])
})

test('a sign of life starts the timeout anew, with the timeout given then', async () => {
  const { clock, sessions, expired } = make()
  sessions.open(1, 250)
  await clock.advance(200)
  assert.equal(sessions.touch(1, 500, clock.now()), true)
  await clock.advance(500)
  assert.deepEqual(expired, [])
  await clock.advance(tickMs)
  assert.deepEqual(expired, [1])
})

test('a session that is not local has no sign of life here', () => {
  const { clock, sessions } = make()
  assert.equal(sessions.touch(1, 250, clock.now()), false)
  assert.equal(sessions.has(1), false)
})

test('a closed session does not expire', async () => {
  const { clock, sessions, expired } = make()
  sessions.open(1, 250)
  assert.deepEqual([sessions.close(1), sessions.close(1)], [true, false])
  await clock.advance(1000)
  assert.deepEqual(expired, [])
})

test('nothing expires while paused, and everything has its full timeout afterwards', async () => {
  const { clock, sessions, expired } = make()
  sessions.open(1, 250)
  await clock.advance(200)
  sessions.pause()
  await clock.advance(5000)
  sessions.resume()
  await clock.advance(250)
  assert.deepEqual(expired, [])
  await clock.advance(tickMs)
  assert.deepEqual(expired, [1])
})

test('without sessions no timer is set', async () => {
  const { clock, sessions } = make()
  assert.equal(clock.timers, 0)
  sessions.open(1, 250)
  assert.equal(clock.timers, 1)
  sessions.close(1)
  await clock.advance(2 * tickMs)
  assert.equal(clock.timers, 0)
})

test('after a pause of the whole process input is read before anything expires', async () => {
  const { clock, sessions, expired } = make()
  sessions.open(1, 250)
  const jumped = clock.jump(1000)
  // The sign of life lay in a socket: it is read behind the timers.
  clock.soon(() => sessions.touch(1, 250, clock.now()))
  await jumped
  assert.deepEqual(expired, [])
})

test('an upgraded session is not local, and is again if the upgrade is lost', async () => {
  const { clock, sessions, expired } = make()
  sessions.open(1, 250)
  assert.equal(sessions.upgrade(1), 250)
  assert.deepEqual([sessions.has(1), sessions.touch(1, 250, clock.now())], [false, false])
  await clock.advance(1000)
  assert.deepEqual(expired, [])
  sessions.abandonUpgrades()
  assert.equal(sessions.has(1), true)
  await clock.advance(350)
  assert.deepEqual(expired, [1])
})

test('a session that became global stays so, also if its upgrade was thought lost', () => {
  const { sessions } = make()
  sessions.open(1, 250)
  sessions.open(2, 250)
  sessions.upgrade(1)
  sessions.upgrade(2)
  sessions.becameGlobal(1)
  sessions.abandonUpgrades()
  assert.deepEqual([sessions.has(1), sessions.has(2)], [false, true])
  sessions.becameGlobal(2)
  assert.equal(sessions.size, 0)
})

test('deadlines are whole ticks, in order', () => {
  const { clock, sessions } = make()
  sessions.open(2, 500)
  sessions.open(1, 250)
  sessions.open(3, 260)
  const now = clock.now()
  assert.deepEqual(
    [...sessions.deadlines()],
    [
      [now + 300, [1, 3]],
      [now + 600, [2]],
    ],
  )
  assert.deepEqual([sessions.deadline(2), sessions.deadline(9)], [now + 600, undefined])
})

// When read-only mode begins and ends.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ReadOnlyMode } from '../../src/node/read-only.ts'
import { manualClock } from '../support/in-process.ts'

function make(options: { tickMs?: number; enabled?: boolean } = {}) {
  const clock = manualClock()
  const log: string[] = []
  const state = { mayServe: true }
  const mode = new ReadOnlyMode({
    enabled: options.enabled ?? true,
    tickMs: options.tickMs ?? 1000,
    clock,
    mayServe: () => state.mayServe,
    onBegin: (ms) => log.push(`begins after ${ms}`),
    onEnd: () => log.push('ends'),
  })
  const consider = async (ms: number) => {
    await clock.advance(ms)
    mode.consider()
    return mode.on
  }
  return { mode, log, state, consider }
}

test('it begins two seconds after the last leader, or one tick if that is longer', async () => {
  const short = make({ tickMs: 1000 })
  assert.deepEqual(
    [await short.consider(1999), await short.consider(1), short.log],
    [false, true, ['begins after 2000']],
  )
  const long = make({ tickMs: 3000 })
  assert.deepEqual([await long.consider(2999), await long.consider(1)], [false, true])
})

test('it does not begin where it is not enabled', async () => {
  const { consider } = make({ enabled: false })
  assert.equal(await consider(100_000), false)
})

test('it begins as soon as there is something to serve', async () => {
  const { consider, state } = make()
  state.mayServe = false
  assert.equal(await consider(100_000), false)
  state.mayServe = true
  assert.equal(await consider(0), true)
})

test('it ends once, and begins again only after a whole wait', async () => {
  const { mode, log, consider } = make()
  await consider(2000)
  mode.end()
  mode.end()
  assert.deepEqual([mode.on, log], [false, ['begins after 2000', 'ends']])
  assert.deepEqual([await consider(1999), await consider(1)], [false, true])
})

test('what interrupts the wait makes it begin anew', async () => {
  const { mode, consider } = make()
  await consider(1500)
  mode.end()
  assert.deepEqual([await consider(1999), await consider(1)], [false, true])
})

test('while it is on it does not begin again', async () => {
  const { log, consider } = make()
  await consider(2000)
  await consider(5000)
  assert.deepEqual(log, ['begins after 2000'])
})

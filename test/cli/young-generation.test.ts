import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mock, test } from 'node:test'
import { getHeapSpaceStatistics } from 'node:v8'
import { holdYoungGeneration } from '../../src/cli/young-generation.ts'

const MiB = 1 << 20

function youngBytes(): number {
  return getHeapSpaceStatistics().find((space) => space.space_name === 'new_space')?.space_size ?? 0
}

/**
 * Makes `count` objects of some 100 bytes that survive collections. Gives the least and the most that the young generation had
 * meanwhile: Node.js 24 lets it have more for a while when V8 is about to have marked its heap, and then takes all of that back.
 */
function survive(count: number): { least: number; most: number } {
  const kept: object[] = []
  let least = Number.POSITIVE_INFINITY
  let most = 0
  while (kept.length < count) {
    for (let i = 0; i < 2000; i++) kept.push({ i, more: [i, i] })
    mock.timers.tick(250)
    const bytes = youngBytes()
    least = Math.min(least, bytes)
    most = Math.max(most, bytes)
  }
  return { least, most }
}

test('the young generation does not grow while it is held, and not beyond its limit when it is released', () => {
  mock.timers.enable({ apis: ['setInterval'] })
  const release = holdYoungGeneration()
  survive(400_000)
  assert.ok(survive(400_000).least < 3 * MiB)
  release()
  // Servers begin to serve more than once.
  release()
  survive(400_000)
  const { least, most } = survive(400_000)
  assert.ok(most > 3 * MiB && least < 12 * MiB, `${least} to ${most} bytes`)
  mock.timers.reset()
})

test('V8 knows the flags', () => {
  const url = new URL('../../src/cli/young-generation.js', import.meta.url).href
  const script = `const { holdYoungGeneration } = await import(${JSON.stringify(url)}); holdYoungGeneration()()`
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script])
  assert.deepEqual([status, stdout.toString(), stderr.toString()], [0, '', ''])
})

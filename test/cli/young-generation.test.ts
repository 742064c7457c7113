import assert from 'node:assert/strict'
import { test } from 'node:test'
import { getHeapSpaceStatistics } from 'node:v8'
import { holdYoungGeneration } from '../../src/cli/young-generation.ts'

/** More than it begins with and less than it grows to. */
const grown = 8 << 20

function youngBytes(): number {
  return getHeapSpaceStatistics().find((space) => space.space_name === 'new_space')?.space_size ?? 0
}

/**
 * Makes `count` objects of some 100 bytes that survive collections. Gives the least that the young generation had meanwhile:
 * Node.js 24 lets it have more for a while when V8 is about to have marked its heap, and takes that back.
 */
function survive(count: number): number {
  const kept: object[] = []
  let least = Number.POSITIVE_INFINITY
  while (kept.length < count) {
    for (let i = 0; i < 10_000; i++) kept.push({ i, more: [i, i] })
    least = Math.min(least, youngBytes())
  }
  return least
}

test('the young generation does not grow while it is held, and does when it is released', () => {
  const release = holdYoungGeneration()
  survive(400_000)
  assert.ok(survive(400_000) < grown)
  release()
  survive(400_000)
  assert.ok(survive(400_000) > grown)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { getHeapSpaceStatistics } from 'node:v8'
import { holdYoungGeneration } from '../../src/cli/young-generation.ts'

function youngBytes(): number {
  return getHeapSpaceStatistics().find((space) => space.space_name === 'new_space')?.space_size ?? 0
}

/** Makes what survives collections, some 100 bytes each, until `enough`; at most `max` of them. */
function survive(max: number, enough: () => boolean = () => false): void {
  const kept: object[] = []
  while (kept.length < max && !enough()) for (let i = 0; i < 10_000; i++) kept.push({ i, more: [i, i] })
}

test('the young generation does not grow while it is held, and does when it is released', () => {
  const release = holdYoungGeneration()
  const held = youngBytes()
  survive(400_000)
  assert.ok(youngBytes() <= Math.max(held, 4 << 20))
  release()
  const released = youngBytes()
  survive(4_000_000, () => youngBytes() > released)
  assert.ok(youngBytes() > released)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8'
import { keepYoungGenerationSmall } from '../../src/cli/young-generation.ts'

function youngBytes(): number {
  return getHeapSpaceStatistics().find((space) => space.space_name === 'new_space')?.space_size ?? 0
}

/** Makes what survives collections, some 100 bytes each, until `enough`; at most `max` of them. */
function survive(max: number, enough: () => boolean = () => false): void {
  const kept: object[] = []
  while (kept.length < max && !enough()) for (let i = 0; i < 10_000; i++) kept.push({ i, more: [i, i] })
}

test('the young generation does not grow, and would otherwise', () => {
  keepYoungGenerationSmall()
  const small = youngBytes()
  survive(400_000)
  assert.ok(youngBytes() <= Math.max(small, 4 << 20))
  setFlagsFromString('--semi-space-growth-factor=2')
  const before = youngBytes()
  survive(4_000_000, () => youngBytes() > before)
  assert.ok(youngBytes() > before)
})

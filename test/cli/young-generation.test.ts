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

/** More than it begins with, whose size goes up and down a little, and less than it grows to. */
const grown = 8 << 20

test('the young generation does not grow, and would otherwise', () => {
  keepYoungGenerationSmall()
  survive(400_000)
  assert.ok(youngBytes() < grown)
  setFlagsFromString('--semi-space-growth-factor=2')
  survive(4_000_000, () => youngBytes() > grown)
  assert.ok(youngBytes() > grown)
})

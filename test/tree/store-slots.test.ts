import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { InvariantError } from '../../src/base/assert.ts'
import { Slots } from '../../src/tree/store-slots.ts'

/** Slots whose words are all their own number. */
function allocate(slots: Slots, words: number): number {
  const slot = slots.allocate()
  slots.words(slot).fill(slot, slots.at(slot), slots.at(slot) + words)
  return slot
}

function isKept(slots: Slots, words: number, slot: number): boolean {
  const at = slots.at(slot)
  return slots
    .words(slot)
    .subarray(at, at + words)
    .every((word) => word === slot)
}

describe('slots', () => {
  for (const words of [1, 4, 12]) {
    test(`of ${words} words keep what is in them while others come and go`, () => {
      const slots = new Slots(words)
      const live = new Set<number>()
      for (let i = 0; i < 20_000; i++) {
        // Two come for one that goes, then the other way round.
        const goes = i % 3 === 0 || (i > 10_000 && i % 3 === 1)
        const first = live.values().next().value
        if (goes && first !== undefined) {
          assert.ok(isKept(slots, words, first))
          live.delete(first)
          slots.release(first)
        } else {
          const slot = allocate(slots, words)
          assert.ok(!live.has(slot))
          live.add(slot)
        }
        if (i % 2000 === 0) slots.check(live)
      }
      slots.check(live)
      assert.equal(slots.count, live.size)
      for (const slot of live) assert.ok(isKept(slots, words, slot))
    })
  }

  test('give back the pages in which none is in use, but for one', () => {
    const slots = new Slots(4)
    const round = () => Array.from({ length: 10_000 }, () => allocate(slots, 4))
    const first = round()
    const { reservedBytes } = slots
    assert.ok(reservedBytes >= 160_000)
    for (const slot of first) slots.release(slot)
    slots.check(new Set())
    assert.ok(slots.reservedBytes < reservedBytes / 5, `${slots.reservedBytes} of ${reservedBytes} bytes`)
    const second = round()
    slots.check(new Set(second))
    assert.equal(slots.reservedBytes, reservedBytes)
  })

  test('are found missing, or in use and unknown', () => {
    const slots = new Slots(4)
    const slot = slots.allocate()
    const other = slots.allocate()
    assert.throws(() => slots.check(new Set([slot])), InvariantError)
    slots.release(other)
    assert.throws(() => slots.check(new Set([other])), InvariantError)
    slots.check(new Set([slot]))
  })
})

// The one view that is remembered is always that of the bytes asked for.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { knownViewOf, viewOf } from '../../src/base/view.ts'

test('a view is of all of the bytes and of no others', () => {
  const all = Buffer.from('abcdefgh')
  const part = all.subarray(2, 5)
  for (const bytes of [all, part, all]) {
    const view = viewOf(bytes)
    assert.deepEqual(Buffer.from(view.buffer, view.byteOffset, view.byteLength), bytes)
  }
})

test('the two views that were asked for last are known, and not made again', () => {
  const [one, other, third] = [Buffer.from('one'), Buffer.from('other'), Buffer.from('third')]
  const views = [viewOf(one), viewOf(other)]
  for (let i = 0; i < 3; i++)
    assert.deepEqual([viewOf(one) === views[0], viewOf(other) === views[1]], [true, true])
  assert.deepEqual([knownViewOf(one), knownViewOf(other)], views)
  assert.equal(knownViewOf(third), undefined)
  const view = viewOf(third)
  assert.equal(knownViewOf(one), undefined)
  assert.deepEqual([knownViewOf(other), knownViewOf(third)], [views[1], view])
})

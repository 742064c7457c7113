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

test('the view that was asked for last is known, and not made again', () => {
  const [one, other] = [Buffer.from('one'), Buffer.from('other')]
  const view = viewOf(one)
  assert.equal(viewOf(one), view)
  assert.equal(knownViewOf(one), view)
  assert.equal(knownViewOf(other), undefined)
  viewOf(other)
  assert.equal(knownViewOf(one), undefined)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Shredder } from '../../src/storage/shredder.ts'

test('a buffer that is freed has no bytes any more, at once', () => {
  const shredder = new Shredder()
  for (let i = 0; i < 3; i++) {
    const bytes = Buffer.allocUnsafeSlow(64 << 10)
    const view = bytes.subarray(100)
    shredder.free(bytes)
    assert.deepEqual([bytes.length, view.length, bytes.buffer.byteLength], [0, 0, 0])
  }
})

test('what is a part of something else stays, and so does what is small', () => {
  const shredder = new Shredder()
  const whole = Buffer.alloc(64 << 10, 7)
  const part = whole.subarray(1)
  const small = Buffer.alloc(100, 7)
  shredder.free(part)
  shredder.free(small)
  assert.deepEqual([part.length, part[0], small[0]], [whole.length - 1, 7, 7])
})

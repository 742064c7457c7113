import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { copyStamp, longOf, setLong, setStamp, timeMax, timeOf, zxidOf } from '../../src/tree/store-words.ts'

const zxid = fc.oneof(fc.constantFrom(0, 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1), fc.maxSafeNat())
const time = fc.oneof(
  fc.constantFrom(0, 2 ** 32, timeMax),
  fc.maxSafeNat().map((n) => n % (timeMax + 1)),
)

test('a stamp is the zxid and the time that were put in, wherever it lies', () => {
  fc.assert(
    fc.property(zxid, time, fc.nat(5), (zxid, time, at) => {
      const words = new Int32Array(8).fill(-1)
      setStamp(words, at, zxid, time)
      assert.deepEqual([zxidOf(words, at), timeOf(words, at)], [zxid, time])
      const copy = new Int32Array(8).fill(-1)
      copyStamp(copy, 5 - at, words, at)
      assert.deepEqual([zxidOf(copy, 5 - at), timeOf(copy, 5 - at)], [zxid, time])
      assert.equal(words.filter((word, i) => (i < at || i > at + 2) && word !== -1).length, 0)
    }),
  )
})

test('a time before 1970 or after 2248 becomes the nearest one between', () => {
  const words = new Int32Array(3)
  for (const [time, kept] of [
    [-1, 0],
    [-(2 ** 53), 0],
    [timeMax + 1, timeMax],
    [2 ** 53 - 1, timeMax],
  ] as const) {
    setStamp(words, 0, 2 ** 53 - 1, time)
    assert.deepEqual([zxidOf(words, 0), timeOf(words, 0)], [2 ** 53 - 1, kept])
  }
})

test('a long is the number that was put in', () => {
  fc.assert(
    fc.property(fc.maxSafeInteger(), (value) => {
      const words = new Int32Array(4).fill(-1)
      setLong(words, 1, value)
      assert.equal(longOf(words, 1), value)
      assert.deepEqual([words[0], words[3]], [-1, -1])
    }),
  )
})

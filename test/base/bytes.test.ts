import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readU32, writeU32 } from '../../src/base/bytes.ts'

test('32 bits are written big-endian, and read as an unsigned number', () => {
  for (const value of [0, 1, 0x01020304, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1]) {
    const bytes = Buffer.alloc(6, 0xaa)
    writeU32(bytes, 1, value)
    const expected = Buffer.alloc(6, 0xaa)
    expected.writeUInt32BE(value, 1)
    assert.deepEqual(bytes, expected)
    assert.equal(readU32(bytes, 1), value)
  }
})

test('a negative number is written as its 32 bits', () => {
  const bytes = Buffer.alloc(4)
  writeU32(bytes, 0, -2)
  assert.equal(readU32(bytes, 0), 2 ** 32 - 2)
})

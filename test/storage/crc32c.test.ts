import assert from 'node:assert/strict'
import { test } from 'node:test'
import { checkedBytes, crc32c, maskedCrc32c, roomsForChecks } from '../../src/storage/crc32c.ts'

/** A bit at a time. */
function slowly(bytes: Uint8Array): number {
  let crc = -1
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ ((crc & 1) === 0 ? 0 : 0x82f63b78)
  }
  return ~crc >>> 0
}

function mixed(length: number): Buffer {
  return Buffer.from(Array.from({ length }, (_, i) => Math.imul(i + 1, 0x9e3779b1) >>> 24))
}

test('known checksums', () => {
  // RFC 3720, B.4, and the usual check value.
  const known: readonly (readonly [Buffer, number])[] = [
    [Buffer.from('123456789'), 0xe3069283],
    [Buffer.alloc(32), 0x8a9136aa],
    [Buffer.alloc(32, 0xff), 0x62a8ab43],
    [Buffer.from(Array.from({ length: 32 }, (_, i) => i)), 0x46dd794e],
    [Buffer.alloc(0), 0],
  ]
  for (const [bytes, crc] of known) assert.equal(crc32c(bytes, 0, bytes.length), crc)
})

test('any length from any place, in one step or in many', () => {
  const bytes = mixed(70_000)
  for (let length = 0; length < 70; length++)
    for (const start of [0, 1, 5, 16]) {
      const end = start + length
      assert.equal(crc32c(bytes, start, end), slowly(bytes.subarray(start, end)), `${start} to ${end}`)
    }
  for (const end of [16_383, 16_384, 16_385, 16_400, 32_768, 65_537, 70_000])
    assert.equal(crc32c(bytes, 3, end), slowly(bytes.subarray(3, end)), `3 to ${end}`)
})

test('bytes that lie in a room for them are checked there, and no room is part of another', () => {
  const rooms = roomsForChecks()
  const content = rooms.map((_, i) => mixed(checkedBytes).reverse().fill(i, 0, 3))
  for (const [i, room] of rooms.entries()) room.set(content[i] as Buffer)
  for (const [i, room] of rooms.entries()) {
    const bytes = content[i] as Buffer
    assert.equal(room.length, checkedBytes)
    for (const [start, end] of [
      [0, checkedBytes],
      [0, 15],
      [1, 17],
      [3, 70_001],
      [checkedBytes - 40, checkedBytes],
    ] as const) {
      assert.equal(crc32c(room, start, end), slowly(bytes.subarray(start, end)), `${start} to ${end}`)
      assert.equal(crc32c(room.subarray(start), 0, end - start), slowly(bytes.subarray(start, end)))
    }
    assert.ok(room.equals(bytes))
  }
})

test('a masked checksum is turned by 15 bits, and a constant is added', () => {
  const bytes = Buffer.from('123456789')
  const turned = ((0xe3069283 >>> 15) | (0xe3069283 << 17)) >>> 0
  assert.equal(maskedCrc32c(bytes, 0, 9), (turned + 0xa282ead8) % 2 ** 32)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import { crcByte, crcBytes, crcEnd, crcInt, crcInts, crcLong, crcStart } from '../../src/base/crc32.ts'

const bytes = fc.uint8Array({ maxLength: 40 })
const int = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 })
/** A piece as its bytes, and how it is taken in. */
const piece = fc.oneof(
  fc.tuple(bytes, fc.nat(9)).map(([part, before]) => {
    const around = Buffer.concat([Buffer.alloc(before, 0xa5), part, Buffer.alloc(9, 0x5a)])
    return { part, take: (crc: number) => crcBytes(crc, around, before, before + part.length) }
  }),
  fc.nat(255).map((byte) => ({ part: Uint8Array.of(byte), take: (crc: number) => crcByte(crc, byte) })),
  int.map((value) => ({ part: intBytes(value), take: (crc: number) => crcInt(crc, value) })),
  fc.maxSafeInteger().map((value) => {
    const part = Buffer.alloc(8)
    part.writeBigInt64BE(BigInt(value))
    return { part, take: (crc: number) => crcLong(crc, value) }
  }),
  fc.tuple(int, int).map(([high, low]) => {
    return {
      part: Buffer.concat([intBytes(high), intBytes(low)]),
      take: (crc: number) => crcInts(crc, high, low),
    }
  }),
)

function intBytes(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}

test('pieces taken in one after another have the CRC-32 of all bytes together', () => {
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
      const crc = pieces.reduce((running, { take }) => take(running), crcStart)
      assert.equal(crcEnd(crc), crc32(Buffer.concat(pieces.map(({ part }) => part))))
    }),
  )
})

test('the CRC of no bytes is 0, and that of "123456789" the published check value', () => {
  assert.equal(crcEnd(crcStart), 0)
  assert.equal(crcEnd(crcBytes(crcStart, Buffer.from('123456789'), 0, 9)), 0xcbf43926)
})

test('around the length from which zlib does it nothing changes', () => {
  const long = Buffer.from(Array.from({ length: 4100 }, (_, i) => (i * 7919) >> 3))
  for (const length of [511, 512, 513, 4096]) {
    const split = crcBytes(crcBytes(crcStart, long, 1, 4), long, 4, 1 + length)
    assert.equal(crcEnd(split), crc32(long.subarray(1, 1 + length)), `${length} bytes`)
    assert.equal(
      crcEnd(crcBytes(crcByte(crcStart, 200), long, 0, length)),
      crc32(Buffer.concat([Buffer.of(200), long.subarray(0, length)])),
    )
  }
})

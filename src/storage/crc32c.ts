// CRC-32C, with which LevelDB guards its blocks and records; zlib has the other polynomial only.
import { crcTables } from '../base/crc32.ts'

// 16 tables take 16 bytes a step: 0.38 ns per byte on Node.js 20, eight of them 0.65.
const tables = crcTables(0x82f63b78, 16)

/** CRC-32C (Castagnoli) of `buf[start, end)`. */
export function crc32c(buf: Buffer, start: number, end: number): number {
  const t = tables
  const view = new DataView(buf.buffer, buf.byteOffset, buf.length)
  let crc = -1
  let at = start
  for (; at + 16 <= end; at += 16) {
    const a = crc ^ view.getInt32(at, true)
    const b = view.getInt32(at + 4, true)
    const c = view.getInt32(at + 8, true)
    const d = view.getInt32(at + 12, true)
    // What depends on the step before comes last, so that the processor has done the rest by then.
    crc = t[768 + (d & 255)]! ^ t[512 + ((d >>> 8) & 255)]! ^ t[256 + ((d >>> 16) & 255)]! ^ t[d >>> 24]!
    crc ^=
      t[1792 + (c & 255)]! ^
      t[1536 + ((c >>> 8) & 255)]! ^
      t[1280 + ((c >>> 16) & 255)]! ^
      t[1024 + (c >>> 24)]!
    crc ^=
      t[2816 + (b & 255)]! ^
      t[2560 + ((b >>> 8) & 255)]! ^
      t[2304 + ((b >>> 16) & 255)]! ^
      t[2048 + (b >>> 24)]!
    crc ^=
      t[3840 + (a & 255)]! ^
      t[3584 + ((a >>> 8) & 255)]! ^
      t[3328 + ((a >>> 16) & 255)]! ^
      t[3072 + (a >>> 24)]!
  }
  for (; at < end; at++) crc = t[(crc ^ buf[at]!) & 255]! ^ (crc >>> 8)
  return ~crc >>> 0
}

/** The checksum as LevelDB stores it: masked, so that a checksum of bytes which contain one is none of itself. */
export function maskedCrc32c(buf: Buffer, start: number, end: number): number {
  const crc = crc32c(buf, start, end)
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0
}

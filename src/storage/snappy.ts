// Snappy, as blocks of LevelDB's tables are compressed where that is not switched off.
import { ByteCursor, Damage } from './byte-cursor.ts'

/** Undoes Snappy's raw block format. */
export function uncompress(block: Buffer): Buffer {
  const cursor = new ByteCursor(block, 0)
  const out = Buffer.alloc(cursor.varint())
  let to = 0
  let from = cursor.pos
  const little = (bytes: number): number => {
    if (from + bytes > block.length) throw new Damage('a compressed block ends early')
    const value = bytes === 0 ? 0 : block.readUIntLE(from, bytes)
    from += bytes
    return value
  }
  while (from < block.length) {
    const tag = little(1)
    if ((tag & 3) === 0) {
      const short = tag >> 2
      const length = 1 + (short < 60 ? short : little(short - 59))
      block.copy(out, to, from, from + length)
      from += length
      to += length
      continue
    }
    const length = (tag & 3) === 1 ? 4 + ((tag >> 2) & 7) : 1 + (tag >> 2)
    const distance = (tag & 3) === 1 ? (tag >> 5) * 256 + little(1) : little((tag & 3) === 2 ? 2 : 4)
    if (distance === 0 || distance > to) throw new Damage('a compressed block refers to what is not there')
    for (let i = 0; i < length; i++, to++) out[to] = out[to - distance] as number
  }
  return out
}

// Decodes jute, ZooKeeper's record encoding, in place: one reader moves over a chunk and hands out offsets or
// values; it copies nothing. A record that does not fit its bytes is a ZkError with code marshallingError.
import { Code, ZkError } from '../base/errors.ts'
import { viewOf } from '../base/view.ts'
import type { Writer } from './writer.ts'

const high = 2 ** 32

function short(what: string, at: number, end: number): never {
  throw new ZkError(
    Code.marshallingError,
    `request too short: ${what} at byte ${at} goes beyond the end at ${end}`,
  )
}

/** A signed 64 bit number as of `Reader.long`. */
export function readLong(view: DataView, at: number): number {
  return view.getInt32(at) * high + view.getUint32(at + 4)
}

/** A cursor over `buf[pos, end)`. Reusable: `reset` points it at other bytes. */
export class Reader {
  buf: Buffer
  pos = 0
  end = 0
  /** Where the field that `field()` read last begins. */
  start = 0
  /** Of all of `buf`. */
  view: DataView

  constructor(buf: Buffer = Buffer.alloc(0)) {
    this.buf = buf
    this.end = buf.length
    this.view = new DataView(buf.buffer, buf.byteOffset, buf.byteLength)
  }

  /** Points the reader at `buf[pos, end)`; cheap when the buffer is the same as before. */
  reset(buf: Buffer, pos: number, end: number): this {
    if (buf !== this.buf) {
      this.buf = buf
      this.view = viewOf(buf)
    }
    this.pos = pos
    this.end = end
    return this
  }

  /** Points the reader at `[pos, end)` of what `from` has written. */
  over(from: Writer, pos: number, end: number): void {
    this.buf = from.buf
    this.view = from.view
    this.pos = pos
    this.end = end
  }

  byte(): number {
    if (this.pos + 1 > this.end) short('a byte', this.pos, this.end)
    return this.view.getUint8(this.pos++)
  }

  /** Any non-zero byte is true. */
  bool(): boolean {
    return this.byte() !== 0
  }

  /** Signed 32 bit. */
  int(): number {
    const at = this.pos
    if (at + 4 > this.end) short('an int', at, this.end)
    this.pos = at + 4
    return this.view.getInt32(at)
  }

  /** Signed 64 bit as a number: exact within ±2^53, rounded beyond. */
  long(): number {
    const at = this.pos
    if (at + 8 > this.end) short('a long', at, this.end)
    this.pos = at + 8
    return readLong(this.view, at)
  }

  /**
   * A length-prefixed field (buffer or ustring): returns its length, -1 for null, and leaves its first byte's
   * offset in `start`; the cursor is behind it.
   */
  field(): number {
    const length = this.int()
    this.start = this.pos
    if (length < 0) {
      if (length !== -1) throw new ZkError(Code.marshallingError, `a field's length is ${length}`)
      return -1
    }
    if (this.pos + length > this.end) short(`a field of ${length} bytes`, this.pos, this.end)
    this.pos += length
    return length
  }

  /** A ustring, null if absent. Bytes that are not UTF-8 become U+FFFD. */
  string(): string | null {
    const length = this.field()
    return length < 0 ? null : this.text(this.start, this.start + length)
  }

  /** A ustring that must be there. */
  requiredString(what: string): string {
    const value = this.string()
    if (value === null) throw new ZkError(Code.marshallingError, `${what} is null`)
    return value
  }

  /** A copy of a buffer, null if absent. */
  buffer(): Buffer | null {
    const length = this.field()
    return length < 0 ? null : Buffer.from(this.buf.subarray(this.start, this.start + length))
  }

  /** The element count of a vector; negative for null. */
  count(): number {
    return this.int()
  }

  /** A vector of ustrings that must be there; null elements become empty strings. */
  strings(): string[] {
    const count = this.count()
    if (count < 0) throw new ZkError(Code.marshallingError, 'a list is null')
    const list: string[] = []
    for (let i = 0; i < count; i++) list.push(this.string() ?? '')
    return list
  }

  /** Decodes `buf[start, end)` as UTF-8. */
  text(start: number, end: number): string {
    return this.buf.toString('utf8', start, end)
  }
}

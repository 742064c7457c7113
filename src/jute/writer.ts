// Encodes jute into one growing buffer. Nothing is copied twice: replies of a turn are appended behind each other
// and written to the socket as one piece.
import { knownViewOf } from '../base/view.ts'

const high = 2 ** 32

/** Up to so many bytes are copied in a loop; more are worth a typed array, which V8's own copying needs. */
const loopBytesMax = 48
/** So many, where words can be copied. */
const wordsBytesMax = 192

/** An output buffer with a cursor; grows by doubling. */
export class Writer {
  buf: Buffer
  pos = 0
  /** Of all of `buf`; another one after `ensure` or anything that writes. */
  view: DataView

  constructor(size = 4096) {
    this.buf = Buffer.allocUnsafeSlow(size)
    this.view = new DataView(this.buf.buffer, 0, this.buf.length)
  }

  /** Makes room for `bytes` more. */
  ensure(bytes: number): void {
    if (this.pos + bytes <= this.buf.length) return
    let size = this.buf.length * 2
    while (size < this.pos + bytes) size *= 2
    this.move(size, 0)
  }

  /** Goes on in another buffer, of `size` bytes, which begins with what was written from `from` on. The one before stays as it is. */
  move(size: number, from: number): void {
    const next = Buffer.allocUnsafeSlow(size)
    this.buf.copy(next, 0, from, this.pos)
    this.buf = next
    this.pos -= from
    this.view = new DataView(next.buffer, 0, size)
  }

  /** Forgets the content and keeps the room, unless it grew beyond `keep` bytes. */
  clear(keep = 1 << 20): void {
    this.pos = 0
    if (this.buf.length > keep) {
      this.buf = Buffer.allocUnsafeSlow(4096)
      this.view = new DataView(this.buf.buffer, 0, 4096)
    }
  }

  /** What has been written, as a view that is valid until the next write. */
  bytes(): Buffer {
    return this.buf.subarray(0, this.pos)
  }

  byte(value: number): void {
    this.ensure(1)
    this.view.setUint8(this.pos++, value)
  }

  bool(value: boolean): void {
    this.byte(value ? 1 : 0)
  }

  int(value: number): void {
    this.ensure(4)
    this.view.setInt32(this.pos, value)
    this.pos += 4
  }

  /** Overwrites the int at `at`, for lengths that are known later. */
  intAt(at: number, value: number): void {
    this.view.setInt32(at, value)
  }

  /** A number within ±2^53 as signed 64 bit; the high half is floored, so that -1 is all ones. */
  long(value: number): void {
    this.ensure(8)
    writeLong(this.view, this.pos, value)
    this.pos += 8
  }

  /** Raw bytes `from[start, end)`; `view`: one of all of `from`, if there is any. */
  raw(from: Uint8Array, start: number, end: number, view = knownViewOf(from)): void {
    const length = end - start
    this.ensure(length)
    if (view !== undefined && length <= wordsBytesMax) {
      copyWords(view, start, end, this.view, this.pos)
    } else if (length <= loopBytesMax) {
      for (let i = start, at = this.pos; i < end; i++, at++) this.buf[at] = from[i] as number
    } else {
      this.buf.set(from.subarray(start, end), this.pos)
    }
    this.pos += length
  }

  /** All that another one has written. */
  append({ buf, view, pos }: Writer): void {
    this.raw(buf, 0, pos, view)
  }

  /** A buffer field; null is length -1. */
  buffer(value: Uint8Array | null): void {
    if (value === null) {
      this.int(-1)
      return
    }
    this.int(value.length)
    this.raw(value, 0, value.length)
  }

  /**
   * A ustring field; null is length -1. Characters beyond U+FFFF are written as two surrogates of three bytes each, as
   * ZooKeeper's Java encoder does.
   */
  string(value: string | null): void {
    if (value === null) {
      this.int(-1)
      return
    }
    this.ensure(4 + value.length * 3)
    const written = surrogates.test(value)
      ? writeUnits(this.buf, this.pos + 4, value)
      : this.buf.write(value, this.pos + 4, 'utf8')
    this.intAt(this.pos, written)
    this.pos += 4 + written
  }

  strings(values: readonly string[]): void {
    this.int(values.length)
    for (const value of values) this.string(value)
  }
}

/** `Writer.long` at a place of its own, which must have room. */
export function writeLong(view: DataView, at: number, value: number): void {
  view.setInt32(at, Math.floor(value / high))
  view.setUint32(at + 4, value >>> 0)
}

/** Copies `from[start, end)`; nothing is made for it, unlike for `TypedArray.prototype.set`. */
function copyWords(from: DataView, start: number, end: number, to: DataView, at: number): void {
  let i = start
  for (; i + 16 <= end; i += 16, at += 16) {
    to.setInt32(at, from.getInt32(i, true), true)
    to.setInt32(at + 4, from.getInt32(i + 4, true), true)
    to.setInt32(at + 8, from.getInt32(i + 8, true), true)
    to.setInt32(at + 12, from.getInt32(i + 12, true), true)
  }
  for (; i + 4 <= end; i += 4, at += 4) to.setInt32(at, from.getInt32(i, true), true)
  for (; i < end; i++, at++) to.setUint8(at, from.getUint8(i))
}

const surrogates = /[\ud800-\udfff]/

/** UTF-8 of each UTF-16 unit on its own; returns the bytes written. */
function writeUnits(buf: Uint8Array, start: number, value: string): number {
  let at = start
  for (let i = 0; i < value.length; i++) {
    const unit = value.charCodeAt(i)
    if (unit < 0x80) {
      buf[at++] = unit
    } else if (unit < 0x800) {
      buf[at++] = 0xc0 | (unit >> 6)
      buf[at++] = 0x80 | (unit & 0x3f)
    } else {
      buf[at++] = 0xe0 | (unit >> 12)
      buf[at++] = 0x80 | ((unit >> 6) & 0x3f)
      buf[at++] = 0x80 | (unit & 0x3f)
    }
  }
  return at - start
}

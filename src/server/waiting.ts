// Requests of one connection that wait behind its writes: copies of their frames, one behind the other in one buffer, which is
// there only while any wait. In a mix of reads and writes most reads wait, so that one must cost its copy and nothing else.
import type { Reader } from '../jute/reader.ts'
import type { Writer } from '../jute/writer.ts'
import { BufferPool } from './buffer-pool.ts'

// Of a request in the buffer: the slots that it is behind (float64), when it arrived (float64), its error (int32), the length of
// its frame (int32), the frame.
const arrivedAt = 8
const errAt = 16
const lengthAt = 20
const headerBytes = 24
/** Bytes of requests that were taken are made room of for new ones when they are so many, and more than those that wait. */
const takenBytesMax = 4 << 10

const buffers = new BufferPool()

/** See file header. A queue: `add` at one end, `behind` and `take` at the other. */
export class WaitingRequests {
  #buffer: Writer | undefined
  /** Where the first one begins. */
  #head = 0
  #count = 0
  #frameBytes = 0

  get count(): number {
    return this.#count
  }

  /** Bytes of their frames. */
  get frameBytes(): number {
    return this.#frameBytes
  }

  /**
   * Adds `buf[start, end)`, which is copied: a request that may be answered when `behind` slots are done, with `err` if that is not 0.
   * `arrived`: monotonic ms.
   */
  add(buf: Uint8Array, start: number, end: number, behind: number, arrived: number, err: number): void {
    this.#buffer ??= buffers.take()
    const out = this.#buffer
    if (this.#head > takenBytesMax && this.#head > out.pos - this.#head) this.#closeUp(out)
    out.ensure(headerBytes + end - start)
    const { view, pos } = out
    view.setFloat64(pos, behind)
    view.setFloat64(pos + arrivedAt, arrived)
    view.setInt32(pos + errAt, err)
    view.setInt32(pos + lengthAt, end - start)
    out.pos = pos + headerBytes
    out.raw(buf, start, end)
    this.#count++
    this.#frameBytes += end - start
  }

  #closeUp(out: Writer): void {
    out.buf.copyWithin(0, this.#head, out.pos)
    out.pos -= this.#head
    this.#head = 0
  }

  /** The slots that have to be done before the first one is answered; Infinity if none waits. */
  get behind(): number {
    const buffer = this.#buffer
    if (buffer === undefined || this.#count === 0) return Number.POSITIVE_INFINITY
    return buffer.view.getFloat64(this.#head)
  }

  /** When the first one arrived, monotonic ms. At least one must wait, as for `err` and `take`. */
  get arrived(): number {
    return (this.#buffer as Writer).view.getFloat64(this.#head + arrivedAt)
  }

  get err(): number {
    return (this.#buffer as Writer).view.getInt32(this.#head + errAt)
  }

  /** Points the reader at the first one's frame and removes it. The bytes stay as they are until `add`, `release` or `clear`. */
  take(reader: Reader): void {
    const buffer = this.#buffer as Writer
    const start = this.#head + headerBytes
    const length = buffer.view.getInt32(this.#head + lengthAt)
    this.#head = start + length
    this.#count--
    this.#frameBytes -= length
    reader.over(buffer, start, this.#head)
  }

  /** Nobody looks at what was taken any more. */
  release(): void {
    if (this.#count === 0) this.clear()
  }

  clear(): void {
    if (this.#buffer !== undefined) buffers.give(this.#buffer)
    this.#buffer = undefined
    this.#head = 0
    this.#count = 0
    this.#frameBytes = 0
  }
}

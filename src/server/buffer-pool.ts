// Buffers that connections gather bytes in: taken for a while, output for a turn, and given back when nobody needs the bytes. Most
// turns of most connections write little, and a thousand of them can have something to say in the same one.
import { Writer } from '../jute/writer.ts'

/** A few short replies fit without growing; what has grown serves longer ones the next time. */
const initialBytes = 1 << 10
/** Larger ones are not kept. */
const keptBytesMax = 64 << 10
/** All that are kept together: a thousand connections' short replies, or the long ones of sixty. */
const spareBytesMax = 4 << 20

/** See file header. */
export class BufferPool {
  readonly #spare: Writer[] = []
  #spareBytes = 0

  /** An empty buffer. */
  take(): Writer {
    const buffer = this.#spare.pop()
    if (buffer === undefined) return new Writer(initialBytes)
    this.#spareBytes -= buffer.buf.length
    return buffer
  }

  /** Nobody looks at its bytes any more. */
  give(buffer: Writer): void {
    const bytes = buffer.buf.length
    if (bytes > keptBytesMax || this.#spareBytes + bytes > spareBytesMax) return
    buffer.pos = 0
    this.#spare.push(buffer)
    this.#spareBytes += bytes
  }
}

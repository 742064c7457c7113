// Buffers that connections gather their output in: taken for a turn, given back when the kernel has the bytes. Most turns
// of most connections write little, and a thousand of them can have something to say in the same one.
import { Writer } from '../jute/writer.ts'

/** A few short replies fit without growing; what has grown serves longer ones the next time. */
const initialBytes = 1 << 10
/** Larger ones are not kept. */
const keptBytesMax = 64 << 10
/** All that are kept together: a thousand connections' short replies, or the long ones of sixty. */
const spareBytesMax = 4 << 20

/** See file header. */
export class OutputPool {
  readonly #spare: Writer[] = []
  #spareBytes = 0

  /** An empty buffer. */
  take(): Writer {
    const out = this.#spare.pop()
    if (out === undefined) return new Writer(initialBytes)
    this.#spareBytes -= out.buf.length
    return out
  }

  /** Nobody looks at its bytes any more. */
  give(out: Writer): void {
    const bytes = out.buf.length
    if (bytes > keptBytesMax || this.#spareBytes + bytes > spareBytesMax) return
    out.pos = 0
    this.#spare.push(out)
    this.#spareBytes += bytes
  }
}

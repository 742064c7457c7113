// The bytes that come in by a connection with another server, handed to who listens at the time. By a plain connection
// that this server dialed they come in a buffer that is read into again and again; Node.js can not do that for one that
// was accepted, or with TLS, and makes 64 KiB anew for each read. It keeps nothing.
import type { OnReadOpts, Socket } from 'node:net'

/** What one read takes at most: as much as Node.js would. */
const chunkBytes = 64 << 10

/** One for all connections: a chunk is used up before the next read. Made when it is needed, which it is not alone. */
let chunk: Buffer | undefined

/** See file header. */
export class Inlet {
  /** Takes what arrives; undefined: it is dropped. */
  listener: ((bytes: Buffer) => void) | undefined
  /** The bytes are there only until the listener returns. */
  isReused = false

  /** For the options of `connect`: the bytes of that socket are this inlet's. */
  reuse(): OnReadOpts {
    chunk ??= Buffer.allocUnsafeSlow(chunkBytes)
    const buffer = chunk
    this.isReused = true
    return {
      buffer,
      callback: (length) => {
        this.listener?.(buffer.subarray(0, length))
        return true
      },
    }
  }

  /** Begins to read from a socket that was not made with `reuse`. */
  open(socket: Socket): void {
    if (!this.isReused) socket.on('data', (bytes: Buffer) => this.listener?.(bytes))
  }
}

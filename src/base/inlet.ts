// The bytes that come in by a socket, handed to who listens at the time. They are read into one buffer again and again where
// Node.js can do that; else, as with TLS, it makes 64 KiB anew for each read, which takes as long as a short request
// does in all. An inlet keeps nothing.
import { type OnReadOpts, type Server, Socket, type SocketConstructorOpts } from 'node:net'

/** What one read takes at most: as much as Node.js would. */
const chunkBytes = 64 << 10

/** One for all sockets: a chunk is used up before the next read. Made when it is needed. */
let chunk: Buffer | undefined

/** See file header. */
export class Inlet {
  /** Takes what arrives, which is `bytes[0, length)`; undefined: it is dropped. */
  listener: ((bytes: Buffer, length: number) => void) | undefined
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
        this.listener?.(buffer, length)
        return true
      },
    }
  }

  /** Begins to read from a socket that was not made with `reuse`. */
  open(socket: Socket): void {
    if (!this.isReused) socket.on('data', (bytes: Buffer) => this.listener?.(bytes, bytes.length))
  }
}

/** How Node.js, from 20 to 24 at least, has a port tell of connections. It is not documented: elsewhere all goes as usual. */
type Port = { onconnection?: (this: unknown, error: number, accepted: object | undefined) => void }

/**
 * Has `server`, which listens and was made with `noDelay`, read from the sockets that it accepts as from those that are dialed, for
 * which its options have nothing. They then come to `onSocket`, and not with the event `connection`: that is for where this Node.js
 * is different, and for what goes wrong.
 */
export function acceptReused(server: Server, onSocket: (socket: Socket, inlet: Inlet) => void): void {
  const port = (server as { readonly _handle?: Port | null })._handle
  const usual = port?.onconnection
  if (!port || typeof usual !== 'function') return
  port.onconnection = function (error, accepted) {
    if (error || accepted === undefined) {
      usual.call(this, error, accepted)
      return
    }
    const inlet = new Inlet()
    const options = { handle: accepted, onread: inlet.reuse(), readable: true, writable: true }
    onSocket(new Socket(options as SocketConstructorOpts).setNoDelay(true), inlet)
  }
}

// Ways to treat a server badly over a socket that the strict client does not offer: single bytes, half frames, reading
// late or never. It never judges what comes back beyond the framing.
import net from 'node:net'
import { connectRequest, defaultBoundMs, Encoder, frame, within } from './raw-client.ts'

/** A turn of the event loop in which the server in this process reads what was sent to it. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/** A whole request: length, header, body. */
export function request(xid: number, op: number, body: Buffer): Buffer {
  return frame(new Encoder().int(xid).int(op).raw(body).bytes())
}

/** A whole ConnectRequest for a new session. */
export function hello(timeoutMs = 30_000): Buffer {
  return frame(connectRequest({ timeout: timeoutMs }))
}

/** The header of a reply or event, the length of its payload and the payload's first bytes. */
export type Seen = {
  readonly xid: number
  readonly err: number
  readonly length: number
  readonly start: Buffer
}

const startKept = 64

/** A connection that looks at replies as they pass and keeps none of them: for gigabytes of them. */
export class Passing {
  readonly socket: net.Socket
  /** Frames that have passed, the ConnectResponse included. */
  frames = 0
  bytes = 0
  isClosed = false
  /** Called for each frame, when all of it is there. */
  onFrame: (seen: Seen) => void = () => undefined
  readonly #start = Buffer.alloc(4 + startKept)
  #filled = 0
  #length = -1
  #waiters: { readonly frames: number; readonly resolve: () => void }[] = []
  readonly #closed: Promise<void>

  constructor(socket: net.Socket) {
    this.socket = socket
    socket.setNoDelay(true)
    socket.on('data', (chunk: Buffer) => this.#onData(chunk))
    socket.on('error', () => undefined)
    this.#closed = new Promise((resolve) => {
      socket.on('close', () => {
        this.isClosed = true
        resolve()
        for (const { resolve } of this.#waiters.splice(0)) resolve()
      })
    })
  }

  static async dial(port: number, host = '127.0.0.1'): Promise<Passing> {
    const socket = net.connect({ port, host })
    const passing = new Passing(socket)
    await within(new Promise<void>((resolve) => socket.once('connect', resolve)), 'TCP connect')
    return passing
  }

  /** Opens a session and waits for its ConnectResponse. */
  static async open(port: number, host?: string): Promise<Passing> {
    const passing = await Passing.dial(port, host)
    passing.send(hello())
    await passing.received(1)
    return passing
  }

  send(bytes: Buffer): void {
    this.socket.write(bytes)
  }

  /** Sends the bytes in pieces, with a turn between them. */
  async sendPieces(pieces: Iterable<Buffer>): Promise<void> {
    for (const piece of pieces) {
      if (this.isClosed) return
      this.send(piece)
      await turn()
    }
  }

  /** Stops reading: what the server sends fills the buffers of both systems, and then its own. */
  stopReading(): void {
    this.socket.pause()
  }

  readAgain(): void {
    this.socket.resume()
  }

  /** Resolves when that many frames have passed in all, or the connection has ended. */
  received(frames: number, boundMs = defaultBoundMs): Promise<void> {
    if (this.frames >= frames || this.isClosed) return Promise.resolve()
    const reached = new Promise<void>((resolve) => this.#waiters.push({ frames, resolve }))
    return within(reached, `${frames} frames`, boundMs)
  }

  closed(boundMs = defaultBoundMs): Promise<void> {
    return within(this.#closed, 'the server closes the connection', boundMs)
  }

  destroy(): void {
    this.socket.destroy()
  }

  #onData(chunk: Buffer): void {
    this.bytes += chunk.length
    let at = 0
    while (at < chunk.length) {
      const wanted = this.#length < 0 ? 4 : 4 + this.#length
      const taken = Math.min(wanted - this.#filled, chunk.length - at)
      if (this.#filled < this.#start.length) chunk.copy(this.#start, this.#filled, at, at + taken)
      this.#filled += taken
      at += taken
      if (this.#filled < wanted) return
      if (this.#length < 0) this.#length = this.#start.readInt32BE()
      else this.#pass()
    }
  }

  #pass(): void {
    const length = this.#length
    const start = Buffer.from(this.#start.subarray(4, 4 + Math.min(length, startKept)))
    this.#length = -1
    this.#filled = 0
    this.frames++
    const isReply = length >= 16
    const [xid, err] = isReply ? [start.readInt32BE(), start.readInt32BE(12)] : [0, 0]
    this.onFrame({ xid, err, length, start })
    const frames = this.frames
    const due = this.#waiters.filter((waiter) => waiter.frames <= frames)
    if (due.length === 0) return
    this.#waiters = this.#waiters.filter((waiter) => waiter.frames > frames)
    for (const { resolve } of due) resolve()
  }
}

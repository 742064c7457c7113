// A connection in use: messages in and out, and what is known of its health. It says once that it is down and why, and
// never makes a new connection; network.ts decides about that.
import type { Socket } from 'node:net'
import type { Inlet } from '../base/inlet.ts'
import { FrameReader, keepalive } from './codec.ts'
import { FrameWriter } from './encode.ts'
import type { Remote } from './handshake.ts'
import type { PeerMessage } from './messages.ts'
import { lossReason } from './trouble.ts'
import { PeerFault } from './types.ts'

/** With no more than this unwritten a long transfer may go on: enough to keep the system's buffers full. */
const drainedBytes = 1 << 20

export type LinkOptions = {
  readonly socket: Socket
  readonly inlet: Inlet
  readonly remote: Remote
  readonly dialed: boolean
  /** Of the other side, for people. */
  readonly address: string
  readonly maxFrameBytes: number
  /** More unwritten bytes than this mean that the other server will not catch up: the connection is given up. */
  readonly maxBacklogBytes: number
  /** Monotonic ms. */
  readonly now: () => number
  /** Calls back in a later turn. */
  readonly soon: (callback: () => void) => void
}

/** Who hears of a link. */
export type LinkOwner = {
  /** Called synchronously; throws PeerFault if the other server is to blame. */
  message(message: PeerMessage): void
  /** All messages of a chunk were given. */
  handled(): void
  /** The link is of no use any more: closed, broken, or closed here for the reason. Called once, not after `destroy`. */
  down(reason: string): void
}

/** Messages and bytes since the connection began, keepalives included in the bytes. */
export type LinkTraffic = {
  messagesSent: number
  messagesReceived: number
  bytesSent: number
  bytesReceived: number
  /** Calls that handed bytes to the system. */
  writes: number
}

/** See file header. */
export class Link {
  readonly remote: Remote
  /** This server dialed. */
  readonly dialed: boolean
  readonly address: string
  /** Monotonic ms, as the two below. */
  readonly since: number
  /** Something arrived. The network moves it forward by the time in which this process could not have noticed. */
  heardAt: number
  /** Something was written. */
  sentAt: number
  readonly traffic: LinkTraffic = {
    messagesSent: 0,
    messagesReceived: 0,
    bytesSent: 0,
    bytesReceived: 0,
    writes: 0,
  }
  readonly #options: LinkOptions
  readonly #socket: Socket
  readonly #owner: LinkOwner
  readonly #reader: FrameReader
  readonly #writer: FrameWriter
  #over = false
  /** Who waits for `drained`. */
  #waiting: (() => void)[] = []

  constructor(options: LinkOptions, owner: LinkOwner) {
    this.remote = options.remote
    this.dialed = options.dialed
    this.address = options.address
    this.since = options.now()
    this.heardAt = this.since
    this.sentAt = this.since
    this.#options = options
    this.#socket = options.socket
    this.#owner = owner
    const { socket, inlet } = options
    this.#reader = new FrameReader(options.maxFrameBytes, inlet.isReused)
    this.#writer = new FrameWriter((pieces) => this.#write(pieces), options.maxFrameBytes)
    inlet.listener = (bytes, length) => this.feed(bytes, length)
    socket.on('drain', () => this.#release())
    socket.on('end', () => this.#down('the other side closed the connection'))
    socket.on('error', (error) => this.#down(lossReason(error)))
    socket.on('close', () => this.#down('the connection was closed'))
  }

  get over(): boolean {
    return this.#over
  }

  /** Bytes that wait in this process. */
  get backlogBytes(): number {
    return this.#socket.writableLength
  }

  /** Takes bytes that arrived: those of the socket, and what came right behind the handshake. */
  feed(chunk: Buffer, length = chunk.length): void {
    if (this.#over || length === 0) return
    this.heardAt = this.#options.now()
    this.traffic.bytesReceived += length
    try {
      this.#reader.push(chunk, this.#give, length)
    } catch (error) {
      if (!(error instanceof PeerFault)) throw error
      this.#down(`the other server sent ${error.message}`)
    }
    this.#owner.handled()
  }

  /** Made once, and not for each chunk. */
  readonly #give = (message: PeerMessage): boolean => {
    this.traffic.messagesReceived++
    this.#owner.message(message)
    return !this.#over
  }

  /** Adds a message to what goes with the next flush. If it ends the link, the owner hears of that in a later turn. */
  send(message: PeerMessage): void {
    if (this.#over) return
    try {
      this.#writer.add(message)
    } catch (error) {
      if (!(error instanceof RangeError)) throw error
      this.#downSoon(error.message)
      return
    }
    this.traffic.messagesSent++
  }

  /** Writes what was sent. If the link ends with that, its owner hears of it in a later turn. */
  flush(): void {
    if (this.#over || this.#writer.isEmpty) return
    this.#writer.flush()
    const backlog = this.backlogBytes
    if (backlog > this.#options.maxBacklogBytes) {
      this.#downSoon(`${backlog} bytes wait to be sent to it; the limit is ${this.#options.maxBacklogBytes}`)
    }
  }

  /** Lets the other side know that this one is alive. */
  ping(): void {
    if (!this.#over) this.#write([keepalive])
  }

  /** True if the system has taken all of it. */
  #write(pieces: readonly Uint8Array[]): boolean {
    const socket = this.#socket
    if (pieces.length > 1) socket.cork()
    for (const piece of pieces) {
      this.traffic.bytesSent += piece.byteLength
      socket.write(piece)
    }
    if (pieces.length > 1) socket.uncork()
    this.traffic.writes++
    this.sentAt = this.#options.now()
    return socket.writableLength === 0
  }

  /** Flushes; resolves when little waits here, or the link is over. */
  drained(): Promise<void> {
    this.flush()
    // Above the socket's own limit it is certain to report when it is empty ('drain').
    if (this.#over || this.backlogBytes <= drainedBytes) return Promise.resolve()
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  #release(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const resolve of waiting) resolve()
  }

  /** Closes it; the owner is not told. */
  destroy(): void {
    if (this.#over) return
    this.#over = true
    this.#socket.destroy()
    this.#release()
  }

  /** Closes it after everything queued has been sent, if the other side takes it in time; the owner is not told. */
  end(): void {
    this.flush()
    if (this.#over) return
    this.#over = true
    this.#socket.end()
    this.#release()
  }

  /** Whoever flushes is in the middle of something and does not expect to hear of a loss. */
  #downSoon(reason: string): void {
    this.destroy()
    this.#options.soon(() => this.#owner.down(reason))
  }

  #down(reason: string): void {
    if (this.#over) return
    this.destroy()
    this.#owner.down(reason)
  }
}

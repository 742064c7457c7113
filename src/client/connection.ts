// A connection with a session, made for load: many requests under way, replies handed to a callback where they lie in the
// chunk that was read, one write for all that a chunk of replies led to. It checks that replies come in the order of the
// requests and that the zxid never goes back. It never reconnects and makes no promise per request.
import { connect, type Socket } from 'node:net'
import { codeName } from '../base/errors.ts'
import { Op, Xid } from '../base/opcodes.ts'
import { formatZxid } from '../base/zxid.ts'
import { Reader } from '../jute/reader.ts'
import { Writer } from '../jute/writer.ts'
import { pingFrame, writeAuth, writeConnect } from './requests.ts'

/** Where a server takes clients; `localAddress` is the address of this machine to come from (default: the kernel's choice). */
export type Address = { readonly host: string; readonly port: number; readonly localAddress?: string }

/** Credentials, as of addauth: `digest` and `user:password`. */
export type Auth = { readonly scheme: string; readonly id: string }

export type ConnectionOptions = {
  readonly address: Address
  readonly sessionTimeoutMs: number
  /** For the connection and its session to come up. */
  readonly connectTimeoutMs: number
  readonly auth: readonly Auth[]
}

/** Why a connection ended, for people and for those who count. */
export class ConnectionError extends Error {
  readonly kind: 'unreachable' | 'not serving' | 'read-only' | 'refused' | 'lost' | 'protocol'
  constructor(kind: ConnectionError['kind'], message: string) {
    super(message)
    this.name = 'ConnectionError'
    this.kind = kind
  }
}

/** A reply; the same object each time, good until the callback returns. */
export type Reply = {
  /** What `begin` was given. */
  tag: number
  /** When the request was sent, or should have been: what `begin` was given. */
  atMs: number
  /** ZooKeeper's code, 0 for success. */
  error: number
  /** At the body. */
  readonly body: Reader
}

export type Handlers = {
  /** The session is open; requests may be made from now on. */
  opened(): void
  /** A chunk has come: what follows until the next was there at the same time. */
  chunk?(): void
  /** In the order of the requests. Requests made here are written when the whole chunk has been handed over. */
  reply(reply: Reply): void
  /** A watch event: its path is next in the reader after two ints, type and state. */
  event(body: Reader): void
  /** Nothing comes after it. Undefined: it was closed from here. */
  ended(reason: ConnectionError | undefined): void
}

/** A frame longer than this is none: the list of ten million children is shorter. */
const maxFrameBytes = 1 << 28
/** What one read takes at most. One buffer for all connections of a thread: a chunk is used up before the next read. */
const chunkBytes = 256 << 10
const chunk = Buffer.allocUnsafeSlow(chunkBytes)
const reader = new Reader(chunk)
const initialOutputBytes = 1024
const initialWindow = 16
const maxXid = 0x7fffffff
const empty = Buffer.alloc(0)

export class Connection {
  readonly #handlers: Handlers
  readonly #options: ConnectionOptions
  readonly #socket: Socket
  #state: 'connecting' | 'open' | 'closing' | 'ended' = 'connecting'
  #hasSession = false
  /** Made with the first request: idle sessions need none. */
  #out: Writer | undefined
  #frameAt = 0
  /** A frame that has not come whole yet; its first `#partialBytes` are there. */
  #partial: Buffer = empty
  #partialBytes = 0
  // Requests under way, a ring: number n is at n & (size - 1).
  #tags = new Int32Array(initialWindow)
  #times = new Float64Array(initialWindow)
  #sent = 0
  #answered = 0
  #lastZxid = 0
  /** Credentials that are not confirmed yet; the session is announced when there are none. */
  #unconfirmed = 0
  readonly #reply: Reply = { tag: 0, atMs: 0, error: 0, body: reader }

  constructor(options: ConnectionOptions, handlers: Handlers) {
    this.#options = options
    this.#handlers = handlers
    const { address, connectTimeoutMs } = options
    const socket = connect({
      ...address,
      noDelay: true,
      onread: {
        buffer: chunk,
        callback: (length) => {
          this.#onChunk(length)
          return true
        },
      },
    })
    this.#socket = socket
    socket.setTimeout(connectTimeoutMs, () => {
      const connected = socket.connecting ? 'it can not be reached' : 'it opens no session'
      this.#end(
        new ConnectionError(
          socket.connecting ? 'unreachable' : 'not serving',
          `no answer within ${connectTimeoutMs} ms: ${connected}`,
        ),
      )
    })
    socket.once('connect', () => {
      const out = new Writer(64)
      writeConnect(out, options.sessionTimeoutMs)
      socket.write(out.bytes())
    })
    socket.on('error', (error: NodeJS.ErrnoException) => this.#onSocketError(error))
    socket.once('close', () => this.#onClose())
  }

  /** Requests without a reply. */
  get underWay(): number {
    return this.#sent - this.#answered
  }

  get isOpen(): boolean {
    return this.#state === 'open'
  }

  /** Begins a request; its body goes into the answered writer, and `finish` ends it. */
  begin(op: number, tag: number, atMs: number): Writer {
    if (this.underWay === this.#tags.length) this.#widen()
    const at = this.#sent & (this.#tags.length - 1)
    this.#tags[at] = tag
    this.#times[at] = atMs
    const out = this.#output()
    this.#frameAt = out.pos
    out.ensure(12)
    out.int(0)
    out.int((this.#sent % maxXid) + 1)
    out.int(op)
    this.#sent++
    return out
  }

  finish(): void {
    const out = this.#output()
    out.intAt(this.#frameAt, out.pos - this.#frameAt - 4)
  }

  /** Writes what was requested outside of `reply`. */
  flush(): void {
    const out = this.#out
    if (out === undefined || out.pos === 0 || this.#state === 'ended') return
    this.#socket.write(out.bytes())
    // What the kernel did not take at once, the socket still needs.
    if (this.#socket.writableLength > 0) this.#out = new Writer(out.buf.length)
    else out.clear()
  }

  /** Keeps an idle session alive. */
  ping(): void {
    if (this.#state === 'open') this.#socket.write(pingFrame)
  }

  /** Closes the session; `ended` comes when the server has. */
  close(): void {
    if (this.#state !== 'open') {
      this.destroy()
      return
    }
    this.begin(Op.closeSession, -1, 0)
    this.finish()
    this.#state = 'closing'
    this.flush()
  }

  /** Drops the connection and leaves the session to expire. */
  destroy(): void {
    this.#end(undefined)
  }

  #output(): Writer {
    this.#out ??= new Writer(initialOutputBytes)
    return this.#out
  }

  #widen(): void {
    const size = this.#tags.length * 2
    const tags = new Int32Array(size)
    const times = new Float64Array(size)
    const mask = this.#tags.length - 1
    for (let n = this.#answered; n < this.#sent; n++) {
      tags[n & (size - 1)] = this.#tags[n & mask] as number
      times[n & (size - 1)] = this.#times[n & mask] as number
    }
    this.#tags = tags
    this.#times = times
  }

  #onChunk(length: number): void {
    if (this.#state === 'ended') return
    try {
      this.#handlers.chunk?.()
      const from = this.#partial.length > 0 ? this.#complete(length) : 0
      const to = this.#frames(from, length)
      if (to < length) this.#keep(to, length)
    } catch (error) {
      this.#end(new ConnectionError('protocol', error instanceof Error ? error.message : String(error)))
      return
    }
    this.flush()
  }

  /** Handles whole frames of the chunk from `at` on; returns where the first that is not whole begins. */
  #frames(at: number, length: number): number {
    while (length - at >= 4) {
      const bytes = frameLength(chunk, at)
      if (length - at - 4 < bytes) break
      this.#frame(chunk, at + 4, at + 4 + bytes)
      at += 4 + bytes
      if (this.#state === 'ended') return length
    }
    return at
  }

  /** Keeps the beginning of a frame, in a buffer for all of it if its length is known already. */
  #keep(from: number, to: number): void {
    const bytes = to - from
    this.#partial = Buffer.allocUnsafe(bytes < 4 ? 4 : 4 + frameLength(chunk, from))
    this.#partialBytes = chunk.copy(this.#partial, 0, from, to)
  }

  /** Adds to the frame that is kept, and handles it when it is whole; returns how much of the chunk it took. */
  #complete(length: number): number {
    let at = this.#fill(0, length)
    if (this.#partialBytes < 4) return at
    if (this.#partial.length === 4) {
      const whole = Buffer.allocUnsafe(4 + frameLength(this.#partial, 0))
      this.#partial.copy(whole)
      this.#partial = whole
      at = this.#fill(at, length)
    }
    if (this.#partialBytes < this.#partial.length) return at
    const frame = this.#partial
    this.#partial = empty
    this.#frame(frame, 4, frame.length)
    return at
  }

  #fill(at: number, length: number): number {
    const taken = Math.min(this.#partial.length - this.#partialBytes, length - at)
    chunk.copy(this.#partial, this.#partialBytes, at, at + taken)
    this.#partialBytes += taken
    return at + taken
  }

  #frame(bytes: Buffer, start: number, end: number): void {
    reader.reset(bytes, start, end)
    if (!this.#hasSession) {
      this.#onSession()
      return
    }
    const xid = reader.int()
    const zxid = reader.long()
    const error = reader.int()
    if (xid === Xid.notification) this.#handlers.event(reader)
    else if (xid === Xid.auth) this.#onAuth(error)
    else if (xid !== Xid.ping) this.#onReply(xid, zxid, error)
  }

  #onReply(xid: number, zxid: number, error: number): void {
    const n = this.#answered
    const expected = (n % maxXid) + 1
    if (n === this.#sent) throw new Error(`a reply with xid ${xid}, but nothing was asked`)
    if (xid !== expected) {
      throw new Error(`a reply with xid ${xid} where the one with ${expected} was expected: out of order`)
    }
    if (zxid < this.#lastZxid) {
      throw new Error(`the zxid went back from ${formatZxid(this.#lastZxid)} to ${formatZxid(zxid)}`)
    }
    this.#lastZxid = zxid
    this.#answered++
    const at = n & (this.#tags.length - 1)
    const reply = this.#reply
    reply.tag = this.#tags[at] as number
    reply.atMs = this.#times[at] as number
    reply.error = error
    // The last reply of a session that is closed belongs to nobody.
    if (this.#state === 'closing' && this.underWay === 0) return
    this.#handlers.reply(reply)
  }

  /** The first frame: the session, or a refusal. */
  #onSession(): void {
    reader.int()
    const timeoutMs = reader.int()
    reader.long()
    reader.field()
    const readOnly = reader.pos < reader.end && reader.bool()
    if (timeoutMs <= 0) {
      this.#end(new ConnectionError('refused', 'the server refuses to open a session'))
      return
    }
    if (readOnly) {
      const why = 'the server serves reads only: too few servers of its ensemble are up'
      this.#end(new ConnectionError('read-only', why))
      return
    }
    this.#hasSession = true
    const { auth } = this.#options
    this.#unconfirmed = auth.length
    if (auth.length === 0) this.#open()
    else this.#sendAuth(auth)
  }

  #sendAuth(auth: readonly Auth[]): void {
    const out = this.#output()
    for (const { scheme, id } of auth) {
      const at = out.pos
      out.int(0)
      out.int(Xid.auth)
      out.int(Op.auth)
      writeAuth(out, scheme, id)
      out.intAt(at, out.pos - at - 4)
    }
  }

  #onAuth(error: number): void {
    if (error !== 0) {
      this.#end(
        new ConnectionError('refused', `the server does not accept the credentials: ${codeName(error)}`),
      )
    } else if (--this.#unconfirmed === 0) this.#open()
  }

  #open(): void {
    this.#state = 'open'
    this.#socket.setTimeout(0)
    this.#handlers.opened()
  }

  #onSocketError(error: NodeJS.ErrnoException): void {
    const reasons: Readonly<Record<string, string>> = {
      ECONNREFUSED: 'nothing listens there',
      ENOTFOUND: 'there is no such host',
      EMFILE: 'this process has too many open files: raise the limit (ulimit -n)',
      EADDRNOTAVAIL: 'this machine has no local port left for it',
    }
    const reason = reasons[error.code ?? ''] ?? error.message
    const before = this.#state === 'connecting' && error.code !== 'ECONNRESET'
    if (before) this.#end(new ConnectionError('unreachable', reason))
    else this.#onClose()
  }

  #onClose(): void {
    if (this.#state === 'closing') this.#end(undefined)
    else if (this.#state === 'open') {
      this.#end(new ConnectionError('lost', 'the server closed the connection'))
    } else if (this.#unconfirmed > 0) {
      this.#end(new ConnectionError('refused', 'the server does not accept the credentials'))
    } else {
      const reasons =
        'it starts or stops, too few servers of its ensemble are up, or it has connections enough'
      this.#end(new ConnectionError('not serving', `the server closes the connection at once: ${reasons}`))
    }
  }

  #end(reason: ConnectionError | undefined): void {
    if (this.#state === 'ended') return
    this.#state = 'ended'
    this.#socket.destroy()
    this.#handlers.ended(reason)
  }
}

function frameLength(bytes: Buffer, at: number): number {
  const length = bytes.readInt32BE(at)
  if (length < 0 || length > maxFrameBytes) {
    throw new Error(`a frame of ${length} bytes: this is no server that speaks ZooKeeper's protocol`)
  }
  return length
}

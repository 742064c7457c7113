// A client of the fault tests: one session which moves between servers for as long as it lives, as ZooKeeper's own clients
// do, with watches set again after a move. It says of every request whether it was answered, surely not done, or
// unknown, and when. It never repeats a request, and never opens a second session for an expired one.
import net from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import type { Prng } from '../../sim/prng.ts'
import { body, connectRequest, Decoder, Encoder, Err, frame, Op } from '../support/raw-client.ts'

export type Endpoint = { readonly host: string; readonly port: number }

export type Outcome<T> =
  /** `server`: index of the one that answered. Times: performance.now() before sending and after receiving. */
  | {
      readonly type: 'ok'
      readonly value: T
      readonly zxid: number
      readonly startMs: number
      readonly endMs: number
      readonly server: number
    }
  | {
      readonly type: 'error'
      readonly code: number
      readonly zxid: number
      readonly startMs: number
      readonly endMs: number
      readonly server: number
    }
  /** Sent, and the connection ended before the reply. */
  | { readonly type: 'unknown'; readonly startMs: number; readonly server: number }
  /** Never sent: the session is over, or the connection was lost before. */
  | { readonly type: 'unsent' }

/** A request and how to read the body of its success. */
export type Request<T> = {
  readonly op: number
  readonly body: Buffer
  readonly decode: (decoder: Decoder) => T
  /** The watch that a success sets; 'exist' also sets one if there is no znode. */
  readonly watch?: { readonly kind: WatchKind; readonly path: string }
  /** Called with the outcome before anything that the server sent after the reply is looked at. */
  readonly onOutcome?: (outcome: Outcome<T>) => void
}

export type WatchKind = 'data' | 'exist' | 'child'

export type WatchEvent = { readonly type: number; readonly path: string; readonly server: number }

export type SessionOptions = {
  readonly name: string
  readonly servers: readonly Endpoint[]
  readonly timeoutMs: number
  readonly prng: Prng
  /** Only this server, by index; for checks that ask each server for its own state. */
  readonly pinned?: number
  readonly onEvent?: (event: WatchEvent) => void
}

type Pending = {
  readonly xid: number
  readonly startMs: number
  readonly settle: (outcome: Outcome<unknown>) => void
  readonly decode: (decoder: Decoder) => unknown
  readonly watch: Request<unknown>['watch']
}

type Connection = {
  readonly socket: net.Socket
  readonly server: number
  readonly pending: Pending[]
  readonly closed: Promise<void>
  heardMs: number
  pingedMs: number
}

/** How long a server may take to accept a connection and answer the handshake before the next one is tried. */
const handshakeBoundMs = 1_500
/** Between two rounds over all servers, so that clients of an ensemble without a leader do not keep the machine busy. */
const pauseBetweenRoundsMs = 60
const pingXid = -2
const setWatchesXid = -8
const eventXid = -1
const deleted = 2
const childrenChanged = 4

/** Requests of the workloads. */
export const request = {
  create: (path: string, data: string, flags = 0): Request<string> => ({
    op: Op.create,
    body: body.create(path, { data, flags }),
    decode: (decoder) => decoder.text(),
  }),
  set: (path: string, data: string, version = -1): Request<{ version: number; mzxid: number }> => ({
    op: Op.setData,
    body: body.setData(path, data, version),
    decode: readStat,
  }),
  delete: (path: string, version = -1): Request<void> => ({
    op: Op.delete,
    body: body.pathVersion(path, version),
    decode: () => {},
  }),
  get: (path: string, watch = false): Request<{ data: string; version: number; mzxid: number }> => ({
    op: Op.getData,
    body: body.pathWatch(path, watch),
    decode: (decoder) => ({ data: (decoder.buffer() ?? '').toString(), ...readStat(decoder) }),
    ...(watch && { watch: { kind: 'data', path } as const }),
  }),
  exists: (path: string, watch = false): Request<{ version: number; mzxid: number }> => ({
    op: Op.exists,
    body: body.pathWatch(path, watch),
    decode: readStat,
    ...(watch && { watch: { kind: 'exist', path } as const }),
  }),
  children: (path: string, watch = false): Request<string[]> => ({
    op: Op.getChildren,
    body: body.pathWatch(path, watch),
    decode: (decoder) => decoder.texts(),
    ...(watch && { watch: { kind: 'child', path } as const }),
  }),
  sync: (path: string): Request<string> => ({
    op: Op.sync,
    body: body.path(path),
    decode: (decoder) => decoder.text(),
  }),
  /** Sets `path` only if `check` exists; false: it does not. A multi is done as a whole, so its first result tells. */
  checkAndSet: (check: string, path: string, data: string): Request<boolean> => ({
    op: Op.multi,
    body: body.multi([
      { type: Op.check, body: body.pathVersion(check, -1) },
      { type: Op.setData, body: body.setData(path, data, -1) },
    ]),
    decode: (decoder) => decoder.int() !== -1,
  }),
}

function readStat(decoder: Decoder): { version: number; mzxid: number } {
  const stat = decoder.stat()
  return { version: stat.version, mzxid: Number(stat.mzxid) }
}

/** A session with the ensemble. It connects by itself from its construction until `close` or `abandon`. */
export class Session {
  readonly name: string
  /** 'open' also while there is no connection. */
  state: 'new' | 'open' | 'expired' | 'closed' = 'new'
  id = 0n
  /** Negotiated. */
  timeoutMs: number
  /** How often it attached to a server after the first time. */
  moves = 0
  /** When the last request that was answered had been sent. */
  lastHeardMs = 0
  /** Resolves when the session is over, for whatever reason. */
  readonly over: Promise<void>
  /** What servers did that they may never do to a session. */
  readonly breaches: string[] = []

  readonly #options: SessionOptions
  readonly #order: number[]
  readonly #watches = { data: new Set<string>(), exist: new Set<string>(), child: new Set<string>() }
  readonly #waiters: (() => void)[] = []
  readonly #ended: Promise<void>
  readonly #abort = new AbortController()
  #passwd = Buffer.alloc(16)
  #lastZxid = 0
  #nextXid = 1
  #connection: Connection | undefined
  #attempt: net.Socket | undefined

  constructor(options: SessionOptions) {
    this.#options = options
    this.name = options.name
    this.timeoutMs = options.timeoutMs
    const all = options.servers.map((_, index) => index)
    this.#order = options.pinned === undefined ? options.prng.shuffle(all) : [options.pinned]
    this.over = new Promise((resolve) => this.#abort.signal.addEventListener('abort', () => resolve()))
    this.#ended = this.#run()
  }

  get isOver(): boolean {
    return this.state === 'expired' || this.state === 'closed'
  }

  /** Index of the server it is connected to, or undefined. */
  get server(): number | undefined {
    return this.#connection?.server
  }

  /** Resolves with true once connected, with false once the session is over. */
  async ready(): Promise<boolean> {
    while (this.#connection === undefined && !this.isOver) {
      await new Promise<void>((resolve) => this.#waiters.push(resolve))
    }
    return !this.isOver
  }

  /** Waits for a connection and sends. */
  async call<T>(what: Request<T>): Promise<Outcome<T>> {
    return (await this.ready()) ? this.send(what) : { type: 'unsent' }
  }

  /** Sends on the present connection, if there is one; requests sent in one go are answered by one server. */
  send<T>(what: Request<T>): Promise<Outcome<T>> {
    return this.#connection === undefined
      ? Promise.resolve({ type: 'unsent' })
      : this.#write(what, this.#nextXid++)
  }

  /** Waits for a connection and sends a sync with the request right behind it: what it then reads is not old. */
  async synced<T>(path: string, what: Request<T>): Promise<Outcome<T>> {
    if (!(await this.ready())) return { type: 'unsent' }
    const startMs = performance.now()
    const syncing = this.send(request.sync(path))
    const reading = this.send(what)
    const [sync, read] = await Promise.all([syncing, reading])
    if (sync.type === 'unsent' || read.type === 'unsent') return { type: 'unsent' }
    if (sync.type !== 'ok' || read.type === 'unknown')
      return { type: 'unknown', startMs, server: sync.server }
    return { ...read, startMs }
  }

  /** Ends the session at the servers; resolves with when that was confirmed, or undefined if it was not. */
  async close(): Promise<number | undefined> {
    const outcome = await this.call({ op: Op.closeSession, body: Buffer.alloc(0), decode: () => {} })
    await this.abandon()
    return outcome.type === 'ok' ? outcome.endMs : undefined
  }

  /** Goes silent: the servers will let the session expire. */
  async abandon(): Promise<void> {
    if (!this.isOver) this.#over('closed')
    await this.#ended
  }

  /** Cuts the connection, as a broken network would; the session goes on. */
  cut(): void {
    const connection = this.#connection
    if (connection === undefined) return
    connection.socket.destroy()
    this.#lost(connection)
  }

  #over(state: 'expired' | 'closed'): void {
    this.state = state
    this.#abort.abort()
    this.#attempt?.destroy()
    this.#connection?.socket.destroy()
    for (const wake of this.#waiters.splice(0)) wake()
  }

  async #run(): Promise<void> {
    for (let failures = 0; !this.isOver; ) {
      const server = this.#order.shift() as number
      this.#order.push(server)
      const connection = await this.#attach(server)
      if (connection !== undefined) {
        failures = 0
        await connection.closed
      } else if (++failures % this.#order.length === 0) {
        await delay(pauseBetweenRoundsMs, undefined, { signal: this.#abort.signal }).catch(() => {})
      }
    }
  }

  /** Tries one server. undefined: it did not take the session. */
  #attach(server: number): Promise<Connection | undefined> {
    const startMs = performance.now()
    const socket = net.connect({ ...(this.#options.servers[server] as Endpoint), noDelay: true })
    this.#attempt = socket
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
    const connection: Connection = {
      socket,
      server,
      pending: [],
      closed,
      heardMs: startMs,
      pingedMs: startMs,
    }
    return new Promise((resolve) => {
      const bound = setTimeout(() => socket.destroy(), handshakeBoundMs)
      let isAttached = false
      const receive = splitFrames((payload) => {
        if (isAttached) {
          this.#receive(connection, payload)
          return
        }
        isAttached = true
        clearTimeout(bound)
        resolve(this.#answered(connection, payload, startMs) ? connection : undefined)
      })
      socket.on('error', () => {})
      socket.on('data', receive)
      socket.once('connect', () => socket.write(frame(this.#handshake())))
      socket.once('close', () => {
        clearTimeout(bound)
        this.#lost(connection)
        resolve(undefined)
      })
    })
  }

  #handshake(): Buffer {
    return connectRequest({
      timeout: this.#options.timeoutMs,
      sessionId: this.id,
      passwd: this.#passwd,
      lastZxidSeen: BigInt(this.#lastZxid),
    })
  }

  /** The answer to the handshake; true: attached. */
  #answered(connection: Connection, payload: Buffer, startMs: number): boolean {
    const decoder = new Decoder(payload)
    decoder.int()
    const timeoutMs = decoder.int()
    const id = decoder.long()
    const passwd = decoder.buffer()
    if (this.isOver) return false
    if (timeoutMs === 0) {
      if (this.id === 0n) connection.socket.destroy()
      else this.#over('expired')
      return false
    }
    if (this.id !== 0n && this.id !== id) {
      this.breaches.push(`${this.name}: attached as session ${this.id}, the server says ${id}`)
    }
    if (this.state === 'new') this.state = 'open'
    else this.moves++
    this.id = id
    this.#passwd = Buffer.from(passwd ?? '')
    this.timeoutMs = timeoutMs
    this.lastHeardMs = Math.max(this.lastHeardMs, startMs)
    connection.heardMs = performance.now()
    this.#connection = connection
    this.#setWatchesAgain()
    this.#keepAlive(connection)
    for (const wake of this.#waiters.splice(0)) wake()
    return true
  }

  #setWatchesAgain(): void {
    const { data, exist, child } = this.#watches
    if (data.size + exist.size + child.size === 0) return
    const lists = [data, exist, child].map((paths) => new Encoder().texts([...paths]).bytes())
    const relative = new Encoder().long(BigInt(this.#lastZxid)).bytes()
    this.#write(
      { op: Op.setWatches, body: Buffer.concat([relative, ...lists]), decode: () => {} },
      setWatchesXid,
    )
  }

  #keepAlive(connection: Connection): void {
    const timer = setInterval(() => {
      const now = performance.now()
      if (now - connection.heardMs > (this.timeoutMs * 2) / 3) connection.socket.destroy()
      else if (now - connection.pingedMs > this.timeoutMs / 3) {
        connection.pingedMs = now
        this.#write({ op: Op.ping, body: Buffer.alloc(0), decode: () => {} }, pingXid)
      }
    }, this.timeoutMs / 12)
    void connection.closed.then(() => clearInterval(timer))
  }

  /** Queues a reply's place and sends. Only while connected. */
  #write<T>(what: Request<T>, xid: number): Promise<Outcome<T>> {
    const { op, body: bytes, decode, watch, onOutcome } = what
    const connection = this.#connection as Connection
    const startMs = performance.now()
    return new Promise((resolve) => {
      const settle = (settled: Outcome<unknown>) => {
        // What `decode` returns goes to the caller that gave it, so the cast holds.
        const outcome = settled as Outcome<T>
        onOutcome?.(outcome)
        resolve(outcome)
      }
      connection.pending.push({ xid, startMs, decode, watch, settle })
      connection.socket.write(frame(new Encoder().int(xid).int(op).raw(bytes).bytes()))
    })
  }

  #lost(connection: Connection): void {
    if (this.#connection === connection) this.#connection = undefined
    for (const { startMs, settle } of connection.pending.splice(0)) {
      settle({ type: 'unknown', startMs, server: connection.server })
    }
  }

  #receive(connection: Connection, payload: Buffer): void {
    const endMs = performance.now()
    const { server } = connection
    connection.heardMs = endMs
    const decoder = new Decoder(payload)
    const xid = decoder.int()
    const zxid = Number(decoder.long())
    const code = decoder.int()
    if (xid === eventXid) {
      this.#onEvent(decoder, server)
      return
    }
    const head = connection.pending.shift()
    if (head === undefined || head.xid !== xid) {
      this.breaches.push(`${this.name}: server ${server} replied to xid ${xid}, expected ${head?.xid}`)
      if (head !== undefined) connection.pending.unshift(head)
      connection.socket.destroy()
      return
    }
    if (zxid > 0 && zxid < this.#lastZxid) {
      const [from, to] = [this.#lastZxid.toString(16), zxid.toString(16)]
      this.breaches.push(`${this.name}: zxid went back from ${from} to ${to} at server ${server}`)
    }
    this.#lastZxid = Math.max(this.#lastZxid, zxid)
    this.lastHeardMs = Math.max(this.lastHeardMs, head.startMs)
    const times = { zxid, startMs: head.startMs, endMs, server }
    if (head.watch !== undefined) this.#remember(head.watch, code)
    if (code !== 0) head.settle({ type: 'error', code, ...times })
    else head.settle({ type: 'ok', value: head.decode(decoder), ...times })
  }

  #remember({ kind, path }: { readonly kind: WatchKind; readonly path: string }, code: number): void {
    if (code === 0) this.#watches[kind === 'exist' ? 'data' : kind].add(path)
    else if (kind === 'exist' && code === Err.noNode) this.#watches.exist.add(path)
  }

  #onEvent(decoder: Decoder, server: number): void {
    const type = decoder.int()
    decoder.int()
    const path = decoder.text()
    const { data, exist, child } = this.#watches
    if (type !== childrenChanged) {
      data.delete(path)
      exist.delete(path)
    }
    if (type === childrenChanged || type === deleted) child.delete(path)
    this.#options.onEvent?.({ type, path, server })
  }
}

/** Cuts a stream into frames. */
function splitFrames(onFrame: (payload: Buffer) => void): (chunk: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0)
  return (chunk) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    while (rest.length >= 4 && rest.length >= 4 + rest.readInt32BE()) {
      const end = 4 + rest.readInt32BE()
      const payload = rest.subarray(4, end)
      rest = rest.subarray(end)
      onFrame(payload)
    }
  }
}

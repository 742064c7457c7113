// A small, strict client of ZooKeeper's wire protocol for tests, with an encoder and a decoder of its own, so that a
// fault in src/jute cannot hide behind itself. It shows everything it received, in order, and fails the test on any
// byte too many, reply out of order or body behind an error. It never reconnects, retries or sleeps.
import net from 'node:net'

/** How long an awaited reply, event or close may take before the test fails, in milliseconds. */
export const defaultBoundMs = 15_000

/** Opcodes as they go on the wire. */
export const Op = {
  create: 1,
  delete: 2,
  exists: 3,
  getData: 4,
  setData: 5,
  getAcl: 6,
  setAcl: 7,
  getChildren: 8,
  sync: 9,
  ping: 11,
  getChildren2: 12,
  check: 13,
  multi: 14,
  create2: 15,
  reconfig: 16,
  checkWatches: 17,
  removeWatches: 18,
  createContainer: 19,
  deleteContainer: 20,
  createTtl: 21,
  multiRead: 22,
  auth: 100,
  setWatches: 101,
  sasl: 102,
  getEphemerals: 103,
  getAllChildrenNumber: 104,
  setWatches2: 105,
  addWatch: 106,
  whoAmI: 107,
  createSession: -10,
  closeSession: -11,
} as const

/** Create flags. */
export const Flag = {
  persistent: 0,
  ephemeral: 1,
  sequential: 2,
  ephemeralSequential: 3,
  container: 4,
  ttl: 5,
  ttlSequential: 6,
} as const

/** Error codes that the tests name. */
export const Err = {
  ok: 0,
  runtimeInconsistency: -2,
  marshalling: -5,
  unimplemented: -6,
  badArguments: -8,
  noNode: -101,
  noAuth: -102,
  badVersion: -103,
  noChildrenForEphemerals: -108,
  nodeExists: -110,
  notEmpty: -111,
  invalidAcl: -114,
  authFailed: -115,
  noWatcher: -121,
  reconfigDisabled: -123,
  quotaExceeded: -125,
} as const

/** A string field: text, exact bytes (for input that is not valid UTF-8), or null (length -1). */
export type Text = string | Buffer | null

export type Acl = { readonly perms: number; readonly scheme: Text; readonly id: Text }
export type ReadAcl = { readonly perms: number; readonly scheme: string; readonly id: string }

export const openAcl: readonly Acl[] = [{ perms: 31, scheme: 'world', id: 'anyone' }]

export type Stat = {
  readonly czxid: bigint
  readonly mzxid: bigint
  readonly ctime: bigint
  readonly mtime: bigint
  readonly version: number
  readonly cversion: number
  readonly aversion: number
  readonly ephemeralOwner: bigint
  readonly dataLength: number
  readonly numChildren: number
  readonly pzxid: bigint
}

/** Writes jute: big-endian, records are just their fields one after the other. */
export class Encoder {
  readonly #parts: Buffer[] = []

  raw(bytes: Buffer): this {
    this.#parts.push(bytes)
    return this
  }
  int(value: number): this {
    const bytes = Buffer.alloc(4)
    bytes.writeInt32BE(value)
    return this.raw(bytes)
  }
  long(value: bigint): this {
    const bytes = Buffer.alloc(8)
    bytes.writeBigInt64BE(BigInt.asIntN(64, value))
    return this.raw(bytes)
  }
  byte(value: number): this {
    return this.raw(Buffer.from([value]))
  }
  bool(value: boolean): this {
    return this.byte(value ? 1 : 0)
  }
  buffer(value: Buffer | null): this {
    return value === null ? this.int(-1) : this.int(value.length).raw(value)
  }
  text(value: Text): this {
    return this.buffer(typeof value === 'string' ? Buffer.from(value, 'utf8') : value)
  }
  list<T>(items: readonly T[] | null, write: (item: T) => void): this {
    this.int(items === null ? -1 : items.length)
    for (const item of items ?? []) write(item)
    return this
  }
  texts(items: readonly Text[] | null): this {
    return this.list(items, (item) => this.text(item))
  }
  acl(entries: readonly Acl[] | null): this {
    return this.list(entries, (entry) => this.int(entry.perms).text(entry.scheme).text(entry.id))
  }
  bytes(): Buffer {
    return Buffer.concat(this.#parts)
  }
}

/** Reads jute strictly: `end` throws if a byte is left, every other method if one is missing. */
export class Decoder {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }
  #take(length: number): Buffer {
    if (length < 0 || this.#at + length > this.#bytes.length) {
      throw new Error(`wanted ${length} bytes at ${this.#at} of ${this.#bytes.toString('hex')}`)
    }
    this.#at += length
    return this.#bytes.subarray(this.#at - length, this.#at)
  }
  int(): number {
    return this.#take(4).readInt32BE()
  }
  long(): bigint {
    return this.#take(8).readBigInt64BE()
  }
  bool(): boolean {
    const value = this.#take(1)[0]
    if (value !== 0 && value !== 1) throw new Error(`a boolean of ${value}`)
    return value === 1
  }
  buffer(): Buffer | null {
    const length = this.int()
    return length === -1 ? null : Buffer.from(this.#take(length))
  }
  text(): string {
    const bytes = this.buffer()
    if (bytes === null) throw new Error('a null string where none may be')
    return bytes.toString('utf8')
  }
  list<T>(read: () => T): T[] {
    const count = this.int()
    if (count < 0) throw new Error(`a list of ${count} elements`)
    const items: T[] = []
    for (let i = 0; i < count; i++) items.push(read())
    return items
  }
  texts(): string[] {
    return this.list(() => this.text())
  }
  stat(): Stat {
    return {
      czxid: this.long(),
      mzxid: this.long(),
      ctime: this.long(),
      mtime: this.long(),
      version: this.int(),
      cversion: this.int(),
      aversion: this.int(),
      ephemeralOwner: this.long(),
      dataLength: this.int(),
      numChildren: this.int(),
      pzxid: this.long(),
    }
  }
  acl(): ReadAcl[] {
    return this.list(() => ({ perms: this.int(), scheme: this.text(), id: this.text() }))
  }
  end(): void {
    if (this.#at !== this.#bytes.length) {
      throw new Error(`${this.#bytes.length - this.#at} bytes too many in ${this.#bytes.toString('hex')}`)
    }
  }
}

/** Prefixes a payload with its length. */
export function frame(payload: Buffer): Buffer {
  return new Encoder().buffer(payload).bytes()
}

export type ConnectOptions = {
  readonly protocolVersion?: number
  readonly lastZxidSeen?: bigint
  /** milliseconds; default: longer than any test file runs, if the server allows it */
  readonly timeout?: number
  readonly sessionId?: bigint
  readonly passwd?: Buffer | null
  /** 'absent': the byte is left out, as clients before 3.4 did. A number is written as that byte. */
  readonly readOnly?: boolean | 'absent' | number
}

export type ConnectResponse = {
  readonly protocolVersion: number
  /** negotiated, milliseconds; 0 = refused */
  readonly timeout: number
  readonly sessionId: bigint
  readonly passwd: Buffer
  /** undefined: the byte was not sent */
  readonly readOnly: boolean | undefined
  /** the frame's payload */
  readonly raw: Buffer
}

export type Reply = {
  readonly kind: 'reply'
  readonly xid: number
  readonly zxid: bigint
  readonly err: number
  readonly body: Buffer
  /** the frame's payload */
  readonly raw: Buffer
}

export type WatchEvent = {
  readonly kind: 'event'
  readonly zxid: bigint
  readonly type: number
  readonly state: number
  readonly path: string
  /** `NodeCreated /path`, for assertions */
  readonly text: string
  /** the frame's payload */
  readonly raw: Buffer
}

/** What a typed request resolves to: the header, and the decoded body unless `err` is set. */
export type Answer<T> = Reply & { readonly value: T | undefined }

export type Created = { readonly path: string; readonly stat: Stat }

const eventNames = new Map([
  [1, 'NodeCreated'],
  [2, 'NodeDeleted'],
  [3, 'NodeDataChanged'],
  [4, 'NodeChildrenChanged'],
])

/** The connection ended while something was awaited on it. */
export class ClosedError extends Error {
  override readonly name = 'ClosedError'
}

/** Rejects if `promise` has not settled within `boundMs`. */
export async function within<T>(promise: Promise<T>, what: string, boundMs = defaultBoundMs): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${boundMs} ms`)), boundMs)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

/** The decoded body of a request that must succeed. */
export async function ok<T>(answer: Promise<Answer<T>>): Promise<T> {
  const { err, value } = await answer
  if (err !== 0) throw new Error(`expected success, got error ${err}`)
  return value as T
}

/** The error code of an answer, 0 for success. */
export async function code(answer: Promise<Reply>): Promise<number> {
  return (await answer).err
}

/** Encodes the payload of a ConnectRequest. */
export function connectRequest(options: ConnectOptions = {}): Buffer {
  const encoder = new Encoder()
    .int(options.protocolVersion ?? 0)
    .long(options.lastZxidSeen ?? 0n)
    .int(options.timeout ?? 300_000)
    .long(options.sessionId ?? 0n)
    .buffer(options.passwd === undefined ? Buffer.alloc(16) : options.passwd)
  const readOnly = options.readOnly ?? false
  if (readOnly !== 'absent') encoder.byte(Number(readOnly))
  return encoder.bytes()
}

/** One operation inside a multi or multiRead. */
export type MultiOp = { readonly type: number; readonly body: Buffer }

/** One result inside a multi or multiRead reply. */
export type MultiResult =
  | { readonly type: -1; readonly err: number }
  | { readonly type: 1; readonly path: string }
  | { readonly type: 15; readonly path: string; readonly stat: Stat }
  | { readonly type: 5; readonly stat: Stat }
  | { readonly type: 2 | 13 }
  | { readonly type: 8; readonly children: readonly string[] }
  | { readonly type: 4; readonly data: Buffer | null; readonly stat: Stat }

export type CreateOptions = {
  readonly data?: Buffer | string | null
  readonly acl?: readonly Acl[] | null
  readonly flags?: number
}

function dataOf(data: Buffer | string | null | undefined): Buffer | null {
  return typeof data === 'string' ? Buffer.from(data) : (data ?? null)
}

/** Request bodies by operation, for requests, multi and deliberate damage alike. */
export const body = {
  create: (path: Text, options: CreateOptions = {}) =>
    new Encoder()
      .text(path)
      .buffer(dataOf(options.data))
      .acl(options.acl === undefined ? openAcl : options.acl)
      .int(options.flags ?? 0)
      .bytes(),
  createTtl: (path: Text, ttl: bigint, options: CreateOptions = {}) =>
    Buffer.concat([
      body.create(path, { ...options, flags: options.flags ?? Flag.ttl }),
      new Encoder().long(ttl).bytes(),
    ]),
  pathVersion: (path: Text, version = -1) => new Encoder().text(path).int(version).bytes(),
  pathWatch: (path: Text, watch = false) => new Encoder().text(path).bool(watch).bytes(),
  path: (path: Text) => new Encoder().text(path).bytes(),
  setData: (path: Text, data: Buffer | string | null, version = -1) =>
    new Encoder().text(path).buffer(dataOf(data)).int(version).bytes(),
  setAcl: (path: Text, acl: readonly Acl[] | null, version = -1) =>
    new Encoder().text(path).acl(acl).int(version).bytes(),
  auth: (scheme: Text, auth: Buffer | string | null, type = 0) =>
    new Encoder().int(type).text(scheme).buffer(dataOf(auth)).bytes(),
  multi: (ops: readonly MultiOp[]) => {
    const encoder = new Encoder()
    for (const op of ops) encoder.int(op.type).bool(false).int(-1).raw(op.body)
    return encoder.int(-1).bool(true).int(-1).bytes()
  },
} as const

/** Operations for `multi` and `multiRead`. */
export const multiOp = {
  create: (path: Text, options: CreateOptions = {}): MultiOp => ({
    type: Op.create,
    body: body.create(path, options),
  }),
  create2: (path: Text, options: CreateOptions = {}): MultiOp => ({
    type: Op.create2,
    body: body.create(path, options),
  }),
  createContainer: (path: Text, options: CreateOptions = {}): MultiOp => ({
    type: Op.createContainer,
    body: body.create(path, { ...options, flags: options.flags ?? Flag.container }),
  }),
  createTtl: (path: Text, ttl: bigint, options: CreateOptions = {}): MultiOp => ({
    type: Op.createTtl,
    body: body.createTtl(path, ttl, options),
  }),
  delete: (path: Text, version = -1): MultiOp => ({
    type: Op.delete,
    body: body.pathVersion(path, version),
  }),
  setData: (path: Text, data: Buffer | string | null, version = -1): MultiOp => ({
    type: Op.setData,
    body: body.setData(path, data, version),
  }),
  check: (path: Text, version = -1): MultiOp => ({ type: Op.check, body: body.pathVersion(path, version) }),
  getChildren: (path: Text, watch = false): MultiOp => ({
    type: Op.getChildren,
    body: body.pathWatch(path, watch),
  }),
  getData: (path: Text, watch = false): MultiOp => ({ type: Op.getData, body: body.pathWatch(path, watch) }),
} as const

function decodeMulti(decoder: Decoder): MultiResult[] {
  const results: MultiResult[] = []
  for (;;) {
    const type = decoder.int()
    const done = decoder.bool()
    const err = decoder.int()
    if (done) {
      if (type !== -1 || err !== -1) throw new Error(`multi ends with type ${type}, err ${err}`)
      return results
    }
    results.push(decodeMultiResult(decoder, type, err))
  }
}

function decodeMultiResult(decoder: Decoder, type: number, err: number): MultiResult {
  if (type === -1) {
    const again = decoder.int()
    if (again !== err) throw new Error(`multi: header says ${err}, result ${again}`)
    return { type, err }
  }
  if (err !== 0) throw new Error(`multi: result of type ${type} with error ${err}`)
  switch (type) {
    case 1:
      return { type, path: decoder.text() }
    case 15:
      return { type, path: decoder.text(), stat: decoder.stat() }
    case 5:
      return { type, stat: decoder.stat() }
    case 2:
    case 13:
      return { type }
    case 8:
      return { type, children: decoder.texts() }
    case 4:
      return { type, data: decoder.buffer(), stat: decoder.stat() }
    default:
      throw new Error(`multi: result of type ${type}`)
  }
}

type Pending = {
  /** the xid that its reply must carry */
  readonly xid: number
  readonly resolve: (reply: Reply) => void
  readonly reject: (error: Error) => void
}

export type RequestOptions = {
  /** default: the next one, counting from 1 */
  readonly xid?: number
  /** the xid that the reply must carry, if it is another (ping) */
  readonly replyXid?: number
  /** auth and sasl may be answered before earlier requests */
  readonly outOfOrder?: boolean
}

/** One TCP connection. `connect` opens one with a session; `RawClient.dial` opens one that has said nothing yet. */
export class RawClient {
  /** Everything received after the handshake, in the order it came. */
  readonly frames: (Reply | WatchEvent)[] = []
  /** Every byte received before it was cut into frames. */
  bytesReceived = 0
  readonly #socket: net.Socket
  #session: ConnectResponse | undefined
  #handshake: { resolve: (response: ConnectResponse) => void; reject: (error: Error) => void } | undefined
  #handshakeReadOnly = true
  #input: Buffer = Buffer.alloc(0)
  #pending: Pending[] = []
  #outOfOrder: Pending[] = []
  #batch: Buffer[] | undefined
  #nextXid = 1
  #eventsTaken = 0
  #eventWaiters: (() => void)[] = []
  #failure: Error | undefined
  #isClosed = false
  readonly #closed: Promise<void>
  readonly #connected: Promise<void>
  #keepAlive: NodeJS.Timeout | undefined

  private constructor(socket: net.Socket) {
    this.#socket = socket
    socket.setNoDelay(true)
    socket.on('data', (chunk) => this.#onData(chunk))
    this.#connected = new Promise((resolve, reject) => {
      socket.once('connect', resolve)
      // A reset is a way to be closed, even right after accept; 'close' follows and settles everything.
      socket.on('error', (error: NodeJS.ErrnoException) => {
        if (error.code === 'ECONNRESET' || error.code === 'EPIPE') resolve()
        else reject(error)
      })
    })
    socket.on('end', () => socket.end())
    this.#closed = new Promise((resolve) => {
      socket.on('close', () => {
        this.#onClose()
        resolve()
      })
    })
  }

  /** Opens the TCP connection and sends nothing. */
  static async dial(port: number, host = '127.0.0.1'): Promise<RawClient> {
    const client = new RawClient(net.connect({ port, host }))
    await within(client.#connected, 'TCP connect')
    return client
  }

  /** The handshake's answer; throws before there is one. */
  get session(): ConnectResponse {
    if (this.#session === undefined) throw new Error('no handshake yet')
    return this.#session
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  /** The local end of the connection as the server sees it: `127.0.0.1:50000`. */
  get localAddress(): string {
    return `${this.#socket.localAddress}:${this.#socket.localPort}`
  }

  /** The fields that resume this session on another connection. */
  get credentials(): { sessionId: bigint; passwd: Buffer } {
    return { sessionId: this.session.sessionId, passwd: this.session.passwd }
  }

  #onData(chunk: Buffer): void {
    this.bytesReceived += chunk.length
    this.#input = Buffer.concat([this.#input, chunk])
    while (this.#input.length >= 4) {
      const length = this.#input.readInt32BE()
      if (length < 0 || length > 64 * 1024 * 1024) {
        this.#fail(new Error(`frame of ${length} bytes`))
        return
      }
      if (this.#input.length < 4 + length) return
      const payload = this.#input.subarray(4, 4 + length)
      this.#input = this.#input.subarray(4 + length)
      try {
        this.#onFrame(payload)
      } catch (error) {
        this.#fail(error instanceof Error ? error : new Error(String(error)))
        return
      }
    }
  }

  #onFrame(payload: Buffer): void {
    if (this.#handshake !== undefined) {
      this.#onConnectResponse(payload)
      return
    }
    const decoder = new Decoder(payload)
    const xid = decoder.int()
    const zxid = decoder.long()
    const err = decoder.int()
    if (xid === -1) {
      this.#onEvent(decoder, zxid, err, payload)
      return
    }
    if (err !== 0) decoder.end()
    const reply: Reply = { kind: 'reply', xid, zxid, err, body: payload.subarray(16), raw: payload }
    this.frames.push(reply)
    const early = this.#outOfOrder.findIndex((pending) => pending.xid === xid)
    if (early >= 0) {
      this.#outOfOrder.splice(early, 1)[0]?.resolve(reply)
      return
    }
    const head = this.#pending.shift()
    if (head === undefined) throw new Error(`reply with xid ${xid} to nothing`)
    if (head.xid !== xid) {
      this.#pending.unshift(head)
      throw new Error(`reply with xid ${xid} where ${head.xid} is next`)
    }
    head.resolve(reply)
  }

  #onEvent(decoder: Decoder, zxid: bigint, err: number, raw: Buffer): void {
    if (err !== 0) throw new Error(`an event with error ${err}`)
    const type = decoder.int()
    const state = decoder.int()
    const path = decoder.text()
    decoder.end()
    const text = `${eventNames.get(type) ?? `type ${type}`} ${path}`
    this.frames.push({ kind: 'event', zxid, type, state, path, text, raw })
    for (const wake of this.#eventWaiters.splice(0)) wake()
  }

  #onConnectResponse(payload: Buffer): void {
    const decoder = new Decoder(payload)
    const protocolVersion = decoder.int()
    const timeout = decoder.int()
    const sessionId = decoder.long()
    const passwd = decoder.buffer()
    if (passwd === null) throw new Error('a null password')
    const readOnly = this.#handshakeReadOnly ? decoder.bool() : undefined
    decoder.end()
    this.#session = { protocolVersion, timeout, sessionId, passwd, readOnly, raw: payload }
    const waiting = this.#handshake
    this.#handshake = undefined
    waiting?.resolve(this.#session)
  }

  /** A breach of protocol by the server: everything that waits, now or later, is told. */
  #fail(error: Error): void {
    this.#failure ??= error
    this.#socket.destroy()
    this.#rejectAll(error)
  }

  #onClose(): void {
    this.#isClosed = true
    clearInterval(this.#keepAlive)
    this.#rejectAll(this.#failure ?? new ClosedError('the connection was closed'))
  }

  #rejectAll(error: Error): void {
    this.#handshake?.reject(error)
    this.#handshake = undefined
    for (const pending of [...this.#pending.splice(0), ...this.#outOfOrder.splice(0)]) pending.reject(error)
    for (const wake of this.#eventWaiters.splice(0)) wake()
  }

  /** Sends bytes as they are. */
  sendRaw(bytes: Buffer): void {
    if (this.#batch !== undefined) this.#batch.push(bytes)
    else this.#socket.write(bytes)
  }

  /** Everything that `send` sends goes out as one write, so that the server may get it in one chunk. */
  batch<T>(send: () => T): T {
    this.#batch = []
    const result = send()
    const bytes = Buffer.concat(this.#batch)
    this.#batch = undefined
    this.#socket.write(bytes)
    return result
  }

  /** Sends a ConnectRequest. Rejects with ClosedError if the server closes without an answer. */
  handshake(options: ConnectOptions = {}): Promise<ConnectResponse> {
    return this.handshakeRaw(connectRequest(options), options.readOnly !== 'absent')
  }

  /** As `handshake`, with a payload of the caller's making; `readOnly` says whether the byte must come back. */
  handshakeRaw(payload: Buffer, readOnly = true): Promise<ConnectResponse> {
    return this.handshakeTail(frame(payload), readOnly)
  }

  /** Sends the last bytes of a ConnectRequest whose beginning was sent with `sendRaw`. */
  handshakeTail(bytes: Buffer, readOnly = true): Promise<ConnectResponse> {
    this.#handshakeReadOnly = readOnly
    const response = new Promise<ConnectResponse>((resolve, reject) => {
      if (this.#isClosed) reject(new ClosedError('the connection was closed'))
      else this.#handshake = { resolve, reject }
    })
    response.catch(() => {})
    this.sendRaw(bytes)
    return within(response, 'connect response')
  }

  /** Sends any request. Rejects with ClosedError if the connection ends first. */
  request(op: number, requestBody: Buffer, options: RequestOptions = {}): Promise<Reply> {
    const xid = options.xid ?? this.#nextXid++
    const bytes = frame(new Encoder().int(xid).int(op).raw(requestBody).bytes())
    return this.requestRaw(bytes, { ...options, xid })
  }

  /** Sends bytes that the caller knows to be one request; `xid` is what its reply must carry. */
  requestRaw(bytes: Buffer, options: RequestOptions & { readonly xid: number }): Promise<Reply> {
    const { xid } = options
    const reply = new Promise<Reply>((resolve, reject) => {
      if (this.#isClosed || this.#failure !== undefined) {
        reject(this.#failure ?? new ClosedError('the connection was closed'))
        return
      }
      const pending: Pending = { xid: options.replyXid ?? xid, resolve, reject }
      if (options.outOfOrder === true) this.#outOfOrder.push(pending)
      else this.#pending.push(pending)
    })
    reply.catch(() => {})
    this.sendRaw(bytes)
    const bounded = within(reply, `reply with xid ${xid}`)
    // The caller may look at pipelined replies later, or never.
    bounded.catch(() => {})
    return bounded
  }

  /** A request whose successful body `decode` must consume completely. */
  call<T>(
    op: number,
    requestBody: Buffer,
    decode: (decoder: Decoder) => T,
    options: RequestOptions = {},
  ): Promise<Answer<T>> {
    const answer = this.request(op, requestBody, options).then((reply) => {
      if (reply.err !== 0) return { ...reply, value: undefined }
      const decoder = new Decoder(reply.body)
      const value = decode(decoder)
      decoder.end()
      return { ...reply, value }
    })
    answer.catch(() => {})
    return answer
  }

  create(path: Text, options: CreateOptions = {}): Promise<Answer<string>> {
    return this.call(Op.create, body.create(path, options), (d) => d.text())
  }
  create2(path: Text, options: CreateOptions = {}): Promise<Answer<Created>> {
    return this.call(Op.create2, body.create(path, options), created)
  }
  createContainer(path: Text, options: CreateOptions = {}): Promise<Answer<Created>> {
    const withFlags = { ...options, flags: options.flags ?? Flag.container }
    return this.call(Op.createContainer, body.create(path, withFlags), created)
  }
  /** `ttl` in milliseconds. */
  createTtl(path: Text, ttl: bigint, options: CreateOptions = {}): Promise<Answer<Created>> {
    return this.call(Op.createTtl, body.createTtl(path, ttl, options), created)
  }
  delete(path: Text, version = -1): Promise<Answer<void>> {
    return this.call(Op.delete, body.pathVersion(path, version), nothing)
  }
  exists(path: Text, watch = false): Promise<Answer<Stat>> {
    return this.call(Op.exists, body.pathWatch(path, watch), (d) => d.stat())
  }
  getData(path: Text, watch = false): Promise<Answer<{ data: Buffer | null; stat: Stat }>> {
    return this.call(Op.getData, body.pathWatch(path, watch), (d) => ({ data: d.buffer(), stat: d.stat() }))
  }
  setData(path: Text, data: Buffer | string | null, version = -1): Promise<Answer<Stat>> {
    return this.call(Op.setData, body.setData(path, data, version), (d) => d.stat())
  }
  getAcl(path: Text): Promise<Answer<{ acl: ReadAcl[]; stat: Stat }>> {
    return this.call(Op.getAcl, body.path(path), (d) => ({ acl: d.acl(), stat: d.stat() }))
  }
  setAcl(path: Text, acl: readonly Acl[] | null, version = -1): Promise<Answer<Stat>> {
    return this.call(Op.setAcl, body.setAcl(path, acl, version), (d) => d.stat())
  }
  getChildren(path: Text, watch = false): Promise<Answer<string[]>> {
    return this.call(Op.getChildren, body.pathWatch(path, watch), (d) => d.texts())
  }
  getChildren2(path: Text, watch = false): Promise<Answer<{ children: string[]; stat: Stat }>> {
    return this.call(Op.getChildren2, body.pathWatch(path, watch), (d) => ({
      children: d.texts(),
      stat: d.stat(),
    }))
  }
  sync(path: Text): Promise<Answer<string>> {
    return this.call(Op.sync, body.path(path), (d) => d.text())
  }
  ping(xid = -2): Promise<Answer<void>> {
    return this.call(Op.ping, Buffer.alloc(0), nothing, { xid, replyXid: -2 })
  }
  multi(ops: readonly MultiOp[]): Promise<Answer<MultiResult[]>> {
    return this.call(Op.multi, body.multi(ops), decodeMulti)
  }
  multiRead(ops: readonly MultiOp[]): Promise<Answer<MultiResult[]>> {
    return this.call(Op.multiRead, body.multi(ops), decodeMulti)
  }
  reconfig(
    joining: Text,
    leaving: Text,
    members: Text,
    configId = -1n,
  ): Promise<Answer<{ data: Buffer | null; stat: Stat }>> {
    const request = new Encoder().text(joining).text(leaving).text(members).long(configId).bytes()
    return this.call(Op.reconfig, request, (d) => ({ data: d.buffer(), stat: d.stat() }))
  }
  checkWatches(path: Text, type: number): Promise<Answer<void>> {
    return this.call(Op.checkWatches, body.pathVersion(path, type), nothing)
  }
  removeWatches(path: Text, type: number): Promise<Answer<void>> {
    return this.call(Op.removeWatches, body.pathVersion(path, type), nothing)
  }
  deleteContainer(path: Text): Promise<Answer<void>> {
    return this.call(Op.deleteContainer, body.path(path), nothing)
  }
  auth(scheme: Text, auth: Buffer | string | null, xid = -4): Promise<Answer<void>> {
    return this.call(Op.auth, body.auth(scheme, auth), nothing, { xid, outOfOrder: true })
  }
  sasl(token: Buffer | null): Promise<Answer<Buffer | null>> {
    return this.call(Op.sasl, new Encoder().buffer(token).bytes(), (d) => d.buffer(), { outOfOrder: true })
  }
  setWatches(
    relativeZxid: bigint,
    lists: { data?: readonly Text[] | null; exist?: readonly Text[] | null; child?: readonly Text[] | null },
    xid = -8,
  ): Promise<Answer<void>> {
    const { data = [], exist = [], child = [] } = lists
    const request = new Encoder().long(relativeZxid).texts(data).texts(exist).texts(child).bytes()
    return this.call(Op.setWatches, request, nothing, { xid })
  }
  setWatches2(
    relativeZxid: bigint,
    lists: {
      data?: readonly Text[] | null
      exist?: readonly Text[] | null
      child?: readonly Text[] | null
      persistent?: readonly Text[] | null
      recursive?: readonly Text[] | null
    },
    xid = -8,
  ): Promise<Answer<void>> {
    const { data = [], exist = [], child = [], persistent = [], recursive = [] } = lists
    const request = new Encoder()
      .long(relativeZxid)
      .texts(data)
      .texts(exist)
      .texts(child)
      .texts(persistent)
      .texts(recursive)
      .bytes()
    return this.call(Op.setWatches2, request, nothing, { xid })
  }
  getEphemerals(prefix: Text): Promise<Answer<string[]>> {
    return this.call(Op.getEphemerals, body.path(prefix), (d) => d.texts())
  }
  getAllChildrenNumber(path: Text): Promise<Answer<number>> {
    return this.call(Op.getAllChildrenNumber, body.path(path), (d) => d.int())
  }
  /** `mode` 0: persistent, 1: persistent recursive. The body of success is an int, 0. */
  addWatch(path: Text, mode: number): Promise<Answer<number>> {
    return this.call(Op.addWatch, body.pathVersion(path, mode), (d) => d.int())
  }
  whoAmI(): Promise<Answer<{ scheme: string; user: string }[]>> {
    return this.call(Op.whoAmI, Buffer.alloc(0), (d) => d.list(() => ({ scheme: d.text(), user: d.text() })))
  }
  closeSession(): Promise<Answer<void>> {
    return this.call(Op.closeSession, Buffer.alloc(0), nothing)
  }

  /** The events received and not yet taken, after a ping has pushed everything that came before it. */
  async events(): Promise<string[]> {
    await this.ping()
    return this.takeEvents().map((event) => event.text)
  }

  /** The events received and not yet taken. */
  takeEvents(): WatchEvent[] {
    const all = this.#allEvents()
    const fresh = all.slice(this.#eventsTaken)
    this.#eventsTaken = all.length
    return fresh
  }

  #allEvents(): WatchEvent[] {
    return this.frames.filter((received) => received.kind === 'event')
  }

  /** The oldest event not yet taken; waits for one. */
  async nextEvent(boundMs = defaultBoundMs): Promise<WatchEvent> {
    for (;;) {
      const event = this.#allEvents()[this.#eventsTaken]
      if (event !== undefined) {
        this.#eventsTaken++
        return event
      }
      if (this.#isClosed) throw this.#failure ?? new ClosedError('closed while waiting for an event')
      await within(new Promise<void>((resolve) => this.#eventWaiters.push(resolve)), 'an event', boundMs)
    }
  }

  /** The frames from index `from` on as short texts, events and replies in the order they came. */
  history(from = 0): string[] {
    return this.frames
      .slice(from)
      .map((received) => (received.kind === 'event' ? received.text : `reply ${received.xid}`))
  }

  /** Resolves when the connection has ended, whoever ended it; throws if it ended for a breach of protocol. */
  async closed(boundMs = defaultBoundMs): Promise<void> {
    await within(this.#closed, 'the server closes the connection', boundMs)
    if (this.#failure !== undefined) throw this.#failure
  }

  /** Sends a ping every `intervalMs` so that the session stays alive, until the connection ends. */
  keepAlive(intervalMs: number): void {
    this.#keepAlive = setInterval(() => void this.ping().catch(() => {}), intervalMs)
  }

  /** Ends the session and waits for the server to close the connection. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    const hasSession = this.#session !== undefined && this.#session.timeout > 0
    try {
      if (hasSession) await this.closeSession()
      else this.#socket.destroy()
      await this.closed()
    } finally {
      this.#socket.destroy()
    }
  }

  /** Cuts the connection and leaves the session to time out. */
  async drop(): Promise<void> {
    this.#socket.destroy()
    await this.#closed
  }

  /** Closes the sending side only. */
  endOutput(): void {
    this.#socket.end()
  }
}

function created(decoder: Decoder): Created {
  return { path: decoder.text(), stat: decoder.stat() }
}

function nothing(): void {}

/** Opens a connection and a session. Throws if the server refuses the session. */
export async function connect(
  target: { readonly port: number; readonly host?: string },
  options: ConnectOptions = {},
): Promise<RawClient> {
  const client = await RawClient.dial(target.port, target.host)
  const response = await client.handshake(options)
  if (response.timeout === 0) throw new Error('the session was refused')
  return client
}

/** Sends bytes on a fresh connection and returns all that comes back until the server closes. */
export async function exchange(
  target: { readonly port: number; readonly host?: string },
  bytes: Buffer | string,
  boundMs = defaultBoundMs,
): Promise<Buffer> {
  const socket = net.connect({ port: target.port, host: target.host ?? '127.0.0.1' })
  const chunks: Buffer[] = []
  socket.on('data', (chunk) => chunks.push(chunk))
  socket.write(bytes)
  const closed = new Promise<void>((resolve, reject) => {
    socket.on('close', () => resolve())
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ECONNRESET' && error.code !== 'EPIPE') reject(error)
    })
  })
  try {
    await within(closed, 'the server closes after the answer', boundMs)
  } finally {
    socket.destroy()
  }
  return Buffer.concat(chunks)
}

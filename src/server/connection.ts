// One client connection: cuts its bytes into frames, answers reads, hands writes on, and keeps the order of a
// session. A write takes a slot: everything that its client asked for behind it waits until `completed` fills the
// slot, and then follows at once, before any later transaction is applied. Output gathers in one buffer and goes to
// the socket once per turn; an event that is all there is goes as the bytes that all its watchers share. Nothing here
// knows how writes are replicated.
import type { Socket } from 'node:net'
import { Code, codeName, ZkError } from '../base/errors.ts'
import { Inlet } from '../base/inlet.ts'
import { Op, Xid } from '../base/opcodes.ts'
import { Reader } from '../jute/reader.ts'
import { Writer } from '../jute/writer.ts'
import type { Id } from '../tree/acl.ts'
import type { Tree } from '../tree/tree.ts'
import type { Backend } from './backend.ts'
import { BufferPool } from './buffer-pool.ts'
import { isRead, type ReadContext, serveRead } from './reads.ts'
import { ConnectionStats } from './stats.ts'
import { WaitingRequests } from './waiting.ts'
import type { Watches } from './watches.ts'
import { admissionError, isWrite } from './writes.ts'

/** Output that waits for a slow client: beyond this its requests wait too. */
const outputHigh = 1 << 20
/** A client that reads so little that this much waits for it is cut off (events can not be held back). */
const outputMax = 256 << 20
/** Requests of one connection that may wait behind its writes; fewer if their replies could be very long. */
const waitingMax = 128
/** Bytes of such requests; one frame more may be added. */
const waitingBytesMax = 1 << 20
/** When its reads have taken this long, ms, a connection lets the others have their turn. */
const turnMs = 10
/** Bytes of one connection's identities: they are kept with each of its writes. */
const idBytesMax = 64 << 10
const openRequest = Buffer.alloc(4)
const errorBody = Buffer.alloc(4)
const noBytes = Buffer.alloc(0)

// The requests of all connections are decoded one after another on one thread: one reader serves them all.
const reader = new Reader()
const outputs = new BufferPool()

/** `waiting`: the handshake is here and the server does not serve yet. */
type Phase = 'new' | 'waiting' | 'connecting' | 'open' | 'closing' | 'closed'

/** See file header. */
export class Connection implements ReadContext<Connection> {
  readonly socket: Socket
  readonly remoteAddress: string
  readonly remotePort: number
  readonly secure: boolean
  readonly stats: ConnectionStats
  readonly tree: Tree
  readonly watches: Watches<Connection>
  readonly watcher: Connection
  readonly skipAcl: boolean
  /** Identities; replaced, never changed, so that batches can tell lists by identity. */
  ids: readonly Id[]
  /** 0 until the handshake is done. */
  session = 0
  /** Negotiated, ms. */
  timeoutMs = 0
  /** Monotonic ms of the accept, for handshakes that never come. */
  readonly accepted: number
  /** Monotonic ms of the close from this side, for clients that never take the rest; undefined before. */
  closeBegan: number | undefined

  readonly #backend: Backend
  /** With the longest replies this many waiting requests stay below half of `outputMax`. */
  readonly #waitingMax: number
  #phase: Phase = 'new'
  /** Input that could not be handled yet is `#held[0, #heldBytes)`: most often the beginning of a frame. */
  #held: Buffer = noBytes
  #heldBytes = 0
  /** Bytes that must be held before there is anything to do. */
  #need = 4
  #out: Writer | undefined
  /** An event ahead of which, and behind which, there is no output: `#out` is undefined then. */
  #event: Buffer | undefined
  #flushQueued = false
  /** For its events alone, which may take longer. */
  #eventQueued = false
  #submitted = 0
  #done = 0
  /** Syncs among those that are not done. */
  #syncs = 0
  /** Reads that wait behind this connection's writes, and what is to be answered with an error. */
  readonly #waiting = new WaitingRequests()
  #paused = false
  /** The client takes its output so slowly that its requests have to wait. */
  #slow = false
  /** Monotonic ms since when this connection's requests have been served without a break. */
  #turnBegan = 0
  /** Its turn is over: it goes on at the server's next one. */
  #yielding = false
  /** The tick up to which the session's life has been prolonged by this connection. */
  #touchedTick = 0
  /** Its handshake had the byte that says whether the client would also read from a server without a quorum. */
  #hasReadOnlyByte = false
  #requestedSession = 0
  /** The socket ends with the next flush. */
  #ends = false
  /** Its client has ended its local session: nothing that comes behind that is looked at. */
  #ending = false

  /** `inlet` has what arrives by `socket`. */
  constructor(
    socket: Socket,
    backend: Backend,
    ids: readonly Id[],
    secure: boolean,
    establishedAt: number,
    inlet = new Inlet(),
  ) {
    this.socket = socket
    this.#backend = backend
    this.tree = backend.tree
    this.watches = backend.watches
    this.watcher = this
    this.skipAcl = backend.limits.skipAcl
    this.#waitingMax = Math.min(waitingMax, Math.ceil(outputMax / 2 / backend.limits.maxFrameBytes))
    this.ids = ids
    this.secure = secure
    this.remoteAddress = socket.remoteAddress ?? ''
    this.remotePort = socket.remotePort ?? 0
    this.stats = new ConnectionStats(establishedAt)
    this.accepted = backend.now()
    inlet.listener = (bytes, length) => this.#onInput(bytes, length, inlet.isReused)
    inlet.open(socket)
    socket.on('drain', () => {
      this.#slow = false
      this.#resume()
    })
    socket.on('error', ignore)
    socket.on('close', () => this.#onClose())
  }

  /** Whether the handshake is done. */
  get isOpen(): boolean {
    return this.#phase === 'open'
  }

  get isClosed(): boolean {
    return this.#phase === 'closing' || this.#phase === 'closed'
  }

  /** Requests received and not answered. */
  get outstanding(): number {
    return this.#submitted - this.#done + this.#waiting.count
  }

  get reading(): boolean {
    return !this.#paused
  }

  get writing(): boolean {
    return this.socket.writableLength > 0
  }

  // ---------------------------------------------------------------- input

  /** `bytes[0, length)` have arrived; if they are lent, they are there only for now. */
  #onInput(bytes: Buffer, length: number, lent: boolean): void {
    // At the end input is read and dropped: a socket that is closed with input in it would lose its output.
    if (this.isClosed || this.#backend.stopping) return
    if (this.#heldBytes === 0) {
      this.#decode(bytes, length, lent)
    } else {
      this.#hold(bytes, length)
      if (this.#heldBytes < this.#need) return
      if (this.#mustWait()) {
        this.#pause()
        return
      }
      this.#decodeHeld()
    }
    this.#flushOutput()
  }

  #decodeHeld(): void {
    const held = this.#held
    const bytes = this.#heldBytes
    this.#held = noBytes
    this.#heldBytes = 0
    this.#decode(held, bytes, false)
  }

  /** Handles every complete frame of `buf[0, end)`; keeps the rest, as a copy if the bytes are lent. */
  #decode(buf: Buffer, end: number, lent: boolean): void {
    const arrived = this.#beginTurn()
    const maxFrame = this.#backend.limits.maxFrameBytes
    let pos = 0
    while (end - pos >= 4) {
      if (this.#mustWait()) break
      const length = buf.readInt32BE(pos)
      if (this.#phase === 'new') {
        const word = this.#backend.wordOf(length)
        if (word !== undefined) {
          if (!this.#answerWord(word, buf, pos + 4, end)) break
          return
        }
      }
      if (length < 0 || length > maxFrame) {
        this.#backend.stats.largeRequestsRejected++
        this.#reject(`a frame of ${length} bytes; at most ${maxFrame} (jute.maxbuffer) are accepted`)
        return
      }
      if (end - pos - 4 < length) {
        this.#need = 4 + length
        break
      }
      if (this.#syncs > 0 && length >= 8 && isWrite(buf.readInt32BE(pos + 8))) {
        // Syncs and writes are answered by different means: here the order between them is kept.
        this.#pause()
        break
      }
      if (this.#phase === 'new' && !this.#backend.serving && this.#backend.awaitServing(this)) {
        this.#phase = 'waiting'
        break
      }
      this.#frame(buf, pos + 4, pos + 4 + length, arrived)
      if (this.isClosed) return
      pos += 4 + length
    }
    if (pos === end) return
    this.#keep(pos === 0 && !lent ? buf : Buffer.from(buf.subarray(pos, end)), end - pos)
  }

  #beginTurn(): number {
    this.#yielding = false
    this.#turnBegan = this.#backend.now()
    return this.#turnBegan
  }

  #keep(rest: Buffer, bytes: number): void {
    this.#held = rest
    this.#heldBytes = bytes
    if (bytes < 4) this.#need = 4
  }

  /** Adds to what is held. Room at least doubles, or single bytes would cost as much as whole chunks. */
  #hold(chunk: Buffer, length: number): void {
    const bytes = this.#heldBytes + length
    if (bytes > this.#held.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(bytes, Math.min(2 * bytes, this.#need)))
      this.#held.copy(grown, 0, 0, this.#heldBytes)
      this.#held = grown
    }
    chunk.copy(this.#held, this.#heldBytes, 0, length)
    this.#heldBytes = bytes
  }

  /** Whether frames must stay undecoded for now; then reading stops until `#resume`. */
  #mustWait(): boolean {
    if (this.#isOnHold()) return true
    if ((this.#out?.pos ?? 0) > outputHigh) this.flush()
    const pending = this.outstanding > 0
    if (!pending && !this.#slow && !this.#yielding) return false
    const { count, frameBytes } = this.#waiting
    const full = count >= this.#waitingMax || frameBytes >= waitingBytesMax
    const crowded = pending && (full || this.#backend.overloaded)
    if (!this.#slow && !this.#yielding && !crowded && !this.#isBehind()) return false
    if (crowded) this.#backend.stalled(this)
    else if (!this.#slow) this.#goOnLater()
    this.#pause()
    return true
  }

  /** Whether requests wait that no write is ahead of: nothing may overtake them. */
  #isBehind(): boolean {
    return this.#waiting.behind <= this.#done
  }

  /** Whether the next step of the handshake is the server's. */
  #isOnHold(): boolean {
    return this.#phase === 'connecting' || this.#phase === 'waiting'
  }

  /** The server serves, or will not for a while: what its client wants is looked at now. */
  waited(): void {
    if (this.#phase !== 'waiting') return
    this.#phase = 'new'
    this.#resume()
  }

  /** Asks to be resumed in the server's next turn. */
  #goOnLater(): void {
    this.#backend.stalled(this)
    this.#queueFlush()
  }

  #pause(): void {
    if (this.#paused) return
    this.#paused = true
    this.#need = 0
    this.socket.pause()
  }

  /** Goes on where `#mustWait` stopped, if it may. */
  #resume(): void {
    if (this.isClosed || this.#isOnHold()) return
    if (this.#waiting.count > 0) this.#drain()
    if (this.#heldBytes >= 4 && !this.#backend.stopping) this.#decodeHeld()
    if (this.#paused && !this.#mustWait()) {
      this.#paused = false
      this.socket.resume()
    }
    this.#flushOutput()
  }

  /** The server has room and time again. */
  resume(): void {
    this.#yielding = false
    this.#resume()
  }

  #frame(buf: Buffer, start: number, end: number, arrived: number): void {
    const { stats } = this.#backend
    stats.packetReceived(end - start + 4)
    this.stats.received++
    try {
      if (this.#phase === 'new') this.#handshake(buf, start, end, arrived)
      else this.#request(buf, start, end, arrived)
    } catch (error) {
      if (!(error instanceof ZkError)) throw error
      this.#reject(error.message)
    }
  }

  /** Closes the connection because of what it sent. */
  #reject(reason: string): void {
    this.#backend.logger.warn(
      { client: `${this.remoteAddress}:${this.remotePort}`, session: formatSession(this.session) },
      `connection closed: ${reason}`,
    )
    this.close()
  }

  /** False if the word's argument is not complete yet. */
  #answerWord(word: string, buf: Buffer, pos: number, end: number): boolean {
    const argumentBytes = this.#backend.wordArgumentBytes(word)
    if (end - pos < argumentBytes) {
      this.#need = pos + argumentBytes
      return false
    }
    this.#backend.stats.packetReceived(4)
    this.stats.received++
    this.#beginClose()
    const answer = this.#backend.word(word, buf.subarray(pos, pos + argumentBytes))
    this.#backend.stats.sent++
    this.socket.end(answer, () => this.socket.destroySoon())
    return true
  }

  // ---------------------------------------------------------------- handshake

  /** ConnectRequest (wire.md section 3). */
  #handshake(buf: Buffer, start: number, end: number, arrived: number): void {
    const backend = this.#backend
    const r = reader.reset(buf, start, end)
    r.int()
    const lastSeen = r.long()
    const timeout = r.int()
    const session = r.long()
    const password = r.buffer() ?? noBytes
    this.#hasReadOnlyByte = r.pos < r.end
    const mayRead = this.#hasReadOnlyByte && r.bool()
    const { limits, logger, tree, stats } = backend
    if (!backend.serving || (backend.readOnly && !mayRead)) {
      stats.closedWhileNotServing++
      this.close()
      return
    }
    if (lastSeen > tree.zxid) {
      logger.info(
        { client: `${this.remoteAddress}:${this.remotePort}`, lastSeen, zxid: tree.zxid },
        'connection refused: the client has seen a later state than this server has',
      )
      this.close()
      return
    }
    stats.connectionRequests++
    this.timeoutMs = Math.min(Math.max(timeout, limits.minSessionTimeoutMs), limits.maxSessionTimeoutMs)
    if (session === 0) {
      const local = backend.openLocalSession(this.timeoutMs)
      if (local !== undefined) {
        this.#established(local)
        return
      }
      if (!backend.writable) {
        this.close()
        return
      }
      this.#phase = 'connecting'
      this.#requestedSession = backend.mintSession()
      openRequest.writeInt32BE(this.timeoutMs)
      this.#submitted++
      backend.submit(Op.createSession, this.#requestedSession, 0, this.ids, openRequest, 0, 4, this, arrived)
      return
    }
    stats.connectionRevalidations++
    // The password is checked before anything else, so that a stranger can not cut a session's connection.
    const possible = Number.isSafeInteger(session) && session > 0
    if (!possible || !password.equals(backend.passwordOf(session))) {
      this.#refuseSession()
      return
    }
    this.#phase = 'connecting'
    this.#requestedSession = session
    backend.claim(session, this)
  }

  /** Whether the session that the client came with is open, and the client this server's. */
  claimed(open: boolean): void {
    if (this.isClosed) return
    if (!open) {
      this.#refuseSession()
      return
    }
    this.#established(this.#requestedSession)
    this.#queueFlush()
    if (this.#heldBytes > 0) this.#backend.stalled(this)
  }

  #established(session: number): void {
    this.session = session
    this.#phase = 'open'
    const now = this.#backend.now()
    this.#backend.attach(this)
    this.#backend.touch(session, this.timeoutMs, now)
    this.#writeConnectResponse(this.timeoutMs, session, this.#backend.passwordOf(session))
    this.stats.served(Op.createSession, 0, this.tree.zxid, now - this.accepted, now)
  }

  /** The session is unknown, expired, closing, or the password is wrong: all look alike. */
  #refuseSession(): void {
    this.#writeConnectResponse(0, 0, Buffer.alloc(16))
    this.close()
  }

  #writeConnectResponse(timeoutMs: number, session: number, password: Buffer): void {
    const out = this.#output()
    const at = out.pos
    out.int(0)
    out.int(0)
    out.int(timeoutMs)
    out.long(session)
    out.buffer(password)
    if (this.#hasReadOnlyByte) out.bool(this.#backend.readOnly)
    this.#finish(out, at)
  }

  // ---------------------------------------------------------------- requests

  #request(buf: Buffer, start: number, end: number, arrived: number): void {
    if (this.#ending) return
    const backend = this.#backend
    const r = reader.reset(buf, start, end)
    const xid = r.int()
    const type = r.int()
    const tick = Math.floor((arrived + this.timeoutMs) / backend.limits.tickMs)
    if (tick !== this.#touchedTick) {
      // Deadlines are whole ticks (semantics.md rule 36): within the same one there is nothing to prolong.
      this.#touchedTick = tick
      backend.touch(this.session, this.timeoutMs, arrived)
    }
    if (type === Op.closeSession) this.#ending = backend.isLocalSession(this.session)
    if (isRead(type) || this.#ending) {
      if (this.outstanding === 0) this.#answer(xid, type, r, arrived)
      else this.#wait(buf, start, end, arrived, Code.ok)
      return
    }
    if (backend.readOnly && (isWrite(type) || type === Op.sync)) {
      this.#refuse(xid, type, Code.notReadOnly, arrived)
      return
    }
    try {
      if (isWrite(type)) this.#write(xid, type, r, arrived)
      else this.#special(xid, type, r, arrived)
    } catch (error) {
      if (!(error instanceof ZkError) || type === Op.auth) throw error
      backend.logger.debug({ session: formatSession(this.session), type }, error.message)
      if (this.outstanding === 0) this.#refuse(xid, type, error.code, arrived)
      else this.#wait(buf, start, end, arrived, error.code)
    }
  }

  /** Keeps a request until the writes before it are done. */
  #wait(buf: Buffer, start: number, end: number, arrived: number, err: number): void {
    this.#waiting.add(buf, start, end, this.#submitted, arrived, err)
  }

  /** Answers what needs no other server. */
  #answer(xid: number, type: number, r: Reader, arrived: number): void {
    if (type === Op.closeSession) this.#closeLocalSession(xid, r, arrived)
    else this.#read(xid, type, r, arrived)
  }

  #closeLocalSession(xid: number, r: Reader, arrived: number): void {
    const { tree } = this
    if (!this.#backend.closeLocalSession(this.session)) {
      // It has become global since the request came.
      this.#ending = false
      this.#write(xid, Op.closeSession, r, arrived)
      return
    }
    this.#respond(xid, tree.zxid, Code.ok, undefined)
    this.#served(Op.closeSession, xid, tree.zxid, arrived, true)
    this.close()
  }

  #read(xid: number, type: number, r: Reader, arrived: number): void {
    const out = this.#output()
    const at = out.pos
    const zxid = this.tree.zxid
    out.int(0)
    out.int(type === Op.ping ? Xid.ping : xid)
    out.long(zxid)
    out.int(Code.ok)
    const body = out.pos
    this.#replyAt = at
    let err: number
    try {
      err = serveRead(this, type, r, out)
    } catch (error) {
      if (!(error instanceof ZkError)) throw error
      err = error.code
      this.#backend.logger.debug({ session: formatSession(this.session), type }, error.message)
    }
    const shift = this.#replyAt - at
    if (err !== Code.ok) {
      out.pos = body + shift
      out.intAt(body + shift - 4, err)
    }
    this.#finish(out, this.#replyAt)
    const now = this.#served(type, xid, zxid, arrived, false)
    if (now - this.#turnBegan > turnMs) this.#yielding = true
  }

  /** Where the reply being written begins; catch-up events push it back. */
  #replyAt = 0

  /** An event of setWatches goes ahead of the reply whose header is in the output already. */
  catchUp(type: number, path: string): void {
    const out = this.#output()
    const header = Buffer.from(out.buf.subarray(this.#replyAt, out.pos))
    out.pos = this.#replyAt
    writeEvent(out, -1, type, path)
    this.#backend.stats.eventsSent(out.pos - this.#replyAt - 4, 1)
    this.stats.sent++
    this.#replyAt = out.pos
    out.raw(header, 0, header.length)
  }

  #write(xid: number, type: number, r: Reader, arrived: number): void {
    const backend = this.#backend
    const start = r.pos
    const refused = admissionError(type, r, backend.limits.writeRules)
    if (!backend.writable) {
      // The disk takes no writes: the client is told.
      this.#refuse(xid, type, Code.systemError, arrived)
      return
    }
    this.#submitted++
    if (refused === Code.ok) {
      backend.submit(type, this.session, xid, this.ids, r.buf, start, r.end, this, arrived)
      return
    }
    backend.logger.debug(
      { session: formatSession(this.session), type },
      `write refused: ${codeName(refused)}`,
    )
    errorBody.writeInt32BE(refused)
    backend.submit(Op.error, this.session, xid, this.ids, errorBody, 0, 4, this, arrived)
  }

  /** Answers a request with an error of this server alone, which takes no zxid. */
  #refuse(xid: number, type: number, err: number, arrived: number): void {
    if (err === Code.unimplemented) {
      this.#respond(xid, -1, err, undefined)
      this.#reject(`operation ${type} does not exist for clients`)
      return
    }
    this.#respond(xid, this.tree.zxid, err, undefined)
    this.#served(type, xid, this.tree.zxid, arrived, true)
  }

  #special(xid: number, type: number, r: Reader, arrived: number): void {
    switch (type) {
      case Op.sync: {
        const path = r.string()
        this.#submitted++
        this.#syncs++
        this.#backend.sync(xid, path, this, arrived)
        break
      }
      case Op.auth:
        this.#auth(xid, r, arrived)
        break
      case Op.sasl:
        // SASL is not configured: an empty answer tells the client to go on without (semantics.md rule 32).
        this.#respond(xid, 0, Code.ok, (out) => out.int(-1))
        break
      default:
        throw new ZkError(Code.unimplemented, `operation ${type}`)
    }
  }

  /** Auth packets are answered when read, outside the order of the other requests (wire.md section 9). */
  #auth(xid: number, r: Reader, arrived: number): void {
    r.int()
    const scheme = r.string()
    const result = this.#backend.authenticator.authenticate(scheme, r.buffer(), this.ids)
    const tooMany = result.code === Code.ok && idBytes(result.ids) > idBytesMax
    if (result.code === Code.ok && !tooMany) {
      this.ids = result.ids
      this.#respond(xid, 0, Code.ok, undefined)
      const now = this.#backend.now()
      this.stats.served(Op.auth, xid, 0, now - arrived, now)
      return
    }
    this.#backend.stats.authFailed++
    this.#respond(xid, 0, Code.authFailed, undefined)
    const reason = result.code === Code.ok ? `more than ${idBytesMax} bytes of identities` : result.reason
    this.#reject(`authentication failed: ${reason}`)
  }

  #respond(xid: number, zxid: number, err: number, body: ((out: Writer) => void) | undefined): void {
    const out = this.#output()
    const at = out.pos
    out.int(0)
    out.int(xid)
    out.long(zxid)
    out.int(err)
    body?.(out)
    this.#finish(out, at)
  }

  // ---------------------------------------------------------------- answers to writes

  /**
   * The write at the head of this connection's slots is applied (or the sync confirmed): answers it and everything that
   * waited behind it. `body` is the reply's body when `err` is 0.
   */
  completed(kind: number, xid: number, zxid: number, err: number, body: Writer, arrived: number): void {
    this.#done++
    if (this.isClosed) return
    if (kind === Op.createSession) {
      this.#established(this.#requestedSession)
      this.#resume()
      return
    }
    if (err === Code.sessionMoved) {
      // Its client is connected to another server by now (ZOOKEEPER-710).
      this.destroy()
      return
    }
    const out = this.#output()
    const at = out.pos
    out.int(0)
    out.int(xid)
    out.long(zxid)
    out.int(err)
    if (err === Code.ok) out.append(body)
    this.#finish(out, at)
    this.#served(kind, xid, zxid, arrived, kind !== Op.sync)
    if (kind === Op.sync && --this.#syncs === 0 && this.#heldBytes > 0) this.#backend.stalled(this)
    if (kind === Op.closeSession) {
      this.close()
      return
    }
    if (this.#waiting.count > 0) this.#drain()
    this.#queueFlush()
  }

  /** Answers what no write is ahead of any more. */
  #drain(): void {
    const waiting = this.#waiting
    this.#beginTurn()
    for (let behind = waiting.behind; behind <= this.#done; behind = waiting.behind) {
      if ((this.#out?.pos ?? 0) > outputHigh) this.flush()
      if (this.isClosed) return
      // Behind the last write a read can wait; before one it has to be done, or it would see it.
      if (behind === this.#submitted && (this.#slow || this.#yielding)) {
        if (!this.#slow) this.#goOnLater()
        return
      }
      const { arrived, err } = waiting
      waiting.take(reader)
      const xid = reader.int()
      const type = reader.int()
      if (err === Code.ok) this.#answer(xid, type, reader, arrived)
      else this.#refuse(xid, type, err, arrived)
    }
    waiting.release()
  }

  /** A watch fired; `frame` is the whole event frame. It is kept, not copied: its bytes must never change. */
  notify(frame: Buffer): void {
    if (this.isClosed) return
    if (this.#out === undefined && this.#event === undefined) this.#event = frame
    else this.#output().raw(frame, 0, frame.length)
    this.stats.sent++
    if (this.#flushQueued || this.#eventQueued) return
    this.#eventQueued = true
    this.#backend.flushEventsLater(this)
  }

  /** Counts a request; gives the time. */
  #served(op: number, xid: number, zxid: number, arrived: number, update: boolean): number {
    const now = this.#backend.now()
    this.stats.served(op, xid, zxid, now - arrived, now)
    this.#backend.stats.served(now - arrived, update)
    return now
  }

  // ---------------------------------------------------------------- output

  #output(): Writer {
    if (this.#out === undefined) {
      this.#out = outputs.take()
      if (this.#event !== undefined) {
        this.#out.raw(this.#event, 0, this.#event.length)
        this.#event = undefined
      }
    }
    return this.#out
  }

  /** Fills in the length of the frame that begins at `at`. */
  #finish(out: Writer, at: number): void {
    const length = out.pos - at - 4
    out.intAt(at, length)
    this.#backend.stats.responseSent(length)
    this.stats.sent++
  }

  #flushOutput(): void {
    if (this.#out !== undefined && this.#out.pos > 0) this.#queueFlush()
  }

  #queueFlush(): void {
    if (this.#flushQueued) return
    this.#flushQueued = true
    this.#backend.flushLater(this)
  }

  /** Hands everything gathered to the socket in one write. */
  flush(): void {
    this.#flushQueued = false
    this.#eventQueued = false
    const out = this.#out
    const event = this.#event
    if (event !== undefined || (out !== undefined && out.pos > 0)) {
      this.#event = undefined
      this.#out = undefined
      if (this.socket.writable) this.#send(event, out)
    }
    if (this.#ends) this.socket.destroySoon()
  }

  /** An event alone, or output. */
  #send(event: Buffer | undefined, out: Writer | undefined): void {
    const { socket } = this
    if (event !== undefined) socket.write(event)
    else if (out !== undefined) this.#writeOut(out)
    const waiting = socket.writableLength
    if (waiting > outputMax) {
      this.#backend.logger.warn(
        { client: `${this.remoteAddress}:${this.remotePort}`, waitingBytes: waiting },
        'connection closed: the client does not read what it is sent',
      )
      this.destroy()
    } else {
      this.#slow = waiting > outputHigh
    }
  }

  #writeOut(out: Writer): void {
    const { socket } = this
    if (socket.writableLength > 0 && out.pos < out.buf.length / 2) {
      // It will wait for the client: in no more memory than it needs.
      socket.write(Buffer.from(out.bytes()))
      outputs.give(out)
      return
    }
    socket.write(out.bytes())
    // With nothing left in the socket's queue the kernel has the bytes, and the buffer can serve again.
    if (socket.writableLength === 0) outputs.give(out)
  }

  /** Sends what is in the output and closes, both at the end of the turn. */
  close(): void {
    if (this.isClosed) return
    this.#beginClose()
    this.#ends = true
    this.#queueFlush()
  }

  #beginClose(): void {
    this.#phase = 'closing'
    this.closeBegan = this.#backend.now()
  }

  /** Closes at once. */
  destroy(): void {
    if (this.#phase === 'closed') return
    this.#phase = 'closing'
    this.socket.destroy()
  }

  #onClose(): void {
    this.#phase = 'closed'
    this.#held = noBytes
    this.#heldBytes = 0
    this.#waiting.clear()
    this.#out = undefined
    this.#event = undefined
    this.#backend.detach(this)
  }
}

/** A watch event as a whole frame, in bytes of its own. */
export function eventFrame(zxid: number, type: number, path: string): Buffer {
  eventWriter.clear()
  writeEvent(eventWriter, zxid, type, path)
  return Buffer.from(eventWriter.bytes())
}

const eventWriter = new Writer(512)

/** Appends a whole watch event frame (wire.md section 6). */
function writeEvent(out: Writer, zxid: number, type: number, path: string): void {
  const at = out.pos
  out.int(0)
  out.int(Xid.notification)
  out.long(zxid)
  out.int(Code.ok)
  out.int(type)
  out.int(connectedState)
  out.string(path)
  out.intAt(at, out.pos - at - 4)
}

/** The only state that a server puts into an event. */
const connectedState = 3

function idBytes(ids: readonly Id[]): number {
  return ids.reduce((bytes, { scheme, id }) => bytes + scheme.length + id.length, 0)
}

/** What became of the connection is told by its end. */
function ignore(): void {}

/** A session id as ZooKeeper prints it. */
export function formatSession(session: number): string {
  return `0x${session.toString(16)}`
}

// A simulated client of the ensemble: speaks the protocol's bytes over links of the client network, keeps one session at
// a time, pings, turns to another server when it hears nothing, and brings its watches along. What it is told goes to
// the history, which judges it. What it asks for is the workload's to decide.
import { Xid } from '../../src/base/opcodes.ts'
import { formatZxid } from '../../src/base/zxid.ts'
import type { Prng } from '../prng.ts'
import type { Schedule } from '../schedule.ts'
import { check } from './check.ts'
import type { Call, History, Session } from './history.ts'
import {
  decodeConnect,
  decodeEvent,
  decodeHeader,
  decodeOutcome,
  encodeConnect,
  encodeRequest,
  isWrite,
  type Outcome,
  type Read,
  type Request,
  type WatchEvent,
  type WatchLists,
} from './requests.ts'
import type { ClientEnd, ClientNetwork, Link } from './sockets.ts'
import { WatchBook } from './watching.ts'

/** What came of a call: its outcome, or nothing that the client knows of. */
export type Answer = Outcome | undefined

export type ClientParts = {
  readonly id: number
  readonly network: ClientNetwork
  readonly schedule: Schedule
  readonly prng: Prng
  readonly history: History
  readonly servers: readonly number[]
  readonly timeoutMs: number
  /** A broken promise found in what the client was told. */
  readonly onViolation: (error: unknown) => void
  readonly trace: ((line: string) => void) | undefined
}

/** The session that a client keeps. */
type Held = {
  readonly session: Session
  readonly password: Buffer
  readonly book: WatchBook
  /** Negotiated. */
  readonly timeoutMs: number
  /** Highest zxid of a reply. */
  lastZxid: number
  nextXid: number
}

/** A reply that must come, in order. */
type Awaited =
  | { readonly type: 'call'; readonly call: Call; readonly settle: (answer: Answer) => void }
  | { readonly type: 'ping' }
  | { readonly type: 'setWatches'; readonly since: number; readonly lists: WatchLists }

type Connection = {
  readonly end: ClientEnd
  link: Link | undefined
  state: 'dialing' | 'handshake' | 'open' | 'gone'
  input: Buffer
  readonly awaited: Awaited[]
  lastHeardAt: number
  lastSentAt: number
}

const noPassword = Buffer.alloc(16)
const noBytes = Buffer.alloc(0)
/** Longest wait before the next attempt to connect, ms. */
const backoffMs = 40

/** Figures of all clients. */
export class ClientFigures {
  answered = 0
  lost = 0
  events = 0
  connections = 0
  sessions = 0
  refusedSessions = 0
}

/** See file header. */
export class SimClient {
  readonly id: number
  readonly figures: ClientFigures
  /** Called with each event of a watch. */
  onEvent: (event: WatchEvent) => void = () => undefined
  /** Called when the present session is over, for whatever reason. */
  onSessionEnd: () => void = () => undefined
  readonly #parts: ClientParts
  #held: Held | undefined
  #connection: Connection | undefined
  #waiters: (() => void)[] = []
  #stopped = false
  /** The server that it has just turned away from. */
  #avoided: number | undefined
  /** Makes no new session. */
  #retired = false

  constructor(parts: ClientParts, figures: ClientFigures) {
    this.#parts = parts
    this.id = parts.id
    this.figures = figures
  }

  get isOpen(): boolean {
    return this.#connection?.state === 'open'
  }

  get session(): Session | undefined {
    return this.#held?.session
  }

  /** The server that it is connected to. */
  get server(): number | undefined {
    return this.isOpen ? this.#connection?.link?.server : undefined
  }

  /** Of its session, ms. */
  get timeoutMs(): number {
    return this.#held?.timeoutMs ?? 0
  }

  get watches(): number {
    return this.#held?.book.size ?? 0
  }

  /** Calls without an answer. */
  get outstanding(): number {
    return this.#connection?.awaited.length ?? 0
  }

  start(): void {
    this.#dial()
    this.#tick()
  }

  /** Does nothing any more; its session is left to expire. */
  stop(): void {
    this.#stopped = true
    this.abandon()
  }

  /** Makes no new session once the present one is closed. */
  retire(): void {
    this.#retired = true
  }

  /** Resolves when it is connected. */
  ready(): Promise<void> {
    if (this.isOpen) return Promise.resolve()
    return new Promise((resolve) => {
      this.#waiters.push(resolve)
    })
  }

  /** Sends a request; resolves with its answer, or undefined if the connection is lost first, or there is none. */
  call(request: Request): Promise<Answer> {
    const held = this.#held
    const connection = this.#connection
    if (held === undefined || connection === undefined || connection.state !== 'open')
      return Promise.resolve(undefined)
    const { schedule, history } = this.#parts
    const call: Call = {
      session: held.session,
      xid: held.nextXid++,
      request,
      floor: history.observed,
      sentAt: schedule.now,
      zxid: undefined,
      outcome: undefined,
      refused: false,
    }
    if (isWrite(request)) held.session.writes.set(call.xid, call)
    if (request.type === 'close') held.session.abandoned = true
    return new Promise((resolve) => {
      connection.awaited.push({ type: 'call', call, settle: resolve })
      this.#send(connection, encodeRequest(call.xid, request))
      this.#trace(() => `sends ${call.xid} ${JSON.stringify(request)}`)
    })
  }

  /** Leaves the session as it is, without a word, and begins anew. */
  abandon(): void {
    const held = this.#held
    if (held === undefined) return
    held.session.abandoned = true
    this.#trace(() => 'abandons its session')
    this.#disconnect('abandoned', true)
    this.#endSession()
  }

  /** Turns to another server (or the same). */
  reconnect(): void {
    this.#avoided = this.server
    this.#disconnect('moves on', this.#parts.prng.chance(0.3))
  }

  #endSession(): void {
    this.#held = undefined
    this.onSessionEnd()
  }

  // ---------------------------------------------------------------- connecting

  #dial(): void {
    if (this.#stopped || this.#connection !== undefined || (this.#retired && this.#held === undefined)) return
    const { network, prng, servers, schedule } = this.#parts
    const end: ClientEnd = {
      clientId: this.id,
      opened: () => this.#guard(connection, () => this.#opened(connection)),
      received: (bytes) => this.#guard(connection, () => this.#received(connection, bytes)),
      closed: () => this.#guard(connection, () => this.#disconnect('closed by the server', false)),
    }
    const connection: Connection = {
      end,
      link: undefined,
      state: 'dialing',
      input: noBytes,
      awaited: [],
      lastHeardAt: schedule.now,
      lastSentAt: schedule.now,
    }
    this.#connection = connection
    const others = servers.filter((server) => server !== this.#avoided)
    connection.link = network.connect(end, prng.pick(others.length === 0 ? servers : others))
    this.#avoided = undefined
  }

  /** Only the present connection may say something; what it says may break a promise. */
  #guard(connection: Connection, action: () => void): void {
    if (connection.state === 'gone') return
    try {
      action()
    } catch (error) {
      this.#parts.onViolation(error)
    }
  }

  #opened(connection: Connection): void {
    connection.state = 'handshake'
    connection.lastHeardAt = this.#parts.schedule.now
    const held = this.#held
    const session = held?.session.id ?? 0
    this.#send(
      connection,
      encodeConnect(held?.lastZxid ?? 0, this.#parts.timeoutMs, session, held?.password ?? noPassword),
    )
  }

  #disconnect(reason: string, aborts: boolean): void {
    const connection = this.#connection
    if (connection === undefined) return
    this.#trace(() => `is disconnected from ${connection.link?.server}: ${reason}`)
    this.#connection = undefined
    const wasOpen = connection.state === 'open'
    connection.state = 'gone'
    connection.link?.close(aborts)
    if (wasOpen) this.#held?.book.disconnected()
    for (const awaited of connection.awaited) {
      if (awaited.type !== 'call') continue
      this.figures.lost++
      awaited.settle(undefined)
    }
    this.#dialSoon()
  }

  #dialSoon(): void {
    const { schedule, prng } = this.#parts
    schedule.after(prng.chance(0.3) ? 0 : prng.between(0, backoffMs), () => this.#dial())
  }

  /** Pings what is idle, gives up what is silent. */
  #tick(): void {
    if (this.#stopped) return
    const { schedule, prng } = this.#parts
    const connection = this.#connection
    const timeoutMs = this.#held?.timeoutMs ?? this.#parts.timeoutMs
    schedule.after(timeoutMs * prng.between(0.08, 0.12), () => this.#tick())
    if (connection === undefined) return
    const { now } = schedule
    if (now - connection.lastHeardAt > (timeoutMs * 2) / 3) this.#disconnect('silent', prng.chance(0.5))
    else if (connection.state === 'open' && now - connection.lastSentAt > timeoutMs / 4) {
      connection.awaited.push({ type: 'ping' })
      this.#send(connection, encodeRequest(Xid.ping, { type: 'ping' }))
    }
  }

  #send(connection: Connection, bytes: Buffer): void {
    connection.lastSentAt = this.#parts.schedule.now
    connection.link?.send(bytes)
  }

  // ---------------------------------------------------------------- what servers say

  #received(connection: Connection, bytes: Buffer): void {
    connection.lastHeardAt = this.#parts.schedule.now
    let input = connection.input.length === 0 ? bytes : Buffer.concat([connection.input, bytes])
    while (input.length >= 4) {
      const length = input.readInt32BE()
      if (input.length < 4 + length) break
      const frame = input.subarray(4, 4 + length)
      input = input.subarray(4 + length)
      if (connection.state === 'handshake') this.#connected(connection, frame)
      else this.#frame(connection, frame)
      if (this.#connection !== connection) return
    }
    connection.input = input
  }

  #connected(connection: Connection, frame: Buffer): void {
    const { session, timeoutMs, password } = decodeConnect(frame)
    const { history } = this.#parts
    const held = this.#held
    if (timeoutMs === 0 || session === 0) {
      this.#trace(() => `is refused by ${connection.link?.server}`)
      check(
        held !== undefined,
        () => `client ${this.id} asks for a new session and is told that it has expired`,
      )
      held.session.refused = true
      this.figures.refusedSessions++
      this.#disconnect('session refused', false)
      this.#endSession()
      return
    }
    this.figures.connections++
    connection.state = 'open'
    if (held === undefined) {
      this.figures.sessions++
      const given = history.sessionGiven(session, this.id)
      const book = new WatchBook(history.model, `client ${this.id} (0x${session.toString(16)})`)
      this.#held = { session: given, password, book, timeoutMs, lastZxid: 0, nextXid: 1 }
    } else {
      check(held.session.id === session, () => `client ${this.id} gets another session than it asked for`)
      check(held.password.equals(password), () => `client ${this.id}'s password has changed`)
    }
    this.#trace(() => `is connected to ${connection.link?.server} as 0x${session.toString(16)}`)
    this.#resume(connection, this.#held as Held)
    for (const waiter of this.#waiters.splice(0)) waiter()
  }

  /** The first thing to ask for is the watches that were there before. */
  #resume(connection: Connection, { book, lastZxid }: Held): void {
    book.connected()
    if (book.size === 0) return
    const lists = book.lists()
    connection.awaited.push({ type: 'setWatches', since: lastZxid, lists })
    this.#send(connection, encodeRequest(Xid.setWatches, { type: 'setWatches', since: lastZxid, ...lists }))
  }

  #frame(connection: Connection, frame: Buffer): void {
    const { header, rest } = decodeHeader(frame)
    const held = this.#held as Held
    if (header.xid === Xid.notification) {
      const event = decodeEvent(header.zxid, rest)
      this.#trace(() => `gets event ${event.type} ${event.path} at ${formatZxid(event.zxid)}`)
      this.figures.events++
      held.book.event(event)
      this.onEvent(event)
      return
    }
    const awaited = connection.awaited.shift()
    const who = `client ${this.id}`
    check(awaited !== undefined, () => `${who} gets a reply to xid ${header.xid} that it did not ask for`)
    const xid =
      awaited.type === 'call' ? awaited.call.xid : awaited.type === 'ping' ? Xid.ping : Xid.setWatches
    check(header.xid === xid, () => `${who} gets a reply to xid ${header.xid} before that to ${xid}`)
    const { zxid } = header
    this.#trace(() => `gets reply ${xid} at ${formatZxid(zxid)} err ${header.err}`)
    check(zxid >= held.lastZxid, () => {
      return `${who} gets a reply of ${formatZxid(zxid)} after one of ${formatZxid(held.lastZxid)}`
    })
    this.#parts.history.seen(zxid)
    if (awaited.type === 'setWatches') held.book.caughtUp(awaited.since, awaited.lists, zxid)
    else held.book.reply(zxid)
    held.lastZxid = zxid
    if (awaited.type !== 'call') {
      check(header.err === 0, () => `${who}'s ${awaited.type} is answered with error ${header.err}`)
      return
    }
    const { call, settle } = awaited
    const { request } = call
    const outcome = decodeOutcome(request, header.err, rest)
    this.figures.answered++
    this.#parts.history.answered(call, zxid, outcome)
    if (!isWrite(request) && request.type !== 'sync') held.book.left(request as Read, outcome.err)
    if (request.type === 'close' && outcome.err === 0) {
      this.#disconnect('session closed', false)
      this.#endSession()
    }
    settle(outcome)
  }

  #trace(line: () => string): void {
    const { trace, schedule } = this.#parts
    trace?.(`${schedule.now.toFixed(2).padStart(10)} c${this.id} ${line()}`)
  }
}

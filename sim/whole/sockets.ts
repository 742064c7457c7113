// TCP between clients and servers: a link per connection, in each direction FIFO, with delays. Directions between a
// client and a server can be blocked; a link can be cut, with what is on its way lost. The server's end has exactly
// the members of a socket that src/server/connection.ts uses.
import type { Socket } from 'node:net'
import type { Prng } from '../prng.ts'
import type { Schedule } from '../schedule.ts'
import type { Process } from './machine.ts'

/** The client's end of a connection, as the client sees it. After `closed` nothing more comes. */
export type ClientEnd = {
  readonly clientId: number
  opened(): void
  received(bytes: Buffer): void
  closed(): void
}

/** Where connections arrive. */
export type Acceptor = {
  readonly process: Process
  accept(socket: Socket): void
}

export type ClientSpeed = {
  /** Upper bound of an ordinary delay, ms. */
  readonly delayMs: number
}

/** Longest ordinary delay on a good network, ms. */
const calmDelayMs = 3

/** See file header. */
export class ClientNetwork {
  readonly schedule: Schedule
  readonly prng: Prng
  #speed: ClientSpeed
  readonly #acceptors = new Map<number, Acceptor>()
  readonly #links = new Set<Link>()
  readonly #blocked = new Set<string>()
  #nextPort = 40_000
  #calm = false

  constructor(schedule: Schedule, prng: Prng, speed: ClientSpeed) {
    this.schedule = schedule
    this.prng = prng
    this.#speed = speed
  }

  /** A server's port is open. */
  listen(server: number, acceptor: Acceptor): void {
    this.#acceptors.set(server, acceptor)
  }

  /** The port is closed; connections stay. */
  unlisten(server: number): void {
    this.#acceptors.delete(server)
  }

  /** The process is dead: its connections end, for the client as soon as it can hear of it. */
  died(process: Process): void {
    for (const link of [...this.#links]) if (link.process === process) link.serverDied()
  }

  connect(end: ClientEnd, server: number): Link {
    const link = new Link(this, end, server, this.#nextPort++)
    this.schedule.after(this.delay(), () => {
      if (link.over || this.#isBlockedAny(end.clientId, server)) return
      const acceptor = this.#acceptors.get(server)
      if (acceptor === undefined) link.refused()
      else {
        this.#links.add(link)
        link.accepted(acceptor)
      }
    })
    return link
  }

  /** Neither a client nor its server hears of it at once: what is sent in this direction waits until `unblock`. */
  block(client: number, server: number, direction: 'in' | 'out' | 'both'): void {
    if (direction !== 'in') this.#blocked.add(`${client}>${server}`)
    if (direction !== 'out') this.#blocked.add(`${client}<${server}`)
  }

  unblock(client: number, server: number): void {
    this.#blocked.delete(`${client}>${server}`)
    this.#blocked.delete(`${client}<${server}`)
    for (const link of [...this.#links])
      if (link.client === client && link.server === server) link.unblocked()
  }

  unblockAll(): void {
    this.#blocked.clear()
    for (const link of [...this.#links]) link.unblocked()
  }

  /** From now on the network is a good one. */
  calm(): void {
    this.#speed = { delayMs: Math.min(this.#speed.delayMs, calmDelayMs) }
    this.#calm = true
  }

  /** Ends some connection; its ends learn of it, unless that is blocked. */
  cutOne(): void {
    const links = [...this.#links]
    if (links.length > 0) this.prng.pick(links).cut()
  }

  isBlocked(client: number, server: number, toServer: boolean): boolean {
    return this.#blocked.has(`${client}${toServer ? '>' : '<'}${server}`)
  }

  #isBlockedAny(client: number, server: number): boolean {
    return this.isBlocked(client, server, true) || this.isBlocked(client, server, false)
  }

  delay(): number {
    const slow = !this.#calm && this.prng.chance(0.01) ? 10 : 1
    return this.prng.between(0.02, 0.02 + this.#speed.delayMs * slow)
  }

  forget(link: Link): void {
    this.#links.delete(link)
  }
}

type Lane = {
  /** Nothing arrives before what was sent earlier. */
  nextAt: number
  /** Arrived while the direction was blocked, in order. */
  held: (() => void)[]
  cut: boolean
}

/** A connection. */
export class Link {
  readonly client: number
  readonly server: number
  process: Process | undefined
  /** The client does not use it any more, or knows of its end. */
  over = false
  readonly #network: ClientNetwork
  readonly #end: ClientEnd
  readonly #port: number
  readonly #toServer: Lane = { nextAt: 0, held: [], cut: false }
  readonly #toClient: Lane = { nextAt: 0, held: [], cut: false }
  #socket: SimSocket | undefined

  constructor(network: ClientNetwork, end: ClientEnd, server: number, port: number) {
    this.#network = network
    this.#end = end
    this.client = end.clientId
    this.server = server
    this.#port = port
  }

  // ---------------------------------------------------------------- the client's side

  send(bytes: Buffer): void {
    if (this.over || this.#socket === undefined) return
    const { prng } = this.#network
    const at = bytes.length > 1 && prng.chance(0.05) ? prng.int(1, bytes.length - 1) : bytes.length
    for (const chunk of [bytes.subarray(0, at), bytes.subarray(at)])
      if (chunk.length > 0) this.#carry(this.#toServer, true, () => this.#socket?.deliver(chunk))
  }

  /** The client closes; what it sent before arrives, unless it `aborts`. */
  close(aborts = false): void {
    if (this.over) return
    this.over = true
    this.#toClient.cut = true
    if (aborts) this.#toServer.cut = true
    this.#endServer()
  }

  // ---------------------------------------------------------------- the network's side

  refused(): void {
    this.#network.schedule.after(this.#network.delay(), () => this.#clientClosed())
  }

  accepted(acceptor: Acceptor): void {
    const { process } = acceptor
    this.process = process
    const socket = new SimSocket(this, process, this.#port)
    this.#socket = socket
    process.enter('input', () => acceptor.accept(socket as unknown as Socket))
    this.#carry(this.#toClient, false, () => this.#end.opened())
  }

  serverDied(): void {
    this.#socket = undefined
    if (this.#network.prng.chance(0.5)) this.#toClient.cut = true
    this.#endClient()
    this.#network.forget(this)
  }

  /** A middlebox ends the connection. */
  cut(): void {
    for (const lane of [this.#toServer, this.#toClient]) if (this.#network.prng.chance(0.7)) lane.cut = true
    this.#endServer()
    this.#endClient()
  }

  unblocked(): void {
    for (const [lane, toServer] of [
      [this.#toServer, true],
      [this.#toClient, false],
    ] as const)
      if (!this.#network.isBlocked(this.client, this.server, toServer))
        for (const arrive of lane.held.splice(0)) arrive()
  }

  // ---------------------------------------------------------------- the server's side

  serverSends(bytes: Buffer): void {
    this.#carry(this.#toClient, false, () => this.#end.received(bytes))
  }

  /** The server has closed its end. A reset overtakes what it sent last. */
  serverClosed(mayReset: boolean): void {
    this.#toServer.cut = true
    if (mayReset && this.#network.prng.chance(0.3)) this.#toClient.cut = true
    this.#endClient()
    this.#network.forget(this)
  }

  // ---------------------------------------------------------------- transport

  #endClient(): void {
    const ends = () => {
      this.#toClient.cut = true
      this.#clientClosed()
    }
    this.#carry({ ...this.#toClient, cut: false }, false, ends)
  }

  #endServer(): void {
    const ends = () => {
      this.#toServer.cut = true
      this.#network.forget(this)
      this.#socket?.peerClosed()
    }
    this.#carry({ ...this.#toServer, cut: false }, true, ends)
  }

  #clientClosed(): void {
    if (this.over) return
    this.over = true
    this.#end.closed()
  }

  #carry(lane: Lane, toServer: boolean, deliver: () => void): void {
    const { schedule, prng } = this.#network
    if (lane.cut) return
    lane.nextAt = Math.max(lane.nextAt, schedule.now + this.#network.delay() * prng.between(0.5, 1))
    const guarded = () => {
      if (!lane.cut && (toServer || !this.over)) deliver()
    }
    const arrive = () => {
      if (lane.cut) return
      const blocked = this.#network.isBlocked(this.client, this.server, toServer)
      if (lane.held.length > 0 || blocked) lane.held.push(arrive)
      else if (toServer) this.process?.enter('input', guarded)
      else guarded()
    }
    schedule.at(lane.nextAt, arrive)
  }
}

type Listeners = {
  data: (chunk: Buffer) => void
  drain: () => void
  error: (error: Error) => void
  close: () => void
}

/** A server's socket: what a connection uses of node:net's. The kernel takes all output at once. */
class SimSocket {
  readonly remoteAddress = '127.0.0.1'
  readonly remotePort: number
  readonly writableLength = 0
  destroyed = false
  readonly #link: Link
  readonly #process: Process
  readonly #listeners: Partial<Listeners> = {}
  #paused = false
  #waiting: Buffer[] = []
  #closed = false

  constructor(link: Link, process: Process, port: number) {
    this.#link = link
    this.#process = process
    this.remotePort = port
  }

  get writable(): boolean {
    return !this.destroyed
  }

  on<E extends keyof Listeners>(event: E, listener: Listeners[E]): this {
    this.#listeners[event] = listener
    return this
  }

  write(bytes: Uint8Array): boolean {
    if (!this.destroyed && this.#process.acts()) this.#link.serverSends(Buffer.from(bytes))
    return true
  }

  end(bytes?: Uint8Array | string, done?: () => void): this {
    if (bytes !== undefined) this.write(Buffer.from(bytes as string))
    if (done !== undefined) this.#process.enterAfter(0, 'input', done)
    return this
  }

  pause(): this {
    this.#paused = true
    return this
  }

  resume(): this {
    if (!this.#paused) return this
    this.#paused = false
    this.#process.enterAfter(0, 'input', () => {
      while (!this.#paused && !this.destroyed) {
        const chunk = this.#waiting.shift()
        if (chunk === undefined) break
        this.#listeners.data?.(chunk)
      }
    })
    return this
  }

  destroySoon(): void {
    this.#destroy(false)
  }

  destroy(): this {
    this.#destroy(true)
    return this
  }

  // ---------------------------------------------------------------- from the link

  deliver(chunk: Buffer): void {
    if (this.destroyed) return
    if (this.#paused || this.#waiting.length > 0) this.#waiting.push(chunk)
    else this.#listeners.data?.(chunk)
  }

  /** Input that was not taken yet is lost, as after a reset. */
  peerClosed(): void {
    this.destroyed = true
    this.#emitClose()
  }

  #destroy(mayReset: boolean): void {
    if (this.destroyed || !this.#process.acts()) return
    this.destroyed = true
    this.#link.serverClosed(mayReset)
    this.#process.enterAfter(0, 'input', () => this.#emitClose())
  }

  #emitClose(): void {
    if (this.#closed) return
    this.#closed = true
    this.#waiting = []
    this.#listeners.close?.()
  }
}

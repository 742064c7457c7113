// The network between servers: the peers port for each process, and one connection per pair of machines, FIFO and
// reliable while it lasts. Directions can be blocked on their own; a connection that is silent for the keepalive time
// is given up; each side learns of the loss before it hears of a new connection. Messages travel as bytes.

import type { PeerMessage } from '../../src/peers/messages.ts'
import type { Member, PeerHandler, Peers } from '../../src/peers/types.ts'
import type { Prng } from '../prng.ts'
import type { Schedule } from '../schedule.ts'
import type { Process } from './machine.ts'
import { decodeMessages, encodeMessages } from './parcel.ts'

/** How fast and how patient the network is. */
export type PeerSpeed = {
  /** Upper bound of an ordinary message delay, ms. */
  readonly delayMs: number
  /** Without a sign of life for so long a connection is given up, ms. */
  readonly keepaliveMs: number
  /** Upper bound of the time between two attempts to connect, ms. */
  readonly dialMs: number
}

/** One direction of a connection. */
type Lane = {
  readonly from: SimPeers
  readonly to: SimPeers
  /** Nothing arrives before what was sent earlier. */
  nextAt: number
  /** Arrived while the direction was blocked, in order. */
  held: (() => void)[]
  /** Parcels sent and not arrived. */
  underWay: number
  /** The receiver knows of the connection. */
  up: boolean
  /** What is still on its way is lost. */
  cut: boolean
  /** The receiver knows of the loss, or is dead. */
  over: boolean
}

type Link = { readonly lanes: readonly [Lane, Lane]; open: boolean }

export type PeerTrace = (to: number, from: number, message: PeerMessage) => void

/** Longest ordinary delay on a good network, ms. */
const calmDelayMs = 3

/** See file header. */
export class PeerNetwork {
  /** Messages delivered. */
  delivered = 0
  /** Connections that came about. */
  connections = 0
  readonly #schedule: Schedule
  readonly #prng: Prng
  #speed: PeerSpeed
  readonly #trace: PeerTrace | undefined
  readonly #links = new Map<string, Link>()
  readonly #blocked = new Map<string, number>()
  readonly #slowed = new Map<string, number>()
  /** The present process of each machine. */
  readonly #present = new Map<number, SimPeers>()
  #blocks = 0
  #calm = false

  constructor(schedule: Schedule, prng: Prng, speed: PeerSpeed, trace: PeerTrace | undefined) {
    this.#schedule = schedule
    this.#prng = prng
    this.#speed = speed
    this.#trace = trace
  }

  /** Adds a machine: from now on it and the others are connected whenever that is possible. */
  addMachine(id: number, others: readonly number[]): void {
    for (const other of others) this.#dial(other, id)
  }

  /** The port of a new process. */
  open(process: Process, handler: PeerHandler): Peers {
    const peers = new SimPeers(process, handler, this)
    this.#present.set(process.id, peers)
    return peers
  }

  isBlocked(from: number, to: number): boolean {
    return this.#blocked.has(`${from}>${to}`)
  }

  /** Nothing arrives in this direction until it is unblocked; after the keepalive time the connection is given up. */
  block(from: number, to: number): void {
    if (this.isBlocked(from, to) || from === to) return
    const block = ++this.#blocks
    this.#blocked.set(`${from}>${to}`, block)
    this.#schedule.after(this.#speed.keepaliveMs * this.#prng.between(0.5, 1), () => {
      if (this.#blocked.get(`${from}>${to}`) === block) this.disconnect(from, to)
    })
  }

  unblock(from: number, to: number): void {
    this.#blocked.delete(`${from}>${to}`)
    const lane = this.#links.get(keyOf(from, to))?.lanes.find((one) => one.from.id === from)
    for (const arrive of lane?.held.splice(0) ?? []) arrive()
  }

  /** From now on the network is a good one. */
  calm(): void {
    this.#speed = { ...this.#speed, delayMs: Math.min(this.#speed.delayMs, calmDelayMs) }
    this.#calm = true
    this.#slowed.clear()
  }

  /** What is sent in this direction takes longer by up to `extraMs`; 0: no more. */
  slow(from: number, to: number, extraMs: number): void {
    if (extraMs === 0) this.#slowed.delete(`${from}>${to}`)
    else this.#slowed.set(`${from}>${to}`, extraMs)
  }

  /** Ends the connection of two machines, if there is one. */
  disconnect(a: number, b: number): void {
    const link = this.#links.get(keyOf(a, b))
    if (link !== undefined) this.#close(link)
  }

  /**
   * Cuts a machine off so that the others know at once, from a reset, and it only after the keepalive time: nothing at all
   * comes to it. To be unblocked as usual.
   */
  strand(id: number, others: readonly number[]): void {
    for (const other of others) {
      if (other === id) continue
      this.block(id, other)
      this.block(other, id)
      const link = this.#links.get(keyOf(id, other))
      if (link?.open !== true) continue
      link.open = false
      for (const lane of link.lanes) {
        lane.cut = true
        const { keepaliveMs, delayMs } = this.#speed
        const [soonest, latest] = lane.to.id === id ? [0.7 * keepaliveMs, keepaliveMs] : [0, delayMs]
        this.#schedule.after(this.#prng.between(soonest, latest), () => this.#over(link, lane))
      }
    }
  }

  /** As `disconnect`, and nothing that is on its way arrives. */
  sever(a: number, b: number): void {
    const link = this.#links.get(keyOf(a, b))
    if (link === undefined) return
    this.#close(link)
    for (const lane of link.lanes) lane.cut = true
  }

  /** The process of this machine is dead; its kernel says so to the others, if it still can. `loses`: not even that was sent. */
  died(id: number, loses = false): void {
    this.#present.delete(id)
    for (const link of [...this.#links.values()]) {
      const lane = link.lanes.find((one) => one.to.id === id)
      if (lane === undefined) continue
      lane.over = true
      this.#close(link)
      if (loses) for (const one of link.lanes) one.cut = true
      this.#clean(link)
    }
  }

  /** `self` gives up its connection to `peer`, or all of them; with `tell`, it hears of the loss, too. */
  give(self: SimPeers, peer: number | undefined, tell: boolean): void {
    for (const link of [...this.#links.values()]) {
      const lane = link.lanes.find((one) => one.to === self)
      if (lane === undefined || (peer !== undefined && lane.from.id !== peer)) continue
      const known = lane.up && !lane.over
      lane.over = true
      lane.cut = true
      this.#close(link)
      this.#clean(link)
      if (tell && known) self.lost(lane.from.id)
    }
  }

  send(self: SimPeers, to: number, messages: readonly PeerMessage[]): void {
    const lane = this.#laneOf(self, to)
    if (lane === undefined) return
    const bytes = encodeMessages(messages)
    lane.underWay++
    this.#queue(lane, () => {
      lane.underWay--
      lane.to.arrived(self.id, bytes)
    })
  }

  /** For the trace and the figures. */
  tell(to: number, from: number, message: PeerMessage): void {
    this.delivered++
    this.#trace?.(to, from, message)
  }

  /** Parcels on their way from `self` to a peer that it is connected to. */
  underWay(self: SimPeers, to: number): number {
    return this.#laneOf(self, to)?.underWay ?? 0
  }

  /** Whether `self` knows of a connection to `from` and of no end of it. */
  isConnected(self: SimPeers, from: number): boolean {
    const back = this.#links.get(keyOf(self.id, from))?.lanes.find((lane) => lane.to === self)
    return back?.up === true && !back.over
  }

  #dial(a: number, b: number): void {
    this.#schedule.after(this.#prng.between(0.5, this.#speed.dialMs), () => {
      const [one, other] = [this.#present.get(a), this.#present.get(b)]
      const free = !this.isBlocked(a, b) && !this.isBlocked(b, a) && !this.#links.has(keyOf(a, b))
      if (free && one?.wants(b) && other?.wants(a)) this.#connect(one, other)
      this.#dial(a, b)
    })
  }

  #connect(a: SimPeers, b: SimPeers): void {
    const link: Link = { lanes: [createLane(a, b), createLane(b, a)], open: true }
    this.#links.set(keyOf(a.id, b.id), link)
    this.connections++
    for (const lane of link.lanes)
      this.#queue(lane, () => {
        lane.up = true
        lane.to.connected(lane.from.id)
      })
  }

  #close(link: Link): void {
    if (!link.open) return
    link.open = false
    for (const lane of link.lanes) {
      if (this.#prng.chance(0.5)) lane.cut = true
      const over = () => this.#over(link, lane)
      if (this.isBlocked(lane.from.id, lane.to.id)) {
        lane.cut = true
        lane.held = []
        this.#schedule.after(this.#prng.between(0, this.#speed.keepaliveMs), over)
      } else {
        const at = Math.max(lane.nextAt, this.#schedule.now + this.#prng.between(0, this.#speed.delayMs))
        this.#schedule.at(at, over)
      }
    }
  }

  #over(link: Link, lane: Lane): void {
    lane.cut = true
    if (!lane.over && lane.up) lane.to.process.enter('input', () => this.#lost(link, lane))
    else this.#lost(link, lane)
    if (lane.to.process.dead) this.#lost(link, lane)
  }

  #lost(link: Link, lane: Lane): void {
    const told = lane.over || !lane.up
    lane.over = true
    if (!told && !lane.to.process.dead) lane.to.lost(lane.from.id)
    this.#clean(link)
  }

  /** When both sides know of the end a new connection can be made. */
  #clean(link: Link): void {
    const [one, other] = link.lanes
    const key = keyOf(one.from.id, one.to.id)
    if (one.over && other.over && this.#links.get(key) === link) this.#links.delete(key)
  }

  /** Only a side that knows of the connection, and does not know of its end, sends. */
  #laneOf(self: SimPeers, to: number): Lane | undefined {
    const link = this.#links.get(keyOf(self.id, to))
    if (link === undefined || !link.open) return undefined
    const back = link.lanes.find((lane) => lane.to === self)
    return back?.up && !back.over ? link.lanes.find((lane) => lane.from === self) : undefined
  }

  #queue(lane: Lane, deliver: () => void): void {
    const slow = !this.#calm && this.#prng.chance(0.01) ? 10 : 1
    const extra = this.#slowed.get(`${lane.from.id}>${lane.to.id}`) ?? 0
    const delay = this.#prng.between(0.05, 0.05 + this.#speed.delayMs * slow + extra)
    lane.nextAt = Math.max(lane.nextAt, this.#schedule.now + delay)
    const guarded = () => {
      if (!lane.cut && !lane.over) deliver()
    }
    const arrive = () => {
      if (lane.cut || lane.over) return
      if (lane.held.length > 0 || this.isBlocked(lane.from.id, lane.to.id)) lane.held.push(arrive)
      else lane.to.process.enter('input', guarded)
    }
    this.#schedule.at(lane.nextAt, arrive)
  }
}

/** The peers port of one process. */
export class SimPeers implements Peers {
  readonly process: Process
  readonly #handler: PeerHandler
  readonly #network: PeerNetwork
  #members: ReadonlySet<number> = new Set()
  #outbox = new Map<number, PeerMessage[]>()
  #waiting: { readonly to: number; readonly resolve: () => void }[] = []
  #suspended = false
  #closed = false

  constructor(process: Process, handler: PeerHandler, network: PeerNetwork) {
    this.process = process
    this.#handler = handler
    this.#network = network
  }

  get id(): number {
    return this.process.id
  }

  /** Whether it would connect to a peer, or let it connect. */
  wants(peer: number): boolean {
    return (
      !this.process.dead &&
      !this.process.paused &&
      !this.#suspended &&
      !this.#closed &&
      this.#members.has(peer)
    )
  }

  // ---------------------------------------------------------------- from the network

  connected(peer: number): void {
    if (this.#closed) return
    this.#handler.connected(peer)
    this.flush()
  }

  lost(peer: number): void {
    this.#outbox.delete(peer)
    if (this.#closed) return
    this.#handler.lost(peer)
    this.#release()
    this.flush()
  }

  /** What was sent in one turn arrives as one chunk. */
  arrived(from: number, bytes: Buffer): void {
    decodeMessages(bytes, (message) => {
      if (this.#closed || this.process.dead || !this.#network.isConnected(this, from)) return
      this.#network.tell(this.id, from, message)
      this.#handler.received(from, message)
    })
    if (!this.#closed && !this.process.dead) this.#handler.handled()
    this.flush()
  }

  // ---------------------------------------------------------------- Peers

  send(to: number, message: PeerMessage): void {
    const queue = this.#outbox.get(to)
    if (queue === undefined) this.#outbox.set(to, [message])
    else queue.push(message)
  }

  flush(): void {
    if (this.#outbox.size === 0 || !this.process.acts()) return
    const outbox = this.#outbox
    this.#outbox = new Map()
    for (const [to, messages] of outbox) this.#network.send(this, to, messages)
  }

  drained(to: number): Promise<void> {
    this.flush()
    return new Promise((resolve) => {
      this.#waiting.push({ to, resolve })
      this.#poll()
    })
  }

  drop(peer: number): void {
    if (!this.process.acts()) return
    this.#outbox.delete(peer)
    this.#network.give(this, peer, false)
  }

  setMembers(members: readonly Member[]): void {
    this.#members = new Set(members.map(({ id }) => id).filter((id) => id !== this.id))
  }

  suspend(): void {
    if (!this.process.acts()) return
    this.#suspended = true
    this.#outbox.clear()
    this.#network.give(this, undefined, true)
  }

  resume(): void {
    this.#suspended = false
  }

  close(): Promise<void> {
    this.#closed = true
    this.#network.give(this, undefined, false)
    return Promise.resolve()
  }

  /** Looks after a while whether little is on its way. */
  #poll(): void {
    this.process.enterAfter(0.5, 'input', () => {
      this.#release()
      if (this.#waiting.length > 0) this.#poll()
    })
  }

  #release(): void {
    const still = this.#waiting.filter(({ to }) => this.#network.underWay(this, to) > 3)
    const done = this.#waiting.filter((one) => !still.includes(one))
    this.#waiting = still
    for (const { resolve } of done) resolve()
  }
}

function createLane(from: SimPeers, to: SimPeers): Lane {
  return { from, to, nextAt: 0, held: [], underWay: 0, up: false, cut: false, over: false }
}

function keyOf(a: number, b: number): string {
  return a < b ? `${a}-${b}` : `${b}-${a}`
}

// The network between servers: one connection per pair, FIFO and reliable while it lasts. Directions can be blocked on
// their own. What the transport promises to the core holds here, too: a connection is made only when both directions
// work, one that is silent in a direction for the keepalive time is given up by the side that hears nothing, and each
// side learns of the loss before it hears of a new connection.
import type { Message } from '../src/zab/messages.ts'
import type { VotingAt } from '../src/zab/types.ts'
import type { Checkpoint } from './disk.ts'
import type { Prng } from './prng.ts'
import type { Profile } from './profile.ts'
import type { Schedule } from './schedule.ts'

/** What travels: the core's messages, and the snapshots of the node. */
export type Parcel =
  | { readonly type: 'core'; readonly message: Message }
  | {
      readonly type: 'snapshot'
      readonly session: number
      readonly checkpoint: Checkpoint
      readonly voting: VotingAt | undefined
    }

/** A server as the network sees it. */
export type Endpoint = {
  readonly id: number
  readonly running: boolean
  connected(peer: number): void
  lost(peer: number): void
  received(from: number, parcel: Parcel): void
}

/** One direction of a connection. */
type Lane = {
  readonly from: Endpoint
  readonly to: Endpoint
  /** Nothing arrives before what was sent earlier. */
  nextAt: number
  /** Arrived while the direction was blocked, in order. */
  held: (() => void)[]
  /** The receiver knows of the connection. */
  up: boolean
  /** What is still on its way is lost. */
  cut: boolean
  /** The receiver knows of the loss, or is dead. */
  over: boolean
}

type Connection = { readonly lanes: readonly [Lane, Lane]; open: boolean }

/** See file header. */
export class Network {
  readonly #schedule: Schedule
  readonly #prng: Prng
  readonly #profile: Profile
  readonly #connections = new Map<string, Connection>()
  readonly #blocked = new Map<string, number>()
  readonly #endpoints: Endpoint[] = []
  #blocks = 0
  /** Messages delivered. */
  delivered = 0

  constructor(schedule: Schedule, prng: Prng, profile: Profile) {
    this.#schedule = schedule
    this.#prng = prng
    this.#profile = profile
  }

  /** Adds a server; from now on it and the others try to connect whenever they can. */
  add(endpoint: Endpoint): void {
    for (const other of this.#endpoints) this.#dial(other, endpoint)
    this.#endpoints.push(endpoint)
  }

  send(from: number, to: number, parcel: Parcel, extraMs = 0): void {
    const lane = this.#laneOf(from, to)
    if (lane === undefined) return
    this.#queue(lane, extraMs, () => {
      this.delivered++
      lane.to.received(from, parcel)
    })
  }

  isBlocked(from: number, to: number): boolean {
    return this.#blocked.has(`${from}>${to}`)
  }

  /** Nothing arrives in this direction until it is unblocked; after the keepalive time the connection is given up. */
  block(from: number, to: number): void {
    if (this.isBlocked(from, to)) return
    const block = ++this.#blocks
    this.#blocked.set(`${from}>${to}`, block)
    this.#schedule.after(this.#profile.keepaliveMs * this.#prng.between(0.5, 1), () => {
      if (this.#blocked.get(`${from}>${to}`) === block) this.disconnect(from, to)
    })
  }

  unblock(from: number, to: number): void {
    this.#blocked.delete(`${from}>${to}`)
    const lane = this.#connections.get(keyOf(from, to))?.lanes.find((one) => one.from.id === from)
    for (const arrive of lane?.held.splice(0) ?? []) arrive()
  }

  /** Ends the connection of two servers, if there is one. */
  disconnect(a: number, b: number): void {
    const connection = this.#connections.get(keyOf(a, b))
    if (connection !== undefined) this.#close(connection)
  }

  /** The process of this server is dead; its kernel says so to the others, if it still can. */
  died(id: number): void {
    for (const connection of [...this.#connections.values()]) {
      const lane = connection.lanes.find((one) => one.to.id === id)
      if (lane === undefined) continue
      lane.over = true
      this.#close(connection)
      this.#clean(connection)
    }
  }

  /** Whether somebody has not noticed yet that the connections of a dead server are gone. */
  isMissed(id: number): boolean {
    return [...this.#connections.values()].some(({ lanes }) => lanes.some((lane) => lane.from.id === id))
  }

  #dial(a: Endpoint, b: Endpoint): void {
    this.#schedule.after(this.#prng.between(0.5, this.#profile.dialMs), () => {
      const key = keyOf(a.id, b.id)
      const free = !this.isBlocked(a.id, b.id) && !this.isBlocked(b.id, a.id)
      if (free && a.running && b.running && !this.#connections.has(key)) this.#connect(key, a, b)
      this.#dial(a, b)
    })
  }

  #connect(key: string, a: Endpoint, b: Endpoint): void {
    const connection: Connection = { lanes: [createLane(a, b), createLane(b, a)], open: true }
    this.#connections.set(key, connection)
    for (const lane of connection.lanes)
      this.#queue(lane, 0, () => {
        lane.up = true
        lane.to.connected(lane.from.id)
      })
  }

  #close(connection: Connection): void {
    if (!connection.open) return
    connection.open = false
    for (const lane of connection.lanes) {
      if (this.#prng.chance(0.5)) lane.cut = true
      const over = () => this.#over(connection, lane)
      if (this.isBlocked(lane.from.id, lane.to.id)) {
        lane.cut = true
        lane.held = []
        this.#schedule.after(this.#prng.between(0, this.#profile.keepaliveMs), over)
      } else {
        const at = Math.max(lane.nextAt, this.#schedule.now + this.#prng.between(0, this.#profile.delayMs))
        this.#schedule.at(at, over)
      }
    }
  }

  #over(connection: Connection, lane: Lane): void {
    lane.cut = true
    if (!lane.over && lane.up) lane.to.lost(lane.from.id)
    lane.over = true
    this.#clean(connection)
  }

  /** When both sides know of the end a new connection can be made. */
  #clean(connection: Connection): void {
    const [one, other] = connection.lanes
    const key = keyOf(one.from.id, one.to.id)
    if (one.over && other.over && this.#connections.get(key) === connection) this.#connections.delete(key)
  }

  /** Only a side that knows of the connection, and does not know of its end, sends. */
  #laneOf(from: number, to: number): Lane | undefined {
    const connection = this.#connections.get(keyOf(from, to))
    if (connection === undefined || !connection.open) return undefined
    const back = connection.lanes.find((lane) => lane.to.id === from)
    return back?.up ? connection.lanes.find((lane) => lane.from.id === from) : undefined
  }

  #queue(lane: Lane, extraMs: number, deliver: () => void): void {
    const slow = this.#prng.chance(0.01) ? 10 : 1
    const delay = this.#prng.between(0.05, 0.05 + this.#profile.delayMs * slow) + extraMs
    lane.nextAt = Math.max(lane.nextAt, this.#schedule.now + delay)
    const arrive = () => {
      if (lane.cut || lane.over) return
      if (lane.held.length > 0 || this.isBlocked(lane.from.id, lane.to.id)) lane.held.push(arrive)
      else deliver()
    }
    this.#schedule.at(lane.nextAt, arrive)
  }
}

function createLane(from: Endpoint, to: Endpoint): Lane {
  return { from, to, nextAt: 0, held: [], up: false, cut: false, over: false }
}

function keyOf(a: number, b: number): string {
  return a < b ? `${a}-${b}` : `${b}-${a}`
}

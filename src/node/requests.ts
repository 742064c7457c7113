// Requests of this server's clients on their way to their outcome: those that gather for the next proposal, or for the
// leader, and those that the leader has been sent. The leader proposes what one learner sends in the order it was sent,
// so the learner finds its own transactions again by counting. Who waits is a connection; nothing here knows more of it.
import { assert } from '../base/assert.ts'
import { Writer } from '../jute/writer.ts'
import type { Connection } from '../server/connection.ts'
import type { Id } from '../tree/acl.ts'
import { Batch } from '../tree/batch.ts'

/** Batches are written one behind the other into buffers of this size: some hundred of a lone write each. */
const roomBytes = 64 << 10
/** A buffer that had to be larger than this for a batch is not kept for the next one. */
const roomMax = 256 << 10

/** Transactions of a batch that this server is answerable for. */
export type Origins = {
  /** Who waits for each, by its index. */
  readonly connections: (Connection | undefined)[]
  /** Since when, monotonic ms. */
  readonly arrivals: number[]
  /** How many they are, and the bytes of their bodies. */
  count: number
  bytes: number
}

/** What a leader proposes in one entry. */
export type Proposed = { readonly batch: Batch; readonly bytes: Buffer; readonly origins: Origins }

/** A learner's relation with its leader, by which its transactions are marked. */
export type Relation = { readonly server: number; readonly session: number }

/** See file header. */
export class Requests {
  /** Requests of this server's clients, its own, and as leader those of learners, that are not done. */
  outstanding = 0
  /** Bytes of their bodies. */
  bytes = 0
  /** Of this learner with its leader, while there is one. */
  relation: Relation | undefined
  readonly #options: number
  #room = new Writer(roomBytes)
  #batch: Batch
  /** Undefined before the first request. */
  #origins: Origins | undefined
  /** Sent to the leader, oldest first, from `#head` on. */
  #sent: Origins = originsFor(0)
  #head = 0

  /** `options`: bits of BatchOption for what this server proposes. */
  constructor(options: number) {
    this.#options = options
    this.#batch = new Batch(0, options, this.#room)
  }

  /** Requests that gather. */
  get count(): number {
    return this.#batch.count
  }

  /** Bytes of their bodies. */
  get size(): number {
    return this.#batch.size
  }

  /** A request; `origin` is whoever waits for the outcome. The body `buf[start, end)` is copied. */
  add(
    kind: number,
    session: number,
    cxid: number,
    ids: readonly Id[],
    buf: Uint8Array,
    start: number,
    end: number,
    origin: Connection | undefined,
    arrived: number,
  ): void {
    this.#batch.add(kind, session, cxid, ids, buf, start, end)
    const origins = this.#origins
    if (origins === undefined) {
      // Most often the only one: an array that is pushed to takes room for 17.
      this.#origins = { connections: [origin], arrivals: [arrived], count: 1, bytes: end - start }
    } else {
      origins.connections.push(origin)
      origins.arrivals.push(arrived)
      origins.count++
      origins.bytes += end - start
    }
    this.outstanding++
    this.bytes += end - start
  }

  /** Marks the request added last as one that `server` sent in its relation `session`. */
  forwarded(server: number, session: number): void {
    this.#batch.forwarded(server, session)
  }

  /** Takes what has gathered, to propose it; `time` is the wall clock, ms. */
  take(time: number): Proposed {
    const batch = this.#batch
    batch.time = time
    const proposed = { batch, bytes: batch.encode(), origins: this.#origins ?? originsFor(0) }
    if (this.#room.buf.length > roomMax) this.#room = new Writer(roomBytes)
    this.#batch = new Batch(0, this.#options, this.#room)
    this.#origins = undefined
    return proposed
  }

  /** Takes what has gathered as bytes for the leader, and remembers who waits. */
  send(): Buffer {
    const { bytes, origins } = this.take(0)
    const sent = this.#sent
    if (this.#head === sent.connections.length) {
      this.#sent = origins
      this.#head = 0
    } else {
      for (const connection of origins.connections) sent.connections.push(connection)
      for (const arrived of origins.arrivals) sent.arrivals.push(arrived)
    }
    return bytes
  }

  /** Who waits here for transactions of a batch, if it has any that this server sent to its leader. */
  originsOf(batch: Batch): Origins | undefined {
    const { relation } = this
    if (relation === undefined) return undefined
    let origins: Origins | undefined
    for (const { from, count, server, session } of batch.runs) {
      if (server !== relation.server || session !== relation.session) continue
      origins ??= originsFor(batch.count)
      assert(this.#head + count <= this.#sent.connections.length, 'the leader proposed what it was not sent')
      for (let i = from; i < from + count; i++, this.#head++) {
        origins.connections[i] = this.#sent.connections[this.#head]
        origins.arrivals[i] = this.#sent.arrivals[this.#head] as number
        origins.bytes += batch.endOf(i) - batch.startOf(i)
      }
      origins.count += count
    }
    this.#compact()
    return origins
  }

  /** All of these are done. */
  answered({ count, bytes }: Origins): void {
    this.outstanding -= count
    this.bytes -= bytes
  }

  /** Gives everything up; adds to `waiting` who waits for any of it. */
  abandon(waiting: Set<Connection>): void {
    for (const { connections } of [this.take(0).origins, this.#sent])
      for (const connection of connections) if (connection !== undefined) waiting.add(connection)
    this.#sent = originsFor(0)
    this.#head = 0
    this.outstanding = 0
    this.bytes = 0
  }

  #compact(): void {
    const { connections, arrivals } = this.#sent
    if (this.#head < 1024 || this.#head * 2 < connections.length) return
    connections.splice(0, this.#head)
    arrivals.splice(0, this.#head)
    this.#head = 0
  }
}

/** For so many transactions, none of which is known to be this server's. */
function originsFor(transactions: number): Origins {
  return { connections: new Array(transactions), arrivals: new Array(transactions), count: 0, bytes: 0 }
}

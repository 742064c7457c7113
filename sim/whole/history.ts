// The one committed history, as the simulator knows it: which entries were made, which of them are applied anywhere, and
// what each transaction came to by the model. Every server's state and every reply is held against it.
import { Code, codeName } from '../../src/base/errors.ts'
import { Op } from '../../src/base/opcodes.ts'
import { counterOf, epochOf, formatZxid } from '../../src/base/zxid.ts'
import { Batch } from '../../src/tree/batch.ts'
import type { Entry } from '../../src/zab/types.ts'
import { check } from './check.ts'
import { Model } from './model.ts'
import { isWrite, type Outcome, opOf, type Request } from './requests.ts'

/** A request of a client, from the moment it was sent. */
export type Call = {
  readonly session: Session
  readonly xid: number
  readonly request: Request
  /** Highest zxid that any client had seen when it was sent: what it must be ordered behind. */
  readonly floor: number
  readonly sentAt: number
  /** Where it took effect, by the committed history, and what it came to. */
  zxid: number | undefined
  outcome: Outcome | undefined
  /** The client was told that nothing was done. */
  refused: boolean
}

/** A session as its client knows it. */
export type Session = {
  readonly id: number
  readonly client: number
  /** Its calls that are writes, by xid. */
  readonly writes: Map<number, Call>
  /** xid of its newest write in the history. */
  lastXid: number
  /** The client has no use for it any more: it asked for its end, or left it to expire. */
  abandoned: boolean
  /** A server has told its client that there is no such session. */
  refused: boolean
}

/** Digest of a server's state, for comparison. */
export type Digest = readonly [high: number, low: number]

/** See file header. */
export class History {
  readonly model = new Model()
  /** Highest zxid in any reply. */
  observed = 0
  /** Writes in the history. */
  writes = 0
  /** Sessions that were closed without their client's asking. */
  expired = 0
  readonly #entries = new Map<number, Entry>()
  /** Entries of each epoch, ascending. */
  readonly #byEpoch = new Map<number, Entry[]>()
  readonly #sessions = new Map<number, Session>()
  readonly #digests = new Map<number, Digest>()
  /** Ends of the entries that the model has applied, wholly or in part. */
  readonly #committedEnds = new Set<number>()
  /** Told of sessions that end without their client's asking. */
  onExpiry: (session: number, zxid: number) => void = () => undefined
  onTransaction: ((line: string) => void) | undefined

  // ---------------------------------------------------------------- entries

  /** An entry is handed to some disk: equal zxid is the same entry after the same history. */
  offered(server: number, entry: Entry): void {
    const known = this.#entries.get(entry.last)
    if (known !== undefined) {
      const same =
        known.prev === entry.prev &&
        known.first === entry.first &&
        Buffer.compare(known.bytes, entry.bytes) === 0
      check(same, () => `server ${server} logs another ${formatZxid(entry.last)} than was proposed`)
      return
    }
    const epoch = epochOf(entry.first)
    let list = this.#byEpoch.get(epoch)
    if (list === undefined) {
      list = []
      this.#byEpoch.set(epoch, list)
    }
    const before = list.at(-1)
    const follows = before === undefined ? counterOf(entry.first) === 1 : entry.first === before.last + 1
    check(follows && entry.last >= entry.first, () => {
      const range = `${formatZxid(entry.first)} to ${formatZxid(entry.last)}`
      return `server ${server} logs ${range}, made after ${formatZxid(before?.last ?? 0)} of that epoch`
    })
    const copy = { ...entry, bytes: new Uint8Array(entry.bytes) }
    list.push(copy)
    this.#entries.set(entry.last, copy)
  }

  /** An entry is durable somewhere. */
  appended(server: number, entry: Entry, prev: number): void {
    check(prev === entry.prev, () => {
      const want = formatZxid(entry.prev)
      return `server ${server}'s log has ${formatZxid(entry.last)} after ${formatZxid(prev)}, it belongs after ${want}`
    })
  }

  /** The end of the entry that `zxid` is in. */
  endOfEntry(zxid: number): number {
    return this.#entryOf(zxid)?.last ?? zxid
  }

  #entryOf(zxid: number): Entry | undefined {
    const list = this.#byEpoch.get(epochOf(zxid)) ?? []
    let low = 0
    let high = list.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((list[middle] as Entry).last < zxid) low = middle + 1
      else high = middle
    }
    const entry = list[low]
    return entry !== undefined && entry.first <= zxid ? entry : undefined
  }

  // ---------------------------------------------------------------- what is applied

  /**
   * A server's state is the one after `zxid`: it must be a state of the one history, and the same as every other server's
   * at that zxid.
   */
  applied(server: number, zxid: number, digest: Digest | undefined): void {
    if (zxid > this.model.zxid) this.#advance(server, zxid)
    else if (zxid > 0)
      check(this.#isCommitted(zxid), () => {
        const at = formatZxid(this.model.zxid)
        return `server ${server} has applied ${formatZxid(zxid)}, which is not in the history that goes to ${at}`
      })
    if (digest === undefined) return
    const known = this.#digests.get(zxid)
    if (known === undefined) this.#digests.set(zxid, digest)
    else
      check(known[0] === digest[0] && known[1] === digest[1], () => {
        return `server ${server}'s state at ${formatZxid(zxid)} differs from another server's`
      })
  }

  #isCommitted(zxid: number): boolean {
    const entry = this.#entryOf(zxid)
    return entry !== undefined && this.#committedEnds.has(entry.last)
  }

  /** Follows the history from the newest known state to `zxid`. */
  #advance(server: number, zxid: number): void {
    const path: Entry[] = []
    let entry = this.#entryOf(zxid)
    for (; entry !== undefined && entry.last > this.model.zxid; entry = this.#entries.get(entry.prev))
      path.push(entry)
    const from = path.at(-1)
    // The model stands at the end of an entry, or inside of one.
    const joins = from !== undefined && (from.prev === this.model.zxid || from.first <= this.model.zxid)
    check(joins, () => {
      const at = formatZxid(this.model.zxid)
      return `server ${server} has applied ${formatZxid(zxid)}, whose history does not go through ${at}`
    })
    for (const next of path.reverse()) this.#apply(next, zxid)
  }

  #apply(entry: Entry, upTo: number): void {
    this.#committedEnds.add(entry.last)
    const batch = Batch.decode(entry.bytes)
    check(batch.count === entry.last - entry.first + 1, () => {
      return `entry ${formatZxid(entry.first)} has ${batch.count} transactions for ${entry.last - entry.first + 1} zxids`
    })
    for (let i = 0; i < batch.count; i++) {
      const zxid = entry.first + i
      if (zxid > this.model.zxid && zxid <= upTo) this.#transaction(batch, i, zxid)
    }
  }

  #transaction(batch: Batch, i: number, zxid: number): void {
    const kind = batch.kindOf(i)
    const session = batch.sessionOf(i)
    const xid = batch.cxidOf(i)
    const { time } = batch
    const { model } = this
    this.onTransaction?.(`${formatZxid(zxid)} op ${kind} of 0x${session.toString(16)} xid ${xid}`)
    if (kind === Op.createSession) {
      check(!model.isOpen(session) && model.closedAt(session) === undefined, () => {
        return `session 0x${session.toString(16)} is opened twice, the second time at ${formatZxid(zxid)}`
      })
      model.openSession(session, zxid)
    } else if (kind === Op.closeSession && xid === 0) {
      if (model.isOpen(session)) {
        this.expired++
        this.onExpiry(session, zxid)
      }
      model.closeSession(session, { zxid, time, session })
    } else if (session === 0) {
      model.skip(zxid)
    } else {
      this.#write(kind, session, xid, zxid, batch, i)
    }
  }

  #write(kind: number, id: number, xid: number, zxid: number, batch: Batch, i: number): void {
    const session = this.#sessions.get(id)
    const call = session?.writes.get(xid)
    const what = () => `${formatZxid(zxid)} (op ${kind}, session 0x${id.toString(16)}, xid ${xid})`
    check(session !== undefined && call !== undefined, () => `nobody asked for ${what()}`)
    check(
      call.zxid === undefined,
      () => `${what()} is there twice, before at ${formatZxid(call.zxid as number)}`,
    )
    check(!call.refused, () => `${what()} was done though its client was told that it was not`)
    call.zxid = zxid
    this.writes++
    if (kind === Op.error) {
      const err = batch.buf.readInt32BE(batch.startOf(i))
      check(err !== Code.ok, () => `${what()} is an error without a code`)
      this.model.skip(zxid)
      call.outcome = { err }
      // The client is connected elsewhere and asks there; here is only said that nothing was done.
      if (err === Code.sessionMoved) return
    }
    // Once a session is closed, what still comes of it changes nothing, in whatever order.
    check(
      xid > session.lastXid || !this.model.isOpen(id),
      () => `${what()} comes after xid ${session.lastXid} of its session`,
    )
    session.lastXid = xid
    if (kind === Op.error) return
    const at = { zxid, time: batch.time, session: id }
    const { request } = call
    check(isWrite(request) && opOf(request) === kind, () => `${what()} was asked for as ${request.type}`)
    call.outcome = this.model.write(request, at)
  }

  // ---------------------------------------------------------------- sessions and replies

  /** A client was given a session: it must be open, or have been, and nobody else's. */
  sessionGiven(id: number, client: number): Session {
    const hex = `0x${id.toString(16)}`
    check(!this.#sessions.has(id), () => `session ${hex} is given to client ${client}, but it is another's`)
    const known = this.model.isOpen(id) || this.model.closedAt(id) !== undefined
    check(known, () => `session ${hex} is given to client ${client} before it is in the history`)
    const session: Session = {
      id,
      client,
      writes: new Map(),
      lastXid: 0,
      abandoned: false,
      refused: false,
    }
    this.#sessions.set(id, session)
    return session
  }

  sessionOf(id: number): Session | undefined {
    return this.#sessions.get(id)
  }

  get sessions(): Iterable<Session> {
    return this.#sessions.values()
  }

  /** A client sees a state: somebody must have applied it. */
  seen(zxid: number): void {
    check(zxid <= this.model.zxid, () => `a reply is of ${formatZxid(zxid)}, which nobody has applied`)
    this.observed = Math.max(this.observed, zxid)
  }

  /** A client has its answer: it must be the one that the history gives at that zxid. */
  answered(call: Call, zxid: number, outcome: Outcome): void {
    const { request, session } = call
    const what = () =>
      `client ${session.client}'s ${request.type} (xid ${call.xid} of 0x${session.id.toString(16)}, ${JSON.stringify(request)})`
    if (isWrite(request)) {
      if (outcome.err === Code.systemError && call.zxid !== zxid) {
        check(call.zxid === undefined, () => `${what()} is said to be refused, but it was done`)
        call.refused = true
        return
      }
      check(call.zxid === zxid, () => {
        const where = call.zxid === undefined ? 'not in the history' : formatZxid(call.zxid)
        return `${what()} is answered at ${formatZxid(zxid)}, but it is ${where}`
      })
      check(zxid > call.floor, () => {
        return `${what()} took effect at ${formatZxid(zxid)}, but ${formatZxid(call.floor)} had been seen before it was sent`
      })
      this.#compare(what, zxid, outcome, call.outcome as Outcome)
    } else if (request.type === 'sync') {
      check(zxid >= call.floor, () => {
        return `${what()} is answered at ${formatZxid(zxid)}, but ${formatZxid(call.floor)} had been seen before it was sent`
      })
    } else if (request.type !== 'removeWatches') {
      this.#compare(what, zxid, outcome, this.model.read(request, session.id, zxid))
    }
  }

  #compare(what: () => string, zxid: number, got: Outcome, want: Outcome): void {
    if (JSON.stringify(got) === JSON.stringify(want)) return
    const [a, b] = [canonical(got), canonical(want)]
    check(a === b, () => {
      const codes = got.err === want.err ? '' : ` (${codeName(got.err)} for ${codeName(want.err)})`
      return `${what()} is answered ${a} at ${formatZxid(zxid)}, expected ${b}${codes}`
    })
  }
}

/** Text that is equal for equal outcomes, whatever the order of their fields. */
function canonical(outcome: Outcome): string {
  const sort = (_: string, value: unknown): unknown => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
    return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
  }
  return JSON.stringify(outcome, sort)
}

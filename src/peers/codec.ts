// The bytes of what servers say to each other. Everything queued for a peer in a turn is one frame:
//
//   u32 length of the rest | u32 length of the head | head: msgpack [[kind, field, …], …] | the bytes of the fields
//
// A field of bytes is only its length in the head, and the bytes follow in order: they are not copied out of the frame.
// Rows are by position, never records with names. A frame of length 0 is a sign of life. Here is what both sides know, and
// the receiving side: what is decoded was checked, types, ranges and lengths. The sending side is encode.ts.
import { Packr } from 'msgpackr'
import { readU32 } from '../base/bytes.ts'
import { maxEpoch } from '../base/zxid.ts'
import type { Status } from '../zab/messages.ts'
import type { Entry, Voting, VotingAt } from '../zab/types.ts'
import type { PeerMessage } from './messages.ts'
import { PeerFault } from './types.ts'

/** The longest frame, unless it is set otherwise. A batch of a turn and the largest request must fit in. */
export const defaultMaxFrameBytes = 64 << 20

/** The frame that says nothing but that its sender is alive. */
export const keepalive: Buffer = Buffer.alloc(4)

export const lengthBytes = 4
/** Both lengths. */
export const prefixBytes = 8
/** What a sink takes (storage/types.ts). */
const maxKeyBytes = 65535

/** The first number of every message. Changing one, or the fields after it, means a new protocol version. */
export const Kind = {
  status: 1,
  followerInfo: 2,
  newEpoch: 3,
  ackEpoch: 4,
  find: 5,
  found: 6,
  diff: 7,
  snapshot: 8,
  installed: 9,
  proposal: 10,
  ack: 11,
  newLeader: 12,
  ackNewLeader: 13,
  upToDate: 14,
  commit: 15,
  ping: 16,
  pong: 17,
  forward: 18,
  sync: 19,
  synced: 20,
  claim: 21,
  claimed: 22,
  moved: 23,
  touches: 24,
  digest: 25,
  divergence: 26,
  snapshotPart: 27,
  snapshotEnd: 28,
  snapshotFailed: 29,
} as const

export const states: readonly Status['state'][] = ['looking', 'following', 'leading']
export const blankRules: readonly Status['blanks'][] = ['none', 'empty', 'any']

const packr = new Packr({ useRecords: false })
/** For what a checkpoint's meta carries (encode.ts). */
const statePackr = new Packr({ useRecords: true })

/** Cuts what arrives into frames and these into messages. One per connection. */
export class FrameReader {
  readonly #maxFrameBytes: number
  /** The beginning of a frame whose end has not come: its length bytes first, then the frame without them. */
  #partial: Buffer | undefined
  #filled = 0
  #lengthKnown = false

  constructor(maxFrameBytes: number = defaultMaxFrameBytes) {
    this.#maxFrameBytes = maxFrameBytes
  }

  /**
   * Calls `each` for every message that is complete now, in order, until it returns false: the rest is dropped then.
   * Bytes of messages are views of `chunk` (or of a buffer for a frame that came in several). Throws PeerFault.
   */
  push(chunk: Buffer, each: (message: PeerMessage) => boolean): void {
    let at = 0
    while (at < chunk.length) {
      if (this.#partial === undefined) {
        if (chunk.length - at >= lengthBytes) {
          const length = this.#checked(readU32(chunk, at))
          at += lengthBytes
          if (chunk.length - at >= length) {
            if (length > 0 && !deliver(chunk, at, at + length, each)) return
            at += length
          } else {
            this.#expect(length)
          }
          continue
        }
        this.#partial = Buffer.allocUnsafe(lengthBytes)
        this.#filled = 0
        this.#lengthKnown = false
      }
      const copied = Math.min(this.#partial.length - this.#filled, chunk.length - at)
      chunk.copy(this.#partial, this.#filled, at, at + copied)
      at += copied
      this.#filled += copied
      if (this.#filled < this.#partial.length) return
      const full = this.#partial
      this.#partial = undefined
      if (this.#lengthKnown) {
        if (!deliver(full, 0, full.length, each)) return
      } else {
        const length = this.#checked(readU32(full, 0))
        if (length > 0) this.#expect(length)
      }
    }
  }

  #expect(length: number): void {
    // Not from the pool: parts of it may be kept for long.
    this.#partial = Buffer.allocUnsafeSlow(length)
    this.#filled = 0
    this.#lengthKnown = true
  }

  #checked(length: number): number {
    if (length > this.#maxFrameBytes) {
      throw new PeerFault(`a frame of ${length} bytes; the limit is ${this.#maxFrameBytes}`)
    }
    return length
  }
}

function deliver(
  frame: Buffer,
  start: number,
  end: number,
  each: (message: PeerMessage) => boolean,
): boolean {
  for (const message of decodeFrame(frame, start, end)) if (!each(message)) return false
  return true
}

/** The messages of the frame in `[start, end)`, its length bytes not included. Throws PeerFault. */
export function decodeFrame(frame: Buffer, start: number, end: number): PeerMessage[] {
  const bodyAt = start + lengthBytes
  const headEnd = end < bodyAt ? Number.POSITIVE_INFINITY : bodyAt + readU32(frame, start)
  if (headEnd > end || headEnd === bodyAt) throw new PeerFault('a frame with lengths that can not be')
  let rows: unknown
  try {
    rows = packr.unpack(frame, { start: bodyAt, end: headEnd })
  } catch (error) {
    throw new PeerFault('a frame that is not msgpack', { cause: error })
  }
  if (!Array.isArray(rows)) throw new PeerFault('a frame that is not a list of messages')
  const fields = new Fields(frame, headEnd, end)
  const messages: PeerMessage[] = []
  for (const row of rows as unknown[]) {
    fields.open(row)
    messages.push(fromFields(fields))
    fields.close()
  }
  if (fields.bytesLeft > 0) throw new PeerFault(`a frame with ${fields.bytesLeft} bytes of no message`)
  return messages
}

function fromFields(fields: Fields): PeerMessage {
  const kind = fields.count('kind')
  if (kind === Kind.status) return statusFrom(fields)
  const session = fields.count('session')
  switch (kind) {
    case Kind.followerInfo: {
      const accepted = fields.epoch()
      return { type: 'followerInfo', session, accepted, observer: fields.flag(), blank: fields.flag() }
    }
    case Kind.newEpoch:
      return { type: 'newEpoch', session, epoch: fields.epoch() }
    case Kind.ackEpoch: {
      const current = fields.epochOrNone()
      return { type: 'ackEpoch', session, current, last: fields.zxidOrNone(), needsSnapshot: fields.flag() }
    }
    case Kind.find:
      return { type: 'find', session, zxid: fields.zxid() }
    case Kind.found:
      return { type: 'found', session, zxid: fields.zxidOrNone() }
    case Kind.diff:
      return { type: 'diff', session, after: fields.zxid() }
    case Kind.snapshot:
      return { type: 'snapshot', session }
    case Kind.installed:
      return { type: 'installed', session, zxid: fields.zxid() }
    case Kind.proposal: {
      const committed = fields.zxid()
      return { type: 'proposal', session, entries: fields.entries(), committed }
    }
    case Kind.ack:
      return { type: 'ack', session, zxid: fields.zxid() }
    case Kind.newLeader:
      return { type: 'newLeader', session, epoch: fields.epoch() }
    case Kind.ackNewLeader:
      return { type: 'ackNewLeader', session }
    case Kind.upToDate:
      return { type: 'upToDate', session, committed: fields.zxid() }
    case Kind.commit:
      return { type: 'commit', session, zxid: fields.zxid() }
    case Kind.ping:
      return { type: 'ping', session, seq: fields.count('seq') }
    case Kind.pong:
      return { type: 'pong', session, seq: fields.count('seq') }
    case Kind.forward:
      return { type: 'forward', session, bytes: fields.bytes() }
    case Kind.sync:
      return { type: 'sync', session, id: fields.count('id') }
    case Kind.synced:
      return { type: 'synced', session, id: fields.count('id'), zxid: fields.zxid() }
    case Kind.claim: {
      const id = fields.count('id')
      const client = fields.count('client')
      return { type: 'claim', session, id, client, timeoutMs: fields.count('timeout') }
    }
    case Kind.claimed: {
      const id = fields.count('id')
      return { type: 'claimed', session, id, open: fields.flag(), zxid: fields.zxid() }
    }
    case Kind.moved:
      return { type: 'moved', session, client: fields.count('client') }
    case Kind.touches: {
      const clients = fields.counts('client')
      const timeouts = fields.counts('timeout')
      if (clients.length !== timeouts.length) throw new PeerFault('touches in columns of unequal length')
      return { type: 'touches', session, clients, timeouts }
    }
    case Kind.digest: {
      const zxid = fields.zxid()
      return { type: 'digest', session, zxid, high: fields.u32('digest'), low: fields.u32('digest') }
    }
    case Kind.divergence:
      return { type: 'divergence', session, zxid: fields.zxid() }
    case Kind.snapshotPart:
      return snapshotPartFrom(fields, session)
    case Kind.snapshotEnd:
      return snapshotEndFrom(fields, session)
    case Kind.snapshotFailed:
      return { type: 'snapshotFailed', session }
    default:
      throw new PeerFault(`a message of the unknown kind ${kind}`)
  }
}

function statusFrom(fields: Fields): PeerMessage {
  return {
    type: 'status',
    state: fields.oneOf(states),
    leader: fields.optionalCount('leader'),
    candidate: fields.flag(),
    current: fields.epochOrNone(),
    last: fields.zxidOrNone(),
    epoch: fields.epochOrNone(),
    blank: fields.flag(),
    blanks: fields.oneOf(blankRules),
    votings: fields.votings(),
    reconfigured: fields.flag(),
    committedVoting: fields.zxid(),
  }
}

function snapshotPartFrom(fields: Fields, session: number): PeerMessage {
  const keyLengths = fields.counts('key length')
  const valueLengths = fields.counts('value length')
  if (keyLengths.length !== valueLengths.length) {
    throw new PeerFault('a part of a snapshot in columns of unequal length')
  }
  for (const length of keyLengths) {
    if (length === 0 || length > maxKeyBytes) throw new PeerFault(`a key of ${length} bytes in a snapshot`)
  }
  const keys = keyLengths.map((length) => fields.take(length))
  return { type: 'snapshotPart', session, keys, values: valueLengths.map((length) => fields.take(length)) }
}

function snapshotEndFrom(fields: Fields, session: number): PeerMessage {
  const zxid = fields.zxid()
  const nodes = fields.count('nodes')
  const digestHigh = fields.u32('digest')
  const digestLow = fields.u32('digest')
  const stateBytes = fields.bytes()
  const voting = fields.votingAt()
  let state: unknown
  try {
    state = statePackr.unpack(stateBytes)
  } catch (error) {
    throw new PeerFault('the end of a snapshot whose state is not msgpack', { cause: error })
  }
  return { type: 'snapshotEnd', session, meta: { zxid, nodes, digestHigh, digestLow, state }, voting }
}

/** Takes the fields of a row one after another, each with what it must be. */
class Fields {
  readonly #frame: Buffer
  readonly #end: number
  /** Where the next field of bytes begins. */
  #bytesAt: number
  #row: readonly unknown[] = []
  #next = 0

  constructor(frame: Buffer, bytesAt: number, end: number) {
    this.#frame = frame
    this.#bytesAt = bytesAt
    this.#end = end
  }

  get bytesLeft(): number {
    return this.#end - this.#bytesAt
  }

  open(row: unknown): void {
    if (!Array.isArray(row)) throw new PeerFault('a message that is not a list of fields')
    this.#row = row as unknown[]
    this.#next = 0
  }

  close(): void {
    if (this.#next !== this.#row.length) {
      throw new PeerFault(`a message of kind ${String(this.#row[0])} with ${this.#row.length} fields`)
    }
  }

  count(what: string): number {
    return checkedWhole(this.#row[this.#next++], 0, Number.MAX_SAFE_INTEGER, what)
  }

  u32(what: string): number {
    return checkedWhole(this.#row[this.#next++], 0, 0xffffffff, what)
  }

  zxid(): number {
    return this.count('zxid')
  }

  zxidOrNone(): number {
    return checkedWhole(this.#row[this.#next++], -1, Number.MAX_SAFE_INTEGER, 'zxid')
  }

  epoch(): number {
    return checkedWhole(this.#row[this.#next++], 0, maxEpoch, 'epoch')
  }

  epochOrNone(): number {
    return checkedWhole(this.#row[this.#next++], -1, maxEpoch, 'epoch')
  }

  flag(): boolean {
    const value = this.#row[this.#next++]
    if (typeof value !== 'boolean') throw wrong('flag', value)
    return value
  }

  /** Of words that are an index on the wire. */
  oneOf<T extends string>(words: readonly T[]): T {
    const index = checkedWhole(this.#row[this.#next++], 0, words.length - 1, 'word')
    return words[index]!
  }

  optionalCount(what: string): number | undefined {
    if (this.#row[this.#next] !== null) return this.count(what)
    this.#next++
    return undefined
  }

  counts(what: string): readonly number[] {
    return checkedCounts(this.#row[this.#next++], what)
  }

  bytes(): Uint8Array {
    return this.take(this.count('length'))
  }

  take(length: number): Uint8Array {
    const at = this.#bytesAt
    if (length > this.#end - at) throw new PeerFault(`a field of ${length} bytes in a shorter frame`)
    this.#bytesAt = at + length
    return this.#frame.subarray(at, this.#bytesAt)
  }

  votings(): Voting[] {
    const value: unknown = this.#row[this.#next++]
    if (!Array.isArray(value)) throw wrong('list of votings', value)
    return value.map(checkedVoting)
  }

  votingAt(): VotingAt | undefined {
    const value = this.#row[this.#next++]
    if (value === null) return undefined
    if (!Array.isArray(value) || value.length !== 2) throw wrong('voting', value)
    return {
      zxid: checkedWhole(value[0], 0, Number.MAX_SAFE_INTEGER, 'zxid'),
      voting: checkedVoting(value[1]),
    }
  }

  entries(): Entry[] {
    const row: unknown = this.#row[this.#next++]
    if (!Array.isArray(row) || row.length % 5 !== 0) throw wrong('list of entries', row)
    const entries: Entry[] = []
    for (let i = 0; i < row.length; i += 5) {
      const prev = checkedWhole(row[i], 0, Number.MAX_SAFE_INTEGER, 'zxid')
      const first = checkedWhole(row[i + 1], prev + 1, Number.MAX_SAFE_INTEGER, 'zxid')
      const last = checkedWhole(row[i + 2], first, Number.MAX_SAFE_INTEGER, 'zxid')
      const bytes = this.take(checkedWhole(row[i + 3], 0, Number.MAX_SAFE_INTEGER, 'length'))
      const voting: unknown = row[i + 4]
      entries.push(
        voting === null
          ? { prev, first, last, bytes }
          : { prev, first, last, bytes, voting: checkedVoting(voting) },
      )
    }
    return entries
  }
}

function checkedVoting(value: unknown): Voting {
  if (!Array.isArray(value) || value.length !== 3) throw wrong('voting', value)
  const [voters, groups, weights]: unknown[] = value
  if (!Array.isArray(groups) || !Array.isArray(weights)) throw wrong('voting', value)
  const ids = checkedCounts(voters, 'server id')
  if (ids.some((id, i) => i > 0 && id <= ids[i - 1]!)) throw wrong('ascending list of server ids', voters)
  return {
    voters: ids,
    groups: groups.map((group: unknown) => checkedCounts(group, 'server id')),
    weights: weights.map((pair: unknown): [number, number] => {
      const [id, weight, ...more] = checkedCounts(pair, 'weight')
      if (id === undefined || weight === undefined || more.length > 0) throw wrong('weight', pair)
      return [id, weight]
    }),
  }
}

function checkedCounts(value: unknown, what: string): readonly number[] {
  if (!Array.isArray(value)) throw wrong(`list (${what})`, value)
  for (let i = 0; i < value.length; i++) checkedWhole(value[i], 0, Number.MAX_SAFE_INTEGER, what)
  return value as number[]
}

function checkedWhole(value: unknown, min: number, max: number, what: string): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) {
    throw wrong(what, value)
  }
  return value
}

function wrong(what: string, value: unknown): PeerFault {
  // An object is not turned into text: it may have come with a toString of its own.
  const seen = typeof value === 'object' && value !== null ? 'a structure' : String(value).slice(0, 40)
  return new PeerFault(`a message with ${seen} for a ${what}`)
}

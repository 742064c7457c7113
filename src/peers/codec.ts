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

/** For what a checkpoint's meta carries (encode.ts). */
const statePackr = new Packr({ useRecords: true })

/** Cuts what arrives into frames and these into messages. One per connection. */
export class FrameReader {
  readonly #maxFrameBytes: number
  readonly #isReused: boolean
  /** The beginning of a frame whose end has not come: its length bytes first, then the frame without them. */
  #partial: Buffer | undefined
  #filled = 0
  #lengthKnown = false
  readonly #fields = new Fields()

  /** `isReused`: a chunk's bytes are there only until `push` returns. */
  constructor(maxFrameBytes: number = defaultMaxFrameBytes, isReused = false) {
    this.#maxFrameBytes = maxFrameBytes
    this.#isReused = isReused
  }

  /**
   * Takes `chunk[0, end)`. Calls `each` for every message that is complete now, in order, until it returns false: the rest is dropped then.
   * Bytes of messages are views of `chunk`, of a copy if that is reused, or of a buffer for a frame that came in several.
   * Throws PeerFault, when what came before the fault was given.
   */
  push(chunk: Buffer, each: (message: PeerMessage) => boolean, end = chunk.length): void {
    let at = 0
    while (at < end) {
      if (this.#partial === undefined) {
        if (end - at >= lengthBytes) {
          const length = this.#checked(readU32(chunk, at))
          at += lengthBytes
          if (end - at >= length) {
            if (length > 0 && !this.#deliver(chunk, at, at + length, this.#isReused, each)) return
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
      const copied = Math.min(this.#partial.length - this.#filled, end - at)
      chunk.copy(this.#partial, this.#filled, at, at + copied)
      at += copied
      this.#filled += copied
      if (this.#filled < this.#partial.length) return
      const full = this.#partial
      this.#partial = undefined
      if (this.#lengthKnown) {
        if (!this.#deliver(full, 0, full.length, false, each)) return
      } else {
        const length = this.#checked(readU32(full, 0))
        if (length > 0) this.#expect(length)
      }
    }
  }

  /**
   * Gives the messages of the frame in `[start, end)`, its length bytes not included; their bytes are copied if `copies`.
   * False: `each` has had enough.
   */
  #deliver(
    frame: Buffer,
    start: number,
    end: number,
    copies: boolean,
    each: (message: PeerMessage) => boolean,
  ): boolean {
    const fields = this.#fields
    for (let left = fields.open(frame, start, end, copies); left > 0; left--) {
      fields.beginRow()
      const message = fromFields(fields)
      fields.endRow()
      if (!each(message)) return false
    }
    fields.close()
    return true
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

function fromFields(fields: Fields): PeerMessage {
  const kind = fields.kind()
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

const noBytes = Buffer.alloc(0)
/** The values of msgpack that are neither numbers nor lists. */
const Tag = { nil: 0xc0, no: 0xc2, yes: 0xc3 } as const

/**
 * Takes the fields of a frame's rows one after another, each with what it must be: the head is read where it lies. Of
 * msgpack it knows what heads consist of, whole numbers, flags, nil and lists, and takes nothing else.
 */
class Fields {
  #frame: Buffer = noBytes
  /** Where the next value of the head begins. */
  #at = 0
  #headEnd = 0
  /** Has the fields of bytes: the frame, or a copy of its rest. */
  #body: Buffer = noBytes
  /** Where the next field of bytes begins. */
  #bytesAt = 0
  #bytesEnd = 0
  /** Of the row that is being read: its kind, for faults, and the fields that are left. */
  #kind = 0
  #left = 0

  /** Begins with the frame in `[start, end)`; gives the number of its rows. */
  open(frame: Buffer, start: number, end: number, copies: boolean): number {
    const bodyAt = start + lengthBytes
    const headEnd = end < bodyAt ? Number.POSITIVE_INFINITY : bodyAt + readU32(frame, start)
    if (headEnd > end || headEnd === bodyAt) throw new PeerFault('a frame with lengths that can not be')
    this.#frame = frame
    this.#at = bodyAt
    this.#headEnd = headEnd
    const isCopied = copies && end > headEnd
    this.#body = isCopied ? Buffer.from(frame.subarray(headEnd, end)) : frame
    this.#bytesAt = isCopied ? 0 : headEnd
    this.#bytesEnd = isCopied ? end - headEnd : end
    return this.#list('list of messages')
  }

  /** All rows were read. */
  close(): void {
    const head = this.#headEnd - this.#at
    if (head > 0) throw new PeerFault(`a frame with ${head} bytes behind its messages`)
    const bytes = this.#bytesEnd - this.#bytesAt
    if (bytes > 0) throw new PeerFault(`a frame with ${bytes} bytes of no message`)
    // What messages are views of is not kept alive by this.
    this.#frame = noBytes
    this.#body = noBytes
  }

  beginRow(): void {
    this.#kind = 0
    this.#left = this.#list('message')
  }

  endRow(): void {
    if (this.#left !== 0) throw this.#wrongCount()
  }

  kind(): number {
    this.#kind = this.count('kind')
    return this.#kind
  }

  count(what: string): number {
    this.#field()
    return this.#whole(0, Number.MAX_SAFE_INTEGER, what)
  }

  u32(what: string): number {
    this.#field()
    return this.#whole(0, 0xffffffff, what)
  }

  zxid(): number {
    return this.count('zxid')
  }

  zxidOrNone(): number {
    this.#field()
    return this.#whole(-1, Number.MAX_SAFE_INTEGER, 'zxid')
  }

  epoch(): number {
    this.#field()
    return this.#whole(0, maxEpoch, 'epoch')
  }

  epochOrNone(): number {
    this.#field()
    return this.#whole(-1, maxEpoch, 'epoch')
  }

  flag(): boolean {
    this.#field()
    const tag = this.#byte()
    if (tag !== Tag.yes && tag !== Tag.no) throw wrong('flag', tag)
    return tag === Tag.yes
  }

  /** Of words that are an index on the wire. */
  oneOf<T extends string>(words: readonly T[]): T {
    this.#field()
    return words[this.#whole(0, words.length - 1, 'word')]!
  }

  optionalCount(what: string): number | undefined {
    this.#field()
    return this.#nil() ? undefined : this.#whole(0, Number.MAX_SAFE_INTEGER, what)
  }

  counts(what: string): readonly number[] {
    this.#field()
    return this.#counts(what)
  }

  bytes(): Uint8Array {
    return this.take(this.count('length'))
  }

  take(length: number): Uint8Array {
    const at = this.#bytesAt
    if (length > this.#bytesEnd - at) throw new PeerFault(`a field of ${length} bytes in a shorter frame`)
    this.#bytesAt = at + length
    return this.#body.subarray(at, this.#bytesAt)
  }

  votings(): Voting[] {
    this.#field()
    const votings: Voting[] = []
    for (let left = this.#list('list of votings'); left > 0; left--) votings.push(this.#voting())
    return votings
  }

  votingAt(): VotingAt | undefined {
    this.#field()
    if (this.#nil()) return undefined
    this.#listOf(2, 'voting')
    return { zxid: this.#whole(0, Number.MAX_SAFE_INTEGER, 'zxid'), voting: this.#voting() }
  }

  entries(): Entry[] {
    this.#field()
    const values = this.#list('list of entries')
    if (values % 5 !== 0) throw wrong('list of entries', values)
    const entries: Entry[] = []
    for (let left = values; left > 0; left -= 5) {
      const prev = this.#whole(0, Number.MAX_SAFE_INTEGER, 'zxid')
      const first = this.#whole(prev + 1, Number.MAX_SAFE_INTEGER, 'zxid')
      const last = this.#whole(first, Number.MAX_SAFE_INTEGER, 'zxid')
      const bytes = this.take(this.#whole(0, Number.MAX_SAFE_INTEGER, 'length'))
      entries.push(
        this.#nil() ? { prev, first, last, bytes } : { prev, first, last, bytes, voting: this.#voting() },
      )
    }
    return entries
  }

  // ---------------------------------------------------------------- values

  #voting(): Voting {
    this.#listOf(3, 'voting')
    const voters = this.#counts('server id')
    for (let i = 1; i < voters.length; i++)
      if (voters[i]! <= voters[i - 1]!) throw wrong('ascending list of server ids', voters[i]!)
    const groups: (readonly number[])[] = []
    for (let left = this.#list('groups'); left > 0; left--) groups.push(this.#counts('server id'))
    const weights: [number, number][] = []
    for (let left = this.#list('weights'); left > 0; left--) {
      this.#listOf(2, 'weight')
      const id = this.#whole(0, Number.MAX_SAFE_INTEGER, 'server id')
      weights.push([id, this.#whole(0, Number.MAX_SAFE_INTEGER, 'weight')])
    }
    return { voters, groups, weights }
  }

  #counts(what: string): readonly number[] {
    const counts: number[] = []
    for (let left = this.#list(what); left > 0; left--)
      counts.push(this.#whole(0, Number.MAX_SAFE_INTEGER, what))
    return counts
  }

  /** The next field of the row begins. */
  #field(): void {
    if (--this.#left < 0) throw this.#wrongCount()
  }

  #wrongCount(): PeerFault {
    return new PeerFault(`a message of kind ${this.#kind} with too ${this.#left < 0 ? 'few' : 'many'} fields`)
  }

  #whole(min: number, max: number, what: string): number {
    const value = this.#number(what)
    if (!Number.isInteger(value) || value < min || value > max) throw wrong(what, value)
    return value
  }

  #number(what: string): number {
    const tag = this.#byte()
    if (tag < 0x80) return tag
    if (tag >= 0xe0) return tag - 0x100
    switch (tag) {
      case 0xcc:
        return this.#byte()
      case 0xcd:
        return this.#u16()
      case 0xce:
        return readU32(this.#frame, this.#pass(4))
      case 0xcb:
        return this.#frame.readDoubleBE(this.#pass(8))
      default:
        throw wrong(what, tag)
    }
  }

  /** The number of values that follow and are one. */
  #list(what: string): number {
    const tag = this.#byte()
    if (tag >= 0x90 && tag < 0xa0) return tag & 0x0f
    if (tag === 0xdc) return this.#u16()
    if (tag === 0xdd) return readU32(this.#frame, this.#pass(4))
    throw wrong(what, tag)
  }

  #listOf(length: number, what: string): void {
    const seen = this.#list(what)
    if (seen !== length) throw wrong(what, seen)
  }

  /** Whether the next value is nil, which is passed then. */
  #nil(): boolean {
    if (this.#at >= this.#headEnd || this.#frame[this.#at] !== Tag.nil) return false
    this.#at++
    return true
  }

  #u16(): number {
    const at = this.#pass(2)
    return (this.#frame[at]! << 8) | this.#frame[at + 1]!
  }

  #byte(): number {
    return this.#frame[this.#pass(1)]!
  }

  /** Goes on behind so many bytes of the head; gives where they begin. */
  #pass(bytes: number): number {
    const at = this.#at
    if (bytes > this.#headEnd - at) throw new PeerFault('a frame whose head ends within a value')
    this.#at = at + bytes
    return at
  }
}

/** `seen` is a number that was there, or the first byte of something else. */
function wrong(what: string, seen: number): PeerFault {
  return new PeerFault(`a message with ${seen} for a ${what}`)
}

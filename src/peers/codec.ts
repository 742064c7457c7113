// The bytes of what servers say to each other. Everything queued for a peer in a turn is one frame:
//
//   u32 length of the rest | u32 length of the head | head: msgpack [[kind, field, …], …] | the bytes of the fields
//
// A field of bytes is only its length in the head, and the bytes follow in order: they are neither copied into the
// packer nor out of the frame, and big ones are given to the socket as they are. Rows are by position, never records
// with names. A frame of length 0 is a sign of life. What is decoded was checked: types, ranges, lengths.
import { Packr, RESERVE_START_SPACE } from 'msgpackr'
import { assertNever } from '../base/assert.ts'
import { readU32, writeU32 } from '../base/bytes.ts'
import { maxEpoch } from '../base/zxid.ts'
import type { Status } from '../zab/messages.ts'
import type { Entry, Voting, VotingAt } from '../zab/types.ts'
import type { PeerMessage } from './messages.ts'
import { PeerFault } from './types.ts'

/** The longest frame, unless it is set otherwise. A batch of a turn and the largest request must fit in. */
export const defaultMaxFrameBytes = 64 << 20

/** The frame that says nothing but that its sender is alive. */
export const keepalive: Buffer = Buffer.alloc(4)

/** Messages of about this many bytes go into one frame, so that the receiver can begin before all have come. */
const frameTargetBytes = 256 << 10
/** Bytes of at least this length are not copied together with what is around them. */
const ownPieceBytes = 16 << 10
const lengthBytes = 4
/** Both lengths. */
const prefixBytes = 8
/** What a sink takes (storage/types.ts). */
const maxKeyBytes = 65535

/** The first number of every message. Changing one, or the fields after it, means a new protocol version. */
const Kind = {
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

const states: readonly Status['state'][] = ['looking', 'following', 'leading']
const blankRules: readonly Status['blanks'][] = ['none', 'empty', 'any']

const packr = new Packr({ useRecords: false })
/** For what a checkpoint's meta carries: records, so that a Map comes back as a Map and an object as an object. */
const statePackr = new Packr({ useRecords: true })

type Field = number | boolean | null | readonly Field[]
type Row = readonly Field[]

/**
 * The messages as frames, each cut into pieces to be written one after another. Pieces may be the messages' own bytes. A
 * frame is made when it is asked for: the one before it is on its way by then. Throws RangeError if a single message is
 * longer than `maxFrameBytes`.
 */
export function* encodeFrames(
  messages: readonly PeerMessage[],
  maxFrameBytes: number = defaultMaxFrameBytes,
): Generator<readonly Uint8Array[]> {
  let rows: Row[] = []
  let attached: Uint8Array[] = []
  let size = 0
  for (const message of messages) {
    const before = attached.length
    const row = toRow(message, attached)
    let added = row.length
    for (let i = before; i < attached.length; i++) added += attached[i]!.byteLength
    if (size > 0 && size + added > frameTargetBytes) {
      const own = attached.splice(before)
      yield frameOf(rows, attached, maxFrameBytes)
      rows = []
      attached = own
      size = 0
    }
    rows.push(row)
    size += added
  }
  if (rows.length > 0) yield frameOf(rows, attached, maxFrameBytes)
}

function frameOf(rows: readonly Row[], attached: readonly Uint8Array[], max: number): Uint8Array[] {
  const pieces: Uint8Array[] = []
  const head: Buffer = packr.pack(rows, RESERVE_START_SPACE | prefixBytes)
  let total = head.length
  for (const bytes of attached) total += bytes.byteLength
  if (total - lengthBytes > max) {
    throw new RangeError(`a message of ${total - lengthBytes} bytes for another server; the limit is ${max}`)
  }
  writeU32(head, 0, total - lengthBytes)
  writeU32(head, lengthBytes, head.length - prefixBytes)
  let run: Uint8Array[] = [head]
  let runBytes = head.length
  for (const bytes of attached) {
    if (bytes.byteLength < ownPieceBytes) {
      run.push(bytes)
      runBytes += bytes.byteLength
      continue
    }
    if (runBytes > 0) pieces.push(joined(run, runBytes))
    pieces.push(bytes)
    run = []
    runBytes = 0
  }
  if (runBytes > 0) pieces.push(joined(run, runBytes))
  return pieces
}

function joined(parts: readonly Uint8Array[], total: number): Uint8Array {
  if (parts.length === 1) return parts[0]!
  const all = Buffer.allocUnsafe(total)
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.byteLength
  }
  return all
}

function toRow(message: PeerMessage, attached: Uint8Array[]): Row {
  switch (message.type) {
    case 'status': {
      const { state, leader, candidate, current, last, epoch, blank, blanks } = message
      const place = [states.indexOf(state), leader ?? null, candidate, current, last, epoch]
      const votings = message.votings.map(votingToRow)
      const electors = [votings, message.reconfigured, message.committedVoting]
      return [Kind.status, ...place, blank, blankRules.indexOf(blanks), ...electors]
    }
    case 'followerInfo':
      return [Kind.followerInfo, message.session, message.accepted, message.observer, message.blank]
    case 'newEpoch':
      return [Kind.newEpoch, message.session, message.epoch]
    case 'ackEpoch':
      return [Kind.ackEpoch, message.session, message.current, message.last, message.needsSnapshot]
    case 'find':
      return [Kind.find, message.session, message.zxid]
    case 'found':
      return [Kind.found, message.session, message.zxid]
    case 'diff':
      return [Kind.diff, message.session, message.after]
    case 'snapshot':
      return [Kind.snapshot, message.session]
    case 'installed':
      return [Kind.installed, message.session, message.zxid]
    case 'proposal':
      return [Kind.proposal, message.session, message.committed, entriesToRow(message.entries, attached)]
    case 'ack':
      return [Kind.ack, message.session, message.zxid]
    case 'newLeader':
      return [Kind.newLeader, message.session, message.epoch]
    case 'ackNewLeader':
      return [Kind.ackNewLeader, message.session]
    case 'upToDate':
      return [Kind.upToDate, message.session, message.committed]
    case 'commit':
      return [Kind.commit, message.session, message.zxid]
    case 'ping':
      return [Kind.ping, message.session, message.seq]
    case 'pong':
      return [Kind.pong, message.session, message.seq]
    case 'forward':
      return [Kind.forward, message.session, attach(message.bytes, attached)]
    case 'sync':
      return [Kind.sync, message.session, message.id]
    case 'synced':
      return [Kind.synced, message.session, message.id, message.zxid]
    case 'claim':
      return [Kind.claim, message.session, message.id, message.client, message.timeoutMs]
    case 'claimed':
      return [Kind.claimed, message.session, message.id, message.open, message.zxid]
    case 'moved':
      return [Kind.moved, message.session, message.client]
    case 'touches':
      return [Kind.touches, message.session, message.clients, message.timeouts]
    case 'digest':
      return [Kind.digest, message.session, message.zxid, message.high, message.low]
    case 'divergence':
      return [Kind.divergence, message.session, message.zxid]
    case 'snapshotPart': {
      const keys = message.keys.map((key) => attach(key, attached))
      return [
        Kind.snapshotPart,
        message.session,
        keys,
        message.values.map((value) => attach(value, attached)),
      ]
    }
    case 'snapshotEnd': {
      const { zxid, nodes, digestHigh, digestLow, state } = message.meta
      const stateBytes = attach(statePackr.pack(state), attached)
      const voting = message.voting === undefined ? null : votingAtToRow(message.voting)
      return [Kind.snapshotEnd, message.session, zxid, nodes, digestHigh, digestLow, stateBytes, voting]
    }
    case 'snapshotFailed':
      return [Kind.snapshotFailed, message.session]
    default:
      return assertNever(message)
  }
}

/** Remembers `bytes` for the frame; their length is the field. */
function attach(bytes: Uint8Array, attached: Uint8Array[]): number {
  attached.push(bytes)
  return bytes.byteLength
}

/** Five fields per entry, in one row. */
function entriesToRow(entries: readonly Entry[], attached: Uint8Array[]): Row {
  const row: Field[] = []
  for (const { prev, first, last, bytes, voting } of entries) {
    row.push(prev, first, last, attach(bytes, attached), voting === undefined ? null : votingToRow(voting))
  }
  return row
}

function votingToRow({ voters, groups, weights }: Voting): Row {
  return [voters, groups, weights]
}

function votingAtToRow({ zxid, voting }: VotingAt): Row {
  return [zxid, votingToRow(voting)]
}

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

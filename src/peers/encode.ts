// The sending side of codec.ts: messages become frames as they are queued, each written once, into a buffer that serves
// again as soon as the system has its bytes. Big bytes of messages are not copied. Nothing here knows sockets.
import { Packr } from 'msgpackr'
import { assert, assertNever } from '../base/assert.ts'
import { writeU32 } from '../base/bytes.ts'
import { Writer } from '../jute/writer.ts'
import type { Entry, Voting } from '../zab/types.ts'
import { blankRules, defaultMaxFrameBytes, Kind, lengthBytes, prefixBytes, states } from './codec.ts'
import type { PeerMessage } from './messages.ts'

/** Messages of about this many bytes go into one frame, so that the receiver can begin before all have come. */
const frameTargetBytes = 256 << 10
/** Bytes of at least this length are not copied together with what is around them. */
const ownPieceBytes = 16 << 10
/** Of the list of messages, which says how many they are when all of them are there. */
const listBytes = 3
const messagesMax = 0xffff
/** What the messages of a turn need as a rule. */
const initialBytes = 1 << 10
/** A buffer that has grown beyond is not kept: that was a server which catches up. */
const keptBytesMax = 64 << 10

/** For what a checkpoint's meta carries: records, so that a Map comes back as a Map and an object as an object. */
const statePackr = new Packr({ useRecords: true })

/**
 * Takes a frame, in pieces to be written one after another; they may be bytes of messages. True: nobody looks at
 * them any more.
 */
export type FrameSink = (pieces: readonly Uint8Array[]) => boolean

/** Makes frames of messages. One per connection. */
export class FrameWriter {
  readonly #sink: FrameSink
  readonly #maxFrameBytes: number
  /** The frame that has begun: room for its lengths, and its head so far. */
  #out = new Writer(initialBytes)
  #messages = 0
  /** The bytes that follow its head are the first of these; the array keeps its room. */
  readonly #attached: (Uint8Array | undefined)[] = []
  #attachedCount = 0
  #attachedBytes = 0
  /** Of those that are not copied. */
  #bigBytes = 0

  constructor(sink: FrameSink, maxFrameBytes: number = defaultMaxFrameBytes) {
    this.#sink = sink
    this.#maxFrameBytes = maxFrameBytes
  }

  /** Nothing waits for `flush`. */
  get isEmpty(): boolean {
    return this.#messages === 0
  }

  /**
   * Adds a message; what it refers to may not change afterwards. A frame that is full without it goes to the sink. Throws
   * RangeError if a frame would be longer with it than frames may be: nothing can be added any more then.
   */
  add(message: PeerMessage): void {
    const isFull =
      this.#size() + attachedBytesOf(message) > frameTargetBytes || this.#messages === messagesMax
    if (isFull) this.flush()
    if (this.#messages++ === 0) this.#out.pos = prefixBytes + listBytes
    this.#row(message)
    const size = this.#size() - lengthBytes
    if (size > this.#maxFrameBytes)
      throw new RangeError(
        `a message of ${size} bytes for another server; the limit is ${this.#maxFrameBytes}`,
      )
  }

  /** Gives what was added to the sink. */
  flush(): void {
    if (this.#messages === 0) return
    const out = this.#out
    writeU32(out.buf, 0, this.#size() - lengthBytes)
    writeU32(out.buf, lengthBytes, out.pos - prefixBytes)
    writeListOf(out.buf, prefixBytes, this.#messages)
    const pieces = this.#pieces()
    this.#messages = 0
    this.#attachedBytes = 0
    this.#bigBytes = 0
    this.#attached.fill(undefined, 0, this.#attachedCount)
    this.#attachedCount = 0
    const isDone = this.#sink(pieces)
    if (!isDone || this.#out.buf.length > keptBytesMax) this.#out = new Writer(initialBytes)
    this.#out.pos = 0
  }

  /** Bytes of the frame that has begun, its length included. */
  #size(): number {
    return this.#out.pos + this.#attachedBytes
  }

  /** As few as big bytes that stay where they are allow. */
  #pieces(): readonly Uint8Array[] {
    const out = this.#out
    // All that is not big becomes a part of this buffer, which may not move between two pieces.
    out.ensure(this.#attachedBytes - this.#bigBytes)
    const pieces: Uint8Array[] = []
    let from = 0
    for (let i = 0; i < this.#attachedCount; i++) {
      const bytes = this.#attached[i] as Uint8Array
      if (bytes.byteLength < ownPieceBytes) {
        out.raw(bytes, 0, bytes.byteLength)
      } else {
        if (out.pos > from) pieces.push(out.buf.subarray(from, out.pos))
        pieces.push(bytes)
        from = out.pos
      }
    }
    const last = out.buf.subarray(from, out.pos)
    if (pieces.length === 0) return [last]
    if (out.pos > from) pieces.push(last)
    return pieces
  }

  /** Appends the fields of a message as a row, its kind first. */
  #row(message: PeerMessage): void {
    const out = this.#out
    switch (message.type) {
      case 'status':
        list(out, 12)
        whole(out, Kind.status)
        whole(out, states.indexOf(message.state))
        wholeOrNil(out, message.leader)
        flag(out, message.candidate)
        whole(out, message.current)
        whole(out, message.last)
        whole(out, message.epoch)
        flag(out, message.blank)
        whole(out, blankRules.indexOf(message.blanks))
        list(out, message.votings.length)
        for (const one of message.votings) voting(out, one)
        flag(out, message.reconfigured)
        whole(out, message.committedVoting)
        break
      case 'followerInfo':
        begin(out, 5, Kind.followerInfo, message.session)
        whole(out, message.accepted)
        flag(out, message.observer)
        flag(out, message.blank)
        break
      case 'newEpoch':
        begin(out, 3, Kind.newEpoch, message.session)
        whole(out, message.epoch)
        break
      case 'ackEpoch':
        begin(out, 5, Kind.ackEpoch, message.session)
        whole(out, message.current)
        whole(out, message.last)
        flag(out, message.needsSnapshot)
        break
      case 'find':
        begin(out, 3, Kind.find, message.session)
        whole(out, message.zxid)
        break
      case 'found':
        begin(out, 3, Kind.found, message.session)
        whole(out, message.zxid)
        break
      case 'diff':
        begin(out, 3, Kind.diff, message.session)
        whole(out, message.after)
        break
      case 'snapshot':
        begin(out, 2, Kind.snapshot, message.session)
        break
      case 'installed':
        begin(out, 3, Kind.installed, message.session)
        whole(out, message.zxid)
        break
      case 'proposal':
        begin(out, 4, Kind.proposal, message.session)
        whole(out, message.committed)
        this.#entries(message.entries)
        break
      case 'ack':
        begin(out, 3, Kind.ack, message.session)
        whole(out, message.zxid)
        break
      case 'newLeader':
        begin(out, 3, Kind.newLeader, message.session)
        whole(out, message.epoch)
        break
      case 'ackNewLeader':
        begin(out, 2, Kind.ackNewLeader, message.session)
        break
      case 'upToDate':
        begin(out, 3, Kind.upToDate, message.session)
        whole(out, message.committed)
        break
      case 'commit':
        begin(out, 3, Kind.commit, message.session)
        whole(out, message.zxid)
        break
      case 'ping':
        begin(out, 3, Kind.ping, message.session)
        whole(out, message.seq)
        break
      case 'pong':
        begin(out, 3, Kind.pong, message.session)
        whole(out, message.seq)
        break
      case 'forward':
        begin(out, 3, Kind.forward, message.session)
        this.#attach(message.bytes)
        break
      case 'sync':
        begin(out, 3, Kind.sync, message.session)
        whole(out, message.id)
        break
      case 'synced':
        begin(out, 4, Kind.synced, message.session)
        whole(out, message.id)
        whole(out, message.zxid)
        break
      case 'claim':
        begin(out, 5, Kind.claim, message.session)
        whole(out, message.id)
        whole(out, message.client)
        whole(out, message.timeoutMs)
        break
      case 'claimed':
        begin(out, 5, Kind.claimed, message.session)
        whole(out, message.id)
        flag(out, message.open)
        whole(out, message.zxid)
        break
      case 'moved':
        begin(out, 3, Kind.moved, message.session)
        whole(out, message.client)
        break
      case 'touches':
        begin(out, 4, Kind.touches, message.session)
        wholes(out, message.clients)
        wholes(out, message.timeouts)
        break
      case 'digest':
        begin(out, 5, Kind.digest, message.session)
        whole(out, message.zxid)
        whole(out, message.high)
        whole(out, message.low)
        break
      case 'divergence':
        begin(out, 3, Kind.divergence, message.session)
        whole(out, message.zxid)
        break
      case 'snapshotPart':
        begin(out, 4, Kind.snapshotPart, message.session)
        list(out, message.keys.length)
        for (const key of message.keys) this.#attach(key)
        list(out, message.values.length)
        for (const value of message.values) this.#attach(value)
        break
      case 'snapshotEnd': {
        const { zxid, nodes, digestHigh, digestLow, state } = message.meta
        begin(out, 8, Kind.snapshotEnd, message.session)
        whole(out, zxid)
        whole(out, nodes)
        whole(out, digestHigh)
        whole(out, digestLow)
        this.#attach(statePackr.pack(state))
        if (message.voting === undefined) {
          nil(out)
        } else {
          list(out, 2)
          whole(out, message.voting.zxid)
          voting(out, message.voting.voting)
        }
        break
      }
      case 'snapshotFailed':
        begin(out, 2, Kind.snapshotFailed, message.session)
        break
      default:
        assertNever(message)
    }
  }

  /** Five fields per entry, in one list. */
  #entries(entries: readonly Entry[]): void {
    const out = this.#out
    list(out, 5 * entries.length)
    for (const entry of entries) {
      whole(out, entry.prev)
      whole(out, entry.first)
      whole(out, entry.last)
      this.#attach(entry.bytes)
      if (entry.voting === undefined) nil(out)
      else voting(out, entry.voting)
    }
  }

  /** Remembers `bytes` for the frame; their length is the field. */
  #attach(bytes: Uint8Array): void {
    whole(this.#out, bytes.byteLength)
    this.#attached[this.#attachedCount++] = bytes
    this.#attachedBytes += bytes.byteLength
    if (bytes.byteLength >= ownPieceBytes) this.#bigBytes += bytes.byteLength
  }
}

/** What a message brings besides its head: most of those that are long at all. */
function attachedBytesOf(message: PeerMessage): number {
  switch (message.type) {
    case 'forward':
      return message.bytes.byteLength
    case 'proposal':
      return message.entries.reduce((sum, { bytes }) => sum + bytes.byteLength, 0)
    case 'snapshotPart':
      return bytesIn(message.keys) + bytesIn(message.values)
    default:
      return 0
  }
}

function bytesIn(all: readonly Uint8Array[]): number {
  return all.reduce((sum, { byteLength }) => sum + byteLength, 0)
}

// ---------------------------------------------------------------- msgpack, as much of it as heads need

/** The beginning of every row of a learner's relation: how many fields, the first two of them. */
function begin(out: Writer, fields: number, kind: number, session: number): void {
  list(out, fields)
  whole(out, kind)
  whole(out, session)
}

/** So many values follow, which are one. */
function list(out: Writer, length: number): void {
  out.ensure(5)
  if (length < 16) {
    out.buf[out.pos++] = 0x90 | length
  } else if (length <= 0xffff) {
    writeListOf(out.buf, out.pos, length)
    out.pos += listBytes
  } else {
    out.buf[out.pos] = 0xdd
    writeU32(out.buf, out.pos + 1, length)
    out.pos += 5
  }
}

/** In three bytes, however few they are. */
function writeListOf(to: Uint8Array, at: number, length: number): void {
  to[at] = 0xdc
  to[at + 1] = length >>> 8
  to[at + 2] = length
}

/** A whole number from -1 to 2^53 - 1. */
function whole(out: Writer, value: number): void {
  assert(value >= -1 && Number.isSafeInteger(value), 'what servers say to each other are whole numbers')
  out.ensure(9)
  const { buf, pos } = out
  if (value < 0x80) {
    buf[pos] = value
    out.pos = pos + 1
  } else if (value <= 0xff) {
    buf[pos] = 0xcc
    buf[pos + 1] = value
    out.pos = pos + 2
  } else if (value <= 0xffff) {
    buf[pos] = 0xcd
    buf[pos + 1] = value >>> 8
    buf[pos + 2] = value
    out.pos = pos + 3
  } else if (value <= 0xffffffff) {
    buf[pos] = 0xce
    writeU32(buf, pos + 1, value)
    out.pos = pos + 5
  } else {
    // A float is exact up to here, and every reader takes it for a number; 64 bits may become a bigint.
    buf[pos] = 0xcb
    out.view.setFloat64(pos + 1, value)
    out.pos = pos + 9
  }
}

function nil(out: Writer): void {
  out.byte(0xc0)
}

function flag(out: Writer, value: boolean): void {
  out.byte(value ? 0xc3 : 0xc2)
}

function wholeOrNil(out: Writer, value: number | undefined): void {
  if (value === undefined) nil(out)
  else whole(out, value)
}

function wholes(out: Writer, values: readonly number[]): void {
  list(out, values.length)
  for (const value of values) whole(out, value)
}

function voting(out: Writer, { voters, groups, weights }: Voting): void {
  list(out, 3)
  wholes(out, voters)
  list(out, groups.length)
  for (const group of groups) wholes(out, group)
  list(out, weights.length)
  for (const weight of weights) wholes(out, weight)
}

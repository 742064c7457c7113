// The transactions of one turn behind each other: what the leader proposes, what goes to the log and to the peers as
// one piece, and what apply reads, all from the same bytes. Around each client request, which is kept as it came, is only
// an envelope: kind, session, cxid and the ids its connection had. Time and options are the leader's and hold for
// the whole batch. Zxids are not inside: the entry that carries a batch knows its first one.
//
//   int format, int options, long time, int count
//   count times: int index of the ids * 256 + kind (as a byte), long session, int cxid, buffer body
//   int number of lists of ids; of each: int length; of each id: scheme and id as UTF-16LE with their length as an int
//   int number of runs; of each: int from, int count, long server, long session
import { assert, InvariantError } from '../base/assert.ts'
import { crcBytes, crcStart } from '../base/crc32.ts'
import { ZkError } from '../base/errors.ts'
import { Reader, readLong } from '../jute/reader.ts'
import { Writer, writeLong } from '../jute/writer.ts'
import type { Id } from './acl.ts'
import { equalBytes } from './store-bytes.ts'

/** The leader's settings that apply must know; part of the batch, so that every server applies alike. */
export const BatchOption = { enforceQuota: 1, skipAcl: 2, ttlDisabled: 4 } as const

const formatVersion = 3
const headerBytes = 20
/** Before each body. */
const envelopeBytes = 20
/** Of an envelope's fields from the body backwards. */
const wordBefore = 20
const sessionBefore = 16
const cxidBefore = 8
const lengthBefore = 4
/** Lists of ids that an envelope can tell apart. */
const idListsMax = 2 ** 23
/** Of decoded lists of ids so many are kept, a power of two, if they are not longer (bytes). */
const knownSlots = 64
const knownBytesMax = 1024
/** Room for one small request and what is around it. */
const roomMin = 512

/**
 * Where transactions of a batch come from that another server than the leader had from its clients: `count` of them,
 * sent by `server` in its relation `session` with the leader (zab/messages.ts).
 */
export type Run = { readonly from: number; count: number; readonly server: number; readonly session: number }

/** List of transactions. Fill with `add`, then `encode`; or `decode` one, or `read` one after the other. */
export class Batch {
  /** Wall clock of the leader, ms. */
  time: number
  /** Bits of BatchOption. */
  options: number
  /** Distinct lists of connection ids. */
  readonly idLists: (readonly Id[])[] = []
  /** Forwarded transactions: where they begin and how many they are, ascending. Apply does not look at them. */
  readonly runs: Run[] = []
  /** Where the bodies lie; another one after `add`. */
  buf: Buffer = noBytes
  /** Bytes of all bodies. */
  size = 0
  readonly #room: number
  #view: DataView = noView
  /** Where the body of each transaction begins. */
  readonly #starts: number[] = []
  /** Undefined before the first transaction, and in a batch that was decoded. */
  #out: Writer | undefined
  /** What it is as bytes, once that is known. */
  #bytes: Buffer | undefined
  /** Indexes of `idLists` by their text, once there are many. */
  #byText: Map<string, number> | undefined
  /** For `read`. */
  #reader: Reader | undefined
  #known: KnownLists | undefined

  /** `room`: bytes that this batch will take presumably; more makes it grow. */
  constructor(time = 0, options = 0, room = roomMin) {
    this.time = time
    this.options = options
    this.#room = room
  }

  get count(): number {
    return this.#starts.length
  }

  /** Operation number (base/opcodes.ts) of transaction `index`. */
  kindOf(index: number): number {
    return this.#view.getInt8(this.startOf(index) - wordBefore + 3)
  }

  sessionOf(index: number): number {
    return readLong(this.#view, this.startOf(index) - sessionBefore)
  }

  cxidOf(index: number): number {
    return this.#view.getInt32(this.startOf(index) - cxidBefore)
  }

  /** The ids of its connection. */
  idsOf(index: number): readonly Id[] {
    return this.idLists[this.#view.getInt32(this.startOf(index) - wordBefore) >>> 8] as readonly Id[]
  }

  /** Where the body of transaction `index` begins in `buf`. */
  startOf(index: number): number {
    return this.#starts[index] as number
  }

  /** Where it ends. */
  endOf(index: number): number {
    const start = this.startOf(index)
    return start + this.#view.getInt32(start - lengthBefore)
  }

  /** Whether there is a transaction of this kind. */
  includes(kind: number): boolean {
    for (let i = 0; i < this.count; i++) if (this.kindOf(i) === kind) return true
    return false
  }

  /** Adds a transaction whose body is copied from `buf[start, end)`; not after `encode`. */
  add(
    kind: number,
    session: number,
    cxid: number,
    ids: readonly Id[],
    buf: Uint8Array,
    start: number,
    end: number,
  ): void {
    assert(this.#bytes === undefined, 'a batch that is encoded takes no more transactions')
    const length = end - start
    const auth = this.#idList(ids)
    const out = this.#filling()
    out.ensure(envelopeBytes + length)
    this.buf = out.buf
    this.#view = out.view
    const body = out.pos + envelopeBytes
    this.#view.setInt32(body - wordBefore, (auth << 8) | (kind & 255))
    writeLong(this.#view, body - sessionBefore, session)
    this.#view.setInt32(body - cxidBefore, cxid)
    this.#view.setInt32(body - lengthBefore, length)
    out.pos = body
    out.raw(buf, start, end)
    this.#starts.push(body)
    this.size += length
  }

  #filling(): Writer {
    if (this.#out === undefined) {
      this.#out = new Writer(this.#room)
      this.#out.pos = headerBytes
    }
    return this.#out
  }

  /** Notes that the transaction added last was sent by `server` in its relation `session`. */
  forwarded(server: number, session: number): void {
    const index = this.count - 1
    const run = this.runs[this.runs.length - 1]
    if (
      run !== undefined &&
      run.server === server &&
      run.session === session &&
      run.from + run.count === index
    )
      run.count++
    else this.runs.push({ from: index, count: 1, server, session })
  }

  /** Connections of one host have equal ids, so that there are few lists as a rule: the last ones are looked through. */
  #idList(ids: readonly Id[]): number {
    const lists = this.idLists
    const last = Math.max(0, lists.length - listsSearched)
    for (let i = lists.length - 1; i >= last; i--) if (sameIds(lists[i] as readonly Id[], ids)) return i
    if (last === 0) return lists.push(ids) - 1
    this.#byText ??= new Map(lists.map((list, i) => [textOf(list), i]))
    const text = textOf(ids)
    const index = this.#byText.get(text) ?? lists.push(ids) - 1
    this.#byText.set(text, index)
    return index
  }

  /** The batch as bytes, for the log and the peers: a view of what it keeps itself. */
  encode(): Buffer {
    const { count, idLists, runs } = this
    assert(Number.isSafeInteger(this.time) && idLists.length <= idListsMax, 'a batch that can not be written')
    if (this.#bytes !== undefined) return this.#bytes
    const out = this.#filling()
    out.pos = count === 0 ? headerBytes : this.endOf(count - 1)
    out.int(idLists.length)
    for (const ids of idLists) {
      out.int(ids.length)
      for (const { scheme, id } of ids) {
        writeText(out, scheme)
        writeText(out, id)
      }
    }
    out.int(runs.length)
    for (const { from, count, server, session } of runs) {
      out.int(from)
      out.int(count)
      out.long(server)
      out.long(session)
    }
    out.intAt(0, formatVersion)
    out.intAt(4, this.options)
    writeLong(out.view, 8, this.time)
    out.intAt(16, count)
    this.buf = out.buf
    this.#view = out.view
    this.#bytes = out.bytes()
    return this.#bytes
  }

  /** What `encode` wrote, which must stay as it is. Throws InvariantError if it is not such a batch. */
  static decode(bytes: Uint8Array): Batch {
    return new Batch().read(bytes)
  }

  /** Becomes what `decode` gives, in place of what it read before: then it costs next to no memory. */
  read(bytes: Uint8Array): this {
    this.#reader ??= new Reader()
    const r = this.#reader
    const { buffer, byteOffset, byteLength } = bytes
    // Entries lie behind each other in what has come from another server: for all of them there is one view.
    const whole = r.buf.buffer === buffer ? r.buf : Buffer.from(buffer)
    r.reset(whole, byteOffset, byteOffset + byteLength)
    try {
      const version = r.int()
      assert(version === formatVersion, () => `batch format ${version} is unknown to this version of zabd`)
      this.#read(r)
    } catch (error) {
      if (!(error instanceof ZkError)) throw error
      throw new InvariantError(`${notABatch}: ${error.message}`)
    }
    this.#bytes = Buffer.isBuffer(bytes) ? bytes : Buffer.from(buffer, byteOffset, byteLength)
    return this
  }

  #read(r: Reader): void {
    this.options = r.int()
    this.time = r.long()
    const count = r.int()
    this.buf = r.buf
    this.#view = r.view
    this.size = 0
    let lists = 0
    for (let i = 0; i < count; i++) {
      lists = Math.max(lists, (r.int() >>> 8) + 1)
      const session = r.long()
      r.int()
      const length = r.field()
      assert(length >= 0 && session >= 0 && Number.isSafeInteger(session), notABatch)
      this.#starts[i] = r.start
      this.size += length
    }
    const idLists = r.int()
    assert(count >= 0 && idLists >= 0 && Number.isSafeInteger(this.time) && lists <= idLists, notABatch)
    shorten(this.#starts, count)
    this.#known ??= new KnownLists()
    const known = this.#known
    for (let i = 0; i < idLists; i++) this.idLists[i] = known.read(r)
    shorten(this.idLists, idLists)
    this.#readRuns(r)
    assert(r.pos === r.end, notABatch)
  }

  #readRuns(r: Reader): void {
    const runs = r.int()
    assert(runs >= 0, notABatch)
    shorten(this.runs, 0)
    let end = 0
    for (let i = 0; i < runs; i++) {
      const [from, count, server, session] = [r.int(), r.int(), r.long(), r.long()]
      assert(from >= end && count > 0 && from + count <= this.count, notABatch)
      assert(Number.isSafeInteger(server) && Number.isSafeInteger(session), notABatch)
      end = from + count
      this.runs.push({ from, count, server, session })
    }
  }
}

/** Exactly what the leader judges by, also where it has no UTF-8 form. */
function writeText(out: Writer, text: string): void {
  out.int(text.length * 2)
  out.ensure(text.length * 2)
  out.pos += out.buf.write(text, out.pos, 'utf16le')
}

function readText(r: Reader): string {
  const length = r.field()
  assert(length >= 0 && length % 2 === 0, notABatch)
  return r.buf.toString('utf16le', r.start, r.start + length)
}

function readIds(r: Reader): readonly Id[] {
  const count = r.int()
  assert(count >= 0, notABatch)
  const ids: Id[] = []
  for (let i = 0; i < count; i++) ids.push({ scheme: readText(r), id: readText(r) })
  return ids
}

/** Goes over a list of ids. */
function skipIds(r: Reader): void {
  for (let left = r.int() * 2; left > 0; left--) r.field()
}

/** Lists of ids that came in batches lately: clients on one host have the same, and strings are slow to make. */
class KnownLists {
  readonly #slots: { readonly bytes: Buffer; readonly ids: readonly Id[] }[] = []

  /** Reads a list. */
  read(r: Reader): readonly Id[] {
    const start = r.pos
    skipIds(r)
    const length = r.pos - start
    if (length > knownBytesMax) {
      r.pos = start
      return readIds(r)
    }
    const slot = crcBytes(crcStart, r.buf, start, r.pos) & (knownSlots - 1)
    const known = this.#slots[slot]
    if (known?.bytes.length === length && equalBytes(known.bytes, 0, r.buf, start, length)) return known.ids
    r.pos = start
    const ids = readIds(r)
    this.#slots[slot] = { bytes: Buffer.from(r.buf.subarray(start, r.pos)), ids }
    return ids
  }
}

/** Makes a list as short as it is to be, if it is longer: V8 then gives its memory back, and takes new for the next. */
function shorten(list: unknown[], length: number): void {
  if (list.length > length) list.length = length
}

const noBytes = Buffer.alloc(0)
const noView = new DataView(new ArrayBuffer(0))
const listsSearched = 16

function sameIds(a: readonly Id[], b: readonly Id[]): boolean {
  if (a === b) return true
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i]?.scheme !== b[i]?.scheme || a[i]?.id !== b[i]?.id) return false
  return true
}

function textOf(ids: readonly Id[]): string {
  return JSON.stringify(ids.map(({ scheme, id }) => [scheme, id]))
}

const notABatch = 'a log entry is not a batch of transactions'

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
const runBytes = 24
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
 * Another buffer is no larger than this because of the one before. Several batches of large transactions have room in it: each in
 * a buffer of its own, twice as large as it is, would be twice the garbage.
 */
const roomUsual = 256 << 10

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
  /** Where the bodies lie; another one after `add`. */
  buf: Buffer = noBytes
  /** Bytes of all bodies. */
  size = 0
  /** Number of transactions. */
  count = 0
  #view: DataView = noView
  // Most batches have one transaction, one list of ids, and no run or one. An array that is pushed to takes room for 17 elements
  // at once: these begin with their first one, or are not there.
  #idLists: (readonly Id[])[] | undefined
  #runs: Run[] | undefined
  /** Where the batch begins in `buf`, and where its last body ends. */
  #from = 0
  #end = headerBytes
  /** The transaction that was asked for last, and where its body begins: most often the same one or the next is asked for. */
  #index = 0
  #start = 0
  readonly #out: Writer
  /** What it is as bytes, once that is known. */
  #bytes: Buffer | undefined
  /** Indexes of `idLists` by their text, once there are many. */
  #byText: Map<string, number> | undefined

  /**
   * `out`: where the batch is written, behind what is there already, which may be batches that are encoded. Nothing else may be
   * written there before this one is.
   */
  constructor(time = 0, options = 0, out = new Writer(roomMin)) {
    this.time = time
    this.options = options
    this.#out = out
  }

  /** Distinct lists of connection ids. */
  get idLists(): readonly (readonly Id[])[] {
    return this.#idLists ?? none
  }

  /** Forwarded transactions: where they begin and how many they are, ascending. Apply does not look at them. */
  get runs(): readonly Run[] {
    return this.#runs ?? none
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
    return this.#idLists?.[this.#view.getInt32(this.startOf(index) - wordBefore) >>> 8] as readonly Id[]
  }

  /** Where the body of transaction `index` begins in `buf`. */
  startOf(index: number): number {
    if (index !== this.#index || this.#start === 0) this.#seek(index)
    return this.#start
  }

  #seek(index: number): void {
    assert(index < this.count, 'a batch has no such transaction')
    if (this.#start === 0 || index < this.#index) {
      this.#index = 0
      this.#start = this.#from + headerBytes + envelopeBytes
    }
    for (; this.#index < index; this.#index++)
      this.#start += this.#view.getInt32(this.#start - lengthBefore) + envelopeBytes
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
    const out = this.#roomFor(envelopeBytes + length)
    const body = this.#end + envelopeBytes
    this.#view.setInt32(body - wordBefore, (auth << 8) | (kind & 255))
    writeLong(this.#view, body - sessionBefore, session)
    this.#view.setInt32(body - cxidBefore, cxid)
    this.#view.setInt32(body - lengthBefore, length)
    out.pos = body
    out.raw(buf, start, end)
    this.#end = out.pos
    this.count++
    this.size += length
  }

  /** Room for `bytes` behind the last body: in another buffer if this one is full, to which only this batch moves. */
  #roomFor(bytes: number): Writer {
    const out = this.#out
    if (this.count === 0) {
      this.#from = out.pos
      this.#end = out.pos + headerBytes
    }
    const written = this.#end - this.#from
    if (this.#end + bytes > out.buf.length) {
      out.move(Math.max(Math.min(out.buf.length, roomUsual), 2 * (written + bytes)), this.#from)
      this.#start = 0
      this.#from = 0
      this.#end = written
    }
    this.buf = out.buf
    this.#view = out.view
    return out
  }

  /** Notes that the transaction added last was sent by `server` in its relation `session`. */
  forwarded(server: number, session: number): void {
    const index = this.count - 1
    const run = this.#runs?.[this.#runs.length - 1]
    if (
      run !== undefined &&
      run.server === server &&
      run.session === session &&
      run.from + run.count === index
    )
      run.count++
    else this.#addRun({ from: index, count: 1, server, session })
  }

  #addRun(run: Run): void {
    if (this.#runs === undefined) this.#runs = [run]
    else this.#runs.push(run)
  }

  #addIdList(ids: readonly Id[]): number {
    if (this.#idLists !== undefined) return this.#idLists.push(ids) - 1
    this.#idLists = [ids]
    return 0
  }

  /** Connections of one host have equal ids, so that there are few lists as a rule: the last ones are looked through. */
  #idList(ids: readonly Id[]): number {
    const lists = this.idLists
    const last = Math.max(0, lists.length - listsSearched)
    for (let i = lists.length - 1; i >= last; i--) if (sameIds(lists[i] as readonly Id[], ids)) return i
    if (last === 0) return this.#addIdList(ids)
    this.#byText ??= new Map(lists.map((list, i) => [textOf(list), i]))
    const text = textOf(ids)
    const index = this.#byText.get(text) ?? this.#addIdList(ids)
    this.#byText.set(text, index)
    return index
  }

  /** The batch as bytes, for the log and the peers: a view of what it keeps itself. */
  encode(): Buffer {
    const { count, idLists, runs } = this
    assert(Number.isSafeInteger(this.time) && idLists.length <= idListsMax, 'a batch that can not be written')
    if (this.#bytes !== undefined) return this.#bytes
    const out = this.#roomFor(bytesOf(idLists, runs))
    out.pos = this.#end
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
    const from = this.#from
    out.intAt(from, formatVersion)
    out.intAt(from + 4, this.options)
    writeLong(out.view, from + 8, this.time)
    out.intAt(from + 16, count)
    this.#bytes = out.buf.subarray(from, out.pos)
    return this.#bytes
  }

  /** What `encode` wrote, which must stay as it is. Throws InvariantError if it is not such a batch. */
  static decode(bytes: Uint8Array): Batch {
    return new Batch(0, 0, nowhere).read(bytes)
  }

  /** Becomes what `decode` gives, in place of what it read before: then it costs next to no memory. */
  read(bytes: Uint8Array): this {
    const { buffer, byteOffset, byteLength } = bytes
    // Entries lie behind each other in what has come from another server: for all of them there is one view.
    const whole = reader.buf.buffer === buffer ? reader.buf : Buffer.from(buffer)
    const r = reader.reset(whole, byteOffset, byteOffset + byteLength)
    try {
      const version = r.int()
      assert(version === formatVersion, () => `batch format ${version} is unknown to this version of zabd`)
      this.#read(r, byteOffset)
    } catch (error) {
      if (!(error instanceof ZkError)) throw error
      throw new InvariantError(`${notABatch}: ${error.message}`)
    }
    this.#bytes = Buffer.isBuffer(bytes) ? bytes : Buffer.from(buffer, byteOffset, byteLength)
    return this
  }

  #read(r: Reader, from: number): void {
    this.options = r.int()
    this.time = r.long()
    const count = r.int()
    this.buf = r.buf
    this.#view = r.view
    this.count = count
    this.size = 0
    this.#from = from
    this.#start = 0
    let lists = 0
    for (let i = 0; i < count; i++) {
      lists = Math.max(lists, (r.int() >>> 8) + 1)
      const session = r.long()
      r.int()
      const length = r.field()
      assert(length >= 0 && session >= 0 && Number.isSafeInteger(session), notABatch)
      this.size += length
    }
    const idLists = r.int()
    assert(count >= 0 && idLists >= 0 && Number.isSafeInteger(this.time) && lists <= idLists, notABatch)
    this.#idLists = undefined
    for (let i = 0; i < idLists; i++) this.#addIdList(known.read(r))
    this.#readRuns(r)
    assert(r.pos === r.end, notABatch)
  }

  #readRuns(r: Reader): void {
    const runs = r.int()
    assert(runs >= 0, notABatch)
    this.#runs = undefined
    let end = 0
    for (let i = 0; i < runs; i++) {
      const from = r.int()
      const count = r.int()
      const server = r.long()
      const session = r.long()
      assert(from >= end && count > 0 && from + count <= this.count, notABatch)
      assert(Number.isSafeInteger(server) && Number.isSafeInteger(session), notABatch)
      end = from + count
      this.#addRun({ from, count, server, session })
    }
  }
}

/** What `encode` writes behind the last body. */
function bytesOf(idLists: readonly (readonly Id[])[], runs: readonly Run[]): number {
  let bytes = 8 + runs.length * runBytes
  for (const ids of idLists) {
    bytes += 4
    for (const { scheme, id } of ids) bytes += 8 + 2 * (scheme.length + id.length)
  }
  return bytes
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

const none: readonly never[] = []
// For all that is read: it is done in one go.
const reader = new Reader()
const known = new KnownLists()
/** Where a batch would be written that was decoded. */
const nowhere = new Writer(0)
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

// The transactions of one turn, in columns: what the leader proposes, what goes to the log and to the peers as
// one piece, and what apply reads. Around each client request, whose bytes are kept as they came, is only an
// envelope: kind, session, cxid and the ids its connection had. Time and options are the leader's and hold for
// the whole batch. Zxids are not inside: the entry that carries a batch knows its first one.
import { Packr } from 'msgpackr'
import { assert, InvariantError } from '../base/assert.ts'
import type { Id } from './acl.ts'

/** The leader's settings that apply must know; part of the batch, so that every server applies alike. */
export const BatchOption = { enforceQuota: 1, skipAcl: 2, ttlDisabled: 4 } as const

const formatVersion = 1
/** With a column of runs behind. */
const runsVersion = 2
const packr = new Packr({ useRecords: false, variableMapSize: true })

/**
 * Where transactions of a batch come from that another server than the leader had from its clients: `count` of them,
 * sent by `server` in its relation `session` with the leader (zab/messages.ts).
 */
export type Run = { readonly from: number; count: number; readonly server: number; readonly session: number }

/** Column-wise list of transactions. Fill with `add`, then `encode`; or `decode` one. */
export class Batch {
  /** Wall clock of the leader, ms. */
  time: number
  /** Bits of BatchOption. */
  options: number
  /** Operation numbers (base/opcodes.ts). */
  readonly kinds: number[]
  readonly sessions: number[]
  readonly cxids: number[]
  /** Index into `idLists` per transaction. */
  readonly auths: number[]
  /** Where each transaction's body ends in `bodies`. */
  readonly ends: number[]
  /** Distinct lists of connection ids. */
  readonly idLists: (readonly Id[])[]
  /** Forwarded transactions: where they begin and how many they are, ascending. Apply does not look at them. */
  readonly runs: Run[]
  /** Bodies behind each other; valid up to the last end. */
  bodies: Buffer
  /** Indexes of `idLists` by their text, once there are many. */
  #byText: Map<string, number> | undefined

  constructor(time = 0, options = 0) {
    this.time = time
    this.options = options
    this.kinds = []
    this.sessions = []
    this.cxids = []
    this.auths = []
    this.ends = []
    this.idLists = []
    this.runs = []
    this.bodies = noBytes
  }

  get count(): number {
    return this.kinds.length
  }

  /** Bytes of all bodies. */
  get size(): number {
    return this.ends.length === 0 ? 0 : (this.ends[this.ends.length - 1] as number)
  }

  /** Where the body of transaction `index` begins. */
  startOf(index: number): number {
    return index === 0 ? 0 : (this.ends[index - 1] as number)
  }

  /** Adds a transaction whose body is copied from `buf[start, end)`. */
  add(
    kind: number,
    session: number,
    cxid: number,
    ids: readonly Id[],
    buf: Uint8Array,
    start: number,
    end: number,
  ): void {
    const at = this.size
    const length = end - start
    if (at + length > this.bodies.length) this.#grow(at, at + length)
    if (length < 64) {
      for (let i = start, to = at; i < end; i++, to++) this.bodies[to] = buf[i] as number
    } else {
      this.bodies.set(buf.subarray(start, end), at)
    }
    this.kinds.push(kind)
    this.sessions.push(session)
    this.cxids.push(cxid)
    this.auths.push(this.#idList(ids))
    this.ends.push(at + length)
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

  #grow(used: number, needed: number): void {
    let size = Math.max(4096, this.bodies.length * 2)
    while (size < needed) size *= 2
    const grown = Buffer.allocUnsafeSlow(size)
    this.bodies.copy(grown, 0, 0, used)
    this.bodies = grown
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

  /** The batch as bytes, for the log and the peers. */
  encode(): Buffer {
    const fields = [
      this.runs.length === 0 ? formatVersion : runsVersion,
      this.time,
      this.options,
      this.kinds,
      this.sessions,
      this.cxids,
      this.idLists.length === 1 ? null : this.auths,
      this.ends,
      this.idLists.map((ids) => ids.flatMap((id) => [id.scheme, id.id])),
      this.bodies.subarray(0, this.size),
    ]
    if (this.runs.length > 0)
      fields.push(this.runs.flatMap(({ from, count, server, session }) => [from, count, server, session]))
    return packr.pack(fields)
  }

  /** Reads what `encode` wrote. Throws InvariantError if it is not such a batch. */
  static decode(bytes: Uint8Array): Batch {
    const fields = unpacked(bytes)
    assert(Array.isArray(fields), notABatch)
    const [version, time, options, kinds, sessions, cxids, auths, ends, idLists, bodies, runs] = fields as [
      number,
      number,
      number,
      number[],
      number[],
      number[],
      number[] | null,
      number[],
      string[][],
      Uint8Array,
      number[] | undefined,
    ]
    assert(
      version === formatVersion || version === runsVersion,
      `batch format ${version} is unknown to this version of zabd`,
    )
    assert(fields.length === (version === formatVersion ? 10 : 11), notABatch)
    assert(Array.isArray(idLists) && idLists.every(isFlatList) && bodies instanceof Uint8Array, notABatch)
    for (const column of [kinds, sessions, cxids, auths ?? kinds, ends])
      assert(isColumn(column) && column.length === kinds.length, notABatch)
    const batch = new Batch(time, options)
    let bodiesEnd = 0
    for (let i = 0; i < kinds.length; i++) {
      const auth = auths === null ? 0 : (auths[i] ?? -1)
      const end = ends[i] ?? -1
      assert(auth >= 0 && auth < idLists.length && end >= bodiesEnd, notABatch)
      bodiesEnd = end
      batch.kinds.push(kinds[i] as number)
      batch.sessions.push(sessions[i] as number)
      batch.cxids.push(cxids[i] as number)
      batch.auths.push(auth)
      batch.ends.push(end)
    }
    assert(bodiesEnd === bodies.length, notABatch)
    for (const flat of idLists) {
      const ids: Id[] = []
      for (let i = 0; i < flat.length; i += 2)
        ids.push({ scheme: flat[i] as string, id: flat[i + 1] as string })
      batch.idLists.push(ids)
    }
    if (runs !== undefined) batch.#readRuns(runs)
    batch.bodies = Buffer.from(bodies.buffer, bodies.byteOffset, bodies.byteLength)
    return batch
  }

  #readRuns(flat: readonly number[]): void {
    assert(isColumn(flat) && flat.length % 4 === 0, notABatch)
    let end = 0
    for (let i = 0; i < flat.length; i += 4) {
      const [from, count, server, session] = flat.slice(i, i + 4) as [number, number, number, number]
      assert(from >= end && count > 0 && from + count <= this.count, notABatch)
      end = from + count
      this.runs.push({ from, count, server, session })
    }
  }
}

const noBytes = Buffer.alloc(0)
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

function unpacked(bytes: Uint8Array): unknown {
  try {
    return packr.unpack(bytes)
  } catch (error) {
    throw new InvariantError(`${notABatch}: ${error instanceof Error ? error.message : error}`)
  }
}

function isColumn(column: unknown): boolean {
  return Array.isArray(column) && column.every(Number.isSafeInteger)
}

/** Ids as `encode` writes them: scheme, id, scheme, id. */
function isFlatList(flat: unknown): boolean {
  return Array.isArray(flat) && flat.length % 2 === 0 && flat.every((text) => typeof text === 'string')
}

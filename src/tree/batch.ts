// The transactions of one turn, in columns: what the leader proposes, what goes to the log and to the peers as
// one piece, and what apply reads. Around each client request, whose bytes are kept as they came, is only an
// envelope: kind, session, cxid and the ids its connection had. Time and options are the leader's and hold for
// the whole batch. Zxids are not inside: the entry that carries a batch knows its first one.
import { Packr } from 'msgpackr'
import { assert } from '../base/assert.ts'
import type { Id } from './acl.ts'

/** The leader's settings that apply must know; part of the batch, so that every server applies alike. */
export const BatchOption = { enforceQuota: 1, skipAcl: 2, ttlDisabled: 4 } as const

const formatVersion = 1
const packr = new Packr({ useRecords: false, variableMapSize: true })

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
  /** Bodies behind each other; valid up to the last end. */
  bodies: Buffer

  constructor(time = 0, options = 0) {
    this.time = time
    this.options = options
    this.kinds = []
    this.sessions = []
    this.cxids = []
    this.auths = []
    this.ends = []
    this.idLists = []
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

  #grow(used: number, needed: number): void {
    let size = Math.max(4096, this.bodies.length * 2)
    while (size < needed) size *= 2
    const grown = Buffer.allocUnsafeSlow(size)
    this.bodies.copy(grown, 0, 0, used)
    this.bodies = grown
  }

  /** Connections keep one array of ids while these do not change, so identity finds nearly every repetition. */
  #idList(ids: readonly Id[]): number {
    const lists = this.idLists
    for (let i = lists.length - 1; i >= 0 && i >= lists.length - 16; i--) if (lists[i] === ids) return i
    for (let i = 0; i < lists.length; i++) if (sameIds(lists[i] as readonly Id[], ids)) return i
    return lists.push(ids) - 1
  }

  /** The batch as bytes, for the log and the peers. */
  encode(): Buffer {
    return packr.pack([
      formatVersion,
      this.time,
      this.options,
      this.kinds,
      this.sessions,
      this.cxids,
      this.idLists.length === 1 ? null : this.auths,
      this.ends,
      this.idLists.map((ids) => ids.flatMap((id) => [id.scheme, id.id])),
      this.bodies.subarray(0, this.size),
    ])
  }

  /** Reads what `encode` wrote. Throws InvariantError if it is not such a batch. */
  static decode(bytes: Uint8Array): Batch {
    const fields: unknown = packr.unpack(bytes)
    assert(Array.isArray(fields) && fields.length === 10, 'a log entry is not a batch of transactions')
    const [version, time, options, kinds, sessions, cxids, auths, ends, idLists, bodies] = fields as [
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
    ]
    assert(version === formatVersion, `batch format ${version} is unknown to this version of zabd`)
    const batch = new Batch(time, options)
    for (let i = 0; i < kinds.length; i++) {
      batch.kinds.push(kinds[i] as number)
      batch.sessions.push(sessions[i] as number)
      batch.cxids.push(cxids[i] as number)
      batch.auths.push(auths === null ? 0 : (auths[i] as number))
      batch.ends.push(ends[i] as number)
    }
    for (const flat of idLists) {
      const ids: Id[] = []
      for (let i = 0; i < flat.length; i += 2)
        ids.push({ scheme: flat[i] as string, id: flat[i + 1] as string })
      batch.idLists.push(ids)
    }
    batch.bodies = Buffer.from(bodies.buffer, bodies.byteOffset, bodies.byteLength)
    return batch
  }
}

const noBytes = Buffer.alloc(0)

function sameIds(a: readonly Id[], b: readonly Id[]): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i]?.scheme !== b[i]?.scheme || a[i]?.id !== b[i]?.id) return false
  return true
}

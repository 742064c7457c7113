// The tree as records of a key-value store: what a checkpoint writes and a start reads. Znodes are packed into segments,
// which are written once and never changed (docs/storage.md): a checkpoint writes new segments with what changed, and says
// of older ones which of their records are dead. ACLs and sessions are records of their own. Each record has a checksum.
import { crc32 } from 'node:zlib'
import { assert } from '../base/assert.ts'
import { Reader, readLong } from '../jute/reader.ts'
import { Writer } from '../jute/writer.ts'
import type { Acl } from './acl.ts'
import { readAcls, writeAcls } from './acl-codec.ts'
import { deadBytes, NOWHERE, type Segment, segmentBytes, segmentRecordsMax } from './segments.ts'
import { NodeKind, type NodeRef, NodeStat, RestoredBatch, restoredMax } from './store.ts'
import type { Settings, Tree } from './tree.ts'

// In this order: a segment is read when the ACLs and its dead records are known. Segments come last, and each has a
// higher number than those before, so that they are written as they come (CheckpointSink).
const aclPrefix = 0x61
const deadPrefix = 0x64
const sessionPrefix = 0x73
const segmentPrefix = 0x7a

/** Every record begins with the CRC-32 of its key and the rest of it. */
const checkBytes = 4

/*
 * A znode in a segment: info, length of the data (-1: null), reference, the parent's (-1: none), digest, ACL, czxid,
 * ctime; then, where info says so, mzxid, mtime and version; pzxid and cversion; aversion; owner or TTL; name, data.
 */
const znodeBytes = 6 * 4 + 2 * 8
const changedBytes = 20
const parentBytes = 12
const aversionBytes = 4
const ownerBytes = 8
const nameLengthMask = 0x3fffff
const kindShift = 22
/** What a znode as it was created does not have, in info above the kind. */
const hasChanged = 1 << 24
const hasChildren = 1 << 25
const hasAversion = 1 << 26

/** Holds nothing between calls. */
const stat = new NodeStat()
const batch = new RestoredBatch()

/** Where records go. */
export interface RecordSink {
  put(key: Uint8Array, value: Uint8Array): void
  del(key: Uint8Array): void
}

/** What else is part of the state; kept with the checkpoint's own description. */
export type ImageState = {
  /** Number of session records that must be there: no digest tells that one is missing. */
  readonly sessions: number
  readonly settings: { rulesVersion: number; ensembleId: Uint8Array; secret: Uint8Array } | null
  /** Highest session id that each server ever opened. */
  readonly newestSessions: readonly number[]
  /** No segment so far had this number or a higher one. */
  readonly nextSegment: number
}

/** What a complete image says of itself. */
export type ImageTotals = {
  readonly nodes: number
  readonly digestHigh: number
  readonly digestLow: number
}

/** A record that can not be what was written. */
export class ImageError extends Error {
  override readonly name = 'ImageError'
}

/** Writes what changed since the last image: takes the lists at once, encodes bit by bit. */
export class ImageWriter {
  readonly #tree: Tree
  readonly #sink: RecordSink
  readonly #key = new Writer(16)
  readonly #value = new Writer(1024)
  readonly #znodes = new Writer(segmentBytes + 4096)
  readonly #work: Generator<void, void, void>
  /** The segment that #znodes is the content of; undefined while there is none. */
  #segment: Segment | undefined
  /** Bytes of the segments written. */
  #bytes = 0
  /** What may still be done in this slice. */
  #budget = 0
  #complete = false

  /** The state as it is now is what the image will hold. */
  readonly totals: ImageTotals
  readonly state: ImageState

  constructor(tree: Tree, sink: RecordSink) {
    this.#tree = tree
    this.#sink = sink
    const [digestHigh, digestLow] = tree.digest()
    this.totals = { nodes: tree.store.count, digestHigh, digestLow }
    const newestSessions = [...tree.newestSessions.values()]
    const { next: nextSegment } = tree.segments
    const settings = tree.settings ?? null
    this.state = { sessions: tree.sessions.size, settings, newestSessions, nextSegment }
    this.#work = this.#writing()
    // Up to the first yield: takes the lists.
    this.#work.next()
  }

  /** Does up to `count` steps, each about a znode's; false when all is done. */
  advance(count: number): boolean {
    this.#budget = count
    if (this.#work.next().done === true) this.#complete = true
    return !this.#complete
  }

  /** The image is safely stored. It must be complete. */
  done(): void {
    assert(this.#complete, 'an image is done before all of it is written')
    this.#tree.checkpointDone()
  }

  /** The image was not stored: the next one must hold everything. */
  failed(): void {
    this.#tree.checkpointFailed()
    this.#tree.acls.putBack({ put: [...this.#tree.acls.entries()], del: [] })
  }

  *#writing(): Generator<void, void, void> {
    const tree = this.#tree
    const { segments, store } = tree
    const { nodes, removed, sessions } = tree.takeDirty((node) => this.#encode(node))
    const acls = tree.acls.takeDirty()
    yield
    for (const index of acls.del) {
      this.#sink.del(this.#numberKey(aclPrefix, index))
      if (--this.#budget <= 0) yield
    }
    for (const [index, list] of acls.put) {
      this.#putAcl(index, list)
      if (--this.#budget <= 0) yield
    }
    for (const [id, timeoutMs] of sessions) {
      this.#putSession(id, timeoutMs)
      if (--this.#budget <= 0) yield
    }
    for (const place of removed) {
      segments.kill(place)
      if (--this.#budget <= 0) yield
    }
    for (const node of nodes) {
      if (tree.isPending(node)) this.#encode(node)
      if (--this.#budget <= 0) yield
    }
    this.#endSegment()
    if (segments.chooseSparse(this.#bytes)) {
      // The image is complete without it: the next one writes these znodes, and their segments are gone then.
      for (let node = 0; node < store.limit; node++) {
        if (segments.isSparse(store.place(node))) tree.rewrite(node)
        if (--this.#budget <= 0) yield
      }
    }
    for (const segment of segments.takeChanged()) {
      this.#putDead(segment)
      if (--this.#budget <= 0) yield
    }
  }

  #encode(node: NodeRef): void {
    const { store, segments } = this.#tree
    const out = this.#znodes
    if (this.#segment === undefined) {
      this.#segment = segments.add()
      out.clear()
      out.int(0)
    }
    store.readStat(node, stat)
    const { czxid, ctime, kind, dataLength } = stat
    let info = store.nameLength(node) | (kind << kindShift)
    if (stat.mzxid !== czxid || stat.mtime !== ctime || stat.version !== 0) info |= hasChanged
    if (stat.pzxid !== czxid || stat.cversion !== 0) info |= hasChildren
    if (stat.aversion !== 0) info |= hasAversion
    out.ensure(recordBytes(info, dataLength))
    out.int(info)
    out.int(dataLength)
    out.int(node)
    out.int(store.parent(node))
    out.int(store.digest(node) | 0)
    out.int(store.acl(node) | 0)
    out.long(czxid)
    out.long(ctime)
    if ((info & hasChanged) !== 0) {
      out.long(stat.mzxid)
      out.long(stat.mtime)
      out.int(stat.version)
    }
    if ((info & hasChildren) !== 0) {
      out.long(stat.pzxid)
      out.int(stat.cversion)
    }
    if ((info & hasAversion) !== 0) out.int(stat.aversion)
    if (hasOwner(kind)) out.long(store.owner(node))
    out.pos = store.copyName(node, out.buf, out.pos)
    out.pos = store.copyData(node, out.view, out.pos)
    this.#tree.encoded(node, segments.append(this.#segment))
    if (out.pos >= segmentBytes || this.#segment.count === segmentRecordsMax) this.#endSegment()
  }

  #endSegment(): void {
    const segment = this.#segment
    if (segment === undefined) return
    this.#segment = undefined
    segment.bytes = this.#znodes.pos
    this.#bytes += segment.bytes
    this.#seal(this.#numberKey(segmentPrefix, segment.number), this.#znodes)
  }

  #putDead({ number, live, count, dead }: Segment): void {
    if (live === 0) {
      this.#sink.del(this.#numberKey(deadPrefix, number))
      this.#sink.del(this.#numberKey(segmentPrefix, number))
      return
    }
    assert(dead !== undefined, `segment ${number} changed and has no dead record`)
    this.#value.clear()
    this.#value.int(0)
    this.#value.raw(dead, 0, (count + 7) >>> 3)
    this.#seal(this.#numberKey(deadPrefix, number), this.#value)
  }

  #numberKey(prefix: number, id: number): Uint8Array {
    this.#key.clear()
    this.#key.byte(prefix)
    this.#key.long(id)
    return this.#key.bytes()
  }

  #putAcl(index: number, list: readonly Acl[]): void {
    this.#value.clear()
    this.#value.int(0)
    writeAcls(this.#value, list)
    this.#seal(this.#numberKey(aclPrefix, index), this.#value)
  }

  #putSession(id: number, timeoutMs: number | undefined): void {
    const key = this.#numberKey(sessionPrefix, id)
    if (timeoutMs === undefined) {
      this.#sink.del(key)
      return
    }
    this.#value.clear()
    this.#value.int(0)
    this.#value.int(timeoutMs)
    this.#seal(key, this.#value)
  }

  /** Fills in the checksum in front of a record and puts it. */
  #seal(key: Uint8Array, out: Writer): void {
    const value = out.bytes()
    out.intAt(0, crc32(value.subarray(checkBytes), crc32(key)) | 0)
    this.#sink.put(key, value)
  }
}

function hasOwner(kind: number): boolean {
  return kind === NodeKind.ephemeral || kind === NodeKind.ttl
}

/** Bytes of a znode's record. */
function recordBytes(info: number, dataLength: number): number {
  let bytes = znodeBytes + (info & nameLengthMask) + Math.max(dataLength, 0)
  if ((info & hasChanged) !== 0) bytes += changedBytes
  if ((info & hasChildren) !== 0) bytes += parentBytes
  if ((info & hasAversion) !== 0) bytes += aversionBytes
  if (hasOwner((info >>> kindShift) & 3)) bytes += ownerBytes
  return bytes
}

/** Fills an empty tree from records in key order. */
export class ImageReader {
  readonly #tree: Tree
  readonly #reader = new Reader()
  /** Dead records of segments that have not come yet, by the segment's number. */
  readonly #dead = new Map<number, Uint8Array>()
  /** Of each znode in the batch where its record is if it changed since it was created, else 0, where none is. */
  readonly #changedAt = new Int32Array(restoredMax)
  #nodes = 0

  /** `expected`: how many znodes there should be, if that is known. */
  constructor(tree: Tree, expected?: number) {
    this.#tree = tree
    if (expected !== undefined) tree.store.reserve(expected)
  }

  /** Znodes so far. */
  get nodes(): number {
    return this.#nodes
  }

  /**
   * Takes one record, whose checksum need not be looked at if another one over all of it was verified. Throws ImageError if it
   * is damaged, InvariantError if it contradicts another one.
   */
  record(key: Uint8Array, value: Uint8Array, verified = false): void {
    if (value.length < checkBytes) throw new ImageError('a record is too short')
    const r = this.#reader.reset(Buffer.from(value.buffer, value.byteOffset, value.length), 0, value.length)
    const checksum = r.int() >>> 0
    if (!verified && checksum !== crc32(value.subarray(checkBytes), crc32(key)))
      throw new ImageError(`record ${Buffer.from(key).toString('hex')} does not match its checksum`)
    switch (key[0]) {
      case segmentPrefix:
        this.#segment(numberOf(key))
        break
      case deadPrefix:
        this.#deadOf(numberOf(key))
        break
      case aclPrefix:
        this.#tree.acls.restore(numberOf(key), this.#acls(), 0)
        break
      case sessionPrefix:
        this.#tree.loadSession(numberOf(key), r.int())
        break
      default:
        throw new ImageError(`a record of the unknown kind ${key[0]}`)
    }
  }

  /** All records are there: checks the totals and builds what is derived. Throws as `record`. */
  finish(totals: ImageTotals, state: ImageState, zxid: number): void {
    const tree = this.#tree
    for (const number of this.#dead.keys()) throw new ImageError(`segment ${number} is missing`)
    if (this.#nodes !== totals.nodes)
      throw new ImageError(`${this.#nodes} znodes where ${totals.nodes} should be`)
    tree.store.settle()
    const [high, low] = tree.digest()
    if (high !== totals.digestHigh || low !== totals.digestLow)
      throw new ImageError('the znodes together do not have the digest that was stored with them')
    if (tree.sessions.size !== state.sessions)
      throw new ImageError(`${tree.sessions.size} sessions where ${state.sessions} should be`)
    for (const owner of tree.ephemeralOwners())
      if (!tree.sessions.has(owner)) throw new ImageError(`an ephemeral's session ${owner} is missing`)
    tree.loadNewestSessions(state.newestSessions)
    tree.segments.next = Math.max(tree.segments.next, state.nextSegment)
    tree.settings = settingsOf(state)
    tree.zxid = zxid
    tree.quotas.reload()
  }

  #acls(): readonly Acl[] {
    const list = readAcls(this.#reader) ?? []
    return list.map(({ perms, scheme, id }) => ({ perms, scheme: scheme ?? '', id: id ?? '' }))
  }

  #deadOf(number: number): void {
    const r = this.#reader
    if (r.end - r.pos > deadBytes) throw new ImageError(`too many dead records in segment ${number}`)
    const dead = new Uint8Array(deadBytes)
    dead.set(r.buf.subarray(r.pos, r.end))
    this.#dead.set(number, dead)
  }

  #segment(number: number): void {
    const { buf, view, end } = this.#reader
    const { segments } = this.#tree
    const segment = segments.add(number, this.#dead.get(number))
    this.#dead.delete(number)
    segment.bytes = end
    batch.bytes = buf
    batch.count = 0
    for (let at = checkBytes; at < end; ) {
      const next =
        at + znodeBytes <= end ? at + recordBytes(view.getInt32(at), view.getInt32(at + 4)) : end + 1
      if (next > end || segment.count === segmentRecordsMax)
        throw new ImageError(`segment ${number} is not well formed`)
      const place = segments.append(segment)
      if (place !== NOWHERE) this.#take(view, at, next, place)
      if (batch.count === restoredMax) this.#load(view)
      at = next
    }
    this.#load(view)
    if (segment.live === 0) throw new ImageError(`segment ${number} has no znode`)
  }

  /** Adds the znode whose record is `view[start, end)` to the batch. */
  #take(view: DataView, start: number, end: number, place: number): void {
    const i = batch.count++
    const info = view.getInt32(start)
    const dataLength = view.getInt32(start + 4)
    const kind = (info >>> kindShift) & 3
    const dataAt = end - Math.max(dataLength, 0)
    batch.node[i] = view.getInt32(start + 8)
    batch.parent[i] = view.getInt32(start + 12)
    batch.nameAt[i] = dataAt - (info & nameLengthMask)
    batch.dataAt[i] = dataAt
    batch.dataLength[i] = dataLength
    batch.kind[i] = kind
    batch.digest[i] = view.getInt32(start + 16)
    batch.acl[i] = view.getInt32(start + 20)
    batch.place[i] = place
    batch.czxidHigh[i] = view.getInt32(start + 24)
    batch.czxidLow[i] = view.getInt32(start + 28)
    batch.ctimeHigh[i] = view.getInt32(start + 32)
    batch.ctimeLow[i] = view.getInt32(start + 36)
    const isAsCreated =
      kind === NodeKind.persistent && (info & (hasChanged | hasChildren | hasAversion)) === 0
    this.#changedAt[i] = isAsCreated ? 0 : start
  }

  /** Empties the batch into the tree. */
  #load(view: DataView): void {
    const tree = this.#tree
    tree.load(batch)
    this.#nodes += batch.count
    for (let i = 0; i < batch.count; i++) {
      const at = this.#changedAt[i]!
      if (at === 0) continue
      const ownerAt = readStat(view, at)
      const owner = hasOwner(stat.kind) ? readLong(view, ownerAt) : 0
      tree.loadChanges(batch.node[i]!, stat, owner)
    }
    batch.count = 0
  }
}

/** Fills `stat` from the record at `start`; returns the offset behind it. */
function readStat(view: DataView, start: number): number {
  const info = view.getInt32(start)
  let at = start + znodeBytes
  stat.kind = (info >>> kindShift) & 3
  stat.czxid = readLong(view, start + 24)
  stat.ctime = readLong(view, start + 32)
  stat.mzxid = stat.czxid
  stat.mtime = stat.ctime
  stat.version = 0
  stat.pzxid = stat.czxid
  stat.cversion = 0
  stat.aversion = 0
  if ((info & hasChanged) !== 0) {
    stat.mzxid = readLong(view, at)
    stat.mtime = readLong(view, at + 8)
    stat.version = view.getInt32(at + 16)
    at += changedBytes
  }
  if ((info & hasChildren) !== 0) {
    stat.pzxid = readLong(view, at)
    stat.cversion = view.getInt32(at + 8)
    at += parentBytes
  }
  if ((info & hasAversion) !== 0) {
    stat.aversion = view.getInt32(at)
    at += aversionBytes
  }
  return at
}

function numberOf(key: Uint8Array): number {
  if (key.length !== 9) throw new ImageError('a key of the wrong length')
  return readLong(new DataView(key.buffer, key.byteOffset + 1, 8), 0)
}

function settingsOf(state: ImageState): Settings | undefined {
  if (state.settings === null) return undefined
  const { rulesVersion, ensembleId, secret } = state.settings
  return { rulesVersion, ensembleId: Buffer.from(ensembleId), secret: Buffer.from(secret) }
}

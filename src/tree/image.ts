// The tree as records of a key-value store: what a checkpoint writes and a start reads. One record per znode, ACL and
// session, so that a checkpoint costs what changed. Keys sort so that ACLs come first and parents before children.
// Every znode record carries its digest: damage is found when it is loaded, not when it is served.
import { crc32 } from 'node:zlib'
import { assert } from '../base/assert.ts'
import { Reader } from '../jute/reader.ts'
import { Writer } from '../jute/writer.ts'
import type { Acl } from './acl.ts'
import { readAcls, writeAcls } from './acl-codec.ts'
import { NONE, NodeFlag, NodeKind, type NodeRef } from './store.ts'
import type { Settings, Tree } from './tree.ts'

const aclPrefix = 0x61
const nodePrefix = 0x6e
const sessionPrefix = 0x73
const slashByte = 0x2f

/** digest, ACL, kind, null flag, check. */
const headerBytes = 14
const statBytes = 60

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
  /** Highest session id that each server ever opened; older checkpoints do not have it. */
  readonly newestSessions?: readonly number[]
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

/** Binds ACL and kind, which the digest does not cover, to it. */
function checkOf(digest: number, acl: number, kind: number, isNull: number): number {
  return (Math.imul(acl + 1, 0x9e3779b1) ^ Math.imul(kind * 2 + isNull + 1, 0x85ebca6b) ^ digest) >>> 0
}

/** Writes what changed since the last image: takes the lists at once, encodes the znodes bit by bit. */
export class ImageWriter {
  readonly #tree: Tree
  readonly #sink: RecordSink
  readonly #key = new Writer(256)
  readonly #value = new Writer(1024)
  readonly #nodes: NodeRef[]
  #next = 0

  /** The state as it is now is what the image will hold. */
  readonly totals: ImageTotals
  readonly state: ImageState

  constructor(tree: Tree, sink: RecordSink) {
    this.#tree = tree
    this.#sink = sink
    const [digestHigh, digestLow] = tree.digest()
    this.totals = { nodes: tree.store.count, digestHigh, digestLow }
    const newestSessions = [...tree.newestSessions.values()]
    this.state = { sessions: tree.sessions.size, settings: tree.settings ?? null, newestSessions }
    const taken = tree.takeDirty((node) => this.#encode(node))
    this.#nodes = taken.nodes
    for (const path of taken.removed) sink.del(this.#nodeKey(path))
    const acls = tree.acls.takeDirty()
    for (const index of acls.del) sink.del(this.#numberKey(aclPrefix, index))
    for (const [index, list] of acls.put) this.#putAcl(index, list)
    for (const id of taken.sessions) this.#putSession(id)
  }

  /** Encodes up to `count` znodes; false when all are done. */
  advance(count: number): boolean {
    const { store } = this.#tree
    const end = Math.min(this.#next + count, this.#nodes.length)
    for (; this.#next < end; this.#next++) {
      const node = this.#nodes[this.#next] as NodeRef
      if ((store.flags(node) & NodeFlag.pending) !== 0) this.#encode(node)
    }
    return this.#next < this.#nodes.length
  }

  /** The image is safely stored. It must be complete. */
  done(): void {
    assert(this.#next === this.#nodes.length, 'an image is done before all of it is written')
    this.#tree.checkpointDone()
  }

  /** The image was not stored: the next one must hold everything. */
  failed(): void {
    this.#tree.checkpointFailed()
    this.#tree.acls.putBack({ put: [...this.#tree.acls.entries()], del: [] })
  }

  #encode(node: NodeRef): void {
    const { store } = this.#tree
    const value = this.#value
    value.clear()
    const isNull = store.dataLength(node) < 0 ? 1 : 0
    value.ensure(headerBytes + Math.max(store.dataLength(node), 0) + statBytes)
    value.pos = store.copyData(node, value.buf, headerBytes)
    this.#tree.writeStatBlock(value, node)
    const end = value.pos
    const key = this.#key
    key.clear()
    const pathLength = store.pathLength(node)
    key.ensure(pathLength + 1)
    key.byte(nodePrefix)
    key.pos = store.copyPath(node, key.buf, 1)
    const acl = store.acl(node)
    const kind = store.kind(node)
    const digest = crc32(value.buf.subarray(headerBytes, end), pathCrc(key.buf, pathLength))
    value.pos = 0
    value.int(digest | 0)
    value.int(acl)
    value.byte(kind)
    value.byte(isNull)
    value.int(checkOf(digest, acl, kind, isNull) | 0)
    this.#sink.put(key.bytes(), value.buf.subarray(0, end))
    store.setFlags(node, (store.flags(node) & ~NodeFlag.pending) | NodeFlag.stored)
  }

  #nodeKey(path: Uint8Array): Uint8Array {
    this.#key.clear()
    this.#key.byte(nodePrefix)
    this.#key.raw(path, 0, path.length)
    return this.#key.bytes()
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
    this.#seal(this.#numberKey(aclPrefix, index))
  }

  #putSession(id: number): void {
    const timeout = this.#tree.sessions.get(id)
    const key = this.#numberKey(sessionPrefix, id)
    if (timeout === undefined) {
      this.#sink.del(key)
      return
    }
    this.#value.clear()
    this.#value.int(0)
    this.#value.int(timeout)
    this.#seal(key)
  }

  /** Fills in the checksum over key and value in front of the value. */
  #seal(key: Uint8Array): void {
    const value = this.#value.bytes()
    this.#value.intAt(0, crc32(value.subarray(4), crc32(key)) | 0)
    this.#sink.put(key, value)
  }
}

/** The root counts as the empty path in the digest. */
function pathCrc(key: Uint8Array, pathLength: number): number {
  return pathLength === 1 ? 0 : crc32(key.subarray(1, 1 + pathLength))
}

/** Fills an empty tree from records in key order. */
export class ImageReader {
  readonly #tree: Tree
  readonly #reader = new Reader()
  #scratch = Buffer.alloc(4096)
  #parentPath = Buffer.alloc(0)
  #parent: NodeRef = NONE
  #nodes = 0

  constructor(tree: Tree) {
    this.#tree = tree
  }

  /** Takes one record. Throws ImageError if it is damaged, InvariantError if it contradicts another one. */
  record(key: Uint8Array, value: Uint8Array): void {
    switch (key[0]) {
      case nodePrefix:
        this.#node(key, value)
        break
      case aclPrefix:
        this.#sealed(key, value)
        this.#tree.acls.restore(numberOf(key), this.#acls(), 0)
        break
      case sessionPrefix:
        this.#sealed(key, value)
        this.#tree.loadSession(numberOf(key), this.#reader.int())
        break
      default:
        throw new ImageError(`a record of the unknown kind ${key[0]}`)
    }
  }

  /** All records are there: checks the totals and builds what is derived. Throws ImageError. */
  finish(totals: ImageTotals, state: ImageState, zxid: number): void {
    const tree = this.#tree
    if (this.#nodes !== totals.nodes)
      throw new ImageError(`${this.#nodes} znodes where ${totals.nodes} should be`)
    const [high, low] = tree.digest()
    if (high !== totals.digestHigh || low !== totals.digestLow)
      throw new ImageError('the znodes together do not have the digest that was stored with them')
    if (tree.sessions.size !== state.sessions)
      throw new ImageError(`${tree.sessions.size} sessions where ${state.sessions} should be`)
    for (const owner of tree.ephemeralOwners())
      if (!tree.sessions.has(owner)) throw new ImageError(`an ephemeral's session ${owner} is missing`)
    tree.loadNewestSessions(state.newestSessions ?? [])
    tree.settings = settingsOf(state)
    tree.zxid = zxid
    tree.quotas.reload()
  }

  #acls(): readonly Acl[] {
    const list = readAcls(this.#reader) ?? []
    return list.map(({ perms, scheme, id }) => ({ perms, scheme: scheme ?? '', id: id ?? '' }))
  }

  /** Points the reader behind the checksum of a sealed record. */
  #sealed(key: Uint8Array, value: Uint8Array): void {
    const r = this.#read(value)
    if (value.length < 8 || r.int() >>> 0 !== crc32(value.subarray(4), crc32(key)))
      throw new ImageError('an ACL or session record is damaged')
  }

  /** Values are copied to one buffer: a reader over each of them would cost more. */
  #read(value: Uint8Array): Reader {
    if (value.length > this.#scratch.length) this.#scratch = Buffer.alloc(value.length * 2)
    this.#scratch.set(value)
    return this.#reader.reset(this.#scratch, 0, value.length)
  }

  #node(key: Uint8Array, value: Uint8Array): void {
    const { store } = this.#tree
    if (value.length < headerBytes + statBytes) throw new ImageError('a znode record is too short')
    const r = this.#read(value)
    const digest = r.int() >>> 0
    const acl = r.int()
    const kind = r.byte()
    const isNull = r.byte()
    const check = r.int() >>> 0
    const pathLength = key.length - 1
    if (
      crc32(value.subarray(headerBytes), pathCrc(key, pathLength)) !== digest ||
      check !== checkOf(digest, acl, kind, isNull)
    )
      throw new ImageError(`the record of ${Buffer.from(key.subarray(1)).toString('utf8')} is damaged`)
    const isRoot = pathLength === 1 && key[1] === slashByte
    const node = isRoot ? store.root : this.#attach(key)
    const dataEnd = value.length - statBytes
    if (isNull === 0) store.setData(node, this.#scratch, headerBytes, dataEnd)
    r.pos = dataEnd
    store.setCzxid(node, r.long())
    store.setMzxid(node, r.long())
    store.setPzxid(node, r.long())
    store.setCtime(node, r.long())
    store.setMtime(node, r.long())
    store.setVersion(node, r.int())
    store.setCversion(node, r.int())
    store.setAversion(node, r.int())
    store.setKind(node, kind)
    if (kind === NodeKind.ephemeral) store.setOwner(node, r.long())
    else if (kind === NodeKind.ttl) store.setOwner(node, (r.int() & 0xff) * 2 ** 32 + (r.int() >>> 0))
    store.setAcl(node, acl)
    this.#tree.acls.retain(acl)
    this.#tree.loaded(node)
    this.#tree.adoptDigest(node, inDigest(key, pathLength) ? digest : 0)
    this.#nodes++
  }

  /** Adds the znode of a path; siblings come one after another, so the parent is mostly the one of before. */
  #attach(key: Uint8Array): NodeRef {
    const { store } = this.#tree
    let slash = key.length - 1
    while (slash > 0 && key[slash] !== slashByte) slash--
    if (slash === 0 || slash === key.length - 1) throw new ImageError('a znode record without a path')
    if (!this.#isParent(key, slash)) {
      this.#parentPath = Buffer.from(key.subarray(1, slash))
      this.#parent = slash === 1 ? store.root : store.find(key, 1, slash)
    }
    if (this.#parent === NONE) {
      const path = Buffer.from(key.subarray(1)).toString('utf8')
      throw new ImageError(`the parent of ${path} is missing`)
    }
    return store.create(this.#parent, key, slash + 1, key.length)
  }

  #isParent(key: Uint8Array, slash: number): boolean {
    const parent = this.#parentPath
    if (this.#parent === NONE || parent.length !== slash - 1) return false
    for (let i = parent.length - 1; i >= 0; i--) if (parent[i] !== key[i + 1]) return false
    return true
  }
}

const systemPath = Buffer.from('/zookeeper/')

/** Znodes below /zookeeper/ have no part in the digest. */
function inDigest(key: Uint8Array, pathLength: number): boolean {
  if (pathLength <= systemPath.length) return true
  for (let i = 0; i < systemPath.length; i++) if (key[i + 1] !== systemPath[i]) return true
  return false
}

function numberOf(key: Uint8Array): number {
  if (key.length !== 9) throw new ImageError('a key of the wrong length')
  const view = new DataView(key.buffer, key.byteOffset + 1, 8)
  return view.getInt32(0) * 2 ** 32 + view.getUint32(4)
}

function settingsOf(state: ImageState): Settings | undefined {
  if (state.settings === null) return undefined
  const { rulesVersion, ensembleId, secret } = state.settings
  return { rulesVersion, ensembleId: Buffer.from(ensembleId), secret: Buffer.from(secret) }
}

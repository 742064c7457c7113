// The znode store: fixed records in pages, data and long names in a slab, one hash index on (parent, name). All of
// it lies outside the JavaScript heap and is never copied as a whole, so a million znodes cost the garbage collector
// nothing and no operation stalls while it grows. It knows no rule of the tree beyond parents and children.
import { Buffer } from 'node:buffer'
import { assert, InvariantError } from '../base/assert.ts'
import { crcBytes } from '../base/crc32.ts'
import { viewOf } from '../base/view.ts'
import { NONE, type NodeRef, type NodeStat, type RestoredBatch, type Store } from './store.ts'
import { copyBytes, encodeUtf8, equalBytes, hashByte, hashEnd, hashName, hashStart } from './store-bytes.ts'
import { NameIndex } from './store-index.ts'
import { inlineNameBytes, maxNameLength, Records } from './store-records.ts'
import { type Block, Slab } from './store-slab.ts'

export interface FlatStoreOptions {
  /** Bits of the hash that are used, all by default. With few of them names collide, for tests. */
  readonly hashMask?: number
}

/** An empty store: it has the root, with all fields zero and data null. */
export function createFlatStore(options: FlatStoreOptions = {}): Store {
  return new FlatStore(options.hashMask ?? -1)
}

const slash = 0x2f
const scratchBytesMin = 1024

/** The children of a znode. */
type Family = { readonly parent: NodeRef; first: NodeRef; count: number }

function noFamily(): Family {
  return { parent: NONE, first: NONE, count: 0 }
}

function checkName(length: number): void {
  assert(length > 0 && length <= maxNameLength, 'a name is empty or too long to be stored')
}

class FlatStore implements Store {
  readonly root: NodeRef
  readonly #hashMask: number
  readonly #records = new Records()
  readonly #index = new NameIndex(this.#records)
  // A block's owner is its record's reference times two, plus one for a name.
  readonly #slab = new Slab((owner, block) => this.#blockMoved(owner, block))
  #dataBytes = 0
  #pathBytes = 1
  /** Loading: the siblings that are coming in, their parent's links not written yet, and who has children so far. */
  #family: Family = noFamily()
  #parents: NodeRef[] = []
  /** For paths on their way to and from a string; holds nothing between calls. */
  #scratch = Buffer.alloc(scratchBytesMin)

  constructor(hashMask: number) {
    this.#hashMask = hashMask
    this.root = this.#records.allocate()
  }

  get count(): number {
    return this.#records.count
  }

  get limit(): number {
    return this.#records.limit
  }

  get dataBytes(): number {
    return this.#dataBytes
  }

  get pathBytes(): number {
    return this.#pathBytes
  }

  get reservedBytes(): number {
    const { reservedBytes } = this.#records
    return reservedBytes + this.#index.reservedBytes + this.#slab.reservedBytes + this.#scratch.length
  }

  find(buf: Uint8Array, start: number, end: number): NodeRef {
    if (start >= end || buf[start] !== slash) return NONE
    if (end - start === 1) return this.root
    let node = this.root
    let at = start + 1
    while (true) {
      const from = at
      let hash = hashStart(node)
      let last = 0
      for (; at < end; at++) {
        const byte = buf[at]!
        if (byte === slash) break
        if (at > from) hash = hashByte(hash, last)
        last = byte
      }
      node = this.#lookUp(node, buf, from, at - from, hashEnd(hash, last))
      if (node === NONE || at === end) return node
      at++
    }
  }

  findPath(path: string): NodeRef {
    this.#needScratch(path.length * 3)
    const length = encodeUtf8(path, this.#scratch)
    return length === NONE ? NONE : this.find(this.#scratch, 0, length)
  }

  findChild(parent: NodeRef, buf: Uint8Array, start: number, end: number): NodeRef {
    return this.#lookUp(parent, buf, start, end - start, hashName(parent, buf, start, end))
  }

  create(parent: NodeRef, buf: Uint8Array, start: number, end: number): NodeRef {
    checkName(end - start)
    const node = this.#records.allocate()
    this.#records.setNameLength(node, end - start)
    const hash = this.#setName(node, parent, buf, start, end)
    this.#link(parent, node)
    this.#pathBytes += this.pathLength(node)
    this.#records.setHash(node, hash)
    this.#index.insert(node)
    return node
  }

  reserve(count: number): void {
    // The root is in no index.
    this.#index.reserve(count - 1)
  }

  restore(batch: RestoredBatch): void {
    const { count } = batch
    for (let i = 0; i < count; i++) {
      const isRoot = batch.node[i] === this.root
      const nameLength = batch.dataAt[i]! - batch.nameAt[i]!
      assert(
        isRoot === (batch.parent[i] === NONE) && isRoot === (nameLength === 0),
        'a znode is the root and has a parent, or is not and has none',
      )
      if (!isRoot) checkName(nameLength)
    }
    this.#records.restore(batch)
    this.#restoreNames(batch)
    this.#restoreLinks(batch)
    for (let i = 0; i < count; i++) {
      const length = batch.dataLength[i]!
      const at = batch.dataAt[i]!
      if (length >= 0) this.#addData(batch.node[i]!, batch.bytes, at, at + length)
    }
  }

  #restoreNames({ count, node, parent, bytes, nameAt, dataAt }: RestoredBatch): void {
    for (let i = 0; i < count; i++) {
      if (parent[i] === NONE) continue
      const start = nameAt[i]!
      const end = dataAt[i]!
      this.#records.setHash(node[i]!, this.#setName(node[i]!, parent[i]!, bytes, start, end))
      this.#pathBytes += end - start
    }
    // In a loop of its own, whose steps the processor can do side by side: each waits for memory.
    for (let i = 0; i < count; i++) if (parent[i] !== NONE) this.#index.insert(node[i]!)
  }

  #restoreLinks({ count, node, parent }: RestoredBatch): void {
    const records = this.#records
    for (let i = 0; i < count; i++) {
      if (parent[i] === NONE) continue
      if (parent[i] !== this.#family.parent) this.#takeUp(parent[i]!)
      const family = this.#family
      const { first } = family
      if (first !== NONE) {
        records.setNextSibling(node[i]!, first)
        records.setPrevSibling(first, node[i]!)
      }
      family.first = node[i]!
      family.count++
    }
  }

  /**
   * Loading: the next znodes are children of `parent`, which may not be there yet. Siblings were mostly created one after
   * another, and come so.
   */
  #takeUp(parent: NodeRef): void {
    const records = this.#records
    const { parent: before, first, count } = this.#family
    if (before !== NONE) {
      records.setFirstChild(before, first)
      records.setNumChildren(before, count)
    }
    if (parent === NONE) {
      this.#family = noFamily()
      return
    }
    records.expect(parent)
    this.#family = { parent, first: records.firstChild(parent), count: records.numChildren(parent) }
    if (this.#family.count === 0) this.#parents.push(parent)
  }

  settle(): void {
    const records = this.#records
    this.#takeUp(NONE)
    records.settle(this.root)
    const parents = this.#parents
    this.#parents = []
    for (const parent of parents)
      if (!records.isLive(parent))
        throw new InvariantError(`the parent of znode ${records.firstChild(parent)} is missing`)
    // Of the paths only the names are counted yet.
    for (const parent of parents) {
      const above = parent === this.root ? 1 : this.pathLength(parent) + 1
      this.#pathBytes += records.numChildren(parent) * above
    }
  }

  /** Keeps the bytes of a name, whose length the record has; gives its hash. */
  #setName(node: NodeRef, parent: NodeRef, buf: Uint8Array, start: number, end: number): number {
    const records = this.#records
    const length = end - start
    if (length <= inlineNameBytes)
      return records.setInlineName(node, parent, viewOf(buf), start, length) & this.#hashMask
    const block = this.#slab.allocate(node * 2 + 1, length)
    this.#slab.write(block, viewOf(buf), start, length)
    records.setNameBlock(node, block)
    return hashName(parent, buf, start, end) & this.#hashMask
  }

  /** Makes `node` the first child of `parent`. */
  #link(parent: NodeRef, node: NodeRef): void {
    const records = this.#records
    const first = records.firstChild(parent)
    if (first !== NONE) records.setPrevSibling(first, node)
    records.setNextSibling(node, first)
    records.setParent(node, parent)
    records.setFirstChild(parent, node)
    records.setNumChildren(parent, records.numChildren(parent) + 1)
  }

  remove(node: NodeRef): void {
    const records = this.#records
    assert(node !== this.root, 'the root can not be removed')
    assert(records.isLive(node), 'a znode is removed that is not in use')
    assert(records.firstChild(node) === NONE, 'a znode is removed that has children')
    this.#index.remove(node)
    this.clearData(node)
    this.#pathBytes -= this.pathLength(node)

    const parent = records.parent(node)
    const next = records.nextSibling(node)
    const prev = records.prevSibling(node)
    if (next !== NONE) records.setPrevSibling(next, prev)
    if (prev !== NONE) records.setNextSibling(prev, next)
    else records.setFirstChild(parent, next)
    records.setNumChildren(parent, records.numChildren(parent) - 1)

    const nameBlock = records.nameLength(node) > inlineNameBytes ? records.nameBlock(node) : NONE
    records.release(node)
    if (nameBlock !== NONE) this.#slab.release(nameBlock)
  }

  parent(node: NodeRef): NodeRef {
    return this.#records.parent(node)
  }

  firstChild(node: NodeRef): NodeRef {
    return this.#records.firstChild(node)
  }

  nextSibling(node: NodeRef): NodeRef {
    return this.#records.nextSibling(node)
  }

  numChildren(node: NodeRef): number {
    return this.#records.numChildren(node)
  }

  nameLength(node: NodeRef): number {
    return this.#records.nameLength(node)
  }

  copyName(node: NodeRef, target: Uint8Array, offset: number): number {
    const length = this.#records.nameLength(node)
    if (length <= inlineNameBytes) return this.#records.copyInlineName(node, target, offset)
    const block = this.#records.nameBlock(node)
    copyBytes(this.#slab.bytes(block), this.#slab.offset(block), target, offset, length)
    return offset + length
  }

  crcOfName(node: NodeRef, crc: number): number {
    const length = this.#records.nameLength(node)
    if (length <= inlineNameBytes) return this.#records.crcOfInlineName(node, crc)
    const block = this.#records.nameBlock(node)
    const at = this.#slab.offset(block)
    return crcBytes(crc, this.#slab.bytes(block), at, at + length)
  }

  path(node: NodeRef): string {
    this.#needScratch(this.pathLength(node))
    return this.#scratch.toString('utf8', 0, this.copyPath(node, this.#scratch, 0))
  }

  pathLength(node: NodeRef): number {
    if (node === this.root) return 1
    let length = 0
    for (let step = node; step !== this.root; step = this.#records.parent(step)) {
      length += 1 + this.#records.nameLength(step)
    }
    return length
  }

  copyPath(node: NodeRef, target: Uint8Array, offset: number): number {
    const end = offset + this.pathLength(node)
    if (node === this.root) target[offset] = slash
    let at = end
    for (let step = node; step !== this.root; step = this.#records.parent(step)) {
      at -= this.#records.nameLength(step)
      this.copyName(step, target, at)
      target[--at] = slash
    }
    return end
  }

  dataLength(node: NodeRef): number {
    return this.#records.dataLength(node)
  }

  copyData(node: NodeRef, target: DataView, offset: number): number {
    const length = this.#records.dataLength(node)
    if (length <= 0) return offset
    const block = this.#records.dataBlock(node)
    this.#slab.read(block, target, offset, length)
    return offset + length
  }

  crcOfData(node: NodeRef, crc: number): number {
    const length = this.#records.dataLength(node)
    if (length <= 0) return crc
    const block = this.#records.dataBlock(node)
    const at = this.#slab.offset(block)
    return crcBytes(crc, this.#slab.bytes(block), at, at + length)
  }

  setData(node: NodeRef, buf: Uint8Array, start: number, end: number): void {
    const records = this.#records
    const slab = this.#slab
    const length = end - start
    const block = records.dataBlock(node)
    if (block !== NONE && length > 0 && slab.fits(block, length)) {
      slab.write(block, viewOf(buf), start, length)
      this.#dataBytes += length - records.dataLength(node)
      records.setData(node, block, length)
      return
    }
    // The old space is freed first, so that the new data can lie there.
    if (block !== NONE) this.clearData(node)
    this.#addData(node, buf, start, end)
  }

  /** For a znode whose data takes no space. */
  #addData(node: NodeRef, buf: Uint8Array, start: number, end: number): void {
    const slab = this.#slab
    const length = end - start
    assert(length >= 0, 'data of less than no bytes')
    let block: Block = NONE
    if (length > 0) {
      block = slab.allocate(node * 2, length)
      slab.write(block, viewOf(buf), start, length)
      this.#dataBytes += length
    }
    this.#records.setData(node, block, length)
  }

  clearData(node: NodeRef): void {
    const records = this.#records
    this.#dataBytes -= Math.max(records.dataLength(node), 0)
    const block = records.dataBlock(node)
    records.setData(node, NONE, -1)
    if (block !== NONE) this.#slab.release(block)
  }

  #lookUp(parent: NodeRef, buf: Uint8Array, start: number, length: number, fullHash: number): NodeRef {
    const hash = fullHash & this.#hashMask
    let node = this.#records.nextWithHash(this.#index.first(hash), hash)
    while (node !== NONE && !this.#isNamed(node, parent, buf, start, length)) {
      node = this.#records.nextWithHash(this.#records.nextInBucket(node), hash)
    }
    return node
  }

  #isNamed(node: NodeRef, parent: NodeRef, buf: Uint8Array, start: number, length: number): boolean {
    if (this.#records.parent(node) !== parent || this.#records.nameLength(node) !== length) return false
    if (length <= inlineNameBytes) return this.#records.inlineNameEquals(node, buf, start, length)
    const block = this.#records.nameBlock(node)
    return equalBytes(this.#slab.bytes(block), this.#slab.offset(block), buf, start, length)
  }

  #blockMoved(owner: number, block: Block): void {
    if ((owner & 1) === 1) this.#records.setNameBlock(owner >>> 1, block)
    else this.#records.moveData(owner >>> 1, block)
  }

  #needScratch(length: number): void {
    if (length <= this.#scratch.length) return
    this.#scratch = Buffer.alloc(2 ** Math.ceil(Math.log2(length)))
  }

  readStat(node: NodeRef, stat: NodeStat): void {
    this.#records.readStat(node, stat)
  }

  setStat(node: NodeRef, stat: NodeStat): void {
    this.#records.setStat(node, stat)
  }

  setBirth(node: NodeRef, zxid: number, timeMs: number): void {
    this.#records.setBirth(node, zxid, timeMs)
  }

  setChange(node: NodeRef, version: number, zxid: number, timeMs: number): void {
    this.#records.setChange(node, version, zxid, timeMs)
  }

  czxid(node: NodeRef): number {
    return this.#records.czxid(node)
  }

  mzxid(node: NodeRef): number {
    return this.#records.mzxid(node)
  }

  pzxid(node: NodeRef): number {
    return this.#records.pzxid(node)
  }

  setPzxid(node: NodeRef, zxid: number): void {
    this.#records.setPzxid(node, zxid)
  }

  ctime(node: NodeRef): number {
    return this.#records.ctime(node)
  }

  mtime(node: NodeRef): number {
    return this.#records.mtime(node)
  }

  owner(node: NodeRef): number {
    return this.#records.owner(node)
  }

  setOwner(node: NodeRef, owner: number): void {
    this.#records.setOwner(node, owner)
  }

  version(node: NodeRef): number {
    return this.#records.version(node)
  }

  cversion(node: NodeRef): number {
    return this.#records.cversion(node)
  }

  setCversion(node: NodeRef, cversion: number): void {
    this.#records.setCversion(node, cversion)
  }

  aversion(node: NodeRef): number {
    return this.#records.aversion(node)
  }

  setAversion(node: NodeRef, aversion: number): void {
    this.#records.setAversion(node, aversion)
  }

  kind(node: NodeRef): number {
    return this.#records.kind(node)
  }

  setKind(node: NodeRef, kind: number): void {
    this.#records.setKind(node, kind)
  }

  acl(node: NodeRef): number {
    return this.#records.acl(node)
  }

  setAcl(node: NodeRef, acl: number): void {
    this.#records.setAcl(node, acl)
  }

  digest(node: NodeRef): number {
    return this.#records.digest(node)
  }

  setDigest(node: NodeRef, digest: number): void {
    this.#records.setDigest(node, digest)
  }

  flags(node: NodeRef): number {
    return this.#records.flags(node)
  }

  setFlags(node: NodeRef, flags: number): void {
    this.#records.setFlags(node, flags)
  }

  place(node: NodeRef): number {
    return this.#records.place(node)
  }

  setPlace(node: NodeRef, place: number): void {
    this.#records.setPlace(node, place)
  }

  check(): void {
    const records = this.#records
    records.check()
    const indexed = new Uint8Array(records.limit)
    this.#index.check((node) => {
      assert(indexed[node] === 0, `${node} is in the name index twice`)
      indexed[node] = 1
    })
    this.#checkNodes(indexed)
    let blocks = 0
    this.#slab.check((owner, block, room) => {
      const node = owner >>> 1
      const ofName = (owner & 1) === 1
      assert(records.isLive(node), `block ${block} belongs to ${node}, which is not in use`)
      const length = ofName ? records.nameLength(node) : records.dataLength(node)
      const blockOfNode = ofName ? records.nameBlock(node) : records.dataBlock(node)
      assert(!ofName || length > inlineNameBytes, `block ${block} is the name of ${node}, which needs none`)
      assert(blockOfNode === block, `block ${block} belongs to ${node}, which has ${blockOfNode}`)
      assert(
        length <= room && this.#slab.fits(block, length),
        `block ${block} does not fit for ${length} bytes`,
      )
      blocks++
    })
    // Each block belongs to one znode and each znode has its own: with equal numbers nothing is left over.
    assert(blocks === this.#countBlocks(), `${blocks} blocks in the slab, ${this.#countBlocks()} in use`)
  }

  /** Walks the tree from the root: links both ways, names, index, sums. */
  #checkNodes(indexed: Uint8Array): void {
    const records = this.#records
    assert(records.isLive(this.root) && records.parent(this.root) === NONE, 'the root has a parent')
    assert(records.nameLength(this.root) === 0 && indexed[this.root] === 0, 'the root has a name')
    let count = 1
    let dataBytes = Math.max(records.dataLength(this.root), 0)
    let pathBytes = 1
    const pending = [this.root]
    for (let parent = pending.pop(); parent !== undefined; parent = pending.pop()) {
      let children = 0
      let prev: NodeRef = NONE
      for (let node = records.firstChild(parent); node !== NONE; node = records.nextSibling(node)) {
        children++
        count++
        assert(count <= records.count, 'the tree has a cycle or too many znodes')
        assert(records.isLive(node), `${node} is a child of ${parent} and not in use`)
        assert(
          records.parent(node) === parent,
          `${node} is a child of ${parent}, but says ${records.parent(node)}`,
        )
        assert(records.prevSibling(node) === prev, `${node} comes after ${prev} and says otherwise`)
        assert(indexed[node] === 1, `${node} is not in the name index`)
        this.#needScratch(this.nameLength(node))
        const name = this.#scratch
        const length = this.copyName(node, name, 0)
        assert(length > 0 && name.subarray(0, length).indexOf(slash) < 0, `${node} has no proper name`)
        assert(this.findChild(parent, name, 0, length) === node, `${node} is not found by its name`)
        const dataLength = records.dataLength(node)
        assert(
          dataLength > 0 === (records.dataBlock(node) !== NONE),
          `${node} has data and no block or vice versa`,
        )
        dataBytes += Math.max(dataLength, 0)
        pathBytes += this.pathLength(node)
        pending.push(node)
        prev = node
      }
      assert(records.numChildren(parent) === children, `${parent} has ${children} children`)
    }
    assert(count === records.count, `${count} znodes in the tree, ${records.count} in use`)
    assert(dataBytes === this.#dataBytes, `${dataBytes} bytes of data, ${this.#dataBytes} counted`)
    assert(pathBytes === this.#pathBytes, `${pathBytes} bytes of paths, ${this.#pathBytes} counted`)
  }

  #countBlocks(): number {
    const records = this.#records
    let blocks = 0
    for (let node = 0; node < records.limit; node++) {
      if (!records.isLive(node)) continue
      if (records.dataLength(node) > 0) blocks++
      if (records.nameLength(node) > inlineNameBytes) blocks++
    }
    return blocks
  }
}

// The fixed-size part of every znode: 72 + 8 bytes in pages outside the JavaScript heap. A record never moves, its
// index is the znode's reference. This module knows where each field lies and nothing of what it means; links,
// sums and blocks are kept right by its callers.
//
// The positions are constants of this module on purpose: V8 folds them here, but reads an imported one from memory
// at every use (measured: 1.7 ns against 4-5 ns per field).
import { assert } from '../base/assert.ts'
import { crcBytes } from '../base/crc32.ts'
import { NONE, type NodeRef, type NodeStat, type RestoredBatch } from './store.ts'
import { equalBytes, hashByte, hashEnd, hashStart, hashWord, littleEndian } from './store-bytes.ts'
import { Extras, isWhole, NO_EXTRA } from './store-extras.ts'
import { addRoom, removeRoom, type SlotPage } from './store-room.ts'
import { setStamp, setStampOfHalves, timeOf, zxidOf } from './store-words.ts'

const recordWords = 18
const recordBytes = recordWords * 4
const pageShift = 12
/** Records per page: a quarter of a MiB, so that the last page's unused part and the views per page weigh little. */
const pageRecords = 1 << pageShift
const pageMask = pageRecords - 1

/**
 * The name index's part of a record, hash and next in the bucket, lies behind all records of its page: walking chains and
 * splitting buckets then stays within 8 bytes per znode, most of it in the processor's cache.
 */
const chainWords = 2
const hashAt = 0
const nextInBucketAt = 1

const pageBytes = pageRecords * (recordBytes + chainWords * 4)
/** References stay below 2^30, so that a block's owner word has room for one more bit. */
const pagesMax = 2 ** 30 / pageRecords

// Positions in words.
/** czxid and ctime as a stamp. */
const birthAt = 0
const parentAt = 3
/** Bits 0-25 ACL, 26-27 kind, 28-31 flags. */
const traitsAt = 4
/** Six words: the name itself if it fits, and its length in the last byte; else `longName` there, its block and its length. */
const nameAt = 5
const nameBlockAt = nameAt
const longNameLengthAt = nameAt + 1
const nextSiblingAt = 11
const prevSiblingAt = 12
const digestAt = 13
const dataLengthAt = 14
const dataBlockAt = 15
const placeAt = 16
/** What not all znodes have (store-extras.ts), or NO_EXTRA. */
const extraAt = 17

const aclMask = 0x3ffffff
const kindShift = 26
const kindMask = 3
const flagsShift = 28
const flagsMask = 15

/** Longest name in bytes. Far above what fits into a request (jute.maxbuffer is 1 MiB unless raised). */
export const maxNameLength = 0x3fffff
/** Names up to this many bytes lie in the record. */
export const inlineNameBytes = 23
/** In bytes. */
const nameLengthAt = nameAt * 4 + inlineNameBytes
const longName = 255

/** What the parent's word holds in a record that is not in use; `nextSibling` then links the page's next such slot. */
const unused = -2

/** The records of all znodes. Getters and setters take a reference in use and do not check it. */
export class Records {
  // One entry per page; where a page was given back they are empty and its number is in #vacant.
  readonly #words: Int32Array[] = []
  readonly #bytes: Uint8Array[] = []
  readonly #chains: Int32Array[] = []
  readonly #pages: SlotPage[] = []
  readonly #roomy: SlotPage[] = []
  readonly #vacant: number[] = []
  readonly #extras = new Extras()
  #count = 0

  /** Number of records in use. */
  get count(): number {
    return this.#count
  }

  /** References are below this. */
  get limit(): number {
    return this.#pages.length * pageRecords
  }

  /** Bytes of all pages, those of extras too. */
  get reservedBytes(): number {
    return (this.#pages.length - this.#vacant.length) * pageBytes + this.#extras.reservedBytes
  }

  /** A record with all numbers zero, all links NONE and data null. */
  allocate(): NodeRef {
    let page = this.#roomy[this.#roomy.length - 1]
    if (page === undefined) page = this.#addPage()
    const words = this.#words[page.id]!
    let slot = page.free
    if (slot === NONE) slot = page.used++
    else page.free = words[slot * recordWords + nextSiblingAt]!
    page.live++
    if (page.live === pageRecords) removeRoom(this.#roomy, page)
    this.#count++

    clear(words, slot)
    return page.id * pageRecords + slot
  }

  /**
   * Loading: as `allocate` for each znode of a batch, with the reference that it is to have, which must be free (asserted), and
   * all it has but its siblings, name and data; the length of its name, too. Until `settle` nothing else may be asked of the
   * records but to set fields of those that were restored, and to link children to those that are expected.
   */
  restore(batch: RestoredBatch): void {
    const { count } = batch
    for (let i = 0; i < count; i++) {
      const node = batch.node[i]!
      const page = this.expect(node)
      const slot = node & pageMask
      const words = this.#words[page.id]!
      // The root is there from the start.
      if (batch.parent[i]! !== NONE) {
        // The memory of slots that were not restored is all zero; no name is empty but the root's, which is placed first.
        assert(slot >= page.used || this.nameLength(node) === 0, 'a znode is there twice')
        if (slot >= page.used) page.used = slot + 1
        page.live++
        this.#count++
      }
      // All other numbers are zero, as new memory is.
      const at = slot * recordWords
      setStampOfHalves(
        words,
        at + birthAt,
        batch.czxidHigh[i]!,
        batch.czxidLow[i]!,
        batch.ctimeHigh[i]!,
        batch.ctimeLow[i]!,
      )
      const acl = batch.acl[i]!
      assert((acl & aclMask) === acl, 'this can be no ACL')
      words[at + traitsAt] = acl | (batch.kind[i]! << kindShift)
      words[at + parentAt] = batch.parent[i]!
      words[at + nextSiblingAt] = NONE
      words[at + prevSiblingAt] = NONE
      words[at + digestAt] = batch.digest[i]!
      words[at + dataLengthAt] = -1
      words[at + dataBlockAt] = NONE
      words[at + placeAt] = batch.place[i]!
      this.setNameLength(node, batch.dataAt[i]! - batch.nameAt[i]!)
    }
  }

  /** Loading: a record with this reference is there or will be restored; it can have children from now on. Gives its page. */
  expect(node: NodeRef): SlotPage {
    const id = node >>> pageShift
    assert(node >= 0 && id < pagesMax, 'this can be no reference')
    for (let add = this.#pages.length; add <= id; add++) this.#setPage(add, 0)
    return this.#words[id]!.length === 0 ? this.#setPage(id, pageRecords) : this.#pages[id]!
  }

  /** Loading has ended: makes the slots between the records that were placed free ones. */
  settle(root: NodeRef): void {
    this.#vacant.length = 0
    this.#roomy.length = 0
    for (const page of this.#pages) {
      page.free = NONE
      page.roomIndex = -1
      const words = this.#words[page.id]!
      if (page.live === 0) {
        this.#vacant.push(page.id)
        continue
      }
      for (let slot = page.live < page.used ? page.used - 1 : NONE; slot >= 0; slot--) {
        const node = page.id * pageRecords + slot
        if (this.nameLength(node) !== 0 || node === root) continue
        const at = slot * recordWords
        words[at + parentAt] = unused
        words[at + nextSiblingAt] = page.free
        page.free = slot
      }
      if (page.live < pageRecords) addRoom(this.#roomy, page)
    }
  }

  /** Makes a record free for reuse; a page without records goes back when another page's worth is free. */
  release(node: NodeRef): void {
    const page = this.#pages[node >>> pageShift]!
    const words = this.#words[page.id]!
    const slot = node & pageMask
    const extra = words[slot * recordWords + extraAt]!
    if (extra !== NO_EXTRA) this.#extras.release(extra)
    words[slot * recordWords + parentAt] = unused
    words[slot * recordWords + placeAt] = 0
    words[slot * recordWords + nextSiblingAt] = page.free
    page.free = slot
    if (page.live === pageRecords) addRoom(this.#roomy, page)
    page.live--
    this.#count--
    if (
      page.live === 0 &&
      (this.#pages.length - this.#vacant.length) * pageRecords - this.#count >= 2 * pageRecords
    ) {
      this.#dropPage(page)
    }
  }

  /** Whether `node` is a reference in use. */
  isLive(node: NodeRef): boolean {
    const page = this.#pages[node >>> pageShift]
    return page !== undefined && (node & pageMask) < page.used && this.parent(node) !== unused
  }

  #addPage(): SlotPage {
    const id = this.#vacant.pop() ?? this.#pages.length
    assert(id < pagesMax, `the store is full: ${this.#count} znodes`)
    const page = this.#setPage(id, pageRecords)
    addRoom(this.#roomy, page)
    return page
  }

  /** Makes page `id` one of `records` slots, all or none, that were never used. */
  #setPage(id: number, records: number): SlotPage {
    const words = records * recordWords
    const buffer = new ArrayBuffer((words + records * chainWords) * 4)
    const page: SlotPage = { id, live: 0, free: NONE, used: 0, roomIndex: -1 }
    this.#words[id] = new Int32Array(buffer, 0, words)
    this.#bytes[id] = new Uint8Array(buffer, 0, words * 4)
    this.#chains[id] = new Int32Array(buffer, words * 4)
    this.#pages[id] = page
    return page
  }

  #dropPage(page: SlotPage): void {
    removeRoom(this.#roomy, page)
    this.#setPage(page.id, 0)
    this.#vacant.push(page.id)
  }

  #word(node: NodeRef, at: number): number {
    return this.#words[node >>> pageShift]![(node & pageMask) * recordWords + at]!
  }

  #setWord(node: NodeRef, at: number, value: number): void {
    this.#words[node >>> pageShift]![(node & pageMask) * recordWords + at] = value
  }

  /** The first record of a bucket's chain, from `node` on, that has this hash, or NONE. */
  nextWithHash(node: NodeRef, hash: number): NodeRef {
    let candidate = node
    while (candidate !== NONE) {
      const chain = this.#chains[candidate >>> pageShift]!
      const at = (candidate & pageMask) * chainWords
      if (chain[at + hashAt] === hash) return candidate
      candidate = chain[at + nextInBucketAt]!
    }
    return NONE
  }

  /** Whether the name that lies in the record is `buf[start, start + length)`; `length` is that of the name. */
  inlineNameEquals(node: NodeRef, buf: Uint8Array, start: number, length: number): boolean {
    const at = (node & pageMask) * recordBytes + nameAt * 4
    return equalBytes(this.#bytes[node >>> pageShift]!, at, buf, start, length)
  }

  /**
   * Writes a name of at most `inlineNameBytes`, whose length is set, into the record; gives its hash below `parent`. The name is
   * `view[start, start + length)`, which is read and written a word at a time.
   */
  setInlineName(node: NodeRef, parent: NodeRef, view: DataView, start: number, length: number): number {
    const id = node >>> pageShift
    const words = this.#words[id]!
    const bytes = this.#bytes[id]!
    let at = (node & pageMask) * recordWords + nameAt
    let hash = hashStart(parent)
    let i = 0
    for (; i + 4 < length; i += 4) {
      const word = view.getInt32(start + i, littleEndian)
      words[at++] = word
      hash = hashWord(hash, word, littleEndian)
    }
    at *= 4
    const last = length - 1
    for (; i < last; i++) {
      const byte = view.getUint8(start + i)
      bytes[at++] = byte
      hash = hashByte(hash, byte)
    }
    const byte = view.getUint8(start + last)
    bytes[at] = byte
    return hashEnd(hash, byte)
  }

  /** Copies the name that lies in the record; returns the offset behind it. */
  copyInlineName(node: NodeRef, target: Uint8Array, offset: number): number {
    const bytes = this.#bytes[node >>> pageShift]!
    const at = (node & pageMask) * recordBytes + nameAt * 4
    const length = this.nameLength(node)
    for (let i = 0; i < length; i++) target[offset + i] = bytes[at + i]!
    return offset + length
  }

  /** Takes the name that lies in the record into a running CRC. */
  crcOfInlineName(node: NodeRef, crc: number): number {
    const at = (node & pageMask) * recordBytes + nameAt * 4
    return crcBytes(crc, this.#bytes[node >>> pageShift]!, at, at + this.nameLength(node))
  }

  /** What the name index keeps of a record; undefined until it is set. */
  hash(node: NodeRef): number {
    return this.#chains[node >>> pageShift]![(node & pageMask) * chainWords + hashAt]!
  }

  setHash(node: NodeRef, hash: number): void {
    this.#chains[node >>> pageShift]![(node & pageMask) * chainWords + hashAt] = hash
  }

  /** The next record in the same bucket of the name index, or NONE. */
  nextInBucket(node: NodeRef): NodeRef {
    return this.#chains[node >>> pageShift]![(node & pageMask) * chainWords + nextInBucketAt]!
  }

  setNextInBucket(node: NodeRef, next: NodeRef): void {
    this.#chains[node >>> pageShift]![(node & pageMask) * chainWords + nextInBucketAt] = next
  }

  parent(node: NodeRef): number {
    return this.#word(node, parentAt)
  }

  setParent(node: NodeRef, parent: number): void {
    this.#setWord(node, parentAt, parent)
  }

  /** The extra of a record that is to have what only whole ones have. */
  #wholeOf(node: NodeRef): number {
    const extra = this.#word(node, extraAt)
    if (isWhole(extra)) return extra
    const words = this.#words[node >>> pageShift]!
    const at = (node & pageMask) * recordWords
    const whole = this.#extras.allocateWhole(extra, words, at + birthAt)
    words[at + extraAt] = whole
    return whole
  }

  firstChild(node: NodeRef): number {
    const extra = this.#word(node, extraAt)
    return isWhole(extra) ? this.#extras.firstChild(extra) : NONE
  }

  setFirstChild(node: NodeRef, child: number): void {
    this.#extras.setFirstChild(this.#wholeOf(node), child)
  }

  nextSibling(node: NodeRef): number {
    return this.#word(node, nextSiblingAt)
  }

  setNextSibling(node: NodeRef, sibling: number): void {
    this.#setWord(node, nextSiblingAt, sibling)
  }

  prevSibling(node: NodeRef): number {
    return this.#word(node, prevSiblingAt)
  }

  setPrevSibling(node: NodeRef, sibling: number): void {
    this.#setWord(node, prevSiblingAt, sibling)
  }

  numChildren(node: NodeRef): number {
    const extra = this.#word(node, extraAt)
    return isWhole(extra) ? this.#extras.numChildren(extra) : 0
  }

  setNumChildren(node: NodeRef, count: number): void {
    this.#extras.setNumChildren(this.#wholeOf(node), count)
  }

  /** -1 for null. */
  dataLength(node: NodeRef): number {
    return this.#word(node, dataLengthAt)
  }

  /** The data lies elsewhere now. */
  moveData(node: NodeRef, block: number): void {
    this.#setWord(node, dataBlockAt, block)
  }

  /** Sets where the data lies and its length. */
  setData(node: NodeRef, block: number, length: number): void {
    const words = this.#words[node >>> pageShift]!
    const word = (node & pageMask) * recordWords
    words[word + dataBlockAt] = block
    words[word + dataLengthAt] = length
  }

  /** Where the data lies, NONE if there is not a byte of it. */
  dataBlock(node: NodeRef): number {
    return this.#word(node, dataBlockAt)
  }

  /** Where a name longer than `inlineNameBytes` lies; for other names not to be called. */
  nameBlock(node: NodeRef): number {
    return this.#word(node, nameBlockAt)
  }

  setNameBlock(node: NodeRef, block: number): void {
    this.#setWord(node, nameBlockAt, block)
  }

  nameLength(node: NodeRef): number {
    const length = this.#bytes[node >>> pageShift]![(node & pageMask) * recordBytes + nameLengthAt]!
    return length === longName ? this.#word(node, longNameLengthAt) : length
  }

  /** For a record that has no name yet. */
  setNameLength(node: NodeRef, length: number): void {
    const short = length <= inlineNameBytes
    this.#bytes[node >>> pageShift]![(node & pageMask) * recordBytes + nameLengthAt] = short
      ? length
      : longName
    if (!short) this.#setWord(node, longNameLengthAt, length)
  }

  acl(node: NodeRef): number {
    return this.#word(node, traitsAt) & aclMask
  }

  setAcl(node: NodeRef, acl: number): void {
    assert((acl & aclMask) === acl, 'this can be no ACL')
    this.#setWord(node, traitsAt, (this.#word(node, traitsAt) & ~aclMask) | acl)
  }

  kind(node: NodeRef): number {
    return (this.#word(node, traitsAt) >>> kindShift) & kindMask
  }

  setKind(node: NodeRef, kind: number): void {
    const others = this.#word(node, traitsAt) & ~(kindMask << kindShift)
    this.#setWord(node, traitsAt, others | ((kind & kindMask) << kindShift))
  }

  flags(node: NodeRef): number {
    return this.#word(node, traitsAt) >>> flagsShift
  }

  setFlags(node: NodeRef, flags: number): void {
    const others = this.#word(node, traitsAt) & ~(flagsMask << flagsShift)
    this.#setWord(node, traitsAt, others | (flags << flagsShift))
  }

  readStat(node: NodeRef, stat: NodeStat): void {
    const words = this.#words[node >>> pageShift]!
    const at = (node & pageMask) * recordWords
    stat.czxid = zxidOf(words, at + birthAt)
    stat.ctime = timeOf(words, at + birthAt)
    stat.mzxid = stat.czxid
    stat.mtime = stat.ctime
    stat.version = 0
    stat.pzxid = stat.czxid
    stat.cversion = 0
    stat.aversion = 0
    stat.numChildren = 0
    stat.dataLength = words[at + dataLengthAt]!
    stat.kind = (words[at + traitsAt]! >>> kindShift) & kindMask
    const extra = words[at + extraAt]!
    if (extra !== NO_EXTRA) this.#extras.readStat(extra, stat)
  }

  setStat(node: NodeRef, stat: NodeStat): void {
    const { czxid, ctime } = stat
    this.setBirth(node, czxid, ctime)
    this.setKind(node, stat.kind)
    const changed = stat.mzxid !== czxid || stat.mtime !== ctime || stat.version !== 0
    const more = stat.pzxid !== czxid || stat.cversion !== 0 || stat.aversion !== 0
    if (!changed && !more && this.#word(node, extraAt) === NO_EXTRA) return
    this.setChange(node, stat.version, stat.mzxid, stat.mtime)
    this.setPzxid(node, stat.pzxid)
    this.setCversion(node, stat.cversion)
    this.setAversion(node, stat.aversion)
  }

  czxid(node: NodeRef): number {
    return zxidOf(this.#words[node >>> pageShift]!, (node & pageMask) * recordWords + birthAt)
  }

  ctime(node: NodeRef): number {
    return timeOf(this.#words[node >>> pageShift]!, (node & pageMask) * recordWords + birthAt)
  }

  setBirth(node: NodeRef, zxid: number, timeMs: number): void {
    setStamp(this.#words[node >>> pageShift]!, (node & pageMask) * recordWords + birthAt, zxid, timeMs)
  }

  mzxid(node: NodeRef): number {
    const extra = this.#word(node, extraAt)
    return extra === NO_EXTRA ? this.czxid(node) : this.#extras.mzxid(extra)
  }

  mtime(node: NodeRef): number {
    const extra = this.#word(node, extraAt)
    return extra === NO_EXTRA ? this.ctime(node) : this.#extras.mtime(extra)
  }

  version(node: NodeRef): number {
    const extra = this.#word(node, extraAt)
    return extra === NO_EXTRA ? 0 : this.#extras.version(extra)
  }

  setChange(node: NodeRef, version: number, zxid: number, timeMs: number): void {
    let extra = this.#word(node, extraAt)
    if (extra === NO_EXTRA) {
      if (version === 0 && zxid === this.czxid(node) && timeMs === this.ctime(node)) return
      extra = this.#extras.allocateChange()
      this.#setWord(node, extraAt, extra)
    }
    this.#extras.setChange(extra, version, zxid, timeMs)
  }

  pzxid(node: NodeRef): number {
    const extra = this.#word(node, extraAt)
    return isWhole(extra) ? this.#extras.pzxid(extra) : this.czxid(node)
  }

  setPzxid(node: NodeRef, zxid: number): void {
    if (zxid !== this.pzxid(node)) this.#extras.setPzxid(this.#wholeOf(node), zxid)
  }

  cversion(node: NodeRef): number {
    const extra = this.#word(node, extraAt)
    return isWhole(extra) ? this.#extras.cversion(extra) : 0
  }

  setCversion(node: NodeRef, cversion: number): void {
    if (cversion !== this.cversion(node)) this.#extras.setCversion(this.#wholeOf(node), cversion)
  }

  aversion(node: NodeRef): number {
    const extra = this.#word(node, extraAt)
    return isWhole(extra) ? this.#extras.aversion(extra) : 0
  }

  setAversion(node: NodeRef, aversion: number): void {
    if (aversion !== this.aversion(node)) this.#extras.setAversion(this.#wholeOf(node), aversion)
  }

  owner(node: NodeRef): number {
    const extra = this.#word(node, extraAt)
    return isWhole(extra) ? this.#extras.owner(extra) : 0
  }

  setOwner(node: NodeRef, owner: number): void {
    if (owner !== this.owner(node)) this.#extras.setOwner(this.#wholeOf(node), owner)
  }

  digest(node: NodeRef): number {
    return this.#word(node, digestAt) >>> 0
  }

  setDigest(node: NodeRef, digest: number): void {
    this.#setWord(node, digestAt, digest)
  }

  /** Also of a reference that is not in use, which has none. */
  place(node: NodeRef): number {
    return this.#words[node >>> pageShift]?.[(node & pageMask) * recordWords + placeAt] ?? 0
  }

  setPlace(node: NodeRef, place: number): void {
    this.#setWord(node, placeAt, place)
  }

  /** Checks counts and free lists of all pages. */
  check(): void {
    let count = 0
    for (const [id, page] of this.#pages.entries()) {
      assert(page.id === id, `record page ${id} says it is ${page.id}`)
      count += page.live
      const vacant = this.#words[id]!.length === 0
      assert(vacant === this.#vacant.includes(id), `record page ${id}: vacant or not`)
      assert(!vacant || (page.live === 0 && page.used === 0), `record page ${id} was dropped while in use`)
      const room = !vacant && page.live < pageRecords
      assert(room === page.roomIndex >= 0, `record page ${id}: listed as having room or not`)
      assert(
        !room || this.#roomy[page.roomIndex] === page,
        `record page ${id}: wrong place among those with room`,
      )
      let free = 0
      for (let slot = page.free; slot !== NONE; slot = this.nextSibling(id * pageRecords + slot)) {
        assert(slot >= 0 && slot < page.used && free < page.used, `record page ${id}: broken free list`)
        assert(
          this.parent(id * pageRecords + slot) === unused,
          `record page ${id}: slot ${slot} is in use and free`,
        )
        free++
      }
      assert(
        page.live + free === page.used,
        `record page ${id}: ${page.live} + ${free} of ${page.used} slots`,
      )
      let live = 0
      for (let slot = 0; slot < page.used; slot++) {
        if (this.parent(id * pageRecords + slot) !== unused) live++
      }
      assert(live === page.live, `record page ${id}: ${live} records in use, ${page.live} counted`)
    }
    assert(count === this.#count, `${count} records in use, ${this.#count} counted`)
    const extras = new Set<number>()
    for (let node = 0; node < this.limit; node++) {
      if (!this.isLive(node)) continue
      const extra = this.#word(node, extraAt)
      assert(extra === NO_EXTRA || !extras.has(extra), `${node} shares an extra with another`)
      if (extra !== NO_EXTRA) extras.add(extra)
    }
    this.#extras.check(extras)
  }
}

/** Makes a slot's numbers zero, its links NONE and its data null. */
function clear(words: Int32Array, slot: number): void {
  const at = slot * recordWords
  for (let i = at; i < at + recordWords; i++) words[i] = 0
  words[at + parentAt] = NONE
  words[at + nextSiblingAt] = NONE
  words[at + prevSiblingAt] = NONE
  words[at + dataLengthAt] = -1
  words[at + dataBlockAt] = NONE
}

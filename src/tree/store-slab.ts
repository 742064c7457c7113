// Blocks of bytes of any size outside the JavaScript heap, for data and long names. A page holds slots of one size;
// each slot begins with its owner's number, so that a block can be moved and its owner told: sparse pages are
// emptied a few blocks at a time and given back. A block larger than the largest slot is a page of its own.
// The slab knows nothing of znodes; what an owner number means is its caller's affair.
import { assert } from '../base/assert.ts'
import { NONE } from './store.ts'
import { copyBytes, littleEndian } from './store-bytes.ts'
import { addRoom, type Roomy, removeRoom } from './store-room.ts'

/** Where a block lies: the page's number and the slot in it, as 32 bits signed; never NONE. */
export type Block = number

const slotBits = 13
const slotMask = (1 << slotBits) - 1
/** All page numbers that the rest of a block's bits can hold, but for the one that NONE would have. */
const pagesMax = 2 ** (32 - slotBits) - 1
/** Bytes before a block's content: its owner. */
const headerBytes = 4
/** Up to here slot sizes go in steps of 8 bytes, above in 16 steps per doubling: at most 6 % of a slot is unused. */
const fineBytesMax = 256
/** Larger blocks are pages of their own; at this size what a page costs besides its bytes is below 3 %. */
const sharedBytesMax = 16 * 1024
/** The first pages of a size are small, which keeps a store of few znodes small. */
const firstPageBytes = 64 * 1024
const firstPages = 4
/**
 * Of the others malloc need not make most of the memory zero, as it comes so from the kernel: loading a million znodes took 1.4 s
 * instead of 1.6. A few bytes less than a power of two, because malloc has some in front.
 */
const pageBytes = 256 * 1024 - 64
const slotsPerPageMin = 16

/** Enough for every size that an ArrayBuffer can have. */
const classesMax = 512

/** A class is compacted while more than this part of its slots is free, and two pages' worth at least. */
const sparseFreeRatio = 0.5
/** Work per released block while compacting; two moves per release keep up with any pattern of removals. */
const movesPerRelease = 2
const slotsScannedPerRelease = 16
/** Pages looked at when choosing the one to empty. */
const victimSamples = 8

/**
 * Up to here a block is written and read a word at a time: as fast as the native copy, which needs a view of the source for the call,
 * and a Buffer's are slow garbage (measured on Node.js 20: 48 ns against 111 ns at 100 B, equal between 150 and 200 B).
 */
const wordwiseBytesMax = 160

interface SlabPage extends Roomy {
  readonly id: number
  readonly sizeClass: SizeClass
  readonly slotBytes: number
  readonly slots: number
  readonly bytes: Uint8Array
  /** The same memory; the first word of a slot is its owner, or below 0 when the slot is free (see `freeWord`). */
  readonly words: Int32Array
  /** Slots that hold a block. */
  live: number
  /** First released slot, or NONE. */
  free: number
  /** Slots from here on were never used, and their memory was never touched. */
  used: number
}

interface SizeClass {
  readonly slotBytes: number
  /** Pages with a free slot, without the victim. */
  readonly roomy: SlabPage[]
  pages: number
  /** Of all pages. */
  slots: number
  live: number
  /** The page that is being emptied, and the slot below which it is still to be looked at. */
  victim: SlabPage | undefined
  victimSlot: number
}

/** Bytes of the slot for a block of `length` bytes. */
function slotBytesFor(length: number): number {
  const need = length + headerBytes
  if (need <= fineBytesMax) return (need + 7) & ~7
  const step = 2 ** (27 - Math.clz32(need - 1))
  return Math.ceil(need / step) * step
}

/** The sizes' numbers, in order and without a gap. */
function classIndex(slotBytes: number): number {
  if (slotBytes <= fineBytesMax) return slotBytes >>> 3
  const doubling = 31 - Math.clz32(slotBytes - 1)
  return (fineBytesMax >>> 3) + (doubling - 8) * 16 + (((slotBytes - 1) >>> (doubling - 4)) & 15) + 1
}

/** A free slot's first word: below 0, and it links the next free slot of the page (NONE: the last). */
function freeWord(next: number): number {
  return -2 - next
}

function newClass(slotBytes: number): SizeClass {
  return { slotBytes, roomy: [], pages: 0, slots: 0, live: 0, victim: undefined, victimSlot: 0 }
}

/** Slots of a page that is added to a class when it has so many pages. */
function slotsPerPage(slotBytes: number, pages: number): number {
  if (slotBytes > sharedBytesMax) return 1
  const bytes = pages < firstPages ? firstPageBytes : pageBytes
  return Math.min(Math.max(slotsPerPageMin, Math.floor(bytes / slotBytes)), slotMask + 1)
}

/** All blocks of a store. Functions take a block in use and do not check it. */
export class Slab {
  readonly #moved: (owner: number, block: Block) => void
  /** Undefined where a page was given back; its number is then in `#vacant`. */
  readonly #pages: (SlabPage | undefined)[] = []
  readonly #vacant: number[] = []
  readonly #classes: (SizeClass | undefined)[] = []
  #reservedBytes = 0

  /** `moved(owner, block)` is called within `release` for each block that was moved; it must not call the slab. */
  constructor(moved: (owner: number, block: Block) => void) {
    this.#moved = moved
    for (let i = 0; i < classesMax; i++) this.#classes.push(undefined)
  }

  /** Bytes of all pages. */
  get reservedBytes(): number {
    return this.#reservedBytes
  }

  /** A block for `length` bytes (of undefined content) that belongs to `owner`, an integer in [0, 2^31). */
  allocate(owner: number, length: number): Block {
    const slotBytes = slotBytesFor(length)
    const index = classIndex(slotBytes)
    let sizeClass = this.#classes[index]
    if (sizeClass === undefined) {
      sizeClass = newClass(slotBytes)
      this.#classes[index] = sizeClass
    }
    return this.#take(sizeClass, owner)
  }

  /** Frees a block. May move other blocks, of which `moved` tells. */
  release(block: Block): void {
    const page = this.#page(block)
    const sizeClass = page.sizeClass
    if (page.slots === 1) {
      sizeClass.live--
      this.#dropPage(page)
      return
    }
    this.#free(page, block & slotMask)
    if (page.live === 0) {
      const freeElsewhere = sizeClass.slots - page.slots - sizeClass.live
      if (page === sizeClass.victim || freeElsewhere >= page.slots) this.#retire(page)
    }
    this.#compact(sizeClass)
  }

  /** Whether a block of `length` bytes would lie in a slot of the same size as `block`. */
  fits(block: Block, length: number): boolean {
    return this.#page(block).slotBytes === slotBytesFor(length)
  }

  /** The bytes in which the block's content lies, from `offset(block)` on. */
  bytes(block: Block): Uint8Array {
    return this.#page(block).bytes
  }

  /** Where the block's content begins within `bytes(block)`. */
  offset(block: Block): number {
    return (block & slotMask) * this.#page(block).slotBytes + headerBytes
  }

  /** Copies `source[from, from + length)` to the beginning of a block. */
  write(block: Block, source: DataView, from: number, length: number): void {
    const page = this.#page(block)
    const { bytes, words } = page
    let at = (block & slotMask) * page.slotBytes + headerBytes
    if (length > wordwiseBytesMax) {
      bytes.set(new Uint8Array(source.buffer, source.byteOffset + from, length), at)
      return
    }
    let word = at >>> 2
    let i = 0
    for (; i + 4 <= length; i += 4) words[word++] = source.getInt32(from + i, littleEndian)
    for (at += i; i < length; i++) bytes[at++] = source.getUint8(from + i)
  }

  /** Copies the first `length` bytes of a block to `target` at `offset`. */
  read(block: Block, target: DataView, offset: number, length: number): void {
    const page = this.#page(block)
    const { bytes, words } = page
    let at = (block & slotMask) * page.slotBytes + headerBytes
    if (length > wordwiseBytesMax) {
      new Uint8Array(target.buffer, target.byteOffset + offset, length).set(bytes.subarray(at, at + length))
      return
    }
    let word = at >>> 2
    let i = 0
    for (; i + 4 <= length; i += 4) target.setInt32(offset + i, words[word++]!, littleEndian)
    for (at += i; i < length; i++) target.setUint8(offset + i, bytes[at++]!)
  }

  #page(block: Block): SlabPage {
    return this.#pages[block >>> slotBits]!
  }

  #take(sizeClass: SizeClass, owner: number): Block {
    const page = sizeClass.roomy[sizeClass.roomy.length - 1] ?? this.#addPage(sizeClass)
    const word = sizeClass.slotBytes >>> 2
    let slot = page.free
    if (slot === NONE) slot = page.used++
    else page.free = freeWord(page.words[slot * word]!)
    page.words[slot * word] = owner
    page.live++
    sizeClass.live++
    if (page.live === page.slots) removeRoom(sizeClass.roomy, page)
    return (page.id << slotBits) | slot
  }

  #free(page: SlabPage, slot: number): void {
    const sizeClass = page.sizeClass
    page.words[slot * (sizeClass.slotBytes >>> 2)] = freeWord(page.free)
    page.free = slot
    // The victim is never full: it had room when it was chosen and takes no block since.
    if (page.live === page.slots) addRoom(sizeClass.roomy, page)
    page.live--
    sizeClass.live--
  }

  #addPage(sizeClass: SizeClass): SlabPage {
    const id = this.#vacant.pop() ?? this.#pages.length
    assert(id < pagesMax, `the slab is full: ${this.#reservedBytes} bytes`)
    const { slotBytes } = sizeClass
    const slots = slotsPerPage(slotBytes, sizeClass.pages)
    const buffer = new ArrayBuffer(slotBytes * slots)
    const page: SlabPage = {
      id,
      sizeClass,
      slotBytes,
      slots,
      bytes: new Uint8Array(buffer),
      words: new Int32Array(buffer),
      live: 0,
      free: NONE,
      used: 0,
      roomIndex: -1,
    }
    this.#pages[id] = page
    this.#reservedBytes += buffer.byteLength
    sizeClass.pages++
    sizeClass.slots += slots
    addRoom(sizeClass.roomy, page)
    return page
  }

  #dropPage(page: SlabPage): void {
    this.#pages[page.id] = undefined
    this.#vacant.push(page.id)
    this.#reservedBytes -= page.bytes.length
    page.sizeClass.pages--
    page.sizeClass.slots -= page.slots
  }

  /** Gives back a page without blocks, whether it is the victim or not. */
  #retire(page: SlabPage): void {
    const sizeClass = page.sizeClass
    if (page === sizeClass.victim) sizeClass.victim = undefined
    else removeRoom(sizeClass.roomy, page)
    this.#dropPage(page)
  }

  /** Moves a few blocks out of the emptiest page at hand, if the class is sparse; gives that page back when empty. */
  #compact(sizeClass: SizeClass): void {
    if (sizeClass.victim === undefined && !this.#chooseVictim(sizeClass)) return
    const victim = sizeClass.victim!
    const word = sizeClass.slotBytes >>> 2
    let moves = 0
    for (let scanned = 0; scanned < slotsScannedPerRelease && moves < movesPerRelease; scanned++) {
      if (sizeClass.roomy.length === 0) {
        // The class has filled up since: its free slots are needed, no page of them is left over.
        sizeClass.victim = undefined
        addRoom(sizeClass.roomy, victim)
        return
      }
      const slot = --sizeClass.victimSlot
      const owner = victim.words[slot * word]!
      if (owner < 0) continue
      const block = this.#take(sizeClass, owner)
      const length = sizeClass.slotBytes - headerBytes
      copyBytes(
        victim.bytes,
        slot * sizeClass.slotBytes + headerBytes,
        this.bytes(block),
        this.offset(block),
        length,
      )
      this.#free(victim, slot)
      this.#moved(owner, block)
      moves++
      if (victim.live === 0) {
        this.#retire(victim)
        return
      }
    }
  }

  #chooseVictim(sizeClass: SizeClass): boolean {
    const { slotBytes, pages, slots, live } = sizeClass
    const free = slots - live
    if (free < 2 * slotsPerPage(slotBytes, pages - 1) || free < slots * sparseFreeRatio) return false
    const { roomy } = sizeClass
    const step = Math.max(1, Math.floor(roomy.length / victimSamples))
    let victim = roomy[0]!
    for (let i = step; i < roomy.length; i += step) if (roomy[i]!.live < victim.live) victim = roomy[i]!
    if (victim.live === 0) {
      this.#retire(victim)
      return false
    }
    removeRoom(roomy, victim)
    sizeClass.victim = victim
    sizeClass.victimSlot = victim.used
    return true
  }

  /** Checks every page; calls `visit` once for each block with its owner and the bytes it has room for. */
  check(visit: (owner: number, block: Block, room: number) => void): void {
    let reserved = 0
    const seen = new Map<SizeClass, { pages: number; slots: number; live: number; roomy: number }>()
    for (const [id, page] of this.#pages.entries()) {
      assert((page === undefined) === this.#vacant.includes(id), `slab page ${id}: vacant or not`)
      if (page === undefined) continue
      checkPage(page, id, visit)
      reserved += page.bytes.length
      const sums = seen.get(page.sizeClass) ?? { pages: 0, slots: 0, live: 0, roomy: 0 }
      sums.pages++
      sums.slots += page.slots
      sums.live += page.live
      if (page.roomIndex >= 0) sums.roomy++
      seen.set(page.sizeClass, sums)
    }
    assert(reserved === this.#reservedBytes, `${reserved} bytes reserved, ${this.#reservedBytes} counted`)
    for (const [sizeClass, sums] of seen) {
      const { slotBytes, pages, slots, live, roomy } = sizeClass
      assert(pages === sums.pages, `slots of ${slotBytes}: ${sums.pages} pages, ${pages} counted`)
      assert(slots === sums.slots, `slots of ${slotBytes}: ${sums.slots}, ${slots} counted`)
      assert(live === sums.live, `slots of ${slotBytes}: ${sums.live} blocks, ${live} counted`)
      assert(roomy.length === sums.roomy, `slots of ${slotBytes}: ${sums.roomy} pages with room`)
    }
    for (const sizeClass of this.#classes) {
      assert(
        sizeClass === undefined || sizeClass.pages === 0 || seen.has(sizeClass),
        'a size class lost its pages',
      )
    }
  }
}

function checkPage(
  page: SlabPage,
  id: number,
  visit: (owner: number, block: Block, room: number) => void,
): void {
  const { sizeClass, slotBytes, words } = page
  const name = `slab page ${id} (slots of ${slotBytes})`
  assert(page.id === id && slotBytes === sizeClass.slotBytes, `${name}: says it is ${page.id}`)
  assert(page.bytes.length === slotBytes * page.slots, `${name}: has ${page.bytes.length} bytes`)
  assert(page.used <= page.slots, `${name}: ${page.used} slots used`)
  let live = 0
  for (let slot = 0; slot < page.used; slot++) {
    const owner = words[slot * (slotBytes >>> 2)]!
    if (owner < 0) continue
    live++
    visit(owner, (id << slotBits) | slot, slotBytes - headerBytes)
  }
  assert(live === page.live, `${name}: ${live} blocks, ${page.live} counted`)
  let free = 0
  for (let slot = page.free; slot !== NONE; slot = freeWord(words[slot * (slotBytes >>> 2)]!)) {
    assert(slot >= 0 && slot < page.used && free < page.used, `${name}: broken free list`)
    assert(words[slot * (slotBytes >>> 2)]! < 0, `${name}: slot ${slot} is in use and free`)
    free++
  }
  assert(live + free === page.used, `${name}: ${live} + ${free} of ${page.used} slots`)
  const room = live < page.slots && page !== sizeClass.victim
  assert(room === page.roomIndex >= 0, `${name}: listed as having room or not`)
  assert(!room || sizeClass.roomy[page.roomIndex] === page, `${name}: wrong place among those with room`)
}

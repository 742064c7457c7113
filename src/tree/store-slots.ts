// Slots of a few words each, all of one size, in pages outside the JavaScript heap. A slot never moves, and a page without
// one in use is given back. It knows nothing of what is in them.
import { assert } from '../base/assert.ts'
import { NONE } from './store.ts'
import { addRoom, removeRoom, type SlotPage } from './store-room.ts'

const pageShift = 10
const pageSlots = 1 << pageShift
const pageMask = pageSlots - 1
const noWords = new Int32Array(0)
/** Slots stay below 2^30, as references of znodes do. */
const pagesMax = 2 ** 30 / pageSlots

/** Slots of `slotWords` words. Functions take a slot in use and do not check it. */
export class Slots {
  readonly #slotWords: number
  // One entry per page; where a page was given back there are no words and its number is in #vacant.
  readonly #words: Int32Array[] = []
  readonly #pages: SlotPage[] = []
  readonly #roomy: SlotPage[] = []
  readonly #vacant: number[] = []
  #count = 0

  constructor(slotWords: number) {
    this.#slotWords = slotWords
  }

  /** Number in use. */
  get count(): number {
    return this.#count
  }

  get reservedBytes(): number {
    return (this.#pages.length - this.#vacant.length) * pageSlots * this.#slotWords * 4
  }

  /** A slot, an integer from 0; whatever was in it before is still there. */
  allocate(): number {
    const page = this.#roomy[this.#roomy.length - 1] ?? this.#addPage()
    let slot = page.free
    if (slot === NONE) slot = page.used++
    else page.free = this.#words[page.id]![slot * this.#slotWords]!
    page.live++
    if (page.live === pageSlots) removeRoom(this.#roomy, page)
    this.#count++
    return (page.id << pageShift) | slot
  }

  /**
   * Frees a slot for reuse, whose first word then links the next free one. A page without any in use goes back when another
   * page's worth is free.
   */
  release(slot: number): void {
    const page = this.#pages[slot >>> pageShift]!
    this.words(slot)[this.at(slot)] = page.free
    page.free = slot & pageMask
    if (page.live === pageSlots) addRoom(this.#roomy, page)
    page.live--
    this.#count--
    const slots = (this.#pages.length - this.#vacant.length) * pageSlots
    if (page.live === 0 && slots - this.#count >= 2 * pageSlots) {
      removeRoom(this.#roomy, page)
      this.#setPage(page.id, noWords)
      this.#vacant.push(page.id)
    }
  }

  /** The words in which the slot lies, from `at(slot)` on. */
  words(slot: number): Int32Array {
    return this.#words[slot >>> pageShift]!
  }

  /** Where the slot begins within `words(slot)`. */
  at(slot: number): number {
    return (slot & pageMask) * this.#slotWords
  }

  #addPage(): SlotPage {
    const id = this.#vacant.pop() ?? this.#pages.length
    assert(id < pagesMax, `there are no more slots: ${this.#count} are in use`)
    const page = this.#setPage(id, new Int32Array(pageSlots * this.#slotWords))
    addRoom(this.#roomy, page)
    return page
  }

  #setPage(id: number, words: Int32Array): SlotPage {
    const page: SlotPage = { id, live: 0, free: NONE, used: 0, roomIndex: -1 }
    this.#words[id] = words
    this.#pages[id] = page
    return page
  }

  /** Checks counts and free lists of all pages; `live` are the slots that must be in use, each once, and no other. */
  check(live: ReadonlySet<number>): void {
    assert(live.size === this.#count, `${live.size} slots in use, ${this.#count} counted`)
    let count = 0
    for (const [id, page] of this.#pages.entries()) {
      const vacant = this.#words[id]!.length === 0
      assert(page.id === id && vacant === this.#vacant.includes(id), `page ${id} of slots: vacant or not`)
      assert(!vacant || page.used === 0, `page ${id} of slots was dropped while in use`)
      const room = !vacant && page.live < pageSlots
      assert(room === page.roomIndex >= 0, `page ${id} of slots: listed as having room or not`)
      assert(
        !room || this.#roomy[page.roomIndex] === page,
        `page ${id} of slots: wrong place among those with room`,
      )
      let free = 0
      for (let slot = page.free; slot !== NONE; slot = this.#words[id]![slot * this.#slotWords]!) {
        assert(slot >= 0 && slot < page.used && free < page.used, `page ${id} of slots: broken free list`)
        assert(!live.has((id << pageShift) | slot), `slot ${slot} of page ${id} is in use and free`)
        free++
      }
      assert(page.live + free === page.used, `page ${id}: ${page.live} + ${free} of ${page.used} slots`)
      count += page.live
    }
    assert(count === this.#count, `${count} slots in use by page, ${this.#count} counted`)
  }
}

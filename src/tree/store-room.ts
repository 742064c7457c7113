// The set of pages that still have a free slot, as an array in which every page knows its own position: adding,
// removing and taking one are O(1) however many pages there are. And what it takes to give pages to another thread.
import { assert } from '../base/assert.ts'

/** A page that can be in one such set; `roomIndex` is its position there, or -1 when it is in none. */
export interface Roomy {
  roomIndex: number
}

/** A page of slots, of which some are in use. */
export interface SlotPage extends Roomy {
  readonly id: number
  /** Slots in use. */
  live: number
  /** First released slot of this page, or NONE; each links the next one. */
  free: number
  /** Slots from here on were never used, and their memory was never touched. */
  used: number
}

/** Memory of pages that goes to another thread with them. It is not copied: there is nothing left of it here. */
export type Memory = ArrayBuffer[]

/** Adds what a page's words lie in, if there is anything. */
export function giveMemory(memory: Memory, { buffer }: Int32Array): void {
  assert(buffer instanceof ArrayBuffer, 'the memory of a page is not its own')
  if (buffer.byteLength > 0) memory.push(buffer)
}

/** Adds a page that is in no set. */
export function addRoom<Page extends Roomy>(pages: Page[], page: Page): void {
  page.roomIndex = pages.length
  pages.push(page)
}

/** Removes a page from the set that it is in. */
export function removeRoom<Page extends Roomy>(pages: Page[], page: Page): void {
  const last = pages.pop()!
  if (last !== page) {
    pages[page.roomIndex] = last
    last.roomIndex = page.roomIndex
  }
  page.roomIndex = -1
}

// The set of pages that still have a free slot, as an array in which every page knows its own position: adding,
// removing and taking one are O(1) however many pages there are.

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

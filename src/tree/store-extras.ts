// What few znodes have: children now or before, an owner, a version of the ACL. Most are leaves without any of it, so that it
// lies apart from their records: 32 bytes in pages of its own. It knows nothing of znodes but that one of them has it.
import { NONE } from './store.ts'

const extraWords = 8
const extraDoubles = extraWords / 2
const pageShift = 10
/** Extras per page: 32 KiB. */
const pageExtras = 1 << pageShift
const pageMask = pageExtras - 1

// Positions in 8-byte steps, then in 4-byte steps.
const pzxidAt = 0
const ownerAt = 1
const firstChildAt = 4
const numChildrenAt = 5
const cversionAt = 6
const aversionAt = 7

/** "The znode has none." */
export const NO_EXTRA = 0

/** The extras of a store. Functions take one in use and do not check it. */
export class Extras {
  readonly #words: Int32Array[] = []
  readonly #doubles: Float64Array[] = []
  /** First one that was released, linked by their firstChild, or NO_EXTRA. */
  #free = NO_EXTRA
  /** From here on none was ever used. The first is NO_EXTRA. */
  #used = 1
  #count = 0

  /** Number in use. */
  get count(): number {
    return this.#count
  }

  get reservedBytes(): number {
    return this.#words.length * pageExtras * extraWords * 4
  }

  /** One with all numbers zero and no child. */
  allocate(): number {
    let extra = this.#free
    if (extra === NO_EXTRA) {
      extra = this.#used++
      if (extra >>> pageShift === this.#words.length) this.#addPage()
    } else {
      this.#free = this.firstChild(extra)
    }
    this.#count++
    const words = this.#words[extra >>> pageShift]!
    const at = (extra & pageMask) * extraWords
    for (let i = at; i < at + extraWords; i++) words[i] = 0
    words[at + firstChildAt] = NONE
    return extra
  }

  /** Frees one for reuse. The pages go back when none is in use any more. */
  release(extra: number): void {
    this.setFirstChild(extra, this.#free)
    this.#free = extra
    this.#count--
    if (this.#count > 0) return
    this.#words.length = 0
    this.#doubles.length = 0
    this.#free = NO_EXTRA
    this.#used = 1
  }

  #addPage(): void {
    const buffer = new ArrayBuffer(pageExtras * extraWords * 4)
    this.#words.push(new Int32Array(buffer))
    this.#doubles.push(new Float64Array(buffer))
  }

  #word(extra: number, at: number): number {
    return this.#words[extra >>> pageShift]![(extra & pageMask) * extraWords + at]!
  }

  #setWord(extra: number, at: number, value: number): void {
    this.#words[extra >>> pageShift]![(extra & pageMask) * extraWords + at] = value
  }

  pzxid(extra: number): number {
    return this.#doubles[extra >>> pageShift]![(extra & pageMask) * extraDoubles + pzxidAt]!
  }

  setPzxid(extra: number, zxid: number): void {
    this.#doubles[extra >>> pageShift]![(extra & pageMask) * extraDoubles + pzxidAt] = zxid
  }

  owner(extra: number): number {
    return this.#doubles[extra >>> pageShift]![(extra & pageMask) * extraDoubles + ownerAt]!
  }

  setOwner(extra: number, owner: number): void {
    this.#doubles[extra >>> pageShift]![(extra & pageMask) * extraDoubles + ownerAt] = owner
  }

  firstChild(extra: number): number {
    return this.#word(extra, firstChildAt)
  }

  setFirstChild(extra: number, child: number): void {
    this.#setWord(extra, firstChildAt, child)
  }

  numChildren(extra: number): number {
    return this.#word(extra, numChildrenAt)
  }

  setNumChildren(extra: number, count: number): void {
    this.#setWord(extra, numChildrenAt, count)
  }

  cversion(extra: number): number {
    return this.#word(extra, cversionAt)
  }

  setCversion(extra: number, cversion: number): void {
    this.#setWord(extra, cversionAt, cversion)
  }

  aversion(extra: number): number {
    return this.#word(extra, aversionAt)
  }

  setAversion(extra: number, aversion: number): void {
    this.#setWord(extra, aversionAt, aversion)
  }
}

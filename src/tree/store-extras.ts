// What not every znode has, apart from their records, in two sizes. A change, 16 bytes, is what a znode has whose data was
// set after it was created. A whole extra, 48 bytes, is a change and what few znodes have: children now or before, an
// owner, a version of the ACL. This module knows nothing of znodes but that one of them has it.
import { NONE, type NodeStat } from './store.ts'
import { Slots } from './store-slots.ts'
import { copyStamp, longOf, setLong, setStamp, timeOf, zxidOf } from './store-words.ts'

// Positions in both sizes, then those in whole extras only.
const changedAt = 0
const versionAt = 3
const changeWords = 4
const firstChildAt = 4
const numChildrenAt = 5
const cversionAt = 6
const aversionAt = 7
const pzxidAt = 8
const ownerAt = 10
const wholeWords = 12

/** "The znode has none." */
export const NO_EXTRA = 0

/** Whether there is an extra, and it is a whole one. */
export function isWhole(extra: number): boolean {
  return extra > NO_EXTRA
}

/** The extras of a store. Functions take one in use, a whole one for what only these have, and do not check it. */
export class Extras {
  // Changes are numbers below NO_EXTRA, whole ones are above.
  readonly #changes = new Slots(changeWords)
  readonly #wholes = new Slots(wholeWords)

  get reservedBytes(): number {
    return this.#changes.reservedBytes + this.#wholes.reservedBytes
  }

  /** A change. All of it is yet to be set. */
  allocateChange(): number {
    return ~this.#changes.allocate()
  }

  /** A whole one for a znode that was created at the stamp `birth[at]`; takes over, and frees, its change if it has one. */
  allocateWhole(change: number, birth: Int32Array, at: number): number {
    const slot = this.#wholes.allocate()
    const whole = slot + 1
    const words = this.#wholes.words(slot)
    const to = this.#wholes.at(slot)
    for (let i = 0; i < wholeWords; i++) words[to + i] = 0
    words[to + firstChildAt] = NONE
    this.setPzxid(whole, zxidOf(birth, at))
    if (change === NO_EXTRA) {
      copyStamp(words, to + changedAt, birth, at)
    } else {
      this.setChange(whole, this.version(change), this.mzxid(change), this.mtime(change))
      this.release(change)
    }
    return whole
  }

  /** Frees one for reuse. */
  release(extra: number): void {
    this.#slots(extra).release(slotOf(extra))
  }

  #slots(extra: number): Slots {
    return isWhole(extra) ? this.#wholes : this.#changes
  }

  #word(extra: number, at: number): number {
    const slots = this.#slots(extra)
    const slot = slotOf(extra)
    return slots.words(slot)[slots.at(slot) + at]!
  }

  #setWord(whole: number, at: number, value: number): void {
    this.#wholes.words(whole - 1)[this.#wholes.at(whole - 1) + at] = value
  }

  mzxid(extra: number): number {
    const slots = this.#slots(extra)
    const slot = slotOf(extra)
    return zxidOf(slots.words(slot), slots.at(slot) + changedAt)
  }

  mtime(extra: number): number {
    const slots = this.#slots(extra)
    const slot = slotOf(extra)
    return timeOf(slots.words(slot), slots.at(slot) + changedAt)
  }

  version(extra: number): number {
    return this.#word(extra, versionAt)
  }

  setChange(extra: number, version: number, zxid: number, timeMs: number): void {
    const slots = this.#slots(extra)
    const slot = slotOf(extra)
    const words = slots.words(slot)
    const at = slots.at(slot)
    words[at + versionAt] = version
    setStamp(words, at + changedAt, zxid, timeMs)
  }

  /** Fills what an extra has of a stat. */
  readStat(extra: number, stat: NodeStat): void {
    const slots = this.#slots(extra)
    const slot = slotOf(extra)
    const words = slots.words(slot)
    const at = slots.at(slot)
    stat.mzxid = zxidOf(words, at + changedAt)
    stat.mtime = timeOf(words, at + changedAt)
    stat.version = words[at + versionAt]!
    if (!isWhole(extra)) return
    stat.pzxid = longOf(words, at + pzxidAt)
    stat.cversion = words[at + cversionAt]!
    stat.aversion = words[at + aversionAt]!
    stat.numChildren = words[at + numChildrenAt]!
  }

  pzxid(whole: number): number {
    return longOf(this.#wholes.words(whole - 1), this.#wholes.at(whole - 1) + pzxidAt)
  }

  setPzxid(whole: number, zxid: number): void {
    setLong(this.#wholes.words(whole - 1), this.#wholes.at(whole - 1) + pzxidAt, zxid)
  }

  owner(whole: number): number {
    return longOf(this.#wholes.words(whole - 1), this.#wholes.at(whole - 1) + ownerAt)
  }

  setOwner(whole: number, owner: number): void {
    setLong(this.#wholes.words(whole - 1), this.#wholes.at(whole - 1) + ownerAt, owner)
  }

  firstChild(whole: number): number {
    return this.#word(whole, firstChildAt)
  }

  setFirstChild(whole: number, child: number): void {
    this.#setWord(whole, firstChildAt, child)
  }

  numChildren(whole: number): number {
    return this.#word(whole, numChildrenAt)
  }

  setNumChildren(whole: number, count: number): void {
    this.#setWord(whole, numChildrenAt, count)
  }

  cversion(whole: number): number {
    return this.#word(whole, cversionAt)
  }

  setCversion(whole: number, cversion: number): void {
    this.#setWord(whole, cversionAt, cversion)
  }

  aversion(whole: number): number {
    return this.#word(whole, aversionAt)
  }

  setAversion(whole: number, aversion: number): void {
    this.#setWord(whole, aversionAt, aversion)
  }

  /** Checks both sizes: `extras` are those that must be in use, each once. */
  check(extras: ReadonlySet<number>): void {
    const changes = new Set<number>()
    const wholes = new Set<number>()
    for (const extra of extras) (isWhole(extra) ? wholes : changes).add(slotOf(extra))
    this.#changes.check(changes)
    this.#wholes.check(wholes)
  }
}

function slotOf(extra: number): number {
  return isWhole(extra) ? extra - 1 : ~extra
}

// The newest entries that are on disk, for learners that are a little behind, as bytes outside V8's heap. As objects they
// would be copied by each of the first collections of garbage that they live through, which on a leader is all of them; and
// what a server missed while it was away would be read from the log, at a third of the speed. Pure bookkeeping.
import type { Entry, Voting } from './types.ts'

/** Bytes of a block: with them 64 blocks at most are looked through, and little is kept in vain. */
const blockBytes = 128 << 10
/** Blocks are no larger than this part of all that may be kept, so that it is not the newest that goes. */
const blocksMin = 4

/** Entries behind each other. What is in its bytes never changes: views of them were given out. */
type Block = {
  /** Where the entry before the first one ends. */
  readonly prev: number
  readonly firsts: number[]
  readonly lasts: number[]
  /** Where each ends in `bytes`. */
  readonly ends: number[]
  readonly bytes: Uint8Array
  /** Of reconfigurations, by `last`. */
  readonly votings: Map<number, Voting>
}

/** See file header. Its entries have no hole between them. */
export class EntryCache {
  readonly #maxBytes: number
  #blocks: Block[] = []
  /** Of all blocks, whether they are full or not. */
  #bytes = 0
  /** What was cut away is still in the newest block: the next entry begins another one. */
  #wasCut = false

  /** Keeps no more than `maxBytes`, and no entry that is as long. */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** Adds a copy of an entry that follows those that are here; the oldest go. */
  push({ prev, first, last, bytes, voting }: Entry): void {
    const { length } = bytes
    if (length >= this.#maxBytes) {
      this.clear()
      return
    }
    const newest = this.#blocks.at(-1)
    const used = newest?.ends.at(-1) ?? 0
    const fits = newest !== undefined && !this.#wasCut && used + length <= newest.bytes.length
    const block = fits ? newest : this.#begin(prev, length)
    const start = fits ? used : 0
    block.bytes.set(bytes, start)
    block.firsts.push(first)
    block.lasts.push(last)
    block.ends.push(start + length)
    if (voting !== undefined) block.votings.set(last, voting)
  }

  /** Entries after `after` as far as `maxBytes` goes, at least one; undefined if they are not, or not all, here. */
  after(after: number, maxBytes: number): Entry[] | undefined {
    let at = this.#blocks.length - 1
    while (at >= 0 && (this.#blocks[at] as Block).prev > after) at--
    let block = this.#blocks[at]
    if (block === undefined) return undefined
    let index = after === block.prev ? 0 : block.lasts.indexOf(after) + 1
    if (index === 0 && after !== block.prev) return undefined
    const found: Entry[] = []
    let bytes = 0
    while (block !== undefined) {
      for (; index < block.lasts.length; index++) {
        const entry = entryOf(block, index)
        bytes += entry.bytes.length
        if (found.length > 0 && bytes > maxBytes) return found
        found.push(entry)
      }
      block = this.#blocks[++at]
      index = 0
    }
    return found.length > 0 ? found : undefined
  }

  /** Forgets what goes beyond `zxid`, where one ends if there are any before it. */
  cut(zxid: number): void {
    for (let block = this.#blocks.at(-1); block !== undefined; block = this.#blocks.at(-1)) {
      while (block.lasts.length > 0 && (block.lasts.at(-1) as number) > zxid) {
        block.firsts.pop()
        block.lasts.pop()
        block.ends.pop()
        this.#wasCut = true
      }
      if (block.lasts.length > 0) return
      this.#blocks.pop()
      this.#bytes -= block.bytes.length
    }
  }

  clear(): void {
    if (this.#blocks.length === 0) return
    this.#blocks = []
    this.#bytes = 0
  }

  #begin(prev: number, length: number): Block {
    const size = Math.max(length, Math.min(blockBytes, Math.floor(this.#maxBytes / blocksMin)))
    const block: Block = {
      prev,
      firsts: [],
      lasts: [],
      ends: [],
      bytes: new Uint8Array(size),
      votings: new Map(),
    }
    this.#blocks.push(block)
    this.#bytes += size
    this.#wasCut = false
    while (this.#bytes > this.#maxBytes) this.#bytes -= this.#blocks.shift()?.bytes.length ?? 0
    return block
  }
}

function entryOf({ prev, firsts, lasts, ends, bytes, votings }: Block, index: number): Entry {
  const before = index - 1
  const last = lasts[index] as number
  const start = index === 0 ? 0 : (ends[before] as number)
  const entry = {
    prev: index === 0 ? prev : (lasts[before] as number),
    first: firsts[index] as number,
    last,
    bytes: new Uint8Array(bytes.buffer, start, (ends[index] as number) - start),
  }
  const voting = votings.get(last)
  return voting === undefined ? entry : { ...entry, voting }
}

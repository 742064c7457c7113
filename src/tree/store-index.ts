// Finds records by the hash of (parent, name): linear hashing with chains through the records. It grows and shrinks
// by one bucket at a time, in segments that never move, so no operation ever rehashes more than a few records. It
// knows nothing of names; comparing them is the caller's part.
import { assert } from '../base/assert.ts'
import { NONE, type NodeRef } from './store.ts'
import type { Records } from './store-records.ts'

const segmentShift = 14
/** Buckets per segment: 64 KiB. */
const segmentBuckets = 1 << segmentShift
const segmentMask = segmentBuckets - 1
const bucketsMin = 8
/** Above it a bucket is split. Half of it was no faster (measured) and would cost 4 bytes more per znode. */
const recordsPerBucketMax = 1
/** Merging begins well below, so that adding and removing around one size does not split and merge all the time. */
const recordsPerBucketMin = 0.4
/** Removing a record merges up to this many; fewer could not follow a store that is being emptied. */
const mergesPerRemove = 3

/** The hash index over the records of one store. */
export class NameIndex {
  readonly #records: Records
  readonly #segments: Int32Array[] = []
  /** Buckets in use; the next to be split is `#buckets - #low`, where `#low` is the power of two at or below it. */
  #buckets = bucketsMin
  #low = bucketsMin
  #entries = 0

  constructor(records: Records) {
    this.#records = records
    this.#addSegment()
  }

  /** Bytes of all segments. */
  get reservedBytes(): number {
    return this.#segments.length * segmentBuckets * 4
  }

  /** Makes an empty index as large as it is with so many entries. */
  reserve(entries: number): void {
    assert(this.#entries === 0, 'room is made in a name index that is in use')
    while (this.#buckets * recordsPerBucketMax < entries) {
      if (this.#buckets === this.#segments.length * segmentBuckets) this.#addSegment()
      this.#buckets = Math.min(entries, this.#segments.length * segmentBuckets)
    }
    while (2 * this.#low <= this.#buckets) this.#low *= 2
  }

  /** The first record in the bucket of `hash`, or NONE; the rest of its chain is in the records. */
  first(hash: number): NodeRef {
    const bucket = this.#bucketOf(hash)
    return this.#segments[bucket >>> segmentShift]![bucket & segmentMask]!
  }

  /** Adds a record, which must not be in the index, with the hash that it has. */
  insert(node: NodeRef): void {
    this.#push(this.#bucketOf(this.#records.hash(node)), node)
    this.#entries++
    if (this.#entries > this.#buckets * recordsPerBucketMax) this.#split()
  }

  /** Removes a record that is in the index. */
  remove(node: NodeRef): void {
    const records = this.#records
    const bucket = this.#bucketOf(records.hash(node))
    const next = records.nextInBucket(node)
    let before = this.#head(bucket)
    if (before === node) {
      this.#setHead(bucket, next)
    } else {
      while (records.nextInBucket(before) !== node) before = records.nextInBucket(before)
      records.setNextInBucket(before, next)
    }
    records.setNextInBucket(node, NONE)
    this.#entries--
    for (let i = 0; i < mergesPerRemove; i++) {
      if (this.#buckets > bucketsMin && this.#entries < this.#buckets * recordsPerBucketMin) this.#merge()
    }
  }

  #bucketOf(hash: number): number {
    const bucket = hash & (2 * this.#low - 1)
    return bucket < this.#buckets ? bucket : bucket - this.#low
  }

  #head(bucket: number): NodeRef {
    return this.#segments[bucket >>> segmentShift]![bucket & segmentMask]!
  }

  #setHead(bucket: number, node: NodeRef): void {
    this.#segments[bucket >>> segmentShift]![bucket & segmentMask] = node
  }

  #push(bucket: number, node: NodeRef): void {
    this.#records.setNextInBucket(node, this.#head(bucket))
    this.#setHead(bucket, node)
  }

  #addSegment(): void {
    this.#segments.push(new Int32Array(segmentBuckets).fill(NONE))
  }

  /** Adds one bucket: the records of one older bucket are divided between the two by one more bit of the hash. */
  #split(): void {
    const records = this.#records
    const added = this.#buckets
    const from = added - this.#low
    if (added === this.#segments.length * segmentBuckets) this.#addSegment()
    this.#buckets++
    let node = this.#head(from)
    this.#setHead(from, NONE)
    while (node !== NONE) {
      const next = records.nextInBucket(node)
      this.#push((records.hash(node) & this.#low) === 0 ? from : added, node)
      node = next
    }
    if (this.#buckets === 2 * this.#low) this.#low = this.#buckets
  }

  /** Takes the last bucket away: its records go back to the bucket that it was split from. */
  #merge(): void {
    if (this.#buckets === this.#low) this.#low /= 2
    this.#buckets--
    const into = this.#buckets - this.#low
    let node = this.#head(this.#buckets)
    this.#setHead(this.#buckets, NONE)
    while (node !== NONE) {
      const next = this.#records.nextInBucket(node)
      this.#push(into, node)
      node = next
    }
    // Half a segment is kept in reserve, against giving one back and asking for it again at each step.
    if (this.#buckets < (this.#segments.length - 1.5) * segmentBuckets) this.#segments.pop()
  }

  /** Checks that every chain holds only records of its bucket; calls `visit` once for each record found. */
  check(visit: (node: NodeRef) => void): void {
    assert(
      this.#buckets >= this.#low && this.#buckets < 2 * this.#low,
      `${this.#buckets} buckets, low ${this.#low}`,
    )
    assert(
      this.#buckets <= this.#segments.length * segmentBuckets,
      `${this.#buckets} buckets exceed the segments`,
    )
    let entries = 0
    for (let bucket = 0; bucket < this.#segments.length * segmentBuckets; bucket++) {
      for (let node = this.#head(bucket); node !== NONE; node = this.#records.nextInBucket(node)) {
        entries++
        assert(entries <= this.#entries, 'the name index has a cycle or too many records')
        assert(this.#records.isLive(node), `the name index holds ${node}, which is not in use`)
        assert(
          this.#bucketOf(this.#records.hash(node)) === bucket,
          `${node} is in the wrong bucket, ${bucket}`,
        )
        visit(node)
      }
    }
    assert(entries === this.#entries, `the name index has ${entries} records, ${this.#entries} counted`)
  }
}

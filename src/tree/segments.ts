// Where the znodes lie in the checkpoints: which segment has the newest version of each, and which of a segment's
// records are dead because the znode was written again elsewhere or removed. It holds no znode and writes nothing.
import { assert } from '../base/assert.ts'

/** A segment ends with the record that reaches this many bytes: one read, one checksum, and no stall to encode. */
export const segmentBytes = 64 << 10
const indexBits = 10
/** Most records of a segment. */
export const segmentRecordsMax = 1 << indexBits
/** A bit for each record. */
export const deadBytes: number = segmentRecordsMax >>> 3
/** Places stay below 2^31, so that V8 need not box them. */
const slotsMax = 2 ** (31 - indexBits)
/** So many more segments than would do are no reason to tidy up. */
const spareSegments = 32
/** Tidying moves at least this much, so that it is worth looking at all znodes for it. */
const tidyBytesMin = 1 << 20

/** The znode is in no checkpoint. */
export const NOWHERE = 0

/** One segment of the newest checkpoint, or of the one being made. */
export type Segment = {
  /** Part of its key; each number is used once. */
  readonly number: number
  /** The upper bits of its records' places; used again when it is gone. */
  readonly slot: number
  /** Records in it, dead ones too. */
  count: number
  live: number
  bytes: number
  /** A bit for each record that is dead; undefined while there is none. */
  dead: Uint8Array | undefined
  /** Its records are being moved to other segments. */
  sparse: boolean
}

/** The segments that the checkpoints of a tree consist of. */
export class Segments {
  /** By slot; none has slot 0, whose first place would be NOWHERE. */
  readonly #slots: (Segment | undefined)[] = [undefined]
  readonly #free: number[] = []
  /** Those whose dead records changed since the last `takeChanged`. */
  #changed = new Set<Segment>()
  /** The number that the next one gets. */
  next = 1

  /** Number of segments. */
  get size(): number {
    return this.#slots.length - 1 - this.#free.length
  }

  /** A new segment without records, with the next number; or, for loading, with the one and the dead records it had. */
  add(number: number = this.next, dead?: Uint8Array): Segment {
    const slot = this.#free.pop() ?? this.#slots.length
    assert(slot < slotsMax, `${this.size} segments are too many`)
    const segment = { number, slot, count: 0, live: 0, bytes: 0, dead, sparse: false }
    this.#slots[slot] = segment
    this.next = Math.max(this.next, number + 1)
    return segment
  }

  /** The place of a segment's next record; NOWHERE for one that is dead, when loading. */
  append(segment: Segment): number {
    const index = segment.count++
    if (segment.dead !== undefined && isDead(segment.dead, index)) return NOWHERE
    segment.live++
    return (segment.slot << indexBits) | index
  }

  /** The record at a place is not to be loaded again, from the checkpoint on that is made now. */
  kill(place: number): void {
    const segment = this.#at(place)
    assert(segment !== undefined, 'there is no segment for a place')
    const index = place & (segmentRecordsMax - 1)
    segment.dead ??= new Uint8Array(deadBytes)
    assert(index < segment.count && !isDead(segment.dead, index), 'the record at a place is not alive')
    segment.dead[index >>> 3] = segment.dead[index >>> 3]! | (1 << (index & 7))
    segment.live--
    this.#changed.add(segment)
  }

  /** The segments whose dead records changed since the last call. Those without a living one are gone with it. */
  takeChanged(): Set<Segment> {
    const changed = this.#changed
    this.#changed = new Set()
    for (const { live, slot } of changed) {
      if (live > 0) continue
      this.#slots[slot] = undefined
      this.#free.push(slot)
    }
    return changed
  }

  /**
   * Where more than half of all room is lost to dead records or short segments, marks the emptiest segments as sparse,
   * about as many as have `bytes` alive: tidying then costs no more than what is written anyway. False if there are none.
   */
  chooseSparse(bytes: number): boolean {
    let living = 0
    const candidates: Segment[] = []
    for (const segment of this.#slots) {
      if (segment === undefined) continue
      living += livingBytes(segment)
      if (livingBytes(segment) < segmentBytes / 2) candidates.push(segment)
    }
    if ((this.size - spareSegments) * segmentBytes <= 2 * living) return false
    candidates.sort((a, b) => livingBytes(a) - livingBytes(b))
    let left = Math.max(bytes, tidyBytesMin)
    for (const segment of candidates) {
      left -= livingBytes(segment)
      if (left < 0) break
      segment.sparse = true
    }
    return candidates.length > 0
  }

  /** Whether the record at a place is to be moved. */
  isSparse(place: number): boolean {
    return place !== NOWHERE && this.#at(place)?.sparse === true
  }

  #at(place: number): Segment | undefined {
    return this.#slots[place >>> indexBits]
  }

  /** Checks the counts, against the places of all znodes. Throws InvariantError. For tests. */
  check(places: Iterable<number>): void {
    const found = new Map<Segment, number>()
    for (const place of places) {
      if (place === NOWHERE) continue
      const segment = this.#at(place)
      const index = place & (segmentRecordsMax - 1)
      assert(segment !== undefined && index < segment.count, `there is nothing at place ${place}`)
      assert(segment.dead === undefined || !isDead(segment.dead, index), `place ${place} is of a dead record`)
      found.set(segment, (found.get(segment) ?? 0) + 1)
    }
    for (const segment of this.#slots) {
      if (segment === undefined) continue
      const { number, live, count, dead } = segment
      assert(live > 0 && live === (found.get(segment) ?? 0), `segment ${number} has ${live} znodes`)
      let alive = 0
      for (let i = 0; i < count; i++) if (dead === undefined || !isDead(dead, i)) alive++
      assert(alive === live, `segment ${number} has ${alive} records alive, ${live} counted`)
    }
  }
}

/** Whether a segment's record is marked as dead. */
export function isDead(dead: Uint8Array, index: number): boolean {
  return (dead[index >>> 3]! & (1 << (index & 7))) !== 0
}

function livingBytes({ bytes, live, count }: Segment): number {
  return count === 0 ? 0 : (bytes * live) / count
}

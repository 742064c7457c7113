// The directories that a log consists of: LevelDB databases with ascending numbers, each with the entries that follow those
// of the one before it. New entries go to the last one, and old ones go away with their directory as a whole: LevelDB,
// whose keys then only ascend, never has a reason to write anything a second time. All but the last are closed while nobody
// reads them, so that what they have in no table takes no memory. It knows nothing of entries.
import { mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { assert } from '../base/assert.ts'
import { tableBytes } from './calm.ts'
import { type Db, type DbOptions, mappedBytesMax, openDirectory } from './database.ts'
import { bytesIn, ignoreMissing, syncDirectory, syncLevelLogs } from './files.ts'

/**
 * LevelDB has what is appended in memory and in its write-ahead file, and makes a table of it when it is more than this: more
 * than a segment gets. Under load nothing is written but the write-ahead files, half as much, and no sync waits for a table.
 */
export const bufferBytes = 40 << 20
/** No key of a log is as high. */
const beyondKeys = Buffer.from([0xff])

const options: DbOptions = {
  writeBufferSize: bufferBytes,
  cacheSize: 2 << 20,
  maxFileSize: 16 << 20,
  // LevelDB hands each block of a table to the system on its own: of these there are few.
  blockSize: 64 << 10,
  // Tables of the log are written once and hardly ever read: compressing them took a tenth of what a multi costs.
  compression: false,
}
/** Of a number in the name of a directory. */
const digits = 6

/** A directory of the log. */
export type Segment = {
  readonly number: number
  readonly dir: string
  /** Open if it is the last one, or being read. */
  readonly db: Db
  /** Where the entry before its first one ends. Known once its first entry is, or once entries are appended to it. */
  start: number
  /** Reads under way. */
  readers: number
  /** Bytes of what was written into it, about. */
  bytes: number
  /** Bytes of what is in no table, about: read again when it is opened again. */
  untabled: number
}

/** See file header. The list is never empty. */
export class Segments {
  readonly #dir: string
  #list: readonly Segment[]
  /** Those of the list, one that is prepared, and those that are not deleted yet. */
  readonly #open: Set<Segment>
  #highest: number
  #closed = false
  /** Who waits for the end of a read. */
  #waiting: (() => void)[] = []

  private constructor(dir: string, list: readonly Segment[]) {
    this.#dir = dir
    this.#list = list
    this.#open = new Set(list)
    this.#highest = list.at(-1)?.number ?? 0
  }

  /** Opens all segments of these numbers, which must be there. Rejects with StorageError; nothing is left open then. */
  static async open(dir: string, numbers: readonly number[]): Promise<Segments> {
    const opening = await Promise.allSettled(numbers.map((number) => openSegment(dir, number, false)))
    const failed = opening.find((one) => one.status === 'rejected')
    const list = opening.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
    if (failed !== undefined) {
      for (const { db } of list) await db.close()
      throw failed.reason
    }
    return new Segments(dir, list)
  }

  /** Makes the first segment of a new log, where nobody has one open. Rejects with StorageError. */
  static async create(dir: string): Promise<void> {
    await rm(dir, { recursive: true, force: true })
    await mkdir(dir)
    await syncDirectory(join(dir, '..'))
    const { db } = await openSegment(dir, 1, true)
    await db.close()
    await syncDirectory(dir)
  }

  /** Whether any directory here has a record, whatever its number. Rejects with StorageError (locked) if it is in use. */
  static async haveRecords(dir: string): Promise<boolean> {
    let found = false
    for (const name of (await ignoreMissing(readdir(dir))) ?? []) {
      const db = await openDirectory(join(dir, name), options, true)
      found ||= (await db.keys({ limit: 1 }).all()).length > 0
      await db.close()
    }
    return found
  }

  /** Ascending. */
  get list(): readonly Segment[] {
    return this.#list
  }

  get numbers(): readonly number[] {
    return this.#list.map(({ number }) => number)
  }

  /** Bytes of what is in no table and worth one, about. */
  get untabled(): number {
    let sum = 0
    for (const segment of this.#list) if (isWorthTable(segment)) sum += segment.untabled
    return sum
  }

  /** Where entries are appended. */
  get active(): Segment {
    assert(!this.#closed, `${this.#dir} is closed`)
    return this.#list.at(-1) as Segment
  }

  /** The segment that has an entry which begins after `zxid` or ends there; the first one for what none has. */
  at(zxid: number): Segment {
    return this.#list.findLast(({ start }) => start < zxid) ?? (this.#list[0] as Segment)
  }

  /** Makes an empty segment, which is not one of these before `replace`. */
  async prepare(): Promise<Segment> {
    const segment = await openSegment(this.#dir, ++this.#highest, true)
    this.#open.add(segment)
    await syncDirectory(this.#dir)
    return segment
  }

  /** From now on these are the segments, in ascending order, of which the last is open; gives back the others. */
  replace(list: readonly Segment[]): Segment[] {
    assert(list.length > 0, 'a log without a segment')
    const others = this.#list.filter((segment) => !list.includes(segment))
    this.#list = list
    this.closeIdle()
    return others
  }

  /** Notes that `segments` are going to be read, each when it is `opened`; `release` ends it. */
  retain(segments: readonly Segment[]): void {
    for (const segment of segments) segment.readers++
  }

  release(segments: readonly Segment[]): void {
    for (const segment of segments) segment.readers--
    this.closeIdle()
    this.#wake()
  }

  /** The database of a segment that is retained, open. Rejects with an error of LevelDB's. */
  async opened(segment: Segment): Promise<Db> {
    const { db, dir } = segment
    if (this.#closed) throw new Error(`${dir} is closed`)
    if (db.status !== 'open') {
      await db.open()
      segment.untabled = 0
    }
    return db
  }

  /** Closes what is open and need not be. */
  closeIdle(): void {
    for (const { db, readers } of this.#list.slice(0, -1)) {
      // Nothing is lost if it fails.
      if (readers === 0 && isOpening(db)) db.close().catch(() => {})
    }
  }

  /**
   * Gives back the memory that reading has taken: LevelDB maps each table that is read and keeps it so until it is closed.
   * A small segment stays open: it is not worth the time. Nobody may begin to read or write meanwhile.
   */
  async renew(): Promise<void> {
    this.closeIdle()
    const { active } = this
    if (active.readers > 0 || bytesIn(active.dir) < mappedBytesMax) return
    await active.db.close()
    await this.opened(active)
  }

  /**
   * Makes tables of what is in none and worth it, one segment after the other and the newest first, for which LevelDB begins
   * another write-ahead file. Rejects with an error of LevelDB's.
   */
  async makeTables(): Promise<void> {
    for (const segment of this.#list.toReversed()) {
      // A trim may have taken it away while a table was made of another one: it is being deleted, or is gone.
      if (!isWorthTable(segment) || this.#closed || !this.#list.includes(segment)) continue
      this.retain([segment])
      try {
        // Opening makes a table of all that is in none, and so does compacting a range that no key is in.
        if (segment.db.status === 'open') {
          segment.untabled = 0
          await segment.db.compactRange(beyondKeys, beyondKeys)
        } else await this.opened(segment)
      } finally {
        this.release([segment])
      }
    }
  }

  /** Closes and deletes what is none of these any more, when nobody reads it. What is left at `close` stays. */
  async remove(segment: Segment): Promise<void> {
    while (segment.readers > 0 && !this.#closed)
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    await segment.db.close()
    this.#open.delete(segment)
    if (!this.#closed) await rm(segment.dir, { recursive: true, force: true })
  }

  /** Deletes what is in the directory and no segment: what a crash left. */
  async removeOthers(): Promise<void> {
    const known = new Set(this.#list.map((segment) => segment.dir))
    for (const name of await readdir(this.#dir)) {
      const path = join(this.#dir, name)
      if (!known.has(path)) await rm(path, { recursive: true, force: true })
    }
  }

  /** Makes what was appended durable, where appends are not synced. */
  async sync(): Promise<void> {
    for (const { dir } of this.#list) await syncLevelLogs(dir)
  }

  /** Closes all; reads under way fail. */
  async close(): Promise<void> {
    this.#closed = true
    this.#wake()
    for (const { db } of this.#open) await db.close().catch(() => {})
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve()
  }
}

/** Whether `makeTables` makes one of what the segment has in none. */
export function isWorthTable({ untabled }: Segment): boolean {
  return untabled >= tableBytes
}

function isOpening({ status }: Db): boolean {
  return status === 'open' || status === 'opening'
}

async function openSegment(dir: string, number: number, create: boolean): Promise<Segment> {
  const path = join(dir, `${number}`.padStart(digits, '0'))
  const db = await openDirectory(path, options, create)
  const bytes = create ? 0 : bytesIn(path)
  return { number, dir: path, db, start: 0, readers: 0, bytes, untabled: 0 }
}

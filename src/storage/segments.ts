// The directories that a log consists of: LevelDB databases with ascending numbers, each with the entries that follow those
// of the one before it. New entries go to the last one, and old ones go away with their directory as a whole: LevelDB,
// whose keys then only ascend, never has a reason to write anything a second time. It knows nothing of entries.
import { mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { assert } from '../base/assert.ts'
import { type Db, type DbOptions, mappedBytesMax, openDirectory } from './database.ts'
import { bytesBelow, ignoreMissing, syncDirectory, syncLevelLogs } from './files.ts'

/** Every segment has one or two such buffers in memory, until it is closed; a full one becomes a table. */
export const bufferBytes = 4 << 20

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

/** A directory of the log, open. */
export type Segment = {
  readonly number: number
  readonly dir: string
  readonly db: Db
  /** Where the entry before its first one ends. Known once its first entry is, or once entries are appended to it. */
  start: number
  /** Reads under way. */
  readers: number
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

  /** Opens the segments of these numbers, which must be there. Rejects with StorageError; nothing is left open then. */
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

  /** From now on these are the segments, in ascending order; gives back the others. */
  replace(list: readonly Segment[]): Segment[] {
    assert(list.length > 0, 'a log without a segment')
    const others = this.#list.filter((segment) => !list.includes(segment))
    this.#list = list
    return others
  }

  /** Notes that `segments` are being read; `release` ends it. */
  retain(segments: readonly Segment[]): void {
    for (const segment of segments) segment.readers++
  }

  release(segments: readonly Segment[]): void {
    for (const segment of segments) segment.readers--
    this.#wake()
  }

  /**
   * Closes and opens again what nobody reads, which gives memory back: LevelDB maps each table that is read and keeps it so,
   * and has the entries of an open segment that are in no table in memory. Small segments stay open: it is not worth the time.
   * Nobody may begin to read or write meanwhile.
   */
  async renew(): Promise<void> {
    const idle = this.#list.filter(({ readers }) => readers === 0)
    await Promise.all(
      idle.map(async ({ db, dir }) => {
        if ((await bytesBelow(dir)) < mappedBytesMax) return
        await db.close()
        await db.open()
      }),
    )
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

async function openSegment(dir: string, number: number, create: boolean): Promise<Segment> {
  const path = join(dir, `${number}`.padStart(digits, '0'))
  const db = await openDirectory(path, options, create)
  return { number, dir: path, db, start: 0, readers: 0 }
}

// The log on LevelDB: one record per entry, one for the log's own state (docs/storage.md). An append is one synced write.
// It never looks into an entry's bytes, and never returns an entry that is not the next one of what was appended.
import { assert, InvariantError } from '../base/assert.ts'
import { formatZxid } from '../base/zxid.ts'
import type { Entry, Epochs } from '../zab/types.ts'
import { chunkBytes, type Database, type Db } from './database.ts'
import { storageError, toStorageError } from './errors.ts'
import { syncLevelLogs } from './files.ts'
import { type Mark, readMark, writeMark } from './format.ts'
import {
  decodeEntry,
  decodeState,
  encodeEntry,
  encodeState,
  entryKey,
  type LogState,
  type StoredEntry,
  stateKey,
} from './records.ts'
import type { LogStore, StorageError, StorageLogger } from './types.ts'

/** Entries per chunk of a reading iterator; big ones end a chunk earlier by their bytes. */
const chunkEntries = 1000
/** Below this many bytes given free it is not worth making LevelDB compact at once. */
const compactFromBytes = 32 << 20

const firstKey = entryKey(0)
/** Above every entry's key. */
const endKey = Buffer.from('m')

export type LogOptions = {
  /** false: appends are not synced (forceSync=no); a power failure may then lose what was acknowledged. */
  readonly sync: boolean
  readonly dataId: string
  readonly markFile: string
  /** Zxid of the newest checkpoint, 0 without one: what is above it exists in the log only. */
  readonly checkpointZxid: () => number
  readonly logger: StorageLogger | undefined
}

/** `LogStore` on a LevelDB directory. */
export class LevelLog implements LogStore {
  readonly #database: Database
  readonly #options: LogOptions
  #state: LogState
  #mark: Mark
  #lastZxid: number
  #appending = false
  /** Number of truncations and resets under way or waiting. */
  #shrinking = 0
  /** A reset whose checkpoint is committed already: `reopen` has to finish it. */
  #pendingReset: { readonly zxid: number; readonly installs: number } | undefined
  /** Bytes of entries trimmed since LevelDB was last made to compact. */
  #trimmedBytes = 0
  /** Settles when the deletion of trimmed entries is done. */
  #clearing: Promise<void> = Promise.resolve()

  private constructor(database: Database, options: LogOptions, found: Recovered) {
    this.#database = database
    this.#options = options
    this.#state = found.state
    this.#mark = found.mark
    this.#lastZxid = found.lastZxid
  }

  /** Writes the records of an empty log for data `dataId` into a database that has no entries. */
  static async create(database: Database, { dataId, markFile }: LogOptions): Promise<void> {
    const { lastZxid, revision } = emptyState
    await database.write('creating the log', async (db) => {
      await db.put(stateKey, encodeState({ ...emptyState, dataId }), { sync: true })
      await writeMark(markFile, { dataId, clean: true, lastZxid, revision })
    })
  }

  /** Whether the database has anything that a server could miss: an entry, an epoch, a trimmed past. */
  static async hasHistory(database: Database): Promise<boolean> {
    return await database.read('reading the log', async (db) => {
      const value = await db.get(stateKey)
      const state = value === undefined ? undefined : decodeState(value)
      if (state !== undefined && (state.epochs.accepted > 0 || state.lastZxid > 0)) return true
      return (await db.keys({ gte: firstKey, lt: endKey, limit: 1 }).all()).length > 0
    })
  }

  /** Reads and checks the log's state and its end. Throws StorageError (corrupt, format, io). */
  static async open(database: Database, options: LogOptions): Promise<LevelLog> {
    const found = await recover(database.db, database.dir, options)
    const log = new LevelLog(database, options, found)
    log.#clearTrimmed()
    return log
  }

  get epochs(): Epochs {
    return this.#state.epochs
  }

  get lastZxid(): number {
    return this.#lastZxid
  }

  get trimmedTo(): number {
    return this.#state.trimmedTo
  }

  get failure(): StorageError | undefined {
    return this.#database.failure
  }

  /** Number of installed checkpoints that the log has followed. */
  get installs(): number {
    return this.#state.installs
  }

  async append(entries: readonly Entry[]): Promise<void> {
    assert(!this.#appending, 'an append began before the one before it was durable')
    if (entries.length === 0) return
    this.#appending = true
    try {
      await this.#write('appending to the log', async (db) => {
        const last = checkChain(entries, this.#lastZxid)
        const batch = db.batch()
        for (const entry of entries) {
          const { key, value } = encodeEntry(entry, this.#state.revision)
          batch.put(key, value)
        }
        await batch.write({ sync: this.#options.sync })
        this.#lastZxid = last
      })
    } finally {
      this.#appending = false
    }
  }

  async saveEpochs(epochs: Epochs): Promise<void> {
    const { accepted, current } = epochs
    assert(Number.isSafeInteger(accepted) && accepted >= 0, `accepted epoch ${accepted} is no epoch`)
    assert(Number.isSafeInteger(current) && current >= 0, `current epoch ${current} is no epoch`)
    await this.#write('saving the epochs', (db) => this.#put(db, { epochs: { accepted, current } }))
  }

  async truncate(zxid: number): Promise<void> {
    await this.#shrink('truncating the log', async (db) => {
      assert(
        zxid >= this.trimmedTo,
        `truncation to ${formatZxid(zxid)} is below ${formatZxid(this.trimmedTo)}, where the log begins`,
      )
      if (zxid >= this.#lastZxid) return
      await this.#put(db, { lastZxid: await this.#boundary(db, zxid) })
    })
  }

  /** Drops every entry and begins again at `zxid`, where a checkpoint was installed as the `installs`th. */
  async reset(zxid: number, installs: number): Promise<void> {
    assert(!this.#appending, 'the log is reset during an append')
    this.#pendingReset = { zxid, installs }
    await this.#shrink('resetting the log', (db) =>
      this.#put(db, { lastZxid: zxid, trimmedTo: zxid, installs }),
    )
    this.#pendingReset = undefined
    this.#clearTrimmed()
    await this.#clearing
  }

  async trim(zxid: number): Promise<void> {
    const needed = this.#options.checkpointZxid()
    assert(
      zxid <= needed,
      `the log is trimmed to ${formatZxid(zxid)}, but the checkpoint is at ${formatZxid(needed)}`,
    )
    let trimmed = false
    await this.#write('trimming the log', async (db) => {
      const trimmedTo = await this.#boundary(db, Math.min(zxid, this.#lastZxid))
      if (trimmedTo <= this.trimmedTo) return
      this.#trimmedBytes += await db.approximateSize(entryKey(this.trimmedTo + 1), entryKey(trimmedTo + 1))
      await this.#put(db, { trimmedTo })
      trimmed = true
    })
    if (!trimmed) return
    this.#clearTrimmed()
    await this.#clearing
  }

  read(after: number): AsyncIterable<Entry> {
    const { trimmedTo, lastZxid } = this
    assert(this.#shrinking === 0, 'the log is read while it is being truncated')
    assert(
      after >= trimmedTo,
      `the log is read from ${formatZxid(after)}, but begins only after ${formatZxid(trimmedTo)}`,
    )
    if (after >= lastZxid) return nothing()
    const { db } = this.#database
    return this.#entries(after, {
      before: pairsIn(db, { lte: entryKey(after), reverse: true, limit: 1 }),
      rest: pairsIn(db, { gt: entryKey(after) }),
      state: this.#state,
      lastZxid,
      appending: this.#appending,
    })
  }

  async reopen(): Promise<void> {
    const known = this.#lastZxid
    await this.#clearing
    await this.#database.reopen(async (db) => {
      const found = await recover(db, this.#database.dir, this.#options)
      // A truncation or a reset that failed may have been written or not; short of that, nothing durable may be gone.
      const shrunk = found.state.revision > this.#state.revision
      if (!shrunk && found.lastZxid < known) throw cutOff(this.#database.dir, found.lastZxid, known)
      if (found.state.revision < this.#state.revision)
        throw corrupt(this.#database.dir, 'the newest epochs are gone')
      this.#state = found.state
      this.#mark = found.mark
      this.#lastZxid = found.lastZxid
    })
    this.#clearTrimmed()
    const pending = this.#pendingReset
    if (pending !== undefined) await this.reset(pending.zxid, pending.installs)
  }

  /** Makes what was appended durable, where appends are not synced. */
  async flush(): Promise<void> {
    if (this.#options.sync) return
    await this.#database.write('syncing the log', () => syncLevelLogs(this.#database.dir))
  }

  async close(): Promise<void> {
    await this.#clearing
    await this.#database.close()
    if (this.failure !== undefined || this.#mark.clean) return
    try {
      if (!this.#options.sync) await syncLevelLogs(this.#database.dir)
      await this.#writeMark(true)
    } catch (error) {
      // The next start then takes this for a crash: it accepts a log with a torn end, which there is none of.
      const { logger, markFile } = this.#options
      logger?.warn({ err: error, path: markFile }, 'could not note that the log was closed cleanly')
    }
  }

  /** A write in order, before the first of which the mark of a clean close is taken back. */
  #write(doing: string, work: (db: Db) => Promise<void>): Promise<void> {
    return this.#database.write(doing, async (db) => {
      if (this.#mark.clean) await this.#writeMark(false)
      await work(db)
    })
  }

  async #shrink(doing: string, work: (db: Db) => Promise<void>): Promise<void> {
    this.#shrinking++
    try {
      await this.#write(doing, work)
    } finally {
      this.#shrinking--
    }
  }

  async #writeMark(clean: boolean): Promise<void> {
    const { revision, dataId } = this.#state
    const mark: Mark = { dataId, clean, lastZxid: this.#lastZxid, revision }
    await writeMark(this.#options.markFile, mark)
    this.#mark = mark
  }

  /**
   * Writes the state with `changes`, and in the same atomic write deletes the entries that go beyond its `lastZxid`.
   * Always synced: epochs are promises, and a truncated entry that comes back would be another history.
   */
  async #put(db: Db, changes: Partial<LogState>): Promise<void> {
    const revision = this.#state.revision + 1
    const state: LogState = { ...this.#state, lastZxid: this.#lastZxid, ...changes, revision }
    const batch = db.batch()
    if (state.lastZxid < this.#lastZxid || state.installs !== this.#state.installs) {
      for (const key of await keysBeyond(db, this.#database.dir, state.lastZxid)) batch.del(key)
    }
    batch.put(stateKey, encodeState(state))
    await batch.write({ sync: true })
    this.#state = state
    this.#lastZxid = state.lastZxid
  }

  /** The highest zxid that is not above `zxid` and ends an entry. */
  async #boundary(db: Db, zxid: number): Promise<number> {
    const at = await entryAt(db, this.#database.dir, zxid)
    if (at === undefined) return this.trimmedTo
    const { prev, last } = at.entry
    return Math.max(last <= zxid ? last : prev, this.trimmedTo)
  }

  /** Deletes, in the background, what a trim or a reset left before `trimmedTo`; a failure fails the store. */
  #clearTrimmed(): void {
    const { db } = this.#database
    const { trimmedTo } = this
    if (trimmedTo === 0) return
    const clear = async () => {
      await db.clear({ gte: firstKey, lte: entryKey(trimmedTo) })
      if (this.#trimmedBytes < compactFromBytes) return
      this.#trimmedBytes = 0
      await db.compactRange(firstKey, entryKey(trimmedTo))
    }
    // The failure is kept by the database and rejects the next write.
    this.#clearing = this.#clearing
      .then(() => this.#database.guard('deleting trimmed entries', clear))
      .catch(() => {})
  }

  /** Yields from the entry that reaches beyond `after` to the one that ends at `from.lastZxid`, and nothing else. */
  async *#entries(after: number, from: ReadStart): AsyncGenerator<Entry, void, void> {
    const { dir } = this.#database
    try {
      const before = await newestOf(from.before, dir)
      // What a trim has not deleted yet does not count: the history begins at trimmedTo.
      const known = before !== undefined && before.entry.last > from.state.trimmedTo ? before : undefined
      if (known === undefined && after > from.state.trimmedTo) throw hole(dir, from.state.trimmedTo, after)
      if (known !== undefined && known.entry.last > after) yield known.entry
      let last = known?.entry.last ?? from.state.trimmedTo
      let revision = known?.revision ?? 0
      for await (const stored of chunks(from.rest, dir)) {
        const { entry } = stored
        if (entry.prev !== last) throw hole(dir, last, entry.first)
        if (entry.first > from.lastZxid && from.appending) return
        if (stored.revision < revision) throw hole(dir, last, entry.first)
        checkRevision(stored, from.state, dir)
        last = entry.last
        revision = stored.revision
        yield entry
      }
      if (last !== from.lastZxid) throw hole(dir, last, from.lastZxid)
    } catch (error) {
      if (error instanceof InvariantError) throw error
      throw toStorageError(error, dir, 'reading the log')
    } finally {
      await Promise.all([from.before.close(), from.rest.close()])
    }
  }
}

type Pairs = ReturnType<typeof pairsIn>

/** The view of the log that a read works on: iterators see the database as it was when they were made. */
type ReadStart = {
  readonly before: Pairs
  readonly rest: Pairs
  readonly state: LogState
  readonly lastZxid: number
  /** An append was under way: its entries may be seen already, and are not to be given out. */
  readonly appending: boolean
}

/** What is found in a log's database. */
type Recovered = { readonly state: LogState; readonly mark: Mark; readonly lastZxid: number }

const emptyState: Omit<LogState, 'dataId'> = {
  revision: 1,
  epochs: { accepted: 0, current: 0 },
  lastZxid: 0,
  trimmedTo: 0,
  installs: 0,
}

const otherDataRemedy =
  'Give each server its own dataDir and dataLogDir, and restore both from the same backup; in an ensemble both may also ' +
  'be removed, the server then gets everything from the leader.'

/** Reads the state and both ends of the log, and checks them against each other and against the mark. */
async function recover(db: Db, dir: string, { dataId, markFile }: LogOptions): Promise<Recovered> {
  const mark = await readMark(markFile)
  const value = await db.get(stateKey)
  const state = value === undefined ? undefined : decodeState(value)
  if (state === undefined) throw corrupt(dir, 'the record of the log itself is missing or damaged')
  if (state.dataId !== dataId || mark.dataId !== dataId) {
    throw storageError(
      'format',
      dir,
      'this log belongs to another data directory',
      undefined,
      otherDataRemedy,
    )
  }
  const lastZxid = Math.max(await endOfLog(db, dir, state), state.trimmedTo)
  if (lastZxid < state.lastZxid) throw cutOff(dir, lastZxid, state.lastZxid)
  if (state.revision < mark.revision)
    throw corrupt(dir, 'the log has lost its newest epochs or its newest trim')
  if (state.revision === mark.revision && lastZxid < mark.lastZxid) {
    throw cutOff(dir, lastZxid, mark.lastZxid)
  }
  if (mark.clean && (state.revision !== mark.revision || lastZxid !== mark.lastZxid)) {
    throw corrupt(
      dir,
      `the log was closed at ${formatZxid(mark.lastZxid)}, now it is at ${formatZxid(lastZxid)}`,
    )
  }
  return { state, mark, lastZxid }
}

/** `last` of the newest entry, checked; 0 if there is none. */
async function endOfLog(db: Db, dir: string, state: LogState): Promise<number> {
  const newest = await entryAt(db, dir, Number.MAX_SAFE_INTEGER)
  if (newest === undefined || newest.entry.last <= state.trimmedTo) return 0
  checkRevision(newest, state, dir)
  // A damaged file may hide from one direction of reading what it shows to the other, or fail only then.
  const behind = await pairsIn(db, { gt: entryKey(newest.entry.first) }).all()
  if (behind.length > 0) throw hole(dir, newest.entry.last, newest.entry.last)
  const [first] = await pairsIn(db, { gt: entryKey(state.trimmedTo), limit: 1 }).all()
  const oldest = first === undefined ? undefined : decoded(dir, first)
  if (oldest?.entry.prev !== state.trimmedTo) throw hole(dir, state.trimmedTo, newest.entry.last)
  return newest.entry.last
}

/** The entry with the highest `first` that is not above `zxid`. */
function entryAt(db: Db, dir: string, zxid: number): Promise<StoredEntry | undefined> {
  return newestOf(pairsIn(db, { lte: entryKey(zxid), reverse: true, limit: 1 }), dir)
}

async function newestOf(pairs: Pairs, dir: string): Promise<StoredEntry | undefined> {
  const [pair] = await pairs.nextv(1)
  await pairs.close()
  return pair === undefined ? undefined : decoded(dir, pair)
}

/** Keys of the entries whose `last` is above `zxid`. */
async function keysBeyond(db: Db, dir: string, zxid: number): Promise<Buffer[]> {
  const keys = await db.keys({ gt: entryKey(zxid), lt: endKey }).all()
  const across = await entryAt(db, dir, zxid)
  if (across !== undefined && across.entry.last > zxid) keys.push(entryKey(across.entry.first))
  return keys
}

type Range = {
  readonly gt?: Buffer
  readonly lte?: Buffer
  readonly reverse?: boolean
  readonly limit?: number
}

/** An iterator over entries only. */
function pairsIn(db: Db, { gt, lte, ...rest }: Range) {
  const from = gt === undefined ? { gte: firstKey } : { gt }
  const to = lte === undefined ? { lt: endKey } : { lte }
  return db.iterator({ ...from, ...to, ...rest, highWaterMarkBytes: chunkBytes, fillCache: false })
}

async function* nothing(): AsyncGenerator<Entry, void, void> {}

/** The entries of an iterator, chunk by chunk. */
async function* chunks(pairs: Pairs, dir: string): AsyncGenerator<StoredEntry, void, void> {
  for (;;) {
    const chunk = await pairs.nextv(chunkEntries)
    if (chunk.length === 0) return
    for (const pair of chunk) yield decoded(dir, pair)
  }
}

function decoded(dir: string, [key, value]: [Buffer, Buffer]): StoredEntry {
  const stored = decodeEntry(key, value)
  if (stored === undefined) throw corrupt(dir, `the entry with key ${key.toString('hex')} is damaged`)
  return stored
}

/** An entry that the state record does not know must have been appended after it was written. */
function checkRevision({ entry, revision }: StoredEntry, state: LogState, dir: string): void {
  const known = entry.last <= state.lastZxid
  if (revision === state.revision || (known && revision < state.revision)) return
  throw corrupt(
    dir,
    `the entry at ${formatZxid(entry.first)} and the state of the log do not belong together`,
  )
}

/** Asserts that `entries` follow `last` without a hole, and returns the last zxid. */
function checkChain(entries: readonly Entry[], last: number): number {
  let end = last
  for (const entry of entries) {
    assert(
      entry.prev === end,
      `the entry after ${formatZxid(entry.prev)} is appended after ${formatZxid(end)}`,
    )
    assert(entry.first > entry.prev, `the entry at ${formatZxid(entry.first)} is not above the one before it`)
    assert(
      entry.last >= entry.first && Number.isSafeInteger(entry.last),
      `entry ends at ${formatZxid(entry.last)}`,
    )
    end = entry.last
  }
  return end
}

function corrupt(dir: string, message: string): StorageError {
  return storageError('corrupt', dir, message)
}

function cutOff(dir: string, at: number, should: number): StorageError {
  return corrupt(dir, `the log ends at ${formatZxid(at)}, but it was durable up to ${formatZxid(should)}`)
}

function hole(dir: string, after: number, next: number): StorageError {
  return corrupt(
    dir,
    `the log has a hole: entries between ${formatZxid(after)} and ${formatZxid(next)} are missing`,
  )
}

// The log on LevelDB: one record per entry, one for the log's own state, few for votings and for where entries end
// (docs/storage.md). An append is one synced write. It never looks into an entry's bytes, and never returns an entry that is not the next one of what was appended.
import { assert, InvariantError } from '../base/assert.ts'
import { epochOf, formatZxid } from '../base/zxid.ts'
import type { Entry, Epochs, VotingAt } from '../zab/types.ts'
import { chunkBytes, type Database, type Db } from './database.ts'
import { fromLeaderRemedy, storageError, toStorageError } from './errors.ts'
import { syncLevelLogs } from './files.ts'
import { type Mark, readMark, writeMark } from './format.ts'
import {
  decodeEnds,
  decodeEntry,
  decodeState,
  decodeVoting,
  type Ends,
  encodeEnds,
  encodeEntry,
  encodeState,
  encodeVoting,
  endsKey,
  entryKey,
  type LogState,
  type StoredEntry,
  stateKey,
  votingKey,
  zxidOfKey,
} from './records.ts'
import type { LogIndex, LogStore, StorageError, StorageLogger } from './types.ts'

/** Entries per chunk of a reading iterator; big ones end a chunk earlier by their bytes. */
const chunkEntries = 1000
/** Below this many bytes given free it is not worth making LevelDB compact at once. */
const compactFromBytes = 32 << 20

/** Entries per record of where entries end: so many keys are read at most to know the rest. */
const endsPerRecord = 512

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

/** What an installed checkpoint makes of the log. */
export type Reset = {
  readonly zxid: number
  /** It is the checkpoint of this number that takes the log's place. */
  readonly installs: number
  readonly voting: VotingAt | undefined
}

/** `LogStore` on a LevelDB directory. */
export class LevelLog implements LogStore {
  readonly #database: Database
  readonly #options: LogOptions
  #state: LogState
  #mark: Mark
  #lastZxid: number
  /** Of what the database has: those that `index` tells of, ascending. */
  #votings: readonly VotingAt[]
  /** The newest entries, which no record of ends has yet; replaced and never changed. */
  #tail: Ends
  #appending = false
  /** Number of truncations and resets under way or waiting. */
  #shrinking = 0
  /** While a checkpoint is being installed: what that makes of the log, undefined for nothing. `reopen` asks after a failure. */
  #install: (() => Promise<Reset | undefined>) | undefined
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
    this.#votings = found.votings
    this.#tail = found.tail
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

  get diverged(): boolean {
    return this.#state.diverged
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
        const votings = entries.flatMap(votingIn)
        for (const voting of votings) batch.put(votingKey(voting.zxid), encodeVoting(voting))
        const tail = this.#putEnds(batch, entries)
        await batch.write({ sync: this.#options.sync })
        this.#lastZxid = last
        this.#tail = tail
        if (votings.length > 0) this.#votings = keptOf([...this.#votings, ...votings], this.#state, last)
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

  async markDiverged(): Promise<void> {
    await this.#write('marking the log as diverged', (db) => this.#put(db, { diverged: true }))
  }

  /**
   * A checkpoint is about to be installed, `reset` follows. If anything fails on the way `outcome` tells `reopen` what is to
   * be done: a write that failed may be on disk, and the next start would then drop what was appended since.
   */
  awaitInstall(outcome: () => Promise<Reset | undefined>): void {
    this.#install = outcome
  }

  /** Drops every entry and begins again at `zxid`, where a checkpoint was installed as the `installs`th. */
  async reset(to: Reset): Promise<void> {
    assert(!this.#appending, 'the log is reset during an append')
    const { zxid, installs, voting } = to
    const changes = { lastZxid: zxid, trimmedTo: zxid, installs, diverged: false }
    await this.#shrink('resetting the log', (db) =>
      this.#put(db, changes, voting === undefined ? [] : [voting]),
    )
    this.#install = undefined
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

  async index(): Promise<LogIndex> {
    const { trimmedTo, lastZxid } = this
    const votings = this.#votings
    const tail = this.#tail
    const state = this.#state
    const { dir } = this.#database
    assert(this.#shrinking === 0, 'the log is indexed while it is being truncated')
    const lasts = await this.#database.read('reading the index of the log', async (db) => {
      const records = await db.iterator({ gt: endsKey(trimmedTo), lte: endsKey(lastZxid) }).all()
      const runs = [...records.map((pair) => decodedEnds(dir, pair, state)), tail]
      const lasts: number[] = []
      let at = trimmedTo
      for (const run of runs) {
        if (run.from > at) throw hole(dir, at, run.from)
        for (const last of run.lasts) if (last > at) lasts.push(last)
        at = lasts.at(-1) ?? trimmedTo
      }
      if (at !== lastZxid) throw hole(dir, at, lastZxid)
      return lasts
    })
    return { lasts, votings }
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
      votings: new Map(this.#votings.map((voting) => [voting.zxid, voting])),
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
      this.#votings = found.votings
      this.#tail = found.tail
    })
    this.#clearTrimmed()
    const reset = await this.#install?.()
    if (reset !== undefined) await this.reset(reset)
    this.#install = undefined
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
   * Writes the state with `changes`, and in the same atomic write deletes the entries that go beyond its `lastZxid`, and
   * the votings that `index` does not tell of any more. `votings` replaces the present ones.
   * Always synced: epochs are promises, and a truncated entry that comes back would be another history.
   */
  async #put(db: Db, changes: Partial<LogState>, votings = this.#votings): Promise<void> {
    const { dir } = this.#database
    const revision = this.#state.revision + 1
    const state: LogState = { ...this.#state, lastZxid: this.#lastZxid, ...changes, revision }
    const batch = db.batch()
    const shrinks = state.lastZxid < this.#lastZxid || state.installs !== this.#state.installs
    if (shrinks) for (const key of await keysBeyond(db, dir, state.lastZxid)) batch.del(key)
    const kept = keptOf(votings, state, state.lastZxid)
    for (const voting of this.#votings) if (!kept.includes(voting)) batch.del(votingKey(voting.zxid))
    for (const voting of kept)
      if (!this.#votings.includes(voting)) batch.put(votingKey(voting.zxid), encodeVoting(voting))
    batch.put(stateKey, encodeState(state))
    await batch.write({ sync: true })
    this.#state = state
    this.#lastZxid = state.lastZxid
    this.#votings = kept
    if (shrinks) this.#tail = await tailOf(db, dir, state, state.lastZxid)
  }

  /** Puts full records of where entries end into the batch of an append; returns what is left for later ones. */
  #putEnds(batch: ReturnType<Db['batch']>, entries: readonly Entry[]): Ends {
    let { from } = this.#tail
    const lasts = [...this.#tail.lasts, ...entries.map((entry) => entry.last)]
    while (lasts.length >= endsPerRecord) {
      const run = { from, lasts: lasts.splice(0, endsPerRecord) }
      from = run.lasts.at(-1) ?? from
      batch.put(endsKey(from), encodeEnds(run, this.#state.revision))
    }
    return { from, lasts }
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
      await db.clear({ gte: endsKey(0), lte: endsKey(trimmedTo) })
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
      if (known !== undefined && known.entry.last > after) yield withVoting(known, from.votings, dir)
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
        yield withVoting(stored, from.votings, dir)
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
  readonly votings: ReadonlyMap<number, VotingAt>
  readonly lastZxid: number
  /** An append was under way: its entries may be seen already, and are not to be given out. */
  readonly appending: boolean
}

/** What is found in a log's database. */
type Recovered = {
  readonly state: LogState
  readonly mark: Mark
  readonly lastZxid: number
  readonly votings: readonly VotingAt[]
  readonly tail: Ends
}

const emptyState: Omit<LogState, 'dataId'> = {
  revision: 1,
  epochs: { accepted: 0, current: 0 },
  lastZxid: 0,
  trimmedTo: 0,
  installs: 0,
  diverged: false,
}

const otherDataRemedy = `Give each server its own dataDir and dataLogDir, and restore both from the same backup. ${fromLeaderRemedy}`

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
  const votings = await votingsOf(db, dir, state, lastZxid)
  return { state, mark, lastZxid, votings, tail: await tailOf(db, dir, state, lastZxid) }
}

/** The votings that the log has, each above `trimmedTo` held against its entry. */
async function votingsOf(
  db: Db,
  dir: string,
  state: LogState,
  lastZxid: number,
): Promise<readonly VotingAt[]> {
  const votings: VotingAt[] = []
  const records = { gte: votingKey(0), lte: votingKey(Number.MAX_SAFE_INTEGER) }
  for (const [key, value] of await db.iterator(records).all()) {
    const voting = decodeVoting(key, value)
    if (voting === undefined) throw corrupt(dir, `the voting with key ${key.toString('hex')} is damaged`)
    votings.push(voting)
  }
  for (const { zxid } of votings) {
    if (zxid <= state.trimmedTo) continue
    const key = entryKey(zxid)
    const value = await db.get(key)
    const stored = value === undefined ? undefined : decoded(dir, [key, value])
    if (stored?.reconfigures !== true || zxid > lastZxid) {
      throw corrupt(dir, `the entry at ${formatZxid(zxid)} and its voting do not belong together`)
    }
  }
  return keptOf(votings, state, lastZxid)
}

/** What `LogStore.index` tells of: votings above `trimmedTo`, and the newest at or below it. */
function keptOf(
  votings: readonly VotingAt[],
  { trimmedTo }: LogState,
  lastZxid: number,
): readonly VotingAt[] {
  const from = votings.findLastIndex(({ zxid }) => zxid <= trimmedTo)
  return votings.slice(Math.max(from, 0)).filter(({ zxid }) => zxid <= Math.max(lastZxid, trimmedTo))
}

function votingIn({ last, voting }: Entry): VotingAt[] {
  return voting === undefined ? [] : [{ zxid: last, voting }]
}

/** The entry as it was appended. */
function withVoting(stored: StoredEntry, votings: ReadonlyMap<number, VotingAt>, dir: string): Entry {
  if (!stored.reconfigures) return stored.entry
  const voting = votings.get(stored.entry.last)?.voting
  if (voting === undefined)
    throw corrupt(dir, `the voting of the entry at ${formatZxid(stored.entry.first)} is missing`)
  return { ...stored.entry, voting }
}

/** Where those entries end that no record of ends has. */
async function tailOf(db: Db, dir: string, state: LogState, lastZxid: number): Promise<Ends> {
  const records = { gte: endsKey(0), lte: endsKey(Number.MAX_SAFE_INTEGER), reverse: true, limit: 1 }
  const [newest] = await db.iterator(records).all()
  const known = newest === undefined ? undefined : decodedEnds(dir, newest, state)
  const to = known?.lasts.at(-1) ?? 0
  if (to > Math.max(lastZxid, state.trimmedTo)) throw hole(dir, lastZxid, to)
  const from = Math.max(to, state.trimmedTo)
  const keys = await db.keys({ gt: entryKey(from), lt: endKey, highWaterMarkBytes: chunkBytes }).all()
  const firsts = keys.map(zxidOfKey)
  const lasts: number[] = []
  for (const [i, next] of firsts.slice(1).entries()) {
    // Within an epoch zxids have no gaps; only where another begins the next entry's `prev` is needed.
    if (epochOf(next) === epochOf(firsts[i] as number)) lasts.push(next - 1)
    else {
      const key = entryKey(next)
      const value = await db.get(key)
      if (value === undefined) throw hole(dir, next - 1, next)
      lasts.push(decoded(dir, [key, value]).entry.prev)
    }
  }
  if (firsts.length > 0) lasts.push(lastZxid)
  return { from, lasts }
}

function decodedEnds(dir: string, [key, value]: [Buffer, Buffer], state: LogState): Ends {
  const ends = decodeEnds(key, value)
  const last = ends?.lasts.at(-1) ?? 0
  const known = last <= state.lastZxid
  if (ends === undefined || !(ends.revision === state.revision || (known && ends.revision < state.revision)))
    throw corrupt(dir, `the record of where entries end with key ${key.toString('hex')} is damaged`)
  return { from: ends.from, lasts: ends.lasts }
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

/** Keys of the entries whose `last` is above `zxid`, and of the records of ends that name one of them. */
async function keysBeyond(db: Db, dir: string, zxid: number): Promise<Buffer[]> {
  const ends = { gt: endsKey(zxid), lte: endsKey(Number.MAX_SAFE_INTEGER) }
  const keys = [...(await db.keys(ends).all()), ...(await db.keys({ gt: entryKey(zxid), lt: endKey }).all())]
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
    assert(
      epochOf(entry.first) !== epochOf(entry.prev) || entry.first === entry.prev + 1,
      `the entry at ${formatZxid(entry.first)} leaves a gap after ${formatZxid(entry.prev)}`,
    )
    assert(
      entry.voting === undefined || entry.first === entry.last,
      `the reconfiguration at ${formatZxid(entry.first)} has more than one transaction`,
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

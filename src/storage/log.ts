// The log on LevelDB: one record per entry and few for where entries end, in segments (segments.ts), and a file for the
// log's own state (docs/storage.md). An append is one synced write. It never looks into an entry's bytes, and never returns
// an entry that is not the next one of what was appended. A server that catches up appends thousands at once, before V8 has
// compiled any of this: `for...of` would then make an object for each.
import { assert, InvariantError } from '../base/assert.ts'
import { epochOf, formatZxid } from '../base/zxid.ts'
import type { Entry, Epochs, VotingAt } from '../zab/types.ts'
import { calmMs, isTimeForTables } from './calm.ts'
import { chunkBytes, type Db, mappedBytesMax } from './database.ts'
import { fromLeaderRemedy, storageError, toStorageError } from './errors.ts'
import { probeRoom } from './files.ts'
import { emptyState, type LogState, readLogState, writeLogState } from './log-state.ts'
import {
  decodeEnds,
  decodeEntry,
  type Ends,
  encodeEnds,
  encodeEntry,
  endsKey,
  entryKey,
  isEntryKey,
  RecordRoom,
  type StoredEntry,
  zxidOfKey,
} from './records.ts'
import { bufferBytes, isWorthTable, type Segment, Segments } from './segments.ts'
import type { LogIndex, LogStore, StorageError, StorageLogger } from './types.ts'
import { WriteAhead } from './write-ahead.ts'
import { WriteGate } from './write-gate.ts'

/** Entries per chunk of a reading iterator; big ones end a chunk earlier by their bytes. */
const chunkEntries = 1000
/** Another segment begins after so many bytes: there are few, and what is kept in vain is not much. */
const defaultSegmentBytes = 32 << 20

/** Entries per record of where entries end: so many keys are read at most to know the rest. */
const endsPerRecord = 512

export type LogOptions = {
  /** Of the segments. */
  readonly dir: string
  readonly stateFile: string
  /** false: appends are not synced (forceSync=no); a power failure may then lose what was acknowledged. */
  readonly sync: boolean
  readonly dataId: string
  /** Zxid of the newest checkpoint, 0 without one: what is above it exists in the log only. */
  readonly checkpointZxid: () => number
  readonly logger: StorageLogger | undefined
  /** For tests. */
  readonly segmentBytes?: number | undefined
}

/** What an installed checkpoint makes of the log. */
export type Reset = {
  readonly zxid: number
  /** It is the checkpoint of this number that takes the log's place. */
  readonly installs: number
  readonly voting: VotingAt | undefined
}

/** `LogStore` on LevelDB directories. */
export class LevelLog implements LogStore {
  readonly #options: LogOptions
  readonly #gate: WriteGate
  #segments: Segments
  #state: LogState
  #lastZxid: number
  /** Those that `index` tells of, ascending. Replaced and never changed. */
  #votings: readonly VotingAt[]
  /** What is being encoded. */
  readonly #room = new RecordRoom()
  /** The newest entries of the active segment, which no record of ends has yet: fewer than fill one. */
  #tail: Tail
  /** The segment that follows when that is full, from when it is half full on. */
  #next: Promise<Segment> | undefined
  /** Looks whether there is time to make tables: not when something is appended, which would then wait for them. */
  readonly #calm: NodeJS.Timeout
  /** Bytes appended since it looked. */
  #recent = 0
  #makingTables = false
  /** Of the active segment. */
  #writeAhead: WriteAhead
  #appending = false
  /** What it writes. */
  #given: Given = nothingGiven
  /** Of entries that were read since `giveBack`. */
  #readBytes = 0
  /** Number of truncations and resets under way or waiting. */
  #shrinking = 0
  #closed = false
  /** While a checkpoint is being installed: what that makes of the log, undefined for nothing. `reopen` asks after a failure. */
  #install: (() => Promise<Reset | undefined>) | undefined
  /** Settles when the segments that are none any more are deleted. */
  #clearing: Promise<void> = Promise.resolve()

  private constructor(options: LogOptions, found: Found) {
    this.#options = options
    this.#gate = new WriteGate(options.dir)
    this.#segments = found.segments
    this.#state = found.state
    this.#lastZxid = found.lastZxid
    this.#votings = found.votings
    this.#tail = found.tail
    this.#writeAhead = new WriteAhead(found.segments.active.dir, bufferBytes)
    this.#calm = setInterval(() => this.#makeTablesIfCalm(), calmMs).unref()
  }

  /** Makes an empty log for data `dataId`, where there is none with any history. Rejects with StorageError. */
  static async create({ dir, stateFile, dataId }: LogOptions): Promise<void> {
    try {
      await Segments.create(dir)
      await writeLogState(stateFile, emptyState(dataId))
    } catch (error) {
      throw toStorageError(error, dir, 'creating the log')
    }
  }

  /** Whether there is anything that a server could miss: an entry, an epoch, a trimmed past. Rejects with StorageError. */
  static async hasHistory({ dir, stateFile }: LogOptions): Promise<boolean> {
    try {
      const state = await readLogState(stateFile)
      if (state !== undefined && (state.epochs.accepted > 0 || state.lastZxid > 0)) return true
      return await Segments.haveRecords(dir)
    } catch (error) {
      throw toStorageError(error, dir, 'reading the log')
    }
  }

  /** Reads and checks the log's state and its end. Rejects with StorageError (corrupt, format, io). */
  static async open(options: LogOptions): Promise<LevelLog> {
    return new LevelLog(options, await recover(options))
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
    return this.#gate.failure
  }

  /** Number of installed checkpoints that the log has followed. */
  get installs(): number {
    return this.#state.installs
  }

  append(entries: readonly Entry[]): Promise<void> {
    const isReady = !this.#appending && this.failure === undefined && this.#isReadyFor(entries)
    return isReady && this.#gate.enter() ? this.#submit(entries) : this.#prepareAndAppend(entries)
  }

  async #prepareAndAppend(entries: readonly Entry[]): Promise<void> {
    assert(!this.#appending, 'an append began before the one before it was durable')
    if (entries.length === 0) return
    this.#appending = true
    if (!this.#gate.enter()) await this.#gate.turn()
    try {
      this.#gate.check()
      checkChain(entries, this.#lastZxid)
      await this.#prepareFor(entries)
    } catch (error) {
      this.#onAppendFailed(error)
    }
    await this.#submit(entries)
  }

  /** Whether the entries, which may be none or wrong, can be written as things are. */
  #isReadyFor(entries: readonly Entry[]): boolean {
    if (this.#closed || this.#state.clean || this.#segments.active.bytes >= this.#segmentBytes()) return false
    let end = this.#lastZxid
    for (let i = 0; i < entries.length; i++) {
      const entry = entries[i] as Entry
      if (entry.voting !== undefined || wrongAfter(end, entry) !== undefined) return false
      end = entry.last
    }
    return entries.length > 0
  }

  async #prepareFor(entries: readonly Entry[]): Promise<void> {
    await this.#unseal()
    const found = entries.flatMap(votingIn)
    // A start looks for reconfigurations where the state says that there may be some.
    if (found.length > 0) await this.#save({}, [...this.#votings, ...found])
    if (this.#segments.active.bytes >= this.#segmentBytes()) await this.#turnOver()
  }

  /**
   * Hands entries to the database, for which the gate was entered and everything is ready. Much the most frequent write: what
   * follows needs no promise but the one that is given back, and no closure.
   */
  #submit(entries: readonly Entry[]): Promise<void> {
    this.#appending = true
    return this.#give(entries).then(this.#onAppended, this.#onAppendFailed)
  }

  readonly #onAppended = () => {
    const { entries, bytes, records } = this.#given
    const { active } = this.#segments
    this.#lastZxid = entries.at(-1)?.last ?? this.#lastZxid
    this.#extendTail(entries)
    active.bytes += bytes
    active.untabled += bytes
    this.#recent += bytes
    if (this.#options.sync) this.#writeAhead.wrote(bytes, records)
    if (active.bytes >= this.#segmentBytes() / 2) this.#next ??= this.#prepare()
    this.#endAppend()
  }

  readonly #onAppendFailed = (error: unknown): never => {
    this.#endAppend()
    throw this.#gate.failed('appending to the log', error)
  }

  #endAppend(): void {
    this.#given = nothingGiven
    this.#appending = false
    this.#gate.leave()
  }

  async saveEpochs(epochs: Epochs): Promise<void> {
    const { accepted, current } = epochs
    assert(Number.isSafeInteger(accepted) && accepted >= 0, `accepted epoch ${accepted} is no epoch`)
    assert(Number.isSafeInteger(current) && current >= 0, `current epoch ${current} is no epoch`)
    await this.#write('saving the epochs', () => this.#save({ epochs: { accepted, current } }))
  }

  async truncate(zxid: number): Promise<void> {
    await this.#shrink('truncating the log', async () => {
      const { trimmedTo } = this
      assert(
        zxid >= trimmedTo,
        `truncation to ${formatZxid(zxid)} is below ${formatZxid(trimmedTo)}, where the log begins`,
      )
      if (zxid < this.#lastZxid) await this.#cut(await this.#boundary(zxid))
    })
  }

  async markDiverged(): Promise<void> {
    await this.#write('marking the log as diverged', () => this.#save({ diverged: true }))
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
    const next = await this.#takeNext()
    await this.#shrink('resetting the log', async () => {
      const changes = { lastZxid: zxid, trimmedTo: zxid, installs, diverged: false, segments: [next.number] }
      await this.#save(changes, voting === undefined ? [] : [voting])
      this.#lastZxid = zxid
      await this.#begin(next, [])
    })
    this.#install = undefined
    await this.#clearing
  }

  async trim(zxid: number): Promise<void> {
    const needed = this.#options.checkpointZxid()
    assert(
      zxid <= needed,
      `the log is trimmed to ${formatZxid(zxid)}, but the checkpoint is at ${formatZxid(needed)}`,
    )
    await this.#write('trimming the log', async () => {
      const trimmedTo = Math.min(zxid, this.#lastZxid)
      if (trimmedTo <= this.trimmedTo) return
      const { list } = this.#segments
      // A segment ends where the next one begins.
      const kept = list.filter((_, i) => (list[i + 1]?.start ?? this.#lastZxid + 1) > trimmedTo)
      await this.#save({ trimmedTo, segments: kept.map(({ number }) => number) })
      this.#removeLater(this.#segments.replace(kept))
    })
    await this.#clearing
  }

  async index(): Promise<LogIndex> {
    const index = await this.#index()
    await this.#renew()
    return index
  }

  async #index(): Promise<LogIndex> {
    assert(this.#shrinking === 0, 'the log is indexed while it is being truncated')
    const { list } = this.#segments
    const tail = { from: this.#tail.from, lasts: [...this.#tail.lasts] }
    const state = this.#state
    const lastZxid = this.#lastZxid
    const votings = this.#votings
    this.#segments.retain(list)
    try {
      const lasts = await this.#gate.read('reading the index of the log', async () => {
        const { dir } = this.#options
        const runs = list.map(async (segment, i) => {
          const end = list[i + 1]?.start
          if (end !== undefined && end <= state.trimmedTo) return []
          await this.#segments.opened(segment)
          const rest = end === undefined ? tail : await tailOf(segment, dir, state, end)
          return [...(await runsUpTo(rest.from, segment, dir, state)).flat(), ...rest.lasts]
        })
        const lasts = (await Promise.all(runs)).flat().filter((last) => last > state.trimmedTo)
        const at = lasts.at(-1) ?? state.trimmedTo
        if (at !== lastZxid) throw hole(dir, at, lastZxid)
        return lasts
      })
      return { lasts, votings }
    } finally {
      this.#segments.release(list)
    }
  }

  async giveBack(): Promise<void> {
    if (this.#readBytes < mappedBytesMax) return
    this.#readBytes = 0
    await this.#renew()
  }

  /** A start reads what it may never read again, and all that it reads stays mapped. */
  async #renew(): Promise<void> {
    if (this.failure !== undefined) return
    await this.#gate.read('opening the log again', () => this.#gate.inOrder(() => this.#segments.renew()))
  }

  read(after: number): AsyncIterable<Entry> {
    const { trimmedTo, lastZxid } = this
    assert(this.#shrinking === 0, 'the log is read while it is being truncated')
    assert(
      after >= trimmedTo,
      `the log is read from ${formatZxid(after)}, but begins only after ${formatZxid(trimmedTo)}`,
    )
    if (after >= lastZxid) return nothing()
    const { active } = this.#segments
    if (this.failure !== undefined && active.db.status !== 'open') throw this.failure
    const { list } = this.#segments
    const segments = list.slice(list.indexOf(this.#segments.at(after)))
    this.#segments.retain(segments)
    return this.#entries(after, {
      segments,
      newest: pairsIn(active.db, { gte: entryKey(after + 1) }),
      state: this.#state,
      lastZxid,
      appending: this.#appending,
    })
  }

  async reopen(): Promise<void> {
    const known = this.#lastZxid
    await this.#gate.reopen(async () => {
      await this.#writeAhead.close()
      // A segment that is being prepared would be made beside those that are opened now.
      await this.#next?.catch(() => {})
      this.#next = undefined
      await this.#segments.close()
      await this.#clearing
      const found = await recover(this.#options)
      this.#segments = found.segments
      const { revision } = this.#state
      // A change of the state that failed may have been written or not; short of that, nothing durable may be gone.
      if (found.state.revision < revision)
        throw corrupt(this.#options.stateFile, 'the newest state of the log is gone')
      if (found.state.revision === revision && found.lastZxid < known)
        throw cutOff(this.#options.dir, found.lastZxid, known)
      await probeRoom(this.#options.dir)
      this.#state = found.state
      this.#lastZxid = found.lastZxid
      this.#votings = found.votings
      this.#tail = found.tail
      this.#writeAhead = new WriteAhead(found.segments.active.dir, bufferBytes)
      found.segments.closeIdle()
    })
    const reset = await this.#install?.()
    if (reset !== undefined) await this.reset(reset)
    this.#install = undefined
  }

  /** Makes what was appended durable, where appends are not synced. */
  async flush(): Promise<void> {
    if (!this.#options.sync) await this.#write('syncing the log', () => this.#segments.sync())
  }

  async close(): Promise<void> {
    await this.#gate.inOrder(async () => {
      if (this.#closed) return
      this.#closed = true
      clearInterval(this.#calm)
      await this.#writeAhead.close()
      await this.#next?.catch(() => {})
      await this.#segments.close()
      if (this.failure !== undefined || this.#state.clean) return
      try {
        if (!this.#options.sync) await this.#segments.sync()
        await this.#save({ clean: true })
      } catch (error) {
        // The next start then takes this for a crash: it accepts a log with a torn end, which there is none of.
        const { logger, stateFile } = this.#options
        logger?.warn({ err: error, path: stateFile }, 'could not note that the log was closed cleanly')
      }
    })
    await this.#clearing
  }

  /** A write in order, before the first of which the mark of a clean close is taken back. */
  #write(doing: string, work: () => Promise<void>): Promise<void> {
    return this.#gate.write(doing, async () => {
      await this.#unseal()
      await work()
    })
  }

  /** Before a write: the log is not one that was closed cleanly any more. */
  async #unseal(): Promise<void> {
    assert(!this.#closed, `${this.#options.dir} is closed`)
    if (this.#state.clean) await this.#save({})
  }

  async #shrink(doing: string, work: () => Promise<void>): Promise<void> {
    this.#shrinking++
    try {
      await this.#write(doing, work)
    } finally {
      this.#shrinking--
    }
  }

  /** Writes the state with `changes`, durably, and makes it the present one. `votings` are those that `index` is to tell of. */
  async #save(changes: Partial<LogState>, votings = this.#votings): Promise<void> {
    const trimmedTo = changes.trimmedTo ?? this.trimmedTo
    const kept = keptOf(votings, trimmedTo)
    const voting = kept.find(({ zxid }) => zxid <= trimmedTo)
    const reconfigurations = kept.flatMap(({ zxid }) => (zxid > trimmedTo ? [zxid] : []))
    const own = { clean: false, lastZxid: this.#lastZxid, revision: this.#state.revision + 1 }
    const state: LogState = { ...this.#state, ...own, voting, reconfigurations, ...changes }
    await writeLogState(this.#options.stateFile, state)
    this.#state = state
    this.#votings = kept
  }

  /** Takes away what goes beyond `zxid`, where an entry ends. First the state says so: a start finishes what is left of it. */
  async #cut(zxid: number): Promise<void> {
    const { dir } = this.#options
    const { list } = this.#segments
    const kept = list.filter(({ start }, i) => i === 0 || start < zxid)
    const segments = kept.map(({ number }) => number)
    const votings = this.#votings.filter((voting) => voting.zxid <= zxid)
    await this.#save({ lastZxid: zxid, segments }, votings)
    const before = this.#segments.active
    const active = kept.at(-1) as Segment
    await this.#reading(active, async () => this.#removeLater(this.#segments.replace(kept)))
    if (active !== before) await this.#writeAheadIn(active)
    await deleteBeyond(active.db, zxid)
    this.#lastZxid = zxid
    this.#tail = await tailOf(active, dir, this.#state, zxid)
  }

  /**
   * Gives entries to LevelDB, with the records of ends that they fill: it writes all of them, or none. A lone one needs no batch,
   * which is a native object with a finalizer and twice as many promises: 1.2 KB of garbage.
   */
  #give(entries: readonly Entry[]): Promise<void> {
    const ends = this.#filledBy(entries)
    const [first] = entries
    if (first === undefined || entries.length > 1 || ends.length > 0) return this.#giveMany(entries, ends)
    const { key, value } = encodeEntry(first, this.#state.revision, this.#room)
    this.#given = { entries, bytes: value.length, records: 1 }
    return this.#segments.active.db.put(key, value, this.#writeOptions())
  }

  async #giveMany(entries: readonly Entry[], ends: readonly Ends[]): Promise<void> {
    const { revision } = this.#state
    const batch = this.#segments.active.db.batch()
    let bytes = 0
    for (let i = 0; i < entries.length; i++) {
      const { key, value } = encodeEntry(entries[i] as Entry, revision, this.#room)
      batch.put(key, value)
      bytes += value.length
    }
    for (const run of ends) {
      const value = encodeEnds(run, revision)
      batch.put(endsKey(run.lasts.at(-1) as number), value)
      bytes += value.length
    }
    this.#given = { entries, bytes, records: entries.length + ends.length }
    await batch.write(this.#writeOptions())
  }

  #writeOptions() {
    return this.#options.sync ? synced : notSynced
  }

  /** The runs whose records are due with these entries. */
  #filledBy(entries: readonly Entry[]): readonly Ends[] {
    let { from } = this.#tail
    if (this.#tail.lasts.length + entries.length < endsPerRecord) return noEnds
    let lasts = [...this.#tail.lasts]
    const runs: Ends[] = []
    for (let i = 0; i < entries.length; i++) {
      const { last } = entries[i] as Entry
      lasts.push(last)
      if (lasts.length < endsPerRecord) continue
      runs.push({ from, lasts })
      from = last
      lasts = []
    }
    return runs
  }

  /** These entries are written, with the records of ends that they have filled. */
  #extendTail(entries: readonly Entry[]): void {
    for (let i = 0; i < entries.length; i++) {
      const { last } = entries[i] as Entry
      this.#tail.lasts.push(last)
      if (this.#tail.lasts.length === endsPerRecord) this.#tail = { from: last, lasts: [] }
    }
  }

  /** The highest zxid that is not above `zxid` and ends an entry. */
  async #boundary(zxid: number): Promise<number> {
    const at = await this.#reading(this.#segments.at(zxid), (db) => entryAt(db, this.#options.dir, zxid))
    if (at === undefined) return this.trimmedTo
    const { prev, last } = at.entry
    return Math.max(last <= zxid ? last : prev, this.trimmedTo)
  }

  /** Does `work` while the segment is open. */
  async #reading<T>(segment: Segment, work: (db: Db) => Promise<T>): Promise<T> {
    this.#segments.retain([segment])
    try {
      return await work(await this.#segments.opened(segment))
    } finally {
      this.#segments.release([segment])
    }
  }

  #segmentBytes(): number {
    return this.#options.segmentBytes ?? defaultSegmentBytes
  }

  /** Makes an empty segment for `#takeNext`, while writes go on. */
  #prepare(): Promise<Segment> {
    const next = this.#gate.guard('beginning a segment of the log', () => this.#segments.prepare())
    // The gate keeps the failure, whoever waits for the segment.
    next.catch(() => {})
    return next
  }

  async #takeNext(): Promise<Segment> {
    const next = await (this.#next ?? this.#prepare())
    this.#next = undefined
    return next
  }

  /** Begins another segment behind the one that is full. */
  async #turnOver(): Promise<void> {
    const next = await this.#takeNext()
    const { list, numbers } = this.#segments
    await this.#save({ segments: [...numbers, next.number] })
    await this.#begin(next, list)
  }

  /** From now on entries go to `next`, behind the segments `before`, and all others are deleted. */
  async #begin(next: Segment, before: readonly Segment[]): Promise<void> {
    next.start = this.#lastZxid
    this.#tail = { from: this.#lastZxid, lasts: [] }
    this.#removeLater(this.#segments.replace([...before, next]))
    await this.#writeAheadIn(next)
  }

  async #writeAheadIn({ dir }: Segment): Promise<void> {
    await this.#writeAhead.close()
    this.#writeAhead = new WriteAhead(dir, bufferBytes)
  }

  /** Makes tables in the background if there is time; a failure fails the store. */
  #makeTablesIfCalm(): void {
    const recent = this.#recent
    this.#recent = 0
    if (this.#makingTables || this.failure !== undefined) return
    if (!isTimeForTables(this.#segments.untabled, recent)) return
    this.#makingTables = true
    if (isWorthTable(this.#segments.active)) this.#writeAhead.fileEnds()
    // A failure is kept by the gate and rejects the next write.
    this.#gate
      .guard('making a table of the log', () => this.#segments.makeTables())
      .catch(() => {})
      .finally(() => {
        this.#makingTables = false
      })
  }

  /** Deletes segments in the background; a failure fails the store. */
  #removeLater(segments: readonly Segment[]): void {
    if (segments.length === 0) return
    const remove = async () => {
      for (const segment of segments) await this.#segments.remove(segment)
    }
    // The failure is kept by the gate and rejects the next write.
    this.#clearing = this.#clearing
      .then(() => this.#gate.guard('deleting trimmed entries', remove))
      .catch(() => {})
  }

  /** Yields from the entry that reaches beyond `after` to the one that ends at `from.lastZxid`, and nothing else. */
  async *#entries(after: number, from: ReadStart): AsyncGenerator<Entry, void, void> {
    const { dir } = this.#options
    const votings = new Set(from.state.reconfigurations)
    const open: Pairs[] = [from.newest]
    const pairsOf = async (segment: Segment, range: Range) => {
      const pairs = pairsIn(await this.#segments.opened(segment), range)
      open.push(pairs)
      return pairs
    }
    try {
      const first = from.segments[0] as Segment
      const upTo = { lt: entryKey(after + 1), reverse: true, limit: 2 }
      const before = await entryIn(await pairsOf(first, upTo), dir)
      // The history begins at trimmedTo, whatever is still there before it.
      const start = Math.max(first.start, from.state.trimmedTo)
      const known = before !== undefined && before.entry.last > start ? before : undefined
      if (known === undefined && after > start) throw hole(dir, start, after)
      if (known !== undefined && known.entry.last > after) yield checkedVoting(known, votings, dir)
      let last = known?.entry.last ?? start
      let revision = known?.revision ?? 0
      for (const segment of from.segments) {
        const isNewest = segment === from.segments.at(-1)
        const pairs = isNewest ? from.newest : await pairsOf(segment, { gte: entryKey(after + 1) })
        for await (const chunk of chunksOf(pairs)) {
          for (const pair of chunk) {
            if (!isEntryKey(pair[0])) continue
            const stored = decoded(dir, pair)
            const { entry } = stored
            if (entry.prev !== last) throw hole(dir, last, entry.first)
            if (entry.first > from.lastZxid && from.appending) return
            if (stored.revision < revision) throw hole(dir, last, entry.first)
            checkRevision(stored, from.state, dir)
            last = entry.last
            revision = stored.revision
            this.#readBytes += entry.bytes.length
            yield checkedVoting(stored, votings, dir)
          }
        }
      }
      if (last !== from.lastZxid) throw hole(dir, last, from.lastZxid)
    } catch (error) {
      if (error instanceof InvariantError) throw error
      throw toStorageError(error, dir, 'reading the log')
    } finally {
      await Promise.all(open.map((pairs) => pairs.close()))
      this.#segments.release(from.segments)
    }
  }
}

/** Of entries that LevelDB was given to write: the bytes and the number of their records. */
type Given = { readonly entries: readonly Entry[]; readonly bytes: number; readonly records: number }

const nothingGiven: Given = { entries: [], bytes: 0, records: 0 }
const noEnds: readonly Ends[] = []
/** Options of a write; with the encodings, that the database need not add them each time. */
const notSynced = { sync: false, keyEncoding: 'buffer', valueEncoding: 'buffer' } as const
const synced = { ...notSynced, sync: true }

type Pairs = ReturnType<typeof pairsIn>

/** The view of the log that a read works on. */
type ReadStart = {
  readonly segments: readonly Segment[]
  /** Of the last one, as it was when the read began: what is in the others does not change. */
  readonly newest: Pairs
  readonly state: LogState
  readonly lastZxid: number
  /** An append was under way: its entries may be seen already, and are not to be given out. */
  readonly appending: boolean
}

/** Ends that gather for a record. */
type Tail = { readonly from: number; readonly lasts: number[] }

/** A log as it is on disk. */
type Found = {
  readonly segments: Segments
  readonly state: LogState
  readonly lastZxid: number
  readonly votings: readonly VotingAt[]
  readonly tail: Tail
}

const otherDataRemedy = `Give each server its own dataDir and dataLogDir, and restore both from the same backup. ${fromLeaderRemedy}`

/** Reads the state, opens the segments, and checks them. Finishes a truncation that a crash interrupted. */
async function recover(options: LogOptions): Promise<Found> {
  const { dir, stateFile, dataId } = options
  const state = await readLogState(stateFile)
  if (state === undefined) throw corrupt(stateFile, 'this file is missing')
  if (state.dataId !== dataId) {
    const message = 'this log belongs to another data directory'
    throw storageError('format', dir, message, undefined, otherDataRemedy)
  }
  const segments = await Segments.open(dir, state.segments)
  try {
    const found = await check(segments, state, dir)
    await segments.removeOthers()
    return found
  } catch (error) {
    await segments.close()
    throw toStorageError(error, dir, 'opening the log')
  }
}

async function check(segments: Segments, state: LogState, dir: string): Promise<Found> {
  await cutLeftovers(segments, state, dir)
  const lastZxid = await checkedEnd(segments, state, dir)
  if (lastZxid < state.lastZxid) throw cutOff(dir, lastZxid, state.lastZxid)
  if (state.clean && lastZxid !== state.lastZxid) {
    const ends = `the log was closed at ${formatZxid(state.lastZxid)}, now it is at ${formatZxid(lastZxid)}`
    throw corrupt(dir, ends)
  }
  const votings = await votingsOf(segments, state, dir, lastZxid)
  const tail = await tailOf(segments.active, dir, state, lastZxid)
  return { segments, state, lastZxid, votings, tail }
}

/** Deletes entries that were truncated and not deleted: those behind `lastZxid` of a revision before the state's. */
async function cutLeftovers({ active }: Segments, state: LogState, dir: string): Promise<void> {
  const first = await firstEntry(active.db, dir, state.lastZxid)
  if (first === undefined || first.revision >= state.revision) return
  const newest = await entryAt(active.db, dir, Number.MAX_SAFE_INTEGER)
  if (newest === undefined || newest.revision >= state.revision || first.entry.prev > state.lastZxid)
    throw hole(dir, state.lastZxid, first.entry.first)
  if (state.clean) throw notTogether(first, dir)
  await deleteBeyond(active.db, state.lastZxid)
}

/** Where the last segment ends, with each checked to begin where the one before it ends, and the first at `trimmedTo`. */
async function checkedEnd({ list }: Segments, state: LogState, dir: string): Promise<number> {
  let end: number | undefined
  for (const segment of list) {
    const { db } = segment
    const oldest = await firstEntry(db, dir, -1)
    segment.start = oldest?.entry.prev ?? end ?? state.trimmedTo
    if (segment.start !== (end ?? segment.start)) throw hole(dir, end ?? 0, segment.start)
    end = oldest === undefined ? segment.start : await endOf(db, dir, state)
    const first = end > state.trimmedTo ? await firstEntry(db, dir, state.trimmedTo) : undefined
    const begins = Math.max(segment.start, state.trimmedTo)
    if (first !== undefined && first.entry.prev !== begins) throw hole(dir, begins, first.entry.first)
  }
  const { start } = list[0] as Segment
  if (start > state.trimmedTo) throw hole(dir, state.trimmedTo, start)
  return Math.max(end ?? 0, state.trimmedTo)
}

/** `last` of the newest entry of a segment that has one, checked. */
async function endOf(db: Db, dir: string, state: LogState): Promise<number> {
  const newest = await entryAt(db, dir, Number.MAX_SAFE_INTEGER)
  // A damaged file may hide from one direction of reading what it shows to the other, or fail only then.
  if (newest === undefined) throw hole(dir, 0, 0)
  const behind = await firstEntry(db, dir, newest.entry.first)
  if (behind !== undefined) throw hole(dir, newest.entry.last, behind.entry.first)
  checkRevision(newest, state, dir)
  return newest.entry.last
}

/** The votings that the state tells of, each read from its entry. */
async function votingsOf(
  segments: Segments,
  { voting, reconfigurations, lastZxid: known }: LogState,
  dir: string,
  lastZxid: number,
): Promise<readonly VotingAt[]> {
  const votings = voting === undefined ? [] : [voting]
  for (const zxid of reconfigurations) {
    if (zxid > lastZxid) break
    const key = entryKey(zxid)
    const value = await segments.at(zxid).db.get(key)
    const found = value === undefined ? undefined : decoded(dir, [key, value]).entry.voting
    if (found !== undefined) votings.push({ zxid, voting: found })
    else if (zxid <= known) throw corrupt(dir, `the reconfiguration at ${formatZxid(zxid)} is gone`)
  }
  return votings
}

/** What `LogStore.index` tells of: votings above `trimmedTo`, and the newest at or below it. */
function keptOf(votings: readonly VotingAt[], trimmedTo: number): readonly VotingAt[] {
  const from = votings.findLastIndex(({ zxid }) => zxid <= trimmedTo)
  return votings.slice(Math.max(from, 0))
}

function votingIn({ last, voting }: Entry): VotingAt[] {
  return voting === undefined ? [] : [{ zxid: last, voting }]
}

/** The entry, whose voting the state must know of if it has one. */
function checkedVoting({ entry }: StoredEntry, known: ReadonlySet<number>, dir: string): Entry {
  if (entry.voting !== undefined && !known.has(entry.last))
    throw corrupt(dir, `the reconfiguration at ${formatZxid(entry.last)} is unknown to the log's state`)
  return entry
}

/** Where those entries of a segment end that no record of ends has. It ends at `end`. */
async function tailOf({ db, start }: Segment, dir: string, state: LogState, end: number): Promise<Tail> {
  // More than a run does not follow its record. Without the limit LevelDB would read on ahead, through all entries.
  const keys = db.keys({ reverse: true, limit: endsPerRecord, fillCache: false })
  const firsts: number[] = []
  let from = start
  for await (const key of keys) {
    if (!isEntryKey(key)) {
      from = zxidOfKey(key)
      break
    }
    firsts.unshift(zxidOfKey(key))
  }
  if (from > Math.max(end, state.trimmedTo)) throw hole(dir, end, from)
  if (firsts.length === endsPerRecord) throw corrupt(dir, 'a record of where entries end is missing')
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
  if (firsts.length > 0) lasts.push(end)
  return { from, lasts }
}

/** Where the entries of a segment end up to `to`, where a run of them ends: each run tells where the one before it does. */
async function runsUpTo(
  to: number,
  { db, start }: Segment,
  dir: string,
  state: LogState,
): Promise<number[][]> {
  const runs: number[][] = []
  for (let at = to; at > Math.max(start, state.trimmedTo); ) {
    const key = endsKey(at)
    const value = await db.get(key)
    const ends = value === undefined ? undefined : decodeEnds(key, value)
    if (ends === undefined || ends.revision > state.revision || ends.from < start)
      throw corrupt(
        dir,
        `the record of where entries end with key ${key.toString('hex')} is damaged or missing`,
      )
    runs.unshift([...ends.lasts])
    at = ends.from
  }
  return runs
}

/** The entry with the highest `first` that is not above `zxid`. */
function entryAt(db: Db, dir: string, zxid: number): Promise<StoredEntry | undefined> {
  return entryIn(pairsIn(db, { lte: entryKey(zxid), reverse: true, limit: 2 }), dir)
}

/** The first entry with a `first` above `zxid`. */
function firstEntry(db: Db, dir: string, zxid: number): Promise<StoredEntry | undefined> {
  return entryIn(pairsIn(db, { gte: entryKey(zxid + 1), limit: 2 }), dir)
}

/** The first that is an entry; of two records that follow each other one is. */
async function entryIn(pairs: Pairs, dir: string): Promise<StoredEntry | undefined> {
  const found = await pairs.nextv(2)
  await pairs.close()
  const pair = found.find(([key]) => isEntryKey(key))
  return pair === undefined ? undefined : decoded(dir, pair)
}

/** Deletes, durably, the entries that begin after `zxid`, where an entry ends, and the records of ends that name one of them. */
async function deleteBeyond(db: Db, zxid: number): Promise<void> {
  const batch = db.batch()
  for (const key of await db.keys({ gte: entryKey(zxid + 1) }).all()) batch.del(key)
  await batch.write({ sync: true })
}

type Range = {
  readonly gte?: Buffer
  readonly lt?: Buffer
  readonly lte?: Buffer
  readonly reverse?: boolean
  readonly limit?: number
}

/** An iterator over the records of a segment. */
function pairsIn(db: Db, range: Range) {
  return db.iterator({ ...range, highWaterMarkBytes: chunkBytes, fillCache: false })
}

async function* nothing(): AsyncGenerator<Entry, void, void> {}

/** The records of an iterator, many at a time; the next ones are read while these are used. */
async function* chunksOf(pairs: Pairs): AsyncGenerator<readonly [Buffer, Buffer][], void, void> {
  let next = pairs.nextv(chunkEntries)
  for (let chunk = await next; chunk.length > 0; chunk = await next) {
    next = pairs.nextv(chunkEntries)
    // Who stops before the end does not ask what became of it.
    next.catch(() => undefined)
    yield chunk
  }
}

function decoded(dir: string, [key, value]: [Buffer, Buffer]): StoredEntry {
  const stored = decodeEntry(key, value)
  if (stored === undefined) throw corrupt(dir, `the entry with key ${key.toString('hex')} is damaged`)
  return stored
}

/** An entry that the state does not know must have been appended after it was written. */
function checkRevision(stored: StoredEntry, state: LogState, dir: string): void {
  const { entry, revision } = stored
  const known = entry.last <= state.lastZxid
  if (revision !== state.revision && !(known && revision < state.revision)) throw notTogether(stored, dir)
}

function notTogether({ entry }: StoredEntry, dir: string): StorageError {
  const at = formatZxid(entry.first)
  return corrupt(dir, `the entry at ${at} and the state of the log do not belong together`)
}
/** Asserts that `entries` follow `last` without a hole. */
function checkChain(entries: readonly Entry[], last: number): void {
  let end = last
  for (const entry of entries) {
    const wrong = wrongAfter(end, entry)
    if (wrong !== undefined) throw new InvariantError(wrong)
    end = entry.last
  }
}

/** Why an entry can not be the one that follows `end`; undefined if it can. */
function wrongAfter(end: number, { prev, first, last, voting }: Entry): string | undefined {
  if (prev !== end) return `the entry after ${formatZxid(prev)} is appended after ${formatZxid(end)}`
  if (first <= prev) return `the entry at ${formatZxid(first)} is not above the one before it`
  if (last < first || !Number.isSafeInteger(last)) return `entry ends at ${formatZxid(last)}`
  if (first !== prev + 1 && epochOf(first) === epochOf(prev))
    return `the entry at ${formatZxid(first)} leaves a gap after ${formatZxid(prev)}`
  if (voting !== undefined && first !== last)
    return `the reconfiguration at ${formatZxid(first)} has more than one transaction`
  return undefined
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

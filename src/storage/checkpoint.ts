// The checkpoint on LevelDB: the tree's records under a generation byte, and one meta record that says which of them count
// (docs/storage.md). It never looks into a record; what makes a checkpoint of changes is one atomic synced write.
import { setImmediate as immediate } from 'node:timers/promises'
import { assert } from '../base/assert.ts'
import type { VotingAt } from '../zab/types.ts'
import { chunkBytes, type Database, type Db } from './database.ts'
import { storageError } from './errors.ts'
import { decodeMeta, encodeMeta, type MetaRecord, metaKey } from './records.ts'
import { type Scannable, scan, scannable } from './scan.ts'
import type {
  CheckpointMeta,
  CheckpointReader,
  CheckpointRecord,
  CheckpointSink,
  CheckpointStore,
  StorageError,
} from './types.ts'

/**
 * The two generations of records; a replacing sink fills the one that is not in use. They sort after the meta record, and so
 * segments come after all that a commit writes: LevelDB's tables of the segments of one checkpoint then overlap no others.
 */
const generations = [0x6e, 0x6f] as const
/** These, and two of data from before that was so: what is in one of them stays there until it is replaced. */
const knownGenerations: readonly number[] = [...generations, 0x61, 0x62]
/** Records per chunk of a reading iterator; large ones fill it by their bytes. */
const chunkRecords = 4000
/** What is written ahead of the commit is synced in pieces of this size: a sync of the log waits for one at most. */
const pieceBytes = 512 << 10
/** Less than this is not written ahead: it is in the write that commits it, one sync less for lone writes to wait for. */
const fewBytes = 64 << 10
/** If so much is written ahead of a commit, it is worth tables of its own. */
const tableBytes = 4 << 20
/** Sorts after every record. */
const beyond = Buffer.of(0xff)
const doing = 'writing a checkpoint'
const reading = 'reading the checkpoint'
/** `progress` is told after so many. */
const recordsPerProgress = 256

type Batch = ReturnType<Db['batch']>
/** A record to be put, or deleted where there is no value, before the commit if it is `ahead`. */
type Change = { readonly ahead: boolean; readonly key: Buffer; readonly value: Buffer | undefined }
type TakeRecord = (key: Uint8Array, value: Uint8Array, verified: boolean) => void

/** `CheckpointStore` on a LevelDB directory. */
export class LevelCheckpoint implements CheckpointStore {
  readonly #database: Database
  readonly #beforeCommit: () => Promise<void>
  #record: MetaRecord
  /** Of the database while it is not open: until it is loaded. */
  #files: Scannable | undefined
  #sink: Sink | undefined
  /** Settles when nothing is left of what belongs to no checkpoint, and what a large one wrote has tables of its own. */
  #background: Promise<void> = Promise.resolve()

  private constructor(
    database: Database,
    record: MetaRecord,
    files: Scannable | undefined,
    beforeCommit: () => Promise<void>,
  ) {
    this.#database = database
    this.#beforeCommit = beforeCommit
    this.#record = record
    this.#files = files
  }

  /** Makes the database one that has no checkpoint yet; durable when it resolves. Rejects with StorageError. */
  static async create(database: Database): Promise<void> {
    const none = {
      meta: undefined,
      generation: generations[0],
      end: Buffer.of(),
      installs: 0,
      voting: undefined,
    }
    await database.write('creating the checkpoint', (db) => db.put(metaKey, encodeMeta(none), { sync: true }))
  }

  /** Whether there is anything but what `create` makes, damage included. Rejects with StorageError. */
  static async isUsed(database: Database): Promise<boolean> {
    return await database.read(reading, async (db) => {
      const value = await db.get(metaKey)
      if (value !== undefined) return decodeMeta(value)?.meta !== undefined
      return (await db.keys({ limit: 1 }).all()).length > 0
    })
  }

  /**
   * Reads the meta record, which must be there. Throws StorageError (corrupt, io). `beforeCommit` runs before each commit,
   * which it can prevent by rejecting.
   */
  static async open(database: Database, beforeCommit: () => Promise<void>): Promise<LevelCheckpoint> {
    const { dir, isOpen } = database
    const files = isOpen ? undefined : await scannable(dir)
    const head = files === undefined ? await database.read(reading, readHead) : await scanHead(files)
    const store = new LevelCheckpoint(database, recordOf(head, dir), files, beforeCommit)
    if (isOpen) store.#sweep()
    return store
  }

  get meta(): CheckpointMeta | undefined {
    return this.#record.meta
  }

  get failure(): StorageError | undefined {
    return this.#database.failure
  }

  /** Number of checkpoints so far that took the place of the log. */
  get installs(): number {
    return this.#record.installs
  }

  /** The reconfiguration that the last of these came with. */
  get voting(): VotingAt | undefined {
    return this.#record.voting
  }

  async load(each: TakeRecord, progress?: (records: number) => void, end?: () => void): Promise<void> {
    let count = 0
    const take: TakeRecord = (key, value, verified) => {
      each(key, value, verified)
      if (++count % recordsPerProgress === 0) progress?.(count)
    }
    const done = () => {
      progress?.(count)
      end?.()
    }
    if (this.#files === undefined) await this.#loadOpen(take, done)
    else await this.#loadFirst(this.#files, take, done)
  }

  async #loadOpen(each: TakeRecord, end: () => void): Promise<void> {
    const records = recordsOf(this.#database.db, this.#record)
    try {
      for (;;) {
        const chunk = await this.#chunk(records)
        if (chunk.length === 0) break
        for (const [key, value] of chunk) each(key.subarray(1), value, false)
      }
    } finally {
      await records.close()
    }
    end()
  }

  /** Checks and reads the files in one, and only then lets LevelDB have them. */
  async #loadFirst(files: Scannable, each: TakeRecord, done: () => void): Promise<void> {
    const { dir } = this.#database
    const { generation, end } = this.#record
    const last = keyIn(generation, end)
    await scan(files, (key, value) => {
      if (key[0] === generation && key.compare(last) <= 0) each(key.subarray(1), value, true)
    })
    this.#files = undefined
    // When the other work begins, opening has begun, too.
    const both = [this.#database.openChecked(), immediate().then(done)]
    for (const result of await Promise.allSettled(both)) if (result.status === 'rejected') throw result.reason
    const found = recordOf(await this.#database.read(reading, readHead), dir)
    if (!encodeMeta(found).equals(encodeMeta(this.#record)))
      throw storageError('corrupt', dir, 'a write-ahead file of the checkpoint is damaged')
    this.#sweep()
  }

  reader(): CheckpointReader {
    const { meta } = this.#record
    assert(meta !== undefined, 'there is no checkpoint to read')
    const records = recordsOf(this.#database.db, this.#record)
    const next = async (): Promise<readonly CheckpointRecord[]> => {
      const chunk = await this.#chunk(records)
      return chunk.map(([key, value]) => [key.subarray(1), value])
    }
    return { meta, next, close: () => records.close() }
  }

  begin(options?: { readonly replace?: boolean }): CheckpointSink {
    assert(this.#sink === undefined, 'a checkpoint is begun while another is being made')
    if (this.failure !== undefined) throw this.failure
    const { generation, end } = this.#record
    // A replacing sink goes on from a generation in which nothing counts yet.
    this.#sink =
      options?.replace === true
        ? new Sink(this.#database, otherGeneration(generation), Buffer.of(), this.#background)
        : new Sink(this.#database, generation, end, this.#background)
    return this.#sink
  }

  commit(meta: CheckpointMeta): Promise<void> {
    return this.#commit(meta, this.installs, this.voting)
  }

  /** Commits as the next checkpoint that takes the place of the log; `voting` is for the log that follows it. */
  async install(meta: CheckpointMeta, voting: VotingAt | undefined): Promise<void> {
    assert(
      this.#sink !== undefined && this.#sink.generation !== this.#record.generation,
      'a checkpoint is installed that does not replace the present one',
    )
    assert(voting === undefined || voting.zxid <= meta.zxid, 'the voting of a checkpoint is newer than it')
    await this.#commit(meta, this.installs + 1, voting)
  }

  async #commit(meta: CheckpointMeta, installs: number, voting: VotingAt | undefined): Promise<void> {
    const sink = this.#sink
    assert(sink !== undefined, 'a checkpoint is committed that was not begun')
    this.#sink = undefined
    const { generation } = sink
    const replaces = generation !== this.#record.generation
    try {
      const batch = await sink.take()
      const record: MetaRecord = { meta, generation, end: sink.end, installs, voting }
      await this.#beforeCommit()
      await this.#database.write(doing, async () => {
        batch.put(metaKey, encodeMeta(record))
        await batch.write({ sync: true })
        this.#record = record
      })
    } catch (error) {
      this.#forget(sink)
      throw error
    }
    // What it wrote has keys from all over: it goes into another table than the segments that follow.
    if (sink.isLarge) this.#inBackground(() => endTable(this.#database))
    if (replaces) this.#sweep()
  }

  abort(): void {
    const sink = this.#sink
    this.#sink = undefined
    if (sink !== undefined) this.#forget(sink)
  }

  async reopen(): Promise<void> {
    this.abort()
    await this.#background
    await this.#database.reopen(async (db) => {
      this.#record = recordOf(await readHead(db), this.#database.dir)
    })
    this.#sweep()
  }

  async close(): Promise<void> {
    this.abort()
    await this.#background
    await this.#database.close()
  }

  /** Nothing will come of a sink. */
  #forget(sink: Sink): void {
    this.#background = sink.drop()
    this.#sweep()
  }

  /** Does it when what was to be done before is done. A failure is kept by the database and rejects the next write. */
  #inBackground(work: () => Promise<void>): void {
    this.#background = this.#background.then(work).catch(() => {})
  }

  #chunk(records: ReturnType<typeof recordsOf>): Promise<[Buffer, Buffer][]> {
    return this.#database.read(reading, () => records.nextv(chunkRecords))
  }

  /**
   * Deletes, in the background, what belongs to no checkpoint: the other generation, and what was written ahead of a commit
   * that did not come. A failure fails the store.
   */
  #sweep(): void {
    this.#inBackground(async () => {
      if (this.failure !== undefined) return
      const { db } = this.#database
      const { generation, end } = this.#record
      await this.#database.guard('deleting a replaced checkpoint', async () => {
        for (const other of knownGenerations) if (other !== generation) await clear(db, other, Buffer.of())
        await clear(db, generation, end)
      })
    })
  }
}

/** What the next checkpoint changes, on its way into the database. */
class Sink implements CheckpointSink {
  readonly generation: number
  /** The highest key of the checkpoint. */
  end: Buffer
  bytes = 0
  readonly #database: Database
  /** The highest key that counts now. */
  readonly #present: Buffer
  /** All that came, while it is little. */
  #few: Change[] | undefined = []
  /** Then: what is written with the commit. */
  readonly #last: Batch
  /** What can be written before, and its bytes. */
  #piece: Batch
  #held = 0
  /** Bytes of all pieces so far. */
  #ahead = 0
  /** Settles when the pieces are written: all of them, and all but the last. */
  #pieces: Promise<void>
  #allButLast: Promise<void>

  /** Begins to write when `start` has settled. */
  constructor(database: Database, generation: number, present: Buffer, start: Promise<void>) {
    this.generation = generation
    this.end = present
    this.#database = database
    this.#present = present
    this.#last = database.db.batch()
    this.#piece = database.db.batch()
    this.#pieces = start
    this.#allButLast = start
  }

  put(key: Uint8Array, value: Uint8Array): void {
    const change = { ahead: this.#isAhead(key), key: this.#keyOf(key), value: asBuffer(value) }
    if (change.ahead && Buffer.compare(key, this.end) > 0) this.end = change.key.subarray(1)
    this.#collect(change, key.length + value.length)
  }

  del(key: Uint8Array): void {
    this.#collect({ ahead: this.#isAhead(key), key: this.#keyOf(key), value: undefined }, key.length)
  }

  #collect(change: Change, bytes: number): void {
    this.bytes += bytes
    const few = this.#few
    if (few === undefined) {
      this.#add(change)
    } else if (this.bytes < fewBytes) {
      // What the caller has may change.
      few.push({ ...change, value: change.value && Buffer.from(change.value) })
    } else {
      this.#few = undefined
      for (const one of few) this.#add(one)
      this.#add(change)
    }
  }

  #add(change: Change): void {
    const { ahead, key, value } = change
    addTo(ahead ? this.#piece : this.#last, change)
    if (!ahead || value === undefined) return
    const bytes = key.length + value.length
    this.#held += bytes
    this.#ahead += bytes
    if (this.#held >= pieceBytes) this.#writePiece()
  }

  /** Whether a record with this key does not count before the commit, and can be written at once. */
  #isAhead(key: Uint8Array): boolean {
    return Buffer.compare(key, this.#present) > 0
  }

  drained(): Promise<void> {
    return this.#allButLast
  }

  /** Whether what is written ahead has tables of its own. */
  get isLarge(): boolean {
    return this.#ahead >= tableBytes
  }

  /** The batch for the commit, when all else is written; the sink is used up. Rejects if a piece could not be written. */
  async take(): Promise<Batch> {
    for (const change of this.#few ?? []) addTo(this.#last, change)
    if (this.#piece.length > 0) this.#writePiece()
    await this.#pieces
    if (this.isLarge) await endTable(this.#database)
    return this.#last
  }

  /** Forgets what has not been written yet. Settles, without rejecting, when nothing is being written. */
  drop(): Promise<void> {
    this.#last.close().catch(() => {})
    this.#piece.close().catch(() => {})
    return this.#pieces.catch(() => {})
  }

  #keyOf(key: Uint8Array): Buffer {
    assert(key.length > 0, "a checkpoint's key is empty")
    return keyIn(this.generation, key)
  }

  #writePiece(): void {
    const piece = this.#piece
    this.#piece = this.#database.db.batch()
    this.#held = 0
    const write = () => this.#database.write(doing, () => piece.write({ sync: true }))
    this.#allButLast = this.#pieces
    this.#pieces = this.#pieces.then(write)
    // Who awaits `drained` or the commit is told; until then the rejection is not unhandled.
    this.#pieces.catch(() => {})
  }
}

function addTo(batch: Batch, { key, value }: Change): void {
  if (value === undefined) batch.del(key)
  else batch.put(key, value)
}

/** Has LevelDB make a table of what it holds in memory: it does so before it looks at the range that it is to compact. */
function endTable(database: Database): Promise<void> {
  return database.write(doing, (db) => db.compactRange(beyond, beyond))
}

/** The same bytes as a Buffer, which is what the database takes. */
function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
}

/** The key of a record in the database. */
function keyIn(generation: number, key: Uint8Array): Buffer {
  const dbKey = Buffer.allocUnsafe(key.length + 1)
  dbKey[0] = generation
  dbKey.set(key, 1)
  return dbKey
}

/** An iterator over a checkpoint's records, in key order. */
function recordsOf(db: Db, { generation, end }: MetaRecord) {
  const range = { gte: Buffer.of(generation), lte: keyIn(generation, end) }
  return db.iterator({ ...range, highWaterMarkBytes: chunkBytes, fillCache: false })
}

/** Deletes the records of a generation with keys above `key`, if there are any, and gives the space back. */
async function clear(db: Db, generation: number, key: Buffer): Promise<void> {
  const range = { gt: keyIn(generation, key), lt: Buffer.of(generation + 1) }
  if ((await db.keys({ ...range, limit: 1 }).all()).length === 0) return
  await db.clear(range)
  await db.compactRange(range.gt, range.lt)
}

function otherGeneration(generation: number): number {
  return generation === generations[0] ? generations[1] : generations[0]
}

function readHead(db: Db): Promise<Buffer | undefined> {
  return db.get(metaKey)
}

/** The meta record of a database that is not open. */
async function scanHead(files: Scannable): Promise<Buffer | undefined> {
  let head: Buffer | undefined
  const each = (key: Buffer, value: Buffer) => {
    if (key.equals(metaKey)) head = Buffer.from(value)
  }
  await scan(files, each, metaKey)
  return head
}

function recordOf(value: Buffer | undefined, dir: string): MetaRecord {
  if (value === undefined) throw storageError('corrupt', dir, 'the head of the checkpoint is missing')
  const record = decodeMeta(value)
  if (record === undefined || !knownGenerations.includes(record.generation)) {
    throw storageError('corrupt', dir, 'the head of the checkpoint is damaged')
  }
  return record
}

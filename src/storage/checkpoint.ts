// The checkpoint on LevelDB: the tree's records under a generation byte, and one meta record that makes a batch of
// changes a checkpoint (docs/storage.md). It never looks into a record, and a commit is one atomic synced write.
import { assert } from '../base/assert.ts'
import type { VotingAt } from '../zab/types.ts'
import { chunkBytes, type Database, type Db } from './database.ts'
import { storageError } from './errors.ts'
import { decodeMeta, dropKey, encodeMeta, type MetaRecord, metaKey } from './records.ts'
import type {
  CheckpointMeta,
  CheckpointReader,
  CheckpointRecord,
  CheckpointSink,
  CheckpointStore,
  StorageError,
} from './types.ts'

/** The two generations of records; a replacing sink fills the one that is not in use. */
const generations = [0x61, 0x62] as const
const maxKeyBytes = 65535
/** Records per chunk of a reading iterator. */
const chunkRecords = 4000
/** A replacing sink writes what it holds from here on; LevelDB's own buffer is of that order. */
const pieceBytes = 4 << 20
const doing = 'writing a checkpoint'
const asText = { valueEncoding: 'utf8' } as const

/** `CheckpointStore` on a LevelDB directory. */
export class LevelCheckpoint implements CheckpointStore {
  readonly #database: Database
  readonly #beforeCommit: () => Promise<void>
  #record: MetaRecord | undefined
  #sink: Sink | undefined
  /** Settles when the deletion of a replaced generation is done. */
  #dropping: Promise<void> = Promise.resolve()

  private constructor(database: Database, record: MetaRecord | undefined, beforeCommit: () => Promise<void>) {
    this.#database = database
    this.#beforeCommit = beforeCommit
    this.#record = record
  }

  /**
   * Reads the meta record. Throws StorageError (corrupt, io); corrupt too if there are records but no meta.
   * `beforeCommit` runs before each commit, which it can prevent by rejecting.
   */
  static async open(database: Database, beforeCommit: () => Promise<void>): Promise<LevelCheckpoint> {
    const record = await database.read('reading the checkpoint', (db) => readMeta(db, database.dir))
    const store = new LevelCheckpoint(database, record, beforeCommit)
    store.#dropLeftover()
    return store
  }

  get meta(): CheckpointMeta | undefined {
    return this.#record?.meta
  }

  get failure(): StorageError | undefined {
    return this.#database.failure
  }

  /** Number of checkpoints so far that took the place of the log. */
  get installs(): number {
    return this.#record?.installs ?? 0
  }

  /** The reconfiguration that the last of these came with. */
  get voting(): VotingAt | undefined {
    return this.#record?.voting
  }

  async load(
    each: (key: Uint8Array, value: Uint8Array) => void,
    progress?: (records: number) => void,
  ): Promise<void> {
    if (this.#record === undefined) return
    const texts = textsOf(this.#database.db, this.#record.generation)
    const scratch = new Scratch()
    let records = 0
    try {
      let next = this.#chunk(texts)
      for (;;) {
        const chunk = await next
        if (chunk.length === 0) return
        // LevelDB reads on its own thread while this one decodes.
        next = this.#chunk(texts)
        next.catch(() => {})
        for (const text of chunk) {
          const length = scratch.decode(text)
          const { bytes } = scratch
          const keyEnd = endOfKey(bytes, length, this.#database.dir)
          each(bytes.subarray(2, keyEnd), bytes.subarray(keyEnd, length))
        }
        records += chunk.length
        progress?.(records)
      }
    } finally {
      await texts.close()
    }
  }

  reader(): CheckpointReader {
    const record = this.#record
    assert(record !== undefined, 'there is no checkpoint to read')
    const texts = textsOf(this.#database.db, record.generation)
    const next = async (): Promise<readonly CheckpointRecord[]> => {
      const chunk = await this.#chunk(texts)
      return chunk.map((text) => {
        const bytes = Buffer.from(text, 'base64')
        const keyEnd = endOfKey(bytes, bytes.length, this.#database.dir)
        return [bytes.subarray(2, keyEnd), bytes.subarray(keyEnd)]
      })
    }
    return { meta: record.meta, next, close: () => texts.close() }
  }

  begin(options?: { readonly replace?: boolean }): CheckpointSink {
    assert(this.#sink === undefined, 'a checkpoint is begun while another is being made')
    if (this.failure !== undefined) throw this.failure
    const generation = this.#record?.generation ?? generations[0]
    const replace = options?.replace === true
    this.#sink = replace
      ? new Sink(this.#database, otherGeneration(generation), this.#dropping)
      : new Sink(this.#database, generation, undefined)
    return this.#sink
  }

  commit(meta: CheckpointMeta): Promise<void> {
    return this.#commit(meta, this.installs, this.voting)
  }

  /** Commits as the next checkpoint that takes the place of the log; `voting` is for the log that follows it. */
  async install(meta: CheckpointMeta, voting: VotingAt | undefined): Promise<void> {
    assert(this.#sink?.replaces === true, 'a checkpoint is installed that does not replace the present one')
    assert(voting === undefined || voting.zxid <= meta.zxid, 'the voting of a checkpoint is newer than it')
    await this.#commit(meta, this.installs + 1, voting)
  }

  async #commit(meta: CheckpointMeta, installs: number, voting: VotingAt | undefined): Promise<void> {
    const sink = this.#sink
    assert(sink !== undefined, 'a checkpoint is committed that was not begun')
    this.#sink = undefined
    const record: MetaRecord = { meta, generation: sink.generation, installs, voting }
    const batch = await sink.take()
    await this.#beforeCommit()
    await this.#database.write(doing, async () => {
      batch.put(metaKey, encodeMeta(record))
      if (sink.replaces) batch.put(dropKey, Buffer.of(otherGeneration(sink.generation)))
      await batch.write({ sync: true })
      this.#record = record
    })
    if (sink.replaces) this.#dropLeftover()
  }

  abort(): void {
    const sink = this.#sink
    this.#sink = undefined
    sink?.drop()
    if (sink?.replaces === true) {
      this.#dropping = sink.settled()
      this.#dropLeftover()
    }
  }

  async reopen(): Promise<void> {
    this.abort()
    await this.#dropping
    await this.#database.reopen(async (db) => {
      this.#record = await readMeta(db, this.#database.dir)
    })
    this.#dropLeftover()
  }

  async close(): Promise<void> {
    this.abort()
    await this.#dropping
    await this.#database.close()
  }

  #chunk(texts: ReturnType<typeof textsOf>): Promise<string[]> {
    return this.#database.read('reading the checkpoint', () => texts.nextv(chunkRecords))
  }

  /** Deletes, in the background, the generation that is named for it; a failure fails the store. */
  #dropLeftover(): void {
    const work = async () => {
      if (this.failure !== undefined) return
      const { db } = this.#database
      await this.#database.guard('deleting a replaced checkpoint', async () => {
        const generation = (await db.get(dropKey))?.[0]
        if (generation === undefined || generation === this.#record?.generation) return
        const range = rangeOf(generation)
        await db.clear(range)
        await db.del(dropKey)
        await db.compactRange(range.gte, range.lt)
      })
    }
    // The failure is kept by the database and rejects the next write.
    this.#dropping = this.#dropping.then(work).catch(() => {})
  }
}

/** What the next checkpoint changes, on its way into the database. */
class Sink implements CheckpointSink {
  readonly generation: number
  readonly replaces: boolean
  readonly #database: Database
  readonly #scratch = new Scratch()
  #batch: ReturnType<Db['batch']>
  #bytes = 0
  /** Bytes in #batch. */
  #held = 0
  /** The pieces of a replacing sink: all of them, and all but the last. */
  #pieces: Promise<void>
  #allButLast: Promise<void> = Promise.resolve()

  /** `start` makes it a replacing sink, which begins to write when that has settled. */
  constructor(database: Database, generation: number, start: Promise<void> | undefined) {
    this.generation = generation
    this.replaces = start !== undefined
    this.#database = database
    this.#batch = database.db.batch()
    this.#pieces = Promise.resolve()
    if (start === undefined) return
    // Whatever happens from here on, the next open knows that these records belong to no checkpoint.
    const first = () => database.write(doing, (db) => db.put(dropKey, Buffer.of(generation), { sync: true }))
    this.#follow(start.then(first))
  }

  get bytes(): number {
    return this.#bytes
  }

  put(key: Uint8Array, value: Uint8Array): void {
    const dbKey = this.#scratch.key(this.generation, key)
    this.#batch.put(dbKey, this.#scratch.encode(key, value), asText)
    this.#add(key.byteLength + value.byteLength)
  }

  del(key: Uint8Array): void {
    this.#batch.del(this.#scratch.key(this.generation, key))
    this.#add(key.byteLength)
  }

  drained(): Promise<void> {
    return this.#allButLast
  }

  /** Settles, without rejecting, when nothing of this sink is being written. */
  settled(): Promise<void> {
    return this.#pieces.catch(() => {})
  }

  /** The batch with what has not been written yet; the sink is used up. Rejects if a piece could not be written. */
  async take(): Promise<ReturnType<Db['batch']>> {
    await this.#pieces
    return this.#batch
  }

  /** Forgets what has not been written yet. */
  drop(): void {
    this.#batch.close().catch(() => {})
  }

  #add(bytes: number): void {
    this.#bytes += bytes
    this.#held += bytes
    if (!this.replaces || this.#held < pieceBytes) return
    const batch = this.#batch
    const write = () => this.#database.write(doing, () => batch.write({ sync: true }))
    this.#batch = this.#database.db.batch()
    this.#held = 0
    this.#follow(this.#pieces.then(write))
  }

  #follow(pieces: Promise<void>): void {
    this.#allButLast = this.#pieces
    this.#pieces = pieces
    // Who awaits `drained` or the commit is told; until then the rejection is not unhandled.
    pieces.catch(() => {})
  }
}

/**
 * Reused bytes for one record at a time. A record's value in the database is the base64 text of u16 key length, key and
 * value: the binding makes a JavaScript string three times faster than a Buffer, and one value instead of key and value
 * (docs/storage.md has the figures).
 */
class Scratch {
  bytes: Buffer = Buffer.allocUnsafe(4096)
  #key: Buffer = Buffer.allocUnsafe(256)

  /** The database's key of a record; valid until the next call. */
  key(generation: number, key: Uint8Array): Buffer {
    const { byteLength } = key
    assert(byteLength > 0 && byteLength <= maxKeyBytes, `a checkpoint's key has ${byteLength} bytes`)
    if (this.#key.length <= byteLength) this.#key = Buffer.allocUnsafe(2 * byteLength + 1)
    this.#key[0] = generation
    this.#key.set(key, 1)
    return this.#key.subarray(0, byteLength + 1)
  }

  encode(key: Uint8Array, value: Uint8Array): string {
    const length = 2 + key.byteLength + value.byteLength
    this.#reserve(length)
    this.bytes.writeUInt16BE(key.byteLength)
    this.bytes.set(key, 2)
    this.bytes.set(value, 2 + key.byteLength)
    return this.bytes.toString('base64', 0, length)
  }

  /** Puts the record of a text into `bytes` and returns its length. */
  decode(text: string): number {
    this.#reserve(text.length)
    return this.bytes.write(text, 0, 'base64')
  }

  #reserve(length: number): void {
    if (this.bytes.length < length) this.bytes = Buffer.allocUnsafe(2 * length)
  }
}

/** Where the key of a decoded record of `length` bytes ends, and its value begins. */
function endOfKey(bytes: Buffer, length: number, dir: string): number {
  const end = length < 2 ? length + 1 : 2 + bytes.readUInt16BE()
  if (end > length) throw storageError('corrupt', dir, 'a record of the checkpoint is damaged')
  return end
}

/** An iterator over the texts of a generation's records, in key order. */
function textsOf(db: Db, generation: number) {
  return db.values<Buffer, string>({
    ...rangeOf(generation),
    valueEncoding: 'utf8',
    highWaterMarkBytes: chunkBytes,
    fillCache: false,
  })
}

function rangeOf(generation: number): { gte: Buffer; lt: Buffer } {
  return { gte: Buffer.of(generation), lt: Buffer.of(generation + 1) }
}

function otherGeneration(generation: number): number {
  return generation === generations[0] ? generations[1] : generations[0]
}

/** The meta record; undefined if there never was a checkpoint. */
async function readMeta(db: Db, dir: string): Promise<MetaRecord | undefined> {
  const value = await db.get(metaKey)
  if (value === undefined) {
    const unfinished = (await db.get(dropKey))?.[0]
    for (const generation of generations) {
      if (generation === unfinished) continue
      const keys = await db.keys({ ...rangeOf(generation), limit: 1 }).all()
      if (keys.length > 0)
        throw storageError('corrupt', dir, 'the checkpoint has records, but its head is missing')
    }
    return undefined
  }
  const record = decodeMeta(value)
  if (record === undefined || !generations.some((known) => known === record.generation)) {
    throw storageError('corrupt', dir, 'the head of the checkpoint is damaged')
  }
  return record
}

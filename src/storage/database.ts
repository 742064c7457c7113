// A LevelDB directory whose failures are StorageErrors: what log and checkpoint have in common. The first failed write
// poisons it: LevelDB would write on behind a torn record, and drop at the next start what it had acknowledged there.
// It knows nothing of what is stored.
import { join } from 'node:path'
import { Level } from 'level'
import { assert, InvariantError } from '../base/assert.ts'
import { storageError, toStorageError } from './errors.ts'
import { isThere } from './files.ts'
import { probeKey } from './records.ts'
import { verifyTables } from './tables.ts'
import type { StorageError } from './types.ts'

/** A LevelDB handle with bytes as keys and values, and the methods that `level` has on disk only. */
export type Db = Level<Buffer, Buffer> & {
  approximateSize(start: Buffer, end: Buffer): Promise<number>
  compactRange(start: Buffer, end: Buffer): Promise<void>
}

/** LevelDB's options that differ between the two databases (bytes). */
export type DbOptions = {
  readonly writeBufferSize: number
  readonly cacheSize: number
  readonly maxFileSize: number
}

/** An iterator hands out about this much at a time: LevelDB's own 16 KiB cost twice the time. */
export const chunkBytes = 1 << 20

// More than the largest request (jute.maxbuffer, 1 MiB): a disk that takes less is not worth returning to work for.
const probeBytes = 2 << 20

/** An open LevelDB directory, its order of writes and its failed state. */
export class Database {
  readonly dir: string
  readonly #options: DbOptions
  #db: Db
  #failure: StorageError | undefined
  #closed = false
  /** A write is under way; the next one waits for it, since LevelDB itself may reorder concurrent writes. */
  #writing = false
  #waiting: (() => void)[] = []

  private constructor(dir: string, options: DbOptions, db: Db) {
    this.dir = dir
    this.#options = options
    this.#db = db
  }

  /**
   * Opens directory `dir`, and creates a database in it only with `create`: LevelDB would take a directory without its
   * CURRENT file for a new one and delete the rest.
   */
  static async open(dir: string, options: DbOptions, create: boolean): Promise<Database> {
    if (!create && !(await isThere(join(dir, 'CURRENT')))) {
      throw storageError('corrupt', dir, 'there is no database in this directory, but there should be one')
    }
    if (await isThere(dir)) await verifyTables(dir)
    return new Database(dir, options, await openLevel(dir, options, create))
  }

  /** Why writes are refused; undefined while they are not. */
  get failure(): StorageError | undefined {
    return this.#failure
  }

  /** The handle, for reads and for building batches. Changes with `reopen`; throws StorageError when that has failed. */
  get db(): Db {
    assert(!this.#closed, `${this.dir} is closed`)
    if (this.#failure !== undefined && this.#db.status !== 'open') throw this.#failure
    return this.#db
  }

  /**
   * Runs a write when all before it are done: within the call if there is none, so that the disk works while the caller goes
   * on. Rejects with the failure if there is one; becomes failed if it rejects.
   */
  write(doing: string, work: (db: Db) => Promise<void>): Promise<void> {
    return this.inOrder(async () => {
      if (this.#failure !== undefined) throw this.#failure
      await this.guard(doing, () => work(this.db))
    })
  }

  /** Runs `work` when all writes before it are done, within the call if there is none, and lets no other begin. */
  async inOrder<T>(work: () => Promise<T>): Promise<T> {
    if (this.#writing) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    this.#writing = true
    try {
      return await work()
    } finally {
      const next = this.#waiting.shift()
      if (next === undefined) this.#writing = false
      else next()
    }
  }

  /** Runs a write out of order; the store becomes failed if it rejects. */
  async guard(doing: string, work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      if (error instanceof InvariantError) throw error
      this.#failure ??= toStorageError(error, this.dir, doing)
      throw this.#failure
    }
  }

  /** Runs a read; what it throws becomes a StorageError. */
  async read<T>(doing: string, work: (db: Db) => Promise<T>): Promise<T> {
    try {
      return await work(this.db)
    } catch (error) {
      if (error instanceof InvariantError) throw error
      throw toStorageError(error, this.dir, doing)
    }
  }

  /**
   * After a failure: closes, opens again, lets `recover` read and check what is there, and sees that a synced write of
   * some size works. The store is failed until all of that has succeeded.
   */
  reopen(recover: (db: Db) => Promise<void>): Promise<void> {
    return this.inOrder(async () => {
      if (this.#failure === undefined) return
      try {
        await this.#db.close()
        this.#db = await openLevel(this.dir, this.#options, false)
        await recover(this.#db)
        await this.#db.put(probeKey, Buffer.alloc(probeBytes, 'probe'), { sync: true })
        await this.#db.del(probeKey, { sync: true })
      } catch (error) {
        if (error instanceof InvariantError) throw error
        this.#failure = toStorageError(error, this.dir, 'opening the database again')
        throw this.#failure
      }
      this.#failure = undefined
    })
  }

  /** Waits for the writes under way, then closes. Never rejects: there is nothing left to do about it. */
  async close(): Promise<void> {
    await this.inOrder(async () => {
      this.#closed = true
      await this.#db.close().catch(() => {})
    })
  }
}

async function openLevel(dir: string, options: DbOptions, createIfMissing: boolean): Promise<Db> {
  const encodings = { keyEncoding: 'buffer', valueEncoding: 'buffer' } as const
  const db = new Level<Buffer, Buffer>(dir, { ...encodings, createIfMissing, ...options })
  assert(isOnDisk(db), 'this build of level has no LevelDB on disk')
  try {
    await db.open()
    return db
  } catch (error) {
    throw toStorageError(error, dir, 'opening the database')
  }
}

function isOnDisk(db: Level<Buffer, Buffer>): db is Db {
  return 'approximateSize' in db && 'compactRange' in db
}

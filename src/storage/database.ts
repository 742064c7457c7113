// LevelDB directories, opened after a check, whose failures are StorageErrors. It knows nothing of what is stored.
import { join } from 'node:path'
import type { Level } from 'level'
import { assert } from '../base/assert.ts'
import { storageError, toStorageError } from './errors.ts'
import { isThere, probeRoom } from './files.ts'
import { verifyTables } from './tables.ts'
import type { StorageError } from './types.ts'
import { WriteGate } from './write-gate.ts'

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
  /** Of the blocks of a table, which are read as a whole; 4 KiB by default. */
  readonly blockSize?: number
  /** false: without Snappy, which is on by default. */
  readonly compression?: boolean
}

/**
 * An iterator hands out about this much at a time: LevelDB's own 16 KiB cost twice the time, and of more the threads that
 * read keep the memory.
 */
export const chunkBytes = 256 << 10

/**
 * LevelDB maps each table that is read into memory, and keeps it so until the database is closed. So much of it may stay; where
 * a start reads more of the log, that is closed and opened again.
 */
export const mappedBytesMax = 4 << 20

/** A LevelDB directory, its order of writes and its failed state. */
export class Database {
  readonly dir: string
  readonly #options: DbOptions
  readonly #gate: WriteGate
  /** Undefined before it is opened. */
  #db: Db | undefined
  #closed = false

  private constructor(dir: string, options: DbOptions, db: Db | undefined) {
    this.dir = dir
    this.#options = options
    this.#gate = new WriteGate(dir)
    this.#db = db
  }

  /** Opens directory `dir`, and creates a database in it only with `create`; see openDirectory. */
  static async open(dir: string, options: DbOptions, create: boolean): Promise<Database> {
    return new Database(dir, options, await openDirectory(dir, options, create))
  }

  /** The database in directory `dir`, not open yet: its files can be read (scan.ts). Rejects with StorageError if there is none. */
  static async at(dir: string, options: DbOptions): Promise<Database> {
    await checkIsThere(dir)
    return new Database(dir, options, undefined)
  }

  get isOpen(): boolean {
    return this.#db !== undefined
  }

  /** Opens what is not open yet, after its tables were checked. Rejects with StorageError. */
  async openChecked(): Promise<void> {
    assert(!this.isOpen && !this.#closed, `${this.dir} is opened twice, or after its end`)
    const db = await openLevel(this.dir, this.#options, false)
    if (this.#closed) await db.close()
    else this.#db = db
  }

  /** Why writes are refused; undefined while they are not. */
  get failure(): StorageError | undefined {
    return this.#gate.failure
  }

  /** The handle, for reads and for building batches. Changes with `reopen`; throws StorageError when that has failed. */
  get db(): Db {
    assert(!this.#closed, `${this.dir} is closed`)
    assert(this.#db !== undefined, `${this.dir} is used before it is open`)
    if (this.failure !== undefined && this.#db.status !== 'open') throw this.failure
    return this.#db
  }

  /** As of WriteGate. */
  write(doing: string, work: (db: Db) => Promise<void>): Promise<void> {
    return this.#gate.write(doing, () => work(this.db))
  }

  /** As of WriteGate. */
  guard(doing: string, work: () => Promise<void>): Promise<void> {
    return this.#gate.guard(doing, work)
  }

  /** As of WriteGate. */
  read<T>(doing: string, work: (db: Db) => Promise<T>): Promise<T> {
    return this.#gate.read(doing, async () => await work(this.db))
  }

  /**
   * After a failure: closes, opens again, lets `recover` read and check what is there, and sees that a synced write of
   * some size works. The store is failed until all of that has succeeded.
   */
  reopen(recover: (db: Db) => Promise<void>): Promise<void> {
    return this.#gate.reopen(async () => {
      await this.#db?.close()
      this.#db = await openLevel(this.dir, this.#options, false)
      await recover(this.#db)
      await probeRoom(this.dir)
    })
  }

  /** Waits for the writes under way, then closes. Never rejects: there is nothing left to do about it. */
  async close(): Promise<void> {
    await this.#gate.inOrder(async () => {
      this.#closed = true
      await this.#db?.close().catch(() => {})
    })
  }
}

/**
 * Opens the LevelDB directory `dir` after checking its tables, and creates it only with `create`: LevelDB would take a
 * directory without its CURRENT file for a new one and delete the rest.
 */
export async function openDirectory(dir: string, options: DbOptions, create: boolean): Promise<Db> {
  if (!create) await checkIsThere(dir)
  if (await isThere(dir)) await verifyTables(dir)
  return await openLevel(dir, options, create)
}

async function checkIsThere(dir: string): Promise<void> {
  if (await isThere(join(dir, 'CURRENT'))) return
  throw storageError('corrupt', dir, 'there is no database in this directory, but there should be one')
}

async function openLevel(dir: string, options: DbOptions, createIfMissing: boolean): Promise<Db> {
  const encodings = { keyEncoding: 'buffer', valueEncoding: 'buffer' } as const
  // Native code, which only a server needs.
  const { Level } = await import('level')
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

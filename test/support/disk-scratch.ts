// Directories and storages that a test uses and that are gone when it ends.
import assert from 'node:assert/strict'
import { accessSync, constants, statfsSync } from 'node:fs'
import { cp, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { Database } from '../../src/storage/database.ts'
import { type OpenStorageOptions, openStorage } from '../../src/storage/open.ts'
import {
  type CheckpointMeta,
  type Storage,
  StorageError,
  type StorageErrorKind,
} from '../../src/storage/types.ts'

const cleanups = new Map<string, () => Promise<unknown>>()
const opened = new WeakMap<TestContext, Storage[]>()
/** More than files can go away while a copy is made; a directory that is not there is told of. */
const copyAttempts = 20

/** A file system in memory, which most Linux systems have. */
const memoryMount = '/dev/shm'
/** So much must be free there: the tests of a file use a tenth of it at a time. */
const memoryFree = 1 << 30

/**
 * Where tests that only look at what is in files, and make thousands of them, are done sooner than on a disk: in memory if there is
 * such a place, else where all others have theirs.
 */
export function manyFilesDir(): string {
  try {
    accessSync(memoryMount, constants.W_OK)
    const { bavail, bsize } = statfsSync(memoryMount)
    return bavail * bsize >= memoryFree ? memoryMount : tmpdir()
  } catch {
    return tmpdir()
  }
}

/**
 * A new empty directory, in `parent` (the system's for temporary files); when the test ends, what `closeAtEnd` was given is closed and
 * the directory removed.
 */
export async function scratchDir(t: TestContext, parent = tmpdir()): Promise<string> {
  const dir = await mkdtemp(join(parent, 'zabd-storage-'))
  t.after(async () => {
    try {
      for (const storage of opened.get(t) ?? []) await storage.close()
    } finally {
      opened.delete(t)
      await cleanups.get(dir)?.()
      cleanups.delete(dir)
      await rm(dir, { recursive: true, force: true })
    }
  })
  return dir
}

/** Does `work` after what was opened in `dir` is closed, and before `dir` is removed. */
export function beforeRemoval(dir: string, work: () => Promise<unknown>): void {
  cleanups.set(dir, work)
}

/** Closes the storage when the test ends, before its directory is removed. */
export function closeAtEnd(t: TestContext, storage: Storage): Storage {
  opened.set(t, [...(opened.get(t) ?? []), storage])
  return storage
}

/** Opens the storage in `dir` (for data and log), loads its checkpoint and closes it when the test ends. */
export async function openIn(
  t: TestContext,
  dir: string,
  options: Partial<OpenStorageOptions> = {},
): Promise<Storage> {
  const storage = closeAtEnd(t, await openStorage({ dataDir: dir, logDir: dir, ...options }))
  await storage.checkpoint.load(() => {})
  return storage
}

/** A copy of a data directory as it is now. LevelDB may delete a file while that is made: then it is made again. */
export async function copyOf(t: TestContext, dir: string): Promise<string> {
  for (let attempt = 1; ; attempt++) {
    const copy = await scratchDir(t)
    try {
      await cp(dir, copy, { recursive: true })
      return copy
    } catch (error) {
      const isGone = error instanceof Error && 'code' in error && error.code === 'ENOENT'
      if (!isGone || attempt === copyAttempts) throw error
    }
  }
}

/** The meta of a checkpoint at `zxid`. */
export function metaAt(zxid: number, state: unknown = null): CheckpointMeta {
  return { zxid, nodes: 0, digestHigh: 0, digestLow: 0, state }
}

/** Bytes of a file up to the zeros at its end, which a write-ahead file has. */
export async function writtenBytes(path: string): Promise<number> {
  const bytes = await readFile(path)
  let end = bytes.length
  while (end > 0 && bytes[end - 1] === 0) end--
  return end
}

/** Does `work` in a database that nobody has open. */
export async function inDatabase(dir: string, work: (database: Database) => Promise<void>): Promise<void> {
  const database = await Database.open(dir, { writeBufferSize: 4e6, cacheSize: 1e6, maxFileSize: 4e6 }, false)
  await work(database)
  await database.close()
}

/** Commits a checkpoint at `zxid` without any change of records. */
export async function checkpointAt({ checkpoint }: Storage, zxid: number): Promise<void> {
  checkpoint.begin()
  await checkpoint.commit(metaAt(zxid))
}

/** Asserts that `promise` rejects with a StorageError of that kind, and returns it. */
export async function rejectsWith(promise: Promise<unknown>, kind: StorageErrorKind): Promise<StorageError> {
  const error = await promise.then(
    () => assert.fail(`nothing was thrown, expected ${kind}`),
    (error: unknown) => error,
  )
  assert.ok(error instanceof StorageError, `${error} is no StorageError`)
  assert.equal(error.kind, kind, error.message)
  assert.ok(error.message.includes(error.path), `"${error.message}" does not name ${error.path}`)
  assert.ok(error.remedy.length > 10)
  return error
}

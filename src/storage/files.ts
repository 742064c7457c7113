// The few things done to files beside LevelDB: durable small files, directory sizes, making names and logs durable.
import { readdirSync, statSync } from 'node:fs'
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'

// More than the largest request (jute.maxbuffer, 1 MiB): a disk that takes less is not worth returning to work for.
const probeBytes = 2 << 20

/**
 * Writes a small file so that after a crash either the old content or the new is there, and it is durable at return. With
 * `mode` it gets these permission bits.
 */
export async function writeFileDurably(path: string, text: string, mode?: number): Promise<void> {
  const temporary = `${path}.new`
  const file = await open(temporary, 'w')
  try {
    if (mode !== undefined) await file.chmod(mode)
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(temporary, path)
  await syncDirectory(dirname(path))
}

/** Makes the names in a directory durable. Does nothing where directories can not be synced (Windows). */
export async function syncDirectory(path: string): Promise<void> {
  if (process.platform === 'win32') return
  await syncPath(path)
}

/** Creates a directory, and those above it, durably. */
export async function makeDirectory(path: string): Promise<void> {
  const first = await mkdir(path, { recursive: true })
  if (first === undefined) return
  for (let at = path; at.length >= first.length; at = dirname(at)) await syncDirectory(dirname(at))
}

/**
 * Sees whether the disk of `path` takes a synced write of some size, in a file beside it that is gone afterwards. Rejects
 * with the system's error.
 */
export async function probeRoom(path: string): Promise<void> {
  const probe = `${path}.probe`
  try {
    const file = await open(probe, 'w')
    try {
      await file.writeFile(Buffer.alloc(probeBytes, 'probe'))
      await file.sync()
    } finally {
      await file.close()
    }
  } finally {
    await rm(probe, { force: true })
  }
}

/** Makes every write-ahead file of a LevelDB directory durable; for a database that is written without sync. */
export async function syncLevelLogs(dir: string): Promise<void> {
  for (const name of await readdir(dir)) {
    if (name.endsWith('.log')) await ignoreMissing(syncPath(join(dir, name)))
  }
  await syncDirectory(dir)
}

/** Bytes of all files below `path`, 0 if it is not there. A file that goes away meanwhile counts nothing. */
export async function bytesBelow(path: string): Promise<number> {
  const info = await ignoreMissing(stat(path))
  if (info === undefined) return 0
  if (!info.isDirectory()) return info.size
  let bytes = 0
  for (const name of (await ignoreMissing(readdir(path))) ?? []) bytes += await bytesBelow(join(path, name))
  return bytes
}

/** Bytes of the files in a directory of LevelDB's, read at once: what a start must know, which a promise for each holds up. */
export function bytesIn(dir: string): number {
  let bytes = 0
  for (const name of readdirSync(dir))
    bytes += statSync(join(dir, name), { throwIfNoEntry: false })?.size ?? 0
  return bytes
}

/** Whether something is at `path`. */
export async function isThere(path: string): Promise<boolean> {
  return (await ignoreMissing(stat(path))) !== undefined
}

/** The value of `promise`, or undefined if it failed because a file is not there. */
export async function ignoreMissing<T>(promise: Promise<T>): Promise<T | undefined> {
  try {
    return await promise
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
}

async function syncPath(path: string): Promise<void> {
  const file = await open(path, 'r')
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}

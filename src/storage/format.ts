// The small files beside the databases: `format` says whose data this is and how it is written, `log.mark` what the log
// held for certain. And the layout of the directories. Nothing here reads or writes a database.
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { storageError } from './errors.ts'
import { ignoreMissing, isThere, writeFileDurably } from './files.ts'

/**
 * The format that this code writes and the newest it can read. 2 added votings, the records of where entries end, and
 * `diverged`; data of format 1 has none of these and becomes 2 when it is opened.
 */
export const formatVersion = 2

/** Where things are. Both roots may be the same directory. */
export type Layout = {
  readonly dataRoot: string
  readonly logRoot: string
  readonly formatFile: string
  readonly checkpointDir: string
  readonly logDir: string
  readonly markFile: string
}

/** The layout below an operator's dataDir and dataLogDir. */
export function layoutOf(dataDir: string, logDir: string): Layout {
  const dataRoot = join(dataDir, 'zabd')
  const logRoot = join(logDir, 'zabd')
  return {
    dataRoot,
    logRoot,
    formatFile: join(dataRoot, 'format'),
    checkpointDir: join(dataRoot, 'checkpoint'),
    logDir: join(logRoot, 'log'),
    markFile: join(logRoot, 'log.mark'),
  }
}

/** The content of the `format` file. */
export type Format = {
  readonly format: number
  /** ISO 8601. */
  readonly created: string
  /** Random; also in the log's database, so that a log of other data is refused. */
  readonly dataId: string
  /** Release that created the data. */
  readonly zabd: string
}

/** Reads the `format` file; undefined if there is none. Throws StorageError (format, corrupt). */
export async function readFormat(path: string): Promise<Format | undefined> {
  const text = await ignoreMissing(readFile(path, 'utf8'))
  if (text === undefined) return undefined
  const { format, created, dataId, zabd } = parseObject(text) ?? {}
  if (typeof format !== 'number') throw storageError('corrupt', path, 'this file is damaged')
  if (format > formatVersion) {
    throw storageError(
      'format',
      path,
      `data format ${format} is newer than ${formatVersion}, the newest known here`,
    )
  }
  if (
    typeof created !== 'string' ||
    typeof dataId !== 'string' ||
    typeof zabd !== 'string' ||
    dataId === ''
  ) {
    throw storageError('corrupt', path, 'this file is damaged')
  }
  return { format, created, dataId, zabd }
}

/** Writes the `format` file. */
export async function writeFormat(path: string, format: Format): Promise<void> {
  await writeFileDurably(path, `${JSON.stringify(format, null, 2)}\n`)
}

/**
 * What the log held at a moment. It is kept outside of the database because a cut-off end of the database takes
 * everything with it that would tell of the cut.
 */
export type Mark = {
  readonly dataId: string
  /** Written at a clean close, nothing was written since: the log must be exactly this. Else it must have at least this. */
  readonly clean: boolean
  readonly lastZxid: number
  /** Revision of the log's state record. */
  readonly revision: number
}

/** Writes `log.mark`: a line of JSON, a line with the CRC-32 of the first. */
export async function writeMark(path: string, mark: Mark): Promise<void> {
  const line = JSON.stringify(mark)
  await writeFileDurably(path, `${line}\n${crc32(line)}\n`)
}

/** Reads `log.mark`. Throws StorageError (corrupt) if it is missing or damaged. */
export async function readMark(path: string): Promise<Mark> {
  const text = await ignoreMissing(readFile(path, 'utf8'))
  if (text === undefined) throw storageError('corrupt', path, 'this file is missing')
  const [line = '', sum] = text.split('\n')
  const { dataId, clean, lastZxid, revision } = parseObject(line) ?? {}
  const intact = text === `${line}\n${crc32(line)}\n` && sum !== undefined
  if (!intact || typeof dataId !== 'string' || typeof clean !== 'boolean') {
    throw storageError('corrupt', path, 'this file is damaged')
  }
  if (typeof lastZxid !== 'number' || typeof revision !== 'number') {
    throw storageError('corrupt', path, 'this file is damaged')
  }
  return { dataId, clean, lastZxid, revision }
}

/**
 * The `version-2` directories of Apache ZooKeeper below the given directories, so that the server can say that it does not
 * use them. They are never written.
 */
export async function findApacheData(dataDir: string, logDir: string): Promise<string[]> {
  const found: string[] = []
  for (const dir of new Set([dataDir, logDir])) {
    const path = join(dir, 'version-2')
    if (await isThere(path)) found.push(path)
  }
  return found
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return isRecord(value) ? value : undefined
  } catch {
    return undefined
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

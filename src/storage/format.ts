// The file `format` beside the databases, which says whose data this is and how it is written; and the layout of the
// directories. Nothing here reads or writes a database.
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { storageError } from './errors.ts'
import { ignoreMissing, isThere, writeFileDurably } from './files.ts'

/** The format that this code writes and reads. Those before it were in no release. */
export const formatVersion = 3

/** Where things are. Both roots may be the same directory. */
export type Layout = {
  readonly dataRoot: string
  readonly logRoot: string
  readonly formatFile: string
  readonly checkpointDir: string
  readonly logDir: string
  readonly logStateFile: string
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
    logStateFile: join(logRoot, 'log.state'),
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
  if (format !== formatVersion) {
    throw storageError('format', path, `the data has format ${format}, this release reads ${formatVersion}`)
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

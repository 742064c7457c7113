// Reads the records of a LevelDB database that nobody has open, in one pass over its files: each block is checked and its
// records are handed out from where they were read. LevelDB itself could be asked for them only after the same blocks were
// checked, and would then read them a second time, copy each value, and keep the files mapped.
//
// The files hold versions of records, of which the newest counts, or says that the record is deleted. So they are merged as
// LevelDB does it, which is little work: of tables whose keys do not overlap one is read at a time.
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate as othersTurn } from 'node:timers/promises'
import { ByteCursor, Damage } from './byte-cursor.ts'
import { storageError, toStorageError } from './errors.ts'
import { keyTailBytes, liveFiles, logRecords, type TableFile } from './manifest.ts'
import { blocksOf, entriesIn } from './tables.ts'

/** Of a record's version: it has a value, or says that there is none any more. */
const valueTag = 1
const batchHeaderBytes = 12
/** Others have a turn after so many bytes, a millisecond's work: the log is being opened meanwhile, in many steps. */
const turnBytes = 256 << 10

/** A version of a record; of two with the same key that with the higher sequence number is newer. */
type Version = { readonly key: Buffer; readonly sequence: number; readonly value: Buffer | undefined }

/** Versions in LevelDB's order: by key, the newest first. */
type Source = {
  /** The present one, whose value is valid until the next is taken from `rest`. */
  at: Version
  readonly rest: Iterator<Version, void, void>
}

/** A database's files, and what the write-ahead files have, in order. */
export type Scannable = {
  readonly dir: string
  readonly tables: readonly TableFile[]
  readonly logged: readonly Version[]
}

/**
 * The database in `dir`, to be scanned before anybody opens it. Rejects with StorageError. A write-ahead file counts up to
 * the first damage, which may be its torn end: LevelDB, which goes on behind it, may then know of records that are not
 * seen here.
 */
export async function scannable(dir: string): Promise<Scannable> {
  try {
    const files = await liveFiles(dir)
    if (files === undefined)
      throw storageError('corrupt', dir, 'the manifest of the database can not be read')
    const [missing] = files.missing
    if (missing !== undefined)
      throw storageError('corrupt', join(dir, missing), 'a table of the database is missing')
    const tables = [...files.tables].sort((a, b) => Buffer.compare(a.smallest, b.smallest))
    return { dir, tables, logged: await versionsIn(dir, files.logs) }
  } catch (error) {
    throw toStorageError(error, dir, 'reading the database')
  }
}

/**
 * Calls `each` with every record, in the order of their keys, or with the one under the key `only`; the bytes are valid
 * during the call. Without `only` every block of every table is checked. Rejects with StorageError, which names the
 * table that is damaged, or with what `each` throws.
 */
export async function scan(
  { dir, tables, logged }: Scannable,
  each: (key: Buffer, value: Buffer) => void,
  only?: Buffer,
): Promise<void> {
  const from = only ?? noBytes
  const isAhead = ({ smallest, largest }: TableFile) =>
    Buffer.compare(largest, from) >= 0 && (only === undefined || Buffer.compare(smallest, only) <= 0)
  const ahead = tables.filter(isAhead).values()
  const sources = new Set<Source>()
  const begin = (rest: Iterator<Version, void, void>) => {
    const at = rest.next().value
    if (at !== undefined) sources.add({ at, rest })
  }
  begin(logged.values())
  let table = ahead.next().value
  try {
    let done: Buffer | undefined
    let handedOut = 0
    for (;;) {
      const least = leastOf(sources)
      // A table is opened when its turn has come.
      if (table !== undefined && (least === undefined || Buffer.compare(table.smallest, least.at.key) <= 0)) {
        begin(versionsOf(blocksOf(join(dir, table.name), from)))
        table = ahead.next().value
        continue
      }
      if (least === undefined || (only !== undefined && Buffer.compare(least.at.key, only) > 0)) return
      const { key, value } = least.at
      const isNewest = done === undefined || !key.equals(done)
      done = key
      if (isNewest && value !== undefined && Buffer.compare(key, from) >= 0) {
        each(key, value)
        handedOut += value.length
        if (handedOut >= turnBytes) {
          handedOut = 0
          await othersTurn()
        }
      }
      const next = least.rest.next().value
      if (next === undefined) sources.delete(least)
      else least.at = next
    }
  } finally {
    for (const { rest } of sources) rest.return?.()
  }
}

/** Where the version is from that comes first. */
function leastOf(sources: Iterable<Source>): Source | undefined {
  let least: Source | undefined
  for (const source of sources) if (least === undefined || compare(source.at, least.at) < 0) least = source
  return least
}

function compare(a: Version, b: Version): number {
  return Buffer.compare(a.key, b.key) || b.sequence - a.sequence
}

/** The versions in a table's blocks. */
function* versionsOf(blocks: Iterable<Buffer>): Generator<Version, void, void> {
  for (const block of blocks) {
    for (const [internal, value] of entriesIn(block)) {
      const end = internal.length - keyTailBytes
      // Seven bytes of sequence number above the tag.
      const sequence = internal.readUIntLE(end + 1, 6) + (internal[end + 7] as number) * 2 ** 48
      yield {
        key: internal.subarray(0, end),
        sequence,
        value: internal[end] === valueTag ? value : undefined,
      }
    }
  }
}

/** The newest version of each record in the write-ahead files, in order. */
async function versionsIn(dir: string, logs: readonly string[]): Promise<Version[]> {
  const newest = new Map<string, Logged>()
  for (const name of logs) {
    const file = await readFile(join(dir, name))
    try {
      for (const batch of logRecords(file)) takeBatch(batch, newest)
    } catch (error) {
      if (!(error instanceof Damage)) throw error
      break
    }
  }
  const versions = [...newest].map(([key, { batch, sequence, start, end }]): Version => {
    return {
      key: Buffer.from(key, 'latin1'),
      sequence,
      value: start === noValue ? undefined : batch.subarray(start, end),
    }
  })
  return versions.sort(compare)
}

/** Where a version's value is in a WriteBatch. */
type Logged = {
  readonly batch: Buffer
  readonly sequence: number
  readonly start: number
  readonly end: number
}

/** Adds the versions of a LevelDB WriteBatch: sequence number of the first, their number, then each with its tag. */
function takeBatch(batch: Buffer, newest: Map<string, Logged>): void {
  if (batch.length < batchHeaderBytes) throw new Damage('a batch is too short')
  const first = batch.readUIntLE(0, 6) + batch.readUInt16LE(6) * 2 ** 48
  const cursor = new ByteCursor(batch, batchHeaderBytes)
  let count = 0
  while (cursor.pos < batch.length) {
    const tag = cursor.varint()
    if (tag > valueTag) throw new Damage('a batch has an unknown entry')
    const keyAt = cursor.skipText()
    const key = batch.toString('latin1', keyAt, cursor.pos)
    const start = tag === valueTag ? cursor.skipText() : noValue
    newest.set(key, { batch, sequence: first + count, start, end: cursor.pos })
    count++
  }
  if (count !== batch.readUInt32LE(8)) throw new Damage('a batch has another number of entries than it says')
}

/** In place of where a deleted record's value begins. */
const noValue = -1
const noBytes = Buffer.alloc(0)

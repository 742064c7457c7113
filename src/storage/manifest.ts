// Which files a LevelDB database consists of, read without LevelDB: the tables and write-ahead files that its manifest
// names. Formats: LevelDB's doc/log_format.md and doc/impl.md; a change of the set of files is its VersionEdit.
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ByteCursor, Damage } from './byte-cursor.ts'
import { maskedCrc32c } from './crc32c.ts'

const logBlock = 32 << 10
const pieceHeader = 7
const checkBytes = 4
const fullPiece = 1
const firstPiece = 2
const middlePiece = 3
const lastPiece = 4
const editTag = {
  comparator: 1,
  logNumber: 2,
  nextFile: 3,
  lastSequence: 4,
  compactPointer: 5,
  deletedFile: 6,
  newFile: 7,
  previousLog: 9,
} as const

/** A key in a table ends with what LevelDB adds to it. */
export const keyTailBytes = 8

/** A table, and the keys between which all of its are. */
export type TableFile = { readonly name: string; readonly smallest: Buffer; readonly largest: Buffer }

/** Names of files below a database's directory. */
export type LiveFiles = {
  readonly tables: readonly TableFile[]
  /** Tables that should be there and are not. */
  readonly missing: readonly string[]
  /** What is in no table yet, oldest first. */
  readonly logs: readonly string[]
}

type Manifest = {
  readonly tables: Map<number, { readonly smallest: Buffer; readonly largest: Buffer }>
  logNumber: number
  previousLog: number
}

/** The files of the database in `dir`. Undefined if its manifest can not be read: of that LevelDB tells when it opens. */
export async function liveFiles(dir: string): Promise<LiveFiles | undefined> {
  const manifest: Manifest = { tables: new Map(), logNumber: 0, previousLog: 0 }
  try {
    const name = (await readFile(join(dir, 'CURRENT'), 'latin1')).trim()
    for (const edit of logRecords(await readFile(join(dir, name)))) applyEdit(edit, manifest)
  } catch (error) {
    if (error instanceof Damage || (error instanceof Error && 'code' in error)) return undefined
    throw error
  }
  const tableNames = new Map<number, string>()
  const logNames = new Map<number, string>()
  for (const name of await readdir(dir)) {
    const [, digits, kind] = /^(\d+)\.(ldb|sst|log)$/.exec(name) ?? []
    if (digits !== undefined) (kind === 'log' ? logNames : tableNames).set(Number(digits), name)
  }
  const { logNumber, previousLog } = manifest
  const tables: TableFile[] = []
  const missing: string[] = []
  for (const [number, range] of manifest.tables) {
    const name = tableNames.get(number)
    if (name === undefined) missing.push(`${String(number).padStart(6, '0')}.ldb`)
    else tables.push({ name, ...range })
  }
  const logs = [...logNames]
    .filter(([number]) => number >= logNumber || number === previousLog)
    .sort(([a], [b]) => a - b)
    .map(([, name]) => name)
  return { tables, missing, logs }
}

/**
 * The records of a file in LevelDB's log format: pieces in blocks of 32 KiB, each with checksum, length and type. Ends where
 * the file was cut off, or at zeros. Throws Damage at anything else that was not written so.
 */
export function* logRecords(file: Buffer): Generator<Buffer> {
  let pieces: Buffer[] = []
  for (let at = 0; at + pieceHeader <= file.length; ) {
    const left = logBlock - (at % logBlock)
    if (left < pieceHeader) {
      at += left
      continue
    }
    const length = file.readUInt16LE(at + checkBytes)
    const type = file[at + checkBytes + 2] as number
    if (type === 0 && length === 0) return
    const start = at + pieceHeader
    const end = start + length
    if (end > file.length) return
    if (length > left - pieceHeader) throw new Damage(`a piece at ${at} goes beyond its block`)
    if (file.readUInt32LE(at) !== maskedCrc32c(file, start - 1, end))
      throw new Damage(`the piece at ${at} does not match its checksum`)
    const begins = type === fullPiece || type === firstPiece
    if (begins !== (pieces.length === 0) || type > lastPiece)
      throw new Damage(`the piece at ${at} does not follow the one before it`)
    pieces.push(file.subarray(start, end))
    at = end
    if (type === firstPiece || type === middlePiece) continue
    yield pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces)
    pieces = []
  }
}

/** Takes in one change of the set of files. */
function applyEdit(edit: Buffer, manifest: Manifest): void {
  const cursor = new ByteCursor(edit, 0)
  while (cursor.pos < edit.length) {
    const tag = cursor.varint()
    switch (tag) {
      case editTag.comparator:
        cursor.slice()
        break
      case editTag.logNumber:
        manifest.logNumber = cursor.varint()
        break
      case editTag.previousLog:
        manifest.previousLog = cursor.varint()
        break
      case editTag.nextFile:
      case editTag.lastSequence:
        cursor.varint()
        break
      case editTag.compactPointer:
        cursor.varint()
        cursor.slice()
        break
      case editTag.deletedFile:
        cursor.varint()
        manifest.tables.delete(cursor.varint())
        break
      case editTag.newFile: {
        cursor.varint()
        const number = cursor.varint()
        cursor.varint()
        manifest.tables.set(number, { smallest: keyIn(cursor), largest: keyIn(cursor) })
        break
      }
      default:
        throw new Damage(`the manifest has an unknown entry ${tag}`)
    }
  }
}

function keyIn(cursor: ByteCursor): Buffer {
  const key = cursor.slice()
  if (key.length < keyTailBytes) throw new Damage('a key in the manifest is too short')
  return key.subarray(0, key.length - keyTailBytes)
}

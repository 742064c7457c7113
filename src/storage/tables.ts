// Reads and checks LevelDB's table files (*.ldb) without LevelDB, which verifies the checksums of blocks only where it is
// asked to, which its binding can not do, and ends the process at some kinds of damage. Format:
// LevelDB's doc/table_format.md; a block is followed by its type and a masked CRC-32C over both.
//
// All of it is synchronous: what a start reads is mostly in memory already, and to hand one read to a thread and back
// costs this one more than the copy does.
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate as othersTurn } from 'node:timers/promises'
import { ByteCursor, Damage } from './byte-cursor.ts'
import { checkedBytes, maskedCrc32c, roomsForChecks } from './crc32c.ts'
import { storageError, toStorageError } from './errors.ts'
import { keyTailBytes, liveFiles } from './manifest.ts'
import { uncompress } from './snappy.ts'

/** Blocks are read so many bytes at a time; one that is longer as a whole. */
const partBytes = checkedBytes
/** Read first: the end of a table, which mostly has its index in it. */
const endBytes = 64 << 10
const footerBytes = 48
/** Behind a block: its type and its checksum. */
const trailerBytes = 5
const magic = Buffer.from('57fb808b247547db', 'hex')
const snappy = 1

/** Where a block is in its file; `size` does not count the trailer. */
type Handle = { readonly offset: number; readonly size: number }

/** Some blocks that stand behind each other in the file. */
type Part = { readonly from: number; readonly to: number; readonly handles: readonly Handle[] }

/** Memory for parts, used again and again: hardly ever are more tables read at a time than there are rooms. */
class Rooms {
  #all: readonly Buffer[] = []
  #free: Buffer[] = []

  take(bytes: number): Buffer {
    if (this.#all.length === 0) {
      this.#all = roomsForChecks()
      this.#free = [...this.#all]
    }
    const room = bytes <= partBytes ? this.#free.pop() : undefined
    return room ?? Buffer.allocUnsafeSlow(bytes)
  }

  /** To be called with what was taken, room or not. */
  give(buffer: Buffer): void {
    if (this.#all.includes(buffer)) this.#free.push(buffer)
  }
}

const rooms = new Rooms()

/**
 * Rejects with StorageError, naming the file, if a table that the database in `dir` consists of is damaged. Other tables
 * there, which a crash may have left half written, do not count, and of one that is missing LevelDB tells when it opens.
 * Costs reading the tables once.
 */
export async function verifyTables(dir: string): Promise<void> {
  for (const { name } of (await liveFiles(dir))?.tables ?? []) {
    for (const _ of blocksOf(join(dir, name)));
    await othersTurn()
  }
}

/**
 * The contents of a table's blocks, checked, in the order of their keys; each is valid until the next one. Those whose keys are
 * all below `from` are left out. Throws StorageError.
 */
export function* blocksOf(path: string, from?: Buffer): Generator<Buffer, void, void> {
  let file: number | undefined
  let buffer: Buffer | undefined
  try {
    file = openSync(path, 'r')
    for (const part of partsOf(dataHandles(file, from))) {
      const length = part.to - part.from
      buffer = rooms.take(length)
      const bytes = readAt(file, buffer.subarray(0, length), part.from)
      for (const handle of part.handles) yield content(bytes, part.from, handle)
      rooms.give(buffer)
      buffer = undefined
    }
  } catch (error) {
    if (!(error instanceof Damage)) throw toStorageError(error, path, 'reading a table')
    throw storageError('corrupt', path, `a table of the database is damaged: ${error.message}`, error)
  } finally {
    if (buffer !== undefined) rooms.give(buffer)
    if (file !== undefined) closeSync(file)
  }
}

/** Where a table's blocks are, but those that end before `from`. Checks all that is no data. Throws Damage. */
function dataHandles(file: number, from: Buffer | undefined): Handle[] {
  const { size } = fstatSync(file)
  const endAt = Math.max(size - endBytes, 0)
  const end = readAt(file, Buffer.allocUnsafe(size - endAt), endAt)
  if (end.length < footerBytes || !end.subarray(-magic.length).equals(magic))
    throw new Damage('it has no end')
  const footer = new ByteCursor(end, end.length - footerBytes)
  const meta = handleAt(footer)
  const index = handleAt(footer)
  const read = (handle: Handle) => {
    checkPlace(handle, size)
    const { offset } = handle
    const length = handle.size + trailerBytes
    if (offset >= endAt) return content(end, endAt, handle)
    return content(readAt(file, Buffer.allocUnsafe(length), offset), offset, handle)
  }
  for (const [, handle] of entriesIn(read(meta))) read(handleAt(new ByteCursor(handle, 0)))
  const handles: Handle[] = []
  for (const [key, value] of entriesIn(read(index))) {
    const handle = handleAt(new ByteCursor(value, 0))
    checkPlace(handle, size)
    // The key is at or above the last one of the block, and has LevelDB's tail.
    if (from !== undefined && Buffer.compare(key.subarray(0, key.length - keyTailBytes), from) < 0) continue
    handles.push(handle)
  }
  return handles
}

function checkPlace({ offset, size }: Handle, fileBytes: number): void {
  if (!(offset + size + trailerBytes <= fileBytes - footerBytes))
    throw new Damage(`a block at ${offset} goes beyond the end`)
}

/** Blocks that stand behind each other, in parts of `partBytes` or one block. */
function partsOf(handles: readonly Handle[]): Part[] {
  const parts: { from: number; to: number; handles: Handle[] }[] = []
  for (const handle of handles) {
    const to = handle.offset + handle.size + trailerBytes
    const part = parts.at(-1)
    if (part !== undefined && handle.offset === part.to && to - part.from <= partBytes) {
      part.to = to
      part.handles.push(handle)
    } else {
      parts.push({ from: handle.offset, to, handles: [handle] })
    }
  }
  return parts
}

/** Fills `bytes` with what is in the file from `at` on. Throws Damage if there is less. */
function readAt(file: number, bytes: Buffer, at: number): Buffer {
  for (let filled = 0; filled < bytes.length; ) {
    const bytesRead = readSync(file, bytes, filled, bytes.length - filled, at + filled)
    if (bytesRead === 0) throw new Damage('it ends early')
    filled += bytesRead
  }
  return bytes
}

/** A block's content, checked and uncompressed; `bytes` has the file from `from` on. */
function content(bytes: Buffer, from: number, { offset, size }: Handle): Buffer {
  const start = offset - from
  const end = start + size
  if (bytes.readUInt32LE(end + 1) !== maskedCrc32c(bytes, start, end + 1))
    throw new Damage(`the block at ${offset} does not match its checksum`)
  const block = bytes.subarray(start, end)
  return bytes[end] === snappy ? uncompress(block) : block
}

function handleAt(cursor: ByteCursor): Handle {
  return { offset: cursor.varint(), size: cursor.varint() }
}

/** Keys, with LevelDB's tail, and values of a block, in order; a value is a view of the block. Throws Damage. */
export function* entriesIn(block: Buffer): Generator<readonly [key: Buffer, value: Buffer], void, void> {
  if (block.length < 4) throw new Damage('a block is too short')
  const end = block.length - 4 - 4 * block.readUInt32LE(block.length - 4)
  if (end < 0) throw new Damage('a block is too short')
  const cursor = new ByteCursor(block, 0)
  let key = nothing
  while (cursor.pos < end) {
    const shared = cursor.varint()
    const keyBytes = shared + cursor.varint()
    const valueBytes = cursor.varint()
    const valueAt = cursor.pos + keyBytes - shared
    const next = valueAt + valueBytes
    if (shared > key.length || keyBytes < keyTailBytes || next > end)
      throw new Damage('a block is not well formed')
    const before = key
    key = Buffer.allocUnsafe(keyBytes)
    before.copy(key, 0, 0, shared)
    block.copy(key, shared, cursor.pos, valueAt)
    cursor.pos = next
    yield [key, block.subarray(valueAt, next)]
  }
}

const nothing = Buffer.alloc(0)

// Keeps the write-ahead file of a LevelDB directory longer than what LevelDB has written into it, with zeros, which its
// reader takes for the end: a synced append then changes the data of the file and not its size, and costs the disk one
// write instead of two or three that wait for each other. It never writes where LevelDB has written: the zeros are
// appended to the file (O_APPEND), and LevelDB writes at a position of its own.
import { constants } from 'node:fs'
import { type FileHandle, open, readdir } from 'node:fs/promises'
import { join } from 'node:path'

/**
 * Zeros are written in pieces that last so long, ms, at the speed at which entries come: each piece is synced, and an append
 * that is synced meanwhile waits for it.
 */
const pieceMs = 10
/** Each piece holds up the write that comes meanwhile: lone writes need one of this size every few thousand. */
const pieceBytesMin = 512 << 10
/** A file is left with some zeros at its end that were written in vain. */
const pieceBytesMax = 1 << 20
/** What LevelDB writes beside key and value, about. */
const overheadBytes = 32

const zeros = Buffer.alloc(pieceBytesMax)

/** See file header. For one directory, while its database is open. */
export class WriteAhead {
  readonly #dir: string
  readonly #fileBytes: number
  #name = ''
  #file: FileHandle | undefined
  /** Zeros that LevelDB has not written over yet, about. */
  #ahead = 0
  /** What LevelDB has written into the file, about. */
  #used = 0
  /** Of the zeros that are written next. */
  #pieceBytes = pieceBytesMin
  /** When the newest piece was begun, monotonic ms, and what was appended since. */
  #began = 0
  #appended = 0
  #writing: Promise<void> | undefined
  #closed = false

  /** `fileBytes`: LevelDB begins another file after about so many. */
  constructor(dir: string, fileBytes: number) {
    this.#dir = dir
    this.#fileBytes = fileBytes
  }

  /** So many bytes were appended, in so many records. */
  wrote(bytes: number, records: number): void {
    const written = bytes + records * overheadBytes
    this.#appended += written
    this.#used += written
    this.#ahead -= written
    if (!this.#isLow() && this.#used < this.#fileBytes) return
    if (this.#writing !== undefined || this.#closed) return
    // A failure is LevelDB's to find: it writes to the same disk.
    this.#writing = this.#write()
      .catch(() => {})
      .finally(() => {
        this.#writing = undefined
      })
  }

  /** LevelDB is about to begin another file. */
  fileEnds(): void {
    this.#used = this.#fileBytes
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#writing
    await this.#file?.close()
    this.#file = undefined
  }

  #isLow(): boolean {
    return this.#ahead <= this.#pieceBytes
  }

  async #write(): Promise<void> {
    do {
      await this.#follow()
      if (!this.#isLow()) return
      this.#measure()
      await this.#file?.write(zeros, 0, this.#pieceBytes)
      await this.#file?.datasync()
      this.#ahead = Math.max(this.#ahead, 0) + this.#pieceBytes
    } while (this.#isLow() && !this.#closed)
  }

  /** Opens the newest file, if it is another one than before. */
  async #follow(): Promise<void> {
    const logs = (await readdir(this.#dir)).filter((name) => name.endsWith('.log')).sort()
    const name = logs.at(-1) ?? ''
    if (name === this.#name) return
    this.#name = ''
    await this.#file?.close()
    this.#file = undefined
    this.#file = await open(join(this.#dir, name), constants.O_WRONLY | constants.O_APPEND)
    this.#name = name
    this.#ahead = 0
    this.#used = 0
  }

  /** How much the next piece has to be, going by what was appended since the one before. */
  #measure(): void {
    const now = performance.now()
    const bytes = (this.#appended / (now - this.#began)) * pieceMs
    this.#pieceBytes = Math.min(Math.max(Math.ceil(bytes), pieceBytesMin), pieceBytesMax)
    this.#began = now
    this.#appended = 0
  }
}

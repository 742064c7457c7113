// Keeps the write-ahead file of a LevelDB directory longer than what LevelDB has written into it, with zeros, which its
// reader takes for the end: a synced append then changes the data of the file and not its size, and costs the disk one
// write instead of two or three that wait for each other. It never writes where LevelDB has written: the zeros are
// appended to the file (O_APPEND), and LevelDB writes at a position of its own.
import { constants } from 'node:fs'
import { type FileHandle, open, readdir } from 'node:fs/promises'
import { join } from 'node:path'

/** Written at a time: so little that an append which is synced meanwhile hardly waits for it. */
const pieceBytes = 128 << 10
const piecesAhead = 2
/** What is appended faster, in bytes per ms, has few syncs for its bytes, and zeros would be half of what is written. */
const bytesPerMsMax = 12_000
/** The speed is looked at so often, at most. */
const spanMs = 10
/** What LevelDB writes beside key and value, about. */
const overheadBytes = 32

const zeros = Buffer.alloc(pieceBytes)

/** See file header. For one directory, while its database is open. */
export class WriteAhead {
  readonly #dir: string
  #name = ''
  #file: FileHandle | undefined
  /** Zeros that LevelDB has not written over yet, about. */
  #ahead = 0
  #began = Number.NEGATIVE_INFINITY
  /** Appended since `#began`. */
  #bytes = 0
  #writing: Promise<void> | undefined
  #closed = false

  constructor(dir: string) {
    this.#dir = dir
  }

  /** So many bytes were appended, in so many records. */
  wrote(bytes: number, records: number): void {
    const written = bytes + records * overheadBytes
    this.#bytes += written
    this.#ahead -= written
    if (this.#ahead > pieceBytes || this.#writing !== undefined || this.#closed) return
    const span = performance.now() - this.#began
    if (span < spanMs) return
    const isFast = this.#bytes > span * bytesPerMsMax
    this.#began += span
    this.#bytes = 0
    if (isFast) return
    // A failure is LevelDB's to find: it writes to the same disk.
    this.#writing = this.#write()
      .catch(() => {})
      .finally(() => {
        this.#writing = undefined
      })
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#writing
    await this.#file?.close()
    this.#file = undefined
  }

  async #write(): Promise<void> {
    const logs = (await readdir(this.#dir)).filter((name) => name.endsWith('.log')).sort()
    const name = logs.at(-1) ?? ''
    if (name !== this.#name) {
      this.#name = ''
      await this.#file?.close()
      this.#file = undefined
      this.#file = await open(join(this.#dir, name), constants.O_WRONLY | constants.O_APPEND)
      this.#name = name
      this.#ahead = 0
    }
    while (this.#file !== undefined && this.#ahead <= pieceBytes * (piecesAhead - 1) && !this.#closed) {
      await this.#file.write(zeros)
      await this.#file.datasync()
      this.#ahead = Math.max(this.#ahead, 0) + pieceBytes
    }
  }
}

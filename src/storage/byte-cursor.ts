// Reads the numbers and byte strings that LevelDB's files are made of.

/** A reason why a file is not what was written. */
export class Damage extends Error {}

/** Reads LevelDB's variable-length integers. */
export class ByteCursor {
  readonly #buf: Buffer
  pos: number

  constructor(buf: Buffer, pos: number) {
    this.#buf = buf
    this.pos = pos
  }

  varint(): number {
    let value = 0
    for (let scale = 1; scale < 2 ** 50; scale *= 128) {
      const byte = this.#buf[this.pos++]
      if (byte === undefined) break
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value
    }
    throw new Damage('a number in it can not be read')
  }

  /** Goes beyond as many bytes as the number before them says, and tells where they begin. */
  skipText(): number {
    const length = this.varint()
    const start = this.pos
    if (start + length > this.#buf.length) throw new Damage('it ends early')
    this.pos = start + length
    return start
  }

  /** The bytes that `skipText` goes over. */
  slice(): Buffer {
    return this.#buf.subarray(this.skipText(), this.pos)
  }
}

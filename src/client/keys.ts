// The znodes that a load uses: numbered, their paths made in place. Beyond `fanOut` of them they are spread over
// directories, so that no list of children gets long.

/** Znodes in a directory. */
export const fanOut = 1000
const directoryDigits = 6
const numberDigits = 9
/** So many digits are enough for it. */
export const maxKeys = 10 ** numberDigits

/** Zero-padded decimal digits of `value` at `bytes[at, at + digits)`. */
function writeDigits(bytes: Uint8Array, at: number, digits: number, value: number): void {
  let rest = value
  for (let i = at + digits - 1; i >= at; i--) {
    bytes[i] = 0x30 + (rest % 10)
    rest = Math.trunc(rest / 10)
  }
}

/** Paths that differ in a number only. */
export class NumberedPath {
  readonly #bytes: Buffer
  readonly #at: number

  constructor(prefix: string) {
    this.#bytes = Buffer.from(`${prefix}${'0'.repeat(numberDigits)}`)
    this.#at = this.#bytes.length - numberDigits
  }

  /** The same bytes each time, good until the next call. */
  path(number: number): Buffer {
    writeDigits(this.#bytes, this.#at, numberDigits, number)
    return this.#bytes
  }
}

/** Paths of `count` znodes below `root`: `root/k000000007`, or `root/d000012/k000012345` when there are many. */
export class Keys {
  readonly root: string
  readonly count: number
  readonly #path: NumberedPath
  readonly #directoryAt: number

  constructor(root: string, count: number) {
    this.root = root
    this.count = count
    this.#path = new NumberedPath(this.directories === 0 ? `${root}/k` : `${this.directory(0)}/k`)
    this.#directoryAt = Buffer.byteLength(root) + 2
  }

  /** How many directories they are in; 0: right below the root. */
  get directories(): number {
    return this.count <= fanOut ? 0 : Math.ceil(this.count / fanOut)
  }

  directory(number: number): string {
    return `${this.root}/d${String(number).padStart(directoryDigits, '0')}`
  }

  /** The path of a znode; the same bytes each time, good until the next call. */
  path(number: number): Uint8Array {
    const path = this.#path.path(number)
    if (this.count > fanOut) {
      writeDigits(path, this.#directoryAt, directoryDigits, Math.trunc(number / fanOut))
    }
    return path
  }
}

/** Random numbers for choosing among operations and znodes: fast, and not good for anything else. */
export class Dice {
  #state: number

  constructor(seed: number) {
    this.#state = seed | 0 || 1
  }

  /** A whole number from 0 to `limit` - 1. */
  below(limit: number): number {
    let x = this.#state
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    this.#state = x
    return Math.trunc(((x >>> 0) / 2 ** 32) * limit)
  }
}

/** Bytes that do not compress, the same for the same seed. */
export function noise(length: number, seed: number): Buffer {
  const dice = new Dice(seed)
  const bytes = Buffer.alloc(length)
  for (let i = 0; i < length; i++) bytes[i] = dice.below(256)
  return bytes
}

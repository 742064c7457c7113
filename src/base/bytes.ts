// Whole numbers in bytes, big-endian, a byte at a time: without a view, which would have to be made for each message or entry.

/** Writes 32 bits, of which `value` may be the signed or the unsigned reading. */
export function writeU32(to: Uint8Array, at: number, value: number): void {
  to[at] = value >>> 24
  to[at + 1] = value >>> 16
  to[at + 2] = value >>> 8
  to[at + 3] = value
}

/** Reads 32 bits as an unsigned number; all four bytes must be there. */
export function readU32(from: Uint8Array, at: number): number {
  return ((from[at]! << 24) | (from[at + 1]! << 16) | (from[at + 2]! << 8) | from[at + 3]!) >>> 0
}

// Numbers that are larger than a word, in words. A long is an integer within ±2^53 in two. A stamp is the zxid and the time
// of a transaction in three: their low halves, and a word with what is above these, 21 bits of the zxid (all that an epoch
// has) and 11 of the time.

const stampWords = 3
const half = 2 ** 32
const zxidHighBits = 21
const zxidHighMask = (1 << zxidHighBits) - 1

/** Times are ms since 1970, up to here: it is the year 2248. */
export const timeMax: number = 2 ** 43 - 1

export function longOf(words: Int32Array, at: number): number {
  return words[at + 1]! * half + (words[at]! >>> 0)
}

export function setLong(words: Int32Array, at: number, value: number): void {
  words[at] = value
  words[at + 1] = Math.floor(value / half)
}

/** Writes a stamp: a zxid from 0, and the time or what is nearest to it from 0 to `timeMax`. */
export function setStamp(words: Int32Array, at: number, zxid: number, timeMs: number): void {
  const time = timeMs < 0 ? 0 : timeMs > timeMax ? timeMax : timeMs
  setStampOfHalves(words, at, Math.floor(zxid / half), zxid | 0, Math.floor(time / half), time | 0)
}

/** The same from two longs, each as the upper and the lower word that it has: without a number that V8 would box. */
export function setStampOfHalves(
  words: Int32Array,
  at: number,
  zxidHigh: number,
  zxidLow: number,
  timeHigh: number,
  timeLow: number,
): void {
  words[at] = zxidLow
  words[at + 1] = timeLow
  words[at + 2] = zxidHigh | (timeHigh << zxidHighBits)
}

/** Makes a stamp what that of `from` at `fromAt` is. */
export function copyStamp(words: Int32Array, at: number, from: Int32Array, fromAt: number): void {
  for (let i = 0; i < stampWords; i++) words[at + i] = from[fromAt + i]!
}

export function zxidOf(words: Int32Array, at: number): number {
  return (words[at + 2]! & zxidHighMask) * half + (words[at]! >>> 0)
}

/** Milliseconds. */
export function timeOf(words: Int32Array, at: number): number {
  return (words[at + 2]! >>> zxidHighBits) * half + (words[at + 1]! >>> 0)
}

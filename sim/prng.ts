// The simulator's only source of chance: the same seed gives the same run, on every machine.

/** Draws numbers. See createPrng. */
export type Prng = {
  /** In [0, 1). */
  next(): number
  /** A whole number, `low` and `high` included. */
  int(low: number, high: number): number
  /** In [low, high). */
  between(low: number, high: number): number
  chance(probability: number): boolean
  pick<T>(items: readonly T[]): T
  /** In any order. */
  shuffle<T>(items: readonly T[]): T[]
}

/** A generator of its own state (splitmix32). */
export function createPrng(seed: number): Prng {
  let state = Math.imul(seed ^ 0x5bf03635, 0x9e3779b1) >>> 0
  const next = () => {
    state = (state + 0x9e3779b9) >>> 0
    let mixed = state
    mixed = Math.imul(mixed ^ (mixed >>> 16), 0x21f0aaad)
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97)
    return ((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 32
  }
  const int = (low: number, high: number) => low + Math.floor(next() * (high - low + 1))
  return {
    next,
    int,
    between: (low, high) => low + next() * (high - low),
    chance: (probability) => next() < probability,
    pick: <T>(items: readonly T[]) => items[int(0, items.length - 1)] as T,
    shuffle: <T>(items: readonly T[]) => {
      const result = [...items]
      for (let i = result.length - 1; i > 0; i--) {
        const j = int(0, i)
        const item = result[i] as T
        result[i] = result[j] as T
        result[j] = item
      }
      return result
    },
  }
}

// The shapes in which a network falls apart. When it does and for how long is the nemesis's to say.
import type { Prng } from './prng.ts'

/** `one`: a server is alone; `mute` and `deaf`: in one direction; `lane`: a link is, too; `bridge`: one server reaches both halves. */
export type Partition = 'halves' | 'one' | 'mute' | 'deaf' | 'link' | 'lane' | 'bridge' | 'random'

/** Directions that are blocked, as ids of sender and receiver. The order of `ids` says who is where. */
export function* blockedBy(
  kind: Partition,
  ids: readonly number[],
  prng: Prng,
): Generator<readonly [from: number, to: number], void, void> {
  const half = Math.floor(ids.length / 2)
  const isBlocked = (i: number, j: number): boolean => {
    switch (kind) {
      case 'halves':
        return i < half !== j < half
      case 'one':
        return i === 0 || j === 0
      case 'mute':
        return i === 0
      case 'deaf':
        return j === 0
      case 'link':
        return i + j === 1
      case 'lane':
        return i === 0 && j === 1
      case 'bridge':
        return i !== half && j !== half && i < half !== j < half
      case 'random':
        return prng.chance(0.3)
    }
  }
  for (const [i, from] of ids.entries())
    for (const [j, to] of ids.entries()) if (i !== j && isBlocked(i, j)) yield [from, to]
}

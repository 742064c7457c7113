// What kind of a run a seed makes: how many servers and clients, which limits, how fast and how bad everything is.
import type { Prng } from '../prng.ts'
import type { DiskSpeed } from './disk.ts'
import type { PeerSpeed } from './peers.ts'
import type { ClientSpeed } from './sockets.ts'

export type Profile = {
  readonly voters: readonly number[]
  readonly observers: readonly number[]
  readonly tickMs: number
  readonly initLimit: number
  readonly syncLimit: number
  readonly snapCount: number
  /** Every look at the clock takes so long, ms. */
  readonly stepMs: number
  readonly disk: DiskSpeed
  readonly peers: PeerSpeed
  readonly network: ClientSpeed
  /** Clients that do anything, that only read, that take a lock. */
  readonly clients: number
  readonly readers: number
  readonly lockers: number
  /** Longest pause of a client between two requests, ms. */
  readonly thinkMs: number
  /** Most requests that a client sends without waiting. */
  readonly pipeline: number
  /** Ticks: sessions of clients. */
  readonly timeouts: readonly number[]
  /** Mean virtual ms between two faults. */
  readonly faultEveryMs: number
  /** Longest duration of most faults. */
  readonly faultMs: number
  /** Chance that a process dies at an effect on the outside world. */
  readonly fragility: number
}

/** Draws a profile. */
export function drawProfile(prng: Prng): Profile {
  const count = prng.pick([1, 2, 3, 3, 3, 3, 3, 3, 5, 5])
  const observers = prng.pick([0, 0, 0, 1, 2])
  const voters = Array.from({ length: count }, (_, i) => i + 1)
  const tickMs = prng.pick([100, 200, 200])
  const syncLimit = prng.pick([3, 5, 5])
  return {
    voters,
    observers: Array.from({ length: count === 1 ? 0 : observers }, (_, i) => count + i + 1),
    tickMs,
    initLimit: prng.pick([5, 10, 10]),
    syncLimit,
    snapCount: prng.pick([20, 60, 300, 100_000]),
    stepMs: prng.pick([0, 0, 0.05, 0.5]),
    disk: { syncMs: prng.pick([0.5, 2, 5, 20]), epochMs: prng.pick([0.5, 5, 20]) },
    peers: {
      delayMs: prng.pick([0.5, 2, 5, 20]),
      keepaliveMs: (tickMs * syncLimit) / 2,
      dialMs: prng.pick([10, 50]),
    },
    network: { delayMs: prng.pick([0.5, 2, 5, 10]) },
    clients: prng.int(1, 6),
    readers: prng.pick([0, 1, 2]),
    lockers: prng.pick([0, 0, 2, 3]),
    thinkMs: prng.pick([2, 10, 40]),
    pipeline: prng.pick([1, 3, 8, 40]),
    timeouts: prng.pick([
      [2, 4, 8],
      [4, 10],
      [4, 10],
      [10, 20],
    ]),
    faultEveryMs: prng.pick([60, 150, 400, 1000]),
    faultMs: prng.pick([50, 300, 1500]),
    fragility: prng.pick([0, 0, 0.0003, 0.002]),
  }
}

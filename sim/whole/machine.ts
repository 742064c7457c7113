// What a server process runs on: when its code is entered, what time it has, when it dies and when it stands still. A
// process that is dead does nothing any more, whatever was planned for it; one that stands still does it later.
import type { Clock, Timer } from '../../src/node/clock.ts'
import type { Prng } from '../prng.ts'
import type { Schedule } from '../schedule.ts'

/** In which order a process that goes on after a pause finds what has come up meanwhile. */
type Kind = 'timer' | 'input'

/** Wall clock at the beginning of a run, ms. */
const wallStart = 1_700_000_000_000
/** The code of one turn takes no virtual time, but turns do not begin at the same moment as they were asked for. */
const turnMs = 0.02

/** One life of a server process. */
export class Process {
  readonly id: number
  readonly #schedule: Schedule
  readonly #prng: Prng
  readonly #onThrow: (error: unknown) => void
  readonly #onDeath: (process: Process) => void
  /** Chance that it dies at an effect on the world outside. */
  readonly #fragility: () => number
  #dead = false
  #paused = false
  #waiting: { readonly kind: Kind; readonly action: () => void }[] = []
  #entered = 0

  constructor(parts: {
    readonly id: number
    readonly schedule: Schedule
    readonly prng: Prng
    readonly onThrow: (error: unknown) => void
    readonly onDeath: (process: Process) => void
    readonly fragility: () => number
  }) {
    this.id = parts.id
    this.#schedule = parts.schedule
    this.#prng = parts.prng
    this.#onThrow = parts.onThrow
    this.#onDeath = parts.onDeath
    this.#fragility = parts.fragility
  }

  get dead(): boolean {
    return this.#dead
  }

  get paused(): boolean {
    return this.#paused
  }

  /** Times that its code was entered. */
  get entered(): number {
    return this.#entered
  }

  /** Runs code of the process now, or when it goes on; never if it is dead by then. */
  enter(kind: Kind, action: () => void): void {
    if (this.#dead) return
    if (this.#paused) {
      this.#waiting.push({ kind, action })
      return
    }
    this.#entered++
    try {
      action()
    } catch (error) {
      this.#onThrow(error)
    }
  }

  /** Enters at a later time. */
  enterAfter(delayMs: number, kind: Kind, action: () => void): void {
    this.#schedule.after(delayMs, () => this.enter(kind, action))
  }

  /**
   * To be asked before each effect on the world outside: whether the process lives. It may die just now, with what it did
   * before in the same event done and what would follow not.
   */
  acts(): boolean {
    if (this.#dead) return false
    const fragility = this.#fragility()
    if (fragility > 0 && this.#prng.chance(fragility)) this.kill()
    return !this.#dead
  }

  kill(): void {
    if (this.#dead) return
    this.#dead = true
    this.#waiting = []
    this.#onDeath(this)
  }

  pause(): void {
    this.#paused = true
  }

  /** What came up meanwhile happens now, each as an event of its own: timers first, as in the event loop. */
  resume(): void {
    if (!this.#paused) return
    this.#paused = false
    const waiting = this.#waiting
    this.#waiting = []
    for (const kind of ['timer', 'input'] as const)
      for (const item of waiting)
        if (item.kind === kind) this.#schedule.after(0, () => this.enter(kind, item.action))
  }

  /** A moment, for what is to happen in the next turn of the process's event loop. */
  turn(): number {
    return this.#prng.between(0, turnMs)
  }
}

/** The two clocks of a machine: they survive processes, run at a rate of their own, and the wall clock can jump. */
export class MachineTime {
  readonly #schedule: Schedule
  #rate = 1
  /** Monotonic time and virtual time when the rate was changed last. */
  #since = 0
  #base = 1_000_000
  #wallOffset = 0

  constructor(schedule: Schedule) {
    this.#schedule = schedule
  }

  get rate(): number {
    return this.#rate
  }

  set rate(rate: number) {
    this.#base = this.monotonic()
    this.#since = this.#schedule.now
    this.#rate = rate
  }

  monotonic(): number {
    return this.#base + (this.#schedule.now - this.#since) * this.#rate
  }

  wall(): number {
    return wallStart + Math.floor(this.#schedule.now + this.#wallOffset)
  }

  jumpWall(ms: number): void {
    this.#wallOffset += ms
  }
}

/**
 * The clock that a process sees. Timers of a dead process never fire. Code takes `stepMs` for each look at the clock, so
 * that what works in slices of time does so here, too.
 */
export function clockOf(process: Process, time: MachineTime, schedule: Schedule, stepMs: number): Clock {
  let entered = 0
  let looks = 0
  let latest = 0
  const now = () => {
    if (entered !== process.entered) {
      entered = process.entered
      looks = 0
    }
    latest = Math.max(latest, time.monotonic() + looks++ * stepMs)
    return latest
  }
  // What was asked for first happens first.
  let soonAt = 0
  return {
    now,
    wall: () => time.wall(),
    after: (ms, callback): Timer => {
      let cancelled = false
      schedule.after(Math.max(ms, 0) / time.rate, () => {
        if (cancelled) return
        process.enter('timer', () => {
          if (!cancelled) callback()
        })
      })
      return {
        cancel: () => {
          cancelled = true
        },
      }
    },
    soon: (callback) => {
      soonAt = Math.max(soonAt, schedule.now + process.turn())
      schedule.at(soonAt, () => process.enter('input', callback))
    },
  }
}

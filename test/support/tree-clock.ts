// A clock that stands still until a test moves it. Timers and what is to be done soon run when the test says so.
import type { Clock, Timer } from '../../src/node/clock.ts'

export class FakeClock implements Clock {
  #now = 0
  /** How far the wall clock is ahead of `now`. */
  wallOffset = 1_700_000_000_000
  /** What each reading of `now` adds: makes work take time. */
  msPerReading = 0
  #timers: { due: number; callback: () => void }[] = []
  #soon: (() => void)[] = []

  now(): number {
    this.#now += this.msPerReading
    return this.#now
  }

  wall(): number {
    return this.wallOffset + Math.floor(this.#now)
  }

  after(ms: number, callback: () => void): Timer {
    const timer = { due: this.#now + ms, callback }
    this.#timers.push(timer)
    return {
      cancel: () => {
        this.#timers = this.#timers.filter((other) => other !== timer)
      },
    }
  }

  soon(callback: () => void): void {
    this.#soon.push(callback)
  }

  get timers(): number {
    return this.#timers.length
  }

  /** Callbacks that wait for their turn. */
  get waiting(): number {
    return this.#soon.length
  }

  /** Runs what is to be done soon, but not what that adds. */
  runSoon(): void {
    const soon = this.#soon
    this.#soon = []
    for (const callback of soon) callback()
  }

  /** Moves the time on, timer by timer. */
  advance(ms: number): void {
    const end = this.#now + ms
    for (;;) {
      const next = this.#timers.filter(({ due }) => due <= end).sort((a, b) => a.due - b.due)[0]
      if (next === undefined) break
      this.#timers = this.#timers.filter((timer) => timer !== next)
      this.#now = next.due
      next.callback()
    }
    this.#now = end
  }
}

/** Lets every promise that can settle do so, and what waits for it. */
export function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/** Runs turns of the event loop, `between` each two of them, until `promise` settles; gives what it gave. */
export async function pumped<Value>(
  clock: FakeClock,
  promise: Promise<Value>,
  between: () => void = () => undefined,
): Promise<Value> {
  const pending = Symbol('pending')
  for (let turn = 0; turn < 10_000; turn++) {
    await settled()
    const value: Value | typeof pending = await Promise.race([promise, Promise.resolve(pending)])
    if (value !== pending) return value as Value
    between()
    clock.runSoon()
  }
  throw new Error('nothing settles any more')
}

// Time as the node sees it: a port, so that a simulator can give another one.

/** A timer that was set. */
export type Timer = { cancel(): void }

export interface Clock {
  /** Monotonic ms. */
  now(): number
  /** Wall clock, ms since 1970, whole. */
  wall(): number
  /** Calls back once after `ms`. Does not keep the process alive. */
  after(ms: number, callback: () => void): Timer
  /** Calls back when the input of this turn of the event loop has been handled. */
  soon(callback: () => void): void
}

/** The clock of this machine. */
export const systemClock: Clock = {
  now: () => performance.now(),
  wall: () => Date.now(),
  after: (ms, callback) => {
    const timer = setTimeout(callback, ms)
    timer.unref()
    return { cancel: () => clearTimeout(timer) }
  },
  soon: (callback) => {
    setImmediate(callback)
  },
}

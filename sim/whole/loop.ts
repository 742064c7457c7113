// How an event of the simulation ends: every promise continuation that it led to has run, so that code that awaits is as
// repeatable as plain functions.

/**
 * Resolves when no microtask is left. A tick's callback runs only after the queue of microtasks is empty, and costs half
 * a microsecond; a turn of the event loop would cost thirty times as much.
 */
export function settled(): Promise<void> {
  return new Promise((resolve) => {
    process.nextTick(resolve)
  })
}

/**
 * Runs events until there is none: `next` does one, or gives false, and `after` is called when it has ended. Rejects with
 * what either throws. Does what a loop that awaits `settled` would, without the four objects that it leaves behind for
 * every event. To be called from a microtask: elsewhere the tick after the first event would come before its microtasks.
 */
export function runEvents(next: () => boolean, after: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const guarded = (action: () => void) => () => {
      try {
        action()
      } catch (error) {
        reject(error)
      }
    }
    const begin = guarded(() => {
      if (next()) process.nextTick(end)
      else resolve()
    })
    const end = guarded(() => {
      after()
      // Ticks follow each other without a look at the microtasks: the next event begins as one of those.
      void nothing.then(begin)
    })
    begin()
  })
}

const nothing = Promise.resolve()

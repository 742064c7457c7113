// How fast a change reaches all who watch a znode: every connection has a watch on it, it is set, and the time from the
// set to the last notification counts.
import { Op } from '../base/opcodes.ts'
import { type Address, type Auth, Connection } from './connection.ts'
import { createHistogram, type Histogram, record } from './histogram.ts'
import { noise } from './keys.ts'
import type { Window } from './load.ts'
import { writePathAndWatch, writeSetData } from './requests.ts'

export type FanOutPlan = {
  /** Connections go to them in turn. */
  readonly addresses: readonly Address[]
  readonly connections: number
  /** A znode that is there. */
  readonly path: string
  readonly valueBytes: number
  readonly warmUpMs: number
  readonly measureMs: number
  readonly sessionTimeoutMs: number
  readonly connectTimeoutMs: number
  readonly auth: readonly Auth[]
}

export type FanOutResult = {
  /** From the set to the last notification of a round. */
  readonly latency: Histogram
  readonly notifications: number
  /** Time from sets to last notifications, of all rounds. */
  readonly fanOutMs: number
  readonly elapsedMs: number
  readonly busy: number
}

/** A round that takes longer has lost a notification. */
const roundLimitMs = 10_000

/** Runs rounds until the time is over or the signal says so. Rejects when a connection fails or a notification does not come. */
export async function runFanOut(
  plan: FanOutPlan,
  stop?: AbortSignal,
  window?: Window,
): Promise<FanOutResult> {
  const crowd = new Watchers(plan)
  try {
    await crowd.connect()
    const startMs = performance.now()
    const measuredFromMs = startMs + plan.warmUpMs
    const endMs = measuredFromMs + plan.measureMs
    const latency = createHistogram()
    let fanOutMs = 0
    let before = performance.eventLoopUtilization()
    let fromMs = startMs
    let measuring = false
    // A single round is the least that is worth reporting.
    do {
      if (!measuring && performance.now() >= measuredFromMs) {
        measuring = true
        before = performance.eventLoopUtilization()
        fromMs = performance.now()
        window?.begins()
      }
      await crowd.arm()
      const roundMs = await crowd.round()
      if (measuring) {
        record(latency, roundMs * 1000)
        fanOutMs += roundMs
      }
    } while ((performance.now() < endMs || latency.count === 0) && stop?.aborted !== true)
    window?.ends()
    return {
      latency,
      notifications: latency.count * plan.connections,
      fanOutMs,
      elapsedMs: performance.now() - fromMs,
      busy: performance.eventLoopUtilization(before).utilization,
    }
  } finally {
    await crowd.close()
  }
}

/** The connections that watch, and the one that writes. */
class Watchers {
  readonly #plan: FanOutPlan
  readonly #path: Buffer
  readonly #value: Buffer
  readonly #watchers: Connection[] = []
  #writer: Connection | undefined
  #missing = 0
  #done: (error?: Error) => void = () => {}
  #open = 0
  #allClosed = () => {}

  constructor(plan: FanOutPlan) {
    this.#plan = plan
    this.#path = Buffer.from(plan.path)
    this.#value = noise(plan.valueBytes, 1)
  }

  async connect(): Promise<void> {
    const { connections } = this.#plan
    await this.#await(connections + 1, 'connections', () => {
      for (let i = 0; i < connections; i++) this.#watchers.push(this.#connection(i))
      this.#writer = this.#connection(0)
    })
  }

  /** Every connection reads the znode and leaves a watch. */
  async arm(): Promise<void> {
    await this.#await(this.#watchers.length, 'answers to reads', () => {
      for (const watcher of this.#watchers) {
        writePathAndWatch(watcher.begin(Op.getData, watching, 0), this.#path, true)
        watcher.finish()
        watcher.flush()
      }
    })
  }

  /** Changes the znode; resolves with the time that the last notification took. */
  async round(): Promise<number> {
    const fromMs = performance.now()
    await this.#await(this.#watchers.length, 'notifications', () => {
      const writer = this.#writer as Connection
      writeSetData(writer.begin(Op.setData, writing, 0), this.#path, this.#value)
      writer.finish()
      writer.flush()
    })
    return performance.now() - fromMs
  }

  async close(): Promise<void> {
    this.#done = () => {}
    const all = [...this.#watchers, ...(this.#writer === undefined ? [] : [this.#writer])]
    if (this.#open === 0) return
    await new Promise<void>((resolve) => {
      this.#allClosed = resolve
      for (const connection of all) connection.close()
    })
  }

  /** Does something and waits until it has been answered so many times. */
  #await(count: number, what: string, begin: () => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#done(new Error(`${this.#missing} of ${count} ${what} did not come within ${roundLimitMs} ms`))
      }, roundLimitMs)
      this.#missing = count
      this.#done = (error) => {
        clearTimeout(timer)
        this.#done = () => {}
        if (error === undefined) resolve()
        else reject(error)
      }
      begin()
    })
  }

  #arrived(): void {
    if (--this.#missing === 0) this.#done()
  }

  #connection(number: number): Connection {
    const { addresses, sessionTimeoutMs, connectTimeoutMs, auth } = this.#plan
    const address = addresses[number % addresses.length] as Address
    this.#open++
    return new Connection(
      { address, sessionTimeoutMs, connectTimeoutMs, auth },
      {
        opened: () => this.#arrived(),
        reply: ({ tag, error }) => {
          if (error !== 0) this.#done(new Error(`the server answers with error ${error}`))
          else if (tag === watching) this.#arrived()
        },
        event: () => this.#arrived(),
        ended: (reason) => {
          if (reason !== undefined) this.#done(reason)
          if (--this.#open === 0) this.#allClosed()
        },
      },
    )
  }
}

/** Tags of the two requests. */
const watching = 1
const writing = 2

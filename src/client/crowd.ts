// Many sessions that do nothing but live: how fast they open, and that they stay open.
import { type Address, type Auth, Connection } from './connection.ts'
import { createHistogram, type Histogram, record } from './histogram.ts'

export type CrowdPlan = {
  /** Sessions go to them in turn. */
  readonly addresses: readonly Address[]
  readonly sessionTimeoutMs: number
  readonly connectTimeoutMs: number
  readonly auth: readonly Auth[]
}

export type StormResult = {
  /** From the first packet to the open session, each. */
  readonly latency: Histogram
  readonly opened: number
  readonly failed: number
  readonly failedReason: string | undefined
  readonly elapsedMs: number
}

/** Sessions that are being closed at a time. */
const closingAtOnce = 200
/** A session pings so often within its timeout. */
const pingsPerTimeout = 3
/** Pings are spread over time in steps of this length. */
const pingStepMs = 20

export class Crowd {
  readonly #plan: CrowdPlan
  readonly #sessions = new Set<Connection>()
  #started = 0
  /** Sessions that ended and were not closed from here. */
  lost = 0
  /** Why the first of them did. */
  lostReason: string | undefined
  #pinger: NodeJS.Timeout | undefined

  constructor(plan: CrowdPlan) {
    this.#plan = plan
  }

  get size(): number {
    return this.#sessions.size
  }

  /** Opens so many sessions more, at most `inProgress` at a time; the signal ends it early. */
  async open(count: number, inProgress: number, stop?: AbortSignal): Promise<StormResult> {
    const latency = createHistogram()
    const startMs = performance.now()
    let next = 0
    let failed = 0
    let failedReason: string | undefined
    const work = async () => {
      while (next < count && stop?.aborted !== true) {
        next++
        const fromMs = performance.now()
        const reason = await this.#openOne()
        if (reason === undefined) record(latency, (performance.now() - fromMs) * 1000)
        else {
          failed++
          failedReason ??= reason
        }
      }
    }
    await Promise.all(Array.from({ length: Math.min(inProgress, count) }, work))
    return { latency, opened: latency.count, failed, failedReason, elapsedMs: performance.now() - startMs }
  }

  /** Pings each session some times within its timeout, evenly spread. */
  keepAlive(): void {
    const { sessionTimeoutMs } = this.#plan
    let round = this.#sessions.values()
    let owed = 0
    this.#pinger = setInterval(() => {
      owed += (this.#sessions.size * pingsPerTimeout * pingStepMs) / sessionTimeoutMs
      for (; owed >= 1; owed--) {
        let session = round.next()
        if (session.done) {
          round = this.#sessions.values()
          session = round.next()
        }
        if (session.done) return
        session.value.ping()
      }
    }, pingStepMs)
  }

  /** Closes all sessions. */
  async close(): Promise<void> {
    clearInterval(this.#pinger)
    const left = [...this.#sessions]
    const work = async () => {
      for (let session = left.pop(); session !== undefined; session = left.pop())
        await this.#closeOne(session)
    }
    await Promise.all(Array.from({ length: closingAtOnce }, work))
  }

  /** Resolves with the reason if the session does not open. */
  #openOne(): Promise<string | undefined> {
    const { addresses, sessionTimeoutMs, connectTimeoutMs, auth } = this.#plan
    const address = addresses[this.#started++ % addresses.length] as Address
    return new Promise((resolve) => {
      const session = new Connection(
        { address, sessionTimeoutMs, connectTimeoutMs, auth },
        {
          opened: () => {
            this.#sessions.add(session)
            resolve(undefined)
          },
          reply: () => {},
          event: () => {},
          ended: (reason) => {
            if (this.#sessions.delete(session) && reason !== undefined) {
              this.lost++
              this.lostReason ??= reason.message
            }
            this.#closing.get(session)?.()
            resolve(reason?.message ?? 'closed')
          },
        },
      )
    })
  }

  readonly #closing = new Map<Connection, () => void>()

  #closeOne(session: Connection): Promise<void> {
    return new Promise((resolve) => {
      this.#closing.set(session, () => {
        this.#closing.delete(session)
        resolve()
      })
      session.close()
    })
  }
}

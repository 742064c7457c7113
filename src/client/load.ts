// A load on servers: connections that keep a number of requests under way (closed loop), or send at a rate whatever
// comes back (open loop), and what was seen of it. Plans and results are plain data, so that threads can share a load.
import { CreateFlag, Op } from '../base/opcodes.ts'
import { type Address, type Auth, Connection, type Reply } from './connection.ts'
import { createHistogram, type Histogram, merge, record } from './histogram.ts'
import { Dice, Keys, NumberedPath, noise } from './keys.ts'
import {
  multiError,
  writeCreate,
  writeDelete,
  writeMultiEnd,
  writeMultiHeader,
  writePathAndWatch,
  writeSetData,
} from './requests.ts'

/** What a load may consist of; `create` is sequential, `ephemeral` is a create and the delete of the same znode. */
export const operations = [
  'get',
  'exists',
  'children',
  'set',
  'create',
  'ephemeral',
  'multi',
  'sync',
] as const
export type Operation = (typeof operations)[number]

/** How much of a load an operation is, relative to the others. */
export type Share = { readonly operation: Operation; readonly share: number }

export type LoadPlan = {
  /** Connections go to them in turn. */
  readonly addresses: readonly Address[]
  readonly connections: number
  /** Requests under way on each connection; with a rate: at most `openLoopDepth`. */
  readonly depth: number
  /** Requests per second in all; undefined: as fast as they are answered. */
  readonly rate: number | undefined
  readonly mix: readonly Share[]
  /** A znode that is there; what the load creates is below it. */
  readonly root: string
  /** Znodes below `root/keys` that are there. */
  readonly keys: number
  readonly valueBytes: number
  /** Sets in a multi. */
  readonly batch: number
  readonly warmUpMs: number
  readonly measureMs: number
  /** The measured time ends early when there were so many good replies in it. */
  readonly requests?: number
  readonly sessionTimeoutMs: number
  readonly connectTimeoutMs: number
  readonly auth: readonly Auth[]
  /** Loads of one run differ in it. */
  readonly seed: number
}

export type OperationResult = {
  readonly operation: Operation
  /** Of requests sent within the measured time. */
  readonly latency: Histogram
  /** Good replies within the measured time. */
  replies: number
  /** Replies with an error, by code. */
  readonly errors: Map<number, number>
}

export type LoadResult = {
  readonly operations: readonly OperationResult[]
  /** Measured time. */
  readonly elapsedMs: number
  /** Connections that ended before their time, and why the first did. */
  readonly lost: number
  readonly lostReason: string | undefined
  /** Requests without a reply when a connection was lost or patience ended. */
  readonly unanswered: number
  /** The longest time without any reply. */
  readonly longestSilenceMs: number
  /** The share of the measured time that a thread of the client was at work: near 1 the client is the limit. */
  readonly busy: number
}

/** Where the znodes of a load are that stay, those that it creates, and those that come and go. */
export const placesBelow = (root: string) =>
  ({ keys: `${root}/keys`, created: `${root}/created`, ephemeral: `${root}/ephemeral` }) as const
/** With a rate, a connection on which so many requests are under way sends no more until some are answered. */
const openLoopDepth = 10_000
/** How often an open loop looks what is due. */
const openLoopTickMs = 1
/** A request that is late by less was delayed by the granularity of this process's timers: it counts from when it was sent. */
const timerSlackMs = 2.5
/** After the measured time, replies are awaited so long. */
const drainMs = 10_000
/** A tag is the operation's place in `operations`, whether it is the delete of an ephemeral, and the slot. */
const operationMask = 0b1111
const secondHalf = 0b10000
const slotShift = 5

/** Is called when the measured time begins and when it is over, for those who measure something else at the same time. */
export type Window = { begins(): void; ends(): void }

/** Runs a load to its end, or until the signal. Rejects with the reason when a connection does not come up. */
export async function runLoad(plan: LoadPlan, stop?: AbortSignal, window?: Window): Promise<LoadResult> {
  return await new Load(plan).run(stop, window)
}

/** Adds up results of loads that ran at the same time. */
export function mergeResults(results: readonly LoadResult[]): LoadResult {
  const [first, ...rest] = results
  if (first === undefined) throw new Error('there is no result')
  return rest.reduce((sum, result) => {
    for (const [i, operation] of sum.operations.entries()) {
      const other = result.operations[i] as OperationResult
      merge(operation.latency, other.latency)
      operation.replies += other.replies
      for (const [code, count] of other.errors) {
        operation.errors.set(code, (operation.errors.get(code) ?? 0) + count)
      }
    }
    return {
      operations: sum.operations,
      elapsedMs: Math.max(sum.elapsedMs, result.elapsedMs),
      lost: sum.lost + result.lost,
      lostReason: sum.lostReason ?? result.lostReason,
      unanswered: sum.unanswered + result.unanswered,
      // At most: all were silent no longer than any of them.
      longestSilenceMs: Math.min(sum.longestSilenceMs, result.longestSilenceMs),
      busy: Math.max(sum.busy, result.busy),
    }
  }, first)
}

/** What all connections of a load share. */
class Load {
  readonly plan: LoadPlan
  readonly keys: Keys
  readonly value: Buffer
  readonly dice: Dice
  /** The directory whose children are listed. */
  readonly directory: Buffer
  /** Operations by lot: each as often as its share. */
  readonly lots: readonly number[]
  readonly results: readonly OperationResult[]
  readonly #clients: LoadClient[] = []
  /** When it is over no request is made any more. */
  phase: 'warm-up' | 'measuring' | 'over' = 'warm-up'
  #fromMs = Number.POSITIVE_INFINITY
  #toMs = Number.POSITIVE_INFINITY
  #lastReplyMs = 0
  #longestSilenceMs = 0
  #lost = 0
  #lostReason: string | undefined
  #unanswered = 0
  #replies = 0
  /** Ends the measured time early. */
  readonly #enough = new AbortController()
  #onIdle = () => {}

  constructor(plan: LoadPlan) {
    this.plan = plan
    this.keys = new Keys(placesBelow(plan.root).keys, plan.keys)
    this.value = noise(plan.valueBytes, plan.seed)
    this.dice = new Dice(plan.seed)
    this.directory = Buffer.from(this.keys.directories === 0 ? this.keys.root : this.keys.directory(0))
    this.lots = plan.mix.flatMap(({ operation, share }) =>
      Array.from({ length: share }, () => operations.indexOf(operation)),
    )
    this.results = operations.map((operation) => ({
      operation,
      latency: createHistogram(),
      replies: 0,
      errors: new Map(),
    }))
  }

  async run(stop: AbortSignal | undefined, window: Window | undefined): Promise<LoadResult> {
    const { plan } = this
    await this.#connect()
    const pacer = plan.rate === undefined ? undefined : this.#pace(plan.rate)
    if (pacer === undefined) for (const client of this.#clients) client.fill()
    stop?.addEventListener('abort', () => this.#enough.abort(), { once: true })
    if (stop?.aborted) this.#enough.abort()
    await pause(plan.warmUpMs, this.#enough.signal)
    const fromMs = performance.now()
    const before = performance.eventLoopUtilization()
    this.#lastReplyMs = fromMs
    this.#fromMs = fromMs
    this.phase = 'measuring'
    window?.begins()
    await pause(plan.measureMs, this.#enough.signal)
    window?.ends()
    const toMs = performance.now()
    this.#toMs = toMs
    this.phase = 'over'
    this.#longestSilenceMs = Math.max(this.#longestSilenceMs, toMs - this.#lastReplyMs)
    const busy = performance.eventLoopUtilization(before).utilization
    clearInterval(pacer)
    await this.#drain()
    return {
      operations: this.results.filter(({ operation }) =>
        plan.mix.some((each) => each.operation === operation),
      ),
      elapsedMs: toMs - fromMs,
      lost: this.#lost,
      lostReason: this.#lostReason,
      unanswered: this.#unanswered,
      longestSilenceMs: this.#longestSilenceMs,
      busy,
    }
  }

  onReply(operation: number, error: number, atMs: number, nowMs: number): void {
    if (nowMs >= this.#fromMs && nowMs < this.#toMs) {
      if (nowMs - this.#lastReplyMs > this.#longestSilenceMs)
        this.#longestSilenceMs = nowMs - this.#lastReplyMs
      this.#lastReplyMs = nowMs
      if (error === 0) {
        ;(this.results[operation] as OperationResult).replies++
        if (++this.#replies === this.plan.requests) this.#enough.abort()
      }
    }
    const result = this.results[operation] as OperationResult
    if (error !== 0) result.errors.set(error, (result.errors.get(error) ?? 0) + 1)
    else if (atMs >= this.#fromMs && atMs < this.#toMs) record(result.latency, (nowMs - atMs) * 1000)
  }

  onIdle(): void {
    if (this.phase === 'over' && this.#clients.every(({ idle }) => idle)) this.#onIdle()
  }

  onLost(reason: string, unanswered: number): void {
    this.#lost++
    this.#lostReason ??= reason
    this.#unanswered += unanswered
    // With nobody left there is nothing to measure any more.
    if (this.#lost === this.plan.connections) this.#enough.abort()
    this.onIdle()
  }

  async #connect(): Promise<void> {
    const { plan } = this
    try {
      await Promise.all(
        Array.from({ length: plan.connections }, (_, i) => {
          const client = new LoadClient(this, plan.addresses[i % plan.addresses.length] as Address, i)
          this.#clients.push(client)
          return client.opened
        }),
      )
    } catch (error) {
      for (const client of this.#clients) client.end()
      throw error
    }
  }

  /** Sends what is due, again and again; requests go to the connections in turn. */
  #pace(rate: number): NodeJS.Timeout {
    const startMs = performance.now()
    let sent = 0
    let turn = 0
    const gapMs = 1000 / rate
    return setInterval(() => {
      const nowMs = performance.now()
      const due = Math.trunc((nowMs - startMs) / gapMs)
      // Connections that are full are passed over; when all are, what is due stays due.
      for (let passed = 0; sent < due && passed < this.#clients.length; turn++) {
        const client = this.#clients[turn % this.#clients.length] as LoadClient
        const dueMs = startMs + (sent + 1) * gapMs
        if (client.arrive(nowMs - dueMs < timerSlackMs ? nowMs : dueMs)) {
          passed = 0
          sent++
        } else passed++
      }
      for (const client of this.#clients) client.flush()
    }, openLoopTickMs)
  }

  /** Waits for replies that are missing, then closes the sessions. */
  async #drain(): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, drainMs)
      this.#onIdle = () => {
        clearTimeout(timer)
        resolve()
      }
      this.onIdle()
    })
    for (const client of this.#clients) {
      if (!client.idle) this.#unanswered += client.end()
    }
    await Promise.all(this.#clients.map((client) => client.close()))
  }
}

/** One connection of a load. */
class LoadClient {
  readonly #load: Load
  readonly #connection: Connection
  readonly #created: Uint8Array
  readonly #ephemerals: NumberedPath
  /** Slots that are not in use; only an open loop, which has no fixed number of them, gives any back. */
  readonly #freeSlots: number[] = []
  #slots = 0
  #ended = false
  #closed = () => {}
  readonly opened: Promise<void>

  constructor(load: Load, address: Address, number: number) {
    const { plan } = load
    this.#load = load
    const places = placesBelow(plan.root)
    this.#created = Buffer.from(`${places.created}/n-`)
    this.#ephemerals = new NumberedPath(`${places.ephemeral}/e-${plan.seed}-${number}-`)
    const { promise, resolve, reject } = settled()
    this.opened = promise
    let nowMs = 0
    this.#connection = new Connection(
      {
        address,
        sessionTimeoutMs: plan.sessionTimeoutMs,
        connectTimeoutMs: plan.connectTimeoutMs,
        auth: plan.auth,
      },
      {
        opened: resolve,
        chunk: () => {
          nowMs = performance.now()
        },
        reply: (reply) => this.#onReply(reply, nowMs),
        event: () => {},
        ended: (reason) => {
          this.#ended = true
          reject(reason ?? new Error('closed'))
          this.#closed()
          if (reason !== undefined) load.onLost(reason.message, this.#connection.underWay)
        },
      },
    )
  }

  /** Nothing is under way, or will ever be answered. */
  get idle(): boolean {
    return this.#ended || this.#connection.underWay === 0
  }

  /** Closed loop: begins as many requests as shall be under way. */
  fill(): void {
    if (this.#ended) return
    const nowMs = performance.now()
    for (let slot = 0; slot < this.#load.plan.depth; slot++) this.#request(slot, nowMs)
    this.flush()
  }

  /** Open loop: one more request, from this time on; false if there are too many under way. */
  arrive(atMs: number): boolean {
    if (this.#ended || this.#connection.underWay >= openLoopDepth) return false
    this.#request(this.#freeSlots.pop() ?? this.#slots++, atMs)
    return true
  }

  flush(): void {
    this.#connection.flush()
  }

  close(): Promise<void> {
    if (this.#ended) return Promise.resolve()
    return new Promise((resolve) => {
      this.#closed = resolve
      this.#connection.close()
    })
  }

  /** Drops the connection; answers with how many requests had no reply. */
  end(): number {
    const { underWay } = this.#connection
    this.#connection.destroy()
    return underWay
  }

  #onReply({ tag, error, atMs, body }: Reply, nowMs: number): void {
    const load = this.#load
    const operation = tag & operationMask
    const slot = tag >>> slotShift
    const code = error === 0 && operation === multi ? multiError(body) : error
    load.onReply(operation, code, atMs, nowMs)
    if (operation === ephemeral && error === 0 && (tag & secondHalf) === 0) {
      // Also when it is over: nothing is left behind.
      this.#deleteEphemeral(slot, nowMs)
    } else if (load.plan.rate !== undefined) this.#freeSlots.push(slot)
    else if (load.phase !== 'over') this.#request(slot, nowMs)
    if (load.phase === 'over') load.onIdle()
  }

  #request(slot: number, atMs: number): void {
    const { lots, dice, keys, value, plan } = this.#load
    const operation = (lots.length === 1 ? lots[0] : lots[dice.below(lots.length)]) as number
    const out = this.#connection.begin(opcodes[operation] as number, operation | (slot << slotShift), atMs)
    switch (operations[operation]) {
      case 'get':
      case 'exists':
        writePathAndWatch(out, keys.path(dice.below(keys.count)), false)
        break
      case 'children':
        writePathAndWatch(out, this.#load.directory, false)
        break
      case 'set':
        writeSetData(out, keys.path(dice.below(keys.count)), value)
        break
      case 'create':
        writeCreate(out, this.#created, value, CreateFlag.persistentSequential)
        break
      case 'ephemeral':
        writeCreate(out, this.#ephemerals.path(slot), value, CreateFlag.ephemeral)
        break
      case 'multi':
        for (let i = 0; i < plan.batch; i++) {
          writeMultiHeader(out, Op.setData)
          writeSetData(out, keys.path(dice.below(keys.count)), value)
        }
        writeMultiEnd(out)
        break
      default:
        out.buffer(this.#load.directory)
    }
    this.#connection.finish()
  }

  #deleteEphemeral(slot: number, atMs: number): void {
    const out = this.#connection.begin(Op.delete, ephemeral | secondHalf | (slot << slotShift), atMs)
    writeDelete(out, this.#ephemerals.path(slot))
    this.#connection.finish()
  }
}

/** Opcodes of `operations`. */
const opcodes: readonly number[] = [
  Op.getData,
  Op.exists,
  Op.getChildren,
  Op.setData,
  Op.create,
  Op.create,
  Op.multi,
  Op.sync,
]
const ephemeral = operations.indexOf('ephemeral')
const multi = operations.indexOf('multi')

function settled() {
  let resolve = () => {}
  let reject: (error: Error) => void = () => {}
  const promise = new Promise<void>((done, failed) => {
    resolve = done
    reject = failed
  })
  // A connection that is lost later rejects nobody's promise.
  promise.catch(() => {})
  return { promise, resolve, reject }
}

/** Resolves after this time, or when the signal says so. */
function pause(ms: number, stop: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (ms <= 0 || stop.aborted) {
      resolve()
      return
    }
    const done = () => {
      clearTimeout(timer)
      stop.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    stop.addEventListener('abort', done)
  })
}

// What runs against the ensemble while faults happen: the sessions of all workloads, the pace, and a record of what was
// acknowledged when. The workloads themselves are in load-*.ts; nothing here knows what they do.
import { setMaxListeners } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import type { Prng } from '../../sim/prng.ts'
import { Err } from '../support/raw-client.ts'
import { type Endpoint, type Outcome, Session, type SessionOptions } from './session.ts'

/** An error by which a server says that the session is over: the request was not done. */
export const sessionExpired = -112

/** All that is acknowledged is in the tree that is found at the end. */
export type Tree = ReadonlyMap<string, string>

export interface Workload {
  /** Makes its parent znodes. Before any other method. */
  prepare(): Promise<void>
  /** Starts its clients. */
  start(): void
  /** Resolves when its clients have ended and their sessions are closed. The servers serve; `load.isStopping` is set. */
  stop(): Promise<void>
  /** What clients saw that may not be. `tree`: data by path, read after the end. */
  check(tree: Tree): string[]
}

export type Expiry = { readonly session: string; readonly atMs: number }

export class Load {
  readonly endpoints: readonly Endpoint[]
  readonly prng: Prng
  readonly timeoutMs: number
  readonly sessions: Session[] = []
  /** Sessions that the servers called expired although their clients were there. */
  readonly expiries: Expiry[] = []
  /** When each write was acknowledged, ascending. */
  readonly acknowledgedMs: number[] = []
  /** Answers that no server may give. */
  readonly problems: string[] = []
  /** Counts for the report. */
  readonly counts = { ok: 0, error: 0, unknown: 0, unsent: 0 }
  isStopping = false
  /** Resolves when the clients are to end. */
  readonly stopping: Promise<void>
  readonly #stop = new AbortController()

  constructor(options: {
    readonly endpoints: readonly Endpoint[]
    readonly prng: Prng
    readonly timeoutMs: number
  }) {
    this.endpoints = options.endpoints
    this.prng = options.prng
    this.timeoutMs = options.timeoutMs
    // Every client that paces itself listens.
    setMaxListeners(0, this.#stop.signal)
    this.stopping = new Promise((resolve) => this.#stop.signal.addEventListener('abort', () => resolve()))
  }

  /** Opens a session that lives until its workload ends it. */
  open(name: string, options: Partial<SessionOptions> = {}): Session {
    const session = new Session({
      name,
      servers: this.endpoints,
      timeoutMs: this.timeoutMs,
      prng: this.prng,
      ...options,
    })
    this.sessions.push(session)
    return session
  }

  /** The session if it still lives, else its successor; an expiry is noted. */
  renew(session: Session, options: Partial<SessionOptions> = {}): Session {
    if (!session.isOver) return session
    if (session.state === 'expired') this.expiries.push({ session: session.name, atMs: performance.now() })
    const [base = '', generation = '0'] = session.name.split('~')
    return this.open(`${base}~${Number(generation) + 1}`, options)
  }

  /** Notes what became of a request. `expected`: errors that are right answers. */
  note(
    outcome: Outcome<unknown>,
    kind: 'read' | 'write',
    what: string,
    expected: readonly number[] = [],
  ): void {
    this.counts[outcome.type]++
    if (outcome.type === 'ok' && kind === 'write') this.acknowledgedMs.push(outcome.endMs)
    if (outcome.type === 'error' && outcome.code !== sessionExpired && !expected.includes(outcome.code)) {
      this.problems.push(`${what}: answered with error ${outcome.code}, at ${outcome.endMs.toFixed(1)} ms`)
    }
  }

  /** Time between two requests; ends early when the load is stopped. */
  async pace(lowMs: number, highMs: number): Promise<void> {
    await delay(this.prng.between(lowMs, highMs), undefined, { signal: this.#stop.signal }).catch(() => {})
  }

  /** Tells all clients to end. */
  stop(): void {
    this.isStopping = true
    this.#stop.abort()
  }

  /** Makes persistent znodes, whether or not they are there. */
  async makeAll(
    paths: readonly string[],
    make: (session: Session, path: string) => Promise<Outcome<unknown>>,
  ) {
    const session = this.open('setup')
    for (const path of paths) {
      for (let isMade = false; !isMade; ) {
        const outcome = await make(session, path)
        isMade = outcome.type === 'ok' || (outcome.type === 'error' && outcome.code === Err.nodeExists)
        if (outcome.type === 'unsent') throw new Error(`no session to create ${path} with`)
      }
    }
    await session.close()
  }
}

// Runs one scenario: a fresh ensemble, all workloads, the scenario's faults, then healing, convergence and every check. What
// a scenario does is in scenarios.ts.
import { mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { createPrng, type Prng } from '../../sim/prng.ts'
import { within } from '../support/raw-client.ts'
import { type Cluster, limits, type Shape, startBoundMs, startCluster, until } from './cluster.ts'
import { Load, type Workload } from './load.ts'
import { Locks } from './load-locks.ts'
import { Presences } from './load-presence.ts'
import { Appends, Patients, Registers } from './load-registers.ts'
import { Watches } from './load-watches.ts'
import type { Options } from './options.ts'
import { compareTrees } from './trees.ts'

/** A session's timeout in ticks: longer than syncLimit and an election, so that sessions outlive the loss of a leader. */
const sessionTicks = 15
/** Of sessions that fall silent: every scenario ends by waiting for the last of them. */
const passingTicks = 9
/** What an election may take after the old leader was given up, on a machine with other things to do. */
export const electionAllowanceMs = 4_000
/** Acknowledged writes that show that service is back, for good and not by chance. */
const writesOfProgress = 60
const stopBoundMs = 60_000

export type Expectation = {
  /** The longest time without an acknowledged write. */
  readonly outageMaxMs?: (tickMs: number) => number
  /** No session that talks expires. */
  readonly sessionsSurvive?: boolean
  /** Clients that repeat what a lost connection interrupted see nothing else go wrong. */
  readonly nothingFails?: boolean
  /** What the checks have to find: each of these at least once, and nothing else counts. */
  readonly findings?: readonly RegExp[]
}

/** What is lost at the most when a leader falls silent: its followers notice, and elect another. */
export const silentLeader = (tickMs: number): number => limits.sync * tickMs + electionAllowanceMs

export type Scenario = {
  readonly name: string
  readonly title: string
  readonly shape: Shape
  /** Part of the short form. */
  readonly short?: boolean
  /** What it needs that not every machine has. */
  readonly needs?: 'mount' | 'proxy'
  readonly expect?: Expectation
  run(stage: Stage): Promise<void>
}

/** What a scenario works with. */
export type Stage = {
  readonly cluster: Cluster
  readonly prng: Prng
  readonly tickMs: number
  readonly sessionTimeoutMs: number
  readonly isShort: boolean
  /** How long a fault lasts. Never a wait for something to have happened. */
  hold(durationMs: number): Promise<void>
  /** Waits until writes have been acknowledged anew, many of them. Throws if it takes longer than `boundMs`. */
  progress(boundMs?: number): Promise<void>
  note(text: string): void
}

export type Result = {
  readonly name: string
  readonly problems: readonly string[]
  /** Why it did not run. */
  readonly skipped?: string
  readonly elapsedMs: number
  readonly outageMs: number
  readonly writes: number
  readonly requests: number
  readonly unknown: number
  readonly moves: number
  readonly expiries: number
  /** How long the whole machine stood still, and every problem may come from that: nothing but bounds of time was broken. */
  readonly excusedByMs: number
  /** Where data, logs and the history are, if they were kept. */
  readonly files?: string
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** How often the test program looks at the clock, and the shortest standstill that it notes. */
const watchIntervalMs = 50
const standstillMs = 500
/** Problems that a machine which stands still can cause. */
const lateness = /not within \d+ ms|^no write for|^session \S+ expired|a request took/

/**
 * Notes when this process was not run although it had something to do. A virtual machine may stand still for seconds, with
 * all servers in it; no bound of time means anything then.
 */
class Standstills {
  readonly all: { readonly fromMs: number; readonly toMs: number }[] = []
  readonly #timer: NodeJS.Timeout
  #lastMs = performance.now()

  constructor() {
    this.#timer = setInterval(() => this.look(), watchIntervalMs)
  }

  look(): void {
    const nowMs = performance.now()
    if (nowMs - this.#lastMs > standstillMs) this.all.push({ fromMs: this.#lastMs, toMs: nowMs })
    this.#lastMs = nowMs
  }

  get totalMs(): number {
    return this.all.reduce((sum, { fromMs, toMs }) => sum + toMs - fromMs, 0)
  }

  stop(): void {
    clearInterval(this.#timer)
  }
}

class Run {
  readonly scenario: Scenario
  readonly cluster: Cluster
  readonly prng: Prng
  readonly load: Load
  readonly problems: string[] = []
  readonly notes: string[] = []
  readonly standstills = new Standstills()
  readonly #options: Options
  readonly #registers: Registers
  readonly #appends: Appends
  readonly #patients: Patients
  readonly #locks: Locks
  readonly #presences: Presences
  readonly #watches: Watches
  outageMs = 0

  constructor(scenario: Scenario, cluster: Cluster, options: Options, seed: number) {
    this.scenario = scenario
    this.cluster = cluster
    this.#options = options
    this.prng = createPrng(seed)
    const { tickMs } = options
    const timeoutMs = sessionTicks * tickMs
    this.load = new Load({ endpoints: cluster.endpoints, prng: createPrng(seed + 1), timeoutMs })
    this.#registers = new Registers(this.load, options.syncIsStrong)
    this.#appends = new Appends(this.load)
    this.#patients = new Patients(this.load)
    this.#locks = new Locks(this.load)
    // A server that is cut off goes on to answer pings for syncLimit ticks, and the leader does not hear of these.
    const passingMs = passingTicks * tickMs
    const earlyMs = Math.max(passingMs / 3, limits.sync * tickMs) + tickMs
    const lateMs = 4 * tickMs + electionAllowanceMs
    this.#presences = new Presences(this.load, { timeoutMs: passingMs, earlyMs, lateMs })
    this.#watches = new Watches(this.load)
  }

  get #workloads(): readonly Workload[] {
    return [this.#registers, this.#appends, this.#patients, this.#locks, this.#presences, this.#watches]
  }

  async progress(boundMs = startBoundMs): Promise<void> {
    const { acknowledgedMs } = this.load
    const target = acknowledgedMs.length + writesOfProgress
    await until(boundMs, 'writes are acknowledged again', () => acknowledgedMs.length >= target)
  }

  stage(): Stage {
    return {
      cluster: this.cluster,
      prng: this.prng,
      tickMs: this.#options.tickMs,
      sessionTimeoutMs: this.load.timeoutMs,
      isShort: this.#options.short,
      hold: (durationMs) => delay(durationMs),
      progress: (boundMs) => this.progress(boundMs),
      note: (text) => this.notes.push(`${performance.now().toFixed(1)} ms: ${text}`),
    }
  }

  /** Everything. Problems are collected; what is thrown is one too. */
  async all(): Promise<void> {
    const prepare = async () => {
      for (const workload of this.#workloads) await workload.prepare()
    }
    await within(prepare(), 'the ensemble takes the first writes', startBoundMs)
    for (const workload of this.#workloads) workload.start()
    await this.progress()
    const startedMs = performance.now()
    await this.#phase('the faults', () => this.scenario.run(this.stage()))
    await this.#phase('healing', async () => {
      this.stage().note('healing')
      await this.cluster.heal()
      await this.cluster.untilServing()
      await this.progress()
    })
    this.outageMs = longestGap(this.load.acknowledgedMs, startedMs, performance.now())
    this.load.stop()
    await this.#phase('stopping the clients', () =>
      within(this.#stopAll(), 'all clients come to their end', stopBoundMs),
    )
    await this.#phase('reading the trees', () => this.#compareAndCheck())
    this.#judge()
  }

  async #phase(what: string, run: () => Promise<void>): Promise<void> {
    try {
      await run()
    } catch (error) {
      this.problems.push(`${what}: ${messageOf(error)}`)
    }
  }

  async #stopAll(): Promise<void> {
    // The clients end first; what they left is looked at when nobody writes any more.
    await Promise.all(
      this.#workloads.filter((workload) => workload !== this.#watches).map((each) => each.stop()),
    )
    await this.#watches.stop()
  }

  async #compareAndCheck(): Promise<void> {
    const { tree, problems } = await compareTrees(this.cluster, this.prng)
    this.problems.push(...problems)
    for (const workload of this.#workloads) this.problems.push(...workload.check(tree))
  }

  #judge(): void {
    const { expect = {} } = this.scenario
    const { sessions, expiries } = this.load
    for (const server of this.cluster.servers) this.problems.push(...server.surprises)
    for (const session of sessions) this.problems.push(...session.breaches)
    this.problems.push(...this.load.problems)
    const outageMaxMs = expect.outageMaxMs?.(this.#options.tickMs) ?? Number.POSITIVE_INFINITY
    if (this.outageMs > outageMaxMs) {
      this.problems.push(`no write for ${this.outageMs.toFixed(0)} ms, expected at most ${outageMaxMs}`)
    }
    if (expect.sessionsSurvive === true) {
      for (const { session, atMs } of expiries) {
        this.problems.push(`session ${session} expired, found out at ${atMs.toFixed(1)} ms`)
      }
    }
    if (expect.nothingFails === true) this.problems.push(...this.#patients.failures)
    if (this.#locks.proofs.length === 0) this.problems.push('nobody ever had the lock')
    if (this.#watches.events === 0) this.problems.push('no watch ever fired')
    if (expect.findings !== undefined) this.#judgeFindings(expect.findings)
  }

  /** For a scenario that breaks the rules itself: what matters is only whether the checks have seen it. */
  #judgeFindings(findings: readonly RegExp[]): void {
    const missed = findings.filter((finding) => !this.problems.some((problem) => finding.test(problem)))
    this.notes.push(...this.problems)
    this.problems.splice(
      0,
      this.problems.length,
      ...missed.map((finding) => `the checks have not found ${finding}`),
    )
  }

  /** Stops what still runs after a failure. */
  async abandon(): Promise<void> {
    this.standstills.stop()
    this.load.stop()
    await Promise.all(this.load.sessions.map((session) => session.abandon()))
  }

  /** Writes down all that happened, a line each. */
  async writeHistory(file: string): Promise<void> {
    const lines = [
      ...this.problems.map((problem) => ({ problem })),
      ...this.notes.map((note) => ({ note })),
      ...this.standstills.all.map((standstill) => ({ standstill })),
      ...this.#registers.ops,
      ...this.#appends.requests.map((append) => ({ append })),
      ...this.#locks.proofs.map((proof) => ({ proof })),
      ...this.#presences.presences.map((presence) => ({ presence })),
      ...this.#presences.silent.map((silent) => ({ silent })),
      ...this.#presences.listings.map(({ names, ...times }) => ({
        listing: { ...times, names: [...names] },
      })),
    ]
    await writeFile(file, lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
  }

  result(elapsedMs: number): Omit<Result, 'files'> {
    const { acknowledgedMs, counts, sessions, expiries } = this.load
    const isExcused = this.problems.length > 0 && this.problems.every((problem) => lateness.test(problem))
    return {
      name: this.scenario.name,
      problems: this.problems,
      elapsedMs,
      outageMs: this.outageMs,
      writes: acknowledgedMs.length,
      requests: counts.ok + counts.error + counts.unknown,
      unknown: counts.unknown,
      moves: sessions.reduce((sum, { moves }) => sum + moves, 0),
      expiries: expiries.length,
      excusedByMs: isExcused ? this.standstills.totalMs : 0,
    }
  }
}

/** The longest time without any of `times` between `from` and `to`, in ms. */
export function longestGap(times: readonly number[], from: number, to: number): number {
  let longest = 0
  let last = from
  for (const time of [...times.filter((each) => each > from && each < to), to]) {
    longest = Math.max(longest, time - last)
    last = time
  }
  return longest
}

/** Runs a scenario in a folder of its own below `root`. Never throws: what goes wrong is a problem of the result. */
export async function runScenario(
  scenario: Scenario,
  options: Options,
  seed: number,
  root: string,
): Promise<Result> {
  const startedMs = performance.now()
  const dir = path.join(root, scenario.name)
  await mkdir(dir, { recursive: true })
  let cluster: Cluster
  try {
    cluster = await startCluster(options, scenario.shape, dir)
  } catch (error) {
    const counts = { outageMs: 0, writes: 0, requests: 0, unknown: 0, moves: 0, expiries: 0, excusedByMs: 0 }
    const problems = [`the ensemble does not start: ${messageOf(error)}`]
    return { name: scenario.name, problems, elapsedMs: performance.now() - startedMs, ...counts, files: dir }
  }
  const run = new Run(scenario, cluster, options, seed)
  await run.all().catch((error: unknown) => run.problems.push(messageOf(error)))
  await run.abandon()
  const hasFailed = run.problems.length > 0
  const keep = hasFailed || options.keep
  if (keep) await run.writeHistory(path.join(dir, 'history.jsonl'))
  await cluster.dispose(keep)
  return { ...run.result(performance.now() - startedMs), ...(keep && { files: dir }) }
}

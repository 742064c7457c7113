// What is known of earlier runs of the side-by-side measurement: a line of JSON for each, and whether a new run has lost
// against them. Pure but for reading and appending the file.
import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import type { CpuInfo } from 'node:os'

export type Processor = Pick<CpuInfo, 'times'>

/** Runs on machines that differ in any of it are not compared. */
export type Machine = {
  readonly cpus: number
  readonly model: string
  readonly memoryGiB: number
  readonly kernel: string
  readonly node: string
}

/** zabd's figure divided by that of the other program. Of `perSecond` more is better, of the others less. */
export type Ratios = {
  readonly perSecond: number
  readonly p50: number
  readonly p99: number
  readonly cpu?: number
}

export type Run = {
  /** Of these lines; readers skip what they do not know. */
  readonly format: 1
  /** ISO 8601. */
  readonly at: string
  /** With a `+` when there were changes that are not committed. */
  readonly commit: string
  readonly machine: Machine
  /** How many processors others kept at work before it began; of the first runs it is the load average. */
  readonly load: number
  readonly against: 'apache' | 'floor'
  /** Measured time of each scenario and how often. */
  readonly seconds: number
  readonly repetitions: number
  readonly ratios: Readonly<Record<string, Ratios>>
}

/** A ratio that is much worse than it was. */
export type Loss = {
  readonly scenario: string
  readonly figure: keyof Ratios
  /** The median of earlier runs. */
  readonly was: number
  readonly is: number
}

/** A ratio may be worse by this share before it counts as lost: short runs differ by half of it. */
export const largeLoss = 0.3
/** Fewer earlier runs say nothing. */
export const leastRuns = 3
/** Latencies of short runs swing too much to fail anything; throughput and CPU time do not. */
const judged: readonly (keyof Ratios)[] = ['perSecond', 'cpu']

export function readHistory(file: string): Run[] {
  if (!existsSync(file)) return []
  const lines = readFileSync(file, 'utf8').split('\n')
  return lines
    .filter((line) => line.trim() !== '')
    .map((line, index) => parseRun(line, `${file}:${index + 1}`))
    .filter((run) => run !== undefined)
}

export function appendRun(file: string, run: Run): void {
  appendFileSync(file, `${JSON.stringify(run)}\n`)
}

/** Undefined for a format of the future; throws on a line that is none at all. */
function parseRun(line: string, where: string): Run | undefined {
  let run: Partial<Run>
  try {
    run = JSON.parse(line) as Partial<Run>
  } catch {
    throw new Error(`${where}: this line is no JSON: remove it, or repair it`)
  }
  if (run.format !== 1) return undefined
  if (run.machine === undefined || run.ratios === undefined || run.against === undefined) {
    throw new Error(`${where}: this line has no machine, ratios or against`)
  }
  return run as Run
}

/** Whether figures of two runs can be compared: the same sort of machine, the same other program. */
export function sameKind(a: Run, b: Run): boolean {
  return a.against === b.against && kindOf(a.machine) === kindOf(b.machine)
}

/** Patch levels of the kernel and of Node.js make no other machine. */
function kindOf({ cpus, model, memoryGiB, kernel, node }: Machine): string {
  const minor = (version: string) => version.split('.').slice(0, 2).join('.')
  return [cpus, model, memoryGiB, minor(kernel), node.split('.')[0]].join(' | ')
}

/** Figures of a machine that others keep busy are no measure: neither trusted nor compared with. */
export function isBusy(load: number, processors: number): boolean {
  return load > processors / 2
}

/** How many processors were at work between two times, each of which has all of them in the same order. */
export function processorsAtWork(before: readonly Processor[], after: readonly Processor[]): number {
  let atWork = 0
  for (const [i, { times }] of after.entries()) {
    const from = before[i]?.times ?? times
    const working = workOf(times) - workOf(from)
    const all = working + times.idle - from.idle
    if (all > 0) atWork += working / all
  }
  return atWork
}

function workOf({ user, nice, sys, irq }: Processor['times']): number {
  return user + nice + sys + irq
}

/** Earlier runs that a run can be held against. */
export function comparable(run: Run, earlier: readonly Run[]): Run[] {
  return earlier.filter((other) => sameKind(run, other) && !isBusy(other.load, other.machine.cpus))
}

/** Ratios of `run` that are worse by a large margin than the median of earlier runs of its kind. */
export function losses(run: Run, earlier: readonly Run[]): Loss[] {
  const others = comparable(run, earlier)
  return Object.entries(run.ratios).flatMap(([scenario, ratios]) =>
    judged.flatMap((figure): Loss[] => {
      const is = ratios[figure]
      const before = others
        .map((other) => other.ratios[scenario]?.[figure])
        .filter((value) => value !== undefined)
      if (is === undefined || before.length < leastRuns) return []
      const was = median(before)
      return isLost(figure, was, is) ? [{ scenario, figure, was, is }] : []
    }),
  )
}

function isLost(figure: keyof Ratios, was: number, is: number): boolean {
  const kept = figure === 'perSecond' ? is / was : was / is
  return kept < 1 - largeLoss
}

/** A run whose ratios are the better ones of two: what a repetition reaches was not lost. */
export function better(run: Run, repeated: Readonly<Record<string, Ratios>>): Run {
  const ratios = Object.entries(run.ratios).map(([scenario, first]) => {
    const second = repeated[scenario]
    if (second === undefined) return [scenario, first] as const
    const cpus = [first.cpu, second.cpu].filter((cpu) => cpu !== undefined)
    const chosen: Ratios = {
      perSecond: Math.max(first.perSecond, second.perSecond),
      p50: Math.min(first.p50, second.p50),
      p99: Math.min(first.p99, second.p99),
      ...(cpus.length === 0 ? {} : { cpu: Math.min(...cpus) }),
    }
    return [scenario, chosen] as const
  })
  return { ...run, ratios: Object.fromEntries(ratios) }
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  const high = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? high : ((sorted[middle - 1] ?? Number.NaN) + high) / 2
}

// Runs seeds: one to look at, or many in parallel in workers that ask for the next seed when they are done with one.
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import type { Figures, RunResult } from './run.ts'
import { run } from './run.ts'

export type ManyOptions = {
  readonly from: number
  readonly count: number
  readonly steps: number
  /** Default: one per core. */
  readonly workers: number | undefined
  readonly print: (line: string) => void
}

export type SeedsOptions = {
  readonly from: number
  readonly count: number
  readonly steps: number
  readonly workers?: number | undefined
  /** The compiled form of this file that the workers run; this one by default. */
  readonly script?: string
  /** Takes each result; false: no more seeds are begun. */
  readonly onResult: (result: RunResult) => boolean
}

/** How a worker of this file is known from other workers that load it. */
const marker = 'seeds of whole servers'

type WorkerTask = { readonly marker: string; readonly steps: number }

/** Runs a seed and prints what came of it; false if a promise was broken. */
export async function runOne(
  { seed, steps }: { readonly seed: number; readonly steps: number },
  traced: boolean,
  print: (line: string) => void,
): Promise<boolean> {
  const result = await run(traced ? { seed, steps, trace: print } : { seed, steps })
  print(describeResult(result))
  return result.failure === undefined
}

/** Runs many seeds and prints the failures and figures; false if a promise was broken. */
export async function runMany({ from, count, steps, workers, print }: ManyOptions): Promise<boolean> {
  const startedAt = performance.now()
  const results: RunResult[] = []
  const onResult = (result: RunResult) => {
    results.push(result)
    if (result.failure === undefined) return true
    print(describeResult(result))
    print(`  replay: node dist/sim/whole/main.js --seed ${result.seed} --steps ${steps} --trace`)
    return true
  }
  await runSeeds({ from, count, steps, workers, onResult })
  const failures = results.filter(({ failure }) => failure !== undefined).length
  const seconds = (performance.now() - startedAt) / 1000
  const total = results.reduce((sum, result) => sum + result.steps, 0)
  const virtual = results.reduce((sum, result) => sum + result.virtualMs, 0) / 1000
  const slowest = Math.max(...results.map(({ recoveryMs }) => recoveryMs))
  print(
    `${count} seeds, ${failures} failed, ${total} steps in ${seconds.toFixed(1)} s (${Math.round(total / seconds)} steps/s), ${Math.round(virtual)} s virtual, slowest recovery ${Math.round(slowest)} ms`,
  )
  print(describeFigures(sumOf(results.map(({ figures }) => figures))))
  return failures === 0
}

/** Runs seeds in workers. Rejects if a worker fails as such. */
export async function runSeeds(options: SeedsOptions): Promise<void> {
  const { from, count, steps, workers, onResult } = options
  const script = options.script ?? fileURLToPath(import.meta.url)
  let next = from
  let over = false
  const width = Math.max(1, Math.min(count, workers ?? availableParallelism()))
  const one = () =>
    new Promise<void>((resolve, reject) => {
      const task: WorkerTask = { marker, steps }
      const worker = new Worker(script, { workerData: task })
      const give = () => {
        if (over || next >= from + count) void worker.terminate().then(() => resolve())
        else worker.postMessage(next++)
      }
      worker.on('error', reject)
      worker.on('message', (result: RunResult) => {
        if (!over && !onResult(result)) over = true
        give()
      })
      give()
    })
  await Promise.all(Array.from({ length: width }, one))
}

function sumOf(all: readonly Figures[]): Figures {
  const sum: Record<string, number> = {}
  for (const figures of all)
    for (const [name, value] of Object.entries(figures)) sum[name] = (sum[name] ?? 0) + value
  return sum as unknown as Figures
}

function describeFigures(figures: Figures): string {
  return Object.entries(figures)
    .map(([name, value]) => `${value} ${name}`)
    .join(', ')
}

/** A line for a run. */
export function describeResult({ seed, steps, virtualMs, figures, recoveryMs, failure }: RunResult): string {
  const end = failure === undefined ? `recovered in ${Math.round(recoveryMs)} ms` : `FAILED ${failure}`
  return `seed ${seed}: ${steps} steps, ${(virtualMs / 1000).toFixed(1)} s virtual, ${describeFigures(figures)}, ${end}`
}

/** In a worker: runs the seeds that it is given, one at a time. */
function work({ steps }: WorkerTask): void {
  parentPort?.on('message', (seed: number) => {
    run({ seed, steps }).then(
      (result) => parentPort?.postMessage(result),
      (error: unknown) => {
        throw error
      },
    )
  })
}

const task = workerData as WorkerTask | null
if (!isMainThread && task?.marker === marker) work(task)

// Runs seeds: one to look at, or many in parallel, each worker with seeds of its own.
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

type Task = { readonly seeds: readonly number[]; readonly steps: number }

/** Runs a seed and prints what came of it; false if a promise was broken. */
export async function runOne(
  seed: number,
  steps: number,
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
  const width = Math.max(1, Math.min(count, workers ?? availableParallelism()))
  const results: RunResult[] = []
  const tasks = Array.from({ length: width }, (_, i): Task => {
    const seeds: number[] = []
    for (let seed = from + i; seed < from + count; seed += width) seeds.push(seed)
    return { seeds, steps }
  })
  await Promise.all(
    tasks.map((task) =>
      inWorker(task, (result) => {
        results.push(result)
        if (result.failure === undefined) return
        print(describeResult(result))
        print(`  replay: node dist/sim/whole/main.js --seed ${result.seed} --steps ${steps} --trace`)
      }),
    ),
  )
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

function inWorker(task: Task, onResult: (result: RunResult) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(fileURLToPath(import.meta.url), { workerData: task })
    worker.on('message', onResult)
    worker.on('error', reject)
    worker.on('exit', () => resolve())
  })
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

if (!isMainThread && parentPort !== null) {
  const { seeds, steps } = workerData as Task
  for (const seed of seeds) parentPort.postMessage(await run({ seed, steps }))
}

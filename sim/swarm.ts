// Many seeds at once, on every core: a few worker threads that take the next task when they have done one. The order in
// which results come is not that of the seeds; each seed's result is the same as ever.
import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import type { RunResult } from './run.ts'

export type Task =
  | { readonly type: 'run'; readonly from: number; readonly count: number; readonly steps: number }
  | { readonly type: 'hunt'; readonly name: string; readonly seeds: number; readonly steps: number }

export type TaskResult =
  | { readonly type: 'ran'; readonly results: readonly RunResult[] }
  | {
      readonly type: 'hunted'
      readonly name: string
      readonly tried: number
      readonly failure: string | undefined
    }

/** How many workers there are if nobody says how many. */
export const usualWorkers = availableParallelism()

/** Has the tasks done by `workers` threads; `done` hears of each. Rejects with the first error of a worker. */
export async function share(
  tasks: readonly Task[],
  workers: number,
  done: (result: TaskResult) => void,
): Promise<void> {
  const queue = [...tasks]
  const count = Math.max(1, Math.min(workers, queue.length))
  await Promise.all(Array.from({ length: count }, () => work(queue, done)))
}

function work(queue: Task[], done: (result: TaskResult) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./worker.js', import.meta.url))
    const next = () => {
      const task = queue.shift()
      if (task === undefined) void worker.terminate().then(() => resolve())
      else worker.postMessage(task)
    }
    worker.on('error', reject)
    worker.on('message', (result: TaskResult) => {
      done(result)
      next()
    })
    next()
  })
}

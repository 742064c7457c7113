// A load shared among threads, for when one of them can not keep the servers busy. Each has its connections and its part
// of the rate; they begin together.
import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'
import { type LoadPlan, type LoadResult, mergeResults, runLoad } from './load.ts'
import type { Answer } from './load-thread.ts'

/** The program of a thread, compiled or not, as this file. */
const program = new URL(`./load-thread${extname(import.meta.url)}`, import.meta.url)

/** As `runLoad`, by so many threads. */
export async function runLoadOnThreads(
  plan: LoadPlan,
  threads: number,
  stop?: AbortSignal,
): Promise<LoadResult> {
  const count = Math.min(threads, plan.connections)
  if (count <= 1) return await runLoad(plan, stop)
  const plans = Array.from({ length: count }, (_, i): LoadPlan => {
    const connections = Math.floor(plan.connections / count) + (i < plan.connections % count ? 1 : 0)
    const part = connections / plan.connections
    return {
      ...plan,
      connections,
      rate: plan.rate === undefined ? undefined : plan.rate * part,
      ...(plan.requests === undefined ? {} : { requests: Math.ceil(plan.requests * part) }),
      seed: plan.seed + i,
    }
  })
  return mergeResults(await Promise.all(plans.map((each) => runLoadAside(each, stop))))
}

/** As `runLoad`, by a thread of its own: what this one does meanwhile delays no request. */
export async function runLoadAside(plan: LoadPlan, stop?: AbortSignal): Promise<LoadResult> {
  const worker = new Worker(program, { workerData: plan })
  const onStop = () => worker.postMessage('stop')
  stop?.addEventListener('abort', onStop)
  try {
    const answer = await new Promise<Answer>((resolve, reject) => {
      worker.once('message', resolve)
      worker.once('error', reject)
    })
    if ('error' in answer) throw answer.error
    return answer.result
  } finally {
    stop?.removeEventListener('abort', onStop)
    await worker.terminate()
  }
}

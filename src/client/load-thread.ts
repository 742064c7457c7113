// What a thread of `runLoadOnThreads` does: runs the plan that it was started with and answers with the result. Any
// message ends it early. Not for importing.
import { parentPort, workerData } from 'node:worker_threads'
import { type LoadPlan, type LoadResult, runLoad } from './load.ts'

export type Answer = { readonly result: LoadResult } | { readonly error: Error }

const stopper = new AbortController()
parentPort?.once('message', () => stopper.abort())
let answer: Answer
try {
  answer = { result: await runLoad(workerData as LoadPlan, stopper.signal) }
} catch (error) {
  answer = { error: error as Error }
}
parentPort?.postMessage(answer)

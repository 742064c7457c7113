// One worker of swarm.ts: runs what it is told, tells what came of it.
import { parentPort } from 'node:worker_threads'
import { hunt } from './mutants.ts'
import { mutations } from './mutations.ts'
import { run } from './run.ts'
import type { Task, TaskResult } from './swarm.ts'

async function perform(task: Task): Promise<TaskResult> {
  if (task.type === 'hunt') {
    const mutation = mutations.find(({ name }) => name === task.name)
    if (mutation === undefined) throw new Error(`no mutation ${task.name}`)
    return { type: 'hunted', name: task.name, ...(await hunt(mutation, task.seeds, task.steps)) }
  }
  const results = Array.from({ length: task.count }, (_, i) =>
    run({ seed: task.from + i, steps: task.steps }),
  )
  return { type: 'ran', results }
}

parentPort?.on('message', async (task: Task) => {
  parentPort?.postMessage(await perform(task))
})

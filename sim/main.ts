// The simulator's command line.
//   node dist/sim/main.js --seed N [--steps N] [--trace]     one seed, with a readable trace
//   node dist/sim/main.js --seeds N [--from N] [--steps N]   many seeds on every core, steps per second
//   node dist/sim/main.js --swarm [--seeds N] [--steps N]    the same with seeds that nobody has tried
//   node dist/sim/main.js --mutations [--seeds N]            how soon each deliberate bug is found
// `--workers N` says on how many threads. Exit code 1 if a property was violated, or a mutation not found.
import { parseArgs } from 'node:util'
import { huntAll } from './mutants.ts'
import { type RunResult, run } from './run.ts'
import { share, type Task, usualWorkers } from './swarm.ts'

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    seeds: { type: 'string' },
    from: { type: 'string', default: '1' },
    steps: { type: 'string', default: '2000' },
    workers: { type: 'string' },
    trace: { type: 'boolean', default: false },
    swarm: { type: 'boolean', default: false },
    mutations: { type: 'boolean', default: false },
    mutation: { type: 'string' },
  },
})

const steps = Number(values.steps)
const workers = Number(values.workers ?? usualWorkers)
/** Seeds that a worker takes at a time. */
const bunch = 50

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

function describeResult(result: RunResult): string {
  const { seed, virtualMs, leaders, delivered, messages, recoveryMs, failure } = result
  const figures = `${result.steps} steps, ${(virtualMs / 1000).toFixed(1)} s virtual, ${leaders} leaders, ${delivered} delivered, ${messages} messages`
  const end = failure === undefined ? `recovered in ${Math.round(recoveryMs)} ms` : `FAILED ${failure}`
  return `seed ${seed}: ${figures}, ${end}`
}

function runOne(seed: number): boolean {
  const result = run(values.trace ? { seed, steps, trace: print } : { seed, steps })
  print(describeResult(result))
  return result.failure === undefined
}

async function runMany(from: number, count: number): Promise<boolean> {
  const startedAt = performance.now()
  let failures = 0
  const sums = { steps: 0, leaders: 0, delivered: 0, votings: 0, lostDisks: 0, recoveryMs: 0, slowestMs: 0 }
  const add = (result: RunResult) => {
    sums.steps += result.steps
    sums.leaders += result.leaders
    sums.delivered += result.delivered
    sums.votings += result.votings
    sums.lostDisks += result.lostDisks
    sums.recoveryMs += result.recoveryMs
    sums.slowestMs = Math.max(sums.slowestMs, result.recoveryMs)
    if (result.failure === undefined) return
    failures++
    print(describeResult(result))
    print(`  replay: node dist/sim/main.js --seed ${result.seed} --steps ${steps} --trace`)
  }
  const tasks: Task[] = []
  for (let seed = from; seed < from + count; seed += bunch)
    tasks.push({ type: 'run', from: seed, count: Math.min(bunch, from + count - seed), steps })
  await share(tasks, workers, (done) => {
    if (done.type === 'ran') done.results.forEach(add)
  })
  const seconds = (performance.now() - startedAt) / 1000
  const rate = Math.round(sums.steps / seconds)
  print(
    `seeds ${from} to ${from + count - 1}: ${failures} failed, ${sums.steps} steps in ${seconds.toFixed(1)} s (${rate} steps/s)`,
  )
  print(
    `${sums.leaders} leaders, ${sums.delivered} entries delivered, ${sums.votings} votings, ${sums.lostDisks} disks lost; recovery ${Math.round(sums.recoveryMs / count)} ms on average, ${Math.round(sums.slowestMs)} ms at most`,
  )
  return failures === 0
}

async function main(): Promise<boolean> {
  if (values.mutations || values.mutation !== undefined)
    return await huntAll({
      seeds: Number(values.seeds ?? '5000'),
      steps,
      workers,
      only: values.mutation,
      print,
    })
  if (values.seed !== undefined) return runOne(Number(values.seed))
  if (values.swarm)
    return await runMany(1e6 + Math.floor(Math.random() * 1e9), Number(values.seeds ?? '1000'))
  return await runMany(Number(values.from), Number(values.seeds ?? '100'))
}

process.exitCode = (await main()) ? 0 : 1

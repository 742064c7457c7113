// The simulator's command line.
//   node dist/sim/main.js --seed N [--steps N] [--trace]   one seed, with a readable trace
//   node dist/sim/main.js --seeds N [--from N] [--steps N]  many seeds, steps per second
//   node dist/sim/main.js --mutations [--seeds N]           how soon each deliberate bug is found
// Exit code 1 if a property was violated, or a mutation not found.
import { parseArgs } from 'node:util'
import { runMutations } from './mutants.ts'
import { type RunResult, run } from './run.ts'

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    seeds: { type: 'string' },
    from: { type: 'string', default: '1' },
    steps: { type: 'string', default: '2000' },
    trace: { type: 'boolean', default: false },
    mutations: { type: 'boolean', default: false },
    mutation: { type: 'string' },
  },
})

const steps = Number(values.steps)

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

function runMany(from: number, count: number): boolean {
  const startedAt = performance.now()
  let failures = 0
  const sums = { steps: 0, leaders: 0, delivered: 0, recoveryMs: 0, slowestMs: 0 }
  for (let seed = from; seed < from + count; seed++) {
    const result = run({ seed, steps })
    sums.steps += result.steps
    sums.leaders += result.leaders
    sums.delivered += result.delivered
    sums.recoveryMs += result.recoveryMs
    sums.slowestMs = Math.max(sums.slowestMs, result.recoveryMs)
    if (result.failure === undefined) continue
    failures++
    print(describeResult(result))
    print(`  replay: node dist/sim/main.js --seed ${seed} --steps ${steps} --trace`)
  }
  const seconds = (performance.now() - startedAt) / 1000
  const rate = Math.round(sums.steps / seconds)
  print(
    `${count} seeds, ${failures} failed, ${sums.steps} steps in ${seconds.toFixed(1)} s (${rate} steps/s)`,
  )
  print(
    `${sums.leaders} leaders, ${sums.delivered} entries delivered; recovery ${Math.round(sums.recoveryMs / count)} ms on average, ${Math.round(sums.slowestMs)} ms at most`,
  )
  return failures === 0
}

async function main(): Promise<boolean> {
  if (values.mutations || values.mutation !== undefined)
    return await runMutations({ seeds: Number(values.seeds ?? '5000'), steps, only: values.mutation, print })
  if (values.seed !== undefined) return runOne(Number(values.seed))
  return runMany(Number(values.from), Number(values.seeds ?? '100'))
}

process.exitCode = (await main()) ? 0 : 1

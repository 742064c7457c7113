// The command line of the simulator of whole servers.
//   node dist/sim/whole/main.js --seed N [--steps N] [--trace]    one seed, with a readable trace
//   node dist/sim/whole/main.js --seeds N [--from N] [--steps N]  many seeds on all cores, steps per second
//   node dist/sim/whole/main.js --mutations [--seeds N]           how soon each deliberate bug is found
// Exit code 1 if a promise was broken, or a mutation not found.
import { parseArgs } from 'node:util'
import { runMany, runOne } from './many.ts'
import { runMutations } from './mutants.ts'

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    seeds: { type: 'string' },
    from: { type: 'string', default: '1' },
    steps: { type: 'string', default: '20000' },
    workers: { type: 'string' },
    trace: { type: 'boolean', default: false },
    mutations: { type: 'boolean', default: false },
    mutation: { type: 'string' },
  },
})

const steps = Number(values.steps)

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

async function main(): Promise<boolean> {
  if (values.mutations || values.mutation !== undefined)
    return await runMutations({ seeds: Number(values.seeds ?? '300'), steps, only: values.mutation, print })
  if (values.seed !== undefined)
    return await runOne({ seed: Number(values.seed), steps }, values.trace, print)
  const workers = values.workers === undefined ? undefined : Number(values.workers)
  return await runMany({
    from: Number(values.from),
    count: Number(values.seeds ?? '100'),
    steps,
    workers,
    print,
  })
}

process.exitCode = (await main()) ? 0 : 1

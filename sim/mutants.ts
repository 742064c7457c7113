// Proves that the simulator finds bugs: each mutation is a bug put on purpose into a copy of the compiled core, and must
// be found within a bounded number of seeds. The core itself knows nothing of them.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { mutate } from './mutate.ts'
import { type Mutation, mutations } from './mutations.ts'
import type { RunOptions, RunResult } from './run.ts'
import { share, type Task } from './swarm.ts'

export type MutationOptions = {
  /** Most seeds to try on each. */
  readonly seeds: number
  readonly steps: number
  readonly workers: number
  /** Only the mutation of this name. */
  readonly only: string | undefined
  readonly print: (line: string) => void
}

type Runner = (options: RunOptions) => RunResult

/** Tries every mutation, prints a table; false if one was not found. */
export async function huntAll({ seeds, steps, workers, only, print }: MutationOptions): Promise<boolean> {
  const chosen = mutations.filter(({ name }) => only === undefined || name === only)
  const lines = new Map<string, string>()
  let missed = 0
  const tasks: Task[] = chosen.map(({ name }) => ({ type: 'hunt', name, seeds, steps }))
  await share(tasks, workers, (done) => {
    if (done.type !== 'hunted') return
    const { name, tried, failure } = done
    if (failure === undefined) missed++
    const found = failure === undefined ? '**not found**' : failure.split('. ')[0]
    const standsFor = chosen.find((one) => one.name === name)?.standsFor
    lines.set(name, `| ${name} | ${standsFor} | ${tried} | ${found} |`)
  })
  print('| mutation | stands for | seeds | found as |')
  print('|---|---|---|---|')
  for (const { name } of chosen) print(lines.get(name) ?? '')
  print(`${chosen.length} mutations, ${missed} not found within ${seeds} seeds of ${steps} steps`)
  return missed === 0 && chosen.length > 0
}

/** Runs seeds 1, 2, 3 and so on until one fails. */
export async function hunt(
  mutation: Mutation,
  seeds: number,
  steps: number,
): Promise<{ tried: number; failure: string | undefined }> {
  const folder = mkdtempSync(join(tmpdir(), 'zabd-mutant-'))
  try {
    const run = await loadMutant(folder, mutation)
    for (let seed = 1; seed <= seeds; seed++) {
      const { failure } = run({ seed, steps })
      if (failure !== undefined) return { tried: seed, failure }
    }
    return { tried: seeds, failure: undefined }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** Loads a changed copy of the compiled code. */
async function loadMutant(folder: string, mutation: Mutation): Promise<Runner> {
  mutate(folder, ['sim', 'src/zab', 'src/base'], mutation)
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}')
  const module: unknown = await import(pathToFileURL(join(folder, 'sim', 'run.js')).href)
  return (module as { run: Runner }).run
}

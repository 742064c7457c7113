// Proves that the simulator of whole servers finds bugs: each mutation is put into a copy of the compiled code, which runs
// in a worker of its own until it is found. The code itself knows nothing of them.
import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { built, mutate } from '../mutate.ts'
import type { Mutation } from '../mutations.ts'
import { runSeeds } from './many.ts'
import { mutations } from './mutations.ts'

export type MutationOptions = {
  /** Most seeds to try on each. */
  readonly seeds: number
  readonly steps: number
  /** Only the mutation of this name. */
  readonly only: string | undefined
  readonly print: (line: string) => void
}

/** Tries every mutation, prints a table; false if one was not found. */
export async function runMutations({ seeds, steps, only, print }: MutationOptions): Promise<boolean> {
  const chosen = mutations.filter(({ name }) => only === undefined || name === only)
  let missed = 0
  print('| mutation | stands for | seeds | found as |')
  print('|---|---|---|---|')
  for (const mutation of chosen) {
    const { tried, failure } = await hunt(mutation, seeds, steps).catch((error: unknown) => {
      print(String(error))
      return { tried: 0, failure: undefined }
    })
    if (failure === undefined) missed++
    const found = failure === undefined ? '**not found**' : failure.slice(0, 160).replaceAll('\n', ' ')
    print(`| ${mutation.name} | ${mutation.standsFor} | ${tried} | ${found} |`)
  }
  print(`${chosen.length} mutations, ${missed} not found within ${seeds} seeds of ${steps} steps`)
  return missed === 0 && chosen.length > 0
}

/** Runs seeds 1, 2, 3 and so on, on all cores, until one fails. */
export async function hunt(
  mutation: Mutation,
  seeds: number,
  steps: number,
): Promise<{ tried: number; failure: string | undefined }> {
  // Beside the code that was built, so that the copy finds the packages.
  const folder = mkdtempSync(join(built, 'mutant-'))
  try {
    mutate(folder, ['sim', 'src'], mutation)
    let tried = 0
    let failure: string | undefined
    await runSeeds({
      from: 1,
      count: seeds,
      steps,
      script: join(folder, 'sim', 'whole', 'many.js'),
      onResult: (result) => {
        tried++
        failure ??= result.failure
        return failure === undefined
      },
    })
    return { tried, failure }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

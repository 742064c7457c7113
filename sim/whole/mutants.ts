// Proves that the simulator of whole servers finds bugs: each mutation is put into a copy of the compiled code, which runs
// in a worker of its own until it is found. The code itself knows nothing of them.
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
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

/** The folder that the compiled `sim` and `src` are in. Copies go there, too, so that they find the packages. */
const built = fileURLToPath(new URL('../..', import.meta.url))

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
  const folder = mkdtempSync(join(built, 'mutant-'))
  try {
    mutate(folder, mutation)
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

/** Copies the compiled code and changes it. Throws if the code is not what the mutation was written for. */
function mutate(folder: string, mutation: Mutation): void {
  for (const part of ['sim', 'src']) cpSync(join(built, part), join(folder, part), { recursive: true })
  for (const { file, find, replace } of mutation.changes) {
    const path = join(folder, `${file}.js`)
    const parts = readFileSync(path, 'utf8').split(find)
    if (parts.length !== 2)
      throw new Error(`mutation ${mutation.name}: ${file} has ${parts.length - 1} times: ${find}`)
    writeFileSync(path, parts.join(replace))
  }
}

// Puts a mutation into a copy of the compiled code. The code itself knows nothing of it.
import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Mutation } from './mutations.ts'

/** The folder that the compiled `sim` and `src` are in. */
export const built = fileURLToPath(new URL('..', import.meta.url))

/** Copies `parts` of the compiled code to `folder` and changes them. Throws if the code is not what the mutation was written for. */
export function mutate(folder: string, parts: readonly string[], mutation: Mutation): void {
  for (const part of parts) cpSync(join(built, part), join(folder, part), { recursive: true })
  for (const { file, find, replace } of mutation.changes) {
    const path = join(folder, `${file}.js`)
    const pieces = readFileSync(path, 'utf8').split(find)
    if (pieces.length !== 2)
      throw new Error(`mutation ${mutation.name}: ${file} has ${pieces.length - 1} times: ${find}`)
    writeFileSync(path, pieces.join(replace))
  }
}

// The program as one script, and what V8 compiled of it before, as `npm run build` leaves them in dist/ (scripts/bundle.mjs):
// a start then looks for one file instead of a hundred and compiles next to nothing.
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { setFlagsFromString } from 'node:v8'
import { Script } from 'node:vm'

/** All modules in one function of `parameters`. */
export const programFile = fileURLToPath(new URL('../dist/zabd.js', import.meta.url))
export const parameters = ['module', 'exports', 'require', '__dirname', 'importMetaUrl']
/** Good for one version of V8; for another one it is as if there were none. */
export const codeFile = fileURLToPath(new URL('../dist/zabd.code', import.meta.url))

/**
 * How far V8's heap may grow, in percent of what is in use, until it is marked again. Four times is the most that V8 itself
 * allows; left to itself it stays close to the few MiB that are in use, and counts the memory of buffers outside: with writes
 * in large batches it then marked 16 times a second, which took a third of the throughput of transactions (docs/performance.md).
 */
const heapGrowthPercent = 300

/** Runs the program's modules; its exports and its script. Undefined if it was not built. */
export function loadProgram(file = programFile, code = codeFile) {
  if (!existsSync(file)) return undefined
  // A byte for a character, not two: beyond ASCII there are only comments, the bundler escapes everything else.
  const source = readFileSync(file, 'latin1')
  // Before V8 sees the code: what it has compiled counts only where its flags are the same.
  setFlagsFromString(`--heap-growing-percent=${heapGrowthPercent}`)
  const compiled = existsSync(code) ? { cachedData: readFileSync(code) } : {}
  const script = new Script(source, { filename: file, ...compiled })
  const module = { exports: {} }
  const run = script.runInThisContext()
  run(module, module.exports, createRequire(file), dirname(file), pathToFileURL(file).href)
  return { exports: module.exports, script }
}

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

/** What V8 is told about collecting garbage. */
const v8Flags = [
  // How far the heap may grow, in percent of what is in use, until it is marked again. Four times is the most that V8 itself
  // allows; left to itself it stays close to the few MiB that are in use, and counts the memory of buffers outside: with writes
  // in large batches it then marked 16 times a second, which took a third of the throughput of transactions (docs/performance.md).
  '--heap-growing-percent=300',
  // New objects keep to the 1 MiB that V8 begins with. Left to itself it grows that to 16, which no cache of a processor holds, and then
  // stops for 1 to 2 ms to collect it, and with it thousands of buffers and batches of LevelDB's: that was a third of the slowest
  // hundredth of lone writes on three servers. For 1 MiB it stops 16 times as often for 0.1 ms, and the process needs 20 MiB less.
  // V8 takes this from a running program only, and forgets it when a worker begins, of which a server has none.
  '--semi-space-growth-factor=1',
  // The thread collects that alone: it is done before a helper has begun where other servers want the processor, too. Of three servers on
  // two cores 25 such stops a second took more than 0.3 ms, and 10 without helpers.
  '--no-parallel-scavenge',
]

/** Runs the program's modules; its exports and its script. Undefined if it was not built. */
export function loadProgram(file = programFile, code = codeFile) {
  if (!existsSync(file)) return undefined
  // A byte for a character, not two: beyond ASCII there are only comments, the bundler escapes everything else.
  const source = readFileSync(file, 'latin1')
  // Before V8 sees the code: what it has compiled counts only where its flags are the same.
  for (const flag of v8Flags) setFlagsFromString(flag)
  const compiled = existsSync(code) ? { cachedData: readFileSync(code) } : {}
  const script = new Script(source, { filename: file, ...compiled })
  const module = { exports: {} }
  const run = script.runInThisContext()
  run(module, module.exports, createRequire(file), dirname(file), pathToFileURL(file).href)
  return { exports: module.exports, script }
}

// The program as one script, and what V8 compiled of it before, as `npm run build` leaves them in dist/ (scripts/bundle.mjs):
// a start then looks for one file instead of a hundred and compiles next to nothing.
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { Script } from 'node:vm'

/** All modules in one function of `parameters`. */
export const programFile = fileURLToPath(new URL('../dist/zabd.js', import.meta.url))
export const parameters = ['module', 'exports', 'require', '__dirname', 'importMetaUrl']
/** Good for one version of V8; for another one it is as if there were none. */
export const codeFile = fileURLToPath(new URL('../dist/zabd.code', import.meta.url))

/** Runs the program's modules; its exports and its script. Undefined if it was not built. */
export function loadProgram(file = programFile, code = codeFile) {
  if (!existsSync(file)) return undefined
  // A byte for a character, not two: beyond ASCII there are only comments, the bundler escapes everything else.
  const source = readFileSync(file, 'latin1')
  const compiled = existsSync(code) ? { cachedData: readFileSync(code) } : {}
  const script = new Script(source, { filename: file, ...compiled })
  const module = { exports: {} }
  const run = script.runInThisContext()
  run(module, module.exports, createRequire(file), dirname(file), pathToFileURL(file).href)
  return { exports: module.exports, script }
}

// `npm run bench`: the short side-by-side measurement. `npm run bench -- store log` and so on: benchmarks by name, one after
// another; flags go to each of them. Each answers one question and says which at its top; figures of a shared machine are
// good for ratios only.
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/** The side-by-side measurement. */
const standard = 'compare'
const all: readonly string[] = [
  standard,
  'store',
  'apply',
  'log',
  'checkpoint',
  'start',
  'watches',
  'sessions',
  'scale',
  'profile',
  'floors',
]

const args = process.argv.slice(2)
const flagsAt = args.findIndex((arg) => arg.startsWith('-'))
const asked = flagsAt < 0 ? args : args.slice(0, flagsAt)
const flags = flagsAt < 0 ? [] : args.slice(flagsAt)
const unknown = asked.filter((name) => !all.includes(name))
if (unknown.length > 0) {
  console.error(`unknown benchmark ${unknown.join(', ')}; there are ${all.join(', ')}`)
  process.exit(2)
}
for (const name of asked.length === 0 ? [standard] : asked) {
  if (asked.length > 1) console.log(`\n== ${name}`)
  const script = fileURLToPath(new URL(`./${name}.js`, import.meta.url))
  const { status } = spawnSync(process.execPath, [script, ...flags], { stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}

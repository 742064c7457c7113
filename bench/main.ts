// Runs the benchmarks one after another: `npm run bench`, or `npm run bench -- store apply log server` for some of them.
// Each answers one question and says which at its top; figures of a shared machine are good for ratios only.
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const all = ['store', 'apply', 'log', 'server'] as const

const asked = process.argv.slice(2)
const unknown = asked.filter((name) => !all.some((known) => known === name))
if (unknown.length > 0) {
  console.error(`unknown benchmark ${unknown.join(', ')}; there are ${all.join(', ')}`)
  process.exit(2)
}
for (const name of all) {
  if (asked.length > 0 && !asked.includes(name)) continue
  console.log(`\n== ${name}`)
  const script = fileURLToPath(new URL(`./${name}.js`, import.meta.url))
  const { status } = spawnSync(process.execPath, [script], { stdio: 'inherit' })
  if (status !== 0) process.exit(1)
}

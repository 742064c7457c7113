// Measures how Apache ZooKeeper compares to the floor programs, for machines without Java, and writes bench/floors.json.
//   npm run bench -- floors [--sections standalone,three-servers]
// Only needed when the scenarios or the floor programs have changed. Needs Java and Maven.
import { existsSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { defaults, sectionsOf } from './options.ts'
import { floorsFile, readFloors, runSideBySide } from './side-by-side.ts'

const { values } = parseArgs({ options: { sections: { type: 'string' } } })
const sections = sectionsOf(values.sections)
const known = existsSync(floorsFile) ? readFloors() : {}
const { at, machine, ratios } = await runSideBySide({
  ...defaults,
  measured: 'apache',
  against: 'floor',
  sections,
})
const all = { at, machine, ratios: { ...known, ...ratios } }
writeFileSync(floorsFile, `${JSON.stringify(all, undefined, 2)}\n`)
console.log('\nwritten to bench/floors.json')

// `npm run bench`: the short side-by-side measurement; its ratios are appended to bench/history/results.jsonl.
//   --against apache|floor     (default: apache where Java and Maven are)
//   --sections standalone,three-servers     --scenarios 'set 1x1;get 50x1'     --seconds 1     --repetitions 2
//   --no-record                do not append; a run of chosen scenarios is never appended
import { parseArgs } from 'node:util'
import { appendRun } from './history.ts'
import { defaults, historyFile, sectionsOf } from './options.ts'
import { hasJava, runSideBySide } from './side-by-side.ts'

const { values } = parseArgs({
  options: {
    against: { type: 'string' },
    sections: { type: 'string' },
    scenarios: { type: 'string' },
    seconds: { type: 'string' },
    repetitions: { type: 'string' },
    'no-record': { type: 'boolean' },
  },
})
const against = values.against === 'floor' || values.against === 'apache' ? values.against : undefined
if (against === undefined && values.against !== undefined) throw new Error('--against is apache or floor')
const run = await runSideBySide({
  ...defaults,
  against: against ?? (hasJava() ? 'apache' : 'floor'),
  sections: sectionsOf(values.sections),
  only: values.scenarios?.split(';').map((name) => name.trim()),
  seconds: Number(values.seconds ?? defaults.seconds),
  repetitions: Number(values.repetitions ?? defaults.repetitions),
})
if (values['no-record'] !== true && values.scenarios === undefined) {
  appendRun(historyFile, run)
  console.log('\nappended to bench/history/results.jsonl')
}

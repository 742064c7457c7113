// `npm run bench:check`, for every night: measures side by side and fails when a ratio is much worse than the median of
// earlier runs on the same kind of machine. What looks lost is measured again, for longer, before it counts.
// Exit code: 0 nothing is lost, or there are too few earlier runs; 1 something is. The run is appended to the history.
import { appendRun, better, comparable, leastRuns, losses, readHistory } from './history.ts'
import { defaults, historyFile } from './options.ts'
import { hasJava, runSideBySide } from './side-by-side.ts'

const repetitions = 2

const options = { ...defaults, against: hasJava() ? ('apache' as const) : ('floor' as const) }
const earlier = readHistory(historyFile)
let run = await runSideBySide(options)
let lost = losses(run, earlier)
for (let i = 0; i < repetitions && lost.length > 0; i++) {
  const again = [...new Set(lost.map(({ scenario }) => scenario))]
  console.log(`\nmuch worse than before, once more: ${again.join('; ')}`)
  const repeated = await runSideBySide({ ...options, only: again, seconds: options.seconds * 2 })
  run = better(run, repeated.ratios)
  lost = losses(run, earlier)
}
appendRun(historyFile, run)
const others = comparable(run, earlier).length
console.log(`\ncompared with ${others} earlier runs on a quiet machine of this kind`)
if (others < leastRuns) console.log(`fewer than ${leastRuns} say nothing: passed`)
for (const { scenario, figure, was, is } of lost) {
  console.log(`LOST ${scenario}: ratio of ${figure} was ${was}, is ${is}`)
}
process.exitCode = lost.length === 0 ? 0 : 1

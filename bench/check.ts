// `npm run bench:check`, for every night: measures side by side and fails when a ratio is much worse than the median of
// earlier runs on the same kind of machine (judge.ts).
// Exit code: 0 nothing is lost, or there are too few earlier runs; 1 something is. The run is appended to the history.
import { appendRun, readHistory } from './history.ts'
import { judge } from './judge.ts'
import { defaults, historyFile } from './options.ts'
import { hasJava, runSideBySide } from './side-by-side.ts'

const options = { ...defaults, against: hasJava() ? ('apache' as const) : ('floor' as const) }
const { run, lost, lines } = await judge(readHistory(historyFile), (only) => {
  if (only === undefined) return runSideBySide(options)
  console.log(`\nmuch worse than before, once more: ${only.join('; ')}`)
  return runSideBySide({ ...options, only, seconds: options.seconds * 2 })
})
appendRun(historyFile, run)
console.log(`\n${lines.join('\n')}`)
process.exitCode = lost.length === 0 ? 0 : 1

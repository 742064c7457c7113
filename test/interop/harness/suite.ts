// What a suite is, and how a test program in another language reports to it.
// A program prints `PASS name (detail)`, `FAIL name: reason` or `INFO text` lines and last of all `DONE`.

import { join } from 'node:path'
import { type RunOptions, run } from './processes.ts'
import { type Report, say } from './report.ts'

export type SuiteContext = {
  readonly report: Report
  /** A fresh folder for data, logs and compiled programs; removed after a suite that passed. */
  readonly dir: string
}

export type Suite = {
  readonly name: string
  /** Brings what the suite needs into the cache. Done before any suite runs. */
  readonly provision: () => Promise<void>
  readonly run: (context: SuiteContext) => Promise<void>
}

const RESULT_LINE = /^(PASS|FAIL) ([\w./-]+)(?:: | \()?(.*?)\)?$/

/** Runs one test program and takes over its results. A program that ends without `DONE` has failed. */
export async function runProgram(
  { report, dir }: SuiteContext,
  name: string,
  command: string,
  args: readonly string[],
  options: Omit<RunOptions, 'onLine' | 'logFile'>,
): Promise<void> {
  let done = false
  let results = 0
  const onLine = (line: string): void => {
    const match = RESULT_LINE.exec(line)
    if (match) {
      results++
      if (match[1] === 'PASS') report.pass(match[2] ?? '', match[3])
      else report.fail(match[2] ?? '', match[3] ?? '')
    } else if (line.startsWith('INFO ')) say(line)
    else if (line === 'DONE') done = true
  }
  const finished = await run(command, args, { ...options, onLine, logFile: join(dir, `${name}.log`) })
  if (done && results > 0) return
  const end = finished.timedOut ? `killed after ${options.timeoutMs} ms` : `exit code ${finished.code}`
  report.fail(`${name}-finished`, `${end} after ${results} results: ${tail(finished.stderr)}`)
}

/** The end of a text on one line, for a reason. */
export function tail(text: string, length = 400): string {
  return text.trim().slice(-length).replaceAll(/\s+/g, ' ')
}

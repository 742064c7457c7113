// `npm run test:interop`: real clients against a freshly started server, one suite after another.
//   node scripts/interop.mjs [SUITE...]          all suites without a name; --list names them
// Environment: ZABD_TEST_SERVER (another launcher, run as `$ZABD_TEST_SERVER zoo.cfg`), ZABD_CACHE (where clients and
// libraries are kept), INTEROP_PORTS=FIRST-LAST, INTEROP_KEEP=1 (keep data and logs of suites that passed).
// Exit code: 0 all passed, 1 something failed, 2 bad usage or a client could not be installed.

import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { killEverything } from './harness/processes.ts'
import { messageOf, printSummary, Report, type SuiteResult, say, seconds } from './harness/report.ts'
import type { Suite } from './harness/suite.ts'
import { c, cEnsemble } from './suites/c.ts'
import { go, goEnsemble } from './suites/go.ts'
import { curator, curatorEnsemble, java, javaEnsemble } from './suites/java.ts'
import { kafka, kafkaEnsemble } from './suites/kafka.ts'
import { kazoo, kazooEnsemble, kazooTls } from './suites/kazoo.ts'
import { readOnly } from './suites/read-only.ts'
import { shell, shellEnsemble } from './suites/shell.ts'

const suites: readonly Suite[] = [
  kazoo,
  kazooEnsemble,
  kazooTls,
  shell,
  shellEnsemble,
  java,
  javaEnsemble,
  curator,
  curatorEnsemble,
  readOnly,
  c,
  cEnsemble,
  go,
  goEnsemble,
  kafka,
  kafkaEnsemble,
]

const { INTEROP_KEEP, ZABD_TEST_SERVER } = process.env

async function runSuite(suite: Suite, root: string): Promise<SuiteResult> {
  const startedAt = performance.now()
  const dir = join(root, suite.name)
  await mkdir(dir)
  const report = new Report(suite.name)
  say(`\n== ${suite.name}`)
  try {
    await suite.run({ report, dir })
  } catch (error) {
    report.fail('suite', messageOf(error))
  }
  // A suite ends its own servers; this is for one that failed half way.
  killEverything()
  if (report.outcomes.length === 0) report.fail('suite', 'no check ran')
  const keep = report.failed || INTEROP_KEEP === '1'
  if (!keep) await rm(dir, { recursive: true, force: true })
  const elapsedMs = performance.now() - startedAt
  say(`== ${suite.name}: ${seconds(elapsedMs)}`)
  return { name: suite.name, outcomes: report.outcomes, elapsedMs, logs: keep ? dir : undefined }
}

async function provisionAll(selected: readonly Suite[]): Promise<boolean> {
  const outcomes = await Promise.allSettled(selected.map((suite) => suite.provision()))
  outcomes.forEach((outcome, index) => {
    if (outcome.status === 'rejected') {
      say(`FAIL ${selected[index]?.name}/install: ${messageOf(outcome.reason)}`)
    }
  })
  return outcomes.every((outcome) => outcome.status === 'fulfilled')
}

/** Runs the suites that the arguments name and returns the exit code. */
export async function main(args: readonly string[]): Promise<number> {
  if (args.includes('--list')) {
    for (const { name } of suites) say(name)
    return 0
  }
  const unknown = args.filter((arg) => !suites.some(({ name }) => name === arg))
  if (unknown.length > 0) {
    say(`unknown suite ${unknown.join(', ')}; there are ${suites.map(({ name }) => name).join(', ')}`)
    return 2
  }
  const selected = args.length === 0 ? suites : suites.filter(({ name }) => args.includes(name))
  const startedAt = performance.now()
  process.once('exit', killEverything)
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(1))
  say(`server under test: ${ZABD_TEST_SERVER ?? 'zabd of this checkout'}`)
  if (!(await provisionAll(selected))) return 2
  const root = await mkdtemp(join(tmpdir(), 'zabd-interop-'))
  const results: SuiteResult[] = []
  for (const suite of selected) results.push(await runSuite(suite, root))
  if (results.every((result) => result.logs === undefined)) await rm(root, { recursive: true, force: true })
  return printSummary(results, performance.now() - startedAt) ? 0 : 1
}

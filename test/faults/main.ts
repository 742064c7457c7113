// `npm run test:faults`: faults on real server processes, with checks of what clients saw. See docs/faults.md; options.ts
// has the options. Exit code: 0 all passed, 1 something failed, 2 bad usage.
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { disposeAll, whyNoMount } from './cluster.ts'
import { randomRound } from './nemesis.ts'
import { whyNoNamespaces } from './netns.ts'
import { type Options, readOptions, usage } from './options.ts'
import { type Result, runScenario, type Scenario } from './scenario.ts'
import { scenarios } from './scenarios.ts'

const problemsShown = 12

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}

function skippedResult(name: string, skipped: string): Result {
  const counts = {
    elapsedMs: 0,
    outageMs: 0,
    writes: 0,
    requests: 0,
    unknown: 0,
    moves: 0,
    expiries: 0,
    excusedByMs: 0,
  }
  return { name, problems: [], skipped, ...counts }
}

function whyNot({ needs }: Scenario, options: Options, root: string): Promise<string | undefined> {
  if (needs === 'mount') return whyNoMount(root)
  const isMissing = needs === 'proxy' && options.network !== 'proxy'
  return Promise.resolve(isMissing ? 'only the proxies of --net proxy can do this' : undefined)
}

function report(result: Result, options: Options, seed: number): void {
  const { name, problems, skipped, files, elapsedMs } = result
  if (skipped !== undefined) say(`skip ${name}: ${skipped}`)
  else if (problems.length === 0) say(`ok   ${name} (${(elapsedMs / 1000).toFixed(1)} s)`)
  else {
    say(`FAIL ${name} (${(elapsedMs / 1000).toFixed(1)} s)`)
    for (const problem of problems.slice(0, problemsShown)) say(`  ${problem}`)
    if (problems.length > problemsShown) say(`  and ${problems.length - problemsShown} more`)
    say(`  files: ${files}; history: ${path.join(files ?? '', 'history.jsonl')}`)
    const what = options.minutes > 0 ? `--seed ${seed} --minutes 0.01` : `--seed ${options.seed} ${name}`
    say(`  again: npm run test:faults -- ${what} --net ${options.network}${options.short ? ' --short' : ''}`)
  }
}

function table(results: readonly Result[]): string {
  const head = [
    'scenario',
    'result',
    's',
    'longest ms without a write',
    'writes',
    'requests',
    'unknown',
    'moves',
    'expired',
  ]
  const rows = results
    .filter((result) => result.skipped === undefined)
    .map(({ name, problems, elapsedMs, outageMs, writes, requests, unknown, moves, expiries }) => {
      const figures = [elapsedMs / 1000, outageMs, writes, requests, unknown, moves, expiries]
      return [name, problems.length === 0 ? 'ok' : 'FAIL', ...figures.map((figure) => figure.toFixed(0))]
    })
  const widths = head.map((title, column) =>
    Math.max(...[head, ...rows].map((row) => (row[column] ?? title).length)),
  )
  const line = (row: readonly string[]) =>
    row.map((cell, i) => (i < 2 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join('  ')
  return [head, ...rows].map(line).join('\n')
}

/** Runs a scenario, once more if the machine stood still and nothing but bounds of time was broken. */
async function runFairly(scenario: Scenario, options: Options, seed: number, root: string): Promise<Result> {
  const result = await runScenario(scenario, options, seed, root)
  if (result.excusedByMs === 0) return result
  const [first = ''] = result.problems
  say(
    `once more: the machine stood still for ${result.excusedByMs.toFixed(0)} ms during ${scenario.name} (${first})`,
  )
  await rm(path.join(root, scenario.name), { recursive: true, force: true })
  return await runScenario(scenario, options, seed, root)
}

async function runScenarios(
  selected: readonly Scenario[],
  options: Options,
  root: string,
): Promise<Result[]> {
  const results: Result[] = []
  for (const scenario of selected) {
    const reason = await whyNot(scenario, options, root)
    const result =
      reason === undefined
        ? await runFairly(scenario, options, options.seed, root)
        : skippedResult(scenario.name, reason)
    report(result, options, options.seed)
    results.push(result)
  }
  return results
}

/** Rounds with one seed after the other, until the time is over. */
async function runNemesis(options: Options, root: string): Promise<Result[]> {
  const results: Result[] = []
  const deadline = performance.now() + options.minutes * 60_000
  for (let seed = options.seed; results.length === 0 || performance.now() < deadline; seed++) {
    const result = await runFairly(randomRound(seed), options, seed, root)
    report(result, options, seed)
    results.push(result)
  }
  return results
}

function select({ only, short }: Options): readonly Scenario[] {
  if (only.length > 0) return scenarios.filter(({ name }) => only.includes(name))
  return short ? scenarios.filter((scenario) => scenario.short === true) : scenarios
}

async function run(options: Options): Promise<number> {
  const noNamespaces = options.network === 'netns' ? await whyNoNamespaces() : undefined
  if (noNamespaces !== undefined) {
    say(`skip everything: ${noNamespaces}`)
    return 0
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => void disposeAll().finally(() => process.exit(1)))
  }
  const root = await mkdtemp(path.join(os.tmpdir(), 'zabd-faults-'))
  await mkdir(root, { recursive: true })
  say(`server under test: ${options.command.join(' ')}; seed ${options.seed}; network: ${options.network}`)
  const results =
    options.minutes > 0 ? await runNemesis(options, root) : await runScenarios(select(options), options, root)
  const failed = results.filter(({ problems }) => problems.length > 0)
  say(`\n${table(results)}\n`)
  if (results.every(({ files }) => files === undefined)) await rm(root, { recursive: true, force: true })
  const skipped = results.filter((result) => result.skipped !== undefined).length
  say(`${results.length - failed.length - skipped} passed, ${failed.length} failed, ${skipped} skipped`)
  return failed.length === 0 ? 0 : 1
}

/** Runs what the arguments say and returns the exit code. */
export async function main(args: readonly string[]): Promise<number> {
  let options: Options
  try {
    options = readOptions(args, process.env['ZABD_FAULT_SERVER'])
    const unknown = options.only.filter((name) => scenarios.every((scenario) => scenario.name !== name))
    if (unknown.length > 0) throw new Error(`unknown scenario ${unknown.join(', ')}; --list names all`)
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n${usage}`)
    return 2
  }
  if (options.help) say(usage)
  else if (options.list) {
    for (const { name, title, short } of scenarios) {
      say(`${name.padEnd(20)} ${short === true ? 'short' : '     '}  ${title}`)
    }
  } else return await run(options)
  return 0
}

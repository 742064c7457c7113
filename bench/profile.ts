// Where the main thread of a standalone server spends its time under a scenario: runs it with V8's CPU profiler, cuts the
// measured time out of the profile, and sums up self times by part of the program and by function.
//   npm run bench -- profile [--scenarios 'get 10x100;set 10x100'] [--seconds 3] [--keep DIRECTORY]
// `--keep` leaves the .cpuprofile files there, to be opened in a browser's developer tools.
import { copyFileSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { SourceMap } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { endGroup } from '../test/interop/harness/processes.ts'
import { measure, prepare, preparedKeys, scenarios, warmUp } from './scenarios.ts'
import { startStandalone, withServers, zabd } from './servers.ts'

/** As V8 writes it; times are microseconds of the machine's monotonic clock. */
type Profile = {
  readonly nodes: readonly ProfileNode[]
  readonly startTime: number
  readonly samples: readonly number[]
  readonly timeDeltas: readonly number[]
}

type ProfileNode = {
  readonly id: number
  readonly callFrame: {
    readonly functionName: string
    readonly url: string
    readonly lineNumber: number
    readonly columnNumber: number
  }
  readonly children?: readonly number[]
}

/** Time of a part or a function. */
type Times = Map<string, number>

const hot = [
  'get 10x100',
  'get 50x1',
  'set 10x100',
  'multi of 10 sets 10x4',
  'connect 2000, 40 in progress',
  'watch fan-out 1000',
]
const intervalUs = 200
const warmUpMs = 3000
const settleMs = 300
const stopLimitMs = 20_000
const functionsShown = 12
const programFile = fileURLToPath(new URL('../zabd.js', import.meta.url))

/** Parts of the program: the first whose pattern matches a function's source counts. */
const parts: readonly (readonly [part: string, source: RegExp])[] = [
  ['collecting garbage', /^\(garbage collector\)$/],
  ['kernel, native code', /^\(program\)$/],
  [
    'sockets in Node.js',
    /^node:(net|internal\/(stream|streams|net|dgram|js_stream))|^node:internal\/stream_base_commons/,
  ],
  ['Node.js, other', /^node:/],
  ['decoding, encoding', /src\/jute\//],
  ['tree', /src\/tree\//],
  ['connections, replies, watches', /src\/server\//],
  ['log, checkpoints', /src\/storage\/|\/(classic-level|abstract-level|level)\//],
  ['node, core', /src\/(node|zab|peers|base)\//],
]
const otherPart = 'other'

const sourceMap = new SourceMap(JSON.parse(readFileSync(`${programFile}.map`, 'utf8')))

/** Where a function is from: a source file of ours, `node:...`, a package, or what V8 calls it. */
function sourceOf({ functionName, url, lineNumber, columnNumber }: ProfileNode['callFrame']): string {
  if (url === '') return functionName
  if (!url.endsWith('dist/zabd.js')) return url
  const entry = sourceMap.findEntry(lineNumber, columnNumber)
  return 'originalSource' in entry ? entry.originalSource : url
}

/** Self times between two moments, by part and by function; without those when the thread had nothing to do. */
function timesOf(profile: Profile, fromUs: number, toUs: number): { byPart: Times; byFunction: Times } {
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]))
  const parents = new Map(
    profile.nodes.flatMap((node) => (node.children ?? []).map((child) => [child, node])),
  )
  const known = new Map<number, readonly [part: string, name: string]>()
  const placeOf = (node: ProfileNode): readonly [string, string] => {
    const before = known.get(node.id)
    if (before !== undefined) return before
    const { callFrame } = node
    const source = sourceOf(callFrame)
    const parent = parents.get(node.id)
    // Native functions have no source: they work for who called them.
    const native = callFrame.url === '' && !callFrame.functionName.startsWith('(') && parent !== undefined
    const part = native
      ? placeOf(parent)[0]
      : (parts.find(([, pattern]) => pattern.test(source))?.[0] ?? otherPart)
    const file = native || callFrame.url === '' ? '' : ` ${source.replace(/^.*\/(src|node_modules)\//, '')}`
    const place = [part, `${callFrame.functionName || '(anonymous)'}${file}`] as const
    known.set(node.id, place)
    return place
  }
  const byPart: Times = new Map()
  const byFunction: Times = new Map()
  const add = (times: Times, key: string, us: number) => times.set(key, (times.get(key) ?? 0) + us)
  let at = profile.startTime
  for (const [i, id] of profile.samples.entries()) {
    // A sample stands for the time until the next.
    at += profile.timeDeltas[i] ?? 0
    const us = profile.timeDeltas[i + 1] ?? 0
    const node = nodes.get(id)
    if (at < fromUs || at >= toUs || node === undefined || node.callFrame.functionName === '(idle)') continue
    const [part, name] = placeOf(node)
    add(byPart, part, us)
    add(byFunction, name, us)
  }
  return { byPart, byFunction }
}

function print(name: string, elapsedUs: number, perSecond: number, byPart: Times, byFunction: Times): void {
  const total = [...byPart.values()].reduce((sum, us) => sum + us, 0)
  const share = (us: number) => `${((us / total) * 100).toFixed(0)} %`.padStart(6)
  // Events come only while a change is told, not while watches are left: what they cost each is not known here.
  const operations = name.startsWith('watch') ? undefined : (perSecond * elapsedUs) / 1e6
  const each = (us: number) =>
    operations === undefined ? '' : `${(us / operations).toFixed(2)} us`.padStart(10)
  const sorted = (times: Times) => [...times].sort(([, a], [, b]) => b - a)
  const head = `${Math.round(perSecond).toLocaleString('en')}/s`
  const busy = `the main thread was at work ${((total / elapsedUs) * 100).toFixed(0)} % of the time`
  const cost = operations === undefined ? '' : `,${each(total)} for each`
  console.log(`\n${name}: ${head}, ${busy}${cost}\n`)
  for (const [part, us] of sorted(byPart)) console.log(`${share(us)}${each(us)}  ${part}`)
  console.log('')
  for (const [fn, us] of sorted(byFunction).slice(0, functionsShown))
    console.log(`${share(us)}${each(us)}  ${fn}`)
}

const nowUs = () => Number(process.hrtime.bigint() / 1000n)

async function profileOf(name: string, ms: number, keep: string | undefined): Promise<void> {
  const scenario = scenarios.find((known) => known.name === name)
  if (scenario === undefined) {
    throw new Error(
      `there is no scenario ${name}; there are ${scenarios.map((known) => known.name).join('; ')}`,
    )
  }
  await withServers(async (dir) => {
    const profiles = join(dir, 'profiles')
    const flags = ['--cpu-prof', `--cpu-prof-interval=${intervalUs}`, `--cpu-prof-dir=${profiles}`]
    const server = await startStandalone(zabd(flags), dir)
    const addresses = [server.address]
    const pids = [server.group.pid]
    const target = { name: 'zabd', addresses, pids, root: await prepare(addresses), keys: preparedKeys }
    await warmUp(target, warmUpMs)
    // Connecting is not measured, and is over when it has settled.
    const fromUs = nowUs() + (scenario.kind === 'sessions' ? 0 : 2 * settleMs * 1000)
    const figures = await measure(target, scenario, ms, scenario.kind === 'sessions' ? 0 : 2 * settleMs)
    const toUs =
      scenario.kind === 'sessions' ? fromUs + (scenario.sessions / figures.perSecond) * 1e6 : nowUs()
    await endGroup(server.group, 'SIGTERM', stopLimitMs)
    const file = join(profiles, readdirSync(profiles)[0] ?? '')
    const profile = JSON.parse(readFileSync(file, 'utf8')) as Profile
    if (keep !== undefined) {
      mkdirSync(keep, { recursive: true })
      copyFileSync(file, join(keep, `${name.replaceAll(/[^a-z0-9]+/g, '-')}.cpuprofile`))
    }
    const { byPart, byFunction } = timesOf(profile, fromUs, toUs)
    print(name, toUs - fromUs, figures.perSecond, byPart, byFunction)
  })
}

const { values } = parseArgs({
  options: { scenarios: { type: 'string' }, seconds: { type: 'string' }, keep: { type: 'string' } },
})
for (const name of values.scenarios?.split(';') ?? hot) {
  await profileOf(name.trim(), Number(values.seconds ?? 3) * 1000, values.keep)
}

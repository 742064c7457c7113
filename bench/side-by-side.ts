// zabd beside Apache ZooKeeper: starts both, warms both, and measures every scenario on one, then on the other, and again.
// What comes out are ratios. Where there is no Java or no Maven, floor programs stand in: how Apache ZooKeeper compares to
// them was measured once (floors.json), and zabd is compared to them now.
import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Session } from '../src/client/session.ts'
import { freePort, pause, until } from '../test/interop/harness/ports.ts'
import { endGroup, startGroup } from '../test/interop/harness/processes.ts'
import type { Machine, Ratios, Run } from './history.ts'
import { isBusy, median, processorsAtWork } from './history.ts'
import {
  type Figures,
  measure,
  prepare,
  preparedKeys,
  type Scenario,
  scenarios,
  type Target,
  warmUp,
} from './scenarios.ts'
import {
  apache,
  type Product,
  type Server,
  startEnsemble,
  startStandalone,
  stop,
  withServers,
  zabd,
} from './servers.ts'

export type Section = 'standalone' | 'three servers'

export type Options = {
  /** Whose figures are divided by the other's. */
  readonly measured: 'zabd' | 'apache'
  readonly against: Run['against']
  readonly sections: readonly Section[]
  /** Names as they stand in a run; undefined: all. */
  readonly only: readonly string[] | undefined
  readonly seconds: number
  readonly repetitions: number
}

const warmUpMs = 4000
/** Within each measurement, before it counts. */
const settleMs = 300
/** Between two measurements, for what the first left to do. */
const restMs = 100
/** How long the machine is watched before. */
const watchedMs = 3000
/** A client that is at work for a larger share of its time measures itself. */
const busyLimit = 0.9
const floorProgram = fileURLToPath(new URL('./floor.js', import.meta.url))
/** Ratios of Apache ZooKeeper to the floor programs. */
export const floorsFile = fileURLToPath(new URL('../../bench/floors.json', import.meta.url))

/** Whether Apache ZooKeeper can be run here. */
export function hasJava(): boolean {
  const works = (command: string, arg: string) => spawnSync(command, [arg], { stdio: 'ignore' }).status === 0
  return works('java', '-version') && works('mvn', '-version')
}

/** How many processors are at work in the next seconds. The load average would have what was built before, for a minute. */
async function watchMachine(): Promise<number> {
  const before = cpus()
  await pause(watchedMs)
  return processorsAtWork(before, cpus())
}

/** Measures, and prints a table row by row. */
export async function runSideBySide(options: Options): Promise<Run> {
  const load = await watchMachine()
  if (isBusy(load, cpus().length)) {
    console.log(`the machine is busy (${load.toFixed(1)} processors at work): trust no figure of this run`)
  }
  const measured = options.measured === 'apache' ? await apache() : zabd()
  const other = options.against === 'apache' ? await apache() : undefined
  const floors = options.measured === 'zabd' && other === undefined ? readFloors() : undefined
  const ratios: Record<string, Ratios> = {}
  for (const section of options.sections) {
    const chosen = scenarios.filter(
      (scenario) =>
        (section === 'standalone' || scenario.three) &&
        (options.only === undefined || options.only.includes(keyOf(section, scenario))),
    )
    if (chosen.length === 0) continue
    await withServers(async (dir) => {
      const sides = [await start(measured, section, dir), await startOther(other, section, dir)] as const
      for (const { target } of sides) await warmUp(target, warmUpMs)
      console.log(`\n${section}\n${header(sides[0].target.name, sides[1].target.name)}`)
      for (const scenario of chosen) {
        const key = keyOf(section, scenario)
        const [mine, others] = await inTurns(scenario, sides, options)
        const measuredRatios = ratiosOf(mine, others)
        const estimated = floors === undefined ? measuredRatios : against(measuredRatios, floors[key])
        if (estimated === undefined) continue
        ratios[key] = estimated
        console.log(row(scenario.name, mine, others, estimated))
      }
      for (const side of sides) await side.end()
    })
  }
  return {
    format: 1,
    at: new Date().toISOString(),
    commit: commit(),
    machine: machine(),
    load,
    against: options.against,
    seconds: options.seconds,
    repetitions: options.repetitions,
    ratios,
  }
}

/** The name of a scenario in a run. */
function keyOf(section: Section, scenario: Scenario): string {
  return section === 'standalone' ? scenario.name : `${scenario.name}, ${section}`
}

type Side = {
  readonly target: Target
  measure(scenario: Scenario, ms: number): Promise<Figures>
  end(): Promise<void>
}

async function start(product: Product, section: Section, dir: string): Promise<Side> {
  const servers: readonly Server[] =
    section === 'standalone' ? [await startStandalone(product, dir)] : await startEnsemble(product, dir, 3)
  const addresses = servers.map(({ address }) => address)
  const target = {
    name: product.name,
    addresses,
    pids: servers.map(({ group }) => group.pid),
    root: await prepare(addresses),
    keys: preparedKeys,
  }
  return {
    target,
    measure: (scenario, ms) => measure(target, scenario, ms, settleMs),
    end: () => stop(servers),
  }
}

/** The other program: a server, or the floor. */
async function startOther(product: Product | undefined, section: Section, dir: string): Promise<Side> {
  if (product !== undefined) return await start(product, section, dir)
  const port = await freePort()
  const group = startGroup(process.execPath, [floorProgram, 'echo', String(port)], {
    logFile: join(dir, 'floor.log'),
  })
  const address = { host: '127.0.0.1', port }
  await until('the floor program serves', 10_000, async () => {
    const own = await Session.open({ address, sessionTimeoutMs: 30_000, connectTimeoutMs: 1000, auth: [] })
    await own.close()
    return true
  })
  const target = {
    name: 'floor',
    addresses: [address],
    pids: [group.pid],
    root: '/floor',
    keys: preparedKeys,
  }
  return {
    target,
    // The floor of a lone synced write is a sync; of all else, answers without any work behind them, to as many requests.
    measure: async (scenario, ms) => {
      if (scenario.name === 'set 1x1') return syncs(join(dir, 'floor'))
      const answered: Scenario = scenario.kind === 'load' ? { ...scenario, mix: onlyGets } : scenario
      return await measure(target, answered, ms, settleMs)
    },
    end: async () => {
      await endGroup(group, 'SIGTERM', 5000)
    },
  }
}

const onlyGets = [{ operation: 'get', share: 1 }] as const

function syncs(file: string): Figures {
  return JSON.parse(
    execFileSync(process.execPath, [floorProgram, 'sync', file], { encoding: 'utf8' }),
  ) as Figures
}

/** One scenario on one side, then on the other, and again; the medians. */
async function inTurns(
  scenario: Scenario,
  [ours, other]: readonly [Side, Side],
  options: Options,
): Promise<[Figures, Figures]> {
  const ms = options.seconds * 1000
  const seen: [Figures[], Figures[]] = [[], []]
  for (let i = 0; i < options.repetitions; i++) {
    seen[0].push(await ours.measure(scenario, ms))
    await pause(restMs)
    seen[1].push(await other.measure(scenario, ms))
    await pause(restMs)
  }
  return [middle(seen[0]), middle(seen[1])]
}

function ratiosOf(mine: Figures, others: Figures): Ratios {
  return {
    perSecond: rounded(mine.perSecond / others.perSecond),
    p50: rounded(mine.p50Us / others.p50Us),
    p99: rounded(mine.p99Us / others.p99Us),
    ...(mine.cpuUs === undefined || !others.cpuUs ? {} : { cpu: rounded(mine.cpuUs / others.cpuUs) }),
  }
}

/** zabd to Apache ZooKeeper, from zabd to the floor and Apache ZooKeeper to the floor; undefined if that is not known. */
function against(mine: Ratios, stored: Ratios | undefined): Ratios | undefined {
  if (stored === undefined) return undefined
  return {
    perSecond: rounded(mine.perSecond / stored.perSecond),
    p50: rounded(mine.p50 / stored.p50),
    p99: rounded(mine.p99 / stored.p99),
    ...(mine.cpu === undefined || stored.cpu === undefined ? {} : { cpu: rounded(mine.cpu / stored.cpu) }),
  }
}

export function readFloors(): Readonly<Record<string, Ratios>> {
  return (JSON.parse(readFileSync(floorsFile, 'utf8')) as { ratios: Record<string, Ratios> }).ratios
}

function middle(all: readonly Figures[]): Figures {
  const of = (pick: (figures: Figures) => number | undefined) =>
    median(all.map(pick).filter((value) => value !== undefined))
  const cpu = of(({ cpuUs }) => cpuUs)
  const busy = of(({ clientBusy }) => clientBusy)
  return {
    perSecond: of(({ perSecond }) => perSecond),
    p50Us: of(({ p50Us }) => p50Us),
    p99Us: of(({ p99Us }) => p99Us),
    ...(Number.isNaN(cpu) ? {} : { cpuUs: cpu }),
    ...(Number.isNaN(busy) ? {} : { clientBusy: busy }),
  }
}

function rounded(value: number): number {
  return Number(value.toPrecision(3))
}

const nameWidth = 30

function header(measured: string, other: string): string {
  const cells = [`${measured}/s`, `${other}/s`, 'ratio', 'p50', 'p99', 'CPU/op']
  return ''.padEnd(nameWidth) + cells.map((cell) => cell.padStart(11)).join('')
}

function row(name: string, mine: Figures, others: Figures, ratios: Ratios): string {
  const whole = (value: number) => Math.round(value).toLocaleString('en')
  const cells = [
    whole(mine.perSecond),
    whole(others.perSecond),
    ratios.perSecond,
    ratios.p50,
    ratios.p99,
    ratios.cpu ?? '-',
  ]
  const busy = Math.max(mine.clientBusy ?? 0, others.clientBusy ?? 0)
  const limit = busy > busyLimit ? '  (the client is the limit)' : ''
  return name.padEnd(nameWidth) + cells.map((cell) => String(cell).padStart(11)).join('') + limit
}

function machine(): Machine {
  const all = cpus()
  return {
    cpus: all.length,
    model: all[0]?.model.trim() ?? 'unknown',
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.versions.node,
  }
}

function commit(): string {
  const git = (...args: string[]) => execFileSync('git', args, { encoding: 'utf8', stdio: 'pipe' }).trim()
  try {
    const changed = git('status', '--porcelain', '--', ':!bench/history') !== ''
    return `${git('rev-parse', '--short', 'HEAD')}${changed ? '+' : ''}`
  } catch {
    return 'unknown'
  }
}

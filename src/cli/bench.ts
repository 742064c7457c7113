// `zabd bench`: puts a load on servers that speak ZooKeeper's protocol and says how fast they are, for people or as JSON.
// It works below a znode of its own, which it removes, and touches no other.
import { codeName } from '../base/errors.ts'
import type { Address, Auth } from '../client/connection.ts'
import { Crowd } from '../client/crowd.ts'
import { runFanOut } from '../client/fan-out.ts'
import { createHistogram, type Histogram, mean, merge, quantile } from '../client/histogram.ts'
import { maxKeys, noise } from '../client/keys.ts'
import { type LoadPlan, type LoadResult, type Operation, operations, type Share } from '../client/load.ts'
import { runLoadOnThreads } from '../client/load-threads.ts'
import { Session } from '../client/session.ts'
import { cleanWorkspace, closeWorkspace, fillWorkspace, openWorkspace } from '../client/workspace.ts'
import { ExitCode } from './exit.ts'
import type { Machine } from './start.ts'
import { parseAddress } from './status.ts'

/** As the command line has them. */
export type BenchFlags = {
  readonly mode: string
  readonly connections: string
  readonly depth: string
  readonly seconds: string
  readonly warmUp: string
  readonly mix: string
  readonly keys: string
  readonly valueSize: string
  readonly batch: string
  readonly rate?: string
  readonly threads: string
  readonly sessions: string
  readonly inProgress: string
  readonly prefix: string
  readonly sessionTimeout: string
  readonly auth?: readonly string[]
  readonly clean?: boolean
  readonly json?: boolean
}

type Mode = 'load' | 'sessions' | 'watches'

type Settings = {
  readonly mode: Mode
  readonly names: readonly string[]
  readonly plan: Omit<LoadPlan, 'root'>
  readonly threads: number
  readonly sessions: number
  readonly inProgress: number
  readonly prefix: string
  readonly clean: boolean
  readonly json: boolean
}

/** A line of the result. */
type Row = {
  readonly name: string
  readonly perSecond: number
  readonly latency: Histogram
  readonly errors: ReadonlyMap<string, number>
}

type Outcome = {
  readonly rows: readonly Row[]
  readonly elapsedMs: number
  /** Facts for people, each a line. */
  readonly notes: readonly string[]
  /** Whatever should make a script look: errors, lost connections. */
  readonly troubles: readonly string[]
  readonly clientBusy: number | undefined
  readonly longestSilenceMs: number | undefined
}

/** A server may take so long to open a session. */
const connectTimeoutMs = 10_000
/** Above this share of its time at work a client measures itself. */
const busyLimit = 0.9
/** What `--connections` and the like are limited to: a process has no more ports to one address. */
const maxConnections = 60_000

type Bench = Pick<Machine, 'out' | 'err' | 'events' | 'exit'>

/**
 * Runs a benchmark; 0 when all went well, 1 when there were errors or the servers can not be used, 2 for a wrong command line.
 * SIGINT ends it early, with a result.
 */
export async function runBench(addresses: string, flags: BenchFlags, machine: Bench): Promise<ExitCode> {
  const settings = readFlags(addresses, flags)
  if (typeof settings === 'string') {
    machine.err(`zabd: ${settings}\n`)
    return ExitCode.usage
  }
  const stop = new AbortController()
  const onSignal = () => {
    if (stop.signal.aborted) machine.exit(ExitCode.unexpected)
    stop.abort()
  }
  const signals = ['SIGINT', 'SIGTERM'] as const
  for (const signal of signals) machine.events.on(signal, onSignal)
  try {
    if (settings.clean) return await clean(settings, machine)
    const outcome = await measure(settings, stop.signal, machine)
    machine.out(settings.json ? `${JSON.stringify(jsonOf(settings, outcome))}\n` : table(outcome))
    for (const trouble of outcome.troubles) machine.err(`zabd: ${trouble}\n`)
    return outcome.troubles.length === 0 ? ExitCode.clean : ExitCode.unexpected
  } catch (error) {
    machine.err(`zabd: ${error instanceof Error ? error.message : String(error)}\n`)
    return ExitCode.unexpected
  } finally {
    for (const signal of signals) machine.events.off(signal, onSignal)
  }
}

async function clean(settings: Settings, machine: Bench): Promise<ExitCode> {
  const session = await openSession(settings, 0)
  try {
    const found = await cleanWorkspace(session, settings.prefix)
    machine.out(found ? `${settings.prefix} is removed\n` : `there is no ${settings.prefix}\n`)
    return ExitCode.clean
  } finally {
    await session.close()
  }
}

async function measure(settings: Settings, stop: AbortSignal, machine: Bench): Promise<Outcome> {
  if (settings.mode === 'sessions') return await measureSessions(settings, stop, machine)
  const { plan, prefix } = settings
  const session = await openSession(settings, 0)
  try {
    const root = await openWorkspace(session, prefix)
    announce(settings, machine)
    try {
      await fillWorkspace(session, root, plan.keys, noise(plan.valueBytes, plan.seed))
      await catchUp(settings, root)
      return settings.mode === 'load'
        ? await measureLoad(settings, root, stop)
        : await measureWatches(settings, root, stop)
    } finally {
      await closeWorkspace(session, prefix, root).catch((error: unknown) => {
        const reason = error instanceof Error ? error.message : String(error)
        machine.err(
          `zabd: ${root} could not be removed (${reason}): zabd bench --clean does it when no other run is under way\n`,
        )
      })
    }
  } finally {
    await session.close()
  }
}

/** Every server has what was made; says which one can not be used. */
async function catchUp(settings: Settings, root: string): Promise<void> {
  for (const index of settings.names.keys()) {
    const session = await openSession(settings, index)
    try {
      await session.sync(root)
    } finally {
      await session.close()
    }
  }
}

async function openSession({ plan, names }: Settings, index: number): Promise<Session> {
  try {
    return await Session.open({ ...plan, address: plan.addresses[index] as Address })
  } catch (error) {
    throw new Error(`${names[index]}: ${error instanceof Error ? error.message : String(error)}`)
  }
}

async function measureLoad(settings: Settings, root: string, stop: AbortSignal): Promise<Outcome> {
  const { plan, threads } = settings
  const result = await runLoadOnThreads({ ...plan, root }, threads, stop)
  const { elapsedMs, lost, lostReason, unanswered, busy, longestSilenceMs } = result
  const troubles: string[] = []
  if (lost > 0) troubles.push(`${lost} of ${plan.connections} connections were lost: ${lostReason}`)
  if (unanswered > 0) troubles.push(`${unanswered} requests were never answered`)
  const rows = rowsOf(result)
  for (const { name, errors } of rows.slice(0, result.operations.length)) {
    for (const [code, count] of errors) troubles.push(`${name}: ${amount(count)} times error ${code}`)
  }
  const done = rows.at(-1)?.perSecond ?? 0
  const short = plan.rate !== undefined && done < plan.rate * 0.95
  return {
    rows,
    elapsedMs,
    notes: [
      ...(short ? [`the rate of ${amount(plan.rate)}/s was not reached`] : []),
      `longest time without any reply: ${longestSilenceMs.toFixed(1)} ms`,
      busyNote(busy),
    ],
    troubles,
    clientBusy: busy,
    longestSilenceMs,
  }
}

/** A row for each operation, and one for all if there are several. */
function rowsOf({ operations: results, elapsedMs }: LoadResult): Row[] {
  const rows = results.map(({ operation, latency, replies, errors }): Row => {
    const named = [...errors].map(([code, count]) => [codeName(code), count] as const)
    return { name: operation, perSecond: rate(replies, elapsedMs), latency, errors: new Map(named) }
  })
  if (rows.length === 1) return rows
  const latency = createHistogram()
  for (const row of rows) merge(latency, row.latency)
  const replies = results.reduce((sum, result) => sum + result.replies, 0)
  return [...rows, { name: 'all', perSecond: rate(replies, elapsedMs), latency, errors: new Map() }]
}

/** The result of a run for people begins with what is done, while it is done. */
function announce(settings: Settings, machine: Bench): void {
  if (!settings.json) machine.out(`${describe(settings)}\n`)
}

async function measureSessions(settings: Settings, stop: AbortSignal, machine: Bench): Promise<Outcome> {
  const { plan, sessions, inProgress } = settings
  // The first one tells what is wrong, if anything is.
  await (await openSession(settings, 0)).close()
  announce(settings, machine)
  const crowd = new Crowd(plan)
  const { latency, opened, failed, failedReason, elapsedMs } = await crowd.open(sessions, inProgress, stop)
  const { lost, lostReason } = crowd
  await crowd.close()
  const troubles: string[] = []
  if (failed > 0) troubles.push(`${failed} sessions did not open: ${failedReason}`)
  if (lost > 0) troubles.push(`${lost} sessions were lost: ${lostReason}`)
  return {
    rows: [{ name: 'session', perSecond: rate(opened, elapsedMs), latency, errors: new Map() }],
    elapsedMs,
    notes: [`${amount(opened)} sessions were opened; latency is from the first packet to the open session`],
    troubles,
    clientBusy: undefined,
    longestSilenceMs: undefined,
  }
}

async function measureWatches(settings: Settings, root: string, stop: AbortSignal): Promise<Outcome> {
  const result = await runFanOut({ ...settings.plan, path: root }, stop)
  const { latency, notifications, fanOutMs, elapsedMs, busy } = result
  const row = { name: 'event', perSecond: rate(notifications, fanOutMs), latency, errors: new Map() }
  return {
    rows: [row],
    elapsedMs,
    notes: [`${latency.count} changes; latency is from a change to the last event of it`, busyNote(busy)],
    troubles: [],
    clientBusy: busy,
    longestSilenceMs: undefined,
  }
}

function busyNote(busy: number): string {
  const share = `this client was at work ${Math.round(busy * 100)} % of the time`
  if (busy < busyLimit) return share
  return `${share}: it may be the limit, not the servers; --threads gives it more, better is another machine`
}

function rate(count: number, elapsedMs: number): number {
  return elapsedMs === 0 ? 0 : (count / elapsedMs) * 1000
}

/** 12,345 for people; fractions only where they matter. */
function amount(value: number): string {
  return value.toLocaleString('en', { maximumFractionDigits: value < 10 ? 1 : 0 })
}

function describe({ mode, names, plan, sessions, inProgress, threads }: Settings): string {
  const to = `to ${names.join(', ')}`
  const time = `${plan.measureMs / 1000} s after ${plan.warmUpMs / 1000} s of warm-up`
  if (mode === 'sessions') return `${amount(sessions)} sessions ${to}, at most ${inProgress} in progress`
  if (mode === 'watches') return `${amount(plan.connections)} connections ${to} that watch one znode, ${time}`
  const pace =
    plan.rate === undefined
      ? `${plan.depth} requests under way on each`
      : `${amount(plan.rate)} requests per second in all`
  const by = threads > 1 ? `, ${threads} threads` : ''
  return `${plan.connections} connections ${to}, ${pace}${by}; ${amount(plan.keys)} znodes of ${plan.valueBytes} B; ${time}`
}

const columns = ['per s', 'mean us', 'p50 us', 'p99 us', 'p99.9 us', 'max us'] as const
const columnWidth = 11
const nameWidth = 12

function table({ rows, notes }: Outcome): string {
  const head = ''.padEnd(nameWidth) + columns.map((column) => column.padStart(columnWidth)).join('')
  const lines = rows.map(({ name, perSecond, latency }) => {
    const { mean: average, p50, p99, p999, max } = latencyOf(latency)
    const cells = [perSecond, average, p50, p99, p999, max]
    return name.padEnd(nameWidth) + cells.map((cell) => amount(cell).padStart(columnWidth)).join('')
  })
  return `${['', head, ...lines, '', ...notes].join('\n')}\n`
}

function latencyOf(latency: Histogram) {
  return {
    mean: mean(latency),
    p50: quantile(latency, 0.5),
    p99: quantile(latency, 0.99),
    p999: quantile(latency, 0.999),
    max: latency.maxUs,
  }
}

function jsonOf({ mode, names, plan, sessions, inProgress, threads }: Settings, outcome: Outcome): object {
  const load = { connections: plan.connections, seconds: plan.measureMs / 1000 }
  const asked = {
    load: {
      ...load,
      depth: plan.depth,
      rate: plan.rate,
      keys: plan.keys,
      valueBytes: plan.valueBytes,
      threads,
    },
    sessions: { sessions, inProgress },
    watches: { ...load, valueBytes: plan.valueBytes },
  }
  return {
    mode,
    servers: names,
    ...asked[mode],
    elapsedSeconds: outcome.elapsedMs / 1000,
    results: outcome.rows.map(({ name, perSecond, latency, errors }) => ({
      name,
      perSecond,
      latencyUs: latencyOf(latency),
      errors: Object.fromEntries(errors),
    })),
    longestSilenceMs: outcome.longestSilenceMs,
    clientBusy: outcome.clientBusy,
    troubles: outcome.troubles,
  }
}

/** A command line that can not be used; the message says which flag and what was expected. */
class UsageError extends Error {}

/** The settings, or what is wrong with the command line. */
function readFlags(addresses: string, flags: BenchFlags): Settings | string {
  try {
    return settingsOf(addresses, flags)
  } catch (error) {
    if (error instanceof UsageError) return error.message
    throw error
  }
}

function settingsOf(addresses: string, flags: BenchFlags): Settings {
  const names = addresses.split(',').map((part) => part.trim())
  const modes: readonly Mode[] = ['load', 'sessions', 'watches']
  const mode = modes.find((known) => known === flags.mode)
  if (mode === undefined) throw new UsageError(`--mode ${flags.mode} is not one of ${modes.join(', ')}`)
  if (!/^(\/[^/]+)+$/.test(flags.prefix)) {
    throw new UsageError(`--prefix ${flags.prefix} is not the path of a znode, like /zabd-bench`)
  }
  const plan: Omit<LoadPlan, 'root'> = {
    addresses: names.map((name) => {
      const address = parseAddress(name)
      if (address === undefined) throw new UsageError(`${name} is not an address: expected host:port`)
      return address
    }),
    connections: whole('--connections', flags.connections, 1, maxConnections),
    depth: whole('--depth', flags.depth, 1, 100_000),
    rate: flags.rate === undefined ? undefined : whole('--rate', flags.rate, 1, 10_000_000),
    mix: mixOf(flags.mix),
    keys: whole('--keys', flags.keys, 1, maxKeys),
    valueBytes: whole('--value-size', flags.valueSize, 0, 1 << 20),
    batch: whole('--batch', flags.batch, 1, 10_000),
    warmUpMs: seconds('--warm-up', flags.warmUp, 0),
    measureMs: seconds('--seconds', flags.seconds, 0.1),
    sessionTimeoutMs: whole('--session-timeout', flags.sessionTimeout, 100, 86_400_000),
    connectTimeoutMs,
    auth: (flags.auth ?? []).map(authOf),
    seed: 1,
  }
  return {
    mode,
    names,
    plan,
    threads: whole('--threads', flags.threads, 1, 64),
    sessions: whole('--sessions', flags.sessions, 1, maxConnections),
    inProgress: whole('--in-progress', flags.inProgress, 1, maxConnections),
    prefix: flags.prefix,
    clean: flags.clean === true,
    json: flags.json === true,
  }
}

function whole(flag: string, text: string, least: number, most: number): number {
  const value = /^\d{1,12}$/.test(text) ? Number(text) : Number.NaN
  if (value >= least && value <= most) return value
  throw new UsageError(`${flag} ${text} is not a whole number from ${least} to ${most}`)
}

/** In milliseconds. */
function seconds(flag: string, text: string, least: number): number {
  const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN
  if (value >= least && value <= 86_400) return value * 1000
  throw new UsageError(`${flag} ${text} is not a number of seconds from ${least} to 86400`)
}

/** `get=90,set=10`, or one operation. */
function mixOf(text: string): Share[] {
  const shares = text.split(',').map((part) => {
    const [name = '', share = '1', ...rest] = part.trim().split('=')
    const operation = operations.find((known): known is Operation => known === name)
    if (operation === undefined || rest.length > 0) {
      throw new UsageError(
        `--mix ${text}: ${part} is not one of ${operations.join(', ')}, or one with =SHARE`,
      )
    }
    return { operation, share: whole('--mix', share, 1, 1000) }
  })
  if (new Set(shares.map(({ operation }) => operation)).size < shares.length) {
    throw new UsageError(`--mix ${text} names an operation twice`)
  }
  return shares
}

function authOf(text: string): Auth {
  const colon = text.indexOf(':')
  if (colon < 1) throw new UsageError(`--auth ${text} is not like digest:user:password`)
  return { scheme: text.slice(0, colon), id: text.slice(colon + 1) }
}

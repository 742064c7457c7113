// What is measured side by side, and how one of it is measured on running servers.
import type { Address } from '../src/client/connection.ts'
import { Crowd } from '../src/client/crowd.ts'
import { runFanOut } from '../src/client/fan-out.ts'
import { createHistogram, type Histogram, merge, quantile } from '../src/client/histogram.ts'
import { noise } from '../src/client/keys.ts'
import { type LoadPlan, runLoad, type Share } from '../src/client/load.ts'
import { Session } from '../src/client/session.ts'
import { fillWorkspace, openWorkspace } from '../src/client/workspace.ts'
import { cpuUs } from './servers.ts'

export type Scenario = {
  readonly name: string
  /** Measured on three servers, too. */
  readonly three: boolean
} & (
  | {
      readonly kind: 'load'
      readonly mix: readonly Share[]
      readonly connections: number
      readonly depth: number
    }
  | { readonly kind: 'sessions'; readonly sessions: number; readonly inProgress: number }
  | { readonly kind: 'watches'; readonly connections: number }
)

/** Servers under load, a znode on them to work below, and their processes. */
export type Target = {
  readonly name: string
  readonly addresses: readonly Address[]
  readonly pids: readonly number[]
  readonly root: string
  /** Znodes that are there to be read and set. */
  readonly keys: number
}

export type Figures = {
  readonly perSecond: number
  readonly p50Us: number
  readonly p99Us: number
  /** CPU time of all servers per operation, where the system tells it. */
  readonly cpuUs?: number
  /** Share of its time that the client was at work. */
  readonly clientBusy?: number
}

/** Znodes that `prepare` makes, and their size. */
export const preparedKeys = 1000
export const valueBytes = 100
const batch = 10
export const session = { sessionTimeoutMs: 30_000, connectTimeoutMs: 10_000, auth: [] } as const

const only = (operation: Share['operation']): Share[] => [{ operation, share: 1 }]
const mixed = (get: number, set: number): Share[] => [
  { operation: 'get', share: get },
  { operation: 'set', share: set },
]

function load(
  name: string,
  mix: readonly Share[],
  connections: number,
  depth: number,
  three = true,
): Scenario {
  return { name: `${name} ${connections}x${depth}`, three, kind: 'load', mix, connections, depth }
}

/** A load of one operation. */
export function loadOf(operation: Share['operation'], connections: number, depth: number): Scenario {
  return load(operation, only(operation), connections, depth)
}

/** In the order in which they run. */
export const scenarios: readonly Scenario[] = [
  load('get', only('get'), 10, 100),
  load('get', only('get'), 50, 1),
  load('get', only('get'), 1, 1, false),
  load('set', only('set'), 10, 100),
  load('set', only('set'), 50, 1),
  load('set', only('set'), 1, 1),
  load('create sequential', only('create'), 10, 10, false),
  load('ephemeral create+delete', only('ephemeral'), 10, 10, false),
  load('mix 90:10', mixed(9, 1), 50, 10),
  load('mix 50:50', mixed(1, 1), 50, 10, false),
  load('multi of 10 sets', only('multi'), 10, 4),
  { name: 'connect 2000, 40 in progress', three: true, kind: 'sessions', sessions: 2000, inProgress: 40 },
  { name: 'watch fan-out 1000', three: true, kind: 'watches', connections: 1000 },
]

/** Makes what the scenarios use on servers. */
export async function prepare(addresses: readonly Address[]): Promise<string> {
  const own = await Session.open({ ...session, address: addresses[0] as Address })
  const root = await openWorkspace(own, '/bench')
  await fillWorkspace(own, root, preparedKeys, noise(valueBytes, 1))
  await own.close()
  for (const address of addresses) {
    const other = await Session.open({ ...session, address })
    await other.sync(root)
    await other.close()
  }
  return root
}

/** Lets a server's compiler see everything that it will be measured with. */
export async function warmUp(target: Target, ms: number): Promise<void> {
  const mix = ['get', 'set', 'exists', 'create', 'ephemeral', 'multi'] as const
  await runLoad({
    ...planOf(target),
    mix: mix.map((operation) => ({ operation, share: 1 })),
    connections: 20,
    depth: 10,
    warmUpMs: 0,
    measureMs: ms,
  })
}

export function planOf({
  addresses,
  root,
  keys,
}: Target): Omit<LoadPlan, 'mix' | 'connections' | 'depth' | 'warmUpMs' | 'measureMs'> {
  return { ...session, addresses, root, rate: undefined, keys, valueBytes, batch, seed: 1 }
}

/** Measures one scenario on servers that are warm. */
export async function measure(
  target: Target,
  scenario: Scenario,
  ms: number,
  warmUpMs: number,
): Promise<Figures> {
  const cpu = cpuWindow(target.pids)
  if (scenario.kind === 'sessions') {
    const crowd = new Crowd({ ...session, addresses: target.addresses })
    cpu.begins()
    const { opened, failed, failedReason, elapsedMs, latency } = await crowd.open(
      scenario.sessions,
      scenario.inProgress,
    )
    cpu.ends()
    await crowd.close()
    if (failed > 0) throw new Error(`${target.name}, ${scenario.name}: ${failed} failed: ${failedReason}`)
    return figures(opened, elapsedMs, latency, await cpu.usedUs(), undefined)
  }
  if (scenario.kind === 'watches') {
    const plan = {
      ...planOf(target),
      path: target.root,
      connections: scenario.connections,
      warmUpMs,
      measureMs: ms,
    }
    const { notifications, fanOutMs, latency, busy } = await runFanOut(plan, undefined, cpu)
    return figures(notifications, fanOutMs, latency, await cpu.usedUs(), busy)
  }
  const { mix, connections, depth } = scenario
  const plan = { ...planOf(target), mix, connections, depth, warmUpMs, measureMs: ms }
  const result = await runLoad(plan, undefined, cpu)
  const latency = createHistogram()
  let replies = 0
  for (const operation of result.operations) {
    merge(latency, operation.latency)
    replies += operation.replies
    for (const [code, count] of operation.errors) {
      throw new Error(`${target.name}, ${scenario.name}: ${count} times error ${code}`)
    }
  }
  if (result.lost > 0) throw new Error(`${target.name}, ${scenario.name}: ${result.lostReason}`)
  return figures(replies, result.elapsedMs, latency, await cpu.usedUs(), result.busy)
}

function figures(
  count: number,
  elapsedMs: number,
  latency: Histogram,
  usedUs: number | undefined,
  busy: number | undefined,
): Figures {
  return {
    perSecond: (count / elapsedMs) * 1000,
    p50Us: quantile(latency, 0.5),
    p99Us: quantile(latency, 0.99),
    ...(usedUs === undefined || count === 0 ? {} : { cpuUs: usedUs / count }),
    ...(busy === undefined ? {} : { clientBusy: busy }),
  }
}

/** The CPU time of processes between two moments. */
function cpuWindow(pids: readonly number[]) {
  let before: Promise<number | undefined> = Promise.resolve(undefined)
  let after: Promise<number | undefined> = Promise.resolve(undefined)
  return {
    begins: () => {
      before = cpuUs(pids)
    },
    ends: () => {
      after = cpuUs(pids)
    },
    usedUs: async () => {
      const [from, to] = [await before, await after]
      return from === undefined || to === undefined ? undefined : to - from
    },
  }
}

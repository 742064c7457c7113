// How the cost of an operation changes as something grows: the tree, idle sessions, watches, observers; and how long
// nothing is answered meanwhile, seen from outside by a probe that reads 1,000 times a second, whatever comes back.
//   npm run bench -- scale [--parts znodes,sessions,watches,observers]
// Prints tables in Markdown. Each part ends within four minutes.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Op } from '../src/base/opcodes.ts'
import { type Address, Connection } from '../src/client/connection.ts'
import { Keys, noise } from '../src/client/keys.ts'
import { placesBelow } from '../src/client/load.ts'
import { runLoadAside } from '../src/client/load-threads.ts'
import { writePathAndWatch, writeSetData } from '../src/client/requests.ts'
import { Session } from '../src/client/session.ts'
import { openWorkspace } from '../src/client/workspace.ts'
import { pause } from '../test/interop/harness/ports.ts'
import { killEverything } from '../test/interop/harness/processes.ts'
import type { Order, Report } from './crowd.ts'
import {
  loadOf,
  measure,
  planOf,
  prepare,
  preparedKeys,
  session,
  type Target,
  valueBytes,
  warmUp,
} from './scenarios.ts'
import {
  cpuUs,
  residentBytes,
  type Server,
  startEnsemble,
  startStandalone,
  stop,
  withServers,
  zabd,
} from './servers.ts'

const treeSizes = [1_000, 1_000_000, 5_000_000]
const sessionCounts = [10, 10_000, 50_000]
const watchedZnodes = 100_000
const watchers = 10
const observerCounts = [0, 1, 2]

const partLimitMs = 240_000
const warmUpMs = 3000
const measureMs = 2000
const settleMs = 300
const probeRate = 1000
/** A server that uses less than this share of a core for this long has nothing left to do. */
const idleShare = 0.05
const idleCheckMs = 1000
const idleChecks = 60
/** What opening sessions left to do is done after this time. */
const restMs = 3000
/** Sessions are idle for so long, pings included, while their CPU time is counted. */
const idleMs = 12_000
/** Sessions that one process of this benchmark holds; the usual limit of open files is 20,000 or more. */
const sessionsPerProcess = 16_000
/** Sessions from one loopback address. */
const sessionsPerAddress = 4000
/** Sessions that are being opened at a time. */
const openingAtOnce = 200
/** Descriptors that a process needs for other things than sessions. */
const spareDescriptors = 1000
const crowdProgram = fileURLToPath(new URL('./crowd.js', import.meta.url))

async function targetOf(servers: readonly Server[]): Promise<Target> {
  const addresses = servers.map(({ address }) => address)
  const pids = servers.map(({ group }) => group.pid)
  return { name: 'zabd', addresses, pids, root: await prepare(addresses), keys: preparedKeys }
}

/** Reads at a steady rate on the last server until it is stopped; answers with the longest time to a reply, in ms. */
function probe(target: Target): () => Promise<string> {
  const stopper = new AbortController()
  const running = runLoadAside(
    {
      ...planOf(target),
      addresses: target.addresses.slice(-1),
      connections: 1,
      depth: 1,
      rate: probeRate,
      mix: [{ operation: 'get', share: 1 }],
      warmUpMs: 100,
      measureMs: partLimitMs,
    },
    stopper.signal,
  )
  return async () => {
    stopper.abort()
    const { operations } = await running
    return ((operations[0]?.latency.maxUs ?? Number.NaN) / 1000).toFixed(1)
  }
}

function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): void {
  const line = (cells: readonly (string | number)[]) => `| ${cells.join(' | ')} |`
  console.log([line(head), line(head.map(() => '---')), ...rows.map(line), ''].join('\n'))
}

const amount = (value: number) => Math.round(value).toLocaleString('en')
const short = (value: number | undefined) => (value === undefined ? '-' : Number(value.toPrecision(3)))
const mib = (bytes: number | undefined) => (bytes === undefined ? '-' : amount(bytes / 2 ** 20))

async function znodes(dir: string): Promise<void> {
  const server = await startStandalone(zabd(), dir)
  const small = await targetOf([server])
  await warmUp(small, warmUpMs)
  const own = await Session.open({ ...session, address: server.address })
  const root = await openWorkspace(own, '/bench')
  for (const place of Object.values(placesBelow(root))) await own.create(place, Buffer.alloc(0))
  const base = (await residentBytes(small.pids)) ?? 0
  const rows: (string | number)[][] = []
  let there = 0
  for (const size of treeSizes) {
    let target = small
    const fill = ['-', '-']
    if (size > preparedKeys) {
      const stopProbe = probe(small)
      const fromMs = performance.now()
      await grow(own, root, there, size)
      fill[0] = amount(((size - there) / (performance.now() - fromMs)) * 1000)
      fill[1] = await stopProbe()
      there = size
      target = { ...small, root, keys: size }
    }
    await untilIdle(target)
    const stopProbe = probe(small)
    const cells: (string | number)[] = []
    for (const operation of ['get', 'set', 'ephemeral'] as const) {
      const figures = await measure(target, loadOf(operation, 10, 10), measureMs, settleMs)
      cells.push(short(figures.cpuUs), `${amount(figures.p50Us)} / ${amount(figures.p99Us)}`)
    }
    const bytes = (await residentBytes(small.pids)) ?? Number.NaN
    const each = there === 0 ? '-' : amount((bytes - base) / there)
    rows.push([amount(size), ...fill, ...cells, mib(bytes), each, await stopProbe()])
  }
  await own.close()
  await stop([server])
  const operations = ['get', 'set', 'create, delete'].flatMap((name) => [`${name}: CPU us`, 'p50 / p99 us'])
  const head = [
    'znodes',
    'filled, /s',
    'longest stall ms',
    ...operations,
    'RSS MiB',
    'B per znode',
    'longest stall ms',
  ]
  table(head, rows)
}

/** Waits until servers have written their checkpoints and have nothing to do, for a minute at most. */
async function untilIdle({ pids }: Target): Promise<void> {
  for (let i = 0; i < idleChecks; i++) {
    const from = await cpuUs(pids)
    await pause(idleCheckMs)
    const used = ((await cpuUs(pids)) ?? 0) - (from ?? 0)
    if (used < idleCheckMs * 1000 * idleShare) return
  }
}

/** Adds znodes of the same numbering up to `to`. */
async function grow(own: Session, root: string, from: number, to: number): Promise<void> {
  const keys = new Keys(placesBelow(root).keys, to)
  const before = from === 0 ? 0 : new Keys(placesBelow(root).keys, from).directories
  await own.createAll(
    keys.directories - before,
    (number) => Buffer.from(keys.directory(before + number)),
    Buffer.alloc(0),
  )
  await own.createAll(to - from, (number) => keys.path(from + number), noise(valueBytes, 1))
}

async function sessions(dir: string): Promise<void> {
  const limit = descriptorLimit()
  const rows: (string | number)[][] = []
  for (const count of sessionCounts) {
    // More sessions than a process may have open files: three servers share them.
    const alone = count + spareDescriptors <= limit
    const servers = alone ? [await startStandalone(zabd(), dir)] : await startEnsemble(zabd(), dir, 3)
    const target = await targetOf(servers)
    await warmUp(target, warmUpMs)
    const base = (await residentBytes(target.pids)) ?? Number.NaN
    const stopProbe = probe(target)
    const crowds = await openCrowds(target.addresses, count)
    await pause(restMs)
    const from = (await cpuUs(target.pids)) ?? Number.NaN
    await pause(idleMs)
    const used = ((await cpuUs(target.pids)) ?? Number.NaN) - from
    const bytes = (await residentBytes(target.pids)) ?? Number.NaN
    const stall = await stopProbe()
    const lost = await crowds.close()
    await stop(servers)
    rows.push([
      `${amount(count)}${alone ? '' : ' on three servers'}`,
      amount(crowds.perSecond),
      short((used / idleMs / 1000) * 100),
      mib(bytes),
      count < 1000 ? '-' : amount((bytes - base) / count),
      lost,
      stall,
    ])
  }
  const head = [
    'idle sessions',
    'opened, /s',
    'CPU % with pings',
    'RSS MiB',
    'B per session',
    'lost',
    'longest stall ms',
  ]
  table(head, rows)
}

/** How many files a process may have open. */
function descriptorLimit(): number {
  try {
    return Number(/^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1] ?? 0)
  } catch {
    return sessionsPerProcess + spareDescriptors
  }
}

/** Loopback addresses to come from; each run of openCrowds takes others, because ports rest a minute after their use. */
let lastLocal = 9

/** Every server from so many addresses of this machine that each has few sessions: among many ports the kernel looks long for a free one. */
function spread(addresses: readonly Address[], count: number): Address[] {
  const sources = Math.ceil(count / sessionsPerAddress)
  return Array.from({ length: sources }, () => `127.0.0.${++lastLocal}`).flatMap((localAddress) =>
    addresses.map((address) => ({ ...address, localAddress })),
  )
}

/** Opens sessions from processes of their own. */
async function openCrowds(addresses: readonly Address[], count: number) {
  const processes = Math.ceil(count / sessionsPerProcess)
  const startMs = performance.now()
  const children = await Promise.all(
    Array.from({ length: processes }, async (_, i) => {
      const child = fork(crowdProgram)
      const share = Math.floor(count / processes) + (i < count % processes ? 1 : 0)
      const plan = {
        ...session,
        addresses: spread(addresses, share),
      }
      child.send({
        type: 'open',
        plan,
        count: share,
        inProgress: Math.ceil(openingAtOnce / processes),
      } satisfies Order)
      const [report] = (await once(child, 'message')) as [Report]
      if (report.opened < share) {
        child.kill()
        throw new Error(`only ${report.opened} of ${share} sessions opened: ${report.failedReason}`)
      }
      return child
    }),
  )
  return {
    perSecond: (count / (performance.now() - startMs)) * 1000,
    /** Answers with how many sessions had ended by themselves. */
    close: async () => {
      const lost = await Promise.all(
        children.map(async (child) => {
          child.send({ type: 'close' } satisfies Order)
          const [report] = (await once(child, 'message')) as [Report]
          if (report.lost > 0) console.log(`${report.lost} sessions were lost: ${report.lostReason}`)
          return report.lost
        }),
      )
      return lost.reduce((sum, each) => sum + each, 0)
    },
  }
}

async function watches(dir: string): Promise<void> {
  const server = await startStandalone(zabd(), dir)
  const target = await targetOf([server])
  await warmUp(target, warmUpMs)
  const own = await Session.open({ ...session, address: server.address })
  const root = await openWorkspace(own, '/bench')
  for (const place of Object.values(placesBelow(root))) await own.create(place, Buffer.alloc(0))
  await grow(own, root, 0, watchedZnodes)
  const keys = new Keys(placesBelow(root).keys, watchedZnodes)
  const set = loadOf('set', 10, 10)
  const rows: (string | number)[][] = []

  const before = await measure(target, set, measureMs, settleMs)
  const base = (await residentBytes(target.pids)) ?? Number.NaN
  rows.push(['0', 'a set that nobody watches', short(before.cpuUs), mib(base), '-', '-'])

  let stopProbe = probe(target)
  const watching = await openWatchers(server.address)
  const count = watchers * watchedZnodes
  const fromUs = (await cpuUs(target.pids)) ?? Number.NaN
  await Promise.all(watching.map((watcher) => watcher.watchAll(keys)))
  const usedUs = ((await cpuUs(target.pids)) ?? Number.NaN) - fromUs
  const bytes = (await residentBytes(target.pids)) ?? Number.NaN
  const each = amount((bytes - base) / count)
  rows.push([amount(count), 'leaving a watch', short(usedUs / count), mib(bytes), each, await stopProbe()])

  stopProbe = probe(target)
  const after = await measure(target, set, measureMs, settleMs)
  rows.push([amount(count), 'a set that nobody watches', short(after.cpuUs), '-', '-', await stopProbe()])

  stopProbe = probe(target)
  const setFromUs = (await cpuUs(target.pids)) ?? Number.NaN
  const [first] = watching
  await first?.setAll(keys, () => watching.reduce((sum, watcher) => sum + watcher.events, 0) === count)
  const setUs = ((await cpuUs(target.pids)) ?? Number.NaN) - setFromUs
  const told = `a set that tells ${watchers}`
  rows.push([`${amount(count)} to 0`, told, short(setUs / watchedZnodes), '-', '-', await stopProbe()])
  for (const watcher of watching) watcher.connection.destroy()
  await own.close()
  await stop([server])
  table(['watches', 'operation', 'CPU us', 'RSS MiB', 'B per watch', 'longest stall ms'], rows)
}

/** Requests that a watcher has under way. */
const watcherDepth = 500

/** A connection that leaves watches and counts events. */
class Watcher {
  readonly connection: Connection
  readonly opened: Promise<void>
  events = 0
  #onReply = () => {}
  #onEvent = () => {}

  constructor(address: Address) {
    let open = () => {}
    let fail: (error: Error) => void = () => {}
    this.opened = new Promise((resolve, reject) => {
      open = resolve
      fail = reject
    })
    this.connection = new Connection(
      { ...session, address },
      {
        opened: () => open(),
        reply: ({ error }) => {
          if (error !== 0) throw new Error(`the server answers with error ${error}`)
          this.#onReply()
        },
        event: () => {
          this.events++
          this.#onEvent()
        },
        ended: (reason) => fail(reason ?? new Error('closed')),
      },
    )
  }

  /** Leaves a watch on every znode. */
  async watchAll(keys: Keys): Promise<void> {
    await this.#all(keys.count, (number) => {
      writePathAndWatch(this.connection.begin(Op.exists, 0, 0), keys.path(number), true)
    })
  }

  /** Sets every znode, and waits until `told`. */
  async setAll(keys: Keys, told: () => boolean): Promise<void> {
    const value = noise(valueBytes, 2)
    await this.#all(keys.count, (number) => {
      writeSetData(this.connection.begin(Op.setData, 0, 0), keys.path(number), value)
    })
    while (!told()) await pause(1)
  }

  #all(count: number, write: (number: number) => void): Promise<void> {
    return new Promise((resolve) => {
      let sent = 0
      let answered = 0
      const send = () => {
        if (sent === count) return
        write(sent++)
        this.connection.finish()
      }
      this.#onReply = () => {
        send()
        if (++answered === count) resolve()
      }
      for (let i = 0; i < watcherDepth; i++) send()
      this.connection.flush()
    })
  }
}

async function openWatchers(address: Address): Promise<Watcher[]> {
  const all = Array.from({ length: watchers }, () => new Watcher(address))
  await Promise.all(all.map(({ opened }) => opened))
  return all
}

async function observers(dir: string): Promise<void> {
  const rows: (string | number)[][] = []
  for (const count of observerCounts) {
    const servers = await startEnsemble(zabd(), dir, 3, count)
    // The last is the leader; clients are on it and on the two followers.
    const voters = servers.slice(count)
    const all = { ...(await targetOf(voters)), pids: servers.map(({ group }) => group.pid) }
    await warmUp(all, warmUpMs)
    const stopProbe = probe(all)
    const cells: (string | number)[] = []
    for (const scenario of [loadOf('set', 10, 100), loadOf('set', 50, 1), loadOf('set', 1, 1)]) {
      const leader = servers.at(-1)?.group.pid ?? 0
      const fromUs = await cpuUs([leader])
      const fromMs = performance.now()
      const figures = await measure(all, scenario, measureMs, settleMs)
      const ledUs = ((await cpuUs([leader])) ?? Number.NaN) - (fromUs ?? Number.NaN)
      const busy = (ledUs / (performance.now() - fromMs) / 1000) * 100
      cells.push(
        amount(figures.perSecond),
        amount(figures.p50Us),
        short(figures.cpuUs),
        `${Math.round(busy)} %`,
      )
    }
    rows.push([count, ...cells, await stopProbe()])
    await stop(servers)
  }
  const each = ['10x100', '50x1', '1x1'].flatMap((name) => [
    `set ${name}, /s`,
    'p50 us',
    'CPU us, all',
    'leader',
  ])
  table(['observers', ...each, 'longest stall ms'], rows)
}

const parts = { znodes, sessions, watches, observers } as const
type Part = keyof typeof parts

const names = Object.keys(parts) as Part[]
const { values } = parseArgs({ options: { parts: { type: 'string' } } })
const asked = values.parts?.split(',') ?? names
const unknown = asked.filter((name) => !names.some((known) => known === name))
if (unknown.length > 0) {
  console.error(`unknown part ${unknown.join(', ')}; there are ${names.join(', ')}`)
  process.exit(2)
}
for (const name of names) {
  if (!asked.includes(name)) continue
  const startMs = performance.now()
  const timer = setTimeout(() => {
    console.error(`${name} did not end within ${partLimitMs / 1000} s`)
    killEverything()
    process.exit(1)
  }, partLimitMs)
  console.log(`### ${name}\n`)
  await withServers((dir) => parts[name](dir))
  clearTimeout(timer)
  console.log(`(${Math.round((performance.now() - startMs) / 1000)} s)\n`)
}

// How long it takes from the start of the process until a client is served, on an empty directory and after a SIGKILL with
// data, and what memory an idle server has then. Usage: node dist/bench/start.js [znodes] [MiB of log] [starts]
// (default: 20,000, 100, 5); BENCH_DIR as everywhere. With a log of any size a start replays what came since the last
// checkpoint, so figures differ with where that was. For one member of an ensemble see compare.
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Address } from '../src/client/connection.ts'
import { runLoad } from '../src/client/load.ts'
import { Session } from '../src/client/session.ts'
import { fillWorkspace } from '../src/client/workspace.ts'
import { freePort, pause } from '../test/interop/harness/ports.ts'
import { endGroup, type Group, startGroup } from '../test/interop/harness/processes.ts'
import { residentBytes, withServers, zabd } from './servers.ts'

const sessionTimeoutMs = 30_000
const connectTimeoutMs = 1000
const readyLimitMs = 60_000
/** Between two attempts to be served. */
const attemptMs = 2
/** After so long an idle server has given back what a start needed. */
const idleMs = 2000
const stopLimitMs = 20_000
const valueBytes = 100
/** What a set of so many bytes is in the log, about: the rest are session, time and zxid. */
const logBytesPerSet = 170
/** A load is given up after this long. */
const loadLimitMs = 600_000

const [znodes = 20_000, logMib = 100, starts = 5] = process.argv.slice(2).map(Number)

/** Starts zabd in `dir` and waits until it serves; how long that took, ms. */
async function start(dir: string, address: Address): Promise<{ group: Group; ms: number }> {
  const { command, args } = zabd()
  const config = join(dir, 'zoo.cfg')
  const lines = [`dataDir=${join(dir, 'data')}`, `clientPort=${address.port}`, 'admin.enableServer=false']
  await mkdir(join(dir, 'data'), { recursive: true })
  await writeFile(config, `${lines.join('\n')}\n`)
  const began = performance.now()
  const group = startGroup(command, [...args, config], { logFile: join(dir, 'log'), cwd: dir })
  for (;;) {
    const session = await open(address).catch(() => undefined)
    const ms = performance.now() - began
    if (session !== undefined) {
      await session.close()
      return { group, ms }
    }
    if (!group.alive() || ms > readyLimitMs) throw new Error(`zabd does not serve: see ${join(dir, 'log')}`)
    await pause(attemptMs)
  }
}

function open(address: Address): Promise<Session> {
  return Session.open({ address, sessionTimeoutMs, connectTimeoutMs, auth: [] })
}

/** Creates the znodes, and sets them until about so much is in the log. */
async function fill(address: Address): Promise<void> {
  const session = await open(address)
  const root = '/bench-start'
  await session.create(root, Buffer.alloc(0))
  await fillWorkspace(session, root, znodes, Buffer.alloc(valueBytes, 'data '))
  await session.close()
  await runLoad({
    addresses: [address],
    connections: 10,
    depth: 100,
    rate: undefined,
    mix: [{ operation: 'set', share: 1 }],
    root,
    keys: znodes,
    valueBytes,
    batch: 1,
    warmUpMs: 0,
    measureMs: loadLimitMs,
    requests: Math.ceil((logMib * 2 ** 20) / logBytesPerSet),
    sessionTimeoutMs,
    connectTimeoutMs,
    auth: [],
    seed: 1,
  })
}

function line(name: string, values: readonly number[], unit: string): void {
  const sorted = [...values].sort((a, b) => a - b)
  const at = (part: number) => (sorted[Math.floor(part * (sorted.length - 1))] ?? Number.NaN).toFixed(0)
  console.log(`  ${name.padEnd(44)}${at(0.5).padStart(7)} ${unit}  (${at(0)} to ${at(1)})`)
}

async function measure(): Promise<void> {
  await withServers(async (root) => {
    const address: Address = { host: '127.0.0.1', port: await freePort() }
    const dir = join(root, 'server')
    const times: number[] = []
    const resident: number[] = []
    /** One start more; the server that it leaves. */
    const once = async (): Promise<Group> => {
      const { group, ms } = await start(dir, address)
      times.push(ms)
      await pause(idleMs)
      resident.push(((await residentBytes([group.pid])) ?? Number.NaN) / 2 ** 20)
      return group
    }
    const print = (what: string) => {
      line(`start to serving, ${what}`, times.splice(0), 'ms')
      line('  idle then, resident', resident.splice(0), 'MiB')
    }
    for (let i = 0; i < starts; i++) {
      await endGroup(await once(), 'SIGTERM', stopLimitMs)
      await rm(dir, { recursive: true, force: true })
    }
    print('an empty directory')
    const { group } = await start(dir, address)
    await fill(address)
    await endGroup(group, 'SIGKILL', stopLimitMs)
    for (let i = 0; i < starts; i++) await endGroup(await once(), 'SIGKILL', stopLimitMs)
    print(`${znodes} znodes, ${logMib} MiB of log`)
  })
}

await measure()

// Servers that are measured: zabd as it is compiled, or Apache ZooKeeper from its published jars, on one and the same
// zoo.cfg, standalone or an ensemble, as processes of their own on a fresh directory.
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Address } from '../src/client/connection.ts'
import { fourLetterWord, freePort, until } from '../test/interop/harness/ports.ts'
import { endGroup, type Group, killEverything, startGroup } from '../test/interop/harness/processes.ts'
import { jarsOf } from '../test/interop/harness/provision.ts'

/** How a kind of server is started on a zoo.cfg. */
export type Product = {
  readonly name: string
  readonly command: string
  readonly args: readonly string[]
}

export type Server = {
  readonly address: Address
  readonly group: Group
  readonly dir: string
}

export type Role = 'leader' | 'follower' | 'observer'

const root = fileURLToPath(new URL('../../', import.meta.url))
const readyLimitMs = 60_000
const stopLimitMs = 20_000
/** A heap as an operator of a small ensemble gives it. */
const javaHeap = '1g'
/** The kernel counts the time of processes in ticks of this length. */
const tickUs = 10_000

/** zabd of this checkout; `nodeArgs` are for Node.js itself. */
export function zabd(nodeArgs: readonly string[] = []): Product {
  const args = [...nodeArgs, join(root, 'bin', 'zabd.js'), 'start', '--log-level', 'warn', '--config']
  return { name: 'zabd', command: process.execPath, args }
}

/** Apache ZooKeeper; fetches its jars with Maven on first use. */
export async function apache(): Promise<Product> {
  const folder = join(root, 'bench', 'apache')
  const jars = await jarsOf(join(folder, 'pom.xml'), 'bench-zookeeper')
  const classPath = [folder, join(jars, '*')].join(delimiter)
  const main = 'org.apache.zookeeper.server.quorum.QuorumPeerMain'
  return {
    name: 'apache',
    command: 'java',
    args: [`-Xmx${javaHeap}`, '-Dzookeeper.extendedTypesEnabled=true', '-cp', classPath, main],
  }
}

/** A directory for data on the disk that is to be measured: BENCH_DIR, or the system's for temporary files. */
export function dataRoot(): Promise<string> {
  return mkdtemp(join(process.env['BENCH_DIR'] ?? tmpdir(), 'zabd-bench-'))
}

/** Runs `work` with a directory that is removed behind it, and ends all processes whatever happens. */
export async function withServers<T>(work: (dir: string) => Promise<T>): Promise<T> {
  const dir = await dataRoot()
  const onSignal = () => {
    killEverything()
    process.exit(1)
  }
  process.once('SIGINT', onSignal).once('SIGTERM', onSignal)
  try {
    return await work(dir)
  } finally {
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal)
    killEverything()
    await rm(dir, { recursive: true, force: true })
  }
}

function settings(dir: string, port: number): string[] {
  return [
    'tickTime=2000',
    `dataDir=${join(dir, 'data')}`,
    `clientPort=${port}`,
    'clientPortAddress=127.0.0.1',
    'maxClientCnxns=0',
    'admin.enableServer=false',
    '4lw.commands.whitelist=*',
  ]
}

/** A standalone server that serves. */
export async function startStandalone(product: Product, dir: string): Promise<Server> {
  const own = join(dir, `${product.name}-alone`)
  const port = await freePort()
  return await launch(product, own, port, settings(own, port), '')
}

/** An ensemble of `voters` that vote and some that observe; it has a leader whom all follow. The leader is last. */
export async function startEnsemble(
  product: Product,
  dir: string,
  voters: number,
  observers = 0,
): Promise<Server[]> {
  const members: { port: number; line: string }[] = []
  for (let id = 1; id <= voters + observers; id++) {
    const role = id > voters ? 'observer' : 'participant'
    const line = `server.${id}=127.0.0.1:${await freePort()}:${await freePort()}:${role}`
    members.push({ port: await freePort(), line })
  }
  const servers = await Promise.all(
    members.map(({ port }, index) => {
      const own = join(dir, `${product.name}-${voters}-${observers}-${index + 1}`)
      const lines = [
        ...settings(own, port),
        'initLimit=10',
        'syncLimit=5',
        ...members.map(({ line }) => line),
      ]
      const kind = index >= voters ? ['peerType=observer'] : []
      return launch(product, own, port, [...lines, ...kind], `${index + 1}`)
    }),
  )
  const leader = await until('a leader whom all follow', readyLimitMs, async () => {
    const roles = await Promise.all(servers.map(roleOf))
    return roles.includes(undefined) ? undefined : servers[roles.indexOf('leader')]
  })
  return [...servers.filter((server) => server !== leader), leader]
}

/** What a server says it is; undefined while it serves nobody. */
async function roleOf({ address }: Server): Promise<Role | undefined> {
  const srvr = await fourLetterWord(address.port, 'srvr').catch(() => '')
  return /^Mode: (leader|follower|observer)$/m.exec(srvr)?.[1] as Role | undefined
}

async function launch(
  { name, command, args }: Product,
  dir: string,
  port: number,
  lines: readonly string[],
  id: string,
): Promise<Server> {
  await rm(dir, { recursive: true, force: true })
  await mkdir(join(dir, 'data'), { recursive: true })
  const config = join(dir, 'zoo.cfg')
  await writeFile(config, `${lines.join('\n')}\n`)
  if (id !== '') await writeFile(join(dir, 'data', 'myid'), `${id}\n`)
  const logFile = join(dir, 'log')
  const group = startGroup(command, [...args, config], { logFile, cwd: dir })
  await until(`${name} serves`, readyLimitMs, async () => {
    if (!group.alive()) return 'ended'
    const srvr = await fourLetterWord(port, 'srvr')
    return srvr.includes('Mode: ') ? 'serves' : undefined
  })
  if (!group.alive()) throw new Error(`${name} ended while it started:\n${await readFile(logFile, 'utf8')}`)
  return { address: { host: '127.0.0.1', port }, group, dir }
}

export async function stop(servers: readonly Server[]): Promise<void> {
  await Promise.all(servers.map(({ group }) => endGroup(group, 'SIGTERM', stopLimitMs)))
  await Promise.all(servers.map(({ dir }) => rm(dir, { recursive: true, force: true })))
}

/** CPU time that processes have used so far, in microseconds; undefined where the system does not tell (only Linux does). */
export async function cpuUs(pids: readonly number[]): Promise<number | undefined> {
  try {
    const times = await Promise.all(
      pids.map(async (pid) => {
        const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).replace(/^.*\) /s, '').split(' ')
        return (Number(fields[11]) + Number(fields[12])) * tickUs
      }),
    )
    return times.reduce((sum, time) => sum + time, 0)
  } catch {
    return undefined
  }
}

/** Resident memory of processes in bytes; undefined where the system does not tell. */
export async function residentBytes(pids: readonly number[]): Promise<number | undefined> {
  try {
    const sizes = await Promise.all(
      pids.map(async (pid) => {
        const status = await readFile(`/proc/${pid}/status`, 'utf8')
        return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024
      }),
    )
    return sizes.reduce((sum, size) => sum + size, 0)
  } catch {
    return undefined
  }
}

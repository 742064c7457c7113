// An ensemble of real server processes, each with its own configuration, ports, data and log file: started, killed, stopped
// and continued by process id, and asked for its role. It judges nothing.
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import net from 'node:net'
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { exchange, within } from '../support/raw-client.ts'
import { createNamespaceNetwork } from './netns.ts'
import type { Network } from './network.ts'
import type { Options } from './options.ts'
import { createProxyNetwork } from './proxy.ts'
import type { Endpoint } from './session.ts'

const run = promisify(execFile)

/** Bounds for what has to happen, generous for a loaded machine. Nothing waits for them in a good run. */
export const startBoundMs = 60_000
const stopBoundMs = 20_000
const pollMs = 40
/** A connection taken by a stopped or starting server may never be answered: ask again rather than wait. */
const wordBoundMs = 700

/** The ensemble's limits, in ticks, as in its configuration. */
export const limits = { init: 25, sync: 5 } as const

export type Role = 'leader' | 'follower' | 'observer' | 'standalone' | 'read-only'

export type Shape = {
  readonly voters: number
  readonly observers: number
  /** The server whose data is on a file system of a few MiB of its own. */
  readonly smallDisk?: number
}

/** Size of the small disk: room for the log that some servers allocate in advance. */
const smallDiskMib = 160

const children = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of children) child.kill('SIGKILL')
})

const running = new Set<Cluster>()

/** Kills the servers and removes the networks of all ensembles; files stay. For a program that is interrupted. */
export async function disposeAll(): Promise<void> {
  await Promise.all([...running].map((cluster) => cluster.dispose(true)))
}

export class Server {
  readonly id: number
  readonly isObserver: boolean
  readonly endpoint: Endpoint
  readonly dataDir: string
  readonly logFile: string
  isPaused = false
  /** Exits that nobody asked for. */
  readonly surprises: string[] = []
  #child: ChildProcess | undefined
  #exited: Promise<void> = Promise.resolve()
  #expectsExit = false
  readonly #command: readonly string[]

  constructor(config: {
    readonly id: number
    readonly isObserver: boolean
    readonly endpoint: Endpoint
    readonly dataDir: string
    readonly logFile: string
    readonly command: readonly string[]
  }) {
    this.id = config.id
    this.isObserver = config.isObserver
    this.endpoint = config.endpoint
    this.dataDir = config.dataDir
    this.logFile = config.logFile
    this.#command = config.command
  }

  get isRunning(): boolean {
    return this.#child !== undefined
  }

  /** Starts the process; does not wait until it serves. */
  start(): void {
    if (this.#child !== undefined) throw new Error(`server ${this.id} runs already`)
    const log = openSync(this.logFile, 'a')
    const [program = '', ...args] = this.#command
    const child = spawn(program, args, { stdio: ['ignore', log, log] })
    closeSync(log)
    children.add(child)
    this.#child = child
    this.#expectsExit = false
    this.isPaused = false
    this.#exited = new Promise((resolve) => {
      const ended = (how: string) => {
        children.delete(child)
        if (!this.#expectsExit) this.surprises.push(`server ${this.id} ended by itself: ${how}`)
        this.#child = undefined
        resolve()
      }
      child.once('error', (error) => ended(error.message))
      child.once('exit', (code, signal) => ended(`exit code ${code}, signal ${signal}`))
    })
  }

  /** From now on it may end by itself (a full disk); `surprises` will not have it. */
  mayExit(): void {
    this.#expectsExit = true
  }

  /** SIGKILL, also if it is stopped. */
  async kill(): Promise<void> {
    this.#expectsExit = true
    this.#child?.kill('SIGKILL')
    await within(this.#exited, `server ${this.id} ends after SIGKILL`, stopBoundMs)
  }

  /** SIGTERM. */
  async terminate(): Promise<void> {
    this.#expectsExit = true
    this.#child?.kill('SIGTERM')
    await within(this.#exited, `server ${this.id} ends after SIGTERM`, stopBoundMs)
  }

  /** SIGSTOP: the process keeps its connections and does nothing. */
  pause(): void {
    this.#child?.kill('SIGSTOP')
    this.isPaused = true
  }

  /** SIGCONT. */
  resume(): void {
    this.#child?.kill('SIGCONT')
    this.isPaused = false
  }

  /** Answer to a four-letter word; empty if there is none. */
  async word(word: string): Promise<string> {
    if (!this.isRunning || this.isPaused) return ''
    return (await exchange(this.endpoint, word, wordBoundMs).catch(() => Buffer.alloc(0))).toString()
  }

  /** undefined: it serves nobody now. */
  async role(): Promise<Role | undefined> {
    return (await this.word('srvr')).match(/^Mode: (\S+)$/m)?.[1] as Role | undefined
  }
}

export class Cluster {
  readonly servers: readonly Server[]
  readonly network: Network
  readonly tickMs: number
  readonly smallDisk: Server | undefined
  readonly #dir: string

  constructor(
    servers: readonly Server[],
    network: Network,
    options: { readonly dir: string; readonly tickMs: number; readonly smallDisk: Server | undefined },
  ) {
    this.servers = servers
    this.network = network
    this.tickMs = options.tickMs
    this.smallDisk = options.smallDisk
    this.#dir = options.dir
    running.add(this)
  }

  get endpoints(): readonly Endpoint[] {
    return this.servers.map(({ endpoint }) => endpoint)
  }

  get voters(): readonly Server[] {
    return this.servers.filter(({ isObserver }) => !isObserver)
  }

  server(id: number): Server {
    const server = this.servers.find((each) => each.id === id)
    if (server === undefined) throw new Error(`there is no server ${id}`)
    return server
  }

  /** The servers that call themselves leader now. */
  async leaders(): Promise<readonly Server[]> {
    const roles = await Promise.all(this.servers.map((server) => server.role()))
    return this.servers.filter((_, index) => roles[index] === 'leader')
  }

  /** Waits until one of `among` leads and returns it. */
  async leader(among: readonly Server[] = this.servers): Promise<Server> {
    let found: Server | undefined
    await until(startBoundMs, `one of ${names(among)} leads`, async () => {
      found = (await this.leaders()).find((server) => among.includes(server))
      return found !== undefined
    })
    return found as Server
  }

  /** Waits until all of `servers` serve, and exactly one of them leads if they are all of the ensemble. */
  async untilServing(servers: readonly Server[] = this.servers): Promise<void> {
    await until(startBoundMs, `${names(servers)} serve`, async () => {
      const ended = servers.find((server) => !server.isRunning)
      if (ended !== undefined) throw new Error(`server ${ended.id} does not run`)
      const roles = await Promise.all(servers.map((server) => server.role()))
      if (roles.some((role) => role === undefined || role === 'read-only')) return false
      return servers.length < this.servers.length || roles.filter((role) => role === 'leader').length === 1
    })
  }

  /** Ends every fault: the network is whole, all processes run. Does not wait until they serve. */
  async heal(): Promise<void> {
    await this.network.heal()
    for (const server of this.servers) {
      if (server.isPaused) server.resume()
      if (!server.isRunning) server.start()
    }
  }

  /** What each server's log says last. */
  async logTails(): Promise<string> {
    const tails = this.servers.map(async ({ id, logFile }) => {
      const lines = (await readFile(logFile, 'utf8').catch(() => '')).trimEnd().split('\n')
      return `--- server ${id}, ${logFile}\n${lines.slice(-12).join('\n')}`
    })
    return (await Promise.all(tails)).join('\n')
  }

  /** Kills all servers and removes the network; with `keep` the files stay. */
  async dispose(keep: boolean): Promise<void> {
    await Promise.all(this.servers.map((server) => server.kill()))
    await this.network.dispose()
    if (this.smallDisk !== undefined) await run('umount', [this.smallDisk.dataDir]).catch(() => {})
    running.delete(this)
    if (!keep) await rm(this.#dir, { recursive: true, force: true })
  }
}

function names(servers: readonly Server[]): string {
  return `server${servers.length === 1 ? '' : 's'} ${servers.map(({ id }) => id).join(', ')}`
}

/** Asks until the answer is yes. Throws if it is not within `boundMs`. */
export async function until(
  boundMs: number,
  what: string,
  ask: () => Promise<boolean> | boolean,
): Promise<void> {
  const deadline = performance.now() + boundMs
  while (!(await ask())) {
    if (performance.now() > deadline) throw new Error(`${what}: not within ${boundMs} ms`)
    await delay(pollMs)
  }
}

/** Why no small file system can be mounted here; undefined: it can. */
export async function whyNoMount(dir: string): Promise<string | undefined> {
  if (process.platform !== 'linux' || process.getuid?.() !== 0)
    return 'mounting a small disk needs Linux and root'
  const probe = path.join(dir, 'mount-probe')
  try {
    await mkdir(probe, { recursive: true })
    await run('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'zabd-faults', probe])
    await run('umount', [probe])
    return undefined
  } catch (error) {
    return `tmpfs can not be mounted: ${error instanceof Error ? error.message.trim() : String(error)}`
  }
}

/** Hands out ports one after another, leaving out those that somebody uses. */
class Ports {
  #next: number
  constructor(first: number) {
    this.#next = first
  }
  async take(count: number): Promise<number[]> {
    const taken: number[] = []
    while (taken.length < count) {
      const port = this.#next++
      if (await isFree(port)) taken.push(port)
    }
    return taken
  }
}

function isFree(port: number): Promise<boolean> {
  const probe = net.createServer()
  return new Promise((resolve) => {
    probe.once('error', () => resolve(false))
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)))
  })
}

/** Starts an ensemble with fresh data under `dir` and waits until all servers serve. */
export async function startCluster(options: Options, shape: Shape, dir: string): Promise<Cluster> {
  const ids = Array.from({ length: shape.voters + shape.observers }, (_, index) => index + 1)
  const ports = new Ports(options.firstPort)
  // Client, peer and (for servers that have one) election port of each; then those of the proxies.
  const own = await ports.take(ids.length * 3)
  const port = (id: number, which: 0 | 1 | 2) => own[(id - 1) * 3 + which] as number
  const peerPorts = (id: number) => [port(id, 1), port(id, 2)]
  const proxyPorts = await ports.take(options.network === 'proxy' ? ids.length * (ids.length - 1) * 2 : 0)
  const network =
    options.network === 'netns'
      ? await createNamespaceNetwork(ids, process.pid % 250)
      : await createProxyNetwork(ids, peerPorts, () => proxyPorts.shift() as number)
  const isObserver = (id: number) => id > shape.voters
  const servers: Server[] = []
  for (const id of ids) {
    const home = path.join(dir, `server-${id}`)
    const dataDir = path.join(home, 'data')
    const config = path.join(home, 'zoo.cfg')
    await mkdir(dataDir, { recursive: true })
    if (shape.smallDisk === id) {
      await run('mount', ['-t', 'tmpfs', '-o', `size=${smallDiskMib}m`, 'zabd-faults', dataDir])
    }
    await writeFile(path.join(dataDir, 'myid'), `${id}\n`)
    const member = (other: number) => {
      const peer = network.address(id, other, port(other, 1))
      const election = network.address(id, other, port(other, 2))
      return `server.${other}=${peer.host}:${peer.port}:${election.port}${isObserver(other) ? ':observer' : ''}`
    }
    const lines = [
      `tickTime=${options.tickMs}`,
      `initLimit=${limits.init}`,
      `syncLimit=${limits.sync}`,
      `dataDir=${dataDir}`,
      `clientPort=${port(id, 0)}`,
      `clientPortAddress=${network.host(id)}`,
      'maxClientCnxns=0',
      'maxSessionTimeout=60000',
      'admin.enableServer=false',
      '4lw.commands.whitelist=*',
      ...(isObserver(id) ? ['peerType=observer'] : []),
      ...ids.map(member),
    ]
    await writeFile(config, `${lines.join('\n')}\n`)
    const command = [...network.prefix(id), ...options.command.map((word) => word.replace('{cfg}', config))]
    const endpoint = { host: network.host(id), port: port(id, 0) }
    const logFile = path.join(home, 'server.log')
    servers.push(new Server({ id, isObserver: isObserver(id), endpoint, dataDir, logFile, command }))
  }
  const smallDisk = servers.find(({ id }) => id === shape.smallDisk)
  const cluster = new Cluster(servers, network, { dir, tickMs: options.tickMs, smallDisk })
  try {
    for (const server of servers) server.start()
    await cluster.untilServing()
  } catch (error) {
    const tails = await cluster.logTails()
    await cluster.dispose(true)
    throw new Error(`${error instanceof Error ? error.message : String(error)}\n${tails}`)
  }
  return cluster
}

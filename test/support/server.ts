// Starts the server under test as a child process: zabd, or the command in ZABD_TEST_SERVER (`CMD zoo.cfg`), so that the
// same conformance tests can be proven against Apache ZooKeeper. It never reuses data and leaves no process behind.
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { after, afterEach, before, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { freePort } from './ports.ts'
import { type ConnectOptions, connect, exchange, RawClient, within } from './raw-client.ts'

const { ZABD_TEST_SERVER: command } = process.env

/** True if the tests run against Apache ZooKeeper; where zabd differs on purpose, tests are skipped then. */
export const apache = command !== undefined && path.basename(command).includes('apache')

const startBoundMs = 60_000
const stopBoundMs = 30_000

/** Keys of a zoo.cfg. Keys that only exist as JVM properties in Apache are handed to its JVM too. */
export type ServerConfig = Readonly<Record<string, string | number | boolean>>

const jvmKeys = /^(jute\.|znode\.container\.|readonlymode\.)/

export type TestServer = {
  readonly host: string
  readonly port: number
  readonly dataDir: string
  /** What the server has written to stdout and stderr so far, over all restarts. */
  log(): string
  /** SIGTERM; returns the exit code (null: ended by a signal). Removes nothing. */
  stop(): Promise<number | null>
  /** SIGKILL. */
  kill(): Promise<void>
  /** Starts it again on the same data and port; it must have ended. `config` replaces the keys it names. */
  restart(config?: ServerConfig): Promise<void>
  /** SIGKILL if it runs, and removes its files. */
  dispose(): Promise<void>
}

const running = new Set<ChildProcess>()

function killAll(): void {
  for (const child of running) child.kill('SIGKILL')
}

// The runner ends a test file that takes too long with SIGTERM; no server may outlive it.
process.once('exit', killAll)
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    killAll()
    process.kill(process.pid, signal)
  })
}

function projectRoot(): string {
  let dir = import.meta.dirname
  while (!existsSync(path.join(dir, 'package.json'))) dir = path.dirname(dir)
  return dir
}

function launch(configFile: string, config: ServerConfig): ChildProcess {
  const stdio: ['ignore', 'pipe', 'pipe'] = ['ignore', 'pipe', 'pipe']
  if (command === undefined) {
    const bin = path.join(projectRoot(), 'bin', 'zabd.js')
    return spawn(process.execPath, [bin, 'start', '--config', configFile], { stdio })
  }
  const properties = Object.entries(config)
    .filter(([key]) => jvmKeys.test(key))
    .map(([key, value]) => `-D${key}=${value}`)
  // A small, quickly started JVM: the tests measure behaviour, not speed.
  const jvm = ['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', ...properties].join(' ')
  return spawn(command, [configFile], {
    stdio,
    env: { ...process.env, ZK_HEAP: '256m', JAVA_TOOL_OPTIONS: jvm },
  })
}

/** Asks `srvr` until the server says that it serves, or has exited. */
async function untilServing(port: number, child: ChildProcess, log: () => string): Promise<boolean> {
  const deadline = performance.now() + startBoundMs
  while (performance.now() < deadline) {
    if (child.exitCode !== null || child.signalCode !== null) return false
    // A connection taken while the server starts may never be answered: do not wait for it long.
    const answer = await exchange({ port }, 'srvr', 500).catch(() => Buffer.alloc(0))
    if (answer.includes('Mode: ')) return true
    await delay(25)
  }
  throw new Error(`the server does not serve within ${startBoundMs} ms:\n${log()}`)
}

/**
 * Starts a server on a free loopback port with an empty data directory and waits until it serves. One with a line
 * `server.1` is that server.
 */
export async function startServer(config: ServerConfig = {}): Promise<TestServer> {
  const home = await mkdtemp(path.join(os.tmpdir(), 'zabd-test-'))
  const configFile = path.join(home, 'zoo.cfg')
  const dataDir = path.join(home, 'data')
  let port = 0
  let log = ''
  let child: ChildProcess | undefined
  let exited: Promise<void> = Promise.resolve()
  let current = config

  async function start(): Promise<boolean> {
    const all: ServerConfig = {
      tickTime: 2000,
      dataDir,
      clientPort: port,
      clientPortAddress: '127.0.0.1',
      maxClientCnxns: 0,
      'admin.enableServer': false,
      '4lw.commands.whitelist': '*',
      ...current,
    }
    const lines = Object.entries(all).map(([key, value]) => `${key}=${value}\n`)
    await writeFile(configFile, lines.join(''))
    if ('server.1' in all) {
      await mkdir(dataDir, { recursive: true })
      await writeFile(path.join(dataDir, 'myid'), '1\n')
    }
    const started = launch(configFile, all)
    child = started
    started.stdout?.on('data', (chunk: Buffer) => {
      log += chunk.toString()
    })
    started.stderr?.on('data', (chunk: Buffer) => {
      log += chunk.toString()
    })
    running.add(started)
    exited = new Promise((resolve) => {
      started.once('close', () => {
        running.delete(started)
        resolve()
      })
    })
    return await untilServing(port, started, () => log)
  }

  async function end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    child?.kill(signal)
    await within(exited, `the server ends after ${signal}`, stopBoundMs)
  }

  // Another process may take the free port before the server does: then try the next one.
  for (let attempt = 0; ; attempt++) {
    port = await freePort()
    if (await start()) break
    if (attempt === 2) throw new Error(`the server does not start:\n${log}`)
  }

  return {
    host: '127.0.0.1',
    port,
    dataDir,
    log: () => log,
    async stop() {
      await end('SIGTERM')
      return child?.exitCode ?? null
    },
    kill: () => end('SIGKILL'),
    async restart(changed = {}) {
      current = { ...current, ...changed }
      if (!(await start())) throw new Error(`the server does not start again:\n${log}`)
    },
    async dispose() {
      await end('SIGKILL')
      await rm(home, { recursive: true, force: true })
    },
  }
}

export type SharedServer = {
  readonly port: number
  readonly server: TestServer
  /** Opens a session that is closed after the test. */
  connect(options?: ConnectOptions): Promise<RawClient>
  /** Opens a TCP connection without a handshake that is dropped after the test. */
  dial(): Promise<RawClient>
  /** Sends bytes on a fresh connection and returns all that comes back until the server closes it. */
  exchange(bytes: Buffer | string): Promise<Buffer>
}

/**
 * One server for all tests of a file (or of a `describe`): started before them, removed after them. `prepare` runs once
 * it serves; a `before` of the file's own could not, since Node.js runs the hooks of a file at the same time.
 */
export function sharedServer(
  config: ServerConfig = {},
  prepare?: (server: TestServer) => Promise<void>,
): SharedServer {
  let server: TestServer | undefined
  const clients: RawClient[] = []
  const started = () => {
    if (server === undefined) throw new Error('the server runs only inside tests')
    return server
  }
  before(async () => {
    server = await startServer(config)
    await prepare?.(server)
  })
  afterEach(async () => {
    for (const client of clients.splice(0)) await client.close().catch(() => client.drop())
  })
  after(async () => {
    await server?.dispose()
  })
  const keep = (client: RawClient) => {
    clients.push(client)
    return client
  }
  return {
    get port() {
      return started().port
    },
    get server() {
      return started()
    },
    connect: async (options) => keep(await connect(started(), options)),
    dial: async () => keep(await RawClient.dial(started().port)),
    exchange: (bytes) => exchange(started(), bytes),
  }
}

/** A test of behaviour that zabd has on purpose where Apache ZooKeeper has an accident (DESIGN.md 2.9). */
export function quirk(name: string, run: () => Promise<void>): void {
  test(name, { skip: apache && 'zabd differs from Apache ZooKeeper on purpose' }, run)
}

// Starts `zabd start` as a process for tests that stop, kill or damage it: every signal, the exit code and the data
// directory are the test's to play with. Ports are free ones that the server picks itself.
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { TestContext } from 'node:test'
import { within } from './raw-client.ts'

const startBoundMs = 30_000
const exitBoundMs = 30_000

/** Keys of a zoo.cfg. */
export type ProcessConfig = Readonly<Record<string, string | number | boolean>>

/** A process that was started, and may have ended again. */
export type ServerProcess = {
  readonly pid: number
  /** The client port; throws before the server is ready. */
  readonly port: number
  /** Everything written to standard output and error so far. */
  log(): string
  /** Resolves when the server says that it is ready; rejects if it ends before. */
  ready(): Promise<void>
  /** Resolves with the exit code when the process has ended; null if a signal ended it. */
  exited(): Promise<number | null>
  signal(signal: NodeJS.Signals): void
}

const cleanups = new WeakMap<TestContext, (() => unknown)[]>()

/** Does `work` when the test ends, before what was asked for earlier: a server ends before its directory goes. */
export function atEnd(t: TestContext, work: () => unknown): void {
  const list = cleanups.get(t)
  if (list !== undefined) {
    list.push(work)
    return
  }
  const works = [work]
  cleanups.set(t, works)
  t.after(async () => {
    for (const each of works.toReversed()) await each()
  })
}

/** A new directory that is removed when the test ends. */
export async function testDir(t: TestContext): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'zabd-crash-'))
  atEnd(t, () => rm(dir, { recursive: true, force: true }))
  return dir
}

/** Starts a server on the data in `dir`/data. It is killed when the test ends; without one that is the caller's to do. */
export async function spawnServer(
  t: TestContext | undefined,
  dir: string,
  config: ProcessConfig = {},
): Promise<ServerProcess> {
  const all: ProcessConfig = {
    tickTime: 2000,
    dataDir: join(dir, 'data'),
    clientPort: 0,
    clientPortAddress: '127.0.0.1',
    maxClientCnxns: 0,
    'admin.enableServer': false,
    '4lw.commands.whitelist': '*',
    ...config,
  }
  const file = join(dir, `zoo-${spawned++}.cfg`)
  const lines = Object.entries(all).map(([key, value]) => `${key}=${value}\n`)
  await writeFile(file, lines.join(''))
  return spawnConfigured(t, file)
}

/** Starts a server with this configuration file. It is killed when the test ends; without one that is the caller's to do. */
export function spawnConfigured(t: TestContext | undefined, file: string): ServerProcess {
  const bin = join(projectRoot(), 'bin', 'zabd.js')
  const child = spawn(process.execPath, [bin, 'start', '--config', file], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const running = watch(child)
  const killAtExit = () => child.kill('SIGKILL')
  process.once('exit', killAtExit)
  child.once('close', () => process.removeListener('exit', killAtExit))
  if (t !== undefined) {
    atEnd(t, async () => {
      child.kill('SIGKILL')
      await running.exited()
    })
  }
  return running
}

let spawned = 0

function watch(child: ChildProcess): ServerProcess {
  let log = ''
  let port: number | undefined
  let ended = false
  const listeners = new Set<() => void>()
  const onOutput = (chunk: Buffer) => {
    log += chunk.toString()
    const address = port === undefined ? /ready to serve clients on [\d.]+:(\d+)/.exec(log) : null
    if (address !== null) port = Number(address[1])
    for (const listener of listeners) listener()
  }
  child.stdout?.on('data', onOutput)
  child.stderr?.on('data', onOutput)
  const exit = new Promise<void>((resolve) => {
    child.once('close', () => {
      ended = true
      for (const listener of listeners) listener()
      resolve()
    })
  })
  return {
    pid: child.pid ?? 0,
    get port() {
      if (port === undefined) throw new Error('the server is not ready')
      return port
    },
    log: () => log,
    async ready() {
      const done = new Promise<void>((resolve, reject) => {
        const check = () => {
          if (port !== undefined) resolve()
          else if (ended) reject(new Error(`the server ended before it was ready:\n${log}`))
        }
        listeners.add(check)
        check()
      })
      await within(done, 'the server is ready', startBoundMs)
    },
    async exited() {
      await within(exit, 'the server ends', exitBoundMs)
      return child.exitCode
    },
    signal: (signal) => {
      child.kill(signal)
    },
  }
}

function projectRoot(): string {
  let dir = import.meta.dirname
  while (!existsSync(join(dir, 'package.json'))) dir = dirname(dir)
  return dir
}

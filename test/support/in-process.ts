// Starts a server inside the test's own process, with what a test wants to control in place of the machine's: clock,
// log and checkpoint store. What the server logs is kept and can be waited for.
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { createLogger, type Logger } from '../../src/base/log.ts'
import { loadConfig } from '../../src/config/load.ts'
import type { Config } from '../../src/config/types.ts'
import type { Clock } from '../../src/node/clock.ts'
import { type RunningServer, startServer } from '../../src/node/server.ts'
import { openStorage } from '../../src/storage/open.ts'
import type { CheckpointStore, LogStore } from '../../src/storage/types.ts'
import { atEnd } from './load-process.ts'
import { exchange, within } from './raw-client.ts'

export type Settings = Readonly<Record<string, string | number | boolean>>

export type InProcessOptions = {
  readonly settings?: Settings
  readonly clock?: Clock
  readonly wrapLog?: (log: LogStore) => LogStore
  readonly wrapCheckpoint?: (checkpoint: CheckpointStore) => CheckpointStore
}

/** A line of the server's log. */
export type LogLine = {
  readonly level: string
  readonly msg: string
  readonly znodes?: number
  readonly zxid?: string
}

export type InProcess = RunningServer & {
  readonly port: number
  readonly config: Config
  /** What was logged so far, all levels. */
  readonly lines: readonly LogLine[]
  /** The first line whose message matches, from line `from` on; waits for it. */
  logged(message: RegExp, from?: number): Promise<LogLine>
}

/** A configuration with the data in `dir`/data and a free port of the loopback address. */
export function testConfig(dir: string, settings: Settings = {}): Config {
  const all: Settings = {
    dataDir: join(dir, 'data'),
    clientPort: 0,
    clientPortAddress: '127.0.0.1',
    maxClientCnxns: 0,
    'admin.enableServer': false,
    '4lw.commands.whitelist': '*',
    ...settings,
  }
  const list = Object.entries(all).map(([key, value]) => ({ flag: `--${key}`, key, value: String(value) }))
  const env = { readFile: () => '', exists: () => false }
  return loadConfig({ settings: list }, env)
}

/** A logger that keeps its lines. */
export function memoryLogger(): { logger: Logger; lines: LogLine[]; onLine: Set<() => void> } {
  const lines: LogLine[] = []
  const onLine = new Set<() => void>()
  const write = (line: string) => {
    lines.push(JSON.parse(line) as LogLine)
    for (const listener of onLine) listener()
  }
  return {
    logger: createLogger({ level: 'debug', pretty: false, destination: { write } }),
    lines,
    onLine,
  }
}

/** Starts a server on the data in `dir`/data. It is closed when the test ends, unless the test did. */
export async function startInProcess(
  t: TestContext,
  dir: string,
  options: InProcessOptions = {},
): Promise<InProcess> {
  const { clock, wrapLog = unchanged, wrapCheckpoint = unchanged } = options
  const config = testConfig(dir, options.settings)
  const { logger, lines, onLine } = memoryLogger()
  const server = await startServer(config, logger, {
    ...(clock === undefined ? {} : { clock }),
    openStorage: async (given) => {
      const storage = await openStorage(given)
      const log = wrapLog(storage.log)
      const checkpoint = wrapCheckpoint(storage.checkpoint)
      return { ...storage, log, checkpoint }
    },
  })
  let closing: Promise<void> | undefined
  const close = () => {
    closing ??= server.close()
    return closing
  }
  atEnd(t, close)
  const logged = async (message: RegExp, from = 0): Promise<LogLine> => {
    let listener = () => {}
    const found = new Promise<LogLine>((resolve) => {
      listener = () => {
        const line = lines.slice(from).find(({ msg }) => message.test(msg))
        if (line !== undefined) resolve(line)
      }
      onLine.add(listener)
      listener()
    })
    try {
      return await within(found, `a line in the log that matches ${message}`)
    } finally {
      onLine.delete(listener)
    }
  }
  const port = server.addresses[0]?.port ?? 0
  return { ...server, close, port, config, lines, logged }
}

/** Waits until the server has that many writes and syncs which it has not answered. */
export async function untilOutstanding(server: { readonly port: number }, count: number): Promise<void> {
  let text = ''
  for (let asked = 0; asked < 10_000; asked++) {
    text = (await exchange(server, 'srvr')).toString()
    if (text.includes(`Outstanding: ${count}\n`)) return
  }
  throw new Error(`there never were ${count} requests outstanding:\n${text}`)
}

function unchanged<T>(store: T): T {
  return store
}

/** `inner` with some of its methods replaced. */
export function overriding<T extends object>(inner: T, changes: Partial<T>): T {
  return new Proxy(inner, {
    get(target, key) {
      if (key in changes) return Reflect.get(changes, key)
      const value: unknown = Reflect.get(target, key, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

/** A clock that stands until it is moved. */
export type ManualClock = Clock & {
  /** Timers that are set and have not fired. */
  readonly timers: number
  /** Moves time on, firing timers at their time, each with what `soon` was asked for behind it. */
  advance(ms: number): Promise<void>
  /** Moves time on at once: timers fire late, as after a pause of the process. */
  jump(ms: number): Promise<void>
}

type Due = { readonly at: number; readonly callback: () => void }

/** A clock that begins at `startMs` (monotonic) and some fixed wall time. */
export function manualClock(startMs = 1_000_000): ManualClock {
  let now = startMs
  const timers = new Set<Due>()
  const next = () => [...timers].toSorted((a, b) => a.at - b.at)[0]
  const fire = async (timer: Due) => {
    timers.delete(timer)
    timer.callback()
    await turns()
  }
  return {
    get timers() {
      return timers.size
    },
    now: () => now,
    wall: () => 1_700_000_000_000 + Math.floor(now - startMs),
    after(ms, callback) {
      const timer = { at: now + ms, callback }
      timers.add(timer)
      return { cancel: () => timers.delete(timer) }
    },
    soon: (callback) => {
      setImmediate(callback)
    },
    async advance(ms) {
      const end = now + ms
      for (let timer = next(); timer !== undefined && timer.at <= end; timer = next()) {
        now = Math.max(now, timer.at)
        await fire(timer)
      }
      now = end
    },
    async jump(ms) {
      now += ms
      for (let timer = next(); timer !== undefined && timer.at <= now; timer = next()) await fire(timer)
    },
  }
}

/** Some turns of the event loop: what `soon` asked for has happened. */
export async function turns(count = 4): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve))
}

// A server in this process for tests of robustness: everything it logs at hand, a clock that can be put forward, a disk
// that can be held, and its own counters by four-letter words. It never listens on anything but loopback.
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { createLogger } from '../../src/base/log.ts'
import { loadConfig } from '../../src/config/load.ts'
import { systemClock } from '../../src/node/clock.ts'
import { startServer } from '../../src/node/server.ts'
import { openStorage } from '../../src/storage/open.ts'
import { type DiskFaults, faultyLog } from './disk.ts'
import { type ConnectOptions, connect, defaultBoundMs, exchange, RawClient } from './raw-client.ts'

/** Keys of a zoo.cfg. */
export type Settings = Readonly<Record<string, string | number | boolean>>

export type LogLine = { readonly level: string; readonly msg: string; readonly client?: string }

export type RobustServer = {
  readonly host: string
  /** The plain port; -1: there is none. */
  readonly port: number
  /** The TLS port; -1: there is none. */
  readonly securePort: number
  /** The newest lines of the log, oldest first. */
  readonly lines: readonly LogLine[]
  /** Faults of the log's disk. */
  readonly disk: DiskFaults
  /** Puts the server's clock forward by `ms`; its timers still take their real time. */
  advance(ms: number): void
  /** Opens a session that is closed when the test ends. */
  connect(options?: ConnectOptions): Promise<RawClient>
  /** Opens a connection without a handshake that is dropped when the test ends. */
  dial(): Promise<RawClient>
  /** The answer to a four-letter word. */
  word(word: string): Promise<string>
  /** A figure of `mntr`, without its prefix zk_. The connection that asks is counted too. */
  figure(name: string): Promise<number>
  /** Waits until `mntr` gives `expected` for the figure. */
  untilFigure(name: string, expected: number): Promise<void>
  /** Waits for a line of the log, from the oldest kept on. */
  logged(pattern: RegExp): Promise<LogLine>
  /** Stops the server; also done when the test ends. */
  stop(): Promise<void>
}

const linesKept = 1000

/** Starts a server on free ports of loopback, with an empty directory, all words allowed and no sync of the disk. */
export async function robustServer(
  t: Pick<TestContext, 'after'>,
  settings: Settings = {},
): Promise<RobustServer> {
  const home = await mkdtemp(join(tmpdir(), 'zabd-robust-'))
  const all: Settings = {
    dataDir: home,
    clientPort: 0,
    clientPortAddress: '127.0.0.1',
    maxClientCnxns: 0,
    'admin.enableServer': false,
    '4lw.commands.whitelist': '*',
    forceSync: 'no',
    ...settings,
  }
  const lines: LogLine[] = []
  const destination = {
    write: (line: string) => {
      lines.push(JSON.parse(line))
      if (lines.length > linesKept) lines.splice(0, linesKept / 2)
    },
  }
  let ahead = 0
  let disk: DiskFaults | undefined
  const flags = Object.entries(all).map(([key, value]) => ({ flag: '--set', key, value: String(value) }))
  const env = {
    exists: existsSync,
    readFile: () => {
      throw new Error('there is no such file')
    },
  }
  const running = await startServer(
    loadConfig({ settings: flags, logLevel: 'info' }, env),
    createLogger({ level: 'info', pretty: false, destination }),
    {
      clock: { ...systemClock, now: () => performance.now() + ahead },
      openStorage: async (options) => {
        const storage = await openStorage(options)
        const { log, faults } = faultyLog(storage.log)
        disk = faults
        return { ...storage, log, close: () => storage.close() }
      },
    },
  )
  if (disk === undefined) throw new Error('the server opened no storage')
  const held = disk
  const clients: RawClient[] = []
  let stopped: Promise<void> | undefined
  const stop = () => {
    stopped ??= running.close()
    return stopped
  }
  t.after(async () => {
    await held.release()
    for (const client of clients) await client.drop()
    await stop()
    await rm(home, { recursive: true, force: true })
  })
  const keep = (client: RawClient) => {
    clients.push(client)
    return client
  }
  const portOf = (secure: boolean) => running.addresses.find((bound) => bound.secure === secure)
  const address = portOf(false) ?? portOf(true)
  const host = address?.address === '::' ? '::1' : (address?.address ?? '')
  const port = portOf(false)?.port ?? -1
  const word = async (text: string) => (await exchange({ port, host }, text)).toString()
  const figure = async (name: string) => {
    const line = (await word('mntr')).split('\n').find((text) => text.startsWith(`zk_${name}\t`))
    return line === undefined ? Number.NaN : Number(line.split('\t')[1])
  }
  return {
    host,
    port,
    securePort: portOf(true)?.port ?? -1,
    lines,
    disk: held,
    advance: (ms) => {
      ahead += ms
    },
    connect: async (options) => keep(await connect({ port, host }, options)),
    dial: async () => keep(await RawClient.dial(port, host)),
    word,
    figure,
    untilFigure: async (name, expected) => {
      let seen = Number.NaN
      await until(`zk_${name} is ${expected}`, async () => {
        seen = await figure(name)
        return seen === expected
      }).catch((error: Error) => {
        throw new Error(`${error.message}; it is ${seen}`)
      })
    },
    logged: async (pattern) => {
      const find = () => lines.find(({ msg }) => pattern.test(msg))
      await until(`the log says ${pattern}`, () => find() !== undefined)
      return find() as LogLine
    },
    stop,
  }
}

/** Asks again and again until `holds`; rejects after a bound. For what has no event to wait for. */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  boundMs = defaultBoundMs,
): Promise<void> {
  const deadline = performance.now() + boundMs
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`${what}: not within ${boundMs} ms`)
    await delay(5)
  }
}

let collect: (() => void) | undefined

/** Bytes that this process really holds, on the JavaScript heap and beside it, after a full garbage collection. */
export async function heldBytes(): Promise<number> {
  if (collect === undefined) {
    setFlagsFromString('--expose-gc')
    collect = runInNewContext('gc') as () => void
  }
  // Closed handles are let go of in later turns of the event loop.
  for (let i = 0; i < 3; i++) {
    await delay(1)
    collect()
  }
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

// Ensembles on real sockets and real LevelDB inside the test's own process: servers that are started, stopped and started
// again on their data, with faults in their disks where a test wants them. What each logs is kept over all its lives.
// It waits for facts and never sleeps to make one happen.
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { loadConfig } from '../../src/config/load.ts'
import type { Node } from '../../src/node/node.ts'
import { type RunningServer, startServer } from '../../src/node/server.ts'
import { openStorage } from '../../src/storage/open.ts'
import type { Storage } from '../../src/storage/types.ts'
import { Applier } from '../../src/tree/apply.ts'
import { endOf } from '../../src/zab/history.ts'
import { type DiskFaults, faultyLog } from './disk.ts'
import { type LogLine, memoryLogger, type Settings } from './in-process.ts'
import { atEnd, type ServerProcess, spawnConfigured, testDir } from './load-process.ts'
import { freePort } from './ports.ts'
import { ClosedError, type ConnectOptions, connect, exchange, type RawClient, within } from './raw-client.ts'
import { assertSameState, checkTree, stateOfTree } from './tree-state.ts'
import { batchOf, setData } from './tree-transactions.ts'

/** Generous: the machine may be busy, and nothing waits for it in a good run. */
const boundMs = 45_000
const pollMs = 5

/** Asks until `probe` gives something other than undefined and false. What it throws is kept for the failure. */
export async function until<T>(
  what: string | (() => string),
  probe: () => T | undefined | false | Promise<T | undefined | false>,
  limitMs = boundMs,
): Promise<T> {
  const deadline = performance.now() + limitMs
  for (;;) {
    const found = await probe()
    if (found !== undefined && found !== false) return found
    if (performance.now() > deadline)
      throw new Error(`${typeof what === 'string' ? what : what()}: not within ${limitMs} ms`)
    await delay(pollMs)
  }
}

/** A line of a server's log with all its fields. */
export type Line = LogLine & { readonly [field: string]: unknown }

/** What a test puts between a server and its disk. */
export type Wrap = (storage: Storage, id: number) => Storage

export type EnsembleOptions = {
  /** Ids of the servers, in the configuration; 1, 2, 3. */
  readonly ids?: readonly number[]
  /** Those of them that observe. */
  readonly observers?: readonly number[]
  /** Keys of all their files, over the defaults. */
  readonly settings?: Settings
  /** More lines of the files: groups and weights. */
  readonly lines?: readonly string[]
  /** Those to start; all. */
  readonly start?: readonly number[]
  readonly wrap?: Wrap
}

const defaults: Settings = {
  tickTime: 400,
  initLimit: 50,
  syncLimit: 25,
  maxSessionTimeout: 120_000,
  maxClientCnxns: 0,
  'admin.enableServer': false,
  '4lw.commands.whitelist': '*',
}

/** One server of an ensemble: its place in the configuration, its directory, and the server itself while it runs. */
export class Member {
  readonly id: number
  readonly dir: string
  readonly port: number
  readonly peerPort: number
  readonly electionPort: number
  /** Its line in the configuration says so. */
  observer: boolean
  /** What it logged in all its lives. */
  readonly lines: Line[] = []
  /** Replaces or adds keys at the next `configure`. */
  settings: Settings
  wrap: Wrap
  /** Its flags say that it joins. */
  joins = false
  /** The error that ended it by itself. */
  failure: Error | undefined
  #server: RunningServer | undefined
  #closing: Promise<void> | undefined
  readonly #t: TestContext
  readonly #onLine = new Set<() => void>()

  constructor(
    t: TestContext,
    options: {
      readonly id: number
      readonly dir: string
      readonly ports: readonly [client: number, peer: number, election: number]
      readonly observer: boolean
      readonly settings: Settings
      readonly wrap: Wrap
    },
  ) {
    this.#t = t
    const { id, dir, ports, observer, settings, wrap } = options
    this.id = id
    this.dir = dir
    this.observer = observer
    this.settings = settings
    this.wrap = wrap
    ;[this.port, this.peerPort, this.electionPort] = ports
  }

  get configFile(): string {
    return join(this.dir, 'zoo.cfg')
  }

  get dataDir(): string {
    return join(this.dir, 'data')
  }

  /** Its line: `server.1=…`. */
  get line(): string {
    return `server.${this.id}=${this.address}`
  }

  get address(): string {
    const role = this.observer ? 'observer' : 'participant'
    return `127.0.0.1:${this.peerPort}:${this.electionPort}:${role};127.0.0.1:${this.port}`
  }

  /** Writes its configuration file and its id, with these lines of members. */
  async configure(memberLines: readonly string[]): Promise<void> {
    await mkdir(this.dataDir, { recursive: true })
    await writeFile(join(this.dataDir, 'myid'), `${this.id}\n`)
    const all: Settings = { ...defaults, dataDir: this.dataDir, ...this.settings }
    const lines = Object.entries(all).map(([key, value]) => `${key}=${value}`)
    await writeFile(this.configFile, `${[...lines, ...memberLines].join('\n')}\n`)
  }

  get running(): boolean {
    return this.#server !== undefined
  }

  get node(): Node {
    assert.ok(this.#server !== undefined, `server ${this.id} does not run`)
    return this.#server.node
  }

  /** The line in /zookeeper/config, as this server would have it. */
  get membership(): string {
    return this.node.membership
  }

  /** Starts it on its data; resolves when it listens. */
  async start(): Promise<void> {
    assert.ok(!this.running, `server ${this.id} runs already`)
    const { logger, lines, onLine } = memoryLogger()
    let taken = 0
    onLine.add(() => {
      this.lines.push(...(lines.slice(taken) as Line[]))
      taken = lines.length
      for (const listener of [...this.#onLine]) listener()
    })
    const flags = { file: this.configFile, join: this.joins }
    const config = loadConfig(flags, { readFile: (path) => readFileSync(path, 'utf8'), exists: existsSync })
    const server = await startServer(config, logger, {
      openStorage: async (given) => this.wrap(await openStorage(given), this.id),
    })
    this.#server = server
    this.failure = undefined
    this.#closing = undefined
    void server.finished.then((error) => {
      this.failure = error
    })
    atEnd(this.#t, () => this.stop())
  }

  /** Ends it as SIGTERM would. */
  async stop(): Promise<void> {
    const server = this.#server
    if (server === undefined) return
    this.#closing ??= server.close()
    await within(this.#closing, `server ${this.id} ends`, boundMs)
    this.#server = undefined
  }

  async restart(): Promise<void> {
    await this.stop()
    await this.start()
  }

  /** Removes its data; it must not run. */
  async wipe(): Promise<void> {
    assert.ok(!this.running, `server ${this.id} runs`)
    await rm(join(this.dataDir, 'zabd'), { recursive: true, force: true })
  }

  /** Starts it as a process of its own, which can be killed. */
  spawn(): ServerProcess {
    return spawnConfigured(this.#t, this.configFile)
  }

  /** The first line whose message matches, from line `from` on; waits for it. */
  async logged(message: RegExp, from = 0): Promise<Line> {
    let listener = () => {}
    const found = new Promise<Line>((resolve) => {
      listener = () => {
        const line = this.lines.slice(from).find(({ msg }) => message.test(msg))
        if (line !== undefined) resolve(line)
      }
      this.#onLine.add(listener)
      listener()
    })
    try {
      return await within(found, `a line of server ${this.id} that matches ${message}`, boundMs)
    } catch (error) {
      throw new Error(`${(error as Error).message}\n${this.tail()}`)
    } finally {
      this.#onLine.delete(listener)
    }
  }

  /** The last lines, for a failure's message. */
  tail(count = 30): string {
    return this.lines
      .slice(-count)
      .map(({ level, msg }) => `${this.id} ${level}: ${msg}`)
      .join('\n')
  }

  /** Messages of this level. */
  messages(level: string, from = 0): string[] {
    return this.lines.slice(from).flatMap((line) => (line.level === level ? [line.msg] : []))
  }

  /** The answer to a four-letter word. */
  async word(word: string): Promise<string> {
    return (await exchange(this, word)).toString()
  }

  /** Resolves when it serves clients, and writes. */
  async serves(): Promise<void> {
    await until(
      () => `server ${this.id} serves\n${this.tail()}`,
      () => this.#server?.node.serving === true && this.#server.node.writable,
    )
  }

  /** Opens a session, or goes on with one; waits until the server serves. Dropped when the test ends. */
  async connect(options: ConnectOptions = {}): Promise<RawClient> {
    return await connectTo(this.#t, this, options)
  }

  /** Goes on with a session that was begun on another connection. Rejects if it is not open any more. */
  async resume(client: RawClient, lastZxidSeen = 0n): Promise<RawClient> {
    return await this.connect({ ...client.credentials, lastZxidSeen })
  }
}

/** Opens a session on a server that may not serve yet; also one in a process of its own. */
export async function connectTo(
  t: TestContext,
  target: { readonly port: number },
  options: ConnectOptions = {},
): Promise<RawClient> {
  const client = await until(`a session at port ${target.port}`, async () => {
    try {
      return await connect(target, options)
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code
      if (error instanceof ClosedError || code === 'ECONNREFUSED' || code === 'ECONNRESET') return undefined
      throw error
    }
  })
  atEnd(t, () => client.drop())
  return client
}

/** See file header. */
export class Ensemble {
  readonly members: readonly Member[]

  constructor(members: readonly Member[]) {
    this.members = members
  }

  member(id: number): Member {
    const member = this.members.find((one) => one.id === id)
    assert.ok(member !== undefined, `there is no server ${id}`)
    return member
  }

  get running(): Member[] {
    return this.members.filter((member) => member.running)
  }

  /** The last lines of all, for a failure's message. */
  tail(): string {
    return this.members.map((member) => member.tail(15)).join('\n')
  }

  async start(...ids: number[]): Promise<void> {
    await Promise.all(ids.map((id) => this.member(id).start()))
  }

  async stop(...ids: number[]): Promise<void> {
    await Promise.all(ids.map((id) => this.member(id).stop()))
  }

  /** Waits until every running server serves, one of them as the leader: that one. */
  async leader(): Promise<Member> {
    return await until(
      () => `all serve, with a leader\n${this.tail()}`,
      () => {
        const { running } = this
        for (const { failure, id } of running) if (failure !== undefined) throw withContext(failure, id)
        if (!running.every(({ node }) => node.serving && node.writable)) return undefined
        const leaders = running.filter(({ node }) => node.leads)
        return leaders.length === 1 ? leaders[0] : undefined
      },
    )
  }

  /** The running servers that do not lead, when all serve. */
  async followers(): Promise<Member[]> {
    const leader = await this.leader()
    return this.running.filter((member) => member !== leader)
  }

  /** Waits until all running servers have applied everything, and asserts that their states are equal and whole. */
  async converged(): Promise<string[]> {
    const leader = await this.leader()
    await until(
      () => `all have applied the same\n${this.tail()}`,
      () => {
        const { core } = leader.node
        const end = core === undefined ? -1 : endOf(core.history)
        return this.running.every(({ node }) => node.tree.zxid === end && node.serving)
      },
    )
    const expected = stateOfTree(leader.node.tree)
    for (const member of this.running) {
      checkTree(member.node.tree)
      assertSameState(stateOfTree(member.node.tree), expected, `server ${member.id}`)
    }
    return expected
  }
}

function withContext(error: Error, id: number): Error {
  return new Error(`server ${id} has ended: ${error.stack}`)
}

/** Makes an ensemble and starts it. Its servers are stopped and its files removed when the test ends. */
export async function startEnsemble(t: TestContext, options: EnsembleOptions = {}): Promise<Ensemble> {
  const { ids = [1, 2, 3], observers = [], lines = [], start = ids } = options
  const dir = await testDir(t)
  const members: Member[] = []
  for (const id of ids) members.push(await newMember(t, dir, id, observers.includes(id), options))
  const all = [...members.map((member) => member.line), ...lines]
  for (const member of members) await member.configure(all)
  const ensemble = new Ensemble(members)
  await ensemble.start(...start)
  return ensemble
}

/** A server that is in no configuration yet. */
export async function newMember(
  t: TestContext,
  dir: string,
  id: number,
  observer: boolean,
  { settings = {}, wrap = (storage) => storage }: Pick<EnsembleOptions, 'settings' | 'wrap'> = {},
): Promise<Member> {
  return new Member(t, {
    id,
    dir: join(dir, `server-${id}`),
    ports: [await freePort(), await freePort(), await freePort()],
    observer,
    settings,
    wrap,
  })
}

/** A wrap of all logs, and the faults of a server's log in its present life. */
export function faultyLogs(): { readonly wrap: Wrap; of(id: number): DiskFaults } {
  const faults = new Map<number, DiskFaults>()
  return {
    wrap: (storage, id) => {
      const wrapped = faultyLog(storage.log)
      faults.set(id, wrapped.faults)
      return { ...storage, log: wrapped.log }
    },
    of: (id) => {
      const found = faults.get(id)
      assert.ok(found !== undefined, `server ${id} was not started with a faulty log`)
      return found
    },
  }
}

/** Changes a server's state behind its back, as a bug of its own would: only its digest can tell. */
export function corrupt(member: Member, path: string): void {
  const { tree } = member.node
  const batch = batchOf([{ session: 0, ids: [], request: setData(path, 'corrupt') }], 1_700_000_000_000)
  const applier = new Applier(tree)
  tree.zxid--
  applier.apply(batch, 0, tree.zxid + 1, false)
  assert.equal(applier.err, 0)
}

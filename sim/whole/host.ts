// A machine of the ensemble: disk, clocks, ports, and the server process that runs on it, which is the real node with
// its real connections. The machine starts and kills processes; what is on its disk outlives them.
import type { Socket } from 'node:net'
import { createLogger, type Logger } from '../../src/base/log.ts'
import { loadConfig } from '../../src/config/load.ts'
import type { Config } from '../../src/config/types.ts'
import { loadTree } from '../../src/node/load.ts'
import { Node } from '../../src/node/node.ts'
import { Connection } from '../../src/server/connection.ts'
import { StorageError } from '../../src/storage/types.ts'
import { Tree } from '../../src/tree/tree.ts'
import type { Prng } from '../prng.ts'
import type { Schedule } from '../schedule.ts'
import { type DiskWatcher, SimDisk } from './disk.ts'
import { clockOf, MachineTime, Process } from './machine.ts'
import type { PeerNetwork } from './peers.ts'
import type { Profile } from './profile.ts'
import type { ClientNetwork } from './sockets.ts'

const silent = createLogger({ level: 'silent', pretty: false })

export type HostParts = {
  readonly id: number
  readonly profile: Profile
  readonly schedule: Schedule
  readonly prng: Prng
  readonly peers: PeerNetwork
  readonly clients: ClientNetwork
  readonly watcher: DiskWatcher
  /** Code of a server threw, or a server says that it can not go on. */
  readonly onFailure: (host: Host, error: unknown) => void
  /** The process is dying; its node is still there to be looked at. */
  readonly onDying: (host: Host) => void
  /** The process has ended. */
  readonly onEnd: (host: Host) => void
  readonly trace: ((line: string) => void) | undefined
}

/** See file header. */
export class Host {
  readonly id: number
  readonly time: MachineTime
  readonly #config: Config
  readonly #logger: Logger
  disk: SimDisk
  process: Process | undefined
  node: Node | undefined
  /** Faults may hit it at any effect. */
  fragile = true
  /** Number of processes so far. */
  lives = 0
  readonly #parts: HostParts
  #connections = new Set<Connection>()
  #ending = false

  constructor(parts: HostParts) {
    this.#parts = parts
    this.id = parts.id
    this.time = new MachineTime(parts.schedule)
    this.#config = configOf(parts.id, parts.profile)
    this.#logger = this.#createLogger()
    this.disk = this.#newDisk()
  }

  get running(): boolean {
    return this.process !== undefined
  }

  get paused(): boolean {
    return this.process?.paused === true
  }

  /** Clients can be served, writes included. */
  get serves(): boolean {
    return this.node?.serving === true && this.node.writable
  }

  get isVoter(): boolean {
    return this.#parts.profile.voters.includes(this.id)
  }

  #newDisk(): SimDisk {
    const { schedule, prng, profile, watcher } = this.#parts
    return new SimDisk(schedule, prng, profile.disk, watcher)
  }

  // ---------------------------------------------------------------- life

  boot(): void {
    if (this.process !== undefined) return
    const { schedule, prng, profile, onFailure } = this.#parts
    this.lives++
    this.#ending = false
    const process: Process = new Process({
      id: this.id,
      schedule,
      prng,
      onThrow: (error) => onFailure(this, error),
      onDeath: () => this.#died(process),
      fragility: () => (this.fragile ? profile.fragility : 0),
    })
    this.process = process
    this.trace('boots')
    process.enter('input', () => {
      this.#run(process).catch((error: unknown) => this.#startFailed(process, error))
    })
  }

  /** What src/node/server.ts does, in the same order. */
  async #run(process: Process): Promise<void> {
    const { schedule, prng, profile, clients, peers } = this.#parts
    const storage = this.disk.mount(
      (action) => process.enter('input', action),
      () => process.acts(),
    )
    const clock = clockOf(process, this.time, schedule, profile.stepMs)
    const config = this.#config
    const logger = this.#logger
    const tree = new Tree()
    await loadTree(tree, storage.checkpoint, config.dataDir, logger, clock)
    const node = new Node({
      config,
      logger,
      clock,
      tree,
      storage,
      peers: config.standalone ? undefined : (handler) => peers.open(process, handler),
      random: () => prng.next(),
      randomBytes: (size) => Buffer.from(Array.from({ length: size }, () => prng.int(0, 255))),
      onFatal: (error) => this.#fatal(process, error),
    })
    this.node = node
    this.#connections = new Set()
    const connections = this.#connections
    clients.listen(this.id, {
      process,
      accept: (socket: Socket) => {
        const connection = new Connection(
          socket,
          node,
          [{ scheme: 'ip', id: '127.0.0.1' }],
          false,
          clock.wall(),
        )
        connections.add(connection)
        socket.on('close', () => connections.delete(connection))
      },
    })
    await node.start()
    this.trace('serves')
  }

  #startFailed(process: Process, error: unknown): void {
    if (process.dead || this.process !== process) return
    if (error instanceof StorageError && error.kind === 'full')
      this.#end(process, 'can not start: the disk is full')
    else this.#parts.onFailure(this, error)
  }

  #fatal(process: Process, error: Error): void {
    if (process.dead || this.process !== process) return
    if (error instanceof StorageError && error.kind === 'full')
      this.#end(process, `gives up: ${error.message}`)
    else this.#parts.onFailure(this, error)
  }

  #end(process: Process, reason: string): void {
    this.trace(reason)
    process.kill()
  }

  /** Dies at once, between two events. */
  crash(): void {
    this.process?.kill()
  }

  /** Stops as at SIGTERM; the process is gone some time later. */
  stop(): void {
    const { process, node } = this
    if (process === undefined || node === undefined || this.#ending || process.paused) return
    this.#ending = true
    this.trace('stops')
    const { clients } = this.#parts
    process.enter('input', () => {
      clients.unlisten(this.id)
      const shutDown = async () => {
        await node.drain()
        for (const connection of this.#connections) {
          connection.close()
          connection.flush()
        }
        await node.stop()
        this.#end(process, 'has stopped')
      }
      shutDown().catch((error: unknown) => this.#parts.onFailure(this, error))
    })
  }

  /** The disk is replaced by an empty one; the process must be dead. */
  loseDisk(): void {
    this.trace('loses its disk')
    this.disk = this.#newDisk()
  }

  pause(): void {
    this.process?.pause()
    this.trace('stands still')
  }

  resume(): void {
    if (!this.paused) return
    this.trace('goes on')
    this.process?.resume()
  }

  #died(process: Process): void {
    if (this.process !== process) return
    const { clients, peers, prng, schedule, onDying, onEnd } = this.#parts
    this.trace('dies')
    onDying(this)
    this.process = undefined
    this.node = undefined
    clients.unlisten(this.id)
    // It may have died within one of its own calls: what concerns others happens behind that.
    this.disk.crash()
    schedule.after(0, () => {
      clients.died(process)
      peers.died(this.id, prng.chance(0.3))
      onEnd(this)
    })
  }

  #createLogger(): Logger {
    const { trace } = this.#parts
    if (trace === undefined) return silent
    const write = (line: string) => {
      const { level, msg, time: _, ...rest } = JSON.parse(line) as Record<string, unknown>
      this.trace(`${String(level)}: ${String(msg)} ${JSON.stringify(rest).slice(0, 300)}`)
    }
    return createLogger({ level: 'debug', pretty: false, destination: { write } })
  }

  trace(line: string): void {
    const { trace, schedule } = this.#parts
    trace?.(`${schedule.now.toFixed(2).padStart(10)} s${this.id} ${line}`)
  }
}

/** The configuration of a server, made as the command line makes it. */
function configOf(id: number, profile: Profile): Config {
  const { voters, observers, tickMs, initLimit, syncLimit, snapCount } = profile
  const settings: Readonly<Record<string, string | number>> = {
    dataDir: `/simulated/${id}`,
    clientPort: 2181,
    'admin.enableServer': 'false',
    tickTime: tickMs,
    initLimit,
    syncLimit,
    snapCount,
    maxClientCnxns: 0,
  }
  const list = Object.entries(settings).map(([key, value]) => ({
    flag: `--${key}`,
    key,
    value: String(value),
  }))
  const servers = [...voters, ...observers].map((one) => {
    const suffix = observers.includes(one) ? ':observer' : ''
    return `${one}=host${one}:2888:3888${suffix}`
  })
  const alone = servers.length === 1
  const flags = { settings: list, ...(alone ? {} : { id: String(id), servers }) }
  return loadConfig(flags, { readFile: () => '', exists: () => false })
}

// A server under test: one process on a fresh data directory and free ports, standalone or a member of an ensemble.
// ZABD_TEST_SERVER replaces the launcher: it is run as `$ZABD_TEST_SERVER /absolute/zoo.cfg` in the foreground, so that
// every suite can also be run against the original.

import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { repositoryRoot } from './paths.ts'
import { fourLetterWord, freePort, until } from './ports.ts'
import { endGroup, type Group, startGroup } from './processes.ts'

const READY_LIMIT_MS = 60_000
const STOP_LIMIT_MS = 20_000
const { ZABD_TEST_SERVER: replaced } = process.env
/** Containers and TTL znodes are looked at this often; a test waits for it. */
const CONTAINER_CHECK_MS = 500
/** For the original only: what it takes from the command line of the JVM alone, and what makes a JVM start fast. */
const JVM_SETTINGS = [
  `-Dznode.container.checkIntervalMs=${CONTAINER_CHECK_MS}`,
  '-Dreadonlymode.enabled=true',
  '-XX:TieredStopAtLevel=1',
  '-XX:+UseSerialGC',
].join(' ')
const SERVING = /^Mode: (standalone|leader|follower|observer)$/m

/** A server's place in an ensemble. */
export type Member = {
  readonly id: number
  /** For clients. */
  readonly port: number
  readonly peerPort: number
  readonly electionPort: number
  readonly role: 'participant' | 'observer'
}

/** The line of a member as it stands in zoo.cfg, in /zookeeper/config and in requests for a reconfig. */
export function memberLine({ id, port, peerPort, electionPort, role }: Member): string {
  return `server.${id}=127.0.0.1:${peerPort}:${electionPort}:${role};127.0.0.1:${port}`
}

export type ServerOptions = {
  readonly tickMs: number
  /** Further lines of the configuration file. */
  readonly settings?: readonly string[]
  /** Adds a TLS port with these files (PEM). */
  readonly tls?: { readonly serverPem: string; readonly caPem: string }
  /** The ensemble that it is to start with, itself included. */
  readonly ensemble?: { readonly self: Member; readonly members: readonly Member[] }
}

/** What `srvr` says of a server that takes writes. */
export type Role = 'standalone' | 'leader' | 'follower' | 'observer'

export class Server {
  readonly port: number
  /** 0 without TLS. */
  readonly securePort: number
  readonly #dir: string
  readonly #options: ServerOptions
  #group: Group | undefined

  private constructor(dir: string, port: number, securePort: number, options: ServerOptions) {
    this.port = port
    this.securePort = securePort
    this.#dir = dir
    this.#options = options
  }

  /** Starts a server below `dir` and waits until it serves. */
  static async start(dir: string, options: ServerOptions): Promise<Server> {
    const server = await Server.create(dir, options)
    await server.launch()
    return server
  }

  /** Makes directories and configuration of a server below `dir`. */
  static async create(dir: string, options: ServerOptions): Promise<Server> {
    const { ensemble, tls } = options
    const port = ensemble?.self.port ?? (await freePort())
    const server = new Server(dir, port, tls ? await freePort() : 0, options)
    const data = join(dir, 'server-data')
    await mkdir(data, { recursive: true })
    if (ensemble) await writeFile(join(data, 'myid'), `${ensemble.self.id}\n`)
    await writeFile(server.#configFile, server.#config())
    return server
  }

  get #configFile(): string {
    return join(this.#dir, 'zoo.cfg')
  }

  get alive(): boolean {
    return this.#group?.alive() ?? false
  }

  /** Starts the process (again) on its data and waits until it serves. Throws if it ends or takes too long. */
  async launch(): Promise<void> {
    const [command, args]: [string, string[]] = replaced
      ? ['/bin/sh', ['-c', `exec ${replaced} "$1"`, 'sh', this.#configFile]]
      : [process.execPath, [join(repositoryRoot, 'bin/zabd.js'), 'start', '--config', this.#configFile]]
    const group = startGroup(command, args, {
      cwd: this.#dir,
      logFile: join(this.#dir, 'server.log'),
      env: { ZK_HEAP: '256m', JAVA_TOOL_OPTIONS: JVM_SETTINGS },
    })
    this.#group = group
    await until('the server under test ready', READY_LIMIT_MS, async () => {
      if (!group.alive()) return 'ended'
      return (await this.role()) === undefined ? undefined : 'ready'
    })
    if (!group.alive()) throw new Error('the server under test ended while it started: see server.log')
  }

  /** undefined: it does not serve, or only reads. Rejects if it is not there. */
  async role(): Promise<Role | undefined> {
    return SERVING.exec(await fourLetterWord(this.port, 'srvr'))?.[1] as Role | undefined
  }

  /** A crash: SIGKILL, and no wait for anything but the end of the process. */
  async crash(): Promise<void> {
    if (this.#group) await endGroup(this.#group, 'SIGKILL', STOP_LIMIT_MS)
  }

  /** A crash and a start on the same data; resolves when it serves again. */
  async restart(): Promise<void> {
    await this.crash()
    await this.launch()
  }

  /** SIGTERM; throws unless the process ends in time with exit code 0 (143 of a replaced launcher is fine too). */
  async stop(): Promise<void> {
    const group = this.#group
    if (!group) return
    if (!group.alive()) throw new Error('the server under test is no longer running')
    const inTime = await endGroup(group, 'SIGTERM', STOP_LIMIT_MS)
    const { code, signal } = await group.ended
    const clean = code === 0 || (replaced !== undefined && (code === 143 || signal === 'SIGTERM'))
    if (!inTime || !clean)
      throw new Error(`SIGTERM: exit code ${code}, signal ${signal}, expected exit code 0`)
  }

  #config(): string {
    const lines = [
      `tickTime=${this.#options.tickMs}`,
      'initLimit=10',
      'syncLimit=5',
      `dataDir=${join(this.#dir, 'server-data')}`,
      'maxClientCnxns=0',
      '4lw.commands.whitelist=*',
      'admin.enableServer=false',
      'extendedTypesEnabled=true',
      `znode.container.checkIntervalMs=${CONTAINER_CHECK_MS}`,
    ]
    const { ensemble, tls } = this.#options
    if (ensemble) lines.push('readonlymode.enabled=true', ...ensemble.members.map(memberLine))
    else lines.push(`clientPort=${this.port}`, 'clientPortAddress=127.0.0.1')
    if (tls) {
      lines.push(
        `secureClientPort=${this.securePort}`,
        'secureClientPortAddress=127.0.0.1',
        'serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory',
        'authProvider.x509=org.apache.zookeeper.server.auth.X509AuthenticationProvider',
        `ssl.keyStore.location=${tls.serverPem}`,
        'ssl.keyStore.type=PEM',
        `ssl.trustStore.location=${tls.caPem}`,
        'ssl.trustStore.type=PEM',
      )
    }
    return `${[...lines, ...(this.#options.settings ?? [])].join('\n')}\n`
  }
}

// The server under test: one standalone process on a fresh data directory and free ports.
// INTEROP_SERVER replaces the launcher: it is run as `$INTEROP_SERVER /absolute/zoo.cfg` in the foreground, so that
// every suite can also be run against the original.

import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { repositoryRoot } from './paths.ts'
import { fourLetterWord, freePort, until } from './ports.ts'
import { endGroup, type Group, startGroup } from './processes.ts'

const READY_LIMIT_MS = 60_000
const STOP_LIMIT_MS = 20_000
const { INTEROP_SERVER: replaced } = process.env
/** Containers and TTL znodes are looked at this often; a test waits for it. */
const CONTAINER_CHECK_MS = 500

export type ServerOptions = {
  readonly tickMs: number
  /** Further lines of the configuration file. */
  readonly settings?: readonly string[]
  /** Adds a TLS port with these files (PEM). */
  readonly tls?: { readonly serverPem: string; readonly caPem: string }
}

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
    const server = new Server(dir, await freePort(), options.tls ? await freePort() : 0, options)
    await mkdir(join(dir, 'server-data'), { recursive: true })
    await writeFile(server.#configFile, server.#config())
    await server.launch()
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
      // Read by the original only: it takes this interval from the command line of the JVM alone.
      env: { ZK_HEAP: '256m', JAVA_TOOL_OPTIONS: `-Dznode.container.checkIntervalMs=${CONTAINER_CHECK_MS}` },
    })
    this.#group = group
    await until('the server under test ready', READY_LIMIT_MS, async () => {
      if (!group.alive()) return 'ended'
      return /^Mode: /m.test(await fourLetterWord(this.port, 'srvr')) ? 'ready' : undefined
    })
    if (!group.alive()) throw new Error('the server under test ended while it started: see server.log')
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
      `clientPort=${this.port}`,
      'clientPortAddress=127.0.0.1',
      'maxClientCnxns=0',
      '4lw.commands.whitelist=*',
      'admin.enableServer=false',
      'extendedTypesEnabled=true',
      `znode.container.checkIntervalMs=${CONTAINER_CHECK_MS}`,
    ]
    const { tls } = this.#options
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

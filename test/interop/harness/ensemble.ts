// An ensemble of servers under test, and the orders by which programs have them killed and started. Each server is a
// process with data, configuration and log in a folder of its own. It judges nothing.

import { join } from 'node:path'
import type { Orders } from './control.ts'
import { fourLetterWord, freePort, until } from './ports.ts'
import { type Member, type Role, Server, type ServerOptions } from './server.ts'

const ROLE_LIMIT_MS = 60_000
const SIZE = 3

/** Options of all its servers. */
export type EnsembleOptions = Omit<ServerOptions, 'ensemble' | 'tls'>

async function newMember(id: number, role: Member['role']): Promise<Member> {
  return { id, role, port: await freePort(), peerPort: await freePort(), electionPort: await freePort() }
}

export class Ensemble {
  readonly members: readonly Member[]
  readonly servers: readonly Server[]
  readonly #dir: string
  readonly #options: EnsembleOptions

  private constructor(
    dir: string,
    options: EnsembleOptions,
    members: readonly Member[],
    servers: readonly Server[],
  ) {
    this.#dir = dir
    this.#options = options
    this.members = members
    this.servers = servers
  }

  /** Starts three servers below `dir` and waits until all of them serve. */
  static async start(dir: string, options: EnsembleOptions): Promise<Ensemble> {
    const ensemble = await Ensemble.create(dir, options)
    await ensemble.launch()
    return ensemble
  }

  /** Three servers that do not run yet. */
  static async create(dir: string, options: EnsembleOptions): Promise<Ensemble> {
    const members: Member[] = []
    for (let id = 1; id <= SIZE; id++) members.push(await newMember(id, 'participant'))
    const servers = await Promise.all(
      members.map((self) =>
        Server.create(join(dir, `server-${self.id}`), { ...options, ensemble: { self, members } }),
      ),
    )
    return new Ensemble(dir, options, members, servers)
  }

  /** A fourth server, not running yet, that knows the others and is in nobody's list but its own. */
  async createNewcomer(): Promise<{ readonly member: Member; readonly server: Server }> {
    const member = await newMember(SIZE + 1, 'observer')
    const ensemble = { self: member, members: [...this.members, member] }
    const server = await Server.create(join(this.#dir, `server-${member.id}`), { ...this.#options, ensemble })
    return { member, server }
  }

  /** Connection string of all servers. */
  get hosts(): string {
    return this.servers.map(({ port }) => `127.0.0.1:${port}`).join(',')
  }

  /** The server of this id. */
  server(id: number): Server {
    const server = this.servers[id - 1]
    if (!server) throw new Error(`there is no server ${id}`)
    return server
  }

  /** Starts all that do not run, and waits until every server serves. */
  async launch(): Promise<void> {
    await Promise.all(this.servers.filter(({ alive }) => !alive).map((server) => server.launch()))
    await until('all servers serve', ROLE_LIMIT_MS, async () => {
      const roles = await Promise.all(this.servers.map((server) => roleOf(server)))
      return roles.every((role) => role !== undefined) && roles.includes('leader') ? true : undefined
    })
  }

  /** A server that runs and has this role; waits for one. */
  async find(role: Role): Promise<Server> {
    return await until(`a ${role}`, ROLE_LIMIT_MS, async () => {
      for (const server of this.servers) if ((await roleOf(server)) === role) return server
      return undefined
    })
  }

  /** SIGTERM and a start for each server in turn, the leader last; every one serves again before the next goes. */
  async roll(): Promise<void> {
    const leader = await this.find('leader')
    for (const server of [...this.servers.filter((each) => each !== leader), leader]) {
      await server.stop()
      await this.launch()
    }
  }

  /** Kills the server that has this session's connection (id in hexadecimal digits). */
  async killHomeOf(session: string): Promise<void> {
    const home = await until(`a server with session 0x${session}`, ROLE_LIMIT_MS, async () => {
      for (const server of this.servers) {
        const connections = server.alive ? await fourLetterWord(server.port, 'cons').catch(() => '') : ''
        if (connections.includes(`sid=0x${session},`)) return server
      }
      return undefined
    })
    await home.crash()
  }

  /** Sees to it that this server does not lead: it is killed and started if it does. */
  async unseat(id: number): Promise<void> {
    const server = this.server(id)
    if ((await this.find('leader')) === server) {
      await server.crash()
      // The others are to elect one of themselves before it is there again.
      await this.find('leader')
    }
    await this.launch()
  }

  /** SIGTERM to every server, see Server.stop. */
  async stop(): Promise<void> {
    await Promise.all(this.servers.map((server) => server.stop()))
  }

  /**
   * What test programs may say:
   *   kill-leader, kill-follower   SIGKILL
   *   kill-home SESSION            SIGKILL to the server that has the connection of this session (hexadecimal)
   *   kill-all                     SIGKILL to all servers at once
   *   leave ID                     SIGKILL to all others than this one, which is left without a quorum
   *   unseat ID                    another server leads; this one is killed and started if it led
   *   start, open                  all servers run and serve again
   *   roll                         a rolling restart
   */
  get orders(): Orders {
    return {
      'kill-leader': async () => (await this.find('leader')).crash(),
      'kill-follower': async () => (await this.find('follower')).crash(),
      'kill-home': (session) => this.killHomeOf(session),
      'kill-all': async () => {
        await Promise.all(this.servers.map((server) => server.crash()))
      },
      leave: async (id) => {
        const rest = this.servers.filter((server) => server !== this.server(Number(id)))
        await Promise.all(rest.map((server) => server.crash()))
      },
      unseat: (id) => this.unseat(Number(id)),
      start: () => this.launch(),
      open: () => this.launch(),
      roll: () => this.roll(),
    }
  }
}

function roleOf(server: Server): Promise<Role | undefined> {
  return server.alive ? server.role().catch(() => undefined) : Promise.resolve(undefined)
}

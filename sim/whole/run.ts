// One run: a whole ensemble with its clients from one seed, first under faults, then healed, when it must recover within
// a bounded time, serve everybody, let dead sessions go and keep living ones, and end in one state everywhere. What is
// promised is checked all the time; the first broken promise ends the run.
import { formatZxid } from '../../src/base/zxid.ts'
import type { Message } from '../../src/zab/messages.ts'
import { createPrng, type Prng } from '../prng.ts'
import { Schedule } from '../schedule.ts'
import { describeMessage } from '../trace.ts'
import { check } from './check.ts'
import { ClientFigures, SimClient } from './client.ts'
import { History } from './history.ts'
import { Host } from './host.ts'
import { runEvents, settled } from './loop.ts'
import { Nemesis } from './nemesis.ts'
import { PeerNetwork } from './peers.ts'
import { drawProfile, type Profile } from './profile.ts'
import { ClientNetwork } from './sockets.ts'
import { compareWithModel } from './states.ts'
import { startLocker, startMixed, startReader, type Worker } from './workload.ts'

export type RunOptions = {
  readonly seed: number
  /** Events under faults; the recovery comes on top. */
  readonly steps: number
  readonly trace?: (line: string) => void
}

export type RunResult = {
  readonly seed: number
  readonly steps: number
  readonly virtualMs: number
  readonly figures: Figures
  /** How long it took until everybody served again, from the end of the faults. */
  readonly recoveryMs: number
  /** What went wrong, if something did. */
  readonly failure: string | undefined
}

/** How much happened in a run. */
export type Figures = {
  readonly servers: number
  readonly faults: number
  readonly processes: number
  readonly leaders: number
  readonly messages: number
  readonly writes: number
  readonly answers: number
  readonly lost: number
  readonly events: number
  readonly sessions: number
  readonly expired: number
}

/** Ticks after the last fault within which everybody serves. */
const recoveryTicks = 100
/** Ticks within which every client must have got on once everybody serves. */
const progressTicks = 60

/** Sessions of at least so many ticks must outlive a change of leader. */
const failOverTicks = 8

/** Runs a seed to its end or to the first broken promise. One run at a time in a process. */
export async function run(options: RunOptions): Promise<RunResult> {
  // From a microtask on, so that a tick comes after all microtasks of the very first event, too, whoever calls this.
  await Promise.resolve()
  const world = new World(options)
  const onRejection = (reason: unknown) => world.fail(reason)
  process.on('unhandledRejection', onRejection)
  try {
    await world.runFaulty(options.steps)
    await world.recover()
    await world.rest()
  } catch (error) {
    world.fail(error)
  } finally {
    world.end()
    await settled()
    process.off('unhandledRejection', onRejection)
  }
  if (world.error !== undefined && options.trace !== undefined)
    options.trace(world.error instanceof Error ? String(world.error.stack) : String(world.error))
  return world.result(options.seed)
}

class World {
  readonly schedule = new Schedule()
  readonly history = new History()
  readonly prng: Prng
  readonly profile: Profile
  readonly network: ClientNetwork
  readonly peers: PeerNetwork
  readonly hosts: Host[]
  readonly clients: SimClient[] = []
  readonly workers: Worker[] = []
  readonly nemesis: Nemesis
  readonly figures = new ClientFigures()
  error: unknown
  steps = 0
  recoveryMs = 0
  readonly #trace: ((line: string) => void) | undefined
  /** Leader of each epoch. */
  readonly #leaders = new Map<number, number>()
  /** What was last seen of each host: the life of its process and the zxid of its state. */
  readonly #seen = new Map<Host, { life: number; zxid: number }>()
  #applied = 0

  constructor({ seed, trace }: RunOptions) {
    this.#trace = trace
    this.prng = createPrng(seed)
    const { prng, schedule, history } = this
    this.profile = drawProfile(prng)
    const { profile } = this
    trace?.(`profile ${JSON.stringify(profile)}`)
    this.network = new ClientNetwork(schedule, prng, profile.network)
    this.peers = new PeerNetwork(schedule, prng, profile.peers, (to, from, message) => {
      // What servers around the cores say to each other reads the same.
      if (trace !== undefined) this.#line(`s${to}`, `from ${from}: ${describeMessage(message as Message)}`)
    })
    if (trace !== undefined) history.onTransaction = (line) => this.#line('=', line)
    const ids = [...profile.voters, ...profile.observers]
    this.hosts = ids.map((id) => this.#addHost(id, ids))
    this.#addClients(ids)
    const { hosts, peers, network, clients } = this
    this.nemesis = new Nemesis({ hosts, peers, network, clients, schedule, prng, profile, trace })
    for (const host of hosts)
      schedule.after(prng.chance(0.8) ? prng.between(0, 20) : prng.between(0, 1000), () => host.boot())
  }

  #addHost(id: number, ids: readonly number[]): Host {
    const { profile, schedule, prng, peers, network: clients, history } = this
    peers.addMachine(
      id,
      ids.filter((other) => other < id),
    )
    return new Host({
      id,
      profile,
      schedule,
      prng,
      peers,
      clients,
      watcher: {
        offered: (entry) => history.offered(id, entry),
        appended: (entry, prev) => history.appended(id, entry, prev),
        epochsSaved: (before, after) => {
          const grown = after.accepted >= before.accepted && after.current >= before.current
          const which = () =>
            `server ${id}'s epochs go from ${JSON.stringify(before)} to ${JSON.stringify(after)}`
          check(grown && after.accepted >= after.current, which)
        },
      },
      onFailure: (host, error) => this.fail(error, `server ${host.id}: `),
      onDying: (host) => this.#inspectHost(host, false),
      onEnd: (host) => this.nemesis.ended(host),
      trace: this.#trace,
    })
  }

  #addClients(servers: readonly number[]): void {
    const { profile, schedule, prng, network, history } = this
    const { clients: mixed, readers, lockers, thinkMs, pipeline, tickMs, timeouts } = profile
    for (let id = 1; id <= mixed + readers + lockers; id++) {
      const client = new SimClient(
        {
          id,
          network,
          schedule,
          prng,
          history,
          servers,
          timeoutMs: tickMs * prng.pick(timeouts),
          onViolation: (error) => this.fail(error),
          trace: this.#trace,
        },
        this.figures,
      )
      this.clients.push(client)
      client.start()
      const start = id <= mixed ? startMixed : id <= mixed + readers ? startReader : startLocker
      this.workers.push(start({ client, schedule, prng, thinkMs, pipeline }))
    }
  }

  // ---------------------------------------------------------------- phases

  async runFaulty(steps: number): Promise<void> {
    await this.#runWhile(() => this.steps < steps)
  }

  /** The faults end: soon everybody serves, and every client gets on. */
  async recover(): Promise<void> {
    const { schedule, profile } = this
    for (const worker of this.workers) worker.calm()
    this.nemesis.heal()
    const from = schedule.now
    await this.#within(recoveryTicks, 'not everybody serves', () => {
      return this.hosts.every((host) => host.serves) && this.clients.every((client) => client.isOpen)
    })
    this.recoveryMs = schedule.now - from
    const before = this.workers.map((worker) => worker.rounds)
    const slowest = Math.max(...profile.timeouts)
    await this.#within(progressTicks + 3 * slowest, 'not every client gets on', () => {
      return this.workers.every((worker, i) => worker.rounds > (before[i] as number) + 2)
    })
  }

  /** Clients do nothing but ping: their sessions stay, those that nobody has go, and all states are one. */
  async rest(): Promise<void> {
    const { schedule, profile, history, clients } = this
    for (const worker of this.workers) worker.stop()
    const longest = Math.max(...profile.timeouts)
    await this.#within(progressTicks, 'some requests are not answered', () => {
      return clients.every((client) => client.isOpen && client.outstanding === 0)
    })
    const kept = new Map(clients.map((client) => [client.session?.id, client]))
    history.onExpiry = (session, zxid) => {
      check(!kept.has(session), () => {
        return `the session 0x${session.toString(16)} of client ${kept.get(session)?.id}, which pings, is expired at ${formatZxid(zxid)}`
      })
    }
    const until = schedule.now + (longest + 10) * profile.tickMs
    await this.#runWhile(() => schedule.now < until)
    const stray = history.model.openSessions().filter((session) => !kept.has(session))
    check(stray.length === 0, () => {
      return `sessions that nobody has are still open: ${stray.map((one) => `0x${one.toString(16)}`)}`
    })
    await this.#failOver(kept)
    for (const [session, client] of kept)
      check(client.session?.id === session, () => `client ${client.id}, which pings, has lost its session`)
    for (const client of clients) {
      client.retire()
      void client.call({ type: 'close' })
    }
    await this.#within(progressTicks, 'not every session can be closed', () => {
      return history.model.openSessions().length === 0 && this.#sameState()
    })
    this.#compareAll()
    for (const session of history.sessions)
      check(!session.refused || history.model.closedAt(session.id) !== undefined, () => {
        return `client ${session.client} was told that 0x${session.id.toString(16)} is gone, but it is open`
      })
  }

  /** The leader dies and comes back at once: nobody's session does, unless it lasts hardly longer than the election. */
  async #failOver(kept: Map<number | undefined, SimClient>): Promise<void> {
    for (const [session, client] of kept)
      if (client.timeoutMs < failOverTicks * this.profile.tickMs) kept.delete(session)
    this.nemesis.replaceLeader()
    const until = this.schedule.now + failOverTicks * this.profile.tickMs
    await this.#runWhile(() => this.schedule.now < until)
    await this.#within(recoveryTicks, 'not everybody serves after the leader was replaced', () => {
      return this.hosts.every((host) => host.serves) && this.clients.every((client) => client.isOpen)
    })
  }

  #sameState(): boolean {
    return this.hosts.every((host) => host.serves && host.node?.tree.zxid === this.history.model.zxid)
  }

  /** Ends every process, so that nothing of this run happens in the next one. */
  end(): void {
    for (const client of this.clients) client.stop()
    for (const host of this.hosts) host.crash()
  }

  // ---------------------------------------------------------------- running

  fail(error: unknown, who = ''): void {
    if (this.error !== undefined) return
    this.error = error
    this.#line('!', `${who}${error instanceof Error ? error.message : String(error)}`)
    if (who !== '' && error instanceof Error) this.#who = who
  }

  #who = ''

  #runWhile(goesOn: () => boolean): Promise<void> {
    return runEvents(
      () => {
        if (this.error !== undefined) throw this.error
        return goesOn() && this.schedule.runNext()
      },
      () => {
        this.steps++
        this.#inspect()
      },
    )
  }

  async #within(ticks: number, what: string, done: () => boolean): Promise<void> {
    const limit = this.schedule.now + ticks * this.profile.tickMs
    await this.#runWhile(() => {
      if (done()) return false
      check(this.schedule.now < limit, () => `${what} within ${ticks} ticks. ${this.#states()}`)
      return true
    })
  }

  /** After every event: what every server's state is, and what it takes itself for. */
  #inspect(): void {
    for (const host of this.hosts) this.#inspectHost(host, true)
    this.#inspectLeaders()
  }

  /** In the middle of an event a state may be that of the last transaction while the next is being applied. */
  #inspectHost(host: Host, still: boolean): void {
    const { node } = host
    if (node === undefined) return
    const { zxid } = node.tree
    let seen = this.#seen.get(host)
    if (seen === undefined) {
      seen = { life: 0, zxid: -1 }
      this.#seen.set(host, seen)
    }
    if (seen.zxid === zxid && seen.life === host.lives) return
    check(seen.life !== host.lives || zxid > seen.zxid, () => {
      return `server ${host.id}'s state goes back to ${formatZxid(zxid)}`
    })
    seen.zxid = zxid
    seen.life = host.lives
    this.history.applied(host.id, zxid, still ? node.tree.digest() : undefined)
    if (zxid > this.#applied) this.#committed(zxid)
    if (still && this.prng.chance(0.003)) this.#compare(host)
  }

  #inspectLeaders(): void {
    for (const host of this.hosts) {
      const core = host.node?.core
      if (core === undefined) continue
      const { role } = core
      if (role.type !== 'leading' || role.phase !== 'broadcast') continue
      const leader = this.#leaders.get(role.epoch)
      if (leader === undefined) this.#leaders.set(role.epoch, host.id)
      else check(leader === host.id, () => `${host.id} and ${leader} both lead epoch ${role.epoch}`)
    }
    for (const host of this.hosts)
      check(
        !host.disk.diverged,
        () => `server ${host.id} takes its state for another one than the ensemble's`,
      )
  }

  /** What is applied anywhere is on the disks of a majority. */
  #committed(zxid: number): void {
    this.#applied = zxid
    const voters = this.hosts.filter((host) => host.isVoter)
    const end = this.history.endOfEntry(zxid)
    const holders = voters.filter(({ disk }) => disk.holds(end))
    check(holders.length * 2 > voters.length, () => {
      return `${formatZxid(zxid)} is applied, but only on the disks of ${holders.map(({ id }) => id).join(' ')}`
    })
  }

  /** A server's whole state against the model's, if both are at the same transaction. */
  #compare(host: Host): void {
    const tree = host.node?.tree
    if (tree !== undefined && tree.zxid === this.history.model.zxid)
      compareWithModel(host.id, tree, this.history.model)
  }

  #compareAll(): void {
    for (const host of this.hosts) {
      check(host.node?.tree.zxid === this.history.model.zxid, () => `server ${host.id} lags at the end`)
      this.#compare(host)
    }
  }

  // ---------------------------------------------------------------- telling

  result(seed: number): RunResult {
    const { steps, recoveryMs, figures, history } = this
    const error = this.error
    const failure =
      error === undefined
        ? undefined
        : `${this.#who}${error instanceof Error ? `${error.name}: ${error.message}` : String(error)}`
    return {
      seed,
      steps,
      virtualMs: this.schedule.now,
      recoveryMs,
      failure,
      figures: {
        servers: this.hosts.length,
        faults: this.nemesis.faults,
        processes: this.hosts.reduce((sum, host) => sum + host.lives, 0),
        leaders: this.#leaders.size,
        messages: this.peers.delivered,
        writes: history.writes,
        answers: figures.answered,
        lost: figures.lost,
        events: figures.events,
        sessions: figures.sessions,
        expired: history.expired,
      },
    }
  }

  #states(): string {
    const servers = this.hosts.map(({ id, node, paused, running }) => {
      const role = node?.core?.role
      const phase = role === undefined || role.type === 'looking' ? '' : ` ${role.phase}`
      const serves =
        node === undefined ? '' : `${node.serving ? ' serves' : ''}${node.writable ? ' writes' : ''}`
      const at = node === undefined ? '' : ` ${formatZxid(node.tree.zxid)}`
      return `${id}: ${role?.type ?? (running ? 'starting' : 'down')}${phase}${serves}${paused ? ' paused' : ''}${at}`
    })
    const clients = this.clients.map((client, i) => {
      const at = client.isOpen ? `at ${client.server}, ${client.outstanding} asked` : 'not connected'
      return `c${client.id}: ${at}, ${this.workers[i]?.rounds} rounds`
    })
    return [...servers, ...clients].join('; ')
  }

  #line(who: string, line: string): void {
    this.#trace?.(`${this.schedule.now.toFixed(2).padStart(10)} ${who} ${line}`)
  }
}

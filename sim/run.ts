// One run of the simulator: a whole ensemble from one seed, first under faults, then healed, when it must recover
// within a bounded time. Every property is checked after every step.
import { formatZxid, makeZxid } from '../src/base/zxid.ts'
import type { Voting } from '../src/zab/types.ts'
import { Checker } from './checker.ts'
import { Nemesis } from './nemesis.ts'
import { Network } from './network.ts'
import { createPrng, type Prng } from './prng.ts'
import { configuredOf, drawProfile, type Profile } from './profile.ts'
import { Schedule } from './schedule.ts'
import { Server } from './server.ts'
import { check } from './violation.ts'

export type RunOptions = {
  readonly seed: number
  /** Steps of the cores under faults; the recovery comes on top. */
  readonly steps: number
  readonly trace?: (line: string) => void
}

export type RunResult = {
  readonly seed: number
  readonly steps: number
  readonly virtualMs: number
  /** Leaders that were established. */
  readonly leaders: number
  readonly delivered: number
  readonly messages: number
  /** Votings that were delivered, disks that were lost. */
  readonly votings: number
  readonly lostDisks: number
  /** How long the recovery took, from the end of the faults. */
  readonly recoveryMs: number
  /** What went wrong, if something did. */
  readonly failure: string | undefined
}

/** Ticks after the last fault within which everybody serves the same state. */
const recoveryTicks = 60

/** Runs a seed to its end or to the first violation. */
export function run(options: RunOptions): RunResult {
  const world = new World(options)
  let failure: string | undefined
  try {
    world.runFaulty(options.steps)
    world.recover()
  } catch (error) {
    failure = error instanceof Error ? `${error.name}: ${error.message}` : String(error)
    if (options.trace !== undefined && error instanceof Error) options.trace(String(error.stack))
  }
  return world.result(options.seed, failure)
}

class World {
  readonly schedule = new Schedule()
  readonly prng: Prng
  readonly profile: Profile
  readonly network: Network
  readonly checker: Checker
  readonly servers: Server[]
  readonly nemesis: Nemesis
  steps = 0
  recoveryMs = 0
  #proposing = true

  constructor({ seed, trace }: RunOptions) {
    this.prng = createPrng(seed)
    this.profile = drawProfile(this.prng)
    const { schedule, prng, profile } = this
    trace?.(`profile ${JSON.stringify(profile)}`)
    this.network = new Network(schedule, prng, profile)
    this.checker = new Checker(profile.quorum)
    const { network, checker } = this
    const onStep = () => {
      this.steps++
      this.checker.afterStep()
    }
    const onCrash = (server: Server) => this.nemesis.crashed(server)
    const onChange = (server: Server) => this.nemesis.changed(server)
    const onSettled = (voting: Voting) => this.nemesis.settled(voting)
    const isPresent = (id: number, session: number) =>
      this.servers.find((one) => one.id === id)?.isPresent(session) === true
    const common = {
      isPresent,
      profile,
      schedule,
      prng,
      network,
      checker,
      onStep,
      onCrash,
      onChange,
      onSettled,
      trace,
    }
    this.servers = [...profile.voters, ...profile.observers, ...profile.joiners].map(
      (id) => new Server({ ...common, id, configured: configuredOf(profile, id) }),
    )
    this.nemesis = new Nemesis({ servers: this.servers, network, checker, schedule, prng, profile, trace })
    for (const server of this.servers) this.#begin(server)
    this.#propose()
    this.#checkpoint()
  }

  /** What a server has before the run, and when it is started first. */
  #begin(server: Server): void {
    const { schedule, prng, profile, network } = this
    const { disk, id } = server
    const { firstEpoch, aloneBefore } = profile
    network.add(server)
    disk.epochs = { accepted: firstEpoch, current: 0 }
    if (aloneBefore > 0 && id === 1) {
      disk.entries = Array.from({ length: aloneBefore }, (_, i) => {
        const last = makeZxid(1, i + 1)
        return { prev: i === 0 ? 0 : last - 1, first: last, last, bytes: new Uint8Array(1) }
      })
      disk.epochs = { accepted: 1, current: 1 }
      disk.alone = true
      this.checker.begin(disk.entries)
    }
    const delay = prng.chance(0.8) ? prng.between(0, 20) : prng.between(0, 1000)
    schedule.after(profile.joiners.includes(id) ? delay * 3 : delay, () => this.nemesis.boot(server))
  }

  runFaulty(steps: number): void {
    while (this.steps < steps && this.schedule.runNext());
  }

  /** Liveness: the faults end, and soon everybody has everything, a last proposal included. */
  recover(): void {
    this.#proposing = false
    this.nemesis.heal()
    const from = this.schedule.now
    const limit = from + recoveryTicks * this.profile.settings.tickMs + this.#backlogMs()
    const wait = (what: string, done: () => boolean) => {
      while (!done()) {
        this.schedule.runNext()
        check(
          this.schedule.now < limit,
          () => `no recovery within ${recoveryTicks} ticks: ${what}. ${this.#states()}`,
        )
      }
    }
    const leads = () => this.servers.find((server) => server.leads)
    const all = this.servers.filter((server) => !server.retired)
    wait('nobody leads', () => leads() !== undefined)
    wait('not everybody serves', () => leads() !== undefined && all.every((one) => one.serves))
    const before = this.checker.sequence.length
    const proposeLast = () => {
      // It may be lost, if just now the epoch's counter is used up.
      if (this.checker.sequence.length === before) leads()?.propose(1)
      this.schedule.after(500, proposeLast)
    }
    proposeLast()
    wait('not everybody has delivered the same', () => {
      const { length } = this.checker.sequence
      return length > before && all.every((one) => one.serves && one.count === length)
    })
    wait('the leader is none by the voting that was agreed upon', () => this.#isRightful(leads()))
    this.recoveryMs = this.schedule.now - from
  }

  result(seed: number, failure: string | undefined): RunResult {
    const { steps, recoveryMs } = this
    return {
      seed,
      steps,
      virtualMs: this.schedule.now,
      leaders: this.checker.leaders,
      delivered: this.checker.sequence.length,
      messages: this.network.delivered,
      votings: this.checker.votings,
      lostDisks: this.checker.lostDisks,
      recoveryMs,
      failure,
    }
  }

  /** The leader is a voter, everybody agrees who is, and it will stay so. */
  #isRightful(leader: Server | undefined): boolean {
    const { voting, quorum } = this.checker
    if (leader === undefined || !quorum.mayLead(leader.id)) return false
    const zxid = voting?.zxid ?? 0
    const agree = ({ core, retired }: Server) => retired || core?.inForce.zxid === zxid
    return this.servers.every(agree) && (zxid === 0 || leader.core?.inForce.settled === true)
  }

  /** What it takes to send a whole history through a small window over a slow network to a slow disk. */
  #backlogMs(): number {
    const { settings, delayMs, syncMs } = this.profile
    const entries = Math.max(...this.servers.map(({ disk }) => disk.entries.length))
    const roundTrips = entries / Math.max(1, settings.windowBytes / 60)
    return roundTrips * (2 * delayMs + 20 * syncMs + 1)
  }

  #states(): string {
    return this.servers
      .map(({ id, core, count, paused, disk, retired }) => {
        const role = core?.role
        const phase = role === undefined || role.type === 'looking' ? '' : ` ${role.phase}`
        const end = `${disk.epochs.current}/${formatZxid(disk.end)}${disk.diverged ? ' diverged' : ''}`
        const voters = core?.quorum.votings.map((one) => one.voters.join('+')).join('&')
        const state = retired ? 'retired' : `${role?.type ?? 'down'}${phase}${paused ? ' paused' : ''}`
        return `${id}: ${state} ${count} ${end} by ${voters}`
      })
      .join(', ')
  }

  #propose(): void {
    const { prng, profile, schedule } = this
    schedule.after(prng.between(0, 2 * profile.proposeEveryMs), () => {
      if (!this.#proposing) return
      const leaders = this.servers.filter((server) => server.leads)
      if (leaders.length > 0) {
        const huge = prng.chance(profile.hugeProposals)
        const leader = prng.pick(leaders)
        leader.propose(huge ? prng.int(2 ** 29, 2 ** 31) : prng.int(1, 3))
        // Two at a time: the old one must not confirm any more.
        if (leaders.length > 1) for (const one of leaders) one.confirm()
        else if (prng.chance(0.2)) leader.confirm()
      }
      this.#propose()
    })
  }

  #checkpoint(): void {
    const { prng, profile, schedule } = this
    schedule.after(prng.between(0, 2 * profile.checkpointEveryMs), () => {
      prng.pick(this.servers).writeCheckpoint()
      this.#checkpoint()
    })
  }
}

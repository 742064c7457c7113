// Draws faults and takes them back: crashes, partitions of every shape, one-way blocks, lost connections, slow disks,
// processes that stand still, clocks that jump, leaders that resign, states that diverge, disks that are lost,
// reconfigurations, after which those that vote no more may be stopped for good.
import { type Quorum, quorumOf } from '../src/zab/quorum.ts'
import type { Voting } from '../src/zab/types.ts'
import { inForce } from '../src/zab/voting.ts'
import type { Checker } from './checker.ts'
import type { Network } from './network.ts'
import { blockedBy, type Partition } from './partitions.ts'
import type { Prng } from './prng.ts'
import { drawVoting, type Profile } from './profile.ts'
import type { Schedule } from './schedule.ts'
import type { Server } from './server.ts'

export type NemesisParts = {
  readonly servers: readonly Server[]
  readonly network: Network
  readonly checker: Checker
  readonly schedule: Schedule
  readonly prng: Prng
  readonly profile: Profile
  readonly trace: ((line: string) => void) | undefined
}

const partitions: readonly Partition[] = ['halves', 'one', 'mute', 'deaf', 'link', 'lane', 'bridge', 'random']

/** See file header. */
export class Nemesis {
  readonly #parts: NemesisParts
  #active = true

  constructor(parts: NemesisParts) {
    this.#parts = parts
    this.#plan()
  }

  /** Takes every fault back, and makes no more. */
  heal(): void {
    this.#active = false
    this.#trace('all faults end')
    const { servers } = this.#parts
    this.#unblockAll()
    for (const server of servers) {
      server.fragile = false
      server.disk.heal()
      server.clockRate = 1
      server.resume()
      if (!server.running) this.boot(server)
      else if (server.core?.abstaining) this.#restart(server, 1)
    }
  }

  /** A server died by itself, within a step. */
  crashed(server: Server): void {
    this.#restart(server, this.#downtime())
  }

  /** A voting is settled, and all that follows will be decided by it alone: another server may be taken away for good. */
  settled({ voters }: Voting): void {
    const { prng, servers } = this.#parts
    if (!this.#active || !prng.chance(0.3)) return
    const removed = servers.filter(({ id, retired }) => !retired && !voters.includes(id))
    if (removed.length === 0) return
    const server = prng.pick(removed)
    this.#trace(`${server.id} is taken away for good`)
    server.crash()
    server.retired = true
  }

  /** A role or phase has begun: some faults are for just this moment, or the next few. */
  changed(server: Server): void {
    const { prng, profile, schedule, servers, network } = this.#parts
    if (!this.#active || !prng.chance(profile.faultAtChange)) return
    const target = prng.chance(0.5) ? server : prng.pick(servers)
    if (prng.chance(0.3)) {
      this.#slowDisk(target)
      return
    }
    const scale = prng.pick([2, 2, 20])
    schedule.after(prng.between(0, scale * (profile.delayMs + profile.syncMs)), () => {
      if (!this.#active) return
      const draw = prng.next()
      if (draw < 0.4) this.#restart(target, this.#downtime())
      else if (draw < 0.6) this.#restartTwo(server, prng.pick(servers))
      else if (draw < 0.8) network.disconnect(server.id, prng.pick(servers).id)
      else this.#isolate(target, prng.between(1, profile.faultMs))
    })
  }

  /** Two die at once: one is back soon, the other later. */
  #restartTwo(one: Server, other: Server): void {
    const { prng, profile } = this.#parts
    this.#restart(one, prng.between(1, 20))
    if (other !== one) this.#restart(other, prng.between(20, 20 + 2 * profile.faultMs))
  }

  #isolate({ id }: Server, lastsMs: number): void {
    const { servers, network, schedule } = this.#parts
    this.#trace(`${id} is cut off`)
    for (const other of servers) {
      if (other.id === id) continue
      network.block(id, other.id)
      network.block(other.id, id)
    }
    schedule.after(lastsMs, () => {
      for (const other of servers) {
        network.unblock(id, other.id)
        network.unblock(other.id, id)
      }
    })
  }

  #plan(): void {
    const { schedule, prng, profile } = this.#parts
    schedule.after(prng.between(0, 2 * profile.faultEveryMs), () => {
      if (!this.#active) return
      this.#fault()
      this.#plan()
    })
  }

  #fault(): void {
    const { prng, servers, network, profile } = this.#parts
    const server = prng.pick(servers)
    if (prng.chance(profile.reconfigures)) {
      this.#reconfigure()
      return
    }
    if (prng.chance(profile.losesDisks)) {
      this.#loseDisk(server)
      return
    }
    const draw = prng.next()
    if (draw < 0.2) this.#restart(server, this.#downtime())
    else if (draw < 0.27) this.#restartLeader()
    else if (draw < 0.3) for (const one of servers) this.#restart(one, this.#downtime())
    else if (draw < 0.5) this.#partition()
    else if (draw < 0.58) this.#unblockAll()
    else if (draw < 0.68) network.disconnect(server.id, prng.pick(servers).id)
    else if (draw < 0.78) this.#slowDisk(server)
    else if (draw < 0.88) this.#pause(server)
    else if (draw < 0.92) this.#clock(server)
    else if (draw < 0.96) this.#resign()
    else this.#diverge(server)
  }

  #downtime(): number {
    const { prng, profile } = this.#parts
    return prng.chance(0.5) ? prng.between(1, 50) : prng.between(1, profile.faultMs)
  }

  /** Kills a server and starts it again later. */
  #restart(server: Server, downMs: number): void {
    server.crash()
    this.#parts.schedule.after(downMs, () => this.boot(server))
  }

  /**
   * A server without its disk comes back only when nobody still waits for what its last life said. And those that join one
   * that was alone are started one after the other: two together could take themselves for the ensemble (see voting.ts).
   */
  boot(server: Server): void {
    const { network, schedule, servers, profile } = this.#parts
    const isBlank = ({ disk }: Server) => disk.epochs.current === 0
    const inTurn =
      profile.aloneBefore === 0 || !servers.slice(1).some((one) => one.id < server.id && isBlank(one))
    if (!isBlank(server) || (inTurn && !network.isMissed(server.id))) server.boot()
    else schedule.after(1, () => this.boot(server))
  }

  #restartLeader(): void {
    const leader = this.#parts.servers.find((server) => server.leads)
    if (leader !== undefined) this.#restart(leader, this.#downtime())
  }

  #partition(): void {
    const { prng, servers, schedule, profile } = this.#parts
    if (prng.chance(0.5)) this.#unblockAll()
    const ids = prng.shuffle(servers.map(({ id }) => id))
    const kind = prng.pick(partitions)
    this.#trace(`partition ${kind} ${ids.join(' ')}`)
    for (const [from, to] of blockedBy(kind, ids, prng)) this.#parts.network.block(from, to)
    if (prng.chance(0.7)) schedule.after(prng.between(20, profile.faultMs), () => this.#unblockAll())
  }

  #unblockAll(): void {
    const { servers, network } = this.#parts
    for (const { id } of servers) for (const other of servers) network.unblock(id, other.id)
  }

  #slowDisk(server: Server): void {
    const { prng, schedule, profile } = this.#parts
    const { disk } = server
    if (prng.chance(0.7)) disk.logSlowness = prng.pick([5, 50, 500])
    if (prng.chance(0.4)) disk.epochSlowness = prng.pick([5, 50, 500])
    this.#trace(`disk of ${server.id} is ${disk.logSlowness} and ${disk.epochSlowness} times slower`)
    schedule.after(prng.between(10, 2 * profile.faultMs), () => {
      disk.logSlowness = 1
      disk.epochSlowness = 1
    })
  }

  #pause(server: Server): void {
    const { prng, schedule, servers, network, profile } = this.#parts
    if (!server.running || server.paused) return
    const pausedMs = prng.chance(0.5) ? prng.between(1, 100) : prng.between(1, profile.faultMs)
    server.pause()
    schedule.after(pausedMs, () => server.resume())
    if (pausedMs < profile.keepaliveMs) return
    schedule.after(profile.keepaliveMs, () => {
      if (!server.paused) return
      for (const { id } of servers) if (prng.chance(0.7)) network.disconnect(server.id, id)
    })
  }

  #clock(server: Server): void {
    const { prng } = this.#parts
    if (prng.chance(0.5)) server.clockOffset += prng.between(0, 3000)
    else server.clockRate = prng.between(1, 1.2)
  }

  #resign(): void {
    const { prng, servers, schedule } = this.#parts
    const server = servers.find((one) => one.leads) ?? prng.pick(servers)
    if (!server.running) return
    server.event({ type: 'resign' })
    schedule.after(prng.between(10, 500), () => this.#restart(server, this.#downtime()))
  }

  /** The others must be able to elect a leader, for it takes one to give a snapshot. */
  #diverge(server: Server): void {
    if (!server.running || server.paused || server.core?.installing) return
    if (!this.#canSpare(server)) return
    server.event({ type: 'diverged', reason: 'the simulator says so' })
  }

  /** Never so many that others could not know what was lost: see voting.ts. */
  #mayLose(server: Server): boolean {
    const { checker, servers } = this.#parts
    const first = checker.firstCommitted
    if (first === undefined || !this.#canSpare(server)) return false
    const forgetful = (id: number) => {
      const { disk } = this.#serverOf(id)
      return id === server.id || disk.epochs.current === 0 || !disk.holds(first)
    }
    const elects = (quorum: Quorum) => quorum.votings.some((one) => quorumOf(one).contains(forgetful))
    return !servers.some((one) => elects(one.configured) || elects(onDisk(one)))
  }

  #loseDisk(server: Server): void {
    const { prng } = this.#parts
    if (!this.#mayLose(server)) return
    if (prng.chance(0.5)) this.#loseNow(server)
    else this.#deceive(server)
  }

  #loseNow(server: Server): void {
    server.crash()
    this.#trace(`${server.id} loses its disk`)
    server.disk.lose()
    this.#restart(server, this.#downtime())
  }

  /** A leader does not notice that another one has come, with the help of a server that then forgets it. */
  #deceive(server: Server): void {
    const { servers, network, schedule, prng, profile } = this.#parts
    const leader = servers.find((one) => one.leads)
    if (leader === undefined || leader === server) return
    this.#trace(`${leader.id} does not hear that the others leave it`)
    for (const { id } of servers) {
      if (id === leader.id) continue
      if (id !== server.id) network.block(id, leader.id)
      network.disconnect(id, leader.id)
    }
    schedule.after(prng.between(5, 20 * profile.delayMs + 4 * profile.epochMs), () => {
      if (this.#active && this.#mayLose(server)) this.#loseNow(server)
    })
    schedule.after(profile.keepaliveMs, () => this.#unblockAll())
  }

  /** Whether the servers whose disks are good can elect a leader without this one, by every voting that may be in force. */
  #canSpare(server: Server): boolean {
    const { servers, checker } = this.#parts
    const good = (id: number) => id !== server.id && this.#isGood(id)
    const newest = checker.voting?.zxid ?? 0
    const pending = servers.flatMap((one) => (newestIn(one) >= newest ? [onDisk(one), one.core?.quorum] : []))
    return [checker.quorum, ...pending].every((quorum) => quorum?.contains(good) !== false)
  }

  /** Its disk has all that it should. */
  #isGood(id: number): boolean {
    const { disk } = this.#serverOf(id)
    return disk.epochs.current > 0 && !disk.diverged
  }

  #serverOf(id: number): Server {
    return this.#parts.servers.find((one) => one.id === id) as Server
  }

  #reconfigure(): void {
    const { prng, servers } = this.#parts
    const leader = servers.find((one) => one.leads)
    if (leader?.core === undefined) return
    const ids = servers.filter(({ retired }) => !retired).map(({ id }) => id)
    const voting = drawVoting(prng, leader.core.inForce.voting, ids, leader.id)
    this.#trace(`the voting shall be ${JSON.stringify(voting)}`)
    // The leader may not have noticed yet that a disk is lost.
    leader.reconfigure(voting, () => quorumOf(voting).contains((id) => this.#isGood(id)))
  }

  #trace(line: string): void {
    const { trace, schedule } = this.#parts
    trace?.(`${schedule.now.toFixed(2).padStart(10)} * ${line}`)
  }
}

/** zxid of the newest voting that a server knows of. */
function newestIn({ disk, core }: Server): number {
  return Math.max(disk.votings.at(-1)?.zxid ?? 0, core?.inForce.zxid ?? 0)
}

/** The quorum that a server would come up with. */
function onDisk({ disk, configured }: Server): Quorum {
  return inForce(configured, disk.votings, disk.checkpoint.zxid).quorum
}

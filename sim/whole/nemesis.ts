// Draws faults and takes them back: crashes and orderly stops, processes that stand still, partitions of every shape,
// lost connections, clocks that run differently and jump, disks that are slow, full or lost, clients cut off.
import { blockedBy, type Partition } from '../partitions.ts'
import type { Prng } from '../prng.ts'
import type { Schedule } from '../schedule.ts'
import type { SimClient } from './client.ts'
import type { Host } from './host.ts'
import type { PeerNetwork } from './peers.ts'
import type { Profile } from './profile.ts'
import type { ClientNetwork } from './sockets.ts'

export type NemesisParts = {
  readonly hosts: readonly Host[]
  readonly peers: PeerNetwork
  readonly network: ClientNetwork
  readonly clients: readonly SimClient[]
  readonly schedule: Schedule
  readonly prng: Prng
  readonly profile: Profile
  readonly trace: ((line: string) => void) | undefined
}

/** Whole partitions more often than odd ones. */
const partitions: readonly Partition[] = [
  'halves',
  'one',
  'one',
  'one',
  'mute',
  'deaf',
  'link',
  'lane',
  'bridge',
  'random',
]

/** See file header. */
export class Nemesis {
  /** Faults so far. */
  faults = 0
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
    const { hosts, network, peers } = this.#parts
    this.#unblockAll()
    network.unblockAll()
    network.calm()
    peers.calm()
    for (const host of hosts) {
      host.fragile = false
      host.disk.slowness = 1
      host.disk.full = false
      host.time.rate = 1
      host.resume()
      if (!host.running) host.boot()
    }
  }

  /** One more fault, for those who should hardly notice: the leader dies and comes back. */
  replaceLeader(): void {
    this.#restartLeader()
  }

  /** A process has ended by itself, or died at an effect: somebody starts it again. */
  ended(host: Host): void {
    this.#bootLater(host, this.#active ? this.#downtime() : 1)
  }

  #plan(): void {
    const { schedule, prng, profile } = this.#parts
    schedule.after(prng.between(0, 2 * profile.faultEveryMs), () => {
      if (!this.#active) return
      this.faults++
      this.#fault()
      this.#plan()
    })
  }

  #fault(): void {
    const { prng, hosts, peers, network, clients } = this.#parts
    const host = prng.pick(hosts)
    const draw = prng.next()
    if (draw < 0.12) this.#restart(host)
    else if (draw < 0.2) this.#restartLeader()
    else if (draw < 0.22) for (const one of hosts) this.#restart(one)
    else if (draw < 0.25) host.stop()
    else if (draw < 0.3) this.#strandLeader()
    else if (draw < 0.42) this.#partition()
    else if (draw < 0.48) this.#unblockAll()
    else if (draw < 0.54) peers.disconnect(host.id, prng.pick(hosts).id)
    else if (draw < 0.57) this.#slowLink(host.id, prng.pick(hosts).id)
    else if (draw < 0.61) this.#slowDisk(host)
    else if (draw < 0.65) this.#fullDisk(host)
    else if (draw < 0.74) this.#pause(host)
    else if (draw < 0.79) this.#clock(host)
    else if (draw < 0.82) this.#loseDisk(host)
    else if (draw < 0.92) network.cutOne()
    else this.#cutOff(prng.pick(clients))
  }

  #downtime(): number {
    const { prng, profile } = this.#parts
    return prng.chance(0.5) ? prng.between(1, 50) : prng.between(1, profile.faultMs)
  }

  #duration(): number {
    const { prng, profile } = this.#parts
    return prng.chance(0.2) ? prng.between(1, 4 * profile.faultMs) : prng.between(1, profile.faultMs)
  }

  #bootLater(host: Host, downMs: number): void {
    this.#parts.schedule.after(downMs, () => host.boot())
  }

  #restart(host: Host): void {
    // Who starts it again is told of its end.
    host.crash()
  }

  #restartLeader(): void {
    const leader = this.#leader()
    if (leader !== undefined) this.#restart(leader)
  }

  #leader(): Host | undefined {
    return this.#parts.hosts.find(({ node }) => {
      const role = node?.core?.role
      return role?.type === 'leading' && role.phase === 'broadcast'
    })
  }

  #partition(): void {
    const { prng, hosts, schedule } = this.#parts
    if (prng.chance(0.5)) this.#unblockAll()
    const ids = prng.shuffle(hosts.map(({ id }) => id))
    const leader = this.#leader()
    // The leader among them makes the most interesting ones.
    if (leader !== undefined && prng.chance(0.5))
      ids.sort((a, b) => Number(b === leader.id) - Number(a === leader.id))
    const kind = prng.pick(partitions)
    this.#trace(`partition ${kind} ${ids.join(' ')}`)
    for (const [from, to] of blockedBy(kind, ids, prng)) this.#parts.peers.block(from, to)
    if (prng.chance(0.7)) schedule.after(this.#duration(), () => this.#unblockAll())
  }

  /** It goes on for a while as if it still led. */
  #strandLeader(): void {
    const { hosts, peers, schedule } = this.#parts
    const leader = this.#leader()
    if (leader === undefined) return
    this.#trace(`${leader.id} is cut off and does not know it yet`)
    peers.strand(
      leader.id,
      hosts.map(({ id }) => id),
    )
    schedule.after(this.#duration(), () => this.#unblockAll())
  }

  #unblockAll(): void {
    const { hosts, peers } = this.#parts
    for (const { id } of hosts) for (const other of hosts) peers.unblock(id, other.id)
  }

  #slowLink(from: number, to: number): void {
    const { prng, peers, schedule } = this.#parts
    const extraMs = prng.pick([20, 100])
    this.#trace(`messages from ${from} to ${to} take up to ${extraMs} ms longer`)
    peers.slow(from, to, extraMs)
    schedule.after(this.#duration(), () => peers.slow(from, to, 0))
  }

  #slowDisk(host: Host): void {
    const { prng, schedule } = this.#parts
    const { disk } = host
    disk.slowness = prng.pick([5, 50, 500])
    this.#trace(`disk of ${host.id} is ${disk.slowness} times slower`)
    schedule.after(this.#duration(), () => {
      disk.slowness = 1
    })
  }

  #fullDisk(host: Host): void {
    const { disk } = host
    disk.full = true
    this.#trace(`disk of ${host.id} is full`)
    this.#parts.schedule.after(this.#duration(), () => {
      disk.full = false
    })
  }

  #pause(host: Host): void {
    const { prng, schedule, hosts, peers, profile } = this.#parts
    if (!host.running || host.paused) return
    const pausedMs = prng.chance(0.5) ? prng.between(1, 100) : this.#duration()
    const life = host.lives
    host.pause()
    schedule.after(pausedMs, () => host.resume())
    if (pausedMs < profile.peers.keepaliveMs) return
    schedule.after(profile.peers.keepaliveMs, () => {
      if (!host.paused || host.lives !== life) return
      for (const { id } of hosts) if (prng.chance(0.7)) peers.disconnect(host.id, id)
    })
  }

  #clock({ time }: Host): void {
    const { prng } = this.#parts
    const draw = prng.next()
    if (draw < 0.4) time.jumpWall(prng.between(-3000, 3000))
    else if (draw < 0.5) time.jumpWall(prng.between(-1e9, 1e9))
    else time.rate = prng.between(0.9, 1.15)
  }

  /**
   * Only where nothing is lost by it: all others run, are of one epoch, and have everything on disk that this one has; then
   * what it promised and acknowledged is known without it. What it sent last is lost with it.
   */
  #loseDisk(host: Host): void {
    const { hosts, peers } = this.#parts
    const others = hosts.filter((one) => one !== host && one.isVoter)
    const voters = hosts.filter((one) => one.isVoter).length
    if (host.isVoter && others.length * 2 <= voters) return
    const leader = this.#leader()
    if (leader === undefined || leader === host || !host.running) return
    const { epochs } = leader.disk
    const safe = others.every(({ disk, node, paused }) => {
      const role = node?.core?.role
      const settled = role !== undefined && role.type !== 'looking' && role.phase === 'broadcast' && !paused
      const same = disk.epochs.accepted === epochs.accepted && disk.epochs.current === epochs.current
      return settled && same && disk.end >= host.disk.end && !disk.diverged
    })
    if (!safe) return
    for (const { id } of hosts) peers.sever(host.id, id)
    host.crash()
    host.loseDisk()
  }

  /** A client is cut off from some servers, or from all, perhaps in one direction only. */
  #cutOff(client: SimClient): void {
    const { prng, hosts, network, schedule } = this.#parts
    const some = prng.chance(0.5) ? hosts : hosts.filter(() => prng.chance(0.5))
    const direction = prng.pick(['in', 'out', 'both'] as const)
    for (const { id } of some) network.block(client.id, id, direction)
    this.#trace(`client ${client.id} is cut off (${direction}) from ${some.map(({ id }) => id).join(' ')}`)
    schedule.after(this.#duration(), () => {
      for (const { id } of some) network.unblock(client.id, id)
    })
  }

  #trace(line: string): void {
    const { trace, schedule } = this.#parts
    trace?.(`${schedule.now.toFixed(2).padStart(10)} * ${line}`)
  }
}

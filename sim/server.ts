// A simulated server: the real core, a disk, and a state machine that is nothing but the list of what was delivered. It
// performs effects as the node does, and dies between any two of them if it is told to.
import {
  type Core,
  canReconfigure,
  createCore,
  mayPropose,
  step,
  unwrittenVoting,
  votingAt,
} from '../src/zab/core.ts'
import type { Effect, Event } from '../src/zab/events.ts'
import type { Message } from '../src/zab/messages.ts'
import type { Quorum } from '../src/zab/quorum.ts'
import type { Voting, VotingAt } from '../src/zab/types.ts'
import type { Checker, Subject } from './checker.ts'
import { type Checkpoint, Disk } from './disk.ts'
import type { Endpoint, Network, Parcel } from './network.ts'
import type { Prng } from './prng.ts'
import type { Profile } from './profile.ts'
import type { Schedule } from './schedule.ts'
import { describe } from './trace.ts'
import { check } from './violation.ts'

export type ServerParts = {
  readonly id: number
  /** Of its configuration file. */
  readonly configured: Quorum
  readonly profile: Profile
  readonly schedule: Schedule
  readonly prng: Prng
  readonly network: Network
  readonly checker: Checker
  /** Called with every step. */
  readonly onStep: () => void
  /** A role or phase has begun. */
  readonly onChange: (server: Server) => void
  /** The process has died between two effects. */
  readonly onCrash: (server: Server) => void
  /** Whether a session is of the present life of a server. */
  readonly isPresent: (id: number, session: number) => boolean
  /** It leads, and a voting is settled: servers that it does not name may go for good. */
  readonly onSettled: (voting: Voting) => void
  readonly trace: ((line: string) => void) | undefined
}

const sessionsPerLife = 1e6

/** See file header. */
export class Server implements Endpoint, Subject {
  readonly id: number
  readonly disk: Disk
  core: Core | undefined
  count = 0
  applied = 0
  /** Faults are injected into its steps. */
  fragile = true
  paused = false
  /** Stopped for good. */
  retired = false
  /** Local time runs at this rate, and was set forward by `clockOffset`. */
  clockRate = 1
  clockOffset = 0
  readonly #parts: ServerParts
  #inbox: (() => void)[] = []
  #life = 0
  /** A snapshot that is awaited. */
  #awaited: { from: number; session: number } | undefined
  readonly #confirms = new Map<number, number>()
  #confirmId = 0
  #proposals = 0
  #settles: Voting | undefined

  constructor(parts: ServerParts) {
    this.#parts = parts
    this.id = parts.id
    const { schedule, prng, profile, checker, id } = parts
    this.disk = new Disk(schedule, prng, profile.syncMs, profile.epochMs, {
      appended: (entry) => checker.appended(id, entry),
      shrunk: () => checker.shrunk(),
      epochsSaved: (before, after) => checker.epochsSaved(id, before, after),
      lost: () => checker.lost(id),
    })
    checker.add(this)
  }

  get running(): boolean {
    return this.core !== undefined
  }

  /** Established, and willing. */
  get leads(): boolean {
    const role = this.core?.role
    return role?.type === 'leading' && this.core !== undefined && mayPropose(this.core)
  }

  /** Serves clients: leads or follows in broadcast. */
  get serves(): boolean {
    const role = this.core?.role
    return role !== undefined && role.type !== 'looking' && role.phase === 'broadcast'
  }

  get configured(): Quorum {
    return this.#parts.configured
  }

  /** Whether a session with a leader was begun in this life. */
  isPresent(session: number): boolean {
    return this.running && Math.floor(session / sessionsPerLife) === this.#life
  }

  // ---------------------------------------------------------------- life

  boot(): void {
    if (this.retired || this.running) return
    const { profile, schedule, configured } = this.#parts
    const { epochs, checkpoint, trimmedTo, entries, votings, diverged, alone } = this.disk
    this.#life++
    this.applied = checkpoint.zxid
    this.count = checkpoint.count
    this.core = createCore({
      id: this.id,
      quorum: configured,
      epochs,
      trimmedTo,
      lasts: entries.map(({ last }) => last),
      votings,
      applied: checkpoint.zxid,
      needsSnapshot: diverged,
      alone,
      settings: profile.settings,
      firstSession: this.#life * sessionsPerLife,
    })
    this.#trace('boots')
    const life = this.#life
    this.disk.start((event) => this.#enter(() => this.#handle(event), life))
    this.#handle({ type: 'start', now: this.#clock() })
    schedule.after(0, () => this.#tick(life))
  }

  crash(): void {
    if (!this.running) return
    this.#trace('dies')
    this.core = undefined
    this.#awaited = undefined
    this.#settles = undefined
    this.#confirms.clear()
    this.#inbox = []
    this.paused = false
    this.disk.crash()
    this.#parts.network.died(this.id)
  }

  pause(): void {
    this.paused = true
    this.#trace('stands still')
  }

  resume(): void {
    if (!this.paused) return
    this.paused = false
    this.#trace('goes on')
    for (const action of this.#inbox.splice(0)) action()
  }

  #tick(life: number): void {
    if (life !== this.#life || !this.running) return
    const { schedule, prng, profile } = this.#parts
    this.#enter(() => this.#handle({ type: 'tick', now: this.#clock() }), life)
    schedule.after((profile.settings.tickMs / 8) * prng.between(0.8, 1.2), () => this.#tick(life))
  }

  #clock(): number {
    return 1e6 + this.#parts.schedule.now * this.clockRate + this.clockOffset
  }

  // ---------------------------------------------------------------- what comes in

  connected(peer: number): void {
    this.#enter(() => this.#handle({ type: 'peerConnected', peer }), this.#life)
  }

  lost(peer: number): void {
    this.#enter(() => {
      if (this.#awaited?.from === peer) this.#abortSnapshot()
      this.#handle({ type: 'peerLost', peer })
    }, this.#life)
  }

  received(from: number, parcel: Parcel): void {
    this.#enter(() => {
      if (parcel.type === 'core') this.#handle({ type: 'message', from, message: parcel.message })
      else this.#takeSnapshot(from, parcel.session, parcel.checkpoint, parcel.voting)
    }, this.#life)
  }

  propose(count: number, voting?: Voting): void {
    const origin = ++this.#proposals
    const bytes = new Uint8Array(this.#parts.prng.int(8, 60))
    // No two are the same.
    new Uint32Array(bytes.buffer, 0, 2).set([this.id, origin])
    this.#enter(() => {
      if (!this.leads) return
      this.#handle({ type: 'propose', count, bytes, origin, ...(voting === undefined ? {} : { voting }) })
    }, this.#life)
  }

  /** Proposes another voting if that is possible now, and may be. */
  reconfigure(voting: Voting, mayBe: () => boolean): void {
    this.#enter(() => {
      const { core } = this
      if (core === undefined || canReconfigure(core, voting) !== undefined || !mayBe()) return
      const unwritten = unwrittenVoting(core)
      if (unwritten !== undefined) this.propose(1, unwritten)
      this.propose(1, voting)
    }, this.#life)
  }

  confirm(): void {
    this.#enter(() => {
      if (!this.leads) return
      const id = ++this.#confirmId
      this.#confirms.set(id, this.#parts.checker.committed)
      this.#handle({ type: 'confirm', id })
    }, this.#life)
  }

  event(event: Event): void {
    this.#enter(() => this.#handle(event), this.#life)
  }

  /** Writes a checkpoint of what is applied, and forgets some of the log. */
  writeCheckpoint(): void {
    if (this.core === undefined || this.paused || this.core.installing || this.core.needsSnapshot) return
    this.disk.checkpoint = { zxid: this.applied, count: this.count }
    const covered = this.disk.entries.filter(({ last }) => last <= this.applied)
    if (covered.length === 0) return
    this.disk.trim(this.#parts.prng.pick(covered).last)
  }

  /** A server that stands still takes nothing until it goes on. */
  #enter(action: () => void, life: number): void {
    const guarded = () => {
      if (life === this.#life && this.running) action()
    }
    if (this.paused) this.#inbox.push(guarded)
    else guarded()
  }

  // ---------------------------------------------------------------- the core

  #handle(event: Event): void {
    const { core } = this
    if (core === undefined) return
    const { prng, profile, onStep, checker } = this.#parts
    if (event.type !== 'tick') this.#trace(describe(event))
    const effects = step(core, event)
    const dies = this.fragile && effects.length > 0 && prng.chance(profile.crashInStep)
    const performed = dies ? prng.int(0, effects.length) : effects.length
    for (let i = 0; i < performed; i++) this.#perform(effects[i] as Effect)
    const { role } = core
    if (role.type === 'leading' && role.phase === 'broadcast') checker.commits(role.committed)
    if (event.type === 'message') this.#checkPromise(core, event.from, event.message)
    if (dies) this.#parts.onCrash(this)
    onStep()
    const settles = this.#settles
    this.#settles = undefined
    if (settles !== undefined) this.propose(1, settles)
  }

  #checkPromise({ role, alone }: Core, from: number, message: Message): void {
    if (message.type !== 'ackEpoch' || role.type !== 'leading' || !role.promises.has(from) || alone) return
    if (this.#parts.isPresent(from, message.session)) this.#parts.checker.promised(this.id, from)
  }

  #perform(effect: Effect): void {
    const { network, checker } = this.#parts
    this.#trace(`  ${describe(effect)}`)
    switch (effect.type) {
      case 'send':
        network.send(this.id, effect.to, { type: 'core', message: effect.message })
        break
      case 'append':
        if (effect.origin !== undefined) checker.broadcast(this.id, effect.entry)
        this.disk.append(effect.entry)
        break
      case 'truncate':
        this.disk.truncate(effect.zxid)
        break
      case 'saveEpochs':
        this.disk.saveEpochs(effect.epochs)
        break
      case 'commit':
        this.#deliver(effect.zxid)
        break
      case 'readEntries':
        this.#read(effect.id, effect.to, effect.after, effect.maxBytes)
        break
      case 'sendSnapshot':
        this.#sendSnapshot(effect.to, effect.session, effect.atLeast)
        break
      case 'receiveSnapshot':
        this.#awaited = { from: effect.from, session: effect.session }
        break
      case 'abortSnapshot':
        this.#abortSnapshot()
        break
      case 'roleChanged':
        if (effect.phase === 'broadcast') this.disk.alone = false
        if (effect.role === 'leading' && effect.phase === 'broadcast') checker.established(this, effect.epoch)
        this.#parts.onChange(this)
        break
      case 'dropPeer':
        network.disconnect(this.id, effect.peer)
        break
      case 'confirmed':
        checker.confirmed(this.id, effect.zxid, this.#confirms.get(effect.id) ?? 0)
        break
      case 'settle':
        this.#settles = effect.voting
        break
      case 'votingChanged':
        if (effect.settled && this.core?.role.type === 'leading') this.#parts.onSettled(effect.voting)
        break
      case 'diverged':
        this.disk.diverged = true
        break
      case 'resigned':
      case 'blankVoters':
        break
    }
  }

  /** Applies what is committed and not applied, from the log on disk. */
  #deliver(zxid: number): void {
    for (const entry of this.disk.after(this.applied)) {
      if (entry.last > zxid) break
      this.#parts.checker.delivered(this, entry)
      this.applied = entry.last
      this.count++
    }
    check(
      this.applied >= zxid,
      () => `server ${this.id} can not deliver up to ${zxid}: it is not on its disk`,
    )
  }

  #read(id: number, to: number, after: number, maxBytes: number): void {
    const { schedule, prng, profile } = this.#parts
    const life = this.#life
    schedule.after(prng.between(0, profile.syncMs), () => {
      this.#enter(() => {
        const all = after < this.disk.trimmedTo ? [] : this.disk.after(after)
        let bytes = 0
        const fits = all.filter((entry, i) => {
          bytes += entry.bytes.length
          return i === 0 || bytes <= maxBytes
        })
        this.#handle({ type: 'entriesRead', id, to, entries: fits })
      }, life)
    })
  }

  // ---------------------------------------------------------------- snapshots

  #sendSnapshot(to: number, session: number, atLeast: number): void {
    const { network, prng } = this.#parts
    if (this.disk.checkpoint.zxid < atLeast) this.disk.checkpoint = { zxid: this.applied, count: this.count }
    const { checkpoint } = this.disk
    check(checkpoint.zxid >= atLeast, () => `server ${this.id} has no snapshot at ${atLeast} or above`)
    const voting = votingAt(this.core as Core, checkpoint.zxid)
    network.send(this.id, to, { type: 'snapshot', session, checkpoint, voting }, prng.between(0, 100))
  }

  #takeSnapshot(from: number, session: number, checkpoint: Checkpoint, voting: VotingAt | undefined): void {
    if (this.#awaited?.from !== from || this.#awaited.session !== session) return
    this.#awaited = undefined
    this.disk.install(checkpoint, voting)
    this.applied = checkpoint.zxid
    this.count = checkpoint.count
  }

  #abortSnapshot(): void {
    if (this.#awaited === undefined) return
    this.#awaited = undefined
    const life = this.#life
    this.#parts.schedule.after(0.1, () => this.#enter(() => this.#handle({ type: 'snapshotAborted' }), life))
  }

  #trace(line: string): void {
    const { trace, schedule } = this.#parts
    if (trace === undefined) return
    trace(`${schedule.now.toFixed(2).padStart(10)} ${this.id} ${line}`)
  }
}

// An ensemble of cores for scenario tests: no chance, no time but what the test lets pass. Messages and disk writes are
// done in a fixed order, unless the test holds them. Every message is kept as a line of text.
import assert from 'node:assert/strict'
import { describe, describeMessage } from '../../sim/trace.ts'
import {
  type Core,
  createCore,
  type Effect,
  type Event,
  mayPropose,
  step,
  votingAt,
} from '../../src/zab/core.ts'
import type { Message } from '../../src/zab/messages.ts'
import { majority, type Quorum } from '../../src/zab/quorum.ts'
import {
  defaultSettings,
  type Entry,
  type Epochs,
  type Settings,
  type Voting,
  type VotingAt,
} from '../../src/zab/types.ts'

type Write =
  | { readonly type: 'append'; readonly entry: Entry }
  | { readonly type: 'truncate'; readonly zxid: number }
  | {
      readonly type: 'install'
      readonly zxid: number
      readonly state: readonly string[]
      readonly voting: VotingAt | undefined
    }

/** What survives a crash. `state` is that of the checkpoint at `trimmedTo`, `voting` the newest up to there. */
export type DiskState = {
  epochs: Epochs
  trimmedTo: number
  entries: Entry[]
  state: readonly string[]
  voting: VotingAt | undefined
  diverged: boolean
  alone: boolean
}

export type Member = {
  readonly id: number
  readonly disk: DiskState
  core: Core | undefined
  /** Texts applied, in order. */
  applied: string[]
  appliedTo: number
  writes: Write[]
  epochWrite: Epochs | undefined
  holdLog: boolean
  holdEpochs: boolean
  awaiting: { from: number; session: number } | undefined
  /** Every effect, in order. */
  readonly effects: Effect[]
}

export type ClusterOptions = {
  readonly voters: readonly number[]
  readonly observers?: readonly number[]
  /** Servers whose configuration says something else: who votes by it. */
  readonly joiners?: Readonly<Record<number, readonly number[]>>
  readonly quorum?: Quorum
  readonly settings?: Partial<Settings>
}

/** See file header. */
export class Cluster {
  readonly members = new Map<number, Member>()
  /** `1 > 2 ping seq=1`, and what the servers become. */
  readonly lines: string[] = []
  /** Whether leaders settle votings, as a node does. */
  settles = true
  readonly #quorum: Quorum
  readonly #joiners: ReadonlyMap<number, Quorum>
  readonly #settings: Settings
  readonly #wires = new Map<
    string,
    (Message | { readonly type: 'state'; readonly session: number; readonly disk: DiskState })[]
  >()
  readonly #held = new Map<string, ((message: Message) => boolean) | undefined>()
  #now = 1000
  #lives = 0

  constructor({ voters, observers = [], joiners = {}, quorum, settings }: ClusterOptions) {
    this.#quorum = quorum ?? majority(voters)
    this.#joiners = new Map(Object.entries(joiners).map(([id, list]) => [Number(id), majority(list)]))
    this.#settings = { ...defaultSettings, ...settings }
    for (const id of [...voters, ...observers, ...this.#joiners.keys()])
      this.members.set(id, createMember(id))
  }

  member(id: number): Member {
    const member = this.members.get(id)
    assert(member !== undefined, `no server ${id}`)
    return member
  }

  core(id: number): Core {
    const { core } = this.member(id)
    assert(core !== undefined, `server ${id} is down`)
    return core
  }

  /** `leading broadcast 2`, `following synchronization`, `looking`, `down`. */
  role(id: number): string {
    const role = this.member(id).core?.role
    if (role === undefined) return 'down'
    if (role.type === 'looking') return 'looking'
    return role.type === 'leading' ? `leading ${role.phase} ${role.epoch}` : `following ${role.phase}`
  }

  /** Gives a server that is down a past. Entries are given as zxid and text; the first follows `trimmedTo`. */
  past(id: number, epochs: Epochs, entries: readonly (readonly [number, string])[], trimmedTo = 0): void {
    const { disk } = this.member(id)
    disk.epochs = epochs
    disk.trimmedTo = trimmedTo
    let prev = trimmedTo
    disk.entries = entries.map(([zxid, text]) => {
      const entry = { prev, first: zxid, last: zxid, bytes: Buffer.from(text) }
      prev = zxid
      return entry
    })
  }

  /** Starts servers and connects them with all that run. */
  boot(...ids: number[]): void {
    for (const id of ids) {
      const member = this.member(id)
      const { epochs, trimmedTo, entries, state, voting, diverged, alone } = member.disk
      const votings = voting === undefined ? [] : [voting]
      for (const one of entries)
        if (one.voting !== undefined) votings.push({ zxid: one.last, voting: one.voting })
      member.applied = [...state]
      member.appliedTo = trimmedTo
      member.core = createCore({
        id,
        quorum: this.#joiners.get(id) ?? this.#quorum,
        epochs,
        trimmedTo,
        lasts: entries.map(({ last }) => last),
        votings,
        applied: trimmedTo,
        needsSnapshot: diverged,
        alone,
        settings: this.#settings,
        firstSession: ++this.#lives * 1000,
      })
      this.event(id, { type: 'start', now: this.#now })
    }
    for (const id of ids)
      for (const { core, id: other } of this.members.values()) if (core !== undefined) this.connect(id, other)
  }

  /** Dies. `written`: how many of the writes under way get to disk. */
  kill(id: number, written = 0): void {
    const member = this.member(id)
    for (const write of member.writes.splice(0).slice(0, written)) apply(member.disk, write)
    member.epochWrite = undefined
    member.core = undefined
    member.holdLog = false
    member.holdEpochs = false
    member.awaiting = undefined
    for (const other of this.members.keys()) this.disconnect(id, other)
  }

  connect(a: number, b: number): void {
    if (a === b || this.#wires.has(`${a}>${b}`)) return
    this.#wires.set(`${a}>${b}`, [])
    this.#wires.set(`${b}>${a}`, [])
    this.event(a, { type: 'peerConnected', peer: b })
    this.event(b, { type: 'peerConnected', peer: a })
  }

  disconnect(a: number, b: number): void {
    if (!this.#wires.has(`${a}>${b}`)) return
    this.#wires.delete(`${a}>${b}`)
    this.#wires.delete(`${b}>${a}`)
    for (const [id, peer] of [
      [a, b],
      [b, a],
    ] as const)
      if (this.member(id).core !== undefined) this.event(id, { type: 'peerLost', peer })
  }

  /** Messages in this direction wait, from the first that `which` is true for (the very next, without it), or a snapshot. */
  hold(from: number, to: number, which: (message: Message) => boolean = () => true): void {
    this.#held.set(`${from}>${to}`, which)
  }

  release(from: number, to: number): void {
    this.#held.delete(`${from}>${to}`)
  }

  /** Messages that wait. */
  waiting(from: number, to: number): string[] {
    return (this.#wires.get(`${from}>${to}`) ?? []).map(({ type }) => type)
  }

  /** A server's disk is replaced by an empty one. It is down. */
  wipe(id: number): void {
    assert.equal(this.member(id).core, undefined)
    Object.assign(this.member(id).disk, createMember(id).disk)
  }

  propose(id: number, text: string, count = 1): void {
    this.event(id, { type: 'propose', count, bytes: Buffer.from(text), origin: text })
  }

  /** Proposes that these vote, by a majority. */
  reconfigure(id: number, ...voters: number[]): void {
    const voting: Voting = { voters, groups: [], weights: [] }
    const bytes = Buffer.from(`[${voters}]`)
    this.event(id, { type: 'propose', count: 1, bytes, origin: voting, voting })
  }

  /** Lets time pass for everybody in small steps, and everything happen in between. */
  pass(ms: number): void {
    const stepMs = 50
    for (let passed = 0; passed < ms; passed += stepMs) {
      this.#now += stepMs
      for (const { id, core } of this.members.values())
        if (core !== undefined) this.event(id, { type: 'tick', now: this.#now })
      this.settle()
    }
  }

  event(id: number, event: Event): void {
    const member = this.member(id)
    const effects = step(this.core(id), event)
    for (const effect of effects) this.#perform(member, effect)
    for (const effect of effects)
      if (effect.type === 'settle' && this.settles && mayPropose(this.core(id)))
        this.reconfigure(id, ...effect.voting.voters)
  }

  /** Delivers messages and finishes writes until nothing is left but what is held. */
  settle(): void {
    for (let busy = true, rounds = 0; busy; rounds++) {
      assert(rounds < 10_000, 'the ensemble does not come to rest')
      busy = false
      for (const key of [...this.#wires.keys()].sort()) if (this.#deliver(key)) busy = true
      for (const member of this.members.values()) if (this.#write(member)) busy = true
    }
  }

  #deliver(key: string): boolean {
    const wire = this.#wires.get(key)
    const message = wire?.[0]
    if (wire === undefined || message === undefined) return false
    const which = this.#held.get(key)
    if (which !== undefined && (message.type === 'state' || which(message))) {
      this.#held.set(key, () => true)
      return false
    }
    wire.shift()
    const [from, to] = key.split('>').map(Number) as [number, number]
    const member = this.member(to)
    if (message.type !== 'state') this.event(to, { type: 'message', from, message })
    else if (member.awaiting?.from === from && member.awaiting.session === message.session) {
      member.awaiting = undefined
      const { trimmedTo, state, voting } = message.disk
      member.writes.push({ type: 'install', zxid: trimmedTo, state, voting })
    }
    return true
  }

  #write(member: Member): boolean {
    if (member.core === undefined) return false
    const { epochWrite } = member
    if (epochWrite !== undefined && !member.holdEpochs) {
      member.epochWrite = undefined
      member.disk.epochs = epochWrite
      this.event(member.id, { type: 'epochsSaved', epochs: epochWrite })
      return true
    }
    const write = member.writes[0]
    if (write === undefined || member.holdLog) return false
    member.writes.shift()
    apply(member.disk, write)
    if (write.type === 'append') this.event(member.id, { type: 'durable', zxid: write.entry.last })
    else if (write.type === 'truncate') this.event(member.id, { type: 'truncated', zxid: write.zxid })
    else {
      member.applied = [...write.state]
      member.appliedTo = write.zxid
      const { zxid, voting } = write
      this.event(member.id, { type: 'snapshotInstalled', zxid, ...(voting === undefined ? {} : { voting }) })
    }
    return true
  }

  #perform(member: Member, effect: Effect): void {
    const { id, disk } = member
    member.effects.push(effect)
    switch (effect.type) {
      case 'send':
        this.lines.push(`${id} > ${effect.to} ${describeMessage(effect.message)}`)
        this.#wires.get(`${id}>${effect.to}`)?.push(effect.message)
        break
      case 'append':
        member.writes.push({ type: 'append', entry: effect.entry })
        break
      case 'truncate':
        this.lines.push(`${id}     ${describe(effect)}`)
        member.writes.push({ type: 'truncate', zxid: effect.zxid })
        break
      case 'saveEpochs':
        this.lines.push(`${id}     ${describe(effect)}`)
        assert.equal(member.epochWrite, undefined, 'two saves of epochs at a time')
        member.epochWrite = effect.epochs
        break
      case 'commit':
        this.lines.push(`${id}     ${describe(effect)}`)
        for (const { last, bytes } of disk.entries) {
          if (last <= member.appliedTo || last > effect.zxid) continue
          member.applied.push(Buffer.from(bytes).toString())
          member.appliedTo = last
        }
        assert.equal(member.appliedTo, effect.zxid, 'what is committed must be on disk')
        break
      case 'readEntries': {
        let bytes = 0
        const entries = disk.entries
          .filter(({ last }) => last > effect.after)
          .filter((entry, i) => {
            bytes += entry.bytes.length
            return i === 0 || bytes <= effect.maxBytes
          })
        this.event(id, { type: 'entriesRead', id: effect.id, to: effect.to, entries })
        break
      }
      case 'sendSnapshot':
        this.#wires
          .get(`${id}>${effect.to}`)
          ?.push({ type: 'state', session: effect.session, disk: this.#checkpoint(member, effect.atLeast) })
        break
      case 'receiveSnapshot':
        member.awaiting = { from: effect.from, session: effect.session }
        break
      case 'abortSnapshot':
        if (member.awaiting !== undefined) {
          member.awaiting = undefined
          this.event(id, { type: 'snapshotAborted' })
        }
        break
      case 'dropPeer':
        this.lines.push(`${id}     ${describe(effect)}`)
        this.disconnect(id, effect.peer)
        break
      default:
        this.lines.push(`${id}     ${describe(effect)}`)
    }
  }

  /** The checkpoint of old, or a new one. */
  #checkpoint({ id, disk, applied, appliedTo }: Member, atLeast: number): DiskState {
    if (disk.trimmedTo >= atLeast) return { ...disk }
    const voting = votingAt(this.core(id), appliedTo)
    return { ...disk, trimmedTo: appliedTo, state: [...applied], voting }
  }

  /** Writes a checkpoint of what a server has applied, and forgets the log up to there. */
  checkpoint(id: number): void {
    const member = this.member(id)
    member.disk.state = [...member.applied]
    member.disk.voting = votingAt(this.core(id), member.appliedTo)
    member.disk.trimmedTo = member.appliedTo
    member.disk.entries = member.disk.entries.filter(({ last }) => last > member.appliedTo)
    this.event(id, { type: 'trimmed', zxid: member.appliedTo })
  }
}

function createMember(id: number): Member {
  return {
    id,
    disk: {
      epochs: { accepted: 0, current: 0 },
      trimmedTo: 0,
      entries: [],
      state: [],
      voting: undefined,
      diverged: false,
      alone: false,
    },
    core: undefined,
    applied: [],
    appliedTo: 0,
    writes: [],
    epochWrite: undefined,
    holdLog: false,
    holdEpochs: false,
    awaiting: undefined,
    effects: [],
  }
}

function apply(disk: DiskState, write: Write): void {
  if (write.type === 'append') disk.entries.push(write.entry)
  else if (write.type === 'truncate') disk.entries = disk.entries.filter(({ last }) => last <= write.zxid)
  else {
    disk.entries = []
    disk.trimmedTo = write.zxid
    disk.state = write.state
    disk.voting = write.voting
    disk.diverged = false
  }
}

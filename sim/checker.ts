// The properties of ZAB (reference: zab.md section 6), checked over all servers after every step. The checker sees what
// no server can: every log, every delivery, every leader. It keeps the one sequence of deliveries that all must agree on.
import { counterOf, epochOf, formatZxid } from '../src/base/zxid.ts'
import { type Quorum, quorumOf } from '../src/zab/quorum.ts'
import type { Entry, Epochs, VotingAt } from '../src/zab/types.ts'
import type { Disk } from './disk.ts'
import { check } from './violation.ts'

/** A server as the checker sees it. */
export type Subject = {
  readonly id: number
  readonly disk: Disk
  /** Number of entries delivered, and the zxid of the last. */
  readonly count: number
  readonly applied: number
}

/** See file header. */
export class Checker {
  /** What has been delivered by anybody, in order. */
  readonly sequence: Entry[] = []
  /** Highest zxid that any leader took for committed. */
  committed = 0
  /** The newest reconfiguration that was delivered. */
  voting: VotingAt | undefined
  votings = 0
  lostDisks = 0
  /** Of that one, or of the configuration. */
  quorum: Quorum
  /** Entries that were committed before the run. */
  readonly #initial: Entry[] = []
  /**
   * Servers that lost their disks, and have not adopted a leader's history since: what they held, they are held to hold.
   * With the newest epoch that was established before.
   */
  readonly #lost = new Map<number, number>()
  readonly #broadcast = new Map<number, Entry>()
  readonly #leaders = new Map<number, number>()
  readonly #subjects = new Map<number, Subject>()
  /** Something changed that durability depends on. */
  #stale = false

  constructor(quorum: Quorum) {
    this.quorum = quorum
  }

  /** Number of leaders that were established. */
  get leaders(): number {
    return this.#leaders.size
  }

  add(subject: Subject): void {
    this.#subjects.set(subject.id, subject)
  }

  /** Entries that one server has from the time when it was alone. */
  begin(entries: readonly Entry[]): void {
    this.#initial.push(...entries)
    for (const entry of entries) this.#broadcast.set(entry.last, entry)
  }

  /** The first entry that can not be lost any more; undefined while there is none. */
  get firstCommitted(): number | undefined {
    return (this.#initial[0] ?? this.sequence[0])?.last
  }

  /** A server's disk is gone. */
  lost(id: number): void {
    this.lostDisks++
    this.#lost.set(id, Math.max(0, ...this.#leaders.keys()))
    this.#stale = true
  }

  /** A server that lost its disk has adopted a history: that of the newest epoch that it can have helped before, or of a later one. */
  #remembers(id: number, epoch: number): void {
    const established = this.#lost.get(id)
    if (established === undefined) return
    check(epoch >= established, () => {
      return `server ${id} adopts epoch ${epoch} with a new disk, though it was there when ${established} was established`
    })
    this.#lost.delete(id)
    this.#stale = true
  }

  /** Nobody who lost its disk, and with it what it knew, has a say in who leads. The promise is of the server's present life. */
  promised(leader: number, id: number): void {
    if (this.firstCommitted === undefined) return
    check(!this.#lost.has(id), () => `${leader} takes the promise of ${id}, whose disk was lost`)
  }

  /** A leader has made an entry. */
  broadcast(leader: number, entry: Entry): void {
    const epoch = epochOf(entry.first)
    check(
      this.#leaders.get(epoch) === leader,
      () => `leader ${leader} proposes in epoch ${epoch}, not its own`,
    )
    check(epochOf(entry.last) === epoch, () => `the counter of epoch ${epoch} overflows`)
    const before = this.#broadcast.get(entry.last)
    check(before === undefined, () => `${formatZxid(entry.last)} is broadcast twice`)
    this.#broadcast.set(entry.last, entry)
  }

  /** Log matching: equal zxid is the same entry after the same history. */
  appended(id: number, entry: Entry): void {
    const known = this.#broadcast.get(entry.last)
    check(known !== undefined, () => `server ${id} logs ${formatZxid(entry.last)}, which nobody proposed`)
    check(
      known !== undefined && isSame(known, entry),
      () => `server ${id} logs another ${formatZxid(entry.last)} than was proposed`,
    )
    const { disk } = this.#subjects.get(id) as Subject
    const before = disk.entries.at(-2)?.last ?? disk.trimmedTo
    check(before === entry.prev, () => {
      const want = formatZxid(entry.prev)
      return `server ${id}'s log has ${formatZxid(entry.last)} after ${formatZxid(before)}, it belongs after ${want}`
    })
  }

  shrunk(): void {
    this.#stale = true
  }

  epochsSaved(id: number, before: Epochs, after: Epochs): void {
    const { disk } = this.#subjects.get(id) as Subject
    if (after.current > 0) this.#remembers(id, after.current)
    const grown = after.accepted >= before.accepted && after.current >= before.current
    check(grown, () => `server ${id}'s epochs go from ${JSON.stringify(before)} to ${JSON.stringify(after)}`)
    check(
      after.current === before.current || after.current === after.accepted,
      () => `server ${id} adopts epoch ${after.current}, but has promised ${after.accepted}`,
    )
    check(after.accepted >= after.current, () => `server ${id} is in an epoch that it did not accept`)
    check(
      epochOf(disk.end) <= after.accepted,
      () => `server ${id} logged what it did not accept the epoch of`,
    )
  }

  /**
   * Leadership, and primary integrity: who begins to broadcast has delivered everything that anybody has of earlier
   * epochs. Of later ones there may be some: a leader that stood still learns late that it had been established.
   */
  established(leader: Subject, epoch: number): void {
    const before = this.#leaders.get(epoch)
    check(
      before === undefined || before === leader.id,
      () => `${leader.id} and ${before} both lead epoch ${epoch}`,
    )
    this.#leaders.set(epoch, leader.id)
    check(!leader.disk.diverged, () => `leader ${leader.id} has a state that is no good`)
    let earlier = this.sequence.length
    while (earlier > 0 && epochOf((this.sequence[earlier - 1] as Entry).last) >= epoch) earlier--
    check(
      leader.count >= earlier,
      () => `leader ${leader.id} of epoch ${epoch} has ${leader.count} entries of ${earlier}`,
    )
  }

  /** Integrity, agreement, total and primary order, contiguity: everybody delivers the one sequence, in order, once. */
  delivered(subject: Subject, entry: Entry): void {
    const { id, count, disk } = subject
    const zxid = formatZxid(entry.last)
    check(!disk.diverged, () => `server ${id} delivers ${zxid} to a state that is no good`)
    check(disk.holds(entry.last), () => `server ${id} delivers ${zxid}, which is not on its disk`)
    const known = this.sequence[count]
    if (known !== undefined) {
      check(isSame(known, entry), () => {
        return `server ${id} delivers ${zxid} as number ${count}, others ${formatZxid(known.last)}`
      })
      return
    }
    const initial = this.#initial[count] ?? entry
    check(
      isSame(initial, entry),
      () => `server ${id} delivers ${zxid} as number ${count}: what was there is lost`,
    )
    check(this.#broadcast.has(entry.last), () => `server ${id} delivers ${zxid}, which nobody proposed`)
    const last = this.sequence.at(-1)?.last ?? 0
    const follows =
      epochOf(entry.first) === epochOf(last) ? entry.first === last + 1 : counterOf(entry.first) === 1
    check(entry.prev === last && entry.first > last && follows, () => {
      return `server ${id} delivers ${formatZxid(entry.first)} to ${zxid} after ${formatZxid(last)}`
    })
    this.sequence.push(entry)
    if (entry.voting !== undefined) {
      this.voting = { zxid: entry.last, voting: entry.voting }
      this.votings++
      this.quorum = quorumOf(entry.voting)
      this.#stale = true
    }
    this.commits(entry.last)
  }

  /** Somebody takes everything up to `zxid` for committed. */
  commits(zxid: number): void {
    if (zxid <= this.committed) return
    this.committed = zxid
    this.#stale = true
  }

  /**
   * Durability: what is committed is on the disks of a quorum of those who vote, at every moment; and so is its epoch, for
   * otherwise an election could overlook it there.
   */
  afterStep(): void {
    if (!this.#stale) return
    this.#stale = false
    const zxid = this.committed
    const epoch = epochOf(zxid)
    const keeps = (id: number) => {
      const { disk } = this.#subjects.get(id) as Subject
      return disk.holds(zxid) && disk.epochs.current >= epoch
    }
    check(
      this.quorum.contains((id) => this.#lost.has(id) || keeps(id)),
      () => `committed ${formatZxid(zxid)} is not on the disks of a quorum`,
    )
  }

  /** A leader's answer to confirm must cover what was committed when it was asked. */
  confirmed(id: number, zxid: number, committedThen: number): void {
    check(zxid >= committedThen, () => {
      return `leader ${id} confirms ${formatZxid(zxid)}, but ${formatZxid(committedThen)} was committed before`
    })
  }
}

/** Whether it is the same entry after the same history: servers give on copies, and each proposal's bytes are its own. */
function isSame(a: Entry, b: Entry): boolean {
  if (a === b) return true
  const { prev, first, last, bytes } = a
  if (prev !== b.prev || first !== b.first || last !== b.last) return false
  return bytes === b.bytes || Buffer.compare(bytes, b.bytes) === 0
}

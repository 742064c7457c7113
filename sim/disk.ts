// A server's disk: a log, a checkpoint and two epochs. Changes are durable some time after they were asked for, those
// of the log in order, those of the epochs on their own. A crash keeps a first part of what was under way; a lost disk
// keeps nothing.
import type { Event } from '../src/zab/events.ts'
import type { Entry, Epochs, VotingAt } from '../src/zab/types.ts'
import type { Prng } from './prng.ts'
import type { Schedule } from './schedule.ts'

/** The state after `zxid`: the first `count` entries ever committed. */
export type Checkpoint = { readonly zxid: number; readonly count: number }

/** Upper bound of any write, so that the recovery at the end of a run is bounded. */
const longestMs = 3000
/** Some disks are slow all their life, perhaps in one respect only. */
const logFactors = [1, 1, 1, 1, 3, 20]
const epochFactors = [1, 1, 1, 10, 100]

type LogChange =
  | { readonly type: 'append'; readonly entry: Entry }
  | { readonly type: 'truncate'; readonly zxid: number }
  | { readonly type: 'install'; readonly checkpoint: Checkpoint; readonly voting: VotingAt | undefined }

/** Looks at what has become durable. */
export type DiskWatcher = {
  appended(entry: Entry): void
  /** The log has lost entries, on purpose. */
  shrunk(): void
  epochsSaved(before: Epochs, after: Epochs): void
  /** Everything is gone. */
  lost(): void
}

/** See file header. `report` takes the facts of the server's present life. */
export class Disk {
  epochs: Epochs = { accepted: 0, current: 0 }
  checkpoint: Checkpoint = { zxid: 0, count: 0 }
  trimmedTo = 0
  /** The newest change of who votes at or below trimmedTo. */
  voting: VotingAt | undefined
  /** The node has taken note that its state is no good. */
  diverged = false
  /** The node has always been an ensemble of one. */
  alone = false
  /** Durable entries above trimmedTo. */
  entries: Entry[] = []
  /** Factors on every duration, while a fault lasts. */
  logSlowness = 1
  epochSlowness = 1

  readonly #schedule: Schedule
  readonly #prng: Prng
  readonly #syncMs: number
  readonly #epochMs: number
  readonly #watcher: DiskWatcher
  #changes: LogChange[] = []
  #epochsPending: Epochs | undefined
  #busy = false
  /** Counts crashes, so that what was planned before one does not happen. */
  #life = 0
  #report: (event: Event) => void = () => undefined

  /** This disk's own. */
  #logFactor: number
  #epochFactor: number

  constructor(schedule: Schedule, prng: Prng, syncMs: number, epochMs: number, watcher: DiskWatcher) {
    this.#schedule = schedule
    this.#prng = prng
    this.#syncMs = syncMs
    this.#epochMs = epochMs
    this.#watcher = watcher
    this.#logFactor = prng.pick(logFactors)
    this.#epochFactor = prng.pick(epochFactors)
  }

  get end(): number {
    return this.entries.at(-1)?.last ?? this.trimmedTo
  }

  /** Changes of who votes, as a log gives them. */
  get votings(): VotingAt[] {
    const found = this.voting === undefined ? [] : [this.voting]
    for (const { last, voting } of this.entries) if (voting !== undefined) found.push({ zxid: last, voting })
    return found
  }

  /** Whether the durable history goes through the entry that ends at `zxid`. */
  holds(zxid: number): boolean {
    if (zxid <= this.trimmedTo) return true
    const entry = this.entries[this.#indexAfter(zxid) - 1]
    return entry !== undefined && entry.last === zxid
  }

  /** Durable entries above `zxid`. */
  after(zxid: number): Entry[] {
    return this.entries.slice(this.#indexAfter(zxid))
  }

  /** From now on as fast as any. */
  heal(): void {
    this.logSlowness = 1
    this.epochSlowness = 1
    this.#logFactor = 1
    this.#epochFactor = 1
  }

  start(report: (event: Event) => void): void {
    this.#report = report
  }

  append(entry: Entry): void {
    this.#change({ type: 'append', entry })
  }

  truncate(zxid: number): void {
    this.#change({ type: 'truncate', zxid })
  }

  install(checkpoint: Checkpoint, voting: VotingAt | undefined): void {
    this.#change({ type: 'install', checkpoint, voting })
  }

  saveEpochs(epochs: Epochs): void {
    const life = this.#life
    this.#epochsPending = epochs
    this.#schedule.after(this.#duration(this.#epochMs * this.#epochFactor, this.epochSlowness), () => {
      if (life !== this.#life) return
      this.#saved(epochs)
      this.#report({ type: 'epochsSaved', epochs })
    })
  }

  /** Forgets entries at or below `zxid`, which a checkpoint covers. */
  trim(zxid: number): void {
    this.voting = this.votings.findLast((one) => one.zxid <= zxid)
    this.entries.splice(0, this.#indexAfter(zxid))
    this.trimmedTo = Math.max(zxid, this.trimmedTo)
    this.#report({ type: 'trimmed', zxid })
  }

  /** The process dies: of what was under way some first part is there afterwards. */
  crash(): void {
    this.#life++
    this.#busy = false
    this.#report = () => undefined
    const kept = this.#prng.int(0, this.#changes.length)
    for (const change of this.#changes.slice(0, kept)) this.#apply(change)
    this.#changes = []
    if (this.#epochsPending !== undefined && this.#prng.chance(0.5)) this.#saved(this.#epochsPending)
    this.#epochsPending = undefined
  }

  /** Another disk, with nothing on it, takes the place of this one. The server is down. */
  lose(): void {
    this.epochs = { accepted: 0, current: 0 }
    this.checkpoint = { zxid: 0, count: 0 }
    this.trimmedTo = 0
    this.entries = []
    this.voting = undefined
    this.diverged = false
    this.alone = false
    this.#watcher.lost()
  }

  #change(change: LogChange): void {
    this.#changes.push(change)
    if (!this.#busy) this.#work()
  }

  /** One sync takes all appends that have gathered, or one other change. */
  #work(): void {
    const head = this.#changes[0]
    if (head === undefined) return
    this.#busy = true
    const life = this.#life
    let count = 1
    if (head.type === 'append') while (this.#changes[count]?.type === 'append') count++
    this.#schedule.after(this.#duration(this.#syncMs * this.#logFactor, this.logSlowness), () => {
      if (life !== this.#life) return
      const done = this.#changes.splice(0, count)
      for (const change of done) this.#apply(change)
      this.#busy = false
      this.#work()
      this.#tell(done[done.length - 1] as LogChange)
    })
  }

  #tell(change: LogChange): void {
    if (change.type === 'append') this.#report({ type: 'durable', zxid: change.entry.last })
    else if (change.type === 'truncate') this.#report({ type: 'truncated', zxid: change.zxid })
    else {
      const { checkpoint, voting } = change
      const { zxid } = checkpoint
      this.#report({ type: 'snapshotInstalled', zxid, ...(voting === undefined ? {} : { voting }) })
    }
  }

  #apply(change: LogChange): void {
    switch (change.type) {
      case 'append':
        this.entries.push(change.entry)
        this.#watcher.appended(change.entry)
        break
      case 'truncate':
        this.entries.length = this.#indexAfter(change.zxid)
        this.#watcher.shrunk()
        break
      case 'install':
        this.checkpoint = change.checkpoint
        this.trimmedTo = change.checkpoint.zxid
        this.voting = change.voting
        this.diverged = false
        this.entries = []
        this.#watcher.shrunk()
    }
  }

  #saved(epochs: Epochs): void {
    this.#watcher.epochsSaved(this.epochs, epochs)
    this.epochs = epochs
    this.#epochsPending = undefined
  }

  #duration(usualMs: number, slowness: number): number {
    return Math.min(this.#prng.between(0.1, 0.2 + usualMs) * slowness, longestMs)
  }

  #indexAfter(zxid: number): number {
    const { entries } = this
    let low = 0
    let high = entries.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((entries[middle] as Entry).last <= zxid) low = middle + 1
      else high = middle
    }
    return low
  }
}

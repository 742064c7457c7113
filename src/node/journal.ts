// The log as the consensus core uses it: appends, truncations and installed snapshots happen in the order in which they
// were asked for, and appends that gather while the disk is busy go there as one synced write. It decides nothing, and
// after a failure it does nothing more until `clear`.
import { assert } from '../base/assert.ts'
import { epochOf } from '../base/zxid.ts'
import type { LogStore } from '../storage/types.ts'
import type { Entry } from '../zab/types.ts'
import type { Clock } from './clock.ts'

type Change =
  | { readonly type: 'append'; readonly entries: Entry[] }
  | { readonly type: 'truncate'; readonly zxid: number }
  | { readonly type: 'task'; readonly work: () => Promise<void> }

export type JournalOptions = {
  readonly log: LogStore
  readonly clock: Clock
  /**
   * Everything up to this zxid is durable; the sync took `ms` and was for so many transactions. The next write is under
   * way already.
   */
  readonly onDurable: (zxid: number, ms: number, transactions: number) => void
  readonly onTruncated: (zxid: number) => void
  /** Nothing that was asked for and not reported may be relied upon. Called once. */
  readonly onFailure: (error: unknown) => void
}

/** See file header. */
export class Journal {
  readonly #options: JournalOptions
  #queue: Change[] = []
  /** At which the disk is at work, since `#began`. */
  #underWay: Change | undefined
  #began = 0
  #failed = false
  /** Truncations asked for and not done. */
  #truncations = 0
  #waiting: (() => void)[] = []
  // Made once, and not for each change.
  readonly #onDone = () => this.#done()
  readonly #onFailed = (error: unknown) => this.#fail(error)

  constructor(options: JournalOptions) {
    this.#options = options
  }

  #busy(): boolean {
    return this.#underWay !== undefined
  }

  /** Nothing is under way or waits. */
  get idle(): boolean {
    return !this.#busy() && this.#queue.length === 0
  }

  /** Entries may be read from the log only while none of them is being cut. */
  get readable(): boolean {
    return this.#truncations === 0
  }

  /** Adds an entry. It goes to the disk with what is under way there or, if that is nothing, when `begin` is called. */
  append(entry: Entry): void {
    const newest = this.#queue[this.#queue.length - 1]
    if (newest?.type === 'append') newest.entries.push(entry)
    else this.#queue.push({ type: 'append', entries: [entry] })
  }

  /** The disk could be at work and is not: `begin` is to be called. */
  get waits(): boolean {
    return !this.#busy() && !this.#failed && this.#queue.length > 0
  }

  /** Begins with what was added, if nothing is under way. */
  begin(): void {
    if (this.waits) this.#begin()
  }

  truncate(zxid: number): void {
    this.#truncations++
    this.#add({ type: 'truncate', zxid })
  }

  /**
   * What follows `after` in the log: at least one entry if there is any, and no more than `maxBytes` otherwise. Waits for
   * nothing; rejects with StorageError.
   */
  async readAfter(after: number, maxBytes: number): Promise<Entry[]> {
    const entries: Entry[] = []
    let bytes = 0
    for await (const entry of this.#options.log.read(after)) {
      bytes += entry.bytes.length
      if (entries.length > 0 && bytes > maxBytes) break
      entries.push(entry)
    }
    return entries
  }

  /** Runs `work` when everything before it is done, and nothing beside it. A rejection is a failure. */
  task(work: () => Promise<void>): void {
    this.#add({ type: 'task', work })
  }

  /** Begins, and resolves when it is idle or has failed. */
  async settled(): Promise<void> {
    this.begin()
    while (this.#busy() || (this.#queue.length > 0 && !this.#failed)) await this.#nextEnd()
  }

  /** Forgets what waits, and works again after a failure. Nothing may be under way (asserted). */
  clear(): void {
    assert(!this.#busy(), 'the journal is cleared while it writes')
    this.#queue = []
    this.#truncations = 0
    this.#failed = false
  }

  #nextEnd(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  #add(change: Change): void {
    this.#queue.push(change)
    this.begin()
  }

  #begin(): void {
    const change = this.#queue.shift()
    if (change === undefined) return
    const { log, clock } = this.#options
    this.#underWay = change
    this.#began = clock.now()
    const done =
      change.type === 'append'
        ? log.append(change.entries)
        : change.type === 'truncate'
          ? log.truncate(change.zxid)
          : change.work()
    done.then(this.#onDone, this.#onFailed)
  }

  /** The next change goes to the disk before this one is reported, so that the disk is never idle. */
  #done(): void {
    const change = this.#underWay
    assert(change !== undefined, 'a change is done that was not begun')
    const { onDurable, onTruncated, clock } = this.#options
    const ms = clock.now() - this.#began
    this.#underWay = undefined
    if (change.type === 'truncate') this.#truncations--
    this.#begin()
    this.#wake()
    if (change.type === 'append') onDurable(lastOf(change.entries), ms, transactionsOf(change.entries))
    else if (change.type === 'truncate') onTruncated(change.zxid)
  }

  #fail(error: unknown): void {
    this.#underWay = undefined
    if (!this.#failed) {
      this.#failed = true
      this.#options.onFailure(error)
    }
    this.#wake()
  }

  #wake(): void {
    if (this.#waiting.length === 0) return
    for (const resolve of this.#waiting.splice(0)) resolve()
  }
}

function lastOf(entries: readonly Entry[]): number {
  return (entries[entries.length - 1] as Entry).last
}

/** Zxids have no gap within an epoch: mostly all of it is one. */
function transactionsOf(entries: readonly Entry[]): number {
  const { first } = entries[0] as Entry
  const last = lastOf(entries)
  if (epochOf(first) === epochOf(last)) return last - first + 1
  let count = 0
  for (const entry of entries) count += entry.last - entry.first + 1
  return count
}

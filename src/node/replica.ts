// The state machine behind the log: keeps the entries that are appended and not applied yet, applies them when they are
// committed, reads from the log what an earlier life left there, fires watches and hands outcomes to who waits for them.
// Applying happens in slices, so that a large backlog does not keep connections and peers waiting. It decides nothing.
import { assert } from '../base/assert.ts'
import type { Logger } from '../base/log.ts'
import { Op, Perm } from '../base/opcodes.ts'
import { Queue } from '../base/queue.ts'
import { formatZxid } from '../base/zxid.ts'
import { type Connection, eventFrame } from '../server/connection.ts'
import type { ServerStats } from '../server/stats.ts'
import type { Watches } from '../server/watches.ts'
import type { LogStore } from '../storage/types.ts'
import { type Acl, openAcl, permits } from '../tree/acl.ts'
import { Applier } from '../tree/apply.ts'
import { Batch } from '../tree/batch.ts'
import type { Tree } from '../tree/tree.ts'
import type { Entry } from '../zab/types.ts'
import type { Clock } from './clock.ts'
import type { Origins } from './requests.ts'

/** How long a slice may take, ms; looked at after so many transactions. */
const sliceMs = 8
const sliceTransactions = 64
const digestsKept = 128

/** An entry on its way to its commit, with who waits for its transactions. */
type Pending = {
  readonly entry: Entry
  /** Decoded when it is applied, unless it was made here. */
  batch: Batch | undefined
  /** Who waits for its transactions; undefined if nobody is known to. */
  origins: Origins | undefined
}

export type Digest = { readonly zxid: number; readonly high: number; readonly low: number }

export type ReplicaOptions = {
  readonly tree: Tree
  readonly log: LogStore
  readonly watches: Watches<Connection>
  readonly stats: ServerStats
  readonly clock: Clock
  readonly logger: Logger
  readonly skipAcl: boolean
  /** At each zxid that is a multiple of this the tree's digest is told and kept, */
  readonly digestEvery: number
  /** if there is anybody to compare it with. */
  readonly isCompared: () => boolean
  /** Nobody else reads the log: there are no other servers. */
  readonly soleReader: boolean
  /** Whether the log may be read now; `resume` is to be called when that changes to yes. */
  readonly readable: () => boolean
  /** Who waits here for the transactions of an entry that another server made. */
  readonly originsOf: (batch: Batch) => Origins | undefined
  /** A transaction of the kinds that concern more than the tree was applied: sessions, settings, the configuration. */
  readonly onSpecial: (kind: number, session: number, origin: Connection | undefined) => void
  /** Requests that this server was answerable for are done, and the outcome went to whoever waited. */
  readonly onAnswered: (origins: Origins) => void
  readonly onDigest: (digest: Digest) => void
  /**
   * More was applied, up to the end of an entry: transactions, their bytes in the log, and the leader's time of the newest
   * entry (epoch ms); 0 for what was read from the log.
   */
  readonly onApplied: (transactions: number, bytes: number, time: number) => void
  /** There is more to apply than a slice holds: `advance` is to be called soon. */
  readonly onMore: () => void
  /** Reading the log failed. */
  readonly onFailure: (error: unknown) => void
}

/** See file header. */
export class Replica {
  /** Tree digests at zxids that are multiples of `digestEvery`, newest last; none of the time when nobody compared them. */
  readonly digests: Digest[] = []
  readonly #options: ReplicaOptions
  readonly #applier: Applier
  /** After a restart, all that this server has missed. */
  readonly #pending = new Queue<Pending>()
  /** The entry that is being applied, unless its batch was made here. */
  readonly #decoded = new Batch()
  /** Transactions of the first pending entry that are applied. */
  #position = 0
  /** Of whole entries applied, not reported yet. */
  #transactions = 0
  #bytes = 0
  #time = 0
  #committed: number
  #replaying = false
  /** Counts resets: what an earlier replay still reads is not applied. */
  #life = 0
  /** Of the change whose watches fire: who may hear of it, the frame that all of them get, and how many did. */
  #changeAcl: readonly Acl[] = openAcl
  #event: Buffer | undefined
  #told = 0
  readonly #deliver = (watcher: Connection, type: number, path: string) => this.#notify(watcher, type, path)

  constructor(options: ReplicaOptions) {
    this.#options = options
    this.#applier = new Applier(options.tree)
    this.#committed = options.tree.zxid
  }

  /** Everything up to here is committed. */
  get committed(): number {
    return this.#committed
  }

  /** Committed transactions wait to be applied. */
  get behind(): boolean {
    return this.#committed > this.#options.tree.zxid
  }

  /** About how many they are; far more where a new epoch begins. */
  get lag(): number {
    return this.#committed - this.#options.tree.zxid
  }

  /** Entries that are appended and not applied. */
  get inFlight(): number {
    return this.#pending.length
  }

  /** An entry goes to the log; `batch` is what it holds and `origins` who waits, if this server made it. */
  append(entry: Entry, batch: Batch | undefined, origins: Origins | undefined): void {
    this.#pending.push({ entry, batch, origins })
  }

  /** Everything after `zxid` is cut from the log. */
  truncate(zxid: number): void {
    const pending = this.#pending
    for (let newest = pending.last; newest !== undefined && newest.entry.last > zxid; newest = pending.last)
      pending.pop()
  }

  /** Nobody is to wait for anything any more; adds to `waiting` who did. */
  abandon(waiting: Set<Connection>): void {
    for (const pending of this.#pending) {
      for (const connection of pending.origins?.connections ?? [])
        if (connection !== undefined) waiting.add(connection)
      pending.origins = undefined
    }
  }

  /** The tree was replaced, or the log was opened anew: what is needed beyond the tree is in the log. */
  reset(): void {
    this.#life++
    this.#replaying = false
    this.#pending.clear()
    this.#position = 0
    this.#committed = this.#options.tree.zxid
  }

  /** Everything up to `zxid` is committed; `advance` applies it. */
  commit(zxid: number): void {
    if (zxid > this.#committed) this.#committed = zxid
  }

  /** Applies the rest of an entry that a slice has begun: entries are whole where the tree meets the log. */
  finishEntry(): void {
    if (this.#position === 0) return
    const head = this.#pending.first as Pending
    this.#applyEntry(head, Number.POSITIVE_INFINITY)
  }

  /** Applies what is committed, a slice at most. */
  advance(): void {
    const { tree, clock, onApplied, onMore } = this.#options
    if (this.#replaying || !this.behind) return
    const until = clock.now() + sliceMs
    let unwatched = 0
    while (this.behind) {
      const head = this.#pending.first
      if (head === undefined || (this.#position === 0 && head.entry.prev !== tree.zxid)) {
        this.#replay()
        break
      }
      if (head.entry.last > this.#committed) break
      this.#applyEntry(head, until)
      if (this.#position > 0) break
      this.#transactions += head.batch?.count ?? 0
      this.#bytes += head.entry.bytes.length
      this.#time = head.batch?.time ?? 0
      unwatched += head.batch?.count ?? 0
      if (unwatched < sliceTransactions) continue
      unwatched = 0
      if (clock.now() >= until) break
    }
    if (this.#position === 0 && this.#transactions > 0) {
      onApplied(this.#transactions, this.#bytes, this.#time)
      this.#transactions = 0
      this.#bytes = 0
    }
    if (this.behind && !this.#replaying) onMore()
  }

  /** Applies an entry from where it stands until it ends, or `until` has come. */
  #applyEntry(pending: Pending, until: number): void {
    const { clock, originsOf, onAnswered } = this.#options
    const { entry } = pending
    if (pending.batch === undefined) {
      pending.batch = this.#decoded.read(entry.bytes)
      pending.origins = originsOf(pending.batch)
    }
    const { batch } = pending
    while (this.#position < batch.count) {
      const { origins } = pending
      const index = this.#position++
      this.#apply(
        batch,
        index,
        entry.first + index,
        origins?.connections[index],
        origins?.arrivals[index] ?? 0,
      )
      if (this.#position % sliceTransactions === 0 && clock.now() >= until) break
    }
    if (this.#position < batch.count) return
    this.#position = 0
    this.#pending.shift()
    if (pending.origins !== undefined) onAnswered(pending.origins)
  }

  /** Applies what only the log has, up to the first entry in memory. */
  #replay(): void {
    const { readable, onFailure } = this.#options
    if (!readable()) return
    this.#replaying = true
    const life = this.#life
    this.#readLog(life)
      .catch((error: unknown) => {
        if (life === this.#life) onFailure(error)
      })
      .finally(() => {
        if (life !== this.#life) return
        this.#replaying = false
        this.#options.onMore()
      })
  }

  async #readLog(life: number): Promise<void> {
    const { log, tree, clock, logger, stats, soleReader, onApplied } = this.#options
    const began = clock.now()
    let told = began
    const from = tree.zxid
    let count = 0
    for await (const entry of log.read(from)) {
      const next = this.#pending.first?.entry
      if (life !== this.#life || entry.last > this.#committed || entry.first === next?.first) break
      assert(entry.first > tree.zxid, () => `entry ${entry.first} overlaps the state at ${tree.zxid}`)
      const batch = this.#decoded.read(entry.bytes)
      for (let i = 0; i < batch.count; i++) this.#apply(batch, i, entry.first + i, undefined, 0)
      count += batch.count
      // They were logged when it happened.
      tree.notices.length = 0
      onApplied(batch.count, entry.bytes.length, 0)
      const now = clock.now()
      if (now - told > 1000) {
        told = now
        logger.info({ transactions: count, zxid: formatZxid(entry.last) }, 'replaying the log')
      }
    }
    if (life !== this.#life) return
    if (soleReader) await log.giveBack()
    if (life !== this.#life) return
    assert(tree.zxid > from, `the log has nothing after ${from}, but ${this.#committed} is committed`)
    const ms = clock.now() - began
    stats.replayTime.record(ms)
    stats.replayed.record(count)
    if (count > 0) logger.info({ transactions: count, ms: Math.round(ms) }, 'log replayed')
  }

  #apply(batch: Batch, index: number, zxid: number, origin: Connection | undefined, arrived: number): void {
    const { tree, watches, digestEvery, isCompared, onSpecial } = this.#options
    const applier = this.#applier
    const kind = batch.kindOf(index)
    tree.watched = watches.size > 0
    applier.apply(batch, index, zxid, origin !== undefined)
    if (tree.changes.count > 0) this.#fireWatches()
    // What clients ask for has positive numbers, but for the end of a session.
    if (kind < 0 || kind === Op.reconfig) onSpecial(kind, batch.sessionOf(index), origin)
    if (zxid % digestEvery === 0 && isCompared()) this.#keepDigest(zxid)
    origin?.completed(kind, batch.cxidOf(index), zxid, applier.err, applier.reply, arrived)
  }

  #keepDigest(zxid: number): void {
    const { tree, onDigest } = this.#options
    const [high, low] = tree.digest()
    const digest = { zxid, high, low }
    this.digests.push(digest)
    if (this.digests.length > digestsKept) this.digests.shift()
    onDigest(digest)
  }

  #fireWatches(): void {
    const { tree, watches, stats } = this.#options
    const { changes } = tree
    for (let i = 0; i < changes.count; i++) {
      this.#changeAcl = changes.acls[i] as readonly Acl[]
      watches.fire(changes.types[i] as number, changes.paths[i] as string, this.#deliver)
      if (this.#event !== undefined) stats.eventsSent(this.#event.length - 4, this.#told)
      this.#event = undefined
      this.#told = 0
    }
  }

  #notify(watcher: Connection, type: number, path: string): void {
    const { tree, skipAcl } = this.#options
    const acl = this.#changeAcl
    if (acl !== openAcl && !skipAcl && !permits(acl, Perm.read, watcher.ids)) return
    this.#event ??= eventFrame(tree.zxid, type, path)
    this.#told++
    watcher.notify(this.#event)
  }
}

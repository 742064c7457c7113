// A server's disk: the storage port over plain data that outlives the process. Every write takes virtual time, one after
// another in each of the two stores, and is durable when its promise resolves. A crash keeps of the write under way the
// whole, nothing, or (entries of an append) a first part. The disk can be slow, and full for a while.
import { assert } from '../../src/base/assert.ts'
import { epochOf } from '../../src/base/zxid.ts'
import {
  type CheckpointMeta,
  type CheckpointReader,
  type CheckpointRecord,
  type CheckpointSink,
  type CheckpointStore,
  type LogIndex,
  type LogStore,
  type Storage,
  StorageError,
} from '../../src/storage/types.ts'
import type { Entry, Epochs, VotingAt } from '../../src/zab/types.ts'
import type { Prng } from '../prng.ts'
import type { Schedule } from '../schedule.ts'

/** Upper bound of any write, so that the recovery at the end of a run is bounded. */
const longestMs = 3000
const readChunk = 50

/** Looks at what is written; told when an entry is handed over and when it is durable. */
export type DiskWatcher = {
  offered(entry: Entry): void
  appended(entry: Entry, prev: number): void
  epochsSaved(before: Epochs, after: Epochs): void
}

/** What is on the platters. */
type Files = {
  epochs: Epochs
  entries: Entry[]
  trimmedTo: number
  diverged: boolean
  /** The newest voting at or below `trimmedTo`. */
  voting: VotingAt | undefined
  meta: CheckpointMeta | undefined
  /** By the key's bytes as latin1. */
  records: Map<string, Uint8Array>
}

type Work = {
  /** Makes its change; throws InvariantError if it must not be done. */
  readonly perform: () => void
  /** What a crash leaves of it. */
  readonly crash: () => void
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

/** Writes of one store, one after another. */
type Queue = {
  readonly works: Work[]
  busy: boolean
  failure: StorageError | undefined
  usualMs: number
}

/** How fast a disk usually is. */
export type DiskSpeed = { readonly syncMs: number; readonly epochMs: number }

/** See file header. `mount` gives the storage of one life; an unmounted one never answers again. */
export class SimDisk {
  readonly #files: Files = {
    epochs: { accepted: 0, current: 0 },
    entries: [],
    trimmedTo: 0,
    diverged: false,
    voting: undefined,
    meta: undefined,
    records: new Map(),
  }
  readonly #schedule: Schedule
  readonly #prng: Prng
  readonly #watcher: DiskWatcher
  readonly #speed: DiskSpeed
  /** Factor on every duration, while a fault lasts. */
  slowness = 1
  /** No space is left: writes fail. */
  full = false
  #mounted: MountedStorage | undefined

  constructor(schedule: Schedule, prng: Prng, speed: DiskSpeed, watcher: DiskWatcher) {
    this.#schedule = schedule
    this.#prng = prng
    this.#speed = speed
    this.#watcher = watcher
  }

  get epochs(): Epochs {
    return this.#files.epochs
  }

  /** `last` of the newest durable entry. */
  get end(): number {
    return endOf(this.#files)
  }

  get trimmedTo(): number {
    return this.#files.trimmedTo
  }

  get diverged(): boolean {
    return this.#files.diverged
  }

  get checkpointZxid(): number {
    return this.#files.meta?.zxid ?? 0
  }

  /** Whether the durable history goes through the entry that ends at `zxid`, or that has it inside. */
  holds(zxid: number): boolean {
    if (zxid <= this.#files.trimmedTo) return true
    const entry = this.#files.entries[indexAfter(this.#files, zxid - 1)]
    return entry !== undefined && entry.first <= zxid
  }

  /**
   * The storage for a new life of the process. `alive` is asked before anything is answered or begun. Answers come as
   * events of that life (`enter`).
   */
  mount(enter: (action: () => void) => void, acts: () => boolean): Storage {
    const mounted = new MountedStorage({
      files: this.#files,
      disk: this,
      schedule: this.#schedule,
      prng: this.#prng,
      speed: this.#speed,
      watcher: this.#watcher,
      enter,
      acts,
    })
    this.#mounted = mounted
    return mounted.storage
  }

  /** The process died: some of what was under way is there afterwards. */
  crash(): void {
    this.#mounted?.crash()
    this.#mounted = undefined
  }
}

type Parts = {
  readonly files: Files
  readonly disk: SimDisk
  readonly schedule: Schedule
  readonly prng: Prng
  readonly speed: DiskSpeed
  readonly watcher: DiskWatcher
  readonly enter: (action: () => void) => void
  readonly acts: () => boolean
}

class MountedStorage {
  readonly storage: Storage
  readonly #parts: Parts
  readonly #log: Queue
  readonly #checkpoint: Queue
  #crashed = false

  constructor(parts: Parts) {
    this.#parts = parts
    this.#log = { works: [], busy: false, failure: undefined, usualMs: parts.speed.syncMs }
    this.#checkpoint = { works: [], busy: false, failure: undefined, usualMs: 2 * parts.speed.syncMs }
    const log = this.#logStore()
    const { store: checkpoint, takeSink } = this.#checkpointStore()
    this.storage = {
      log,
      checkpoint,
      install: (meta, voting) => this.#install(takeSink(), meta, voting),
      dataDirBytes: () => Promise.resolve(0),
      logDirBytes: () => Promise.resolve(0),
      close: async () => {
        await checkpoint.close()
        await log.close()
      },
    }
  }

  /** Only the head of each queue was under way. */
  crash(): void {
    this.#crashed = true
    for (const queue of [this.#log, this.#checkpoint]) {
      if (queue.busy) queue.works[0]?.crash()
      queue.works.length = 0
    }
  }

  // ---------------------------------------------------------------- time

  #duration(usualMs: number): number {
    const { prng, disk } = this.#parts
    return Math.min(prng.between(0.05, 0.1 + usualMs) * disk.slowness, longestMs)
  }

  /** Resolves some time later, as an event of the process. */
  #pause(usualMs: number): Promise<void> {
    const { schedule, enter } = this.#parts
    return new Promise((resolve) => {
      schedule.after(this.#duration(usualMs), () => enter(resolve))
    })
  }

  #write(
    queue: Queue,
    perform: () => void,
    crash: () => void = () => undefined,
    usualMs?: number,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      if (!this.#parts.acts()) return
      if (queue.failure !== undefined) {
        reject(queue.failure)
        return
      }
      queue.works.push({ perform, crash, resolve, reject })
      if (!queue.busy) this.#work(queue, usualMs)
    })
  }

  #work(queue: Queue, usualMs = queue.usualMs): void {
    const { schedule, enter, disk } = this.#parts
    if (queue.works.length === 0) return
    queue.busy = true
    schedule.after(this.#duration(usualMs), () => {
      if (this.#crashed) return
      queue.busy = false
      const work = queue.works.shift() as Work
      if (disk.full) {
        work.crash()
        queue.failure = fullError()
        for (const failed of [work, ...queue.works.splice(0)]) enter(() => failed.reject(queue.failure))
        return
      }
      try {
        work.perform()
        enter(work.resolve)
      } catch (error) {
        enter(() => work.reject(error))
      }
      this.#work(queue)
    })
  }

  async #reopen(queue: Queue): Promise<void> {
    if (queue.failure === undefined) return
    await this.#pause(10)
    if (this.#parts.disk.full) throw fullError()
    queue.failure = undefined
  }

  // ---------------------------------------------------------------- the log

  #logStore(): LogStore {
    const { files, prng, watcher, speed } = this.#parts
    const queue = this.#log
    let appending = false
    const put = (entry: Entry) => {
      const prev = endOf(files)
      files.entries.push({ ...entry, bytes: new Uint8Array(entry.bytes) })
      watcher.appended(entry, prev)
    }
    return {
      get epochs() {
        return files.epochs
      },
      get lastZxid() {
        return endOf(files)
      },
      get trimmedTo() {
        return files.trimmedTo
      },
      get diverged() {
        return files.diverged
      },
      get failure() {
        return queue.failure
      },
      giveBack: () => Promise.resolve(),
      index: async (): Promise<LogIndex> => {
        const votings = votingsOf(files)
        const lasts = files.entries.map(({ last }) => last)
        await this.#pause(speed.syncMs)
        return { lasts, votings }
      },
      markDiverged: () =>
        this.#write(queue, () => {
          files.diverged = true
        }),
      append: async (entries) => {
        assert(!appending, 'an append began before the one before it was durable')
        if (entries.length === 0) return
        appending = true
        for (const entry of entries) watcher.offered(entry)
        const write = () => {
          checkChain(entries, endOf(files))
          for (const entry of entries) put(entry)
        }
        const crash = () => {
          checkChain(entries, endOf(files))
          for (const entry of entries.slice(0, prng.int(0, entries.length))) put(entry)
        }
        try {
          await this.#write(queue, write, crash)
        } finally {
          appending = false
        }
      },
      truncate: (zxid) =>
        this.#write(
          queue,
          () => truncate(files, zxid),
          () => {
            if (prng.chance(0.5)) truncate(files, zxid)
          },
        ),
      saveEpochs: ({ accepted, current }) => {
        const save = () => {
          const before = files.epochs
          files.epochs = { accepted, current }
          watcher.epochsSaved(before, files.epochs)
        }
        const maybe = () => {
          if (prng.chance(0.5)) save()
        }
        return this.#write(queue, save, maybe, speed.epochMs)
      },
      read: (after) => {
        assert(after >= files.trimmedTo, 'the log is read from before its beginning')
        return this.#listed(files.entries.slice(indexAfter(files, after)))
      },
      trim: (zxid) => {
        assert(zxid <= (files.meta?.zxid ?? 0), `the log is trimmed to ${zxid}, above the checkpoint`)
        return this.#write(queue, () => trim(files, zxid))
      },
      reopen: () => this.#reopen(queue),
      close: () => this.#closed(queue),
    }
  }

  async #closed(queue: Queue): Promise<void> {
    while (queue.works.length > 0) await this.#pause(1)
  }

  async *#listed(entries: readonly Entry[]): AsyncGenerator<Entry, void, void> {
    for (const [i, entry] of entries.entries()) {
      if (i % readChunk === 0) await this.#pause(this.#parts.speed.syncMs)
      yield entry
    }
  }

  // ---------------------------------------------------------------- the checkpoint

  #checkpointStore(): { store: CheckpointStore; takeSink: () => Sink } {
    const { files, prng } = this.#parts
    const queue = this.#checkpoint
    let sink: Sink | undefined
    const takeSink = () => {
      assert(sink !== undefined, 'a checkpoint is committed that was not begun')
      const taken = sink
      sink = undefined
      return taken
    }
    const store: CheckpointStore = {
      get meta() {
        return files.meta
      },
      get failure() {
        return queue.failure
      },
      load: async (each, progress, end) => {
        await this.#pause(this.#parts.speed.syncMs)
        for (const [key, value] of sorted(files)) each(key, value, false)
        if (files.records.size > 0) progress?.(files.records.size)
        end?.()
      },
      reader: () => this.#reader(),
      begin: (options) => {
        assert(sink === undefined, 'a checkpoint is begun while another is being made')
        if (queue.failure !== undefined) throw queue.failure
        sink = { changes: new Map(), replace: options?.replace === true }
        return this.#sinkOf(sink)
      },
      commit: (meta) => {
        const taken = takeSink()
        const apply = () => applySink(files, taken, meta)
        return this.#write(queue, apply, () => {
          if (prng.chance(0.5)) apply()
        })
      },
      abort: () => {
        sink = undefined
      },
      reopen: async () => {
        sink = undefined
        await this.#reopen(queue)
      },
      close: async () => {
        sink = undefined
        await this.#closed(queue)
      },
    }
    return { store, takeSink }
  }

  #sinkOf({ changes, replace }: Sink): CheckpointSink {
    let bytes = 0
    return {
      put(key, value) {
        changes.set(nameOf(key), new Uint8Array(value))
        bytes += key.length + value.length
      },
      del(key) {
        changes.set(nameOf(key), undefined)
        bytes += key.length
      },
      get bytes() {
        return bytes
      },
      drained: () => (replace ? this.#pause(1) : Promise.resolve()),
    }
  }

  #reader(): CheckpointReader {
    const { files } = this.#parts
    const { meta } = files
    assert(meta !== undefined, 'there is no checkpoint to read')
    const records = sorted(files)
    return {
      meta,
      next: async () => {
        await this.#pause(1)
        return records.splice(0, readChunk)
      },
      close: () => Promise.resolve(),
    }
  }

  /** Waits for both stores: checkpoint and log change together. */
  #install(sink: Sink, meta: CheckpointMeta, voting: VotingAt | undefined): Promise<void> {
    assert(sink.replace, 'only a checkpoint that replaces everything can be installed')
    const { files, prng } = this.#parts
    const install = () => {
      applySink(files, sink, meta)
      files.entries = []
      files.trimmedTo = meta.zxid
      files.voting = voting
      files.diverged = false
    }
    if (this.#checkpoint.failure !== undefined) return Promise.reject(this.#checkpoint.failure)
    return this.#write(this.#log, install, () => {
      if (prng.chance(0.5)) install()
    })
  }
}

type Sink = { readonly changes: Map<string, Uint8Array | undefined>; readonly replace: boolean }

function applySink(files: Files, { changes, replace }: Sink, meta: CheckpointMeta): void {
  if (replace) files.records = new Map()
  for (const [key, value] of changes) {
    if (value === undefined) files.records.delete(key)
    else files.records.set(key, value)
  }
  files.meta = structuredClone(meta)
}

function nameOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1')
}

/** Records in the order of their keys' bytes. */
function sorted({ records }: Files): CheckpointRecord[] {
  return [...records]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => [Buffer.from(key, 'latin1'), Buffer.from(value)])
}

function endOf({ entries, trimmedTo }: Files): number {
  return entries.at(-1)?.last ?? trimmedTo
}

/** Number of entries that end at or before `zxid`. */
function indexAfter({ entries }: Files, zxid: number): number {
  let low = 0
  let high = entries.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((entries[middle] as Entry).last <= zxid) low = middle + 1
    else high = middle
  }
  return low
}

function checkChain(entries: readonly Entry[], last: number): void {
  let end = last
  for (const { prev, first, last, voting } of entries) {
    assert(prev === end && first > prev && last >= first, `entry ${prev}..${last} does not follow ${end}`)
    assert(
      epochOf(first) !== epochOf(prev) || first === prev + 1,
      `entry ${first} leaves a gap after ${prev}`,
    )
    assert(voting === undefined || first === last, `the reconfiguration ${first} is not alone in its entry`)
    end = last
  }
}

function truncate(files: Files, zxid: number): void {
  assert(zxid >= files.trimmedTo, 'truncation below the beginning of the log')
  files.entries.length = indexAfter(files, zxid)
}

function trim(files: Files, zxid: number): void {
  const forgotten = files.entries.slice(0, indexAfter(files, zxid))
  const isEnd = zxid <= files.trimmedTo || forgotten.at(-1)?.last === zxid
  assert(isEnd, `the log is trimmed to ${zxid}, inside of an entry`)
  const voting = forgotten.findLast((entry) => entry.voting !== undefined)
  if (voting?.voting !== undefined) files.voting = { zxid: voting.last, voting: voting.voting }
  files.trimmedTo = forgotten.at(-1)?.last ?? files.trimmedTo
  files.entries = files.entries.slice(forgotten.length)
}

function votingsOf({ entries, voting }: Files): VotingAt[] {
  const inLog = entries.flatMap(({ last, voting }) => (voting === undefined ? [] : [{ zxid: last, voting }]))
  return voting === undefined ? inLog : [voting, ...inLog]
}

function fullError(): StorageError {
  return new StorageError(
    'full',
    '/simulated',
    'no space is left on the simulated disk',
    'wait for the nemesis',
  )
}

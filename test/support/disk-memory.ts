// LogStore and CheckpointStore in memory, for tests that need the ports but no disk. They keep the contract of
// src/storage/types.ts (the same conformance tests run on them); what they hold outlives `close`, as a disk would.
import { assert } from '../../src/base/assert.ts'
import { epochOf } from '../../src/base/zxid.ts'
import type {
  CheckpointMeta,
  CheckpointReader,
  CheckpointRecord,
  CheckpointSink,
  CheckpointStore,
  LogStore,
  Storage,
} from '../../src/storage/types.ts'
import type { Entry, Epochs, VotingAt } from '../../src/zab/types.ts'

/** A log in memory, and what an installed checkpoint does to it. */
export type MemoryLog = LogStore & { reset(zxid: number, voting: VotingAt | undefined): void }

/** Both stores in memory. */
export function memoryStorage(): Storage {
  const log = memoryLog()
  const checkpoint = memoryCheckpoint()
  return {
    log,
    checkpoint,
    async install(meta, voting) {
      await checkpoint.commit(meta)
      log.reset(meta.zxid, voting)
    },
    dataDirBytes: () => Promise.resolve(0),
    logDirBytes: () => Promise.resolve(0),
    async close() {
      await checkpoint.close()
      await log.close()
    },
  }
}

/** A log in memory. Each write settles in a later microtask, never at once. */
export function memoryLog(): MemoryLog {
  let entries: Entry[] = []
  let epochs: Epochs = { accepted: 0, current: 0 }
  let trimmedTo = 0
  let diverged = false
  let votings: VotingAt[] = []
  let appending = false
  const last = () => entries.at(-1)?.last ?? trimmedTo
  return {
    failure: undefined,
    get epochs() {
      return epochs
    },
    get lastZxid() {
      return last()
    },
    get trimmedTo() {
      return trimmedTo
    },
    get diverged() {
      return diverged
    },
    async index() {
      const index = { lasts: entries.map((entry) => entry.last), votings: [...votings] }
      await Promise.resolve()
      return index
    },
    giveBack: () => Promise.resolve(),
    async markDiverged() {
      await Promise.resolve()
      diverged = true
    },
    reset(zxid, voting) {
      entries = []
      trimmedTo = zxid
      diverged = false
      votings = voting === undefined ? [] : [voting]
    },
    async append(added) {
      assert(!appending, 'an append began before the one before it was durable')
      appending = true
      try {
        await Promise.resolve()
        let end = last()
        for (const { prev, first, last, voting } of added) {
          assert(prev === end && first > prev && last >= first, 'an entry does not follow the one before it')
          assert(
            epochOf(first) !== epochOf(prev) || first === prev + 1,
            'an entry leaves a gap within its epoch',
          )
          assert(voting === undefined || first === last, 'a reconfiguration has more than one transaction')
          end = last
        }
        for (const { last, voting } of added) if (voting !== undefined) votings.push({ zxid: last, voting })
        entries.push(...added.map((entry) => ({ ...entry, bytes: entry.bytes.slice() })))
      } finally {
        appending = false
      }
    },
    async truncate(zxid) {
      await Promise.resolve()
      assert(zxid >= trimmedTo, 'truncation below the beginning of the log')
      entries = entries.filter((entry) => entry.last <= zxid)
      votings = votings.filter((voting) => voting.zxid <= Math.max(last(), trimmedTo))
    },
    async saveEpochs({ accepted, current }) {
      await Promise.resolve()
      epochs = { accepted, current }
    },
    read(after) {
      assert(after >= trimmedTo, 'the log is read from before its beginning')
      return listed(entries.filter((entry) => entry.last > after))
    },
    async trim(zxid) {
      await Promise.resolve()
      if (zxid <= trimmedTo) return
      assert(
        entries.some((entry) => entry.last === zxid),
        'the log is trimmed inside of an entry',
      )
      trimmedTo = zxid
      entries = entries.filter((entry) => entry.last > trimmedTo)
      votings.splice(
        0,
        votings.findLastIndex((voting) => voting.zxid <= trimmedTo),
      )
    },
    async reopen() {},
    async close() {},
  }
}

/** A checkpoint in memory. */
export function memoryCheckpoint(): CheckpointStore {
  let meta: CheckpointMeta | undefined
  let records = new Map<string, Buffer>()
  let sink: { changes: Map<string, Buffer | undefined>; replace: boolean } | undefined
  const sorted = (): CheckpointRecord[] =>
    [...records].sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, value]) => [Buffer.from(key, 'hex'), value])
  return {
    failure: undefined,
    get meta() {
      return meta
    },
    async load(each, progress) {
      await Promise.resolve()
      for (const [key, value] of sorted()) each(key, value, false)
      if (records.size > 0) progress?.(records.size)
    },
    reader() {
      assert(meta !== undefined, 'there is no checkpoint to read')
      return readerOf(meta, sorted())
    },
    begin(options) {
      assert(sink === undefined, 'a checkpoint is begun while another is being made')
      sink = { changes: new Map(), replace: options?.replace === true }
      return sinkOf(sink.changes)
    },
    async commit(next) {
      assert(sink !== undefined, 'a checkpoint is committed that was not begun')
      const { changes, replace } = sink
      sink = undefined
      await Promise.resolve()
      if (replace) records = new Map()
      for (const [key, value] of changes) {
        if (value === undefined) records.delete(key)
        else records.set(key, value)
      }
      meta = next
    },
    abort() {
      sink = undefined
    },
    async reopen() {},
    close() {
      sink = undefined
      return Promise.resolve()
    },
  }
}

function sinkOf(changes: Map<string, Buffer | undefined>): CheckpointSink {
  let bytes = 0
  const hex = (key: Uint8Array) => Buffer.from(key).toString('hex')
  return {
    put(key, value) {
      changes.set(hex(key), Buffer.from(value))
      bytes += key.length + value.length
    },
    del(key) {
      changes.set(hex(key), undefined)
      bytes += key.length
    },
    get bytes() {
      return bytes
    },
    async drained() {},
  }
}

function readerOf(meta: CheckpointMeta, records: CheckpointRecord[]): CheckpointReader {
  return {
    meta,
    async next() {
      await Promise.resolve()
      return records.splice(0, 2)
    },
    async close() {},
  }
}

async function* listed(entries: readonly Entry[]): AsyncGenerator<Entry, void, void> {
  for (const entry of entries) {
    await Promise.resolve()
    yield entry
  }
}

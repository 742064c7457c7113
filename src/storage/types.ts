// The ports through which the node uses its disk. The real ones are on LevelDB; tests and the simulator give others.
import type { Entry, Epochs } from '../zab/types.ts'

/** The durable history of a server. */
export interface LogStore {
  /** Epochs as read at open and as last saved. */
  readonly epochs: Epochs
  /** `last` of the newest entry; the checkpoint's zxid if the log was trimmed to nothing; 0 if there never was one. */
  readonly lastZxid: number
  /** Appends entries in order. Resolves when they are durable (fsync). Calls may not overlap. Rejects with StorageError. */
  append(entries: readonly Entry[]): Promise<void>
  /** Removes every entry whose `last` is above `zxid`; durable when it resolves. */
  truncate(zxid: number): Promise<void>
  /** Durable when it resolves. */
  saveEpochs(epochs: Epochs): Promise<void>
  /** All entries with `last` > `after`, in order; verifies checksum and contiguity, throws StorageError at a hole. */
  read(after: number): AsyncIterable<Entry>
  /** Forgets entries with `last` <= `zxid`. Not durable by itself: they may come back after a crash. */
  trim(zxid: number): Promise<void>
  /** Zxid from which `read` is complete: entries above it are all there. */
  readonly trimmedTo: number
  close(): Promise<void>
}

/** Where a checkpoint's changes go while it is being made. */
export interface CheckpointSink {
  put(key: Uint8Array, value: Uint8Array): void
  del(key: Uint8Array): void
  /** Bytes of keys and values given so far. */
  readonly bytes: number
}

/** What a checkpoint says of itself; stored in the same atomic batch as its changes. */
export type CheckpointMeta = {
  /** The state is exactly the one after this transaction. */
  readonly zxid: number
  /** Number of znode records that must be there. */
  readonly nodes: number
  /** Tree digest (version 2), two unsigned 32 bit halves. */
  readonly digestHigh: number
  readonly digestLow: number
  /** Anything else the tree keeps (msgpackr-encodable plain data). */
  readonly state: unknown
}

/** The snapshot: a key-value image of the tree, exact at one zxid, changed by atomic batches. */
export interface CheckpointStore {
  /** Of the newest complete checkpoint; undefined if there is none. */
  readonly meta: CheckpointMeta | undefined
  /** All records in key order, in big chunks: calls `each` per record with views that are valid during the call only. */
  load(
    each: (key: Uint8Array, value: Uint8Array) => void,
    progress?: (records: number) => void,
  ): Promise<void>
  /** Opens a sink for the next checkpoint. One at a time. */
  begin(): CheckpointSink
  /** Writes everything the sink was given, and `meta`, atomically and durably. */
  commit(meta: CheckpointMeta): Promise<void>
  /** Drops what the sink was given. */
  abort(): void
  close(): Promise<void>
}

/** What went wrong with the disk; `file` is named to the operator together with `remedy`. */
export type StorageErrorKind = 'locked' | 'corrupt' | 'full' | 'io' | 'format'

/** Everything that storage throws. At start it ends the process with exit code 3. */
export class StorageError extends Error {
  override readonly name = 'StorageError'
  readonly kind: StorageErrorKind
  /** The file or directory concerned. */
  readonly path: string
  /** What the operator can do, in a sentence. */
  readonly remedy: string
  constructor(kind: StorageErrorKind, path: string, message: string, remedy: string, cause?: unknown) {
    super(message, { cause })
    this.kind = kind
    this.path = path
    this.remedy = remedy
  }
}

// The ports through which the node uses its disk. The real ones are on LevelDB; tests and the simulator give others.
// Nothing here knows what a transaction or a znode is.
import type { Entry, Epochs, VotingAt } from '../zab/types.ts'

/**
 * The durable history of a server.
 *
 * After a failed write the store is in a failed state: `append`, `saveEpochs`, `truncate`, `trim` reject with that same
 * `StorageError` until `reopen` has succeeded, because what comes after a torn record would be lost at the next start.
 */
export interface LogStore {
  /** Epochs as read at open and as last saved. */
  readonly epochs: Epochs
  /** `last` of the newest entry; the checkpoint's zxid if the log was trimmed to nothing; 0 if there never was one. */
  readonly lastZxid: number
  /** Entries whose `last` is above this zxid are all there. Always the `last` of an entry (or a checkpoint's zxid). */
  readonly trimmedTo: number
  /** This server's state was found to differ from the ensemble's (`markDiverged`): only a snapshot helps. */
  readonly diverged: boolean
  /** Why the store takes no writes; undefined while it works. */
  readonly failure: StorageError | undefined
  /**
   * What a consensus core must know of the history: see LogIndex. Reads keys only. For a start: nothing may be begun here before it
   * resolves. Rejects with StorageError.
   */
  index(): Promise<LogIndex>
  /**
   * Gives back the memory that much reading has taken. Nobody may read, or begin to, before it resolves; it may run beside
   * appends. Rejects with StorageError.
   */
  giveBack(): Promise<void>
  /** Durable when it resolves; an installed checkpoint takes it back. */
  markDiverged(): Promise<void>
  /**
   * Appends entries in order. Resolves when they are durable (fsync). Calls may not overlap (asserted), and the first
   * entry's `prev` must be `lastZxid` (asserted). `bytes` must not change before it settles. Rejects with StorageError;
   * the entries may then be there, or a first part of them, which is known after `reopen`.
   */
  append(entries: readonly Entry[]): Promise<void>
  /** Removes every entry whose `last` is above `zxid`; durable when it resolves. `zxid` is not below `trimmedTo` (asserted). */
  truncate(zxid: number): Promise<void>
  /** Durable when it resolves. */
  saveEpochs(epochs: Epochs): Promise<void>
  /**
   * All entries with `last` > `after`, in order, as they are at the call; entries appended later are not seen.
   * Verifies checksum and contiguity, throws StorageError at a hole. `after` is not below `trimmedTo` (asserted).
   */
  read(after: number): AsyncIterable<Entry>
  /**
   * Forgets entries with `last` <= `zxid`. That they are forgotten is durable at once; the space is given back in the
   * background, and it resolves when that is done. May run beside appends. `zxid` is where an entry ends, or not above
   * `trimmedTo`, and not above the checkpoint's (asserted).
   */
  trim(zxid: number): Promise<void>
  /**
   * Takes the store out of its failed state: closes the database, opens it again (which drops a torn tail), checks that
   * it can be written, reads `lastZxid` and `epochs` anew. Rejects with StorageError (full, io) while it can not be
   * written; then it may be tried again. Does nothing if the store has not failed.
   */
  reopen(): Promise<void>
  /** Waits for what is under way; the next open then insists on finding everything. Does not reject. */
  close(): Promise<void>
}

/** Where the entries of a log end, and which of them changed who votes. */
export type LogIndex = {
  /** `last` of each entry above `trimmedTo`, ascending. */
  readonly lasts: readonly number[]
  /**
   * Reconfigurations, ascending by zxid: all above `trimmedTo`, and the newest one at or below it (also one that came
   * with an installed checkpoint). Empty if there never was one.
   */
  readonly votings: readonly VotingAt[]
}

/**
 * Where a checkpoint's changes go while it is being made. Both keys and values are copied at the call.
 *
 * Records with a key above all that the present checkpoint and those before it had are written as they come, in synced
 * pieces: nothing of them counts before the commit. All else is held until then. So what is large should have new,
 * ascending keys.
 */
export interface CheckpointSink {
  /** A key is not empty. */
  put(key: Uint8Array, value: Uint8Array): void
  del(key: Uint8Array): void
  /** Bytes of keys and values given so far. */
  readonly bytes: number
  /** Resolves when the disk has caught up but for a piece or two. Rejects with StorageError. */
  drained(): Promise<void>
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

/** A record of a checkpoint: key and value. */
export type CheckpointRecord = readonly [key: Uint8Array, value: Uint8Array]

/** A checkpoint as it was when the reader was opened, whatever is committed meanwhile. */
export interface CheckpointReader {
  readonly meta: CheckpointMeta
  /** The next records in key order, some hundred KiB of them; empty at the end. Rejects with StorageError. */
  next(): Promise<readonly CheckpointRecord[]>
  /** To be called once. */
  close(): Promise<void>
}

/** The snapshot: a key-value image of the tree, exact at one zxid, changed by atomic batches. */
export interface CheckpointStore {
  /** Of the newest complete checkpoint; undefined if there is none. */
  readonly meta: CheckpointMeta | undefined
  /** Why the store takes no writes; undefined while it works. */
  readonly failure: StorageError | undefined
  /**
   * All records in key order: calls `each` per record with views that are valid during the call only, and whether a checksum
   * over all of it was verified. After a start this comes before all else that is asked of the store, also if there is no
   * checkpoint: it checks the files. `end` is called when all records were given, with some time left until the store is
   * ready. Rejects with StorageError, or with what these throw.
   */
  load(
    each: (key: Uint8Array, value: Uint8Array, verified: boolean) => void,
    progress?: (records: number) => void,
    end?: () => void,
  ): Promise<void>
  /** The present checkpoint for sending to another server; blocks no writer. There must be one (asserted). */
  reader(): CheckpointReader
  /**
   * Opens a sink for the next checkpoint. One at a time (asserted). With `replace` the next checkpoint has only what this
   * sink is given, and nothing of the present one, which stays complete until the commit. Throws the StorageError of a failed store.
   */
  begin(options?: { readonly replace?: boolean }): CheckpointSink
  /** Makes everything the sink was given, with `meta`, the present checkpoint, atomically and durably. Rejects with StorageError; the sink is gone then. */
  commit(meta: CheckpointMeta): Promise<void>
  /** Drops what the sink was given. */
  abort(): void
  /** As of LogStore; `meta` is read anew, for a commit that failed may have been written or not. An open sink is dropped. */
  reopen(): Promise<void>
  close(): Promise<void>
}

/** Both stores of a server and what concerns them together. */
export interface Storage {
  readonly log: LogStore
  readonly checkpoint: CheckpointStore
  /**
   * Commits the open sink (begun with `replace`) as a checkpoint that takes the place of the whole history: afterwards the
   * log is empty with `lastZxid` = `trimmedTo` = `meta.zxid`. Checkpoint and log change together or, after a crash, not
   * at all. For a snapshot that comes from the leader. Epochs stay as they are. No append may be under way. `voting` is
   * the newest reconfiguration up to the checkpoint.
   */
  install(meta: CheckpointMeta, voting: VotingAt | undefined): Promise<void>
  /** Bytes of the files of the checkpoint, those of a log in the same directory not counted. */
  dataDirBytes(): Promise<number>
  /** Bytes of the files of the log. */
  logDirBytes(): Promise<number>
  close(): Promise<void>
}

/** What the storage logs with; a pino logger is one. */
export type StorageLogger = {
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
}

/** What went wrong with the disk; `path` is named to the operator together with `remedy`. */
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

// A disk with faults for tests: wraps a LogStore or a CheckpointStore and holds writes back, fails them, loses them at a
// crash, and counts the syncs that reached the disk. It never changes what it is asked to store.
import { storageError } from '../../src/storage/errors.ts'
import type { CheckpointStore, LogStore, StorageError, StorageErrorKind } from '../../src/storage/types.ts'

/** The switches of a wrapped store. */
export type DiskFaults = {
  /** Synced writes that reached the inner store. */
  readonly syncs: number
  /** Writes that are being held. */
  readonly held: number
  /** From now on writes wait: they neither reach the inner store nor settle. */
  hold(): void
  /** Lets the held writes and all later ones go on. Resolves when those that were held have settled. */
  release(): Promise<void>
  /** Lets the oldest held write go on, and resolves when it has settled; later ones are still held. */
  releaseOne(): Promise<void>
  /** The next write fails without reaching the inner store. `reopen` fails too, until `repair`. */
  failNext(kind: StorageErrorKind): void
  /** There is room again: `reopen` succeeds. */
  repair(): void
  /** The process ends: held writes are lost and never settle, and so it is with every later call that writes. */
  crash(): void
}

type Gate = {
  readonly faults: DiskFaults
  readonly failure: () => StorageError | undefined
  readonly write: (work: () => Promise<void>) => Promise<void>
  readonly reopen: (inner: () => Promise<void>) => Promise<void>
}

/** `inner` with faults. After `crash`, wrap the same inner store again for the next start. */
export function faultyLog(inner: LogStore): { log: LogStore; faults: DiskFaults } {
  const gate = makeGate()
  const log: LogStore = {
    get epochs() {
      return inner.epochs
    },
    get lastZxid() {
      return inner.lastZxid
    },
    get trimmedTo() {
      return inner.trimmedTo
    },
    get diverged() {
      return inner.diverged
    },
    get failure() {
      return gate.failure() ?? inner.failure
    },
    index: () => inner.index(),
    giveBack: () => inner.giveBack(),
    markDiverged: () => gate.write(() => inner.markDiverged()),
    append: (entries) => gate.write(() => inner.append(entries)),
    truncate: (zxid) => gate.write(() => inner.truncate(zxid)),
    saveEpochs: (epochs) => gate.write(() => inner.saveEpochs(epochs)),
    trim: (zxid) => gate.write(() => inner.trim(zxid)),
    read: (after) => inner.read(after),
    reopen: () => gate.reopen(() => inner.reopen()),
    close: () => inner.close(),
  }
  return { log, faults: gate.faults }
}

/** `inner` with faults. */
export function faultyCheckpoint(inner: CheckpointStore): {
  checkpoint: CheckpointStore
  faults: DiskFaults
} {
  const gate = makeGate()
  const checkpoint: CheckpointStore = {
    get meta() {
      return inner.meta
    },
    get failure() {
      return gate.failure() ?? inner.failure
    },
    load: (...to) => inner.load(...to),
    reader: () => inner.reader(),
    begin(options) {
      const failure = gate.failure()
      if (failure !== undefined) throw failure
      return inner.begin(options)
    },
    async commit(meta) {
      let reached = false
      try {
        await gate.write(() => {
          reached = true
          return inner.commit(meta)
        })
      } finally {
        if (!reached) inner.abort()
      }
    },
    abort: () => inner.abort(),
    reopen: () => gate.reopen(() => inner.reopen()),
    close: () => inner.close(),
  }
  return { checkpoint, faults: gate.faults }
}

function makeGate(): Gate {
  let syncs = 0
  let holding = false
  let crashed = false
  let planned: StorageErrorKind | undefined
  let broken: StorageErrorKind | undefined
  let failure: StorageError | undefined
  const waiting: (() => Promise<void>)[] = []
  const fail = (kind: StorageErrorKind) => storageError(kind, 'test-disk', `injected fault: ${kind}`)

  async function perform(work: () => Promise<void>): Promise<void> {
    if (crashed) return await never()
    if (failure !== undefined) throw failure
    if (planned !== undefined) {
      broken = planned
      planned = undefined
      failure = fail(broken)
      throw failure
    }
    await work()
    if (crashed) return await never()
    syncs++
  }

  function write(work: () => Promise<void>): Promise<void> {
    if (!holding && waiting.length === 0) return perform(work)
    return new Promise((resolve, reject) => {
      waiting.push(() => perform(work).then(resolve, reject))
    })
  }

  async function releaseOne(): Promise<void> {
    await waiting.shift()?.()
  }

  const faults: DiskFaults = {
    get syncs() {
      return syncs
    },
    get held() {
      return waiting.length
    },
    hold() {
      holding = true
    },
    async release() {
      holding = false
      while (waiting.length > 0) await releaseOne()
    },
    releaseOne,
    failNext(kind) {
      planned = kind
    },
    repair() {
      broken = undefined
    },
    crash() {
      crashed = true
      waiting.length = 0
    },
  }
  return {
    faults,
    failure: () => failure,
    write,
    async reopen(inner) {
      if (failure === undefined) return
      if (broken !== undefined) throw fail(broken)
      await inner()
      failure = undefined
    },
  }
}

function never(): Promise<never> {
  return new Promise(() => {})
}

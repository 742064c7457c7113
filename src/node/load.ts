// Loads the newest checkpoint into a tree, in this thread, and tells before that what a server needs to find the others.
import { assert } from '../base/assert.ts'
import type { Logger } from '../base/log.ts'
import { formatZxid } from '../base/zxid.ts'
import { type CheckpointMeta, type CheckpointStore, StorageError } from '../storage/types.ts'
import { announce, ImageReader, type ImageState } from '../tree/image.ts'
import { Tree } from '../tree/tree.ts'
import type { Clock } from './clock.ts'

const progressMs = 1000

/** A tree, and how long it took to load it. */
export type Loaded = { readonly tree: Tree; readonly ms: number }

/** A state that is being loaded. */
export type Loading = {
  /**
   * What consensus needs of it, and nothing more (`announce`): a server can begin with that. Undefined where there is no checkpoint,
   * or it says too little.
   */
  readonly announced: Tree | undefined
  /** Rejects as `loadTree`. */
  readonly loaded: Promise<Loaded>
}

/** Begins to load the newest checkpoint, at the time `began`. */
export function beginLoading(
  store: CheckpointStore,
  dataDir: string,
  logger: Logger,
  clock: Clock,
  began: number = clock.now(),
): Loading {
  const load = async (): Promise<Loaded> => {
    const tree = new Tree()
    await loadTree(tree, store, dataDir, logger, clock)
    return { tree, ms: clock.now() - began }
  }
  return { announced: announcedOf(store.meta), loaded: load() }
}

function announcedOf(meta: CheckpointMeta | undefined): Tree | undefined {
  if (meta === undefined) return undefined
  const tree = new Tree()
  return announce(tree, meta.state as ImageState, meta.zxid) ? tree : undefined
}

/** Loads the newest checkpoint, or makes the tree of a fresh server. Throws StorageError if it is damaged. */
export async function loadTree(
  tree: Tree,
  store: CheckpointStore,
  dataDir: string,
  logger: Logger,
  clock: Clock,
): Promise<void> {
  const { meta } = store
  if (meta === undefined) {
    await store.load(() => assert(false, 'a record of a checkpoint that is none'))
    tree.initialize()
    return
  }
  const report = reportLoading(meta, logger, clock)
  const reader = new ImageReader(tree)
  try {
    await store.load(
      (key, value) => reader.record(key, value),
      () => report.progress(reader.nodes),
      () => reader.finish(meta, meta.state as ImageState, meta.zxid),
    )
  } catch (error) {
    throw damaged(error, dataDir, meta)
  }
  report.done()
}

/** Says in the log how far loading is, once a second, and that it is done. */
export function reportLoading(
  meta: CheckpointMeta,
  logger: Logger,
  clock: Clock,
): { progress(znodes: number): void; done(): void } {
  const began = clock.now()
  let told = began
  return {
    progress(znodes) {
      const now = clock.now()
      if (now - told < progressMs) return
      told = now
      logger.info({ znodes, of: meta.nodes }, 'loading the checkpoint')
    },
    done() {
      const ms = Math.round(clock.now() - began)
      logger.info({ znodes: meta.nodes, zxid: formatZxid(meta.zxid), ms }, 'checkpoint loaded')
    },
  }
}

/** Why a checkpoint can not be loaded. */
export function damaged(error: unknown, dataDir: string, meta: CheckpointMeta): StorageError {
  if (error instanceof StorageError) return error
  const reason = error instanceof Error ? error.message : String(error)
  return new StorageError(
    'corrupt',
    dataDir,
    `the checkpoint of ${formatZxid(meta.zxid)} can not be loaded: ${reason}`,
    'restore the data directory from a backup, or in an ensemble empty it and let this server follow its leader',
    error,
  )
}

// Loads the newest checkpoint into a tree.
import { assert } from '../base/assert.ts'
import type { Logger } from '../base/log.ts'
import { formatZxid } from '../base/zxid.ts'
import { type CheckpointMeta, type CheckpointStore, StorageError } from '../storage/types.ts'
import { ImageReader, type ImageState } from '../tree/image.ts'
import type { Tree } from '../tree/tree.ts'
import type { Clock } from './clock.ts'

const progressMs = 1000

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
  const began = clock.now()
  let told = began
  const reader = new ImageReader(tree, meta.nodes)
  try {
    await store.load(
      (key, value, verified) => reader.record(key, value, verified),
      () => {
        const now = clock.now()
        if (now - told < progressMs) return
        told = now
        logger.info({ znodes: reader.nodes, of: meta.nodes }, 'loading the checkpoint')
      },
      () => reader.finish(meta, meta.state as ImageState, meta.zxid),
    )
  } catch (error) {
    throw damaged(error, dataDir, meta)
  }
  const ms = Math.round(clock.now() - began)
  logger.info({ znodes: meta.nodes, zxid: formatZxid(meta.zxid), ms }, 'checkpoint loaded')
}

function damaged(error: unknown, dataDir: string, meta: CheckpointMeta): StorageError {
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

// The program of a TreeLoader's thread: reads a checkpoint's files, makes the tree of them, and gives it away with its memory.
// It knows nothing of LevelDB itself, of the log of the process, and of what the tree is for.
import { parentPort } from 'node:worker_threads'
import { assert } from '../base/assert.ts'
import { readFiles, recordsPerProgress } from '../storage/checkpoint-files.ts'
import type { CheckpointFiles, CheckpointMeta, StorageErrorKind } from '../storage/types.ts'
import { ImageReader, type ImageState } from '../tree/image.ts'
import { Tree, type TreeParts } from '../tree/tree.ts'
import { damaged } from './load.ts'

/** The message that it begins with. */
export type LoaderTask = {
  readonly files: CheckpointFiles
  readonly meta: CheckpointMeta
  /** For its errors. */
  readonly dataDir: string
}

/** What it tells: `read` when it needs the files no more, and at last `loaded` or `failed`. */
export type LoaderReport =
  | { readonly type: 'progress'; readonly znodes: number }
  | { readonly type: 'read' }
  | { readonly type: 'loaded'; readonly parts: TreeParts }
  | LoaderFailure

/** A StorageError: of an Error's own fields a message has but the text and the cause. */
type LoaderFailure = {
  readonly type: 'failed'
  readonly kind: StorageErrorKind
  readonly path: string
  readonly message: string
  readonly remedy: string
  readonly cause: unknown
}

const port = parentPort
assert(port !== null, 'this is the program of a thread')
const tell = (report: LoaderReport, memory: readonly ArrayBuffer[] = []) => port.postMessage(report, memory)

port.once('message', async (task: LoaderTask) => {
  let tree: Tree
  try {
    tree = await load(task)
  } catch (error) {
    const { kind, path, message, remedy, cause } = damaged(error, task.dataDir, task.meta)
    tell({ type: 'failed', kind, path, message, remedy, cause })
    return
  }
  const { parts, memory } = tree.handOver()
  tell({ type: 'loaded', parts }, memory)
})

async function load({ files, meta }: LoaderTask): Promise<Tree> {
  const tree = new Tree()
  const reader = new ImageReader(tree)
  let records = 0
  await readFiles(files, (key, value) => {
    reader.record(key, value)
    if (++records % recordsPerProgress === 0) tell({ type: 'progress', znodes: reader.nodes })
  })
  tell({ type: 'progress', znodes: reader.nodes })
  tell({ type: 'read' })
  reader.finish(meta, meta.state as ImageState, meta.zxid)
  return tree
}

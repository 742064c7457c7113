// The program of the thread in which load-aside.ts has a checkpoint loaded: reads the files, makes the tree of them, and gives
// it away with its memory. It knows nothing of LevelDB itself, of the log of the process, and of what the tree is for.
import { parentPort, workerData } from 'node:worker_threads'
import { assert } from '../base/assert.ts'
import { readFiles, recordsPerProgress } from '../storage/checkpoint-files.ts'
import type { CheckpointFiles, CheckpointMeta, StorageErrorKind } from '../storage/types.ts'
import { ImageReader, type ImageState } from '../tree/image.ts'
import { Tree, type TreeParts } from '../tree/tree.ts'
import { damaged } from './load.ts'

/** What the thread begins with. */
export type LoaderTask = {
  readonly files: CheckpointFiles
  readonly meta: CheckpointMeta
  /** For its errors. */
  readonly dataDir: string
}

/** A StorageError, whose fields a thread can not be sent with an Error. */
export type LoaderFailure = {
  readonly kind: StorageErrorKind
  readonly path: string
  readonly message: string
  readonly remedy: string
  readonly cause: unknown
}

/** What it tells: `read` when it needs the files no more, and at last `loaded` or `failed`. */
export type LoaderReport =
  | { readonly type: 'progress'; readonly znodes: number }
  | { readonly type: 'read' }
  | { readonly type: 'loaded'; readonly parts: TreeParts }
  | { readonly type: 'failed'; readonly failure: LoaderFailure }

const port = parentPort
assert(port !== null, 'this is the program of a thread')
const tell = (report: LoaderReport, memory: readonly ArrayBuffer[] = []) => port.postMessage(report, memory)
const { files, meta, dataDir } = workerData as LoaderTask
try {
  const tree = new Tree()
  const reader = new ImageReader(tree)
  let records = 0
  await readFiles(files, (key, value) => {
    reader.record(key, value)
    if (++records % recordsPerProgress === 0) tell({ type: 'progress', znodes: reader.nodes })
  })
  tell({ type: 'read' })
  reader.finish(meta, meta.state as ImageState, meta.zxid)
  const { parts, memory } = tree.handOver()
  tell({ type: 'loaded', parts }, memory)
} catch (error) {
  const { kind, path, message, remedy, cause } = damaged(error, dataDir, meta)
  tell({ type: 'failed', failure: { kind, path, message, remedy, cause } })
}

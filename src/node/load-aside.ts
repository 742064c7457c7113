// Loads the newest checkpoint in a thread of its own, which gives the tree's memory to this one: meanwhile this thread is free.
// A thread takes some 20 ms to begin, and the first MiB of its code are slow again: it is for large checkpoints.
import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'
import { assert } from '../base/assert.ts'
import type { Logger } from '../base/log.ts'
import { type FoundCheckpoint, StorageError } from '../storage/types.ts'
import { Tree } from '../tree/tree.ts'
import type { Clock } from './clock.ts'
import { reportLoading } from './load.ts'
import type { LoaderReport, LoaderTask } from './tree-loader.ts'

/** The program of the thread, compiled or not, as this file. */
const program = new URL(`./tree-loader${extname(import.meta.url)}`, import.meta.url)

/**
 * The tree of the newest checkpoint, which there must be and which nobody has loaded yet (both asserted). Rejects as `loadTree`
 * where that throws, and with another error when the thread ends before it is done, which `stop` has it do: with its reason.
 */
export async function loadTreeAside(
  store: FoundCheckpoint,
  dataDir: string,
  logger: Logger,
  clock: Clock,
  stop?: AbortSignal,
): Promise<Tree> {
  const { meta } = store
  assert(meta !== undefined, 'there is no checkpoint to load')
  const report = reportLoading(meta, logger, clock)
  let loaded: Promise<Tree> | undefined
  await store.loadFiles(async (files) => {
    stop?.throwIfAborted()
    const loading = load({ files, meta, dataDir }, report.progress, stop)
    loaded = loading.loaded
    await loading.read
  })
  assert(loaded !== undefined, 'the files of a checkpoint were not read')
  const tree = await loaded
  report.done()
  return tree
}

/** A thread at work: `read` resolves when it needs the files no more. */
function load(
  task: LoaderTask,
  progress: (znodes: number) => void,
  stop: AbortSignal | undefined,
): { readonly read: Promise<void>; readonly loaded: Promise<Tree> } {
  const worker = new Worker(program, { workerData: task })
  const onStop = () => void worker.terminate()
  stop?.addEventListener('abort', onStop)
  let onRead = () => {}
  const loaded = new Promise<Tree>((resolve, reject) => {
    worker.on('message', (told: LoaderReport) => {
      switch (told.type) {
        case 'progress':
          progress(told.znodes)
          break
        case 'read':
          onRead()
          break
        case 'loaded':
          resolve(Tree.from(told.parts))
          break
        case 'failed': {
          const { kind, path, message, remedy, cause } = told.failure
          reject(new StorageError(kind, path, message, remedy, cause))
          break
        }
      }
    })
    worker.once('error', (error) =>
      reject(new Error(`the thread that loads the checkpoint has failed: ${error.message}`, { cause: error })),
    )
    // After all that it told, and its error.
    worker.once('exit', (code) => {
      stop?.removeEventListener('abort', onStop)
      if (stop?.aborted === true) reject(stop.reason)
      reject(new Error(`the thread that loads the checkpoint has ended with ${code} before it was done`))
    })
  })
  const read = new Promise<void>((resolve, reject) => {
    onRead = resolve
    loaded.catch(reject)
  })
  return { read, loaded }
}

// Loads the newest checkpoint in a thread of its own, which gives the tree's memory to this one: meanwhile this thread is free.
// load.ts does it in this thread, which is as good where nothing else is to be done.
import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'
import { assert } from '../base/assert.ts'
import type { Logger } from '../base/log.ts'
import { bytesBelow } from '../storage/files.ts'
import { layoutOf } from '../storage/format.ts'
import { type FoundCheckpoint, StorageError } from '../storage/types.ts'
import { Tree } from '../tree/tree.ts'
import type { Clock } from './clock.ts'
import { reportLoading } from './load.ts'
import type { LoaderReport, LoaderTask } from './tree-loader-thread.ts'

/** The program of the thread, compiled or not, as this file. */
const threadProgram = new URL(`./tree-loader-thread${extname(import.meta.url)}`, import.meta.url)

/** A smaller checkpoint is loaded before a thread has even begun: it takes 20 to 40 ms. */
const largeBytes = 8 << 20

/** A loader for the checkpoint in `dataDir`, which nobody has looked into yet; undefined if that is too small for a thread. */
export async function treeLoaderFor(dataDir: string): Promise<TreeLoader | undefined> {
  const { checkpointDir } = layoutOf(dataDir, dataDir)
  return (await bytesBelow(checkpointDir)) >= largeBytes ? new TreeLoader() : undefined
}

/**
 * A thread that loads a checkpoint, once. To be made as early as possible, as it takes some time to begin. It ends with `load`, or
 * when it is stopped, which has to be done if there is nothing for it to load.
 */
export class TreeLoader {
  readonly #worker: Worker
  /** Resolves when the thread needs the files no more. */
  readonly #read: Promise<void>
  readonly #loaded: Promise<Tree>
  #progress: (znodes: number) => void = () => {}

  /** Tests give another program. */
  constructor(program: URL = threadProgram) {
    const worker = new Worker(program)
    this.#worker = worker
    let onRead = () => {}
    this.#loaded = new Promise((resolve, reject) => {
      worker.on('message', (report: LoaderReport) => {
        switch (report.type) {
          case 'progress':
            this.#progress(report.znodes)
            break
          case 'read':
            onRead()
            break
          case 'loaded':
            resolve(Tree.from(report.parts))
            break
          case 'failed': {
            const { kind, path, message, remedy, cause } = report
            reject(new StorageError(kind, path, message, remedy, cause))
            break
          }
        }
      })
      worker.once('error', (cause: Error) =>
        reject(new Error(`the thread that loads the checkpoint has failed: ${cause.message}`, { cause })),
      )
      // After all that it told, and its error.
      worker.once('exit', () =>
        reject(new Error('the thread that loads the checkpoint has ended before it was done')),
      )
    })
    this.#read = new Promise((resolve, reject) => {
      onRead = resolve
      this.#loaded.catch(reject)
    })
    // Who waits for `load` is told.
    this.#read.catch(() => {})
  }

  /**
   * The tree of the newest checkpoint, which there must be and which nobody has loaded yet (both asserted). Rejects as `loadTree`,
   * or with another error if the thread ends before it is done.
   */
  async load(store: FoundCheckpoint, dataDir: string, logger: Logger, clock: Clock): Promise<Tree> {
    const { meta } = store
    assert(meta !== undefined, 'there is no checkpoint to load')
    const { progress, done } = reportLoading(meta, logger, clock)
    this.#progress = progress
    try {
      await store.loadFiles(async (files) => {
        const task: LoaderTask = { files, meta, dataDir }
        this.#worker.postMessage(task)
        await this.#read
      })
      const tree = await this.#loaded
      done()
      return tree
    } catch (error) {
      await this.stop()
      throw error
    }
  }

  /** Ends the thread, whatever it is doing. */
  async stop(): Promise<void> {
    await this.#worker.terminate()
  }
}

// A checkpoint on disk that is loaded in this thread and in one of its own: the trees, what is said about it and the errors
// are the same.
import assert from 'node:assert/strict'
import { mkdir, open, readdir, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { createLogger } from '../../src/base/log.ts'
import type { Clock } from '../../src/node/clock.ts'
import { loadTree } from '../../src/node/load.ts'
import { TreeLoader, treeLoaderFor } from '../../src/node/tree-loader.ts'
import { openStorage } from '../../src/storage/open.ts'
import { type CheckpointMeta, type FoundCheckpoint, StorageError } from '../../src/storage/types.ts'
import { Applier } from '../../src/tree/apply.ts'
import { ImageWriter } from '../../src/tree/image.ts'
import { Tree } from '../../src/tree/tree.ts'
import { copyOf, openIn, scratchDir, writtenBytes } from '../support/disk-scratch.ts'
import { assertSameState, checkTree, stateOfTree } from '../support/tree-state.ts'
import { batchOf, create, createTtl, type Request, remove, setData } from '../support/tree-transactions.ts'

/** More than there are records between two lines of progress. */
const sessions = 300
const znodes = 1000
/** Of a znode; all of them are several tables. */
const dataBytes = 5000

type Ask = (requests: readonly Request[], session?: number) => void

/** Data of a server that was stopped; `last` may change what its last checkpoint says of itself. */
async function dataOf(
  t: TestContext,
  last = (meta: CheckpointMeta): CheckpointMeta => meta,
): Promise<{ readonly dir: string; readonly state: readonly string[] }> {
  const dir = await scratchDir(t)
  const { storage, tree, ask } = await serverIn(t, dir)
  await storage.log.append([{ prev: 0, first: 1, last: 10_000, bytes: Buffer.alloc(0) }])
  const checkpoint = async (change = (meta: CheckpointMeta) => meta) => {
    const image = new ImageWriter(tree, storage.checkpoint.begin())
    while (image.advance(1000));
    await storage.checkpoint.commit(change({ zxid: tree.zxid, ...image.totals, state: image.state }))
    image.done()
  }
  for (let i = 0; i < sessions; i++) ask([{ type: 'createSession', timeout: 4000 + i }], 100 + i)
  const names = Array.from({ length: znodes }, (_, i) => `/znode-with-a-long-name-${i}`)
  ask(names.map((name, i) => create(name, String(i % 10).repeat(dataBytes))))
  ask([create('/e', 'ephemeral', 1), createTtl('/t', 1000), create('/zookeeper/quota/t')])
  await checkpoint()
  ask(names.slice(0, 100).map((name) => remove(name)))
  ask([setData('/t', 'again')])
  await checkpoint(last)
  const state = stateOfTree(tree)
  await storage.close()
  return { dir, state }
}

async function serverIn(t: TestContext, dir: string) {
  const storage = await openIn(t, dir)
  const tree = new Tree()
  tree.initialize()
  const applier = new Applier(tree)
  const ask: Ask = (requests, session = 100) => {
    for (const request of requests) {
      applier.apply(batchOf([{ session, ids: [], request }], 1_700_000_000_000), 0, tree.zxid + 1, false)
      assert.equal(applier.err, 0, JSON.stringify(request).slice(0, 200))
    }
  }
  ask([{ type: 'settings', rulesVersion: 1, id: Buffer.alloc(16, 1), secret: Buffer.alloc(32, 2) }])
  return { storage, tree, ask }
}

type Load = (
  store: FoundCheckpoint,
  ...rest: [string, ReturnType<typeof createLogger>, Clock]
) => Promise<Tree>

const here: Load = async (store, ...rest) => {
  const tree = new Tree()
  await loadTree(tree, store, ...rest)
  return tree
}
/** Where the head of the checkpoint is lost with damage there is nothing to load, and nothing for a thread. */
const inThread: Load = (store, ...rest) =>
  store.meta === undefined ? here(store, ...rest) : new TreeLoader().load(store, ...rest)

/** Opens the data in `dir`; what it has loaded or thrown, and the log. */
async function loaded(dir: string, load: Load) {
  const lines: string[] = []
  const logger = createLogger({
    level: 'info',
    pretty: false,
    destination: { write: (line) => void lines.push(line.replace(/"time":"[^"]*",/, '')) },
  })
  // A second from one look to the next: each chance to say something is used.
  let now = 0
  const clock = { now: () => (now += 1000) } as Clock
  let loading: Promise<Tree> | undefined
  const onCheckpoint = async (store: FoundCheckpoint) => {
    loading = load(store, dir, logger, clock)
    await loading
  }
  try {
    const storage = await openStorage({ dataDir: dir, logDir: dir, onCheckpoint })
    try {
      return { tree: await loading, lines, error: undefined }
    } finally {
      await storage.close()
    }
  } catch (opening) {
    // What loading has thrown comes before what opening has, as the server has it.
    const error = (await loading?.catch((error: unknown) => error)) ?? opening
    return { tree: undefined, lines, error }
  }
}

/** An error with all that an operator sees of it. */
function shown(error: unknown): unknown {
  if (error === undefined) return undefined
  assert.ok(error instanceof StorageError, `${error}`)
  const { kind, path, message, remedy, cause } = error
  return { kind, path, message, remedy, cause: cause instanceof Error ? cause.message : cause }
}

describe('a checkpoint that is loaded in a thread of its own', () => {
  it('is the same tree, with the same lines in the log', async (t) => {
    const { dir, state } = await dataOf(t)
    const copy = await copyOf(t, dir)
    const aside = await loaded(dir, inThread)
    const main = await loaded(copy, here)
    for (const { tree, error } of [aside, main]) {
      assert.equal(error, undefined)
      assert.ok(tree !== undefined)
      assertSameState(stateOfTree(tree), state, 'loaded')
      checkTree(tree)
    }
    assert.deepEqual(aside.lines, main.lines)
    const said = (text: string) => aside.lines.filter((line) => line.includes(text)).length
    assert.ok(said('loading the checkpoint') >= 2, aside.lines.join(''))
    assert.equal(said('checkpoint loaded'), 1)
  })

  it('fails with the same error where the files are damaged', async (t) => {
    const { dir } = await dataOf(t)
    const scratch = await scratchDir(t)
    const files = join('zabd', 'checkpoint')
    const outcomes = { refused: 0, loaded: 0 }
    for (const name of await readdir(join(dir, files))) {
      if (/^(LOCK|LOG|LOG\.old)$/.test(name)) continue
      const size = await writtenBytes(join(dir, files, name))
      for (const damage of damagesOf(size)) {
        const [aside, main] = await Promise.all(
          [inThread, here].map(async (load) => {
            const copy = await copyOf(t, dir)
            await damage(join(copy, files, name))
            const { error, tree } = await loaded(copy, load)
            const told = JSON.stringify(shown(error) ?? stateOfTree(tree!))?.replaceAll(copy, scratch)
            outcomes[error === undefined ? 'loaded' : 'refused']++
            return told
          }),
        )
        assert.equal(aside, main, `${name} of ${size} bytes, ${damage}`)
      }
    }
    assert.ok(outcomes.refused > 20, JSON.stringify(outcomes))
  })

  it('fails with the same error where its records are not those of its head', async (t) => {
    const changes: ((meta: CheckpointMeta) => CheckpointMeta)[] = [
      (meta) => ({ ...meta, nodes: meta.nodes + 1 }),
      (meta) => ({ ...meta, digestLow: meta.digestLow ^ 1 }),
      (meta) => ({ ...meta, state: { ...(meta.state as object), sessions: 1 } }),
    ]
    const kinds = new Set<string>()
    for (const change of changes) {
      const { dir } = await dataOf(t, change)
      const copy = await copyOf(t, dir)
      const aside = shown((await loaded(dir, inThread)).error)
      const main = shown((await loaded(copy, here)).error)
      assert.equal(JSON.stringify(aside).replaceAll(dir, copy), JSON.stringify(main))
      assert.match(JSON.stringify(main), /"corrupt".*can not be loaded/)
      kinds.add(JSON.stringify(main))
    }
    assert.equal(kinds.size, changes.length)
  })

  it('has one only if it is large', async (t) => {
    const dir = await scratchDir(t)
    assert.equal(await treeLoaderFor(dir), undefined)
    const checkpointDir = join(dir, 'zabd', 'checkpoint')
    await mkdir(checkpointDir, { recursive: true })
    await writeFile(join(checkpointDir, '000005.ldb'), '')
    assert.equal(await treeLoaderFor(dir), undefined)
    await truncate(join(checkpointDir, '000005.ldb'), 100e6)
    const loader = await treeLoaderFor(dir)
    assert.ok(loader !== undefined)
    await loader.stop()
  })

  it('is not loaded when the thread is stopped, and nobody has the files then', async (t) => {
    const { dir, state } = await dataOf(t)
    const copy = await copyOf(t, dir)
    const { error } = await loaded(dir, async (store, ...rest) => {
      const loader = new TreeLoader()
      const loading = loader.load(store, ...rest)
      await loader.stop()
      return await loading
    })
    assert.match(`${error}`, /^Error: the thread that loads the checkpoint has ended before it was done$/)
    for (const data of [dir, copy])
      assertSameState(stateOfTree((await loaded(data, inThread)).tree!), state, 'loaded')
  })

  it('is not loaded when the thread fails', async (t) => {
    const { dir } = await dataOf(t)
    const broken = new URL("data:text/javascript,throw new RangeError('out of something')")
    const { error } = await loaded(dir, (store, ...rest) => new TreeLoader(broken).load(store, ...rest))
    assert.ok(error instanceof Error && error.cause instanceof RangeError, `${error}`)
    assert.equal(error.message, 'the thread that loads the checkpoint has failed: out of something')
  })
})

function damagesOf(size: number): ((path: string) => Promise<void>)[] {
  const places = [0, 0.2, 0.4, 0.6, 0.8, 0.97].map((part) => Math.floor(part * size))
  return [
    ...places.map((at) => (path: string) => flip(path, at)),
    ...[0, Math.floor(size / 2), size - 1].map((bytes) => (path: string) => truncate(path, bytes)),
    (path) => rm(path),
  ]
}

async function flip(path: string, at: number): Promise<void> {
  const file = await open(path, 'r+')
  try {
    const byte = Buffer.alloc(1)
    await file.read(byte, 0, 1, at)
    byte[0]! ^= 4
    await file.write(byte, 0, 1, at)
  } finally {
    await file.close()
  }
}

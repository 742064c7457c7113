// What checkpoints of a large tree cost: encoding and writing all of it, a part of it, and loading it in a fresh process,
// with the memory that takes. Usage: node dist/bench/checkpoint.js [znodes] [directory] (default: a million, in the
// system's temporary directory)
import { execFileSync } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { openStorage } from '../src/storage/open.ts'
import type { Storage } from '../src/storage/types.ts'
import { ImageReader, type ImageState, ImageWriter } from '../src/tree/image.ts'
import type { NodeRef } from '../src/tree/store.ts'
import { Tree } from '../src/tree/tree.ts'

const dataBytes = 100
const perParent = 1000
const sliceMs = 1
const sliceSteps = 64

function line(name: string, value: number, unit: string): void {
  console.log(`  ${name.padEnd(52)}${value.toFixed(unit === 'MiB' ? 0 : 1).padStart(10)} ${unit}`)
}

/** Calls `work` and prints its wall-clock and CPU time. */
async function time<T>(name: string, work: () => Promise<T>): Promise<T> {
  const begin = performance.now()
  const cpu = process.cpuUsage()
  const result = await work()
  const { user, system } = process.cpuUsage(cpu)
  line(name, performance.now() - begin, 'ms')
  line('  CPU of all threads', (user + system) / 1000, 'ms')
  return result
}

/** A tree like that of compare.sh: /fill/d00000/n00000000 and so on. */
function fill(count: number): { tree: Tree; nodes: NodeRef[] } {
  const tree = new Tree()
  tree.initialize()
  const data = Buffer.alloc(dataBytes, 'data ')
  const nodes: NodeRef[] = []
  const add = (parent: NodeRef, name: string) => {
    const bytes = Buffer.from(name)
    const time = 1_700_000_000_000 + nodes.length
    return tree.insert(parent, bytes, 0, bytes.length, 0, 0, 0, data, 0, data.length, nodes.length + 1, time)
  }
  const top = add(tree.store.root, 'fill')
  let parent = top
  for (let i = 0; i < count; i++) {
    if (i % perParent === 0) parent = add(top, `d${String(i / perParent).padStart(5, '0')}`)
    nodes.push(add(parent, `n${String(i).padStart(8, '0')}`))
  }
  tree.zxid = nodes.length
  return { tree, nodes }
}

/** Makes a checkpoint as node/checkpointer.ts does, and prints what it takes. */
async function checkpoint(name: string, { checkpoint }: Storage, tree: Tree): Promise<void> {
  let longest = 0
  let slices = 0
  let encodeMs = 0
  let bytes = 0
  tree.digest()
  await time(name, async () => {
    const begun = performance.now()
    const sink = checkpoint.begin()
    const image = new ImageWriter(tree, sink)
    longest = performance.now() - begun
    for (let more = true; more; ) {
      const begin = performance.now()
      do more = image.advance(sliceSteps)
      while (more && performance.now() < begin + sliceMs)
      const took = performance.now() - begin
      encodeMs += took
      slices++
      longest = Math.max(longest, took)
      await sink.drained()
      await new Promise(setImmediate)
    }
    bytes = sink.bytes
    await checkpoint.commit({ zxid: tree.zxid, ...image.totals, state: image.state })
    image.done()
  })
  line(`  encoding, ${slices} slices, ${(bytes / 2 ** 20).toFixed(0)} MiB`, encodeMs, 'ms')
  line('  longest slice', longest, 'ms')
}

async function residentMiB(): Promise<Record<string, number>> {
  const text = await readFile('/proc/self/status', 'latin1').catch(() => '')
  const sizes: Record<string, number> = {}
  for (const [, name, kib] of text.matchAll(/^(VmRSS|RssAnon|RssFile):\s+(\d+) kB$/gm))
    sizes[name as string] = Number(kib) / 1024
  return sizes
}

/** In a process of its own: loads what the other one wrote. */
async function load(dir: string): Promise<void> {
  const before = await residentMiB()
  const storage = await time('open', () => openStorage({ dataDir: dir, logDir: dir }))
  const { meta } = storage.checkpoint
  if (meta === undefined) throw new Error('there is no checkpoint')
  const tree = new Tree()
  await time('load', async () => {
    const reader = new ImageReader(tree, meta.nodes)
    const begin = performance.now()
    await storage.checkpoint.load((key, value, verified) => reader.record(key, value, verified))
    const read = performance.now()
    reader.finish(meta, meta.state as ImageState, meta.zxid)
    line('  records', read - begin, 'ms')
    line('  links and index', performance.now() - read, 'ms')
  })
  const after = await residentMiB()
  line('reserved by the store', tree.store.reservedBytes / 2 ** 20, 'MiB')
  for (const [name, size] of Object.entries(after)) {
    line(`${name} before`, before[name] ?? 0, 'MiB')
    line(`${name} after`, size, 'MiB')
  }
  await storage.close()
}

async function run(count: number, parentDir: string): Promise<void> {
  const dir = await mkdtemp(join(parentDir, 'zabd-bench-'))
  try {
    console.log(`${count} znodes of ${dataBytes} B`)
    const { tree, nodes } = fill(count)
    const storage = await openStorage({ dataDir: dir, logDir: dir })
    await storage.log.append([{ prev: 0, first: 1, last: tree.zxid, bytes: Buffer.alloc(0) }])
    await checkpoint('checkpoint of all', storage, tree)
    const data = Buffer.alloc(dataBytes, 'other data ')
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < count / 20; i++) {
        const node = nodes[(i * 7919 + round * 104_729) % count] as NodeRef
        tree.replaceData(node, data, 0, data.length, tree.zxid, 1_700_000_000_000)
      }
      await checkpoint('checkpoint of one in twenty, all over', storage, tree)
    }
    line('bytes on disk', (await storage.dataDirBytes()) / 2 ** 20, 'MiB')
    await time('close', () => storage.close())
    console.log('in a fresh process')
    const self = fileURLToPath(import.meta.url)
    execFileSync(process.execPath, [...process.execArgv, self, '--load', dir], { stdio: 'inherit' })
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}

const [first, second] = process.argv.slice(2)
if (first === '--load') await load(second as string)
else await run(Number(first ?? 1_000_000), second ?? tmpdir())

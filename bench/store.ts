// What a znode costs in memory and what the store's operations cost in time, for the layout of STYLE.md 6(b):
// /app/svc-k/node-i with 100 B of data. Usage: node dist/bench/store.js [count ...]
// Times are CPU time of this process, the collection's is wall-clock: compare runs on a shared machine.
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { viewOf } from '../src/base/view.ts'
import { createFlatStore } from '../src/tree/flat-store.ts'
import { NONE, type NodeRef, type Store } from '../src/tree/store.ts'

const services = 100
const samples = 200_000
const warmSamples = 1_000
const dataBytes = 100

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/** Paths as bytes, back to back in one buffer: the benchmark itself must not make garbage. */
interface Paths {
  readonly bytes: Buffer
  readonly ends: Int32Array
}

interface Usage {
  readonly rss: number
  readonly heap: number
}

function usage(): Usage {
  for (let i = 0; i < 3; i++) collect()
  const { rss, heapUsed } = process.memoryUsage()
  return { rss, heap: heapUsed }
}

function cpuNs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) * 1000
}

function line(name: string, value: number, unit: string): void {
  console.log(`  ${name.padEnd(44)}${value.toFixed(1).padStart(10)} ${unit}`)
}

/** Runs `work` once to warm up and then twice; prints the better nanoseconds per operation. */
function time(name: string, operations: number, work: () => void): void {
  work()
  let best = Number.POSITIVE_INFINITY
  for (let i = 0; i < 2; i++) {
    const start = cpuNs()
    work()
    best = Math.min(best, (cpuNs() - start) / operations)
  }
  line(name, best, 'ns')
}

function paths(count: number, draw: (i: number) => number, total: number): Paths {
  const bytes = Buffer.alloc(count * 40)
  const ends = new Int32Array(count)
  let end = 0
  for (let i = 0; i < count; i++) {
    const number = draw(i) % total
    end += bytes.write(`/app/svc-${number % services}/node-${number}`, end, 'latin1')
    ends[i] = end
  }
  return { bytes, ends }
}

function findAll(store: Store, { bytes, ends }: Paths): NodeRef {
  let last: NodeRef = NONE
  let start = 0
  for (let i = 0; i < ends.length; i++) {
    const end = ends[i]!
    last = store.find(bytes, start, end)
    if (last === NONE) throw new Error(`not found: ${bytes.toString('latin1', start, end)}`)
    start = end
  }
  return last
}

/** Writes `node-<number>` at the start of `target`; returns its length. */
function writeName(number: number, target: Buffer): number {
  let digits = 1
  for (let limit = 10; number >= limit; limit *= 10) digits++
  let rest = number
  for (let at = 4 + digits; at > 4; at--) {
    target[at] = 0x30 + (rest % 10)
    rest = Math.floor(rest / 10)
  }
  return 5 + digits
}

function create(store: Store, parent: NodeRef, name: string): NodeRef {
  const bytes = Buffer.from(name)
  return store.create(parent, bytes, 0, bytes.length)
}

function run(total: number): void {
  console.log(`\n${total} znodes`)
  // An odd multiplier walks through all numbers in an order that no cache can guess.
  const random = paths(samples, (i) => (i * 2_654_435_761) % 4_294_967_291, total)
  const warm = paths(warmSamples, (i) => (i * 2_654_435_761) % 4_294_967_291, total)
  const inOrder = paths(Math.min(samples, total), (i) => i, total)
  const data = Buffer.alloc(4096, 'x')
  const name = Buffer.from('node-0000000000')
  const target = Buffer.alloc(4096)
  const targetView = viewOf(target)

  const before = usage()
  const store = createFlatStore()
  const app = create(store, store.root, 'app')
  const parents: NodeRef[] = []
  for (let k = 0; k < services; k++) parents.push(create(store, app, `svc-${k}`))
  let slowest = 0
  const begun = cpuNs()
  let previous = begun
  for (let i = 0; i < total; i++) {
    const node = store.create(parents[i % services]!, name, 0, writeName(i, name))
    store.setData(node, data, 0, dataBytes)
    if ((i & 63) === 0) {
      const now = cpuNs()
      slowest = Math.max(slowest, now - previous)
      previous = now
    }
  }
  const loaded = cpuNs() - begun
  const after = usage()
  line('memory: RSS growth per znode', (after.rss - before.rss) / total, 'B')
  line('memory: JavaScript heap growth per znode', (after.heap - before.heap) / total, 'B')
  line('memory: reserved per znode', store.reservedBytes / total, 'B')
  line('create + setData 100 B (while growing)', loaded / total, 'ns')
  line('longest 64 creates in a row', slowest / 1e6, 'ms')
  const collectionStart = process.hrtime.bigint()
  collect()
  line('full garbage collection', Number(process.hrtime.bigint() - collectionStart) / 1e6, 'ms')

  time('find, 3 components, warm', warmSamples * 100, () => {
    for (let i = 0; i < 100; i++) findAll(store, warm)
  })
  time('find, 3 components, all over the store', samples, () => void findAll(store, random))
  time('find, 3 components, in order of creation', inOrder.ends.length, () => void findAll(store, inOrder))
  const absent = paths(samples, (i) => total + i, 2 * total + samples)
  time('find, no such znode, all over the store', samples, () => {
    for (let i = 0, start = 0; i < samples; start = absent.ends[i]!, i++) {
      if (store.find(absent.bytes, start, absent.ends[i]!) !== NONE) throw new Error('found')
    }
  })
  const texts: string[] = []
  for (let i = 0, start = 0; i < warmSamples; start = warm.ends[i]!, i++) {
    texts.push(warm.bytes.toString('latin1', start, warm.ends[i]!))
  }
  time('findPath, warm', warmSamples * 50, () => {
    for (let i = 0; i < 50; i++) for (const text of texts) store.findPath(text)
  })
  const nodes = new Int32Array(samples)
  for (let i = 0, start = 0; i < samples; start = random.ends[i]!, i++) {
    nodes[i] = store.find(random.bytes, start, random.ends[i]!)
  }
  const warmNodes = nodes.subarray(0, warmSamples)
  time('path as string, warm', warmSamples * 50, () => {
    for (let i = 0; i < 50; i++) for (const node of warmNodes) store.path(node)
  })
  time('read a whole stat, warm', warmSamples * 100, () => {
    let sum = 0
    for (let i = 0; i < 100; i++) for (const node of warmNodes) sum += readStat(store, node)
    if (Number.isNaN(sum)) throw new Error('no sum')
  })
  time('setData 100 B in place, all over the store', samples, () => {
    for (const node of nodes) store.setData(node, data, 0, dataBytes)
  })
  time('setChange, all over the store', samples, () => {
    for (const node of nodes) store.setChange(node, store.version(node) + 1, node, node)
  })
  time('copyData 100 B, all over the store', samples, () => {
    for (const node of nodes) store.copyData(node, targetView, 0)
  })
  time('setData alternating 100 and 300 B, warm', warmSamples * 20, () => {
    for (let i = 0; i < 10; i++) {
      for (const node of warmNodes) store.setData(node, data, 0, 300)
      for (const node of warmNodes) store.setData(node, data, 0, dataBytes)
    }
  })
  time('walk the children, per child', total, () => {
    for (const parent of parents) {
      for (let node = store.firstChild(parent); node !== NONE; ) node = store.nextSibling(node)
    }
  })
  time('remove + create + setData, all over the store', samples, () => {
    for (let i = 0; i < samples; i++) {
      const node = nodes[i]!
      const parent = store.parent(node)
      const end = store.copyName(node, name, 0)
      store.remove(node)
      nodes[i] = store.create(parent, name, 0, end)
      store.setData(nodes[i]!, data, 0, dataBytes)
    }
  })
  for (const parent of parents) {
    for (let node = store.firstChild(parent); node !== NONE; node = store.nextSibling(node)) {
      store.setChange(node, 1, node, node)
    }
  }
  line('memory: reserved when all were changed, per znode', store.reservedBytes / total, 'B')
  removeMost(store, parents, total)
}

function readStat(store: Store, node: NodeRef): number {
  return (
    store.czxid(node) +
    store.mzxid(node) +
    store.ctime(node) +
    store.mtime(node) +
    store.version(node) +
    store.cversion(node) +
    store.aversion(node) +
    store.owner(node) +
    store.kind(node) +
    store.dataLength(node) +
    store.numChildren(node) +
    store.pzxid(node)
  )
}

/** Removes nine in ten, all over the store: what is left in the slab must be moved together. */
function removeMost(store: Store, parents: NodeRef[], total: number): void {
  const reserved = store.reservedBytes
  const begun = cpuNs()
  let removed = 0
  for (const parent of parents) {
    let i = 0
    for (let node = store.firstChild(parent); node !== NONE; i++) {
      const next = store.nextSibling(node)
      if (i % 10 !== 0) {
        store.remove(node)
        removed++
      }
      node = next
    }
  }
  line('remove, nine in ten', (cpuNs() - begun) / removed, 'ns')
  line('memory: reserved before, per znode', reserved / total, 'B')
  line('memory: reserved after, per znode left', store.reservedBytes / store.count, 'B')
}

const counts = process.argv.slice(2).map(Number)
for (const count of counts.length > 0 ? counts : [100_000, 1_000_000]) run(count)

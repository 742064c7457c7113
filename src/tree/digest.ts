// The digest of a znode: CRC-32 over path, data and stat (storage-v2.md section 4). Computed where the bytes lie: at every
// 128th transaction all znodes that changed since need theirs. It changes nothing and keeps no sum; that is the tree's.
import { crcByte, crcEnd, crcInt, crcInts, crcLong, crcStart } from '../base/crc32.ts'
import { NONE, NodeKind, type NodeRef, NodeStat, type Store } from './store.ts'

const slash = 0x2f
const half = 2 ** 32
/** Parents whose path is remembered; a power of two. */
const parentsKept = 256
/** Takes the place of a running CRC below /zookeeper: what lies there has no part in the tree's digest. */
const outside = half
/** Holds nothing between calls. */
const stat = new NodeStat()

/** Computes digests of znodes, one round after another; between two rounds the tree may change. */
export class NodeDigests {
  #store: Store
  #system: NodeRef = NONE
  /** By their reference's last bits: parents, and the running CRC of their paths (or `outside`). */
  readonly #parents = new Int32Array(parentsKept)
  readonly #paths = new Float64Array(parentsKept)
  readonly #unknown: NodeRef[] = []

  constructor(store: Store) {
    this.#store = store
    this.begin(store)
  }

  /** A round begins: `of` is for znodes of this store until it changes. */
  begin(store: Store): void {
    this.#store = store
    this.#system = store.findPath('/zookeeper')
    this.#parents.fill(NONE)
  }

  /** 0 below /zookeeper. */
  of(node: NodeRef): number {
    const store = this.#store
    let crc: number = crcStart
    if (node !== store.root) {
      const parent = this.#parentPath(store.parent(node))
      if (parent === outside) return 0
      crc = store.crcOfName(node, crcByte(parent, slash))
    }
    crc = store.crcOfData(node, crc)
    crc = this.#crcOfStat(crc, node)
    return crcEnd(this.#crcOfOwner(crc, node))
  }

  /** The running CRC of a znode's path as its children have it: the root's is empty. */
  #parentPath(node: NodeRef): number {
    const store = this.#store
    const unknown = this.#unknown
    let above = node
    let path: number | undefined = this.#known(above)
    for (; path === undefined; path = this.#known(above)) {
      unknown.push(above)
      above = store.parent(above)
    }
    for (let next = unknown.pop(); next !== undefined; next = unknown.pop()) {
      if (path !== outside) path = store.crcOfName(next, crcByte(path, slash))
      const slot = next & (parentsKept - 1)
      this.#parents[slot] = next
      this.#paths[slot] = path
    }
    return path
  }

  #known(node: NodeRef): number | undefined {
    if (node === this.#store.root) return crcStart
    if (node === this.#system) return outside
    const slot = node & (parentsKept - 1)
    return this.#parents[slot] === node ? this.#paths[slot] : undefined
  }

  #crcOfStat(crc: number, node: NodeRef): number {
    this.#store.readStat(node, stat)
    const { czxid, mzxid, pzxid, ctime, mtime } = stat
    // In halves, and not by crcLong: V8 does not inline it here, and would make an object of each number to hand it over.
    let running = crcInts(crc, Math.floor(czxid / half), czxid | 0)
    running = crcInts(running, Math.floor(mzxid / half), mzxid | 0)
    running = crcInts(running, Math.floor(pzxid / half), pzxid | 0)
    running = crcInts(running, Math.floor(ctime / half), ctime | 0)
    running = crcInts(running, Math.floor(mtime / half), mtime | 0)
    running = crcInts(running, stat.version, stat.cversion)
    return crcInt(running, stat.aversion)
  }

  #crcOfOwner(crc: number, node: NodeRef): number {
    const store = this.#store
    switch (store.kind(node)) {
      case NodeKind.persistent:
        return crcInts(crc, 0, 0)
      case NodeKind.container:
        return crcInts(crc, -0x80000000, 0)
      case NodeKind.ttl: {
        const ttl = store.owner(node)
        return crcInts(crc, 0xff000000 | Math.floor(ttl / half), ttl | 0)
      }
      default:
        return crcLong(crc, store.owner(node))
    }
  }
}

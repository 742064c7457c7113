// Quotas (semantics.md rules 64-66): limits and usage are ordinary znodes below /zookeeper/quota. The usage text is
// the only record of what is used, so that a restarted server counts on exactly like the others.
import { NONE, type NodeRef } from './store.ts'
import type { Tree } from './tree.ts'

const base = '/zookeeper/quota'
const baseBytes = Buffer.from(`${base}/`)
const limitsName = 'zookeeper_limits'
const statsName = 'zookeeper_stats'

/** Parsed text of a limits or usage znode; -1 = not given. */
export type QuotaText = { count: number; bytes: number; countHardLimit: number; byteHardLimit: number }

/** Parses `count=N,bytes=N=;byteHardLimit=N;countHardLimit=N` in any order; what can not be read is -1. */
export function parseQuota(text: string): QuotaText {
  const quota: QuotaText = { count: -1, bytes: -1, countHardLimit: -1, byteHardLimit: -1 }
  for (const [, key, value] of text.matchAll(/(\w+)=(-?\d+)/g)) {
    if (key === undefined || !Object.hasOwn(quota, key)) continue
    const number = Number(value)
    quota[key as keyof QuotaText] = Number.isSafeInteger(number) ? number : -1
  }
  return quota
}

/** Which subtrees have a quota, and the accounting. */
export class QuotaTable {
  /** Paths with a limits znode. */
  readonly paths = new Set<string>()
  readonly #tree: Tree

  constructor(tree: Tree) {
    this.#tree = tree
  }

  /** Whether a path lies below /zookeeper/quota, where creating and deleting znodes changes the quotas themselves. */
  isQuotaPath(buf: Uint8Array, start: number, end: number): boolean {
    if (end - start < baseBytes.length || buf[start + 1] !== 0x7a) return false
    for (let i = 0; i < baseBytes.length; i++) if (buf[start + i] !== baseBytes[i]) return false
    return true
  }

  /** A znode below /zookeeper/quota was created. */
  quotaNodeCreated(path: string): void {
    const target = targetOf(path)
    if (target === undefined) return
    if (path.endsWith(`/${limitsName}`)) this.#addPath(target)
    else if (path.endsWith(`/${statsName}`)) this.#recount(target, this.#tree.store.findPath(path))
  }

  /** A znode below /zookeeper/quota is gone. */
  quotaNodeDeleted(path: string): void {
    const target = targetOf(path)
    if (target !== undefined && path.endsWith(`/${limitsName}`) && this.paths.delete(target))
      this.#tree.rememberQuota(target, false)
  }

  #addPath(target: string): void {
    if (this.paths.has(target)) return
    this.paths.add(target)
    this.#tree.rememberQuota(target, true)
  }

  /** Finds the limits znodes of a loaded tree. */
  reload(): void {
    const { store } = this.#tree
    this.paths.clear()
    const root = store.findPath(base)
    if (root === NONE) return
    this.#tree.forEach((node) => {
      const path = store.path(node)
      const target = targetOf(path)
      if (target !== undefined && path.endsWith(`/${limitsName}`)) this.paths.add(target)
    }, root)
  }

  /** The deepest path with a quota that is `path` or above it. */
  prefixOf(path: string): string | undefined {
    for (let end = path.length; end > 0; end = path.lastIndexOf('/', end - 1)) {
      const prefix = path.slice(0, end)
      if (this.paths.has(prefix)) return prefix
    }
    return undefined
  }

  /**
   * Whether a change of usage below `path` stays within the limits. A hard limit takes the place of the soft one; only
   * a hard one refuses (`enforce`), a soft one leaves a notice.
   */
  allows(path: string, bytesDiff: number, countDiff: number, enforce: boolean): boolean {
    const prefix = this.prefixOf(path)
    if (prefix === undefined) return true
    const limits = this.#read(`${base}${prefix}/${limitsName}`)
    const used = this.#read(`${base}${prefix}/${statsName}`)
    if (limits === undefined || used === undefined) return true
    const count = this.#within(
      prefix,
      'count',
      used.count,
      countDiff,
      limits.count,
      limits.countHardLimit,
      enforce,
    )
    const bytes = this.#within(
      prefix,
      'bytes',
      used.bytes,
      bytesDiff,
      limits.bytes,
      limits.byteHardLimit,
      enforce,
    )
    return count && bytes
  }

  #within(
    prefix: string,
    what: string,
    used: number,
    diff: number,
    soft: number,
    hard: number,
    enforce: boolean,
  ): boolean {
    const limit = hard > -1 ? hard : soft
    if (diff <= 0 || limit < 0 || used + diff <= limit) return true
    if (hard > -1 && enforce) return false
    this.#tree.notices.push(`quota exceeded: ${prefix} has ${what} ${used + diff}, limit ${limit}`)
    return true
  }

  /** Books a change of usage below `path`. */
  book(path: string, bytesDiff: number, countDiff: number): void {
    const prefix = this.prefixOf(path)
    if (prefix === undefined) return
    const node = this.#tree.store.findPath(`${base}${prefix}/${statsName}`)
    if (node === NONE) return
    const used = parseQuota(this.#text(node))
    this.#tree.overwriteData(node, `count=${used.count + countDiff},bytes=${used.bytes + bytesDiff}`)
  }

  #recount(target: string, stats: NodeRef): void {
    const { store } = this.#tree
    const top = store.findPath(target)
    let count = 0
    let bytes = 0
    if (top !== NONE) {
      this.#tree.forEach((node) => {
        count++
        bytes += Math.max(store.dataLength(node), 0)
      }, top)
    }
    this.#tree.overwriteData(stats, `count=${count},bytes=${bytes}`)
  }

  #read(path: string): QuotaText | undefined {
    const node = this.#tree.store.findPath(path)
    return node === NONE ? undefined : parseQuota(this.#text(node))
  }

  #text(node: NodeRef): string {
    return this.#tree.data(node)?.toString('utf8') ?? ''
  }
}

/** `/zookeeper/quota/a/b/zookeeper_limits` limits `/a/b`; a quota on the root does not exist. */
function targetOf(path: string): string | undefined {
  if (!path.startsWith(`${base}/`)) return undefined
  const target = path.slice(base.length, path.lastIndexOf('/'))
  return target === '' ? undefined : target
}

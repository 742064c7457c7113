// A znode's Stat as clients get it (68 bytes, wire.md section 6).
import type { Writer } from '../jute/writer.ts'
import { NodeKind, type NodeRef, type Store } from './store.ts'

/** Appends the Stat of `node`. The client's cversion counts creations and deletions (semantics.md rule 7). */
export function writeStat(out: Writer, store: Store, node: NodeRef): void {
  const children = store.numChildren(node)
  out.long(store.czxid(node))
  out.long(store.mzxid(node))
  out.long(store.ctime(node))
  out.long(store.mtime(node))
  out.int(store.version(node))
  out.int(2 * store.cversion(node) - children)
  out.int(store.aversion(node))
  out.long(store.kind(node) === NodeKind.ephemeral ? store.owner(node) : 0)
  out.int(Math.max(store.dataLength(node), 0))
  out.int(children)
  out.long(store.pzxid(node))
}

/** Appends the data of `node` as a buffer field. */
export function writeData(out: Writer, store: Store, node: NodeRef): void {
  const length = store.dataLength(node)
  out.ensure(4 + Math.max(length, 0))
  out.int(length)
  out.pos = store.copyData(node, out.buf, out.pos)
}

/** Appends the names of the children as a vector of ustrings. */
export function writeChildren(out: Writer, store: Store, node: NodeRef): void {
  out.int(store.numChildren(node))
  for (let child = store.firstChild(node); child >= 0; child = store.nextSibling(child)) {
    const length = store.nameLength(child)
    out.ensure(4 + length)
    out.int(length)
    out.pos = store.copyName(child, out.buf, out.pos)
  }
}

// A znode's Stat as clients get it (68 bytes, wire.md section 6).
import { type Writer, writeLong } from '../jute/writer.ts'
import { NodeKind, type NodeRef, NodeStat, type Store } from './store.ts'

const statBytes = 68
/** Holds nothing between calls. */
const stat = new NodeStat()

/** Appends the Stat of `node`. The client's cversion counts creations and deletions (semantics.md rule 7). */
export function writeStat(out: Writer, store: Store, node: NodeRef): void {
  store.readStat(node, stat)
  out.ensure(statBytes)
  const { view, pos } = out
  writeLong(view, pos, stat.czxid)
  writeLong(view, pos + 8, stat.mzxid)
  writeLong(view, pos + 16, stat.ctime)
  writeLong(view, pos + 24, stat.mtime)
  view.setInt32(pos + 32, stat.version)
  view.setInt32(pos + 36, 2 * stat.cversion - stat.numChildren)
  view.setInt32(pos + 40, stat.aversion)
  writeLong(view, pos + 44, stat.kind === NodeKind.ephemeral ? store.owner(node) : 0)
  view.setInt32(pos + 52, Math.max(stat.dataLength, 0))
  view.setInt32(pos + 56, stat.numChildren)
  writeLong(view, pos + 60, stat.pzxid)
  out.pos = pos + statBytes
}

/** Appends the data of `node` as a buffer field. */
export function writeData(out: Writer, store: Store, node: NodeRef): void {
  const length = store.dataLength(node)
  out.ensure(4 + Math.max(length, 0))
  out.int(length)
  out.pos = store.copyData(node, out.view, out.pos)
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

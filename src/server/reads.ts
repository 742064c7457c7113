// Requests that are answered from this server's own state: reads, watches, and what concerns the connection alone.
// Each writes its reply's body behind the header that the caller has begun and returns 0, or returns an error code;
// the caller then drops the body.
import { Code, ZkError } from '../base/errors.ts'
import { Op, Perm } from '../base/opcodes.ts'
import type { Reader } from '../jute/reader.ts'
import type { Writer } from '../jute/writer.ts'
import { check, type Id, maskDigest, permits } from '../tree/acl.ts'
import { writeAcls } from '../tree/acl-codec.ts'
import { writeMultiEnd } from '../tree/apply.ts'
import { writeChildren, writeData, writeStat } from '../tree/stat.ts'
import { NONE, type NodeRef } from '../tree/store.ts'
import type { Tree } from '../tree/tree.ts'
import { whoAmI } from './auth.ts'
import type { Watches } from './watches.ts'

/** A multiRead can ask for the same long data thousands of times: a longer answer is refused, bytes. */
const multiReadMax = 64 * 1024 * 1024

/** What a read needs to know. `watcher` is the connection itself. */
export type ReadContext<W extends object> = {
  readonly tree: Tree
  readonly watches: Watches<W>
  readonly watcher: W
  readonly session: number
  readonly ids: readonly Id[]
  readonly skipAcl: boolean
  /** Sends a catch-up event (setWatches) ahead of the reply. */
  catchUp(type: number, path: string): void
}

/** Whether `serveRead` knows the operation. */
export function isRead(type: number): boolean {
  return readOps.has(type)
}

const readOps: ReadonlySet<number> = new Set([
  Op.exists,
  Op.getData,
  Op.getAcl,
  Op.getChildren,
  Op.getChildren2,
  Op.multiRead,
  Op.getEphemerals,
  Op.getAllChildrenNumber,
  Op.setWatches,
  Op.setWatches2,
  Op.addWatch,
  Op.removeWatches,
  Op.checkWatches,
  Op.whoAmI,
  Op.ping,
])

/**
 * Serves one read. Returns 0 with the body written, or the error code. Throws ZkError marshallingError for a body that
 * can not be decoded.
 */
export function serveRead<W extends object>(c: ReadContext<W>, type: number, r: Reader, out: Writer): number {
  switch (type) {
    case Op.getData:
      return getData(c, r, out)
    case Op.exists:
      return exists(c, r, out)
    case Op.ping:
      return Code.ok
    case Op.getChildren:
    case Op.getChildren2:
      return getChildren(c, type, r, out)
    case Op.getAcl:
      return getAcl(c, r, out)
    case Op.multiRead:
      return multiRead(c, r, out)
    case Op.getEphemerals:
      return getEphemerals(c, r, out)
    case Op.getAllChildrenNumber:
      return getAllChildrenNumber(c, r, out)
    case Op.setWatches:
    case Op.setWatches2:
      return setWatches(c, type, r)
    case Op.addWatch:
      return addWatch(c, r, out)
    case Op.removeWatches:
    case Op.checkWatches:
      return changeWatches(c, type, r)
    case Op.whoAmI:
      return writeWhoAmI(c, out)
    default:
      throw new Error(`operation ${type} is not a read`)
  }
}

/** Reads the path field and finds its znode; '' is the root too, as in ZooKeeper. The path stays in `r.start`. */
function find<W extends object>(c: ReadContext<W>, r: Reader): NodeRef {
  const length = r.field()
  if (length < 0) throw new ZkError(Code.marshallingError, 'the path is null')
  return length === 0 ? c.tree.store.root : c.tree.store.find(r.buf, r.start, r.start + length)
}

function mayRead<W extends object>(c: ReadContext<W>, node: NodeRef): boolean {
  return c.skipAcl || check(c.tree.acls, c.tree.store.acl(node), Perm.read, c.ids)
}

function getData<W extends object>(c: ReadContext<W>, r: Reader, out: Writer): number {
  const node = find(c, r)
  const start = r.start
  const end = r.pos
  const watch = r.bool()
  if (node === NONE) return Code.noNode
  if (!mayRead(c, node)) return Code.noAuth
  if (watch) c.watches.addData(r.text(start, end), c.watcher)
  writeData(out, c.tree.store, node)
  writeStat(out, c.tree.store, node)
  return Code.ok
}

/** The only read that leaves a watch when it finds nothing (semantics.md rule 51). */
function exists<W extends object>(c: ReadContext<W>, r: Reader, out: Writer): number {
  const node = find(c, r)
  const start = r.start
  const end = r.pos
  const watch = r.bool()
  if (node === NONE) {
    for (let i = start; i < end; i++) if (r.buf[i] === 0) return Code.badArguments
    if (watch) c.watches.addData(r.text(start, end), c.watcher)
    return Code.noNode
  }
  if (!mayRead(c, node)) return Code.noAuth
  if (watch) c.watches.addData(r.text(start, end), c.watcher)
  writeStat(out, c.tree.store, node)
  return Code.ok
}

function getChildren<W extends object>(c: ReadContext<W>, type: number, r: Reader, out: Writer): number {
  const node = find(c, r)
  const start = r.start
  const end = r.pos
  const watch = r.bool()
  if (node === NONE) return Code.noNode
  if (!mayRead(c, node)) return Code.noAuth
  if (watch) c.watches.addChild(r.text(start, end), c.watcher)
  writeChildren(out, c.tree.store, node)
  if (type === Op.getChildren2) writeStat(out, c.tree.store, node)
  return Code.ok
}

/** READ or ADMIN is enough; without ADMIN digests are hidden. */
function getAcl<W extends object>(c: ReadContext<W>, r: Reader, out: Writer): number {
  const node = find(c, r)
  if (node === NONE) return Code.noNode
  const list = c.tree.acls.get(c.tree.store.acl(node))
  const allowed = (perm: number) => c.skipAcl || permits(list, perm, c.ids)
  if (!allowed(Perm.read | Perm.admin)) return Code.noAuth
  writeAcls(out, allowed(Perm.admin) ? list : maskDigest(list))
  writeStat(out, c.tree.store, node)
  return Code.ok
}

/** Independent reads, each with its own result; watch flags inside are ignored (wire.md section 7). */
function multiRead<W extends object>(c: ReadContext<W>, r: Reader, out: Writer): number {
  const types: number[] = []
  const starts: number[] = []
  for (;;) {
    const type = r.int()
    const done = r.bool()
    r.int()
    if (done) break
    if (type !== Op.getData && type !== Op.getChildren)
      throw new ZkError(Code.marshallingError, `operation ${type} inside a multiRead`)
    types.push(type)
    starts.push(r.pos)
    if (r.field() < 0) throw new ZkError(Code.marshallingError, 'the path is null')
    r.bool()
  }
  const begin = out.pos
  for (let i = 0; i < types.length; i++) {
    const type = types[i] as number
    r.pos = starts[i] as number
    const at = out.pos
    if (at - begin > multiReadMax)
      throw new ZkError(Code.marshallingError, `the answer to a multiRead exceeds ${multiReadMax} bytes`)
    out.int(type)
    out.bool(false)
    out.int(Code.ok)
    const node = find(c, r)
    const err = node === NONE ? Code.noNode : mayRead(c, node) ? Code.ok : Code.noAuth
    if (err !== Code.ok) {
      out.pos = at
      out.int(Op.error)
      out.bool(false)
      out.int(err)
      out.int(err)
    } else if (type === Op.getData) {
      writeData(out, c.tree.store, node)
      writeStat(out, c.tree.store, node)
    } else {
      writeChildren(out, c.tree.store, node)
    }
  }
  writeMultiEnd(out)
  return Code.ok
}

function getEphemerals<W extends object>(c: ReadContext<W>, r: Reader, out: Writer): number {
  const prefix = r.string()
  const all = prefix === null || prefix.trim() === '' || prefix === '/'
  const paths: string[] = []
  for (const node of c.tree.ephemeralsOf(c.session)) {
    const path = c.tree.store.path(node)
    if (all || path.startsWith(prefix)) paths.push(path)
  }
  out.strings(paths)
  return Code.ok
}

function getAllChildrenNumber<W extends object>(c: ReadContext<W>, r: Reader, out: Writer): number {
  const node = find(c, r)
  if (node === NONE) return Code.noNode
  if (!mayRead(c, node)) return Code.noAuth
  let count = -1
  if (node === c.tree.store.root) count = c.tree.store.count - 1
  else
    c.tree.forEach(() => {
      count++
    }, node)
  out.int(count)
  return Code.ok
}

/** A client that comes back replays its watches: what happened in between is told first (semantics.md rule 57). */
function setWatches<W extends object>(c: ReadContext<W>, type: number, r: Reader): number {
  const { store } = c.tree
  const since = r.long()
  const data = r.strings()
  const exist = r.strings()
  const child = r.strings()
  const persistent = type === Op.setWatches2 ? r.strings() : []
  const recursive = type === Op.setWatches2 ? r.strings() : []
  const find = (path: string) => {
    const node = path === '' ? store.root : store.findPath(path)
    return node === NONE ? undefined : { mzxid: store.mzxid(node), pzxid: store.pzxid(node) }
  }
  const lists = { data, exist, child, persistent, recursive }
  c.watches.setWatches(since, lists, find, c.watcher, (_, event, path) => c.catchUp(event, path))
  return Code.ok
}

function addWatch<W extends object>(c: ReadContext<W>, r: Reader, out: Writer): number {
  const path = r.requiredString('the path')
  c.watches.addWatch(path, c.watcher, r.int())
  out.int(Code.ok)
  return Code.ok
}

function changeWatches<W extends object>(c: ReadContext<W>, type: number, r: Reader): number {
  const path = r.requiredString('the path')
  const kind = r.int()
  const found =
    type === Op.removeWatches
      ? c.watches.remove(path, c.watcher, kind)
      : c.watches.contains(path, c.watcher, kind)
  return found ? Code.ok : Code.noWatcher
}

function writeWhoAmI<W extends object>(c: ReadContext<W>, out: Writer): number {
  const infos = whoAmI(c.ids)
  out.int(infos.length)
  for (const { scheme, user } of infos) {
    out.string(scheme)
    out.string(user)
  }
  return Code.ok
}

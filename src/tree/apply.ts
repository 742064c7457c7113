// Applies transactions: the one place where the rules of every write operation are (semantics.md sections 1-8, 11).
// Deterministic by contract: depends on the transaction and the tree alone, an error is a value, and a failed write
// changes nothing but the last zxid. Replies are encoded here, since only here the state is the right one.
import { InvariantError } from '../base/assert.ts'
import { Code, ZkError } from '../base/errors.ts'
import { CreateFlag, EventType, Op, Perm } from '../base/opcodes.ts'
import { hasNul, lastSlash, pathProblem } from '../base/paths.ts'
import { Reader } from '../jute/reader.ts'
import { Writer } from '../jute/writer.ts'
import { type Acl, check, fixAcl, type Id, OPEN, openAcl } from './acl.ts'
import { readAcls } from './acl-codec.ts'
import { type Batch, BatchOption } from './batch.ts'
import { writeStat } from './stat.ts'
import { NONE, NodeKind, type NodeRef } from './store.ts'
import { copyBytes } from './store-bytes.ts'
import type { Tree } from './tree.ts'

const maxTtl = 2 ** 40 - 1
const noBytes = Buffer.alloc(0)
const zero = 0x30
/** Longer multis are not judged beforehand: looking for repeated znodes would cost more than undoing. */
const judgedMax = 64
/** Numbers that `#judged` has for each operation. */
const judgedNumbers = 3

/** What applying a transaction came to. One object per applier, valid until the next transaction. */
export class Applier {
  readonly tree: Tree
  /** 0 or the error of the transaction. */
  err: number = Code.ok
  /** Reply body, when `err` is 0 and the caller wanted one. */
  readonly reply = new Writer(1024)

  readonly #body = new Reader()
  #wanted = false
  #zxid = 0
  #time = 0
  #options = 0
  #session = 0
  /** Writes of local sessions, which only their server knows, come as those of session 0. */
  #sessionGone = false
  #ids: readonly Id[] = []
  /** What `#judgeSet` read: the znode, where its path ends, where its data begins and how long it is. */
  #node: NodeRef = NONE
  #pathEnd = 0
  #dataAt = 0
  #dataLength = 0
  /**
   * The sets of a multi that are judged and not done yet: znode, where the data begins and how long it is; NONE in the
   * znode's place for a check. Below `#judgedEnd`, which is 0 outside of `#judgeSets` and `#doJudged`.
   */
  readonly #judged: number[] = []
  #judgedEnd = 0
  #judgedCode: number = Code.ok
  /** Path of a sequential create: the request's path and ten digits. */
  #path = Buffer.alloc(256)

  constructor(tree: Tree) {
    this.tree = tree
  }

  /**
   * Applies transaction `index` of `batch` as `zxid`, the successor of the last one. Leaves error, reply body
   * (if `wanted`) and `tree.changes`. Throws InvariantError or ZkError on a body that the rim should have refused:
   * the state is then undefined.
   */
  apply(batch: Batch, index: number, zxid: number, wanted: boolean): void {
    const tree = this.tree
    // An assertion would make its text every time.
    if (zxid <= tree.zxid) throw new InvariantError(`transaction ${zxid} is not after ${tree.zxid}`)
    this.#wanted = wanted
    this.#zxid = zxid
    this.#time = batch.time
    this.#options = batch.options
    const session = batch.sessionOf(index)
    this.#session = session
    this.#sessionGone = session !== 0 && !tree.sessions.has(session)
    this.#ids = batch.idsOf(index)
    this.reply.clear()
    tree.changes.count = 0
    this.#body.reset(batch.buf, batch.startOf(index), batch.endOf(index))
    this.err = this.#dispatch(batch.kindOf(index))
    if (this.err !== Code.ok) {
      this.reply.clear()
      tree.changes.count = 0
    }
    tree.applied(zxid)
  }

  #dispatch(kind: number): number {
    switch (kind) {
      case Op.createSession:
        this.tree.openSession(this.#session, this.#body.int())
        return Code.ok
      case Op.closeSession:
        return this.#closeSession()
      case Op.error:
        return this.#body.int()
      case Op.deleteContainer:
        return this.#deleteContainer()
      case Op.settings:
        return this.#settings()
      case Op.reconfig:
        return this.#reconfig()
      case Op.multi:
        return this.#multi()
      default:
        return this.#operation(kind)
    }
  }

  /** The operations that can stand alone and inside a multi. */
  #operation(kind: number): number {
    switch (kind) {
      case Op.setData:
        return this.#setData()
      case Op.create:
      case Op.create2:
      case Op.createContainer:
      case Op.createTtl:
        return this.#create(kind)
      case Op.delete:
        return this.#delete()
      case Op.setAcl:
        return this.#setAcl()
      case Op.check:
        return this.#check()
      default:
        throw new InvariantError(`operation ${kind} can not be applied`)
    }
  }

  #mayNot(node: NodeRef, perm: number): boolean {
    if ((this.#options & BatchOption.skipAcl) !== 0) return false
    return !check(this.tree.acls, this.tree.store.acl(node), perm, this.#ids)
  }

  #enforceQuota(): boolean {
    return (this.#options & BatchOption.enforceQuota) !== 0
  }

  // ---------------------------------------------------------------- create

  /** Checks in ZooKeeper's order (semantics.md rule 13). */
  #create(kind: number): number {
    const { tree } = this
    const { store } = tree
    const r = this.#body
    const length = r.field()
    const from = r.start
    let buf: Buffer = r.buf
    let start = from
    let end = from + Math.max(length, 0)
    const dataLength = r.field()
    const data = r.start
    const requested = readAcls(r)
    const flags = r.int()
    const ttl = kind === Op.createTtl ? r.long() : 0

    const flagError = this.#flagProblem(kind, flags, ttl)
    if (flagError !== Code.ok) return flagError
    if (this.#sessionGone) return Code.sessionExpired
    const nodeKind = kindOf(flags)
    if (nodeKind === NodeKind.ephemeral && this.#session === 0) return Code.ephemeralOnLocalSession
    let slash = lastSlash(buf, start, end)
    if (slash < 0) return Code.badArguments
    let list: readonly Acl[] = openAcl
    if (requested !== openAcl) {
      const fixed = fixAcl(requested, this.#ids)
      if (fixed.code !== Code.ok) return unlessNul(fixed.code, buf, start, end)
      list = fixed.list
    }
    const parent = this.#find(buf, start, slash)
    if (parent === NONE) return unlessNul(Code.noNode, buf, start, end)
    if (this.#mayNot(parent, Perm.create)) return unlessNul(Code.noAuth, buf, start, end)
    if (
      flags === CreateFlag.persistentSequential ||
      flags === CreateFlag.ephemeralSequential ||
      flags === CreateFlag.ttlSequential
    ) {
      end = this.#appendSequence(buf, start, end, store.cversion(parent))
      slash -= start
      start = 0
      buf = this.#path
    }
    if (pathProblem(buf, start, end) !== undefined) return Code.badArguments
    if (end - start === 1 || store.findChild(parent, buf, slash + 1, end) !== NONE) return Code.nodeExists
    if (store.kind(parent) === NodeKind.ephemeral) return Code.noChildrenForEphemerals

    const hasQuotas = tree.quotas.paths.size > 0
    const quotaNode = tree.quotas.isQuotaPath(buf, start, end)
    const path = hasQuotas || quotaNode || tree.watched ? buf.toString('utf8', start, end) : ''
    const size = Math.max(dataLength, 0)
    if (hasQuotas && !tree.quotas.allows(path, size, 1, this.#enforceQuota())) return Code.quotaExceeded

    const owner = nodeKind === NodeKind.ephemeral ? this.#session : ttl
    const acl = list === openAcl ? OPEN : tree.acls.intern(list)
    const node = tree.insert(
      parent,
      buf,
      slash + 1,
      end,
      nodeKind,
      owner,
      acl,
      r.buf,
      data,
      dataLength,
      this.#zxid,
      this.#time,
    )
    if (quotaNode) tree.quotas.quotaNodeCreated(path)
    // A limits znode may have made the first quota of all, and may lie below its own target (/zookeeper).
    if (tree.quotas.paths.size > 0) tree.quotas.book(path, size, 1)
    if (tree.watched) {
      tree.changes.add(EventType.nodeCreated, path, tree.acls.get(acl))
      tree.changed(EventType.nodeChildrenChanged, parent)
    }
    if (this.#wanted) {
      this.reply.int(end - start)
      this.reply.raw(buf, start, end)
      if (kind !== Op.create) writeStat(this.reply, store, node)
    }
    return Code.ok
  }

  #flagProblem(kind: number, flags: number, ttl: number): number {
    if (kind === Op.createTtl) {
      if (flags !== CreateFlag.ttl && flags !== CreateFlag.ttlSequential) return Code.badArguments
      if ((this.#options & BatchOption.ttlDisabled) !== 0) return Code.unimplemented
      return ttl >= 1 && ttl <= maxTtl ? Code.ok : Code.badArguments
    }
    if (kind === Op.createContainer) return flags === CreateFlag.container ? Code.ok : Code.badArguments
    // Clients in use ask for containers by a plain create, too: they get one.
    return flags >= 0 && flags <= CreateFlag.container ? Code.ok : Code.badArguments
  }

  /** Copies the path and appends the parent's stored cversion as ten digits (rule 14); returns the end. */
  #appendSequence(buf: Buffer, start: number, end: number, sequence: number): number {
    const length = end - start
    if (this.#path.length < length + 16) this.#path = Buffer.alloc(length * 2 + 16)
    const path = this.#path
    copyBytes(buf, start, path, 0, length)
    if (sequence < 0) return length + path.write(`-${String(-sequence).padStart(9, '0')}`, length, 'latin1')
    let rest = sequence
    for (let at = length + 9; at >= length; at--) {
      path[at] = zero + (rest % 10)
      rest = Math.floor(rest / 10)
    }
    return length + 10
  }

  /** ZooKeeper knows the root by '' as well as by '/'. */
  #find(buf: Buffer, start: number, end: number): NodeRef {
    return start === end ? this.tree.store.root : this.tree.store.find(buf, start, end)
  }

  // ---------------------------------------------------------------- delete

  #delete(): number {
    const { tree } = this
    const { store } = tree
    const r = this.#body
    const length = r.field()
    const start = r.start
    const end = start + Math.max(length, 0)
    const version = r.int()
    if (this.#sessionGone) return Code.sessionExpired
    const slash = lastSlash(r.buf, start, end)
    if (slash < 0 || this.#isSystemPath(start, end)) return Code.badArguments
    const parent = this.#find(r.buf, start, slash)
    if (parent === NONE) return unlessNul(Code.noNode, r.buf, start, end)
    if (this.#mayNot(parent, Perm.delete)) return unlessNul(Code.noAuth, r.buf, start, end)
    // The parent of //x is no znode, though / is found.
    const node = slash - start === 1 ? NONE : store.findChild(parent, r.buf, slash + 1, end)
    if (node === NONE) return unlessNul(Code.noNode, r.buf, start, end)
    if (version !== -1 && version !== store.version(node)) return Code.badVersion
    if (store.numChildren(node) > 0) return Code.notEmpty
    this.#remove(node)
    return Code.ok
  }

  /** Znodes that can not be deleted: /, /zookeeper, /zookeeper/quota, /zookeeper/config. */
  #isSystemPath(start: number, end: number): boolean {
    const length = end - start
    if (length !== 1 && length !== 10 && length !== 16 && length !== 17) return false
    const path = this.#body.buf.toString('latin1', start, end)
    return (
      path === '/' || path === '/zookeeper' || path === '/zookeeper/quota' || path === '/zookeeper/config'
    )
  }

  #remove(node: NodeRef): void {
    const { tree } = this
    const { store, quotas } = tree
    tree.deleting(node)
    if (quotas.paths.size === 0) {
      tree.remove(node, this.#zxid)
      return
    }
    const path = store.path(node)
    const size = Math.max(store.dataLength(node), 0)
    tree.remove(node, this.#zxid)
    quotas.quotaNodeDeleted(path)
    quotas.book(path, -size, -1)
  }

  /**
   * The reaper's deletion, rule 20. It is judged again here: since it was proposed the znode may have got children,
   * may have become another one, or may have been written to, which gives a TTL znode its whole time again.
   */
  #deleteContainer(): number {
    const { store } = this.tree
    const r = this.#body
    const length = r.field()
    const node = store.find(r.buf, r.start, r.start + Math.max(length, 0))
    if (node === NONE) return Code.noNode
    if (store.numChildren(node) > 0) return Code.notEmpty
    const kind = store.kind(node)
    if (kind !== NodeKind.container && kind !== NodeKind.ttl) return Code.badVersion
    if (kind === NodeKind.ttl && this.#time - store.mtime(node) <= store.owner(node)) return Code.badVersion
    this.#remove(node)
    return Code.ok
  }

  // ---------------------------------------------------------------- set, check

  #setData(): number {
    const { tree } = this
    const r = this.#body
    const start = r.pos + 4
    const code = this.#judgeSet()
    if (code !== Code.ok) return code
    const node = this.#node
    const length = this.#dataLength
    const before = tree.store.dataLength(node)
    tree.replaceData(node, r.buf, this.#dataAt, length, this.#zxid, this.#time)
    if (tree.quotas.paths.size > 0) {
      const diff = Math.max(length, 0) - Math.max(before, 0)
      if (diff !== 0) tree.quotas.book(r.text(start, this.#pathEnd), diff, 0)
    }
    this.#tellData(node)
    return Code.ok
  }

  /** Data was set: watchers and the client hear of it. */
  #tellData(node: NodeRef): void {
    const { tree } = this
    if (tree.watched) tree.changed(EventType.nodeDataChanged, node)
    if (this.#wanted) writeStat(this.reply, tree.store, node)
  }

  /** Reads a set and says whether it may be done, without doing it; leaves the znode and where its data is. */
  #judgeSet(): number {
    const { store, quotas } = this.tree
    const r = this.#body
    const length = r.field()
    const start = r.start
    const end = start + Math.max(length, 0)
    this.#pathEnd = end
    this.#dataLength = r.field()
    this.#dataAt = r.start
    const version = r.int()
    if (this.#sessionGone) return Code.sessionExpired
    const node = store.find(r.buf, start, end)
    this.#node = node
    if (node === NONE) return pathProblem(r.buf, start, end) === undefined ? Code.noNode : Code.badArguments
    if (this.#mayNot(node, Perm.write)) return Code.noAuth
    if (quotas.paths.size > 0) {
      const diff = Math.max(this.#dataLength, 0) - Math.max(store.dataLength(node), 0)
      if (!quotas.allows(r.text(start, end), diff, 0, this.#enforceQuota())) return Code.quotaExceeded
    }
    return this.#isVersion(node, version) ? Code.ok : Code.badVersion
  }

  /** Whether `expected` is any (-1) or the version that the znode has once the sets judged so far are done. */
  #isVersion(node: NodeRef, expected: number): boolean {
    if (expected === -1) return true
    let version = this.tree.store.version(node)
    const judged = this.#judged
    for (let i = 0; i < this.#judgedEnd; i += judgedNumbers) if (judged[i] === node) version++
    return expected === (version | 0)
  }

  #setAcl(): number {
    const { tree } = this
    const { store } = tree
    const r = this.#body
    const length = r.field()
    const start = r.start
    const end = start + Math.max(length, 0)
    const requested = readAcls(r)
    const version = r.int()
    if (this.#sessionGone) return Code.sessionExpired
    if (pathProblem(r.buf, start, end) !== undefined) return Code.badArguments
    const fixed = fixAcl(requested, this.#ids)
    if (fixed.code !== Code.ok) return fixed.code
    const node = store.find(r.buf, start, end)
    if (node === NONE) return Code.noNode
    if (this.#mayNot(node, Perm.admin)) return Code.noAuth
    if (version !== -1 && version !== store.aversion(node)) return Code.badVersion
    tree.replaceAcl(node, tree.acls.intern(fixed.list))
    if (this.#wanted) writeStat(this.reply, store, node)
    return Code.ok
  }

  #check(): number {
    const { store } = this.tree
    const r = this.#body
    const length = r.field()
    const start = r.start
    const end = start + Math.max(length, 0)
    const version = r.int()
    if (this.#sessionGone) return Code.sessionExpired
    if (pathProblem(r.buf, start, end) !== undefined) return Code.badArguments
    const node = store.find(r.buf, start, end)
    if (node === NONE) return Code.noNode
    if (this.#mayNot(node, Perm.read)) return Code.noAuth
    return this.#isVersion(node, version) ? Code.ok : Code.badVersion
  }

  // ---------------------------------------------------------------- multi

  /**
   * All or nothing (semantics.md rules 22-24, wire.md section 7). A failed one is no error of the transaction: it
   * answers with an error for each operation, and `err` stays 0.
   */
  #multi(): number {
    const { reply } = this
    const first = this.#body.pos
    const judgement = this.#judgeSets()
    let failed: number
    if (judgement === undefined) failed = this.#doOrUndo()
    else {
      failed = judgement
      if (failed < 0) this.#doJudged()
      this.#judgedEnd = 0
    }
    if (failed < 0) {
      if (this.#wanted) writeMultiEnd(reply)
      return Code.ok
    }
    this.tree.changes.count = 0
    reply.pos = 0
    if (this.#wanted) this.#writeFailures(first, failed, this.#judgedCode)
    return Code.ok
  }

  /** Does one operation after another; undoes all of them and gives the number of the first that fails, -1 if none does. */
  #doOrUndo(): number {
    const { tree, reply } = this
    const r = this.#body
    tree.begin()
    for (let index = 0; ; index++) {
      const type = r.int()
      const done = r.bool()
      r.int()
      if (done) break
      if (this.#wanted) writeMultiHeader(reply, resultType(type), 0)
      this.#judgedCode = this.#operation(type)
      if (this.#judgedCode !== Code.ok) {
        tree.rollback()
        return index
      }
    }
    tree.commit()
    return -1
  }

  /**
   * A multi of sets and checks alone is judged as a whole before anything changes, and so needs no undo: gives the number
   * of the first operation that fails (its code in `#judgedCode`) or -1, with `#judged` filled. Undefined if it has other
   * operations, or quotas make one operation depend on the usage that another leaves: the reader is then where it was.
   */
  #judgeSets(): number | undefined {
    if (this.tree.quotas.paths.size > 0) return undefined
    const r = this.#body
    const first = r.pos
    const judged = this.#judged
    for (let index = 0; index <= judgedMax; index++) {
      const type = r.int()
      const done = r.bool()
      r.int()
      if (done) return -1
      if (type !== Op.setData && type !== Op.check) break
      this.#judgedCode = type === Op.check ? this.#check() : this.#judgeSet()
      if (this.#judgedCode !== Code.ok) return index
      judged[this.#judgedEnd++] = type === Op.check ? NONE : this.#node
      judged[this.#judgedEnd++] = this.#dataAt
      judged[this.#judgedEnd++] = this.#dataLength
    }
    this.#judgedEnd = 0
    r.pos = first
    return undefined
  }

  /** Does what `#judgeSets` found to be right. */
  #doJudged(): void {
    const { tree, reply } = this
    const { buf } = this.#body
    const judged = this.#judged
    for (let i = 0; i < this.#judgedEnd; i += judgedNumbers) {
      const node = judged[i] as NodeRef
      if (this.#wanted) writeMultiHeader(reply, node === NONE ? Op.check : Op.setData, 0)
      if (node === NONE) continue
      const start = judged[i + 1] as number
      const length = judged[i + 2] as number
      tree.replaceData(node, buf, start, length, this.#zxid, this.#time)
      this.#tellData(node)
    }
  }

  /** Results of a failed multi: 0 before the failed operation, its code, runtimeInconsistency behind it. */
  #writeFailures(first: number, failed: number, code: number): void {
    const r = this.#body
    r.pos = first
    for (let index = 0; ; index++) {
      const type = r.int()
      const done = r.bool()
      r.int()
      if (done) break
      r.pos = skipOperation(type, r)
      const err = index < failed ? Code.ok : index === failed ? code : Code.runtimeInconsistency
      writeMultiHeader(this.reply, Op.error, err)
      this.reply.int(err)
    }
    writeMultiEnd(this.reply)
  }

  // ---------------------------------------------------------------- sessions, settings

  /** Ephemerals go with their session, at one zxid (rule 37); a session already gone is no error. */
  #closeSession(): number {
    const { tree } = this
    const owned = tree.ephemeralsOf(this.#session)
    for (const node of [...owned]) this.#remove(node)
    tree.endSession(this.#session)
    return Code.ok
  }

  /** The leader has judged it: all that is left to do is to write the new configuration down. */
  #reconfig(): number {
    const { tree } = this
    const { store } = tree
    const r = this.#body
    const length = r.field()
    const node = store.findPath('/zookeeper/config')
    if (node === NONE) return Code.noNode
    tree.replaceData(node, r.buf, r.start, length, this.#zxid, this.#time)
    tree.changed(EventType.nodeDataChanged, node)
    if (this.#wanted) {
      this.reply.buffer(tree.data(node))
      writeStat(this.reply, store, node)
    }
    return Code.ok
  }

  #settings(): number {
    const r = this.#body
    const rulesVersion = r.int()
    const ensembleId = r.buffer() ?? noBytes
    const secret = r.buffer() ?? noBytes
    this.tree.changeSettings({ rulesVersion, ensembleId, secret })
    return Code.ok
  }
}

/** A NUL is wrong before anything else is; it is looked for only where the whole path is not judged anyway. */
function unlessNul(code: number, buf: Uint8Array, start: number, end: number): number {
  return hasNul(buf, start, end) ? Code.badArguments : code
}

function kindOf(flags: number): number {
  switch (flags) {
    case CreateFlag.ephemeral:
    case CreateFlag.ephemeralSequential:
      return NodeKind.ephemeral
    case CreateFlag.container:
      return NodeKind.container
    case CreateFlag.ttl:
    case CreateFlag.ttlSequential:
      return NodeKind.ttl
    default:
      return NodeKind.persistent
  }
}

/** The type under which a multi answers an operation: the create family beyond plain create answers as create2. */
function resultType(type: number): number {
  return type === Op.createContainer || type === Op.createTtl ? Op.create2 : type
}

function writeMultiHeader(out: Writer, type: number, err: number): void {
  out.int(type)
  out.bool(false)
  out.int(err)
}

/** The header that ends a list of multi operations or results. */
export function writeMultiEnd(out: Writer): void {
  out.int(-1)
  out.bool(true)
  out.int(-1)
}

/** Where the operation record at the reader's position ends; the reader stays where it is. */
function skipOperation(type: number, r: Reader): number {
  const from = r.pos
  checkOperation(type, r)
  const end = r.pos
  r.pos = from
  return end
}

/**
 * Reads over the record of one write operation: it is well formed if this returns. Throws ZkError marshallingError
 * for a short record, a null path where ZooKeeper refuses one, or an operation that is not a write.
 */
export function checkOperation(type: number, r: Reader): void {
  const path = r.field()
  switch (type) {
    case Op.create:
    case Op.create2:
    case Op.createContainer:
    case Op.createTtl:
      r.field()
      readAcls(r)
      r.int()
      if (type === Op.createTtl) r.long()
      break
    case Op.delete:
    case Op.check:
      r.int()
      break
    case Op.setData:
      r.field()
      r.int()
      break
    case Op.setAcl:
      readAcls(r)
      r.int()
      break
    case Op.deleteContainer:
      break
    default:
      throw new ZkError(Code.marshallingError, `operation ${type} is not a write`)
  }
  if (path < 0 && needsPath.has(type)) throw new ZkError(Code.marshallingError, 'the path is null')
}

/** Where ZooKeeper fails to read a null path; elsewhere it is an invalid path. */
const needsPath: ReadonlySet<number> = new Set([
  Op.create,
  Op.create2,
  Op.createContainer,
  Op.createTtl,
  Op.delete,
  Op.deleteContainer,
])

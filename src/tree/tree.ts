// The replicated state of a server: znodes, ACLs, sessions, quotas and settings, with the few ways to change it.
// Everything here is a function of the applied history alone. The rules of each operation are in apply.ts; this
// file keeps the indexes, the running digest, the lists of what the next checkpoint must write, and the undo of a
// multi consistent with every change.
import { assert, InvariantError } from '../base/assert.ts'
import { EventType } from '../base/opcodes.ts'
import { serverByteOf } from '../base/session-ids.ts'
import { viewOf } from '../base/view.ts'
import { type Acl, AclTable } from './acl.ts'
import { NodeDigests } from './digest.ts'
import { createFlatStore } from './flat-store.ts'
import { QuotaTable } from './quota.ts'
import { NOWHERE, Segments } from './segments.ts'
import {
  NONE,
  NodeFlag,
  NodeKind,
  type NodeRef,
  type NodeStat,
  type RestoredBatch,
  type Store,
} from './store.ts'

const half = 2 ** 32

/** What the ensemble agreed on once; undefined in a tree that never had a leader. */
export type Settings = {
  /** Names the ensemble: servers of another one are refused. */
  readonly ensembleId: Buffer
  /** Keys the session passwords (DESIGN 2.5). */
  readonly secret: Buffer
  /** Version of the rules that apply follows (DESIGN 2.8). */
  readonly rulesVersion: number
}

/** What watchers may want to hear of the transaction applied last, in order. */
export class Changes {
  count = 0
  readonly types: number[] = []
  readonly paths: string[] = []
  /** ACL that the znode had (of the parent for children events): a watcher must be allowed to read it. */
  readonly acls: (readonly Acl[])[] = []

  add(type: number, path: string, acl: readonly Acl[]): void {
    this.types[this.count] = type
    this.paths[this.count] = path
    this.acls[this.count] = acl
    this.count++
  }
}

/** What a step of a multi was, as the last number that it leaves behind for being taken back. */
const Step = { insert: 0, remove: 1, data: 2, quotaAdded: 3, quotaGone: 4 } as const
/** Znodes whose digest may be missing in the sum after a transaction: with more, the next `digest` would be a pause. */
const staleMax = 1024
/** Room for so many numbers stays for the next multi. */
const undoKept = 1 << 16

/** Everything of a znode that was removed. */
type Image = {
  readonly name: Buffer
  readonly data: Buffer | null
  readonly numbers: readonly number[]
}

/** Where `Image.numbers` has the ACL. */
const aclOfImage = 10

/** Receives znodes at the moment they must be encoded for the checkpoint under way. */
export type PendingEncoder = (node: NodeRef) => void

/** The state and its indexes. */
export class Tree {
  store: Store
  acls: AclTable
  readonly quotas: QuotaTable
  /** Open sessions: id to timeout in ms. */
  sessions = new Map<number, number>()
  /** Highest session id ever opened, by the server that gave it out (base/session-ids.ts): none may come twice. */
  newestSessions = new Map<number, number>()
  #ephemerals = new Map<number, Set<NodeRef>>()
  #ephemeralCount = 0
  /** Candidates of the reaper (semantics.md rule 18). */
  containers = new Set<NodeRef>()
  ttls = new Set<NodeRef>()
  settings: Settings | undefined
  /** The last transaction applied; 0 in a fresh tree. */
  zxid = 0

  /** Set while somebody listens to changes: building paths for nobody would be waste. */
  watched = false
  readonly changes = new Changes()
  /** Remarks for the log that applying produced (soft quotas); drained by the node. */
  readonly notices: string[] = []

  #digestHigh = 0
  #digestLow = 0
  #stale: NodeRef[] = []
  /** A multi is under way: its steps are noted, each as some numbers with its `Step` behind. */
  #undoing = false
  #undo: number[] = []
  #undoCount = 0
  /** What of these steps is no number: znodes removed, data replaced, paths of quotas. */
  readonly #undoParts: (Image | Buffer | string | null)[] = []
  /** Where the checkpoints have the znodes. */
  segments = new Segments()
  #dirty: NodeRef[] = []
  /** The flag of the znodes in #dirty. */
  #dirtyFlag: number = NodeFlag.dirtyOne
  /** Places of removed znodes. */
  #removed: number[] = []
  /** What became of sessions: timeout, or undefined if one is gone. */
  #dirtySessions = new Map<number, number | undefined>()
  #encodePending: PendingEncoder | undefined
  #dirtyBytes = 0
  readonly #digests: NodeDigests

  constructor(store: Store = createFlatStore()) {
    this.store = store
    this.#digests = new NodeDigests(store)
    this.acls = new AclTable()
    this.quotas = new QuotaTable(this)
  }

  /** Fills an empty tree with what every fresh server has: / and the three system znodes. */
  initialize(): void {
    const store = this.store
    assert(store.count === 1, 'only an empty tree can be initialized')
    const name = (text: string) => Buffer.from(text)
    const empty = Buffer.alloc(0)
    const add = (parent: NodeRef, text: string) => {
      const bytes = name(text)
      const node = store.create(parent, bytes, 0, bytes.length)
      store.setData(node, empty, 0, 0)
      this.touch(node)
      return node
    }
    store.setData(store.root, empty, 0, 0)
    this.touch(store.root)
    const system = add(store.root, 'zookeeper')
    add(system, 'quota')
    const config = add(system, 'config')
    const readOnly = this.acls.intern([{ perms: 1, scheme: 'world', id: 'anyone' }])
    this.acls.retain(readOnly)
    store.setAcl(config, readOnly)
    store.setAversion(config, -1)
  }

  // ---------------------------------------------------------------- changes

  /**
   * Must be called before any change of a znode: lets the checkpoint under way take the old state first, takes the
   * old digest out of the running one, and marks the znode for the next checkpoint.
   */
  touch(node: NodeRef): void {
    const store = this.store
    let flags = store.flags(node)
    if ((flags & this.#pendingFlag()) !== 0) {
      this.#encodePending?.(node)
      flags = store.flags(node)
    }
    const wanted = this.#dirtyFlag | NodeFlag.stale
    if ((flags & wanted) === wanted) return
    if ((flags & this.#dirtyFlag) === 0) {
      this.#dirty.push(node)
      this.#dirtyBytes += 128 + Math.max(store.dataLength(node), 0)
    }
    if ((flags & NodeFlag.stale) === 0) {
      this.#subtract(store.digest(node))
      store.setDigest(node, 0)
      this.#stale.push(node)
    }
    store.setFlags(node, flags | wanted)
  }

  /** Adds a znode under `parent`: data is `data[start, start + length)`, null if `length` is -1. */
  insert(
    parent: NodeRef,
    name: Uint8Array,
    nameStart: number,
    nameEnd: number,
    kind: number,
    owner: number,
    acl: number,
    data: Uint8Array,
    start: number,
    length: number,
    zxid: number,
    time: number,
  ): NodeRef {
    const store = this.store
    this.touch(parent)
    const pzxid = store.pzxid(parent)
    const node = store.create(parent, name, nameStart, nameEnd)
    this.touch(node)
    store.setCversion(parent, (store.cversion(parent) + 1) | 0)
    store.setPzxid(parent, zxid)
    store.setBirth(node, zxid, time)
    store.setAcl(node, acl)
    this.acls.retain(acl)
    if (length >= 0) {
      store.setData(node, data, start, start + length)
      this.#dirtyBytes += length
    }
    if (kind !== NodeKind.persistent) {
      store.setKind(node, kind)
      store.setOwner(node, owner)
      this.#index(node, kind, owner)
    }
    if (this.#undoing) {
      this.#note(node)
      this.#note(pzxid)
      this.#note(Step.insert)
    }
    return node
  }

  /** Removes a childless znode; the parent's pzxid becomes `zxid`. */
  remove(node: NodeRef, zxid: number): void {
    const store = this.store
    const parent = store.parent(node)
    this.touch(parent)
    if (this.#undoing) {
      this.#undoParts.push(this.#imageOf(node))
      this.#note(node)
      this.#note(parent)
      this.#note(store.pzxid(parent))
      this.#note(Step.remove)
    }
    store.setPzxid(parent, zxid)
    this.#drop(node)
  }

  /** Replaces a znode's data and counts its version up. */
  replaceData(
    node: NodeRef,
    data: Uint8Array,
    start: number,
    length: number,
    zxid: number,
    time: number,
  ): void {
    const store = this.store
    this.touch(node)
    if (this.#undoing) this.#rememberData(node)
    this.#dirtyBytes += Math.max(length - Math.max(store.dataLength(node), 0), 0)
    if (length >= 0) store.setData(node, data, start, start + length)
    else store.clearData(node)
    store.setChange(node, (store.version(node) + 1) | 0, zxid, time)
  }

  /** Replaces data without a trace in the stat: quota usage (semantics.md rule 64). */
  overwriteData(node: NodeRef, text: string): void {
    this.touch(node)
    if (this.#undoing) this.#rememberData(node)
    const bytes = Buffer.from(text)
    this.store.setData(node, bytes, 0, bytes.length)
  }

  /** Replaces a znode's ACL and counts its aversion up. */
  replaceAcl(node: NodeRef, acl: number): void {
    const store = this.store
    assert(!this.#undoing, 'an ACL inside a multi can not be taken back')
    this.touch(node)
    this.acls.retain(acl)
    this.acls.release(store.acl(node))
    store.setAcl(node, acl)
    store.setAversion(node, (store.aversion(node) + 1) | 0)
  }

  openSession(id: number, timeoutMs: number): void {
    this.sessions.set(id, timeoutMs)
    this.#dirtySessions.set(id, timeoutMs)
    this.#noteSession(id)
  }

  #noteSession(id: number): void {
    const server = serverByteOf(id)
    if (id > (this.newestSessions.get(server) ?? 0)) this.newestSessions.set(server, id)
  }

  /** Highest session id that the server with this id, or the low byte of it, ever opened; 0 if there is none. */
  newestSession(serverId: number): number {
    return this.newestSessions.get(serverId % 256) ?? 0
  }

  /** Forgets a session; its ephemerals must have been removed before. */
  endSession(id: number): void {
    assert(this.#ephemerals.get(id) === undefined, `session ${id} ends and still owns ephemerals`)
    if (this.sessions.delete(id)) this.#dirtySessions.set(id, undefined)
  }

  changeSettings(settings: Settings): void {
    this.settings = settings
  }

  /** Ephemerals of a session; do not keep the set. */
  ephemeralsOf(session: number): ReadonlySet<NodeRef> {
    return this.#ephemerals.get(session) ?? noNodes
  }

  /** Session ids that own ephemerals. */
  ephemeralOwners(): IterableIterator<number> {
    return this.#ephemerals.keys()
  }

  get ephemeralCount(): number {
    return this.#ephemeralCount
  }

  /** Tells of a change if anybody listens; the path is built only then. */
  changed(type: number, node: NodeRef): void {
    if (this.watched) this.changes.add(type, this.store.path(node), this.acls.get(this.store.acl(node)))
  }

  /** A deletion is told before the znode goes: NodeDeleted, then the parent's NodeChildrenChanged. */
  deleting(node: NodeRef): void {
    if (!this.watched) return
    this.changed(EventType.nodeDeleted, node)
    this.changed(EventType.nodeChildrenChanged, this.store.parent(node))
  }

  #index(node: NodeRef, kind: number, owner: number): void {
    if (kind === NodeKind.ephemeral) {
      let owned = this.#ephemerals.get(owner)
      if (owned === undefined) {
        owned = new Set()
        this.#ephemerals.set(owner, owned)
      }
      owned.add(node)
      this.#ephemeralCount++
    } else if (kind === NodeKind.container) {
      this.containers.add(node)
    } else if (kind === NodeKind.ttl) {
      this.ttls.add(node)
    }
  }

  #unindex(node: NodeRef): void {
    const kind = this.store.kind(node)
    if (kind === NodeKind.ephemeral) {
      const owner = this.store.owner(node)
      const owned = this.#ephemerals.get(owner)
      if (owned?.delete(node)) this.#ephemeralCount--
      if (owned?.size === 0) this.#ephemerals.delete(owner)
    } else if (kind === NodeKind.container) {
      this.containers.delete(node)
    } else if (kind === NodeKind.ttl) {
      this.ttls.delete(node)
    }
  }

  #drop(node: NodeRef): void {
    const store = this.store
    this.touch(node)
    const place = store.place(node)
    if (place !== NOWHERE) this.#removed.push(place)
    this.#unindex(node)
    this.acls.release(store.acl(node))
    store.setFlags(node, 0)
    store.remove(node)
  }

  // ---------------------------------------------------------------- multi

  /** From here on changes can be taken back. */
  begin(): void {
    assert(!this.#undoing, 'a multi inside a multi')
    this.#undoing = true
  }

  /** The changes since `begin` stay. */
  commit(): void {
    for (const part of this.#undoParts)
      if (part !== null && typeof part === 'object' && 'numbers' in part)
        this.acls.release(part.numbers[aclOfImage] as number)
    this.#endUndo()
  }

  /**
   * Takes back every change since `begin`, the last one first. A znode that comes back may get another reference than it
   * had: steps before its removal mean the new one, until that of its own insertion.
   */
  rollback(): void {
    this.#undoing = false
    const moved = new Map<NodeRef, NodeRef>()
    while (this.#undoCount > 0) this.#takeBack(moved)
    this.#endUndo()
  }

  #endUndo(): void {
    this.#undoing = false
    this.#undoCount = 0
    this.#undoParts.length = 0
    if (this.#undo.length > undoKept) this.#undo = []
  }

  #note(value: number): void {
    this.#undo[this.#undoCount++] = value
  }

  #noted(): number {
    return this.#undo[--this.#undoCount] as number
  }

  #takeBack(moved: Map<NodeRef, NodeRef>): void {
    const store = this.store
    const step = this.#noted()
    switch (step) {
      case Step.insert: {
        const pzxid = this.#noted()
        const noted = this.#noted()
        const node = moved.get(noted) ?? noted
        const parent = store.parent(node)
        moved.delete(noted)
        this.#drop(node)
        this.touch(parent)
        store.setCversion(parent, (store.cversion(parent) - 1) | 0)
        store.setPzxid(parent, pzxid)
        break
      }
      case Step.remove: {
        const pzxid = this.#noted()
        const notedParent = this.#noted()
        const parent = moved.get(notedParent) ?? notedParent
        this.touch(parent)
        moved.set(this.#noted(), this.#restore(parent, this.#undoParts.pop() as Image))
        store.setPzxid(parent, pzxid)
        break
      }
      case Step.data: {
        const noted = this.#noted()
        const node = moved.get(noted) ?? noted
        const data = this.#undoParts.pop() as Buffer | null
        this.touch(node)
        if (data === null) store.clearData(node)
        else store.setData(node, data, 0, data.length)
        const mtime = this.#noted()
        const mzxid = this.#noted()
        store.setChange(node, this.#noted(), mzxid, mtime)
        break
      }
      case Step.quotaAdded:
        this.quotas.paths.delete(this.#undoParts.pop() as string)
        break
      case Step.quotaGone:
        this.quotas.paths.add(this.#undoParts.pop() as string)
        break
      default:
        throw new InvariantError(`a step of kind ${step} can not be taken back`)
    }
  }

  /** For the quota table: its set of paths changed inside a multi. */
  rememberQuota(path: string, added: boolean): void {
    if (!this.#undoing) return
    this.#undoParts.push(path)
    this.#note(added ? Step.quotaAdded : Step.quotaGone)
  }

  #rememberData(node: NodeRef): void {
    const store = this.store
    this.#undoParts.push(this.data(node))
    this.#note(store.version(node))
    this.#note(store.mzxid(node))
    this.#note(store.mtime(node))
    this.#note(node)
    this.#note(Step.data)
  }

  #imageOf(node: NodeRef): Image {
    const s = this.store
    const name = Buffer.allocUnsafe(s.nameLength(node))
    s.copyName(node, name, 0)
    const numbers = [
      s.czxid(node),
      s.ctime(node),
      s.version(node),
      s.mzxid(node),
      s.mtime(node),
      s.pzxid(node),
    ]
    numbers.push(s.owner(node), s.cversion(node), s.aversion(node), s.kind(node), s.acl(node))
    this.acls.retain(s.acl(node))
    return { name, data: this.data(node), numbers }
  }

  #restore(parent: NodeRef, image: Image): NodeRef {
    const s = this.store
    const node = s.create(parent, image.name, 0, image.name.length)
    const at = (index: number) => image.numbers[index] as number
    this.touch(node)
    s.setBirth(node, at(0), at(1))
    s.setChange(node, at(2), at(3), at(4))
    s.setPzxid(node, at(5))
    s.setOwner(node, at(6))
    s.setCversion(node, at(7))
    s.setAversion(node, at(8))
    s.setKind(node, at(9))
    s.setAcl(node, at(aclOfImage))
    if (image.data !== null) s.setData(node, image.data, 0, image.data.length)
    this.#index(node, at(9), at(6))
    return node
  }

  // ---------------------------------------------------------------- reading

  /** A copy of a znode's data, null if it has none. */
  data(node: NodeRef): Buffer | null {
    const length = this.store.dataLength(node)
    if (length < 0) return null
    const data = Buffer.allocUnsafe(length)
    this.store.copyData(node, viewOf(data), 0)
    return data
  }

  // ---------------------------------------------------------------- digest

  /** The running tree digest (ZooKeeper's version 2) as two unsigned halves [high, low]. */
  digest(): [number, number] {
    if (this.#stale.length > 0) this.#refreshDigest()
    return [this.#digestHigh, this.#digestLow]
  }

  /** A transaction was applied as `zxid`, whether it succeeded or not. */
  applied(zxid: number): void {
    this.zxid = zxid
    if (this.#stale.length >= staleMax) this.#refreshDigest()
  }

  #refreshDigest(): void {
    const store = this.store
    const digests = this.#digests
    digests.begin(store)
    for (const node of this.#stale) {
      const flags = store.flags(node)
      if ((flags & NodeFlag.stale) === 0) continue
      store.setFlags(node, flags & ~NodeFlag.stale)
      const digest = digests.of(node)
      store.setDigest(node, digest)
      this.#add(digest)
    }
    this.#stale.length = 0
  }

  #add(digest: number): void {
    const low = this.#digestLow + digest
    this.#digestLow = low < half ? low : low - half
    if (low >= half) this.#digestHigh = (this.#digestHigh + 1) % half
  }

  #subtract(digest: number): void {
    const low = this.#digestLow - digest
    this.#digestLow = low < 0 ? low + half : low
    if (low < 0) this.#digestHigh = this.#digestHigh === 0 ? half - 1 : this.#digestHigh - 1
  }

  // ---------------------------------------------------------------- what a checkpoint takes

  /** Estimated bytes that the next checkpoint will write. */
  get dirtyBytes(): number {
    return this.#dirtyBytes
  }

  /** The flag of the znodes that belong to the checkpoint under way and are not encoded yet. */
  #pendingFlag(): number {
    return this.#dirtyFlag ^ (NodeFlag.dirtyOne | NodeFlag.dirtyOther)
  }

  /**
   * Hands over what changed since the last call and starts a new list. The znodes in it, those of them that still exist,
   * are pending now (`isPending`): each is given to `encode` before it changes again; who takes the list encodes the others
   * in its own time. A znode may be in it twice.
   */
  takeDirty(encode: PendingEncoder): {
    nodes: readonly NodeRef[]
    removed: readonly number[]
    sessions: ReadonlyMap<number, number | undefined>
  } {
    assert(this.#encodePending === undefined, 'a checkpoint is begun while another is being made')
    const taken = { nodes: this.#dirty, removed: this.#removed, sessions: this.#dirtySessions }
    this.#dirtyFlag = this.#pendingFlag()
    this.#dirty = []
    this.#removed = []
    this.#dirtySessions = new Map()
    this.#dirtyBytes = 0
    this.#encodePending = encode
    return taken
  }

  /** Whether a reference is that of a znode which the checkpoint under way still has to encode. */
  isPending(node: NodeRef): boolean {
    return (this.store.flags(node) & this.#pendingFlag()) !== 0
  }

  /** A pending znode is encoded, and will be at `place`. */
  encoded(node: NodeRef, place: number): void {
    const store = this.store
    const before = store.place(node)
    if (before !== NOWHERE) this.segments.kill(before)
    store.setPlace(node, place)
    store.setFlags(node, store.flags(node) & ~this.#pendingFlag())
  }

  /** Has the next checkpoint write a znode that did not change. */
  rewrite(node: NodeRef): void {
    const flags = this.store.flags(node)
    if ((flags & this.#dirtyFlag) !== 0) return
    this.store.setFlags(node, flags | this.#dirtyFlag)
    this.#dirty.push(node)
    this.#dirtyBytes += 128 + Math.max(this.store.dataLength(node), 0)
  }

  /** Checks that each znode is where the segments have one. Throws InvariantError. For tests, while no checkpoint is made. */
  checkSegments(): void {
    const places = [...this.#removed]
    this.forEach((node) => {
      places.push(this.store.place(node))
    })
    this.segments.check(places)
  }

  /** The checkpoint that took the list is complete. */
  checkpointDone(): void {
    this.#encodePending = undefined
  }

  /** The checkpoint failed: the next one stands alone and must write everything. */
  checkpointFailed(): void {
    const store = this.store
    this.#encodePending = undefined
    const { next } = this.segments
    this.segments = new Segments()
    this.segments.next = next
    this.#removed = []
    this.forEach((node) => {
      store.setPlace(node, NOWHERE)
      store.setFlags(node, store.flags(node) & ~this.#pendingFlag())
      this.rewrite(node)
    })
    for (const [id, timeoutMs] of this.sessions) this.#dirtySessions.set(id, timeoutMs)
  }

  /**
   * Becomes what `other` is, a tree that was just loaded and that nobody uses any more. No multi and no checkpoint may
   * be under way (asserted).
   */
  adopt(other: Tree): void {
    assert(!this.#undoing && this.#encodePending === undefined, 'the tree is in use')
    this.store = other.store
    this.acls = other.acls
    this.quotas.paths.clear()
    for (const path of other.quotas.paths) this.quotas.paths.add(path)
    this.sessions = other.sessions
    this.newestSessions = other.newestSessions
    this.#ephemerals = other.#ephemerals
    this.#ephemeralCount = other.#ephemeralCount
    this.containers = other.containers
    this.ttls = other.ttls
    this.settings = other.settings
    this.zxid = other.zxid
    this.#digestHigh = other.#digestHigh
    this.#digestLow = other.#digestLow
    this.#stale = other.#stale
    this.segments = other.segments
    this.#dirty = other.#dirty
    this.#dirtyFlag = other.#dirtyFlag
    this.#removed = other.#removed
    this.#dirtySessions = other.#dirtySessions
    this.#dirtyBytes = other.#dirtyBytes
    this.changes.count = 0
    this.notices.length = 0
  }

  /** Sessions are marked as already stored, for loading. */
  loadSession(id: number, timeoutMs: number): void {
    this.sessions.set(id, timeoutMs)
    this.#noteSession(id)
  }

  /** Highest ids as a checkpoint has them, for loading. */
  loadNewestSessions(ids: readonly number[]): void {
    for (const id of ids) this.#noteSession(id)
  }

  /** For loading: these znodes come into the store with all that they have from their creation. None of it is dirty. */
  load(batch: RestoredBatch): void {
    this.store.restore(batch)
    const { count, acl, digest } = batch
    for (let i = 0; i < count; i++) {
      this.acls.retain(acl[i]!)
      this.#add(digest[i]! >>> 0)
    }
  }

  /** For loading: what is not as it was created of a znode that was loaded; `owner` is 0 where its kind has none. */
  loadChanges(node: NodeRef, stat: NodeStat, owner: number): void {
    this.store.setStat(node, stat)
    if (owner !== 0) this.store.setOwner(node, owner)
    if (stat.kind !== NodeKind.persistent) this.#index(node, stat.kind, owner)
  }

  /** Calls `each` for `top` (the root by default) and every znode below it, parents first. */
  forEach(each: (node: NodeRef) => void, top: NodeRef = this.store.root): void {
    const store = this.store
    let node = top
    for (;;) {
      each(node)
      let next = store.firstChild(node)
      while (next === NONE) {
        if (node === top) return
        next = store.nextSibling(node)
        if (next === NONE) node = store.parent(node)
      }
      node = next
    }
  }
}

const noNodes: ReadonlySet<NodeRef> = new Set()

// The znodes themselves behind one narrow interface: the tree's rules know nodes only as references (small
// integers), so that their layout can change without touching a rule. The store knows no ACL semantics, no
// versions' meaning and no sessions: it keeps fields.

/** A znode's reference: an index that stays valid until the znode is removed, and may be reused after. */
export type NodeRef = number

/** "No such znode". */
export const NONE = -1

/** What kind of owner a znode has; `owner` holds the session id (ephemeral) or the TTL in ms (ttl), else 0. */
export const NodeKind = { persistent: 0, ephemeral: 1, container: 2, ttl: 3 } as const

/** Flag bits that the layers above keep on a znode (4 are available). */
export const NodeFlag = {
  /**
   * To be written to a checkpoint. The two take turns: one says "with the next", and when that begins "with the one
   * under way, encode before it changes", without a walk over all that have it.
   */
  dirtyOne: 1,
  dirtyOther: 2,
  /** The cached digest is not part of the running sum any more. */
  stale: 4,
} as const

/** Indexes of ACLs are below this: it is what a znode has room for. */
export const aclsMax: number = 2 ** 26

/** The numbers of a znode's stat, read at once: one by one they cost several times as much. */
export class NodeStat {
  czxid = 0
  mzxid = 0
  pzxid = 0
  ctime = 0
  mtime = 0
  version = 0
  cversion = 0
  aversion = 0
  numChildren = 0
  dataLength = 0
  kind = 0
}

/** Znodes of a batch at most: together they are a few KiB, which stay in the processor's fastest cache from loop to loop. */
export const restoredMax = 64

/**
 * Znodes that a store is loaded with, as columns: a million of them come at each start, and each step for all of a batch is a
 * small loop, which V8 soon has compiled. What is not here they have from their creation, or it is set after.
 */
export class RestoredBatch {
  count = 0
  /** In which all names and data lie, each name in front of its data. */
  bytes: Uint8Array = new Uint8Array(0)
  readonly node: Int32Array = column()
  readonly parent: Int32Array = column()
  readonly nameAt: Int32Array = column()
  readonly dataAt: Int32Array = column()
  /** -1 for null. */
  readonly dataLength: Int32Array = column()
  readonly kind: Int32Array = column()
  readonly acl: Int32Array = column()
  readonly digest: Int32Array = column()
  readonly place: Int32Array = column()
  /** czxid and ctime, each as the upper and the lower word of a long. */
  readonly czxidHigh: Int32Array = column()
  readonly czxidLow: Int32Array = column()
  readonly ctimeHigh: Int32Array = column()
  readonly ctimeLow: Int32Array = column()
}

function column(): Int32Array {
  return new Int32Array(restoredMax)
}

/**
 * Flat storage of znodes. Paths and names are UTF-8 bytes in place: `buf[start, end)`.
 * All getters and setters take a reference of a live znode; anything else is a bug (checked by `check`).
 */
export interface Store {
  /** The root znode `/`; exists from the start and can not be removed. Its name is empty. */
  readonly root: NodeRef
  /** Number of znodes including the root. */
  readonly count: number
  /** References in use are below this. */
  readonly limit: number
  /** Sum of the data lengths of all znodes, bytes. */
  readonly dataBytes: number
  /** Sum over all znodes of the length of their full path in UTF-8 bytes ('/' = 1). */
  readonly pathBytes: number

  /**
   * Finds a znode by its absolute path. '/' is the root; anything that is not exactly the path of a znode gives NONE:
   * no leading slash, a trailing or double slash, the empty string.
   */
  find(buf: Uint8Array, start: number, end: number): NodeRef
  /** The same for a JavaScript string. */
  findPath(path: string): NodeRef
  /** Finds a child by its name. */
  findChild(parent: NodeRef, buf: Uint8Array, start: number, end: number): NodeRef
  /**
   * Adds a znode as child of `parent`; the caller has checked that the name is free and has no slash.
   * All fields start at zero, data null, kind persistent.
   */
  create(parent: NodeRef, buf: Uint8Array, start: number, end: number): NodeRef
  /** Removes a znode without children and frees its space. */
  remove(node: NodeRef): void
  /** Loading: makes an empty store ready for so many znodes, and works with others. */
  reserve(count: number): void
  /**
   * Loading an empty store: adds the znodes of a batch under the references that they had, which must be free; the root as child
   * of NONE. A parent may come later. Until `settle` only fields of znodes that were restored may be set.
   */
  restore(batch: RestoredBatch): void
  /** Ends loading: all znodes can be found. Throws `InvariantError` if a parent is missing. */
  settle(): void

  /** The parent, or NONE for the root. */
  parent(node: NodeRef): NodeRef
  /** The first child or NONE; the order of children is unspecified but stable while none is added or removed. */
  firstChild(node: NodeRef): NodeRef
  /** The next sibling or NONE. */
  nextSibling(node: NodeRef): NodeRef
  numChildren(node: NodeRef): number
  /** Length of the name in bytes. */
  nameLength(node: NodeRef): number
  /** Copies the name's bytes to `target` at `offset`; returns the offset behind them. `target` must have room. */
  copyName(node: NodeRef, target: Uint8Array, offset: number): number
  /** Takes the name's bytes into a running CRC (base/crc32.ts). */
  crcOfName(node: NodeRef, crc: number): number
  /** The full path as a string. */
  path(node: NodeRef): string
  /** Length of the full path in bytes; takes a step for each level. */
  pathLength(node: NodeRef): number
  /** Copies the full path's bytes to `target` at `offset`; returns the offset behind them. */
  copyPath(node: NodeRef, target: Uint8Array, offset: number): number

  /** Length of the data in bytes, -1 for null. */
  dataLength(node: NodeRef): number
  /** Copies the data to `target` at `offset`; returns the offset behind it (the same offset for null). */
  copyData(node: NodeRef, target: DataView, offset: number): number
  /** Takes the data's bytes into a running CRC. */
  crcOfData(node: NodeRef, crc: number): number
  /** Replaces the data with a copy of `buf[start, end)`. */
  setData(node: NodeRef, buf: Uint8Array, start: number, end: number): void
  /** Makes the data null. */
  clearData(node: NodeRef): void

  /** Fills `stat`. */
  readStat(node: NodeRef, stat: NodeStat): void
  /** Sets what `readStat` reads, but for the number of children and the length of the data. */
  setStat(node: NodeRef, stat: NodeStat): void
  /** Sets czxid and ctime of a znode that was just created; mzxid, pzxid and mtime are the same until they are set. */
  setBirth(node: NodeRef, zxid: number, timeMs: number): void
  /** Sets what the newest change of the data left: version, mzxid and mtime. */
  setChange(node: NodeRef, version: number, zxid: number, timeMs: number): void
  czxid(node: NodeRef): number
  mzxid(node: NodeRef): number
  pzxid(node: NodeRef): number
  setPzxid(node: NodeRef, zxid: number): void
  /** Times are ms since 1970, until 2248: one that is outside is kept as the nearest that is not. */
  ctime(node: NodeRef): number
  mtime(node: NodeRef): number
  /** Session id or TTL, see NodeKind. An integer below 2^53. */
  owner(node: NodeRef): number
  setOwner(node: NodeRef, owner: number): void
  /** Signed 32 bit. */
  version(node: NodeRef): number
  /** Signed 32 bit; the stored form (number of child creations, semantics rule 7). */
  cversion(node: NodeRef): number
  setCversion(node: NodeRef, cversion: number): void
  /** Signed 32 bit. */
  aversion(node: NodeRef): number
  setAversion(node: NodeRef, aversion: number): void
  /** One of NodeKind. */
  kind(node: NodeRef): number
  setKind(node: NodeRef, kind: number): void
  /** Index into the table of ACLs, below `aclsMax`. */
  acl(node: NodeRef): number
  setAcl(node: NodeRef, acl: number): void
  /** Unsigned 32 bit, kept for the running tree digest. */
  digest(node: NodeRef): number
  setDigest(node: NodeRef, digest: number): void
  /** Bits of NodeFlag. The one getter that may be asked of a removed znode: it gives the bits set last, or 0. */
  flags(node: NodeRef): number
  setFlags(node: NodeRef, flags: number): void

  /** Where the newest checkpoint has the znode, unsigned 31 bit; 0 for nowhere, and for a reference not in use. */
  place(node: NodeRef): number
  setPlace(node: NodeRef, place: number): void

  /** Off-heap bytes that the store holds (reserved, not only used), for metrics. */
  readonly reservedBytes: number
  /** Walks everything and throws `InvariantError` where the structure is inconsistent. For tests; O(n). */
  check(): void
}

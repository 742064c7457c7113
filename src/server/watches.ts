// The watches of one server: which connections want to hear of which paths, and who hears of a change. Connections
// are opaque objects here. It decides who is notified and in which order; checking that the receiver may read the
// znode, encoding and sending are the caller's, in the callback.
import { ChurnMap } from '../base/churn-map.ts'
import { Code, ZkError } from '../base/errors.ts'
import { EventType } from '../base/opcodes.ts'

/** What checkWatches and removeWatches may ask for (semantics rule 56). */
export const WatcherType = { children: 1, data: 2, any: 3, persistent: 4, recursive: 5 } as const

/** The modes of addWatch (rules 52, 53). */
export const WatchMode = { persistent: 0, recursive: 1 } as const

/**
 * Called once for each watcher and event. It may remove watches, also those of other watchers (a connection that is
 * closed meanwhile); it must not add any.
 */
export type Deliver<W> = (watcher: W, type: number, path: string) => void

/** A client's watches as setWatches2 brings them back after a reconnect; setWatches has the first three. */
export type WatchLists = {
  readonly data: readonly string[]
  readonly exist: readonly string[]
  readonly child: readonly string[]
  readonly persistent: readonly string[]
  readonly recursive: readonly string[]
}

/** Several watchers of one path. Every request brings the path as a string of its own: they all keep this one. */
class Group<W> {
  readonly path: string
  readonly members = new Set<W>()

  constructor(path: string) {
    this.path = path
  }
}

/** The watchers of a path. One watcher, the usual case, needs no group. */
type Watchers<W> = W | Group<W>

/**
 * The paths of one watcher, so that all can be dropped when it goes. A list that only grows is less than half of a
 * Set in memory, at the price that paths whose watch has fired stay in it for a while: `PathTable` says what counts.
 */
type Holding = { paths: string[]; live: number }

/** Up to this many forgotten paths, and as many again as there are live ones, a holding is not tidied up. */
const staleMax = 8

/** Watches of one kind: paths to watchers and back. */
class PathTable<W extends object> {
  // The usual life of a watch is to fire and to be set again on the same path: what ChurnMap is for.
  readonly #byPath = new ChurnMap<string, Watchers<W>>()
  // Invariant: (path, w) is in #byPath if and only if it is counted in w's `live`, and then `paths` has the path.
  readonly #byWatcher = new Map<W, Holding>()
  /** Number of (path, watcher) pairs. */
  size = 0

  get(path: string): Watchers<W> | undefined {
    return this.#byPath.get(path)
  }

  has(path: string, watcher: W): boolean {
    return contains(this.#byPath.get(path), watcher)
  }

  /** False if it was there already. */
  add(path: string, watcher: W): boolean {
    const found = this.#byPath.get(path)
    let kept = path
    if (found === undefined) this.#byPath.set(path, watcher)
    else if (found instanceof Group) {
      const { members } = found
      const before = members.size
      if (members.add(watcher).size === before) return false
      kept = found.path
    } else if (found === watcher) return false
    else {
      const group = new Group<W>(path)
      group.members.add(found).add(watcher)
      this.#byPath.set(path, group)
    }
    this.size++
    const holding = this.#byWatcher.get(watcher)
    if (holding === undefined) this.#byWatcher.set(watcher, { paths: [kept], live: 1 })
    else {
      holding.paths.push(kept)
      holding.live++
    }
    return true
  }

  /** False if it was not there. */
  remove(path: string, watcher: W): boolean {
    if (!this.#unlink(path, watcher)) return false
    this.#forget(watcher)
    return true
  }

  /** Removes all watchers of a path and gives them to the caller. */
  take(path: string): Watchers<W> | undefined {
    const found = this.#byPath.get(path)
    if (found === undefined) return undefined
    this.#byPath.delete(path)
    this.size -= countOf(found)
    if (found instanceof Group) for (const watcher of found.members) this.#forget(watcher)
    else this.#forget(found)
    return found
  }

  /** Removes everything of a watcher, calling `each` for every path that it had. */
  removeAll(watcher: W, each: (path: string) => void): void {
    const holding = this.#byWatcher.get(watcher)
    if (holding === undefined) return
    this.#byWatcher.delete(watcher)
    for (const path of holding.paths) if (this.#unlink(path, watcher)) each(path)
  }

  paths(): Generator<string> {
    return this.#byPath.keys()
  }

  get pathCount(): number {
    return this.#byPath.size
  }

  /** Every watcher that has a path here. */
  *watchers(): Generator<W> {
    for (const [watcher, holding] of this.#byWatcher) if (holding.live > 0) yield watcher
  }

  /** The paths of a watcher, each once. */
  pathsOf(watcher: W): Set<string> {
    const holding = this.#byWatcher.get(watcher)
    return new Set(holding?.paths.filter((path) => this.has(path, watcher)))
  }

  #unlink(path: string, watcher: W): boolean {
    const found = this.#byPath.get(path)
    if (found instanceof Group) {
      const { members } = found
      if (!members.delete(watcher)) return false
      if (members.size === 1) for (const last of members) this.#byPath.set(path, last)
    } else if (found === watcher) this.#byPath.delete(path)
    else return false
    this.size--
    return true
  }

  // To be called when a pair is out of #byPath already: tidying up asks there which paths are live.
  #forget(watcher: W): void {
    const holding = this.#byWatcher.get(watcher)
    if (holding === undefined) return
    holding.live--
    if (holding.paths.length <= 2 * holding.live + staleMax) return
    holding.paths = holding.live === 0 ? [] : [...this.pathsOf(watcher)]
  }
}

function countOf<W extends object>(watchers: Watchers<W>): number {
  return watchers instanceof Group ? watchers.members.size : 1
}

function contains<W extends object>(watchers: Watchers<W> | undefined, watcher: W): boolean {
  return watchers instanceof Group ? watchers.members.has(watcher) : watchers === watcher
}

function forEach<W extends object>(watchers: Watchers<W> | undefined, call: (watcher: W) => void): void {
  if (watchers === undefined) return
  if (watchers instanceof Group) for (const watcher of watchers.members) call(watcher)
  else call(watchers)
}

function parentOf(path: string): string {
  const slash = path.lastIndexOf('/')
  return slash > 0 ? path.slice(0, slash) : '/'
}

/**
 * All watches of one server. `W` is whatever stands for a connection; the same object is the same watcher. ZooKeeper
 * has a data table and a child table, with a persistent watch in both; here each kind has a table of its own, so that
 * one without any watch costs nothing when a change is looked up. What ZooKeeper counts per table is counted alike.
 */
export class Watches<W extends object> {
  readonly #data = new PathTable<W>()
  readonly #child = new PathTable<W>()
  readonly #persistent = new PathTable<W>()
  readonly #recursive = new PathTable<W>()
  // Distinct (path, watcher) pairs of ZooKeeper's two tables: a pair can have several kinds at once (rule 55).
  #dataPairs = 0
  #childPairs = 0

  /** How many watches there are; 0 means that no change needs a look here. */
  get size(): number {
    return this.#data.size + this.#child.size + this.#persistent.size + this.#recursive.size
  }

  /** ZooKeeper's zk_watch_count: pairs of connection and path, once in the data table and once in the child table. */
  get count(): number {
    return this.#dataPairs + this.#childPairs
  }

  /** The one-shot watch of getData and of exists (rule 50). False if this connection has it already. */
  addData(path: string, watcher: W): boolean {
    if (!this.#data.add(path, watcher)) return false
    if (!this.#persistent.has(path, watcher) && !this.#recursive.has(path, watcher)) this.#dataPairs++
    return true
  }

  /** The one-shot watch of getChildren. False if this connection has it already. */
  addChild(path: string, watcher: W): boolean {
    if (!this.#child.add(path, watcher)) return false
    if (!this.#persistent.has(path, watcher)) this.#childPairs++
    return true
  }

  /** addWatch mode 0: every change of the znode and of its list of children (rule 52). */
  addPersistent(path: string, watcher: W): boolean {
    if (!this.#persistent.add(path, watcher)) return false
    if (!this.#data.has(path, watcher) && !this.#recursive.has(path, watcher)) this.#dataPairs++
    if (!this.#child.has(path, watcher)) this.#childPairs++
    return true
  }

  /** addWatch mode 1: every change of the znode and of its descendants (rule 53). */
  addRecursive(path: string, watcher: W): boolean {
    if (!this.#recursive.add(path, watcher)) return false
    if (!this.#data.has(path, watcher) && !this.#persistent.has(path, watcher)) this.#dataPairs++
    return true
  }

  /** addWatch with its mode as it came. Throws ZkError (marshallingError) for a mode that does not exist. */
  addWatch(path: string, watcher: W, mode: number): boolean {
    if (mode === WatchMode.persistent) return this.addPersistent(path, watcher)
    if (mode === WatchMode.recursive) return this.addRecursive(path, watcher)
    throw new ZkError(Code.marshallingError, `addWatch with mode ${mode}; expected 0 or 1`)
  }

  /**
   * checkWatches: whether this connection has a watch of that type on the path; if not, the answer is `noWatcher`.
   * Throws ZkError (marshallingError) for a type other than 1 to 5.
   */
  contains(path: string, watcher: W, type: number): boolean {
    switch (type) {
      case WatcherType.children:
        return this.#child.has(path, watcher)
      case WatcherType.data:
        return this.#data.has(path, watcher)
      case WatcherType.any:
        return this.#inDataTable(path, watcher) || this.#inChildTable(path, watcher)
      case WatcherType.persistent:
        return this.#persistent.has(path, watcher)
      case WatcherType.recursive:
        return this.#recursive.has(path, watcher)
      default:
        throw unknownType(type)
    }
  }

  /**
   * removeWatches: removes what `contains` finds; nobody is told. False if there was nothing, which is answered with
   * `noWatcher`. Throws ZkError (marshallingError) for a type other than 1 to 5.
   */
  remove(path: string, watcher: W, type: number): boolean {
    const inData = this.#inDataTable(path, watcher)
    const inChild = this.#inChildTable(path, watcher)
    const removed = this.#removeType(path, watcher, type)
    if (inData && !this.#inDataTable(path, watcher)) this.#dataPairs--
    if (inChild && !this.#inChildTable(path, watcher)) this.#childPairs--
    return removed
  }

  #removeType(path: string, watcher: W, type: number): boolean {
    switch (type) {
      case WatcherType.children:
        return this.#child.remove(path, watcher)
      case WatcherType.data:
        return this.#data.remove(path, watcher)
      case WatcherType.any: {
        const oneShot = [this.#child.remove(path, watcher), this.#data.remove(path, watcher)]
        const lasting = [this.#persistent.remove(path, watcher), this.#recursive.remove(path, watcher)]
        return [...oneShot, ...lasting].includes(true)
      }
      case WatcherType.persistent:
        return this.#persistent.remove(path, watcher)
      case WatcherType.recursive:
        return this.#recursive.remove(path, watcher)
      default:
        throw unknownType(type)
    }
  }

  /** Forgets a connection that is gone. Takes time by the number of its watches. */
  removeAll(watcher: W): void {
    // Each table sees only the ones after it: a pair leaves the count when its last kind is gone.
    this.#data.removeAll(watcher, (path) => {
      if (!this.#persistent.has(path, watcher) && !this.#recursive.has(path, watcher)) this.#dataPairs--
    })
    this.#child.removeAll(watcher, (path) => {
      if (!this.#persistent.has(path, watcher)) this.#childPairs--
    })
    this.#persistent.removeAll(watcher, (path) => {
      this.#childPairs--
      if (!this.#recursive.has(path, watcher)) this.#dataPairs--
    })
    this.#recursive.removeAll(watcher, () => {
      this.#dataPairs--
    })
  }

  /** A znode was created: its watchers, then those of the parent's children (rules 54, 59). */
  created(path: string, deliver: Deliver<W>): void {
    this.fire(EventType.nodeCreated, path, deliver)
    this.#fireParent(path, deliver)
  }

  /** A znode was deleted: its watchers, then those of the parent's children. */
  deleted(path: string, deliver: Deliver<W>): void {
    this.fire(EventType.nodeDeleted, path, deliver)
    this.#fireParent(path, deliver)
  }

  /** A znode's data was set. */
  dataChanged(path: string, deliver: Deliver<W>): void {
    this.fire(EventType.nodeDataChanged, path, deliver)
  }

  /**
   * One event at one path: notifies everybody who watches for it and removes the one-shot watches that it uses up.
   * nodeDeleted goes to data and child watches, but to each connection once; nodeChildrenChanged to child watches;
   * the others to data watches. Persistent ones count as both, recursive ones as data watches of all descendants.
   */
  fire(type: number, path: string, deliver: Deliver<W>): void {
    if (type === EventType.nodeChildrenChanged) {
      if (this.#childPairs === 0) return
      const watchers = this.#union(this.#takeChild(path), path, false)
      forEach(watchers, (watcher) => deliver(watcher, type, path))
      return
    }
    const notified = this.#dataPairs === 0 ? undefined : this.#union(this.#takeData(path), path, true)
    forEach(notified, (watcher) => deliver(watcher, type, path))
    if (type !== EventType.nodeDeleted || this.#child.size === 0) return
    // Persistent watchers have just been notified; only one-shot child watches can be left.
    forEach(this.#takeChild(path), (watcher) => {
      if (!contains(notified, watcher)) deliver(watcher, type, path)
    })
  }

  /**
   * setWatches and setWatches2 (rule 57): for each path either the event that the client has missed since
   * `relativeZxid` or the watch. `find` gives what the tree knows of a znode, undefined if there is none. The events
   * are sent with zxid -1, before the reply.
   */
  setWatches(
    relativeZxid: number,
    lists: WatchLists,
    find: (path: string) => { readonly mzxid: number; readonly pzxid: number } | undefined,
    watcher: W,
    deliver: Deliver<W>,
  ): void {
    for (const path of lists.data) {
      const node = find(path)
      if (node === undefined) deliver(watcher, EventType.nodeDeleted, path)
      else if (node.mzxid > relativeZxid) deliver(watcher, EventType.nodeDataChanged, path)
      else this.addData(path, watcher)
    }
    for (const path of lists.exist) {
      if (find(path) !== undefined) deliver(watcher, EventType.nodeCreated, path)
      else this.addData(path, watcher)
    }
    for (const path of lists.child) {
      const node = find(path)
      if (node === undefined) deliver(watcher, EventType.nodeDeleted, path)
      else if (node.pzxid > relativeZxid) deliver(watcher, EventType.nodeChildrenChanged, path)
      else this.addChild(path, watcher)
    }
    for (const path of lists.persistent) this.addPersistent(path, watcher)
    for (const path of lists.recursive) this.addRecursive(path, watcher)
  }

  /** What `wchs` prints: the data table only, as in ZooKeeper (its persistent and recursive watches included). */
  summary(): { readonly connections: number; readonly paths: number; readonly watches: number } {
    const lasting = this.#persistent.size + this.#recursive.size > 0
    let connections = 0
    let paths = this.#data.pathCount
    if (lasting) {
      connections = new Set(this.#dataWatchers()).size
      for (const path of this.#persistent.paths()) if (this.#data.get(path) === undefined) paths++
      for (const path of this.#recursive.paths()) {
        if (this.#data.get(path) === undefined && this.#persistent.get(path) === undefined) paths++
      }
    } else for (const _ of this.#data.watchers()) connections++
    return { connections, paths, watches: this.#dataPairs }
  }

  /** What `wchc` prints: connections and the paths they watch, of the data table. */
  byWatcher(): Map<W, string[]> {
    const result = new Map<W, string[]>()
    for (const watcher of new Set(this.#dataWatchers())) {
      const paths = this.#data.pathsOf(watcher)
      for (const path of this.#persistent.pathsOf(watcher)) paths.add(path)
      for (const path of this.#recursive.pathsOf(watcher)) paths.add(path)
      result.set(watcher, [...paths])
    }
    return result
  }

  /** What `wchp` prints: paths and the connections that watch them, of the data table. */
  byPath(): Map<string, W[]> {
    const result = new Map<string, Set<W>>()
    for (const table of [this.#data, this.#persistent, this.#recursive]) {
      for (const path of table.paths()) {
        const watchers = result.get(path) ?? new Set<W>()
        result.set(path, watchers)
        forEach(table.get(path), (watcher) => watchers.add(watcher))
      }
    }
    return new Map([...result].map(([path, watchers]) => [path, [...watchers]]))
  }

  *#dataWatchers(): Generator<W> {
    yield* this.#data.watchers()
    yield* this.#persistent.watchers()
    yield* this.#recursive.watchers()
  }

  #inDataTable(path: string, watcher: W): boolean {
    return (
      this.#data.has(path, watcher) ||
      this.#persistent.has(path, watcher) ||
      this.#recursive.has(path, watcher)
    )
  }

  #inChildTable(path: string, watcher: W): boolean {
    return this.#child.has(path, watcher) || this.#persistent.has(path, watcher)
  }

  #fireParent(path: string, deliver: Deliver<W>): void {
    if (this.#childPairs > 0) this.fire(EventType.nodeChildrenChanged, parentOf(path), deliver)
  }

  #takeData(path: string): Watchers<W> | undefined {
    const taken = this.#data.take(path)
    if (taken === undefined) return undefined
    if (this.#persistent.size + this.#recursive.size === 0) this.#dataPairs -= countOf(taken)
    else {
      forEach(taken, (watcher) => {
        if (!this.#persistent.has(path, watcher) && !this.#recursive.has(path, watcher)) this.#dataPairs--
      })
    }
    return taken
  }

  #takeChild(path: string): Watchers<W> | undefined {
    const taken = this.#child.take(path)
    if (taken === undefined) return undefined
    if (this.#persistent.size === 0) this.#childPairs -= countOf(taken)
    else {
      forEach(taken, (watcher) => {
        if (!this.#persistent.has(path, watcher)) this.#childPairs--
      })
    }
    return taken
  }

  /**
   * One-shot watchers that were taken, the persistent ones of the path and, if asked for, the recursive ones of the
   * path and its ancestors, each watcher once. A single source is given as it is: it may be a table's own group.
   */
  #union(taken: Watchers<W> | undefined, path: string, recursive: boolean): Watchers<W> | undefined {
    const sources: Watchers<W>[] = []
    if (this.#persistent.size > 0) {
      const found = this.#persistent.get(path)
      if (found !== undefined) sources.push(found)
    }
    if (recursive && this.#recursive.size > 0) {
      for (let at = path; ; at = parentOf(at)) {
        const found = this.#recursive.get(at)
        if (found !== undefined) sources.push(found)
        if (at === '/' || !at.startsWith('/')) break
      }
    }
    if (sources.length === 0) return taken
    if (taken === undefined && sources.length === 1) return sources[0]
    const all = new Group<W>(path)
    forEach(taken, (watcher) => all.members.add(watcher))
    for (const source of sources) forEach(source, (watcher) => all.members.add(watcher))
    return all
  }
}

function unknownType(type: number): ZkError {
  return new ZkError(Code.marshallingError, `watcher type ${type}; expected 1 to 5`)
}

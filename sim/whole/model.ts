// What the state must be: a plain model of znodes and sessions that the committed history is applied to, and that
// remembers every state of every znode, so that a reply of any zxid can be held against the state it speaks of. Written
// from the protocol's rules alone; it shares no code with src/tree.
import { Code } from '../../src/base/errors.ts'
import { EventType } from '../../src/base/opcodes.ts'
import type { Outcome, PartResult, Request, Stat, Write, WritePart } from './requests.ts'

/** A znode as it is from one zxid on. Never changed. */
export type Znode = {
  readonly data: string
  readonly czxid: number
  readonly mzxid: number
  readonly pzxid: number
  readonly ctime: number
  readonly mtime: number
  readonly version: number
  /** Children ever created. */
  readonly creates: number
  /** Session, or 0. */
  readonly owner: number
  /** Names, sorted. */
  readonly children: readonly string[]
}

/** What watchers may want to hear of, in order. */
export type Change = { readonly zxid: number; readonly type: number; readonly path: string }

/** The states of one path, ascending; undefined: there is no such znode from then on. */
type History = { readonly zxids: number[]; readonly states: (Znode | undefined)[] }

/** Who writes, when and as what. */
export type Circumstances = { readonly zxid: number; readonly time: number; readonly session: number }

/** See file header. */
export class Model {
  /** The last transaction applied. */
  zxid = 0
  /** Ascending by zxid. */
  readonly changes: Change[] = []
  readonly #histories = new Map<string, History>()
  /** Open sessions and their ephemerals. */
  readonly #sessions = new Map<number, Set<string>>()
  /** When each session that is gone was closed. */
  readonly #closed = new Map<number, number>()
  /** How the multi under way is taken back. */
  #undo: (() => void)[] | undefined

  constructor() {
    this.#put('/', 0, {
      data: '',
      czxid: 0,
      mzxid: 0,
      pzxid: 0,
      ctime: 0,
      mtime: 0,
      version: 0,
      creates: 0,
      owner: 0,
      children: [],
    })
  }

  // ---------------------------------------------------------------- looking

  /** The znode as it was after transaction `zxid`. */
  at(path: string, zxid: number): Znode | undefined {
    const history = this.#histories.get(path)
    if (history === undefined) return undefined
    return history.states[lastAtOrBelow(history.zxids, zxid)]
  }

  isOpen(session: number): boolean {
    return this.#sessions.has(session)
  }

  /** The transaction that closed a session; undefined if it is open or unknown. */
  closedAt(session: number): number | undefined {
    return this.#closed.get(session)
  }

  openSessions(): readonly number[] {
    return [...this.#sessions.keys()]
  }

  /** Paths of all znodes but the root. */
  paths(): string[] {
    const now = this.zxid
    return [...this.#histories.keys()]
      .filter((path) => path !== '/' && this.at(path, now) !== undefined)
      .sort()
  }

  /** Index of the first change above `zxid`. */
  changesAfter(zxid: number): number {
    let low = 0
    let high = this.changes.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.changes[middle] as Change).zxid <= zxid) low = middle + 1
      else high = middle
    }
    return low
  }

  /** What a read must be answered by a server whose state is the one after `zxid`. Watch requests succeed. */
  read(request: Request, session: number, zxid: number): Outcome {
    switch (request.type) {
      case 'get': {
        const node = this.at(request.path, zxid)
        return node === undefined ? { err: Code.noNode } : { err: 0, data: node.data, stat: statOf(node) }
      }
      case 'exists': {
        const node = this.at(request.path, zxid)
        return node === undefined ? { err: Code.noNode } : { err: 0, stat: statOf(node) }
      }
      case 'children': {
        const node = this.at(request.path, zxid)
        if (node === undefined) return { err: Code.noNode }
        return request.stat
          ? { err: 0, names: node.children, stat: statOf(node) }
          : { err: 0, names: node.children }
      }
      case 'getAll':
        return { err: 0, results: request.paths.map((path) => this.#result(path, zxid)) }
      case 'ephemerals':
        return { err: 0, names: this.#ownedAt(session, zxid) }
      default:
        return { err: 0 }
    }
  }

  #result(path: string, zxid: number): PartResult {
    const node = this.at(path, zxid)
    return node === undefined ? { err: Code.noNode } : { err: 0, data: node.data, stat: statOf(node) }
  }

  #ownedAt(session: number, zxid: number): string[] {
    const owned: string[] = []
    for (const [path, history] of this.#histories)
      if (history.states[lastAtOrBelow(history.zxids, zxid)]?.owner === session) owned.push(path)
    return session === 0 ? [] : owned.sort()
  }

  // ---------------------------------------------------------------- applying

  openSession(session: number, zxid: number): void {
    this.zxid = zxid
    if (!this.#sessions.has(session)) this.#sessions.set(session, new Set())
  }

  closeSession(session: number, at: Circumstances): void {
    this.zxid = at.zxid
    for (const path of this.#sessions.get(session) ?? []) this.#remove(path, at.zxid)
    if (this.#sessions.delete(session)) this.#closed.set(session, at.zxid)
  }

  /** A transaction that changes nothing. */
  skip(zxid: number): void {
    this.zxid = zxid
  }

  /** Applies a client's write and gives what it is to be answered. */
  write(request: Write, at: Circumstances): Outcome {
    this.zxid = at.zxid
    switch (request.type) {
      case 'close':
        this.closeSession(at.session, at)
        return { err: 0 }
      case 'multi':
        return this.#multi(request.parts, at)
      default: {
        const { err, path, stat } = this.#part(request, at)
        return {
          err,
          ...(path === undefined ? {} : { path }),
          ...(stat === undefined ? {} : { stat }),
        }
      }
    }
  }

  #multi(parts: readonly WritePart[], at: Circumstances): Outcome {
    const changes = this.changes.length
    const undo: (() => void)[] = []
    this.#undo = undo
    const results: PartResult[] = []
    for (const part of parts) {
      results.push(this.#part(part, at))
      if (results.at(-1)?.err !== 0) break
    }
    this.#undo = undefined
    const failed = results.length - 1
    const { err } = results[failed] ?? { err: 0 }
    if (err === 0) return { err: 0, results }
    this.changes.length = changes
    for (const one of undo.reverse()) one()
    const codeOf = (i: number) => (i < failed ? 0 : i === failed ? err : Code.runtimeInconsistency)
    return { err: 0, results: parts.map((_, i) => ({ err: codeOf(i) })) }
  }

  #part(part: WritePart, at: Circumstances): PartResult {
    if (!this.#sessions.has(at.session)) return { err: Code.sessionExpired }
    switch (part.type) {
      case 'create':
        return this.#create(part, at)
      case 'delete': {
        const node = this.at(part.path, at.zxid)
        if (node === undefined) return { err: Code.noNode }
        if (part.version !== -1 && part.version !== node.version) return { err: Code.badVersion }
        if (node.children.length > 0) return { err: Code.notEmpty }
        this.#remove(part.path, at.zxid)
        return { err: 0 }
      }
      case 'set': {
        const node = this.at(part.path, at.zxid)
        if (node === undefined) return { err: Code.noNode }
        if (part.version !== -1 && part.version !== node.version) return { err: Code.badVersion }
        const { data } = part
        const next = { ...node, data, version: node.version + 1, mzxid: at.zxid, mtime: at.time }
        this.#put(part.path, at.zxid, next)
        this.#change(EventType.nodeDataChanged, part.path, at.zxid)
        return { err: 0, stat: statOf(next) }
      }
      case 'check': {
        const node = this.at(part.path, at.zxid)
        if (node === undefined) return { err: Code.noNode }
        return { err: part.version !== -1 && part.version !== node.version ? Code.badVersion : 0 }
      }
    }
  }

  #create(part: WritePart & { readonly type: 'create' }, at: Circumstances): PartResult {
    const { zxid, time, session } = at
    const parent = parentOf(part.path)
    const above = this.at(parent, zxid)
    if (above === undefined) return { err: Code.noNode }
    const path = part.sequential ? part.path + String(above.creates).padStart(10, '0') : part.path
    if (this.at(path, zxid) !== undefined) return { err: Code.nodeExists }
    if (above.owner !== 0) return { err: Code.noChildrenForEphemerals }
    const owner = part.ephemeral ? session : 0
    const node: Znode = {
      data: part.data,
      czxid: zxid,
      mzxid: zxid,
      pzxid: zxid,
      ctime: time,
      mtime: time,
      version: 0,
      creates: 0,
      owner,
      children: [],
    }
    this.#put(path, zxid, node)
    const children = [...above.children, nameOf(path)].sort()
    this.#put(parent, zxid, { ...above, children, creates: above.creates + 1, pzxid: zxid })
    this.#own(owner, path, true)
    this.#change(EventType.nodeCreated, path, zxid)
    this.#change(EventType.nodeChildrenChanged, parent, zxid)
    return part.stat ? { err: 0, path, stat: statOf(node) } : { err: 0, path }
  }

  #remove(path: string, zxid: number): void {
    const node = this.at(path, zxid) as Znode
    const parent = parentOf(path)
    const above = this.at(parent, zxid) as Znode
    this.#put(path, zxid, undefined)
    const children = above.children.filter((name) => name !== nameOf(path))
    this.#put(parent, zxid, { ...above, children, pzxid: zxid })
    this.#own(node.owner, path, false)
    this.#change(EventType.nodeDeleted, path, zxid)
    this.#change(EventType.nodeChildrenChanged, parent, zxid)
  }

  #own(owner: number, path: string, owns: boolean): void {
    const owned = this.#sessions.get(owner)
    if (owned === undefined) return
    if (owns) owned.add(path)
    else owned.delete(path)
    this.#undo?.push(() => {
      if (owns) owned.delete(path)
      else owned.add(path)
    })
  }

  #change(type: number, path: string, zxid: number): void {
    this.changes.push({ zxid, type, path })
  }

  #put(path: string, zxid: number, state: Znode | undefined): void {
    let history = this.#histories.get(path)
    if (history === undefined) {
      history = { zxids: [], states: [] }
      this.#histories.set(path, history)
    }
    const { zxids, states } = history
    const last = zxids.length - 1
    if (zxids[last] === zxid) {
      const before = states[last]
      this.#undo?.push(() => {
        states[last] = before
      })
      states[last] = state
    } else {
      this.#undo?.push(() => {
        zxids.pop()
        states.pop()
      })
      zxids.push(zxid)
      states.push(state)
    }
  }
}

/** The stat of a znode as a client sees it: cversion counts creations and deletions of children. */
export function statOf(node: Znode): Stat {
  return {
    czxid: node.czxid,
    mzxid: node.mzxid,
    ctime: node.ctime,
    mtime: node.mtime,
    version: node.version,
    cversion: node.creates * 2 - node.children.length,
    aversion: 0,
    owner: node.owner,
    dataLength: node.data.length,
    numChildren: node.children.length,
    pzxid: node.pzxid,
  }
}

export function parentOf(path: string): string {
  const slash = path.lastIndexOf('/')
  return slash <= 0 ? '/' : path.slice(0, slash)
}

export function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

function lastAtOrBelow(zxids: readonly number[], zxid: number): number {
  let low = 0
  let high = zxids.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((zxids[middle] as number) <= zxid) low = middle + 1
    else high = middle
  }
  return low - 1
}

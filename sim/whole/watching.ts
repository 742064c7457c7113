// The watches of one session, as client and server must both see them. Replies and events come on one stream, and every
// one says at which zxid it was made: so it is known exactly which events must have come before a reply, and that no
// other may come. Of the server's code it uses nothing; the changes are the model's.
import { EventType } from '../../src/base/opcodes.ts'
import { formatZxid } from '../../src/base/zxid.ts'
import { check } from './check.ts'
import type { Change, Model } from './model.ts'
import type { Read, WatchEvent, WatchLists } from './requests.ts'

type Kind = 'data' | 'exist' | 'child' | 'persistent' | 'recursive'

/** An event that must come, and the watches that it uses up. */
type Due = { readonly key: string; readonly used: readonly (readonly [Kind, string])[] }

/** Of `removeWatches` (semantics.md rule 56). */
const kindsOf: Readonly<Record<number, readonly Kind[]>> = {
  1: ['child'],
  2: ['data', 'exist'],
  3: ['data', 'exist', 'child', 'persistent', 'recursive'],
  4: ['persistent'],
  5: ['recursive'],
}

/** See file header. */
export class WatchBook {
  /** Events that came. */
  events = 0
  readonly #model: Model
  readonly #who: string
  readonly #watches: Readonly<Record<Kind, Set<string>>> = {
    data: new Set(),
    exist: new Set(),
    child: new Set(),
    persistent: new Set(),
    recursive: new Set(),
  }
  /** Every change up to this zxid is dealt with; undefined before the first reply of a connection. */
  #cursor: number | undefined
  /** Events of the transaction at the cursor that have not come yet. */
  #due: Due[] = []
  /** Catch-up events that came ahead of the reply to setWatches. */
  #caughtUp: WatchEvent[] = []

  constructor(model: Model, who: string) {
    this.#model = model
    this.#who = who
  }

  get size(): number {
    return Object.values(this.#watches).reduce((sum, paths) => sum + paths.size, 0)
  }

  /** A new connection: the server knows of no watch yet. */
  connected(): void {
    this.#cursor = undefined
    this.#caughtUp = []
  }

  /** The connection is gone, and events that were under way with it. */
  disconnected(): void {
    for (const { used } of this.#due) for (const [kind, path] of used) this.#watches[kind].add(path)
    this.#due = []
    this.#cursor = undefined
    for (const { type, path } of this.#caughtUp) this.#use(type, path)
    this.#caughtUp = []
  }

  /** What the client asks for when it is connected again. */
  lists(): WatchLists {
    const list = (kind: Kind) => [...this.#watches[kind]].sort()
    return {
      data: list('data'),
      exist: list('exist'),
      child: list('child'),
      persistent: list('persistent'),
      recursive: list('recursive'),
    }
  }

  /** An event has come. */
  event(event: WatchEvent): void {
    this.events++
    const what = () => `${this.#who} gets event ${event.type} of ${event.path} at ${formatZxid(event.zxid)}`
    if (event.zxid === -1) {
      this.#caughtUp.push(event)
      return
    }
    check(this.#cursor !== undefined, () => `${what()} before the reply to setWatches`)
    check(event.zxid <= this.#model.zxid, () => `${what()}, which nobody has applied`)
    check(event.zxid >= this.#cursor, () => {
      return `${what()} after a reply or event of ${formatZxid(this.#cursor as number)}`
    })
    if (event.zxid > this.#cursor) {
      this.#proceed(event.zxid - 1, what)
      this.#advance(event.zxid)
    }
    const key = keyOf(event.type, event.path)
    const index = this.#due.findIndex((due) => due.key === key)
    check(index >= 0, () => `${what()}, but has no watch for it, or had it before`)
    this.#due.splice(index, 1)
  }

  /** A reply has come: all events up to its zxid must have, too. */
  reply(zxid: number): void {
    const what = () => `${this.#who} gets a reply of ${formatZxid(zxid)}`
    if (this.#cursor === undefined) {
      check(
        this.#caughtUp.length === 0,
        () => `${what()} after catch-up events, without having asked for them`,
      )
      check(this.size === 0, () => `${what()} before the reply to setWatches`)
      this.#cursor = zxid
      return
    }
    if (zxid <= this.#cursor && this.#due.length === 0) return
    this.#proceed(Math.max(zxid, this.#cursor), what)
  }

  /** The reply to setWatches has come: exactly what was missed since `since` must have come ahead of it. */
  caughtUp(since: number, lists: WatchLists, zxid: number): void {
    const what = () =>
      `${this.#who}'s setWatches since ${formatZxid(since)}, answered at ${formatZxid(zxid)},`
    const expected = new Set(this.#missed(since, lists, zxid))
    const got = this.#caughtUp.map(({ type, path }) => keyOf(type, path))
    for (const key of got)
      check(expected.has(key), () => `${what()} brings event ${key}, which was not missed`)
    for (const key of expected) check(got.includes(key), () => `${what()} does not bring event ${key}`)
    check(got.length <= expected.size * 3, () => `${what()} brings events again and again`)
    for (const { type, path } of this.#caughtUp) this.#use(type, path)
    this.#caughtUp = []
    this.#cursor = zxid
  }

  /** A read has left a watch. `err` is that of its reply. */
  left(request: Read, err: number): void {
    switch (request.type) {
      case 'get':
        if (request.watch && err === 0) this.#watches.data.add(request.path)
        break
      case 'exists':
        if (request.watch) this.#watches[err === 0 ? 'data' : 'exist'].add(request.path)
        break
      case 'children':
        if (request.watch && err === 0) this.#watches.child.add(request.path)
        break
      case 'addWatch':
        if (err === 0) this.#watches[request.recursive ? 'recursive' : 'persistent'].add(request.path)
        break
      case 'removeWatches':
        this.#removed(request.path, request.kind, err)
        break
      default:
        break
    }
  }

  #removed(path: string, kind: number, err: number): void {
    const kinds = kindsOf[kind] as readonly Kind[]
    const there = kinds.some((one) => this.#watches[one].has(path))
    check(there === (err === 0), () => {
      return `${this.#who} removes watches of kind ${kind} on ${path}: answered ${err}, there ${there ? 'is one' : 'are none'}`
    })
    for (const one of kinds) this.#watches[one].delete(path)
  }

  /** Deals with everything up to `zxid`: nothing of it may be due any more. */
  #proceed(zxid: number, what: () => string): void {
    const late = (due: Due) => () =>
      `${what()}, but event ${due.key} of ${formatZxid(this.#cursor as number)} has not come`
    for (const due of this.#due) check(false, late(due))
    const { changes } = this.#model
    let next = this.#model.changesAfter(this.#cursor as number)
    while (next < changes.length && (changes[next] as Change).zxid <= zxid) {
      this.#advance((changes[next] as Change).zxid)
      for (const due of this.#due) check(false, late(due))
      next = this.#model.changesAfter(this.#cursor as number)
    }
    this.#cursor = zxid
  }

  /** The changes of one transaction become due. */
  #advance(zxid: number): void {
    const { changes } = this.#model
    this.#cursor = zxid
    for (let i = this.#model.changesAfter(zxid - 1); changes[i]?.zxid === zxid; i++) {
      const due = this.#fire(changes[i] as Change)
      if (due !== undefined) this.#due.push(due)
    }
  }

  #fire({ type, path }: Change): Due | undefined {
    const { data, exist, child, persistent, recursive } = this.#watches
    const used: (readonly [Kind, string])[] = []
    let lasting = persistent.has(path)
    if (type !== EventType.nodeChildrenChanged) {
      if (data.has(path)) used.push(['data', path])
      if (exist.has(path)) used.push(['exist', path])
      for (const top of recursive) lasting ||= path === top || path.startsWith(`${top}/`)
    }
    const ofChild = type === EventType.nodeChildrenChanged || type === EventType.nodeDeleted
    if (ofChild && child.has(path)) used.push(['child', path])
    if (!lasting && used.length === 0) return undefined
    for (const [kind, path] of used) this.#watches[kind].delete(path)
    return { key: keyOf(type, path), used }
  }

  /** What a client does to its watches when an event comes. */
  #use(type: number, path: string): void {
    const { data, exist, child } = this.#watches
    if (type !== EventType.nodeChildrenChanged) {
      data.delete(path)
      exist.delete(path)
    }
    if (type === EventType.nodeChildrenChanged || type === EventType.nodeDeleted) child.delete(path)
  }

  /** Semantics.md rule 57. */
  #missed(since: number, lists: WatchLists, zxid: number): string[] {
    const missed: string[] = []
    for (const path of lists.data) {
      const node = this.#model.at(path, zxid)
      if (node === undefined) missed.push(keyOf(EventType.nodeDeleted, path))
      else if (node.mzxid > since) missed.push(keyOf(EventType.nodeDataChanged, path))
    }
    for (const path of lists.exist)
      if (this.#model.at(path, zxid) !== undefined) missed.push(keyOf(EventType.nodeCreated, path))
    for (const path of lists.child) {
      const node = this.#model.at(path, zxid)
      if (node === undefined) missed.push(keyOf(EventType.nodeDeleted, path))
      else if (node.pzxid > since) missed.push(keyOf(EventType.nodeChildrenChanged, path))
    }
    return missed
  }
}

function keyOf(type: number, path: string): string {
  return `${type} ${path}`
}

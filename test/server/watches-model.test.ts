// The watches against a plain model of ZooKeeper's two tables: lists of registrations, searched from end to end.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { EventType } from '../../src/base/opcodes.ts'
import { Watches } from '../../src/server/watches.ts'

type Mode = 'oneShot' | 'persistent' | 'recursive'
type Registration = { table: 'data' | 'child'; path: string; watcher: { id: number }; mode: Mode }
type Seen = { watcher: { id: number }; type: number; path: string }

class Model {
  all: Registration[] = []

  add(table: 'data' | 'child', path: string, watcher: { id: number }, mode: Mode): void {
    const same = this.#find(table, path, watcher).some((r) => r.mode === mode)
    if (!same) this.all.push({ table, path, watcher, mode })
  }

  addMode(kind: number, path: string, watcher: { id: number }): void {
    if (kind === 0) this.add('data', path, watcher, 'oneShot')
    else if (kind === 1) this.add('child', path, watcher, 'oneShot')
    else if (kind === 2) {
      this.add('data', path, watcher, 'persistent')
      this.add('child', path, watcher, 'persistent')
    } else this.add('data', path, watcher, 'recursive')
  }

  ofType(path: string, watcher: { id: number }, type: number): Registration[] {
    return this.all.filter((r) => {
      if (r.path !== path || r.watcher !== watcher) return false
      if (type === 1) return r.table === 'child' && r.mode === 'oneShot'
      if (type === 2) return r.table === 'data' && r.mode === 'oneShot'
      if (type === 4) return r.mode === 'persistent'
      return type === 3 || r.mode === 'recursive'
    })
  }

  drop(gone: Registration[]): void {
    this.all = this.all.filter((r) => !gone.includes(r))
  }

  #find(table: string, path: string, watcher: { id: number }): Registration[] {
    return this.all.filter((r) => r.table === table && r.path === path && r.watcher === watcher)
  }

  trigger(table: string, type: number, path: string, suppress = new Set<{ id: number }>()): Seen[] {
    const hit = this.all.filter((r) => {
      if (r.table !== table) return false
      const below = r.path === '/' ? true : path.startsWith(`${r.path}/`)
      return r.path === path || (r.mode === 'recursive' && below)
    })
    const watchers = new Set(hit.map((r) => r.watcher))
    this.drop(hit.filter((r) => r.path === path && r.mode === 'oneShot'))
    return [...watchers].filter((w) => !suppress.has(w)).map((watcher) => ({ watcher, type, path }))
  }

  change(type: number, path: string): Seen[] {
    const parent = path.slice(0, path.lastIndexOf('/')) || '/'
    const first = this.trigger('data', type, path)
    if (type === EventType.nodeDataChanged) return first
    const notified = new Set(first.map((event) => event.watcher))
    const second = type === EventType.nodeDeleted ? this.trigger('child', type, path, notified) : []
    return [...first, ...second, ...this.trigger('child', EventType.nodeChildrenChanged, parent)]
  }

  pairs(table: string): number {
    return new Set(this.all.filter((r) => r.table === table).map((r) => `${r.watcher.id} ${r.path}`)).size
  }
}

// The order among connections is free; the order of what one connection sees is not.
function perWatcher(seen: Seen[]): Map<number, string[]> {
  const result = new Map<number, string[]>()
  for (const { watcher, type, path } of seen) {
    result.set(watcher.id, [...(result.get(watcher.id) ?? []), `${type} ${path}`])
  }
  return result
}

const paths = ['/', '/a', '/a/b', '/a/b/c', '/a/bc', '/d']
const action = fc.oneof(
  { weight: 5, arbitrary: fc.tuple(fc.constant('add'), fc.nat(3), fc.nat(5), fc.nat(3)) },
  { weight: 5, arbitrary: fc.tuple(fc.constant('change'), fc.nat(2), fc.nat(5), fc.constant(0)) },
  { weight: 2, arbitrary: fc.tuple(fc.constant('remove'), fc.nat(4), fc.nat(5), fc.nat(3)) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('gone'), fc.constant(0), fc.constant(0), fc.nat(3)) },
)

test('any sequence of watches and changes notifies as two plain tables do', () => {
  fc.assert(
    fc.property(fc.array(action, { minLength: 20, maxLength: 120, size: 'max' }), (actions) => {
      const watches = new Watches<{ id: number }>()
      const model = new Model()
      const watchers = [0, 1, 2, 3].map((id) => ({ id }))
      for (const [what, kind, at, who] of actions) {
        const path = paths[at]!
        const watcher = watchers[who]!
        if (what === 'add') {
          if (kind === 0) watches.addData(path, watcher)
          else if (kind === 1) watches.addChild(path, watcher)
          else watches.addWatch(path, watcher, kind - 2)
          model.addMode(kind, path, watcher)
        } else if (what === 'remove') {
          const found = model.ofType(path, watcher, kind + 1)
          assert.equal(watches.contains(path, watcher, kind + 1), found.length > 0)
          assert.equal(watches.remove(path, watcher, kind + 1), found.length > 0)
          model.drop(found)
        } else if (what === 'gone') {
          watches.removeAll(watcher)
          model.drop(model.all.filter((r) => r.watcher === watcher))
        } else if (path !== '/' || kind === 2) {
          const type = [EventType.nodeCreated, EventType.nodeDeleted, EventType.nodeDataChanged][kind]!
          const seen: Seen[] = []
          const deliver = (w: { id: number }, t: number, p: string) =>
            seen.push({ watcher: w, type: t, path: p })
          if (kind === 0) watches.created(path, deliver)
          else if (kind === 1) watches.deleted(path, deliver)
          else watches.dataChanged(path, deliver)
          assert.deepEqual(perWatcher(seen), perWatcher(model.change(type, path)))
        }
        const data = model.all.filter((r) => r.table === 'data')
        assert.equal(watches.count, model.pairs('data') + model.pairs('child'))
        assert.equal(watches.size === 0, model.all.length === 0)
        assert.deepEqual(watches.summary(), {
          connections: new Set(data.map((r) => r.watcher)).size,
          paths: new Set(data.map((r) => r.path)).size,
          watches: model.pairs('data'),
        })
        assert.deepEqual(
          new Set([...watches.byWatcher()].flatMap(([w, all]) => all.map((p) => `${w.id} ${p}`))),
          new Set(data.map((r) => `${r.watcher.id} ${r.path}`)),
        )
        assert.deepEqual(
          new Set([...watches.byPath()].flatMap(([p, all]) => all.map((w) => `${w.id} ${p}`))),
          new Set(data.map((r) => `${r.watcher.id} ${r.path}`)),
        )
      }
    }),
    { numRuns: 150 },
  )
})

test('a connection with many watches that fire and are set again keeps exactly its live ones', () => {
  const watches = new Watches<{ id: number }>()
  const [busy, other] = [{ id: 1 }, { id: 2 }]
  const live = new Set<string>()
  for (let round = 0; round < 20000; round++) {
    const path = `/p${(round * 7919) % 300}`
    if (live.delete(path)) watches.dataChanged(path, (w) => assert.ok(w === busy || w === other))
    else {
      live.add(path)
      watches.addData(path, busy)
      if (round % 3 === 0) watches.addData(path, other)
    }
  }
  const mine = watches.byWatcher().get(busy) ?? []
  assert.equal(mine.length, live.size)
  assert.deepEqual(new Set(mine), live)
  watches.removeAll(busy)
  watches.removeAll(other)
  assert.equal(watches.size, 0)
})

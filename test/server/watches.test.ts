import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ZkError } from '../../src/base/errors.ts'
import { EventType } from '../../src/base/opcodes.ts'
import { WatcherType, Watches } from '../../src/server/watches.ts'

type Connection = { readonly name: string }
const a: Connection = { name: 'a' }
const b: Connection = { name: 'b' }
const c: Connection = { name: 'c' }

const { nodeCreated, nodeDeleted, nodeDataChanged, nodeChildrenChanged } = EventType
const short = new Map<number, string>([
  [nodeCreated, 'created'],
  [nodeDeleted, 'deleted'],
  [nodeDataChanged, 'data'],
  [nodeChildrenChanged, 'children'],
])

/** What `change` delivers, in order, as texts like `a created /x`. */
function events(change: (deliver: (w: Connection, type: number, path: string) => void) => void): string[] {
  const seen: string[] = []
  change((watcher, type, path) => seen.push(`${watcher.name} ${short.get(type)} ${path}`))
  return seen
}

const created = (watches: Watches<Connection>, path: string) => events((d) => watches.created(path, d))
const deleted = (watches: Watches<Connection>, path: string) => events((d) => watches.deleted(path, d))
const changed = (watches: Watches<Connection>, path: string) => events((d) => watches.dataChanged(path, d))

test('a data watch hears of each kind of change of its znode, once', () => {
  const watches = new Watches<Connection>()
  for (const [change, word] of [
    [created, 'created'],
    [deleted, 'deleted'],
    [changed, 'data'],
  ] as const) {
    assert.equal(watches.addData('/x', a), true)
    assert.deepEqual(change(watches, '/x'), [`a ${word} /x`])
    assert.deepEqual(change(watches, '/x'), [])
  }
  assert.equal(watches.size, 0)
})

test('a data watch does not hear of children, parents or other paths', () => {
  const watches = new Watches<Connection>()
  watches.addData('/x', a)
  for (const path of ['/x/y', '/', '/xy', '/y']) {
    assert.deepEqual([...created(watches, path), ...changed(watches, path), ...deleted(watches, path)], [])
  }
  assert.equal(watches.size, 1)
})

test('a child watch hears of a child created or deleted, not of data and not of grandchildren', () => {
  const watches = new Watches<Connection>()
  watches.addChild('/x', a)
  assert.deepEqual(
    [...changed(watches, '/x'), ...changed(watches, '/x/y'), ...created(watches, '/x/y/z')],
    [],
  )
  assert.deepEqual(created(watches, '/x/y'), ['a children /x'])
  watches.addChild('/x', a)
  assert.deepEqual(deleted(watches, '/x/y'), ['a children /x'])
  watches.addChild('/', a)
  assert.deepEqual(created(watches, '/x'), ['a children /'])
  assert.equal(watches.size, 0)
})

test('a deleted znode tells its child watch too, and the parent afterwards', () => {
  const watches = new Watches<Connection>()
  watches.addChild('/p/x', a)
  watches.addChild('/p', a)
  watches.addData('/p/x', b)
  assert.deepEqual(deleted(watches, '/p/x'), ['b deleted /p/x', 'a deleted /p/x', 'a children /p'])
})

test('data and child watch of one connection give one event on delete, and both are used up', () => {
  const watches = new Watches<Connection>()
  watches.addData('/x', a)
  watches.addChild('/x', a)
  watches.addChild('/x', b)
  assert.deepEqual(deleted(watches, '/x'), ['a deleted /x', 'b deleted /x'])
  assert.equal(watches.size, 0)
})

test('a watch set twice is one watch', () => {
  const watches = new Watches<Connection>()
  assert.deepEqual(
    [watches.addData('/x', a), watches.addData('/x', a), watches.addData('/x', b)],
    [true, false, true],
  )
  assert.equal(watches.addData('/x', b), false)
  assert.deepEqual([watches.addChild('/x', a), watches.addChild('/x', a)], [true, false])
  assert.deepEqual([watches.addPersistent('/x', a), watches.addPersistent('/x', a)], [true, false])
  assert.deepEqual([watches.addRecursive('/x', a), watches.addRecursive('/x', a)], [true, false])
  assert.equal(watches.size, 5)
})

test('a persistent watch hears of everything at its path, over deletion and creation', () => {
  const watches = new Watches<Connection>()
  watches.addPersistent('/x', a)
  for (let i = 0; i < 2; i++) {
    assert.deepEqual(created(watches, '/x'), ['a created /x'])
    assert.deepEqual(changed(watches, '/x'), ['a data /x'])
    assert.deepEqual(created(watches, '/x/y'), ['a children /x'])
    assert.deepEqual(changed(watches, '/x/y'), [])
    assert.deepEqual(deleted(watches, '/x/y'), ['a children /x'])
    assert.deepEqual(deleted(watches, '/x'), ['a deleted /x'])
  }
})

test('a recursive watch hears of its znode and all descendants, never of children', () => {
  const watches = new Watches<Connection>()
  watches.addRecursive('/x', a)
  for (const path of ['/x', '/x/y', '/x/y/z']) {
    assert.deepEqual(created(watches, path), [`a created ${path}`])
    assert.deepEqual(changed(watches, path), [`a data ${path}`])
    assert.deepEqual(deleted(watches, path), [`a deleted ${path}`])
  }
  assert.deepEqual([...created(watches, '/xy'), ...created(watches, '/y'), ...changed(watches, '/')], [])
})

test('a recursive watch at the root hears of everything', () => {
  const watches = new Watches<Connection>()
  watches.addRecursive('/', a)
  assert.deepEqual(
    [...changed(watches, '/'), ...created(watches, '/x'), ...deleted(watches, '/x/y')],
    ['a data /', 'a created /x', 'a deleted /x/y'],
  )
})

test('several matching watches of one connection give one event per change and path', () => {
  const watches = new Watches<Connection>()
  watches.addRecursive('/', a)
  watches.addRecursive('/r', a)
  watches.addPersistent('/r/x', a)
  watches.addData('/r/x', a)
  watches.addChild('/r/x', a)
  assert.deepEqual(changed(watches, '/r/x'), ['a data /r/x'])
  assert.equal(watches.contains('/r/x', a, WatcherType.data), false)
  watches.addData('/r/x', a)
  assert.deepEqual(deleted(watches, '/r/x'), ['a deleted /r/x'])
  assert.equal(watches.contains('/r/x', a, WatcherType.children), false)
})

test('a child watch and a recursive one give both events, the child first', () => {
  const watches = new Watches<Connection>()
  watches.addChild('/r', a)
  watches.addRecursive('/r', a)
  assert.deepEqual(created(watches, '/r/x'), ['a created /r/x', 'a children /r'])
})

test('every connection gets its event, whatever its kind of watch', () => {
  const watches = new Watches<Connection>()
  watches.addData('/x', a)
  watches.addData('/x', b)
  watches.addPersistent('/x', c)
  watches.addRecursive('/', b)
  assert.deepEqual(changed(watches, '/x').sort(), ['a data /x', 'b data /x', 'c data /x'])
  assert.deepEqual(changed(watches, '/x').sort(), ['b data /x', 'c data /x'])
})

test('fire takes one event at a time, for callers that know the parent themselves', () => {
  const watches = new Watches<Connection>()
  watches.addChild('/x', a)
  watches.addData('/x', a)
  assert.deepEqual(
    events((d) => watches.fire(nodeChildrenChanged, '/x', d)),
    ['a children /x'],
  )
  assert.deepEqual(
    events((d) => watches.fire(nodeDataChanged, '/x', d)),
    ['a data /x'],
  )
})

test('contains and remove tell the types apart', () => {
  const add = {
    [WatcherType.children]: (w: Watches<Connection>) => w.addChild('/x', a),
    [WatcherType.data]: (w: Watches<Connection>) => w.addData('/x', a),
    [WatcherType.persistent]: (w: Watches<Connection>) => w.addWatch('/x', a, 0),
    [WatcherType.recursive]: (w: Watches<Connection>) => w.addWatch('/x', a, 1),
  }
  for (const [kind, put] of Object.entries(add)) {
    for (const type of Object.values(WatcherType)) {
      const watches = new Watches<Connection>()
      put(watches)
      const matches = type === WatcherType.any || type === Number(kind)
      assert.equal(watches.contains('/x', a, type), matches, `kind ${kind} type ${type}`)
      assert.equal(watches.contains('/x', b, type), false)
      assert.equal(watches.contains('/y', a, type), false)
      assert.equal(watches.remove('/x', b, type), false)
      assert.equal(watches.remove('/y', a, type), false)
      assert.equal(watches.remove('/x', a, type), matches)
      assert.equal(watches.remove('/x', a, type), false)
      assert.equal(watches.size, matches ? 0 : 1)
    }
  }
})

test('both modes of addWatch stay side by side and are removed one by one', () => {
  const watches = new Watches<Connection>()
  watches.addWatch('/x', a, 0)
  watches.addWatch('/x', a, 1)
  assert.equal(watches.remove('/x', a, WatcherType.persistent), true)
  assert.deepEqual(created(watches, '/x/y'), ['a created /x/y'])
  assert.equal(watches.remove('/x', a, WatcherType.recursive), true)
  assert.equal(watches.remove('/x', a, WatcherType.any), false)
})

test('removing any watch leaves other connections and other paths alone', () => {
  const watches = new Watches<Connection>()
  for (const w of [a, b]) {
    watches.addData('/x', w)
    watches.addChild('/x', w)
    watches.addPersistent('/x', w)
    watches.addRecursive('/x', w)
    watches.addData('/y', w)
  }
  assert.equal(watches.remove('/x', a, WatcherType.any), true)
  assert.equal(watches.size, 6)
  assert.deepEqual(changed(watches, '/x'), ['b data /x'])
  assert.deepEqual(changed(watches, '/y'), ['a data /y', 'b data /y'])
})

test('a mode or a type that does not exist is a marshalling error', () => {
  const watches = new Watches<Connection>()
  const isMarshalling = (error: unknown) => error instanceof ZkError && error.code === -5
  for (const mode of [-1, 2]) assert.throws(() => watches.addWatch('/x', a, mode), isMarshalling)
  for (const type of [0, 6, -1]) {
    assert.throws(() => watches.contains('/x', a, type), isMarshalling)
    assert.throws(() => watches.remove('/x', a, type), isMarshalling)
  }
  assert.equal(watches.size, 0)
})

test('a connection that is gone leaves nothing behind', () => {
  const watches = new Watches<Connection>()
  for (const w of [a, b]) {
    for (const path of ['/', '/x', '/x/y']) {
      watches.addData(path, w)
      watches.addChild(path, w)
      watches.addPersistent(path, w)
      watches.addRecursive(path, w)
    }
  }
  watches.removeAll(a)
  watches.removeAll(c)
  assert.equal(watches.size, 12)
  assert.deepEqual(deleted(watches, '/x/y'), ['b deleted /x/y', 'b children /x'])
  watches.removeAll(b)
  assert.equal(watches.size, 0)
  assert.equal(watches.count, 0)
  assert.deepEqual(watches.summary(), { connections: 0, paths: 0, watches: 0 })
  assert.deepEqual(deleted(watches, '/x/y'), [])
})

test('a connection may be dropped while it is being told', () => {
  const watches = new Watches<Connection>()
  for (const w of [a, b, c]) watches.addPersistent('/x', w)
  for (const w of [a, b, c]) watches.addData('/y', w)
  const seen: string[] = []
  const drop = (w: Connection) => {
    seen.push(w.name)
    watches.removeAll(w)
  }
  watches.dataChanged('/x', drop)
  assert.deepEqual(seen, ['a', 'b', 'c'])
  assert.equal(watches.size, 0)
})

test('wchs counts connections, paths and watches of the data table; zk_watch_count both tables', () => {
  const watches = new Watches<Connection>()
  watches.addChild('/only-children', a)
  assert.deepEqual(watches.summary(), { connections: 0, paths: 0, watches: 0 })
  watches.addData('/x', a)
  watches.addData('/x', b)
  watches.addData('/y', a)
  assert.deepEqual(watches.summary(), { connections: 2, paths: 2, watches: 3 })
  assert.equal(watches.count, 4)
  // The same connection and path in several modes is one watch of a table.
  watches.addPersistent('/x', a)
  watches.addRecursive('/x', a)
  watches.addRecursive('/z', c)
  assert.deepEqual(watches.summary(), { connections: 3, paths: 3, watches: 4 })
  assert.equal(watches.count, 6)
  assert.deepEqual(
    new Map([...watches.byWatcher()].map(([w, paths]) => [w.name, paths.sort()])),
    new Map([
      ['a', ['/x', '/y']],
      ['b', ['/x']],
      ['c', ['/z']],
    ]),
  )
  assert.deepEqual(
    new Map([...watches.byPath()].map(([path, all]) => [path, all.map((w) => w.name).sort()])),
    new Map([
      ['/x', ['a', 'b']],
      ['/y', ['a']],
      ['/z', ['c']],
    ]),
  )
  changed(watches, '/x')
  assert.deepEqual(watches.summary(), { connections: 2, paths: 3, watches: 3 })
})

test('setWatches gives what was missed, or the watch', () => {
  const watches = new Watches<Connection>()
  const tree = new Map([
    ['/same', { mzxid: 10, pzxid: 10 }],
    ['/data', { mzxid: 11, pzxid: 5 }],
    ['/kids', { mzxid: 5, pzxid: 11 }],
  ])
  const paths = ['/same', '/data', '/kids', '/gone']
  const seen = events((deliver) =>
    watches.setWatches(
      10,
      { data: paths, exist: paths, child: paths, persistent: ['/p', '/data'], recursive: ['/r', '/gone'] },
      (path) => tree.get(path),
      a,
      deliver,
    ),
  )
  assert.deepEqual(seen, [
    'a data /data',
    'a deleted /gone',
    'a created /same',
    'a created /data',
    'a created /kids',
    'a children /kids',
    'a deleted /gone',
  ])
  const has = (type: number) => [...paths, '/p', '/r'].filter((path) => watches.contains(path, a, type))
  assert.deepEqual(has(WatcherType.data), ['/same', '/kids', '/gone'])
  assert.deepEqual(has(WatcherType.children), ['/same', '/data'])
  assert.deepEqual(has(WatcherType.persistent), ['/data', '/p'])
  assert.deepEqual(has(WatcherType.recursive), ['/gone', '/r'])
})

// The tree's own book-keeping where the model tests do not reach: taking multis back when references of znodes are
// reused, what the next checkpoint takes, and the assertions.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Applier } from '../../src/tree/apply.ts'
import { createFlatStore } from '../../src/tree/flat-store.ts'
import { NONE, NodeKind, type NodeRef } from '../../src/tree/store.ts'
import { Tree } from '../../src/tree/tree.ts'
import { checkProperty } from '../support/tree-random.ts'
import { assertSameState, checkTree, stateOfTree } from '../support/tree-state.ts'
import {
  batchOf,
  check,
  create,
  createContainer,
  createTtl,
  multi,
  type Operation,
  type Request,
  remove,
  setAcl,
  setData,
} from '../support/tree-transactions.ts'

const session = 5

function freshTree(): { tree: Tree; apply: (request: Request) => number } {
  const tree = new Tree()
  tree.initialize()
  const applier = new Applier(tree)
  const apply = (request: Request): number => {
    applier.apply(batchOf([{ session, ids: [], request }], 1000 + tree.zxid), 0, tree.zxid + 1, false)
    return applier.err
  }
  apply({ type: 'createSession', timeout: 4000 })
  return { tree, apply }
}

/**
 * A tree over two pages of 4096 records with a free place in each: what a multi frees in the first page is not what it
 * is given back when it is undone, and references are exchanged.
 */
function scatteredTree(): { tree: Tree; apply: (request: Request) => number } {
  const { tree, apply } = freshTree()
  const { store } = tree
  for (const path of ['/old', '/hole1', '/fill']) apply(create(path, 'old'))
  const parent = store.findPath('/fill')
  // These need no history of their own.
  for (let i = 0; store.count < 2 * 4096 - 3; i++) {
    const name = Buffer.from(`f${i}`)
    tree.insert(parent, name, 0, name.length, NodeKind.persistent, 0, 0, name, 0, 0, 1, 1)
  }
  for (const path of ['/young', '/young/child', '/hole2']) apply(create(path, 'young'))
  apply(remove('/hole1'))
  apply(remove('/hole2'))
  return { tree, apply }
}

test('a failed multi gives back both of two znodes whose places were exchanged while it was undone', () => {
  const { tree, apply } = scatteredTree()
  const before = stateOfTree(tree).filter((line) => !line.startsWith('zxid'))
  const failing = multi(
    setData('/old', 'changed'),
    setData('/young/child', 'changed too'),
    remove('/young/child'),
    remove('/old'),
    create('/another', 'takes a free place'),
    check('/nowhere'),
  )
  assert.equal(apply(failing), 0)
  const after = stateOfTree(tree).filter((line) => !line.startsWith('zxid'))
  assertSameState(after, before, 'after the failed multi')
  checkTree(tree)
})

test('a failed multi gives back every kind of znode with all its fields', () => {
  const { tree, apply } = freshTree()
  apply(create('/e', 'ephemeral', 1))
  apply(createContainer('/c'))
  apply(createTtl('/t', 2 ** 40 - 1))
  apply(create('/n', null))
  for (let i = 0; i < 3; i++) apply(setData('/n', i === 2 ? null : 'x'))
  apply(create('/n/child'))
  apply(remove('/n/child'))
  apply(setAcl('/n', [{ perms: 29, scheme: 'world', id: 'anyone' }]))
  const before = stateOfTree(tree).filter((line) => !line.startsWith('zxid'))
  const paths = ['/e', '/c', '/t', '/n']
  assert.equal(apply(multi(...paths.map((path) => remove(path)), check('/nowhere'))), 0)
  const after = stateOfTree(tree).filter((line) => !line.startsWith('zxid'))
  assertSameState(after, before, 'after the failed multi')
  checkTree(tree)
})

const places = ['/old', '/young', '/young/child', '/new', '/new/child', '/young/more'] as const
const place = fc.constantFrom(...places)
const piece: fc.Arbitrary<Operation> = fc.oneof(
  place.map((path) => create(path, 'made')),
  place.map((path) => remove(path)),
  fc.tuple(place, fc.nat(99)).map(([path, n]) => setData(path, `set ${n}`)),
)

test('failed multis over many pages leave the tree as it was', (t) => {
  const { tree, apply } = scatteredTree()
  const { store } = tree
  // Only what the multis touch is compared: the thousands of others have no reference in common with it.
  const touched = (): string[] => {
    const lines: string[] = []
    for (const path of ['/', ...places]) {
      const node = store.findPath(path)
      if (node === NONE) continue
      const { czxid, mzxid, pzxid, mtime, version, cversion } = fieldsOf(tree, node)
      const data = tree.data(node)?.toString()
      lines.push(
        JSON.stringify([path, data, czxid, mzxid, pzxid, mtime, version, cversion, store.numChildren(node)]),
      )
    }
    return lines
  }
  checkProperty(
    (message) => t.diagnostic(message),
    // Operations that fail on the way are left out, so that a multi is undone from its very end.
    fc.array(piece, { minLength: 1, maxLength: 25, size: 'max' }),
    (pieces) => {
      const good: Operation[] = []
      for (const one of pieces) if (succeeds(apply, tree, [...good, one])) good.push(one)
      const before = touched()
      assert.equal(apply(multi(...good, check('/nowhere'))), 0)
      assertSameState(touched(), before, 'after the failed multi')
    },
    { runs: 60, limitMs: 500 },
  )
  checkTree(tree)
})

/** Whether a multi would succeed; it is made to fail at its end, so that nothing changes. */
function succeeds(
  apply: (request: Request) => number,
  tree: Tree,
  operations: readonly Operation[],
): boolean {
  const applier = new Applier(tree)
  const request = multi(...operations, check('/nowhere'))
  applier.apply(batchOf([{ session, ids: [], request }], 1), 0, tree.zxid + 1, true)
  // The header of the last result: an error of its own (-101) and not the one behind a failure (-2).
  const body = applier.reply.bytes()
  assert.equal(apply({ type: 'error', code: -1 }), -1)
  return body.readInt32BE(body.length - 13) === -101
}

function fieldsOf(tree: Tree, node: NodeRef) {
  const { store } = tree
  return {
    czxid: store.czxid(node),
    mzxid: store.mzxid(node),
    pzxid: store.pzxid(node),
    mtime: store.mtime(node),
    version: store.version(node),
    cversion: store.cversion(node),
  }
}

test('a multi inside a multi, an ACL in a multi and the end of a session with ephemerals are refused', () => {
  const { tree, apply } = freshTree()
  apply(create('/e', '', 1))
  assert.throws(() => tree.endSession(session), { name: 'InvariantError', message: /still owns ephemerals/ })
  tree.begin()
  assert.throws(() => tree.begin(), { name: 'InvariantError' })
  assert.throws(() => tree.replaceAcl(tree.store.root, 0), { name: 'InvariantError' })
})

test('only an empty tree is initialized', () => {
  const { tree } = freshTree()
  assert.throws(() => tree.initialize(), { name: 'InvariantError' })
})

test('a fresh tree has four znodes, all stats 0 but the aversion of /zookeeper/config', () => {
  const tree = new Tree()
  tree.initialize()
  assert.deepEqual(stateOfTree(tree).slice(0, 4), [
    "/ '' world:anyone:31 persistent 0 0 0 0 0 0 0 0 0 [/zookeeper]",
    "/zookeeper '' world:anyone:31 persistent 0 0 0 0 0 0 0 0 0 [/zookeeper/config /zookeeper/quota]",
    "/zookeeper/config '' world:anyone:1 persistent 0 0 0 0 0 0 0 0 -1 []",
    "/zookeeper/quota '' world:anyone:31 persistent 0 0 0 0 0 0 0 0 0 []",
  ])
  checkTree(tree)
})

test('what a checkpoint takes is each changed znode once, and each stored one that is gone', () => {
  const { tree, apply } = freshTree()
  tree.takeDirty(() => assert.fail('nothing is pending any more'))
  const segment = tree.segments.add()
  const nodes = listed(tree)
  for (const node of nodes) tree.encoded(node, tree.segments.append(segment))
  tree.checkpointDone()
  assert.equal(tree.dirtyBytes, 0)
  apply(create('/a', 'x'))
  apply(setData('/a', 'y'))
  apply(create('/gone'))
  apply(remove('/gone'))
  apply(remove('/a'))
  apply(create('/a', 'z'))
  assert.ok(tree.dirtyBytes > 0)
  const taken = tree.takeDirty(() => undefined)
  const pending = new Set(taken.nodes.filter((node) => tree.isPending(node)))
  assert.deepEqual([...pending].map((node) => tree.store.path(node)).sort(), ['/', '/a'])
  assert.deepEqual(taken.removed, [])
  assert.deepEqual([...taken.sessions], [])
  assert.throws(() => tree.takeDirty(() => undefined), { name: 'InvariantError' })
})

test('a znode that is pending is handed over before it changes, and once', () => {
  const { tree, apply } = freshTree()
  apply(create('/a', 'before'))
  const seen: string[] = []
  const { store } = tree
  const segment = tree.segments.add()
  tree.takeDirty((node) => {
    seen.push(`${store.path(node)} ${tree.data(node)?.toString()} ${store.cversion(node)}`)
    tree.encoded(node, tree.segments.append(segment))
  })
  apply(setData('/a', 'after'))
  apply(setData('/a', 'after that'))
  apply(create('/a/b'))
  apply(create('/c'))
  assert.deepEqual(seen, ['/a before 0', '/  1'])
})

function listed(tree: Tree): NodeRef[] {
  const nodes: NodeRef[] = []
  tree.forEach((node) => {
    nodes.push(node)
  })
  return nodes
}

test('forEach visits a subtree, parents first, and nothing beside it', () => {
  const { tree, apply } = freshTree()
  for (const path of ['/a', '/a/x', '/a/x/1', '/a/y', '/b', '/b/z']) apply(create(path))
  const under = (top: string): string[] => {
    const paths: string[] = []
    tree.forEach((node) => {
      const path = tree.store.path(node)
      const parent = path.slice(0, path.lastIndexOf('/'))
      assert.ok(path === top || paths.includes(parent), `${path} before its parent`)
      paths.push(path)
    }, tree.store.findPath(top))
    return paths.sort()
  }
  assert.deepEqual(under('/a'), ['/a', '/a/x', '/a/x/1', '/a/y'])
  assert.deepEqual(under('/a/x/1'), ['/a/x/1'])
  assert.deepEqual(under('/b'), ['/b', '/b/z'])
  assert.equal(listed(tree).length, tree.store.count)
})

test('a tree works on any store that is empty', () => {
  const tree = new Tree(createFlatStore({ hashMask: 1 }))
  tree.initialize()
  assert.equal(tree.store.count, 4)
  checkTree(tree)
})

test('a tree that adopts another becomes it, and goes on as it would have gone on', () => {
  const requests: Request[] = [
    create('/a', 'x'),
    create('/e', 'y', 1),
    createContainer('/c'),
    createTtl('/t', 5000),
    create('/zookeeper/quota/a', ''),
    create('/zookeeper/quota/a/zookeeper_limits', 'count=5,bytes=-1'),
    setAcl('/a', [{ perms: 31, scheme: 'digest', id: 'u:p' }]),
    { type: 'settings', rulesVersion: 1, id: Buffer.alloc(16, 1), secret: Buffer.alloc(32, 2) },
  ]
  const later: Request[] = [
    remove('/e'),
    create('/c/d'),
    multi(setData('/t', 'z'), create('/f')),
    { type: 'closeSession' },
  ]
  const [one, other, same] = [freshTree(), freshTree(), freshTree()]
  for (const request of [
    create('/old'),
    create('/old/e', '', 1),
    createContainer('/oldc'),
    create('/zookeeper/quota/old'),
  ])
    one.apply(request)
  for (const request of requests) {
    other.apply(request)
    same.apply(request)
  }
  one.tree.adopt(other.tree)
  assertSameState(stateOfTree(one.tree), stateOfTree(same.tree), 'adopted')
  checkTree(one.tree)
  assert.deepEqual(one.tree.digest(), same.tree.digest())
  assert.equal(one.tree.newestSession(0), same.tree.newestSession(0))
  assert.deepEqual([one.tree.changes.count, one.tree.notices], [0, []])
  for (const request of later) assert.equal(one.apply(request), same.apply(request), JSON.stringify(request))
  assertSameState(stateOfTree(one.tree), stateOfTree(same.tree), 'gone on')
  checkTree(one.tree)
  const written = (tree: Tree) => {
    const { nodes, removed, sessions } = tree.takeDirty(() => undefined)
    tree.checkpointDone()
    return [nodes.length, removed.length, sessions.size]
  }
  assert.deepEqual(written(one.tree), written(same.tree))
})

test('a tree that a checkpoint is being made of can not adopt another', () => {
  const { tree } = freshTree()
  tree.takeDirty(() => undefined)
  assert.throws(() => tree.adopt(freshTree().tree), { name: 'InvariantError' })
})

// The tree digest is ZooKeeper's (reference/storage-v2.md section 4), so that a tree can be compared with an imported one.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Applier } from '../../src/tree/apply.ts'
import { Tree } from '../../src/tree/tree.ts'
import { digestFromScratch, digestOf } from '../support/tree-state.ts'
import {
  batchOf,
  create,
  createContainer,
  createTtl,
  multi,
  type Request,
  remove,
  setAcl,
  setData,
} from '../support/tree-transactions.ts'

function freshTree(): { tree: Tree; apply: (request: Request, time?: number) => void } {
  const tree = new Tree()
  tree.initialize()
  const applier = new Applier(tree)
  return {
    tree,
    apply: (request, time = 1_700_000_000_000) => {
      applier.apply(batchOf([{ session: 2 ** 53 - 1, ids: [], request }], time), 0, tree.zxid + 1, false)
      assert.equal(applier.err, 0, JSON.stringify(request))
    },
  }
}

test("a fresh tree has the digest that ZooKeeper's log has behind its first transaction", () => {
  const { tree, apply } = freshTree()
  assert.equal(digestOf(tree), 1_371_985_504n)
  apply({ type: 'createSession', timeout: 20_000 })
  assert.equal(digestOf(tree), 1_371_985_504n)
})

test('the running digest is the sum over all znodes, kind by kind', () => {
  const { tree, apply } = freshTree()
  apply({ type: 'createSession', timeout: 20_000 })
  const requests: Request[] = [
    create('/a', 'data'),
    create('/a/null', null),
    create('/a/e', 'x', 1),
    createContainer('/c'),
    createTtl('/t', 2 ** 40 - 1),
    create('/é', 'wide'),
    setData('/a', 'longer than it was before'),
    setData('/a', null),
    remove('/a/null'),
    setAcl('/a', [{ perms: 1, scheme: 'world', id: 'anyone' }]),
    multi(create('/m'), create('/m/x'), setData('/m', 'y'), remove('/m/x')),
    multi(remove('/m'), create('/m', 'again'), create('/m/child/too/deep')),
    { type: 'closeSession' },
  ]
  let before = digestOf(tree)
  for (const request of requests) {
    apply(request)
    const digest = digestOf(tree)
    assert.equal(digest, digestFromScratch(tree), JSON.stringify(request))
    const failed = request.type === 'multi' && request.operations.length === 3
    assert.equal(digest === before, failed, JSON.stringify(request))
    before = digest
  }
})

test('znodes below /zookeeper have no part in the digest, /zookeeper itself has', () => {
  const { tree, apply } = freshTree()
  apply({ type: 'createSession', timeout: 20_000 })
  apply(create('/zookeeper/quota/a'))
  const before = digestOf(tree)
  apply(create('/zookeeper/quota/a/b', 'x'))
  apply(setData('/zookeeper/quota/a/b', 'y'))
  apply(remove('/zookeeper/quota/a/b'))
  assert.equal(digestOf(tree), before)
  apply(create('/zookeeper/x'))
  assert.notEqual(digestOf(tree), before)
  apply(create('/zookeeperx'))
  assert.equal(digestOf(tree), digestFromScratch(tree))
})

test('znodes of many parents, and one below twenty thousand others, have their part in the digest', () => {
  const { tree, apply } = freshTree()
  apply({ type: 'createSession', timeout: 20_000 })
  for (let i = 0; i < 700; i++) apply(create(`/parent-with-a-long-name-${i}`))
  for (let i = 0; i < 1400; i++) apply(create(`/parent-with-a-long-name-${(i * 37) % 700}/n${i}`, 'x'))
  assert.equal(digestOf(tree), digestFromScratch(tree))
  apply(remove('/parent-with-a-long-name-0/n700'))
  apply(remove('/parent-with-a-long-name-0/n0'))
  apply(remove('/parent-with-a-long-name-0'))
  apply(create('/another'))
  apply(create('/another/child'))
  assert.equal(digestOf(tree), digestFromScratch(tree))
  const name = Buffer.from('d')
  const time = 1_700_000_000_000
  let deepest = tree.store.root
  for (let i = 0; i < 20_000; i++)
    deepest = tree.insert(deepest, name, 0, 1, 0, 0, 0, name, 0, 1, tree.zxid, time)
  const digest = digestOf(tree)
  tree.replaceData(deepest, Buffer.from('x'), 0, 1, tree.zxid, time)
  assert.notEqual(digestOf(tree), digest)
  while (tree.store.parent(deepest) !== tree.store.root) {
    const above = tree.store.parent(deepest)
    tree.remove(deepest, tree.zxid)
    deepest = above
  }
  assert.equal(digestOf(tree), digestFromScratch(tree))
})

test('the digest is the same however often it is asked for on the way', () => {
  const [asked, unasked] = [freshTree(), freshTree()]
  for (const { apply } of [asked, unasked]) apply({ type: 'createSession', timeout: 1000 })
  for (let i = 0; i < 200; i++) {
    const request = i % 3 === 2 ? remove(`/n${i - 1}`) : create(`/n${i}`, 'x'.repeat(i))
    asked.apply(request)
    unasked.apply(request)
    asked.tree.digest()
  }
  assert.equal(digestOf(asked.tree), digestOf(unasked.tree))
  assert.equal(digestOf(unasked.tree), digestFromScratch(unasked.tree))
})

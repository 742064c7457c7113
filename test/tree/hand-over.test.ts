// A tree that goes from one thread to another is the same there in every field, and goes on like one that stayed.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { InvariantError } from '../../src/base/assert.ts'
import { Applier } from '../../src/tree/apply.ts'
import { createFlatStore } from '../../src/tree/flat-store.ts'
import { ImageWriter } from '../../src/tree/image.ts'
import { NodeFields } from '../../src/tree/store.ts'
import { Tree } from '../../src/tree/tree.ts'
import { compareInsides } from '../support/insides.ts'
import { checkProperty, opening, type Step, step } from '../support/tree-random.ts'
import { assertSameState, checkTree, stateOfTree } from '../support/tree-state.ts'
import {
  batchOf,
  create,
  createContainer,
  createTtl,
  type Request,
  remove,
  setAcl,
  setData,
} from '../support/tree-transactions.ts'

/** What each tree makes for itself: memory for work in between, and what is remembered to save time. */
const ownFields = [
  'FlatStore.#scratch',
  'Slab.#view',
  'Slab.#viewed',
  'Tree.#undo',
  'NodeDigests.#parents',
  'NodeDigests.#paths',
  // Of the table of ACLs: in another order, and without what is gone.
  'ChurnMap.#map',
  'ChurnMap.#vacant',
]
/** What has one value in each tree that can be given away: nothing is under way in it. */
const idleFields = [
  'Tree.watched',
  'Tree.#undoing',
  'Tree.#undoCount',
  'Tree.#undoParts',
  'Tree.#encodePending',
  'Tree.notices',
  'Changes.count',
  'Changes.types',
  'Changes.paths',
  'Changes.acls',
  'FlatStore.root',
  'FlatStore.#family',
  'FlatStore.#parents',
  'Slots.#slotWords',
  'Segments.#changed',
  'NodeDigests.#unknown',
]

/** As another thread gets it. */
function received(tree: Tree): Tree {
  const { parts, memory } = tree.handOver()
  return Tree.from(structuredClone(parts, { transfer: memory }))
}

/** A tree, and what a server does with it. */
class Server {
  tree: Tree
  #applier: Applier
  #time = 1_700_000_000_000

  constructor() {
    // Of its hash a byte is used, so that names collide, and no other tree has this.
    this.tree = new Tree(createFlatStore({ hashMask: 255 }))
    this.#applier = new Applier(this.tree)
    this.tree.initialize()
  }

  apply({ session, ids, request, options, elapsed }: Step): void {
    this.#time += elapsed
    const batch = batchOf([{ session, ids, request }], this.#time, options)
    this.#applier.apply(batch, 0, this.tree.zxid + 1, false)
  }

  ask(...requests: Request[]): void {
    for (const request of requests) this.apply({ session: 77, ids: [alice], request, options: 0, elapsed: 1 })
  }

  /** Records of an image, as text: what changed since the last one. */
  image(): string[] {
    const records: string[] = []
    const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
    const writer = new ImageWriter(this.tree, {
      put: (key, value) => records.push(`${hex(key)} ${hex(value)}`),
      del: (key) => records.push(hex(key)),
    })
    while (writer.advance(100));
    writer.done()
    return [...records, JSON.stringify([writer.totals, writer.state])]
  }

  handOver(): void {
    this.tree = received(this.tree)
    this.#applier = new Applier(this.tree)
  }
}

const alice = { scheme: 'digest', id: 'alice:a1=' }
const openToAlice = [{ perms: 31, ...alice }]
const readable = [{ perms: 19, scheme: 'world', id: 'anyone' }]
/** More than three pages of records, of changes and of whole extras, and many of blocks. */
const crowd = 14_000

/** A history that leaves no field of a tree as it is in a new one. */
function eventful(): Server {
  const server = new Server()
  server.ask(
    { type: 'settings', rulesVersion: 1, id: Buffer.alloc(16, 1), secret: Buffer.alloc(32, 2) },
    { type: 'createSession', timeout: 4000 },
    create('/a', 'data of a'),
    create(`/${'long'.repeat(40)}`, 'x'.repeat(100_000)),
    create('/private', 'x'),
    setAcl('/private', openToAlice),
    create('/public', 'x'),
    setAcl('/public', readable),
    setAcl('/private', [{ perms: 23, ...alice }]),
    setAcl('/public', openToAlice),
    create('/zookeeper/quota/a'),
    create('/zookeeper/quota/a/zookeeper_limits', 'count=100,bytes=1000'),
    create('/zookeeper/quota/a/zookeeper_stats', ''),
  )
  const names = Array.from({ length: crowd }, (_, i) => `/crowd${i}`)
  for (const name of names)
    server.ask(create(name, 'data'), create(`${name}/child`, null), setData(`${name}/child`, 'c'))
  server.image()
  // What is left lies far apart, and pages in between are given back.
  for (const [i, name] of names.entries())
    if (i % 2000 !== 0) server.ask(remove(`${name}/child`), remove(name))
  server.image()
  server.image()
  server.ask(
    { type: 'createSession', timeout: 5000 },
    create('/e', 'ephemeral', 1),
    createContainer('/c'),
    createTtl('/t', 2 ** 39 + 7),
    setAcl('/a', [{ perms: 21, ...alice }]),
    setAcl('/a', openToAlice),
    remove('/crowd0/child'),
  )
  return server
}

test('every field of a tree is the same after it was handed over, and none was missed', () => {
  const server = eventful()
  const twin = eventful()
  const { seen } = compareInsides(server.tree, twin.tree)
  server.handOver()
  const { differ } = compareInsides(server.tree, twin.tree)
  assert.deepEqual(
    [...differ].filter((field) => !ownFields.includes(field)),
    [],
  )
  // All of them had something in them that a new tree has not, or nothing would be known about the others.
  const fresh = compareInsides(server.tree, new Tree())
  assert.deepEqual(
    [...seen].filter((field) => ![...ownFields, ...idleFields].includes(field) && !fresh.differ.has(field)),
    [],
  )
  checkTree(server.tree)
})

test('all memory of a tree goes with it and is not copied', () => {
  const { tree } = eventful()
  const { reservedBytes } = tree.store
  const { parts, memory } = tree.handOver()
  // But for what a store has to make paths with.
  const bytes = memory.reduce((sum, { byteLength }) => sum + byteLength, 0)
  assert.ok(bytes > 1e6 && reservedBytes - bytes <= 4096, `${bytes} of ${reservedBytes}`)
  assert.equal(new Set(memory).size, memory.length)
  Tree.from(structuredClone(parts, { transfer: memory })).store.check()
  assert.ok(memory.every(({ byteLength }) => byteLength === 0))
})

test('a tree with a multi or a checkpoint under way, or that is being loaded, is not given away', () => {
  const multi = new Tree()
  multi.begin()
  assert.throws(() => multi.handOver(), InvariantError)
  const { tree } = new Server()
  new ImageWriter(tree, { put() {}, del() {} })
  assert.throws(() => tree.handOver(), InvariantError)
  const loading = new Tree()
  const name = Buffer.from('a')
  loading.store.restore(5, loading.store.root, name, 0, name.length, new NodeFields())
  assert.throws(() => loading.handOver(), InvariantError)
})

type Action =
  | { readonly type: 'apply'; readonly step: Step }
  | { readonly type: 'image' }
  | { readonly type: 'handOver' }

const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 20, arbitrary: fc.record({ type: fc.constant('apply'), step }) },
  { weight: 2, arbitrary: fc.constant<Action>({ type: 'image' }) },
  { weight: 1, arbitrary: fc.constant<Action>({ type: 'handOver' }) },
)

/** Does the same with two trees, of which one is handed over and the other stays where it is. */
function run(actions: readonly Action[]): void {
  const moving = new Server()
  const staying = new Server()
  for (const action of actions) {
    switch (action.type) {
      case 'apply':
        for (const server of [moving, staying]) server.apply(action.step)
        break
      case 'image':
        assert.deepEqual(moving.image(), staying.image())
        break
      case 'handOver':
        moving.handOver()
        break
    }
  }
  moving.handOver()
  assertSameState(stateOfTree(moving.tree), stateOfTree(staying.tree), 'a tree that was handed over')
  checkTree(moving.tree)
  assert.deepEqual(moving.image(), staying.image())
}

test('a tree goes on after it was handed over, and its images are the same', (t) => {
  checkProperty(
    (message) => t.diagnostic(message),
    fc.array(action, { minLength: 40, maxLength: 200, size: 'max' }),
    (actions) => run([...opening.map((step): Action => ({ type: 'apply', step })), ...actions]),
    { runs: 15, limitMs: 1000 },
  )
})

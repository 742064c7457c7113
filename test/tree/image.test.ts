// Images of the tree: what a writer gave is exactly the state at the moment it was made, whatever happened while it
// was at work; chains of incremental images stay so; and no damage loads as another tree.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Applier } from '../../src/tree/apply.ts'
import {
  ImageReader,
  type ImageState,
  type ImageTotals,
  ImageWriter,
  type RecordSink,
} from '../../src/tree/image.ts'
import type { NodeRef } from '../../src/tree/store.ts'
import { Tree } from '../../src/tree/tree.ts'
import { checkProperty, opening, type Step, step } from '../support/tree-random.ts'
import { assertSameState, checkTree, stateOfTree } from '../support/tree-state.ts'
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
  type Transaction,
} from '../support/tree-transactions.ts'

/** Records by key in hex, which sorts as the bytes do. */
type Records = Map<string, Buffer>

type StoredImage = {
  readonly records: Records
  readonly totals: ImageTotals
  readonly state: ImageState
  readonly zxid: number
}

/** A sink into a Map of changes; undefined is a deletion. */
function sinkInto(changes: Map<string, Buffer | undefined>): RecordSink {
  const hex = (key: Uint8Array) => Buffer.from(key).toString('hex')
  return {
    put: (key, value) => changes.set(hex(key), Buffer.from(value)),
    del: (key) => changes.set(hex(key), undefined),
  }
}

function changed(records: Records, changes: ReadonlyMap<string, Buffer | undefined>): Records {
  const next = new Map(records)
  for (const [key, value] of changes) {
    if (value === undefined) next.delete(key)
    else next.set(key, value)
  }
  return next
}

function load({ records, totals, state, zxid }: StoredImage): Tree {
  const tree = new Tree()
  const reader = new ImageReader(tree)
  for (const [key, value] of [...records].sort(([a], [b]) => (a < b ? -1 : 1)))
    reader.record(Buffer.from(key, 'hex'), value)
  reader.finish(totals, state, zxid)
  return tree
}

/** A tree with the history since its last complete image, as a server has them. */
class Server {
  tree = new Tree()
  applier = new Applier(this.tree)
  readonly #log: { step: Step; zxid: number; time: number }[] = []
  #time = 1_700_000_000_000
  #image: StoredImage | undefined
  #changes = new Map<string, Buffer | undefined>()
  #writer: ImageWriter | undefined
  #expected: readonly string[] = []
  #zxid = 0
  #replace = false
  images = 0

  constructor() {
    this.tree.initialize()
  }

  apply(step: Step): void {
    this.#time += step.elapsed
    const entry = { step, zxid: this.tree.zxid + 1, time: this.#time }
    this.#log.push(entry)
    this.applier.apply(batchOf([step], entry.time, step.options), 0, entry.zxid, false)
  }

  begin(): void {
    if (this.#writer !== undefined) return
    this.#changes = new Map()
    this.#expected = stateOfTree(this.tree)
    this.#zxid = this.tree.zxid
    this.#writer = new ImageWriter(this.tree, sinkInto(this.#changes))
  }

  advance(count: number): void {
    const writer = this.#writer
    if (writer === undefined || writer.advance(count)) return
    writer.done()
    this.#writer = undefined
    const records = changed(this.#replace ? new Map() : (this.#image?.records ?? new Map()), this.#changes)
    this.#replace = false
    this.#image = { records, totals: writer.totals, state: writer.state, zxid: this.#zxid }
    const loaded = load(this.#image)
    assertSameState(stateOfTree(loaded), this.#expected, 'an image is not the state at its beginning')
    checkTree(loaded)
    this.images++
  }

  fail(): void {
    this.#writer?.failed()
    if (this.#writer !== undefined) this.#replace = true
    this.#writer = undefined
  }

  /** Goes on with what a start finds: the last image and the history behind it. */
  restart(): void {
    if (this.#image === undefined) return
    const loaded = load(this.#image)
    const applier = new Applier(loaded)
    for (const { step, zxid, time } of this.#log)
      if (zxid > loaded.zxid) applier.apply(batchOf([step], time, step.options), 0, zxid, false)
    assertSameState(stateOfTree(loaded), stateOfTree(this.tree), 'a loaded tree goes on like the original')
    checkTree(loaded)
    this.tree = loaded
    this.applier = applier
    this.#writer = undefined
    this.#replace = false
  }
}

type Action =
  | { readonly type: 'apply'; readonly step: Step }
  | { readonly type: 'begin' }
  | { readonly type: 'advance'; readonly count: number }
  | { readonly type: 'fail' }
  | { readonly type: 'restart' }

const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 12, arbitrary: fc.record({ type: fc.constant('apply'), step }) },
  { weight: 4, arbitrary: fc.constant<Action>({ type: 'begin' }) },
  {
    weight: 6,
    arbitrary: fc.record({ type: fc.constant('advance'), count: fc.integer({ min: 1, max: 12 }) }),
  },
  { weight: 1, arbitrary: fc.constant<Action>({ type: 'fail' }) },
  { weight: 1, arbitrary: fc.constant<Action>({ type: 'restart' }) },
)

function run(actions: readonly Action[]): number {
  const server = new Server()
  for (const step of opening) server.apply(step)
  for (const action of actions) {
    switch (action.type) {
      case 'apply':
        server.apply(action.step)
        break
      case 'advance':
        server.advance(action.count)
        break
      default:
        server[action.type]()
    }
  }
  server.begin()
  server.advance(1000)
  server.restart()
  return server.images
}

test('an image is exactly the state at its beginning, and a chain of them stays so', (t) => {
  let images = 0
  checkProperty(
    (message) => t.diagnostic(message),
    fc.array(action, { minLength: 40, maxLength: 200, size: 'max' }),
    (actions) => {
      images += run(actions)
    },
    { runs: 15, limitMs: 1000 },
  )
  assert.ok(images > 20, `${images} images`)
})

// ---- one tree with everything in it ----

const alice = [
  { scheme: 'ip', id: '10.0.0.1' },
  { scheme: 'digest', id: 'alice:a1=' },
]

function apply(tree: Tree, ...requests: Request[]): void {
  const applier = new Applier(tree)
  const transactions: Transaction[] = requests.map((request) => ({ session: 77, ids: alice, request }))
  const batch = batchOf(transactions, 1_700_000_000_000 + tree.zxid)
  for (let i = 0; i < batch.count; i++) {
    applier.apply(batch, i, tree.zxid + 1, false)
    assert.equal(applier.err, 0, JSON.stringify(requests[i]))
  }
}

function richTree(): Tree {
  const tree = new Tree()
  tree.initialize()
  apply(
    tree,
    { type: 'settings', rulesVersion: 1, id: Buffer.alloc(16, 1), secret: Buffer.alloc(32, 2) },
    { type: 'createSession', timeout: 4000 },
    create('/a', 'data of a'),
    create('/a/b', ''),
    create('/a/null', null),
    create('/é', 'wide'),
    create('/e', 'ephemeral', 1),
    createContainer('/c'),
    createTtl('/t', 2 ** 39 + 7),
    create('/private', 'x'),
    setAcl('/private', [{ perms: 31, scheme: 'auth', id: '' }]),
    create('/zookeeper/quota/a'),
    create('/zookeeper/quota/a/zookeeper_limits', 'count=100,bytes=1000'),
    create('/zookeeper/quota/a/zookeeper_stats', ''),
  )
  // A session that owns nothing: nothing but its own record speaks of it.
  new Applier(tree).apply(
    batchOf([{ session: 78, ids: [], request: { type: 'createSession', timeout: 9000 } }], 0),
    0,
    tree.zxid + 1,
    false,
  )
  return tree
}

function imageOf(tree: Tree, base: Records = new Map()): StoredImage {
  const changes = new Map<string, Buffer | undefined>()
  const writer = new ImageWriter(tree, sinkInto(changes))
  while (writer.advance(3)) {}
  writer.done()
  return {
    records: changed(base, changes),
    totals: writer.totals,
    state: writer.state,
    zxid: tree.zxid,
  }
}

/** Keys as their prefix and number. */
function namesOf(records: Records): string[] {
  return [...records.keys()]
    .map(
      (key) => `${String.fromCharCode(Number.parseInt(key.slice(0, 2), 16))}${Number(`0x${key.slice(2)}`)}`,
    )
    .sort()
}

test('an image has a segment with the znodes, and a record for each ACL and session', () => {
  const tree = richTree()
  const { records, totals, state } = imageOf(tree)
  const acls = [...tree.acls.entries()].map(([index]) => `a${index}`)
  assert.deepEqual(namesOf(records), [...acls, 's77', 's78', 'z1'])
  assert.equal(totals.nodes, tree.store.count)
  assert.equal(state.sessions, 2)
  assertSameState(stateOfTree(load(imageOf(richTree()))), stateOfTree(tree), 'loaded')
})

test('the next image has only what changed', () => {
  const tree = richTree()
  imageOf(tree)
  const { store } = tree
  const before = new Set(pathsWhere(tree, (node) => store.place(node) > 0))
  assert.equal(before.size, store.count)
  apply(tree, setData('/a/b', 'new'), create('/a/new'), remove('/c'))
  const places = new Map(
    pathsWhere(tree, () => true).map((path) => [path, store.place(store.findPath(path))]),
  )
  const { records } = imageOf(tree)
  // Of the first segment some are dead now.
  assert.deepEqual(namesOf(records), ['d1', 'z2'])
  // The root and /a lost or got a child; the quota's usage counts /a/new and the new data.
  assert.deepEqual(pathsWhere(tree, (node) => store.place(node) !== places.get(store.path(node))).sort(), [
    '/',
    '/a',
    '/a/b',
    '/a/new',
    '/zookeeper/quota/a/zookeeper_stats',
  ])
})

function pathsWhere(tree: Tree, holds: (node: NodeRef) => boolean): string[] {
  const paths: string[] = []
  tree.forEach((node) => {
    if (holds(node)) paths.push(tree.store.path(node))
  })
  return paths
}

test('a segment of which nothing is alive is gone with its dead records', () => {
  const tree = richTree()
  const first = imageOf(tree)
  tree.forEach((node) => {
    tree.touch(node)
  })
  const second = imageOf(tree, first.records)
  assert.deepEqual(
    namesOf(second.records).filter((name) => /^[dz]/.test(name)),
    ['z2'],
  )
  apply(tree, remove('/t'))
  const third = imageOf(tree, second.records)
  assert.deepEqual(
    namesOf(third.records).filter((name) => /^[dz]/.test(name)),
    ['d2', 'z2', 'z3'],
  )
  assertSameState(stateOfTree(load(third)), stateOfTree(tree), 'third image')
})

/** Segments of an image. */
function segmentsIn(records: Records): number {
  return namesOf(records).filter((name) => name.startsWith('z')).length
}

test('many small images do not become many small segments', () => {
  const tree = richTree()
  let image = imageOf(tree)
  let most = 0
  for (let i = 0; i < 300; i++) {
    apply(tree, create(`/small-${i}`, `${i}`), setData('/a', `${i}`))
    image = imageOf(tree, image.records)
    most = Math.max(most, segmentsIn(image.records))
    tree.checkSegments()
  }
  assert.ok(most > 20 && most < 50, `${most} segments`)
  const loaded = load(image)
  assertSameState(stateOfTree(loaded), stateOfTree(tree), 'after many images')
  checkTree(loaded)
})

test('segments that are mostly dead are emptied, a part of them with each image', () => {
  const tree = new Tree()
  tree.initialize()
  apply(tree, { type: 'createSession', timeout: 4000 })
  const data = 'x'.repeat(2000)
  const count = 6000
  for (let i = 0; i < count; i++) apply(tree, create(`/n${i}`, data))
  let image = imageOf(tree)
  const full = segmentsIn(image.records)
  for (let i = 0; i < count; i++) if (i % 6 !== 0) apply(tree, remove(`/n${i}`))
  const counts: number[] = []
  for (let i = 0; i < 6; i++) {
    apply(tree, setData('/n0', `${i}`))
    image = imageOf(tree, image.records)
    assertSameState(stateOfTree(load(image)), stateOfTree(tree), 'while segments are emptied')
    checkTree(tree)
    counts.push(segmentsIn(image.records))
  }
  const steps = counts.filter((count, i) => i > 0 && count < counts[i - 1]! - 10)
  assert.ok(full > 180 && steps.length > 1 && counts.at(-1)! < full / 2, `${full}, then ${counts}`)
})

test('a znode that is where another one was is not taken for it', () => {
  const tree = richTree()
  const { store } = tree
  let image = imageOf(tree)
  const ref = store.findPath('/a/b')
  apply(tree, remove('/a/b'), create('/x', 'in its place'))
  assert.equal(store.findPath('/x'), ref)
  image = imageOf(tree, image.records)
  assertSameState(stateOfTree(load(image)), stateOfTree(tree), 'a reference used again')
  // The same while the image is made that has the one before.
  const changes = new Map<string, Buffer | undefined>()
  apply(tree, setData('/x', 'changed'))
  const expected = stateOfTree(tree)
  const { zxid } = tree
  const writer = new ImageWriter(tree, sinkInto(changes))
  apply(tree, remove('/x'), create('/y', 'another'))
  assert.equal(store.findPath('/y'), ref)
  while (writer.advance(1)) {}
  writer.done()
  const { totals, state } = writer
  image = { records: changed(image.records, changes), totals, state, zxid }
  assertSameState(stateOfTree(load(image)), expected, 'removed while the image was made')
  image = imageOf(tree, image.records)
  assertSameState(stateOfTree(load(image)), stateOfTree(tree), 'the image after')
})

test('a znode that is removed and created again between two images is in the second as the new one', () => {
  const tree = richTree()
  const first = imageOf(tree)
  apply(tree, remove('/a/b'), create('/a/b', 'again'), remove('/t'), createTtl('/t', 5), remove('/t'))
  const second = imageOf(tree, first.records)
  assertSameState(stateOfTree(load(second)), stateOfTree(tree), 'second image')
})

test('a znode that a failed multi removed and gave back is in the next image', () => {
  const tree = richTree()
  const first = imageOf(tree)
  apply(tree, multi(remove('/a/b'), create('/a/b', 'other'), remove('/nowhere')))
  const second = imageOf(tree, first.records)
  assertSameState(stateOfTree(load(second)), stateOfTree(tree), 'second image')
})

test('only one image is made at a time, and it is done when all of it is written', () => {
  const tree = richTree()
  const writer = new ImageWriter(tree, sinkInto(new Map()))
  assert.throws(() => new ImageWriter(tree, sinkInto(new Map())), { name: 'InvariantError' })
  assert.equal(writer.advance(2), true)
  assert.throws(() => writer.done(), { name: 'InvariantError' })
})

test('after a failed image the next one stands alone', () => {
  const tree = richTree()
  const first = imageOf(tree)
  apply(tree, create('/x'), remove('/e'))
  const failing = new ImageWriter(tree, sinkInto(new Map()))
  failing.advance(2)
  apply(tree, remove('/x'), create('/y'), setData('/a', 'after'))
  failing.failed()
  apply(tree, remove('/y'), setAcl('/private', [{ perms: 1, scheme: 'world', id: 'anyone' }]))
  const alone = imageOf(tree)
  assertSameState(stateOfTree(load(alone)), stateOfTree(tree), 'the image that stands alone')
  assert.ok(alone.records.size >= first.records.size - 3)
})

// ---- damage ----

function assertRefused(image: StoredImage, records: Records, what: string): void {
  let loaded: Tree
  try {
    loaded = load({ ...image, records })
  } catch (error) {
    assert.ok(
      error instanceof Error && ['ImageError', 'InvariantError'].includes(error.name),
      `${what}: ${error}`,
    )
    return
  }
  assert.fail(`${what} was not noticed: ${stateOfTree(loaded).join('\n')}`)
}

test('no flipped byte of a key or a value is loaded', () => {
  const image = imageOf(richTree())
  for (const [key, value] of image.records) {
    const rest = new Map(image.records)
    rest.delete(key)
    const keyBytes = Buffer.from(key, 'hex')
    for (const mask of [0x01, 0xff]) {
      for (let i = 0; i < keyBytes.length; i++) {
        const damaged = Buffer.from(keyBytes)
        damaged[i] = damaged[i]! ^ mask
        // A key that meets another record's takes its place.
        const records = new Map(rest).set(damaged.toString('hex'), value)
        assertRefused(image, records, `byte ${i} of key ${keyBytes.toString('latin1')}`)
      }
      for (let i = 0; i < value.length; i++) {
        const damaged = Buffer.from(value)
        damaged[i] = damaged[i]! ^ mask
        assertRefused(image, new Map(rest).set(key, damaged), `byte ${i} of ${keyBytes.toString('latin1')}`)
      }
    }
  }
})

test('no image is loaded that lacks a record, or has one cut short, one of another, or one too many', () => {
  const image = imageOf(richTree())
  const keys = [...image.records.keys()]
  for (const [i, key] of keys.entries()) {
    const name = Buffer.from(key, 'hex').toString('latin1')
    const without = new Map(image.records)
    without.delete(key)
    assertRefused(image, without, `without ${name}`)
    const value = image.records.get(key)!
    for (const length of [0, 1, 4, 7, 13, value.length - 1].filter((length) => length < value.length)) {
      const cut = new Map(image.records).set(key, value.subarray(0, length))
      assertRefused(image, cut, `${name} cut to ${length} bytes`)
    }
    const other = image.records.get(keys[(i + 1) % keys.length]!)!
    assertRefused(image, new Map(image.records).set(key, other), `${name} with the value of another`)
  }
  for (const key of ['', 'ff', '7a', '7a61', '640000000000000007', '73', '6100', '730000000000000001'])
    assertRefused(image, new Map(image.records).set(key, image.records.get(keys[0]!)!), `a record ${key}`)
})

test('an older version of a znode in the place of the newer one is not loaded', () => {
  const tree = richTree()
  const first = imageOf(tree)
  apply(tree, setData('/a', 'newer'))
  const second = imageOf(tree, first.records)
  apply(tree, setData('/a/b', 'newer'))
  const third = imageOf(tree, second.records)
  const [dead, one, two] = ['64', '7a', '7a'].map(
    (prefix, i) => prefix + '1'.padStart(16, '0').replace('1', i === 2 ? '2' : '1'),
  )
  const put = (key: string, value: Buffer) => new Map(third.records).set(key, value)
  assertRefused(third, put(two!, first.records.get(one!)!), 'an older segment')
  assertRefused(third, put(dead!, second.records.get(dead!)!), 'older dead records')
  const without = new Map(third.records)
  without.delete(dead!)
  assertRefused(third, without, 'no dead records')
})

test('a record that is no damage and contradicts the others is refused', () => {
  const image = imageOf(richTree())
  assert.throws(() => load({ ...image, totals: { ...image.totals, nodes: image.totals.nodes + 1 } }), {
    name: 'ImageError',
    message: /znodes where/,
  })
  assert.throws(() => load({ ...image, totals: { ...image.totals, digestLow: 0 } }), /digest/)
  assert.throws(() => load({ ...image, state: { ...image.state, sessions: 1 } }), /sessions where/)
  const withoutOwner = new Map(image.records)
  withoutOwner.delete(`73${(77).toString(16).padStart(16, '0')}`)
  assert.throws(
    () => load({ ...image, records: withoutOwner, state: { ...image.state, sessions: 1 } }),
    /ephemeral's session 77 is missing/,
  )
})

test('the highest session id of each server is known for good, also of sessions that are closed', () => {
  const [first, second] = [2 ** 45, 2 * 2 ** 45]
  const tree = new Tree()
  tree.initialize()
  for (const id of [first + 9, first + 7, second + 3]) tree.openSession(id, 1000)
  for (const id of [first + 9, second + 3]) tree.endSession(id)
  const changes = new Map<string, Buffer | undefined>()
  const writer = new ImageWriter(tree, sinkInto(changes))
  while (writer.advance(1));
  const { totals, state } = writer
  const loaded = load({ records: changed(new Map(), changes), totals, state, zxid: 3 })
  for (const one of [tree, loaded]) {
    assert.deepEqual(
      [1, 2, 3, 257].map((id) => one.newestSession(id)),
      [first + 9, second + 3, 0, first + 9],
    )
  }
})

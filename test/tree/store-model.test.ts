// The store against a model made of Maps, with random operations: after each run everything that the store tells is
// compared, and the store checks itself.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { assertNever } from '../../src/base/assert.ts'
import { viewOf } from '../../src/base/view.ts'
import { createFlatStore } from '../../src/tree/flat-store.ts'
import { NONE, type NodeRef, type Store } from '../../src/tree/store.ts'

interface ModelNode {
  readonly ref: NodeRef
  readonly path: string
  readonly children: Set<string>
  data: Buffer | null
  czxid: number
  ctime: number
  version: number
  mzxid: number
  mtime: number
  pzxid: number
  cversion: number
  owner: number
  kind: number
  acl: number
  flags: number
}

type Model = Map<string, ModelNode>

/** Numbers from which each operation draws what it needs: which znode, which name, which value. */
interface Operation {
  readonly type: 'create' | 'remove' | 'removeAll' | 'setData' | 'clearData' | 'change' | 'setFields'
  readonly node: number
  readonly name: number
  readonly value: number
}

const suffixes = [
  '',
  'é',
  '-that-is-longer-than-the-record-has-room-for',
  '-0000000001',
  '日本語',
  'x'.repeat(300),
]

const operation: fc.Arbitrary<Operation> = fc.record({
  type: fc.oneof(
    { weight: 10, arbitrary: fc.constant('create' as const) },
    { weight: 5, arbitrary: fc.constant('remove' as const) },
    { weight: 1, arbitrary: fc.constant('removeAll' as const) },
    { weight: 10, arbitrary: fc.constant('setData' as const) },
    { weight: 1, arbitrary: fc.constant('clearData' as const) },
    { weight: 5, arbitrary: fc.constant('change' as const) },
    { weight: 3, arbitrary: fc.constant('setFields' as const) },
  ),
  node: fc.nat(1_000_000),
  name: fc.nat(59),
  value: fc.oneof(
    { weight: 8, arbitrary: fc.nat(300) },
    { weight: 2, arbitrary: fc.nat(6000) },
    { weight: 1, arbitrary: fc.nat(40_000) },
  ),
})

function newModelNode(ref: NodeRef, path: string): ModelNode {
  return {
    ref,
    path,
    children: new Set(),
    data: null,
    czxid: 0,
    ctime: 0,
    version: 0,
    mzxid: 0,
    mtime: 0,
    pzxid: 0,
    cversion: 0,
    owner: 0,
    kind: 0,
    acl: 0,
    flags: 0,
  }
}

function parentPath(path: string): string {
  return path.slice(0, Math.max(path.lastIndexOf('/'), 1))
}

function perform(store: Store, model: Model, { type, node, name, value }: Operation): void {
  const target = [...model.values()][node % model.size]!
  switch (type) {
    case 'create':
      create(store, model, target, `${name % 10}${suffixes[Math.floor(name / 10)]}`)
      break
    case 'remove':
      removeBelow(store, model, target, 0)
      break
    case 'removeAll':
      removeBelow(store, model, target, 1)
      break
    case 'setData':
      target.data = Buffer.alloc(value, String(node))
      store.setData(target.ref, Buffer.concat([Buffer.from('.'), target.data]), 1, 1 + value)
      break
    case 'clearData':
      target.data = null
      store.clearData(target.ref)
      break
    case 'change':
      target.version = value
      target.mzxid = node * 2 ** 32 + value
      target.mtime = value * 2 ** 27
      store.setChange(target.ref, target.version, target.mzxid, target.mtime)
      break
    case 'setFields':
      setFields(store, target, node, value)
      break
    default:
      assertNever(type)
  }
}

function create(store: Store, model: Model, parent: ModelNode, name: string): void {
  const path = `${parent.path === '/' ? '' : parent.path}/${name}`
  if (model.has(path)) {
    assert.equal(store.findPath(path), model.get(path)!.ref)
    return
  }
  assert.equal(store.findPath(path), NONE)
  const bytes = Buffer.from(name)
  const node = newModelNode(store.create(parent.ref, bytes, 0, bytes.length), path)
  node.czxid = model.size * 2 ** 32
  node.ctime = model.size
  node.mzxid = node.czxid
  node.mtime = node.ctime
  node.pzxid = node.czxid
  store.setBirth(node.ref, node.czxid, node.ctime)
  model.set(path, node)
  parent.children.add(path)
}

/** Removes a znode if it has no children; with `depth` above 0 it is emptied first. The root stays. */
function removeBelow(store: Store, model: Model, node: ModelNode, depth: number): void {
  if (depth > 0) for (const child of node.children) removeBelow(store, model, model.get(child)!, depth)
  if (node.children.size > 0 || node.path === '/') return
  store.remove(node.ref)
  model.delete(node.path)
  model.get(parentPath(node.path))!.children.delete(node.path)
  assert.equal(store.findPath(node.path), NONE)
}

/** Sets some of the fields, so that a znode may come to have any of what not every one has. */
function setFields(store: Store, node: ModelNode, draw: number, value: number): void {
  if (draw % 3 === 0) {
    node.pzxid = draw * 2 ** 32 + value
    node.cversion = value - 1
    store.setPzxid(node.ref, node.pzxid)
    store.setCversion(node.ref, node.cversion)
  }
  if (draw % 5 === 0) {
    node.owner = draw * 2 ** 32 + value
    store.setOwner(node.ref, node.owner)
  }
  node.kind = draw % 4
  node.acl = draw * 60
  node.flags = value & 15
  store.setKind(node.ref, node.kind)
  store.setAcl(node.ref, node.acl)
  store.setFlags(node.ref, node.flags)
}

function stateOf(store: Store, node: ModelNode): ModelNode {
  const { ref } = node
  const children = new Set<string>()
  for (let child = store.firstChild(ref); child !== NONE; child = store.nextSibling(child)) {
    children.add(store.path(child))
  }
  assert.equal(store.numChildren(ref), children.size)
  const length = store.dataLength(ref)
  const data = Buffer.alloc(Math.max(length, 0))
  store.copyData(ref, viewOf(data), 0)
  return {
    ref: store.findPath(node.path),
    path: store.path(ref),
    children,
    data: length < 0 ? null : data,
    czxid: store.czxid(ref),
    ctime: store.ctime(ref),
    version: store.version(ref),
    mzxid: store.mzxid(ref),
    mtime: store.mtime(ref),
    pzxid: store.pzxid(ref),
    cversion: store.cversion(ref),
    owner: store.owner(ref),
    kind: store.kind(ref),
    acl: store.acl(ref),
    flags: store.flags(ref),
  }
}

function compare(store: Store, model: Model): void {
  store.check()
  assert.equal(store.count, model.size)
  let dataBytes = 0
  let pathBytes = 0
  for (const node of model.values()) {
    const state = stateOf(store, node)
    assert.ok(
      node.data === null ? state.data === null : state.data?.equals(node.data),
      `data of ${node.path}`,
    )
    assert.deepEqual({ ...state, data: null }, { ...node, data: null })
    dataBytes += node.data?.length ?? 0
    pathBytes += Buffer.byteLength(node.path)
  }
  assert.equal(store.dataBytes, dataBytes)
  assert.equal(store.pathBytes, pathBytes)
}

function runAll(hashMask: number, operations: readonly Operation[]): void {
  const store = createFlatStore({ hashMask })
  const model: Model = new Map([['/', newModelNode(store.root, '/')]])
  for (const [i, one] of operations.entries()) {
    perform(store, model, one)
    if (i % 50 === 0) store.check()
  }
  compare(store, model)
  for (const child of model.get('/')!.children) removeBelow(store, model, model.get(child)!, 1)
  compare(store, model)
}

const manyOperations = fc.array(operation, { minLength: 1, maxLength: 400, size: 'max' })

for (const [title, hashMask] of [
  ['all bits of the hash', -1],
  ['two bits of the hash', 0b11],
  ['names that all collide', 0],
] as const) {
  test(`the store does what the model does: ${title}`, () => {
    fc.assert(
      fc.property(manyOperations, (operations) => runAll(hashMask, operations)),
      { numRuns: 25 },
    )
  })
}

test('a store of thousands keeps names and data through waves of growth, change and removal', () => {
  const store = createFlatStore()
  const live: { ref: NodeRef; name: string; length: number; fill: number }[] = []
  // A linear congruential generator: the same waves in each run.
  let state = 12_345
  const draw = (below: number): number => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
  const lengths = [90, 96, 700, 5000]
  const write = (node: (typeof live)[number], length: number, fill: number): void => {
    store.setData(node.ref, Buffer.alloc(length, fill), 0, length)
    node.length = length
    node.fill = fill
  }
  for (let i = 0; i < 35_000; i++) {
    const wave = i % 10_000
    const draws = draw(10)
    if (draws < (wave < 4000 ? 7 : 1)) {
      const name = `${i}${draw(3) === 0 ? '-with-more-than-fits-into-a-record' : ''}`
      const node = {
        ref: store.create(store.root, Buffer.from(name), 0, name.length),
        name,
        length: 0,
        fill: 0,
      }
      write(node, lengths[draw(wave < 3000 ? 2 : 4)]!, i & 255)
      live.push(node)
    } else if (draws < 8 && live.length > 0) {
      const at = draw(live.length)
      const node = live[at]!
      live[at] = live[live.length - 1]!
      live.pop()
      store.remove(node.ref)
    } else if (live.length > 0) {
      write(live[draw(live.length)]!, lengths[draw(4)]!, i & 255)
    }
    if (wave % 1000 === 999) store.check()
  }
  const target = Buffer.alloc(5000)
  assert.ok(live.length > 1000)
  assert.equal(store.count, live.length + 1)
  for (const { ref, name, length, fill } of live) {
    assert.equal(store.findPath(`/${name}`), ref)
    assert.equal(store.copyData(ref, viewOf(target), 0), length)
    assert.ok(target.subarray(0, length).equals(Buffer.alloc(length, fill)), `data of ${name}`)
  }
})

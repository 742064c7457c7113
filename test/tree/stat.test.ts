import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Reader } from '../../src/jute/reader.ts'
import { Writer } from '../../src/jute/writer.ts'
import { createFlatStore } from '../../src/tree/flat-store.ts'
import { writeChildren, writeData, writeStat } from '../../src/tree/stat.ts'
import { NodeKind, type NodeRef, type Store } from '../../src/tree/store.ts'
import { readStat } from '../support/tree-transactions.ts'

function storeWith(...names: string[]): { store: Store; node: NodeRef } {
  const store = createFlatStore()
  const add = (parent: NodeRef, name: string) => {
    const bytes = Buffer.from(name)
    return store.create(parent, bytes, 0, bytes.length)
  }
  const node = add(store.root, 'node')
  for (const name of names) add(node, name)
  return { store, node }
}

test('a Stat is 68 bytes: the fields of the wire in their order', () => {
  const { store, node } = storeWith('x', 'y')
  store.setBirth(node, 5 * 2 ** 32 + 1, 1_700_000_000_001)
  store.setChange(node, -6, 2, 1_700_000_000_002)
  store.setPzxid(node, 3)
  store.setCversion(node, 7)
  store.setAversion(node, 8)
  store.setData(node, Buffer.from('12345'), 0, 5)
  const out = new Writer(1)
  writeStat(out, store, node)
  assert.equal(out.pos, 68)
  assert.deepEqual(readStat(new Reader(Buffer.from(out.bytes()))), {
    czxid: 5 * 2 ** 32 + 1,
    mzxid: 2,
    ctime: 1_700_000_000_001,
    mtime: 1_700_000_000_002,
    version: -6,
    // Creations and deletions: 7 were created, 2 are left.
    cversion: 12,
    aversion: 8,
    ephemeralOwner: 0,
    dataLength: 5,
    numChildren: 2,
    pzxid: 3,
  })
})

for (const [kind, owner, shown] of [
  ['persistent', 0, 0],
  ['ephemeral', 2 ** 53 - 1, 2 ** 53 - 1],
  ['container', 0, 0],
  ['ttl', 60_000, 0],
] as const) {
  test(`the ephemeralOwner of a ${kind} znode in its Stat`, () => {
    const { store, node } = storeWith()
    store.setKind(node, NodeKind[kind])
    store.setOwner(node, owner)
    const out = new Writer(128)
    writeStat(out, store, node)
    assert.equal(readStat(new Reader(Buffer.from(out.bytes()))).ephemeralOwner, shown)
  })
}

test('the cversion of a Stat wraps around like a signed 32 bit number', () => {
  const { store, node } = storeWith('x')
  store.setCversion(node, 2 ** 31 - 1)
  const out = new Writer(128)
  writeStat(out, store, node)
  assert.equal(readStat(new Reader(Buffer.from(out.bytes()))).cversion, -3)
})

test('data is written with its length, null and empty apart', () => {
  const { store, node } = storeWith()
  const out = new Writer(1)
  writeData(out, store, node)
  store.setData(node, Buffer.alloc(0), 0, 0)
  writeData(out, store, node)
  store.setData(node, Buffer.alloc(3000, 9), 0, 3000)
  writeData(out, store, node)
  const r = new Reader(Buffer.from(out.bytes()))
  assert.deepEqual([r.buffer(), r.buffer(), r.buffer()], [null, Buffer.alloc(0), Buffer.alloc(3000, 9)])
  assert.equal(r.pos, r.end)
})

test('children are written as a list of their names', () => {
  const names = ['a', 'é', 'a name that does not fit into a record', '0000000001']
  const { store, node } = storeWith(...names)
  const out = new Writer(1)
  writeChildren(out, store, node)
  writeChildren(out, store, store.findPath('/node/a'))
  const r = new Reader(Buffer.from(out.bytes()))
  assert.deepEqual(r.strings().sort(), names.sort())
  assert.deepEqual(r.strings(), [])
  assert.equal(r.pos, r.end)
})

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { InvariantError } from '../../src/base/assert.ts'
import { viewOf } from '../../src/base/view.ts'
import { createFlatStore } from '../../src/tree/flat-store.ts'
import {
  NONE,
  NodeFlag,
  NodeKind,
  type NodeRef,
  NodeStat,
  RestoredBatch,
  type Store,
} from '../../src/tree/store.ts'

function create(store: Store, parent: NodeRef, name: string): NodeRef {
  const bytes = Buffer.from(`<${name}>`)
  return store.create(parent, bytes, 1, bytes.length - 1)
}

function setData(store: Store, node: NodeRef, data: Uint8Array): void {
  const framed = Buffer.concat([Buffer.from('<<'), data, Buffer.from('>')])
  store.setData(node, framed, 2, 2 + data.length)
}

/** The data as a Buffer of its own, null for null; checks that nothing around it is written. */
function dataOf(store: Store, node: NodeRef): Buffer | null {
  const length = store.dataLength(node)
  const target = Buffer.alloc(Math.max(length, 0) + 2, 0xee)
  assert.equal(store.copyData(node, viewOf(target), 1), 1 + Math.max(length, 0))
  assert.equal(target[0], 0xee)
  assert.equal(target[target.length - 1], 0xee)
  return length < 0 ? null : target.subarray(1, -1)
}

function nameOf(store: Store, node: NodeRef): string {
  const target = Buffer.alloc(store.nameLength(node) + 2, 0xee)
  assert.equal(store.copyName(node, target, 1), target.length - 1)
  assert.equal(target[0], 0xee)
  assert.equal(target[target.length - 1], 0xee)
  return target.toString('utf8', 1, target.length - 1)
}

function childNames(store: Store, node: NodeRef): string[] {
  const names: string[] = []
  for (let child = store.firstChild(node); child !== NONE; child = store.nextSibling(child)) {
    names.push(nameOf(store, child))
  }
  return names.sort()
}

function bytes(length: number, seed: number): Buffer {
  const out = Buffer.alloc(length)
  for (let i = 0; i < length; i++) out[i] = (i * 31 + seed * 17 + (i >>> 8)) & 255
  return out
}

describe('an empty store', () => {
  test('has the root and nothing else', () => {
    const store = createFlatStore()
    assert.equal(store.count, 1)
    assert.equal(store.dataBytes, 0)
    assert.equal(store.pathBytes, 1)
    assert.equal(store.parent(store.root), NONE)
    assert.equal(store.firstChild(store.root), NONE)
    assert.equal(store.nextSibling(store.root), NONE)
    assert.equal(store.numChildren(store.root), 0)
    assert.equal(store.nameLength(store.root), 0)
    assert.equal(store.dataLength(store.root), -1)
    assert.equal(store.path(store.root), '/')
    assert.equal(store.pathLength(store.root), 1)
    assert.ok(store.reservedBytes > 0)
    store.check()
  })

  test('copies the path of the root as a slash', () => {
    const store = createFlatStore()
    const target = Buffer.from('...')
    assert.equal(store.copyPath(store.root, target, 1), 2)
    assert.equal(target.toString(), './.')
  })

  test('does not let the root be removed', () => {
    const store = createFlatStore()
    assert.throws(() => store.remove(store.root), InvariantError)
    store.check()
  })
})

describe('find', () => {
  const store = createFlatStore()
  const a = create(store, store.root, 'a')
  const bc = create(store, a, 'bc')
  const long = create(store, bc, 'a name that does not fit into the record')
  const umlaut = create(store, store.root, 'größe-日本-😀')

  const found: [string, NodeRef][] = [
    ['/', store.root],
    ['/a', a],
    ['/a/bc', bc],
    ['/a/bc/a name that does not fit into the record', long],
    ['/größe-日本-😀', umlaut],
  ]
  for (const [path, node] of found) {
    test(`finds ${path}`, () => {
      const framed = Buffer.from(`x${path}/x`)
      assert.equal(store.find(framed, 1, framed.length - 2), node)
      assert.equal(store.findPath(path), node)
      assert.equal(store.path(node), path)
      assert.equal(store.pathLength(node), Buffer.byteLength(path))
      const target = Buffer.alloc(framed.length, 'x')
      assert.equal(store.copyPath(node, target, 1), framed.length - 2)
      assert.equal(target.toString(), `x${path}xx`)
    })
  }

  const absent = [
    '',
    'a',
    '//',
    '/a/',
    '//a',
    '/a//bc',
    '/b',
    '/a/b',
    '/a/bcd',
    '/bc',
    '/a/bc/',
    'a/bc',
    '/A',
    '/\0',
    '/.',
  ]
  for (const path of absent) {
    test(`gives NONE for ${JSON.stringify(path)}`, () => {
      const framed = Buffer.from(`/${path}/bc`)
      assert.equal(store.find(framed, 1, 1 + Buffer.byteLength(path)), NONE)
      assert.equal(store.findPath(path), NONE)
    })
  }

  test('gives NONE for a path with an unpaired surrogate, even if its replacement exists', () => {
    const odd = createFlatStore()
    create(odd, odd.root, '\ufffd')
    for (const path of ['/\ud83d', '/\ude00', '/\ud83dx', '/\ude00\ud83d'])
      assert.equal(odd.findPath(path), NONE)
    assert.notEqual(odd.findPath('/\ufffd'), NONE)
  })

  test('takes names as bytes, valid UTF-8 or not', () => {
    const odd = createFlatStore()
    const name = Buffer.from([0xff, 0x00, 0xc0, 0x80])
    const node = odd.create(odd.root, name, 0, 4)
    assert.equal(odd.findChild(odd.root, name, 0, 4), node)
    assert.equal(odd.findChild(odd.root, name, 0, 3), NONE)
    odd.check()
  })

  test('accepts a Uint8Array that is no Buffer', () => {
    const path = new TextEncoder().encode('/a/bc')
    assert.equal(store.find(path, 0, path.length), bc)
  })
})

describe('findChild', () => {
  test('finds a child by name under its own parent only', () => {
    const store = createFlatStore()
    const a = create(store, store.root, 'a')
    const b = create(store, store.root, 'b')
    const child = create(store, a, 'state')
    const name = Buffer.from('state')
    assert.equal(store.findChild(a, name, 0, 5), child)
    assert.equal(store.findChild(b, name, 0, 5), NONE)
    assert.equal(store.findChild(store.root, name, 0, 5), NONE)
  })

  test('gives NONE for the empty name, under the root too', () => {
    const store = createFlatStore()
    assert.equal(store.findChild(store.root, Buffer.alloc(4), 2, 2), NONE)
  })

  test('tells names apart that share all but one byte, at each length around the inline limit', () => {
    const store = createFlatStore({ hashMask: 0 })
    for (let length = 1; length < 40; length++) {
      for (const last of ['x', 'y']) create(store, store.root, 'n'.repeat(length - 1) + last)
    }
    for (let length = 1; length < 40; length++) {
      for (const last of ['x', 'y']) {
        const name = Buffer.from('n'.repeat(length - 1) + last)
        assert.equal(nameOf(store, store.findChild(store.root, name, 0, length)), name.toString())
      }
      assert.equal(store.findChild(store.root, Buffer.from('z'.repeat(length)), 0, length), NONE)
    }
    store.check()
  })
})

describe('create and remove', () => {
  test('a new znode has zero fields, null data and its name', () => {
    const store = createFlatStore()
    const old = create(store, store.root, 'old')
    for (const [, set] of numberFields(store)) set(old, 3)
    setData(store, old, bytes(50, 1))
    store.remove(old)
    const node = create(store, store.root, 'new')
    assert.equal(node, old)
    for (const [name, , get] of numberFields(store)) assert.equal(get(node), 0, name)
    assert.equal(store.kind(node), NodeKind.persistent)
    assert.equal(dataOf(store, node), null)
    assert.equal(nameOf(store, node), 'new')
    assert.equal(store.parent(node), store.root)
    store.check()
  })

  test('children can be walked after the first, the last and a middle one are removed', () => {
    const store = createFlatStore()
    const nodes = new Map(['a', 'b', 'c', 'd', 'e'].map((name) => [name, create(store, store.root, name)]))
    assert.equal(store.numChildren(store.root), 5)
    let left = [...nodes.keys()]
    for (const name of ['c', 'a', 'e', 'b', 'd']) {
      store.remove(nodes.get(name)!)
      left = left.filter((other) => other !== name)
      assert.deepEqual(childNames(store, store.root), left)
      assert.equal(store.numChildren(store.root), left.length)
      store.check()
    }
    assert.equal(store.firstChild(store.root), NONE)
  })

  test('the order of children does not change while none is added or removed', () => {
    const store = createFlatStore()
    for (let i = 0; i < 20; i++) create(store, store.root, `n${i}`)
    const order = (): NodeRef[] => {
      const nodes: NodeRef[] = []
      for (let node = store.firstChild(store.root); node !== NONE; node = store.nextSibling(node))
        nodes.push(node)
      return nodes
    }
    const before = order()
    for (const node of before) setData(store, node, bytes(node * 10, node))
    assert.deepEqual(order(), before)
  })

  test('a removed znode is not found, and its name can be used again', () => {
    const store = createFlatStore()
    const first = create(store, store.root, 'node')
    store.remove(first)
    assert.equal(store.findPath('/node'), NONE)
    const second = create(store, store.root, 'node')
    assert.equal(store.findPath('/node'), second)
    assert.equal(store.count, 2)
    store.check()
  })

  test('a znode with children, a removed one and an empty name are refused', () => {
    const store = createFlatStore()
    const parent = create(store, store.root, 'parent')
    const child = create(store, parent, 'child')
    assert.throws(() => store.remove(parent), InvariantError)
    store.remove(child)
    assert.throws(() => store.remove(child), InvariantError)
    assert.throws(() => create(store, parent, ''), InvariantError)
    assert.equal(store.count, 2)
    store.check()
  })

  test('a name of a mebibyte is kept', () => {
    const store = createFlatStore()
    const name = 'ä'.repeat(2 ** 19)
    const node = create(store, store.root, name)
    assert.equal(nameOf(store, node), name)
    assert.equal(store.findPath(`/${name}`), node)
    assert.equal(store.path(node), `/${name}`)
    assert.equal(store.pathBytes, 1 + 1 + 2 ** 20)
    store.check()
    store.remove(node)
    store.check()
  })

  test('a chain of a thousand levels is found and measured', () => {
    const store = createFlatStore()
    let node = store.root
    for (let i = 0; i < 1000; i++) node = create(store, node, 'd')
    assert.equal(store.path(node), '/d'.repeat(1000))
    assert.equal(store.pathLength(node), 2000)
    assert.equal(store.findPath('/d'.repeat(1000)), node)
    assert.equal(store.findPath('/d'.repeat(1001)), NONE)
    assert.equal(store.pathBytes, 1 + 1000 * 1001)
    store.check()
  })
})

describe('data', () => {
  test('null and empty are distinct', () => {
    const store = createFlatStore()
    const node = create(store, store.root, 'node')
    assert.equal(store.dataLength(node), -1)
    setData(store, node, bytes(0, 0))
    assert.equal(store.dataLength(node), 0)
    assert.deepEqual(dataOf(store, node), Buffer.alloc(0))
    store.clearData(node)
    assert.equal(store.dataLength(node), -1)
    store.check()
  })

  test('of every length around the limits between slot sizes is kept, growing and shrinking', () => {
    const store = createFlatStore()
    const growing = create(store, store.root, 'growing')
    const lengths: number[] = []
    for (let length = 0; length < 600; length++) lengths.push(length)
    for (let power = 10; power <= 20; power++) {
      for (const off of [-5, -4, -3, -1, 0, 1]) lengths.push(2 ** power + off)
    }
    for (const length of [...lengths, ...lengths.toReversed()]) {
      setData(store, growing, bytes(length, length))
      assert.ok(dataOf(store, growing)!.equals(bytes(length, length)), `${length} bytes`)
      assert.equal(store.dataBytes, length)
    }
    store.check()
  })

  test('of a mebibyte and more is kept beside small data, and its space is given back', () => {
    const store = createFlatStore()
    const empty = store.reservedBytes
    const small = create(store, store.root, 'small')
    const large = create(store, store.root, 'large')
    setData(store, small, bytes(100, 1))
    setData(store, large, bytes(2 ** 20, 2))
    assert.ok(store.reservedBytes > empty + 2 ** 20)
    assert.ok(dataOf(store, large)!.equals(bytes(2 ** 20, 2)))
    setData(store, large, bytes(2 ** 20 + 100_000, 3))
    assert.ok(dataOf(store, large)!.equals(bytes(2 ** 20 + 100_000, 3)))
    assert.ok(dataOf(store, small)!.equals(bytes(100, 1)))
    store.check()
    store.remove(large)
    assert.ok(store.reservedBytes < empty + 2 ** 18)
    assert.ok(dataOf(store, small)!.equals(bytes(100, 1)))
    store.check()
  })

  test('of a size in the same class is written in place', () => {
    const store = createFlatStore()
    const node = create(store, store.root, 'node')
    setData(store, node, bytes(100, 1))
    const reserved = store.reservedBytes
    for (let i = 0; i < 5000; i++) setData(store, node, bytes(97 + (i % 4), i))
    assert.equal(store.reservedBytes, reserved)
    assert.ok(dataOf(store, node)!.equals(bytes(100, 4999)))
    assert.equal(store.dataBytes, 100)
    store.check()
  })

  test('is freed with its znode and the space used again', () => {
    const store = createFlatStore()
    const fill = (): void => {
      for (let i = 0; i < 3000; i++) setData(store, create(store, store.root, `n${i}`), bytes(200, i))
    }
    const empty = (): void => {
      for (let node = store.firstChild(store.root); node !== NONE; node = store.firstChild(store.root)) {
        store.remove(node)
      }
    }
    fill()
    const reserved = store.reservedBytes
    for (let round = 0; round < 3; round++) {
      empty()
      assert.equal(store.dataBytes, 0)
      assert.equal(store.pathBytes, 1)
      store.check()
      fill()
      assert.equal(store.reservedBytes, reserved)
    }
    store.check()
  })

  test('of the root is kept', () => {
    const store = createFlatStore()
    setData(store, store.root, bytes(10, 1))
    assert.ok(dataOf(store, store.root)!.equals(bytes(10, 1)))
    store.check()
  })
})

/** Name, setter and getter of every plain number field. */
function numberFields(
  store: Store,
): [string, (node: NodeRef, value: number) => void, (node: NodeRef) => number][] {
  return [
    ['czxid', (node, value) => store.setBirth(node, value, store.ctime(node)), (node) => store.czxid(node)],
    [
      'mzxid',
      (node, value) => store.setChange(node, store.version(node), value, store.mtime(node)),
      (node) => store.mzxid(node),
    ],
    ['pzxid', (node, value) => store.setPzxid(node, value), (node) => store.pzxid(node)],
    ['ctime', (node, value) => store.setBirth(node, store.czxid(node), value), (node) => store.ctime(node)],
    [
      'mtime',
      (node, value) => store.setChange(node, store.version(node), store.mzxid(node), value),
      (node) => store.mtime(node),
    ],
    ['owner', (node, value) => store.setOwner(node, value), (node) => store.owner(node)],
    [
      'version',
      (node, value) => store.setChange(node, value, store.mzxid(node), store.mtime(node)),
      (node) => store.version(node),
    ],
    ['cversion', (node, value) => store.setCversion(node, value), (node) => store.cversion(node)],
    ['aversion', (node, value) => store.setAversion(node, value), (node) => store.aversion(node)],
    ['kind', (node, value) => store.setKind(node, value), (node) => store.kind(node)],
    ['acl', (node, value) => store.setAcl(node, value), (node) => store.acl(node)],
    ['digest', (node, value) => store.setDigest(node, value), (node) => store.digest(node)],
    ['flags', (node, value) => store.setFlags(node, value), (node) => store.flags(node)],
    ['place', (node, value) => store.setPlace(node, value), (node) => store.place(node)],
  ]
}

describe('fields', () => {
  const extremes: Record<string, number[]> = {
    owner: [0, 2 ** 53 - 1, 2 ** 40 + 1],
    ctime: [0, 1_700_000_000_123, 2 ** 32 - 1, 2 ** 43 - 1],
    mtime: [0, 1_700_000_000_123, 2 ** 32 - 1, 2 ** 43 - 1],
    version: [0, -1, 2 ** 31 - 1, -(2 ** 31)],
    cversion: [0, -1, 2 ** 31 - 1, -(2 ** 31)],
    aversion: [0, -1, 2 ** 31 - 1, -(2 ** 31)],
    kind: Object.values(NodeKind),
    acl: [0, 1, 2 ** 26 - 1],
    digest: [0, 1, 2 ** 31, 2 ** 32 - 1],
    flags: [0, 15, NodeFlag.dirtyOther | NodeFlag.stale],
    place: [0, 1, 2 ** 31 - 1],
  }

  test('keep their extreme values', () => {
    const store = createFlatStore()
    const node = create(store, store.root, 'node')
    for (const [name, set, get] of numberFields(store)) {
      for (const value of extremes[name] ?? [0, 1, 2 ** 32 - 1, 2 ** 53 - 1]) {
        set(node, value)
        assert.equal(get(node), value, `${name} ${value}`)
      }
    }
    store.check()
  })

  test('are independent of each other, of the name, of the data and of the neighbours', () => {
    const store = createFlatStore()
    const names = ['left', 'a name of just above', 'a name of what fits', 'right']
    const nodes = names.map((name) => create(store, store.root, name))
    const fields = numberFields(store)
    for (const [n, node] of nodes.entries()) {
      setData(store, node, bytes(20, n))
      for (const [i, [, set]] of fields.entries()) set(node, (i + n) % 4)
    }
    for (const [n, node] of nodes.entries()) {
      for (const [i, [name, , get]] of fields.entries()) assert.equal(get(node), (i + n) % 4, name)
      assert.ok(dataOf(store, node)!.equals(bytes(20, n)))
    }
    assert.deepEqual(childNames(store, store.root), names.sort())
    store.check()
  })

  test('that are times outside of 1970 to 2248 are kept as the nearest one within', () => {
    const store = createFlatStore()
    const node = create(store, store.root, 'node')
    store.setBirth(node, 2 ** 53 - 1, -1)
    store.setChange(node, 1, 2 ** 53 - 2, 2 ** 43)
    assert.deepEqual([store.czxid(node), store.ctime(node)], [2 ** 53 - 1, 0])
    assert.deepEqual([store.mzxid(node), store.mtime(node)], [2 ** 53 - 2, 2 ** 43 - 1])
  })

  test('refuse an ACL that there is no room for', () => {
    const store = createFlatStore()
    for (const acl of [2 ** 26, -1, 2 ** 32])
      assert.throws(() => store.setAcl(store.root, acl), InvariantError)
  })
})

describe('what not every znode has', () => {
  test('is not there to begin with: what changes is as at the birth, and all else is zero', () => {
    const store = createFlatStore()
    const node = create(store, store.root, 'node')
    store.setBirth(node, 5, 50)
    assert.deepEqual([store.pzxid(node), store.mzxid(node), store.mtime(node)], [5, 5, 50])
    assert.equal(store.version(node), 0)
    assert.deepEqual([store.owner(node), store.cversion(node), store.aversion(node)], [0, 0, 0])
    assert.deepEqual([store.numChildren(node), store.firstChild(node)], [0, NONE])
    const child = create(store, node, 'child')
    assert.equal(store.pzxid(node), 5)
    store.setPzxid(node, 6)
    store.setBirth(node, 7, 70)
    assert.deepEqual([store.czxid(node), store.pzxid(node), store.firstChild(node)], [7, 6, child])
    store.remove(child)
    assert.deepEqual([store.pzxid(node), store.numChildren(node), store.firstChild(node)], [6, 0, NONE])
    store.check()
  })

  test('comes in any order', () => {
    const store = createFlatStore()
    const parts = {
      change: (node: NodeRef) => store.setChange(node, 1, 2, 3),
      owner: (node: NodeRef) => store.setOwner(node, 4),
      children: (node: NodeRef) => store.setPzxid(node, store.czxid(create(store, node, 'child')) + 5),
    }
    for (const order of [
      ['change', 'owner', 'children'],
      ['owner', 'children', 'change'],
      ['children', 'change', 'owner'],
    ] as const) {
      const node = create(store, store.root, order.join(', '))
      store.setBirth(node, 10, 20)
      for (const part of order) parts[part](node)
      assert.deepEqual([store.czxid(node), store.ctime(node)], [10, 20])
      assert.deepEqual([store.version(node), store.mzxid(node), store.mtime(node)], [1, 2, 3])
      assert.deepEqual([store.owner(node), store.pzxid(node), store.numChildren(node)], [4, 5, 1])
      store.check()
    }
  })

  test('is given back when no znode needs it any more', () => {
    const store = createFlatStore()
    const round = () => {
      const nodes = Array.from({ length: 60_000 }, (_, i) => create(store, store.root, `n${i}`))
      for (const node of nodes) {
        store.setChange(node, 1, 2, 3)
        if (node % 2 === 0) store.setOwner(node, 4)
      }
      store.check()
      const { reservedBytes } = store
      for (const node of nodes) store.remove(node)
      store.check()
      return reservedBytes
    }
    const first = round()
    assert.ok(store.reservedBytes < first / 4, `${store.reservedBytes} of ${first} bytes`)
    assert.equal(round(), first)
  })

  test('goes with a znode, so that the next one under the same reference has nothing of it', () => {
    const store = createFlatStore()
    for (let round = 0; round < 3; round++) {
      const nodes = Array.from({ length: 3000 }, (_, i) => create(store, store.root, `n${i}`))
      for (const node of nodes) {
        assert.deepEqual([store.owner(node), store.aversion(node), store.pzxid(node)], [0, 0, 0])
        assert.deepEqual([store.version(node), store.mzxid(node), store.mtime(node)], [0, 0, 0])
        store.setChange(node, 1, 2, 3)
        store.setOwner(node, node + 1)
        store.setAversion(node, -node)
      }
      store.check()
      for (const node of nodes) {
        assert.deepEqual([store.owner(node), store.aversion(node)], [node + 1, -node])
        store.remove(node)
      }
      store.check()
    }
  })

  test('is part of a stat that is set in one piece', () => {
    const store = createFlatStore()
    const stat = new NodeStat()
    const read = new NodeStat()
    const values = {
      czxid: 1,
      mzxid: 2 ** 53 - 1,
      pzxid: 3,
      ctime: 4,
      mtime: 5,
      version: -6,
      cversion: 7,
      aversion: -8,
    }
    for (const kind of [NodeKind.persistent, NodeKind.ttl]) {
      const node = create(store, store.root, `kind ${kind}`)
      setData(store, node, bytes(20, 1))
      Object.assign(stat, values, { kind })
      store.setStat(node, stat)
      store.readStat(node, read)
      assert.deepEqual({ ...read }, { ...values, kind, numChildren: 0, dataLength: 20 })
      assert.equal(store.path(node), `/kind ${kind}`)
    }
    store.check()
  })
})

describe('loading', () => {
  /** Restores one znode without data. */
  const restore = (store: Store, node: number, parent: number, name: string): void => {
    const batch = new RestoredBatch()
    batch.bytes = Buffer.from(name)
    batch.count = 1
    batch.node[0] = node
    batch.parent[0] = parent
    batch.dataAt[0] = batch.bytes.length
    batch.dataLength[0] = -1
    store.restore(batch)
  }

  test('puts znodes where they were, whatever their order, and goes on from there', () => {
    const store = createFlatStore()
    // Two pages of records are between these.
    restore(store, 9001, 9000, 'a child whose name is longer than what fits')
    setData(store, 9001, bytes(300, 7))
    restore(store, 9000, 7, 'parent')
    restore(store, store.root, NONE, '')
    restore(store, 7, store.root, 'top')
    store.settle()
    store.check()
    assert.equal(store.count, 4)
    assert.equal(store.path(9001), '/top/parent/a child whose name is longer than what fits')
    assert.equal(store.findPath('/top/parent'), 9000)
    assert.ok(dataOf(store, 9001)!.equals(bytes(300, 7)))
    const others = Array.from({ length: 10_000 }, (_, i) => create(store, 9000, `other-${i}`))
    assert.ok(!others.includes(7) && !others.includes(9000) && !others.includes(9001))
    store.check()
    for (const node of [...others, 9001, 9000, 7]) store.remove(node)
    store.check()
    assert.equal(store.count, 1)
  })

  test('siblings that come apart, before and after their parent and among others, are all linked to it', () => {
    const store = createFlatStore()
    const parents = [5000, 1, 9000]
    for (let i = 0; i < 3000; i++) {
      restore(store, 10_000 + i, parents[i % 3]!, `child-${i}`)
      if (i === 1000) {
        for (const [node, parent] of [
          [5000, 9000],
          [1, store.root],
        ] as const) {
          restore(store, node, parent, `parent-${node}`)
          setData(store, node, bytes(20, node))
        }
      }
    }
    restore(store, 9000, 1, 'parent-9000')
    store.settle()
    store.check()
    assert.deepEqual(
      parents.map((node) => store.numChildren(node)),
      [1000, 1001, 1001],
    )
    for (let i = 0; i < 3000; i++) {
      const name = Buffer.from(`child-${i}`)
      assert.equal(store.findChild(parents[i % 3]!, name, 0, name.length), 10_000 + i)
    }
  })

  test('works with more and with fewer znodes than room was made for', () => {
    for (const reserved of [1, 2, 100, 2000, 100_000]) {
      const store = createFlatStore()
      store.reserve(reserved)
      restore(store, store.root, NONE, '')
      for (let i = 1; i < 2000; i++) restore(store, i, store.root, `child-${i}`)
      store.settle()
      store.check()
      for (let i = 1; i < 2000; i++) assert.equal(store.findPath(`/child-${i}`), i)
      for (let i = 1; i < 2000; i++) store.remove(i)
      store.check()
    }
  })

  test('refuses a reference that is taken, a parent that is missing, and a second root', () => {
    const refused = { name: 'InvariantError' }
    const twice = createFlatStore()
    restore(twice, 5, twice.root, 'name')
    assert.throws(() => restore(twice, 5, twice.root, 'nam'), refused)
    assert.throws(() => restore(twice, 6, NONE, 'name'), refused)
    assert.throws(() => restore(twice, twice.root, 5, 'name'), refused)
    assert.throws(() => restore(twice, 2 ** 30, twice.root, 'name'), refused)
    const orphan = createFlatStore()
    restore(orphan, 7, 5, 'name')
    restore(orphan, 5, 6, 'name')
    assert.throws(() => orphan.settle(), refused)
  })
})

describe('growth', () => {
  test('fifty thousand sequential names under one parent are all found while the index grows, and shrinks', () => {
    const store = createFlatStore()
    const parent = create(store, store.root, 'locks')
    const total = 50_000
    const name = (i: number): string => `lock-${String(i).padStart(10, '0')}`
    for (let i = 0; i < total; i++) {
      create(store, parent, name(i))
      if ((i & (i + 1)) === 0) store.check()
    }
    assert.equal(store.numChildren(parent), total)
    store.check()
    for (let i = 0; i < total; i++) assert.equal(nameOf(store, store.findPath(`/locks/${name(i)}`)), name(i))
    const full = store.reservedBytes
    for (let i = 0; i < total; i++) {
      if (i % 100 !== 0) store.remove(store.findPath(`/locks/${name(i)}`))
      if (i % 10_000 === 0) store.check()
    }
    store.check()
    assert.equal(store.numChildren(parent), total / 100)
    for (let i = 0; i < total; i++) {
      assert.equal(store.findPath(`/locks/${name(i)}`) !== NONE, i % 100 === 0)
    }
    assert.ok(store.reservedBytes < full)
  })

  test('the same name under twenty thousand parents is found under each', () => {
    const store = createFlatStore()
    const nodes: NodeRef[] = []
    for (let i = 0; i < 20_000; i++) nodes.push(create(store, create(store, store.root, `p${i}`), 'state'))
    for (const [i, node] of nodes.entries()) assert.equal(store.findPath(`/p${i}/state`), node)
    store.check()
  })

  test('pages of records without a znode are given back and used again', () => {
    const store = createFlatStore()
    const nodes: NodeRef[] = []
    for (let i = 0; i < 20_000; i++) nodes.push(create(store, store.root, `n${i}`))
    const full = store.reservedBytes
    for (const node of nodes) store.remove(node)
    assert.ok(store.reservedBytes < full / 2, `${store.reservedBytes} of ${full}`)
    store.check()
    for (let i = 0; i < 20_000; i++) create(store, store.root, `m${i}`)
    assert.equal(store.reservedBytes, full)
    assert.equal(store.count, 20_001)
    store.check()
  })

  test('data of the znodes left after most are removed is moved together and stays the same', () => {
    const store = createFlatStore()
    const name = (i: number): string => (i % 2 === 0 ? `n${i}` : `a name with a block of its own ${i}`)
    for (let i = 0; i < 10_000; i++) setData(store, create(store, store.root, name(i)), bytes(300, i))
    const full = store.reservedBytes
    for (let i = 0; i < 10_000; i++) {
      if (i % 20 > 1) store.remove(store.findPath(`/${name(i)}`))
      if (i % 1000 === 0) store.check()
    }
    store.check()
    for (let i = 0; i < 10_000; i++) {
      const node = store.findPath(`/${name(i)}`)
      assert.equal(node !== NONE, i % 20 <= 1)
      if (node !== NONE) assert.ok(dataOf(store, node)!.equals(bytes(300, i)))
    }
    assert.ok(full - store.reservedBytes > 0.7 * 10_000 * 300, `${store.reservedBytes} of ${full} bytes kept`)
  })
})

describe('check', () => {
  test('notices a field that does not fit the structure', () => {
    const store = createFlatStore()
    const node = create(store, store.root, 'with/slash')
    assert.throws(() => store.check(), { name: 'InvariantError', message: /no proper name/ })
    store.remove(node)
    create(store, store.root, 'twice')
    create(store, store.root, 'twice')
    assert.throws(() => store.check(), { name: 'InvariantError', message: /not found by its name/ })
  })
})

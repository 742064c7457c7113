// What every operation makes of every kind of path, and the tree of a fresh server (semantics.md 1).
import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import {
  type Answer,
  code,
  connect,
  Err,
  multiOp,
  ok,
  openAcl,
  type RawClient,
} from '../support/raw-client.ts'
import { apache, sharedServer } from '../support/server.ts'

const zk = sharedServer()

const columns = {
  create: (c: RawClient, p: string) => c.create(p),
  create2: (c: RawClient, p: string) => c.create2(p),
  createContainer: (c: RawClient, p: string) => c.createContainer(p),
  createTTL: (c: RawClient, p: string) => c.createTtl(p, 1_000_000n),
  setData: (c: RawClient, p: string) => c.setData(p, 'x'),
  setACL: (c: RawClient, p: string) => c.setAcl(p, openAcl),
  delete: (c: RawClient, p: string) => c.delete(p),
  exists: (c: RawClient, p: string) => c.exists(p),
  getData: (c: RawClient, p: string) => c.getData(p),
  getChildren: (c: RawClient, p: string) => c.getChildren(p),
  getChildren2: (c: RawClient, p: string) => c.getChildren2(p),
  getACL: (c: RawClient, p: string) => c.getAcl(p),
  getAllChildrenNumber: (c: RawClient, p: string) => c.getAllChildrenNumber(p),
} as const satisfies Record<string, (c: RawClient, p: string) => Promise<Answer<unknown>>>

type Column = keyof typeof columns

const creates: readonly Column[] = ['create', 'create2', 'createContainer', 'createTTL']
const sets: readonly Column[] = ['setData', 'setACL']
const gets: readonly Column[] = ['getData', 'getChildren', 'getChildren2', 'getACL', 'getAllChildrenNumber']

/** One row of the table: path, and the error of create, set, delete, exists and the other reads. */
const rows: readonly (readonly [string, string, number, number, number, number, number])[] = [
  ['missing, parent exists', '/p/missing/x', -101, -101, -101, -101, -101],
  ['missing parent', '/missing/child', -101, -101, -101, -101, -101],
  ['the root', '/', -110, 0, -8, 0, 0],
  ['empty', '', -8, -8, -8, 0, 0],
  ['no slash at all', 'p', -8, -8, -8, -101, -101],
  ['no leading slash', 'p/c', -101, -8, -101, -101, -101],
  ['trailing slash behind a node', '/p/', -8, -8, -101, -101, -101],
  ['trailing slash, parent missing', '/missing/', -101, -8, -101, -101, -101],
  ['NUL inside', '/p/a\0b', -8, -8, -8, -8, -101],
  ['double slash', '/p//c', -101, -8, -101, -101, -101],
  ['double slash at the start', '//p', -8, -8, -101, -101, -101],
  ['a dot', '/.', -8, -8, -101, -101, -101],
  ['two dots', '/..', -8, -8, -101, -101, -101],
  ['a dot in the middle', '/./p', -101, -8, -101, -101, -101],
  ['two dots in the middle', '/p/../p', -101, -8, -101, -101, -101],
  ['a dot at the end', '/p/.', -8, -8, -101, -101, -101],
  ['two dots at the end', '/p/..', -8, -8, -101, -101, -101],
  ['a control character', '/p/\u0001', -8, -8, -101, -101, -101],
  ['a control character, parent missing', '/missing/\u0001', -101, -8, -101, -101, -101],
]

describe('paths by operation', () => {
  before(async () => {
    const client = await connect(zk.server)
    await ok(client.create('/p'))
    await client.close()
  })
  for (const [what, path, create, set, remove, exists, get] of rows) {
    const cells: [Column, number][] = [
      ...creates.map((column): [Column, number] => [column, create]),
      ...sets.map((column): [Column, number] => [column, set]),
      ['delete', remove],
      ['exists', exists],
      ...gets.map((column): [Column, number] => [column, get]),
    ]
    for (const [column, error] of cells) {
      test(`${column} of ${what}: ${error}`, async () => {
        const client = await zk.connect()
        assert.equal(await code(columns[column](client, path)), error)
      })
    }

    test(`check of ${what} in a multi: ${set}`, async () => {
      const client = await zk.connect()
      const results = await ok(client.multi([multiOp.check(path)]))
      assert.deepEqual(results, set === 0 ? [{ type: 13 }] : [{ type: -1, err: set }])
    })

    test(`sync of ${what} is echoed`, async () => {
      const client = await zk.connect()
      assert.equal(await ok(client.sync(path)), path)
    })

    test(`addWatch accepts ${what}`, async () => {
      const client = await zk.connect()
      assert.equal(await code(client.addWatch(path, 0)), 0)
    })
  }
})

describe('characters in paths', () => {
  const invalid = [
    0x0000, 0x0001, 0x001f, 0x007f, 0x0080, 0x009f, 0xd800, 0xdbff, 0xdc00, 0xe000, 0xf8ff, 0xfff0, 0xfffd,
    0xffff,
  ]
  for (const point of invalid) {
    test(`U+${point.toString(16).padStart(4, '0')} is invalid`, async () => {
      const client = await zk.connect()
      assert.equal(await code(client.create(`/x${String.fromCharCode(point)}y`)), Err.badArguments)
    })
  }

  const valid = [0x0020, 0x007e, 0x00a0, 0x0100, 0x200b, 0x4e2d, 0xd7ff, 0xf900, 0xffef]
  for (const point of valid) {
    test(`U+${point.toString(16).padStart(4, '0')} is valid`, async () => {
      const client = await zk.connect()
      const path = `/x${String.fromCharCode(point)}y`
      assert.equal(await ok(client.create(path)), path)
      assert.equal(await code(client.exists(path)), 0)
      assert.ok((await ok(client.getChildren('/'))).includes(path.slice(1)))
      await ok(client.delete(path))
    })
  }

  for (const path of ['/...', '/.t', '/..t', '/t.', '/t..', '/a b', '/a:b', '/%2f', '/\\', '/ ']) {
    test(`${JSON.stringify(path)} is a valid path`, async () => {
      const client = await zk.connect()
      assert.equal(await ok(client.create(path)), path)
      await ok(client.delete(path))
    })
  }

  test('a character beyond U+FFFF is invalid', async () => {
    const client = await zk.connect()
    assert.equal(await code(client.create('/\u{1f600}')), Err.badArguments)
    assert.equal(await code(client.setData('/\u{1f600}', 'x')), Err.badArguments)
  })

  test('paths are compared byte by byte: no normalization, no case folding', async () => {
    const client = await zk.connect()
    for (const path of ['/\u00e9', '/e\u0301', '/Case', '/case']) await ok(client.create(path))
    assert.equal(await code(client.exists('/CASE')), Err.noNode)
  })

  test('a name of 10000 characters is valid', async () => {
    const client = await zk.connect()
    const path = `/${'n'.repeat(10_000)}`
    await ok(client.create(path))
    assert.deepEqual(await code(client.exists(path)), 0)
    await ok(client.delete(path))
  })

  test('a path of 200 levels is valid', async () => {
    const client = await zk.connect()
    const paths = Array.from({ length: 200 }, (_, depth) => '/deep'.repeat(depth + 1))
    const created = client.batch(() => paths.map((path) => client.create(path)))
    assert.deepEqual(
      await Promise.all(created.map(code)),
      paths.map(() => 0),
    )
    const deepest = paths.at(-1)
    assert.ok(deepest !== undefined)
    assert.equal((await ok(client.exists(deepest))).numChildren, 0)
  })
})

describe('sequential paths', () => {
  test('the check is done on the final name: a trailing slash is fine', async () => {
    const client = await zk.connect()
    await ok(client.create('/s'))
    assert.equal(await ok(client.create('/s/', { flags: 2 })), '/s/0000000000')
  })

  for (const path of ['/s1/.', '/s1/..']) {
    test(`the check is done on the final name: ${path} is fine`, async () => {
      const client = await zk.connect()
      await client.create('/s1')
      assert.match(await ok(client.create(path, { flags: 2 })), /^\/s1\/\.\.?\d{10}$/)
    })
  }

  test('an invalid character stays invalid', async () => {
    const client = await zk.connect()
    assert.equal(await code(client.create('/\u0001', { flags: 2 })), Err.badArguments)
    assert.equal(await code(client.create('/nul\0', { flags: 2 })), Err.badArguments)
  })

  test('an empty path stays invalid', async () => {
    const client = await zk.connect()
    assert.equal(await code(client.create('', { flags: 2 })), Err.badArguments)
  })
})

describe('a fresh tree', () => {
  const fresh = sharedServer()

  test('has /zookeeper with config and quota, and nothing else', async () => {
    const client = await fresh.connect()
    assert.deepEqual(await ok(client.getChildren('/')), ['zookeeper'])
    assert.deepEqual((await ok(client.getChildren('/zookeeper'))).sort(), ['config', 'quota'])
    assert.deepEqual(await ok(client.getChildren('/zookeeper/quota')), [])
    assert.deepEqual(await ok(client.getChildren('/zookeeper/config')), [])
  })

  test('counts as 5 nodes', async () => {
    assert.match((await fresh.exchange('srvr')).toString(), /^Node count: 5$/m)
  })

  test('has 3 descendants of the root by getAllChildrenNumber', async () => {
    const client = await fresh.connect()
    assert.equal(await ok(client.getAllChildrenNumber('/')), 3)
    assert.equal(await ok(client.getAllChildrenNumber('/zookeeper')), 2)
  })

  const zero = { czxid: 0n, mzxid: 0n, ctime: 0n, mtime: 0n, ephemeralOwner: 0n, version: 0 }
  for (const [path, rest] of [
    ['/', { cversion: -1, aversion: 0, dataLength: 0, numChildren: 1, pzxid: 0n }],
    ['/zookeeper', { cversion: -2, aversion: 0, dataLength: 0, numChildren: 2, pzxid: 0n }],
    ['/zookeeper/quota', { cversion: 0, aversion: 0, dataLength: 0, numChildren: 0, pzxid: 0n }],
    ['/zookeeper/config', { cversion: 0, aversion: -1, dataLength: 0, numChildren: 0, pzxid: 0n }],
  ] as const) {
    test(`has ${path} with a stat of zeros`, async () => {
      const client = await fresh.connect()
      assert.deepEqual(await ok(client.exists(path)), { ...zero, ...rest })
    })
  }

  test('gives everything to everybody, except that /zookeeper/config can only be read', async () => {
    const client = await fresh.connect()
    for (const path of ['/', '/zookeeper', '/zookeeper/quota']) {
      assert.deepEqual((await ok(client.getAcl(path))).acl, openAcl)
    }
    assert.deepEqual((await ok(client.getAcl('/zookeeper/config'))).acl, [
      { perms: 1, scheme: 'world', id: 'anyone' },
    ])
  })

  for (const path of ['/', '/zookeeper', '/zookeeper/quota', '/zookeeper/config']) {
    test(`${path} cannot be deleted: -8`, async () => {
      const client = await fresh.connect()
      assert.equal(await code(client.delete(path)), Err.badArguments)
      assert.equal(await code(client.delete(path, 99)), Err.badArguments)
    })
  }

  test('/zookeeper/config cannot be written: -102', async () => {
    const client = await fresh.connect()
    assert.equal(await code(client.setData('/zookeeper/config', 'x')), Err.noAuth)
    assert.equal(await code(client.setAcl('/zookeeper/config', openAcl)), Err.noAuth)
    assert.equal(await code(client.create('/zookeeper/config/child')), Err.noAuth)
  })

  test('other nodes under /zookeeper can be created, written and deleted', async () => {
    const client = await fresh.connect()
    await ok(client.create('/zookeeper/mine'))
    await ok(client.setData('/zookeeper/mine', 'x'))
    await ok(client.delete('/zookeeper/mine'))
  })

  test('the data and ACL of the root can be set', async () => {
    const client = await fresh.connect()
    assert.equal((await ok(client.setData('/', 'root'))).version, 1)
    assert.deepEqual((await ok(client.getData('/'))).data, Buffer.from('root'))
    assert.equal((await ok(client.setAcl('/', openAcl))).aversion, 1)
  })

  test(`the first write of a fresh server has ${apache ? 'epoch 0' : 'an epoch of at least 1'}`, async () => {
    const client = await fresh.connect()
    const { zxid } = await client.create('/first-epoch')
    assert.equal(zxid >> 32n > 0n, !apache)
  })
})

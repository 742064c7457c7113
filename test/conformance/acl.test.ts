// Permissions per operation, matching of ids, and what makes an ACL valid (semantics.md 6).
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { describe, test } from 'node:test'
import {
  type Acl,
  type Answer,
  code,
  Err,
  Flag,
  multiOp,
  ok,
  openAcl,
  type RawClient,
} from '../support/raw-client.ts'
import { sharedServer } from '../support/server.ts'

const zk = sharedServer()
const perm = { read: 1, write: 2, create: 4, delete: 8, admin: 16 } as const
const world = (perms: number): readonly Acl[] => [{ perms, scheme: 'world', id: 'anyone' }]
const digestId = (auth: string): string =>
  `${auth.split(':')[0]}:${createHash('sha1').update(auth).digest('base64')}`

/** Each operation, and the permission it needs on /node or, for a child, on its parent. */
const operations: readonly (readonly [
  string,
  number,
  (c: RawClient, p: string) => Promise<Answer<unknown>>,
])[] = [
  ['create of a child', perm.create, (c, p) => c.create(`${p}/new`)],
  ['create2 of a child', perm.create, (c, p) => c.create2(`${p}/new2`)],
  ['create of a sequential child', perm.create, (c, p) => c.create(`${p}/s-`, { flags: Flag.sequential })],
  ['create of an ephemeral child', perm.create, (c, p) => c.create(`${p}/e`, { flags: Flag.ephemeral })],
  ['createContainer of a child', perm.create, (c, p) => c.createContainer(`${p}/c`)],
  ['createTTL of a child', perm.create, (c, p) => c.createTtl(`${p}/t`, 1_000_000n)],
  ['delete of a child', perm.delete, (c, p) => c.delete(`${p}/child`)],
  ['setData', perm.write, (c, p) => c.setData(p, 'x')],
  ['setACL', perm.admin, (c, p) => c.setAcl(p, openAcl)],
  ['getData', perm.read, (c, p) => c.getData(p)],
  ['getChildren', perm.read, (c, p) => c.getChildren(p)],
  ['getChildren2', perm.read, (c, p) => c.getChildren2(p)],
  ['exists', perm.read, (c, p) => c.exists(p)],
  ['getAllChildrenNumber', perm.read, (c, p) => c.getAllChildrenNumber(p)],
]

describe('permissions', () => {
  operations.forEach(([what, needed, operation], index) => {
    test(`${what} is denied without permission ${needed}`, async () => {
      const client = await zk.connect()
      const path = `/without-${index}`
      await ok(client.create(path))
      await ok(client.create(`${path}/child`))
      await ok(client.setAcl(path, world(31 & ~needed)))
      assert.equal(await code(operation(client, path)), Err.noAuth)
    })

    test(`${what} needs no permission but ${needed}`, async () => {
      const client = await zk.connect()
      const path = `/with-${index}`
      await ok(client.create(path))
      await ok(client.create(`${path}/child`))
      await ok(client.setAcl(path, world(needed)))
      assert.equal(await code(operation(client, path)), 0)
    })
  })

  test('check in a multi needs READ', async () => {
    const client = await zk.connect()
    await ok(client.create('/check-no', { acl: world(31 & ~perm.read) }))
    await ok(client.create('/check-yes', { acl: world(perm.read) }))
    assert.deepEqual(await ok(client.multi([multiOp.check('/check-no')])), [{ type: -1, err: Err.noAuth }])
    assert.deepEqual(await ok(client.multi([multiOp.check('/check-yes')])), [{ type: 13 }])
  })

  for (const [perms, error] of [
    [perm.read, 0],
    [perm.admin, 0],
    [31 & ~(perm.read | perm.admin), Err.noAuth],
    [0, Err.noAuth],
  ] as const) {
    test(`getACL with permissions ${perms}: ${error}`, async () => {
      const client = await zk.connect()
      await ok(client.create(`/get-acl-${perms}`, { acl: world(perms) }))
      assert.equal(await code(client.getAcl(`/get-acl-${perms}`)), error)
    })
  }

  test('exists of a missing node needs nothing', async () => {
    const client = await zk.connect()
    await ok(client.create('/closed', { acl: world(0) }))
    assert.equal(await code(client.exists('/closed/missing')), Err.noNode)
    assert.equal(await code(client.getData('/closed/missing')), Err.noNode)
  })

  test('permissions are not inherited: a child of a closed node can be read', async () => {
    const client = await zk.connect()
    await ok(client.create('/closed2'))
    await ok(client.create('/closed2/c'))
    await ok(client.setAcl('/closed2', world(0)))
    assert.equal(await code(client.getData('/closed2/c')), 0)
  })

  test('sync, addWatch, checkWatches, removeWatches, setWatches and getEphemerals need nothing', async () => {
    const client = await zk.connect()
    await ok(client.create('/closed3', { acl: world(0) }))
    assert.equal(await code(client.sync('/closed3')), 0)
    assert.equal(await code(client.addWatch('/closed3', 0)), 0)
    assert.equal(await code(client.checkWatches('/closed3', 4)), 0)
    assert.equal(await code(client.removeWatches('/closed3', 4)), 0)
    assert.equal(await code(client.setWatches(1n << 40n, { data: ['/closed3'] })), 0)
    assert.equal(await code(client.getEphemerals('/closed3')), 0)
  })

  test('an ephemeral of a session is deleted with it whatever the ACL of its parent', async () => {
    const owner = await zk.connect()
    const client = await zk.connect()
    await ok(owner.create('/closed4'))
    await ok(owner.create('/closed4/e', { flags: Flag.ephemeral }))
    await ok(client.setAcl('/closed4', world(0)))
    await owner.close()
    assert.equal(await code(client.exists('/closed4/e')), Err.noNode)
  })
})

describe('matching', () => {
  test('any entry that matches is enough, in any order', async () => {
    const client = await zk.connect()
    const other: Acl = { perms: 31, scheme: 'ip', id: '10.9.8.7' }
    const mine: Acl = { perms: perm.read, scheme: 'ip', id: '127.0.0.1' }
    await ok(client.create('/any-order', { acl: [other, mine] }))
    await ok(client.create('/any-order2', { acl: [mine, other] }))
    assert.equal(await code(client.getData('/any-order')), 0)
    assert.equal(await code(client.getData('/any-order2')), 0)
    assert.equal(await code(client.setData('/any-order', 'x')), Err.noAuth)
  })

  test('there is no deny: an entry with fewer permissions takes nothing away', async () => {
    const client = await zk.connect()
    await ok(client.create('/no-deny', { acl: [...world(0), ...world(perm.read)] }))
    assert.equal(await code(client.getData('/no-deny')), 0)
  })

  test('permissions of several entries add up', async () => {
    const client = await zk.connect()
    const acl = [...world(perm.read), { perms: perm.write, scheme: 'ip', id: '127.0.0.1' }]
    await ok(client.create('/add-up', { acl }))
    assert.equal(await code(client.getData('/add-up')), 0)
    assert.equal(await code(client.setData('/add-up', 'x')), 0)
    assert.equal(await code(client.setAcl('/add-up', openAcl)), Err.noAuth)
  })

  test('a digest entry matches the connection that has authenticated as it', async () => {
    const client = await zk.connect()
    const acl = [{ perms: 31, scheme: 'digest', id: digestId('alice:secret') }]
    await ok(client.create('/digest', { acl }))
    assert.equal(await code(client.getData('/digest')), Err.noAuth)
    await ok(client.auth('digest', 'alice:wrong'))
    assert.equal(await code(client.getData('/digest')), Err.noAuth)
    await ok(client.auth('digest', 'alice:secret'))
    assert.equal(await code(client.getData('/digest')), 0)
  })

  for (const [id, error] of [
    ['127.0.0.1', 0],
    ['127.0.0.1/32', 0],
    ['127.0.0.0/8', 0],
    ['127.255.0.0/8', 0],
    ['126.0.0.0/7', 0],
    ['0.0.0.0/0', 0],
    ['1.2.3.4/0', 0],
    ['127.0.0.2', Err.noAuth],
    ['127.0.0.0/32', Err.noAuth],
    ['128.0.0.0/8', Err.noAuth],
    ['::1', Err.noAuth],
  ] as const) {
    test(`ip entry ${id} for a client at 127.0.0.1: ${error}`, async () => {
      const client = await zk.connect()
      const path = await ok(
        client.create('/ip-', { flags: Flag.sequential, acl: [{ perms: 31, scheme: 'ip', id }] }),
      )
      assert.equal(await code(client.getData(path)), error)
    })
  }
})

describe('validation', () => {
  const stored = async (client: RawClient, acl: readonly Acl[]): Promise<unknown> => {
    const path = await ok(client.create('/stored-', { flags: Flag.sequential, acl }))
    return (await ok(client.getAcl(path))).acl
  }

  for (const [what, acl] of [
    ['an empty list', []],
    ['a null list', null],
    ['an unknown scheme', [{ perms: 31, scheme: 'nosuch', id: 'x' }]],
    ['an empty scheme', [{ perms: 31, scheme: '', id: '' }]],
    ['a null scheme', [{ perms: 31, scheme: null, id: 'x' }]],
    ['one bad entry among good ones', [...openAcl, { perms: 31, scheme: 'nosuch', id: 'x' }]],
    ['world with another id', [{ perms: 31, scheme: 'world', id: 'someone' }]],
    ['world with an empty id', [{ perms: 31, scheme: 'world', id: '' }]],
    ['digest without a colon', [{ perms: 31, scheme: 'digest', id: 'user' }]],
    ['digest with two colons', [{ perms: 31, scheme: 'digest', id: 'a:b:c' }]],
    ['digest with an empty tail', [{ perms: 31, scheme: 'digest', id: 'user:' }]],
    ['digest with an empty id', [{ perms: 31, scheme: 'digest', id: '' }]],
    ['ip with three parts', [{ perms: 31, scheme: 'ip', id: '1.2.3' }]],
    ['ip with 33 bits', [{ perms: 31, scheme: 'ip', id: '127.0.0.1/33' }]],
    ['ip with negative bits', [{ perms: 31, scheme: 'ip', id: '127.0.0.1/-1' }]],
    ['ip with a name', [{ perms: 31, scheme: 'ip', id: 'localhost' }]],
    ['ip with a part of 256', [{ perms: 31, scheme: 'ip', id: '127.0.0.256' }]],
    ['ip with bits that are no number', [{ perms: 31, scheme: 'ip', id: '127.0.0.1/x' }]],
    ['sasl where SASL is not configured', [{ perms: 31, scheme: 'sasl', id: 'user' }]],
    ['x509 where TLS is not configured', [{ perms: 31, scheme: 'x509', id: 'CN=user' }]],
    ['super', [{ perms: 31, scheme: 'super', id: '' }]],
    ['auth of a connection that has not authenticated', [{ perms: 31, scheme: 'auth', id: '' }]],
  ] as const satisfies readonly (readonly [string, readonly Acl[] | null])[]) {
    test(`${what}: -114, for create and setACL`, async () => {
      const client = await zk.connect()
      assert.equal(await code(client.create('/invalid', { acl })), Err.invalidAcl)
      assert.equal(await code(client.setAcl('/zookeeper/quota', acl)), Err.invalidAcl)
    })
  }

  for (const entry of [
    { perms: 31, scheme: 'digest', id: 'user:x' },
    { perms: 31, scheme: 'digest', id: ':x' },
    { perms: 31, scheme: 'ip', id: '10.0.0.0/8' },
    { perms: 31, scheme: 'ip', id: '::1' },
    { perms: 31, scheme: 'ip', id: 'fe80:0:0:0:0:0:0:0/10' },
    { perms: 31, scheme: 'ip', id: 'fe80::/128' },
  ]) {
    test(`${entry.scheme}:${entry.id} is a valid id`, async () => {
      const client = await zk.connect()
      const acl = [...openAcl, entry]
      assert.deepEqual(await stored(client, acl), acl)
    })
  }

  for (const perms of [0, 32, 64, 127, 255, -1, 2147483647]) {
    test(`permission bits ${perms} are stored as they are`, async () => {
      const client = await zk.connect()
      const acl = [...openAcl, { perms, scheme: 'ip', id: '10.0.0.1' }]
      assert.deepEqual(await stored(client, acl), acl)
    })
  }

  test('duplicates are removed, the order is kept', async () => {
    const client = await zk.connect()
    const ip: Acl = { perms: 1, scheme: 'ip', id: '10.0.0.1' }
    assert.deepEqual(await stored(client, [ip, ...openAcl, ip, ...openAcl]), [ip, ...openAcl])
  })

  test('entries that differ only in their permissions are no duplicates', async () => {
    const client = await zk.connect()
    const acl = [...world(31), ...world(1)]
    assert.deepEqual(await stored(client, acl), acl)
  })

  test('auth stands for the authenticated ids of the connection, except ip', async () => {
    const client = await zk.connect()
    await ok(client.auth('digest', 'alice:secret'))
    await ok(client.auth('digest', 'bob:secret'))
    const acl = (await stored(client, [{ perms: 31, scheme: 'auth', id: '' }])) as Acl[]
    assert.deepEqual(
      acl.map(({ perms, scheme, id }) => `${perms} ${scheme}:${id}`).sort(),
      [`31 digest:${digestId('alice:secret')}`, `31 digest:${digestId('bob:secret')}`].sort(),
    )
  })

  test('the id of an auth entry is ignored, its permissions are kept', async () => {
    const client = await zk.connect()
    await ok(client.auth('digest', 'alice:secret'))
    assert.deepEqual(await stored(client, [...openAcl, { perms: 3, scheme: 'auth', id: 'ignored' }]), [
      ...openAcl,
      { perms: 3, scheme: 'digest', id: digestId('alice:secret') },
    ])
  })
})

describe('getACL', () => {
  const id = digestId('alice:secret')
  const acl = (perms: number): readonly Acl[] => [
    { perms: 31, scheme: 'digest', id },
    ...world(perms),
    { perms: 31, scheme: 'ip', id: '10.0.0.1' },
  ]

  test('shows digest ids as user:x to those without ADMIN, and all else as it is', async () => {
    const client = await zk.connect()
    await ok(client.create('/masked', { acl: acl(perm.read) }))
    assert.deepEqual((await ok(client.getAcl('/masked'))).acl, [
      { perms: 31, scheme: 'digest', id: 'alice:x' },
      ...world(perm.read),
      { perms: 31, scheme: 'ip', id: '10.0.0.1' },
    ])
  })

  test('shows whole digest ids to those with ADMIN', async () => {
    const client = await zk.connect()
    await ok(client.create('/unmasked', { acl: acl(perm.admin) }))
    assert.deepEqual((await ok(client.getAcl('/unmasked'))).acl, acl(perm.admin))
  })

  test('shows whole digest ids to their owner, who has ADMIN', async () => {
    const client = await zk.connect()
    await ok(client.create('/unmasked2', { acl: acl(perm.read) }))
    await ok(client.auth('digest', 'alice:secret'))
    assert.deepEqual((await ok(client.getAcl('/unmasked2'))).acl, acl(perm.read))
  })
})

describe('delivery of watch events', () => {
  const secret: readonly Acl[] = [{ perms: 31, scheme: 'digest', id: digestId('alice:secret') }]

  test('an event of a node that the watcher may not read is dropped', async () => {
    const [owner, watcher] = [await zk.connect(), await zk.connect()]
    await ok(owner.auth('digest', 'alice:secret'))
    await ok(owner.create('/drop', { acl: secret }))
    await ok(watcher.addWatch('/drop', 0))
    await ok(owner.setData('/drop', 'x'))
    assert.deepEqual(await watcher.events(), [])
  })

  test('an event of a node that the watcher may read by authentication is delivered', async () => {
    const [owner, watcher] = [await zk.connect(), await zk.connect()]
    await ok(owner.auth('digest', 'alice:secret'))
    await ok(watcher.auth('digest', 'alice:secret'))
    await ok(owner.create('/deliver', { acl: secret }))
    await ok(watcher.addWatch('/deliver', 0))
    await ok(owner.setData('/deliver', 'x'))
    assert.deepEqual(await watcher.events(), ['NodeDataChanged /deliver'])
  })

  test('a deletion counts with the ACL the node had', async () => {
    const [owner, watcher] = [await zk.connect(), await zk.connect()]
    await ok(owner.create('/drop2'))
    await ok(watcher.exists('/drop2', true))
    await ok(owner.auth('digest', 'alice:secret'))
    await ok(owner.setAcl('/drop2', secret))
    await ok(owner.delete('/drop2'))
    assert.deepEqual(await watcher.events(), [])
  })

  test('a child event counts with the ACL of the parent', async () => {
    const [owner, watcher] = [await zk.connect(), await zk.connect()]
    await ok(owner.create('/drop3'))
    await ok(watcher.getChildren('/drop3', true))
    await ok(owner.create('/drop3/secret', { acl: [{ perms: 31, scheme: 'ip', id: '10.9.8.7' }] }))
    assert.deepEqual(await watcher.events(), ['NodeChildrenChanged /drop3'])
  })

  test('the creation of a node that the watcher may not read is dropped', async () => {
    const [owner, watcher] = [await zk.connect(), await zk.connect()]
    await watcher.exists('/drop4', true)
    await ok(owner.create('/drop4', { acl: [{ perms: 31, scheme: 'ip', id: '10.9.8.7' }] }))
    assert.deepEqual(await watcher.events(), [])
  })
})

describe('skipACL=yes', () => {
  const open = sharedServer({ skipACL: 'yes' })

  test('everything is allowed', async () => {
    const client = await open.connect()
    await ok(client.create('/closed', { acl: world(0) }))
    assert.equal(await code(client.setData('/closed', 'x')), 0)
    assert.equal(await code(client.getData('/closed')), 0)
    assert.equal(await code(client.create('/closed/c')), 0)
    assert.equal(await code(client.delete('/closed/c')), 0)
    assert.equal(await code(client.setAcl('/closed', openAcl)), 0)
  })

  test('ACLs are stored all the same', async () => {
    const client = await open.connect()
    await ok(client.create('/stored', { acl: world(1) }))
    assert.deepEqual((await ok(client.getAcl('/stored'))).acl, world(1))
  })
})

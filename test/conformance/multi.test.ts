// multi: all or nothing, one zxid, later operations see earlier ones (semantics.md 5, wire.md 7).
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  type Acl,
  body,
  code,
  Encoder,
  Err,
  Flag,
  type MultiOp,
  multiOp,
  Op,
  ok,
  openAcl,
  type RawClient,
} from '../support/raw-client.ts'
import { sharedServer } from '../support/server.ts'

const zk = sharedServer()
const allBut = (perm: number): readonly Acl[] => [{ perms: 31 & ~perm, scheme: 'world', id: 'anyone' }]

/** The error codes of a multi that failed: every result must be an error result. */
async function failure(client: RawClient, ops: readonly MultiOp[]): Promise<number[]> {
  const reply = await client.multi(ops)
  assert.equal(reply.err, 0)
  return (reply.value ?? []).map((result) => {
    assert.equal(result.type, -1)
    return 'err' in result ? result.err : Number.NaN
  })
}

describe('success', () => {
  test('each kind of operation has its kind of result', async () => {
    const client = await zk.connect()
    const { zxid, value } = await client.multi([
      multiOp.create('/kinds'),
      multiOp.create2('/kinds/2', { data: 'ab' }),
      multiOp.createContainer('/kinds/c'),
      multiOp.createTtl('/kinds/t', 1_000_000n),
      multiOp.setData('/kinds', 'x'),
      multiOp.check('/kinds', 1),
      multiOp.delete('/kinds/2'),
    ])
    assert.ok(value !== undefined)
    assert.deepEqual(
      value.map((result) => result.type),
      [1, 15, 15, 15, 5, 13, 2],
    )
    const [create, create2, container, ttl, set] = value
    assert.deepEqual(create, { type: 1, path: '/kinds' })
    assert.ok(create2?.type === 15 && container?.type === 15 && ttl?.type === 15 && set?.type === 5)
    assert.deepEqual([create2.path, container.path, ttl.path], ['/kinds/2', '/kinds/c', '/kinds/t'])
    assert.deepEqual([create2.stat.czxid, create2.stat.dataLength], [zxid, 2])
    assert.deepEqual([set.stat.mzxid, set.stat.version, set.stat.dataLength], [zxid, 1, 1])
  })

  test('an empty multi succeeds with no results', async () => {
    const client = await zk.connect()
    const reply = await client.multi([])
    assert.deepEqual(reply.value, [])
  })

  test('takes one zxid for all operations', async () => {
    const client = await zk.connect()
    const { zxid } = await client.ping()
    const reply = await client.multi([multiOp.create('/one-zxid'), multiOp.create('/one-zxid/a')])
    assert.equal(reply.zxid, zxid + 1n)
    assert.equal((await client.ping()).zxid, zxid + 1n)
    assert.equal((await ok(client.exists('/one-zxid/a'))).czxid, reply.zxid)
  })

  test('later operations see earlier ones: create, setData and delete of one node', async () => {
    const client = await zk.connect()
    const results = await ok(
      client.multi([
        multiOp.create('/brief'),
        multiOp.setData('/brief', 'x', 0),
        multiOp.delete('/brief', 1),
      ]),
    )
    assert.deepEqual(
      results.map((result) => result.type),
      [1, 5, 2],
    )
    assert.equal(await code(client.exists('/brief')), Err.noNode)
  })

  test('later operations see earlier ones: delete and create again', async () => {
    const client = await zk.connect()
    await ok(client.create('/swap', { data: 'old' }))
    await ok(client.multi([multiOp.delete('/swap'), multiOp.create('/swap', { data: 'new' })]))
    assert.deepEqual((await ok(client.getData('/swap'))).data, Buffer.from('new'))
  })

  test('later operations see earlier ones: a child of a parent created before it', async () => {
    const client = await zk.connect()
    await ok(client.multi([multiOp.create('/tree'), multiOp.create('/tree/a'), multiOp.create('/tree/a/b')]))
    assert.equal(await code(client.exists('/tree/a/b')), 0)
  })

  test('sees the results of the requests right before it in the same chunk', async () => {
    const client = await zk.connect()
    const [created, multi] = client.batch(() => [
      client.create('/chunk'),
      client.multi([multiOp.check('/chunk', 0), multiOp.setData('/chunk', 'x', 0)]),
    ])
    await ok(created)
    assert.equal((await ok(multi)).length, 2)
  })

  test('ephemeral and sequential nodes can be created', async () => {
    const client = await zk.connect()
    const results = await ok(
      client.multi([
        multiOp.create('/m-seq'),
        multiOp.create('/m-seq/e-', { flags: Flag.ephemeralSequential }),
        multiOp.create('/m-eph', { flags: Flag.ephemeral }),
      ]),
    )
    assert.deepEqual(results[1], { type: 1, path: '/m-seq/e-0000000000' })
    const { ephemeralOwner } = await ok(client.exists('/m-seq/e-0000000000'))
    assert.equal(ephemeralOwner, client.session.sessionId)
    assert.deepEqual((await ok(client.getEphemerals('/m-'))).sort(), ['/m-eph', '/m-seq/e-0000000000'])
  })

  test('check compares the version, -1 matches any', async () => {
    const client = await zk.connect()
    await ok(client.create('/check'))
    await ok(client.setData('/check', 'x'))
    assert.deepEqual(await ok(client.multi([multiOp.check('/check', 1), multiOp.check('/check', -1)])), [
      { type: 13 },
      { type: 13 },
    ])
    assert.deepEqual(await failure(client, [multiOp.check('/check', 0)]), [Err.badVersion])
    assert.deepEqual(await failure(client, [multiOp.check('/check', -2)]), [Err.badVersion])
  })

  test('a thousand operations fit into one multi', async () => {
    const client = await zk.connect()
    await ok(client.create('/thousand'))
    const ops = Array.from({ length: 1000 }, (_, i) => multiOp.create(`/thousand/${i}`))
    assert.equal((await ok(client.multi(ops))).length, 1000)
    assert.equal((await ok(client.exists('/thousand'))).numChildren, 1000)
    await ok(client.multi(Array.from({ length: 1000 }, (_, i) => multiOp.delete(`/thousand/${i}`))))
    assert.equal((await ok(client.exists('/thousand'))).numChildren, 0)
  })
})

describe('failure', () => {
  test('the header has no error; results before the failed one are 0, behind it -2', async () => {
    const client = await zk.connect()
    await ok(client.create('/shape'))
    const codes = await failure(client, [
      multiOp.create('/shape/a'),
      multiOp.setData('/shape', 'x'),
      multiOp.check('/shape', 99),
      multiOp.delete('/shape/a'),
      multiOp.create('/shape/b'),
    ])
    assert.deepEqual(codes, [0, 0, Err.badVersion, Err.runtimeInconsistency, Err.runtimeInconsistency])
  })

  test('nothing is done', async () => {
    const client = await zk.connect()
    await ok(client.create('/nothing'))
    const before = await ok(client.exists('/nothing'))
    await failure(client, [
      multiOp.create('/nothing/a'),
      multiOp.create('/nothing/s-', { flags: Flag.sequential }),
      multiOp.setData('/nothing', 'x'),
      multiOp.delete('/missing'),
    ])
    assert.deepEqual(await ok(client.exists('/nothing')), before)
    assert.deepEqual(await ok(client.getChildren('/nothing')), [])
    assert.deepEqual((await ok(client.getData('/nothing'))).data, null)
  })

  test('a deletion is taken back: data, stat, ACL and children', async () => {
    const client = await zk.connect()
    await ok(client.create('/back'))
    await ok(client.create('/back/c', { data: 'x', acl: allBut(16) }))
    const before = [await ok(client.getData('/back/c')), await ok(client.getAcl('/back/c'))]
    await failure(client, [multiOp.delete('/back/c'), multiOp.delete('/back'), multiOp.check('/missing')])
    assert.deepEqual([await ok(client.getData('/back/c')), await ok(client.getAcl('/back/c'))], before)
    assert.deepEqual(await ok(client.getChildren('/back')), ['c'])
  })

  test('an ephemeral node that was created and taken back belongs to nobody', async () => {
    const client = await zk.connect()
    await failure(client, [multiOp.create('/back-eph', { flags: Flag.ephemeral }), multiOp.check('/missing')])
    assert.deepEqual(await ok(client.getEphemerals('/back-eph')), [])
    assert.equal(await code(client.create('/back-eph')), 0)
  })

  test('a sequence number that was taken back is given again', async () => {
    const client = await zk.connect()
    await ok(client.create('/seq-back'))
    await failure(client, [
      multiOp.create('/seq-back/n-', { flags: Flag.sequential }),
      multiOp.check('/missing'),
    ])
    assert.equal(
      await ok(client.create('/seq-back/n-', { flags: Flag.sequential })),
      '/seq-back/n-0000000000',
    )
  })

  test('the requests right behind a failed multi do not see it', async () => {
    const client = await zk.connect()
    const [failed, created, parentless] = client.batch(() => [
      client.multi([multiOp.create('/unseen'), multiOp.check('/missing')]),
      client.create('/unseen'),
      client.create('/unseen2/x'),
    ])
    assert.equal((await ok(failed)).length, 2)
    assert.deepEqual([await code(created), await code(parentless)], [0, Err.noNode])
  })

  test('consumes a zxid', async () => {
    const client = await zk.connect()
    const { zxid } = await client.ping()
    const reply = await client.multi([multiOp.check('/missing')])
    assert.equal(reply.zxid, zxid + 1n)
  })

  test('fires no watch', async () => {
    const client = await zk.connect()
    await ok(client.create('/no-fire'))
    await ok(client.getData('/no-fire', true))
    await ok(client.getChildren('/no-fire', true))
    await ok(client.addWatch('/', 1))
    await failure(client, [
      multiOp.setData('/no-fire', 'x'),
      multiOp.create('/no-fire/c'),
      multiOp.check('/missing'),
    ])
    assert.deepEqual(await client.events(), [])
  })

  for (const [what, op, error] of [
    ['create of an existing node', multiOp.create('/'), Err.nodeExists],
    ['create without a parent', multiOp.create('/no-such/x'), Err.noNode],
    ['create with a bad ACL', multiOp.create('/bad-acl', { acl: [] }), Err.invalidAcl],
    ['create with a bad path', multiOp.create('/bad//path2/..'), Err.noNode],
    ['create of a relative path', multiOp.create('bad'), Err.badArguments],
    ['createTTL with ttl 0', multiOp.createTtl('/ttl-0', 0n), Err.badArguments],
    ['setData of a missing node', multiOp.setData('/missing', 'x'), Err.noNode],
    ['delete of a missing node', multiOp.delete('/missing'), Err.noNode],
    ['delete of a node with children', multiOp.delete('/zookeeper/'), Err.noNode],
    ['delete of the root', multiOp.delete('/'), Err.badArguments],
    ['check of a missing node', multiOp.check('/missing'), Err.noNode],
    ['a write to /zookeeper/config', multiOp.setData('/zookeeper/config', 'x'), Err.noAuth],
  ] as const) {
    test(`${what} fails with its own code: ${error}`, async () => {
      const client = await zk.connect()
      assert.deepEqual(await failure(client, [multiOp.check('/'), op]), [0, error])
    })
  }

  test('check needs READ on the node: -102', async () => {
    const client = await zk.connect()
    await ok(client.create('/check-read', { acl: allBut(1) }))
    assert.deepEqual(await failure(client, [multiOp.check('/check-read')]), [Err.noAuth])
  })

  test('permissions are those of each operation', async () => {
    const client = await zk.connect()
    await ok(client.create('/m-perm', { acl: allBut(2) }))
    assert.deepEqual(await failure(client, [multiOp.setData('/m-perm', 'x')]), [Err.noAuth])
    await ok(client.create('/m-perm2', { acl: allBut(4) }))
    assert.deepEqual(await failure(client, [multiOp.create('/m-perm2/c')]), [Err.noAuth])
    await ok(client.create('/m-perm3'))
    await ok(client.create('/m-perm3/c'))
    await ok(client.setAcl('/m-perm3', allBut(8)))
    assert.deepEqual(await failure(client, [multiOp.delete('/m-perm3/c')]), [Err.noAuth])
  })
})

describe('malformed', () => {
  for (const [what, ops] of [
    ['bad create flags', [multiOp.create('/mal', { flags: 99 })]],
    ['an unknown type', [multiOp.create('/mal'), { type: 77, body: body.path('/') }]],
    ['a getData inside', [multiOp.create('/mal'), multiOp.getData('/')]],
    ['a getChildren inside', [multiOp.create('/mal'), multiOp.getChildren('/')]],
    ['an exists inside', [multiOp.create('/mal'), { type: Op.exists, body: body.pathWatch('/') }]],
    ['a setACL inside', [multiOp.create('/mal'), { type: Op.setAcl, body: body.setAcl('/', openAcl) }]],
    ['a multi inside', [multiOp.create('/mal'), { type: Op.multi, body: body.multi([]) }]],
  ] as const) {
    test(`${what}: -5 in the header, a zxid is consumed, nothing is done`, async () => {
      const client = await zk.connect()
      const { zxid } = await client.ping()
      const reply = await client.multi(ops)
      assert.deepEqual([reply.err, reply.zxid], [Err.marshalling, zxid + 1n])
      assert.equal(await code(client.exists('/mal')), Err.noNode)
    })
  }

  test('flags 4 with the plain create are accepted', async () => {
    const client = await zk.connect()
    await ok(client.multi([multiOp.create('/mal4', { flags: 4 })]))
    await ok(client.exists('/mal4'))
  })

  test('reads only, sent as multi: -5', async () => {
    const client = await zk.connect()
    assert.equal(await code(client.multi([multiOp.getData('/')])), Err.marshalling)
  })

  test('no end header: -5, nothing is done', async () => {
    const client = await zk.connect()
    const whole = body.multi([multiOp.create('/no-end')])
    const reply = await client.request(Op.multi, whole.subarray(0, -9))
    assert.equal(reply.err, Err.marshalling)
    assert.equal(await code(client.exists('/no-end')), Err.noNode)
  })

  test('an operation cut off in the middle: -5, nothing is done', async () => {
    const client = await zk.connect()
    const whole = body.multi([multiOp.create('/cut'), multiOp.create('/cut2')])
    const reply = await client.request(Op.multi, whole.subarray(0, -30))
    assert.equal(reply.err, Err.marshalling)
    assert.equal(await code(client.exists('/cut')), Err.noNode)
  })

  test('only the done byte ends the list', async () => {
    const client = await zk.connect()
    const request = new Encoder()
      .int(Op.create)
      .bool(false)
      .int(-1)
      .raw(body.create('/done-byte'))
      .int(0)
      .bool(true)
      .int(7)
      .bytes()
    assert.equal((await client.request(Op.multi, request)).err, 0)
    assert.equal(await code(client.exists('/done-byte')), 0)
  })
})

describe('watches', () => {
  test('fire per operation, in the order of the operations, with the zxid of the multi', async () => {
    const client = await zk.connect()
    await ok(client.create('/fire'))
    await ok(client.addWatch('/fire', 1))
    const { zxid } = await client.multi([
      multiOp.create('/fire/a'),
      multiOp.setData('/fire', 'x'),
      multiOp.setData('/fire/a', 'x'),
      multiOp.delete('/fire/a'),
    ])
    const events = client.takeEvents()
    assert.deepEqual(
      events.map((event) => event.text),
      ['NodeCreated /fire/a', 'NodeDataChanged /fire', 'NodeDataChanged /fire/a', 'NodeDeleted /fire/a'],
    )
    assert.deepEqual(
      events.map((event) => event.zxid),
      events.map(() => zxid),
    )
  })

  test('a one-shot watch fires once', async () => {
    const client = await zk.connect()
    await ok(client.create('/fire-once'))
    await ok(client.getData('/fire-once', true))
    await ok(client.getChildren('/fire-once', true))
    await ok(
      client.multi([
        multiOp.setData('/fire-once', 'a'),
        multiOp.setData('/fire-once', 'b'),
        multiOp.create('/fire-once/a'),
        multiOp.create('/fire-once/b'),
      ]),
    )
    assert.deepEqual(await client.events(), ['NodeDataChanged /fire-once', 'NodeChildrenChanged /fire-once'])
  })
})

// The create family: modes, flags, sequence numbers, the order of the checks (semantics.md 3, wire.md 6).
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  type Acl,
  body,
  code,
  Err,
  Flag,
  multiOp,
  Op,
  ok,
  openAcl,
  type RawClient,
} from '../support/raw-client.ts'
import { quirk, sharedServer } from '../support/server.ts'

const zk = sharedServer()
const readOnly: readonly Acl[] = [{ perms: 1, scheme: 'world', id: 'anyone' }]

async function parent(client: RawClient, path: string, acl = openAcl): Promise<void> {
  await ok(client.create(path, { acl }))
}

describe('replies', () => {
  test('create answers with the path only', async () => {
    const client = await zk.connect()
    const reply = await client.request(Op.create, body.create('/path-only'))
    assert.equal(reply.body.toString('hex'), `0000000a${Buffer.from('/path-only').toString('hex')}`)
  })

  test('create2 answers with path and stat', async () => {
    const client = await zk.connect()
    const created = await ok(client.create2('/path-stat', { data: 'abc' }))
    assert.equal(created.path, '/path-stat')
    assert.deepEqual(created.stat, await ok(client.exists('/path-stat')))
  })

  test('the data and the ACL are stored as given', async () => {
    const client = await zk.connect()
    await ok(client.create('/as-given', { data: Buffer.from([0, 255, 1]), acl: readOnly }))
    assert.deepEqual((await ok(client.getData('/as-given'))).data, Buffer.from([0, 255, 1]))
    assert.deepEqual((await ok(client.getAcl('/as-given'))).acl, readOnly)
  })
})

describe('errors', () => {
  test('an existing node: -110', async () => {
    const client = await zk.connect()
    await ok(client.create('/exists'))
    assert.equal(await code(client.create('/exists')), Err.nodeExists)
  })

  test('a missing parent: -101', async () => {
    const client = await zk.connect()
    assert.equal(await code(client.create('/no-parent/x')), Err.noNode)
    assert.equal(await code(client.create('/no-parent/x-', { flags: Flag.sequential })), Err.noNode)
  })

  for (const flags of [Flag.persistent, Flag.ephemeral, Flag.sequential, Flag.ephemeralSequential]) {
    test(`an ephemeral parent refuses children with flags ${flags}: -108`, async () => {
      const client = await zk.connect()
      await client.create('/eph-parent', { flags: Flag.ephemeral })
      assert.equal(await code(client.create('/eph-parent/c', { flags })), Err.noChildrenForEphemerals)
    })
  }

  test('an ephemeral parent refuses containers and TTL nodes: -108', async () => {
    const client = await zk.connect()
    await client.create('/eph-parent2', { flags: Flag.ephemeral })
    assert.equal(await code(client.createContainer('/eph-parent2/c')), Err.noChildrenForEphemerals)
    assert.equal(await code(client.createTtl('/eph-parent2/t', 1000n)), Err.noChildrenForEphemerals)
  })
})

describe('flags', () => {
  for (const op of [Op.create, Op.create2]) {
    for (const flags of [5, 6, 7, 8, 99, -1, -2147483648]) {
      test(`op ${op} with flags ${flags}: -8`, async () => {
        const client = await zk.connect()
        assert.equal((await client.request(op, body.create('/flags', { flags }))).err, Err.badArguments)
        assert.equal(await code(client.exists('/flags')), Err.noNode)
      })
    }

    for (const flags of [0, 1, 2, 3, 4]) {
      test(`op ${op} accepts flags ${flags}`, async () => {
        const client = await zk.connect()
        const path = `/op-${op}-flags-${flags}`
        assert.equal((await client.request(op, body.create(path, { flags }))).err, 0)
      })
    }
  }

  for (const flags of [0, 1, 2, 3, 5, 6]) {
    quirk(`createContainer with flags ${flags}: -8`, async () => {
      const client = await zk.connect()
      assert.equal(await code(client.createContainer('/c-flags', { flags })), Err.badArguments)
      assert.equal(await code(client.exists('/c-flags')), Err.noNode)
    })
  }

  for (const flags of [7, 99, -1]) {
    test(`createContainer with flags ${flags}: -8`, async () => {
      const client = await zk.connect()
      assert.equal(await code(client.createContainer('/c-flags', { flags })), Err.badArguments)
    })
  }

  for (const flags of [0, 1, 2, 3, 4]) {
    test(`createTTL with flags ${flags}: -8`, async () => {
      const client = await zk.connect()
      assert.equal(await code(client.createTtl('/t-flags', 1000n, { flags })), Err.badArguments)
      assert.equal(await code(client.exists('/t-flags')), Err.noNode)
    })
  }

  quirk('createTTL with flags 0 and ttl -1 is refused like any bad flag: -8', async () => {
    const client = await zk.connect()
    assert.equal(await code(client.createTtl('/t-kill', -1n, { flags: 0 })), Err.badArguments)
    assert.equal(await code(client.exists('/')), 0)
  })

  test('createTTL with flags 99: -8', async () => {
    const client = await zk.connect()
    assert.equal(await code(client.createTtl('/t-flags', 1000n, { flags: 99 })), Err.badArguments)
  })
})

describe('TTL', () => {
  for (const ttl of [0n, -1n, -1000n, 1099511627776n, 1n << 62n]) {
    test(`a ttl of ${ttl} ms: -8`, async () => {
      const client = await zk.connect()
      assert.equal(await code(client.createTtl('/ttl-bad', ttl)), Err.badArguments)
    })
  }

  test('the largest ttl is 1099511627775 ms', async () => {
    const client = await zk.connect()
    assert.equal((await ok(client.createTtl('/ttl-max', 1099511627775n))).path, '/ttl-max')
  })

  test('flags 6 make a TTL node with a sequence number', async () => {
    const client = await zk.connect()
    await parent(client, '/ttl-seq')
    const created = await ok(client.createTtl('/ttl-seq/t-', 1_000_000n, { flags: Flag.ttlSequential }))
    assert.equal(created.path, '/ttl-seq/t-0000000000')
  })

  test('a TTL node may have children', async () => {
    const client = await zk.connect()
    await ok(client.createTtl('/ttl-parent', 1_000_000n))
    assert.equal(await code(client.create('/ttl-parent/c')), 0)
  })
})

describe('extendedTypesEnabled=false', () => {
  const plain = sharedServer({ extendedTypesEnabled: false })

  test('createTTL: -6, the connection goes on', async () => {
    const client = await plain.connect()
    assert.equal(await code(client.createTtl('/ttl', 1000n)), Err.unimplemented)
    assert.equal(
      await code(client.createTtl('/ttl', 1000n, { flags: Flag.ttlSequential })),
      Err.unimplemented,
    )
    assert.equal(await code(client.exists('/ttl')), Err.noNode)
  })

  test('containers work', async () => {
    const client = await plain.connect()
    assert.equal((await ok(client.createContainer('/container'))).path, '/container')
  })
})

describe('sequence numbers', () => {
  test('have ten digits and start at 0', async () => {
    const client = await zk.connect()
    await parent(client, '/seq0')
    assert.equal(await ok(client.create('/seq0/n-', { flags: Flag.sequential })), '/seq0/n-0000000000')
    assert.equal(await ok(client.create('/seq0/n-', { flags: Flag.sequential })), '/seq0/n-0000000001')
  })

  test('are advanced by every creation of a child, sequential or not, and by no deletion', async () => {
    const client = await zk.connect()
    await parent(client, '/seq1')
    assert.equal(await ok(client.create('/seq1/n-', { flags: Flag.sequential })), '/seq1/n-0000000000')
    assert.equal(await ok(client.create('/seq1/n-', { flags: Flag.sequential })), '/seq1/n-0000000001')
    await ok(client.create('/seq1/plain'))
    await ok(client.delete('/seq1/plain'))
    assert.equal(await ok(client.create('/seq1/n-', { flags: Flag.sequential })), '/seq1/n-0000000003')
  })

  test('are not advanced by a create that fails', async () => {
    const client = await zk.connect()
    await parent(client, '/seq2')
    await ok(client.create('/seq2/a'))
    assert.equal(await code(client.create('/seq2/a')), Err.nodeExists)
    assert.equal(await code(client.create('/seq2/n-', { flags: Flag.sequential, acl: [] })), Err.invalidAcl)
    assert.equal(await ok(client.create('/seq2/n-', { flags: Flag.sequential })), '/seq2/n-0000000001')
  })

  test('are counted per parent, over all prefixes', async () => {
    const client = await zk.connect()
    await parent(client, '/seq3')
    await parent(client, '/seq4')
    assert.equal(await ok(client.create('/seq3/a-', { flags: Flag.sequential })), '/seq3/a-0000000000')
    assert.equal(await ok(client.create('/seq3/b-', { flags: Flag.sequential })), '/seq3/b-0000000001')
    assert.equal(await ok(client.create('/seq4/a-', { flags: Flag.sequential })), '/seq4/a-0000000000')
  })

  test('are shared by ephemeral and persistent sequential nodes', async () => {
    const client = await zk.connect()
    await parent(client, '/seq5')
    assert.equal(
      await ok(client.create('/seq5/n-', { flags: Flag.ephemeralSequential })),
      '/seq5/n-0000000000',
    )
    assert.equal(await ok(client.create('/seq5/n-', { flags: Flag.sequential })), '/seq5/n-0000000001')
  })

  test('are advanced by deletions and re-creations as often as there were creations', async () => {
    const client = await zk.connect()
    await parent(client, '/seq6')
    for (let i = 0; i < 5; i++) {
      await ok(client.create('/seq6/x'))
      await ok(client.delete('/seq6/x'))
    }
    assert.equal(await ok(client.create('/seq6/n-', { flags: Flag.sequential })), '/seq6/n-0000000005')
  })

  test('count on inside a multi', async () => {
    const client = await zk.connect()
    await parent(client, '/seq7')
    const results = await ok(
      client.multi([
        multiOp.create('/seq7/n-', { flags: Flag.sequential }),
        multiOp.create('/seq7/n-', { flags: Flag.sequential }),
      ]),
    )
    assert.deepEqual(results, [
      { type: 1, path: '/seq7/n-0000000000' },
      { type: 1, path: '/seq7/n-0000000001' },
    ])
  })

  test('collide with a node of that name: -110', async () => {
    const client = await zk.connect()
    await parent(client, '/seq8')
    await ok(client.create('/seq8/n-0000000001'))
    assert.equal(await code(client.create('/seq8/n-', { flags: Flag.sequential })), Err.nodeExists)
  })

  test('start over with a new parent of the same name', async () => {
    const client = await zk.connect()
    await parent(client, '/seq9')
    const first = await ok(client.create('/seq9/n-', { flags: Flag.sequential }))
    await ok(client.delete(first))
    await ok(client.delete('/seq9'))
    await parent(client, '/seq9')
    assert.equal(await ok(client.create('/seq9/n-', { flags: Flag.sequential })), '/seq9/n-0000000000')
  })

  test('of the root go on from its children', async () => {
    const client = await zk.connect()
    const first = await ok(client.create('/root-', { flags: Flag.sequential }))
    const second = await ok(client.create('/root-', { flags: Flag.sequential }))
    assert.equal(Number(second.slice(-10)), Number(first.slice(-10)) + 1)
  })
})

describe('the order of the checks', () => {
  test('bad flags win over a bad ACL', async () => {
    const client = await zk.connect()
    assert.equal(await code(client.create('/order', { flags: 99, acl: [] })), Err.badArguments)
  })

  test('bad flags win over a missing parent', async () => {
    const client = await zk.connect()
    assert.equal(await code(client.create('/no-such/x', { flags: 99 })), Err.badArguments)
  })

  test('a bad ttl wins over a bad ACL', async () => {
    const client = await zk.connect()
    assert.equal(await code(client.createTtl('/order', 0n, { acl: [] })), Err.badArguments)
  })

  test('a path without a slash wins over a bad ACL', async () => {
    const client = await zk.connect()
    assert.equal(await code(client.create('order', { acl: [] })), Err.badArguments)
  })

  test('a path with NUL wins over a bad ACL', async () => {
    const client = await zk.connect()
    assert.equal(await code(client.create('/a\0', { acl: [] })), Err.badArguments)
  })

  test('a bad ACL wins over a missing parent', async () => {
    const client = await zk.connect()
    assert.equal(await code(client.create('/no-such/x', { acl: [] })), Err.invalidAcl)
  })

  test('a bad ACL wins over the other rules for paths', async () => {
    const client = await zk.connect()
    assert.equal(await code(client.create('/\u0001', { acl: [] })), Err.invalidAcl)
  })

  test('a missing parent wins over the other rules for paths', async () => {
    const client = await zk.connect()
    assert.equal(await code(client.create('/no-such/\u0001')), Err.noNode)
  })

  test('a denied CREATE permission wins over the other rules for paths', async () => {
    const client = await zk.connect()
    await parent(client, '/order-denied', readOnly)
    assert.equal(await code(client.create('/order-denied/\u0001')), Err.noAuth)
  })

  test('a denied CREATE permission wins over an existing node', async () => {
    const client = await zk.connect()
    await parent(client, '/order-denied2')
    await ok(client.create('/order-denied2/c'))
    await ok(client.setAcl('/order-denied2', readOnly))
    assert.equal(await code(client.create('/order-denied2/c')), Err.noAuth)
  })

  test('a denied CREATE permission wins over an ephemeral parent', async () => {
    const client = await zk.connect()
    await ok(client.create('/order-eph', { flags: Flag.ephemeral, acl: readOnly }))
    assert.equal(await code(client.create('/order-eph/c')), Err.noAuth)
  })
})

describe('order of the checks under a quota', () => {
  const limited = sharedServer({ enforceQuota: true })

  test('an existing node and an ephemeral parent win over an exceeded quota', async () => {
    const client = await limited.connect()
    await ok(client.create('/full'))
    await ok(client.create('/full/e', { flags: Flag.ephemeral }))
    await ok(client.create('/zookeeper/quota/full'))
    await ok(
      client.create('/zookeeper/quota/full/zookeeper_limits', {
        data: 'count=2,bytes=-1=;byteHardLimit=-1;countHardLimit=2',
      }),
    )
    await ok(client.create('/zookeeper/quota/full/zookeeper_stats', { data: 'count=0,bytes=0' }))
    assert.equal(await code(client.create('/full/e')), Err.nodeExists)
    assert.equal(await code(client.create('/full/e/c')), Err.noChildrenForEphemerals)
    assert.equal(await code(client.create('/full/x')), Err.quotaExceeded)
  })
})

// Identities of a connection: ip, digest, super, and packets that are refused (semantics.md 6, wire.md 5).
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type Acl, code, Err, ok, type RawClient } from '../support/raw-client.ts'
import { sharedServer } from '../support/server.ts'

const zk = sharedServer({
  'DigestAuthenticationProvider.superDigest': 'super:xQJmxLMiHGwaqBvst5y6rkB6HQs=',
})
const nobody: readonly Acl[] = [{ perms: 31, scheme: 'ip', id: '10.9.8.7' }]

async function who(client: RawClient): Promise<string[]> {
  return (await ok(client.whoAmI())).map(({ scheme, user }) => `${scheme}:${user}`).sort()
}

describe('ids', () => {
  test('every connection starts with its address', async () => {
    const client = await zk.connect()
    assert.deepEqual(await who(client), ['ip:127.0.0.1'])
  })

  test('several auths add up', async () => {
    const client = await zk.connect()
    await ok(client.auth('digest', 'alice:a'))
    await ok(client.auth('digest', 'bob:b'))
    assert.deepEqual(await who(client), ['digest:alice', 'digest:bob', 'ip:127.0.0.1'])
  })

  test('the same auth twice is one id', async () => {
    const client = await zk.connect()
    await ok(client.auth('digest', 'alice:a'))
    await ok(client.auth('digest', 'alice:a'))
    assert.deepEqual(await who(client), ['digest:alice', 'ip:127.0.0.1'])
  })

  test('the same user with two passwords is two ids', async () => {
    const client = await zk.connect()
    await ok(client.auth('digest', 'alice:a'))
    await ok(client.auth('digest', 'alice:b'))
    assert.deepEqual(await who(client), ['digest:alice', 'digest:alice', 'ip:127.0.0.1'])
  })

  test('auth belongs to the connection and not to the session', async () => {
    const client = await zk.connect()
    await ok(client.auth('digest', 'alice:a'))
    const again = await zk.connect(client.credentials)
    assert.deepEqual(await who(again), ['ip:127.0.0.1'])
  })

  test('auth counts for the requests right behind it in the same chunk', async () => {
    const client = await zk.connect()
    const id = 'u:Jq7wMyA/w2Vd5WIDAKdu4OIIFEQ='
    await ok(client.create('/behind-auth', { acl: [{ perms: 31, scheme: 'digest', id }] }))
    const [auth, read] = client.batch(() => [client.auth('digest', 'u:p'), client.getData('/behind-auth')])
    assert.deepEqual([await code(auth), await code(read)], [0, 0])
  })

  test('auth may come right behind the ConnectRequest', async () => {
    const client = await zk.dial()
    const [, auth, ids] = client.batch(() => [
      client.handshake(),
      client.auth('digest', 'alice:a'),
      client.whoAmI(),
    ])
    await ok(auth)
    assert.equal((await ok(ids)).length, 2)
  })

  test('the xid of an auth packet is echoed', async () => {
    const client = await zk.connect()
    assert.equal((await client.auth('digest', 'alice:a', 55)).xid, 55)
  })
})

describe('digest', () => {
  for (const [data, id] of [
    ['u:p', 'u:Jq7wMyA/w2Vd5WIDAKdu4OIIFEQ='],
    ['super:admin', 'super:xQJmxLMiHGwaqBvst5y6rkB6HQs='],
  ] as const) {
    test(`"${data}" is the id ${id}`, async () => {
      const client = await zk.connect()
      await ok(client.auth('digest', data))
      const path = await ok(
        client.create('/digest-', { flags: 2, acl: [{ perms: 31, scheme: 'auth', id: '' }] }),
      )
      const ids = (await ok(client.getAcl(path))).acl.map((entry) => `${entry.scheme} ${entry.id}`)
      assert.ok(ids.includes(`digest ${id}`))
    })
  }

  test('data without a colon is accepted', async () => {
    const client = await zk.connect()
    await ok(client.auth('digest', 'alice'))
    assert.deepEqual(await who(client), ['digest:alice', 'ip:127.0.0.1'])
  })

  test('the user ends at the first colon', async () => {
    const client = await zk.connect()
    await ok(client.auth('digest', 'alice:a:b'))
    assert.deepEqual(await who(client), ['digest:alice', 'ip:127.0.0.1'])
  })

  test('a user may have any characters', async () => {
    const client = await zk.connect()
    await ok(client.auth('digest', 'älice €:a'))
    assert.deepEqual(await who(client), ['digest:älice €', 'ip:127.0.0.1'])
  })

  test('empty data is accepted', async () => {
    const client = await zk.connect()
    assert.equal(await code(client.auth('digest', '')), 0)
  })

  test('null data: -115, then close', async () => {
    const client = await zk.connect()
    assert.equal(await code(client.auth('digest', null)), Err.authFailed)
    await client.closed()
  })
})

describe('super', () => {
  test('the password of superDigest adds an id super with no user', async () => {
    const client = await zk.connect()
    await ok(client.auth('digest', 'super:admin'))
    assert.deepEqual(await who(client), ['digest:super', 'ip:127.0.0.1', 'super:'])
  })

  test('super may do everything', async () => {
    const client = await zk.connect()
    await ok(client.create('/super', { acl: nobody }))
    assert.equal(await code(client.getData('/super')), Err.noAuth)
    await ok(client.auth('digest', 'super:admin'))
    assert.equal(await code(client.getData('/super')), 0)
    assert.equal(await code(client.setData('/super', 'x')), 0)
    assert.equal(await code(client.create('/super/c')), 0)
    assert.equal(await code(client.delete('/super/c')), 0)
    assert.equal(await code(client.setAcl('/super', nobody)), 0)
    assert.deepEqual((await ok(client.getAcl('/super'))).acl, nobody)
  })

  test('super may write /zookeeper/config', async () => {
    const client = await zk.connect()
    const acl = (await ok(client.getAcl('/zookeeper/config'))).acl
    await ok(client.auth('digest', 'super:admin'))
    assert.equal(await code(client.setAcl('/zookeeper/config', acl)), 0)
  })

  test('super is told of changes it could not read otherwise', async () => {
    const client = await zk.connect()
    await ok(client.create('/super-watch', { acl: nobody }))
    await ok(client.auth('digest', 'super:admin'))
    await ok(client.getData('/super-watch', true))
    await ok(client.setData('/super-watch', 'x'))
    assert.deepEqual(await client.events(), ['NodeDataChanged /super-watch'])
  })

  test('a wrong password for super is an ordinary user', async () => {
    const client = await zk.connect()
    await ok(client.auth('digest', 'super:wrong'))
    assert.deepEqual(await who(client), ['digest:super', 'ip:127.0.0.1'])
    assert.equal(await code(client.setData('/zookeeper/config', 'x')), Err.noAuth)
  })
})

describe('refusals', () => {
  for (const scheme of ['world', 'nosuch', '', 'auth', 'super', 'x509', null]) {
    test(`an auth packet with scheme ${JSON.stringify(scheme)}: -115, then close`, async () => {
      const client = await zk.connect()
      const reply = await client.auth(scheme, 'x')
      assert.deepEqual([reply.err, reply.xid, reply.zxid], [Err.authFailed, -4, 0n])
      await client.closed()
    })
  }

  test('an auth packet with scheme ip is accepted and adds nothing', async () => {
    const client = await zk.connect()
    assert.equal(await code(client.auth('ip', '10.9.8.7')), 0)
    assert.deepEqual(await who(client), ['ip:127.0.0.1'])
  })

  test('the session of a connection that was refused lives on', async () => {
    const client = await zk.connect()
    await ok(client.create('/refused-eph', { flags: 1 }))
    await client.auth('nosuch', 'x')
    await client.closed()
    const again = await zk.connect(client.credentials)
    assert.equal(await code(again.exists('/refused-eph')), 0)
  })

  test('nothing behind a refused auth packet is executed', async () => {
    const client = await zk.connect()
    client.batch(() => [client.auth('nosuch', 'x'), client.create('/behind-refused')])
    await client.closed()
    const again = await zk.connect(client.credentials)
    await ok(again.sync('/'))
    assert.equal(await code(again.exists('/behind-refused')), Err.noNode)
  })
})

describe('without superDigest', () => {
  const plain = sharedServer()

  test('nobody is super', async () => {
    const client = await plain.connect()
    await ok(client.auth('digest', 'super:admin'))
    assert.deepEqual(await who(client), ['digest:super', 'ip:127.0.0.1'])
    assert.equal(await code(client.setData('/zookeeper/config', 'x')), Err.noAuth)
  })
})

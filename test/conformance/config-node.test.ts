// /zookeeper/config and reconfig on a standalone server (semantics.md 12).
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { code, Err, ok } from '../support/raw-client.ts'
import { sharedServer } from '../support/server.ts'

const zk = sharedServer({
  'DigestAuthenticationProvider.superDigest': 'super:xQJmxLMiHGwaqBvst5y6rkB6HQs=',
})
const enabled = sharedServer({
  reconfigEnabled: true,
  'DigestAuthenticationProvider.superDigest': 'super:xQJmxLMiHGwaqBvst5y6rkB6HQs=',
})
const joining = 'server.5=127.0.0.1:2:3:participant;4'

test('/zookeeper/config of a standalone server is empty', async () => {
  const client = await zk.connect()
  const { data, stat } = await ok(client.getData('/zookeeper/config'))
  assert.equal(data?.length ?? 0, 0)
  assert.deepEqual([stat.version, stat.aversion, stat.dataLength], [0, -1, 0])
})

test('/zookeeper/config can be read and watched by anybody', async () => {
  const client = await zk.connect()
  assert.equal(await code(client.exists('/zookeeper/config', true)), 0)
  assert.equal(await code(client.getChildren('/zookeeper/config', true)), 0)
  assert.deepEqual((await ok(client.getAcl('/zookeeper/config'))).acl, [
    { perms: 1, scheme: 'world', id: 'anyone' },
  ])
})

test('reconfig with reconfigEnabled off, the default: -123', async () => {
  const client = await zk.connect()
  assert.equal(await code(client.reconfig(joining, null, null)), Err.reconfigDisabled)
})

test('reconfig off wins over a bad text and an old version', async () => {
  const client = await zk.connect()
  assert.equal(await code(client.reconfig('nonsense', null, null, 99n)), Err.reconfigDisabled)
})

test('reconfig off is told to super, too', async () => {
  const client = await zk.connect()
  await ok(client.auth('digest', 'super:admin'))
  assert.equal(await code(client.reconfig(joining, null, null)), Err.reconfigDisabled)
})

test('super may change the ACL of /zookeeper/config, which counts on from aversion -1', async () => {
  const client = await zk.connect()
  await ok(client.auth('digest', 'super:admin'))
  const { aversion } = await ok(
    client.setAcl('/zookeeper/config', [{ perms: 1, scheme: 'world', id: 'anyone' }]),
  )
  assert.equal(aversion, 0)
})

describe('reconfigEnabled on a standalone server', () => {
  test('reconfig: -6, the connection goes on', async () => {
    const client = await enabled.connect()
    await ok(client.auth('digest', 'super:admin'))
    assert.equal(await code(client.reconfig(joining, null, null)), Err.unimplemented)
    assert.equal(await code(client.exists('/')), 0)
  })

  test('standalone wins over a bad text, an old version and a missing permission', async () => {
    const client = await enabled.connect()
    assert.equal(await code(client.reconfig('nonsense', null, null, 99n)), Err.unimplemented)
  })
})

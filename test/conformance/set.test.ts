// setData and setACL: versions, permissions and the order of the checks (semantics.md 2, 6).
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Acl, code, Err, Flag, ok, openAcl } from '../support/raw-client.ts'
import { quirk, sharedServer } from '../support/server.ts'

const zk = sharedServer()
const allBut = (perm: number): readonly Acl[] => [{ perms: 31 & ~perm, scheme: 'world', id: 'anyone' }]

test('setData replaces the data', async () => {
  const client = await zk.connect()
  await ok(client.create('/data', { data: 'long old data' }))
  await ok(client.setData('/data', 'new'))
  assert.deepEqual((await ok(client.getData('/data'))).data, Buffer.from('new'))
})

test('setData with the current version succeeds, with any other: -103', async () => {
  const client = await zk.connect()
  await ok(client.create('/v'))
  assert.equal(await code(client.setData('/v', 'x', 0)), 0)
  assert.equal(await code(client.setData('/v', 'x', 0)), Err.badVersion)
  assert.equal(await code(client.setData('/v', 'x', 2)), Err.badVersion)
  assert.equal(await code(client.setData('/v', 'x', 1)), 0)
})

test('setData with version -1 matches any, other negative versions match none', async () => {
  const client = await zk.connect()
  await ok(client.create('/neg'))
  assert.equal(await code(client.setData('/neg', 'x', -1)), 0)
  assert.equal(await code(client.setData('/neg', 'x', -2)), Err.badVersion)
  assert.equal(await code(client.setData('/neg', 'x', -2147483648)), Err.badVersion)
})

test('setACL compares its version with aversion', async () => {
  const client = await zk.connect()
  await ok(client.create('/av'))
  await ok(client.setData('/av', 'x'))
  await ok(client.setData('/av', 'x'))
  assert.equal(await code(client.setAcl('/av', openAcl, 2)), Err.badVersion)
  assert.equal(await code(client.setAcl('/av', openAcl, 0)), 0)
  assert.equal(await code(client.setAcl('/av', openAcl, 0)), Err.badVersion)
  assert.equal(await code(client.setAcl('/av', openAcl, 1)), 0)
})

test('setACL with version -1 matches any, other negative versions match none', async () => {
  const client = await zk.connect()
  await ok(client.create('/neg-acl'))
  assert.equal(await code(client.setAcl('/neg-acl', openAcl, -1)), 0)
  assert.equal(await code(client.setAcl('/neg-acl', openAcl, -2)), Err.badVersion)
})

test('setData and setACL of a missing node: -101', async () => {
  const client = await zk.connect()
  assert.equal(await code(client.setData('/missing', 'x')), Err.noNode)
  assert.equal(await code(client.setAcl('/missing', openAcl)), Err.noNode)
})

test('setData: a missing node wins over a bad version', async () => {
  const client = await zk.connect()
  assert.equal(await code(client.setData('/missing', 'x', 7)), Err.noNode)
})

test('setData: a denied WRITE permission wins over a bad version', async () => {
  const client = await zk.connect()
  await ok(client.create('/denied', { acl: allBut(2) }))
  assert.equal(await code(client.setData('/denied', 'x', 7)), Err.noAuth)
})

test('setACL: a denied ADMIN permission wins over a bad version', async () => {
  const client = await zk.connect()
  await ok(client.create('/denied-acl', { acl: allBut(16) }))
  assert.equal(await code(client.setAcl('/denied-acl', openAcl, 7)), Err.noAuth)
})

test('setACL: a bad ACL wins over a missing node', async () => {
  const client = await zk.connect()
  assert.equal(await code(client.setAcl('/missing', [])), Err.invalidAcl)
})

test('setACL: a bad path wins over a bad ACL', async () => {
  const client = await zk.connect()
  assert.equal(await code(client.setAcl('/bad//path', [])), Err.badArguments)
})

test('setACL: a bad ACL wins over a denied permission', async () => {
  const client = await zk.connect()
  await ok(client.create('/denied-bad', { acl: allBut(16) }))
  assert.equal(await code(client.setAcl('/denied-bad', [])), Err.invalidAcl)
})

test('a new ACL is in force for the request behind its reply', async () => {
  const client = await zk.connect()
  await ok(client.create('/in-force'))
  await ok(client.setAcl('/in-force', allBut(2)))
  assert.equal(await code(client.setData('/in-force', 'x')), Err.noAuth)
})

// Apache checks requests against the ACL of the last applied state, not of the changes under way.
quirk('a new ACL is in force for the requests right behind it in the same chunk', async () => {
  const client = await zk.connect()
  await ok(client.create('/at-once'))
  const [acl, write] = client.batch(() => [
    client.setAcl('/at-once', allBut(2)),
    client.setData('/at-once', 'x'),
  ])
  assert.deepEqual([await code(acl), await code(write)], [0, Err.noAuth])
})

test('the data of ephemeral, container and TTL nodes can be set, and they stay what they are', async () => {
  const client = await zk.connect()
  await ok(client.create('/set-eph', { flags: Flag.ephemeral }))
  await ok(client.createContainer('/set-container'))
  await ok(client.createTtl('/set-ttl', 1_000_000n))
  assert.equal((await ok(client.setData('/set-eph', 'x'))).ephemeralOwner, client.session.sessionId)
  assert.equal((await ok(client.setData('/set-container', 'x'))).version, 1)
  assert.equal((await ok(client.setData('/set-ttl', 'x'))).version, 1)
})

test('a hundred conditional writes in one chunk all see the one before', async () => {
  const client = await zk.connect()
  await ok(client.create('/chain'))
  const replies = client.batch(() =>
    Array.from({ length: 100 }, (_, version) => client.setData('/chain', `v${version}`, version)),
  )
  const versions = (await Promise.all(replies.map(ok))).map((stat) => stat.version)
  assert.deepEqual(
    versions,
    Array.from({ length: 100 }, (_, i) => i + 1),
  )
})

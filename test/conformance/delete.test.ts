// delete: versions, children, permissions and the order of the checks (semantics.md 4).
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Acl, code, Err, Flag, ok } from '../support/raw-client.ts'
import { sharedServer } from '../support/server.ts'

const zk = sharedServer()
const allBut = (perm: number): readonly Acl[] => [{ perms: 31 & ~perm, scheme: 'world', id: 'anyone' }]
const nobody: readonly Acl[] = [{ perms: 31, scheme: 'ip', id: '10.9.8.7' }]

test('a deleted node is gone', async () => {
  const client = await zk.connect()
  await ok(client.create('/gone'))
  await ok(client.delete('/gone'))
  assert.equal(await code(client.exists('/gone')), Err.noNode)
  assert.equal((await ok(client.getChildren('/'))).includes('gone'), false)
})

test('the reply of a delete has no body', async () => {
  const client = await zk.connect()
  await ok(client.create('/no-body'))
  assert.equal((await client.delete('/no-body')).body.length, 0)
})

test('a missing node: -101', async () => {
  const client = await zk.connect()
  assert.equal(await code(client.delete('/missing')), Err.noNode)
})

test('the version given must be the current one: -103', async () => {
  const client = await zk.connect()
  await ok(client.create('/version'))
  await ok(client.setData('/version', 'x'))
  assert.equal(await code(client.delete('/version', 0)), Err.badVersion)
  assert.equal(await code(client.delete('/version', 2)), Err.badVersion)
  assert.equal(await code(client.delete('/version', 1)), 0)
})

test('version -1 matches any, other negative versions match none', async () => {
  const client = await zk.connect()
  await ok(client.create('/any'))
  await ok(client.setData('/any', 'x'))
  assert.equal(await code(client.delete('/any', -2)), Err.badVersion)
  assert.equal(await code(client.delete('/any', -1)), 0)
})

test('a node with children: -111', async () => {
  const client = await zk.connect()
  await ok(client.create('/parent'))
  await ok(client.create('/parent/c'))
  assert.equal(await code(client.delete('/parent')), Err.notEmpty)
  await ok(client.delete('/parent/c'))
  assert.equal(await code(client.delete('/parent')), 0)
})

test('a node with an ephemeral child: -111', async () => {
  const client = await zk.connect()
  await ok(client.create('/eph-parent'))
  await ok(client.create('/eph-parent/c', { flags: Flag.ephemeral }))
  assert.equal(await code(client.delete('/eph-parent')), Err.notEmpty)
})

test('a bad version wins over children', async () => {
  const client = await zk.connect()
  await ok(client.create('/both'))
  await ok(client.create('/both/c'))
  assert.equal(await code(client.delete('/both', 7)), Err.badVersion)
})

test('needs DELETE on the parent: -102', async () => {
  const client = await zk.connect()
  await ok(client.create('/no-delete'))
  await ok(client.create('/no-delete/c'))
  await ok(client.setAcl('/no-delete', allBut(8)))
  assert.equal(await code(client.delete('/no-delete/c')), Err.noAuth)
})

test('a denied DELETE permission wins over a missing node, a bad version and children', async () => {
  const client = await zk.connect()
  await ok(client.create('/denied'))
  await ok(client.create('/denied/c'))
  await ok(client.create('/denied/c/d'))
  await ok(client.setAcl('/denied', allBut(8)))
  assert.equal(await code(client.delete('/denied/missing')), Err.noAuth)
  assert.equal(await code(client.delete('/denied/c', 7)), Err.noAuth)
  assert.equal(await code(client.delete('/denied/c')), Err.noAuth)
})

test('a missing parent: -101', async () => {
  const client = await zk.connect()
  assert.equal(await code(client.delete('/no-such/c')), Err.noNode)
})

test('the ACL of the node itself does not protect it', async () => {
  const client = await zk.connect()
  await ok(client.create('/own-acl'))
  await ok(client.create('/own-acl/c', { acl: nobody }))
  assert.equal(await code(client.getData('/own-acl/c')), Err.noAuth)
  assert.equal(await code(client.delete('/own-acl/c')), 0)
})

test("a session may delete another session's ephemeral node", async () => {
  const owner = await zk.connect()
  const other = await zk.connect()
  await ok(owner.create('/their-eph', { flags: Flag.ephemeral }))
  assert.equal(await code(other.delete('/their-eph')), 0)
  assert.deepEqual(await ok(owner.getEphemerals('/')), [])
})

test('the parent of a deleted node can be deleted in the same chunk', async () => {
  const client = await zk.connect()
  const replies = client.batch(() => [
    client.create('/chain'),
    client.create('/chain/c'),
    client.delete('/chain/c'),
    client.delete('/chain'),
  ])
  for (const reply of replies) assert.equal((await reply).err, 0)
})

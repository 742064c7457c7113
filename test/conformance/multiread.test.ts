// multiRead: independent reads in one request (wire.md 7).
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Acl, body, code, Err, multiOp, Op, ok } from '../support/raw-client.ts'
import { quirk, sharedServer } from '../support/server.ts'

const zk = sharedServer()
const nobody: readonly Acl[] = [{ perms: 31, scheme: 'ip', id: '10.9.8.7' }]

test('answers getData and getChildren in their order', async () => {
  const client = await zk.connect()
  await ok(client.create('/r', { data: 'x' }))
  await ok(client.create('/r/c'))
  const { data, stat } = await ok(client.getData('/r'))
  assert.deepEqual(await ok(client.multiRead([multiOp.getChildren('/r'), multiOp.getData('/r')])), [
    { type: 8, children: ['c'] },
    { type: 4, data, stat },
  ])
})

test('a read that fails has an error result and does not harm the others', async () => {
  const client = await zk.connect()
  const results = await ok(
    client.multiRead([multiOp.getData('/missing'), multiOp.getChildren('/zookeeper/quota')]),
  )
  assert.deepEqual(results, [
    { type: -1, err: Err.noNode },
    { type: 8, children: [] },
  ])
})

test('needs READ on each node', async () => {
  const client = await zk.connect()
  await ok(client.create('/r-denied', { acl: nobody }))
  const results = await ok(
    client.multiRead([multiOp.getData('/r-denied'), multiOp.getChildren('/r-denied'), multiOp.getData('/')]),
  )
  assert.deepEqual(results.slice(0, 2), [
    { type: -1, err: Err.noAuth },
    { type: -1, err: Err.noAuth },
  ])
  assert.equal(results[2]?.type, 4)
})

test('null data is null', async () => {
  const client = await zk.connect()
  await ok(client.create('/r-null', { data: null }))
  const [result] = await ok(client.multiRead([multiOp.getData('/r-null')]))
  assert.ok(result?.type === 4)
  assert.equal(result.data, null)
})

test('an empty multiRead succeeds with no results', async () => {
  const client = await zk.connect()
  assert.deepEqual(await ok(client.multiRead([])), [])
})

test('the watch flag of its reads is ignored', async () => {
  const client = await zk.connect()
  await ok(client.create('/r-watch'))
  await ok(client.multiRead([multiOp.getData('/r-watch', true), multiOp.getChildren('/r-watch', true)]))
  await ok(client.setData('/r-watch', 'x'))
  await ok(client.create('/r-watch/c'))
  assert.deepEqual(await client.events(), [])
})

test('sees the write right before it in the same chunk', async () => {
  const client = await zk.connect()
  const [, read] = client.batch(() => [
    client.create('/r-chunk', { data: 'x' }),
    client.multiRead([multiOp.getData('/r-chunk')]),
  ])
  const [result] = await ok(read)
  assert.ok(result?.type === 4)
  assert.deepEqual(result.data, Buffer.from('x'))
})

for (const [what, op] of [
  ['a write', multiOp.create('/r-write')],
  ['a check', multiOp.check('/')],
  ['an exists', { type: Op.exists, body: body.pathWatch('/') }],
  ['a getChildren2', { type: Op.getChildren2, body: body.pathWatch('/') }],
  ['an unknown type', { type: 77, body: body.path('/') }],
] as const) {
  test(`${what} inside: -5 in the header, nothing is done`, async () => {
    const client = await zk.connect()
    assert.equal(await code(client.multiRead([multiOp.getData('/'), op])), Err.marshalling)
    assert.equal(await code(client.exists('/r-write')), Err.noNode)
  })
}

// Apache puts an empty result list behind the error, against its own rule that an error has no body.
quirk('writes only, sent as multiRead: -5, nothing is done', async () => {
  const client = await zk.connect()
  assert.equal(await code(client.multiRead([multiOp.create('/r-write')])), Err.marshalling)
  assert.equal(await code(client.exists('/r-write')), Err.noNode)
})

// What each operation changes in the stat of a node and of its parent (semantics.md 2).
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { code, Err, Flag, multiOp, ok, openAcl, type RawClient, type Stat } from '../support/raw-client.ts'
import { sharedServer } from '../support/server.ts'

const zk = sharedServer()

const stat = (client: RawClient, path: string) => ok(client.exists(path))

/** The names of the fields in which two stats differ. */
function changed(before: Stat, after: Stat): string[] {
  return Object.keys(before).filter((key) => before[key as keyof Stat] !== after[key as keyof Stat])
}

test('a new node: all zxids are its own, both times equal, all versions 0', async () => {
  const client = await zk.connect()
  const { zxid, value } = await client.create2('/new', { data: 'abc' })
  assert.ok(value !== undefined)
  const { ctime } = value.stat
  assert.deepEqual(value.stat, {
    czxid: zxid,
    mzxid: zxid,
    pzxid: zxid,
    ctime,
    mtime: ctime,
    version: 0,
    cversion: 0,
    aversion: 0,
    ephemeralOwner: 0n,
    dataLength: 3,
    numChildren: 0,
  })
  assert.deepEqual(await stat(client, '/new'), value.stat)
})

test('ctime and mtime are wall clock milliseconds', async () => {
  const client = await zk.connect()
  const before = BigInt(Date.now())
  const created = (await ok(client.create2('/time'))).stat
  const written = await ok(client.setData('/time', 'x'))
  const after = BigInt(Date.now())
  assert.ok(before <= created.ctime && created.ctime <= written.mtime && written.mtime <= after)
  assert.equal(written.ctime, created.ctime)
})

test('setData adds 1 to version, starting at 0', async () => {
  const client = await zk.connect()
  await ok(client.create('/version'))
  for (const version of [1, 2, 3]) {
    assert.equal((await ok(client.setData('/version', 'x'))).version, version)
  }
})

test('setACL adds 1 to aversion, starting at 0', async () => {
  const client = await zk.connect()
  await ok(client.create('/aversion'))
  for (const aversion of [1, 2, 3]) {
    assert.equal((await ok(client.setAcl('/aversion', openAcl))).aversion, aversion)
  }
})

test('setData changes version, mtime, mzxid and dataLength, and nothing else', async () => {
  const client = await zk.connect()
  const before = (await ok(client.create2('/set-data'))).stat
  const reply = await client.setData('/set-data', 'xy')
  const after = await stat(client, '/set-data')
  assert.deepEqual(
    changed({ ...before, mtime: 0n }, { ...after, mtime: 1n }).sort(),
    ['dataLength', 'mtime', 'mzxid', 'version'].sort(),
  )
  assert.equal(after.mzxid, reply.zxid)
  assert.ok(after.mtime >= before.mtime)
  assert.deepEqual(reply.value, after)
})

test('setData with the same data is a change like any other', async () => {
  const client = await zk.connect()
  await ok(client.create('/same', { data: 'x' }))
  const reply = await client.setData('/same', 'x')
  assert.deepEqual([reply.value?.version, reply.value?.mzxid], [1, reply.zxid])
})

test('setACL changes only aversion: not mtime, not mzxid', async () => {
  const client = await zk.connect()
  const before = (await ok(client.create2('/set-acl'))).stat
  const after = await ok(client.setAcl('/set-acl', openAcl))
  assert.deepEqual(changed(before, after), ['aversion'])
  assert.deepEqual(await stat(client, '/set-acl'), after)
})

test('creating a child changes only cversion, numChildren and pzxid of the parent', async () => {
  const client = await zk.connect()
  const before = (await ok(client.create2('/parent'))).stat
  const { zxid } = await client.create('/parent/c')
  const after = await stat(client, '/parent')
  assert.deepEqual(changed(before, after).sort(), ['cversion', 'numChildren', 'pzxid'])
  assert.deepEqual([after.cversion, after.numChildren, after.pzxid], [1, 1, zxid])
})

test('deleting a child changes only cversion, numChildren and pzxid of the parent', async () => {
  const client = await zk.connect()
  await ok(client.create('/parent2'))
  await ok(client.create('/parent2/c'))
  const before = await stat(client, '/parent2')
  const { zxid } = await client.delete('/parent2/c')
  const after = await stat(client, '/parent2')
  assert.deepEqual(changed(before, after).sort(), ['cversion', 'numChildren', 'pzxid'])
  assert.deepEqual([after.cversion, after.numChildren, after.pzxid], [2, 0, zxid])
})

test('writing a child changes nothing on the parent', async () => {
  const client = await zk.connect()
  await ok(client.create('/parent3'))
  await ok(client.create('/parent3/c'))
  const before = await stat(client, '/parent3')
  await ok(client.setData('/parent3/c', 'x'))
  await ok(client.setAcl('/parent3/c', openAcl))
  assert.deepEqual(await stat(client, '/parent3'), before)
})

test('creating and deleting a grandchild changes nothing on the grandparent', async () => {
  const client = await zk.connect()
  await ok(client.create('/grand'))
  await ok(client.create('/grand/c'))
  const before = await stat(client, '/grand')
  await ok(client.create('/grand/c/g'))
  await ok(client.delete('/grand/c/g'))
  assert.deepEqual(await stat(client, '/grand'), before)
})

test('cversion counts creations and deletions of children', async () => {
  const client = await zk.connect()
  await ok(client.create('/cversion'))
  const seen: number[] = []
  for (const step of [
    () => client.create('/cversion/a'),
    () => client.create('/cversion/b', { flags: Flag.ephemeral }),
    () => client.delete('/cversion/a'),
    () => client.create('/cversion/s-', { flags: Flag.sequential }),
    () => client.delete('/cversion/b'),
  ]) {
    await step()
    seen.push((await stat(client, '/cversion')).cversion)
  }
  assert.deepEqual(seen, [1, 2, 3, 4, 5])
})

test('a failed write changes nothing', async () => {
  const client = await zk.connect()
  await ok(client.create('/failed'))
  await ok(client.create('/failed/c'))
  const before = await stat(client, '/failed')
  assert.equal(await code(client.setData('/failed', 'x', 5)), Err.badVersion)
  assert.equal(await code(client.setAcl('/failed', openAcl, 5)), Err.badVersion)
  assert.equal(await code(client.create('/failed/c')), Err.nodeExists)
  assert.equal(await code(client.delete('/failed/c', 5)), Err.badVersion)
  assert.equal(await code(client.delete('/failed')), Err.notEmpty)
  assert.deepEqual(await stat(client, '/failed'), before)
})

test('pzxid is czxid as long as there was no child', async () => {
  const client = await zk.connect()
  const { zxid } = await client.create('/pzxid')
  await ok(client.setData('/pzxid', 'x'))
  assert.equal((await stat(client, '/pzxid')).pzxid, zxid)
})

test('ephemeralOwner is the session of an ephemeral node', async () => {
  const client = await zk.connect()
  const { stat: created } = await ok(client.create2('/owner', { flags: Flag.ephemeral }))
  assert.equal(created.ephemeralOwner, client.session.sessionId)
  const other = await zk.connect()
  assert.equal((await stat(other, '/owner')).ephemeralOwner, client.session.sessionId)
})

test('ephemeralOwner of containers and TTL nodes is 0', async () => {
  const client = await zk.connect()
  const container = await ok(client.createContainer('/owner-container'))
  const ttl = await ok(client.createTtl('/owner-ttl', 1_000_000n))
  assert.deepEqual([container.stat.ephemeralOwner, ttl.stat.ephemeralOwner], [0n, 0n])
  assert.equal((await stat(client, '/owner-container')).ephemeralOwner, 0n)
  assert.equal((await stat(client, '/owner-ttl')).ephemeralOwner, 0n)
})

test('exists, getData, getChildren2, getACL and setData report the same stat', async () => {
  const client = await zk.connect()
  await ok(client.create('/same-stat', { data: 'x' }))
  await ok(client.create('/same-stat/c'))
  const expected = await ok(client.setData('/same-stat', 'xy'))
  assert.deepEqual(await stat(client, '/same-stat'), expected)
  assert.deepEqual((await ok(client.getData('/same-stat'))).stat, expected)
  assert.deepEqual((await ok(client.getChildren2('/same-stat'))).stat, expected)
  assert.deepEqual((await ok(client.getAcl('/same-stat'))).stat, expected)
})

test('getChildren lists the names of the children, and only theirs', async () => {
  const client = await zk.connect()
  await ok(client.create('/list'))
  for (const path of ['/list/a', '/list/b', '/list/a/x', '/list2']) await ok(client.create(path))
  assert.deepEqual((await ok(client.getChildren('/list'))).sort(), ['a', 'b'])
})

test('getAllChildrenNumber counts all descendants, not nodes that merely share a prefix', async () => {
  const client = await zk.connect()
  for (const path of ['/all', '/all/a', '/all/a/x', '/all/b', '/all-not']) await ok(client.create(path))
  assert.equal(await ok(client.getAllChildrenNumber('/all')), 3)
  assert.equal(await ok(client.getAllChildrenNumber('/all-not')), 0)
})

test('getAllChildrenNumber of the root grows by one with every node', async () => {
  const client = await zk.connect()
  const before = await ok(client.getAllChildrenNumber('/'))
  await ok(client.create('/one-more'))
  await ok(client.create('/one-more/two'))
  assert.equal(await ok(client.getAllChildrenNumber('/')), before + 2)
})

test('a node that was deleted and created again starts over', async () => {
  const client = await zk.connect()
  await ok(client.create('/again', { data: 'x' }))
  await ok(client.setData('/again', 'y'))
  await ok(client.setAcl('/again', openAcl))
  await ok(client.create('/again/c'))
  await ok(client.delete('/again/c'))
  await ok(client.delete('/again'))
  const { zxid, value } = await client.create2('/again')
  const again = value?.stat
  assert.deepEqual(
    [again?.version, again?.aversion, again?.cversion, again?.czxid, again?.mzxid, again?.pzxid],
    [0, 0, 0, zxid, zxid, zxid],
  )
})

test('two clients see the same stat', async () => {
  const [a, b] = [await zk.connect(), await zk.connect()]
  await ok(a.create('/shared', { data: 'x' }))
  assert.deepEqual(await stat(b, '/shared'), await stat(a, '/shared'))
})

test('the nodes of one multi share zxid and time', async () => {
  const client = await zk.connect()
  const { zxid } = await client.multi([multiOp.create('/multi-a'), multiOp.create('/multi-a/b')])
  const [a, b] = [await stat(client, '/multi-a'), await stat(client, '/multi-a/b')]
  assert.deepEqual([a.czxid, b.czxid, a.pzxid], [zxid, zxid, zxid])
  assert.equal(a.ctime, b.ctime)
})

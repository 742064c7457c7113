// What clients of different servers see of each other's writes and of their own: order within a session, what sync
// promises, and that a follower answers everything as the leader does.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Ensemble, startEnsemble } from '../support/ensemble.ts'
import { seeded } from '../support/load.ts'
import {
  type Answer,
  code,
  Err,
  Flag,
  type MultiOp,
  multiOp,
  Op,
  ok,
  type RawClient,
  type Reply,
} from '../support/raw-client.ts'

/** One client on each server. */
async function clientsOf(ensemble: Ensemble): Promise<RawClient[]> {
  return await Promise.all(ensemble.members.map((member) => member.connect()))
}

/** zxids in replies never go back, and errors of the server alone have none of their own. */
function assertZxidsRise(client: RawClient): void {
  let last = 0n
  for (const frame of client.frames) {
    if (frame.kind !== 'reply') continue
    assert.ok(frame.zxid >= last, `zxid ${frame.zxid} of reply ${frame.xid} after ${last}`)
    last = frame.zxid
  }
}

test('what is written through any server is seen at all of them', async (t) => {
  const ensemble = await startEnsemble(t)
  const clients = await clientsOf(ensemble)
  for (const [i, client] of clients.entries()) {
    const path = await ok(client.create('/n-', { data: `${i}`, flags: Flag.sequential }))
    assert.equal(path, `/n-000000000${i}`)
    assert.equal((await ok(client.getData(path))).data?.toString(), `${i}`)
  }
  const lines = await ensemble.converged()
  assert.equal(lines.filter((line) => line.startsWith('/n-')).length, 3)
  for (const client of clients) {
    const names = (await ok(client.getChildren('/'))).toSorted()
    assert.deepEqual(names, ['n-0000000000', 'n-0000000001', 'n-0000000002', 'zookeeper'])
  }
})

test('after a sync, a read on any server shows every write that was acknowledged before it anywhere', async (t) => {
  const ensemble = await startEnsemble(t)
  const clients = await clientsOf(ensemble)
  await ok(clients[0]!.create('/x', { data: '-1' }))
  for (let round = 0; round < 60; round++) {
    const writer = clients[round % 3]!
    const { mzxid } = await ok(writer.setData('/x', `${round}`))
    await Promise.all(
      clients.map(async (reader) => {
        const [synced, read] = reader.batch(() => [reader.sync('/x'), reader.getData('/x')] as const)
        assert.equal((await synced).err, 0)
        assert.equal((await synced).value, '/x')
        assert.ok((await synced).zxid >= mzxid, `sync of round ${round} confirmed less than was acknowledged`)
        assert.equal((await ok(read)).data?.toString(), `${round}`)
      }),
    )
  }
  for (const client of clients) assertZxidsRise(client)
})

test('many syncs at once on every server are all answered, each behind the writes before it', async (t) => {
  const ensemble = await startEnsemble(t)
  const clients = await clientsOf(ensemble)
  for (const [i] of clients.entries()) await ok(clients[0]!.create(`/s${i}`))
  await Promise.all(
    clients.map(async (client, i) => {
      const replies = client.batch(() => {
        const all: Promise<Reply>[] = []
        for (let n = 0; n < 50; n++)
          all.push(client.setData(`/s${i}`, `${n}`), client.sync('/'), client.sync('/'))
        return all
      })
      let written = 0n
      for (const reply of await Promise.all(replies)) {
        assert.equal(reply.err, 0)
        assert.ok(reply.zxid >= written)
        written = reply.zxid
      }
      assert.equal((await ok(client.getData(`/s${i}`))).stat.version, 50)
    }),
  )
  await ensemble.converged()
})

/** What is below a client's root, which nobody else writes. */
class Model {
  readonly znodes = new Map<string, { data: string; version: number }>()
  readonly root: string

  constructor(root: string) {
    this.root = root
  }

  write({ kind, path, data, version }: Write): number {
    const znode = this.znodes.get(path)
    if (kind === 'create') {
      if (znode !== undefined) return Err.nodeExists
      this.znodes.set(path, { data, version: 0 })
      return 0
    }
    if (znode === undefined) return Err.noNode
    if (version !== -1 && version !== znode.version) return Err.badVersion
    if (kind === 'delete') this.znodes.delete(path)
    if (kind === 'set') this.znodes.set(path, { data, version: znode.version + 1 })
    return 0
  }

  /** The error of the first that fails, and then nothing is done. */
  multi(writes: readonly Write[]): number {
    const before = new Map(this.znodes)
    for (const write of writes) {
      const err = this.write(write)
      if (err === 0) continue
      this.znodes.clear()
      for (const [path, znode] of before) this.znodes.set(path, znode)
      return err
    }
    return 0
  }
}

type Write = {
  readonly kind: 'create' | 'set' | 'delete' | 'check'
  readonly path: string
  readonly data: string
  readonly version: number
}

function drawWrite(random: () => number, model: Model, token: string): Write {
  const kinds = ['create', 'create', 'set', 'set', 'delete', 'check'] as const
  const kind = kinds[Math.floor(random() * kinds.length)]!
  const path = `${model.root}/${Math.floor(random() * 5)}`
  return { kind, path, data: token, version: random() < 0.6 ? -1 : Math.floor(random() * 3) }
}

function opOf({ kind, path, data, version }: Write): MultiOp {
  switch (kind) {
    case 'create':
      return multiOp.create(path, { data })
    case 'set':
      return multiOp.setData(path, data, version)
    case 'delete':
      return multiOp.delete(path, version)
    case 'check':
      return { type: Op.check, body: multiOp.delete(path, version).body }
  }
}

/** Sends one request and gives back what must hold of its reply, by the model as it is now. */
function sendOne(client: RawClient, model: Model, random: () => number, token: string): () => Promise<void> {
  const roll = random()
  const { root } = model
  if (roll < 0.4) {
    const write = drawWrite(random, model, token)
    if (write.kind === 'check') return sendMulti(client, model, [write])
    const { kind, path, data, version } = write
    const expected = model.write(write)
    const reply: Promise<Reply> =
      kind === 'create'
        ? client.create(path, { data })
        : kind === 'set'
          ? client.setData(path, data, version)
          : client.delete(path, version)
    return async () => assert.equal((await reply).err, expected, `${kind} ${path} ${version}`)
  }
  if (roll < 0.5)
    return sendMulti(
      client,
      model,
      Array.from({ length: 1 + Math.floor(random() * 3) }, (_, i) =>
        drawWrite(random, model, `${token}.${i}`),
      ),
    )
  if (roll < 0.7) {
    const path = `${root}/${Math.floor(random() * 5)}`
    const znode = model.znodes.get(path)
    const reply = client.getData(path)
    return async () => {
      const { err, value, zxid } = await reply
      assert.equal(err, znode === undefined ? Err.noNode : 0)
      assert.deepEqual(
        value && { data: value.data?.toString(), version: value.stat.version },
        znode && { data: znode.data, version: znode.version },
      )
      assert.ok(value === undefined || value.stat.mzxid <= zxid)
    }
  }
  if (roll < 0.8) {
    const names = [...model.znodes.keys()].map((path) => path.slice(root.length + 1)).toSorted()
    const reply = client.getChildren(root)
    return async () => assert.deepEqual((await ok(reply)).toSorted(), names)
  }
  if (roll < 0.86) {
    const reply = client.sync(root)
    return async () => assert.equal(await ok(reply), root)
  }
  if (roll < 0.9) {
    const reply = client.ping()
    return async () => assert.equal((await reply).err, 0)
  }
  // Refused where they arrive, with a place among the others all the same.
  const reply: Promise<Reply> = roll < 0.95 ? client.create('relative') : client.getData('relative')
  return async () => assert.equal((await reply).err, roll < 0.95 ? Err.badArguments : Err.noNode)
}

function sendMulti(client: RawClient, model: Model, writes: readonly Write[]): () => Promise<void> {
  const expected = model.multi(writes)
  const reply = client.multi(writes.map(opOf))
  return async () => {
    const { err, value = [] } = await reply
    assert.equal(err, 0)
    assert.equal(value.length, writes.length)
    const failed = value.find((result) => result.type === -1 && result.err !== 0)
    assert.equal(failed?.type === -1 ? failed.err : 0, expected)
  }
}

test('random pipelines of writes, multis, reads, syncs and bad requests are answered in order by every server', async (t) => {
  const seed = Number(process.env['PIPELINE_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
  t.diagnostic(`PIPELINE_SEED=${seed}`)
  const ensemble = await startEnsemble(t)
  await ensemble.leader()
  const pairs = await Promise.all(
    [...ensemble.members, ...ensemble.members].map(async (member, i) => {
      const client = await member.connect()
      await ok(client.create(`/c${i}`))
      return { client, model: new Model(`/c${i}`), random: seeded(seed + i) }
    }),
  )
  await Promise.all(
    pairs.map(async ({ client, model, random }, i) => {
      for (let round = 0; round < 12; round++) {
        const count = 1 + Math.floor(random() * 60)
        const checks = client.batch(() =>
          Array.from({ length: count }, (_, n) => sendOne(client, model, random, `${i}.${round}.${n}`)),
        )
        for (const check of checks) await check()
      }
      assertZxidsRise(client)
    }),
  )
  const lines = await ensemble.converged()
  for (const { model } of pairs) {
    const found = lines.filter((line) => line.startsWith(`${model.root}/`)).map((line) => line.split(' ')[0])
    assert.deepEqual(found, [...model.znodes.keys()].toSorted())
  }
})

test('writes that fail are answered alike by leader and followers, each with a zxid of its own', async (t) => {
  const ensemble = await startEnsemble(t)
  const clients = await clientsOf(ensemble)
  await ok(clients[0]!.create('/a'))
  await ok(clients[0]!.create('/a/b'))
  const seen = new Set<bigint>()
  for (const client of clients) {
    const answers: Promise<Reply>[] = client.batch(() => [
      client.create('/a'),
      client.create('/none/x'),
      client.delete('/a'),
      client.setData('/a', '', 7),
      client.setAcl('/a', []),
      client.create('no-slash'),
      client.create('/x', { flags: 99 }),
      client.create('/x', { acl: [{ perms: 31, scheme: 'unknown', id: 'x' }] }),
      client.reconfig(null, null, null),
    ])
    const replies = await Promise.all(answers)
    assert.deepEqual(
      replies.map(({ err }) => err),
      [
        Err.nodeExists,
        Err.noNode,
        Err.notEmpty,
        Err.badVersion,
        Err.invalidAcl,
        Err.badArguments,
        Err.badArguments,
        Err.invalidAcl,
        Err.reconfigDisabled,
      ],
    )
    for (const { zxid } of replies) {
      assert.ok(!seen.has(zxid), `zxid ${zxid} was given twice`)
      seen.add(zxid)
    }
    const failed = await ok(client.multi([multiOp.create('/y'), multiOp.setData('/none', '')]))
    assert.deepEqual(
      failed.map((result) => (result.type === -1 ? result.err : 0)),
      [0, Err.noNode],
    )
    assert.equal(await code(client.exists('/y')), Err.noNode)
  }
})

test('a create, its watch event on another server and the read there come in this order', async (t) => {
  const ensemble = await startEnsemble(t)
  const [one, two, three] = (await clientsOf(ensemble)) as [RawClient, RawClient, RawClient]
  for (const watcher of [two, three]) {
    await ok(watcher.addWatch('/', 1))
    assert.equal(await code(watcher.exists('/w', true)), Err.noNode)
  }
  await ok(one.create('/w', { data: 'x' }))
  for (const watcher of [two, three]) {
    const event = await watcher.nextEvent()
    assert.equal(event.text, 'NodeCreated /w')
    assert.equal((await ok(watcher.getData('/w'))).data?.toString(), 'x')
  }
})

test('a follower keeps writes behind its own sync, and reads behind both, when everything comes in one chunk', async (t) => {
  const ensemble = await startEnsemble(t)
  const [follower] = await ensemble.followers()
  const client = await follower!.connect()
  await ok(client.create('/k', { data: '0' }))
  const answers = client.batch((): Promise<Answer<unknown>>[] => [
    client.sync('/k'),
    client.setData('/k', '1'),
    client.getData('/k'),
    client.sync('/k'),
    client.sync('/k'),
    client.getData('/k'),
    client.setData('/k', '2'),
    client.closeSession(),
  ])
  const replies = await Promise.all(answers)
  assert.deepEqual(
    replies.map(({ err }) => err),
    [0, 0, 0, 0, 0, 0, 0, 0],
  )
  const data = (reply: unknown) => (reply as { data: Buffer }).data.toString()
  assert.deepEqual([data(replies[2]!.value), data(replies[5]!.value)], ['1', '1'])
  await client.closed()
  const reader = await (await ensemble.leader()).connect()
  assert.equal((await ok(reader.getData('/k'))).data?.toString(), '2')
})

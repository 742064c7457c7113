// Disks that fail, stall, are lost or damaged under servers of an ensemble: the others go on, and what was acknowledged
// stays.
import assert from 'node:assert/strict'
import { appendFile, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { StorageError } from '../../src/storage/types.ts'
import { corrupt, faultyLogs, type Member, startEnsemble, until } from '../support/ensemble.ts'
import { overriding } from '../support/in-process.ts'
import { Load, seeded } from '../support/load.ts'
import { ClosedError, Flag, ok } from '../support/raw-client.ts'

const seed = Number(process.env['ENSEMBLE_SEED'] ?? Math.floor(Math.random() * 2 ** 31))

for (const kind of ['full', 'io'] as const) {
  test(`a follower whose log fails (${kind}) lets its clients go and takes no part until it works; the others go on`, async (t) => {
    const logs = faultyLogs()
    const ensemble = await startEnsemble(t, { wrap: logs.wrap })
    const leader = await ensemble.leader()
    const [victim, other] = (await ensemble.followers()) as [Member, Member]
    const client = await victim.connect()
    await ok(client.create('/e', { flags: Flag.ephemeral }))
    logs.of(victim.id).failNext(kind)
    const writer = await other.connect()
    await ok(writer.create('/a'))
    await client.closed()
    const line = await victim.logged(/the log can not be written, writes stop/)
    assert.equal(line.level, 'error')
    assert.match(line.msg, kind === 'full' ? /Make room/ : /Check the disk/)
    assert.match(await victim.word('srvr'), /not currently serving/)
    assert.match(await victim.word('ruok'), /imok/)
    const resumed = await other.resume(client)
    assert.equal((await ok(resumed.exists('/e'))).ephemeralOwner, client.session.sessionId)
    await victim.logged(/the log still can not be written/)
    logs.of(victim.id).repair()
    await victim.logged(/the log takes writes again/)
    assert.equal(await ensemble.leader(), leader)
    await ensemble.converged()
    assert.equal((await writer.ping()).err, 0)
  })
}

test('when the log of the leader fails under load another leads, and nothing acknowledged is lost', async (t) => {
  t.diagnostic(`ENSEMBLE_SEED=${seed}`)
  const logs = faultyLogs()
  const ensemble = await startEnsemble(t, { wrap: logs.wrap })
  const load = new Load(4, seeded(seed))
  const victim = await ensemble.leader()
  await load.prepare(victim.port)
  await load.run(victim.port, async () => {
    await load.acknowledged(200)
    logs.of(victim.id).failNext('full')
    await victim.logged(/the log can not be written/)
  })
  const others = ensemble.running.filter((member) => member !== victim)
  const next = await until('one of the others leads', () =>
    others.find(({ node }) => node.leads && node.writable),
  )
  await Promise.all(others.map((member) => member.serves()))
  await load.verify(next.port)
  logs.of(victim.id).repair()
  await victim.logged(/the log takes writes again/)
  await ensemble.converged()
  assert.notEqual(await ensemble.leader(), victim)
  await load.verify(victim.port)
})

test('a follower whose disk stalls holds nobody up, and has everything when it goes on', async (t) => {
  const logs = faultyLogs()
  const ensemble = await startEnsemble(t, { wrap: logs.wrap })
  const leader = await ensemble.leader()
  const [victim] = (await ensemble.followers()) as [Member]
  const client = await leader.connect()
  await ok(client.create('/w'))
  logs.of(victim.id).hold()
  for (let i = 0; i < 50; i++) await ok(client.setData('/w', `${i}`))
  assert.ok(victim.node.tree.zxid < leader.node.tree.zxid)
  await logs.of(victim.id).release()
  await ensemble.converged()
})

test('a leader whose disk stalls gives up its role after syncLimit, and the others go on without it', async (t) => {
  const logs = faultyLogs()
  const ensemble = await startEnsemble(t, {
    wrap: logs.wrap,
    settings: { tickTime: 100, syncLimit: 8, initLimit: 100 },
  })
  const victim = await ensemble.leader()
  const others = await ensemble.followers()
  const client = await others[0]!.connect()
  await ok(client.create('/w', { data: '0' }))
  logs.of(victim.id).hold()
  await client.setData('/w', '1').catch((error: unknown) => assert.ok(error instanceof ClosedError))
  await victim.logged(/the disk has not finished a write for/)
  await until('one of the others leads', () => others.some(({ node }) => node.leads && node.writable))
  const resumed = await others[1]!.resume(client)
  await ok(resumed.setData('/w', '2'))
  await logs.of(victim.id).release()
  await ensemble.converged()
})

test('with the logs of two of three out of order nobody serves; with one of them back all goes on', async (t) => {
  const logs = faultyLogs()
  const ensemble = await startEnsemble(t, { wrap: logs.wrap })
  const leader = await ensemble.leader()
  const [one, two] = (await ensemble.followers()) as [Member, Member]
  const client = await leader.connect()
  await ok(client.create('/w', { data: 'kept' }))
  for (const { id } of [one, two]) logs.of(id).failNext('full')
  await client
    .setData('/w', 'lost, or not')
    .catch((error: unknown) => assert.ok(error instanceof ClosedError))
  await client.closed()
  await until('the leader serves no more', () => !leader.node.serving)
  logs.of(one.id).repair()
  await Promise.all([leader.serves(), one.serves()])
  const resumed = await one.resume(client)
  assert.match((await ok(resumed.getData('/w'))).data?.toString() ?? '', /^(kept|lost, or not)$/)
  await ok(resumed.setData('/w', 'new'))
  logs.of(two.id).repair()
  await ensemble.converged()
})

test('a follower whose checkpoints fail goes on, and makes one when it can', async (t) => {
  let fails = true
  const ensemble = await startEnsemble(t, {
    settings: { snapCount: 10 },
    wrap: (storage, id) => ({
      ...storage,
      checkpoint: overriding(storage.checkpoint, {
        commit: async (meta) => {
          if (id !== 1 || !fails) return await storage.checkpoint.commit(meta)
          storage.checkpoint.abort()
          throw new StorageError('full', 'test-disk', 'injected fault', 'make room')
        },
      }),
    }),
  })
  const client = await ensemble.member(1).connect()
  await client.create('/w')
  for (let i = 0; i < 40; i++) await ok(client.setData('/w', `${i}`))
  await ensemble.member(1).logged(/checkpoint failed, will be tried again/)
  assert.equal(ensemble.member(1).node.checkpointer.zxid, 0)
  fails = false
  await ensemble.converged()
  await ensemble.member(1).restart()
  assert.ok(ensemble.member(1).node.checkpointer.zxid > 0)
  await ensemble.converged()
})

test('a member whose disk fails before it has ever served ends with the error, and can be started again', async (t) => {
  const logs = faultyLogs()
  const ensemble = await startEnsemble(t, { start: [2, 3] })
  const late = ensemble.member(1)
  await ensemble.leader()
  late.wrap = (storage, id) => {
    const wrapped = logs.wrap(storage, id)
    logs.of(id).failNext('io')
    return wrapped
  }
  await late.start()
  const failure = await until('it has ended', () => late.failure)
  assert.ok(failure instanceof StorageError)
  await late.stop()
  late.wrap = (storage) => storage
  await late.start()
  await ensemble.converged()
})

test('a member does not start on damaged data: exit code 3, and a remedy that works', async (t) => {
  const ensemble = await startEnsemble(t, { settings: { snapCount: 10 } })
  const client = await (await ensemble.leader()).connect()
  await client.create('/w')
  for (let i = 0; i < 40; i++) await ok(client.setData('/w', `${i}`))
  await ensemble.converged()
  const [victim] = (await ensemble.followers()) as [Member]
  await victim.stop()
  const dir = join(victim.dataDir, 'zabd', 'log', '000001')
  const tables = (await readdir(dir)).filter((name) => name.endsWith('.ldb') || name.endsWith('.log'))
  for (const name of tables) await rm(join(dir, name))
  await appendFile(join(dir, 'CURRENT'), 'damage')
  const child = victim.spawn()
  assert.equal(await child.exited(), 3)
  assert.match(child.log(), /Restore the data and log directories/)
  assert.match(child.log(), /move the zabd directories in dataDir and dataLogDir away \(not myid\)/)
  await victim.wipe()
  await victim.start()
  await ensemble.converged()
})

test('a wrong state and a failing disk at the same time are both made good', async (t) => {
  const logs = faultyLogs()
  const ensemble = await startEnsemble(t, { wrap: logs.wrap })
  const leader = await ensemble.leader()
  const [victim] = (await ensemble.followers()) as [Member]
  const client = await leader.connect()
  await ok(client.create('/x'))
  await ensemble.converged()
  corrupt(victim, '/x')
  logs.of(victim.id).failNext('full')
  await Promise.all(client.batch(() => Array.from({ length: 300 }, () => client.setData('/x', 'right'))))
  await victim.logged(/the log can not be written/)
  logs.of(victim.id).repair()
  await victim.serves()
  await Promise.all(client.batch(() => Array.from({ length: 300 }, () => client.setData('/x', 'right'))))
  await victim.logged(/snapshot installed/)
  await ensemble.converged()
})

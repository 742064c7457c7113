// A server whose state has come to differ from the others' is found out by its digest, says so, and takes the ensemble's
// state in place of its own: follower, observer and leader, also across restarts and failures of its disk.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openStorage } from '../../src/storage/open.ts'
import { type Storage, StorageError } from '../../src/storage/types.ts'
import { corrupt, type Ensemble, type Member, startEnsemble, until } from '../support/ensemble.ts'
import { overriding } from '../support/in-process.ts'
import { ClosedError, ok, type RawClient } from '../support/raw-client.ts'

/** More than lie between two digests. */
const enough = 140

/** Writes through this client until there was a digest. */
async function write(client: RawClient): Promise<void> {
  await client.create('/w')
  await Promise.all(
    client.batch(() => Array.from({ length: enough }, (_, i) => client.setData('/w', `${i}`))),
  )
}

/** Sets `/x`, waits until all have it, and corrupts it on one server. */
async function corrupted(ensemble: Ensemble, victim: Member): Promise<void> {
  const client = await (await ensemble.leader()).connect()
  await ok(client.create('/x', { data: 'right' }))
  await ensemble.converged()
  corrupt(victim, '/x')
  assert.equal((await ok((await victim.connect()).getData('/x'))).data?.toString(), 'corrupt')
}

async function assertHealed(ensemble: Ensemble, victim: Member): Promise<void> {
  await ensemble.converged()
  const client = await victim.connect()
  assert.equal((await ok(client.getData('/x'))).data?.toString(), 'right')
  await write(client)
  await ensemble.converged()
  const mismatches = await victim.word('mntr')
  assert.match(mismatches, /zk_digest_mismatches_count\t1\n/)
}

test('a follower with another state is told, logs and counts it, takes a snapshot, and is equal again', async (t) => {
  const ensemble = await startEnsemble(t)
  const leader = await ensemble.leader()
  const [victim] = (await ensemble.followers()) as [Member]
  await corrupted(ensemble, victim)
  const client = await victim.connect()
  await write(await leader.connect())
  const told = await leader.logged(/the state of server \d is not that of the ensemble/)
  assert.deepEqual([told.level, told['server']], ['error', victim.id])
  const line = await victim.logged(/this server's state is wrong: the leader says/)
  assert.equal(line.level, 'error')
  await client.closed()
  await victim.logged(/snapshot installed/)
  await assertHealed(ensemble, victim)
  assert.equal(await ensemble.leader(), leader)
  await victim.restart()
  await ensemble.converged()
})

test('a leader that a quorum contradicts gives up its role, another leads, and it takes a snapshot', async (t) => {
  const ensemble = await startEnsemble(t)
  const victim = await ensemble.leader()
  await corrupted(ensemble, victim)
  const [follower] = (await ensemble.followers()) as [Member]
  await write(await follower.connect()).catch((error: unknown) => assert.ok(error instanceof ClosedError))
  await victim.logged(/this server's state is wrong: a quorum has another state/)
  await victim.logged(/snapshot installed/)
  assert.notEqual(await ensemble.leader(), victim)
  await assertHealed(ensemble, victim)
})

test('a follower without which there is no quorum stays until there is one, so that the ensemble does not stop', async (t) => {
  const ensemble = await startEnsemble(t)
  const leader = await ensemble.leader()
  const [victim, other] = (await ensemble.followers()) as [Member, Member]
  await corrupted(ensemble, victim)
  await other.stop()
  const client = await leader.connect()
  await write(client)
  const line = await leader.logged(
    /the state of server \d is not that of the ensemble; it gets another one as soon/,
  )
  assert.deepEqual([line.level, line['server']], ['error', victim.id])
  await write(client)
  assert.equal((await client.ping()).err, 0)
  await other.start()
  await ensemble.leader()
  await write(client)
  await victim.logged(/snapshot installed/)
  await assertHealed(ensemble, victim)
  assert.equal(leader.messages('error').length, 2)
})

test('an observer with another state takes a snapshot, too', async (t) => {
  const ensemble = await startEnsemble(t, { ids: [1, 2, 3, 4], observers: [4] })
  await ensemble.leader()
  const victim = ensemble.member(4)
  await corrupted(ensemble, victim)
  await write(await (await ensemble.leader()).connect())
  await victim.logged(/snapshot installed/)
  await assertHealed(ensemble, victim)
})

test("two of three with another state each, but not the same, get the leader's one after the other", async (t) => {
  const ensemble = await startEnsemble(t)
  const leader = await ensemble.leader()
  const [one, two] = (await ensemble.followers()) as [Member, Member]
  const client = await leader.connect()
  await ok(client.create('/y', { data: 'right' }))
  await corrupted(ensemble, one)
  corrupt(two, '/y')
  const healed = (member: Member) => member.lines.some(({ msg }) => msg === 'snapshot installed')
  await write(client)
  await until('one of them has a snapshot', () => healed(one) !== healed(two))
  await ensemble.leader()
  await write(client)
  await until('the other has one, too', () => healed(one) && healed(two))
  await assertHealed(ensemble, one)
  assert.equal(await ensemble.leader(), leader)
  assert.equal((await client.ping()).err, 0)
})

test('that a state is wrong is known after a restart before the snapshot came', async (t) => {
  let hold = true
  const ensemble = await startEnsemble(t, {
    wrap: (storage) => ({
      ...storage,
      checkpoint: overriding(storage.checkpoint, {
        reader: () =>
          overriding(storage.checkpoint.reader(), {
            next: async () => {
              await until('it may be sent', () => !hold)
              return []
            },
          }),
      }),
    }),
  })
  const leader = await ensemble.leader()
  const [victim] = (await ensemble.followers()) as [Member]
  await corrupted(ensemble, victim)
  await write(await leader.connect())
  await victim.logged(/receiving a snapshot from the leader/)
  await victim.stop()
  const storage = await openStorage({ dataDir: victim.dataDir, logDir: victim.dataDir })
  assert.equal(storage.log.diverged, true)
  await storage.close()
  // It can not even lead when only one other is there, who is behind.
  hold = false
  await leader.stop()
  leader.wrap = (inner) => inner
  await leader.start()
  await ensemble.leader()
  for (const member of ensemble.running) {
    await member.stop()
    member.wrap = (inner) => inner
  }
  await ensemble.start(1, 2, 3)
  await victim.logged(/snapshot installed/)
  await ensemble.converged()
  assert.equal((await ok((await victim.connect()).getData('/x'))).data?.toString(), 'right')
})

for (const when of ['before', 'after'] as const) {
  test(`a snapshot whose installation fails ${when} it was done is there in the end`, async (t) => {
    let failures = 0
    const wrap = (storage: Storage): Storage => ({
      ...storage,
      install: async (meta, voting) => {
        const fails = failures++ === 0
        if (!fails || when === 'after') await storage.install(meta, voting)
        if (fails) throw new StorageError('io', 'test-disk', 'injected fault', 'none is needed')
      },
    })
    const ensemble = await startEnsemble(t, { wrap })
    const [victim] = (await ensemble.followers()) as [Member]
    const from = victim.lines.length
    await corrupted(ensemble, victim)
    await write(await (await ensemble.leader()).connect())
    await victim.logged(/the log can not be written/, from)
    await until('it was tried', () => failures === (when === 'before' ? 2 : 1))
    await victim.logged(/follows server/, from)
    await assertHealed(ensemble, victim)
  })
}

test('a state that is known to be wrong is so still when the disk fails as that is written down', async (t) => {
  let failures = 0
  const wrap = (storage: Storage): Storage => ({
    ...storage,
    log: overriding(storage.log, {
      markDiverged: async () => {
        if (failures++ === 0) throw new StorageError('io', 'test-disk', 'injected fault', 'none is needed')
        await storage.log.markDiverged()
      },
    }),
  })
  const ensemble = await startEnsemble(t, { wrap })
  const leader = await ensemble.leader()
  const [victim] = (await ensemble.followers()) as [Member]
  await corrupted(ensemble, victim)
  await write(await leader.connect())
  await victim.logged(/the log can not be written/)
  await victim.logged(/snapshot installed/)
  await assertHealed(ensemble, victim)
})

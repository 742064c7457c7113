// How an ensemble begins, and what servers without data may decide: a new one comes up in whatever order its servers
// start, and those who lost their data can not elect each other over the data that is left.
import assert from 'node:assert/strict'
import { cp } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { type Member, startEnsemble, until } from '../support/ensemble.ts'
import { ok } from '../support/raw-client.ts'

/** No timer may be needed for an election where everybody answers. */
const noTimers = { tickTime: 400_000, minSessionTimeout: 4000 }

for (const order of [
  [1, 2, 3],
  [1, 3, 2],
  [2, 1, 3],
  [2, 3, 1],
  [3, 1, 2],
  [3, 2, 1],
]) {
  test(`a new ensemble comes up when its servers are started as ${order.join(', ')}`, async (t) => {
    const ensemble = await startEnsemble(t, { start: [], settings: noTimers })
    for (const id of order.slice(0, 2)) await ensemble.start(id)
    const client = await ensemble.member(order[0]!).connect()
    await ok(client.create('/first'))
    await ensemble.start(order[2]!)
    await ensemble.converged()
  })
}

for (const [ids, observers] of [
  [[7], []],
  [[1, 2], []],
  [[1, 2, 3, 4], []],
  [[1, 2, 3, 4, 5], []],
  [
    [1, 2, 3, 4, 5],
    [1, 5],
  ],
] as const) {
  test(`a new ensemble of ${ids.length}, ${observers.length} of them observers, comes up and serves`, async (t) => {
    const settings = { ...noTimers, ...(ids.length === 1 && { standaloneEnabled: false }) }
    const ensemble = await startEnsemble(t, { ids, observers, settings })
    const leader = await ensemble.leader()
    assert.equal(observers.includes(leader.id as never), false)
    for (const member of ensemble.members)
      await ok((await member.connect()).create(`/from-${member.id}`, { data: `${member.id}` }))
    await ensemble.converged()
  })
}

test('two servers that lost their data do not elect each other over a third that has it', async (t) => {
  const ensemble = await startEnsemble(t)
  const client = await (await ensemble.leader()).connect()
  await ok(client.create('/precious', { data: 'x' }))
  await ensemble.converged()
  await ensemble.stop(1, 2, 3)
  const kept = join(ensemble.member(1).dir, 'kept')
  await cp(ensemble.member(1).dataDir, kept, { recursive: true })
  for (const id of [1, 2]) await ensemble.member(id).wipe()
  // Whoever comes later must hear of the third: without it two empty servers are a new ensemble.
  await ensemble.start(3)
  const from = ensemble.member(1).lines.length
  await ensemble.start(1)
  await ensemble.member(1).logged(/connected to server 3/, from)
  await ensemble.start(2)
  const warning = /server 3 can not be elected: the voters 1, 2/
  const warned = await until('it is told why', () => {
    return ensemble.members.flatMap(({ lines }) => lines).find(({ msg }) => warning.test(msg))
  })
  assert.equal(warned.level, 'warn')
  for (const { node } of ensemble.members) assert.deepEqual([node.serving, node.leads], [false, false])
  // With its own data back one of them can vote again, and the other gets everything.
  await ensemble.stop(1)
  await ensemble.member(1).wipe()
  await cp(kept, ensemble.member(1).dataDir, { recursive: true })
  await ensemble.start(1)
  const lines = await ensemble.converged()
  assert.ok(lines.some((line) => line.startsWith("/precious 'x'")))
})

test('one server that lost its data and one that has it wait for the third', async (t) => {
  const ensemble = await startEnsemble(t)
  const client = await (await ensemble.leader()).connect()
  await ok(client.create('/precious', { data: 'x' }))
  await ensemble.converged()
  await ensemble.stop(1, 2, 3)
  await ensemble.member(2).wipe()
  await ensemble.start(1, 2)
  await ensemble.member(1).logged(/server 1 can not be elected: the voters 2/)
  assert.equal(ensemble.member(1).node.serving, false)
  await ensemble.start(3)
  await ensemble.converged()
  // Now it has a memory again.
  await ensemble.stop(3)
  await ensemble.leader()
  await ensemble.start(3)
  const lines = await ensemble.converged()
  assert.ok(lines.some((line) => line.startsWith("/precious 'x'")))
})

test('servers that lose their data one after the other lose nothing', async (t) => {
  const ensemble = await startEnsemble(t)
  const client = await (await ensemble.leader()).connect()
  await ok(client.create('/precious', { data: 'x' }))
  for (const member of [...ensemble.members]) {
    await ensemble.converged()
    await member.stop()
    await member.wipe()
    await member.start()
  }
  const lines = await ensemble.converged()
  assert.ok(lines.some((line) => line.startsWith("/precious 'x'")))
})

test('a standalone server is started again as one of three: it leads, and the others have its data', async (t) => {
  const ensemble = await startEnsemble(t, { start: [], settings: noTimers })
  const first = ensemble.member(2)
  await first.configure([`clientPort=${first.port}`, 'clientPortAddress=127.0.0.1'])
  await first.start()
  const client = await first.connect()
  await ok(client.create('/old', { data: 'x' }))
  await client.close()
  await first.stop()
  const lines = ensemble.members.map((member: Member) => member.line)
  await first.configure(lines)
  await first.start()
  await ensemble.start(1, 3)
  assert.equal(await ensemble.leader(), first)
  const state = await ensemble.converged()
  assert.ok(state.some((line) => line.startsWith("/old 'x'")))
})

// Who is let in among the servers of an ensemble, and by which rules of quorum they go on: secrets, ids, ensembles, TLS,
// names that move, groups with weights, observers.
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { issueCertificate, tlsFile } from '../support/certificates.ts'
import { type Ensemble, newMember, startEnsemble, until } from '../support/ensemble.ts'
import { testDir } from '../support/load-process.ts'
import { code, Err, exchange, Flag, ok } from '../support/raw-client.ts'

/** Writes a file with a secret and gives its path. */
async function secretFile(t: TestContext, secret: string): Promise<string> {
  const path = join(await testDir(t), 'secret')
  await writeFile(path, `${secret}\n`, { mode: 0o600 })
  return path
}

/** Two of three serve, and write. */
async function assertGoesOn(ensemble: Ensemble, ids: readonly number[], path: string): Promise<void> {
  const members = ids.map((id) => ensemble.member(id))
  await Promise.all(members.map((member) => member.serves()))
  await ok((await members[0]!.connect()).create(path))
}

test('a server with another secret is refused with a line on both sides, and comes in with the right one', async (t) => {
  const right = await secretFile(t, 'the secret of all three servers')
  const wrong = await secretFile(t, 'something else, of one of them')
  const ensemble = await startEnsemble(t, { settings: { peerSecretFile: right }, start: [1, 2] })
  const odd = ensemble.member(3)
  const lines = ensemble.members.map(({ line }) => line)
  odd.settings = { peerSecretFile: wrong }
  await odd.configure(lines)
  await odd.start()
  const here = await ensemble
    .member(1)
    .logged(/server 3.*secret.*; give every server of the ensemble the same secret/)
  const there = await odd.logged(/server [12].*secret.*; give every server of the ensemble the same secret/)
  assert.deepEqual([here.level, there.level], ['warn', 'warn'])
  await assertGoesOn(ensemble, [1, 2], '/without-3')
  assert.equal(odd.node.serving, false)
  await odd.stop()
  odd.settings = { peerSecretFile: right }
  await odd.configure(lines)
  await odd.start()
  await ensemble.converged()
})

test('a server without a secret is refused where there is one', async (t) => {
  const ensemble = await startEnsemble(t, {
    settings: { peerSecretFile: await secretFile(t, 'the secret of all three servers') },
    start: [1, 2],
  })
  const odd = ensemble.member(3)
  odd.settings = {}
  await odd.configure(ensemble.members.map(({ line }) => line))
  await odd.start()
  await odd.logged(/secret.*; give every server of the ensemble the same secret/)
  await assertGoesOn(ensemble, [1, 2], '/without-3')
  assert.equal(odd.node.serving, false)
})

test('a server of another ensemble is refused, whatever it is configured with', async (t) => {
  const foreign = await startEnsemble(t, { ids: [1, 2, 3] })
  await foreign.leader()
  const ensemble = await startEnsemble(t, { ids: [1, 2, 3] })
  await ensemble.leader()
  await foreign.stop(1, 2, 3)
  await ensemble.stop(3)
  const odd = foreign.member(3)
  // It takes the third one's place: its addresses, with data from elsewhere.
  const lines = [...ensemble.members.slice(0, 2).map(({ line }) => line), odd.line]
  await odd.configure(lines)
  await odd.start()
  const line = await odd.logged(/belongs to the ensemble [0-9a-f]{16}.*; check the server\.N lines/)
  assert.equal(line.level, 'warn')
  await assertGoesOn(ensemble, [1, 2], '/without-3')
  assert.equal(odd.node.serving, false)
  await odd.stop()
  await ensemble.start(3)
  await ensemble.converged()
})

test('a second server with an id that is taken is refused, and the first one goes on', async (t) => {
  const ensemble = await startEnsemble(t)
  await ensemble.leader()
  const clash = await newMember(t, join(ensemble.member(1).dir, 'clash'), 2, false)
  await clash.configure([
    ...ensemble.members.filter(({ id }) => id !== 2).map(({ line }) => line),
    clash.line,
  ])
  await clash.start()
  const line = await clash.logged(
    /another server with the id 2 is connected.*; give every server an id of its own/,
  )
  assert.equal(line.level, 'warn')
  await assertGoesOn(ensemble, [1, 2, 3], '/all-there')
  assert.equal(clash.node.serving, false)
  await clash.stop()
  await ensemble.converged()
})

test('servers speak TLS with each other, and one that does not is refused', async (t) => {
  const dir = await testDir(t)
  const issued = issueCertificate({ subject: [['CN', 'member']] })
  const keyStore = join(dir, 'member.pem')
  await writeFile(keyStore, issued.key + issued.cert, { mode: 0o600 })
  const tls = {
    sslQuorum: true,
    'ssl.quorum.keyStore.location': keyStore,
    'ssl.quorum.trustStore.location': tlsFile('ca.pem'),
  }
  const ensemble = await startEnsemble(t, { settings: tls, start: [1, 2] })
  const plain = ensemble.member(3)
  plain.settings = {}
  await plain.configure(ensemble.members.map(({ line }) => line))
  await plain.start()
  await plain.logged(/closed the connection|looks like TLS/)
  await assertGoesOn(ensemble, [1, 2], '/with-tls')
  assert.equal(plain.node.serving, false)
  await plain.stop()
  plain.settings = tls
  await plain.configure(ensemble.members.map(({ line }) => line))
  await plain.start()
  await ensemble.converged()
})

test('the port for servers tells whoever else comes away, and nobody is disturbed', async (t) => {
  const ensemble = await startEnsemble(t)
  const leader = await ensemble.leader()
  const client = await leader.connect()
  const before = leader.node.core?.epochs
  for (const bytes of [
    'GET / HTTP/1.1\r\n\r\n',
    'srvr',
    Buffer.alloc(5000, 255),
    Buffer.from('0000002d00000000', 'hex'),
  ]) {
    await exchange({ port: leader.peerPort }, bytes).catch(() => undefined)
  }
  await leader.logged(/it looks like HTTP/)
  assert.equal(await code(client.create('/still-there')), 0)
  assert.deepEqual(leader.node.core?.epochs, before)
  await ensemble.converged()
})

test('members are known by names, too', async (t) => {
  const ensemble = await startEnsemble(t, { start: [] })
  const lines = ensemble.members.map(({ line }) => line.replace('=127.0.0.1', '=localhost'))
  for (const member of ensemble.members) await member.configure(lines)
  await ensemble.start(1, 2, 3)
  await ensemble.converged()
})

test('with groups a majority of groups with a majority of weight decides', async (t) => {
  const ids = [1, 2, 3, 4, 5]
  const lines = [
    'group.1=1:2:3',
    'group.2=4',
    'group.3=5',
    'weight.1=3',
    'weight.2=1',
    'weight.3=1',
    'weight.4=1',
    'weight.5=0',
  ]
  const ensemble = await startEnsemble(t, { ids, lines, start: [1, 4] })
  // The third group has no weight: two groups are left, and both are needed; in the first, server 1 alone is more than half.
  await Promise.all([1, 4].map((id) => ensemble.member(id).serves()))
  await ok((await ensemble.member(4).connect()).create('/two-of-five'))
  await ensemble.start(2, 3, 5)
  const leader = await ensemble.converged().then(() => ensemble.leader())
  assert.notEqual(leader.id, 5, 'who has no weight does not lead')
  await ensemble.stop(1)
  await until('2 and 3 are less than half of the weight', () =>
    ensemble.running.every(({ node }) => !node.serving),
  )
  await ensemble.start(1)
  await ensemble.converged()
  await ensemble.stop(2, 3, 5)
  assert.ok([1, 4].includes((await ensemble.leader()).id))
})

test('observers serve reads, writes, watches and sessions, and their votes do not count', async (t) => {
  const ids = [1, 2, 3, 4, 5]
  const ensemble = await startEnsemble(t, { ids, observers: [4, 5] })
  const leader = await ensemble.leader()
  const [one, two] = [ensemble.member(4), ensemble.member(5)]
  const client = await one.connect()
  const watcher = await two.connect()
  assert.equal(await code(watcher.exists('/e', true)), Err.noNode)
  await ok(client.create('/e', { flags: Flag.ephemeral }))
  assert.equal((await watcher.nextEvent()).text, 'NodeCreated /e')
  assert.match(await one.word('mntr'), /zk_peer_state\tobserving - broadcast\n/)
  assert.match(await leader.word('mntr'), /zk_synced_observers\t2\n/)
  const moved = await two.resume(client)
  await client.closed()
  await ok(moved.sync('/'))
  assert.equal((await ok(moved.exists('/e'))).ephemeralOwner, client.session.sessionId)
  const voters = [1, 2, 3].filter((id) => id !== leader.id)
  await ensemble.stop(...voters)
  await until('a leader and two observers are no quorum', () =>
    ensemble.running.every(({ node }) => !node.serving),
  )
  await ensemble.start(voters[0]!)
  await ensemble.leader()
  const again = await two.resume(moved)
  assert.equal((await ok(again.exists('/e'))).ephemeralOwner, client.session.sessionId)
  await ensemble.start(voters[1]!)
  await ensemble.converged()
})

test('an observer that was away gets what it missed, by entries and by a snapshot', async (t) => {
  const ensemble = await startEnsemble(t, { ids: [1, 2, 3, 4], observers: [4], settings: { snapCount: 20 } })
  const late = ensemble.member(4)
  const client = await (await ensemble.leader()).connect()
  await ok(client.create('/w'))
  await ensemble.converged()
  await late.stop()
  await ok(client.setData('/w', '1'))
  await late.start()
  await ensemble.converged()
  await late.stop()
  const end = late.lines.length
  const { zxid } = await client.ping()
  await until('the log is trimmed', async () => {
    for (let i = 0; i < 20; i++) await ok(client.setData('/w', `${i}`))
    return ensemble.running.every(({ node }) => (node.core?.history.trimmedTo ?? 0) > Number(zxid))
  })
  await late.start()
  await late.logged(/snapshot installed/, end)
  await ensemble.converged()
})

// Members that come, go and change their role while the ensemble runs: what a client's reconfig does and answers, what
// /zookeeper/config and the files say afterwards, and that a restart goes by them.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { type TestContext, test } from 'node:test'
import { Ensemble, faultyLogs, type Member, newMember, startEnsemble, until } from '../support/ensemble.ts'
import { Load, seeded } from '../support/load.ts'
import { ClosedError, Err, ok, type RawClient } from '../support/raw-client.ts'

const configPath = '/zookeeper/config'
const digest = createHash('sha1').update('super:secret').digest('base64')
const settings = {
  reconfigEnabled: true,
  'DigestAuthenticationProvider.superDigest': `super:${digest}`,
} as const
const inProgress = -14
const noQuorum = -13

/** A client that may change the members. */
async function superClient(member: Member): Promise<RawClient> {
  const client = await member.connect()
  await ok(client.auth('digest', 'super:secret'))
  return client
}

/** What /zookeeper/config says here: lines of servers, and the version. */
async function configOf(client: RawClient): Promise<{ servers: string[]; version: string }> {
  const { data } = await ok(client.getData(configPath))
  const lines = data?.toString().split('\n') ?? []
  return { servers: lines.slice(0, -1), version: lines.at(-1)?.replace('version=', '') ?? '' }
}

/** The members of the file that a restart of this server reads. */
async function fileOf(member: Member): Promise<{ servers: string[]; version: string }> {
  const text = await readFile(member.configFile, 'utf8')
  const path = /^dynamicConfigFile=(.*)$/m.exec(text)?.[1] ?? ''
  return {
    servers: (await readFile(path, 'utf8')).split('\n').filter((line) => line !== ''),
    version: path.slice(path.lastIndexOf('.') + 1),
  }
}

/** Waits until config, files and members of all running servers are these. */
async function assertMembers(ensemble: Ensemble, lines: readonly string[]): Promise<string> {
  const servers = [...lines].sort()
  const version = await until(
    () => `all have these members: ${servers.join(' ')}\n${ensemble.tail()}`,
    () => {
      const texts = new Set(ensemble.running.map((member) => member.membership))
      if (texts.size !== 1) return undefined
      const [text = ''] = texts
      const found = text.startsWith(`${servers.join('\n')}\nversion=`) ? text.split('version=')[1] : undefined
      // Of version 0 is what the servers were configured with, before any leader wrote it down.
      return found !== '0' && found
    },
  )
  for (const member of ensemble.running) {
    await until(
      `the files of server ${member.id} follow`,
      async () => (await fileOf(member).catch(() => undefined))?.version === version,
    )
    assert.deepEqual((await fileOf(member)).servers, servers)
    assert.deepEqual(await configOf(await member.connect()), { servers, version })
  }
  return version
}

/** A server that joins: its own list has all members and itself. */
async function joiner(
  t: TestContext,
  ensemble: Ensemble,
  id: number,
  observer = false,
): Promise<{ all: Ensemble; member: Member }> {
  const member = await newMember(t, dirname(ensemble.members[0]!.dir), id, observer, { settings })
  member.joins = true
  await member.configure([...ensemble.members.map(({ line }) => line), member.line])
  return { all: new Ensemble([...ensemble.members, member]), member }
}

for (const id of [1, 7]) {
  test(`a server with the id ${id} joins 3, 4 and 5 under load; its vote counts, all are told, and a restart knows it`, async (t) => {
    const ensemble = await startEnsemble(t, { ids: [3, 4, 5], settings })
    const leader = await ensemble.leader()
    const [follower] = await ensemble.followers()
    const before = await configOf(await leader.connect())
    assert.deepEqual(
      before.servers,
      ensemble.members.map(({ line }) => line),
    )
    const watchers = await Promise.all(ensemble.members.map((member) => member.connect()))
    for (const watcher of watchers) await ok(watcher.getData(configPath, true))
    const load = new Load(2, seeded(id))
    await load.prepare(leader.port)
    const { all, member } = await joiner(t, ensemble, id)
    await load.run(leader.port, async () => {
      await load.acknowledged(50)
      await member.start()
      await member.serves()
      const client = await superClient(follower!)
      const { data, stat } = await ok(client.reconfig(member.line, null, null))
      const lines = data?.toString().split('\n') ?? []
      assert.equal(lines.at(-1), `version=${stat.mzxid.toString(16)}`)
      assert.ok(lines.includes(member.line))
      await load.acknowledged(100)
      for (const watcher of watchers)
        assert.equal((await watcher.nextEvent()).text, `NodeDataChanged ${configPath}`)
      await leader.stop()
    })
    await all.leader()
    await load.verify(member.port)
    await leader.start()
    await assertMembers(
      all,
      all.members.map(({ line }) => line),
    )
    assert.match(await member.word('mntr'), /zk_quorum_size\t4\n/)
    // Of four, two are no quorum: the new one's vote counts.
    const gone = ensemble.members.slice(0, 2)
    await Promise.all(gone.map((one) => one.stop()))
    await until('there is no quorum', () => all.running.every(({ node }) => !node.serving))
    for (const one of gone) await one.start()
    await all.converged()
    await Promise.all(all.members.map((one) => one.stop()))
    member.joins = false
    await Promise.all(all.members.map((one) => one.start()))
    await all.converged()
    await assertMembers(
      all,
      all.members.map(({ line }) => line),
    )
  })
}

test('a follower is removed: it counts no more, and the rest go on without it', async (t) => {
  const ensemble = await startEnsemble(t, { ids: [1, 2, 3, 4], settings })
  const leader = await ensemble.leader()
  const [removed, ...others] = (await ensemble.followers()) as [Member, ...Member[]]
  const client = await superClient(removed)
  await ok(client.reconfig(null, `${removed.id}`, null))
  const rest = ensemble.members.filter((member) => member !== removed)
  await assertMembers(
    new Ensemble(rest),
    rest.map(({ line }) => line),
  )
  assert.equal((await client.ping()).err, 0, 'its clients stay')
  assert.match(await leader.word('mntr'), /zk_quorum_size\t3\n/)
  await removed.stop()
  await others[0]!.stop()
  const writer = await leader.connect()
  await ok(writer.create('/after'))
  await others[0]!.start()
  await new Ensemble(rest).converged()
})

test('the leader is removed: it hands over, and what is written goes on', async (t) => {
  const ensemble = await startEnsemble(t, { ids: [1, 2, 3, 4], settings })
  const removed = await ensemble.leader()
  const [follower] = await ensemble.followers()
  const client = await superClient(follower!)
  // Whether the answer comes before the connection goes is a matter of luck: the leader may be gone first.
  await client
    .reconfig(null, `${removed.id}`, null)
    .catch((error: unknown) => assert.ok(error instanceof ClosedError))
  const rest = new Ensemble(ensemble.members.filter((member) => member !== removed))
  await until('another leads', () => !removed.node.leads && rest.running.some(({ node }) => node.leads))
  await assertMembers(
    rest,
    rest.members.map(({ line }) => line),
  )
  await removed.stop()
  const writer = await (await rest.leader()).connect()
  await ok(writer.create('/after'))
  await rest.converged()
})

test('an observer becomes a participant, and a participant an observer', async (t) => {
  const ensemble = await startEnsemble(t, { ids: [1, 2, 3, 4], observers: [1], settings })
  const leader = await ensemble.leader()
  const observer = ensemble.member(1)
  assert.match(await observer.word('srvr'), /Mode: observer/)
  const client = await superClient(leader)
  observer.observer = false
  await ok(client.reconfig(observer.line, null, null))
  await assertMembers(
    ensemble,
    ensemble.members.map(({ line }) => line),
  )
  await until('it follows', async () => /Mode: follower/.test(await observer.word('srvr')))
  assert.match(await leader.word('mntr'), /zk_quorum_size\t4\n/)

  const demoted = ensemble.members.find((member) => member !== leader && member !== observer)!
  demoted.observer = true
  await ok(client.reconfig(demoted.line, null, null))
  await assertMembers(
    ensemble,
    ensemble.members.map(({ line }) => line),
  )
  await until('it observes', async () => /Mode: observer/.test(await demoted.word('srvr')))
  await ensemble.converged()
})

test('a reconfig that can not be is refused with the code that ZooKeeper has for it, and changes nothing', async (t) => {
  const ensemble = await startEnsemble(t, { settings })
  const leader = await ensemble.leader()
  const before = await configOf(await leader.connect())
  const [absent, another] = [await joiner(t, ensemble, 8), await joiner(t, ensemble, 9)]
  const members = [
    ...ensemble.members.map(({ line }) => line).slice(0, 1),
    absent.member.line,
    another.member.line,
  ].join(',')
  const current = BigInt(`0x${before.version}`)
  for (const member of ensemble.members) {
    const plain = await member.connect()
    const client = await superClient(member)
    const observer = absent.member.line.replace(':participant;', ':observer;')
    const cases: [number, Promise<{ err: number }>][] = [
      [Err.badVersion, client.reconfig(observer, null, null, current + 1n)],
      [Err.badArguments, client.reconfig('server.8=nonsense', null, null)],
      [Err.badArguments, client.reconfig('server.8=127.0.0.1:1:2', null, null)],
      [Err.badArguments, client.reconfig(null, 'x', null)],
      [Err.badArguments, client.reconfig(null, '1,2', null)],
      [Err.badArguments, plain.reconfig('server.8=nonsense', null, null)],
      [noQuorum, client.reconfig(null, null, members)],
      [Err.noAuth, plain.reconfig(observer, null, null)],
    ]
    for (const [expected, answer] of cases) assert.equal((await answer).err, expected)
    assert.deepEqual(await configOf(client), before)
  }
})

test('one reconfig at a time: a second one is refused while the first waits for its quorum', async (t) => {
  const logs = faultyLogs()
  const ensemble = await startEnsemble(t, { settings, wrap: logs.wrap })
  const leader = await ensemble.leader()
  const followers = await ensemble.followers()
  const [one, two] = [await superClient(leader), await superClient(leader)]
  const { member } = await joiner(t, ensemble, 9)
  for (const { id } of followers) logs.of(id).hold()
  const first = one.reconfig(member.line, null, null)
  await until('both votes count', () => leader.node.core?.quorum.votings.length === 2)
  const { outstanding } = leader.node
  const second = two.reconfig(null, `${member.id}`, null)
  await until('it has arrived', () => leader.node.outstanding > outstanding)
  for (const { id } of followers) await logs.of(id).release()
  assert.deepEqual([(await first).err, (await second).err], [0, inProgress])
  await ok(two.reconfig(null, `${member.id}`, null))
  await ensemble.converged()
})

test('a follower that is ahead of the leader, whose disk is slow, has its reconfigs judged by what its clients have seen', async (t) => {
  const logs = faultyLogs()
  const ensemble = await startEnsemble(t, { settings, wrap: logs.wrap })
  const leader = await ensemble.leader()
  const [one, two] = (await ensemble.followers()) as [Member, Member]
  const other = await two.connect()
  await ok(other.create('/w'))
  const { member } = await joiner(t, ensemble, 9, true)
  logs.of(leader.id).hold()
  // The session, and both changes, are committed before the leader has them on its disk.
  const client = await superClient(one)
  const answers = client.batch(
    () =>
      [
        client.reconfig(member.line, null, null),
        client.setData('/w', 'behind it'),
        client.sync('/w'),
        client.getData('/w'),
        client.reconfig(null, '9', null),
      ] as const,
  )
  for (let i = 0; i < 5; i++) await ok(other.setData('/w', `${i}`))
  assert.ok(leader.node.tree.zxid < one.node.tree.zxid)
  await logs.of(leader.id).release()
  const [added, set, synced, read, removed] = await Promise.all(answers)
  assert.deepEqual([added.err, set.err, synced.err, removed.err], [0, 0, 0, 0])
  assert.equal(read.value?.data?.toString(), 'behind it')
  await ensemble.converged()
})

test('the whole list is replaced at once, and everybody can be reached at another port', async (t) => {
  const ensemble = await startEnsemble(t, { settings })
  const client = await superClient(await ensemble.leader())
  const { all, member } = await joiner(t, ensemble, 4)
  await member.start()
  await member.serves()
  const kept = all.members.filter(({ id }) => id !== 1)
  await client
    .reconfig(null, null, kept.map(({ line }) => line).join('\n'))
    .catch((error: unknown) => assert.ok(error instanceof ClosedError))
  await assertMembers(
    new Ensemble(kept),
    kept.map(({ line }) => line),
  )
  await ensemble.member(1).stop()
  await new Ensemble(kept).converged()
})

test('an ensemble of one grows to three, one or both at a time', async (t) => {
  const alone = { ...settings, standaloneEnabled: false }
  for (const step of [1, 2]) {
    const ensemble = await startEnsemble(t, { ids: [2], settings: alone })
    const first = await ensemble.leader()
    const client = await superClient(first)
    await ok(client.create('/old', { data: 'x' }))
    const low = await joiner(t, ensemble, 1)
    const high = await joiner(t, low.all, 3)
    const all = high.all
    for (const { member } of [low, high]) {
      await member.start()
      await member.serves()
      if (step === 1) await ok(client.reconfig(member.line, null, null))
    }
    if (step === 2) await ok(client.reconfig(`${low.member.line},${high.member.line}`, null, null))
    await assertMembers(
      all,
      all.members.map(({ line }) => line),
    )
    await first.stop()
    await all.leader()
    await first.start()
    const lines = await all.converged()
    assert.ok(lines.some((line) => line.startsWith("/old 'x'")))
  }
})

test('a server that was away hears of new members by entries and by a snapshot, and writes them down', async (t) => {
  const ensemble = await startEnsemble(t, { ids: [1, 2, 3, 4], settings: { ...settings, snapCount: 20 } })
  const leader = await ensemble.leader()
  const client = await superClient(leader)
  const [late, other] = (await ensemble.followers()) as [Member, Member]
  await late.stop()
  other.observer = true
  await ok(client.reconfig(other.line, null, null))
  await late.start()
  await assertMembers(
    ensemble,
    ensemble.members.map(({ line }) => line),
  )
  await late.stop()
  other.observer = false
  const { stat } = await ok(client.reconfig(other.line, null, null))
  await client.create('/w')
  await until('the log is trimmed', async () => {
    for (let i = 0; i < 20; i++) await ok(client.setData('/w', ''))
    return (leader.node.core?.history.trimmedTo ?? 0) > Number(stat.mzxid)
  })
  await late.start()
  await late.logged(/snapshot installed/)
  await assertMembers(
    ensemble,
    ensemble.members.map(({ line }) => line),
  )
  assert.equal(late.node.core?.quorum.voters.length, 4)
  await ensemble.converged()
})

test('a server keeps the configuration file that the operator wrote beside the one that names the members', async (t) => {
  const ensemble = await startEnsemble(t, { settings })
  await assertMembers(
    ensemble,
    ensemble.members.map(({ line }) => line),
  )
  for (const member of ensemble.members) {
    const names = await readdir(member.dir)
    assert.ok(names.includes('zoo.cfg.bak'))
    const text = await readFile(member.configFile, 'utf8')
    assert.equal(/^server\./m.test(text), false)
    assert.match(await readFile(`${member.configFile}.bak`, 'utf8'), /^server\.1=/m)
    assert.match(text, /^tickTime=400$/m)
  }
})

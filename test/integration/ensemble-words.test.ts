// What the members of an ensemble tell operators: the words and the figures behind them, by role. Their texts are pinned in
// test/admin; the shapes were compared with three servers and an observer of Apache ZooKeeper 3.9.4.
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { words } from '../../src/admin/words.ts'
import { runStatus } from '../../src/cli/status.ts'
import { type Ensemble, type Member, newMember, startEnsemble, until } from '../support/ensemble.ts'
import { testDir } from '../support/load-process.ts'
import { Flag, ok } from '../support/raw-client.ts'

/** mntr's lines without `zk_`. */
async function figures(member: Member): Promise<Map<string, string>> {
  const lines = (await member.word('mntr')).trim().split('\n')
  return new Map(lines.map((line) => line.replace(/^zk_/, '').split('\t') as [string, string]))
}

async function untilFigure(member: Member, name: string, value: number): Promise<void> {
  await until(`${name} of server ${member.id} is ${value}`, async () => {
    return (await figures(member)).get(name) === String(value)
  })
}

type Roles = { ensemble: Ensemble; leader: Member; follower: Member; observer: Member }

/** Servers 1 to 3 vote, 4 observes. */
async function withObserver(t: TestContext, settings = {}): Promise<Roles> {
  const ensemble = await startEnsemble(t, { ids: [1, 2, 3, 4], observers: [4], settings })
  const leader = await ensemble.leader()
  const follower = ensemble.members.find((member) => member !== leader && !member.observer) as Member
  return { ensemble, leader, follower, observer: ensemble.member(4) }
}

test('srvr and stat: mode and sizes of proposals, which only a leader has', async (t) => {
  const { leader, follower, observer } = await withObserver(t)
  const modes: [Member, string][] = [
    [leader, 'leader'],
    [follower, 'follower'],
    [observer, 'observer'],
  ]
  for (const [member, mode] of modes) {
    for (const word of ['srvr', 'stat']) {
      const text = await member.word(word)
      assert.equal(/^Mode: (.*)$/m.exec(text)?.[1], mode, word)
      assert.equal(/^Proposal sizes last\/min\/max: \d+\/\d+\/\d+$/m.test(text), mode === 'leader', word)
    }
    assert.equal(await member.word('isro'), 'rw')
  }
})

test('mntr: who follows, who leads, and what went through each server', async (t) => {
  const { ensemble, leader, follower, observer } = await withObserver(t)
  const before = await figures(leader)
  const client = await follower.connect()
  await ok(client.create('/a'))
  for (let i = 0; i < 20; i++) await ok(client.setData('/a', `${i}`))
  await ensemble.converged()
  const writes = 22
  const moved = (now: Map<string, string>, name: string) => Number(now.get(name)) - Number(before.get(name))

  const leading = await figures(leader)
  assert.equal(leading.get('server_state'), 'leader')
  assert.equal(leading.get('peer_state'), 'leading - broadcast')
  const followed = [
    'quorum_size',
    'learners',
    'synced_followers',
    'synced_observers',
    'synced_non_voting_followers',
  ]
  assert.deepEqual(
    followed.map((name) => leading.get(name)),
    ['3', '3', '2', '1', '0'],
  )
  assert.equal(leading.get('pending_syncs'), '0')
  assert.equal(moved(leading, 'proposal_count'), writes)
  assert.equal(moved(leading, 'commit_count'), writes)
  assert.equal(moved(leading, 'sum_sync_processor_batch_size'), writes)
  const entries = moved(leading, 'cnt_sync_processor_batch_size')
  assert.ok(entries > 0 && entries <= writes)
  assert.ok(moved(leading, 'cnt_quorum_ack_latency') >= entries)
  assert.ok(Number(leading.get('cnt_propagation_latency')) > 0)
  assert.equal(leading.get('learner_proposal_received_count'), '0')
  const once = [
    'election_time',
    'unavailable_time',
    'leader_unavailable_time',
    'dbinittime',
    'startup_snap_load_time',
  ]
  for (const name of once) assert.equal(leading.get(`cnt_${name}`), '1', name)
  assert.equal(leading.get('cnt_follower_sync_time'), '0')

  for (const [member, state, doing] of [
    [follower, 'follower', 'following - broadcast'],
    [observer, 'observer', 'observing - broadcast'],
  ] as const) {
    const now = await figures(member)
    assert.equal(now.get('server_state'), state)
    assert.equal(now.get('peer_state'), doing)
    assert.equal(now.get('observer_master_id'), member === observer ? String(leader.id) : undefined)
    assert.equal(now.get('quorum_size'), '3')
    assert.equal(now.has('synced_followers'), false)
    assert.deepEqual([now.get('proposal_count'), now.get('commit_count')], ['0', '0'])
    for (const name of ['learner_proposal_received_count', 'learner_commit_received_count'])
      assert.ok(Number(now.get(name)) >= writes, `${state} ${name}`)
    assert.ok(Number(now.get('cnt_propagation_latency')) > 0, state)
    assert.equal(now.get('cnt_quorum_ack_latency'), '0', state)
    const has = (name: string) => now.get(`cnt_${name}`) !== '0'
    assert.deepEqual(
      [has('election_time'), has('follower_sync_time'), has('observer_sync_time')],
      member === observer ? [false, false, true] : [true, true, false],
    )
    assert.equal(now.get('cnt_leader_unavailable_time'), '0', state)
  }
})

test('mntr: syncs by the log and by snapshot, elections, and sessions that the leader was asked for', async (t) => {
  const { ensemble, leader, follower, observer } = await withObserver(t)
  await untilFigure(leader, 'diff_count', 3)
  const client = await follower.connect()
  await ok(client.create('/eph', { flags: Flag.ephemeral }))
  client.drop()
  const resumed = await observer.resume(client)
  await ok(resumed.getData('/eph'))
  const asked = await figures(observer)
  assert.deepEqual([asked.get('connection_revalidate_count'), asked.get('revalidate_count')], ['1', '1'])

  await observer.restart()
  await observer.serves()
  await untilFigure(leader, 'diff_count', 4)
  assert.equal((await figures(observer)).get('looking_count'), '1')

  // When enough has gone into the log since a checkpoint, it does not reach back to the beginning any more.
  const writer = await leader.connect()
  for (const data of ['a', 'b', 'c']) {
    await ok(writer.create(`/${data}`))
    leader.node.checkpointer.applied(0, 32 << 20)
    assert.ok(await leader.node.checkpointer.ensure(leader.node.tree.zxid))
  }
  await observer.stop()
  await observer.wipe()
  await observer.start()
  await observer.serves()
  const sent = await figures(leader)
  assert.deepEqual([sent.get('snap_count'), sent.get('diff_count')], ['1', '4'])
  await ensemble.converged()

  await follower.stop()
  await until(
    'the leader sees one follower',
    async () => (await figures(leader)).get('synced_followers') === '1',
  )
  assert.equal((await figures(leader)).get('learners'), '2')
})

test('mntr: a server that no reconfiguration has added is a follower without a vote', async (t) => {
  const ensemble = await startEnsemble(t, { settings: { reconfigEnabled: true } })
  const leader = await ensemble.leader()
  const joiner = await newMember(t, await testDir(t), 4, false, { settings: { reconfigEnabled: true } })
  joiner.joins = true
  await joiner.configure([...ensemble.members.map(({ line }) => line), joiner.line])
  await joiner.start()
  await joiner.serves()
  const leading = await figures(leader)
  assert.deepEqual(
    ['quorum_size', 'learners', 'synced_followers', 'synced_observers', 'synced_non_voting_followers'].map(
      (name) => leading.get(name),
    ),
    ['3', '3', '2', '0', '1'],
  )
})

test('conf: limits, own ports and role, and the members as /zookeeper/config has them', async (t) => {
  const { ensemble, observer, follower } = await withObserver(t)
  for (const member of [follower, observer]) {
    const client = await member.connect()
    const { data } = await ok(client.getData('/zookeeper/config'))
    const text = await member.word('conf')
    const [, own] = /^(serverId=[\s\S]*)$/m.exec(text) ?? []
    assert.equal(
      own,
      `serverId=${member.id}
initLimit=50
syncLimit=25
electionAlg=3
electionPort=${member.electionPort}
quorumPort=${member.peerPort}
peerType=${member === observer ? 1 : 0}
membership: 
${data}`,
    )
  }
  const lines = ensemble.members.map(({ line }) => line)
  assert.equal(follower.membership, [...lines, 'version=0'].join('\n'))
})

test('dump: every member knows all sessions and ephemerals; the leader knows when they expire', async (t) => {
  const { ensemble, leader, follower, observer } = await withObserver(t)
  const ids: string[] = []
  for (const member of [leader, follower, observer]) {
    const client = await member.connect({ timeout: 8000 })
    await ok(client.create(`/of-${member.id}`, { flags: Flag.ephemeral }))
    ids.push(`0x${client.session.sessionId.toString(16)}`)
  }
  await ensemble.converged()
  ids.sort((a, b) => Number(BigInt(a) - BigInt(b)))
  const parts = async (member: Member) => {
    const [, sessions = '', ephemerals = '', connections = ''] =
      /^SessionTracker dump:\n([\s\S]*)ephemeral nodes dump:\n([\s\S]*)Connections dump:\n([\s\S]*)$/.exec(
        await member.word('dump'),
      ) ?? []
    return { sessions, ephemerals, connections }
  }
  const leading = await parts(leader)
  assert.match(leading.sessions, /^Session Sets \(\d\)\/\(3\):\n(\d expire at .*:\n(\t0x.*\n)+)+$/)
  assert.match(leading.ephemerals, /^Sessions with Ephemerals \(3\):\n(0x.*:\n\t\/of-\d\n){3}$/)
  for (const member of [follower, observer]) {
    const { sessions, ephemerals, connections } = await parts(member)
    assert.equal(sessions, `Global Sessions(3):\n${ids.map((id) => `${id}\t8000ms\n`).join('')}`)
    assert.deepEqual(ephemerals.split('\n').sort(), leading.ephemerals.split('\n').sort())
    // Its own client, and the connection that asks.
    assert.match(connections, /^Connections Sets \(2\)\/\(2\):\n/)
    assert.equal(connections.match(/sessionId: 0x[1-9a-f]/g)?.length, 1)
  }
})

test('hash: the same digests on every member', async (t) => {
  const { ensemble, leader } = await withObserver(t)
  const client = await leader.connect()
  await ok(client.create('/a'))
  await Promise.all(Array.from({ length: 300 }, (_, i) => ok(client.setData('/a', `${i}`))))
  await ensemble.converged()
  const digests = await Promise.all(ensemble.members.map((member) => member.word('hash')))
  assert.match(digests[0] as string, /^100000080: \d+\n100000100: \d+\n$/)
  assert.deepEqual(new Set(digests).size, 1)
})

test('without a quorum only ruok, isro, envi, gtmk and stmk answer, and zabd status says why', async (t) => {
  const ensemble = await startEnsemble(t, { start: [1] })
  const { port } = ensemble.member(1)
  for (const word of words.filter((word) => word !== 'envi' && word !== 'stmk')) {
    const expected = { ruok: 'imok', isro: 'null', gtmk: '306' }[word as string]
    const end = word === 'hash' ? '' : '\n'
    const notServing = `This ZooKeeper instance is not currently serving requests${end}`
    assert.equal(await ensemble.member(1).word(word), expected ?? notServing, word)
  }
  let seen = ''
  const code = await runStatus({ address: `${port}`, json: false, timeoutMs: 5000 }, assert.fail, (text) => {
    seen += text
  })
  assert.equal(code, 1)
  assert.match(seen, /runs, but is not serving: .*too few servers of its ensemble are up\n$/)
})

test('zabd status describes a leader, and all members in a line each', async (t) => {
  const { ensemble, leader } = await withObserver(t)
  const status = async (address: string) => {
    let seen = ''
    const print = (text: string) => {
      seen += text
    }
    assert.equal(await runStatus({ address, json: false, timeoutMs: 5000 }, print, assert.fail), 0)
    return seen
  }
  await untilFigure(leader, 'synced_observers', 1)
  const described = await status(`${leader.port}`)
  assert.match(
    described,
    /role {9}leader\n {2}voters {7}3\n {2}followers {4}2 of 2 up to date\n {2}observers {4}1 up to date\n/,
  )
  const all = await status(ensemble.members.map(({ port }) => port).join())
  assert.deepEqual(all.match(/ (leader|follower|observer) /g)?.length, 4)
})

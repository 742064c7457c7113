// Servers that stop, are killed, or stand still: clients go on elsewhere with their sessions, ephemerals and watches, nothing
// acknowledged is lost, and nobody waits for a timeout that a connection's end makes needless.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { epochOf, maxCounter } from '../../src/base/zxid.ts'
import { connectTo, type Ensemble, type Member, startEnsemble, until } from '../support/ensemble.ts'
import { Load, seeded } from '../support/load.ts'
import type { ServerProcess } from '../support/load-process.ts'
import { ClosedError, code, connect, Err, Flag, ok, type RawClient } from '../support/raw-client.ts'

/** What no timer may be needed for: the first one would come long after the test has failed. */
const noTimers = { tickTime: 400_000, minSessionTimeout: 4000 }

const seed = Number(process.env['ENSEMBLE_SEED'] ?? Math.floor(Math.random() * 2 ** 31))

/** An ensemble whose server 3 is a process of its own, and leads. */
async function withSpawnedLeader(
  ...[t, options]: Parameters<typeof startEnsemble>
): Promise<{ ensemble: Ensemble; leader: Member; child: ServerProcess }> {
  const ensemble = await startEnsemble(t, { ...options, start: [] })
  const leader = ensemble.member(3)
  const child = leader.spawn()
  // Of two empty servers the higher id leads; the third comes when that is settled.
  await ensemble.start(1)
  await child.ready()
  await ensemble.start(2)
  await Promise.all(ensemble.running.map((member) => member.serves()))
  assert.match(await leader.word('srvr'), /Mode: leader/)
  return { ensemble, leader, child }
}

async function kill(child: ServerProcess): Promise<void> {
  child.signal('SIGKILL')
  assert.equal(await child.exited(), null)
}

for (const role of ['leader', 'follower'] as const) {
  test(`when the ${role} is stopped its clients go on elsewhere: session, ephemerals, watches, missed events`, async (t) => {
    const ensemble = await startEnsemble(t, { settings: noTimers })
    const leader = await ensemble.leader()
    const [follower] = await ensemble.followers()
    const stopped = role === 'leader' ? leader : follower!
    const [next, other] = ensemble.members.filter((member) => member !== stopped) as [Member, Member]
    const client = await stopped.connect()
    await ok(client.create('/eph', { flags: Flag.ephemeral }))
    await ok(client.create('/data', { data: 'a' }))
    await ok(client.create('/parent'))
    const seen = (await client.ping()).zxid
    await stopped.stop()
    await client.closed()

    const writer = await other.connect()
    await ok(writer.setData('/data', 'b'))
    await ok(writer.create('/parent/child'))
    const resumed = await next.resume(client, seen)
    assert.deepEqual(resumed.session.sessionId, client.session.sessionId)
    assert.equal(
      await code(resumed.setWatches2(seen, { data: ['/data', '/eph'], exist: ['/new'], child: ['/parent'] })),
      0,
    )
    assert.deepEqual(await resumed.events(), ['NodeDataChanged /data', 'NodeChildrenChanged /parent'])
    await ok(writer.create('/new'))
    assert.equal((await resumed.nextEvent()).text, 'NodeCreated /new')
    assert.equal((await ok(writer.exists('/eph'))).ephemeralOwner, client.session.sessionId)
    await resumed.close()
    await ok(writer.sync('/'))
    assert.equal(await code(writer.exists('/eph')), Err.noNode)

    await stopped.start()
    await ensemble.converged()
  })
}

test('a leader that is stopped under load hands over: a new one leads by no timer, and nothing acknowledged is lost', async (t) => {
  t.diagnostic(`ENSEMBLE_SEED=${seed}`)
  const random = seeded(seed)
  const ensemble = await startEnsemble(t, { settings: { ...noTimers, snapCount: 200 } })
  const load = new Load(4, random)
  await load.prepare((await ensemble.leader()).port)
  for (let round = 0; round < 3; round++) {
    const leader = await ensemble.leader()
    const { epochs } = leader.node.core!
    const others = await ensemble.followers()
    const busy = round === 1 ? others[0]! : leader
    const wanted = load.counts.acknowledged + 50 + Math.floor(random() * 200)
    await load.run(busy.port, async () => {
      await load.acknowledged(wanted)
      await leader.stop()
    })
    const next = await ensemble.leader()
    assert.notEqual(next, leader)
    assert.equal(next.node.core?.epochs.current, epochs.current + 1)
    await ensemble.converged()
    await load.verify(others[Math.floor(random() * 2)]!.port)
    await leader.start()
    await ensemble.converged()
  }
  assert.equal(
    ensemble.members.some(({ lines }) => lines.some(({ msg }) => /nothing (was )?heard/.test(msg))),
    false,
  )
  t.diagnostic(
    `${load.counts.acknowledged} writes acknowledged, ${load.counts.survived} of ${load.counts.inFlight} more`,
  )
})

test('a leader that is killed under load takes nothing acknowledged with it, and follows when it comes back', async (t) => {
  t.diagnostic(`ENSEMBLE_SEED=${seed}`)
  const { ensemble, leader, child } = await withSpawnedLeader(t, { settings: noTimers })
  const load = new Load(4, seeded(seed))
  const [first, second] = ensemble.running as [Member, Member]
  await load.prepare(first.port)
  await load.run(first.port, async () => {
    await load.acknowledged(300)
    await kill(child)
  })
  const next = await ensemble.leader()
  await ensemble.converged()
  await load.verify(second.port)
  await leader.start()
  await ensemble.converged()
  assert.equal(await ensemble.leader(), next)
  await load.verify(leader.port)
})

test('a follower that is killed under load: its clients go on elsewhere, it comes back, nobody else notices', async (t) => {
  const ensemble = await startEnsemble(t, { settings: noTimers, start: [2, 3] })
  const { node } = await ensemble.leader()
  const victim = ensemble.member(1)
  const child = victim.spawn()
  await child.ready()
  const bystander = await ensemble.member(2).connect()
  const load = new Load(4, seeded(seed))
  await load.prepare(victim.port)
  await load.run(victim.port, async () => {
    await load.acknowledged(300)
    await kill(child)
  })
  await ensemble.converged()
  await load.verify(ensemble.member(3).port)
  await victim.start()
  await ensemble.converged()
  await load.verify(victim.port)
  assert.equal((await bystander.ping()).err, 0)
  assert.equal((await ensemble.leader()).node, node)
})

test('when all servers are killed at once, everything acknowledged is there when they come back', async (t) => {
  t.diagnostic(`ENSEMBLE_SEED=${seed}`)
  const ensemble = await startEnsemble(t, { settings: { ...noTimers, snapCount: 100 }, start: [] })
  const children = ensemble.members.map((member) => member.spawn())
  const load = new Load(4, seeded(seed))
  await Promise.all(children.map((child) => child.ready()))
  const { port } = ensemble.member(1)
  await load.prepare(port)
  await load.run(port, async () => {
    await load.acknowledged(300)
    await Promise.all(children.map((child) => kill(child)))
  })
  await ensemble.start(1, 2, 3)
  await ensemble.converged()
  await load.verify(ensemble.member(2).port)
})

test('without a quorum clients are disconnected at once and nothing is served; with one, sessions go on', async (t) => {
  const ensemble = await startEnsemble(t, { settings: noTimers })
  const leader = await ensemble.leader()
  const [one, two] = (await ensemble.followers()) as [Member, Member]
  const client = await leader.connect()
  await ok(client.create('/e', { flags: Flag.ephemeral }))
  const { zxid } = await client.ping()
  const follower = await one.connect()
  await two.stop()
  assert.equal((await client.ping()).err, 0)
  await one.stop()
  await Promise.all([client.closed(), follower.closed()])
  assert.equal(await leader.word('srvr'), 'This ZooKeeper instance is not currently serving requests\n')
  assert.equal(await leader.word('ruok'), 'imok')
  await assert.rejects(connect(leader), ClosedError)

  await one.start()
  const resumed = await one.resume(client, zxid)
  assert.equal((await ok(resumed.exists('/e'))).ephemeralOwner, client.session.sessionId)
  await two.start()
  await ensemble.converged()
})

test('all servers stopped and started again, in any order, have their data and sessions', async (t) => {
  const ensemble = await startEnsemble(t, { settings: noTimers })
  const client = await ensemble.member(2).connect()
  await ok(client.create('/e', { flags: Flag.ephemeral, data: '0' }))
  let zxid = 0n
  let session: RawClient = client
  for (const order of [
    [1, 2, 3],
    [3, 1, 2],
    [2, 3, 1],
  ]) {
    zxid = (await ok(session.setData('/e', `${order}`))).mzxid
    await Promise.all(ensemble.members.map((member) => member.stop()))
    for (const id of order) await ensemble.member(id).start()
    const before = session
    session = await ensemble.member(order[1]!).resume(before, zxid)
    assert.equal((await ok(session.getData('/e'))).data?.toString(), `${order}`)
  }
  const lines = await ensemble.converged()
  assert.ok(lines.some((line) => line.startsWith('/e ')))
})

test('a session that connects to another server leaves the first one, which closes its old connection', async (t) => {
  const ensemble = await startEnsemble(t, { settings: noTimers })
  const leader = await ensemble.leader()
  const followers = await ensemble.followers()
  const places = [followers[0]!, followers[1]!, leader, followers[0]!, leader, followers[1]!]
  let client = await leader.connect()
  await ok(client.create('/moved', { flags: Flag.ephemeral }))
  for (const place of places) {
    const before: RawClient = client
    client = await place.resume(before)
    await before.closed()
    assert.equal((await ok(client.setData('/moved', ''))).ephemeralOwner, client.session.sessionId)
  }
  assert.equal((await ok(client.exists('/moved'))).version, places.length)
  await client.close()
  const last = await leader.connect()
  assert.equal(await code(last.exists('/moved')), Err.noNode)
})

test('a session lives by its pings to a follower, and expires everywhere without them', async (t) => {
  const ensemble = await startEnsemble(t, {
    settings: { tickTime: 200, syncLimit: 50, initLimit: 100, minSessionTimeout: 200 },
  })
  const followers = await ensemble.followers()
  const alive = await followers[0]!.connect({ timeout: 1200 })
  alive.keepAlive(100)
  await ok(alive.create('/alive', { flags: Flag.ephemeral }))
  const watcher = await followers[1]!.connect()
  // What expires meanwhile is the clock.
  for (let round = 0; round < 5; round++) {
    const dying = await followers[0]!.connect({ timeout: 200 })
    await ok(dying.create('/dying', { flags: Flag.ephemeral }))
    await ok(watcher.sync('/'))
    await ok(watcher.exists('/dying', true))
    await dying.drop()
    assert.equal((await watcher.nextEvent()).text, 'NodeDeleted /dying')
    await assert.rejects(followers[0]!.resume(dying), /refused/)
  }
  assert.equal((await alive.ping()).err, 0)
  assert.equal(await code(watcher.exists('/alive')), 0)
})

test('a leader that stands still is replaced, and when it goes on it follows and hides nothing', async (t) => {
  const { ensemble, leader, child } = await withSpawnedLeader(t, {
    settings: { tickTime: 200, syncLimit: 8 },
  })
  const client = await connectTo(t, leader)
  await ok(client.create('/x', { data: 'old' }))
  child.signal('SIGSTOP')
  const next = await ensemble.leader()
  const writer = await next.connect()
  await ok(writer.setData('/x', 'new'))
  const late = client.batch(() => [client.sync('/x'), client.getData('/x')] as const)
  child.signal('SIGCONT')
  // Either its connection goes, or the sync has waited for the truth.
  const data = await Promise.all(late).then(
    async ([, read]) => (await read).value?.data?.toString(),
    (error: unknown) => {
      assert.ok(error instanceof ClosedError)
      return 'closed'
    },
  )
  assert.ok(data === 'closed' || data === 'new', `a read behind a sync gave ${data}`)
  await until('the old leader follows', async () => /Mode: follower/.test(await leader.word('srvr')))
  const reader = await connectTo(t, leader)
  await ok(reader.sync('/'))
  assert.equal((await ok(reader.getData('/x'))).data?.toString(), 'new')
})

test('an epoch whose transactions are used up ends with an election, and writing goes on in the next', async (t) => {
  const ensemble = await startEnsemble(t, { settings: noTimers })
  const client = await (await ensemble.leader()).connect()
  await ok(client.create('/n', { data: '0' }))
  await client.close()
  await (await ensemble.leader()).restart()
  const leader = await ensemble.leader()
  const { role, epochs } = leader.node.core!
  assert.ok(
    role.type === 'leading' && role.counter === 0,
    'the first transaction of an epoch may have any number',
  )
  role.counter = maxCounter - 40
  const { member, written } = await writeThroughRollOver(ensemble, epochs.current)
  const after = await ensemble.leader()
  assert.equal(after.node.core?.epochs.current, epochs.current + 1)
  const lines = await ensemble.converged()
  const reader = await member.connect()
  const { data, stat } = await ok(reader.getData('/n'))
  assert.ok(Number(data?.toString()) >= written)
  assert.ok(epochOf(Number(stat.mzxid)) === epochs.current + 1)
  assert.ok(lines.length > 0)
  assert.equal(
    ensemble.members
      .flatMap(({ lines: all }) => all)
      .some(({ msg }) => /has used up its transactions/.test(msg)),
    true,
  )
})

/** Writes through a follower until a write of the next epoch is acknowledged. */
async function writeThroughRollOver(
  ensemble: Ensemble,
  epoch: number,
): Promise<{ member: Member; written: number }> {
  const [member] = (await ensemble.followers()) as [Member]
  let client = await member.connect()
  let written = 0
  for (let value = 1; value < 1000; value++) {
    try {
      const { mzxid } = await ok(client.setData('/n', `${value}`))
      written = value
      if (epochOf(Number(mzxid)) > epoch) return { member, written }
    } catch (error) {
      if (!(error instanceof ClosedError)) throw error
      client = await member.resume(client)
    }
  }
  throw new Error('the epoch does not end')
}

// Sessions in an ensemble where two servers, or two clients, have a say: who wins, and that nothing comes too late.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Ensemble, type Member, startEnsemble } from '../support/ensemble.ts'
import { ClosedError, code, Flag, ok, RawClient, type Reply } from '../support/raw-client.ts'

const tickMs = 250
const shortest = 2 * tickMs

/** Leader and two followers. */
async function three(ensemble: Ensemble): Promise<[Member, Member, Member]> {
  const leader = await ensemble.leader()
  const [one, other] = (await ensemble.followers()) as [Member, Member]
  return [leader, one, other]
}

/** Of a session that moves. */
function ways(leader: Member, one: Member, other: Member): readonly (readonly [string, Member, Member])[] {
  return [
    ['from a follower to a follower', one, other],
    ['from a follower to the leader', one, leader],
    ['from the leader to a follower', leader, one],
  ]
}

/** What became of a request: its code, or undefined if the connection was closed first. */
async function fate(reply: Promise<Reply>): Promise<number | undefined> {
  try {
    return (await reply).err
  } catch (error) {
    assert.ok(error instanceof ClosedError, String(error))
    return undefined
  }
}

test('who has a session when two say so', async (t) => {
  const ensemble = await startEnsemble(t, { settings: { tickTime: tickMs } })
  const [leader, one, other] = await three(ensemble)
  for (const [way, from, to] of ways(leader, one, other)) {
    await t.test(
      `moving ${way}: nothing asked for on the old connection comes behind what the new one asks for`,
      async () => {
        const reader = await other.connect()
        const path = `/moved-${from.id}-${to.id}`
        await ok(reader.create(path))
        for (let round = 0; round < 10; round++) {
          const old = await from.connect()
          const next = await RawClient.dial(to.port)
          const writes: Promise<number | undefined>[] = []
          // The move comes in the middle of them, at another place each time.
          for (let i = 0; i < round; i++) writes.push(fate(old.setData(path, `old ${i}`)))
          const moving = next.handshake({ ...old.credentials, timeout: 60_000 })
          for (let i = 0; i < 20; i++) writes.push(fate(old.setData(path, `late ${i}`)))
          const { timeout } = await moving
          assert.equal(timeout, 60_000)
          await ok(next.setData(path, 'new'))
          await old.closed()
          const fates = await Promise.all(writes)
          // In order: those that were done, then those that never will be.
          const done = fates.filter((one) => one === 0).length
          assert.deepEqual(fates, [...Array(done).fill(0), ...Array(fates.length - done).fill(undefined)])
          await ok(reader.sync(path))
          const { data, stat } = await ok(reader.getData(path))
          assert.equal(data?.toString(), 'new')
          assert.ok(stat.version > done)
          await next.close()
        }
        await reader.close()
      },
    )

    await t.test(
      `re-attaching ${way} to a session that is being closed: it is not open afterwards`,
      async () => {
        for (let round = 0; round < 10; round++) {
          const old = await from.connect()
          const next = await RawClient.dial(to.port)
          const closing = fate(old.closeSession())
          const answer = await next.handshake({ ...old.credentials, timeout: 60_000 })
          // Either it came too late, or it got the session first: then the close came from a connection without it.
          if ((await closing) === 0) {
            await next.closed()
          } else {
            assert.equal(answer.timeout, 60_000)
            assert.equal(await code(next.exists('/')), 0)
            await next.close()
          }
          const again = await RawClient.dial(to.port)
          assert.equal((await again.handshake(old.credentials)).timeout, 0)
        }
      },
    )

    await t.test(`a wrong password at ${way.split(' to ')[1]} disturbs nobody`, async () => {
      const client = await from.connect()
      const stranger = await RawClient.dial(to.port)
      const passwd = Buffer.from(client.session.passwd)
      passwd.writeUInt8(passwd.readUInt8(0) ^ 1)
      const { timeout, sessionId } = await stranger.handshake({ ...client.credentials, passwd })
      assert.deepEqual([timeout, sessionId], [0, 0n])
      await stranger.closed()
      assert.equal(await code(client.setData('/', 'x')), 0)
      await client.close()
    })
  }

  await t.test(
    'a client that has seen a later state is refused by every server, whatever session it has',
    async () => {
      const client = await one.connect()
      for (const { port } of ensemble.members) {
        const ahead = (await client.ping()).zxid + 1000n
        for (const credentials of [{}, client.credentials]) {
          const refused = await RawClient.dial(port)
          await assert.rejects(refused.handshake({ ...credentials, lastZxidSeen: ahead }), ClosedError)
        }
      }
      assert.equal(await code(client.exists('/')), 0)
      await client.close()
    },
  )

  await t.test(
    'when a follower is gone the sessions that nobody brings elsewhere expire, with their ephemerals',
    async () => {
      const lost = await other.connect({ timeout: shortest })
      lost.keepAlive(shortest / 8)
      await ok(lost.create('/lost', { flags: Flag.ephemeral }))
      const saved = await other.connect()
      await ok(saved.create('/saved', { flags: Flag.ephemeral }))
      const watcher = await leader.connect()
      await ok(watcher.exists('/lost', true))
      await other.stop()
      const again = await one.resume(saved)
      assert.equal((await watcher.nextEvent()).text, 'NodeDeleted /lost')
      assert.equal(await code(again.exists('/saved')), 0)
      const late = await RawClient.dial(one.port)
      assert.equal((await late.handshake(lost.credentials)).timeout, 0)
      await again.close()
      await watcher.close()
      await other.start()
      await ensemble.converged()
    },
  )
})

// What takes time is done together.
test('who lives how long', { concurrency: true }, async (t) => {
  const ensemble = await startEnsemble(t, { settings: { tickTime: tickMs } })
  const [leader, one, other] = await three(ensemble)
  const subtests: Promise<void>[] = []

  for (const [way, from, to] of ways(leader, one, other)) {
    subtests.push(
      t.test(
        `moving ${way}: its ephemeral stays as long as the second server hears of its client`,
        async () => {
          const client = await from.connect({ timeout: 2 * shortest })
          client.keepAlive(shortest / 8)
          const path = `/kept-${from.id}-${to.id}`
          await ok(client.create(path, { flags: Flag.ephemeral }))
          const moved = await to.connect({ ...client.credentials, timeout: 2 * shortest })
          moved.keepAlive(shortest / 8)
          await client.closed()
          // One that nobody keeps alive, opened later, is gone before.
          const silent = await to.connect({ timeout: shortest })
          await silent.closed()
          const again = await to.connect({ timeout: shortest })
          await again.closed()
          const { ephemeralOwner } = await ok(moved.exists(path))
          assert.equal(ephemeralOwner, client.session.sessionId)
          await moved.close()
        },
      ),
    )

    subtests.push(
      t.test(`the timeout is negotiated anew ${way}`, async () => {
        const long = await from.connect({ timeout: 60_000 })
        const short = await from.connect({ timeout: shortest })
        short.keepAlive(shortest / 8)
        const path = `/timeout-${from.id}-${to.id}`
        await ok(long.create(`${path}-a`, { flags: Flag.ephemeral }))
        await ok(short.create(`${path}-b`, { flags: Flag.ephemeral }))
        const nowShort = await to.connect({ ...long.credentials, timeout: shortest })
        const nowLong = await to.connect({ ...short.credentials, timeout: 60_000 })
        assert.deepEqual([nowShort.session.timeout, nowLong.session.timeout], [shortest, 60_000])
        await nowShort.closed()
        const { value } = await nowLong.getChildren('/')
        assert.ok(value?.includes(`${path}-b`.slice(1)))
        assert.ok(!value?.includes(`${path}-a`.slice(1)))
        await nowLong.close()
      }),
    )
  }

  subtests.push(
    t.test(
      'signs of life through a follower count, pings and reads alike, also those of many clients',
      async () => {
        const clients = await Promise.all(
          Array.from({ length: 20 }, () => one.connect({ timeout: 3 * shortest })),
        )
        clients.forEach((client, i) => {
          if (i % 2 === 0) client.keepAlive(shortest / 8)
          else void readOn(client)
        })
        for (let i = 0; i < 2; i++) await (await one.connect({ timeout: 3 * shortest })).closed()
        for (const client of clients) assert.equal(await code(client.exists('/')), 0)
        await Promise.all(clients.map((client) => client.close()))
      },
    ),
  )

  await Promise.all(subtests)
})

/** Reads now and then until the connection ends. */
async function readOn(client: RawClient): Promise<void> {
  while (!client.isClosed) {
    await client.exists('/').catch(() => undefined)
    await new Promise((resolve) => setTimeout(resolve, shortest / 8))
  }
}

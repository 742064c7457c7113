// Local sessions: what they may do, where they are known, and how they become global (semantics.md 43).
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Ensemble, type Member, startEnsemble, until } from '../support/ensemble.ts'
import { startInProcess } from '../support/in-process.ts'
import { testDir } from '../support/load-process.ts'
import { code, connect, Err, Flag, multiOp, ok, openAcl, RawClient } from '../support/raw-client.ts'

const ephemeralOnLocalSession = -120
const local = { localSessionsEnabled: true }
const upgrading = { ...local, localSessionsUpgradingEnabled: true }
const shortest = 800

/** Leader, follower, observer. */
async function eachRole(ensemble: Ensemble): Promise<readonly (readonly [string, Member])[]> {
  const leader = await ensemble.leader()
  return [
    ['leader', leader],
    ['follower', ensemble.members.find((member) => member !== leader && !member.observer) as Member],
    ['observer', ensemble.members.find((member) => member.observer) as Member],
  ]
}

/** Sessions of a server as `mntr` counts them: global, local. */
async function counts(member: Member): Promise<(string | undefined)[]> {
  const text = await member.word('mntr')
  return ['zk_global_sessions', 'zk_local_sessions'].map((name) => text.match(`${name}\t(\\d+)`)?.[1])
}

/** The timeout that a handshake with these credentials is answered with; 0: refused. */
async function attach(
  member: { readonly port: number },
  client: RawClient,
  timeout = 60_000,
): Promise<readonly [number, RawClient]> {
  const again = await RawClient.dial(member.port)
  const response = await again.handshake({ ...client.credentials, timeout })
  return [response.timeout, again]
}

test('local sessions', async (t) => {
  const ensemble = await startEnsemble(t, { ids: [1, 2, 3, 4], observers: [4], settings: local })
  const roles = await eachRole(ensemble)

  for (const [role, member] of roles) {
    await t.test(`${role}: opening, re-attaching and closing takes no zxid`, async () => {
      const before = (await ensemble.leader()).node.tree.zxid
      const client = await member.connect()
      assert.deepEqual(await counts(member), ['0', '1'])
      const [timeout, again] = await attach(member, client)
      assert.equal(timeout, 60_000)
      await client.closed()
      await again.close()
      assert.deepEqual(await counts(member), ['0', '0'])
      assert.equal((await ensemble.leader()).node.tree.zxid, before)
    })

    await t.test(`${role}: everything but ephemerals works, in order`, async () => {
      const client = await member.connect()
      const path = `/${role}`
      const answers = client.batch(() => [
        client.create(path, { data: 'a' }),
        client.getData(path, true),
        client.setData(path, 'b'),
        client.setAcl(path, openAcl),
        client.multi([multiOp.check(path, 1), multiOp.create(`${path}/x`), multiOp.delete(`${path}/x`)]),
        client.setData(path, 'c', 7),
        client.sync(path),
        client.getData(path),
      ])
      const codes = (await Promise.all(answers)).map(({ err }) => err)
      assert.deepEqual(codes, [0, 0, 0, 0, 0, Err.badVersion, 0, 0])
      assert.deepEqual(
        client.takeEvents().map(({ text }) => text),
        [`NodeDataChanged ${path}`],
      )
      await client.close()
    })

    await t.test(`${role}: ephemerals are refused, which takes a zxid as any failed write`, async () => {
      const client = await member.connect()
      const { zxid } = await client.sync('/').then(() => client.ping())
      const first = await client.create('/eph', { flags: Flag.ephemeral })
      const second = await client.create2('/none/eph', { flags: Flag.ephemeralSequential })
      assert.deepEqual([first.err, first.zxid], [ephemeralOnLocalSession, zxid + 1n])
      assert.deepEqual([second.err, second.zxid], [ephemeralOnLocalSession, zxid + 2n])
      const results = await ok(
        client.multi([multiOp.create('/plain'), multiOp.create('/eph', { flags: Flag.ephemeral })]),
      )
      assert.deepEqual(results, [
        { type: -1, err: 0 },
        { type: -1, err: ephemeralOnLocalSession },
      ])
      assert.equal(await code(client.exists('/plain')), Err.noNode)
      await client.close()
    })

    await t.test(
      `${role}: a close behind writes and reads is the last that is answered, and all before it is done`,
      async () => {
        const client = await member.connect()
        const path = `/last-${role}`
        client.batch(() => [
          client.create(path),
          client.exists(path),
          client.closeSession(),
          client.create(`${path}/x`),
          client.ping(),
        ])
        await client.closed()
        assert.deepEqual(client.history(), ['reply 1', 'reply 2', 'reply 3'])
        const reader = await member.connect()
        assert.deepEqual(await ok(reader.getChildren(path)), [])
        assert.equal((await attach(member, client))[0], 0)
        await reader.close()
      },
    )

    await t.test(`${role}: a session expires on its server, which closes its connection`, async () => {
      const client = await member.connect({ timeout: shortest })
      await client.closed()
      assert.deepEqual(client.history(), [])
      assert.deepEqual(await counts(member), ['0', '0'])
      assert.equal((await attach(member, client))[0], 0)
    })

    await t.test(`${role}: another server does not know it`, async () => {
      const client = await member.connect()
      const other = ensemble.members.find((one) => one !== member) as Member
      assert.equal((await attach(other, client))[0], 0)
      assert.equal(await code(client.ping()), 0)
      await client.close()
    })

    await t.test(`${role}: dump lists it apart from the global ones`, async () => {
      const client = await member.connect()
      const id = `0x${client.session.sessionId.toString(16)}`
      assert.match(
        await member.word('dump'),
        new RegExp(`Local Session Sets \\(1\\)/\\(1\\):\\n1 expire at .*\\n\t${id}\\nGlobal`),
      )
      await client.close()
    })
  }

  await t.test('pings keep it alive while others expire', async () => {
    const [, [, member]] = roles as [unknown, [string, Member]]
    const client = await member.connect({ timeout: shortest })
    client.keepAlive(shortest / 4)
    for (let i = 0; i < 2; i++) await (await member.connect({ timeout: shortest })).closed()
    assert.equal(await code(client.exists('/')), 0)
    await client.close()
  })

  await t.test('after an election it goes on where it was', async () => {
    const leader = await ensemble.leader()
    const member = ensemble.members.find((one) => one !== leader) as Member
    const client = await member.connect()
    await leader.stop()
    await client.closed()
    await member.serves()
    const again = await member.resume(client)
    assert.equal(await code(again.create('/after-election')), 0)
    await again.close()
    await leader.start()
    await ensemble.leader()
  })
})

test('local sessions that may become global', async (t) => {
  const ensemble = await startEnsemble(t, { ids: [1, 2, 3, 4], observers: [4], settings: upgrading })
  const roles = await eachRole(ensemble)

  for (const [role, member] of roles) {
    await t.test(
      `${role}: an ephemeral makes the session global, by a transaction before its own`,
      async () => {
        const client = await member.connect()
        const { sessionId } = client.session
        assert.equal(await code(client.create(`/plain-${role}`)), 0)
        assert.deepEqual(await counts(member), ['0', '1'])
        const { zxid } = await client.ping()
        const created = await client.create2(`/eph-${role}`, { flags: Flag.ephemeral })
        assert.deepEqual([created.err, created.zxid], [0, zxid + 2n])
        assert.equal(created.value?.stat.ephemeralOwner, sessionId)
        assert.deepEqual(await counts(member), ['1', '0'])
        assert.equal((await client.setData(`/eph-${role}`, 'x')).zxid, zxid + 3n)
        await client.close()
        const reader = await member.connect()
        assert.equal(await code(reader.exists(`/eph-${role}`)), Err.noNode)
        assert.deepEqual(await counts(member), ['0', '1'])
        await reader.close()
      },
    )

    await t.test(`${role}: an upgraded session moves to other servers with its ephemerals`, async () => {
      const client = await member.connect()
      await ok(client.create(`/moves-${role}`, { flags: Flag.ephemeral }))
      for (const other of ensemble.members.filter((one) => one !== member)) {
        const again = await other.resume(client)
        const { ephemeralOwner } = await ok(again.exists(`/moves-${role}`))
        assert.equal(ephemeralOwner, client.session.sessionId)
      }
      await (await member.resume(client)).close()
    })

    await t.test(`${role}: one ephemeral in a multi is enough`, async () => {
      const client = await member.connect()
      const path = `/multi-${role}`
      const results = await ok(
        client.multi([
          multiOp.create(path),
          multiOp.create2(`${path}/e`, { flags: Flag.ephemeralSequential }),
        ]),
      )
      assert.deepEqual(
        results.map(({ type }) => type),
        [1, 15],
      )
      assert.deepEqual(await counts(member), ['1', '0'])
      await client.close()
    })

    await t.test(`${role}: in one go with other requests the order stays`, async () => {
      const client = await member.connect()
      const path = `/order-${role}`
      client.batch(() => [
        client.create(path),
        client.create(`${path}/e`, { flags: Flag.ephemeral }),
        client.getEphemerals(path),
        client.create(`${path}/f`, { flags: Flag.ephemeral }),
        client.sync(path),
        client.getChildren(path),
        client.closeSession(),
      ])
      await client.closed()
      assert.deepEqual(
        client.history(),
        [1, 2, 3, 4, 5, 6, 7].map((xid) => `reply ${xid}`),
      )
      const reader = await member.connect()
      assert.deepEqual(await ok(reader.getChildren(path)), [])
      await reader.close()
    })

    await t.test(`${role}: whoever comes back while the session becomes global finds it open`, async () => {
      for (let round = 0; round < 10; round++) {
        const client = await member.connect()
        const again = await RawClient.dial(member.port)
        // Both are there when the server looks at its sockets.
        client.batch(() => client.create(`/back-${role}-${round}`, { flags: Flag.ephemeral }))
        const { timeout } = await again.handshake({ ...client.credentials, timeout: 60_000 })
        assert.equal(timeout, 60_000)
        await client.closed()
        await ok(again.sync('/'))
        await again.close()
      }
      assert.deepEqual(await counts(member), ['0', '0'])
    })
  }

  await t.test('an upgraded session expires by the leader, also when its server is gone', async () => {
    const leader = await ensemble.leader()
    const member = ensemble.members.find((one) => one !== leader) as Member
    const client = await member.connect({ timeout: shortest })
    await ok(client.create('/gone', { flags: Flag.ephemeral }))
    const watcher = await leader.connect()
    // The leader's own disk may be the last to have what a quorum has committed.
    await ok(watcher.sync('/'))
    await ok(watcher.exists('/gone', true))
    await member.stop()
    assert.equal((await watcher.nextEvent()).text, 'NodeDeleted /gone')
    await watcher.close()
    await member.start()
    await ensemble.converged()
  })
})

test('a standalone server has global sessions only, as in ZooKeeper', async (t) => {
  const server = await startInProcess(t, await testDir(t), { settings: local })
  const client = await connect(server)
  const { zxid } = await client.create('/eph', { flags: Flag.ephemeral })
  const other = await connect(server)
  assert.equal((await client.ping()).zxid, zxid + 1n)
  await other.close()
  await until('its session is closed', async () => (await client.ping()).zxid === zxid + 2n)
  await client.close()
})

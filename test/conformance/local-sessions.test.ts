// Local sessions on an ensemble of one (semantics.md 43): what takes a zxid, what is refused, and how one becomes global.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { freePort } from '../support/ports.ts'
import { code, connect, Err, Flag, multiOp, ok, openAcl, type RawClient } from '../support/raw-client.ts'
import { type SharedServer, sharedServer } from '../support/server.ts'

const ephemeralOnLocalSession = -120

async function ensembleOfOne(upgrading: boolean) {
  return {
    tickTime: 1000,
    initLimit: 10,
    syncLimit: 5,
    standaloneEnabled: false,
    localSessionsEnabled: true,
    localSessionsUpgradingEnabled: upgrading,
    'server.1': `127.0.0.1:${await freePort()}:${await freePort()}`,
  }
}

const [keeping, upgrading] = [await ensembleOfOne(false), await ensembleOfOne(true)]

/** Sessions as `mntr` counts them: global, local. */
async function counts(zk: SharedServer): Promise<(string | undefined)[]> {
  const text = (await zk.exchange('mntr')).toString()
  return ['zk_global_sessions', 'zk_local_sessions'].map((name) => text.match(`${name}\t(\\d+)`)?.[1])
}

async function lastZxid(client: RawClient): Promise<bigint> {
  return (await client.ping()).zxid
}

/** The timeout that a handshake with this client's session is answered with; 0: refused. */
async function attached(zk: SharedServer, client: RawClient): Promise<number> {
  const again = await zk.dial()
  return (await again.handshake({ ...client.credentials, timeout: 5000 })).timeout
}

describe('a local session', () => {
  const zk = sharedServer(keeping)

  test('takes no zxid when it begins and when it ends', async () => {
    const client = await zk.connect()
    const zxid = await lastZxid(client)
    const other = await zk.connect()
    assert.deepEqual(await counts(zk), ['0', '2'])
    assert.equal((await other.closeSession()).zxid, zxid)
    await other.closed()
    assert.equal(await lastZxid(client), zxid)
    assert.deepEqual(await counts(zk), ['0', '1'])
  })

  test('writes what is not ephemeral', async () => {
    const client = await zk.connect()
    await ok(client.create('/a', { data: 'x' }))
    await ok(client.create('/s-', { flags: Flag.sequential }))
    await ok(client.createContainer('/c'))
    await ok(client.setData('/a', 'y'))
    await ok(client.setAcl('/a', openAcl))
    await ok(client.multi([multiOp.create('/m'), multiOp.setData('/m', 'x'), multiOp.delete('/m')]))
    assert.equal(await code(client.setData('/a', 'z', 9)), Err.badVersion)
    await ok(client.delete('/a'))
    assert.equal(await ok(client.sync('/')), '/')
    assert.deepEqual(await ok(client.getEphemerals('/')), [])
  })

  test('gets -120 for an ephemeral, whatever else is wrong with it, at a zxid of its own', async () => {
    const client = await zk.connect()
    let zxid = await lastZxid(client)
    for (const path of ['/e', '/none/e', 'no-slash']) {
      for (const flags of [Flag.ephemeral, Flag.ephemeralSequential]) {
        const answer = await client.create(path, { flags })
        assert.deepEqual([answer.err, answer.zxid], [ephemeralOnLocalSession, ++zxid], path)
      }
    }
  })

  test('gets -120 for an ephemeral in a multi, which changes nothing', async () => {
    const client = await zk.connect()
    const results = await ok(
      client.multi([
        multiOp.create('/n'),
        multiOp.create2('/e', { flags: Flag.ephemeral }),
        multiOp.delete('/n'),
      ]),
    )
    assert.deepEqual(results, [
      { type: -1, err: 0 },
      { type: -1, err: ephemeralOnLocalSession },
      { type: -1, err: Err.runtimeInconsistency },
    ])
    assert.equal(await code(client.exists('/n')), Err.noNode)
  })

  test('can be resumed until it is closed', async () => {
    const client = await zk.connect()
    assert.equal(await attached(zk, client), 5000)
    await client.closed()
    const other = await zk.connect()
    await other.close()
    assert.equal(await attached(zk, other), 0)
  })

  test('expires', async () => {
    const client = await zk.connect({ timeout: 2000 })
    await client.closed()
    assert.equal(await attached(zk, client), 0)
  })

  test('is listed apart by dump', async () => {
    const client = await zk.connect()
    const dump = (await zk.exchange('dump')).toString()
    const id = `\t0x${client.session.sessionId.toString(16)}\n`
    const [before, behind] = dump.split('Global Session Sets (0)/(0):\n')
    assert.match(before ?? '', /^SessionTracker dump:\nLocal Session Sets \(\d+\)\/\(\d+\):\n/)
    assert.ok(before?.includes(id))
    assert.ok(!behind?.slice(0, behind.indexOf('Connections')).includes(id))
  })
})

describe('a local session that may become global', () => {
  const zk = sharedServer(upgrading)

  test('does so by a transaction of its own before its first ephemeral', async () => {
    const client = await zk.connect()
    await ok(client.create('/plain'))
    const zxid = await lastZxid(client)
    const { err, zxid: at, value } = await client.create2('/e', { flags: Flag.ephemeral })
    assert.deepEqual([err, at], [0, zxid + 2n])
    assert.equal(value?.stat.ephemeralOwner, client.session.sessionId)
    assert.equal((await client.create('/e2', { flags: Flag.ephemeral })).zxid, zxid + 3n)
    assert.deepEqual(await counts(zk), ['1', '0'])
  })

  test('does so for an ephemeral in a multi, and not for a multi without', async () => {
    const client = await zk.connect()
    await ok(client.multi([multiOp.create('/m')]))
    assert.deepEqual(await counts(zk), ['0', '1'])
    await ok(client.multi([multiOp.create('/m1'), multiOp.create('/m2', { flags: Flag.ephemeral })]))
    assert.deepEqual(await counts(zk), ['1', '0'])
  })

  test('does so even for an ephemeral that then fails', async () => {
    const client = await zk.connect()
    const zxid = await lastZxid(client)
    const { err, zxid: at } = await client.create('/none/e', { flags: Flag.ephemeral })
    assert.deepEqual([err, at], [Err.noNode, zxid + 2n])
    assert.deepEqual(await counts(zk), ['1', '0'])
  })

  test('can be resumed, takes a zxid when it ends, and takes its ephemerals with it', async () => {
    const client = await zk.connect()
    await ok(client.create('/gone', { flags: Flag.ephemeral }))
    const again = await connect(zk, { ...client.credentials, timeout: 60_000 })
    await client.closed()
    const zxid = await lastZxid(again)
    assert.equal((await again.closeSession()).zxid, zxid + 1n)
    await again.closed()
    const reader = await zk.connect()
    assert.equal(await code(reader.exists('/gone')), Err.noNode)
    assert.equal(await attached(zk, client), 0)
  })
})

describe('on a standalone server', () => {
  const zk = sharedServer({ localSessionsEnabled: true })

  test('all sessions are global', async () => {
    const client = await zk.connect()
    const zxid = await lastZxid(client)
    await zk.connect()
    assert.equal(await lastZxid(client), zxid + 1n)
    await ok(client.create('/e', { flags: Flag.ephemeral }))
    assert.deepEqual(await counts(zk), ['2', '0'])
  })
})

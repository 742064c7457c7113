// Sessions across crashes and pauses: they come back with their ephemerals and watches, end in time when nobody comes,
// and never end because the server itself was not there to hear their clients.
import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { Op } from '../../src/base/opcodes.ts'
import { Writer } from '../../src/jute/writer.ts'
import { Node } from '../../src/node/node.ts'
import { Tree } from '../../src/tree/tree.ts'
import { faultyLog } from '../support/disk.ts'
import { memoryCheckpoint, memoryLog } from '../support/disk-memory.ts'
import {
  manualClock,
  memoryLogger,
  startInProcess,
  testConfig,
  turns,
  untilOutstanding,
} from '../support/in-process.ts'
import { spawnServer, testDir } from '../support/load-process.ts'
import { RawClient as Client, connect, Err, Flag, ok, type RawClient } from '../support/raw-client.ts'

describe('after SIGKILL and a restart', () => {
  it('a session comes back by id and password, with its ephemerals and its watches', async (t) => {
    const dir = await testDir(t)
    const server = await spawnServer(t, dir)
    await server.ready()
    const [owner, other] = [await connect(server), await connect(server)]
    await ok(owner.create('/e', { flags: Flag.ephemeral, data: 'x' }))
    await ok(owner.create('/watched', { data: 'old' }))
    await ok(owner.create('/changed', { data: 'old' }))
    const seen = (await owner.getData('/changed', true)).zxid
    await ok(other.setData('/changed', 'new'))
    server.signal('SIGKILL')
    await server.exited()
    const next = await spawnServer(t, dir)
    await next.ready()

    const thief = await Client.dial(next.port)
    const refused = await thief.handshake({
      sessionId: owner.credentials.sessionId,
      passwd: Buffer.alloc(16),
    })
    assert.equal(refused.timeout, 0)
    const again = await connect(next, { ...owner.credentials, lastZxidSeen: seen })
    assert.equal(again.session.sessionId, owner.session.sessionId)
    assert.deepEqual(again.session.passwd, owner.session.passwd)
    await ok(again.setWatches(seen, { data: ['/watched', '/changed'], exist: ['/absent'], child: ['/'] }))
    assert.deepEqual(await again.events(), ['NodeDataChanged /changed'])
    const { stat } = await ok(again.getData('/e'))
    assert.equal(stat.ephemeralOwner, owner.session.sessionId)
    const back = await connect(next, other.credentials)
    await ok(back.setData('/watched', 'new'))
    await ok(back.create('/absent'))
    assert.deepEqual(await again.events(), [
      'NodeDataChanged /watched',
      'NodeCreated /absent',
      'NodeChildrenChanged /',
    ])
    await again.close()
    assert.equal((await back.exists('/e')).err, Err.noNode)
    await back.close()
  })

  it('a session that nobody comes back to ends one timeout after the start, one that is used does not', async (t) => {
    const dir = await testDir(t)
    const settings = { tickTime: 1000 }
    const first = await startInProcess(t, dir, { settings })
    const [gone, back] = [await connect(first, { timeout: 5000 }), await connect(first, { timeout: 5000 })]
    for (const [i, client] of [gone, back].entries())
      await ok(client.create(`/e-${i}`, { flags: Flag.ephemeral }))
    await gone.drop()
    await back.drop()
    await first.close()

    const clock = manualClock()
    const second = await startInProcess(t, dir, { settings, clock })
    const reader = await connect(second, { timeout: 20_000 })
    const again = await connect(second, back.credentials)
    // (timeout, timeout + tick] after the start
    await clock.advance(5000)
    await untilOutstanding(second, 0)
    await ok(reader.exists('/e-0'))
    await again.ping()
    await clock.advance(1000)
    await untilOutstanding(second, 0)
    assert.equal((await reader.exists('/e-0')).err, Err.noNode)
    await ok(reader.exists('/e-1'))
    const late = await Client.dial(second.port)
    assert.equal((await late.handshake(gone.credentials)).timeout, 0)
    await Promise.all([reader.close(), again.close()])
  })

  it('ids are not given again', async (t) => {
    const dir = await testDir(t)
    const seen = new Set<bigint>()
    for (let round = 0; round < 3; round++) {
      const server = await startInProcess(t, dir)
      for (let i = 0; i < 20; i++) {
        const client = await connect(server)
        assert.ok(!seen.has(client.session.sessionId))
        seen.add(client.session.sessionId)
        if (i % 2 === 0) await client.close()
        else await client.drop()
      }
      await server.close()
    }
  })
})

describe('an expired session', () => {
  it('loses its connection and its ephemerals', async (t) => {
    const clock = manualClock()
    const server = await startInProcess(t, await testDir(t), { settings: { tickTime: 1000 }, clock })
    const [silent, alive] = [
      await connect(server, { timeout: 4000 }),
      await connect(server, { timeout: 9000 }),
    ]
    await ok(silent.create('/e', { flags: Flag.ephemeral }))
    await ok(alive.exists('/e', true))
    await clock.advance(4000)
    await untilOutstanding(server, 0)
    await ok(alive.exists('/e', true))
    assert.equal(silent.isClosed, false)
    await clock.advance(1000)
    await silent.closed()
    assert.deepEqual(await alive.events(), ['NodeDeleted /e'])
    await alive.close()
  })

  it('each request and each ping puts the end off', async (t) => {
    const clock = manualClock()
    const server = await startInProcess(t, await testDir(t), { settings: { tickTime: 1000 }, clock })
    const clients = await Promise.all(Array.from({ length: 3 }, () => connect(server, { timeout: 4000 })))
    const [pinging, reading, writing] = clients as [RawClient, RawClient, RawClient]
    for (let i = 0; i < 12; i++) {
      await clock.advance(1500)
      await pinging.ping()
      await ok(reading.exists('/'))
      await ok(writing.create(`/w-${i}`))
    }
    await Promise.all(clients.map((client) => client.close()))
  })
})

describe('a process that was stopped for longer than the session timeouts', () => {
  it('hears the pings that came meanwhile before it ends sessions', async (t) => {
    const server = await spawnServer(t, await testDir(t), { tickTime: 200, minSessionTimeout: 2000 })
    await server.ready()
    const alive: RawClient[] = []
    for (let i = 0; i < 10; i++) {
      const client = await connect(server, { timeout: 2000 })
      client.keepAlive(250)
      await ok(client.create(`/e-${i}`, { flags: Flag.ephemeral }))
      alive.push(client)
    }
    const silent = await connect(server, { timeout: 2000 })
    await ok(silent.create(`/e-${alive.length}`, { flags: Flag.ephemeral }))
    server.signal('SIGSTOP')
    // Longer than a session may be silent; this is what is tested, nothing is waited for.
    await delay(3500)
    server.signal('SIGCONT')
    await silent.closed()
    for (const [i, client] of alive.entries()) await ok(client.exists(`/e-${i}`))
    assert.equal((await alive[0]?.exists(`/e-${alive.length}`))?.err, Err.noNode)
    await Promise.all(alive.map((client) => client.close()))
  })

  it('also when its first act is the timer', async (t) => {
    const clock = manualClock()
    const server = await startInProcess(t, await testDir(t), { settings: { tickTime: 1000 }, clock })
    const [alive, silent] = [
      await connect(server, { timeout: 4000 }),
      await connect(server, { timeout: 4000 }),
    ]
    const ping = alive.ping()
    await clock.jump(60_000)
    await ping
    await silent.closed()
    await ok(alive.exists('/'))
    await alive.close()
  })
})

describe('100,000 sessions', () => {
  const tickTime = 1000
  const timeout = 10_000
  const count = 100_000

  it('end within a tick of their time, and staying alive costs neither timers nor writes', async (t) => {
    const { node, clock, disk } = await bareNode(t)
    const open = new Writer(4)
    open.int(timeout)
    for (let i = 0; i < count; i++)
      node.submit(Op.createSession, i + 1, 0, [], open.bytes(), 0, 4, undefined, clock.now())
    await settled(node)
    assert.equal(node.tree.sessions.size, count)
    // The calm after so many transactions brings a checkpoint, for which the node looks out.
    await clock.advance(2000)

    const began = clock.now()
    const { syncs } = disk
    const { timers } = clock
    // All come by every 2 s; from 8 s on only those whose number is a multiple of ten, and those that end in 7 stop at 4 s.
    for (let second = 2; second <= 16; second += 2) {
      await clock.advance(began + second * 1000 - clock.now())
      for (let i = 1; i <= count; i++) {
        const stops = i % 10 === 7 ? 4 : i % 10 === 0 ? 100 : 8
        if (second <= stops) node.touch(i, timeout, clock.now())
      }
      if (second < 14) {
        assert.equal(disk.syncs, syncs)
        assert.equal(clock.timers, timers)
      }
    }
    await settled(node)
    // Last heard of at 4 s: gone after 14 s and not later than 15 s. At 8 s: 18 s to 19 s.
    assert.equal(node.tree.sessions.size, count * 0.9)
    await clock.advance(began + 18_000 - clock.now())
    await settled(node)
    assert.equal(node.tree.sessions.size, count * 0.9)
    await clock.advance(tickTime)
    await settled(node)
    assert.equal(node.tree.sessions.size, count * 0.1)
    for (const id of node.tree.sessions.keys()) assert.equal(id % 10, 0)
    assert.equal(node.sessions.expiry.size, count * 0.1)
    // A tick's expirations share their syncs.
    assert.ok(disk.syncs - syncs <= 6, `${disk.syncs - syncs} syncs`)
    await node.stop()
  })
})

/** A node on stores in memory, with nothing around it. */
async function bareNode(t: TestContext) {
  const clock = manualClock()
  const { log, faults: disk } = faultyLog(memoryLog())
  const tree = new Tree()
  tree.initialize()
  const config = testConfig(await testDir(t), { tickTime: 1000 })
  const node = new Node({
    config,
    logger: memoryLogger().logger,
    clock,
    tree,
    storage: {
      log,
      checkpoint: memoryCheckpoint(),
      install: async () => assert.fail('a standalone server gets no snapshot'),
      dataDirBytes: async () => 0,
      logDirBytes: async () => 0,
      close: async () => undefined,
    },
    peers: undefined,
    random: () => 0.5,
    onFatal: (error) => {
      throw error
    },
  })
  await node.start()
  return { node, clock, disk }
}

/** Waits until everything proposed is applied. */
async function settled(node: Node): Promise<void> {
  await turns()
  while (node.outstanding > 0 || node.replica.inFlight > 0) await turns()
}

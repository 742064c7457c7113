// The sync of the log is held back: until it is done nobody may see the write, and nobody else has to wait for it.
import assert from 'node:assert/strict'
import { cp } from 'node:fs/promises'
import { describe, it, type TestContext } from 'node:test'
import { type DiskFaults, faultyLog } from '../support/disk.ts'
import {
  type InProcess,
  type InProcessOptions,
  startInProcess,
  turns,
  untilOutstanding,
} from '../support/in-process.ts'
import { seeded } from '../support/load.ts'
import { testDir } from '../support/load-process.ts'
import { type Answer, connect, Err, Flag, multiOp, ok, RawClient } from '../support/raw-client.ts'

async function startHeld(
  t: TestContext,
  options: InProcessOptions = {},
  dir?: string,
): Promise<{ server: InProcess; disk: DiskFaults }> {
  let disk: DiskFaults | undefined
  const server = await startInProcess(t, dir ?? (await testDir(t)), {
    ...options,
    wrapLog: (inner) => {
      const wrapped = faultyLog(inner)
      disk = wrapped.faults
      return wrapped.log
    },
  })
  assert.ok(disk !== undefined)
  return { server, disk }
}

/** Whether a promise has settled by the time that other sessions have been answered. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false
  promise.then(
    () => {
      settled = true
    },
    () => {
      settled = true
    },
  )
  await turns()
  return settled
}

describe('while a sync of the log is held back', () => {
  it('no reply, event or read shows the write, and others are served', async (t) => {
    const { server, disk } = await startHeld(t)
    const [writer, watcher] = [await connect(server), await connect(server)]
    await ok(writer.create('/a', { data: 'old' }))
    await ok(watcher.getData('/a', true))
    await ok(watcher.getChildren('/', true))
    const before = (await watcher.ping()).zxid
    disk.hold()
    const writes = writer.batch((): Promise<Answer<unknown>>[] => [
      writer.setData('/a', 'new'),
      writer.create('/b'),
      writer.multi([multiOp.create('/c'), multiOp.delete('/a')]),
    ])
    await untilOutstanding(server, writes.length)
    for (let round = 0; round < 5; round++) {
      const { data, stat } = await ok(watcher.getData('/a'))
      assert.deepEqual([data?.toString(), stat.version], ['old', 0])
      assert.deepEqual((await ok(watcher.getChildren('/'))).toSorted(), ['a', 'zookeeper'])
      assert.equal((await watcher.exists('/b')).err, Err.noNode)
      assert.equal((await watcher.ping()).zxid, before)
    }
    assert.deepEqual(watcher.takeEvents(), [])
    for (const write of writes) assert.equal(await isSettled(write), false)
    await disk.release()
    const replies = await Promise.all(writes)
    assert.deepEqual(
      replies.map(({ err }) => err),
      [0, 0, 0],
    )
    assert.deepEqual(await watcher.events(), ['NodeDataChanged /a', 'NodeChildrenChanged /'])
    assert.deepEqual((await ok(watcher.getChildren('/'))).toSorted(), ['b', 'c', 'zookeeper'])
    await Promise.all([writer.close(), watcher.close()])
  })

  it("the writer's own reads wait for its write, and its watch event comes before the reply", async (t) => {
    const { server, disk } = await startHeld(t)
    const client = await connect(server)
    await ok(client.create('/a', { data: 'old' }))
    await ok(client.getData('/a', true))
    const from = client.frames.length
    disk.hold()
    const pending = client.batch((): Promise<Answer<unknown>>[] => [
      client.setData('/a', 'new'),
      client.getData('/a'),
      client.ping(),
    ])
    await untilOutstanding(server, 1)
    for (const answer of pending) assert.equal(await isSettled(answer), false)
    await disk.release()
    await Promise.all(pending)
    const [write] = pending
    assert.deepEqual(client.history(from), [
      'NodeDataChanged /a',
      `reply ${(await write)?.xid}`,
      `reply ${(await pending[1])?.xid}`,
      'reply -2',
    ])
    assert.equal((await ok(client.getData('/a'))).data?.toString(), 'new')
    await client.close()
  })

  it('no session is opened, and none is closed', async (t) => {
    const { server, disk } = await startHeld(t)
    const [owner, other] = [await connect(server), await connect(server)]
    await ok(owner.create('/mine', { flags: Flag.ephemeral }))
    disk.hold()
    const newcomer = await RawClient.dial(server.port)
    const opening = newcomer.handshake()
    await untilOutstanding(server, 1)
    const closing = owner.closeSession()
    await ok(other.exists('/mine'))
    assert.equal(await isSettled(opening), false)
    assert.equal(await isSettled(closing), false)
    await ok(other.exists('/mine'))
    await disk.release()
    assert.ok((await opening).timeout > 0)
    assert.equal((await closing).err, 0)
    assert.equal((await other.exists('/mine')).err, Err.noNode)
    await Promise.all([newcomer.close(), other.close(), owner.closed()])
  })

  it('the writes of everybody gather and share one sync', async (t) => {
    const { server, disk } = await startHeld(t)
    const clients = await Promise.all(Array.from({ length: 5 }, () => connect(server)))
    disk.hold()
    const first = clients[0]?.create('/first')
    await untilOutstanding(server, 1)
    const { syncs } = disk
    const writes = clients.flatMap((client, i) =>
      client.batch(() => Array.from({ length: 20 }, (_, k) => client.create(`/n-${i}-${k}`))),
    )
    await untilOutstanding(server, 101)
    await disk.release()
    await Promise.all([first, ...writes])
    assert.equal(disk.syncs - syncs, 2)
    await Promise.all(clients.map((client) => client.close()))
  })

  it('a sync waits for the writes before it, and shows what its reply stands behind', async (t) => {
    const { server, disk } = await startHeld(t)
    const [writer, reader] = [await connect(server), await connect(server)]
    await ok(writer.create('/a', { data: 'old' }))
    disk.hold()
    const write = writer.setData('/a', 'new')
    await untilOutstanding(server, 1)
    const [sync, read] = reader.batch((): [Promise<Answer<string>>, ReturnType<RawClient['getData']>] => [
      reader.sync('/a'),
      reader.getData('/a'),
    ])
    await untilOutstanding(server, 2)
    assert.equal(await isSettled(sync), false)
    await disk.release()
    await ok(sync)
    assert.equal((await ok(read)).data?.toString(), 'new')
    await ok(write)
    await Promise.all([writer.close(), reader.close()])
  })

  it('it is not on disk either', async (t) => {
    const dir = await testDir(t)
    const { server, disk } = await startHeld(t, {}, dir)
    const client = await connect(server)
    await ok(client.create('/kept', { data: 'x' }))
    disk.hold()
    const write = client.create('/held')
    await untilOutstanding(server, 1)
    const image = await testDir(t)
    await cp(dir, image, { recursive: true })
    await disk.release()
    await ok(write)
    await client.close()
    const crashed = await startInProcess(t, image)
    const reader = await connect(crashed)
    assert.deepEqual((await ok(reader.getChildren('/'))).toSorted(), ['kept', 'zookeeper'])
    await reader.close()
  })
})

describe('reads and writes of one session, with checkpoints all the time', () => {
  it('each read shows the writes before it and none behind it', async (t) => {
    const server = await startInProcess(t, await testDir(t), { settings: { snapCount: 20 } })
    const clients = await Promise.all(Array.from({ length: 4 }, () => connect(server)))
    const random = seeded(7)
    const run = async (client: RawClient, i: number) => {
      await ok(client.create(`/r-${i}`, { data: '0' }))
      let value = 0
      for (let round = 0; round < 15; round++) {
        const reads = client.batch(() =>
          Array.from({ length: 60 }, () => {
            const roll = random()
            if (roll < 0.5) client.setData(`/r-${i}`, String(++value))
            else if (roll < 0.55) client.sync('/')
            const expected = String(value)
            return client.getData(`/r-${i}`).then((answer) => [answer.value?.data?.toString(), expected])
          }),
        )
        for (const [found, expected] of await Promise.all(reads)) assert.equal(found, expected)
      }
    }
    await Promise.all(clients.map(run))
    assert.ok(server.lines.filter(({ msg }) => msg === 'checkpoint written').length > 5)
    await Promise.all(clients.map((client) => client.close()))
  })

  it('many reads behind a write or a sync are all answered', async (t) => {
    const server = await startInProcess(t, await testDir(t))
    const client = await connect(server)
    for (const first of [() => client.sync('/'), () => client.create('/a'), () => client.sync('/')]) {
      const answers = client.batch((): Promise<Answer<unknown>>[] => [
        first(),
        ...Array.from({ length: 2000 }, () => client.exists('/')),
      ])
      await Promise.all(answers)
    }
    await client.close()
  })
})

// A disk that takes no more: writes are refused and nothing else happens to anybody, until there is room again. With
// injected faults and a clock that stands still, and on a real file system of a few MiB where one can be mounted.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { promisify } from 'node:util'
import { explain } from '../../src/cli/exit.ts'
import { storageError } from '../../src/storage/errors.ts'
import { StorageError } from '../../src/storage/types.ts'
import { type DiskFaults, faultyCheckpoint, faultyLog } from '../support/disk.ts'
import {
  type InProcess,
  type InProcessOptions,
  type ManualClock,
  manualClock,
  overriding,
  startInProcess,
  testConfig,
  untilOutstanding,
} from '../support/in-process.ts'
import { seeded } from '../support/load.ts'
import { atEnd, spawnServer, testDir } from '../support/load-process.ts'
import { connect, Err, Flag, ok, RawClient, within } from '../support/raw-client.ts'

const run = promisify(execFile)
const mebibyte = 1 << 20
const systemError = -1

type Faulty = { server: InProcess; disk: DiskFaults; clock: ManualClock; dir: string }

/** A server whose log can be made to fail. */
async function startFaulty(t: TestContext, options: InProcessOptions = {}): Promise<Faulty> {
  const clock = manualClock()
  const dir = await testDir(t)
  let disk: DiskFaults | undefined
  const server = await startInProcess(t, dir, {
    clock,
    wrapLog: (inner) => {
      const wrapped = faultyLog(inner)
      disk = wrapped.faults
      return wrapped.log
    },
    ...options,
  })
  assert.ok(disk !== undefined)
  return { server, disk, clock, dir }
}

/** Fails the append of a write that somebody is waiting for. */
async function fillDisk({ server, disk }: Faulty): Promise<void> {
  const victim = await connect(server)
  disk.failNext('full')
  await assert.rejects(victim.create('/lost'), { name: 'ClosedError' })
  await victim.closed()
}

/** Makes room and lets the server find out. */
async function makeRoom({ server, disk, clock }: Faulty): Promise<void> {
  const from = server.lines.length
  disk.repair()
  await clock.advance(1000)
  await server.logged(/takes writes again/, from)
}

describe('a log that can not be written', () => {
  it('cuts off those whose writes it concerns, refuses further writes, and serves reads', async (t) => {
    const faulty = await startFaulty(t)
    const { server, disk } = faulty
    const [writer, reader] = [await connect(server), await connect(server)]
    await ok(writer.create('/a', { data: 'kept' }))
    await ok(reader.getData('/a', true))
    disk.failNext('full')
    const failed = writer.setData('/a', 'lost')
    await assert.rejects(failed, { name: 'ClosedError' })
    assert.equal((await ok(reader.getData('/a'))).data?.toString(), 'kept')
    assert.equal((await reader.setData('/a', 'refused')).err, systemError)
    assert.equal((await reader.create('/b')).err, systemError)
    assert.equal((await reader.closeSession()).err, systemError)
    assert.deepEqual(await reader.events(), [])
    const line = await server.logged(/the log can not be written/)
    assert.equal(line.level, 'error')
    assert.match(line.msg, /Make room on this file system/)
    await makeRoom(faulty)
    await ok(reader.setData('/a', 'again'))
    assert.deepEqual(await reader.events(), ['NodeDataChanged /a'])
    await reader.close()
  })

  it('keeps all sessions, and gives each its full timeout when it works again', async (t) => {
    const faulty = await startFaulty(t, { settings: { tickTime: 1000 } })
    const { server, clock } = faulty
    const client = await connect(server, { timeout: 10_000 })
    await ok(client.create('/mine', { flags: Flag.ephemeral }))
    await client.drop()
    const watcher = await connect(server, { timeout: 20_000 })
    await fillDisk(faulty)
    await clock.advance(60_000)
    await ok(watcher.exists('/mine'))
    await makeRoom(faulty)
    await clock.advance(9000)
    await ok(watcher.exists('/mine'))
    const again = await connect(server, { ...client.credentials, timeout: 10_000 })
    await ok(again.exists('/mine'))
    await again.drop()
    await clock.advance(12_000)
    await untilOutstanding(server, 0)
    assert.equal((await watcher.exists('/mine')).err, Err.noNode)
    await watcher.close()
  })

  it('leaves a session open whose close it could not note', async (t) => {
    const faulty = await startFaulty(t)
    const { server, disk } = faulty
    const client = await connect(server)
    await ok(client.create('/mine', { flags: Flag.ephemeral }))
    disk.failNext('full')
    await assert.rejects(client.closeSession(), { name: 'ClosedError' })
    const again = await connect(server, client.credentials)
    await ok(again.exists('/mine'))
    await makeRoom(faulty)
    await ok(again.exists('/mine'))
    await again.close()
    const reader = await connect(server)
    assert.equal((await reader.exists('/mine')).err, Err.noNode)
    await reader.close()
  })

  it('opens no new session, and lets those that are open come back', async (t) => {
    const faulty = await startFaulty(t)
    const { server } = faulty
    const client = await connect(server)
    await client.drop()
    await fillDisk(faulty)
    const stranger = await RawClient.dial(server.port)
    await assert.rejects(stranger.handshake(), { name: 'ClosedError' })
    const again = await connect(server, client.credentials)
    await ok(again.exists('/'))
    await makeRoom(faulty)
    await again.close()
  })

  it('fails again and again, and loses nothing that was acknowledged', async (t) => {
    const faulty = await startFaulty(t)
    const { server, disk, dir } = faulty
    const acknowledged: string[] = []
    const lost: string[] = []
    for (let round = 0; round < 5; round++) {
      const clients = await Promise.all([connect(server), connect(server), connect(server)])
      for (const [i, client] of clients.entries()) {
        await ok(client.create(`/kept-${round}-${i}`))
        acknowledged.push(`kept-${round}-${i}`)
      }
      disk.hold()
      const writes = clients.map((client, i) => client.create(`/lost-${round}-${i}`))
      await untilOutstanding(server, writes.length)
      disk.failNext('full')
      await disk.release()
      for (const [i, write] of writes.entries()) {
        await assert.rejects(write, { name: 'ClosedError' })
        lost.push(`lost-${round}-${i}`)
      }
      await makeRoom(faulty)
    }
    const check = async (port: number) => {
      const reader = await connect({ port })
      const found = (await ok(reader.getChildren('/'))).filter((name) => name !== 'zookeeper')
      assert.deepEqual(found.toSorted(), acknowledged.toSorted())
      await reader.close()
    }
    await check(server.port)
    await server.close()
    await check((await startInProcess(t, dir)).port)
  })

  it('may have taken the write that failed: then everybody sees it once the log works again', async (t) => {
    let failing = false
    const clock = manualClock()
    const server = await startInProcess(t, await testDir(t), {
      clock,
      wrapLog: (inner) =>
        overriding(inner, {
          append: async (entries) => {
            await inner.append(entries)
            if (failing) throw storageError('io', 'test-disk', 'the write is there, and its sync failed')
          },
          reopen: async () => {
            if (failing) throw storageError('io', 'test-disk', 'still broken')
            await inner.reopen()
          },
        }),
    })
    const [writer, watcher] = [await connect(server), await connect(server)]
    await ok(writer.create('/a', { data: 'old' }))
    await ok(watcher.getData('/a', true))
    failing = true
    await assert.rejects(writer.setData('/a', 'new'), { name: 'ClosedError' })
    await clock.advance(3000)
    assert.equal((await ok(watcher.getData('/a'))).data?.toString(), 'old')
    assert.deepEqual(await watcher.events(), [])
    failing = false
    await clock.advance(1000)
    await server.logged(/takes writes again/)
    assert.deepEqual(await watcher.events(), ['NodeDataChanged /a'])
    assert.equal((await ok(watcher.getData('/a'))).data?.toString(), 'new')
    await ok(watcher.setData('/a', 'newer'))
    await watcher.close()
  })

  it('does not keep the server from being closed, and the next start has what was acknowledged', async (t) => {
    const faulty = await startFaulty(t)
    const { server, dir } = faulty
    const client = await connect(server)
    await ok(client.create('/a'))
    await fillDisk(faulty)
    await server.close()
    const next = await startInProcess(t, dir)
    const reader = await connect(next, client.credentials)
    assert.deepEqual((await ok(reader.getChildren('/'))).toSorted(), ['a', 'zookeeper'])
    await reader.close()
  })

  it('ends a first start with exit code 3, and leaves nothing open behind it', async (t) => {
    const dir = await testDir(t)
    const start = startInProcess(t, dir, {
      wrapLog: (inner) => {
        const { log, faults } = faultyLog(inner)
        const { saveEpochs } = log
        let saved = 0
        return overriding(log, {
          saveEpochs: async (epochs) => {
            await saveEpochs(epochs)
            // The settings of the ensemble are the next to be written.
            if (++saved === 2) faults.failNext('full')
          },
        })
      },
    })
    const error = await start.then(
      () => assert.fail('it started'),
      (reason: unknown) => reason,
    )
    assert.ok(error instanceof StorageError && error.kind === 'full')
    assert.equal(explain(error, testConfig(dir)).code, 3)
    const next = await startInProcess(t, dir)
    const client = await connect(next)
    await ok(client.create('/a'))
    await client.close()
  })
})

describe('a checkpoint that can not be written', () => {
  const settings = { snapCount: 10 }

  it('is told, and writes go on; the next one makes up for it', async (t) => {
    const clock = manualClock()
    const dir = await testDir(t)
    let disk: DiskFaults | undefined
    const server = await startInProcess(t, dir, {
      clock,
      settings,
      wrapCheckpoint: (inner) => {
        const { checkpoint, faults } = faultyCheckpoint(inner)
        disk = faults
        return checkpoint
      },
    })
    const client = await connect(server)
    await createMany(client, 'before', 30)
    await server.logged(/checkpoint written/)
    disk?.failNext('full')
    await createMany(client, 'failing', 30)
    const line = await server.logged(/checkpoint failed, will be tried again/)
    assert.match(line.msg, /Make room/)
    await client.delete('/before-3')
    await clock.jump(6000)
    await createMany(client, 'still', 30)
    disk?.repair()
    await clock.jump(6000)
    const from = server.lines.length
    await createMany(client, 'after', 30)
    await server.logged(/checkpoint written/, from)
    await createMany(client, 'last', 30)
    const names = (await ok(client.getChildren('/'))).toSorted()
    await client.close()
    await server.close()
    await assertChildren(t, dir, names)
  })

  it('because its store failed while nothing was written to it: the next one is complete', async (t) => {
    const clock = manualClock()
    const dir = await testDir(t)
    let broken = false
    const server = await startInProcess(t, dir, {
      clock,
      settings,
      wrapCheckpoint: (inner) =>
        overriding(inner, {
          reopen: async () => {
            if (broken) throw storageError('full', 'test-disk', 'no room to delete a replaced checkpoint')
            await inner.reopen()
          },
        }),
    })
    const client = await connect(server)
    await createMany(client, 'before', 30)
    await server.logged(/checkpoint written/)
    broken = true
    // One that was under way already may come to its end first, and takes some of these with it.
    const failed = () => server.lines.some(({ msg }) => /checkpoint failed/.test(msg))
    for (let round = 0; round < 20 && !failed(); round++) await createMany(client, `failing-${round}-`, 30)
    await server.logged(/checkpoint failed/)
    broken = false
    await clock.jump(6000)
    const from = server.lines.length
    await createMany(client, 'after', 30)
    await server.logged(/checkpoint written/, from)
    const names = (await ok(client.getChildren('/'))).toSorted()
    await client.close()
    await server.close()
    await assertChildren(t, dir, names)
  })

  it('because of an error that is no failure of the disk ends the server', async (t) => {
    const server = await startInProcess(t, await testDir(t), {
      settings,
      wrapCheckpoint: (inner) =>
        overriding(inner, { commit: () => Promise.reject(new TypeError('a bug in this place')) }),
    })
    const client = await connect(server)
    for (let i = 0; i < 10; i++) void client.create(`/n-${i}`)
    const error = await within(server.finished, 'the server ends')
    assert.equal(error?.name, 'TypeError')
    await client.drop()
  })
})

describe('a file system without room', () => {
  it('stops writes until there is room, and loses nothing', async (t) => {
    const disk = await smallDisk(t, 64)
    if (disk === undefined) return t.skip('no tmpfs can be mounted here')
    const dir = await testDir(t)
    const config = { dataDir: join(disk, 'data'), snapCount: 100_000 }
    const server = await spawnServer(t, dir, config)
    await server.ready()
    const ballast = join(disk, 'ballast')
    // What is left fits twice into what it will be: the log comes back by being written anew.
    await writeFile(ballast, Buffer.alloc(50 * mebibyte))
    const owner = await connect(server)
    await ok(owner.create('/session', { flags: Flag.ephemeral }))
    const reader = await connect(server)
    const acknowledged = new Map<string, Buffer>()
    const writer = await connect(server)
    let next = 0
    const write = async (client: RawClient) => {
      const path = `/v-${next++}`
      const data = noise(100_000, next)
      const { err } = await client.create(path, { data })
      if (err === 0) acknowledged.set(path, data)
      return err
    }
    // The first write that does not fit cuts its client off; the server says why.
    await assert.rejects(
      async () => {
        while (next < 1000) assert.equal(await write(writer), 0)
      },
      { name: 'ClosedError' },
    )
    assert.ok(acknowledged.size > 10)
    assert.match(server.log(), /the log can not be written, writes stop: Make room on this file system/)
    assert.equal(await write(reader), systemError)
    for (const [path, data] of acknowledged) assert.deepEqual((await ok(reader.getData(path))).data, data)
    await rm(ballast)
    // The server looks once a second.
    for (let tries = 0; (await write(reader)) !== 0; tries++) {
      assert.ok(tries < 1000, server.log())
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    assert.match(server.log(), /the log takes writes again/)
    await ok(owner.exists('/session'))
    for (let i = 0; i < 10; i++) assert.equal(await write(owner), 0)
    server.signal('SIGKILL')
    await server.exited()
    const restarted = await spawnServer(t, dir, config)
    await restarted.ready()
    const again = await connect(restarted, owner.credentials)
    await ok(again.exists('/session'))
    for (const [path, data] of acknowledged) assert.deepEqual((await ok(again.getData(path))).data, data)
    t.diagnostic(`${acknowledged.size} values of 100 kB acknowledged`)
    await again.close()
  })

  it('fails the checkpoint while the log, on another one, goes on', async (t) => {
    const disk = await smallDisk(t, 20)
    if (disk === undefined) return t.skip('no tmpfs can be mounted here')
    const dir = await testDir(t)
    const logDir = join(dir, 'log')
    await mkdir(logDir)
    const clock = manualClock()
    const settings = { dataDir: join(disk, 'data'), dataLogDir: logDir, snapCount: 10 }
    const server = await startInProcess(t, dir, { clock, settings })
    const client = await connect(server)
    await createMany(client, 'before', 20)
    await server.logged(/checkpoint written/)
    const ballast = join(disk, 'ballast')
    await writeFile(ballast, Buffer.alloc(18 * mebibyte))
    const written = new Map<string, Buffer>()
    for (let i = 0; i < 40; i++) {
      const data = noise(100_000, i)
      await ok(client.create(`/v-${i}`, { data }))
      written.set(`/v-${i}`, data)
    }
    await server.logged(/checkpoint failed, will be tried again: Make room/)
    await rm(ballast)
    await clock.jump(6000)
    const from = server.lines.length
    await createMany(client, 'after', 20)
    await server.logged(/checkpoint written/, from)
    const names = (await ok(client.getChildren('/'))).toSorted()
    await client.close()
    await server.close()
    const next = await startInProcess(t, dir, { settings })
    const reader = await connect(next)
    assert.deepEqual((await ok(reader.getChildren('/'))).toSorted(), names)
    for (const [path, data] of written) assert.deepEqual((await ok(reader.getData(path))).data, data)
    await reader.close()
  })
})

async function createMany(client: RawClient, name: string, count: number): Promise<void> {
  for (let i = 0; i < count; i++) await ok(client.create(`/${name}-${i}`))
}

async function assertChildren(t: TestContext, dir: string, names: readonly string[]): Promise<void> {
  const server = await startInProcess(t, dir)
  const reader = await connect(server)
  assert.deepEqual((await ok(reader.getChildren('/'))).toSorted(), names)
  await reader.close()
}

/** Bytes that do not compress. */
function noise(length: number, seed: number): Buffer {
  const random = seeded(seed)
  const bytes = Buffer.alloc(length)
  for (let i = 0; i + 4 <= length; i += 4) bytes.writeUInt32LE(Math.floor(random() * 2 ** 32), i)
  return bytes
}

/** A file system of that many MiB; undefined where it can not be mounted. */
async function smallDisk(t: TestContext, sizeMebibytes: number): Promise<string | undefined> {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return undefined
  const dir = await testDir(t)
  try {
    await run('mount', ['-t', 'tmpfs', '-o', `size=${sizeMebibytes}m`, 'zabd-test', dir])
  } catch {
    return undefined
  }
  atEnd(t, () => run('umount', [dir]))
  return dir
}

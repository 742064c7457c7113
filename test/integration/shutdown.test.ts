// SIGTERM: what the server has taken it answers, then it closes connections and files, and the next start finds
// everything at once. A whole process, and the same inside the test's where a disk must be held back.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type DiskFaults, faultyLog } from '../support/disk.ts'
import { overriding, startInProcess, untilOutstanding } from '../support/in-process.ts'
import { Load, seeded } from '../support/load.ts'
import { spawnServer, testDir } from '../support/load-process.ts'
import { type Answer, connect, ok } from '../support/raw-client.ts'

describe('SIGTERM', () => {
  it('under continuous load ends the server, exit code 0, with nothing lost and nothing to replay', async (t) => {
    const dir = await testDir(t)
    const load = new Load(6, seeded(11))
    const server = await spawnServer(t, dir)
    await server.ready()
    await load.prepare(server.port)
    await load.run(server.port, async () => {
      await load.acknowledged(500)
      server.signal('SIGTERM')
      assert.equal(await server.exited(), 0)
    })
    assert.match(server.log(), /"msg":"stopped"/)
    const next = await spawnServer(t, dir)
    await next.ready()
    await load.verify(next.port)
    assert.doesNotMatch(next.log(), /log replayed/)
    assert.match(next.log(), /checkpoint loaded/)
  })

  it('twice in a row, and without a single client, is a clean end too', async (t) => {
    const dir = await testDir(t)
    for (let round = 0; round < 2; round++) {
      const server = await spawnServer(t, dir)
      await server.ready()
      server.signal('SIGTERM')
      assert.equal(await server.exited(), 0)
    }
  })
})

describe('closing a server', () => {
  it('answers the writes that it has taken, then closes the connections', async (t) => {
    let disk: DiskFaults | undefined
    const server = await startInProcess(t, await testDir(t), {
      wrapLog: (inner) => {
        const wrapped = faultyLog(inner)
        disk = wrapped.faults
        return wrapped.log
      },
    })
    const clients = await Promise.all([connect(server), connect(server)])
    disk?.hold()
    const answers = clients.flatMap((client, i) =>
      client.batch((): Promise<Answer<unknown>>[] => [
        client.create(`/a-${i}`),
        client.exists(`/a-${i}`),
        client.create(`/b-${i}`),
        client.getData(`/b-${i}`),
      ]),
    )
    await untilOutstanding(server, 4)
    const closed = server.close()
    // Comes too late: it is not executed, and its client learns so from the end of the connection.
    const late = clients[0]?.create('/late')
    await disk?.release()
    const errors = (await Promise.all(answers)).map(({ err }) => err)
    assert.deepEqual(errors, Array(8).fill(0))
    await assert.rejects(late as Promise<unknown>, { name: 'ClosedError' })
    await Promise.all(clients.map((client) => client.closed()))
    await closed
  })

  it('takes the connections down before the last checkpoint is written', async (t) => {
    let release = () => {}
    const gate = new Promise<void>((resolve) => {
      release = resolve
    })
    const server = await startInProcess(t, await testDir(t), {
      wrapCheckpoint: (inner) =>
        overriding(inner, {
          commit: async (meta) => {
            await gate
            await inner.commit(meta)
          },
        }),
    })
    const client = await connect(server)
    await ok(client.create('/a'))
    const closed = server.close()
    await client.closed()
    release()
    await closed
  })

  it('leaves the sessions open', async (t) => {
    const dir = await testDir(t)
    const server = await startInProcess(t, dir)
    const client = await connect(server)
    await ok(client.create('/e', { flags: 1 }))
    await server.close()
    const next = await startInProcess(t, dir)
    const again = await connect(next, { ...client.credentials, timeout: 30_000 })
    assert.equal((await ok(again.exists('/e'))).ephemeralOwner, client.session.sessionId)
    await again.close()
  })
})

// Starting on data that is there: who may have it, what is told meanwhile, and when clients are let in.
import assert from 'node:assert/strict'
import { cp } from 'node:fs/promises'
import { createServer } from 'node:net'
import { describe, it } from 'node:test'
import type { Entry } from '../../src/zab/types.ts'
import { type LogLine, manualClock, overriding, startInProcess } from '../support/in-process.ts'
import { spawnServer, testDir } from '../support/load-process.ts'
import { connect, type MultiOp, multiOp, ok, type RawClient } from '../support/raw-client.ts'

describe('a start that can not be', () => {
  it('on data that another process has open ends with exit code 3 and names the directory', async (t) => {
    const dir = await testDir(t)
    const first = await spawnServer(t, dir)
    await first.ready()
    const client = await connect(first)
    const second = await spawnServer(t, dir)
    assert.equal(await second.exited(), 3)
    const line = lastLine(second.log())
    assert.equal(line.level, 'fatal')
    assert.match(line.msg, /Another zabd process uses this directory/)
    assert.ok(line.msg.includes(`${dir}/data/zabd`), line.msg)
    // The first one has not noticed anything.
    await ok(client.create('/still-here'))
    await client.close()
  })

  it('on a port that is in use ends with exit code 4 and names the address', async (t) => {
    const other = createServer()
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
    t.after(() => other.close())
    const address = other.address()
    const port = typeof address === 'object' ? address?.port : undefined
    const server = await spawnServer(t, await testDir(t), { clientPort: port ?? 0 })
    assert.equal(await server.exited(), 4)
    const line = lastLine(server.log())
    assert.equal(line.level, 'fatal')
    assert.ok(line.msg.includes(`127.0.0.1:${port} is in use`), line.msg)
  })

  it('leaves the data as it was, for the next', async (t) => {
    const dir = await testDir(t)
    const first = await startInProcess(t, dir)
    const client = await connect(first)
    await ok(client.create('/a'))
    const clash = startInProcess(t, await testDir(t), { settings: { clientPort: first.port } })
    await assert.rejects(clash, { code: 'EADDRINUSE' })
    await assert.rejects(startInProcess(t, dir), { name: 'StorageError', kind: 'locked' })
    await ok(client.create('/b'))
    await client.close()
    await first.close()
    const next = await startInProcess(t, dir)
    const reader = await connect(next)
    assert.deepEqual((await ok(reader.getChildren('/'))).toSorted(), ['a', 'b', 'zookeeper'])
    await reader.close()
  })
})

describe('a start after a crash', () => {
  it('lets nobody in before everything is replayed', async (t) => {
    const dir = await testDir(t)
    const first = await startInProcess(t, dir)
    const client = await connect(first, { timeout: 40_000 })
    for (let i = 0; i < 50; i++) await ok(client.create(`/n-${i}`))
    const image = await testDir(t)
    await cp(dir, image, { recursive: true })
    let release = () => {}
    const gate = new Promise<void>((resolve) => {
      release = resolve
    })
    let atGate = () => {}
    const reached = new Promise<void>((resolve) => {
      atGate = resolve
    })
    let serving = false
    const starting = startInProcess(t, image, {
      wrapLog: (inner) =>
        overriding(inner, {
          read: async function* (after): AsyncGenerator<Entry, void, void> {
            let count = 0
            for await (const entry of inner.read(after)) {
              yield entry
              if (++count !== 10) continue
              atGate()
              await gate
            }
          },
        }),
    }).then((server) => {
      serving = true
      return server
    })
    await reached
    assert.equal(serving, false)
    release()
    const next = await starting
    const again = await connect(next, { ...client.credentials, timeout: 40_000 })
    assert.equal((await ok(again.getChildren('/'))).length, 51)
    await Promise.all([again.close(), client.close()])
  })

  it('has nothing to replay if the server had nothing to do before it', async (t) => {
    const dir = await testDir(t)
    const first = await startInProcess(t, dir, { settings: { snapCount: 50 } })
    const client = await connect(first, { timeout: 40_000 })
    const { zxid } = await client.create('/a')
    const isDone = () => {
      const done = first.lines.filter(({ msg }) => msg === 'checkpoint written')
      return done.some((line) => line.zxid === `0x${zxid.toString(16)}`)
    }
    for (let from = 0; !isDone(); from++) await first.logged(/^checkpoint written$/, from)
    const image = await testDir(t)
    await cp(dir, image, { recursive: true })
    const next = await startInProcess(t, image)
    assert.ok(next.lines.every(({ msg }) => msg !== 'log replayed'))
    const again = await connect(next, { ...client.credentials, timeout: 40_000 })
    assert.deepEqual((await ok(again.getChildren('/'))).toSorted(), ['a', 'zookeeper'])
    await Promise.all([again.close(), client.close()])
  })
})

describe('a tree of 200,000 znodes', () => {
  it('comes back whole from log and checkpoint, and the start tells how far it is', async (t) => {
    const dir = await testDir(t)
    const first = await startInProcess(t, dir, { settings: { snapCount: 100 } })
    const client = await connect(first)
    await fill(client, 'checkpointed', 100_000)
    await first.close()
    const second = await spawnServer(t, dir)
    await second.ready()
    const writer = await connect(second)
    await fill(writer, 'logged', 100_000)
    second.signal('SIGKILL')
    await second.exited()

    // A clock that runs fast: every look at it is two seconds later.
    const clock = manualClock()
    let now = clock.now()
    const fast = overriding(clock, {
      now: () => {
        now += 2000
        return now
      },
    })
    const third = await startInProcess(t, dir, { clock: fast })
    const told = (message: RegExp) => third.lines.filter(({ msg }) => message.test(msg))
    assert.ok(told(/^loading the checkpoint$/).length > 0)
    assert.ok(told(/^replaying the log$/).length > 0)
    const [loaded] = told(/^checkpoint loaded$/)
    assert.ok(Number(loaded?.znodes) > 100_000)
    const [ready] = told(/ready to serve/)
    // Counted as srvr does: the root twice.
    assert.equal(ready?.znodes, 200_007)
    const reader = await connect(third)
    for (const top of ['checkpointed', 'logged']) {
      const names = await ok(reader.getChildren(`/${top}`))
      assert.equal(new Set(names).size, 100_000)
      const sample = names.filter((_, i) => i % 997 === 0)
      const answers = await Promise.all(sample.map((name) => ok(reader.getData(`/${top}/${name}`))))
      assert.deepEqual(
        answers.map(({ data }) => data?.toString()),
        sample,
      )
    }
    await reader.close()
  })
})

/** Creates `/<top>` with children whose data is their name, a thousand in each multi. */
async function fill(client: RawClient, top: string, count: number): Promise<void> {
  await ok(client.create(`/${top}`))
  const answers = []
  for (let i = 0; i < count; i += 1000) {
    const ops: MultiOp[] = []
    for (let k = i; k < i + 1000; k++) ops.push(multiOp.create(`/${top}/n-${k}`, { data: `n-${k}` }))
    answers.push(ok(client.multi(ops)))
  }
  await Promise.all(answers)
}

function lastLine(log: string): LogLine {
  return JSON.parse(log.trimEnd().split('\n').at(-1) ?? '') as LogLine
}

// Order: one session's requests and replies, events against replies, what other sessions see (semantics.md 8, wire.md 9).
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type Answer, code, Err, Flag, ok, type RawClient } from '../support/raw-client.ts'
import { sharedServer } from '../support/server.ts'

const zk = sharedServer()

describe('one session', () => {
  test('a read in the same chunk as the write before it sees the write', async () => {
    const client = await zk.connect()
    const [, read, , children] = client.batch(() => [
      client.create('/raw', { data: 'x' }),
      client.getData('/raw'),
      client.create('/raw/c'),
      client.getChildren('/raw'),
    ])
    assert.deepEqual((await ok(read)).data, Buffer.from('x'))
    assert.deepEqual(await ok(children), ['c'])
  })

  test('a read sees none of the writes behind it', async () => {
    const client = await zk.connect()
    const [, read, ,] = client.batch(() => [
      client.create('/behind', { data: 'old' }),
      client.getData('/behind'),
      client.setData('/behind', 'new'),
    ])
    assert.deepEqual((await ok(read)).data, Buffer.from('old'))
  })

  test('writes take effect in the order they were sent', async () => {
    const client = await zk.connect()
    await ok(client.create('/fifo'))
    const replies = client.batch(() =>
      Array.from({ length: 200 }, () => client.create('/fifo/n-', { flags: Flag.sequential })),
    )
    const paths = await Promise.all(replies.map(ok))
    assert.deepEqual(paths, paths.toSorted())
    const zxids = (await Promise.all(replies)).map((reply) => reply.zxid)
    assert.deepEqual(
      zxids,
      zxids.map((_, i) => (zxids[0] ?? 0n) + BigInt(i)),
    )
  })

  test('replies come in the order of the requests, reads and writes mixed', async () => {
    const client = await zk.connect()
    await ok(client.create('/mix'))
    const from = client.frames.length
    const replies = client.batch(() =>
      Array.from({ length: 100 }, (_, i): Promise<Answer<unknown>> => {
        if (i % 4 === 0) return client.setData('/mix', String(i))
        if (i % 4 === 1) return client.getData('/mix')
        if (i % 4 === 2) return client.sync('/mix')
        return client.ping()
      }),
    )
    await Promise.all(replies)
    assert.deepEqual(
      client.history(from),
      Array.from({ length: 100 }, (_, i) =>
        i % 4 === 3 ? 'reply -2' : `reply ${i + 2 - Math.floor(i / 4)}`,
      ),
    )
  })

  test('every read between writes shows the write right before it', async () => {
    const client = await zk.connect()
    await ok(client.create('/between'))
    const reads = client.batch(() =>
      Array.from({ length: 50 }, (_, i) => {
        client.setData('/between', String(i))
        return client.getData('/between')
      }),
    )
    const data = (await Promise.all(reads.map(ok))).map((read) => read.data?.toString())
    assert.deepEqual(
      data,
      Array.from({ length: 50 }, (_, i) => String(i)),
    )
  })

  test('a failed write does not disturb the requests around it', async () => {
    const client = await zk.connect()
    const replies = client.batch((): Promise<Answer<unknown>>[] => [
      client.create('/around'),
      client.create('/around'),
      client.delete('/around', 7),
      client.setData('/around', 'x'),
      client.exists('/around'),
    ])
    assert.deepEqual(await Promise.all(replies.map(code)), [0, Err.nodeExists, Err.badVersion, 0, 0])
  })

  test('the zxids of replies never go back', async () => {
    const [client, other] = [await zk.connect(), await zk.connect()]
    await ok(client.create('/never-back'))
    const noise = other.batch(() => Array.from({ length: 100 }, (_, i) => other.create(`/noise-${i}`)))
    const replies = client.batch(() =>
      Array.from(
        { length: 100 },
        (_, i): Promise<Answer<unknown>> =>
          i % 3 === 0 ? client.setData('/never-back', 'x') : client.exists('/never-back'),
      ),
    )
    const zxids = (await Promise.all(replies)).map((reply) => reply.zxid)
    assert.deepEqual(
      zxids,
      zxids.toSorted((a, b) => Number(a - b)),
    )
    await Promise.all(noise)
  })
})

describe('events and replies', () => {
  test("the event of a session's own write comes right before the write's reply, with its zxid", async () => {
    const client = await zk.connect()
    await ok(client.create('/own'))
    await ok(client.getData('/own', true))
    const from = client.frames.length
    const { zxid } = await client.setData('/own', 'x')
    assert.deepEqual(client.history(from), ['NodeDataChanged /own', 'reply 3'])
    assert.equal(client.takeEvents()[0]?.zxid, zxid)
  })

  test('a chunk of watch, write, watch, write: each event between the right replies', async () => {
    const client = await zk.connect()
    await ok(client.create('/woven'))
    const from = client.frames.length
    const replies = client.batch((): Promise<Answer<unknown>>[] => [
      client.getData('/woven', true),
      client.setData('/woven', 'a'),
      client.getData('/woven', true),
      client.setData('/woven', 'b'),
      client.exists('/woven'),
    ])
    await Promise.all(replies)
    assert.deepEqual(client.history(from), [
      'reply 2',
      'NodeDataChanged /woven',
      'reply 3',
      'reply 4',
      'NodeDataChanged /woven',
      'reply 5',
      'reply 6',
    ])
  })

  test("a client gets the event of another's change before a reply that shows the change", async () => {
    const [watcher, writer] = [await zk.connect(), await zk.connect()]
    await ok(writer.create('/shown', { data: '0' }))
    for (let round = 1; round <= 50; round++) {
      const { data } = await ok(watcher.getData('/shown', true))
      const before = data?.toString()
      const from = watcher.frames.length
      const write = writer.setData('/shown', String(round))
      // Reads race with the write; the first that shows it must come behind the event.
      const reads = watcher.batch(() => Array.from({ length: 10 }, () => watcher.getData('/shown')))
      const answers = await Promise.all(reads)
      await ok(write)
      await watcher.ping()
      const eventAt = watcher.frames.findIndex((frame, index) => index >= from && frame.kind === 'event')
      assert.ok(eventAt >= 0)
      const firstShown = answers.find((answer) => answer.value?.data?.toString() !== before)
      if (firstShown === undefined) continue
      const shownAt = watcher.frames.findIndex((frame) => frame.raw === firstShown.raw)
      assert.ok(eventAt < shownAt, `event at ${eventAt}, reply at ${shownAt}`)
    }
  })

  test('all events of one write come before its reply, in the order node, parent', async () => {
    const client = await zk.connect()
    await ok(client.create('/several'))
    await ok(client.create('/several/c'))
    await ok(client.getData('/several/c', true))
    await ok(client.getChildren('/several', true))
    const from = client.frames.length
    await ok(client.delete('/several/c'))
    assert.deepEqual(client.history(from), [
      'NodeDeleted /several/c',
      'NodeChildrenChanged /several',
      'reply 5',
    ])
  })

  test('events of several writes come in the order of the writes', async () => {
    const [watcher, writer] = [await zk.connect(), await zk.connect()]
    await ok(watcher.addWatch('/in-order', 1))
    await ok(writer.create('/in-order'))
    const writes = writer.batch(() => Array.from({ length: 100 }, (_, i) => writer.create(`/in-order/${i}`)))
    await Promise.all(writes.map(ok))
    assert.deepEqual(
      await watcher.events(),
      ['/in-order', ...Array.from({ length: 100 }, (_, i) => `/in-order/${i}`)].map(
        (path) => `NodeCreated ${path}`,
      ),
    )
  })
})

describe('several sessions', () => {
  test('after the reply to a write, every other session of this server sees it', async () => {
    const [writer, reader] = [await zk.connect(), await zk.connect()]
    for (let i = 0; i < 20; i++) {
      await ok(writer.create(`/seen-${i}`))
      assert.equal(await code(reader.exists(`/seen-${i}`)), 0)
    }
  })

  test('concurrent conditional writes: exactly one of each version wins', async () => {
    const clients = await Promise.all(Array.from({ length: 5 }, () => zk.connect()))
    await ok((clients[0] as RawClient).create('/race'))
    for (let version = 0; version < 10; version++) {
      const codes = await Promise.all(clients.map((client) => code(client.setData('/race', 'x', version))))
      assert.deepEqual(
        codes.toSorted((a, b) => b - a),
        [0, Err.badVersion, Err.badVersion, Err.badVersion, Err.badVersion],
      )
    }
  })

  test('concurrent creates of one node: exactly one wins', async () => {
    const clients = await Promise.all(Array.from({ length: 5 }, () => zk.connect()))
    const codes = await Promise.all(clients.map((client) => code(client.create('/race-create'))))
    assert.equal(codes.filter((error) => error === 0).length, 1)
    assert.equal(codes.filter((error) => error === Err.nodeExists).length, 4)
  })

  test('concurrent sequential creates get different numbers without a gap', async () => {
    const clients = await Promise.all(Array.from({ length: 5 }, () => zk.connect()))
    await ok((clients[0] as RawClient).create('/race-seq'))
    const paths = await Promise.all(
      clients.flatMap((client) =>
        client.batch(() =>
          Array.from({ length: 20 }, () => ok(client.create('/race-seq/n-', { flags: Flag.sequential }))),
        ),
      ),
    )
    assert.deepEqual(
      paths.toSorted(),
      Array.from({ length: 100 }, (_, i) => `/race-seq/n-${String(i).padStart(10, '0')}`),
    )
  })
})

describe('sync', () => {
  test('is answered in order, behind the writes before it', async () => {
    const client = await zk.connect()
    const [write, sync, read] = client.batch(() => [
      client.create('/synced'),
      client.sync('/synced'),
      client.exists('/synced'),
    ])
    await Promise.all([write, sync, read])
    assert.deepEqual(client.history(), ['reply 1', 'reply 2', 'reply 3'])
    assert.ok((await sync).zxid >= (await write).zxid)
  })

  test('behind the reply to a sync, what others had written before it is seen', async () => {
    const [writer, reader] = [await zk.connect(), await zk.connect()]
    const { zxid } = await writer.create('/sync-other')
    const [sync, read] = reader.batch(() => [reader.sync('/'), reader.exists('/sync-other')])
    assert.ok((await sync).zxid >= zxid)
    assert.equal(await code(read), 0)
  })
})

describe('globalOutstandingLimit', () => {
  const narrow = sharedServer({ globalOutstandingLimit: 5 })

  test('requests above it wait and are all served, without an error', async () => {
    const client = await narrow.connect()
    const replies = client.batch(() => Array.from({ length: 500 }, (_, i) => client.create(`/wait-${i}`)))
    assert.deepEqual(new Set(await Promise.all(replies.map(code))), new Set([0]))
  })
})

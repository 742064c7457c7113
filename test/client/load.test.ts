import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { Code } from '../../src/base/errors.ts'
import { Crowd } from '../../src/client/crowd.ts'
import { runFanOut } from '../../src/client/fan-out.ts'
import { Keys } from '../../src/client/keys.ts'
import { type LoadPlan, type LoadResult, operations, placesBelow, runLoad } from '../../src/client/load.ts'
import { runLoadOnThreads } from '../../src/client/load-threads.ts'
import { RequestError, Session } from '../../src/client/session.ts'
import {
  cleanWorkspace,
  closeWorkspace,
  fillWorkspace,
  openWorkspace,
  WorkspaceError,
} from '../../src/client/workspace.ts'
import { scratchDir } from '../support/disk-scratch.ts'
import { startInProcess } from '../support/in-process.ts'
import { within } from '../support/raw-client.ts'
import { session as handshake, optionsFor, reply, scriptedServer } from '../support/scripted-server.ts'

const data = Buffer.alloc(20, 'v')
const prefix = '/bench'

/** A server, a session on it, and a workspace with some znodes. */
async function prepare(t: TestContext, keys = 50) {
  const server = await startInProcess(t, await scratchDir(t))
  const session = await Session.open(optionsFor(server.port))
  t.after(() => session.close())
  const root = await openWorkspace(session, prefix)
  await fillWorkspace(session, root, keys, data)
  const plan: LoadPlan = {
    addresses: [{ host: '127.0.0.1', port: server.port }],
    connections: 3,
    depth: 7,
    rate: undefined,
    mix: [{ operation: 'get', share: 1 }],
    root,
    keys,
    valueBytes: 30,
    batch: 5,
    warmUpMs: 0,
    measureMs: 60_000,
    requests: 400,
    sessionTimeoutMs: 10_000,
    connectTimeoutMs: 10_000,
    auth: [],
    seed: 1,
  }
  return { server, session, root, plan }
}

/** Good replies by operation, of a load without any error. */
function good(result: LoadResult): Record<string, number> {
  assert.deepEqual([result.lost, result.lostReason, result.unanswered], [0, undefined, 0])
  for (const { operation, errors } of result.operations) assert.deepEqual([...errors], [], operation)
  return Object.fromEntries(result.operations.map(({ operation, replies }) => [operation, replies]))
}

test('each operation does what it says, ends after so many replies, and none is lost or fails', async (t) => {
  const { session, plan, root } = await prepare(t)
  const places = placesBelow(root)
  for (const operation of operations) {
    const result = await within(runLoad({ ...plan, mix: [{ operation, share: 1 }] }), operation)
    const seen = good(result)[operation] ?? 0
    // What had come in the same chunk counts, too.
    assert.ok(seen >= 400 && seen < 400 + plan.connections * plan.depth, `${operation}: ${seen}`)
    assert.ok(result.operations[0]!.latency.count >= 400)
    assert.ok(result.elapsedMs > 0 && result.longestSilenceMs <= result.elapsedMs)
  }
  assert.ok((await session.children(places.created)).length >= 400)
  assert.deepEqual(await session.children(places.ephemeral), [])
  assert.equal((await session.children(places.keys)).length, 50)
  const key = Buffer.from(new Keys(places.keys, 50).path(7)).toString()
  assert.equal((await session.getData(key))?.length, 30)
})

test('a mix has its shares', async (t) => {
  const { plan } = await prepare(t)
  const mix = [
    { operation: 'get', share: 9 },
    { operation: 'set', share: 1 },
  ] as const
  const seen = good(await within(runLoad({ ...plan, mix, requests: 4000 }), 'the load'))
  assert.deepEqual(Object.keys(seen), ['get', 'set'])
  const share = seen['set']! / (seen['get']! + seen['set']!)
  assert.ok(share > 0.07 && share < 0.13, `${share}`)
})

test('an open loop sends what its rate says, no matter when replies come', async (t) => {
  const { plan } = await prepare(t)
  const mix = [{ operation: 'ephemeral', share: 1 }] as const
  const result = await within(runLoad({ ...plan, mix, rate: 4000, requests: 1000 }), 'the load')
  // Each arrival is a create and a delete; less than the time for them has not passed.
  assert.ok(good(result)['ephemeral']! >= 1000)
  assert.ok(result.elapsedMs > 120, `${result.elapsedMs}`)
})

test('a signal ends a load early; its result counts what was', async (t) => {
  const { plan } = await prepare(t)
  const stop = new AbortController()
  const { requests: _, ...endless } = plan
  const running = runLoad({ ...endless, mix: [{ operation: 'set', share: 1 }] }, stop.signal)
  setImmediate(() => stop.abort())
  const result = await within(running, 'the load ends')
  assert.ok(result.elapsedMs < 60_000)
  good(result)
})

test('threads share a load', async (t) => {
  const { session, plan, root } = await prepare(t)
  const mix = [{ operation: 'create', share: 1 }] as const
  const seen = good(await within(runLoadOnThreads({ ...plan, mix }, 2), 'the load'))
  assert.ok(seen['create']! >= 400)
  assert.ok((await session.children(placesBelow(root).created)).length >= seen['create']!)
})

test('a thread whose server is out of reach fails with the reason', async (t) => {
  const { plan, server } = await prepare(t)
  await server.close()
  await assert.rejects(runLoadOnThreads(plan, 2), /nothing listens there/)
})

test('errors are counted by code, and are no good replies', async (t) => {
  const { session, plan, root } = await prepare(t)
  await session.removeTree(placesBelow(root).keys)
  await session.create(placesBelow(root).keys, data)
  const stop = new AbortController()
  const mix = [{ operation: 'multi', share: 1 }] as const
  const running = runLoad({ ...plan, mix }, stop.signal)
  setImmediate(() => setImmediate(() => setImmediate(() => stop.abort())))
  const [multi] = (await within(running, 'the load')).operations
  assert.equal(multi?.replies, 0)
  assert.deepEqual([...multi.errors.keys()], [Code.noNode])
})

test('a connection that is lost in the middle stays out; with the last one the load ends', async (t) => {
  const port = await scriptedServer(t, (socket, number, frame) => {
    if (number === 0) socket.write(handshake())
    else if (number < 20) socket.write(reply(frame.readInt32BE(0), 1n))
    else socket.destroy()
  })
  const plan: LoadPlan = {
    addresses: [{ host: '127.0.0.1', port }],
    connections: 2,
    depth: 1,
    rate: undefined,
    mix: [{ operation: 'get', share: 1 }],
    root: '/r',
    keys: 10,
    valueBytes: 0,
    batch: 1,
    warmUpMs: 0,
    measureMs: 60_000,
    sessionTimeoutMs: 10_000,
    connectTimeoutMs: 10_000,
    auth: [],
    seed: 1,
  }
  // Each connection is answered 19 times.
  const result = await within(runLoad(plan), 'the load')
  assert.deepEqual([result.lost, result.unanswered], [2, 2])
  assert.match(result.lostReason ?? '', /closed the connection/)
  assert.equal(result.operations[0]?.replies, 38)
})

test('a workspace is removed with all that is in it, and the last one takes the prefix along', async (t) => {
  const { session, root } = await prepare(t, 2500)
  const other = await openWorkspace(session, prefix)
  await closeWorkspace(session, prefix, root)
  assert.deepEqual(await session.children(prefix), [other.slice(prefix.length + 1)])
  await closeWorkspace(session, prefix, other)
  assert.equal(await session.getData(prefix), undefined)
})

test('znodes that were not made for it are left alone', async (t) => {
  const { session } = await prepare(t)
  await session.create('/mine', data)
  await assert.rejects(openWorkspace(session, '/mine'), (error) => {
    return (
      error instanceof WorkspaceError && /was not made by zabd bench: it is left alone/.test(error.message)
    )
  })
  await assert.rejects(cleanWorkspace(session, '/mine'), WorkspaceError)
  assert.deepEqual(await session.getData('/mine'), data)
  await assert.rejects(openWorkspace(session, '/no/parent'), /the znode above it is not there/)
})

test('what a run left that did not end cleanly can be removed', async (t) => {
  const { session } = await prepare(t)
  assert.equal(await cleanWorkspace(session, prefix), true)
  assert.equal(await session.getData(prefix), undefined)
  assert.equal(await cleanWorkspace(session, prefix), false)
})

test('a session fails with the error of the server, and with the reason when it ends', async (t) => {
  const { session, server } = await prepare(t)
  await assert.rejects(session.delete('/nothing'), (error) => {
    return (
      error instanceof RequestError &&
      error.code === Code.noNode &&
      /delete \/nothing: noNode/.test(error.message)
    )
  })
  await assert.rejects(
    session.createAll(1, () => Buffer.from('/no/where'), data),
    /noNode/,
  )
  await server.close()
  await assert.rejects(session.create('/late', data), /closed/)
})

test('a crowd opens its sessions, keeps them alive, and closes them', async (t) => {
  const { server } = await prepare(t)
  const crowd = new Crowd({
    ...optionsFor(server.port),
    addresses: [{ host: '127.0.0.1', port: server.port }],
  })
  const result = await within(crowd.open(100, 8), 'all sessions')
  assert.deepEqual([result.opened, result.failed, crowd.size, result.latency.count], [100, 0, 100, 100])
  crowd.keepAlive()
  await within(crowd.close(), 'all are closed')
  assert.deepEqual([crowd.size, crowd.lost], [0, 0])
})

test('a crowd says why sessions did not open', async (t) => {
  const port = await scriptedServer(t, (socket) => socket.end())
  const crowd = new Crowd({ ...optionsFor(port), addresses: [{ host: '127.0.0.1', port }] })
  const result = await within(crowd.open(3, 2), 'the end')
  assert.deepEqual([result.opened, result.failed], [0, 3])
  assert.match(result.failedReason ?? '', /closes the connection at once/)
})

test('a fan-out notifies every connection in each round', async (t) => {
  const { plan, root } = await prepare(t)
  const seen = await within(runFanOut({ ...plan, connections: 20, path: root, measureMs: 1 }), 'the fan-out')
  assert.ok(seen.latency.count >= 1)
  assert.equal(seen.notifications, seen.latency.count * 20)
  assert.ok(seen.fanOutMs > 0)
})

test('a fan-out on a znode that is not there fails', async (t) => {
  const { plan } = await prepare(t)
  await assert.rejects(runFanOut({ ...plan, path: '/nothing' }), /error -101/)
})

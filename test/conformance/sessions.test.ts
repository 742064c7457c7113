// Sessions: their transactions, what keeps them alive, how and when they expire (semantics.md 7).
// Expiry is observed through the events of a watching client. Passing time is what these tests are about, so all sessions
// that must expire start together and each test then looks at its own.
import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import {
  code,
  connect,
  Err,
  Flag,
  ok,
  type RawClient,
  type WatchEvent,
  within,
} from '../support/raw-client.ts'
import { quirk, sharedServer, type TestServer } from '../support/server.ts'

const tickMs = 200
const timeout = 1500
const lives: Promise<RawClient>[] = []

/** Sends with `send` for well over the timeout, then hands the client to the test. */
async function live(client: RawClient, send: (client: RawClient) => Promise<unknown>): Promise<RawClient> {
  const end = performance.now() + 2.5 * timeout
  while (performance.now() < end) {
    await send(client)
    await delay(150)
  }
  return client
}

// They live while the other tests of this file run; opened here and now, since those tests count zxids.
async function startLives(server: TestServer): Promise<void> {
  const clients = [1, 2, 3].map(() => connect(server, { timeout }))
  const [pings, reads, sets] = await Promise.all(clients)
  assert.ok(pings !== undefined && reads !== undefined && sets !== undefined)
  lives.push(live(pings, (client) => client.ping()))
  lives.push(live(reads, (client) => client.exists('/')))
  lives.push(live(sets, (client) => client.setWatches(0n, {})))
  for (const life of lives) life.catch(() => {})
}

const zk = sharedServer(
  { tickTime: tickMs, minSessionTimeout: 2 * tickMs, maxSessionTimeout: 60_000 },
  startLives,
)

describe('transactions', () => {
  test('opening a session takes a zxid', async () => {
    const client = await zk.connect()
    const { zxid } = await client.ping()
    await zk.connect()
    assert.equal((await client.ping()).zxid, zxid + 1n)
  })

  test('closing a session takes a zxid, which its reply carries', async () => {
    const [client, other] = [await zk.connect(), await zk.connect()]
    const { zxid } = await client.ping()
    assert.equal((await other.closeSession()).zxid, zxid + 1n)
    assert.equal((await client.ping()).zxid, zxid + 1n)
  })

  test('re-attaching to a session takes none', async () => {
    const [client, other] = [await zk.connect(), await zk.connect()]
    const { zxid } = await client.ping()
    await zk.connect(other.credentials)
    assert.equal((await client.ping()).zxid, zxid)
  })

  test('a refused handshake takes none', async () => {
    const client = await zk.connect()
    const { zxid } = await client.ping()
    await (await zk.dial()).handshake({ sessionId: 5n })
    assert.equal((await client.ping()).zxid, zxid)
  })
})

describe('limits of the timeout', () => {
  for (const [asked, given] of [
    [1, 2 * tickMs],
    [2 * tickMs, 2 * tickMs],
    [60_000, 60_000],
    [60_001, 60_000],
  ] as const) {
    test(`minSessionTimeout and maxSessionTimeout hold: ${asked} ms becomes ${given} ms`, async () => {
      const client = await zk.connect({ timeout: asked })
      assert.equal(client.session.timeout, given)
    })
  }
})

describe('closeSession', () => {
  test('is answered, then the server closes the connection', async () => {
    const client = await zk.connect()
    assert.equal((await client.closeSession()).err, 0)
    await client.closed()
  })

  // Apache sometimes still answers what came behind it, with SessionExpired.
  quirk('its reply is the last frame, whatever was sent behind it', async () => {
    const client = await zk.connect()
    client.batch(() => [
      client.create('/before-close'),
      client.closeSession(),
      client.create('/behind-close'),
      client.exists('/'),
    ])
    await client.closed()
    assert.deepEqual(client.history(), ['reply 1', 'reply 2'])
  })

  test('requests behind it are not executed', async () => {
    const client = await zk.connect()
    client.batch(() => [client.closeSession(), client.create('/behind-close2')])
    await client.closed()
    const other = await zk.connect()
    await ok(other.sync('/'))
    assert.equal(await code(other.exists('/behind-close2')), Err.noNode)
  })

  test('a closed session cannot be resumed', async () => {
    const client = await zk.connect()
    await ok(client.closeSession())
    const again = await zk.dial()
    assert.equal((await again.handshake(client.credentials)).timeout, 0)
  })

  test('closing the connection only does not end the session', async () => {
    const client = await zk.connect()
    await ok(client.create('/survives', { flags: Flag.ephemeral }))
    await client.drop()
    const other = await zk.connect()
    assert.equal(await code(other.exists('/survives')), 0)
    await zk.connect(client.credentials)
  })
})

type Silent = {
  readonly client: RawClient
  /** milliseconds by performance.now(), before its last frame was sent */
  readonly lastSent: number
  readonly timeout: number
}

type Gone = { readonly event: WatchEvent; readonly at: number }

describe('expiry', () => {
  const silent = new Map<string, Silent>()
  const gone = new Map<string, Gone>()
  let watcher: RawClient
  let allGone: Promise<void>

  async function startSilent(name: string, timeout: number, nodes = [`/exp/${name}`]): Promise<void> {
    const client = await connect(zk.server, { timeout })
    for (const node of nodes.slice(1)) await ok(client.create(node, { flags: Flag.ephemeral }))
    const lastSent = performance.now()
    await ok(client.create(nodes[0] as string, { flags: Flag.ephemeral }))
    silent.set(name, { client, lastSent, timeout: client.session.timeout })
  }

  before(async () => {
    watcher = await connect(zk.server, { timeout: 60_000 })
    await ok(watcher.create('/exp'))
    await ok(watcher.create('/exp/many'))
    await ok(watcher.addWatch('/exp', 1))
    await startSilent('t400', 400)
    await startSilent('t900', 900)
    await startSilent('t1500', 1500)
    await startSilent('dropped', 600)
    await silent.get('dropped')?.client.drop()
    await startSilent('many', 600, ['/exp/many/a', '/exp/many/b', '/exp/many/c'])
    await ok(watcher.getChildren('/exp/many', true))
    // A session that re-attaches starts anew, with the timeout negotiated then.
    await startSilent('reattached', 600)
    await delay(300)
    const first = silent.get('reattached')?.client
    assert.ok(first !== undefined)
    const lastSent = performance.now()
    const client = await connect(zk.server, { ...first.credentials, timeout: 1200 })
    silent.set('reattached', { client, lastSent, timeout: 1200 })
    const expected = 5 + 3
    allGone = (async () => {
      while (gone.size < expected) {
        const event = await watcher.nextEvent(30_000)
        if (event.type === 2) gone.set(event.path.slice('/exp/'.length), { event, at: performance.now() })
      }
    })()
    allGone.catch(() => {})
  })

  async function outcome(name: string): Promise<Gone & Silent> {
    await within(allGone, 'all silent sessions expire', 40_000)
    const [session, end] = [silent.get(name), gone.get(name)]
    assert.ok(session !== undefined && end !== undefined)
    return { ...session, ...end }
  }

  for (const name of ['t400', 't900', 't1500']) {
    test(`a silent session of ${name.slice(1)} ms expires, and not before its timeout`, async () => {
      const { lastSent, at, timeout } = await outcome(name)
      assert.ok(at - lastSent >= timeout, `${at - lastSent} ms`)
    })
  }

  test('sessions with longer timeouts expire later', async () => {
    const order = [await outcome('t400'), await outcome('t900'), await outcome('t1500')]
    const zxids = order.map(({ event }) => event.zxid)
    assert.deepEqual(
      zxids,
      zxids.toSorted((a, b) => Number(a - b)),
    )
    assert.equal(new Set(zxids).size, 3)
  })

  test('a session whose connection was cut expires too, and not before its timeout', async () => {
    const { lastSent, at, timeout } = await outcome('dropped')
    assert.ok(at - lastSent >= timeout, `${at - lastSent} ms`)
  })

  test('re-attaching starts the timeout anew', async () => {
    const { lastSent, at, timeout } = await outcome('reattached')
    assert.ok(at - lastSent >= timeout, `${at - lastSent} ms`)
  })

  test('an expired session cannot be resumed', async () => {
    const { client } = await outcome('dropped')
    const again = await zk.dial()
    const response = await again.handshake(client.credentials)
    assert.deepEqual([response.timeout, response.sessionId], [0, 0n])
  })

  test('at expiry the server closes the connection', async () => {
    await (await outcome('t400')).client.closed()
  })

  test('the client is told nothing before that', async () => {
    const { client } = await outcome('t400')
    await client.closed()
    assert.deepEqual(client.history(), ['reply 1'])
  })

  test('all ephemerals of a session go at one zxid', async () => {
    await within(allGone, 'all silent sessions expire', 40_000)
    const zxids = ['many/a', 'many/b', 'many/c'].map((name) => gone.get(name)?.event.zxid)
    assert.ok(zxids[0] !== undefined)
    assert.deepEqual(zxids, [zxids[0], zxids[0], zxids[0]])
  })

  test('the parent of several ephemerals gets one one-shot child event', async () => {
    await within(allGone, 'all silent sessions expire', 40_000)
    const events = watcher.frames.filter((frame) => frame.kind === 'event')
    const zxid = gone.get('many/a')?.event.zxid
    const child = events.filter((event) => event.text === 'NodeChildrenChanged /exp/many')
    assert.deepEqual(
      child.map((event) => event.zxid),
      [zxid],
    )
  })

  test('the ephemerals are gone for readers', async () => {
    await within(allGone, 'all silent sessions expire', 40_000)
    assert.deepEqual(await ok(watcher.getChildren('/exp/many')), [])
    assert.equal((await ok(watcher.exists('/exp/many'))).cversion, 6)
  })
})

describe('staying alive', () => {
  ;['pings', 'reads', 'setWatches'].forEach((what, index) => {
    test(`a session that only sends ${what} lives on beyond its timeout`, async () => {
      const client = await lives[index]
      assert.ok(client !== undefined)
      assert.equal(await code(client.exists('/')), 0)
      await client.close()
    })
  })
})

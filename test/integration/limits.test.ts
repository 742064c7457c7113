// The limits of the configuration, as clients meet them: connections, request sizes, outstanding requests, session
// timeouts, and the addresses that a server listens on.
import assert from 'node:assert/strict'
import net from 'node:net'
import { networkInterfaces } from 'node:os'
import { type TestContext, test } from 'node:test'
import { body, code, connectRequest, Err, exchange, frame, Op, ok, RawClient } from '../support/raw-client.ts'
import { type RobustServer, robustServer, until } from '../support/robust-server.ts'
import { Passing, request, turn } from '../support/robust-wire.ts'

/** Connects and waits for the server to refuse: nothing may come, not even an answer to a handshake. */
async function refused({ port }: RobustServer): Promise<void> {
  assert.equal((await exchange({ port }, frame(connectRequest()))).length, 0)
}

// ---------------------------------------------------------------- connections

test('maxClientCnxns: one address gets so many connections, and another one when it gives one back', async (t) => {
  const server = await robustServer(t, { maxClientCnxns: 3 })
  const [first] = [await server.connect(), await server.connect(), await server.dial()]
  for (let i = 0; i < 5; i++) await refused(server)
  const told = server.lines.filter(({ msg }) => msg.includes('maxClientCnxns'))
  assert.equal(told.length, 5)
  assert.equal(told[0]?.client, '127.0.0.1')
  assert.equal(told[0]?.msg, 'connection refused: too many connections (maxClientCnxns=3)')
  await first?.close()
  await until('the place is free', async () => (await server.word('srvr').catch(() => '')).includes('Mode:'))
  await server.connect()
})

test('maxClientCnxns: each address is counted on its own', {
  skip: process.platform !== 'linux',
}, async (t) => {
  const server = await robustServer(t, { maxClientCnxns: 1 })
  await server.connect()
  await refused(server)
  const other = new Passing(net.connect({ port: server.port, host: '127.0.0.1', localAddress: '127.0.0.2' }))
  t.after(() => other.destroy())
  other.send(frame(connectRequest()))
  await other.received(1)
  assert.equal(other.frames, 1)
})

test('maxCnxns: so many connections in all', async (t) => {
  const server = await robustServer(t, { maxCnxns: 2, maxClientCnxns: 0 })
  const [first] = [await server.connect(), await server.connect()]
  await refused(server)
  assert.match((await server.logged(/too many/)).msg, /\(maxCnxns=2\)/)
  await first?.close()
  await until('the place is free', async () => (await server.word('srvr').catch(() => '')).includes('Mode:'))
})

test('connections that are refused or gone are not counted: thousands may follow each other', async (t) => {
  const server = await robustServer(t, { maxClientCnxns: 30 })
  for (let round = 0; round < 25; round++) {
    const batch = await Promise.all(Array.from({ length: 40 }, () => Passing.dial(server.port)))
    for (const [i, connection] of batch.entries()) {
      if (i % 2 === 0) connection.destroy()
      else connection.socket.resetAndDestroy()
    }
    await Promise.all(batch.map((connection) => connection.closed()))
    await turn()
  }
  await until('the last are gone', async () =>
    (await server.word('srvr').catch(() => '')).includes('Connections: 1\n'),
  )
  const clients = await Promise.all(Array.from({ length: 30 }, () => server.connect()))
  await refused(server)
  for (const client of clients) await client.ping()
})

test('hundreds of sessions at once are each served', async (t) => {
  const server = await robustServer(t)
  const clients = await Promise.all(Array.from({ length: 200 }, () => server.connect()))
  const made = await Promise.all(
    clients.map((client, i) => ok(client.create(`/e${i}`, { flags: 1, data: `${i}` }))),
  )
  assert.deepEqual(
    made,
    clients.map((_, i) => `/e${i}`),
  )
  const seen = await Promise.all(clients.map((client, i) => ok(client.getData(`/e${(i + 1) % 200}`))))
  assert.deepEqual(
    seen.map(({ data }) => String(data)),
    clients.map((_, i) => `${(i + 1) % 200}`),
  )
  assert.equal(await server.figure('num_alive_connections'), 201)
  await Promise.all(clients.map((client) => client.close()))
  await server.untilFigure('num_alive_connections', 1)
  assert.equal(await server.figure('ephemerals_count'), 0)
})

// ---------------------------------------------------------------- sizes

test('jute.maxbuffer, smaller: a frame of that length is served, a longer one ends the connection', async (t) => {
  const server = await robustServer(t, { 'jute.maxbuffer': 2000 })
  const client = await server.connect()
  const create = (length: number) => body.create('/x', { data: Buffer.alloc(length) })
  const overhead = 8 + create(0).length
  assert.equal((await client.request(Op.create, create(2000 - overhead))).err, Err.ok)
  const address = client.localAddress
  client.sendRaw(request(2, Op.create, create(2001 - overhead)))
  await client.closed()
  const line = await server.logged(/frame of 2001 bytes; at most 2000 \(jute.maxbuffer\)/)
  assert.equal(line.client, address)
})

test('jute.maxbuffer, bigger: long data comes and goes, also when many reads of it wait for a write', async (t) => {
  const server = await robustServer(t, { 'jute.maxbuffer': '0x400000' })
  const length = 4_000_000
  const client = await Passing.open(server.port)
  t.after(() => client.destroy())
  client.send(request(1, Op.create, body.create('/x', { data: Buffer.alloc(length, 7) })))
  await client.received(2)
  server.disk.hold()
  // More than what may ever wait for a client, were they all answered at once.
  const requests = [request(2, Op.sync, body.path('/')), request(3, Op.create, body.create('/y'))]
  for (let xid = 4; xid < 84; xid++) requests.push(request(xid, Op.getData, body.pathWatch('/x')))
  const seen: string[] = []
  client.onFrame = ({ xid, err, length }) => seen.push(`${xid} ${err} ${length}`)
  client.send(Buffer.concat(requests))
  await until('the write is there', () => server.disk.held > 0)
  await server.disk.release()
  await client.received(2 + 82)
  const reads = Array.from({ length: 80 }, (_, i) => `${i + 4} 0 ${16 + 4 + length + 68}`)
  assert.deepEqual(seen, ['2 0 21', '3 0 22', ...reads])
})

test('identities of one connection are bounded', async (t) => {
  const server = await robustServer(t)
  const client = await server.connect()
  for (let i = 0; i < 60; i++)
    assert.equal(await code(client.auth('digest', `${'u'.repeat(1000)}${i}:p`)), Err.ok)
  assert.equal(await code(client.auth('digest', `${'u'.repeat(8000)}:p`)), Err.authFailed)
  await client.closed()
  await server.logged(/authentication failed: more than 65536 bytes of identities/)
})

// ---------------------------------------------------------------- outstanding requests

test('globalOutstandingLimit: reading stops, others are read, and nothing is lost or out of order', async (t) => {
  const server = await robustServer(t, { globalOutstandingLimit: 20 })
  const clients = await Promise.all(Array.from({ length: 8 }, () => Passing.open(server.port)))
  t.after(() => {
    for (const client of clients) client.destroy()
  })
  const idle = await server.connect()
  server.disk.hold()
  const count = 300
  const seen = clients.map(() => [] as string[])
  for (const [i, client] of clients.entries()) {
    client.onFrame = ({ xid, err }) => seen[i]?.push(`${xid}:${err}`)
    const writes = Array.from({ length: count }, (_, xid) =>
      request(xid, Op.create, body.create(`/${i}-${xid}`, { data: `${xid}` })),
    )
    client.send(Buffer.concat(writes))
  }
  await until('the limit is reached', async () => (await server.figure('outstanding_requests')) > 20)
  // A connection with nothing outstanding may always ask for one thing more.
  assert.ok((await server.figure('outstanding_requests')) <= 20 + clients.length)
  assert.equal(await code(idle.getData('/zookeeper')), Err.ok)
  await server.disk.release()
  await Promise.all(clients.map((client) => client.received(1 + count)))
  const expected = Array.from({ length: count }, (_, xid) => `${xid}:0`)
  for (const answers of seen) assert.deepEqual(answers, expected)
  assert.equal((await ok(idle.getChildren('/'))).length, clients.length * count + 1)
})

test('globalOutstandingLimit: reads and writes mixed beyond it keep the order of the session', async (t) => {
  const server = await robustServer(t, { globalOutstandingLimit: 2 })
  const client = await server.connect()
  await ok(client.create('/x', { data: '-' }))
  const answers = client.batch(() =>
    Array.from({ length: 200 }, (_, i) => [
      client.setData('/x', `${i}`),
      client.getData('/x'),
      client.sync('/x'),
    ]),
  )
  for (const [i, [, read]] of answers.entries()) {
    const reply = (await read) as Awaited<ReturnType<RawClient['getData']>>
    assert.equal(String(reply.value?.data), `${i}`)
  }
})

// ---------------------------------------------------------------- session timeouts

test('minSessionTimeout and maxSessionTimeout bound what a client asks for', async (t) => {
  const server = await robustServer(t, { tickTime: 1000, minSessionTimeout: 1500, maxSessionTimeout: 7000 })
  const asked = [-0x80000000, -1, 0, 1, 1499, 1500, 1501, 6999, 7000, 7001, 0x7fffffff]
  const given: number[] = []
  for (const timeout of asked) given.push((await server.connect({ timeout })).session.timeout)
  assert.deepEqual(given, [1500, 1500, 1500, 1500, 1500, 1500, 1501, 6999, 7000, 7000, 7000])
})

test('a session that comes back negotiates its timeout anew', async (t) => {
  const server = await robustServer(t, { tickTime: 1000 })
  const client = await server.connect({ timeout: 5000 })
  await client.drop()
  const again = await server.connect({ ...client.credentials, timeout: 19_000 })
  assert.deepEqual([client.session.timeout, again.session.timeout], [5000, 19_000])
  server.advance(12_000)
  await again.ping()
})

// ---------------------------------------------------------------- connections that break

test('a client that goes away in the middle of a request: what came before it is done, its session goes on', async (t) => {
  const server = await robustServer(t)
  const client = await server.connect()
  const half = request(9, Op.create, body.create('/half', { data: Buffer.alloc(5000) })).subarray(0, 2000)
  const whole = client.create('/whole', { flags: 1 })
  client.sendRaw(half)
  await whole
  client.endOutput()
  await client.closed()
  const again = await server.connect(client.credentials)
  assert.equal(again.session.sessionId, client.session.sessionId)
  assert.equal((await ok(again.exists('/whole'))).ephemeralOwner, client.session.sessionId)
  assert.equal(await code(again.exists('/half')), Err.noNode)
})

test('a client that ends its output still gets the answers to its reads', async (t) => {
  const server = await robustServer(t)
  const client = await server.connect()
  const reads = client.batch(() => Array.from({ length: 100 }, () => client.getData('/')))
  client.endOutput()
  for (const read of reads) assert.equal(await code(read), Err.ok)
  await client.closed()
})

// ---------------------------------------------------------------- addresses

test('clientPortListenBacklog is taken', async (t) => {
  const server = await robustServer(t, { clientPortListenBacklog: 1 })
  assert.match(await server.word('conf'), /^clientPortListenBacklog=1$/m)
  for (let i = 0; i < 10; i++) await (await server.connect()).ping()
})

const hasIpv6 = Object.values(networkInterfaces()).some((list) =>
  list?.some(({ address }) => address === '::1'),
)

async function checkIpAcls(
  server: RobustServer,
  t: TestContext,
  own: string,
  foreign: string,
): Promise<void> {
  const client = await server.connect()
  t.after(() => client.drop())
  assert.deepEqual(
    await ok(client.create('/own', { data: 'x', acl: [{ perms: 31, scheme: 'ip', id: own }] })),
    '/own',
  )
  assert.equal(await code(client.getData('/own')), Err.ok)
  await ok(client.create('/foreign', { data: 'x', acl: [{ perms: 31, scheme: 'ip', id: foreign }] }))
  assert.equal(await code(client.getData('/foreign')), Err.noAuth)
}

test('IPv6: clients, ip ACLs and four-letter words on [::1]', { skip: !hasIpv6 }, async (t) => {
  const server = await robustServer(t, { clientPortAddress: '::1', maxClientCnxns: 4 })
  const client = await server.connect()
  assert.deepEqual(await ok(client.whoAmI()), [{ scheme: 'ip', user: '0:0:0:0:0:0:0:1' }])
  await checkIpAcls(server, t, '::1/128', '::2/128')
  assert.equal(
    await code(client.create('/short', { acl: [{ perms: 31, scheme: 'ip', id: '0:0:0:0:0:0:0:1' }] })),
    Err.ok,
  )
  assert.equal(await server.word('ruok'), 'imok')
  assert.match(await server.word('stat'), /^ \/\[?0:0:0:0:0:0:0:1\]?:\d+\[1\]\(queued=0/m)
  assert.match((await server.logged(/ready to serve/)).msg, new RegExp(`on \\[::1\\]:${server.port}`))
  await server.connect()
  await server.connect()
  await assert.rejects(server.connect())
  assert.equal((await server.logged(/too many/)).client, '::1')
})

test('an IPv4 client of an IPv6 socket is known by its IPv4 address', { skip: !hasIpv6 }, async (t) => {
  const server = await robustServer(t, { clientPortAddress: '::ffff:127.0.0.1' })
  const client = await RawClient.dial(server.port, '127.0.0.1')
  t.after(() => client.drop())
  await client.handshake()
  assert.deepEqual(await ok(client.whoAmI()), [{ scheme: 'ip', user: '127.0.0.1' }])
  await checkIpAcls(server, t, '127.0.0.0/8', '10.0.0.0/8')
  assert.match(await server.word('stat'), /^ \/127\.0\.0\.1:\d+\[1\]/m)
})

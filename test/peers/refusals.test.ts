import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { looksLike, RefusalCode, Repeats } from '../../src/peers/refusals.ts'
import {
  bytesUntilClosed,
  join,
  ManualClock,
  member,
  rawConnection,
  rawPeer,
  startPeers,
  startProxy,
  story,
  type TestServer,
} from '../support/peers.ts'

const idOf = (text: string) => createHash('sha256').update(text).digest().subarray(0, 16)

function warnings(server: TestServer): string[] {
  return server.log.all.filter(({ level }) => level === 'warn').map(({ text }) => text)
}

test('refusal: servers of different ensembles, told on both sides once, however often they try', async (t) => {
  const [a, b] = [idOf('a'), idOf('b')]
  const one = await startPeers(t, 1, { ensembleId: () => a })
  const two = await startPeers(t, 2, { ensembleId: () => b })
  const proxy = await startProxy(t, one.port)
  two.peers.setMembers([member({ id: 1, port: proxy.port })])
  await proxy.recorded.reaches(4)
  const what = `server 1 belongs to the ensemble ${a.toString('hex', 0, 8)}, server 2 to ${b.toString('hex', 0, 8)}`
  const remedy =
    'check the server.N lines; if the server is to leave its former ensemble, start it with an empty data directory'
  assert.deepEqual(warnings(one), [`server 2 from 127.0.0.1 refused: ${what}; ${remedy}`])
  assert.deepEqual(warnings(two), [
    `server 1 at 127.0.0.1:${proxy.port} refuses this server: ${what}; ${remedy}`,
  ])
  assert.deepEqual([story(one), story(two)], ['', ''])
})

test('refusal: an ensemble that one side does not know yet is none', async (t) => {
  const one = await startPeers(t, 1, { ensembleId: () => idOf('a') })
  const two = await startPeers(t, 2)
  await join(one, two)
  assert.deepEqual(two.peers.connection(1)?.ensembleId, idOf('a'))
  assert.equal(one.peers.connection(2)?.ensembleId, undefined)
})

test('refusal: the secret must be the same; with the same one they are connected', async (t) => {
  const secret = Buffer.from('one for all')
  const one = await startPeers(t, 1, { secret })
  const two = await startPeers(t, 2, { secret })
  const wrong = await startPeers(t, 3, { secret: Buffer.from('another') })
  const none = await startPeers(t, 4)
  await join(one, two)
  wrong.peers.setMembers([member(one)])
  none.peers.setMembers([member(one)])
  const remedy = 'give every server of the ensemble the same secret'
  await one.warned(
    `server 3 from 127.0.0.1 refused: the shared secret of server 3 is not that of server 1; ${remedy}`,
  )
  await wrong.warned('refuses this server')
  await one.warned(
    `server 4 from 127.0.0.1 refused: server 1 asks for the shared secret, server 4 has none; ${remedy}`,
  )
  await none.warned(`refuses this server: server 1 asks for the shared secret, server 4 has none; ${remedy}`)
  assert.equal(story(one), '+2')
})

test('refusal: a server without a secret does not talk to one with it, either', async (t) => {
  const none = await startPeers(t, 1)
  const two = await startPeers(t, 2, { secret: Buffer.from('secret') })
  two.peers.setMembers([member(none)])
  await none.warned('server 2 from 127.0.0.1 refused: server 1 has no shared secret, server 2 asks for one')
  await two.warned('refuses this server: server 1 has no shared secret, server 2 asks for one')
})

test('refusal: a recorded handshake with the right secret opens nothing', async (t) => {
  const secret = Buffer.from('one for all')
  const one = await startPeers(t, 1, { secret })
  const two = await startPeers(t, 2, { secret })
  const proxy = await startProxy(t, one.port)
  two.peers.setMembers([member({ id: 1, port: proxy.port })])
  await one.connected(2)
  const recorded = Buffer.concat(proxy.recorded.all[0]!.toTarget)
  await two.peers.close()
  await one.lost(2)
  const socket = await rawConnection(t, one.port)
  socket.write(recorded)
  await bytesUntilClosed(socket)
  await one.warned('server 2 from 127.0.0.1 refused')
  assert.equal(story(one), '+2 -2')
})

test('refusal: a connection that was meant for another server', async (t) => {
  const one = await startPeers(t, 1)
  const three = await startPeers(t, 3)
  three.peers.setMembers([member(one, 2)])
  const what = 'the connection was meant for server 2 and has reached server 1'
  await one.warned(`server 3 from 127.0.0.1 refused: ${what}; check the addresses`)
  await three.warned(`server 2 at 127.0.0.1:${one.port} refuses this server: ${what}; check the addresses`)
})

test('refusal: an address that leads back to the server itself', async (t) => {
  const one = await startPeers(t, 1)
  one.peers.setMembers([member(one, 2)])
  await one.warned(
    `server 2 at 127.0.0.1:${one.port} refuses this server: the address of server 2 leads back to server 1 itself`,
  )
})

test('refusal: a server with the same id', async (t) => {
  const one = await startPeers(t, 1)
  await assert.rejects(rawPeer(t, one.port, { id: 1, meant: 1 }), {
    message: `refused ${RefusalCode.sameId}`,
  })
  await one.warned(
    'server 1 from 127.0.0.1 refused: both servers have the id 1; give every server an id of its own',
  )
})

test('refusal: an id of which another living process is connected', async (t) => {
  const one = await startPeers(t, 1)
  const two = await startPeers(t, 2)
  const copy = await startPeers(t, 2)
  await join(one, two)
  copy.peers.setMembers([member(one)])
  const what =
    'another server with the id 2 is connected to server 1 already, from 127.0.0.1; give every server an id'
  await copy.warned(`refuses this server: ${what}`)
  await one.warned(`server 2 from 127.0.0.1 refused: ${what}`)
  assert.deepEqual([story(one), story(two), story(copy)], ['+2', '+1', ''])
})

test('refusal: a process that took the place of one that says nothing any more is taken', async (t) => {
  const clock = new ManualClock()
  const one = await startPeers(t, 1, { clock, keepaliveMs: 9000 })
  await rawPeer(t, one.port, { id: 2, meant: 1, instance: 7 })
  await one.connected(2)
  clock.advance(6000)
  await rawPeer(t, one.port, { id: 2, meant: 1, instance: 8 })
  await one.heard.reaches(3)
  assert.equal(story(one), '+2 -2 +2')
})

test('refusal: another version of the protocol', async (t) => {
  const one = await startPeers(t, 1)
  const socket = await rawConnection(t, one.port)
  socket.write(Buffer.concat([Buffer.from('zabP'), Buffer.of(1, 0, 2, 0, 9)]))
  const answer = await bytesUntilClosed(socket)
  assert.equal(answer.toString('latin1', 0, 5), 'zabP\x04')
  assert.equal(answer[7], RefusalCode.version)
  await one.warned(
    'connection from 127.0.0.1 refused: server 1 (test) speaks version 1 of the protocol between servers, the other side version 9; run the same version',
  )
})

for (const [name, bytes, like] of [
  ['HTTP', 'GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n', 'HTTP'],
  ['TLS', '\x16\x03\x01\x02\x00\x01', 'TLS; does that server have sslQuorum=true and this one not?'],
  ['the election of Apache ZooKeeper', '\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00', 'Apache ZooKeeper;'],
  ['a learner of Apache ZooKeeper', '\x00\x00\x00\x0b\xff\xff\xff\xff', 'Apache ZooKeeper;'],
  [
    'a ZooKeeper client',
    '\x00\x00\x00\x2d\x00\x00\x00\x00',
    "a ZooKeeper client; this is not the clients' port",
  ],
  ['noise', '\x01\x02\x03\x04\x05', 'none of the known protocols (0x0102030405)'],
] as const) {
  test(`refusal: a connection that speaks ${name} is closed, and the log says what it looks like`, async (t) => {
    const one = await startPeers(t, 1)
    for (let i = 0; i < 3; i++) {
      const socket = await rawConnection(t, one.port)
      socket.write(Buffer.from(bytes, 'latin1'))
      assert.equal((await bytesUntilClosed(socket)).length, 0)
    }
    const [line, ...more] = warnings(one)
    assert.deepEqual(more, [])
    assert.ok(
      line?.startsWith(
        `connection from 127.0.0.1 refused: it does not speak zabd's protocol between servers, it looks like ${like}`,
      ),
      line,
    )
  })
}

/** A port on which `serve` answers. */
async function answering(t: TestContext, serve: (socket: Socket) => void): Promise<number> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    serve(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  const address = server.address()
  assert.ok(address !== null && typeof address === 'object')
  return address.port
}

for (const [name, serve, text] of [
  [
    'answers in HTTP',
    (socket: Socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'),
    'it looks like HTTP',
  ],
  [
    'speaks TLS',
    (socket: Socket) => socket.end(Buffer.from([0x15, 3, 1, 0, 2, 2, 0x28])),
    'it looks like TLS',
  ],
  ['closes at once', (socket: Socket) => socket.resume().end(), 'it closed the connection without a word'],
  ['says nothing', (socket: Socket) => socket.resume(), 'it accepts connections but says nothing'],
] as const) {
  test(`refusal: the log says it when a member's port ${name}`, async (t) => {
    const port = await answering(t, serve)
    const two = await startPeers(t, 2, { handshakeMs: 100 })
    two.peers.setMembers([{ id: 1, host: '127.0.0.1', port }])
    const line = await two.warned(text)
    assert.ok(line.text.startsWith(`server 1 at 127.0.0.1:${port} can not be reached: `), line.text)
  })
}

test('refusal: a name that does not exist is told with its code', async (t) => {
  const two = await startPeers(t, 2)
  two.peers.setMembers([{ id: 1, host: 'no-such-host.invalid', port: 1 }])
  const line = await two.log.until('a line', ({ text }) =>
    text.includes('no-such-host.invalid:1 can not be reached'),
  )
  assert.match(line.text, /(ENOTFOUND|EAI_AGAIN|ETIMEDOUT)|does not answer/)
})

test('repeats: the same line of the same subject waits a minute, another one does not', () => {
  let now = 0
  const repeats = new Repeats(() => now)
  assert.equal(repeats.mayLog('a', 'x'), true)
  assert.equal(repeats.mayLog('a', 'x'), false)
  assert.equal(repeats.mayLog('a', 'y'), true)
  assert.equal(repeats.mayLog('b', 'x'), true)
  now = 59_999
  assert.equal(repeats.mayLog('a', 'x'), false)
  now = 60_000
  assert.equal(repeats.mayLog('a', 'x'), true)
  assert.equal(repeats.mayLog('a', 'x'), false)
  repeats.forget('a')
  assert.equal(repeats.mayLog('a', 'x'), true)
})

test('repeats: nobody can make it log without end', () => {
  let now = 0
  const repeats = new Repeats(() => now)
  let lines = 0
  for (let i = 0; i < 5000; i++) if (repeats.mayLog(`10.0.0.${i}`, 'x')) lines++
  assert.equal(lines, 200)
  now = 60_000
  assert.equal(repeats.mayLog('10.0.0.1', 'x'), true)
})

test('looksLike: what is shorter than any protocol is shown as it is', () => {
  assert.equal(looksLike(Buffer.of(0x47)), 'none of the known protocols (0x47)')
})

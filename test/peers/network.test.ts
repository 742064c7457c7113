import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { encodeMessages } from '../../sim/whole/parcel.ts'
import { FrameReader } from '../../src/peers/codec.ts'
import type { PeerMessage } from '../../src/peers/messages.ts'
import { RefusalCode } from '../../src/peers/refusals.ts'
import { PeerFault } from '../../src/peers/types.ts'
import {
  bytesUntilClosed,
  eventually,
  join,
  ManualClock,
  member,
  rawConnection,
  rawListener,
  rawPeer,
  received,
  startPeers,
  startProxy,
  story,
} from '../support/peers.ts'

const ack = (zxid: number): PeerMessage => ({ type: 'ack', session: 1, zxid })
const forward = (length: number, fill = 1): PeerMessage => ({
  type: 'forward',
  session: 1,
  bytes: Buffer.alloc(length, fill),
})
const framed = (...messages: PeerMessage[]) => encodeMessages(messages)

/** Two servers that are connected, 1 and 2. */
async function pair(t: TestContext, options: Parameters<typeof startPeers>[2] = {}) {
  const one = await startPeers(t, 1, options)
  const two = await startPeers(t, 2, options)
  await join(one, two)
  return { one, two }
}

test('peers: messages go both ways in the order in which they were sent', async (t) => {
  const { one, two } = await pair(t)
  const toTwo = Array.from({ length: 500 }, (_, i) => (i % 7 === 0 ? forward(i * 40, i) : ack(i)))
  for (const [i, message] of toTwo.entries()) {
    one.peers.send(2, message)
    if (i % 13 === 0) one.peers.flush()
  }
  one.peers.flush()
  two.peers.send(1, ack(7))
  two.peers.flush()
  await two.heard.reaches(1 + toTwo.length)
  await one.heard.reaches(2)
  assert.deepEqual(received(two), toTwo)
  assert.deepEqual(received(one), [ack(7)])
})

test('peers: a message of many MiB arrives as it was', async (t) => {
  const { one, two } = await pair(t)
  const big = forward(9_000_000, 5)
  one.peers.send(2, ack(1))
  one.peers.send(2, big)
  one.peers.send(2, ack(2))
  one.peers.flush()
  await two.heard.reaches(4)
  assert.deepEqual(received(two), [ack(1), big, ack(2)])
})

test('peers: all messages of a turn are one write', async (t) => {
  const { one, two } = await pair(t)
  const before = one.peers.connection(2)!.traffic.writes
  for (let i = 0; i < 100; i++) one.peers.send(2, ack(i))
  one.peers.flush()
  one.peers.flush()
  assert.equal(one.peers.connection(2)!.traffic.writes, before + 1)
  await two.heard.reaches(101)
})

test('peers: what a handler sends leaves without a flush of its own, as one write', async (t) => {
  const one = await startPeers(t, 1, {
    keepaliveMs: 800_000,
    onMessage: (from) => {
      one.peers.send(from, ack(100))
      one.peers.send(from, ack(101))
    },
  })
  one.peers.setMembers([])
  const raw = await rawPeer(t, one.port, { id: 2, meant: 1 })
  await one.connected(2)
  raw.socket.write(framed(ack(1), ack(2), ack(3)))
  const answers: PeerMessage[] = []
  await raw.chunks.reaches(1)
  new FrameReader().push(raw.chunks.all[0]!, (message) => answers.push(message) > 0)
  assert.deepEqual(answers, [ack(100), ack(101), ack(100), ack(101), ack(100), ack(101)])
})

test('peers: bytes that came stay what they are when more have come, whoever dialed', async (t) => {
  const { one, two } = await pair(t)
  const sent = Array.from({ length: 10 }, (_, i) => forward(200, i))
  for (const [i, message] of sent.entries()) {
    one.peers.send(2, message)
    two.peers.send(1, message)
    one.peers.flush()
    two.peers.flush()
    await eventually('both have it', () => received(one).length > i && received(two).length > i)
  }
  assert.deepEqual(received(one), sent)
  assert.deepEqual(received(two), sent)
})

test('peers: a message for a server that is not connected is dropped', async (t) => {
  const { one, two } = await pair(t)
  one.peers.send(9, ack(1))
  two.peers.drop(1, 'test')
  await one.lost(2)
  one.peers.send(2, ack(2))
  one.peers.flush()
  await one.connected(2)
  one.peers.send(2, ack(3))
  one.peers.flush()
  await two.heard.until('a message', ({ type }) => type === 'received')
  assert.deepEqual(received(two), [ack(3)])
})

// ── who dials whom ──

test('peers: only the higher id knows the other', async (t) => {
  const one = await startPeers(t, 1)
  const two = await startPeers(t, 2)
  two.peers.setMembers([member(one)])
  await Promise.all([one.connected(2), two.connected(1)])
  assert.equal(two.peers.connection(1)?.dialed, true)
  assert.equal(one.peers.connection(2)?.dialed, false)
})

test('peers: only the lower id knows the other', async (t) => {
  const one = await startPeers(t, 1)
  const two = await startPeers(t, 2)
  one.peers.setMembers([member(two)])
  await Promise.all([one.connected(2), two.connected(1)])
  assert.equal(one.peers.connection(2)?.dialed, true)
})

test('peers: when both dial at once there is one connection, and no other before it', async (t) => {
  for (let round = 0; round < 15; round++) {
    const one = await startPeers(t, 1)
    const two = await startPeers(t, 2)
    await join(one, two)
    one.peers.send(2, ack(round))
    two.peers.send(1, ack(round))
    one.peers.flush()
    two.peers.flush()
    await Promise.all([one.heard.reaches(2), two.heard.reaches(2)])
    assert.deepEqual([story(one), story(two)], ['+2', '+1'])
    await Promise.all([one.peers.close(), two.peers.close()])
  }
})

test('peers: five servers that start one after another are all connected with each other', async (t) => {
  const servers = await Promise.all([1, 2, 3, 4, 5].map((id) => startPeers(t, id)))
  const members = servers.map((server) => member(server))
  for (const server of servers) server.peers.setMembers(members)
  for (const server of servers) {
    for (const other of servers) if (other !== server) await server.connected(other.id)
    assert.equal(server.peers.connections().length, 4)
  }
})

test('peers: the higher id dials again at once after a loss, the lower one after about a second', async (t) => {
  const [low, high] = [new ManualClock(), new ManualClock()]
  const one = await startPeers(t, 1, { clock: low, random: () => 0.5, keepaliveMs: 80_000 })
  const two = await startPeers(t, 2, { clock: high, random: () => 0.5, keepaliveMs: 80_000 })
  await join(one, two)
  low.advance(2000)
  high.advance(2000)
  const before = [low.delays.all.length, high.delays.all.length] as const
  two.peers.drop(1, 'test')
  await one.lost(2)
  assert.deepEqual(low.delays.all.slice(before[0]), [1000])
  assert.deepEqual(high.delays.all.slice(before[1]), [25])
  high.advance(25)
  await two.connected(1)
})

test('peers: the waits between dialings grow to a limit, and an incoming connection begins them anew', async (t) => {
  const clock = new ManualClock()
  const port = await unusedPort(t)
  const two = await startPeers(t, 2, { clock, random: () => 0.5, keepaliveMs: 80_000 })
  const ownDelays = () => clock.delays.all.filter((ms) => ms < 5000)
  two.peers.setMembers([{ id: 1, host: '127.0.0.1', port }])
  for (let n = 1; n <= 8; n++) {
    await eventually('the next wait', () => ownDelays().length === n)
    clock.advance(ownDelays().at(-1)!)
  }
  assert.deepEqual(ownDelays().slice(0, 8), [25, 50, 100, 200, 400, 800, 1500, 1500])
  await eventually('the next wait', () => ownDelays().length === 9)
  const raw = await rawPeer(t, two.port, { id: 1, meant: 2 })
  await two.connected(1)
  raw.socket.destroy()
  await two.lost(1)
  assert.equal(ownDelays().at(-1), 25)
})

test('peers: after a connection that did not last the waits grow, after one that did they begin anew', async (t) => {
  const clock = new ManualClock()
  const listener = await rawListener(t, { id: 1 })
  const two = await startPeers(t, 2, { clock, random: () => 0.5, keepaliveMs: 80_000 })
  const waits: number[] = []
  two.peers.setMembers([member(listener)])
  for (const lastedMs of [0, 0, 0, 1000, 0]) {
    const raw = await listener.next()
    const from = two.heard.all.length - 1
    await two.connected(1)
    clock.advance(lastedMs)
    raw.socket.destroy()
    await two.lost(1, from)
    waits.push(clock.delays.all.at(-1)!)
    clock.advance(waits.at(-1)!)
  }
  assert.deepEqual(waits, [25, 50, 100, 25, 50])
})

test('peers: what a handler sends at a loss leaves without a flush of its own', async (t) => {
  const two = await startPeers(t, 2, {
    keepaliveMs: 800_000,
    onLost: () => two.peers.send(3, ack(5)),
  })
  const first = await rawPeer(t, two.port, { id: 1, meant: 2 })
  const other = await rawPeer(t, two.port, { id: 3, meant: 2 })
  await Promise.all([two.connected(1), two.connected(3)])
  first.socket.destroy()
  await other.chunks.reaches(1)
  assert.deepEqual(other.chunks.all[0], framed(ack(5)))
})

test('peers: whoever of the two is restarted, they find each other again', async (t) => {
  const one = await startPeers(t, 1)
  let two = await startPeers(t, 2)
  const members = [member(one), member(two)]
  one.peers.setMembers(members)
  for (let round = 0; round < 3; round++) {
    two.peers.setMembers(members)
    await Promise.all([one.connected(2), two.connected(1)])
    const from = one.heard.all.length
    await two.peers.close()
    await one.lost(2, from)
    two = await startPeers(t, 2, { port: two.port })
  }
  assert.equal(story(one), '+2 -2 +2 -2 +2 -2')
})

test('peers: a second connection of the same process takes the place of the first, whose messages are void', async (t) => {
  const two = await startPeers(t, 2)
  const first = await rawPeer(t, two.port, { id: 1, meant: 2, instance: 7 })
  await two.connected(1)
  first.socket.on('error', () => undefined)
  const second = await rawPeer(t, two.port, { id: 1, meant: 2, instance: 7 })
  await two.heard.reaches(3)
  first.socket.write(framed(ack(1)))
  second.socket.write(framed(ack(2)))
  await two.heard.reaches(4)
  assert.equal(story(two), '+1 -1 +1')
  assert.deepEqual(received(two), [ack(2)])
})

test('peers: what the higher id dials takes the place of what the lower one dialed', async (t) => {
  const listener = await rawListener(t, { id: 2, instance: 7 })
  const one = await startPeers(t, 1)
  one.peers.setMembers([member(listener)])
  await listener.next()
  await one.connected(2)
  assert.equal(one.peers.connection(2)?.dialed, true)
  await rawPeer(t, one.port, { id: 2, meant: 1, instance: 7 })
  await one.heard.reaches(3)
  assert.equal(story(one), '+2 -2 +2')
  assert.equal(one.peers.connection(2)?.dialed, false)
})

test('peers: what the lower id dials is not taken while the higher one has a connection that it dialed', async (t) => {
  const listener = await rawListener(t, { id: 1, instance: 7 })
  const two = await startPeers(t, 2)
  two.peers.setMembers([member(listener)])
  await listener.next()
  await two.connected(1)
  const again = rawPeer(t, two.port, { id: 1, meant: 2, instance: 7 })
  await assert.rejects(again, { message: `refused ${RefusalCode.busy}` })
  assert.equal(story(two), '+1')
  assert.deepEqual(
    two.log.all.filter(({ level }) => level === 'warn'),
    [],
  )
})

test('peers: an accepted connection that is never confirmed changes nothing', async (t) => {
  const two = await startPeers(t, 2, { handshakeMs: 100 })
  const first = await rawPeer(t, two.port, { id: 1, meant: 2, instance: 7 })
  await two.connected(1)
  // The same process begins another one and stops before the last part, the readiness.
  const { recorded, port } = await startProxy(t, two.port)
  await rawPeer(t, port, { id: 3, meant: 2, instance: 7 })
  const [hello, proof] = partsOf(Buffer.concat(recorded.all[0]!.toTarget))
  hello!.writeUInt32BE(1, 7 + 2)
  const socket = await rawConnection(t, two.port)
  socket.write(Buffer.concat([hello!, proof!]))
  await bytesUntilClosed(socket)
  first.socket.write(framed(ack(5)))
  await two.heard.until('a message', ({ type }) => type === 'received')
  assert.equal(story(two), '+1 +3')
})

test('peers: who accepts a connection gives up its own dialing before the other side has confirmed', async (t) => {
  const two = await startPeers(t, 2, { handshakeMs: 60_000 })
  const silent = createServer()
  silent.listen(0, '127.0.0.1')
  t.after(() => silent.close())
  await once(silent, 'listening')
  two.peers.setMembers([{ id: 1, host: '127.0.0.1', port: (silent.address() as AddressInfo).port }])
  const [dialed] = (await once(silent, 'connection')) as [Socket]
  dialed.resume()
  const { recorded, port } = await startProxy(t, two.port)
  await rawPeer(t, port, { id: 3, meant: 2 })
  const [hello, proof] = partsOf(Buffer.concat(recorded.all[0]!.toTarget))
  hello!.writeUInt32BE(1, 7 + 2)
  const closed = once(dialed, 'close')
  const socket = await rawConnection(t, two.port)
  socket.write(Buffer.concat([hello!, proof!]))
  await closed
  assert.equal(story(two), '+3')
})

// ── loss ──

test('peers: a connection that is cut is lost on both sides and made again', async (t) => {
  const one = await startPeers(t, 1)
  const two = await startPeers(t, 2)
  const proxy = await startProxy(t, one.port)
  two.peers.setMembers([member({ id: 1, port: proxy.port })])
  await Promise.all([one.connected(2), two.connected(1)])
  proxy.cut()
  await Promise.all([one.heard.reaches(3), two.heard.reaches(3)])
  assert.deepEqual([story(one), story(two)], ['+2 -2 +2', '+1 -1 +1'])
})

for (const direction of ['toTarget', 'toDialer'] as const) {
  test(`peers: when one direction is silent (${direction}), both sides lose the connection`, async (t) => {
    const one = await startPeers(t, 1, { keepaliveMs: 300, handshakeMs: 300 })
    const two = await startPeers(t, 2, { keepaliveMs: 300, handshakeMs: 300 })
    const proxy = await startProxy(t, one.port)
    two.peers.setMembers([member({ id: 1, port: proxy.port })])
    await Promise.all([one.connected(2), two.connected(1)])
    proxy.stall(direction)
    await Promise.all([one.lost(2), two.lost(1)])
    await (direction === 'toTarget' ? one : two).warned('nothing was heard of it for 300 ms')
    proxy.release(direction)
    await Promise.all([one.connected(2), two.connected(1)])
  })
}

test('peers: a connection without messages lives on by signs of life', async (t) => {
  const [low, high] = [new ManualClock(), new ManualClock()]
  const one = await startPeers(t, 1, { clock: low, keepaliveMs: 8000 })
  const two = await startPeers(t, 2, { clock: high, keepaliveMs: 8000 })
  await join(one, two)
  const bytesAt = (server: typeof one, peer: number) =>
    server.peers.connection(peer)?.traffic.bytesReceived ?? 0
  for (let i = 0; i < 10; i++) {
    const before = [bytesAt(one, 2), bytesAt(two, 1)] as const
    low.advance(4000)
    high.advance(4000)
    await eventually('signs of life', () => bytesAt(one, 2) > before[0] && bytesAt(two, 1) > before[1])
  }
  assert.deepEqual([story(one), story(two)], ['+2', '+1'])
  low.advance(9000)
  assert.equal(story(one), '+2 -2')
})

test('peers: a process that was stopped for long keeps connections from which something waits', async (t) => {
  const clock = new ManualClock()
  const one = await startPeers(t, 1, { clock, keepaliveMs: 8000 })
  const two = await startPeers(t, 2)
  await join(one, two)
  two.peers.send(1, ack(1))
  two.peers.flush()
  clock.sleep(100_000)
  clock.advance(4000)
  assert.equal(story(one), '+2')
  await one.heard.until('the message that waited', ({ type }) => type === 'received')
  clock.advance(7000)
  assert.equal(story(one), '+2')
})

test('peers: a server that does not take what is sent to it is given up at the limit', async (t) => {
  const two = await startPeers(t, 2, { maxBacklogBytes: 4_000_000 })
  const raw = await rawPeer(t, two.port, { id: 1, meant: 2 })
  await two.connected(1)
  raw.socket.pause()
  // More than the limit and what the system's buffers take
  for (let i = 0; i < 40; i++) {
    two.peers.send(1, forward(1_000_000))
    two.peers.flush()
  }
  assert.equal(story(two), '+1')
  await two.lost(1)
  await two.warned('bytes wait to be sent to it; the limit is 4000000')
})

test('peers: a long transfer waits until the other side takes it', async (t) => {
  const two = await startPeers(t, 2)
  const raw = await rawPeer(t, two.port, { id: 1, meant: 2 })
  await two.connected(1)
  raw.socket.pause()
  let waits: Promise<void> | undefined
  for (let i = 0; i < 1000 && waits === undefined; i++) {
    two.peers.send(1, forward(1_000_000))
    const drained = two.peers.drained(1)
    if (two.peers.connection(1)!.backlogBytes > 1 << 20) waits = drained
    else await drained
  }
  assert.ok(waits)
  let done = false
  void waits.then(() => {
    done = true
  })
  await two.peers.drained(9)
  assert.equal(done, false)
  raw.socket.resume()
  await waits
  assert.ok(two.peers.connection(1)!.backlogBytes < 1 << 20)
})

test('peers: a transfer to a server that goes away does not wait for ever', async (t) => {
  const two = await startPeers(t, 2)
  const raw = await rawPeer(t, two.port, { id: 1, meant: 2 })
  await two.connected(1)
  raw.socket.pause()
  for (let i = 0; i < 30; i++) two.peers.send(1, forward(1_000_000))
  const drained = two.peers.drained(1)
  raw.socket.destroy()
  await drained
  await two.lost(1)
})

// ── faults of others ──

for (const [what, bytes, text] of [
  [
    'a malformed frame',
    Buffer.from([0, 0, 0, 6, 0, 0, 0, 2, 0xdc, 0xff]),
    'sent a frame whose head ends within a value',
  ],
  ['a frame above the limit', Buffer.from([0xff, 0, 0, 0, 1]), 'sent a frame of 4278190080 bytes'],
  [
    'a message of an unknown kind',
    Buffer.from([0, 0, 0, 8, 0, 0, 0, 4, 0x91, 0x92, 99, 1]),
    'unknown kind 99',
  ],
] as const) {
  test(`peers: ${what} ends the connection that it came by, and no other`, async (t) => {
    const { one, two } = await pair(t)
    const raw = await rawPeer(t, two.port, { id: 3, meant: 2 })
    await two.connected(3)
    raw.socket.write(Buffer.concat([framed(ack(1)), bytes, framed(ack(2))]))
    await two.warned(text)
    await two.lost(3)
    assert.deepEqual(received(two), [ack(1)])
    one.peers.send(2, ack(3))
    one.peers.flush()
    await two.heard.until('a message of 1', (item) => item.type === 'received' && item.peer === 1)
    assert.equal(story(two), '+1 +3 -3')
  })
}

test('peers: a handler can lay a fault at the sender, which ends the connection', async (t) => {
  const two = await startPeers(t, 2, {
    onMessage: () => {
      throw new PeerFault('an ack of nothing')
    },
  })
  const raw = await rawPeer(t, two.port, { id: 1, meant: 2 })
  raw.socket.write(framed(ack(1), ack(2)))
  await two.warned('the other server sent an ack of nothing')
  await two.lost(1)
  assert.deepEqual(received(two), [ack(1)])
})

test('peers: after a drop within a chunk the rest of it is void, and no loss is reported', async (t) => {
  const two = await startPeers(t, 2, { onMessage: (from) => two.peers.drop(from, 'enough') })
  const raw = await rawPeer(t, two.port, { id: 1, meant: 2 })
  raw.socket.write(framed(ack(1), ack(2)))
  await once(raw.socket, 'close')
  await two.warned('connection to server 1 closed: enough')
  await rawPeer(t, two.port, { id: 1, meant: 2 })
  await two.heard.reaches(3)
  assert.deepEqual(received(two), [ack(1)])
  assert.equal(story(two), '+1 +1')
})

// ── members, suspension, the end ──

test('peers: a suspended server has no connections and makes none until it resumes', async (t) => {
  const { one, two } = await pair(t)
  two.peers.suspend('its disk is full')
  assert.equal(story(two), '+1 -1')
  await one.lost(2)
  await assert.rejects(rawPeer(t, two.port, { id: 3, meant: 2 }), {
    message: `refused ${RefusalCode.suspended}`,
  })
  two.peers.resume()
  await Promise.all([two.heard.reaches(3), one.heard.reaches(3)])
  assert.equal(story(two), '+1 -1 +1')
})

test('peers: a member that is taken off the list stays connected, but is not dialed again', async (t) => {
  const clock = new ManualClock()
  const one = await startPeers(t, 1)
  const two = await startPeers(t, 2, { clock, keepaliveMs: 80_000 })
  await join(one, two)
  one.peers.setMembers([])
  two.peers.setMembers([])
  two.peers.send(1, ack(1))
  two.peers.flush()
  await one.heard.until('a message', ({ type }) => type === 'received')
  const before = clock.delays.all.length
  one.peers.drop(2, 'test')
  await two.lost(1)
  assert.deepEqual(clock.delays.all.slice(before), [])
})

test('peers: a member with a new address is dialed there', async (t) => {
  const two = await startPeers(t, 2)
  const one = await startPeers(t, 1)
  two.peers.setMembers([{ id: 1, host: '127.0.0.1', port: await unusedPort(t) }])
  await two.log.until('a line', ({ text }) => text.includes('nothing listens there (ECONNREFUSED)'))
  two.peers.setMembers([member(one)])
  await two.connected(1)
})

test('peers: a close sends what was queued, and the handler hears nothing of it', async (t) => {
  const { one, two } = await pair(t)
  for (let i = 0; i < 20; i++) two.peers.send(1, forward(100_000, i))
  await two.peers.close()
  await one.lost(2)
  assert.equal(received(one).length, 20)
  assert.equal(story(two), '+1')
})

test('peers: a close does not wait long for a server that does not read', async (t) => {
  const two = await startPeers(t, 2)
  const raw = await rawPeer(t, two.port, { id: 1, meant: 2 })
  await two.connected(1)
  raw.socket.pause()
  for (let i = 0; i < 30; i++) two.peers.send(1, forward(1_000_000))
  await two.peers.close()
})

test('peers: a port in use is the error of listen', async (t) => {
  const one = await startPeers(t, 1)
  await assert.rejects(startPeers(t, 2, { port: one.port }), { code: 'EADDRINUSE' })
})

test('peers: connections that say nothing are closed in time and keep nobody out', async (t) => {
  const two = await startPeers(t, 2, { handshakeMs: 60_000 })
  const silent = await Promise.all(Array.from({ length: 140 }, () => rawConnection(t, two.port)))
  await rawPeer(t, two.port, { id: 1, meant: 2 })
  await two.connected(1)
  await eventually(
    'the oldest to be closed',
    () => silent[0]!.readableEnded || silent[0]!.destroyed || closed(silent[0]!),
  )
  const brief = await startPeers(t, 3, { handshakeMs: 50 })
  assert.equal((await bytesUntilClosed(await rawConnection(t, brief.port))).length, 0)
})

function closed(socket: { resume(): unknown }): boolean {
  socket.resume()
  return false
}

/** A port of loopback on which nobody listens. */
async function unusedPort(t: TestContext): Promise<number> {
  const server = await startPeers(t, 200)
  await server.peers.close()
  return server.port
}

/** The parts of a handshake's bytes. */
function partsOf(bytes: Buffer): Buffer[] {
  const parts: Buffer[] = []
  for (let at = 0; at + 7 <= bytes.length && bytes.toString('latin1', at, at + 4) === 'zabP'; ) {
    const end = at + 7 + bytes.readUInt16BE(at + 5)
    parts.push(Buffer.from(bytes.subarray(at, end)))
    at = end
  }
  return parts
}

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { type TestContext, test } from 'node:test'
import { Op } from '../../src/base/opcodes.ts'
import type { ConnectionError } from '../../src/client/connection.ts'
import { Encoder, within } from '../support/raw-client.ts'
import {
  deferred,
  framed,
  optionsFor,
  reply,
  scriptedServer,
  session,
  watched,
} from '../support/scripted-server.ts'

/** Why a connection to a server that answers the handshake like this ends. */
async function endOf(t: TestContext, answer: Buffer | 'close', auth = false): Promise<ConnectionError> {
  const port = await scriptedServer(t, (socket) => {
    if (answer === 'close') socket.end()
    else socket.write(answer)
  })
  const credentials = auth ? [{ scheme: 'digest', id: 'a:b' }] : []
  const { ended } = watched(optionsFor(port, { auth: credentials }))
  const reason = await within(ended, 'the connection ends')
  assert.ok(reason !== undefined)
  return reason
}

/** Asks `count` times at once on a server that answers with these bytes when the last request has come. */
async function ask(t: TestContext, count: number, answers: Buffer, pieces = [answers.length]) {
  const port = await scriptedServer(t, (socket, number) => {
    if (number === 0) socket.write(session())
    if (number !== count) return
    let at = 0
    const next = () => {
      const piece = pieces.shift()
      if (piece === undefined || at >= answers.length) return
      socket.write(answers.subarray(at, at + piece), () => setImmediate(next))
      at += piece
    }
    socket.setNoDelay(true)
    next()
  })
  const all = deferred<void>()
  const seen = watched(optionsFor(port), ({ replies }) => {
    if (replies.length === count) all.resolve()
  })
  await within(seen.opened, 'the session opens')
  for (let tag = 100; tag < 100 + count; tag++) {
    seen.connection.begin(Op.exists, tag, 0).buffer(Buffer.from('/a'))
    seen.connection.finish()
  }
  seen.connection.flush()
  return { ...seen, all: all.promise }
}

test('replies come to the callback in order, with the tag and the body of each', async (t) => {
  const body = new Encoder().text('hello')
  const answers = Buffer.concat([
    reply(1, 5n, 0, body),
    framed(new Encoder().int(-1).long(-1n).int(0).int(3).int(3).text('/changed')),
    reply(2, 5n, -101),
    reply(3, 6n),
  ])
  const { all, replies, events, connection } = await ask(t, 3, answers)
  await within(all, 'three replies')
  assert.deepEqual(replies, [
    { tag: 100, error: 0, body: body.bytes() },
    { tag: 101, error: -101, body: Buffer.alloc(0) },
    { tag: 102, error: 0, body: Buffer.alloc(0) },
  ])
  assert.deepEqual(events, ['/changed'])
  assert.equal(connection.underWay, 0)
  connection.destroy()
})

test('frames may be cut anywhere', async (t) => {
  const answers = Buffer.concat(
    [1, 2, 3, 4].map((xid) => reply(xid, 1n, 0, new Encoder().text('x'.repeat(xid * 20)))),
  )
  for (const size of [1, 3, 7, 50]) {
    const pieces = Array.from({ length: Math.ceil(answers.length / size) }, () => size)
    const { all, replies, connection } = await ask(t, 4, answers, pieces)
    await within(all, 'four replies')
    assert.deepEqual(
      replies.map(({ tag, body }) => [tag, body.length]),
      [100, 101, 102, 103].map((tag, i) => [tag, 4 + 20 * (i + 1)]),
    )
    connection.destroy()
  }
})

test('a frame that is larger than a read comes whole', async (t) => {
  const large = Buffer.alloc(3_000_000, 'y')
  const { all, replies, connection } = await ask(t, 1, reply(1, 1n, 0, new Encoder().raw(large)))
  await within(all, 'the reply')
  assert.ok(replies[0]?.body.equals(large))
  connection.destroy()
})

test('a thousand requests may be under way', async (t) => {
  const answers = Buffer.concat(Array.from({ length: 1000 }, (_, i) => reply(i + 1, 1n)))
  const { all, replies, connection } = await ask(t, 1000, answers)
  await within(all, 'all replies')
  assert.deepEqual([replies[0]?.tag, replies[999]?.tag, connection.underWay], [100, 1099, 0])
  connection.destroy()
})

/** Answers that end the connection, and what it says of them. */
const broken: readonly (readonly [fact: string, answers: Buffer, expected: RegExp])[] = [
  ['a reply out of order', reply(2, 1n), /xid 2 where the one with 1 was expected: out of order/],
  ['a zxid that goes back', Buffer.concat([reply(1, 9n), reply(2, 8n)]), /zxid went back from 0x9 to 0x8/],
  [
    'a reply that nobody asked for',
    Buffer.concat([reply(1, 1n), reply(2, 1n), reply(3, 1n)]),
    /but nothing was asked/,
  ],
  ['a frame of a negative length', new Encoder().int(-5).bytes(), /a frame of -5 bytes/],
  ['a frame without a header', framed(new Encoder().int(1)), /too short/],
]

for (const [fact, answers, expected] of broken) {
  test(`${fact} ends the connection as a fault of the protocol`, async (t) => {
    const { ended } = await ask(t, 2, answers)
    const reason = await within(ended, 'the connection ends')
    assert.equal(reason?.kind, 'protocol')
    assert.match(reason.message, expected)
  })
}

test('a refused session, a server that only reads, and one that closes at once are told apart', async (t) => {
  assert.equal((await endOf(t, session(0))).kind, 'refused')
  assert.equal((await endOf(t, session(4000, true))).kind, 'read-only')
  assert.equal((await endOf(t, 'close')).kind, 'not serving')
})

test('credentials that are not accepted refuse the session, whether the server says so or closes', async (t) => {
  const no = framed(new Encoder().int(-4).long(0n).int(-115))
  assert.match((await endOf(t, Buffer.concat([session(), no]), true)).message, /credentials: authFailed/)
})

test('credentials are confirmed before the session is announced', async (t) => {
  const frames: number[] = []
  const port = await scriptedServer(t, (socket, number, frame) => {
    frames.push(frame.readInt32BE(number === 0 ? 0 : 4))
    socket.write(number === 0 ? session() : framed(new Encoder().int(-4).long(0n).int(0)))
  })
  const { opened, connection } = watched(optionsFor(port, { auth: [{ scheme: 'digest', id: 'a:b' }] }))
  await within(opened, 'the session opens')
  assert.deepEqual(frames, [0, Op.auth])
  connection.destroy()
})

test('a port where nothing listens is out of reach, and a server that keeps silent is not serving', async (t) => {
  const gone = createServer().listen(0, '127.0.0.1')
  await once(gone, 'listening')
  const { port } = gone.address() as AddressInfo
  gone.close()
  const reason = await within(watched(optionsFor(port)).ended, 'the connection ends')
  assert.deepEqual([reason?.kind, reason?.message], ['unreachable', 'nothing listens there'])
  const silent = await scriptedServer(t, () => {})
  const late = await within(watched(optionsFor(silent, { connectTimeoutMs: 50 })).ended, 'patience ends')
  assert.deepEqual(
    [late?.kind, late?.message],
    ['not serving', 'no answer within 50 ms: it opens no session'],
  )
})

test('a connection that breaks is lost; one that was closed from here ends without a reason', async (t) => {
  const port = await scriptedServer(t, (socket, number, frame) => {
    if (number === 0) socket.write(session())
    else if (frame.readInt32BE(4) === Op.closeSession) socket.end(reply(1, 1n))
    else socket.destroy()
  })
  const lost = watched(optionsFor(port))
  await within(lost.opened, 'the session opens')
  lost.connection.begin(Op.exists, 1, 0)
  lost.connection.finish()
  lost.connection.flush()
  assert.equal((await within(lost.ended, 'the connection ends'))?.kind, 'lost')
  assert.equal(lost.connection.underWay, 1)
  const closed = watched(optionsFor(port))
  await within(closed.opened, 'the session opens')
  closed.connection.close()
  assert.equal(await within(closed.ended, 'the session is closed'), undefined)
  assert.deepEqual(closed.replies, [])
})

test('a ping is not a request: its answer is nobody’s reply', async (t) => {
  const port = await scriptedServer(t, (socket, number, frame) => {
    if (number === 0) socket.write(session())
    else if (frame.readInt32BE(4) === Op.ping) socket.write(reply(-2, 3n))
    else socket.write(reply(frame.readInt32BE(0), 3n))
  })
  const first = deferred<void>()
  const seen = watched(optionsFor(port), () => first.resolve())
  await within(seen.opened, 'the session opens')
  seen.connection.ping()
  seen.connection.begin(Op.exists, 7, 0)
  seen.connection.finish()
  seen.connection.flush()
  await within(first.promise, 'the reply')
  assert.deepEqual(
    seen.replies.map(({ tag }) => tag),
    [7],
  )
  seen.connection.destroy()
})

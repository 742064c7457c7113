// The handshake: ConnectRequest and ConnectResponse, new sessions, re-attached ones, refusals (wire.md 3).
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  ClosedError,
  type ConnectOptions,
  type ConnectResponse,
  code,
  connectRequest,
  Encoder,
  Flag,
  frame,
  ok,
  RawClient,
} from '../support/raw-client.ts'
import { apache, quirk, sharedServer } from '../support/server.ts'

let silent: RawClient
let slow: RawClient

// The last tests of this file wait for the end of `silent` and `slow`; started here, so that the time passes meanwhile.
const zk = sharedServer({ tickTime: 2000, 'nio.sessionlessCnxnTimeout': 3000 }, async ({ port }) => {
  silent = await RawClient.dial(port)
  slow = await RawClient.dial(port)
  slow.sendRaw(frame(connectRequest()).subarray(0, 20))
})
const zeros = Buffer.alloc(16)

async function shake(options: ConnectOptions): Promise<ConnectResponse> {
  return await (await zk.dial()).handshake(options)
}

/** The server must refuse: timeout, id and password all zero, then close. */
async function assertRefused(options: ConnectOptions): Promise<void> {
  const client = await zk.dial()
  const response = await client.handshake(options)
  assert.deepEqual(
    [response.protocolVersion, response.timeout, response.sessionId, response.passwd],
    [0, 0, 0n, zeros],
  )
  await client.closed()
}

/** The server must close without one byte of answer. */
async function assertCutSilently(payload: Buffer): Promise<void> {
  const client = await zk.dial()
  await assert.rejects(client.handshakeRaw(payload), ClosedError)
  assert.equal(client.bytesReceived, 0)
}

test('a response carries the readOnly byte if the request did: 37 bytes', async () => {
  const response = await shake({ readOnly: false })
  assert.equal(response.raw.length, 37)
  assert.equal(response.readOnly, false)
})

test('a response has no readOnly byte if the request had none: 36 bytes', async () => {
  const response = await shake({ readOnly: 'absent' })
  assert.equal(response.raw.length, 36)
})

test('a client that would accept read-only service is told that the server is not read-only', async () => {
  assert.equal((await shake({ readOnly: true })).readOnly, false)
})

test('a readOnly byte of 2 is a byte like any other', async () => {
  assert.equal((await shake({ readOnly: 2 })).readOnly, false)
})

test('the protocol version of the request is ignored and answered with 0', async () => {
  assert.equal((await shake({ protocolVersion: 7 })).protocolVersion, 0)
})

test('bytes behind a ConnectRequest are ignored', async () => {
  const client = await zk.dial()
  const response = await client.handshakeRaw(Buffer.concat([connectRequest(), Buffer.from('abc')]))
  assert.notEqual(response.sessionId, 0n)
})

for (const [asked, given] of [
  [1, 4000],
  [0, 4000],
  [-5, 4000],
  [3999, 4000],
  [4000, 4000],
  [12_345, 12_345],
  [40_000, 40_000],
  [1_000_000, 40_000],
] as const) {
  test(`with ticks of 2000 ms, a timeout of ${asked} ms is negotiated as ${given} ms`, async () => {
    assert.equal((await shake({ timeout: asked })).timeout, given)
  })
}

test('a new session gets a positive id and a password of 16 bytes', async () => {
  const response = await shake({})
  assert.ok(response.sessionId > 0n)
  assert.equal(response.passwd.length, 16)
  assert.notDeepEqual(response.passwd, zeros)
})

test('two sessions have different ids and passwords', async () => {
  const [a, b] = await Promise.all([shake({}), shake({})])
  assert.notEqual(a.sessionId, b.sessionId)
  assert.notDeepEqual(a.passwd, b.passwd)
})

for (const [what, passwd] of [
  ['16 arbitrary bytes', Buffer.alloc(16, 7)],
  ['3 bytes', Buffer.from('abc')],
  ['an empty one', Buffer.alloc(0)],
  ['a null one', null],
] as const) {
  test(`for a new session the password is ignored: ${what}`, async () => {
    assert.notEqual((await shake({ passwd })).sessionId, 0n)
  })
}

/** ZooKeeper's password: a java.util.Random seeded with the session's id. */
function guessedPassword(sessionId: bigint): Buffer {
  const mask = (1n << 48n) - 1n
  let seed = (BigInt.asUintN(64, sessionId ^ 0xb3415c00n) ^ 0x5deece66dn) & mask
  const passwd = Buffer.alloc(16)
  for (let i = 0; i < 4; i++) {
    seed = (seed * 0x5deece66dn + 0xbn) & mask
    passwd.writeUInt32LE(Number((seed >> 16n) & 0xffffffffn), i * 4)
  }
  return passwd
}

test(`the password of a session ${apache ? 'is' : 'is not'} a function of its id that anybody can compute`, async () => {
  const { sessionId, passwd } = await shake({})
  assert.equal(guessedPassword(sessionId).equals(passwd), apache)
})

test('lastZxidSeen equal to the last applied zxid is accepted', async () => {
  const writer = await zk.connect()
  const { zxid } = await writer.create('/seen')
  assert.notEqual((await shake({ lastZxidSeen: zxid })).sessionId, 0n)
})

test('lastZxidSeen above the last applied zxid: closed without a reply', async () => {
  await assertCutSilently(connectRequest({ lastZxidSeen: 1n << 52n }))
})

test('a negative lastZxidSeen is accepted', async () => {
  assert.notEqual((await shake({ lastZxidSeen: -1n })).sessionId, 0n)
})

for (const length of [0, 10, 24]) {
  test(`a ConnectRequest cut off after ${length} bytes: closed without a reply`, async () => {
    await assertCutSilently(connectRequest().subarray(0, length))
  })
}

test('a first frame longer than jute.maxbuffer: closed without a reply', async () => {
  const client = await zk.dial()
  client.sendRaw(new Encoder().int(0x100000).bytes())
  await client.closed()
  assert.equal(client.bytesReceived, 0)
})

test('a first frame of negative length: closed without a reply', async () => {
  const client = await zk.dial()
  client.sendRaw(new Encoder().int(-1).bytes())
  await client.closed()
  assert.equal(client.bytesReceived, 0)
})

test('a ConnectRequest may arrive byte by byte', async () => {
  const client = await zk.dial()
  const bytes = frame(connectRequest())
  for (const byte of bytes.subarray(0, -1)) client.sendRaw(Buffer.from([byte]))
  await new Promise((resolve) => setImmediate(resolve))
  // The last byte goes out with the client's knowledge that an answer is due.
  const response = client.handshakeTail(bytes.subarray(-1))
  assert.notEqual((await response).sessionId, 0n)
})

test('requests may be pipelined right behind the ConnectRequest', async () => {
  const client = await zk.dial()
  const [response, created, read] = client.batch(() => [
    client.handshake(),
    client.create('/pipelined', { data: 'x' }),
    client.getData('/pipelined'),
  ])
  assert.notEqual((await response).sessionId, 0n)
  assert.equal(await ok(created), '/pipelined')
  assert.deepEqual((await ok(read)).data, Buffer.from('x'))
})

test('re-attach: same id, same password', async () => {
  const first = await zk.connect()
  const response = await shake(first.credentials)
  assert.deepEqual([response.sessionId, response.passwd], [first.session.sessionId, first.session.passwd])
})

test('re-attach: the timeout is negotiated anew from this request', async () => {
  const first = await zk.connect({ timeout: 30_000 })
  assert.equal((await shake({ ...first.credentials, timeout: 5000 })).timeout, 5000)
})

test('re-attach: the session goes on after its connection was cut, with its ephemerals', async () => {
  const first = await zk.connect()
  await ok(first.create('/re-attach-eph', { flags: Flag.ephemeral }))
  await first.drop()
  const second = await zk.connect(first.credentials)
  const stat = await ok(second.exists('/re-attach-eph'))
  assert.equal(stat.ephemeralOwner, first.session.sessionId)
})

test('re-attach closes the other connection of that session at once', async () => {
  const first = await zk.connect()
  await zk.connect(first.credentials)
  await first.closed()
})

test('re-attach: watches of the old connection are gone', async () => {
  const first = await zk.connect()
  await ok(first.create('/re-attach-watch'))
  await ok(first.getData('/re-attach-watch', true))
  await ok(first.addWatch('/re-attach-watch', 0))
  const second = await zk.connect(first.credentials)
  await ok(second.setData('/re-attach-watch', 'new'))
  assert.deepEqual(await second.events(), [])
})

test('re-attach without the readOnly byte is answered without it', async () => {
  const first = await zk.connect()
  const response = await shake({ ...first.credentials, readOnly: 'absent' })
  assert.equal(response.raw.length, 36)
  assert.equal(response.sessionId, first.session.sessionId)
})

for (const [what, passwd] of [
  ['16 other bytes', () => Buffer.alloc(16, 7)],
  ['its first 8 bytes', (right: Buffer) => right.subarray(0, 8)],
  ['it with a byte more', (right: Buffer) => Buffer.concat([right, Buffer.alloc(1)])],
  ['an empty one', () => Buffer.alloc(0)],
  ['a null one', () => null],
] as const) {
  test(`re-attach with a wrong password is refused: ${what}`, async () => {
    const first = await zk.connect()
    const { sessionId } = first.session
    await assertRefused({ sessionId, passwd: passwd(first.session.passwd) })
  })
}

quirk('a wrong password does not cut the connection that holds the session', async () => {
  const first = await zk.connect()
  await assertRefused({ sessionId: first.session.sessionId, passwd: Buffer.alloc(16, 7) })
  assert.equal(await code(first.exists('/')), 0)
  assert.equal(first.isClosed, false)
})

test('after a wrong password the right one still works', async () => {
  const first = await zk.connect()
  await assertRefused({ sessionId: first.session.sessionId, passwd: Buffer.alloc(16, 7) })
  assert.equal((await shake(first.credentials)).sessionId, first.session.sessionId)
})

test('an unknown session is refused', async () => {
  await assertRefused({ sessionId: 0x7f00_0000_0000_0005n })
})

test('a negative session id is refused like an unknown one', async () => {
  await assertRefused({ sessionId: -5n })
})

test('a refusal has no readOnly byte if the request had none', async () => {
  const client = await zk.dial()
  const response = await client.handshake({ sessionId: 5n, readOnly: 'absent' })
  assert.equal(response.raw.length, 36)
  assert.equal(response.timeout, 0)
})

test('a closed session is refused, with the right password too', async () => {
  const first = await zk.connect()
  await ok(first.closeSession())
  await assertRefused(first.credentials)
})

describe('connection limits', () => {
  const limited = sharedServer({ maxClientCnxns: 2 })
  const total = sharedServer({ maxClientCnxns: 0, maxCnxns: 2 })

  for (const [key, server] of [
    ['maxClientCnxns', limited],
    ['maxCnxns', total],
  ] as const) {
    test(`${key}=2: a third connection is closed at accept, without a byte`, async () => {
      await server.connect()
      await server.connect()
      const third = await server.dial()
      await assert.rejects(third.handshake(), ClosedError)
      assert.equal(third.bytesReceived, 0)
    })

    test(`${key}=2: a connection that ended makes room for another`, async () => {
      const first = await server.connect()
      await server.connect()
      await first.close()
      assert.equal(await code((await server.connect()).exists('/')), 0)
    })
  }
})

describe('connections that never send a ConnectRequest', () => {
  test('are closed after a while', async () => {
    await silent.closed(45_000)
    assert.equal(silent.bytesReceived, 0)
  })

  test('are closed after a while in the middle of the request', async () => {
    await slow.closed(45_000)
    assert.equal(slow.bytesReceived, 0)
  })
})

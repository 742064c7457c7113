// Framing, headers, jute's odd cases and damaged requests (wire.md 1, 2, 4; semantics.md 13).
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { body, code, Encoder, Err, frame, Op, ok, openAcl, type RawClient } from '../support/raw-client.ts'
import { quirk, sharedServer } from '../support/server.ts'

// Sessions of cut connections must not expire meanwhile: their zxids would be counted.
const zk = sharedServer({ maxSessionTimeout: 300_000 })
const empty = Buffer.alloc(0)

/** After a refused request the connection must go on. */
async function assertUsable(client: RawClient): Promise<void> {
  assert.equal(await code(client.exists('/')), 0)
  assert.equal(client.isClosed, false)
}

describe('frames', () => {
  test('a request may arrive byte by byte', async () => {
    const client = await zk.connect()
    const bytes = frame(new Encoder().int(5).int(Op.exists).raw(body.pathWatch('/')).bytes())
    for (const byte of bytes.subarray(0, -1)) client.sendRaw(Buffer.from([byte]))
    assert.equal((await client.requestRaw(bytes.subarray(-1), { xid: 5 })).err, 0)
  })

  test('many requests in one chunk are all answered, in order', async () => {
    const client = await zk.connect()
    const replies = client.batch(() => Array.from({ length: 500 }, () => client.exists('/')))
    const xids = (await Promise.all(replies)).map((reply) => reply.xid)
    assert.deepEqual(
      xids,
      Array.from({ length: 500 }, (_, i) => i + 1),
    )
  })

  test('a chunk may end in the middle of a frame', async () => {
    const client = await zk.connect()
    const one = frame(new Encoder().int(1).int(Op.exists).raw(body.pathWatch('/')).bytes())
    const two = frame(new Encoder().int(2).int(Op.exists).raw(body.pathWatch('/')).bytes())
    const first = client.requestRaw(Buffer.concat([one, two.subarray(0, 7)]), { xid: 1 })
    assert.equal((await first).err, 0)
    assert.equal((await client.requestRaw(two.subarray(7), { xid: 2 })).err, 0)
  })

  test('a frame in two parts is whole, whatever comes on other connections in between', async () => {
    const clients = [await zk.connect(), await zk.connect()]
    const requests = clients.map((_, i) => {
      const data = Buffer.alloc(3000, `${i}`)
      return frame(
        new Encoder()
          .int(1)
          .int(Op.create)
          .raw(body.create(`/parts-${i}`, { data }))
          .bytes(),
      )
    })
    for (const [i, client] of clients.entries()) client.sendRaw(requests[i]?.subarray(0, 1500) ?? empty)
    const replies = clients.map((client, i) =>
      client.requestRaw(requests[i]?.subarray(1500) ?? empty, { xid: 1 }),
    )
    for (const reply of await Promise.all(replies)) assert.equal(reply.err, 0)
    for (const [i, client] of clients.entries()) {
      const { data } = await ok(client.getData(`/parts-${i}`))
      assert.deepEqual(data, Buffer.alloc(3000, `${i}`))
      await ok(client.delete(`/parts-${i}`))
    }
  })

  test('a frame of exactly 1048575 bytes is served', async () => {
    const client = await zk.connect()
    await ok(client.create('/large'))
    const data = Buffer.alloc(0xfffff - 8 - body.setData('/large', empty).length, 'd')
    assert.equal((await ok(client.setData('/large', data))).dataLength, data.length)
    assert.deepEqual((await ok(client.getData('/large'))).data, data)
    await ok(client.delete('/large'))
  })

  test('a frame of 1048576 bytes: closed without a reply', async () => {
    const client = await zk.connect()
    client.sendRaw(new Encoder().int(0x100000).bytes())
    await client.closed()
    assert.deepEqual(client.frames, [])
  })

  test('a frame of negative length: closed without a reply', async () => {
    const client = await zk.connect()
    client.sendRaw(new Encoder().int(-1).bytes())
    await client.closed()
    assert.deepEqual(client.frames, [])
  })

  for (const length of [0, 4, 7]) {
    test(`a frame of ${length} bytes, too short for a header: closed without a reply`, async () => {
      const client = await zk.connect()
      client.sendRaw(frame(Buffer.alloc(length)))
      await client.closed()
      assert.deepEqual(client.frames, [])
    })
  }

  test('requests before a bad frame are answered', async () => {
    const client = await zk.connect()
    const reply = client.batch(() => {
      const exists = client.exists('/')
      client.sendRaw(new Encoder().int(-1).bytes())
      return exists
    })
    await client.closed()
    // The answer may be lost with the connection, but never be wrong.
    await reply.then(
      ({ err }) => assert.equal(err, 0),
      () => {},
    )
  })

  test('the session of a connection that was cut for a bad frame lives on', async () => {
    const client = await zk.connect()
    client.sendRaw(new Encoder().int(-1).bytes())
    await client.closed()
    const again = await zk.connect(client.credentials)
    assert.equal(again.session.sessionId, client.session.sessionId)
  })
})

describe('jute.maxbuffer', () => {
  const small = sharedServer({ 'jute.maxbuffer': 2048 })

  test('a frame of exactly jute.maxbuffer bytes is served', async () => {
    const client = await small.connect()
    await ok(client.create('/small'))
    const data = Buffer.alloc(2048 - 8 - body.setData('/small', empty).length)
    assert.equal((await ok(client.setData('/small', data))).dataLength, data.length)
  })

  test('a frame one byte longer: closed without a reply', async () => {
    const client = await small.connect()
    client.sendRaw(new Encoder().int(2049).bytes())
    await client.closed()
    assert.deepEqual(client.frames, [])
  })
})

describe('headers', () => {
  for (const xid of [1, 0, -3, -100, 2147483647, -2147483648, -4, -8]) {
    test(`the xid ${xid} of a request is echoed`, async () => {
      const client = await zk.connect()
      assert.equal((await client.request(Op.exists, body.pathWatch('/'), { xid })).xid, xid)
    })
  }

  test('an xid may be used twice', async () => {
    const client = await zk.connect()
    const replies = client.batch(() => [
      client.request(Op.exists, body.pathWatch('/'), { xid: 9 }),
      client.request(Op.exists, body.pathWatch('/'), { xid: 9 }),
    ])
    assert.deepEqual(
      (await Promise.all(replies)).map(({ xid, err }) => [xid, err]),
      [
        [9, 0],
        [9, 0],
      ],
    )
  })

  for (const xid of [-2, 0, 1, 77]) {
    test(`a ping with xid ${xid} is answered with xid -2`, async () => {
      const client = await zk.connect()
      assert.equal((await client.ping(xid)).xid, -2)
    })
  }

  test('a ping stays behind earlier writes of its session', async () => {
    const client = await zk.connect()
    const [write, ping] = client.batch(() => [client.create('/before-ping'), client.ping()])
    await Promise.all([write, ping])
    assert.deepEqual(client.history(), ['reply 1', 'reply -2'])
    assert.equal((await ping).zxid, (await write).zxid)
  })

  test('the reply of a read carries the last applied zxid', async () => {
    const client = await zk.connect()
    const { zxid } = await client.create('/read-zxid')
    assert.equal((await client.exists('/')).zxid, zxid)
  })

  test('each write takes the next zxid, and its reply carries it', async () => {
    const client = await zk.connect()
    const first = await client.create('/own-zxid')
    const second = await client.setData('/own-zxid', 'x')
    assert.equal(second.zxid, first.zxid + 1n)
    assert.equal((await ok(client.exists('/own-zxid'))).mzxid, second.zxid)
  })

  for (const [what, send] of [
    ['a create that fails', (client: RawClient) => client.create('/no/parent')],
    ['a delete that fails', (client: RawClient) => client.delete('/no-such')],
    ['a setData that fails', (client: RawClient) => client.setData('/no-such', 'x')],
    ['a setACL that fails', (client: RawClient) => client.setAcl('/no-such', openAcl)],
    ['a create with bad flags', (client: RawClient) => client.create('/bad-flags', { flags: 9 })],
    ['a create with a bad ACL', (client: RawClient) => client.create('/bad-acl', { acl: [] })],
    ['a create with a bad path', (client: RawClient) => client.create('bad')],
    ['an empty multi', (client: RawClient) => client.multi([])],
  ] as const) {
    test(`${what} consumes a zxid too`, async () => {
      const client = await zk.connect()
      const { zxid } = await client.ping()
      assert.equal((await send(client)).zxid, zxid + 1n)
      assert.equal((await client.ping()).zxid, zxid + 1n)
    })
  }

  for (const [what, send] of [
    ['a read that fails', (client: RawClient) => client.exists('/no-such')],
    ['a read that succeeds', (client: RawClient) => client.getData('/')],
    ['a sync', (client: RawClient) => client.sync('/')],
    ['a multiRead', (client: RawClient) => client.multiRead([])],
    ['setWatches', (client: RawClient) => client.setWatches(0n, {})],
    ['whoAmI', (client: RawClient) => client.whoAmI()],
  ] as const) {
    test(`${what} consumes no zxid`, async () => {
      const client = await zk.connect()
      const { zxid } = await client.ping()
      assert.equal((await send(client)).zxid, zxid)
      assert.equal((await client.ping()).zxid, zxid)
    })
  }

  test('auth and sasl are answered with zxid 0', async () => {
    const client = await zk.connect()
    assert.equal((await client.auth('digest', 'u:p')).zxid, 0n)
    assert.equal((await client.sasl(empty)).zxid, 0n)
  })

  test('a reply with an error has no body: 16 bytes', async () => {
    const client = await zk.connect()
    for (const reply of [
      await client.getData('/no-such'),
      await client.create('/no/parent'),
      await client.getChildren2('/no-such'),
      await client.multi([{ type: 99, body: empty }]),
    ]) {
      assert.notEqual(reply.err, 0)
      assert.equal(reply.raw.length, 16)
    }
  })
})

describe('opcodes', () => {
  for (const op of [0, 10, -1, 77, 99, 108, Op.check]) {
    test(`opcode ${op} on its own: -6 with zxid -1, then close`, async () => {
      const client = await zk.connect()
      const reply = await client.request(op, body.pathVersion('/'))
      assert.deepEqual([reply.err, reply.zxid], [Err.unimplemented, -1n])
      await client.closed()
    })
  }

  quirk('createSession from a client is an unknown opcode: -6 with zxid -1, then close', async () => {
    const client = await zk.connect()
    const reply = await client.request(Op.createSession, new Encoder().int(10_000).bytes())
    assert.deepEqual([reply.err, reply.zxid], [Err.unimplemented, -1n])
    await client.closed()
  })

  quirk('deleteContainer from a client is refused with -8, and the connection goes on', async () => {
    const client = await zk.connect()
    await ok(client.createContainer('/c-from-client'))
    await ok(client.create('/plain-from-client'))
    assert.equal(await code(client.deleteContainer('/c-from-client')), Err.badArguments)
    assert.equal(await code(client.deleteContainer('/plain-from-client')), Err.badArguments)
    assert.equal(await code(client.exists('/c-from-client')), 0)
    assert.equal(await code(client.exists('/plain-from-client')), 0)
  })

  test('requests before an unknown opcode are executed', async () => {
    const client = await zk.connect()
    client.batch(() => [client.create('/before-unknown'), client.request(77, empty)])
    // Whether the first reply still arrives, and before the refusal, is not specified.
    await client.closed().catch(() => {})
    const again = await zk.connect(client.credentials)
    await ok(again.sync('/'))
    assert.equal(await code(again.exists('/before-unknown')), 0)
  })

  test('after an unknown opcode the session can be resumed', async () => {
    const client = await zk.connect()
    await client.request(77, empty)
    await client.closed()
    const again = await zk.connect(client.credentials)
    assert.equal(again.session.sessionId, client.session.sessionId)
  })
})

describe('damaged requests', () => {
  const withBody = Object.entries(Op).filter(
    ([name]) => !['ping', 'check', 'auth', 'sasl', 'whoAmI', 'createSession', 'closeSession'].includes(name),
  )
  for (const [name, op] of withBody) {
    if (op === Op.deleteContainer) continue
    test(`${name} without a body: -5, the connection goes on`, async () => {
      const client = await zk.connect()
      assert.equal((await client.request(op, empty)).err, Err.marshalling)
      await assertUsable(client)
    })

    test(`${name} with three bytes: -5, the connection goes on`, async () => {
      const client = await zk.connect()
      assert.equal((await client.request(op, Buffer.alloc(3))).err, Err.marshalling)
      await assertUsable(client)
    })
  }

  test('bytes left over behind a request are ignored', async () => {
    const client = await zk.connect()
    const rest = Buffer.from('rest')
    assert.equal((await client.request(Op.exists, Buffer.concat([body.pathWatch('/'), rest]))).err, 0)
    assert.equal((await client.request(Op.create, Buffer.concat([body.create('/left-over'), rest]))).err, 0)
    assert.equal((await client.request(Op.multi, Buffer.concat([body.multi([]), rest]))).err, 0)
  })

  test('a ping with a body is a ping', async () => {
    const client = await zk.connect()
    assert.equal((await client.request(Op.ping, Buffer.from('abc'), { xid: -2 })).err, 0)
  })

  for (const length of [-2, -1000, 3, 100_000, 2_000_000, 2147483647]) {
    test(`a path of length ${length} where 2 bytes follow: -5`, async () => {
      const client = await zk.connect()
      const request = new Encoder().int(length).raw(Buffer.from('/a')).bytes()
      assert.equal((await client.request(Op.exists, request)).err, Err.marshalling)
      await assertUsable(client)
    })

    test(`data of length ${length} where 2 bytes follow: -5`, async () => {
      const client = await zk.connect()
      const request = new Encoder().text('/').int(length).raw(Buffer.from('ab')).bytes()
      assert.equal((await client.request(Op.setData, request)).err, Err.marshalling)
      await assertUsable(client)
    })
  }

  for (const count of [2, 100_000, 2147483647]) {
    test(`an ACL of ${count} entries of which one follows: -5`, async () => {
      const client = await zk.connect()
      const request = new Encoder().text('/').int(count).int(31).text('world').text('anyone').bytes()
      assert.equal((await client.request(Op.setAcl, request)).err, Err.marshalling)
      await assertUsable(client)
    })

    test(`setWatches with a list of ${count} paths of which one follows: -5`, async () => {
      const client = await zk.connect()
      const request = new Encoder().long(0n).int(count).text('/').bytes()
      assert.equal((await client.request(Op.setWatches, request)).err, Err.marshalling)
      await assertUsable(client)
    })
  }

  test('a negative ACL count is a null ACL: -114', async () => {
    const client = await zk.connect()
    for (const count of [-1, -2, -1000]) {
      const request = new Encoder().text('/').int(count).int(-1).bytes()
      assert.equal((await client.request(Op.setAcl, request)).err, Err.invalidAcl)
    }
  })

  test('a truncated write does nothing and consumes no zxid', async () => {
    const client = await zk.connect()
    const { zxid } = await client.ping()
    const whole = body.create('/truncated')
    assert.equal((await client.request(Op.create, whole.subarray(0, -1))).err, Err.marshalling)
    assert.equal((await client.ping()).zxid, zxid)
    assert.equal(await code(client.exists('/truncated')), Err.noNode)
  })

  test('a damaged auth packet: closed without a reply', async () => {
    const client = await zk.connect()
    client.sendRaw(frame(new Encoder().int(-4).int(Op.auth).raw(Buffer.alloc(2)).bytes()))
    await client.closed()
    assert.deepEqual(client.frames, [])
  })

  test('a boolean of 2 is true', async () => {
    const client = await zk.connect()
    await ok(client.create('/bool'))
    assert.equal((await client.request(Op.getData, new Encoder().text('/bool').byte(2).bytes())).err, 0)
    await ok(client.setData('/bool', 'x'))
    assert.deepEqual(await client.events(), ['NodeDataChanged /bool'])
  })
})

describe('null and empty', () => {
  for (const [name, op, request] of [
    ['create', Op.create, body.create(null)],
    ['create2', Op.create2, body.create(null)],
    ['createTTL', Op.createTtl, body.createTtl(null, 1000n)],
    ['createContainer', Op.createContainer, body.create(null, { flags: 4 })],
    ['delete', Op.delete, body.pathVersion(null)],
    ['exists', Op.exists, body.pathWatch(null)],
    ['getData', Op.getData, body.pathWatch(null)],
    ['getChildren', Op.getChildren, body.pathWatch(null)],
    ['getChildren2', Op.getChildren2, body.pathWatch(null)],
    ['getACL', Op.getAcl, body.path(null)],
    ['getAllChildrenNumber', Op.getAllChildrenNumber, body.path(null)],
  ] as const) {
    test(`${name} of a null path: -5, the connection goes on`, async () => {
      const client = await zk.connect()
      assert.equal((await client.request(op, request)).err, Err.marshalling)
      await assertUsable(client)
    })
  }

  test('setData and setACL of a null path: -8', async () => {
    const client = await zk.connect()
    assert.equal(await code(client.setData(null, 'x')), Err.badArguments)
    assert.equal(await code(client.setAcl(null, openAcl)), Err.badArguments)
  })

  test('sync echoes a null path as null', async () => {
    const client = await zk.connect()
    const reply = await client.request(Op.sync, body.path(null))
    assert.equal(reply.body.toString('hex'), 'ffffffff')
  })

  test('sync echoes an empty path as empty', async () => {
    const client = await zk.connect()
    assert.equal(await ok(client.sync('')), '')
  })

  test('null data is read back as null, empty data as empty', async () => {
    const client = await zk.connect()
    await ok(client.create('/null', { data: null }))
    await ok(client.create('/empty', { data: empty }))
    assert.equal((await ok(client.getData('/null'))).data, null)
    assert.deepEqual((await ok(client.getData('/empty'))).data, empty)
    await ok(client.setData('/null', empty))
    await ok(client.setData('/empty', null))
    assert.deepEqual((await ok(client.getData('/null'))).data, empty)
    assert.equal((await ok(client.getData('/empty'))).data, null)
  })

  test('null data has length 0', async () => {
    const client = await zk.connect()
    await ok(client.create('/null-length', { data: null }))
    assert.equal((await ok(client.exists('/null-length'))).dataLength, 0)
  })

  test('a sasl token, empty or not, is answered with null where SASL is not configured', async () => {
    const client = await zk.connect()
    assert.equal(await ok(client.sasl(empty)), null)
    assert.equal(await ok(client.sasl(Buffer.from('token'))), null)
  })

  test('setWatches with null lists: -5', async () => {
    const client = await zk.connect()
    assert.equal(await code(client.setWatches(0n, { data: null, exist: null, child: null })), Err.marshalling)
    await assertUsable(client)
  })
})

describe('text', () => {
  /** sync echoes any string: what the server decoded, as it encodes it. */
  async function echo(input: string): Promise<string> {
    const client = await zk.connect()
    const reply = await client.request(Op.sync, body.path(Buffer.from(input, 'hex')))
    assert.equal(reply.err, 0)
    return reply.body.subarray(4).toString('hex')
  }

  test('two- and three-byte characters are kept', async () => {
    assert.equal(await echo('2fc3a4e282ac'), '2fc3a4e282ac')
  })

  test('a byte order mark is a character like any other', async () => {
    assert.equal(await echo('efbbbf2f61'), 'efbbbf2f61')
  })

  test('NUL is a character like any other', async () => {
    assert.equal(await echo('2f0061'), '2f0061')
  })

  test('a character beyond U+FFFF is sent as two surrogates of three bytes each', async () => {
    assert.equal(await echo('2ff09f9880'), '2feda0bdedb880')
  })

  test('malformed UTF-8 is decoded as U+FFFD', async () => {
    assert.equal(await echo('2fc3'), '2fefbfbd')
    assert.equal(await echo('2fff'), '2fefbfbd')
    assert.equal(await echo('2fe28241'), '2fefbfbd41')
    assert.equal(await echo('2fc0af'), '2fefbfbdefbfbd')
    assert.equal(await echo('2ff5808080'), '2fefbfbdefbfbdefbfbdefbfbd')
  })

  test('an ACL id may hold characters beyond U+FFFF', async () => {
    const client = await zk.connect()
    await ok(client.create('/astral-id'))
    const acl = [...openAcl, { perms: 1, scheme: 'digest', id: 'u\u{1f600}:x' }]
    await ok(client.setAcl('/astral-id', acl))
    const reply = await client.request(Op.getAcl, body.path('/astral-id'))
    assert.ok(reply.body.includes(Buffer.from('75eda0bdedb8803a78', 'hex')))
  })

  test('a malformed path is missing for reads and refused for writes', async () => {
    const client = await zk.connect()
    const malformed = Buffer.from('2fff', 'hex')
    assert.equal(await code(client.exists(malformed)), Err.noNode)
    assert.equal(await code(client.create(malformed)), Err.badArguments)
  })

  test('a path in surrogates of three bytes each is refused for writes', async () => {
    const client = await zk.connect()
    assert.equal(await code(client.create(Buffer.from('2feda0bdedb880', 'hex'))), Err.badArguments)
  })
})

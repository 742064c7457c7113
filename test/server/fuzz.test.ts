// Whatever bytes come, the server goes on, answers others rightly and keeps nothing. FUZZ_SEED=n repeats a run, and
// FUZZ_RUNS=n makes it n times as long.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import fc from 'fast-check'
import {
  body,
  ClosedError,
  code,
  connectRequest,
  Encoder,
  Err,
  frame,
  Op,
  ok,
  type RawClient,
} from '../support/raw-client.ts'
import { type Assault, assault, pieces, samples } from '../support/robust-fuzz.ts'
import { heldBytes, type RobustServer, robustServer, until } from '../support/robust-server.ts'
import { hello, Passing, request, turn } from '../support/robust-wire.ts'

const { FUZZ_SEED, FUZZ_RUNS } = process.env
const seed = Number(FUZZ_SEED ?? Math.floor(Math.random() * 2 ** 31))
const runs = Number(FUZZ_RUNS ?? 1)

let server: RobustServer
let witness: RawClient
const ends: (() => Promise<void>)[] = []

before(async () => {
  server = await robustServer({
    after: (end) => {
      if (end !== undefined) ends.push(end as () => Promise<void>)
    },
  })
  witness = await server.connect()
  await ok(witness.create('/witness', { data: 'untouched' }))
  for (const name of ['one', 'another']) await ok(witness.create(`/witness/${name}`))
  await ok(witness.create('/own'))
  // What is fuzzed stays below /f, mostly: its ACL may be anything afterwards, and that of the root. A damaged path may
  // create a znode beside /f or /zookeeper/config. What tests rely on is in /witness and /own.
  await ok(witness.create('/f'))
})

after(async () => {
  for (const end of ends) await end()
})

let writes = 0

/** Another client is served meanwhile, rightly: reads, writes, and its own watch. */
async function othersAreServed(): Promise<void> {
  assert.equal(String((await ok(witness.getData('/witness', true))).data), 'untouched')
  const stat = await ok(witness.setData('/witness', 'untouched'))
  assert.equal(stat.version, ++writes)
  assert.deepEqual(await witness.events(), ['NodeDataChanged /witness'])
}

async function attack(what: Assault): Promise<void> {
  const connection = what.handshake ? await Passing.open(server.port) : await Passing.dial(server.port)
  await connection.sendPieces(pieces(what))
  // The server answers the end of the input with the end of the connection, whatever came before.
  connection.socket.end()
  await connection.closed()
}

test('random bytes and damaged requests, in any pieces, harm nobody else', async (t) => {
  t.diagnostic(`FUZZ_SEED=${seed} FUZZ_RUNS=${runs}`)
  const attacks = fc.array(assault, { minLength: 1, maxLength: 6 })
  await fc.assert(
    fc.asyncProperty(attacks, async (list) => {
      await Promise.all([...list.map(attack), othersAreServed()])
    }),
    { seed, numRuns: 300 * runs },
  )
  await othersAreServed()
})

/** What the server says to an undecodable body; -5 unless named. `checked` before the body is looked at. */
const answers: Readonly<Record<string, number>> = { deleteContainer: Err.badArguments, sasl: Err.ok }

test('every operation with every part of its body is answered, with an error and in order', async () => {
  const client = await server.connect()
  const closing = new Set(['auth', 'check', 'createSession', 'closeSession'])
  const expected: string[] = []
  const results: Promise<string>[] = []
  for (const { name, op, body } of samples('/own/prefix').filter(({ name }) => !closing.has(name))) {
    for (let length = 0; length < body.length; length++) {
      const outOfOrder = name === 'sasl'
      results.push(
        client
          .request(op, body.subarray(0, length), { outOfOrder })
          .then(({ err }) => `${name} ${length}: ${err}`),
      )
      expected.push(`${name} ${length}: ${answers[name] ?? Err.marshalling}`)
    }
  }
  assert.deepEqual(await Promise.all(results), expected)
  assert.equal(await code(client.exists('/own/prefix')), Err.noNode)
  await othersAreServed()
})

test('an auth packet that ends early closes the connection', async () => {
  const auth = body.auth('digest', 'u:p')
  for (let length = 0; length < auth.length; length++) {
    const client = await server.connect()
    client.sendRaw(request(-4, Op.auth, auth.subarray(0, length)))
    await client.closed()
    assert.deepEqual(client.frames, [])
  }
  await othersAreServed()
})

test('a ConnectRequest that ends early closes the connection, one without the last byte is good', async () => {
  const payload = connectRequest()
  for (let length = 0; length < payload.length - 1; length++) {
    const client = await server.dial()
    await assert.rejects(client.handshakeRaw(payload.subarray(0, length)), ClosedError)
  }
  const client = await server.dial()
  await client.handshakeRaw(payload.subarray(0, -1), false)
  await othersAreServed()
})

test('a frame that is too short for a header closes the connection', async () => {
  for (let length = 0; length < 8; length++) {
    const client = await server.connect()
    client.sendRaw(frame(Buffer.alloc(length)))
    await client.closed()
  }
  await othersAreServed()
})

test('impossible lengths close the connection, before and after the handshake', async () => {
  const limit = 1048575
  for (const length of [-1, -2, -0x80000000, limit + 1, 0x7fffffff]) {
    const bytes = Buffer.concat([new Encoder().int(length).bytes(), Buffer.alloc(100)])
    for (const client of [await server.dial(), await server.connect()]) {
      const address = client.localAddress
      // A port may have been that of a connection that an earlier test ended.
      const older = new Set(server.lines)
      client.sendRaw(bytes)
      await client.closed()
      const told = server.lines
        .filter((line) => line.client === address && !older.has(line))
        .map(({ msg }) => msg)
      assert.deepEqual(told, [
        `connection closed: a frame of ${length} bytes; at most ${limit} (jute.maxbuffer) are accepted`,
      ])
    }
  }
  await othersAreServed()
})

test('the longest length is waited for, whatever its bytes are', async () => {
  const client = await server.connect()
  const start = new Encoder().int(1).int(Op.exists).text('/witness').bytes()
  const longest = frame(Buffer.concat([start, Buffer.alloc(1048575 - start.length)]))
  const reply = client.requestRaw(longest, { xid: 1 })
  assert.equal((await reply).err, Err.ok)
  await othersAreServed()
})

test('lists of impossible lengths are refused at once', async () => {
  const client = await server.connect()
  const created = (count: number) => new Encoder().text('/own/x').buffer(null).int(count).bytes()
  const listed = (count: number) => new Encoder().long(0n).int(count).bytes()
  for (const count of [0x7fffffff, 0x7ffffff, 1_000_000, 2]) {
    const bodies: [number, Buffer][] = [
      [Op.create, created(count)],
      [Op.create2, created(count)],
      [Op.createTtl, created(count)],
      [Op.setAcl, new Encoder().text('/own').int(count).bytes()],
      [Op.setWatches, listed(count)],
      [Op.setWatches2, listed(count)],
      [Op.multi, body.multi([{ type: Op.create, body: created(count) }])],
      [Op.getData, new Encoder().int(count).bytes()],
      [Op.setData, new Encoder().text('/own').int(count).bytes()],
    ]
    for (const [op, bytes] of bodies) assert.equal((await client.request(op, bytes)).err, Err.marshalling)
  }
  // A million elements, all of them there.
  const full = new Encoder().long(0n).int(250_000).raw(Buffer.alloc(1_000_000)).int(0).int(0).bytes()
  const reply = client.request(Op.setWatches, full)
  await othersAreServed()
  assert.equal((await reply).err, Err.ok)
})

test('a multi nested in a multi, thousands deep, is refused', async () => {
  const client = await server.connect()
  const header = new Encoder().int(Op.multi).bool(false).int(-1).bytes()
  const deep = Buffer.concat(Array.from({ length: 100_000 }, () => header))
  for (const op of [Op.multi, Op.multiRead])
    assert.equal((await client.request(op, deep)).err, Err.marshalling)
  await othersAreServed()
})

test('an unknown operation behind a write is answered in its place, and ends the connection', async () => {
  const client = await server.connect()
  server.disk.hold()
  const write = client.create('/own/-', { flags: 2 })
  const read = client.exists('/own')
  const unknown = client.request(77, Buffer.alloc(0))
  const never = client.exists('/f')
  await until('the write is there', () => server.disk.held > 0)
  await server.disk.release()
  assert.deepEqual(await Promise.all([code(write), code(read), code(unknown)]), [0, 0, Err.unimplemented])
  assert.equal((await unknown).zxid, -1n)
  await assert.rejects(never, ClosedError)
})

// ---------------------------------------------------------------- cut at every byte

const script = Buffer.concat([
  hello(),
  request(1, Op.create, body.create('/own/cut', { data: 'some data' })),
  request(2, Op.getData, body.pathWatch('/own/cut', true)),
  request(3, Op.setData, body.setData('/own/cut', 'more data')),
  request(4, Op.sync, body.path('/own/cut')),
  request(-2, Op.ping, Buffer.alloc(0)),
  request(5, Op.getChildren2, body.pathWatch('/witness')),
  request(6, Op.getAcl, body.path('/nothing')),
  request(7, Op.delete, body.pathVersion('/own/cut')),
  request(8, Op.closeSession, Buffer.alloc(0)),
])
const scriptAnswers = [
  ...[
    '0:0:37',
    '1:0:28',
    '2:0:97',
    '-1:0:36',
    '3:0:84',
    '4:0:28',
    '-2:0:16',
    '5:0:106',
    '6:-101:16',
    '7:0:16',
  ],
  '8:0:16',
]

async function play(parts: Iterable<Buffer>): Promise<string[]> {
  const client = await Passing.dial(server.port)
  const seen: string[] = []
  client.onFrame = ({ xid, err, length }) =>
    seen.push(seen.length === 0 ? `0:0:${length}` : `${xid}:${err}:${length}`)
  await client.sendPieces(parts)
  await client.closed()
  return seen
}

test('a session in two pieces, cut at any byte, is served as in one', async () => {
  assert.deepEqual(await play([script]), scriptAnswers)
  for (let at = 1; at < script.length; at++) {
    assert.deepEqual(await play([script.subarray(0, at), script.subarray(at)]), scriptAnswers, `cut at ${at}`)
  }
  await othersAreServed()
})

test('a session in pieces of one byte, or of seven, is served as in one', async () => {
  for (const size of [1, 7]) {
    const parts = Array.from({ length: Math.ceil(script.length / size) }, (_, i) =>
      script.subarray(i * size, (i + 1) * size),
    )
    assert.deepEqual(await play(parts), scriptAnswers)
  }
})

// ---------------------------------------------------------------- nothing is left

/** What a client may do to a connection before it goes away without a word. */
const rude: readonly ((port: number, i: number) => Promise<Passing>)[] = [
  (port) => Passing.dial(port),
  async (port, i) => {
    const connection = await Passing.dial(port)
    connection.send(Buffer.alloc(200, i))
    return connection
  },
  async (port) => {
    const connection = await Passing.dial(port)
    connection.send(hello().subarray(0, 30))
    return connection
  },
  async (port) => {
    const connection = await Passing.open(port)
    connection.send(new Encoder().int(1_000_000).raw(Buffer.alloc(50_000)).bytes())
    return connection
  },
  async (port, i) => {
    const connection = await Passing.open(port)
    connection.send(request(1, Op.create, body.create(`/e${i}`, { flags: 1, data: Buffer.alloc(1000) })))
    for (const op of [Op.exists, Op.getChildren])
      connection.send(request(2, op, body.pathWatch(`/e${i}`, true)))
    connection.send(request(3, Op.addWatch, body.pathVersion(`/r${i}`, i & 1)))
    await connection.received(5)
    return connection
  },
  async (port, i) => {
    // Gone before its write is done and before its reads are answered.
    const connection = await Passing.open(port)
    connection.send(request(1, Op.create, body.create(`/e${i}`, { flags: 1 })))
    for (let n = 0; n < 20; n++) connection.send(request(2, Op.getData, body.pathWatch(`/e${i}`, true)))
    return connection
  },
  async (port) => {
    const connection = await Passing.open(port)
    connection.send(request(1, Op.closeSession, Buffer.alloc(0)))
    await connection.closed()
    return connection
  },
]

test('thousands of rude connections leave no session, watch, znode, connection or memory behind', async (t) => {
  const own = await robustServer(t, { tickTime: 100 })
  let made = 0
  const crowd = async (count: number) => {
    const one = async () => {
      while (made < count) {
        const i = made++
        const connection = await (rude[i % rude.length] as (typeof rude)[number])(own.port, i)
        if (i % 3 === 0) connection.socket.resetAndDestroy()
        else connection.destroy()
        await connection.closed()
      }
    }
    await Promise.all(Array.from({ length: 40 }, one))
    await turn()
    own.advance(3000)
    await own.untilFigure('global_sessions', 0)
    await own.untilFigure('num_alive_connections', 1)
  }
  const figures = () => {
    const names = [
      'watch_count',
      'ephemerals_count',
      'outstanding_requests',
      'znode_count',
      'approximate_data_size',
    ]
    return Promise.all(names.map((name) => own.figure(name)))
  }
  const fresh = await figures()
  await crowd(700)
  const held = await heldBytes()
  await crowd(3700)
  const grown = (await heldBytes()) - held
  assert.deepEqual(await figures(), fresh)
  assert.ok(grown < 4 << 20, `${grown} bytes are left of 3000 connections`)
})

// Slow, silent and greedy clients: what they make the server hold is bounded, and others do not notice.
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { body, Err, frame, multiOp, Op, ok } from '../support/raw-client.ts'
import { type Lone, loneConnection } from '../support/robust-backend.ts'
import { heldBytes, type RobustServer, robustServer, until } from '../support/robust-server.ts'
import { hello, Passing, request, turn } from '../support/robust-wire.ts'

const mib = 1 << 20
/** Length of the data of /big0 to /big3. */
const big = 256 << 10
/** The server may hold this much of a client that reads nothing: outputHigh and a reply, or twice a frame, and slack. */
const held = 8 * mib

/** A connection with a session that goes when the test ends. */
async function open(t: TestContext, server: RobustServer): Promise<Passing> {
  const passing = await Passing.open(server.port)
  t.after(() => passing.destroy())
  return passing
}

/** Makes four znodes whose bytes are their number; returns the client that did. */
async function withBigZnodes(server: RobustServer) {
  const client = await server.connect()
  for (let i = 0; i < 4; i++) await ok(client.create(`/big${i}`, { data: Buffer.alloc(big, i) }))
  return client
}

function getBig(xid: number): Buffer {
  return request(xid, Op.getData, body.pathWatch(`/big${xid % 4}`))
}

/** Checks that replies with xids from `first` on come without a gap and carry what was asked for. */
function expectBig(client: Passing, first: number): void {
  let next = first
  client.onFrame = ({ xid, err, length, start }) => {
    assert.deepEqual([xid, err], [next, 0])
    assert.equal(length, 16 + 4 + big + 68)
    assert.equal(start[20], xid % 4)
    next++
  }
}

test('a client that asks for 250 MiB and reads nothing holds a few MiB, others are served, it gets all in order', async (t) => {
  const server = await robustServer(t)
  const witness = await withBigZnodes(server)
  const before = await heldBytes()
  const slow = await open(t, server)
  slow.stopReading()
  const count = 1000
  slow.send(Buffer.concat(Array.from({ length: count }, (_, i) => getBig(i))))
  await until('the server stops reading it', async () => / \S+\[4\]\(queued/.test(await server.word('cons')))
  for (let i = 0; i < 10; i++) assert.equal((await ok(witness.setData('/', `${i}`))).version, i + 1)
  const grown = (await heldBytes()) - before
  assert.ok(grown < held, `${grown} bytes are held`)
  expectBig(slow, 0)
  slow.readAgain()
  await slow.received(1 + count)
  assert.equal(slow.frames, 1 + count)
})

test('reads behind the last write of a pipeline wait for a slow client, and are answered in order', async (t) => {
  const server = await robustServer(t)
  const witness = await withBigZnodes(server)
  const slow = await open(t, server)
  const before = await heldBytes()
  slow.stopReading()
  const count = 200
  const requests = [request(0, Op.setData, body.setData('/', 'x'))]
  for (let xid = 1; xid <= count; xid++) requests.push(getBig(xid))
  server.disk.hold()
  slow.send(Buffer.concat(requests))
  await until('the write and the reads behind it are there', () => server.disk.held > 0)
  await turn()
  await server.disk.release()
  await until('the output waits', async () => / \S+\[4\]\(queued=[1-9]/.test(await server.word('cons')))
  for (let i = 0; i < 10; i++) await ok(witness.setData('/', `${i}`))
  const grown = (await heldBytes()) - before
  assert.ok(grown < held, `${grown} bytes are held`)
  slow.onFrame = ({ xid, err }) => {
    assert.deepEqual([xid, err], [0, 0])
    expectBig(slow, 1)
  }
  slow.readAgain()
  await slow.received(1 + 1 + count)
})

test('reads between two writes of a slow client see the state between them', async (t) => {
  const server = await robustServer(t)
  await withBigZnodes(server)
  const slow = await open(t, server)
  slow.stopReading()
  server.disk.hold()
  const requests = [request(0, Op.create, body.create('/n', { data: 'first' }))]
  for (let xid = 1; xid <= 40; xid++) requests.push(getBig(xid))
  requests.push(request(41, Op.getData, body.pathWatch('/n')))
  requests.push(request(42, Op.setData, body.setData('/n', 'second')))
  requests.push(request(43, Op.getData, body.pathWatch('/n')))
  slow.send(Buffer.concat(requests))
  await until('the write is there', () => server.disk.held > 0)
  await server.disk.release()
  const seen: string[] = []
  const xids: number[] = []
  slow.onFrame = ({ xid, start }) => {
    xids.push(xid)
    if (xid === 41 || xid === 43) seen.push(start.toString('latin1', 20, 20 + start.readInt32BE(16)))
  }
  slow.readAgain()
  await slow.received(1 + 44)
  assert.deepEqual(seen, ['first', 'second'])
  assert.deepEqual(xids, [...Array(44).keys()])
})

test('a sync with hundreds of reads behind it is answered, and so is everything after', async (t) => {
  const server = await robustServer(t)
  const client = await open(t, server)
  const xids: number[] = []
  client.onFrame = ({ xid }) => xids.push(xid)
  const requests = [request(0, Op.sync, body.path('/'))]
  for (let xid = 1; xid < 1000; xid++) requests.push(request(xid, Op.getData, body.pathWatch('/')))
  client.send(Buffer.concat(requests))
  await client.received(1 + 1000)
  assert.deepEqual(xids, [...Array(1000).keys()])
})

test('long requests that wait for a write do not pile up', async (t) => {
  const server = await robustServer(t)
  const client = await open(t, server)
  const before = await heldBytes()
  server.disk.hold()
  const long = `/${'x'.repeat(mib - 100)}`
  client.send(request(0, Op.create, body.create('/w')))
  for (let xid = 1; xid <= 60; xid++) client.send(request(xid, Op.exists, body.pathWatch(long)))
  await until('the server stops reading', async () =>
    / \S+\[0\]\(queued=[1-9]/.test(await server.word('cons')),
  )
  const inClient = client.socket.writableLength
  const grown = (await heldBytes()) - before - inClient
  assert.ok(grown < held, `${grown} bytes are held`)
  const results: string[] = []
  client.onFrame = ({ xid, err }) => results.push(`${xid}:${err}`)
  await server.disk.release()
  await client.received(1 + 61)
  assert.deepEqual(results, ['0:0', ...Array.from({ length: 60 }, (_, i) => `${i + 1}:${Err.noNode}`)])
})

test('syncs that wait for a write do not pile up', async (t) => {
  const server = await robustServer(t)
  const client = await open(t, server)
  const count = 50_000
  server.disk.hold()
  const requests = [request(0, Op.create, body.create('/w'))]
  for (let xid = 1; xid <= count; xid++) requests.push(request(xid, Op.sync, body.path('/')))
  client.send(Buffer.concat(requests))
  await until('the server stops reading', async () =>
    / \S+\[0\]\(queued=[1-9]/.test(await server.word('cons')),
  )
  const outstanding = await server.figure('outstanding_requests')
  assert.ok(outstanding <= 1001, `${outstanding} requests are outstanding, the limit is 1000`)
  let next = 0
  client.onFrame = ({ xid, err }) => assert.deepEqual([xid, err], [next++, 0])
  await server.disk.release()
  await client.received(1 + 1 + count)
})

test('a client that asks for a lot of work at once is served in turns with the others', async (t) => {
  const server = await robustServer(t)
  const witness = await server.connect()
  await ok(witness.create('/t'))
  for (let n = 0; n < 30; n++) {
    const made = Array.from({ length: 1000 }, (_, i) => multiOp.create(`/t/${n * 1000 + i}`))
    await ok(witness.multi(made))
  }
  const greedy = await open(t, server)
  const count = 1000
  const xids: number[] = []
  greedy.onFrame = ({ xid }) => xids.push(xid)
  // Little to send and to answer, but each is a walk over all znodes.
  const walk = body.path('/t')
  greedy.send(
    Buffer.concat(Array.from({ length: count }, (_, xid) => request(xid, Op.getAllChildrenNumber, walk))),
  )
  await turn()
  await witness.ping()
  assert.ok(xids.length < count / 2, `${xids.length} requests were served before another client's`)
  await greedy.received(1 + count)
  assert.deepEqual(xids, [...Array(count).keys()])
})

test('the answer to one multiRead is bounded', async (t) => {
  const server = await robustServer(t)
  const client = await withBigZnodes(server)
  const times = (count: number) => Array.from({ length: count }, () => multiOp.getData('/big1'))
  const before = await heldBytes()
  const { err } = await client.multiRead(times(50_000))
  assert.equal(err, Err.marshalling)
  const grown = (await heldBytes()) - before
  assert.ok(grown < held, `${grown} bytes are held`)
  assert.equal((await ok(client.multiRead(times(4)))).length, 4)
})

test('a client whose session expires while it reads nothing is cut off after a while', async (t) => {
  const server = await robustServer(t, { tickTime: 500 })
  const witness = await withBigZnodes(server)
  const slow = await open(t, server)
  slow.stopReading()
  slow.send(Buffer.concat(Array.from({ length: 20 }, (_, i) => getBig(i))))
  await until('the output waits', async () => / \S+\[4\]\(queued/.test(await server.word('cons')))
  await witness.close()
  server.advance(11_000)
  await server.untilFigure('global_sessions', 0)
  assert.equal(await server.figure('num_alive_connections'), 2)
  server.advance(10_000)
  await server.untilFigure('num_alive_connections', 1)
})

test('a client that does not take the answer to a word is cut off after a while', async (t) => {
  const server = await robustServer(t)
  const watcher = await server.connect()
  for (let i = 0; i < 20; i++) await watcher.exists(`/${'x'.repeat(mib / 2)}${i}`, true)
  const slow = await Passing.dial(server.port)
  t.after(() => slow.destroy())
  slow.stopReading()
  slow.send(Buffer.from('wchp'))
  await server.untilFigure('num_alive_connections', 3)
  server.advance(10_000)
  await server.untilFigure('num_alive_connections', 2)
})

test('a connection that does not finish its handshake is closed after ten seconds, one that did is not', async (t) => {
  const server = await robustServer(t)
  const session = await server.connect()
  const silent = await server.dial()
  const half = await server.dial()
  half.sendRaw(hello().subarray(0, 20))
  const none = await server.dial()
  none.sendRaw(Buffer.from([0]))
  await server.untilFigure('num_alive_connections', 5)
  server.advance(5000)
  await session.ping()
  assert.deepEqual([silent.isClosed, half.isClosed, none.isClosed], [false, false, false])
  server.advance(5000)
  await Promise.all([silent.closed(), half.closed(), none.closed()])
  await session.ping()
})

test('a watcher that reads late gets a hundred thousand events, in order', async (t) => {
  const server = await robustServer(t)
  const watcher = await open(t, server)
  watcher.send(request(0, Op.addWatch, body.pathVersion('/', 1)))
  await watcher.received(2)
  watcher.stopReading()
  const writer = await server.connect()
  const before = await heldBytes()
  for (let n = 0; n < 50; n++) {
    const ops = Array.from({ length: 1000 }, (_, i) => `/${n * 1000 + i}`)
    const made = ops.flatMap((path) => [multiOp.create(path), multiOp.delete(path)])
    assert.equal((await ok(writer.multi(made))).length, 2000)
  }
  const grown = (await heldBytes()) - before
  assert.ok(grown < 32 * mib, `${grown} bytes are held`)
  let next = 0
  watcher.onFrame = ({ xid, start }) => {
    assert.equal(xid, -1)
    const path = start.toString('latin1', 28, 28 + start.readInt32BE(24))
    assert.deepEqual([start.readInt32BE(16), path], [next % 2 === 0 ? 1 : 2, `/${next >> 1}`])
    next++
  }
  watcher.readAgain()
  await watcher.received(2 + 100_000)
})

// ---------------------------------------------------------------- one connection alone

async function loneSession(t: TestContext): Promise<Lone> {
  const lone = await loneConnection(t)
  lone.client.send(hello())
  await until('the session is asked for', () => lone.backend.submitted.length > 0)
  lone.backend.applyNext()
  await lone.client.received(1)
  return lone
}

test('a watcher that never reads is cut off when 256 MiB of events wait for it', async (t) => {
  const { backend, connection, client } = await loneSession(t)
  client.stopReading()
  const event = frame(Buffer.alloc(4092))
  let events = 0
  while (!connection.isClosed && events < 100_000) {
    for (let i = 0; i < 256; i++, events++) connection.notify(event)
    await turn()
  }
  const bytes = events * event.length
  assert.ok(connection.isClosed && bytes > 256 * mib && bytes < 272 * mib, `${bytes} bytes`)
  assert.deepEqual(backend.lines, ['connection closed: the client does not read what it is sent'])
})

test('short output for a client that reads nothing is held in about its length', async (t) => {
  const { connection, socket, client } = await loneSession(t)
  client.stopReading()
  const long = frame(Buffer.alloc(mib))
  while (socket.writableLength < mib) {
    connection.notify(long)
    connection.flush()
  }
  const event = frame(Buffer.alloc(60))
  const count = 4000
  const before = await heldBytes()
  for (let i = 0; i < count; i++) {
    // Two of them: neither goes as the bytes that all watchers share.
    connection.notify(event)
    connection.notify(event)
    connection.flush()
  }
  const grown = (await heldBytes()) - before
  assert.ok(grown < 4 * mib, `${grown} bytes are held for ${2 * count * event.length}`)
})

test('an event alone, events together and events beside replies reach the client in their order', async (t) => {
  const { connection, client, socket } = await loneSession(t)
  const event = (n: number) => frame(Buffer.concat([Buffer.alloc(4, -1), Buffer.alloc(16, n)]))
  const seen: number[] = []
  client.onFrame = ({ xid, start }) => seen.push(xid === -1 ? (start[10] ?? 0) : 1000 + xid)
  const shared = event(1)
  connection.notify(shared)
  await client.received(2)
  connection.notify(event(2))
  connection.notify(event(3))
  await client.received(4)
  connection.notify(event(4))
  socket.emit('data', request(5, Op.exists, body.pathWatch('/')))
  connection.notify(event(6))
  await client.received(7)
  assert.deepEqual(seen, [1, 2, 3, 4, 1005, 6])
  assert.deepEqual(shared, event(1))
})

test('a frame that comes byte by byte costs about its length', async (t) => {
  const { backend, socket } = await loneSession(t)
  const bytes = request(1, Op.create, body.create('/x', { data: Buffer.alloc(mib - 200) }))
  const before = await heldBytes()
  // A buffer of its own for each byte, as a read from a socket gives.
  for (let i = 0; i < bytes.length - 1; i++)
    socket.emit('data', Buffer.allocUnsafeSlow(1).fill(bytes[i] ?? 0))
  const grown = (await heldBytes()) - before
  assert.ok(grown < 2 * mib, `${grown} bytes are held`)
  assert.equal(backend.submitted.length, 0)
  socket.emit('data', bytes.subarray(-1))
  assert.equal(backend.submitted.length, 1)
})

test('a write does not overtake the reads that wait for a slow client', async (t) => {
  const { backend, connection, socket, client } = await loneSession(t)
  const xids: number[] = []
  client.onFrame = ({ xid }) => xids.push(xid)
  client.stopReading()
  socket.emit('data', request(1, Op.sync, body.path('/')))
  for (let xid = 2; xid < 5; xid++) socket.emit('data', request(xid, Op.exists, body.pathWatch('/')))
  while (!connection.writing || socket.writableLength < 4 * mib) {
    connection.notify(frame(Buffer.concat([Buffer.alloc(4, -1), Buffer.alloc(mib)])))
    connection.flush()
  }
  backend.applyNext()
  assert.equal(connection.outstanding, 3)
  // The client takes a part, and an event follows: what waits is little again, but not nothing.
  Object.defineProperty(socket, 'writableLength', { value: 1000, configurable: true })
  connection.notify(frame(Buffer.alloc(16, -1)))
  connection.flush()
  Reflect.deleteProperty(socket, 'writableLength')
  socket.emit('data', request(5, Op.sync, body.path('/')))
  if (backend.submitted.length > 0) backend.applyNext()
  client.readAgain()
  await until('the reads are answered', () => xids.includes(4))
  await until('the write is there', () => backend.submitted.length > 0)
  backend.applyNext()
  await until('the write is answered', () => xids.includes(5))
  assert.deepEqual(
    xids.filter((xid) => xid > 0),
    [1, 2, 3, 4, 5],
  )
})

test('a pipeline that is never empty keeps nothing of what it has been answered', async (t) => {
  const { backend, socket } = await loneSession(t)
  const path = `/${'x'.repeat(10_000)}`
  const before = await heldBytes()
  const sync = request(1, Op.sync, body.path('/'))
  const exists = request(2, Op.exists, body.pathWatch(path))
  socket.emit('data', sync)
  for (let i = 0; i < 2000; i++) {
    socket.emit('data', Buffer.concat([sync, exists]))
    backend.applyNext()
  }
  assert.equal(backend.submitted.length, 1)
  await turn()
  const grown = (await heldBytes()) - before
  assert.ok(grown < 2 * mib, `${grown} bytes are held`)
})

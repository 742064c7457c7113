// Bytes of sockets that a port accepts come in the buffer of all sockets where this Node.js can do that, and as usual else.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { acceptReused, type Inlet } from '../../src/base/inlet.ts'

type Accepted = { readonly socket: Socket; readonly inlet: Inlet }

/** A port, and who was accepted there. */
async function port(t: TestContext) {
  const accepted: Accepted[] = []
  const usual: Socket[] = []
  const server = createServer({ noDelay: true }, (socket) => usual.push(socket))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  let come: () => void = () => undefined
  acceptReused(server, (socket, inlet) => {
    accepted.push({ socket, inlet })
    come()
  })
  t.after(() => server.close())
  const address = server.address()
  assert.ok(address !== null && typeof address !== 'string')
  const dial = async () => {
    const accepting = new Promise<void>((resolve) => {
      come = resolve
    })
    const client = connect(address.port, '127.0.0.1')
    t.after(() => client.destroy())
    await accepting
    return client
  }
  return { accepted, usual, dial }
}

/** What arrives by the inlet, as soon as it is so much. */
function arrival({ inlet, socket }: Accepted, count: number) {
  const buffers = new Set<Buffer>()
  let text = ''
  return new Promise<{ text: string; buffers: Set<Buffer> }>((resolve) => {
    inlet.listener = (bytes, length) => {
      buffers.add(bytes)
      text += bytes.toString('latin1', 0, length)
      if (text.length >= count) resolve({ text, buffers })
    }
    inlet.open(socket)
  })
}

test('sockets that are accepted are read into one buffer, with the bytes of each at its own listener', async (t) => {
  const { accepted, usual, dial } = await port(t)
  const clients = [await dial(), await dial()]
  assert.equal(accepted.length, 2)
  const arrivals = accepted.map((one) => arrival(one, 12))
  for (const word of ['first ', 'second']) for (const client of clients) client.write(word)
  const [one, other] = await Promise.all(arrivals)
  assert.deepEqual([one?.text, other?.text], ['first second', 'first second'])
  assert.deepEqual(one?.buffers, other?.buffers)
  assert.equal(one?.buffers.size, 1)
  assert.deepEqual([accepted[0]?.inlet.isReused, usual.length], [true, 0])
})

test('such a socket answers, stops reading when it is paused, and ends as others do', async (t) => {
  const { accepted, dial } = await port(t)
  const client = await dial()
  const [one] = accepted
  assert.ok(one !== undefined && one.socket.remoteAddress === '127.0.0.1')
  const first = arrival(one, 1)
  client.write('a')
  await first
  one.socket.write('reply')
  assert.equal(String((await once(client, 'data'))[0]), 'reply')
  one.socket.pause()
  const second = arrival(one, 3)
  client.end('bcd')
  const wasPaused = await Promise.race([second.then(() => false), turns(20).then(() => true)])
  assert.ok(wasPaused)
  const ended = once(one.socket, 'close')
  one.socket.resume()
  assert.equal((await second).text, 'bcd')
  await ended
})

test('where Node.js tells of connections in another way nothing is changed', () => {
  for (const server of [{}, { _handle: null }, { _handle: { listen: 1 } }]) {
    const before = structuredClone(server)
    acceptReused(server as unknown as Server, () => assert.fail('nothing was accepted'))
    assert.deepEqual(server, before)
  }
})

test('a connection that could not be accepted goes the usual way', () => {
  const told: unknown[][] = []
  const port = { onconnection: (...of: unknown[]) => void told.push(of) }
  acceptReused({ _handle: port } as unknown as Server, () => assert.fail('nothing was accepted'))
  port.onconnection(-24, undefined)
  assert.deepEqual(told, [[-24, undefined]])
})

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve))
}

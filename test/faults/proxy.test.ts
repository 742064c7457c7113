import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import { after, before, beforeEach, test } from 'node:test'
import { freePort } from '../support/ports.ts'
import type { Network } from './network.ts'
import { createProxyNetwork } from './proxy.ts'

// Server 2 listens; server 1 dials it by the address that its network gives. An echo tells that both directions work.
let network: Network
let target: net.Server
let targetPort = 0
/** What server 2 has received, over all connections. */
let received = ''
const accepted: net.Socket[] = []

before(async () => {
  target = net.createServer((socket) => {
    accepted.push(socket)
    socket.on('error', () => {})
    socket.on('data', (chunk) => {
      received += chunk.toString()
      socket.write(chunk)
    })
  })
  target.listen(0, '127.0.0.1')
  await once(target, 'listening')
  targetPort = (target.address() as net.AddressInfo).port
  const ports = [await freePort(), await freePort()]
  network = await createProxyNetwork(
    [1, 2],
    (id) => (id === 2 ? [targetPort] : []),
    () => ports.shift() as number,
  )
})

beforeEach(async () => {
  await network.heal()
  received = ''
})

after(async () => {
  await network.dispose()
  for (const socket of accepted) socket.destroy()
  await new Promise((resolve) => target.close(resolve))
})

function dial(): net.Socket {
  const socket = net.connect(network.address(1, 2, targetPort))
  socket.on('error', () => {})
  return socket
}

/** Collects what a socket receives. */
class Inbox {
  text = ''
  readonly #socket: net.Socket
  constructor(socket: net.Socket) {
    this.#socket = socket
    socket.on('data', (chunk) => {
      this.text += chunk.toString()
    })
  }
  async until(text: string): Promise<void> {
    while (this.text !== text) await once(this.#socket, 'data')
  }
}

/** Sends `text` and waits until all that comes back is `expected`. */
async function echoed(socket: net.Socket, text: string, expected = text): Promise<void> {
  const inbox = new Inbox(socket)
  socket.write(text)
  await inbox.until(expected)
}

/** Not by `once`, which would take the error before it for a failure. */
function closed(socket: net.Socket): Promise<void> {
  return new Promise((resolve) => socket.once('close', () => resolve()))
}

test('a server reaches itself at its own port, and others through a proxy', () => {
  assert.deepEqual(network.address(2, 2, targetPort), { host: '127.0.0.1', port: targetPort })
  assert.notEqual(network.address(1, 2, targetPort).port, targetPort)
})

test('bytes pass both ways, and the end of a connection too', async () => {
  const socket = dial()
  await echoed(socket, 'hello')
  const peer = accepted.at(-1) as net.Socket
  const ended = closed(peer)
  socket.end()
  await ended
})

test('one direction can be held back while the other passes, and nothing is lost when it heals', async () => {
  const socket = dial()
  await echoed(socket, 'before')
  await network.block(2, 1)
  const arrived = once(accepted.at(-1) as net.Socket, 'data')
  const back = new Inbox(socket)
  socket.write('held')
  await arrived
  assert.equal(received, 'beforeheld')
  // A byte on the way back would take the same turns of the event loop as this one on the way there.
  const again = once(accepted.at(-1) as net.Socket, 'data')
  socket.write('!')
  await again
  assert.equal(back.text, '')
  await network.heal()
  await back.until('held!')
  socket.destroy()
})

test('the end of a connection is held back like bytes', async () => {
  const socket = dial()
  await echoed(socket, 'x')
  const peer = accepted.at(-1) as net.Socket
  await network.block(1, 2)
  socket.destroy()
  await closed(socket)
  assert.equal(peer.destroyed, false)
  const ended = closed(peer)
  await network.heal()
  await ended
})

test('a connection dialled while a direction is held back is made when it heals, unless it was given up', async () => {
  await network.block(2, 1)
  const count = accepted.length
  const givenUp = dial()
  await once(givenUp, 'connect')
  givenUp.destroy()
  const waiting = dial()
  await once(waiting, 'connect')
  assert.equal(accepted.length, count)
  await network.heal()
  await echoed(waiting, 'late')
  assert.equal(received, 'late')
  waiting.destroy()
})

test('a reset ends the connections between two servers at both ends', async () => {
  const socket = dial()
  await echoed(socket, 'x')
  const ends = [closed(socket), closed(accepted.at(-1) as net.Socket)]
  network.reset(2, 1)
  await Promise.all(ends)
})

test('bytes that were delayed arrive in their order, and not before those that were sent earlier', async () => {
  network.delay(1, 2, 20)
  const socket = dial()
  await once(socket, 'connect')
  socket.write('a')
  await new Promise((resolve) => setImmediate(resolve))
  network.delay(1, 2, 0)
  await echoed(socket, 'b', 'ab')
  socket.destroy()
})

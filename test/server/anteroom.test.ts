// Clients that come while the server does not serve: they are kept waiting for a moment.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type TestContext, test } from 'node:test'
import { Anteroom } from '../../src/node/anteroom.ts'
import { manualClock } from '../support/in-process.ts'
import { body, Op } from '../support/raw-client.ts'
import { type Lone, loneConnection } from '../support/robust-backend.ts'
import { hello, request, turn } from '../support/robust-wire.ts'

const read = (xid: number) => request(xid, Op.exists, body.pathWatch('/'))

function newRoom() {
  const clock = manualClock()
  const anteroom: Anteroom = new Anteroom(clock, () => anteroom.open())
  return { clock, anteroom }
}

/** A connection to a server that does not serve yet. */
async function early(t: TestContext, room = newRoom()) {
  const lone = await loneConnection(t)
  lone.backend.serving = false
  lone.backend.anteroom = room.anteroom
  return { ...lone, clock: room.clock, anteroom: room.anteroom }
}

/** One whose handshake is there. */
async function waiting(t: TestContext, room = newRoom()) {
  const lone = await early(t, room)
  lone.client.send(hello())
  await arrived(lone, hello().length)
  return lone
}

/** The client of a connection goes, and the server has noticed. */
async function leaves({ client, socket }: Lone): Promise<void> {
  const closed = once(socket, 'close')
  client.destroy()
  await closed
}

/** It is closed when it has waited for 250 ms, and not before. */
async function isClosedInTime({
  socket,
  clock,
  connection,
}: Awaited<ReturnType<typeof early>>): Promise<void> {
  await clock.advance(249)
  assert.equal(connection.isClosed, false)
  const closed = once(socket, 'close')
  await clock.advance(1)
  await closed
}

/** Resolves when the server has read this many bytes of its client's. */
async function arrived({ socket }: Lone, bytes: number): Promise<void> {
  while (socket.bytesRead < bytes) await turn()
  await turn()
}

test('a client that came early has its session, and its requests answered, when the server serves', async (t) => {
  const lone = await early(t)
  const sent = Buffer.concat([hello(), read(1)])
  lone.client.send(sent)
  await arrived(lone, sent.length)
  const more = read(2)
  lone.client.send(more)
  await arrived(lone, sent.length + more.length)
  assert.equal(lone.backend.submitted.length, 0)

  lone.backend.serving = true
  lone.anteroom.open()
  while (lone.backend.submitted.length === 0) await turn()
  lone.backend.applyNext()
  await lone.client.received(3)
  assert.ok(lone.connection.isOpen)
  assert.equal(lone.backend.stats.closedWhileNotServing, 0)
})

test('the pieces of a handshake may come before and after the server serves', async (t) => {
  const lone = await early(t)
  const bytes = hello()
  lone.client.send(bytes.subarray(0, 10))
  await arrived(lone, 10)
  lone.anteroom.open()
  lone.client.send(bytes.subarray(10))
  await arrived(lone, bytes.length)
  assert.equal(lone.backend.submitted.length, 0)
  lone.backend.serving = true
  lone.anteroom.open()
  while (lone.backend.submitted.length === 0) await turn()
  lone.backend.applyNext()
  await lone.client.received(1)
})

test('one that has waited long enough in vain is closed without an answer', async (t) => {
  const lone = await waiting(t)
  await isClosedInTime(lone)
  assert.equal(lone.backend.stats.closedWhileNotServing, 1)
  assert.equal(lone.backend.submitted.length, 0)
})

test('one that has gone is not waited for', async (t) => {
  const lone = await waiting(t)
  await leaves(lone)
  await lone.clock.advance(250)
  lone.backend.serving = true
  lone.anteroom.open()
  await turn()
  assert.equal(lone.backend.submitted.length, 0)
})

test('the time of one that comes later begins when it comes', async (t) => {
  const first = await waiting(t)
  await leaves(first)
  await first.clock.advance(250)
  await isClosedInTime(await waiting(t, first))
})

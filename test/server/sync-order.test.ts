// Syncs and writes are answered by different means: the connection keeps the order between them, whatever comes first and
// in whatever pieces.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { body, Op } from '../support/raw-client.ts'
import { type Lone, loneConnection } from '../support/robust-backend.ts'
import { hello, request, turn } from '../support/robust-wire.ts'

const sync = (xid: number) => request(xid, Op.sync, body.path('/'))
const write = (xid: number) => request(xid, Op.setData, body.setData('/', ''))
const read = (xid: number) => request(xid, Op.exists, body.pathWatch('/'))

/** A connection with a session; `xids` are those of the replies so far. */
async function open(t: Parameters<typeof loneConnection>[0]): Promise<Lone & { readonly xids: number[] }> {
  const lone = await loneConnection(t)
  lone.client.send(hello())
  while (lone.backend.submitted.length === 0) await turn()
  lone.backend.applyNext()
  await lone.client.received(1)
  const xids: number[] = []
  lone.client.onFrame = ({ xid }) => xids.push(xid)
  return { ...lone, xids }
}

async function turns(count = 10): Promise<void> {
  for (let i = 0; i < count; i++) await turn()
}

function submitted({ backend }: Lone): [kind: number, cxid: number][] {
  return backend.submitted.map(({ kind, cxid }) => [kind, cxid])
}

test('a write behind a sync is not handed on before the sync is answered', async (t) => {
  const lone = await open(t)
  lone.client.send(Buffer.concat([sync(1), write(2), write(3)]))
  while (lone.backend.submitted.length === 0) await turn()
  await turns()
  assert.deepEqual(submitted(lone), [[Op.sync, 1]])
  lone.backend.applyNext()
  await turns()
  assert.deepEqual(submitted(lone), [
    [Op.setData, 2],
    [Op.setData, 3],
  ])
  lone.backend.applyNext()
  lone.backend.applyNext()
  await lone.client.received(4)
  assert.deepEqual(lone.xids, [1, 2, 3])
})

test('syncs behind writes, and behind syncs, are handed on at once', async (t) => {
  const lone = await open(t)
  lone.client.send(Buffer.concat([write(1), sync(2), sync(3)]))
  while (lone.backend.submitted.length < 3) await turn()
  assert.deepEqual(submitted(lone), [
    [Op.setData, 1],
    [Op.sync, 2],
    [Op.sync, 3],
  ])
})

test('a write waits for all of the syncs before it, and reads for all before them', async (t) => {
  const lone = await open(t)
  lone.client.send(Buffer.concat([sync(1), read(2), sync(3), read(4), write(5), read(6)]))
  while (lone.backend.submitted.length < 2) await turn()
  await turns()
  assert.deepEqual(lone.xids, [])
  lone.backend.applyNext()
  await lone.client.received(3)
  await turns()
  assert.deepEqual([lone.xids, submitted(lone)], [[1, 2], [[Op.sync, 3]]])
  lone.backend.applyNext()
  await lone.client.received(5)
  await turns()
  assert.deepEqual([lone.xids, submitted(lone)], [[1, 2, 3, 4], [[Op.setData, 5]]])
  lone.backend.applyNext()
  await lone.client.received(7)
  assert.deepEqual(lone.xids, [1, 2, 3, 4, 5, 6])
})

test('nothing is lost or changes its place however the bytes are cut', async (t) => {
  const requests = [
    sync(1),
    write(2),
    read(3),
    sync(4),
    sync(5),
    read(6),
    write(7),
    write(8),
    sync(9),
    read(10),
  ]
  const bytes = Buffer.concat(requests)
  for (let size = 1; size <= bytes.length; size += 7) {
    const lone = await open(t)
    for (let at = 0; at < bytes.length; at += size) lone.socket.emit('data', bytes.subarray(at, at + size))
    while (lone.xids.length < requests.length) {
      if (lone.backend.submitted.length > 0) lone.backend.applyNext()
      await turn()
    }
    assert.deepEqual(lone.xids, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], `in pieces of ${size}`)
  }
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Syncs } from '../../src/node/syncs.ts'
import type { Connection } from '../../src/server/connection.ts'
import { fakeOrigin } from '../support/origins.ts'

/** cxids of what a connection was answered, with the zxids. */
function answers({ told }: ReturnType<typeof fakeOrigin>): [number, number][] {
  return told.flatMap((one) => (one.type === 'completed' ? [[one.cxid, one.zxid] as [number, number]] : []))
}

test('syncs that gather share a round, later ones have the next', () => {
  const syncs = new Syncs()
  const origin = fakeOrigin()
  assert.equal(syncs.ask(), undefined)
  syncs.add(1, '/', origin.connection, 0, 0)
  syncs.add(2, '/', origin.connection, 0, 0)
  assert.equal(syncs.ask(), 1)
  assert.equal(syncs.ask(), undefined)
  syncs.add(3, '/', origin.connection, 0, 0)
  assert.equal(syncs.ask(), 2)
  syncs.confirmed(1, 10)
  syncs.complete(10)
  assert.deepEqual(answers(origin), [
    [1, 10],
    [2, 10],
  ])
  assert.equal(syncs.count, 1)
})

test('a sync is answered when what was confirmed is applied, and what had been proposed when it came', () => {
  const syncs = new Syncs()
  const origin = fakeOrigin()
  syncs.add(1, '/', origin.connection, 0, 15)
  syncs.ask()
  syncs.complete(100)
  syncs.confirmed(1, 10)
  syncs.complete(14)
  assert.deepEqual(answers(origin), [])
  syncs.complete(16)
  assert.deepEqual(answers(origin), [[1, 16]])
})

test('none is answered before one that came earlier', () => {
  const syncs = new Syncs()
  const [one, two] = [fakeOrigin(), fakeOrigin()]
  syncs.add(1, '/', one.connection, 0, 0)
  syncs.ask()
  syncs.add(2, '/', two.connection, 0, 0)
  syncs.ask()
  syncs.confirmed(2, 5)
  syncs.complete(9)
  assert.deepEqual([answers(one), answers(two)], [[], []])
  syncs.confirmed(1, 7)
  syncs.complete(9)
  assert.deepEqual([answers(one), answers(two)], [[[1, 9]], [[2, 9]]])
})

test('the reply has the path as it came, also none', () => {
  const syncs = new Syncs()
  const origin = fakeOrigin()
  syncs.add(1, '/a', origin.connection, 3, 0)
  syncs.add(2, null, origin.connection, 4, 0)
  syncs.ask()
  syncs.confirmed(1, 1)
  syncs.complete(1)
  assert.deepEqual(
    origin.told.map((told) => told.type === 'completed' && [told.kind, told.err, told.body, told.arrived]),
    [
      [9, 0, '000000022f61', 3],
      [9, 0, 'ffffffff', 4],
    ],
  )
})

test('those that are given up are not answered by a confirmation that comes late', () => {
  const syncs = new Syncs()
  const [one, two] = [fakeOrigin(), fakeOrigin()]
  syncs.add(1, '/', one.connection, 0, 0)
  syncs.ask()
  const waiting = new Set<Connection>()
  syncs.abandon(waiting)
  assert.deepEqual([...waiting], [one.connection])
  syncs.add(2, '/', two.connection, 0, 0)
  assert.equal(syncs.ask(), 2)
  syncs.confirmed(1, 5)
  syncs.complete(9)
  assert.deepEqual([answers(one), answers(two), syncs.count], [[], [], 1])
})

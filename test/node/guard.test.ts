// The last resort of a node: the first error that nobody expected ends it, and another server's fault is that server's.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Guard } from '../../src/node/guard.ts'
import { PeerFault } from '../../src/peers/types.ts'

function setUp() {
  const told: Error[] = []
  return { told, guard: new Guard((error) => told.push(error)) }
}

test('what it guards is done until something throws, and not afterwards', () => {
  const { told, guard } = setUp()
  const done: number[] = []
  guard.run(() => done.push(1))
  assert.equal(guard.failed, false)
  const reason = new Error('broken')
  guard.run(() => {
    throw reason
  })
  assert.equal(guard.failed, true)
  guard.run(() => done.push(2))
  assert.deepEqual([done, told], [[1], [reason]])
})

test('only the first failure is told, as an error whatever was thrown', () => {
  const { told, guard } = setUp()
  guard.caught('no error object')
  guard.fail(new Error('a consequence'))
  assert.deepEqual(
    told.map(({ message }) => message),
    ['no error object'],
  )
})

test("another server's fault goes on to who can close its connection, and ends nothing", () => {
  const { told, guard } = setUp()
  const fault = new PeerFault('not allowed')
  assert.throws(() => guard.caught(fault), fault)
  assert.deepEqual([guard.failed, told], [false, []])
})

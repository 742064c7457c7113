import assert from 'node:assert/strict'
import { test } from 'node:test'
import { assert as invariant } from '../../src/base/assert.ts'

test('a message that is a function is made when the condition does not hold, and only then', () => {
  let made = 0
  const message = () => `made ${++made} times`
  invariant(true, message)
  assert.equal(made, 0)
  assert.throws(() => invariant(false, message), { name: 'InvariantError', message: 'made 1 times' })
  assert.throws(() => invariant(false, 'as it is'), { name: 'InvariantError', message: 'as it is' })
})

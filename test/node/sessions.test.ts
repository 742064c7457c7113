import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { test } from 'node:test'
import { firstSessionId, sessionPassword } from '../../src/node/sessions.ts'

const now = Date.UTC(2026, 10, 22)
const since2020 = now - Date.UTC(2020, 0, 1)

test('the first id of a server has its id on top, then the time since 2020 in sixteenths of a millisecond', () => {
  assert.equal(firstSessionId(1, now, 0), 2 ** 45 + since2020 * 16)
  assert.equal(firstSessionId(255, now, 0), 255 * 2 ** 45 + since2020 * 16)
})

test('ids are whole numbers below 2^53 for every server until 2089, and never 0', () => {
  for (const wall of [0, Date.UTC(2020, 0, 1), now, Date.UTC(2089, 0, 1)]) {
    for (const serverId of [1, 2, 254, 255]) {
      const id = firstSessionId(serverId, wall, 0)
      assert.ok(Number.isSafeInteger(id) && id > 0, `${serverId} at ${wall}`)
      assert.equal(Math.floor(id / 2 ** 45), serverId)
    }
  }
})

test('an id that is known is never given out again, even if the clock went back', () => {
  const known = firstSessionId(3, now, 0) + 500
  assert.equal(firstSessionId(3, now, known), known + 1)
  assert.equal(firstSessionId(3, now - 86_400_000, known), known + 1)
  assert.equal(firstSessionId(3, now + 1000, known), firstSessionId(3, now + 1000, 0))
})

test('a password is 16 bytes of a keyed hash of the id: another id or another secret gives another one', () => {
  const secret = Buffer.from('secret of the ensemble')
  const password = sessionPassword(secret, 2 ** 53 - 1)
  assert.equal(password.length, 16)
  const id = Buffer.from('001fffffffffffff', 'hex')
  assert.deepEqual(password, createHmac('sha256', secret).update(id).digest().subarray(0, 16))
  assert.deepEqual(sessionPassword(secret, 2 ** 53 - 1), password)
  assert.notDeepEqual(sessionPassword(secret, 2 ** 53 - 2), password)
  assert.notDeepEqual(sessionPassword(Buffer.from('another'), 2 ** 53 - 1), password)
})

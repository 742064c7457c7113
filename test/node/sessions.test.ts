import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { test } from 'node:test'
import { firstSessionId, sessionPasswords } from '../../src/node/sessions.ts'

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

for (const secret of [Buffer.from('secret of the ensemble'), Buffer.alloc(64, 1), Buffer.alloc(65, 2)]) {
  test(`a password is 16 bytes of a keyed hash of the id, with a secret of ${secret.length} bytes`, () => {
    const passwordOf = sessionPasswords(secret)
    for (const [id, bytes] of [
      [1, '0000000000000001'],
      [0x01_8000_0000, '0000000180000000'],
      [2 ** 53 - 1, '001fffffffffffff'],
    ] as const) {
      const keyed = createHmac('sha256', secret).update(Buffer.from(bytes, 'hex')).digest()
      assert.deepEqual(passwordOf(id), keyed.subarray(0, 16))
    }
  })
}

test('a password stays what it is when others are made', () => {
  const passwordOf = sessionPasswords(Buffer.from('secret of the ensemble'))
  const password = passwordOf(7)
  const bytes = password.toString('hex')
  assert.notEqual(passwordOf(8).toString('hex'), bytes)
  assert.equal(password.toString('hex'), bytes)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { counterOf, epochOf, formatZxid, makeZxid, maxCounter, maxEpoch } from '../../src/base/zxid.ts'

for (const [epoch, counter, text] of [
  [0, 0, '0x0'],
  [0, 1, '0x1'],
  [1, 0, '0x100000000'],
  [1, 0x13b, '0x10000013b'],
  [7, maxCounter, '0x7fffffffe'],
  [maxEpoch, maxCounter, '0x1ffffffffffffe'],
] as const) {
  test(`epoch ${epoch}, counter ${counter} is ${text}`, () => {
    const zxid = makeZxid(epoch, counter)
    assert.ok(Number.isSafeInteger(zxid))
    assert.deepEqual([epochOf(zxid), counterOf(zxid), formatZxid(zxid)], [epoch, counter, text])
    assert.equal(zxid, Number(BigInt(epoch) * 2n ** 32n + BigInt(counter)))
  })
}

test('the highest counter of the highest epoch is followed by a number that is still exact', () => {
  assert.ok(Number.isSafeInteger(makeZxid(maxEpoch, maxCounter) + 1))
})

test('-1 is printed as ZooKeeper prints it', () => {
  assert.equal(formatZxid(-1), '0xffffffffffffffff')
})

test('an epoch out of range is refused', () => {
  for (const epoch of [-1, maxEpoch + 1]) assert.throws(() => makeZxid(epoch, 1), { name: 'InvariantError' })
})

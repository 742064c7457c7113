import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Code } from '../../src/base/errors.ts'
import { Reader } from '../../src/jute/reader.ts'

const fromHex = (hex: string) => new Reader(Buffer.from(hex.replaceAll(' ', ''), 'hex'))
const tooShort = { name: 'ZkError', code: Code.marshallingError, message: /too short/ }
const malformed = { name: 'ZkError', code: Code.marshallingError }

for (const [hex, value] of [
  ['00000000 00000000', 0],
  ['00000000 00000001', 1],
  ['00000000 ffffffff', 2 ** 32 - 1],
  ['00000001 00000000', 2 ** 32],
  ['001fffff ffffffff', 2 ** 53 - 1],
  ['ffffffff ffffffff', -1],
  ['ffffffff 00000000', -(2 ** 32)],
  ['fffffffe ffffffff', -(2 ** 32) - 1],
  ['ffe00000 00000001', -(2 ** 53) + 1],
  ['80000000 00000000', -(2 ** 63)],
] as const) {
  test(`long ${hex} is ${value}`, () => {
    assert.equal(fromHex(hex).long(), value)
  })
}

test('ints, bytes and booleans', () => {
  const r = fromHex('7fffffff 80000000 ffffffff 00 80 ff 00 01 07')
  assert.deepEqual([r.int(), r.int(), r.int()], [2 ** 31 - 1, -(2 ** 31), -1])
  assert.deepEqual([r.byte(), r.byte(), r.byte()], [0, 128, 255])
  assert.deepEqual([r.bool(), r.bool(), r.bool()], [false, true, true])
  assert.equal(r.pos, r.end)
})

test('null, empty and full buffers and strings', () => {
  const r = fromHex('ffffffff 00000000 00000002 0102 ffffffff 00000000 00000003 c3a962')
  assert.deepEqual([r.buffer(), r.buffer(), r.buffer()], [null, Buffer.alloc(0), Buffer.from([1, 2])])
  assert.deepEqual([r.string(), r.string(), r.string()], [null, '', 'éb'])
  assert.equal(r.pos, r.end)
})

test('a field tells where it lies and moves behind it', () => {
  const r = fromHex('00000003 616263 ffffffff 07')
  assert.deepEqual([r.field(), r.start, r.pos], [3, 4, 7])
  assert.deepEqual([r.field(), r.start, r.pos], [-1, 11, 11])
  assert.equal(r.byte(), 7)
})

for (const length of [-2, -5, -(2 ** 31)]) {
  test(`a field of ${length} bytes is refused`, () => {
    const bytes = Buffer.alloc(20)
    bytes.writeInt32BE(length)
    for (const read of ['field', 'string', 'buffer'] as const)
      assert.throws(() => new Reader(bytes)[read](), malformed)
  })
}

test('a field longer than what is left is refused, the longest that fits is not', () => {
  for (const [length, fits] of [
    [6, true],
    [7, false],
    [2 ** 31 - 1, false],
  ] as const) {
    const bytes = Buffer.alloc(10)
    bytes.writeInt32BE(length)
    const r = new Reader(bytes)
    if (fits) assert.equal(r.field(), 6)
    else assert.throws(() => r.field(), tooShort)
  }
})

test('nothing is read beyond the end of the range, whatever lies behind it in the buffer', () => {
  const bytes = Buffer.alloc(64)
  for (const [read, size] of [
    ['byte', 1],
    ['bool', 1],
    ['int', 4],
    ['long', 8],
    ['field', 4],
    ['string', 4],
    ['buffer', 4],
    ['count', 4],
    ['strings', 4],
  ] as const) {
    for (let room = 0; room < size; room++)
      assert.throws(
        () => new Reader().reset(bytes, 10, 10 + room)[read](),
        tooShort,
        `${read} in ${room} bytes`,
      )
    const r = new Reader().reset(bytes, 10, 10 + size)
    r[read]()
    assert.equal(r.pos, 10 + size, read)
  }
})

test('a reader that failed has not moved beyond its end', () => {
  const r = fromHex('00000009 61')
  assert.throws(() => r.string(), tooShort)
  assert.ok(r.pos <= r.end)
})

test('lists of strings: null elements are empty strings, a null list is refused', () => {
  assert.deepEqual(fromHex('00000000').strings(), [])
  assert.deepEqual(fromHex('00000003 00000001 61 ffffffff 00000000').strings(), ['a', '', ''])
  assert.throws(() => fromHex('ffffffff').strings(), malformed)
  assert.throws(() => fromHex('80000000').strings(), malformed)
})

test('a list that claims more elements than there are bytes is refused without making room for them', () => {
  assert.throws(() => fromHex('7fffffff 00000001 61').strings(), tooShort)
})

test('a required string may be empty and not null', () => {
  assert.equal(fromHex('00000000').requiredString('the path'), '')
  assert.throws(() => fromHex('ffffffff').requiredString('the path'), {
    ...malformed,
    message: 'the path is null',
  })
})

test('bytes that are no UTF-8 become U+FFFD, surrogates among them', () => {
  assert.equal(fromHex('00000002 c328').string(), '\ufffd(')
  assert.equal(fromHex('00000006 eda0bd edb880').string(), '\ufffd'.repeat(6))
  assert.equal(fromHex('00000004 f09f9880').string(), '\u{1f600}')
})

test('a buffer is a copy', () => {
  const bytes = Buffer.from('00000002abcd', 'hex')
  const copy = new Reader(bytes).buffer()
  bytes.fill(0)
  assert.deepEqual(copy, Buffer.from('abcd', 'hex'))
})

test('a reader can be pointed at other bytes, also at a slice of a pooled buffer', () => {
  const r = new Reader()
  assert.equal(r.end, 0)
  const pooled = Buffer.from('xx0123456789ab').subarray(2)
  r.reset(pooled, 0, pooled.length)
  assert.equal(r.int(), 0x30313233)
  r.reset(pooled, 8, 12)
  assert.equal(r.int(), 0x38396162)
  r.reset(Buffer.from('0000002a', 'hex'), 0, 4)
  assert.equal(r.int(), 42)
})

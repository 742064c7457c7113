import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { viewOf } from '../../src/base/view.ts'
import { Reader } from '../../src/jute/reader.ts'
import { Writer } from '../../src/jute/writer.ts'

function written(write: (out: Writer) => void): string {
  const out = new Writer(1)
  write(out)
  return out.bytes().toString('hex')
}

for (const [value, hex] of [
  [0, '0000000000000000'],
  [1, '0000000000000001'],
  [-1, 'ffffffffffffffff'],
  [2 ** 32 - 1, '00000000ffffffff'],
  [2 ** 32, '0000000100000000'],
  [-(2 ** 32), 'ffffffff00000000'],
  [-(2 ** 32) - 1, 'fffffffeffffffff'],
  [2 ** 53 - 1, '001fffffffffffff'],
  [-(2 ** 53) + 1, 'ffe0000000000001'],
  [2 ** 31, '0000000080000000'],
  [-(2 ** 31), 'ffffffff80000000'],
] as const) {
  test(`the long ${value} is ${hex}`, () => {
    assert.equal(
      written((out) => out.long(value)),
      hex,
    )
  })
}

test('longs within 53 bits come back as they were', () => {
  fc.assert(
    fc.property(fc.maxSafeInteger(), (value) => {
      const out = new Writer(8)
      out.long(value)
      assert.equal(out.bytes().readBigInt64BE(), BigInt(value))
      assert.equal(new Reader(Buffer.from(out.bytes())).long(), value)
    }),
    { numRuns: 500 },
  )
})

test('the wire form of each kind of field', () => {
  assert.equal(
    written((out) => out.byte(255)),
    'ff',
  )
  assert.equal(
    written((out) => out.bool(true)),
    '01',
  )
  assert.equal(
    written((out) => out.bool(false)),
    '00',
  )
  assert.equal(
    written((out) => out.int(-2)),
    'fffffffe',
  )
  assert.equal(
    written((out) => out.buffer(null)),
    'ffffffff',
  )
  assert.equal(
    written((out) => out.buffer(Buffer.alloc(0))),
    '00000000',
  )
  assert.equal(
    written((out) => out.buffer(Buffer.from('ab'))),
    '000000026162',
  )
  assert.equal(
    written((out) => out.string(null)),
    'ffffffff',
  )
  assert.equal(
    written((out) => out.string('')),
    '00000000',
  )
  assert.equal(
    written((out) => out.string('/é')),
    '000000032fc3a9',
  )
  assert.equal(
    written((out) => out.strings([])),
    '00000000',
  )
  assert.equal(
    written((out) => out.strings(['a', ''])),
    '00000002' + '0000000161' + '00000000',
  )
  assert.equal(
    written((out) => out.raw(Buffer.from('abcdef'), 1, 3)),
    '6263',
  )
})

test('a character beyond U+FFFF is written as two surrogates of three bytes each (CESU-8)', () => {
  assert.equal(
    written((out) => out.string('\u{1f600}')),
    '00000006' + 'eda0bd' + 'edb880',
  )
  assert.equal(
    written((out) => out.string('a\u{10000}é\u0800')),
    '0000000c' + '61' + 'eda080' + 'edb080' + 'c3a9' + 'e0a080',
  )
})

test('surrogates alone are written like any other character', () => {
  assert.equal(
    written((out) => out.string('\ud800')),
    '00000003eda080',
  )
  assert.equal(
    written((out) => out.string('\udfffx')),
    '00000004edbfbf78',
  )
})

test('any string is written as the UTF-8 of each of its UTF-16 units', () => {
  const unit = fc.oneof(
    fc.nat(0x7f),
    fc.integer({ min: 0x80, max: 0x7ff }),
    fc.integer({ min: 0x800, max: 0xffff }),
  )
  fc.assert(
    fc.property(fc.array(unit, { maxLength: 40 }), (units) => {
      const expected: number[] = []
      for (const u of units) {
        if (u < 0x80) expected.push(u)
        else if (u < 0x800) expected.push(0xc0 | (u >> 6), 0x80 | (u & 63))
        else expected.push(0xe0 | (u >> 12), 0x80 | ((u >> 6) & 63), 0x80 | (u & 63))
      }
      const out = new Writer(1)
      out.string(String.fromCharCode(...units))
      assert.equal(out.bytes().readInt32BE(), expected.length)
      assert.deepEqual([...out.bytes().subarray(4)], expected)
    }),
    { numRuns: 300 },
  )
})

type Field =
  | { readonly type: 'byte' | 'int' | 'long'; readonly value: number }
  | { readonly type: 'bool'; readonly value: boolean }
  | { readonly type: 'string'; readonly value: string | null }
  | { readonly type: 'buffer'; readonly value: Buffer | null }
  | { readonly type: 'strings'; readonly value: readonly string[] }

const text = fc.string({ unit: 'binary', maxLength: 80 }).filter((value) => !/[\ud800-\udfff]/.test(value))
const field: fc.Arbitrary<Field> = fc.oneof(
  fc.record({ type: fc.constant('byte'), value: fc.nat(255) }),
  fc.record({ type: fc.constant('int'), value: fc.integer() }),
  fc.record({ type: fc.constant('long'), value: fc.maxSafeInteger() }),
  fc.record({ type: fc.constant('bool'), value: fc.boolean() }),
  fc.record({ type: fc.constant('string'), value: fc.option(text) }),
  fc.record({
    type: fc.constant('buffer'),
    value: fc.option(fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes))),
  }),
  fc.record({ type: fc.constant('strings'), value: fc.array(text, { maxLength: 4 }) }),
)

function write(out: Writer, field: Field): void {
  switch (field.type) {
    case 'bool':
      out.bool(field.value)
      break
    case 'string':
      out.string(field.value)
      break
    case 'buffer':
      out.buffer(field.value)
      break
    case 'strings':
      out.strings(field.value)
      break
    default:
      out[field.type](field.value)
  }
}

test('what was written is read again, from a writer of any size', () => {
  fc.assert(
    fc.property(fc.array(field, { maxLength: 30 }), fc.integer({ min: 1, max: 64 }), (fields, size) => {
      const out = new Writer(size)
      for (const one of fields) write(out, one)
      const r = new Reader(Buffer.from(out.bytes()))
      for (const { type, value } of fields) assert.deepEqual(r[type](), value)
      assert.equal(r.pos, r.end)
    }),
    { numRuns: 300 },
  )
})

test('a length can be filled in afterwards', () => {
  const out = new Writer(4)
  out.int(0)
  out.string('abc')
  out.intAt(0, out.pos - 4)
  assert.equal(out.bytes().toString('hex'), '00000007' + '00000003616263')
})

test('clear keeps the room up to a limit and forgets the content', () => {
  const out = new Writer(16)
  out.raw(Buffer.alloc(3000, 1), 0, 3000)
  const { buf } = out
  out.clear()
  assert.equal(out.pos, 0)
  assert.equal(out.buf, buf)
  out.clear(1000)
  assert.notEqual(out.buf, buf)
  out.long(-1)
  assert.equal(out.bytes().toString('hex'), 'ff'.repeat(8))
})

/** Every length at which another way of copying may begin or end. */
const lengths = [...Array(260).keys(), 5000]

/** Bytes that differ from their neighbours, so that one in the wrong place shows. */
function bytesOf(length: number): Buffer {
  return Buffer.from(Array.from({ length }, (_, i) => (i * 31 + length) & 255))
}

for (const [what, prepare] of [
  ['', () => undefined],
  [', of which there is a view', viewOf],
] as const) {
  test(`raw bytes, few and many${what}, are copied`, () => {
    for (const length of lengths) {
      const source = Buffer.concat([Buffer.from('<'), bytesOf(length), Buffer.from('>')])
      const out = new Writer(1)
      out.byte(0xee)
      prepare(source)
      out.raw(source, 1, 1 + length)
      out.byte(0xee)
      source.fill(0)
      assert.ok(out.bytes().equals(Buffer.concat([marker, bytesOf(length), marker])), String(length))
    }
  })
}

test('what another one has written is copied', () => {
  for (const length of lengths) {
    const other = new Writer(1)
    const out = new Writer(1)
    other.raw(bytesOf(length), 0, length)
    out.byte(0xee)
    out.append(other)
    out.byte(0xee)
    other.buf.fill(0)
    assert.ok(out.bytes().equals(Buffer.concat([marker, bytesOf(length), marker])), String(length))
  }
})

const marker = Buffer.of(0xee)

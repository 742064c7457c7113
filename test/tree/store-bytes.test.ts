import assert from 'node:assert/strict'
import { test } from 'node:test'
import { NONE } from '../../src/tree/store.ts'
import {
  copyBytes,
  encodeUtf8,
  equalBytes,
  hashByte,
  hashName,
  hashWord,
} from '../../src/tree/store-bytes.ts'

test('copyBytes copies exactly the given bytes at every length', () => {
  const source = Uint8Array.from({ length: 400 }, (_, i) => (i % 250) + 1)
  for (let length = 0; length < 200; length++) {
    const target = new Uint8Array(300)
    copyBytes(source, 5, target, 7, length)
    const expected = new Uint8Array(300)
    expected.set(source.slice(5, 5 + length), 7)
    assert.deepEqual(target, expected)
  }
})

test('equalBytes compares exactly the given bytes', () => {
  const a = Buffer.from('xabcx')
  const b = Buffer.from('yyabcy')
  assert.equal(equalBytes(a, 1, b, 2, 3), true)
  assert.equal(equalBytes(a, 1, b, 2, 4), false)
  assert.equal(equalBytes(a, 0, b, 2, 3), false)
  assert.equal(equalBytes(a, 0, b, 0, 0), true)
})

test('encodeUtf8 gives the bytes that Node.js gives', () => {
  for (const text of ['', 'plain/path', 'é߿', 'ࠀ日本\uffff', '😀\u{10ffff}', 'mixed é日😀!']) {
    const target = new Uint8Array(text.length * 3)
    const length = encodeUtf8(text, target)
    assert.deepEqual(Buffer.from(target.subarray(0, length)), Buffer.from(text))
  }
})

test('encodeUtf8 refuses unpaired surrogates', () => {
  for (const text of ['\ud800', 'a\udc00', '\ud800\ud800', '\udc00\ud800', '\ud800x']) {
    assert.equal(encodeUtf8(text, new Uint8Array(text.length * 3)), NONE)
  }
})

test('a word is hashed as its four bytes are, in either order of bytes', () => {
  const bytes = Buffer.from([0x80, 0x01, 0xff, 0x7e])
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const expected = bytes.reduce(hashByte, 5)
  for (const little of [true, false]) assert.equal(hashWord(5, view.getInt32(0, little), little), expected)
})

/** Longest chain when all keys fall into as many buckets as there are keys, by the hash's low bits. */
function longestChain(total: number, key: (i: number) => [parent: number, name: string]): number {
  const buckets = new Uint32Array(total)
  let longest = 0
  for (let i = 0; i < total; i++) {
    const [parent, name] = key(i)
    const bytes = Buffer.from(name)
    const bucket = hashName(parent, bytes, 0, bytes.length) & (total - 1)
    longest = Math.max(longest, ++buckets[bucket]!)
  }
  return longest
}

// Random keys give 8 or 9 at this size.
const patterns: Record<string, (i: number) => [number, string]> = {
  'sequential names under one parent': (i) => [5, `node-${String(i).padStart(10, '0')}`],
  'numbers under one parent': (i) => [5, String(i)],
  'one name under many parents': (i) => [i, 'state'],
  'one letter under many parents': (i) => [i, 'x'],
  'digits under many parents': (i) => [i >>> 3, String(i & 7)],
  'short sequences under many parents': (i) => [i >>> 8, `n-${i & 255}`],
  'a znode named like its parent': (i) => [i, String(i)],
}
for (const [name, key] of Object.entries(patterns)) {
  test(`hashName spreads ${name}`, () => {
    const longest = longestChain(2 ** 16, key)
    assert.ok(longest <= 12, `a chain of ${longest}`)
  })
}

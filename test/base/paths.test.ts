import assert from 'node:assert/strict'
import { test } from 'node:test'
import { hasNul, lastSlash, pathBytesMax, pathProblem } from '../../src/base/paths.ts'

/** Judged in the middle of other bytes, which must not matter. */
function problem(path: string | Buffer): string | undefined {
  const bytes = typeof path === 'string' ? Buffer.from(path) : path
  const all = Buffer.concat([Buffer.from('/\0/'), bytes, Buffer.from('/../\0')])
  return pathProblem(all, 3, 3 + bytes.length)
}

const valid = [
  '/',
  '/a',
  '/a/b/c',
  '/zookeeper/quota',
  '/...',
  '/.t',
  '/..t',
  '/t.',
  '/a/.../b',
  '/ ',
  '/a b',
  '/~',
  '/é',
  '/\u00a0',
  '/\u00ff/x',
  '/日本/語',
  '/\ud7ff',
  '/\uf900',
  '/\ufeff',
  '/\uffef',
  `/${'x'.repeat(pathBytesMax - 1)}`,
]

for (const path of valid) {
  test(`valid: ${JSON.stringify(path.slice(0, 20))}`, () => {
    assert.equal(problem(path), undefined)
  })
}

const invalid: readonly (readonly [string | Buffer, RegExp])[] = [
  ['', /empty$/],
  ['a', /start with/],
  ['a/b', /start with/],
  ['é/', /start with/],
  ['/a/', /ends with/],
  ['/é/', /ends with/],
  ['//', /ends with/],
  ['//a', /empty component/],
  ['/a//b', /empty component/],
  ['/é//b', /empty component/],
  ['/a//é', /empty component/],
  ['/.', /component \./],
  ['/..', /component \./],
  ['/a/.', /component \./],
  ['/./a', /component \./],
  ['/a/../b', /component \./],
  ['/é/./b', /component \./],
  ['/../é', /component \./],
  ['/a/é/..', /component \./],
  ['/\0', /control character/],
  ['/a\0b', /control character/],
  ['/\u0001', /control character/],
  ['/a/\u001f', /control character/],
  ['/\u007f', /control character/],
  ['/é\u0001', /U\+0001/],
  ['/\u0080', /U\+0080/],
  ['/\u009f', /U\+009f/],
  ['/\ue000', /U\+e000/],
  ['/\uf8ff', /U\+f8ff/],
  ['/\ufff0', /U\+fff0/],
  ['/\uffff', /U\+ffff/],
  ['/\u{1f600}', /U\+d83d/],
  // What is no UTF-8 becomes U+FFFD, as in ZooKeeper.
  [Buffer.from([0x2f, 0x80]), /U\+fffd/],
  [Buffer.from([0x2f, 0xc3]), /U\+fffd/],
  [Buffer.from([0x2f, 0xff, 0x61]), /U\+fffd/],
  // Surrogates, each encoded on its own (CESU-8).
  [Buffer.from([0x2f, 0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80]), /U\+fffd/],
  // An overlong slash.
  [Buffer.from([0x2f, 0xc0, 0xaf]), /U\+fffd/],
  [`/${'x'.repeat(pathBytesMax)}`, /longer/],
  [`/${'é'.repeat(pathBytesMax / 2)}`, /longer/],
]

for (const [path, message] of invalid) {
  test(`invalid: ${JSON.stringify(path.slice(0, 20))}`, () => {
    assert.match(problem(path) ?? 'no problem', message)
  })
}

test('every character is judged as in ZooKeeper, alone and behind another wide one', () => {
  for (let c = 1; c <= 0xffff; c++) {
    const bad = c <= 0x1f || (c >= 0x7f && c <= 0x9f) || (c >= 0xd800 && c <= 0xf8ff) || c >= 0xfff0
    const char = String.fromCharCode(c)
    if (char === '/' || char === '.') continue
    assert.equal(problem(`/${char}`) !== undefined, bad, `U+${c.toString(16)}`)
    if (c % 16 === 0) assert.equal(problem(`/é${char}x`) !== undefined, bad, `behind é: U+${c.toString(16)}`)
  }
})

test('lastSlash and hasNul look at their range only', () => {
  const bytes = Buffer.from('/a/b\0c/')
  assert.equal(lastSlash(bytes, 0, 4), 2)
  assert.equal(lastSlash(bytes, 0, 2), 0)
  assert.equal(lastSlash(bytes, 1, 2), -1)
  assert.equal(lastSlash(bytes, 3, 3), -1)
  assert.equal(hasNul(bytes, 0, 4), false)
  assert.equal(hasNul(bytes, 0, 5), true)
  assert.equal(hasNul(bytes, 5, 7), false)
})

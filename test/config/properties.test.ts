import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseProperties } from '../../src/config/properties.ts'

/** Text and the properties in it as `line|key|value`. */
const tables: readonly (readonly [fact: string, text: string, expected: readonly string[]])[] = [
  ['key and value are parted by an equals sign', 'a=1', ['1|a|1']],
  ['a colon parts them too', 'a:1', ['1|a|1']],
  ['a blank parts them too', 'a 1', ['1|a|1']],
  ['blanks around the separator belong to neither side', ' a \t = \t 1', ['1|a|1']],
  ['only the first separator counts', 'server.1=h:2888:3888', ['1|server.1|h:2888:3888']],
  ['a blank is the separator even before a later equals sign', 'a b=c', ['1|a|b=c']],
  ['blanks at the end of a value go away', 'a=1  \t', ['1|a|1']],
  ['a key may have no value', 'a\nb=', ['1|a|', '2|b|']],
  ['comments and empty lines are skipped and counted', '# a=1\n\n  ! b=2\nc=3', ['4|c|3']],
  ['a comment sign inside a value is part of it', 'a=1 # one', ['1|a|1 # one']],
  [
    'a backslash continues the line and eats the blanks behind it',
    'a=1,\\\n   2,\\\n\t3\nb=4',
    ['1|a|1,2,3', '4|b|4'],
  ],
  ['a continuation that looks like a comment is none', 'a=1\\\n#2', ['1|a|1#2']],
  ['a comment is not continued', '# x\\\na=1', ['2|a|1']],
  ['two backslashes are one and do not continue', 'a=1\\\\\nb=2', ['1|a|1\\', '2|b|2']],
  ['a continuation may be the end of the text', 'a=1\\', ['1|a|1']],
  ['escapes are resolved', 'a=x\\ty\\u0041\\:\\=\\z', ['1|a|x\tyA:=z']],
  ['escaped separators belong to the key', 'a\\=b\\:c\\ d=1', ['1|a=b:c d|1']],
  ['all line ends are line ends', 'a=1\r\nb=2\rc=3\n', ['1|a|1', '2|b|2', '3|c|3']],
  ['a byte order mark is not part of the first key', '\uFEFFa=1', ['1|a|1']],
  ['a key may come twice', 'a=1\na=2', ['1|a|1', '2|a|2']],
  ['no text has no properties', '', []],
]

for (const [fact, text, expected] of tables) {
  test(`properties: ${fact}`, () => {
    const { properties, malformed } = parseProperties(text)
    const seen = properties.map(({ line, key, value }) => `${line}|${key}|${value}`)
    assert.deepEqual({ seen, malformed }, { seen: expected, malformed: [] })
  })
}

test('properties: a property ends where its last continuation does', () => {
  const { properties } = parseProperties('a=1\n\nb=2,\\\n  3,\\\n  4\n# c\nd=5\\')
  const seen = properties.map(({ line, lastLine, key }) => `${line}-${lastLine} ${key}`)
  assert.deepEqual(seen, ['1-1 a', '3-5 b', '7-7 d'])
})

test('properties: a malformed unicode escape is told with its line, the rest is read', () => {
  assert.deepEqual(parseProperties('a=1\nb=\\u00g1\nc=3'), {
    properties: [
      { key: 'a', value: '1', line: 1, lastLine: 1 },
      { key: 'c', value: '3', line: 3, lastLine: 3 },
    ],
    malformed: [{ line: 2, text: 'b=\\u00g1' }],
  })
})

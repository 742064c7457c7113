import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ZkError } from '../../src/base/errors.ts'
import { Reader } from '../../src/jute/reader.ts'
import { Writer } from '../../src/jute/writer.ts'
import { openAcl } from '../../src/tree/acl.ts'
import { readAcls, writeAcls } from '../../src/tree/acl-codec.ts'

test('the list that is open to anyone is openAcl itself, wherever it lies; with any byte changed it is another', () => {
  for (const before of [0, 1, 2, 3]) {
    const out = new Writer()
    out.raw(Buffer.alloc(before), 0, before)
    writeAcls(out, openAcl)
    const end = out.pos
    out.int(7)
    const bytes = Buffer.from(out.bytes())
    const reader = new Reader()
    const read = () => readAcls(reader.reset(bytes, before, bytes.length))
    assert.equal(read(), openAcl)
    assert.equal(reader.pos, end)
    for (let at = before; at < end; at++) {
      bytes[at] = (bytes[at] as number) ^ 1
      try {
        assert.notEqual(read(), openAcl, `byte ${at - before}`)
      } catch (error) {
        // Lengths that go beyond the end.
        assert.ok(error instanceof ZkError)
      }
      bytes[at] = (bytes[at] as number) ^ 1
    }
    assert.equal(read(), openAcl)
    assert.throws(() => readAcls(reader.reset(bytes, before, end - 1)), ZkError)
  }
})

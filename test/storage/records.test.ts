import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { makeZxid, maxCounter, maxEpoch } from '../../src/base/zxid.ts'
import {
  decodeEnds,
  decodeEntry,
  decodeMeta,
  encodeEnds,
  encodeEntry,
  encodeMeta,
  endsKey,
  entryKey,
  RecordRoom,
} from '../../src/storage/records.ts'
import { metaAt } from '../support/disk-scratch.ts'

const entry = { prev: makeZxid(3, 9), first: makeZxid(4, 1), last: makeZxid(4, 7), bytes: Buffer.from('abc') }
const voting = { voters: [1, 2, 3], groups: [[1], [2, 3]], weights: [[3, 0] as const] }

describe("the log's records", () => {
  it('have keys in the order of their zxids', () => {
    const zxids = [0, 1, 255, 256, 2 ** 32 - 1, 2 ** 32, makeZxid(1, maxCounter), makeZxid(2, 0), 2 ** 53 - 1]
    const keys = zxids.map(entryKey)
    for (let i = 1; i < keys.length; i++) assert.equal(Buffer.compare(keys[i - 1]!, keys[i]!), -1)
  })

  it('have the documented bytes', () => {
    const { key, value } = encodeEntry(entry, 5, new RecordRoom())
    assert.equal(key.toString('hex'), '6c0000000400000001')
    assert.equal(
      value.toString('hex'),
      '00000005' + '0000000300000009' + '0000000400000007' + '616263' + '0fa27c19',
    )
  })

  it('are decoded to what was encoded', () => {
    for (const one of [entry, { ...entry, voting }]) {
      const { key, value } = encodeEntry(one, 5, new RecordRoom())
      assert.deepEqual(decodeEntry(key, value), { entry: one, revision: 5 })
    }
    const ends = { from: 7, lasts: [8, 2 ** 32 + 1, makeZxid(maxEpoch, maxCounter)] }
    const decoded = decodeEnds(endsKey(makeZxid(maxEpoch, maxCounter)), encodeEnds(ends, 5))
    assert.deepEqual(decoded, { ...ends, revision: 5 })
  })

  it('of ends stand behind the entry that ends there and before the next one', () => {
    const keys = [entryKey(8), endsKey(8), entryKey(9), endsKey(9)]
    assert.deepEqual(keys.toReversed().sort(Buffer.compare), keys)
  })

  it('are refused with any bit of key or value flipped, and cut at any length', () => {
    const records = [
      { ...encodeEntry(entry, 5, new RecordRoom()), decode: decodeEntry },
      { ...encodeEntry({ ...entry, voting }, 5, new RecordRoom()), decode: decodeEntry },
      { key: endsKey(9), value: encodeEnds({ from: 3, lasts: [4, 9] }, 5), decode: decodeEnds },
    ]
    for (const { key, value, decode } of records) {
      for (let bit = 0; bit < key.length * 8; bit++) assert.equal(decode(flipped(key, bit), value), undefined)
      for (let bit = 0; bit < value.length * 8; bit++)
        assert.equal(decode(key, flipped(value, bit)), undefined)
      for (let length = 0; length < value.length; length++)
        assert.equal(decode(key, value.subarray(0, length)), undefined)
    }
  })
})

describe("a checkpoint's meta record", () => {
  it('gives the state back as it was, with Maps, bytes and large numbers', () => {
    const value = {
      sessions: new Map([[2 ** 52 + 1, { timeoutMs: 30_000 }]]),
      secret: Buffer.from('secret'),
      list: [1, -1, 0.5, null, 'text'],
    }
    const meta = { zxid: 2 ** 40, nodes: 3, digestHigh: 2 ** 32 - 1, digestLow: 0, state: value }
    const record = { meta, generation: 97, end: Buffer.from('z'), installs: 2, voting: { zxid: 5, voting } }
    assert.deepEqual(decodeMeta(encodeMeta(record)), record)
  })

  it('is refused with any bit flipped', () => {
    const end = Buffer.alloc(0)
    const bytes = encodeMeta({
      meta: metaAt(7, { a: 1 }),
      generation: 97,
      end,
      installs: 0,
      voting: undefined,
    })
    for (let bit = 0; bit < bytes.length * 8; bit++) assert.equal(decodeMeta(flipped(bytes, bit)), undefined)
  })
})

function flipped(bytes: Buffer, bit: number): Buffer {
  const copy = Buffer.from(bytes)
  copy[bit >> 3]! ^= 1 << (bit & 7)
  return copy
}

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { makeZxid, maxCounter, maxEpoch } from '../../src/base/zxid.ts'
import {
  decodeEnds,
  decodeEntry,
  decodeMeta,
  decodeState,
  decodeVoting,
  encodeEnds,
  encodeEntry,
  encodeMeta,
  encodeState,
  encodeVoting,
  endsKey,
  entryKey,
  votingKey,
} from '../../src/storage/records.ts'
import { metaAt, recordOf } from '../support/disk-scratch.ts'

const entry = { prev: makeZxid(3, 9), first: makeZxid(4, 1), last: makeZxid(4, 7), bytes: Buffer.from('abc') }
const state = {
  revision: 9,
  dataId: 'some id',
  epochs: { accepted: maxEpoch, current: 3 },
  lastZxid: makeZxid(maxEpoch, maxCounter),
  trimmedTo: 2 ** 33,
  installs: 1,
  diverged: true,
}

const voting = { voters: [1, 2, 3], groups: [[1], [2, 3]], weights: [[3, 0] as const] }

describe("the log's records", () => {
  it('have keys in the order of their zxids', () => {
    const zxids = [0, 1, 255, 256, 2 ** 32 - 1, 2 ** 32, makeZxid(1, maxCounter), makeZxid(2, 0), 2 ** 53 - 1]
    const keys = zxids.map(entryKey)
    for (let i = 1; i < keys.length; i++) assert.equal(Buffer.compare(keys[i - 1]!, keys[i]!), -1)
  })

  it('have the documented bytes', () => {
    const { key, value } = encodeEntry(entry, 5)
    assert.equal(key.toString('hex'), '6c0000000400000001')
    assert.equal(
      value.toString('hex'),
      '00000005' + '0000000300000009' + '0000000400000007' + '616263' + '0fa27c19',
    )
  })

  it('are decoded to what was encoded', () => {
    const { key, value } = encodeEntry(entry, 5)
    assert.deepEqual(decodeEntry(key, value), { entry, revision: 5, reconfigures: false })
    const reconfiguration = encodeEntry({ ...entry, voting }, 5)
    assert.deepEqual(reconfiguration.key, key)
    assert.deepEqual(decodeEntry(key, reconfiguration.value), { entry, revision: 5, reconfigures: true })
    assert.deepEqual(decodeState(encodeState(state)), state)
    const at = { zxid: entry.last, voting }
    assert.deepEqual(decodeVoting(votingKey(entry.last), encodeVoting(at)), at)
    const ends = { from: 7, lasts: [8, 2 ** 32 + 1, makeZxid(maxEpoch, maxCounter)] }
    const decoded = decodeEnds(endsKey(makeZxid(maxEpoch, maxCounter)), encodeEnds(ends, 5))
    assert.deepEqual(decoded, { ...ends, revision: 5 })
  })

  it('of format 1 are read: without divergence in the state, without a voting in the head of a checkpoint', () => {
    const old = recordOf('s', [9, 'some id', 4, 3, 100, 50, 1])
    assert.deepEqual(decodeState(old), {
      revision: 9,
      dataId: 'some id',
      epochs: { accepted: 4, current: 3 },
      lastZxid: 100,
      trimmedTo: 50,
      installs: 1,
      diverged: false,
    })
    const head = recordOf('m', [97, 2, 7, 0, 0, 0, { a: 1 }])
    assert.deepEqual(decodeMeta(head), {
      meta: metaAt(7, { a: 1 }),
      generation: 97,
      installs: 2,
      voting: undefined,
    })
  })

  it('of votings and ends are refused with any bit of key or value flipped, and cut at any length', () => {
    const records = [
      { key: votingKey(9), value: encodeVoting({ zxid: 9, voting }), decode: decodeVoting },
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

  it('are refused with any bit of key or value flipped, and cut at any length', () => {
    const { key, value } = encodeEntry(entry, 5)
    for (let bit = 0; bit < key.length * 8; bit++)
      assert.equal(decodeEntry(flipped(key, bit), value), undefined)
    for (let bit = 0; bit < value.length * 8; bit++) {
      assert.equal(decodeEntry(key, flipped(value, bit)), undefined)
    }
    for (let length = 0; length < value.length; length++) {
      assert.equal(decodeEntry(key, value.subarray(0, length)), undefined)
    }
    const bytes = encodeState(state)
    for (let bit = 0; bit < bytes.length * 8; bit++) assert.equal(decodeState(flipped(bytes, bit)), undefined)
    for (let length = 0; length < bytes.length; length++) {
      assert.equal(decodeState(bytes.subarray(0, length)), undefined)
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
    const record = { meta, generation: 97, installs: 2, voting: { zxid: 5, voting } }
    assert.deepEqual(decodeMeta(encodeMeta(record)), record)
  })

  it('is refused with any bit flipped', () => {
    const bytes = encodeMeta({ meta: metaAt(7, { a: 1 }), generation: 97, installs: 0, voting: undefined })
    for (let bit = 0; bit < bytes.length * 8; bit++) assert.equal(decodeMeta(flipped(bytes, bit)), undefined)
  })
})

function flipped(bytes: Buffer, bit: number): Buffer {
  const copy = Buffer.from(bytes)
  copy[bit >> 3]! ^= 1 << (bit & 7)
  return copy
}

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { pack, unpack } from 'msgpackr'
import { InvariantError } from '../../src/base/assert.ts'
import { maxEpoch } from '../../src/base/zxid.ts'
import { FrameReader, keepalive } from '../../src/peers/codec.ts'
import { FrameWriter } from '../../src/peers/encode.ts'
import type { PeerMessage } from '../../src/peers/messages.ts'
import { PeerFault } from '../../src/peers/types.ts'

const count = fc.oneof(
  fc.nat(),
  fc.maxSafeNat(),
  fc.constantFrom(0, 2 ** 32 - 1, 2 ** 32, 2 ** 32 + 1, 2 ** 52 + 1, 2 ** 53 - 1),
)
const orNone = (value: fc.Arbitrary<number>) => fc.oneof(value, fc.constant(-1))
const epoch = fc.oneof(fc.nat(100), fc.nat(maxEpoch))
const u32 = fc.nat(0xffffffff)
const id = fc.nat(255)
const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 40 }).map((array) => Buffer.from(array)),
  fc.integer({ min: 0, max: 40_000 }).map((length) => Buffer.alloc(length, length)),
)
const key = fc.uint8Array({ minLength: 1, maxLength: 20 }).map((array) => Buffer.from(array))
const ids = fc.uniqueArray(id, { maxLength: 7 }).map((list) => list.sort((a, b) => a - b))
const plain = { noNullPrototype: true }
const voting = fc.record(
  {
    voters: ids,
    groups: fc.array(ids, { maxLength: 3 }),
    weights: fc.array(fc.tuple(id, fc.nat(10)), { maxLength: 4 }),
  },
  plain,
)
const entry = fc
  .record(
    {
      zxids: fc
        .uniqueArray(fc.maxSafeNat(), { minLength: 3, maxLength: 3 })
        .map((list) => list.sort((a, b) => a - b)),
      bytes,
      voting,
    },
    { requiredKeys: ['zxids', 'bytes'], noNullPrototype: true },
  )
  .map(({ zxids: [prev = 0, first = 0, last = 0], ...rest }) => ({ prev, first, last, ...rest }))
/** What a checkpoint's state may be. */
const state = fc.oneof(
  fc.constant(undefined),
  fc.record(
    { text: fc.string(), list: fc.array(count), nested: fc.record({ flag: fc.boolean() }, plain) },
    plain,
  ),
  fc.array(fc.tuple(count, fc.string())).map((pairs) => new Map(pairs)),
)

type Fields<T extends PeerMessage['type']> = {
  [K in Exclude<keyof Extract<PeerMessage, { type: T }>, 'type'>]: fc.Arbitrary<
    Extract<PeerMessage, { type: T }>[K]
  >
}

/** Messages of one type: every field must be given, so that a new one can not be forgotten here. */
function messages<T extends PeerMessage['type']>(type: T, fields: Fields<T>): fc.Arbitrary<PeerMessage> {
  return fc
    .record(fields as Record<string, fc.Arbitrary<unknown>>)
    .map((record) => ({ type, ...record }) as PeerMessage)
}

const byType: { readonly [T in PeerMessage['type']]: fc.Arbitrary<PeerMessage> } = {
  status: messages('status', {
    state: fc.constantFrom('looking', 'following', 'leading'),
    leader: fc.option(id, { nil: undefined }),
    candidate: fc.boolean(),
    current: orNone(epoch),
    last: orNone(count),
    epoch: orNone(epoch),
    blank: fc.boolean(),
    blanks: fc.constantFrom('none', 'empty', 'any'),
    votings: fc.array(voting, { maxLength: 2 }),
    reconfigured: fc.boolean(),
    committedVoting: count,
  }),
  followerInfo: messages('followerInfo', {
    session: count,
    accepted: epoch,
    observer: fc.boolean(),
    blank: fc.boolean(),
  }),
  newEpoch: messages('newEpoch', { session: count, epoch }),
  ackEpoch: messages('ackEpoch', {
    session: count,
    current: orNone(epoch),
    last: orNone(count),
    needsSnapshot: fc.boolean(),
  }),
  find: messages('find', { session: count, zxid: count }),
  found: messages('found', { session: count, zxid: orNone(count) }),
  diff: messages('diff', { session: count, after: count }),
  snapshot: messages('snapshot', { session: count }),
  installed: messages('installed', { session: count, zxid: count }),
  proposal: messages('proposal', {
    session: count,
    entries: fc.array(entry, { maxLength: 5 }),
    committed: count,
  }),
  ack: messages('ack', { session: count, zxid: count }),
  newLeader: messages('newLeader', { session: count, epoch }),
  ackNewLeader: messages('ackNewLeader', { session: count }),
  upToDate: messages('upToDate', { session: count, committed: count }),
  commit: messages('commit', { session: count, zxid: count }),
  ping: messages('ping', { session: count, seq: count }),
  pong: messages('pong', { session: count, seq: count }),
  forward: messages('forward', { session: count, bytes }),
  sync: messages('sync', { session: count, id: count }),
  synced: messages('synced', { session: count, id: count, zxid: count }),
  claim: messages('claim', { session: count, id: count, client: count, timeoutMs: count }),
  claimed: messages('claimed', { session: count, id: count, open: fc.boolean(), zxid: count }),
  moved: messages('moved', { session: count, client: count }),
  touches: fc.array(fc.tuple(count, count)).chain((pairs) =>
    messages('touches', {
      session: count,
      clients: fc.constant(pairs.map(([client]) => client)),
      timeouts: fc.constant(pairs.map(([, timeout]) => timeout)),
    }),
  ),
  digest: messages('digest', { session: count, zxid: count, high: u32, low: u32 }),
  divergence: messages('divergence', { session: count, zxid: count }),
  snapshotPart: fc.array(fc.tuple(key, bytes), { maxLength: 8 }).chain((pairs) =>
    messages('snapshotPart', {
      session: count,
      keys: fc.constant(pairs.map(([first]) => first)),
      values: fc.constant(pairs.map(([, second]) => second)),
    }),
  ),
  snapshotEnd: messages('snapshotEnd', {
    session: count,
    meta: fc.record({ zxid: count, nodes: count, digestHigh: u32, digestLow: u32, state }, plain),
    voting: fc.option(fc.record({ zxid: count, voting }, plain), { nil: undefined }),
  }),
  snapshotFailed: messages('snapshotFailed', { session: count }),
}
const anyMessage = fc.oneof(...Object.values(byType))

/** The pieces of each frame. */
function framesOf(list: readonly PeerMessage[], maxFrameBytes?: number): (readonly Uint8Array[])[] {
  const frames: (readonly Uint8Array[])[] = []
  // They are kept: the writer may not use them again.
  const writer = new FrameWriter((pieces) => frames.push(pieces) < 0, maxFrameBytes)
  for (const message of list) writer.add(message)
  writer.flush()
  return frames
}

function encoded(list: readonly PeerMessage[]): Buffer {
  return Buffer.concat(framesOf(list).flat())
}

/** The messages of `bytes`, given to a reader in pieces that end at `cuts`. */
function read(all: Buffer, cuts: readonly number[] = []): PeerMessage[] {
  const reader = new FrameReader()
  const found: PeerMessage[] = []
  let at = 0
  for (const end of [...new Set(cuts.map((cut) => cut % (all.length + 1)))]
    .sort((a, b) => a - b)
    .concat(all.length)) {
    reader.push(all.subarray(at, end), (message) => {
      found.push(message)
      return true
    })
    at = end
  }
  return found
}

/** A frame with this head, which may have more at its end, and these bytes behind it. */
function frameOf(
  head: unknown,
  behind: Uint8Array = Buffer.alloc(0),
  more: Uint8Array = Buffer.alloc(0),
): Buffer {
  const packed = Buffer.concat([pack(head), more])
  const lengths = Buffer.alloc(8)
  lengths.writeUInt32BE(4 + packed.length + behind.length, 0)
  lengths.writeUInt32BE(packed.length, 4)
  return Buffer.concat([lengths, packed, behind])
}

for (const [type, arbitrary] of Object.entries(byType)) {
  test(`codec: ${type} comes back as it was`, () => {
    fc.assert(
      fc.property(arbitrary, (message) => assert.deepEqual(read(encoded([message])), [message])),
      { numRuns: 60 },
    )
  })
}

test('codec: a turn of messages comes back in order, however the bytes are cut', () => {
  fc.assert(
    fc.property(
      fc.array(anyMessage, { maxLength: 12 }),
      fc.array(fc.nat(), { maxLength: 12 }),
      (list, cuts) => assert.deepEqual(read(encoded(list), cuts), list),
    ),
    { numRuns: 150 },
  )
})

test('codec: a head is plain msgpack, for this side and for any other', () => {
  const list: PeerMessage[] = [
    { type: 'found', session: 300, zxid: -1 },
    { type: 'commit', session: 70_000, zxid: 2 ** 33 + 5 },
    { type: 'claimed', session: 7, id: 200, open: true, zxid: 2 ** 32 - 1 },
  ]
  const rows = [
    [6, 300, -1],
    [15, 70_000, 2 ** 33 + 5],
    [22, 7, 200, true, 2 ** 32 - 1],
  ]
  const all = encoded(list)
  assert.deepEqual(unpack(all.subarray(8)), rows)
  assert.deepEqual(read(frameOf(rows)), list)
})

test('codec: every byte alone is enough to read a frame', () => {
  const list: PeerMessage[] = [
    { type: 'commit', session: 7, zxid: 2 ** 33 + 5 },
    { type: 'forward', session: 7, bytes: Buffer.from('request') },
  ]
  const all = Buffer.concat([keepalive, encoded(list), keepalive, encoded(list)])
  assert.deepEqual(
    read(
      all,
      Array.from({ length: all.length }, (_, i) => i),
    ),
    [...list, ...list],
  )
})

test('codec: a turn of small messages is one piece', () => {
  const list: PeerMessage[] = Array.from({ length: 50 }, (_, i) => ({
    type: 'proposal',
    session: 7,
    entries: [{ prev: i, first: i + 1, last: i + 1, bytes: Buffer.alloc(200, i) }],
    committed: i,
  }))
  assert.deepEqual(
    framesOf(list).map((pieces) => pieces.length),
    [1],
  )
})

test('codec: big bytes are neither copied when they are sent nor out of the frame they came in', () => {
  const big = Buffer.alloc(100_000, 1)
  const pieces = framesOf([{ type: 'forward', session: 7, bytes: big }]).flat()
  assert.ok(pieces.includes(big))
  const all = Buffer.concat(pieces)
  const [message] = read(all)
  assert.equal(message?.type === 'forward' && message.bytes.buffer, all.buffer)
})

test('codec: bytes around big ones are pieces of their own, in order', () => {
  const [small, big] = [Buffer.from('small'), Buffer.alloc(20_000, 2)]
  const list: PeerMessage[] = [small, big, small, small, big, big, small].map((bytes) => {
    return { type: 'forward', session: 7, bytes }
  })
  const [pieces, ...more] = framesOf(list)
  assert.deepEqual([pieces?.length, more], [6, []])
  assert.deepEqual(read(encoded(list)), list)
})

test('codec: a buffer that the system is done with serves again, and one that it is not stays as it is', () => {
  const seen: Uint8Array[] = []
  let isDone = true
  const writer = new FrameWriter((pieces) => {
    seen.push(...pieces)
    return isDone
  })
  const send = (zxid: number) => {
    writer.add({ type: 'commit', session: 7, zxid })
    assert.equal(writer.isEmpty, false)
    writer.flush()
    assert.equal(writer.isEmpty, true)
    return read(Buffer.from(seen.at(-1) as Uint8Array))
  }
  assert.deepEqual(send(1), [{ type: 'commit', session: 7, zxid: 1 }])
  isDone = false
  assert.deepEqual(send(2), [{ type: 'commit', session: 7, zxid: 2 }])
  assert.deepEqual(send(3), [{ type: 'commit', session: 7, zxid: 3 }])
  const [first, second, third] = seen.map(({ buffer }) => buffer)
  assert.equal(first, second)
  assert.notEqual(second, third)
  assert.deepEqual(read(Buffer.from(seen[1] as Uint8Array)), [{ type: 'commit', session: 7, zxid: 2 }])
})

test('codec: a number that is not whole is never sent', () => {
  assert.throws(() => framesOf([{ type: 'commit', session: 7, zxid: 1.5 }]), InvariantError)
})

test('codec: more messages than a list can count are several frames', () => {
  const list: PeerMessage[] = Array.from({ length: 70_000 }, () => ({ type: 'snapshot', session: 7 }))
  assert.equal(read(encoded(list)).length, list.length)
})

test('codec: bytes of messages outlive a chunk that is read into again', () => {
  const list: PeerMessage[] = [
    { type: 'forward', session: 7, bytes: Buffer.alloc(300, 1) },
    { type: 'commit', session: 7, zxid: 1 },
    { type: 'forward', session: 7, bytes: Buffer.alloc(50_000, 2) },
  ]
  const all = Buffer.concat([encoded(list), encoded(list), encoded(list)])
  const chunk = Buffer.alloc(20_000)
  const reader = new FrameReader(undefined, true)
  const found: PeerMessage[] = []
  for (let at = 0; at < all.length; at += chunk.length) {
    const length = all.copy(chunk, 0, at, at + chunk.length)
    reader.push(chunk.subarray(0, length), (message) => found.push(message) > 0)
    chunk.fill(0xff)
  }
  assert.deepEqual(found, [...list, ...list, ...list])
})

test('codec: many bytes of messages are more than one frame, each about the target', () => {
  const part: PeerMessage = {
    type: 'snapshotPart',
    session: 7,
    keys: Array.from({ length: 1000 }, (_, i) => Buffer.from(`key ${i}`)),
    values: Array.from({ length: 1000 }, () => Buffer.alloc(100)),
  }
  const all = encoded([part, part, part, part, part])
  let frames = 0
  for (let at = 0; at < all.length; at += 4 + all.readUInt32BE(at)) {
    frames++
    assert.ok(all.readUInt32BE(at) < 400_000)
  }
  assert.ok(frames > 1)
  assert.deepEqual(read(all), [part, part, part, part, part])
})

test('codec: a message above the limit is not encoded, and a frame above it not read', () => {
  const message: PeerMessage = { type: 'forward', session: 7, bytes: Buffer.alloc(2000) }
  assert.throws(() => framesOf([message], 1000), RangeError)
  assert.throws(() => new FrameReader(1000).push(encoded([message]), () => true), PeerFault)
})

test('codec: after a refusal to go on nothing more is given', () => {
  const list: PeerMessage[] = [
    { type: 'ack', session: 1, zxid: 1 },
    { type: 'ack', session: 1, zxid: 2 },
  ]
  const found: PeerMessage[] = []
  const all = Buffer.concat([encoded(list), encoded(list)])
  new FrameReader().push(all, (message) => {
    found.push(message)
    return false
  })
  assert.deepEqual(found, list.slice(0, 1))
})

const malformed: Readonly<Record<string, Buffer>> = {
  'a frame that ends within its lengths': Buffer.from([0, 0, 0, 2, 0, 0]),
  'a head that is longer than its frame': Buffer.from([0, 0, 0, 5, 0, 0, 0, 9, 0x90]),
  'a frame without a head': Buffer.from([0, 0, 0, 4, 0, 0, 0, 0]),
  'something that is not msgpack': Buffer.from([0, 0, 0, 6, 0, 0, 0, 2, 0xdc, 0xff]),
  'a head that is no list': frameOf(5),
  'a head that goes on behind its messages': frameOf([[15, 1, 2]], Buffer.alloc(0), Buffer.from([1])),
  'more messages than there are': Buffer.from([0, 0, 0, 9, 0, 0, 0, 5, 0xdd, 0xff, 0xff, 0xff, 0xff]),
  'a message that is no list': frameOf([5]),
  'a message without a kind': frameOf([[]]),
  'an unknown kind': frameOf([[99, 1]]),
  'a field too few': frameOf([[15, 1]]),
  'a field too many': frameOf([[15, 1, 2, 3]]),
  'a text for a number': frameOf([[15, 1, '2']]),
  'an object with a toString for a number': frameOf([[15, 1, { toString: 1 }]]),
  'a bigint for a number': frameOf([[15, 1, 2n ** 60n]]),
  'a zxid that is not whole': frameOf([[15, 1, 1.5]]),
  'a zxid that is not exact': frameOf([[15, 1, 2 ** 53]]),
  'a negative zxid': frameOf([[15, 1, -1]]),
  'a zxid below -1': frameOf([[6, 1, -2]]),
  'NaN for a zxid': frameOf([[15, 1, Number.NaN]]),
  'an epoch out of range': frameOf([[3, 1, maxEpoch + 1]]),
  'a number for a flag': frameOf([[22, 1, 1, 1, 1]]),
  'bytes that are not there': frameOf([[18, 1, 4]], Buffer.alloc(3)),
  'bytes of no message': frameOf([[18, 1, 3]], Buffer.alloc(4)),
  'an entry that begins before the one before it ends': frameOf([[10, 1, 0, [5, 5, 5, 0, null]]]),
  'an entry that ends before it begins': frameOf([[10, 1, 0, [5, 7, 6, 0, null]]]),
  'an entry with a field missing': frameOf([[10, 1, 0, [5, 6, 6, 0]]]),
  'a voting of voters out of order': frameOf([[10, 1, 0, [5, 6, 6, 0, [[2, 1], [], []]]]]),
  'a voting with half a weight': frameOf([[10, 1, 0, [5, 6, 6, 0, [[1, 2], [], [[1]]]]]]),
  'columns of unequal length': frameOf([[24, 1, [1, 2], [1]]]),
  'a key without bytes': frameOf([[27, 1, [0], [1]]], Buffer.alloc(1)),
  'an unknown state of a server': frameOf([[1, 3, null, false, -1, -1, -1, false, 0, [], false, 0]]),
}

for (const [what, frame] of Object.entries(malformed)) {
  test(`codec: ${what} is the other server's fault`, () => assert.throws(() => read(frame), PeerFault))
}

test('codec: damaged frames give messages or a fault of the peer, never another error', () => {
  const sample = fc.array(anyMessage, { minLength: 1, maxLength: 3 }).map(encoded)
  fc.assert(
    fc.property(sample, fc.array(fc.tuple(fc.nat(), u32), { minLength: 1, maxLength: 4 }), (all, changes) => {
      const damaged = Buffer.from(all)
      for (const [at, value] of changes) damaged[4 + (at % (damaged.length - 4))] = value & 0xff
      try {
        read(damaged)
      } catch (error) {
        assert.ok(error instanceof PeerFault, String(error))
      }
    }),
    { numRuns: 400 },
  )
})

import assert from 'node:assert/strict'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { InvariantError } from '../../src/base/assert.ts'
import { LevelCheckpoint } from '../../src/storage/checkpoint.ts'
import { storageError } from '../../src/storage/errors.ts'
import { layoutOf } from '../../src/storage/format.ts'
import { liveFiles, logRecords } from '../../src/storage/manifest.ts'
import { encodeMeta } from '../../src/storage/records.ts'
import type { CheckpointReader, CheckpointStore } from '../../src/storage/types.ts'
import { faultyCheckpoint } from '../support/disk.ts'
import { memoryCheckpoint } from '../support/disk-memory.ts'
import { copyOf, inDatabase, metaAt, openIn, rejectsWith, scratchDir } from '../support/disk-scratch.ts'
import { entriesAfter, reconfiguration, votingOf } from '../support/log-conformance.ts'

type StoreUnderTest = { checkpoint: CheckpointStore; restart(): Promise<void> }

async function levelCheckpoint(t: TestContext): Promise<StoreUnderTest> {
  const dir = await scratchDir(t)
  let storage = await openIn(t, dir)
  // A checkpoint beyond the end of the log would be damage.
  await storage.log.append([{ prev: 0, first: 1, last: 1000, bytes: Buffer.alloc(0) }])
  const store: StoreUnderTest = {
    checkpoint: storage.checkpoint,
    async restart() {
      await storage.close()
      storage = await openIn(t, dir)
      store.checkpoint = storage.checkpoint
    },
  }
  return store
}

for (const [name, open] of [
  ['LevelDB', levelCheckpoint],
  ['the checkpoint in memory', () => kept(memoryCheckpoint())],
  ['a checkpoint with faults, none of them on', () => kept(faultyCheckpoint(memoryCheckpoint()).checkpoint)],
] as const) {
  describe(`${name} as a CheckpointStore`, () => {
    it('is empty when it is new', async (t) => {
      const { checkpoint } = await open(t)
      assert.equal(checkpoint.meta, undefined)
      assert.deepEqual(await contentOf(checkpoint), [])
      assert.throws(() => checkpoint.reader(), InvariantError)
    })

    it('gives back records in key order and meta, also after a restart', async (t) => {
      const store = await open(t)
      const sink = store.checkpoint.begin()
      const binary = Buffer.from(Array.from({ length: 256 }, (_, i) => i))
      sink.put(Buffer.of(0xff), binary)
      sink.put(Buffer.of(0), Buffer.alloc(0))
      sink.put(Buffer.from('b'), Buffer.from('1'))
      sink.put(Buffer.from('a/long/key'), Buffer.alloc(2_000_000, 'large'))
      assert.equal(sink.bytes, 1 + 256 + 1 + 1 + 1 + 10 + 2_000_000)
      const meta = {
        zxid: 9,
        nodes: 4,
        digestHigh: 1,
        digestLow: 2,
        state: { rules: 1, map: new Map([[1, 'x']]) },
      }
      await store.checkpoint.commit(meta)
      const expected = [
        [Buffer.of(0), Buffer.alloc(0)],
        [Buffer.from('a/long/key'), Buffer.alloc(2_000_000, 'large')],
        [Buffer.from('b'), Buffer.from('1')],
        [Buffer.of(0xff), binary],
      ]
      assert.deepEqual(await contentOf(store.checkpoint), expected)
      await store.restart()
      assert.deepEqual(await contentOf(store.checkpoint), expected)
      assert.deepEqual(store.checkpoint.meta, meta)
    })

    it('changes only what a later checkpoint changes; the last change of a key counts', async (t) => {
      const { checkpoint } = await open(t)
      await commit(checkpoint, 1, { a: '1', b: '1', c: '1' })
      const sink = checkpoint.begin()
      sink.put(Buffer.from('b'), Buffer.from('lost'))
      sink.put(Buffer.from('b'), Buffer.from('2'))
      sink.put(Buffer.from('d'), Buffer.from('lost'))
      sink.del(Buffer.from('d'))
      sink.del(Buffer.from('e'))
      sink.put(Buffer.from('e'), Buffer.from('2'))
      sink.del(Buffer.from('c'))
      sink.del(Buffer.from('never there'))
      await checkpoint.commit(metaAt(2))
      assert.deepEqual(await textsOf(checkpoint), ['a=1', 'b=2', 'e=2'])
      assert.equal(checkpoint.meta?.zxid, 2)
    })

    it('forgets what was aborted', async (t) => {
      const { checkpoint } = await open(t)
      await commit(checkpoint, 1, { a: '1' })
      checkpoint.begin().put(Buffer.from('a'), Buffer.from('lost'))
      checkpoint.abort()
      checkpoint.abort()
      checkpoint.begin({ replace: true }).put(Buffer.from('b'), Buffer.from('lost'))
      checkpoint.abort()
      await commit(checkpoint, 2, { c: '2' })
      assert.deepEqual(await textsOf(checkpoint), ['a=1', 'c=2'])
    })

    it('makes one checkpoint at a time, and commits only one that was begun', async (t) => {
      const { checkpoint } = await open(t)
      await assert.rejects(checkpoint.commit(metaAt(1)), InvariantError)
      checkpoint.begin()
      assert.throws(() => checkpoint.begin(), InvariantError)
      checkpoint.abort()
      await commit(checkpoint, 1, { a: '1' })
    })

    it('has nothing of the old records after a replacing checkpoint, again and again', async (t) => {
      const store = await open(t)
      await commit(store.checkpoint, 1, { a: '1', b: '1' })
      for (const zxid of [2, 3, 4, 5]) {
        const sink = store.checkpoint.begin({ replace: true })
        assert.deepEqual(await textsOf(store.checkpoint), zxid === 2 ? ['a=1', 'b=1'] : [`k${zxid - 1}=1`])
        sink.put(Buffer.from(`k${zxid}`), Buffer.from('1'))
        await sink.drained()
        await store.checkpoint.commit(metaAt(zxid))
        assert.deepEqual(await textsOf(store.checkpoint), [`k${zxid}=1`])
        if (zxid === 4) await store.restart()
      }
      await commit(store.checkpoint, 6, { z: '1' })
      await store.restart()
      assert.deepEqual(await textsOf(store.checkpoint), ['k5=1', 'z=1'])
    })

    it('reads a checkpoint to its end while others are committed', async (t) => {
      const { checkpoint } = await open(t)
      const records = Object.fromEntries(Array.from({ length: 9000 }, (_, i) => [`k${10000 + i}`, 'old']))
      await commit(checkpoint, 1, records)
      const reader = checkpoint.reader()
      const first = await reader.next()
      await commit(checkpoint, 2, { k10000: 'new', k18999: 'new' })
      const sink = checkpoint.begin({ replace: true })
      sink.put(Buffer.from('x'), Buffer.from('y'))
      await checkpoint.commit(metaAt(3))
      const read = [...first, ...(await rest(reader))]
      assert.deepEqual(
        read.map(([key, value]) => `${key}=${value}`),
        Object.keys(records).map((key) => `${key}=old`),
      )
      assert.equal(reader.meta.zxid, 1)
      await reader.close()
      assert.deepEqual(await textsOf(checkpoint), ['x=y'])
    })
  })
}

describe('the checkpoint', () => {
  it('tells how many records are loaded', async (t) => {
    const { checkpoint } = await levelCheckpoint(t)
    const records = Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`k${i}`, 'v']))
    await commit(checkpoint, 1, records)
    const told: number[] = []
    await checkpoint.load(
      () => {},
      (count) => told.push(count),
    )
    assert.equal(told.at(-1), 5000)
    assert.ok(told.length > 1)
  })

  it('goes on after a large one was loaded, and so do readers and sinks that were there before', async (t) => {
    const { checkpoint } = await levelCheckpoint(t)
    const sink = checkpoint.begin()
    const value = noise(1 << 20)
    for (let i = 0; i < 6; i++) sink.put(Buffer.from(`k${i}`), value)
    await checkpoint.commit(metaAt(1))
    const keys = ['k0', 'k1', 'k2', 'k3', 'k4', 'k5']
    assert.deepEqual(await keysOf(checkpoint), keys)
    const reader = checkpoint.reader()
    const first = await reader.next()
    assert.deepEqual(await keysOf(checkpoint), keys)
    checkpoint.begin().put(Buffer.from('k6'), value)
    assert.deepEqual(await keysOf(checkpoint), keys)
    await checkpoint.commit(metaAt(2))
    const read = [...first, ...(await rest(reader))]
    await reader.close()
    assert.deepEqual(
      read.map(([key]) => `${key}`),
      keys,
    )
    assert.deepEqual(await keysOf(checkpoint), [...keys, 'k6'])
    await commit(checkpoint, 3, { k7: '1' })
    assert.deepEqual(await keysOf(checkpoint), [...keys, 'k6', 'k7'])
  })

  it('passes on what the receiver of records throws', async (t) => {
    const { checkpoint } = await levelCheckpoint(t)
    await commit(checkpoint, 1, { a: '1' })
    const wrong = new RangeError('no such kind of record')
    await assert.rejects(
      checkpoint.load(() => {
        throw wrong
      }),
      (error) => error === wrong,
    )
  })

  it('of a replacing sink is written as it goes, and gone after a restart without a commit', async (t) => {
    const dir = await scratchDir(t)
    const storage = await openIn(t, dir)
    const before = await storage.dataDirBytes()
    const sink = storage.checkpoint.begin({ replace: true })
    const value = noise(1 << 20)
    for (let i = 0; i < 20; i++) {
      sink.put(Buffer.of(i), value)
      await sink.drained()
    }
    assert.ok((await storage.dataDirBytes()) > before + 8e6)
    await storage.close()
    const again = await openIn(t, dir)
    assert.equal(again.checkpoint.meta, undefined)
    again.checkpoint.begin({ replace: true }).put(Buffer.from('k'), Buffer.from('v'))
    await again.install(metaAt(5), undefined)
    assert.deepEqual(await textsOf(again.checkpoint), ['k=v'])
  })

  it('with records but no head is corrupt, with a damaged head too', async (t) => {
    for (const value of [undefined, Buffer.from('damaged')]) {
      const dir = await scratchDir(t)
      const storage = await openIn(t, dir)
      await storage.log.append([{ prev: 0, first: 1, last: 1, bytes: Buffer.alloc(0) }])
      await commit(storage.checkpoint, 1, { a: '1' })
      await storage.close()
      const { checkpointDir } = layoutOf(dir, dir)
      await inDatabase(checkpointDir, async ({ db }) => {
        if (value === undefined) await db.del(Buffer.from('m'))
        else await db.put(Buffer.from('m'), value)
      })
      const error = await rejectsWith(openIn(t, dir), 'corrupt')
      assert.equal(error.path, checkpointDir)
    }
  })

  it('is refused if LevelDB knows of a later one behind damage in a write-ahead file', async (t) => {
    const dir = await scratchDir(t)
    const storage = await openIn(t, dir)
    await storage.log.append([{ prev: 0, first: 1, last: 9, bytes: Buffer.alloc(0) }])
    // Each in a block of the file of its own: LevelDB goes on with the next one.
    for (const zxid of [1, 2, 3]) await commit(storage.checkpoint, zxid, { [`k${zxid}`]: 'x'.repeat(40_000) })
    await storage.close()
    const { checkpointDir } = layoutOf(dir, dir)
    const log = (await readdir(checkpointDir)).find((name) => name.endsWith('.log')) ?? ''
    const bytes = await readFile(join(checkpointDir, log))
    bytes[60_000] = (bytes[60_000] as number) ^ 1
    await writeFile(join(checkpointDir, log), bytes)
    const error = await rejectsWith(openIn(t, dir), 'corrupt')
    assert.equal(error.path, checkpointDir)
  })

  it('is written ahead of its commit as far as its keys are new, which counts for nothing before it', async (t) => {
    const dir = await scratchDir(t)
    let storage = await openIn(t, dir)
    await storage.log.append([{ prev: 0, first: 1, last: 9, bytes: Buffer.alloc(0) }])
    await commit(storage.checkpoint, 1, { a: '1', k3: '1' })
    const before = await storage.dataDirBytes()
    const sink = storage.checkpoint.begin()
    const large = noise(4 << 20)
    sink.put(Buffer.from('k4'), large)
    sink.put(Buffer.from('a'), Buffer.from('changed'))
    sink.put(Buffer.from('k5'), large)
    sink.put(Buffer.from('k6'), Buffer.from('small'))
    await sink.drained()
    assert.ok((await storage.dataDirBytes()) > before + 4e6)
    assert.deepEqual(await textsOf(storage.checkpoint), ['a=1', 'k3=1'])
    // As a crash would leave it: what was written has no commit.
    const crashed = await copyOf(t, dir)
    await storage.checkpoint.commit(metaAt(2))
    assert.deepEqual(await keysOf(storage.checkpoint), ['a', 'k3', 'k4', 'k5', 'k6'])
    storage = await openIn(t, crashed)
    assert.deepEqual(await textsOf(storage.checkpoint), ['a=1', 'k3=1'])
    // And it stays gone when keys behind it count.
    await commit(storage.checkpoint, 3, { k9: '1' })
    assert.deepEqual(await textsOf(storage.checkpoint), ['a=1', 'k3=1', 'k9=1'])
  })

  it('that is small is one write, whether its keys are new or not', async (t) => {
    const dir = await scratchDir(t)
    const { log, checkpoint } = await openIn(t, dir)
    await log.append([{ prev: 0, first: 1, last: 9, bytes: Buffer.alloc(0) }])
    const { checkpointDir } = layoutOf(dir, dir)
    const writes = async () => {
      let count = 0
      for (const name of (await liveFiles(checkpointDir))?.logs ?? [])
        count += [...logRecords(await readFile(join(checkpointDir, name)))].length
      return count
    }
    const before = await writes()
    await commit(checkpoint, 1, { a: '1', k3: '1' })
    const sink = checkpoint.begin()
    sink.del(Buffer.from('a'))
    for (const key of ['b', 'k4', 'k5']) sink.put(Buffer.from(key), Buffer.from('2'))
    await checkpoint.commit(metaAt(2))
    assert.equal(await writes(), before + 2)
    assert.deepEqual(await textsOf(checkpoint), ['b=2', 'k3=1', 'k4=2', 'k5=2'])
    await commit(checkpoint, 3, { b: '3', k6: noise(100_000).toString('hex'), k7: '3' })
    assert.equal(await writes(), before + 4)
    assert.deepEqual(await keysOf(checkpoint), ['b', 'k3', 'k4', 'k5', 'k6', 'k7'])
  })

  it('that is large has tables of its own for what is new in it, which LevelDB need not merge', async (t) => {
    const dir = await scratchDir(t)
    const storage = await openIn(t, dir)
    await storage.log.append([{ prev: 0, first: 1, last: 9, bytes: Buffer.alloc(0) }])
    const value = noise(1 << 20)
    for (const zxid of [1, 2, 3]) {
      const sink = storage.checkpoint.begin()
      for (let i = 0; i < 6; i++) sink.put(Buffer.of(0x7a, zxid, i), value)
      for (let i = 1; i <= zxid; i++) sink.put(Buffer.of(0x64, i), Buffer.of(zxid))
      await storage.checkpoint.commit(metaAt(zxid))
    }
    await storage.close()
    const { checkpointDir } = layoutOf(dir, dir)
    const { tables = [] } = (await liveFiles(checkpointDir)) ?? {}
    const ofCheckpoint = (key: Buffer) => (key.length === 4 && key[1] === 0x7a ? key[2] : undefined)
    // The first one was written behind what was in memory before.
    for (const zxid of [2, 3]) {
      const own = tables.filter(({ largest }) => ofCheckpoint(largest) === zxid)
      assert.ok(own.length > 0)
      for (const { smallest } of own) assert.equal(ofCheckpoint(smallest), zxid)
      for (const { smallest, largest } of own) {
        const inside = tables.filter(
          (other) =>
            Buffer.compare(other.smallest, largest) <= 0 && Buffer.compare(smallest, other.largest) <= 0,
        )
        assert.equal(inside.length, 1)
      }
    }
  })

  it('of the former generations is loaded and goes on, until one replaces it', async (t) => {
    const dir = await scratchDir(t)
    let storage = await openIn(t, dir)
    await storage.log.append([{ prev: 0, first: 1, last: 9, bytes: Buffer.alloc(0) }])
    await storage.close()
    const { checkpointDir } = layoutOf(dir, dir)
    const former = {
      meta: metaAt(1),
      generation: 0x61,
      end: Buffer.from('k2'),
      installs: 0,
      voting: undefined,
    }
    await inDatabase(checkpointDir, async ({ db }) => {
      for (const key of ['ak1', 'ak2', 'ak3']) await db.put(Buffer.from(key), Buffer.from('1'))
      await db.put(Buffer.from('m'), encodeMeta(former))
    })
    storage = await openIn(t, dir)
    // What is above the end has no commit.
    assert.deepEqual(await textsOf(storage.checkpoint), ['k1=1', 'k2=1'])
    await commit(storage.checkpoint, 2, { k2: '2', k4: '2' })
    assert.deepEqual(await textsOf(storage.checkpoint), ['k1=1', 'k2=2', 'k4=2'])
    storage.checkpoint.begin({ replace: true }).put(Buffer.from('k5'), Buffer.from('3'))
    await storage.checkpoint.commit(metaAt(3))
    await storage.close()
    storage = await openIn(t, dir)
    assert.deepEqual(await textsOf(storage.checkpoint), ['k5=3'])
    await storage.close()
    await inDatabase(checkpointDir, async ({ db }) => {
      assert.deepEqual(await db.keys({ lt: Buffer.from('m') }).all(), [])
    })
  })

  it('that was given up leaves nothing, whatever was written of it', async (t) => {
    const { checkpoint } = await levelCheckpoint(t)
    await commit(checkpoint, 1, { a: '1' })
    for (const replace of [false, true]) {
      const sink = checkpoint.begin({ replace })
      for (const key of ['k1', 'k2', 'k3']) sink.put(Buffer.from(key), noise(1 << 20))
      checkpoint.abort()
    }
    await commit(checkpoint, 2, { k9: '1' })
    assert.deepEqual(await textsOf(checkpoint), ['a=1', 'k9=1'])
  })

  it('whose commit is prevented leaves nothing of what was written of it', async (t) => {
    const dir = await scratchDir(t)
    await (await openIn(t, dir)).close()
    await inDatabase(layoutOf(dir, dir).checkpointDir, async (database) => {
      let allowed = true
      const checkpoint = await LevelCheckpoint.open(database, async () => {
        await Promise.resolve()
        if (!allowed) throw new RangeError('not now')
      })
      await commit(checkpoint, 1, { a: '1' })
      allowed = false
      await assert.rejects(commit(checkpoint, 2, { a: '2', k1: '2' }), RangeError)
      allowed = true
      await commit(checkpoint, 3, { k2: '3' })
      assert.deepEqual(await textsOf(checkpoint), ['a=1', 'k2=3'])
    })
  })

  it('of a failed disk refuses to begin until it was reopened', async () => {
    const { checkpoint, faults } = faultyCheckpoint(memoryCheckpoint())
    await commit(checkpoint, 1, { a: '1' })
    faults.failNext('full')
    await rejectsWith(commit(checkpoint, 2, { a: '2' }), 'full')
    assert.throws(() => checkpoint.begin(), { kind: 'full' })
    await rejectsWith(checkpoint.reopen(), 'full')
    faults.repair()
    await checkpoint.reopen()
    assert.deepEqual([checkpoint.meta?.zxid, await textsOf(checkpoint)], [1, ['a=1']])
    await commit(checkpoint, 3, { a: '3' })
    assert.deepEqual([faults.syncs, await textsOf(checkpoint)], [2, ['a=3']])
  })
})

describe('an installed checkpoint', () => {
  it('takes the place of the log, which goes on from there', async (t) => {
    const dir = await scratchDir(t)
    const storage = await openIn(t, dir)
    await storage.log.append([{ prev: 0, first: 1, last: 50, bytes: Buffer.from('dead') }])
    await storage.log.saveEpochs({ accepted: 3, current: 2 })
    for (const zxid of [30, 2 ** 33]) {
      storage.checkpoint.begin({ replace: true }).put(Buffer.from('k'), Buffer.from(`${zxid}`))
      await storage.install(metaAt(zxid), undefined)
      assert.deepEqual([storage.log.lastZxid, storage.log.trimmedTo], [zxid, zxid])
    }
    const next = { prev: 2 ** 33, first: 2 ** 33 + 1, last: 2 ** 33 + 1, bytes: Buffer.from('next') }
    await storage.log.append([next])
    await storage.close()
    const again = await openIn(t, dir)
    assert.deepEqual(again.log.epochs, { accepted: 3, current: 2 })
    assert.deepEqual([again.log.lastZxid, again.checkpoint.meta?.zxid], [2 ** 33 + 1, 2 ** 33])
    for await (const entry of again.log.read(2 ** 33))
      assert.equal(Buffer.from(entry.bytes).toString(), 'next')
  })

  it('is finished by the next start if the process ended before the log followed', async (t) => {
    const dir = await scratchDir(t)
    const storage = await openIn(t, dir)
    await storage.log.append([reconfiguration(0, 3), ...entriesAfter(1, [49])])
    await storage.log.markDiverged()
    await storage.close()
    const voting = { zxid: 29, voting: votingOf(5) }
    await inDatabase(layoutOf(dir, dir).checkpointDir, async (database) => {
      const checkpoint = await LevelCheckpoint.open(database, () => Promise.resolve())
      checkpoint.begin({ replace: true })
      await checkpoint.install(metaAt(30), voting)
      // One more, which the server can not have made before the log followed, must not lose what the log needs.
      checkpoint.begin()
      await checkpoint.commit(metaAt(30))
    })
    const steps: string[] = []
    const again = await openIn(t, dir, { onProgress: ({ step }) => steps.push(step) })
    assert.deepEqual(steps, ['checkpoint', 'log', 'install'])
    assert.deepEqual([again.log.lastZxid, again.log.trimmedTo, again.checkpoint.meta?.zxid], [30, 30, 30])
    await again.close()
    const third = await openIn(t, dir)
    assert.equal(third.log.lastZxid, 30)
    assert.equal(third.log.diverged, false)
    assert.deepEqual(await third.log.index(), { lasts: [], votings: [voting] })
  })

  for (const written of [true, false]) {
    it(`whose write failed is followed by the log at reopen if it is there: ${written}`, async (t) => {
      const dir = await scratchDir(t)
      const storage = await openIn(t, dir)
      const { log, checkpoint } = storage
      await log.append(entriesAfter(0, [50]))
      assert.ok(checkpoint instanceof LevelCheckpoint)
      const install = checkpoint.install.bind(checkpoint)
      checkpoint.install = async (meta, voting) => {
        if (written) await install(meta, voting)
        throw storageError('io', dir, 'the answer of the disk is lost')
      }
      checkpoint.begin({ replace: true })
      await rejectsWith(storage.install(metaAt(30), undefined), 'io')
      checkpoint.install = install
      await log.reopen()
      const end = written ? 30 : 50
      assert.deepEqual(
        [log.lastZxid, log.trimmedTo, checkpoint.meta?.zxid],
        [end, end % 50, written ? 30 : undefined],
      )
      // What is acknowledged from now on must be there after a restart.
      await log.append(entriesAfter(end, [5]))
      await storage.close()
      const again = await openIn(t, dir)
      assert.equal(again.log.lastZxid, end + 5)
    })
  }

  it('must be begun as a replacing one', async (t) => {
    const storage = await openIn(t, await scratchDir(t))
    storage.checkpoint.begin()
    await assert.rejects(storage.install(metaAt(1), undefined), InvariantError)
  })
})

function kept(checkpoint: CheckpointStore): Promise<StoreUnderTest> {
  return Promise.resolve({ checkpoint, restart: () => Promise.resolve() })
}

async function commit(
  checkpoint: CheckpointStore,
  zxid: number,
  records: Record<string, string>,
): Promise<void> {
  const sink = checkpoint.begin()
  for (const [key, value] of Object.entries(records)) sink.put(Buffer.from(key), Buffer.from(value))
  await checkpoint.commit(metaAt(zxid))
}

async function contentOf(checkpoint: CheckpointStore): Promise<[Buffer, Buffer][]> {
  const records: [Buffer, Buffer][] = []
  await checkpoint.load((key, value) => records.push([Buffer.from(key), Buffer.from(value)]))
  return records
}

async function keysOf(checkpoint: CheckpointStore): Promise<string[]> {
  return (await contentOf(checkpoint)).map(([key]) => `${key}`)
}

/** Bytes that do not compress. */
function noise(length: number): Buffer {
  const bytes = Buffer.alloc(length)
  for (let i = 0; i < length; i++) bytes[i] = (i * i * 31) >> 5
  return bytes
}

async function textsOf(checkpoint: CheckpointStore): Promise<string[]> {
  return (await contentOf(checkpoint)).map(([key, value]) => `${key}=${value}`)
}

async function rest(reader: CheckpointReader): Promise<(readonly [Uint8Array, Uint8Array])[]> {
  const records: (readonly [Uint8Array, Uint8Array])[] = []
  for (;;) {
    const chunk = await reader.next()
    if (chunk.length === 0) return records
    records.push(...chunk)
  }
}

// What every LogStore must do, as tests: run on LevelDB's and on those that tests and the simulator use instead.
import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { InvariantError } from '../../src/base/assert.ts'
import { makeZxid, maxCounter, maxEpoch } from '../../src/base/zxid.ts'
import type { LogStore } from '../../src/storage/types.ts'
import type { Entry } from '../../src/zab/types.ts'

/** A log that can be stopped and started. */
export type LogUnderTest = {
  log: LogStore
  /** Closes `log` and puts a new one over the same data in its place. */
  restart(): Promise<void>
  /** Makes a checkpoint at `zxid`, so that the log may be trimmed to it. */
  checkpointAt(zxid: number): Promise<void>
}

/** Entries that follow `prev` without a hole; each holds the given number of transactions. */
export function entriesAfter(prev: number, sizes: readonly number[], text = 'entry'): Entry[] {
  let at = prev
  return sizes.map((size) => {
    const entry = { prev: at, first: at + 1, last: at + size, bytes: Buffer.from(`${text} ${at + 1}`) }
    at += size
    return entry
  })
}

/** Everything that `read` gives, with bytes as plain Buffers. */
export async function readAll(log: LogStore, after: number): Promise<Entry[]> {
  const entries: Entry[] = []
  for await (const entry of log.read(after)) entries.push({ ...entry, bytes: Buffer.from(entry.bytes) })
  return entries
}

/** The conformance tests; `open` makes an empty log that the test context disposes of. */
export function logConformance(name: string, open: (t: TestContext) => Promise<LogUnderTest>): void {
  describe(`${name} as a LogStore`, () => {
    it('is empty when it is new', async (t) => {
      const { log } = await open(t)
      assert.deepEqual([log.lastZxid, log.trimmedTo, log.epochs], [0, 0, { accepted: 0, current: 0 }])
      assert.deepEqual(await readAll(log, 0), [])
    })

    it('gives back what was appended, in order, also after a restart', async (t) => {
      const store = await open(t)
      const entries = entriesAfter(0, [1, 3, 1, 20])
      await store.log.append(entries.slice(0, 1))
      await store.log.append(entries.slice(1))
      assert.deepEqual(await readAll(store.log, 0), entries)
      assert.equal(store.log.lastZxid, 25)
      await store.restart()
      assert.deepEqual(await readAll(store.log, 0), entries)
      assert.equal(store.log.lastZxid, 25)
    })

    it('keeps empty and large entries byte for byte', async (t) => {
      const store = await open(t)
      const large = Buffer.alloc(3_000_000, 'all of this ')
      const entries = [
        { prev: 0, first: 1, last: 1, bytes: Buffer.alloc(0) },
        { prev: 1, first: 2, last: 2, bytes: large },
        { prev: 2, first: 3, last: 3, bytes: Buffer.of(0, 255) },
      ]
      await store.log.append(entries)
      await store.restart()
      assert.deepEqual(await readAll(store.log, 0), entries)
    })

    it('takes the highest zxid there is, and one epoch after another', async (t) => {
      const store = await open(t)
      const zxids = [makeZxid(1, 1), makeZxid(1, maxCounter), makeZxid(7, 1), makeZxid(maxEpoch, maxCounter)]
      const entries = zxids.map((zxid, i) => ({
        prev: zxids[i - 1] ?? 0,
        first: zxid,
        last: zxid,
        bytes: Buffer.from('e'),
      }))
      await store.log.append(entries)
      await store.restart()
      assert.equal(store.log.lastZxid, makeZxid(maxEpoch, maxCounter))
      for (const [i, zxid] of zxids.entries()) {
        assert.deepEqual(await readAll(store.log, zxid), entries.slice(i + 1))
      }
    })

    it('reads from the entry that reaches beyond the given zxid', async (t) => {
      const { log } = await open(t)
      const entries = entriesAfter(0, [2, 3, 1])
      await log.append(entries)
      const expected = [0, 0, 1, 1, 1, 2, 3, 3]
      for (const [after, from] of expected.entries()) {
        assert.deepEqual(await readAll(log, after), entries.slice(from), `after ${after}`)
      }
    })

    it('reads what was there at the call and nothing that came later', async (t) => {
      const { log } = await open(t)
      const entries = entriesAfter(0, [1, 1, 1])
      await log.append(entries.slice(0, 2))
      const reading = log.read(0)
      await log.append(entries.slice(2))
      const seen: Entry[] = []
      for await (const entry of reading) seen.push({ ...entry, bytes: Buffer.from(entry.bytes) })
      assert.deepEqual(seen, entries.slice(0, 2))
    })

    it('can stop reading early', async (t) => {
      const { log } = await open(t)
      await log.append(entriesAfter(0, [1, 1, 1]))
      for await (const entry of log.read(1)) {
        assert.equal(entry.first, 2)
        break
      }
      await log.append(entriesAfter(3, [1]))
      assert.equal(log.lastZxid, 4)
    })

    it('refuses an entry that does not follow the last one, and keeps working', async (t) => {
      const { log } = await open(t)
      await log.append(entriesAfter(0, [2]))
      const [a, b] = entriesAfter(2, [1, 1])
      assert.ok(a !== undefined && b !== undefined)
      await assert.rejects(log.append([b]), InvariantError)
      await assert.rejects(log.append([a, a]), InvariantError)
      await assert.rejects(log.append([{ ...a, first: 2 }]), InvariantError)
      await assert.rejects(log.append([{ ...a, last: 2 }]), InvariantError)
      await log.append([a, b])
      assert.equal(log.lastZxid, 4)
      assert.equal((await readAll(log, 0)).length, 3)
    })

    it('refuses an append while another is under way', async (t) => {
      const { log } = await open(t)
      const [a, b] = entriesAfter(0, [1, 1])
      assert.ok(a !== undefined && b !== undefined)
      const first = log.append([a])
      await assert.rejects(log.append([b]), InvariantError)
      await first
      assert.equal(log.lastZxid, 1)
    })

    it('does nothing for an empty append', async (t) => {
      const { log } = await open(t)
      await log.append([])
      assert.equal(log.lastZxid, 0)
    })

    it('keeps the epochs over a restart', async (t) => {
      const store = await open(t)
      await store.log.saveEpochs({ accepted: 4, current: 3 })
      await store.log.append(entriesAfter(0, [1]))
      await store.log.saveEpochs({ accepted: 5, current: 3 })
      assert.deepEqual(store.log.epochs, { accepted: 5, current: 3 })
      await store.restart()
      assert.deepEqual(store.log.epochs, { accepted: 5, current: 3 })
    })

    it('truncates to a zxid for good, and is appended to from there', async (t) => {
      const store = await open(t)
      const entries = entriesAfter(0, [2, 2, 2, 2])
      await store.log.append(entries)
      await store.log.truncate(4)
      assert.equal(store.log.lastZxid, 4)
      const epoch = makeZxid(2, 0)
      const other = { prev: 4, first: epoch + 1, last: epoch + 2, bytes: Buffer.from('other') }
      await store.restart()
      assert.equal(store.log.lastZxid, 4)
      await store.log.append([other])
      await store.restart()
      assert.deepEqual(await readAll(store.log, 0), [...entries.slice(0, 2), other])
    })

    it('truncates the whole of an entry that reaches beyond the zxid', async (t) => {
      const { log } = await open(t)
      const entries = entriesAfter(0, [2, 3, 1])
      await log.append(entries)
      await log.truncate(4)
      assert.equal(log.lastZxid, 2)
      assert.deepEqual(await readAll(log, 0), entries.slice(0, 1))
    })

    it('truncates to nothing, and not at all beyond its end', async (t) => {
      const store = await open(t)
      await store.log.append(entriesAfter(0, [2, 2]))
      await store.log.truncate(4)
      await store.log.truncate(99)
      assert.equal(store.log.lastZxid, 4)
      await store.log.truncate(0)
      await store.restart()
      assert.equal(store.log.lastZxid, 0)
      assert.deepEqual(await readAll(store.log, 0), [])
    })

    it('trims whole entries only', async (t) => {
      const { log, checkpointAt } = await open(t)
      const entries = entriesAfter(0, [2, 3, 1])
      await log.append(entries)
      await checkpointAt(6)
      await log.trim(1)
      assert.equal(log.trimmedTo, 0)
      await log.trim(4)
      assert.equal(log.trimmedTo, 2)
      assert.deepEqual(await readAll(log, 2), entries.slice(1))
      await log.trim(1)
      assert.equal(log.trimmedTo, 2)
      assert.throws(() => log.read(1), InvariantError)
      await assert.rejects(log.truncate(1), InvariantError)
    })

    it('knows after a restart where it was trimmed, also when nothing is left', async (t) => {
      const store = await open(t)
      const entries = entriesAfter(0, [2, 3, 1, 1])
      await store.log.append(entries.slice(0, 3))
      await store.checkpointAt(6)
      await store.log.trim(5)
      await store.restart()
      assert.deepEqual([store.log.trimmedTo, store.log.lastZxid], [5, 6])
      await store.log.trim(6)
      assert.deepEqual([store.log.trimmedTo, store.log.lastZxid], [6, 6])
      await store.restart()
      assert.deepEqual([store.log.trimmedTo, store.log.lastZxid], [6, 6])
      assert.deepEqual(await readAll(store.log, 6), [])
      await store.log.append(entries.slice(3))
      await store.restart()
      assert.deepEqual(await readAll(store.log, 6), entries.slice(3))
    })

    it('is trimmed while it is appended to and read', async (t) => {
      const { log, checkpointAt } = await open(t)
      const entries = entriesAfter(0, Array(300).fill(1))
      await log.append(entries.slice(0, 200))
      await checkpointAt(200)
      const reading = log.read(100)
      const trimming = log.trim(150)
      for (const entry of entries.slice(200)) await log.append([entry])
      await trimming
      assert.deepEqual(await readAll(log, log.trimmedTo), entries.slice(150))
      const seen: number[] = []
      for await (const entry of reading) seen.push(entry.first)
      assert.deepEqual(
        seen,
        entries.slice(100, 200).map((entry) => entry.first),
      )
    })

    it('does writes in the order in which they were asked for', async (t) => {
      const store = await open(t)
      const entries = entriesAfter(0, [1, 1, 1])
      await store.log.append(entries)
      const other = entriesAfter(1, [1], 'other')
      await Promise.all([
        store.log.truncate(1),
        store.log.append(other),
        store.log.saveEpochs({ accepted: 2, current: 2 }),
        store.log.saveEpochs({ accepted: 3, current: 2 }),
      ])
      await store.restart()
      assert.deepEqual(await readAll(store.log, 0), [...entries.slice(0, 1), ...other])
      assert.deepEqual(store.log.epochs, { accepted: 3, current: 2 })
    })
  })
}

// What every LogStore must do, as tests: run on LevelDB's and on those that tests and the simulator use instead.
import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { InvariantError } from '../../src/base/assert.ts'
import { makeZxid, maxCounter, maxEpoch } from '../../src/base/zxid.ts'
import type { LogStore } from '../../src/storage/types.ts'
import type { Entry, Voting, VotingAt } from '../../src/zab/types.ts'

/** A log that can be stopped and started. */
export type LogUnderTest = {
  log: LogStore
  /** Closes `log` and puts a new one over the same data in its place. */
  restart(): Promise<void>
  /** Makes a checkpoint at `zxid`, so that the log may be trimmed to it. */
  checkpointAt(zxid: number): Promise<void>
  /** Installs an empty checkpoint at `zxid` in the place of the log. */
  install(zxid: number, voting: VotingAt | undefined): Promise<void>
}

/** A voting of servers 1 to `voters`. */
export function votingOf(voters: number): Voting {
  return { voters: Array.from({ length: voters }, (_, i) => i + 1), groups: [], weights: [] }
}

/** An entry of one transaction after `prev` from which on servers 1 to `voters` vote. */
export function reconfiguration(prev: number, voters: number): Entry {
  const zxid = prev + 1
  return { prev, first: zxid, last: zxid, bytes: Buffer.from(`members ${voters}`), voting: votingOf(voters) }
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
        first: i === 1 ? makeZxid(1, 2) : zxid,
        last: zxid,
        bytes: Buffer.from('e'),
      }))
      await store.log.append(entries)
      await store.restart()
      assert.equal(store.log.lastZxid, makeZxid(maxEpoch, maxCounter))
      assert.deepEqual(await store.log.index(), { lasts: zxids, votings: [] })
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

    it('is trimmed to where an entry ends, and never back', async (t) => {
      const { log, checkpointAt } = await open(t)
      const entries = entriesAfter(0, [2, 3, 1])
      await log.append(entries)
      await checkpointAt(6)
      await log.trim(0)
      assert.equal(log.trimmedTo, 0)
      await log.trim(2)
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

    it('tells in its index where the entries end, and which of them changed who votes', async (t) => {
      const store = await open(t)
      assert.deepEqual(await store.log.index(), { lasts: [], votings: [] })
      const entries = [...entriesAfter(0, [2, 3]), reconfiguration(5, 3), ...entriesAfter(6, [1])]
      await store.log.append(entries.slice(0, 3))
      await store.log.append(entries.slice(3))
      const index = { lasts: [2, 5, 6, 7], votings: [{ zxid: 6, voting: votingOf(3) }] }
      assert.deepEqual(await store.log.index(), index)
      assert.deepEqual(await readAll(store.log, 0), entries)
      await store.restart()
      assert.deepEqual(await store.log.index(), index)
      assert.deepEqual(await readAll(store.log, 0), entries)
    })

    it('keeps a voting with groups and weights', async (t) => {
      const store = await open(t)
      const voting: Voting = {
        voters: [1, 2, 3, 255],
        groups: [
          [1, 2],
          [3, 255],
        ],
        weights: [
          [2, 0],
          [255, 7],
        ],
      }
      await store.log.append([{ ...reconfiguration(0, 1), voting }])
      await store.restart()
      assert.deepEqual((await store.log.index()).votings, [{ zxid: 1, voting }])
    })

    it('forgets the votings that are truncated', async (t) => {
      const store = await open(t)
      const entries = [reconfiguration(0, 1), reconfiguration(1, 2), reconfiguration(2, 3)]
      await store.log.append(entries)
      await store.log.truncate(1)
      const other = { ...reconfiguration(1, 4), first: makeZxid(1, 1), last: makeZxid(1, 1) }
      await store.log.append([other])
      const votings = [
        { zxid: 1, voting: votingOf(1) },
        { zxid: other.last, voting: votingOf(4) },
      ]
      assert.deepEqual(await store.log.index(), { lasts: [1, other.last], votings })
      await store.restart()
      assert.deepEqual(await store.log.index(), { lasts: [1, other.last], votings })
      assert.deepEqual(await readAll(store.log, 0), [entries[0], other])
    })

    it('keeps the newest voting that is trimmed, and no older one', async (t) => {
      const store = await open(t)
      await store.log.append([1, 2, 3].map((n) => reconfiguration(n - 1, n)))
      await store.log.append(entriesAfter(3, [1, 1]))
      await store.checkpointAt(5)
      await store.log.trim(2)
      const [, two, three] = [1, 2, 3].map((n) => ({ zxid: n, voting: votingOf(n) }))
      assert.deepEqual(await store.log.index(), { lasts: [3, 4, 5], votings: [two, three] })
      await store.log.trim(5)
      assert.deepEqual(await store.log.index(), { lasts: [], votings: [three] })
      await store.restart()
      assert.deepEqual(await store.log.index(), { lasts: [], votings: [three] })
      await store.log.truncate(5)
      assert.deepEqual(await store.log.index(), { lasts: [], votings: [three] })
    })

    it('has after an install just the voting that came with it', async (t) => {
      const store = await open(t)
      await store.log.append([reconfiguration(0, 1), reconfiguration(1, 2), ...entriesAfter(2, [8])])
      // The same zxid as an old one, then an older one, then none.
      for (const voting of [{ zxid: 2, voting: votingOf(5) }, { zxid: 1, voting: votingOf(6) }, undefined]) {
        await store.install(5, voting)
        const expected = { lasts: [], votings: voting === undefined ? [] : [voting] }
        assert.deepEqual(await store.log.index(), expected)
        await store.restart()
        assert.deepEqual(await store.log.index(), expected)
        assert.deepEqual([store.log.trimmedTo, store.log.lastZxid], [5, 5])
      }
      await store.log.append([reconfiguration(5, 7)])
      assert.deepEqual(await store.log.index(), { lasts: [6], votings: [{ zxid: 6, voting: votingOf(7) }] })
    })

    it('is diverged from when it was marked until a checkpoint is installed', async (t) => {
      const store = await open(t)
      await store.log.append(entriesAfter(0, [1, 1]))
      assert.equal(store.log.diverged, false)
      await store.log.markDiverged()
      assert.equal(store.log.diverged, true)
      await store.restart()
      assert.equal(store.log.diverged, true)
      await store.log.append(entriesAfter(2, [1]))
      await store.log.truncate(1)
      await store.log.saveEpochs({ accepted: 1, current: 1 })
      assert.equal(store.log.diverged, true)
      await store.install(9, undefined)
      assert.equal(store.log.diverged, false)
      await store.restart()
      assert.deepEqual([store.log.diverged, store.log.lastZxid], [false, 9])
    })

    it('indexes thousands of entries, of several epochs, truncated and trimmed anywhere', async (t) => {
      const store = await open(t)
      const lasts: number[] = []
      let epoch = 0
      const append = async (count: number) => {
        epoch++
        const prev = lasts.at(-1) ?? 0
        const entries = entriesAfter(
          makeZxid(epoch, 0),
          Array.from({ length: count }, (_, i) => 1 + (i % 3)),
        )
        await store.log.append(entries.map((entry, i) => (i === 0 ? { ...entry, prev } : entry)))
        lasts.push(...entries.map((entry) => entry.last))
      }
      const check = async () => {
        assert.deepEqual((await store.log.index()).lasts, lasts)
        await store.restart()
        assert.deepEqual((await store.log.index()).lasts, lasts)
      }
      await append(700)
      for (let i = 0; i < 40; i++) await append(3)
      await append(1500)
      await check()
      for (const left of [2000, 1024, 900]) {
        await store.log.truncate(lasts[left - 1] ?? 0)
        lasts.length = left
        await check()
        await append(5)
        await append(1200)
        await check()
      }
      await store.checkpointAt(lasts.at(-1) ?? 0)
      for (const count of [100, 700, 800]) {
        const trimmed = lasts.splice(0, count)
        await store.log.trim(trimmed.at(-1) ?? 0)
        await check()
      }
    })

    it('indexes what was there at the call, while it is appended to', async (t) => {
      const { log } = await open(t)
      const entries = entriesAfter(0, Array(1030).fill(1))
      await log.append(entries.slice(0, 500))
      const appending = log.append(entries.slice(500))
      const index = log.index()
      await appending
      assert.equal((await index).lasts.length, 500)
      assert.equal((await log.index()).lasts.length, 1030)
    })

    it('refuses a gap within an epoch, and a reconfiguration beside other transactions', async (t) => {
      const { log } = await open(t)
      await log.append(entriesAfter(0, [1]))
      await assert.rejects(log.append([{ ...reconfiguration(1, 2), last: 3 }]), InvariantError)
      const [entry] = entriesAfter(1, [1])
      assert.ok(entry !== undefined)
      await assert.rejects(log.append([{ ...entry, first: 3, last: 3 }]), InvariantError)
      assert.equal(log.lastZxid, 1)
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

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { InvariantError } from '../../src/base/assert.ts'
import type { OpenStorageOptions } from '../../src/storage/open.ts'
import type { LogStore } from '../../src/storage/types.ts'
import type { Entry } from '../../src/zab/types.ts'
import { faultyLog } from '../support/disk.ts'
import { type MemoryLog, memoryLog } from '../support/disk-memory.ts'
import {
  checkpointAt,
  copyOf,
  manyFilesDir,
  metaAt,
  openIn,
  rejectsWith,
  scratchDir,
  writtenBytes,
} from '../support/disk-scratch.ts'
import {
  entriesAfter,
  type LogUnderTest,
  logConformance,
  readAll,
  reconfiguration,
  votingOf,
} from '../support/log-conformance.ts'
import { eventually } from '../support/peers.ts'

async function levelLog(
  t: TestContext,
  options: Partial<OpenStorageOptions>,
  parent?: string,
): Promise<LogUnderTest> {
  const dir = await scratchDir(t, parent)
  let storage = await openIn(t, dir, options)
  const store: LogUnderTest = {
    log: storage.log,
    checkpointAt: (zxid) => checkpointAt(storage, zxid),
    async install(zxid, voting) {
      storage.checkpoint.begin({ replace: true })
      await storage.install(metaAt(zxid), voting)
    },
    async restart() {
      await storage.close()
      storage = await openIn(t, dir, options)
      store.log = storage.log
    },
  }
  return store
}

function kept(inner: MemoryLog, log: LogStore = inner): Promise<LogUnderTest> {
  return Promise.resolve({
    log,
    restart: () => Promise.resolve(),
    checkpointAt: () => Promise.resolve(),
    install: (zxid, voting) => Promise.resolve(inner.reset(zxid, voting)),
  })
}

logConformance('LevelDB', (t) => levelLog(t, {}))
logConformance('LevelDB without sync', (t) => levelLog(t, { sync: false }))
logConformance('LevelDB in many segments', (t) => levelLog(t, { segmentBytes: 1 }, manyFilesDir()))
logConformance('the log in memory', () => kept(memoryLog()))
logConformance('a log with faults, none of them on', () => {
  const inner = memoryLog()
  return kept(inner, faultyLog(inner).log)
})

describe('the log', () => {
  it('does as the one in memory, whatever is done to it', async (t) => {
    const amount = fc.integer({ min: 0, max: 12 })
    const command = fc.oneof(
      { weight: 5, arbitrary: fc.record({ type: fc.constant('append'), amount }) },
      { weight: 2, arbitrary: fc.record({ type: fc.constantFrom('reconfigure', 'many'), amount }) },
      { weight: 2, arbitrary: fc.record({ type: fc.constantFrom('truncate', 'trim', 'epochs'), amount }) },
      { weight: 1, arbitrary: fc.record({ type: fc.constantFrom('diverge', 'install'), amount }) },
      { weight: 1, arbitrary: fc.record({ type: fc.constant('restart'), amount }) },
    )
    await fc.assert(
      fc.asyncProperty(fc.array(command, { maxLength: 25 }), async (commands) => {
        const model = memoryLog()
        const store = await levelLog(t, { segmentBytes: 3000 }, manyFilesDir())
        for (const { type, amount } of commands) {
          await perform(type, amount, model, store)
          assert.deepEqual(await summary(store.log), await summary(model))
        }
        const { trimmedTo, lastZxid } = model
        for (let i = 0; i <= 8; i++) {
          const after = trimmedTo + Math.floor(((lastZxid - trimmedTo) * i) / 8)
          assert.deepEqual(await readAll(store.log, after), await readAll(model, after))
        }
      }),
      { numRuns: 25 },
    )
  })

  it('refuses to be trimmed beyond the checkpoint', async (t) => {
    const storage = await openIn(t, await scratchDir(t))
    await storage.log.append(entriesAfter(0, [1, 1, 1]))
    await checkpointAt(storage, 2)
    await assert.rejects(storage.log.trim(3), InvariantError)
    await storage.log.trim(2)
    assert.equal(storage.log.trimmedTo, 2)
  })

  it('gives the space of trimmed entries back, and writes nothing twice', async (t) => {
    const dir = await scratchDir(t)
    const storage = await openIn(t, dir, { segmentBytes: 20 << 20 })
    const bytes = Buffer.alloc(512 << 10)
    for (let i = 0; i < bytes.length; i++) bytes[i] = (i * i) >> 7
    let trimmed = 0
    for (let round = 0; round < 5; round++) {
      const entries = entriesAfter(storage.log.lastZxid, Array(70).fill(1)).map((e) => ({ ...e, bytes }))
      for (const entry of entries) await storage.log.append([entry])
      await checkpointAt(storage, storage.log.lastZxid)
      await storage.log.trim(trimmed)
      trimmed = storage.log.lastZxid - 2
    }
    // Forty entries each; the last one is there for what comes.
    assert.deepEqual(await segmentsIn(dir), ['000007', '000008', '000009', '000010'])
    const left = await storage.logDirBytes()
    assert.ok(left < 70e6, `${left} of 184 MB are left`)
    assert.equal((await readAll(storage.log, storage.log.trimmedTo)).length, 72)
  })

  it('goes on behind a segment that ends with a truncated entry', async (t) => {
    const dir = await scratchDir(t)
    const storage = await openIn(t, dir, { segmentBytes: 2000 })
    const entries = entriesAfter(0, [1, 2, 3, 4])
    await storage.log.append(entries.slice(0, 2).map(large))
    await storage.log.append(entries.slice(2))
    assert.deepEqual(await segmentsIn(dir), ['000001', '000002'])
    await storage.log.truncate(1)
    const other = entriesAfter(1, [3, 1], 'other')
    await storage.log.append(other)
    await storage.close()
    assert.deepEqual(await segmentsIn(dir), ['000001', '000003'])
    const { log } = await openIn(t, dir)
    assert.deepEqual(await readAll(log, 1), other)
  })

  it('deletes a segment only when nobody reads it any more', async (t) => {
    const dir = await scratchDir(t)
    const storage = await openIn(t, dir, { segmentBytes: 10_000 })
    const { log } = storage
    const entries = entriesAfter(0, Array(21).fill(1)).map(large)
    for (const entry of entries.slice(0, 20)) await log.append([entry])
    await checkpointAt(storage, 20)
    const reading = log.read(5)[Symbol.asyncIterator]()
    assert.equal((await reading.next()).value?.first, 6)
    const trimming = log.trim(15)
    await log.append(entries.slice(20))
    for (const { first } of entries.slice(6, 20)) assert.equal((await reading.next()).value?.first, first)
    assert.deepEqual(await segmentsIn(dir), ['000001', '000002', '000003'])
    assert.equal((await reading.next()).done, true)
    await trimming
    assert.deepEqual(await segmentsIn(dir), ['000002', '000003'])
  })

  it('keeps no segment open that is full, and reads from it all the same', async (t) => {
    const dir = await scratchDir(t)
    const { log } = await openIn(t, dir, { segmentBytes: 10_000 })
    const entries = entriesAfter(0, Array(25).fill(1)).map(large)
    for (const entry of entries) await log.append([entry])
    await onlyOpen(dir, ['000003', '000004'])
    for (let i = 0; i < 2; i++) {
      const readers = [readAll(log, 0), readAll(log, 7), readAll(log, 12), log.index()] as const
      const [all, some, few, { lasts }] = await Promise.all(readers)
      assert.deepEqual([all, some, few], [entries, entries.slice(7), entries.slice(12)])
      assert.equal(lasts.length, 25)
      await onlyOpen(dir, ['000003', '000004'])
    }
    await log.truncate(14)
    assert.deepEqual(await readAll(log, 0), entries.slice(0, 14))
  })

  it('has zeros ahead in its file, over which it writes', async (t) => {
    const dir = await scratchDir(t)
    const storage = await openIn(t, dir)
    const entries = entriesAfter(0, Array(40).fill(1)).map((entry) => ({
      ...entry,
      bytes: Buffer.alloc(20_000, 1),
    }))
    for (const entry of entries.slice(0, 20)) {
      await storage.log.append([entry])
      await zerosAhead(dir)
    }
    const killed = await copyOf(t, dir)
    const again = await openIn(t, killed)
    assert.deepEqual(await readAll(again.log, 0), entries.slice(0, 20))
    for (const entry of entries.slice(20)) await again.log.append([entry])
    await again.close()
    assert.deepEqual(await readAll((await openIn(t, killed)).log, 0), entries)
  })

  it('writes what is appended while the caller keeps its thread', async (t) => {
    const dir = await scratchDir(t)
    const { log } = await openIn(t, dir, { sync: false })
    await log.append(entriesAfter(0, [1]))
    const before = statSync(writeAheadFile(dir)).size
    const appended = log.append(entriesAfter(1, [1]))
    const until = performance.now() + 10_000
    while (statSync(writeAheadFile(dir)).size === before)
      assert.ok(performance.now() < until, 'nothing was written')
    await appended
  })

  it('goes on after the index of a large one was read, and so do reads that were under way', async (t) => {
    const { log } = await openIn(t, await scratchDir(t))
    // Bytes that do not compress.
    const bytes = Buffer.alloc(1 << 20)
    for (let i = 0; i < bytes.length; i++) bytes[i] = (i * i * 31) >> 5
    const entries = entriesAfter(0, [1, 1, 1, 1, 1, 1]).map((entry) => ({ ...entry, bytes }))
    for (const entry of entries) await log.append([entry])
    const lasts = entries.map(({ last }) => last)
    const read: number[] = []
    for await (const { last } of log.read(0)) {
      read.push(last)
      if (last === 2) assert.deepEqual((await log.index()).lasts, lasts)
    }
    assert.deepEqual(read, lasts)
    assert.deepEqual((await log.index()).lasts, lasts)
    await log.append(entriesAfter(6, [1]))
    assert.deepEqual((await log.index()).lasts, [...lasts, 7])
    assert.deepEqual((await readAll(log, 0)).slice(0, 6), entries)
  })

  it('gives back the memory of what was read, beside an append, and can be read again', async (t) => {
    const dir = await scratchDir(t)
    const entries = entriesAfter(0, Array(13).fill(1)).map((entry) => ({
      ...entry,
      bytes: randomBytes(1 << 20),
    }))
    const later = entries.pop() ?? assert.fail()
    // Opening makes a table of what is in none.
    for (const some of [entries.slice(0, 6), entries.slice(6)]) {
      const before = await openIn(t, dir)
      for (const entry of some) await before.log.append([entry])
      await before.close()
    }
    const { log } = await openIn(t, dir)
    assert.deepEqual(await readAll(log, 0), entries)
    const mapped = mappedTables(dir)
    await Promise.all([log.giveBack(), log.append([later])])
    // LevelDB maps a table that it has just made, but none of those that were read.
    if (mapped !== undefined)
      assert.ok(mapped > 1 && (mappedTables(dir) ?? 0) <= 1, `${mapped}, ${mappedTables(dir)}`)
    assert.deepEqual(await readAll(log, 0), [...entries, later])
  })

  it('rejects everything after it is closed', async (t) => {
    const storage = await openIn(t, await scratchDir(t))
    await storage.close()
    await assert.rejects(storage.log.append(entriesAfter(0, [1])), InvariantError)
    await assert.rejects(storage.log.saveEpochs({ accepted: 1, current: 1 }), InvariantError)
  })
})

describe('a log with faults', () => {
  it('holds an append back until it is released, and loses it at a crash', async () => {
    const inner = memoryLog()
    const { log, faults } = faultyLog(inner)
    const [a, b, c] = entriesAfter(0, [1, 1, 1])
    assert.ok(a !== undefined && b !== undefined && c !== undefined)
    faults.hold()
    const settled: string[] = []
    const first = log.append([a]).then(() => settled.push('a'))
    const second = log.append([b]).then(() => settled.push('b'))
    assert.deepEqual([faults.held, faults.syncs, inner.lastZxid], [2, 0, 0])
    await faults.releaseOne()
    await first
    assert.deepEqual([settled, faults.syncs, log.lastZxid], [['a'], 1, 1])
    await faults.release()
    await second
    faults.hold()
    log.append([c]).then(() => settled.push('c'))
    faults.crash()
    await faults.release()
    assert.deepEqual([settled, inner.lastZxid], [['a', 'b'], 2])
    assert.deepEqual(faultyLog(inner).log.lastZxid, 2)
  })

  it('fails an append and all after it until there is room and it was reopened', async () => {
    const { log, faults } = faultyLog(memoryLog())
    faults.failNext('full')
    const error = await rejectsWith(log.append(entriesAfter(0, [1])), 'full')
    assert.equal(await rejectsWith(log.saveEpochs({ accepted: 1, current: 0 }), 'full'), error)
    assert.equal(log.failure, error)
    await rejectsWith(log.reopen(), 'full')
    faults.repair()
    await log.reopen()
    assert.equal(log.failure, undefined)
    await log.append(entriesAfter(0, [1]))
    assert.equal(log.lastZxid, 1)
  })
})

async function segmentsIn(dir: string): Promise<string[]> {
  return (await readdir(join(dir, 'zabd/log'))).sort()
}

/** The entry with a KiB of bytes. */
function large(entry: Entry): Entry {
  return { ...entry, bytes: Buffer.alloc(1024, entry.bytes) }
}

/** Waits until just these segments of the log in `dir` are open; does nothing where the system does not tell. */
async function onlyOpen(dir: string, names: readonly string[]): Promise<void> {
  const descriptors = '/proc/self/fd'
  if (!existsSync(descriptors)) return
  const isOpen = () => {
    const files = readdirSync(descriptors).map((name) => linkOf(join(descriptors, name)))
    const locks = files.filter((file) => file.startsWith(join(dir, 'zabd/log')) && file.endsWith('LOCK'))
    return isDeepStrictEqual(locks.map((file) => basename(dirname(file))).sort(), names)
  }
  await eventually(`only ${names} to be open`, isOpen)
}

/** Where a descriptor leads to; it may be closed already. */
function linkOf(descriptor: string): string {
  try {
    return readlinkSync(descriptor)
  } catch {
    return ''
  }
}

/** How many files of the log in `dir` this process has mapped; undefined where the system does not tell. */
function mappedTables(dir: string): number | undefined {
  const maps = '/proc/self/maps'
  if (!existsSync(maps)) return undefined
  return readFileSync(maps, 'utf8')
    .split('\n')
    .filter((line) => line.includes(join(dir, 'zabd/log'))).length
}

/** The newest write-ahead file of the first segment of the log in `dir`. */
function writeAheadFile(dir: string): string {
  const path = join(dir, 'zabd/log/000001')
  const names = readdirSync(path).filter((name) => name.endsWith('.log'))
  return join(path, names.sort().at(-1) ?? assert.fail('there is none'))
}

/** Waits until the write-ahead file is longer than what is written into it. */
async function zerosAhead(dir: string): Promise<void> {
  const path = writeAheadFile(dir)
  const until = performance.now() + 10_000
  while (statSync(path).size === (await writtenBytes(path)))
    assert.ok(performance.now() < until, 'there are no zeros')
}

async function summary(log: LogStore) {
  const { lastZxid, trimmedTo, epochs, diverged } = log
  return { lastZxid, trimmedTo, epochs, diverged, ...(await log.index()) }
}

async function perform(type: string, amount: number, model: MemoryLog, store: LogUnderTest): Promise<void> {
  const { lastZxid, trimmedTo } = model
  const zxid = trimmedTo + Math.floor(((lastZxid - trimmedTo) * amount) / 12)
  const both = (work: (log: LogStore) => Promise<void>) => Promise.all([work(model), work(store.log)])
  const sizes = Array.from({ length: amount % 4 }, (_, i) => 1 + ((amount + i) % 5))
  const epochs = { accepted: amount, current: amount >> 1 }
  if (type === 'append') await both((log) => log.append(entriesAfter(lastZxid, sizes, `${amount}`)))
  if (type === 'many')
    await both((log) => log.append(entriesAfter(lastZxid, Array(50 * amount).fill(1), 'many')))
  if (type === 'reconfigure') await both((log) => log.append([reconfiguration(lastZxid, amount)]))
  if (type === 'diverge') await both((log) => log.markDiverged())
  if (type === 'install') {
    const voting = amount % 3 === 0 ? undefined : { zxid: zxid >> 1, voting: votingOf(amount) }
    await store.install(zxid, voting)
    model.reset(zxid, voting)
  }
  if (type === 'truncate') await both((log) => log.truncate(zxid))
  if (type === 'epochs') await both((log) => log.saveEpochs(epochs))
  if (type === 'restart') await store.restart()
  if (type !== 'trim') return
  const { lasts } = await model.index()
  const end = lasts.findLast((last) => last <= zxid) ?? trimmedTo
  await store.checkpointAt(end)
  await both((log) => log.trim(end))
}

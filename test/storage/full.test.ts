// A disk without room: a small tmpfs, where the tests may mount one. Elsewhere log.test.ts has it with injected faults.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { promisify } from 'node:util'
import { StorageError } from '../../src/storage/types.ts'
import type { Entry } from '../../src/zab/types.ts'
import {
  beforeRemoval,
  checkpointAt,
  copyOf,
  metaAt,
  openIn,
  rejectsWith,
  scratchDir,
} from '../support/disk-scratch.ts'
import { entriesAfter, readAll, votingOf } from '../support/log-conformance.ts'

const run = promisify(execFile)
const mebibyte = 1 << 20

describe('a full disk', () => {
  it('fails the log until there is room; nothing durable is lost', async (t) => {
    const disk = await smallDisk(t, 24)
    if (disk === undefined) return t.skip('no tmpfs can be mounted here')
    const storage = await openIn(t, disk)
    const { log } = storage
    await log.saveEpochs({ accepted: 1, current: 1 })
    await writeFile(join(disk, 'ballast'), Buffer.alloc(12 * mebibyte))
    const written = await appendUntilFull(storage.log)
    const failure = log.failure
    assert.equal(failure?.kind, 'full')
    assert.equal(await rejectsWith(log.append(entriesAfter(log.lastZxid, [1])), 'full'), failure)
    assert.equal(await rejectsWith(log.saveEpochs({ accepted: 2, current: 1 }), 'full'), failure)
    await rejectsWith(log.reopen(), 'full')
    await rejectsWith(log.reopen(), 'full')
    assert.equal(log.failure?.kind, 'full')
    await rm(join(disk, 'ballast'))
    await log.reopen()
    assert.equal(log.failure, undefined)
    assert.deepEqual(log.epochs, { accepted: 1, current: 1 })
    await assertPrefix(log, written)
    const more = entriesAfter(log.lastZxid, [1, 1], 'after')
    await log.append(more)
    await log.saveEpochs({ accepted: 3, current: 1 })
    await storage.close()
    const again = await openIn(t, disk)
    assert.deepEqual(await readAll(again.log, more[0]!.prev), more)
    assert.deepEqual(again.log.epochs, { accepted: 3, current: 1 })
  })

  it('that is left by a crash gives a clean prefix', async (t) => {
    const disk = await smallDisk(t, 16)
    if (disk === undefined) return t.skip('no tmpfs can be mounted here')
    const storage = await openIn(t, disk)
    const written = await appendUntilFull(storage.log)
    const crashed = await openIn(t, await copyOf(t, disk))
    await assertPrefix(crashed.log, written)
  })

  it('fails the checkpoint and leaves the one before it whole', async (t) => {
    const disk = await smallDisk(t, 80)
    if (disk === undefined) return t.skip('no tmpfs can be mounted here')
    const storage = await openIn(t, disk)
    const { log, checkpoint } = storage
    const ballast = join(disk, 'ballast')
    await log.append(entriesAfter(0, [9]))
    checkpoint.begin().put(Buffer.from('k'), Buffer.from('old'))
    await checkpoint.commit(metaAt(1))
    for (const replace of [false, true]) {
      const sink = checkpoint.begin({ replace })
      // Nothing is being deleted any more, which would make room again.
      await sink.drained()
      await writeFile(ballast, Buffer.alloc(80 * mebibyte)).catch(() => {})
      for (let i = 0; i < 20; i++) sink.put(Buffer.from(`k${i}`), noise(mebibyte, i))
      await rejectsWith(checkpoint.commit(metaAt(2)), 'full')
      assert.throws(() => checkpoint.begin(), StorageError)
      await rejectsWith(checkpoint.reopen(), 'full')
      await rm(ballast)
      await checkpoint.reopen()
      assert.equal(checkpoint.meta?.zxid, 1)
      const values: string[] = []
      await checkpoint.load((_key, value) => values.push(Buffer.from(value).toString()))
      assert.deepEqual(values, ['old'])
    }
    await checkpointAt(storage, 3)
    assert.equal(checkpoint.meta?.zxid, 3)
  })

  it('that keeps the log from following an installed checkpoint is made good by reopen', async (t) => {
    const disk = await smallDisk(t, 24)
    if (disk === undefined) return t.skip('no tmpfs can be mounted here')
    const dataDir = await scratchDir(t)
    const before = await openIn(t, disk, { dataDir })
    await before.log.append(entriesAfter(0, [1, 1]))
    await before.close()
    // The first write after a start needs a new file, so the page that the log's file has left does not help it.
    const storage = await openIn(t, disk, { dataDir })
    const { log, checkpoint } = storage
    const ballast = join(disk, 'ballast')
    await writeFile(ballast, Buffer.alloc(24 * mebibyte)).catch(() => {})
    checkpoint.begin({ replace: true })
    const voting = { zxid: 2 ** 32, voting: votingOf(3) }
    await rejectsWith(storage.install(metaAt(2 ** 32), voting), 'full')
    assert.deepEqual([checkpoint.meta?.zxid, log.lastZxid], [2 ** 32, 2])
    await rm(ballast)
    await log.reopen()
    assert.deepEqual([log.lastZxid, log.trimmedTo, log.failure], [2 ** 32, 2 ** 32, undefined])
    await storage.close()
    const again = await openIn(t, disk, { dataDir })
    assert.equal(again.log.lastZxid, 2 ** 32)
    assert.deepEqual(await again.log.index(), { lasts: [], votings: [voting] })
  })
})

/** Appends until it fails; gives what was appended, the entries of the failed call included. */
async function appendUntilFull(
  log: Parameters<typeof readAll>[0],
): Promise<{ entries: Entry[]; durable: number }> {
  const entries: Entry[] = []
  for (let round = 0; round < 1000; round++) {
    const next = entriesAfter(log.lastZxid, [1, 1], 'full').map((entry) => ({
      ...entry,
      bytes: noise(30_000 + 1000 * (round % 7), entry.first),
    }))
    const durable = log.lastZxid
    entries.push(...next)
    const error = await log.append(next).then(
      () => undefined,
      (reason: unknown) => reason,
    )
    if (error === undefined) continue
    assert.ok(error instanceof StorageError && error.kind === 'full', String(error))
    return { entries, durable }
  }
  return assert.fail('the disk never was full')
}

async function assertPrefix(
  log: Parameters<typeof readAll>[0],
  { entries, durable }: { entries: Entry[]; durable: number },
): Promise<void> {
  const found = await readAll(log, 0)
  assert.deepEqual(found, entries.slice(0, found.length))
  assert.ok(log.lastZxid >= durable, `${log.lastZxid} is below ${durable}`)
  assert.equal(found.at(-1)?.last, log.lastZxid)
}

/** Bytes that do not compress. */
function noise(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length)
  let x = seed + 1
  for (let i = 0; i < length; i++) {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0
    bytes[i] = x >>> 24
  }
  return bytes
}

/** A file system of that many MiB; undefined where it can not be mounted. */
async function smallDisk(t: TestContext, sizeMebibytes: number): Promise<string | undefined> {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return undefined
  const dir = await scratchDir(t)
  try {
    await run('mount', ['-t', 'tmpfs', '-o', `size=${sizeMebibytes}m`, 'zabd-test', dir])
  } catch {
    return undefined
  }
  beforeRemoval(dir, () => run('umount', [dir]))
  return dir
}

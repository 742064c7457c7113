// Logs whose records are each intact but do not belong together, made by writing into the database directly: what LevelDB
// leaves when it drops a damaged record and goes on with later ones.
import assert from 'node:assert/strict'
import { cp, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { Database, type Db } from '../../src/storage/database.ts'
import { layoutOf } from '../../src/storage/format.ts'
import { type LogState, readLogState, writeLogState } from '../../src/storage/log-state.ts'
import { encodeEnds, encodeEntry, endsKey, entryKey, RecordRoom } from '../../src/storage/records.ts'
import { checkpointAt, openIn, rejectsWith, scratchDir } from '../support/disk-scratch.ts'
import { entriesAfter, readAll, reconfiguration } from '../support/log-conformance.ts'

const dbOptions = { writeBufferSize: 4e6, cacheSize: 1e6, maxFileSize: 4e6 }
const [one, two, three, four] = entriesAfter(0, [1, 1, 1, 1])
assert.ok(one !== undefined && two !== undefined && three !== undefined && four !== undefined)

/** Does `change` to the first segment of the log in `dir`, and writes the changes of the state that it gives back, if any. */
async function change(dir: string, work: (db: Db, state: LogState) => Promise<unknown>): Promise<void> {
  const { logDir, logStateFile } = layoutOf(dir, dir)
  const state = await readLogState(logStateFile)
  assert.ok(state !== undefined)
  const database = await Database.open(join(logDir, '000001'), dbOptions, false)
  const changes = await work(database.db, state)
  await database.close()
  await writeLogState(logStateFile, { ...state, clean: false, ...(changes ?? {}) })
}

/** A log with the entries 1 to 3 of which 3 was truncated, and epoch 1; `work` is done to it as by a crash. */
async function changed(t: TestContext, work: Parameters<typeof change>[1]): Promise<string> {
  const dir = await scratchDir(t)
  const storage = await openIn(t, dir)
  await storage.log.append([one!, two!, three!])
  await storage.log.truncate(2)
  await storage.log.saveEpochs({ accepted: 1, current: 1 })
  await storage.close()
  await change(dir, work)
  return dir
}

const put = (db: Db, entry: typeof one, revision: number) => {
  const { key, value } = encodeEntry(entry!, revision, new RecordRoom())
  return db.put(key, value)
}

const refused: [string, Parameters<typeof change>[1]][] = [
  ['whose last entries are gone', (db) => db.del(entryKey(2))],
  ['that ends below where it did at the last start', () => Promise.resolve({ lastZxid: 3 })],
  ['whose first entry is gone', (db) => db.del(entryKey(1))],
  ['with an entry from after a lost state', (db, { revision }) => put(db, three, revision + 1)],
  [
    'with a truncated entry before one that is not',
    async (db, { revision }) => {
      await put(db, three, 1)
      await put(db, four, revision)
    },
  ],
  [
    'with a damaged entry at its end',
    (db) => db.put(entryKey(2), Buffer.from('damaged, and long enough to be one')),
  ],
  [
    'that goes on behind a clean stop',
    async (db, { revision }) => {
      await put(db, three, revision)
      return { clean: true }
    },
  ],
  [
    'with a truncated entry behind a clean stop',
    async (db) => {
      await put(db, three, 1)
      return { clean: true }
    },
  ],
]

/** A log with a reconfiguration at 2 among the entries 1 to 3, closed and then changed. */
async function changedVoting(t: TestContext, work: Parameters<typeof change>[1]): Promise<string> {
  const dir = await scratchDir(t)
  const storage = await openIn(t, dir)
  await storage.log.append([one!, reconfiguration(1, 3), three!])
  await storage.close()
  await change(dir, work)
  return dir
}

describe('a log whose reconfigurations do not belong to it', () => {
  it('is refused: the state tells of one where there is none', async (t) => {
    const dir = await changedVoting(t, () => Promise.resolve({ reconfigurations: [2, 3] }))
    assert.equal((await rejectsWith(openIn(t, dir), 'corrupt')).path, layoutOf(dir, dir).logDir)
  })

  it('is accepted if the state tells of one that was about to be appended', async (t) => {
    const dir = await changedVoting(t, () => Promise.resolve({ reconfigurations: [2, 4] }))
    const { log } = await openIn(t, dir)
    assert.deepEqual((await log.index()).votings, [{ zxid: 2, voting: reconfiguration(1, 3).voting }])
    await log.append(entriesAfter(3, [1]))
    assert.equal((await readAll(log, 0)).length, 4)
  })

  it('is refused when it is read, if the state does not tell of one', async (t) => {
    const dir = await changedVoting(t, () => Promise.resolve({ reconfigurations: [] }))
    const { log } = await openIn(t, dir)
    await rejectsWith(readAll(log, 0), 'corrupt')
    assert.equal((await readAll(log, 2)).length, 1)
  })
})

describe('a log whose records of where entries end do not fit', () => {
  const changes: [string, (db: Db, state: LogState) => Promise<void>][] = [
    ['damaged', (db) => db.put(endsKey(512), Buffer.from('damaged, and long enough to be one'))],
    ['missing', (db) => db.del(endsKey(512))],
    ['missing at the end', (db) => db.del(endsKey(1024))],
    [
      'of entries beyond its end',
      (db) => db.put(endsKey(2000), encodeEnds({ from: 1024, lasts: [2000] }, 1)),
    ],
    [
      'of a later revision',
      (db, { revision }) => db.put(endsKey(1024), encodeEnds({ from: 512, lasts: [1024] }, revision + 1)),
    ],
  ]
  for (const [what, work] of changes) {
    it(`is refused: one ${what}`, async (t) => {
      const dir = await scratchDir(t)
      const storage = await openIn(t, dir)
      await storage.log.append(entriesAfter(0, Array(1100).fill(1)))
      await storage.close()
      await change(dir, work)
      const index = async () => await (await openIn(t, dir)).log.index()
      const error = await rejectsWith(index(), 'corrupt')
      assert.equal(error.path, layoutOf(dir, dir).logDir)
    })
  }
})

describe('a log with records that do not belong together', () => {
  for (const [what, work] of refused) {
    it(`is refused: one ${what}`, async (t) => {
      const dir = await changed(t, work)
      const error = await rejectsWith(openIn(t, dir), 'corrupt')
      assert.equal(error.path, layoutOf(dir, dir).logDir)
    })
  }

  it('is refused when it is read, if the hole is in the middle', async (t) => {
    const dir = await changed(t, async (db, { revision }) => {
      await put(db, three, revision)
      await db.del(entryKey(2))
    })
    const { log } = await openIn(t, dir)
    await rejectsWith(readAll(log, 0), 'corrupt')
    await rejectsWith(readAll(log, 1), 'corrupt')
  })

  it('is refused when it is read, if an entry in the middle is of a later revision than the next', async (t) => {
    const dir = await changed(t, async (db, { revision }) => {
      await put(db, three, revision)
      await put(db, four, revision - 1)
      return { revision: revision + 1, lastZxid: 4 }
    })
    const { log } = await openIn(t, dir)
    await rejectsWith(readAll(log, 0), 'corrupt')
  })

  it('is accepted with more entries than the state tells of', async (t) => {
    const dir = await changed(t, (db, { revision }) => put(db, three, revision))
    const { log } = await openIn(t, dir)
    assert.equal((await readAll(log, 0)).length, 3)
  })

  it('is cut where it was to be, if a crash came before the entries were deleted', async (t) => {
    const dir = await changed(t, async (db) => {
      await put(db, three, 1)
      await put(db, four, 1)
    })
    const storage = await openIn(t, dir)
    assert.equal(storage.log.lastZxid, 2)
    assert.equal((await readAll(storage.log, 0)).length, 2)
    const other = entriesAfter(2, [4], 'other')
    await storage.log.append(other)
    await storage.close()
    assert.deepEqual(await readAll((await openIn(t, dir)).log, 2), other)
  })

  it('is accepted with directories that are none of its segments, which go away', async (t) => {
    const dir = await changed(t, () => Promise.resolve())
    const { logDir } = layoutOf(dir, dir)
    for (const name of ['000002', '000007'])
      await cp(join(logDir, '000001'), join(logDir, name), { recursive: true })
    const { log } = await openIn(t, dir)
    assert.equal((await readAll(log, 0)).length, 2)
    assert.deepEqual(await readdir(logDir), ['000001'])
  })

  it('is refused without one of its segments', async (t) => {
    const dir = await changed(t, () => Promise.resolve({ segments: [1, 2] }))
    const error = await rejectsWith(openIn(t, dir), 'corrupt')
    assert.equal(error.path, join(layoutOf(dir, dir).logDir, '000002'))
  })

  it('is refused with segments between which entries are missing', async (t) => {
    const dir = await scratchDir(t)
    const storage = await openIn(t, dir, { segmentBytes: 1 })
    const entries = entriesAfter(0, [1, 1, 1, 1])
    for (const [i, entry] of entries.entries()) {
      await storage.log.append([entry])
      await checkpointAt(storage, i + 1)
      await storage.log.trim(0)
    }
    await storage.close()
    const [first, , ...rest] = (await readLogState(layoutOf(dir, dir).logStateFile))?.segments ?? []
    assert.ok(first !== undefined)
    await change(dir, () => Promise.resolve({ segments: [first, ...rest] }))
    await rejectsWith(openIn(t, dir), 'corrupt')
  })
})

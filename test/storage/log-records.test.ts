// Logs whose records are each intact but do not belong together, made by writing into the database directly: what LevelDB
// leaves when it drops a damaged record and goes on with later ones.
import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { Database, type Db } from '../../src/storage/database.ts'
import { layoutOf, type Mark, readMark, writeMark } from '../../src/storage/format.ts'
import {
  decodeState,
  encodeEnds,
  encodeEntry,
  encodeState,
  encodeVoting,
  endsKey,
  entryKey,
  type LogState,
  stateKey,
  votingKey,
} from '../../src/storage/records.ts'
import { openIn, rejectsWith, scratchDir } from '../support/disk-scratch.ts'
import { entriesAfter, readAll, reconfiguration, votingOf } from '../support/log-conformance.ts'

const dbOptions = { writeBufferSize: 4e6, cacheSize: 1e6, maxFileSize: 4e6 }
const [one, two, three, four] = entriesAfter(0, [1, 1, 1, 1])
assert.ok(one !== undefined && two !== undefined && three !== undefined && four !== undefined)

/** A log with the entries 1 to 3 of which 3 was truncated, and epoch 1; revision 3. `change` is done to it as after a crash. */
async function changed(
  t: TestContext,
  change: (db: Db, state: LogState) => Promise<void>,
  mark: Partial<Mark> = { clean: false },
): Promise<string> {
  const dir = await scratchDir(t)
  const storage = await openIn(t, dir)
  await storage.log.append([one!, two!, three!])
  await storage.log.truncate(2)
  await storage.log.saveEpochs({ accepted: 1, current: 1 })
  await storage.close()
  const { logDir, markFile } = layoutOf(dir, dir)
  await writeMark(markFile, { ...(await readMark(markFile)), ...mark })
  const database = await Database.open(logDir, dbOptions, false)
  const state = decodeState((await database.db.get(stateKey)) ?? Buffer.alloc(0))
  assert.ok(state !== undefined && state.revision === 3)
  await change(database.db, state)
  await database.close()
  return dir
}

const put = (db: Db, entry: typeof one, revision: number) => {
  const { key, value } = encodeEntry(entry!, revision)
  return db.put(key, value)
}
const low = { clean: false, lastZxid: 0, revision: 1 }

const refused: [string, (db: Db, state: LogState) => Promise<void>, Partial<Mark>?][] = [
  ['whose last entries are gone, after saved epochs that are not', (db) => db.del(entryKey(2)), low],
  ['that ends below where it did at the last start', () => Promise.resolve(), { clean: false, lastZxid: 3 }],
  ['whose first entry is gone', (db) => db.del(entryKey(1))],
  ['with a truncated entry come back', (db) => put(db, three, 1)],
  ['with an entry from after a lost record of the log itself', (db) => put(db, three, 4)],
  [
    'that has older epochs than at the last start',
    (db, state) =>
      db.put(stateKey, encodeState({ ...state, revision: 2, epochs: { accepted: 0, current: 0 } })),
  ],
  ['without a record of itself', (db) => db.del(stateKey)],
  [
    'with a damaged entry at its end',
    (db) => db.put(entryKey(2), Buffer.from('damaged, and long enough to be one')),
  ],
  ['that goes on behind a clean stop', (db) => put(db, three, 3), { clean: true }],
]

/** A log with a reconfiguration at 2 among the entries 1 to 3, closed and then changed. */
async function changedVoting(t: TestContext, change: (db: Db) => Promise<void>): Promise<string> {
  const dir = await scratchDir(t)
  const storage = await openIn(t, dir)
  await storage.log.append([one!, reconfiguration(1, 3), three!])
  await storage.close()
  const database = await Database.open(layoutOf(dir, dir).logDir, dbOptions, false)
  await change(database.db)
  await database.close()
  return dir
}

const putVoting = (db: Db, zxid: number) =>
  db.put(votingKey(zxid), encodeVoting({ zxid, voting: votingOf(1) }))

const wrongVotings: [string, (db: Db) => Promise<void>][] = [
  ['that is damaged', (db) => db.put(votingKey(2), Buffer.from('damaged, and long enough to be one'))],
  ['for an entry that is no reconfiguration', (db) => putVoting(db, 3)],
  ['for an entry that is not there', (db) => putVoting(db, 4)],
]

describe('a log with votings that do not belong to it', () => {
  for (const [what, change] of wrongVotings) {
    it(`is refused: one ${what}`, async (t) => {
      const dir = await changedVoting(t, change)
      const error = await rejectsWith(openIn(t, dir), 'corrupt')
      assert.equal(error.path, layoutOf(dir, dir).logDir)
    })
  }

  it('is refused when it is read, if the voting of an entry is gone', async (t) => {
    const dir = await changedVoting(t, (db) => db.del(votingKey(2)))
    const { log } = await openIn(t, dir)
    await rejectsWith(readAll(log, 0), 'corrupt')
    assert.equal((await readAll(log, 2)).length, 1)
  })
})

describe('a log whose records of where entries end do not fit', () => {
  const changes: [string, (db: Db) => Promise<void>][] = [
    ['damaged', (db) => db.put(endsKey(512), Buffer.from('damaged, and long enough to be one'))],
    ['missing', (db) => db.del(endsKey(512))],
    [
      'of entries beyond its end',
      (db) => db.put(endsKey(2000), encodeEnds({ from: 1024, lasts: [2000] }, 1)),
    ],
    ['of a later revision', (db) => db.put(endsKey(1024), encodeEnds({ from: 512, lasts: [1024] }, 2))],
  ]
  for (const [what, change] of changes) {
    it(`is refused: one ${what}`, async (t) => {
      const dir = await scratchDir(t)
      const storage = await openIn(t, dir)
      await storage.log.append(entriesAfter(0, Array(1100).fill(1)))
      await storage.close()
      const { logDir } = layoutOf(dir, dir)
      const database = await Database.open(logDir, dbOptions, false)
      await change(database.db)
      await database.close()
      const index = async () => await (await openIn(t, dir)).log.index()
      const error = await rejectsWith(index(), 'corrupt')
      assert.equal(error.path, logDir)
    })
  }
})

describe('a log with records that do not belong together', () => {
  for (const [what, change, mark] of refused) {
    it(`is refused: one ${what}`, async (t) => {
      const dir = await changed(t, change, mark)
      const error = await rejectsWith(openIn(t, dir), 'corrupt')
      assert.equal(error.path, layoutOf(dir, dir).logDir)
    })
  }

  it('is refused when it is read, if the hole is in the middle', async (t) => {
    const dir = await changed(t, async (db) => {
      await put(db, three, 3)
      await db.del(entryKey(2))
    })
    const { log } = await openIn(t, dir)
    await rejectsWith(readAll(log, 0), 'corrupt')
    await rejectsWith(readAll(log, 1), 'corrupt')
  })

  it('is refused when it is read, if an entry in the middle is of a later revision than the next', async (t) => {
    const dir = await changed(t, async (db, state) => {
      await db.put(stateKey, encodeState({ ...state, revision: 4, lastZxid: 4 }))
      await put(db, three, 3)
      await put(db, four, 2)
    })
    const { log } = await openIn(t, dir)
    await rejectsWith(readAll(log, 0), 'corrupt')
  })

  it('is accepted with more entries than at the last start', async (t) => {
    const dir = await changed(t, (db) => put(db, three, 3))
    const { log } = await openIn(t, dir)
    assert.equal((await readAll(log, 0)).length, 3)
  })
})

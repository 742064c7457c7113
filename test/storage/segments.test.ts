import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { tableBytes } from '../../src/storage/calm.ts'
import { type Segment, Segments } from '../../src/storage/segments.ts'
import { scratchDir } from '../support/disk-scratch.ts'
import { eventually } from '../support/peers.ts'

const half = Buffer.alloc(tableBytes / 2)

describe('segments of the log', () => {
  it('are put into tables where it is worth it, open or closed, and go on', async (t) => {
    const segments = await createIn(t)
    const [small, closed, open] = [segments.active, await segments.prepare(), await segments.prepare()]
    await write(small, 1)
    segments.replace([small, closed])
    for (let i = 2; i < 5; i++) await write(closed, i)
    segments.replace([small, closed, open])
    for (let i = 5; i < 8; i++) await write(open, i)
    await eventually('two are closed', () => [small, closed].every(({ db }) => db.status === 'closed'))
    assert.deepEqual(await tablesOf(segments), [0, 0, 0])
    assert.equal(segments.untabled, 6 * half.length)
    await segments.makeTables()
    assert.equal(segments.untabled, 0)
    assert.deepEqual(await tablesOf(segments), [0, 1, 1])
    assert.deepEqual([small.untabled, closed.untabled, open.untabled], [half.length, 0, 0])
    await eventually('it is closed again', () => closed.db.status === 'closed')
    await write(open, 8)
    await segments.makeTables()
    assert.deepEqual(await tablesOf(segments), [0, 1, 1])
    assert.deepEqual(await keysIn(segments), [1, 2, 3, 4, 5, 6, 7, 8])
  })

  it('that go while a table is made of another one get none', async (t) => {
    const segments = await createIn(t)
    const [old, newest] = [segments.active, await segments.prepare()]
    for (const key of [1, 2]) await write(old, key)
    segments.replace([old, newest])
    for (const key of [3, 4]) await write(newest, key)
    let goOn: () => void = () => assert.fail('nobody waits')
    const removed = new Promise<void>((resolve) => {
      goOn = resolve
    })
    const { db } = newest
    const compactRange = db.compactRange.bind(db)
    t.mock.method(db, 'compactRange', async (start: Buffer, end: Buffer) => {
      await removed
      await compactRange(start, end)
    })
    const making = segments.makeTables()
    for (const segment of segments.replace([newest])) await segments.remove(segment)
    goOn()
    await making
    assert.deepEqual(await tablesOf(segments), [1])
    assert.deepEqual(await readdir(join(newest.dir, '..')), ['000002'])
  })

  it('are opened for each who reads, and closed when the last one is done', async (t) => {
    const segments = await createIn(t)
    const [full, newest] = [segments.active, await segments.prepare()]
    await write(full, 1)
    segments.retain([full])
    segments.replace([full, newest])
    assert.equal(full.db.status, 'open')
    segments.retain([full])
    segments.release([full])
    assert.equal(full.db.status, 'open')
    segments.release([full])
    assert.notEqual(full.db.status, 'open')
    // Also while it is being closed.
    segments.retain([full])
    assert.equal((await (await segments.opened(full)).keys().all()).length, 1)
    segments.release([full])
    await eventually('it is closed', () => full.db.status === 'closed')
    assert.equal(newest.db.status, 'open')
  })

  it('that are not there any more go when nobody reads them, closed or open', async (t) => {
    const segments = await createIn(t)
    const [first, second, third] = [segments.active, await segments.prepare(), await segments.prepare()]
    segments.replace([first, second])
    segments.retain([second])
    segments.replace([first, second, third])
    assert.deepEqual(segments.replace([third]), [first, second])
    await segments.remove(first)
    const removing = segments.remove(second)
    assert.deepEqual(await (await segments.opened(second)).keys().all(), [])
    segments.release([second])
    await removing
    assert.deepEqual(await readdir(join(third.dir, '..')), ['000003'])
  })
})

async function createIn(t: TestContext): Promise<Segments> {
  const dir = join(await scratchDir(t), 'log')
  await Segments.create(dir)
  const segments = await Segments.open(dir, [1])
  t.after(() => segments.close())
  return segments
}

/** Half of what is worth a table. */
async function write(segment: Segment, key: number): Promise<void> {
  await segment.db.put(Buffer.from([key]), half)
  segment.untabled += half.length
}

async function tablesOf(segments: Segments): Promise<number[]> {
  const names = await Promise.all(segments.list.map(({ dir }) => readdir(dir)))
  return names.map((list) => list.filter((name) => name.endsWith('.ldb')).length)
}

async function keysIn(segments: Segments): Promise<number[]> {
  segments.retain(segments.list)
  const keys: number[] = []
  for (const segment of segments.list)
    for (const key of await (await segments.opened(segment)).keys().all()) keys.push(key[0] ?? 0)
  segments.release(segments.list)
  return keys
}

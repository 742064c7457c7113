// The log as the core uses it: one write for what gathered, everything in the order it was asked for, and nothing more
// after a failure.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { makeZxid } from '../../src/base/zxid.ts'
import { Journal } from '../../src/node/journal.ts'
import type { Entry } from '../../src/zab/types.ts'
import { faultyLog } from '../support/disk.ts'
import { memoryLog } from '../support/disk-memory.ts'
import { overriding } from '../support/in-process.ts'
import { FakeClock, settled } from '../support/tree-clock.ts'

function entry(first: number, last = first): Entry {
  return { prev: first - 1, first, last, bytes: Buffer.from(`${first}`) }
}

function setUp() {
  const { log, faults } = faultyLog(memoryLog())
  const told: string[] = []
  const journal: Journal = new Journal({
    log,
    clock: new FakeClock(),
    onDurable: (zxid, _ms, transactions) => told.push(`durable ${zxid}, ${transactions}`),
    onTruncated: (zxid) => told.push(`truncated ${zxid}`),
    onFailure: (error) => told.push(`failure ${(error as Error).message}`),
  })
  return { log, faults, told, journal }
}

async function turns(count = 20): Promise<void> {
  for (let i = 0; i < count; i++) await settled()
}

test('what gathers while the disk is busy goes there as one write, and is reported as one', async () => {
  const { faults, told, journal } = setUp()
  faults.hold()
  journal.append(entry(1))
  journal.begin()
  journal.append(entry(2))
  journal.append(entry(3, 7))
  assert.deepEqual([journal.idle, faults.held], [false, 1])
  await faults.release()
  await journal.settled()
  assert.deepEqual(told, ['durable 1, 1', 'durable 7, 6'])
  assert.deepEqual([journal.idle, faults.syncs], [true, 2])
})

test('transactions of several epochs in one write are counted, and not the zxids between them', async () => {
  const { told, journal } = setUp()
  const next = makeZxid(1, 1)
  journal.append(entry(1, 3))
  journal.append({ ...entry(next, next + 1), prev: 3 })
  await journal.settled()
  assert.deepEqual(told, [`durable ${next + 1}, 5`])
})

test('an entry waits until it is told to begin, with those that come meanwhile, and never when the disk is at work', async () => {
  const { faults, told, journal } = setUp()
  faults.hold()
  assert.equal(journal.waits, false)
  journal.append(entry(1))
  journal.append(entry(2))
  assert.deepEqual([journal.waits, journal.idle, faults.held], [true, false, 0])
  journal.begin()
  assert.deepEqual([journal.waits, faults.held], [false, 1])
  journal.append(entry(3))
  assert.equal(journal.waits, false)
  await faults.release()
  await journal.settled()
  assert.deepEqual(told, ['durable 2, 2', 'durable 3, 1'])
  assert.equal(journal.waits, false)
})

test('appends, truncations and other work are done in the order in which they were asked for, one at a time', async () => {
  const { log, told, journal } = setUp()
  let busy = 0
  const work = async (name: string) => {
    assert.equal(busy++, 0)
    await turns(3)
    told.push(name)
    busy--
  }
  journal.append(entry(1))
  journal.task(() => work('first'))
  journal.append(entry(2))
  journal.append(entry(3))
  journal.truncate(1)
  journal.append({ ...entry(2), bytes: Buffer.from('again') })
  journal.task(() => work('second'))
  assert.equal(journal.readable, false)
  await journal.settled()
  assert.deepEqual(told, ['durable 1, 1', 'first', 'durable 3, 2', 'truncated 1', 'durable 2, 1', 'second'])
  assert.equal(journal.readable, true)
  const bytes: string[] = []
  for await (const one of log.read(0)) bytes.push(Buffer.from(one.bytes).toString())
  assert.deepEqual(bytes, ['1', 'again'])
})

test('the log may be read again only when the last of several truncations is done', async () => {
  const { faults, journal } = setUp()
  journal.append(entry(1))
  journal.append(entry(2))
  await journal.settled()
  faults.hold()
  journal.truncate(1)
  journal.truncate(0)
  assert.equal(journal.readable, false)
  await faults.releaseOne()
  await turns()
  assert.equal(journal.readable, false)
  await faults.release()
  await journal.settled()
  assert.equal(journal.readable, true)
})

test('entries for another server: those after a zxid up to a size, and at least one', async () => {
  const { journal } = setUp()
  for (let zxid = 1; zxid <= 4; zxid++) journal.append({ ...entry(zxid), bytes: Buffer.alloc(10) })
  await journal.settled()
  const zxids = async (after: number, maxBytes: number) =>
    (await journal.readAfter(after, maxBytes)).map(({ last }) => last)
  assert.deepEqual(await zxids(1, 20), [2, 3])
  assert.deepEqual(await zxids(1, 29), [2, 3])
  assert.deepEqual(await zxids(1, 1), [2])
  assert.deepEqual(await zxids(2, 1000), [3, 4])
  assert.deepEqual(await zxids(4, 1000), [])
})

test('the next write is under way before the one before it is reported', async () => {
  const { log } = setUp()
  const order: string[] = []
  const journal: Journal = new Journal({
    log: overriding(log, {
      append: (entries) => {
        order.push(`write ${entries[0]?.first}`)
        return log.append(entries)
      },
    }),
    clock: new FakeClock(),
    onDurable: (zxid) => order.push(`durable ${zxid}`),
    onTruncated: () => assert.fail(),
    onFailure: (error) => assert.fail(String(error)),
  })
  journal.append(entry(1))
  journal.begin()
  journal.append(entry(2))
  await journal.settled()
  assert.deepEqual(order, ['write 1', 'write 2', 'durable 1', 'durable 2'])
})

test('a failure is told once, nothing that waits is done, and after clear it works again', async () => {
  const { log, faults, told, journal } = setUp()
  faults.hold()
  faults.failNext('full')
  journal.append(entry(1))
  journal.append(entry(2))
  journal.truncate(0)
  await faults.release()
  await journal.settled()
  journal.append(entry(3))
  await turns()
  assert.deepEqual(told, ['failure injected fault: full (test-disk)'])
  assert.deepEqual([log.lastZxid, journal.readable], [0, false])
  faults.repair()
  await log.reopen()
  journal.clear()
  assert.deepEqual([journal.idle, journal.readable], [true, true])
  journal.append(entry(1))
  await journal.settled()
  assert.deepEqual(told.slice(1), ['durable 1, 1'])
})

test('work that fails is a failure like any other', async () => {
  const { told, journal } = setUp()
  journal.task(() => Promise.reject(new Error('no good')))
  journal.append(entry(1))
  await journal.settled()
  assert.deepEqual(told, ['failure no good'])
})

test('it can not be cleared while it writes', async () => {
  const { faults, journal } = setUp()
  faults.hold()
  journal.append(entry(1))
  journal.begin()
  assert.throws(() => journal.clear(), { name: 'InvariantError' })
  await faults.release()
  await journal.settled()
})

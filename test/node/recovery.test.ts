// A log that can not be written: it is opened until it takes writes, and then state and disk are one.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createLogger } from '../../src/base/log.ts'
import { Journal } from '../../src/node/journal.ts'
import { Recovery } from '../../src/node/recovery.ts'
import { StorageError } from '../../src/storage/types.ts'
import { Tree } from '../../src/tree/tree.ts'
import { memoryStorage } from '../support/disk-memory.ts'
import { overriding } from '../support/in-process.ts'
import { FakeClock, settled } from '../support/tree-clock.ts'

function full(): StorageError {
  return new StorageError('full', 'test-disk', 'no space left', 'make room')
}

type Disk = {
  /** What the first attempts to open the log come to; the next one succeeds. */
  readonly reopens?: Error[]
  /** And the first ones to mark it. */
  readonly marks?: Error[]
  /** A snapshot was being installed when it failed. */
  readonly installing?: boolean
}

function setUp({ reopens = [], marks = [], installing = false }: Disk) {
  const clock = new FakeClock()
  const told: string[] = []
  const lines: string[] = []
  const inner = memoryStorage()
  const log = overriding(inner.log, {
    reopen: () => {
      const error = reopens.shift()
      told.push(error === undefined ? 'opened' : 'still broken')
      return error === undefined ? Promise.resolve() : Promise.reject(error)
    },
    markDiverged: async () => {
      const error = marks.shift()
      if (error !== undefined) throw error
      told.push('marked')
      await inner.log.markDiverged()
    },
  })
  const storage = overriding(inner, { log })
  const tree = new Tree()
  tree.initialize()
  const recovery = new Recovery({
    storage,
    dataDir: '/data',
    tree,
    journal: new Journal({
      log,
      clock,
      onDurable: () => undefined,
      onTruncated: () => undefined,
      onFailure: () => undefined,
    }),
    replica: { reset: () => void told.push('replica reset') },
    checkpointer: { replaced: () => void told.push('checkpoint replaced') },
    receiver: {
      reset: () => {
        const was = installing
        installing = false
        return was
      },
    },
    clock,
    logger: createLogger({
      level: 'debug',
      pretty: false,
      destination: {
        write: (line) => {
          const { level, msg } = JSON.parse(line) as { level: string; msg: string }
          lines.push(`${level}: ${msg}`)
        },
      },
    }),
    onStateReplaced: () => told.push('state replaced'),
    begin: () => {
      told.push('begun')
      return Promise.resolve()
    },
    onFatal: (error) => told.push(`fatal: ${(error as Error).message}`),
  })
  const passes = async (ms: number) => {
    clock.advance(ms)
    await settled()
  }
  return { clock, told, lines, recovery, tree, passes }
}

test('the first attempt is made at once, each further one a second later, until consensus can begin', async () => {
  const { told, recovery, passes } = setUp({ reopens: [full(), full()] })
  recovery.start()
  await passes(0)
  assert.deepEqual([told, recovery.underWay], [['still broken'], true])
  await passes(999)
  assert.equal(told.length, 1)
  await passes(1)
  assert.deepEqual(told, ['still broken', 'still broken'])
  await passes(1000)
  assert.deepEqual(told.slice(2), ['opened', 'replica reset', 'begun'])
  assert.equal(recovery.underWay, false)
})

test('a disk that fails again and again is not opened more than once a second', async () => {
  const { told, recovery, passes } = setUp({})
  recovery.start()
  await passes(0)
  recovery.start()
  await passes(999)
  assert.equal(told.filter((what) => what === 'opened').length, 1)
  await passes(1)
  assert.equal(told.filter((what) => what === 'opened').length, 2)
})

test('operators hear of the failure, of the attempts once a minute, and of the end', async () => {
  const { lines, recovery, passes } = setUp({ reopens: Array.from({ length: 62 }, full) })
  recovery.failed(full())
  recovery.failed(full())
  recovery.start()
  await passes(0)
  for (let second = 0; second < 62; second++) await passes(1000)
  recovery.worked({})
  recovery.worked({})
  const still = 'the log still can not be written: no space left'
  assert.deepEqual(
    lines.filter((line) => !line.startsWith('debug')),
    [
      'error: the log can not be written, writes stop: make room',
      `warn: ${still}`,
      `warn: ${still}`,
      'info: the log takes writes again',
    ],
  )
})

test('damage, and what is no failure of a disk, is not tried again', async () => {
  const damage = new StorageError('corrupt', 'test-disk', 'damaged', 'restore it')
  for (const error of [damage, new TypeError('a bug')]) {
    const { told, recovery, passes } = setUp({ reopens: [error] })
    recovery.start()
    await passes(0)
    await passes(5000)
    assert.deepEqual(told, ['still broken', `fatal: ${error.message}`])
    assert.equal(recovery.underWay, false)
  }
})

test('it is called off: no attempt is waited for', async () => {
  const { clock, told, recovery, passes } = setUp({ reopens: [full()] })
  recovery.start()
  await passes(0)
  await recovery.callOff()
  assert.deepEqual([told, clock.timers, recovery.underWay], [['still broken'], 0, false])
})

test('the state is read from the disk if a snapshot was being installed, however many attempts that takes', async () => {
  const { told, recovery, tree, passes } = setUp({ reopens: [full()], installing: true })
  tree.zxid = 5
  recovery.start()
  await passes(0)
  await passes(1000)
  assert.deepEqual(told.slice(1), [
    'opened',
    'checkpoint replaced',
    'state replaced',
    'replica reset',
    'begun',
  ])
  assert.equal(tree.zxid, 0)
})

test('a state that is wrong stays marked where the disk failed at that', async () => {
  const { told, recovery, passes } = setUp({ marks: [full()] })
  await assert.rejects(recovery.stateIsWrong(), { kind: 'full' })
  recovery.start()
  await passes(0)
  assert.deepEqual(told, ['opened', 'marked', 'replica reset', 'begun'])
})

test('nothing is marked once a snapshot has replaced the wrong state', async () => {
  const { told, recovery, passes } = setUp({ marks: [full()] })
  await assert.rejects(recovery.stateIsWrong(), { kind: 'full' })
  recovery.snapshotInstalled()
  recovery.start()
  await passes(0)
  assert.deepEqual(told, ['opened', 'replica reset', 'begun'])
})

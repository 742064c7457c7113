// Every file of a log in several segments is cut and has bits flipped at many places. Whatever the damage, opening and reading must either say
// that the log is damaged or give a clean prefix of what was written; after a clean stop nothing less than all of it.
import assert from 'node:assert/strict'
import { cpSync, rmSync } from 'node:fs'
import { open, readdir, rm, stat, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { openStorage } from '../../src/storage/open.ts'
import { StorageError } from '../../src/storage/types.ts'
import type { Entry } from '../../src/zab/types.ts'
import {
  checkpointAt,
  copyOf,
  manyFilesDir,
  openIn,
  scratchDir,
  writtenBytes,
} from '../support/disk-scratch.ts'
import { entriesAfter, readAll, reconfiguration } from '../support/log-conformance.ts'

type Written = {
  /** Every state the log went through, as text; the last is the present one. */
  readonly states: readonly string[]
  readonly dir: string
}

describe('a damaged log', () => {
  it('that was not closed is noticed or is a clean prefix', async (t) => {
    const { dir, states } = await populated(t)
    const outcomes = await damageEverywhere(t, dir, (seen) => {
      assert.ok(states.includes(seen), `never written: ${seen}`)
    })
    // Both happen, or the damage did not reach what it was meant for.
    assert.ok(outcomes.refused > 20, JSON.stringify(outcomes))
    assert.ok(outcomes.opened > 10, JSON.stringify(outcomes))
  })

  it('that was closed is noticed or complete', async (t) => {
    const { dir, states } = await populated(t)
    const closed = await copyOf(t, dir)
    await (await openIn(t, closed)).close()
    const again = await openIn(t, closed)
    await again.log.append(entriesAfter(again.log.lastZxid, [1], 'last'))
    const expected = await stateOf(again.log)
    assert.notEqual(expected, states.at(-1))
    await again.close()
    const outcomes = await damageEverywhere(t, closed, (seen) => assert.equal(seen, expected))
    assert.ok(outcomes.refused > 20, JSON.stringify(outcomes))
  })

  it('whose newest file is gone is noticed after a clean stop', async (t) => {
    const dir = await scratchDir(t)
    const storage = await openIn(t, dir)
    await storage.log.append(entriesAfter(0, [1, 1]))
    await storage.log.saveEpochs({ accepted: 1, current: 1 })
    await storage.close()
    const segment = join(dir, 'zabd/log/000001')
    for (const name of await readdir(segment)) if (name.endsWith('.log')) await rm(join(segment, name))
    await assert.rejects(openIn(t, dir), { kind: 'corrupt' })
  })
})

/** A log in several files, with all kinds of records, as it is on disk when its process is killed. */
async function populated(t: TestContext): Promise<Written> {
  const dir = await scratchDir(t)
  const states: string[] = []
  for (let run = 0; run < 3; run++) {
    const storage = await openIn(t, dir, { segmentBytes: 60_000 })
    const { log } = storage
    states.push(await stateOf(log))
    const step = async (work: Promise<void>) => {
      await work
      states.push(await stateOf(log))
    }
    for (let i = 0; i < 8; i++) {
      const entries = entriesAfter(log.lastZxid, [1, 2], `run ${run}`).map(padded)
      await step(log.append(entries))
    }
    await step(log.saveEpochs({ accepted: 10 * run + 1, current: run }))
    await step(log.append(entriesAfter(log.lastZxid, [2], 'dropped').map(padded)))
    await step(log.truncate(log.lastZxid - 2))
    await step(log.append(entriesAfter(log.lastZxid + 0, [3], 'kept').map(padded)))
    await step(log.append([reconfiguration(log.lastZxid, 1 + run)]))
    if (run === 0) {
      // Enough entries for a record of where they end.
      await step(log.append(entriesAfter(log.lastZxid, Array(600).fill(1), 'm')))
      await step(log.append([reconfiguration(log.lastZxid, 100 + run)]))
      await step(log.truncate(log.lastZxid - 1))
    }
    if (run === 1) await step(log.markDiverged())
    if (run === 1) {
      await checkpointAt(storage, log.lastZxid)
      await step(log.trim(6))
    }
    if (run === 2) {
      await step(log.saveEpochs({ accepted: 50, current: 50 }))
      await step(log.append(entriesAfter(log.lastZxid, [1, 1], 'tail').map(padded)))
      const copy = await copyOf(t, dir)
      return { dir: copy, states }
    }
    await storage.close()
  }
  return assert.fail('not reached')
}

/** Entries of several sizes, so that records begin, end and cross LevelDB's blocks of 32 KiB at various places. */
function padded(entry: Entry): Entry {
  const fill = Buffer.alloc((entry.first * 977) % 5000)
  for (let i = 0; i < fill.length; i++) fill[i] = (i * entry.first) >> 3
  return { ...entry, bytes: Buffer.concat([entry.bytes, fill]) }
}

async function stateOf(log: Awaited<ReturnType<typeof openIn>>['log']): Promise<string> {
  const entries = await readAll(log, log.trimmedTo)
  const list = entries.map(
    ({ first, last, bytes }) =>
      `${first}-${last}:${Buffer.from(bytes).toString('latin1', 0, 12)}/${bytes.length}`,
  )
  const { epochs, trimmedTo, lastZxid, diverged } = log
  const index = await log.index()
  assert.deepEqual(
    index.lasts,
    entries.map((entry) => entry.last),
  )
  for (const { last, voting } of entries) {
    const { votings } = index
    assert.deepEqual(votings.find(({ zxid }) => zxid === last)?.voting, voting)
  }
  return JSON.stringify({ epochs, trimmedTo, lastZxid, diverged, votings: index.votings, list })
}

/** Of what LevelDB makes anew at each start. */
const noData = /(LOCK|LOG|LOG\.old)$/

async function damageEverywhere(t: TestContext, dir: string, check: (seen: string) => void) {
  const outcomes = { refused: 0, opened: 0 }
  const scratch = await scratchDir(t, manyFilesDir())
  const names = (await readdir(join(dir, 'zabd/log'), { recursive: true })).map((name) => join('log', name))
  for (const name of ['log.state', ...names].sort()) {
    const file = await stat(join(dir, 'zabd', name))
    if (noData.test(name) || file.isDirectory()) continue
    const size = await writtenBytes(join(dir, 'zabd', name))
    for (const damage of damagesOf(size, name)) {
      const copy = join(scratch, 'copy')
      // Thousands of small files: handing each to a thread and back takes longer than copying it does.
      cpSync(dir, copy, { recursive: true, filter: (path) => !noData.test(path) })
      await damage.apply(join(copy, 'zabd', name))
      const what = `${name} of ${size} bytes, ${damage.what}`
      outcomes[await openAndCheck(copy, what, check)]++
      rmSync(copy, { recursive: true })
    }
  }
  return outcomes
}

type Damage = { what: string; apply(path: string): Promise<void> }

function damagesOf(size: number, name: string): Damage[] {
  const many = name.endsWith('CURRENT') ? 6 : 9
  const damages: Damage[] = []
  for (let i = 0; i < many; i++) {
    // Spread over the file, denser towards its end, where tables have their index and logs their newest records.
    const at = Math.min(size - 1, Math.floor(size * (1 - (1 - i / many) ** 1.7)))
    const bit = (i * 5) % 8
    damages.push({ what: `bit ${bit} of byte ${at} flipped`, apply: (path) => flip(path, at, bit) })
    if (i % 2 === 0) damages.push({ what: `cut to ${at} bytes`, apply: (path) => truncate(path, at) })
  }
  damages.push({ what: 'one byte short', apply: (path) => truncate(path, size - 1) })
  damages.push({ what: 'missing', apply: (path) => rm(path) })
  return damages
}

async function openAndCheck(dir: string, what: string, check: (seen: string) => void) {
  let seen: string
  try {
    const storage = await openStorage({ dataDir: dir, logDir: dir })
    try {
      seen = await stateOf(storage.log)
    } finally {
      await storage.close()
    }
  } catch (error) {
    if (error instanceof StorageError) return 'refused'
    throw new Error(what, { cause: error })
  }
  try {
    check(seen)
  } catch (error) {
    throw new Error(what, { cause: error })
  }
  return 'opened'
}

async function flip(path: string, at: number, bit: number): Promise<void> {
  const file = await open(path, 'r+')
  try {
    const byte = Buffer.alloc(1)
    await file.read(byte, 0, 1, at)
    byte[0]! ^= 1 << bit
    await file.write(byte, 0, 1, at)
  } finally {
    await file.close()
  }
}

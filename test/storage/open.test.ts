import assert from 'node:assert/strict'
import { chmod, cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { findApacheData, layoutOf, readFormat } from '../../src/storage/format.ts'
import { openStorage } from '../../src/storage/open.ts'
import type { StorageErrorKind } from '../../src/storage/types.ts'
import { checkpointAt, copyOf, openIn, rejectsWith, scratchDir } from '../support/disk-scratch.ts'
import { entriesAfter, readAll } from '../support/log-conformance.ts'

describe('opening', () => {
  it('makes the documented layout, with data and log apart', async (t) => {
    const dir = await scratchDir(t)
    const [dataDir, logDir] = [join(dir, 'deep/data'), join(dir, 'log')]
    const storage = await openIn(t, dir, { dataDir, logDir })
    await storage.log.append(entriesAfter(0, [1]))
    for (const name of ['data/zabd/format', 'data/zabd/checkpoint/CURRENT'])
      await readFile(join(dir, 'deep', name))
    for (const name of ['log.state', 'log/000001/CURRENT']) await readFile(join(logDir, 'zabd', name))
    const format = await readFormat(join(dataDir, 'zabd/format'))
    assert.equal(format?.format, 3)
    assert.ok(Number.isFinite(Date.parse(format.created)))
    assert.match(format.zabd, /^\d+\.\d+\.\d+/)
    const [dataBytes, logBytes] = [await storage.dataDirBytes(), await storage.logDirBytes()]
    assert.ok(dataBytes > 100 && dataBytes < 10_000, `${dataBytes}`)
    assert.ok(logBytes > 100 && logBytes < 1_100_000, `${logBytes}`)
  })

  it('refuses a directory that this process has open, and does not disturb it', async (t) => {
    const dir = await scratchDir(t)
    const storage = await openIn(t, dir)
    const error = await rejectsWith(openIn(t, dir), 'locked')
    assert.match(error.remedy, /another/i)
    await storage.log.append(entriesAfter(0, [1]))
    assert.equal((await readAll(storage.log, 0)).length, 1)
  })

  it('tells of steps, and logs once that it created the data', async (t) => {
    const dir = await scratchDir(t)
    const said: string[] = []
    const logger = { info: (_: object, message: string) => said.push(message), warn: () => assert.fail() }
    const onProgress = ({ step }: { step: string }) => said.push(step)
    await (await openIn(t, dir, { logger, onProgress })).close()
    assert.deepEqual(said, ['checkpoint', 'log', 'created an empty data directory'])
    await openIn(t, dir, { logger, onProgress })
    assert.equal(said.length, 5)
  })

  it('begins again where the creation of the data was interrupted', async (t) => {
    const dir = await scratchDir(t)
    await (await openIn(t, dir)).close()
    await rm(layoutOf(dir, dir).formatFile)
    await (await openIn(t, dir)).close()
    const { formatFile, logDir } = layoutOf(dir, dir)
    await rm(formatFile)
    await rm(join(logDir, '000001/CURRENT'))
    await openIn(t, dir)
  })

  it("leaves Apache's files alone and reports them", async (t) => {
    const dir = await scratchDir(t)
    await mkdir(join(dir, 'version-2'))
    await writeFile(join(dir, 'version-2/snapshot.0'), 'snapshot')
    assert.deepEqual(await findApacheData(dir, join(dir, 'none')), [join(dir, 'version-2')])
    assert.deepEqual(await findApacheData(dir, dir), [join(dir, 'version-2')])
    await openIn(t, dir)
    assert.equal(await readFile(join(dir, 'version-2/snapshot.0'), 'utf8'), 'snapshot')
  })

  const damages: [string, StorageErrorKind, (dir: string) => Promise<void>][] = [
    ['a newer format', 'format', (dir) => writeFile(join(dir, 'zabd/format'), '{"format":4}')],
    ['an older format', 'format', (dir) => writeFile(join(dir, 'zabd/format'), '{"format":2}')],
    ['an unreadable format file', 'corrupt', (dir) => writeFile(join(dir, 'zabd/format'), '{"form')],
    ['an incomplete format file', 'corrupt', (dir) => writeFile(join(dir, 'zabd/format'), '{"format":3}')],
    ['data without a format file', 'format', (dir) => rm(join(dir, 'zabd/format'))],
    ['a missing state of the log', 'corrupt', (dir) => rm(join(dir, 'zabd/log.state'))],
    ['a damaged one', 'corrupt', (dir) => writeFile(join(dir, 'zabd/log.state'), '{"clean":true}\n1\n')],
    ['a missing log', 'corrupt', (dir) => rm(join(dir, 'zabd/log'), { recursive: true })],
    ['a log without its CURRENT file', 'corrupt', (dir) => rm(join(dir, 'zabd/log/000001/CURRENT'))],
    ['a missing checkpoint', 'corrupt', (dir) => rm(join(dir, 'zabd/checkpoint'), { recursive: true })],
    ['a file where a directory should be', 'io', (dir) => replaceByFile(join(dir, 'zabd'))],
  ]
  for (const [what, kind, damage] of damages) {
    it(`refuses ${what}`, async (t) => {
      const dir = await scratchDir(t)
      const storage = await openIn(t, dir)
      await storage.log.append(entriesAfter(0, [1, 1]))
      await checkpointAt(storage, 1)
      await storage.close()
      await damage(dir)
      await rejectsWith(openIn(t, dir), kind)
    })
  }

  it('refuses a log that belongs to other data', async (t) => {
    const [dirA, dirB] = [await scratchDir(t), await scratchDir(t)]
    for (const dir of [dirA, dirB]) await (await openIn(t, dir)).close()
    const error = await rejectsWith(openIn(t, dirA, { logDir: dirB }), 'format')
    assert.equal(error.path, join(dirB, 'zabd/log'))
    assert.match(error.message, /another data directory/)
  })

  it('refuses a log that ends below the checkpoint, and one that begins above it', async (t) => {
    const dir = await scratchDir(t)
    const storage = await openIn(t, dir)
    await storage.log.append(entriesAfter(0, [1, 1, 1]))
    await storage.close()
    const early = await copyOf(t, dir)
    const later = await openIn(t, dir)
    await later.log.append(entriesAfter(3, [1, 1]))
    await checkpointAt(later, 5)
    await later.log.trim(4)
    await later.close()
    const mixed = await copyOf(t, dir)
    for (const name of ['log', 'log.state'])
      await replaceBy(join(early, 'zabd', name), join(mixed, 'zabd', name))
    await rejectsWith(openIn(t, mixed), 'corrupt')
    await replaceBy(join(early, 'zabd/checkpoint'), join(dir, 'zabd/checkpoint'))
    await rejectsWith(openIn(t, dir), 'corrupt')
  })

  it('refuses an older log with the state of a clean stop', async (t) => {
    const dir = await scratchDir(t)
    await (await openIn(t, dir)).close()
    const early = await copyOf(t, dir)
    const storage = await openIn(t, dir)
    await storage.log.append(entriesAfter(0, [1]))
    await storage.close()
    await replaceBy(join(early, 'zabd/log'), join(dir, 'zabd/log'))
    await rejectsWith(openIn(t, dir), 'corrupt')
  })

  it('leaves nothing open when it is refused', async (t) => {
    const dir = await scratchDir(t)
    await (await openIn(t, dir)).close()
    const state = await readFile(join(dir, 'zabd/log.state'))
    await rm(join(dir, 'zabd/log.state'))
    await rejectsWith(openIn(t, dir), 'corrupt')
    await writeFile(join(dir, 'zabd/log.state'), state)
    await openIn(t, dir)
  })

  it('reports a directory that it may not write', async (t) => {
    if (process.getuid?.() === 0) return t.skip('root may write everywhere')
    const dir = await scratchDir(t)
    await chmod(dir, 0o500)
    const error = await rejectsWith(openStorage({ dataDir: dir, logDir: dir }), 'io')
    assert.match(error.remedy, /may read and write/)
  })
})

async function replaceBy(from: string, to: string): Promise<void> {
  await rm(to, { recursive: true, force: true })
  await cp(from, to, { recursive: true })
}

async function replaceByFile(path: string): Promise<void> {
  await rm(path, { recursive: true })
  await writeFile(path, '')
}

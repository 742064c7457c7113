import assert from 'node:assert/strict'
import { open, readdir, readFile, rm, stat, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { crc32 } from 'node:zlib'
import { Level } from 'level'
import { createPrng, type Prng } from '../../sim/prng.ts'
import { liveFiles } from '../../src/storage/manifest.ts'
import { scan, scannable } from '../../src/storage/scan.ts'
import { copyOf, rejectsWith, scratchDir } from '../support/disk-scratch.ts'

type Records = [key: string, value: string][]

const small = { writeBufferSize: 64 << 10, maxFileSize: 64 << 10 }

describe('a scan of a database that is not open', () => {
  for (const compression of [true, false]) {
    it(`finds what LevelDB finds, ${compression ? 'compressed' : 'as it was written'}`, async (t) => {
      for (let seed = 1; seed <= 12; seed++) {
        const dir = await changed(t, seed, { ...small, compression })
        const expected = await recordsOf(dir)
        assert.deepEqual(await scanned(dir), expected, `seed ${seed}, closed`)
      }
    })
  }

  it('finds what LevelDB finds where a write-ahead file was cut off', async (t) => {
    const dir = await changed(t, 2, { ...small, writeBufferSize: 1 << 20 })
    const log = (await readdir(dir)).find((name) => name.endsWith('.log')) ?? ''
    const { size } = await stat(join(dir, log))
    const lengths = new Set<number>()
    for (let i = 0; i < 40; i++) {
      const copy = await copyOf(t, dir)
      await truncate(join(copy, log), Math.floor((size * i) / 40))
      const found = await scanned(copy)
      // LevelDB changes the files when it opens them.
      assert.deepEqual(found, await recordsOf(copy), `cut to ${i} of 40 parts`)
      lengths.add(found.length)
    }
    // The cuts took something away, or they were none.
    assert.ok(lengths.size > 3, `${lengths.size}`)
  })

  it('finds one record by its key', async (t) => {
    const dir = await changed(t, 7, small)
    const all = await recordsOf(dir)
    for (const [i, [key]] of all.entries()) {
      if (i % 17 !== 0) continue
      assert.deepEqual(await scanned(dir, Buffer.from(key, 'hex')), all.slice(i, i + 1))
      assert.deepEqual(await scanned(dir, Buffer.from(`${key}00`, 'hex')), [])
    }
  })

  it('passes on what is thrown by who takes the records', async (t) => {
    const dir = await changed(t, 1, small)
    const refuse = () => {
      throw new RangeError('enough')
    }
    await assert.rejects(scan(await scannable(dir), refuse), RangeError)
    assert.ok((await scanned(dir)).length > 0)
  })

  it('names the table that is damaged, cut off or missing', async (t) => {
    const dir = await changed(t, 3, { ...small, compression: false })
    const { tables = [] } = (await liveFiles(dir)) ?? {}
    assert.ok(tables.length > 0)
    for (const { name } of tables) {
      for (const damage of [flip, cut, rm]) {
        const copy = await copyOf(t, dir)
        await damage(join(copy, name))
        const error = await rejectsWith(scanned(copy), 'corrupt')
        assert.equal(error.path, join(copy, name))
      }
    }
  })

  it('is refused where the manifest is damaged', async (t) => {
    const dir = await changed(t, 4, small)
    const manifest = (await readFile(join(dir, 'CURRENT'), 'latin1')).trim()
    await flip(join(dir, manifest))
    assert.equal((await rejectsWith(scanned(dir), 'corrupt')).path, dir)
  })
})

/** A database, closed, that was changed at random: short and long values, written again and deleted, over several tables. */
async function changed(t: TestContext, seed: number, options: object): Promise<string> {
  const dir = await scratchDir(t)
  const prng = createPrng(seed)
  let db = await openLevel(dir, options)
  const keys = Array.from({ length: 300 }, (_, i) => Buffer.from(`key ${i * 7}`.slice(0, prng.int(5, 8))))
  for (let round = 0; round < 30; round++) {
    const batch = db.batch()
    for (let i = prng.int(1, 40); i > 0; i--) {
      const key = prng.pick(keys)
      if (prng.chance(0.3)) batch.del(key)
      else batch.put(key, noise(prng.chance(0.1) ? prng.int(1, 100_000) : prng.int(0, 200), prng))
    }
    await batch.write()
    if (prng.chance(0.1)) {
      await db.close()
      db = await openLevel(dir, options)
    }
  }
  await db.close()
  return dir
}

async function openLevel(dir: string, options: object): Promise<Level<Buffer, Buffer>> {
  const db = new Level<Buffer, Buffer>(dir, { keyEncoding: 'buffer', valueEncoding: 'buffer', ...options })
  await db.open()
  return db
}

/** As LevelDB has them. */
async function recordsOf(dir: string): Promise<Records> {
  const db = await openLevel(dir, {})
  const all = await db.iterator().all()
  await db.close()
  return all.map(([key, value]) => [key.toString('hex'), textOf(value)])
}

async function scanned(dir: string, only?: Buffer): Promise<Records> {
  const all: Records = []
  const each = (key: Buffer, value: Buffer) => all.push([key.toString('hex'), textOf(value)])
  await scan(await scannable(dir), each, only)
  return all
}

function textOf(value: Buffer): string {
  return `${value.length} bytes, CRC ${crc32(value)}`
}

/** Half of it can be compressed. */
function noise(bytes: number, prng: Prng): Buffer {
  const value = Buffer.alloc(bytes)
  for (let i = 0; i < bytes / 2; i++) value[i] = prng.int(0, 255)
  return value
}

/** Changes a bit in the middle of a file. */
async function flip(path: string): Promise<void> {
  const file = await open(path, 'r+')
  const { size } = await file.stat()
  const byte = Buffer.alloc(1)
  await file.read(byte, 0, 1, size >> 1)
  byte[0] = (byte[0] as number) ^ 4
  await file.write(byte, 0, 1, size >> 1)
  await file.close()
}

async function cut(path: string): Promise<void> {
  await truncate(path, (await stat(path)).size >> 1)
}

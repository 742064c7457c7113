import assert from 'node:assert/strict'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { Level } from 'level'
import { verifyTables } from '../../src/storage/tables.ts'
import { StorageError } from '../../src/storage/types.ts'

const footerBytes = 48

/** Bytes that do not compress, the same at each run. */
function noise(count: number, seed: number): Buffer {
  const bytes = Buffer.alloc(count)
  for (let i = 0, x = seed; i < count; i++) {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0
    bytes[i] = x >>> 24
  }
  return bytes
}

for (const [name, value] of [
  ['compressed', (i: number) => Buffer.alloc(200, i)],
  ['not compressible', (i: number) => noise(200, i + 1)],
] as const) {
  describe(`tables of values that are ${name}`, () => {
    let dir = ''
    let path = ''
    let whole: Buffer

    before(async () => {
      dir = await mkdtemp(join(tmpdir(), 'zabd-tables-'))
      const db = new Level<Buffer, Buffer>(dir, { keyEncoding: 'buffer', valueEncoding: 'buffer' })
      await db.open()
      assert.ok('compactRange' in db && typeof db.compactRange === 'function')
      for (let i = 0; i < 300; i++) await db.put(Buffer.from(`key ${String(i).padStart(6, '0')}`), value(i))
      await db.compactRange(Buffer.from('a'), Buffer.from('z'))
      await db.close()
      const table = (await readdir(dir)).find((file) => file.endsWith('.ldb'))
      assert.ok(table !== undefined)
      path = join(dir, table)
      whole = await readFile(path)
    })
    after(() => rm(dir, { recursive: true, force: true }))

    /** Verifies the directory with other bytes in place of the table's. */
    async function withTable(bytes: Buffer): Promise<unknown> {
      await writeFile(path, bytes)
      try {
        return await verifyTables(dir).catch((error: unknown) => error)
      } finally {
        await writeFile(path, whole)
      }
    }

    test('a whole table passes', async () => {
      assert.equal(await withTable(whole), undefined)
    })

    test('a table that the database does not consist of may be anything', async () => {
      const stray = join(dir, '999999.ldb')
      await writeFile(stray, whole.subarray(0, 1000))
      try {
        await verifyTables(dir)
      } finally {
        await rm(stray)
      }
    })

    test('a flipped bit in any block is found and the file is named', async () => {
      for (let at = 0; at < whole.length - footerBytes; at += 37) {
        const bytes = Buffer.from(whole)
        bytes[at] = (bytes[at] as number) ^ 0x10
        const error = await withTable(bytes)
        assert.ok(error instanceof StorageError, `byte ${at}`)
        assert.deepEqual([error.kind, error.path], ['corrupt', path])
      }
    })

    test('a flipped bit in the handles and the magic number at the end is found', async () => {
      for (const at of [0, 1, 2, 3].concat([41, 44, 47])) {
        const bytes = Buffer.from(whole)
        const position = whole.length - footerBytes + at
        bytes[position] = (bytes[position] as number) ^ 0x04
        assert.ok((await withTable(bytes)) instanceof StorageError, `byte ${at} of the footer`)
      }
    })

    test('a table that was cut is found wherever the cut is', async () => {
      for (const end of [0, 1, footerBytes, whole.length >> 1, whole.length - 1])
        assert.ok((await withTable(whole.subarray(0, end))) instanceof StorageError, `cut at ${end}`)
    })
  })
}

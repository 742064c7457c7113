import assert from 'node:assert/strict'
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { WriteAhead } from '../../src/storage/write-ahead.ts'
import { scratchDir } from '../support/disk-scratch.ts'
import { eventually } from '../support/peers.ts'

const fileBytes = 1 << 20

describe('zeros ahead of what LevelDB writes', () => {
  it('come behind what is in the newest file, and change nothing of it', async (t) => {
    const { older, newest, writeAhead } = await setUp(t)
    writeAhead.wrote(7, 1)
    await eventually('there are zeros', () => statSync(newest).size > 7)
    await writeAhead.close()
    const bytes = readFileSync(newest)
    assert.equal(bytes.toString('latin1', 0, 7), 'written')
    assert.ok(bytes.subarray(7).every((byte) => byte === 0))
    assert.equal(statSync(older).size, 7)
  })

  it('go to the next file when the one before is full, though it has some left', async (t) => {
    const { dir, newest, writeAhead } = await setUp(t)
    writeAhead.wrote(7, 1)
    await eventually('there are zeros', () => statSync(newest).size > 7)
    const next = join(dir, '000011.log')
    writeFileSync(next, '')
    await eventually('they are found to be needed', () => {
      writeAhead.wrote(fileBytes, 0)
      return statSync(next).size > 0
    })
    await writeAhead.close()
  })

  it('go to the next file when it is told that the one before ends', async (t) => {
    const { dir, newest, writeAhead } = await setUp(t)
    writeAhead.wrote(7, 1)
    await eventually('there are zeros', () => statSync(newest).size > 7)
    writeAhead.fileEnds()
    const next = join(dir, '000011.log')
    writeFileSync(next, '')
    await eventually('they are found to be needed', () => {
      writeAhead.wrote(1, 0)
      return statSync(next).size > 0
    })
    await writeAhead.close()
  })
})

/** A directory with two files, of which the newest is not the last in its listing by age. */
async function setUp(t: TestContext) {
  const dir = await scratchDir(t)
  const [newest, older] = [join(dir, '000010.log'), join(dir, '000009.log')] as const
  for (const path of [newest, older]) writeFileSync(path, 'written')
  return { dir, newest, older, writeAhead: new WriteAhead(dir, fileBytes) }
}

import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { crc32 } from 'node:zlib'
import { makeZxid, maxCounter, maxEpoch } from '../../src/base/zxid.ts'
import { emptyState, type LogState, readLogState, writeLogState } from '../../src/storage/log-state.ts'
import { rejectsWith, scratchDir } from '../support/disk-scratch.ts'

const voting = { voters: [1, 2, 3], groups: [[1], [2, 3]], weights: [[3, 0] as const] }
const state: LogState = {
  revision: 9,
  dataId: 'some id',
  clean: false,
  epochs: { accepted: maxEpoch, current: 3 },
  lastZxid: makeZxid(maxEpoch, maxCounter),
  trimmedTo: 2 ** 33,
  installs: 1,
  diverged: true,
  voting: { zxid: 2 ** 33, voting },
  reconfigurations: [2 ** 33 + 1, 2 ** 33 + 7],
  segments: [3, 5],
}

describe("the log's state", () => {
  it('is read as it was written', async (t) => {
    const path = join(await scratchDir(t), 'log.state')
    assert.equal(await readLogState(path), undefined)
    for (const one of [state, emptyState('id')]) {
      await writeLogState(path, one)
      assert.deepEqual(await readLogState(path), one)
    }
  })

  it('is refused with any byte changed, and cut at any length', async (t) => {
    const path = join(await scratchDir(t), 'log.state')
    await writeLogState(path, state)
    const bytes = await readFile(path)
    for (let at = 0; at < bytes.length; at++) {
      const changed = Buffer.from(bytes)
      changed[at]! ^= 1 << (at % 8)
      for (const damaged of [changed, bytes.subarray(0, at)]) {
        await writeFile(path, damaged)
        assert.equal((await rejectsWith(readLogState(path), 'corrupt')).path, path)
      }
    }
  })

  it('is refused with a field that is not what it must be, whatever the checksum says', async (t) => {
    const path = join(await scratchDir(t), 'log.state')
    const wrong: object[] = [
      { revision: -1 },
      { dataId: 7 },
      { clean: null },
      { epochs: { accepted: 1 } },
      { lastZxid: 0.5 },
      { trimmedTo: '1' },
      { installs: undefined },
      { diverged: 0 },
      { voting: { zxid: 1 } },
      { reconfigurations: 3 },
      { segments: [] },
    ]
    for (const fields of wrong) {
      const line = JSON.stringify({ ...state, ...fields })
      await writeFile(path, `${line}\n${crc32(line)}\n`)
      await rejectsWith(readLogState(path), 'corrupt')
    }
  })
})

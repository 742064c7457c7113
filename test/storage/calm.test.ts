import assert from 'node:assert/strict'
import { it } from 'node:test'
import { isTimeForTable, tableBytes } from '../../src/storage/calm.ts'

const mib = 1 << 20

it('a table of the log is made when there is enough for one, and little is appended', () => {
  const slowly = 2000
  assert.deepEqual(
    [tableBytes - 1, tableBytes].map((bytes) => isTimeForTable(bytes, slowly)),
    [false, true],
  )
  assert.deepEqual(
    [499, 512].map((ms) => isTimeForTable(tableBytes, ms)),
    [false, true],
  )
  // 30 MiB in a second, and nothing more since.
  assert.deepEqual(
    [1000, 3800, 3900].map((ms) => isTimeForTable(30 * mib, ms)),
    [false, false, true],
  )
})

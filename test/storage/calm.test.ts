import assert from 'node:assert/strict'
import { it } from 'node:test'
import { isTimeForTables, tableBytes } from '../../src/storage/calm.ts'

const mib = 1 << 20

it('tables of the log are made when there is enough for one, and little is appended', () => {
  const amounts = [tableBytes - 1, tableBytes]
  assert.deepEqual(
    amounts.map((bytes) => isTimeForTables(bytes, bytes, 2000)),
    [false, true],
  )
  const after = (untabled: number, recent: number, times: number[]) =>
    times.map((ms) => isTimeForTables(untabled, recent, ms))
  assert.deepEqual(after(tableBytes, tableBytes, [499, 512]), [false, true])
  // 30 MiB in a second, and nothing more since.
  assert.deepEqual(after(30 * mib, 30 * mib, [1000, 3800, 3900]), [false, false, true])
  // They filled a segment, and little came into the next one.
  assert.deepEqual(after(30 * mib, 1000, [499, 500]), [false, true])
})

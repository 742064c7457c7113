import assert from 'node:assert/strict'
import { it } from 'node:test'
import { calmBytes, isTimeForTables, tableBytes } from '../../src/storage/calm.ts'

it('tables of the log are made when there is enough for one, and little is appended', () => {
  assert.equal(isTimeForTables(tableBytes, 0), true)
  assert.equal(isTimeForTables(tableBytes - 1, 0), false)
  assert.equal(isTimeForTables(10 * tableBytes, calmBytes), true)
  assert.equal(isTimeForTables(10 * tableBytes, calmBytes + 1), false)
})

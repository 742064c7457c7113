import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { thisHost } from '../../src/admin/host.ts'
import { makeRoomForDescriptors } from '../../src/node/descriptors.ts'

/** Descriptors that fit into this process's table; undefined where the system does not tell. */
function tableSize(): number | undefined {
  if (process.platform !== 'linux') return undefined
  return Number(/^FDSize:\s*(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1])
}

// A table never shrinks, so the smaller one has to be first.
test('the table of descriptors grows to at most half of what the process may have', async () => {
  await makeRoomForDescriptors(2048, 800)
  const size = tableSize()
  if (size !== undefined) assert.equal(size, 512)
})

test('the table of descriptors has room for more than asked for, and none of them is left open', async () => {
  const before = thisHost.openFiles()
  await makeRoomForDescriptors(1024, 4096)
  const size = tableSize()
  if (size !== undefined) assert.equal(size, 2048)
  assert.equal(thisHost.openFiles(), before)
})

test('nothing is opened where the system does not tell how many descriptors there may be', async () => {
  const before = tableSize()
  await makeRoomForDescriptors(1 << 16, -1)
  assert.equal(tableSize(), before)
})

import assert from 'node:assert/strict'
import test from 'node:test'
import { thisHost } from '../../src/admin/host.ts'

test('the environment has the keys of ZooKeeper, in its order, each with a value on one line', () => {
  const entries = thisHost.environment()
  assert.deepEqual(
    entries.map(([key]) => key),
    [
      'host.name',
      'java.version',
      'java.vendor',
      'java.home',
      'java.class.path',
      'java.library.path',
      'java.io.tmpdir',
      'java.compiler',
      'os.name',
      'os.arch',
      'os.version',
      'user.name',
      'user.home',
      'user.dir',
      'os.memory.free',
      'os.memory.max',
      'os.memory.total',
    ],
  )
  for (const [key, value] of entries) assert.match(value, /^[^\r\n]+$/, key)
})

test('the environment tells of this process', () => {
  const environment = new Map(thisHost.environment())
  assert.equal(environment.get('java.version'), process.version)
  assert.equal(environment.get('user.dir'), process.cwd())
  assert.match(environment.get('os.memory.max') ?? '', /^\d+MB$/)
})

test('file descriptors are counted where the system tells, else -1', () => {
  const open = thisHost.openFiles()
  const max = thisHost.maxFiles()
  if (process.platform === 'linux') {
    assert.ok(open >= 3, `${open} open`)
    assert.ok(max === -1 || max > open, `${open} of ${max}`)
  } else {
    assert.ok(open === -1 || open >= 3)
    assert.ok(max === -1 || max > 0)
  }
})

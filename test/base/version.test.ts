import assert from 'node:assert/strict'
import test from 'node:test'
import { buildDate, fullVersion, version, zabdVersion } from '../../src/base/version.ts'

test('the version starts with the ZooKeeper release that is spoken, as tools parse it', () => {
  assert.match(zabdVersion(), /^\d+\.\d+\.\d+/)
  assert.equal(version(), `3.9.4-zabd-${zabdVersion()}`)
  assert.match(fullVersion(), /^3\.9\.4-zabd-\S+, built on \d{4}-\d\d-\d\d \d\d:\d\d UTC$/)
})

test('the build date is the time of the built file', () => {
  assert.equal(buildDate(Date.UTC(2026, 10, 22, 20, 10, 59)), '2026-11-22 20:10 UTC')
})

test("a time that a package manager has made up is replaced by the release's", () => {
  const npmTime = Date.UTC(1985, 9, 26, 8, 15)
  assert.match(buildDate(npmTime), /^20[2-9]\d-\d\d-\d\d \d\d:\d\d UTC$/)
})

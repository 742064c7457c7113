import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Code, codeName, ZkError } from '../../src/base/errors.ts'

test('each code has its own number and its name', () => {
  const codes = Object.entries(Code)
  assert.equal(new Set(codes.map(([, code]) => code)).size, codes.length)
  for (const [name, code] of codes) assert.equal(codeName(code), name)
})

test('an unknown code is named by its number', () => {
  assert.equal(codeName(-99), 'code -99')
})

test('a ZkError carries its code', () => {
  const error = new ZkError(Code.noNode, 'nothing at /a')
  assert.ok(error instanceof Error)
  assert.deepEqual([error.name, error.code, error.message], ['ZkError', -101, 'nothing at /a'])
})

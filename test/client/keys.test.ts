import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Dice, Keys, noise } from '../../src/client/keys.ts'

const text = (keys: Keys, number: number) => Buffer.from(keys.path(number)).toString()

test('few keys are right below the root', () => {
  const keys = new Keys('/a/b', 1000)
  assert.equal(keys.directories, 0)
  assert.deepEqual([text(keys, 0), text(keys, 999)], ['/a/b/k000000000', '/a/b/k000000999'])
})

test('many keys are in directories of a thousand', () => {
  const keys = new Keys('/ä', 5_000_001)
  assert.equal(keys.directories, 5001)
  assert.equal(keys.directory(12), '/ä/d000012')
  assert.deepEqual(
    [text(keys, 12_345), text(keys, 0), text(keys, 5_000_000)],
    ['/ä/d000012/k000012345', '/ä/d000000/k000000000', '/ä/d005000/k005000000'],
  )
})

test('dice stay below their limit, show every side, and repeat themselves for the same seed', () => {
  const seen = [0, 0, 0, 0, 0, 0, 0]
  const dice = new Dice(7)
  for (let i = 0; i < 7000; i++) seen[dice.below(7)]!++
  assert.equal(seen.length, 7)
  for (const count of seen) assert.ok(count > 800 && count < 1200, `${seen}`)
  assert.deepEqual(noise(50, 3), noise(50, 3))
  assert.notDeepEqual(noise(50, 3), noise(50, 4))
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ChurnMap } from '../../src/base/churn-map.ts'

test('a churn map answers as a Map does', () => {
  const step = fc.record({ op: fc.constantFrom('set', 'delete'), key: fc.nat(20), value: fc.nat(9) })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200, size: 'max' }), (steps) => {
      const real = new ChurnMap<number, number>()
      const model = new Map<number, number>()
      for (const { op, key, value } of steps) {
        if (op === 'set') {
          real.set(key, value)
          model.set(key, value)
        } else assert.equal(real.delete(key), model.delete(key))
        assert.equal(real.size, model.size)
        assert.equal(real.get(key), model.get(key))
        assert.equal(real.has(key), model.has(key))
      }
      assert.deepEqual(new Map(real.entries()), model)
      assert.deepEqual(new Set(real.keys()), new Set(model.keys()))
    }),
  )
})

test('deleted keys are thrown out once they outnumber the rest, and can come back', () => {
  const map = new ChurnMap<string, number>()
  for (let i = 0; i < 5000; i++) map.set(`k${i}`, i)
  for (let i = 0; i < 4990; i++) assert.equal(map.delete(`k${i}`), true)
  assert.equal(map.size, 10)
  assert.deepEqual(
    [...map.keys()],
    Array.from({ length: 10 }, (_, i) => `k${4990 + i}`),
  )
  assert.equal(map.get('k1'), undefined)
  map.set('k1', 7)
  assert.equal(map.get('k1'), 7)
  assert.equal(map.size, 11)
})

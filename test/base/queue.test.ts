import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Queue } from '../../src/base/queue.ts'

test('a queue answers as an array does', () => {
  const step = fc.record({ op: fc.constantFrom('push', 'push', 'shift', 'pop', 'clear'), many: fc.nat(3000) })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30, size: 'max' }), (steps) => {
      const real = new Queue<{ n: number }>()
      const model: { n: number }[] = []
      let next = 0
      for (const { op, many } of steps) {
        if (op === 'clear') {
          real.clear()
          model.length = 0
        }
        for (let i = 0; op !== 'clear' && i < many; i++) {
          if (op === 'push') {
            const item = { n: next++ }
            real.push(item)
            model.push(item)
          } else assert.equal(real[op](), model[op]())
          assert.equal(real.length, model.length)
          assert.equal(real.first, model[0])
          assert.equal(real.last, model.at(-1))
        }
        assert.deepEqual([...real], model)
      }
    }),
    { numRuns: 30 },
  )
})

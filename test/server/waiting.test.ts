// Requests that wait behind a connection's writes come out as they went in, whatever comes and goes in between.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Reader } from '../../src/jute/reader.ts'
import { WaitingRequests } from '../../src/server/waiting.ts'

type Request = {
  readonly frame: Buffer
  readonly behind: number
  readonly arrived: number
  readonly err: number
}

function add(waiting: WaitingRequests, { frame, behind, arrived, err }: Request): void {
  const around = Buffer.concat([Buffer.from('<<'), frame, Buffer.from('>')])
  waiting.add(around, 2, 2 + frame.length, behind, arrived, err)
  // It was copied: the chunk's memory serves the next read.
  around.fill(0xee)
}

function take(waiting: WaitingRequests, reader: Reader): Request {
  const { behind, arrived, err } = waiting
  waiting.take(reader)
  const frame = Buffer.from(reader.buf.subarray(reader.pos, reader.end))
  const first = frame.length >= 4 ? frame.readInt32BE() : undefined
  if (first !== undefined) assert.equal(reader.int(), first)
  return { frame, behind, arrived, err }
}

const request = fc.record(
  {
    frame: fc
      .tuple(fc.integer({ min: 0, max: 255 }), fc.oneof(fc.nat(300), fc.nat(9000)))
      .map(([byte, length]) => Buffer.from(Array.from({ length }, (_, i) => (byte + i) & 255))),
    behind: fc.integer({ min: 0, max: 2 ** 52 }),
    arrived: fc.double({ min: 0, max: 1e9, noNaN: true }),
    err: fc.constantFrom(0, -6, -110),
  },
  { noNullPrototype: true },
)

test('they come out in order, each as it was', () => {
  const action = fc.oneof({ weight: 3, arbitrary: request }, { weight: 2, arbitrary: fc.constant(undefined) })
  fc.assert(
    fc.property(fc.array(action, { maxLength: 120 }), (actions) => {
      const waiting = new WaitingRequests()
      const reader = new Reader()
      const model: Request[] = []
      for (const action of actions) {
        if (action !== undefined) {
          add(waiting, action)
          model.push(action)
        } else if (model.length > 0) {
          assert.deepEqual(take(waiting, reader), model.shift())
          waiting.release()
        }
        assert.equal(waiting.count, model.length)
        assert.equal(
          waiting.frameBytes,
          model.reduce((sum, { frame }) => sum + frame.length, 0),
        )
        assert.equal(waiting.behind, model[0]?.behind ?? Number.POSITIVE_INFINITY)
      }
      waiting.clear()
    }),
  )
})

test('what was taken stays readable until it is released, also if it was the last', () => {
  const waiting = new WaitingRequests()
  const other = new WaitingRequests()
  const reader = new Reader()
  const one = { frame: Buffer.from('first'), behind: 1, arrived: 2, err: 0 }
  add(waiting, one)
  waiting.take(reader)
  add(other, { ...one, frame: Buffer.from('other') })
  assert.equal(reader.buf.toString('latin1', reader.pos, reader.end), 'first')
  waiting.release()
  other.clear()
})

test('a queue that never runs empty does not grow', () => {
  const waiting = new WaitingRequests()
  const reader = new Reader()
  const frame = Buffer.alloc(500, 1)
  add(waiting, { frame, behind: 0, arrived: 0, err: 0 })
  for (let i = 1; i < 5000; i++) {
    add(waiting, { frame, behind: i, arrived: i, err: 0 })
    assert.equal(waiting.behind, i - 1)
    waiting.take(reader)
  }
  assert.ok(reader.buf.length <= 16 << 10, `${reader.buf.length} bytes for two requests`)
})

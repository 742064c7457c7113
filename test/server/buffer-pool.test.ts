// Buffers are used again, and what is kept of them is bounded.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Writer } from '../../src/jute/writer.ts'
import { BufferPool } from '../../src/server/buffer-pool.ts'

test('a buffer that is given back is empty and serves again', () => {
  const pool = new BufferPool()
  const out = pool.take()
  out.int(7)
  assert.notEqual(pool.take(), out)
  pool.give(out)
  const again = pool.take()
  assert.equal(again, out)
  assert.equal(again.pos, 0)
})

test('a very long reply leaves nothing behind', () => {
  const pool = new BufferPool()
  const out = pool.take()
  out.ensure(1 << 20)
  pool.give(out)
  assert.notEqual(pool.take(), out)
})

test('no more than 4 MiB are kept', () => {
  const pool = new BufferPool()
  const taken: Writer[] = []
  for (let i = 0; i < 200; i++) {
    const out = pool.take()
    out.ensure(60 << 10)
    taken.push(out)
  }
  for (const out of taken) pool.give(out)
  const known = new Set(taken)
  let kept = 0
  for (let out = pool.take(); known.has(out); out = pool.take()) kept += out.buf.length
  assert.ok(kept > 3 << 20 && kept <= 4 << 20, `${kept} bytes were kept`)
})

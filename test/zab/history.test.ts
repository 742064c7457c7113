// The history's bookkeeping: points, cutting, trimming, and the cache of the newest entries.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { InvariantError } from '../../src/base/assert.ts'
import {
  becomeDurable,
  cachedAfter,
  createHistory,
  cut,
  endOf,
  type History,
  hasPoint,
  pointAtOrBelow,
  pushEntry,
  replace,
  trim,
} from '../../src/zab/history.ts'
import type { Entry } from '../../src/zab/types.ts'

/** Ends at 10, 20, 30, 40, durable up to 20; the last two are 10 bytes each. */
function sample(cacheBytes = 100_000): History {
  const history = createHistory(0, [10, 20], cacheBytes)
  push(history, 30)
  push(history, 40)
  return history
}

function push(history: History, last: number): void {
  pushEntry(history, { prev: endOf(history), first: endOf(history) + 1, last, bytes: new Uint8Array(10) })
}

describe('a history', () => {
  it('is durable up to where the log ends, when it comes from the log', () => {
    const history = sample()
    assert.equal(history.durable, 20)
    assert.equal(endOf(history), 40)
  })

  it('knows where entries end', () => {
    const history = sample()
    assert.deepEqual(
      [0, 9, 10, 25, 99].map((zxid) => pointAtOrBelow(history, zxid)),
      [0, 0, 10, 20, 40],
    )
    assert.deepEqual(
      [0, 10, 15, 40].map((zxid) => hasPoint(history, zxid)),
      [true, true, false, true],
    )
  })

  it('knows nothing of what was trimmed but where that ends', () => {
    const history = sample()
    trim(history, 20)
    assert.deepEqual(
      [19, 20, 29].map((zxid) => pointAtOrBelow(history, zxid)),
      [undefined, 20, 20],
    )
  })

  it('takes only what follows its end', () => {
    const history = sample()
    const entry = { prev: 30, first: 41, last: 50, bytes: new Uint8Array() }
    assert.throws(() => pushEntry(history, entry), InvariantError)
  })

  it('can be cut where an entry ends, and is then durable at most up to there', () => {
    const history = sample()
    assert.throws(() => cut(history, 15), InvariantError)
    cut(history, 10)
    assert.deepEqual([endOf(history), history.durable, history.recent.length], [10, 10, 0])
  })

  it('can be trimmed only where a durable entry ends', () => {
    assert.throws(() => trim(sample(), 30), InvariantError)
    assert.throws(() => trim(sample(), 15), InvariantError)
  })

  it('is nothing but the snapshot once that has replaced it', () => {
    const history = sample()
    replace(history, 35, undefined)
    assert.deepEqual([endOf(history), history.durable, history.trimmedTo], [35, 35, 35])
  })

  it('has its newest entries at hand, at least one of them however little is asked for', () => {
    const history = sample()
    assert.deepEqual(
      cachedAfter(history, 20, 1)?.map(({ last }) => last),
      [30],
    )
    assert.deepEqual(
      cachedAfter(history, 20, 20)?.map(({ last }) => last),
      [30, 40],
    )
    assert.equal(cachedAfter(history, 10, 1000), undefined)
    assert.equal(cachedAfter(history, 40, 1000), undefined)
  })

  it('keeps no more at hand than it may, but always what is not durable', () => {
    const history = sample(25)
    push(history, 50)
    const firstOf = (after: number) => cachedAfter(history, after, 1)?.[0]?.last
    assert.deepEqual([20, 30, 40].map(firstOf), [30, 40, 50])
    becomeDurable(history, 50)
    assert.deepEqual([20, 30, 40].map(firstOf), [undefined, 40, 50])
    push(history, 60)
    push(history, 70)
    push(history, 80)
    assert.deepEqual([20, 30, 40, 50, 60, 70].map(firstOf), [undefined, 40, 50, 60, 70, 80])
  })

  it('has what is durable at hand as it came, whatever was cut meanwhile', () => {
    for (const cacheBytes of [60, 1000, 100_000]) {
      const history = createHistory(0, [], cacheBytes)
      const entries: Entry[] = []
      const put = (byte: number, length: number) => {
        const prev = endOf(history)
        const voting = byte % 3 === 0 ? { voting: { voters: [byte], groups: [], weights: [] } } : {}
        const bytes = new Uint8Array(length).fill(byte)
        entries.push({ prev, first: prev + 2, last: prev + 5, bytes, ...voting })
        pushEntry(history, entries.at(-1)!)
      }
      const given: Entry[][] = []
      for (let i = 0; i < 40; i++) {
        put(i, (i * 7) % 50)
        if (i % 3 !== 2) becomeDurable(history, endOf(history))
        if (i % 11 === 10) {
          cut(history, entries.at(-4)!.last)
          entries.splice(-3)
        }
        // As a learner is sent them: piece by piece from the oldest that is at hand.
        const from = entries.findIndex(({ prev }) => cachedAfter(history, prev, 1) !== undefined)
        let at = entries[from]?.prev
        const seen: Entry[] = []
        while (at !== undefined && at < endOf(history)) {
          const piece = cachedAfter(history, at, 100)
          assert.ok(piece !== undefined && piece.length > 0)
          seen.push(...piece)
          at = piece.at(-1)!.last
        }
        assert.deepEqual(seen, from < 0 ? [] : entries.slice(from))
        given.push(structuredClone(seen), seen)
        if (cacheBytes === 100_000) assert.equal(from, 0)
      }
      for (let i = 0; i < given.length; i += 2) assert.deepEqual(given[i + 1], given[i])
    }
  })
})

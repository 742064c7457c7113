import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createHistogram, mean, merge, quantile, record } from '../../src/client/histogram.ts'

const quantiles = [0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 1]

/** Values from 0.1 us to 100 s, each a little larger than the one before. */
function values(): number[] {
  return Array.from({ length: 5000 }, (_, i) => 0.1 * 10 ** ((i / 5000) * 9))
}

test('a quantile is within 0.8 % of the exact one, over nine decades', () => {
  const histogram = createHistogram()
  const all = values()
  for (const value of all.toReversed()) record(histogram, value)
  for (const q of quantiles) {
    const exact = all[Math.max(0, Math.ceil(q * all.length) - 1)]!
    const seen = quantile(histogram, q)
    // Below 16 us a bucket is a sixteenth of a microsecond.
    const tolerance = Math.max(0.008 * exact, 1 / 16)
    assert.ok(Math.abs(seen - exact) <= tolerance, `quantile ${q}: ${seen} instead of ${exact}`)
  }
})

test('count, sum and maximum are exact; a value beyond the last bucket is counted', () => {
  const histogram = createHistogram()
  for (const value of [3, 1e12, 5, -1]) record(histogram, value)
  assert.deepEqual([histogram.count, histogram.maxUs, mean(histogram)], [4, 1e12, (7 + 1e12) / 4])
  assert.equal(quantile(histogram, 0.25), 0)
})

test('an empty histogram has zeros', () => {
  const histogram = createHistogram()
  assert.deepEqual([quantile(histogram, 0.5), mean(histogram), histogram.maxUs], [0, 0, 0])
})

test('two histograms merge into what one would have seen, also after a copy between threads', () => {
  const one = createHistogram()
  const halves = [createHistogram(), createHistogram()] as const
  for (const [i, value] of values().entries()) {
    record(one, value)
    record(halves[i % 2]!, value)
  }
  merge(halves[0], structuredClone(halves[1]))
  assert.deepEqual(halves[0].counts, one.counts)
  assert.deepEqual([halves[0].count, halves[0].maxUs], [one.count, one.maxUs])
})

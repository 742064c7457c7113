// A histogram of latencies in log-linear buckets: a fixed few KiB however many values it has seen, no garbage, and an
// error below 0.8 %. Plain data, so that it passes between threads.

/** Buckets per power of two; also where buckets of one unit each end. */
const linear = 128
const linearBits = 7
/** The unit of the buckets is 1/16 us. Larger values than this one (134 s) count into the last bucket. */
const unitsPerUs = 16
const maxUnits = 2 ** 31 - 1
const buckets = (31 - linearBits) * linear + linear

/** Make with `createHistogram`, change with `record` and `merge`. */
export type Histogram = {
  readonly counts: Float64Array
  count: number
  sumUs: number
  /** Exact. */
  maxUs: number
}

export function createHistogram(): Histogram {
  return { counts: new Float64Array(buckets), count: 0, sumUs: 0, maxUs: 0 }
}

/** Counts one value in microseconds; negative ones count as 0. */
export function record(histogram: Histogram, us: number): void {
  const units = us <= 0 ? 0 : us * unitsPerUs > maxUnits ? maxUnits : Math.trunc(us * unitsPerUs)
  const bucket = bucketOf(units)
  histogram.counts[bucket] = (histogram.counts[bucket] as number) + 1
  histogram.count++
  histogram.sumUs += us
  if (us > histogram.maxUs) histogram.maxUs = us
}

/** Adds what `from` has counted to `into`. */
export function merge(into: Histogram, from: Histogram): void {
  for (let i = 0; i < buckets; i++) into.counts[i] = (into.counts[i] as number) + (from.counts[i] as number)
  into.count += from.count
  into.sumUs += from.sumUs
  into.maxUs = Math.max(into.maxUs, from.maxUs)
}

/** The value in microseconds that the share `q` (0 to 1) of all values does not exceed; 0 if there are none. */
export function quantile(histogram: Histogram, q: number): number {
  const wanted = Math.max(1, Math.ceil(q * histogram.count))
  let seen = 0
  for (let i = 0; i < buckets; i++) {
    seen += histogram.counts[i] as number
    if (seen >= wanted) return Math.min(histogram.maxUs, middleOf(i) / unitsPerUs)
  }
  return histogram.maxUs
}

export function mean({ sumUs, count }: Histogram): number {
  return count === 0 ? 0 : sumUs / count
}

function bucketOf(units: number): number {
  if (units < 2 * linear) return units
  const shift = 31 - linearBits - Math.clz32(units)
  return shift * linear + (units >>> shift)
}

function middleOf(bucket: number): number {
  if (bucket < 2 * linear) return bucket
  const shift = Math.floor(bucket / linear) - 1
  const start = (bucket - shift * linear) * 2 ** shift
  return start + 2 ** shift / 2
}

// Keeps V8's young generation small. V8 doubles it whenever about as much has survived collections as it has room for, up to
// 16 MiB and as much again to copy into, and gives that back only when it marks the heap next. A server has little of it: what
// lives long is outside of V8's heap for the most part. Measured on Node.js 20 and two cores: loading is no faster with more
// than V8 begins with (1 MiB), serving is no faster with more than 4, and with less pipelined reads are a tenth slower.
import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8'

/** V8's own. */
const growthFactor = 2
/** What it may have, with the room to copy into. */
const bytesMax = 4 << 20
/** How often it is looked at while it may grow: it can have doubled several times by then, where very much survives. */
const lookMs = 250

/**
 * From now on it does not grow; after a call of what is given back, up to `bytesMax`. It is collected by one thread: a collection
 * that helpers take part in waits until each of them has had a processor, which took up to 170 ms on two that were busy.
 */
export function holdYoungGeneration(): () => void {
  setFlagsFromString('--no-parallel-scavenge')
  growBy(1)
  const look = () => growBy(youngBytes() < bytesMax ? growthFactor : 1)
  let isLooking = false
  return () => {
    if (isLooking) return
    isLooking = true
    look()
    setInterval(look, lookMs).unref()
  }
}

function growBy(factor: number): void {
  setFlagsFromString(`--semi-space-growth-factor=${factor}`)
}

function youngBytes(): number {
  return getHeapSpaceStatistics().find((space) => space.space_name === 'new_space')?.space_size ?? 0
}

// How fast the log is on this disk: what a lone append costs, and what appends with more entries in one sync give.
// Usage: node dist/bench/log.js [directory] (default: the system's temporary directory)
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openStorage } from '../src/storage/open.ts'
import type { Storage } from '../src/storage/types.ts'
import type { Entry } from '../src/zab/types.ts'

const entryBytes = 200
const roundMs = 1500

/** Appends batches of `size` entries, one after another, for some time. */
async function appends(storage: Storage, size: number, bytes: number): Promise<void> {
  const { log } = storage
  const body = noise(bytes, size)
  const times: number[] = []
  const end = performance.now() + roundMs
  const cpu = process.cpuUsage()
  while (performance.now() < end) {
    const entries: Entry[] = []
    for (let i = 0, prev = log.lastZxid; i < size; i++, prev++) {
      entries.push({ prev, first: prev + 1, last: prev + 1, bytes: body })
    }
    const begin = performance.now()
    await log.append(entries)
    times.push(performance.now() - begin)
  }
  const { user, system } = process.cpuUsage(cpu)
  const wallMs = times.reduce((sum, time) => sum + time, 0)
  const count = times.length * size
  console.log(
    [
      `${size} x ${bytes} B`.padEnd(16),
      `${Math.round((times.length / wallMs) * 1000)} appends/s`.padStart(16),
      `${Math.round((count / wallMs) * 1000)} entries/s`.padStart(18),
      `p50 ${quantile(times, 0.5).toFixed(2)} ms`.padStart(14),
      `p99 ${quantile(times, 0.99).toFixed(2)} ms`.padStart(14),
      `max ${quantile(times, 1).toFixed(1)} ms`.padStart(14),
      `cpu ${((user + system) / count).toFixed(1)} us/entry`.padStart(20),
    ].join(''),
  )
}

/** Reads the whole log. */
async function readBack({ log }: Storage): Promise<void> {
  const begin = performance.now()
  let count = 0
  let bytes = 0
  for await (const entry of log.read(0)) {
    count++
    bytes += entry.bytes.length
  }
  const seconds = (performance.now() - begin) / 1000
  console.log(
    `read ${count} entries, ${(bytes / 1e6).toFixed(0)} MB: ${seconds.toFixed(2)} s, ` +
      `${Math.round(count / seconds)} entries/s`,
  )
}

function quantile(times: readonly number[], q: number): number {
  const sorted = [...times].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN
}

/** Bytes that do not compress. */
function noise(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length)
  let x = seed
  for (let i = 0; i < length; i++) {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0
    bytes[i] = x >>> 24
  }
  return bytes
}

const dir = await mkdtemp(join(process.argv[2] ?? tmpdir(), 'zabd-bench-'))
try {
  for (const sync of [true, false]) {
    const own = join(dir, `sync-${sync}`)
    const storage = await openStorage({ dataDir: own, logDir: own, sync })
    console.log(sync ? 'synced appends' : 'appends without sync')
    for (const size of [1, 10, 100, 1000]) await appends(storage, size, entryBytes)
    await appends(storage, 1, 20_000)
    await readBack(storage)
    console.log(`${((await storage.logDirBytes()) / 1e6).toFixed(0)} MB log`)
    const begin = performance.now()
    await storage.close()
    console.log(`close ${(performance.now() - begin).toFixed(0)} ms`)
  }
} finally {
  await rm(dir, { recursive: true, force: true })
}

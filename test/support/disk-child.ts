// A process that uses a data directory until it is killed; started by fork with the arguments mode and directory.
// 'append' appends in a loop, with saved epochs, trims and checkpoints in between, and tells the parent what is durable;
// 'hold' only opens the directory and says so.
import { openStorage } from '../../src/storage/open.ts'
import type { Storage } from '../../src/storage/types.ts'
import type { Entry } from '../../src/zab/types.ts'

/** What the child tells its parent. */
export type ChildReport =
  | { readonly type: 'open' }
  | { readonly type: 'durable'; readonly zxid: number }
  | { readonly type: 'epoch'; readonly epoch: number }
  | { readonly type: 'checkpoint'; readonly zxid: number }

/**
 * The only entry that the child ever appends after `prev`: what is found can be compared with what must be there. About
 * every fifth is a reconfiguration.
 */
export function entryOf(prev: number): Entry {
  const size = 1 + (prev % 3)
  const bytes = Buffer.alloc(1 + ((prev * 2654435761) % 3000), `entry after ${prev};`)
  const entry = { prev, first: prev + 1, last: prev + size, bytes }
  if (size > 1 || prev % 5 !== 0) return entry
  return { ...entry, voting: { voters: [1, 2 + (prev % 200)], groups: [], weights: [[1, prev]] } }
}

/** A checkpoint has 100 small records, and so many of this size. */
export const largeRecords = 8
export const largeBytes = 200_000

function report(message: ChildReport): void {
  process.send?.(message)
}

async function appendForever({ log, checkpoint }: Storage): Promise<void> {
  const ends: number[] = []
  for (let round = 1; ; round++) {
    const entries: Entry[] = []
    let last = log.lastZxid
    for (let i = 0; i < 1 + (round % 4); i++) {
      const entry = entryOf(last)
      entries.push(entry)
      last = entry.last
      ends.push(last)
    }
    await log.append(entries)
    report({ type: 'durable', zxid: last })
    if (round % 7 === 0) {
      await log.saveEpochs({ accepted: log.epochs.accepted + 1, current: log.epochs.accepted })
      report({ type: 'epoch', epoch: log.epochs.accepted })
    }
    if (round % 11 === 0) {
      const sink = checkpoint.begin({ replace: round % 22 === 0 })
      for (let i = 0; i < 100; i++) sink.put(Buffer.from(`k${i}`), Buffer.from(`${last}`))
      // New keys, which are written before the commit, in several pieces; those of the checkpoint before go.
      const name = (zxid: number, i: number) => Buffer.from(`z${String(zxid).padStart(16, '0')}-${i}`)
      const before = checkpoint.meta?.zxid ?? 0
      for (let i = 0; i < largeRecords; i++) {
        sink.put(name(last, i), Buffer.alloc(largeBytes, `${last} `))
        sink.del(name(before, i))
      }
      await checkpoint.commit({
        zxid: last,
        nodes: 100 + largeRecords,
        digestHigh: 0,
        digestLow: 0,
        state: null,
      })
      report({ type: 'checkpoint', zxid: last })
      await log.trim(ends.findLast((end) => end <= last - 50) ?? 0)
    }
  }
}

const [mode, dir] = process.argv.slice(2)
if (process.send !== undefined && dir !== undefined) {
  const storage = await openStorage({ dataDir: dir, logDir: dir, segmentBytes: 20_000 })
  await storage.checkpoint.load(() => {})
  report({ type: 'open' })
  if (mode === 'append') await appendForever(storage)
  else setInterval(() => {}, 1000)
}

import assert from 'node:assert/strict'
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { describe, it, type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { VotingAt } from '../../src/zab/types.ts'
import { type ChildReport, entryOf, largeBytes } from '../support/disk-child.ts'
import { openIn, rejectsWith, scratchDir } from '../support/disk-scratch.ts'

const childFile = fileURLToPath(new URL('../support/disk-child.js', import.meta.url))

describe('a process that is killed', () => {
  it('has in its log exactly a prefix of what it appended, with all that was reported durable', async (t) => {
    const dir = await scratchDir(t)
    const seen: Seen = { durable: 0, epoch: 0, checkpoint: 0 }
    // When to kill: after so many reports, which falls into the middle of the next write.
    for (const reports of [1, 40, 3, 90, 150, 17, 60]) {
      await runAndKill(t, dir, reports, seen)
      const storage = await openIn(t, dir)
      const { log, checkpoint } = storage
      assert.ok(log.lastZxid >= seen.durable, `${log.lastZxid} is below ${seen.durable}`)
      assert.ok(log.epochs.accepted >= seen.epoch)
      assert.ok((checkpoint.meta?.zxid ?? 0) >= seen.checkpoint)
      let at = log.trimmedTo
      const lasts: number[] = []
      for await (const entry of log.read(log.trimmedTo)) {
        assert.deepEqual({ ...entry, bytes: Buffer.from(entry.bytes) }, entryOf(at))
        at = entry.last
        lasts.push(at)
      }
      assert.equal(at, log.lastZxid)
      assert.deepEqual(await log.index(), { lasts, votings: votingsUpTo(log.lastZxid, log.trimmedTo) })
      let records = 0
      await checkpoint.load((_key, value) => {
        const text = `${checkpoint.meta?.zxid}`
        const expected = value.length < 100 ? Buffer.from(text) : Buffer.alloc(largeBytes, `${text} `)
        assert.ok(expected.equals(value), text)
        records++
      })
      assert.equal(records, checkpoint.meta?.nodes ?? 0)
      await storage.close()
    }
  })

  it('keeps others out of its directory while it lives, and not after', async (t) => {
    const dir = await scratchDir(t)
    const child = start(t, 'hold', dir)
    await nextReport(child)
    await rejectsWith(openIn(t, dir), 'locked')
    child.kill('SIGKILL')
    await once(child, 'exit')
    await openIn(t, dir)
  })
})

/** The votings that a log must tell of that the child has appended up to `lastZxid` and trimmed to `trimmedTo`. */
function votingsUpTo(lastZxid: number, trimmedTo: number): VotingAt[] {
  const votings: VotingAt[] = []
  let at = 0
  while (at < lastZxid) {
    const { last, voting } = entryOf(at)
    at = last
    if (voting === undefined) continue
    if (last <= trimmedTo) votings.length = 0
    votings.push({ zxid: last, voting })
  }
  return votings
}

type Seen = { durable: number; epoch: number; checkpoint: number }

/** Runs a child until it has reported so often, and notes in `seen` what it said. */
async function runAndKill(t: TestContext, dir: string, reports: number, seen: Seen): Promise<void> {
  const child = start(t, 'append', dir)
  let count = 0
  // Reports that are still on their way when the child is killed count as well: they were durable.
  child.on('message', (message: ChildReport) => {
    if (message.type === 'durable') seen.durable = message.zxid
    else if (message.type === 'epoch') seen.epoch = message.epoch
    else if (message.type === 'checkpoint') seen.checkpoint = message.zxid
    if (++count === reports + 1) child.kill('SIGKILL')
  })
  await once(child, 'close')
  assert.ok(count > reports, 'the child ended by itself')
}

function start(t: TestContext, mode: string, dir: string): ChildProcess {
  const child = fork(childFile, [mode, dir])
  t.after(() => child.kill('SIGKILL'))
  return child
}

async function nextReport(child: ChildProcess): Promise<void> {
  await once(child, 'message')
}

// The simulator of whole servers within `npm test`: a few seeds that are always the same, one that nobody has tried, and
// some bugs put into the servers on purpose. `node dist/sim/whole/main.js --seeds N` runs as many as there is time for.
import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { createPrng } from '../../sim/prng.ts'
import { Schedule } from '../../sim/schedule.ts'
import { SimDisk } from '../../sim/whole/disk.ts'
import { runEvents, settled } from '../../sim/whole/loop.ts'
import { runSeeds } from '../../sim/whole/many.ts'
import { hunt } from '../../sim/whole/mutants.ts'
import { mutations } from '../../sim/whole/mutations.ts'
import { type RunResult, run } from '../../sim/whole/run.ts'
import type { Entry } from '../../src/zab/types.ts'
import { entriesAfter, type LogUnderTest, logConformance } from '../support/log-conformance.ts'

const steps = 8000

async function runSeed(seed: number): Promise<void> {
  const { failure } = await run({ seed, steps })
  const replay = `node dist/sim/whole/main.js --seed ${seed} --steps ${steps} --trace`
  assert.equal(failure, undefined, `${failure}\nreplay: ${replay}`)
}

describe('servers under faults keep what they promise to clients, and recover', () => {
  for (const seed of [1, 2, 3, 4, 5, 6]) it(`with seed ${seed}`, () => runSeed(seed))

  it('with a seed that nobody has tried', async (t) => {
    const seed = 1e6 + Math.floor(Math.random() * 1e9)
    t.diagnostic(`seed ${seed}`)
    await runSeed(seed)
  })
})

describe('the simulator of whole servers', () => {
  it('does the same again with the same seed', async () => {
    const traceOf = async (seed: number) => {
      const lines: string[] = []
      await run({ seed, steps: 1500, trace: (line) => lines.push(line) })
      return lines
    }
    assert.deepEqual(await traceOf(3), await traceOf(3))
    assert.notDeepEqual(await traceOf(3), await traceOf(4))
  })

  it('does the same in a worker', async () => {
    const [seed, steps] = [8, 1500]
    const results: RunResult[] = []
    const onResult = (result: RunResult) => results.push(result) > 0
    await runSeeds({ from: seed, count: 1, steps, workers: 1, onResult })
    assert.deepEqual(results, [await run({ seed, steps })])
  })

  for (const name of [
    'signs of life not forwarded',
    'watch event behind the reply',
    'apply depends on who serves the client',
  ]) {
    it(`finds: ${name}`, async () => {
      const mutation = mutations.find((one) => one.name === name)
      assert.ok(mutation !== undefined)
      const { failure } = await hunt(mutation, 20, steps)
      assert.notEqual(failure, undefined)
    })
  }
})

/** A disk whose virtual time passes as fast as it can. */
function runningDisk(t: TestContext, seed = 1) {
  let over = false
  const schedule = new Schedule()
  const watcher = { offered: () => undefined, appended: () => undefined, epochsSaved: () => undefined }
  const disk = new SimDisk(schedule, createPrng(seed), { syncMs: 5, epochMs: 5 }, watcher)
  const pump = async () => {
    while (!over) {
      if (!schedule.runNext()) await new Promise((resolve) => setImmediate(resolve))
      await settled()
    }
  }
  void pump()
  t.after(() => {
    over = true
  })
  const mount = () => {
    const life = { alive: true }
    const enter = (action: () => void) => {
      if (life.alive) action()
    }
    return { life, storage: disk.mount(enter, () => life.alive) }
  }
  return { disk, schedule, mount }
}

logConformance('a simulated disk', (t) => {
  const { mount } = runningDisk(t)
  let { storage, life } = mount()
  const store: LogUnderTest = {
    log: storage.log,
    async checkpointAt(zxid) {
      storage.checkpoint.begin()
      await storage.checkpoint.commit({ zxid, nodes: 0, digestHigh: 0, digestLow: 0, state: null })
    },
    async install(zxid, voting) {
      storage.checkpoint.begin({ replace: true })
      await storage.install({ zxid, nodes: 0, digestHigh: 0, digestLow: 0, state: null }, voting)
    },
    async restart() {
      await storage.close()
      life.alive = false
      ;({ storage, life } = mount())
      store.log = storage.log
    },
  }
  return Promise.resolve(store)
})

describe('a run of events', () => {
  /** Adds to `told` in the last of so many promise continuations. */
  async function later(told: string[], what: string, continuations: number): Promise<void> {
    for (let i = 0; i < continuations; i++) await Promise.resolve()
    told.push(what)
  }

  it('has an event end, with all promise continuations that it led to, before the next one begins', async () => {
    const told: string[] = []
    const events = ['first', 'second', 'third']
    const next = () => {
      const event = events.shift()
      if (event !== undefined) void later(told, event, 100)
      return event !== undefined
    }
    await runEvents(next, () => told.push('after'))
    assert.deepEqual(told, ['first', 'after', 'second', 'after', 'third', 'after'])
  })

  it('ends at once with what an event or the look at it throws', async () => {
    let events = 0
    const bad = () => {
      throw new Error('broken')
    }
    await assert.rejects(runEvents(bad, assert.fail), /broken/)
    await assert.rejects(
      runEvents(() => ++events > 0, bad),
      /broken/,
    )
    assert.equal(events, 1)
  })
})

describe('a simulated disk', () => {
  it('keeps at a crash what was durable, and of an append under way a first part or nothing', async (t) => {
    const seen = new Set<number>()
    for (let round = 0; round < 20; round++) {
      const { disk, mount } = runningDisk(t, round)
      const { storage, life } = mount()
      const entries: Entry[] = entriesAfter(0, [1, 1, 1, 1])
      await storage.log.append(entries.slice(0, 1))
      void storage.log.append(entries.slice(1))
      life.alive = false
      disk.crash()
      seen.add(disk.end)
      assert.ok(disk.end >= 1 && disk.end <= 4)
    }
    assert.ok(seen.size > 1)
  })

  it('fails while it is full, and works again when it was opened again', async (t) => {
    const { disk, mount } = runningDisk(t)
    const { storage } = mount()
    const [first, second] = entriesAfter(0, [1, 1])
    assert.ok(first !== undefined && second !== undefined)
    await storage.log.append([first])
    disk.full = true
    await assert.rejects(storage.log.append([second]), { kind: 'full' })
    await assert.rejects(storage.log.saveEpochs({ accepted: 1, current: 1 }), { kind: 'full' })
    await assert.rejects(storage.log.reopen(), { kind: 'full' })
    disk.full = false
    await assert.rejects(storage.log.saveEpochs({ accepted: 1, current: 1 }), { kind: 'full' })
    await storage.log.reopen()
    await storage.log.saveEpochs({ accepted: 1, current: 1 })
    assert.deepEqual(storage.log.epochs, { accepted: 1, current: 1 })
  })
})

// The simulator within `npm test`: seeds that are always the same, seeds that never were before, and some bugs put into
// the core on purpose, which it must find. `node dist/sim/main.js --seeds N` runs as many as there is time for.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { hunt } from '../../sim/mutants.ts'
import { mutations } from '../../sim/mutations.ts'
import { createPrng } from '../../sim/prng.ts'
import { run } from '../../sim/run.ts'
import { Schedule } from '../../sim/schedule.ts'

const steps = 2000

function runSeeds(from: number, count: number): void {
  for (let seed = from; seed < from + count; seed++) {
    const { failure } = run({ seed, steps })
    const replay = `node dist/sim/main.js --seed ${seed} --steps ${steps} --trace`
    assert.equal(failure, undefined, `${failure}\nreplay: ${replay}`)
  }
}

describe('an ensemble under faults keeps every property of ZAB, and recovers', () => {
  it('with 100 seeds', () => {
    runSeeds(1, 100)
  })

  it('with 60 seeds that nobody has tried', (t) => {
    const from = 1e6 + Math.floor(Math.random() * 1e9)
    t.diagnostic(`seeds ${from} to ${from + 59}`)
    runSeeds(from, 60)
  })
})

describe('the simulator', () => {
  it('does the same again with the same seed', () => {
    const traceOf = (seed: number) => {
      const lines: string[] = []
      run({ seed, steps: 500, trace: (line) => lines.push(line) })
      return lines
    }
    assert.deepEqual(traceOf(3), traceOf(3))
    assert.notDeepEqual(traceOf(3), traceOf(4))
  })

  for (const name of [
    'ack before durable',
    'commit with a minority',
    'skip truncate',
    'forget the accepted epoch',
    'newLeader before the history',
    'a gap is accepted',
    'apply twice',
    'new voting at once and alone',
    'blank voters promise',
  ]) {
    it(`finds: ${name}`, async () => {
      const mutation = mutations.find((one) => one.name === name)
      assert.ok(mutation !== undefined)
      const { failure } = await hunt(mutation, 150, steps)
      assert.notEqual(failure, undefined)
    })
  }
})

describe('virtual time', () => {
  it('runs what was planned in order of time, then of planning', () => {
    const schedule = new Schedule()
    const prng = createPrng(1)
    const seen: [number, number][] = []
    const plan = Array.from({ length: 500 }, (_, i) => [prng.int(0, 50), i] as [number, number])
    for (const [at, i] of plan) schedule.at(at, () => seen.push([schedule.now, i]))
    while (schedule.runNext());
    assert.deepEqual(
      seen,
      plan.toSorted(([a, i], [b, j]) => a - b || i - j),
    )
  })
})

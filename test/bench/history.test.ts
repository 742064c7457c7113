import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import {
  appendRun,
  better,
  losses,
  type Machine,
  median,
  processorsAtWork,
  type Ratios,
  type Run,
  readHistory,
  sameKind,
} from '../../bench/history.ts'
import { defaults, historyFile, sectionsOf } from '../../bench/options.ts'
import { scenarios } from '../../bench/scenarios.ts'
import { readFloors } from '../../bench/side-by-side.ts'
import { scratchDir } from '../support/disk-scratch.ts'

const machine: Machine = { cpus: 2, model: 'EPYC', memoryGiB: 23, kernel: '6.18.44-x', node: '20.20.2' }

function ratios(perSecond: number, cpu?: number): Ratios {
  return { perSecond, p50: 1, p99: 1, ...(cpu === undefined ? {} : { cpu }) }
}

function runOf(all: Readonly<Record<string, Ratios>>, changes: Partial<Run> = {}): Run {
  return {
    format: 1,
    at: '2026-11-28T12:00:00.000Z',
    commit: 'abc1234',
    machine,
    load: 0.1,
    against: 'apache',
    seconds: 1,
    repetitions: 2,
    ratios: all,
    ...changes,
  }
}

/** Earlier runs with these throughputs of one scenario. */
const earlier = (...values: readonly number[]) => values.map((value) => runOf({ get: ratios(value, 0.5) }))

test('a run is read as it was appended, behind those before it; a file that is not there is empty', async (t) => {
  const file = join(await scratchDir(t), 'results.jsonl')
  assert.deepEqual(readHistory(file), [])
  const runs = [runOf({ get: ratios(2) }), runOf({ 'set 1x1, three servers': ratios(1.25, 0.5) })]
  for (const run of runs) appendRun(file, run)
  assert.deepEqual(readHistory(file), runs)
})

test('lines of another format are skipped; a damaged one is named', async (t) => {
  const file = join(await scratchDir(t), 'results.jsonl')
  await writeFile(file, `{"format":2,"new":true}\n\n${JSON.stringify(runOf({ get: ratios(2) }))}\n`)
  assert.equal(readHistory(file).length, 1)
  await writeFile(file, '{"format":1}\n')
  assert.throws(() => readHistory(file), /results\.jsonl:1: this line has no machine/)
  await writeFile(file, '{"format":')
  assert.throws(() => readHistory(file), /results\.jsonl:1: this line is no JSON/)
})

test('the file of this repository can be read', () => {
  for (const run of readHistory(historyFile)) assert.ok(Object.keys(run.ratios).length > 0, run.at)
})

/** Throughput ratios of earlier runs, the new one, and whether it is lost. */
const throughputs: readonly (readonly [before: readonly number[], is: number, lost: boolean])[] = [
  [[10, 10, 10], 10, false],
  [[10, 10, 10], 7.1, false],
  [[10, 10, 10], 6.9, true],
  // One good or bad run among the earlier ones decides nothing.
  [[10, 40, 10], 8, false],
  [[1, 10, 10], 6.9, true],
  [[10, 10], 1, false],
  [[9, 11, 8, 12], 7.1, false],
  [[9, 11, 8, 12], 6.9, true],
  [[1, 1, 1], 5, false],
]

for (const [before, is, lost] of throughputs) {
  test(`throughput ${is} after ${before.join(', ')} is ${lost ? '' : 'not '}lost`, () => {
    const found = losses(runOf({ get: ratios(is, 0.5) }), earlier(...before))
    const was = median(before)
    assert.deepEqual(found, lost ? [{ scenario: 'get', figure: 'perSecond', was, is }] : [])
  })
}

test('more CPU time per operation is lost, less is not; latencies of short runs are not judged', () => {
  const before = earlier(10, 10, 10)
  const of = (cpu: number) => losses(runOf({ get: { ...ratios(10, cpu), p50: 9, p99: 9 } }), before)
  assert.deepEqual(of(0.8), [{ scenario: 'get', figure: 'cpu', was: 0.5, is: 0.8 }])
  assert.deepEqual([of(0.7), of(0.1)], [[], []])
})

test('a scenario that is new, or that was not measured again, is not lost', () => {
  assert.deepEqual(losses(runOf({ set: ratios(0.1) }), earlier(10, 10, 10)), [])
  assert.deepEqual(losses(runOf({ get: ratios(10) }), earlier(10, 10, 10)), [])
})

test('only runs on the same kind of machine and against the same program count', () => {
  const run = runOf({ get: ratios(1) })
  const on = (changes: Partial<Machine>) => runOf({}, { machine: { ...machine, ...changes } })
  assert.ok(sameKind(run, on({ kernel: '6.18.99-y', node: '20.19.0' })))
  for (const other of [
    on({ cpus: 4 }),
    on({ model: 'Xeon' }),
    on({ memoryGiB: 7 }),
    on({ node: '24.1.0' }),
  ]) {
    assert.ok(!sameKind(run, other))
  }
  const floors = [10, 10, 10].map((value) => runOf({ get: ratios(value) }, { against: 'floor' }))
  assert.deepEqual(losses(run, floors), [])
})

test('runs on a busy machine are not compared with', () => {
  const busy = [10, 10, 10].map((value) => runOf({ get: ratios(value) }, { load: 1.1 }))
  const quiet = busy.map((run) => ({ ...run, load: 1 }))
  const run = runOf({ get: ratios(1) })
  assert.deepEqual([losses(run, busy).length, losses(run, quiet).length], [0, 1])
})

test('a repetition replaces what it betters, and nothing else', () => {
  const first = runOf({ get: { perSecond: 5, p50: 2, p99: 3, cpu: 0.9 }, set: ratios(1) })
  const second = { get: { perSecond: 4, p50: 1, p99: 4, cpu: 0.5 }, other: ratios(7) }
  assert.deepEqual(better(first, second).ratios, {
    get: { perSecond: 5, p50: 1, p99: 3, cpu: 0.5 },
    set: ratios(1),
  })
})

test('there is a ratio of Apache ZooKeeper to the floor for every scenario', () => {
  const three = scenarios.filter((scenario) => scenario.three).map(({ name }) => `${name}, three servers`)
  const names = [...scenarios.map(({ name }) => name), ...three]
  assert.deepEqual(Object.keys(readFloors()).toSorted(), names.toSorted())
})

test('sections are named on the command line', () => {
  assert.deepEqual(sectionsOf(undefined), defaults.sections)
  assert.deepEqual(sectionsOf('three-servers'), ['three servers'])
  assert.throws(() => sectionsOf('four'), /four is not standalone or three-servers/)
})

test('processors at work are counted from what they did between two times', () => {
  const at = (user: number, idle: number) => ({ times: { user, nice: 0, sys: user, irq: 0, idle } })
  const before = [at(100, 1000), at(200, 1000), at(0, 0)]
  assert.equal(processorsAtWork(before, before), 0)
  assert.equal(processorsAtWork(before, [at(125, 1050), at(250, 1000), at(0, 100)]), 1.5)
})

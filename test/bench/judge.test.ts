// The nightly check of the benchmark: what is lost for good fails it, and nothing else does.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Ratios, Run } from '../../bench/history.ts'
import { judge } from '../../bench/judge.ts'

function runOf(get: number, set: number): Run {
  const ratios = (perSecond: number): Ratios => ({ perSecond, p50: 1, p99: 1, cpu: 0.5 })
  return {
    format: 1,
    at: '2026-11-28T12:00:00.000Z',
    commit: 'abc1234',
    machine: { cpus: 2, model: 'EPYC', memoryGiB: 23, kernel: '6.18.44-x', node: '20.20.2' },
    load: 0.1,
    against: 'apache',
    seconds: 1,
    repetitions: 2,
    ratios: { get: ratios(get), set: ratios(set) },
  }
}

const history = [runOf(10, 5), runOf(11, 5), runOf(9, 5)]

/** Judges runs that come one after another; also gives what was asked to be measured. */
async function judged(earlier: readonly Run[], ...runs: Run[]) {
  const asked: (readonly string[] | undefined)[] = []
  const { run, lost, lines } = await judge(earlier, (only) => {
    asked.push(only)
    const next = runs.shift()
    assert.ok(next !== undefined, 'it was measured too often')
    return Promise.resolve(next)
  })
  return { lost: lost.map(({ scenario, is }) => `${scenario} ${is}`), get: run.ratios['get'], lines, asked }
}

test('a small loss passes, and is not measured again', async () => {
  const { lost, asked, lines } = await judged(history, runOf(7.5, 4))
  assert.deepEqual([lost, asked], [[], [undefined]])
  assert.deepEqual(lines, ['compared with 3 earlier runs on a quiet machine of this kind'])
})

test('a large loss fails once it was measured twice more, alone', async () => {
  const { lost, asked, lines } = await judged(history, runOf(3, 5), runOf(2, 5), runOf(4, 5))
  assert.deepEqual([lost, asked], [['get 4'], [undefined, ['get'], ['get']]])
  assert.equal(lines.at(-1), 'LOST get: ratio of perSecond was 10, is 4')
})

test('what is lost in one measurement and there in the next passes', async () => {
  const { lost, get, asked } = await judged(history, runOf(3, 1), runOf(9.5, 1), runOf(9, 4.9))
  assert.deepEqual(lost, [])
  assert.equal(get?.perSecond, 9.5)
  assert.deepEqual(asked, [undefined, ['get', 'set'], ['set']])
})

test('too few earlier runs on a quiet machine pass, whatever was measured, and that is said', async () => {
  const busy = history.map((run) => ({ ...run, load: 2 }))
  for (const earlier of [[], history.slice(1), busy, [...busy, ...history.slice(1)]]) {
    const { lost, asked, lines } = await judged(earlier, runOf(0.1, 0.1))
    assert.deepEqual([lost, asked], [[], [undefined]])
    assert.equal(lines.at(-1), 'fewer than 3 say nothing: passed')
  }
})

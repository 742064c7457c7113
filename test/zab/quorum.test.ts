import assert from 'node:assert/strict'
import { test } from 'node:test'
import { majority } from '../../src/zab/quorum.ts'

const votersOf = [[1], [1, 2, 3], [5, 4, 3, 2, 1]] as const

for (const voters of votersOf) {
  test(`${voters.length} voters: a quorum is more than half of them`, () => {
    const quorum = majority(voters)
    assert.deepEqual(quorum.voters, voters)
    // Every subset of ids, those of a server that does not vote included.
    const ids = [...voters, 99]
    for (let mask = 0; mask < 2 ** ids.length; mask++) {
      const has = new Set(ids.filter((_, i) => (mask & (1 << i)) !== 0))
      const votes = voters.filter((id) => has.has(id)).length
      assert.equal(
        quorum.contains((id) => has.has(id)),
        votes * 2 > voters.length,
        [...has].join(),
      )
    }
  })

  test(`${voters.length} voters: any two quorums share a server`, () => {
    const quorum = majority(voters)
    const subsets = Array.from({ length: 2 ** voters.length }, (_, mask) =>
      voters.filter((_, i) => (mask & (1 << i)) !== 0),
    )
    const quorums = subsets.filter((subset) => quorum.contains((id) => (subset as number[]).includes(id)))
    assert.ok(quorums.length > 0)
    for (const a of quorums)
      for (const b of quorums)
        assert.ok(
          a.some((id) => (b as number[]).includes(id)),
          `${a} and ${b}`,
        )
  })
}

for (const [values, reached] of [
  [[7], 7],
  [[-1], -1],
  [[5, 5, 5], 5],
  [[9, 5, 1], 5],
  [[1, 9, 5], 5],
  [[9, -1, -1], -1],
  [[9, 8, -1], 8],
  [[0, 0, 9], 0],
  [[5, 4, 3, 2, 1], 3],
  [[9, 9, 9, -1, -1], 9],
  [[9, 9, -1, -1, -1], -1],
  // zxids of two epochs are compared as numbers.
  [[2 ** 33 + 1, 2 ** 32 + 99, 2 ** 32 + 98], 2 ** 32 + 99],
] as const) {
  test(`voters that have reached ${values.join(', ')} have together reached ${reached}`, () => {
    const quorum = majority(values.map((_, i) => i + 1))
    assert.equal(
      quorum.reached((id) => values[id - 1]!),
      reached,
    )
    // What a quorum has reached is what a quorum has at least.
    assert.ok(reached < 0 || quorum.contains((id) => values[id - 1]! >= reached))
    assert.ok(!quorum.contains((id) => values[id - 1]! > reached))
  })
}

test('without voters there is no quorum', () => {
  const quorum = majority([])
  assert.equal(
    quorum.contains(() => true),
    false,
  )
  assert.equal(
    quorum.reached(() => 9),
    -1,
  )
})

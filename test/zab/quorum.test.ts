// Quorums: which sets count, and that any two of them share a server.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  hierarchical,
  isSameVoting,
  joint,
  majority,
  type Quorum,
  quorumOf,
  quorumOfAll,
} from '../../src/zab/quorum.ts'

/** Every subset of the voters that is a quorum. */
function quorums({ voters, contains }: Quorum): Set<number>[] {
  const found: Set<number>[] = []
  for (let bits = 0; bits < 2 ** voters.length; bits++) {
    const set = new Set(voters.filter((_, i) => (bits >> i) & 1))
    if (contains((id) => set.has(id))) found.push(set)
  }
  return found
}

const three = [
  [1, 2, 3],
  [4, 5, 6],
  [7, 8, 9],
]
const cases: readonly { name: string; quorum: Quorum }[] = [
  { name: 'majority of 1', quorum: majority([1]) },
  { name: 'majority of 4', quorum: majority([1, 2, 3, 4]) },
  { name: 'majority of 5', quorum: majority([1, 2, 3, 4, 5]) },
  { name: 'three groups of three', quorum: hierarchical(three, new Map()) },
  {
    name: 'weights 2 1 1 and a group that does not count',
    quorum: hierarchical(
      [[1, 2, 3], [4]],
      new Map([
        [1, 2],
        [4, 0],
      ]),
    ),
  },
  { name: 'from three to five', quorum: joint(majority([1, 2, 3]), majority([2, 3, 4, 5, 6])) },
]

describe('a quorum', () => {
  for (const { name, quorum } of cases) {
    it(`${name}: any two share a server, and all voters together are one`, () => {
      const all = quorums(quorum)
      assert.ok(all.length > 0)
      assert.ok(all.some((set) => set.size === quorum.voters.length))
      for (const a of all)
        for (const b of all)
          assert.ok(
            [...a].some((id) => b.has(id)),
            `${[...a]} and ${[...b]}`,
          )
    })

    it(`${name}: reached is the highest value that a quorum has`, () => {
      const values = new Map(quorum.voters.map((id) => [id, (id * 7) % 5]))
      const progressOf = (id: number) => values.get(id) as number
      const highest = Math.max(...quorums(quorum).map((set) => Math.min(...[...set].map(progressOf))))
      assert.equal(quorum.reached(quorum.voters.map(progressOf)), highest)
    })
  }

  it('of voters given in any order lists them ascending', () => {
    assert.deepEqual(majority([3, 1, 2]).voters, [1, 2, 3])
  })

  it('is the same when it is made anew from its plain data', () => {
    for (const { quorum } of cases) {
      const again = quorumOfAll(quorum.votings)
      assert.deepEqual(again && quorums(again), quorums(quorum))
      assert.deepEqual(again?.votings, quorum.votings)
    }
    assert.equal(quorumOfAll([]), undefined)
  })

  it('of a voting is a majority, or hierarchical if there are groups', () => {
    const flat = { voters: [1, 2, 3], groups: [], weights: [] }
    const weighted = { voters: [1, 2, 3], groups: [[1, 2, 3]], weights: [[3, 0]] as const }
    assert.equal(
      quorumOf(flat).contains((id) => id !== 1),
      true,
    )
    assert.equal(
      quorumOf(weighted).contains((id) => id !== 1),
      false,
    )
    assert.deepEqual([isSameVoting(flat, { ...flat }), isSameVoting(flat, weighted)], [true, false])
  })

  it('needs both of two groups', () => {
    const { contains } = hierarchical(
      [
        [1, 2, 3],
        [4, 5, 6],
      ],
      new Map(),
    )
    assert.equal(
      contains((id) => [1, 2, 3, 4].includes(id)),
      false,
    )
    assert.equal(
      contains((id) => [1, 2, 4, 5].includes(id)),
      true,
    )
  })

  it('is led by nobody of weight 0, and by nobody who is no voter', () => {
    const quorum = hierarchical([[1, 2, 3]], new Map([[3, 0]]))
    assert.deepEqual(
      [1, 2, 3, 4].map((id) => quorum.mayLead(id)),
      [true, true, false, false],
    )
  })
})

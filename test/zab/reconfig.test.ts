// Who votes, changed while it runs: what is in force when, who counts, who leads afterwards, what a crash leaves.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { InvariantError } from '../../src/base/assert.ts'
import { makeZxid } from '../../src/base/zxid.ts'
import { canReconfigure, type Effect, isVoter, unwrittenVoting, votingAt } from '../../src/zab/core.ts'
import { Cluster, type ClusterOptions } from '../support/zab-cluster.ts'

const z = makeZxid

function votersOf(cluster: Cluster, id: number): (readonly number[])[] {
  return cluster.core(id).quorum.votings.map(({ voters }) => voters)
}

function voting(...voters: number[]) {
  return { voters, groups: [], weights: [] }
}

/** 1, 2, 3 vote, 3 leads, others follow as observers; the voting is written down. */
function established(options: Partial<ClusterOptions> = {}): Cluster {
  const cluster = new Cluster({ voters: [1, 2, 3], observers: [4, 5], ...options })
  cluster.boot(...cluster.members.keys())
  cluster.settle()
  cluster.reconfigure(3, 1, 2, 3)
  cluster.settle()
  return cluster
}

function changes(cluster: Cluster, id: number): string[] {
  const told = (effect: Effect) => effect.type === 'votingChanged'
  return cluster
    .member(id)
    .effects.filter(told)
    .map(({ voting, committed, settled }) => {
      const state = settled ? 'settled' : committed ? 'committed' : 'pending'
      return `${voting.voters} ${state}`
    })
}

describe('a reconfiguration', () => {
  it('is told at its appending, its commit, and when it is settled', () => {
    const cluster = established()
    const before = changes(cluster, 3).length
    cluster.reconfigure(3, 1, 2, 3, 4)
    assert.deepEqual(votersOf(cluster, 3), [
      [1, 2, 3],
      [1, 2, 3, 4],
    ])
    cluster.settle()
    for (const id of [1, 3, 4, 5]) assert.deepEqual(votersOf(cluster, id), [[1, 2, 3, 4]])
    assert.deepEqual(changes(cluster, 3).slice(before), [
      '1,2,3,4 pending',
      '1,2,3,4 committed',
      '1,2,3,4 pending',
      '1,2,3,4 settled',
    ])
    assert.equal(isVoter(cluster.core(5), 4), true)
  })

  it('needs a quorum of the old and of the new voters', () => {
    const cluster = established()
    for (const id of [4, 5]) cluster.member(id).holdLog = true
    cluster.reconfigure(3, 3, 4, 5)
    cluster.settle()
    assert.equal(cluster.core(3).inForce.committed, false, 'none of the new but 3 has it')
    cluster.member(4).holdLog = false
    cluster.settle()
    assert.equal(cluster.core(3).inForce.committed, true)
  })

  it('is not committed by new voters alone', () => {
    const cluster = established()
    for (const id of [1, 2]) cluster.member(id).holdLog = true
    cluster.reconfigure(3, 3, 4, 5)
    cluster.settle()
    assert.equal(cluster.core(3).inForce.committed, false)
    cluster.member(1).holdLog = false
    cluster.settle()
    assert.deepEqual(votersOf(cluster, 3), [[3, 4, 5]])
  })

  it('lets what waits for the old voters go on when they do not count any more', () => {
    const cluster = established()
    cluster.reconfigure(3, 3)
    cluster.propose(3, 'after')
    cluster.member(1).holdLog = true
    cluster.member(2).holdLog = true
    cluster.settle()
    assert.equal(cluster.core(3).inForce.committed, false)
    // The first of the two entries is all that gets to a second disk.
    const { writes, disk } = cluster.member(1)
    const first = writes.shift()
    assert.ok(first?.type === 'append')
    disk.entries.push(first.entry)
    cluster.event(1, { type: 'durable', zxid: first.entry.last })
    cluster.settle()
    assert.equal(cluster.core(3).committed, cluster.core(3).history.durable)
    assert.ok(cluster.member(3).applied.includes('after'))
  })

  it('comes one at a time', () => {
    const cluster = established()
    for (const id of [1, 2]) cluster.member(id).holdLog = true
    cluster.reconfigure(3, 1, 2, 3, 4)
    assert.equal(canReconfigure(cluster.core(3), voting(1, 2, 3)), 'pending')
    assert.throws(() => cluster.reconfigure(3, 1, 2, 3), InvariantError)
  })

  it('is refused by who does not lead, and where no quorum of the new voters is there', () => {
    const cluster = established()
    assert.equal(canReconfigure(cluster.core(1), voting(1, 2)), 'notLeading')
    assert.equal(canReconfigure(cluster.core(3), voting(1, 2)), undefined)
    cluster.kill(4)
    assert.equal(canReconfigure(cluster.core(3), voting(3, 4)), 'noQuorum')
    assert.equal(canReconfigure(cluster.core(3), voting(3, 4, 5)), undefined)
    assert.equal(canReconfigure(cluster.core(3), voting()), 'noQuorum')
  })

  it('first writes down the configured voting', () => {
    const cluster = new Cluster({ voters: [1, 2, 3] })
    cluster.boot(1, 2, 3)
    cluster.settle()
    assert.deepEqual(unwrittenVoting(cluster.core(3)), voting(1, 2, 3))
    assert.throws(() => cluster.reconfigure(3, 1, 2), /must be written down/)
  })

  it('may follow at once what only writes down the configured one', () => {
    const cluster = new Cluster({ voters: [1, 2, 3] })
    cluster.boot(1, 2, 3)
    cluster.settle()
    cluster.reconfigure(3, 1, 2, 3)
    cluster.reconfigure(3, 2, 3)
    cluster.settle()
    assert.deepEqual(votersOf(cluster, 1), [[2, 3]])
  })
})

describe('a leader that does not vote any more', () => {
  it('commits that, hands over, and goes on as an observer', () => {
    const cluster = established()
    cluster.reconfigure(3, 1, 2, 4)
    cluster.settle()
    assert.equal(cluster.role(4), 'leading broadcast 2')
    assert.equal(cluster.role(3), 'following broadcast')
    cluster.propose(4, 'b')
    cluster.settle()
    assert.ok(cluster.member(3).applied.includes('b'))
    assert.equal(cluster.core(4).inForce.settled, true)
  })

  it('does not count itself', () => {
    const cluster = established()
    for (const id of [2, 4]) cluster.member(id).holdLog = true
    cluster.reconfigure(3, 1, 2, 4)
    cluster.settle()
    assert.equal(cluster.core(3).inForce.committed, false, 'of 1, 2 and 4 only 1 has it')
  })

  it('may come back', () => {
    const cluster = established()
    cluster.reconfigure(3, 1, 2, 4)
    cluster.settle()
    cluster.reconfigure(4, 1, 2, 3, 4)
    cluster.settle()
    for (const id of [4, 2]) cluster.kill(id)
    cluster.boot(2)
    cluster.settle()
    assert.equal(cluster.role(3).startsWith('leading broadcast'), true)
  })
})

describe('a voting that was not committed', () => {
  it('goes away with its entry', () => {
    const cluster = established()
    for (const id of [1, 2, 4, 5]) cluster.hold(3, id)
    cluster.reconfigure(3, 3, 4, 5)
    cluster.settle()
    cluster.kill(3)
    cluster.settle()
    assert.equal(cluster.role(2), 'leading broadcast 2')
    for (const id of [1, 2, 4, 5]) cluster.release(3, id)
    cluster.propose(2, 'b')
    cluster.boot(3)
    cluster.settle()
    assert.deepEqual(votersOf(cluster, 3), [[1, 2, 3]])
    assert.equal(changes(cluster, 3).at(-1), '1,2,3 settled')
  })

  it('is elected with by both quorums, of which new voters need not have heard', () => {
    const cluster = new Cluster({ voters: [1], joiners: { 2: [1], 3: [1] } })
    cluster.boot(1, 2, 3)
    cluster.settle()
    cluster.reconfigure(1, 1)
    cluster.settle()
    for (const id of [2, 3]) cluster.hold(1, id)
    cluster.reconfigure(1, 1, 2, 3)
    cluster.settle()
    cluster.kill(1)
    for (const id of [2, 3]) cluster.release(1, id)
    assert.deepEqual(votersOf(cluster, 2), [[1]])
    cluster.boot(1)
    cluster.settle()
    assert.equal(cluster.role(1), 'leading broadcast 2')
    assert.deepEqual(votersOf(cluster, 2), [[1, 2, 3]])
  })
})

describe('a committed voting', () => {
  it('is known to be so after a restart of everybody once it is settled: old voters are not needed', () => {
    const cluster = established()
    cluster.reconfigure(3, 3, 4, 5)
    cluster.settle()
    for (const id of [1, 2, 3, 4, 5]) cluster.kill(id)
    cluster.boot(3, 4, 5)
    cluster.settle()
    assert.equal(cluster.role(5), 'leading broadcast 2')
    assert.deepEqual(votersOf(cluster, 4), [[3, 4, 5]])
  })

  it('stays settled when the log is trimmed: its leader does not write it down again', () => {
    const cluster = established()
    cluster.reconfigure(3, 3, 4, 5)
    cluster.settle()
    const leader = [3, 4, 5].find((id) => cluster.role(id).startsWith('leading')) as number
    const { history } = cluster.core(leader)
    const written = history.votings.at(-1)?.zxid
    cluster.propose(leader, 'a')
    cluster.settle()
    for (const id of [3, 4, 5]) cluster.checkpoint(id)
    cluster.propose(leader, 'b')
    cluster.settle()
    assert.ok(history.trimmedTo > (written as number))
    assert.equal(history.votings.at(-1)?.zxid, written)
    assert.equal(cluster.core(leader).inForce.settled, true)
  })

  it('waits for the old voters after a restart while it is not', () => {
    const cluster = established()
    cluster.settles = false
    cluster.reconfigure(3, 3, 4, 5)
    cluster.settle()
    for (const id of [1, 2, 3, 4, 5]) cluster.kill(id)
    cluster.boot(3, 4, 5)
    cluster.settle()
    assert.equal(cluster.role(5), 'looking')
    cluster.boot(2)
    cluster.settle()
    assert.equal(cluster.role(5), 'leading broadcast 2')
  })

  it('is told by a removed server that knows, though it has what would keep it from voting', () => {
    const cluster = new Cluster({ voters: [1, 2] })
    const base = { prev: 0, first: z(1, 1), last: z(1, 1), bytes: Buffer.from('pin'), voting: voting(1, 2) }
    const next = { ...base, prev: z(1, 1), first: z(1, 2), last: z(1, 2), voting: voting(1) }
    const tail = { prev: z(1, 2), first: z(1, 3), last: z(1, 3), bytes: Buffer.from('tail') }
    for (const id of [1, 2]) cluster.past(id, { accepted: 1, current: 1 }, [])
    cluster.member(1).disk.entries = [base, next]
    Object.assign(cluster.member(2).disk, { trimmedTo: z(1, 2), entries: [tail] })
    cluster.member(2).disk.voting = { zxid: z(1, 2), voting: voting(1) }
    cluster.boot(1)
    cluster.settle()
    assert.equal(cluster.role(1), 'looking')
    cluster.boot(2)
    cluster.settle()
    assert.equal(cluster.role(1), 'leading broadcast 2')
    assert.equal(cluster.role(2), 'following broadcast')
  })

  it('comes with a snapshot', () => {
    const cluster = established()
    cluster.reconfigure(3, 1, 2, 3, 4)
    cluster.settle()
    cluster.kill(5)
    cluster.wipe(5)
    for (const id of [1, 2, 3, 4]) cluster.checkpoint(id)
    cluster.boot(5)
    cluster.settle()
    assert.ok(cluster.lines.includes('3 > 5 snapshot'))
    assert.deepEqual(votersOf(cluster, 5), [[1, 2, 3, 4]])
    const core = cluster.core(5)
    assert.deepEqual(votingAt(core, core.committed)?.voting, voting(1, 2, 3, 4))
  })
})

describe('joiners', () => {
  it('with lists of their own elect nobody, and count only when they are voters', () => {
    const list = [1, 2, 3, 4, 5]
    const cluster = new Cluster({ voters: [1, 2, 3], joiners: { 4: list, 5: list } })
    cluster.boot(3, 4, 5)
    cluster.pass(3000)
    assert.deepEqual(
      [3, 4, 5].map((id) => cluster.role(id)),
      ['looking', 'looking', 'looking'],
    )
    cluster.boot(1)
    cluster.settle()
    assert.deepEqual(
      [1, 3, 4, 5].map((id) => cluster.role(id)),
      ['following broadcast', 'leading broadcast 1', 'following broadcast', 'following broadcast'],
    )
    cluster.kill(1)
    assert.equal(cluster.role(3), 'looking')
  })

  it('make an ensemble of three out of one', () => {
    const cluster = new Cluster({ voters: [1], joiners: { 2: [1, 2], 3: [1, 2, 3] } })
    cluster.boot(1)
    cluster.settle()
    cluster.propose(1, 'a')
    cluster.boot(2, 3)
    cluster.settle()
    cluster.reconfigure(1, 1)
    cluster.reconfigure(1, 1, 2, 3)
    cluster.settle()
    cluster.kill(1)
    cluster.settle()
    assert.equal(cluster.role(3), 'leading broadcast 2')
    cluster.propose(3, 'b')
    cluster.settle()
    assert.deepEqual(cluster.member(2).applied, ['a', '[1]', '[1,2,3]', '[1,2,3]', 'b'])
  })
})

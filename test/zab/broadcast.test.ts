// When an entry is committed, and who knows it first: a learner may, for its own disk counts at once there.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { makeZxid } from '../../src/base/zxid.ts'
import { Cluster } from '../support/zab-cluster.ts'

const z = makeZxid

function established(voters: readonly number[], observers: readonly number[] = []): Cluster {
  const cluster = new Cluster({ voters, observers })
  cluster.boot(...cluster.members.keys())
  cluster.settle()
  return cluster
}

/** The texts that each server has applied. */
function applied(cluster: Cluster, ...ids: number[]): string {
  return ids.map((id) => `${id}: ${cluster.member(id).applied.join(' ')}`).join(', ')
}

describe('of three servers', () => {
  it("a follower delivers what is on its disk and the leader's, while its ack is on its way", () => {
    const cluster = established([1, 2, 3])
    cluster.hold(1, 3)
    cluster.hold(2, 3)
    cluster.propose(3, 'a')
    cluster.settle()
    assert.deepEqual(cluster.waiting(1, 3), ['ack'])
    assert.equal(applied(cluster, 1, 2, 3), '1: a, 2: a, 3: ')
    cluster.release(1, 3)
    cluster.settle()
    assert.equal(applied(cluster, 1, 2, 3), '1: a, 2: a, 3: a')
  })

  it('a follower delivers nothing before its own disk has it', () => {
    const cluster = established([1, 2, 3])
    cluster.member(1).holdLog = true
    cluster.propose(3, 'a')
    cluster.settle()
    assert.equal(applied(cluster, 1, 2, 3), '1: , 2: a, 3: a')
    cluster.member(1).holdLog = false
    cluster.settle()
    assert.equal(applied(cluster, 1), '1: a')
  })

  it('a follower delivers nothing that only its own disk has', () => {
    const cluster = established([1, 2, 3])
    cluster.member(2).holdLog = true
    cluster.member(3).holdLog = true
    cluster.propose(3, 'a')
    cluster.settle()
    assert.equal(applied(cluster, 1, 2, 3), '1: , 2: , 3: ')
    cluster.member(2).holdLog = false
    cluster.settle()
    // The two followers are a quorum.
    assert.equal(applied(cluster, 1, 2, 3), '1: a, 2: a, 3: ')
  })

  it('what a follower has delivered is not lost with the leader that did not know of it', () => {
    const cluster = established([1, 2, 3])
    cluster.hold(1, 3)
    cluster.hold(3, 2)
    cluster.propose(3, 'a')
    cluster.settle()
    assert.equal(applied(cluster, 1, 2, 3), '1: a, 2: , 3: ')
    cluster.release(3, 2)
    cluster.kill(3)
    cluster.pass(1000)
    assert.equal(cluster.role(1), 'leading broadcast 2')
    assert.equal(applied(cluster, 1, 2), '1: a, 2: a')
  })

  it('a leader that is asked to confirm covers what a follower may have delivered before it', () => {
    const cluster = established([1, 2, 3])
    cluster.hold(1, 3)
    cluster.hold(2, 3)
    cluster.propose(3, 'a')
    cluster.settle()
    assert.equal(cluster.core(3).committed, 0)
    cluster.event(3, { type: 'confirm', id: 7 })
    cluster.release(1, 3)
    cluster.settle()
    const confirmed = cluster.member(3).effects.filter((effect) => effect.type === 'confirmed')
    assert.deepEqual(confirmed, [{ type: 'confirmed', id: 7, zxid: z(1, 1) }])
  })

  it('an observer delivers only what a quorum of the others has', () => {
    const cluster = established([1, 2, 3], [4])
    cluster.member(1).holdLog = true
    cluster.member(2).holdLog = true
    cluster.propose(3, 'a')
    cluster.settle()
    assert.equal(applied(cluster, 4), '4: ')
    cluster.member(1).holdLog = false
    cluster.settle()
    assert.equal(applied(cluster, 4), '4: a')
  })
})

describe('of five servers', () => {
  it('a follower delivers what is on three disks with its own, whose acks but its own have come', () => {
    const cluster = established([1, 2, 3, 4, 5])
    for (const id of [1, 3, 4]) cluster.hold(id, 5)
    cluster.propose(5, 'a')
    cluster.settle()
    assert.equal(applied(cluster, 1, 2, 3, 5), '1: a, 2: , 3: a, 5: ')
    cluster.release(1, 5)
    cluster.settle()
    assert.equal(applied(cluster, 1, 2, 3, 5), '1: a, 2: a, 3: a, 5: a')
  })
})

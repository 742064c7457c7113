// Who is elected, how fast, and what a lost connection does.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { makeZxid } from '../../src/base/zxid.ts'
import { hierarchical } from '../../src/zab/quorum.ts'
import { Cluster } from '../support/zab-cluster.ts'

const z = makeZxid

function roles(cluster: Cluster): string[] {
  return [...cluster.members.keys()].map((id) => cluster.role(id))
}

/** Three servers, 3 leads, `a` is committed. */
function established(options: { observers?: number[] } = {}): Cluster {
  const cluster = new Cluster({ voters: [1, 2, 3], ...options })
  cluster.boot(...cluster.members.keys())
  cluster.settle()
  cluster.propose(3, 'a')
  cluster.settle()
  return cluster
}

describe('election', () => {
  it('takes no time when all connected voters agree', () => {
    const cluster = established()
    assert.deepEqual(roles(cluster), ['following broadcast', 'following broadcast', 'leading broadcast 1'])
  })

  it('takes no time when the leader is gone', () => {
    const cluster = established()
    cluster.kill(3)
    cluster.settle()
    assert.deepEqual(roles(cluster), ['following broadcast', 'leading broadcast 2', 'down'])
  })

  it('waits 200 ms for a connected voter that has not agreed', () => {
    const cluster = new Cluster({ voters: [1, 2, 3] })
    cluster.boot(1, 2, 3)
    for (const to of [1, 2]) cluster.hold(3, to)
    cluster.settle()
    assert.equal(cluster.role(2), 'looking')
    cluster.pass(150)
    assert.equal(cluster.role(2), 'looking')
    cluster.pass(100)
    assert.equal(cluster.role(2), 'leading broadcast 1')
  })

  it('prefers the later epoch, then the longer history, then the higher id', () => {
    const best = (pasts: readonly (readonly [number, number])[]) => {
      const cluster = new Cluster({ voters: [1, 2, 3] })
      pasts.forEach(([current, zxid], i) => {
        cluster.past(i + 1, { accepted: 9, current }, [[zxid, 'x']])
      })
      cluster.boot(1, 2, 3)
      cluster.settle()
      return roles(cluster).findIndex((role) => role.startsWith('leading')) + 1
    }
    assert.equal(
      best([
        [7, z(5, 1)],
        [6, z(5, 9)],
        [6, z(5, 9)],
      ]),
      1,
    )
    assert.equal(
      best([
        [6, z(5, 1)],
        [6, z(5, 3)],
        [6, z(5, 2)],
      ]),
      2,
    )
    assert.equal(
      best([
        [6, z(5, 1)],
        [6, z(5, 1)],
        [6, z(5, 1)],
      ]),
      3,
    )
  })

  it('elects nobody of weight 0', () => {
    const quorum = hierarchical([[1, 2, 3]], new Map([[3, 0]]))
    const cluster = new Cluster({ voters: [1, 2, 3], quorum })
    cluster.boot(1, 2, 3)
    cluster.settle()
    assert.deepEqual(roles(cluster), ['following broadcast', 'leading broadcast 1', 'following broadcast'])
  })

  it('elects only who is connected to a quorum, and whom its voters can reach', () => {
    const cluster = new Cluster({ voters: [1, 2, 3, 4, 5] })
    cluster.past(5, { accepted: 1, current: 1 }, [[z(1, 1), 'most']])
    cluster.boot(1, 2, 3, 4)
    for (const [a, b] of [[1, 4]] as const) cluster.disconnect(a, b)
    cluster.boot(5)
    for (const id of [1, 2, 3]) cluster.disconnect(id, 5)
    cluster.settle()
    // Server 5 votes for nobody who is behind it, and might still be about to.
    cluster.pass(250)
    assert.equal(cluster.role(4).startsWith('leading'), true)
    assert.equal(cluster.role(5), 'following broadcast')
  })

  it('counts no observer', () => {
    const cluster = new Cluster({ voters: [1, 2, 3], observers: [4, 5] })
    cluster.boot(1, 4, 5)
    cluster.settle()
    assert.deepEqual(roles(cluster), ['looking', 'down', 'down', 'looking', 'looking'])
  })

  it('ends for a server that starts late by joining the leader, though its own history is better', () => {
    const cluster = new Cluster({ voters: [1, 2, 3] })
    cluster.past(3, { accepted: 4, current: 4 }, [[z(4, 1), 'nobody has this']])
    cluster.boot(1, 2)
    cluster.settle()
    assert.equal(cluster.role(2), 'leading broadcast 1')
    cluster.boot(3)
    cluster.settle()
    // It promised epoch 4, so it takes an epoch above that; and it has what it has, so it leads.
    assert.deepEqual(roles(cluster), ['following broadcast', 'following broadcast', 'leading broadcast 5'])
  })
})

describe('a leader', () => {
  it('that loses the connections to its quorum steps down at once', () => {
    const cluster = established()
    cluster.disconnect(1, 3)
    assert.equal(cluster.role(3), 'leading broadcast 1')
    cluster.disconnect(2, 3)
    assert.equal(cluster.role(3), 'looking')
  })

  it('that can send but hears nobody steps down after syncLimit ticks', () => {
    const cluster = established()
    for (const from of [1, 2]) cluster.hold(from, 3)
    cluster.pass(9000)
    assert.equal(cluster.role(3), 'leading broadcast 1')
    cluster.pass(1500)
    assert.equal(cluster.role(3), 'looking')
    assert.equal(cluster.role(2), 'leading broadcast 2')
  })

  it('that is silent is left after syncLimit ticks', () => {
    const cluster = established()
    for (const to of [1, 2]) cluster.hold(3, to)
    cluster.pass(9000)
    assert.equal(cluster.role(2), 'following broadcast')
    cluster.pass(1500)
    assert.equal(cluster.role(2), 'leading broadcast 2')
    assert.equal(cluster.role(3), 'looking')
  })

  it('and whose process stood still, as all others did, gives everybody the time to answer', () => {
    const cluster = established()
    for (const to of [1, 2]) {
      cluster.hold(3, to)
      cluster.hold(to, 3)
    }
    // One late tick, then some on time before anything is read.
    for (const now of [60_000, 60_250, 60_500])
      for (const id of [1, 2, 3]) cluster.event(id, { type: 'tick', now })
    assert.deepEqual(
      [1, 2, 3].map((id) => cluster.role(id)),
      ['following broadcast', 'following broadcast', 'leading broadcast 1'],
    )
  })

  it('that is cut off from a quorum in one direction only, with others still there, is replaced in the same time', () => {
    for (const deaf of [true, false]) {
      const cluster = new Cluster({ voters: [1, 2, 3, 4, 5] })
      cluster.boot(1, 2, 3, 4, 5)
      cluster.settle()
      for (const id of [1, 2, 3]) {
        if (deaf) cluster.hold(id, 5)
        else cluster.hold(5, id)
      }
      cluster.pass(10_500)
      const leader = [1, 2, 3, 4].find((id) => cluster.role(id) === 'leading broadcast 2')
      assert.notEqual(leader, undefined, deaf ? 'it hears nobody' : 'nobody hears it')
    }
  })

  it('that was elected but does not say so is given up after a tick', () => {
    const cluster = new Cluster({ voters: [1, 2, 3] })
    cluster.boot(1, 2, 3)
    for (const to of [1, 2])
      cluster.hold(3, to, ({ type }) => type === 'status' && cluster.role(3) !== 'looking')
    cluster.settle()
    assert.deepEqual(roles(cluster).slice(0, 2), ['following discovery', 'following discovery'])
    cluster.pass(2500)
    assert.equal(cluster.role(2), 'leading broadcast 1')
  })

  it('whose disk does not finish a write for syncLimit ticks steps down', () => {
    const cluster = established()
    cluster.member(3).holdLog = true
    cluster.propose(3, 'b')
    cluster.pass(12_000)
    assert.equal(cluster.role(3), 'looking')
    assert.equal(cluster.role(2), 'leading broadcast 2')
    assert.deepEqual(cluster.member(2).applied, ['a', 'b'])
  })

  it('that is not established within initLimit ticks gives up', () => {
    const cluster = new Cluster({ voters: [1, 2, 3] })
    cluster.boot(1, 2, 3)
    for (const id of [1, 2]) cluster.member(id).holdEpochs = true
    cluster.settle()
    assert.equal(cluster.role(3), 'leading discovery 1')
    cluster.pass(20_200)
    assert.ok(cluster.lines.some((line) => line.includes('not established within 10 ticks')))
  })

  it('that resigns is followed by the next best without any wait, and is not elected again', () => {
    const cluster = established()
    cluster.event(3, { type: 'resign' })
    cluster.settle()
    assert.deepEqual(roles(cluster), ['following broadcast', 'leading broadcast 2', 'following broadcast'])
    assert.ok(cluster.member(3).effects.some(({ type }) => type === 'resigned'))
  })

  it('that resigns first commits what it proposed', () => {
    const cluster = established()
    cluster.propose(3, 'b')
    cluster.event(3, { type: 'resign' })
    assert.equal(cluster.role(3), 'leading broadcast 1')
    cluster.settle()
    assert.deepEqual(cluster.member(2).applied, ['a', 'b'])
    assert.equal(cluster.role(2), 'leading broadcast 2')
  })
})

describe('confirm', () => {
  const confirmed = (cluster: Cluster) =>
    cluster.member(3).effects.filter((effect) => effect.type === 'confirmed')

  it('is answered when a quorum has said that it follows, with what was committed when it was asked', () => {
    const cluster = established()
    cluster.event(3, { type: 'confirm', id: 7 })
    assert.deepEqual(confirmed(cluster), [])
    cluster.settle()
    assert.deepEqual(confirmed(cluster), [{ type: 'confirmed', id: 7, zxid: z(1, 1) }])
  })

  it('is not answered to a leader that hears no quorum', () => {
    const cluster = established()
    for (const id of [1, 2]) cluster.hold(id, 3)
    cluster.event(3, { type: 'confirm', id: 7 })
    cluster.settle()
    assert.deepEqual(confirmed(cluster), [])
  })

  it('is answered at once to an ensemble of one', () => {
    const cluster = new Cluster({ voters: [3] })
    cluster.boot(3)
    cluster.settle()
    cluster.event(3, { type: 'confirm', id: 1 })
    assert.deepEqual(confirmed(cluster), [{ type: 'confirmed', id: 1, zxid: 0 }])
  })
})

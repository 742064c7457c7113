// Servers that have lost their disks, or never had anything on them: where they count and where not.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { makeZxid } from '../../src/base/zxid.ts'
import { Cluster } from '../support/zab-cluster.ts'

const z = makeZxid

/** 3 leads; `a` is everywhere, `b` on 2 and 3 only: 1 is down. */
function lagging(): Cluster {
  const cluster = new Cluster({ voters: [1, 2, 3] })
  cluster.boot(1, 2, 3)
  cluster.settle()
  cluster.propose(3, 'a')
  cluster.settle()
  cluster.kill(1)
  cluster.propose(3, 'b')
  cluster.settle()
  return cluster
}

function blanks(cluster: Cluster, id: number): unknown[] {
  return cluster.member(id).effects.filter(({ type }) => type === 'blankVoters')
}

describe('a voter that lost its disk', () => {
  it('does not elect one that lacks what it had acknowledged, and that is said', () => {
    const cluster = lagging()
    cluster.kill(2)
    cluster.kill(3)
    cluster.wipe(2)
    cluster.boot(1, 2)
    cluster.pass(3000)
    assert.deepEqual([cluster.role(1), cluster.role(2)], ['looking', 'looking'])
    const report = { type: 'blankVoters', candidate: 1, blanks: [2] }
    assert.deepEqual(blanks(cluster, 1), [report])
    assert.deepEqual(blanks(cluster, 2), [report])
    cluster.boot(3)
    cluster.settle()
    assert.equal(cluster.role(3), 'leading broadcast 2')
    for (const id of [1, 2]) assert.deepEqual(cluster.member(id).applied, ['a', 'b'])
  })

  it('is not elected, though its id is the highest', () => {
    const cluster = lagging()
    cluster.boot(1)
    cluster.settle()
    cluster.kill(3)
    cluster.wipe(3)
    cluster.kill(2)
    cluster.boot(2, 3)
    cluster.settle()
    assert.equal(cluster.role(2), 'leading broadcast 2')
    assert.deepEqual(cluster.member(3).applied, ['a', 'b'])
  })

  it('counts again when it has adopted a leader’s history', () => {
    const cluster = lagging()
    cluster.kill(2)
    cluster.wipe(2)
    cluster.boot(1)
    cluster.settle()
    cluster.boot(2)
    cluster.settle()
    cluster.kill(3)
    cluster.settle()
    assert.equal(cluster.role(2), 'leading broadcast 3')
    assert.deepEqual(cluster.member(1).applied, ['a', 'b'])
  })

  it('does not when it has only a part of it', () => {
    const cluster = lagging()
    cluster.boot(1)
    cluster.settle()
    cluster.kill(2)
    cluster.wipe(2)
    cluster.boot(2)
    cluster.hold(3, 2, ({ type }) => type === 'newLeader')
    cluster.settle()
    assert.equal(cluster.member(2).disk.entries.length, 2)
    cluster.kill(2)
    cluster.kill(3)
    cluster.release(3, 2)
    cluster.boot(2)
    cluster.settle()
    assert.deepEqual([cluster.role(1), cluster.role(2)], ['looking', 'looking'])
  })

  it('is taken by a leader only after a quorum has said that it still follows', () => {
    const cluster = new Cluster({ voters: [1, 2, 3] })
    cluster.boot(1, 2, 3)
    cluster.settle()
    cluster.propose(3, 'a')
    cluster.settle()
    cluster.kill(2)
    cluster.wipe(2)
    cluster.hold(1, 3)
    cluster.boot(2)
    cluster.settle()
    assert.equal(cluster.role(2), 'following discovery')
    assert.equal(cluster.lines.includes('3 > 2 diff after=0x0'), true, 'in its first life')
    assert.equal(cluster.lines.filter((line) => line === '3 > 2 diff after=0x0').length, 1)
    cluster.release(1, 3)
    cluster.settle()
    assert.equal(cluster.role(2), 'following broadcast')
  })
})

describe('a new ensemble', () => {
  it('is made by a quorum of servers that have nothing', () => {
    const cluster = new Cluster({ voters: [1, 2, 3] })
    cluster.boot(1, 2)
    cluster.settle()
    assert.equal(cluster.role(2), 'leading broadcast 1')
  })

  it('is made after its first leader died with its epoch saved, by whom it is saved and by whom it is not', () => {
    for (const ids of [
      [1, 2],
      [1, 3],
      [2, 3],
    ]) {
      const cluster = new Cluster({ voters: [1, 2, 3] })
      cluster.past(1, { accepted: 1, current: 0 }, [])
      cluster.past(2, { accepted: 0, current: 0 }, [])
      cluster.past(3, { accepted: 1, current: 1 }, [])
      cluster.boot(...ids)
      cluster.pass(300)
      const roles = ids.map((id) => cluster.role(id))
      assert.ok(
        roles.some((role) => role.startsWith('leading broadcast')),
        `${ids}: ${roles}`,
      )
    }
  })
})

describe('a server that was an ensemble of one', () => {
  it('takes new ones for voters, with all that it has', () => {
    const cluster = new Cluster({ voters: [1, 2] })
    cluster.past(1, { accepted: 1, current: 1 }, [[z(1, 1), 'a']])
    cluster.boot(1, 2)
    cluster.settle()
    assert.deepEqual([cluster.role(1), cluster.role(2)], ['looking', 'looking'], 'it does not say so')
    cluster.kill(1)
    cluster.member(1).disk.alone = true
    cluster.boot(1)
    cluster.settle()
    assert.equal(cluster.role(1), 'leading broadcast 2')
    assert.deepEqual(cluster.member(2).applied, ['a'])
    assert.equal(cluster.core(1).alone, false)
  })
})

describe('a state that is no good', () => {
  it('is known to be so after a restart: the server is not elected, and gets a snapshot', () => {
    const cluster = lagging()
    cluster.boot(1)
    cluster.settle()
    cluster.kill(3)
    cluster.member(3).disk.diverged = true
    cluster.kill(2)
    cluster.boot(2, 3)
    cluster.pass(300)
    assert.equal(cluster.role(2), 'leading broadcast 2')
    assert.ok(cluster.lines.includes('2 > 3 snapshot'))
    assert.equal(cluster.core(3).needsSnapshot, false)
  })

  it('elects nobody, who could not be established with it while a better one waits', () => {
    const cluster = new Cluster({ voters: [1, 2, 3] })
    cluster.boot(1, 2, 3)
    cluster.settle()
    cluster.propose(3, 'a')
    cluster.settle()
    for (const id of [1, 2, 3]) cluster.kill(id)
    cluster.member(1).disk.diverged = true
    cluster.boot(1, 2)
    cluster.pass(300)
    assert.deepEqual([cluster.role(1), cluster.role(2)], ['looking', 'looking'])
    cluster.boot(3)
    cluster.settle()
    assert.equal(cluster.role(3), 'leading broadcast 2')
    assert.equal(cluster.core(1).needsSnapshot, false)
    assert.equal(cluster.role(1), 'following broadcast')
  })

  it('makes a leader step down, and follow for a snapshot', () => {
    const cluster = new Cluster({ voters: [1, 2, 3] })
    cluster.boot(1, 2, 3)
    cluster.settle()
    cluster.propose(3, 'a')
    cluster.settle()
    cluster.event(3, { type: 'diverged', reason: 'the digests differ' })
    cluster.settle()
    assert.equal(cluster.role(2), 'leading broadcast 2')
    assert.ok(cluster.lines.includes('2 > 3 snapshot'))
    assert.equal(cluster.role(3), 'following broadcast')
  })
})

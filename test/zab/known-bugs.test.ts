// One scenario for each known bug of ZooKeeper's implementation, and each known issue of its specification, that this
// design could have (reference: zab.md section 5; the numbers are ZOOKEEPER-n). Most would be found by the simulator, too;
// here they are told.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { makeZxid, maxCounter } from '../../src/base/zxid.ts'
import { Cluster, type ClusterOptions } from '../support/zab-cluster.ts'

const z = makeZxid

/** Three servers, 3 leads, `a` is committed. */
function established(options: Partial<ClusterOptions> = {}): Cluster {
  const cluster = new Cluster({ voters: [1, 2, 3], ...options })
  cluster.boot(...cluster.members.keys())
  cluster.settle()
  cluster.propose(3, 'a')
  cluster.settle()
  return cluster
}

function logOf(cluster: Cluster, id: number): string[] {
  return cluster.member(id).disk.entries.map(({ bytes }) => Buffer.from(bytes).toString())
}

/** Whether a server has sent a message of this type. */
function hasSent(cluster: Cluster, id: number, type: string): boolean {
  return cluster.member(id).effects.some((effect) => effect.type === 'send' && effect.message.type === type)
}

describe('335, 1154, 1156: a history of a dead epoch', () => {
  it('does not win by its length, and is cut exactly where it leaves the others', () => {
    const cluster = new Cluster({ voters: [1, 2, 3] })
    const common = [
      [z(1, 1), 'a'],
      [z(1, 2), 'b'],
    ] as const
    cluster.past(1, { accepted: 1, current: 1 }, [...common, [z(1, 3), 'x'], [z(1, 4), 'y'], [z(1, 5), 'z']])
    cluster.past(2, { accepted: 2, current: 2 }, common)
    cluster.past(3, { accepted: 2, current: 2 }, common)
    cluster.boot(1, 2, 3)
    cluster.settle()
    assert.equal(cluster.role(3), 'leading broadcast 3')
    assert.deepEqual(logOf(cluster, 1), ['a', 'b'])
    assert.deepEqual(cluster.member(1).applied, ['a', 'b'])
  })

  it('with entries on both sides is searched for the last that both have', () => {
    // Can come about only after a disk was lost; still no entry may be guessed to be common.
    const cluster = new Cluster({ voters: [1, 2, 3] })
    cluster.past(1, { accepted: 3, current: 3 }, [
      [z(1, 1), 'a'],
      [z(1, 2), 'x'],
      [z(3, 1), 'y'],
    ])
    cluster.past(2, { accepted: 4, current: 4 }, [
      [z(1, 1), 'a'],
      [z(2, 1), 'b'],
      [z(4, 1), 'c'],
    ])
    cluster.boot(2)
    cluster.past(3, { accepted: 4, current: 4 }, [
      [z(1, 1), 'a'],
      [z(2, 1), 'b'],
      [z(4, 1), 'c'],
    ])
    cluster.boot(3)
    cluster.settle()
    cluster.boot(1)
    cluster.settle()
    assert.deepEqual(logOf(cluster, 1), ['a', 'b', 'c'])
    assert.ok(cluster.lines.includes('3 > 1 find zxid=0x200000001'))
    assert.ok(cluster.lines.includes('1 > 3 found zxid=0x100000002'))
    assert.ok(cluster.lines.includes('3 > 1 diff after=0x100000001'))
  })
})

describe('790, 4712, 4541: what the disk still owes', () => {
  it('is waited for before a server votes or can be voted for', () => {
    const cluster = established()
    cluster.member(1).holdLog = true
    cluster.propose(3, 'b')
    cluster.settle()
    cluster.kill(3)
    cluster.settle()
    assert.deepEqual([cluster.role(1), cluster.role(2)], ['looking', 'looking'])
    cluster.member(1).holdLog = false
    cluster.settle()
    assert.equal(cluster.role(2), 'leading broadcast 2')
  })
})

describe('1291: the accepted epoch', () => {
  it('is on the leader’s disk before anybody hears of it', () => {
    const cluster = new Cluster({ voters: [1, 2, 3] })
    cluster.boot(1, 2, 3)
    cluster.member(3).holdEpochs = true
    cluster.settle()
    assert.equal(hasSent(cluster, 3, 'newEpoch'), false)
  })

  it('is on a follower’s disk before it says so', () => {
    const cluster = new Cluster({ voters: [1, 2, 3] })
    cluster.boot(1, 2, 3)
    for (const id of [1, 2]) cluster.member(id).holdEpochs = true
    cluster.settle()
    assert.equal(hasSent(cluster, 3, 'newEpoch'), true)
    assert.equal(hasSent(cluster, 1, 'ackEpoch'), false)
  })

  it('is promised to one leader only: a second promise does not count', () => {
    const cluster = new Cluster({ voters: [1, 2, 3] })
    cluster.past(1, { accepted: 7, current: 0 }, [])
    cluster.boot(1)
    cluster.event(1, { type: 'peerConnected', peer: 3 })
    const status = {
      type: 'status',
      state: 'leading',
      leader: 3,
      candidate: false,
      current: -1,
      last: -1,
      epoch: 7,
      blank: false,
      blanks: 'none',
      votings: [],
      reconfigured: false,
      committedVoting: 0,
    } as const
    cluster.event(1, { type: 'message', from: 3, message: status })
    const session = cluster.core(1).sessions
    cluster.event(1, { type: 'message', from: 3, message: { type: 'newEpoch', session, epoch: 7 } })
    assert.equal(cluster.lines.at(-1), '1 > 3 ackEpoch last=0x0')
  })
})

describe('1282, 3911, 4646, 4785, 2678, 3023: newLeader', () => {
  /** Server 1 joins late and has `b` and `c` to get. */
  const joining = () => {
    const cluster = established()
    cluster.kill(1)
    cluster.propose(3, 'b')
    cluster.propose(3, 'c')
    cluster.settle()
    cluster.boot(1)
    return cluster
  }

  it('is acknowledged only when the history is durable', () => {
    const cluster = joining()
    cluster.member(1).holdLog = true
    cluster.settle()
    assert.equal(cluster.role(1), 'following synchronization')
    assert.equal(hasSent(cluster, 1, 'ackNewLeader'), true, 'in its first life')
    assert.equal(cluster.lines.filter((line) => line === '1 > 3 ackNewLeader').length, 1)
    cluster.member(1).holdLog = false
    cluster.settle()
    assert.equal(cluster.lines.filter((line) => line === '1 > 3 ackNewLeader').length, 2)
  })

  it('is acknowledged only when the current epoch is durable, too', () => {
    const cluster = new Cluster({ voters: [1, 2, 3] })
    cluster.boot(1, 2, 3)
    cluster.hold(3, 1, ({ type }) => type === 'newLeader')
    cluster.settle()
    cluster.member(1).holdEpochs = true
    cluster.release(3, 1)
    cluster.settle()
    assert.equal(cluster.member(1).epochWrite?.current, 1)
    assert.equal(hasSent(cluster, 1, 'ackNewLeader'), false)
  })

  it('4643: lets the current epoch be saved only after the history: a crash between leaves the old credential', () => {
    const cluster = new Cluster({ voters: [1, 2, 3] })
    cluster.past(1, { accepted: 1, current: 1 }, [[z(1, 1), 'a']])
    cluster.past(2, { accepted: 1, current: 1 }, [
      [z(1, 1), 'a'],
      [z(1, 2), 'b'],
    ])
    cluster.past(3, { accepted: 1, current: 1 }, [
      [z(1, 1), 'a'],
      [z(1, 2), 'b'],
    ])
    cluster.boot(1, 3)
    cluster.member(1).holdLog = true
    cluster.settle()
    assert.equal(cluster.role(1), 'following synchronization')
    cluster.kill(1)
    cluster.kill(3)
    assert.deepEqual(cluster.member(1).disk.epochs, { accepted: 2, current: 1 })
    cluster.boot(1, 2)
    cluster.settle()
    assert.equal(cluster.role(2), 'leading broadcast 3')
    assert.deepEqual(cluster.member(1).applied, ['a', 'b'])
  })

  it('4685: an ack of an entry that comes before it is taken, but does not count', () => {
    const cluster = established()
    cluster.kill(1)
    cluster.boot(1)
    cluster.member(1).holdEpochs = true
    cluster.settle()
    cluster.disconnect(2, 1)
    cluster.member(2).holdLog = true
    cluster.propose(3, 'b')
    cluster.settle()
    assert.ok(cluster.lines.includes('1 > 3 ack zxid=0x100000002'))
    assert.equal(cluster.role(3), 'leading broadcast 1')
    assert.deepEqual(cluster.member(3).applied, ['a'])
    cluster.member(1).holdEpochs = false
    cluster.settle()
    assert.deepEqual(cluster.member(3).applied, ['a', 'b'])
  })

  it('3104: comes after all of the history, however small the window', () => {
    const cluster = established({ settings: { windowBytes: 1, cacheBytes: 1 } })
    cluster.kill(1)
    for (const text of ['b', 'c', 'd']) {
      cluster.propose(3, text)
      cluster.settle()
    }
    const from = cluster.lines.length
    cluster.boot(1)
    cluster.settle()
    const sent = cluster.lines.slice(from).filter((line) => /^3 > 1 (proposal|newLeader|upToDate)/.test(line))
    assert.deepEqual(
      sent.map((line) => line.split(' ')[3]),
      ['proposal', 'proposal', 'proposal', 'newLeader', 'upToDate'],
    )
    assert.deepEqual(cluster.member(1).applied, ['a', 'b', 'c', 'd'])
  })
})

describe('what a learner has missed', () => {
  it('comes in messages of limited size, whether it is in memory or only in the log', () => {
    for (const cacheBytes of [1, 100_000]) {
      const cluster = established({ settings: { messageBytes: 2, cacheBytes } })
      cluster.kill(1)
      for (const text of ['b', 'c', 'long', 'd', 'e', 'f']) {
        cluster.propose(3, text)
        cluster.settle()
      }
      const from = cluster.lines.length
      cluster.boot(1)
      cluster.settle()
      const sent = cluster.lines.slice(from).filter((line) => /^3 > 1 proposal/.test(line))
      const firsts = sent.map((line) => /entries=\[(\w+)/.exec(line)?.[1])
      assert.deepEqual(firsts, ['0x100000002', '0x100000004', '0x100000005', '0x100000007'])
      assert.deepEqual(cluster.member(1).applied, ['a', 'b', 'c', 'long', 'd', 'e', 'f'])
    }
  })
})

describe('1277: the last transaction of an epoch', () => {
  it('is followed by a new epoch and not by an overflow', () => {
    const cluster = established()
    cluster.propose(3, 'b', maxCounter - 1)
    cluster.settle()
    assert.equal(cluster.core(3).history.lasts.at(-1), z(1, maxCounter))
    cluster.propose(3, 'c')
    cluster.settle()
    assert.equal(cluster.role(3), 'leading broadcast 2')
    cluster.propose(3, 'd')
    cluster.settle()
    assert.deepEqual(cluster.member(1).applied, ['a', 'b', 'd'])
  })
})

describe('1367, 4394: entries between newLeader and upToDate', () => {
  it('are logged, and applied with the commit point that upToDate brings', () => {
    const cluster = established()
    cluster.kill(1)
    cluster.boot(1)
    cluster.hold(1, 3, ({ type }) => type === 'ackNewLeader')
    cluster.settle()
    cluster.propose(3, 'b')
    cluster.settle()
    cluster.propose(3, 'c')
    cluster.settle()
    assert.deepEqual(logOf(cluster, 1), ['a', 'b', 'c'])
    cluster.release(1, 3)
    cluster.settle()
    assert.deepEqual(cluster.member(1).applied, ['a', 'b', 'c'])
  })
})

describe('1549, 2845: an uncommitted tail', () => {
  it('is not applied at a start, but only when a quorum is known to have it', () => {
    const cluster = new Cluster({ voters: [1, 2, 3] })
    cluster.past(1, { accepted: 1, current: 1 }, [
      [z(1, 1), 'a'],
      [z(1, 2), 'tail'],
    ])
    cluster.past(2, { accepted: 1, current: 1 }, [[z(1, 1), 'a']])
    cluster.boot(1)
    cluster.settle()
    assert.deepEqual(cluster.member(1).applied, [])
    cluster.boot(2)
    cluster.settle()
    assert.deepEqual(cluster.member(1).applied, ['a', 'tail'])
  })
})

describe('1732: a server that comes late', () => {
  it('joins whatever round of the election the others had', () => {
    const cluster = established()
    cluster.kill(1)
    cluster.event(3, { type: 'resign' })
    cluster.settle()
    assert.equal(cluster.role(2), 'leading broadcast 2')
    cluster.boot(1)
    cluster.settle()
    assert.equal(cluster.role(1), 'following broadcast')
  })
})

describe('2355: a gap', () => {
  it('is not logged: the follower leaves and is synchronized anew', () => {
    const cluster = established()
    const entry = { prev: z(1, 5), first: z(1, 6), last: z(1, 6), bytes: Buffer.from('x') }
    const session = cluster.core(1).sessions
    cluster.event(1, {
      type: 'message',
      from: 3,
      message: { type: 'proposal', session, entries: [entry], committed: z(1, 6) },
    })
    cluster.settle()
    assert.ok(cluster.lines.some((line) => line.includes('a gap: entry')))
    assert.deepEqual(logOf(cluster, 1), ['a'])
    assert.equal(cluster.role(1), 'following broadcast')
  })
})

describe('2872, 3642: a snapshot', () => {
  /** Server 1 has an empty history, the others have trimmed their logs. */
  const behind = () => {
    const cluster = new Cluster({ voters: [1, 2, 3] })
    cluster.boot(1, 2, 3)
    cluster.settle()
    cluster.kill(1)
    for (const text of ['a', 'b']) cluster.propose(3, text)
    cluster.settle()
    cluster.checkpoint(2)
    cluster.checkpoint(3)
    cluster.propose(3, 'c')
    cluster.settle()
    cluster.boot(1)
    return cluster
  }

  it('4352, 2846, 4925: is what a server gets whose history ends before the log begins', () => {
    const cluster = behind()
    cluster.settle()
    assert.ok(cluster.lines.includes('3 > 1 snapshot'))
    assert.deepEqual(cluster.member(1).applied, ['a', 'b', 'c'])
    assert.deepEqual(logOf(cluster, 1), ['c'])
  })

  it('that does not arrive leaves everything as it was', () => {
    const cluster = behind()
    cluster.hold(3, 1, () => false)
    cluster.settle()
    assert.equal(cluster.core(1).installing, true)
    cluster.disconnect(3, 1)
    assert.equal(cluster.core(1).installing, false)
    assert.deepEqual([cluster.member(1).disk.trimmedTo, cluster.member(1).applied], [0, []])
    cluster.release(3, 1)
    cluster.connect(3, 1)
    cluster.settle()
    assert.deepEqual(cluster.member(1).applied, ['a', 'b', 'c'])
  })

  it('that is being installed when the leader is lost is waited for', () => {
    const cluster = behind()
    cluster.member(1).holdLog = true
    cluster.settle()
    assert.equal(cluster.member(1).writes[0]?.type, 'install')
    cluster.kill(3)
    cluster.settle()
    assert.equal(cluster.role(1), 'looking')
    cluster.member(1).holdLog = false
    cluster.settle()
    assert.equal(cluster.role(2), 'leading broadcast 2')
    assert.deepEqual(cluster.member(1).applied, ['a', 'b', 'c'])
  })

  it('is asked for by a server whose state is no good, and none of the log that others count on is lost', () => {
    const cluster = established()
    cluster.event(1, { type: 'diverged', reason: 'the digests differ' })
    cluster.settle()
    assert.equal(cluster.member(1).disk.trimmedTo, z(1, 1))
    assert.deepEqual(cluster.member(1).applied, ['a'])
    assert.equal(cluster.role(1), 'following broadcast')
    assert.equal(cluster.role(3), 'leading broadcast 1')
  })

  it('is asked for by a server that has applied what the leader does not have', () => {
    const cluster = new Cluster({ voters: [1, 2, 3] })
    cluster.past(1, { accepted: 1, current: 1 }, [], z(1, 9))
    cluster.past(2, { accepted: 2, current: 2 }, [[z(2, 1), 'a']])
    cluster.past(3, { accepted: 2, current: 2 }, [[z(2, 1), 'a']])
    cluster.boot(2, 3)
    cluster.settle()
    cluster.boot(1)
    cluster.settle()
    assert.deepEqual(cluster.member(1).applied, ['a'])
  })
})

describe('spec issues', () => {
  it('1: what is proposed while a learner synchronizes reaches it', () => {
    const cluster = established()
    cluster.kill(1)
    cluster.boot(1)
    cluster.member(1).holdEpochs = true
    cluster.settle()
    cluster.propose(3, 'b')
    cluster.settle()
    cluster.member(1).holdEpochs = false
    cluster.settle()
    assert.deepEqual(cluster.member(1).applied, ['a', 'b'])
  })

  it('2: no entry is sent to a learner twice', () => {
    const cluster = established({ settings: { windowBytes: 2, cacheBytes: 1 } })
    cluster.kill(1)
    cluster.propose(3, 'b')
    cluster.settle()
    const from = cluster.lines.length
    cluster.boot(1)
    for (const text of ['c', 'd']) {
      cluster.propose(3, text)
      cluster.settle()
    }
    const sent = cluster.lines
      .slice(from)
      .flatMap((line) => (line.startsWith('3 > 1 proposal') ? [...line.matchAll(/(0x\w+) after/g)] : []))
    assert.deepEqual(
      sent.map(([, zxid]) => zxid),
      ['0x100000002', '0x100000003', '0x100000004'],
    )
  })

  it('3: upToDate brings the newest commit point', () => {
    const cluster = established()
    cluster.kill(1)
    cluster.boot(1)
    cluster.hold(1, 3, ({ type }) => type === 'ackNewLeader')
    cluster.settle()
    cluster.propose(3, 'b')
    cluster.settle()
    cluster.release(1, 3)
    cluster.settle()
    assert.ok(cluster.lines.includes('3 > 1 upToDate committed=0x100000002'))
  })
})

describe('an answer to an earlier life of a server', () => {
  it('is not taken for one to this', () => {
    const cluster = established()
    const old = cluster.core(1).sessions
    cluster.kill(1)
    cluster.boot(1)
    cluster.event(1, { type: 'message', from: 3, message: { type: 'newLeader', session: old, epoch: 1 } })
    cluster.settle()
    assert.equal(cluster.role(1), 'following broadcast')
  })
})

describe('found by the simulator (seed 208828): the leader’s own log', () => {
  it('does not count for a commit before its current epoch is on disk', () => {
    const cluster = new Cluster({ voters: [1, 2, 3] })
    cluster.boot(1, 2, 3)
    for (const id of [1, 2]) cluster.hold(id, 3, ({ type }) => type === 'ackEpoch')
    cluster.settle()
    cluster.member(3).holdEpochs = true
    for (const id of [1, 2]) cluster.release(id, 3)
    cluster.settle()
    assert.equal(cluster.role(3), 'leading broadcast 1')
    cluster.member(2).holdLog = true
    cluster.propose(3, 'a')
    cluster.settle()
    assert.equal(cluster.core(3).history.durable, z(1, 1))
    assert.deepEqual(cluster.member(3).applied, [])
    cluster.member(3).holdEpochs = false
    cluster.settle()
    assert.deepEqual(cluster.member(3).applied, ['a'])
  })
})

describe('found by the simulator (seed 204459): two servers that answer to what the other was before', () => {
  it('do not chase each other for ever: who looks and names no vote may still come', () => {
    const cluster = new Cluster({ voters: [1, 2] })
    cluster.boot(1, 2)
    cluster.hold(1, 2, ({ type }) => type === 'followerInfo')
    cluster.settle()
    assert.equal(cluster.role(2), 'leading discovery -1')
    const { announced } = cluster.core(1)
    cluster.event(2, {
      type: 'message',
      from: 1,
      message: { ...announced, state: 'looking', leader: undefined },
    })
    assert.equal(cluster.role(2), 'leading discovery -1')
    cluster.event(2, { type: 'message', from: 1, message: { ...announced, state: 'looking', leader: 1 } })
    assert.equal(cluster.role(2), 'looking')
  })
})

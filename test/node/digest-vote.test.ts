import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DigestVote, type Verdict } from '../../src/node/digest-vote.ts'
import { majority } from '../../src/zab/quorum.ts'

const at = 128

/** A leader 1 of these voters; `follow` are those that are up to date. */
function leaderOf(voters: readonly number[], follow: number[]): DigestVote {
  return new DigestVote(
    1,
    () => majority(voters),
    (id) => follow.includes(id),
  )
}

function digest(low: number, zxid = at) {
  return { zxid, high: 0, low }
}

function verdict(parts: Partial<Verdict>): Verdict {
  return { zxid: at, diverged: [], needed: [], self: false, ...parts }
}

test('equal digests are no news, in whatever order they come', () => {
  const vote = leaderOf([1, 2, 3], [2, 3])
  assert.equal(vote.report(2, digest(5)), undefined)
  assert.equal(vote.own(digest(5)), undefined)
  assert.equal(vote.report(3, digest(5)), undefined)
})

test('who differs from a majority is wrong, and is told once', () => {
  const vote = leaderOf([1, 2, 3], [2, 3])
  vote.own(digest(5))
  assert.equal(vote.report(2, digest(6)), undefined, 'two of three have not spoken')
  assert.deepEqual(vote.report(3, digest(5)), verdict({ diverged: [2] }))
  assert.equal(vote.own(digest(7, 256)), undefined)
  assert.equal(vote.report(2, digest(8, 256)), undefined)
  assert.equal(vote.report(3, digest(7, 256)), undefined)
})

test('the leader is wrong when a quorum of others agrees on something else', () => {
  const vote = leaderOf([1, 2, 3], [2, 3])
  vote.report(2, digest(6))
  vote.report(3, digest(6))
  assert.deepEqual(vote.own(digest(5)), verdict({ self: true }))
})

test('digests of different zxids are not held against each other', () => {
  const vote = leaderOf([1, 2, 3], [2, 3])
  vote.own(digest(5, 128))
  vote.report(2, digest(6, 256))
  assert.equal(vote.report(3, digest(6, 256)), undefined)
})

test('without a majority for anything the leader is right, when all that follow have spoken', () => {
  const vote = leaderOf([1, 2, 3, 4, 5], [2, 3, 4, 5])
  vote.own(digest(5))
  vote.report(2, digest(5))
  vote.report(3, digest(6))
  assert.equal(vote.report(4, digest(7)), undefined)
  assert.deepEqual(vote.report(5, digest(5)), verdict({ diverged: [3, 4] }))
})

test('no more are told than a quorum can do without; the others when those are back', () => {
  const vote = leaderOf([1, 2, 3], [2, 3])
  vote.own(digest(5))
  vote.report(2, digest(6))
  assert.deepEqual(vote.report(3, digest(7)), verdict({ diverged: [2], needed: [3] }))
  vote.own(digest(5, 256))
  vote.report(2, digest(6, 256))
  assert.equal(vote.report(3, digest(7, 256)), undefined, 'it has been named')
  vote.forget(2)
  vote.own(digest(5, 384))
  vote.report(2, digest(5, 384))
  assert.deepEqual(vote.report(3, digest(7, 384)), verdict({ zxid: 384, diverged: [3] }))
})

test('of two servers, and of three with one away, the follower is needed', () => {
  for (const voters of [
    [1, 2],
    [1, 2, 3],
  ]) {
    const vote = leaderOf(voters, [2])
    vote.own(digest(5))
    assert.deepEqual(vote.report(2, digest(6)), verdict({ needed: [2] }))
  }
})

test('an observer is told as soon as a majority is against it, and never needed', () => {
  const vote = leaderOf([1, 2, 3], [2, 3, 9])
  vote.own(digest(5))
  assert.equal(vote.report(9, digest(6)), undefined)
  assert.deepEqual(vote.report(2, digest(5)), verdict({ diverged: [9] }))
})

test('a server that has another state is judged anew, and not by what it said before', () => {
  const vote = leaderOf([1, 2, 3], [2, 3])
  vote.own(digest(5))
  vote.report(3, digest(5))
  assert.deepEqual(vote.report(2, digest(6)), verdict({ diverged: [2] }))
  vote.forget(2)
  assert.equal(vote.report(3, digest(5)), undefined)
  assert.deepEqual(vote.report(2, digest(6)), verdict({ diverged: [2] }))
})

test('what is long ago is forgotten', () => {
  const vote = leaderOf([1, 2, 3], [2, 3])
  for (let i = 0; i <= 64; i++) vote.report(2, digest(6, i * 128))
  vote.own(digest(5, 0))
  assert.equal(vote.report(3, digest(5, 0)), undefined)
})

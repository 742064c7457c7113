import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SessionTracker } from '../../src/node/session-tracker.ts'
import { Tree } from '../../src/tree/tree.ts'
import { fakeOrigin } from '../support/origins.ts'

const wall = 1_700_000_000_000

function setUp(...sessions: readonly (readonly [id: number, timeout: number])[]) {
  const tree = new Tree()
  tree.initialize()
  for (const [id, timeout] of sessions) tree.openSession(id, timeout)
  return { tree, tracker: new SessionTracker(tree, 3, 1000) }
}

test('a new leader gives every session a full timeout: the one agreed upon here, else the stored one', () => {
  const { tracker } = setUp([1, 4000], [2, 4000])
  tracker.attach(fakeOrigin(2, 8000).connection)
  tracker.lead(10_000, wall)
  assert.deepEqual([tracker.expiry.deadline(1), tracker.expiry.deadline(2)], [15_000, 19_000])
  tracker.follow(wall)
  tracker.lead(20_000, wall)
  assert.deepEqual([tracker.expiry.deadline(1), tracker.expiry.deadline(2)], [25_000, 29_000])
})

test('ids are never given out twice, over roles and clocks that go back', () => {
  const { tree, tracker } = setUp()
  const seen = new Set<number>()
  const draw = () => {
    for (let i = 0; i < 5; i++) {
      assert.equal(tracker.next, tracker.mint())
      seen.add(tracker.mint())
    }
  }
  tracker.lead(0, wall)
  draw()
  tracker.follow(wall)
  draw()
  tracker.follow(wall - 1_000_000)
  draw()
  tree.openSession(tracker.next + 50, 4000)
  tracker.lead(0, wall)
  draw()
  assert.equal(seen.size, 20)
  assert.ok(Math.max(...seen) > tree.newestSession(3))
})

test('signs of life: a follower gathers them for the leader, a leader counts them', () => {
  const { tracker } = setUp([1, 4000], [2, 4000])
  tracker.follow(wall)
  tracker.touch(1, 4000, 0)
  tracker.touch(2, 5000, 0)
  tracker.touch(1, 6000, 1)
  assert.deepEqual(tracker.takeTouches(), { clients: [1, 2], timeouts: [6000, 5000] })
  assert.equal(tracker.takeTouches(), undefined)
  tracker.touch(1, 4000, 0)
  tracker.lead(0, wall)
  assert.equal(tracker.takeTouches(), undefined)
  tracker.touch(1, 4000, 7000)
  assert.equal(tracker.expiry.deadline(1), 12_000)
})

test("a learner's signs of life count for its own clients that are open, and nobody else's", () => {
  const { tracker } = setUp([1, 4000], [2, 4000], [3, 4000], [4, 4000])
  tracker.lead(0, wall)
  tracker.owners.set(1, 7)
  tracker.owners.set(2, 8)
  tracker.attach(fakeOrigin(3).connection)
  tracker.closeProposed(4)
  tracker.owners.set(4, 7)
  tracker.touchAll(7, [1, 2, 3, 4, 5], [4000, 4000, 4000, 4000, 4000], 10_000)
  assert.deepEqual(
    [1, 2, 3, 4, 5].map((id) => tracker.expiry.deadline(id)),
    [15_000, 5000, 5000, undefined, undefined],
  )
})

test('a session whose end is proposed is closed for everybody, and lives on if that comes to nothing', () => {
  const { tree, tracker } = setUp([1, 4000], [2, 4000])
  tracker.lead(0, wall)
  tracker.closeProposed(1)
  tracker.touch(1, 4000, 500)
  assert.deepEqual([tracker.isOpen(1), tracker.isOpen(2), tracker.isOpen(3)], [false, true, false])
  assert.equal(tracker.expiry.deadline(1), undefined)
  tracker.abandon(9000)
  assert.deepEqual([tracker.isOpen(1), tracker.expiry.deadline(1)], [true, 14_000])
  tracker.closeProposed(2)
  tree.endSession(2)
  tracker.abandon(9000)
  assert.equal(tracker.expiry.deadline(2), undefined)
})

test('a second connection of a session takes the place of the first, whose end then changes nothing', () => {
  const { tracker } = setUp([1, 4000])
  const [first, second] = [fakeOrigin(1), fakeOrigin(1)]
  tracker.attach(first.connection)
  tracker.attach(first.connection)
  assert.deepEqual(first.told, [])
  tracker.attach(second.connection)
  assert.deepEqual(first.told, [{ type: 'destroyed' }])
  assert.equal(tracker.detach(first.connection), false)
  assert.equal(tracker.attached.get(1), second.connection)
  assert.equal(tracker.detach(second.connection), true)
})

test('a session that has moved is let go here, with the signs of life that it gave', () => {
  const { tracker } = setUp([1, 4000])
  tracker.follow(wall)
  const origin = fakeOrigin(1)
  tracker.attach(origin.connection)
  tracker.touch(1, 4000, 0)
  tracker.moved(1)
  tracker.moved(2)
  assert.deepEqual(origin.told, [{ type: 'destroyed' }])
  assert.deepEqual([tracker.attached.size, tracker.takeTouches()], [0, undefined])
})

test('a closed session is forgotten, and its client disconnected unless it asked for that itself', () => {
  const { tracker } = setUp([1, 4000], [2, 4000])
  tracker.lead(0, wall)
  const [one, two] = [fakeOrigin(1), fakeOrigin(2)]
  tracker.attach(one.connection)
  tracker.attach(two.connection)
  tracker.owners.set(1, 7)
  tracker.closeProposed(1)
  tracker.closed(1, undefined)
  tracker.closed(2, two.connection)
  assert.deepEqual([one.told, two.told], [[{ type: 'closed' }], []])
  assert.deepEqual([tracker.attached.size, tracker.owners.size, tracker.closing.size], [0, 0, 0])
  assert.equal(tracker.expiry.deadline(2), undefined)
})

test('a role that begins knows nothing of what the one before had asked for', () => {
  const { tracker } = setUp([1, 4000])
  tracker.lead(0, wall)
  tracker.owners.set(1, 7)
  tracker.closeProposed(1)
  tracker.follow(wall)
  assert.deepEqual([tracker.owners.size, tracker.closing.size, tracker.isOpen(1)], [0, 0, true])
})

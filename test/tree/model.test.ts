// The tree and a naive model of ZooKeeper get the same random transactions: errors, replies, changes and the whole
// state must be the same after each of them.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Applier } from '../../src/tree/apply.ts'
import { Tree } from '../../src/tree/tree.ts'
import { applyToModel, type Change, freshModel, type Outcome } from '../support/tree-model.ts'
import { checkProperty, opening, type Step, step } from '../support/tree-random.ts'
import { assertSameState, checkTree, outcomeOf, stateOfModel, stateOfTree } from '../support/tree-state.ts'
import { batchOf, type Request } from '../support/tree-transactions.ts'

const manySteps = fc.array(step, { minLength: 100, maxLength: 150, size: 'max' })

/** The order in which a session's ephemerals go is unspecified (rule 37): pairs of events, sorted. */
function ordered(request: Request, changes: readonly Change[]): readonly unknown[] {
  if (request.type !== 'closeSession') return changes
  const pairs: string[] = []
  for (let i = 0; i < changes.length; i += 2) pairs.push(JSON.stringify(changes.slice(i, i + 2)))
  return pairs.sort()
}

function assertSameOutcome(request: Request, actual: Outcome, expected: Outcome, watched: boolean): void {
  assert.deepEqual(
    { ...actual, changes: ordered(request, actual.changes) },
    { ...expected, changes: watched ? ordered(request, expected.changes) : [] },
    JSON.stringify(request),
  )
}

function runBoth(
  steps: readonly Step[],
  watched: (zxid: number) => boolean,
  seen: Map<string, number>,
): void {
  const tree = new Tree()
  tree.initialize()
  const applier = new Applier(tree)
  const model = freshModel()
  let time = 1_700_000_000_000
  for (const step of [...opening, ...steps]) {
    const { request, options } = step
    time += step.elapsed
    const zxid = model.zxid + 1
    tree.watched = watched(zxid)
    applier.apply(batchOf([step], time, options), 0, zxid, true)
    const expected = applyToModel(model, step, zxid, time, options)
    assertSameOutcome(request, outcomeOf(applier, request), expected, tree.watched)
    assertSameState(stateOfTree(tree), stateOfModel(model), JSON.stringify(request))
    if (zxid % 10 === 0) checkTree(tree)
    const failure = expected.results.find(({ err }) => err !== 0 && err !== -2)
    const what = `${request.type} ${expected.err !== 0 ? expected.err : (failure?.err ?? 0)}`
    seen.set(what, (seen.get(what) ?? 0) + 1)
  }
  checkTree(tree)
}

for (const [title, watched] of [
  ['with somebody watching', () => true],
  ['with nobody watching', () => false],
  ['with watchers that come and go', (zxid: number) => zxid % 3 === 0],
] as const) {
  test(`the tree does what a naive model of ZooKeeper does: ${title}`, (t) => {
    const seen = new Map<string, number>()
    checkProperty(
      (message) => t.diagnostic(message),
      manySteps,
      (steps) => runBoth(steps, watched, seen),
      { runs: 24, limitMs: 700 },
    )
    // The property says little about what the generator does not reach.
    for (const what of [
      'create 0',
      'create -8',
      'create -101',
      'create -102',
      'create -110',
      'create -108',
      'create -114',
      'create -112',
      'create -125',
      'delete 0',
      'delete -8',
      'delete -101',
      'delete -102',
      'delete -103',
      'delete -111',
      'setData 0',
      'setData -101',
      'setData -102',
      'setData -103',
      'setAcl 0',
      'setAcl -102',
      'setAcl -114',
      'multi 0',
      'multi -101',
      'multi -103',
      'multi -110',
      'multi -111',
      'closeSession 0',
      'deleteContainer 0',
      'deleteContainer -103',
    ])
      assert.ok(seen.has(what), `${what} never happened: ${JSON.stringify([...seen].sort())}`)
  })
}

// Random transactions for property tests, as fast-check arbitraries: paths of a small alphabet, so that they meet;
// every kind of request, valid and not; multis of which many fail midway. It draws, it never applies.
import fc from 'fast-check'
import { Op } from '../../src/base/opcodes.ts'
import type { Id, RawAcl } from '../../src/tree/acl.ts'
import { BatchOption } from '../../src/tree/batch.ts'
import type { AclList, Operation, Request, Transaction } from './tree-transactions.ts'

/** Sessions of the random transactions; the last one is near the end of what an id may be. */
export const sessionIds: readonly number[] = [0x1001, 0x1002, 7 * 2 ** 45 + 12_345, 2 ** 53 - 1]

const alice: Id = { scheme: 'digest', id: 'alice:a1=' }
const bob: Id = { scheme: 'digest', id: 'bob:b2=' }
const identities: readonly (readonly Id[])[] = [
  [{ scheme: 'ip', id: '10.0.0.1' }],
  [{ scheme: 'ip', id: '10.0.0.1' }, alice],
  [{ scheme: 'ip', id: '10.1.0.2' }, bob],
  [{ scheme: 'ip', id: '10.1.0.2' }, bob, alice],
  [
    { scheme: 'ip', id: '10.9.9.9' },
    { scheme: 'super', id: '' },
  ],
]

const any: RawAcl = { perms: 31, scheme: 'world', id: 'anyone' }
const aclLists: readonly AclList[] = [
  [{ perms: 1, scheme: 'world', id: 'anyone' }],
  [{ perms: 31, ...alice }],
  [{ perms: 31, scheme: 'auth', id: '' }],
  [{ perms: 5, scheme: 'auth', id: null }, any, any],
  [{ perms: 15, scheme: 'ip', id: '10.0.0.1' }],
  [
    { perms: 27, scheme: 'ip', id: '10.1.0.0/16' },
    { perms: 4, ...bob },
  ],
  [
    { perms: 2, ...alice },
    { perms: 29, ...bob },
  ],
  [{ perms: 0, scheme: 'world', id: 'anyone' }],
  [{ perms: -1, ...alice }],
  [],
  null,
  [{ perms: 31, scheme: 'world', id: 'nobody' }],
  [{ perms: 31, scheme: 'digest', id: 'nocolon' }],
  [{ perms: 31, scheme: 'ip', id: '10.0.0.1/33' }],
  [any, { perms: 31, scheme: 'none', id: 'x' }],
  [{ perms: 31, scheme: null, id: 'x' }],
]

const name = fc.constantFrom('a', 'a', 'a', 'b', 'b', 'é', 'p')
const depth = fc.constantFrom(1, 1, 1, 1, 2, 2, 2, 3)
const goodPath = depth
  .chain((length) => fc.array(name, { minLength: length, maxLength: length }))
  .map((names) => `/${names.join('/')}`)
const sequencePath = fc
  .tuple(goodPath, fc.nat(4))
  .map(([path, sequence]) => `${path}${String(sequence).padStart(10, '0')}`)
const oddPath = fc.constantFrom(
  '',
  'a',
  'a/b',
  '/',
  '//',
  '//a',
  '/a/',
  '/a//b',
  '/a/./b',
  '/..',
  '/a/..',
  '/a\0',
  '/a/\u0001',
  '/\u0085',
  '/a/\ue000',
  '/\ufffd',
  '/zookeeper',
  '/zookeeper/quota',
  '/zookeeper/config',
  '/zookeeper/x',
)
const quotaTarget = fc.constantFrom('', '/a', '/a/b', '/b', '/zookeeper')
const quotaPath = fc
  .tuple(quotaTarget, fc.constantFrom('', '/zookeeper_limits', '/zookeeper_stats'))
  .map(([target, leaf]) => `/zookeeper/quota${target}${leaf}`)
const path = fc.oneof(
  { weight: 20, arbitrary: goodPath },
  { weight: 2, arbitrary: sequencePath },
  { weight: 2, arbitrary: oddPath },
  { weight: 4, arbitrary: quotaPath },
)

const limit = fc.integer({ min: -1, max: 12 })
const limitsText = fc
  .tuple(limit, limit, limit, limit)
  .map(
    ([count, bytes, hardBytes, hardCount]) =>
      `count=${count},bytes=${bytes}=;byteHardLimit=${hardBytes};countHardLimit=${hardCount}`,
  )
const plainData = fc.oneof(
  fc.constant(null),
  fc.constant(Buffer.alloc(0)),
  fc.uint8Array({ maxLength: 9 }).map((bytes) => Buffer.from(bytes)),
)

/** Quota znodes get texts that can be read, everything else any bytes. */
function dataFor(target: string): fc.Arbitrary<Buffer | null> {
  return target.includes('/zookeeper_') ? limitsText.map((text) => Buffer.from(text)) : plainData
}

const acl = fc.oneof(
  { weight: 4, arbitrary: fc.constant<AclList>([any]) },
  { weight: 1, arbitrary: fc.constantFrom(...aclLists) },
)
const version = fc.oneof(
  { weight: 4, arbitrary: fc.constant(-1) },
  { weight: 2, arbitrary: fc.integer({ min: 0, max: 2 }) },
  { weight: 1, arbitrary: fc.constantFrom(-2, 2 ** 31 - 1, -(2 ** 31)) },
)
const mode = fc.oneof(
  { weight: 6, arbitrary: fc.constant([Op.create, 0] as const) },
  {
    weight: 10,
    arbitrary: fc.constantFrom(
      ...([
        [Op.create2, 0],
        [Op.create, 1],
        [Op.create2, 1],
        [Op.create, 2],
        [Op.create2, 2],
        [Op.create2, 3],
        [Op.createContainer, 4],
        [Op.createContainer, 4],
        [Op.createTtl, 5],
        [Op.createTtl, 6],
      ] as const),
    ),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      ...([
        [Op.create, 4],
        [Op.create, 5],
        [Op.create2, 7],
        [Op.create, -1],
        [Op.createContainer, 0],
        [Op.createTtl, 0],
      ] as const),
    ),
  },
)
const ttl = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(1, 50, 2 ** 40 - 1, 2 ** 33 + 5) },
  { weight: 1, arbitrary: fc.constantFrom(0, -1, 2 ** 40) },
)

const createRequest: fc.Arbitrary<Operation> = fc
  .tuple(path, acl, mode, ttl)
  .chain(([path, acl, [op, flags], ttl]) =>
    dataFor(path).map((data) => ({ type: 'create', op, path, data, acl, flags, ttl })),
  )
const setDataRequest: fc.Arbitrary<Operation> = fc
  .tuple(path, version)
  .chain(([path, version]) => dataFor(path).map((data) => ({ type: 'setData', path, data, version })))
const deleteRequest: fc.Arbitrary<Operation> = fc.record({ type: fc.constant('delete'), path, version })
const checkRequest: fc.Arbitrary<Operation> = fc.record({ type: fc.constant('check'), path, version })
const setAclRequest: fc.Arbitrary<Operation> = fc.record({ type: fc.constant('setAcl'), path, acl, version })

const inMulti = fc.oneof(
  { weight: 6, arbitrary: createRequest },
  { weight: 3, arbitrary: setDataRequest },
  { weight: 3, arbitrary: deleteRequest },
  { weight: 1, arbitrary: checkRequest },
)
/** Steps that mostly succeed, so that multis get far before they fail. */
const likely: fc.Arbitrary<Operation> = fc.oneof(
  fc.tuple(goodPath, plainData).map(([path, data]): Operation => {
    return { type: 'create', op: Op.create, path, data, acl: [any], flags: 2, ttl: 0 }
  }),
  fc.record({ type: fc.constant('setData'), path: goodPath, data: plainData, version: fc.constant(-1) }),
)
/** Of few znodes, so that the same one comes twice, and the second time under the version that the first one leaves. */
const fewPaths = fc.constantFrom('/a', '/a', '/b', '/a/b')
const setOrCheck: fc.Arbitrary<Operation> = fc.oneof(
  fc.record({
    type: fc.constant('setData'),
    path: fewPaths,
    data: plainData,
    version: fc.constantFrom(-1, -1, -1, 0, 1, 2, 3),
  }),
  fc.record({ type: fc.constant('check'), path: fewPaths, version: fc.constantFrom(-1, -1, 0, 1, 2, 3) }),
)
/** Znodes that go and come back, also under another one's reference. */
const comingAndGoing: fc.Arbitrary<Operation> = fc.oneof(
  fc.tuple(fewPaths, plainData, fc.constantFrom(0, 0, 1)).map(([path, data, flags]): Operation => {
    return { type: 'create', op: Op.create, path, data, acl: [any], flags, ttl: 0 }
  }),
  fc.record({ type: fc.constant('delete'), path: fewPaths, version: fc.constant(-1) }),
  fc.record({ type: fc.constant('setData'), path: fewPaths, data: plainData, version: fc.constant(-1) }),
)
const operations = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.array(fc.oneof({ weight: 3, arbitrary: inMulti }, { weight: 2, arbitrary: likely }), {
      maxLength: 7,
    }),
  },
  { weight: 1, arbitrary: fc.array(setOrCheck, { maxLength: 7 }) },
  { weight: 1, arbitrary: fc.array(comingAndGoing, { maxLength: 9 }) },
)
const multiRequest: fc.Arbitrary<Request> = fc.record({ type: fc.constant('multi'), operations })

export const request: fc.Arbitrary<Request> = fc.oneof(
  { weight: 26, arbitrary: createRequest },
  { weight: 10, arbitrary: setDataRequest },
  { weight: 12, arbitrary: deleteRequest },
  { weight: 6, arbitrary: setAclRequest },
  { weight: 1, arbitrary: checkRequest },
  { weight: 16, arbitrary: multiRequest },
  {
    weight: 5,
    arbitrary: fc.record({
      type: fc.constant('createSession'),
      timeout: fc.integer({ min: 1, max: 60_000 }),
    }),
  },
  { weight: 1, arbitrary: fc.constant<Request>({ type: 'closeSession' }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('deleteContainer'), path: goodPath }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('error'), code: fc.constantFrom(-5, -114) }) },
  {
    weight: 1,
    arbitrary: fc.nat(255).map(
      (fill): Request => ({
        type: 'settings',
        rulesVersion: fill,
        id: Buffer.alloc(16, fill),
        secret: Buffer.alloc(32, fill),
      }),
    ),
  },
)

/** A transaction with what its batch says. */
export type Step = Transaction & {
  readonly options: number
  /** How long after the one before, ms. */
  readonly elapsed: number
}

export const step: fc.Arbitrary<Step> = fc.record({
  session: fc.constantFrom(...sessionIds),
  ids: fc.constantFrom(...identities),
  request,
  options: fc.constantFrom(
    0,
    0,
    0,
    BatchOption.enforceQuota,
    BatchOption.enforceQuota,
    BatchOption.enforceQuota | BatchOption.ttlDisabled,
    BatchOption.skipAcl,
  ),
  elapsed: fc.constantFrom(0, 0, 1, 20, 100),
})

/** What each test begins with: all sessions are opened, and there are some znodes, one of them private, and a quota. */
export const opening: readonly Step[] = [
  ...sessionIds.map((session, i) => by(session, { type: 'createSession', timeout: 4000 + i })),
  ...['/a', '/b', '/a/b', '/zookeeper/quota/a', '/zookeeper/quota/a/b'].map((path) =>
    by(sessionIds[0]!, plain(path, 'some')),
  ),
  by(sessionIds[0]!, { ...plain('/p', ''), acl: [{ perms: 31, ...alice }] }),
  by(sessionIds[0]!, plain('/zookeeper/quota/a/zookeeper_limits', 'count=3,bytes=9=;countHardLimit=5')),
  by(sessionIds[0]!, plain('/zookeeper/quota/a/zookeeper_stats', 'count=0,bytes=0')),
]

function by(session: number, request: Request): Step {
  return { session, ids: [], request, options: 0, elapsed: 1 }
}

function plain(path: string, text: string): Extract<Operation, { type: 'create' }> {
  return { type: 'create', op: Op.create, path, data: Buffer.from(text), acl: [any], flags: 0, ttl: 0 }
}

/** Longest text of a counterexample that is shown. */
const shownMax = 3000
const fixedSeed = 20_261_122

/**
 * Checks a property: `runs` times with the same values as ever, whatever time that takes, then for `limitMs` at most
 * with new ones, up to ten times as many. `tell` gets the seed of those, so that a failure can be repeated.
 */
export function checkProperty<Value>(
  tell: (message: string) => void,
  arbitrary: fc.Arbitrary<Value>,
  predicate: (value: Value) => void,
  { runs, limitMs }: { readonly runs: number; readonly limitMs: number },
): void {
  const property = fc.property(arbitrary, predicate)
  refuse(fc.check(property, { seed: fixedSeed, numRuns: runs }))
  const seed = Math.floor(Math.random() * 2 ** 31)
  tell(`random seed of this run: ${seed}`)
  refuse(fc.check(property, { seed, numRuns: 10 * runs, interruptAfterTimeLimit: limitMs }))
}

/** Throws for a property that does not hold; that the time was up is no failure. */
function refuse<Value>(run: fc.RunDetails<[Value]>): void {
  if (!run.failed || run.counterexample === null) return
  const example = fc.stringify(run.counterexample[0]).replaceAll('__proto__:null,', '').slice(0, shownMax)
  const why = run.errorInstance instanceof Error ? run.errorInstance.message : ''
  throw new Error(`${why}\nseed ${run.seed}, counterexample ${example}`, { cause: run.errorInstance })
}

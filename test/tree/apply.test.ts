// Rules of the write operations by name: the order of checks, the edges of sequence numbers and TTLs, what is told and
// what is not. That the whole of it is right is for model.test.ts; here each rule is a sentence.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Code } from '../../src/base/errors.ts'
import { Op } from '../../src/base/opcodes.ts'
import { pathBytesMax } from '../../src/base/paths.ts'
import type { Id } from '../../src/tree/acl.ts'
import { Applier } from '../../src/tree/apply.ts'
import { Batch, BatchOption } from '../../src/tree/batch.ts'
import { Tree } from '../../src/tree/tree.ts'
import { assertSameState, checkTree, outcomeOf, stateOfTree } from '../support/tree-state.ts'
import {
  type AclList,
  batchOf,
  check,
  create,
  createContainer,
  createTtl,
  encodeRequest,
  multi,
  type Operation,
  type Request,
  remove,
  setAcl,
  setData,
  world,
} from '../support/tree-transactions.ts'

const session = 0x1000
const readOnly: AclList = [{ perms: 1, scheme: 'world', id: 'anyone' }]
const alice: readonly Id[] = [{ scheme: 'digest', id: 'alice:x' }]
const start = 1_700_000_000_000

type By = { session?: number; ids?: readonly Id[]; options?: number; time?: number; wanted?: boolean }

class Server {
  readonly tree = new Tree()
  readonly applier = new Applier(this.tree)

  constructor() {
    this.tree.initialize()
    this.tree.watched = true
    this.do({ type: 'createSession', timeout: 4000 })
  }

  /** The error of a request. */
  do(request: Request, by: By = {}): number {
    const { options = 0, time = start, wanted = true } = by
    const transaction = { session: by.session ?? session, ids: by.ids ?? [], request }
    this.applier.apply(batchOf([transaction], time, options), 0, this.tree.zxid + 1, wanted)
    return this.applier.err
  }

  all(...requests: Request[]): this {
    for (const request of requests) assert.equal(this.do(request), 0, JSON.stringify(request))
    return this
  }

  /** What the last request, which was this one, answered. */
  outcome(request: Request) {
    return outcomeOf(this.applier, request)
  }

  /** Path that a create answers with. */
  created(request: Operation): string | undefined {
    assert.equal(this.do(request), 0)
    return this.outcome(request).results[0]?.path
  }

  data(path: string): string | undefined {
    return this.tree.data(this.tree.store.findPath(path))?.toString()
  }

  has(path: string): boolean {
    return this.tree.store.findPath(path) >= 0
  }

  changes(): string[] {
    const { changes } = this.tree
    return changes.types.slice(0, changes.count).map((type, i) => `${type} ${changes.paths[i]}`)
  }
}

function make(path: string, acl: AclList, flags = 0): Operation {
  return { type: 'create', op: Op.create, path, data: null, acl, flags, ttl: 0 }
}

// ---- create ----

/** Each request has the fault of its line and, as far as they go together, those of the lines below it. */
const createOrder: readonly (readonly [string, Request, By, number])[] = [
  ['flags', make('bad', [], 9), { session: 99 }, Code.badArguments],
  [
    'TTL switched off',
    createTtl('bad', 0),
    { session: 99, options: BatchOption.ttlDisabled },
    Code.unimplemented,
  ],
  ['TTL value', createTtl('bad', 0), { session: 99 }, Code.badArguments],
  ['session', make('bad', []), { session: 99 }, Code.sessionExpired],
  ['a path without a slash', make('bad', []), {}, Code.badArguments],
  ['a NUL', make('/missing/\0', []), {}, Code.badArguments],
  ['a NUL where nothing is to be', make('/missing/\0', readOnly), {}, Code.badArguments],
  ['a NUL where nothing may be created', make('/private/\0', readOnly), {}, Code.badArguments],
  ['ACL', make('/missing/./x', []), {}, Code.invalidAcl],
  ['parent', make('/missing/.', readOnly), {}, Code.noNode],
  ['permission', make('/private/.', readOnly), {}, Code.noAuth],
  ['the whole path', make('/e/.', readOnly), {}, Code.badArguments],
  ['existence', make('/a', readOnly), {}, Code.nodeExists],
  ['ephemeral parent', make('/e/x', readOnly), {}, Code.noChildrenForEphemerals],
]

test('create checks in this order', () => {
  const server = new Server().all(create('/a'), create('/e', '', 1), make('/private', readOnly))
  for (const [what, request, by, err] of createOrder) assert.equal(server.do(request, by), err, what)
})

test('a create that fails changes nothing but the last zxid, and tells nobody', () => {
  const server = new Server().all(create('/a'), create('/e', '', 1), make('/private', readOnly))
  const withoutZxid = () => stateOfTree(server.tree).filter((line) => !line.startsWith('zxid'))
  const before = withoutZxid()
  for (const [what, request, by] of createOrder) {
    const zxid = server.tree.zxid
    server.do(request, by)
    assert.deepEqual(withoutZxid(), before, what)
    assert.equal(server.tree.zxid, zxid + 1)
    assert.deepEqual(server.changes(), [], what)
    assert.equal(server.applier.reply.pos, 0, what)
  }
  checkTree(server.tree)
})

for (const [op, name, allowed] of [
  [Op.create, 'create', [0, 1, 2, 3, 4]],
  [Op.create2, 'create2', [0, 1, 2, 3, 4]],
  [Op.createContainer, 'createContainer', [4]],
  [Op.createTtl, 'createTTL', [5, 6]],
] as const) {
  test(`${name} takes the flags ${allowed.join(', ')} and no others`, () => {
    for (const flags of [-1, 0, 1, 2, 3, 4, 5, 6, 7, 2 ** 31 - 1]) {
      const request: Operation = { type: 'create', op, path: '/n', data: null, acl: readOnly, flags, ttl: 1 }
      const expected = (allowed as readonly number[]).includes(flags) ? 0 : Code.badArguments
      assert.equal(new Server().do(request), expected, `flags ${flags}`)
    }
  })
}

test('a TTL is 1 to 2^40 - 1 ms', () => {
  for (const [ttl, err] of [
    [-1, Code.badArguments],
    [0, Code.badArguments],
    [1, 0],
    [2 ** 40 - 1, 0],
    [2 ** 40, Code.badArguments],
    [2 ** 52, Code.badArguments],
  ] as const)
    assert.equal(new Server().do(createTtl('/t', ttl)), err, String(ttl))
})

test('sequence numbers count all creations below the parent, not deletions and not failures', () => {
  const server = new Server().all(create('/p'))
  assert.equal(server.created(create('/p/n-', '', 2)), '/p/n-0000000000')
  assert.equal(server.created(create('/p/n-', '', 3)), '/p/n-0000000001')
  server.all(create('/p/x'), remove('/p/x'))
  server.do(create('/p/n-0000000000'))
  assert.equal(server.created(createTtl('/p/', 5, 6)), '/p/0000000003')
  // A multi that fails gives its numbers back.
  server.do(multi(create('/p/m', '', 2), check('/p', 99)))
  assert.equal(server.created(create('/p/n-', '', 2)), '/p/n-0000000004')
})

for (const [cversion, suffix] of [
  [2 ** 31 - 1, '2147483647'],
  [-(2 ** 31), '-2147483648'],
  [-5, '-000000005'],
] as const) {
  test(`the sequence number of a parent with cversion ${cversion} is ${suffix}`, () => {
    const server = new Server().all(create('/p'))
    const { store } = server.tree
    store.setCversion(store.findPath('/p'), cversion)
    assert.equal(server.created(create('/p/n', '', 2)), `/p/n${suffix}`)
    assert.equal(store.cversion(store.findPath('/p')), (cversion + 1) | 0)
  })
}

test('the final name of a sequential create is judged, not the one that was asked for', () => {
  const server = new Server()
  assert.equal(server.created(create('/', '', 2)), '/0000000000')
  assert.equal(server.do(create('/a\0', '', 2)), Code.badArguments)
  assert.equal(server.do(create('//', '', 2)), Code.badArguments)
  assert.equal(server.created(create('/.', '', 2)), '/.0000000001')
})

test('the longest path is one that a checkpoint can hold', () => {
  const server = new Server()
  // Names of 16,000 bytes, and a last one that makes the path as long as it may be.
  let path = ''
  for (let i = 0; i < 4; i++) {
    path += `/${String(i).repeat(15_999)}`
    server.all(create(path))
  }
  const longest = `${path}/${'x'.repeat(pathBytesMax - path.length - 1)}`
  assert.equal(server.do(create(`${longest}x`)), Code.badArguments)
  assert.equal(server.do(setData(`${longest}x`, '')), Code.badArguments)
  assert.equal(server.do(create(longest.slice(0, -9), '', 2)), Code.badArguments)
  assert.equal(server.created(create(longest)), longest)
  checkTree(server.tree)
})

test('a create answers with the path, and create2 and its family with a Stat behind it', () => {
  for (const request of [
    create('/n', 'data'),
    { ...create('/n', 'data'), op: Op.create2 } as Operation,
    createContainer('/n'),
    createTtl('/n', 7),
  ]) {
    const server = new Server()
    assert.equal(server.do(request), 0)
    const [result] = server.outcome(request).results
    assert.equal(result?.path, '/n')
    assert.equal(result?.stat?.czxid, result?.type === Op.create ? undefined : 2)
  }
})

test('nothing is encoded for a reply that nobody wants, and nothing told when nobody watches', () => {
  const server = new Server()
  server.tree.watched = false
  for (const request of [create('/a'), setData('/a', 'x'), multi(create('/b'), remove('/b')), remove('/a')]) {
    assert.equal(server.do(request, { wanted: false }), 0)
    assert.equal(server.applier.reply.pos, 0)
    assert.deepEqual(server.changes(), [])
  }
})

// ---- delete, setData, setACL, check ----

test('delete checks in this order', () => {
  const server = new Server().all(create('/a'), create('/a/b'), make('/private', readOnly))
  for (const [what, request, by, err] of [
    ['session', remove('bad'), { session: 99 }, Code.sessionExpired],
    ['a path without a slash', remove('bad'), {}, Code.badArguments],
    ['a NUL', remove('/missing/\0'), {}, Code.badArguments],
    ['a NUL where nothing may be deleted', remove('/private/\0'), {}, Code.badArguments],
    ['a NUL in the name', remove('/a/\0'), {}, Code.badArguments],
    ['two slashes before a znode', remove('//private'), {}, Code.noNode],
    ['a slash behind a znode', remove('/private/'), {}, Code.noAuth],
    ['the same where it may be deleted', remove('/a/b/'), {}, Code.noNode],
    ['parent', remove('/missing/x'), {}, Code.noNode],
    ['permission on the parent', remove('/private/missing'), {}, Code.noAuth],
    ['existence', remove('/a/missing', 7), {}, Code.noNode],
    ['version before children', remove('/a', 7), {}, Code.badVersion],
    ['children', remove('/a'), {}, Code.notEmpty],
  ] as const)
    assert.equal(server.do(request, by), err, what)
})

test("a znode's own ACL does not protect it from deletion, its parent's does", () => {
  const server = new Server().all(make('/private', readOnly), create('/a'))
  assert.equal(server.do(remove('/private')), 0)
  server.all(setAcl('/', readOnly))
  assert.equal(server.do(remove('/a')), Code.noAuth)
})

test('/, /zookeeper, /zookeeper/quota and /zookeeper/config can not be deleted; others below /zookeeper can', () => {
  const server = new Server()
  for (const path of ['/', '/zookeeper', '/zookeeper/quota', '/zookeeper/config'])
    assert.equal(server.do(remove(path)), Code.badArguments, path)
  server.all(create('/zookeeper/other'), remove('/zookeeper/other'))
})

test('setData and setACL check the session, the path, existence, permission and version in this order', () => {
  const server = new Server().all(make('/private', readOnly), create('/a'))
  for (const [request, by, err] of [
    [setData('bad', ''), { session: 99 }, Code.sessionExpired],
    [setData('/missing/', ''), {}, Code.badArguments],
    [setData('/missing', '', 7), {}, Code.noNode],
    [setData('/private', '', 7), {}, Code.noAuth],
    [setData('/a', '', 7), {}, Code.badVersion],
    [setAcl('bad', []), { session: 99 }, Code.sessionExpired],
    [setAcl('/missing/', []), {}, Code.badArguments],
    [setAcl('/missing', [], 7), {}, Code.invalidAcl],
    [setAcl('/missing', readOnly, 7), {}, Code.noNode],
    [setAcl('/private', readOnly, 7), {}, Code.noAuth],
    [setAcl('/a', readOnly, 7), {}, Code.badVersion],
  ] as const)
    assert.equal(server.do(request, by), err, JSON.stringify(request))
})

test('the expected version -1 matches any, another negative one matches only itself', () => {
  const server = new Server().all(create('/a'))
  assert.equal(server.do(setData('/a', '', -2)), Code.badVersion)
  server.all(setData('/a', '', 0), setData('/a', '', -1), check('/a', 2))
  const { store } = server.tree
  store.setChange(store.findPath('/a'), 2 ** 31 - 1, 1, 1)
  server.all(setData('/a', '', 2 ** 31 - 1), setData('/a', '', -(2 ** 31)))
})

test('a version counts on past -1, where it can not be expected any more', () => {
  const server = new Server().all(create('/a'))
  const { store } = server.tree
  store.setChange(store.findPath('/a'), -2, 1, 1)
  server.all(setData('/a', 'x', -2), setData('/a', 'y', 5 - 6), check('/a', 0))
})

test('null data and empty data are stored apart', () => {
  const server = new Server().all(create('/a', null), create('/b', ''))
  assert.equal(server.data('/a'), undefined)
  assert.equal(server.data('/b'), '')
  server.all(setData('/a', ''), setData('/b', null))
  assert.equal(server.data('/a'), '')
  assert.equal(server.data('/b'), undefined)
})

test('skipAcl lets everybody do everything, and the batch says so', () => {
  const server = new Server().all(make('/private', readOnly))
  assert.equal(server.do(setData('/private', 'x')), Code.noAuth)
  assert.equal(server.do(setData('/private', 'x'), { options: BatchOption.skipAcl }), 0)
  assert.equal(server.do(setData('/zookeeper/config', 'x'), { options: BatchOption.skipAcl }), 0)
})

test("an `auth` entry becomes the creator's ids", () => {
  const server = new Server()
  assert.equal(server.do(make('/mine', [{ perms: 31, scheme: 'auth', id: '' }]), { ids: alice }), 0)
  assert.equal(server.do(setData('/mine', 'x')), Code.noAuth)
  assert.equal(server.do(setData('/mine', 'x'), { ids: alice }), 0)
  assert.equal(server.do(make('/mine2', [{ perms: 31, scheme: 'auth', id: '' }])), Code.invalidAcl)
})

// ---- multi ----

test('the operations of a multi share one zxid and one time, and later ones see earlier ones', () => {
  const server = new Server()
  const request = multi(
    create('/a', '1'),
    setData('/a', '22', 0),
    check('/a', 1),
    create('/a/b'),
    remove('/a/b'),
  )
  server.all(request)
  const results = server.outcome(request).results
  assert.deepEqual(
    results.map(({ type, err, path }) => [type, err, path]),
    [
      [Op.create, 0, '/a'],
      [Op.setData, 0, undefined],
      [Op.check, 0, undefined],
      [Op.create, 0, '/a/b'],
      [Op.delete, 0, undefined],
    ],
  )
  const { store } = server.tree
  const node = store.findPath('/a')
  assert.deepEqual([store.czxid(node), store.mzxid(node), store.pzxid(node)], [2, 2, 2])
  assert.deepEqual(server.changes(), ['1 /a', '4 /', '3 /a', '1 /a/b', '4 /a', '2 /a/b', '4 /a'])
})

test('a failed multi answers 0 before the failed operation, its error, and -2 behind it; err stays 0', () => {
  const server = new Server()
  const request = multi(create('/m'), check('/a', 99), remove('/m'), create('/n'))
  assert.equal(server.do(request), 0)
  assert.deepEqual(
    server.outcome(request).results.map(({ type, err }) => [type, err]),
    [
      [-1, 0],
      [-1, Code.noNode],
      [-1, Code.runtimeInconsistency],
      [-1, Code.runtimeInconsistency],
    ],
  )
  assert.equal(server.has('/m'), false)
  assert.deepEqual(server.changes(), [])
})

test('a multi of sets and checks sees what its sets before have done, with watchers and without', () => {
  for (const watched of [true, false]) {
    const server = new Server().all(create('/a', 'old'), create('/b', 'old'))
    server.tree.watched = watched
    const request = multi(
      setData('/a', 'one', 0),
      setData('/b', null),
      check('/a', 1),
      setData('/a', 'two', 1),
    )
    assert.equal(server.do(request), 0)
    assert.deepEqual(
      server.outcome(request).results.map(({ stat }) => stat?.version),
      [1, 1, undefined, 2],
    )
    assert.deepEqual(server.changes(), watched ? ['3 /a', '3 /b', '3 /a'] : [])
    const before = stateOfTree(server.tree)
    for (const failing of [check('/a', 2), setData('/a', 'x', 2), setData('/none', 'x'), check('/a', 1)])
      assert.equal(server.do(multi(setData('/a', 'three'), setData('/b', 'x', 1), failing, failing)), 0)
    assertSameState(
      stateOfTree(server.tree).filter((line) => !line.startsWith('zxid')),
      before.filter((line) => !line.startsWith('zxid')),
      'multis that failed',
    )
    checkTree(server.tree)
  }
})

test('a multi of more sets than are judged beforehand sets all of them or none', () => {
  for (const failing of [[], [check('/a', 0)]]) {
    const server = new Server().all(create('/a', 'old'))
    const sets = Array.from({ length: 70 }, (_, i) => setData('/a', `${i}`, i))
    server.do(multi(...sets, ...failing))
    assert.equal(server.tree.store.version(server.tree.store.findPath('/a')), failing.length === 0 ? 70 : 0)
    checkTree(server.tree)
  }
})

test('znodes that a failed multi removed, some of them more than once, are back with all that they had', () => {
  const server = new Server().all(
    create('/a', 'a'),
    create('/b', 'b'),
    create('/b/e', 'mine', 1),
    setData('/b', 'again'),
  )
  const before = stateOfTree(server.tree)
  const request = multi(
    remove('/b/e'),
    setData('/b', 'third'),
    remove('/b'),
    create('/c', 'takes the place'),
    create('/b', 'another'),
    create('/b/e', 'another', 1),
    setData('/b/e', 'x'),
    remove('/b/e'),
    remove('/b'),
    remove('/a'),
    create('/a', 'last'),
    check('/a', 7),
  )
  server.do(request)
  assert.deepEqual(
    server.outcome(request).results.map(({ err }) => err),
    [...Array.from({ length: 11 }, () => 0), -103],
  )
  assertSameState(
    stateOfTree(server.tree).filter((line) => !line.startsWith('zxid')),
    before.filter((line) => !line.startsWith('zxid')),
    'rolled back',
  )
  checkTree(server.tree)
})

test('an empty multi succeeds and answers with the end only', () => {
  const server = new Server().all(multi())
  assert.equal(Buffer.from(server.applier.reply.bytes()).toString('hex'), 'ffffffff01ffffffff')
})

test('a multi that is refused leaves no ACL behind in the table', () => {
  const server = new Server()
  const { acls } = server.tree
  const before = acls.size
  assert.equal(
    server.do(multi(make('/a', readOnly), make('/b', [{ perms: 3, ...alice[0]! }]), check('/c'))),
    0,
  )
  assert.equal(acls.size, before)
  checkTree(server.tree)
})

test('an ephemeral of a failed multi belongs to nobody', () => {
  const server = new Server().all(create('/e', '', 1))
  assert.equal(server.do(multi(remove('/e'), create('/f', '', 1), check('/nowhere'))), 0)
  const owned = [...server.tree.ephemeralsOf(session)].map((node) => server.tree.store.path(node))
  assert.deepEqual(owned, ['/e'])
  assert.equal(server.tree.ephemeralCount, 1)
})

// ---- sessions, containers, settings ----

test('the end of a session removes its ephemerals at one zxid and leaves those of others', () => {
  const server = new Server().all(create('/e', '', 1), create('/p'), create('/p/e', '', 1))
  server.do({ type: 'createSession', timeout: 1000 }, { session: 2 })
  server.do(create('/other', '', 1), { session: 2 })
  server.all({ type: 'closeSession' })
  assert.deepEqual(
    ['/e', '/p/e', '/p', '/other'].filter((path) => server.has(path)),
    ['/p', '/other'],
  )
  const { store } = server.tree
  assert.equal(store.pzxid(store.findPath('/p')), server.tree.zxid)
  assert.equal(store.pzxid(store.root), server.tree.zxid)
  assert.deepEqual([...server.tree.sessions.keys()], [2])
  assert.deepEqual(server.changes().sort(), ['2 /e', '2 /p/e', '4 /', '4 /p'])
})

test('the end of a session that is gone already is no error', () => {
  const server = new Server()
  assert.equal(server.do({ type: 'closeSession' }, { session: 12_345 }), 0)
})

test('after the end of its session a request gets sessionExpired', () => {
  const server = new Server().all(create('/a'), { type: 'closeSession' })
  for (const request of [create('/b'), remove('/a'), setData('/a', ''), setAcl('/a', readOnly)])
    assert.equal(server.do(request), Code.sessionExpired)
  const request = multi(check('/a'))
  assert.equal(server.do(request), 0)
  assert.equal(server.outcome(request).results[0]?.err, Code.sessionExpired)
})

// ---- local sessions: their writes come as those of session 0 ----

test('session 0 writes what is not ephemeral', () => {
  const server = new Server()
  const requests = [
    create('/a'),
    setData('/a', 'x'),
    setAcl('/a', world),
    multi(check('/a', 1), create('/b')),
    remove('/b'),
  ]
  for (const request of requests)
    assert.equal(server.do(request, { session: 0 }), Code.ok, JSON.stringify(request))
  assert.deepEqual([server.data('/a'), server.has('/b')], ['x', false])
})

test('session 0 gets ephemeralOnLocalSession for an ephemeral, whatever else is wrong with it but flags', () => {
  const server = new Server()
  for (const path of ['/a', '/no/parent', 'no-slash']) {
    for (const flags of [1, 3])
      assert.equal(server.do(create(path, '', flags), { session: 0 }), Code.ephemeralOnLocalSession, path)
  }
  assert.equal(server.do(create('/a', '', 9), { session: 0 }), Code.badArguments)
  assert.deepEqual([server.tree.ephemeralCount, server.has('/a')], [0, false])
})

test('a multi of session 0 with an ephemeral fails as a whole, at that operation', () => {
  const server = new Server()
  const request = multi(create('/a'), create('/b', '', 1), create('/c'))
  assert.equal(server.do(request, { session: 0 }), Code.ok)
  assert.deepEqual(
    server.outcome(request).results.map(({ err }) => err),
    [Code.ok, Code.ephemeralOnLocalSession, Code.runtimeInconsistency],
  )
  assert.equal(server.has('/a'), false)
})

test("the reaper's removal is judged when it is applied", () => {
  const reap = (path: string): Request => ({ type: 'deleteContainer', path })
  const server = new Server().all(
    createContainer('/c'),
    create('/c/x'),
    create('/plain'),
    create('/e', '', 1),
  )
  assert.equal(server.do(reap('/c')), Code.notEmpty)
  server.all(remove('/c/x'), reap('/c'))
  assert.deepEqual(server.changes(), ['2 /c', '4 /'])
  assert.equal(server.do(reap('/c')), Code.noNode)
  assert.equal(server.do(reap('/plain')), Code.badVersion)
  assert.equal(server.do(reap('/e')), Code.badVersion)
  assert.equal(server.do(reap('/')), Code.notEmpty)
  // Read and write permissions are no matter of the reaper.
  server.all({
    type: 'create',
    op: Op.createContainer,
    path: '/d',
    data: null,
    acl: readOnly,
    flags: 4,
    ttl: 0,
  })
  assert.equal(server.do(reap('/d')), 0)
})

test('a TTL znode that was written to since the reaper looked at it keeps its time', () => {
  const reap: Request = { type: 'deleteContainer', path: '/t' }
  const server = new Server().all(createTtl('/t', 100))
  assert.equal(server.do(reap, { time: start + 100 }), Code.badVersion)
  assert.equal(server.do(setData('/t', 'fresh'), { time: start + 101 }), 0)
  assert.equal(server.do(reap, { time: start + 102 }), Code.badVersion)
  assert.equal(server.data('/t'), 'fresh')
  assert.equal(server.do(reap, { time: start + 202 }), 0)
})

test('settings are kept as they came', () => {
  const id = Buffer.from('ensemble')
  const secret = Buffer.from('secret')
  const server = new Server().all({ type: 'settings', rulesVersion: 3, id, secret })
  assert.deepEqual(server.tree.settings, { rulesVersion: 3, ensembleId: id, secret })
})

test('a request that was refused before takes its zxid with the error that it had', () => {
  const server = new Server()
  assert.equal(server.do({ type: 'error', code: Code.marshallingError }), Code.marshallingError)
  assert.equal(server.tree.zxid, 2)
})

// ---- broken invariants ----

test('a zxid that does not go up, and an operation that can not be applied, stop the server', () => {
  const server = new Server()
  const batch = (kind: number) => {
    const body = encodeRequest(create('/a'))
    const one = new Batch(start)
    one.add(kind, session, 1, [], body, 0, body.length)
    return one
  }
  for (const zxid of [0, 1])
    assert.throws(() => server.applier.apply(batch(Op.create), 0, zxid, true), { name: 'InvariantError' })
  for (const kind of [Op.getData, Op.sync, 77])
    assert.throws(() => server.applier.apply(batch(kind), 0, 9, true), { name: 'InvariantError' })
})

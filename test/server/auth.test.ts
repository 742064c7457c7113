import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Code } from '../../src/base/errors.ts'
import {
  Authenticator,
  type AuthOptions,
  addIds,
  digestId,
  hostAddress,
  whoAmI,
} from '../../src/server/auth.ts'
import { fixAcl, type Id, permits } from '../../src/tree/acl.ts'

const options: AuthOptions = {
  superDigest: 'super:xQJmxLMiHGwaqBvst5y6rkB6HQs=',
  digestEnabled: true,
  x509Enabled: true,
  x509SuperUser: 'CN=root,O=zabd',
}
const authenticator = new Authenticator(options)
const bytes = (text: string): Uint8Array => Buffer.from(text, 'utf8')
const peer: Id = { scheme: 'ip', id: '1.2.3.4' }

test('a connection starts with its address, written as Java writes it', () => {
  const cases: [address: string, id: string][] = [
    ['1.2.3.4', '1.2.3.4'],
    ['::ffff:1.2.3.4', '1.2.3.4'],
    ['::FFFF:102:304', '1.2.3.4'],
    ['::1', '0:0:0:0:0:0:0:1'],
    ['::', '0:0:0:0:0:0:0:0'],
    ['2001:DB8::00ab:9', '2001:db8:0:0:0:0:ab:9'],
    ['fe80::1%eth0', 'fe80:0:0:0:0:0:0:1%eth0'],
    ['', ''],
  ]
  for (const [address, id] of cases) {
    assert.deepEqual(authenticator.connectionIds(address), [{ scheme: 'ip', id }])
    assert.equal(hostAddress(address), id)
  }
})

test('connections from one address share a list of ids, and it stays theirs when others come', () => {
  const first = authenticator.connectionIds('10.0.0.1')
  assert.equal(authenticator.connectionIds('10.0.0.1'), first)
  for (let i = 0; i < 10_000; i++) authenticator.connectionIds(`10.1.${i >> 8}.${i & 255}`)
  assert.deepEqual(first, [{ scheme: 'ip', id: '10.0.0.1' }])
  assert.deepEqual(authenticator.connectionIds('10.0.0.1'), first)
})

test('an ip ACL entry matches the id of a connection from there', () => {
  for (const [address, entry] of [
    ['::ffff:127.0.0.1', '127.0.0.0/8'],
    ['::1', '::1'],
    ['fe80::1%eth0', 'fe80::/10'],
  ] as const) {
    const ids = authenticator.connectionIds(address)
    assert.equal(permits([{ perms: 1, scheme: 'ip', id: entry }], 1, ids), true, address)
  }
})

// The ids of u:p and super:admin are from semantics.md; all were made by Apache's DigestAuthenticationProvider too.
test('digest: the id is the user and the digest of the whole data', () => {
  const cases: [data: Uint8Array, id: string][] = [
    [bytes('u:p'), 'u:Jq7wMyA/w2Vd5WIDAKdu4OIIFEQ='],
    [bytes('super:admin'), 'super:xQJmxLMiHGwaqBvst5y6rkB6HQs='],
    [bytes('a:b:c'), 'a:cLzgnoJ6mP5qz3w+mwvPE2vDgu0='],
    [bytes('nocolon'), 'nocolon:Ra+cHr2ZoHvBjtNArFGNGlVie4g='],
    [bytes(''), ':2jmj7l5rSw0yVb/vlWAYkK/YBwk='],
    [bytes(':p'), ':LlDE5iroUDDm9zdvmLsfjkUvn0k='],
    [bytes('ü:€'), 'ü:kBMLd9NnYJJCGW/ulXpMPtSif0w='],
  ]
  for (const [data, id] of cases) {
    assert.equal(digestId(data), id)
    const added = id === options.superDigest ? [{ scheme: 'super', id: '' }] : []
    assert.deepEqual(authenticator.authenticate('digest', data, [peer]), {
      code: Code.ok,
      ids: [peer, ...added, { scheme: 'digest', id }],
    })
  }
})

test('digest: malformed UTF-8 is read as U+FFFD, as Java does', () => {
  const asJava = 'u:NP+S9gihaPOxs49p+sWDO0/R0ac='
  for (const tail of [[0xff], [0xe2, 0x82], [0xf0, 0x9f, 0x98]]) {
    const id = digestId(Uint8Array.of(0x75, 0x3a, ...tail))
    assert.equal(id, asJava)
  }
  assert.equal(digestId(Uint8Array.of(0x75, 0x3a, 0xc0, 0xaf)), 'u:tBXHUAUzZXYCqAcMeZihzl82Xwo=')
  assert.equal(digestId(bytes('\ufeffu:p')), '\ufeffu:NDSwTX/PBdLbm67/sJ7vOUVugTQ=')
})

test('digest: data in the middle of a buffer is not confused with its surroundings', () => {
  assert.equal(digestId(bytes('xxu:pyy').subarray(2, 5)), digestId(bytes('u:p')))
})

test('digest: only the configured super digest gives super', () => {
  const other = new Authenticator({ ...options, superDigest: undefined })
  const result = other.authenticate('digest', bytes('super:admin'), [])
  assert.deepEqual(result, {
    code: Code.ok,
    ids: [{ scheme: 'digest', id: 'super:xQJmxLMiHGwaqBvst5y6rkB6HQs=' }],
  })
})

test('several authentications add up, each id once', () => {
  let ids: readonly Id[] = [peer]
  for (const data of ['u:p', 'v:q', 'u:p']) {
    const result = authenticator.authenticate('digest', bytes(data), ids)
    assert.equal(result.code, Code.ok)
    if (result.code === Code.ok) ids = result.ids
  }
  assert.deepEqual(
    ids.map(({ id }) => id.split(':')[0]),
    ['1.2.3.4', 'u', 'v'],
  )
  assert.equal(addIds(ids, [...ids]), ids)
})

test('an ip packet is accepted and changes nothing', () => {
  assert.deepEqual(authenticator.authenticate('ip', null, [peer]), { code: Code.ok, ids: [peer] })
})

test('refused: digest without data, or switched off; schemes that authenticate nobody; unknown ones', () => {
  const off = new Authenticator({ ...options, digestEnabled: false, x509Enabled: false })
  const results = [
    authenticator.authenticate('digest', null, [peer]),
    off.authenticate('digest', bytes('u:p'), [peer]),
    authenticator.authenticate('x509', null, [peer]),
    ...['world', 'auth', 'super', 'sasl', 'nosuch', 'DIGEST', '', null].map((scheme) =>
      authenticator.authenticate(scheme, bytes('u:p'), [peer]),
    ),
  ]
  for (const result of results) {
    assert.equal(result.code, Code.authFailed)
    assert.ok(result.code === Code.authFailed && result.reason.length > 0)
  }
})

test('x509: the subject is an id, and the super user is super as well', () => {
  const plain: Id = { scheme: 'x509', id: 'CN=a,O=zabd' }
  assert.deepEqual(authenticator.certificateIds('CN=a,O=zabd'), [plain])
  assert.deepEqual(authenticator.certificateIds('CN=root,O=zabd'), [
    { scheme: 'super', id: 'CN=root,O=zabd' },
    { scheme: 'x509', id: 'CN=root,O=zabd' },
  ])
  assert.deepEqual(authenticator.authenticate('x509', null, [peer, plain]), {
    code: Code.ok,
    ids: [peer, plain],
  })
  const off = new Authenticator({ ...options, x509Enabled: false })
  assert.deepEqual(off.certificateIds('CN=root,O=zabd'), [])
  const noSuper = new Authenticator({ ...options, x509SuperUser: undefined })
  assert.equal(noSuper.certificateIds('CN=root,O=zabd').length, 1)
})

test('the schemes that ACLs may use follow the configuration', () => {
  assert.deepEqual([...authenticator.schemes].sort(), ['digest', 'ip', 'x509'])
  const off = new Authenticator({ ...options, digestEnabled: false, x509Enabled: false })
  assert.deepEqual([...off.schemes], ['ip'])
})

test('what an authenticated connection puts into an ACL with auth is what lets it in again', () => {
  const result = authenticator.authenticate('digest', bytes('u:p'), [peer])
  assert.ok(result.code === Code.ok)
  const fixed = fixAcl([{ perms: 31, scheme: 'auth', id: '' }], result.ids)
  assert.ok(fixed.code === Code.ok)
  assert.equal(permits(fixed.list, 16, result.ids), true)
  assert.equal(permits(fixed.list, 16, [peer]), false)
})

test('whoAmI names users by their scheme', () => {
  const ids: Id[] = [
    peer,
    { scheme: 'digest', id: 'u:Jq7wMyA/w2Vd5WIDAKdu4OIIFEQ=' },
    { scheme: 'super', id: '' },
    { scheme: 'super', id: 'CN=root' },
    { scheme: 'x509', id: 'CN=a:b,O=zabd' },
    { scheme: 'digest', id: ':d' },
  ]
  assert.deepEqual(whoAmI(ids), [
    { scheme: 'ip', user: '1.2.3.4' },
    { scheme: 'digest', user: 'u' },
    { scheme: 'super', user: '' },
    { scheme: 'super', user: '' },
    { scheme: 'x509', user: 'CN=a:b,O=zabd' },
    { scheme: 'digest', user: '' },
  ])
})

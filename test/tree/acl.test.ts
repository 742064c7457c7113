import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Code } from '../../src/base/errors.ts'
import { Perm } from '../../src/base/opcodes.ts'
import {
  type Acl,
  AclTable,
  check,
  fixAcl,
  type Id,
  maskDigest,
  openAcl,
  parsePeerIp,
  permits,
  type RawAcl,
  schemesKnown,
} from '../../src/tree/acl.ts'

const acl = (perms: number, scheme: string, id: string): Acl => ({ perms, scheme, id })
const id = (scheme: string, name: string): Id => ({ scheme, id: name })
const refused = { code: Code.invalidAcl }

// The digest, ip and sasl ids were given to the isValid of Apache ZooKeeper 3.9.4's providers, the x509 ids to Java
// 17's X500Principal (which its provider asks); the tables are their answers.
const validIds: Record<string, string[]> = {
  world: ['anyone'],
  digest: ['u:d', ':d', 'u:d:', 'u:d::', 'a b:c', 'ü:x', 'u: ', ' :d'],
  ip: [
    '1.2.3.4',
    '1.2.3.4/0',
    '1.2.3.4/8',
    '1.2.3.4/32',
    '1.2.3.4/032',
    '01.2.3.4',
    '010.1.1.1',
    '0.0.0.0',
    '255.255.255.255',
    '::',
    '::1',
    '1::',
    '::/0',
    '::1/128',
    '1:2:3:4:5:6:7:8',
    '1:2:3::5:6:7',
    '1:2:3:4:5:6:7::',
    '::2:3:4:5:6:7:8',
    'FE80::1',
    'fe80::0001/10',
    '::ffff:102:304',
  ],
}
const invalidIds: Record<string, string[]> = {
  world: ['', 'any', 'Anyone', 'anyone '],
  digest: ['', ':', '::', 'u', 'u:', 'u::', 'u:d:e', '::d', 'u::d'],
  ip: [
    '',
    '1',
    '1.2.3',
    '1.2.3.',
    '1.2.3.4.5',
    '.1.2.3.4',
    '1.2.3.256',
    '1.2.3.-1',
    '1.2.3.a',
    '1.2.3. 4',
    ' 1.2.3.4',
    '1..2.3',
    '0x1.2.3.4',
    '1.2.3.4/',
    '1.2.3.4/33',
    '1.2.3.4/-1',
    '1.2.3.4/a',
    '1.2.3.4/8/8',
    '1.2.3.4/255.0.0.0',
    'localhost',
    ':',
    ':::',
    '1:2',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4::5:6:7:8',
    '1::2::3',
    '12345::',
    'g::',
    '::1/129',
    '::1/',
    ':1:2:3:4:5:6:7',
    '::ffff:1.2.3.4',
    'fe80::1%eth0',
    '[::1]',
  ],
  auth: [],
  super: ['', 'x'],
  host: ['example.org'],
  '': ['anyone'],
  WORLD: ['anyone'],
}
const validNames = [
  '',
  'CN=a',
  'cn=a',
  'CN=',
  'CN=a,O=b',
  'CN=a;O=b',
  ' CN = a , O = b ',
  'CN=a+OU=b,O=c',
  '1.2.3=a',
  '1.2=a',
  '01.2.3=a',
  '2.100.3=a',
  'OID.1.2.3=a',
  'oid.1.2.3=a',
  '1.2.3=#0c0161',
  'CN=#0c0161',
  'CN="a,b"',
  'CN="a" ,O=b',
  'CN="a\\"b"',
  'CN=""',
  'CN=a\\,b',
  'CN=a\\41',
  'CN=a\\\\',
  'CN=\\#a',
  'CN=\\C3\\BC',
  'CN=a\\ ',
  'CN=a=b',
  'CN=a#b',
  'CN=a/b',
  'CN=a\nb',
  'CN=ü',
  'EMAILADDRESS=a@b',
  'EMAIL=a@b',
  'S=x',
  'T=x',
  'IP=1',
  'DC=x,DC=y',
  'DNQ=x',
  'SURNAME=x,GIVENNAME=y,INITIALS=z,GENERATION=1',
  'UID=x',
  'SERIALNUMBER=1',
  'STREET=x,L=y,ST=z,C=US',
]
const invalidNames = [
  ' ',
  'CN',
  'a',
  'anyone',
  'u:p',
  '=a',
  'CN=a,',
  'CN=a,,O=b',
  ',CN=a',
  'CN=a+',
  '+CN=a',
  'CN=a,b',
  'CN=a+b',
  'CN=a;b',
  'XX=a',
  'E=a',
  'SN=x',
  'C N=a',
  '1=a',
  '1.40.3=a',
  '3.1=a',
  '1.2.=a',
  '1.2.3=#0c01',
  'CN=#zz',
  'CN=#',
  'CN="a',
  'CN=a"b',
  'CN="a" b',
  'CN="a"b,O=c',
  'CN=a\\',
  'CN=a\\4',
  'CN=a\\zz',
  'CN=a<b',
  'CN=a>b',
]

test('a list with a well-formed id is stored as it is', () => {
  for (const [scheme, ids] of Object.entries({ ...validIds, x509: validNames })) {
    for (const name of ids) {
      const list = [acl(5, scheme, name)]
      assert.deepEqual(fixAcl(list, []), { code: Code.ok, list }, `${scheme}:${name}`)
    }
  }
})

test('a malformed id, an unknown scheme and a null are refused', () => {
  for (const [scheme, ids] of Object.entries({ ...invalidIds, x509: invalidNames })) {
    for (const name of ids)
      assert.deepEqual(fixAcl([acl(31, scheme, name)], []), refused, `${scheme}:${name}`)
  }
  const nulls: RawAcl[] = [
    { perms: 31, scheme: null, id: 'anyone' },
    { perms: 31, scheme: 'world', id: null },
    { perms: 31, scheme: 'digest', id: null },
  ]
  for (const entry of nulls) assert.deepEqual(fixAcl([entry], []), refused)
})

test('a sasl id is a Kerberos principal or a plain name', () => {
  for (const name of ['', 'u', 'a/b', 'a/b/c', 'u@R', 'u/h@R', '@', '/@']) {
    assert.equal(fixAcl([acl(31, 'sasl', name)], []).code, Code.ok, name)
  }
  for (const name of ['u@R@S', 'a/b/c@R', 'u@R/x']) {
    assert.deepEqual(fixAcl([acl(31, 'sasl', name)], []), refused, name)
  }
})

test('an empty list and a null one are refused', () => {
  assert.deepEqual(fixAcl([], [id('digest', 'u:d')]), refused)
  assert.deepEqual(fixAcl(null, [id('digest', 'u:d')]), refused)
})

test('one bad entry refuses the whole list', () => {
  assert.deepEqual(fixAcl([...openAcl, acl(1, 'ip', '1.2.3')], []), refused)
})

test('duplicates are removed and the order is kept; other permissions make another entry', () => {
  const list = [
    acl(1, 'ip', '1.2.3.4'),
    acl(31, 'world', 'anyone'),
    acl(1, 'ip', '1.2.3.4'),
    acl(2, 'ip', '1.2.3.4'),
  ]
  assert.deepEqual(fixAcl(list, []), { code: Code.ok, list: [list[0], list[1], list[3]] })
})

test('unknown permission bits and none at all are kept', () => {
  for (const perms of [0, 32, -1, 2 ** 31 - 1]) {
    assert.deepEqual(fixAcl([acl(perms, 'world', 'anyone')], []), {
      code: Code.ok,
      list: [acl(perms, 'world', 'anyone')],
    })
  }
})

test('auth becomes one entry for each authenticated id, whatever its own id says', () => {
  const ids = [
    id('ip', '1.2.3.4'),
    id('digest', 'a:1'),
    id('super', ''),
    id('x509', 'CN=a'),
    id('digest', 'b:2'),
  ]
  const expanded = [acl(3, 'digest', 'a:1'), acl(3, 'x509', 'CN=a'), acl(3, 'digest', 'b:2')]
  for (const name of ['', 'anything', null]) {
    const fixed = fixAcl([{ perms: 3, scheme: 'auth', id: name }, acl(1, 'world', 'anyone')], ids)
    assert.deepEqual(fixed, { code: Code.ok, list: [...expanded, acl(1, 'world', 'anyone')] })
  }
})

test('auth without an authenticated id is refused: an address and super are none', () => {
  assert.deepEqual(fixAcl([acl(31, 'auth', '')], []), refused)
  assert.deepEqual(fixAcl([acl(31, 'auth', '')], [id('ip', '1.2.3.4'), id('super', '')]), refused)
})

test('schemesKnown asks for every scheme but world and auth', () => {
  const on = new Set(['ip', 'digest'])
  assert.equal(schemesKnown(null, on), true)
  assert.equal(schemesKnown([], on), true)
  assert.equal(
    schemesKnown([...openAcl, acl(1, 'auth', ''), acl(1, 'ip', 'bad'), acl(1, 'digest', 'a:b')], on),
    true,
  )
  assert.equal(schemesKnown([acl(1, 'digest', 'a:b')], new Set(['ip'])), false)
  for (const scheme of ['x509', 'sasl', 'super', 'nosuch', '']) {
    assert.equal(schemesKnown([...openAcl, acl(1, scheme, 'x')], on), false, scheme)
  }
  assert.equal(schemesKnown([{ perms: 1, scheme: null, id: 'x' }], on), false)
})

test('world:anyone lets everybody do what it says and no more', () => {
  const list = [acl(Perm.read, 'world', 'anyone')]
  assert.equal(permits(list, Perm.read, []), true)
  assert.equal(permits(list, Perm.write, [id('digest', 'u:d')]), false)
  assert.equal(permits(list, Perm.read | Perm.admin, []), true)
})

test('any entry that matches is enough, and there are no denials', () => {
  const list = [acl(0, 'world', 'anyone'), acl(Perm.read, 'digest', 'u:d'), acl(Perm.write, 'digest', 'v:e')]
  assert.equal(permits(list, Perm.read, [id('digest', 'u:d')]), true)
  assert.equal(permits(list, Perm.write, [id('digest', 'u:d')]), false)
  assert.equal(permits(list, Perm.write, [id('digest', 'u:d'), id('digest', 'v:e')]), true)
  assert.equal(permits(list, Perm.read, [id('digest', 'u:D')]), false)
  assert.equal(permits(list, Perm.read, [id('sasl', 'u:d')]), false)
  assert.equal(permits(list, Perm.read, []), false)
})

test('super passes everything, an empty list stops nobody', () => {
  const nobody = [acl(0, 'digest', 'u:d')]
  assert.equal(permits(nobody, Perm.admin, [id('ip', '1.1.1.1')]), false)
  assert.equal(permits(nobody, Perm.admin, [id('ip', '1.1.1.1'), id('super', '')]), true)
  assert.equal(permits(nobody, Perm.admin, [id('super', 'CN=root')]), true)
  assert.equal(permits([], Perm.admin, []), true)
})

test('ip entries match by prefix within the same family', () => {
  const cases: [entry: string, peer: string, matches: boolean][] = [
    ['10.1.2.3', '10.1.2.3', true],
    ['10.1.2.3', '10.1.2.4', false],
    ['10.1.2.3/32', '10.1.2.3', true],
    ['10.1.2.3/24', '10.1.2.200', true],
    ['10.1.2.3/24', '10.1.3.3', false],
    ['10.1.2.3/23', '10.1.3.3', true],
    ['10.1.2.128/25', '10.1.2.127', false],
    ['10.1.2.128/25', '10.1.2.255', true],
    ['10.1.2.3/31', '10.1.2.2', true],
    ['10.1.2.3/31', '10.1.2.4', false],
    ['10.1.2.3/0', '200.1.1.1', true],
    ['0.0.0.0/0', '::1', false],
    ['::1', '0:0:0:0:0:0:0:1', true],
    ['0:0:0:0:0:0:0:1', '::1', true],
    ['::1', '::2', false],
    ['fe80::/10', 'fe80:0:0:0:1:2:3:4%eth0', true],
    ['fe80::/10', 'fec0::1', false],
    ['2001:DB8::/32', '2001:db8:0:0:0:0:0:9', true],
    ['2001:db8::/33', '2001:db8:8000::', false],
    ['::/0', '1.2.3.4', false],
    ['1.2.3.0/24', '::ffff:1.2.3.4', true],
    ['1.2.3.4', '::FFFF:102:304', true],
    ['::ffff:102:304', '1.2.3.4', false],
    ['127.0.0.01', '127.0.0.1', true],
    ['1.2.3.4/', '1.2.3.4', false],
    ['nonsense', '1.2.3.4', false],
    ['1.2.3.4', 'nonsense', false],
    ['nonsense', 'other', false],
  ]
  for (const [entry, peer, matches] of cases) {
    const list = [acl(Perm.read, 'ip', entry)]
    assert.equal(permits(list, Perm.read, [id('ip', peer)]), matches, `${entry} for ${peer}`)
  }
})

test('a peer address is understood in each form that a socket gives', () => {
  const v4 = [1, 2, 3, 4]
  for (const text of ['1.2.3.4', '::ffff:1.2.3.4', '::ffff:102:304', '0:0:0:0:0:ffff:1.2.3.4']) {
    assert.deepEqual(parsePeerIp(text), v4, text)
  }
  assert.equal(parsePeerIp('::1%lo')?.length, 16)
  assert.equal(parsePeerIp('::1.2.3.4')?.length, 16)
  for (const text of ['', 'x', '::ffff:1.2.3', '1.2.3.4:5', '%eth0'])
    assert.equal(parsePeerIp(text), undefined, text)
})

test('the answer does not depend on how many addresses were seen before', () => {
  for (let i = 0; i < 5000; i++) {
    const address = `10.${i >> 8}.${i & 255}.1`
    assert.equal(permits([acl(1, 'ip', `${address}/24`)], 1, [id('ip', address)]), true)
    assert.equal(permits([acl(1, 'ip', `${address}/24`)], 1, [id('ip', '10.99.0.1')]), false)
  }
})

test('masking hides digests and nothing else', () => {
  const list = [
    acl(31, 'digest', 'u:secret'),
    acl(1, 'world', 'anyone'),
    acl(1, 'digest', 'a:b:c'),
    acl(1, 'ip', '::1'),
  ]
  assert.deepEqual(maskDigest(list), [acl(31, 'digest', 'u:x'), list[1], acl(1, 'digest', 'a:x'), list[3]])
  assert.deepEqual(maskDigest([acl(1, 'digest', 'a:b\nc')]), [acl(1, 'digest', 'a:x')])
  assert.equal(maskDigest(openAcl), openAcl)
})

const digest = (n: number): Acl[] => [acl(31, 'digest', `u${n}:d`)]

test('table: world:anyone with all permissions is index 0 for ever', () => {
  const table = new AclTable()
  assert.equal(table.intern([acl(31, 'world', 'anyone')]), 0)
  assert.deepEqual(table.get(0), openAcl)
  table.release(0)
  table.retain(0)
  table.release(0)
  assert.equal(table.dropUnused(), 0)
  assert.deepEqual(table.get(0), openAcl)
  assert.deepEqual(table.takeDirty(), { put: [], del: [] })
  assert.equal(check(table, 0, Perm.admin, []), true)
  assert.equal(table.intern([acl(1, 'world', 'anyone')]), 1)
  assert.equal(check(table, 1, Perm.admin, []), false)
})

test('table: equal lists share an index; order, permissions and boundaries between texts tell lists apart', () => {
  const table = new AclTable()
  const lists = [
    [acl(1, 'digest', 'a:b'), acl(2, 'digest', 'c:d')],
    [acl(2, 'digest', 'c:d'), acl(1, 'digest', 'a:b')],
    [acl(3, 'digest', 'a:b'), acl(2, 'digest', 'c:d')],
    [acl(1, 'digest', 'a:b;2,6,digest,3,c:d')],
    [acl(1, 'digest', 'a:b')],
    [acl(1, 'diges', 'ta:b')],
    [],
    [acl(31, 'world', 'anyone'), acl(31, 'world', 'anyone')],
  ]
  const indices = lists.map((list) => table.intern(list))
  assert.deepEqual(indices, [1, 2, 3, 4, 5, 6, 7, 8])
  assert.deepEqual(
    lists.map((list) => table.intern(structuredClone(list))),
    indices,
  )
  for (const [i, list] of lists.entries()) assert.deepEqual(table.get(indices[i]!), list)
  assert.equal(table.size, 9)
})

test('table: what was interned does not change with the array it came from', () => {
  const table = new AclTable()
  const list = digest(1)
  const index = table.intern(list)
  list.push(acl(1, 'world', 'anyone'))
  assert.deepEqual(table.get(index), digest(1))
})

test('table: an index is free when the last reference is gone, and the lowest free one is used next', () => {
  const table = new AclTable()
  for (let i = 1; i <= 5; i++) {
    assert.equal(table.intern(digest(i)), i)
    table.retain(i)
  }
  table.retain(3)
  for (const i of [4, 3, 2, 3]) table.release(i)
  assert.equal(table.size, 3)
  assert.throws(() => table.get(3), /no ACL at index 3/)
  assert.equal(table.intern(digest(9)), 2)
  assert.equal(table.intern(digest(8)), 3)
  assert.equal(table.intern(digest(7)), 4)
  assert.equal(table.intern(digest(6)), 6)
  assert.deepEqual(
    [...table.entries()].map(([index]) => index),
    [1, 2, 3, 4, 5, 6],
  )
})

test('table: a reference too few is a bug that is found', () => {
  const table = new AclTable()
  const index = table.intern(digest(1))
  assert.throws(() => table.release(index), /nobody holds/)
  assert.throws(() => table.release(77), /nobody holds/)
  assert.throws(() => table.retain(77), /not there/)
  assert.equal(table.refs(index), 0)
})

test('table: a list that nobody retains stays until dropUnused', () => {
  const table = new AclTable()
  const index = table.intern(digest(1))
  assert.equal(table.intern(digest(1)), index)
  table.retain(table.intern(digest(2)))
  assert.equal(table.dropUnused(), 1)
  assert.equal(table.size, 2)
  assert.equal(table.intern(digest(3)), index)
})

test('table: takeDirty gives what changed since the last time, by its latest state', () => {
  const table = new AclTable()
  for (let i = 1; i <= 3; i++) table.retain(table.intern(digest(i)))
  assert.deepEqual(table.takeDirty(), {
    put: [
      [1, digest(1)],
      [2, digest(2)],
      [3, digest(3)],
    ],
    del: [],
  })
  assert.deepEqual(table.takeDirty(), { put: [], del: [] })
  table.retain(2)
  table.release(2)
  assert.deepEqual(table.takeDirty(), { put: [], del: [] })
  table.release(1)
  table.release(3)
  table.retain(table.intern(digest(4)))
  const changes = table.takeDirty()
  assert.deepEqual(changes, { put: [[1, digest(4)]], del: [3] })
  table.putBack(changes)
  table.retain(table.intern(digest(5)))
  assert.deepEqual(table.takeDirty(), {
    put: [
      [1, digest(4)],
      [3, digest(5)],
    ],
    del: [],
  })
})

test('table: restored from its entries it goes on as the original does', () => {
  const original = new AclTable()
  for (let i = 1; i <= 6; i++) original.retain(original.intern(digest(i)))
  for (const i of [2, 4, 5]) original.release(i)
  original.retain(3)
  const copy = new AclTable()
  copy.restore(0, openAcl, 0)
  // Any order is allowed; the references come with the list or from the znodes.
  copy.restore(6, original.get(6), 1)
  copy.restore(3, original.get(3), 0)
  copy.retain(3)
  copy.retain(3)
  copy.restore(1, original.get(1), 1)
  assert.deepEqual([...copy.entries()], [...original.entries()])
  assert.deepEqual(copy.takeDirty(), { put: [], del: [] })
  for (const table of [original, copy]) {
    assert.deepEqual(
      [10, 11, 3, 12, 13].map((n) => table.intern(digest(n))),
      [2, 4, 3, 5, 7],
    )
    table.release(3)
    table.release(3)
    assert.throws(() => table.get(3))
  }
})

test('table: damage in what is restored is found', () => {
  const table = new AclTable()
  table.restore(2, digest(2), 1)
  assert.throws(() => table.restore(2, digest(3), 1), /there twice/)
  assert.throws(() => table.restore(3, digest(2), 1), /same as another/)
  assert.throws(() => table.restore(3, openAcl, 1), /same as another/)
  assert.throws(() => table.restore(0, digest(5), 1), /index 0/)
  assert.throws(() => table.restore(-1, digest(5), 1), /out of range/)
  assert.throws(() => table.restore(2 ** 32 - 1, digest(5), 1), /out of range/)
  assert.throws(() => table.restore(4, digest(5), -1), /references/)
})

test('table: any sequence of uses keeps lists, references and free indices straight', () => {
  // A small generator of its own, so that a failure repeats.
  let seed = 12345
  const random = (n: number): number => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0
    return (seed >>> 8) % n
  }
  const table = new AclTable()
  const held = new Map<number, { list: number; refs: number }>()
  const stored = new Map<number, readonly Acl[]>()
  for (let step = 0; step < 20000; step++) {
    const list = random(60)
    if (random(2) === 0) {
      const index = table.intern(digest(list))
      const entry = held.get(index)
      if (entry === undefined) {
        for (let lower = 1; lower < index; lower++) assert.ok(held.has(lower), `index ${lower} was free`)
        held.set(index, { list, refs: 1 })
      } else {
        assert.equal(entry.list, list)
        entry.refs++
      }
      table.retain(index)
    } else {
      const indices = [...held.keys()]
      const index = indices[random(indices.length)]
      const entry = index === undefined ? undefined : held.get(index)
      if (index === undefined || entry === undefined) continue
      table.release(index)
      if (--entry.refs === 0) held.delete(index)
    }
    if (random(50) === 0) {
      const { put, del } = table.takeDirty()
      for (const [index, now] of put) stored.set(index, now)
      for (const index of del) stored.delete(index)
      assert.deepEqual(stored, new Map([...held].map(([index, entry]) => [index, digest(entry.list)])))
    }
  }
  for (const [index, entry] of held) assert.equal(table.refs(index), entry.refs)
  assert.equal(table.size, held.size + 1)
})

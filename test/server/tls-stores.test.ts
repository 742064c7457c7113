import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { ConfigError, type KeyStoreSpec } from '../../src/config/types.ts'
import { children, readElement, Tag } from '../../src/server/tls-der.ts'
import { readStore, type Store } from '../../src/server/tls-stores.ts'
import { tlsFile } from '../support/certificates.ts'

const folder = mkdtempSync(join(tmpdir(), 'zabd-stores-'))
after(() => rmSync(folder, { recursive: true }))

function read(path: string, spec: Partial<KeyStoreSpec> = {}, withKeys = true): Store {
  const full = { path, password: 'changeit', passwordPath: undefined, type: 'pem' as const, ...spec }
  return readStore(full, 'ssl.keyStore', withKeys)
}

function written(name: string, content: string | Buffer): string {
  const path = join(folder, name)
  writeFileSync(path, content)
  return path
}

function names(store: Store): string[] {
  return store.certificates.map(({ certificate }) => /CN=(.*)/.exec(certificate.subject)![1]!)
}

/** The error of reading, with the path left out. */
function failure(path: string, spec: Partial<KeyStoreSpec> = {}, withKeys = true): string {
  try {
    read(path, spec, withKeys)
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error))
    return error.message.replace(path, 'FILE')
  }
  return assert.fail(`${path} was read without an error`)
}

const chain = ['localhost', 'Test Sub CA', 'Test CA']
const serverKey = readFileSync(tlsFile('server-key.pem'), 'utf8')

const stores: [file: string, spec: Partial<KeyStoreSpec>, certificates: string[]][] = [
  ['server.pem', { password: undefined }, ['Test Sub CA', 'Test CA', 'localhost']],
  ['server-encrypted.pem', {}, chain],
  ['server-encrypted-traditional.pem', {}, chain],
  ['openssl.p12', {}, chain],
  ['openssl-legacy.p12', {}, chain],
  ['openssl-rc2-128.p12', {}, chain],
  ['openssl-plain.p12', { password: undefined }, chain],
  ['openssl-empty-password.p12', { password: undefined }, chain],
  ['openssl-umlaut.p12', { password: 'pässwörd' }, chain],
  ['keytool.p12', {}, chain],
  ['keytool-legacy.p12', {}, chain],
  ['keytool.jks', {}, chain],
  ['keytool-default.jks', { type: 'jks' }, chain],
]

for (const [file, spec, certificates] of stores) {
  test(`${file} gives the server's key and all certificates`, () => {
    const store = read(tlsFile(file), spec)
    assert.deepEqual(
      store.keys.map(({ key }) => key.export({ type: 'pkcs8', format: 'pem' })),
      [serverKey],
    )
    assert.deepEqual(names(store), certificates)
  })
}

test('keys other than RSA are read: EC from JKS, Ed25519 from PKCS#12', () => {
  const ec = read(tlsFile('keytool-ec.jks'))
  const ed = read(tlsFile('keytool-ed25519.p12'))
  assert.deepEqual(
    [...ec.keys, ...ed.keys].map(({ alias, key }) => [alias, key.asymmetricKeyType]),
    [
      ['ec', 'ec'],
      ['ed', 'ed25519'],
    ],
  )
})

test('PKCS#12 with indefinite lengths and octet strings in pieces (BER) is read', () => {
  // the outer structure of openssl.p12, written the way that some other programs stream it
  const [version, content, mac] = children(readElement(readFileSync(tlsFile('openssl.p12'))))
  const [type, wrapped] = children(content!)
  const safe = children(wrapped!)[0]!.content
  const definite = (tag: number, bytes: Buffer): Buffer =>
    Buffer.concat([Buffer.from([tag, 0x82, bytes.length >> 8, bytes.length & 0xff]), bytes])
  const indefinite = (tag: number, ...parts: Buffer[]): Buffer =>
    Buffer.concat([Buffer.from([tag, 0x80]), ...parts, Buffer.from([0, 0])])
  const pieces = [safe.subarray(0, 1000), safe.subarray(1000, 1300), safe.subarray(1300)]
  const safeInPieces = indefinite(0x24, ...pieces.map((piece) => definite(Tag.octetString, piece)))
  const ber = indefinite(
    Tag.sequence,
    version!.raw,
    indefinite(Tag.sequence, type!.raw, indefinite(Tag.context0, safeInPieces)),
    mac!.raw,
  )
  assert.deepEqual(names(read(written('ber.p12', ber))), chain)
})

test('a trust store is read without its keys being decrypted', () => {
  // a key whose own password is another does not matter here
  const store = read(tlsFile('keytool-key-password.jks'), {}, false)
  assert.deepEqual([store.keys.length, names(store)], [0, chain])
})

test('the anchors of a store are the certificates that Java would trust', () => {
  const anchors = (file: string): string[] => {
    const store = read(tlsFile(file), {}, false)
    return names({ keys: [], certificates: store.certificates.filter(({ anchor }) => anchor) })
  }
  assert.deepEqual(
    [
      'ca.pem',
      'trust.jks',
      'trust.p12',
      'keytool.p12',
      'keytool.jks',
      'openssl.p12',
      'openssl-trust.p12',
    ].map(anchors),
    [['Test CA'], ['Test CA'], ['Test CA'], ['localhost'], ['localhost'], ['localhost'], []],
  )
})

test('a JKS trust store opens without a password', () => {
  assert.deepEqual(names(read(tlsFile('trust.jks'), { password: undefined }, false)), ['Test CA'])
})

test('the password comes from a file, without its line break, and wins over one given in the configuration', () => {
  const passwordPath = written('password', 'changeit\r\n')
  assert.deepEqual(names(read(tlsFile('keytool.jks'), { password: 'other', passwordPath })), chain)
})

test('text around PEM blocks, Windows line ends and the old name of certificates do no harm', () => {
  const text = readFileSync(tlsFile('server.pem'), 'utf8')
    .replaceAll(' CERTIFICATE', ' X509 CERTIFICATE')
    .replaceAll('-----BEGIN', 'Bag Attributes\n    friendlyName: ä\n-----BEGIN')
    .replaceAll('\n', '\r\n')
  assert.deepEqual(names(read(written('windows.pem', text))), ['Test Sub CA', 'Test CA', 'localhost'])
})

const wrongOpen =
  'ssl.keyStore.location=FILE: the password does not open the store; ' +
  'check ssl.keyStore.password or the file of ssl.keyStore.passwordPath'
for (const file of stores
  .map(([name]) => name)
  .filter((name) => /\.(jks|p12)$/.test(name) && !/plain/.test(name))) {
  test(`${file} with a wrong password is an error that says so`, () => {
    assert.equal(failure(tlsFile(file), { password: 'wrong' }), wrongOpen)
  })
}

for (const file of ['server-encrypted.pem', 'server-encrypted-traditional.pem']) {
  test(`${file} with a wrong password or none is an error that says so`, () => {
    assert.equal(
      failure(tlsFile(file), { password: 'wrong' }),
      'ssl.keyStore.location=FILE: the password does not decrypt the private key; ' +
        'check ssl.keyStore.password or the file of ssl.keyStore.passwordPath',
    )
    assert.equal(
      failure(tlsFile(file), { password: undefined }),
      'ssl.keyStore.location=FILE: the private key is encrypted; set ssl.keyStore.password or ssl.keyStore.passwordPath',
    )
  })
}

test('JKS and PKCS#12 stores with a key need a password', () => {
  const expected =
    'ssl.keyStore.location=FILE needs a password; set ssl.keyStore.password or ssl.keyStore.passwordPath'
  assert.equal(failure(tlsFile('keytool.jks'), { password: undefined }), expected)
  assert.equal(failure(tlsFile('openssl.p12'), { password: undefined }), expected)
})

test('a key with a password of its own is an error that says how to change it', () => {
  assert.equal(
    failure(tlsFile('keytool-key-password.jks')),
    'ssl.keyStore.location=FILE: the key "server" has a password of its own; ' +
      "give it the store's (ssl.keyStore.password) with keytool -keypasswd, as ZooKeeper needs it, too",
  )
})

test('files that are missing, no file or empty are errors that name the key', () => {
  assert.equal(failure(join(folder, 'none.p12')), 'ssl.keyStore.location=FILE: there is no such file')
  assert.equal(failure(folder), 'ssl.keyStore.location=FILE is a directory, not a file')
  assert.equal(failure(written('empty.jks', '')), 'ssl.keyStore.location=FILE: the file is empty')
  const passwordPath = join(folder, 'none')
  assert.equal(
    failure(tlsFile('keytool.jks'), { passwordPath }).replace(passwordPath, 'PASSWORD'),
    'ssl.keyStore.passwordPath=PASSWORD: there is no such file',
  )
})

test('files of other formats are errors that say what they are', () => {
  const der = read(tlsFile('ca.pem'), {}, false).certificates[0]!.certificate.raw
  assert.equal(
    failure(written('text.p12', 'hello'), { type: 'pkcs12' }),
    'ssl.keyStore.location=FILE is neither PEM, PKCS#12 nor JKS (ssl.keyStore.type says pkcs12); is it the right file?',
  )
  assert.match(
    failure(written('der.p12', der)),
    /is a single certificate in DER form; convert it with openssl x509/,
  )
  assert.match(
    failure(tlsFile('keytool.jceks')),
    /is a JCEKS store, which is not supported; convert it with keytool/,
  )
  assert.match(
    failure(tlsFile('server-encrypted-des.pem')),
    /encrypted with an algorithm that this Node.js does not have; rewrite it with openssl pkcs8 -topk8 -v2 aes256/,
  )
})

test('a PEM file without anything useful is an error', () => {
  const path = written('none.pem', '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n')
  assert.equal(
    failure(path),
    'ssl.keyStore.location=FILE holds no private key and no certificate that is complete from BEGIN to END',
  )
  assert.equal(
    failure(path, {}, false),
    'ssl.keyStore.location=FILE holds no certificate that is complete from BEGIN to END',
  )
})

test('a damaged store of any kind is a ConfigError, wherever it is cut or changed', () => {
  for (const file of ['keytool.jks', 'openssl-plain.p12', 'openssl-legacy.p12', 'server.pem']) {
    const whole = readFileSync(tlsFile(file))
    for (let i = 1; i <= 40; i++) {
      const at = Math.floor((whole.length * i) / 41)
      const cut = written('cut', whole.subarray(0, at))
      // a PEM file that lost its end can still hold whole blocks
      if (!file.endsWith('.pem')) assert.match(failure(cut), /damaged|password|cut short|can not be read/)
      const changed = Buffer.from(whole)
      changed[at] = changed[at]! ^ 0x55
      try {
        read(written('changed', changed))
      } catch (error) {
        assert.ok(error instanceof ConfigError, `${file} changed at ${at}: ${String(error)}`)
      }
    }
  }
})

import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { ConfigError, type KeyStoreSpec, type TlsConfig } from '../../src/config/types.ts'
import { type LoadedTls, loadTls } from '../../src/server/tls.ts'
import { issueCertificate, tlsFile } from '../support/certificates.ts'

const now = new Date()
const dayMs = 24 * 3600 * 1000
const folder = mkdtempSync(join(tmpdir(), 'zabd-tls-'))
after(() => rmSync(folder, { recursive: true }))

function pem(name: string, ...parts: string[]): KeyStoreSpec {
  const path = join(folder, name)
  writeFileSync(path, parts.join('\n'))
  return { path, password: undefined, passwordPath: undefined, type: 'pem' }
}

function fixture(name: string): KeyStoreSpec {
  return { path: tlsFile(name), password: 'changeit', passwordPath: undefined, type: 'pkcs12' }
}

function load(config: Partial<TlsConfig>, at = now): LoadedTls {
  const base: TlsConfig = {
    keyStore: fixture('server.pem'),
    trustStore: fixture('ca.pem'),
    clientAuth: 'need',
    protocols: ['TLSv1.2', 'TLSv1.3'],
    ciphers: undefined,
  }
  return loadTls({ ...base, ...config }, at)
}

/** The message of the ConfigError that loading ends with, with paths cut down to file names. */
function failure(config: Partial<TlsConfig>, at = now): string {
  try {
    load(config, at)
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error))
    return error.message.replaceAll(/=\/\S*\//g, '=')
  }
  return assert.fail('it was loaded without an error')
}

function warnings(config: Partial<TlsConfig>, at = now): string[] {
  return load(config, at).warnings.map((text) => text.replaceAll(/=\/\S*\//g, '='))
}

/** The common names in a PEM text of several certificates. */
function commonNames(text: unknown): string[] {
  const blocks = String(text).split(/(?<=-----END CERTIFICATE-----)\n/)
  return blocks.filter(Boolean).map((block) => /CN=(.*)/.exec(new X509Certificate(block).subject)![1]!)
}

const serverKey = readFileSync(tlsFile('server-key.pem'), 'utf8')
const day = (date: Date): string => `${new Date(date).toISOString().slice(0, 19)}Z`

test('the chain is sent from the own certificate upward, whatever the order in the file', () => {
  const { options, certificate, warnings } = load({})
  assert.deepEqual(commonNames(options.cert), ['localhost', 'Test Sub CA', 'Test CA'])
  assert.equal(options.key, serverKey)
  assert.equal(certificate.subject, 'CN=localhost,O=zabd test,C=DE')
  assert.equal(certificate.notAfter.toISOString(), '2115-01-01T00:00:00.000Z')
  assert.deepEqual(warnings, [])
})

test('certificates that have nothing to do with the key are not sent', () => {
  const stranger = issueCertificate({ issuer: 'self', subject: [['CN', 'stranger']] })
  const keyStore = pem('stranger.pem', stranger.cert, readFileSync(tlsFile('server.pem'), 'utf8'))
  assert.deepEqual(commonNames(load({ keyStore }).options.cert), ['localhost', 'Test Sub CA', 'Test CA'])
})

test('clientAuth says whether a certificate is asked for and whether one is needed', () => {
  const asked = (['none', 'want', 'need'] as const).map((clientAuth) => {
    const { requestCert, rejectUnauthorized } = load({ clientAuth }).options
    return [clientAuth, requestCert, rejectUnauthorized]
  })
  assert.deepEqual(asked, [
    ['none', false, false],
    ['want', true, false],
    ['need', true, true],
  ])
})

for (const file of ['ca.pem', 'trust.jks', 'trust.p12', 'openssl-trust.p12']) {
  test(`trust is taken from ${file}`, () => {
    const { ca } = load({ trustStore: fixture(file) }).options
    assert.deepEqual((ca as string[]).flatMap(commonNames), ['Test CA'])
  })
}

test('of a key entry used as trust store only the certificate itself is trusted, not its issuers', () => {
  const { ca } = load({ trustStore: fixture('keytool.p12') }).options
  assert.deepEqual((ca as string[]).flatMap(commonNames), ['localhost'])
})

test('without a trust store the authorities of Node.js hold, with a warning if clients show certificates', () => {
  const { options } = load({ trustStore: undefined })
  assert.equal(options.ca, undefined)
  assert.deepEqual(warnings({ trustStore: undefined }), [
    'ssl.trustStore.location is not set: client certificates of every public authority are trusted',
  ])
  assert.deepEqual(warnings({ trustStore: undefined, clientAuth: 'none' }), [])
})

test('without a key store TLS is an error', () => {
  assert.equal(
    failure({ keyStore: undefined }),
    "ssl.keyStore.location is not set: TLS needs a file with the server's private key and certificate",
  )
})

test('messages carry the prefix that the configuration keys have', () => {
  const config: TlsConfig = {
    keyStore: { ...fixture('none.pem'), path: 'none.pem' },
    trustStore: undefined,
    clientAuth: 'need',
    protocols: ['TLSv1.3'],
    ciphers: undefined,
  }
  assert.throws(() => loadTls(config, now, 'ssl.quorum'), {
    name: 'ConfigError',
    message: 'ssl.quorum.keyStore.location=none.pem: there is no such file',
  })
})

test('the errors of a trust store name its keys', () => {
  assert.equal(
    failure({ trustStore: { ...fixture('trust.p12'), password: 'wrong' } }),
    'ssl.trustStore.location=trust.p12: the password does not open the store; ' +
      'check ssl.trustStore.password or the file of ssl.trustStore.passwordPath',
  )
})

test('a key store without private key is an error', () => {
  assert.equal(
    failure({ keyStore: fixture('trust.p12') }),
    'ssl.keyStore.location=trust.p12 holds no private key, only 1 certificate(s); is it the trust store? ' +
      "The key store needs the server's private key with its certificate",
  )
})

test('a key store without certificate is an error', () => {
  assert.equal(
    failure({ keyStore: fixture('server-key.pem') }),
    'ssl.keyStore.location=server-key.pem holds a private key but no certificate; ' +
      'add the certificate chain to the file',
  )
})

test('a trust store without certificate is an error', () => {
  assert.equal(
    failure({ trustStore: pem('key-only.pem', serverKey) }),
    'ssl.trustStore.location=key-only.pem holds no certificate that is complete from BEGIN to END',
  )
})

test('a key that is not the key of any certificate is an error', () => {
  const { cert } = issueCertificate({ key: 'client' })
  assert.equal(
    failure({ keyStore: pem('mixed.pem', serverKey, cert) }),
    'ssl.keyStore.location=mixed.pem: the private key does not belong to a certificate of the file ' +
      '(the first is CN=client); key and certificate must be a pair',
  )
})

test('an expired certificate is an error with its dates', () => {
  const { cert } = issueCertificate({
    key: 'server',
    notBefore: new Date('2001-02-03T04:05:06Z'),
    notAfter: new Date('2002-02-03T04:05:06Z'),
  })
  assert.equal(
    failure({ keyStore: pem('expired.pem', serverKey, cert) }),
    'ssl.keyStore.location=expired.pem: the certificate has expired ' +
      '(CN=client, valid from 2001-02-03T04:05:06Z to 2002-02-03T04:05:06Z); put a renewed one into the file',
  )
})

test('a certificate whose time has not come is an error with its dates', () => {
  assert.match(
    failure({ keyStore: fixture('keytool.jks') }, new Date('2014-01-01T00:00:00Z')),
    /^ssl.keyStore.location=keytool.jks: the certificate is not valid yet \(CN=localhost,O=zabd test,C=DE, valid from 2015-01-01T00:00:00Z to 2115-01-01T00:00:00Z\); check this machine's clock$/,
  )
})

test('a renewed certificate beside the expired one is the one used', () => {
  const old = issueCertificate({
    key: 'server',
    subject: [['CN', 'old']],
    notBefore: new Date('2001-01-01'),
    notAfter: new Date('2002-01-01'),
  })
  const renewed = issueCertificate({ key: 'server', subject: [['CN', 'renewed']] })
  const loaded = load({ keyStore: pem('renewed.pem', old.cert, renewed.cert, serverKey) })
  assert.equal(loaded.certificate.subject, 'CN=renewed')
})

test('of several keys the first with a certificate is used, and a warning says which', () => {
  assert.deepEqual(warnings({ keyStore: fixture('keytool-two-keys.jks') }), [
    'ssl.keyStore.location=keytool-two-keys.jks holds 2 private keys; "second" is used (CN=second)',
  ])
})

test('a certificate that ends within thirty days is a warning', () => {
  const notAfter = new Date(now.getTime() + 29 * dayMs)
  const notBefore = new Date(now.getTime() - 10 * dayMs)
  const { cert } = issueCertificate({ key: 'server', notBefore, notAfter })
  const keyStore = pem('soon.pem', serverKey, cert)
  assert.deepEqual(warnings({ keyStore }), [
    `ssl.keyStore.location=soon.pem: the certificate expires soon (CN=client, valid from ${day(notBefore)} to ${day(notAfter)})`,
  ])
  assert.deepEqual(warnings({ keyStore }, new Date(now.getTime() - 2 * dayMs)), [])
})

test('an expired certificate higher up in the chain is a warning', () => {
  const expired = { notBefore: new Date('2001-01-01'), notAfter: new Date('2002-01-01') }
  const middle = issueCertificate({ key: 'ca', subject: [['CN', 'middle']], authority: true, ...expired })
  const { cert } = issueCertificate({ key: 'server', issuer: middle })
  assert.deepEqual(warnings({ keyStore: pem('middle.pem', serverKey, cert, middle.cert) }), [
    'ssl.keyStore.location=middle.pem: a certificate of the chain is out of date or soon will be ' +
      '(CN=middle, valid from 2001-01-01T00:00:00Z to 2002-01-01T00:00:00Z)',
  ])
})

test('expired authorities are a warning while another is valid, and an error if none is', () => {
  const ca = readFileSync(tlsFile('ca.pem'), 'utf8')
  const expired = issueCertificate({
    issuer: 'self',
    authority: true,
    subject: [['CN', 'gone']],
    notBefore: new Date('2001-01-01'),
    notAfter: new Date('2002-01-01'),
  }).cert
  const dates = 'CN=gone, valid from 2001-01-01T00:00:00Z to 2002-01-01T00:00:00Z'
  assert.deepEqual(warnings({ trustStore: pem('both.pem', ca, expired) }), [
    `ssl.trustStore.location=both.pem: 1 certificate(s) out of date (the first: ${dates})`,
  ])
  assert.equal(
    failure({ trustStore: pem('gone.pem', expired) }),
    `ssl.trustStore.location=gone.pem: every certificate has expired or is not valid yet (the first: ${dates}); ` +
      'put a renewed one into the file',
  )
})

test('an authority that ends within thirty days is a warning', () => {
  const notAfter = new Date(now.getTime() + 29 * dayMs)
  const soon = issueCertificate({ issuer: 'self', authority: true, subject: [['CN', 'soon']], notAfter })
  const found = warnings({ trustStore: pem('soon-ca.pem', soon.cert) })
  assert.equal(found.length, 1)
  assert.match(
    found[0]!,
    /^ssl.trustStore.location=soon-ca.pem: 1 certificate\(s\) expire soon \(the first: CN=soon, valid from/,
  )
})

test('protocols are the range that is offered, and a list of suites rules out those it has none for', () => {
  const range = (config: Partial<TlsConfig>): unknown[] => {
    const { minVersion, maxVersion, ciphers } = load(config).options
    return [minVersion, maxVersion, ciphers]
  }
  const tls12 = 'ECDHE-RSA-AES128-GCM-SHA256'
  const tls13 = 'TLS_AES_256_GCM_SHA384'
  assert.deepEqual(
    [
      range({}),
      range({ protocols: ['TLSv1.3', 'TLSv1.2'] }),
      range({ protocols: ['TLSv1.2'] }),
      range({ ciphers: tls12 }),
      range({ ciphers: tls13 }),
      range({ ciphers: `${tls12}:${tls13}` }),
      range({ ciphers: `${tls12}:${tls13}`, protocols: ['TLSv1.3'] }),
    ],
    [
      ['TLSv1.2', 'TLSv1.3', undefined],
      ['TLSv1.2', 'TLSv1.3', undefined],
      ['TLSv1.2', 'TLSv1.2', undefined],
      ['TLSv1.2', 'TLSv1.2', tls12],
      ['TLSv1.3', 'TLSv1.3', tls13],
      ['TLSv1.2', 'TLSv1.3', `${tls12}:${tls13}`],
      ['TLSv1.3', 'TLSv1.3', `${tls12}:${tls13}`],
    ],
  )
})

test('suites that suit no enabled protocol, or that do not exist, are errors', () => {
  assert.equal(
    failure({ ciphers: 'ECDHE-RSA-AES128-GCM-SHA256', protocols: ['TLSv1.3'] }),
    'ssl.ciphersuites has no suite for TLSv1.3; change it or ssl.enabledProtocols ' +
      '(suites of TLS 1.3 have no WITH in their names)',
  )
  assert.equal(
    failure({ ciphers: 'NO-SUCH-SUITE' }),
    'ssl.ciphersuites: none of NO-SUCH-SUITE is known to this Node.js',
  )
})

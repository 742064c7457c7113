import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect as connectPlain, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, type TestContext, test } from 'node:test'
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls'
import type { KeyStoreSpec, TlsConfig } from '../../src/config/types.ts'
import { loadTls } from '../../src/server/tls.ts'
import {
  createTlsAcceptor,
  detectTls,
  startsTls,
  type TlsClient,
  type TlsRefusal,
} from '../../src/server/tls-accept.ts'
import { issueCertificate, tlsFile } from '../support/certificates.ts'

const ca = readFileSync(tlsFile('ca.pem'), 'utf8')
const folder = mkdtempSync(join(tmpdir(), 'zabd-accept-'))
after(() => rmSync(folder, { recursive: true }))

const trusted = issueCertificate({
  subject: [
    ['C', 'DE'],
    ['O', 'Zabd, Inc'],
    ['CN', 'zkclient'],
  ],
})
const trustedSubject = 'CN=zkclient,O=Zabd\\, Inc,C=DE'
const untrusted = issueCertificate({ issuer: 'self', subject: [['CN', 'zkclient']] })
const expired = issueCertificate({ notBefore: new Date('2001-01-01'), notAfter: new Date('2002-01-01') })
const serverOnly = issueCertificate({ usages: ['serverAuth'] })

function fixture(name: string, password = 'changeit'): KeyStoreSpec {
  return { path: tlsFile(name), password, passwordPath: undefined, type: 'pkcs12' }
}

function written(name: string, text: string): KeyStoreSpec {
  const path = join(folder, name)
  writeFileSync(path, text)
  return { path, password: undefined, passwordPath: undefined, type: 'pem' }
}

type Outcome = ({ client: TlsClient } | { refusal: TlsRefusal }) & { raw: Socket }

type Port = {
  readonly port: number
  /** What became of the next connection; in the order of the decisions. */
  readonly next: () => Promise<Outcome>
}

/** A listening port whose connections all go to an acceptor; every client gets back what it sends. */
async function open(t: TestContext, config: Partial<TlsConfig> = {}, timeoutMs?: number): Promise<Port> {
  const base: TlsConfig = {
    keyStore: fixture('server.pem'),
    trustStore: fixture('ca.pem'),
    clientAuth: 'need',
    protocols: ['TLSv1.2', 'TLSv1.3'],
    ciphers: undefined,
  }
  const outcomes: Outcome[] = []
  const waiting: ((outcome: Outcome) => void)[] = []
  let raw: Socket
  const settle = (outcome: Outcome): void => {
    const waiter = waiting.shift()
    if (waiter === undefined) outcomes.push(outcome)
    else waiter(outcome)
  }
  const acceptor = createTlsAcceptor(
    loadTls({ ...base, ...config }, new Date()),
    {
      onClient: (client) => {
        client.socket.on('error', () => undefined)
        client.socket.pipe(client.socket)
        settle({ client, raw })
      },
      onRefused: (refusal) => settle({ refusal, raw }),
    },
    timeoutMs,
  )
  const server = createServer((socket) => {
    raw = socket
    acceptor.accept(socket)
  })
  const port = await listen(t, server)
  return {
    port,
    next: () => {
      const outcome = outcomes.shift()
      return outcome === undefined
        ? new Promise((resolve) => waiting.push(resolve))
        : Promise.resolve(outcome)
    },
  }
}

async function listen(t: TestContext, server: Server): Promise<number> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket) => sockets.add(socket))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return (server.address() as AddressInfo).port
}

function dial(t: TestContext, port: number, options: ConnectionOptions = {}): TLSSocket {
  const socket = connect({ port, host: '127.0.0.1', servername: 'localhost', ca, ...options })
  socket.on('error', () => undefined)
  t.after(() => socket.destroy())
  return socket
}

/** Resolves when the socket is closed, with an error or without. */
function closing(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.once('close', () => resolve()))
}

/** Sends a text and gives what comes back. */
async function echo(socket: TLSSocket | Socket, text: string): Promise<string> {
  socket.write(text)
  let got = ''
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    got += String(chunk)
    if (got.length >= text.length) break
  }
  return got
}

function subjectOf(outcome: Outcome): string | undefined {
  assert.ok('client' in outcome, `refused: ${JSON.stringify('refusal' in outcome && outcome.refusal)}`)
  return outcome.client.subject
}

function reasonOf(outcome: Outcome): string {
  assert.ok('refusal' in outcome, 'the connection was let in')
  return outcome.refusal.reason
}

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  const limits = { minVersion: version, maxVersion: version }

  test(`need, ${version}: a client with a trusted certificate is let in and known by its subject`, async (t) => {
    const port = await open(t)
    const socket = dial(t, port.port, { ...trusted, ...limits })
    assert.equal(await echo(socket, 'hello'), 'hello')
    assert.equal(socket.authorized, true)
    assert.equal(subjectOf(await port.next()), trustedSubject)
  })

  test(`need, ${version}: clients without a trusted certificate are refused`, async (t) => {
    const port = await open(t)
    const refused: string[] = []
    for (const client of [{}, untrusted, expired, serverOnly]) {
      const socket = dial(t, port.port, { ...client, ...limits })
      const closed = closing(socket)
      refused.push(reasonOf(await port.next()))
      await closed
    }
    assert.deepEqual(refused, [
      'the client showed no certificate',
      "the client's certificate is not trusted (DEPTH_ZERO_SELF_SIGNED_CERT)",
      "the client's certificate is not trusted (CERT_HAS_EXPIRED)",
      "the client's certificate is not trusted (INVALID_PURPOSE)",
    ])
  })

  test(`want, ${version}: a certificate may be left out but not be untrusted`, async (t) => {
    const port = await open(t, { clientAuth: 'want' })
    assert.equal(await echo(dial(t, port.port, limits), 'anonymous'), 'anonymous')
    assert.equal(subjectOf(await port.next()), undefined)
    assert.equal(await echo(dial(t, port.port, { ...trusted, ...limits }), 'known'), 'known')
    assert.equal(subjectOf(await port.next()), trustedSubject)
    const socket = dial(t, port.port, { ...untrusted, ...limits })
    const closed = closing(socket)
    assert.equal(
      reasonOf(await port.next()),
      "the client's certificate is not trusted (DEPTH_ZERO_SELF_SIGNED_CERT)",
    )
    await closed
  })

  test(`none, ${version}: no certificate is asked for, and one that the client has gives no subject`, async (t) => {
    const port = await open(t, { clientAuth: 'none' })
    assert.equal(await echo(dial(t, port.port, limits), 'anonymous'), 'anonymous')
    assert.equal(subjectOf(await port.next()), undefined)
    assert.equal(await echo(dial(t, port.port, { ...untrusted, ...limits }), 'ignored'), 'ignored')
    assert.equal(subjectOf(await port.next()), undefined)
  })

  test(`${version}: a resumed session keeps its subject`, async (t) => {
    const port = await open(t, { clientAuth: 'want' })
    const socket = dial(t, port.port, { ...trusted, ...limits })
    const [session] = (await once(socket, 'session')) as [Buffer]
    await port.next()
    socket.destroy()
    const again = dial(t, port.port, { ...limits, session })
    assert.equal(await echo(again, 'again'), 'again')
    assert.equal(again.isSessionReused(), true)
    assert.equal(subjectOf(await port.next()), trustedSubject)
  })
}

const stores: [keyStore: string, trustStore: string, password?: string][] = [
  ['server-encrypted.pem', 'ca.pem'],
  ['openssl.p12', 'openssl-trust.p12'],
  ['openssl-legacy.p12', 'trust.p12'],
  ['openssl-umlaut.p12', 'trust.jks', 'pässwörd'],
  ['keytool.p12', 'trust.p12'],
  ['keytool-legacy.p12', 'trust.p12'],
  ['keytool.jks', 'trust.jks'],
  ['keytool-default.jks', 'trust.jks'],
]
for (const [keyStore, trustStore, password] of stores) {
  test(`client and server trust each other with ${keyStore} and ${trustStore}`, async (t) => {
    const port = await open(t, { keyStore: fixture(keyStore, password), trustStore: fixture(trustStore) })
    const socket = dial(t, port.port, trusted)
    assert.equal(await echo(socket, 'hello'), 'hello')
    assert.equal(subjectOf(await port.next()), trustedSubject)
  })
}

for (const [file, kind] of [
  ['keytool-ec.jks', 'EC'],
  ['keytool-ed25519.p12', 'Ed25519'],
] as const) {
  test(`a server with an ${kind} key shakes hands`, async (t) => {
    const port = await open(t, { keyStore: fixture(file) })
    const socket = dial(t, port.port, { ...trusted, rejectUnauthorized: false })
    assert.equal(await echo(socket, 'hello'), 'hello')
    assert.equal(subjectOf(await port.next()), trustedSubject)
  })
}

test('a client whose own certificate is in the trust store is trusted, without its issuer', async (t) => {
  const other = issueCertificate({ subject: [['CN', 'other']] })
  const port = await open(t, { trustStore: written('leaf.pem', trusted.cert) })
  assert.equal(await echo(dial(t, port.port, trusted), 'hello'), 'hello')
  assert.equal(subjectOf(await port.next()), trustedSubject)
  dial(t, port.port, other)
  assert.match(reasonOf(await port.next()), /not trusted/)
})

test('a certificate that cannot be told apart by name only is not trusted', async (t) => {
  // an authority with the name of the trusted one, but with a key of its own
  const impostor = issueCertificate({
    issuer: 'self',
    key: 'server',
    authority: true,
    subject: [
      ['C', 'DE'],
      ['O', 'zabd test'],
      ['CN', 'Test CA'],
    ],
  })
  const client = issueCertificate({ issuer: impostor, subject: [['CN', 'zkclient']] })
  const port = await open(t)
  dial(t, port.port, { key: client.key, cert: client.cert + impostor.cert })
  assert.match(reasonOf(await port.next()), /not trusted/)
})

test('without a trust store a client of an unknown authority is refused', async (t) => {
  const port = await open(t, { trustStore: undefined })
  dial(t, port.port, trusted)
  assert.match(reasonOf(await port.next()), /not trusted/)
})

test('only the enabled protocol and suites are spoken', async (t) => {
  const port = await open(t, { ciphers: 'ECDHE-RSA-AES256-GCM-SHA384', protocols: ['TLSv1.2', 'TLSv1.3'] })
  const socket = dial(t, port.port, trusted)
  assert.equal(await echo(socket, 'hello'), 'hello')
  assert.deepEqual(
    [socket.getProtocol(), socket.getCipher().standardName],
    ['TLSv1.2', 'TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384'],
  )
  await port.next()
  dial(t, port.port, { ...trusted, minVersion: 'TLSv1.3' })
  assert.equal(reasonOf(await port.next()), 'the client speaks a version of TLS that is not enabled')
  dial(t, port.port, { ...trusted, maxVersion: 'TLSv1.2', ciphers: 'ECDHE-RSA-AES128-GCM-SHA256' })
  assert.equal(reasonOf(await port.next()), 'the client offers no cipher suite that is enabled')
})

test('a client that does not trust the server ends the handshake, and the connection is closed', async (t) => {
  const port = await open(t)
  dial(t, port.port, { ...trusted, ca: untrusted.cert })
  const outcome = await port.next()
  // Node.js as a client says nothing; others send an alert, which is named then
  assert.equal(reasonOf(outcome), 'the client went away during the handshake')
  assert.equal(outcome.raw.destroyed, true)
})

test('a client that speaks no TLS is refused and closed', async (t) => {
  const port = await open(t)
  const reasons: string[] = []
  for (const text of ['\0\0\0\x2d\0\0\0\0', 'GET / HTTP/1.1\r\n\r\n']) {
    const socket = connectPlain(port.port, '127.0.0.1')
    socket.on('error', () => undefined)
    const closed = closing(socket)
    socket.resume()
    socket.write(text)
    reasons.push(reasonOf(await port.next()))
    await closed
  }
  assert.deepEqual(reasons, ['the client does not speak TLS', 'the client speaks HTTP without TLS'])
})

test('a client that goes away or says nothing during the handshake is refused once', async (t) => {
  const port = await open(t, {}, 50)
  const gone = connectPlain(port.port, '127.0.0.1')
  gone.on('error', () => undefined)
  gone.write(Buffer.from([0x16, 3, 1]), () => gone.destroy())
  assert.equal(reasonOf(await port.next()), 'the client went away during the handshake')
  const silent = connectPlain(port.port, '127.0.0.1')
  const closed = closing(silent)
  silent.resume()
  assert.equal(reasonOf(await port.next()), 'the handshake took too long')
  await closed
})

for (const clientAuth of ['need', 'want'] as const) {
  test(`a refusal names the address that the client came from and the code (${clientAuth})`, async (t) => {
    const port = await open(t, { clientAuth })
    dial(t, port.port, untrusted)
    const outcome = await port.next()
    assert.ok('refusal' in outcome)
    assert.deepEqual(
      [outcome.refusal.remoteAddress, outcome.refusal.code],
      ['127.0.0.1', 'DEPTH_ZERO_SELF_SIGNED_CERT'],
    )
  })
}

test('the accepted connection closes with its TLS socket and the TLS socket with it', async (t) => {
  const port = await open(t)
  dial(t, port.port, trusted)
  const first = await port.next()
  assert.ok('client' in first)
  const rawClosed = closing(first.raw)
  first.client.socket.destroy()
  await rawClosed
  dial(t, port.port, trusted)
  const second = await port.next()
  assert.ok('client' in second)
  const tlsClosed = closing(second.client.socket)
  second.raw.destroy()
  await tlsClosed
})

test('TLS is told by its first byte, a plain client is not taken for it', () => {
  assert.deepEqual([0x16, 0, 0x72, 0x15, 0x17].map(startsTls), [true, false, false, false, false])
})

test('one port serves plain and TLS clients side by side, however the first bytes arrive', async (t) => {
  const tls = loadTls(
    {
      keyStore: fixture('server.pem'),
      trustStore: fixture('ca.pem'),
      clientAuth: 'need',
      protocols: ['TLSv1.3'],
      ciphers: undefined,
    },
    new Date(),
  )
  const seen: string[] = []
  const acceptor = createTlsAcceptor(tls, {
    onClient: ({ socket, subject }) => {
      seen.push(`TLS ${subject}`)
      socket.pipe(socket)
    },
    onRefused: ({ reason }) => seen.push(reason),
  })
  const server = createServer((socket) => {
    detectTls(socket, (secure) => {
      if (secure) acceptor.accept(socket)
      else {
        seen.push('plain')
        socket.on('data', (chunk) => socket.write(chunk))
      }
    })
  })
  const port = await listen(t, server)

  const plain = connectPlain(port, '127.0.0.1')
  assert.equal(await echo(plain, 'ruok'), 'ruok')
  assert.equal(await echo(plain, 'once more'), 'once more')
  plain.destroy()

  const secure = dial(t, port, trusted)
  assert.equal(await echo(secure, 'hello'), 'hello')
  secure.destroy()

  // a proxy that hands over the first bytes one at a time
  const relay = createServer((inner) => {
    const outer = connectPlain({ port, host: '127.0.0.1', noDelay: true })
    outer.pipe(inner)
    inner.once('data', (first: Buffer) => {
      inner.pause()
      const sendFrom = (at: number): void => {
        if (at < 8) outer.write(first.subarray(at, at + 1), () => setImmediate(sendFrom, at + 1))
        else {
          outer.write(first.subarray(8))
          inner.pipe(outer)
        }
      }
      sendFrom(0)
    })
    for (const socket of [inner, outer]) socket.on('error', () => undefined)
    t.after(() => outer.destroy())
  })
  const slow = dial(t, await listen(t, relay), trusted)
  assert.equal(await echo(slow, 'slowly'), 'slowly')
  assert.deepEqual(seen, ['plain', `TLS ${trustedSubject}`, `TLS ${trustedSubject}`])
})

test('a connection that ends before its first byte is neither plain nor TLS', async (t) => {
  const decisions: boolean[] = []
  const ended = new Promise<void>((resolve) => {
    const server = createServer((socket) => {
      detectTls(socket, (secure) => decisions.push(secure))
      socket.on('close', () => resolve())
    })
    listen(t, server).then((port) => {
      const client = connectPlain(port, '127.0.0.1', () => client.end())
      client.resume()
    })
  })
  await ended
  assert.deepEqual(decisions, [])
})

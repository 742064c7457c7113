// The TLS port of a running server: who gets in, who is who, and that a client over TLS is served like any other.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, type TestContext, test } from 'node:test'
import { issueCertificate, tlsFile } from '../support/certificates.ts'
import { type Acl, body, code, Err, exchange, Op, ok, type RawClient } from '../support/raw-client.ts'
import { heldBytes, type RobustServer, robustServer, type Settings, until } from '../support/robust-server.ts'
import { connectTls, dialTls, openTls, serverStores, type TlsIdentity } from '../support/robust-tls.ts'
import { hello, Passing, request } from '../support/robust-wire.ts'

const folder = mkdtempSync(join(tmpdir(), 'zabd-tls-'))
after(() => rmSync(folder, { recursive: true }))

const subjectOf = (name: string) => [['C', 'DE'] as const, ['O', 'Zabd, Inc'] as const, ['CN', name] as const]
const alice = issueCertificate({ subject: subjectOf('alice') })
const aliceDn = 'CN=alice,O=Zabd\\, Inc,C=DE'
const bob = issueCertificate({ subject: subjectOf('bob') })
const stranger = issueCertificate({ issuer: 'self', subject: subjectOf('alice') })

/** A server with a plain and a TLS port. */
function bothPorts(t: TestContext, settings: Settings = {}): Promise<RobustServer> {
  return robustServer(t, {
    ...serverStores,
    secureClientPort: 0,
    secureClientPortAddress: '127.0.0.1',
    ...settings,
  })
}

const names = async (client: RawClient) =>
  (await ok(client.whoAmI())).map(({ scheme, user }) => `${scheme}:${user}`).sort()

/** That the server closes the connection, and the reason that it logs. */
async function refusedWith(
  t: TestContext,
  server: RobustServer,
  identity: TlsIdentity,
  port = server.securePort,
): Promise<string> {
  const before = server.lines.length
  await assert.rejects(connectTls(t, port, identity))
  await until('the refusal is logged', () => server.lines.length > before)
  const line = server.lines.at(-1)
  assert.equal(line?.client, '127.0.0.1')
  return line.msg
}

test('both ports side by side serve one tree', async (t) => {
  const server = await bothPorts(t)
  const secure = await connectTls(t, server.securePort, alice)
  const plain = await server.connect()
  await plain.exists('/x', true)
  assert.equal(await ok(secure.create('/x', { data: 'by TLS' })), '/x')
  assert.deepEqual(await plain.events(), ['NodeCreated /x'])
  assert.equal(String((await ok(plain.getData('/x'))).data), 'by TLS')
  assert.match(await server.word('conf'), new RegExp(`^secureClientPort=${server.securePort}$`, 'm'))
  assert.equal((await server.word('cons')).split('\n').filter((line) => line.includes('sid=0x')).length, 2)
  assert.match((await server.logged(/ready to serve/)).msg, new RegExp(`:${server.securePort} \\(TLS\\)`))
})

test('a session moves from one port to the other', async (t) => {
  const server = await bothPorts(t)
  const plain = await server.connect()
  await ok(plain.create('/e', { flags: 1 }))
  const secure = await connectTls(t, server.securePort, alice, plain.credentials)
  await plain.closed()
  assert.equal((await ok(secure.exists('/e'))).ephemeralOwner, secure.session.sessionId)
  await secure.close()
  const other = await server.connect()
  assert.equal(await code(other.exists('/e')), Err.noNode)
})

test('clientAuth need: only who shows a trusted certificate gets in', async (t) => {
  const server = await bothPorts(t)
  assert.deepEqual(await names(await connectTls(t, server.securePort, alice)), [
    'ip:127.0.0.1',
    `x509:${aliceDn}`,
  ])
  const without = 'TLS connection refused: the client showed no certificate'
  assert.equal(await refusedWith(t, server, {}), without)
  assert.match(await refusedWith(t, server, stranger), /^TLS connection refused: .*not trusted \([A-Z_]+\)$/)
  await server.untilFigure('num_alive_connections', 2)
})

test('clientAuth want: who shows no certificate gets in without an identity, who shows a bad one does not', async (t) => {
  const server = await bothPorts(t, { 'ssl.clientAuth': 'want' })
  assert.deepEqual(await names(await connectTls(t, server.securePort)), ['ip:127.0.0.1'])
  assert.deepEqual(await names(await connectTls(t, server.securePort, alice)), [
    'ip:127.0.0.1',
    `x509:${aliceDn}`,
  ])
  assert.match(await refusedWith(t, server, stranger), /not trusted/)
})

test('clientAuth none: nobody is asked for a certificate', async (t) => {
  const server = await bothPorts(t, { 'ssl.clientAuth': 'none' })
  for (const identity of [{}, alice, stranger])
    assert.deepEqual(await names(await connectTls(t, server.securePort, identity)), ['ip:127.0.0.1'])
})

test('an ACL of the x509 scheme holds for the subject of the certificate, and for nobody else', async (t) => {
  const server = await bothPorts(t)
  const owner = await connectTls(t, server.securePort, alice)
  const acl: Acl[] = [{ perms: 31, scheme: 'x509', id: aliceDn }]
  await ok(owner.create('/named', { data: 'secret', acl }))
  await ok(owner.create('/own', { data: 'secret', acl: [{ perms: 31, scheme: 'auth', id: '' }] }))
  assert.deepEqual((await ok(owner.getAcl('/own'))).acl, acl)
  const other = await connectTls(t, server.securePort, bob)
  const plain = await server.connect()
  for (const path of ['/named', '/own']) {
    assert.equal(String((await ok(owner.getData(path))).data), 'secret')
    for (const client of [other, plain]) {
      assert.equal(await code(client.getData(path)), Err.noAuth)
      assert.equal(await code(client.setData(path, 'taken')), Err.noAuth)
      assert.equal(
        await code(client.setAcl(path, [{ perms: 31, scheme: 'world', id: 'anyone' }])),
        Err.noAuth,
      )
    }
  }
  assert.equal(await code(plain.auth('x509', aliceDn)), Err.authFailed)
})

test('without a TLS port there is no x509 scheme', async (t) => {
  const server = await robustServer(t)
  const client = await server.connect()
  assert.equal(
    await code(client.create('/x', { acl: [{ perms: 31, scheme: 'x509', id: aliceDn }] })),
    Err.invalidAcl,
  )
})

test('X509AuthenticationProvider.superUser may do everything', async (t) => {
  const server = await bothPorts(t, { 'X509AuthenticationProvider.superUser': aliceDn })
  const other = await connectTls(t, server.securePort, bob)
  await ok(other.create('/own', { data: 'x', acl: [{ perms: 31, scheme: 'auth', id: '' }] }))
  const root = await connectTls(t, server.securePort, alice)
  assert.deepEqual(await names(root), ['ip:127.0.0.1', 'super:', `x509:${aliceDn}`])
  assert.equal(await code(root.setData('/own', 'y')), Err.ok)
  assert.equal(await code(root.delete('/own')), Err.ok)
})

test('client.portUnification: TLS, plain and four-letter words on one port', async (t) => {
  const server = await robustServer(t, { ...serverStores, 'client.portUnification': true })
  const secure = await connectTls(t, server.port, alice)
  const plain = await server.connect()
  await ok(secure.create('/x'))
  assert.equal(await code(plain.exists('/x')), Err.ok)
  assert.deepEqual(await names(secure), ['ip:127.0.0.1', `x509:${aliceDn}`])
  assert.deepEqual(await names(plain), ['ip:127.0.0.1'])
  assert.equal(await server.word('ruok'), 'imok')
  assert.equal(await overTls(t, server.port, 'ruok'), 'imok')
  const without = 'TLS connection refused: the client showed no certificate'
  assert.equal(await refusedWith(t, server, {}, server.port), without)
  // The first byte decides; the rest may take its time.
  const slow = await Passing.dial(server.port)
  await slow.sendPieces(Array.from(hello(), (byte) => Buffer.from([byte])))
  await slow.received(1)
  assert.equal(slow.frames, 1)
  slow.destroy()
})

test('client.portUnification: a connection that says nothing is closed after ten seconds', async (t) => {
  const server = await robustServer(t, { ...serverStores, 'client.portUnification': true })
  const silent = await Promise.all([Passing.dial(server.port), Passing.dial(server.port)])
  await server.word('ruok')
  server.advance(9000)
  const later = await Passing.dial(server.port)
  await server.word('ruok')
  server.advance(1000)
  for (const connection of silent) await connection.closed()
  assert.equal(later.isClosed, false)
  later.send(hello())
  await later.received(1)
  assert.equal(later.frames, 1)
  later.destroy()
})

/** Sends a text over TLS and gives what comes until the server closes. */
async function overTls(t: TestContext, port: number, text: string): Promise<string> {
  const socket = await openTls(t, port, alice)
  let answer = ''
  socket.on('data', (chunk: Buffer) => {
    answer += chunk
  })
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  socket.write(text)
  await closed
  return answer
}

test('a client that does not trust the server goes before it has said anything', async (t) => {
  const server = await bothPorts(t)
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const)
    await assert.rejects(connectTls(t, server.securePort, { ...alice, ca: stranger.cert, maxVersion }))
  await server.untilFigure('num_alive_connections', 1)
  assert.equal(await server.figure('global_sessions'), 0)
})

test('the wrong protocol for a port ends the connection with a line of the log', async (t) => {
  const server = await bothPorts(t)
  const told = async (port: number, bytes: Buffer | string): Promise<string> => {
    const before = server.lines.length
    await exchange({ port }, bytes)
    await until('the log tells', () => server.lines.length > before)
    return server.lines.at(-1)?.msg ?? ''
  }
  assert.equal(
    await told(server.securePort, hello()),
    'TLS connection refused: the client does not speak TLS',
  )
  assert.equal(
    await told(server.securePort, 'ruok'.repeat(4)),
    'TLS connection refused: the client does not speak TLS',
  )
  const http = 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'
  assert.equal(
    await told(server.securePort, http),
    'TLS connection refused: the client speaks HTTP without TLS',
  )
  const socket = dialTls(t, server.port, alice)
  await new Promise<void>((resolve) => socket.once('close', () => resolve()))
  assert.match((await server.logged(/a frame of 369\d+ bytes/)).msg, /^connection closed: a frame of/)
})

test('garbage on the TLS port harms nobody and is not counted for long', async (t) => {
  const server = await bothPorts(t, { maxClientCnxns: 30 })
  const witness = await connectTls(t, server.securePort, alice)
  const clientHello = Buffer.from('16030100050100000103', 'hex')
  for (let round = 0; round < 10; round++) {
    await Promise.all(
      Array.from({ length: 20 }, async (_, i) => {
        const connection = await Passing.dial(server.securePort)
        const bytes = Buffer.alloc(1 + ((round * 20 + i) % 300), round * 20 + i)
        connection.send(i % 3 === 0 ? Buffer.concat([clientHello, bytes]) : bytes)
        if (i % 2 === 0) connection.socket.resetAndDestroy()
        else connection.socket.end()
        await connection.closed()
      }),
    )
    await witness.ping()
  }
  await server.untilFigure('num_alive_connections', 2)
  await until('no place is taken', async () => {
    const clients = await Promise.allSettled(Array.from({ length: 28 }, () => Passing.open(server.port)))
    for (const client of clients) if (client.status === 'fulfilled') client.value.destroy()
    return clients.every((client) => client.status === 'fulfilled' && client.value.frames === 1)
  })
})

const mib = 1 << 20

async function withBigZnode(t: TestContext, server: RobustServer): Promise<RawClient> {
  const client = await connectTls(t, server.securePort, alice)
  await ok(client.create('/big', { data: Buffer.alloc(mib - 100, 7) }))
  return client
}

test('over TLS: long requests and answers, hundreds of them at once, come whole and in order', async (t) => {
  const server = await bothPorts(t)
  await withBigZnode(t, server)
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    const client = new Passing(await openTls(t, server.securePort, { ...alice, maxVersion }))
    const seen: string[] = []
    client.onFrame = ({ xid, err, length }) => seen.push(`${xid} ${err} ${length}`)
    const requests = [hello()]
    const expected = ['0 0 37']
    for (let i = 0; i < 60; i++) {
      const [big, small] = [
        request(2 * i, Op.getData, body.pathWatch('/big')),
        body.setData('/', Buffer.alloc(i * 500)),
      ]
      requests.push(big, request(2 * i + 1, Op.setData, small))
      expected.push(`${2 * i} 0 ${16 + 4 + mib - 100 + 68}`, `${2 * i + 1} 0 ${16 + 68}`)
    }
    client.send(Buffer.concat(requests))
    await client.received(expected.length)
    seen[0] = '0 0 37'
    assert.deepEqual(seen, expected)
  }
})

test('a TLS client that asks for 200 MiB and reads nothing holds a few MiB, and gets all later', async (t) => {
  const server = await bothPorts(t)
  const witness = await withBigZnode(t, server)
  const slow = new Passing(await openTls(t, server.securePort, alice))
  slow.send(hello())
  await slow.received(1)
  const before = await heldBytes()
  slow.stopReading()
  slow.send(
    Buffer.concat(Array.from({ length: 200 }, (_, xid) => request(xid, Op.getData, body.pathWatch('/big')))),
  )
  await until('the output waits', async () => / \S+\[4\]\(queued/.test(await server.word('cons')))
  for (let i = 0; i < 10; i++) await ok(witness.setData('/', `${i}`))
  const grown = (await heldBytes()) - before
  assert.ok(grown < 10 * mib, `${grown} bytes are held`)
  let next = 0
  slow.onFrame = ({ xid, err }) => assert.deepEqual([xid, err], [next++, 0])
  slow.readAgain()
  await slow.received(1 + 200)
  assert.equal(next, 200)
})

test('a server with TLS clients stops and closes them', async (t) => {
  const server = await bothPorts(t)
  const client = await connectTls(t, server.securePort, alice)
  const inHandshake = await Passing.dial(server.securePort)
  await server.stop()
  await Promise.all([client.closed(), inHandshake.closed()])
  const probe = net.connect({ port: server.securePort, host: '127.0.0.1' })
  await assert.rejects(new Promise((resolve, reject) => probe.on('connect', resolve).on('error', reject)))
})

// ---------------------------------------------------------------- what keeps a server from starting

/** Runs `zabd start` on a configuration that it can not use; gives its exit code and what it says. */
function start(name: string, settings: Settings): Promise<{ code: number; text: string }> {
  const config = join(folder, `${name}.cfg`)
  const all: Settings = {
    dataDir: join(folder, name),
    clientPort: 0,
    clientPortAddress: '127.0.0.1',
    secureClientPort: 0,
    secureClientPortAddress: '127.0.0.1',
    'admin.enableServer': false,
    ...serverStores,
    ...settings,
  }
  writeFileSync(
    config,
    Object.entries(all)
      .map(([key, value]) => `${key}=${value}\n`)
      .join(''),
  )
  const bin = join(tlsFile('.'), '../../../bin/zabd.js')
  return new Promise((resolve) => {
    execFile(process.execPath, [bin, 'start', '--config', config], { timeout: 30_000 }, (error, out, err) => {
      resolve({ code: Number(error?.code ?? 0), text: `${out}${err}` })
    })
  })
}

const expired = issueCertificate({
  key: 'server',
  notBefore: new Date('2001-01-01'),
  notAfter: new Date('2002-01-01'),
})
const unusable: readonly (readonly [name: string, settings: Settings, message: RegExp])[] = [
  [
    'a wrong password',
    { 'ssl.keyStore.location': tlsFile('keytool.p12'), 'ssl.keyStore.password': 'wrong' },
    /ssl\.keyStore\.(location|password)\S*.*keytool\.p12.*password/s,
  ],
  [
    'a key store that is not there',
    { 'ssl.keyStore.location': '/nowhere/key.pem' },
    /ssl\.keyStore\.location=\/nowhere\/key\.pem .*exists/,
  ],
  [
    'an expired certificate',
    { 'ssl.keyStore.location': join(folder, 'expired.pem') },
    /ssl\.keyStore\.location=\S+expired\.pem: the certificate has expired .*2002-01-01/,
  ],
  [
    'a trust store without certificates',
    { 'ssl.trustStore.location': tlsFile('client-key.pem') },
    /ssl\.trustStore\.location=\S+client-key\.pem/,
  ],
]

test('a TLS configuration that can not be used ends the start with exit code 2, the key and the file', async () => {
  writeFileSync(join(folder, 'expired.pem'), expired.cert + expired.key)
  const results = await Promise.all(
    unusable.map(([name, settings]) => start(name.replaceAll(' ', '-'), settings)),
  )
  for (const [i, { code, text }] of results.entries()) {
    const [name, , message] = unusable[i] as (typeof unusable)[number]
    assert.equal(code, 2, `${name}: ${text}`)
    assert.match(text, message, name)
  }
})

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join as joinPath } from 'node:path'
import { after, test } from 'node:test'
import type { TlsConfig } from '../../src/config/types.ts'
import type { PeerMessage } from '../../src/peers/messages.ts'
import type { PeersTls } from '../../src/peers/network.ts'
import { loadTls } from '../../src/server/tls.ts'
import { type Issued, issueCertificate, tlsFile } from '../support/certificates.ts'
import { join, member, received, startPeers, startProxy, story } from '../support/peers.ts'

const folder = mkdtempSync(joinPath(tmpdir(), 'zabd-peers-'))
after(() => rmSync(folder, { recursive: true }))

let files = 0

/** What a server with this certificate has, trusting the test authority. */
function tlsOf(issued: Issued, config: Partial<TlsConfig> = {}, hostnameVerification = true): PeersTls {
  const path = joinPath(folder, `${files++}.pem`)
  writeFileSync(path, issued.key + issued.cert)
  const store = (file: string) => ({
    path: file,
    password: undefined,
    passwordPath: undefined,
    type: 'pem' as const,
  })
  const loaded = loadTls(
    {
      keyStore: store(path),
      trustStore: store(tlsFile('ca.pem')),
      clientAuth: 'need',
      protocols: ['TLSv1.2', 'TLSv1.3'],
      ciphers: undefined,
      ...config,
    },
    new Date(),
    'ssl.quorum',
  )
  return { loaded, hostnameVerification }
}

const good = tlsOf(issueCertificate({ subject: [['CN', 'member']] }))
const ack: PeerMessage = { type: 'ack', session: 1, zxid: 2 ** 40 + 1 }

for (const protocol of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`peers over ${protocol}: messages go both ways, with a secret bound to the connection`, async (t) => {
    const tls = tlsOf(issueCertificate(), { protocols: [protocol] })
    const one = await startPeers(t, 1, { tls, secret: Buffer.from('secret') })
    const two = await startPeers(t, 2, { tls, secret: Buffer.from('secret') })
    await join(one, two)
    const big: PeerMessage = { type: 'forward', session: 1, bytes: Buffer.alloc(3_000_000, 3) }
    one.peers.send(2, big)
    one.peers.flush()
    two.peers.send(1, ack)
    two.peers.flush()
    await Promise.all([one.heard.reaches(2), two.heard.reaches(2)])
    assert.deepEqual([received(one), received(two)], [[ack], [big]])
    assert.equal(one.peers.connection(2)?.secure, true)
    assert.deepEqual([story(one), story(two)], ['+2', '+1'])
  })
}

test('peers over TLS: nothing of the handshake or a message can be read on the way', async (t) => {
  const one = await startPeers(t, 1, { tls: good, version: 'a-telling-version' })
  const two = await startPeers(t, 2, { tls: good, version: 'a-telling-version' })
  const proxy = await startProxy(t, one.port)
  two.peers.setMembers([member({ id: 1, port: proxy.port })])
  await Promise.all([one.connected(2), two.connected(1)])
  two.peers.send(1, { type: 'forward', session: 1, bytes: Buffer.from('a secret of a client') })
  two.peers.flush()
  await one.heard.reaches(2)
  const seen = Buffer.concat(
    proxy.recorded.all.flatMap(({ toTarget, toDialer }) => [...toTarget, ...toDialer]),
  )
  assert.ok(seen.length > 1000)
  assert.equal(
    seen.includes('a secret of a client') || seen.includes('telling') || seen.includes('zabP'),
    false,
  )
})

test('peers over TLS: a lost connection is made again', async (t) => {
  const one = await startPeers(t, 1, { tls: good })
  const two = await startPeers(t, 2, { tls: good })
  const proxy = await startProxy(t, one.port)
  two.peers.setMembers([member({ id: 1, port: proxy.port })])
  await Promise.all([one.connected(2), two.connected(1)])
  proxy.cut()
  await Promise.all([one.heard.reaches(3), two.heard.reaches(3)])
  assert.deepEqual([story(one), story(two)], ['+2 -2 +2', '+1 -1 +1'])
})

test('peers over TLS: a certificate of nobody who is trusted is refused, and both logs say so', async (t) => {
  const stranger = tlsOf(issueCertificate({ issuer: 'self' }))
  const one = await startPeers(t, 1, { tls: good })
  const two = await startPeers(t, 2, { tls: stranger })
  two.peers.setMembers([member(one)])
  await one.warned(
    "refused: the other side's certificate is not trusted (DEPTH_ZERO_SELF_SIGNED_CERT); check sslQuorum",
  )
  await two.log.until('a line', ({ text }) => /server 1 at .* can not be reached: /.test(text))
  one.peers.setMembers([member(two)])
  await one.warned(`server 2 at 127.0.0.1:${two.port} can not be reached: TLS failed`)
  assert.deepEqual([story(one), story(two)], ['', ''])
})

test('peers over TLS: the certificate is asked for whatever clientAuth says', async (t) => {
  const lax = tlsOf(issueCertificate(), { clientAuth: 'none' })
  const one = await startPeers(t, 1, { tls: lax })
  const two = await startPeers(t, 2, { tls: tlsOf(issueCertificate({ issuer: 'self' })) })
  two.peers.setMembers([member(one)])
  await one.warned("the other side's certificate is not trusted")
  assert.equal(story(one), '')
})

test('peers over TLS: the server that is dialed must have a certificate for its host, unless that is switched off', async (t) => {
  const one = await startPeers(t, 1, { tls: good })
  const strict = await startPeers(t, 2, { tls: good })
  const host = '0.0.0.0' // leads to loopback, and no certificate is for it
  strict.peers.setMembers([{ id: 1, host, port: one.port }])
  await strict.warned('its certificate names other hosts; see ssl.quorum.hostnameVerification')
  const lax = await startPeers(t, 3, { tls: { ...good, hostnameVerification: false } })
  lax.peers.setMembers([{ id: 1, host, port: one.port }])
  await lax.connected(1)
  assert.equal(story(strict), '')
})

test('peers: one speaks TLS and the other does not, whoever dials', async (t) => {
  const plain = await startPeers(t, 1)
  const secure = await startPeers(t, 2, { tls: good })
  secure.peers.setMembers([member(plain)])
  await secure.warned('it closed the connection instead of speaking TLS; is sslQuorum=true there, too?')
  await plain.warned('it looks like TLS; does that server have sslQuorum=true and this one not?')
  plain.peers.setMembers([member(secure)])
  await secure.warned('refused: the other side does not speak TLS; check sslQuorum')
  await plain.log.until('a line', ({ text }) =>
    text.includes(`server 2 at 127.0.0.1:${secure.port} can not be reached`),
  )
})

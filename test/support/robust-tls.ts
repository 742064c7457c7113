// TLS clients for tests of a server: a bare connection, and a tunnel by which the strict client, which speaks plain TCP
// only, reaches a TLS port. Trust is that of test/testdata/tls.
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import net, { type AddressInfo } from 'node:net'
import type { TestContext } from 'node:test'
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls'
import { tlsFile } from './certificates.ts'
import { type ConnectOptions, RawClient, within } from './raw-client.ts'

/** What a client shows, and what it trusts if not the authority of test/testdata/tls. */
export type TlsIdentity = Pick<ConnectionOptions, 'cert' | 'key' | 'ca' | 'minVersion' | 'maxVersion'>

/** Keys of a zoo.cfg for a server that its clients trust, with the passwords that the files have. */
export const serverStores = {
  'ssl.keyStore.location': tlsFile('server.pem'),
  'ssl.trustStore.location': tlsFile('ca.pem'),
} as const

/** Begins a TLS connection; errors are swallowed, `close` follows them. It is destroyed when the test ends. */
export function dialTls(t: TestContext, port: number, identity: TlsIdentity = {}): TLSSocket {
  const ca = readFileSync(tlsFile('ca.pem'), 'utf8')
  const socket = connect({ port, host: '127.0.0.1', servername: 'localhost', ca, ...identity })
  socket.on('error', () => undefined)
  t.after(() => socket.destroy())
  return socket
}

/** A TLS connection whose handshake is done as far as this side can tell. */
export async function openTls(t: TestContext, port: number, identity?: TlsIdentity): Promise<TLSSocket> {
  const socket = dialTls(t, port, identity)
  await within(once(socket, 'secureConnect'), 'TLS handshake')
  return socket
}

/** A session of the strict client over TLS. Rejects if the server refuses the client. */
export async function connectTls(
  t: TestContext,
  port: number,
  identity?: TlsIdentity,
  options?: ConnectOptions,
): Promise<RawClient> {
  const tunnel = net.createServer((plain) => {
    const secure = dialTls(t, port, identity)
    secure.pipe(plain).pipe(secure)
    plain.on('error', () => undefined)
    secure.on('close', () => plain.destroy())
    plain.on('close', () => secure.destroy())
  })
  tunnel.listen(0, '127.0.0.1')
  await once(tunnel, 'listening')
  const client = await RawClient.dial((tunnel.address() as AddressInfo).port)
  tunnel.close()
  t.after(() => client.drop())
  await client.handshake(options)
  return client
}

// Turns accepted TCP connections into TLS ones and decides who may stay: ssl.clientAuth, and a port that serves plain
// and TLS clients alike (client.portUnification). It never listens, never reads a request and keeps no list of clients.
import type { Socket } from 'node:net'
import { createSecureContext, createServer, type TLSSocket } from 'node:tls'
import type { TlsConfig } from '../config/types.ts'
import type { LoadedTls } from './tls.ts'
import { subjectDn } from './x509.ts'

/** A client whose handshake is done and who may stay. */
export type TlsClient = {
  readonly socket: TLSSocket
  /** Its certificate's subject as the x509 scheme writes it; undefined if it showed none. */
  readonly subject: string | undefined
}

/** Why a connection did not become a client; it is closed by then. */
export type TlsRefusal = {
  /** A sentence's part for the log: `the client showed no certificate`. */
  readonly reason: string
  /** The code of Node.js or OpenSSL, if there is one. */
  readonly code: string | undefined
  readonly remoteAddress: string | undefined
}

export type TlsAcceptor = {
  /**
   * Starts the handshake on an accepted connection. The connection is given away: what happens next is told by the
   * handlers, with a new socket; only its `close` event and `destroy` still are of use.
   */
  readonly accept: (socket: Socket) => void
}

/** A handshake that takes longer is given up, as in Netty under ZooKeeper. */
const handshakeTimeoutMs = 10_000
/** The content type of a handshake record: how every TLS connection begins (RFC 8446, 5.1). */
const handshakeRecord = 0x16

/** One acceptor serves any number of ports. Every accepted connection ends up in exactly one call of a handler. */
export function createTlsAcceptor(
  tls: LoadedTls,
  handlers: {
    readonly onClient: (client: TlsClient) => void
    readonly onRefused: (refusal: TlsRefusal) => void
  },
  timeoutMs = handshakeTimeoutMs,
): TlsAcceptor {
  const options = { ...tls.options, sessionIdContext: 'zabd', handshakeTimeout: timeoutMs }
  // Never listens: connections are put into it, which the tls module provides for ('connection' event).
  const server = createServer(options)
  // Servers of Node.js 20 drop allowPartialTrustChain when they make their context from the options. Should the name
  // of the property change, only that option is lost: fewer clients are trusted, not more.
  Object.assign(server, { _sharedCreds: createSecureContext(options) })
  const addresses = new WeakMap<object, string>()
  const refuse = (socket: TLSSocket, reason: string, code: string | undefined): void => {
    // A socket that is destroyed has forgotten its address; the connection below it is in `_parent`.
    const parent: unknown = Reflect.get(socket, '_parent')
    const remoteAddress = typeof parent === 'object' && parent !== null ? addresses.get(parent) : undefined
    socket.destroy()
    handlers.onRefused({ reason, code, remoteAddress })
  }
  server.on('secureConnection', (socket) => {
    const reason = refusal(socket, tls.clientAuth)
    if (reason !== undefined) {
      refuse(socket, reason, codeOf(socket.authorizationError))
      return
    }
    let subject: string | undefined
    try {
      const certificate = tls.clientAuth === 'none' ? undefined : socket.getPeerX509Certificate()
      subject = certificate === undefined ? undefined : subjectDn(certificate)
    } catch (error) {
      refuse(
        socket,
        `the client's certificate has a subject that can not be read (${String(error)})`,
        undefined,
      )
      return
    }
    handlers.onClient({ socket, subject })
  })
  server.on('tlsClientError', (error, socket) => {
    // With `need`, Node.js closes the connection itself and leaves the reason on the socket.
    const untrusted = codeOf(socket.authorizationError)
    const code = untrusted ?? codeOf(error)
    refuse(
      socket,
      untrusted === undefined ? handshakeFailure(code, error.message) : distrust(untrusted),
      code,
    )
  })
  return {
    accept: (socket) => {
      // Both sockets report an error of the connection; the TLS one is listened to.
      socket.on('error', () => undefined)
      if (socket.remoteAddress !== undefined) addresses.set(socket, socket.remoteAddress)
      server.emit('connection', socket)
    },
  }
}

/**
 * Why the client of a finished handshake may not stay, or undefined if it may. As in Java, `want` lets a client
 * without certificate in but not one with a certificate that is not trusted.
 */
export function refusal(socket: TLSSocket, clientAuth: TlsConfig['clientAuth']): string | undefined {
  if (clientAuth === 'none') return undefined
  if (socket.getPeerX509Certificate() === undefined) {
    return clientAuth === 'need' ? 'the client showed no certificate' : undefined
  }
  return socket.authorized ? undefined : distrust(codeOf(socket.authorizationError) ?? 'unknown reason')
}

/** Whether a connection whose first byte this is speaks TLS; a plain client's is 0 or a letter of a command. */
export function startsTls(firstByte: number): boolean {
  return firstByte === handshakeRecord
}

/**
 * Waits for the first byte of a connection and tells whether it starts TLS. The bytes stay unread: whoever takes the
 * socket then (an acceptor, or a plain connection that sets a `data` listener) sees them all. Nothing is called if the
 * connection ends before its first byte; there is no timeout here.
 */
export function detectTls(socket: Socket, decide: (secure: boolean) => void): void {
  const onReadable = (): void => {
    const chunk: Buffer | null = socket.read()
    if (chunk === null) return
    socket.removeListener('readable', onReadable)
    socket.unshift(chunk)
    decide(startsTls(chunk[0]!))
  }
  socket.on('readable', onReadable)
}

const failures = new Map([
  ['ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE', 'the client showed no certificate'],
  ['ERR_SSL_WRONG_VERSION_NUMBER', 'the client does not speak TLS'],
  ['ERR_SSL_HTTP_REQUEST', 'the client speaks HTTP without TLS'],
  ['ERR_SSL_UNSUPPORTED_PROTOCOL', 'the client speaks a version of TLS that is not enabled'],
  ['ERR_SSL_NO_SHARED_CIPHER', 'the client offers no cipher suite that is enabled'],
  ['ERR_SSL_TLSV1_ALERT_UNKNOWN_CA', "the client does not trust this server's certificate"],
  ['ERR_SSL_SSLV3_ALERT_CERTIFICATE_UNKNOWN', "the client does not trust this server's certificate"],
  ['ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE', "the client does not accept this server's certificate"],
  ['ERR_TLS_HANDSHAKE_TIMEOUT', 'the handshake took too long'],
  ['ECONNRESET', 'the client went away during the handshake'],
])

function handshakeFailure(code: string | undefined, message: string): string {
  return failures.get(code ?? '') ?? `the TLS handshake failed (${message})`
}

function distrust(code: string): string {
  return `the client's certificate is not trusted (${code})`
}

/** The code of an error, or of the plain string that Node.js sets as `authorizationError`, whatever its type says. */
function codeOf(error: unknown): string | undefined {
  if (typeof error === 'string') return error
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}

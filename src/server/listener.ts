// The client ports: plain, TLS, or both on one (client.portUnification). Accepts, limits, and hands connections to
// the server; a handshake that does not come in time ends here.
import { createServer, type Server, type Socket } from 'node:net'
import { acceptReused, type Inlet } from '../base/inlet.ts'
import type { Id } from '../tree/acl.ts'
import { addIds } from './auth.ts'
import type { Backend } from './backend.ts'
import { Connection } from './connection.ts'
import type { LoadedTls } from './tls.ts'
import { createTlsAcceptor, detectTls, type TlsAcceptor } from './tls-accept.ts'

/** zookeeper.nio.sessionlessCnxnTimeout: connections without a session are closed after about this long. */
const handshakeTimeoutMs = 10_000
/** A client that is to be disconnected gets this long to take what was sent to it before. */
const closeTimeoutMs = 10_000

/**
 * Connections that the system may hold until they are accepted, as far as it allows: clients that all come back at once
 * after a restart should not have to knock twice.
 */
const defaultBacklog = 4096

/** Where to listen; undefined port = not at all. */
export type ListenAddress = {
  readonly host: string | undefined
  readonly port: number
  readonly secure: boolean
}

export type ListenerOptions = {
  readonly addresses: readonly ListenAddress[]
  /** TLS and plain on the plain port. */
  readonly portUnification: boolean
  readonly tls: LoadedTls | undefined
  /** Per client address; 0 = no limit. */
  readonly maxClientCnxns: number
  /** In all; 0 = no limit. */
  readonly maxCnxns: number
  /** -1 = the system's default. */
  readonly backlog: number
}

/** The address that clients of a port can use. */
export type BoundAddress = { readonly address: string; readonly port: number; readonly secure: boolean }

/** All client connections of a server and the ports they come in by. */
export class Listener {
  readonly connections = new Set<Connection>()
  readonly #options: ListenerOptions
  readonly #backend: Backend
  readonly #servers: Server[] = []
  readonly #perAddress = new Map<string, number>()
  readonly #acceptor: TlsAcceptor | undefined
  readonly #sockets = new Set<Socket>()
  /** On a port for both: those whose first byte has not come, with the time of their accept. */
  readonly #undecided = new Map<Socket, number>()
  #sweep: NodeJS.Timeout | undefined
  #accepting = true
  /** Plain ports take TLS, too: the first byte decides. */
  readonly #detects: boolean

  constructor(options: ListenerOptions, backend: Backend) {
    this.#options = options
    this.#backend = backend
    this.#detects = options.portUnification && options.tls !== undefined
    if (options.tls !== undefined) {
      this.#acceptor = createTlsAcceptor(options.tls, {
        onClient: ({ socket, subject }) => {
          const certificate = subject === undefined ? [] : backend.authenticator.certificateIds(subject)
          this.#connect(socket, certificate, true)
        },
        onRefused: ({ reason, code, remoteAddress }) => {
          backend.stats.tlsHandshakesFailed++
          backend.logger.warn({ client: remoteAddress, code }, `TLS connection refused: ${reason}`)
        },
      })
    }
  }

  /** Opens all ports. Rejects with the system's error (EADDRINUSE, EACCES, …), with none left open. */
  async open(): Promise<BoundAddress[]> {
    const bound: BoundAddress[] = []
    try {
      for (const address of this.#options.addresses) bound.push(await this.#listen(address))
    } catch (error) {
      this.closePorts()
      throw error
    }
    this.#sweep = setInterval(() => this.#dropStuck(), 1000)
    this.#sweep.unref()
    return bound
  }

  #listen(address: ListenAddress): Promise<BoundAddress> {
    const server = createServer({ noDelay: true }, (socket) => this.#accept(socket, address.secure))
    this.#servers.push(server)
    const backlog = { backlog: this.#options.backlog > 0 ? this.#options.backlog : defaultBacklog }
    const host = address.host === undefined ? {} : { host: address.host }
    return new Promise((resolve, reject) => {
      server.once('error', reject)
      server.listen({ port: address.port, ...host, ...backlog }, () => {
        const info = server.address()
        server.removeListener('error', reject)
        server.on('error', (error) => this.#backend.logger.error({ err: error }, 'client port failed'))
        if (!address.secure && !this.#detects)
          acceptReused(server, (socket, inlet) => this.#accept(socket, false, inlet))
        if (info === null || typeof info === 'string') reject(new Error('the client port has no address'))
        else resolve({ address: info.address, port: info.port, secure: address.secure })
      })
    })
  }

  #accept(socket: Socket, secure: boolean, inlet?: Inlet): void {
    const address = socket.remoteAddress
    if (address === undefined || !this.#accepting) {
      socket.destroy()
      return
    }
    const { maxClientCnxns, maxCnxns } = this.#options
    const ofAddress = this.#perAddress.get(address) ?? 0
    const tooMany = maxClientCnxns > 0 && ofAddress >= maxClientCnxns
    if (tooMany || (maxCnxns > 0 && this.#sockets.size >= maxCnxns)) {
      this.#backend.stats.connectionRejected++
      const limit = tooMany ? `maxClientCnxns=${maxClientCnxns}` : `maxCnxns=${maxCnxns}`
      this.#backend.logger.warn({ client: address }, `connection refused: too many connections (${limit})`)
      socket.destroy()
      return
    }
    this.#sockets.add(socket)
    this.#perAddress.set(address, ofAddress + 1)
    socket.on('close', () => this.#release(socket, address))
    if (secure) this.#acceptor?.accept(socket)
    else if (this.#detects && this.#acceptor !== undefined) this.#detect(socket, this.#acceptor)
    else this.#connect(socket, [], false, inlet)
  }

  #release(socket: Socket, address: string): void {
    this.#sockets.delete(socket)
    const left = (this.#perAddress.get(address) ?? 1) - 1
    if (left === 0) this.#perAddress.delete(address)
    else this.#perAddress.set(address, left)
  }

  #detect(socket: Socket, acceptor: TlsAcceptor): void {
    socket.on('error', () => undefined)
    this.#undecided.set(socket, this.#backend.now())
    socket.once('close', () => this.#undecided.delete(socket))
    detectTls(socket, (tls) => {
      this.#undecided.delete(socket)
      if (tls) acceptor.accept(socket)
      else this.#connect(socket, [], false)
    })
  }

  #connect(socket: Socket, certificateIds: readonly Id[], secure: boolean, inlet?: Inlet): void {
    const addressIds = this.#backend.authenticator.connectionIds(socket.remoteAddress ?? '')
    const ids = certificateIds.length === 0 ? addressIds : addIds(addressIds, certificateIds)
    const connection = new Connection(socket, this.#backend, ids, secure, Date.now(), inlet)
    this.connections.add(connection)
    socket.on('close', () => this.connections.delete(connection))
  }

  /** Connections that have been silent since they came, and those whose clients do not let them end. */
  #dropStuck(): void {
    const now = this.#backend.now()
    for (const [socket, accepted] of this.#undecided) {
      if (accepted > now - handshakeTimeoutMs) break
      this.#backend.stats.handshakesExpired++
      socket.destroy()
    }
    for (const connection of this.connections) {
      const { closeBegan } = connection
      if (closeBegan !== undefined) {
        if (closeBegan <= now - closeTimeoutMs) connection.destroy()
      } else if (connection.session === 0 && connection.accepted <= now - handshakeTimeoutMs) {
        this.#backend.stats.handshakesExpired++
        connection.destroy()
      }
    }
  }

  /** Takes no more connections; those that are there stay. */
  closePorts(): void {
    this.#accepting = false
    clearInterval(this.#sweep)
    // A server's own close waits for its connections; the port itself is given up at once.
    for (const server of this.#servers) server.close()
  }

  /** Resolves when every connection has ended. */
  async drained(): Promise<void> {
    const open = [...this.#sockets].filter((socket) => !socket.destroyed)
    await Promise.all(open.map((socket) => new Promise<void>((done) => socket.once('close', () => done()))))
  }

  /** Closes every connection: what is in their output goes out first. */
  closeConnections(): void {
    for (const socket of this.#undecided.keys()) socket.destroy()
    for (const connection of this.connections) {
      connection.close()
      connection.flush()
    }
  }

  /** Cuts every connection, also those in a TLS handshake. */
  destroyAll(): void {
    for (const socket of this.#sockets) socket.destroy()
  }
}

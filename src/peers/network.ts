// Connections to the other servers over TCP or TLS: the port of types.ts. This file decides who dials whom and which
// connection counts; handshakes are in approach.ts and handshake.ts, connections in use in link.ts.
//
// One connection per pair. The higher id dials; the lower one dials, too, at the start and when it has been without a
// connection for about a second, for the other may not know it or may not be able to reach it. So that two do not meet
// halfway and close each other:
// - who accepts a connection stops its own dialing, and dials no more while the accepted one is being made;
// - the higher id refuses a connection (busy) if it has one that it dialed, or has given its proof on one;
// - the lower id always takes what the higher one dials: a connection that it has then is gone on the other side.
// A connection takes the place of another only when both sides have confirmed it.
import { randomBytes } from 'node:crypto'
import { connect, createServer, isIP, type Server, type Socket } from 'node:net'
import { createSecureContext, type SecureContext, TLSSocket, connect as tlsConnect } from 'node:tls'
import { assert } from '../base/assert.ts'
import { acceptReused, Inlet } from '../base/inlet.ts'
import { type Clock, systemClock, type Timer } from '../node/clock.ts'
import type { LoadedTls } from '../server/tls.ts'
import { createTlsAcceptor, type TlsAcceptor } from '../server/tls-accept.ts'
import { Approach, type Outcome } from './approach.ts'
import { defaultMaxFrameBytes } from './codec.ts'
import { Handshake, type HandshakeOptions, type Remote } from './handshake.ts'
import { Link, type LinkTraffic } from './link.ts'
import type { PeerMessage } from './messages.ts'
import { isHarmless, looksLike, type Refusal, RefusalCode, Repeats, remedyFor } from './refusals.ts'
import { dialTrouble } from './trouble.ts'
import type { Member, PeerHandler, Peers } from './types.ts'

/** The first wait before dialing again; doubled each time, up to the last. A restarted server is to be back at once. */
const backoffFirstMs = 25
const backoffLastMs = 1500
/** How long the lower id leaves the dialing to the higher one. */
const lowerWaitMs = 1000
/** A connection that held this long was a good one: after it the waits begin anew. */
const settledMs = 1000
const defaultHandshakeMs = 5000
/** For one of several addresses of a name, while others are left: Node.js's own 250 ms are short for distant places. */
const addressMs = 1000
const defaultMaxBacklogBytes = 256 << 20
/** Handshakes that others began; beyond, the oldest is closed, because one that is meant well takes milliseconds. */
const handshakesMax = 128
/** `close` waits this long for the other sides. */
const closeMs = 1000
/** What TLS gives both ends of a connection to prove that it is the same one (RFC 5705). */
const channelLabel = 'EXPORTER-zabd-peer'
const channelBytes = 32

/** What the network logs with; a pino logger is one. */
export type PeersLogger = {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
}

export type PeersTls = {
  /** Both sides show certificates and trust only those of the trust store, whatever its `clientAuth`. */
  readonly loaded: LoadedTls
  /**
   * Whether the certificate of a server that is dialed must name its host as the server.N line does; ZooKeeper's
   * ssl.quorum.hostnameVerification. Those who dial in are not checked for their names.
   */
  readonly hostnameVerification: boolean
}

export type PeersOptions = {
  /** This server, 0 to 2^32-1. */
  readonly id: number
  /** Undefined host: all addresses. */
  readonly listen: { readonly host: string | undefined; readonly port: number }
  readonly members: readonly Member[]
  readonly handler: PeerHandler
  readonly logger: PeersLogger
  /** At most 64 bytes; undefined while this server belongs to none yet. Servers of different ensembles refuse each other. */
  readonly ensembleId: () => Uint8Array | undefined
  /** What this server calls itself, for the others' logs. */
  readonly version: string
  /** Silence after which a connection is given up. Every server of an ensemble should have the same. */
  readonly keepaliveMs: number
  /** Undefined: whoever reaches the port is believed to be the server it says it is. */
  readonly secret?: Uint8Array | undefined
  /** Undefined: plain TCP. */
  readonly tls?: PeersTls | undefined
  readonly clock?: Clock
  /** For jitter: 0 to 1, 1 excluded. */
  readonly random?: () => number
  /** From dialing or accepting to the end of the handshake. */
  readonly handshakeMs?: number
  /** Must be the same on all servers, and more than the largest request and the batch of a turn. */
  readonly maxFrameBytes?: number
  readonly maxBacklogBytes?: number
}

/** A connection as it is now, for monitoring. */
export type PeerConnection = {
  readonly peer: number
  readonly address: string
  readonly version: string
  /** The other side's ensemble when the connection was made; undefined if it belonged to none. */
  readonly ensembleId: Uint8Array | undefined
  readonly dialed: boolean
  readonly secure: boolean
  readonly ageMs: number
  /** Since something was heard. */
  readonly silentMs: number
  readonly backlogBytes: number
  readonly traffic: Readonly<LinkTraffic>
}

/** The port of types.ts, and what only the real one has. */
export interface TcpPeers extends Peers {
  /** Opens the port and begins to dial. Once. Rejects with the system's error (EADDRINUSE, EACCES, …). */
  listen(): Promise<{ readonly address: string; readonly port: number }>
  connection(peer: number): PeerConnection | undefined
  connections(): PeerConnection[]
}

/** The network of one server. Nothing happens before `listen`. */
export function createPeers(options: PeersOptions): TcpPeers {
  return new Network(options)
}

/** What there is with another server. Without a member it exists only as long as there is a connection. */
type Relation = {
  readonly id: number
  member: Member | undefined
  /** In use. */
  up: Link | undefined
  /** Dialed by the other and accepted; the other has not confirmed yet. */
  pending: Approach | undefined
  /** Being dialed. */
  dial: Approach | undefined
  /** Until the next dialing. */
  timer: Timer | undefined
  /** 0: dial at once. */
  backoffMs: number
}

class Network implements TcpPeers {
  readonly #options: PeersOptions
  readonly #handler: PeerHandler
  readonly #logger: PeersLogger
  readonly #clock: Clock
  readonly #random: () => number
  readonly #instance = randomBytes(16)
  readonly #relations = new Map<number, Relation>()
  readonly #repeats: Repeats
  readonly #secureContext: SecureContext | undefined
  readonly #acceptor: TlsAcceptor | undefined
  /** All sockets, for the end. */
  readonly #sockets = new Set<Socket>()
  /** Accepted, handshake not done, oldest first, by remote address and port. */
  readonly #arriving = new Map<string, Socket>()
  #server: Server | undefined
  /** `listen` has succeeded, `close` has not been called. */
  #running = false
  #closed = false
  /** Why no connections are made now. */
  #suspended: string | undefined
  #ticker: Timer | undefined
  /** When the next tick is due, ms. */
  #tickAt = 0

  constructor(options: PeersOptions) {
    assert(options.id >= 0 && options.id < 2 ** 32, `server id ${options.id} does not fit the handshake`)
    this.#options = options
    this.#handler = options.handler
    this.#logger = options.logger
    this.#clock = options.clock ?? systemClock
    this.#random = options.random ?? Math.random
    this.#repeats = new Repeats(() => this.#clock.now())
    if (options.tls !== undefined) {
      const { loaded } = options.tls
      this.#secureContext = createSecureContext(loaded.options)
      this.#acceptor = createTlsAcceptor(
        {
          ...loaded,
          clientAuth: 'need',
          options: { ...loaded.options, requestCert: true, rejectUnauthorized: true },
        },
        {
          onClient: ({ socket }) => this.#approached(socket),
          onRefused: ({ reason, code, remoteAddress }) => {
            const text = reason.replaceAll('the client', 'the other side')
            this.#warn(`${remoteAddress}`, `tls ${code}`, { address: remoteAddress, code }, () => {
              return `connection from ${remoteAddress} refused: ${text}; check sslQuorum and the ssl.quorum.* settings of both servers`
            })
          },
        },
        options.handshakeMs ?? defaultHandshakeMs,
      )
    }
    this.setMembers(options.members)
  }

  // ── the port ──

  listen(): Promise<{ readonly address: string; readonly port: number }> {
    assert(this.#server === undefined && !this.#closed, 'the network of a server listens once')
    const server = createServer({ noDelay: true }, (socket) => this.#accept(socket))
    this.#server = server
    const { host, port } = this.#options.listen
    return new Promise((resolve, reject) => {
      server.once('error', reject)
      server.listen({ port, ...(host !== undefined && { host }) }, () => {
        const bound = server.address()
        assert(bound !== null && typeof bound !== 'string', 'a TCP port has an address')
        server.removeListener('error', reject)
        server.on('error', (error) => this.#logger.warn({ err: error }, 'the port for servers failed'))
        if (this.#acceptor === undefined) acceptReused(server, (socket, inlet) => this.#accept(socket, inlet))
        if (!this.#closed) {
          this.#running = true
          this.#tickAt = this.#clock.now() + this.#tickMs()
          this.#ticker = this.#clock.after(this.#tickMs(), () => this.#tick())
          for (const relation of this.#relations.values()) this.#plan(relation)
        }
        resolve({ address: bound.address, port: bound.port })
      })
    })
  }

  send(to: number, message: PeerMessage): void {
    this.#relations.get(to)?.up?.send(message)
  }

  flush(): void {
    for (const { up } of this.#relations.values()) up?.flush()
  }

  drained(to: number): Promise<void> {
    return this.#relations.get(to)?.up?.drained() ?? Promise.resolve()
  }

  drop(peer: number, reason: string): void {
    const relation = this.#relations.get(peer)
    const link = relation?.up
    if (relation === undefined || link === undefined) return
    this.#logger.warn({ peer, reason }, `connection to server ${peer} closed: ${reason}`)
    relation.up = undefined
    link.destroy()
    this.#afterLoss(relation, link)
  }

  setMembers(members: readonly Member[]): void {
    const wanted = new Map(members.map((member) => [member.id, member]))
    wanted.delete(this.#options.id)
    for (const relation of this.#relations.values()) {
      const member = wanted.get(relation.id)
      const known = relation.member
      if (known !== undefined && (member?.host !== known.host || member?.port !== known.port)) {
        this.#stopDialing(relation)
        relation.backoffMs = 0
      }
      relation.member = member
      wanted.delete(relation.id)
      this.#plan(relation)
      this.#forget(relation)
    }
    for (const member of wanted.values()) {
      const relation = this.#relationWith(member.id)
      relation.member = member
      this.#plan(relation)
    }
  }

  suspend(reason: string): void {
    if (this.#suspended !== undefined || this.#closed) return
    this.#suspended = reason
    if (this.#running) this.#logger.info({ reason }, `no connections to other servers from now on: ${reason}`)
    for (const relation of [...this.#relations.values()]) {
      this.#stopDialing(relation)
      relation.pending?.abandon()
      relation.pending = undefined
      if (relation.up !== undefined) this.#lose(relation, relation.up, `closed here: ${reason}`)
    }
  }

  resume(): void {
    if (this.#suspended === undefined) return
    this.#suspended = undefined
    for (const relation of this.#relations.values()) {
      relation.backoffMs = 0
      this.#plan(relation)
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#running = false
    this.#ticker?.cancel()
    const server = this.#server
    server?.close()
    for (const relation of this.#relations.values()) {
      this.#stopDialing(relation)
      relation.pending?.abandon()
      relation.up?.end()
    }
    this.#relations.clear()
    for (const socket of this.#arriving.values()) socket.destroy()
    const late = this.#clock.after(closeMs, () => {
      for (const socket of this.#sockets) socket.destroy()
    })
    await Promise.all(
      [...this.#sockets].map((socket) => new Promise<void>((done) => socket.once('close', () => done()))),
    )
    late.cancel()
  }

  connection(peer: number): PeerConnection | undefined {
    const link = this.#relations.get(peer)?.up
    return link === undefined || link.over ? undefined : this.#describe(peer, link)
  }

  connections(): PeerConnection[] {
    const all: PeerConnection[] = []
    for (const id of this.#relations.keys()) {
      const connection = this.connection(id)
      if (connection !== undefined) all.push(connection)
    }
    return all
  }

  #describe(peer: number, link: Link): PeerConnection {
    const now = this.#clock.now()
    return {
      peer,
      address: link.address,
      version: link.remote.version,
      ensembleId: link.remote.ensemble,
      dialed: link.dialed,
      secure: this.#options.tls !== undefined,
      ageMs: now - link.since,
      silentMs: now - link.heardAt,
      backlogBytes: link.backlogBytes,
      traffic: { ...link.traffic },
    }
  }

  // ── relations ──

  #relationWith(id: number): Relation {
    const known = this.#relations.get(id)
    if (known !== undefined) return known
    const relation: Relation = {
      id,
      member: undefined,
      up: undefined,
      pending: undefined,
      dial: undefined,
      timer: undefined,
      backoffMs: 0,
    }
    this.#relations.set(id, relation)
    return relation
  }

  #forget(relation: Relation): void {
    const { member, up, pending, dial } = relation
    if ((member ?? up ?? pending ?? dial) === undefined) this.#relations.delete(relation.id)
  }

  #stopDialing(relation: Relation): void {
    relation.timer?.cancel()
    relation.timer = undefined
    relation.dial?.abandon()
    relation.dial = undefined
  }

  /** Dials, at once or later, if there is nothing else to wait for. */
  #plan(relation: Relation): void {
    if (!this.#running || this.#suspended !== undefined || relation.member === undefined) return
    if (relation.up !== undefined || relation.pending !== undefined) return
    if (relation.dial !== undefined || relation.timer !== undefined) return
    if (relation.backoffMs === 0) {
      this.#dial(relation, relation.member)
      return
    }
    const wait =
      this.#options.id > relation.id ? relation.backoffMs : Math.max(relation.backoffMs, lowerWaitMs)
    relation.timer = this.#clock.after(wait * (0.75 + this.#random() / 2), () => {
      relation.timer = undefined
      if (relation.member !== undefined) this.#dial(relation, relation.member)
    })
  }

  #dialAgain(relation: Relation): void {
    relation.backoffMs = Math.min(backoffLastMs, Math.max(backoffFirstMs, relation.backoffMs * 2))
    this.#plan(relation)
    this.#forget(relation)
  }

  // ── dialing ──

  #dial(relation: Relation, member: Member): void {
    const inlet = new Inlet()
    const socket = this.#connect(member, inlet)
    this.#track(socket)
    relation.dial = new Approach({
      socket,
      inlet,
      after: this.#options.tls === undefined ? 'connect' : 'secureConnect',
      handshake: () =>
        this.#handshake('dialer', socket, (remote) => this.#judgeDialed(remote, member), member.id),
      timeoutMs: this.#options.handshakeMs ?? defaultHandshakeMs,
      clock: this.#clock,
      done: (outcome) => {
        if (outcome.type === 'open') {
          this.#open(relation, outcome, inlet, true, addressOf(socket, `${member.host}:${member.port}`))
          return
        }
        relation.dial = undefined
        this.#tellOfDial(member, outcome)
        this.#dialAgain(relation)
      },
    })
  }

  #connect({ host, port }: Member, inlet: Inlet): Socket {
    const { tls } = this.#options
    // A name is looked up each time: the other server may have moved.
    const target = { host, port, autoSelectFamilyAttemptTimeout: addressMs }
    if (tls === undefined) return connect({ ...target, noDelay: true, onread: inlet.reuse() })
    return tlsConnect({
      ...target,
      ...(this.#secureContext !== undefined && { secureContext: this.#secureContext }),
      ...(isIP(host) === 0 && { servername: host }),
      rejectUnauthorized: true,
      ...(!tls.hostnameVerification && { checkServerIdentity: () => undefined }),
    }).setNoDelay(true)
  }

  #judgeDialed(remote: Remote, member: Member): Refusal | undefined {
    if (remote.id !== member.id) return this.#notMeant(remote, member.id, remote.id)
    return this.#judge(remote)
  }

  #tellOfDial(member: Member, outcome: Exclude<Outcome, { type: 'open' }>): void {
    const place = `${member.host}:${member.port}`
    const fields = { peer: member.id, address: place }
    const subject = `peer ${member.id}`
    if (outcome.type === 'refused') {
      const verb = outcome.by === 'us' ? 'is not accepted' : 'refuses this server'
      this.#tellOfRefusal(subject, fields, `server ${member.id} at ${place} ${verb}`, outcome.refusal)
      return
    }
    const { text, code, warn } = dialTrouble(outcome, this.#options.tls !== undefined)
    const key = `${place} ${code}`
    const line = () => `server ${member.id} at ${place} can not be reached: ${text}`
    if (warn) this.#warn(subject, key, { ...fields, code }, line)
    else if (this.#repeats.mayLog(subject, key)) this.#logger.info({ ...fields, code }, line())
  }

  // ── accepting ──

  #accept(socket: Socket, inlet?: Inlet): void {
    if (this.#closed || socket.remoteAddress === undefined) {
      socket.destroy()
      return
    }
    this.#track(socket)
    const key = endpointOf(socket)
    this.#arriving.set(key, socket)
    socket.once('close', () => {
      if (this.#arriving.get(key) === socket) this.#arriving.delete(key)
    })
    if (this.#arriving.size > handshakesMax)
      for (const oldest of this.#arriving.values()) {
        oldest.destroy()
        break
      }
    if (this.#acceptor === undefined) this.#approached(socket, inlet)
    else this.#acceptor.accept(socket)
  }

  /** Somebody is there, TLS done if there is TLS. */
  #approached(socket: Socket, inlet = new Inlet()): void {
    if (socket.destroyed) return
    const address = addressOf(socket, 'an unknown address')
    const endpoint = endpointOf(socket)
    let taken: Relation | undefined
    const approach = new Approach({
      socket,
      inlet,
      after: undefined,
      handshake: () =>
        this.#handshake('acceptor', socket, (remote) => {
          const refusal = this.#judgeAccepted(remote)
          if (refusal !== undefined) return refusal
          taken = this.#relationWith(remote.id)
          taken.pending?.abandon()
          this.#stopDialing(taken)
          taken.backoffMs = 0
          taken.pending = approach
          return undefined
        }),
      timeoutMs: this.#options.handshakeMs ?? defaultHandshakeMs,
      clock: this.#clock,
      done: (outcome) => {
        this.#arriving.delete(endpoint)
        if (outcome.type === 'open') {
          this.#open(this.#relationWith(outcome.remote.id), outcome, inlet, false, address)
          return
        }
        this.#tellOfApproach(address, outcome)
        if (taken !== undefined) {
          taken.pending = undefined
          this.#plan(taken)
          this.#forget(taken)
        }
      },
    })
  }

  #judgeAccepted(remote: Remote): Refusal | undefined {
    const { id, keepaliveMs } = this.#options
    if (remote.meant !== id) return this.#notMeant(remote, remote.meant, id)
    const refusal = this.#judge(remote)
    if (refusal !== undefined) return refusal
    const relation = this.#relations.get(remote.id)
    const up = relation?.up
    if (up !== undefined && up.remote.instance !== remote.instance) {
      // Every side says something in each half of the keepalive time. After more, the old process may well be dead.
      if (up.heardAt <= this.#clock.now() - (keepaliveMs * 2) / 3) return undefined
      const text = `another server with the id ${remote.id} is connected to server ${id} already, from ${up.address}`
      return { code: RefusalCode.idTaken, text }
    }
    if (id > remote.id && (up?.dialed === true || relation?.dial?.proven === true)) {
      return {
        code: RefusalCode.busy,
        text: `server ${id} has a connection of its own to server ${remote.id}`,
      }
    }
    return undefined
  }

  #tellOfApproach(address: string, outcome: Exclude<Outcome, { type: 'open' }>): void {
    switch (outcome.type) {
      case 'refused': {
        const { claimed, by, refusal } = outcome
        const subject = claimed === undefined ? address : `peer ${claimed}`
        const who = claimed === undefined ? `connection from ${address}` : `server ${claimed} from ${address}`
        const line = by === 'us' ? `${who} refused` : `${who} refuses this server`
        this.#tellOfRefusal(subject, { peer: claimed, address }, line, refusal)
        return
      }
      case 'foreign': {
        const seen = looksLike(outcome.first)
        this.#warn(address, `foreign ${seen}`, { address }, () => {
          return `connection from ${address} refused: it does not speak zabd's protocol between servers, it looks like ${seen}`
        })
        return
      }
      case 'timeout':
      case 'broken':
        // Whoever only looks whether the port is open is no news.
        this.#logger.debug({ address, outcome: outcome.type }, 'a handshake came to nothing')
    }
  }

  // ── both ──

  #handshake(
    role: HandshakeOptions['role'],
    socket: Socket,
    admit: HandshakeOptions['admit'],
    meant?: number,
  ): Handshake {
    const { id, version, secret, ensembleId } = this.#options
    return new Handshake({
      role,
      self: { id, instance: this.#instance, version },
      ...(meant !== undefined && { meant }),
      secret,
      ensemble: ensembleId,
      nonce: randomBytes(32),
      ...(socket instanceof TLSSocket && {
        channel: socket.exportKeyingMaterial(channelBytes, channelLabel, Buffer.alloc(0)),
      }),
      admit,
    })
  }

  #notMeant(remote: Remote, meant: number, reached: number): Refusal {
    const code = RefusalCode.notMeant
    if (remote.instance === this.#instance.toString('hex')) {
      return { code, text: `the address of server ${meant} leads back to server ${this.#options.id} itself` }
    }
    return { code, text: `the connection was meant for server ${meant} and has reached server ${reached}` }
  }

  /** What both sides check. */
  #judge(remote: Remote): Refusal | undefined {
    const { id } = this.#options
    if (remote.id === id) return { code: RefusalCode.sameId, text: `both servers have the id ${id}` }
    const own = this.#options.ensembleId()
    const theirs = remote.ensemble
    if (own !== undefined && theirs !== undefined && Buffer.compare(own, theirs) !== 0) {
      const text = `server ${id} belongs to the ensemble ${shortId(own)}, server ${remote.id} to ${shortId(theirs)}`
      return { code: RefusalCode.ensemble, text }
    }
    if (this.#suspended !== undefined) {
      const text = `server ${id} takes no connections now: ${this.#suspended}`
      return { code: RefusalCode.suspended, text }
    }
    return undefined
  }

  #open(
    relation: Relation,
    { socket, remote, rest }: Extract<Outcome, { type: 'open' }>,
    inlet: Inlet,
    dialed: boolean,
    address: string,
  ): void {
    const { maxFrameBytes = defaultMaxFrameBytes, maxBacklogBytes = defaultMaxBacklogBytes } = this.#options
    const { id } = relation
    const now = () => this.#clock.now()
    const soon = (callback: () => void) => this.#clock.soon(callback)
    const link: Link = new Link(
      { socket, inlet, remote, dialed, address, maxFrameBytes, maxBacklogBytes, now, soon },
      {
        message: (message) => this.#handler.received(id, message),
        handled: () => {
          if (!this.#closed) this.#handler.handled()
          this.flush()
        },
        down: (reason) => this.#lose(relation, link, reason),
      },
    )
    if (relation.up !== undefined) this.#lose(relation, relation.up, 'a new connection takes its place', link)
    // The handler may have asked for an end of everything.
    if (this.#closed || this.#suspended !== undefined) {
      link.destroy()
      this.#stopDialing(relation)
      relation.pending = undefined
      this.#forget(relation)
      return
    }
    this.#stopDialing(relation)
    relation.pending = undefined
    relation.up = link
    this.#repeats.forget(`peer ${id}`)
    this.#logger.info(
      { peer: id, address, version: remote.version, dialed },
      `connected to server ${id}${dialed ? '' : ', which dialed'}`,
    )
    this.#handler.connected(id)
    link.feed(rest)
    this.flush()
  }

  /** A connection is gone, and not by `drop`. */
  #lose(relation: Relation, link: Link, reason: string, next?: Link): void {
    if (relation.up !== link) return
    relation.up = undefined
    link.destroy()
    if (this.#closed) return
    const fields = { peer: relation.id, address: link.address, reason }
    const line = `connection to server ${relation.id} lost: ${reason}`
    if (next === undefined && this.#suspended === undefined) this.#logger.warn(fields, line)
    else this.#logger.debug(fields, line)
    this.#handler.lost(relation.id)
    if (next === undefined) this.#afterLoss(relation, link)
    this.flush()
  }

  #afterLoss(relation: Relation, link: Link): void {
    if (this.#clock.now() - link.since >= settledMs) relation.backoffMs = 0
    this.#dialAgain(relation)
  }

  #tick(): void {
    if (!this.#running) return
    const now = this.#clock.now()
    // A process that was stopped has heard nothing meanwhile, but it may wait in its sockets: that time does not count.
    const lateMs = Math.max(0, now - this.#tickAt)
    const { keepaliveMs } = this.#options
    for (const relation of [...this.#relations.values()]) {
      const link = relation.up
      if (link === undefined) continue
      link.heardAt = Math.min(now, link.heardAt + lateMs)
      if (now - link.heardAt > keepaliveMs) {
        this.#lose(relation, link, `nothing was heard of it for ${keepaliveMs} ms`)
      } else if (now - link.sentAt >= keepaliveMs / 3) {
        link.ping()
      }
    }
    this.#tickAt = this.#clock.now() + this.#tickMs()
    this.#ticker = this.#clock.after(this.#tickMs(), () => this.#tick())
  }

  #tickMs(): number {
    return this.#options.keepaliveMs / 8
  }

  #track(socket: Socket): void {
    this.#sockets.add(socket)
    socket.once('close', () => this.#sockets.delete(socket))
  }

  #tellOfRefusal(subject: string, fields: object, line: string, { code, text }: Refusal): void {
    if (isHarmless(code)) {
      this.#logger.debug({ ...fields, code }, `${line}: ${text}`)
      return
    }
    const remedy = remedyFor(code)
    this.#warn(subject, `${line} ${code}`, fields, () => {
      return `${line}: ${text}${remedy === undefined ? '' : `; ${remedy}`}`
    })
  }

  #warn(subject: string, key: string, fields: object, line: () => string): void {
    if (this.#repeats.mayLog(subject, key)) this.#logger.warn(fields, line())
  }
}

/** The other side's address without the port, which differs each time. */
function addressOf(socket: Socket, otherwise: string): string {
  return socket.remoteAddress?.replace(/^::ffff:/, '') ?? otherwise
}

function endpointOf(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort}`
}

function shortId(id: Uint8Array): string {
  return Buffer.from(id).toString('hex').slice(0, 16)
}

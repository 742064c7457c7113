// Networks of servers on loopback for tests: what a handler hears and what is logged can be waited for, a proxy stands
// between two of them, and a clock can be moved by hand.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import type { TestContext } from 'node:test'
import type { Clock } from '../../src/node/clock.ts'
import { Handshake } from '../../src/peers/handshake.ts'
import type { PeerMessage } from '../../src/peers/messages.ts'
import { createPeers, type PeersOptions, type TcpPeers } from '../../src/peers/network.ts'

/** Waiting for something that never comes ends with a failure after this time. */
const patienceMs = 15_000

/** A list that can be waited for. */
export class Journal<T> {
  readonly all: T[] = []
  #waiting: (() => void)[] = []

  push(item: T): void {
    this.all.push(item)
    const waiting = this.#waiting
    this.#waiting = []
    for (const wake of waiting) wake()
  }

  /** The first item from index `from` on that `accept` takes, now or when it comes. */
  async until(what: string, accept: (item: T) => boolean, from = 0): Promise<T> {
    const deadline = performance.now() + patienceMs
    for (;;) {
      for (let i = from; i < this.all.length; i++) {
        const item = this.all[i] as T
        if (accept(item)) return item
      }
      await this.#next(deadline, what)
    }
  }

  /** Resolves when there are `count` items. */
  async reaches(count: number): Promise<void> {
    const deadline = performance.now() + patienceMs
    while (this.all.length < count) await this.#next(deadline, `${count} items`)
  }

  #next(deadline: number, what: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () =>
          reject(new Error(`waited in vain for ${what}; there was ${JSON.stringify(this.all.slice(-20))}`)),
        deadline - performance.now(),
      )
      this.#waiting.push(() => {
        clearTimeout(timer)
        resolve()
      })
    })
  }
}

export type Heard =
  | { readonly type: 'connected' | 'lost'; readonly peer: number }
  | { readonly type: 'received'; readonly peer: number; readonly message: PeerMessage }

export type LogLine = { readonly level: 'debug' | 'info' | 'warn'; readonly text: string }

export type TestServer = {
  readonly id: number
  readonly peers: TcpPeers
  readonly port: number
  /** What the handler heard, in order. */
  readonly heard: Journal<Heard>
  readonly log: Journal<LogLine>
  /** Waits for a connection to the peer that stands now. */
  connected(peer: number): Promise<void>
  lost(peer: number, from?: number): Promise<void>
  /** The next warning that contains `text`. */
  warned(text: string): Promise<LogLine>
}

export type TestServerOptions = Partial<Omit<PeersOptions, 'id' | 'listen' | 'handler' | 'logger'>> & {
  /** Called at each message; may throw. */
  readonly onMessage?: (from: number, message: PeerMessage) => void
  readonly onLost?: (peer: number) => void
  readonly port?: number
}

/** A server's network, listening; closed when the test is over. It knows nobody until `setMembers`. */
export async function startPeers(
  t: TestContext,
  id: number,
  options: TestServerOptions = {},
): Promise<TestServer> {
  const heard = new Journal<Heard>()
  const log = new Journal<LogLine>()
  const { onMessage, onLost, port, ...rest } = options
  const peers = createPeers({
    members: [],
    ensembleId: () => undefined,
    version: 'test',
    keepaliveMs: 10_000,
    ...rest,
    id,
    listen: { host: '127.0.0.1', port: port ?? 0 },
    handler: {
      connected: (peer) => heard.push({ type: 'connected', peer }),
      lost: (peer) => {
        heard.push({ type: 'lost', peer })
        onLost?.(peer)
      },
      received: (peer, message) => {
        heard.push({ type: 'received', peer, message })
        onMessage?.(peer, message)
      },
      handled: () => undefined,
    },
    logger: {
      debug: (_, text) => log.push({ level: 'debug', text }),
      info: (_, text) => log.push({ level: 'info', text }),
      warn: (_, text) => log.push({ level: 'warn', text }),
    },
  })
  t.after(() => peers.close())
  const bound = await peers.listen()
  const last = (peer: number) => heard.all.findLast((item) => item.peer === peer && item.type !== 'received')
  return {
    id,
    peers,
    port: bound.port,
    heard,
    log,
    connected: async (peer) => {
      await heard.until(`a connection to ${peer}`, () => last(peer)?.type === 'connected')
    },
    lost: async (peer, from = 0) => {
      await heard.until(`the loss of ${peer}`, (item) => item.type === 'lost' && item.peer === peer, from)
    },
    warned: (text) => log.until(text, (line) => line.level === 'warn' && line.text.includes(text)),
  }
}

/** The server as a member for others. */
export function member(server: { readonly id: number; readonly port: number }, id = server.id) {
  return { id, host: '127.0.0.1', port: server.port }
}

/** Connects two servers, each knowing the other, and waits until both have heard of it. */
export async function join(a: TestServer, b: TestServer): Promise<void> {
  a.peers.setMembers([member(b)])
  b.peers.setMembers([member(a)])
  await Promise.all([a.connected(b.id), b.connected(a.id)])
}

/** The messages that a server received, in order. */
export function received(server: TestServer): PeerMessage[] {
  return server.heard.all.flatMap((item) => (item.type === 'received' ? [item.message] : []))
}

/** The connections that were made and lost, as `+2 -2 +2`. */
export function story(server: TestServer): string {
  return server.heard.all
    .filter(({ type }) => type !== 'received')
    .map(({ type, peer }) => `${type === 'connected' ? '+' : '-'}${peer}`)
    .join(' ')
}

export type Direction = 'toTarget' | 'toDialer'

/** A TCP proxy whose directions can be stalled, and whose connections can be cut. */
export type Proxy = {
  readonly port: number
  /** Bytes of the direction wait in the proxy and the system from now on, also on new connections. */
  stall(direction: Direction): void
  release(direction: Direction): void
  /** Ends all connections. */
  cut(): void
  /** Everything that passed, per connection. */
  readonly recorded: Journal<Recorded>
}

type Recorded = { readonly toTarget: Buffer[]; readonly toDialer: Buffer[] }

/** Opens a proxy in front of a port of loopback; closed when the test is over. */
export async function startProxy(t: TestContext, targetPort: number): Promise<Proxy> {
  const stalled = new Set<Direction>()
  const pairs = new Set<{ dialer: Socket; target: Socket }>()
  const recorded = new Journal<Recorded>()
  const server: Server = createServer({ noDelay: true }, (dialer) => {
    const target = connect({ host: '127.0.0.1', port: targetPort, noDelay: true })
    const pair = { dialer, target }
    const record: Recorded = { toTarget: [], toDialer: [] }
    pairs.add(pair)
    recorded.push(record)
    pump(dialer, target, record.toTarget)
    pump(target, dialer, record.toDialer)
    for (const direction of stalled) sourceOf(pair, direction).pause()
    const end = () => {
      pairs.delete(pair)
      dialer.destroy()
      target.destroy()
    }
    for (const socket of [dialer, target]) socket.on('close', end).on('error', end)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.close()
    for (const { dialer, target } of pairs) {
      dialer.destroy()
      target.destroy()
    }
  })
  return {
    port: (server.address() as AddressInfo).port,
    stall: (direction) => {
      stalled.add(direction)
      for (const pair of pairs) sourceOf(pair, direction).pause()
    },
    release: (direction) => {
      stalled.delete(direction)
      for (const pair of pairs) sourceOf(pair, direction).resume()
    },
    cut: () => {
      for (const { dialer, target } of pairs) {
        dialer.destroy()
        target.destroy()
      }
    },
    recorded,
  }
}

function sourceOf({ dialer, target }: { dialer: Socket; target: Socket }, direction: Direction): Socket {
  return direction === 'toTarget' ? dialer : target
}

function pump(from: Socket, to: Socket, record: Buffer[]): void {
  from.on('data', (chunk: Buffer) => {
    record.push(chunk)
    to.write(chunk)
  })
}

/** A clock that stands until it is moved. */
export class ManualClock implements Clock {
  #now = 0
  #timers: { readonly at: number; readonly callback: () => void }[] = []
  /** The delays that were asked for, ms. */
  readonly delays = new Journal<number>()

  now(): number {
    return this.#now
  }

  wall(): number {
    return this.#now
  }

  after(ms: number, callback: () => void): { cancel(): void } {
    const timer = { at: this.#now + ms, callback }
    this.#timers.push(timer)
    this.delays.push(ms)
    return { cancel: () => this.#remove(timer) }
  }

  soon(callback: () => void): void {
    setImmediate(callback)
  }

  /** Moves on; what is due is called at its time, in order. */
  advance(ms: number): void {
    const end = this.#now + ms
    for (;;) {
      const due = this.#timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0]
      if (due === undefined) break
      this.#now = Math.max(this.#now, due.at)
      this.#remove(due)
      due.callback()
    }
    this.#now = end
  }

  /** The process is stopped for this time: what is due is called late, at the end. */
  sleep(ms: number): void {
    this.#now += ms
    this.advance(0)
  }

  #remove(timer: object): void {
    this.#timers = this.#timers.filter((other) => other !== timer)
  }
}

/** Resolves when `condition` holds; for what nobody reports. */
export async function eventually(what: string, condition: () => boolean): Promise<void> {
  const deadline = performance.now() + patienceMs
  while (!condition()) {
    assert.ok(performance.now() < deadline, `waited in vain for ${what}`)
    await new Promise((resolve) => setImmediate(resolve))
  }
}

/** A socket for bytes that no server sends. Destroyed when the test is over. */
export async function rawConnection(t: TestContext, port: number): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port, noDelay: true })
  socket.on('error', () => undefined)
  t.after(() => socket.destroy())
  await once(socket, 'connect')
  return socket
}

/** Everything that arrives until the other side closes. */
export async function bytesUntilClosed(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  await once(socket, 'close')
  return Buffer.concat(chunks)
}

/** What a test plays: a server without a network. */
export type RawIdentity = {
  readonly id: number
  /** First byte of the instance; 1. */
  readonly instance?: number
  readonly meant?: number
  readonly ensemble?: Uint8Array
  readonly version?: string
  readonly secret?: Uint8Array
}

/** The chunks of a connection whose handshake is done. */
export type RawPeer = { readonly socket: Socket; readonly chunks: Journal<Buffer> }

/** Dials a server and plays the handshake. Rejects with `refused N` if it is refused. */
export async function rawPeer(t: TestContext, port: number, identity: RawIdentity): Promise<RawPeer> {
  return await shake(await rawConnection(t, port), 'dialer', identity)
}

/** Accepts one connection on a port of its own and plays the handshake. */
export async function rawListener(
  t: TestContext,
  identity: RawIdentity,
): Promise<{ readonly id: number; readonly port: number; readonly next: () => Promise<RawPeer> }> {
  const sockets = new Journal<Socket>()
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => undefined)
    t.after(() => socket.destroy())
    sockets.push(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  let taken = 0
  return {
    id: identity.id,
    port: (server.address() as AddressInfo).port,
    next: async () => {
      taken++
      await sockets.reaches(taken)
      return await shake(sockets.all[taken - 1]!, 'acceptor', identity)
    },
  }
}

function shake(socket: Socket, role: 'dialer' | 'acceptor', identity: RawIdentity): Promise<RawPeer> {
  const { id, instance = 1, meant = 0, ensemble, version = 'raw', secret } = identity
  const handshake = new Handshake({
    role,
    self: { id, instance: Buffer.alloc(16, instance), version },
    meant,
    secret,
    ensemble: () => ensemble,
    nonce: Buffer.alloc(32, instance),
    admit: () => undefined,
  })
  const chunks = new Journal<Buffer>()
  const first = handshake.start()
  if (first !== undefined) socket.write(first)
  return new Promise((resolve, reject) => {
    const onClose = () => reject(new Error('closed'))
    const onData = (chunk: Buffer) => {
      const progress = handshake.receive(chunk)
      for (const bytes of progress.out) socket.write(bytes)
      if (progress.type === 'more') return
      socket.removeListener('data', onData)
      socket.removeListener('close', onClose)
      if (progress.type === 'open') {
        socket.on('data', (more: Buffer) => chunks.push(more))
        if (progress.rest.length > 0) chunks.push(progress.rest)
        resolve({ socket, chunks })
      } else {
        reject(new Error(progress.type === 'refused' ? `refused ${progress.refusal.code}` : progress.type))
      }
    }
    socket.on('data', onData)
    socket.on('close', onClose)
  })
}

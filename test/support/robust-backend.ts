// The server around a connection, for tests of one connection alone: it keeps what is submitted until the test says that
// it is applied. Its tree is a fresh one; nothing is ever written to it.
import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import type { TestContext } from 'node:test'
import { createLogger } from '../../src/base/log.ts'
import { Writer } from '../../src/jute/writer.ts'
import type { Anteroom } from '../../src/node/anteroom.ts'
import { Authenticator } from '../../src/server/auth.ts'
import type { Backend } from '../../src/server/backend.ts'
import { Connection } from '../../src/server/connection.ts'
import { ServerStats } from '../../src/server/stats.ts'
import { Watches } from '../../src/server/watches.ts'
import type { Id } from '../../src/tree/acl.ts'
import { Tree } from '../../src/tree/tree.ts'
import { Passing } from './robust-wire.ts'

type Submitted = {
  readonly kind: number
  readonly cxid: number
  readonly origin: Connection
  readonly arrived: number
}

/** See file header. */
export class FakeBackend implements Backend {
  readonly limits = {
    maxFrameBytes: 1048575,
    minSessionTimeoutMs: 4000,
    maxSessionTimeoutMs: 40_000,
    tickMs: 2000,
    skipAcl: false,
    writeRules: { schemes: new Set(['ip', 'digest']), reconfigEnabled: false },
  }
  readonly lines: string[] = []
  readonly logger = createLogger({
    level: 'info',
    pretty: false,
    destination: { write: (line) => this.lines.push(JSON.parse(line).msg) },
  })
  readonly stats = new ServerStats()
  readonly tree = new Tree()
  readonly watches = new Watches<Connection>()
  readonly authenticator = new Authenticator({
    superDigest: undefined,
    digestEnabled: true,
    x509Enabled: false,
    x509SuperUser: undefined,
  })
  serving = true
  /** Where clients wait while it does not serve; without one they are refused at once. */
  anteroom: Anteroom | undefined
  readonly writable = true
  readonly readOnly = false
  readonly overloaded = false
  readonly stopping = false
  /** What waits for `applyNext`. */
  readonly submitted: Submitted[] = []
  readonly #empty = new Writer(16)
  readonly #stalled = new Set<Connection>()

  constructor() {
    this.tree.initialize()
  }

  /** Answers the oldest write or sync. */
  applyNext(): void {
    const { kind, cxid, origin, arrived } = this.submitted.shift() as Submitted
    origin.completed(kind, cxid, 0, 0, this.#empty, arrived)
    this.#resumeStalled()
  }

  #resumeStalled(): void {
    const stalled = [...this.#stalled]
    this.#stalled.clear()
    for (const connection of stalled) connection.resume()
  }

  now(): number {
    return performance.now()
  }
  submit(
    kind: number,
    _session: number,
    cxid: number,
    _ids: readonly Id[],
    _buf: Uint8Array,
    _start: number,
    _end: number,
    origin: Connection,
    arrived: number,
  ): void {
    this.submitted.push({ kind, cxid, origin, arrived })
  }
  sync(cxid: number, _path: string | null, origin: Connection, arrived: number): void {
    this.submitted.push({ kind: 9, cxid, origin, arrived })
  }
  awaitServing(connection: Connection): boolean {
    return this.anteroom?.admit(connection) ?? false
  }
  wordOf(): undefined {
    return undefined
  }
  wordArgumentBytes(): number {
    return 0
  }
  word(): string {
    return ''
  }
  mintSession(): number {
    return 7
  }
  openLocalSession(): undefined {
    return undefined
  }
  isLocalSession(): boolean {
    return false
  }
  closeLocalSession(): boolean {
    return false
  }
  passwordOf(): Buffer {
    return Buffer.alloc(16, 7)
  }
  claim(_session: number, connection: Connection): void {
    connection.claimed(true)
  }
  attach(): void {}
  touch(): void {}
  detach(connection: Connection): void {
    this.anteroom?.leave(connection)
    this.watches.removeAll(connection)
  }
  stalled(connection: Connection): void {
    this.#stalled.add(connection)
  }
  flushLater(connection: Connection): void {
    setImmediate(() => {
      connection.flush()
      this.#resumeStalled()
    })
  }
  flushEventsLater(connection: Connection): void {
    this.flushLater(connection)
  }
}

/** A connection over loopback, its server's side included. */
export type Lone = {
  readonly backend: FakeBackend
  readonly connection: Connection
  /** The server's end: `emit('data', …)` is a chunk exactly as the test wants it. */
  readonly socket: net.Socket
  readonly client: Passing
}

/** A connection without a handshake. */
export async function loneConnection(t: TestContext): Promise<Lone> {
  const server = net.createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const accepted = once(server, 'connection')
  const client = await Passing.dial((server.address() as AddressInfo).port)
  const [socket] = (await accepted) as [net.Socket]
  t.after(() => {
    client.destroy()
    socket.destroy()
    server.close()
  })
  const backend = new FakeBackend()
  const connection = new Connection(socket, backend, [], false, Date.now())
  return { backend, connection, socket, client }
}

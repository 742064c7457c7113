// A server that answers connections of `client/` as a test says, byte by byte: for what a real one never does.
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { Connection, type ConnectionError, type ConnectionOptions } from '../../src/client/connection.ts'
import { Encoder } from './raw-client.ts'

/** A frame with its length in front. */
export function framed(body: Encoder): Buffer {
  const bytes = body.bytes()
  return Buffer.concat([new Encoder().int(bytes.length).bytes(), bytes])
}

/** The answer to a handshake. */
export function session(timeoutMs = 4000, readOnly = false): Buffer {
  return framed(new Encoder().int(0).int(timeoutMs).long(1n).buffer(Buffer.alloc(16)).bool(readOnly))
}

export function reply(xid: number, zxid: bigint, error = 0, body = new Encoder()): Buffer {
  return framed(new Encoder().int(xid).long(zxid).int(error).raw(body.bytes()))
}

/** A server that calls `onFrame` for each frame of a connection (number, bytes behind the length); ends with the test. */
export async function scriptedServer(
  t: TestContext,
  onFrame: (socket: Socket, number: number, frame: Buffer) => void,
): Promise<number> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    let number = 0
    let rest = Buffer.alloc(0)
    socket.on('data', (chunk) => {
      rest = Buffer.concat([rest, chunk])
      while (rest.length >= 4 && rest.length >= 4 + rest.readInt32BE(0)) {
        const end = 4 + rest.readInt32BE(0)
        onFrame(socket, number++, rest.subarray(4, end))
        rest = rest.subarray(end)
      }
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return (server.address() as AddressInfo).port
}

export function optionsFor(port: number, changes: Partial<ConnectionOptions> = {}): ConnectionOptions {
  return {
    address: { host: '127.0.0.1', port },
    sessionTimeoutMs: 4000,
    connectTimeoutMs: 10_000,
    auth: [],
    ...changes,
  }
}

/** A promise that is settled from outside. */
export function deferred<T>() {
  let resolve: (value: T) => void = () => {}
  const promise = new Promise<T>((settle) => {
    resolve = settle
  })
  return { promise, resolve }
}

export type Seen = {
  readonly replies: { readonly tag: number; readonly error: number; readonly body: Buffer }[]
  readonly events: string[]
  readonly connection: Connection
  readonly opened: Promise<void>
  readonly ended: Promise<ConnectionError | undefined>
}

/** A connection whose handlers remember; `onReply` is called after each reply was remembered. */
export function watched(options: ConnectionOptions, onReply: (seen: Seen) => void = () => {}): Seen {
  const opened = deferred<void>()
  const ended = deferred<ConnectionError | undefined>()
  const seen: Seen = {
    replies: [],
    events: [],
    opened: opened.promise,
    ended: ended.promise,
    connection: new Connection(options, {
      opened: () => opened.resolve(),
      reply: ({ tag, error, body }) => {
        seen.replies.push({ tag, error, body: Buffer.from(body.buf.subarray(body.pos, body.end)) })
        onReply(seen)
      },
      event: (body) => {
        body.int()
        body.int()
        seen.events.push(body.requiredString('path'))
      },
      ended: ended.resolve,
    }),
  }
  return seen
}

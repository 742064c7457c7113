// Clients' connections as the node's parts see them: they take note of what they are told, and have no socket.
import type { Writer } from '../../src/jute/writer.ts'
import type { Connection } from '../../src/server/connection.ts'
import type { Id } from '../../src/tree/acl.ts'

/** What a connection was told, in order. */
export type Told =
  | {
      readonly type: 'completed'
      readonly kind: number
      readonly cxid: number
      readonly zxid: number
      readonly err: number
      readonly body: string
      readonly arrived: number
    }
  | { readonly type: 'notified'; readonly bytes: number }
  | { readonly type: 'closed' | 'destroyed' }

export type FakeOrigin = {
  readonly connection: Connection
  readonly told: Told[]
}

/** A connection of this session. */
export function fakeOrigin(session = 1, timeoutMs = 4000): FakeOrigin {
  const told: Told[] = []
  const ids: readonly Id[] = []
  const connection = {
    session,
    timeoutMs,
    ids,
    completed(kind: number, cxid: number, zxid: number, err: number, body: Writer, arrived: number) {
      told.push({
        type: 'completed',
        kind,
        cxid,
        zxid,
        err,
        body: Buffer.from(body.bytes()).toString('hex'),
        arrived,
      })
    },
    notify(frame: Uint8Array) {
      told.push({ type: 'notified', bytes: frame.length })
    },
    close() {
      told.push({ type: 'closed' })
    },
    destroy() {
      told.push({ type: 'destroyed' })
    },
  }
  // The class has private fields, which no literal can have; none of them is looked at here.
  return { connection: connection as unknown as Connection, told }
}

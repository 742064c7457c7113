// The port through which the node talks to the other servers. The real one is TCP (network.ts); the simulator gives
// another. What every implementation promises, and the consensus core relies on:
// - one connection per pair of servers, FIFO and reliable while it lasts; nothing of an earlier connection ever arrives
//   on a later one;
// - `connected` only when both directions work, `lost` before the next `connected` of the same peer;
// - a connection whose other side is silent for the keepalive time is given up.
import type { PeerMessage } from './messages.ts'

/** A server that can be connected to. */
export type Member = { readonly id: number; readonly host: string; readonly port: number }

/**
 * The other server did what it may not do. Thrown by `received`, it closes the connection (`lost` is called) with a line
 * in the log; any other error that a handler throws is this server's own and goes up.
 */
export class PeerFault extends Error {
  override readonly name = 'PeerFault'
}

/**
 * Who hears of connections and messages. Called synchronously, one after another, and never from within a call of `Peers`
 * other than `suspend`.
 */
export interface PeerHandler {
  connected(peer: number): void
  lost(peer: number): void
  /** Bytes in the message are views of what was read. May throw PeerFault. */
  received(from: number, message: PeerMessage): void
  /** All messages of what arrived together were given. */
  handled(): void
}

export interface Peers {
  /**
   * Queues a message for a connected peer; dropped if there is no connection. It leaves with `flush`, all messages of a
   * turn as one write, or a few if they are many. What the message refers to may not change afterwards.
   */
  send(to: number, message: PeerMessage): void
  /** Writes what was queued, to every peer. After a call of the handler (a chunk of messages) it happens by itself. */
  flush(): void
  /**
   * Writes what was queued for the peer; resolves when little of it still waits here, or it is not connected: for long
   * transfers. Never rejects.
   */
  drained(to: number): Promise<void>
  /** Closes the connection, with a reason for the log; `lost` is not called for it. */
  drop(peer: number, reason: string): void
  /** Replaces the list of those to be connected to (this server may be in it). Connections to others stay until they end. */
  setMembers(members: readonly Member[]): void
  /** Closes every connection (`lost` is called) and makes no new ones until `resume`: this server can not take part now. */
  suspend(reason: string): void
  resume(): void
  /** Closes everything. `handler` hears nothing any more. */
  close(): Promise<void>
}

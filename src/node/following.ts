// The role of a follower or observer: its clients' requests go to the leader, in order, and come back as committed
// transactions; what only the leader knows (syncs, sessions) is asked for. An observer differs in the core only.

import { formatZxid } from '../base/zxid.ts'
import type { Claimed, Divergence, Moved, PeerMessage, Synced } from '../peers/messages.ts'
import type { Connection } from '../server/connection.ts'
import type { Following } from '../zab/state.ts'
import type { Digest } from './replica.ts'
import { entryBytesMax, type Role, type RoleHost } from './role.ts'

/** A client's session that the leader was asked for. */
type Claim = {
  readonly connection: Connection
  readonly client: number
  /** The session is open, and this must be applied before its client is served. */
  zxid: number | undefined
}

/** See file header. */
export class FollowingRole implements Role {
  readonly leader: number
  readonly from: number
  readonly proposedUpTo = 0
  /** The leader judges. */
  readonly reconfigure = undefined
  readonly #host: RoleHost
  readonly #session: number
  readonly #claims = new Map<number, Claim>()
  #claimId = 0

  constructor(host: RoleHost, following: Following) {
    this.#host = host
    this.leader = following.leader
    this.from = following.committed
    this.#session = following.session
  }

  act(): void {
    const { sessions, clock, requests, config } = this.#host
    sessions.follow(clock.wall())
    requests.relation = { server: config.id, session: this.#session }
  }

  admit(): void {}

  gathered(): void {
    if (this.#host.requests.size > entryBytesMax) this.#forward()
  }

  claim(client: number, connection: Connection): void {
    const { peers, planTurn } = this.#host
    // What opens the session may be among them.
    this.sendRequests()
    const id = ++this.#claimId
    this.#claims.set(id, { connection, client, zxid: undefined })
    const { timeoutMs } = connection
    peers.send(this.leader, { type: 'claim', session: this.#session, id, client, timeoutMs })
    planTurn()
  }

  sendRequests(): void {
    const { requests, syncs, peers } = this.#host
    if (requests.count > 0) this.#forward()
    const round = syncs.ask()
    if (round !== undefined) peers.send(this.leader, { type: 'sync', session: this.#session, id: round })
  }

  #forward(): void {
    const { requests, peers } = this.#host
    peers.send(this.leader, { type: 'forward', session: this.#session, bytes: requests.send() })
  }

  received(from: number, message: PeerMessage): void {
    if (from !== this.leader || !('session' in message) || message.session !== this.#session) return
    switch (message.type) {
      case 'synced':
      case 'claimed':
      case 'moved':
      case 'divergence':
        this.#receivedAnswer(message)
        break
      case 'ping':
        this.#sendTouches()
    }
  }

  /** The leader hears of the clients' signs of life as often as it asks for one of this server. */
  #sendTouches(): void {
    const { sessions, peers } = this.#host
    const touches = sessions.takeTouches()
    if (touches !== undefined)
      peers.send(this.leader, { type: 'touches', session: this.#session, ...touches })
  }

  #receivedAnswer(message: Synced | Claimed | Moved | Divergence): void {
    switch (message.type) {
      case 'synced':
        this.#host.syncs.confirmed(message.id, message.zxid)
        break
      case 'claimed':
        this.#claimed(message)
        break
      case 'moved':
        this.#moved(message.client)
        break
      case 'divergence':
        this.#host.diverged(`the leader says that the state at ${formatZxid(message.zxid)} is another one`)
    }
  }

  #claimed({ id, open, zxid }: Claimed): void {
    const claim = this.#claims.get(id)
    this.#host.stats.revalidations++
    if (claim === undefined) return
    if (open) {
      claim.zxid = zxid
    } else {
      this.#claims.delete(id)
      claim.connection.claimed(false)
    }
  }

  /** The client has turned to another server; it may even have done so before it was served here. */
  #moved(client: number): void {
    this.#host.sessions.moved(client)
    for (const [id, claim] of this.#claims) {
      if (claim.client !== client || claim.zxid === undefined) continue
      this.#claims.delete(id)
      claim.connection.destroy()
    }
  }

  applied(): void {
    if (this.#claims.size === 0) return
    const { tree } = this.#host
    for (const [id, { connection, zxid }] of this.#claims) {
      if (zxid === undefined || zxid > tree.zxid) continue
      this.#claims.delete(id)
      connection.claimed(true)
    }
  }

  digest(digest: Digest): void {
    this.#host.peers.send(this.leader, { type: 'digest', session: this.#session, ...digest })
  }

  end(waiting: Set<Connection>): void {
    this.#host.requests.relation = undefined
    for (const { connection } of this.#claims.values()) waiting.add(connection)
    this.#claims.clear()
  }
}

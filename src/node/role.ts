// What a server does in its role while there is an ensemble: the two kinds are in leading.ts and following.ts. A role
// begins when the core has reached broadcast, acts once its first commit point is applied, and ends for good.
import type { Logger } from '../base/log.ts'
import type { Config } from '../config/types.ts'
import type { PeerMessage } from '../peers/messages.ts'
import type { Peers } from '../peers/types.ts'
import type { Connection } from '../server/connection.ts'
import type { ServerStats } from '../server/stats.ts'
import type { Id } from '../tree/acl.ts'
import type { Tree } from '../tree/tree.ts'
import type { Core } from '../zab/core.ts'
import type { Event } from '../zab/events.ts'
import type { Clock } from './clock.ts'
import type { Members } from './members.ts'
import type { Digest } from './replica.ts'
import type { Requests } from './requests.ts'
import type { SessionTracker } from './session-tracker.ts'
import type { Syncs } from './syncs.ts'

/** Requests of so many bytes go on their way at once: entries and messages between servers have to stay handy. */
export const entryBytesMax = 4 << 20

/** A request of a client, or of the server itself, on its way to being proposed. */
export type ClientRequest = {
  readonly kind: number
  readonly session: number
  readonly cxid: number
  readonly ids: readonly Id[]
  readonly body: Buffer
  readonly origin: Connection | undefined
  readonly arrived: number
}

export interface Role {
  /** The leader's id. */
  readonly leader: number
  /** What must be applied before the role acts. */
  readonly from: number
  /** Its first commit point is applied: clients can be served, or soon. */
  act(): void
  /** A write of this server's client, or of its own, is about to join those that gather. Acting only. */
  admit(kind: number, session: number): void
  /** It has joined them. */
  gathered(): void
  /** Takes a reconfiguration in the place of `admit`, where it is judged; undefined where it goes on like any other write. */
  readonly reconfigure: ((request: ClientRequest) => void) | undefined
  /** zxid that a sync of a client of this server must show, whatever else. */
  readonly proposedUpTo: number
  /** See Backend. */
  claim(session: number, connection: Connection): void
  /** A message of a node's own from another server; those of other relations are dropped. May throw PeerFault. */
  received(from: number, message: PeerMessage): void
  /** What has gathered goes on its way. Acting only. */
  sendRequests(): void
  /** More was applied. */
  applied(): void
  /** The state's digest after a transaction. */
  digest(digest: Digest): void
  /** It is over; adds to `waiting` whoever waits for something that will not come. */
  end(waiting: Set<Connection>): void
}

/** What a role needs of the node around it. */
export type RoleHost = {
  readonly config: Config
  readonly logger: Logger
  readonly clock: Clock
  readonly tree: Tree
  readonly stats: ServerStats
  readonly core: Core
  readonly requests: Requests
  readonly syncs: Syncs
  readonly sessions: SessionTracker
  readonly members: Members
  readonly peers: Peers
  /** For secrets. */
  readonly randomBytes: (size: number) => Buffer
  /** Hands an event to the core and does what it says. The role may be over afterwards. */
  readonly handle: (event: Event) => void
  /** Soon there is something to do. */
  readonly planTurn: () => void
  /** Whether the next proposal should go out now, or wait for more to come. */
  readonly hasRoom: () => boolean
  /** This server's state is not that of the ensemble. */
  readonly diverged: (reason: string) => void
}

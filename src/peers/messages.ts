// What servers say to each other: the consensus core's messages, and what the nodes around the cores have to say. A
// message of a node belongs to a learner's relation with a leader and carries its session (zab/messages.ts): one of an
// earlier relation is recognized and ignored.
import type { CheckpointMeta } from '../storage/types.ts'
import type { Message } from '../zab/messages.ts'
import type { VotingAt } from '../zab/types.ts'

/** Learner to leader: requests of the learner's clients (an encoded tree/batch.ts Batch), to be proposed in this order. */
export type Forward = { readonly type: 'forward'; readonly session: number; readonly bytes: Uint8Array }

/** Learner to leader: a client's sync; answered when a quorum has confirmed the leader. */
export type SyncRequest = { readonly type: 'sync'; readonly session: number; readonly id: number }

/** Leader to learner: everything that the sync must show is applied at `zxid`. */
export type Synced = {
  readonly type: 'synced'
  readonly session: number
  readonly id: number
  readonly zxid: number
}

/** Learner to leader: a client with this (client) session and the right password has connected here. */
export type Claim = {
  readonly type: 'claim'
  readonly session: number
  readonly id: number
  readonly client: number
  readonly timeoutMs: number
}

/** Leader to learner: whether the session is open; the learner owns it now. Its state is that of `zxid` or later. */
export type Claimed = {
  readonly type: 'claimed'
  readonly session: number
  readonly id: number
  readonly open: boolean
  readonly zxid: number
}

/** Leader to learner: the client of this session is connected elsewhere now. */
export type Moved = { readonly type: 'moved'; readonly session: number; readonly client: number }

/** Learner to leader: sessions whose clients gave a sign of life, and their timeouts (ms), in two columns. */
export type Touches = {
  readonly type: 'touches'
  readonly session: number
  readonly clients: readonly number[]
  readonly timeouts: readonly number[]
}

/** Learner to leader: digest of the tree (two unsigned 32 bit halves) after `zxid`. */
export type DigestReport = {
  readonly type: 'digest'
  readonly session: number
  readonly zxid: number
  readonly high: number
  readonly low: number
}

/** Leader to learner: your state is not the ensemble's; throw it away. */
export type Divergence = { readonly type: 'divergence'; readonly session: number; readonly zxid: number }

/** Leader to learner: records of a checkpoint, in order. */
export type SnapshotPart = {
  readonly type: 'snapshotPart'
  readonly session: number
  readonly keys: readonly Uint8Array[]
  readonly values: readonly Uint8Array[]
}

/** Leader to learner: the checkpoint is complete. */
export type SnapshotEnd = {
  readonly type: 'snapshotEnd'
  readonly session: number
  readonly meta: CheckpointMeta
  /** The newest voting that was reconfigured in at or before the checkpoint. */
  readonly voting: VotingAt | undefined
}

/** Leader to learner: the transfer failed, it comes to nothing. */
export type SnapshotFailed = { readonly type: 'snapshotFailed'; readonly session: number }

export type NodeMessage =
  | Forward
  | SyncRequest
  | Synced
  | Claim
  | Claimed
  | Moved
  | Touches
  | DigestReport
  | Divergence
  | SnapshotPart
  | SnapshotEnd
  | SnapshotFailed

export type PeerMessage = Message | NodeMessage

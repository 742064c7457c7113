// What servers say to each other about consensus. Connections are FIFO and reliable while they last, so a server's
// newest status is the truth about it, and nothing is ever sent again on the same connection.
//
// Everything between a leader and a learner carries the learner's `session`, a number that the learner draws anew each
// time it begins to follow: what was said in an earlier relation is recognized and ignored.
import type { Entry, Voting } from './types.ts'

/** A server's place in the election; sent on connecting and at every change. Observers send it, too. */
export type Status = {
  readonly type: 'status'
  readonly state: 'looking' | 'following' | 'leading'
  /** Looking: whom it votes for. Otherwise the leader, itself if it leads. */
  readonly leader: number | undefined
  /** It can be voted for: it may lead, its disk is at rest, and it is connected to a quorum. Or it leads, not yet established. */
  readonly candidate: boolean
  /** The candidate's credential; -1 for others. */
  readonly current: number
  readonly last: number
  /** Epoch of an established leader, otherwise -1. */
  readonly epoch: number
  /** It looks, and has no memory (see voting.ts): whom it votes for is limited. Or its state is no good: it does not vote. */
  readonly blank: boolean
  /** Which blank voters count for this candidate: none, those of an empty history, any. */
  readonly blanks: 'none' | 'empty' | 'any'
  /**
   * The candidate's view of who elects it: one voting, or two while a reconfiguration is under way. What counts is its
   * view, not the voter's: a server may vote before it has heard that it is a voter.
   */
  readonly votings: readonly Voting[]
  /** Whether these come from its history and not from its configuration. */
  readonly reconfigured: boolean
  /** Looking: zxid of the newest voting that it knows to be committed; 0 if none. */
  readonly committedVoting: number
}

/** Learner to leader. Discovery begins: the learner's promise so far. */
export type FollowerInfo = {
  readonly type: 'followerInfo'
  readonly session: number
  readonly accepted: number
  readonly observer: boolean
  /** It has no memory (see voting.ts). */
  readonly blank: boolean
}

/** Leader to learner: the epoch to promise. Sent once the leader has it on disk (ZOOKEEPER-1291). */
export type NewEpoch = { readonly type: 'newEpoch'; readonly session: number; readonly epoch: number }

/** Learner to leader: promised, on disk; and what its history is worth. */
export type AckEpoch = {
  readonly type: 'ackEpoch'
  readonly session: number
  /** -1 if this epoch had been promised before, perhaps to another: then it does not count (ZAB's f.p is given once). */
  readonly current: number
  readonly last: number
  /** The learner's state is no good: it takes nothing but a snapshot. */
  readonly needsSnapshot: boolean
}

/** Leader to learner: which is your newest entry that ends at or before this one of mine? */
export type Find = { readonly type: 'find'; readonly session: number; readonly zxid: number }

/** Learner to leader: the answer, -1 if its history does not reach back so far. */
export type Found = { readonly type: 'found'; readonly session: number; readonly zxid: number }

/** Leader to learner: our histories agree up to `after`; cut yours there, mine follows. ZooKeeper's DIFF and TRUNC. */
export type Diff = { readonly type: 'diff'; readonly session: number; readonly after: number }

/** Leader to learner: a snapshot follows by the node's own means. ZooKeeper's SNAP. */
export type Snapshot = { readonly type: 'snapshot'; readonly session: number }

/** Learner to leader: the snapshot is installed and durable. */
export type Installed = { readonly type: 'installed'; readonly session: number; readonly zxid: number }

/** Leader to learner: the next entries of the history, and what of it is committed. To observers, too (INFORM). */
export type Proposal = {
  readonly type: 'proposal'
  readonly session: number
  readonly entries: readonly Entry[]
  readonly committed: number
}

/** Learner to leader: everything up to `zxid` is durable. */
export type Ack = { readonly type: 'ack'; readonly session: number; readonly zxid: number }

/** Leader to learner: you have been sent all of my history; adopt it. */
export type NewLeader = { readonly type: 'newLeader'; readonly session: number; readonly epoch: number }

/** Learner to leader: it is durable, and after that the current epoch was made so. */
export type AckNewLeader = { readonly type: 'ackNewLeader'; readonly session: number }

/** Leader to learner: the leader is established, begin to serve. */
export type UpToDate = { readonly type: 'upToDate'; readonly session: number; readonly committed: number }

/** Leader to learner: everything up to `zxid` is committed, at the latest when it is on the learner's disk. */
export type Commit = { readonly type: 'commit'; readonly session: number; readonly zxid: number }

export type Ping = { readonly type: 'ping'; readonly session: number; readonly seq: number }

export type Pong = { readonly type: 'pong'; readonly session: number; readonly seq: number }

/** From a leader. */
export type LeaderMessage =
  | NewEpoch
  | Find
  | Diff
  | Snapshot
  | Proposal
  | NewLeader
  | UpToDate
  | Commit
  | Ping

/** From a learner that the leader knows. */
export type LearnerMessage = AckEpoch | Found | Installed | Ack | AckNewLeader | Pong

export type Message = Status | FollowerInfo | LeaderMessage | LearnerMessage

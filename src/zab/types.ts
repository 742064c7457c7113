// What the consensus core, the log and the peers share: entries, epochs, and the core's limits in time and bytes.

/** Who votes, as plain data: what a reconfiguration replaces. `quorumOf` (quorum.ts) makes the rules of it. */
export type Voting = {
  /** Ids, ascending. */
  readonly voters: readonly number[]
  /** ZooKeeper's group.G: ids by group. Empty: a majority of the voters decides. */
  readonly groups: readonly (readonly number[])[]
  /** ZooKeeper's weight.N: id and weight, where it is not 1. */
  readonly weights: readonly (readonly [id: number, weight: number])[]
}

/** A voting and the zxid of the transaction that brought it in. */
export type VotingAt = { readonly zxid: number; readonly voting: Voting }

/**
 * One entry of the replicated history: the transactions that the leader proposed in one turn of its event loop. The
 * unit of appending, acknowledging, committing and truncating; zxids inside are consecutive. The core never looks into it.
 */
export type Entry = {
  /** zxid of the last transaction of the entry before this one in the history; 0 for the first entry ever. */
  readonly prev: number
  /** zxid of the first transaction in this entry. */
  readonly first: number
  /** zxid of the last transaction in this entry. */
  readonly last: number
  /** The encoded transactions (see tree/batch.ts). */
  readonly bytes: Uint8Array
  /** A reconfiguration: an entry of one transaction, from whose appending on this voting is in force beside the one before it. */
  readonly voting?: Voting
}

/** The two epochs that a server keeps on disk (ZAB: f.p and f.a). */
export type Epochs = {
  /** The highest epoch promised to a prospective leader. */
  readonly accepted: number
  /** The epoch of the last leader whose history this server adopted. */
  readonly current: number
}

/** Limits of the core. Every server of an ensemble should have the same. */
export type Settings = {
  /** ZooKeeper's tickTime: the unit of the two limits below. */
  readonly tickMs: number
  /** Ticks that a new leader may take from its election to its first commit. */
  readonly initLimit: number
  /** Ticks without a sign of life after which a leader or learner counts as gone. */
  readonly syncLimit: number
  /** How long a quorum of equal votes waits for connected voters that have not agreed yet. */
  readonly finalizeWaitMs: number
  /** Bytes of entries on their way to one learner, not acknowledged. At the limit the rest waits in the history. */
  readonly windowBytes: number
  /** Bytes of entries in a message that has more than one: a learner that is behind begins with some while others come. */
  readonly messageBytes: number
  /**
   * Memory for the newest entries that are on disk, bytes, for a learner that was away for some seconds. Older ones are read from
   * the log.
   */
  readonly cacheBytes: number
}

export const defaultSettings: Settings = {
  tickMs: 2000,
  initLimit: 10,
  syncLimit: 5,
  finalizeWaitMs: 200,
  windowBytes: 8 << 20,
  messageBytes: 128 << 10,
  cacheBytes: 8 << 20,
}

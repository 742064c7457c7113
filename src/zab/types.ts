// What the consensus core, the log and the peers share: entries, epochs, messages.

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
}

/** The two epochs that a server keeps on disk (ZAB: f.p and f.a). */
export type Epochs = {
  /** The highest epoch promised to a prospective leader. */
  readonly accepted: number
  /** The epoch of the last leader whose history this server adopted. */
  readonly current: number
}

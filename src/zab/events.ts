// What goes into the core and what comes out of it. All plain data.
//
// Rules for who performs effects (node, simulator):
// - `append`, `truncate` and the installation of a snapshot change the log in the order they were given; the facts
//   `durable`, `truncated`, `snapshotInstalled` come back in that order. `saveEpochs` is independent of them.
// - `send` keeps its order per peer. Nothing else has an order.
// - A fact may come at any time later, but it must come: the core takes no new role before its disk is at rest. After a
//   failed write the server begins again with `createCore`.
import type { Message } from './messages.ts'
import type { Entry, Epochs, Voting, VotingAt } from './types.ts'

export type Event =
  /** Begins the first election. */
  | { readonly type: 'start'; readonly now: number }
  /** Time in ms from any origin, never going backwards. A few times per settings.tickMs; timeouts are as exact as this. */
  | { readonly type: 'tick'; readonly now: number }
  | { readonly type: 'peerConnected'; readonly peer: number }
  | { readonly type: 'peerLost'; readonly peer: number }
  | { readonly type: 'message'; readonly from: number; readonly message: Message }
  /**
   * Only if `mayPropose`: `count` transactions in one entry. `origin` comes back with the append. With `voting` it is a
   * reconfiguration, of one transaction, and only if `canReconfigure` has nothing against it; see voting.ts.
   */
  | {
      readonly type: 'propose'
      readonly count: number
      readonly bytes: Uint8Array
      readonly origin?: unknown
      readonly voting?: Voting
    }
  /** Leader in broadcast only: asks for `confirmed` once a quorum has said that it still follows. */
  | { readonly type: 'confirm'; readonly id: number }
  /** Let another server lead, as soon as everything proposed is committed; `resigned` says when. */
  | { readonly type: 'resign' }
  /** The state was found to differ from the leader's at the same zxid: a snapshot must replace it. */
  | { readonly type: 'diverged'; readonly reason: string }
  /** All entries up to this zxid are durable here. */
  | { readonly type: 'durable'; readonly zxid: number }
  | { readonly type: 'epochsSaved'; readonly epochs: Epochs }
  | { readonly type: 'truncated'; readonly zxid: number }
  /**
   * The received snapshot has replaced checkpoint and log, durably; the state is the one at `zxid`. `voting` is the newest
   * up to there, as the sender's `votingAt` gave it.
   */
  | { readonly type: 'snapshotInstalled'; readonly zxid: number; readonly voting?: VotingAt }
  /** Nothing of it was installed: after `abortSnapshot`, or because the transfer failed. */
  | { readonly type: 'snapshotAborted' }
  /** Answer to `readEntries`; no entries if they could not be read. */
  | {
      readonly type: 'entriesRead'
      readonly id: number
      readonly to: number
      readonly entries: readonly Entry[]
    }
  /** The log no longer holds entries up to this zxid. */
  | { readonly type: 'trimmed'; readonly zxid: number }

export type Role = 'looking' | 'following' | 'leading'

/** The phases of ZAB. */
export type Phase = 'election' | 'discovery' | 'synchronization' | 'broadcast'

export type Effect =
  | { readonly type: 'send'; readonly to: number; readonly message: Message }
  | { readonly type: 'append'; readonly entry: Entry; readonly origin?: unknown }
  /** Removes every entry whose `last` is above `zxid`. */
  | { readonly type: 'truncate'; readonly zxid: number }
  | { readonly type: 'saveEpochs'; readonly epochs: Epochs }
  /** Everything up to `zxid`, which is durable here, is committed: apply what is not applied yet. */
  | { readonly type: 'commit'; readonly zxid: number }
  /** Entries after `after`, in order, at least one and no more than fit in `maxBytes` otherwise. Answer: entriesRead. */
  | {
      readonly type: 'readEntries'
      readonly id: number
      readonly to: number
      readonly after: number
      readonly maxBytes: number
    }
  /** Send a checkpoint of at least this zxid, with the `votingAt` it. The learner's core has been told that it comes, with this session. */
  | {
      readonly type: 'sendSnapshot'
      readonly to: number
      readonly session: number
      readonly atLeast: number
    }
  /** The snapshot of this session comes from this peer: install it, then say snapshotInstalled, or snapshotAborted. */
  | { readonly type: 'receiveSnapshot'; readonly from: number; readonly session: number }
  /** Do not install it, unless that is under way. */
  | { readonly type: 'abortSnapshot' }
  /** A role or phase has begun. Leading in broadcast: the leader may propose. Following in broadcast: serve clients. */
  | {
      readonly type: 'roleChanged'
      readonly role: Role
      readonly phase: Phase
      readonly leader: number | undefined
      /** -1 while it is not known. */
      readonly epoch: number
      readonly reason: string
    }
  /**
   * Who votes has changed: a voting is in force from its appending, beside the one before it until it is committed
   * (`committed`). One that was cut away is followed by the one before it, of zxid 0 if that is the configured one.
   * `settled`: every later leader will know that it stands alone; only now servers that it does not name may be stopped
   * for good. See voting.ts.
   */
  | {
      readonly type: 'votingChanged'
      readonly voting: Voting
      readonly zxid: number
      readonly committed: boolean
      readonly settled: boolean
    }
  /** To the leader: propose a transaction that changes nothing, with this voting, to settle it. */
  | { readonly type: 'settle'; readonly voting: Voting }
  /** An election fails only because these voters have no memory: they do not count for `candidate`, the best there is. */
  | { readonly type: 'blankVoters'; readonly candidate: number; readonly blanks: readonly number[] }
  /** Close the connection; for the core it is closed already. peerLost may follow, peerConnected only for a new one. */
  | { readonly type: 'dropPeer'; readonly peer: number; readonly reason: string }
  /** A quorum followed this leader after `confirm`; everything committed anywhere at that time is within `zxid`. */
  | { readonly type: 'confirmed'; readonly id: number; readonly zxid: number }
  /** This server does not lead and will not be elected. */
  | { readonly type: 'resigned' }
  /** This server has applied what is not in the leader's history: its disk had lost or damaged data. It asks for a snapshot. */
  | { readonly type: 'diverged'; readonly zxid: number }

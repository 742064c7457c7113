// Who votes. Two rules of it are argued for here, because they are spread over election, discovery and broadcast.
//
// Reconfiguration. A voting comes in as an entry of the history. From its appending on a server needs a quorum of it
// *and* of the one before it, for everything; from its commit on (as far as this server knows) it stands alone. So
// whoever is elected without the entry was elected by a quorum of the old voting that lacks it, and nobody can have
// committed it; whoever has it is in the same position as in a joint configuration of raft's. One that changes something
// is committed before the next is proposed. Votes are judged by the candidate's voting: a voter may not know yet that it
// is one. And nobody votes for who is behind itself, so a server that missed a reconfiguration is not elected by those
// who know of it.
//
// A server that restarts does not know whether its newest voting was committed and waits for the old voters, too. Those
// tell it, if they know. But they may be gone by then. So the leader, once a voting is committed, writes it a second
// time: after that entry the one before the newest is the same, and the old voters play no part in any log that can win.
// The voting is settled, like raft's C_new. In the same way the static configuration is written down before it is first
// replaced: servers that join may have been started with another one.
//
// Blank voters. A voter that lost its disk has forgotten what it acknowledged and promised. `current` is saved when a
// leader's history is durable here, before anything here counts for anybody, so a server with current = 0 is one whose
// acks nobody has counted in this life of its disk: new, or blank. (A part of a history is no memory: it may end before
// what was acknowledged.) It votes, and its promise counts, only where nothing can be lost: for a candidate with an empty
// history, if its own is empty, too; or for one that was alone before. Everywhere else it joins an established leader
// that a quorum has confirmed after the blank server came: then no quorum had promised a later epoch, and so nobody can
// have committed in a later epoch with the help of what is forgotten. After it has adopted that leader's history it
// counts again, because it has every committed entry. For a committed entry was acknowledged by a quorum A, and a later
// leader is elected by a quorum Q of voters that are not blank; a server in both has the entry still, or was blank since
// and has it from a leader of between, by induction over the epochs.
//
// What can not be told from a new ensemble, and is not safe: a quorum of voters of which each is blank or has an empty
// history, while others have committed entries. So: once every voter has the first committed entry, any minority may
// lose its disks at a time, and more only after those have synchronized. A server whose disk was replaced has to be away
// for the keepalive time of the connections, or somebody may count what its last life said. And who joins a server that
// was alone must not be a quorum without it until one of them has synchronized.
import { isSameVoting, joint, type Quorum, quorumOf } from './quorum.ts'
import type { Voting, VotingAt } from './types.ts'

/** The newest voting of a history, and what follows from it. */
export type InForce = {
  readonly voting: Voting
  /** 0 for the configured one. */
  readonly zxid: number
  /** It stands alone. */
  readonly committed: boolean
  /** Nobody who has it, and may be elected, waits for the one before it. */
  readonly settled: boolean
  /** Of it, or of it and the one before. */
  readonly quorum: Quorum
  /** How many changes there are in the history. */
  readonly changes: number
}

/** What is in force, given the changes in the history and the commit point. */
export function inForce(configured: Quorum, votings: readonly VotingAt[], committed: number): InForce {
  const newest = votings.at(-1)
  if (newest === undefined) {
    const [voting] = configured.votings as readonly [Voting]
    return { voting, zxid: 0, committed: true, settled: false, quorum: configured, changes: 0 }
  }
  const { zxid, voting } = newest
  const next = quorumOf(voting)
  const earlier = votings.at(-2)
  const old = earlier === undefined ? configured : quorumOf(earlier.voting)
  const again = isSameVoting(voting, old.votings[0] as Voting)
  const done = zxid <= committed
  return {
    voting,
    zxid,
    committed: done,
    settled: done && again && earlier !== undefined,
    quorum: done || again ? next : joint(old, next),
    changes: votings.length,
  }
}

/** Whether `inForce` would say the same again. It is asked with every entry, and the answer is yes. */
export function isStill(now: InForce, votings: readonly VotingAt[], committed: number): boolean {
  const newest = votings[votings.length - 1]?.zxid ?? 0
  return now.zxid === newest && now.changes === votings.length && now.committed === newest <= committed
}

// What kind of a run a seed makes: how many servers, which limits, how fast and how bad network and disks are.
import { maxEpoch } from '../src/base/zxid.ts'
import { hierarchical, majority, type Quorum, quorumOf } from '../src/zab/quorum.ts'
import type { Settings, Voting } from '../src/zab/types.ts'
import type { Prng } from './prng.ts'

export type Profile = {
  readonly voters: readonly number[]
  readonly observers: readonly number[]
  /** Servers that are started later, and what their configuration files say: not what those of the others do. */
  readonly joiners: readonly number[]
  readonly joinerLists: readonly (readonly number[])[]
  /** Of the configuration files of voters and observers. */
  readonly quorum: Quorum
  readonly quorumKind: string
  readonly settings: Settings
  /** Mean virtual ms between two faults. */
  readonly faultEveryMs: number
  /** Longest duration of most faults; others are short, or long. */
  readonly faultMs: number
  /** Chance that a change of a role or phase is followed by a fault at once: that is where the bugs are. */
  readonly faultAtChange: number
  readonly proposeEveryMs: number
  /** Upper bound of an ordinary message delay. */
  readonly delayMs: number
  /** Upper bound of an ordinary sync of the log. */
  readonly syncMs: number
  /** Upper bound of an ordinary save of the epochs. */
  readonly epochMs: number
  /** Without a sign of life on a connection for so long the transport gives it up: a promise that the core relies on. */
  readonly keepaliveMs: number
  /** Upper bound of the time between two attempts to connect. */
  readonly dialMs: number
  /** Chance that a step with effects ends in a crash between two of them. */
  readonly crashInStep: number
  /** Chance that a proposal takes a large part of the epoch's counter. */
  readonly hugeProposals: number
  readonly checkpointEveryMs: number
  /** Share of faults that are reconfigurations, lost disks. */
  readonly reconfigures: number
  readonly losesDisks: number
  /** Every server has promised this epoch before the run. */
  readonly firstEpoch: number
  /** Server 1 was an ensemble of one before, with this many entries; 0: it was not. */
  readonly aloneBefore: number
}

/** Draws a profile. */
export function drawProfile(prng: Prng): Profile {
  const lagging = prng.chance(0.15)
  const churning = lagging || prng.chance(0.5)
  const count = prng.pick(churning ? [2, 3, 3, 3, 3, 3, 4, 5] : [1, 2, 3, 3, 3, 3, 4, 5, 5, 5, 6, 7])
  const voters = Array.from({ length: count }, (_, i) => i + 1)
  const observers = Array.from({ length: prng.pick([0, 0, 0, 1, 2]) }, (_, i) => count + i + 1)
  const { quorum, kind } = drawQuorum(prng, voters)
  const reconfigures = prng.pick([0, 0, 0.1, 0.3])
  const known = count + observers.length
  const joiners = reconfigures === 0 ? [] : Array.from({ length: prng.int(0, 3) }, (_, i) => known + i + 1)
  const aloneBefore = reconfigures === 0 && count <= 3 && kind === 'majority' && prng.chance(0.15) ? 3 : 0
  return {
    voters,
    observers,
    joiners,
    joinerLists: joiners.map((id) => drawList(prng, voters, id, joiners)),
    reconfigures,
    losesDisks: prng.pick([0, 0, 0.05, 0.15]),
    firstEpoch: aloneBefore === 0 && prng.chance(0.1) ? maxEpoch - 5000 : 0,
    aloneBefore,
    quorum,
    quorumKind: kind,
    settings: {
      tickMs: 200,
      initLimit: prng.pick([5, 10, 10]),
      syncLimit: prng.pick([3, 5, 5]),
      finalizeWaitMs: 20,
      windowBytes: prng.pick([150, 400, 1000, 100_000]),
      messageBytes: 200,
      cacheBytes: prng.pick([500, 2000, 10_000, 1_000_000]),
    },
    ...(lagging ? drawLagging(prng) : churning ? drawChurn(prng) : drawCalm(prng)),
    hugeProposals: prng.pick([0, 0, 0.02]),
    checkpointEveryMs: prng.pick([50, 300, 1500, 100_000]),
  }
}

/** Times of a real ensemble's proportions: much work between the faults, many kinds of faults. */
function drawCalm(prng: Prng) {
  return {
    faultEveryMs: prng.pick([60, 150, 300, 600, 1500]),
    faultMs: prng.pick([30, 300, 3000]),
    faultAtChange: prng.pick([0, 0, 0.05, 0.2]),
    proposeEveryMs: prng.pick([3, 10, 30, 100]),
    delayMs: prng.pick([1, 5, 20, 60]),
    syncMs: prng.pick([0.5, 5, 20, 80]),
    epochMs: prng.pick([0.5, 5, 20, 80]),
    keepaliveMs: 400,
    dialMs: 60,
    crashInStep: prng.pick([0, 0.0003, 0.002]),
  }
}

/** Leaders that hardly get to broadcast: faults come as fast as elections, and last about as long. */
function drawChurn(prng: Prng) {
  return {
    faultEveryMs: prng.pick([10, 20, 40]),
    faultMs: prng.pick([20, 60, 200]),
    faultAtChange: prng.pick([0.05, 0.2, 0.4]),
    proposeEveryMs: prng.pick([5, 20, 50]),
    delayMs: prng.pick([0.5, 2, 5]),
    syncMs: prng.pick([0.5, 5, 20, 40]),
    epochMs: prng.pick([0.5, 5, 20]),
    keepaliveMs: prng.pick([15, 40, 400]),
    dialMs: prng.pick([3, 10]),
    crashInStep: prng.pick([0, 0.002, 0.01]),
  }
}

/**
 * Everything is fast but the disks, and of those some by far less than others: what one server has done long ago another
 * has not begun.
 */
function drawLagging(prng: Prng) {
  return {
    faultEveryMs: prng.pick([20, 60]),
    faultMs: prng.pick([60, 200]),
    faultAtChange: prng.pick([0.2, 0.4]),
    proposeEveryMs: prng.pick([2, 5]),
    delayMs: 0.5,
    syncMs: prng.pick([2, 5, 10]),
    epochMs: prng.pick([3, 10]),
    keepaliveMs: 40,
    dialMs: 3,
    crashInStep: prng.pick([0, 0.002]),
  }
}

function drawQuorum(prng: Prng, voters: readonly number[]): { quorum: Quorum; kind: string } {
  if (voters.length >= 3 && prng.chance(0.15)) {
    const groups = voters.length < 6 ? [voters] : [voters.slice(0, 2), voters.slice(2, 4), voters.slice(4)]
    const weights = new Map(voters.map((id) => [id, id === voters.length ? prng.int(0, 1) : prng.int(1, 2)]))
    return { quorum: hierarchical(groups, weights), kind: 'hierarchical' }
  }
  return { quorum: majority(voters), kind: 'majority' }
}

/** What a joiner was told: the voters; and itself; and, as long as those are no quorum, the other joiners. */
function drawList(prng: Prng, voters: readonly number[], id: number, joiners: readonly number[]): number[] {
  const kind = prng.pick(['voters', 'itself', 'all'])
  if (kind === 'voters') return [...voters]
  if (kind === 'itself' || joiners.length >= voters.length) return [...voters, id]
  return [...voters, ...joiners]
}

/** Draws who shall vote next, out of `ids`, given who does and who leads. */
export function drawVoting(prng: Prng, now: Voting, ids: readonly number[], leader: number): Voting {
  const { voters } = now
  const others = ids.filter((id) => !voters.includes(id))
  const kind = prng.pick(['add', 'add', 'remove', 'swap', 'leader', 'any', 'weights'])
  const next = new Set(voters)
  if ((kind === 'add' || kind === 'swap') && others.length > 0) next.add(prng.pick(others))
  if ((kind === 'remove' || kind === 'swap') && next.size > 1) next.delete(prng.pick(voters))
  if (kind === 'leader' && next.size > 1) next.delete(leader)
  if (kind === 'any') {
    next.clear()
    for (const id of prng.shuffle(ids).slice(0, prng.int(1, 5))) next.add(id)
  }
  const chosen = [...next].sort((a, b) => a - b)
  if (kind !== 'weights' || chosen.length < 3) return { voters: chosen, groups: [], weights: [] }
  const weights = chosen.map((id) => [id, prng.int(id === leader ? 0 : 1, 2)] as const)
  return { voters: chosen, groups: [chosen], weights }
}

/** What the configuration file of a server says. */
export function configuredOf(profile: Profile, id: number): Quorum {
  const voters = profile.joinerLists[profile.joiners.indexOf(id)]
  return voters === undefined ? profile.quorum : quorumOf({ voters, groups: [], weights: [] })
}

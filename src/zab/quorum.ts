// Quorums as pure functions of a set of voters. An ensemble of one is no special case: its quorum is {it}.
import type { Voting } from './types.ts'

/** Decides which sets of servers are a quorum; any two quorums share a server. */
export type Quorum = {
  /** It as plain data: one voting, or two of which both must agree. */
  readonly votings: readonly Voting[]
  /** The ids that count, ascending; observers are not among them. */
  readonly voters: readonly number[]
  /** Whether the servers for which `has` is true are a quorum. */
  contains(has: (id: number) => boolean): boolean
  /** The highest value that a quorum has reached, given the value of each of `voters` (-1 if it has none). */
  reached(values: readonly number[]): number
  /** Whether this voter may be elected; a voter of weight 0 may not. */
  mayLead(id: number): boolean
}

/** More than half of the voters. */
export function majority(voters: readonly number[]): Quorum {
  const sorted = [...voters].sort(ascending)
  const needed = Math.floor(sorted.length / 2) + 1
  /** What `reached` sorts in: it is asked for each acknowledgement, several times, and allocates nothing. */
  const sunk = sorted.map(() => -1)
  return {
    votings: [{ voters: sorted, groups: [], weights: [] }],
    voters: sorted,
    contains: (has) => {
      let count = 0
      for (const id of sorted) if (has(id)) count++
      return count >= needed
    },
    reached: (values) => {
      for (let i = 0; i < sorted.length; i++) insertDescending(sunk, i, values[i] as number)
      return sunk[needed - 1] ?? -1
    },
    mayLead: (id) => sorted.includes(id),
  }
}

/**
 * ZooKeeper's group.G and weight.N: a majority of the groups that have any weight, each with more than half of its
 * weight. `weights` gives 1 where it says nothing.
 */
export function hierarchical(
  groups: readonly (readonly number[])[],
  weights: ReadonlyMap<number, number>,
): Quorum {
  const weightOf = (id: number) => weights.get(id) ?? 1
  const weighOf = (ids: readonly number[]) => ids.reduce((sum, id) => sum + weightOf(id), 0)
  const counting = groups.filter((ids) => weighOf(ids) > 0)
  const neededGroups = Math.floor(counting.length / 2) + 1
  const voters = groups.flat().sort(ascending)
  const contains = (has: (id: number) => boolean) =>
    counting.filter((ids) => weighOf(ids.filter(has)) * 2 > weighOf(ids)).length >= neededGroups
  return {
    votings: [{ voters, groups, weights: [...weights] }],
    voters,
    contains,
    reached: (values) => highestReached(voters, contains, values),
    mayLead: (id) => voters.includes(id) && weightOf(id) > 0,
  }
}

/** While a reconfiguration is under way: a quorum of the old and one of the new servers. */
export function joint(old: Quorum, next: Quorum): Quorum {
  const voters = [...new Set([...old.voters, ...next.voters])].sort(ascending)
  const valuesOf = ({ voters: some }: Quorum, values: readonly number[]) =>
    some.map((id) => values[voters.indexOf(id)] as number)
  return {
    votings: [...old.votings, ...next.votings],
    voters,
    contains: (has) => old.contains(has) && next.contains(has),
    reached: (values) => Math.min(old.reached(valuesOf(old, values)), next.reached(valuesOf(next, values))),
    mayLead: (id) => old.mayLead(id) || next.mayLead(id),
  }
}

/** The rules of a voting: hierarchical if it has groups, otherwise a majority of its voters. */
export function quorumOf({ voters, groups, weights }: Voting): Quorum {
  return groups.length === 0 ? majority(voters) : hierarchical(groups, new Map(weights))
}

/** The quorum that `votings` of another came from; undefined for none. */
export function quorumOfAll(votings: readonly Voting[]): Quorum | undefined {
  const [first, second] = votings.map(quorumOf)
  return first !== undefined && second !== undefined ? joint(first, second) : first
}

/** Whether two votings say the same in the same words. */
export function isSameVoting(a: Voting, b: Voting): boolean {
  return a === b || JSON.stringify(plain(a)) === JSON.stringify(plain(b))
}

function plain({ voters, groups, weights }: Voting): unknown {
  return [voters, groups, weights]
}

function highestReached(
  voters: readonly number[],
  contains: (has: (id: number) => boolean) => boolean,
  values: readonly number[],
): number {
  for (const value of values.toSorted(descending))
    if (contains((id) => (values[voters.indexOf(id)] as number) >= value)) return value
  return -1
}

/** Adds a value to the `count` first ones, which are in descending order. */
function insertDescending(values: number[], count: number, value: number): void {
  let at = count
  for (; at > 0 && (values[at - 1] as number) < value; at--) values[at] = values[at - 1] as number
  values[at] = value
}

function ascending(a: number, b: number): number {
  return a - b
}

function descending(a: number, b: number): number {
  return b - a
}

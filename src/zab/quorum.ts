// Quorums as pure functions of a set of voters. An ensemble of one is no special case: its quorum is {it}.

/** Decides which sets of servers are a quorum; any two quorums share a server. */
export type Quorum = {
  /** The ids that count; observers are not among them. */
  readonly voters: readonly number[]
  /** Whether the servers for which `has` is true are a quorum. */
  contains(has: (id: number) => boolean): boolean
  /** The highest value that a quorum has reached, given each voter's value (-1 if it has none). */
  reached(progressOf: (id: number) => number): number
}

/** More than half of the voters. */
export function majority(voters: readonly number[]): Quorum {
  const needed = Math.floor(voters.length / 2) + 1
  return {
    voters,
    contains: (has) => voters.filter(has).length >= needed,
    reached: (progressOf) => {
      if (voters.length === 1) return progressOf(voters[0] as number)
      const values = voters.map(progressOf).sort((a, b) => b - a)
      return values[needed - 1] ?? -1
    },
  }
}

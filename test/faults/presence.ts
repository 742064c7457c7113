// What must hold for ephemeral znodes: there while their session lives, gone once it is closed. Judged from listings behind a
// `sync` and from what the sessions were told; it never talks to servers.

export type Presence = {
  readonly name: string
  /** When the reply to the create came. */
  readonly createdMs: number
  /** Until then the session was certainly open: when its last request confirmed by a quorum was sent. */
  aliveUntilMs: number
  /** When the reply to closeSession came; Infinity if never. */
  closedMs: number
}

export type Listing = {
  readonly startMs: number
  readonly endMs: number
  readonly names: ReadonlySet<string>
}

/** Every listing that misses a znode whose session lived, or shows one whose session was closed. */
export function checkPresence(presences: readonly Presence[], listings: readonly Listing[]): string[] {
  const problems: string[] = []
  for (const { name, createdMs, aliveUntilMs, closedMs } of presences) {
    for (const { startMs, endMs, names } of listings) {
      const at = `in the listing of ${startMs.toFixed(1)} to ${endMs.toFixed(1)} ms`
      if (names.has(name) && startMs > closedMs) {
        problems.push(`ephemeral ${name}, closed at ${closedMs.toFixed(1)}, is still ${at}`)
      }
      if (!names.has(name) && startMs > createdMs && endMs < aliveUntilMs) {
        const life = `${createdMs.toFixed(1)} to ${aliveUntilMs.toFixed(1)}`
        problems.push(`ephemeral ${name} of a session open from ${life} is not ${at}`)
      }
    }
  }
  return problems
}

/** The session of an ephemeral that stops talking, by the words of the servers that answered it. */
export type Expected = {
  readonly name: string
  /** When the reply to the create came. */
  readonly createdMs: number
  /** When the last request that was answered had been sent. */
  readonly lastHeardMs: number
  readonly timeoutMs: number
}

/**
 * Every listing that misses an ephemeral before its silent session can have expired. `toleranceMs`: how much earlier than its
 * timeout a session may end because its last sign of life had not reached the leader.
 */
export function checkNotBefore(
  expected: readonly Expected[],
  listings: readonly Listing[],
  toleranceMs: number,
): string[] {
  const problems: string[] = []
  for (const { name, createdMs, lastHeardMs, timeoutMs } of expected) {
    for (const { startMs, endMs, names } of listings) {
      if (names.has(name) || startMs < createdMs) continue
      const early = lastHeardMs + timeoutMs - toleranceMs - endMs
      if (early > 0) problems.push(`ephemeral ${name} expired at least ${early.toFixed(0)} ms too early`)
    }
  }
  return problems
}

// Finds the server whose state has come to differ from the ensemble's: learners report the digest of their tree after
// certain transactions, the leader holds them against its own. A majority is right; without one, when all that follow
// have reported, the leader. Pure.
import type { Quorum } from '../zab/quorum.ts'
import type { Digest } from './replica.ts'

/** Zxids whose digests are remembered. */
const kept = 64

type Round = { own: string | undefined; readonly reports: Map<number, string> }

/** Who is wrong: other servers, or this server itself. */
export type Verdict = {
  readonly zxid: number
  /** To be told to throw their state away. */
  readonly diverged: readonly number[]
  /** Not to be told now: without them there is no quorum, and so no leader who could give them another state. Named once. */
  readonly needed: readonly number[]
  readonly self: boolean
}

/** See file header. One per leadership. */
export class DigestVote {
  readonly #id: number
  readonly #quorum: () => Quorum
  readonly #follows: (id: number) => boolean
  readonly #rounds = new Map<number, Round>()
  /** Told, and not back with another state. */
  readonly #judged = new Set<number>()
  readonly #needed = new Set<number>()

  /** `follows`: whether a report can be expected of a server. */
  constructor(id: number, quorum: () => Quorum, follows: (id: number) => boolean) {
    this.#id = id
    this.#quorum = quorum
    this.#follows = follows
  }

  /** The leader's own digest. */
  own(digest: Digest): Verdict | undefined {
    const round = this.#round(digest.zxid)
    round.own = textOf(digest)
    return this.#judge(digest.zxid, round)
  }

  /** A learner's digest. */
  report(server: number, digest: Digest): Verdict | undefined {
    const round = this.#round(digest.zxid)
    round.reports.set(server, textOf(digest))
    return this.#judge(digest.zxid, round)
  }

  /** The server has a new state, or none. */
  forget(server: number): void {
    this.#judged.delete(server)
    this.#needed.delete(server)
    for (const round of this.#rounds.values()) round.reports.delete(server)
  }

  #round(zxid: number): Round {
    let round = this.#rounds.get(zxid)
    if (round === undefined) {
      round = { own: undefined, reports: new Map() }
      this.#rounds.set(zxid, round)
      for (const old of this.#rounds.keys()) {
        if (this.#rounds.size <= kept) break
        this.#rounds.delete(old)
      }
    }
    return round
  }

  #judge(zxid: number, { own, reports }: Round): Verdict | undefined {
    if (own === undefined) return undefined
    const differing = [...reports].filter(([id, text]) => text !== own && !this.#judged.has(id))
    if (differing.length === 0) return undefined
    const quorum = this.#quorum()
    const textOfServer = (id: number) => (id === this.#id ? own : reports.get(id))
    const wins = (text: string) => quorum.contains((id) => textOfServer(id) === text)
    const other = differing.find(([, text]) => wins(text))
    if (other !== undefined) return { zxid, diverged: [], needed: [], self: true }
    const missing = quorum.voters.some((id) => textOfServer(id) === undefined && this.#follows(id))
    if (!wins(own) && missing) return undefined
    const diverged: number[] = []
    const needed: number[] = []
    for (const [id] of differing) {
      if (this.#canSpare(id, quorum)) {
        this.#judged.add(id)
        diverged.push(id)
      } else if (!this.#needed.has(id)) {
        this.#needed.add(id)
        needed.push(id)
      }
    }
    return diverged.length + needed.length === 0 ? undefined : { zxid, diverged, needed, self: false }
  }

  /** Whether the rest of those that follow are a quorum. */
  #canSpare(server: number, quorum: Quorum): boolean {
    return quorum.contains(
      (id) => id === this.#id || (id !== server && this.#follows(id) && !this.#judged.has(id)),
    )
  }
}

function textOf({ high, low }: Digest): string {
  return `${high}.${low}`
}

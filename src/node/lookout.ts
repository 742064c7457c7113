// Tells operators what no other line of the log would: that nobody leads and who is missing for a quorum, and that this
// process stood still. Looks at the consensus core from time to time and decides nothing.
import type { Logger } from '../base/log.ts'
import type { Core } from '../zab/core.ts'

/** Elections take a fraction of a second; after this time something is wrong, or somebody still starts the others. */
const patienceMs = 5000
/** Said again after this time. */
const repeatMs = 60_000

/** What it looks at. */
export type Seen = Pick<Core, 'id' | 'quorum'> & {
  readonly role: { readonly type: Core['role']['type']; readonly phase?: string }
  readonly peers: readonly {
    readonly id: number
    readonly status?: { readonly state: string; readonly leader: number | undefined } | undefined
  }[]
}

export type LookoutOptions = {
  readonly logger: Logger
  /** How long the process may stand still without a word, ms. */
  readonly tickMs: number
}

/** See file header. */
export class Lookout {
  readonly #options: LookoutOptions
  #lookedAt: number | undefined
  #leaderlessSince: number | undefined
  #sayAt = 0

  constructor(options: LookoutOptions) {
    this.#options = options
  }

  /**
   * To be called several times a tick. `now`: monotonic ms; `core`: undefined while the disk is out of order, which has
   * lines of its own.
   */
  look(now: number, core: Seen | undefined): void {
    const before = this.#lookedAt ?? now
    this.#lookedAt = now
    if (now - before > this.#options.tickMs) this.#stoodStill(now - before)
    const led = core === undefined || core.role.phase === 'broadcast'
    if (led) {
      this.#leaderlessSince = undefined
      return
    }
    if (this.#leaderlessSince === undefined) {
      this.#leaderlessSince = now
      this.#sayAt = now + Math.max(patienceMs, 2 * this.#options.tickMs)
    }
    if (now < this.#sayAt) return
    this.#sayAt = now + repeatMs
    this.#leaderless(now - this.#leaderlessSince, core)
  }

  #stoodStill(ms: number): void {
    const text = `this process stood still for ${seconds(ms)}: it was suspended, or its machine is overloaded`
    this.#options.logger.warn({ ms: Math.round(ms) }, text)
  }

  #leaderless(ms: number, seen: Seen): void {
    const { voters } = seen.quorum
    const missing = voters.filter((voter) => !isConnected(seen, voter))
    const fields = { ms: Math.round(ms), voters, missing }
    this.#options.logger.warn(fields, `no leader for ${seconds(ms)}: ${situation(seen, missing)}`)
  }
}

function isConnected({ id, peers }: Seen, server: number): boolean {
  return server === id || peers.some((peer) => peer.id === server)
}

/** What an operator can do something about. */
function situation(seen: Seen, missing: readonly number[]): string {
  const { quorum, peers, role } = seen
  for (const { id, status } of peers) {
    const leader = status?.state === 'following' ? status.leader : undefined
    if (leader !== undefined && !isConnected(seen, leader))
      return `server ${id} follows server ${leader}, to which this server has no connection; is it in the list of servers here?`
  }
  if (quorum.contains((voter) => isConnected(seen, voter))) {
    const who = missing.length === 0 ? 'all voters are' : `all voters but ${missing.join(', ')} are`
    return `${who} connected, which would be enough; this server is ${role.type}`
  }
  const verb = missing.length === 1 ? 'is' : 'are'
  return `no quorum of the voters ${quorum.voters.join(', ')} is connected: ${missing.join(', ')} ${verb} missing`
}

function seconds(ms: number): string {
  return `${Math.round(ms / 1000)} s`
}

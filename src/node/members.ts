// The ensemble's configuration as this server knows it: the configured one, until reconfigurations have taken over; then
// what /zookeeper/config says. Reads the tree and proposes nothing.
import { Code } from '../base/errors.ts'
import { Op, Perm } from '../base/opcodes.ts'
import type { Config } from '../config/types.ts'
import { Reader } from '../jute/reader.ts'
import type { Member } from '../peers/types.ts'
import type { LogStore } from '../storage/types.ts'
import { check, type Id } from '../tree/acl.ts'
import { Batch } from '../tree/batch.ts'
import { NONE } from '../tree/store.ts'
import type { Tree } from '../tree/tree.ts'
import { majority, type Quorum, quorumOf } from '../zab/quorum.ts'
import type { Voting } from '../zab/types.ts'
import {
  formatMembership,
  type Membership,
  membershipOf,
  parseMembership,
  reconfigure,
  votingOf,
} from './membership.ts'

const configPath = '/zookeeper/config'

/** What a client's reconfiguration comes to. */
export type JudgedReconfig =
  | {
      readonly code: typeof Code.ok
      /** New content of /zookeeper/config. */
      readonly text: string
      readonly voting: Voting
    }
  | Refused

/** Why it is not done. */
export type Refused = { readonly code: Exclude<Code, typeof Code.ok>; readonly reason: string }

/** See file header. */
export class Members {
  /** In force while the history says nothing else. */
  readonly configuredQuorum: Quorum
  readonly #config: Config
  readonly #tree: Tree
  readonly #configured: Membership
  #current: Membership
  #text: string

  constructor(config: Config, tree: Tree) {
    this.#config = config
    this.#tree = tree
    this.#configured = membershipOf(config)
    this.configuredQuorum = config.standalone
      ? majority([config.id])
      : quorumOf(configuredVoting(config, this.#configured))
    this.#current = this.#configured
    this.#text = formatMembership(this.#current)
    this.refresh()
  }

  get current(): Membership {
    return this.#current
  }

  /** As /zookeeper/config has it, or will have it. */
  get text(): string {
    return this.#text
  }

  /** Whom to be connected to. */
  get list(): Member[] {
    return this.#current.servers.map(({ id, host, peerPort }) => ({ id, host, port: peerPort }))
  }

  /** What the leader must write to /zookeeper/config, as transaction `zxid`; undefined if it is as it should be. */
  unwritten(zxid: number): string | undefined {
    if (this.#config.standalone) return undefined
    const stored = configText(this.#tree)
    if (this.#config.reconfigEnabled)
      return stored === '' ? formatMembership({ ...this.#configured, version: zxid }) : undefined
    const configured = formatMembership(this.#configured)
    return stored === configured ? undefined : configured
  }

  /** Looks at the tree again; true if the configuration is another one than before. */
  refresh(): boolean {
    const text = configText(this.#tree)
    if (!this.#config.reconfigEnabled || text === '' || text === this.#text) return false
    const membership = parseMembership(text)
    if (typeof membership === 'string') return false
    this.#current = membership
    this.#text = text
    return true
  }

  /** What the body of a client's reconfig, proposed as `zxid`, makes of the configuration. */
  judge(body: Buffer, zxid: number): JudgedReconfig {
    const r = new Reader().reset(body, 0, body.length)
    const request = {
      joining: r.string() ?? undefined,
      leaving: r.string() ?? undefined,
      newMembers: r.string() ?? undefined,
      configId: r.long(),
    }
    const { standaloneEnabled } = this.#config
    const result = reconfigure(this.#current, request, { standaloneEnabled, zxid })
    if (result.type === 'refused') return refused(result.code as Refused['code'], result.reason)
    return { code: Code.ok, text: formatMembership(result.membership), voting: votingOf(result.membership) }
  }

  /** Whether a client with these identities may change the configuration. */
  mayWrite(ids: readonly Id[]): boolean {
    const { acls, store } = this.#tree
    const node = store.findPath(configPath)
    return node !== NONE && check(acls, store.acl(node), Perm.write, ids)
  }
}

/**
 * Who joins does not vote by its own list, which may be short: several such servers could elect each other. It follows until
 * its history says who votes.
 */
function configuredVoting({ id, join }: Config, configured: Membership): Voting {
  const voting = votingOf(configured)
  if (!join) return voting
  const others = (ids: readonly number[]) => ids.filter((one) => one !== id)
  return {
    voters: others(voting.voters),
    groups: voting.groups.map(others).filter((ids) => ids.length > 0),
    weights: voting.weights.filter(([one]) => one !== id),
  }
}

export function refused(code: Refused['code'], reason: string): Refused {
  return { code, reason }
}

/**
 * Whether what is on this server's disk is that of an ensemble of one: only the leader of several writes to
 * /zookeeper/config, and does so first. Such a server has everything that was ever committed.
 */
export async function wasAlone(tree: Tree, log: LogStore): Promise<boolean> {
  if (log.lastZxid === 0 || configText(tree) !== '') return false
  for await (const { bytes } of log.read(tree.zxid)) {
    if (Batch.decode(bytes).includes(Op.reconfig)) return false
  }
  return true
}

function configText(tree: Tree): string {
  const node = tree.store.findPath(configPath)
  return node === NONE ? '' : (tree.data(node)?.toString() ?? '')
}

// Who the ensemble consists of: the text of /zookeeper/config and back, who votes, and what a client's reconfiguration
// makes of it. Pure: it neither knows who is connected nor writes a file (config/dynamic-file.ts does).
import { Code } from '../base/errors.ts'
import {
  formatServer,
  memberKey,
  parseServer,
  parseServerId,
  parseVersion,
  sharedIdByte,
} from '../config/members.ts'
import { parseProperties } from '../config/properties.ts'
import type { Config, ServerSpec } from '../config/types.ts'
import type { Voting } from '../zab/types.ts'

/** The ensemble's configuration. */
export type Membership = {
  /** zxid of the reconfiguration that it is from; that of the configuration file, or 0, before the first. */
  readonly version: number
  /** By id, ascending. */
  readonly servers: readonly ServerSpec[]
  /** Ids of voters, ascending, by the number of their group, ascending. Empty: a majority of the voters decides. */
  readonly groups: ReadonlyMap<number, readonly number[]>
  /** By id, ascending, of those voters whose weight is not 1. Empty without groups. */
  readonly weights: ReadonlyMap<number, number>
}

/** What a client asks for (wire.md, op 16); undefined: the field was null. */
export type ReconfigRequest = {
  /** `server.5=host:2888:3888;2181` and so on, commas between: added, or put in the place of their present lines. */
  readonly joining: string | undefined
  /** Ids, commas between. */
  readonly leaving: string | undefined
  /** All lines, commas or line ends between; given at all, the two above do not count, as in ZooKeeper. */
  readonly newMembers: string | undefined
  /** The version that is to be replaced; -1: any. */
  readonly configId: number
}

export type ReconfigResult =
  | { readonly type: 'next'; readonly membership: Membership }
  | { readonly type: 'refused'; readonly code: Code; readonly reason: string }

/** The configured membership of an ensemble. */
export function membershipOf(
  config: Pick<Config, 'servers' | 'groups' | 'weights' | 'configVersion'>,
): Membership {
  return ordered(config.configVersion, config.servers, config.groups, config.weights)
}

/**
 * The lines of the members, groups and weights, in this order. Lines of weights are there for all voters or none, as
 * ZooKeeper writes them.
 */
export function memberLines({ servers, groups, weights }: Membership): string[] {
  const lines = servers.map((server) => `server.${server.id}=${formatServer(server)}`)
  if (groups.size === 0) return lines
  for (const [group, ids] of groups) lines.push(`group.${group}=${ids.join(':')}`)
  for (const { id } of votersOf(servers)) lines.push(`weight.${id}=${weights.get(id) ?? 1}`)
  return lines
}

/** The text of /zookeeper/config (semantics.md 67). */
export function formatMembership(membership: Membership): string {
  return [...memberLines(membership), `version=${membership.version.toString(16)}`].join('\n')
}

/** Reads the text of /zookeeper/config; a phrase that says what is wrong with it if it is none. */
export function parseMembership(text: string): Membership | string {
  const { properties, malformed } = parseProperties(text)
  const [bad] = malformed
  if (bad !== undefined) return `${quote(bad.text)} has a malformed escape`
  const servers = new Map<number, ServerSpec>()
  const groups = new Map<number, readonly number[]>()
  const weights = new Map<number, number>()
  let version = 0
  // As in java.util.Properties, the last line of a key counts.
  for (const [key, value] of new Map(properties.map(({ key, value }) => [key, value]))) {
    const [, kind = '', number = ''] = memberKey.exec(key) ?? []
    const id = parseServerId(number)
    if (key === 'version') {
      const given = parseVersion(value)
      if (given === undefined) return `${quote(value)} is not a version`
      version = given
    } else if (id === undefined) {
      return `${quote(key)} is not server.N, group.N, weight.N or version`
    } else if (kind === 'server') {
      const server = parseServer(id, value)
      if (typeof server === 'string') return `${key}: ${server}`
      if (servers.has(id)) return `server ${id} has two lines`
      servers.set(id, server)
    } else if (kind === 'group') {
      const ids = value.split(':').map((part) => parseServerId(part.trim()))
      if (!ids.every((member) => member !== undefined) || groups.has(id))
        return `${key}=${value} is not a group`
      groups.set(id, ids)
    } else {
      if (!/^\d{1,9}$/.test(value) || weights.has(id)) return `${key}=${value} is not a weight`
      weights.set(id, Number(value))
    }
  }
  const list = [...servers.values()]
  return groupProblem(list, groups, weights) ?? ordered(version, list, groups, weights)
}

/** Who votes, for the consensus core. */
export function votingOf({ servers, groups, weights }: Membership): Voting {
  return {
    voters: votersOf(servers).map((server) => server.id),
    groups: [...groups.values()],
    weights: [...weights],
  }
}

/**
 * What a request makes of the present membership, by ZooKeeper's rules (semantics.md 69 and 70; -103 and -8 of them).
 * Whether reconfiguration is on, another is under way, a quorum of the new members is there, and the client may do it, is
 * for the caller. `zxid` is that of the reconfiguration.
 */
export function reconfigure(
  current: Membership,
  request: ReconfigRequest,
  { standaloneEnabled, zxid }: { readonly standaloneEnabled: boolean; readonly zxid: number },
): ReconfigResult {
  if (request.configId !== -1 && request.configId !== current.version) {
    const versions = `${request.configId.toString(16)}, but it is ${current.version.toString(16)}`
    return refused(Code.badVersion, `the version to be replaced is ${versions}`)
  }
  const next =
    request.newMembers === undefined
      ? changed(current, request)
      : parseMembership(request.newMembers.replaceAll(',', '\n'))
  if (typeof next === 'string') return refused(Code.badArguments, next)
  const shared = sharedIdByte(next.servers.map(({ id }) => id))
  if (shared !== undefined)
    return refused(Code.badArguments, `the ids ${shared.join(' and ')} have the same low byte`)
  // With fewer a restart would take the configuration for a standalone server's.
  const least = standaloneEnabled ? 2 : 1
  if (votersOf(next.servers).length < least)
    return refused(Code.badArguments, `there must be at least ${least} participants`)
  return { type: 'next', membership: { ...next, version: zxid } }
}

/** An incremental change. */
function changed(current: Membership, request: ReconfigRequest): Membership | string {
  if (current.groups.size > 0) return 'with groups only all members can be given (newMembers)'
  const servers = new Map(current.servers.map((server) => [server.id, server]))
  for (const leaving of listOf(request.leaving)) {
    if (!/^[+-]?\d{1,18}$/.test(leaving)) return `${quote(leaving)} is not the id of a server`
    servers.delete(Number(leaving))
  }
  for (const joining of listOf(request.joining)) {
    const server = joiner(joining)
    if (typeof server === 'string') return server
    for (const other of servers.values()) {
      const shared = other.id === server.id ? undefined : sharedAddress(server, other)
      if (shared !== undefined) return `servers ${server.id} and ${other.id} have the same address ${shared}`
    }
    servers.set(server.id, server)
  }
  return ordered(current.version, [...servers.values()], new Map(), new Map())
}

function joiner(text: string): ServerSpec | string {
  const [key, value, ...rest] = text
    .split('=')
    .map((part) => part.trim())
    .filter((part) => part !== '')
  if (key === undefined || value === undefined || rest.length > 0) return `${quote(text)} is not server.N=...`
  const id = parseServerId(key.slice(key.lastIndexOf('.') + 1))
  if (id === undefined) return `${quote(key)} is not server.N`
  const server = parseServer(id, value)
  if (typeof server === 'string') return `${key}: ${server}`
  return server.clientPort === undefined ? `${key}: there is no client port` : server
}

/** An address that both use; those that mean another machine on each machine do not count. */
function sharedAddress(a: ServerSpec, b: ServerSpec): string | undefined {
  const taken = addressesOf(b)
  return addressesOf(a).find((address) => taken.includes(address))
}

function addressesOf({ host, peerPort, electionPort, clientHost, clientPort }: ServerSpec): string[] {
  const addresses: string[] = []
  const add = (name: string, port: number) => {
    if (port !== 0 && !isSpecial(name)) addresses.push(`${name.toLowerCase()} port ${port}`)
  }
  add(host, peerPort)
  add(host, electionPort)
  if (clientPort !== undefined) add(clientHost ?? host, clientPort)
  return addresses
}

/** Loopback and any address. */
function isSpecial(host: string): boolean {
  return /^(localhost|127(\.\d+){3}|0\.0\.0\.0|[0:]*:[01]?)$/i.test(host)
}

/** With groups or weights every voter must be in exactly one group, and something must have weight. */
function groupProblem(
  servers: readonly ServerSpec[],
  groups: ReadonlyMap<number, readonly number[]>,
  weights: ReadonlyMap<number, number>,
): string | undefined {
  if (groups.size === 0 && weights.size === 0) return undefined
  const voters = new Set(votersOf(servers).map((server) => server.id))
  const grouped = new Set<number>()
  for (const id of [...groups.values()].flat()) {
    if (!voters.has(id)) return `server ${id} is in a group, but no participant`
    if (grouped.has(id)) return `server ${id} is in two groups`
    grouped.add(id)
  }
  for (const id of voters) if (!grouped.has(id)) return `server ${id} is in no group`
  const weight = [...voters].reduce((sum, id) => sum + (weights.get(id) ?? 1), 0)
  return voters.size > 0 && weight === 0 ? 'all weights are 0' : undefined
}

/** The one form of a membership: everything ascending, nothing that says what holds anyway. */
function ordered(
  version: number,
  servers: readonly ServerSpec[],
  groups: ReadonlyMap<number, readonly number[]>,
  weights: ReadonlyMap<number, number>,
): Membership {
  const sorted = [...servers].sort((a, b) => a.id - b.id)
  const counting =
    groups.size === 0 ? [] : votersOf(sorted).map(({ id }) => [id, weights.get(id) ?? 1] as const)
  return {
    version,
    servers: sorted,
    groups: new Map(
      [...groups].sort(([a], [b]) => a - b).map(([group, ids]) => [group, [...ids].sort((a, b) => a - b)]),
    ),
    weights: new Map(counting.filter(([, weight]) => weight !== 1)),
  }
}

function votersOf(servers: readonly ServerSpec[]): readonly ServerSpec[] {
  return servers.filter((server) => !server.observer)
}

function listOf(text: string | undefined): string[] {
  return (text ?? '')
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
}

function refused(code: Code, reason: string): ReconfigResult {
  return { type: 'refused', code, reason }
}

function quote(text: string): string {
  return JSON.stringify(text)
}

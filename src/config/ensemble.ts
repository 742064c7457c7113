// Who is in the ensemble, and which of them is this server: the server.N, group.N and weight.N lines of the file, of
// the dynamic file or of flags, and the file myid. It decides what standalone means; it talks to nobody.
import {
  maxServerId,
  memberKey,
  parseServer,
  parseServerId,
  parseVersion,
  serverForm,
  sharedIdByte,
} from './members.ts'
import { type Entry, oneOfText, type Problems } from './settings.ts'
import { type Loading, readEntries, readText } from './source.ts'
import type { ServerSpec } from './types.ts'

/** The members as configured, and this server among them. */
export type Ensemble = {
  readonly id: number
  readonly own: ServerSpec | undefined
  /** By id, ascending. */
  readonly servers: readonly ServerSpec[]
  readonly groups: ReadonlyMap<number, readonly number[]>
  readonly weights: ReadonlyMap<number, number>
  readonly standalone: boolean
  readonly standaloneEnabled: boolean
  readonly join: boolean
  readonly dynamicConfigFile: string | undefined
  readonly version: number
}

/** Who is in the ensemble and who of them is this server (rules 77 to 80). */
export function readEnsemble(loading: Loading, dataDir: string): Ensemble {
  const { flags, settings, problems, warnings } = loading
  const standaloneEnabled = settings.flag('standaloneEnabled', true)
  const dynamicConfigFile = settings.text('dynamicConfigFile', 'the path of a file')
  const { entries, version } = memberEntries(loading, dynamicConfigFile)
  const before = problems.list.length
  const servers = readServers(entries, problems)
  const groups = readGroups(entries, problems)
  const weights = readWeights(entries, problems)
  const readable = problems.list.length === before

  const join = flags.join === true
  const voters = servers.filter((server) => !server.observer)
  const place = flags.file ?? '--server'
  if (!readable) {
    // A count of the lines that could be read would mislead.
  } else if (servers.length > 0 && voters.length === 0) {
    problems.add(place, 'all servers are observers: expected at least two participants beside an observer')
  } else if (join && servers.length < 2) {
    problems.add(
      '--join',
      'needs an ensemble to join: expected its servers beside this one (--server, server.N)',
    )
  } else if (voters.length === 1 && standaloneEnabled && servers.length > 1 && !join) {
    problems.add(
      place,
      'there are observers, but only one participant: expected at least two, or standaloneEnabled=false',
    )
  } else if (servers.length === 0 && !standaloneEnabled) {
    problems.add(place, 'standaloneEnabled=false needs at least one server.N line that is a participant')
  }
  const standalone = !join && (servers.length === 0 || (voters.length === 1 && standaloneEnabled))
  const id = readId(loading, dataDir)
  if (!standalone && readable) {
    checkId(loading, dataDir, id, servers)
    checkGroups(entries, groups, weights, servers, problems)
    // Who joins lists whom it can reach, and not who the members will be.
    if (!join && voters.length === 2) {
      warnings.push('two participants: neither may fail; an ensemble of three would stand the loss of one')
    } else if (!join && voters.length % 2 === 0) {
      warnings.push(
        `${voters.length} participants stand no more failures than ${voters.length - 1}: an odd number is better`,
      )
    }
  }
  // One lone server needs no myid to know which line is its own.
  const own = servers.find((server) => server.id === id) ?? (servers.length === 1 ? servers[0] : undefined)
  return {
    id: id ?? 1,
    own,
    servers,
    groups,
    weights,
    standalone,
    standaloneEnabled,
    join,
    dynamicConfigFile,
    version,
  }
}

/** The server, group and weight entries that count, by key: of the flags, of the dynamic file, or of the file. */
function memberEntries(loading: Loading, dynamicConfigFile: string | undefined) {
  const { flags, settings, problems } = loading
  const entries = new Map<string, Entry>()
  for (const key of settings.entries.keys()) {
    if (memberKey.test(key)) entries.set(key, settings.entry(key)!)
  }
  let version = readVersion(settings.entry('version'), problems)
  if (dynamicConfigFile !== undefined) {
    for (const entry of entries.values()) {
      problems.add(
        entry.where,
        `${entry.key} stands beside dynamicConfigFile: expected it in ${dynamicConfigFile} only`,
      )
    }
    entries.clear()
    const dynamic = readDynamicFile(loading, dynamicConfigFile)
    for (const entry of dynamic) entries.set(entry.key, entry)
    version = versionOfFile(dynamicConfigFile) ?? readVersion(entries.get('version'), problems)
  }
  if (flags.servers !== undefined && flags.servers.length > 0) {
    for (const key of [...entries.keys()]) if (key.startsWith('server.')) entries.delete(key)
    for (const text of flags.servers) addServerFlag(entries, text, problems)
  }
  return { entries, version }
}

function addServerFlag(entries: Map<string, Entry>, text: string, problems: Problems): void {
  const equals = text.indexOf('=')
  if (equals < 0) {
    problems.add('--server', `${text} is not valid: expected ID=${serverForm}, for example 1=host1:2888`)
    return
  }
  const key = `server.${text.slice(0, equals).trim()}`
  if (entries.has(key)) problems.add('--server', `${text} is not valid: expected each id once`)
  entries.set(key, { key, value: text.slice(equals + 1).trim(), where: '--server' })
}

/** Rule 80: nothing but members may stand in the dynamic file. */
function readDynamicFile({ env, problems, warnings }: Loading, path: string): Entry[] {
  const text = readText(path, env, problems)
  if (text === undefined) return []
  return readEntries(path, text, problems, warnings).filter((entry) => {
    const allowed = memberKey.test(entry.key) || entry.key === 'version'
    if (!allowed) {
      problems.add(
        entry.where,
        `${entry.key} is not allowed in the dynamic file: expected only server.N, group.N, weight.N and version`,
      )
    }
    return allowed
  })
}

/** `zoo.cfg.dynamic.100000000` is of version 0x100000000. */
function versionOfFile(path: string): number | undefined {
  const suffix = /\.([0-9a-fA-F]+)$/.exec(path)?.[1]
  return suffix === undefined ? undefined : parseVersion(suffix)
}

function readVersion(entry: Entry | undefined, problems: Problems): number {
  if (entry === undefined) return 0
  const version = parseVersion(entry.value)
  if (version === undefined) problems.invalid(entry, 'a hexadecimal number')
  return version ?? 0
}

function readServers(entries: ReadonlyMap<string, Entry>, problems: Problems): ServerSpec[] {
  const servers: ServerSpec[] = []
  for (const [id, entry] of numbered(entries, 'server', problems)) {
    const server = parseServer(id, entry.value)
    if (typeof server === 'string') problems.invalid(entry, `${serverForm}, but ${server}`)
    else if (servers.some((other) => other.id === id)) problems.invalid(entry, `one line for server ${id}`)
    else if (sharedIdByte([...servers.map((other) => other.id), id]) !== undefined)
      problems.invalid(entry, 'ids that differ in their low byte, from which session ids are made')
    else servers.push(server)
  }
  return servers.sort((a, b) => a.id - b.id)
}

function readGroups(entries: ReadonlyMap<string, Entry>, problems: Problems): Map<number, readonly number[]> {
  const groups = new Map<number, readonly number[]>()
  for (const [group, entry] of numbered(entries, 'group', problems)) {
    const ids = entry.value.split(':').map((text) => parseServerId(text.trim()))
    const valid = ids.filter((id) => id !== undefined)
    if (valid.length < ids.length)
      problems.invalid(entry, 'server ids with colons between, for example 1:2:3')
    else groups.set(group, valid)
  }
  return groups
}

function readWeights(entries: ReadonlyMap<string, Entry>, problems: Problems): Map<number, number> {
  const weights = new Map<number, number>()
  for (const [id, entry] of numbered(entries, 'weight', problems)) {
    if (/^\d{1,9}$/.test(entry.value)) weights.set(id, Number(entry.value))
    else problems.invalid(entry, 'a whole number, at least 0')
  }
  return weights
}

/** The entries `kind.N` with their numbers. */
function numbered(entries: ReadonlyMap<string, Entry>, kind: string, problems: Problems): [number, Entry][] {
  const found: [number, Entry][] = []
  for (const [key, entry] of entries) {
    const match = memberKey.exec(key)
    if (match?.[1] !== kind) continue
    const id = parseServerId(match[2] ?? '')
    if (id === undefined) problems.invalid(entry, `${kind}.N with a number N, 0 to ${maxServerId}`)
    else found.push([id, entry])
  }
  return found
}

/** This server's id, from --id or the file myid. */
function readId({ flags, env, problems }: Loading, dataDir: string): number | undefined {
  const expected = `expected a server id, 0 to ${maxServerId}`
  const given = flags.id === undefined ? undefined : parseServerId(flags.id)
  if (flags.id !== undefined && given === undefined)
    problems.add('--id', `${flags.id} is not valid: ${expected}`)
  const path = myIdFile(dataDir)
  if (!env.exists(path)) return given
  const text = readText(path, env, problems)
  if (text === undefined) return given
  const line = (text.split('\n')[0] ?? '').trim()
  const stored = parseServerId(line)
  if (stored === undefined) problems.add(`${path}:1`, `${JSON.stringify(line)} is not valid: ${expected}`)
  else if (given !== undefined && given !== stored) {
    // Two servers on one data directory's history would vote twice.
    problems.add('--id', `${given} is not valid: the data belongs to server ${stored}, as ${path} says`)
  }
  return given ?? stored
}

function checkId(
  { flags, problems }: Loading,
  dataDir: string,
  id: number | undefined,
  servers: readonly ServerSpec[],
): void {
  const ids = oneOfText(servers.map((server) => String(server.id)))
  const path = myIdFile(dataDir)
  if (id === undefined) {
    if (problems.list.some(({ where }) => where.startsWith(path) || where === '--id')) return
    problems.add(
      path,
      `is missing: expected a file with the id of this server (${ids}) in it, or the flag --id`,
    )
  } else if (!servers.some((server) => server.id === id)) {
    const where = flags.id === undefined ? path : '--id'
    problems.add(where, `${id} is not one of the servers: expected ${ids}`)
  }
}

function myIdFile(dataDir: string): string {
  return `${dataDir.replace(/\/+$/, '')}/myid`
}

/** With groups or weights every voter must be in exactly one group, as in ZooKeeper. */
function checkGroups(
  entries: ReadonlyMap<string, Entry>,
  groups: ReadonlyMap<number, readonly number[]>,
  weights: ReadonlyMap<number, number>,
  servers: readonly ServerSpec[],
  problems: Problems,
): void {
  if (groups.size === 0 && weights.size === 0) return
  const voters = new Set(servers.filter((server) => !server.observer).map((server) => server.id))
  const groupOf = new Map<number, number>()
  let weight = 0
  for (const [group, ids] of groups) {
    const entry = entries.get(`group.${group}`)!
    for (const id of ids) {
      if (!voters.has(id)) problems.invalid(entry, `participants only, and ${id} is none`)
      else if (groupOf.has(id)) problems.invalid(entry, `each server in one group, and ${id} is in two`)
      groupOf.set(id, group)
      weight += weights.get(id) ?? 1
    }
  }
  for (const id of voters) {
    if (groupOf.has(id)) continue
    const entry = entries.get(`server.${id}`)!
    problems.add(
      entry.where,
      `server.${id} is in no group: with group.N or weight.N lines every participant must be in one`,
    )
  }
  if (weight === 0 && groups.size > 0) {
    const where = [...groups.keys()].map((group) => entries.get(`group.${group}`)!.where)[0]!
    problems.add(where, 'all weights are 0: no quorum could ever be')
  }
}

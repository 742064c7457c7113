// The text form of an ensemble's members: `host:peerPort:electionPort:role;clientHost:clientPort`, read and written.
// Used for zoo.cfg, the dynamic file, flags and reconfig alike. It resolves no names and opens no file.
import { isIPv6 } from 'node:net'
import type { ServerSpec } from './types.ts'

/** The highest server id. ZooKeeper's may be larger still, but nobody numbers servers so. */
export const maxServerId = 999_999_999

/** What a client port without an address means in a server line, as in ZooKeeper. */
export const anyAddress = '0.0.0.0'

/** Keys of members and of who votes; two names of Kerberos begin like a member's. */
export const memberKey = /^(server|group|weight)\.(?!principal$|realm$)(.*)$/

/** What a server line should look like, for messages. */
export const serverForm = 'host:peerPort:electionPort[:participant|observer][;[clientHost:]clientPort]'

/** Reads a server id; undefined unless it is a whole number, 0 to 999999999. */
export function parseServerId(text: string): number | undefined {
  return /^\d{1,9}$/.test(text) ? Number(text) : undefined
}

/**
 * Two servers whose ids have the same low byte, if there are any: they would give out the same session ids, as they do
 * in ZooKeeper.
 */
export function sharedIdByte(ids: readonly number[]): readonly [number, number] | undefined {
  for (const [i, id] of ids.entries()) {
    const other = ids.slice(0, i).find((one) => one % 256 === id % 256)
    if (other !== undefined) return [other, id]
  }
  return undefined
}

/**
 * Reads what stands right of `server.N=` (semantics.md 79), and also zabd's short form `host:peerPort`.
 * Returns a phrase that says what is wrong with it instead of throwing, so that a caller can collect many.
 */
export function parseServer(id: number, text: string): ServerSpec | string {
  const halves = text.split(';')
  const server = halves[0] ?? ''
  if (server.includes('|')) return 'several addresses for one server (multiAddress) are not supported'
  if (halves.length > 2) return 'there is more than one ";"'
  const parts = splitAddress(server)
  if (typeof parts === 'string') return parts
  const [host = '', peerText, electionText, roleText] = parts
  if (peerText === undefined) return 'there is no peer port'
  if (parts.length > 4) return 'there are too many parts (an IPv6 address belongs in brackets)'
  // In zabd's short form the role may follow the peer port directly.
  const short = parts.length === 3 && /^[A-Za-z]+$/.test((electionText ?? '').trim())
  const role = ((short ? electionText : roleText) ?? 'participant').trim().toLowerCase()
  if (role !== 'participant' && role !== 'observer') return `${quote(role)} is not participant or observer`
  const peerPort = parsePort(peerText)
  if (peerPort === undefined) return `the peer port ${quote(peerText)} is not a port number`
  const electionPort = short || electionText === undefined ? 0 : parseElectionPort(electionText)
  if (electionPort === undefined) return `the election port ${quote(electionText ?? '')} is not a port number`
  if (electionPort === peerPort) return 'the peer port and the election port are the same'
  const client = halves[1] === undefined ? noClient : parseClient(halves[1])
  if (typeof client === 'string') return client
  return { id, host, peerPort, electionPort, observer: role === 'observer', ...client }
}

/** Reads the version of a membership, a hexadecimal zxid; undefined unless it is an exact number. */
export function parseVersion(text: string): number | undefined {
  const version = /^[0-9a-fA-F]{1,14}$/.test(text) ? Number.parseInt(text, 16) : Number.NaN
  return Number.isSafeInteger(version) ? version : undefined
}

/** The text that `parseServer` reads back to the same member, as /zookeeper/config shows it (semantics.md 67). */
export function formatServer(server: ServerSpec): string {
  const role = server.observer ? 'observer' : 'participant'
  // ZooKeeper's clients insist on a number for the election port.
  const address = `${bracket(server.host)}:${server.peerPort}:${server.electionPort}:${role}`
  if (server.clientPort === undefined) return address
  return `${address};${bracket(server.clientHost ?? anyAddress)}:${server.clientPort}`
}

type ClientPart = Pick<ServerSpec, 'clientHost' | 'clientPort'>
const noClient: ClientPart = { clientHost: undefined, clientPort: undefined }

function parseClient(text: string): ClientPart | string {
  const trimmed = text.trim()
  const parts = /^\d+$/.test(trimmed) ? [anyAddress, trimmed] : splitAddress(trimmed)
  if (typeof parts === 'string') return parts
  const [host = '', portText, ...rest] = parts
  if (portText === undefined || rest.length > 0) return `${quote(trimmed)} is not [clientHost:]clientPort`
  const clientPort = parsePort(portText)
  if (clientPort === undefined) return `the client port ${quote(portText)} is not a port number`
  return { clientHost: host, clientPort }
}

/** Splits at colons outside the brackets of an IPv6 address, which are taken off; the host comes first. */
function splitAddress(text: string): string[] | string {
  const trimmed = text.trim()
  if (!trimmed.startsWith('[')) {
    const parts = trimmed.split(':')
    return isHostName(parts[0] ?? '') ? parts : `${quote(parts[0] ?? '')} is not a host name or address`
  }
  const end = trimmed.indexOf(']')
  const host = trimmed.slice(1, end)
  if (end < 0 || !isIPv6(host)) return `${quote(trimmed)} does not begin with an IPv6 address in brackets`
  const rest = trimmed.slice(end + 1)
  if (rest !== '' && !rest.startsWith(':')) return `there is no ":" after the address in brackets`
  return rest === '' ? [host] : [host, ...rest.slice(1).split(':')]
}

/** Whether the text could be a host's name, or an IPv4 or IPv6 address without brackets. */
export function isHost(text: string): boolean {
  return isHostName(text) || isIPv6(text)
}

/** Whether the text could be a DNS name or an IPv4 address. Underscores are common in container networks. */
function isHostName(text: string): boolean {
  return /^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?$/.test(text)
}

function parsePort(text: string): number | undefined {
  const trimmed = text.trim()
  if (!/^\d{1,5}$/.test(trimmed)) return undefined
  const port = Number(trimmed)
  return port >= 1 && port <= 65535 ? port : undefined
}

/** zabd has none: 0 stands for that. */
function parseElectionPort(text: string): number | undefined {
  return text.trim() === '0' ? 0 : parsePort(text)
}

function bracket(host: string): string {
  return host.includes(':') ? `[${host}]` : host
}

function quote(text: string): string {
  return JSON.stringify(text)
}

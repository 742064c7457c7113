// ZooKeeper's four-letter words: which are known, which are allowed, and the exact text that answers each. A client
// sends the four bytes as they are, gets the text and is disconnected; sockets are the caller's business.
import { resolve } from 'node:path'
import { formatZxid } from '../base/zxid.ts'
import type { Config } from '../config/types.ts'
import type { ConnectionInfo, Inspection, Inspector } from '../node/inspect.ts'
import { javaAddress, javaDate, javaDouble, sessionId, wholeMax, wholeMin } from './format.ts'
import { type Host, thisHost } from './host.ts'
import { metrics, monitorText } from './monitor.ts'

/** The words, which are ZooKeeper 3.9's. */
export const words = [
  'conf',
  'cons',
  'crst',
  'dirs',
  'dump',
  'envi',
  'gtmk',
  'hash',
  'isro',
  'mntr',
  'ruok',
  'srst',
  'srvr',
  'stat',
  'stmk',
  'wchc',
  'wchp',
  'wchs',
] as const

export type Word = (typeof words)[number]

/** What the words need of the configuration. */
export type WordsConfig = Pick<
  Config,
  | 'fourLetterWords'
  | 'readOnlyModeEnabled'
  | 'localSessionsEnabled'
  | 'dataDir'
  | 'dataLogDir'
  | 'tickTime'
  | 'maxClientCnxns'
  | 'minSessionTimeout'
  | 'maxSessionTimeout'
  | 'clientPortListenBacklog'
  | 'initLimit'
  | 'syncLimit'
>

type Whitelist = Pick<WordsConfig, 'fourLetterWords' | 'readOnlyModeEnabled'>

type Asked = {
  readonly inspector: Inspector
  readonly config: WordsConfig
  readonly host: Host
  readonly argument: Uint8Array
}

/** `now`: the server is serving. */
type Reply = (asked: Asked, now: Inspection) => string

const byFirstBytes = new Map<number, Word>(words.map((word) => [Buffer.from(word).readInt32BE(), word]))

/**
 * The word that a connection's first four bytes (a big-endian integer, signed or not) are, if they are one. Letters
 * make it far longer than any frame, so that a word is never mistaken for a frame's length.
 */
export function fourLetterWord(first4: number): Word | undefined {
  return byFirstBytes.get(first4)
}

/** Bytes that belong to a word behind its letters: 8 for an allowed `stmk`, else 0. Wait for them before `answer`. */
export function argumentBytes(word: Word, config: Whitelist): number {
  return word === 'stmk' && isAllowed(word, config) ? 8 : 0
}

/** 4lw.commands.whitelist; as in ZooKeeper srvr is always allowed, and isro where read-only mode is on. */
export function isAllowed(word: Word, config: Whitelist): boolean {
  if (word === 'srvr' || (word === 'isro' && config.readOnlyModeEnabled)) return true
  return config.fourLetterWords === '*' || config.fourLetterWords.has(word)
}

/**
 * The text to answer with (UTF-8 on the wire), after which the connection is closed. `argument`: the bytes that
 * `argumentBytes` asks for; with too few, the answer is empty and nothing is changed. `host`: given by tests.
 */
export function answer(
  word: Word,
  inspector: Inspector,
  config: WordsConfig,
  argument: Uint8Array = noArgument,
  host: Host = thisHost,
): string {
  if (!isAllowed(word, config)) return `${word} is not executed because it is not in the whitelist.\n`
  const asked = { inspector, config, host, argument }
  if (isAnytime(word)) return anytimeReplies[word](asked)
  const now = inspector.inspect()
  if (now.serving) return servingReplies[word](asked, now)
  // ZooKeeper ends this line everywhere but here.
  return word === 'hash' ? notServing : `${notServing}\n`
}

const noArgument = new Uint8Array(0)
const notServing = 'This ZooKeeper instance is not currently serving requests'

/** Words that answer whether or not the server serves clients. */
const anytimeReplies = {
  ruok: () => 'imok',
  isro: ({ inspector }) => {
    const now = inspector.inspect()
    if (!now.serving) return 'null'
    return now.readOnly ? 'ro' : 'rw'
  },
  envi: environmentText,
  gtmk: ({ inspector }) => String(inspector.traceMask()),
  stmk: setTraceMask,
} as const satisfies { readonly [word in Word]?: (asked: Asked) => string }

type AnytimeWord = keyof typeof anytimeReplies

const servingReplies: { readonly [word in Exclude<Word, AnytimeWord>]: Reply } = {
  conf: configurationText,
  cons: ({ inspector }) => `${inspector.connections().map(connectionLine).join('')}\n`,
  crst: ({ inspector }) => {
    inspector.resetConnectionStats()
    return 'Connection stats reset.\n'
  },
  dirs: ({ inspector }) =>
    `datadir_size: ${inspector.dataDirBytes()}\nlogdir_size: ${inspector.logDirBytes()}\n`,
  dump: dumpText,
  hash: (_, now) => now.digests.map(({ zxid, digest }) => `${zxid.toString(16)}: ${digest}\n`).join(''),
  mntr: ({ host }, now) => monitorText(metrics(now, host)),
  srst: ({ inspector }) => {
    inspector.resetServerStats()
    return 'Server stats reset.\n'
  },
  srvr: (_, now) => versionText(now) + serverText(now),
  stat: ({ inspector }, now) =>
    `${versionText(now)}Clients:\n${inspector.connections().map(clientLine).join('')}\n${serverText(now)}`,
  wchc: ({ inspector }) => {
    const paths = (list: readonly string[]) => list.map((path) => `\t${path}\n`).join('')
    const sessions = [...inspector.watchesBySession()]
    return `${sessions.map(([id, list]) => `${sessionId(id)}\n${paths(list)}`).join('')}\n`
  },
  wchp: ({ inspector }) => {
    const sessions = (list: readonly number[]) => list.map((id) => `\t${sessionId(id)}\n`).join('')
    return `${[...inspector.watchesByPath()].map(([path, list]) => `${path}\n${sessions(list)}`).join('')}\n`
  },
  wchs: ({ inspector }) => {
    const { connections, paths, watches } = inspector.watchSummary()
    return `${connections} connections watching ${paths} paths\nTotal watches:${watches}\n`
  },
}

function isAnytime(word: Word): word is AnytimeWord {
  return Object.hasOwn(anytimeReplies, word)
}

function versionText(now: Inspection): string {
  const readOnly = now.readOnly ? 'READ-ONLY mode; serving only read-only clients\n' : ''
  return `Zookeeper version: ${now.version}, built on ${now.builtAt}\n${readOnly}`
}

function serverText(now: Inspection): string {
  const latencies = `${wholeMin(now.minLatency)}/${javaDouble(now.avgLatency)}/${wholeMax(now.maxLatency)}`
  const sizes = `${now.lastProposalSize}/${now.minProposalSize}/${now.maxProposalSize}`
  return (
    `Latency min/avg/max: ${latencies}\n` +
    `Received: ${now.received}\n` +
    `Sent: ${now.sent}\n` +
    `Connections: ${now.connections}\n` +
    `Outstanding: ${now.outstanding}\n` +
    `Zxid: ${formatZxid(now.lastZxid)}\n` +
    `Mode: ${now.state}\n` +
    `Node count: ${now.znodes}\n` +
    (now.state === 'leader' ? `Proposal sizes last/min/max: ${sizes}\n` : '')
  )
}

function environmentText({ inspector, host }: Asked): string {
  const now = inspector.inspect()
  const entries = [['zookeeper.version', `${now.version}, built on ${now.builtAt}`], ...host.environment()]
  return `Environment:\n${entries.map(([key, value]) => `${key}=${value}\n`).join('')}`
}

function setTraceMask({ inspector, argument }: Asked): string {
  if (argument.byteLength < 8) return ''
  const mask = new DataView(argument.buffer, argument.byteOffset, 8).getBigInt64(0)
  inspector.setTraceMask(mask)
  return String(mask)
}

/** What `stat` shows of a connection, and `cons` as the beginning. */
function clientText(c: ConnectionInfo): string {
  const interest = (c.reading ? 1 : 0) + (c.writing ? 4 : 0)
  const address = javaAddress(c.remoteAddress, c.remotePort)
  return ` ${address}[${interest}](queued=${c.outstanding},recved=${c.received},sent=${c.sent}`
}

function clientLine(c: ConnectionInfo): string {
  return `${clientText(c)})\n`
}

function connectionLine(c: ConnectionInfo): string {
  if (c.sessionId === 0) return clientLine(c)
  const xid = c.lastXid >= 0 ? `,lcxid=0x${c.lastXid.toString(16)}` : ''
  return (
    `${clientText(c)},sid=${sessionId(c.sessionId)},lop=${c.lastOperation},est=${c.establishedAt}` +
    `,to=${c.timeoutMs}${xid},lzxid=${formatZxid(c.lastZxid)},lresp=${Math.trunc(c.lastResponseTime)}` +
    `,llat=${Math.round(c.lastLatency)},minlat=${wholeMin(c.minLatency)}` +
    `,avglat=${Math.trunc(c.avgLatency)},maxlat=${wholeMax(c.maxLatency)})\n`
  )
}

function configurationText({ inspector, config }: Asked, now: Inspection): string {
  const basics =
    `clientPort=${now.clientPort}\n` +
    `secureClientPort=${now.secureClientPort}\n` +
    `dataDir=${resolve(config.dataDir)}\n` +
    `dataDirSize=${inspector.dataDirBytes()}\n` +
    `dataLogDir=${resolve(config.dataLogDir)}\n` +
    `dataLogSize=${inspector.logDirBytes()}\n` +
    `tickTime=${config.tickTime}\n` +
    `maxClientCnxns=${config.maxClientCnxns}\n` +
    `minSessionTimeout=${config.minSessionTimeout}\n` +
    `maxSessionTimeout=${config.maxSessionTimeout}\n` +
    `clientPortListenBacklog=${config.clientPortListenBacklog}\n` +
    `serverId=${now.serverId}\n`
  return now.state === 'standalone' ? basics : basics + ensembleText(inspector, config, now)
}

/** ZooKeeper leaves the membership out in read-only mode. */
function ensembleText(inspector: Inspector, config: WordsConfig, now: Inspection): string {
  const self = inspector.member()
  return (
    `initLimit=${config.initLimit}\n` +
    `syncLimit=${config.syncLimit}\n` +
    'electionAlg=3\n' +
    `electionPort=${self?.electionPort ?? 0}\n` +
    `quorumPort=${self?.peerPort ?? 0}\n` +
    `peerType=${self?.observer === true ? 1 : 0}\n` +
    (now.state === 'read-only' ? '' : `membership: \n${inspector.membership()}`)
  )
}

function dumpText({ inspector, config }: Asked, now: Inspection): string {
  const ephemerals = [...inspector.ephemerals()]
  const ephemeralText = ([id, paths]: [number, string[]]) =>
    `${sessionId(id)}:\n${paths.map((path) => `\t${path}\n`).join('')}`
  return (
    `SessionTracker dump:\n${sessionsText(inspector, config, now)}` +
    `ephemeral nodes dump:\nSessions with Ephemerals (${ephemerals.length}):\n` +
    `${ephemerals.map(ephemeralText).join('')}` +
    `Connections dump:\nConnections ${expiryText(connectionExpiry(inspector))}`
  )
}

/** Who decides expiry (standalone, leader) shows when; the others show the timeouts of the sessions they know. */
function sessionsText(inspector: Inspector, config: WordsConfig, now: Inspection): string {
  const expiry = () => `Session ${expiryText(inSessionIds(inspector.sessionExpiry()))}`
  if (now.state === 'standalone') return expiry()
  const local = config.localSessionsEnabled
    ? `Local Session ${expiryText(inSessionIds(inspector.localSessionExpiry()))}`
    : ''
  if (now.state === 'leader') return local === '' ? expiry() : `${local}Global ${expiry()}`
  const sessions = [...inspector.sessions()].sort(([a], [b]) => a - b)
  const lines = sessions.map(([id, timeoutMs]) => `${sessionId(id)}\t${timeoutMs}ms\n`)
  return `${local}Global Sessions(${sessions.length}):\n${lines.join('')}`
}

function inSessionIds(expiry: ReadonlyMap<number, readonly number[]>): Map<number, string[]> {
  return new Map([...expiry].map(([time, ids]) => [time, ids.map(sessionId)]))
}

function connectionExpiry(inspector: Inspector): Map<number, string[]> {
  const expiry = new Map<number, string[]>()
  for (const c of inspector.connections()) {
    const text = `ip: ${javaAddress(c.remoteAddress, c.remotePort)} sessionId: ${sessionId(c.sessionId)}`
    const same = expiry.get(c.expiresAt)
    if (same === undefined) expiry.set(c.expiresAt, [text])
    else same.push(text)
  }
  return expiry
}

/** ZooKeeper's list of things that expire, by time: `Sets (times)/(things):` and a block for each time. */
function expiryText(expiry: ReadonlyMap<number, readonly string[]>): string {
  const blocks = [...expiry].sort(([a], [b]) => a - b)
  const things = blocks.reduce((sum, [, list]) => sum + list.length, 0)
  const blockText = ([time, list]: readonly [number, readonly string[]]) =>
    `${list.length} expire at ${javaDate(time)}:\n${list.map((thing) => `\t${thing}\n`).join('')}`
  return `Sets (${blocks.length})/(${things}):\n${blocks.map(blockText).join('')}`
}

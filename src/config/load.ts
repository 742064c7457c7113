// Makes the configuration: reads the file and the flags, checks everything, and reports all that is wrong at once.
// Defaults are ZooKeeper's (semantics.md 17). It touches the machine through `Env` only and starts nothing.

import { listIgnored, rejectUnsupported } from './compat.ts'
import { type Ensemble, readEnsemble } from './ensemble.ts'
import { anyAddress, isHost } from './members.ts'
import { readPeers } from './peers.ts'
import { createProblems, createSettings, describeProblems, type Problems, type Settings } from './settings.ts'
import { type Loading, readEntries, readText } from './source.ts'
import { readTls } from './tls.ts'
import { type Config, ConfigError, type Env, type Flags, type ServerSpec } from './types.ts'

/** What holds when there is no file: the quick start, reachable from this machine only. */
const withoutFile = {
  dataDir: './data',
  clientPort: 2181,
  clientHost: '127.0.0.1',
  tickTime: 2000,
  initLimit: 10,
  syncLimit: 5,
} as const

const tickTimeOfZooKeeper = 3000
const maxInt = 2 ** 31 - 1

/**
 * Loads and checks the configuration: `flags.file` if there is one, then flags over it.
 * @throws ConfigError whose message has one line for each problem, `file:line: key=value is not valid: expected …`.
 */
export function loadConfig(flags: Flags, env: Env): Config {
  const problems = createProblems()
  const warnings: string[] = []
  const text = flags.file === undefined ? '' : readText(flags.file, env, problems)
  const inFile = text === undefined ? [] : readEntries(flags.file ?? '', text, problems, warnings)
  const given = (flags.settings ?? []).map(({ flag, key, value }) => ({ key, value, where: flag }))
  const settings = createSettings([...inFile, ...given], problems, warnings)
  // A file that can not be read would bring up a list of missing keys on top.
  if (text === undefined) throw failure(problems)

  const loading: Loading = { flags, env, settings, problems, warnings }
  const config = readConfig(loading, text)
  if (problems.list.length > 0) throw failure(problems)
  return config
}

function failure(problems: Problems): ConfigError {
  return new ConfigError(describeProblems(problems))
}

function readConfig(loading: Loading, text: string): Config {
  const { flags, settings, problems, warnings } = loading
  const file = flags.file
  const quick = file === undefined
  const dataDir = readDataDir(loading)
  const tickTime = settings.int('tickTime', quick ? withoutFile.tickTime : tickTimeOfZooKeeper, {
    min: 1,
    unit: 'milliseconds',
  })
  const ensemble = readEnsemble(loading, dataDir)
  const limits = readLimits(loading, ensemble.standalone)
  const client = readClientAddress(loading, ensemble.own)
  const secure = readSecureAddress(loading, client)
  const portUnification = settings.flag('client.portUnification', false)
  const tlsSwitch = portUnification
    ? settings.entry('client.portUnification')
    : settings.entry('secureClientPort')
  const tls = readTls(settings, problems, warnings, loading.env, tlsSwitch)
  if (client.port === undefined && secure.port === undefined) {
    warnings.push('there is no clientPort: clients can not connect to this server')
  }
  const readOnlyModeEnabled = settings.flag('readonlymode.enabled', false)

  const config: Config = {
    file,
    dataDir,
    dataLogDir: settings.text('dataLogDir', 'a directory') ?? dataDir,
    clientPort: client.port,
    clientHost: client.host,
    secureClientPort: secure.port,
    secureClientHost: secure.host,
    portUnification,
    tls,
    tickTime,
    ...limits,
    ...readSessionTimeouts(loading, tickTime),
    // ZooKeeper takes any negative number for no limit, too.
    maxClientCnxns: Math.max(0, settings.int('maxClientCnxns', 60, { min: -maxInt })),
    maxCnxns: Math.max(0, settings.int('maxCnxns', 0, { min: -maxInt })),
    clientPortListenBacklog: settings.int('clientPortListenBacklog', -1, { min: -1 }),
    id: ensemble.id,
    servers: ensemble.standalone ? [] : ensemble.servers,
    groups: ensemble.standalone ? new Map() : ensemble.groups,
    weights: ensemble.standalone ? new Map() : ensemble.weights,
    standalone: ensemble.standalone,
    standaloneEnabled: ensemble.standaloneEnabled,
    reconfigEnabled: settings.flag('reconfigEnabled', false),
    dynamicConfigFile: ensemble.dynamicConfigFile,
    configVersion: ensemble.version,
    observer: readObserver(loading, ensemble),
    quorumListenOnAllIPs: settings.flag('quorumListenOnAllIPs', false),
    ...readPeers(loading, ensemble),
    join: ensemble.join,
    leaderServes: settings.yesNo('leaderServes', true),
    observerSyncEnabled: settings.flag('syncEnabled', true),
    fourLetterWords: readFourLetterWords(loading, readOnlyModeEnabled),
    admin: readAdmin(loading),
    metrics: readMetrics(loading),
    autopurge: readAutopurge(loading),
    snapCount: atLeast(loading, 'snapCount', 100_000, 2),
    snapSizeLimitBytes: Math.max(0, settings.int('snapSizeLimitInKb', 4_194_304, { min: -maxInt })) * 1024,
    forceSync: settings.yesNo('forceSync', true),
    fsyncWarningMs: settings.int('fsync.warningthresholdms', 1000, { min: 0, unit: 'milliseconds' }),
    commitLogCount: settings.int('commitLogCount', 500, { min: 1, unit: 'transactions' }),
    maxFrameBytes: readMaxBuffer(loading),
    globalOutstandingLimit: settings.int('globalOutstandingLimit', 1000, { min: 1, unit: 'requests' }),
    throttledOpWaitTimeMs: settings.int('throttled_op_wait_time', 0, { min: 0, unit: 'milliseconds' }),
    skipAcl: settings.yesNo('skipACL', false),
    eagerAclCheck: settings.flag('enableEagerACLCheck', false),
    enforceQuota: settings.flag('enforceQuota', false),
    digestEnabled: settings.flag('digest.enabled', true),
    digestAuthEnabled: settings.flag('DigestAuthenticationProvider.enabled', true),
    superDigest: readSuperDigest(loading),
    x509SuperUser: settings.text('X509AuthenticationProvider.superUser', "a certificate's subject name"),
    localSessionsEnabled: settings.flag('localSessionsEnabled', false),
    localSessionsUpgradingEnabled: settings.flag('localSessionsUpgradingEnabled', false),
    readOnlyModeEnabled,
    ttlEnabled: settings.flag('extendedTypesEnabled', true),
    container: {
      checkIntervalMs: settings.int('znode.container.checkIntervalMs', 60_000, {
        min: 1,
        unit: 'milliseconds',
      }),
      maxPerMinute: settings.int('znode.container.maxPerMinute', 10_000, { min: 1 }),
      maxNeverUsedIntervalMs: settings.int('znode.container.maxNeverUsedIntervalMs', 0, {
        min: 0,
        unit: 'milliseconds',
      }),
    },
    logLevel: flags.logLevel ?? 'info',
    ignored: [],
    warnings,
    text,
  }
  if (!config.forceSync)
    warnings.push('forceSync=no: what was acknowledged may be lost when the machine fails')
  if (config.skipAcl) warnings.push('skipACL=yes: every client may read and change everything')
  rejectUnsupported(settings, problems, warnings)
  // Last of all: by now every key that has a meaning was asked for.
  return { ...config, ignored: listIgnored(settings) }
}

function readDataDir({ flags, settings, problems }: Loading): string {
  const dataDir = settings.text('dataDir', 'a directory')
  if (dataDir !== undefined) return dataDir
  if (flags.file !== undefined && settings.entry('dataDir') === undefined) {
    problems.add(flags.file, 'dataDir is missing: expected a directory, for example dataDir=/var/lib/zabd')
  }
  return withoutFile.dataDir
}

/** initLimit and syncLimit, which a file of an ensemble must have (rule 77). */
function readLimits({ flags, settings, problems }: Loading, standalone: boolean) {
  const read = (key: 'initLimit' | 'syncLimit') => {
    const given = settings.optionalInt(key, { min: standalone ? 0 : 1, unit: 'ticks' })
    if (!standalone && flags.file !== undefined && settings.entry(key) === undefined) {
      const example = `${key}=${withoutFile[key]}`
      problems.add(
        flags.file,
        `${key} is missing: an ensemble needs a number of ticks, for example ${example}`,
      )
    }
    return given || withoutFile[key]
  }
  return { initLimit: read('initLimit'), syncLimit: read('syncLimit') }
}

function readSessionTimeouts({ settings, problems }: Loading, tickTime: number) {
  const read = (key: string, ticks: number) => {
    const given = settings.int(key, -1, { min: -1, unit: 'milliseconds' })
    return given === -1 ? ticks * tickTime : given
  }
  const minSessionTimeout = read('minSessionTimeout', 2)
  const maxSessionTimeout = read('maxSessionTimeout', 20)
  if (minSessionTimeout > maxSessionTimeout) {
    // The defaults are 2 and 20 ticks: at least one of the two was given.
    const low = settings.entry('minSessionTimeout')
    if (low !== undefined) problems.invalid(low, `at most maxSessionTimeout, which is ${maxSessionTimeout}`)
    else {
      const high = settings.entry('maxSessionTimeout')!
      problems.invalid(high, `at least minSessionTimeout, which is ${minSessionTimeout} (2 ticks)`)
    }
  }
  return { minSessionTimeout, maxSessionTimeout }
}

type Address = { readonly port: number | undefined; readonly host: string | undefined }

/** A port and the address it is bound to; an address alone is an error, as in ZooKeeper. */
function readAddress({ settings, problems }: Loading, portKey: string, hostKey: string): Address {
  const port = settings.optionalPort(portKey)
  const host = readHost(settings, problems, hostKey)
  const hostEntry = settings.entry(hostKey)
  if (hostEntry !== undefined && settings.entry(portKey) === undefined) {
    problems.add(hostEntry.where, `${hostEntry.key}=${hostEntry.value} needs ${portKey}: expected both`)
  }
  return { port, host: host === anyAddress ? undefined : host }
}

function readHost(settings: Settings, problems: Problems, key: string): string | undefined {
  const entry = settings.entry(key)
  if (entry === undefined) return undefined
  const bare = entry.value.replace(/^\[(.*)\]$/, '$1')
  if (isHost(bare)) return bare
  problems.invalid(entry, 'a host name or an IP address of this machine')
  return undefined
}

/** The port for TLS; without a file it is as open as the plain one. */
function readSecureAddress(loading: Loading, client: Address): Address {
  const secure = readAddress(loading, 'secureClientPort', 'secureClientPortAddress')
  const decided = loading.settings.entry('secureClientPortAddress') ?? loading.flags.file
  return secure.port === undefined || decided !== undefined ? secure : { ...secure, host: client.host }
}

/** The plain port: from its keys, or from this server's own line (ZooKeeper lets the line win, but not differ). */
function readClientAddress(loading: Loading, own: ServerSpec | undefined): Address {
  const { flags, settings, problems } = loading
  const entry = settings.entry('clientPort') ?? settings.entry('clientPortAddress')
  if (own?.clientPort !== undefined) {
    const port = settings.optionalPort('clientPort') ?? own.clientPort
    const host = readHost(settings, problems, 'clientPortAddress') ?? anyAddress
    if (
      entry !== undefined &&
      (port !== own.clientPort || (host !== anyAddress && host !== own.clientHost))
    ) {
      problems.invalid(
        entry,
        `${own.clientHost}:${own.clientPort} as in the line server.${own.id}, or no such line`,
      )
    }
    return { port: own.clientPort, host: own.clientHost === anyAddress ? undefined : own.clientHost }
  }
  if (flags.file !== undefined) return readAddress(loading, 'clientPort', 'clientPortAddress')
  const host = readHost(settings, problems, 'clientPortAddress') ?? withoutFile.clientHost
  return {
    port: settings.optionalPort('clientPort') ?? withoutFile.clientPort,
    host: host === anyAddress ? undefined : host,
  }
}

/** The list of servers decides; peerType only repeats it. */
function readObserver({ settings, warnings }: Loading, ensemble: Ensemble): boolean {
  const type = settings.oneOf('peerType', ['participant', 'observer'], 'participant')
  const observer = !ensemble.standalone && ensemble.own?.observer === true
  const entry = settings.entry('peerType')
  if (entry !== undefined && (type === 'observer') !== observer) {
    const role = observer ? 'observer' : 'participant'
    warnings.push(`${entry.where}: peerType=${entry.value} is overruled by the list of servers: ${role}`)
  }
  return observer
}

const words =
  'conf cons crst dirs dump envi gtmk hash isro mntr ruok srst srvr stat stmk wchc wchp wchs'.split(' ')

/** `srvr` is always allowed, and `isro` where clients look for read-only servers, as in ZooKeeper. */
function readFourLetterWords(
  { settings, warnings }: Loading,
  readOnlyMode: boolean,
): ReadonlySet<string> | '*' {
  const given = settings.entry('4lw.commands.whitelist')
  const list = (given?.value ?? '').split(',').map((word) => word.trim())
  if (list.includes('*')) return '*'
  const unknown = list.filter((word) => word !== '' && !words.includes(word))
  if (given !== undefined && unknown.length > 0) {
    warnings.push(
      `${given.where}: ${given.key}: there is no word ${unknown.join(', ')} (${words.join(', ')})`,
    )
  }
  return new Set(['srvr', ...(readOnlyMode ? ['isro'] : []), ...list.filter((word) => words.includes(word))])
}

/** Where HTTP is served by default: nobody has to log in there. */
function webHost(flags: Flags): string {
  return flags.file === undefined ? withoutFile.clientHost : anyAddress
}

function readAdmin({ flags, settings, problems }: Loading): Config['admin'] {
  const commandUrl = settings.entry('admin.commandURL')
  if (commandUrl !== undefined && !commandUrl.value.startsWith('/')) {
    problems.invalid(commandUrl, 'a path that begins with /, for example /commands')
  }
  return {
    enabled: settings.flag('admin.enableServer', true),
    host: readHost(settings, problems, 'admin.serverAddress') ?? webHost(flags),
    port: settings.optionalPort('admin.serverPort') ?? 8080,
    commandUrl: commandUrl?.value ?? '/commands',
    snapshotEnabled: settings.flag('admin.snapshot.enabled', true),
    restoreEnabled: settings.flag('admin.restore.enabled', true),
    rateLimiterIntervalMs: settings.int('admin.rateLimiterIntervalInMS', 300_000, {
      min: 0,
      unit: 'milliseconds',
    }),
  }
}

const prometheus = 'org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider'
const otherProviders = [
  'org.apache.zookeeper.metrics.impl.DefaultMetricsProvider',
  'org.apache.zookeeper.metrics.impl.NullMetricsProvider',
]

function readMetrics({ flags, settings, problems }: Loading): Config['metrics'] {
  const provider = settings.entry('metricsProvider.className')
  if (provider !== undefined && ![prometheus, ...otherProviders].includes(provider.value)) {
    problems.invalid(provider, `${prometheus}, or no such line for no metrics`)
  }
  return {
    enabled: provider?.value === prometheus,
    host: readHost(settings, problems, 'metricsProvider.httpHost') ?? webHost(flags),
    port: settings.optionalPort('metricsProvider.httpPort') ?? 7000,
    exportJvmInfo: settings.flag('metricsProvider.exportJvmInfo', true),
  }
}

const hours: Readonly<Record<string, number>> = { ms: 1 / 3_600_000, s: 1 / 3600, m: 1 / 60, h: 1, d: 24 }

function readAutopurge(loading: Loading): Config['autopurge'] {
  const { settings, problems } = loading
  const interval = settings.entry('autopurge.purgeInterval')
  const match = /^(-?\d{1,9})(ms|[smhd])?$/i.exec(interval?.value ?? '0')
  if (match === null)
    problems.invalid(interval!, 'a whole number of hours (0: off), or with a unit ms, s, m, h or d')
  const factor = hours[(match?.[2] ?? 'h').toLowerCase()] ?? 1
  return {
    snapRetainCount: atLeast(loading, 'autopurge.snapRetainCount', 3, 3),
    purgeIntervalHours: Math.max(0, Number(match?.[1] ?? 0) * factor),
  }
}

/** A number that ZooKeeper raises to `least` when it is lower, with a warning. */
function atLeast({ settings, warnings }: Loading, key: string, fallback: number, least: number): number {
  const number = settings.int(key, fallback, { min: -maxInt })
  if (number >= least) return number
  const entry = settings.entry(key)!
  warnings.push(`${entry.where}: ${entry.key}=${entry.value} is taken as ${least}, the least there is`)
  return least
}

/** jute.maxbuffer: bytes, decimal or hexadecimal as Java reads it. */
function readMaxBuffer({ settings, problems }: Loading): number {
  const entry = settings.entry('jute.maxbuffer')
  if (entry === undefined) return 0xfffff
  const match = /^(?:(?:0x|#)([0-9a-f]{1,8})|([1-9]\d{0,9}))$/i.exec(entry.value)
  const bytes =
    match?.[1] === undefined ? Number.parseInt(match?.[2] ?? '0', 10) : Number.parseInt(match[1], 16)
  if (bytes >= 1024 && bytes <= maxInt) return bytes
  problems.invalid(entry, `a whole number of bytes, 1024 to ${maxInt}, decimal or like 0xfffff`)
  return 0xfffff
}

function readSuperDigest({ settings, problems }: Loading): string | undefined {
  const entry = settings.entry('DigestAuthenticationProvider.superDigest')
  if (entry === undefined) return undefined
  // A SHA-1 hash has 20 bytes; a password in its place would never match anything.
  if (/^[^:]+:[A-Za-z0-9+/]{27}=$/.test(entry.value)) return entry.value
  problems.invalid(entry, 'user:hash where hash is base64(sha1("user:password")), 28 characters')
  return undefined
}

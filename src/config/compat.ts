// Keys of ZooKeeper that zabd does not act on: those that can be left aside are listed for the log, and those whose
// absence would surprise an operator stop the start. Keys that do something are read in load.ts.
import { type Entry, type Problems, type Settings, show } from './settings.ts'

/** Known keys that mean nothing here: tuning of threads, buffers and files that zabd does not have. `*`: a prefix. */
const withoutEffect: readonly string[] = [
  'IPAuthenticationProvider.*',
  'SASLAuthenticationProvider.*',
  'advancedFlowControlEnabled',
  'admin.httpVersion',
  'admin.idleTimeout',
  'allowSaslFailedClients',
  'audit.*',
  'bitHashCacheSize',
  'client.certReload',
  'clientTcpKeepAlive',
  'closeSessionTxn.enabled',
  'cnxTimeout',
  'commitProcessor.*',
  'connectToLearnerMasterLimit',
  'connectionDecreaseRatio',
  'connectionDropDecrease',
  'connectionDropIncrease',
  'connectionFreezeTime',
  'connectionMaxTokens',
  'connectionTokenFillCount',
  'connectionTokenFillTime',
  'connection_throttle_*',
  'datadir.autocreate',
  'db.autocreate',
  'electionPortBindRetry',
  'emulate353TTLNodes',
  'enforce.auth.schemes',
  'ensembleAuthName',
  'fastleader.*',
  'fips-mode',
  'flushDelay',
  'follower.*',
  'forceSnapshotSync',
  'forward_learner_requests_to_commit_processor_disabled',
  'intBufferStartingSizeBytes',
  'jaasLoginRenew',
  'jmx.*',
  'jute.maxbuffer.extrasize',
  'jvm.pause.*',
  'kerberos.*',
  'largeRequestMaxBytes',
  'largeRequestThreshold',
  'leader.*',
  'leaderConnectDelayDuringRetryMs',
  'learner.*',
  'letAnySaslUserDoX',
  'maxBatchSize',
  'maxConcurrentDiffSyncs',
  'maxConcurrentSnapSyncs',
  'maxGetChildrenResponseCacheSize',
  'maxInProcessingDeadWatchers',
  'maxResponseCacheSize',
  'maxTimeToWaitForEpoch',
  'maxWriteQueuePollTime',
  'messageTracker.*',
  'metricsProvider.*',
  'multiAddress.*',
  'netty.*',
  'nio.*',
  'observer.*',
  'observerMaster.*',
  'observerMasterPort',
  'outstandingHandshake.limit',
  'pathStats.*',
  'preAllocSize',
  'quorum.auth.*',
  'quorum.cnxn.threads.size',
  'quorumCnxnTimeoutMs',
  'request.timeout',
  'requestStaleConnectionCheck',
  'requestStaleLatencyCheck',
  'requestThrottleDropStale',
  'requestThrottleLimit',
  'requestThrottleStallTime',
  'request_stale_*',
  'request_throttle*',
  'requireClientAuthScheme',
  'sasl.*',
  'security.auth_to_local',
  'serializeLastProcessedZxid.enabled',
  'server.principal',
  'server.realm',
  'serverCnxnFactory',
  'snapshot.*',
  'snapshotSizeFactor',
  'ssl.allowReverseDnsLookup',
  'ssl.handshakeDetectionTimeoutMillis',
  'ssl.hostnameVerification',
  'ssl.quorum.*',
  'ssl.sslProvider',
  'sslQuorumReloadCertFiles',
  'superUser',
  'tcpKeepAlive',
  'txnLogSizeLimitInKb',
  'watchManagerName',
  'watcherCleanIntervalInSeconds',
  'watcherCleanThreadsNum',
  'watcherCleanThreshold',
]

/** Switches that are off in ZooKeeper by default, and that zabd refuses to have on instead of ignoring. */
const mustBeOff: readonly (readonly [key: string, what: string])[] = [
  ['quorum.auth.enableSasl', 'servers can not authenticate each other by SASL'],
  ['quorum.auth.serverRequireSasl', 'servers can not authenticate each other by SASL'],
  ['quorum.auth.learnerRequireSasl', 'servers can not authenticate each other by SASL'],
  ['sessionRequireClientSASLAuth', 'clients can not authenticate by SASL'],
  ['enforce.auth.enabled', 'clients can not be made to authenticate; protect znodes by their ACLs'],
  [
    'portUnification',
    'a peer port takes either TLS or plain connections; set sslQuorum on all servers and restart them together',
  ],
  ['ssl.quorum.crl', 'revoked certificates are not looked up'],
  ['ssl.quorum.ocsp', 'revoked certificates are not looked up'],
  ['ssl.quorum.clientHostnameVerification', 'only the host name of a server that is connected to is checked'],
  ['ssl.crl', 'revoked certificates are not looked up'],
  ['ssl.ocsp', 'revoked certificates are not looked up'],
  ['ssl.clientHostnameVerification', "a client certificate's host name is not checked"],
  ['admin.forceHttps', 'the admin server speaks plain HTTP only'],
  ['admin.needClientAuth', 'the admin server speaks plain HTTP only'],
  ['admin.portUnification', 'the admin server speaks plain HTTP only'],
]

/** Keys that have no value at which zabd could do the same. */
const mustBeAbsent: readonly (readonly [key: string, what: string])[] = [
  ['oraclePath', 'a quorum is always counted from the voters; take the line out'],
  ['ssl.context.supplier.class', 'Java classes can not be loaded; take the line out'],
  ['ssl.quorum.context.supplier.class', 'Java classes can not be loaded; take the line out'],
  ['metricsProvider.httpsPort', 'metrics are served by plain HTTP only; use metricsProvider.httpPort'],
]

/** What is read and kept for the parts of zabd that are not there yet; asking for it is told. `on`: the values that do. */
const notYet: readonly (readonly [key: string, on: RegExp, what: string])[] = [
  ['metricsProvider.className', /./, 'metrics are not served yet'],
  ['admin.serverPort', /./, 'the HTTP commands are not served yet'],
]

const providerPackage = 'org.apache.zookeeper.server.auth.'
/** What ZooKeeper has built in and zabd too: naming them changes nothing. */
const knownProviders: readonly string[] = [
  'X509AuthenticationProvider',
  'DigestAuthenticationProvider',
  'IPAuthenticationProvider',
]

/**
 * Records a problem for everything that is asked for and that zabd can not do. The SASL provider is only warned of:
 * naming it requires nothing of clients, it offers them a scheme, and who does not use it is served as before.
 */
export function rejectUnsupported(settings: Settings, problems: Problems, warnings: string[]): void {
  for (const [key, what] of mustBeOff) {
    if (settings.flag(key, false)) problems.unsupported(settings.entry(key)!, `${what}; valid is only false`)
  }
  for (const [key, what] of mustBeAbsent) {
    const entry = settings.entry(key)
    if (entry !== undefined) problems.unsupported(entry, what)
  }
  for (const [key, on, what] of notYet) {
    const entry = settings.entry(key)
    if (entry !== undefined && on.test(entry.value)) warnings.push(`${entry.where}: ${show(entry)}: ${what}`)
  }
  rejectUnlessOneOf(
    settings,
    problems,
    'electionAlg',
    ['3'],
    'there is one election algorithm; valid is only 3',
  )
  const hash = 'digests are SHA-1 in every ACL; valid is only SHA1'
  rejectUnlessOneOf(settings, problems, 'DigestAuthenticationProvider.digestAlg', ['sha1', 'sha-1'], hash)
  const scheme = 'a TLS client is authenticated by its certificate; valid is only x509'
  rejectUnlessOneOf(settings, problems, 'ssl.authProvider', ['x509'], scheme)
  for (const [key, entry] of settings.entries) {
    if (key.startsWith('authProvider.')) checkProvider(settings, problems, warnings, key, entry)
  }
}

function rejectUnlessOneOf(
  settings: Settings,
  problems: Problems,
  key: string,
  values: readonly string[],
  what: string,
): void {
  const entry = settings.entry(key)
  if (entry !== undefined && !values.includes(entry.value.toLowerCase())) problems.unsupported(entry, what)
}

function checkProvider(
  settings: Settings,
  problems: Problems,
  warnings: string[],
  key: string,
  entry: Entry,
): void {
  settings.entry(key)
  const name = entry.value.startsWith(providerPackage)
    ? entry.value.slice(providerPackage.length)
    : entry.value
  if (knownProviders.includes(name)) return
  if (name === 'SASLAuthenticationProvider') {
    warnings.push(`${entry.where}: ${show(entry)}: there is no SASL here; clients can not authenticate by it`)
    return
  }
  const names = knownProviders.map((known) => providerPackage + known).join(', ')
  problems.unsupported(entry, `Java classes can not be loaded; valid are ${names}`)
}

/** A phrase for each key that was given and does nothing: `preAllocSize (zoo.cfg:7) has no effect`. */
export function listIgnored(settings: Settings): string[] {
  const names = [...settings.asked, ...withoutEffect.filter((key) => !key.endsWith('*'))]
  const ignored: string[] = []
  for (const [key, entry] of settings.entries) {
    if (settings.asked.has(key)) continue
    const meant = isWithoutEffect(key) ? undefined : nearest(key, names)
    const hint = meant === undefined ? '' : `: did you mean ${meant}?`
    const what = isWithoutEffect(key) ? 'has no effect' : 'is not known'
    ignored.push(`${entry.key} (${entry.where}) ${what}${hint}`)
  }
  return ignored
}

function isWithoutEffect(key: string): boolean {
  return withoutEffect.some((known) =>
    known.endsWith('*') ? key.startsWith(known.slice(0, -1)) : key === known,
  )
}

/** The name that was probably meant: the same in other letter case, or a slip or two away. */
export function nearest(key: string, names: readonly string[]): string | undefined {
  const number = /\.\d+$/.exec(key)?.[0]
  const candidates = number === undefined ? names : [`server${number}`, `group${number}`, `weight${number}`]
  const allowed = Math.min(2, Math.floor(key.length / 4))
  let best: string | undefined
  let bestDistance = allowed + 1
  for (const name of candidates) {
    const distance = slips(key.toLowerCase(), name.toLowerCase(), bestDistance)
    if (distance < bestDistance) {
      best = name
      bestDistance = distance
    }
  }
  return best
}

/** How many letters are wrong, missing, extra or swapped with their neighbour; stops counting at `limit`. */
function slips(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) >= limit) return limit
  let before: number[] = []
  let row = Array.from({ length: b.length + 1 }, (_, at) => at)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1]
      let cost = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (same ? 0 : 1))
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        cost = Math.min(cost, before[j - 2]! + 1)
      next.push(cost)
    }
    before = row
    row = next
  }
  return row[b.length]!
}

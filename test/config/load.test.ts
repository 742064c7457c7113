import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { loadConfig } from '../../src/config/load.ts'
import { type Config, ConfigError, type Flags, type ServerSpec } from '../../src/config/types.ts'

type Files = Readonly<Record<string, string>>

/** Loads with a disk that holds just these files. */
function load(flags: Flags, files: Files): Config {
  return loadConfig(flags, {
    exists: (path) => path in files,
    readFile: (path) => {
      const text = files[path]
      if (text === undefined) throw new Error('no such file')
      return text
    },
  })
}

/** The problems, a line each; empty if there are none. */
function problems(flags: Flags, files: Files): string[] {
  try {
    load(flags, files)
    return []
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error))
    return error.message.split('\n')
  }
}

const zooCfg: Flags = { file: 'zoo.cfg' }
/** A file of one server: these lines after a line with dataDir, so the first of them is line 2. */
const standalone = (text: string): Files => ({
  'zoo.cfg': `dataDir=/d\n${text}`,
  '/d/key.pem': '',
  '/d/key': '',
})
/** A file of three servers, of which this one is the second; the lines given begin at line 7. */
const members = 'server.1=a:2888:3888\nserver.2=b:2888:3888\nserver.3=c:2888:3888'
const ensemble = (text: string): Files => ({
  'zoo.cfg': `dataDir=/d\ninitLimit=10\nsyncLimit=5\n${members}\n${text}`,
  '/d/myid': '2\n',
})
const server = (id: number, host: string, more: Partial<ServerSpec> = {}): ServerSpec => ({
  id,
  host,
  peerPort: 2888,
  electionPort: 3888,
  observer: false,
  clientHost: undefined,
  clientPort: undefined,
  ...more,
})

/** What `zabd start` without any flag runs with. */
const quickStart: Config = {
  file: undefined,
  dataDir: './data',
  dataLogDir: './data',
  clientPort: 2181,
  clientHost: '127.0.0.1',
  secureClientPort: undefined,
  secureClientHost: undefined,
  portUnification: false,
  tls: undefined,
  tickTime: 2000,
  initLimit: 10,
  syncLimit: 5,
  minSessionTimeout: 4000,
  maxSessionTimeout: 40_000,
  maxClientCnxns: 60,
  maxCnxns: 0,
  clientPortListenBacklog: -1,
  id: 1,
  servers: [],
  groups: new Map(),
  weights: new Map(),
  standalone: true,
  standaloneEnabled: true,
  reconfigEnabled: false,
  dynamicConfigFile: undefined,
  configVersion: 0,
  observer: false,
  quorumListenOnAllIPs: false,
  peerAddress: undefined,
  peerSecret: undefined,
  quorumTls: undefined,
  quorumHostnameVerification: true,
  join: false,
  leaderServes: true,
  observerSyncEnabled: true,
  fourLetterWords: new Set(['srvr']),
  admin: {
    enabled: true,
    host: '127.0.0.1',
    port: 8080,
    commandUrl: '/commands',
    snapshotEnabled: true,
    restoreEnabled: true,
    rateLimiterIntervalMs: 300_000,
  },
  metrics: { enabled: false, host: '127.0.0.1', port: 7000, exportJvmInfo: true },
  autopurge: { snapRetainCount: 3, purgeIntervalHours: 0 },
  snapCount: 100_000,
  snapSizeLimitBytes: 4 * 1024 ** 3,
  forceSync: true,
  fsyncWarningMs: 1000,
  commitLogCount: 500,
  maxFrameBytes: 0xfffff,
  globalOutstandingLimit: 1000,
  throttledOpWaitTimeMs: 0,
  skipAcl: false,
  eagerAclCheck: false,
  enforceQuota: false,
  digestEnabled: true,
  digestAuthEnabled: true,
  superDigest: undefined,
  x509SuperUser: undefined,
  localSessionsEnabled: false,
  localSessionsUpgradingEnabled: false,
  readOnlyModeEnabled: false,
  ttlEnabled: true,
  container: { checkIntervalMs: 60_000, maxPerMinute: 10_000, maxNeverUsedIntervalMs: 0 },
  logLevel: 'info',
  ignored: [],
  warnings: [],
  text: '',
}

test('without file and flags: a server of one, on this machine only', () => {
  assert.deepEqual(load({}, {}), quickStart)
})

test("with a file: ZooKeeper's defaults", () => {
  const text = 'dataDir=/d\nclientPort=2181'
  assert.deepEqual(load(zooCfg, { 'zoo.cfg': text }), {
    ...quickStart,
    file: 'zoo.cfg',
    dataDir: '/d',
    dataLogDir: '/d',
    clientHost: undefined,
    tickTime: 3000,
    minSessionTimeout: 6000,
    maxSessionTimeout: 60_000,
    admin: { ...quickStart.admin, host: '0.0.0.0' },
    metrics: { ...quickStart.metrics, host: '0.0.0.0' },
    text,
  })
})

const tls = {
  clientAuth: 'need',
  protocols: ['TLSv1.2', 'TLSv1.3'],
  ciphers: undefined,
  trustStore: undefined,
}
const keyStore = { path: '/d/key.pem', password: undefined, passwordPath: undefined, type: 'pem' }
const tlsLines = 'secureClientPort=2281\nssl.keyStore.location=/d/key.pem'

/** Lines of a file, and those fields of the configuration which they change. */
const read: readonly (readonly [lines: string, expected: Partial<Config>])[] = [
  ['dataLogDir=/log', { dataLogDir: '/log' }],
  ['dataDir=/e', { dataDir: '/e', dataLogDir: '/e' }],
  ['clientPort=0', { clientPort: 0 }],
  ['clientPort=2181\nclientPortAddress=10.0.0.1', { clientPort: 2181, clientHost: '10.0.0.1' }],
  ['clientPort=2181\nclientPortAddress=[::1]', { clientHost: '::1' }],
  ['clientPort=2181\nclientPortAddress=0.0.0.0', { clientHost: undefined }],
  ['tickTime=+500', { tickTime: 500, minSessionTimeout: 1000, maxSessionTimeout: 10_000 }],
  ['tickTime=100\ntickTime=200', { tickTime: 200 }],
  ['minSessionTimeout=-1\nmaxSessionTimeout=6000', { minSessionTimeout: 6000, maxSessionTimeout: 6000 }],
  ['initLimit=0\nsyncLimit=7', { initLimit: 10, syncLimit: 7 }],
  [
    'maxClientCnxns=-1\nmaxCnxns=9\nclientPortListenBacklog=50',
    { maxClientCnxns: 0, maxCnxns: 9, clientPortListenBacklog: 50 },
  ],
  ['4lw.commands.whitelist=ruok, mntr', { fourLetterWords: new Set(['srvr', 'ruok', 'mntr']) }],
  ['4lw.commands.whitelist=stat,*', { fourLetterWords: '*' }],
  ['readonlymode.enabled=TRUE', { readOnlyModeEnabled: true, fourLetterWords: new Set(['srvr', 'isro']) }],
  [
    'admin.enableServer=false\nadmin.serverPort=81\nadmin.serverAddress=h\nadmin.commandURL=/c',
    { admin: { ...quickStart.admin, enabled: false, port: 81, host: 'h', commandUrl: '/c' } },
  ],
  [
    'admin.snapshot.enabled=false\nadmin.restore.enabled=false\nadmin.rateLimiterIntervalInMS=0',
    {
      admin: {
        ...quickStart.admin,
        host: '0.0.0.0',
        snapshotEnabled: false,
        restoreEnabled: false,
        rateLimiterIntervalMs: 0,
      },
    },
  ],
  [
    'metricsProvider.className=org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider\n' +
      'metricsProvider.httpPort=7001\nmetricsProvider.httpHost=127.0.0.1\nmetricsProvider.exportJvmInfo=false',
    { metrics: { enabled: true, host: '127.0.0.1', port: 7001, exportJvmInfo: false } },
  ],
  [
    'metricsProvider.className=org.apache.zookeeper.metrics.impl.DefaultMetricsProvider',
    { metrics: { ...quickStart.metrics, host: '0.0.0.0' } },
  ],
  [
    'autopurge.snapRetainCount=5\nautopurge.purgeInterval=24',
    { autopurge: { snapRetainCount: 5, purgeIntervalHours: 24 } },
  ],
  ['autopurge.purgeInterval=30m', { autopurge: { snapRetainCount: 3, purgeIntervalHours: 0.5 } }],
  ['autopurge.purgeInterval=-1', { autopurge: { snapRetainCount: 3, purgeIntervalHours: 0 } }],
  ['snapCount=10\nsnapSizeLimitInKb=2', { snapCount: 10, snapSizeLimitBytes: 2048 }],
  ['snapSizeLimitInKb=-1', { snapSizeLimitBytes: 0 }],
  ['forceSync=no\nskipACL=yes\nleaderServes=no', { forceSync: false, skipAcl: true, leaderServes: false }],
  ['forceSync=true\nskipACL=false', { forceSync: true, skipAcl: false }],
  ['fsync.warningthresholdms=20\ncommitLogCount=7', { fsyncWarningMs: 20, commitLogCount: 7 }],
  ['jute.maxbuffer=4194304', { maxFrameBytes: 4_194_304 }],
  ['jute.maxbuffer=0x1FFFFF', { maxFrameBytes: 0x1fffff }],
  ['zookeeper.jute.maxbuffer=2048', { maxFrameBytes: 2048 }],
  [
    'globalOutstandingLimit=5\nthrottled_op_wait_time=6',
    { globalOutstandingLimit: 5, throttledOpWaitTimeMs: 6 },
  ],
  ['zookeeper.throttledOpWaitTime=7', { throttledOpWaitTimeMs: 7 }],
  ['syncEnabled=false', { observerSyncEnabled: false }],
  ['zookeeper.observer.syncEnabled=false', { observerSyncEnabled: false }],
  [
    'enableEagerACLCheck=true\nenforceQuota=true\ndigest.enabled=false',
    { eagerAclCheck: true, enforceQuota: true, digestEnabled: false },
  ],
  ['DigestAuthenticationProvider.enabled=false', { digestAuthEnabled: false }],
  [
    'zookeeper.DigestAuthenticationProvider.superDigest=super:xQJmxLMiHGwaqBvst5y6rkB6HQs=',
    { superDigest: 'super:xQJmxLMiHGwaqBvst5y6rkB6HQs=' },
  ],
  ['X509AuthenticationProvider.superUser=CN=admin,O=x', { x509SuperUser: 'CN=admin,O=x' }],
  [
    'localSessionsEnabled=true\nlocalSessionsUpgradingEnabled=true',
    { localSessionsEnabled: true, localSessionsUpgradingEnabled: true },
  ],
  ['extendedTypesEnabled=false', { ttlEnabled: false }],
  ['zookeeper.extendedTypesEnabled=true', { ttlEnabled: true }],
  [
    'znode.container.checkIntervalMs=1\nznode.container.maxPerMinute=2\nznode.container.maxNeverUsedIntervalMs=3',
    { container: { checkIntervalMs: 1, maxPerMinute: 2, maxNeverUsedIntervalMs: 3 } },
  ],
  ['reconfigEnabled=true\nquorumListenOnAllIPs=true', { reconfigEnabled: true, quorumListenOnAllIPs: true }],
  ['electionAlg=3\nsslQuorum=false\nquorum.auth.enableSasl=false', { ignored: [] }],
  ['authProvider.1=org.apache.zookeeper.server.auth.X509AuthenticationProvider', { ignored: [] }],
  [
    'zookeeper.authProvider.digest=org.apache.zookeeper.server.auth.DigestAuthenticationProvider',
    { ignored: [] },
  ],
  ['server.1=a:2888:3888', { standalone: true, servers: [], id: 1 }],
  [
    'clientPort=2181\nserver.7=a:2888:3888;10.0.0.7:2181',
    { standalone: true, clientPort: 2181, clientHost: '10.0.0.7' },
  ],
  [
    'server.1=a:2888:3888\ngroup.1=1\nweight.1=2',
    { standalone: true, groups: new Map(), weights: new Map() },
  ],
  [
    tlsLines,
    { secureClientPort: 2281, secureClientHost: undefined, tls: { ...tls, keyStore } as Config['tls'] },
  ],
  [`${tlsLines}\nsecureClientPortAddress=127.0.0.1`, { secureClientHost: '127.0.0.1' }],
  ['ssl.keyStore.location=/d/key.pem', { tls: undefined }],
  [
    'clientPort=1\nclient.portUnification=true\nssl.keyStore.location=/d/key\nssl.keyStore.type=JKS\n' +
      'ssl.keyStore.password=secret\nssl.trustStore.location=/d/key\nssl.trustStore.type=p12\n' +
      'ssl.trustStore.passwordPath=/d/key\nssl.clientAuth=WANT',
    {
      portUnification: true,
      tls: {
        keyStore: { path: '/d/key', password: 'secret', passwordPath: undefined, type: 'jks' },
        trustStore: { path: '/d/key', password: undefined, passwordPath: '/d/key', type: 'pkcs12' },
        clientAuth: 'want',
        protocols: ['TLSv1.2', 'TLSv1.3'],
        ciphers: undefined,
      },
    },
  ],
  [
    `${tlsLines}\nssl.protocol=TLSv1.3`,
    { tls: { ...tls, keyStore, protocols: ['TLSv1.3'] } as Config['tls'] },
  ],
  [`${tlsLines}\nssl.protocol=TLS`, { tls: { ...tls, keyStore } as Config['tls'] }],
  [
    `${tlsLines}\nssl.protocol=TLSv1.3\nssl.enabledProtocols=tlsv1.2`,
    { tls: { ...tls, keyStore, protocols: ['TLSv1.2'] } as Config['tls'] },
  ],
  [
    `${tlsLines}\nssl.ciphersuites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,ECDHE-ECDSA-AES256-SHA384, TLS_AES_256_GCM_SHA384`,
    {
      tls: {
        ...tls,
        keyStore,
        ciphers: 'ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-SHA384:TLS_AES_256_GCM_SHA384',
      } as Config['tls'],
    },
  ],
]

for (const [lines, expected] of read) {
  test(`zoo.cfg is read: ${lines.replaceAll('\n', ' / ')}`, () => {
    const config = load(zooCfg, standalone(lines))
    const seen = Object.fromEntries(Object.keys(expected).map((key) => [key, config[key as keyof Config]]))
    assert.deepEqual(seen, expected)
  })
}

test('every key also works behind the prefix of a system property', () => {
  const lines = 'clientPort=2182\nserver.1=a:1:2\nssl.clientAuth=none\n4lw.commands.whitelist=*'
  const prefixed = lines.replaceAll(/^/gm, 'zookeeper.')
  const { text: _plain, ...plain } = load(zooCfg, standalone(lines))
  const { text: _prefixed, ...same } = load(zooCfg, standalone(prefixed))
  assert.deepEqual(same, plain)
})

test('an ensemble: members by id, this one by myid', () => {
  const config = load(zooCfg, ensemble('server.4=d:2888:3888:observer;2184\npeerType=participant'))
  const { servers, id, standalone: alone, observer, initLimit, syncLimit, clientPort, warnings } = config
  assert.deepEqual(
    { servers, id, alone, observer, initLimit, syncLimit, clientPort, warnings },
    {
      servers: [
        server(1, 'a'),
        server(2, 'b'),
        server(3, 'c'),
        server(4, 'd', { observer: true, clientHost: '0.0.0.0', clientPort: 2184 }),
      ],
      id: 2,
      alone: false,
      observer: false,
      initLimit: 10,
      syncLimit: 5,
      clientPort: undefined,
      warnings: ['there is no clientPort: clients can not connect to this server'],
    },
  )
})

test("an ensemble: the client port of this server's own line is used", () => {
  const config = load(zooCfg, ensemble('server.2=b:2888:3888;[::1]:2182\nclientPort=2182'))
  assert.deepEqual([config.clientPort, config.clientHost], [2182, '::1'])
})

test('an ensemble: the observer knows that it is one, whatever peerType says', () => {
  const config = load(zooCfg, ensemble('server.2=b:2888:3888:observer\nserver.4=d:1:2\nclientPort=1'))
  assert.deepEqual(
    [config.observer, config.warnings],
    [true, ['zoo.cfg:7: server.2 replaces the one at zoo.cfg:5']],
  )
})

test('an ensemble of one is one when standaloneEnabled is false', () => {
  const text = 'initLimit=1\nsyncLimit=1\nstandaloneEnabled=false\nserver.5=a:2888:3888'
  const config = load(zooCfg, { ...standalone(text), '/d/myid': '5' })
  assert.deepEqual([config.standalone, config.servers, config.id], [false, [server(5, 'a')], 5])
})

test('groups and weights are read by number', () => {
  const config = load(zooCfg, ensemble('group.1=1:2\ngroup.2=3\nweight.1=4'))
  assert.deepEqual(
    [config.groups, config.weights],
    [
      new Map([
        [1, [1, 2]],
        [2, [3]],
      ]),
      new Map([[1, 4]]),
    ],
  )
})

const dynamicFlags = 'initLimit=10\nsyncLimit=5\ndynamicConfigFile=/d/zoo.cfg.dynamic.100000002'

test('the members may be in a dynamic file, whose name has the version', () => {
  const config = load(zooCfg, {
    ...standalone(dynamicFlags),
    '/d/zoo.cfg.dynamic.100000002': `${members}\ngroup.1=1:2:3`,
    '/d/myid': '3',
  })
  const { servers, configVersion, groups, dynamicConfigFile } = config
  assert.deepEqual(
    { servers, configVersion, groups, dynamicConfigFile },
    {
      servers: [server(1, 'a'), server(2, 'b'), server(3, 'c')],
      configVersion: 0x100000002,
      groups: new Map([[1, [1, 2, 3]]]),
      dynamicConfigFile: '/d/zoo.cfg.dynamic.100000002',
    },
  )
})

test('the version may also be a line', () => {
  assert.equal(load(zooCfg, ensemble('version=10000000a')).configVersion, 0x10000000a)
})

test('flags alone make an ensemble', () => {
  const config = load({ id: '1', servers: ['1=a:2888', '2=b:2888:3888;2182', '3=[::1]:2888'] }, {})
  const { servers, id, standalone: alone, initLimit, syncLimit, clientPort, clientHost, tickTime } = config
  assert.deepEqual(
    { servers, id, alone, initLimit, syncLimit, clientPort, clientHost, tickTime },
    {
      servers: [
        server(1, 'a', { electionPort: 0 }),
        server(2, 'b', { clientHost: '0.0.0.0', clientPort: 2182 }),
        server(3, '::1', { electionPort: 0 }),
      ],
      id: 1,
      alone: false,
      initLimit: 10,
      syncLimit: 5,
      clientPort: 2181,
      clientHost: '127.0.0.1',
      tickTime: 2000,
    },
  )
})

test('without a file the port for TLS is as open as the plain one', () => {
  const setting = (key: string, value: string) => ({ flag: '--x', key, value })
  const tlsPort = [setting('secureClientPort', '1'), setting('ssl.keyStore.location', 'k.pem')]
  const host = (...more: readonly string[][]) => {
    const settings = [...tlsPort, ...more.map(([key = '', value = '']) => setting(key, value))]
    return load({ settings }, { 'k.pem': '' }).secureClientHost
  }
  assert.deepEqual(
    [
      host(),
      host(['clientPortAddress', '0.0.0.0']),
      host(['clientPortAddress', '10.0.0.1']),
      host(['secureClientPortAddress', '0.0.0.0']),
    ],
    ['127.0.0.1', undefined, '10.0.0.1', undefined],
  )
})

test('flags win over the lines of the file, and servers replace its servers', () => {
  const flags: Flags = {
    ...zooCfg,
    servers: ['2=x:1', '8=y:1', '9=z:1'],
    settings: [
      { flag: '--client-port', key: 'clientPort', value: '2189' },
      { flag: '--set', key: 'zookeeper.skipACL', value: 'yes' },
    ],
    logLevel: 'debug',
  }
  const config = load(flags, ensemble('clientPort=2181\nskipACL=no'))
  assert.deepEqual(
    [
      config.clientPort,
      config.skipAcl,
      config.servers.map(({ id }) => id),
      config.logLevel,
      config.warnings.length,
    ],
    [2189, true, [2, 8, 9], 'debug', 1],
  )
})

const whole = 'expected a whole number'
const form = 'expected host:peerPort:electionPort[:participant|observer][;[clientHost:]clientPort], but'

/** Lines of a file of one server, from line 2, and all that is said of them. */
const refusedStandalone: readonly (readonly [lines: string, ...expected: string[]])[] = [
  ['tickTime=abc', `zoo.cfg:2: tickTime=abc is not valid: ${whole} of milliseconds, at least 1`],
  ['tickTime=0', `zoo.cfg:2: tickTime=0 is not valid: ${whole} of milliseconds, at least 1`],
  ['tickTime=', `zoo.cfg:2: tickTime= is not valid: ${whole} of milliseconds, at least 1`],
  [
    'tickTime=3000000000',
    `zoo.cfg:2: tickTime=3000000000 is not valid: ${whole} of milliseconds, at least 1`,
  ],
  [
    'clientPort=x\n\nzookeeper.initLimit=1.5',
    'zoo.cfg:2: clientPort=x is not valid: expected a port number, 1 to 65535 (0 takes any free port)',
    `zoo.cfg:4: zookeeper.initLimit=1.5 is not valid: ${whole} of ticks, at least 0`,
  ],
  [
    'clientPort=65536',
    'zoo.cfg:2: clientPort=65536 is not valid: expected a port number, 1 to 65535 (0 takes any free port)',
  ],
  ['dataDir=', 'zoo.cfg:2: dataDir= is not valid: expected a directory'],
  ['reconfigEnabled=yes', 'zoo.cfg:2: reconfigEnabled=yes is not valid: expected true or false'],
  ['skipACL=on', 'zoo.cfg:2: skipACL=on is not valid: expected yes or no'],
  ['peerType=witness', 'zoo.cfg:2: peerType=witness is not valid: expected participant or observer'],
  [
    'minSessionTimeout=70000',
    'zoo.cfg:2: minSessionTimeout=70000 is not valid: expected at most maxSessionTimeout, which is 60000',
  ],
  [
    'maxSessionTimeout=5000',
    'zoo.cfg:2: maxSessionTimeout=5000 is not valid: expected at least minSessionTimeout, which is 6000 (2 ticks)',
  ],
  ['clientPortAddress=h', 'zoo.cfg:2: clientPortAddress=h needs clientPort: expected both'],
  ['secureClientPortAddress=h', 'zoo.cfg:2: secureClientPortAddress=h needs secureClientPort: expected both'],
  [
    'clientPort=1\nclientPortAddress=a b',
    'zoo.cfg:3: clientPortAddress=a b is not valid: expected a host name or an IP address of this machine',
  ],
  [
    'electionAlg=1',
    'zoo.cfg:2: electionAlg=1 is not supported: there is one election algorithm; valid is only 3',
  ],
  [
    'quorum.auth.enableSasl=true',
    'zoo.cfg:2: quorum.auth.enableSasl=true is not supported: servers can not authenticate each other by SASL; valid is only false',
  ],
  [
    'portUnification=true',
    'zoo.cfg:2: portUnification=true is not supported: a peer port takes either TLS or plain connections; ' +
      'set sslQuorum on all servers and restart them together; valid is only false',
  ],
  [
    'ssl.quorum.crl=true',
    'zoo.cfg:2: ssl.quorum.crl=true is not supported: revoked certificates are not looked up; valid is only false',
  ],
  ['peerSecretFile=/d/no', '/d/no: can not be read: no such file'],
  [
    'peerSecretFile=/d/key',
    'zoo.cfg:2: peerSecretFile=/d/key is not valid: expected a file with a long random text, for example of ' +
      'openssl rand -base64 32; it has 0 bytes, and 16 are the least',
  ],
  ['sslQuorum=maybe', 'zoo.cfg:2: sslQuorum=maybe is not valid: expected true or false'],
  [
    'enforce.auth.enabled=true',
    'zoo.cfg:2: enforce.auth.enabled=true is not supported: clients can not be made to authenticate; protect znodes by their ACLs; valid is only false',
  ],
  [
    'authProvider.1=com.example.Mine',
    'zoo.cfg:2: authProvider.1=com.example.Mine is not supported: Java classes can not be loaded; ' +
      'valid are org.apache.zookeeper.server.auth.X509AuthenticationProvider, ' +
      'org.apache.zookeeper.server.auth.DigestAuthenticationProvider, org.apache.zookeeper.server.auth.IPAuthenticationProvider',
  ],
  [
    'DigestAuthenticationProvider.digestAlg=SHA3-256',
    'zoo.cfg:2: DigestAuthenticationProvider.digestAlg=SHA3-256 is not supported: digests are SHA-1 in every ACL; valid is only SHA1',
  ],
  [
    'oraclePath=/x',
    'zoo.cfg:2: oraclePath=/x is not supported: a quorum is always counted from the voters; take the line out',
  ],
  [
    'DigestAuthenticationProvider.superDigest=super:secret',
    'zoo.cfg:2: DigestAuthenticationProvider.superDigest=*** is not valid: ' +
      'expected user:hash where hash is base64(sha1("user:password")), 28 characters',
  ],
  [
    'jute.maxbuffer=1m',
    'zoo.cfg:2: jute.maxbuffer=1m is not valid: expected a whole number of bytes, 1024 to 2147483647, decimal or like 0xfffff',
  ],
  [
    'autopurge.purgeInterval=1w',
    'zoo.cfg:2: autopurge.purgeInterval=1w is not valid: expected a whole number of hours (0: off), or with a unit ms, s, m, h or d',
  ],
  [
    'admin.commandURL=c',
    'zoo.cfg:2: admin.commandURL=c is not valid: expected a path that begins with /, for example /commands',
  ],
  [
    'metricsProvider.className=x.Y',
    'zoo.cfg:2: metricsProvider.className=x.Y is not valid: expected ' +
      'org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider, or no such line for no metrics',
  ],
  ['a=\\u12', 'zoo.cfg:2: a=\\u12 is not valid: expected four hexadecimal digits after each \\u'],
  [
    'server.x=a:1:2',
    'zoo.cfg:2: server.x=a:1:2 is not valid: expected server.N with a number N, 0 to 999999999',
  ],
  [
    'server.1000000000=a:1:2',
    'zoo.cfg:2: server.1000000000=a:1:2 is not valid: expected server.N with a number N, 0 to 999999999',
  ],
  [
    'server.1=a:1:1',
    `zoo.cfg:2: server.1=a:1:1 is not valid: ${form} the peer port and the election port are the same`,
  ],
  [
    'server.1=a:1:2|b:1:2',
    `zoo.cfg:2: server.1=a:1:2|b:1:2 is not valid: ${form} several addresses for one server (multiAddress) are not supported`,
  ],
  [
    'server.1=a:1:2\nserver.2=b:1:2:observer',
    'zoo.cfg: there are observers, but only one participant: expected at least two, or standaloneEnabled=false',
  ],
  [
    'standaloneEnabled=false',
    'zoo.cfg: standaloneEnabled=false needs at least one server.N line that is a participant',
  ],
  [
    'server.1=a:1:2;2181\nclientPort=2182',
    'zoo.cfg:3: clientPort=2182 is not valid: expected 0.0.0.0:2181 as in the line server.1, or no such line',
  ],
  ['dynamicConfigFile=/d/no', '/d/no: can not be read: no such file'],
  [
    'secureClientPort=2281',
    "zoo.cfg:2: secureClientPort=2281 needs ssl.keyStore.location: the file with this server's key and certificate",
  ],
  [
    'client.portUnification=true',
    "zoo.cfg:2: client.portUnification=true needs ssl.keyStore.location: the file with this server's key and certificate",
  ],
  [
    'ssl.keyStore.location=/d/key',
    'zoo.cfg:2: ssl.keyStore.location=/d/key is not valid: expected a name that ends in .pem, .p12, .pfx or .jks, or ssl.keyStore.type beside it',
  ],
  [
    'ssl.keyStore.location=/d/no.jks',
    'zoo.cfg:2: ssl.keyStore.location=/d/no.jks is not valid: expected the path of a file that exists',
  ],
  [
    'ssl.keyStore.location=/d/key.pem\nssl.keyStore.type=BCFKS',
    'zoo.cfg:3: ssl.keyStore.type=BCFKS is not valid: expected PEM, PKCS12 or JKS',
  ],
  ['ssl.clientAuth=maybe', 'zoo.cfg:2: ssl.clientAuth=maybe is not valid: expected none, want or need'],
  [
    'ssl.enabledProtocols=TLSv1.1',
    'zoo.cfg:2: ssl.enabledProtocols=TLSv1.1 is not valid: expected TLSv1.2 or TLSv1.3, or both with a comma between',
  ],
  [
    'ssl.ciphersuites=TLS_RSA_WITH_RC4_128_MD5',
    'zoo.cfg:2: ssl.ciphersuites=TLS_RSA_WITH_RC4_128_MD5 is not valid: expected cipher suites of TLS 1.2 and 1.3 ' +
      'by their IANA or OpenSSL names with commas between, not TLS_RSA_WITH_RC4_128_MD5',
  ],
]

for (const [lines, ...expected] of refusedStandalone) {
  test(`zoo.cfg is refused: ${lines.replaceAll('\n', ' / ')}`, () => {
    assert.deepEqual(problems(zooCfg, standalone(lines)), expected)
  })
}

test('problems of a file come in the order of its lines, those of the whole file last', () => {
  const text = `server.1=a:1:2\nserver.2=b:x:2\nreconfigEnabled=x\ntickTime=x\n`
  const places = problems(zooCfg, { 'zoo.cfg': text }).map((line) => line.slice(0, line.indexOf(': ')))
  assert.deepEqual(places, ['zoo.cfg:2', 'zoo.cfg:3', 'zoo.cfg:4', 'zoo.cfg'])
})

test('a password is not shown in a message', () => {
  const lines = 'ssl.keyStore.password=hush\nsecureClientPort=1\nssl.trustStore.password=hush'
  assert.equal(problems(zooCfg, standalone(lines)).join('\n').includes('hush'), false)
})

/** Lines of a file of three servers, from line 7, and all that is said of them. */
const refusedEnsemble: readonly (readonly [lines: string, ...expected: string[]])[] = [
  ['initLimit=0', `zoo.cfg:7: initLimit=0 is not valid: ${whole} of ticks, at least 1`],
  ['server.03=d:1:2', 'zoo.cfg:7: server.03=d:1:2 is not valid: expected one line for server 3'],
  [
    'server.2=b\nserver.3=c',
    `zoo.cfg:7: server.2=b is not valid: ${form} there is no peer port`,
    `zoo.cfg:8: server.3=c is not valid: ${form} there is no peer port`,
  ],
  [
    'group.1=1:2:x',
    'zoo.cfg:7: group.1=1:2:x is not valid: expected server ids with colons between, for example 1:2:3',
  ],
  [
    'group.1=1:2',
    'zoo.cfg:6: server.3 is in no group: with group.N or weight.N lines every participant must be in one',
  ],
  [
    'group.1=1:2:3\ngroup.2=3',
    'zoo.cfg:8: group.2=3 is not valid: expected each server in one group, and 3 is in two',
  ],
  ['group.1=1:2:3:4', 'zoo.cfg:7: group.1=1:2:3:4 is not valid: expected participants only, and 4 is none'],
  ['group.1=1:2:3\nweight.1=x', `zoo.cfg:8: weight.1=x is not valid: ${whole}, at least 0`],
  [
    'group.1=1:2:3\nweight.1=0\nweight.2=0\nweight.3=0',
    'zoo.cfg:7: all weights are 0: no quorum could ever be',
  ],
  [
    'dynamicConfigFile=/d/myid',
    'zoo.cfg:4: server.1 stands beside dynamicConfigFile: expected it in /d/myid only',
    'zoo.cfg:5: server.2 stands beside dynamicConfigFile: expected it in /d/myid only',
    'zoo.cfg:6: server.3 stands beside dynamicConfigFile: expected it in /d/myid only',
    '/d/myid:1: 2 is not allowed in the dynamic file: expected only server.N, group.N, weight.N and version',
  ],
]

for (const [lines, ...expected] of refusedEnsemble) {
  test(`zoo.cfg of an ensemble is refused: ${lines.replaceAll('\n', ' / ')}`, () => {
    assert.deepEqual(problems(zooCfg, ensemble(lines)), expected)
  })
}

const threeServers = ['1=a:2888', '2=b:2888', '3=c:2888']

/** TLS between servers, from line 7. */
const quorumTlsLines =
  'sslQuorum=true\nssl.quorum.keyStore.location=/d/key.pem\nssl.quorum.trustStore.location=/d/trust.p12\n' +
  'ssl.quorum.trustStore.passwordPath=/d/password'
const quorumFiles = { '/d/key.pem': '', '/d/trust.p12': '', '/d/password': '' }

test('TLS between servers has keys of its own', () => {
  const more =
    'ssl.quorum.enabledProtocols=TLSv1.3\nssl.quorum.ciphersuites=TLS_AES_128_GCM_SHA256\nssl.clientAuth=none'
  const { quorumTls, quorumHostnameVerification, tls, ignored, warnings } = load(zooCfg, {
    ...ensemble(`clientPort=1\n${quorumTlsLines}\n${more}`),
    ...quorumFiles,
  })
  assert.deepEqual([tls, ignored, warnings, quorumHostnameVerification], [undefined, [], [], true])
  assert.deepEqual(quorumTls, {
    keyStore: { path: '/d/key.pem', password: undefined, passwordPath: undefined, type: 'pem' },
    trustStore: { path: '/d/trust.p12', password: undefined, passwordPath: '/d/password', type: 'pkcs12' },
    clientAuth: 'need',
    protocols: ['TLSv1.3'],
    ciphers: 'TLS_AES_128_GCM_SHA256',
  })
})

test('TLS between servers may leave host names out, and always asks for certificates', () => {
  const more = 'ssl.quorum.hostnameVerification=false\nssl.quorum.clientAuth=none'
  const config = load(zooCfg, { ...ensemble(`clientPort=1\n${quorumTlsLines}\n${more}`), ...quorumFiles })
  assert.equal(config.quorumHostnameVerification, false)
  assert.deepEqual(config.warnings, [
    'zoo.cfg:13: ssl.quorum.clientAuth=none is taken as need: both sides show a certificate',
  ])
})

test('TLS between servers needs a key and authorities', () => {
  assert.deepEqual(problems(zooCfg, ensemble('sslQuorum=true')), [
    "zoo.cfg:7: sslQuorum=true needs ssl.quorum.keyStore.location: the file with this server's key and certificate",
    'zoo.cfg:7: sslQuorum=true needs ssl.quorum.trustStore.location: the certificates of the authorities of the other servers',
  ])
})

test('keys of TLS between servers do nothing while it is off, or without other servers', () => {
  const off = load(zooCfg, ensemble('clientPort=1\nssl.quorum.keyStore.location=/no.pem'))
  const alone = load(zooCfg, standalone('clientPort=1\nsslQuorum=true'))
  assert.deepEqual(off.ignored, ['ssl.quorum.keyStore.location (zoo.cfg:8) has no effect'])
  assert.deepEqual([off.quorumTls, alone.quorumTls], [undefined, undefined])
})

test('the peer port is listened on at the address of the own line, or at all', () => {
  const own = (id: string, lines = '') =>
    load({ ...zooCfg, id }, { ...ensemble(lines), '/d/myid': id }).peerAddress
  assert.deepEqual(own('3'), { host: 'c', port: 2888 })
  assert.deepEqual(own('1', 'quorumListenOnAllIPs=true'), { host: undefined, port: 2888 })
  const any = load({ id: '1', servers: ['1=0.0.0.0:5', '2=b:5', '3=c:5'] }, {})
  assert.deepEqual(any.peerAddress, { host: undefined, port: 5 })
})

test('one server is an ensemble with a peer port if it need not be standalone', () => {
  const lone = load(
    { id: '1', servers: ['1=a:2888'], settings: [{ flag: '-D', key: 'standaloneEnabled', value: 'false' }] },
    {},
  )
  assert.deepEqual([lone.standalone, lone.peerAddress], [false, { host: 'a', port: 2888 }])
  assert.deepEqual([lone.warnings, lone.initLimit, lone.syncLimit], [[], 10, 5])
  const alone = load({ id: '1', servers: ['1=a:2888'] }, {})
  assert.deepEqual([alone.standalone, alone.peerAddress], [true, undefined])
})

test('the secret is the text of its file without the blanks around it', () => {
  const lines = 'clientPort=1\npeerSecretFile=/d/secret'
  const files = { ...ensemble(lines), '/d/secret': ' 0123456789abcdef\n' }
  const config = load(zooCfg, files)
  assert.deepEqual(config.peerSecret, Buffer.from('0123456789abcdef'))
  assert.deepEqual(config.warnings, [])
  const short = problems(zooCfg, { ...files, '/d/secret': '0123456789abcde\n\n' })
  assert.match(
    short.join(),
    /^zoo.cfg:8: peerSecretFile=\/d\/secret .* it has 15 bytes, and 16 are the least$/,
  )
  const binary = problems(zooCfg, { ...files, '/d/secret': '\ufffd'.repeat(32) })
  assert.match(binary.join(), /its bytes are no text$/)
})

test('a secret that everybody may read is worth a warning', () => {
  const files: Files = { ...ensemble('clientPort=1\npeerSecretFile=/d/secret'), '/d/secret': 'x'.repeat(32) }
  const warningsWith = (mode: number | undefined) =>
    loadConfig(zooCfg, {
      exists: (path) => path in files,
      readFile: (path) => files[path] ?? assert.fail(path),
      mode: () => mode,
    }).warnings
  const warning = 'zoo.cfg:8: everybody on this machine may read /d/secret; chmod 600 keeps it secret'
  assert.deepEqual([0o644, 0o640, 0o600, undefined].map(warningsWith), [[warning], [], [], []])
})

test('a server that joins is no standalone one, whatever the list that it has', () => {
  const joiner = (...servers: string[]) => load({ id: '4', join: true, servers }, {})
  for (const own of ['4=d:2888', '4=d:2888:observer', '4=d:2888:3888:participant;2181']) {
    for (const others of [['1=a:2888'], threeServers]) {
      const { standalone, join, observer, peerAddress, warnings } = joiner(...others, own)
      const seen = { standalone, join, observer, peerAddress, warnings }
      const expected = { standalone: false, join: true, observer: own.endsWith('observer') }
      assert.deepEqual(seen, { ...expected, peerAddress: { host: 'd', port: 2888 }, warnings: [] })
    }
  }
})

test('a server without --join may be new to an ensemble, too, as participant or observer', () => {
  for (const own of ['4=d:2888', '4=d:2888:observer']) {
    const { standalone, join } = load({ id: '4', servers: [...threeServers, own] }, {})
    assert.deepEqual([standalone, join], [false, false])
  }
})

test('what an ensemble does now is asked for without a warning', () => {
  const lines = 'clientPort=1\nreconfigEnabled=true\nreadonlymode.enabled=true\nlocalSessionsEnabled=true'
  assert.deepEqual(load(zooCfg, ensemble(lines)).warnings, [])
})

const bare = { 'zoo.cfg': `dataDir=/d/\n${members}` }

const refused: readonly (readonly [fact: string, flags: Flags, files: Files, expected: readonly string[]])[] =
  [
    ['a file that is not there', zooCfg, {}, ['zoo.cfg: can not be read: no such file']],
    [
      'no dataDir',
      zooCfg,
      { 'zoo.cfg': 'clientPort=2181' },
      ['zoo.cfg: dataDir is missing: expected a directory, for example dataDir=/var/lib/zabd'],
    ],
    [
      'an ensemble without limits and id: all of it is told',
      zooCfg,
      bare,
      [
        '/d/myid: is missing: expected a file with the id of this server (1, 2 or 3) in it, or the flag --id',
        'zoo.cfg: initLimit is missing: an ensemble needs a number of ticks, for example initLimit=10',
        'zoo.cfg: syncLimit is missing: an ensemble needs a number of ticks, for example syncLimit=5',
      ],
    ],
    [
      'a myid that is no number',
      zooCfg,
      { ...ensemble(''), '/d/myid': 'two\n' },
      ['/d/myid:1: "two" is not valid: expected a server id, 0 to 999999999'],
    ],
    [
      'a myid that is no member',
      zooCfg,
      { ...ensemble(''), '/d/myid': '9' },
      ['/d/myid: 9 is not one of the servers: expected 1, 2 or 3'],
    ],
    [
      'an id that is not the one of the data',
      { ...zooCfg, id: '1' },
      ensemble(''),
      ['--id: 1 is not valid: the data belongs to server 2, as /d/myid says'],
    ],
    [
      'an id that is no number',
      { id: 'one', servers: threeServers },
      {},
      ['--id: one is not valid: expected a server id, 0 to 999999999'],
    ],
    [
      'an id that is no member',
      { id: '4', servers: threeServers },
      {},
      ['--id: 4 is not one of the servers: expected 1, 2 or 3'],
    ],
    [
      'an ensemble by flags without an id',
      { servers: threeServers },
      {},
      [
        './data/myid: is missing: expected a file with the id of this server (1, 2 or 3) in it, or the flag --id',
      ],
    ],
    [
      'a server flag without an id',
      { id: '1', servers: [...threeServers, 'host1:2888'] },
      {},
      [
        '--server: host1:2888 is not valid: expected ID=host:peerPort:electionPort[:participant|observer][;[clientHost:]clientPort], for example 1=host1:2888',
      ],
    ],
    [
      'joining nobody',
      { id: '1', join: true, servers: ['1=a:2888'] },
      {},
      ['--join: needs an ensemble to join: expected its servers beside this one (--server, server.N)'],
    ],
    [
      'joining with a list that this server is not in',
      { id: '4', join: true, servers: threeServers },
      {},
      ['--id: 4 is not one of the servers: expected 1, 2 or 3'],
    ],
    [
      'a server flag twice',
      { id: '1', servers: [...threeServers, '1=d:2888'] },
      {},
      ['--server: 1=d:2888 is not valid: expected each id once'],
    ],
    [
      'observers without participants',
      zooCfg,
      { ...standalone('initLimit=1\nsyncLimit=1\nserver.1=a:1:2:observer'), '/d/myid': '1' },
      ['zoo.cfg: all servers are observers: expected at least two participants beside an observer'],
    ],
    [
      'a wrong flag',
      { settings: [{ flag: '--client-port', key: 'clientPort', value: 'abc' }] },
      {},
      [
        '--client-port: clientPort=abc is not valid: expected a port number, 1 to 65535 (0 takes any free port)',
      ],
    ],
    [
      'a dynamic file with other keys',
      zooCfg,
      {
        ...standalone(dynamicFlags),
        '/d/zoo.cfg.dynamic.100000002': `${members}\nclientPort=2181`,
        '/d/myid': '1',
      },
      [
        '/d/zoo.cfg.dynamic.100000002:4: clientPort is not allowed in the dynamic file: expected only server.N, group.N, weight.N and version',
      ],
    ],
  ]

for (const [fact, flags, files, expected] of refused) {
  test(`refused: ${fact}`, () => {
    assert.deepEqual(problems(flags, files), expected)
  })
}

const listed: readonly (readonly [lines: string, ...expected: string[]])[] = [
  ['preAllocSize=65536', 'preAllocSize (zoo.cfg:2) has no effect'],
  [
    'nio.numWorkerThreads=4\nzookeeper.serverCnxnFactory=x',
    'nio.numWorkerThreads (zoo.cfg:2) has no effect',
    'zookeeper.serverCnxnFactory (zoo.cfg:3) has no effect',
  ],
  [
    'zookeeper.server.realm=R\nquorum.auth.kerberos.servicePrincipal=p',
    'zookeeper.server.realm (zoo.cfg:2) has no effect',
    'quorum.auth.kerberos.servicePrincipal (zoo.cfg:3) has no effect',
  ],
  ['tikcTime=2000', 'tikcTime (zoo.cfg:2) is not known: did you mean tickTime?'],
  ['clientport=2181', 'clientport (zoo.cfg:2) is not known: did you mean clientPort?'],
  ['sever.1=a:1:2', 'sever.1 (zoo.cfg:2) is not known: did you mean server.1?'],
  [
    'ssl.keystore.location=x',
    'ssl.keystore.location (zoo.cfg:2) is not known: did you mean ssl.keyStore.location?',
  ],
  ['my.own.key=1', 'my.own.key (zoo.cfg:2) is not known'],
  ['a=1', 'a (zoo.cfg:2) is not known'],
]

for (const [lines, ...expected] of listed) {
  test(`a key without a meaning is accepted and listed: ${lines.replaceAll('\n', ' / ')}`, () => {
    assert.deepEqual(load(zooCfg, standalone(lines)).ignored, expected)
  })
}

const warned: readonly (readonly [lines: string, expected: string])[] = [
  ['clientPort=1\nclientPort=2', 'zoo.cfg:3: clientPort replaces the one at zoo.cfg:2'],
  ['clientPort=1\nforceSync=no', 'forceSync=no: what was acknowledged may be lost when the machine fails'],
  ['clientPort=1\nskipACL=yes', 'skipACL=yes: every client may read and change everything'],
  [
    'clientPort=1\nautopurge.snapRetainCount=1',
    'zoo.cfg:3: autopurge.snapRetainCount=1 is taken as 3, the least there is',
  ],
  [
    'clientPort=1\npeerType=observer',
    'zoo.cfg:3: peerType=observer is overruled by the list of servers: participant',
  ],
  [
    'clientPort=1\n4lw.commands.whitelist=rouk',
    'zoo.cfg:3: 4lw.commands.whitelist: there is no word rouk (conf, cons, crst, dirs, dump, envi, gtmk, hash, isro, ' +
      'mntr, ruok, srst, srvr, stat, stmk, wchc, wchp, wchs)',
  ],
  [
    `${tlsLines}\nssl.enabledProtocols=TLSv1.1,TLSv1.2`,
    'zoo.cfg:4: ssl.enabledProtocols: TLSv1.1 is not offered: only TLSv1.2',
  ],
  [
    'clientPort=1\nauthProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider',
    'zoo.cfg:3: authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider: there is no SASL here; ' +
      'clients can not authenticate by it',
  ],
]

for (const [lines, expected] of warned) {
  test(`a doubtful setting is accepted with a warning: ${lines.replaceAll('\n', ' / ')}`, () => {
    assert.deepEqual(load(zooCfg, standalone(lines)).warnings, [expected])
  })
}

test('an ensemble of two or four is accepted with a warning', () => {
  const two = load({ id: '1', servers: threeServers.slice(0, 2) }, {})
  const four = load({ id: '1', servers: [...threeServers, '4=d:2888'] }, {})
  assert.deepEqual(
    [...two.warnings, ...four.warnings],
    [
      'two participants: neither may fail; an ensemble of three would stand the loss of one',
      '4 participants stand no more failures than 3: an odd number is better',
    ],
  )
})

for (const [sample, alone] of [
  ['config/zoo.standalone.cfg', true],
  ['config/zoo.ensemble.cfg', false],
] as const) {
  const text = readFileSync(sample, 'utf8')
  const files = { 'zoo.cfg': text, '/var/lib/zabd/myid': '1' }

  test(`the sample ${sample} loads without a word`, () => {
    const { standalone: seen, ignored, warnings } = load(zooCfg, files)
    assert.deepEqual({ seen, ignored, warnings }, { seen: alone, ignored: [], warnings: [] })
  })

  test(`the settings that ${sample} leaves in comments load, too`, () => {
    const all = text.replaceAll(/^#([A-Za-z0-9]\S*=)/gm, '$1')
    const { ignored } = load(zooCfg, {
      ...files,
      'zoo.cfg': all,
      '/etc/zabd/server.pem': '',
      '/etc/zabd/clients.pem': '',
      '/etc/zabd/peers.secret': 'a long random text of thirty-two bytes',
      '/etc/zabd/zk1.pem': '',
      '/etc/zabd/servers-ca.pem': '',
    })
    assert.notEqual(all, text)
    assert.deepEqual(ignored, [])
  })
}

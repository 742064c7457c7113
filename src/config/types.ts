// The one validated, immutable configuration object. Files and flags are read by the modules beside it.

/** A member of the ensemble as a `server.N` line or a `--server` flag names it. */
export type ServerSpec = {
  readonly id: number
  readonly host: string
  readonly peerPort: number
  /** Accepted and kept for the text of /zookeeper/config; zabd uses only the peer port. 0 if not given. */
  readonly electionPort: number
  readonly observer: boolean
  readonly clientHost: string | undefined
  readonly clientPort: number | undefined
}

/** A store of keys or certificates; `type` is from the key or the file's extension. */
export type KeyStoreSpec = {
  readonly path: string
  readonly password: string | undefined
  readonly passwordPath: string | undefined
  readonly type: 'pem' | 'pkcs12' | 'jks'
}

export type TlsConfig = {
  readonly keyStore: KeyStoreSpec | undefined
  readonly trustStore: KeyStoreSpec | undefined
  /** ssl.clientAuth: none, want (asked, not required) or need (default, as in ZooKeeper). */
  readonly clientAuth: 'none' | 'want' | 'need'
  /** ssl.enabledProtocols / ssl.protocol as Node.js names them (TLSv1.2, TLSv1.3). */
  readonly protocols: readonly ('TLSv1.2' | 'TLSv1.3')[]
  /** OpenSSL names, from ssl.ciphersuites; undefined = default. */
  readonly ciphers: string | undefined
}

export type Config = {
  /** Where the settings came from, for messages: a file's path or undefined. */
  readonly file: string | undefined
  readonly dataDir: string
  /** Defaults to dataDir. */
  readonly dataLogDir: string
  /** Undefined: no plain port. 0: any free port (tests). */
  readonly clientPort: number | undefined
  readonly clientHost: string | undefined
  readonly secureClientPort: number | undefined
  readonly secureClientHost: string | undefined
  /** client.portUnification: TLS and plain on clientPort. */
  readonly portUnification: boolean
  readonly tls: TlsConfig | undefined
  /** milliseconds */
  readonly tickTime: number
  readonly initLimit: number
  readonly syncLimit: number
  /** milliseconds; default 2 and 20 ticks */
  readonly minSessionTimeout: number
  readonly maxSessionTimeout: number
  readonly maxClientCnxns: number
  readonly maxCnxns: number
  readonly clientPortListenBacklog: number
  /** This server's id; 1 when standalone without one. */
  readonly id: number
  /** Empty when standalone. */
  readonly servers: readonly ServerSpec[]
  /** group.N / weight.N, by server id; empty = majority. */
  readonly groups: ReadonlyMap<number, readonly number[]>
  readonly weights: ReadonlyMap<number, number>
  readonly standalone: boolean
  readonly standaloneEnabled: boolean
  readonly reconfigEnabled: boolean
  readonly dynamicConfigFile: string | undefined
  readonly observer: boolean
  readonly quorumListenOnAllIPs: boolean
  /** 4lw.commands.whitelist: the allowed words, or '*' for all. */
  readonly fourLetterWords: ReadonlySet<string> | '*'
  readonly admin: {
    readonly enabled: boolean
    readonly host: string
    readonly port: number
    readonly commandUrl: string
  }
  readonly metrics: { readonly enabled: boolean; readonly host: string; readonly port: number }
  readonly autopurge: { readonly snapRetainCount: number; readonly purgeIntervalHours: number }
  readonly snapCount: number
  readonly snapSizeLimitBytes: number
  readonly forceSync: boolean
  readonly fsyncWarningMs: number
  readonly commitLogCount: number
  /** jute.maxbuffer */
  readonly maxFrameBytes: number
  readonly globalOutstandingLimit: number
  readonly throttledOpWaitTimeMs: number
  readonly skipAcl: boolean
  readonly enforceQuota: boolean
  readonly digestEnabled: boolean
  readonly digestAuthEnabled: boolean
  /** DigestAuthenticationProvider.superDigest: `user:base64`, undefined = no super user. */
  readonly superDigest: string | undefined
  readonly x509SuperUser: string | undefined
  readonly localSessionsEnabled: boolean
  readonly localSessionsUpgradingEnabled: boolean
  readonly readOnlyModeEnabled: boolean
  /** extendedTypesEnabled as given; TTL znodes are on regardless unless it is explicitly false. */
  readonly ttlEnabled: boolean
  readonly container: {
    readonly checkIntervalMs: number
    readonly maxPerMinute: number
    readonly maxNeverUsedIntervalMs: number
  }
  readonly logLevel: 'trace' | 'debug' | 'info' | 'warn' | 'error'
  /** Keys that were accepted but have no meaning here, to be named once in the log. */
  readonly ignored: readonly string[]
  /** The text of the configuration file, for `configuration` commands. */
  readonly text: string
}

/** A configuration that can not be used. Ends the process with exit code 2. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

// The one validated, immutable configuration object. Files and flags are read by the modules beside it.
// Nothing here reads, checks or defaults anything.
import type { LogLevel } from '../base/log.ts'

/** What the command line gives. Every flag that stands for a key of zoo.cfg is one of `settings`. */
export type Flags = {
  /** Path of a zoo.cfg; undefined: no file. */
  readonly file?: string | undefined
  /** This server's id as typed; instead of the file myid. */
  readonly id?: string | undefined
  /** `ID=HOST:PEERPORT` and so on; given at all, they replace the server.N lines of the files. */
  readonly servers?: readonly string[] | undefined
  /** This server is new to a running ensemble (`--join`). */
  readonly join?: boolean | undefined
  /** In the order of the command line; they win over the file's lines. */
  readonly settings?: readonly FlagSetting[] | undefined
  readonly logLevel?: LogLevel | undefined
}

export type FlagSetting = {
  /** As the user typed it, for messages: `--client-port`. */
  readonly flag: string
  /** The key of zoo.cfg that it stands for. */
  readonly key: string
  readonly value: string
}

/** What loading a configuration needs of the machine. */
export type Env = {
  /** The text of a file. Throws an Error with a message for people when it can not be read. */
  readonly readFile: (path: string) => string
  readonly exists: (path: string) => boolean
  /** Permission bits of a file, as of chmod; undefined where there are none to judge. */
  readonly mode?: (path: string) => number | undefined
}

/** A member of the ensemble as a `server.N` line or a `--server` flag names it. */
export type ServerSpec = {
  readonly id: number
  /** Without the brackets of an IPv6 address. */
  readonly host: string
  readonly peerPort: number
  /** Accepted and kept for the text of /zookeeper/config; zabd uses only the peer port. 0 if there is none. */
  readonly electionPort: number
  readonly observer: boolean
  /** From the line; `;2181` alone means 0.0.0.0. Undefined together with clientPort. */
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
  /** Undefined: any address. */
  readonly clientHost: string | undefined
  readonly secureClientPort: number | undefined
  readonly secureClientHost: string | undefined
  /** client.portUnification: TLS and plain on clientPort. */
  readonly portUnification: boolean
  /** Undefined unless a port speaks TLS. */
  readonly tls: TlsConfig | undefined
  /** milliseconds */
  readonly tickTime: number
  /** ticks */
  readonly initLimit: number
  /** ticks */
  readonly syncLimit: number
  /** milliseconds; default 2 and 20 ticks */
  readonly minSessionTimeout: number
  readonly maxSessionTimeout: number
  /** Connections of one address; 0: no limit. */
  readonly maxClientCnxns: number
  /** Connections in all; 0: no limit. */
  readonly maxCnxns: number
  /** -1: the system's default. */
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
  /** Version of the member list: the hex suffix of the dynamic file's name, or the key `version`; else 0. */
  readonly configVersion: number
  readonly observer: boolean
  readonly quorumListenOnAllIPs: boolean
  /**
   * Where the other servers connect to; its host is that of this server's line, undefined: any address. Undefined when
   * standalone.
   */
  readonly peerAddress: { readonly host: string | undefined; readonly port: number } | undefined
  /** What the members prove to each other to know, at least 16 bytes; undefined: nothing. */
  readonly peerSecret: Uint8Array | undefined
  /** Undefined unless servers speak TLS with each other (sslQuorum). Has a trust store. */
  readonly quorumTls: TlsConfig | undefined
  /** ssl.quorum.hostnameVerification: a server that is dialed must show a certificate for its host. */
  readonly quorumHostnameVerification: boolean
  /** Until it knows the members from a leader this server takes no part in elections, whatever its own line says. */
  readonly join: boolean
  /** Whether the leader takes client connections. */
  readonly leaderServes: boolean
  /** syncEnabled: observers keep a log of their own. */
  readonly observerSyncEnabled: boolean
  /** 4lw.commands.whitelist: the allowed words, or '*' for all. */
  readonly fourLetterWords: ReadonlySet<string> | '*'
  readonly admin: {
    readonly enabled: boolean
    readonly host: string
    readonly port: number
    readonly commandUrl: string
    readonly snapshotEnabled: boolean
    readonly restoreEnabled: boolean
    /** Least time between two snapshot or two restore commands. */
    readonly rateLimiterIntervalMs: number
  }
  readonly metrics: {
    readonly enabled: boolean
    readonly host: string
    readonly port: number
    /** Also the figures of the process itself (memory, event loop). */
    readonly exportJvmInfo: boolean
  }
  /** purgeIntervalHours may be a fraction; 0: off. */
  readonly autopurge: { readonly snapRetainCount: number; readonly purgeIntervalHours: number }
  readonly snapCount: number
  /** 0: no limit */
  readonly snapSizeLimitBytes: number
  readonly forceSync: boolean
  readonly fsyncWarningMs: number
  readonly commitLogCount: number
  /** jute.maxbuffer */
  readonly maxFrameBytes: number
  readonly globalOutstandingLimit: number
  /** 0: off */
  readonly throttledOpWaitTimeMs: number
  readonly skipAcl: boolean
  /** enableEagerACLCheck: a follower refuses a write without permission before forwarding it. */
  readonly eagerAclCheck: boolean
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
  readonly logLevel: LogLevel
  /** Keys that were accepted but have no meaning here, a phrase each; `zabd start` names them once in the log. */
  readonly ignored: readonly string[]
  /** What works but is probably not meant, a sentence each; `zabd start` logs them once. */
  readonly warnings: readonly string[]
  /** The text of the configuration file, for `configuration` commands; empty without a file. */
  readonly text: string
}

/** A configuration that can not be used; the message has a line for each thing wrong. Ends the process with exit code 2. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

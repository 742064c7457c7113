// A server as operators see it, made of literals: for tests of what reads an `Inspector`. Serves nothing.
import type { Host } from '../../src/admin/host.ts'
import type { WordsConfig } from '../../src/admin/words.ts'
import type { ServerSpec } from '../../src/config/types.ts'
import type { ConnectionInfo, Inspection, Inspector } from '../../src/node/inspect.ts'
import { ConnectionStats, ServerStats } from '../../src/server/stats.ts'

/** A standalone server that nobody has talked to yet. */
export const idle: Inspection = {
  ...new ServerStats().snapshot(),
  version: '3.9.4-zabd-0.1.0',
  builtAt: '2026-11-22 20:10 UTC',
  serving: true,
  state: 'standalone',
  readOnly: false,
  peerState: 'leading - broadcast',
  serverId: 1,
  leaderId: 1,
  clientPort: 2181,
  secureClientPort: -1,
  quorumSize: undefined,
  leading: undefined,
  lastZxid: 0,
  epoch: 0,
  znodes: 5,
  watches: 0,
  ephemerals: 0,
  dataBytes: 44,
  globalSessions: 0,
  localSessions: 0,
  connections: 1,
  outstanding: 0,
  uptimeMs: 33294,
  digests: [],
}

export type FakeInspector = Inspector & { readonly calls: string[] }

/** An inspector of `inspection`; `lists` replaces what it lists (nothing). `calls` has the resets it was asked for. */
export function fakeInspector(inspection: Inspection, lists: Partial<Inspector> = {}): FakeInspector {
  const calls: string[] = []
  let mask = 306n
  return {
    calls,
    inspect: () => inspection,
    connections: () => [],
    watchSummary: () => ({ connections: 0, paths: 0, watches: 0 }),
    watchesBySession: () => new Map(),
    watchesByPath: () => new Map(),
    sessionExpiry: () => new Map(),
    localSessionExpiry: () => new Map(),
    sessions: () => new Map(),
    ephemerals: () => new Map(),
    membership: () => '',
    member: () => fakeMember(1, false),
    dataDirBytes: () => 478,
    logDirBytes: () => 67109358,
    traceMask: () => mask,
    setTraceMask: (value) => {
      mask = value
    },
    resetServerStats: () => {
      calls.push('resetServerStats')
    },
    resetConnectionStats: () => {
      calls.push('resetConnectionStats')
    },
    ...lists,
  }
}

/** A connection that has just been accepted, from 127.0.0.1:34058. */
export function fakeConnection(changes: Partial<ConnectionInfo> = {}): ConnectionInfo {
  return {
    ...new ConnectionStats(1795377614022).snapshot(),
    remoteAddress: '127.0.0.1',
    remotePort: 34058,
    secure: false,
    sessionId: 0,
    timeoutMs: 0,
    expiresAt: Date.UTC(2026, 10, 22, 20, 0, 39),
    outstanding: 0,
    reading: true,
    writing: false,
    authIds: [],
    ...changes,
  }
}

/** The line of server `id` in an ensemble on one machine. */
export function fakeMember(id: number, observer: boolean): ServerSpec {
  const clientHost = '127.0.0.1'
  const peerPort = 2887 + id
  return {
    id,
    host: clientHost,
    peerPort,
    electionPort: peerPort + 1000,
    observer,
    clientHost,
    clientPort: 2180 + id,
  }
}

/** Every word allowed. */
export const wordsConfig: WordsConfig = {
  fourLetterWords: '*',
  readOnlyModeEnabled: false,
  localSessionsEnabled: false,
  dataDir: '/var/lib/zabd',
  dataLogDir: '/var/log/zabd',
  tickTime: 2000,
  maxClientCnxns: 60,
  minSessionTimeout: 4000,
  maxSessionTimeout: 40000,
  clientPortListenBacklog: -1,
  initLimit: 10,
  syncLimit: 5,
}

export const fakeHost: Host = {
  environment: () => [
    ['host.name', 'zk1'],
    ['java.version', 'v20.20.2'],
  ],
  openFiles: () => 53,
  maxFiles: () => 20000,
}

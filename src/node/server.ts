// Assembles a server from its parts and takes it down again: storage, state, node, ports. The only place that knows
// all of them.
import { assert } from '../base/assert.ts'
import type { Logger } from '../base/log.ts'
import { zabdVersion } from '../base/version.ts'
import { formatZxid } from '../base/zxid.ts'
import { writeMembers } from '../config/dynamic-file.ts'
import type { Config } from '../config/types.ts'
import { defaultMaxFrameBytes } from '../peers/codec.ts'
import { createPeers, type TcpPeers } from '../peers/network.ts'
import type { PeerHandler, Peers } from '../peers/types.ts'
import { type BoundAddress, type ListenAddress, Listener } from '../server/listener.ts'
import { findApacheData } from '../storage/format.ts'
import { openStorage } from '../storage/open.ts'
import type { Storage } from '../storage/types.ts'
import { Tree } from '../tree/tree.ts'
import { type Clock, systemClock } from './clock.ts'
import { createInspector } from './inspector.ts'
import { loadTree } from './load.ts'
import { type Membership, memberLines } from './membership.ts'
import { Node } from './node.ts'

/** A message between servers holds the requests of a turn: at most so many of the longest that are read in one. */
const framesPerMessage = 64
/** How often the size of the data on disk is measured. */
const diskMeasureMs = 10_000
/** Clients get this long to take what is still on its way to them. */
const drainMs = 1000

/** A server that runs. */
export type RunningServer = {
  /** Stops serving, makes everything durable and closes. */
  close(): Promise<void>
  /** Settles when the server has ended by itself: with the error that ended it. Undefined after `close`. */
  readonly finished: Promise<Error | undefined>
  /** The ports that clients can use. */
  readonly addresses: readonly BoundAddress[]
  /** For looking inside. */
  readonly node: Node
}

/** What tests give instead of the machine's own, and what a process does besides. */
export type ServerParts = {
  readonly clock?: Clock
  readonly random?: () => number
  readonly openStorage?: typeof openStorage
  /** The server serves clients, for the first time. */
  readonly onServing?: () => void
}

/**
 * Starts a server. Resolves when a standalone one serves clients, when a member of an ensemble listens to clients and
 * to the other members: it serves as soon as there is a leader. Rejects with ConfigError, StorageError, or the system's error
 * for an address that can not be had; then nothing is left open.
 */
export async function startServer(
  config: Config,
  logger: Logger,
  parts: ServerParts = {},
): Promise<RunningServer> {
  const tls = config.tls === undefined ? undefined : await loadClientTls(config.tls, logger)
  const clock = parts.clock ?? systemClock
  await warnOfForeignData(config, logger)
  const tree = new Tree()
  const began = clock.now()
  let loading: Promise<void> | undefined
  const storage = await (parts.openStorage ?? openStorage)({
    dataDir: config.dataDir,
    logDir: config.dataLogDir,
    logger,
    sync: config.forceSync,
    onCheckpoint: (checkpoint) => {
      loading = loadTree(tree, checkpoint, config.dataDir, logger, clock)
      return loading
    },
  })
  const disk = measureDisk(storage, clock)
  let node: Node | undefined
  let listener: Listener | undefined
  try {
    const end = settleable<Error | undefined>()
    // Read while the checkpoint is loaded. Who waits for it hears of a failure.
    const index = storage.log.index()
    index.catch(() => undefined)
    assert(loading !== undefined, 'the checkpoint is not being loaded')
    await loading
    const loadMs = clock.now() - began
    const created = config.standalone ? undefined : await loadPeers(config, logger, clock, tree)
    let bound: readonly BoundAddress[] = []
    let told = false
    const onServing = () => {
      if (told) return
      told = true
      if (node !== undefined) created?.separate(node.consensus)
      const znodes = node?.inspector?.inspect().znodes
      const role = node?.state
      logger.info(
        { role, client: bound.map(describeAddress), zxid: formatZxid(tree.zxid), znodes },
        `ready to serve clients on ${bound.map(describeAddress).join(' and ')}${loopbackHint(config)}`,
      )
      disk.measure()
      parts.onServing?.()
    }
    const memberFiles = keepMemberFiles(config, logger)
    node = new Node({
      config,
      logger,
      clock,
      tree,
      storage,
      peers: created?.connect,
      random: parts.random ?? Math.random,
      onServing,
      onConfig: memberFiles.save,
      onFatal: (error) => end.settle(error),
    })
    node.stats.checkpointLoadTime.record(loadMs)
    listener = new Listener({ ...listenerOptions(config), tls }, node)
    node.inspector = createInspector({
      node,
      config,
      clock,
      listener,
      bound: () => bound,
      diskBytes: disk.bytes,
    })
    bound = await listener.open()
    const serving = node.start(index)
    if (created === undefined) {
      await serving
    } else {
      serving.catch((error: unknown) => end.settle(error as Error))
      const { address, port } = await created.listen()
      const peer = describeAddress({ address, port, secure: config.quorumTls !== undefined })
      logger.info({ id: config.id, peer }, `server ${config.id} waits for the other servers on ${peer}`)
      warnOfOpenPeerPort(config, address, logger)
    }
    const running = { node, listener }
    return {
      addresses: bound,
      node,
      finished: end.promise,
      close: async () => {
        disk.stop()
        await shutDown(running.node, running.listener, storage)
        await memberFiles.settled()
        end.settle(undefined)
      },
    }
  } catch (error) {
    disk.stop()
    listener?.destroyAll()
    listener?.closePorts()
    await node?.drain()
    await storage.close().catch(() => undefined)
    throw error
  }
}

async function loadClientTls(config: NonNullable<Config['tls']>, logger: Logger) {
  const { loadTls } = await import('../server/tls.ts')
  const tls = loadTls(config, new Date())
  for (const warning of tls.warnings) logger.warn(warning)
  return tls
}

/** The port to the other servers. */
async function loadPeers(config: Config, logger: Logger, clock: Clock, tree: Tree) {
  let peers: TcpPeers | undefined
  const tls = config.quorumTls === undefined ? undefined : await loadQuorumTls(config.quorumTls, logger)
  return {
    connect: (handler: PeerHandler): Peers => {
      peers = createPeers({
        id: config.id,
        listen: config.peerAddress ?? { host: undefined, port: 0 },
        members: [],
        handler,
        logger,
        ensembleId: () => tree.settings?.ensembleId,
        version: zabdVersion(),
        keepaliveMs: (config.syncLimit * config.tickTime) / 2,
        maxFrameBytes: Math.max(defaultMaxFrameBytes, framesPerMessage * config.maxFrameBytes),
        secret: config.peerSecret,
        tls: tls && { loaded: tls, hostnameVerification: config.quorumHostnameVerification },
        clock,
      })
      return peers
    },
    /** A server that has just become a member of an ensemble may be connected to those of another one. */
    separate: (handler: PeerHandler) => {
      const own = tree.settings?.ensembleId
      for (const { peer, ensembleId } of peers?.connections() ?? []) {
        if (own === undefined || ensembleId === undefined || own.equals(ensembleId)) continue
        peers?.drop(peer, 'it belongs to another ensemble')
        handler.lost(peer)
      }
    },
    listen: () => {
      assert(peers !== undefined, 'the port to the other servers is opened before there is one')
      return peers.listen()
    },
  }
}

async function loadQuorumTls(config: NonNullable<Config['quorumTls']>, logger: Logger) {
  const { loadTls } = await import('../server/tls.ts')
  const tls = loadTls(config, new Date(), 'ssl.quorum')
  for (const warning of tls.warnings) logger.warn(warning)
  return tls
}

/** Whoever reaches that port can be a server of the ensemble. */
function warnOfOpenPeerPort(config: Config, address: string, logger: Logger): void {
  if (config.peerSecret !== undefined || config.quorumTls !== undefined) return
  const text =
    'the port for servers asks for neither a secret nor a certificate: whoever reaches it can read and change everything'
  const remedy = 'set peerSecretFile or sslQuorum, or keep the port to a network of the servers'
  if (isLoopback(address)) logger.info(text)
  else logger.warn(`${text}; ${remedy}`)
}

function isLoopback(address: string): boolean {
  return address === '::1' || address.startsWith('127.')
}

async function warnOfForeignData(config: Config, logger: Logger): Promise<void> {
  const found = await findApacheData(config.dataDir, config.dataLogDir)
  if (found.length > 0)
    logger.warn(
      { found },
      'there is data of Apache ZooKeeper here; zabd leaves it alone and does not serve it',
    )
}

function listenerOptions(config: Config) {
  const addresses: ListenAddress[] = []
  if (config.clientPort !== undefined)
    addresses.push({ host: config.clientHost, port: config.clientPort, secure: false })
  if (config.secureClientPort !== undefined)
    addresses.push({ host: config.secureClientHost, port: config.secureClientPort, secure: true })
  return {
    addresses,
    portUnification: config.portUnification,
    maxClientCnxns: config.maxClientCnxns,
    maxCnxns: config.maxCnxns,
    backlog: config.clientPortListenBacklog,
  }
}

function describeAddress({ address, port, secure }: BoundAddress): string {
  const host = address.includes(':') ? `[${address}]` : address
  return `${host}:${port}${secure ? ' (TLS)' : ''}`
}

/** A server that only this machine can reach says how to change that. */
function loopbackHint(config: Config): string {
  const local = config.file === undefined && config.clientHost === '127.0.0.1'
  return local ? '; only this machine can connect, --client-host 0.0.0.0 opens it to others' : ''
}

/** The members as the ensemble has them now, in the files that the next start reads. */
function keepMemberFiles(config: Config, logger: Logger) {
  let newest: Membership | undefined
  let saving: Promise<void> | undefined
  const saveAll = async () => {
    for (let next = newest; next !== undefined; next = newest) {
      newest = undefined
      await saveMembership(config, next, logger)
    }
    saving = undefined
  }
  return {
    /** One after another: two at a time could leave the older one in the files. Those in between are left out. */
    save: (membership: Membership) => {
      newest = membership
      saving ??= saveAll()
    },
    settled: () => saving,
  }
}

async function saveMembership(config: Config, membership: Membership, logger: Logger): Promise<void> {
  if (config.file === undefined) return
  const own = membership.servers.find(({ id }) => id === config.id)
  try {
    const path = await writeMembers({
      configFile: config.file,
      lines: memberLines(membership),
      version: membership.version,
      hasClientPort: own?.clientPort !== undefined,
    })
    const version = membership.version.toString(16)
    const ids = membership.servers.map(({ id }) => id)
    logger.info(
      { path, version },
      `the members are ${ids.join(', ')}; the configuration files say so now, too`,
    )
  } catch (error) {
    logger.error({ err: error }, 'the members have changed, but the configuration files could not be written')
  }
}

/** Keeps the size on disk at hand, since asking the file system takes its time; not while it starts: every so often, and when it serves. */
function measureDisk(storage: Storage, clock: Clock) {
  let bytes = { data: 0, log: 0 }
  let stopped = false
  const measure = async (): Promise<void> => {
    try {
      bytes = { data: await storage.dataDirBytes(), log: await storage.logDirBytes() }
    } catch {
      // Files come and go while they are counted; the next measurement will do.
    }
  }
  const plan = () => {
    if (!stopped) clock.after(diskMeasureMs, () => void measure().then(plan))
  }
  plan()
  return {
    measure: () => void measure(),
    bytes: () => bytes,
    stop: () => {
      stopped = true
    },
  }
}

/**
 * Takes no more clients and requests, answers what is under way, closes connections and files. The connections go before
 * the last checkpoint is written, which can take its time, so that clients can turn to another server.
 */
async function shutDown(node: Node, listener: Listener, storage: Storage): Promise<void> {
  listener.closePorts()
  await node.drain()
  listener.closeConnections()
  const timer = setTimeout(() => listener.destroyAll(), drainMs)
  await listener.drained()
  clearTimeout(timer)
  await node.stop()
  await storage.close()
}

function settleable<T>(): { promise: Promise<T>; settle: (value: T) => void } {
  let settle: (value: T) => void = () => undefined
  const promise = new Promise<T>((resolve) => {
    settle = resolve
  })
  return { promise, settle }
}

// Assembles a server from its parts and takes it down again: storage, state, node, ports. The only place that knows
// all of them.
import type { Logger } from '../base/log.ts'
import { formatZxid } from '../base/zxid.ts'
import { type Config, ConfigError } from '../config/types.ts'
import { type BoundAddress, type ListenAddress, Listener } from '../server/listener.ts'
import { findApacheData } from '../storage/format.ts'
import { openStorage } from '../storage/open.ts'
import { type CheckpointMeta, type CheckpointStore, type Storage, StorageError } from '../storage/types.ts'
import { ImageReader, type ImageState } from '../tree/image.ts'
import { Tree } from '../tree/tree.ts'
import { majority } from '../zab/quorum.ts'
import { type Clock, systemClock } from './clock.ts'
import { createInspector } from './inspector.ts'
import { Node } from './node.ts'

/** How often the size of the data on disk is measured. */
const diskMeasureMs = 10_000
/** Clients get this long to take what is still on its way to them. */
const drainMs = 1000
const progressMs = 1000

/** A server that runs. */
export type RunningServer = {
  /** Stops serving, makes everything durable and closes. */
  close(): Promise<void>
  /** Settles when the server has ended by itself: with the error that ended it. Undefined after `close`. */
  readonly finished: Promise<Error | undefined>
  /** The ports that clients can use. */
  readonly addresses: readonly BoundAddress[]
}

/** What tests give instead of the machine's own. */
export type ServerParts = {
  readonly clock?: Clock
  readonly random?: () => number
  readonly openStorage?: typeof openStorage
}

/**
 * Starts a server and resolves when it serves clients. Rejects with ConfigError, StorageError, or the system's error
 * for an address that can not be had; then nothing is left open.
 */
export async function startServer(
  config: Config,
  logger: Logger,
  parts: ServerParts = {},
): Promise<RunningServer> {
  if (!config.standalone)
    throw new ConfigError('this version of zabd runs standalone only: give one server or none (server.N)')
  const tls = config.tls === undefined ? undefined : await loadClientTls(config.tls, logger)
  const clock = parts.clock ?? systemClock
  await warnOfForeignData(config, logger)
  const storage = await (parts.openStorage ?? openStorage)({
    dataDir: config.dataDir,
    logDir: config.dataLogDir,
    logger,
    sync: config.forceSync,
  })
  const disk = measureDisk(storage, clock)
  let node: Node | undefined
  let listener: Listener | undefined
  try {
    const end = settleable<Error | undefined>()
    const tree = new Tree()
    await loadTree(tree, storage.checkpoint, config.dataDir, logger, clock)
    node = new Node({
      config,
      logger,
      clock,
      tree,
      log: storage.log,
      checkpoints: storage.checkpoint,
      quorum: majority([config.id]),
      random: parts.random ?? Math.random,
      onFatal: (error) => end.settle(error),
    })
    listener = new Listener({ ...listenerOptions(config), tls }, node)
    let bound: readonly BoundAddress[] = []
    node.inspector = createInspector({
      node,
      config,
      clock,
      listener,
      bound: () => bound,
      diskBytes: disk.bytes,
    })
    bound = await listener.open()
    await node.start()
    logger.info(
      {
        role: 'standalone',
        client: bound.map(describeAddress),
        zxid: formatZxid(tree.zxid),
        znodes: node.inspector.inspect().znodes,
      },
      `ready to serve clients on ${bound.map(describeAddress).join(' and ')}${loopbackHint(config)}`,
    )
    const running = { node, listener }
    return {
      addresses: bound,
      finished: end.promise,
      close: async () => {
        disk.stop()
        await shutDown(running.node, running.listener, storage)
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

/** Loads the newest checkpoint, or makes the tree of a fresh server. Throws StorageError if it is damaged. */
async function loadTree(
  tree: Tree,
  store: CheckpointStore,
  dataDir: string,
  logger: Logger,
  clock: Clock,
): Promise<void> {
  const { meta } = store
  if (meta === undefined) {
    tree.initialize()
    return
  }
  const began = clock.now()
  let told = began
  const reader = new ImageReader(tree)
  try {
    await store.load(
      (key, value) => reader.record(key, value),
      (records) => {
        const now = clock.now()
        if (now - told < progressMs) return
        told = now
        logger.info({ records, of: meta.nodes }, 'loading the checkpoint')
      },
    )
    reader.finish(meta, meta.state as ImageState, meta.zxid)
  } catch (error) {
    throw damaged(error, dataDir, meta)
  }
  const ms = Math.round(clock.now() - began)
  logger.info({ znodes: meta.nodes, zxid: formatZxid(meta.zxid), ms }, 'checkpoint loaded')
}

function damaged(error: unknown, dataDir: string, meta: CheckpointMeta): StorageError {
  if (error instanceof StorageError) return error
  const reason = error instanceof Error ? error.message : String(error)
  return new StorageError(
    'corrupt',
    dataDir,
    `the checkpoint of ${formatZxid(meta.zxid)} can not be loaded: ${reason}`,
    'restore the data directory from a backup, or in an ensemble empty it and let this server follow its leader',
    error,
  )
}

/** Keeps the size on disk at hand, since asking the file system takes its time. */
function measureDisk(storage: Storage, clock: Clock) {
  let bytes = { data: 0, log: 0 }
  let stopped = false
  const measure = async (): Promise<void> => {
    try {
      bytes = { data: await storage.dataDirBytes(), log: await storage.logDirBytes() }
    } catch {
      // Files come and go while they are counted; the next measurement will do.
    }
    if (!stopped) clock.after(diskMeasureMs, () => void measure())
  }
  void measure()
  return {
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

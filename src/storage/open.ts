// Opens what a server keeps on disk: checks that the files are ours, opens checkpoint and log and holds them against each
// other. It repairs nothing but an installed checkpoint whose log had not followed yet when the process ended.
import { randomUUID } from 'node:crypto'
import { resolve } from 'node:path'
import { zabdVersion } from '../base/version.ts'
import { formatZxid } from '../base/zxid.ts'
import { LevelCheckpoint } from './checkpoint.ts'
import { Database, type DbOptions } from './database.ts'
import { storageError, toStorageError } from './errors.ts'
import { bytesBelow, makeDirectory } from './files.ts'
import { type Format, formatVersion, type Layout, layoutOf, readFormat, writeFormat } from './format.ts'
import { LevelLog, type LogOptions, type Reset } from './log.ts'
import type { CheckpointMeta, CheckpointStore, LogStore, Storage, StorageLogger } from './types.ts'

/** A step of opening, told when it begins; opening a large log after a crash can take seconds. */
export type OpenStep = { readonly step: 'checkpoint' | 'log' | 'install'; readonly path: string }

export type OpenStorageOptions = {
  /** ZooKeeper's dataDir; a directory `zabd` is made in it. */
  readonly dataDir: string
  /** ZooKeeper's dataLogDir, dataDir if it has none. */
  readonly logDir: string
  readonly logger?: StorageLogger
  readonly onProgress?: (step: OpenStep) => void
  /**
   * Begins to load the checkpoint, while the log is still being opened. That it failed is for the caller to find out: storage
   * that can not be opened is closed when it has ended.
   */
  readonly onCheckpoint?: (checkpoint: CheckpointStore) => Promise<void>
  /** false: the log is not synced (forceSync=no). Checkpoints and epochs always are. */
  readonly sync?: boolean
  /** For tests: another segment of the log begins after so many bytes. */
  readonly segmentBytes?: number
}

// A checkpoint is a few hundred large values at a time, most of them under ascending keys: tables that LevelDB can leave
// as they are, and blocks too large for a cache to be of use.
const checkpointDbOptions: DbOptions = {
  writeBufferSize: 4 << 20,
  cacheSize: 1 << 20,
  maxFileSize: 4 << 20,
  compression: false,
}

/**
 * Opens the log and the checkpoint below `dataDir` and `logDir`, and creates them where there is nothing yet.
 * Rejects with StorageError; then nothing is left open.
 */
export async function openStorage(options: OpenStorageOptions): Promise<Storage> {
  const layout = layoutOf(resolve(options.dataDir), resolve(options.logDir))
  const opened: { close(): Promise<void> }[] = []
  let loading: Promise<void> | undefined
  const onCheckpoint = (checkpoint: CheckpointStore) => {
    loading = options.onCheckpoint?.(checkpoint)
    loading?.catch(() => {})
  }
  try {
    return await openAll(layout, options, opened, onCheckpoint)
  } catch (error) {
    await loading?.catch(() => {})
    for (const store of opened) await store.close()
    throw toStorageError(error, layout.dataRoot, 'opening the data')
  }
}

async function openAll(
  layout: Layout,
  { logger, onProgress, sync = true, segmentBytes }: OpenStorageOptions,
  opened: { close(): Promise<void> }[],
  onCheckpoint: (checkpoint: CheckpointStore) => void,
): Promise<Storage> {
  await makeDirectory(layout.dataRoot)
  await makeDirectory(layout.logRoot)
  const known = await readFormat(layout.formatFile)
  const { checkpointDir, logDir, logStateFile } = layout
  let log: LevelLog | undefined
  let checkpoint: LevelCheckpoint | undefined
  const logOptions: LogOptions = {
    dir: logDir,
    stateFile: logStateFile,
    sync,
    dataId: known?.dataId ?? randomUUID(),
    checkpointZxid: () => checkpoint?.meta?.zxid ?? 0,
    logger,
    segmentBytes,
  }
  onProgress?.({ step: 'checkpoint', path: checkpointDir })
  onProgress?.({ step: 'log', path: logDir })
  const openCheckpoint = async () => {
    const database =
      known === undefined
        ? await Database.open(checkpointDir, checkpointDbOptions, true)
        : await Database.at(checkpointDir, checkpointDbOptions)
    opened.push(database)
    if (known === undefined) {
      await create(layout, database, logOptions)
      const fields = { dataDir: layout.dataRoot, logDir: layout.logRoot, dataId: logOptions.dataId }
      logger?.info(fields, 'created an empty data directory')
    }
    checkpoint = await LevelCheckpoint.open(database, async () => await log?.flush())
    onCheckpoint(checkpoint)
    return checkpoint
  }
  const openLog = async () => {
    log = await LevelLog.open(logOptions)
    opened.push(log)
    return log
  }
  // New data is complete before it is opened.
  if (known === undefined) await openCheckpoint()
  const opening = [checkpoint ?? openCheckpoint(), openLog()] as const
  await Promise.allSettled(opening)
  // The log's failure comes first: another process that uses both may be changing the files that were read here.
  log = await opening[1]
  checkpoint = await opening[0]
  await followInstall(log, checkpoint, layout, onProgress)
  checkAgainstEachOther(log, checkpoint.meta, layout)
  return storageOf(layout, log, checkpoint)
}

/** Makes both databases those of new data. The `format` file comes last: without it all of this is done again. */
async function create(layout: Layout, checkpointDb: Database, logOptions: LogOptions): Promise<void> {
  const remedy = `Restore the file ${layout.formatFile} from a backup, or remove what is in the directory.`
  for (const [dir, used] of [
    [layout.checkpointDir, await LevelCheckpoint.isUsed(checkpointDb)],
    [layout.logDir, await LevelLog.hasHistory(logOptions)],
  ] as const) {
    if (!used) continue
    throw storageError(
      'format',
      dir,
      `there is data here, but no file ${layout.formatFile}`,
      undefined,
      remedy,
    )
  }
  await LevelCheckpoint.create(checkpointDb)
  await LevelLog.create(logOptions)
  const format: Format = {
    format: formatVersion,
    created: new Date().toISOString(),
    dataId: logOptions.dataId,
    zabd: zabdVersion(),
  }
  await writeFormat(layout.formatFile, format)
}

/** Finishes an install that a crash interrupted between the commit of the checkpoint and the reset of the log. */
async function followInstall(
  log: LevelLog,
  checkpoint: LevelCheckpoint,
  layout: Layout,
  onProgress: OpenStorageOptions['onProgress'],
): Promise<void> {
  const { meta, installs, voting } = checkpoint
  if (installs === log.installs) return
  if (meta === undefined || installs !== log.installs + 1) {
    throw storageError(
      'corrupt',
      layout.checkpointDir,
      `the log follows checkpoint number ${log.installs} from a leader, but the one that is here has number ${installs}`,
    )
  }
  onProgress?.({ step: 'install', path: layout.logDir })
  await log.reset({ zxid: meta.zxid, installs, voting })
}

/** What the log has to do to follow the checkpoint as it is on disk; undefined: nothing. Rejects with StorageError. */
async function resetAfterFailure(log: LevelLog, checkpoint: LevelCheckpoint): Promise<Reset | undefined> {
  await checkpoint.reopen()
  const { meta, installs, voting } = checkpoint
  return meta === undefined || installs === log.installs ? undefined : { zxid: meta.zxid, installs, voting }
}

/** The log must reach from the checkpoint, or from the beginning, to at least the checkpoint. */
function checkAgainstEachOther(log: LogStore, meta: CheckpointMeta | undefined, layout: Layout): void {
  const zxid = meta?.zxid ?? 0
  const checkpoint =
    meta === undefined ? 'there is no checkpoint' : `the checkpoint is at ${formatZxid(zxid)}`
  if (log.trimmedTo > zxid) {
    const message = `the log begins after ${formatZxid(log.trimmedTo)}, but ${checkpoint}`
    throw storageError('corrupt', layout.checkpointDir, message)
  }
  if (log.lastZxid < zxid) {
    const message = `the log ends at ${formatZxid(log.lastZxid)}, but ${checkpoint}`
    throw storageError('corrupt', layout.logDir, message)
  }
}

function storageOf(layout: Layout, log: LevelLog, checkpoint: LevelCheckpoint): Storage {
  return {
    log,
    checkpoint,
    async install(meta, voting) {
      log.awaitInstall(() => resetAfterFailure(log, checkpoint))
      await checkpoint.install(meta, voting)
      await log.reset({ zxid: meta.zxid, installs: checkpoint.installs, voting })
    },
    async dataDirBytes() {
      return (await bytesBelow(layout.formatFile)) + (await bytesBelow(layout.checkpointDir))
    },
    async logDirBytes() {
      return (await bytesBelow(layout.logStateFile)) + (await bytesBelow(layout.logDir))
    },
    async close() {
      await checkpoint.close()
      await log.close()
    },
  }
}

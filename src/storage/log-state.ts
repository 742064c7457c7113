// What the log knows of itself beside its entries: the file `log.state`, written by everything but an append. It is a file
// of its own because a LevelDB write-ahead file that is cut off takes along whatever would tell of the cut.
import { readFile } from 'node:fs/promises'
import { crc32 } from 'node:zlib'
import type { Epochs, Voting, VotingAt } from '../zab/types.ts'
import { storageError } from './errors.ts'
import { ignoreMissing, writeFileDurably } from './files.ts'

export type LogState = {
  /** Counts the versions of this state. Entries name the one they were appended under. */
  readonly revision: number
  /** Id of the data directory this log belongs to. */
  readonly dataId: string
  /** Written at a clean close, nothing was appended since: the log must end exactly at `lastZxid`. */
  readonly clean: boolean
  readonly epochs: Epochs
  /** Where the log ended when this was written: it may not end below, and what is of an older revision may not go beyond. */
  readonly lastZxid: number
  readonly trimmedTo: number
  /** Number of installed checkpoints that this log has followed. */
  readonly installs: number
  /** Only a snapshot from the leader helps this server. */
  readonly diverged: boolean
  /** The newest reconfiguration at or below `trimmedTo`. */
  readonly voting: VotingAt | undefined
  /** zxids of the reconfigurations above `trimmedTo`, ascending. Those above `lastZxid` may never have been appended. */
  readonly reconfigurations: readonly number[]
  /** Numbers of the segments, ascending; entries are appended to the last one. */
  readonly segments: readonly number[]
}

/** Of a log that has nothing, in segment 1. */
export function emptyState(dataId: string): LogState {
  return {
    revision: 1,
    dataId,
    clean: true,
    epochs: { accepted: 0, current: 0 },
    lastZxid: 0,
    trimmedTo: 0,
    installs: 0,
    diverged: false,
    voting: undefined,
    reconfigurations: [],
    segments: [1],
  }
}

/** Writes the state durably: a line of JSON, a line with the CRC-32 of the first. */
export async function writeLogState(path: string, state: LogState): Promise<void> {
  const line = JSON.stringify(state)
  await writeFileDurably(path, `${line}\n${crc32(line)}\n`)
}

/** Reads the state; undefined if there is no such file. Throws StorageError (corrupt) if it is damaged. */
export async function readLogState(path: string): Promise<LogState | undefined> {
  const text = await ignoreMissing(readFile(path, 'utf8'))
  if (text === undefined) return undefined
  const [line = ''] = text.split('\n')
  const state = text === `${line}\n${crc32(line)}\n` ? stateOf(parsed(line)) : undefined
  if (state === undefined) throw storageError('corrupt', path, 'this file is damaged')
  return state
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line)
  } catch {
    return undefined
  }
}

function stateOf(value: unknown): LogState | undefined {
  if (!isRecord<LogState>(value) || !isRecord<Epochs>(value.epochs)) return undefined
  const { revision, dataId, clean, lastZxid, trimmedTo, installs, diverged } = value
  const { accepted, current } = value.epochs
  const { voting, reconfigurations, segments } = value
  if (typeof dataId !== 'string' || typeof clean !== 'boolean') return undefined
  if (typeof diverged !== 'boolean' || !isCount(installs)) return undefined
  if (!isCount(revision) || !isCount(accepted) || !isCount(current)) return undefined
  if (!isCount(lastZxid) || !isCount(trimmedTo)) return undefined
  if (!isCounts(reconfigurations) || !isCounts(segments) || segments.length === 0) return undefined
  if (voting !== undefined && !isVotingAt(voting)) return undefined
  const counts = { revision, lastZxid, trimmedTo, installs }
  const epochs = { accepted, current }
  return { ...counts, dataId, clean, epochs, diverged, voting, reconfigurations, segments }
}

function isVotingAt(value: unknown): value is VotingAt {
  return isRecord<VotingAt>(value) && isCount(value.zxid) && isVoting(value.voting)
}

function isVoting(value: unknown): value is Voting {
  if (!isRecord<Voting>(value)) return false
  const { voters, groups, weights } = value
  if (!isCounts(voters) || !Array.isArray(groups) || !groups.every(isCounts)) return false
  return Array.isArray(weights) && weights.every((pair) => isCounts(pair) && pair.length === 2)
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every(isCount)
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

/** An object, of whose fields nothing is known but their names. */
function isRecord<T>(value: unknown): value is { readonly [name in keyof T]?: unknown } {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

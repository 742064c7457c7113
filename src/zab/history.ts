// The server's history as the core sees it: where entries end, how far it is durable, and the newest entries
// themselves. The entries below live in the log. Pure bookkeeping: it decides nothing.
import { assert } from '../base/assert.ts'
import { EntryCache } from './entry-cache.ts'
import type { Entry, VotingAt } from './types.ts'

export type History = {
  /** Entries at or below are not in the log any more; always the end of an entry, or of a snapshot, or 0. */
  trimmedTo: number
  /** `last` of each entry above trimmedTo, ascending. */
  readonly lasts: number[]
  /**
   * Who votes, as the history changed it, ascending: every change above trimmedTo, and the newest at or below, with the one
   * before that if it was here: both say that it is settled. One that really changes something is committed before the next
   * is proposed.
   */
  readonly votings: VotingAt[]
  /** Everything up to here is on disk. Never above the end. */
  durable: number
  /** The entries that are not durable, without a hole up to the end. */
  readonly recent: Entry[]
  /** The newest of those before them. */
  readonly cache: EntryCache
}

/** A history as the log has it. */
export function createHistory(
  trimmedTo: number,
  lasts: readonly number[],
  cacheBytes: number,
  votings: readonly VotingAt[] = [],
): History {
  const history: History = {
    trimmedTo,
    lasts: [...lasts],
    votings: [...votings],
    durable: 0,
    recent: [],
    cache: new EntryCache(cacheBytes),
  }
  history.durable = endOf(history)
  return history
}

/** zxid of the last transaction of the history. */
export function endOf(history: History): number {
  const { lasts, trimmedTo } = history
  return lasts.length === 0 ? trimmedTo : (lasts[lasts.length - 1] as number)
}

/** The last end of an entry at or below `zxid`; undefined if that is in the part that was trimmed. */
export function pointAtOrBelow(history: History, zxid: number): number | undefined {
  if (zxid < history.trimmedTo) return undefined
  const index = countUpTo(history.lasts, zxid)
  return index === 0 ? history.trimmedTo : history.lasts[index - 1]
}

/** Whether an entry, or the part that was trimmed, ends at `zxid`. */
export function hasPoint(history: History, zxid: number): boolean {
  return pointAtOrBelow(history, zxid) === zxid
}

/** Adds an entry that follows the end (asserted). */
export function pushEntry(history: History, entry: Entry): void {
  assert(
    entry.prev === endOf(history),
    () => `entry ${entry.first} follows ${entry.prev}, not ${endOf(history)}`,
  )
  assert(entry.first > entry.prev && entry.last >= entry.first, () => `entry ${entry.first} to ${entry.last}`)
  history.lasts.push(entry.last)
  if (entry.voting !== undefined) history.votings.push({ zxid: entry.last, voting: entry.voting })
  history.recent.push(entry)
}

/** Everything up to `zxid`, which is not above the end, is on disk now. */
export function becomeDurable(history: History, zxid: number): void {
  const { recent, cache } = history
  history.durable = zxid
  const count = firstAfter(recent, zxid)
  for (let i = 0; i < count; i++) cache.push(recent[i] as Entry)
  // Mostly there is one, and `splice` would make an array of it.
  if (count === 1) recent.shift()
  else recent.splice(0, count)
}

/** Cuts everything after `zxid`, which is the end of an entry (asserted). */
export function cut(history: History, zxid: number): void {
  assert(hasPoint(history, zxid), `no entry ends at ${zxid}`)
  const { lasts, votings, recent } = history
  lasts.length = countUpTo(lasts, zxid)
  while (votings.length > 0 && (votings[votings.length - 1] as VotingAt).zxid > zxid) votings.pop()
  while (recent.length > 0 && (recent[recent.length - 1] as Entry).last > zxid) recent.pop()
  history.cache.cut(zxid)
  history.durable = Math.min(history.durable, zxid)
}

/** The history is what a snapshot at `zxid` says, and nothing else. `voting` is the newest change of who votes up to it. */
export function replace(history: History, zxid: number, voting: VotingAt | undefined): void {
  assert(voting === undefined || voting.zxid <= zxid, `a voting of ${voting?.zxid} in a snapshot at ${zxid}`)
  history.trimmedTo = zxid
  history.lasts.length = 0
  history.votings.splice(0, history.votings.length, ...(voting === undefined ? [] : [voting]))
  history.durable = zxid
  history.recent.length = 0
  history.cache.clear()
}

/** Entries at or below `zxid` are gone from the log. */
export function trim(history: History, zxid: number): void {
  if (zxid <= history.trimmedTo) return
  assert(
    hasPoint(history, zxid) && zxid <= history.durable,
    `trimmed to ${zxid}, where no durable entry ends`,
  )
  history.lasts.splice(0, countUpTo(history.lasts, zxid))
  const { votings } = history
  while (votings.length > 2 && (votings[2] as VotingAt).zxid <= zxid) votings.shift()
  history.trimmedTo = zxid
}

/** The newest change of who votes at or below `zxid`, which is not in the part that was trimmed (asserted). */
export function votingUpTo({ votings, trimmedTo }: History, zxid: number): VotingAt | undefined {
  assert(zxid >= trimmedTo, `who voted at ${zxid} is forgotten: the log was trimmed to ${trimmedTo}`)
  return votings.findLast((one) => one.zxid <= zxid)
}

/** Entries after `after` as far as `maxBytes` goes, at least one; undefined if they must be read from the log. */
export function cachedAfter(history: History, after: number, maxBytes: number): Entry[] | undefined {
  const { recent, cache } = history
  const from = firstAfter(recent, after)
  const head = recent[from]
  if (head === undefined || head.prev !== after) return cache.after(after, maxBytes)
  let to = from + 1
  let bytes = head.bytes.length
  for (; to < recent.length; to++) {
    bytes += (recent[to] as Entry).bytes.length
    if (bytes > maxBytes) break
  }
  return recent.slice(from, to)
}

/** How many of the ascending numbers are at or below `zxid`. */
function countUpTo(lasts: readonly number[], zxid: number): number {
  let low = 0
  let high = lasts.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((lasts[middle] as number) <= zxid) low = middle + 1
    else high = middle
  }
  return low
}

function firstAfter(entries: readonly Entry[], zxid: number): number {
  let low = 0
  let high = entries.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((entries[middle] as Entry).last <= zxid) low = middle + 1
    else high = middle
  }
  return low
}

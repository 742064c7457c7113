// A run as text: one line per event that a server takes and per effect that it gives.
import { formatZxid } from '../src/base/zxid.ts'
import type { Effect, Event } from '../src/zab/events.ts'
import type { Message } from '../src/zab/messages.ts'
import type { Voting } from '../src/zab/types.ts'

/** An event or effect in one line; numbers that are zxids as ZooKeeper prints them. */
export function describe(item: Event | Effect): string {
  if (item.type === 'message') return `from ${item.from}: ${describeMessage(item.message)}`
  if (item.type === 'send') return `to ${item.to}: ${describeMessage(item.message)}`
  return describeFields(item)
}

export function describeMessage(message: Message): string {
  return describeFields(message)
}

const zxids = new Set(['zxid', 'after', 'last', 'prev', 'first', 'committed', 'atLeast', 'committedVoting'])

type Fields = { readonly type?: unknown; readonly [key: string]: unknown }

/** Half of a simulation's time goes by here: no arrays of fields, and nothing is joined. */
function describeFields(item: Fields): string {
  let text = typeof item.type === 'string' ? item.type : ''
  for (const key in item) {
    const value = item[key]
    if (key === 'type' || !isTelling(key, value)) continue
    text += `${text === '' ? '' : ' '}${key}=${describeValue(key, value)}`
  }
  return text
}

/** What says nothing is left out, to keep lines short: unknown, no, none, and the sessions. */
function isTelling(key: string, value: unknown): boolean {
  if ((Array.isArray(value) && value.length === 0) || (key === 'committedVoting' && value === 0)) return false
  return value !== undefined && value !== -1 && value !== false && value !== 'none' && key !== 'session'
}

function describeValue(key: string, value: unknown): string {
  if (typeof value === 'number') return zxids.has(key) ? formatZxid(value) : String(value)
  if (typeof value === 'string') return value.includes(' ') ? `"${value}"` : value
  if (value instanceof Uint8Array) return `${value.length}B`
  if (Array.isArray(value)) return `[${value.map((one) => describeValue('', one)).join(', ')}]`
  if (typeof value !== 'object' || value === null) return String(value)
  if ('first' in value && 'last' in value && 'prev' in value) {
    const { prev, first, last } = value as { prev: number; first: number; last: number }
    const range = first === last ? formatZxid(last) : `${formatZxid(first)}..${formatZxid(last)}`
    const changes = 'voting' in value ? ` ${describeValue('', value.voting)}` : ''
    return `${range} after ${formatZxid(prev)}${changes}`
  }
  if ('voters' in value) return describeVoting(value as Voting)
  return `{${describeFields(value as Fields)}}`
}

/** `1+2+3`, with groups `1+2|3+4 weights 3:2`. */
function describeVoting({ voters, groups, weights }: Voting): string {
  if (groups.length === 0) return voters.join('+')
  const heavy = weights.map(([id, weight]) => `${id}:${weight}`)
  return `${groups.map((ids) => ids.join('+')).join('|')} weights ${heavy.join(' ')}`
}

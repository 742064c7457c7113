// A run as text: one line per event that a server takes and per effect that it gives.
import { formatZxid } from '../src/base/zxid.ts'
import type { Effect, Event } from '../src/zab/events.ts'
import type { Message } from '../src/zab/messages.ts'

/** An event or effect in one line; numbers that are zxids as ZooKeeper prints them. */
export function describe(item: Event | Effect): string {
  if (item.type === 'message') return `from ${item.from}: ${describeMessage(item.message)}`
  if (item.type === 'send') return `to ${item.to}: ${describeMessage(item.message)}`
  return describeFields(item)
}

export function describeMessage(message: Message): string {
  return describeFields(message)
}

const zxids = new Set(['zxid', 'after', 'last', 'prev', 'first', 'committed', 'atLeast'])

function describeFields(item: object): string {
  const parts: string[] = []
  for (const [key, value] of Object.entries(item)) {
    if (key === 'type') parts.unshift(String(value))
    else if (isTelling(key, value)) parts.push(`${key}=${describeValue(key, value)}`)
  }
  return parts.join(' ')
}

/** What says nothing is left out, to keep lines short: unknown, no, and the sessions. */
function isTelling(key: string, value: unknown): boolean {
  return value !== undefined && value !== -1 && value !== false && key !== 'session'
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
    return `${range} after ${formatZxid(prev)}`
  }
  return `{${describeFields(value)}}`
}

// The bytes of each record in the two databases (docs/storage.md). Every record carries a CRC-32 over its key and the
// rest of it, but for the records of a checkpoint, which the tree checks by its digest. Decoding never trusts a length.
import { crc32 } from 'node:zlib'
import { Packr } from 'msgpackr'
import type { Entry, Epochs } from '../zab/types.ts'
import type { CheckpointMeta } from './types.ts'

const high = 2 ** 32
const entryTag = 0x6c // 'l'
const keyBytes = 9
/** revision u32, prev u64, last u64 */
const entryHeaderBytes = 20
const crcBytes = 4

/** Key of the log's state record; sorts after every entry. */
export const stateKey: Buffer = Buffer.from('s')
/** Key that is written and deleted to see whether writing works. */
export const probeKey: Buffer = Buffer.from('p')
/** Key of a checkpoint's meta record; sorts after every record. */
export const metaKey: Buffer = Buffer.from('m')
/** Key that names the generation of records that belong to no checkpoint and are to be deleted. */
export const dropKey: Buffer = Buffer.from('d')

/** What the log knows of itself: one record, written by everything but append. */
export type LogState = {
  /** Counts the changes of this record. Entries name the revision they were appended under. */
  readonly revision: number
  /** Id of the data directory this log belongs to. */
  readonly dataId: string
  readonly epochs: Epochs
  /** `lastZxid` when the record was written: the log may not end below it. */
  readonly lastZxid: number
  readonly trimmedTo: number
  /** Number of installed checkpoints that this log has followed. */
  readonly installs: number
}

/** A checkpoint's meta record: what the tree gave, and what the store itself needs. */
export type MetaRecord = {
  readonly meta: CheckpointMeta
  /** First byte of the keys that belong to this checkpoint. */
  readonly generation: number
  /** Number of checkpoints so far that took the place of the log. */
  readonly installs: number
}

/** An entry as read, with the revision of the log's state under which it was appended. */
export type StoredEntry = { readonly entry: Entry; readonly revision: number }

// Records (and not maps) so that a Map inside `state` comes back as a Map and an object as an object.
const packr = new Packr({ useRecords: true })

/** Key of the entry whose first zxid is `first`. */
export function entryKey(first: number): Buffer {
  const key = Buffer.allocUnsafe(keyBytes)
  writeKey(new DataView(key.buffer, key.byteOffset, keyBytes), first)
  return key
}

function writeKey(view: DataView, first: number): void {
  view.setUint8(0, entryTag)
  writeZxid(view, 1, first)
}

function writeZxid(view: DataView, at: number, zxid: number): void {
  view.setUint32(at, Math.floor(zxid / high))
  view.setUint32(at + 4, zxid >>> 0)
}

function readZxid(view: DataView, at: number): number {
  return view.getUint32(at) * high + view.getUint32(at + 4)
}

/** Key and value of an entry. One buffer, so that the checksum is one call. */
export function encodeEntry(entry: Entry, revision: number): { key: Buffer; value: Buffer } {
  const { prev, first, last, bytes } = entry
  const length = keyBytes + entryHeaderBytes + bytes.byteLength + crcBytes
  const all = Buffer.allocUnsafe(length)
  const view = new DataView(all.buffer, all.byteOffset, length)
  writeKey(view, first)
  view.setUint32(keyBytes, revision)
  writeZxid(view, keyBytes + 4, prev)
  writeZxid(view, keyBytes + 12, last)
  all.set(bytes, keyBytes + entryHeaderBytes)
  view.setUint32(length - crcBytes, crc32(all.subarray(0, length - crcBytes)))
  return { key: all.subarray(0, keyBytes), value: all.subarray(keyBytes) }
}

/** The entry of a key and a value; undefined if the checksum or the numbers are wrong. `bytes` is a view of `value`. */
export function decodeEntry(key: Buffer, value: Buffer): StoredEntry | undefined {
  if (key.length !== keyBytes || key[0] !== entryTag) return undefined
  const body = checked(key, value)
  if (body === undefined || body.length < entryHeaderBytes) return undefined
  const view = new DataView(body.buffer, body.byteOffset, body.length)
  const first = readZxid(new DataView(key.buffer, key.byteOffset, keyBytes), 1)
  const prev = readZxid(view, 4)
  const last = readZxid(view, 12)
  if (prev >= first || first > last || !Number.isSafeInteger(last)) return undefined
  return { entry: { prev, first, last, bytes: body.subarray(entryHeaderBytes) }, revision: view.getUint32(0) }
}

/** The value of the log's state record. */
export function encodeState(state: LogState): Buffer {
  const { revision, dataId, epochs, lastZxid, trimmedTo, installs } = state
  const fields = [revision, dataId, epochs.accepted, epochs.current, lastZxid, trimmedTo, installs]
  return sealed(stateKey, packr.pack(fields))
}

/** The log's state from its record; undefined if that is damaged. */
export function decodeState(value: Buffer): LogState | undefined {
  const fields = unpackChecked(stateKey, value)
  if (!Array.isArray(fields) || fields.length !== 7) return undefined
  const [revision, dataId, accepted, current, lastZxid, trimmedTo, installs]: unknown[] = fields
  if (typeof dataId !== 'string') return undefined
  if (!isCount(revision) || !isCount(accepted) || !isCount(current)) return undefined
  if (!isCount(lastZxid) || !isCount(trimmedTo) || !isCount(installs)) return undefined
  return { revision, dataId, epochs: { accepted, current }, lastZxid, trimmedTo, installs }
}

/** The value of a checkpoint's meta record. */
export function encodeMeta({ meta, generation, installs }: MetaRecord): Buffer {
  const { zxid, nodes, digestHigh, digestLow, state } = meta
  return sealed(metaKey, packr.pack([generation, installs, zxid, nodes, digestHigh, digestLow, state]))
}

/** A checkpoint's meta record; undefined if it is damaged. */
export function decodeMeta(value: Buffer): MetaRecord | undefined {
  const fields = unpackChecked(metaKey, value)
  if (!Array.isArray(fields) || fields.length !== 7) return undefined
  const [generation, installs, zxid, nodes, digestHigh, digestLow, state]: unknown[] = fields
  if (!isCount(generation) || !isCount(installs) || !isCount(zxid)) return undefined
  if (!isCount(nodes) || !isCount(digestHigh) || !isCount(digestLow)) return undefined
  return { meta: { zxid, nodes, digestHigh, digestLow, state }, generation, installs }
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

/** `body` with the checksum over `key` and `body` behind it. */
function sealed(key: Buffer, body: Buffer): Buffer {
  const value = Buffer.allocUnsafe(body.length + crcBytes)
  value.set(body)
  value.writeUInt32BE(crc32(body, crc32(key)), body.length)
  return value
}

/** What `sealed` was given; undefined if the checksum is wrong. */
function checked(key: Buffer, value: Buffer): Buffer | undefined {
  if (value.length < crcBytes) return undefined
  const body = value.subarray(0, value.length - crcBytes)
  return crc32(body, crc32(key)) === value.readUInt32BE(body.length) ? body : undefined
}

function unpackChecked(key: Buffer, value: Buffer): unknown {
  const body = checked(key, value)
  return body === undefined ? undefined : packr.unpack(body)
}

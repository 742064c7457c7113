// The bytes of each record in the two databases (docs/storage.md). Every record carries a CRC-32 over its key and the
// rest of it; those of a checkpoint have theirs from tree/image.ts. Decoding never trusts a length.
import { crc32 } from 'node:zlib'
import { Packr } from 'msgpackr'
import { readU32, writeU32 } from '../base/bytes.ts'
import { crcBytes, crcEnd, crcStart } from '../base/crc32.ts'
import type { Entry, Voting, VotingAt } from '../zab/types.ts'
import type { CheckpointMeta } from './types.ts'

const high = 2 ** 32
const entryTag = 0x6c // 'l'
const keyBytes = 9
/** Behind the zxid in the key of a record of ends: so it stands behind the entry that ends there, and before the next one. */
const endsMark = 0x65 // 'e'
const endsKeyBytes = keyBytes + 1
const zxidBytes = 8
/** revision u32, prev u64, last u64 */
const entryHeaderBytes = 20
const checkBytes = 4
/** Bit of an entry's revision field that says that a voting stands before the entry's bytes. */
const votingBit = 2 ** 31
/** Of a voting's bytes, before them. */
const lengthBytes = 4
/**
 * What is kept for records: of a longer one, which is more than a turn of large transactions has, the memory is no more than what
 * it costs anyway. Memory made for each record is garbage outside of V8's heap, which it collects the sooner for it.
 */
const roomBytes = 256 << 10

/** Key of a checkpoint's meta record; no record has it. */
export const metaKey: Buffer = Buffer.from('m')

/** A checkpoint's meta record: what the tree gave, and what the store itself needs. */
export type MetaRecord = {
  /** Undefined before the first checkpoint. */
  readonly meta: CheckpointMeta | undefined
  /** First byte of the keys that belong to this checkpoint. */
  readonly generation: number
  /** No record of this checkpoint, or of one before it in this generation, has a key above this one. */
  readonly end: Buffer
  /** Number of checkpoints so far that took the place of the log. */
  readonly installs: number
  /** The reconfiguration that the last of these came with. */
  readonly voting: VotingAt | undefined
}

/** An entry as read, and the revision of the log's state under which it was appended. */
export type StoredEntry = { readonly entry: Entry; readonly revision: number }

/** Where a run of entries ends: `lasts` of those that follow the entry that ends at `from`. */
export type Ends = { readonly from: number; readonly lasts: readonly number[] }

// Records (and not maps) so that a Map inside `state` comes back as a Map and an object as an object.
const packr = new Packr({ useRecords: true })

/** Key of the entry whose first zxid is `first`. */
export function entryKey(first: number): Buffer {
  const key = Buffer.allocUnsafe(keyBytes)
  writeKey(key, first)
  return key
}

/** Whether this is the key of an entry, and not of a record of ends. */
export function isEntryKey(key: Buffer): boolean {
  return key.length === keyBytes
}

/** Key of the record of a run of entries the last of which ends at `last`. */
export function endsKey(last: number): Buffer {
  const key = Buffer.allocUnsafe(endsKeyBytes)
  writeKey(key, last)
  key[keyBytes] = endsMark
  return key
}

/** The zxid in a key of the two kinds above. */
export function zxidOfKey(key: Buffer): number {
  return readZxid(key, 1)
}

function writeKey(to: Buffer, zxid: number): void {
  to[0] = entryTag
  writeZxid(to, 1, zxid)
}

function writeZxid(to: Buffer, at: number, zxid: number): void {
  writeU32(to, at, Math.floor(zxid / high))
  writeU32(to, at + 4, zxid >>> 0)
}

function readZxid(from: Buffer, at: number): number {
  return readU32(from, at) * high + readU32(from, at + 4)
}

/** Memory for one record at a time, which LevelDB has copied when it was given it. */
export class RecordRoom {
  readonly key: Buffer = Buffer.allocUnsafeSlow(keyBytes)
  #value: Buffer = Buffer.allocUnsafeSlow(roomBytes)

  /** Of this length; undefined content. */
  value(length: number): Buffer {
    return length > roomBytes ? Buffer.allocUnsafeSlow(length) : this.#value.subarray(0, length)
  }
}

/** Key and value of an entry, which lie in `room` until it is used again. */
export function encodeEntry(
  { prev, first, last, bytes, voting }: Entry,
  revision: number,
  room: RecordRoom,
): { key: Buffer; value: Buffer } {
  const packed = voting === undefined ? undefined : packVoting(voting)
  const votingBytes = packed === undefined ? 0 : lengthBytes + packed.length
  const bodyAt = entryHeaderBytes + votingBytes
  const length = bodyAt + bytes.byteLength + checkBytes
  const { key } = room
  const value = room.value(length)
  writeKey(key, first)
  writeU32(value, 0, packed === undefined ? revision : revision + votingBit)
  writeZxid(value, 4, prev)
  writeZxid(value, 12, last)
  if (packed !== undefined) {
    writeU32(value, entryHeaderBytes, packed.length)
    value.set(packed, bodyAt - packed.length)
  }
  value.set(bytes, bodyAt)
  const crc = crcBytes(crcBytes(crcStart, key, 0, keyBytes), value, 0, length - checkBytes)
  writeU32(value, length - checkBytes, crcEnd(crc))
  return { key, value }
}

/** The entry of a key and a value; undefined if the checksum or the numbers are wrong. `bytes` is a view of `value`. */
export function decodeEntry(key: Buffer, value: Buffer): StoredEntry | undefined {
  if (!isEntryKey(key) || key[0] !== entryTag) return undefined
  const end = value.length - checkBytes
  if (end < entryHeaderBytes || !isSealed(key, value)) return undefined
  const first = zxidOfKey(key)
  const prev = readZxid(value, 4)
  const last = readZxid(value, 12)
  if (prev >= first || first > last || !Number.isSafeInteger(last)) return undefined
  const field = readU32(value, 0)
  if (field < votingBit)
    return { entry: { prev, first, last, bytes: value.subarray(entryHeaderBytes, end) }, revision: field }
  const votingAt = entryHeaderBytes + lengthBytes
  if (end < votingAt) return undefined
  const bytesAt = votingAt + readU32(value, entryHeaderBytes)
  if (bytesAt > end) return undefined
  const voting = votingOf(packr.unpack(value.subarray(votingAt, bytesAt)))
  if (voting === undefined) return undefined
  return {
    entry: { prev, first, last, bytes: value.subarray(bytesAt, end), voting },
    revision: field - votingBit,
  }
}

function packVoting({ voters, groups, weights }: Voting): Buffer {
  return packr.pack([voters, groups, weights])
}

/** The value of the record of a run of at least one entry. */
export function encodeEnds({ from, lasts }: Ends, revision: number): Buffer {
  const body = Buffer.allocUnsafe(4 + zxidBytes * (1 + lasts.length))
  writeU32(body, 0, revision)
  writeZxid(body, 4, from)
  for (let i = 0; i < lasts.length; i++) writeZxid(body, 4 + zxidBytes * (i + 1), lasts[i] as number)
  return sealed(endsKey(lasts.at(-1) ?? from), body)
}

/** A run of entries from its record, and the log's revision when it was written; undefined if that is damaged. */
export function decodeEnds(key: Buffer, value: Buffer): (Ends & { readonly revision: number }) | undefined {
  if (key.length !== endsKeyBytes || key[keyBytes] !== endsMark) return undefined
  const body = checked(key, value)
  if (body === undefined || body.length < 4 + 2 * zxidBytes || (body.length - 4) % zxidBytes !== 0)
    return undefined
  const from = readZxid(body, 4)
  const lasts: number[] = []
  for (let at = 4 + zxidBytes; at < body.length; at += zxidBytes) {
    const last = readZxid(body, at)
    if (!(last > (lasts.at(-1) ?? from))) return undefined
    lasts.push(last)
  }
  return lasts.at(-1) === zxidOfKey(key) ? { from, lasts, revision: readU32(body, 0) } : undefined
}

/** The value of a checkpoint's meta record. */
export function encodeMeta({ meta, generation, end, installs, voting }: MetaRecord): Buffer {
  const of = meta && [meta.zxid, meta.nodes, meta.digestHigh, meta.digestLow, meta.state]
  const from = voting && [voting.zxid, voting.voting.voters, voting.voting.groups, voting.voting.weights]
  return sealed(metaKey, packr.pack([generation, end, installs, of ?? null, from ?? null]))
}

/** A checkpoint's meta record; undefined if it is damaged. */
export function decodeMeta(value: Buffer): MetaRecord | undefined {
  const fields = unpackChecked(metaKey, value)
  if (!Array.isArray(fields) || fields.length !== 5) return undefined
  const [generation, end, installs, of, from]: unknown[] = fields
  if (!isCount(generation) || !Buffer.isBuffer(end) || !isCount(installs)) return undefined
  const meta = of === null ? undefined : checkpointMetaOf(of)
  const voting = from === null ? undefined : votingAtOf(from)
  if ((of !== null && meta === undefined) || (from !== null && voting === undefined)) return undefined
  return { meta, generation, end, installs, voting }
}

function checkpointMetaOf(fields: unknown): CheckpointMeta | undefined {
  if (!Array.isArray(fields) || fields.length !== 5) return undefined
  const [zxid, nodes, digestHigh, digestLow, state]: unknown[] = fields
  if (!isCount(zxid) || !isCount(nodes) || !isCount(digestHigh) || !isCount(digestLow)) return undefined
  return { zxid, nodes, digestHigh, digestLow, state }
}

function votingAtOf(fields: unknown): VotingAt | undefined {
  if (!Array.isArray(fields) || !isCount(fields[0])) return undefined
  const voting = votingOf(fields.slice(1))
  return voting === undefined ? undefined : { zxid: fields[0], voting }
}

function votingOf(fields: unknown): Voting | undefined {
  if (!Array.isArray(fields) || fields.length !== 3) return undefined
  const [voters, groups, weights]: unknown[] = fields
  if (!isCounts(voters) || !Array.isArray(groups) || !groups.every(isCounts)) return undefined
  if (!Array.isArray(weights) || !weights.every(isPair)) return undefined
  return { voters, groups, weights }
}

function isPair(value: unknown): value is [number, number] {
  return isCounts(value) && value.length === 2
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every(isCount)
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

/** `body` with the checksum over `key` and `body` behind it. */
function sealed(key: Buffer, body: Buffer): Buffer {
  const value = Buffer.allocUnsafe(body.length + checkBytes)
  value.set(body)
  value.writeUInt32BE(crc32(body, crc32(key)), body.length)
  return value
}

/** What `sealed` was given; undefined if the checksum is wrong. */
function checked(key: Buffer, value: Buffer): Buffer | undefined {
  return isSealed(key, value) ? value.subarray(0, value.length - checkBytes) : undefined
}

function isSealed(key: Buffer, value: Buffer): boolean {
  const end = value.length - checkBytes
  if (end < 0) return false
  const crc = crcBytes(crcBytes(crcStart, key, 0, key.length), value, 0, end)
  return crcEnd(crc) === readU32(value, end)
}

function unpackChecked(key: Buffer, value: Buffer): unknown {
  const body = checked(key, value)
  return body === undefined ? undefined : packr.unpack(body)
}

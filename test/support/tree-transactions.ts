// Write transactions as plain objects, so that tests can hand the same one to a model and, encoded, to the applier;
// and the other way round, replies as plain objects. It knows the wire and no rule of any operation.
import assert from 'node:assert/strict'
import { Op } from '../../src/base/opcodes.ts'
import { Reader } from '../../src/jute/reader.ts'
import { Writer } from '../../src/jute/writer.ts'
import type { Id, RawAcl } from '../../src/tree/acl.ts'
import { Batch } from '../../src/tree/batch.ts'

export type AclList = readonly RawAcl[] | null

/** What can stand alone and, but for setAcl, in a multi. */
export type Operation =
  | {
      readonly type: 'create'
      /** create, create2, createContainer or createTtl. */
      readonly op: number
      readonly path: string
      readonly data: Buffer | null
      readonly acl: AclList
      readonly flags: number
      readonly ttl: number
    }
  | { readonly type: 'delete'; readonly path: string; readonly version: number }
  | {
      readonly type: 'setData'
      readonly path: string
      readonly data: Buffer | null
      readonly version: number
    }
  | { readonly type: 'setAcl'; readonly path: string; readonly acl: AclList; readonly version: number }
  | { readonly type: 'check'; readonly path: string; readonly version: number }

export type Request =
  | Operation
  | { readonly type: 'multi'; readonly operations: readonly Operation[] }
  | { readonly type: 'createSession'; readonly timeout: number }
  | { readonly type: 'closeSession' }
  | { readonly type: 'deleteContainer'; readonly path: string }
  | { readonly type: 'error'; readonly code: number }
  | { readonly type: 'settings'; readonly rulesVersion: number; readonly id: Buffer; readonly secret: Buffer }

export type Transaction = {
  readonly session: number
  readonly ids: readonly Id[]
  readonly request: Request
}

/** A Stat as a client gets it. */
export type Stat = {
  readonly czxid: number
  readonly mzxid: number
  readonly ctime: number
  readonly mtime: number
  readonly version: number
  readonly cversion: number
  readonly aversion: number
  readonly ephemeralOwner: number
  readonly dataLength: number
  readonly numChildren: number
  readonly pzxid: number
}

/** One result: what the body of a reply says, or an error inside a multi. */
export type Result = {
  readonly type: number
  readonly err: number
  readonly path?: string
  readonly stat?: Stat
}

export const world: AclList = [{ perms: 31, scheme: 'world', id: 'anyone' }]

/** A create of a plain znode that everybody may do everything with. */
export function create(path: string, data: string | null = '', flags = 0): Operation {
  return {
    type: 'create',
    op: Op.create,
    path,
    data: data === null ? null : Buffer.from(data),
    acl: world,
    flags,
    ttl: 0,
  }
}

export function createContainer(path: string): Operation {
  return { type: 'create', op: Op.createContainer, path, data: null, acl: world, flags: 4, ttl: 0 }
}

export function createTtl(path: string, ttl: number, flags = 5): Operation {
  return { type: 'create', op: Op.createTtl, path, data: null, acl: world, flags, ttl }
}

export function remove(path: string, version = -1): Operation {
  return { type: 'delete', path, version }
}

export function setData(path: string, data: string | null, version = -1): Operation {
  return { type: 'setData', path, data: data === null ? null : Buffer.from(data), version }
}

export function setAcl(path: string, acl: AclList, version = -1): Operation {
  return { type: 'setAcl', path, acl, version }
}

export function check(path: string, version = -1): Operation {
  return { type: 'check', path, version }
}

export function multi(...operations: Operation[]): Request {
  return { type: 'multi', operations }
}

/** The operation number under which a request is proposed. */
export function opOf(request: Request): number {
  return request.type === 'create' ? request.op : Op[request.type]
}

/** The body of a request's frame. */
export function encodeRequest(request: Request): Buffer {
  const out = new Writer(64)
  switch (request.type) {
    case 'createSession':
      out.int(request.timeout)
      break
    case 'closeSession':
      break
    case 'deleteContainer':
      out.string(request.path)
      break
    case 'error':
      out.int(request.code)
      break
    case 'settings':
      out.int(request.rulesVersion)
      out.buffer(request.id)
      out.buffer(request.secret)
      break
    case 'multi':
      for (const operation of request.operations) {
        out.int(opOf(operation))
        out.bool(false)
        out.int(-1)
        writeOperation(out, operation)
      }
      out.int(-1)
      out.bool(true)
      out.int(-1)
      break
    default:
      writeOperation(out, request)
  }
  return Buffer.from(out.bytes())
}

function writeOperation(out: Writer, operation: Operation): void {
  out.string(operation.path)
  switch (operation.type) {
    case 'create':
      out.buffer(operation.data)
      writeList(out, operation.acl)
      out.int(operation.flags)
      if (operation.op === Op.createTtl) out.long(operation.ttl)
      break
    case 'setData':
      out.buffer(operation.data)
      out.int(operation.version)
      break
    case 'setAcl':
      writeList(out, operation.acl)
      out.int(operation.version)
      break
    default:
      out.int(operation.version)
  }
}

function writeList(out: Writer, list: AclList): void {
  out.int(list === null ? -1 : list.length)
  for (const { perms, scheme, id } of list ?? []) {
    out.int(perms)
    out.string(scheme)
    out.string(id)
  }
}

/** A batch of these transactions, through its encoded form as a follower gets it. */
export function batchOf(transactions: readonly Transaction[], time: number, options = 0): Batch {
  const batch = new Batch(time, options)
  for (const { session, ids, request } of transactions) {
    const body = encodeRequest(request)
    batch.add(opOf(request), session, 1, ids, body, 0, body.length)
  }
  return Batch.decode(batch.encode())
}

/** Reads the body of a successful reply to `request`; every byte must have its meaning. */
export function decodeReply(request: Request, body: Buffer): readonly Result[] {
  const r = new Reader(body)
  const results: Result[] = []
  if (request.type === 'multi') {
    for (;;) {
      const type = r.int()
      const done = r.bool()
      const err = r.int()
      if (done) {
        assert.deepEqual([type, err], [-1, -1], 'the end of a multi')
        break
      }
      if (type === Op.error) assert.equal(r.int(), err, 'the error of a multi is told twice')
      results.push(readResult(r, type, err))
    }
  } else {
    results.push(readResult(r, opOf(request), 0))
  }
  assert.equal(r.pos, body.length, 'bytes left over behind a reply')
  return results
}

function readResult(r: Reader, type: number, err: number): Result {
  switch (type) {
    case Op.create:
      return { type, err, path: r.requiredString('path') }
    case Op.create2:
    case Op.createContainer:
    case Op.createTtl:
      return { type, err, path: r.requiredString('path'), stat: readStat(r) }
    case Op.setData:
    case Op.setAcl:
      return { type, err, stat: readStat(r) }
    default:
      return { type, err }
  }
}

export function readStat(r: Reader): Stat {
  return {
    czxid: r.long(),
    mzxid: r.long(),
    ctime: r.long(),
    mtime: r.long(),
    version: r.int(),
    cversion: r.int(),
    aversion: r.int(),
    ephemeralOwner: r.long(),
    dataLength: r.int(),
    numChildren: r.int(),
    pzxid: r.long(),
  }
}

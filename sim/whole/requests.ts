// What simulated clients ask for and what they are answered, as plain data and as bytes of the client protocol
// (wire.md sections 3 to 7). It decides nothing; the model says what an answer should have been.
import { Op, Xid } from '../../src/base/opcodes.ts'
import { Reader } from '../../src/jute/reader.ts'
import { Writer } from '../../src/jute/writer.ts'

/** The writes that can also be part of a multi. */
export type WritePart =
  | {
      readonly type: 'create'
      readonly path: string
      readonly data: string
      readonly ephemeral: boolean
      readonly sequential: boolean
      /** Asks for the stat, too (create2). */
      readonly stat: boolean
    }
  | { readonly type: 'delete'; readonly path: string; readonly version: number }
  | { readonly type: 'set'; readonly path: string; readonly data: string; readonly version: number }
  | { readonly type: 'check'; readonly path: string; readonly version: number }

export type Write =
  | WritePart
  | { readonly type: 'multi'; readonly parts: readonly WritePart[] }
  | { readonly type: 'close' }

export type WatchLists = {
  readonly data: readonly string[]
  readonly exist: readonly string[]
  readonly child: readonly string[]
  readonly persistent: readonly string[]
  readonly recursive: readonly string[]
}

export type Read =
  | { readonly type: 'get'; readonly path: string; readonly watch: boolean }
  | { readonly type: 'exists'; readonly path: string; readonly watch: boolean }
  | { readonly type: 'children'; readonly path: string; readonly watch: boolean; readonly stat: boolean }
  | { readonly type: 'getAll'; readonly paths: readonly string[] }
  | { readonly type: 'ephemerals' }
  | { readonly type: 'addWatch'; readonly path: string; readonly recursive: boolean }
  | { readonly type: 'removeWatches'; readonly path: string; readonly kind: number }
  | ({ readonly type: 'setWatches'; readonly since: number } & WatchLists)
  | { readonly type: 'ping' }

export type Request = Write | Read | { readonly type: 'sync'; readonly path: string }

/** A znode's stat, all fields in the order of the wire. */
export type Stat = {
  readonly czxid: number
  readonly mzxid: number
  readonly ctime: number
  readonly mtime: number
  readonly version: number
  readonly cversion: number
  readonly aversion: number
  readonly owner: number
  readonly dataLength: number
  readonly numChildren: number
  readonly pzxid: number
}

export type PartResult = {
  readonly err: number
  readonly path?: string
  readonly stat?: Stat
  readonly data?: string
}

/** What a request came to. Fields that the request has no use for are absent. */
export type Outcome = {
  readonly err: number
  readonly path?: string
  readonly data?: string
  readonly stat?: Stat
  /** Sorted: servers may answer in any order. */
  readonly names?: readonly string[]
  readonly results?: readonly PartResult[]
}

/** A frame from a server. */
export type ReplyHeader = { readonly xid: number; readonly zxid: number; readonly err: number }
export type WatchEvent = { readonly zxid: number; readonly type: number; readonly path: string }
export type ConnectResponse = {
  readonly timeoutMs: number
  readonly session: number
  readonly password: Buffer
}

export function isWrite(request: Request): request is Write {
  return writes.has(request.type)
}

const writes: ReadonlySet<string> = new Set(['create', 'delete', 'set', 'check', 'multi', 'close'])

/** The operation number under which a write appears in the history. */
export function opOf(request: Request): number {
  switch (request.type) {
    case 'create':
      return request.stat ? Op.create2 : Op.create
    case 'delete':
      return Op.delete
    case 'set':
      return Op.setData
    case 'check':
      return Op.check
    case 'multi':
      return Op.multi
    case 'close':
      return Op.closeSession
    case 'get':
      return Op.getData
    case 'exists':
      return Op.exists
    case 'children':
      return request.stat ? Op.getChildren2 : Op.getChildren
    case 'getAll':
      return Op.multiRead
    case 'ephemerals':
      return Op.getEphemerals
    case 'addWatch':
      return Op.addWatch
    case 'removeWatches':
      return Op.removeWatches
    case 'setWatches':
      return Op.setWatches2
    case 'ping':
      return Op.ping
    case 'sync':
      return Op.sync
  }
}

// ---------------------------------------------------------------- encoding

const anyone = { scheme: 'world', id: 'anyone', perms: 31 }

/** A ConnectRequest with its length. */
export function encodeConnect(
  lastSeen: number,
  timeoutMs: number,
  session: number,
  password: Buffer,
): Buffer {
  return framed((out) => {
    out.int(0)
    out.long(lastSeen)
    out.int(timeoutMs)
    out.long(session)
    out.buffer(password)
    out.bool(false)
  })
}

/** A request with its length. */
export function encodeRequest(xid: number, request: Request): Buffer {
  return framed((out) => {
    out.int(xid)
    out.int(opOf(request))
    writeBody(out, request)
  })
}

/** The xid that a request must have if it is not the client's to choose. */
export function fixedXid(request: Request): number | undefined {
  if (request.type === 'ping') return Xid.ping
  return request.type === 'setWatches' ? Xid.setWatches : undefined
}

/** Where every frame is written before it is copied: a buffer of its own for each would cost more than all the rest of it. */
const scratch = new Writer()

function framed(write: (out: Writer) => void): Buffer {
  scratch.clear()
  scratch.int(0)
  write(scratch)
  scratch.intAt(0, scratch.pos - 4)
  return Buffer.from(scratch.bytes())
}

function writeBody(out: Writer, request: Request): void {
  switch (request.type) {
    case 'create':
      out.string(request.path)
      out.buffer(Buffer.from(request.data, 'latin1'))
      out.int(1)
      out.int(anyone.perms)
      out.string(anyone.scheme)
      out.string(anyone.id)
      out.int((request.ephemeral ? 1 : 0) + (request.sequential ? 2 : 0))
      break
    case 'delete':
    case 'check':
      out.string(request.path)
      out.int(request.version)
      break
    case 'set':
      out.string(request.path)
      out.buffer(Buffer.from(request.data, 'latin1'))
      out.int(request.version)
      break
    case 'multi':
      for (const part of request.parts) {
        writeHeader(out, opOf(part), false)
        writeBody(out, part)
      }
      writeHeader(out, -1, true)
      break
    case 'getAll':
      for (const path of request.paths) {
        writeHeader(out, Op.getData, false)
        out.string(path)
        out.bool(false)
      }
      writeHeader(out, -1, true)
      break
    case 'get':
    case 'exists':
    case 'children':
      out.string(request.path)
      out.bool(request.watch)
      break
    case 'ephemerals':
      out.string('/')
      break
    case 'addWatch':
      out.string(request.path)
      out.int(request.recursive ? 1 : 0)
      break
    case 'removeWatches':
      out.string(request.path)
      out.int(request.kind)
      break
    case 'setWatches':
      out.long(request.since)
      for (const list of [request.data, request.exist, request.child, request.persistent, request.recursive])
        out.strings(list)
      break
    case 'sync':
      out.string(request.path)
      break
    case 'close':
    case 'ping':
      break
  }
}

function writeHeader(out: Writer, type: number, done: boolean): void {
  out.int(type)
  out.bool(done)
  out.int(-1)
}

// ---------------------------------------------------------------- decoding

/** Decodes `frame` without its length. Throws if it is not exactly a ConnectResponse. */
export function decodeConnect(frame: Buffer): ConnectResponse {
  const r = new Reader(frame)
  r.int()
  const timeoutMs = r.int()
  const session = r.long()
  const password = r.buffer() ?? Buffer.alloc(0)
  r.bool()
  expectEnd(r)
  return { timeoutMs, session, password }
}

/** The header of a reply or event, and the reader behind it. */
export function decodeHeader(frame: Buffer): { header: ReplyHeader; rest: Reader } {
  const rest = new Reader(frame)
  return { header: { xid: rest.int(), zxid: rest.long(), err: rest.int() }, rest }
}

/** Decodes the body of an event. */
export function decodeEvent(zxid: number, r: Reader): WatchEvent {
  const type = r.int()
  r.int()
  const path = r.requiredString('the path of an event')
  expectEnd(r)
  return { zxid, type, path }
}

/** Decodes the body of the reply to `request`. Throws if it is not exactly one. */
export function decodeOutcome(request: Request, err: number, r: Reader): Outcome {
  const outcome = err === 0 ? decodeBody(request, r) : { err }
  expectEnd(r)
  return outcome
}

function decodeBody(request: Request, r: Reader): Outcome {
  switch (request.type) {
    case 'create': {
      const path = r.requiredString('a created path')
      return request.stat ? { err: 0, path, stat: readStat(r) } : { err: 0, path }
    }
    case 'set':
    case 'exists':
      return { err: 0, stat: readStat(r) }
    case 'multi':
    case 'getAll':
      return { err: 0, results: readResults(r) }
    case 'get': {
      const data = readData(r)
      return { err: 0, data, stat: readStat(r) }
    }
    case 'children': {
      const names = r.strings().sort()
      return request.stat ? { err: 0, names, stat: readStat(r) } : { err: 0, names }
    }
    case 'ephemerals':
      return { err: 0, names: r.strings().sort() }
    case 'addWatch':
      r.int()
      return { err: 0 }
    case 'sync':
      return { err: 0, path: r.requiredString('a synced path') }
    default:
      return { err: 0 }
  }
}

function readResults(r: Reader): PartResult[] {
  const results: PartResult[] = []
  for (;;) {
    const type = r.int()
    const done = r.bool()
    const err = r.int()
    if (done) return results
    switch (type) {
      case Op.create:
        results.push({ err, path: r.requiredString('a created path') })
        break
      case Op.create2:
        results.push({ err, path: r.requiredString('a created path'), stat: readStat(r) })
        break
      case Op.setData:
        results.push({ err, stat: readStat(r) })
        break
      case Op.getData: {
        const data = readData(r)
        results.push({ err, data, stat: readStat(r) })
        break
      }
      case Op.error:
        results.push({ err: r.int() })
        break
      default:
        results.push({ err })
    }
  }
}

function readData(r: Reader): string {
  return (r.buffer() ?? Buffer.alloc(0)).toString('latin1')
}

function readStat(r: Reader): Stat {
  return {
    czxid: r.long(),
    mzxid: r.long(),
    ctime: r.long(),
    mtime: r.long(),
    version: r.int(),
    cversion: r.int(),
    aversion: r.int(),
    owner: r.long(),
    dataLength: r.int(),
    numChildren: r.int(),
    pzxid: r.long(),
  }
}

function expectEnd(r: Reader): void {
  if (r.pos !== r.end) throw new Error(`${r.end - r.pos} bytes too many in a frame`)
}

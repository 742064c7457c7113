// Bodies of the requests that a load consists of, encoded straight into a connection's output. Paths are bytes: the
// caller makes each of them once, not for every request.
import { Code } from '../base/errors.ts'
import type { CreateFlag } from '../base/opcodes.ts'
import { Op, Perm } from '../base/opcodes.ts'
import type { Reader } from '../jute/reader.ts'
import type { Writer } from '../jute/writer.ts'

/** Any version of a znode will do. */
const anyVersion = -1

/** A path that is named, and whether the session wants to hear of its next change. */
export function writePathAndWatch(out: Writer, path: Uint8Array, watch: boolean): void {
  out.buffer(path)
  out.bool(watch)
}

export function writeSetData(out: Writer, path: Uint8Array, data: Uint8Array): void {
  out.buffer(path)
  out.buffer(data)
  out.int(anyVersion)
}

/** A znode that everybody may do everything with. */
export function writeCreate(
  out: Writer,
  path: Uint8Array,
  data: Uint8Array,
  flags: (typeof CreateFlag)[keyof typeof CreateFlag],
): void {
  out.buffer(path)
  out.buffer(data)
  out.int(1)
  out.int(Perm.all)
  out.string('world')
  out.string('anyone')
  out.int(flags)
}

export function writeDelete(out: Writer, path: Uint8Array): void {
  out.buffer(path)
  out.int(anyVersion)
}

/** Begins an operation of a multi: its body follows. */
export function writeMultiHeader(out: Writer, op: number): void {
  out.int(op)
  out.bool(false)
  out.int(-1)
}

/** Ends a multi. */
export function writeMultiEnd(out: Writer): void {
  out.int(-1)
  out.bool(true)
  out.int(-1)
}

/** The code of the operation that failed a multi, 0 if it succeeded: its reply has no error of its own. */
export function multiError(body: Reader): number {
  let found = 0
  for (;;) {
    const type = body.int()
    const done = body.bool()
    body.int()
    if (done || type !== Op.error) return found
    const code = body.int()
    // Operations before the one that failed have 0, those behind it this code.
    if (found === 0 || found === Code.runtimeInconsistency) found = code
  }
}

export function writeAuth(out: Writer, scheme: string, id: string): void {
  out.int(0)
  out.string(scheme)
  out.string(id)
}

/** A framed request to open a new session. It may be served by a server that only reads, which then says so. */
export function writeConnect(out: Writer, sessionTimeoutMs: number): void {
  const at = out.pos
  out.int(0)
  out.int(0)
  out.long(0)
  out.int(sessionTimeoutMs)
  out.long(0)
  out.buffer(noPassword)
  out.bool(true)
  out.intAt(at, out.pos - at - 4)
}

const noPassword = Buffer.alloc(16)

/** A framed ping, the same each time. */
export const pingFrame: Buffer = Buffer.from([0, 0, 0, 8, 255, 255, 255, 254, 0, 0, 0, Op.ping])

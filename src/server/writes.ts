// What is decided about a write where it arrives: whether its bytes are well formed, and what this server's
// configuration forbids. Everything that depends on the state is decided at apply; what is refused here still goes
// through the write path as an error, since a failed write takes a zxid like any other (wire.md section 4).
import { Code, ZkError } from '../base/errors.ts'
import { CreateFlag, Op } from '../base/opcodes.ts'
import { Reader } from '../jute/reader.ts'
import { openAcl, schemesKnown } from '../tree/acl.ts'
import { readAcls } from '../tree/acl-codec.ts'
import { checkOperation } from '../tree/apply.ts'

/** What admission needs of the configuration. */
export type WriteRules = {
  /** ACL schemes that are switched on. */
  readonly schemes: ReadonlySet<string>
  readonly reconfigEnabled: boolean
}

/** Whether the operation goes through the write path. */
export function isWrite(type: number): boolean {
  return writeOps.has(type)
}

const writeOps: ReadonlySet<number> = new Set([
  Op.create,
  Op.create2,
  Op.createContainer,
  Op.createTtl,
  Op.delete,
  Op.deleteContainer,
  Op.setData,
  Op.setAcl,
  Op.multi,
  Op.reconfig,
  Op.closeSession,
])

/** Whether a write whose record `buf[start, end)` was admitted is to make an ephemeral znode, also inside a multi. */
export function makesEphemeral(type: number, buf: Uint8Array, start: number, end: number): boolean {
  if (type !== Op.create && type !== Op.create2 && type !== Op.multi) return false
  const r = new Reader().reset(Buffer.from(buf.buffer, buf.byteOffset, buf.byteLength), start, end)
  if (type !== Op.multi) return isEphemeral(type, r)
  for (;;) {
    const operation = r.int()
    const done = r.bool()
    r.int()
    if (done) return false
    if (isEphemeral(operation, r)) return true
  }
}

/** Reads over one operation. */
function isEphemeral(type: number, r: Reader): boolean {
  checkOperation(type, r)
  if (type !== Op.create && type !== Op.create2) return false
  r.pos -= 4
  const flags = r.int()
  return flags === CreateFlag.ephemeral || flags === CreateFlag.ephemeralSequential
}

const multiOps: ReadonlySet<number> = new Set([
  Op.create,
  Op.create2,
  Op.createContainer,
  Op.createTtl,
  Op.delete,
  Op.setData,
  Op.check,
])

/**
 * 0 if the write whose record is at the reader may be proposed, else the error to propose in its place.
 * Throws ZkError for a record that can not be decoded: that one has no part in the write path and takes no zxid.
 */
export function admissionError(type: number, r: Reader, rules: WriteRules): number {
  switch (type) {
    case Op.closeSession:
      return Code.ok
    case Op.multi:
      return multiError(r, rules)
    case Op.reconfig:
      for (let i = 0; i < 3; i++) r.field()
      r.long()
      return rules.reconfigEnabled ? Code.ok : Code.reconfigDisabled
    case Op.deleteContainer:
      // Only the reaper deletes containers (semantics.md rule 20).
      return Code.badArguments
    default:
      return operationError(type, r, rules)
  }
}

function operationError(type: number, r: Reader, rules: WriteRules): number {
  const from = r.pos
  checkOperation(type, r)
  const end = r.pos
  const error =
    type === Op.delete || type === Op.setData || type === Op.check ? Code.ok : aclError(type, r, from, rules)
  r.pos = end
  return error
}

/** Schemes are a matter of configuration, so apply can not judge them. */
function aclError(type: number, r: Reader, from: number, rules: WriteRules): number {
  r.pos = from
  r.field()
  if (type !== Op.setAcl) r.field()
  const list = readAcls(r)
  return list === openAcl || schemesKnown(list, rules.schemes) ? Code.ok : Code.invalidAcl
}

/** As in ZooKeeper a multi that can not be decoded takes its zxid all the same (semantics.md rule 23). */
function multiError(r: Reader, rules: WriteRules): number {
  try {
    for (;;) {
      const type = r.int()
      const done = r.bool()
      r.int()
      if (done) return Code.ok
      if (!multiOps.has(type)) return Code.marshallingError
      const error = operationError(type, r, rules)
      if (error !== Code.ok) return error
      if (isCreate(type) && !validFlags(r, type)) return Code.marshallingError
    }
  } catch (error) {
    if (error instanceof ZkError) return error.code
    throw error
  }
}

function isCreate(type: number): boolean {
  return type === Op.create || type === Op.create2 || type === Op.createContainer || type === Op.createTtl
}

/** A create mode that does not exist makes the whole multi undecodable in ZooKeeper. The reader is behind the record. */
function validFlags(r: Reader, type: number): boolean {
  const end = r.pos
  r.pos = end - (type === Op.createTtl ? 12 : 4)
  const flags = r.int()
  r.pos = end
  return flags >= 0 && flags <= CreateFlag.ttlSequential
}

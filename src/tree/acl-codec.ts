// ACL vectors of requests and replies.
import type { Reader } from '../jute/reader.ts'
import type { Writer } from '../jute/writer.ts'
import { type Acl, openAcl, type RawAcl } from './acl.ts'

const openBytes = Buffer.from('00000001' + '0000001f' + '00000005776f726c64' + '00000006616e796f6e65', 'hex')

/** Reads a vector of ACL entries; null for a null vector. The list that nearly every create carries is `openAcl` itself. */
export function readAcls(r: Reader): readonly RawAcl[] | null {
  const from = r.pos
  if (r.end - from >= openBytes.length && isOpen(r.buf, from)) {
    r.pos = from + openBytes.length
    return openAcl
  }
  const count = r.count()
  if (count < 0) return null
  const list: RawAcl[] = []
  for (let i = 0; i < count; i++) list.push({ perms: r.int(), scheme: r.string(), id: r.string() })
  return list
}

function isOpen(buf: Uint8Array, from: number): boolean {
  for (let i = 0; i < openBytes.length; i++) if (buf[from + i] !== openBytes[i]) return false
  return true
}

/** Appends a vector of ACL entries. */
export function writeAcls(out: Writer, list: readonly Acl[]): void {
  out.int(list.length)
  for (const acl of list) {
    out.int(acl.perms)
    out.string(acl.scheme)
    out.string(acl.id)
  }
}

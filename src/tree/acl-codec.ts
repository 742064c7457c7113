// ACL vectors of requests and replies.
import type { Reader } from '../jute/reader.ts'
import type { Writer } from '../jute/writer.ts'
import { type Acl, openAcl, type RawAcl } from './acl.ts'

/** The list that nearly every create carries, and its words: it is compared for each of them. */
const openBytes = Buffer.from('00000001' + '0000001f' + '00000005776f726c64' + '00000006616e796f6e65', 'hex')
const openWords = wordsOf(openBytes)

/** Reads a vector of ACL entries; null for a null vector. The list that nearly every create carries is `openAcl` itself. */
export function readAcls(r: Reader): readonly RawAcl[] | null {
  const from = r.pos
  if (r.end - from >= openBytes.length && isOpen(r.view, from)) {
    r.pos = from + openBytes.length
    return openAcl
  }
  const count = r.count()
  if (count < 0) return null
  const list: RawAcl[] = []
  for (let i = 0; i < count; i++) list.push({ perms: r.int(), scheme: r.string(), id: r.string() })
  return list
}

function isOpen(view: DataView, from: number): boolean {
  for (let i = 0; i < openWords.length - 1; i++)
    if (view.getInt32(from + 4 * i) !== openWords[i]) return false
  return view.getInt32(from + openBytes.length - 4) === openWords[openWords.length - 1]
}

/** Its bytes as 32 bit numbers, of which the last may overlap the one before. */
function wordsOf(bytes: Buffer): Int32Array {
  const words = new Int32Array(Math.ceil(bytes.length / 4))
  for (let i = 0; i < words.length; i++) words[i] = bytes.readInt32BE(Math.min(4 * i, bytes.length - 4))
  return words
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

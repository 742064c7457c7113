// Access control lists: their table (znodes hold an index into it), the check, and the rules for what a client may
// store. Everything here depends on its arguments alone, never on configuration, so that applying a transaction
// gives the same result on every server; which schemes a server has switched on is asked before a proposal
// (`schemesKnown`). It never authenticates anybody: that is server/auth.ts.
import { assert } from '../base/assert.ts'
import { ChurnMap } from '../base/churn-map.ts'
import { Code } from '../base/errors.ts'
import { aclsMax } from './store.ts'

/** Somebody's identity within a scheme: of a connection, or in an ACL entry. */
export type Id = { readonly scheme: string; readonly id: string }

/** One entry of an access control list. `perms` is a signed 32 bit set of Perm bits; unknown bits are kept. */
export type Acl = { readonly perms: number; readonly scheme: string; readonly id: string }

/** An entry as it may come off the wire, where a string can be null. */
export type RawAcl = { readonly perms: number; readonly scheme: string | null; readonly id: string | null }

/** world:anyone with every permission: the list at index 0 of every table. */
export const openAcl: readonly Acl[] = Object.freeze([
  Object.freeze({ perms: 31, scheme: 'world', id: 'anyone' }),
])

/** Index of `openAcl` in every table. */
export const OPEN = 0

// Lengths in front make the text of a list unambiguous whatever its ids contain.
function keyOf(entry: Acl): string {
  return `${entry.perms},${entry.scheme.length},${entry.scheme},${entry.id.length},${entry.id};`
}

function isOpen(list: readonly Acl[]): boolean {
  const first = list[0]
  return list.length === 1 && first?.perms === 31 && first.scheme === 'world' && first.id === 'anyone'
}

/** What changed in a table, in ascending order of index. */
export type AclChanges = {
  readonly put: readonly (readonly [index: number, list: readonly Acl[]])[]
  readonly del: readonly number[]
}

type Slot = { readonly list: readonly Acl[]; readonly key: string; refs: number }

/**
 * The distinct lists of a tree. Equal lists (same entries, same order) share one index; a znode holds a reference.
 * A new list gets the lowest free index, so the indices depend on the calls made and not on what was freed when.
 */
export class AclTable {
  // Slot 0 is `openAcl` for ever; its references are not counted.
  readonly #slots: (Slot | undefined)[] = [{ list: openAcl, key: '', refs: 0 }]
  readonly #byKey = new ChurnMap<string, number>()
  // A binary heap, smallest first. May name an index that `restore` has filled since: skipped when it is drawn.
  readonly #free: number[] = []
  readonly #dirty = new Set<number>()

  /** Number of lists, including the one at index 0. */
  get size(): number {
    return this.#byKey.size + 1
  }

  /**
   * The index of a list, adding it if it is new. Takes no reference: a list that nobody retains stays in the table
   * until `dropUnused`. Keeps a copy.
   */
  intern(list: readonly Acl[]): number {
    if (isOpen(list)) return OPEN
    const key = list.map(keyOf).join('')
    const known = this.#byKey.get(key)
    if (known !== undefined) return known
    const index = this.#lowestFree()
    const copy = list.map(({ perms, scheme, id }) => ({ perms, scheme, id }))
    this.#slots[index] = { list: copy, key, refs: 0 }
    this.#byKey.set(key, index)
    this.#dirty.add(index)
    return index
  }

  /** The list at an index. Throws InvariantError when there is none. */
  get(index: number): readonly Acl[] {
    const slot = this.#slots[index]
    assert(slot !== undefined, () => `no ACL at index ${index}`)
    return slot.list
  }

  /** One more znode holds this list. Throws InvariantError when there is no such list. */
  retain(index: number): void {
    if (index === OPEN) return
    const slot = this.#slots[index]
    assert(slot !== undefined, () => `retained an ACL that is not there: index ${index}`)
    slot.refs++
  }

  /** One znode less holds this list; at none the index is free for another. Throws InvariantError below zero. */
  release(index: number): void {
    if (index === OPEN) return
    const slot = this.#slots[index]
    assert(slot !== undefined && slot.refs > 0, () => `released an ACL that nobody holds: index ${index}`)
    slot.refs--
    if (slot.refs === 0) this.#drop(index, slot)
  }

  /** Number of references to an index; 0 for index 0 and for a free one. */
  refs(index: number): number {
    return this.#slots[index]?.refs ?? 0
  }

  /** Frees the lists that nobody holds, e.g. after a checkpoint was loaded. Returns how many there were. */
  dropUnused(): number {
    let dropped = 0
    for (let index = 1; index < this.#slots.length; index++) {
      const slot = this.#slots[index]
      if (slot === undefined || slot.refs > 0) continue
      this.#drop(index, slot)
      dropped++
    }
    return dropped
  }

  /** All lists but the one at index 0, in ascending order of index. */
  *entries(): Generator<readonly [index: number, list: readonly Acl[]]> {
    for (let index = 1; index < this.#slots.length; index++) {
      const slot = this.#slots[index]
      if (slot !== undefined) yield [index, slot.list]
    }
  }

  /** What to write to a checkpoint: everything that changed since the last call. Index 0 is never in it. */
  takeDirty(): AclChanges {
    const put: (readonly [number, readonly Acl[]])[] = []
    const del: number[] = []
    for (const index of [...this.#dirty].sort((a, b) => a - b)) {
      const slot = this.#slots[index]
      if (slot === undefined) del.push(index)
      else put.push([index, slot.list])
    }
    this.#dirty.clear()
    return { put, del }
  }

  /** Gives back what `takeDirty` took when the checkpoint it was for has failed: it will be taken again. */
  putBack(changes: AclChanges): void {
    for (const [index] of changes.put) this.#dirty.add(index)
    for (const index of changes.del) this.#dirty.add(index)
  }

  /**
   * Puts a list of a checkpoint where it was, with `refs` references so far (0 when the znodes are loaded afterwards
   * and retain it). Nothing becomes dirty. Throws InvariantError when index or list is taken.
   */
  restore(index: number, list: readonly Acl[], refs: number): void {
    if (index === OPEN) {
      assert(isOpen(list), 'the ACL at index 0 is not world:anyone')
      return
    }
    assert(Number.isInteger(index) && index > 0 && index < aclsMax, `ACL index ${index} is out of range`)
    assert(Number.isInteger(refs) && refs >= 0, `ACL ${index} has ${refs} references`)
    assert(this.#slots[index] === undefined, `ACL ${index} is there twice`)
    const key = list.map(keyOf).join('')
    assert(!isOpen(list) && !this.#byKey.has(key), `ACL ${index} is the same as another one`)
    while (this.#slots.length < index) {
      this.#pushFree(this.#slots.length)
      this.#slots.push(undefined)
    }
    const copy = list.map(({ perms, scheme, id }) => ({ perms, scheme, id }))
    this.#slots[index] = { list: copy, key, refs }
    this.#byKey.set(key, index)
  }

  #drop(index: number, slot: Slot): void {
    this.#byKey.delete(slot.key)
    this.#slots[index] = undefined
    this.#dirty.add(index)
    this.#pushFree(index)
  }

  #lowestFree(): number {
    for (;;) {
      const index = this.#popFree()
      if (index === undefined) return this.#slots.length
      if (this.#slots[index] === undefined) return index
    }
  }

  #pushFree(index: number): void {
    const heap = this.#free
    let at = heap.length
    while (at > 0) {
      const up = (at - 1) >> 1
      const above = heap[up]!
      if (above <= index) break
      heap[at] = above
      at = up
    }
    heap[at] = index
  }

  #popFree(): number | undefined {
    const heap = this.#free
    const top = heap[0]
    const last = heap.pop()
    if (top === undefined || last === undefined || heap.length === 0) return top
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && heap[child + 1]! < heap[child]!) child++
      if (heap[child]! >= last) break
      heap[at] = heap[child]!
      at = child
    }
    heap[at] = last
    return top
  }
}

/**
 * Whether an ACL lets somebody with these ids do what `perm` says (any of its bits; semantics rule 25): any entry
 * that has the permission and matches, in no order and without denials. An id of scheme `super` passes everything,
 * and so does everybody at an empty list, which only an imported tree can have.
 */
export function permits(list: readonly Acl[], perm: number, ids: readonly Id[]): boolean {
  if (list.length === 0) return true
  for (const entry of list) {
    if ((entry.perms & perm) !== 0 && entry.scheme === 'world' && entry.id === 'anyone') return true
  }
  for (const id of ids) if (id.scheme === 'super') return true
  for (const entry of list) {
    if ((entry.perms & perm) === 0) continue
    for (const id of ids) {
      if (id.scheme !== entry.scheme) continue
      if (id.id === entry.id || (id.scheme === 'ip' && ipMatches(id.id, entry.id))) return true
    }
  }
  return false
}

/** `permits` for the list at an index of a table; costs a comparison for the open list. */
export function check(table: AclTable, index: number, perm: number, ids: readonly Id[]): boolean {
  return index === OPEN || permits(table.get(index), perm, ids)
}

/** What `fixAcl` made of a client's list. */
export type FixedAcl =
  | { readonly code: typeof Code.ok; readonly list: readonly Acl[] }
  | { readonly code: typeof Code.invalidAcl }

const invalid: FixedAcl = { code: Code.invalidAcl }

/**
 * The list to store for what a client sent with create or setACL (semantics rule 26): no duplicates, and each `auth`
 * entry replaced by one for every authenticated id of the connection. `invalidAcl` for an empty list, for `auth`
 * without such an id, for a scheme that does not exist and for an id that is malformed in its scheme.
 */
export function fixAcl(list: readonly RawAcl[] | null, ids: readonly Id[]): FixedAcl {
  if (list === null || list.length === 0) return invalid
  const seen = new Set<string>()
  const fixed: Acl[] = []
  for (const { perms, scheme, id } of list) {
    if (scheme === null) return invalid
    // The id of an `auth` entry is ignored and may be null.
    const entry: Acl = { perms, scheme, id: id ?? '' }
    const key = keyOf(entry)
    if (seen.has(key)) continue
    seen.add(key)
    if (scheme === 'auth') {
      const before = fixed.length
      for (const own of ids) {
        if (identifies(own.scheme)) fixed.push({ perms, scheme: own.scheme, id: own.id })
      }
      if (fixed.length === before) return invalid
    } else {
      if (id === null || !isValidId(scheme, id)) return invalid
      fixed.push(entry)
    }
  }
  return { code: Code.ok, list: fixed }
}

/**
 * Whether every entry's scheme is switched on at this server; `schemes` has no need to name `world` and `auth`. To
 * be asked before a request is proposed, and answered with `invalidAcl`: apply must not depend on a configuration.
 */
export function schemesKnown(list: readonly RawAcl[] | null, schemes: ReadonlySet<string>): boolean {
  if (list === null) return true
  for (const { scheme } of list) {
    if (scheme === null || (scheme !== 'world' && scheme !== 'auth' && !schemes.has(scheme))) return false
  }
  return true
}

/** What a reader of an ACL sees who may not administer it: digests are hidden (`user:x`). */
export function maskDigest(list: readonly Acl[]): readonly Acl[] {
  if (!list.some((entry) => entry.scheme === 'digest')) return list
  return list.map((entry) => {
    const colon = entry.id.indexOf(':')
    if (entry.scheme !== 'digest' || colon < 0) return entry
    return { perms: entry.perms, scheme: entry.scheme, id: `${entry.id.slice(0, colon)}:x` }
  })
}

// Addresses come and go and `super` is no user: neither identifies the creator of a znode.
function identifies(scheme: string): boolean {
  return scheme !== 'ip' && scheme !== 'super' && scheme !== 'world'
}

function isValidId(scheme: string, id: string): boolean {
  switch (scheme) {
    case 'world':
      return id === 'anyone'
    case 'digest':
      return isDigestId(id)
    case 'ip':
      return isIpExpression(id)
    case 'x509':
      return isDistinguishedName(id)
    case 'sasl':
      return isKerberosName(id)
    default:
      return false
  }
}

// ZooKeeper splits at each colon, drops the empty parts at the end and wants two: `u:d`, `:d` and even `u:d:` are
// valid, `u:` and `u:d:e` are not.
function isDigestId(id: string): boolean {
  let end = id.length
  while (end > 0 && id[end - 1] === ':') end--
  const colon = id.indexOf(':')
  const next = id.indexOf(':', colon + 1)
  return colon >= 0 && colon < end && (next < 0 || next >= end)
}

// service[/host]@realm, or any name without a realm.
function isKerberosName(id: string): boolean {
  return !id.includes('@') || /^[^/@]*(?:\/[^/@]*)?@[^/@]*$/.test(id)
}

// ---- ip ----

/** An address and how many of its bits count; -1 bits stands for a text that is none. */
type IpRange = { readonly bytes: readonly number[]; readonly bits: number }

const noRange: IpRange = { bytes: [], bits: -1 }

// Parsing costs ten times the comparison, and it is the same few texts that are compared with each request.
const expressions = new Map<string, IpRange>()
const peers = new Map<string, IpRange>()
const rememberedMax = 1024

function remember(cache: Map<string, IpRange>, text: string, parse: (text: string) => IpRange): IpRange {
  const known = cache.get(text)
  if (known !== undefined) return known
  if (cache.size >= rememberedMax) cache.clear()
  const parsed = parse(text)
  cache.set(text, parsed)
  return parsed
}

function parseExpression(expression: string): IpRange {
  const slash = expression.indexOf('/')
  const bytes = parseIp(slash < 0 ? expression : expression.slice(0, slash))
  if (bytes === undefined) return noRange
  const all = bytes.length * 8
  const bits = slash < 0 ? all : decimal(expression.slice(slash + 1))
  return bits <= all ? { bytes, bits } : noRange
}

function isIpExpression(expression: string): boolean {
  return parseExpression(expression).bits >= 0
}

/** Whether a peer's address is within an ACL's `address[/bits]`; different families never match (rule 29). */
function ipMatches(peer: string, expression: string): boolean {
  const { bytes: wanted, bits } = remember(expressions, expression, parseExpression)
  const { bytes: address } = remember(peers, peer, (text) => ({ bytes: parsePeerIp(text) ?? [], bits: 0 }))
  if (bits < 0 || address.length !== wanted.length) return false
  const whole = bits >> 3
  for (let i = 0; i < whole; i++) if (address[i] !== wanted[i]) return false
  const rest = bits & 7
  return rest === 0 || (address[whole]! ^ wanted[whole]!) >> (8 - rest) === 0
}

/**
 * The bytes of a peer's address in any form that a socket gives it: a zone (`%eth0`) is dropped, an IPv4 address
 * mapped into IPv6 is the IPv4 address. Undefined when it is none.
 */
export function parsePeerIp(text: string): readonly number[] | undefined {
  const zone = text.indexOf('%')
  let plain = zone < 0 ? text : text.slice(0, zone)
  const dot = plain.indexOf('.')
  if (dot >= 0 && plain.includes(':')) {
    const colon = plain.lastIndexOf(':')
    const tail = parseIpv4(plain.slice(colon + 1))
    if (tail === undefined) return undefined
    const [a, b, c, d] = tail as [number, number, number, number]
    plain = `${plain.slice(0, colon + 1)}${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`
  }
  const address = parseIp(plain)
  if (address?.length !== 16) return address
  const mapped =
    address[10] === 255 && address[11] === 255 && address.slice(0, 10).every((byte) => byte === 0)
  return mapped ? address.slice(12) : address
}

/**
 * The 4 or 16 bytes of an address in an ACL; undefined for anything else. As in ZooKeeper an IPv6 address has hex
 * groups only (no `::ffff:1.2.3.4`, no zone) and leading zeros are read as decimal; unlike there, no signs.
 */
export function parseIp(text: string): readonly number[] | undefined {
  return text.includes(':') ? parseIpv6(text) : parseIpv4(text)
}

function parseIpv4(text: string): number[] | undefined {
  const bytes: number[] = []
  for (const part of text.split('.')) {
    const value = decimal(part)
    if (value > 255) return undefined
    bytes.push(value)
  }
  return bytes.length === 4 ? bytes : undefined
}

function parseIpv6(text: string): number[] | undefined {
  const halves = text.split('::')
  if (halves.length > 2) return undefined
  const head = groups(halves[0] ?? '')
  if (halves.length === 1) return head?.length === 16 ? head : undefined
  const tail = groups(halves[1] ?? '')
  // `::` stands for at least one group.
  if (head === undefined || tail === undefined || head.length + tail.length > 14) return undefined
  return [...head, ...new Array<number>(16 - head.length - tail.length).fill(0), ...tail]
}

function groups(text: string): number[] | undefined {
  const bytes: number[] = []
  if (text === '') return bytes
  for (const group of text.split(':')) {
    if (!/^[0-9a-fA-F]{1,4}$/.test(group)) return undefined
    const value = Number.parseInt(group, 16)
    bytes.push(value >> 8, value & 255)
  }
  return bytes
}

/** Infinity when the text is not a string of digits. */
function decimal(text: string): number {
  return /^[0-9]+$/.test(text) ? Number(text) : Number.POSITIVE_INFINITY
}

// ---- x509 ----

// The attribute types that Java's X500Principal knows by name; any other is written as an OID.
const attributeTypes = new Set(
  (
    'CN C L S ST O OU T IP STREET DC DNQUALIFIER DNQ SURNAME GIVENNAME INITIALS GENERATION EMAIL EMAILADDRESS ' +
    'UID SERIALNUMBER'
  ).split(' '),
)

/**
 * Whether a text is a distinguished name as Java's X500Principal takes it (which is what ZooKeeper asks): RDNs
 * separated by `,` or `;`, their attributes by `+`, each `type=value` with RFC 2253's quoting. The empty name is one.
 */
function isDistinguishedName(text: string): boolean {
  if (text === '') return true
  let at = 0
  for (;;) {
    const equals = text.indexOf('=', at)
    if (equals < 0 || !isAttributeType(text.slice(at, equals))) return false
    at = endOfValue(text, equals + 1)
    if (at < 0) return false
    if (at === text.length) return true
    at++
  }
}

function isAttributeType(text: string): boolean {
  const name = text.replace(/^[ \n]+|[ \n]+$/g, '').toUpperCase()
  if (attributeTypes.has(name)) return true
  const oid = name.startsWith('OID.') ? name.slice(4) : name
  if (!/^[0-9]+(?:\.[0-9]+)+$/.test(oid)) return false
  const [first, second] = oid.split('.').map(Number) as [number, number]
  return first < 2 ? second < 40 : first === 2
}

/** Where the value that starts at `from` ends: at a separator or at the end of the text; -1 if it is malformed. */
function endOfValue(text: string, from: number): number {
  let at = skipBlank(text, from)
  if (text[at] === '#') {
    const end = text.slice(at).search(/[,;+]/)
    const stop = end < 0 ? text.length : at + end
    return isDerHex(text.slice(at + 1, stop).replace(/[ \n]+$/, '')) ? stop : -1
  }
  const quoted = text[at] === '"'
  if (quoted) at++
  for (; at < text.length; at++) {
    const char = text[at]!
    if (char === '\\') {
      const length = escapeLength(text, at + 1)
      if (length === 0) return -1
      at += length
    } else if (char === '"') {
      if (!quoted) return -1
      at = skipBlank(text, at + 1)
      return at === text.length || ',;+'.includes(text[at]!) ? at : -1
    } else if (!quoted && ',;+'.includes(char)) return at
    else if (!quoted && (char === '<' || char === '>')) return -1
  }
  return quoted ? -1 : at
}

/** How many characters behind a backslash belong to it: a special one, two hex digits, or 0 if neither is there. */
function escapeLength(text: string, at: number): number {
  const char = text[at]
  if (char === undefined) return 0
  if (',=\n+<>#;\\" '.includes(char)) return 1
  return /^[0-9a-fA-F]{2}$/.test(text.slice(at, at + 2)) ? 2 : 0
}

function skipBlank(text: string, from: number): number {
  let at = from
  while (text[at] === ' ' || text[at] === '\n') at++
  return at
}

/** Hex digits of one complete DER value with a length of one or two bytes. */
function isDerHex(hex: string): boolean {
  if (!/^(?:[0-9a-fA-F]{2}){2,}$/.test(hex)) return false
  const bytes = hex.length / 2
  const length = Number.parseInt(hex.slice(2, 4), 16)
  if (length < 128) return bytes === 2 + length
  if (length === 0x81) return bytes === 3 + Number.parseInt(hex.slice(4, 6), 16)
  return length === 0x82 && bytes === 4 + Number.parseInt(hex.slice(4, 8), 16)
}

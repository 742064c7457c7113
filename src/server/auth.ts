// Who a connection is: its first ids, what an auth packet or a client certificate adds to them, and the names that
// whoAmI shows. It decides and returns; replies, closing and the list of a connection's ids are the caller's.
import { createHash } from 'node:crypto'
import { Code } from '../base/errors.ts'
import { type Id, parsePeerIp } from '../tree/acl.ts'

/** The part of the configuration that authentication depends on. */
export type AuthOptions = {
  /** DigestAuthenticationProvider.superDigest, `user:base64`; undefined = there is no super user. */
  readonly superDigest: string | undefined
  /** DigestAuthenticationProvider.enabled */
  readonly digestEnabled: boolean
  /** True when clients can come over TLS: only then does the scheme exist. */
  readonly x509Enabled: boolean
  /** X509AuthenticationProvider.superUser, a subject as in `certificateIds`. */
  readonly x509SuperUser: string | undefined
}

/** What became of an auth packet. With `authFailed` the reply carries the code and the connection is closed. */
export type AuthResult =
  | { readonly code: typeof Code.ok; readonly ids: readonly Id[] }
  | { readonly code: typeof Code.authFailed; readonly reason: string }

/** One line of whoAmI's answer. */
export type ClientInfo = { readonly scheme: string; readonly user: string }

/** Addresses whose ids are kept; when there are more, all are forgotten and made again. */
const addressesMax = 4096

/** The authentication schemes of one server. Knows no connection; safe to share between them. */
export class Authenticator {
  readonly #options: AuthOptions
  /** The schemes that ACLs may use at this server besides `world` and `auth` (for tree/acl.ts schemesKnown). */
  readonly schemes: ReadonlySet<string>
  /** By address: clients of one machine share a list, which is written once into what they write in one turn. */
  readonly #addressIds = new Map<string, readonly Id[]>()

  constructor(options: AuthOptions) {
    this.#options = options
    const schemes = new Set(['ip'])
    if (options.digestEnabled) schemes.add('digest')
    if (options.x509Enabled) schemes.add('x509')
    this.schemes = schemes
  }

  /** The ids that every connection starts with: its address (semantics rule 27). The same list for the same address. */
  connectionIds(remoteAddress: string): readonly Id[] {
    const known = this.#addressIds.get(remoteAddress)
    if (known !== undefined) return known
    if (this.#addressIds.size >= addressesMax) this.#addressIds.clear()
    const ids: readonly Id[] = [{ scheme: 'ip', id: hostAddress(remoteAddress) }]
    this.#addressIds.set(remoteAddress, ids)
    return ids
  }

  /**
   * The ids that a verified client certificate gives, to be added after the TLS handshake (rule 31). `subject` is
   * the subject's distinguished name as RFC 2253 writes it (most specific first, no blank behind the comma).
   */
  certificateIds(subject: string): readonly Id[] {
    if (!this.#options.x509Enabled) return []
    const own: Id = { scheme: 'x509', id: subject }
    return subject === this.#options.x509SuperUser ? [{ scheme: 'super', id: subject }, own] : [own]
  }

  /**
   * Handles an auth packet on a connection that has `ids` so far: gives all its ids from now on, each once, or
   * refuses (rules 28, 30, 32, 33).
   */
  authenticate(scheme: string | null, data: Uint8Array | null, ids: readonly Id[]): AuthResult {
    switch (scheme) {
      case 'digest': {
        if (!this.#options.digestEnabled) return refuse('digest authentication is disabled')
        if (data === null) return refuse('a digest auth packet without data')
        const digest = digestId(data)
        const added: Id[] = digest === this.#options.superDigest ? [{ scheme: 'super', id: '' }] : []
        added.push({ scheme: 'digest', id: digest })
        return { code: Code.ok, ids: addIds(ids, added) }
      }
      case 'ip':
        // The address has been an id since the connection was made.
        return { code: Code.ok, ids }
      case 'x509':
        // The certificate has been checked in the TLS handshake; the packet can only confirm it.
        if (ids.some((id) => id.scheme === 'x509')) return { code: Code.ok, ids }
        return refuse('the connection has no client certificate')
      default:
        return refuse(`no authentication scheme ${JSON.stringify(scheme)}`)
    }
  }
}

function refuse(reason: string): AuthResult {
  return { code: Code.authFailed, reason }
}

/** `ids` followed by those of `added` that are not among them; the same array when nothing is new. */
export function addIds(ids: readonly Id[], added: readonly Id[]): readonly Id[] {
  const fresh = added.filter((id) => !ids.some((own) => own.scheme === id.scheme && own.id === id.id))
  return fresh.length === 0 ? ids : [...ids, ...fresh]
}

/**
 * `user:base64(sha1(data))` for the `user:password` of a digest auth packet. As ZooKeeper does, the data is read as
 * UTF-8 first (what is malformed becomes U+FFFD), and without a colon all of it is the user.
 */
export function digestId(data: Uint8Array): string {
  const text = Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('utf8')
  const colon = text.indexOf(':')
  const user = colon < 0 ? text : text.slice(0, colon)
  return `${user}:${createHash('sha1').update(text, 'utf8').digest('base64')}`
}

/** What whoAmI answers for a connection's ids: the user by each scheme's own notion; empty for `super`. */
export function whoAmI(ids: readonly Id[]): readonly ClientInfo[] {
  return ids.map(({ scheme, id }) => ({ scheme, user: userName(scheme, id) }))
}

function userName(scheme: string, id: string): string {
  if (scheme === 'super') return ''
  if (scheme !== 'digest') return id
  const colon = id.indexOf(':')
  return colon < 0 ? id : id.slice(0, colon)
}

/**
 * A peer's address as Java's getHostAddress writes it, which is what ZooKeeper's users see in whoAmI and in ACLs
 * made from it: IPv4 dotted, also when mapped into IPv6; IPv6 as eight groups without `::`, its zone kept.
 */
export function hostAddress(remoteAddress: string): string {
  const bytes = parsePeerIp(remoteAddress)
  if (bytes === undefined) return remoteAddress
  if (bytes.length === 4) return bytes.join('.')
  const groups: string[] = []
  for (let i = 0; i < 16; i += 2) groups.push((bytes[i]! * 256 + bytes[i + 1]!).toString(16))
  const zone = remoteAddress.indexOf('%')
  return groups.join(':') + (zone < 0 ? '' : remoteAddress.slice(zone))
}

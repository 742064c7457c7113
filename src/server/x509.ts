// What the x509 scheme takes from a client's certificate: the text of its subject, to the letter as Java writes it,
// because ACLs that were made under ZooKeeper hold that text. It never decides whether a certificate is trusted.
import { children, DerError, type Element, expectTag, objectIdentifier, readElement, Tag } from './tls-der.ts'

/** The types that RFC 2253 gives a short name; every other one is written as its number with the value in hex. */
const keywords = new Map([
  ['2.5.4.3', 'CN'],
  ['2.5.4.6', 'C'],
  ['2.5.4.7', 'L'],
  ['2.5.4.8', 'ST'],
  ['2.5.4.10', 'O'],
  ['2.5.4.11', 'OU'],
  ['2.5.4.9', 'STREET'],
  ['0.9.2342.19200300.100.1.25', 'DC'],
  ['0.9.2342.19200300.100.1.1', 'UID'],
])

/** The string types that Java writes as text, reading all of them as UTF-8, even a BMPString; others go as hex. */
const texts: ReadonlySet<number> = new Set([
  Tag.utf8String,
  Tag.printableString,
  Tag.t61String,
  Tag.ia5String,
  Tag.generalString,
  Tag.bmpString,
])

/**
 * The subject of a certificate as Java's `X500Principal.getName()` gives it (RFC 2253): most specific part first,
 * `CN=client,OU=Dev,O=Example\, Inc.,C=DE`. Takes the DER bytes, or what Node.js gives for a certificate.
 * Throws DerError for bytes that are no certificate.
 */
export function subjectDn(certificate: Buffer | { readonly raw: Buffer }): string {
  const raw = Buffer.isBuffer(certificate) ? certificate : certificate.raw
  const [tbs] = children(expectTag(readElement(raw), Tag.sequence))
  const fields = children(expectTag(tbs, Tag.sequence))
  // version is explicit context 0 and left out in version 1; then serial, algorithm, issuer, validity, subject
  return distinguishedName(expectTag(fields[fields[0]?.tag === Tag.context0 ? 5 : 4], Tag.sequence).raw)
}

/** The RFC 2253 text of a DER-encoded Name. Throws DerError for bytes that are none. */
export function distinguishedName(name: Buffer): string {
  const parts = children(expectTag(readElement(name), Tag.sequence))
  return parts
    .reverse()
    .map((part) => children(expectTag(part, Tag.set)).map(attribute).join('+'))
    .join(',')
}

function attribute(element: Element): string {
  const [type, value] = children(expectTag(element, Tag.sequence))
  const oid = objectIdentifier(type)
  if (value === undefined) throw new DerError('an attribute without value')
  const keyword = keywords.get(oid)
  return keyword === undefined || !texts.has(value.tag)
    ? `${keyword ?? oid}=#${value.raw.toString('hex')}`
    : `${keyword}=${escaped(value.content.toString('utf8'))}`
}

function escaped(text: string): string {
  const inner = text.replaceAll(/[,=+<>#;"\\]/g, '\\$&').replaceAll('\0', '\\00')
  // White space at either end; for Java that is the blank and the carriage return, and no other.
  const start = inner.search(/[^ \r]/)
  if (start < 0) return inner.replaceAll(/[ \r]/g, '\\$&')
  return inner.replaceAll(/^[ \r]+|[ \r]+$/g, (space) => space.replaceAll(/[ \r]/g, '\\$&'))
}

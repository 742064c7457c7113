// Reads ASN.1 in its DER form, and the BER liberties that PKCS#12 files take (indefinite lengths, octet strings in
// pieces). It never writes any, and never interprets a value beyond the few types below.

/** Bytes that are not the ASN.1 they should be. */
export class DerError extends Error {
  override readonly name = 'DerError'
}

/** One value with its header. `tag` is the identifier byte as it stands: class, constructed bit and number. */
export type Element = {
  readonly tag: number
  readonly content: Buffer
  /** Header and content as they stand in the input. */
  readonly raw: Buffer
}

/** Identifier bytes of the types that certificates and key stores are made of. */
export const Tag = {
  integer: 0x02,
  octetString: 0x04,
  oid: 0x06,
  utf8String: 0x0c,
  printableString: 0x13,
  t61String: 0x14,
  ia5String: 0x16,
  generalString: 0x1b,
  bmpString: 0x1e,
  sequence: 0x30,
  set: 0x31,
  context0: 0xa0,
} as const

const constructed = 0x20
/** Deeper nesting than any real structure has; bounds the recursion that an indefinite length costs. */
const maxDepth = 40

/** The element at `offset`. Throws DerError if it is cut short or has a form that is not used here. */
export function readElement(bytes: Buffer, offset = 0, depth = 0): Element {
  const tag = byteAt(bytes, offset)
  if ((tag & 0x1f) === 0x1f) throw new DerError('a tag number above 30')
  if (depth > maxDepth) throw new DerError('nested too deeply')
  const first = byteAt(bytes, offset + 1)
  let start = offset + 2
  if (first === 0x80) {
    if ((tag & constructed) === 0) throw new DerError('an indefinite length on a primitive value')
    let end = start
    while (byteAt(bytes, end) !== 0 || byteAt(bytes, end + 1) !== 0) {
      end += readElement(bytes, end, depth + 1).raw.length
    }
    return { tag, content: bytes.subarray(start, end), raw: bytes.subarray(offset, end + 2) }
  }
  let length = first
  if (first > 0x80) {
    const count = first & 0x7f
    if (count > 4) throw new DerError('a length of more than four bytes')
    length = 0
    for (let i = 0; i < count; i++) length = length * 256 + byteAt(bytes, start + i)
    start += count
  }
  const end = start + length
  if (end > bytes.length) throw new DerError('cut short')
  return { tag, content: bytes.subarray(start, end), raw: bytes.subarray(offset, end) }
}

/** The elements within a constructed one, in their order. */
export function children(element: Element): Element[] {
  if ((element.tag & constructed) === 0) throw new DerError('a primitive value where a structure should be')
  const found: Element[] = []
  for (let at = 0; at < element.content.length; ) {
    const child = readElement(element.content, at)
    found.push(child)
    at += child.raw.length
  }
  return found
}

/** `element`, if it is there and has the tag; throws DerError otherwise. */
export function expectTag(element: Element | undefined, tag: number): Element {
  if (element === undefined) throw new DerError('a part is missing')
  if (element.tag !== tag) throw new DerError(`tag ${element.tag} where ${tag} should be`)
  return element
}

/** The bytes of an octet string; `implicitTag` is the tag that a context replaces the universal one by. */
export function octets(element: Element | undefined, implicitTag: number = Tag.octetString): Buffer {
  if (element?.tag === (implicitTag | constructed)) {
    return Buffer.concat(children(element).map((piece) => octets(piece)))
  }
  return expectTag(element, implicitTag).content
}

/** A small non-negative integer (an iteration count, a version). */
export function smallInteger(element: Element | undefined): number {
  const { content } = expectTag(element, Tag.integer)
  if (content.length === 0 || content.length > 6) throw new DerError('an integer out of range')
  return content.readIntBE(0, content.length)
}

/** The dotted form of an object identifier. */
export function objectIdentifier(element: Element | undefined): string {
  const { content } = expectTag(element, Tag.oid)
  if (content.length === 0 || content.at(-1)! > 0x7f) throw new DerError('an object identifier cut short')
  const arcs: bigint[] = []
  // Arcs under 2.25 are UUIDs of 128 bits: no number holds them.
  let arc = 0n
  for (const byte of content) {
    arc = (arc << 7n) | BigInt(byte & 0x7f)
    if (byte < 0x80) {
      arcs.push(arc)
      arc = 0n
    }
  }
  const joint = arcs.shift()!
  const root = joint < 40n ? 0n : joint < 80n ? 1n : 2n
  return [root, joint - root * 40n, ...arcs].join('.')
}

function byteAt(bytes: Buffer, offset: number): number {
  const byte = bytes[offset]
  if (byte === undefined) throw new DerError('cut short')
  return byte
}

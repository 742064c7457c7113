// Reads a PKCS#12 store (RFC 7292) into raw keys and certificates: what openssl, keytool, Windows and browsers write,
// old encodings too. Done here because OpenSSL 3 refuses RC2 and node-forge re-encodes what it has read and gives up at
// entries it does not know. It never decides which key to use or whether a certificate is any good.
import { createDecipheriv, createHmac, hash, pbkdf2Sync, timingSafeEqual } from 'node:crypto'
import forge from 'node-forge'
import {
  children,
  type Element,
  expectTag,
  objectIdentifier,
  octets,
  readElement,
  smallInteger,
  Tag,
} from './tls-der.ts'

/** What a PKCS#12 file holds, in its order; entries of other kinds (secret keys, revocation lists) are left out. */
export type Pkcs12 = {
  /** `pkcs8` decrypts the key to its PKCS#8 form (DER); it can throw what `readPkcs12` can. */
  readonly keys: readonly { readonly alias: string; readonly pkcs8: () => Buffer }[]
  readonly certificates: readonly {
    readonly alias: string
    readonly der: Buffer
    /** It carries Java's mark of a certificate to be trusted (keytool -importcert), or belongs to a key. */
    readonly anchor: boolean
  }[]
}

/** The integrity check or a decryption failed: as good as always a wrong password. */
export class WrongPasswordError extends Error {
  override readonly name = 'WrongPasswordError'
}

/** The file uses an algorithm that is not supported here; the message names it. */
export class UnsupportedStoreError extends Error {
  override readonly name = 'UnsupportedStoreError'
}

const data = '1.2.840.113549.1.7.1'
const encryptedData = '1.2.840.113549.1.7.6'
const bags = {
  key: '1.2.840.113549.1.12.10.1.1',
  shroudedKey: '1.2.840.113549.1.12.10.1.2',
  certificate: '1.2.840.113549.1.12.10.1.3',
  nested: '1.2.840.113549.1.12.10.1.6',
}
const x509Certificate = '1.2.840.113549.1.9.22.1'
const friendlyName = '1.2.840.113549.1.9.20'
const localKeyId = '1.2.840.113549.1.9.21'
const javaTrustedUsage = '2.16.840.1.113894.746875.1.1'

const digests = new Map([
  ['1.3.14.3.2.26', 'sha1'],
  ['2.16.840.1.101.3.4.2.4', 'sha224'],
  ['2.16.840.1.101.3.4.2.1', 'sha256'],
  ['2.16.840.1.101.3.4.2.2', 'sha384'],
  ['2.16.840.1.101.3.4.2.3', 'sha512'],
])
const pbkdf2Digests = new Map([
  ['1.2.840.113549.2.7', 'sha1'],
  ['1.2.840.113549.2.8', 'sha224'],
  ['1.2.840.113549.2.9', 'sha256'],
  ['1.2.840.113549.2.10', 'sha384'],
  ['1.2.840.113549.2.11', 'sha512'],
])
const pbes2Ciphers = new Map([
  ['2.16.840.1.101.3.4.1.2', { name: 'aes-128-cbc', keyBytes: 16 }],
  ['2.16.840.1.101.3.4.1.22', { name: 'aes-192-cbc', keyBytes: 24 }],
  ['2.16.840.1.101.3.4.1.42', { name: 'aes-256-cbc', keyBytes: 32 }],
  ['1.2.840.113549.3.7', { name: 'des-ede3-cbc', keyBytes: 24 }],
])
const pbes2 = '1.2.840.113549.1.5.13'
const pbkdf2 = '1.2.840.113549.1.5.12'
/** PKCS#12's own schemes, all with SHA-1 and blocks of 8 bytes. */
const legacyCiphers = new Map<string, { cipher: '3des' | 'rc2'; keyBytes: number }>([
  ['1.2.840.113549.1.12.1.3', { cipher: '3des', keyBytes: 24 }],
  ['1.2.840.113549.1.12.1.4', { cipher: '3des', keyBytes: 16 }],
  ['1.2.840.113549.1.12.1.5', { cipher: 'rc2', keyBytes: 16 }],
  ['1.2.840.113549.1.12.1.6', { cipher: 'rc2', keyBytes: 5 }],
])
/** Java refuses more, too: a damaged count must not keep the start busy for hours. */
const maxIterations = 5_000_000

/**
 * Reads a PKCS#12 file. Without a password the empty one is tried, in both of its encodings. Throws
 * WrongPasswordError, UnsupportedStoreError, or DerError for bytes that are no PKCS#12.
 */
export function readPkcs12(bytes: Buffer, password: string | undefined): Pkcs12 {
  if (password !== undefined && password !== '') return readWith(bytes, password)
  try {
    return readWith(bytes, '')
  } catch (error) {
    if (!(error instanceof WrongPasswordError)) throw error
    return readWith(bytes, undefined)
  }
}

function readWith(bytes: Buffer, password: string | undefined): Pkcs12 {
  const [version, content, mac] = children(expectTag(readElement(bytes), Tag.sequence))
  if (smallInteger(version) !== 3) throw new UnsupportedStoreError('a PKCS#12 version other than 3')
  const { type, value } = contentInfo(expectTag(content, Tag.sequence))
  if (type !== data)
    throw new UnsupportedStoreError('a store that is signed with a key instead of a password')
  const safe = octets(value)
  if (mac !== undefined) checkMac(mac, safe, password)

  const keys: { alias: string; pkcs8: () => Buffer }[] = []
  const certificates: { alias: string; der: Buffer; anchor: boolean }[] = []
  const readBags = (contents: Buffer): void => {
    for (const bag of children(expectTag(readElement(contents), Tag.sequence))) {
      const [bagType, wrapped, attributes] = children(expectTag(bag, Tag.sequence))
      const inner = children(expectTag(wrapped, Tag.context0))[0]
      const { alias, anchor } = bagAttributes(attributes)
      switch (objectIdentifier(bagType)) {
        case bags.key:
          keys.push({ alias, pkcs8: () => expectTag(inner, Tag.sequence).raw })
          break
        case bags.shroudedKey: {
          const [algorithm, encrypted] = children(expectTag(inner, Tag.sequence))
          keys.push({ alias, pkcs8: () => decrypt(algorithm, octets(encrypted), password) })
          break
        }
        case bags.certificate: {
          const [kind, holder] = children(expectTag(inner, Tag.sequence))
          if (objectIdentifier(kind) !== x509Certificate) break
          const der = octets(children(expectTag(holder, Tag.context0))[0])
          certificates.push({ alias, der, anchor })
          break
        }
        case bags.nested:
          readBags(expectTag(inner, Tag.sequence).raw)
          break
      }
    }
  }
  for (const part of children(expectTag(readElement(safe), Tag.sequence))) {
    const info = contentInfo(part)
    if (info.type === data) readBags(octets(info.value))
    else if (info.type === encryptedData) readBags(decryptedContent(info.value, password))
    else throw new UnsupportedStoreError('a part that is encrypted with a key instead of a password')
  }
  return { keys, certificates }
}

function contentInfo(element: Element): { type: string; value: Element | undefined } {
  const [type, value] = children(element)
  return { type: objectIdentifier(type), value: children(expectTag(value, Tag.context0))[0] }
}

function bagAttributes(element: Element | undefined): { alias: string; anchor: boolean } {
  let alias = ''
  let anchor = false
  if (element === undefined) return { alias, anchor }
  for (const entry of children(expectTag(element, Tag.set))) {
    const [type, values] = children(entry)
    const oid = objectIdentifier(type)
    if (oid === javaTrustedUsage || oid === localKeyId) anchor = true
    if (oid === friendlyName)
      alias = bmpText(expectTag(children(expectTag(values, Tag.set))[0], Tag.bmpString))
  }
  return { alias, anchor }
}

function bmpText(element: Element): string {
  return new TextDecoder('utf-16be').decode(element.content)
}

function decryptedContent(element: Element | undefined, password: string | undefined): Buffer {
  const [, info] = children(expectTag(element, Tag.sequence))
  const [, algorithm, encrypted] = children(expectTag(info, Tag.sequence))
  return decrypt(algorithm, octets(encrypted, 0x80), password)
}

function checkMac(element: Element, safe: Buffer, password: string | undefined): void {
  const [digestInfo, salt, iterations] = children(expectTag(element, Tag.sequence))
  const [algorithm, expected] = children(expectTag(digestInfo, Tag.sequence))
  const oid = objectIdentifier(children(expectTag(algorithm, Tag.sequence))[0])
  const digest = digests.get(oid)
  if (digest === undefined) throw new UnsupportedStoreError(`an integrity check of type ${oid}`)
  const size = hash(digest, '', 'buffer').length
  const rounds = iterations === undefined ? 1 : iterationCount(iterations)
  const key = deriveKey(digest, 3, bmpPassword(password), octets(salt), rounds, size)
  const computed = createHmac(digest, key).update(safe).digest()
  const stored = octets(expected)
  if (stored.length !== computed.length || !timingSafeEqual(stored, computed)) throw new WrongPasswordError()
}

function decrypt(algorithm: Element | undefined, encrypted: Buffer, password: string | undefined): Buffer {
  const [type, parameters] = children(expectTag(algorithm, Tag.sequence))
  const oid = objectIdentifier(type)
  if (oid === pbes2) return decryptPbes2(parameters, encrypted, password)
  const legacy = legacyCiphers.get(oid)
  if (legacy === undefined) throw new UnsupportedStoreError(`encryption of type ${oid}`)
  const [salt, iterations] = children(expectTag(parameters, Tag.sequence))
  const secret = bmpPassword(password)
  const rounds = iterationCount(iterations)
  const key = deriveKey('sha1', 1, secret, octets(salt), rounds, legacy.keyBytes)
  const iv = deriveKey('sha1', 2, secret, octets(salt), rounds, 8)
  if (legacy.cipher === 'rc2') return decryptRc2(key, iv, encrypted)
  // two keys: the first is used again as the third
  return decipher('des-ede3-cbc', Buffer.concat([key, key]).subarray(0, 24), iv, encrypted)
}

function decryptPbes2(
  parameters: Element | undefined,
  encrypted: Buffer,
  password: string | undefined,
): Buffer {
  const [derivation, scheme] = children(expectTag(parameters, Tag.sequence))
  const [kdf, kdfParameters] = children(expectTag(derivation, Tag.sequence))
  if (objectIdentifier(kdf) !== pbkdf2) {
    throw new UnsupportedStoreError(`key derivation of type ${objectIdentifier(kdf)}`)
  }
  const [salt, iterations, ...optional] = children(expectTag(kdfParameters, Tag.sequence))
  const prf = optional.find((element) => element.tag === Tag.sequence)
  const prfOid = prf === undefined ? '1.2.840.113549.2.7' : objectIdentifier(children(prf)[0])
  const digest = pbkdf2Digests.get(prfOid)
  if (digest === undefined) throw new UnsupportedStoreError(`key derivation with ${prfOid}`)
  const [cipherType, iv] = children(expectTag(scheme, Tag.sequence))
  const cipher = pbes2Ciphers.get(objectIdentifier(cipherType))
  if (cipher === undefined) {
    throw new UnsupportedStoreError(`encryption of type ${objectIdentifier(cipherType)}`)
  }
  const rounds = iterationCount(iterations)
  const key = pbkdf2Sync(password ?? '', octets(salt), rounds, cipher.keyBytes, digest)
  return decipher(cipher.name, key, octets(iv), encrypted)
}

function iterationCount(element: Element | undefined): number {
  const count = smallInteger(element)
  if (count < 1 || count > maxIterations) throw new UnsupportedStoreError(`${count} rounds of key derivation`)
  return count
}

function decipher(name: string, key: Buffer, iv: Buffer, encrypted: Buffer): Buffer {
  const cipher = createDecipheriv(name, key, iv)
  try {
    return Buffer.concat([cipher.update(encrypted), cipher.final()])
  } catch {
    throw new WrongPasswordError() // the padding is wrong
  }
}

/** RC2 is what older Java and openssl wrote certificates with; OpenSSL 3 has it only in a module that Node.js lacks. */
function decryptRc2(key: Buffer, iv: Buffer, encrypted: Buffer): Buffer {
  const cipher = forge.rc2.createDecryptionCipher(key.toString('latin1'), key.length * 8)
  cipher.start(iv.toString('latin1'))
  cipher.update(forge.util.createBuffer(encrypted.toString('latin1')))
  if (!cipher.finish()) throw new WrongPasswordError()
  return Buffer.from(cipher.output.getBytes(), 'latin1')
}

/** The password as PKCS#12 counts its bytes: UTF-16, big-endian, with a terminating zero; nothing at all for none. */
function bmpPassword(password: string | undefined): Buffer {
  return password === undefined ? Buffer.alloc(0) : Buffer.from(`${password}\0`, 'utf16le').swap16()
}

/** The derivation of RFC 7292, appendix B.2; `purpose` is 1 for a key, 2 for an IV, 3 for an integrity key. */
function deriveKey(
  digest: string,
  purpose: number,
  password: Buffer,
  salt: Buffer,
  rounds: number,
  size: number,
): Buffer {
  const block = digest === 'sha384' || digest === 'sha512' ? 128 : 64
  const diversifier = Buffer.alloc(block, purpose)
  const input = Buffer.concat([stretch(salt, block), stretch(password, block)])
  const out: Buffer[] = []
  for (let have = 0; have < size; ) {
    let digested = hash(digest, Buffer.concat([diversifier, input]), 'buffer')
    // the one-shot function: old keytool counts to 100,000, several times over
    for (let round = 1; round < rounds; round++) digested = hash(digest, digested, 'buffer')
    out.push(digested)
    have += digested.length
    const addend = stretch(digested, block, block)
    for (let at = 0; at < input.length; at += block) addTo(input.subarray(at, at + block), addend)
  }
  return Buffer.concat(out).subarray(0, size)
}

/** `bytes` repeated to fill whole blocks (or exactly `length`). */
function stretch(bytes: Buffer, block: number, length = Math.ceil(bytes.length / block) * block): Buffer {
  return length === 0 ? Buffer.alloc(0) : Buffer.alloc(length, bytes)
}

/** number + addend + 1, both big-endian, the carry out of the top lost. */
function addTo(number: Buffer, addend: Buffer): void {
  let carry = 1
  for (let i = number.length - 1; i >= 0; i--) {
    carry += number[i]! + addend[i]!
    number[i] = carry & 0xff
    carry >>= 8
  }
}

// Key and trust stores as files: PEM, PKCS#12 and JKS, told apart by what is in them, so that a keytool `.jks` that is
// PKCS#12 inside (its default since Java 9) needs no care. Every error is a ConfigError that names the key, the file
// and what to do. It never judges dates or which key is used: tls.ts does.
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import jks from 'jks-js'
import { ConfigError, type KeyStoreSpec } from '../config/types.ts'
import { DerError } from './tls-der.ts'
import { readPkcs12, UnsupportedStoreError, WrongPasswordError } from './tls-pkcs12.ts'

/** What a store's file holds, in the order of the file. */
export type Store = {
  readonly keys: readonly { readonly alias: string; readonly key: KeyObject }[]
  readonly certificates: readonly StoredCertificate[]
}

export type StoredCertificate = {
  readonly alias: string
  readonly certificate: X509Certificate
  /**
   * Java trusts it when the file is a trust store: all of a PEM file; elsewhere the entries made to be trusted and
   * the certificates of keys, not the rest of their chains.
   */
  readonly anchor: boolean
}

/** The first four bytes of a JKS file, and of its relative for secret keys. */
const jksMagic = 0xfeedfeed
const jceksMagic = 0xcececece

/**
 * Reads the store that the configuration keys `<prefix>.location`, `.password`, `.passwordPath` describe (`prefix` is
 * `ssl.keyStore`, for example). Private keys are decrypted only if `withKeys`. Throws ConfigError.
 */
export function readStore(spec: KeyStoreSpec, prefix: string, withKeys: boolean): Store {
  const where = `${prefix}.location=${spec.path}`
  const bytes = readFile(spec.path, where)
  const password = readPassword(spec, prefix)
  if (bytes.length === 0) throw new ConfigError(`${where}: the file is empty`)
  const magic = bytes.length >= 4 ? bytes.readUInt32BE(0) : 0
  if (magic === jksMagic) return readJks(bytes, password, prefix, where, withKeys)
  if (magic === jceksMagic) {
    throw new ConfigError(
      `${where} is a JCEKS store, which is not supported; convert it with keytool -importkeystore -srcstoretype JCEKS -deststoretype PKCS12`,
    )
  }
  if (bytes.includes('-----BEGIN '))
    return readPem(bytes.toString('latin1'), password, prefix, where, withKeys)
  if (bytes[0] === 0x30) return readPkcs12Store(bytes, password, prefix, where, withKeys)
  throw new ConfigError(
    `${where} is neither PEM, PKCS#12 nor JKS (${prefix}.type says ${spec.type}); is it the right file?`,
  )
}

/** The password of a store, or undefined if none is configured. A file's content wins, as in ZooKeeper. */
function readPassword(spec: KeyStoreSpec, prefix: string): string | undefined {
  if (spec.passwordPath === undefined) return spec.password
  const where = `${prefix}.passwordPath=${spec.passwordPath}`
  return readFile(spec.passwordPath, where)
    .toString('utf8')
    .replace(/[\r\n]+$/, '')
}

function readFile(path: string, where: string): Buffer {
  try {
    return readFileSync(path)
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'ENOENT') throw new ConfigError(`${where}: there is no such file`)
    if (code === 'EISDIR') throw new ConfigError(`${where} is a directory, not a file`)
    if (code === 'EACCES' || code === 'EPERM') {
      throw new ConfigError(`${where} can not be read: this user has no permission`)
    }
    throw new ConfigError(`${where} can not be read: ${messageOf(error)}`)
  }
}

function readPem(
  text: string,
  password: string | undefined,
  prefix: string,
  where: string,
  withKeys: boolean,
): Store {
  const keys: { alias: string; key: KeyObject }[] = []
  const certificates: StoredCertificate[] = []
  for (const [block, label] of text.matchAll(/-----BEGIN ([A-Z0-9 ]+)-----[\s\S]*?-----END \1-----/g)) {
    if (/^(X509 )?CERTIFICATE$/.test(label!)) {
      const alias = `certificate ${certificates.length + 1}`
      const der = block
        .replace(/-----BEGIN X509 CERTIFICATE/, '-----BEGIN CERTIFICATE')
        .replace('END X509', 'END')
      certificates.push({ alias, certificate: parseCertificate(der, alias, where), anchor: true })
    } else if (withKeys && label!.endsWith('PRIVATE KEY')) {
      const alias = `key ${keys.length + 1}`
      keys.push({ alias, key: parsePemKey(block, password, prefix, where) })
    }
  }
  if (keys.length === 0 && certificates.length === 0) {
    throw new ConfigError(
      `${where} holds no ${withKeys ? 'private key and no ' : ''}certificate that is complete from BEGIN to END`,
    )
  }
  return { keys, certificates }
}

function parsePemKey(pem: string, password: string | undefined, prefix: string, where: string): KeyObject {
  try {
    return createPrivateKey({ key: pem, ...(password !== undefined && { passphrase: password }) })
  } catch (error) {
    const encrypted = pem.startsWith('-----BEGIN ENCRYPTED') || pem.includes('Proc-Type: 4,ENCRYPTED')
    if (!encrypted) throw new ConfigError(`${where}: the private key is damaged (${messageOf(error)})`)
    if (password === undefined || password === '') {
      throw new ConfigError(
        `${where}: the private key is encrypted; set ${prefix}.password or ${prefix}.passwordPath`,
      )
    }
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ERR_OSSL_UNSUPPORTED' || code === 'ERR_OSSL_EVP_UNSUPPORTED') {
      throw new ConfigError(
        `${where}: the private key is encrypted with an algorithm that this Node.js does not have; ` +
          'rewrite it with openssl pkcs8 -topk8 -v2 aes256',
      )
    }
    throw wrongPassword(prefix, where, 'decrypt the private key')
  }
}

function readPkcs12Store(
  bytes: Buffer,
  password: string | undefined,
  prefix: string,
  where: string,
  withKeys: boolean,
): Store {
  try {
    const store = readPkcs12(bytes, password)
    return {
      keys: withKeys
        ? store.keys.map(({ alias, pkcs8 }) => ({ alias, key: parsePkcs8(pkcs8(), alias, where) }))
        : [],
      certificates: store.certificates.map(({ alias, der, anchor }) => ({
        alias,
        certificate: parseCertificate(der, alias, where),
        anchor,
      })),
    }
  } catch (error) {
    if (error instanceof WrongPasswordError) {
      throw password === undefined
        ? noPassword(prefix, where)
        : wrongPassword(prefix, where, 'open the store')
    }
    if (error instanceof UnsupportedStoreError) {
      throw new ConfigError(
        `${where} can not be read, it uses ${error.message}; rewrite it with openssl pkcs12 or keytool -importkeystore -deststoretype PKCS12`,
      )
    }
    if (!(error instanceof DerError)) throw error
    if (isCertificate(bytes)) {
      throw new ConfigError(
        `${where} is a single certificate in DER form; convert it with openssl x509 -inform DER`,
      )
    }
    throw new ConfigError(`${where} looks like a PKCS#12 store but is damaged (${error.message})`)
  }
}

function readJks(
  bytes: Buffer,
  password: string | undefined,
  prefix: string,
  where: string,
  withKeys: boolean,
): Store {
  let entries: ReturnType<typeof jks.parseJks>
  try {
    entries = jks.parseJks(bytes, password ?? '')
  } catch (error) {
    if (/Password verification failed/.test(messageOf(error)))
      throw wrongPassword(prefix, where, 'open the store')
    throw new ConfigError(`${where} is a JKS store but damaged (${messageOf(error)})`)
  }
  const keys: { alias: string; key: KeyObject }[] = []
  const certificates: StoredCertificate[] = []
  for (const entry of entries) {
    const { alias } = entry
    if ('cert' in entry) {
      certificates.push({
        alias,
        certificate: parseCertificate(entry.cert.value, alias, where),
        anchor: true,
      })
      continue
    }
    for (const [i, { value }] of entry.chain.entries()) {
      certificates.push({ alias, certificate: parseCertificate(value, alias, where), anchor: i === 0 })
    }
    if (!withKeys) continue
    if (password === undefined) throw noPassword(prefix, where)
    keys.push({ alias, key: decryptJksKey(entry.protectedPrivateKey, password, alias, prefix, where) })
  }
  return { keys, certificates }
}

function decryptJksKey(
  encrypted: Buffer,
  password: string,
  alias: string,
  prefix: string,
  where: string,
): KeyObject {
  try {
    return createPrivateKey(jks.decrypt(encrypted, password))
  } catch (error) {
    if (/Cannot recover key/.test(messageOf(error))) {
      throw new ConfigError(
        `${where}: the key "${alias}" has a password of its own; ` +
          `give it the store's (${prefix}.password) with keytool -keypasswd, as ZooKeeper needs it, too`,
      )
    }
    throw new ConfigError(
      `${where}: the key "${alias}" can not be read (${messageOf(error)}); ` +
        'convert the store with keytool -importkeystore -deststoretype PKCS12',
    )
  }
}

function parsePkcs8(der: Buffer, alias: string, where: string): KeyObject {
  try {
    return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
  } catch (error) {
    throw new ConfigError(`${where}: the private key "${alias}" can not be read (${messageOf(error)})`)
  }
}

function parseCertificate(bytes: Buffer | string, alias: string, where: string): X509Certificate {
  try {
    return new X509Certificate(bytes)
  } catch (error) {
    throw new ConfigError(`${where}: the certificate "${alias}" can not be read (${messageOf(error)})`)
  }
}

function isCertificate(der: Buffer): boolean {
  try {
    return new X509Certificate(der).subject !== undefined
  } catch {
    return false
  }
}

function wrongPassword(prefix: string, where: string, purpose: string): ConfigError {
  return new ConfigError(
    `${where}: the password does not ${purpose}; check ${prefix}.password or the file of ${prefix}.passwordPath`,
  )
}

function noPassword(prefix: string, where: string): ConfigError {
  return new ConfigError(`${where} needs a password; set ${prefix}.password or ${prefix}.passwordPath`)
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

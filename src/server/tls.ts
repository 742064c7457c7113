// TLS of the client port (and of anything else configured by ssl.* keys): from the configuration to what Node.js needs,
// with every mistake found at the start. It never opens a port; tls-accept.ts takes connections.
import type { KeyObject, X509Certificate } from 'node:crypto'
import { constants } from 'node:crypto'
import { createSecureContext, type SecureVersion, type TlsOptions } from 'node:tls'
import { ConfigError, type KeyStoreSpec, type TlsConfig } from '../config/types.ts'
import { readStore, type Store } from './tls-stores.ts'
import { subjectDn } from './x509.ts'

/** A TLS configuration whose files were read and found good. */
export type LoadedTls = {
  /**
   * For `tls.createServer`, and as far as keys and trust go for `tls.connect`. With `clientAuth` want it lets
   * untrusted certificates pass the handshake: check them with `refusal` of tls-accept.ts, as the acceptor does.
   */
  readonly options: TlsOptions
  readonly clientAuth: TlsConfig['clientAuth']
  /** The server's own certificate. */
  readonly certificate: { readonly subject: string; readonly notAfter: Date }
  /** Sentences for the log: what works but needs somebody's attention. */
  readonly warnings: readonly string[]
}

/** Certificates that end within this time are warned of: enough for somebody to renew them. */
const expiryWarningMs = 30 * 24 * 3600 * 1000

type Chosen = { alias: string; key: KeyObject; certificate: X509Certificate; chain: X509Certificate[] }

/**
 * Reads the stores of `config` and checks them as of `now`. `prefix` is that of the configuration keys, for messages
 * (`ssl`, `ssl.quorum`). Without a trust store Node.js's own list of authorities holds, as Java's does for ZooKeeper.
 * Throws ConfigError, naming the key, the file and what to do.
 */
export function loadTls(config: TlsConfig, now: Date, prefix = 'ssl'): LoadedTls {
  const warnings: string[] = []
  if (config.keyStore === undefined) {
    throw new ConfigError(
      `${prefix}.keyStore.location is not set: TLS needs a file with the server's private key and certificate`,
    )
  }
  const where = `${prefix}.keyStore.location=${config.keyStore.path}`
  const chosen = chooseKey(readStore(config.keyStore, `${prefix}.keyStore`, true), now, where, warnings)
  checkOwnDates(chosen, now, where, warnings)
  const options: TlsOptions = {
    key: chosen.key.export({ type: 'pkcs8', format: 'pem' }),
    cert: [chosen.certificate, ...chosen.chain].map(String).join(''),
    ...(config.trustStore !== undefined && {
      ca: trustAnchors(config.trustStore, now, `${prefix}.trustStore`, warnings),
      // Java takes every certificate of a trust store for an anchor, not only self-signed ones.
      allowPartialTrustChain: true,
    }),
    ...protocolsAndCiphers(config, prefix),
    requestCert: config.clientAuth !== 'none',
    rejectUnauthorized: config.clientAuth === 'need',
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
  }
  if (config.trustStore === undefined && config.clientAuth !== 'none') {
    warnings.push(
      `${prefix}.trustStore.location is not set: client certificates of every public authority are trusted`,
    )
  }
  try {
    createSecureContext(options)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    if (/no cipher match/i.test(reason)) {
      throw new ConfigError(`${prefix}.ciphersuites: none of ${config.ciphers} is known to this Node.js`)
    }
    throw new ConfigError(`${where}: TLS can not be set up with this key and certificate (${reason})`)
  }
  return {
    options,
    clientAuth: config.clientAuth,
    certificate: { subject: subjectDn(chosen.certificate), notAfter: new Date(chosen.certificate.validTo) },
    warnings,
  }
}

/** The first key with a certificate that is valid now; else the first with any, so that the error can show its dates. */
function chooseKey(store: Store, now: Date, where: string, warnings: string[]): Chosen {
  const pool = store.certificates.map(({ certificate }) => certificate)
  if (store.keys.length === 0) {
    throw new ConfigError(
      `${where} holds no private key, only ${pool.length} certificate(s); is it the trust store? ` +
        "The key store needs the server's private key with its certificate",
    )
  }
  if (pool.length === 0) {
    throw new ConfigError(
      `${where} holds a private key but no certificate; add the certificate chain to the file`,
    )
  }
  const pairs = store.keys.flatMap(({ alias, key }) =>
    pool
      .filter((certificate) => certificate.checkPrivateKey(key))
      .map((certificate) => ({ alias, key, certificate })),
  )
  const pair = pairs.find(({ certificate }) => validity(certificate, now) === 'valid') ?? pairs[0]
  if (pair === undefined) {
    throw new ConfigError(
      `${where}: the private key does not belong to a certificate of the file ` +
        `(the first is ${subjectDn(pool[0]!)}); key and certificate must be a pair`,
    )
  }
  if (store.keys.length > 1) {
    warnings.push(
      `${where} holds ${store.keys.length} private keys; "${pair.alias}" is used (${subjectDn(pair.certificate)})`,
    )
  }
  return { ...pair, chain: issuersOf(pair.certificate, pool) }
}

/** The certificates of `pool` that lead up from `certificate`, in the order in which TLS sends them. */
function issuersOf(certificate: X509Certificate, pool: readonly X509Certificate[]): X509Certificate[] {
  const chain: X509Certificate[] = []
  let last = certificate
  while (!last.checkIssued(last)) {
    const issuer = pool.find(
      (candidate) =>
        !chain.includes(candidate) && last.checkIssued(candidate) && last.verify(candidate.publicKey),
    )
    if (issuer === undefined) break
    chain.push(issuer)
    last = issuer
  }
  return chain
}

function checkOwnDates(chosen: Chosen, now: Date, where: string, warnings: string[]): void {
  const text = describe(chosen.certificate)
  switch (validity(chosen.certificate, now)) {
    case 'expired':
      throw new ConfigError(
        `${where}: the certificate has expired (${text}); put a renewed one into the file`,
      )
    case 'future':
      throw new ConfigError(
        `${where}: the certificate is not valid yet (${text}); check this machine's clock`,
      )
  }
  if (endsSoon(chosen.certificate, now)) warnings.push(`${where}: the certificate expires soon (${text})`)
  for (const certificate of chosen.chain) {
    if (validity(certificate, now) !== 'valid' || endsSoon(certificate, now)) {
      warnings.push(
        `${where}: a certificate of the chain is out of date or soon will be (${describe(certificate)})`,
      )
    }
  }
}

function trustAnchors(spec: KeyStoreSpec, now: Date, prefix: string, warnings: string[]): string[] {
  const where = `${prefix}.location=${spec.path}`
  const stored = readStore(spec, prefix, false).certificates
  // A PKCS#12 file made by openssl marks nothing as trusted; its certificates can be meant for nothing else.
  const marked = stored.some(({ anchor }) => anchor) ? stored.filter(({ anchor }) => anchor) : stored
  if (marked.length === 0) throw new ConfigError(`${where} holds no certificate; nobody would be trusted`)
  const anchors = marked.map(({ certificate }) => certificate)
  const bad = anchors.filter((certificate) => validity(certificate, now) !== 'valid')
  if (bad.length === anchors.length) {
    throw new ConfigError(
      `${where}: every certificate has expired or is not valid yet (the first: ${describe(bad[0]!)}); ` +
        'put a renewed one into the file',
    )
  }
  if (bad.length > 0) {
    warnings.push(`${where}: ${bad.length} certificate(s) out of date (the first: ${describe(bad[0]!)})`)
  }
  const soon = anchors.filter(
    (certificate) => validity(certificate, now) === 'valid' && endsSoon(certificate, now),
  )
  if (soon.length > 0) {
    warnings.push(`${where}: ${soon.length} certificate(s) expire soon (the first: ${describe(soon[0]!)})`)
  }
  return anchors.map(String)
}

/** As in Java, a list of suites also rules out the protocols that it has no suite for. */
function protocolsAndCiphers(
  config: TlsConfig,
  prefix: string,
): { minVersion: SecureVersion; maxVersion: SecureVersion; ciphers?: string } {
  const { protocols, ciphers } = config
  // only the names of TLS 1.3's own suites begin so
  const suited = new Set(ciphers?.split(':').map((name) => (name.startsWith('TLS_') ? 'TLSv1.3' : 'TLSv1.2')))
  const versions = protocols.filter((version) => ciphers === undefined || suited.has(version)).toSorted()
  if (versions.length === 0) {
    throw new ConfigError(
      `${prefix}.ciphersuites has no suite for ${protocols.join(', ')}; ` +
        `change it or ${prefix}.enabledProtocols (suites of TLS 1.3 have no WITH in their names)`,
    )
  }
  return {
    minVersion: versions[0]!,
    maxVersion: versions.at(-1)!,
    ...(ciphers !== undefined && { ciphers }),
  }
}

function validity(certificate: X509Certificate, now: Date): 'valid' | 'expired' | 'future' {
  if (Date.parse(certificate.validTo) < now.getTime()) return 'expired'
  return Date.parse(certificate.validFrom) > now.getTime() ? 'future' : 'valid'
}

function endsSoon(certificate: X509Certificate, now: Date): boolean {
  return Date.parse(certificate.validTo) - now.getTime() < expiryWarningMs
}

function describe(certificate: X509Certificate): string {
  const day = (text: string): string => new Date(text).toISOString().replace('.000Z', 'Z')
  return `${subjectDn(certificate)}, valid from ${day(certificate.validFrom)} to ${day(certificate.validTo)}`
}

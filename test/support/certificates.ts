// Certificates made while a test runs, signed by the authority of test/testdata/tls with the keys kept there, since a
// new RSA key takes seconds. No test of trust may rely on these keys being secret.
import { readFileSync } from 'node:fs'
import forge from 'node-forge'

/** A certificate and its key in PEM form. */
export type Issued = { readonly cert: string; readonly key: string }

/** What a certificate is to say; everything has a default. */
export type CertificateSpec = {
  /** Attributes of the subject, from the most general on, e.g. `[['C', 'DE'], ['CN', 'client']]`; [['CN', 'client']]. */
  readonly subject?: readonly (readonly [shortName: string, value: string])[]
  /** Signs it; the authority of test/testdata/tls. `self`: the certificate's own key does. */
  readonly issuer?: Issued | 'self'
  /** May sign others; false. */
  readonly authority?: boolean
  /** Yesterday. */
  readonly notBefore?: Date
  /** A year from now. */
  readonly notAfter?: Date
  /** Which of the kept keys it is for; `client`. */
  readonly key?: 'client' | 'server' | 'ca'
  /** Extended key usages; both. */
  readonly usages?: readonly ('clientAuth' | 'serverAuth')[]
}

const folder = new URL('../../../test/testdata/tls/', import.meta.url)
const dayMs = 24 * 3600 * 1000
let serial = 1

/** The path of a file of test/testdata/tls. */
export function tlsFile(name: string): string {
  return decodeURIComponent(new URL(name, folder).pathname)
}

/** The authority that the files of test/testdata/tls trust. */
export function testAuthority(): Issued {
  return { cert: readFileSync(tlsFile('ca.pem'), 'utf8'), key: readFileSync(tlsFile('ca-key.pem'), 'utf8') }
}

/** Signs a certificate; a server's name is always localhost and 127.0.0.1. */
export function issueCertificate(spec: CertificateSpec = {}): Issued {
  const key = readFileSync(tlsFile(`${spec.key ?? 'client'}-key.pem`), 'utf8')
  const privateKey = forge.pki.privateKeyFromPem(key)
  const certificate = forge.pki.createCertificate()
  certificate.publicKey = forge.pki.setRsaPublicKey(privateKey.n, privateKey.e)
  certificate.serialNumber = `01${(serial++).toString(16).padStart(8, '0')}`
  certificate.validity.notBefore = spec.notBefore ?? new Date(Date.now() - dayMs)
  certificate.validity.notAfter = spec.notAfter ?? new Date(Date.now() + 365 * dayMs)
  certificate.setSubject(attributes(spec))
  const authority = spec.issuer === undefined ? testAuthority() : spec.issuer
  certificate.setIssuer(
    authority === 'self' ? attributes(spec) : forge.pki.certificateFromPem(authority.cert).subject.attributes,
  )
  certificate.setExtensions([
    { name: 'basicConstraints', cA: spec.authority ?? false, critical: true },
    ...(spec.authority === true
      ? [{ name: 'keyUsage', keyCertSign: true, critical: true }]
      : [
          {
            name: 'extKeyUsage',
            ...Object.fromEntries(
              (spec.usages ?? ['clientAuth', 'serverAuth']).map((usage) => [usage, true]),
            ),
          },
          {
            name: 'subjectAltName',
            altNames: [
              { type: 2, value: 'localhost' },
              { type: 7, ip: '127.0.0.1' },
            ],
          },
        ]),
  ])
  const signer = authority === 'self' ? privateKey : forge.pki.privateKeyFromPem(authority.key)
  certificate.sign(signer, forge.md.sha256.create())
  return { cert: forge.pki.certificateToPem(certificate).replaceAll('\r', ''), key }
}

/** A new list each time, because forge encodes the values in place. */
function attributes(spec: CertificateSpec): forge.pki.CertificateField[] {
  return (spec.subject ?? [['CN', 'client']]).map(([shortName, value]) => ({
    shortName,
    value,
    // UTF8String, or forge would take the text for bytes; its type declaration names the wrong enumeration
    valueTagClass: forge.asn1.Type.UTF8 as number as forge.asn1.Class,
  }))
}

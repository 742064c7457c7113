// Certificates for the TLS checks, made by openssl: an authority, a server and clients of it, and a stranger's.

import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { must } from './provision.ts'

const ORGANISATION = 'zabd interop'

export type Certificates = {
  /** Holds NAME.crt and NAME.key for ca, other-ca, alice, bob, mallory (of other-ca). */
  readonly dir: string
  /** Key and certificate of the server in one file. */
  readonly serverPem: string
  readonly caPem: string
}

/** Makes all certificates in `dir`. They are valid for two days and for localhost and 127.0.0.1. */
export async function makeCertificates(dir: string): Promise<Certificates> {
  await mkdir(dir, { recursive: true })
  const openssl = (...args: string[]): Promise<string> => must('openssl', args, { cwd: dir })
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  const subject = (name: string): string[] => ['-subj', `/O=${ORGANISATION}/CN=${name}`]
  const authority = (name: string): Promise<string> =>
    openssl(
      'req',
      '-x509',
      ...newKey,
      '-keyout',
      `${name}.key`,
      '-out',
      `${name}.crt`,
      '-days',
      '2',
      ...subject(name),
    )
  const issue = async (name: string, by: string): Promise<void> => {
    await openssl('req', ...newKey, '-keyout', `${name}.key`, '-out', `${name}.csr`, ...subject(name))
    await writeFile(join(dir, `${name}.ext`), 'subjectAltName=DNS:localhost,IP:127.0.0.1\n')
    const signer = ['-CA', `${by}.crt`, '-CAkey', `${by}.key`, '-CAcreateserial', '-days', '2']
    await openssl(
      'x509',
      '-req',
      '-in',
      `${name}.csr`,
      ...signer,
      '-extfile',
      `${name}.ext`,
      '-out',
      `${name}.crt`,
    )
  }
  await authority('ca')
  await authority('other-ca')
  for (const name of ['server', 'alice', 'bob']) await issue(name, 'ca')
  await issue('mallory', 'other-ca')
  const serverPem = join(dir, 'server.pem')
  const parts = await Promise.all(
    ['server.key', 'server.crt'].map((file) => readFile(join(dir, file), 'utf8')),
  )
  await writeFile(serverPem, parts.join(''))
  return { dir, serverPem, caPem: join(dir, 'ca.crt') }
}

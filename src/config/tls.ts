// The TLS keys of zoo.cfg: which stores, protocols and cipher suites. Certificates themselves are read elsewhere;
// here only the names are checked, so that a wrong one is reported together with everything else.
import { type Entry, oneOfText, type Problems, type Settings } from './settings.ts'
import type { Env, KeyStoreSpec, TlsConfig } from './types.ts'

type Protocol = TlsConfig['protocols'][number]
const protocols: readonly Protocol[] = ['TLSv1.2', 'TLSv1.3']
/** Named in old configurations; current Java refuses them too. */
const retiredProtocols: readonly string[] = ['SSLv2Hello', 'SSLv3', 'TLSv1', 'TLSv1.1']

const storeTypes: ReadonlyMap<string, KeyStoreSpec['type']> = new Map([
  ['pem', 'pem'],
  ['pkcs12', 'pkcs12'],
  ['p12', 'pkcs12'],
  ['jks', 'jks'],
])
const extensions: ReadonlyMap<string, KeyStoreSpec['type']> = new Map([
  ['.pem', 'pem'],
  ['.p12', 'pkcs12'],
  ['.pfx', 'pkcs12'],
  ['.jks', 'jks'],
])

/**
 * Reads the keys below `prefix`: `ssl` for clients, `ssl.quorum` for servers. `neededBy` is the entry that turns TLS on;
 * undefined: the keys are checked, but not required.
 */
export function readTls(
  settings: Settings,
  problems: Problems,
  warnings: string[],
  env: Env,
  neededBy: Entry | undefined,
  prefix: 'ssl' | 'ssl.quorum' = 'ssl',
): TlsConfig | undefined {
  const keyStore = readStore(settings, problems, env, `${prefix}.keyStore`)
  const trustStore = readStore(settings, problems, env, `${prefix}.trustStore`)
  const clientAuth = settings.oneOf(`${prefix}.clientAuth`, ['none', 'want', 'need'], 'need')
  const tls = {
    keyStore,
    trustStore,
    clientAuth,
    protocols: readProtocols(settings, problems, warnings, prefix),
    ciphers: readCiphers(settings, problems, prefix),
  }
  if (neededBy === undefined) return undefined
  if (settings.entry(`${prefix}.keyStore.location`) === undefined) {
    problems.add(
      neededBy.where,
      `${neededBy.key}=${neededBy.value} needs ${prefix}.keyStore.location: the file with this server's key and certificate`,
    )
  }
  return tls
}

function readStore(
  settings: Settings,
  problems: Problems,
  env: Env,
  prefix: string,
): KeyStoreSpec | undefined {
  const path = settings.text(`${prefix}.location`, 'the path of a file')
  const password = settings.entry(`${prefix}.password`)?.value
  const passwordPath = settings.text(`${prefix}.passwordPath`, 'the path of a file')
  const type = settings.entry(`${prefix}.type`)
  const location = settings.entry(`${prefix}.location`)
  if (path === undefined || location === undefined) return undefined
  for (const key of ['location', 'passwordPath']) {
    const file = settings.entry(`${prefix}.${key}`)
    if (file !== undefined && file.value !== '' && !env.exists(file.value)) {
      problems.invalid(file, 'the path of a file that exists')
    }
  }
  if (type !== undefined && type.value !== '') {
    const known = storeTypes.get(type.value.toLowerCase())
    if (known === undefined) problems.invalid(type, 'PEM, PKCS12 or JKS')
    return { path, password, passwordPath, type: known ?? 'pem' }
  }
  const extension = /\.[^./\\]*$/.exec(path.toLowerCase())?.[0] ?? ''
  const known = extensions.get(extension)
  if (known === undefined) {
    problems.invalid(location, `a name that ends in .pem, .p12, .pfx or .jks, or ${prefix}.type beside it`)
  }
  return { path, password, passwordPath, type: known ?? 'pem' }
}

function readProtocols(
  settings: Settings,
  problems: Problems,
  warnings: string[],
  prefix: string,
): readonly Protocol[] {
  // As in Java, enabledProtocols decides; protocol alone enables just that one, and TLS means all.
  const protocol = settings.entry(`${prefix}.protocol`)
  const enabled = settings.entry(`${prefix}.enabledProtocols`)
  const chosen = enabled ?? protocol
  if (chosen === undefined || chosen.value === '') return protocols
  const words = listOf(chosen.value).map((word) => word.toLowerCase())
  if (words.includes('tls')) return protocols
  const found = protocols.filter((name) => words.includes(name.toLowerCase()))
  const retired = retiredProtocols.filter((name) => words.includes(name.toLowerCase()))
  if (found.length === 0 || found.length + retired.length < words.length) {
    problems.invalid(chosen, `${oneOfText(protocols)}, or both with a comma between`)
    return protocols
  }
  if (retired.length > 0) {
    warnings.push(
      `${chosen.where}: ${chosen.key}: ${retired.join(', ')} is not offered: only ${found.join(', ')}`,
    )
  }
  return found
}

function readCiphers(settings: Settings, problems: Problems, prefix: string): string | undefined {
  const entry = settings.entry(`${prefix}.ciphersuites`)
  if (entry === undefined || entry.value === '') return undefined
  const known = cipherNames()
  const names: string[] = []
  for (const word of listOf(entry.value)) {
    const name = known.get(word.toUpperCase())
    if (name !== undefined) names.push(name)
    else
      problems.invalid(
        entry,
        `cipher suites of TLS 1.2 and 1.3 by their IANA or OpenSSL names with commas between, not ${word}`,
      )
  }
  return names.length > 0 ? names.join(':') : undefined
}

/** OpenSSL's names of the cipher suites that can be asked for, by their IANA and by their OpenSSL names. */
export function cipherNames(): ReadonlyMap<string, string> {
  const names = new Map<string, string>()
  for (const suite of ['AES_128_GCM_SHA256', 'AES_256_GCM_SHA384', 'CHACHA20_POLY1305_SHA256']) {
    names.set(`TLS_${suite}`, `TLS_${suite}`)
  }
  const gcm = ['AES_128_GCM_SHA256', 'AES_256_GCM_SHA384']
  const cbc = ['AES_128_CBC_SHA', 'AES_256_CBC_SHA', 'AES_128_CBC_SHA256']
  const chacha = 'CHACHA20_POLY1305_SHA256'
  const suites: Readonly<Record<string, readonly string[]>> = {
    ECDHE_ECDSA: [...gcm, ...cbc, 'AES_256_CBC_SHA384', chacha],
    ECDHE_RSA: [...gcm, ...cbc, 'AES_256_CBC_SHA384', chacha],
    DHE_RSA: [...gcm, ...cbc, 'AES_256_CBC_SHA256', chacha],
    RSA: [...gcm, ...cbc, 'AES_256_CBC_SHA256'],
  }
  for (const [exchange, ciphers] of Object.entries(suites)) {
    for (const cipher of ciphers) {
      // OpenSSL leaves out what is implied: plain RSA, CBC, and the hash of CHACHA20.
      const short = cipher
        .replace('POLY1305_SHA256', 'POLY1305')
        .replace('_CBC', '')
        .replace('AES_', 'AES')
        .replaceAll('_', '-')
      const name = exchange === 'RSA' ? short : `${exchange.replace('_', '-')}-${short}`
      names.set(`TLS_${exchange}_WITH_${cipher}`, name)
      names.set(name, name)
    }
  }
  return names
}

function listOf(text: string): string[] {
  return text
    .split(/[,:]/)
    .map((word) => word.trim())
    .filter((word) => word !== '')
}

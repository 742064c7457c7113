// How this server talks to the other members: the address of its peer port, the shared secret, and TLS between servers.
// It reads the secret's file; key stores are read elsewhere.
import type { Ensemble } from './ensemble.ts'
import { anyAddress } from './members.ts'
import { show } from './settings.ts'
import { type Loading, readText } from './source.ts'
import { readTls } from './tls.ts'
import type { Config } from './types.ts'

/** With less, it could be found by trying. */
const leastSecretBytes = 16

type PeerConfig = Pick<Config, 'peerAddress' | 'peerSecret' | 'quorumTls' | 'quorumHostnameVerification'>

/** What concerns the connections between servers; of a standalone server nothing does. */
export function readPeers(loading: Loading, ensemble: Ensemble): PeerConfig {
  const { settings } = loading
  const onAll = settings.flag('quorumListenOnAllIPs', false)
  const secure = settings.flag('sslQuorum', false)
  // Read in any case: a file that is wrong is told before it is needed.
  const peerSecret = readSecret(loading)
  if (ensemble.standalone || ensemble.own === undefined) {
    return { peerAddress: undefined, peerSecret, quorumTls: undefined, quorumHostnameVerification: true }
  }
  const { host, peerPort } = ensemble.own
  return {
    peerAddress: { host: onAll || host === anyAddress ? undefined : host, port: peerPort },
    peerSecret,
    quorumTls: secure ? readQuorumTls(loading) : undefined,
    quorumHostnameVerification: secure ? settings.flag('ssl.quorum.hostnameVerification', true) : true,
  }
}

function readQuorumTls({ settings, problems, warnings, env }: Loading): Config['quorumTls'] {
  const neededBy = settings.entry('sslQuorum')!
  const tls = readTls(settings, problems, warnings, env, neededBy, 'ssl.quorum')
  if (settings.entry('ssl.quorum.trustStore.location') === undefined) {
    problems.add(
      neededBy.where,
      `${show(neededBy)} needs ssl.quorum.trustStore.location: the certificates of the authorities of the other servers`,
    )
  }
  const clientAuth = settings.entry('ssl.quorum.clientAuth')
  if (clientAuth !== undefined && tls?.clientAuth !== 'need') {
    warnings.push(`${clientAuth.where}: ${show(clientAuth)} is taken as need: both sides show a certificate`)
  }
  return tls
}

/** The secret that servers prove to each other to know, without the blanks around it in its file. */
function readSecret({ settings, problems, warnings, env }: Loading): Uint8Array | undefined {
  const path = settings.text('peerSecretFile', 'the path of a file')
  const entry = settings.entry('peerSecretFile')
  if (path === undefined || entry === undefined) return undefined
  const text = readText(path, env, problems)
  if (text === undefined) return undefined
  const secret = Buffer.from(text.trim())
  const expected = 'a file with a long random text, for example of openssl rand -base64 32'
  // Bytes that are no text would all be read as the same character.
  if (text.includes('\ufffd')) problems.invalid(entry, `${expected}; its bytes are no text`)
  else if (secret.length < leastSecretBytes)
    problems.invalid(
      entry,
      `${expected}; it has ${secret.length} bytes, and ${leastSecretBytes} are the least`,
    )
  if (((env.mode?.(path) ?? 0) & 0o004) !== 0)
    warnings.push(`${entry.where}: everybody on this machine may read ${path}; chmod 600 keeps it secret`)
  return secret
}

// Why another server can not be reached, in words for the operator. Nothing is decided here.
import type { Outcome } from './approach.ts'
import { looksLike } from './refusals.ts'

/** A sentence's part, a code that stays the same for the same trouble, and whether somebody must act. */
export type Trouble = { readonly text: string; readonly code: string; readonly warn: boolean }

const system = new Map([
  ['ECONNREFUSED', 'nothing listens there'],
  ['ENOTFOUND', 'there is no such name'],
  ['EAI_AGAIN', 'the name can not be looked up now'],
  ['EHOSTUNREACH', 'there is no way to this host'],
  ['ENETUNREACH', 'there is no way to this network'],
  ['ETIMEDOUT', 'the host does not answer'],
  ['ECONNRESET', 'the connection was reset'],
])

const checkTrust = 'check ssl.quorum.trustStore here and ssl.quorum.keyStore there'
const checkOwn = 'check ssl.quorum.keyStore here and ssl.quorum.trustStore there'

const tls = new Map([
  ['ERR_TLS_CERT_ALTNAME_INVALID', 'its certificate names other hosts; see ssl.quorum.hostnameVerification'],
  ['ERR_SSL_WRONG_VERSION_NUMBER', 'it does not speak TLS; set sslQuorum=true there, too'],
  ['ERR_SSL_TLSV1_ALERT_UNKNOWN_CA', `it does not trust this server's certificate; ${checkOwn}`],
  ['ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED', `it misses this server's certificate; ${checkOwn}`],
  ['ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE', `it does not accept this server's certificate; ${checkOwn}`],
  ['ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED', "this server's certificate has expired"],
  ['ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION', 'no version of TLS is enabled on both sides'],
  ['ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE', 'no cipher suite or version of TLS is enabled on both sides'],
  ['CERT_HAS_EXPIRED', 'its certificate has expired'],
  ['CERT_NOT_YET_VALID', "its certificate is not valid yet; check both machines' clocks"],
])

/** What happened to a connection in use, in words where the system has only a code. */
export function lossReason(error: Error): string {
  const code = codeOf(error)
  if (code === 'EPIPE') return 'it was closed while this server wrote (EPIPE)'
  if (code === 'ECONNRESET') return 'it was reset (ECONNRESET)'
  if (code === 'ETIMEDOUT') return 'what was sent did not arrive (ETIMEDOUT)'
  return error.message
}

/** What to say of a dialing that came to nothing. `secure`: it was by TLS. */
export function dialTrouble(
  outcome: Exclude<Outcome, { type: 'open' | 'refused' }>,
  secure: boolean,
): Trouble {
  switch (outcome.type) {
    case 'foreign': {
      const text = `it does not speak zabd's protocol between servers, it looks like ${looksLike(outcome.first)}`
      return { text, code: 'foreign', warn: true }
    }
    case 'timeout': {
      if (!outcome.connected) return { text: 'the host does not answer', code: 'ETIMEDOUT', warn: false }
      const text =
        "it accepts connections but says nothing: it stands still, or is not a zabd server's port for servers"
      return { text, code: 'silent', warn: true }
    }
    case 'broken': {
      const { error, heard } = outcome
      if (error === undefined) {
        const text = heard
          ? 'it closed the connection in the handshake'
          : "it closed the connection without a word; is it a zabd server's port for servers?"
        return { text, code: heard ? 'closed' : 'closed at once', warn: !heard }
      }
      return errorTrouble(error, secure)
    }
  }
}

function errorTrouble(error: Error, secure: boolean): Trouble {
  const code = codeOf(error) ?? 'unknown'
  if (secure && code === 'ECONNRESET') {
    // What a server without TLS does when it sees the beginning of TLS
    const text = 'it closed the connection instead of speaking TLS; is sslQuorum=true there, too?'
    return { text, code: 'no TLS', warn: true }
  }
  const known = system.get(code)
  if (known !== undefined) return { text: `${known} (${code})`, code, warn: false }
  if (!secure) return { text: error.message, code, warn: false }
  const text = tls.get(code) ?? `TLS failed (${error.message}); ${checkTrust}`
  return { text: `${text} (${code})`, code, warn: true }
}

/** Several addresses that all failed come as one error with the list. */
function codeOf(error: Error): string | undefined {
  if ('code' in error && typeof error.code === 'string') return error.code
  const first: unknown = error instanceof AggregateError ? error.errors[0] : undefined
  return first instanceof Error ? codeOf(first) : undefined
}

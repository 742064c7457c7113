// How two servers make sure of each other before anything else on their connection is believed: pure, bytes in and bytes
// out. The dialer proves itself first, so that somebody who only knocks gets nothing to guess the secret from.
//
//   dialer                         acceptor
//   hello {id, meant id, …, nonce} →
//                                  ← hello {…, nonce}
//   proof {ensemble, mac}          →                    (the acceptor decides: `admit`)
//                                  ← proof {ensemble, mac}
//   ready                          →                    (the dialer has decided; both may send)
//
// At any point either side may send a refusal instead. A mac is HMAC-SHA256 with the shared secret over the prover's
// part (so that nothing said by one side serves the other), both hellos, the prover's ensemble, and the TLS connection
// if there is one; without a secret it is empty. The envelope, the first field of a hello and a refusal stay the same in
// all versions. At most `maxBodyBytes` of what is not proven yet are kept.
import { createHmac, timingSafeEqual } from 'node:crypto'
import { type Refusal, RefusalCode } from './refusals.ts'

/** Version of everything between servers: handshake, frames and messages. */
export const protocolVersion = 1

const magic = Buffer.from('zabP')
/** magic, kind, length of the body */
const envelopeBytes = 7
/** The longest body: a refusal with its text. */
const maxBodyBytes = 1024
const nonceBytes = 32
const instanceBytes = 16
const macBytes = 32
const maxVersionTextBytes = 64
const maxEnsembleBytes = 64

const Part = { hello: 1, proof: 2, ready: 3, refusal: 4 } as const

/** What a server says of itself. */
export type Identity = {
  readonly id: number
  /** Random, 16 bytes, anew for each start of the process. */
  readonly instance: Uint8Array
  /** For people. */
  readonly version: string
}

/** The other server, as it proved to be. */
export type Remote = {
  readonly id: number
  /** Hex */
  readonly instance: string
  readonly version: string
  readonly ensemble: Uint8Array | undefined
  /** The id that the other server wants to talk to. */
  readonly meant: number
}

export type HandshakeOptions = {
  readonly role: 'dialer' | 'acceptor'
  readonly self: Identity
  /** Whom the dialer wants to talk to. */
  readonly meant?: number
  readonly secret: Uint8Array | undefined
  /** At most 64 bytes; asked when it is needed. */
  readonly ensemble: () => Uint8Array | undefined
  /** 32 random bytes. */
  readonly nonce: Uint8Array
  /** What both ends of the TLS connection below know and nobody else; empty without TLS. */
  readonly channel?: Uint8Array
  /** Called once, for a server that has proven itself: why it is not taken, or undefined if it is. */
  readonly admit: (remote: Remote) => Refusal | undefined
}

/** What came of the bytes: `out` is to be sent in any case, before a refusing side closes. */
export type Progress =
  | { readonly type: 'more'; readonly out: readonly Uint8Array[] }
  /** The connection stands; `rest` are the first bytes of what comes after the handshake. */
  | {
      readonly type: 'open'
      readonly out: readonly Uint8Array[]
      readonly remote: Remote
      readonly rest: Buffer
    }
  /** `by` says who refuses. `claimed`: the id the other side gave itself, perhaps wrongly. */
  | {
      readonly type: 'refused'
      readonly out: readonly Uint8Array[]
      readonly by: 'us' | 'them'
      readonly refusal: Refusal
      readonly claimed: number | undefined
    }
  /** No handshake of this protocol at all. */
  | { readonly type: 'foreign'; readonly out: readonly Uint8Array[]; readonly first: Buffer }

type Hello = {
  readonly id: number
  readonly meant: number
  readonly instance: Buffer
  readonly nonce: Buffer
  readonly hasSecret: boolean
  readonly version: string
}

/** One side of a handshake; good for one connection. */
export class Handshake {
  readonly #options: HandshakeOptions
  #ownHello: Buffer
  #theirHello: Buffer | undefined
  #hello: Hello | undefined
  #remote: Remote | undefined
  /** The part that must come next. */
  #expected: number = Part.hello
  /** Bytes of an incomplete part. */
  #kept: Buffer = Buffer.alloc(0)
  #out: Uint8Array[] = []

  constructor(options: HandshakeOptions) {
    this.#options = options
    this.#ownHello = encodeHello(options, options.meant ?? 0)
  }

  /** This side has dialed and given its proof: the other may count on the connection from now on. */
  get proven(): boolean {
    return this.#options.role === 'dialer' && this.#theirHello !== undefined
  }

  /** The first bytes to send: the dialer begins. */
  start(): Uint8Array | undefined {
    return this.#options.role === 'dialer' ? part(Part.hello, this.#ownHello) : undefined
  }

  /** Takes what arrived. Not to be called again after anything but `more`. */
  receive(chunk: Buffer): Progress {
    let bytes = this.#kept.length === 0 ? chunk : Buffer.concat([this.#kept, chunk])
    this.#out = []
    for (;;) {
      const known = Math.min(bytes.length, magic.length)
      if (bytes.compare(magic, 0, known, 0, known) !== 0) {
        return this.#theirHello === undefined
          ? { type: 'foreign', out: this.#out, first: Buffer.from(bytes.subarray(0, 16)) }
          : this.#refuse(RefusalCode.malformed, 'the handshake goes on with something else')
      }
      if (bytes.length < envelopeBytes) break
      const kind = bytes[magic.length]!
      const length = bytes.readUInt16BE(magic.length + 1)
      if (length > maxBodyBytes) return this.#refuse(RefusalCode.malformed, `${length} bytes in a handshake`)
      const end = envelopeBytes + length
      if (bytes.length < end) break
      const progress = this.#take(kind, bytes.subarray(envelopeBytes, end), bytes.subarray(end))
      if (progress !== undefined) return progress
      bytes = bytes.subarray(end)
    }
    // A copy: it may be the end of a chunk full of something else.
    this.#kept = Buffer.from(bytes)
    return { type: 'more', out: this.#out }
  }

  #take(kind: number, body: Buffer, rest: Buffer): Progress | undefined {
    if (kind === Part.refusal) {
      return {
        type: 'refused',
        out: [],
        by: 'them',
        refusal: decodeRefusal(body),
        claimed: this.#hello?.id,
      }
    }
    if (kind !== this.#expected) return this.#refuse(RefusalCode.malformed, `part ${kind} out of turn`)
    switch (kind) {
      case Part.hello:
        return this.#takeHello(body)
      case Part.proof:
        return this.#takeProof(body, rest)
      default:
        return { type: 'open', out: this.#out, remote: this.#remote!, rest }
    }
  }

  #takeHello(body: Buffer): Progress | undefined {
    const { secret, role, self } = this.#options
    const version = body.length < 2 ? undefined : body.readUInt16BE(0)
    if (version !== undefined && version !== protocolVersion) {
      const text = `server ${self.id} (${self.version}) speaks version ${protocolVersion} of the protocol between servers, the other side version ${version}`
      return this.#refuse(RefusalCode.version, text)
    }
    const hello = decodeHello(body)
    if (hello === undefined) return this.#refuse(RefusalCode.malformed, 'a hello that can not be read')
    this.#hello = hello
    if (secret !== undefined && !hello.hasSecret) {
      const text = `server ${self.id} asks for the shared secret, server ${hello.id} has none`
      return this.#refuse(RefusalCode.secretMissing, text)
    }
    if (secret === undefined && hello.hasSecret) {
      const text = `server ${self.id} has no shared secret, server ${hello.id} asks for one`
      return this.#refuse(RefusalCode.secretUnexpected, text)
    }
    this.#theirHello = Buffer.from(body)
    this.#expected = Part.proof
    if (role === 'dialer') this.#out.push(part(Part.proof, this.#proof()))
    else {
      this.#ownHello = encodeHello(this.#options, hello.id)
      this.#out.push(part(Part.hello, this.#ownHello))
    }
    return undefined
  }

  #takeProof(body: Buffer, rest: Buffer): Progress | undefined {
    const { role, secret, admit } = this.#options
    const hello = this.#hello!
    const ensembleBytes = body[0] ?? 0
    const mac = body.subarray(1 + ensembleBytes)
    const wanted = secret === undefined ? 0 : macBytes
    if (body.length !== 1 + ensembleBytes + wanted || ensembleBytes > maxEnsembleBytes) {
      return this.#refuse(RefusalCode.malformed, 'a proof that can not be read')
    }
    const ensemble = body.subarray(1, 1 + ensembleBytes)
    const prover = role === 'dialer' ? 'acceptor' : 'dialer'
    if (secret !== undefined && !timingSafeEqual(mac, this.#mac(secret, prover, ensemble))) {
      const text = `the shared secret of server ${hello.id} is not that of server ${this.#options.self.id}`
      return this.#refuse(RefusalCode.secretWrong, text)
    }
    const remote: Remote = {
      id: hello.id,
      instance: hello.instance.toString('hex'),
      version: hello.version,
      ensemble: ensembleBytes === 0 ? undefined : Buffer.from(ensemble),
      meant: hello.meant,
    }
    const refusal = admit(remote)
    if (refusal !== undefined) return this.#refuse(refusal.code, refusal.text)
    if (role === 'dialer') {
      this.#out.push(part(Part.ready, Buffer.alloc(0)))
      return { type: 'open', out: this.#out, remote, rest }
    }
    this.#remote = remote
    this.#out.push(part(Part.proof, this.#proof()))
    this.#expected = Part.ready
    return undefined
  }

  #proof(): Buffer {
    const { role, secret } = this.#options
    const ensemble = this.#options.ensemble() ?? new Uint8Array(0)
    const mac = secret === undefined ? Buffer.alloc(0) : this.#mac(secret, role, ensemble)
    return Buffer.concat([Buffer.of(ensemble.length), ensemble, mac])
  }

  #mac(secret: Uint8Array, prover: HandshakeOptions['role'], ensemble: Uint8Array): Buffer {
    const own = this.#ownHello
    const theirs = this.#theirHello!
    const [first, second] = this.#options.role === 'dialer' ? [own, theirs] : [theirs, own]
    const mac = createHmac('sha256', secret)
    // Lengths go in with the pieces, so that no two lists of pieces give the same bytes.
    for (const piece of [
      Buffer.from(`zabd peer ${prover} ${protocolVersion}`),
      first,
      second,
      ensemble,
      this.#options.channel ?? new Uint8Array(0),
    ]) {
      const length = Buffer.allocUnsafe(4)
      length.writeUInt32BE(piece.length)
      mac.update(length).update(piece)
    }
    return mac.digest()
  }

  #refuse(code: number, text: string): Progress {
    const refusal = { code, text }
    return {
      type: 'refused',
      out: [...this.#out, encodeRefusal(refusal)],
      by: 'us',
      refusal,
      claimed: this.#hello?.id,
    }
  }
}

/** A refusal as a part of a handshake, for a side that has not got so far as to have one. */
export function encodeRefusal({ code, text }: Refusal): Uint8Array {
  const bytes = Buffer.from(text).subarray(0, maxBodyBytes - 1)
  return part(Part.refusal, Buffer.concat([Buffer.of(code), bytes]))
}

function decodeRefusal(body: Buffer): Refusal {
  // What another server says goes to the log: no control characters, and not too much of it.
  const text = body.subarray(1).toString('utf8').replace(/\p{C}/gu, ' ').slice(0, 300)
  return { code: body[0] ?? RefusalCode.malformed, text }
}

function part(kind: number, body: Uint8Array): Uint8Array {
  const envelope = Buffer.allocUnsafe(envelopeBytes)
  magic.copy(envelope)
  envelope[magic.length] = kind
  envelope.writeUInt16BE(body.length, magic.length + 1)
  return Buffer.concat([envelope, body])
}

/** version u16, id u32, meant id u32, instance, nonce, flags u8, length u8 and text of the zabd version */
function encodeHello({ self, nonce, secret }: HandshakeOptions, meant: number): Buffer {
  const numbers = Buffer.alloc(10)
  numbers.writeUInt16BE(protocolVersion, 0)
  numbers.writeUInt32BE(self.id, 2)
  numbers.writeUInt32BE(meant, 6)
  const version = Buffer.from(self.version).subarray(0, maxVersionTextBytes)
  const flags = Buffer.of(secret === undefined ? 0 : 1, version.length)
  return Buffer.concat([numbers, self.instance, nonce, flags, version])
}

function decodeHello(body: Buffer): Hello | undefined {
  const instanceAt = 10
  const nonceAt = instanceAt + instanceBytes
  const flagsAt = nonceAt + nonceBytes
  const textAt = flagsAt + 2
  if (body.length < textAt || body.length !== textAt + body[flagsAt + 1]!) return undefined
  return {
    id: body.readUInt32BE(2),
    meant: body.readUInt32BE(6),
    instance: Buffer.from(body.subarray(instanceAt, nonceAt)),
    nonce: Buffer.from(body.subarray(nonceAt, flagsAt)),
    hasSecret: body[flagsAt] === 1,
    version: body
      .subarray(textAt)
      .toString('latin1')
      .replace(/[^\x20-\x7e]/g, '?'),
  }
}

// Why servers refuse each other, and the one place where such a refusal becomes a line for the operator: what is wrong
// and what to do, told on both sides, and not again at every attempt. It never decides who is refused.

/** Codes travel on the wire: they are never given another meaning, in no protocol version. */
export const RefusalCode = {
  /** Another version of the protocol between servers. */
  version: 1,
  /** The refusing server wants a shared secret, the other has none. */
  secretMissing: 2,
  /** The refusing server has no shared secret, the other wants one. */
  secretUnexpected: 3,
  secretWrong: 4,
  /** The connection was meant for another server id. */
  notMeant: 5,
  /** Both servers have the same id. */
  sameId: 6,
  /** Another living process with this id is connected. */
  idTaken: 7,
  ensemble: 8,
  /** There is a better connection already or about to be: nothing is wrong. */
  busy: 9,
  /** The refusing server takes no connections now. */
  suspended: 10,
  /** What came is no handshake of this protocol. */
  malformed: 11,
} as const

export type RefusalCode = (typeof RefusalCode)[keyof typeof RefusalCode]

/** A refusal with its explanation from the refusing server's point of view, as the other server will log it, too. */
export type Refusal = { readonly code: number; readonly text: string }

/** What the server that was refused can do about it; undefined: the text says it all. */
export function remedyFor(code: number): string | undefined {
  switch (code) {
    case RefusalCode.version:
      return 'run the same version of zabd on both servers, or versions that can be mixed'
    case RefusalCode.secretMissing:
    case RefusalCode.secretUnexpected:
    case RefusalCode.secretWrong:
      return 'give every server of the ensemble the same secret'
    case RefusalCode.notMeant:
      return 'check the addresses in the server.N lines and the ids (myid) of both servers'
    case RefusalCode.sameId:
    case RefusalCode.idTaken:
      return 'give every server an id of its own (myid); after a crash of its machine this passes by itself'
    case RefusalCode.ensemble:
      return 'check the server.N lines; if the server is to leave its former ensemble, start it with an empty data directory'
    default:
      return undefined
  }
}

/** Whether nobody needs to do anything. */
export function isHarmless(code: number): boolean {
  return code === RefusalCode.busy || code === RefusalCode.suspended
}

/** What bytes that do not begin a handshake look like, for a sentence `…, it looks like HTTP`. */
export function looksLike(bytes: Uint8Array): string {
  const text = Buffer.from(bytes.subarray(0, 8)).toString('latin1')
  const hex = Buffer.from(bytes.subarray(0, 8)).toString('hex')
  if (/^(GET|POST|PUT|HEAD|OPTIONS|DELETE|PRI) /.test(text) || text.startsWith('HTTP/')) return 'HTTP'
  if (/^1[456]03/.test(hex)) return 'TLS; does that server have sslQuorum=true and this one not?'
  // The election protocol begins with a negative version, the learner's with the packet type FOLLOWERINFO or OBSERVERINFO.
  if (/^ffffffffffff000[0-9a-f]/.test(hex) || /^000000(0b|10)/.test(hex)) {
    return 'Apache ZooKeeper; its servers and those of zabd do not form an ensemble together'
  }
  // A ConnectRequest's length
  if (/^000000(2c|2d|31)/.test(hex)) return "a ZooKeeper client; this is not the clients' port"
  return `none of the known protocols (0x${hex})`
}

/** A line is repeated after this time. */
const repeatMs = 60_000
/** Different lines within that time; more are left out, so that nobody can fill the disk from outside. */
const linesMax = 200

/** Decides which lines are said again. */
export class Repeats {
  readonly #now: () => number
  readonly #said = new Map<string, number>()

  constructor(now: () => number) {
    this.#now = now
  }

  /** Whether what `key` stands for, said of `subject`, has not been said within the last minute. */
  mayLog(subject: string, key: string): boolean {
    const now = this.#now()
    const full = `${subject} ${key}`
    for (const [name, at] of this.#said) {
      if (at > now - repeatMs) break
      this.#said.delete(name)
    }
    if (this.#said.has(full) || this.#said.size >= linesMax) return false
    this.#said.set(full, now)
    return true
  }

  /** All is well with `subject`: the next line about it is news. */
  forget(subject: string): void {
    for (const name of this.#said.keys()) if (name.startsWith(`${subject} `)) this.#said.delete(name)
  }
}

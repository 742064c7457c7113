// A connection that is being made: the socket while the handshake is under way. It ends in exactly one outcome within
// its time, or is abandoned; what it keeps of the other side's bytes is bounded by the handshake.
import type { Socket } from 'node:net'
import type { Inlet } from '../base/inlet.ts'
import type { Clock, Timer } from '../node/clock.ts'
import type { Handshake, Remote } from './handshake.ts'
import type { Refusal } from './refusals.ts'

/** A side that refuses leaves the other this time to read why. */
const lingerMs = 1000

export type Outcome =
  /** The socket is the taker's; `rest` are the first bytes after the handshake. */
  | { readonly type: 'open'; readonly socket: Socket; readonly remote: Remote; readonly rest: Buffer }
  | {
      readonly type: 'refused'
      readonly by: 'us' | 'them'
      readonly refusal: Refusal
      readonly claimed: number | undefined
    }
  /** The other side speaks something else; `first` are its first bytes. */
  | { readonly type: 'foreign'; readonly first: Buffer }
  /** No answer in time. `connected`: it was there, but said too little. */
  | { readonly type: 'timeout'; readonly connected: boolean }
  /** `error` is undefined if the other side just closed. `heard`: it had said something. */
  | { readonly type: 'broken'; readonly error: Error | undefined; readonly heard: boolean }

export type ApproachOptions = {
  readonly socket: Socket
  readonly inlet: Inlet
  /** After which event the handshake begins; undefined: at once. */
  readonly after: 'connect' | 'secureConnect' | undefined
  /** Called when it begins. */
  readonly handshake: () => Handshake
  readonly timeoutMs: number
  readonly clock: Clock
  readonly done: (outcome: Outcome) => void
}

/** See file header. */
export class Approach {
  readonly #socket: Socket
  readonly #inlet: Inlet
  readonly #clock: Clock
  readonly #done: (outcome: Outcome) => void
  readonly #timer: Timer
  #handshake: Handshake | undefined
  #over = false
  #heard = false

  constructor(options: ApproachOptions) {
    const { socket, inlet, clock } = options
    this.#socket = socket
    this.#inlet = inlet
    this.#clock = clock
    this.#done = options.done
    this.#timer = clock.after(options.timeoutMs, () => {
      this.#finish({ type: 'timeout', connected: this.#handshake !== undefined })
    })
    socket.on('error', this.#onError)
    socket.on('close', this.#onClose)
    if (options.after === undefined) this.#begin(options.handshake)
    else socket.once(options.after, () => this.#begin(options.handshake))
  }

  /** See Handshake.proven. */
  get proven(): boolean {
    return this.#handshake?.proven === true
  }

  /** Closes it; there will be no outcome. */
  abandon(): void {
    if (this.#over) return
    this.#over = true
    this.#timer.cancel()
    this.#socket.destroy()
  }

  #begin(make: () => Handshake): void {
    if (this.#over || this.#socket.destroyed) return
    const handshake = make()
    this.#handshake = handshake
    this.#inlet.listener = this.#onData
    this.#inlet.open(this.#socket)
    const first = handshake.start()
    if (first !== undefined) this.#socket.write(first)
  }

  readonly #onError = (error: Error): void => {
    this.#finish({ type: 'broken', error, heard: this.#heard })
  }

  readonly #onClose = (): void => {
    this.#finish({ type: 'broken', error: undefined, heard: this.#heard })
  }

  readonly #onData = (bytes: Buffer, length: number): void => {
    if (this.#over || this.#handshake === undefined) return
    this.#heard = true
    // A copy: the handshake keeps parts of it.
    const progress = this.#handshake.receive(Buffer.from(bytes.subarray(0, length)))
    for (const bytes of progress.out) this.#socket.write(bytes)
    switch (progress.type) {
      case 'more':
        return
      case 'open': {
        const { remote, rest } = progress
        this.#finish({ type: 'open', socket: this.#socket, remote, rest })
        return
      }
      case 'refused': {
        const { by, refusal, claimed } = progress
        this.#finish({ type: 'refused', by, refusal, claimed })
        return
      }
      case 'foreign':
        this.#finish({ type: 'foreign', first: progress.first })
        return
    }
  }

  #finish(outcome: Outcome): void {
    if (this.#over) return
    this.#over = true
    this.#timer.cancel()
    const socket = this.#socket
    this.#inlet.listener = undefined
    if (outcome.type === 'open') {
      socket.removeListener('error', this.#onError)
      socket.removeListener('close', this.#onClose)
    } else if (outcome.type === 'refused' && outcome.by === 'us') {
      // Destroyed with bytes unread, the system would send a reset, which overtakes the refusal.
      socket.resume()
      socket.end()
      const linger = this.#clock.after(lingerMs, () => socket.destroy())
      socket.once('close', () => linger.cancel())
    } else {
      socket.destroy()
    }
    this.#done(outcome)
  }
}

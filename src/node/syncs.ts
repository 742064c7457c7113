// Syncs that wait: each is answered when a quorum has confirmed the leader after it was asked for, and everything that
// was committed or proposed by then is applied here. Those of one turn share a round; a learner asks its leader.

import { Op } from '../base/opcodes.ts'
import { Writer } from '../jute/writer.ts'
import type { Connection } from '../server/connection.ts'

type Sync = {
  readonly cxid: number
  readonly path: string | null
  readonly origin: Connection
  readonly arrived: number
  /** Number of the round that confirms it; undefined until it was asked for. */
  round: number | undefined
  /** What must be applied; undefined until it is confirmed. */
  zxid: number | undefined
  /** Of the leader: what had been proposed when it came. */
  readonly atLeast: number
}

/** See file header. */
export class Syncs {
  #waiting: Sync[] = []
  #rounds = 0
  readonly #reply = new Writer(64)

  get count(): number {
    return this.#waiting.length
  }

  /** `atLeast`: zxid that must be applied, whatever the confirmation says. */
  add(cxid: number, path: string | null, origin: Connection, arrived: number, atLeast: number): void {
    this.#waiting.push({ cxid, path, origin, arrived, round: undefined, zxid: undefined, atLeast })
  }

  /** Begins a round for those that no round was begun for: its number, undefined if there are none. */
  ask(): number | undefined {
    const asking = this.#waiting.filter((sync) => sync.round === undefined)
    if (asking.length === 0) return undefined
    this.#rounds++
    for (const sync of asking) sync.round = this.#rounds
    return this.#rounds
  }

  /** Round `round` is confirmed: its syncs are answered when `zxid` is applied. */
  confirmed(round: number, zxid: number): void {
    for (const sync of this.#waiting) if (sync.round === round) sync.zxid = Math.max(zxid, sync.atLeast)
  }

  /** Answers those, in order, that the state at `applied` is enough for. */
  complete(applied: number): void {
    let done = 0
    for (const sync of this.#waiting) {
      if (sync.zxid === undefined || sync.zxid > applied) break
      done++
    }
    if (done === 0) return
    for (const { cxid, path, origin, arrived } of this.#waiting.splice(0, done)) {
      this.#reply.clear()
      this.#reply.string(path)
      origin.completed(Op.sync, cxid, applied, 0, this.#reply, arrived)
    }
  }

  /** Gives all up; adds to `waiting` who waits. */
  abandon(waiting: Set<Connection>): void {
    for (const { origin } of this.#waiting) waiting.add(origin)
    this.#waiting = []
  }
}

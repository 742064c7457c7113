// Ephemerals: sessions that live throughout, sessions that are closed, sessions that fall silent, and somebody who lists them.
import { Flag } from '../support/raw-client.ts'
import { until } from './cluster.ts'
import { type Load, sessionExpired, type Workload } from './load.ts'
import { checkNotBefore, checkPresence, type Expected, type Listing, type Presence } from './presence.ts'
import { request, type Session } from './session.ts'

const lastingClients = 3
/** Sessions that come and go, one after another. */
const passingClients = 1
const folder = '/presence'

export type PassingSessions = {
  readonly timeoutMs: number
  /** How much earlier than its timeout a silent session may end. */
  readonly earlyMs: number
  /** How much later than its timeout it must have ended, when all is well. */
  readonly lateMs: number
}

export class Presences implements Workload {
  readonly presences: Presence[] = []
  readonly silent: Expected[] = []
  readonly listings: Listing[] = []
  readonly #load: Load
  readonly #passing: PassingSessions
  #clients: Promise<void>[] = []

  constructor(load: Load, passing: PassingSessions) {
    this.#load = load
    this.#passing = passing
  }

  prepare(): Promise<void> {
    return this.#load.makeAll([folder], (session, path) => session.call(request.create(path, '')))
  }

  start(): void {
    for (let i = 0; i < lastingClients; i++) this.#clients.push(this.#lasting(`lasting${i}`))
    for (let i = 0; i < passingClients; i++) this.#clients.push(this.#comeAndGo(`passing${i}`))
    this.#clients.push(this.#list())
  }

  async stop(): Promise<void> {
    await Promise.all(this.#clients)
    await this.#untilGone()
  }

  check(): string[] {
    return [
      ...checkPresence(this.presences, this.listings),
      ...checkNotBefore(this.silent, this.listings, this.#passing.earlyMs),
    ]
  }

  /** The servers have been whole for some time: a silent session is gone after its timeout and a little. */
  async #untilGone(): Promise<void> {
    const boundMs = this.#passing.timeoutMs + this.#passing.lateMs
    const session = this.#load.open('lister-of-the-rest')
    await until(boundMs, 'ephemerals of silent and closed sessions are gone', async () => {
      return (await this.#listOnce(session)) === 0
    }).catch((error: Error) => this.#load.problems.push(error.message))
    await session.close()
  }

  async #listOnce(session: Session): Promise<number | undefined> {
    const children = await session.synced(folder, request.children(folder))
    this.#load.note(children, 'read', 'listing')
    if (children.type !== 'ok') return undefined
    this.listings.push({ startMs: children.startMs, endMs: children.endMs, names: new Set(children.value) })
    return children.value.length
  }

  async #list(): Promise<void> {
    let session = this.#load.open('lister')
    while (!this.#load.isStopping) {
      session = this.#load.renew(session)
      await this.#listOnce(session)
      await this.#load.pace(60, 140)
    }
    await session.close()
  }

  /** Makes an ephemeral of the session's name; undefined: it is not certain that there is one. */
  async #appear(session: Session): Promise<Presence | undefined> {
    const { name } = session
    const created = await session.call(request.create(`${folder}/${name}`, '', Flag.ephemeral))
    this.#load.note(created, 'write', `ephemeral ${name}`)
    if (created.type !== 'ok') return undefined
    const { startMs: aliveUntilMs, endMs: createdMs } = created
    const presence = { name, createdMs, aliveUntilMs, closedMs: Number.POSITIVE_INFINITY }
    this.presences.push(presence)
    return presence
  }

  /** Writes to its ephemeral until the end, and says if it is gone under a living session. */
  async #lasting(name: string): Promise<void> {
    let session = this.#load.open(name)
    while (!this.#load.isStopping) {
      session = this.#load.renew(session)
      const presence = await this.#appear(session)
      if (presence === undefined) {
        // Whether it is there is unknown: another session takes its place.
        await session.close()
        continue
      }
      while (!this.#load.isStopping && !session.isOver) {
        const set = await session.call(request.set(`${folder}/${session.name}`, ''))
        this.#load.note(set, 'write', `write to ephemeral ${session.name}`)
        // An error is a word of the servers too, unless it is that the session is over.
        const isServed = set.type === 'ok' || (set.type === 'error' && set.code !== sessionExpired)
        if (isServed) presence.aliveUntilMs = set.startMs
        await this.#load.pace(100, 400)
      }
      if (!session.isOver) presence.closedMs = (await session.close()) ?? Number.POSITIVE_INFINITY
    }
    await session.close()
  }

  /** Sessions that are closed, or fall silent, after a moment. */
  async #comeAndGo(name: string): Promise<void> {
    for (let count = 0; !this.#load.isStopping; count++) {
      const session = this.#load.open(`${name}-${count}`, { timeoutMs: this.#passing.timeoutMs })
      const presence = await this.#appear(session)
      await this.#load.pace(100, 900)
      if (presence === undefined || count % 2 === 0) {
        const closedMs = await session.close()
        if (presence !== undefined && closedMs !== undefined) presence.closedMs = closedMs
      } else if (!session.isOver) {
        await session.abandon()
        this.silent.push({
          name: session.name,
          createdMs: presence.createdMs,
          lastHeardMs: session.lastHeardMs,
          timeoutMs: session.timeoutMs,
        })
      }
    }
  }
}

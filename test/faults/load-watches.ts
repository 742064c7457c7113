// Watches: somebody changes a few znodes, somebody else watches them over all moves between servers. Every change after a
// watch was set brings an event, and the event comes before anything that shows the change.
import { Err } from '../support/raw-client.ts'
import type { Load, Workload } from './load.ts'
import { type Outcome, request, type Session, type WatchEvent } from './session.ts'

const folder = '/watched'
/** Always there; their data changes. */
const lastingPaths = ['a', 'b', 'c'].map((name) => `${folder}/${name}`)
/** Comes and goes, so that watches on what is missing and on children are tested. */
const passingPath = `${folder}/passing`
const watchers = 2

/** A watch as its owner knows it. `mzxid`: of the znode when the watch was set, 0 if it was missing. */
type Armed = { readonly mzxid: number }

type Shown = { readonly mzxid: number; readonly server: number; readonly text: string }

/** undefined: it was not answered. */
function shownBy(outcome: Outcome<{ mzxid: number }>): Shown | undefined {
  if (outcome.type === 'unknown' || outcome.type === 'unsent') return undefined
  const mzxid = outcome.type === 'ok' ? outcome.value.mzxid : 0
  const text = `zxid ${mzxid.toString(16)} at server ${outcome.server + 1}, ${outcome.endMs.toFixed(1)} ms`
  return { mzxid, server: outcome.server, text }
}

class Watcher {
  session: Session
  readonly #load: Load
  readonly #armed = new Map<string, Armed>()
  /** What the last watch of a path had seen, and where its event came from. */
  readonly #fired = new Map<
    string,
    { readonly mzxid: number; readonly server: number; readonly moves: number }
  >()
  events = 0

  constructor(load: Load, name: string) {
    this.#load = load
    this.session = load.open(name, { onEvent: (event) => this.#onEvent(event) })
  }

  #onEvent({ path, server }: WatchEvent): void {
    this.events++
    const armed = this.#armed.get(path)
    if (armed === undefined) {
      // A watch whose setting was not answered: its connection is gone, so no event may come from it.
      this.#load.problems.push(`${this.session.name}: an event for ${path}, which it does not watch`)
      return
    }
    this.#armed.delete(path)
    this.#fired.set(path, { mzxid: armed.mzxid, server, moves: this.session.moves })
  }

  /** Sets a watch where none is set, and reads without one where it is. */
  async look(path: string): Promise<void> {
    const watch = !this.#armed.has(path)
    await this.#send(path, watch, (shown) => {
      if (watch) this.#arm(path, shown)
      else this.#compare(path, shown)
    })
  }

  /** With no change under way any more: a watch that is still set has missed nothing. */
  async finish(paths: readonly string[]): Promise<void> {
    for (const path of paths) {
      let isRead = false
      while (!isRead && !this.session.isOver) {
        const what = request.exists(path)
        const onOutcome = (outcome: Outcome<{ mzxid: number }>) => {
          const shown = shownBy(outcome)
          isRead = shown !== undefined
          if (shown !== undefined) this.#compare(path, shown)
        }
        await this.session.synced(path, { ...what, onOutcome })
      }
    }
  }

  #arm(path: string, shown: Shown): void {
    const fired = this.#fired.get(path)
    this.#armed.set(path, { mzxid: shown.mzxid })
    const isSameServer = fired?.server === shown.server && fired.moves === this.session.moves
    if (isSameServer && fired.mzxid === shown.mzxid && shown.mzxid > 0) {
      this.#load.problems.push(
        `${this.session.name}: an event for ${path}, then it is unchanged: ${shown.text}`,
      )
    }
  }

  /** A change that is shown while its watch has not fired. */
  #compare(path: string, { mzxid, text }: Shown): void {
    const armed = this.#armed.get(path)
    if (armed === undefined || armed.mzxid === mzxid) return
    this.#armed.delete(path)
    this.#load.problems.push(
      `${this.session.name}: no event for ${path}, watched at zxid ${armed.mzxid.toString(16)}, now ${text}`,
    )
  }

  /** `use` gets the answer before any event that came after it is looked at. */
  async #send(path: string, watch: boolean, use: (shown: Shown) => void): Promise<void> {
    const onOutcome = (outcome: Outcome<{ mzxid: number }>) => {
      this.#load.note(outcome, 'read', `exists ${path}`, [Err.noNode])
      const shown = shownBy(outcome)
      if (shown !== undefined) use(shown)
    }
    await this.session.call({ ...request.exists(path, watch), onOutcome })
  }

  /** A successor with no watches, if the session has expired. */
  renew(): void {
    const next = this.#load.renew(this.session, { onEvent: (event) => this.#onEvent(event) })
    if (next === this.session) return
    this.session = next
    this.#armed.clear()
    this.#fired.clear()
  }
}

export class Watches implements Workload {
  readonly #load: Load
  readonly #watchers: Watcher[] = []
  #clients: Promise<void>[] = []

  constructor(load: Load) {
    this.#load = load
  }

  /** Events received. */
  get events(): number {
    return this.#watchers.reduce((sum, watcher) => sum + watcher.events, 0)
  }

  prepare(): Promise<void> {
    return this.#load.makeAll([folder, ...lastingPaths], (session, path) =>
      session.call(request.create(path, '')),
    )
  }

  start(): void {
    for (let i = 0; i < watchers; i++) {
      const watcher = new Watcher(this.#load, `watcher${i}`)
      this.#watchers.push(watcher)
      this.#clients.push(this.#watch(watcher))
    }
    this.#clients.push(this.#change())
  }

  async stop(): Promise<void> {
    await Promise.all(this.#clients)
    for (const watcher of this.#watchers) {
      await watcher.finish([...lastingPaths, passingPath])
      await watcher.session.close()
    }
  }

  check(): string[] {
    return []
  }

  async #watch(watcher: Watcher): Promise<void> {
    while (!this.#load.isStopping) {
      watcher.renew()
      await watcher.look(this.#load.prng.pick([...lastingPaths, passingPath]))
      await this.#load.pace(5, 40)
    }
  }

  async #change(): Promise<void> {
    const { prng } = this.#load
    let session = this.#load.open('changer')
    for (let count = 0; !this.#load.isStopping; count++) {
      session = this.#load.renew(session)
      const path = prng.pick([...lastingPaths, passingPath])
      if (path !== passingPath) {
        this.#load.note(await session.call(request.set(path, `${count}`)), 'write', `change of ${path}`)
      } else if (prng.chance(0.5)) {
        const created = await session.call(request.create(path, `${count}`))
        this.#load.note(created, 'write', `create of ${path}`, [Err.nodeExists])
      } else {
        const deleted = await session.call(request.delete(path))
        this.#load.note(deleted, 'write', `delete of ${path}`, [Err.noNode])
      }
      await this.#load.pace(20, 120)
    }
    await session.close()
  }
}

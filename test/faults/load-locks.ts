// The lock recipe: an ephemeral sequential znode each, the lowest holds the lock, the others watch the one before them. A holder
// proves that it holds by writes on the condition that its znode exists.
import { Err, Flag } from '../support/raw-client.ts'
import type { Load, Workload } from './load.ts'
import { checkLock, type Held, sequenceOf } from './sequences.ts'
import { request, type Session, type WatchEvent } from './session.ts'

const lockClients = 3
const proofsPerTurn = 3

/** Events by path, for those who wait for one. */
class Bell {
  readonly #waiting = new Map<string, Set<() => void>>()

  ring({ path }: WatchEvent): void {
    for (const wake of this.#waiting.get(path) ?? []) wake()
    this.#waiting.delete(path)
  }

  /** Resolves with the next event of the path from now on. */
  next(path: string): Promise<void> {
    return new Promise((resolve) => {
      const waiting = this.#waiting.get(path) ?? new Set()
      this.#waiting.set(path, waiting.add(resolve))
    })
  }
}

export class Locks implements Workload {
  readonly proofs: Held[] = []
  readonly #load: Load
  #clients: Promise<void>[] = []

  constructor(load: Load) {
    this.#load = load
  }

  prepare(): Promise<void> {
    return this.#load.makeAll(['/lock', '/lock-proof'], (session, path) =>
      session.call(request.create(path, '')),
    )
  }

  start(): void {
    this.#clients = Array.from({ length: lockClients }, (_, index) => this.#client(`lock${index}`))
  }

  async stop(): Promise<void> {
    await Promise.all(this.#clients)
  }

  check(): string[] {
    return checkLock(this.proofs)
  }

  async #client(name: string): Promise<void> {
    const bell = new Bell()
    const options = { onEvent: (event: WatchEvent) => bell.ring(event) }
    let session = this.#load.open(name, options)
    for (let turn = 0; !this.#load.isStopping; turn++) {
      session = this.#load.renew(session, options)
      const mine = await this.#enqueue(session, `${session.name}-${turn}-`)
      if (mine === undefined) continue
      if (await this.#waitForTurn(session, mine, bell)) await this.#hold(session, mine)
      await this.#release(session, mine)
      await this.#load.pace(5, 60)
    }
    await session.close()
  }

  /** Makes a znode; if it is not known whether there is one, looks. Returns its name. */
  async #enqueue(session: Session, prefix: string): Promise<string | undefined> {
    const created = await session.call(request.create(`/lock/${prefix}`, '', Flag.ephemeralSequential))
    this.#load.note(created, 'write', 'lock znode')
    if (created.type === 'ok') return created.value.slice('/lock/'.length)
    while (created.type === 'unknown' && !session.isOver) {
      const children = await session.synced('/lock', request.children('/lock'))
      if (children.type === 'ok') return children.value.find((name) => name.startsWith(prefix))
    }
    return undefined
  }

  /** True: `mine` is the lowest. False: it has no znode any more, or all is to end. */
  async #waitForTurn(session: Session, mine: string, bell: Bell): Promise<boolean> {
    while (!session.isOver && !this.#load.isStopping) {
      const children = await session.call(request.children('/lock'))
      if (children.type !== 'ok') continue
      const queue = children.value.sort((a, b) => sequenceOf(a) - sequenceOf(b))
      const place = queue.indexOf(mine)
      if (place === -1) return false
      const before = queue[place - 1]
      if (before === undefined) return true
      const path = `/lock/${before}`
      const gone = bell.next(path)
      const watch = await session.call(request.exists(path, true))
      if (watch.type === 'ok') await Promise.race([gone, this.#load.stopping, session.over])
    }
    return false
  }

  async #hold(session: Session, mine: string): Promise<void> {
    for (let i = 0; i < proofsPerTurn; i++) {
      const holder = mine
      const proof = await session.call(request.checkAndSet(`/lock/${mine}`, '/lock-proof', mine))
      this.#load.note(proof, 'write', 'proof of the lock', [Err.noNode])
      if (proof.type === 'ok' && !proof.value) return
      if (proof.type === 'ok') {
        this.proofs.push({ holder, zxid: proof.zxid, startMs: proof.startMs, endMs: proof.endMs })
      }
      await this.#load.pace(2, 20)
    }
  }

  async #release(session: Session, mine: string): Promise<void> {
    for (let isDone = false; !isDone && !session.isOver; ) {
      const deleted = await session.call(request.delete(`/lock/${mine}`))
      this.#load.note(deleted, 'write', 'release of the lock', [Err.noNode])
      isDone = deleted.type === 'ok' || (deleted.type === 'error' && deleted.code === Err.noNode)
    }
  }
}

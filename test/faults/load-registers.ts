// Workloads on single znodes: registers with conditional and unconditional writes and both kinds of reads; sequential creates;
// and patient clients, which repeat what a lost connection interrupted and may never see anything else go wrong.
import { Err, Flag } from '../support/raw-client.ts'
import type { Load, Tree, Workload } from './load.ts'
import type { RegisterResult } from './registers.ts'
import {
  checkReads,
  checkRegisters,
  checkWriteOrder,
  type RegisterCall,
  type RegisterOp,
} from './registers.ts'
import { type Appended, checkAppends } from './sequences.ts'
import { type Outcome, type Request, request, type Session } from './session.ts'

const registerClients = 5
const registersAtOnce = 5
/** Others take over after so long, which keeps the histories short. */
const registersLastMs = 8_000
const appendClients = 2
const patientClients = 2
/** How long a patient client repeats one request before it counts as failed. */
const patienceMs = 20_000

type Answered = { readonly result: RegisterResult; readonly zxid: number; readonly endMs: number }

function answerOf(call: RegisterCall, outcome: Exclude<Outcome<unknown>, { type: 'unsent' }>): Answered {
  const never = { result: { type: 'unknown' }, zxid: 0, endMs: Number.POSITIVE_INFINITY } as const
  if (outcome.type === 'unknown') return never
  const { zxid, endMs } = outcome
  if (outcome.type === 'error') return { result: { type: 'error', code: outcome.code }, zxid, endMs }
  if (call.type === 'create' || call.type === 'delete') return { result: { type: 'done' }, zxid, endMs }
  const value = outcome.value as { data?: string; version: number; mzxid: number }
  if (call.type === 'set') return { result: { type: 'version', version: value.version }, zxid, endMs }
  const { data = '', version, mzxid } = value
  return { result: { type: 'value', value: data, version, mzxid }, zxid, endMs }
}

/** Registers. `ops` is the history. */
export class Registers implements Workload {
  readonly ops: RegisterOp[] = []
  readonly #load: Load
  readonly #syncIsStrong: boolean
  readonly #startedMs = performance.now()
  readonly #paths = new Set<string>()
  #clients: Promise<void>[] = []

  constructor(load: Load, syncIsStrong: boolean) {
    this.#load = load
    this.#syncIsStrong = syncIsStrong
  }

  prepare(): Promise<void> {
    return this.#load.makeAll(['/registers'], (session, path) => session.call(request.create(path, '')))
  }

  start(): void {
    this.#clients = Array.from({ length: registerClients }, (_, index) => this.#client(`register${index}`))
  }

  async stop(): Promise<void> {
    await Promise.all(this.#clients)
    // Every acknowledged write has to be there on each server: its last words belong to the history.
    for (const [index] of this.#load.endpoints.entries()) {
      const session = this.#load.open(`last-word${index}`, { pinned: index })
      for (const path of this.#paths) await this.#do(session, path, { type: 'read', synced: true })
      await session.close()
    }
  }

  check(): string[] {
    return [
      ...checkRegisters(this.ops, this.#syncIsStrong),
      ...checkWriteOrder(this.ops),
      ...checkReads(this.ops),
    ]
  }

  async #client(name: string): Promise<void> {
    const { prng } = this.#load
    const versions = new Map<string, number>()
    let session = this.#load.open(name)
    for (let count = 0; !this.#load.isStopping; count++) {
      session = this.#load.renew(session)
      const generation = Math.floor((performance.now() - this.#startedMs) / registersLastMs)
      const path = `/registers/${generation}-${prng.int(1, registersAtOnce)}`
      const version = await this.#do(
        session,
        path,
        this.#draw(`${session.name}-${count}`, versions.get(path)),
      )
      if (version !== undefined) versions.set(path, version)
      await this.#load.pace(2, 30)
    }
    await session.close()
  }

  #draw(value: string, version: number | undefined): RegisterCall {
    const { prng } = this.#load
    const dice = prng.next()
    if (dice < 0.1) return { type: 'create', value }
    if (dice < 0.12) return { type: 'delete' }
    if (dice < 0.35) return { type: 'set', value, version: -1 }
    if (dice < 0.55) return { type: 'set', value, version: version ?? 0 }
    return { type: 'read', synced: dice < 0.75 }
  }

  /** Does it and writes it down. Returns the version it has seen. */
  async #do(session: Session, path: string, call: RegisterCall): Promise<number | undefined> {
    const outcome = await this.#send(session, path, call)
    const kind = call.type === 'read' ? 'read' : 'write'
    this.#load.note(outcome, kind, `${call.type} ${path}`, [Err.noNode, Err.nodeExists, Err.badVersion])
    if (outcome.type === 'unsent') return undefined
    this.#paths.add(path)
    const { startMs, server } = outcome
    this.ops.push({
      session: session.name,
      server: server + 1,
      path,
      call,
      startMs,
      ...answerOf(call, outcome),
    })
    const { value } = outcome.type === 'ok' ? (outcome as { value: unknown }) : { value: undefined }
    return (value as { version?: number } | undefined)?.version
  }

  #send(session: Session, path: string, call: RegisterCall): Promise<Outcome<unknown>> {
    switch (call.type) {
      case 'create':
        return session.call(request.create(path, call.value))
      case 'set':
        return session.call(request.set(path, call.value, call.version))
      case 'delete':
        return session.call(request.delete(path))
      case 'read':
        return call.synced ? session.synced(path, request.get(path)) : session.call(request.get(path))
    }
  }
}

/** Sequential creates. */
export class Appends implements Workload {
  readonly requests: Appended[] = []
  readonly #load: Load
  #clients: Promise<void>[] = []

  constructor(load: Load) {
    this.#load = load
  }

  prepare(): Promise<void> {
    return this.#load.makeAll(['/appends'], (session, path) => session.call(request.create(path, '')))
  }

  start(): void {
    this.#clients = Array.from({ length: appendClients }, (_, index) => this.#client(`append${index}`))
  }

  async stop(): Promise<void> {
    await Promise.all(this.#clients)
  }

  check(tree: Tree): string[] {
    const found = [...tree].filter(([path]) => path.startsWith('/appends/'))
    return checkAppends(this.requests, new Map(found))
  }

  async #client(name: string): Promise<void> {
    let session = this.#load.open(name)
    for (let count = 0; !this.#load.isStopping; count++) {
      session = this.#load.renew(session)
      const data = `${session.name}-${count}`
      const outcome = await session.call(request.create('/appends/a-', data, Flag.sequential))
      this.#load.note(outcome, 'write', 'sequential create')
      if (outcome.type === 'unsent') continue
      const isOk = outcome.type === 'ok'
      this.requests.push({
        data,
        path: isOk ? outcome.value : undefined,
        startMs: outcome.startMs,
        endMs: isOk ? outcome.endMs : Number.POSITIVE_INFINITY,
      })
      await this.#load.pace(5, 50)
    }
    await session.close()
  }
}

/** Clients that repeat a request for as long as the connection is lost, each on its own znode. */
export class Patients implements Workload {
  /** Requests that were answered with an error, not within `patienceMs`, or by a session's end. */
  readonly failures: string[] = []
  /** Longest time from the first attempt to the answer. */
  longestMs = 0
  answered = 0
  readonly #load: Load
  #clients: Promise<void>[] = []

  constructor(load: Load) {
    this.#load = load
  }

  prepare(): Promise<void> {
    const paths = Array.from({ length: patientClients }, (_, index) => `/patient${index}`)
    return this.#load.makeAll(paths, (session, path) => session.call(request.create(path, '0')))
  }

  start(): void {
    this.#clients = Array.from({ length: patientClients }, (_, index) => this.#client(index))
  }

  async stop(): Promise<void> {
    await Promise.all(this.#clients)
  }

  check(tree: Tree): string[] {
    return Array.from({ length: patientClients }, (_, index) => `/patient${index}`)
      .filter((path) => !tree.has(path))
      .map((path) => `${path} is lost`)
  }

  async #client(index: number): Promise<void> {
    const path = `/patient${index}`
    let session = this.#load.open(`patient${index}`)
    for (let count = 1; !this.#load.isStopping; count++) {
      const next = this.#load.renew(session)
      if (next !== session) this.failures.push(`session ${session.name} expired`)
      session = next
      if (this.#load.prng.chance(0.5))
        await this.#insist(session, path, 'write', request.set(path, `${count}`))
      else await this.#insist(session, path, 'read', request.get(path))
      await this.#load.pace(5, 40)
    }
    await session.close()
  }

  async #insist<T>(session: Session, path: string, kind: 'read' | 'write', what: Request<T>): Promise<void> {
    const startMs = performance.now()
    let isDone = false
    while (!isDone && !session.isOver) {
      const outcome = await session.call(what)
      this.#load.note(outcome, kind, `patient request for ${path}`)
      if (outcome.type === 'error') this.failures.push(`${path}: error ${outcome.code}`)
      isDone = outcome.type === 'ok' || outcome.type === 'error'
    }
    const tookMs = performance.now() - startMs
    if (isDone) this.answered++
    this.longestMs = Math.max(this.longestMs, tookMs)
    if (tookMs > patienceMs) this.failures.push(`${path}: a request took ${tookMs.toFixed(0)} ms`)
  }
}

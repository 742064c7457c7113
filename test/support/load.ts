// Clients that write all the time and know what must come of it. Each owns a part of the tree, keeps what was
// acknowledged and the requests that were not, and can tell whether a tree found after a crash is one that its history
// allows: everything acknowledged, and of what was in flight the first so many, in the order they were sent.
import assert from 'node:assert/strict'
import {
  type Answer,
  ClosedError,
  connect,
  Err,
  Flag,
  type MultiOp,
  multiOp,
  ok,
  RawClient,
} from './raw-client.ts'

/** Draws numbers in [0, 1); the same for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let x = Math.imul(state ^ (state >>> 15), state | 1)
    x = (x + Math.imul(x ^ (x >>> 7), x | 61)) ^ x
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32
  }
}

type Znode = {
  readonly data: string
  readonly version: number
  readonly ephemeral: boolean
  /** Undefined while the write is not acknowledged. */
  readonly mzxid: bigint | undefined
}

/** A sequential znode; its path is known once acknowledged. */
type Sequential = { readonly path: string | undefined; readonly ephemeral: boolean }

/** What one client's part of the server's state is. */
type State = {
  /** By path. */
  readonly znodes: ReadonlyMap<string, Znode>
  /** By data, which no other znode has. */
  readonly sequentials: ReadonlyMap<string, Sequential>
  /** Whether the session is open. */
  readonly open: boolean
}

type Single =
  | { readonly type: 'create'; readonly path: string; readonly data: string; readonly ephemeral: boolean }
  | { readonly type: 'set'; readonly path: string; readonly data: string; readonly version: number }
  | { readonly type: 'delete'; readonly path: string; readonly version: number }
  | { readonly type: 'check'; readonly path: string; readonly version: number }

type Request =
  | Exclude<Single, { type: 'check' }>
  | { readonly type: 'multi'; readonly ops: readonly Single[] }
  | { readonly type: 'sequential'; readonly data: string; readonly ephemeral: boolean }
  | { readonly type: 'deleteSequential'; readonly data: string; readonly path: string }
  | { readonly type: 'close' }

type Outcome = { readonly state: State; readonly err: number }

/** The rules of the operations, as far as one writer per znode needs them. */
function applied(state: State, request: Request, zxid: bigint | undefined, path?: string): Outcome {
  switch (request.type) {
    case 'multi':
      return appliedAll(state, request.ops, zxid)
    case 'sequential': {
      const { data, ephemeral } = request
      const sequentials = new Map(state.sequentials).set(data, { path, ephemeral })
      return { state: { ...state, sequentials }, err: 0 }
    }
    case 'deleteSequential': {
      const sequentials = new Map(state.sequentials)
      const err = sequentials.delete(request.data) ? 0 : Err.noNode
      return { state: { ...state, sequentials }, err }
    }
    case 'close': {
      const stays = ([, { ephemeral }]: [string, { ephemeral: boolean }]) => !ephemeral
      const znodes = new Map([...state.znodes].filter(stays))
      const sequentials = new Map([...state.sequentials].filter(stays))
      return { state: { znodes, sequentials, open: false }, err: 0 }
    }
    default:
      return appliedSingle(state, request, zxid)
  }
}

function appliedAll(state: State, ops: readonly Single[], zxid: bigint | undefined): Outcome {
  let next = state
  for (const op of ops) {
    const outcome = appliedSingle(next, op, zxid)
    if (outcome.err !== 0) return { state, err: outcome.err }
    next = outcome.state
  }
  return { state: next, err: 0 }
}

function appliedSingle(state: State, op: Single, zxid: bigint | undefined): Outcome {
  const znode = state.znodes.get(op.path)
  const znodes = new Map(state.znodes)
  if (op.type === 'create') {
    if (znode !== undefined) return { state, err: Err.nodeExists }
    znodes.set(op.path, { data: op.data, version: 0, ephemeral: op.ephemeral, mzxid: zxid })
    return { state: { ...state, znodes }, err: 0 }
  }
  if (znode === undefined) return { state, err: Err.noNode }
  if (op.version !== -1 && op.version !== znode.version) return { state, err: Err.badVersion }
  if (op.type === 'set')
    znodes.set(op.path, { ...znode, data: op.data, version: znode.version + 1, mzxid: zxid })
  if (op.type === 'delete') znodes.delete(op.path)
  return { state: { ...state, znodes }, err: 0 }
}

const nothingYet: State = { znodes: new Map(), sequentials: new Map(), open: true }
const sequentialParent = '/sequential'
const pathsPerClient = 24
const inFlightMax = 8
const sequentialsMax = 20

/** A part of the tree as it was found. */
type Found = {
  readonly znodes: ReadonlyMap<string, Required<Znode>>
  /** Data to path. */
  readonly sequentials: ReadonlyMap<string, string>
  readonly open: boolean
}

/** Clients under load and what they have in common. */
export class Load {
  readonly clients: readonly LoadClient[]
  /** Writes acknowledged, and requests in flight at a crash: of those, how many had taken effect. */
  readonly counts = { acknowledged: 0, inFlight: 0, survived: 0, sessions: 0 }
  readonly #zxids = new Set<bigint>()
  readonly #sequentialPaths = new Set<string>()
  readonly #sessions = new Set<bigint>()
  /** What was to bring the server away is done. */
  #isOver = false
  /** Every zxid given from now on must be above. */
  #floor = 0n
  #highest = 0n

  constructor(clients: number, random: () => number) {
    this.clients = Array.from({ length: clients }, (_, i) => new LoadClient(i, random, this))
  }

  /** The last zxid that a client has seen. */
  get highest(): bigint {
    return this.#highest
  }

  get isOver(): boolean {
    return this.#isOver
  }

  /** Makes the znodes that the load works below. */
  async prepare(port: number): Promise<void> {
    const client = await connect({ port })
    for (const path of [sequentialParent, ...this.clients.map(({ root }) => root)])
      await ok(client.create(path))
    await client.close()
  }

  /**
   * Runs all clients until the server goes away or has no leader, which `end` has to bring about when enough is `acknowledged`.
   * It must end their connections itself; but one that was opened after that may have been let in when there was another
   * leader: that ends when `end` is done.
   */
  async run(port: number, end: () => Promise<void>): Promise<void> {
    this.#isOver = false
    const running = Promise.all(this.clients.map((client) => client.run(port)))
    running.catch(() => {})
    await end()
    this.#isOver = true
    for (const client of this.clients) client.endIfIdle()
    await running
  }

  /** Waits until so many writes have been acknowledged: then the server goes. */
  async acknowledged(count: number): Promise<void> {
    const deadline = performance.now() + 15_000
    while (this.counts.acknowledged < count) {
      assert.ok(performance.now() < deadline, `only ${this.counts.acknowledged} writes were acknowledged`)
      await new Promise((resolve) => setImmediate(resolve))
    }
    for (const client of this.clients) client.serverGoes()
  }

  /**
   * Compares what a server that came up again shows with what the clients know, and lets them know the outcome. `others`:
   * names of znodes below the root that are not the load's.
   */
  async verify(port: number, others: readonly string[] = []): Promise<void> {
    const reader = await connect({ port }, { lastZxidSeen: this.#highest })
    const roots = this.clients.map(({ root }) => root.slice(1))
    const top = await ok(reader.getChildren('/'))
    assert.deepEqual(new Set(top), new Set(['zookeeper', sequentialParent.slice(1), ...roots, ...others]))
    const sequentials = await readBelow(reader, sequentialParent)
    const owners = new Set(this.clients.map(({ name }) => name))
    for (const { data } of sequentials.values()) {
      const [owner = ''] = data.split(':')
      assert.ok(owners.has(owner), `nobody wrote the sequential znode ${data}`)
    }
    for (const client of this.clients) {
      const open = await client.attach(port)
      await client.settle(await readBelow(reader, client.root), sequentials, open)
    }
    const { zxid } = await reader.ping()
    assert.ok(zxid >= this.#highest, `the server is at ${zxid}, a client has seen ${this.#highest}`)
    this.#floor = zxid
    this.#highest = zxid
    await reader.close()
  }

  /** A write was acknowledged. */
  acknowledge(zxid: bigint): void {
    assert.ok(zxid > this.#floor, `zxid ${zxid} is not above ${this.#floor}, seen before the crash`)
    assert.ok(!this.#zxids.has(zxid), `zxid ${zxid} was given twice`)
    this.#zxids.add(zxid)
    if (zxid > this.#highest) this.#highest = zxid
    this.counts.acknowledged++
  }

  sequential(path: string): void {
    assert.ok(!this.#sequentialPaths.has(path), `the sequential path ${path} was given twice`)
    this.#sequentialPaths.add(path)
  }

  opened(session: bigint): void {
    assert.ok(!this.#sessions.has(session), `session ${session} was given twice`)
    this.#sessions.add(session)
    this.counts.sessions++
  }
}

async function readBelow(reader: RawClient, parent: string): Promise<Map<string, Required<Znode>>> {
  const children = await ok(reader.getChildren(parent))
  const answers = await Promise.all(children.map((name) => ok(reader.getData(`${parent}/${name}`))))
  const found = answers.map(({ data, stat }, i): [string, Required<Znode>] => [
    `${parent}/${children[i]}`,
    {
      data: data?.toString() ?? '',
      version: stat.version,
      ephemeral: stat.ephemeralOwner !== 0n,
      mzxid: stat.mzxid,
    },
  ])
  return new Map(found)
}

/** One session after the other that write below a root of their own. */
export class LoadClient {
  readonly name: string
  readonly root: string
  readonly #random: () => number
  readonly #load: Load
  #client: RawClient | undefined
  /** Its connection when the server was about to go, which must end that. */
  #lastOfServer: RawClient | undefined
  #credentials: { sessionId: bigint; passwd: Buffer } | undefined
  #state: State = nothingYet
  #inFlight: Request[] = []
  #written = 0
  #failure: unknown

  constructor(index: number, random: () => number, load: Load) {
    this.name = `c${index}`
    this.root = `/${this.name}`
    this.#random = random
    this.#load = load
  }

  /** Writes until the server is gone. Rejects if an answer is not what it must be. */
  async run(port: number): Promise<void> {
    try {
      for (;;) {
        this.#client ??= await this.#open(port)
        await this.#write(this.#client)
        if (this.#failure !== undefined) throw this.#failure
        if (this.#inFlight.length > 0 || this.#state.open) return
        this.#client = undefined
        this.#credentials = undefined
        this.#state = { ...this.#state, open: true }
        if (this.#load.isOver) return
      }
    } catch (error) {
      if (!isGone(error)) throw error
    }
  }

  async #open(port: number): Promise<RawClient> {
    const client = await connect({ port }, { timeout: 40_000, lastZxidSeen: this.#load.highest })
    this.#credentials = client.credentials
    this.#load.opened(client.session.sessionId)
    return client
  }

  /** Comes back with its session after a restart; false if the server does not know it any more. */
  async attach(port: number): Promise<boolean> {
    this.#client = undefined
    if (this.#credentials === undefined) return this.#state.open
    const client = await RawClient.dial(port)
    const options = { ...this.#credentials, timeout: 40_000, lastZxidSeen: this.#load.highest }
    const { timeout } = await client.handshake(options)
    if (timeout === 0) {
      await client.closed()
      return false
    }
    this.#client = client
    return true
  }

  /** Keeps up to `inFlightMax` requests in flight until the connection ends, or the session was closed. */
  async #write(client: RawClient): Promise<void> {
    const depth = 1 + Math.floor(this.#random() * inFlightMax)
    const next = () => {
      if (this.#load.isOver) {
        this.endIfIdle()
        return
      }
      while (this.#failure === undefined && !client.isClosed && this.#inFlight.length < depth) {
        if (this.#inFlight.at(-1)?.type === 'close' || !this.#state.open) return
        this.#send(client, this.#draw(), next)
      }
    }
    next()
    await client.closed(120_000)
  }

  /** The connection that there is now is the server's to end. */
  serverGoes(): void {
    this.#lastOfServer = this.#client
  }

  /** When what it has sent is answered its connection ends, with no more requests on it, unless the server has to do that. */
  endIfIdle(): void {
    if (this.#inFlight.length === 0 && this.#client !== this.#lastOfServer) void this.#client?.drop()
  }

  #send(client: RawClient, request: Request, next: () => void): void {
    this.#inFlight.push(request)
    perform(client, request).then(
      (answer) => {
        try {
          this.#acknowledged(request, answer)
          next()
        } catch (error) {
          this.#fail(error, client)
        }
      },
      (error: unknown) => {
        if (!isGone(error)) this.#fail(error, client)
      },
    )
  }

  #fail(error: unknown, client: RawClient): void {
    this.#failure ??= error
    void client.drop()
  }

  #acknowledged(request: Request, answer: Answer<unknown>): void {
    assert.equal(this.#inFlight[0], request)
    this.#load.acknowledge(answer.zxid)
    const path = request.type === 'sequential' ? String(answer.value) : undefined
    if (path !== undefined) this.#load.sequential(path)
    const { state, err } = applied(this.#state, request, answer.zxid, path)
    const told = request.type === 'multi' ? multiError(answer) : answer.err
    assert.equal(told, err, `${JSON.stringify(request)} was answered ${told} instead of ${err}`)
    this.#state = state
    this.#inFlight.shift()
  }

  /** Holds what was found against the states that the history allows, and goes on from the one that it is. */
  async settle(
    znodes: ReadonlyMap<string, Required<Znode>>,
    allSequentials: ReadonlyMap<string, Required<Znode>>,
    open: boolean,
  ): Promise<void> {
    const sequentials = new Map<string, string>()
    for (const [path, { data }] of allSequentials)
      if (data.startsWith(`${this.name}:`)) sequentials.set(data, path)
    const found: Found = { znodes, sequentials, open }
    const problems: string[] = []
    let state = this.#state
    let survived = -1
    for (let count = 0; ; count++) {
      const problem = difference(state, found)
      if (problem === undefined) survived = count
      else problems.push(`with ${count} of them: ${problem}`)
      const request = this.#inFlight[count]
      if (survived >= 0 || request === undefined) break
      state = applied(state, request, undefined).state
    }
    const requests = this.#inFlight.map((request) => JSON.stringify(request)).join('\n')
    assert.ok(
      survived >= 0,
      `${this.name} finds what it never wrote; in flight:\n${requests}\n${problems.join('\n')}`,
    )
    this.#load.counts.inFlight += this.#inFlight.length
    this.#load.counts.survived += survived
    for (const [data, path] of sequentials)
      if (state.sequentials.get(data)?.path === undefined) this.#load.sequential(path)
    this.#inFlight = []
    const known = [...state.sequentials].map(([data, { ephemeral }]): [string, Sequential] => [
      data,
      { ephemeral, path: sequentials.get(data) },
    ])
    this.#state = { znodes, sequentials: new Map(known), open: true }
    if (!open) this.#credentials = undefined
    await this.#client?.ping()
  }

  #draw(): Request {
    const random = this.#random
    const roll = random()
    if (roll < 0.12) return { type: 'sequential', data: this.#token(), ephemeral: random() < 0.3 }
    if (roll < 0.24) {
      const known = [...this.#state.sequentials].filter(([, { path }]) => path !== undefined)
      const [data, znode] = known[Math.floor(random() * known.length)] ?? []
      if (data !== undefined && znode?.path !== undefined && known.length > sequentialsMax * random())
        return { type: 'deleteSequential', data, path: znode.path }
    }
    if (roll < 0.35) {
      const ops = Array.from({ length: 1 + Math.floor(random() * 4) }, () => this.#single(true))
      return { type: 'multi', ops }
    }
    if (roll > 0.995) return { type: 'close' }
    const single = this.#single(false)
    return single.type === 'check' ? { type: 'multi', ops: [single] } : single
  }

  #single(inMulti: boolean): Single {
    const random = this.#random
    const path = `${this.root}/n${Math.floor(random() * pathsPerClient)}`
    const znode = this.#state.znodes.get(path)
    const version = random() < 0.6 || znode === undefined ? -1 : znode.version
    if (znode === undefined && random() < 0.9)
      return { type: 'create', path, data: this.#token(), ephemeral: random() < 0.3 }
    const roll = random()
    if (roll < 0.25) return { type: 'delete', path, version }
    if (roll < 0.35 && inMulti) return { type: 'check', path, version }
    return { type: 'set', path, data: this.#token(), version }
  }

  /** Data that is written only once, of various lengths. */
  #token(): string {
    const fill = this.#random() < 0.1 ? 2000 : 20
    return `${this.name}:${this.#written++}:${'x'.repeat(Math.floor(this.#random() * fill))}`
  }
}

function perform(client: RawClient, request: Request): Promise<Answer<unknown>> {
  switch (request.type) {
    case 'create':
      return client.create(request.path, { data: request.data, flags: request.ephemeral ? 1 : 0 })
    case 'set':
      return client.setData(request.path, request.data, request.version)
    case 'delete':
      return client.delete(request.path, request.version)
    case 'sequential': {
      const flags = request.ephemeral ? Flag.ephemeralSequential : Flag.sequential
      return client.create(`${sequentialParent}/s-`, { data: request.data, flags })
    }
    case 'deleteSequential':
      return client.delete(request.path)
    case 'multi':
      return client.multi(request.ops.map(multiOpOf))
    case 'close':
      return client.closeSession()
  }
}

function multiOpOf(op: Single): MultiOp {
  switch (op.type) {
    case 'create':
      return multiOp.create(op.path, { data: op.data, flags: op.ephemeral ? 1 : 0 })
    case 'set':
      return multiOp.setData(op.path, op.data, op.version)
    case 'delete':
      return multiOp.delete(op.path, op.version)
    case 'check':
      return multiOp.check(op.path, op.version)
  }
}

/** The error of the operation that made a multi fail, 0 if it did not. */
function multiError(answer: Answer<unknown>): number {
  const results = answer.value as readonly { readonly type: number; readonly err?: number }[]
  return results.find(({ type, err }) => type === -1 && err !== 0)?.err ?? 0
}

/** What makes `found` another state than `state`; undefined if nothing does. */
function difference(state: State, found: Found): string | undefined {
  if (state.open !== found.open) return `the session is ${found.open ? 'open' : 'closed'}`
  for (const [path, znode] of found.znodes) {
    const known = state.znodes.get(path)
    if (known === undefined) return `${path} is there`
    const { data, version, ephemeral } = znode
    if (known.data !== data || known.version !== version || known.ephemeral !== ephemeral)
      return `${path} is ${data} with version ${version} instead of ${known.data} with ${known.version}`
    if (known.mzxid !== undefined && known.mzxid !== znode.mzxid)
      return `${path} has mzxid ${znode.mzxid} instead of ${known.mzxid}`
  }
  for (const path of state.znodes.keys()) if (!found.znodes.has(path)) return `${path} is missing`
  for (const [data, path] of found.sequentials) {
    const known = state.sequentials.get(data)
    if (known === undefined) return `${path} with ${data} is there`
    if (known.path !== undefined && known.path !== path) return `${data} is at ${path}, not at ${known.path}`
  }
  for (const data of state.sequentials.keys())
    if (!found.sequentials.has(data)) return `the sequential znode ${data} is missing`
  return undefined
}

function isGone(error: unknown): boolean {
  if (error instanceof ClosedError) return true
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return code === 'ECONNREFUSED' || code === 'ECONNRESET' || code === 'EPIPE'
}

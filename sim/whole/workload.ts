// What clients do: many small programs that create, change, read, watch and lock, on few znodes, so that they get in
// each other's way. They care for nothing but to go on; whether the answers are right is the history's to judge.
import { Code } from '../../src/base/errors.ts'
import type { Prng } from '../prng.ts'
import type { Schedule } from '../schedule.ts'
import type { Answer, SimClient } from './client.ts'
import type { Request, WritePart } from './requests.ts'

export const roots = ['/w', '/q', '/l'] as const

const keys = 6

export type WorkloadParts = {
  readonly client: SimClient
  readonly schedule: Schedule
  readonly prng: Prng
  readonly thinkMs: number
  readonly pipeline: number
}

/** A client at work. */
export type Worker = {
  /** Takes no more faults upon itself: no session is given up on purpose. */
  calm(): void
  /** Begins nothing more. */
  stop(): void
  /** Rounds completed: grows as long as the client gets on. */
  readonly rounds: number
}

function sleep(schedule: Schedule, ms: number): Promise<void> {
  return new Promise((resolve) => {
    schedule.after(ms, resolve)
  })
}

async function prepare(client: SimClient): Promise<void> {
  for (const path of roots) {
    const create = {
      type: 'create',
      path,
      data: '',
      ephemeral: false,
      sequential: false,
      stat: false,
    } as const
    await client.call(create)
  }
}

/** Asks for anything, in random order, several requests at a time. */
export function startMixed(parts: WorkloadParts): Worker {
  const { client, schedule, prng, thinkMs, pipeline } = parts
  const draw = createRequests(prng, client.id)
  let stopped = false
  let calm = false
  let rounds = 0
  const run = async () => {
    let prepared: object | undefined
    while (!stopped) {
      await client.ready()
      if (client.session !== prepared) {
        prepared = client.session
        await prepare(client)
      }
      const count = prng.int(1, pipeline)
      const answers: Promise<Answer>[] = []
      for (let i = 0; i < count; i++) {
        for (const request of draw.next())
          answers.push(
            client.call(request).then((answer) => {
              draw.learn(request, answer)
              return answer
            }),
          )
        if (prng.chance(0.3)) await sleep(schedule, prng.between(0, thinkMs / 4))
      }
      // Some do not wait for answers before they turn to another server.
      if (!calm && prng.chance(0.02)) client.reconnect()
      const done = await Promise.all(answers)
      if (done.every((answer) => answer !== undefined)) rounds++
      await sleep(schedule, prng.between(0, thinkMs))
      if (stopped || calm) continue
      if (prng.chance(0.01)) await client.call({ type: 'close' })
      else if (prng.chance(0.006)) client.abandon()
      else if (prng.chance(0.02)) client.reconnect()
    }
  }
  void run()
  return {
    calm: () => {
      calm = true
    },
    stop: () => {
      stopped = true
    },
    get rounds() {
      return rounds
    },
  }
}

/** Writes nothing: wants to see the newest state, wherever it is connected. */
export function startReader(parts: WorkloadParts): Worker {
  const { client, schedule, prng, thinkMs } = parts
  let stopped = false
  let rounds = 0
  const run = async () => {
    while (!stopped) {
      await client.ready()
      const path = `/w/k${prng.int(1, keys)}`
      const synced = client.call({ type: 'sync', path })
      const got = await client.call({ type: 'get', path, watch: prng.chance(0.3) })
      if ((await synced) !== undefined && got !== undefined) rounds++
      await sleep(schedule, prng.between(0, thinkMs))
    }
  }
  void run()
  return {
    calm: () => undefined,
    stop: () => {
      stopped = true
    },
    get rounds() {
      return rounds
    },
  }
}

/** Draws requests; learns versions from answers, for compare-and-set. */
function createRequests(prng: Prng, clientId: number) {
  const versions = new Map<string, number>()
  let serial = 0
  const data = () => {
    const text = `${clientId}:${++serial}`
    return prng.chance(0.02) ? text.padEnd(prng.int(100, 5000), '.') : text
  }
  const key = () => `/w/k${prng.int(1, keys)}`
  const anyPath = () => {
    const draw = prng.next()
    if (draw < 0.7) return key()
    if (draw < 0.8) return `${key()}/c${prng.int(1, 2)}`
    if (draw < 0.9) return `/w/e${prng.int(1, 3)}`
    return prng.pick(roots)
  }
  const version = (path: string) => (prng.chance(0.5) ? -1 : (versions.get(path) ?? prng.int(0, 3)))
  const create = (): WritePart => {
    const draw = prng.next()
    const ephemeral = prng.chance(0.35)
    const stat = prng.chance(0.5)
    if (draw < 0.3) return { type: 'create', path: '/q/n-', data: data(), ephemeral, sequential: true, stat }
    if (draw < 0.5)
      return {
        type: 'create',
        path: `/w/e${prng.int(1, 3)}`,
        data: data(),
        ephemeral: true,
        sequential: false,
        stat,
      }
    if (draw < 0.65)
      return {
        type: 'create',
        path: `${key()}/c${prng.int(1, 2)}`,
        data: data(),
        ephemeral,
        sequential: false,
        stat,
      }
    return { type: 'create', path: key(), data: data(), ephemeral: false, sequential: false, stat }
  }
  const queue: string[] = []
  const write = (): WritePart => {
    const draw = prng.next()
    if (draw < 0.35) return create()
    if (draw < 0.75) {
      const path = prng.chance(0.9) ? key() : anyPath()
      return { type: 'set', path, data: data(), version: version(path) }
    }
    const own = queue.length > 0 && prng.chance(0.5) ? (queue.shift() as string) : undefined
    const path = own ?? anyPath()
    if (path.split('/').length < 3) return { type: 'set', path, data: data(), version: -1 }
    return { type: 'delete', path, version: own === undefined ? version(path) : -1 }
  }
  const part = (): WritePart => {
    if (prng.chance(0.7)) return write()
    const path = key()
    return { type: 'check', path, version: version(path) }
  }
  const read = (): Request => {
    const watch = prng.chance(0.4)
    const draw = prng.next()
    if (draw < 0.4) return { type: 'get', path: anyPath(), watch }
    if (draw < 0.6) return { type: 'exists', path: anyPath(), watch }
    if (draw < 0.8)
      return { type: 'children', path: prng.pick(['/w', '/q', key()]), watch, stat: prng.chance(0.5) }
    if (draw < 0.86) return { type: 'getAll', paths: [key(), key(), anyPath()] }
    if (draw < 0.9) return { type: 'ephemerals' }
    if (draw < 0.95)
      return { type: 'addWatch', path: prng.pick(['/w', '/q', key(), '/w/e1']), recursive: prng.chance(0.5) }
    return { type: 'removeWatches', path: prng.pick(['/w', '/q', key(), '/w/e1']), kind: prng.int(1, 5) }
  }
  const next = (): Request[] => {
    const draw = prng.next()
    if (draw < 0.45) return [write()]
    if (draw < 0.53) return [{ type: 'multi', parts: Array.from({ length: prng.int(1, 4) }, part) }]
    if (draw < 0.66) {
      const path = key()
      return [
        { type: 'sync', path },
        { type: 'get', path, watch: false },
      ]
    }
    return [read()]
  }
  const learn = (request: Request, answer: Answer) => {
    if (answer?.err !== 0) return
    if (answer.stat !== undefined && 'path' in request && request.type !== 'create')
      versions.set(request.path, answer.stat.version)
    if (request.type === 'create' && answer.path !== undefined) {
      versions.set(answer.path, 0)
      if (request.sequential) queue.push(answer.path)
    }
  }
  return { next, learn }
}

/** Takes a lock again and again: a queue of ephemeral sequential znodes, each watching the one before it. */
export function startLocker(parts: WorkloadParts): Worker {
  const { client, schedule, prng, thinkMs } = parts
  let stopped = false
  let rounds = 0
  const events = createSignal()
  client.onEvent = events.raise
  const take = async () => {
    await client.ready()
    await prepare(client)
    const { session } = client
    const create = {
      type: 'create',
      path: '/l/lock-',
      data: String(client.id),
      ephemeral: true,
      sequential: true,
      stat: false,
    } as const
    const made = await client.call(create)
    // Whether it was made is not known: the session that may own it has to go.
    if (made === undefined) await endSession()
    if (made?.path === undefined) return
    const own = made.path.slice('/l/'.length)
    for (;;) {
      const seen = events.count()
      const listed = await retried({ type: 'children', path: '/l', watch: false, stat: false })
      if (listed?.names === undefined || client.session !== session) return
      const index = listed.names.indexOf(own)
      if (index < 0) return
      if (index === 0) break
      const before = await retried({ type: 'exists', path: `/l/${listed.names[index - 1]}`, watch: true })
      if (before === undefined) return
      if (before.err === 0) await events.after(seen, client)
    }
    await sleep(schedule, prng.between(0, thinkMs))
    rounds++
    const released = await retried({ type: 'delete', path: made.path, version: -1 })
    if (released === undefined) await endSession()
  }
  const endSession = async () => {
    if (client.session !== undefined) client.abandon()
    await client.ready()
  }
  /** Asked again after a lost connection, or while writes are refused, as long as the session is the same. */
  const retried = async (request: Request): Promise<Answer> => {
    const { session } = client
    for (;;) {
      await client.ready()
      if (client.session !== session) return undefined
      const answer = await client.call(request)
      if (answer !== undefined && answer.err !== Code.systemError) return answer
      await sleep(schedule, 2)
    }
  }
  const run = async () => {
    while (!stopped) {
      await take()
      await sleep(schedule, prng.between(0, thinkMs * 3))
    }
  }
  void run()
  return {
    calm: () => undefined,
    stop: () => {
      stopped = true
    },
    get rounds() {
      return rounds
    },
  }
}

/** Lets one wait for the next event of a watch; a lost session ends the wait, too. */
function createSignal() {
  let raised = 0
  let waiters: (() => void)[] = []
  return {
    count: () => raised,
    raise: () => {
      raised++
      for (const waiter of waiters.splice(0)) waiter()
    },
    after: (seen: number, client: SimClient): Promise<void> => {
      const { session } = client
      return new Promise((resolve) => {
        if (raised !== seen || client.session !== session) resolve()
        else {
          waiters.push(resolve)
          client.onSessionEnd = () => {
            waiters = waiters.filter((waiter) => waiter !== resolve)
            resolve()
          }
        }
      })
    },
  }
}

// The scenarios: which faults, in which order, and what they may cost. Each ends with its faults or leaves them to be healed;
// all checks of what clients saw are in scenario.ts.
import { readdir, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { Server } from './cluster.ts'
import { partition } from './network.ts'
import { electionAllowanceMs, type Scenario, type Stage, silentLeader } from './scenario.ts'
import { type Request, request, Session } from './session.ts'

const three = { voters: 3, observers: 0 }
const five = { voters: 5, observers: 0 }
const observed = { voters: 3, observers: 1 }

/** A fault that does not concern the leader or a quorum may delay writes, but not by an election. */
const noElection = () => electionAllowanceMs
/** The leader is gone and everybody hears of it at once. */
const election = () => electionAllowanceMs

const ids = (servers: readonly Server[]) => servers.map(({ id }) => id)
const without = (servers: readonly Server[], ...others: readonly Server[]) =>
  servers.filter((server) => !others.includes(server))

async function followers({ cluster, prng }: Stage): Promise<{ leader: Server; others: Server[] }> {
  const leader = await cluster.leader()
  return { leader, others: prng.shuffle(without(cluster.voters, leader)) }
}

/** Long enough that a leader which is cut off has to have been replaced. */
const beyondSyncMs = ({ tickMs, isShort }: Stage) => silentLeader(tickMs) + (isShort ? 0 : 5 * tickMs)

async function wipe(server: Server): Promise<void> {
  for (const name of await readdir(server.dataDir)) {
    if (name !== 'myid') await rm(path.join(server.dataDir, name), { recursive: true, force: true })
  }
}

export const scenarios: readonly Scenario[] = [
  {
    name: 'calm',
    title: 'no fault at all',
    shape: three,
    expect: { sessionsSurvive: true, nothingFails: true, outageMaxMs: noElection },
    run: ({ hold, sessionTimeoutMs }) => hold(sessionTimeoutMs * 1.5),
  },
  {
    name: 'tampered',
    title: 'no fault, but somebody changes things behind the back of the checks, which have to notice',
    shape: three,
    expect: {
      findings: [
        /^\/registers\/.* is not linearizable/,
        /was acknowledged, found: nothing/,
        /^ephemeral .* is not/,
      ],
    },
    async run({ cluster, prng, progress }) {
      const options = { servers: cluster.endpoints, timeoutMs: 10_000, prng }
      const session = new Session({ name: 'tamperer', ...options })
      await tamper(session, '/registers', (path) => request.set(path, 'nobody wrote this'))
      await tamper(session, '/appends', (path) => request.delete(path))
      await tamper(session, '/presence', (path) => request.delete(path), /lasting/)
      await session.close()
      await progress()
    },
  },
  {
    name: 'kill-follower',
    title: 'kill -9 of a follower',
    shape: three,
    expect: { sessionsSurvive: true, nothingFails: true, outageMaxMs: noElection },
    async run(stage) {
      const { others } = await followers(stage)
      await others[0]?.kill()
      await stage.progress()
      others[0]?.start()
      await stage.cluster.untilServing()
    },
  },
  {
    name: 'kill-leader',
    title: 'kill -9 of the leader, again and again',
    shape: three,
    short: true,
    expect: { sessionsSurvive: true, nothingFails: true, outageMaxMs: election },
    async run(stage) {
      for (let i = 0; i < (stage.isShort ? 2 : 4); i++) {
        const leader = await stage.cluster.leader()
        await leader.kill()
        await stage.progress()
        leader.start()
        await stage.cluster.untilServing()
      }
    },
  },
  {
    name: 'kill-majority',
    title: 'kill -9 of the leader and a follower at once',
    shape: three,
    async run(stage) {
      const { leader, others } = await followers(stage)
      const victims = [leader, ...others.slice(0, 1)]
      await Promise.all(victims.map((server) => server.kill()))
      await stage.hold(2 * stage.tickMs)
      for (const server of victims) server.start()
      await stage.progress()
    },
  },
  {
    name: 'kill-all',
    title: 'kill -9 of all servers at once',
    shape: three,
    short: true,
    async run({ cluster, progress, isShort }) {
      for (let i = 0; i < (isShort ? 1 : 3); i++) {
        await Promise.all(cluster.servers.map((server) => server.kill()))
        for (const server of cluster.servers) server.start()
        await progress()
      }
    },
  },
  {
    name: 'kill-all-staggered',
    title: 'kill -9 of one server after the other, started in another order',
    shape: three,
    async run({ cluster, prng, progress, hold, tickMs }) {
      for (const server of prng.shuffle(cluster.servers)) {
        await server.kill()
        await hold(prng.between(0, tickMs))
      }
      for (const server of prng.shuffle(cluster.servers)) {
        server.start()
        await hold(prng.between(0, 2 * tickMs))
      }
      await progress()
    },
  },
  {
    name: 'restart-loop',
    title: 'kill -9 and start of any server, without waiting for it',
    shape: three,
    short: true,
    async run({ cluster, prng, hold, tickMs, isShort }) {
      for (let i = 0; i < (isShort ? 6 : 20); i++) {
        const server = prng.pick(cluster.servers)
        await server.kill()
        server.start()
        await hold(prng.between(0, 6 * tickMs))
      }
    },
  },
  {
    name: 'pause-leader',
    title: 'SIGSTOP of the leader for longer than the session timeout',
    shape: three,
    short: true,
    expect: { sessionsSurvive: true, outageMaxMs: silentLeader },
    async run(stage) {
      const leader = await stage.cluster.leader()
      leader.pause()
      await stage.hold(stage.sessionTimeoutMs + 2 * stage.tickMs)
      leader.resume()
      await stage.progress()
    },
  },
  {
    name: 'pause-follower',
    title: 'SIGSTOP of a follower for longer than syncLimit',
    shape: three,
    expect: { sessionsSurvive: true, outageMaxMs: noElection },
    async run(stage) {
      const { others } = await followers(stage)
      others[0]?.pause()
      await stage.hold(beyondSyncMs(stage))
      others[0]?.resume()
      await stage.progress()
    },
  },
  {
    name: 'pause-all',
    title: 'SIGSTOP of all servers, continued one after the other',
    shape: three,
    async run({ cluster, prng, hold, tickMs, progress }) {
      for (const server of cluster.servers) server.pause()
      await hold(6 * tickMs)
      for (const server of prng.shuffle(cluster.servers)) {
        server.resume()
        await hold(prng.between(0, 6 * tickMs))
      }
      await progress()
    },
  },
  {
    name: 'hand-over',
    title: 'SIGTERM of the leader, again and again',
    shape: three,
    short: true,
    expect: { sessionsSurvive: true, nothingFails: true, outageMaxMs: election },
    async run(stage) {
      for (let i = 0; i < (stage.isShort ? 2 : 4); i++) {
        const leader = await stage.cluster.leader()
        await leader.terminate()
        await stage.progress()
        leader.start()
        await stage.cluster.untilServing()
      }
    },
  },
  {
    name: 'rolling-restart',
    title: 'SIGTERM and start of each server in turn',
    shape: three,
    short: true,
    expect: { sessionsSurvive: true, nothingFails: true, outageMaxMs: election },
    async run({ cluster, progress }) {
      for (const server of cluster.servers) {
        await server.terminate()
        server.start()
        await cluster.untilServing()
        await progress()
      }
    },
  },
  {
    name: 'partition-leader',
    title: 'the leader can not reach the others, nor they it',
    shape: three,
    short: true,
    expect: { sessionsSurvive: true, outageMaxMs: silentLeader },
    async run(stage) {
      const { leader, others } = await followers(stage)
      await partition(stage.cluster.network, [leader.id], ids(others))
      await stage.cluster.leader(others)
      await stage.progress()
      await stage.hold(stage.isShort ? 0 : beyondSyncMs(stage))
    },
  },
  {
    name: 'partition-follower',
    title: 'a follower can not reach the others, nor they it',
    shape: three,
    expect: { sessionsSurvive: true, outageMaxMs: noElection },
    async run(stage) {
      const { leader, others } = await followers(stage)
      const [alone, ...rest] = ids(others)
      await partition(stage.cluster.network, [alone ?? 0], [leader.id, ...rest])
      await stage.hold(beyondSyncMs(stage))
      await stage.progress()
    },
  },
  {
    name: 'partition-all',
    title: 'no server reaches any other, for longer than syncLimit',
    shape: three,
    async run(stage) {
      const [a = 0, b = 0, c = 0] = ids(stage.cluster.servers)
      await partition(stage.cluster.network, [a], [b, c])
      await partition(stage.cluster.network, [b], [c])
      await stage.hold(beyondSyncMs(stage))
      await stage.cluster.heal()
      await stage.progress()
    },
  },
  {
    name: 'partition-halves',
    title: 'five servers: the leader with one other, and the rest',
    shape: five,
    expect: { sessionsSurvive: true, outageMaxMs: silentLeader },
    async run(stage) {
      const { leader, others } = await followers(stage)
      const [with_, ...rest] = ids(others)
      await partition(stage.cluster.network, [leader.id, with_ ?? 0], rest)
      await stage.cluster.leader(others.slice(1))
      await stage.progress()
    },
  },
  {
    name: 'bridge',
    title: 'five servers: two halves which only one server joins',
    shape: five,
    async run(stage) {
      const [bridge, a = 0, b = 0, c = 0, d = 0] = ids(stage.prng.shuffle(stage.cluster.servers))
      stage.note(`the bridge is ${bridge}`)
      await partition(stage.cluster.network, [a, b], [c, d])
      await stage.progress(2 * silentLeader(stage.tickMs) + electionAllowanceMs)
      await stage.hold(stage.isShort ? 0 : beyondSyncMs(stage))
    },
  },
  {
    name: 'deaf-leader',
    title: 'the leader hears nobody, but all hear it',
    shape: three,
    short: true,
    expect: { sessionsSurvive: true, outageMaxMs: silentLeader },
    async run(stage) {
      const { leader, others } = await followers(stage)
      for (const { id } of others) await stage.cluster.network.block(id, leader.id)
      await stage.cluster.leader(others)
      await stage.progress()
      await stage.hold(stage.isShort ? 0 : beyondSyncMs(stage))
    },
  },
  {
    name: 'mute-leader',
    title: 'nobody hears the leader, but it hears all',
    shape: three,
    short: true,
    expect: { sessionsSurvive: true, outageMaxMs: silentLeader },
    async run(stage) {
      const { leader, others } = await followers(stage)
      for (const { id } of others) await stage.cluster.network.block(leader.id, id)
      await stage.cluster.leader(others)
      await stage.progress()
      await stage.hold(stage.isShort ? 0 : beyondSyncMs(stage))
    },
  },
  {
    name: 'deaf-follower',
    title: 'a follower hears nobody, but all hear it',
    shape: three,
    expect: { sessionsSurvive: true },
    async run(stage) {
      const { leader, others } = await followers(stage)
      const [deaf, rest] = ids(others)
      for (const id of [leader.id, rest ?? 0]) await stage.cluster.network.block(id, deaf ?? 0)
      await stage.progress(silentLeader(stage.tickMs))
      await stage.hold(beyondSyncMs(stage))
      await stage.progress()
    },
  },
  {
    name: 'resets',
    title: 'connections between servers are reset, again and again',
    shape: three,
    needs: 'proxy',
    expect: { sessionsSurvive: true },
    async run({ cluster, prng, hold, tickMs, progress, isShort }) {
      for (let i = 0; i < (isShort ? 5 : 15); i++) {
        const [a = 0, b = 0] = prng.shuffle(ids(cluster.servers))
        cluster.network.reset(a, b)
        await hold(prng.between(0, 3 * tickMs))
      }
      await progress()
    },
  },
  {
    name: 'slow-network',
    title: 'everything between servers takes a tenth of a second each way',
    shape: three,
    needs: 'proxy',
    expect: { sessionsSurvive: true, nothingFails: true },
    async run({ cluster, hold, progress, sessionTimeoutMs }) {
      for (const from of ids(cluster.servers)) {
        for (const to of ids(cluster.servers)) if (from !== to) cluster.network.delay(from, to, 100)
      }
      await hold(sessionTimeoutMs)
      await progress()
    },
  },
  {
    name: 'full-disk',
    title: 'the disk of one server is full',
    shape: { ...three, smallDisk: 2 },
    needs: 'mount',
    async run(stage) {
      const server = stage.cluster.smallDisk as Server
      const filler = path.join(server.dataDir, 'filler')
      // It may stop, as a server that can not write its log should, or serve on if it does not notice.
      server.mayExit()
      await fill(filler)
      await stage.hold(beyondSyncMs(stage))
      await stage.progress()
      await server.kill()
      server.start()
      server.mayExit()
      await stage.hold(stage.tickMs * 5)
      await stage.progress()
      await rm(filler)
    },
  },
  {
    name: 'wiped-follower',
    title: 'a follower comes back without its data',
    shape: three,
    short: true,
    expect: { sessionsSurvive: true, nothingFails: true, outageMaxMs: noElection },
    async run(stage) {
      const { others } = await followers(stage)
      const server = others[0] as Server
      await server.kill()
      await wipe(server)
      await stage.progress()
      server.start()
      await stage.cluster.untilServing()
    },
  },
  {
    name: 'five-kill-two',
    title: 'five servers: kill -9 of the leader and another',
    shape: five,
    short: true,
    expect: { sessionsSurvive: true, nothingFails: true, outageMaxMs: election },
    async run(stage) {
      const { leader, others } = await followers(stage)
      const victims = [leader, others[0] as Server]
      await Promise.all(victims.map((server) => server.kill()))
      await stage.progress()
      for (const server of victims) server.start()
      await stage.cluster.untilServing()
    },
  },
  {
    name: 'observer',
    title: 'an observer is killed, cut off, and sees its leader die',
    shape: observed,
    short: true,
    expect: { sessionsSurvive: true, outageMaxMs: election },
    async run(stage) {
      const { cluster } = stage
      const observer = cluster.servers.find(({ isObserver }) => isObserver) as Server
      await observer.kill()
      await stage.progress()
      observer.start()
      await cluster.untilServing()
      await partition(cluster.network, [observer.id], ids(cluster.voters))
      await stage.hold(stage.isShort ? 2 * stage.tickMs : beyondSyncMs(stage))
      await cluster.network.heal()
      const leader = await cluster.leader()
      await leader.kill()
      await stage.progress()
      leader.start()
      await cluster.untilServing()
    },
  },
]

/** Does something to the first child of a folder. */
async function tamper<T>(
  session: Session,
  folder: string,
  act: (path: string) => Request<T>,
  which = /./,
): Promise<void> {
  const children = await session.synced(folder, request.children(folder))
  const child = children.type === 'ok' ? children.value.find((name) => which.test(name)) : undefined
  const outcome = await session.call(act(`${folder}/${child}`))
  if (outcome.type !== 'ok')
    throw new Error(`nothing in ${folder} could be changed: ${JSON.stringify(outcome)}`)
}

/** Writes until there is no room. */
async function fill(file: string): Promise<void> {
  const block = Buffer.alloc(1024 * 1024)
  const isFull = (error: NodeJS.ErrnoException) => error.code === 'ENOSPC'
  for (let size = block.length; size > 0; ) {
    try {
      await writeFile(file, block.subarray(0, size), { flag: 'a' })
    } catch (error) {
      if (!(error instanceof Error) || !isFull(error)) throw error
      size = Math.floor(size / 2)
    }
  }
}

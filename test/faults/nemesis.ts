// Random faults, drawn from a seed: rounds of some twenty seconds on a fresh ensemble each, with all checks after every
// round. Every step is noted in the round's history.
import { type Server, type Shape, until } from './cluster.ts'
import { partition } from './network.ts'
import type { Scenario, Stage } from './scenario.ts'

const shapes: readonly Shape[] = [
  { voters: 3, observers: 0 },
  { voters: 3, observers: 0 },
  { voters: 5, observers: 0 },
  { voters: 3, observers: 1 },
]
const stepsPerRound = 8

type Step = (stage: Stage) => Promise<string>

const down = ({ cluster }: Stage) => cluster.servers.filter((server) => !server.isRunning)
const up = ({ cluster }: Stage) => cluster.servers.filter((server) => server.isRunning && !server.isPaused)

/** The leader half of the time, if there is one that answers; else anyone who runs. */
async function victim(stage: Stage): Promise<Server | undefined> {
  const leader = stage.prng.chance(0.5) ? (await stage.cluster.leaders())[0] : undefined
  const running = up(stage)
  return leader ?? (running.length === 0 ? undefined : stage.prng.pick(running))
}

async function withVictim(stage: Stage, what: string, act: (server: Server) => Promise<void> | void) {
  const server = await victim(stage)
  if (server === undefined) return 'nobody left'
  await act(server)
  return `${what} of ${server.id}`
}

const steps: readonly Step[] = [
  (stage) => withVictim(stage, 'SIGKILL', (server) => server.kill()),
  (stage) => withVictim(stage, 'SIGKILL and start', (server) => server.kill().then(() => server.start())),
  (stage) => withVictim(stage, 'SIGSTOP', (server) => server.pause()),
  (stage) =>
    withVictim(stage, 'SIGTERM and start', (server) => server.terminate().then(() => server.start())),
  async (stage) => {
    const all = stage.prng.shuffle(stage.cluster.servers.map(({ id }) => id))
    const size = stage.prng.int(1, all.length - 1)
    await partition(stage.cluster.network, all.slice(0, size), all.slice(size))
    return `partition ${all.slice(0, size)} | ${all.slice(size)}`
  },
  async (stage) => {
    const [from = 0, to = 0] = stage.prng.shuffle(stage.cluster.servers.map(({ id }) => id))
    await stage.cluster.network.block(from, to)
    return `nothing from ${from} to ${to}`
  },
  (stage) =>
    withVictim(stage, 'deafness', async (server) => {
      for (const { id } of stage.cluster.servers) {
        if (id !== server.id) await stage.cluster.network.block(id, server.id)
      }
    }),
  (stage) => {
    const [a = 0, b = 0] = stage.prng.shuffle(stage.cluster.servers.map(({ id }) => id))
    stage.cluster.network.reset(a, b)
    return Promise.resolve(`reset between ${a} and ${b}`)
  },
  (stage) => {
    const [from = 0, to = 0] = stage.prng.shuffle(stage.cluster.servers.map(({ id }) => id))
    const delayMs = stage.prng.int(1, 200)
    stage.cluster.network.delay(from, to, delayMs)
    return Promise.resolve(`delay of ${delayMs} ms from ${from} to ${to}`)
  },
  async (stage) => {
    await stage.cluster.network.heal()
    return 'the network heals'
  },
  (stage) => {
    for (const server of stage.cluster.servers) if (server.isPaused) server.resume()
    for (const server of down(stage)) server.start()
    return Promise.resolve('all processes run')
  },
  async (stage) => {
    await Promise.all(stage.cluster.servers.map((server) => server.kill()))
    for (const server of stage.prng.shuffle(stage.cluster.servers)) server.start()
    return 'SIGKILL and start of all'
  },
]

/** One round of random faults. Its steps depend on the seed and on who leads. */
export function randomRound(seed: number): Scenario {
  return {
    name: `seed-${seed}`,
    title: `random faults of seed ${seed}`,
    shape: shapes[seed % shapes.length] as Shape,
    async run(stage) {
      for (let i = 0; i < stepsPerRound; i++) {
        stage.note(await stage.prng.pick(steps)(stage))
        await stage.hold(stage.prng.between(0, 8 * stage.tickMs))
        // Half of the time the ensemble gets the chance to come back before the next fault.
        if (!stage.prng.chance(0.5)) continue
        await stage.cluster.heal()
        stage.note('healed')
        await until(60_000, 'somebody leads', async () => (await stage.cluster.leaders()).length > 0)
      }
    },
  }
}

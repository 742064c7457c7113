// SIGKILL at random moments under load, also while a checkpoint is being written, while the log is being trimmed and
// while the server starts: everything acknowledged is there afterwards. CRASH_ROUNDS=n for more rounds, CRASH_SEED=n for
// the choices of an earlier run (when exactly the signal comes is never the same).
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { Load, seeded } from '../support/load.ts'
import { spawnServer, testDir } from '../support/load-process.ts'

const { CRASH_ROUNDS, CRASH_SEED } = process.env
const rounds = Number(CRASH_ROUNDS ?? 10)
const seed = Number(CRASH_SEED ?? Math.floor(Math.random() * 2 ** 31))
/** Checkpoints all the time. */
const config = { snapCount: 100 }

test('nothing acknowledged is lost to SIGKILL, and nothing appears that was not written', async (t) => {
  t.diagnostic(`CRASH_SEED=${seed} CRASH_ROUNDS=${rounds}`)
  const random = seeded(seed)
  const dir = await testDir(t)
  const load = new Load(6, random)
  let server = await spawnServer(t, dir, config)
  await server.ready()
  await load.prepare(server.port)
  let checkpoints = 0
  let killedWhileStarting = 0
  for (let round = 0; round < rounds; round++) {
    await load.run(server.port, async () => {
      // No synchronisation: the moment must not be a convenient one.
      await delay(30 + random() * 500)
      server.signal('SIGKILL')
      assert.equal(await server.exited(), null)
    })
    checkpoints += server.log().split('checkpoint written').length - 1
    while (random() < 0.3) {
      const starting = await spawnServer(t, dir, config)
      await delay(random() * 400)
      starting.signal('SIGKILL')
      await starting.exited()
      killedWhileStarting++
    }
    server = await spawnServer(t, dir, config)
    await server.ready()
    await load.verify(server.port)
  }
  server.signal('SIGTERM')
  assert.equal(await server.exited(), 0)
  const { acknowledged, inFlight, survived, sessions } = load.counts
  t.diagnostic(
    `${rounds} kills under load, ${killedWhileStarting} while starting, ${checkpoints} checkpoints, ${sessions} sessions, ` +
      `${acknowledged} writes acknowledged, ${survived} of ${inFlight} in flight had taken effect`,
  )
  assert.ok(acknowledged > 0 && checkpoints > 0 && inFlight > 0)
})

import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import { createPrng } from '../../sim/prng.ts'
import { Err, Flag } from '../support/raw-client.ts'
import { sharedServer } from '../support/server.ts'
import { type Outcome, request, Session, type WatchEvent } from './session.ts'

const shared = sharedServer({ tickTime: 200 })
let names = 0

const opened: Session[] = []

function open(options: { timeoutMs?: number; onEvent?: (event: WatchEvent) => void } = {}): Session {
  const servers = [{ host: '127.0.0.1', port: shared.port }]
  const name = `s${names++}`
  const session = new Session({ name, servers, timeoutMs: 4_000, prng: createPrng(names), ...options })
  opened.push(session)
  return session
}

afterEach(async () => {
  await Promise.all(opened.splice(0).map((session) => session.abandon()))
})

function success<T>(outcome: Outcome<T>): T {
  if (outcome.type !== 'ok') assert.fail(`not answered with success: ${JSON.stringify(outcome)}`)
  return outcome.value
}

test('a session goes on after its connection was cut, with its ephemerals', async () => {
  const session = open()
  success(await session.call(request.create('/cut', 'x', Flag.ephemeral)))
  const { id } = session
  session.cut()
  assert.equal(success(await session.call(request.get('/cut'))).data, 'x')
  assert.equal(session.id, id)
  assert.equal(session.moves, 1)
  assert.deepEqual(session.breaches, [])
  await session.close()
})

test('a request that was sent before a cut is unknown, one behind the end of the session unsent', async () => {
  const session = open()
  await session.ready()
  const lost = session.send(request.create('/lost', ''))
  session.cut()
  assert.equal((await lost).type, 'unknown')
  await session.close()
  assert.equal((await session.call(request.create('/late', ''))).type, 'unsent')
})

test('a watch that was set before a cut tells of a change during it', async () => {
  let tell: (event: WatchEvent) => void = () => {}
  const told = new Promise<WatchEvent>((resolve) => {
    tell = resolve
  })
  const [watching, changing] = [open({ onEvent: tell }), open()]
  success(await changing.call(request.create('/seen', 'old')))
  success(await watching.call(request.exists('/seen', true)))
  watching.cut()
  success(await changing.call(request.set('/seen', 'new')))
  assert.equal((await told).path, '/seen')
  await watching.close()
  await changing.close()
})

test('errors of the server come with their code', async () => {
  const session = open()
  const outcome = await session.call(request.get('/no'))
  assert.ok(outcome.type === 'error' && outcome.code === Err.noNode)
  await session.close()
})

test('a conditional write behind a check tells whether it was done', async () => {
  const session = open()
  success(await session.call(request.create('/checked', '')))
  assert.equal(success(await session.call(request.checkAndSet('/checked', '/checked', 'x'))), true)
  assert.equal(success(await session.call(request.checkAndSet('/missing', '/checked', 'y'))), false)
  assert.equal(success(await session.synced('/checked', request.get('/checked'))).data, 'x')
  await session.close()
})

test('a session that falls silent is gone, one that is idle is kept', async () => {
  const [silent, idle] = [open({ timeoutMs: 400 }), open({ timeoutMs: 400 })]
  success(await silent.call(request.create('/silent', '', Flag.ephemeral)))
  success(await idle.call(request.create('/idle', '', Flag.ephemeral)))
  const gone = new Promise<void>((resolve) => {
    const watching = open({ onEvent: () => void watching.close().then(() => resolve()) })
    void watching.call(request.exists('/silent', true)).then(() => silent.abandon())
  })
  await gone
  success(await idle.call(request.get('/idle')))
  assert.equal(idle.moves, 0)
  await idle.close()
})

import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { type TestContext, test } from 'node:test'
import { type BenchFlags, runBench } from '../../src/cli/bench.ts'
import { Session } from '../../src/client/session.ts'
import { scratchDir } from '../support/disk-scratch.ts'
import { startInProcess } from '../support/in-process.ts'
import { connect, within } from '../support/raw-client.ts'
import { session as handshake, optionsFor, scriptedServer } from '../support/scripted-server.ts'

const flags: BenchFlags = {
  mode: 'load',
  connections: '2',
  depth: '3',
  seconds: '0.1',
  warmUp: '0',
  mix: 'get=9,set=1',
  keys: '20',
  valueSize: '10',
  batch: '2',
  threads: '1',
  sessions: '5',
  inProgress: '2',
  prefix: '/zabd-bench',
  sessionTimeout: '10000',
}

/** Runs `zabd bench`; `onOut` is called with what it prints, as it is printed. */
async function bench(
  address: string,
  changes: Partial<BenchFlags> = {},
  onOut: (events: EventEmitter) => void = () => {},
) {
  const events = new EventEmitter()
  const seen = { out: '', err: '', exits: [] as number[] }
  const code = await within(
    runBench(
      address,
      { ...flags, ...changes },
      {
        out: (text) => {
          seen.out += text
          onOut(events)
        },
        err: (text) => {
          seen.err += text
        },
        events,
        exit: (exitCode) => seen.exits.push(exitCode),
      },
    ),
    'the benchmark ends',
  )
  assert.deepEqual([events.listenerCount('SIGINT'), events.listenerCount('SIGTERM')], [0, 0])
  const clean = (text: string) => text.replaceAll(address, 'HOST')
  return { ...seen, code, out: clean(seen.out), err: clean(seen.err) }
}

async function serve(t: TestContext) {
  const { port } = await startInProcess(t, await scratchDir(t))
  const session = await Session.open(optionsFor(port))
  t.after(() => session.close())
  return { address: `127.0.0.1:${port}`, port, session }
}

/** A table with its figures replaced. */
function shape(text: string): string {
  return text.replaceAll(/ +\d[\d,.]*/g, ' #').replaceAll(/ {2,}/g, ' ')
}

test('bench: a table for people, with a row for each operation; the znode of the run is removed', async (t) => {
  const { address, session } = await serve(t)
  const { code, out, err } = await bench(address)
  assert.deepEqual([code, err], [0, ''])
  const [head, empty, columns, ...rest] = out.split('\n')
  assert.equal(
    head,
    '2 connections to HOST, 3 requests under way on each; 20 znodes of 10 B; 0.1 s after 0 s of warm-up',
  )
  assert.deepEqual(
    [empty, columns?.trim().split(/ {2,}/)],
    ['', ['per s', 'mean us', 'p50 us', 'p99 us', 'p99.9 us', 'max us']],
  )
  assert.match(
    shape(rest.join('\n')),
    /^get( #){6}\nset( #){6}\nall( #){6}\n\nlongest time without any reply: # ms\nthis client was at work # %/,
  )
  assert.equal(await session.getData('/zabd-bench'), undefined)
})

test('bench: JSON has the same', async (t) => {
  const { address } = await serve(t)
  const { code, out } = await bench(address, { json: true, mix: 'multi', rate: '100' })
  const { results, ...rest } = JSON.parse(out)
  assert.deepEqual([code, rest.mode, rest.servers, rest.rate], [0, 'load', ['HOST'], 100])
  assert.deepEqual(Object.keys(results[0]), ['name', 'perSecond', 'latencyUs', 'errors'])
  assert.deepEqual(Object.keys(results[0].latencyUs), ['mean', 'p50', 'p99', 'p999', 'max'])
  assert.deepEqual([results.length, results[0].name, results[0].errors, rest.troubles], [1, 'multi', {}, []])
})

test('bench: sessions and watches have a mode of their own', async (t) => {
  const { address, session } = await serve(t)
  const sessions = await bench(address, { mode: 'sessions' })
  assert.deepEqual([sessions.code, sessions.err], [0, ''])
  assert.match(shape(sessions.out), /^5 sessions to HOST, at most # in progress\n[\s\S]*\nsession( #){6}\n/)
  const watches = await bench(address, { mode: 'watches' })
  assert.deepEqual([watches.code, watches.err], [0, ''])
  assert.match(shape(watches.out), /^2 connections to HOST that watch one znode, .*\n[\s\S]*\nevent( #){6}\n/)
  assert.equal(await session.getData('/zabd-bench'), undefined)
})

test('bench: SIGINT ends it early, with a result and nothing left behind; a second one ends it at once', async (t) => {
  const { address, session } = await serve(t)
  const { code, out, exits } = await bench(address, { seconds: '600', warmUp: '600' }, (events) =>
    events.emit('SIGINT'),
  )
  assert.deepEqual([code, exits], [0, [1]])
  assert.match(out, /\nall /)
  assert.equal(await session.getData('/zabd-bench'), undefined)
})

test('bench: several servers are used in turn, and one that is out of reach is named', async (t) => {
  const { address, session } = await serve(t)
  const both = await bench(`${address},${address}`)
  assert.equal(both.code, 0)
  const { code, err } = await bench(`${address}, 127.0.0.1:1`)
  assert.deepEqual([code, err], [1, 'zabd: 127.0.0.1:1: nothing listens there\n'])
  assert.equal(await session.getData('/zabd-bench'), undefined)
})

test('bench: a znode that it did not make is left alone', async (t) => {
  const { address, session } = await serve(t)
  await session.create('/mine', Buffer.from('precious'))
  const { code, out, err } = await bench(address, { prefix: '/mine' })
  assert.deepEqual([code, out], [1, ''])
  assert.match(err, /^zabd: \/mine is there already and was not made by zabd bench: it is left alone/)
  assert.equal((await bench(address, { prefix: '/mine', clean: true })).code, 1)
  assert.deepEqual((await session.getData('/mine'))?.toString(), 'precious')
})

test('bench: --clean removes what is left, and says if there is nothing', async (t) => {
  const { address } = await serve(t)
  const { code, out } = await bench(address, { clean: true })
  assert.deepEqual([code, out], [0, 'there is no /zabd-bench\n'])
})

test('bench: credentials open what is closed to others; without them it says what is missing', async (t) => {
  const { address, port } = await serve(t)
  const owner = await connect({ port })
  t.after(() => owner.close())
  await owner.auth('digest', 'bench:secret')
  await owner.create('/locked', { acl: [{ perms: 31, scheme: 'auth', id: '' }] })
  const refused = await bench(address, { prefix: '/locked/bench' })
  assert.equal(refused.code, 1)
  assert.match(refused.err, /noAuth: .* give credentials with --auth, or another znode with --prefix/)
  const allowed = await bench(address, { prefix: '/locked/bench', auth: ['digest:bench:secret'] })
  assert.deepEqual([allowed.code, allowed.err], [0, ''])
})

test('bench: a server that serves reads only is refused', async (t) => {
  const port = await scriptedServer(t, (socket) => socket.write(handshake(4000, true)))
  const { code, err } = await bench(`127.0.0.1:${port}`)
  assert.equal(code, 1)
  assert.match(err, /^zabd: HOST: the server serves reads only: too few servers/)
})

/** Command lines that can not be used, and what is printed. */
const wrong: readonly (readonly [changes: Partial<BenchFlags>, expected: RegExp])[] = [
  [{ mode: 'fast' }, /--mode fast is not one of load, sessions, watches/],
  [{ connections: '0' }, /--connections 0 is not a whole number from 1 to 60000/],
  [{ seconds: 'ten' }, /--seconds ten is not a number of seconds/],
  [{ mix: 'get=1,put=2' }, /put=2 is not one of get, /],
  [{ mix: 'get=1,get=2' }, /names an operation twice/],
  [{ mix: 'get=0' }, /--mix 0 is not a whole number/],
  [{ prefix: 'bench' }, /--prefix bench is not the path of a znode/],
  [{ prefix: '/' }, /--prefix \/ is not the path of a znode/],
  [{ auth: ['secret'] }, /--auth secret is not like digest:user:password/],
]

test('bench: a wrong command line ends with 2 and says what was expected', async () => {
  for (const [changes, expected] of wrong) {
    const { code, out, err } = await bench('127.0.0.1:1', changes)
    assert.deepEqual([code, out], [2, ''])
    assert.match(err, expected)
  }
  const { code, err } = await bench('a:b')
  assert.deepEqual([code, err], [2, 'zabd: HOST is not an address: expected host:port\n'])
})

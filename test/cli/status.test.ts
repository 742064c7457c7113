import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { test } from 'node:test'
import { parseAddress, runStatus } from '../../src/cli/status.ts'

const srvr = [
  'Zookeeper version: 3.9.4-7246445ec281f3dbf53dc54e970c914f39713903, built on 2025-08-19 19:53 UTC',
  'Latency min/avg/max: 0/2.3453/178',
  'Received: 541',
  'Sent: 587',
  'Connections: 2',
  'Outstanding: 0',
  'Zxid: 0x13b',
  'Mode: leader',
  'Node count: 38',
  'Proposal sizes last/min/max: 36/36/382',
  '',
].join('\n')
const figures = { version: '3.9.4', global_sessions: '4', watch_count: '7', synced_followers: '2' }
const mntrOf = (values: Readonly<Record<string, string | number>>) =>
  Object.entries(values)
    .map(([name, value]) => `zk_${name}\t${value}\n`)
    .join('')
const mntr = mntrOf(figures)
const notServing = 'This ZooKeeper instance is not currently serving requests\n'
const forbidden = (word: string) => `${word} is not executed because it is not in the whitelist.\n`
const why = 'but is not serving: it is starting or stopping, or too few servers of its ensemble are up'

/** Runs `zabd status` against a server with these answers; null: it keeps silent. */
async function status(answers: Readonly<Record<string, string | null>>, json = false) {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('data', (word) => {
      const answer = answers[word.toString()]
      if (answer !== null) socket.end(answer ?? '')
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const silent = Object.values(answers).includes(null)
  const seen = await statusOf(`127.0.0.1:${port}`, json, silent ? 50 : 5000)
  for (const socket of sockets) socket.destroy()
  server.close()
  await once(server, 'close')
  const clean = (text: string) => text.replaceAll(`127.0.0.1:${port}`, 'HOST')
  return { ...seen, out: clean(seen.out), err: clean(seen.err) }
}

async function statusOf(address: string, json: boolean, timeoutMs: number) {
  const seen = { code: -1, out: '', err: '' }
  seen.code = await runStatus(
    { address, json, timeoutMs },
    (text) => {
      seen.out += text
    },
    (text) => {
      seen.err += text
    },
  )
  return seen
}

test('status: a serving server is described for people', async () => {
  assert.deepEqual(await status({ srvr, mntr }), {
    code: 0,
    out: `HOST is serving
  role         leader
  followers    2 up to date
  leads for    0 s
  zxid         0x13b
  connections  2
  sessions     4
  znodes       38
  watches      7
  outstanding  0
  latency      min 0, avg 2.3453, max 178 ms
  version      3.9.4-7246445ec281f3dbf53dc54e970c914f39713903
`,
    err: '',
  })
})

/** The rows between `role` and `zxid`. */
async function memberRows(role: string, values: Readonly<Record<string, string | number>>) {
  const { out } = await status({ srvr: srvr.replace('leader', role), mntr: mntrOf(values) })
  return /role .*\n([\s\S]*?) {2}zxid/.exec(out)?.[1]
}

test('status: a leader tells who follows it, and who of them does not count or is behind', async () => {
  const leader = {
    quorum_size: 5,
    learners: 8,
    synced_followers: 3,
    synced_observers: 2,
    synced_non_voting_followers: 1,
    leader_uptime: 90_061_000,
    uptime: 727_999,
  }
  assert.equal(
    await memberRows('leader', leader),
    `  voters       5
  followers    3 of 4 up to date
  observers    2 up to date
  not members  1 up to date
  catching up  2
  leads for    1 d 1 h
  up for       12 min 7 s
`,
  )
})

test('status: a follower tells how many vote', async () => {
  const follower = { quorum_size: 3, uptime: 59_000 }
  assert.equal(await memberRows('follower', follower), '  voters       3\n  up for       59 s\n')
})

test('status: several servers get a line each; exit code 0 only if all serve', async (t) => {
  const ports: number[] = []
  for (const answer of [srvr, srvr.replace('leader', 'follower'), notServing]) {
    const server = createServer((socket) => {
      socket.on('data', (word) => socket.end({ srvr: answer, mntr, ruok: 'imok' }[word.toString()] ?? ''))
    })
    t.after(() => server.close())
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    ports.push((server.address() as AddressInfo).port)
  }
  const lines = ({ out }: { out: string }) => out.replaceAll(/127.0.0.1:\d+ +/g, 'HOST ').split('\n')
  const [leader, follower, silent] = ports
  const well = await statusOf(`${leader},${follower}`, false, 5000)
  const described = [
    'HOST leader      zxid 0x13b, 2 connections, latency 2.3453 ms, 2 followers up to date',
    'HOST follower    zxid 0x13b, 2 connections, latency 2.3453 ms',
  ]
  assert.deepEqual([well.code, well.err, lines(well)], [0, '', [...described, '']])
  const notAll = await statusOf(`${leader}, ${follower}, ${silent}`, false, 5000)
  assert.deepEqual([notAll.code, lines(notAll)], [1, [...described, `HOST runs, ${why}`, '']])
  const json = await statusOf(`${leader},${silent}`, true, 5000)
  assert.deepEqual(
    json.out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).serving),
    [true, false],
  )
  const wrong = await statusOf(`${leader},a:0`, false, 5000)
  assert.deepEqual([wrong.code, wrong.out], [2, ''])
})

test('status: where mntr is not allowed, srvr is enough', async () => {
  const { code, out } = await status({ srvr, mntr: forbidden('mntr') })
  assert.equal(code, 0)
  assert.doesNotMatch(out, /sessions|watches|followers/)
  assert.match(out, /role {9}leader\n/)
})

test('status: JSON has the same and everything of mntr', async () => {
  const { code, out, err } = await status({ srvr, mntr }, true)
  assert.deepEqual([code, err], [0, ''])
  assert.deepEqual(JSON.parse(out), {
    address: 'HOST',
    serving: true,
    role: 'leader',
    zxid: '0x13b',
    connections: 2,
    znodes: 38,
    outstanding: 0,
    latencyMs: { min: 0, avg: 2.3453, max: 178 },
    version: '3.9.4-7246445ec281f3dbf53dc54e970c914f39713903',
    metrics: figures,
  })
})

const notWell: readonly (readonly [
  fact: string,
  answers: Readonly<Record<string, string | null>>,
  expected: string,
])[] = [
  ['a server that does not serve', { srvr: notServing, ruok: 'imok' }, `HOST runs, ${why}\n`],
  [
    'a server that does not serve and forbids ruok',
    { srvr: notServing, ruok: forbidden('ruok') },
    `HOST answers, ${why}\n`,
  ],
  [
    'a server that forbids srvr',
    { srvr: forbidden('srvr') },
    'HOST answers, but does not allow the word srvr: add it to 4lw.commands.whitelist\n',
  ],
  [
    'a server of another kind',
    { srvr: 'HTTP/1.1 400\n' },
    'HOST answers, but not like a ZooKeeper server: is this its plain client port?\n',
  ],
  [
    'a server that just closes',
    {},
    'HOST answers, but not like a ZooKeeper server: is this its plain client port?\n',
  ],
  ['a server that keeps silent', { srvr: null }, 'HOST can not be reached: no answer within 50 ms\n'],
]

for (const [fact, answers, expected] of notWell) {
  test(`status: ${fact} gives exit code 1 and the reason`, async () => {
    assert.deepEqual(await status(answers), { code: 1, out: '', err: expected })
  })
}

test('status: JSON says the reason, too', async () => {
  const { code, out } = await status({ srvr: notServing, ruok: 'imok' }, true)
  assert.deepEqual([code, JSON.parse(out)], [1, { address: 'HOST', serving: false, error: `runs, ${why}` }])
})

test('status: a port on which nothing listens gives exit code 1', async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  assert.deepEqual(await statusOf(`127.0.0.1:${port}`, false, 5000), {
    code: 1,
    out: '',
    err: `127.0.0.1:${port} can not be reached: nothing listens there\n`,
  })
})

test('status: an address may leave out host or port', () => {
  const expected = {
    '127.0.0.1:2182': { host: '127.0.0.1', port: 2182 },
    'zk1.example.org': { host: 'zk1.example.org', port: 2181 },
    '2182': { host: '127.0.0.1', port: 2182 },
    ':2182': { host: '127.0.0.1', port: 2182 },
    '[::1]:2182': { host: '::1', port: 2182 },
    '[::1]': { host: '::1', port: 2181 },
    '': undefined,
    'a:b': undefined,
    'a:': undefined,
    '::1': undefined,
    'a:0': undefined,
    'a:70000': undefined,
    'a b:1': undefined,
  }
  assert.deepEqual(
    Object.fromEntries(Object.keys(expected).map((text) => [text, parseAddress(text)])),
    expected,
  )
})

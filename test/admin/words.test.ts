// The expected texts are those of Apache ZooKeeper 3.9.4 in the same state, but for the version and the directories.
import assert from 'node:assert/strict'
import test from 'node:test'
import { answer, argumentBytes, fourLetterWord, type Word, words } from '../../src/admin/words.ts'
import type { Inspection } from '../../src/node/inspect.ts'
import {
  fakeConnection,
  fakeHost,
  fakeInspector,
  fakeMember,
  idle,
  wordsConfig,
} from '../support/inspection.ts'

const sessionA = 0x10000151e5a0000
const sessionB = 0x30000151e5d0000
const versionLine = 'Zookeeper version: 3.9.4-zabd-0.1.0, built on 2026-11-22 20:10 UTC\n'
const at = (second: number) => Date.UTC(2026, 10, 22, 20, 0, second)

const leader: Inspection = {
  ...idle,
  state: 'leader',
  serverId: 3,
  leaderId: 3,
  quorumSize: 3,
  leading: {
    learners: 3,
    syncedFollowers: 2,
    syncedNonVotingFollowers: 0,
    syncedObservers: 1,
    pendingSyncs: 0,
    uptimeMs: 43917,
  },
  received: 312,
  sent: 313,
  avgLatency: 3.04516129,
  maxLatency: 37,
  connections: 2,
  lastZxid: 0x100000138,
  znodes: 11,
  lastProposalSize: 36,
  minProposalSize: 36,
  maxProposalSize: 259,
  digests: [
    { zxid: 0x100000080, digest: '15169026858' },
    { zxid: 0x100000100, digest: '17566207614' },
  ],
}
const follower: Inspection = {
  ...leader,
  state: 'follower',
  serverId: 1,
  leading: undefined,
  peerState: 'following - broadcast',
}
const readOnly: Inspection = { ...follower, state: 'read-only', readOnly: true }
const looking: Inspection = { ...idle, state: 'looking', serving: false }

/** The connection that asks, and one that has worked. */
const connections = [
  fakeConnection({ remotePort: 45442, received: 1, reading: false, expiresAt: at(39) }),
  fakeConnection({
    remotePort: 44076,
    received: 310,
    sent: 312,
    sessionId: sessionB,
    lastOperation: 'PING',
    establishedAt: 1795377614176,
    timeoutMs: 20000,
    lastXid: 0x133,
    lastZxid: 0x100000138,
    lastResponseTime: 1422735.25,
    avgLatency: 3.9,
    maxLatency: 37,
    expiresAt: at(49),
  }),
]

const lists = {
  connections: () => connections,
  watchSummary: () => ({ connections: 1, paths: 2, watches: 2 }),
  watchesBySession: () => new Map([[sessionA, ['/a-1', '/x']]]),
  watchesByPath: () =>
    new Map([
      ['/a-1', [sessionA, sessionB]],
      ['/x', [sessionA]],
    ]),
  sessionExpiry: () =>
    new Map([
      [at(43), [sessionA]],
      [at(35), [sessionB]],
    ]),
  localSessionExpiry: () => new Map([[at(35), [0x40000151fd90000]]]),
  sessions: () =>
    new Map([
      [sessionB, 20000],
      [sessionA, 30000],
    ]),
  ephemerals: () =>
    new Map([
      [sessionB, ['/eph2-3', '/eph-3']],
      [sessionA, ['/eph-1']],
    ]),
  membership: () => 'server.1=127.0.0.1:2888:3888:participant;127.0.0.1:2181\nversion=0',
}

function ask(word: Word, now: Inspection, config = wordsConfig): string {
  return answer(word, fakeInspector(now, lists), config, undefined, fakeHost)
}

test('each word is known by its four bytes, and nothing else is', () => {
  for (const word of words) {
    const bytes = Buffer.from(word)
    assert.equal(fourLetterWord(bytes.readInt32BE()), word)
    assert.equal(fourLetterWord(new DataView(bytes.buffer, bytes.byteOffset).getUint32(0)), word)
  }
  for (const other of ['kill', 'RUOK', 'orst', 'lsnp', 'icfg', 'obsr', '\0\0\0\x2c']) {
    assert.equal(fourLetterWord(Buffer.from(other, 'latin1').readInt32BE()), undefined)
  }
  assert.equal(fourLetterWord(-1), undefined)
})

test('a word that is not whitelisted says so and does nothing', () => {
  const config = { ...wordsConfig, fourLetterWords: new Set(['ruok']) }
  const inspector = fakeInspector(idle)
  assert.equal(
    answer('srst', inspector, config),
    'srst is not executed because it is not in the whitelist.\n',
  )
  assert.deepEqual(inspector.calls, [])
  assert.equal(answer('ruok', inspector, config), 'imok')
})

test('srvr is allowed without being listed, isro only in a server with read-only mode', () => {
  const config = { ...wordsConfig, fourLetterWords: new Set<string>() }
  assert.match(ask('srvr', idle, config), /^Zookeeper version: /)
  assert.match(ask('isro', idle, config), /not in the whitelist/)
  assert.equal(ask('isro', idle, { ...config, readOnlyModeEnabled: true }), 'rw')
})

test('a server that is not serving answers only ruok, isro, envi, gtmk and stmk', () => {
  const anytime = ['ruok', 'isro', 'envi', 'gtmk', 'stmk']
  for (const word of words.filter((word) => !anytime.includes(word))) {
    const end = word === 'hash' ? '' : '\n'
    assert.equal(ask(word, looking), `This ZooKeeper instance is not currently serving requests${end}`, word)
  }
  assert.equal(ask('ruok', looking), 'imok')
  assert.equal(ask('isro', looking), 'null')
  assert.equal(ask('gtmk', looking), '306')
  assert.equal(ask('envi', looking), ask('envi', idle))
})

test('isro tells rw or ro', () => {
  assert.equal(ask('isro', follower), 'rw')
  assert.equal(ask('isro', readOnly), 'ro')
})

test('srvr of a fresh standalone server', () => {
  assert.equal(
    ask('srvr', { ...idle, received: 2, sent: 1 }),
    `${versionLine}Latency min/avg/max: 0/0.0/0
Received: 2
Sent: 1
Connections: 1
Outstanding: 0
Zxid: 0x0
Mode: standalone
Node count: 5
`,
  )
})

test('srvr of a leader ends with the sizes of its proposals', () => {
  assert.equal(
    ask('srvr', leader),
    `${versionLine}Latency min/avg/max: 0/3.0452/37
Received: 312
Sent: 313
Connections: 2
Outstanding: 0
Zxid: 0x100000138
Mode: leader
Node count: 11
Proposal sizes last/min/max: 36/36/259
`,
  )
})

test('srvr of a leader before its first proposal shows -1', () => {
  const fresh = { ...leader, lastProposalSize: -1, minProposalSize: -1, maxProposalSize: -1 }
  assert.match(ask('srvr', fresh), /\nProposal sizes last\/min\/max: -1\/-1\/-1\n$/)
})

test('stat is srvr with the clients, whose own connection has no interest', () => {
  assert.equal(
    ask('stat', follower),
    `${versionLine}Clients:
 /127.0.0.1:45442[0](queued=0,recved=1,sent=0)
 /127.0.0.1:44076[1](queued=0,recved=310,sent=312)

Latency min/avg/max: 0/3.0452/37
Received: 312
Sent: 313
Connections: 2
Outstanding: 0
Zxid: 0x100000138
Mode: follower
Node count: 11
`,
  )
})

test('stat of a read-only server says so before the clients', () => {
  assert.equal(
    ask('stat', readOnly),
    `${versionLine}READ-ONLY mode; serving only read-only clients
Clients:
 /127.0.0.1:45442[0](queued=0,recved=1,sent=0)
 /127.0.0.1:44076[1](queued=0,recved=310,sent=312)

Latency min/avg/max: 0/3.0452/37
Received: 312
Sent: 313
Connections: 2
Outstanding: 0
Zxid: 0x100000138
Mode: read-only
Node count: 11
`,
  )
})

test('cons shows sessions in full, connections without one in short', () => {
  assert.equal(
    ask('cons', leader),
    ` /127.0.0.1:45442[0](queued=0,recved=1,sent=0)
 /127.0.0.1:44076[1](queued=0,recved=310,sent=312,sid=0x30000151e5d0000,lop=PING,est=1795377614176,to=20000,lcxid=0x133,lzxid=0x100000138,lresp=1422735,llat=0,minlat=0,avglat=3,maxlat=37)

`,
  )
})

test('cons leaves out lcxid before the first request and shows a waiting write', () => {
  const connection = fakeConnection({ sessionId: sessionA, timeoutMs: 4000, outstanding: 2, writing: true })
  assert.equal(
    answer('cons', fakeInspector(idle, { connections: () => [connection] }), wordsConfig),
    ' /127.0.0.1:34058[5](queued=2,recved=0,sent=0,sid=0x10000151e5a0000,lop=NA,est=1795377614022,to=4000,lzxid=0xffffffffffffffff,lresp=0,llat=0,minlat=0,avglat=0,maxlat=0)\n\n',
  )
})

test('cons without connections is an empty line', () => {
  assert.equal(answer('cons', fakeInspector(idle), wordsConfig), '\n')
})

const dumpTail = `ephemeral nodes dump:
Sessions with Ephemerals (2):
0x30000151e5d0000:
\t/eph2-3
\t/eph-3
0x10000151e5a0000:
\t/eph-1
Connections dump:
Connections Sets (2)/(2):
1 expire at Sun Nov 22 20:00:39 UTC 2026:
\tip: /127.0.0.1:45442 sessionId: 0x0
1 expire at Sun Nov 22 20:00:49 UTC 2026:
\tip: /127.0.0.1:44076 sessionId: 0x30000151e5d0000
`
const expiryDump = `Session Sets (2)/(2):
1 expire at Sun Nov 22 20:00:35 UTC 2026:
\t0x30000151e5d0000
1 expire at Sun Nov 22 20:00:43 UTC 2026:
\t0x10000151e5a0000
`
const localDump = `Local Session Sets (1)/(1):
1 expire at Sun Nov 22 20:00:35 UTC 2026:
\t0x40000151fd90000
`
const timeoutDump = `Global Sessions(2):
0x10000151e5a0000\t30000ms
0x30000151e5d0000\t20000ms
`

test('dump of a standalone server or a leader shows when sessions expire, by time', () => {
  assert.equal(ask('dump', idle), `SessionTracker dump:\n${expiryDump}${dumpTail}`)
  assert.equal(ask('dump', leader), `SessionTracker dump:\n${expiryDump}${dumpTail}`)
})

test('dump of a follower shows the timeouts of all sessions, by id', () => {
  assert.equal(ask('dump', follower), `SessionTracker dump:\n${timeoutDump}${dumpTail}`)
  assert.equal(ask('dump', readOnly), `SessionTracker dump:\n${timeoutDump}${dumpTail}`)
})

test('dump shows local sessions first where an ensemble has them', () => {
  const config = { ...wordsConfig, localSessionsEnabled: true }
  assert.equal(
    ask('dump', leader, config),
    `SessionTracker dump:\n${localDump}Global ${expiryDump}${dumpTail}`,
  )
  assert.equal(ask('dump', follower, config), `SessionTracker dump:\n${localDump}${timeoutDump}${dumpTail}`)
  assert.equal(ask('dump', idle, config), `SessionTracker dump:\n${expiryDump}${dumpTail}`)
})

test('dump of an idle server has empty sets', () => {
  assert.equal(
    answer('dump', fakeInspector(idle), wordsConfig),
    'SessionTracker dump:\nSession Sets (0)/(0):\nephemeral nodes dump:\nSessions with Ephemerals (0):\nConnections dump:\nConnections Sets (0)/(0):\n',
  )
})

const confBasics = `clientPort=2181
secureClientPort=-1
dataDir=/var/lib/zabd
dataDirSize=478
dataLogDir=/var/log/zabd
dataLogSize=67109358
tickTime=2000
maxClientCnxns=60
minSessionTimeout=4000
maxSessionTimeout=40000
clientPortListenBacklog=-1
serverId=1
`
const confEnsemble = `initLimit=10
syncLimit=5
electionAlg=3
electionPort=3888
quorumPort=2888
peerType=0
`

test('conf of a standalone server', () => {
  assert.equal(ask('conf', idle), confBasics)
})

test('conf in an ensemble ends with the membership, without a final newline', () => {
  assert.equal(
    ask('conf', follower),
    `${confBasics}${confEnsemble}membership: \nserver.1=127.0.0.1:2888:3888:participant;127.0.0.1:2181\nversion=0`,
  )
})

test('conf of a read-only server has no membership', () => {
  assert.equal(ask('conf', readOnly), confBasics + confEnsemble)
})

test('conf of an observer has its own ports and peerType 1', () => {
  const inspector = fakeInspector(
    { ...follower, state: 'observer' },
    { ...lists, member: () => fakeMember(4, true) },
  )
  const text = answer('conf', inspector, wordsConfig)
  assert.match(text, /\nelectionPort=3891\nquorumPort=2891\npeerType=1\nmembership: \n/)
})

test('wchs, wchc and wchp list the data watches', () => {
  assert.equal(ask('wchs', idle), '1 connections watching 2 paths\nTotal watches:2\n')
  assert.equal(ask('wchc', idle), '0x10000151e5a0000\n\t/a-1\n\t/x\n\n')
  assert.equal(
    ask('wchp', idle),
    '/a-1\n\t0x10000151e5a0000\n\t0x30000151e5d0000\n/x\n\t0x10000151e5a0000\n\n',
  )
})

test('wchc and wchp without watches are an empty line', () => {
  assert.equal(answer('wchc', fakeInspector(idle), wordsConfig), '\n')
  assert.equal(answer('wchp', fakeInspector(idle), wordsConfig), '\n')
})

test('hash lists the digests, and nothing before the first', () => {
  assert.equal(ask('hash', leader), '100000080: 15169026858\n100000100: 17566207614\n')
  assert.equal(ask('hash', idle), '')
})

test('dirs tells both sizes', () => {
  assert.equal(ask('dirs', idle), 'datadir_size: 478\nlogdir_size: 67109358\n')
})

test('crst and srst reset what they say', () => {
  const inspector = fakeInspector(idle)
  assert.equal(answer('crst', inspector, wordsConfig), 'Connection stats reset.\n')
  assert.deepEqual(inspector.calls, ['resetConnectionStats'])
  assert.equal(answer('srst', inspector, wordsConfig), 'Server stats reset.\n')
  assert.deepEqual(inspector.calls, ['resetConnectionStats', 'resetServerStats'])
})

test('stmk sets the mask that gtmk tells, a signed 64-bit number', () => {
  const inspector = fakeInspector(idle)
  assert.equal(answer('stmk', inspector, wordsConfig, Buffer.from('0000000000000133', 'hex')), '307')
  assert.equal(answer('gtmk', inspector, wordsConfig), '307')
  assert.equal(answer('stmk', inspector, wordsConfig, Buffer.from('ffffffffffffffff', 'hex')), '-1')
  assert.equal(answer('gtmk', inspector, wordsConfig), '-1')
})

test('stmk cut short changes nothing', () => {
  const inspector = fakeInspector(idle)
  assert.equal(answer('stmk', inspector, wordsConfig, Buffer.alloc(7)), '')
  assert.equal(answer('gtmk', inspector, wordsConfig), '306')
})

test('only an allowed stmk has bytes behind the word', () => {
  assert.equal(argumentBytes('stmk', wordsConfig), 8)
  assert.equal(argumentBytes('stmk', { ...wordsConfig, fourLetterWords: new Set(['gtmk']) }), 0)
  assert.equal(argumentBytes('gtmk', wordsConfig), 0)
})

test('envi names the version and then the process and its machine', () => {
  assert.equal(
    ask('envi', idle),
    `Environment:
zookeeper.version=3.9.4-zabd-0.1.0, built on 2026-11-22 20:10 UTC
host.name=zk1
java.version=v20.20.2
`,
  )
})

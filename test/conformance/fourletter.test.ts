// Four-letter words: exact shapes that monitoring relies on, and the whitelist (semantics.md 14).
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Encoder, Flag, ok, openAcl, type RawClient } from '../support/raw-client.ts'
import { sharedServer } from '../support/server.ts'

const zk = sharedServer()

async function ask(word: string | Buffer): Promise<string> {
  return (await zk.exchange(word)).toString()
}

function sidOf(client: RawClient): string {
  return `0x${client.session.sessionId.toString(16)}`
}

const versionLine = /^Zookeeper version: \d+\.\d+\.\d+\S*, built on \S.*$/
const latencyLine = /^Latency min\/avg\/max: \d+\/\d+(\.\d{1,4})?\/\d+$/

/** The lines that srvr and stat share, from the latency on. */
function assertServerLines(lines: readonly string[]): void {
  const [latency, received, sent, connections, outstanding, zxid, mode, nodes, ...rest] = lines
  assert.match(latency ?? '', latencyLine)
  assert.match(received ?? '', /^Received: \d+$/)
  assert.match(sent ?? '', /^Sent: \d+$/)
  assert.match(connections ?? '', /^Connections: \d+$/)
  assert.match(outstanding ?? '', /^Outstanding: \d+$/)
  assert.match(zxid ?? '', /^Zxid: 0x[0-9a-f]+$/)
  assert.equal(mode, 'Mode: standalone')
  assert.match(nodes ?? '', /^Node count: \d+$/)
  assert.deepEqual(rest, [''])
}

describe('how words are asked', () => {
  test('the server closes after the answer', async () => {
    assert.equal(await ask('ruok'), 'imok')
  })

  test('a newline behind the word does no harm', async () => {
    assert.equal(await ask('ruok\n'), 'imok')
    assert.equal(await ask('ruok\r\n'), 'imok')
  })

  test('a word may arrive in two pieces', async () => {
    const client = await zk.dial()
    client.sendRaw(Buffer.from('ru'))
    await new Promise((resolve) => setImmediate(resolve))
    client.sendRaw(Buffer.from('ok'))
    await assert.rejects(client.closed(), /frame of/)
    assert.equal(client.bytesReceived, 4)
  })

  test('an unknown word is a frame length, too long: closed without an answer', async () => {
    assert.equal(await ask('xxxx'), '')
    assert.equal(await ask('RUOK'), '')
  })

  test('behind a handshake a word is a frame length, too long: closed', async () => {
    const client = await zk.connect()
    client.sendRaw(Buffer.from('ruok'))
    await client.closed()
    assert.deepEqual(client.frames, [])
  })

  test('a word takes no zxid and opens no session', async () => {
    const client = await zk.connect()
    const { zxid } = await client.ping()
    await ask('srvr')
    assert.equal((await client.ping()).zxid, zxid)
  })
})

describe('the whitelist', () => {
  const plain = sharedServer({ '4lw.commands.whitelist': 'srvr, ruok' })

  test('a listed word is answered', async () => {
    assert.equal((await plain.exchange('ruok')).toString(), 'imok')
  })

  for (const word of [
    'stat',
    'cons',
    'dump',
    'mntr',
    'envi',
    'conf',
    'isro',
    'crst',
    'wchs',
    'dirs',
    'gtmk',
  ]) {
    test(`${word} is refused if it is not listed`, async () => {
      assert.equal(
        (await plain.exchange(word)).toString(),
        `${word} is not executed because it is not in the whitelist.\n`,
      )
    })
  }

  test('an unknown word gets no such answer', async () => {
    assert.equal((await plain.exchange('xxxx')).toString(), '')
  })
})

describe('srvr and stat', () => {
  test('srvr has its nine lines in order', async () => {
    const [version, ...lines] = (await ask('srvr')).split('\n')
    assert.match(version ?? '', versionLine)
    assertServerLines(lines)
  })

  test('stat has the connections behind the version, then a blank line', async () => {
    await zk.connect()
    const [version, heading, ...rest] = (await ask('stat')).split('\n')
    assert.match(version ?? '', versionLine)
    assert.equal(heading, 'Clients:')
    const blank = rest.indexOf('')
    assert.equal(blank, 2)
    for (const line of rest.slice(0, blank)) {
      assert.match(line, /^ \/127\.0\.0\.1:\d+\[\d\]\(queued=\d+,recved=\d+,sent=\d+\)$/)
    }
    assertServerLines(rest.slice(blank + 1))
  })

  test('srvr shows the last zxid and the number of nodes', async () => {
    const client = await zk.connect()
    const { zxid } = await client.create('/counted')
    const text = await ask('srvr')
    assert.match(text, new RegExp(`^Zxid: 0x${zxid.toString(16)}$`, 'm'))
    const before = Number(/^Node count: (\d+)$/m.exec(text)?.[1])
    await ok(client.create('/counted/c'))
    assert.match(await ask('srvr'), new RegExp(`^Node count: ${before + 1}$`, 'm'))
  })

  test('Connections counts the asking one too', async () => {
    await zk.connect()
    await zk.connect()
    assert.match(await ask('srvr'), /^Connections: 3$/m)
  })

  test('Received and Sent grow with requests, and are reset by srst', async () => {
    const client = await zk.connect()
    for (let i = 0; i < 20; i++) await ok(client.exists('/'))
    const received = async () => Number(/^Received: (\d+)$/m.exec(await ask('srvr'))?.[1])
    const before = await received()
    assert.ok(before >= 20)
    assert.equal(await ask('srst'), 'Server stats reset.\n')
    assert.ok((await received()) < before)
  })
})

describe('cons', () => {
  test('has a line per connection with its session, then a blank line', async () => {
    const client = await zk.connect({ timeout: 12_345 })
    await ok(client.exists('/'))
    const { zxid } = await client.create('/cons')
    const text = await ask('cons')
    assert.ok(text.endsWith('\n\n'))
    const line = text.split('\n').find((one) => one.includes(client.localAddress))
    const match =
      /^ \/([\d.]+:\d+)\[1\]\(queued=\d+,recved=3,sent=3,sid=(0x[0-9a-f]+),lop=CREA,est=\d{13},to=12345,lcxid=0x2,lzxid=(0x[0-9a-f]+),lresp=\d+,llat=\d+,minlat=\d+,avglat=\d+,maxlat=\d+\)$/.exec(
        line ?? '',
      )
    assert.ok(match !== null, line)
    assert.deepEqual(match.slice(1), [client.localAddress, sidOf(client), `0x${zxid.toString(16)}`])
  })

  test('has the short form for the asking connection, which has no session', async () => {
    assert.match(await ask('cons'), /^ \/127\.0\.0\.1:\d+\[0\]\(queued=0,recved=1,sent=0\)\n\n$/)
  })

  for (const [lop, send] of [
    ['PING', (c: RawClient) => c.ping()],
    ['EXIS', (c: RawClient) => c.exists('/')],
    ['GETD', (c: RawClient) => c.getData('/')],
    ['SETD', (c: RawClient) => c.setData('/', 'x')],
    ['GETA', (c: RawClient) => c.getAcl('/')],
    ['SETA', (c: RawClient) => c.setAcl('/', openAcl)],
    ['GETC', (c: RawClient) => c.getChildren('/')],
    ['SYNC', (c: RawClient) => c.sync('/')],
    ['MULT', (c: RawClient) => c.multi([])],
    ['MLTR', (c: RawClient) => c.multiRead([])],
    ['SETW', (c: RawClient) => c.setWatches(0n, {})],
    ['STW2', (c: RawClient) => c.setWatches2(0n, {})],
    ['ADDW', (c: RawClient) => c.addWatch('/', 0)],
    ['CHKW', (c: RawClient) => c.checkWatches('/', 3)],
    ['REMW', (c: RawClient) => c.removeWatches('/', 3)],
    ['GETE', (c: RawClient) => c.getEphemerals('/')],
    ['GETACN', (c: RawClient) => c.getAllChildrenNumber('/')],
    ['HOMI', (c: RawClient) => c.whoAmI()],
  ] as const) {
    test(`names the last operation ${lop}`, async () => {
      const client = await zk.connect()
      await send(client)
      const line = (await ask('cons')).split('\n').find((one) => one.includes(client.localAddress))
      assert.equal(/lop=(\w+)/.exec(line ?? '')?.[1], lop)
    })
  }

  test('names the last operation DELE', async () => {
    const client = await zk.connect()
    await ok(client.create('/lop'))
    await ok(client.delete('/lop'))
    const line = (await ask('cons')).split('\n').find((one) => one.includes(client.localAddress))
    assert.equal(/lop=(\w+)/.exec(line ?? '')?.[1], 'DELE')
  })

  test('crst resets the counters of the connections', async () => {
    const client = await zk.connect()
    await ok(client.exists('/'))
    assert.equal(await ask('crst'), 'Connection stats reset.\n')
    const line = (await ask('cons')).split('\n').find((one) => one.includes(client.localAddress))
    assert.match(line ?? '', /\(queued=0,recved=0,sent=0,sid=0x[0-9a-f]+,lop=NA,/)
  })
})

describe('dump', () => {
  test('lists sessions by expiry, ephemerals by session, connections by expiry', async () => {
    const client = await zk.connect()
    await ok(client.create('/dump', { flags: Flag.ephemeral }))
    const text = await ask('dump')
    assert.match(
      text,
      /^SessionTracker dump:\nSession Sets \(\d+\)\/\(\d+\):\n(\d+ expire at .+:\n(\t0x[0-9a-f]+\n)*)*ephemeral nodes dump:\nSessions with Ephemerals \(1\):\n0x[0-9a-f]+:\n\t\/dump\nConnections dump:\nConnections Sets \(\d+\)\/\(\d+\):\n(\d+ expire at .+:\n(\tip: \/127\.0\.0\.1:\d+ sessionId: 0x[0-9a-f]+\n)*)*$/,
    )
    assert.ok(text.includes(`\t${sidOf(client)}\n`))
    assert.ok(text.includes(`${sidOf(client)}:\n\t/dump\n`))
    assert.ok(text.includes(`\tip: /${client.localAddress} sessionId: ${sidOf(client)}\n`))
  })
})

describe('watches', () => {
  test('wchs counts connections, paths and watches', async () => {
    const [a, b] = [await zk.connect(), await zk.connect()]
    await ok(a.getData('/', true))
    await a.exists('/wchs-missing', true)
    await ok(b.getData('/', true))
    assert.equal(await ask('wchs'), '2 connections watching 2 paths\nTotal watches:3\n')
  })

  test('wchs without watches is all zeros', async () => {
    assert.equal(await ask('wchs'), '0 connections watching 0 paths\nTotal watches:0\n')
  })

  test('wchc lists paths by session', async () => {
    const client = await zk.connect()
    await ok(client.getData('/', true))
    assert.equal(await ask('wchc'), `${sidOf(client)}\n\t/\n\n`)
  })

  test('wchp lists sessions by path', async () => {
    const client = await zk.connect()
    await ok(client.getData('/zookeeper', true))
    assert.equal(await ask('wchp'), `/zookeeper\n\t${sidOf(client)}\n\n`)
  })

  test('wchc and wchp without watches are a newline', async () => {
    assert.equal(await ask('wchc'), '\n')
    assert.equal(await ask('wchp'), '\n')
  })
})

describe('settings and small words', () => {
  test('isro: rw, without a newline', async () => {
    assert.equal(await ask('isro'), 'rw')
  })

  test('conf lists the settings', async () => {
    const lines = (await ask('conf')).split('\n')
    assert.equal(lines.pop(), '')
    const settings = new Map(lines.map((line) => line.split('=', 2) as [string, string]))
    assert.deepEqual(
      [...settings.keys()].sort(),
      [
        'clientPort',
        'clientPortListenBacklog',
        'dataDir',
        'dataDirSize',
        'dataLogDir',
        'dataLogSize',
        'maxClientCnxns',
        'maxSessionTimeout',
        'minSessionTimeout',
        'secureClientPort',
        'serverId',
        'tickTime',
      ].sort(),
    )
    const { port, dataDir } = zk.server
    assert.deepEqual(
      ['clientPort', 'tickTime', 'minSessionTimeout', 'maxSessionTimeout', 'maxClientCnxns'].map((key) =>
        Number(settings.get(key)),
      ),
      [port, 2000, 4000, 40_000, 0],
    )
    assert.ok(settings.get('dataDir')?.startsWith(dataDir))
  })

  test('envi starts with the version and lists properties', async () => {
    const [heading, version, ...rest] = (await ask('envi')).split('\n')
    assert.equal(heading, 'Environment:')
    assert.match(version ?? '', /^zookeeper\.version=\d+\.\d+\.\d+/)
    assert.equal(rest.pop(), '')
    for (const line of rest) assert.match(line, /^[\w.]+=/)
    assert.ok(rest.some((line) => line.startsWith('host.name=')))
    assert.ok(rest.some((line) => line.startsWith('os.name=')))
  })

  test('dirs gives the sizes of data and log', async () => {
    assert.match(await ask('dirs'), /^datadir_size: \d+\nlogdir_size: \d+\n$/)
  })

  test('gtmk: 306, without a newline', async () => {
    assert.equal(await ask('gtmk'), '306')
  })

  test('stmk takes a long mask and echoes it in decimal; gtmk then gives it', async () => {
    const setMask = (mask: bigint) => ask(new Encoder().raw(Buffer.from('stmk')).long(mask).bytes())
    assert.equal(await setMask(256n), '256')
    assert.equal(await ask('gtmk'), '256')
    assert.equal(await setMask(306n), '306')
  })

  test('hash is empty or lines of zxid and digest', async () => {
    assert.match(await ask('hash'), /^([0-9a-f]+: \d+\n)*$/)
  })
})

describe('mntr', () => {
  async function metrics(): Promise<Map<string, string>> {
    const lines = (await ask('mntr')).split('\n')
    assert.equal(lines.pop(), '')
    return new Map(
      lines.map((line) => {
        const parts = line.split('\t')
        assert.equal(parts.length, 2, line)
        assert.match(parts[0] ?? '', /^zk_\S+$/)
        return parts as [string, string]
      }),
    )
  }

  test('starts with zk_version and zk_server_state', async () => {
    const [first, second] = [...(await metrics())]
    assert.equal(first?.[0], 'zk_version')
    assert.match(first?.[1] ?? '', /^\d+\.\d+\.\d+\S*, built on /)
    assert.deepEqual(second, ['zk_server_state', 'standalone'])
  })

  for (const name of [
    'avg_latency',
    'min_latency',
    'max_latency',
    'packets_received',
    'packets_sent',
    'num_alive_connections',
    'outstanding_requests',
    'znode_count',
    'watch_count',
    'ephemerals_count',
    'approximate_data_size',
    'open_file_descriptor_count',
    'max_file_descriptor_count',
    'uptime',
    'global_sessions',
    'local_sessions',
    ...[
      'fsynctime',
      'readlatency',
      'updatelatency',
      'election_time',
      'snapshottime',
      'propagation_latency',
    ].flatMap((summary) => [
      `avg_${summary}`,
      `min_${summary}`,
      `max_${summary}`,
      `cnt_${summary}`,
      `sum_${summary}`,
    ]),
  ]) {
    test(`has zk_${name}, a number`, async () => {
      assert.match((await metrics()).get(`zk_${name}`) ?? 'missing', /^-?\d+(\.\d{1,4})?$/)
    })
  }

  test('counts nodes, ephemerals, watches, sessions and connections', async () => {
    const before = await metrics()
    const client = await zk.connect()
    await ok(client.create('/mntr', { flags: Flag.ephemeral }))
    await ok(client.getData('/mntr', true))
    const after = await metrics()
    const grown = (name: string) => Number(after.get(name)) - Number(before.get(name))
    assert.deepEqual(
      [
        'zk_znode_count',
        'zk_ephemerals_count',
        'zk_watch_count',
        'zk_global_sessions',
        'zk_num_alive_connections',
      ].map(grown),
      [1, 1, 1, 1, 1],
    )
  })

  test('approximate_data_size grows with the length of path and data', async () => {
    const client = await zk.connect()
    const size = async () => Number((await metrics()).get('zk_approximate_data_size'))
    const before = await size()
    await ok(client.create('/mntr-size', { data: Buffer.alloc(1000) }))
    assert.equal((await size()) - before, '/mntr-size'.length + 1000)
  })
})

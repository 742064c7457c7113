// The four-letter words over the sockets of a running server: how they may arrive, which are allowed, and what asks
// with them. What each answers is pinned in test/admin and test/conformance.
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { words } from '../../src/admin/words.ts'
import { parseAddress, runStatus } from '../../src/cli/status.ts'
import { issueCertificate } from '../support/certificates.ts'
import { exchange, ok } from '../support/raw-client.ts'
import { type RobustServer, robustServer } from '../support/robust-server.ts'
import { openTls, serverStores } from '../support/robust-tls.ts'
import { hello, Passing, turn } from '../support/robust-wire.ts'

/** Sends pieces one after the other on a connection of its own; gives what comes until the server closes. */
async function ask({ port }: RobustServer, pieces: Iterable<Buffer | string>): Promise<string> {
  const connection = await Passing.dial(port)
  let answer = ''
  connection.socket.on('data', (chunk: Buffer) => {
    answer += chunk
  })
  await connection.sendPieces(Array.from(pieces, (piece) => Buffer.from(piece)))
  await connection.closed()
  return answer
}

const bytesOf = (bytes: Buffer | string) => Array.from(Buffer.from(bytes), (byte) => Buffer.from([byte]))

test('every word is answered, whole or byte by byte, with a newline or without', async (t) => {
  const server = await robustServer(t)
  for (const word of words.filter((word) => word !== 'stmk')) {
    const shape = (answer: string) => answer.replaceAll(/[\d.]+/g, '#').slice(0, 30)
    const whole = await server.word(word)
    if (word !== 'hash') assert.notEqual(whole, '', word)
    assert.equal(shape(await ask(server, bytesOf(word))), shape(whole), `${word} byte by byte`)
    assert.equal(shape(await ask(server, [`${word}\n`])), shape(whole), `${word} with a newline`)
    assert.equal(shape(await ask(server, [word, '\r\n'])), shape(whole), `${word}, then a newline`)
  }
  assert.equal(await server.word('ruok'), 'imok')
  await server.untilFigure('num_alive_connections', 1)
})

test('stmk waits for its eight bytes, however they come', async (t) => {
  const server = await robustServer(t)
  const mask = Buffer.alloc(8)
  mask.writeBigInt64BE(1234567890123n)
  const request = Buffer.concat([Buffer.from('stmk'), mask])
  assert.equal(await server.word('gtmk'), '306')
  assert.equal(await ask(server, [request]), '1234567890123')
  assert.equal(await server.word('gtmk'), '1234567890123')
  mask.writeBigInt64BE(-1n)
  assert.equal(
    await ask(server, bytesOf(Buffer.concat([Buffer.from('stmk'), mask, Buffer.from('\n')]))),
    '-1',
  )
  for (let at = 1; at < request.length; at++)
    assert.equal(await ask(server, [request.subarray(0, at), request.subarray(at)]), '1234567890123')
  // One that ends early changes nothing.
  const short = await Passing.dial(server.port)
  short.send(Buffer.from('stmk\0\0\0'))
  await turn()
  short.socket.end()
  await short.closed()
  assert.equal(short.bytes, 0)
  assert.equal(await server.word('gtmk'), '1234567890123')
})

test('only srvr is allowed unless the whitelist says otherwise; stmk is then not waited for', async (t) => {
  const server = await robustServer(t, { '4lw.commands.whitelist': '' })
  assert.match(
    await server.word('srvr'),
    /^Zookeeper version: .*\nLatency min\/avg\/max: .*\nMode: standalone\n/s,
  )
  for (const word of words.filter((word) => word !== 'srvr')) {
    assert.equal(await server.word(word), `${word} is not executed because it is not in the whitelist.\n`)
  }
})

test('the whitelist names words with commas and blanks between', async (t) => {
  const server = await robustServer(t, { '4lw.commands.whitelist': 'ruok, mntr ,isro' })
  assert.equal(await server.word('ruok'), 'imok')
  assert.equal(await server.word('isro'), 'rw')
  assert.match(await server.word('srvr'), /^Zookeeper version/)
  assert.equal(await server.word('stat'), 'stat is not executed because it is not in the whitelist.\n')
})

test('what is no word is taken for the length of a frame: closed without an answer, with a line of the log', async (t) => {
  const server = await robustServer(t)
  const http = 'GET /commands/stat HTTP/1.1\r\nHost: localhost\r\n\r\n'
  for (const [text, length] of [
    ['abcd', 1633837924],
    ['RUOK', 1381322571],
    [http, 1195725856],
  ] as const) {
    assert.equal(await ask(server, [text]), '')
    const { msg, level } = await server.logged(new RegExp(`a frame of ${length} bytes`))
    assert.equal(level, 'warn')
    assert.match(
      msg,
      /^connection closed: a frame of \d+ bytes; at most 1048575 \(jute\.maxbuffer\) are accepted$/,
    )
  }
  assert.equal(await server.word('ruok'), 'imok')
})

test('a word is one only at the beginning of a connection', async (t) => {
  const server = await robustServer(t)
  const connection = await Passing.dial(server.port)
  connection.send(Buffer.concat([hello(), Buffer.from('ruok')]))
  await connection.closed()
  assert.equal(connection.frames, 1)
  await server.logged(/a frame of 1920298859 bytes/)
})

test('many ask at once while clients work', async (t) => {
  const server = await robustServer(t)
  const client = await server.connect()
  const work = Array.from({ length: 200 }, (_, i) => client.create(`/w${i}`, { flags: 1 }))
  const asked = [
    'ruok',
    'mntr',
    'cons',
    'dump',
    'wchp',
    'wchc',
    'wchs',
    'stat',
    'srvr',
    'crst',
    'srst',
    'dirs',
  ]
  const answers = await Promise.all([...asked, ...asked, ...asked].map((word) => server.word(word)))
  for (const answer of answers) assert.notEqual(answer, '')
  for (const created of work) await ok(created)
  assert.equal((await server.word('dump')).match(/\t\/w\d+\n/g)?.length, 200)
})

test('the answer is all there, however long', async (t) => {
  const server = await robustServer(t)
  const client = await server.connect()
  const paths = Array.from({ length: 5000 }, (_, i) => `/${'x'.repeat(500)}${i}`)
  await Promise.all(paths.map((path) => client.exists(path, true)))
  const session = `0x${client.session.sessionId.toString(16)}`
  const answer = await server.word('wchp')
  assert.equal(answer, `${paths.map((path) => `${path}\n\t${session}\n`).join('')}\n`)
})

test('words work on the TLS port', async (t) => {
  const server = await robustServer(t, {
    ...serverStores,
    'ssl.clientAuth': 'none',
    secureClientPort: 0,
    secureClientPortAddress: '127.0.0.1',
  })
  assert.equal(await askTls(t, server, ['ruok']), 'imok')
  assert.equal(await askTls(t, server, bytesOf('ruok')), 'imok')
  assert.match(await askTls(t, server, ['stat\n']), /\nClients:\n \/127\.0\.0\.1:\d+\[0\]/)
  assert.equal(await askTls(t, server, ['what']), '')
})

async function askTls(
  t: TestContext,
  server: RobustServer,
  pieces: readonly (string | Buffer)[],
): Promise<string> {
  const socket = await openTls(t, server.securePort, issueCertificate())
  const connection = new Passing(socket)
  let answer = ''
  socket.on('data', (chunk: Buffer) => {
    answer += chunk
  })
  await connection.sendPieces(pieces.map((piece) => Buffer.from(piece)))
  await connection.closed()
  return answer
}

// ---------------------------------------------------------------- zabd status

async function status(
  address: string,
  json = false,
  timeoutMs = 5000,
): Promise<{ code: number; text: string }> {
  let text = ''
  const print = (more: string) => {
    text += more
  }
  const code = await runStatus({ address, json, timeoutMs }, print, print)
  return { code, text }
}

test('zabd status shows a server that serves, and more of it if mntr is allowed', async (t) => {
  const server = await robustServer(t)
  const client = await server.connect()
  await ok(client.create('/x'))
  const { code, text } = await status(`127.0.0.1:${server.port}`)
  assert.equal(code, 0)
  assert.match(text, new RegExp(`^127\\.0\\.0\\.1:${server.port} is serving\n  role +standalone\n`))
  assert.match(text, /^ {2}sessions +1$/m)
  const json = await status(`127.0.0.1:${server.port}`, true)
  const report = JSON.parse(json.text)
  assert.deepEqual([json.code, report.serving, report.role, report.znodes], [0, true, 'standalone', 6])
  assert.equal(report.metrics.znode_count, '6')
  assert.deepEqual(parseAddress(report.address), { host: '127.0.0.1', port: server.port })
})

test('zabd status is content with srvr alone', async (t) => {
  const server = await robustServer(t, { '4lw.commands.whitelist': '' })
  const { code, text } = await status(`127.0.0.1:${server.port}`)
  assert.equal(code, 0)
  assert.doesNotMatch(text, /sessions/)
  await server.stop()
  const gone = await status(`127.0.0.1:${server.port}`)
  assert.deepEqual(gone, {
    code: 1,
    text: `127.0.0.1:${server.port} can not be reached: nothing listens there\n`,
  })
})

test('zabd status against the TLS port says that it does not look like a plain one', async (t) => {
  const server = await robustServer(t, {
    ...serverStores,
    secureClientPort: 0,
    secureClientPortAddress: '127.0.0.1',
  })
  const { code, text } = await status(`127.0.0.1:${server.securePort}`, false, 200)
  assert.equal(code, 1)
  assert.match(text, /is this its plain client port\?|can not be reached/)
})

test('a word to a server that has stopped serving is told so, or refused', async (t) => {
  const server = await robustServer(t)
  const asking = await Passing.dial(server.port)
  const stopping = server.stop()
  asking.send(Buffer.from('ruok'))
  await asking.closed()
  await stopping
  await assert.rejects(exchange({ port: server.port }, 'ruok'), /ECONNREFUSED/)
})

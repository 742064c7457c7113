import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { test } from 'node:test'
import type { Logger } from '../../src/base/log.ts'
import { createLogger } from '../../src/base/log.ts'
import { run } from '../../src/cli/main.ts'
import type { Machine, RunningServer, StartServer } from '../../src/cli/start.ts'
import { type Config, ConfigError } from '../../src/config/types.ts'
import { StorageError } from '../../src/storage/types.ts'

/** A process that is only remembered: what was printed and logged, and how often it was ended at once. */
function fakeMachine(startServer: StartServer, files: Readonly<Record<string, string>> = {}) {
  const events = new EventEmitter()
  const seen = { out: '', err: '', log: [] as Record<string, unknown>[], exits: [] as number[] }
  const machine: Machine = {
    out: (text) => {
      seen.out += text
    },
    err: (text) => {
      seen.err += text
    },
    env: {
      exists: (path) => path in files,
      readFile: (path) => {
        const text = files[path]
        if (text === undefined) throw new Error('there is no such file')
        return text
      },
    },
    events,
    exit: (code) => seen.exits.push(code),
    createLogger: (options): Logger => {
      const destination = {
        write: (line: string) => {
          const { time: _time, ...fields } = JSON.parse(line)
          seen.log.push(fields)
          events.emit('logged', fields)
        },
      }
      return createLogger({ ...options, pretty: false, destination })
    },
    startServer,
  }
  return { machine, seen, events }
}

/** A server that runs until it is closed, and what became of it. */
function idleServer(close: () => Promise<void> = () => Promise.resolve()) {
  const seen = { configs: [] as Config[], closed: 0 }
  const { promise: finished, resolve: finish } = deferred<Error | undefined>()
  const started = new EventEmitter()
  const startServer: StartServer = (config) => {
    seen.configs.push(config)
    const server: RunningServer = {
      finished,
      close: () => {
        seen.closed++
        return close()
      },
    }
    setImmediate(() => started.emit('started'))
    return Promise.resolve(server)
  }
  return { startServer, seen, finish, started: once(started, 'started') }
}

function deferred<T>() {
  let resolve: (value: T) => void = () => {}
  const promise = new Promise<T>((settle) => {
    resolve = settle
  })
  return { promise, resolve }
}

/** The configuration that a command line leads to, and the exit code. */
async function configOf(line: string, files: Readonly<Record<string, string>> = {}): Promise<Config> {
  const server = idleServer()
  const { machine, seen } = fakeMachine(server.startServer, files)
  server.finish(undefined)
  const code = await run(line.split(' '), machine)
  assert.equal(code, 0, seen.err)
  assert.equal(server.seen.configs.length, 1)
  return server.seen.configs[0]!
}

const rejecting = (error: unknown) => (): Promise<never> => Promise.reject(error)
const neverCalled: StartServer = () => assert.fail('the server must not be started')

test('start: without flags there is a server of one on this machine only', async () => {
  const { standalone, dataDir, clientPort, clientHost, logLevel } = await configOf('start')
  assert.deepEqual(
    { standalone, dataDir, clientPort, clientHost, logLevel },
    { standalone: true, dataDir: './data', clientPort: 2181, clientHost: '127.0.0.1', logLevel: 'info' },
  )
})

/** Flags and those fields of the configuration which they set. */
const flags: readonly (readonly [line: string, expected: Partial<Config>])[] = [
  [
    '-d /x --data-log /y -p 99 --client-host ::1',
    { dataDir: '/x', dataLogDir: '/y', clientPort: 99, clientHost: '::1' },
  ],
  ['--client-host 0.0.0.0', { clientHost: undefined }],
  ['--tick-time 10 --init-limit 3 --sync-limit 4', { tickTime: 10, initLimit: 3, syncLimit: 4 }],
  ['--min-session-timeout 5 --max-session-timeout 6', { minSessionTimeout: 5, maxSessionTimeout: 6 }],
  ['--max-client-cnxns 0 --max-cnxns 7', { maxClientCnxns: 0, maxCnxns: 7 }],
  ['--jute-maxbuffer 0x200000 --snap-count 50', { maxFrameBytes: 0x200000, snapCount: 50 }],
  ['--four-letter-words ruok,stat', { fourLetterWords: new Set(['srvr', 'ruok', 'stat']) }],
  [
    '--metrics-port 7070 --metrics-host ::1',
    { metrics: { enabled: true, host: '::1', port: 7070, exportJvmInfo: true } },
  ],
  [
    '--super-digest super:xQJmxLMiHGwaqBvst5y6rkB6HQs=',
    { superDigest: 'super:xQJmxLMiHGwaqBvst5y6rkB6HQs=' },
  ],
  ['--read-only-mode --reconfig', { readOnlyModeEnabled: true, reconfigEnabled: true }],
  ['--log-level debug', { logLevel: 'debug' }],
  ['-Dzookeeper.skipACL=yes --set enforceQuota=true', { skipAcl: true, enforceQuota: true }],
  ['-p 1 -D clientPort=2', { clientPort: 2 }],
  ['-D clientPort=2 -p 1', { clientPort: 1 }],
]

for (const [line, expected] of flags) {
  test(`start: flags are heard: ${line}`, async () => {
    const config = await configOf(`start ${line}`)
    const seen = Object.fromEntries(Object.keys(expected).map((key) => [key, config[key as keyof Config]]))
    assert.deepEqual(seen, expected)
  })
}

test('start: the HTTP commands can be moved and be turned off', async () => {
  const moved = await configOf('start --admin-port 1 --admin-host h')
  const off = await configOf('start --no-admin')
  assert.deepEqual([moved.admin.enabled, moved.admin.port, moved.admin.host], [true, 1, 'h'])
  assert.equal(off.admin.enabled, false)
})

test('start: flags alone make a member of an ensemble', async () => {
  const config = await configOf('start --id 2 --server 1=a:2888 --server 2=b:2888 --server 3=c:2888')
  assert.deepEqual([config.id, config.servers.map(({ host }) => host)], [2, ['a', 'b', 'c']])
})

test('start: an ensemble by flags needs no more than ids and addresses', async () => {
  const line =
    '--id 1 --server 1=host1:2888 --server 2=host2:2888 --server 3=host3:2888 --data DIR --client-port 2181'
  const { standalone, peerAddress, initLimit, syncLimit, tickTime, peerSecret, join } = await configOf(
    `start ${line}`,
  )
  assert.deepEqual([standalone, peerAddress, join], [false, { host: 'host1', port: 2888 }, false])
  assert.deepEqual([initLimit, syncLimit, tickTime, peerSecret], [10, 5, 2000, undefined])
})

test('start: a joiner and a shared secret', async () => {
  const line = 'start --id 4 --join --server 1=a:2888 --server 4=d:2888 --peer-secret-file secret'
  const { join, standalone, peerSecret } = await configOf(line, { secret: 'a secret of 25 characters\n' })
  assert.deepEqual([join, standalone, peerSecret?.length], [true, false, 25])
})

test('start: a file is read, as argument or by flag, and flags win over it', async () => {
  const files = { 'zoo.cfg': 'dataDir=/d\nclientPort=2181' }
  const byArgument = await configOf('start zoo.cfg', files)
  const byFlag = await configOf('start -p 5 --config zoo.cfg', files)
  assert.deepEqual([byArgument.clientPort, byFlag.clientPort, byFlag.dataDir], [2181, 5, '/d'])
})

/** Command lines that are refused with exit code 2, and a part of what is printed on standard error. */
const refused: readonly (readonly [line: string, expected: RegExp])[] = [
  ['', /Usage: zabd/],
  ['strat', /unknown command 'strat'\n\(Did you mean (one of )?start/],
  ['start --clientport 1', /unknown option '--clientport'\n\(Did you mean --client-port/],
  [
    'start --client-port x',
    /^zabd: the configuration can not be used\n {2}--client-port: clientPort=x is not valid: /,
  ],
  ['start --set tickTime', /Expected key=value/],
  ['start --log-level loud', /Allowed choices are trace, debug, info, warn, error/],
  ['start a.cfg --config b.cfg', /give the file once/],
  ['start no.cfg', /\n {2}no.cfg: can not be read: there is no such file\n/],
  ['start bad.cfg', /\n {2}bad.cfg:1: tickTime=abc is not valid: .*\n {2}bad.cfg: dataDir is missing: /],
  ['status nonsense:', /^zabd: nonsense: is not an address: expected host:port/],
  ['status --timeout 0', /at least 1/],
  ['bench --depth 0', /^zabd: --depth 0 is not a whole number from 1 to/],
]

for (const [line, expected] of refused) {
  test(`bad usage or configuration ends with 2: zabd ${line}`, async () => {
    const { machine, seen } = fakeMachine(neverCalled, { 'bad.cfg': 'tickTime=abc' })
    const code = await run(
      line.split(' ').filter((word) => word !== ''),
      machine,
    )
    assert.match(seen.err, expected)
    assert.deepEqual([code, seen.out, seen.exits], [2, '', []])
  })
}

test('the version and the help are printed with exit code 0', async () => {
  for (const [line, expected] of [
    ['--version', /^\d+\.\d+\.\d+\S*\n$/],
    ['--help', /Commands:\n {2}start .*\n[\s\S]* status /],
    ['start --help', /--client-port <port> [\s\S]*\(default: 2181 [\s\S]*Examples:/],
  ] as const) {
    const { machine, seen } = fakeMachine(neverCalled)
    assert.equal(await run(line.split(' '), machine), 0)
    assert.match(seen.out, expected)
    assert.equal(seen.err, '')
  }
})

test('start: what is doubtful or does nothing is logged once, before the server starts', async () => {
  const server = idleServer()
  const { machine, seen } = fakeMachine(server.startServer)
  server.finish(undefined)
  await run('start -DskipACL=yes -DpreAllocSize=1 -DtikcTime=2'.split(' '), machine)
  assert.deepEqual(seen.log, [
    { level: 'warn', msg: 'skipACL=yes: every client may read and change everything' },
    {
      level: 'warn',
      settings: [
        'preAllocSize (--set) has no effect',
        'tikcTime (--set) is not known: did you mean tickTime?',
      ],
      msg: 'settings of the configuration do nothing',
    },
    { level: 'info', msg: 'stopped' },
  ])
})

for (const signal of ['SIGTERM', 'SIGINT']) {
  test(`start: ${signal} closes the server and ends with 0`, async () => {
    const server = idleServer()
    const { machine, seen, events } = fakeMachine(server.startServer)
    const code = run(['start'], machine)
    await server.started
    events.emit(signal)
    assert.equal(await code, 0)
    assert.deepEqual([server.seen.closed, seen.exits, events.listenerCount(signal)], [1, [], 0])
    assert.deepEqual(
      seen.log.map(({ msg }) => msg),
      ['stopping; a second signal stops at once', 'stopped'],
    )
  })
}

test('start: a second signal ends the process at once', async () => {
  const closing = deferred<void>()
  const server = idleServer(() => closing.promise)
  const { machine, seen, events } = fakeMachine(server.startServer)
  const code = run(['start'], machine)
  await server.started
  events.emit('SIGTERM')
  assert.deepEqual(seen.exits, [])
  events.emit('SIGINT')
  assert.deepEqual(seen.exits, [1])
  closing.resolve()
  assert.equal(await code, 0)
})

test('start: a signal while the server starts closes it as soon as it is there', async () => {
  const server = idleServer()
  const { machine, events } = fakeMachine(server.startServer)
  const startServer: StartServer = (config, logger) => {
    events.emit('SIGTERM')
    return server.startServer(config, logger)
  }
  assert.equal(await run(['start'], { ...machine, startServer }), 0)
  assert.equal(server.seen.closed, 1)
})

for (const event of ['uncaughtException', 'unhandledRejection']) {
  test(`start: an ${event} is logged as fatal and ends the process with 1`, async () => {
    const server = idleServer()
    const { machine, seen, events } = fakeMachine(server.startServer)
    const code = run(['start'], machine)
    await server.started
    events.emit(event, new Error('boom'))
    assert.deepEqual(seen.exits, [1])
    assert.match(JSON.stringify(seen.log[0]), /"level":"fatal".*boom/)
    server.finish(undefined)
    await code
  })
}

test('start: a close that fails ends with 1', async () => {
  const server = idleServer(rejecting(new Error('disk gone')))
  const { machine, seen, events } = fakeMachine(server.startServer)
  const code = run(['start'], machine)
  await server.started
  events.emit('SIGTERM')
  assert.equal(await code, 1)
  assert.match(JSON.stringify(seen.log.at(-1)), /"fatal".*disk gone/)
})

test('start: a server that ends by itself ends the process: 0 without an error, else by the error', async () => {
  for (const [error, expected] of [
    [undefined, 0],
    [new Error('broken'), 1],
    [new StorageError('full', '/d', 'no space left', 'Make room.'), 3],
  ] as const) {
    const server = idleServer()
    server.finish(error)
    const { machine } = fakeMachine(server.startServer)
    assert.equal(await run(['start'], machine), expected)
    assert.equal(server.seen.closed, 0)
  }
})

/** Errors of starting: exit code and the last line of the log or what is printed. */
const failing: readonly (readonly [fact: string, error: Error, code: number, expected: RegExp])[] = [
  ['any error', new TypeError('x is not a function'), 1, /"fatal".*x is not a function/],
  [
    'data that can not be read',
    new StorageError('corrupt', '/d/log', 'a record is damaged', 'Restore it from a backup.'),
    3,
    /"fatal".*"kind":"corrupt","path":"\/d\/log".*a record is damaged \(\/d\/log\)\. Restore it from a backup\./,
  ],
  [
    'an address in use',
    Object.assign(new Error('listen EADDRINUSE'), {
      code: 'EADDRINUSE',
      syscall: 'listen',
      address: '127.0.0.1',
      port: 2181,
    }),
    4,
    /"fatal".*127\.0\.0\.1:2181 is in use by another process\. Stop that process, or choose another port with --client-port \(clientPort\)/,
  ],
  [
    'the address of the HTTP commands in use',
    Object.assign(new Error('listen EADDRINUSE'), {
      code: 'EADDRINUSE',
      syscall: 'listen',
      address: '::',
      port: 8080,
    }),
    4,
    /\[::\]:8080 is in use.*--admin-port \(admin\.serverPort\), or do without by --no-admin/,
  ],
  [
    'an address that is not of this machine',
    Object.assign(new Error('listen'), {
      code: 'EADDRNOTAVAIL',
      syscall: 'listen',
      address: '192.0.2.1',
      port: 2181,
    }),
    2,
    /192\.0\.2\.1:2181 is not an address of this machine \(EADDRNOTAVAIL\)\. Choose another with --client-host/,
  ],
  [
    'a certificate that can not be used',
    new ConfigError('key.pem: holds no key'),
    2,
    / {2}key\.pem: holds no key\n/,
  ],
]

for (const [fact, error, expectedCode, expected] of failing) {
  test(`start: ${fact} ends with ${expectedCode}`, async () => {
    const { machine, seen } = fakeMachine(rejecting(error))
    assert.equal(await run(['start'], machine), expectedCode)
    assert.match(JSON.stringify(seen.log.at(-1) ?? '') + seen.err, expected)
  })
}

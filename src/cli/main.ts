// The command line: which commands and flags there are, and the exit code of each. What a command does is in the file
// of its name. The only place with process.exit. Commands are imported and not loaded when they are used: all is one script
// (scripts/bundle.mjs), in which modules that are loaded later run slower for good.
import { existsSync, readFileSync, statSync } from 'node:fs'
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander'
import type { LogLevel } from '../base/log.ts'
import { zabdVersion } from '../base/version.ts'
import type { FlagSetting } from '../config/types.ts'
import { makeRoomForDescriptors } from '../node/descriptors.ts'
import { startServer } from '../node/server.ts'
import { type BenchFlags, runBench } from './bench.ts'
import { ExitCode } from './exit.ts'
import { type LogFormat, type Machine, runStart } from './start.ts'
import { runStatus } from './status.ts'
import { holdYoungGeneration } from './young-generation.ts'

/** Flags of `zabd start` that stand for a key of zoo.cfg: flag, key, help. */
const settingFlags: readonly (readonly [flag: string, key: string, help: string])[] = [
  ['-d, --data <dir>', 'dataDir', 'where the data is kept (default: ./data; a file must say it)'],
  ['--data-log <dir>', 'dataLogDir', 'where the log is kept (default: as --data)'],
  [
    '-p, --client-port <port>',
    'clientPort',
    'port for clients; 0: any free one (default: 2181 without a file)',
  ],
  [
    '--client-host <host>',
    'clientPortAddress',
    'address for clients; 0.0.0.0: any (default: 127.0.0.1; with a file any)',
  ],
  ['--secure-client-port <port>', 'secureClientPort', 'port for clients with TLS (default: none)'],
  [
    '--secure-client-host <host>',
    'secureClientPortAddress',
    'its address (default: as --client-host; with a file any)',
  ],
  [
    '--key-store <file>',
    'ssl.keyStore.location',
    'key and certificate of this server: .pem, .p12, .pfx or .jks',
  ],
  [
    '--key-store-password-file <file>',
    'ssl.keyStore.passwordPath',
    'file with the password of the key store',
  ],
  ['--trust-store <file>', 'ssl.trustStore.location', 'certificates of the authorities of clients'],
  [
    '--trust-store-password-file <file>',
    'ssl.trustStore.passwordPath',
    'file with the password of the trust store',
  ],
  [
    '--client-auth <mode>',
    'ssl.clientAuth',
    'whether clients show a certificate: none, want, need (default: need)',
  ],
  [
    '--peer-secret-file <file>',
    'peerSecretFile',
    'file with a secret that all servers of the ensemble share (default: none)',
  ],
  ['--tick-time <ms>', 'tickTime', 'unit of time (default: 2000; with a file 3000)'],
  [
    '--init-limit <ticks>',
    'initLimit',
    'time to join a leader (default: 10; a file of an ensemble must say it)',
  ],
  ['--sync-limit <ticks>', 'syncLimit', 'time to fall behind a leader (default: 5; likewise)'],
  ['--min-session-timeout <ms>', 'minSessionTimeout', 'shortest session timeout (default: 2 ticks)'],
  ['--max-session-timeout <ms>', 'maxSessionTimeout', 'longest session timeout (default: 20 ticks)'],
  ['--max-client-cnxns <n>', 'maxClientCnxns', 'connections of one address; 0: no limit (default: 60)'],
  ['--max-cnxns <n>', 'maxCnxns', 'connections in all; 0: no limit (default: 0)'],
  ['--jute-maxbuffer <bytes>', 'jute.maxbuffer', 'largest request (default: 1048575)'],
  ['--snap-count <n>', 'snapCount', 'transactions between two snapshots (default: 100000)'],
  [
    '--four-letter-words <list>',
    '4lw.commands.whitelist',
    'words that anybody may ask, with commas between; *: all (default: srvr)',
  ],
  ['--admin-port <port>', 'admin.serverPort', 'port of the HTTP commands (default: 8080)'],
  ['--admin-host <host>', 'admin.serverAddress', 'their address (default: 127.0.0.1; with a file 0.0.0.0)'],
  [
    '--super-digest <id>',
    'DigestAuthenticationProvider.superDigest',
    'super user, as user:base64(sha1("user:password")) (default: none)',
  ],
]

const prometheus = 'org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider'

/** The flags that commander keeps itself. */
type StartOptions = {
  readonly config?: string
  readonly id?: string
  readonly server?: readonly string[]
  readonly join?: boolean
  readonly admin: boolean
  readonly readOnlyMode?: boolean
  readonly reconfig?: boolean
  readonly logLevel: LogLevel
  readonly logFormat: LogFormat
}

/** Runs one command; answers with the exit code. Nothing of it ends the process but `machine.exit`. */
export async function run(args: readonly string[], machine: Machine): Promise<ExitCode> {
  let code: ExitCode = ExitCode.clean
  const program = new Command('zabd')
    .description("A coordination server that speaks ZooKeeper's client protocol")
    .version(zabdVersion(), '-V, --version', 'show the version')
    .helpOption('-h, --help', 'show this help')
    .exitOverride()
    .configureOutput({ writeOut: machine.out, writeErr: machine.err })
    .showHelpAfterError('(add --help to see what is possible)')

  const settings: FlagSetting[] = []
  const start = program
    .command('start')
    .description('start a server: on its own, or as a member of an ensemble')
    .argument('[file]', 'as --config')
    .addHelpText('after', startExamples)
  addStartOptions(start, settings)
  start.action(async (file: string | undefined, options: StartOptions) => {
    if (file !== undefined && options.config !== undefined) {
      start.error('error: give the file once: as an argument or with --config')
    }
    const flags = {
      file: file ?? options.config,
      id: options.id,
      servers: options.server,
      join: options.join,
      settings: [...settings, ...switches(options)],
      logLevel: options.logLevel,
    }
    code = await runStart(flags, options.logFormat, machine)
  })

  const status = program
    .command('status')
    .description(
      'ask a server, or several, how it is; exit code 0: it serves, 1: it does not, or is out of reach',
    )
    .argument('[host:port]', 'its plain client port, or several with commas between', '127.0.0.1:2181')
    .option('--json', 'print JSON')
    .option('--timeout <ms>', 'how long to wait for an answer', parseTimeout, 5000)
  status.action(async (address: string, options: { json?: boolean; timeout: number }) => {
    const asked = { address, json: options.json === true, timeoutMs: options.timeout }
    code = await runStatus(asked, machine.out, machine.err)
  })

  const bench = program
    .command('bench')
    .description('measure how fast servers are, below a znode that is made for it and removed')
    .argument(
      '[host:port]',
      'plain client port of a server, or several with commas between',
      '127.0.0.1:2181',
    )
    .addHelpText('after', benchExamples)
  for (const [flag, help, value] of benchFlags) bench.option(flag, help, value)
  bench
    .option('--auth <scheme:id>', 'credentials, like digest:user:password; may be repeated', listed)
    .option('--clean', 'only remove what runs left that did not end cleanly')
    .option('--json', 'print JSON')
  bench.action(async (addresses: string, options: BenchFlags) => {
    code = await runBench(addresses, options, machine)
  })

  try {
    await program.parseAsync(args, { from: 'user' })
    return code
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? ExitCode.clean : ExitCode.usage
    machine.err(`zabd: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`)
    return ExitCode.unexpected
  }
}

function addStartOptions(start: Command, settings: FlagSetting[]): void {
  const add = (flag: string, help: string, keep: (value: string, name: string) => void) => {
    const option = new Option(flag, help)
    start.addOption(
      option.argParser((value: string) => {
        keep(value, option.long ?? flag)
        return value
      }),
    )
  }
  start
    .option('-c, --config <file>', "ZooKeeper's own zoo.cfg (default: none; flags win over its lines)")
    .option('--id <n>', "this server's id (default: as in the file myid of the data directory)")
    .option(
      '--server <id=host:port>',
      'a member of the ensemble; once for each, the same on all (default: none, a server on its own)',
      listed,
    )
    .option(
      '--join',
      'this server is new to a running ensemble: it votes only after a reconfig has let it in (default: off)',
    )
  for (const [flag, key, help] of settingFlags) {
    add(flag, help, (value, name) => settings.push({ flag: name, key, value }))
  }
  add('--metrics-port <port>', 'serve metrics for Prometheus at this port (default: off)', (value, flag) => {
    settings.push({ flag, key: 'metricsProvider.className', value: prometheus })
    settings.push({ flag, key: 'metricsProvider.httpPort', value })
  })
  add('--metrics-host <host>', 'their address (default: 127.0.0.1; with a file 0.0.0.0)', (value, flag) => {
    settings.push({ flag, key: 'metricsProvider.httpHost', value })
  })
  add('-D, --set <key=value>', 'any key of zoo.cfg, or a system property of ZooKeeper', (text, flag) => {
    const equals = text.indexOf('=')
    if (equals < 1) throw new InvalidArgumentError('Expected key=value.')
    settings.push({ flag, key: text.slice(0, equals).trim(), value: text.slice(equals + 1).trim() })
  })
  start
    .option('--no-admin', 'no HTTP commands')
    .option(
      '--read-only-mode',
      'serve reads while there is no quorum, to clients that ask for it (default: off)',
    )
    .option('--reconfig', 'let clients with the permission change the members (default: off)')
    .addOption(
      new Option('--log-level <level>', 'least level that is logged')
        .choices(['trace', 'debug', 'info', 'warn', 'error'])
        .default('info'),
    )
    .addOption(
      new Option('--log-format <format>', 'auto: for people on a terminal, else JSON')
        .choices(['auto', 'json', 'pretty'])
        .default('auto'),
    )
}

function switches(options: StartOptions): FlagSetting[] {
  const settings: FlagSetting[] = []
  if (!options.admin) settings.push({ flag: '--no-admin', key: 'admin.enableServer', value: 'false' })
  if (options.readOnlyMode) {
    settings.push({ flag: '--read-only-mode', key: 'readonlymode.enabled', value: 'true' })
  }
  if (options.reconfig) settings.push({ flag: '--reconfig', key: 'reconfigEnabled', value: 'true' })
  return settings
}

const startExamples = `
Examples:
  zabd start                                    on its own, data in ./data, port 2181, this machine only
  zabd start --config zoo.cfg                   with ZooKeeper's own file
  zabd start --client-host 0.0.0.0              open to other machines
  zabd start --id 1 --server 1=host1:2888 --server 2=host2:2888 --server 3=host3:2888 --client-host 0.0.0.0
                                                the first of an ensemble of three
  zabd start --id 4 --join --server 1=host1:2888 --server 2=host2:2888 --server 3=host3:2888 --server 4=host4:2888
                                                one more for it; then: reconfig -add 'server.4=host4:2888;2181'

Exit codes: 0 clean, 1 unexpected, 2 bad usage or configuration, 3 data can not be read, 4 address in use`

/** Flags of `zabd bench` with a value: flag, help, default. */
const benchFlags: readonly (readonly [flag: string, help: string, value?: string])[] = [
  ['-m, --mode <mode>', 'load: requests; sessions: open many; watches: tell many of a change', 'load'],
  ['-c, --connections <n>', 'connections, spread over the servers', '10'],
  ['-d, --depth <n>', 'requests under way on each connection', '10'],
  [
    '-r, --rate <n>',
    'send so many requests per second in all, whatever comes back (default: as fast as they are answered)',
  ],
  ['-s, --seconds <s>', 'how long to measure', '10'],
  ['-w, --warm-up <s>', 'how long before it', '2'],
  [
    '-x, --mix <list>',
    'get, exists, children, set, create (sequential), ephemeral (create and delete), multi, sync; several with shares',
    'get=90,set=10',
  ],
  ['-k, --keys <n>', 'znodes to read and set', '1000'],
  ['-v, --value-size <bytes>', 'data of a znode', '100'],
  ['-b, --batch <n>', 'sets in a multi', '10'],
  ['--sessions <n>', 'with --mode sessions: how many', '2000'],
  ['--in-progress <n>', 'with --mode sessions: how many are being opened at a time', '40'],
  ['--prefix <path>', 'znode that all is done below; one that is there already is left alone', '/zabd-bench'],
  ['--session-timeout <ms>', 'session timeout to ask for', '30000'],
  ['--threads <n>', 'threads of this client that share a load', '1'],
]

const benchExamples = `
Examples:
  zabd bench zk1:2181,zk2:2181,zk3:2181             90 % reads, 10 % writes, 10 connections with 10 requests under way
  zabd bench --mix set --connections 1 --depth 1    how long a lone write takes
  zabd bench --mix set --rate 1000 --seconds 60     latency and pauses under a steady load
  zabd bench --mode sessions --sessions 5000        how fast sessions open
  zabd bench --mode watches --connections 1000      how fast a change reaches a thousand watchers

Ctrl-C ends it early, with a result. Exit codes: 0 no errors, 1 errors or no server, 2 bad usage`

/** A flag that may be repeated. */
function listed(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value]
}

function parseTimeout(text: string): number {
  const timeoutMs = /^\d{1,9}$/.test(text) ? Number(text) : 0
  if (timeoutMs < 1) throw new InvalidArgumentError('Expected a whole number of milliseconds, at least 1.')
  return timeoutMs
}

/** The real process. */
function thisProcess(): Machine {
  return {
    out: (text) => process.stdout.write(text),
    err: (text) => process.stderr.write(text),
    env: { readFile: readText, exists: existsSync, mode: permissions },
    events: process,
    exit: (code) => process.exit(code),
    createLogger: async (options) => (await import('../base/log.ts')).createLogger(options),
    startServer: (config, logger) => {
      const release = holdYoungGeneration()
      const onServing = () => {
        release()
        void makeRoomForDescriptors()
      }
      return startServer(config, logger, { onServing })
    },
  }
}

/** Node.js names the call and the path in its messages, which the caller knows. */
function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const known: Readonly<Record<string, string>> = {
      ENOENT: 'there is no such file',
      EACCES: 'permission denied',
      EISDIR: 'it is a directory',
    }
    throw new Error(known[code ?? ''] ?? message)
  }
}

/** Windows has no bits that would say who may read a file. */
function permissions(path: string): number | undefined {
  return process.platform === 'win32' ? undefined : statSync(path, { throwIfNoEntry: false })?.mode
}

/** Runs the command line of this process and ends it. */
export async function main(args: readonly string[]): Promise<never> {
  process.exit(await run(args, thisProcess()))
}

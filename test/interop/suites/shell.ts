// The shell that comes with the original server, unmodified: sessions are piped into it, and what it prints is
// compared command by command. One-shot calls show the exit codes.

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { checkStop } from '../harness/client-program.ts'
import { javaArguments } from '../harness/java.ts'
import { type Finished, run } from '../harness/processes.ts'
import { jars } from '../harness/provision.ts'
import { Server } from '../harness/server.ts'
import { type Suite, type SuiteContext, tail } from '../harness/suite.ts'

const SHELL = 'org.apache.zookeeper.ZooKeeperMain'
const SESSION_LIMIT_MS = 60_000

/** A command and what its output has to match; a string has to be the whole output. */
type Step = readonly [command: string, ...expected: readonly (string | RegExp)[]]

const STAT = /^cZxid = 0x[0-9a-f]+\nctime = .+\nmZxid = .+\nmtime = .+\npZxid = .+\ncversion = \d+$/m
const EPHEMERAL = /^ephemeralOwner = 0x[0-9a-f]{4,}$/m
const LIMITS = 'absolute path is /zookeeper/quota/sh/zookeeper_limits'

const operations: readonly Step[] = [
  ['version', /^ZooKeeper CLI version: 3\.9\.4/],
  ['create /sh top', 'Created /sh'],
  ['create -e /sh/eph e', 'Created /sh/eph'],
  ['create -s /sh/s- x', 'Created /sh/s-0000000001'],
  ['create -c /sh/cont', 'Created /sh/cont'],
  ['create -t 60000 /sh/ttl t', 'Created /sh/ttl'],
  ['create -s -e /sh/se- y', 'Created /sh/se-0000000004'],
  ['create -s -t 60000 /sh/st- y', 'Created /sh/st-0000000005'],
  ['create /sh', 'Node already exists: /sh'],
  ['create /sh/nope/x', 'Node does not exist: /sh/nope/x'],
  ['create /sh/eph/x', /^Ephemerals cannot have children: \/sh\/eph\/x$/],
  ['create /sh/kid "two words"', 'Created /sh/kid'],
  ['get /sh/kid', 'two words'],
  ['get -s /sh/eph', /^e\n/, STAT, EPHEMERAL, /^dataLength = 1\nnumChildren = 0$/m],
  ['get -b /sh/kid', 'dHdvIHdvcmRz'],
  ['get -x /sh/kid', /74 77 6f 20 77 6f 72 64 73/],
  ['ls /sh', '[cont, eph, kid, s-0000000001, se-0000000004, st-0000000005, ttl]'],
  ['ls -s /sh', /^\[cont, eph, kid/, STAT, /^cversion = 7$/m, /^numChildren = 7$/m],
  [
    'ls -R /sh',
    '/sh\n/sh/cont\n/sh/eph\n/sh/kid\n/sh/s-0000000001\n/sh/se-0000000004\n/sh/st-0000000005\n/sh/ttl',
  ],
  ['stat /sh/kid', STAT, /^dataVersion = 0$/m, /^ephemeralOwner = 0x0$/m],
  ['stat /sh/none', 'Node does not exist: /sh/none'],
  ['set /sh/kid new', ''],
  ['set -s -v 1 /sh/kid newer', STAT, /^dataVersion = 2$/m, /^dataLength = 5$/m],
  ['set -v 9 /sh/kid no', 'version No is not valid : /sh/kid'],
  ['get /sh/kid', 'newer'],
  ['getEphemerals', '[/sh/eph, /sh/se-0000000004]'],
  ['getEphemerals /sh/e', '[/sh/eph]'],
  ['getAllChildrenNumber /sh', '7'],
  ['sync /sh', 'Sync is OK'],
  ['config', ''],
  ['config -s', STAT],
  ['delete /sh', 'Node not empty: /sh'],
  ['delete -v 5 /sh/ttl', 'version No is not valid : /sh/ttl'],
  ['delete /sh/ttl', ''],
  ['stat /sh/ttl', 'Node does not exist: /sh/ttl'],
  ['delete /zookeeper', 'Arguments are not valid : /zookeeper'],
  ['create /sh/deep', 'Created /sh/deep'],
  ['create /sh/deep/er', 'Created /sh/deep/er'],
  ['deleteall /sh/deep', ''],
  ['ls /sh/deep', 'Node does not exist: /sh/deep'],
  ['reconfig -remove 3', /Reconfig is disabled/],
  ['nonsense', /Command not found/],
  ['get', /^get \[-s\]/],
  ['history', /^\d+ - get$/m],
  ['redo 0', /^ZooKeeper CLI version/],
  ['close', ''],
  ['getEphemerals', 'Not connected'],
]

const access: readonly Step[] = [
  ['create /acl x', 'Created /acl'],
  ['getAcl /acl', "'world,'anyone\n: cdrwa"],
  ['getAcl -s /acl', /^'world,'anyone\n: cdrwa/, STAT],
  ['setAcl /acl world:anyone:cdra', ''],
  ['getAcl /acl', "'world,'anyone\n: cdra"],
  ['set /acl denied', 'Insufficient permission : /acl'],
  ['setAcl -v 7 /acl world:anyone:cdrwa', 'version No is not valid : /acl'],
  ['create /acl/kid', 'Created /acl/kid'],
  ['setAcl -R /acl world:anyone:cdrwa', ''],
  ['setAcl -s /acl world:anyone:cdrwa', STAT, /^aclVersion = 3$/m],
  ['getAcl /acl/kid', "'world,'anyone\n: cdrwa"],
  ['whoami', /^ip: 127\.0\.0\.1$/m],
  ['setAcl /acl auth:x:cdrwa', /Acl is not valid : \/acl$/],
  ['addauth digest bob:pw', ''],
  ['whoami', /^digest: bob$/m, /^ip: 127\.0\.0\.1$/m],
  ['setAcl /acl auth:x:cdrwa', ''],
  ['getAcl /acl', "'digest,'bob:ikIaKsbtGweaHnb/jKn7OHqbunM=\n: cdrwa"],
  ['set /acl mine', ''],
]

const stranger: readonly Step[] = [
  ['get /acl', /Insufficient permission : \/acl$/],
  ['ls /acl', /Insufficient permission : \/acl$/],
  ['addauth digest bob:wrong', ''],
  ['get /acl', /Insufficient permission : \/acl$/],
  ['addauth digest bob:pw', ''],
  ['get /acl', 'mine'],
]

const quotas: readonly Step[] = [
  ['create /sh/q 1234567890', 'Created /sh/q'],
  ['listquota /sh', `${LIMITS}\nquota for /sh does not exist.`],
  ['setquota -n 50 /sh', ''],
  ['setquota -b 1000 /sh', ''],
  ['setquota -N 100 /sh', ''],
  ['setquota -B 2000 /sh', ''],
  [
    'listquota /sh',
    /^Output quota for \/sh count=50,bytes=1000=;byteHardLimit=2000;countHardLimit=100$/m,
    /^Output stat for \/sh count=\d+,bytes=\d+$/m,
  ],
  ['get /zookeeper/quota/sh/zookeeper_limits', 'count=50,bytes=1000=;byteHardLimit=2000;countHardLimit=100'],
  ['setquota -n 1 /sh/q', /already has a parent|has a parent/i],
  ['delquota -n /sh', ''],
  ['delquota -b /sh', ''],
  ['delquota -B /sh', ''],
  ['listquota /sh', /^Output quota for \/sh count=-1,bytes=-1=;byteHardLimit=-1;countHardLimit=100$/m],
  ['delquota -N /sh', ''],
  ['delquota /sh', ''],
  ['listquota /sh', /^quota for \/sh does not exist\.$/m],
]

const watches: readonly Step[] = [
  ['create /w 0', 'Created /w'],
  ['create /w/kid 0', 'Created /w/kid'],
  ['addWatch /w', ''],
  ['set /w/kid 1', ''],
  ['removewatches /w', ''],
  ['removewatches /w', /No such watcher for \/w$/],
  ['ls -w /w', '[kid]'],
  ['get -w /w', '0'],
  ['stat -w /w/none', 'Node does not exist: /w/none'],
  ['create /w/other', 'Created /w/other'],
  ['set /w 1', ''],
  ['get -w /w/kid', '1'],
  ['removewatches /w/kid -d', ''],
  ['addWatch -m PERSISTENT /w', ''],
  ['set /w 2', ''],
  ['set /w 3', ''],
  ['removewatches /w -a', ''],
  ['printwatches off', ''],
  ['printwatches', 'printwatches is off'],
]

/** Events of the session above, in the order in which they have to come. */
const watchEvents: readonly string[] = [
  'NodeDataChanged path:/w/kid',
  'PersistentWatchRemoved path:/w',
  'NodeChildrenChanged path:/w',
  'NodeDataChanged path:/w',
  'DataWatchRemoved path:/w/kid',
  'NodeDataChanged path:/w',
  'NodeDataChanged path:/w',
  'PersistentWatchRemoved path:/w',
]

/** One-shot calls: arguments, exit code, what either output has to show. */
const calls: readonly (readonly [args: readonly string[], code: number, shows: RegExp])[] = [
  [['ls', '/'], 0, /^\[.*zookeeper.*\]$/m],
  [['get', '/none'], 1, /Node does not exist: \/none/],
  [['-waitforconnection', 'create', '/once', 'data'], 0, /Created \/once/],
  [['nonsense'], 127, /Command not found/],
]

function sliceName(command: string): string {
  return command.replaceAll(/[^\w.-]+/g, '-').replace(/^-|-$/g, '')
}

/** Splits what the shell printed at its prompts; watch events are taken out and returned apart. */
function parseTranscript(
  text: string,
  commands: readonly string[],
): { readonly outputs: readonly string[]; readonly events: readonly string[] } {
  const events = [...text.matchAll(/^WatchedEvent state:\w+ type:(?!None)(\w+) path:(\S+) zxid: .*$/gm)]
  const rest = text.replaceAll(/^WATCHER::$|^WatchedEvent .*$/gm, '')
  const sections = rest.split(/^\[zk: .*?\(\w+\) \d+\] /m).slice(1)
  const outputs = sections.map((section, index) => {
    const lines = section.split('\n').filter((line) => line !== '')
    // The echo of the command; an event that comes between prompt and echo pushes it to a line of its own.
    const echo = lines.indexOf(commands[index] ?? '')
    return lines.toSpliced(Math.max(echo, 0), 1).join('\n').trim()
  })
  return { outputs, events: events.map((event) => `${event[1]} path:${event[2]}`) }
}

class Shell {
  readonly #context: SuiteContext
  readonly #classes: string
  readonly #server: Server

  constructor(context: SuiteContext, classes: string, server: Server) {
    this.#context = context
    this.#classes = classes
    this.#server = server
  }

  /** Runs the shell with its two outputs in one stream, in the order in which they were written. */
  call(args: readonly string[], input: string, chroot = ''): Promise<Finished> {
    const java = [...javaArguments('128m', `${this.#classes}/*`), SHELL]
    const target = ['-server', `127.0.0.1:${this.#server.port}${chroot}`]
    return run('/bin/sh', ['-c', 'exec "$@" 2>&1', 'sh', 'java', ...java, ...target, ...args], {
      input,
      timeoutMs: SESSION_LIMIT_MS,
    })
  }

  /** Pipes the commands of `steps` through one session; each is a check. Returns the events seen. */
  async session(name: string, steps: readonly Step[], chroot = ''): Promise<readonly string[]> {
    const { report, dir } = this.#context
    const commands = [...steps.map(([command]) => command), 'quit']
    const input = `${commands.join('\n')}\n`
    const { stdout, code } = await this.call([], input, chroot)
    await writeFile(join(dir, `${name}.log`), stdout)
    const { outputs, events } = parseTranscript(stdout, commands)
    for (const [index, [command, ...expected]] of steps.entries()) {
      const output = outputs[index]
      const check = `${name}-${index}-${sliceName(command)}`
      const misses = (want: string | RegExp): boolean =>
        output === undefined || (typeof want === 'string' ? want !== output : !want.test(output))
      const missed = expected.find(misses)
      if (missed === undefined) report.pass(check)
      else report.fail(check, `'${command}' printed '${tail(output ?? 'nothing')}', expected ${missed}`)
    }
    if (code !== 0) report.fail(`${name}-exit`, `exit code ${code}, expected 0`)
    return events
  }
}

async function runShell(context: SuiteContext): Promise<void> {
  const { report } = context
  const classes = await jars('java', 'zookeeper-pom.xml')
  const server = await Server.start(context.dir, { tickMs: 500 })
  const shell = new Shell(context, classes, server)
  await shell.session('operations', operations)
  await shell.session('access', access)
  await shell.session('stranger', stranger)
  await shell.session('quotas', quotas)
  const events = await shell.session('watches', watches)
  await report.check('watch-events', () => {
    if (events.join('\n') !== watchEvents.join('\n')) throw new Error(`seen ${events.join(', ')}`)
    return `${events.length} events`
  })
  await shell.session(
    'chroot',
    [
      ['create /inner x', 'Created /inner'],
      ['ls /', /inner/],
    ],
    '/sh',
  )
  for (const [args, code, shows] of calls) {
    await report.check(`call-${sliceName(args.join('-'))}`, async () => {
      const finished = await shell.call(args, '')
      if (finished.code !== code) throw new Error(`exit code ${finished.code}, expected ${code}`)
      if (!shows.test(finished.stdout))
        throw new Error(`printed '${tail(finished.stdout)}', expected ${shows}`)
      return undefined
    })
  }
  await checkStop(context, server)
}

export const shell: Suite = {
  name: 'shell',
  provision: async () => {
    await jars('java', 'zookeeper-pom.xml')
  },
  run: runShell,
}

// The original shell on one server, and on an ensemble whose members it changes.

import { checkStop } from '../harness/client-program.ts'
import { Ensemble } from '../harness/ensemble.ts'
import { jars } from '../harness/provision.ts'
import { type Member, memberLine, Server } from '../harness/server.ts'
import { type Call, Shell, type Step } from '../harness/shell.ts'
import { type Suite, type SuiteContext, tail } from '../harness/suite.ts'
import { memberSettings } from './kazoo.ts'

const POM = 'zookeeper-pom.xml'

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

const calls: readonly Call[] = [
  [['ls', '/'], 0, /^\[.*zookeeper.*\]$/m],
  [['get', '/none'], 1, /Node does not exist: \/none/],
  [['-waitforconnection', 'create', '/once', 'data'], 0, /Created \/once/],
  [['nonsense'], 127, /Command not found/],
]

async function runShell(context: SuiteContext): Promise<void> {
  const { report } = context
  const classes = await jars('java', POM)
  const server = await Server.start(context.dir, { tickMs: 500 })
  const shell = new Shell(context, classes, `127.0.0.1:${server.port}`)
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
  await shell.calls(calls)
  await checkStop(context, server)
}

async function provision(): Promise<void> {
  await jars('java', POM)
}

export const shell: Suite = { name: 'shell', provision, run: runShell }

/** What `reconfig` and `config` print: these members and a version. */
function membersShown(members: readonly Member[], heading = ''): RegExp {
  return new RegExp(
    `^${heading}${members.map((member) => `${memberLine(member)}\\n`).join('')}version=[0-9a-f]+$`,
  )
}

/** The members are removed, added and given as a whole; `newcomer` runs already and is in nobody's list. */
function memberSteps(members: readonly Member[], newcomer: Member): readonly Step[] {
  const [third] = members.slice(2) as [Member]
  const two = members.slice(0, 2)
  const four = [...members, newcomer]
  const committed = (those: readonly Member[]): RegExp =>
    membersShown(those, 'Committed new configuration:\n')
  return [
    ['create /three x', 'Created /three'],
    ['sync /three', 'Sync is OK'],
    ['config', membersShown(members)],
    ['config -c', /^[0-9a-f]+ 127\.0\.0\.1:\d+,127\.0\.0\.1:\d+,127\.0\.0\.1:\d+$/],
    ['reconfig -remove 3', 'Insufficient permission :'],
    ['addauth digest super:interop', ''],
    ['config -w', membersShown(members)],
    ['reconfig -v 77 -remove 3', 'version No is not valid :'],
    ['reconfig -remove 3', committed(two)],
    ['config', membersShown(two)],
    ['create /two x', 'Created /two'],
    [`reconfig -add ${memberLine(third)}`, committed(members)],
    [`reconfig -add ${memberLine(newcomer)}`, committed(four)],
    ['config -s', new RegExp(memberLine(newcomer)), STAT],
    ['create /four x', 'Created /four'],
    ['reconfig -add server.9=nonsense', 'Arguments are not valid :'],
    ['reconfig -remove 1,2,3', 'Arguments are not valid :'],
    ['config', membersShown(four)],
  ]
}

async function runShellEnsemble(context: SuiteContext): Promise<void> {
  const { dir, report } = context
  const classes = await jars('java', POM)
  const ensemble = await Ensemble.create(dir, { tickMs: 1000, settings: memberSettings })
  const all = new Shell(context, classes, ensemble.hosts)
  await report.check('waits-for-servers-that-start-later', async () => {
    const waiting = all.call(['-waitforconnection', 'create', '/waited', 'data'], '')
    await ensemble.launch()
    const { code, stdout } = await waiting
    if (code !== 0 || !stdout.includes('Created /waited'))
      throw new Error(`exit code ${code}: ${tail(stdout)}`)
    return undefined
  })
  // A leader that is removed leaves, and clients with it; that is another test's concern.
  await ensemble.unseat(3)
  const { member, server } = await ensemble.createNewcomer()
  await server.launch()
  const events = await all.session('members', memberSteps(ensemble.members, member))
  await report.check('change-of-members-is-told', () => {
    const seen = events.join('\n')
    if (seen !== 'NodeDataChanged path:/zookeeper/config') throw new Error(`seen ${seen}`)
    return undefined
  })
  const fourth = new Shell(context, classes, `127.0.0.1:${server.port}`)
  await fourth.session('newcomer', [
    ['sync /', 'Sync is OK'],
    ['get /two', 'x'],
    ['create /four/mine y', 'Created /four/mine'],
    ['config', membersShown([...ensemble.members, member])],
  ])
  // Its clients may have to go when it does.
  await all.session('farewell', [
    ['addauth digest super:interop', ''],
    ['reconfig -remove 4', membersShown(ensemble.members, 'Committed new configuration:\n')],
    [
      `reconfig -members ${ensemble.members.map(memberLine).join(',')}`,
      membersShown(ensemble.members, 'Committed new configuration:\n'),
    ],
  ])
  await server.stop()
  await all.calls([
    [['get', '/four/mine'], 0, /^y$/m],
    [['config'], 0, /server\.3=.*\nversion=/],
  ])
  await checkStop(context, ensemble)
}

export const shellEnsemble: Suite = { name: 'shell-ensemble', provision, run: runShellEnsemble }

// Two unmodified Kafka brokers in ZooKeeper mode, driven by a program of ours that can have brokers and server
// killed and started: controller failover, a crash of the server under the brokers' feet, and on an ensemble the crash of its
// leader while messages flow.

import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { checkStop } from '../harness/client-program.ts'
import { Control, type Orders } from '../harness/control.ts'
import { Ensemble } from '../harness/ensemble.ts'
import { compileJava, javaArguments } from '../harness/java.ts'
import { interopSources } from '../harness/paths.ts'
import { freePort } from '../harness/ports.ts'
import { endGroup, type Group, startGroup } from '../harness/processes.ts'
import { jars, must } from '../harness/provision.ts'
import { Server } from '../harness/server.ts'
import { runProgram, type Suite, type SuiteContext } from '../harness/suite.ts'

const TICK_MS = 1000
const SESSION_MS = 6000
const CHROOT = '/interop/kafka'
const STOP_LIMIT_MS = 60_000
const LOG4J = `-Dlog4j.configuration=file:${join(interopSources, 'kafka', 'log4j.properties')}`

/** What every broker has; a small cluster with two replicas of everything. */
const commonSettings = [
  'num.partitions=2',
  'default.replication.factor=2',
  'min.insync.replicas=1',
  'offsets.topic.replication.factor=2',
  'offsets.topic.num.partitions=2',
  'transaction.state.log.replication.factor=2',
  'transaction.state.log.num.partitions=2',
  'transaction.state.log.min.isr=1',
  'group.initial.rebalance.delay.ms=0',
  'auto.create.topics.enable=false',
  'auto.leader.rebalance.enable=false',
  'unclean.leader.election.enable=false',
  'num.network.threads=2',
  'num.io.threads=2',
  'log.cleaner.dedupe.buffer.size=8388608',
  'zookeeper.connection.timeout.ms=30000',
  `zookeeper.session.timeout.ms=${SESSION_MS}`,
]

class Broker {
  readonly address: string
  readonly #dir: string
  readonly #libraries: string
  #group: Group | undefined

  private constructor(address: string, dir: string, libraries: string) {
    this.address = address
    this.#dir = dir
    this.#libraries = libraries
  }

  static async create(id: number, dir: string, libraries: string, zookeeper: string): Promise<Broker> {
    const address = `127.0.0.1:${await freePort()}`
    await mkdir(dir)
    const own = [
      `broker.id=${id}`,
      `listeners=PLAINTEXT://${address}`,
      `log.dirs=${join(dir, 'data')}`,
      `zookeeper.connect=${zookeeper}`,
    ]
    await writeFile(join(dir, 'server.properties'), `${[...own, ...commonSettings].join('\n')}\n`)
    return new Broker(address, dir, libraries)
  }

  start(): Promise<void> {
    const main = ['kafka.Kafka', join(this.#dir, 'server.properties')]
    const args = [LOG4J, '-Xms64m', ...javaArguments('320m', this.#libraries), ...main]
    this.#group = startGroup('java', args, { logFile: join(this.#dir, 'broker.log') })
    return Promise.resolve()
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    const inTime = this.#group ? await endGroup(this.#group, signal, STOP_LIMIT_MS) : false
    if (!inTime) throw new Error(`the broker did not end within ${STOP_LIMIT_MS} ms of ${signal}`)
  }
}

/** What a run is made of, beside the brokers. */
type Setting = {
  readonly tested: Server | Ensemble
  /** Of all servers. */
  readonly hosts: string
  /** What the driver may have done to them. */
  readonly orders: Orders
  /** Arguments of the driver. */
  readonly args: readonly string[]
}

async function runKafka(context: SuiteContext, setting: Setting): Promise<void> {
  const { dir, report } = context
  const libraries = join(await jars('kafka', 'pom.xml'), '*')
  const classes = await compileJava(dir, libraries, 'kafka/KafkaChecks.java')
  const zookeeper = `${setting.hosts}${CHROOT}`
  const one = await Broker.create(1, join(dir, 'broker-1'), libraries, zookeeper)
  const two = await Broker.create(2, join(dir, 'broker-2'), libraries, zookeeper)
  const control = await Control.start({
    ...setting.orders,
    // What one check leaves behind is where the next begins.
    open: () => undefined,
    'kill-1': () => one.end('SIGKILL'),
    'kill-2': () => two.end('SIGKILL'),
    'stop-1': () => one.end('SIGTERM'),
    'stop-2': () => two.end('SIGTERM'),
    'start-1': () => one.start(),
    'start-2': () => two.start(),
  })
  await one.start()
  await two.start()
  const java = [LOG4J, ...javaArguments('192m', libraries, classes)]
  await runProgram(context, 'driver', 'java', [...java, 'KafkaChecks', ...setting.args], {
    env: {
      ZK_HOST: zookeeper,
      PROXY_CONTROL: String(control.port),
      TICK_MS: String(TICK_MS),
      SESSION_MS: String(SESSION_MS),
      BOOTSTRAP: `${one.address},${two.address}`,
      CHECK_LIMIT_S: '150',
    },
    timeoutMs: 420_000,
  })
  await report.check('kafka-s-own-tool-writes-directly', async () => {
    const alter = ['--alter', '--entity-type', 'users', '--entity-name', 'alice']
    const secret = ['--add-config', 'SCRAM-SHA-256=[iterations=4096,password=x]']
    const tool = [...java, 'kafka.admin.ConfigCommand', '--zookeeper', zookeeper]
    await must('java', [...tool, ...alter, ...secret])
    const describe = ['--describe', '--entity-type', 'users', '--entity-name', 'alice']
    const shown = await must('java', [...tool, ...describe])
    if (!shown.includes('SCRAM-SHA-256')) throw new Error(`described as: ${shown}`)
    return undefined
  })
  // The last broker of a cluster waits long for somebody to take over before it stops.
  await Promise.all([one.end('SIGKILL'), two.end('SIGKILL')])
  await control.stop()
  await checkStop(context, setting.tested)
}

async function provision(): Promise<void> {
  await jars('kafka', 'pom.xml')
}

export const kafka: Suite = {
  name: 'kafka',
  provision,
  run: async (context) => {
    const server = await Server.start(context.dir, { tickMs: TICK_MS })
    const orders = { crash: () => server.crash(), launch: () => server.launch() }
    await runKafka(context, { tested: server, hosts: `127.0.0.1:${server.port}`, orders, args: [] })
  },
}

export const kafkaEnsemble: Suite = {
  name: 'kafka-ensemble',
  provision,
  run: async (context) => {
    const ensemble = await Ensemble.start(context.dir, { tickMs: TICK_MS })
    const { hosts, orders } = ensemble
    await runKafka(context, { tested: ensemble, hosts, orders, args: ['ensemble'] })
  },
}

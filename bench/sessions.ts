// What idle sessions cost a server, as of clients that wait for something to change: memory for each, CPU time for their
// pings, and how fast they come and go. Usage: node dist/bench/sessions.js [count]
// Each takes a file here and one in the server: for many of them `ulimit -n` must allow it. CPU and memory: on Linux only.
import { setTimeout as sleep } from 'node:timers/promises'
import { Crowd } from '../src/client/crowd.ts'
import { quantile } from '../src/client/histogram.ts'
import { cpuUs, residentBytes, startStandalone, stop, withServers, zabd } from './servers.ts'

const sessionTimeoutMs = 30_000
const connectTimeoutMs = 30_000
/** Sessions that are being opened at a time. */
const inProgress = 40
/** Opened and closed before anything is measured. */
const warmUp = 500
const idleMs = 3000
const pingedMs = 10_000

function line(name: string, value: number | undefined, unit: string): void {
  const text = value === undefined ? 'unknown' : value.toFixed(1)
  console.log(`  ${name.padEnd(52)}${text.padStart(10)} ${unit}`)
}

/** How much a value that may be unknown has grown. */
function grown(before: number | undefined, after: number | undefined): number | undefined {
  return before === undefined || after === undefined ? undefined : after - before
}

async function measure(count: number, dir: string): Promise<void> {
  const server = await startStandalone(zabd(), dir)
  const pids = [server.group.pid]
  const plan = { addresses: [server.address], sessionTimeoutMs, connectTimeoutMs, auth: [] }
  const before = new Crowd(plan)
  await before.open(warmUp, inProgress)
  await before.close()
  const cpuIn = async (ms: number) => {
    const from = await cpuUs(pids)
    await sleep(ms)
    return grown(from, await cpuUs(pids))
  }
  const idle = await cpuIn(idleMs)
  const memory = await residentBytes(pids)
  const crowd = new Crowd(plan)
  const cpu = await cpuUs(pids)
  const { opened, failed, failedReason, elapsedMs, latency } = await crowd.open(count, inProgress)
  if (failed > 0) console.log(`  ${failed} sessions could not be opened: ${failedReason}`)
  const opening = grown(cpu, await cpuUs(pids))
  line(
    `${opened.toLocaleString('en')} sessions opened, ${inProgress} at a time`,
    (opened / elapsedMs) * 1000,
    '/s',
  )
  line('  median', quantile(latency, 0.5) / 1000, 'ms')
  line('  CPU', opening && opening / opened, 'us per session')
  crowd.keepAlive()
  const pinged = await cpuIn(pingedMs)
  const more = grown(memory, await residentBytes(pids))
  const cores =
    idle !== undefined && pinged !== undefined ? (pinged / pingedMs - idle / idleMs) / 1000 : undefined
  line('memory', more && more / opened / 1024, 'KiB per session')
  line('CPU while they ping', cores && cores * 100, '% of a core')
  line('  for each', cores && (cores * 1e6) / opened, 'us per session and second')
  const closing = performance.now()
  await crowd.close()
  line('closed', (opened / (performance.now() - closing)) * 1000, '/s')
  if (crowd.lost > 0) console.log(`  ${crowd.lost} sessions were lost`)
  await stop([server])
}

const count = Number(process.argv[2] ?? 5000)
await withServers((dir) => measure(count, dir))

// What a watch costs: memory with a million of them, and time to set one, to fire one, and to drop those of a client that
// goes. Of many paths with a watcher each, as of clients that watch what is theirs, and of few paths with many watchers each,
// as of a configuration that everybody reads. Usage: node dist/bench/watches.js [count]
// Without sockets: what a notification costs beyond this is a write. Times are CPU time of this process.
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { EventType } from '../src/base/opcodes.ts'
import { Watches } from '../src/server/watches.ts'

const connections = 1000
const samples = 2000

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

type Watcher = { notified: number }

function heap(): number {
  for (let i = 0; i < 3; i++) collect()
  return process.memoryUsage().heapUsed
}

function cpuNs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) * 1000
}

function line(name: string, value: number, unit: string): void {
  console.log(`  ${name.padEnd(52)}${value.toFixed(1).padStart(10)} ${unit}`)
}

const names = Buffer.alloc(64)

/** As the server has it: a new string out of the bytes of each request. */
function pathOf(i: number): string {
  const length = names.write(`/app/svc-${i % 100}/node-${i}`, 'latin1')
  return names.toString('utf8', 0, length)
}

/** Watches on `paths` paths, each of `watchersPerPath` connections. */
function measure(paths: number, watchersPerPath: number): void {
  const count = paths * watchersPerPath
  console.log(
    `${paths.toLocaleString('en')} paths with ${watchersPerPath.toLocaleString('en')} watchers each`,
  )
  const watches = new Watches<Watcher>()
  const watchers: Watcher[] = Array.from({ length: connections }, () => ({ notified: 0 }))
  const watcher = (i: number) => watchers[i % connections] as Watcher
  const set = (path: number, n: number) => watches.addData(pathOf(path), watcher(path * watchersPerPath + n))
  const before = heap()
  const from = cpuNs()
  for (let path = 0; path < paths; path++) for (let n = 0; n < watchersPerPath; n++) set(path, n)
  line('set', (cpuNs() - from) / count, 'ns per watch')
  line('memory', (heap() - before) / count, 'bytes per watch')
  const deliver = (watcher: Watcher) => {
    watcher.notified++
  }
  let fired = 0
  let fireNs = 0
  let setNs = 0
  for (let i = 0; i < Math.max(1, samples / watchersPerPath); i++) {
    const path = Math.floor((i * 7919) % paths)
    const start = cpuNs()
    for (let round = 0; round < 100; round++) {
      const began = process.hrtime.bigint()
      watches.fire(EventType.nodeDataChanged, pathOf(path), deliver)
      fireNs += Number(process.hrtime.bigint() - began)
      for (let n = 0; n < watchersPerPath; n++) set(path, n)
    }
    setNs += cpuNs() - start
    fired += 100 * watchersPerPath
  }
  line('fire', fireNs / fired, 'ns per watcher')
  line('fire and set again', setNs / fired, 'ns per watcher')
  const quiet = 1_000_000
  const start = cpuNs()
  const other = pathOf(paths + 1)
  for (let i = 0; i < quiet; i++) watches.fire(EventType.nodeDataChanged, other, deliver)
  line('a change that nobody watches', (cpuNs() - start) / quiet, 'ns')
  const drop = cpuNs()
  for (const one of watchers) watches.removeAll(one)
  line('dropped with its connection', (cpuNs() - drop) / count, 'ns per watch')
}

const count = Number(process.argv[2] ?? 1_000_000)
measure(count, 1)
measure(Math.max(1, Math.round(count / connections)), connections)

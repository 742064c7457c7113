// What the four-letter words tell about this process and its machine (`envi`, the file descriptors in `mntr`), under
// the names that ZooKeeper's Java properties have, because tools look for these. Reads only; asked only by operators.
import { readdirSync, readFileSync, statSync } from 'node:fs'
import * as os from 'node:os'
import { dirname } from 'node:path'
import { getHeapStatistics } from 'node:v8'

/** The process as the words see it; tests give another. */
export type Host = {
  /** `envi`'s lines after zookeeper.version, in ZooKeeper's order. */
  readonly environment: () => readonly (readonly [key: string, value: string])[]
  /** -1 where the system does not tell. */
  readonly openFiles: () => number
  /** -1 where the system does not tell or sets no limit. */
  readonly maxFiles: () => number
}

/** The running process. */
export const thisHost: Host = { environment, openFiles, maxFiles }

const none = '<NA>'
const mebibyte = 1024 * 1024

/** Names of processors as Java has them, where they differ. */
const javaArchitectures: ReadonlyMap<string, string> = new Map([
  ['x64', 'amd64'],
  ['arm64', 'aarch64'],
  ['ia32', 'x86'],
])

function environment(): (readonly [string, string])[] {
  const heap = getHeapStatistics()
  const { NODE_PATH: searchPath } = process.env
  return [
    ['host.name', os.hostname()],
    ['java.version', process.version],
    ['java.vendor', 'Node.js'],
    ['java.home', dirname(dirname(process.execPath))],
    ['java.class.path', process.argv[1] ?? none],
    ['java.library.path', searchPath ?? none],
    ['java.io.tmpdir', os.tmpdir()],
    ['java.compiler', `V8 ${process.versions.v8}`],
    ['os.name', os.type()],
    ['os.arch', javaArchitectures.get(process.arch) ?? process.arch],
    ['os.version', os.release()],
    ['user.name', userName()],
    ['user.home', os.homedir()],
    ['user.dir', process.cwd()],
    ['os.memory.free', mebibytes(heap.total_heap_size - heap.used_heap_size)],
    ['os.memory.max', mebibytes(heap.heap_size_limit)],
    ['os.memory.total', mebibytes(heap.total_heap_size)],
  ]
}

function mebibytes(bytes: number): string {
  return `${Math.floor(bytes / mebibyte)}MB`
}

/** Containers often run under an id without a name, for which Node.js throws. */
function userName(): string {
  try {
    return os.userInfo().username
  } catch {
    return none
  }
}

/** Linux since 6.2 has the number as the directory's size; listing it costs ms at ten thousand connections. */
function openFiles(): number {
  try {
    return statSync('/proc/self/fd').size || readdirSync('/proc/self/fd').length
  } catch {
    return -1
  }
}

function maxFiles(): number {
  try {
    const soft = /^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]
    return soft === undefined ? -1 : Number(soft)
  } catch {
    return -1
  }
}

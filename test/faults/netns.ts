// Faults between servers by the kernel: a network namespace for each server, joined by a bridge; a direction is cut by a
// route into nowhere. Linux and root only. It removes what it has made, and touches nothing else.
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import type { Network } from './network.ts'

const run = promisify(execFile)
const ip = (...args: readonly string[]) => run('ip', args)

/** Why namespaces can not be used here; undefined: they can. */
export async function whyNoNamespaces(): Promise<string | undefined> {
  if (process.platform !== 'linux') return 'network namespaces are Linux only'
  if (process.getuid?.() !== 0) return 'network namespaces need root'
  const name = `zabd${process.pid}probe`
  try {
    await ip('netns', 'add', name)
    await ip('netns', 'exec', name, 'ip', 'link', 'set', 'lo', 'up')
    await ip('netns', 'del', name)
    return undefined
  } catch (error) {
    return `ip netns does not work: ${error instanceof Error ? error.message.trim() : String(error)}`
  }
}

/** A bridge with a namespace for each id, 10.231.SUBNET.ID. Throws if the machine does not let it. */
export async function createNamespaceNetwork(ids: readonly number[], subnet: number): Promise<Network> {
  const tag = `z${process.pid}`
  const bridge = `${tag}br`
  const namespace = (id: number) => `${tag}n${id}`
  const host = (id: number) => `10.231.${subnet}.${id}`
  const blocked = new Set<string>()
  const dispose = async () => {
    for (const id of ids) await ip('netns', 'del', namespace(id)).catch(() => {})
    await ip('link', 'del', bridge).catch(() => {})
  }
  try {
    await ip('link', 'add', bridge, 'type', 'bridge')
    await ip('addr', 'add', `10.231.${subnet}.254/24`, 'dev', bridge)
    await ip('link', 'set', bridge, 'up')
    for (const id of ids) {
      const inside = (...args: readonly string[]) => ip('-n', namespace(id), ...args)
      await ip('netns', 'add', namespace(id))
      await ip('link', 'add', `${tag}v${id}`, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', namespace(id))
      await ip('link', 'set', `${tag}v${id}`, 'master', bridge, 'up')
      await inside('addr', 'add', `${host(id)}/24`, 'dev', 'eth0')
      await inside('link', 'set', 'lo', 'up')
      await inside('link', 'set', 'eth0', 'up')
    }
  } catch (error) {
    await dispose()
    throw error
  }
  return {
    host,
    address: (_, to, port) => ({ host: host(to), port }),
    prefix: (id) => ['ip', 'netns', 'exec', namespace(id)],
    async block(from, to) {
      const key = `${from}>${to}`
      if (blocked.has(key)) return
      blocked.add(key)
      await ip('-n', namespace(from), 'route', 'add', 'blackhole', `${host(to)}/32`)
    },
    reset() {},
    delay() {},
    async heal() {
      for (const key of blocked) {
        const [from = 0, to = 0] = key.split('>').map(Number)
        await ip('-n', namespace(from), 'route', 'del', 'blackhole', `${host(to)}/32`)
      }
      blocked.clear()
    },
    dispose,
  }
}

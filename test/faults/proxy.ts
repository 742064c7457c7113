// Faults between servers without root: every server is told an address of its own for each of the others, behind which
// a TCP proxy can hold back each direction. What is held back includes new connections and the end of old ones, so that
// a silent network looks silent. It never looks into what it passes on.
import net from 'node:net'
import type { Network } from './network.ts'

/** Bytes that wait in one direction before the sender is made to wait. */
const heldMaxBytes = 256 * 1024

/** One direction of one connection. */
class Flow {
  readonly #source: net.Socket
  readonly #sink: net.Socket
  readonly #link: Link
  /** Ready at a time; null is the end of the stream. In order. */
  readonly #queue: { readonly chunk: Buffer | null; readonly readyMs: number }[] = []
  #heldBytes = 0
  #timer: NodeJS.Timeout | undefined

  constructor(source: net.Socket, sink: net.Socket, link: Link) {
    this.#source = source
    this.#sink = sink
    this.#link = link
    source.on('data', (chunk: Buffer) => this.#add(chunk))
    // Also after a reset: the other side hears of it only through the network.
    source.once('close', () => this.#add(null))
    sink.on('drain', () => this.pump())
    sink.once('close', () => clearTimeout(this.#timer))
  }

  #add(chunk: Buffer | null): void {
    this.#queue.push({ chunk, readyMs: performance.now() + this.#link.delayMs })
    this.#heldBytes += chunk?.length ?? 0
    if (this.#heldBytes > heldMaxBytes) this.#source.pause()
    this.pump()
  }

  /** Passes on what may pass now. */
  pump(): void {
    clearTimeout(this.#timer)
    if (this.#sink.destroyed) return
    for (let head = this.#queue[0]; head !== undefined; head = this.#queue[0]) {
      if (this.#link.isBlocked || this.#sink.pending || this.#sink.writableNeedDrain) return
      const waitMs = head.readyMs - performance.now()
      if (waitMs > 0) {
        this.#timer = setTimeout(() => this.pump(), waitMs)
        return
      }
      this.#queue.shift()
      if (head.chunk === null) this.#sink.destroySoon()
      else {
        this.#heldBytes -= head.chunk.length
        this.#sink.write(head.chunk)
      }
    }
    if (this.#source.isPaused()) this.#source.resume()
  }
}

/** The direction from one server to another, over all connections between them. */
class Link {
  isBlocked = false
  delayMs = 0
  readonly flows = new Set<Flow>()

  pump(): void {
    for (const flow of this.flows) flow.pump()
  }
}

/** Connections dialled by `from` to `to`. */
type Route = {
  readonly from: number
  readonly to: number
  readonly listener: net.Server
  readonly sockets: Set<net.Socket>
  /** Dialled while the network was silent: to be connected when it heals. */
  readonly waiting: Set<() => void>
}

/**
 * A network of proxies on loopback. `ports` gives a free port for each (server, other server, port of the other).
 * Throws if one can not be bound.
 */
export async function createProxyNetwork(
  ids: readonly number[],
  peerPorts: (id: number) => readonly number[],
  nextPort: () => number,
): Promise<Network> {
  const links = new Map<string, Link>()
  const link = (from: number, to: number) => {
    const key = `${from}>${to}`
    const found = links.get(key) ?? new Link()
    links.set(key, found)
    return found
  }
  const routes = new Map<string, Route & { readonly port: number }>()
  for (const from of ids) {
    for (const to of ids) {
      if (from === to) continue
      for (const target of peerPorts(to)) {
        const port = nextPort()
        const route = await listen(from, to, port, target, link)
        routes.set(`${from}>${to}:${target}`, { ...route, port })
      }
    }
  }
  const between = (a: number, b: number) =>
    [...routes.values()].filter(({ from, to }) => (from === a && to === b) || (from === b && to === a))
  return {
    host: () => '127.0.0.1',
    address(from, to, port) {
      const route = routes.get(`${from}>${to}:${port}`)
      return { host: '127.0.0.1', port: from === to ? port : (route?.port ?? port) }
    },
    prefix: () => [],
    block(from, to) {
      link(from, to).isBlocked = true
      return Promise.resolve()
    },
    reset(a, b) {
      for (const { sockets } of between(a, b)) for (const socket of sockets) socket.resetAndDestroy()
    },
    delay(from, to, delayMs) {
      link(from, to).delayMs = delayMs
    },
    heal() {
      for (const each of links.values()) {
        each.isBlocked = false
        each.delayMs = 0
        each.pump()
      }
      for (const { waiting } of routes.values()) for (const connect of [...waiting]) connect()
      return Promise.resolve()
    },
    async dispose() {
      for (const { listener, sockets } of routes.values()) {
        for (const socket of sockets) socket.destroy()
        await new Promise((resolve) => listener.close(resolve))
      }
    },
  }
}

async function listen(
  from: number,
  to: number,
  port: number,
  target: number,
  link: (from: number, to: number) => Link,
): Promise<Route> {
  const [there, back] = [link(from, to), link(to, from)]
  const listener = net.createServer()
  const route: Route = { from, to, listener, sockets: new Set(), waiting: new Set() }
  const track = (socket: net.Socket) => {
    socket.setNoDelay(true)
    socket.on('error', () => {})
    route.sockets.add(socket)
    socket.once('close', () => route.sockets.delete(socket))
  }
  listener.on('connection', (dialler) => {
    const upstream = new net.Socket()
    track(dialler)
    track(upstream)
    const flows = [new Flow(dialler, upstream, there), new Flow(upstream, dialler, back)] as const
    there.flows.add(flows[0])
    back.flows.add(flows[1])
    const connect = () => {
      // The kernel has answered the dialler already; it hears nothing more until the network heals.
      if (there.isBlocked || back.isBlocked) return
      route.waiting.delete(connect)
      upstream.connect({ port: target, host: '127.0.0.1' })
    }
    upstream.once('connect', () => flows[0].pump())
    upstream.once('close', () => there.flows.delete(flows[0]))
    dialler.once('close', () => {
      back.flows.delete(flows[1])
      // A connection given up before the network healed was never made.
      if (route.waiting.delete(connect)) upstream.destroy()
    })
    route.waiting.add(connect)
    connect()
  })
  await new Promise<void>((resolve, reject) => {
    listener.once('error', reject)
    listener.listen(port, '127.0.0.1', resolve)
  })
  return route
}

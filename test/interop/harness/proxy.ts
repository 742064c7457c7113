// A TCP proxy that stands for a bad network between a client and the server. Test programs in any language
// steer it over a control port, one word per line, each answered with `ok`:
//   cut    end all connections now; new ones are accepted
//   block  end all connections now and every new one at once, until `open`
//   open   the network is good again
// and whatever else its owner gives it, such as `restart` for the server behind it. It never looks at the bytes.

import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { freePort } from './ports.ts'
import { messageOf } from './report.ts'

/** What the control port knows beside the proxy's own words. */
export type Orders = Readonly<Record<string, () => Promise<void>>>

export class TcpProxy {
  readonly port: number
  readonly controlPort: number
  readonly #orders: Orders
  readonly #targetPort: number
  readonly #servers: Server[] = []
  readonly #pairs = new Set<readonly [Socket, Socket]>()
  readonly #controls = new Set<Socket>()
  #blocked = false

  private constructor(port: number, controlPort: number, targetPort: number, orders: Orders) {
    this.#orders = orders
    this.port = port
    this.controlPort = controlPort
    this.#targetPort = targetPort
  }

  /** Listens on two loopback ports and forwards to `targetPort` there. */
  static async start(targetPort: number, orders: Orders = {}): Promise<TcpProxy> {
    const proxy = new TcpProxy(await freePort(), await freePort(), targetPort, orders)
    await proxy.#listen(proxy.port, (socket) => proxy.#join(socket))
    await proxy.#listen(proxy.controlPort, (socket) => proxy.#obey(socket))
    return proxy
  }

  /** Ends every connection through the proxy, without a farewell (RST). */
  cut(): void {
    for (const [near, far] of this.#pairs) {
      near.resetAndDestroy()
      far.resetAndDestroy()
    }
    this.#pairs.clear()
  }

  async stop(): Promise<void> {
    this.cut()
    for (const control of this.#controls) control.destroy()
    await Promise.all(this.#servers.map((server) => new Promise((resolve) => server.close(resolve))))
  }

  #listen(port: number, onConnection: (socket: Socket) => void): Promise<AddressInfo> {
    const server = createServer({ noDelay: true }, onConnection)
    this.#servers.push(server)
    return new Promise((resolve, reject) => {
      server.once('error', reject)
      server.listen(port, '127.0.0.1', () => resolve(server.address() as AddressInfo))
    })
  }

  #join(near: Socket): void {
    if (this.#blocked) {
      near.on('error', () => undefined)
      near.resetAndDestroy()
      return
    }
    const far = connect({ port: this.#targetPort, host: '127.0.0.1', noDelay: true })
    const pair = [near, far] as const
    this.#pairs.add(pair)
    for (const [from, to] of [pair, [far, near] as const]) {
      from.on('error', () => to.destroy())
      from.on('close', () => {
        to.destroy()
        this.#pairs.delete(pair)
      })
      from.pipe(to)
    }
  }

  #obey(control: Socket): void {
    this.#controls.add(control)
    control.setEncoding('utf8')
    control.on('error', () => undefined)
    control.on('close', () => this.#controls.delete(control))
    let text = ''
    control.on('data', (chunk: string) => {
      text += chunk
      for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
        const word = text.slice(0, end).trim()
        text = text.slice(end + 1)
        this.#order(word).then(
          () => control.write('ok\n'),
          (error: unknown) => control.write(`${messageOf(error)}\n`),
        )
      }
    })
  }

  async #order(word: string): Promise<void> {
    const other = this.#orders[word]
    if (other) return await other()
    if (word !== 'cut' && word !== 'block' && word !== 'open') throw new Error(`unknown word '${word}'`)
    this.#blocked = word === 'block' || (word === 'cut' && this.#blocked)
    if (word !== 'open') this.cut()
  }
}

// A TCP proxy that stands for a bad network between a client and the server. Test programs in any language
// steer it over a control port, one word per line, each answered with `ok`:
//   cut    end all connections now; new ones are accepted
//   block  end all connections now and every new one at once, until `open`
//   open   the network is good again
// and whatever else its owner gives it, such as `restart` for the server behind it. It never looks at the bytes.

import { connect, createServer, type Server, type Socket } from 'node:net'
import { Control, type Orders } from './control.ts'
import { freePort } from './ports.ts'

export class TcpProxy {
  readonly port: number
  readonly #targetPort: number
  readonly #server: Server
  readonly #pairs = new Set<readonly [Socket, Socket]>()
  #control: Control | undefined
  #blocked = false

  private constructor(port: number, targetPort: number) {
    this.port = port
    this.#targetPort = targetPort
    this.#server = createServer({ noDelay: true }, (socket) => this.#join(socket))
  }

  /** Listens on two loopback ports and forwards to `targetPort` there. */
  static async start(targetPort: number, orders: Orders = {}): Promise<TcpProxy> {
    const proxy = new TcpProxy(await freePort(), targetPort)
    proxy.#control = await Control.start({
      ...orders,
      cut: () => proxy.cut(),
      block: () => {
        proxy.#blocked = true
        proxy.cut()
      },
      open: () => {
        proxy.#blocked = false
      },
    })
    await new Promise<void>((resolve, reject) => {
      proxy.#server.once('error', reject)
      proxy.#server.listen(proxy.port, '127.0.0.1', resolve)
    })
    return proxy
  }

  get controlPort(): number {
    return this.#control?.port ?? 0
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
    await this.#control?.stop()
    await new Promise((resolve) => this.#server.close(resolve))
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
}

// The control port of a test: programs in any language tell it one order per line, a word and perhaps an argument, and
// get `ok`, or what went wrong, when the order is carried out. It knows no orders of its own.

import { createServer, type Server, type Socket } from 'node:net'
import { freePort } from './ports.ts'
import { messageOf } from './report.ts'

/** What programs may say, and what is done then. */
export type Orders = Readonly<Record<string, (argument: string) => Promise<void> | void>>

export class Control {
  readonly port: number
  readonly #orders: Orders
  readonly #connections = new Set<Socket>()
  readonly #server: Server

  private constructor(port: number, orders: Orders) {
    this.port = port
    this.#orders = orders
    this.#server = createServer({ noDelay: true }, (socket) => this.#obey(socket))
  }

  /** Listens on a free loopback port. */
  static async start(orders: Orders): Promise<Control> {
    const control = new Control(await freePort(), orders)
    await new Promise<void>((resolve, reject) => {
      control.#server.once('error', reject)
      control.#server.listen(control.port, '127.0.0.1', resolve)
    })
    return control
  }

  async stop(): Promise<void> {
    for (const connection of this.#connections) connection.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #obey(connection: Socket): void {
    this.#connections.add(connection)
    connection.setEncoding('utf8')
    connection.on('error', () => undefined)
    connection.on('close', () => this.#connections.delete(connection))
    let text = ''
    connection.on('data', (chunk: string) => {
      text += chunk
      for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
        const line = text.slice(0, end).trim()
        text = text.slice(end + 1)
        this.#carryOut(line).then(
          () => connection.write('ok\n'),
          (error: unknown) => connection.write(`${messageOf(error).replaceAll(/\s+/g, ' ')}\n`),
        )
      }
    })
  }

  async #carryOut(line: string): Promise<void> {
    const [word = '', argument = ''] = line.split(' ')
    const order = this.#orders[word]
    if (!order) throw new Error(`unknown order '${word}'`)
    await order(argument)
  }
}

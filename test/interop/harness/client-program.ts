// The usual course of a suite: a fresh server, a proxy before it, one test program, and a clean stop at the end.

import { TcpProxy } from './proxy.ts'
import { Server, type ServerOptions } from './server.ts'
import { runProgram, type SuiteContext } from './suite.ts'

const TICK_MS = 500
const PROGRAM_LIMIT_MS = 300_000

export type Program = {
  /** Of the log file. */
  readonly name: string
  readonly command: string
  readonly args: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

/**
 * Runs a test program against a server of its own. The program finds in its environment ZK_HOST and, with TLS,
 * ZK_SECURE_HOST (host:port), PROXY_HOST (the same server through the proxy), PROXY_CONTROL (a port, see proxy.ts;
 * it knows `restart` too) and TICK_MS.
 */
export async function runClientProgram(
  context: SuiteContext,
  program: Program,
  options: Omit<ServerOptions, 'tickMs'> = {},
): Promise<void> {
  const server = await Server.start(context.dir, { tickMs: TICK_MS, ...options })
  const proxy = await TcpProxy.start(server.port, { restart: () => server.restart() })
  await runProgram(context, program.name, program.command, program.args, {
    env: {
      ...program.env,
      ZK_HOST: `127.0.0.1:${server.port}`,
      ZK_SECURE_HOST: `127.0.0.1:${server.securePort}`,
      PROXY_HOST: `127.0.0.1:${proxy.port}`,
      PROXY_CONTROL: String(proxy.controlPort),
      TICK_MS: String(TICK_MS),
    },
    timeoutMs: PROGRAM_LIMIT_MS,
  })
  await proxy.stop()
  await checkStop(context, server)
}

/** The last check of every suite: the server is still there, and SIGTERM ends it cleanly. */
export async function checkStop({ report }: SuiteContext, server: Server): Promise<void> {
  await report.check('server-stops-cleanly', async () => {
    await server.stop()
    return undefined
  })
}

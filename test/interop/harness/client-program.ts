// The usual course of a suite: a fresh server with a proxy before it, or a fresh ensemble, one test program, and a clean
// stop at the end.

import { Control } from './control.ts'
import { Ensemble, type EnsembleOptions } from './ensemble.ts'
import { TcpProxy } from './proxy.ts'
import { Server, type ServerOptions } from './server.ts'
import { runProgram, type SuiteContext } from './suite.ts'

const TICK_MS = 500
/** Of ensembles: sessions must outlive elections on a busy machine. */
const ENSEMBLE_TICK_MS = 1000
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

/**
 * Runs test programs, one after the other, against an ensemble of their own. In their environment are ZK_HOST (all servers, in the order of
 * their ids), PROXY_CONTROL (a port that knows the orders in ensemble.ts) and TICK_MS.
 */
export async function runEnsemblePrograms(
  context: SuiteContext,
  programs: readonly Program[],
  options: Omit<EnsembleOptions, 'tickMs'> = {},
): Promise<void> {
  const ensemble = await Ensemble.start(context.dir, { tickMs: ENSEMBLE_TICK_MS, ...options })
  const control = await Control.start(ensemble.orders)
  for (const program of programs) {
    await runProgram(context, program.name, program.command, program.args, {
      env: {
        ...program.env,
        ZK_HOST: ensemble.hosts,
        PROXY_CONTROL: String(control.port),
        TICK_MS: String(ENSEMBLE_TICK_MS),
        CHECK_LIMIT_S: '120',
      },
      timeoutMs: PROGRAM_LIMIT_MS,
    })
  }
  await control.stop()
  await checkStop(context, ensemble)
}

/** The last check of every suite: server or ensemble are still there, and SIGTERM ends them cleanly. */
export async function checkStop({ report }: SuiteContext, tested: Server | Ensemble): Promise<void> {
  await report.check(
    tested instanceof Ensemble ? 'servers-stop-cleanly' : 'server-stops-cleanly',
    async () => {
      await tested.stop()
      return undefined
    },
  )
}

// `zabd start`: configuration, log, server, and what ends it: a signal, the server itself, or an uncaught error.
// It never calls process.exit; it answers with the exit code, and ends the process at once only through `machine.exit`.
import type { Logger, LoggerOptions } from '../base/log.ts'
import { loadConfig } from '../config/load.ts'
import { type Config, ConfigError, type Env, type Flags } from '../config/types.ts'
import type { RunningServer as Server } from '../node/server.ts'
import { ExitCode, explain } from './exit.ts'

/** A started server, as far as the command line needs it. */
export type RunningServer = Pick<Server, 'close' | 'finished'>

/** Resolves when the server listens. Rejects with ConfigError, StorageError or the error of a listening socket. */
export type StartServer = (config: Config, logger: Logger) => Promise<RunningServer>

/** Events of the process: SIGTERM, SIGINT, uncaughtException, unhandledRejection. */
export type ProcessEvents = {
  on(event: string, listener: (value: unknown) => void): unknown
  off(event: string, listener: (value: unknown) => void): unknown
}

/** What the commands use of the process that they run in. */
export type Machine = {
  readonly out: (text: string) => void
  readonly err: (text: string) => void
  readonly env: Env
  readonly events: ProcessEvents
  /** Ends the process now, with nothing closed. */
  readonly exit: (code: ExitCode) => void
  readonly createLogger: (options: LoggerOptions) => Logger | Promise<Logger>
  readonly startServer: StartServer
}

export type LogFormat = 'auto' | 'json' | 'pretty'

/** Runs a server until it ends; answers with the exit code. */
export async function runStart(flags: Flags, logFormat: LogFormat, machine: Machine): Promise<ExitCode> {
  let config: Config
  try {
    config = loadConfig(flags, machine.env)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return refuse(error, machine)
  }
  const logger = await machine.createLogger({
    level: config.logLevel,
    ...(logFormat === 'auto' ? {} : { pretty: logFormat === 'pretty' }),
  })
  for (const warning of config.warnings) logger.warn(warning)
  if (config.ignored.length > 0) {
    logger.warn({ settings: config.ignored }, 'settings of the configuration do nothing')
  }

  const watch = watchProcess(machine, logger)
  try {
    const server = await machine.startServer(config, logger)
    // A server that ended with an error, or a signal; a signal while starting ends the server as soon as it is there.
    const ended = await Promise.race([watch.signalled.then(() => 'signal' as const), server.finished])
    if (ended === 'signal') await server.close()
    else if (ended !== undefined) throw ended
    logger.info('stopped')
    return ExitCode.clean
  } catch (error) {
    if (error instanceof ConfigError) return refuse(error, machine)
    const { code, message, fields } = explain(error, config)
    logger.fatal(fields, message)
    return code
  } finally {
    watch.end()
  }
}

function refuse(error: ConfigError, machine: Machine): ExitCode {
  machine.err(`zabd: the configuration can not be used\n${error.message.replaceAll(/^/gm, '  ')}\n`)
  return ExitCode.usage
}

/** The first signal asks for a clean end, the second ends the process at once, as does an error nobody caught. */
function watchProcess(machine: Machine, logger: Logger) {
  const { promise: signalled, resolve } = signal()
  let stopping = false
  const onSignal = (name: string) => () => {
    if (stopping) {
      logger.warn({ signal: name }, 'stopping at once')
      machine.exit(ExitCode.unexpected)
      return
    }
    stopping = true
    logger.info({ signal: name }, 'stopping; a second signal stops at once')
    resolve()
  }
  const onUncaught = (error: unknown) => {
    logger.fatal({ err: error }, 'zabd stops because of an error that nobody caught')
    machine.exit(ExitCode.unexpected)
  }
  const listeners: readonly (readonly [event: string, listener: (value: unknown) => void])[] = [
    ['SIGTERM', onSignal('SIGTERM')],
    ['SIGINT', onSignal('SIGINT')],
    ['uncaughtException', onUncaught],
    ['unhandledRejection', onUncaught],
  ]
  for (const [event, listener] of listeners) machine.events.on(event, listener)
  return {
    signalled,
    end: () => {
      for (const [event, listener] of listeners) machine.events.off(event, listener)
    },
  }
}

function signal(): { promise: Promise<void>; resolve: () => void } {
  let resolve = () => {}
  const promise = new Promise<void>((settle) => {
    resolve = settle
  })
  return { promise, resolve }
}

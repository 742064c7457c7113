// The log of the process: pino behind one small function, so that no other module knows how lines are written.
// Lines are for people on a terminal and JSON everywhere else. It never filters or rewrites what callers log.
import { createRequire } from 'node:module'
import { type DestinationStream, type Logger, pino, stdTimeFunctions } from 'pino'
import type { prettyFactory as PrettyFactory } from 'pino-pretty'

export type { Logger } from 'pino'

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error'

/** The levels that can be asked for, most talkative first. */
export const logLevels: readonly LogLevel[] = ['trace', 'debug', 'info', 'warn', 'error']

export type LoggerOptions = {
  readonly level: LogLevel | 'silent'
  /** Lines for people instead of JSON. Default: whether standard output is a terminal. */
  readonly pretty?: boolean
  /** Where the lines go; default standard output. Written synchronously, so nothing is lost at an exit. */
  readonly destination?: DestinationStream
}

/** A logger for the whole process. pino-pretty is loaded only for pretty lines: it would double the start-up time. */
export function createLogger(options: LoggerOptions): Logger {
  const pretty = options.pretty ?? process.stdout.isTTY === true
  const settings = {
    level: options.level,
    base: null,
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  }
  const destination = options.destination ?? pino.destination({ dest: 1, sync: true })
  return pino(settings, pretty ? prettyLines(destination, options.destination === undefined) : destination)
}

function prettyLines(destination: DestinationStream, onTerminal: boolean): DestinationStream {
  const { prettyFactory } = createRequire(import.meta.url)('pino-pretty') as {
    prettyFactory: typeof PrettyFactory
  }
  const format = prettyFactory({
    colorize: onTerminal && process.stdout.hasColors?.() === true,
    translateTime: 'SYS:yyyy-mm-dd HH:MM:ss.l',
  })
  return { write: (line) => destination.write(format(line)) }
}

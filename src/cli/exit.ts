// How the process ends: the exit codes that scripts rely on (DESIGN.md 4), and which of them an error means.
import { type Config, ConfigError } from '../config/types.ts'
import { StorageError } from '../storage/types.ts'

export const ExitCode = {
  clean: 0,
  unexpected: 1,
  /** Bad usage or configuration. */
  usage: 2,
  /** The data can not be read. */
  storage: 3,
  addressInUse: 4,
} as const

export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode]

/** What to tell an operator about an error that ends the process. */
export type Failure = {
  readonly code: ExitCode
  /** One or more sentences: what happened and what can be done. */
  readonly message: string
  /** Fields for the log line. */
  readonly fields: Readonly<Record<string, unknown>>
}

/** Explains an error of `startServer` or of a running server. */
export function explain(error: unknown, config: Config): Failure {
  if (error instanceof ConfigError) return { code: ExitCode.usage, message: error.message, fields: {} }
  if (error instanceof StorageError) {
    const { kind, path, remedy, message, cause } = error
    return {
      code: ExitCode.storage,
      message: `${message.includes(path) ? message : `${message} (${path})`}. ${remedy}`,
      fields: { kind, path, cause },
    }
  }
  const listen = listenError(error)
  if (listen !== undefined) {
    const { code, port } = listen
    const address = `${bracket(listen.address)}:${port}`
    const { portFlag, hostFlag } = flagsOf(port, config)
    const fields = { address, code }
    if (code === 'EADDRINUSE') {
      const message = `${address} is in use by another process. Stop that process, or choose another port with ${portFlag}`
      return { code: ExitCode.addressInUse, message, fields }
    }
    const message =
      code === 'EACCES'
        ? `${address} may be used by the administrator only. Choose a port from 1024 up with ${portFlag}`
        : `${address} is not an address of this machine (${code}). Choose another with ${hostFlag}`
    return { code: ExitCode.usage, message, fields }
  }
  return { code: ExitCode.unexpected, message: 'zabd stops because of an error', fields: { err: error } }
}

type ListenError = { readonly code: string; readonly address: string; readonly port: number }

/** The error of a listening socket: in use, not an address of this machine, not permitted, or not a known name. */
function listenError(error: unknown): ListenError | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined
  const { code, address, hostname, port, syscall } = error as NodeJS.ErrnoException & {
    address?: string
    hostname?: string
    port?: number
  }
  const listening = code === 'EADDRINUSE' || syscall === 'listen' || syscall === 'bind'
  if (code === undefined || !listening) return undefined
  return { code, address: address ?? hostname ?? '', port: port ?? 0 }
}

type AddressFlags = { readonly portFlag: string; readonly hostFlag: string }

/** The flags, and the keys of the file, by which an address of the configuration can be changed. */
function flagsOf(port: number, config: Config): AddressFlags {
  const own = config.servers.find((server) => server.id === config.id)
  if (port === config.clientPort) {
    return { portFlag: '--client-port (clientPort)', hostFlag: '--client-host (clientPortAddress)' }
  }
  if (port === config.secureClientPort) {
    return {
      portFlag: '--secure-client-port (secureClientPort)',
      hostFlag: '--secure-client-host (secureClientPortAddress)',
    }
  }
  if (port === own?.peerPort) {
    const flag = `--server (server.${own.id}) on every server`
    return { portFlag: flag, hostFlag: `${flag}, or listen on all with -D quorumListenOnAllIPs=true` }
  }
  if (config.metrics.enabled && port === config.metrics.port) {
    return {
      portFlag: '--metrics-port (metricsProvider.httpPort)',
      hostFlag: '--metrics-host (metricsProvider.httpHost)',
    }
  }
  if (config.admin.enabled && port === config.admin.port) {
    return {
      portFlag: '--admin-port (admin.serverPort), or do without by --no-admin (admin.enableServer=false)',
      hostFlag: '--admin-host (admin.serverAddress)',
    }
  }
  return { portFlag: 'the flags of zabd start', hostFlag: 'the flags of zabd start' }
}

function bracket(host: string): string {
  return host.includes(':') ? `[${host}]` : host
}

// `zabd status`: asks a server by four-letter words how it is, for people and for health checks. Any server that
// speaks ZooKeeper's protocol will do. It changes nothing on the server.
import { connect } from 'node:net'
import { ExitCode } from './exit.ts'

export type StatusOptions = {
  /** `host:port`, `host`, `port` or `[ipv6]:port`; undefined: 127.0.0.1:2181. */
  readonly address: string | undefined
  readonly json: boolean
  /** For each question. */
  readonly timeoutMs: number
}

type Address = { readonly host: string; readonly port: number }

/** What a serving server says of itself. */
type Report = {
  readonly role: string
  readonly zxid: string
  readonly connections: number
  readonly znodes: number
  readonly outstanding: number
  readonly latencyMs: { readonly min: number; readonly avg: number; readonly max: number }
  readonly version: string
  /** Everything `mntr` told, without the prefix zk_; undefined where the word is not allowed. */
  readonly metrics: Readonly<Record<string, string>> | undefined
}

/** Answers longer than this are no answer to a four-letter word. */
const maxAnswerBytes = 4 * 1024 * 1024

/** Prints the status; 0 when the server serves clients, 1 when not or out of reach, 2 for an address that is none. */
export async function runStatus(
  options: StatusOptions,
  out: (text: string) => void,
  err: (text: string) => void,
): Promise<ExitCode> {
  const address = parseAddress(options.address ?? '127.0.0.1:2181')
  if (address === undefined) {
    err(`zabd: ${options.address} is not an address: expected host:port, for example 127.0.0.1:2181\n`)
    return ExitCode.usage
  }
  const name = address.host.includes(':')
    ? `[${address.host}]:${address.port}`
    : `${address.host}:${address.port}`
  const report = await examine(address, options.timeoutMs)
  if (typeof report === 'string') {
    if (options.json) out(`${JSON.stringify({ address: name, serving: false, error: report })}\n`)
    else err(`${name} ${report}\n`)
    return ExitCode.unexpected
  }
  if (options.json) out(`${JSON.stringify({ address: name, serving: true, ...report })}\n`)
  else out(describe(name, report))
  return ExitCode.clean
}

/** Reads `host:port`; a part that is missing is 127.0.0.1 or 2181. */
export function parseAddress(text: string): Address | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^[\]:\s]*))(?::(\d{1,5}))?$/.exec(text)
  if (match === null || text === '') return undefined
  const lone = match[1] === undefined && match[3] === undefined && /^\d{1,5}$/.test(match[2] ?? '')
  const port = Number(lone ? match[2] : (match[3] ?? 2181))
  const host = (lone ? undefined : (match[1] ?? match[2])) || '127.0.0.1'
  return port >= 1 && port <= 65535 ? { host, port } : undefined
}

/** The report, or a phrase that says why there is none. */
async function examine(address: Address, timeoutMs: number): Promise<Report | string> {
  try {
    const srvr = await ask(address, 'srvr', timeoutMs)
    if (srvr.includes('not currently serving')) return await explainNotServing(address, timeoutMs)
    if (srvr.includes('not in the whitelist')) {
      return 'answers, but does not allow the word srvr: add it to 4lw.commands.whitelist'
    }
    const fields = new Map(
      srvr.split('\n').map((line) => {
        const colon = line.indexOf(': ')
        return [line.slice(0, colon), line.slice(colon + 2).trim()]
      }),
    )
    const role = fields.get('Mode')
    if (role === undefined) return 'answers, but not like a ZooKeeper server: is this its plain client port?'
    const number = (key: string) => Number(fields.get(key) ?? Number.NaN)
    const [min = 0, avg = 0, max = 0] = (fields.get('Latency min/avg/max') ?? '').split('/').map(Number)
    return {
      role,
      zxid: fields.get('Zxid') ?? '',
      connections: number('Connections'),
      znodes: number('Node count'),
      outstanding: number('Outstanding'),
      latencyMs: { min, avg, max },
      version: (fields.get('Zookeeper version') ?? '').replace(/,? built on.*$/, ''),
      metrics: parseMetrics(await ask(address, 'mntr', timeoutMs)),
    }
  } catch (error) {
    return `can not be reached: ${error instanceof Error ? error.message : String(error)}`
  }
}

async function explainNotServing(address: Address, timeoutMs: number): Promise<string> {
  const alive = (await ask(address, 'ruok', timeoutMs)).trim() === 'imok' ? 'runs' : 'answers'
  return `${alive}, but is not serving: it is starting or stopping, or too few servers of its ensemble are up`
}

function parseMetrics(mntr: string): Record<string, string> | undefined {
  const pairs = mntr.split('\n').flatMap((line) => {
    const match = /^zk_([^\t]+)\t(.*)$/.exec(line)
    return match === null ? [] : [[match[1] ?? '', match[2] ?? ''] as const]
  })
  return pairs.length > 0 ? Object.fromEntries(pairs) : undefined
}

function describe(name: string, report: Report): string {
  const { latencyMs } = report
  const metric = (key: string) => report.metrics?.[key]
  const rows: [string, string | number | undefined][] = [
    ['role', report.role],
    ['zxid', report.zxid],
    ['connections', report.connections],
    ['sessions', metric('global_sessions')],
    ['znodes', report.znodes],
    ['watches', metric('watch_count')],
    ['outstanding', report.outstanding],
    ['latency', `min ${latencyMs.min}, avg ${latencyMs.avg}, max ${latencyMs.max} ms`],
    ['followers', metric('synced_followers')],
    ['version', report.version],
  ]
  const lines = rows.flatMap(([label, value]) =>
    value === undefined ? [] : [`  ${label.padEnd(12)} ${value}`],
  )
  return `${name} is serving\n${lines.join('\n')}\n`
}

/** Sends a word and reads until the server closes. Rejects with a message for people. */
function ask(address: Address, word: string, timeoutMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let bytes = 0
    const socket = connect(address)
    const fail = (message: string) => {
      socket.destroy()
      reject(new Error(message))
    }
    const timer = setTimeout(() => fail(`no answer within ${timeoutMs} ms`), timeoutMs)
    socket.on('connect', () => socket.write(word))
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
      bytes += chunk.length
      if (bytes > maxAnswerBytes) fail('the answer does not end')
    })
    socket.on('error', (error: NodeJS.ErrnoException) => {
      // A server may reset instead of closing after its answer.
      if (bytes === 0) fail(error.code === 'ECONNREFUSED' ? 'nothing listens there' : error.message)
    })
    socket.on('close', () => {
      clearTimeout(timer)
      resolve(Buffer.concat(chunks).toString('utf8'))
    })
  })
}

// `zabd status`: asks one or several servers by four-letter words how they are, for people and for health checks. Any
// server that speaks ZooKeeper's protocol will do. It changes nothing on the servers.
import { connect } from 'node:net'
import { ExitCode } from './exit.ts'

export type StatusOptions = {
  /** `host:port`, `host`, `port` or `[ipv6]:port`, or several with commas between; undefined: 127.0.0.1:2181. */
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

/** A report, or the phrase that says why there is none. */
type Answer = { readonly name: string; readonly report: Report | string }

/** Answers longer than this are no answer to a four-letter word. */
const maxAnswerBytes = 4 * 1024 * 1024

type Output = (text: string) => void

/**
 * Prints the status; 0 when the server serves clients, or all of several do, 1 when not or out of reach, 2 for an address
 * that is none.
 */
export async function runStatus(options: StatusOptions, out: Output, err: Output): Promise<ExitCode> {
  const addresses: Address[] = []
  for (const text of (options.address ?? '127.0.0.1:2181').split(',')) {
    const address = parseAddress(text.trim())
    if (address === undefined) {
      err(`zabd: ${text} is not an address: expected host:port, for example 127.0.0.1:2181\n`)
      return ExitCode.usage
    }
    addresses.push(address)
  }
  const answers = await Promise.all(
    addresses.map(async (address): Promise<Answer> => {
      return { name: nameOf(address), report: await examine(address, options.timeoutMs) }
    }),
  )
  const [first] = answers
  if (options.json) for (const answer of answers) out(`${JSON.stringify(jsonOf(answer))}\n`)
  else if (answers.length > 1) out(describeAll(answers))
  else if (typeof first?.report === 'string') err(`${first.name} ${first.report}\n`)
  else if (first !== undefined) out(describe(first.name, first.report))
  return answers.every(({ report }) => typeof report !== 'string') ? ExitCode.clean : ExitCode.unexpected
}

function nameOf({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

function jsonOf({ name, report }: Answer): object {
  if (typeof report === 'string') return { address: name, serving: false, error: report }
  return { address: name, serving: true, ...report }
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
  const uptime = metric('uptime')
  const rows: [string, string | number | undefined][] = [
    ['role', report.role],
    ...ensembleRows(report),
    ['up for', uptime === undefined ? undefined : duration(Number(uptime))],
    ['zxid', report.zxid],
    ['connections', report.connections],
    ['sessions', metric('global_sessions')],
    ['znodes', report.znodes],
    ['watches', metric('watch_count')],
    ['outstanding', report.outstanding],
    ['latency', `min ${latencyMs.min}, avg ${latencyMs.avg}, max ${latencyMs.max} ms`],
    ['version', report.version],
  ]
  const lines = rows.flatMap(([label, value]) =>
    value === undefined ? [] : [`  ${label.padEnd(12)} ${value}`],
  )
  return `${name} is serving\n${lines.join('\n')}\n`
}

/** What only members of an ensemble tell, by `mntr`: how many servers vote and, on the leader, who follows. */
function ensembleRows({ role, metrics }: Report): [string, string][] {
  const number = (key: string) => Number(metrics?.[key] ?? 0)
  const rows: [string, string][] = []
  const quorumSize = metrics?.['quorum_size']
  if (quorumSize !== undefined) rows.push(['voters', quorumSize])
  if (role !== 'leader' || metrics?.['synced_followers'] === undefined) return rows
  const followers = number('synced_followers')
  const observers = number('synced_observers')
  const without = number('synced_non_voting_followers')
  const behind = number('learners') - followers - observers - without
  const expected = quorumSize === undefined ? '' : ` of ${Number(quorumSize) - 1}`
  rows.push(['followers', `${followers}${expected} up to date`])
  if (observers > 0) rows.push(['observers', `${observers} up to date`])
  if (without > 0) rows.push(['not members', `${without} up to date`])
  if (behind > 0) rows.push(['catching up', String(behind)])
  rows.push(['leads for', duration(number('leader_uptime'))])
  return rows
}

/** The two largest units of some ms: `3 d 4 h`, `12 min 7 s`, `5 s`. */
function duration(ms: number): string {
  const seconds = Math.floor(ms / 1000)
  const parts: [number, string][] = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'min'],
    [seconds % 60, 's'],
  ]
  const first = parts.findIndex(([count]) => count > 0)
  const shown = first < 0 ? parts.slice(3) : parts.slice(first, first + 2)
  return shown.map(([count, unit]) => `${count} ${unit}`).join(' ')
}

function counted(count: number | string, thing: string): string {
  return `${count} ${thing}${String(count) === '1' ? '' : 's'}`
}

/** A line for each server. */
function describeAll(answers: readonly Answer[]): string {
  const width = Math.max(...answers.map(({ name }) => name.length))
  const line = ({ name, report }: Answer) => {
    if (typeof report === 'string') return `${name.padEnd(width)}  ${report}\n`
    const { role, zxid, connections, latencyMs, metrics } = report
    const followers = metrics?.['synced_followers']
    const tail =
      role === 'leader' && followers !== undefined ? `, ${counted(followers, 'follower')} up to date` : ''
    const clients = `${counted(connections, 'connection')}, latency ${latencyMs.avg} ms`
    return `${name.padEnd(width)}  ${role.padEnd(10)}  zxid ${zxid}, ${clients}${tail}\n`
  }
  return answers.map(line).join('')
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

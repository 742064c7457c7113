// What must hold for sequential creates and for locks, judged from what clients were told and what is in the tree at the
// end. It never talks to servers.

/** One request for a sequential znode. Each has data that no other has. */
export type Appended = {
  readonly data: string
  /** The path that the server gave; undefined: no answer, so it may be there or not. */
  readonly path: string | undefined
  readonly startMs: number
  readonly endMs: number
}

/** The number at the end of a sequential znode's name. */
export function sequenceOf(path: string): number {
  return Number(path.slice(-10))
}

/**
 * `found`: data by path, read when all is over. Nothing acknowledged is lost or at another place, nothing is there twice or was
 * never asked for, and numbers follow real time.
 */
export function checkAppends(requests: readonly Appended[], found: ReadonlyMap<string, string>): string[] {
  const problems: string[] = []
  const wanted = new Map(requests.map((request) => [request.data, request]))
  const places = new Map<string, string>()
  for (const [path, data] of found) {
    const other = places.get(data)
    if (other !== undefined) problems.push(`${data} was appended twice: ${other}, ${path}`)
    places.set(data, path)
    if (!wanted.has(data)) problems.push(`${path} has ${data}, which nobody asked for`)
  }
  for (const { data, path } of requests) {
    if (path === undefined || places.get(data) === path) continue
    problems.push(`${path} with ${data} was acknowledged, found: ${places.get(data) ?? 'nothing'}`)
  }
  const known = requests.filter((request) => request.path !== undefined)
  const byEnd = [...known].sort((a, b) => a.endMs - b.endMs)
  let ended = 0
  let latest: Appended | undefined
  for (const request of [...known].sort((a, b) => a.startMs - b.startMs)) {
    for (; (byEnd[ended]?.endMs ?? Number.POSITIVE_INFINITY) < request.startMs; ended++) {
      const done = byEnd[ended] as Appended
      if (latest?.path === undefined || sequenceOf(done.path ?? '') > sequenceOf(latest.path)) latest = done
    }
    if (latest?.path !== undefined && sequenceOf(latest.path) >= sequenceOf(request.path ?? '')) {
      problems.push(`${request.path} was asked for after ${latest.path} had been given`)
    }
  }
  return problems
}

/** A moment at which the servers confirmed that somebody holds the lock (a write conditional on its lock znode). */
export type Held = {
  /** One turn of one session: its lock znode. */
  readonly holder: string
  readonly zxid: number
  readonly startMs: number
  readonly endMs: number
}

type Span = { readonly holder: string; from: number; to: number }

function overlaps(spans: Iterable<Span>, unit: string): string[] {
  const problems: string[] = []
  let latest: Span | undefined
  const certain = [...spans].filter(({ from, to }) => from <= to)
  for (const span of certain.sort((a, b) => a.from - b.from)) {
    if (latest !== undefined && span.from < latest.to) {
      const text = ({ holder, from, to }: Span) => `${holder} from ${from} to ${to}`
      problems.push(`two holders of the lock (${unit}): ${text(latest)}; ${text(span)}`)
    }
    if (latest === undefined || span.to > latest.to) latest = span
  }
  return problems
}

/**
 * Between the first and the last confirmation of a holder nobody else is confirmed: by zxid, and by the clock, where what is
 * certain lies between the end of the first and the start of the last request.
 */
export function checkLock(confirmations: readonly Held[]): string[] {
  const byZxid = new Map<string, Span>()
  const byTime = new Map<string, Span>()
  const widen = (spans: Map<string, Span>, holder: string, from: number, to: number) => {
    const span = spans.get(holder)
    if (span === undefined) spans.set(holder, { holder, from, to })
    else {
      span.from = Math.min(span.from, from)
      span.to = Math.max(span.to, to)
    }
  }
  for (const { holder, zxid, startMs, endMs } of confirmations) {
    widen(byZxid, holder, zxid, zxid)
    widen(byTime, holder, endMs, startMs)
  }
  return [...overlaps(byZxid.values(), 'zxid'), ...overlaps(byTime.values(), 'ms')]
}

// Outcomes of the interop run: PASS and FAIL lines as they happen, and the table at the end.
// Knows nothing of what is being tested.

export type Outcome = {
  readonly name: string
  readonly ok: boolean
  readonly detail: string
}

export type SuiteResult = {
  readonly name: string
  readonly outcomes: readonly Outcome[]
  readonly elapsedMs: number
  /** Where the logs are, if they were kept. */
  readonly logs: string | undefined
}

export function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

/** Seconds with one decimal, for lines that people read. */
export function seconds(elapsedMs: number): string {
  return `${(elapsedMs / 1000).toFixed(1)} s`
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** Collects what one suite finds out. */
export class Report {
  readonly outcomes: Outcome[] = []
  readonly #suite: string

  constructor(suite: string) {
    this.#suite = suite
  }

  pass(name: string, detail = ''): void {
    this.#add({ name, ok: true, detail })
  }

  fail(name: string, reason: string): void {
    this.#add({ name, ok: false, detail: reason })
  }

  get failed(): boolean {
    return this.outcomes.some((outcome) => !outcome.ok)
  }

  /**
   * Runs one check; a throw makes it a failure. What it returns is the detail of the PASS line.
   * Returns whether it passed, for checks that the following ones need.
   */
  async check(name: string, body: () => Promise<string | undefined> | string | undefined): Promise<boolean> {
    const startedAt = performance.now()
    try {
      const detail = await body()
      const took = seconds(performance.now() - startedAt)
      this.pass(name, detail === undefined ? took : `${took}; ${detail}`)
      return true
    } catch (error) {
      this.fail(name, messageOf(error))
      return false
    }
  }

  #add(outcome: Outcome): void {
    this.outcomes.push(outcome)
    const { ok, name, detail } = outcome
    if (ok) say(`PASS ${this.#suite}/${name}${detail ? ` (${detail})` : ''}`)
    else say(`FAIL ${this.#suite}/${name}: ${detail || 'no reason given'}`)
  }
}

/** Prints the table of all suites and returns whether everything passed. */
export function printSummary(results: readonly SuiteResult[], elapsedMs: number): boolean {
  const width = Math.max(5, ...results.map((result) => result.name.length))
  say('')
  say(`${'suite'.padEnd(width)}  passed  failed     time`)
  let failed = 0
  for (const { name, outcomes, elapsedMs: took, logs } of results) {
    const bad = outcomes.filter((outcome) => !outcome.ok).length
    failed += bad
    const row = [name.padEnd(width), String(outcomes.length - bad).padStart(6), String(bad).padStart(6)]
    say(`${row.join('  ')}  ${seconds(took).padStart(7)}${logs ? `  logs: ${logs}` : ''}`)
  }
  for (const { name, outcomes } of results) {
    for (const outcome of outcomes) if (!outcome.ok) say(`FAIL ${name}/${outcome.name}: ${outcome.detail}`)
  }
  say(`${failed === 0 ? 'all passed' : `${failed} failed`} in ${seconds(elapsedMs)}`)
  return failed === 0
}

// The keys that were given, by file or flag, with typed getters that name key, value and place when a value is wrong.
// It remembers which keys were asked for, so that the rest can be listed as unknown. It does not know the keys itself.

/** One `key=value` as given, and where. */
export type Entry = {
  /** As written; for lookups `canonicalKey` of it is used. */
  readonly key: string
  readonly value: string
  /** `zoo.cfg:3` or `--client-port`. */
  readonly where: string
}

const maxInt = 2 ** 31 - 1

export type Problem = {
  /** `zoo.cfg:3`, `zoo.cfg` or `--client-port`. */
  readonly where: string
  readonly text: string
}

/** Everything found wrong. */
export type Problems = {
  /** In the order found. */
  readonly list: readonly Problem[]
  /** A problem that is not about one entry. */
  add(where: string, text: string): void
  invalid(entry: Entry, expected: string): void
  unsupported(entry: Entry, what: string): void
}

export function createProblems(): Problems {
  const list: Problem[] = []
  const add = (where: string, text: string) => {
    list.push({ where, text })
  }
  return {
    list,
    add,
    invalid: (entry, expected) => add(entry.where, `${show(entry)} is not valid: expected ${expected}`),
    unsupported: (entry, what) => add(entry.where, `${show(entry)} is not supported: ${what}`),
  }
}

/** The problems as text, a line each; those of one file by line number, what concerns the whole file after them. */
export function describeProblems(problems: Problems): string {
  const files = [...new Set(problems.list.map(({ where }) => placeOf(where).file))]
  const placed = problems.list.map((problem) => ({ problem, ...placeOf(problem.where) }))
  placed.sort((a, b) => files.indexOf(a.file) - files.indexOf(b.file) || a.line - b.line)
  return placed.map(({ problem }) => `${problem.where}: ${problem.text}`).join('\n')
}

function placeOf(where: string): { file: string; line: number } {
  const match = /^(.*):(\d+)$/.exec(where)
  return { file: match?.[1] ?? where, line: Number(match?.[2] ?? maxInt) }
}

const secretKeys = /password$|superdigest$/i

/** `key=value` for a message; secrets are not shown. */
export function show(entry: Entry): string {
  return `${entry.key}=${secretKeys.test(entry.key) ? '***' : entry.value}`
}

/** Java's system properties and ZooKeeper's documentation name some keys differently. */
const aliases: ReadonlyMap<string, string> = new Map([
  ['throttledOpWaitTime', 'throttled_op_wait_time'],
  ['observer.syncEnabled', 'syncEnabled'],
])

/** A key without the prefix of ZooKeeper's system properties, and under one name if it has two. */
export function canonicalKey(key: string): string {
  const bare = key.startsWith('zookeeper.') ? key.slice('zookeeper.'.length) : key
  return aliases.get(bare) ?? bare
}

export type IntRange = {
  readonly min: number
  readonly max?: number
  /** `milliseconds`: for the message. */
  readonly unit?: string
}

/** Typed getters; each records a problem and answers with the default when the value is not valid. */
export type Settings = {
  /** The entry that counts for a canonical key, if any. */
  entry(key: string): Entry | undefined
  text(key: string, expected: string): string | undefined
  int(key: string, fallback: number, range: IntRange): number
  optionalInt(key: string, range: IntRange): number | undefined
  /** A port or 0 for any free one. */
  optionalPort(key: string): number | undefined
  /** true or false, in any case of letters. */
  flag(key: string, fallback: boolean): boolean
  /** yes or no, ZooKeeper's other kind of switch. */
  yesNo(key: string, fallback: boolean): boolean
  oneOf<T extends string>(key: string, choices: readonly T[], fallback: T): T
  /** Canonical keys that were asked for so far, whether given or not. */
  readonly asked: ReadonlySet<string>
  /** The entries that count: the last of each canonical key. */
  readonly entries: ReadonlyMap<string, Entry>
}

/** Later entries win over earlier ones. A value that is understood, but hardly as meant, adds to `warnings`. */
export function createSettings(given: readonly Entry[], problems: Problems, warnings: string[]): Settings {
  const entries = new Map(given.map((entry) => [canonicalKey(entry.key), entry]))
  const asked = new Set<string>()

  const entry = (key: string) => {
    asked.add(key)
    return entries.get(key)
  }
  const read = <T>(key: string, expected: string, parse: (value: string) => T | undefined): T | undefined => {
    const found = entry(key)
    if (found === undefined) return undefined
    const value = parse(found.value)
    if (value === undefined) problems.invalid(found, expected)
    return value
  }
  const optionalInt = (key: string, range: IntRange) =>
    read(key, describeRange(range), (value) => parseInteger(value, range.min, range.max ?? maxInt))

  return {
    entry,
    entries,
    asked,
    optionalInt,
    text: (key, expected) => read(key, expected, (value) => (value === '' ? undefined : value)),
    int: (key, fallback, range) => optionalInt(key, range) ?? fallback,
    optionalPort: (key) =>
      read(key, 'a port number, 1 to 65535 (0 takes any free port)', (value) =>
        parseInteger(value, 0, 65535),
      ),
    flag: (key, fallback) => read(key, 'true or false', parseBoolean) ?? fallback,
    yesNo: (key, fallback) => {
      const value = read(key, 'yes or no', (text) => {
        const word = text.toLowerCase()
        return word === 'yes' ? 'yes' : word === 'no' ? 'no' : parseBoolean(word)
      })
      // ZooKeeper takes every other word for the default, also a true or false that means the opposite.
      if (value === !fallback) {
        const given = entries.get(key)!
        warnings.push(
          `${given.where}: ${show(given)} is taken as ${fallback ? 'yes' : 'no'}: only yes and no count`,
        )
      }
      return typeof value === 'string' ? value === 'yes' : fallback
    },
    oneOf: (key, choices, fallback) =>
      read(key, oneOfText(choices), (value) =>
        choices.find((choice) => choice.toLowerCase() === value.toLowerCase()),
      ) ?? fallback,
  }
}

function parseInteger(value: string, min: number, max: number): number | undefined {
  if (!/^[+-]?\d+$/.test(value)) return undefined
  const number = Number(value)
  return number >= min && number <= max ? number + 0 : undefined
}

function parseBoolean(value: string): boolean | undefined {
  const word = value.toLowerCase()
  return word === 'true' ? true : word === 'false' ? false : undefined
}

function describeRange(range: IntRange): string {
  const kind = range.unit === undefined ? 'a whole number' : `a whole number of ${range.unit}`
  if (range.max !== undefined) return `${kind}, ${range.min} to ${range.max}`
  return `${kind}, at least ${range.min}`
}

/** `a, b or c` */
export function oneOfText(choices: readonly string[]): string {
  return choices.length < 2
    ? choices.join('')
    : `${choices.slice(0, -1).join(', ')} or ${choices[choices.length - 1]}`
}

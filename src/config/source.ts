// Where a configuration's entries come from: properties text read from a file, with the place of each line kept.
// It knows no keys.
import { parseProperties } from './properties.ts'
import type { Entry, Problems, Settings } from './settings.ts'
import type { Env, Flags } from './types.ts'

/** What is at hand while loading. */
export type Loading = {
  readonly flags: Flags
  readonly env: Env
  readonly settings: Settings
  readonly problems: Problems
  readonly warnings: string[]
}

/** The text of a file; undefined after recording why it can not be read. */
export function readText(path: string, env: Env, problems: Problems): string | undefined {
  try {
    return env.readFile(path)
  } catch (error) {
    problems.add(path, `can not be read: ${error instanceof Error ? error.message : String(error)}`)
    return undefined
  }
}

/** The lines of a file as entries; a key that comes twice is worth a warning. */
export function readEntries(file: string, text: string, problems: Problems, warnings: string[]): Entry[] {
  const { properties, malformed } = parseProperties(text)
  for (const bad of malformed) {
    problems.add(
      `${file}:${bad.line}`,
      `${bad.text} is not valid: expected four hexadecimal digits after each \\u`,
    )
  }
  const seen = new Map<string, string>()
  return properties.map(({ key, value, line }) => {
    const where = `${file}:${line}`
    const before = seen.get(key)
    if (before !== undefined) warnings.push(`${where}: ${key} replaces the one at ${before}`)
    seen.set(key, where)
    return { key, value, where }
  })
}

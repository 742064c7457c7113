// Reads the text format of java.util.Properties and keeps line numbers, so that a message can name file and line.
// It knows nothing of what keys mean.

export type Property = {
  readonly key: string
  readonly value: string
  /** Line on which the property begins, from 1. */
  readonly line: number
  /** Line on which it ends: a later one if it is continued. */
  readonly lastLine: number
}

export type PropertiesText = {
  /** In order of appearance; a key may come twice (the later one counts). */
  readonly properties: readonly Property[]
  /** Escapes that the format does not allow. */
  readonly malformed: readonly { readonly line: number; readonly text: string }[]
}

const blank = /^[ \t\f]+/
const escapes: Readonly<Record<string, string>> = { t: '\t', n: '\n', r: '\r', f: '\f' }

/**
 * Splits properties text: `#` and `!` comments, `=`, `:` or blanks between key and value, a backslash before the end
 * of a line continues it, escapes including `\uXXXX`. Values lose blanks at their end too, as ZooKeeper trims them.
 */
export function parseProperties(text: string): PropertiesText {
  const properties: Property[] = []
  const malformed: { line: number; text: string }[] = []
  const lines = text.replace(/^\uFEFF/, '').split(/\r\n|\n|\r/)
  for (let at = 0; at < lines.length; at++) {
    const line = at + 1
    let logical = (lines[at] ?? '').replace(blank, '')
    // Only the first line of a property can be a comment, and a comment is never continued.
    if (logical === '' || logical[0] === '#' || logical[0] === '!') continue
    while (endsInOddBackslashes(logical)) {
      at++
      logical = logical.slice(0, -1) + (lines[at] ?? '').replace(blank, '')
    }
    const [rawKey, rawValue] = splitAtSeparator(logical)
    const key = resolveEscapes(rawKey)
    const value = resolveEscapes(rawValue)
    if (key === undefined || value === undefined) malformed.push({ line, text: logical })
    else
      properties.push({
        key: key.trim(),
        value: value.trim(),
        line,
        lastLine: Math.min(at + 1, lines.length),
      })
  }
  return { properties, malformed }
}

function endsInOddBackslashes(text: string): boolean {
  let count = 0
  while (text[text.length - 1 - count] === '\\') count++
  return count % 2 === 1
}

function splitAtSeparator(logical: string): [key: string, value: string] {
  let end = 0
  while (end < logical.length && !/[=: \t\f]/.test(logical[end]!)) end += logical[end] === '\\' ? 2 : 1
  const key = logical.slice(0, end)
  // Blanks around at most one '=' or ':' belong to neither side.
  return [key, logical.slice(end).replace(/^[ \t\f]*[=:]?[ \t\f]*/, '')]
}

/** Undefined for a malformed `\uXXXX`. */
function resolveEscapes(text: string): string | undefined {
  if (!text.includes('\\')) return text
  let result = ''
  for (let at = 0; at < text.length; at++) {
    if (text[at] !== '\\') {
      result += text[at]
      continue
    }
    const escaped = text[++at] ?? ''
    if (escaped === 'u') {
      const digits = text.slice(at + 1, at + 5)
      if (!/^[0-9a-fA-F]{4}$/.test(digits)) return undefined
      result += String.fromCharCode(Number.parseInt(digits, 16))
      at += 4
    } else result += escapes[escaped] ?? escaped
  }
  return result
}

// The version of the package, from its package.json, wherever the compiled files lie below it.
import { readFileSync } from 'node:fs'

/** `0.1.0`; `unknown` when the files were taken out of their package. */
export function packageVersion(): string {
  for (const up of ['../../', '../../../', '../../../../']) {
    try {
      const text = readFileSync(new URL(`${up}package.json`, import.meta.url), 'utf8')
      const { name, version } = JSON.parse(text) as { name?: string; version?: string }
      if (name === 'zabd' && version !== undefined) return version
    } catch {
      // Not in this directory.
    }
  }
  return 'unknown'
}

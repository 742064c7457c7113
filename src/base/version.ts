// What this server calls itself. Tools that look at a ZooKeeper server parse the number at the start of its version
// line (kazoo, telegraf, Datadog, the exporters), so ours starts with the ZooKeeper release whose protocol it speaks.
// Reads one small file when first asked, never at import.
import { readFileSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** The ZooKeeper release whose client protocol and four-letter words are spoken. */
export const zooKeeperVersion = '3.9.4'

/** Day of the last release: stands in for the time of the build where a package manager has flattened file times. */
const releasedOn = '2026-11-22 00:00'

/** Package managers give files a constant time long before this project existed (npm: 1985). */
const earliestBuildMs = Date.UTC(2026, 0, 1)

/** The package's root is this many directories above at most (`dist/src/base`). */
const maxLevelsUp = 4

let known: { readonly zabd: string; readonly builtAt: string } | undefined

/** zabd's own version, from its package.json: `0.1.0`. */
export function zabdVersion(): string {
  return release().zabd
}

/** When this build was made: `2026-11-22 20:10 UTC`. */
export function builtAt(): string {
  return release().builtAt
}

/** The version as tools read it: `3.9.4-zabd-0.1.0`. */
export function version(): string {
  return `${zooKeeperVersion}-zabd-${zabdVersion()}`
}

/** The version line of ZooKeeper's shape: `3.9.4-zabd-0.1.0, built on 2026-11-22 20:10 UTC`. */
export function fullVersion(): string {
  return `${version()}, built on ${builtAt()}`
}

/** The text of a file's time as a build date; `releasedOn` if the time can not be one. */
export function buildDate(fileTimeMs: number): string {
  const minute = new Date(fileTimeMs).toISOString().slice(0, 16).replace('T', ' ')
  return `${fileTimeMs < earliestBuildMs ? releasedOn : minute} UTC`
}

function release(): { readonly zabd: string; readonly builtAt: string } {
  known ??= {
    zabd: packageVersion(),
    builtAt: buildDate(statSync(fileURLToPath(import.meta.url)).mtimeMs),
  }
  return known
}

/** The version in the nearest package.json above; throws if there is none, which means a broken installation. */
function packageVersion(): string {
  let directory = new URL('.', import.meta.url)
  for (let level = 0; level < maxLevelsUp; level++) {
    const found = versionIn(new URL('package.json', directory))
    if (found !== undefined) return found
    directory = new URL('..', directory)
  }
  throw new Error(`no package.json of zabd above ${import.meta.url}`)
}

function versionIn(file: URL): string | undefined {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
  const content: unknown = JSON.parse(text)
  if (typeof content !== 'object' || content === null) return undefined
  if (!('name' in content) || content.name !== 'zabd') return undefined
  return 'version' in content && typeof content.version === 'string' ? content.version : undefined
}

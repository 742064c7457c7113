// Brings clients and libraries from package registries into the cache, with the registries' own tools.
// A folder appears in the cache only when it is complete, so an interrupted run leaves nothing half done.

import { createHash } from 'node:crypto'
import { access, mkdir, mkdtemp, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { cacheDir, interopSources } from './paths.ts'
import { pause } from './ports.ts'
import { type RunOptions, run } from './processes.ts'
import { say, seconds } from './report.ts'
import { tail } from './suite.ts'

const ATTEMPTS = 3
const RETRY_PAUSE_MS = 3000
const INSTALL_LIMIT_MS = 300_000
const KAZOO = 'kazoo==2.11.0'
const COPY_DEPENDENCIES = 'org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies'

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}

/** Runs a command; throws with the end of its output unless it exits with 0. */
export async function must(
  command: string,
  args: readonly string[],
  options: Partial<RunOptions> = {},
): Promise<string> {
  const finished = await run(command, args, { timeoutMs: INSTALL_LIMIT_MS, ...options })
  if (finished.code === 0) return finished.stdout
  const output = tail(`${finished.stdout}\n${finished.stderr}`, 800)
  throw new Error(`${command} ${args[0] ?? ''}: exit code ${finished.code}: ${output}`)
}

/**
 * The folder `name` of the cache, filled by `fill` if it is not there. `fill` writes to a folder of its own that is
 * then renamed; registries hiccup, so it gets three attempts. `name` has to change when the content should.
 */
function cached(name: string, fill: (dir: string) => Promise<void>): Promise<string> {
  const known = folders.get(name) ?? provide(name, fill)
  folders.set(name, known)
  return known
}

const folders = new Map<string, Promise<string>>()

async function provide(name: string, fill: (dir: string) => Promise<void>): Promise<string> {
  const final = join(cacheDir, name)
  if (await exists(final)) return final
  const startedAt = performance.now()
  await mkdir(cacheDir, { recursive: true })
  for (let attempt = 1; ; attempt++) {
    const fresh = await mkdtemp(join(cacheDir, '.new-'))
    try {
      await fill(fresh)
      await rename(fresh, final).catch(async (error: unknown) => {
        // Another run was faster.
        if (!(await exists(final))) throw error
      })
      say(`INFO installed ${name} in ${seconds(performance.now() - startedAt)}`)
      return final
    } catch (error) {
      if (attempt === ATTEMPTS) throw error
      await pause(RETRY_PAUSE_MS)
    } finally {
      await rm(fresh, { recursive: true, force: true })
    }
  }
}

/** Folder for PYTHONPATH with kazoo in it. */
export function kazooPath(): Promise<string> {
  return cached(`py-${KAZOO.replace('==', '-')}`, async (dir) => {
    const quiet = ['-q', '--no-input', '--disable-pip-version-check', '--root-user-action=ignore']
    await must('python3', ['-m', 'pip', 'install', ...quiet, '--target', dir, KAZOO])
  })
}

// Maven keeps one local repository, which two of its processes must not write at once.
let maven: Promise<unknown> = Promise.resolve()

/** Folder with the jars that test/interop/<area>/<file> names, dependencies included. */
export function jars(area: string, file: string): Promise<string> {
  return jarsOf(join(interopSources, area, file), `${area}-${file.replace(/\.xml$/, '')}`)
}

/** Folder with the jars that a list of dependencies names, theirs included. `name` is the list's own. */
export async function jarsOf(pom: string, name: string): Promise<string> {
  const version = createHash('sha256')
    .update(await readFile(pom))
    .digest('hex')
    .slice(0, 12)
  return await cached(`jars-${name}-${version}`, async (dir) => {
    const copy = maven.then(() =>
      must('mvn', [
        '-q',
        '-B',
        '-f',
        pom,
        COPY_DEPENDENCIES,
        '-DincludeScope=runtime',
        `-DoutputDirectory=${dir}`,
      ]),
    )
    maven = copy.catch(() => undefined)
    await copy
  })
}

/** Folder with the headers and the library of the C client, as Debian builds them. */
export function cClient(): Promise<string> {
  return cached('c-libzookeeper-mt', async (dir) => {
    const packages = ['libzookeeper-mt2', 'libzookeeper-mt-dev']
    const debs = join(dir, 'debs')
    await mkdir(debs)
    await must('apt-get', ['-q', 'update'])
    await must('apt-get', ['-q', 'download', ...packages], { cwd: debs })
    await must('/bin/sh', ['-c', `for deb in "${debs}"/*.deb; do dpkg-deb -x "$deb" "${dir}"; done`])
    await rm(debs, { recursive: true })
  })
}

/** Fills Go's module cache for test/interop/go. */
export async function goModules(): Promise<void> {
  await must('go', ['mod', 'download'], { cwd: join(interopSources, 'go') })
}

// `npm test`: runs every compiled test file in a process of its own, several at a time, and sums up.
//   node scripts/test.mjs [PATH...] [NAME...] [--FLAG...]
// PATH (has a `/` or ends in .ts or .js): only files whose path contains it. NAME: only tests whose name matches this
// pattern. --FLAG goes to node. Exit code: 0 all passed, 1 something failed, 2 no such file or test.
// Environment: TEST_BUILD (the build folder, dist), TEST_FILE_LIMIT_S (120, a file's process is killed after it),
// ZABD_TEST_PORTS (15000-31999, shared out among the files that run at the same time).
//
// The files are listed here because Node.js 20, 22 and 24 differ in what `node --test DIRECTORY` runs, and are run
// one by one because a limit per file has to end even a file that never comes back to its event loop.

import { spawn } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const testFolder = join(root, process.env.TEST_BUILD ?? 'dist', 'test')
const limitMs = Number(process.env.TEST_FILE_LIMIT_S ?? 120) * 1000
const notHere = new Set(['interop', 'support'])
const slowestShown = 5

const args = process.argv.slice(2)
const flags = args.filter((arg) => arg.startsWith('-'))
const words = args.filter((arg) => !arg.startsWith('-'))
const isPath = (word) => word.includes('/') || /\.[jt]s$/.test(word)
const paths = words.filter(isPath).map((path) => path.replace(/^(\.\/)+/, '').replace(/\.[jt]s$/, ''))
const names = words.filter((word) => !isPath(word))

/** Compiled test files as `test/….test.js`, without those whose source is gone from the tree. */
function listFiles() {
  const found = readdirSync(testFolder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.test.js'))
    .map((entry) => relative(testFolder, join(entry.parentPath ?? entry.path, entry.name)))
    .filter((file) => !notHere.has(file.split(sep)[0]))
    .filter((file) => existsSync(join(root, 'test', file.replace(/\.js$/, '.ts'))))
    .map((file) => join('test', file))
    .sort()
  return paths.length === 0 ? found : found.filter((file) => paths.some((path) => file.includes(path)))
}

const running = new Set()

/** Below the ports that the system gives to outgoing connections. */
const [firstPort, lastPort] = (process.env.ZABD_TEST_PORTS ?? '15000-31999').split('-').map(Number)
/** Each waits for the disk a part of its time. */
const workers = availableParallelism() + 1

/** Ports for the servers of the files that this worker runs: none of the others' files takes one between a test's probe and its use. */
function portsOf(worker) {
  const count = Math.floor((lastPort - firstPort + 1) / workers)
  const first = firstPort + worker * count
  return `${first}-${first + count - 1}`
}

/** Runs one file to its end; its output comes with the result. */
function runFile(file, worker) {
  const startedAt = performance.now()
  const patterns = names.map((name) => `--test-name-pattern=${name}`)
  const options = ['--enable-source-maps', '--test-reporter=spec', ...patterns, ...flags]
  const child = spawn(process.execPath, [...options, join(testFolder, '..', file)], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    // A group of its own: what a test leaves behind goes when the file is done.
    detached: true,
    env: { ...process.env, ZABD_TEST_PORTS: portsOf(worker) },
  })
  running.add(child.pid)
  const output = []
  let killed = false
  const timer = setTimeout(() => {
    killed = true
    killGroup(child.pid)
  }, limitMs)
  child.stdout.on('data', (chunk) => output.push(chunk))
  child.stderr.on('data', (chunk) => output.push(chunk))
  return new Promise((resolve) => {
    child.once('error', (error) => output.push(Buffer.from(`${error.message}\n`)))
    child.once('exit', () => killGroup(child.pid))
    child.once('close', (code) => {
      clearTimeout(timer)
      running.delete(child.pid)
      const text = Buffer.concat(output).toString()
      resolve({
        file,
        code,
        killed,
        text,
        elapsedMs: performance.now() - startedAt,
        counts: readCounts(text),
      })
    })
  })
}

function killGroup(pid) {
  try {
    process.kill(-pid, 'SIGKILL')
  } catch (error) {
    if (error.code !== 'ESRCH') throw error
  }
}

/** The counts that the spec reporter prints last. */
function readCounts(text) {
  const count = (word) => Number(text.match(new RegExp(`^\\S+ ${word} (\\d+)$`, 'm'))?.[1] ?? 0)
  return {
    pass: count('pass'),
    fail: count('fail') + count('cancelled'),
    skip: count('skipped') + count('todo'),
  }
}

/** Why a file counts as failed, or undefined. */
function failureOf({ code, killed, counts }) {
  if (killed) return `killed after ${limitMs / 1000} s`
  if (code !== 0) return `exit code ${code}`
  const ran = counts.pass + counts.fail + counts.skip
  return ran === 0 && names.length === 0 ? 'it has no test' : undefined
}

function report(result) {
  const failure = failureOf(result)
  const { file, counts, elapsedMs, text } = result
  if (counts.pass === 0 && failure === undefined && names.length > 0) return
  const line = `${file.replace(/\.js$/, '.ts')} (${counts.pass} tests, ${(elapsedMs / 1000).toFixed(1)} s)`
  console.log(failure === undefined ? `ok   ${line}` : `FAIL ${line}: ${failure}`)
  if (failure !== undefined) console.log(text.replaceAll(/^/gm, '     '))
}

const files = listFiles()
if (files.length === 0) {
  console.error(`no test file matches in ${testFolder}`)
  process.exit(2)
}
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => {
    for (const pid of running) killGroup(pid)
    process.exit(1)
  })
}
const startedAt = performance.now()
const results = []
const queue = [...files]
async function work(_, worker) {
  for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
    const result = await runFile(file, worker)
    results.push(result)
    report(result)
  }
}
await Promise.all(Array.from({ length: workers }, work))

const failed = results.filter((result) => failureOf(result) !== undefined)
const sum = (key) => results.reduce((total, result) => total + result.counts[key], 0)
console.log('\nslowest files:')
for (const { file, elapsedMs } of results.sort((a, b) => b.elapsedMs - a.elapsedMs).slice(0, slowestShown)) {
  console.log(`  ${(elapsedMs / 1000).toFixed(1).padStart(6)} s  ${file.replace(/\.js$/, '.ts')}`)
}
const skipped = sum('skip') > 0 ? `, ${sum('skip')} skipped` : ''
const totals = `${sum('pass')} tests passed, ${sum('fail')} failed${skipped} in ${files.length} files`
console.log(
  `${totals}, ${((performance.now() - startedAt) / 1000).toFixed(1)} s on Node.js ${process.versions.node}`,
)
if (names.length > 0 && sum('pass') + sum('fail') === 0) {
  console.error(`no test matches ${names.join(' or ')}`)
  process.exit(2)
}
for (const result of failed) console.log(`FAIL ${result.file.replace(/\.js$/, '.ts')}: ${failureOf(result)}`)
process.exit(failed.length === 0 ? 0 : 1)

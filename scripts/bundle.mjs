// Makes of the sources what bin/zabd.js runs: dist/zabd.js, our modules and the packages that every start needs as one
// script, and dist/zabd.code, what V8 compiles of it while a server starts on data, serves a client and stops, alone and then
// in an ensemble; and what threads run.
//   node scripts/bundle.mjs
// Part of `npm run build`. Without dist/zabd.code (the trial can not listen, say) a start only takes longer.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { codeFile, loadProgram, parameters, programFile } from '../bin/program.js'

/** What a thread of `zabd bench` runs; src/client/load-threads.ts looks for it beside the program. */
const threadFile = join(dirname(programFile), 'load-thread.js')
const noticesFile = join(dirname(programFile), 'zabd.licenses.txt')
/** The trial takes two seconds. */
const trialLimitMs = 20_000
const root = fileURLToPath(new URL('..', import.meta.url))
/** Stay where npm has put them: needed by few. */
const external = ['node-forge', 'jks-js', 'pino-pretty']
/** Stays there, too: LevelDB's native code, which is found from the folder of this file. */
const binding = 'classic-level/binding.js'
const nativeCode = {
  name: 'native code',
  setup: ({ onResolve }) =>
    onResolve({ filter: /^\.\/binding$/ }, ({ importer }) =>
      importer.endsWith('.js') && dirname(importer).endsWith('classic-level')
        ? { path: binding, external: true }
        : undefined,
    ),
}
/** Its other entry looks for native code, for messages full of strings: ours have few, and it takes 5 ms and 3 MiB. */
const alias = { msgpackr: './node_modules/msgpackr/index.js' }

/** In the process of a trial: runs the commands one after the other, and keeps at its end what V8 has compiled. */
async function record(commands) {
  const { exports, script } = loadProgram()
  process.once('exit', () => writeFileSync(codeFile, script.createCachedData()))
  for (const command of commands) await exports.main(command)
}

async function bundle() {
  const { build } = await import('esbuild')
  const options = {
    absWorkingDir: root,
    bundle: true,
    external,
    alias,
    plugins: [nativeCode],
    platform: 'node',
    target: 'node20.19',
    sourcemap: 'linked',
    sourcesContent: false,
    logLevel: 'warning',
  }
  const { metafile } = await build({
    ...options,
    metafile: true,
    entryPoints: ['src/cli/main.ts'],
    outfile: programFile,
    format: 'cjs',
    // require() in its place: a script can not import.
    supported: { 'dynamic-import': false },
    define: { 'import.meta.url': 'importMetaUrl' },
    banner: { js: `(function (${parameters.join(', ')}) {` },
    footer: { js: '})' },
  })
  await build({ ...options, entryPoints: ['src/client/load-thread.ts'], outfile: threadFile, format: 'esm' })
  for (const file of [programFile, threadFile]) keepConstants(file)
  writeFileSync(noticesFile, noticesOf(Object.keys(metafile.inputs)))
}

/**
 * The bundler makes variables of what is constant outside of functions, and V8 reads a variable from memory at every use, where it
 * knows the value of a constant: loading a checkpoint took a tenth longer. What it knows about our modules' variables is
 * right for constants, too: they are initialized in the order of the modules, and none is declared with a value that changes.
 */
function keepConstants(file) {
  let ours = false
  const lines = readFileSync(file, 'utf8').split('\n')
  const kept = lines.map((line) => {
    if (line.startsWith('// ')) ours = line.startsWith('// src/')
    return ours ? line.replace(/^var (?=[\w$]+ = )/, 'const ') : line
  })
  writeFileSync(file, kept.join('\n'))
}

/** What the packages in the program ask for: their licences go with them. */
function noticesOf(files) {
  const packages = new Set(
    files.flatMap((file) => /^node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file)?.[1] ?? []),
  )
  const notices = [...packages].sort().map((name) => {
    const folder = join(root, 'node_modules', name)
    const { version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
    const licence = readdirSync(folder).find((file) => /^licen[cs]e/i.test(file))
    if (licence === undefined) throw new Error(`the package ${name} has no file with its licence`)
    return `${name} ${version}\n\n${readFileSync(join(folder, licence), 'utf8').trim()}\n`
  })
  return `zabd.js contains parts of these packages:\n\n${notices.join(`\n${'-'.repeat(80)}\n\n`)}`
}

/** A process with a server in it, or with one after the other. Each is used when it serves, and ended with `signal`. */
async function serve(args, signal) {
  const child = start(args)
  const ended = once(child, 'exit')
  for await (const port of portsOf(child)) {
    await use(port)
    child.kill(signal)
  }
  const [code, by] = await ended
  if (code !== 0 && by !== signal) throw new Error(`the server of the trial has ended with ${code ?? by}`)
}

function start(args) {
  return spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'], timeout: trialLimitMs })
}

/** The ports on which a process comes to serve clients. */
async function* portsOf(child) {
  let log = ''
  for await (const text of child.stdout.setEncoding('utf8')) {
    log += text
    const port = /"client":\["127\.0\.0\.1:(\d+)/.exec(log)?.[1]
    if (port === undefined) continue
    log = ''
    yield port
  }
}

async function use(port) {
  const client = spawn(process.execPath, [join(root, 'scripts/smoke.mjs'), `127.0.0.1:${port}`])
  const [code] = await once(client, 'exit')
  if (code !== 0) throw new Error('the server of the trial does not serve')
}

/** `count` ports that nobody listens on. */
async function freePorts(count) {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'))
  await Promise.all(servers.map((server) => once(server, 'listening')))
  const ports = servers.map((server) => server.address().port)
  for (const server of servers) server.close()
  return ports
}

/**
 * Has V8 compile what a server needs that starts with a checkpoint and a log, on its own and as a member of an ensemble that has
 * gone on without it.
 */
async function compile() {
  const data = mkdtempSync(join(tmpdir(), 'zabd-build-'))
  const others = []
  const program = join(root, 'bin/zabd.js')
  const alone = ['start', '-d', join(data, 'alone'), '-p', '0', '--no-admin']
  try {
    const servers = (await freePorts(3)).flatMap((port, i) => ['--server', `${i + 1}=127.0.0.1:${port}`])
    const member = (id) => ['start', '--id', id, ...servers, '-d', join(data, id), '-p', '0', '--no-admin']
    for (const id of ['1', '2']) others.push(start([program, ...member(id)]))
    // Stopped, so that there is a checkpoint, and then killed, so that there is something in the log.
    await Promise.all(
      [alone, member('3')].map(async (command) => {
        await serve([program, ...command], 'SIGTERM')
        await serve([program, ...command], 'SIGKILL')
      }),
    )
    const { value: port } = await portsOf(others[0]).next()
    await use(port)
    const commands = JSON.stringify([alone, member('3')])
    await serve([fileURLToPath(import.meta.url), '--record', commands], 'SIGTERM')
  } catch (error) {
    console.error(`build: no compiled code is kept, starts take longer: ${error.message}`)
  } finally {
    for (const child of others) child.kill('SIGKILL')
    rmSync(data, { recursive: true, force: true })
  }
}

if (process.argv[2] === '--record') {
  await record(JSON.parse(process.argv[3]))
} else {
  rmSync(codeFile, { force: true })
  await bundle()
  await compile()
}

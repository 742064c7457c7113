// Makes of the sources what bin/zabd.js runs: dist/zabd.js, our modules and the packages that every start needs as one
// script, and dist/zabd.code, what V8 compiles of it while a server starts on data, serves a client and stops; and what
// threads run.
//   node scripts/bundle.mjs
// Part of `npm run build`. Without dist/zabd.code (the trial can not listen, say) a start only takes longer.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { codeFile, loadProgram, parameters, programFile } from '../bin/program.js'

/** What a thread of `zabd bench` runs; src/client/load-threads.ts looks for it beside the program. */
const threadFile = join(dirname(programFile), 'load-thread.js')
const noticesFile = join(dirname(programFile), 'zabd.licenses.txt')
/** The trial takes half a second. */
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

/** In the process of a trial: runs the command, and keeps at its end what V8 has compiled. */
async function record(args) {
  const { exports, script } = loadProgram()
  process.once('exit', () => writeFileSync(codeFile, script.createCachedData()))
  await exports.main(args)
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
  writeFileSync(noticesFile, noticesOf(Object.keys(metafile.inputs)))
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

/** A server in a process of its own: started, used, and ended with `signal`. */
async function serve(file, args, data, signal) {
  const child = spawn(process.execPath, [file, ...args, 'start', '-d', data, '-p', '0', '--no-admin'], {
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: trialLimitMs,
  })
  const ended = once(child, 'exit')
  let log = ''
  for await (const text of child.stdout.setEncoding('utf8')) {
    log += text
    const port = /"client":\["127\.0\.0\.1:(\d+)/.exec(log)?.[1]
    if (port === undefined) continue
    log = ''
    const client = spawn(process.execPath, [join(root, 'scripts/smoke.mjs'), `127.0.0.1:${port}`])
    const [code] = await once(client, 'exit')
    if (code !== 0) throw new Error('the server of the trial does not serve')
    child.kill(signal)
  }
  const [code, by] = await ended
  if (code !== 0 && by !== signal) throw new Error(`the server of the trial has ended with ${code ?? by}`)
}

async function compile() {
  const data = mkdtempSync(join(tmpdir(), 'zabd-build-'))
  try {
    // Killed, so that the second one finds something in the log to replay.
    await serve(join(root, 'bin/zabd.js'), [], data, 'SIGKILL')
    await serve(fileURLToPath(import.meta.url), ['--record'], data, 'SIGTERM')
  } catch (error) {
    console.error(`build: no compiled code is kept, starts take longer: ${error.message}`)
  } finally {
    rmSync(data, { recursive: true, force: true })
  }
}

if (process.argv[2] === '--record') {
  await record(process.argv.slice(3))
} else {
  rmSync(codeFile, { force: true })
  await bundle()
  await compile()
}

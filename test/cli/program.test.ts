// The program as the command runs it: bundled, with what V8 compiled of it at the build.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import type { Script } from 'node:vm'
import { zabdVersion } from '../../src/base/version.ts'
import type { run } from '../../src/cli/main.ts'

type Program = { readonly exports: { readonly run: typeof run }; readonly script: Script }

type Loader = {
  readonly programFile: string
  readonly loadProgram: (file?: string, code?: string) => Program | undefined
}

const loader = pathToFileURL(join(projectRoot(), 'bin/program.js')).href
const { programFile, loadProgram } = (await import(loader)) as Loader

function projectRoot(): string {
  let dir = import.meta.dirname
  while (!existsSync(join(dir, 'package.json'))) dir = dirname(dir)
  return dir
}

/** What `zabd --version` prints. */
async function versionOf(program: Program | undefined): Promise<string> {
  assert.ok(program !== undefined)
  let printed = ''
  const unused = (): never => assert.fail('of no use for --version')
  const code = await program.exports.run(['--version'], {
    out: (text) => {
      printed += text
    },
    err: (text) => assert.fail(text),
    env: { readFile: unused, exists: unused, mode: unused },
    events: { on: unused, off: unused },
    exit: unused,
    createLogger: unused,
    startServer: unused,
  })
  assert.equal(code, 0)
  return printed.trim()
}

async function withDir(use: (dir: string) => Promise<void>): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'zabd-program-'))
  try {
    await use(dir)
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

/** A file with `bytes` as the code of the program, for as long as `use` takes. */
function withCode(bytes: Uint8Array, use: (code: string) => Promise<void>): Promise<void> {
  return withDir(async (dir) => {
    const code = join(dir, 'code')
    writeFileSync(code, bytes)
    await use(code)
  })
}

// First in this process: V8 compiles nothing again that it has compiled already, whatever code it is given.
test('code of another version, or damaged, is as if there were none', async () => {
  await withCode(Buffer.alloc(1000, 'other'), async (code) => {
    const program = loadProgram(programFile, code)
    assert.equal(program?.script.cachedDataRejected, true)
    assert.equal(await versionOf(program), zabdVersion())
  })
})

test('the program that was built is the one of these sources', async () => {
  assert.equal(await versionOf(loadProgram()), zabdVersion())
})

test('what V8 has compiled of the program is taken by the next start', async () => {
  const compiled = loadProgram()?.script.createCachedData()
  assert.ok(compiled !== undefined)
  await withCode(compiled, async (code) => {
    const program = loadProgram(programFile, code)
    assert.equal(program?.script.cachedDataRejected, false)
    assert.equal(await versionOf(program), zabdVersion())
  })
})

test('what V8 has compiled while a command ran is taken by the next one', async () => {
  await withCode(Buffer.of(), async (code) => {
    const load = `import { writeFileSync } from 'node:fs'
      import { loadProgram } from ${JSON.stringify(loader)}
      const { exports, script } = loadProgram(undefined, ${JSON.stringify(code)})`
    const printed = async (text: string) => {
      const args = ['--input-type=module', '-e', `${load}\n${text}`]
      return (await promisify(execFile)(process.execPath, args)).stdout.trim()
    }
    const keep = `process.once('exit', () => writeFileSync(${JSON.stringify(code)}, script.createCachedData()))`
    assert.equal(await printed(`${keep}\nawait exports.main(['--version'])`), zabdVersion())
    assert.equal(await printed('console.log(script.cachedDataRejected)'), 'false')
  })
})

test('what is constant in our modules is constant in the program', () => {
  const text = readFileSync(join(projectRoot(), 'dist/zabd.js'), 'utf8')
  const [, module] = /^\/\/ src\/tree\/store-records\.ts\n(.*?)^\/\/ src\//ms.exec(text) ?? []
  assert.match(module ?? '', /^const recordWords = /m)
  assert.doesNotMatch(module ?? '', /^(var|let) /m)
})

test('no variable outside of functions is declared with a value: the build could not tell it from a constant', () => {
  const source = join(projectRoot(), 'src')
  const files = readdirSync(source, { recursive: true, encoding: 'utf8' }).filter((file) =>
    file.endsWith('.ts'),
  )
  assert.ok(files.length > 100)
  for (const file of files)
    assert.doesNotMatch(readFileSync(join(source, file), 'utf8'), /^(export )?(let|var) .* = /m, file)
})

test('a program that was not built is told from one that was', () => {
  assert.equal(loadProgram(join(tmpdir(), 'nothing-here')), undefined)
})

test('what is published has the program, what V8 has compiled of it, and all that the command needs', async () => {
  const run = promisify(execFile)
  const cwd = projectRoot()
  const { stdout } = await run('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd })
  const [packed] = JSON.parse(stdout) as { files: { path: string }[] }[]
  const paths = packed?.files.map(({ path }) => path) ?? []
  assert.equal(paths.includes('dist/zabd.code'), existsSync(join(cwd, 'dist/zabd.code')))
  assert.ok(paths.includes('dist/load-thread.js'))
  await withDir(async (dir) => {
    for (const path of paths) cpSync(join(cwd, path), join(dir, path))
    symlinkSync(join(cwd, 'node_modules'), join(dir, 'node_modules'))
    const command = await run(process.execPath, [join(dir, 'bin/zabd.js'), '--version'])
    assert.equal(command.stdout.trim(), zabdVersion())
  })
})

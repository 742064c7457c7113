// The program as the command runs it: bundled, with what V8 compiled of it at the build.
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import type { Script } from 'node:vm'
import { zabdVersion } from '../../src/base/version.ts'
import type { run } from '../../src/cli/main.ts'

type Program = { readonly exports: { readonly run: typeof run }; readonly script: Script }

type Loader = {
  readonly programFile: string
  readonly loadProgram: (file?: string, code?: string) => Program | undefined
}

const { programFile, loadProgram } = (await import(
  pathToFileURL(join(projectRoot(), 'bin/program.js')).href
)) as Loader

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

/** A file with `bytes` as the code of the program, for as long as `use` takes. */
async function withCode(bytes: Uint8Array, use: (code: string) => Promise<void>): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'zabd-program-'))
  try {
    const code = join(dir, 'code')
    writeFileSync(code, bytes)
    await use(code)
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
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

test('a program that was not built is told from one that was', () => {
  assert.equal(loadProgram(join(tmpdir(), 'nothing-here')), undefined)
})

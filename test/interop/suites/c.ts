// The C client as Debian packages it, driven by programs of ours that gcc builds for the run: one for a server, one for
// an ensemble.

import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { type Program, runClientProgram, runEnsemblePrograms } from '../harness/client-program.ts'
import { interopSources } from '../harness/paths.ts'
import { cClient, must } from '../harness/provision.ts'
import type { Suite } from '../harness/suite.ts'
import { memberSettings } from './kazoo.ts'

/** Debian keeps libraries in a folder named after the architecture. */
async function libraryFolder(root: string): Promise<string> {
  const base = join(root, 'usr', 'lib')
  const [architecture] = await readdir(base)
  if (architecture === undefined) throw new Error(`no library below ${base}`)
  return join(base, architecture)
}

async function build(dir: string, name: string): Promise<Program> {
  const root = await cClient()
  const libraries = await libraryFolder(root)
  const command = join(dir, name)
  // zookeeper.h declares the synchronous calls only with THREADED.
  const options = ['-std=gnu17', '-O1', '-Wall', '-Wextra', '-DTHREADED', `-I${join(root, 'usr', 'include')}`]
  const link = [`-L${libraries}`, `-Wl,-rpath,${libraries}`, '-lzookeeper_mt', '-pthread']
  await must('gcc', [...options, join(interopSources, 'c', `${name}.c`), '-o', command, ...link])
  return { name, command, args: [] }
}

async function provision(): Promise<void> {
  await cClient()
}

export const c: Suite = {
  name: 'c',
  provision,
  run: async (context) => runClientProgram(context, await build(context.dir, 'client')),
}

export const cEnsemble: Suite = {
  name: 'c-ensemble',
  provision,
  run: async (context) =>
    runEnsemblePrograms(context, [await build(context.dir, 'ensemble')], { settings: memberSettings }),
}

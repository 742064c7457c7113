// The C client as Debian packages it, driven by a program of ours that gcc builds for the run.

import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { runClientProgram } from '../harness/client-program.ts'
import { interopSources } from '../harness/paths.ts'
import { cClient, must } from '../harness/provision.ts'
import type { Suite } from '../harness/suite.ts'

/** Debian keeps libraries in a folder named after the architecture. */
async function libraryFolder(root: string): Promise<string> {
  const base = join(root, 'usr', 'lib')
  const [architecture] = await readdir(base)
  if (architecture === undefined) throw new Error(`no library below ${base}`)
  return join(base, architecture)
}

export const c: Suite = {
  name: 'c',
  provision: async () => {
    await cClient()
  },
  run: async (context) => {
    const root = await cClient()
    const libraries = await libraryFolder(root)
    const program = join(context.dir, 'client')
    // zookeeper.h declares the synchronous calls only with THREADED.
    const options = [
      '-std=gnu17',
      '-O1',
      '-Wall',
      '-Wextra',
      '-DTHREADED',
      `-I${join(root, 'usr', 'include')}`,
    ]
    const link = [`-L${libraries}`, `-Wl,-rpath,${libraries}`, '-lzookeeper_mt', '-pthread']
    await must('gcc', [...options, join(interopSources, 'c', 'client.c'), '-o', program, ...link])
    await runClientProgram(context, { name: 'client', command: program, args: [] })
  },
}

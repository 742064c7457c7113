// The Go client that most programs use, driven by a program of ours that is built for the run.

import { join } from 'node:path'
import { type Program, runClientProgram, runEnsemblePrograms } from '../harness/client-program.ts'
import { interopSources } from '../harness/paths.ts'
import { goModules, must } from '../harness/provision.ts'
import type { Suite } from '../harness/suite.ts'
import { memberSettings } from './kazoo.ts'

async function build(dir: string, args: readonly string[]): Promise<Program> {
  const command = join(dir, 'client')
  const flags = ['-mod=readonly', '-buildvcs=false', '-o', command]
  await must('go', ['build', ...flags, '.'], { cwd: join(interopSources, 'go') })
  return { name: 'client', command, args }
}

export const go: Suite = {
  name: 'go',
  provision: goModules,
  run: async (context) => runClientProgram(context, await build(context.dir, [])),
}

export const goEnsemble: Suite = {
  name: 'go-ensemble',
  provision: goModules,
  run: async (context) =>
    runEnsemblePrograms(context, [await build(context.dir, ['ensemble'])], { settings: memberSettings }),
}

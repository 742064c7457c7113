// The Go client that most programs use, driven by a program of ours that is built for the run.

import { join } from 'node:path'
import { runClientProgram } from '../harness/client-program.ts'
import { interopSources } from '../harness/paths.ts'
import { goModules, must } from '../harness/provision.ts'
import type { Suite } from '../harness/suite.ts'

export const go: Suite = {
  name: 'go',
  provision: goModules,
  run: async (context) => {
    const program = join(context.dir, 'client')
    const flags = ['-mod=readonly', '-buildvcs=false', '-o', program]
    await must('go', ['build', ...flags, '.'], { cwd: join(interopSources, 'go') })
    await runClientProgram(context, { name: 'client', command: program, args: [] })
  },
}

// Read-only mode (readonlymode.enabled) as kazoo, the original Java client and Curator see it.

import { runEnsemblePrograms } from '../harness/client-program.ts'
import { jars } from '../harness/provision.ts'
import type { Suite } from '../harness/suite.ts'
import { curatorPom, javaProgram } from './java.ts'
import { provisionKazoo, python } from './kazoo.ts'

// The original opens no session without a quorum unless it is a local one.
const settings = ['localSessionsEnabled=true', 'localSessionsUpgradingEnabled=true']

export const readOnly: Suite = {
  name: 'read-only',
  provision: async () => {
    await Promise.all([provisionKazoo(), jars('java', curatorPom)])
  },
  run: async (context) => {
    const programs = [
      await python('kazoo', 'readonly.py', {}),
      await javaProgram(context, curatorPom, 'ReadOnlyChecks', 'ClientChecks'),
    ]
    await runEnsemblePrograms(context, programs, { settings })
  },
}

// The original Java client and Apache Curator, each driven by a program of ours that is compiled for the run: on one
// server, and on an ensemble whose servers die.

import { join } from 'node:path'
import { type Program, runClientProgram, runEnsemblePrograms } from '../harness/client-program.ts'
import { compileJava, javaArguments } from '../harness/java.ts'
import { jars } from '../harness/provision.ts'
import type { Suite, SuiteContext } from '../harness/suite.ts'
import { memberSettings } from './kazoo.ts'

/** Libraries of both clients. */
export const curatorPom = 'curator-pom.xml'

/** Compiles a program, together with the one for a single server, whose helpers it uses, and says how to run it. */
export async function javaProgram(
  { dir }: SuiteContext,
  pom: string,
  main: string,
  ...others: readonly string[]
): Promise<Program> {
  const libraries = join(await jars('java', pom), '*')
  const classes = await compileJava(dir, libraries, ...[main, ...others].map((name) => `java/${name}.java`))
  return { name: main, command: 'java', args: [...javaArguments('192m', libraries, classes), main] }
}

function javaSuites(name: string, pom: string, single: string, ensemble: string): readonly [Suite, Suite] {
  const provision = async (): Promise<void> => {
    await jars('java', pom)
  }
  const one: Suite = {
    name,
    provision,
    run: async (context) => runClientProgram(context, await javaProgram(context, pom, single)),
  }
  const three: Suite = {
    name: `${name}-ensemble`,
    provision,
    run: async (context) => {
      const program = await javaProgram(context, pom, ensemble, single)
      await runEnsemblePrograms(context, [program], { settings: memberSettings })
    },
  }
  return [one, three]
}

export const [java, javaEnsemble] = javaSuites('java', 'zookeeper-pom.xml', 'ClientChecks', 'EnsembleChecks')
export const [curator, curatorEnsemble] = javaSuites(
  'curator',
  curatorPom,
  'CuratorChecks',
  'CuratorEnsembleChecks',
)

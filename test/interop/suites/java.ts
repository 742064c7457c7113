// The original Java client and Apache Curator, each driven by a program of ours that is compiled for the run.

import { join } from 'node:path'
import { runClientProgram } from '../harness/client-program.ts'
import { compileJava, javaArguments } from '../harness/java.ts'
import { jars } from '../harness/provision.ts'
import type { Suite } from '../harness/suite.ts'

function javaSuite(name: string, main: string, pom: string): Suite {
  return {
    name,
    provision: async () => {
      await jars('java', pom)
    },
    run: async (context) => {
      const libraries = join(await jars('java', pom), '*')
      const classes = await compileJava(context.dir, libraries, `java/${main}.java`)
      const args = [...javaArguments('192m', libraries, classes), main]
      await runClientProgram(context, { name: main, command: 'java', args })
    },
  }
}

export const java = javaSuite('java', 'ClientChecks', 'zookeeper-pom.xml')
export const curator = javaSuite('curator', 'CuratorChecks', 'curator-pom.xml')

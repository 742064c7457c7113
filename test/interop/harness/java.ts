// How the JVMs of the run are started (small, and tuned for starting fast rather than for running long), and how our
// own Java programs are compiled for it.

import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { interopSources } from './paths.ts'
import { must } from './provision.ts'

const QUICK = ['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC']

/** Arguments of `java` before the main class. `parts` are folders, or `folder/*` for all jars in it. */
export function javaArguments(heap: string, ...parts: readonly string[]): string[] {
  return [
    `-Xmx${heap}`,
    ...QUICK,
    '-XX:-UsePerfData',
    '-cp',
    [join(interopSources, 'java'), ...parts].join(':'),
  ]
}

/**
 * Compiles sources (paths below test/interop) together with the frame they share, and returns the folder of the
 * classes, which is in `dir`. Throws with the compiler's output.
 */
export async function compileJava(
  dir: string,
  libraries: string,
  ...sources: readonly string[]
): Promise<string> {
  const classes = join(dir, 'classes')
  await mkdir(classes)
  const files = ['java/Checks.java', ...sources].map((source) => join(interopSources, source))
  const options = [...QUICK.map((option) => `-J${option}`), '-proc:none', '-Xlint:all,-processing,-classfile']
  await must('javac', [...options, '-cp', libraries, '-d', classes, ...files])
  return classes
}

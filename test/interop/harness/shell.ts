// The shell that comes with the original server, unmodified: sessions are piped into it, and what it prints is compared command
// by command. One-shot calls show the exit codes.

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { javaArguments } from './java.ts'
import { type Finished, run } from './processes.ts'
import { type SuiteContext, tail } from './suite.ts'

const SHELL = 'org.apache.zookeeper.ZooKeeperMain'
const SESSION_LIMIT_MS = 60_000
const CHECK_NAME_MAX = 40

/** A command and what its output has to match; a string has to be the whole output. */
export type Step = readonly [command: string, ...expected: readonly (string | RegExp)[]]

/** Arguments, exit code, what either output has to show. */
export type Call = readonly [args: readonly string[], code: number, shows: RegExp]

/** A command as part of the name of a check. */
export function sliceName(command: string): string {
  return command.replaceAll(/[^\w.-]+/g, '-').replace(/^-|-$/g, '')
}

/** Where in its section the echo of a command is: index of the first line and number of lines. */
function echoIn(lines: readonly string[], command: string): [number, number] {
  // An event that comes between prompt and echo pushes the echo to a line of its own.
  const alone = lines.indexOf(command)
  if (alone >= 0) return [alone, 1]
  // Behind a long prompt, with the addresses of all servers, it is broken into lines of the terminal's width.
  const squeezed = (text: string): string => text.replaceAll(/\s/g, '')
  for (let count = 2; count <= lines.length; count++) {
    if (squeezed(lines.slice(0, count).join('')) === squeezed(command)) return [0, count]
  }
  return [0, 1]
}

/** Splits what the shell printed at its prompts; watch events are taken out and returned apart. */
function parseTranscript(
  text: string,
  commands: readonly string[],
): { readonly outputs: readonly string[]; readonly events: readonly string[] } {
  const events = [...text.matchAll(/^WatchedEvent state:\w+ type:(?!None)(\w+) path:(\S+) zxid: .*$/gm)]
  const rest = text.replaceAll(/^WATCHER::$|^WatchedEvent .*$/gm, '')
  const sections = rest.split(/^\[zk: .*?\(\w+\) \d+\] /m).slice(1)
  const outputs = sections.map((section, index) => {
    const lines = section.split('\n').filter((line) => line !== '')
    return lines
      .toSpliced(...echoIn(lines, commands[index] ?? ''))
      .join('\n')
      .trim()
  })
  return { outputs, events: events.map((event) => `${event[1]} path:${event[2]}`) }
}

/** The shell of some servers. */
export class Shell {
  readonly #context: SuiteContext
  readonly #classes: string
  readonly #hosts: string

  /** `classes` is the folder of its jars, `hosts` what follows -server. */
  constructor(context: SuiteContext, classes: string, hosts: string) {
    this.#context = context
    this.#classes = classes
    this.#hosts = hosts
  }

  /** Runs the shell with its two outputs in one stream, in the order in which they were written. */
  call(args: readonly string[], input: string, chroot = ''): Promise<Finished> {
    const java = [...javaArguments('128m', `${this.#classes}/*`), SHELL]
    const target = ['-server', `${this.#hosts}${chroot}`]
    return run('/bin/sh', ['-c', 'exec "$@" 2>&1', 'sh', 'java', ...java, ...target, ...args], {
      input,
      timeoutMs: SESSION_LIMIT_MS,
    })
  }

  /** Pipes the commands of `steps` through one session; each is a check. Returns the events seen. */
  async session(name: string, steps: readonly Step[], chroot = ''): Promise<readonly string[]> {
    const { report, dir } = this.#context
    const commands = [...steps.map(([command]) => command), 'quit']
    const input = `${commands.join('\n')}\n`
    const { stdout, code } = await this.call([], input, chroot)
    await writeFile(join(dir, `${name}.log`), stdout)
    const { outputs, events } = parseTranscript(stdout, commands)
    for (const [index, [command, ...expected]] of steps.entries()) {
      const output = outputs[index]
      const check = `${name}-${index}-${sliceName(command).slice(0, CHECK_NAME_MAX)}`
      const misses = (want: string | RegExp): boolean =>
        output === undefined || (typeof want === 'string' ? want !== output : !want.test(output))
      const missed = expected.find(misses)
      if (missed === undefined) report.pass(check)
      else report.fail(check, `'${command}' printed '${tail(output ?? 'nothing')}', expected ${missed}`)
    }
    if (code !== 0) report.fail(`${name}-exit`, `exit code ${code}, expected 0`)
    return events
  }

  /** One-shot calls; each is a check. */
  async calls(calls: readonly Call[]): Promise<void> {
    for (const [args, code, shows] of calls) {
      await this.#context.report.check(`call-${sliceName(args.join('-'))}`, async () => {
        const finished = await this.call(args, '')
        if (finished.code !== code) throw new Error(`exit code ${finished.code}, expected ${code}`)
        if (!shows.test(finished.stdout))
          throw new Error(`printed '${tail(finished.stdout)}', expected ${shows}`)
        return undefined
      })
    }
  }
}

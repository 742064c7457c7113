// Child processes of the interop run. Each one leads its own process group, is ended by the id it was started
// with, and is forgotten as soon as it is gone. Never looks for a process by name.

import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, createWriteStream, openSync, type WriteStream } from 'node:fs'
import { createInterface } from 'node:readline'

export type RunOptions = {
  readonly cwd?: string
  /** Added to the environment of this process. */
  readonly env?: Readonly<Record<string, string>>
  /** Written to the standard input, which is then closed. Without it the input is empty. */
  readonly input?: string
  /** The process group is killed after this many milliseconds. */
  readonly timeoutMs: number
  /** Both outputs are appended to this file. */
  readonly logFile?: string
  /** Called for each line of the standard output as it comes. */
  readonly onLine?: (line: string) => void
}

export type Finished = {
  /** Null if a signal ended it. */
  readonly code: number | null
  readonly timedOut: boolean
  readonly stdout: string
  readonly stderr: string
}

/** A process that stays up: a server, a broker, a producer at work. */
export type Group = {
  readonly pid: number
  readonly command: string
  /** Settles when the process has ended, whatever the reason. */
  readonly ended: Promise<{ readonly code: number | null; readonly signal: string | null }>
  alive(): boolean
}

const open = new Set<number>()

function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

function track(child: ChildProcess, command: string): Group {
  const { pid } = child
  let running = pid !== undefined
  if (pid !== undefined) open.add(pid)
  const ended = new Promise<{ code: number | null; signal: string | null }>((resolve) => {
    child.once('error', () => {
      running = false
      resolve({ code: 127, signal: null })
    })
    child.once('exit', (code, signal) => {
      running = false
      if (pid !== undefined) {
        // What a launcher may have left behind goes with it, before the id can mean somebody else.
        signalGroup(pid, 'SIGKILL')
        open.delete(pid)
      }
      resolve({ code, signal })
    })
  })
  return { pid: pid ?? -1, command, ended, alive: () => running }
}

/** Starts a long-lived process with both outputs appended to `logFile`. */
export function startGroup(
  command: string,
  args: readonly string[],
  options: {
    readonly logFile: string
    readonly cwd?: string
    readonly env?: Readonly<Record<string, string>>
    /** A file that becomes the standard input. */
    readonly inputFile?: string
  },
): Group {
  const log = openSync(options.logFile, 'a')
  const input = options.inputFile === undefined ? 'ignore' : openSync(options.inputFile, 'r')
  const child = spawn(command, [...args], {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    stdio: [input, log, log],
    detached: true,
  })
  closeSync(log)
  if (typeof input === 'number') closeSync(input)
  return track(child, command)
}

/**
 * Ends a group that `startGroup` started: the signal, then SIGKILL when `waitMs` have passed.
 * Returns true if the signal was enough.
 */
export async function endGroup(group: Group, signal: NodeJS.Signals, waitMs: number): Promise<boolean> {
  if (!group.alive()) return true
  signalGroup(group.pid, signal)
  let late = false
  const timer = setTimeout(() => {
    late = true
    signalGroup(group.pid, 'SIGKILL')
  }, waitMs)
  await group.ended
  clearTimeout(timer)
  return !late
}

/** SIGKILL for everything that is still up. For the end of the run and for signals. */
export function killEverything(): void {
  for (const pid of open) signalGroup(pid, 'SIGKILL')
}

/** Runs a command to its end and collects what it prints. */
export async function run(command: string, args: readonly string[], options: RunOptions): Promise<Finished> {
  const child = spawn(command, [...args], {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: true,
  })
  const log: WriteStream | undefined = options.logFile
    ? createWriteStream(options.logFile, { flags: 'a' })
    : undefined
  log?.on('error', () => log.destroy())
  const group = track(child, command)
  let timedOut = false
  const timer = setTimeout(() => {
    timedOut = true
    signalGroup(group.pid, 'SIGKILL')
  }, options.timeoutMs)
  const stdout: string[] = []
  const stderr: string[] = []
  const reader = createInterface({ input: child.stdout })
  reader.on('line', (line) => {
    stdout.push(line)
    log?.write(`${line}\n`)
    options.onLine?.(line)
  })
  const linesDone = new Promise<void>((resolve) => reader.once('close', resolve))
  child.stderr.setEncoding('utf8')
  child.stderr.on('data', (text: string) => {
    stderr.push(text)
    log?.write(text)
  })
  // A program that ends early closes its input; that shows in its exit code.
  child.stdin.on('error', () => undefined)
  child.stdin.end(options.input ?? '')
  const { code } = await group.ended
  clearTimeout(timer)
  await linesDone
  log?.end()
  return { code, timedOut, stdout: stdout.join('\n'), stderr: stderr.join('') }
}

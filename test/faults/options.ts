// The command line of the fault tests, and the settings that all their parts share. It starts nothing.
import { existsSync } from 'node:fs'
import path from 'node:path'
import { parseArgs } from 'node:util'

export type Options = {
  readonly help: boolean
  readonly list: boolean
  /** Only scenarios marked as short, with short faults. */
  readonly short: boolean
  /** Everything by chance is drawn from it. */
  readonly seed: number
  /** > 0: random faults for so long, instead of the scenarios. */
  readonly minutes: number
  /** Names of scenarios; empty: all. */
  readonly only: readonly string[]
  readonly network: 'proxy' | 'netns'
  readonly firstPort: number
  readonly tickMs: number
  /** False for servers whose `sync` is not confirmed by a quorum, as Apache ZooKeeper's: then it is only a plain read. */
  readonly syncIsStrong: boolean
  /** Keep data, logs and histories of scenarios that passed too. */
  readonly keep: boolean
  /** The command that runs a server in the foreground; `{cfg}` stands for its configuration file. */
  readonly command: readonly string[]
}

export const usage = `Faults on real servers, with checks of what clients see.
  npm run test:faults -- [OPTIONS] [SCENARIO...]
  --list            names of the scenarios
  --short           the short form: under three minutes
  --seed N          seed of everything random (default: 1)
  --minutes M       random faults for M minutes instead of the scenarios
  --net KIND        proxy (default) or netns (Linux, root)
  --first-port N    ports from N on, 400 of them (default: 22000)
  --tick MS         tickTime of the servers (default: 400)
  --weak-sync       reads behind a sync may be old, as with Apache ZooKeeper
  --keep            keep data, logs and histories of what passed, too
Environment: ZABD_FAULT_SERVER="CMD {cfg}", another server than zabd of this checkout.
Exit code: 0 all passed, 1 something failed, 2 bad usage.
`

function projectRoot(): string {
  let dir = import.meta.dirname
  while (!existsSync(path.join(dir, 'package.json'))) dir = path.dirname(dir)
  return dir
}

function serverCommand(given: string | undefined): readonly string[] {
  if (given === undefined || given.trim() === '') {
    return [process.execPath, path.join(projectRoot(), 'bin', 'zabd.js'), 'start', '--config', '{cfg}']
  }
  const words = given.trim().split(/\s+/)
  return words.some((word) => word.includes('{cfg}')) ? words : [...words, '{cfg}']
}

function whole(text: string, name: string, low: number): number {
  const value = Number(text)
  if (!Number.isFinite(value) || value < low)
    throw new Error(`--${name}: expected a number from ${low} on, got ${text}`)
  return value
}

/** Reads the command line. Throws an Error that says what is wrong with it. */
export function readOptions(args: readonly string[], command: string | undefined): Options {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      help: { type: 'boolean', short: 'h', default: false },
      list: { type: 'boolean', default: false },
      short: { type: 'boolean', default: false },
      seed: { type: 'string', default: '1' },
      minutes: { type: 'string', default: '0' },
      net: { type: 'string', default: 'proxy' },
      'first-port': { type: 'string', default: '22000' },
      tick: { type: 'string', default: '400' },
      'weak-sync': { type: 'boolean', default: false },
      keep: { type: 'boolean', default: false },
    },
  })
  if (values.net !== 'proxy' && values.net !== 'netns')
    throw new Error(`--net: proxy or netns, got ${values.net}`)
  return {
    help: values.help,
    list: values.list,
    short: values.short,
    seed: whole(values.seed, 'seed', 0),
    minutes: whole(values.minutes, 'minutes', 0),
    only: positionals,
    network: values.net,
    firstPort: whole(values['first-port'], 'first-port', 1024),
    tickMs: whole(values.tick, 'tick', 50),
    syncIsStrong: !values['weak-sync'],
    keep: values.keep,
    command: serverCommand(command),
  }
}

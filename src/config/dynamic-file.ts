// Writes the members down as ZooKeeper does after a reconfiguration: `zoo.cfg.dynamic.VERSION` beside the configuration
// file, and the line dynamicConfigFile in that file instead of the members that were in it. It leaves every other line as
// the operator wrote it, and decides nothing.
import { readFile, realpath, stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { writeFileDurably } from '../storage/files.ts'
import { memberKey } from './members.ts'
import { parseProperties } from './properties.ts'
import { canonicalKey } from './settings.ts'

/** The members to be written down. */
export type WrittenMembers = {
  /** Path of the configuration file that the server was started with. */
  readonly configFile: string
  /** server.N, group.N and weight.N lines, in any order. */
  readonly lines: readonly string[]
  readonly version: number
  /** This server's line has its client port: the configuration file need not have it, and may not have another. */
  readonly hasClientPort: boolean
}

/** A configuration file's text with `dynamicConfigFile` in it. */
export type EditedConfig = {
  readonly text: string
  /** There were lines of members in it, which are out. */
  readonly hadMembers: boolean
}

/**
 * Writes the dynamic file, then the configuration file that names it; the latter is copied to `.bak` before members are
 * taken out of it. Each file is there as a whole before or after a crash. Resolves with the path of the dynamic file.
 * Rejects with what the file system says (the node logs it: the members are in its log as well).
 */
export async function writeMembers(members: WrittenMembers): Promise<string> {
  const configFile = resolve(members.configFile)
  const dynamicFile = `${configFile}.dynamic.${members.version.toString(16)}`
  // ZooKeeper sorts the lines as text and ends the last one with the file.
  await writeFileDurably(dynamicFile, [...members.lines].sort().join('\n'))
  // The name may be a link, which stays one.
  const target = await realpath(configFile)
  const before = await readFile(target, 'utf8')
  const mode = (await stat(target)).mode & 0o777
  const { text, hadMembers } = editConfig(before, dynamicFile, members.hasClientPort)
  if (hadMembers) await writeFileDurably(`${configFile}.bak`, before, mode)
  if (text !== before) await writeFileDurably(target, text, mode)
  return dynamicFile
}

/**
 * Takes out of a configuration's text what the dynamic file says (server.N, group.N, weight.N, peerType, an older
 * dynamicConfigFile, the client port with `hasClientPort`), and names that file in its last line.
 */
export function editConfig(before: string, dynamicFile: string, hasClientPort: boolean): EditedConfig {
  const { properties } = parseProperties(before)
  const out = new Set<number>()
  let hadMembers = false
  for (const { key, line, lastLine } of properties) {
    const canonical = canonicalKey(key)
    const isMember = memberKey.test(canonical)
    const isClient = canonical === 'clientPort' || canonical === 'clientPortAddress'
    const isOther = canonical === 'dynamicConfigFile' || canonical === 'peerType'
    if (isMember) hadMembers = true
    if (!isMember && !isOther && !(isClient && hasClientPort)) continue
    for (let at = line; at <= lastLine; at++) out.add(at)
  }
  const lines = before.split(/(?<=\r\n|\n|\r(?!\n))/)
  const kept = lines.filter((_, i) => !out.has(i + 1))
  const end = /\r\n|\n|\r/.exec(before)?.[0] ?? '\n'
  const last = kept.at(-1)
  if (last !== undefined && last !== '' && !/[\r\n]$/.test(last)) kept.push(end)
  kept.push(`dynamicConfigFile=${escaped(dynamicFile)}${end}`)
  return { text: kept.join(''), hadMembers }
}

/** A path as the value of a property; Windows takes slashes as well. */
function escaped(path: string): string {
  return process.platform === 'win32' ? path.replaceAll('\\', '/') : path.replaceAll('\\', '\\\\')
}

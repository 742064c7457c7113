// Turns what LevelDB and the file system throw into StorageError: a kind to act on, a path and a remedy to read.
import { StorageError, type StorageErrorKind } from './types.ts'

/** How a member of an ensemble does without its data, and when that loses nothing. */
export const fromLeaderRemedy =
  'A member of an ensemble may also be started without this data: while a quorum of the other servers is up, and of one ' +
  'server at a time, move the zabd directories in dataDir and dataLogDir away (not myid); it then gets everything from the leader.'

const remedies: Readonly<Record<StorageErrorKind, string>> = {
  locked: 'Another zabd process uses this directory: stop it, or give this one a directory of its own.',
  corrupt: `Restore the data and log directories from one backup. ${fromLeaderRemedy}`,
  full: 'Make room on this file system; the server goes on by itself when it can write again.',
  io: 'Check the disk, the mount and that the process may read and write here.',
  format: 'Start the zabd release that wrote this data.',
}

/** A StorageError with the usual remedy of its kind, unless another is given. */
export function storageError(
  kind: StorageErrorKind,
  path: string,
  message: string,
  cause?: unknown,
  remedy: string = remedies[kind],
): StorageError {
  const text = message.includes(path) ? message : `${message} (${path})`
  return new StorageError(kind, path, text, remedy, cause)
}

/** `error`, thrown while `doing` something in directory `dir`, as a StorageError; one that already is stays as it is. */
export function toStorageError(error: unknown, dir: string, doing: string): StorageError {
  if (error instanceof StorageError) return error
  const chain = causes(error)
  const text = chain.map(([code, message]) => `${code} ${message}`).join(' ')
  const kind = kindOf(text)
  const detail = kind === 'locked' ? 'the database is in use' : (chain.at(-1)?.[1] ?? String(error))
  return storageError(kind, fileIn(dir, text), `${doing} failed: ${detail}`, error)
}

function kindOf(text: string): StorageErrorKind {
  if (text.includes('LEVEL_LOCKED')) return 'locked'
  if (/ENOSPC|EDQUOT|No space left|quota exceeded/i.test(text)) return 'full'
  if (/LEVEL_CORRUPTION|Corruption: /.test(text)) return 'corrupt'
  // A file that LevelDB's own files name is missing, or a table is shorter than they say: no I/O error, but damage.
  if (/IO error: .*(No such file|\.ldb: Invalid argument)|create_if_missing is false/.test(text))
    return 'corrupt'
  return 'io'
}

/** [code, message] of an error and what caused it, outermost first. */
function causes(error: unknown): [string, string][] {
  const chain: [string, string][] = []
  let current = error
  while (current instanceof Error && chain.length < 8) {
    chain.push(['code' in current ? String(current.code) : '', current.message])
    current = current.cause
  }
  return chain
}

/** The file below `dir` that a message names, else `dir`. */
function fileIn(dir: string, text: string): string {
  const start = text.indexOf(`${dir}/`)
  if (start < 0) return dir
  const name = /^[\w./-]+/.exec(text.slice(start + dir.length + 1))
  return name === null ? dir : `${dir}/${name[0]}`
}

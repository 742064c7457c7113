// Where a benchmark works: a znode of its own for each run, below one that is marked as made for this. Nothing outside of
// it is touched, and a znode that is there already without the mark is refused.
import { Code } from '../base/errors.ts'
import { Keys } from './keys.ts'
import { placesBelow } from './load.ts'
import { RequestError, type Session } from './session.ts'

/** The data of the znode that all runs are below. */
const mark = Buffer.from('made by zabd bench; what is below may be removed\n')

/** The znode for benchmarks can not be used; the message says why and what to do. */
export class WorkspaceError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'WorkspaceError'
  }
}

/** Makes a znode for a run below `prefix`; answers with its path. */
export async function openWorkspace(session: Session, prefix: string): Promise<string> {
  const found = await explained(session.getData(prefix))
  if (found === undefined) {
    await explained(session.create(prefix, mark)).catch((error: unknown) => {
      // Another run may have been faster; whether it is one is seen below.
      if (!(error instanceof RequestError && error.code === Code.nodeExists)) throw error
    })
  } else if (!found.equals(mark)) refuse(prefix)
  return await explained(session.create(`${prefix}/run-`, Buffer.alloc(0), true))
}

/** Makes the znodes of a load below `root`. */
export async function fillWorkspace(
  session: Session,
  root: string,
  count: number,
  data: Uint8Array,
): Promise<void> {
  const places = placesBelow(root)
  const none = Buffer.alloc(0)
  for (const place of Object.values(places)) await explained(session.create(place, none))
  const keys = new Keys(places.keys, count)
  await explained(session.createAll(keys.directories, (number) => Buffer.from(keys.directory(number)), none))
  await explained(session.createAll(count, (number) => keys.path(number), data))
}

/** Removes what a run made, and the znode of all runs if it was the last. */
export async function closeWorkspace(session: Session, prefix: string, root: string): Promise<void> {
  await session.removeTree(root)
  await session.delete(prefix).catch((error: unknown) => {
    const fine: readonly number[] = [Code.notEmpty, Code.noNode]
    if (!(error instanceof RequestError && fine.includes(error.code))) throw error
  })
}

/** Removes what runs left that did not end cleanly; false if there is nothing. */
export async function cleanWorkspace(session: Session, prefix: string): Promise<boolean> {
  const found = await explained(session.getData(prefix))
  if (found === undefined) return false
  if (!found.equals(mark)) refuse(prefix)
  await session.removeTree(prefix)
  return true
}

function refuse(prefix: string): never {
  throw new WorkspaceError(
    `${prefix} is there already and was not made by zabd bench: it is left alone; choose another znode with --prefix`,
  )
}

/** What an error of the set-up means to the user. */
async function explained<T>(work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    if (!(error instanceof RequestError)) throw error
    switch (error.code) {
      case Code.noAuth:
        throw new WorkspaceError(
          `${error.message}: the server lets these clients create nothing there; give credentials with --auth, or another znode with --prefix`,
        )
      case Code.noNode:
        throw new WorkspaceError(`${error.message}: the znode above it is not there`)
      case Code.notReadOnly:
        throw new WorkspaceError(`${error.message}: the server serves reads only`)
      case Code.quotaExceeded:
        throw new WorkspaceError(`${error.message}: choose a znode without a quota with --prefix`)
      case Code.sessionClosedRequireSaslAuth:
        throw new WorkspaceError(`${error.message}: the server wants SASL, which zabd bench does not speak`)
      default:
        throw error
    }
  }
}

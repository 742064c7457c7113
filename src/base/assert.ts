// Assertions that stay on in production: a broken invariant stops the process instead of serving wrong data.

/** Thrown when an invariant does not hold; never caught but by the node's fatal handler. */
export class InvariantError extends Error {
  override readonly name = 'InvariantError'
}

/** Throws `InvariantError` with `message` unless `condition` holds. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new InvariantError(message)
}

/** For the default branch of an exhaustive switch: a new union member fails to compile where it is unhandled. */
export function assertNever(value: never): never {
  throw new InvariantError(`unhandled case: ${JSON.stringify(value)}`)
}

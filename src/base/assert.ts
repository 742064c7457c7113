// Assertions that stay on in production: a broken invariant stops the process instead of serving wrong data.

/** Thrown when an invariant does not hold; never caught but by the node's fatal handler. */
export class InvariantError extends Error {
  override readonly name = 'InvariantError'
}

/**
 * Throws `InvariantError` with `message` unless `condition` holds. Where this runs for each entry or request, a message with
 * something in it is given as a function: a zxid as text takes longer than most of what is asserted.
 */
export function assert(condition: boolean, message: string | (() => string)): asserts condition {
  if (!condition) throw new InvariantError(typeof message === 'string' ? message : message())
}

/** For the default branch of an exhaustive switch: a new union member fails to compile where it is unhandled. */
export function assertNever(value: never): never {
  throw new InvariantError(`unhandled case: ${JSON.stringify(value)}`)
}

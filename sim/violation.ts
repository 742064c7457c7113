/** A property of the protocol does not hold: the run found a bug. */
export class Violation extends Error {
  override readonly name = 'Violation'
}

/** Throws a Violation with `message` unless `condition` holds. */
export function check(condition: boolean, message: () => string): void {
  if (!condition) throw new Violation(message())
}

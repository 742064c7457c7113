// How a broken promise of the servers ends a run.
import { Violation } from '../violation.ts'

export { Violation }

/** Throws a Violation with `message` unless `condition` holds. */
export function check(condition: boolean, message: () => string): asserts condition {
  if (!condition) throw new Violation(message())
}

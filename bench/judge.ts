// When a measurement side by side has lost against earlier ones: what looks lost is measured again, for longer, before it
// counts. Knows nothing of how is measured.
import { better, comparable, type Loss, leastRuns, losses, type Run } from './history.ts'

/** So often what looks lost is measured again: one run in a few is disturbed by what else the machine does. */
const repetitions = 2

export type Verdict = {
  /** The better of what was measured. */
  readonly run: Run
  readonly lost: readonly Loss[]
  /** For people, a line each. */
  readonly lines: readonly string[]
}

/** `measure` is called for all scenarios first, then for those that look lost. */
export async function judge(
  earlier: readonly Run[],
  measure: (only?: readonly string[]) => Promise<Run>,
): Promise<Verdict> {
  let run = await measure()
  let lost = losses(run, earlier)
  for (let i = 0; i < repetitions && lost.length > 0; i++) {
    const again = await measure([...new Set(lost.map(({ scenario }) => scenario))])
    run = better(run, again.ratios)
    lost = losses(run, earlier)
  }
  const others = comparable(run, earlier).length
  const lines = [`compared with ${others} earlier runs on a quiet machine of this kind`]
  if (others < leastRuns) lines.push(`fewer than ${leastRuns} say nothing: passed`)
  for (const { scenario, figure, was, is } of lost)
    lines.push(`LOST ${scenario}: ratio of ${figure} was ${was}, is ${is}`)
  return { run, lost, lines }
}

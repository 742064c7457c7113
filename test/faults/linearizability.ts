// Decides whether a history of concurrent operations could have happened one after another, each at one moment between
// its start and its end: the search of Wing and Gong with Lowe's memory of what was tried. It knows nothing of
// ZooKeeper (registers.ts has that model) and never changes a history.

/** One operation. `endMs` is Infinity if nobody knows its result: it happened at any time after its start, or never. */
export type Timed<Op> = { readonly startMs: number; readonly endMs: number; readonly op: Op }

export type Model<State, Op> = {
  readonly initial: State
  /** The state after `op` gave its result in `state`; undefined if it can not have given that result there. */
  apply(state: State, op: Op): State | undefined
  /** Equal exactly for equal states. */
  key(state: State): string
}

export type Verdict<Op> =
  | { readonly verdict: 'linearizable'; readonly steps: number }
  /** `stuck`: operations of which none could come next in the longest order that was found. */
  | { readonly verdict: 'violation'; readonly longest: number; readonly stuck: readonly Timed<Op>[] }
  /** The search was given up after `steps` steps. */
  | { readonly verdict: 'undecided'; readonly steps: number }

/** A state of the search: what is done, and where the next candidate is to be taken from. */
type Level<State> = {
  readonly state: State
  readonly candidates: readonly number[]
  next: number
  taken: number
}

/** Steps after which the search gives up: about ten seconds. Histories of a few unknown operations need few. */
export const defaultStepLimit = 3_000_000

/** Checks one register's history; histories of independent registers are to be checked one by one, which is far faster. */
export function checkLinearizable<State, Op>(
  model: Model<State, Op>,
  history: readonly Timed<Op>[],
  stepLimit = defaultStepLimit,
): Verdict<Op> {
  const ops = [...history].sort((a, b) => a.startMs - b.startMs)
  const known = ops.filter((op) => op.endMs !== Number.POSITIVE_INFINITY).length
  const search = new Search(ops)
  const tried = new Set<string>()
  let longest = -1
  let stuck: readonly number[] = []
  let steps = 0
  const stack: Level<State>[] = [
    { state: model.initial, candidates: search.candidates(), next: 0, taken: -1 },
  ]
  for (;;) {
    if (search.knownDone === known) return { verdict: 'linearizable', steps }
    const level = stack[stack.length - 1]
    if (level === undefined) {
      return { verdict: 'violation', longest, stuck: stuck.map((index) => ops[index] as Timed<Op>) }
    }
    if (level.taken !== -1) {
      search.undo(level.taken)
      level.taken = -1
    }
    if (level.next === level.candidates.length) {
      stack.pop()
      continue
    }
    const index = level.candidates[level.next++] as number
    steps++
    if (steps > stepLimit) return { verdict: 'undecided', steps }
    const after = model.apply(level.state, (ops[index] as Timed<Op>).op)
    if (after === undefined) continue
    search.take(index)
    const seen = `${search.key()}|${model.key(after)}`
    if (tried.has(seen)) {
      search.undo(index)
      continue
    }
    tried.add(seen)
    level.taken = index
    const candidates = search.candidates()
    if (search.knownDone > longest) {
      longest = search.knownDone
      stuck = candidates
    }
    stack.push({ state: after, candidates, next: 0, taken: -1 })
  }
}

/** Which operations are in the order so far. The known ones are nearly a prefix by start, so the key is short. */
class Search<Op> {
  readonly #ops: readonly Timed<Op>[]
  readonly #done: Uint8Array
  /** Every known operation before this index is done. */
  #prefix = 0
  knownDone = 0

  constructor(ops: readonly Timed<Op>[]) {
    this.#ops = ops
    this.#done = new Uint8Array(ops.length)
    this.#advance()
  }

  #isKnown(index: number): boolean {
    return this.#ops[index]?.endMs !== Number.POSITIVE_INFINITY
  }

  #advance(): void {
    while (
      this.#prefix < this.#ops.length &&
      (this.#done[this.#prefix] === 1 || !this.#isKnown(this.#prefix))
    ) {
      this.#prefix++
    }
  }

  take(index: number): void {
    this.#done[index] = 1
    if (this.#isKnown(index)) this.knownDone++
    this.#advance()
  }

  undo(index: number): void {
    this.#done[index] = 0
    if (!this.#isKnown(index)) return
    this.knownDone--
    if (index < this.#prefix) this.#prefix = index
  }

  /**
   * The operations that may come next: begun before any operation that is not in the order has ended. Known ones first,
   * because an unknown one is rarely needed.
   */
  candidates(): number[] {
    const known: number[] = []
    let firstEnd = Number.POSITIVE_INFINITY
    let index = this.#prefix
    for (; index < this.#ops.length; index++) {
      const op = this.#ops[index] as Timed<Op>
      if (op.startMs > firstEnd) break
      if (this.#done[index] === 1 || !this.#isKnown(index)) continue
      known.push(index)
      firstEnd = Math.min(firstEnd, op.endMs)
    }
    const unknown: number[] = []
    for (let i = 0; i < index; i++) if (this.#done[i] === 0 && !this.#isKnown(i)) unknown.push(i)
    return [...known, ...unknown]
  }

  key(): string {
    let key = `${this.#prefix}`
    for (let i = 0; i < this.#ops.length; i++) {
      if (this.#done[i] === 1 && (i > this.#prefix || !this.#isKnown(i))) key += `,${i}`
    }
    return key
  }
}

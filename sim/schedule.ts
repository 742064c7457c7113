// Virtual time: what is to happen, in order. Nothing takes time but what asks for it.

type Item = { readonly at: number; readonly seq: number; readonly run: () => void }

/** A priority queue of actions; those for the same moment run in the order they were planned. */
export class Schedule {
  now = 0
  #seq = 0
  readonly #heap: Item[] = []

  /** Runs `run` in `delayMs` of virtual time. */
  after(delayMs: number, run: () => void): void {
    this.at(this.now + delayMs, run)
  }

  at(at: number, run: () => void): void {
    const heap = this.#heap
    const item: Item = { at: Math.max(at, this.now), seq: this.#seq++, run }
    let i = heap.length
    heap.push(item)
    while (i > 0) {
      const parent = (i - 1) >> 1
      const above = heap[parent] as Item
      if (isBefore(above, item)) break
      heap[i] = above
      i = parent
    }
    heap[i] = item
  }

  /** Runs the next action; false if there is none. */
  runNext(): boolean {
    const heap = this.#heap
    const first = heap[0]
    if (first === undefined) return false
    const last = heap.pop() as Item
    if (heap.length > 0) this.#sink(last)
    this.now = first.at
    first.run()
    return true
  }

  #sink(item: Item): void {
    const heap = this.#heap
    let i = 0
    for (;;) {
      let child = 2 * i + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && isBefore(heap[child + 1] as Item, heap[child] as Item)) child++
      const below = heap[child] as Item
      if (isBefore(item, below)) break
      heap[i] = below
      i = child
    }
    heap[i] = item
  }
}

function isBefore(a: Item, b: Item): boolean {
  return a.at < b.at || (a.at === b.at && a.seq < b.seq)
}

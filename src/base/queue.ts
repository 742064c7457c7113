// First in, first out, for what can become long. V8 moves all elements of an array of more than some 16,000 at each
// shift (measured on Node.js 20: up to 10 µs with 20,000). Here what was taken leaves a gap in front, which is closed
// when it outnumbers what is left.

/** Gaps that are tolerated however little is left. */
const gapMax = 1024

/** See file header. */
export class Queue<T extends object> {
  #items: (T | undefined)[] = []
  /** Items before it were taken. */
  #head = 0

  get length(): number {
    return this.#items.length - this.#head
  }

  /** The one that came first; undefined if there is none. */
  get first(): T | undefined {
    return this.#items[this.#head]
  }

  /** The one that came last; undefined if there is none. */
  get last(): T | undefined {
    return this.length === 0 ? undefined : this.#items[this.#items.length - 1]
  }

  push(item: T): void {
    this.#items.push(item)
  }

  /** Takes the first one; undefined if there is none. */
  shift(): T | undefined {
    const item = this.#items[this.#head]
    if (item === undefined) return undefined
    this.#items[this.#head++] = undefined
    if (this.#head > gapMax && this.#head > this.length) {
      this.#items = this.#items.slice(this.#head)
      this.#head = 0
    }
    return item
  }

  /** Takes the last one; undefined if there is none. */
  pop(): T | undefined {
    return this.length === 0 ? undefined : this.#items.pop()
  }

  clear(): void {
    this.#items = []
    this.#head = 0
  }

  /** First to last; it may not change meanwhile. */
  *[Symbol.iterator](): Generator<T> {
    for (let at = this.#head; at < this.#items.length; at++) yield this.#items[at] as T
  }
}

// Removes containers that have lost their last child and TTL znodes that nobody has touched for their time
// (semantics.md rule 18). Runs on the leader; every removal is a proposal that apply judges again.
import { NONE, type NodeRef } from '../tree/store.ts'
import type { Tree } from '../tree/tree.ts'
import type { Clock, Timer } from './clock.ts'

export type ReaperOptions = {
  readonly tree: Tree
  readonly clock: Clock
  /** znode.container.* */
  readonly settings: {
    readonly checkIntervalMs: number
    readonly maxPerMinute: number
    /** 0: containers that never had a child stay. */
    readonly maxNeverUsedIntervalMs: number
  }
  readonly remove: (path: string) => void
  /** Whether proposals can be made at all. */
  readonly ready: () => boolean
}

/** See file header. */
export class Reaper {
  readonly #options: ReaperOptions
  #timer: Timer | undefined

  constructor(options: ReaperOptions) {
    this.#options = options
  }

  start(): void {
    if (this.#timer === undefined) this.#plan()
  }

  stop(): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }

  #plan(): void {
    const { clock, settings, ready } = this.#options
    this.#timer = clock.after(settings.checkIntervalMs, () => {
      if (ready()) this.#reap()
      // A removal may have stopped it.
      if (this.#timer !== undefined) this.#plan()
    })
  }

  #reap(): void {
    const { tree, settings, remove } = this.#options
    const most = Math.max(1, Math.floor((settings.maxPerMinute * settings.checkIntervalMs) / 60_000))
    let removed = 0
    for (const candidates of [tree.containers, tree.ttls]) {
      for (const node of candidates) {
        if (removed >= most) return
        if (!this.#isDue(node)) continue
        remove(tree.store.path(node))
        removed++
      }
    }
  }

  #isDue(node: NodeRef): boolean {
    const { tree, clock, settings } = this.#options
    const { store } = tree
    if (store.firstChild(node) !== NONE) return false
    const age = clock.wall() - store.mtime(node)
    if (tree.ttls.has(node)) return age > store.owner(node)
    if (store.cversion(node) > 0) return true
    return settings.maxNeverUsedIntervalMs > 0 && age > settings.maxNeverUsedIntervalMs
  }
}

// Faults between servers, behind one interface: proxies in user space (proxy.ts, works everywhere) or network namespaces
// (netns.ts, needs root). Clients always reach every server: a server cut off from its peers keeps its clients, which is
// the harder case.

/** Where a server binds, and under which address the server `from` is told to reach it. */
export interface Network {
  /** The address on which server `id` listens for clients and peers. */
  host(id: number): string
  /** The address of server `to` in the configuration of server `from`. */
  address(from: number, to: number, port: number): { readonly host: string; readonly port: number }
  /** What has to stand before the command that starts server `id`. */
  prefix(id: number): readonly string[]
  /** Nothing that `from` sends reaches `to` any more; what was sent may arrive after `heal`, as with lost packets. */
  block(from: number, to: number): Promise<void>
  /** Every connection between the two is reset, once. Not all networks can. */
  reset(a: number, b: number): void
  /** What `from` sends to `to` arrives `delayMs` later. Not all networks can. */
  delay(from: number, to: number, delayMs: number): void
  /** Ends all faults. */
  heal(): Promise<void>
  /** Removes everything it has made. Servers have ended. */
  dispose(): Promise<void>
}

/** Cuts both directions between every server of `side` and every one of `other`. */
export async function partition(
  network: Network,
  side: readonly number[],
  other: readonly number[],
): Promise<void> {
  for (const a of side) {
    for (const b of other) {
      await network.block(a, b)
      await network.block(b, a)
    }
  }
}

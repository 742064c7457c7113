// Room for the descriptors of many clients, made before they come. Linux doubles the table of a process's open files when
// one more does not fit, and the thread that opens that one waits until every processor has taken note of the new table: 10 ms
// and more. It would be the thread that accepts connections, four times on the way to a thousand clients that all come
// at once, and nobody would be answered meanwhile. A table never shrinks. Where the system does not tell how many
// descriptors there may be, as it does on Linux, nothing is done.
import { closeSync, open, openSync } from 'node:fs'
import { setImmediate as turn } from 'node:timers/promises'
import { promisify } from 'node:util'
import { thisHost } from '../admin/host.ts'

/** With this one the table has room for 4,095, in 32 KiB. */
const lastDescriptor = 2048
/** So many are opened, or closed, in a turn of the event loop: 0.2 ms. */
const perTurn = 64
/** Always there, and opening it costs next to nothing. */
const nothing = '/dev/null'

const openInPool = promisify(open)

/**
 * Opens descriptors up to `last`, at most half of the `max` that the process may have, and closes them again. Those that may
 * make the table grow are opened by threads of the pool. Never rejects.
 */
export async function makeRoomForDescriptors(
  last = lastDescriptor,
  max = thisHost.maxFiles(),
): Promise<void> {
  const goal = Math.min(last, max / 2)
  const opened: number[] = []
  try {
    for (let newest = 0; newest < goal; ) {
      newest = isPowerOfTwo(newest + 1) ? await openInPool(nothing, 'r') : openSync(nothing, 'r')
      opened.push(newest)
      if (opened.length % perTurn === 0) await turn()
    }
  } catch {
    // The table grows when it has to.
  }
  for (const [i, descriptor] of opened.entries()) {
    if (i % perTurn === 0) await turn()
    closeSync(descriptor)
  }
}

/** Sizes of the table are. */
function isPowerOfTwo(n: number): boolean {
  return (n & (n - 1)) === 0
}

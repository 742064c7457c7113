// Holds idle sessions for bench/scale.ts, in a process of its own, because a process has only so many file descriptors.
// Not for people: it is forked, and told what to do by messages.
import { Crowd, type CrowdPlan } from '../src/client/crowd.ts'

export type Order =
  | { readonly type: 'open'; readonly plan: CrowdPlan; readonly count: number; readonly inProgress: number }
  | { readonly type: 'close' }

export type Report = {
  readonly opened: number
  readonly elapsedMs: number
  readonly failedReason: string | undefined
  /** Sessions that ended by themselves so far. */
  readonly lost: number
  readonly lostReason: string | undefined
}

let crowd: Crowd | undefined

async function obey(order: Order): Promise<Report> {
  if (order.type === 'open') {
    crowd = new Crowd(order.plan)
    // The first ones would expire before the last are open.
    crowd.keepAlive()
    const { opened, elapsedMs, failedReason } = await crowd.open(order.count, order.inProgress)
    return { opened, elapsedMs, failedReason, lost: crowd.lost, lostReason: crowd.lostReason }
  }
  const { lost = 0, lostReason } = crowd ?? {}
  await crowd?.close()
  return { opened: 0, elapsedMs: 0, failedReason: undefined, lost, lostReason }
}

process.on('message', async (order: Order) => {
  process.send?.(await obey(order))
  if (order.type === 'close') process.disconnect()
})

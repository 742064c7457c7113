// A zxid is one number: epoch in the high 32 bits, counter in the low 32. It is exact while epoch < 2^21.
import { assert } from './assert.ts'

const low = 2 ** 32
/** Epochs end here: above it a zxid would no longer be an exact number. */
export const maxEpoch = 2 ** 21 - 1
/** The last counter an epoch may use; the epoch must end before it overflows (ZOOKEEPER-1277). */
export const maxCounter = 2 ** 32 - 2

/** The zxid of transaction `counter` in `epoch`. */
export function makeZxid(epoch: number, counter: number): number {
  assert(epoch >= 0 && epoch <= maxEpoch, () => `epoch ${epoch} is out of range`)
  return epoch * low + counter
}

/** The epoch of a zxid. */
export function epochOf(zxid: number): number {
  return Math.floor(zxid / low)
}

/** The counter of a zxid within its epoch. */
export function counterOf(zxid: number): number {
  return zxid % low
}

/** A zxid as ZooKeeper prints it: `0x100000001`. */
export function formatZxid(zxid: number): string {
  return zxid < 0 ? '0xffffffffffffffff' : `0x${zxid.toString(16)}`
}

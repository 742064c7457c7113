// Ids and passwords of sessions.
import { createHmac } from 'node:crypto'
import { sessionIdsPerServer } from '../base/session-ids.ts'

/** 2020-01-01, from where the time in session ids counts. */
const idEpoch = 1_577_836_800_000

/**
 * The first session id that a server with `serverId` (1 to 255) may give out when it starts at `wall` (ms): below
 * 2^53, unique across servers and, with fewer than 16,000 sessions a second on the average, across restarts.
 * `highest` is the highest id of this server that was ever opened: none is given out again, even if the clock went back.
 */
export function firstSessionId(serverId: number, wall: number, highest: number): number {
  const fromTime = (serverId % 256) * sessionIdsPerServer + Math.max(wall - idEpoch, 1) * 16
  return Math.max(fromTime, highest + 1)
}

/** The 16 bytes that prove the ownership of a session: keyed with a secret of the ensemble, not guessable. */
export function sessionPassword(secret: Uint8Array, id: number): Buffer {
  const text = Buffer.alloc(8)
  text.writeBigUInt64BE(BigInt(id))
  return createHmac('sha256', secret).update(text).digest().subarray(0, 16)
}

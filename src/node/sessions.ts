// Ids and passwords of sessions.
import { hash } from 'node:crypto'
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

/** Of SHA-256, bytes. */
const blockBytes = 64
const digestBytes = 32
const passwordBytes = 16

/**
 * Makes passwords: the 16 bytes that prove the ownership of a session, keyed with a secret of the ensemble, not guessable.
 * They are the beginning of HMAC-SHA256 (RFC 2104) of the id's eight bytes, out of two hashes of buffers that hold the key
 * already: an object of createHmac for each session cost five times as much, and the garbage collector again.
 */
export function sessionPasswords(secret: Uint8Array): (id: number) => Buffer {
  const key = Buffer.alloc(blockBytes)
  key.set(secret.length > blockBytes ? hash('sha256', secret, 'buffer') : secret)
  const inner = Buffer.alloc(blockBytes + 8)
  const outer = Buffer.alloc(blockBytes + digestBytes)
  for (const [i, byte] of key.entries()) {
    inner[i] = byte ^ 0x36
    outer[i] = byte ^ 0x5c
  }
  return (id) => {
    inner.writeUInt32BE(Math.floor(id / 2 ** 32), blockBytes)
    inner.writeUInt32BE(id % 2 ** 32, blockBytes + 4)
    // As strings of bytes: that is cheaper here than a buffer of its own for each digest.
    outer.write(hash('sha256', inner, 'binary'), blockBytes, 'binary')
    return Buffer.from(hash('sha256', outer, 'binary'), 'binary').subarray(0, passwordBytes)
  }
}

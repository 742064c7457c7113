// How session ids are made up: whose they are. What else is in them is node/sessions.ts's.

/** Ids of one server's sessions have the low byte of its id above these bits; the rest is time and a count. */
export const sessionIdsPerServer = 2 ** 45

/** The low byte of the id of the server that gave out a session id. */
export function serverByteOf(session: number): number {
  return Math.floor(session / sessionIdsPerServer)
}

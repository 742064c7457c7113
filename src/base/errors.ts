// ZooKeeper's error codes, in one table, and the error that carries one.
// In apply an error is a plain code in a result; `ZkError` is thrown only at the rim (decoding, validation).

/** Codes as they go on the wire (reference: ZooKeeper client protocol; 0 is success). */
export const Code = {
  ok: 0,
  systemError: -1,
  runtimeInconsistency: -2,
  dataInconsistency: -3,
  connectionLoss: -4,
  marshallingError: -5,
  unimplemented: -6,
  operationTimeout: -7,
  badArguments: -8,
  newConfigNoQuorum: -13,
  reconfigInProgress: -14,
  noNode: -101,
  noAuth: -102,
  badVersion: -103,
  noChildrenForEphemerals: -108,
  nodeExists: -110,
  notEmpty: -111,
  sessionExpired: -112,
  invalidAcl: -114,
  authFailed: -115,
  sessionMoved: -118,
  notReadOnly: -119,
  ephemeralOnLocalSession: -120,
  noWatcher: -121,
  reconfigDisabled: -123,
  sessionClosedRequireSaslAuth: -124,
  quotaExceeded: -125,
  throttledOp: -127,
} as const

/** One of ZooKeeper's error codes. */
export type Code = (typeof Code)[keyof typeof Code]

const names = new Map<number, string>(Object.entries(Code).map(([name, code]) => [code, name]))

/** The name of a code, for log lines: `noNode`, or `code -99` for an unknown one. */
export function codeName(code: number): string {
  return names.get(code) ?? `code ${code}`
}

/** A request that cannot be served, with the code that its client is told. */
export class ZkError extends Error {
  readonly code: Code
  constructor(code: Code, message: string) {
    super(message)
    this.name = 'ZkError'
    this.code = code
  }
}

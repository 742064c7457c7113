// A znode as a register: what its operations may answer (the model for linearizability.ts), and rules that hold for
// plain reads, which may be old but never go back. It judges histories and never talks to servers.
import { Err } from '../support/raw-client.ts'
import { checkLinearizable, type Model, type Timed } from './linearizability.ts'

export type RegisterCall =
  | { readonly type: 'create'; readonly value: string }
  /** `version` -1: whatever the version is. */
  | { readonly type: 'set'; readonly value: string; readonly version: number }
  | { readonly type: 'delete' }
  /** `synced`: behind a `sync` of the same session. */
  | { readonly type: 'read'; readonly synced: boolean }

export type RegisterResult =
  | { readonly type: 'value'; readonly value: string; readonly version: number; readonly mzxid: number }
  /** A write without an answer that tells of its state: create, delete. */
  | { readonly type: 'done' }
  | { readonly type: 'version'; readonly version: number }
  | { readonly type: 'error'; readonly code: number }
  | { readonly type: 'unknown' }

/** One request of a session. Times are of one clock; `endMs` is Infinity exactly if the result is unknown. */
export type RegisterOp = {
  readonly session: string
  readonly server: number
  readonly path: string
  readonly call: RegisterCall
  readonly result: RegisterResult
  /** Of the reply, 0 without one. */
  readonly zxid: number
  readonly startMs: number
  readonly endMs: number
}

type Register = { readonly value: string; readonly version: number }
/** `absent`: there is no such znode. */
type State = Register | 'absent'

function applyCreate(state: State, value: string, result: RegisterResult): State | undefined {
  if (result.type === 'error') return result.code === Err.nodeExists && state !== 'absent' ? state : undefined
  return state === 'absent' ? { value, version: 0 } : undefined
}

function applySet(
  state: State,
  call: RegisterCall & { readonly type: 'set' },
  result: RegisterResult,
): State | undefined {
  if (result.type === 'error' && result.code === Err.noNode) return state === 'absent' ? state : undefined
  if (state === 'absent') return undefined
  const matches = call.version === -1 || call.version === state.version
  if (result.type === 'error') return result.code === Err.badVersion && !matches ? state : undefined
  if (!matches) return undefined
  if (result.type === 'version' && result.version !== state.version + 1) return undefined
  return { value: call.value, version: state.version + 1 }
}

function applyDelete(state: State, result: RegisterResult): State | undefined {
  if (result.type === 'error') return result.code === Err.noNode && state === 'absent' ? state : undefined
  return state === 'absent' ? undefined : 'absent'
}

function applyRead(state: State, result: RegisterResult): State | undefined {
  if (result.type === 'error') return result.code === Err.noNode && state === 'absent' ? state : undefined
  if (result.type !== 'value' || state === 'absent') return undefined
  return result.value === state.value && result.version === state.version ? state : undefined
}

/**
 * What a znode may answer. An operation of unknown result that would change nothing is not applied at all: its place in the
 * order does not matter.
 */
export const registerModel: Model<State, RegisterOp> = {
  initial: 'absent',
  apply(state, { call, result }) {
    switch (call.type) {
      case 'create':
        return applyCreate(state, call.value, result)
      case 'set':
        return applySet(state, call, result)
      case 'delete':
        return applyDelete(state, result)
      case 'read':
        return applyRead(state, result)
    }
  },
  key: (state) => (state === 'absent' ? '' : `${state.version} ${state.value}`),
}

function byPath(ops: readonly RegisterOp[]): Map<string, RegisterOp[]> {
  const groups = new Map<string, RegisterOp[]>()
  for (const op of ops) {
    const group = groups.get(op.path)
    if (group === undefined) groups.set(op.path, [op])
    else group.push(op)
  }
  return groups
}

/** An operation on one line, for messages. */
export function describeOp(op: RegisterOp): string {
  const end = op.endMs === Number.POSITIVE_INFINITY ? '?' : op.endMs.toFixed(1)
  const zxid = op.zxid > 0 ? ` zxid ${op.zxid.toString(16)}` : ''
  const what = `${JSON.stringify(op.call)} -> ${JSON.stringify(op.result)}`
  return `[${op.startMs.toFixed(1)} .. ${end}] ${op.session}@${op.server} ${op.path} ${what}${zxid}`
}

/**
 * Every way in which the writes and (`syncedReads`) the reads behind a sync are not linearizable, by znode. Reads of unknown
 * result say nothing and are left out.
 */
export function checkRegisters(ops: readonly RegisterOp[], syncedReads: boolean): string[] {
  const problems: string[] = []
  for (const [path, group] of byPath(ops)) {
    const strong = group.filter(({ call, result }) => {
      return call.type !== 'read' || (call.synced && syncedReads && result.type !== 'unknown')
    })
    const history: Timed<RegisterOp>[] = strong.map((op) => ({ startMs: op.startMs, endMs: op.endMs, op }))
    const verdict = checkLinearizable(registerModel, history)
    if (verdict.verdict === 'violation') {
      const next = verdict.stuck.map(({ op }) => `\n    ${describeOp(op)}`).join('')
      problems.push(
        `${path} is not linearizable: after ${verdict.longest} operations none of these can be next:${next}`,
      )
    }
    if (verdict.verdict === 'undecided') problems.push(`${path}: undecided after ${verdict.steps} steps`)
  }
  return problems
}

/**
 * Zxids of acknowledged writes (also of failed ones, which take a zxid too): in the order of real time over all znodes, and
 * no two alike.
 */
export function checkWriteOrder(ops: readonly RegisterOp[]): string[] {
  const writes = ops.filter(({ call, zxid }) => call.type !== 'read' && zxid > 0)
  const problems: string[] = []
  const seen = new Map<number, RegisterOp>()
  for (const op of writes) {
    const other = seen.get(op.zxid)
    if (other !== undefined)
      problems.push(`two writes with one zxid:\n    ${describeOp(other)}\n    ${describeOp(op)}`)
    seen.set(op.zxid, op)
  }
  const byEnd = [...writes].sort((a, b) => a.endMs - b.endMs)
  let ended = 0
  let latest: RegisterOp | undefined
  for (const op of [...writes].sort((a, b) => a.startMs - b.startMs)) {
    for (; (byEnd[ended]?.endMs ?? Number.POSITIVE_INFINITY) < op.startMs; ended++) {
      const done = byEnd[ended] as RegisterOp
      if (latest === undefined || done.zxid > latest.zxid) latest = done
    }
    if (latest !== undefined && latest.zxid > op.zxid) {
      problems.push(`zxids against real time:\n    ${describeOp(latest)}\n    ${describeOp(op)}`)
    }
  }
  return problems
}

/**
 * Rules for every read, synced or not: what is read was written by somebody; one mzxid means one value and version
 * everywhere; no session sees a znode go back, or misses its own write, wherever it is connected; and a reply's zxid is not
 * below what it shows. `ops` of one session have to be in the order in which it sent them.
 */
export function checkReads(ops: readonly RegisterOp[]): string[] {
  const problems: string[] = []
  const written = new Set<string>()
  for (const { path, call } of ops) {
    if (call.type === 'create' || call.type === 'set') written.add(`${path} ${call.value}`)
  }
  const contents = new Map<string, RegisterOp>()
  /** By session and path: the highest mzxid it has seen or written. */
  const seen = new Map<string, { readonly zxid: number; readonly op: RegisterOp }>()
  for (const op of ops) {
    const { call, result, path, session } = op
    if (op.zxid === 0) continue
    const key = `${session} ${path}`
    const before = seen.get(key)
    if (call.type !== 'read') {
      if (result.type !== 'error') seen.set(key, { zxid: op.zxid, op })
      continue
    }
    if (result.type !== 'value') continue
    const problem = (what: string, other?: RegisterOp) => {
      const beside = other === undefined ? '' : `\n    ${describeOp(other)}`
      problems.push(`${what}:${beside}\n    ${describeOp(op)}`)
    }
    if (!written.has(`${path} ${result.value}`)) problem('a value that nobody wrote')
    if (op.zxid < result.mzxid) problem('a reply below the change that it shows')
    if (before !== undefined && before.zxid > result.mzxid)
      problem('a session saw a znode go back', before.op)
    else seen.set(key, { zxid: result.mzxid, op })
    const same = contents.get(`${path} ${result.mzxid}`)
    if (same?.result.type === 'value') {
      const differs = same.result.value !== result.value || same.result.version !== result.version
      if (differs) problem('one mzxid, two contents', same)
    }
    contents.set(`${path} ${result.mzxid}`, op)
  }
  return problems
}

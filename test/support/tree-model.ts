// A ZooKeeper tree the slow and obvious way: a Map of paths, everything derived is computed anew each time it is
// asked for, a multi works on a copy. Written from the specification (reference/semantics.md; the numbers in comments
// are its rules) and not from src/tree/, so that the two can be compared. Never fast, never clever.
import { Code } from '../../src/base/errors.ts'
import { CreateFlag, EventType, Op, Perm } from '../../src/base/opcodes.ts'
import type { Acl, Id } from '../../src/tree/acl.ts'
import { BatchOption } from '../../src/tree/batch.ts'
import {
  type AclList,
  type Operation,
  opOf,
  type Request,
  type Result,
  type Stat,
  type Transaction,
} from './tree-transactions.ts'

export type ModelKind = 'persistent' | 'ephemeral' | 'container' | 'ttl'

export type ModelNode = {
  data: Buffer | null
  acl: readonly Acl[]
  kind: ModelKind
  /** Session id or TTL. */
  owner: number
  czxid: number
  mzxid: number
  pzxid: number
  ctime: number
  mtime: number
  version: number
  /** Number of child creations (rule 7). */
  cversion: number
  aversion: number
}

export type Model = {
  nodes: Map<string, ModelNode>
  sessions: Map<number, number>
  settings: { rulesVersion: number; ensembleId: string; secret: string } | null
  zxid: number
}

export type Change = { readonly type: number; readonly path: string; readonly acl: readonly Acl[] }

export type Outcome = {
  readonly err: number
  /** Of a successful transaction: the results in its reply. */
  readonly results: readonly Result[]
  readonly changes: readonly Change[]
}

/** What the operations of one transaction know besides the state. */
type Context = {
  readonly session: number
  readonly ids: readonly Id[]
  readonly options: number
  readonly zxid: number
  readonly time: number
  readonly changes: Change[]
}

const openList: readonly Acl[] = [{ perms: 31, scheme: 'world', id: 'anyone' }]
const quotaRoot = '/zookeeper/quota'

/** The tree of a fresh server (rule 4). */
export function freshModel(): Model {
  const model: Model = { nodes: new Map(), sessions: new Map(), settings: null, zxid: 0 }
  for (const path of ['/', '/zookeeper', quotaRoot, '/zookeeper/config']) {
    model.nodes.set(path, {
      data: Buffer.alloc(0),
      acl: openList,
      kind: 'persistent',
      owner: 0,
      czxid: 0,
      mzxid: 0,
      pzxid: 0,
      ctime: 0,
      mtime: 0,
      version: 0,
      cversion: 0,
      aversion: 0,
    })
  }
  const config = model.nodes.get('/zookeeper/config')!
  config.acl = [{ perms: 1, scheme: 'world', id: 'anyone' }]
  config.aversion = -1
  return model
}

function copyOf(nodes: Map<string, ModelNode>): Map<string, ModelNode> {
  return new Map([...nodes].map(([path, node]) => [path, { ...node }]))
}

/** Applies a transaction; a failed one changes nothing but the zxid. */
export function applyToModel(
  model: Model,
  { session, ids, request }: Transaction,
  zxid: number,
  time: number,
  options: number,
): Outcome {
  const changes: Change[] = []
  const context: Context = { session, ids, options, zxid, time, changes }
  const before = copyOf(model.nodes)
  model.zxid = zxid
  const outcome = perform(model, context, request)
  if (outcome.err !== Code.ok || outcome.results.some(({ err }) => err !== Code.ok)) {
    model.nodes = before
    return { ...outcome, changes: [] }
  }
  return { ...outcome, changes }
}

function perform(model: Model, context: Context, request: Request): Omit<Outcome, 'changes'> {
  const none = { err: Code.ok, results: [{ type: opOf(request), err: 0 }] }
  switch (request.type) {
    case 'createSession':
      model.sessions.set(context.session, request.timeout)
      return none
    case 'closeSession':
      for (const path of ephemeralsOf(model, context.session)) removeNode(model, context, path)
      model.sessions.delete(context.session)
      return none
    case 'settings':
      model.settings = {
        rulesVersion: request.rulesVersion,
        ensembleId: request.id.toString('hex'),
        secret: request.secret.toString('hex'),
      }
      return none
    case 'error':
      return { err: request.code, results: [] }
    case 'deleteContainer': {
      const err = deleteContainer(model, context, request.path)
      return err === Code.ok ? none : { err, results: [] }
    }
    case 'multi':
      return { err: Code.ok, results: performAll(model, context, request.operations) }
    default: {
      const result = operate(model, context, request)
      return typeof result === 'number' ? { err: result, results: [] } : { err: Code.ok, results: [result] }
    }
  }
}

/** Rules 22 and 23. */
function performAll(model: Model, context: Context, operations: readonly Operation[]): Result[] {
  const results: Result[] = []
  for (const operation of operations) {
    const result = operate(model, context, operation)
    if (typeof result === 'number') {
      const failed = results.length
      return operations.map((_, i) => {
        const err = i < failed ? Code.ok : i === failed ? result : Code.runtimeInconsistency
        return { type: Op.error, err }
      })
    }
    const asCreate2 = result.type === Op.createContainer || result.type === Op.createTtl
    results.push(asCreate2 ? { ...result, type: Op.create2 } : result)
  }
  return results
}

/** The result, or an error code. */
function operate(model: Model, context: Context, operation: Operation): Result | number {
  switch (operation.type) {
    case 'create':
      return create(model, context, operation)
    case 'delete':
      return deleteNode(model, context, operation.path, operation.version)
    case 'setData':
      return setData(model, context, operation.path, operation.data, operation.version)
    case 'setAcl':
      return setAcl(model, context, operation.path, operation.acl, operation.version)
    case 'check':
      return check(model, context, operation.path, operation.version)
  }
}

// ---- paths ----

function isValidPath(path: string): boolean {
  if (path === '/') return true
  if (!path.startsWith('/') || path.endsWith('/')) return false
  for (const name of path.slice(1).split('/')) if (name === '' || name === '.' || name === '..') return false
  for (let i = 0; i < path.length; i++) {
    const c = path.charCodeAt(i)
    if (c <= 0x1f || (c >= 0x7f && c <= 0x9f) || (c >= 0xd800 && c <= 0xf8ff) || c >= 0xfff0) return false
  }
  return true
}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/'))
}

/** ZooKeeper knows the root by two keys, rule 4. */
function keyOf(path: string): string {
  return path === '' ? '/' : path
}

export function childrenOf(model: Model, path: string): string[] {
  return [...model.nodes.keys()].filter((other) => other !== '/' && keyOf(parentOf(other)) === path)
}

export function ephemeralsOf(model: Model, session: number): string[] {
  return [...model.nodes]
    .filter(([, node]) => node.kind === 'ephemeral' && node.owner === session)
    .map(([path]) => path)
}

export function statOf(model: Model, path: string): Stat {
  const node = model.nodes.get(path)!
  const children = childrenOf(model, path).length
  return {
    czxid: node.czxid,
    mzxid: node.mzxid,
    ctime: node.ctime,
    mtime: node.mtime,
    version: node.version,
    cversion: 2 * node.cversion - children,
    aversion: node.aversion,
    ephemeralOwner: node.kind === 'ephemeral' ? node.owner : 0,
    dataLength: node.data?.length ?? 0,
    numChildren: children,
    pzxid: node.pzxid,
  }
}

// ---- ACLs (rules 25 to 29) ----

function mayNot(context: Context, node: ModelNode, perm: number): boolean {
  if ((context.options & BatchOption.skipAcl) !== 0) return false
  if (context.ids.some((id) => id.scheme === 'super')) return false
  return !node.acl.some(
    (entry) =>
      (entry.perms & perm) !== 0 &&
      ((entry.scheme === 'world' && entry.id === 'anyone') || context.ids.some((id) => isMeant(entry, id))),
  )
}

function isMeant(entry: Acl, id: Id): boolean {
  if (entry.scheme !== id.scheme) return false
  if (entry.scheme !== 'ip') return entry.id === id.id
  const [address, bits] = entry.id.split('/') as [string, string | undefined]
  return bitsOf(id.id).slice(0, Number(bits ?? 32)) === bitsOf(address).slice(0, Number(bits ?? 32))
}

function bitsOf(address: string): string {
  return address
    .split('.')
    .map((part) => Number(part).toString(2).padStart(8, '0'))
    .join('')
}

/** Undefined for a list that is refused. */
function storedAcl(list: AclList, ids: readonly Id[]): readonly Acl[] | undefined {
  if (list === null || list.length === 0) return undefined
  const stored: Acl[] = []
  const seen = new Set<string>()
  for (const { perms, scheme, id } of list) {
    const text = JSON.stringify([perms, scheme, id])
    if (seen.has(text)) continue
    seen.add(text)
    if (scheme === 'auth') {
      const own = ids.filter((one) => one.scheme === 'digest')
      if (own.length === 0) return undefined
      for (const one of own) stored.push({ perms, scheme: one.scheme, id: one.id })
    } else if (scheme !== null && id !== null && isValidId(scheme, id)) {
      stored.push({ perms, scheme, id })
    } else {
      return undefined
    }
  }
  return stored
}

function isValidId(scheme: string, id: string): boolean {
  if (scheme === 'world') return id === 'anyone'
  if (scheme === 'digest') return id.split(':').length === 2 && !id.endsWith(':')
  if (scheme === 'ip') return /^\d+\.\d+\.\d+\.\d+(\/([0-9]|[12][0-9]|3[012]))?$/.test(id)
  return false
}

// ---- operations ----

/** Rules 13 to 17. */
function create(
  model: Model,
  context: Context,
  request: Extract<Operation, { type: 'create' }>,
): Result | number {
  const { op, flags, ttl, data } = request
  const flagError = createFlagError(op, flags, ttl, context.options)
  if (flagError !== Code.ok) return flagError
  if (!model.sessions.has(context.session)) return Code.sessionExpired
  if (!request.path.includes('/') || request.path.includes('\0')) return Code.badArguments
  const acl = storedAcl(request.acl, context.ids)
  if (acl === undefined) return Code.invalidAcl
  const parent = keyOf(parentOf(request.path))
  const parentNode = model.nodes.get(parent)
  if (parentNode === undefined) return Code.noNode
  if (mayNot(context, parentNode, Perm.create)) return Code.noAuth
  const sequential = flags === 2 || flags === 3 || flags === 6
  const path = sequential ? request.path + sequence(parentNode.cversion) : request.path
  if (!isValidPath(path)) return Code.badArguments
  if (model.nodes.has(path)) return Code.nodeExists
  if (parentNode.kind === 'ephemeral') return Code.noChildrenForEphemerals
  const size = data?.length ?? 0
  if (!quotaAllows(model, context, path, size, 1)) return Code.quotaExceeded

  const kind = kindOf(flags)
  const owner = kind === 'ephemeral' ? context.session : kind === 'ttl' ? ttl : 0
  const { zxid, time } = context
  model.nodes.set(path, {
    data,
    acl,
    kind,
    owner,
    czxid: zxid,
    mzxid: zxid,
    pzxid: zxid,
    ctime: time,
    mtime: time,
    version: 0,
    cversion: 0,
    aversion: 0,
  })
  parentNode.cversion = (parentNode.cversion + 1) | 0
  parentNode.pzxid = zxid
  const target = quotaTarget(path, 'zookeeper_stats')
  if (target !== undefined) recount(model, target)
  book(model, path, size, 1)
  context.changes.push({ type: EventType.nodeCreated, path, acl })
  context.changes.push({ type: EventType.nodeChildrenChanged, path: parent, acl: parentNode.acl })
  return op === Op.create ? { type: op, err: 0, path } : { type: op, err: 0, path, stat: statOf(model, path) }
}

function createFlagError(op: number, flags: number, ttl: number, options: number): number {
  switch (op) {
    case Op.createTtl:
      if (flags !== CreateFlag.ttl && flags !== CreateFlag.ttlSequential) return Code.badArguments
      if ((options & BatchOption.ttlDisabled) !== 0) return Code.unimplemented
      return ttl >= 1 && ttl <= 1_099_511_627_775 ? Code.ok : Code.badArguments
    case Op.createContainer:
      return flags === CreateFlag.container ? Code.ok : Code.badArguments
    default:
      return [0, 1, 2, 3, 4].includes(flags) ? Code.ok : Code.badArguments
  }
}

function kindOf(flags: number): ModelKind {
  if (flags === 1 || flags === 3) return 'ephemeral'
  if (flags === 4) return 'container'
  return flags === 5 || flags === 6 ? 'ttl' : 'persistent'
}

/** Java's %010d: ten characters with the sign. */
function sequence(cversion: number): string {
  const digits = String(Math.abs(cversion))
  return cversion < 0 ? `-${digits.padStart(9, '0')}` : digits.padStart(10, '0')
}

/** Rule 21. */
function deleteNode(model: Model, context: Context, path: string, version: number): Result | number {
  if (!model.sessions.has(context.session)) return Code.sessionExpired
  if (!path.includes('/') || path.includes('\0')) return Code.badArguments
  if (['/', '/zookeeper', quotaRoot, '/zookeeper/config'].includes(path)) return Code.badArguments
  const parentNode = model.nodes.get(keyOf(parentOf(path)))
  if (parentNode === undefined) return Code.noNode
  if (mayNot(context, parentNode, Perm.delete)) return Code.noAuth
  const node = model.nodes.get(path)
  if (node === undefined) return Code.noNode
  if (version !== -1 && version !== node.version) return Code.badVersion
  if (childrenOf(model, path).length > 0) return Code.notEmpty
  removeNode(model, context, path)
  return { type: Op.delete, err: 0 }
}

function removeNode(model: Model, context: Context, path: string): void {
  const node = model.nodes.get(path)!
  const parent = keyOf(parentOf(path))
  const parentNode = model.nodes.get(parent)!
  parentNode.pzxid = context.zxid
  model.nodes.delete(path)
  book(model, path, -(node.data?.length ?? 0), -1)
  context.changes.push({ type: EventType.nodeDeleted, path, acl: node.acl })
  context.changes.push({ type: EventType.nodeChildrenChanged, path: parent, acl: parentNode.acl })
}

/** Rule 20, the internal operation: zabd removes only what the reaper is for, and a TTL node only when it is over. */
function deleteContainer(model: Model, context: Context, path: string): number {
  const node = model.nodes.get(path)
  if (node === undefined) return Code.noNode
  if (childrenOf(model, path).length > 0) return Code.notEmpty
  if (node.kind !== 'container' && node.kind !== 'ttl') return Code.badVersion
  if (node.kind === 'ttl' && context.time - node.mtime <= node.owner) return Code.badVersion
  removeNode(model, context, path)
  return Code.ok
}

function setData(
  model: Model,
  context: Context,
  path: string,
  data: Buffer | null,
  version: number,
): Result | number {
  if (!model.sessions.has(context.session)) return Code.sessionExpired
  if (!isValidPath(path)) return Code.badArguments
  const node = model.nodes.get(path)
  if (node === undefined) return Code.noNode
  if (mayNot(context, node, Perm.write)) return Code.noAuth
  const diff = (data?.length ?? 0) - (node.data?.length ?? 0)
  if (!quotaAllows(model, context, path, diff, 0)) return Code.quotaExceeded
  if (version !== -1 && version !== node.version) return Code.badVersion
  node.data = data
  node.version = (node.version + 1) | 0
  node.mzxid = context.zxid
  node.mtime = context.time
  if (diff !== 0) book(model, path, diff, 0)
  context.changes.push({ type: EventType.nodeDataChanged, path, acl: node.acl })
  return { type: Op.setData, err: 0, stat: statOf(model, path) }
}

function setAcl(
  model: Model,
  context: Context,
  path: string,
  list: AclList,
  version: number,
): Result | number {
  if (!model.sessions.has(context.session)) return Code.sessionExpired
  if (!isValidPath(path)) return Code.badArguments
  const acl = storedAcl(list, context.ids)
  if (acl === undefined) return Code.invalidAcl
  const node = model.nodes.get(path)
  if (node === undefined) return Code.noNode
  if (mayNot(context, node, Perm.admin)) return Code.noAuth
  if (version !== -1 && version !== node.aversion) return Code.badVersion
  node.acl = acl
  node.aversion = (node.aversion + 1) | 0
  return { type: Op.setAcl, err: 0, stat: statOf(model, path) }
}

function check(model: Model, context: Context, path: string, version: number): Result | number {
  if (!model.sessions.has(context.session)) return Code.sessionExpired
  if (!isValidPath(path)) return Code.badArguments
  const node = model.nodes.get(path)
  if (node === undefined) return Code.noNode
  if (mayNot(context, node, Perm.read)) return Code.noAuth
  return version === -1 || version === node.version ? { type: Op.check, err: 0 } : Code.badVersion
}

// ---- quotas (rules 64 to 66; unlike ZooKeeper a multi is checked against its own usage, DESIGN 2.9) ----

/** `/zookeeper/quota/a/b/<name>` stands for `/a/b`. */
function quotaTarget(path: string, name: string): string | undefined {
  if (!path.startsWith(`${quotaRoot}/`) || !path.endsWith(`/${name}`)) return undefined
  const target = path.slice(quotaRoot.length, -name.length - 1)
  return target === '' ? undefined : target
}

/** Paths with a quota. */
export function quotaPaths(model: Model): string[] {
  return [...model.nodes.keys()]
    .map((path) => quotaTarget(path, 'zookeeper_limits'))
    .filter((target) => target !== undefined)
}

function quotaPrefix(model: Model, path: string): string | undefined {
  const above = quotaPaths(model).filter((target) => path === target || path.startsWith(`${target}/`))
  return above.sort((a, b) => b.length - a.length)[0]
}

function quotaNumbers(node: ModelNode): Map<string, number> {
  const numbers = new Map<string, number>()
  for (const pair of (node.data?.toString() ?? '').split(/[,;]+/)) {
    const [key, value] = pair.split('=')
    if (key !== undefined && value !== undefined) numbers.set(key, Number(value))
  }
  return numbers
}

function quotaAllows(
  model: Model,
  context: Context,
  path: string,
  bytesDiff: number,
  countDiff: number,
): boolean {
  const prefix = quotaPrefix(model, path)
  const limits = model.nodes.get(`${quotaRoot}${prefix}/zookeeper_limits`)
  const usage = model.nodes.get(`${quotaRoot}${prefix}/zookeeper_stats`)
  if (prefix === undefined || limits === undefined || usage === undefined) return true
  if ((context.options & BatchOption.enforceQuota) === 0) return true
  const limit = quotaNumbers(limits)
  const used = quotaNumbers(usage)
  const over = (hard: number, now: number, diff: number) => hard > -1 && diff > 0 && now + diff > hard
  return (
    !over(limit.get('countHardLimit') ?? -1, used.get('count') ?? -1, countDiff) &&
    !over(limit.get('byteHardLimit') ?? -1, used.get('bytes') ?? -1, bytesDiff)
  )
}

function book(model: Model, path: string, bytesDiff: number, countDiff: number): void {
  const prefix = quotaPrefix(model, path)
  const usage = model.nodes.get(`${quotaRoot}${prefix}/zookeeper_stats`)
  if (prefix === undefined || usage === undefined) return
  const used = quotaNumbers(usage)
  const count = (used.get('count') ?? -1) + countDiff
  const bytes = (used.get('bytes') ?? -1) + bytesDiff
  usage.data = Buffer.from(`count=${count},bytes=${bytes}`)
}

function recount(model: Model, target: string): void {
  let count = 0
  let bytes = 0
  for (const [path, node] of model.nodes) {
    if (path !== target && !path.startsWith(`${target}/`)) continue
    count++
    bytes += node.data?.length ?? 0
  }
  const usage = model.nodes.get(`${quotaRoot}${target}/zookeeper_stats`)!
  usage.data = Buffer.from(`count=${count},bytes=${bytes}`)
}

// Everything that makes up a tree's state as plain lines, from a `Tree` and from a model alike, so that two of them
// can be compared as text; and the checks of what a tree keeps besides (digest, indexes, ACL references). Reads only.
import assert from 'node:assert/strict'
import { crc32 } from 'node:zlib'
import { type Acl, OPEN } from '../../src/tree/acl.ts'
import type { Applier } from '../../src/tree/apply.ts'
import type { Batch } from '../../src/tree/batch.ts'
import { NONE, type NodeRef } from '../../src/tree/store.ts'
import type { Tree } from '../../src/tree/tree.ts'
import {
  type Change,
  ephemeralsOf,
  type Model,
  type ModelKind,
  type Outcome,
  quotaPaths,
} from './tree-model.ts'
import { decodeReply, type Request } from './tree-transactions.ts'

const kinds: readonly ModelKind[] = ['persistent', 'ephemeral', 'container', 'ttl']

/** One znode with all that belongs to it, as a line. */
type NodeState = {
  readonly path: string
  readonly data: Buffer | null
  readonly acl: readonly Acl[]
  readonly kind: string
  readonly owner: number
  /** czxid, mzxid, pzxid, ctime, mtime, version, cversion, aversion. */
  readonly numbers: readonly number[]
  readonly children: readonly string[]
}

function line({ path, data, acl, kind, owner, numbers, children }: NodeState): string {
  const bytes = data === null ? 'null' : `'${data.toString('latin1')}'`
  return `${path} ${bytes} ${textOf(acl)} ${kind} ${owner} ${numbers.join(' ')} [${[...children].sort().join(' ')}]`
}

const aclTexts = new WeakMap<readonly Acl[], string>()

function textOf(acl: readonly Acl[]): string {
  let text = aclTexts.get(acl)
  if (text === undefined) {
    text = acl.map(({ perms, scheme, id }) => `${scheme}:${id}:${perms}`).join()
    aclTexts.set(acl, text)
  }
  return text
}

/** The state of a tree: a line per znode, then sessions, sets and settings. Paths in ascending order. */
export function stateOfTree(tree: Tree, top: NodeRef = tree.store.root): string[] {
  const lines: string[] = []
  tree.forEach((node) => {
    lines.push(line(nodeState(tree, node)))
  }, top)
  lines.sort()
  const paths = (nodes: Iterable<NodeRef>) => [...nodes].map((node) => tree.store.path(node)).sort()
  const owners = [...tree.ephemeralOwners()].sort((a, b) => a - b)
  const { settings } = tree
  lines.push(
    `zxid ${tree.zxid}`,
    `sessions ${JSON.stringify([...tree.sessions].sort(([a], [b]) => a - b))}`,
    `ephemerals ${JSON.stringify(owners.map((id) => [id, paths(tree.ephemeralsOf(id))]))}`,
    `count ${tree.ephemeralCount}`,
    `containers ${JSON.stringify(paths(tree.containers))}`,
    `ttls ${JSON.stringify(paths(tree.ttls))}`,
    `quotas ${JSON.stringify([...tree.quotas.paths].sort())}`,
    `settings ${
      settings === undefined
        ? 'null'
        : JSON.stringify([
            settings.rulesVersion,
            settings.ensembleId.toString('hex'),
            settings.secret.toString('hex'),
          ])
    }`,
  )
  return lines
}

function nodeState(tree: Tree, node: NodeRef): NodeState {
  const { store } = tree
  const children: string[] = []
  for (let child = store.firstChild(node); child !== NONE; child = store.nextSibling(child))
    children.push(store.path(child))
  return {
    path: store.path(node),
    data: tree.data(node),
    acl: tree.acls.get(store.acl(node)),
    kind: kinds[store.kind(node)] ?? `kind ${store.kind(node)}`,
    owner: store.owner(node),
    numbers: [
      store.czxid(node),
      store.mzxid(node),
      store.pzxid(node),
      store.ctime(node),
      store.mtime(node),
      store.version(node),
      store.cversion(node),
      store.aversion(node),
    ],
    children,
  }
}

/** The same lines for a model. */
export function stateOfModel(model: Model): string[] {
  const lines: string[] = []
  const children = new Map<string, string[]>()
  for (const path of model.nodes.keys()) {
    if (path === '/') continue
    const parent = path.slice(0, path.lastIndexOf('/')) || '/'
    children.set(parent, [...(children.get(parent) ?? []), path])
  }
  for (const [path, node] of model.nodes) {
    const { data, acl, kind, owner, czxid, mzxid, pzxid, ctime, mtime, version, cversion, aversion } = node
    const numbers = [czxid, mzxid, pzxid, ctime, mtime, version, cversion, aversion]
    lines.push(line({ path, data, acl, kind, owner, numbers, children: children.get(path) ?? [] }))
  }
  lines.sort()
  const ofKind = (kind: ModelKind) =>
    [...model.nodes]
      .filter(([, node]) => node.kind === kind)
      .map(([path]) => path)
      .sort()
  const owners = new Set([...model.nodes.values()].filter((n) => n.kind === 'ephemeral').map((n) => n.owner))
  const { settings } = model
  lines.push(
    `zxid ${model.zxid}`,
    `sessions ${JSON.stringify([...model.sessions].sort(([a], [b]) => a - b))}`,
    `ephemerals ${JSON.stringify([...owners].sort((a, b) => a - b).map((id) => [id, ephemeralsOf(model, id).sort()]))}`,
    `count ${ofKind('ephemeral').length}`,
    `containers ${JSON.stringify(ofKind('container'))}`,
    `ttls ${JSON.stringify(ofKind('ttl'))}`,
    `quotas ${JSON.stringify(quotaPaths(model).sort())}`,
    `settings ${
      settings === null
        ? 'null'
        : JSON.stringify([settings.rulesVersion, settings.ensembleId, settings.secret])
    }`,
  )
  return lines
}

/** Compares two states; the text comparison costs little, the difference is shown only when there is one. */
export function assertSameState(actual: readonly string[], expected: readonly string[], what: string): void {
  if (actual.join('\n') !== expected.join('\n')) assert.deepEqual(actual, expected, what)
}

/**
 * The tree digest from scratch (reference/storage-v2.md section 4): the sum modulo 2^64 of the CRC-32 of each znode's
 * path (the root's is empty), data and 60 bytes of stat, without those whose path begins with `/zookeeper/`.
 */
export function digestFromScratch(tree: Tree): bigint {
  const { store } = tree
  let sum = 0n
  tree.forEach((node) => {
    const path = store.path(node)
    if (path.startsWith('/zookeeper/')) return
    const stat = Buffer.alloc(60)
    const longs = [
      store.czxid(node),
      store.mzxid(node),
      store.pzxid(node),
      store.ctime(node),
      store.mtime(node),
    ]
    for (const [i, value] of longs.entries()) stat.writeBigInt64BE(BigInt(value), i * 8)
    const ints = [store.version(node), store.cversion(node), store.aversion(node)]
    for (const [i, value] of ints.entries()) stat.writeInt32BE(value, 40 + i * 4)
    stat.writeBigUInt64BE(ownerField(kinds[store.kind(node)], store.owner(node)), 52)
    const bytes = Buffer.concat([
      Buffer.from(path === '/' ? '' : path),
      tree.data(node) ?? Buffer.alloc(0),
      stat,
    ])
    sum += BigInt(crc32(bytes))
  })
  return sum % 2n ** 64n
}

/** The ephemeralOwner that ZooKeeper stores (semantics.md rule 16). */
function ownerField(kind: ModelKind | undefined, owner: number): bigint {
  if (kind === 'container') return 0x8000000000000000n
  if (kind === 'ttl') return 0xff00000000000000n + BigInt(owner)
  return BigInt(owner)
}

export function digestOf(tree: Tree): bigint {
  const [high, low] = tree.digest()
  return (BigInt(high) << 32n) | BigInt(low)
}

/** Checks what a tree keeps besides its state: structure, digest, references of ACLs. Throws where it is wrong. */
export function checkTree(tree: Tree): void {
  tree.store.check()
  tree.checkSegments()
  assert.equal(digestOf(tree), digestFromScratch(tree), 'the running digest is not that of the znodes')
  const refs = new Map<number, number>()
  tree.forEach((node) => {
    const acl = tree.store.acl(node)
    if (acl !== OPEN) refs.set(acl, (refs.get(acl) ?? 0) + 1)
  })
  const lists = [...tree.acls.entries()].map(([index]) => [index, tree.acls.refs(index)])
  assert.deepEqual(
    lists,
    [...refs].sort(([a], [b]) => a - b),
    'references of ACLs',
  )
}

/** What applying a transaction gave, in the model's terms. */
export function outcomeOf(applier: Applier, request: Request): Outcome {
  const { changes } = applier.tree
  const told: Change[] = []
  for (let i = 0; i < changes.count; i++) {
    told.push({ type: changes.types[i]!, path: changes.paths[i]!, acl: changes.acls[i]! })
  }
  const body = Buffer.from(applier.reply.bytes())
  if (applier.err !== 0) {
    assert.equal(body.length, 0, 'an error has no body')
    return { err: applier.err, results: [], changes: told }
  }
  return { err: 0, results: decodeReply(request, body), changes: told }
}

/** Applies all transactions of a batch, the first as `zxid`. */
export function applyBatch(applier: Applier, batch: Batch, zxid: number): void {
  for (let i = 0; i < batch.count; i++) applier.apply(batch, i, zxid + i, false)
}

// A server's whole state held against the model's: every znode with every field, every session, every ephemeral.
import { formatZxid } from '../../src/base/zxid.ts'
import { NodeKind } from '../../src/tree/store.ts'
import type { Tree } from '../../src/tree/tree.ts'
import { check } from './check.ts'
import { type Model, statOf } from './model.ts'
import type { Stat } from './requests.ts'

/** Throws a Violation at the first difference. Both must be at the same zxid. What zabd keeps for itself does not count. */
export function compareWithModel(server: number, tree: Tree, model: Model): void {
  const who = `server ${server} at ${formatZxid(tree.zxid)}`
  const found = new Set<string>()
  let ephemerals = 0
  tree.forEach((node) => {
    const { store } = tree
    const path = store.path(node)
    if (path === '/' || path === '/zookeeper' || path.startsWith('/zookeeper/')) return
    found.add(path)
    const known = model.at(path, tree.zxid)
    check(known !== undefined, () => `${who} has ${path}, which must not be there`)
    const data = (tree.data(node) ?? Buffer.alloc(0)).toString('latin1')
    check(data === known.data, () => `${who} has other data in ${path}: ${data}, not ${known.data}`)
    const [got, want] = [JSON.stringify(statIn(tree, node)), JSON.stringify(statOf(known))]
    check(got === want, () => `${who} has ${path} as ${got}, expected ${want}`)
    if (known.owner === 0) return
    ephemerals++
    check(tree.sessions.has(known.owner), () => `${who} has ${path} of a session that is closed`)
    check(tree.ephemeralsOf(known.owner).has(node), () => `${who} does not know ${path} as its session's`)
  })
  for (const path of model.paths()) check(found.has(path), () => `${who} does not have ${path}`)
  check(
    tree.ephemeralCount === ephemerals,
    () => `${who} counts ${tree.ephemeralCount} ephemerals of ${ephemerals}`,
  )
  const [got, want] = [[...tree.sessions.keys()], [...model.openSessions()]].map((ids) =>
    ids.sort().join(' '),
  )
  check(got === want, () => `${who} has the sessions ${got}, expected ${want}`)
}

function statIn(tree: Tree, node: number): Stat {
  const { store } = tree
  return {
    czxid: store.czxid(node),
    mzxid: store.mzxid(node),
    ctime: store.ctime(node),
    mtime: store.mtime(node),
    version: store.version(node),
    cversion: store.cversion(node) * 2 - store.numChildren(node),
    aversion: store.aversion(node),
    owner: store.kind(node) === NodeKind.ephemeral ? store.owner(node) : 0,
    dataLength: Math.max(store.dataLength(node), 0),
    numChildren: store.numChildren(node),
    pzxid: store.pzxid(node),
  }
}

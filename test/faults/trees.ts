// Reads the whole tree through each server and compares: the replicas have to be equal, znode by znode, and by the digests that
// the servers themselves keep. It changes nothing.
import type { Prng } from '../../sim/prng.ts'
import { body, Op } from '../support/raw-client.ts'
import type { Cluster, Server } from './cluster.ts'
import { type Request, request, Session } from './session.ts'

/** Has the addresses of the members as each server was given them, which the network of the tests makes differ. */
const differsByDesign = '/zookeeper/config'
const differencesShown = 10

type Znode = { readonly children: readonly string[]; readonly data: string; readonly stat: string }

/** Everything about a znode but its ACL, in one read each for data and children. */
const readData = (path: string): Request<Omit<Znode, 'children'>> => ({
  op: Op.getData,
  body: body.pathWatch(path),
  decode: (decoder) => {
    const data = (decoder.buffer() ?? '').toString()
    const stat = Object.entries(decoder.stat())
    return { data, stat: stat.map(([name, value]) => `${name}=${value}`).join(' ') }
  },
})

async function answered<T>(session: Session, what: Request<T>): Promise<T> {
  const outcome = await session.call(what)
  if (outcome.type !== 'ok')
    throw new Error(`${session.name}: a read of the whole tree got ${JSON.stringify(outcome)}`)
  return outcome.value
}

async function readTree(session: Session): Promise<Map<string, Znode>> {
  const found = new Map<string, Znode>()
  await answered(session, request.sync('/'))
  for (let level = ['/']; level.length > 0; ) {
    const znodes = await Promise.all(
      level.map(async (path) => {
        const [data, children] = [readData(path), request.children(path)]
        const both = await Promise.all([answered(session, data), answered(session, children)])
        return { path, ...both[0], children: both[1] }
      }),
    )
    level = []
    for (const { path, children, data, stat } of znodes) {
      found.set(path, { children, data, stat })
      level.push(...children.map((name) => (path === '/' ? `/${name}` : `${path}/${name}`)))
    }
    level = level.filter((path) => path !== differsByDesign)
  }
  return found
}

/** Differences of two trees, as text. */
function differences(a: ReadonlyMap<string, Znode>, b: ReadonlyMap<string, Znode>): string[] {
  const show = (znode: Znode | undefined) =>
    znode === undefined ? 'missing' : `"${znode.data}" ${znode.stat}`
  const problems: string[] = []
  for (const path of new Set([...a.keys(), ...b.keys()])) {
    const [one, other] = [show(a.get(path)), show(b.get(path))]
    if (one !== other) problems.push(`${path}: ${one} / ${other}`)
  }
  return problems
}

/** Digests by zxid from the word `hash`. */
function parseDigests(text: string): Map<string, string> {
  return new Map(
    [...text.matchAll(/^([0-9a-f]+): (.+)$/gm)].map(([, zxid = '', digest = '']) => [zxid, digest]),
  )
}

async function compareDigests(servers: readonly Server[]): Promise<string[]> {
  const problems: string[] = []
  const known = new Map<string, { readonly digest: string; readonly id: number }>()
  for (const server of servers) {
    for (const [zxid, digest] of parseDigests(await server.word('hash'))) {
      const other = known.get(zxid)
      if (other === undefined) known.set(zxid, { digest, id: server.id })
      else if (other.digest !== digest) {
        problems.push(
          `digests at zxid ${zxid} differ: ${other.digest} at ${other.id}, ${digest} at ${server.id}`,
        )
      }
    }
  }
  return problems
}

/**
 * The data of all znodes by path, as every server has it, and what differs between servers. Nobody may write meanwhile. Throws
 * if a server does not answer.
 */
export async function compareTrees(
  cluster: Cluster,
  prng: Prng,
): Promise<{ readonly tree: ReadonlyMap<string, string>; readonly problems: readonly string[] }> {
  const problems: string[] = []
  let first: { readonly id: number; readonly tree: Map<string, Znode> } | undefined
  for (const [index, { id }] of cluster.servers.entries()) {
    const options = { servers: cluster.endpoints, timeoutMs: 30_000, prng, pinned: index }
    const session = new Session({ name: `reader of server ${id}`, ...options })
    const tree = await readTree(session)
    await session.close()
    if (first === undefined) {
      first = { id, tree }
      continue
    }
    const found = differences(first.tree, tree)
    if (found.length > 0)
      problems.push(`trees of servers ${first.id} and ${id} differ in ${found.length} znodes`)
    problems.push(...found.slice(0, differencesShown))
  }
  problems.push(...(await compareDigests(cluster.servers)))
  return { tree: new Map([...(first?.tree ?? [])].map(([path, { data }]) => [path, data])), problems }
}

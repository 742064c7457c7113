// How a server that was away gets what it missed: by the entries that follow its own, by a cut before that, or by a whole
// snapshot, also when that is interrupted. What it has in the end is what the leader has.
import assert from 'node:assert/strict'
import { describe, it, type TestContext, test } from 'node:test'
import { makeZxid } from '../../src/base/zxid.ts'
import { openStorage } from '../../src/storage/open.ts'
import { type CheckpointReader, type Storage, StorageError } from '../../src/storage/types.ts'
import {
  connectTo,
  type Ensemble,
  type EnsembleOptions,
  type Member,
  startEnsemble,
  until,
} from '../support/ensemble.ts'
import { overriding } from '../support/in-process.ts'
import { Load, seeded } from '../support/load.ts'
import { code, Err, Flag, multiOp, ok, type RawClient, within } from '../support/raw-client.ts'
import { batchOf, create } from '../support/tree-transactions.ts'

const seed = Number(process.env['ENSEMBLE_SEED'] ?? Math.floor(Math.random() * 2 ** 31))

/** Writes `count` transactions, each an entry of its own. */
async function write(client: RawClient, count: number, path = '/w'): Promise<void> {
  await client.create(path)
  for (let i = 1; i < count; i++) await ok(client.setData(path, `${i}`))
}

/** Makes a tree of some MiB, so that a snapshot of it has several parts. */
async function grow(client: RawClient, top = '/big'): Promise<void> {
  await ok(client.create(top))
  for (let i = 0; i < 5; i++) {
    const names = Array.from({ length: 60 }, (_, n) => `${top}/${i}-${n}`)
    await ok(client.multi(names.map((path) => multiOp.create(path, { data: path.padEnd(9000, 'x') }))))
  }
}

/** A bit of everything that a state has. */
async function furnish(client: RawClient): Promise<void> {
  await ok(client.create('/e', { flags: Flag.ephemeral }))
  await ok(client.createContainer('/c'))
  await ok(client.createTtl('/t', 100_000n))
  await ok(client.create('/s-', { flags: Flag.sequential }))
  await ok(client.create('/acl', { acl: [{ perms: 1, scheme: 'world', id: 'anyone' }] }))
  for (const path of ['/zookeeper/quota/c', '/zookeeper/quota/c/zookeeper_limits'])
    await ok(client.create(path, { data: 'count=5,bytes=-1' }))
}

/** Names below the root that are not a load's. */
async function othersOf(member: Member): Promise<string[]> {
  const names = await ok((await member.connect()).getChildren('/'))
  return names.filter((name) => !/^(zookeeper|sequential|c\d+)$/.test(name))
}

async function ended(member: Member): Promise<boolean> {
  return await until(`server ${member.id} has a role`, () => member.node.serving)
}

/** How many snapshots this server has sent. */
function sent(member: Member): number {
  return member.lines.filter(({ msg }) => msg === 'snapshot sent').length
}

/** An ensemble in which server 1 is behind by so much that the log of the others does not reach back to it. */
async function withLate(
  t: TestContext,
  options: EnsembleOptions = {},
): Promise<{ ensemble: Ensemble; late: Member; leader: Member }> {
  const ensemble = await startEnsemble(t, { settings: { snapCount: 20 }, ...options, start: [2, 3] })
  const late = ensemble.member(1)
  await late.start()
  const leader = await ensemble.leader()
  const client = await leader.connect()
  await furnish(client)
  await late.stop()
  await grow(client)
  const grown = Number((await client.ping()).zxid)
  await until('the logs are trimmed', async () => {
    await write(client, 20)
    return ensemble.running.every(({ node }) => (node.core?.history.trimmedTo ?? 0) >= grown)
  })
  return { ensemble, late, leader }
}

test('a follower that missed some writes gets just these, also under load and from a leader that must read its log', async (t) => {
  const ensemble = await startEnsemble(t)
  const [late] = await ensemble.followers()
  const leader = await ensemble.leader()
  const client = await leader.connect()
  await furnish(client)
  await late!.stop()
  await write(client, 100)
  await late!.start()
  await ensemble.converged()
  await late!.stop()
  await grow(client)
  const load = new Load(3, seeded(seed))
  await load.prepare(leader.port)
  const [other] = await ensemble.followers()
  await load.run(other!.port, async () => {
    await load.acknowledged(100)
    await late!.start()
    await ended(late!)
    await load.acknowledged(200)
    await other!.stop()
  })
  await other!.start()
  await ensemble.converged()
  await load.verify(leader.port, await othersOf(leader))
  // A leader that has just started has nothing in memory.
  await late!.stop()
  await load.run(leader.port, async () => {
    await load.acknowledged(300)
    await leader.stop()
  })
  await other!.stop()
  await ensemble.start(leader.id, other!.id)
  await ensemble.leader()
  await late!.start()
  await ensemble.converged()
  await load.verify(late!.port, await othersOf(late!))
  assert.deepEqual(
    ensemble.members.map((member) => sent(member)),
    [0, 0, 0],
  )
})

/** Entries in the log of a stopped server that nobody else has: what a leader had proposed when it died. */
async function appendTail(member: Member, count: number, { session }: RawClient): Promise<number> {
  const storage = await openStorage({ dataDir: member.dataDir, logDir: member.dataDir })
  const { log } = storage
  const { current } = log.epochs
  for (let i = 0; i < count; i++) {
    const prev = log.lastZxid
    const first = Math.max(prev, makeZxid(current, 0)) + 1
    const batch = batchOf(
      [{ session: Number(session.sessionId), ids: [], request: create(`/tail-${i}`) }],
      1_700_000_000_000,
    )
    await log.append([{ prev, first, last: first, bytes: batch.encode() }])
  }
  const { lastZxid } = log
  await storage.close()
  return lastZxid
}

for (const [count, others] of [
  [1, 'have not written since'],
  [5, 'have gone on'],
] as const) {
  test(`a tail of ${count} that was never committed is cut off where the others ${others}`, async (t) => {
    const ensemble = await startEnsemble(t)
    const stale = await ensemble.leader()
    const client = await stale.connect()
    await write(client, 5)
    const kept = stale.node.tree.zxid
    await stale.stop()
    const leader = await ensemble.leader()
    const writer = await leader.connect()
    await client.drop()
    if (others === 'have gone on') await write(writer, 30)
    const end = await appendTail(stale, count, client)
    assert.ok(end > kept)
    await stale.start()
    const lines = await ensemble.converged()
    assert.equal(
      lines.some((line) => line.startsWith('/tail')),
      false,
    )
    assert.deepEqual([sent(leader), stale.messages('error')], [0, []])
    await stale.restart()
    await ensemble.converged()
    assert.equal(await code(writer.exists('/tail-0')), Err.noNode)
  })
}

test('a tail that a new leader finds in its own log becomes part of the history', async (t) => {
  const ensemble = await startEnsemble(t)
  const client = await (await ensemble.leader()).connect()
  await write(client, 5)
  await ensemble.converged()
  await ensemble.stop(1)
  await ensemble.leader()
  await ensemble.stop(3)
  await ensemble.stop(2)
  await appendTail(ensemble.member(2), 3, client)
  await ensemble.start(2, 3)
  assert.equal((await ensemble.leader()).id, 2)
  await ensemble.start(1)
  const lines = await ensemble.converged()
  assert.equal(lines.filter((line) => line.startsWith('/tail-')).length, 3)
})

test('a follower that the log can not help gets a snapshot; state, sessions and later writes are the same, also after a restart', async (t) => {
  const { ensemble, late, leader } = await withLate(t)
  await late.start()
  assert.equal(
    (await late.logged(/snapshot installed/))['zxid'],
    (await leader.logged(/snapshot sent/))['zxid'],
  )
  const lines = await ensemble.converged()
  for (const path of ['/e', '/c', '/t', '/s-0000000003', '/acl', '/big/4-59'])
    assert.ok(
      lines.some((line) => line.startsWith(`${path} `)),
      path,
    )
  const client = await late.connect()
  await ok(client.getData('/w', true))
  await write(await leader.connect(), 30)
  assert.equal((await client.nextEvent()).text, 'NodeDataChanged /w')
  await late.restart()
  await ensemble.converged()
  await late.stop()
  await leader.stop()
  await late.start()
  await ensemble.converged()
  assert.equal(late.lines.filter(({ msg }) => msg === 'snapshot installed').length, 1)
})

test('a server whose data is gone gets everything again, by entries or by a snapshot', async (t) => {
  const { ensemble, late, leader } = await withLate(t)
  await late.wipe()
  await late.start()
  await late.logged(/snapshot installed/)
  await ensemble.converged()

  const small = await startEnsemble(t)
  await write(await (await small.leader()).connect(), 50)
  const [wiped] = (await small.followers()) as [Member]
  await wiped.stop()
  await wiped.wipe()
  await wiped.start()
  await small.converged()
  assert.equal(sent(await small.leader()), 0)
  assert.equal(sent(leader), 1)
})

test('a snapshot goes out under load, and what is written meanwhile follows it', async (t) => {
  const { ensemble, late, leader } = await withLate(t)
  const load = new Load(4, seeded(seed))
  await load.prepare(leader.port)
  const other = ensemble.running.find((member) => member !== leader)!
  await load.run(other.port, async () => {
    await load.acknowledged(50)
    await late.start()
    await late.logged(/snapshot installed/)
    await ended(late)
    await load.acknowledged(load.counts.acknowledged + 50)
    await other.stop()
  })
  await ensemble.converged()
  await load.verify(late.port, await othersOf(late))
})

/** Stops after the `count`th part that is read for sending, until `go` is called. */
function gatedReader(
  inner: CheckpointReader,
  count: number,
  onStop: () => void,
  go: Promise<void>,
): CheckpointReader {
  let parts = 0
  return overriding(inner, {
    next: async () => {
      if (parts++ === count) {
        onStop()
        await go
      }
      return await inner.next()
    },
  })
}

function signal(): { readonly done: Promise<void>; readonly set: () => void } {
  let set = () => {}
  const done = new Promise<void>((resolve) => {
    set = resolve
  })
  return { done, set }
}

describe('a snapshot that is interrupted comes again, and whole', () => {
  for (const parts of [0, 2]) {
    it(`the follower is killed after ${parts} parts`, async (t) => {
      const stopped = signal()
      const go = signal()
      let gated = true
      const wrap = (storage: Storage) => ({
        ...storage,
        checkpoint: overriding(storage.checkpoint, {
          reader: () => {
            const inner = storage.checkpoint.reader()
            return gated ? gatedReader(inner, parts, stopped.set, go.done) : inner
          },
        }),
      })
      const { ensemble, late, leader } = await withLate(t, { wrap })
      const child = late.spawn()
      await within(stopped.done, 'the snapshot is under way')
      child.signal('SIGKILL')
      await child.exited()
      gated = false
      go.set()
      await late.start()
      await ensemble.converged()
      assert.equal(sent(leader), 1)
    })
  }

  for (const parts of [0, 2]) {
    it(`the leader is killed after ${parts} parts have been taken`, async (t) => {
      const ensemble = await startEnsemble(t, { settings: { snapCount: 20 }, start: [] })
      const [late, next, old] = ensemble.members as [Member, Member, Member]
      const child = old.spawn()
      await next.start()
      await child.ready()
      await late.start()
      await late.serves()
      const client = await connectTo(t, old)
      await write(client, 5)
      const end = (await client.ping()).zxid
      await until('it has applied them', () => late.node.tree.zxid >= Number(end))
      await late.stop()
      await grow(client)
      await write(client, 60)
      let taken = 0
      const stopped = signal()
      const go = signal()
      late.wrap = (storage) => ({
        ...storage,
        checkpoint: overriding(storage.checkpoint, {
          begin: (options) => {
            const sink = storage.checkpoint.begin(options)
            return overriding(sink, {
              drained: async () => {
                if (options?.replace === true && taken++ === parts) {
                  stopped.set()
                  await go.done
                }
                await sink.drained()
              },
            })
          },
        }),
      })
      await late.start()
      await within(stopped.done, 'the snapshot is under way')
      child.signal('SIGKILL')
      await child.exited()
      go.set()
      assert.equal(await ensemble.leader(), next)
      await ensemble.converged()
      await old.start()
      await ensemble.converged()
    })
  }

  it('either is stopped in the middle of it', async (t) => {
    const stops: (() => void)[] = []
    const go = signal()
    const wrap = (storage: Storage) => ({
      ...storage,
      checkpoint: overriding(storage.checkpoint, {
        reader: () => gatedReader(storage.checkpoint.reader(), 1, () => stops.shift()?.(), go.done),
      }),
    })
    const { ensemble, late, leader } = await withLate(t, { wrap })
    const first = signal()
    const second = signal()
    stops.push(first.set, second.set)
    await late.start()
    await within(first.done, 'the snapshot is under way')
    await late.stop()
    await late.start()
    await within(second.done, 'the snapshot is under way')
    go.set()
    await leader.stop()
    await ensemble.converged()
    await leader.start()
    await ensemble.converged()
  })

  it('its disk fails while it is taken', async (t) => {
    const { ensemble, late } = await withLate(t)
    let failures = 0
    late.wrap = (storage) => ({
      ...storage,
      checkpoint: overriding(storage.checkpoint, {
        begin: (options) => {
          const sink = storage.checkpoint.begin(options)
          return overriding(sink, {
            drained: async () => {
              if (options?.replace === true && failures++ === 0)
                throw new StorageError('io', 'test-disk', 'injected fault', 'none is needed')
              await sink.drained()
            },
          })
        },
      }),
    })
    await late.start()
    await ensemble.converged()
    assert.ok(failures > 1)
    late.wrap = (storage) => storage
    await late.restart()
    await ensemble.converged()
  })
})

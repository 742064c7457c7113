// The order of what a turn does, where somebody waits for it: two servers of three in memory, and what they did.
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { Op } from '../../src/base/opcodes.ts'
import { loadConfig } from '../../src/config/load.ts'
import { Writer } from '../../src/jute/writer.ts'
import { Node } from '../../src/node/node.ts'
import type { PeerMessage } from '../../src/peers/messages.ts'
import type { Peers } from '../../src/peers/types.ts'
import type { Connection } from '../../src/server/connection.ts'
import { Tree } from '../../src/tree/tree.ts'
import { faultyLog } from '../support/disk.ts'
import { memoryStorage } from '../support/disk-memory.ts'
import { manualClock, memoryLogger, overriding, turns } from '../support/in-process.ts'

const leader = 2
const follower = 1

test('the others are sent an entry before it goes to the disk of the leader', async (t) => {
  const { did, submit, quiet } = await ensemble(t)
  did.length = 0
  submit(leader, 1)
  await quiet()
  const [first, second] = did.filter((one) => one.startsWith(`${leader} `))
  assert.deepEqual([first, second], ['2 sends proposal', '2 appends'])
})

test('a follower answers few requests before it acknowledges, and acknowledges before it answers many', async (t) => {
  const { did, submit, quiet, disk } = await ensemble(t)
  for (const [count, expected] of [
    [1, ['1 replies', '1 sends ack']],
    [5, ['1 sends ack', '1 replies']],
  ] as const) {
    disk.hold()
    submit(follower, count)
    await quiet()
    did.length = 0
    await disk.release()
    await quiet()
    assert.deepEqual(
      did.filter((one) => expected.includes(one as never)),
      expected,
    )
  }
})

test('a reply leaves in the turn that applies its transaction, and takes none of its own', async (t) => {
  const { did, submit, quiet, turnsPlanned } = await ensemble(t)
  for (const id of [leader, follower]) {
    did.length = 0
    const before = turnsPlanned()
    submit(id, 1)
    await quiet()
    assert.deepEqual(
      did.filter((one) => one.endsWith('replies')),
      [`${id} replies`],
    )
    // The one in which requests gather.
    assert.equal(turnsPlanned() - before, 1)
  }
})

/** A leader and a follower that serve; the third server is down. `disk` is the follower's. */
async function ensemble(t: TestContext) {
  const did: string[] = []
  let planned = 0
  const clock = overriding(manualClock(), {
    soon: (callback) => {
      planned++
      setImmediate(callback)
    },
  })
  const nodes = new Map<number, Node>()
  const servers = [1, 2, 3].map((id) => `${id}=127.0.0.1:${2880 + id}:${3880 + id}`)
  const settings = Object.entries({
    dataDir: '/data',
    clientPort: '2181',
    'admin.enableServer': 'false',
  }).map(([key, value]) => ({ flag: `--${key}`, key, value }))
  const disks = new Map<number, ReturnType<typeof faultyLog>['faults']>()
  for (const id of [follower, leader]) {
    const storage = memoryStorage()
    const { log: inner, faults } = faultyLog(storage.log)
    disks.set(id, faults)
    const log = overriding(inner, {
      append: (entries) => {
        did.push(`${id} appends`)
        return inner.append(entries)
      },
    })
    const tree = new Tree()
    tree.initialize()
    const node = new Node({
      config: loadConfig({ settings, id: String(id), servers }, { readFile: () => '', exists: () => false }),
      logger: memoryLogger().logger,
      clock,
      tree,
      storage: { ...storage, log },
      peers: () => wire(id, nodes, did),
      random: () => 0.5,
      onFatal: (error) => {
        throw error
      },
    })
    nodes.set(id, node)
  }
  const quiet = () => turns(40)
  const starts = [...nodes.values()].map((node) => node.start())
  await quiet()
  nodes.get(follower)?.consensus.connected(leader)
  nodes.get(leader)?.consensus.connected(follower)
  await quiet()
  await clock.advance(1000)
  await quiet()
  await Promise.all(starts)
  assert.equal(nodes.get(leader)?.leads, true)
  t.after(async () => {
    for (const node of nodes.values()) await node.stop()
  })
  /** Asks for so many creations on behalf of a client that waits for all of them. */
  const submit = (id: number, count: number) => {
    const node = nodes.get(id) as Node
    const client = {
      flush: () => void did.push(`${id} replies`),
      completed: () => {
        if (++answered === count) node.flushLater(client)
      },
    } as unknown as Connection
    let answered = 0
    for (let i = 0; i < count; i++) {
      const body = creation(`/${id}-${clock.now()}-${i}`)
      node.submit(Op.create, 0, 0, [], body, 0, body.length, client, clock.now())
    }
  }
  const disk = disks.get(follower) as ReturnType<typeof faultyLog>['faults']
  return { did, submit, quiet, disk, turnsPlanned: () => planned }
}

/** Connections that deliver in a later turn what is flushed, all of it at once. */
function wire(from: number, nodes: ReadonlyMap<number, Node>, did: string[]): Peers {
  let queue: [to: number, message: PeerMessage][] = []
  return {
    send: (to, message) => void queue.push([to, message]),
    flush: () => {
      const sent = queue
      queue = []
      for (const [to, message] of sent) {
        if (nodes.get(to) === undefined) continue
        did.push(`${from} sends ${message.type}`)
        setImmediate(() => {
          nodes.get(to)?.consensus.received(from, message)
          nodes.get(to)?.consensus.handled()
        })
      }
    },
    drained: async () => undefined,
    drop: () => undefined,
    setMembers: () => undefined,
    suspend: () => undefined,
    resume: () => undefined,
    close: async () => undefined,
  }
}

/** The body of a request to create an empty znode that anybody may change. */
function creation(path: string): Uint8Array {
  const out = new Writer(128)
  out.string(path)
  out.buffer(Buffer.alloc(0))
  out.int(1)
  out.int(31)
  out.string('world')
  out.string('anyone')
  out.int(0)
  return out.bytes()
}

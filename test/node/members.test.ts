// The configuration that a server goes by: its own files', until /zookeeper/config says something else.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Op } from '../../src/base/opcodes.ts'
import { loadConfig } from '../../src/config/load.ts'
import type { Config } from '../../src/config/types.ts'
import { Writer } from '../../src/jute/writer.ts'
import { Members, wasAlone } from '../../src/node/members.ts'
import { Applier } from '../../src/tree/apply.ts'
import { Batch } from '../../src/tree/batch.ts'
import { NONE } from '../../src/tree/store.ts'
import { Tree } from '../../src/tree/tree.ts'
import { memoryLog } from '../support/disk-memory.ts'
import { batchOf, create } from '../support/tree-transactions.ts'

const path = '/zookeeper/config'

function line(id: number, role = 'participant'): string {
  return `127.0.0.1:${2880 + id}:${3880 + id}:${role};127.0.0.1:${2180 + id}`
}

type Options = { readonly reconfig?: boolean; readonly join?: boolean; readonly ids?: readonly number[] }

function configOf({ reconfig = true, join = false, ids = [1, 2, 3] }: Options = {}): Config {
  const settings = [
    ['dataDir', '/d'],
    ['initLimit', '10'],
    ['syncLimit', '5'],
    ['reconfigEnabled', `${reconfig}`],
    ['standaloneEnabled', 'false'],
    ...ids.map((id) => [`server.${id}`, line(id)]),
  ].map(([key = '', value = '']) => ({ flag: `--${key}`, key, value }))
  return loadConfig({ id: '1', join, settings }, { readFile: () => '', exists: () => false })
}

function freshTree(): Tree {
  const tree = new Tree()
  tree.initialize()
  return tree
}

/** What the leader proposes to change the content of /zookeeper/config. */
function writing(text: string): Batch {
  const body = new Writer(256)
  body.string(text)
  const batch = new Batch(1000)
  const bytes = body.bytes()
  batch.add(Op.reconfig, 0, 0, [], bytes, 0, bytes.length)
  return batch
}

function write(tree: Tree, text: string): void {
  const applier = new Applier(tree)
  applier.apply(writing(text), 0, tree.zxid + 1, false)
  assert.equal(applier.err, 0)
}

/** The body of a client's reconfig. */
function request(joining: string | null, leaving: string | null, all: string | null, version = -1): Buffer {
  const body = new Writer(256)
  for (const text of [joining, leaving, all]) body.string(text)
  body.long(version)
  return Buffer.from(body.bytes())
}

const three = [1, 2, 3].map((id) => `server.${id}=${line(id)}`).join('\n')

test('before anything was written the configured members hold, and a leader writes them with the zxid as version', () => {
  const members = new Members(configOf(), freshTree())
  assert.deepEqual(members.configuredQuorum.voters, [1, 2, 3])
  assert.deepEqual(members.list, [
    { id: 1, host: '127.0.0.1', port: 2881 },
    { id: 2, host: '127.0.0.1', port: 2882 },
    { id: 3, host: '127.0.0.1', port: 2883 },
  ])
  assert.equal(members.unwritten(0x100000001), `${three}\nversion=100000001`)
  assert.equal(members.refresh(), false)
})

test('what is written in the tree holds instead, and is not written again', () => {
  const tree = freshTree()
  const members = new Members(configOf(), tree)
  const text = `server.2=${line(2)}\nserver.4=${line(4, 'observer')}\nversion=200000007`
  write(tree, text)
  assert.equal(members.refresh(), true)
  assert.equal(members.refresh(), false)
  assert.deepEqual([members.text, members.current.version], [text, 0x200000007])
  assert.deepEqual(
    members.list.map(({ id }) => id),
    [2, 4],
  )
  assert.equal(members.unwritten(0x300000001), undefined)
  assert.deepEqual(members.configuredQuorum.voters, [1, 2, 3], 'the history says who votes')
  assert.equal(new Members(configOf(), tree).text, text, 'and it is known at a start')
})

test('a text that is no configuration changes nothing', () => {
  const tree = freshTree()
  const members = new Members(configOf(), tree)
  write(tree, 'server.1=nonsense')
  assert.equal(members.refresh(), false)
  assert.equal(members.current.servers.length, 3)
})

test('without reconfigEnabled the files decide, and the tree says the same, with version 0', () => {
  const tree = freshTree()
  const members = new Members(configOf({ reconfig: false }), tree)
  assert.equal(members.unwritten(5), `${three}\nversion=0`)
  write(tree, `${three}\nversion=0`)
  assert.equal(members.unwritten(6), undefined)
  write(tree, `server.2=${line(2)}\nversion=7`)
  assert.deepEqual([members.refresh(), members.current.servers.length], [false, 3])
  assert.equal(members.unwritten(8), `${three}\nversion=0`)
})

test('who joins does not count itself in its own list', () => {
  assert.deepEqual(new Members(configOf({ join: true }), freshTree()).configuredQuorum.voters, [2, 3])
})

test('a request becomes the next configuration, or the code that refuses it', () => {
  const members = new Members(configOf(), freshTree())
  const added = members.judge(request(`server.4=${line(4)}`, '1', null, 0), 9)
  assert.ok(added.code === 0)
  assert.equal(added.text, `${[2, 3, 4].map((id) => `server.${id}=${line(id)}`).join('\n')}\nversion=9`)
  assert.deepEqual(added.voting, { voters: [2, 3, 4], groups: [], weights: [] })
  assert.equal(members.current.servers.length, 3, 'nothing has changed yet')
  assert.equal(members.judge(request(null, '1', null, 3), 9).code, -103)
  assert.equal(members.judge(request('server.4=x', null, null), 9).code, -8)
  assert.equal(members.judge(request(null, '1,2,3', null), 9).code, -8)
})

test('who may change the configuration is said by its ACL, which at first lets the super user only', () => {
  const members = new Members(configOf(), freshTree())
  assert.equal(members.mayWrite([{ scheme: 'world', id: 'anyone' }]), false)
  assert.equal(members.mayWrite([{ scheme: 'ip', id: '127.0.0.1' }]), false)
  assert.equal(members.mayWrite([{ scheme: 'super', id: '' }]), true)
})

test('a disk is that of an ensemble of one if it has a history in which nobody wrote the configuration', async () => {
  const entry = (prev: number, batch: Batch) => {
    const first = prev + 1
    return { prev, first, last: prev + batch.count, bytes: batch.encode() }
  }
  const write = batchOf([{ session: 1, ids: [], request: create('/a') }], 0)
  const tree = freshTree()
  assert.equal(await wasAlone(tree, memoryLog()), false, 'an empty disk')
  const alone = memoryLog()
  await alone.append([entry(0, write), entry(1, write)])
  assert.equal(await wasAlone(tree, alone), true)
  const several = memoryLog()
  await several.append([entry(0, write), entry(1, writing(three)), entry(2, write)])
  assert.equal(await wasAlone(tree, several), false, 'written in the log, not applied yet')
  const applied = freshTree()
  const applier = new Applier(applied)
  applier.apply(writing(`${three}\nversion=1`), 0, 1, false)
  assert.notEqual(applied.store.findPath(path), NONE)
  assert.equal(await wasAlone(applied, alone), false, 'written in the state')
})

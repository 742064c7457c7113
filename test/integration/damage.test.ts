// Every file of a data directory is cut, flipped and removed, after a kill and after a clean stop. Whatever the damage:
// the start is refused with exit code 3, naming the place and a remedy, or what is served is exactly the state after some
// first part of the acknowledged history; after a clean stop that is all of it.
import assert from 'node:assert/strict'
import { cp, mkdir, mkdtemp, open, readdir, rm, stat, truncate } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, before, describe, it, type TestContext } from 'node:test'
import { explain } from '../../src/cli/exit.ts'
import { startServer } from '../../src/node/server.ts'
import { manyFilesDir, scratchDir, writtenBytes } from '../support/disk-scratch.ts'
import { type LogLine, memoryLogger, testConfig } from '../support/in-process.ts'
import { spawnServer, testDir } from '../support/load-process.ts'
import { connect, type MultiOp, multiOp, ok, type RawClient, within } from '../support/raw-client.ts'

/** Writes of the history; each leaves a state that no other does. */
const writes = 700
/** Znodes that exist at a time: write n creates one and deletes the one of n - kept. */
const kept = 40
const settings = { snapCount: 150 }

type Written = {
  readonly dir: string
  /** zxid of each write, in order. */
  readonly zxids: readonly bigint[]
}

describe('damaged data', () => {
  let killed: Written = { dir: '', zxids: [] }
  let closed: Written = killed
  const scratch: string[] = []

  before(async () => {
    for (let i = 0; i < 2; i++) scratch.push(await mkdtemp(join(tmpdir(), 'zabd-damage-')))
    const [dir = '', copy = ''] = scratch
    killed = { dir, zxids: await populate(dir) }
    await cp(dir, copy, { recursive: true })
    await (await serve(copy)).close()
    closed = { dir: copy, zxids: killed.zxids }
  })
  after(async () => {
    for (const dir of scratch) await rm(dir, { recursive: true, force: true })
  })

  it('after SIGKILL is refused, or is the state after a first part of the history', async (t) => {
    const outcomes = await damageEverywhere(t, killed, 0)
    assert.ok(outcomes.refused > 10 && outcomes.complete > 0, JSON.stringify(outcomes))
  })

  it('after a clean stop is refused, or has all of it', async (t) => {
    const outcomes = await damageEverywhere(t, closed, writes)
    assert.ok(outcomes.refused > 10 && outcomes.complete > 0, JSON.stringify(outcomes))
  })

  it('ends the process with exit code 3 and a line that names the place and a remedy', async (t) => {
    const cases = ['format', 'log.state', 'log/000001/CURRENT', 'checkpoint/CURRENT'].map(async (name) => {
      const copy = await testDir(t)
      await cp(closed.dir, copy, { recursive: true })
      const path = join(copy, 'data/zabd', name)
      await truncate(path, (await stat(path)).size >> 1)
      const server = await spawnServer(t, copy)
      assert.equal(await server.exited(), 3, name)
      const line = JSON.parse(server.log().trimEnd().split('\n').at(-1) ?? '') as LogLine
      assert.equal(line.level, 'fatal')
      const place = name.includes('/') ? dirname(path) : path
      assert.ok(line.msg.includes(place), line.msg)
      assert.match(line.msg, /[Rr]estore|remove/)
    })
    await Promise.all(cases)
  })

  it('that was accepted can be written and started again', async (t) => {
    const dir = await testDir(t)
    await cp(killed.dir, dir, { recursive: true })
    const logDir = join(dir, 'data/zabd/log/000001')
    const newest = await newestOf(logDir, '.log')
    await truncate(join(logDir, newest), (await writtenBytes(join(logDir, newest))) - 1)
    const first = await serve(dir)
    const client = await connect(first)
    const count = await countOf(client, killed)
    await ok(client.create('/after'))
    await client.close()
    await first.close()
    const second = await serve(dir)
    const reader = await connect(second)
    await ok(reader.exists('/after'))
    assert.equal(await countOf(reader, killed), count)
    await reader.close()
    await second.close()
  })
})

/** Writes the history with processes that are killed when all is acknowledged; gives the zxid of each write. */
async function populate(dir: string): Promise<bigint[]> {
  const zxids: bigint[] = []
  // Two runs, so that there are tables as well as files that are being written.
  for (const part of [0.6, 1]) {
    const server = await spawnServer(undefined, dir, settings)
    await server.ready()
    const client = await connect(server)
    if (zxids.length === 0) for (const path of ['/last', '/n']) await ok(client.create(path))
    const until = Math.floor(writes * part)
    while (zxids.length < until) {
      const count = Math.min(20, until - zxids.length)
      const from = zxids.length + 1
      const batch = Array.from({ length: count }, (_, i) => client.multi(write(from + i)))
      for (const { zxid, err } of await Promise.all(batch)) {
        assert.equal(err, 0)
        zxids.push(zxid)
      }
    }
    server.signal('SIGKILL')
    await server.exited()
    await client.closed()
  }
  return zxids
}

/** Write `n` of the history. */
function write(n: number): MultiOp[] {
  const ops = [multiOp.setData('/last', String(n)), multiOp.create(`/n/${n}`, { data: dataOf(n) })]
  if (n > kept) ops.push(multiOp.delete(`/n/${n - kept}`))
  return ops
}

function dataOf(n: number): string {
  return `${n}:${String(n * n).repeat((n * 7) % 120)}`
}

/** How many writes of the history the server shows; throws if its state is not one of them. */
async function countOf(client: RawClient, { zxids }: Written): Promise<number> {
  const top = (await ok(client.getChildren('/'))).filter((name) => name !== 'after').toSorted()
  const last = top.includes('last') ? await ok(client.getData('/last')) : undefined
  const count = Number(last?.data?.toString() ?? 0)
  if (top.includes('n')) {
    const first = Math.max(1, count - kept + 1)
    const expected = Array.from({ length: count - first + 1 }, (_, i) => String(first + i))
    const names = await ok(client.getChildren('/n'))
    assert.deepEqual(new Set(names), new Set(expected))
    assert.equal(names.length, expected.length)
    const answers = await Promise.all(names.map((name) => ok(client.getData(`/n/${name}`))))
    for (const [i, { data, stat }] of answers.entries()) {
      const n = Number(names[i])
      assert.equal(data?.toString(), dataOf(n))
      assert.deepEqual([stat.czxid, stat.version], [zxids[n - 1], 0])
    }
  }
  if (count > 0) {
    assert.deepEqual([last?.stat.mzxid, last?.stat.version], [zxids[count - 1], count])
    assert.deepEqual(top, ['last', 'n', 'zookeeper'])
  }
  return count
}

function serve(dir: string) {
  return startServer(testConfig(dir, settings), memoryLogger().logger).then((server) => ({
    close: server.close,
    port: server.addresses[0]?.port ?? 0,
  }))
}

type Damage = { readonly what: string; apply(path: string): Promise<void> }

/** Damages each file in several ways, each time on a fresh copy; at least `least` writes must be there if it starts. */
async function damageEverywhere(t: TestContext, written: Written, least: number) {
  const outcomes = { refused: 0, shorter: 0, complete: 0 }
  const scratch = await scratchDir(t, manyFilesDir())
  const root = join(written.dir, 'data/zabd')
  for (const name of await filesBelow(root)) {
    for (const damage of damagesOf(await writtenBytes(join(root, name)))) {
      const copy = join(scratch, 'copy')
      await mkdir(copy)
      await cp(written.dir, copy, { recursive: true })
      await damage.apply(join(copy, 'data/zabd', name))
      const what = `${name}, ${damage.what}`
      try {
        const count = await within(startAndCount(copy, written), `the start with ${what}`)
        if (count === undefined) outcomes.refused++
        else if (count === writes) outcomes.complete++
        else outcomes.shorter++
        assert.ok(count === undefined || count >= least, `only ${count} of ${writes} writes are there`)
      } catch (error) {
        throw new Error(what, { cause: error })
      }
      await rm(copy, { recursive: true })
    }
  }
  t.diagnostic(JSON.stringify(outcomes))
  return outcomes
}

/** Undefined if the start was refused, as it has to be. */
async function startAndCount(dir: string, written: Written): Promise<number | undefined> {
  const server = await serve(dir).catch((error: unknown) => {
    const { code, message } = explain(error, testConfig(dir))
    assert.equal(code, 3, String(error))
    assert.ok(message.includes(join(dir, 'data')), message)
    assert.match(message, /[Rr]estore|remove/)
    return undefined
  })
  if (server === undefined) return undefined
  try {
    const client = await connect(server)
    const count = await countOf(client, written)
    await client.close()
    return count
  } finally {
    await server.close()
  }
}

function damagesOf(size: number): Damage[] {
  const damages: Damage[] = [
    { what: 'missing', apply: (path) => rm(path) },
    { what: 'empty', apply: (path) => truncate(path, 0) },
  ]
  if (size === 0) return damages.slice(0, 1)
  damages.push({ what: 'one byte short', apply: (path) => truncate(path, size - 1) })
  damages.push({ what: 'cut in half', apply: (path) => truncate(path, size >> 1) })
  for (const part of [0.02, 0.45, 0.9, 0.999]) {
    const at = Math.floor(size * part)
    damages.push({ what: `byte ${at} of ${size} flipped`, apply: (path) => flip(path, at) })
  }
  return damages
}

/** Names of the files that hold data, LevelDB's own log and lock left out. */
async function filesBelow(root: string): Promise<string[]> {
  const names = await readdir(root, { recursive: true, withFileTypes: true })
  return names
    .filter((entry) => entry.isFile() && !/^(LOCK|LOG|LOG\.old)$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1))
    .toSorted()
}

async function newestOf(dir: string, extension: string): Promise<string> {
  const names = (await readdir(dir)).filter((name) => name.endsWith(extension)).toSorted()
  return names.at(-1) ?? assert.fail(`no ${extension} file`)
}

async function flip(path: string, at: number): Promise<void> {
  const file = await open(path, 'r+')
  try {
    const byte = Buffer.alloc(1)
    await file.read(byte, 0, 1, at)
    byte[0] = (byte[0] ?? 0) ^ 0x10
    await file.write(byte, 0, 1, at)
  } finally {
    await file.close()
  }
}

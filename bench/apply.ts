// What a write costs this thread at each step of its way, without disk, sockets and other servers: admission, the batch, its
// bytes and back, and applying, with the reply as a server does for its own client and without it as from the log.
// Usage: node dist/bench/apply.js [part of a scenario's name]. CPU time of this process per operation (of a multi: per operation inside).
import { Op } from '../src/base/opcodes.ts'
import { Reader } from '../src/jute/reader.ts'
import { Writer } from '../src/jute/writer.ts'
import { admissionError, type WriteRules } from '../src/server/writes.ts'
import { openAcl } from '../src/tree/acl.ts'
import { writeAcls } from '../src/tree/acl-codec.ts'
import { Applier, writeMultiEnd } from '../src/tree/apply.ts'
import { Batch } from '../src/tree/batch.ts'
import { Tree } from '../src/tree/tree.ts'

const keys = 1000
const directories = 1000
const session = 0x1001
const ids = [{ scheme: 'ip', id: '127.0.0.1' }]
const rules: WriteRules = { schemes: new Set(['digest', 'ip']), reconfigEnabled: false }
const data = Buffer.alloc(100, 'x')
/** As in replica.ts. */
const digestEvery = 128

/** One transaction after another; the numbers of transactions go up through all rounds. */
type Scenario = {
  readonly name: string
  readonly kind: (i: number) => number
  readonly body: (out: Writer, i: number) => void
  /** Operations that one transaction counts as. */
  readonly operations: number
  /** Transactions of one round, and of one batch. */
  readonly count: number
  readonly perBatch: number
}

function set(out: Writer, key: number): void {
  out.string(`/b1/key-${String(key % keys).padStart(6, '0')}`)
  out.buffer(data)
  out.int(-1)
}

function create(out: Writer, path: string, flags: number): void {
  out.string(path)
  out.buffer(data)
  writeAcls(out, openAcl)
  out.int(flags)
}

function multi(out: Writer, type: number, count: number, each: (i: number) => void): void {
  for (let i = 0; i < count; i++) {
    out.int(type)
    out.bool(false)
    out.int(-1)
    each(i)
  }
  writeMultiEnd(out)
}

const scenarios: readonly Scenario[] = [
  {
    name: 'set',
    kind: () => Op.setData,
    body: (out, i) => set(out, Math.imul(i, 7919) >>> 0),
    operations: 1,
    count: 100_000,
    perBatch: 500,
  },
  {
    name: 'multi of 10 sets',
    kind: () => Op.multi,
    body: (out, i) => multi(out, Op.setData, 10, (j) => set(out, Math.imul(i * 10 + j, 0x9e3779b1) >>> 0)),
    operations: 10,
    count: 10_000,
    perBatch: 20,
  },
  {
    name: 'multi of 100 creates',
    kind: () => Op.multi,
    body: (out, i) =>
      multi(out, Op.create, 100, (j) => {
        const number = i * 100 + j
        create(out, `/fill/d${Math.floor(number / 1000)}/node-${number}`, 0)
      }),
    operations: 100,
    count: 1000,
    perBatch: 4,
  },
  {
    name: 'create, sequential',
    kind: () => Op.create,
    body: (out) => create(out, '/b1/seq-', 2),
    operations: 1,
    count: 100_000,
    perBatch: 50,
  },
  {
    name: 'create and delete, ephemeral',
    kind: (i) => (i % 2 === 0 ? Op.create : Op.delete),
    body: (out, i) => {
      const path = `/b1/eph-${i >>> 1}`
      if (i % 2 === 0) create(out, path, 1)
      else {
        out.string(path)
        out.int(-1)
      }
    },
    operations: 1,
    count: 100_000,
    perBatch: 50,
  },
]

function cpuNs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) * 1000
}

/** A tree with what the scenarios need, and the transactions that made it. */
class World {
  readonly tree = new Tree()
  readonly applier = new Applier(this.tree)

  constructor() {
    this.tree.initialize()
    const out = new Writer()
    const put = (kind: number, body: () => void) => {
      out.clear()
      body()
      const batch = new Batch(1_700_000_000_000, 0)
      batch.add(kind, session, 1, ids, out.buf, 0, out.pos)
      this.apply(batch, false)
    }
    put(Op.createSession, () => out.int(30_000))
    put(Op.create, () => create(out, '/b1', 0))
    put(Op.create, () => create(out, '/fill', 0))
    for (let i = 0; i < keys; i++)
      put(Op.create, () => create(out, `/b1/key-${String(i).padStart(6, '0')}`, 0))
    for (let i = 0; i < directories; i++) put(Op.create, () => create(out, `/fill/d${i}`, 0))
  }

  apply(batch: Batch, wanted: boolean): void {
    for (let i = 0; i < batch.count; i++) {
      const zxid = this.tree.zxid + 1
      this.applier.apply(batch, i, zxid, wanted)
      if (this.applier.err !== 0) throw new Error(`transaction ${zxid} failed: ${this.applier.err}`)
      if (zxid % digestEvery === 0) this.tree.digest()
    }
  }
}

const steps = ['admit', 'add', 'encode', 'decode', 'apply', 'replay'] as const
const rounds = 5

function run(scenario: Scenario): void {
  const { name, kind, body, operations, count, perBatch } = scenario
  const worlds = { apply: new World(), replay: new World() }
  const best = new Map<string, number>()
  for (let round = 0; round < rounds; round++) {
    const out = new Writer(1 << 20)
    const ends: number[] = []
    for (let i = 0; i < count; i++) {
      body(out, round * count + i)
      ends.push(out.pos)
    }
    const startOf = (i: number) => (i === 0 ? 0 : (ends[i - 1] as number))
    const time = (step: (typeof steps)[number], work: () => void) => {
      const begun = cpuNs()
      work()
      const ns = (cpuNs() - begun) / (count * operations)
      best.set(step, Math.min(best.get(step) ?? Number.POSITIVE_INFINITY, ns))
    }
    const reader = new Reader()
    time('admit', () => {
      for (let i = 0; i < count; i++) {
        const err = admissionError(kind(i), reader.reset(out.buf, startOf(i), ends[i] as number), rules)
        if (err !== 0) throw new Error(`refused: ${err}`)
      }
    })
    const batches: Batch[] = []
    // As node/requests.ts has it from the batch before.
    const room = Math.ceil(1.25 * perBatch * (out.pos / count + 32))
    time('add', () => {
      for (let i = 0; i < count; i++) {
        if (i % perBatch === 0) batches.push(new Batch(1_700_000_000_000 + i, 0, new Writer(room)))
        const batch = batches[batches.length - 1] as Batch
        batch.add(kind(i), session, i, ids, out.buf, startOf(i), ends[i] as number)
      }
    })
    const encoded: Buffer[] = []
    time('encode', () => {
      for (const batch of batches) encoded.push(batch.encode())
    })
    const decoded: Batch[] = []
    time('decode', () => {
      for (const bytes of encoded) decoded.push(Batch.decode(bytes))
    })
    time('apply', () => {
      for (const batch of batches) worlds.apply.apply(batch, true)
    })
    time('replay', () => {
      for (const batch of decoded) worlds.replay.apply(batch, false)
    })
  }
  const [a, b] = [worlds.apply.tree.digest(), worlds.replay.tree.digest()]
  if (a.join() !== b.join()) throw new Error('the two trees differ')
  console.log(
    `  ${name.padEnd(30)}${steps.map((step) => (best.get(step) as number).toFixed(0).padStart(8)).join('')}`,
  )
}

console.log(`  ${'ns CPU per operation'.padEnd(30)}${steps.map((step) => step.padStart(8)).join('')}`)
const part = process.argv[2] ?? ''
for (const scenario of scenarios) if (scenario.name.includes(part)) run(scenario)

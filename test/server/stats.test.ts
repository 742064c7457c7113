import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { Op } from '../../src/base/opcodes.ts'
import { ConnectionStats, Recorder, ServerStats, shortName } from '../../src/server/stats.ts'

const nothing = { count: 0, sum: 0, min: 0, max: 0, p50: 0, p95: 0, p99: 0, p999: 0 }

function recorded(...samples: number[]): Recorder {
  const recorder = new Recorder()
  for (const sample of samples) recorder.record(sample)
  return recorder
}

test('recorder: before any sample everything is 0', () => {
  assert.deepEqual(new Recorder().summary(), nothing)
})

test('recorder: one sample is every quantile of itself, exactly', () => {
  assert.deepEqual(recorded(1234.567).summary(), {
    count: 1,
    sum: 1234.567,
    min: 1234.567,
    max: 1234.567,
    p50: 1234.567,
    p95: 1234.567,
    p99: 1234.567,
    p999: 1234.567,
  })
})

test('recorder: whole numbers from 1 to 1000 have their quantiles, to the nearest one in 64', () => {
  const summary = recorded(...Array.from({ length: 1000 }, (_, i) => i + 1)).summary()
  assert.deepEqual([summary.count, summary.sum, summary.min, summary.max], [1000, 500500, 1, 1000])
  const near = (value: number, expected: number) =>
    assert.ok(Math.abs(value - expected) <= expected / 64, `${value} for ${expected}`)
  near(summary.p50, 500)
  near(summary.p95, 950)
  near(summary.p99, 990)
  near(summary.p999, 999)
})

test('recorder: a negative sample and one that is not a number are dropped', () => {
  assert.deepEqual(recorded(-1, Number.NaN).summary(), nothing)
  assert.equal(recorded(-1, 5).min, 5)
})

test('recorder: samples beyond the last bucket keep exact extremes', () => {
  const summary = recorded(1, 1e9, 2e9).summary()
  assert.deepEqual([summary.min, summary.max, summary.sum, summary.p999], [1, 2e9, 3e9 + 1, 2e9])
})

test('recorder: after a reset it starts anew', () => {
  const recorder = recorded(100, 200, 300)
  recorder.reset()
  assert.deepEqual(recorder.summary(), nothing)
  recorder.record(7)
  assert.deepEqual(recorder.summary(), recorded(7).summary())
})

test('recorder: any quantile is within 1/64 of the true one, or a thousandth', () => {
  const samples = fc.array(fc.double({ min: 0, max: 2e6, noNaN: true }), { minLength: 1, maxLength: 200 })
  fc.assert(
    fc.property(samples, fc.double({ min: 0, max: 1, noNaN: true }), (list, q) => {
      const sorted = [...list].sort((a, b) => a - b)
      const exact = sorted[Math.max(1, Math.ceil(q * sorted.length)) - 1]!
      const estimate = recorded(...list).quantile(q)
      assert.ok(Math.abs(estimate - exact) <= Math.max(exact / 64, 0.001), `${estimate} for ${exact}`)
    }),
    { numRuns: 300 },
  )
})

test('server: a fresh one has counted nothing, and has no sizes yet', () => {
  const { received, sent, minLatency, avgLatency, maxLatency, lastResponseSize, minProposalSize, fsync } =
    new ServerStats().snapshot()
  assert.deepEqual(
    { received, sent, minLatency, avgLatency, maxLatency, lastResponseSize, minProposalSize, fsync },
    {
      received: 0,
      sent: 0,
      minLatency: 0,
      avgLatency: 0,
      maxLatency: 0,
      lastResponseSize: -1,
      minProposalSize: -1,
      fsync: nothing,
    },
  )
})

test('server: packets are counted both ways with their bytes', () => {
  const stats = new ServerStats()
  stats.packetReceived(48)
  stats.packetReceived(12)
  stats.responseSent(100)
  stats.eventsSent(30, 1)
  const now = stats.snapshot()
  assert.deepEqual(
    [now.received, now.sent, now.bytesReceived, now.responseBytes, now.watchBytes],
    [2, 2, 60, 100, 30],
  )
  assert.deepEqual([now.lastResponseSize, now.minResponseSize, now.maxResponseSize], [30, 30, 100])
})

test('server: latencies go to the total and to reads or updates', () => {
  const stats = new ServerStats()
  stats.served(1, false)
  stats.served(0, false)
  stats.served(5, true)
  stats.served(-3, true)
  const now = stats.snapshot()
  assert.deepEqual([now.minLatency, now.avgLatency, now.maxLatency], [0, 2, 5])
  assert.deepEqual([now.readLatency.count, now.readLatency.sum], [2, 1])
  assert.deepEqual([now.updateLatency.count, now.updateLatency.sum], [1, 5])
})

test('server: the least latency is that of the requests, not the 0 of having none', () => {
  const stats = new ServerStats()
  stats.served(8, true)
  stats.served(3, true)
  assert.equal(stats.snapshot().minLatency, 3)
})

test('server: sizes of proposals are last, least and greatest, until leadership ends', () => {
  const stats = new ServerStats()
  for (const bytes of [259, 36, 100]) stats.proposed(2, bytes)
  const now = stats.snapshot()
  assert.deepEqual(
    [now.proposals, now.lastProposalSize, now.minProposalSize, now.maxProposalSize],
    [6, 100, 36, 259],
  )
  stats.resetProposalSizes()
  const then = stats.snapshot()
  assert.deepEqual([then.lastProposalSize, then.minProposalSize, then.maxProposalSize], [-1, -1, -1])
})

/** Every counter and recorder of `stats`, moved. */
function moveAll(stats: ServerStats): void {
  stats.packetReceived(1)
  stats.responseSent(1)
  stats.eventsSent(1, 1)
  stats.served(3, true)
  stats.served(3, false)
  stats.proposed(1, 1)
  for (const [name, value] of Object.entries(stats)) {
    if (value instanceof Recorder) value.record(9)
    else Reflect.set(stats, name, 9)
  }
}

test('server: a reset clears all but failed authentications and the sizes of proposals', () => {
  const stats = new ServerStats()
  moveAll(stats)
  stats.reset()
  assert.deepEqual(stats.snapshot(), {
    ...new ServerStats().snapshot(),
    authFailed: 9,
    lastProposalSize: 9,
    minProposalSize: 9,
    maxProposalSize: 9,
  })
})

test('server: a snapshot has every counter and recorder', () => {
  const stats = new ServerStats()
  moveAll(stats)
  const before = Object.entries(new ServerStats().snapshot())
  const now = new Map<string, unknown>(Object.entries(stats.snapshot()))
  for (const name of Object.keys(stats)) assert.ok(now.has(name), name)
  for (const [name, value] of before) assert.notDeepEqual(now.get(name), value, name)
})

test('connection: a fresh one shows no operation', () => {
  assert.deepEqual(new ConnectionStats(1795377614022).snapshot(), {
    establishedAt: 1795377614022,
    received: 0,
    sent: 0,
    lastOperation: 'NA',
    lastXid: -1,
    lastZxid: -1,
    lastResponseTime: 0,
    lastLatency: 0,
    minLatency: 0,
    avgLatency: 0,
    maxLatency: 0,
  })
})

test("connection: the last xid is of the client's own requests, a ping leaves it", () => {
  const stats = new ConnectionStats(7)
  stats.received = 2
  stats.sent = 3
  stats.served(Op.getData, 0x133, 0x100000138, 4, 1000)
  stats.served(Op.ping, -2, 0x100000139, 1, 2000)
  assert.deepEqual(stats.snapshot(), {
    establishedAt: 7,
    received: 2,
    sent: 3,
    lastOperation: 'PING',
    lastXid: 0x133,
    lastZxid: 0x100000139,
    lastResponseTime: 2000,
    lastLatency: 1,
    minLatency: 1,
    avgLatency: 2.5,
    maxLatency: 4,
  })
})

test('connection: a reset clears all but the time of connecting', () => {
  const stats = new ConnectionStats(7)
  stats.received = 2
  stats.sent = 3
  stats.served(Op.create, 1, 2, 3, 4)
  stats.reset()
  assert.deepEqual(stats.snapshot(), new ConnectionStats(7).snapshot())
})

const names: [number, string][] = [
  [Op.ping, 'PING'],
  [Op.createSession, 'SESS'],
  [Op.closeSession, 'CLOS'],
  [Op.multi, 'MULT'],
  [Op.multiRead, 'MLTR'],
  [Op.create, 'CREA'],
  [Op.create2, 'CREA'],
  [Op.createContainer, 'CREA'],
  [Op.createTtl, 'CREA'],
  [Op.delete, 'DELE'],
  [Op.setData, 'SETD'],
  [Op.setAcl, 'SETA'],
  [Op.reconfig, 'RECO'],
  [Op.sync, 'SYNC'],
  [Op.check, 'CHEC'],
  [Op.exists, 'EXIS'],
  [Op.getData, 'GETD'],
  [Op.setWatches, 'SETW'],
  [Op.setWatches2, 'STW2'],
  [Op.addWatch, 'ADDW'],
  [Op.getAcl, 'GETA'],
  [Op.getChildren, 'GETC'],
  [Op.getChildren2, 'GETC'],
  [Op.getAllChildrenNumber, 'GETACN'],
  [Op.checkWatches, 'CHKW'],
  [Op.removeWatches, 'REMW'],
  [Op.whoAmI, 'HOMI'],
  [Op.getEphemerals, 'GETE'],
  [Op.auth, 'NA'],
  [0, 'NA'],
]

test("operations have ZooKeeper's short names, and NA where it has none", () => {
  assert.deepEqual(
    names.map(([op]) => shortName(op)),
    names.map(([, name]) => name),
  )
})

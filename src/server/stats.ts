// What a server counts about its clients and its own work: plain number fields that the request path adds to, and
// histograms of fixed size. Nothing here allocates when counting, has a clock or does I/O: times are handed in.
import { Op } from '../base/opcodes.ts'

/** What a `Recorder` has seen since its last reset: milliseconds, or a count where its owner says so. */
export type Summary = {
  readonly count: number
  readonly sum: number
  readonly min: number
  readonly max: number
  readonly p50: number
  readonly p95: number
  readonly p99: number
  readonly p999: number
}

/** Linear steps per power of two: a bucket is at most 1/32 of its value wide, its middle at most 1/64 away. */
const stepBits = 5
const steps = 1 << stepBits
/** Samples are kept in thousandths. What is above 2^31 - 1 of them (35 minutes) falls into the last bucket. */
const scale = 1000
const maxScaled = 2 ** 31 - 1
const maxSample = maxScaled / scale
const bucketCount = bucketOf(maxScaled) + 1

function bucketOf(scaled: number): number {
  if (scaled < 2 * steps) return scaled
  const shift = 31 - stepBits - Math.clz32(scaled)
  return shift * steps + (scaled >>> shift)
}

/** The middle of a bucket, in samples. */
function middleOf(bucket: number): number {
  if (bucket < 2 * steps) return bucket / scale
  const shift = Math.floor(bucket / steps) - 1
  return ((bucket - shift * steps) * 2 ** shift + (2 ** shift - 1) / 2) / scale
}

/**
 * Samples as count, sum and extremes (exact) and quantiles (at most 1/64 off) since the last reset, as in ZooKeeper's
 * summaries. Log-linear buckets as in HdrHistogram: 6.9 kB, and `record` does not allocate.
 */
export class Recorder {
  count = 0
  sum = 0
  #min = 0
  #max = 0
  readonly #buckets = new Float64Array(bucketCount)

  /** Adds a sample. A negative one is dropped as ZooKeeper does: two clocks that disagree, not a measurement. */
  record(sample: number): void {
    if (!(sample >= 0)) return
    if (this.count === 0 || sample < this.#min) this.#min = sample
    if (sample > this.#max) this.#max = sample
    this.count++
    this.sum += sample
    const bucket = bucketOf(sample < maxSample ? Math.floor(sample * scale) : maxScaled)
    this.#buckets[bucket] = this.#buckets[bucket]! + 1
  }

  /** The least and the greatest sample, 0 before any. */
  get min(): number {
    return this.#min
  }
  get max(): number {
    return this.#max
  }

  /** The value that a fraction `q` (0 to 1) of the samples does not exceed, 0 before any. */
  quantile(q: number): number {
    if (this.count === 0) return 0
    let left = Math.max(1, Math.ceil(q * this.count))
    for (let bucket = 0; bucket < bucketCount; bucket++) {
      left -= this.#buckets[bucket]!
      if (left <= 0) {
        const value = bucket === bucketCount - 1 ? this.#max : middleOf(bucket)
        return Math.min(Math.max(value, this.#min), this.#max)
      }
    }
    return this.#max
  }

  summary(): Summary {
    return {
      count: this.count,
      sum: this.sum,
      min: this.#min,
      max: this.#max,
      p50: this.quantile(0.5),
      p95: this.quantile(0.95),
      p99: this.quantile(0.99),
      p999: this.quantile(0.999),
    }
  }

  reset(): void {
    this.count = 0
    this.sum = 0
    this.#min = 0
    this.#max = 0
    this.#buckets.fill(0)
  }
}

/** The server's counters at one moment; the fields are explained in `ServerStats`. */
export type StatsSnapshot = {
  readonly received: number
  readonly sent: number
  readonly bytesReceived: number
  readonly responseBytes: number
  readonly watchBytes: number
  /** bytes; -1 before any */
  readonly lastResponseSize: number
  readonly minResponseSize: number
  readonly maxResponseSize: number
  /** ms; 0 before any */
  readonly minLatency: number
  readonly avgLatency: number
  readonly maxLatency: number
  readonly throttledOps: number
  readonly throttleWaits: number
  readonly authFailed: number
  readonly connectionRequests: number
  readonly connectionRevalidations: number
  readonly connectionRejected: number
  readonly connectionDrops: number
  readonly handshakesExpired: number
  readonly tlsHandshakesFailed: number
  readonly closedWhileNotServing: number
  readonly largeRequestsRejected: number
  readonly sessionsExpired: number
  readonly digestMismatches: number
  readonly lookings: number
  readonly diffSyncs: number
  readonly snapshotSyncs: number
  readonly proposals: number
  readonly commits: number
  readonly learnerProposals: number
  readonly learnerCommits: number
  readonly revalidations: number
  /** bytes; -1 before any */
  readonly lastProposalSize: number
  readonly minProposalSize: number
  readonly maxProposalSize: number
  readonly readLatency: Summary
  readonly updateLatency: Summary
  readonly fsync: Summary
  readonly checkpointTime: Summary
  readonly loadTime: Summary
  readonly checkpointLoadTime: Summary
  readonly replayTime: Summary
  readonly replayed: Summary
  readonly electionTime: Summary
  readonly unavailableTime: Summary
  readonly leaderUnavailableTime: Summary
  readonly followerSyncTime: Summary
  readonly observerSyncTime: Summary
  readonly propagationLatency: Summary
  readonly quorumAckLatency: Summary
  readonly batchSize: Summary
  readonly nodeCreatedWatches: Summary
  readonly nodeDeletedWatches: Summary
  readonly nodeChangedWatches: Summary
  readonly nodeChildrenWatches: Summary
}

/** One server's counters. Fields are for adding to, from where the thing happens; methods where several move at once. */
export class ServerStats {
  /** Packets from clients: requests, handshakes and four-letter words alike; `packetReceived` counts one. */
  received = 0
  /** Packets to clients: replies, events and answers to four-letter words. */
  sent = 0
  /** With the four bytes of each frame's length. */
  bytesReceived = 0
  /** Bytes of replies and of watch events, without the length. */
  responseBytes = 0
  watchBytes = 0
  lastResponseSize = -1
  minResponseSize = -1
  maxResponseSize = -1
  /** Requests answered with throttledOp (throttledOpWaitTime). */
  throttledOps = 0
  /** Times that reading stopped because of globalOutstandingLimit. */
  throttleWaits = 0
  /** Failed authentications: auth packets and client certificates. */
  authFailed = 0
  /** Session handshakes asked for; of them those which named an existing session. */
  connectionRequests = 0
  connectionRevalidations = 0
  /** Connections closed at once: maxClientCnxns, maxCnxns. */
  connectionRejected = 0
  /** Connections that the client cut, or that broke, without closeSession. */
  connectionDrops = 0
  /** Connections closed because no handshake came in time. */
  handshakesExpired = 0
  tlsHandshakesFailed = 0
  /** Connections closed because there was no leader to serve them. */
  closedWhileNotServing = 0
  /** Frames above jute.maxbuffer. */
  largeRequestsRejected = 0
  /** Sessions that this server, as leader or standalone, has expired. */
  sessionsExpired = 0
  digestMismatches = 0
  /** Times that this server went looking for a leader. */
  lookings = 0
  /** Followers and observers brought up to date by a part of the log, and by a whole snapshot (leader). */
  diffSyncs = 0
  snapshotSyncs = 0
  /** Transactions proposed by this server as leader, and those of them that it saw committed. */
  proposals = 0
  commits = 0
  /** Transactions that a leader has sent to this server as they were proposed, and those of them that it applied. */
  learnerProposals = 0
  learnerCommits = 0
  /** Sessions of clients that came back about which this learner asked its leader. */
  revalidations = 0
  /** Bytes of an entry, which holds what was proposed in one turn. */
  lastProposalSize = -1
  minProposalSize = -1
  maxProposalSize = -1

  /** ms from a request's arrival to its reply: reads (with ping and sync), and what takes a zxid. */
  readonly readLatency = new Recorder()
  readonly updateLatency = new Recorder()
  /** ms per sync of the log. */
  readonly fsync = new Recorder()
  /** ms per checkpoint. */
  readonly checkpointTime = new Recorder()
  /** ms to load checkpoint and log at start. */
  readonly loadTime = new Recorder()
  /** Of that: ms for the checkpoint, ms for the log (also later, when a part of it is read again), transactions of it. */
  readonly checkpointLoadTime = new Recorder()
  readonly replayTime = new Recorder()
  readonly replayed = new Recorder()
  /** ms per election, up to having a leader; observers have none. */
  readonly electionTime = new Recorder()
  /** ms without serving, from losing the leader until serving again; and of that what ended with leading. */
  readonly unavailableTime = new Recorder()
  readonly leaderUnavailableTime = new Recorder()
  /** ms that this follower, or observer, took to catch up with its leader. */
  readonly followerSyncTime = new Recorder()
  readonly observerSyncTime = new Recorder()
  /** ms from an entry's time (the leader's clock) to its apply here (this clock). */
  readonly propagationLatency = new Recorder()
  /** ms from proposing to the ack that made the quorum (leader). */
  readonly quorumAckLatency = new Recorder()
  /** Transactions per sync of the log. */
  readonly batchSize = new Recorder()
  /** Watchers told per change, changes that nobody watched left out. */
  readonly nodeCreatedWatches = new Recorder()
  readonly nodeDeletedWatches = new Recorder()
  readonly nodeChangedWatches = new Recorder()
  readonly nodeChildrenWatches = new Recorder()

  #latencies = 0
  #latencySum = 0
  #latencyMin = 0
  #latencyMax = 0

  /** A packet of `bytes` (its length prefix included) came in. */
  packetReceived(bytes: number): void {
    this.received++
    this.bytesReceived += bytes
  }

  /** A reply frame of `bytes` (without its length prefix) went out. */
  responseSent(bytes: number): void {
    this.responseBytes += bytes
    this.#packetsSent(bytes, 1)
  }

  /** A watch event frame of `bytes` (without its length prefix) went out, to `count` watchers. */
  eventsSent(bytes: number, count: number): void {
    this.watchBytes += bytes * count
    this.#packetsSent(bytes, count)
  }

  #packetsSent(bytes: number, count: number): void {
    this.sent += count
    this.lastResponseSize = bytes
    if (this.minResponseSize < 0 || bytes < this.minResponseSize) this.minResponseSize = bytes
    if (bytes > this.maxResponseSize) this.maxResponseSize = bytes
  }

  /**
   * A request was answered `latencyMs` after it came; `update` if it took a zxid. ZooKeeper measures pings, session
   * handshakes and failed requests too, but neither auth packets nor four-letter words.
   */
  served(latencyMs: number, update: boolean): void {
    if (!(latencyMs >= 0)) return
    if (this.#latencies === 0 || latencyMs < this.#latencyMin) this.#latencyMin = latencyMs
    if (latencyMs > this.#latencyMax) this.#latencyMax = latencyMs
    this.#latencies++
    this.#latencySum += latencyMs
    if (update) this.updateLatency.record(latencyMs)
    else this.readLatency.record(latencyMs)
  }

  /** The leader proposed an entry of so many transactions and bytes. */
  proposed(transactions: number, bytes: number): void {
    this.proposals += transactions
    this.lastProposalSize = bytes
    if (this.minProposalSize < 0 || bytes < this.minProposalSize) this.minProposalSize = bytes
    if (bytes > this.maxProposalSize) this.maxProposalSize = bytes
  }

  /** Forgets the sizes of proposals: a new leader starts with none. */
  resetProposalSizes(): void {
    this.lastProposalSize = -1
    this.minProposalSize = -1
    this.maxProposalSize = -1
  }

  /**
   * What `srst` resets in ZooKeeper: packets, latencies, counters and summaries; not the sizes of proposals, which
   * belong to the leader's term, and not the failed authentications.
   */
  reset(): void {
    this.received = 0
    this.sent = 0
    this.bytesReceived = 0
    this.responseBytes = 0
    this.watchBytes = 0
    this.lastResponseSize = -1
    this.minResponseSize = -1
    this.maxResponseSize = -1
    this.throttledOps = 0
    this.throttleWaits = 0
    this.connectionRequests = 0
    this.connectionRevalidations = 0
    this.connectionRejected = 0
    this.connectionDrops = 0
    this.handshakesExpired = 0
    this.tlsHandshakesFailed = 0
    this.closedWhileNotServing = 0
    this.largeRequestsRejected = 0
    this.sessionsExpired = 0
    this.digestMismatches = 0
    this.lookings = 0
    this.diffSyncs = 0
    this.snapshotSyncs = 0
    this.proposals = 0
    this.commits = 0
    this.learnerProposals = 0
    this.learnerCommits = 0
    this.revalidations = 0
    this.#latencies = 0
    this.#latencySum = 0
    this.#latencyMin = 0
    this.#latencyMax = 0
    this.readLatency.reset()
    this.updateLatency.reset()
    this.fsync.reset()
    this.checkpointTime.reset()
    this.loadTime.reset()
    this.checkpointLoadTime.reset()
    this.replayTime.reset()
    this.replayed.reset()
    this.electionTime.reset()
    this.unavailableTime.reset()
    this.leaderUnavailableTime.reset()
    this.followerSyncTime.reset()
    this.observerSyncTime.reset()
    this.propagationLatency.reset()
    this.quorumAckLatency.reset()
    this.batchSize.reset()
    this.nodeCreatedWatches.reset()
    this.nodeDeletedWatches.reset()
    this.nodeChangedWatches.reset()
    this.nodeChildrenWatches.reset()
  }

  snapshot(): StatsSnapshot {
    return {
      received: this.received,
      sent: this.sent,
      bytesReceived: this.bytesReceived,
      responseBytes: this.responseBytes,
      watchBytes: this.watchBytes,
      lastResponseSize: this.lastResponseSize,
      minResponseSize: this.minResponseSize,
      maxResponseSize: this.maxResponseSize,
      minLatency: this.#latencyMin,
      avgLatency: this.#latencies === 0 ? 0 : this.#latencySum / this.#latencies,
      maxLatency: this.#latencyMax,
      throttledOps: this.throttledOps,
      throttleWaits: this.throttleWaits,
      authFailed: this.authFailed,
      connectionRequests: this.connectionRequests,
      connectionRevalidations: this.connectionRevalidations,
      connectionRejected: this.connectionRejected,
      connectionDrops: this.connectionDrops,
      handshakesExpired: this.handshakesExpired,
      tlsHandshakesFailed: this.tlsHandshakesFailed,
      closedWhileNotServing: this.closedWhileNotServing,
      largeRequestsRejected: this.largeRequestsRejected,
      sessionsExpired: this.sessionsExpired,
      digestMismatches: this.digestMismatches,
      lookings: this.lookings,
      diffSyncs: this.diffSyncs,
      snapshotSyncs: this.snapshotSyncs,
      proposals: this.proposals,
      commits: this.commits,
      learnerProposals: this.learnerProposals,
      learnerCommits: this.learnerCommits,
      revalidations: this.revalidations,
      lastProposalSize: this.lastProposalSize,
      minProposalSize: this.minProposalSize,
      maxProposalSize: this.maxProposalSize,
      readLatency: this.readLatency.summary(),
      updateLatency: this.updateLatency.summary(),
      fsync: this.fsync.summary(),
      checkpointTime: this.checkpointTime.summary(),
      loadTime: this.loadTime.summary(),
      checkpointLoadTime: this.checkpointLoadTime.summary(),
      replayTime: this.replayTime.summary(),
      replayed: this.replayed.summary(),
      electionTime: this.electionTime.summary(),
      unavailableTime: this.unavailableTime.summary(),
      leaderUnavailableTime: this.leaderUnavailableTime.summary(),
      followerSyncTime: this.followerSyncTime.summary(),
      observerSyncTime: this.observerSyncTime.summary(),
      propagationLatency: this.propagationLatency.summary(),
      quorumAckLatency: this.quorumAckLatency.summary(),
      batchSize: this.batchSize.summary(),
      nodeCreatedWatches: this.nodeCreatedWatches.summary(),
      nodeDeletedWatches: this.nodeDeletedWatches.summary(),
      nodeChangedWatches: this.nodeChangedWatches.summary(),
      nodeChildrenWatches: this.nodeChildrenWatches.summary(),
    }
  }
}

/** One connection's counters at one moment. */
export type ConnectionStatsSnapshot = {
  /** epoch ms */
  readonly establishedAt: number
  readonly received: number
  readonly sent: number
  /** Short name of the last operation (`PING`, `GETD`, …), `NA` before any. */
  readonly lastOperation: string
  /** xid of the last request that a client numbers itself (not ping, auth, setWatches); -1 before any. */
  readonly lastXid: number
  /** zxid of the last reply; -1 before any. */
  readonly lastZxid: number
  /** Monotonic ms of the last reply; 0 before any. */
  readonly lastResponseTime: number
  /** ms; 0 before any */
  readonly lastLatency: number
  readonly minLatency: number
  readonly avgLatency: number
  readonly maxLatency: number
}

/** One connection's counters. */
export class ConnectionStats {
  /** epoch ms */
  readonly establishedAt: number
  /** Packets from and to this client, of any kind. */
  received = 0
  sent = 0
  #lastOp = 0
  #lastXid = -1
  #lastZxid = -1
  #lastResponseTime = 0
  #lastLatency = 0
  #latencies = 0
  #latencySum = 0
  #latencyMin = 0
  #latencyMax = 0

  /** `establishedAt`: epoch ms. */
  constructor(establishedAt: number) {
    this.establishedAt = establishedAt
  }

  /** A request (`op` as in base/opcodes) was answered with `zxid`, `latencyMs` after it came, at `now` (monotonic ms). */
  served(op: number, xid: number, zxid: number, latencyMs: number, now: number): void {
    if (xid >= 0) this.#lastXid = xid
    this.#lastOp = op
    this.#lastZxid = zxid
    this.#lastResponseTime = now
    this.#lastLatency = latencyMs
    if (this.#latencies === 0 || latencyMs < this.#latencyMin) this.#latencyMin = latencyMs
    if (latencyMs > this.#latencyMax) this.#latencyMax = latencyMs
    this.#latencies++
    this.#latencySum += latencyMs
  }

  /** What `crst` resets in ZooKeeper: everything but the time of the connection. */
  reset(): void {
    this.received = 0
    this.sent = 0
    this.#lastOp = 0
    this.#lastXid = -1
    this.#lastZxid = -1
    this.#lastResponseTime = 0
    this.#lastLatency = 0
    this.#latencies = 0
    this.#latencySum = 0
    this.#latencyMin = 0
    this.#latencyMax = 0
  }

  snapshot(): ConnectionStatsSnapshot {
    return {
      establishedAt: this.establishedAt,
      received: this.received,
      sent: this.sent,
      lastOperation: shortName(this.#lastOp),
      lastXid: this.#lastXid,
      lastZxid: this.#lastZxid,
      lastResponseTime: this.#lastResponseTime,
      lastLatency: this.#lastLatency,
      minLatency: this.#latencyMin,
      avgLatency: this.#latencies === 0 ? 0 : this.#latencySum / this.#latencies,
      maxLatency: this.#latencyMax,
    }
  }
}

const shortNames = new Map<number, string>([
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
  [Op.deleteContainer, 'DELE'],
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
])

/** An operation as `cons` names it: `GETD`; `NA` for none or one that ZooKeeper has no name for. */
export function shortName(op: number): string {
  return shortNames.get(op) ?? 'NA'
}

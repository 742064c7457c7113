// What is measured, under ZooKeeper's names and in the order in which its `mntr` prints them: one list for every form
// of output. Has only what this server really measures; names without a meaning here are left out, not filled with 0.
import type { Inspection, Summary } from '../node/inspect.ts'
import { javaDouble, whole, wholeMax, wholeMin } from './format.ts'
import type { Host } from './host.ts'

/** One measurement, named as in ZooKeeper without the `zk_` of mntr. */
export type Metric =
  | { readonly kind: 'text'; readonly name: string; readonly value: string }
  | { readonly kind: 'counter'; readonly name: string; readonly value: number }
  | { readonly kind: 'gauge'; readonly name: string; readonly value: number; readonly print: Print }
  | { readonly kind: 'summary'; readonly name: string; readonly value: Summary; readonly quantiles: boolean }

type Print = (value: number) => string

/** All measurements of this server in its present role. */
export function metrics(i: Inspection, host: Host): Metric[] {
  return [...identity(i), ...gauges(i, host), ...counters(i), ...summaries(i), ...latencies(i)]
}

/** The lines of `mntr`: `zk_<name>\t<value>\n` each. */
export function monitorText(list: readonly Metric[]): string {
  return list.map(metricText).join('')
}

function identity(i: Inspection): Metric[] {
  const inEnsemble = i.state === 'leader' || i.state === 'follower' || i.state === 'observer'
  return [
    text('version', `${i.version}, built on ${i.builtAt}`),
    text('server_state', i.state),
    ...(inEnsemble ? [text('peer_state', i.peerState)] : []),
    ...(i.state === 'observer' && i.leaderId !== undefined ? [gauge('observer_master_id', i.leaderId)] : []),
  ]
}

function gauges(i: Inspection, host: Host): Metric[] {
  const leading = i.leading
  const ofLeader = (name: string, value: number | undefined) =>
    leading === undefined || value === undefined ? [] : [gauge(name, value)]
  return [
    gauge('ephemerals_count', i.ephemerals),
    gauge('num_alive_connections', i.connections),
    gauge('avg_latency', i.avgLatency, javaDouble),
    ...ofLeader('min_proposal_size', i.minProposalSize),
    gauge('outstanding_requests', i.outstanding),
    gauge('znode_count', i.znodes),
    gauge('global_sessions', i.globalSessions),
    gauge('last_client_response_size', i.lastResponseSize),
    gauge('packets_sent', i.sent),
    gauge('packets_received', i.received),
    ...ofLeader('max_proposal_size', i.maxProposalSize),
    gauge('max_client_response_size', i.maxResponseSize),
    ...ofLeader('synced_followers', leading?.syncedFollowers),
    gauge('watch_count', i.watches),
    ...ofLeader('synced_non_voting_followers', leading?.syncedNonVotingFollowers),
    ...ofLeader('synced_observers', leading?.syncedObservers),
    gauge('auth_failed_count', i.authFailed),
    gauge('min_latency', i.minLatency, wholeMin),
    gauge('max_file_descriptor_count', host.maxFiles()),
    gauge('approximate_data_size', i.dataBytes),
    gauge('open_file_descriptor_count', host.openFiles()),
    ...ofLeader('last_proposal_size', i.lastProposalSize),
    ...ofLeader('pending_syncs', leading?.pendingSyncs),
    ...ofLeader('leader_uptime', leading?.uptimeMs),
    gauge('local_sessions', i.localSessions),
    gauge('uptime', i.uptimeMs),
    gauge('max_latency', i.maxLatency, wholeMax),
    ...ofLeader('learners', leading?.learners),
    gauge('min_client_response_size', i.minResponseSize),
    ...(i.quorumSize === undefined || i.state === 'read-only' ? [] : [gauge('quorum_size', i.quorumSize)]),
  ]
}

function counters(i: Inspection): Metric[] {
  return [
    counter('watch_bytes', i.watchBytes),
    counter('throttled_ops', i.throttledOps),
    counter('connection_rejected', i.connectionRejected),
    counter('sessionless_connections_expired', i.handshakesExpired),
    counter('connection_drop_count', i.connectionDrops),
    counter('bytes_received_count', i.bytesReceived),
    counter('request_throttle_wait_count', i.throttleWaits),
    counter('response_bytes', i.responseBytes),
    counter('diff_count', i.diffSyncs),
    counter('connection_revalidate_count', i.connectionRevalidations),
    counter('unsuccessful_handshake', i.tlsHandshakesFailed),
    counter('commit_count', i.commits),
    counter('proposal_count', i.proposals),
    counter('large_requests_rejected', i.largeRequestsRejected),
    counter('cnxn_closed_without_zk_server_running', i.closedWhileNotServing),
    counter('looking_count', i.lookings),
    counter('learner_proposal_received_count', i.learnerProposals),
    counter('digest_mismatches_count', i.digestMismatches),
    counter('learner_commit_received_count', i.learnerCommits),
    counter('connection_request_count', i.connectionRequests),
    counter('snap_count', i.snapshotSyncs),
    counter('stale_sessions_expired', i.sessionsExpired),
    counter('revalidate_count', i.revalidations),
  ]
}

/** Those of which ZooKeeper tells no quantiles. */
function summaries(i: Inspection): Metric[] {
  return [
    summary('leader_unavailable_time', i.leaderUnavailableTime, false),
    summary('node_created_watch_count', i.nodeCreatedWatches, false),
    summary('node_deleted_watch_count', i.nodeDeletedWatches, false),
    summary('startup_txns_load_time', i.replayTime, false),
    summary('follower_sync_time', i.followerSyncTime, false),
    summary('fsynctime', i.fsync, false),
    summary('snapshottime', i.checkpointTime, false),
    summary('unavailable_time', i.unavailableTime, false),
    summary('startup_txns_loaded', i.replayed, false),
    summary('dbinittime', i.loadTime, false),
    summary('election_time', i.electionTime, false),
    summary('sync_processor_batch_size', i.batchSize, false),
    summary('node_children_watch_count', i.nodeChildrenWatches, false),
    summary('observer_sync_time', i.observerSyncTime, false),
    summary('node_changed_watch_count', i.nodeChangedWatches, false),
    summary('startup_snap_load_time', i.checkpointLoadTime, false),
  ]
}

function latencies(i: Inspection): Metric[] {
  return [
    summary('updatelatency', i.updateLatency, true),
    summary('readlatency', i.readLatency, true),
    summary('quorum_ack_latency', i.quorumAckLatency, true),
    summary('propagation_latency', i.propagationLatency, true),
  ]
}

function text(name: string, value: string): Metric {
  return { kind: 'text', name, value }
}

function counter(name: string, value: number): Metric {
  return { kind: 'counter', name, value }
}

function gauge(name: string, value: number, print: Print = whole): Metric {
  return { kind: 'gauge', name, value, print }
}

function summary(name: string, value: Summary, quantiles: boolean): Metric {
  return { kind: 'summary', name, value, quantiles }
}

function metricText(metric: Metric): string {
  switch (metric.kind) {
    case 'text':
      return line(metric.name, metric.value)
    case 'counter':
      return line(metric.name, whole(metric.value))
    case 'gauge':
      return line(metric.name, metric.print(metric.value))
    case 'summary':
      return summaryText(metric.name, metric.value, metric.quantiles)
  }
}

function summaryText(name: string, s: Summary, quantiles: boolean): string {
  const base =
    line(`avg_${name}`, javaDouble(s.count === 0 ? 0 : s.sum / s.count)) +
    line(`min_${name}`, wholeMin(s.min)) +
    line(`max_${name}`, wholeMax(s.max)) +
    line(`cnt_${name}`, whole(s.count)) +
    line(`sum_${name}`, whole(s.sum))
  if (!quantiles) return base
  return (
    base +
    line(`p50_${name}`, whole(s.p50)) +
    line(`p95_${name}`, whole(s.p95)) +
    line(`p99_${name}`, whole(s.p99)) +
    line(`p999_${name}`, whole(s.p999))
  )
}

function line(name: string, value: string): string {
  return `zk_${name}\t${value}\n`
}

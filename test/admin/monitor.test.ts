// The expected keys and their order are those of a leader and of a standalone server of Apache ZooKeeper 3.9.4, less
// those that have no meaning here; the values of the leader's are those it had.
import assert from 'node:assert/strict'
import test from 'node:test'
import { metrics, monitorText } from '../../src/admin/monitor.ts'
import type { Inspection, Summary } from '../../src/node/inspect.ts'
import { fakeHost, idle } from '../support/inspection.ts'

function summary(count: number, sum: number, min: number, max: number, quantiles: number[] = []): Summary {
  const [p50 = 0, p95 = 0, p99 = 0, p999 = 0] = quantiles
  return { count, sum, min, max, p50, p95, p99, p999 }
}

const leader: Inspection = {
  ...idle,
  state: 'leader',
  serverId: 3,
  leaderId: 3,
  quorumSize: 3,
  leading: {
    learners: 3,
    syncedFollowers: 2,
    syncedNonVotingFollowers: 0,
    syncedObservers: 1,
    pendingSyncs: 0,
    uptimeMs: 43917.4,
  },
  znodes: 11,
  watches: 2,
  ephemerals: 4,
  dataBytes: 722,
  globalSessions: 2,
  connections: 2,
  uptimeMs: 43981.2,
  received: 324,
  sent: 325,
  bytesReceived: 26547,
  responseBytes: 56377,
  watchBytes: 61,
  lastResponseSize: 16,
  minResponseSize: 16,
  maxResponseSize: 287,
  avgLatency: 3.04516129,
  minLatency: 0.4,
  maxLatency: 36.2,
  connectionRequests: 1,
  lookings: 1,
  diffSyncs: 2,
  snapshotSyncs: 1,
  proposals: 312,
  commits: 312,
  lastProposalSize: 36,
  minProposalSize: 36,
  maxProposalSize: 259,
  fsync: summary(295, 150, 0, 6),
  checkpointTime: summary(1, 0, 0, 0),
  loadTime: summary(1, 25, 25, 25),
  checkpointLoadTime: summary(1, 1, 1, 1),
  electionTime: summary(1, 339, 339, 339),
  unavailableTime: summary(1, 438, 438, 438),
  leaderUnavailableTime: summary(1, 438, 438, 438),
  batchSize: summary(295, 312, 1, 2),
  nodeChildrenWatches: summary(1, 1, 1, 1),
  nodeChangedWatches: summary(1, 1, 1, 1),
  updateLatency: summary(155, 731, 0, 37, [4, 8, 30, 37]),
  readLatency: summary(155, 212.6, 0.01, 14.7, [0.96, 5.1, 15, 14.6]),
  quorumAckLatency: summary(312, 882, 0, 23, [2, 6, 14, 23]),
  propagationLatency: summary(312, 1197, 0, 30, [3, 8, 20, 30]),
}

/** mntr's text with spaces for its tabs and without its `zk_`. */
function monitored(now: Inspection): string {
  const text = monitorText(metrics(now, fakeHost))
  return text.replace(/^zk_(\w+)\t(.*)$/gm, '$1 $2')
}

function keys(now: Inspection): string[] {
  return metrics(now, fakeHost).map((metric) => metric.name)
}

test('each line is zk_, the name, a tab and the value', () => {
  assert.match(monitorText(metrics(leader, fakeHost)), /^(zk_\w+\t[^\t\n]+\n)+$/)
})

test('mntr of a leader', () => {
  assert.equal(
    monitored(leader),
    `version 3.9.4-zabd-0.1.0, built on 2026-11-22 20:10 UTC
server_state leader
peer_state leading - broadcast
ephemerals_count 4
num_alive_connections 2
avg_latency 3.0452
min_proposal_size 36
outstanding_requests 0
znode_count 11
global_sessions 2
last_client_response_size 16
packets_sent 325
packets_received 324
max_proposal_size 259
max_client_response_size 287
synced_followers 2
watch_count 2
synced_non_voting_followers 0
synced_observers 1
auth_failed_count 0
min_latency 0
max_file_descriptor_count 20000
approximate_data_size 722
open_file_descriptor_count 53
last_proposal_size 36
pending_syncs 0
leader_uptime 43917
local_sessions 0
uptime 43981
max_latency 37
learners 3
min_client_response_size 16
quorum_size 3
watch_bytes 61
throttled_ops 0
connection_rejected 0
sessionless_connections_expired 0
connection_drop_count 0
bytes_received_count 26547
request_throttle_wait_count 0
response_bytes 56377
diff_count 2
connection_revalidate_count 0
unsuccessful_handshake 0
commit_count 312
proposal_count 312
large_requests_rejected 0
cnxn_closed_without_zk_server_running 0
looking_count 1
learner_proposal_received_count 0
digest_mismatches_count 0
learner_commit_received_count 0
connection_request_count 1
snap_count 1
stale_sessions_expired 0
revalidate_count 0
avg_leader_unavailable_time 438.0
min_leader_unavailable_time 438
max_leader_unavailable_time 438
cnt_leader_unavailable_time 1
sum_leader_unavailable_time 438
avg_node_created_watch_count 0.0
min_node_created_watch_count 0
max_node_created_watch_count 0
cnt_node_created_watch_count 0
sum_node_created_watch_count 0
avg_node_deleted_watch_count 0.0
min_node_deleted_watch_count 0
max_node_deleted_watch_count 0
cnt_node_deleted_watch_count 0
sum_node_deleted_watch_count 0
avg_startup_txns_load_time 0.0
min_startup_txns_load_time 0
max_startup_txns_load_time 0
cnt_startup_txns_load_time 0
sum_startup_txns_load_time 0
avg_follower_sync_time 0.0
min_follower_sync_time 0
max_follower_sync_time 0
cnt_follower_sync_time 0
sum_follower_sync_time 0
avg_fsynctime 0.5085
min_fsynctime 0
max_fsynctime 6
cnt_fsynctime 295
sum_fsynctime 150
avg_snapshottime 0.0
min_snapshottime 0
max_snapshottime 0
cnt_snapshottime 1
sum_snapshottime 0
avg_unavailable_time 438.0
min_unavailable_time 438
max_unavailable_time 438
cnt_unavailable_time 1
sum_unavailable_time 438
avg_startup_txns_loaded 0.0
min_startup_txns_loaded 0
max_startup_txns_loaded 0
cnt_startup_txns_loaded 0
sum_startup_txns_loaded 0
avg_dbinittime 25.0
min_dbinittime 25
max_dbinittime 25
cnt_dbinittime 1
sum_dbinittime 25
avg_election_time 339.0
min_election_time 339
max_election_time 339
cnt_election_time 1
sum_election_time 339
avg_sync_processor_batch_size 1.0576
min_sync_processor_batch_size 1
max_sync_processor_batch_size 2
cnt_sync_processor_batch_size 295
sum_sync_processor_batch_size 312
avg_node_children_watch_count 1.0
min_node_children_watch_count 1
max_node_children_watch_count 1
cnt_node_children_watch_count 1
sum_node_children_watch_count 1
avg_observer_sync_time 0.0
min_observer_sync_time 0
max_observer_sync_time 0
cnt_observer_sync_time 0
sum_observer_sync_time 0
avg_node_changed_watch_count 1.0
min_node_changed_watch_count 1
max_node_changed_watch_count 1
cnt_node_changed_watch_count 1
sum_node_changed_watch_count 1
avg_startup_snap_load_time 1.0
min_startup_snap_load_time 1
max_startup_snap_load_time 1
cnt_startup_snap_load_time 1
sum_startup_snap_load_time 1
avg_updatelatency 4.7161
min_updatelatency 0
max_updatelatency 37
cnt_updatelatency 155
sum_updatelatency 731
p50_updatelatency 4
p95_updatelatency 8
p99_updatelatency 30
p999_updatelatency 37
avg_readlatency 1.3716
min_readlatency 0
max_readlatency 15
cnt_readlatency 155
sum_readlatency 213
p50_readlatency 1
p95_readlatency 5
p99_readlatency 15
p999_readlatency 15
avg_quorum_ack_latency 2.8269
min_quorum_ack_latency 0
max_quorum_ack_latency 23
cnt_quorum_ack_latency 312
sum_quorum_ack_latency 882
p50_quorum_ack_latency 2
p95_quorum_ack_latency 6
p99_quorum_ack_latency 14
p999_quorum_ack_latency 23
avg_propagation_latency 3.8365
min_propagation_latency 0
max_propagation_latency 30
cnt_propagation_latency 312
sum_propagation_latency 1197
p50_propagation_latency 3
p95_propagation_latency 8
p99_propagation_latency 20
p999_propagation_latency 30
`,
  )
})

/** What is told by no server but one in an ensemble, and in it by the leader only. */
const ofEnsemble = ['peer_state', 'quorum_size']
const ofLeader = [
  'min_proposal_size',
  'max_proposal_size',
  'synced_followers',
  'synced_non_voting_followers',
  'synced_observers',
  'last_proposal_size',
  'pending_syncs',
  'leader_uptime',
  'learners',
]

test('mntr of a standalone server has the same, less what an ensemble has', () => {
  const expected = keys(leader).filter((key) => !ofEnsemble.includes(key) && !ofLeader.includes(key))
  assert.deepEqual(keys(idle), expected)
})

test('mntr of a follower has the same, less what a leader has', () => {
  const follower: Inspection = { ...leader, state: 'follower', leading: undefined }
  assert.deepEqual(
    keys(follower),
    keys(leader).filter((key) => !ofLeader.includes(key)),
  )
})

test('mntr of an observer names its leader behind its state', () => {
  const observer: Inspection = {
    ...leader,
    state: 'observer',
    leading: undefined,
    peerState: 'observing - broadcast',
  }
  const lines = monitored(observer).split('\n')
  assert.deepEqual(lines.slice(1, 5), [
    'server_state observer',
    'peer_state observing - broadcast',
    'observer_master_id 3',
    'ephemerals_count 4',
  ])
  assert.ok(lines.includes('quorum_size 3'))
})

test('mntr of a read-only server has the lines of a standalone one', () => {
  const readOnly: Inspection = { ...leader, state: 'read-only', readOnly: true, leading: undefined }
  assert.deepEqual(keys(readOnly), keys(idle))
})

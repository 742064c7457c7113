// What a leader knows about one learner, and what that learner is to be sent next. The model is etcd raft's tracker:
// a small state machine whose fields keep their invariants over every message.
import { Queue } from '../base/queue.ts'
import { cachedAfter, endOf, pointAtOrBelow } from './history.ts'
import type { FollowerInfo } from './messages.ts'
import { type Core, disconnect, emit, type Leading, send } from './state.ts'
import type { Entry } from './types.ts'

/** Of what a learner lacks so much is read from the log at a time: it is sent that while the next is read. */
const messagesPerRead = 4

export type Learner = {
  readonly id: number
  readonly session: number
  readonly accepted: number
  /** It came without a memory (see voting.ts). */
  readonly blank: boolean
  /** Of the ping that must be answered by a quorum before it may synchronize. */
  admittedBy: number | undefined
  /**
   * `discovery`: it has not promised the epoch. `ready`: it has, and synchronization may begin. `probing`: a `find` is
   * under way. `snapshot`: it installs one. `streaming`: its history is a prefix of ours, and gets what follows.
   */
  state: 'discovery' | 'ready' | 'probing' | 'snapshot' | 'streaming'
  /** End of its history when it came. */
  last: number
  needsSnapshot: boolean
  /** Streaming: everything up to here has been sent, in order, once. Always the end of an entry of ours. */
  sent: number
  /** Streaming: everything up to here is on its disk. At most `sent`. */
  acked: number
  /** Entries sent and not acknowledged, oldest first. */
  readonly inFlight: Queue<{ readonly last: number; readonly bytes: number }>
  inFlightBytes: number
  /** Id of the readEntries effect under way. */
  reading: number | undefined
  newLeaderSent: boolean
  /** It has acknowledged newLeader: only now its acks count, for only now a later leader can not cut what it acked. */
  synced: boolean
  /** It has been told to serve, and gets commits. */
  active: boolean
  /** It was told that everything up to here is committed once it has it. */
  told: number
  heardAt: number
  /** The last ping it answered. */
  pong: number
}

export function createLearner(id: number, info: FollowerInfo, now: number): Learner {
  const { session, accepted, blank } = info
  return {
    id,
    session,
    accepted,
    blank,
    admittedBy: undefined,
    state: 'discovery',
    last: 0,
    needsSnapshot: false,
    sent: 0,
    acked: 0,
    inFlight: new Queue(),
    inFlightBytes: 0,
    reading: undefined,
    newLeaderSent: false,
    synced: false,
    active: false,
    told: 0,
    heardAt: now,
    pong: 0,
  }
}

/** Looks for the newest entry that both have, given the end of an entry of the learner's; then begins to send. */
export function probe(core: Core, role: Leading, learner: Learner, theirs: number): void {
  const mine = pointAtOrBelow(core.history, theirs)
  if (mine === undefined) startSnapshot(core, learner, core.history.trimmedTo)
  else if (mine === theirs) startStream(core, role, learner, mine)
  else {
    learner.state = 'probing'
    send(core, learner.id, { type: 'find', session: learner.session, zxid: mine })
  }
}

export function startSnapshot(core: Core, learner: Learner, atLeast: number): void {
  learner.state = 'snapshot'
  send(core, learner.id, { type: 'snapshot', session: learner.session })
  emit(core, { type: 'sendSnapshot', to: learner.id, session: learner.session, atLeast })
}

/** The histories agree up to `after`. From here on the learner gets everything that follows, in order, never twice. */
export function startStream(core: Core, role: Leading, learner: Learner, after: number): void {
  learner.state = 'streaming'
  learner.sent = after
  learner.acked = after
  send(core, learner.id, { type: 'diff', session: learner.session, after })
  pump(core, role, learner)
}

/** Sends what the window allows; newLeader after the last entry. */
export function pump(core: Core, role: Leading, learner: Learner): void {
  if (learner.state !== 'streaming' || core.role !== role) return
  const { history, settings } = core
  const end = endOf(history)
  while (learner.sent < end && learner.reading === undefined) {
    const room = settings.windowBytes - learner.inFlightBytes
    if (room <= 0) return
    const entries = cachedAfter(history, learner.sent, room)
    if (entries === undefined) {
      readFor(core, learner, Math.min(room, messagesPerRead * settings.messageBytes))
      return
    }
    sendEntries(core, role, learner, entries)
  }
  if (learner.sent === end && !learner.newLeaderSent) {
    learner.newLeaderSent = true
    send(core, learner.id, { type: 'newLeader', session: learner.session, epoch: role.epoch })
  }
}

/** Asks for entries that only the log still has. If not even that, the learner comes again, for a snapshot. */
function readFor(core: Core, learner: Learner, maxBytes: number): void {
  if (learner.sent < core.history.trimmedTo) {
    disconnect(core, learner.id, `the log was trimmed beyond what learner ${learner.id} has been sent`)
    return
  }
  learner.reading = ++core.reads
  emit(core, { type: 'readEntries', id: learner.reading, to: learner.id, after: learner.sent, maxBytes })
}

/** Sends entries that follow what was sent. */
export function sendEntries(core: Core, role: Leading, learner: Learner, entries: readonly Entry[]): void {
  const { session, id } = learner
  const { committed } = role
  let from = 0
  let size = 0
  for (let i = 0; i < entries.length; i++) {
    const { last, bytes } = entries[i] as Entry
    if (i > from && size + bytes.length > core.settings.messageBytes) {
      send(core, id, { type: 'proposal', session, entries: entries.slice(from, i), committed })
      from = i
      size = 0
    }
    size += bytes.length
    learner.sent = last
    learner.inFlight.push({ last, bytes: bytes.length })
    learner.inFlightBytes += bytes.length
  }
  send(core, id, {
    type: 'proposal',
    session,
    entries: from === 0 ? entries : entries.slice(from),
    committed,
  })
}

/** Takes note that everything up to `zxid` is on the learner's disk; the window opens. */
export function acknowledge(learner: Learner, zxid: number): void {
  if (zxid <= learner.acked) return
  learner.acked = zxid
  const { inFlight } = learner
  for (let head = inFlight.first; head !== undefined && head.last <= zxid; head = inFlight.first) {
    learner.inFlightBytes -= head.bytes
    inFlight.shift()
  }
}

/** Takes a learner off the list. What it promised counts no more: it may come back without a memory. */
export function removeLearner(role: Leading, id: number): void {
  const index = role.learners.findIndex((learner) => learner.id === id)
  if (index < 0) return
  role.learners.splice(index, 1)
  role.promises.delete(id)
}

/** Asks every learner whether it still follows; gives the number of the question. */
export function ping(core: Core, role: Leading): number {
  role.pingSeq++
  for (const { id, session } of role.learners) send(core, id, { type: 'ping', session, seq: role.pingSeq })
  return role.pingSeq
}

/** Whether a quorum has answered. Only those count that adopted this epoch: they had promised no later one at that time. */
export function hasAnswered(core: Core, role: Leading, seq: number): boolean {
  const { learners } = role
  return core.quorum.contains(
    (id) => id === core.id || learners.some((one) => one.id === id && one.synced && one.pong >= seq),
  )
}
